"""Reports of a comparison: one module a format, each a function `text(comparison, run)`; `run` is the head's.

The names of the formats are those of a run's reports, so that `harness report` asks for both alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from harness.compare.model import Comparison
    from harness.store import Run


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """One format: the file it writes in the folder of a comparison, and whether it is printed instead."""

    name: str
    title: str
    file: str
    printed: bool = False
    """Whether it goes to standard output when no file is named."""


FORMATS: Final = {
    report.name: report
    for report in (
        ComparisonReport("csv", "one line for each pair", "compare.csv"),
        ComparisonReport("github", "annotations for GitHub Actions", "annotations.txt", printed=True),
        ComparisonReport("html", "ratios and digits in one offline file", "report.html"),
        ComparisonReport("json", "pairs for programs", "compare.json", printed=True),
        ComparisonReport("junit", "test cases for a CI server", "junit.xml"),
        ComparisonReport("markdown", "summary for a pull request or a job", "compare.md"),
    )
}
IN_THE_FOLDER: Final = ("csv", "html", "junit", "markdown")
"""What the folder of a comparison holds beside `comparison.json`."""


def find_report(name: str) -> ComparisonReport:
    """Return a format by name.

    Raises
    ------
    UsageError
        A comparison has no such report.
    """
    if name not in FORMATS:
        raise UsageError(
            f"a comparison has no report {name!r}",
            did_you_mean(name, list(FORMATS)),
        )
    return FORMATS[name]


def report_text(comparison: Comparison, name: str, run: Run | None = None) -> str:
    """Return one report of a comparison.

    Parameters
    ----------
    comparison
        What to report.
    name
        The format.
    run
        The run of the head, where there is one: its results follow in report.html, its cases name the files
        at which annotations point.

    Raises
    ------
    UsageError
        A comparison has no such report.
    """
    module = importlib.import_module(f"{__name__}.{find_report(name).name}")
    text: str = module.text(comparison, run)
    return text


def write_comparison_report(
    comparison: Comparison, name: str, path: Path | None, *, folder: Path, run: Run | None = None
) -> Path:
    """Write one report of a comparison, by default under its usual name in `folder`, and return the file.

    Raises
    ------
    UsageError
        A comparison has no such report.
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    path = folder / find_report(name).file if path is None else path
    replace_text(path, report_text(comparison, name, run))
    return path


def write_comparison_reports(
    comparison: Comparison, folder: Path, run: Run | None = None, formats: Sequence[str] = IN_THE_FOLDER
) -> dict[str, Path]:
    """Write reports of a comparison into its folder, and return format → file.

    Raises
    ------
    UsageError
        A comparison has no such report.
    CouldNotMeasureError
        A file cannot be written.
    """
    return {name: write_comparison_report(comparison, name, None, folder=folder, run=run) for name in formats}
