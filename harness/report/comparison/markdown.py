"""A comparison as GitHub Markdown, for a pull request: worst first, what passed folded, never too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from harness.compare.model import KINDS, Comparison, Null, Pair
from harness.report.markdown import (
    MOST_BYTES,
    SIGNS,
    Page,
    code,
    escaped,
    limited,
    line_of_table,
    table,
)
from harness.report.view.comparison import (
    EXIT_CODES,
    compared,
    decade_text,
    digits_text,
    how_measured,
    null_sentence,
    ordered,
    ratio_text,
    repetition,
    same_versions,
    share,
    time_text,
    told,
)
from harness.report.view.text import MISSING, counted, duration, whole

if TYPE_CHECKING:
    from harness.store import Run

_HEADS: Final = ("cell", "base", "head", "head / base", "digits", "verdict")
_ALIGN: Final = "lrrrrl"
_MOST_PASSED: Final = 200
_MOST_SIDE_LINES: Final = 30
_LONGEST_COMMAND: Final = 1000


def text(comparison: Comparison, run: Run | None = None) -> str:
    """Return the summary of a comparison, of at most 64 KiB."""
    found = told(comparison)
    closing = [*_repeat(comparison)]
    page = Page(MOST_BYTES - 512 - sum(len(part.encode()) + 2 for part in closing))
    page.add(f"# {SIGNS[found.state]} {escaped(found.headline)}")
    page.add(escaped(found.rest))
    page.add(_sides(comparison))
    pairs = ordered(comparison.pairs)
    told_first = [pair for pair in pairs if pair.verdict != "pass"]
    head = table(_HEADS, _ALIGN, [])
    page.add_list(f"## Worst first\n\n{head}", [_line(pair) for pair in told_first], "pair")
    page.add(_null(comparison))
    page.add_list("## Notes\n", [f"- {limited(note)}" for note in comparison.notes], "note")
    page.add(_passed([pair for pair in pairs if pair.verdict == "pass"], page.room))
    return page.close(closing)


def _sides(comparison: Comparison) -> str:
    lines = [
        [escaped(line.name), *(limited(side) if side else MISSING for side in (line.base, line.head))]
        for line in compared(comparison)
        if line.name != "asked for" and (line.differs or line.name == "title")
    ]
    more = len(lines) - _MOST_SIDE_LINES
    shown = table(["", "base", "head"], "lll", lines[:_MOST_SIDE_LINES])
    if more > 0:
        shown += f"\n\n*{counted(more, 'more difference')} in report.html.*"
    told = []
    if comparison.differences:
        told.append(f"Installed otherwise on the head: {limited('; '.join(comparison.differences), 1000)}.")
    same = same_versions(comparison)
    if same:
        told.append(f"On both: {limited(same, 600)}.")
    return "\n\n".join([shown, " ".join(told)]) if told else shown


def _line(pair: Pair) -> str:
    why = pair.error or ("" if pair.ratio is not None else pair.reason)
    others = f"<br>base: {code(pair.base_cell)}" if pair.base_cell != pair.cell else ""
    verdict = f"{escaped(KINDS[pair.kind])}<br>{limited(why, 200)}" if why else escaped(KINDS[pair.kind])
    if pair.verdict != "pass":
        verdict = f"**{pair.verdict}**: {verdict}"
    return line_of_table(
        [
            code(pair.cell) + others,
            time_text(pair.base_s),
            time_text(pair.head_s),
            escaped(ratio_text(pair)),
            escaped(digits_text(pair)),
            verdict,
        ]
    )


def _passed(pairs: Sequence[Pair], room: int) -> str:
    """Return the pairs that passed, folded, as many as there is room for."""
    if not pairs:
        return ""
    lines: list[str] = []
    left = room - 600
    for pair in pairs[:_MOST_PASSED]:
        line = _line(pair)
        left -= len(line.encode()) + 1
        if left < 0:
            break
        lines.append(line)
    parts = [f"<details><summary>{counted(len(pairs), 'pair')} passed</summary>", ""]
    parts += [table(_HEADS, _ALIGN, []), *lines, ""]
    if len(lines) < len(pairs):
        parts += [f"*{counted(len(pairs) - len(lines), 'more pair')} in report.html and compare.csv.*", ""]
    return "\n".join([*parts, "</details>"])


def _null(comparison: Comparison) -> str:
    parts = ["## The base against itself", escaped(null_sentence(comparison))]
    if comparison.nulls:
        lines = [_null_line(null) for null in comparison.nulls]
        parts.append(table(["a call takes", "cells", "A/A median", "A/A largest", "δ"], "lrrrr", lines))
    return "\n\n".join(parts)


def _null_line(null: Null) -> list[str]:
    numbers = (share(null.median), share(null.largest), f"**{share(null.threshold)}**")
    return [decade_text(null.decade), whole(null.cells), *numbers]


def _repeat(comparison: Comparison) -> Iterator[str]:
    """Yield what always stands at the end: the command, how it was measured, the exit code."""
    command = repetition(comparison)
    shown = code(command) if len(command) <= _LONGEST_COMMAND else code(command[:_LONGEST_COMMAND]) + "…"
    yield f"## Again\n\n{shown}"
    pairs = [(escaped(name), limited(value, 200)) for name, value in how_measured(comparison)[:40]]
    pairs += [("took", duration(comparison.seconds))] if comparison.seconds else []
    pairs += [("made", limited(comparison.made, 60))] if comparison.made else []
    if pairs:
        shown = table(["", ""], "ll", pairs)
        yield f"<details><summary>How it was measured</summary>\n\n{shown}\n\n</details>"
    meaning = EXIT_CODES.get(comparison.exit_code)
    yield f"Exit code {comparison.exit_code}{f': {meaning}' if meaning else ''}."
