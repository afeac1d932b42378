"""The matrix of digits left: formulation × backend × dtype, the worst of many cells in each field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from harness.model import SKIP_WORDS
from harness.report.view.rows import (
    Row,
    by_precision,
    capacity,
    digits_left,
    grouped,
    has_several_outputs,
    is_over_bound,
    is_skipped,
    number_of,
    result_name,
    text_of,
    worst_outcome,
)
from harness.report.view.summary import warns
from harness.report.view.text import MISSING, counted, outcome_words, shortened

LEVELS: Final = 7
"""Steps of the colour scale, from all digits left (0) to none (6)."""
_ALARMING: Final = 4
"""From this step on, a field says that so few digits are all that its bound promises."""

_UNAVAILABLE: Final = SKIP_WORDS[1]

Kind = Literal["digits", "broken", "missing"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: the worst over its cells, in words, with what its colour stands for."""

    kind: Kind
    text: str
    """Digits left to a decimal, the worst outcome, or a dash."""
    detail: str
    """How many cells broke and what the others keep; why there is nothing; empty when all is said."""
    level: int | None = None
    """Step of the colour scale; None where there are no digits to colour."""
    failed: int = 0
    """Cells of it whose verdict is fail."""
    outcome: str = ""
    skipped: bool = False
    """Whether `detail` is the reason of a skip: a word, a colon, a sentence."""

    @property
    def brief(self) -> str:
        """The detail where room is short: of the reason of a skip, its word."""
        return self.detail.partition(":")[0] if self.skipped else self.detail


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the matrix."""

    formulation: str
    backend: str
    result: str
    """Which output or gradient; empty when there is only one."""
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """One column of the matrix: a dtype and the digits that it holds."""

    dtype: str
    capacity: float | None

    @property
    def holds(self) -> str:
        """The digits that the dtype holds, for the head of the column."""
        return "" if self.capacity is None else f"holds {self.capacity:.1f}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Digits left, by formulation and backend downwards and dtype across."""

    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]
    cells: int
    has_results: bool
    """Whether lines differ in `result`."""
    absent: tuple[str, ...] = ()
    """Backends that are not on this machine, with the reason: they have no lines."""


def digits_matrix(rows: Sequence[Row]) -> Matrix | None:
    """Return the matrix of some rows of one operation; None when accuracy was measured nowhere."""
    if not any(text_of(r, "outcome") for r in rows):
        return None
    several = has_several_outputs(rows)
    absent = [r for r in rows if is_absent(r)]
    running = {text_of(r, "backend") for r in rows if not is_skipped(r)}
    gone = {text_of(r, "backend") for r in absent} - running
    rows = [r for r in rows if text_of(r, "backend") not in gone]
    ran = {text_of(r, "dtype") for r in rows if not is_skipped(r)}
    dtypes = by_precision(d for r in rows if (d := text_of(r, "dtype")) in ran)
    headings = tuple(Heading(d, capacity(d)) for d in dtypes)
    made = []
    for formulation, same in grouped(rows, lambda r: text_of(r, "formulation")).items():
        lines = grouped(same, lambda r: (result_name(r, several), text_of(r, "backend")))
        for (result, backend), group in lines.items():
            by_dtype = grouped(group, lambda r: text_of(r, "dtype"))
            fields = tuple(field_of(by_dtype.get(h.dtype, []), h.capacity) for h in headings)
            made.append(Line(formulation, backend, result, fields))
    cells = len({text_of(r, "cell") for r in rows if not is_skipped(r)})
    return Matrix(headings, tuple(made), cells, len({line.result for line in made}) > 1, _absences(absent))


def _absences(rows: Sequence[Row]) -> tuple[str, ...]:
    """Tell which backends are absent, why, and how many cells that leaves out."""
    told = grouped(rows, lambda r: (text_of(r, "backend"), text_of(r, "reason")))
    return tuple(
        f"{backend} is {reason} ({counted(len({text_of(r, 'cell') for r in group}), 'cell')})"
        for (backend, reason), group in told.items()
    )


def is_absent(row: Row) -> bool:
    """Return whether a cell was skipped because its backend is not on this machine."""
    return is_skipped(row) and text_of(row, "reason").startswith(f"{_UNAVAILABLE}:")


def field_of(rows: Sequence[Row], holds: float | None) -> Field:
    """Return the field that stands for these rows.

    Parameters
    ----------
    rows
        Results of one formulation, backend and dtype.
    holds
        Decimal digits of the dtype, which is what the colour is relative to.
    """
    ran = [r for r in rows if not is_skipped(r)]
    if not ran:
        reasons = list(dict.fromkeys(text_of(r, "reason") for r in rows))
        return Field(
            "missing", MISSING, shortened("; ".join(reasons), 200) or "not in this run", skipped=True
        )
    failed = len({text_of(r, "cell") for r in ran if text_of(r, "verdict") == "fail" and not warns(r)})
    judged = [r for r in ran if text_of(r, "outcome")]
    if not judged:
        timed = all(number_of(r, "time_median_s") is not None for r in ran)
        return Field("missing", MISSING, "timed only" if timed else "no result", failed=failed)
    good = [d for r in judged if text_of(r, "outcome") == "ok" and (d := digits_left(r)) is not None]
    bad = [r for r in judged if text_of(r, "outcome") != "ok"]
    over = sum(is_over_bound(r) for r in judged if text_of(r, "outcome") == "ok")
    level = _level(min(good), holds) if good else None
    if bad:
        outcome = worst_outcome(bad)
        same = sum(text_of(r, "outcome") == outcome for r in bad)
        detail = _broken_detail(same, len(bad) - same, len(judged), min(good, default=None))
        return Field("broken", outcome_words(outcome), detail, None, failed, outcome)
    if not good:
        return Field("missing", MISSING, "the exact result has no finite element", failed=failed)
    said = f"{over} of {counted(len(judged), 'cell')} above the bound" if over else ""
    if level is not None and level >= _ALARMING and all(_is_within(r) for r in judged):
        said = "within the bound"
    return Field("digits", f"{min(good):.1f}", said, level, failed, "ok")


def _is_within(row: Row) -> bool:
    ratio = number_of(row, "bound_ratio")
    return ratio is not None and ratio <= 1


def _broken_detail(same: int, otherwise: int, cells: int, kept: float | None) -> str:
    """How many of the cells have the outcome named, how many broke in a lesser way, what the others keep."""
    if same == cells:
        return "the only cell" if cells == 1 else f"all {cells} cells"
    broken = f", {otherwise} broke otherwise" if otherwise else ""
    rest = "" if kept is None else f", else {kept:.1f}"
    return f"{same} of {cells} cells{broken}{rest}"


def _level(digits: float, holds: float | None) -> int:
    """Return the step of the colour scale: equal shares of the digits lost, 0 only near all."""
    if not holds:
        return 0
    lost = 1 - min(1.0, digits / holds)
    return min(LEVELS - 1, int(lost * LEVELS))


def spoken(field: Field) -> str:
    """Return a field for a reader who sees neither colour nor layout."""
    unit = " digits left" if field.kind == "digits" else ""
    parts = [p for p in (f"{field.text}{unit}", field.detail) if p]
    if field.failed:
        parts.append(f"{counted(field.failed, 'cell')} failed")
    return ", ".join(parts)
