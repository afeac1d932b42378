"""What `harness compare` cannot be asked: each is told with a hint, and nothing is measured or made."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main

CASE = """\
case: inner-products
title: Inner products
topic: vectors
operation: dot
backends: [numpy]
dtypes: [float32]
formulations: [library]
axes:
  n: [64]
inputs:
  x: {recipe: normal, shape: [$n]}
  y: {recipe: normal, shape: [$n]}
measure:
  accuracy: {}
  speed: {budget_s: 0.05}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a case and nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "case.yaml").write_text(CASE)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base", "formulation=librery", "--head", "formulation=library"], "did you mean 'library'"),
        (["--base", "backend=nunpy", "--head", "backend=numpy"], "did you mean 'numpy'"),
        (["--base", "dtype=float23", "--head", "dtype=float32"], "did you mean 'float32'"),
        (["--base", "axis.m=2", "--head", "axis.m=3"], "no case selected has the axis 'm'"),
        (["--base", "formulaton=library", "--head", "here"], "did you mean 'formulation'"),
        (["--base", "formulation=library"], "--head 'here' does not"),
        (["--base", "no-such-revision"], "is in no git repository"),
        (["--base", "here", "--operation", "dott"], "did you mean 'dot'"),
        (["--base", "here", "--threshold", "0.1%"], "allowed: 0.5 % to 100 %"),
        (["--base", "here", "--threshold", "tiny"], "is no share"),
        (["--base", "here", "--budget", "0"], "--budget"),
        (["--base", ""], "empty"),
        ([], "--base"),
    ],
)
def test_what_is_misspelt_is_told(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["compare", "case.yaml", *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert not (place / "reports").exists()


def test_a_folder_that_holds_something_is_not_written_over(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "found").mkdir()
    (place / "found" / "precious.txt").write_text("kept")
    assert main(["compare", "case.yaml", "--base", "here", "--out", "found"]) == 2
    assert "found is not empty" in capsys.readouterr().err
    assert [path.name for path in (place / "found").iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-k", "nothing"], "nothing"),
        (["--base", "dtype=float64", "--head", "dtype=float32"], "none of the"),
    ],
)
def test_nothing_that_is_timed(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    base = [] if "--base" in arguments else ["--base", "here"]
    assert main(["compare", "case.yaml", *base, *arguments]) == 5
    assert says in capsys.readouterr().err


def test_cases_that_time_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "case.yaml").write_text(CASE.replace("  speed: {budget_s: 0.05}\n", ""))
    assert main(["compare", "case.yaml", "--base", "here"]) == 5
    assert "none of the cells selected is timed" in capsys.readouterr().err
