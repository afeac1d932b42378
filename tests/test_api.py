"""The functions behind the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness import api
from harness.errors import CaseFileError, CouldNotMeasureError, NothingSelectedError, UsageError
from harness.gate import coverage

CASE = """\
case: {name}
title: Exponentials
topic: stability
guide: [NM4, NM5]
operation: softmax
formulations: [naive, shifted]
backends: [numpy]
dtypes: [float32]
axes:
  top: {{unit: ln_max, times: [0.5, 2], quick: [0.5, 2], full: [3]}}
inputs:
  x: {{recipe: linspace, low: 0, high: $top, shape: [4]}}
expect:
  - where: {{formulation: naive, top: {{above: 1}}}}
    outcome: not_a_number
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cases" / "more").mkdir(parents=True)
    (tmp_path / "cases" / "one.yaml").write_text(CASE.format(name="one"))
    (tmp_path / "cases" / "more" / "two.yaml").write_text(CASE.format(name="two"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import harness\n"
        "assert harness.__version__ and {'run', 'load', 'check'} <= set(dir(harness))\n"
        "print([m for m in set(sys.modules) - before if m.startswith('harness.') or m == 'numpy'])\n"
        "harness.load\nprint('harness.api' in sys.modules, 'numpy' in sys.modules)"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True False"]


def test_the_package_has_no_other_names() -> None:
    assert harness.run is api.run
    with pytest.raises(AttributeError, match="no attribute 'rn'"):
        harness.rn  # type: ignore[attr-defined] # noqa: B018


def test_check_returns_cases_or_all_mistakes(folder: Path) -> None:
    assert [case.name for case in harness.check()] == ["two", "one"]
    assert [case.name for case in harness.check(["cases/one.yaml"])] == ["one"]
    (folder / "cases" / "three.yaml").write_text(CASE.format(name="one").replace("shape", "shap"))
    with pytest.raises(CaseFileError) as caught:
        harness.check()
    assert {Path(d.path).name for d in caught.value.diagnostics} == {"one.yaml", "three.yaml"}
    assert len(caught.value.diagnostics) >= 3


def test_plan_selects(folder: Path) -> None:
    assert len(api.plan().cells) == 8
    assert len(api.plan(["cases/more"], profile="full").cells) == 6
    assert {c.formulation for c in api.plan(keyword="naive").cells} == {"naive"}
    assert api.plan(["cases/one.yaml"], guide=["NM5"], dtypes=["float32"]).selection == {
        "paths": ["cases/one.yaml"], "guide": ["NM5"], "dtypes": ["float32"],
    }  # fmt: skip
    with pytest.raises(NothingSelectedError):
        api.plan(topics=["speed"])


def test_a_run_gives_frames_and_can_be_loaded(folder: Path) -> None:
    run = harness.run(["cases/one.yaml"], quick=True, keyword="not top=0.5", reports=())
    assert run.folder.parent == Path("reports")
    broken = run.results.query("outcome != 'ok'")
    assert list(broken["formulation"]) == ["naive"]
    assert set(run.results["verdict"]) == {"pass"}
    assert run.results["max_ulp"].isna().tolist() == [True, False]
    assert str(run.results["bound_ratio"].dtype) == "Float64"
    loaded = harness.load()
    assert loaded.folder == run.folder.resolve()
    assert loaded.results.equals(run.results)
    assert loaded.finished
    assert api.gate().exit_code == 4
    assert api.accept() == ["accepted 2 results"]
    assert api.gate().exit_code == 0
    assert api.gate(run.folder, run.folder).counts["unchanged"] == 2  # a run is a baseline too


def test_an_unfinished_run_cannot_be_accepted_and_is_inconclusive(folder: Path) -> None:
    from harness import store

    planned = api.plan(["cases/one.yaml"])
    store.start(planned, folder / "cut").journal.close()
    assert not harness.load("cut").finished
    assert api.gate("cut", "none").exit_code == 3
    with pytest.raises(UsageError, match="4 cells of the run have no result"):
        api.accept("cut", "none")


def test_what_cannot_be_measured_is_said_before_anything_is(folder: Path) -> None:
    planned = api.plan()
    with pytest.raises(UsageError, match="unknown backend 'torch-gpu'"):
        api.measure(planned, out="r", require=["torch-gpu"])
    with pytest.raises(UsageError, match="exclude each other"):
        harness.run(quick=True, full=True)
    with pytest.raises(UsageError, match="--resume needs the folder"), api.run_folder(resume=True):
        pass
    (folder / "b").mkdir()
    (folder / "b" / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="no table of results"):
        api.measure(planned, out="r", baseline="b")
    (folder / "file").write_text("")
    with pytest.raises((UsageError, CouldNotMeasureError), match="file"):
        api.measure(planned, out="file/run")
    assert not (folder / "reports").exists()
    assert not (folder / "r").exists()


def row(cell: str = "one/naive/numpy/float32/top=2", **changes: str) -> dict[str, str]:
    return {
        "cell": cell, "case": "one", "profile": "quick", "operation": "softmax", "backend": "numpy",
        "dtype": "float32", "topic": "stability", "guide": "NM4 NM5", **changes,
    }  # fmt: skip


def test_a_baseline_is_held_against_what_a_run_covers_only(folder: Path) -> None:
    paths = {"one": "cases/one.yaml", "gone": "cases/gone.yaml", "away": "elsewhere/away.yaml"}
    everything = coverage(api.plan(), paths)
    assert everything(row())
    assert everything(row(profile="default"))
    assert not everything(row(profile="full"))
    assert everything(row(case="gone"))  # its file was removed
    assert everything(row(case="unheard-of"))
    narrowed = coverage(api.plan(["cases/more"], keyword="naive", guide=["NM5"], profile="quick"), paths)
    assert narrowed(row("two/naive/numpy/float32/top=9", case="two"))
    assert not narrowed(row("two/shifted/numpy/float32/top=9", case="two"))
    assert not narrowed(row("two/naive/x", case="two", guide="NM4"))
    assert not narrowed(row("two/naive/x", case="two", profile="default"))
    assert not narrowed(row("one/naive/x"))
    assert not narrowed(row("gone/naive/x", case="gone"))
    removed = coverage(api.plan(["cases"]), paths)
    assert removed(row(case="gone"))
    assert not removed(row(case="away"))
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "away.yaml").write_text(CASE.format(name="away"))
    assert not coverage(api.plan(), paths)(row(case="away"))  # it is still there, outside of cases/


def test_references_are_certified_once_and_then_cached(folder: Path) -> None:
    first = list(api.references("one", keyword="top=0.5"))
    assert [c.found for c in first] == ["computed"]
    assert first[0].reference.outputs["p"].shape == (4,)
    assert [c.found for c in api.references("cases/one.yaml", dtypes=["float32"])] == ["cached", "computed"]
    with pytest.raises(UsageError, match="did you mean 'one'"):
        list(api.references("on"))
