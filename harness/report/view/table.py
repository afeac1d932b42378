"""The columns of the table of all results: their order and how each is headed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from harness.report.view.header import Column
from harness.report.view.rows import AXIS_PREFIX, Row
from harness.report.view.text import present

_INTEGERS: Final = frozenset(("elements", "not_a_number_count", "inf_count", "zero_count", "seed"))
_FIRST: Final = ("formulation", "backend", "dtype", "output", "verdict", "outcome", "bits", "bound_ratio")
"""What a reader looks for first."""
_LAST: Final = (
    "reason", "severity", "elements", "not_a_number_count", "inf_count", "zero_count", "worst_index",
    "worst_input", "worst_computed", "worst_exact", "reference_radius_ulp", "reference_coverage", "device",
    "compute_dtype", "timer", "cache", "inputs_digest", "result_digest",
)  # fmt: skip


def ordered_columns(rows: Iterable[Row]) -> list[str]:
    """Return the columns that hold something, axes left out: first what a reader looks for first."""
    filled = {name for row in rows for name, value in row.items() if _is_filled(name, value)}
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if n in filled]
    placed = {*_FIRST, *_LAST}
    middle = [n for n in names if n not in placed and not n.startswith(AXIS_PREFIX)]
    return [*(n for n in _FIRST if n in filled), *middle, *(n for n in _LAST if n in filled)]


def _is_filled(name: str, value: object) -> bool:
    """Return whether a field says something: of an element, `nan` does."""
    return value is not None if name.startswith("worst_") else present(value)


def column_of(name: str, known: Mapping[str, Column]) -> Column:
    """Return how a column is headed; one without a definition is headed by its name."""
    if name in known and known[name].title != name:
        return known[name]
    display = "integer" if name in _INTEGERS else ""
    return Column(name, name.replace("_", " ").capitalize(), display=display)
