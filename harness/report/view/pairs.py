"""The part of the report that a comparison has: what its template lays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from harness.compare.model import KINDS, Comparison, Pair
from harness.report.view import comparison as telling
from harness.report.view.forest import forest, null_most, null_rows
from harness.report.view.text import duration
from harness.report.view.visible import one_line, visible

MOST_PAIRS: Final = 1000
"""Rows of the table, worst first; the rest are in compare.csv."""
MOST_NOTES: Final = 50
_LONGEST: Final = 600
"""Characters of a reason or an error of a pair that did not pass."""
_REASON_BYTES: Final = 40_000
"""What such texts may take together; the rest are in comparison.json."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """One row of the table of pairs."""

    pair: Pair
    base: str
    head: str
    ratio: str
    interval: str
    digits: str
    kind: str
    why: str


def comparison_section(comparison: Comparison) -> dict[str, Any]:
    """Return everything that the template of a comparison lays out."""
    pairs = telling.ordered(comparison.pairs)
    return {
        "told": telling.told(comparison),
        "made": " · ".join(
            t for t in (comparison.made, duration(comparison.seconds) if comparison.seconds else "") if t
        ),
        "sides": [
            telling.Compared(visible(line.name), visible(line.base), visible(line.head))
            for line in telling.compared(comparison)
        ],
        "same_versions": visible(telling.same_versions(comparison)),
        "differences": [visible(one) for one in comparison.differences],
        "forest": forest(pairs),
        "pairs": _rows(pairs[:MOST_PAIRS]),
        "more_pairs": max(0, len(pairs) - MOST_PAIRS),
        "nulls": null_rows(comparison.nulls),
        "null_most": null_most(comparison.nulls),
        "null_sentence": telling.null_sentence(comparison),
        "decade": telling.decade_text,
        "share": telling.share,
        "command": visible(telling.repetition(comparison)),
        "exit_code": comparison.exit_code,
        "exit_meaning": telling.EXIT_CODES.get(comparison.exit_code, ""),
        "notes": [one_line(note, 2 * _LONGEST) for note in comparison.notes[:MOST_NOTES]],
        "how": [
            (visible(name), one_line(value, _LONGEST)) for name, value in telling.how_measured(comparison)
        ],
    }


def _rows(pairs: list[Pair]) -> list[PairRow]:
    rows, left = [], _REASON_BYTES
    for pair in pairs:
        why = pair.error or ("" if pair.verdict == "pass" else pair.reason)
        told = one_line(why, _LONGEST if left > 0 else 0) if why else ""
        left -= len(told.encode())
        rows.append(
            PairRow(
                pair,
                telling.time_text(pair.base_s),
                telling.time_text(pair.head_s),
                telling.ratio_number(pair.ratio),
                telling.interval_text(pair),
                telling.digits_text(pair),
                KINDS[pair.kind],
                told,
            )
        )
    return rows
