"""The command line, in this process and as a program: output, exit codes, and what it costs to start."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import COMMANDS, main
from harness.cli.run_command import resuming

CASE = """\
case: exponentials
title: Exponentials of a growing range
topic: stability
guide: [NM4]
operation: softmax
formulations: [naive, shifted]
backends: [numpy]
dtypes: [float32, float16]
axes:
  top: {unit: ln_max, times: [0.5, 2, 3], quick: [0.5, 2], full: [4]}
inputs:
  x: {recipe: linspace, low: 0, high: $top, shape: [16]}
measure:
  accuracy: {}
  speed: {where: {dtype: float32, top: 0.5}, budget_s: 0.02}
expect:
  - where: {formulation: naive, top: {above: 1}}
    outcome: not_a_number
"""
FAILING = CASE.replace("outcome: not_a_number", "outcome: [overflow, not_a_number]").replace(
    "{formulation: naive, top: {above: 1}}", "{formulation: shifted, top: {above: 1}}"
)
NAIVE = "exponentials/naive/numpy/float32"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder in which `harness run --quick` was called once, and what it printed."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "cases").mkdir()
    (folder / "cases" / "exponentials.yaml").write_text(CASE)
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("HARNESS_CACHE", str(folder / "cache"))
    done = program("run", "--quick", cwd=folder)
    assert done.returncode == 0, done.stderr
    yield folder, done.stdout
    patch.undo()


def program(*arguments: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "HARNESS_CACHE": str(cwd / "cache")}
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, **more
    )


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder with the case, and nothing measured."""
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "exponentials.yaml").write_text(CASE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path


# ---- starting --------------------------------------------------------------------------------------


def imported_by(*arguments: str, cwd: Path) -> set[str]:
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"code = main({list(arguments)!r})\n"
        "print('\\n' + ' '.join(sys.modules))\nsys.exit(code)"
    )
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"numpy", "torch", "pandas", "scipy", "flint", "ml_dtypes", "jinja2"}


def test_help_imports_next_to_nothing(elsewhere: Path) -> None:
    found = imported_by("--help", cwd=elsewhere)
    assert "click" in found
    ours = {name for name in found if name.startswith("harness.")}
    assert ours == {"harness.cli", "harness.errors"}
    assert not found & {*HEAVY, "rich", "yaml", "pydantic"}


@pytest.mark.parametrize(
    "command", [("list",), ("list", "--coverage"), ("check",), ("run", "--dry-run"), ("gate", "--help")]
)
def test_commands_that_measure_nothing_import_no_array_library(
    command: tuple[str, ...], elsewhere: Path
) -> None:
    found = imported_by(*command, cwd=elsewhere)
    assert "harness.cli" in found
    assert not found & HEAVY


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert f"Usage: harness {name}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name}" in told for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "harness 0.1.0\n"


