"""Results as CSV: the same file that a run writes, for a run that is opened again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.report import Report, register_report

if TYPE_CHECKING:
    from harness.store import Run

FILE: Final = "results.csv"


def write(run: Run, path: Path) -> Path:
    """Write one line for each cell and output; empty fields were not measured. Facts go to facts.csv beside.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.expect import FACT_COLUMNS
    from harness.store import write_results, write_table

    write_results(run.rows, path)
    if path == run.folder / FILE:
        write_table(run.fact_rows, FACT_COLUMNS, path.with_name("facts.csv"))
    return path


register_report(Report("csv", "results, one line for each cell and output, and facts", FILE, write))
