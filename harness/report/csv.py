"""Results as CSV: the same file that a run writes, for a run that is opened again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import Report, register_report

if TYPE_CHECKING:
    from harness.store import Run


def write(run: Run, path: Path) -> Path:
    """Write one line for each cell and output; empty fields were not measured.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import write_results

    write_results(run.rows, path)
    return path


register_report(Report("csv", "results, one line for each cell and output", "results.csv", write))
