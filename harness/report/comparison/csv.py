"""Pairs as CSV: the fields of a pair in their order, then its axes; empty is what was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from harness.compare.model import Pair

if TYPE_CHECKING:
    from harness.compare.model import Comparison
    from harness.store import Run


def text(comparison: Comparison, run: Run | None = None) -> str:
    """Return one line for each pair: times in seconds a call, axes exact in `axes` and again one by one."""
    from harness.store.table import table_text

    return table_text([row(pair) for pair in comparison.pairs], columns(comparison.pairs))


def columns(pairs: Sequence[Pair]) -> list[str]:
    """Return the names of the columns."""
    axes = dict.fromkeys(f"axis.{name}" for pair in pairs for name in pair.axes)
    return [*(f.name for f in fields(Pair)), *axes]


def row(pair: Pair) -> dict[str, Any]:
    """Return a pair by column."""
    from harness.store.rows import axes_text, axis_columns

    axes = axes_text(pair.axes)
    values: Mapping[str, Any] = {f.name: getattr(pair, f.name) for f in fields(Pair)}
    return {**values, "axes": axes, **axis_columns(axes)}
