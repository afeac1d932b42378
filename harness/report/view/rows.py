"""How every part of a report reads a row: values, axes, outcome, verdict, digits left."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, TypeVar

from harness.model import OUTCOMES, VERDICTS
from harness.report.view.text import finite, present

Row = Mapping[str, Any]
"""One result: what a cell measured for one output, by column name."""

AXIS_PREFIX: Final = "axis."
DIGITS_PER_BIT: Final = math.log10(2)

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def text_of(row: Row, column: str) -> str:
    """Return a column as text, empty where it is missing."""
    value = row.get(column)
    return str(value) if present(value) else ""


def number_of(row: Row, column: str) -> float | None:
    """Return a column as a finite number, or None."""
    return finite(row.get(column))


def axes_of(row: Row) -> dict[str, Any]:
    """Return the axis values of a row as the case wrote them, in the order of its columns."""
    start = len(AXIS_PREFIX)
    return {k[start:]: v for k, v in row.items() if k.startswith(AXIS_PREFIX) and present(v)}


def is_skipped(row: Row) -> bool:
    """Return whether the cell was never to run."""
    return text_of(row, "verdict") == "skip"


def is_over_bound(row: Row) -> bool:
    """Return whether the error is above what the operation's bound allows (+inf included)."""
    ratio = row.get("bound_ratio")
    if not present(ratio):
        return False
    try:
        return float(str(ratio)) > 1
    except ValueError:
        return False


def is_broken(row: Row) -> bool:
    """Return whether the result is wrong: a bad outcome, or an error above the bound."""
    outcome = text_of(row, "outcome")
    return outcome not in ("", "ok") or is_over_bound(row)


def outcome_rank(outcome: str) -> int:
    """Return 0 for the worst outcome; what is unknown comes last."""
    return OUTCOMES.index(outcome) if outcome in OUTCOMES else len(OUTCOMES)


def verdict_rank(row: Row) -> int:
    """Return 0 for the worst verdict; what is unknown comes last."""
    verdict = text_of(row, "verdict")
    return VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)


def worst_outcome(rows: Iterable[Row]) -> str:
    """Return the worst outcome of some rows; empty when none has one."""
    return min((o for o in (text_of(r, "outcome") for r in rows) if o), key=outcome_rank, default="")


def is_cold(row: Row) -> bool:
    """Return whether the row's time is that of calls whose inputs no cache held."""
    return text_of(row, "cache") == "cold"


def digits_left(row: Row) -> float | None:
    """Return the decimal digits left: log₁₀2 · bits; None where undefined."""
    bits = number_of(row, "bits")
    return None if bits is None else max(0.0, bits * DIGITS_PER_BIT)


def capacity(dtype: str) -> float | None:
    """Return the decimal digits that a dtype holds, log₁₀2 · p; None for a dtype unknown here."""
    from harness.formats import DTYPES

    known = DTYPES.get(dtype)
    return None if known is None else known.storage.precision * DIGITS_PER_BIT


def by_precision(dtypes: Iterable[str]) -> list[str]:
    """Return the dtypes, each once, those that hold more digits first; those unknown here come last."""
    return sorted(dict.fromkeys(dtypes), key=lambda d: -(capacity(d) or 0.0))


def unit_roundoff(dtype: str) -> float | None:
    """Return the unit roundoff u of a dtype's results; None for a dtype unknown here."""
    from harness.formats import DTYPES

    known = DTYPES.get(dtype)
    return None if known is None else float(known.storage.unit_roundoff)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return the items by key, keys and items in order of appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def result_name(row: Row, several_outputs: bool) -> str:
    """Return what tells outputs and gradients of one formulation apart; empty when nothing has to."""
    parts = [text_of(row, "output")] if several_outputs else []
    if text_of(row, "mode") not in ("", "forward"):
        parts.append("gradient")
    return " ".join(parts)


def has_several_outputs(rows: Iterable[Row]) -> bool:
    """Return whether the rows of one operation name more than one output."""
    return len({text_of(r, "output") for r in rows} - {""}) > 1
