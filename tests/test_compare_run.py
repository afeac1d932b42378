"""`harness compare` from its command line to its folder: real workers, small cases, planted losses.

What is asserted of time is a factor of two or more, in budgets of a second, or nothing: on a loaded machine
pairs may stay undecided where that is said.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from harness.cli import main
from harness.compare.model import Comparison, Pair
from harness.compare.store import read

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "tests" / "planted" / "compared_kernels.py"
TIMERS_DISTURB_EACH_OTHER = pytest.mark.xdist_group("measures")
pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets of workers are tried on Linux"),
    TIMERS_DISTURB_EACH_OTHER,
]

REPORTS = {
    "comparison.json", "compare.csv", "compare.md", "junit.xml", "report.html",
    "rounds.jsonl", "base", "head", "logs",
}  # fmt: skip

DOT = """\
case: inner-products
title: Inner products
topic: vectors
operation: dot
backends: [numpy]
dtypes: [{dtypes}]
formulations: [{formulations}]
axes:
  n: [{sizes}]
inputs:
  x: {{recipe: normal, shape: [$n]}}
  y: {{recipe: normal, shape: [$n]}}
measure:
  accuracy: {{}}
  speed: {{budget_s: 0.05}}
"""

NARROWER = """\
---
case: products
title: Products of matrices
topic: matrices
operation: matmul
backends: [numpy]
dtypes: [float32]
formulations: [library, narrower]
inputs:
  a: {recipe: normal, shape: [32, 32]}
  b: {recipe: normal, shape: [32, 32]}
measure: {accuracy: {}, speed: {budget_s: 0.05}}
---
case: sums
title: Sums of exponentials
topic: stability
operation: logsumexp
backends: [numpy]
dtypes: [float32]
formulations: [library, narrower]
inputs:
  x: {recipe: linspace, low: -1, high: 1, shape: [1024]}
