"""The table of formats: found by name, one file each, imported only when used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness.report
from harness.errors import CouldNotMeasureError, UsageError
from harness.report import IN_THE_FOLDER, REPORTS, find_report, formats, write_report
from harness.store import read_rows
from tests.synthetic_run import example_run, failing, softmax_rows


def test_the_formats_are_the_modules_of_the_room() -> None:
    modules = {p.stem for p in Path(harness.report.__path__[0]).glob("*.py")} - {"__init__"}
    assert {name.replace("-", "_") for name in formats()} == modules
    assert formats() == (
        "csv", "github", "html", "json", "junit", "markdown", "parquet", "pytest-benchmark",
    )  # fmt: skip
    assert set(IN_THE_FOLDER) < set(formats())


@pytest.mark.parametrize("name", formats())
def test_every_format_registers_itself_under_its_name(name: str) -> None:
    report = find_report(name)
    assert report.name == name
    assert report is REPORTS[name]
    assert report.title
    assert Path(report.file).name == report.file


def needing(name: str) -> str:
    """Return the name of a format, or skip where what it needs is not installed."""
    if name == "parquet":
        pytest.importorskip("pyarrow")
    return name


@pytest.mark.parametrize("name", formats())
def test_every_format_writes_a_run_to_its_usual_place(name: str, tmp_path: Path) -> None:
    run = example_run(failing(softmax_rows()[:30], lambda r: True), folder=tmp_path)
    needing(name)
    path = write_report(run, name)
    assert path == tmp_path / find_report(name).file
    assert path.stat().st_size > 0


@pytest.mark.parametrize("name", formats())
def test_a_file_that_cannot_be_written_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(CouldNotMeasureError, match="cannot write"):
        write_report(example_run(softmax_rows()[:1]), needing(name), tmp_path / "absent" / "file")


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown report format 'htlm'") as caught:
        find_report("htlm")
    assert caught.value.hint == "did you mean 'html'?"
    with pytest.raises(UsageError, match="unknown report format 'pytest_benchmark'") as caught:
        find_report("pytest_benchmark")
    assert caught.value.hint == "did you mean 'pytest-benchmark'?"


@pytest.mark.parametrize("name", [n for n in formats() if n != "html"])
def test_no_format_but_a_table_of_values_lets_a_steering_character_through(name: str, tmp_path: Path) -> None:
    reason = "raised: \x1b[2J\x9b31m\u202e\r\n::error::forged 100 %, \ud83d"
    rows = [{**r, "verdict": "fail", "outcome": "raised", "reason": reason} for r in softmax_rows()[:3]]
    text = write_report(example_run(rows, folder=tmp_path), needing(name)).read_bytes()
    steering = [c for c in ("\x1b", "\x9b", "\u202e") if c.encode() in text]
    assert steering == (["\x1b", "\x9b", "\u202e"] if name in ("csv", "parquet") else [])
    if name in ("github", "json", "markdown"):  # what goes to a log or a summary holds no line of a kernel's
        assert not re.search(rb"^\s*::error::", text, re.MULTILINE)


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


def test_facts_are_written_again_beside_the_results_of_their_run(tmp_path: Path) -> None:
    run = example_run(folder=tmp_path)
    write_report(run, "csv", tmp_path / "elsewhere.csv")
    assert not (run.folder / "facts.csv").exists()
    write_report(run, "csv")
    lines = (run.folder / "facts.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("fact,case,formulation,")
    assert len(lines) == 1 + len(run.fact_rows)
