"""A comparison as JUnit XML: a test case for each pair; `fail` is a failure, `inconclusive` an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from harness.compare.model import KINDS, Comparison, Pair
from harness.report.comparison.github import message
from harness.report.junit import TestCase, document
from harness.report.view.comparison import measured_text, null_sentence, ordered, told
from harness.report.view.text import exact, finite

if TYPE_CHECKING:
    from harness.store import Run

_PROPERTIES: Final = (
    "ratio", "ratio_low", "ratio_high", "threshold", "base_s", "head_s", "base_digits", "head_digits",
)  # fmt: skip


def text(comparison: Comparison, run: Run | None = None) -> str:
    """Return a comparison as XML of one test suite."""
    return document([_of_pair(pair) for pair in ordered(comparison.pairs)], _facts_of(comparison))


def _of_pair(pair: Pair) -> TestCase:
    case, _, name = pair.cell.partition("/")
    against = f" against {pair.base_cell}" if pair.base_cell != pair.cell else ""
    made = TestCase(case, name + against, properties=tuple(_properties(pair)))
    made.time_s = finite(pair.head_s) or 0.0
    if pair.verdict == "pass":
        made.note = "" if pair.kind == "same" else f"{KINDS[pair.kind]}: {message(pair)}"
        return made
    made.fail(
        pair.kind,
        f"{KINDS[pair.kind]}: {message(pair)}",
        "failure" if pair.verdict == "fail" else "error",
    )
    told_lines = (pair.cell, message(pair), measured_text(pair))
    made.text = "\n".join(line for line in told_lines if line)
    return made


def _properties(pair: Pair) -> Iterator[tuple[str, str]]:
    for name in _PROPERTIES:
        value = exact(getattr(pair, name))
        if value:
            yield name, value


def _facts_of(comparison: Comparison) -> Iterator[tuple[str, str]]:
    yield "verdict", told(comparison).sentence
    yield "base", comparison.base.title
    yield "head", comparison.head.title
    yield from (("difference", one) for one in comparison.differences)
    yield "null", null_sentence(comparison)
    yield from (("note", note) for note in comparison.notes)
    yield "exit_code", str(comparison.exit_code)
    for name, value in (("made", comparison.made), ("cpu", exact(comparison.conditions.get("cpu")))):
        if value:
            yield name, value