measure: {accuracy: {}, speed: {budget_s: 0.05}}
"""


def inner_products(
    formulations: str = "library", sizes: str = "4096", dtypes: str = "float32", backends: str = "numpy"
) -> str:
    text = DOT.format(formulations=formulations, sizes=sizes, dtypes=dtypes)
    return text.replace("backends: [numpy]", f"backends: [{backends}]")


@dataclass(frozen=True)
class Done:
    """A comparison that a program made."""

    code: int
    said: str
    folder: Path

    @property
    def comparison(self) -> Comparison:
        return read(self.folder)

    @property
    def pairs(self) -> dict[str, Pair]:
        """By the head's cell."""
        return {pair.cell: pair for pair in self.comparison.pairs}

    def pair(self, words: str) -> Pair:
        """Return the pair whose cell has these words, between slashes or commas."""
        found = [pair for cell, pair in self.pairs.items() if words in re.split("[/,]", cell)]
        assert len(found) == 1, (words, list(self.pairs))
        return found[0]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def start(folder: Path, case: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a comparison of a case; what is planted stays in that process."""
    (folder / "case.yaml").write_text(case)
    command = [sys.executable, "-m", "harness", "compare", "case.yaml", "--plugin", str(PLUGIN)]
    command += ["--out", "found", "--jobs", "1", *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def compare(folder: Path, case: str, *arguments: str, budget: str = "0.6") -> Done:
    process = start(folder, case, "--budget", budget, *arguments)
    said, _ = process.communicate(timeout=200)
    assert "Traceback" not in said, said
    return Done(process.returncode, said, folder / "found")


def against(head: str, base: str = "library") -> list[str]:
    return ["--base", f"formulation={base}", "--head", f"formulation={head}"]


# ---- identical code -------------------------------------------------------------------------------------


def test_identical_code_is_not_slower_and_not_a_bit_differs(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line in this process; 50 % beyond is not what chance does to whole medians."""
    (place / "case.yaml").write_text(inner_products(sizes="64, 4096"))
    code = main(
        ["compare", "case.yaml", "--base", "here", "--out", "found", "--budget", "0.6", "--threshold", "50%"]
    )
    said = capsys.readouterr().out
    found = read(place / "found")
    assert code == found.exit_code
    assert code in (0, 3), said
    assert {pair.verdict for pair in found.pairs} <= {"pass", "inconclusive"}
    assert len(found.pairs) == 2
    for pair in found.pairs:
        assert pair.accuracy == "same"
        assert pair.base_digest == pair.head_digest
        assert pair.cell == pair.base_cell
        assert pair.timer == "wall"
        assert (pair.base_s or 0) > 0
        assert (pair.head_s or 0) > 0
        assert pair.rounds >= 8
        assert pair.threshold is not None
        assert pair.threshold >= 0.5
    assert {entry.name for entry in (place / "found").iterdir()} >= REPORTS
    assert found.finished
    assert found.settings["floor"] == 0.5
    assert "exit code" in said
    assert str(Path("found") / "report.html") in said


def test_rounds_are_written_down_as_they_were_measured(
    made_slower: Done,
) -> None:
    lines = [json.loads(line) for line in (made_slower.folder / "rounds.jsonl").read_text().splitlines()]
    assert [line["set"] for line in lines] == [0, 1, 2, 3]
    for line in lines:
        assert line["cell"] == made_slower.pair("twice").cell
        # what confirms has a twin only where the null had raised the threshold
        sides = set(line["rounds"][0])
        assert sides == {"base", "twin", "head"} or (line["set"] and sides == {"base", "head"})
        assert all(set(times) == sides for times in line["rounds"])
        assert all(len(slots) == 2 and min(slots) > 0 for times in line["rounds"] for slots in times.values())
    assert {line["calls"] for line in lines[:1]} == {made_slower.pair("twice").calls}
    assert sum(len(line["rounds"]) for line in lines[1:]) == made_slower.pair("twice").rounds


# ---- slower ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_slower(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("slower")
    return compare(folder, inner_products("library, twice", "65536"), *against("twice"))


def test_a_head_that_takes_twice_as_long_fails(made_slower: Done) -> None:
    pair = made_slower.pair("twice")
    assert made_slower.code == 1, made_slower.said
    assert (pair.verdict, pair.kind, pair.speed, pair.accuracy) == ("fail", "slower", "fail", "same")
    assert (pair.confirmed, pair.asked_to_confirm) == (3, 3)
    assert pair.ratio is not None
    assert pair.ratio_low is not None
    assert 1.2 < pair.ratio_low <= pair.ratio < 3
    assert "inner-products/library/" in pair.base_cell
    assert "slower" in made_slower.said


def test_the_sides_are_named_in_what_is_said(made_slower: Done) -> None:
    comparison = made_slower.comparison
    assert comparison.base.title == "formulation=library"
    assert comparison.head.title == "formulation=twice"
    assert comparison.head.facts
    assert any("numpy" in facts for facts in comparison.head.facts.values())
    for text in ("formulation=library", "formulation=twice"):
        assert text in made_slower.said
        assert text in (made_slower.folder / "report.html").read_text()


def test_each_side_is_a_run_that_can_be_read(made_slower: Done) -> None:
    from harness import store

    for side, formulation in (("base", "library"), ("head", "twice")):
        run = store.load(made_slower.folder / side)
        assert run.finished
        assert {row["formulation"] for row in run.rows} == {formulation}
        assert {row["verdict"] for row in run.rows} == {"pass"}


# ---- less accurate --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_narrower(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("narrower")
    case = inner_products("library, narrower", "65536") + NARROWER
    return compare(folder, case, *against("narrower"), budget="0.3")


@pytest.mark.parametrize(
    ("case", "kinds"),
    [
        ("inner-products", {"traded"}),  # an eighth of the work: no load hides it
        ("products", {"traded", "less_accurate"}),
        ("sums", {"traded", "less_accurate"}),
    ],
)
def test_fewer_digits_behind_the_same_name_fail(made_narrower: Done, case: str, kinds: set[str]) -> None:
    pair = made_narrower.pair(case)
    assert made_narrower.code == 1
    assert (pair.verdict, pair.accuracy) == ("fail", "worse"), made_narrower.said
    assert pair.kind in kinds
    assert pair.base_digits is not None
    assert pair.head_digits is not None
    assert pair.head_digits < pair.base_digits - 1
    assert pair.head_bound_ratio is not None
    assert pair.base_bound_ratio is not None
    assert pair.head_bound_ratio > 100 * pair.base_bound_ratio
    # what n roundings could do to a sum of n terms is more than leaving most of them out
    assert (pair.head_bound_ratio > 1) == (case != "inner-products")
    assert f"{case}/narrower" in (made_narrower.folder / "compare.md").read_text()
    assert pair.cell in (made_narrower.folder / "compare.csv").read_text()


def test_reports_say_that_speed_was_bought(made_narrower: Done) -> None:
    assert "bought with digits" in (made_narrower.folder / "report.html").read_text()
    assert "faster, bought with digits" in made_narrower.said
    assert "<failure" in (made_narrower.folder / "junit.xml").read_text()


def test_a_loss_of_digits_passes_where_it_is_allowed(place: Path) -> None:
    done = compare(
        place,
        inner_products("library, narrower", "65536"),
        *against("narrower"),
        "--allow-accuracy-loss",
    )
    pair = done.pair("inner-products")
    assert done.code == 0, done.said
    assert (pair.verdict, pair.kind, pair.accuracy) == ("pass", "less_accurate_allowed", "worse")
    assert done.comparison.settings["allow_accuracy_loss"] is True


# ---- broken ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_moody(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("moody")
    case = inner_products("library, moody", "32, 33, 34, 35, 36, 37, 38, 40", "float64, float32")
    return compare(folder, case, *against("moody"), "--timeout", "2", "--threshold", "90%", budget="0.3")


@pytest.mark.parametrize(
    ("n", "says"),
    [
        (33, "head: killed by SIGSEGV"),
        (34, "head: ValueError: planted"),
        (35, "head: exceeded 2 s"),
        (36, "head: killed by SIGSEGV"),
        (37, "head: ValueError: planted"),
        (38, "head: exceeded 2 s"),
    ],
)
def test_a_head_that_breaks_is_named(made_moody: Done, n: int, says: str) -> None:
    """33 to 35 break when they are judged, 36 to 38 when they are timed."""
    pair = made_moody.pairs[f"inner-products/moody/numpy/float32/n={n}"]
    assert (pair.verdict, pair.kind) == ("inconclusive", "not_measured"), pair
    assert pair.error is not None
    assert says in pair.error
    assert pair.error in made_moody.said.replace("\n", " ") or f"n={n}" in made_moody.said
    assert pair.speed is None


@pytest.mark.parametrize("n", [32, 40])
def test_others_are_judged_all_the_same(made_moody: Done, n: int) -> None:
    pair = made_moody.pairs[f"inner-products/moody/numpy/float32/n={n}"]
    assert pair.error is None
    assert pair.accuracy == "same"
    assert pair.kind in ("same", "faster", "undecided")  # undecided only where the machine is busy
    assert pair.rounds >= 8


def test_what_could_not_be_measured_is_no_failure(made_moody: Done) -> None:
    assert made_moody.code == made_moody.comparison.exit_code == 3, made_moody.said
    assert made_moody.comparison.finished


# ---- what one side lacks --------------------------------------------------------------------------------


@pytest.fixture
def interpreter_that_lacks(place: Path) -> Path:
    """An interpreter in whose environment the backend `planted-numpy` is not there."""
    path = place / "lacking" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\nPLANTED_LACK=1 exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_another_interpreter_is_judged_and_measured_in_and_may_lack_a_backend(
    place: Path, interpreter_that_lacks: Path
) -> None:
    """What takes four times as long there is seen to: rounds run where they should, as judgements do."""
    case = inner_products("as-found", "65536", backends="numpy, planted-numpy")
    done = compare(place, case, "--base", "here", "--head", str(interpreter_that_lacks), budget="0.3")
    lacking, there = done.pair("planted-numpy"), done.pair("numpy")
    assert (lacking.verdict, lacking.kind) == ("inconclusive", "not_measured")
    assert lacking.error is not None
    assert lacking.error.startswith("head: ")
    assert "planted-numpy is unavailable: not installed: planted-library" in lacking.error
    assert (there.kind, there.accuracy, there.error) == ("slower", "same", None), done.said
    assert done.code == 1  # what fails is told before what could not be measured
    assert done.comparison.head.interpreter == str(interpreter_that_lacks)


@pytest.mark.parametrize("n", [32, 33])
def test_a_cell_that_one_side_lacks(made_moody: Done, n: int) -> None:
    """The head's formulation has no float64."""
    cell = f"inner-products/library/numpy/float64/n={n}"
    pair = made_moody.pairs[cell]
    assert (pair.verdict, pair.kind) == ("inconclusive", "not_measured")
    assert pair.error == "head: has no cell that corresponds to it"
    assert cell in (made_moody.folder / "compare.md").read_text()


def test_an_axis_takes_a_value_on_each_side(place: Path) -> None:
    """One eighth of the length, a value that the case does not have, is faster; integers lose no digits."""
    case = inner_products(sizes="4096").replace("recipe: normal", "recipe: linspace, low: 1, high: 1")
    done = compare(place, case, "--base", "axis.n=131072", "--head", "axis.n=16384")
    pair = done.pair("n=16384")
    assert done.code == 0, done.said
    assert pair.base_cell == pair.cell.replace("n=16384", "n=131072")
    assert (pair.kind, dict(pair.axes)) == ("faster", {"n": 16384})
    assert pair.ratio is not None
    assert pair.ratio < 0.7
    assert list(done.pairs) == [pair.cell]


# ---- interrupted ----------------------------------------------------------------------------------------


@pytest.fixture
def ended() -> Iterator[Callable[[subprocess.Popen[str]], subprocess.Popen[str]]]:
    """Kill what a test leaves alive."""
    started: list[subprocess.Popen[str]] = []

    def keep(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        started.append(process)
        return process

    yield keep
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def probes(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the probes of a comparison that are alive."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if any(part.endswith("probe/start.py") for part in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def until(holds: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def interrupted(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Signal a comparison, and see that none of its processes is left; return what it said."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    return said


def test_rounds_interrupted(
    place: Path,
    ended: Callable[[subprocess.Popen[str]], subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = inner_products("library, dawdles", "64")
    process = ended(start(place, case, *against("dawdles", "dawdles"), "--budget", "600"))
    until(lambda: len(probes(process)) == 3, process)
    time.sleep(2)  # 20 rounds of it take 6 s
    interrupted(process, signal.SIGINT)
    found = read(place / "found")
    assert not found.finished
    assert found.exit_code == 130
    (pair,) = found.pairs
    assert (pair.verdict, pair.kind, pair.accuracy) == ("inconclusive", "not_measured", "same")
    assert pair.error == "interrupted"
    assert "interrupted" in (place / "found" / "report.html").read_text()
    before = (place / "found" / "comparison.json").read_bytes()
    for name in ("report.html", "compare.md"):
        (place / "found" / name).unlink()
    assert main(["report", "found"]) == 0, capsys.readouterr().err
    assert (place / "found" / "report.html").is_file()
    assert (place / "found" / "comparison.json").read_bytes() == before
    assert list((place / "found").rglob("numerics-harness-*")) == []


def test_a_judgement_interrupted(
    place: Path, ended: Callable[[subprocess.Popen[str]], subprocess.Popen[str]]
) -> None:
    """While the head's kernel hangs in the interpreter's lock, before anything was timed."""
    process = ended(start(place, inner_products("library, hangs", "16"), *against("hangs")))
    until(lambda: (place / "found" / "head" / "journal.jsonl").is_file(), process)
    until(lambda: bool(probes(process)) and probes(process)[0].cpu_times().user > 2.0, process)
    interrupted(process, signal.SIGTERM)
    found = read(place / "found")
    assert not found.finished
    (pair,) = found.pairs
    assert (pair.kind, pair.error, pair.base_s) == ("not_measured", "interrupted", None)
    assert (place / "found" / "report.html").is_file()
