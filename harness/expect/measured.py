"""What a row measured, read the same way by verdicts and facts, and numbers in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from harness.model import Condition

Row = Mapping[str, Any]
"""One result: what a cell measured for one output, by column name; None where not measured."""

UNJUDGED = ("crashed", "timeout")
"""Outcomes that tell nothing of the arithmetic: the cell gave no answer to judge."""

_COMPARATORS = (("above", "≤"), ("at_least", "<"), ("below", "≥"), ("at_most", ">"))


def measured(row: Row, column: str) -> Any:
    """Return a row's value; None where it was not measured, a float where a text spells one."""
    value = row.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.lower().lstrip("+-") in ("inf", "infinity", "nan"):
        return float(value)
    return value


def undecided(row: Row) -> int:
    """Return how many reference elements stayed undecided at the precision cap."""
    return int(measured(row, "undecided") or 0)


def breaks(row: Row) -> bool | None:
    """Return whether a row is wrong: a bad outcome, or an error beyond the bound.

    None where that is not known: nothing was measured, the process died, or the reference is
    undecided. `raised` is a bad outcome: the formulation itself gave up.
    """
    outcome = measured(row, "outcome")
    if outcome is None or outcome in UNJUDGED or undecided(row):
        return None
    if outcome != "ok":
        return True
    ratio = measured(row, "bound_ratio")
    return None if ratio is None else not ratio <= 1


def broken_bounds(column: str, value: Any, condition: Condition) -> list[str]:
    """Return what `value` violates, one phrase for each comparator: `max_ulp 612 > 500`."""
    if condition.holds(value):
        return []
    phrases = []
    for word, opposite in _COMPARATORS:
        limit = getattr(condition, word)
        if limit is not None and not Condition(**{word: limit}).holds(value):
            shown, against = number_pair(value, limit)
            phrases.append(f"{column} {shown} {opposite} {against}")
    if condition.equals is not None and not Condition(equals=condition.equals).holds(value):
        allowed = ", ".join(map(str, condition.equals))
        phrases.append(f"{column} {number(value)} is none of {{{allowed}}}")
    return phrases


def kept_bounds(column: str, value: Any, condition: Condition) -> str:
    """Return a phrase for a condition that holds: `max_ulp 12 ≤ 500`."""
    parts: list[str] = []
    for word, sign in (("above", ">"), ("at_least", "≥"), ("below", "<"), ("at_most", "≤")):
        limit = getattr(condition, word)
        if limit is not None:
            shown, against = number_pair(value, limit)
            parts.append(f"{shown} {sign} {against}" if not parts else f"{sign} {against}")
    return f"{column} {' and '.join(parts) or number(value)}"


def number(value: Any) -> str:
    """Return a number in three significant digits (integers and texts whole)."""
    if isinstance(value, (bool, str, int, Fraction)):
        return str(value)
    if isinstance(value, Decimal):
        value = float(value)
    return next(_spellings(value))


def number_pair(value: Any, limit: Any) -> tuple[str, str]:
    """Return both numbers, with as many digits as it takes to see that they differ."""
    against = str(limit)
    if isinstance(value, (bool, str)) or not isinstance(value, (float, Decimal)):
        return str(value), against
    if not (math.isfinite(value) and math.isfinite(limit)) or value == limit:
        return number(value), against
    differing = (s for s in _spellings(float(value)) if Fraction(s) != Fraction(limit))
    return next(differing, repr(value)), against


def _spellings(value: float) -> Iterator[str]:
    for digits in (3, 5, 8, 12, 17):
        yield f"{value:.{digits}g}"