# ---- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["gat"], 2, "no command 'gat'; did you mean 'gate'?"),
        (["lsit", "--quick"], 2, "did you mean 'list'?"),
        (["list", "--formt", "json"], 2, "--format"),
        (["list", "--format", "jsn"], 2, "did you mean 'json'?"),
        (["list", "--operation", "softmx"], 2, "did you mean 'softmax'?"),
        (["list", "--dtype", "float23"], 2, "did you mean 'float32'?"),
        (["list", "--backend", "nunpy"], 2, "did you mean 'numpy'?"),
        (["list", "-k", "naive and"], 2, "-k is no expression"),
        (["list", "nowhere"], 2, "no case file or folder 'nowhere'"),
        (["list", "-k", "nothing"], 5, "nothing is selected by -k 'nothing'"),
        (["list", "--topic", "stabilty"], 5, "did you mean 'stability'?"),
        (["run", "--executor", "lcal"], 2, "did you mean 'local'?"),
        (["run", "--require", "numpi"], 2, "did you mean 'numpy'?"),
        (["run", "--resume"], 2, "--resume needs the folder of the run"),
        (["run", "--max-elements", "0"], 2, "--max-elements"),
        (["run", "--max-elements", "15"], 2, "cases/exponentials.yaml:"),
        (["list", "--guide", "NM44"], 2, "did you mean 'NM4'?"),
        (["list", "--run", "x"], 2, "add --coverage, or leave it out"),
        (["list", "--coverage", "--run", "nowhere"], 2, "nowhere is no folder of a run"),
        (["list", "--coverage", "--guide", "NM44"], 2, "did you mean 'NM4'?"),
        (["list", "--coverage", "-k", "nothing"], 5, "nothing is selected by -k 'nothing'"),
        (["list", "--coverage", "--topic", "stabilty"], 5, "did you mean 'stability'?"),
        (["list", "--quick", "--full"], 2, "--quick and --full exclude each other"),
        (["reference", "exponentials", "--full", "--quick"], 2, "exclude each other"),
        (["run", "--timeout", "0"], 2, "--timeout"),
        (["run", "--timeout", "nan"], 2, "nan is no number of seconds"),
        (["run", "--plugin", "no_such_module"], 2, "plug-in 'no_such_module'"),
        (["reference", "exponental"], 2, "did you mean 'exponentials'?"),
        (["reference", "exponentials", "--format", "npz"], 2, "--out"),
        (["gate"], 2, "reports/latest is no folder of a run"),
        (["report", "nowhere"], 2, "nowhere is no folder of a run"),
        (["report", "--format", "htm"], 2, "did you mean 'html'?"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    arguments: list[str], code: int, told: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not (elsewhere / "reports").exists()


def test_a_fault_of_ours_is_no_verdict(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of cheese")

    monkeypatch.setattr("harness.api.plan", broken)
    assert main(["list"]) == 3
    assert "RuntimeError: out of cheese" in capsys.readouterr().err
    monkeypatch.setattr("harness.api.plan", lambda **_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["list"]) == 130


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("list >&-", 0),
        ("list -k nothing >&- 2>&-", 5),
        ("list -k nothing 2>/dev/full", 5),
        ("list >/dev/full", 3),
        ("list | head -c 1", 0),
        ("gate --baseline vanished --format json | true", 1),
        ("run --quick -k naive -k float16 --out closed >&- 2>&-", 0),
        ("run --quick -k naive -k float16 --out full 2>/dev/full", 0),
        ("run --quick -k naive -k float16 --out unread 2> >(true)", 0),
    ],
)
def test_the_exit_code_stands_where_nobody_can_read_the_output(
    command: str, code: int, made: tuple[Path, str]
) -> None:
    folder, _ = made
    assert main(["gate", "--accept", "--baseline", "vanished"]) == 0
    table = folder / "vanished" / "results.csv"
    table.write_text(table.read_text().replace("top=2", "top=2.5"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    shell = f"set -o pipefail; {sys.executable} -m harness {command}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 3:
        assert done.stderr == "harness: cannot write standard output: No space left on device\n"


def test_all_mistakes_of_a_case_file_at_once(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = elsewhere / "bad.yaml"
    bad.write_text(CASE.replace("softmax", "softmx").replace("linspace", "linspase"))
    assert main(["check", str(bad)]) == 2
    told = capsys.readouterr().err
    assert "bad.yaml:5:12: " in told
    assert "bad.yaml:12:15: " in told
    assert main(["check", str(bad), "--format", "json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [(d["line"], d["column"]) for d in found["diagnostics"]] == [(5, 12), (12, 15)]
    assert main(["run", str(bad)]) == 2
    assert not (elsewhere / "reports").exists()


# ---- what measures nothing -------------------------------------------------------------------------


def test_check(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "1 cases in 1 files: no mistake found\n"
    assert main(["check", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cases"][0]["case"] == "exponentials"
    assert found["schema_version"] == 1


def test_list_shows_cells_and_skips_by_reason(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--quick", "--dtype", "float32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{NAIVE}/top=0.5", f"{NAIVE}/top=2"]
    assert lines[-1] == "4 cells of 1 cases to run (2 timed, 2 references), 0 skipped, profile quick"
    (elsewhere / "cases" / "exponentials.yaml").write_text(
        CASE + "exclude:\n  - {where: {dtype: float16, top: {above: 1}}, reason: too wide}\n"
    )
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "     4  excluded: too wide (exponentials/naive/numpy/float16/top=2, …)" in lines
    assert lines[-1].startswith("8 cells of 1 cases to run")


def test_list_as_json(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--full", "-k", "naive and float32", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert [c["cell"] for c in found["cells"]] == [f"{NAIVE}/top={t}" for t in ("0.5", "2", "3", "4")]
    first = found["cells"][0]
    assert (first["verdict"], first["timed"], first["axes"]) == (None, True, {"top": 0.5})


def test_an_infinite_axis_value_is_text_in_json(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "gap.yaml").write_text(
        CASE.replace("top: {unit: ln_max, times: [0.5, 2, 3], quick: [0.5, 2], full: [4]}", "top: [-.inf, 1]")
        .replace("linspace, low: 0, high: $top, shape: [16]", "values, values: [$top, 0]")
        .replace("top: {above: 1}", "top: 1")
        .replace("top: 0.5", "top: 1")
    )
    assert main(["list", "gap.yaml", "-k", "naive and float32", "--format", "json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [c["axes"] for c in cells] == [{"top": "-Infinity"}, {"top": 1}]


def test_a_dry_run_measures_nothing(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", "--quick"]) == 0
    assert "8 cells of 1 cases to run" in capsys.readouterr().out
    assert not (elsewhere / "reports").exists()


def test_schema_is_a_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"case", "title", "topic", "operation", "inputs"} == set(schema["required"])


# ---- references ------------------------------------------------------------------------------------


def test_reference_prints_certified_digits(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "two.yaml").write_text(
        CASE.replace("linspace, low: 0, high: $top, shape: [16]", "values, values: [$top, $top]")
    )
    arguments = ["reference", "two.yaml", "--dtype", "float32", "-k", "naive and top=2"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("exponentials|float32|top=2|forward: softmax, inputs ")
    assert lines[1].startswith("  p[0] = 0.5")  # two equal logits: ½ exactly
    assert lines[1].endswith("0x1.0000000000000p-1)")
    assert main([*arguments, "--format", "json"]) == 0
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert [e["hi"] for e in problem["elements"]] == ["0x1.0000000000000p-1"] * 2
    assert main([*arguments, "--format", "csv", "--out", "two.csv"]) == 0
    rows = list(csv.DictReader((elsewhere / "two.csv").read_text().splitlines()))
    assert [(r["output"], r["index"], float(r["value"])) for r in rows] == [("p", "0", 0.5), ("p", "1", 0.5)]
    assert main([*arguments, "--format", "npz", "--out", "two.npz"]) == 0
    import numpy as np

    with np.load(elsewhere / "two.npz") as arrays:
        assert arrays["exponentials|float32|top=2|forward/p/float64"].tolist() == [0.5, 0.5]
    assert main([*arguments, "--format", "csv", "--out", "no/folder.csv"]) == 2
    assert "cannot write no/folder.csv" in capsys.readouterr().err


# ---- a run, and what is done with it ---------------------------------------------------------------


def test_a_run_says_what_it_found_and_where_the_report_is(made: tuple[Path, str]) -> None:
    folder, told = made
    lines = told.splitlines()
    assert lines[0] == "All 8 cells are as expected."
    assert "first bad values:" in lines
    assert any(line.startswith("  exponentials naive (numpy), top") for line in lines)
    assert "references: 4 computed, 0 from the cache" in lines
    assert lines[-2].endswith(": 8 cells judged, 2 timed")
    report = folder / lines[-1].removeprefix("report: ")
    assert report.read_text().startswith("<!doctype html>")
    assert (folder / "reports" / "latest").resolve() == report.parent.resolve()
    assert {"plan.json", "journal.jsonl", "results.csv", "facts.csv", "summary.md"} <= {
        p.name for p in report.parent.iterdir()
    }


def test_gate_accept_and_gate_again(made: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = made
    assert main(["gate", "--baseline", "b"]) == 4
    told = capsys.readouterr().out
    assert "gate has no comparable baseline: 0 results compared" in told
    assert "note: baseline b is not there: make one with: harness gate --accept --baseline b" in told
    assert main(["gate", "--baseline", "b", "--accept"]) == 0
    assert "b: accepted 8 results" in capsys.readouterr().out
    assert main(["gate", "--baseline", "b"]) == 0
    assert capsys.readouterr().out == "gate passed: 8 results compared, 8 unchanged\n"
    table = folder / "b" / "results.csv"
    whole = table.read_text()
    try:
        rows = list(csv.DictReader(whole.splitlines()))
        worse = next(r for r in rows if r["cell"] == "exponentials/shifted/numpy/float32/top=2")
        table.write_text(whole.replace(worse["inputs_digest"], "0" * 64))
        assert main(["gate", "--baseline", "b"]) == 3
        assert "changed, needs --accept" in capsys.readouterr().out
        table.write_text(whole.replace(f",{worse['bound_ratio']},", ",0.0,"))
        assert main(["gate", "--baseline", "b", "--format", "json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert (found["exit_code"], found["schema_version"]) == (1, 1)
        assert worse["cell"] in {c["cell"] for c in found["cells"] if c["kind"] == "regressed"}
        gone = whole.replace("top=2", "top=2.5")
        table.write_text(gone)
        assert main(["gate", "--baseline", "b"]) == 1
        assert "vanished" in capsys.readouterr().out
        table.write_text(gone.replace(",quick,", ",default,"))  # outside what --quick covers
        assert main(["gate", "--baseline", "b"]) == 0
    finally:
        table.write_text(whole)


def test_report_writes_and_prints(made: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = made
    assert main(["report", "--format", "json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert {c["verdict"] for c in cells} == {"pass"}
    assert len(cells) == 8
    assert main(["report", "reports/latest", "--format", "html", "--out", "copy.html"]) == 0
    assert capsys.readouterr().out == "copy.html\n"
    assert (folder / "copy.html").is_file()
    assert main(["report", "--out", "copy"]) == 2
    for form in ("html", "json"):
        assert main(["report", "--format", form, "--out", "no/folder"]) == 3
        assert "cannot write no/folder: No such file or directory" in capsys.readouterr().err
        assert main(["report", "--format", form, "--out", "copy.html/below"]) == 3
        assert "cannot write copy.html/below: Not a directory" in capsys.readouterr().err
    os.mkfifo("pipe")
    with os.fdopen(os.open("pipe", os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:
        assert main(["report", "--format", "markdown", "--out", "pipe"]) == 0
        assert pipe.read(1) == b"#"
    assert Path("pipe").is_fifo()


def test_a_failing_case_exits_with_1_and_says_why(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "cases" / "exponentials.yaml").write_text(FAILING)
    arguments = ["run", "-k", "shifted and float32 and not top=0.5", "--out", "failing", "--format", "json"]
    assert main(arguments) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["exit_code"], found["folder"]) == (1, "failing")
    assert [c["verdict"] for c in found["cells"]] == ["fail", "fail"]
    assert found["cells"][0]["reason"] == "outcome ok, expected one of overflow, not_a_number (rule line 17)"
    assert not (elsewhere / "latest").exists()  # only reports/ has a latest
    assert main(arguments) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--baseline", "none"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["gate"]["exit_code"] == 1
    assert found["references"] == {}


def test_nothing_to_run_here_is_nothing_selected(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "cases" / "exponentials.yaml").write_text(
        CASE.replace(
            "expect:\n", "exclude:\n  - {where: {top: {above: 1}}, reason: too wide}\nexpect:\n"
        ).replace("top: {above: 1}}\n    outcome: not_a_number", "top: 0.5}\n    outcome: ok")
    )
    assert main(["run", "-k", "top=2"]) == 5
    assert "none of the 4 cells selected can run here: excluded: too wide" in capsys.readouterr().err
    from harness.registry import BACKENDS

    monkeypatch.setattr(type(BACKENDS["numpy"]), "unavailable", lambda self: "not installed: numpy")
    assert main(["run", "--require", "numpy"]) == 3
    assert "the required backend numpy is unavailable: not installed: numpy" in capsys.readouterr().err


def test_an_interrupted_run_exits_with_130_and_says_how_to_go_on(elsewhere: Path) -> None:
    (elsewhere / "cases" / "exponentials.yaml").write_text(CASE.replace("budget_s: 0.02", "budget_s: 100"))
    root = Path(__file__).parents[1]
    running = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", "--quick", "--out", "cut"],
        cwd=elsewhere, env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    journal = elsewhere / "cut" / "journal.jsonl"
    deadline = time.monotonic() + 120
    while running.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_text().count('"kind":"accuracy"') >= 1:
            break
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 130, told
    assert "hint: go on with: harness run --quick --out cut --resume" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "during", ["harness.store.start", "harness.store.finish", "harness.report.write_report"]
)
def test_a_signal_before_or_after_the_measuring_says_how_to_go_on_too(
    during: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "-k", "naive and float32 and top=2", "--out", "cut"]
    with monkeypatch.context() as patch:
        patch.setattr(during, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        assert main(arguments) == 130
    told = capsys.readouterr().err
    assert "hint: go on with: harness run -k 'naive and float32 and top=2' --out cut --resume" in told
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert main([*arguments, "--resume"]) == 0


def test_the_command_that_goes_on_names_the_folder_once() -> None:
    assert resuming(["run", "-k", "a or b"], "reports/x") == (
        "harness run -k 'a or b' --out reports/x --resume"
    )
    assert resuming(["run", "--out=y", "--resume"], "y") == "harness run --out=y --resume"
