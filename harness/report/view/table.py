"""The table of all results: which columns a case has, what is the same in all rows, how a value shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.report.view.header import Column
from harness.report.view.rows import AXIS_PREFIX, Row
from harness.report.view.text import exact, finite, number, plain, present

SHARED: Final = frozenset(
    (
        "case", "operation", "topic", "guide", "profile", "mode", "output", "device", "backend", "dtype",
        "compute_dtype", "seed", "timer", "severity",
    )
)  # fmt: skip
"""Columns that move above the table when all of its rows have the same value."""

_ELSEWHERE: Final = frozenset(("cell", "axes", "undecided", "error"))
"""The cell's id names its row, its axes have columns of their own, the others are in the reason."""
_DIGESTS: Final = frozenset(("inputs_digest", "result_digest"))
_DIGEST_SHOWN: Final = 10
_INTEGERS: Final = frozenset(("elements", "not_a_number_count", "inf_count", "zero_count", "seed"))
_OF_THE_CASE: Final = frozenset(("case", "operation", "topic", "guide", "mode"))
_AFTER_AXES: Final = ("verdict", "outcome", "bits", "bound_ratio")
"""What a reader looks for first."""
_LAST: Final = (
    "reason", "severity", "elements", "not_a_number_count", "inf_count", "zero_count", "worst_index",
    "reference_radius_ulp", "reference_coverage", "device", "compute_dtype", "timer", "inputs_digest",
    "result_digest", "profile", "topic", "guide", "mode", "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """One value: as shown, and with every digit where that is more (empty otherwise)."""

    text: str
    exact: str = ""
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Rows of one case under the columns that are not empty."""

    columns: tuple[Column, ...]
    shared: tuple[tuple[str, str], ...]
    """(title, value) of columns that are the same in every row."""
    rows: tuple[Row, ...]


def result_table(rows: Sequence[Row], known: Mapping[str, Column]) -> ResultTable:
    """Return the table of some rows; `known` has the titles, units and display hints of columns."""
    names = [n for n in _ordered(rows) if any(present(r.get(n)) for r in rows)]
    shared = {}
    if len(rows) > 1:
        for name in names:
            if name in SHARED:
                values = {exact(r.get(name)) for r in rows}
                if len(values) == 1:
                    shared[name] = values.pop()
    elif rows:
        shared = {
            n: exact(rows[0].get(n)) for n in names if n in ("case", "operation", "topic", "guide", "mode")
        }
    columns = tuple(column_of(n, known) for n in names if n not in shared)
    return ResultTable(columns, tuple((column_of(n, known).title, v) for n, v in shared.items()), tuple(rows))


def _ordered(rows: Iterable[Row]) -> list[str]:
    """Coordinates, axes, verdict, then every other column in the order of the results."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in _ELSEWHERE))
    axes = [n for n in names if n.startswith(AXIS_PREFIX)]
    first = [n for n in ("formulation", "backend", "dtype", "output") if n in names]
    middle = [n for n in _AFTER_AXES if n in names]
    last = [n for n in _LAST if n in names]
    placed = {*axes, *first, *middle, *last}
    return [*first, *axes, *middle, *(n for n in names if n not in placed), *last]


def column_of(name: str, known: Mapping[str, Column]) -> Column:
    """Return how a column is headed; one without a definition is headed by its name."""
    if name in _DIGESTS:
        return Column(name, known[name].title if name in known else name.replace("_", " "), display="digest")
    if name in known:
        return known[name]
    if name.startswith(AXIS_PREFIX):
        return Column(name, name.removeprefix(AXIS_PREFIX), display="axis")
    display = "integer" if name in _INTEGERS else ""
    return Column(name, name.replace("_", " "), display=display)


def shown(value: Any, column: Column) -> Shown:
    """Return a value as its column shows it."""
    if not present(value):
        return Shown("")
    if column.display == "digest":
        return Shown(str(value)[:_DIGEST_SHOWN])
    if column.display == "axis":
        return Shown(plain(value), numeric=finite(value) is not None and not isinstance(value, str))
    if isinstance(value, str | bool):
        return Shown(exact(value))
    text, full = number(value, column.display or "scientific"), exact(value)
    return Shown(text, "" if finite(text.replace(",", "")) == finite(value) else full, numeric=True)
