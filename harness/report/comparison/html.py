"""A comparison as one offline HTML file, above the report of the head's run where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report.html import page

if TYPE_CHECKING:
    from harness.compare.model import Comparison
    from harness.store import Run


def text(comparison: Comparison, run: Run | None = None) -> str:
    """Return the page."""
    return page(run, comparison)
