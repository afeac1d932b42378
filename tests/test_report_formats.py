"""The table of formats: found by name, one file each, imported only when used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import harness.report
from harness.errors import CouldNotMeasureError, UsageError
from harness.report import REPORTS, find_report, formats, write_report
from harness.store import read_rows
from tests.synthetic_run import example_run, softmax_rows


def test_the_formats_are_the_modules_of_the_room() -> None:
    assert {"csv", "html", "markdown"} <= set(formats())
    assert set(formats()) == {p.stem for p in Path(harness.report.__path__[0]).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("name", formats())
def test_every_format_registers_itself_under_its_name(name: str) -> None:
    report = find_report(name)
    assert report.name == name
    assert report is REPORTS[name]
    assert report.title
    assert Path(report.file).name == report.file


@pytest.mark.parametrize("name", formats())
def test_every_format_writes_a_run_to_its_usual_place(name: str, tmp_path: Path) -> None:
    run = example_run(softmax_rows()[:30], folder=tmp_path)
    path = write_report(run, name)
    assert path == tmp_path / find_report(name).file
    assert path.stat().st_size > 0


@pytest.mark.parametrize("name", formats())
def test_a_file_that_cannot_be_written_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(CouldNotMeasureError, match="cannot write"):
        write_report(example_run(softmax_rows()[:1]), name, tmp_path / "absent" / "file")


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown report format 'htlm'") as caught:
        find_report("htlm")
    assert caught.value.hint == "did you mean 'html'?"


def test_rows_come_back_from_csv_as_they_were(tmp_path: Path) -> None:
    run = example_run(softmax_rows()[:40], folder=tmp_path)
    back = read_rows(write_report(run, "csv", tmp_path / "again.csv"))
    assert len(back) == 40
    for before, after in zip(run.rows, back, strict=True):
        for column in ("cell", "bits", "bound_ratio", "max_ulp", "outcome", "verdict", "elements"):
            assert after[column] == before[column]


def test_listing_the_formats_imports_none_of_them() -> None:
    code = (
        "import sys; from harness.report import formats; formats();"
        "print([m for m in sys.modules if m.startswith(('harness.report.', 'jinja2', 'numpy', 'pandas'))])"
    )
    root = Path(harness.__path__[0]).parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
