"""What `harness compare` says at its end: the verdict, pairs worst first, what was too small to be seen."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from harness.cli.output import told

if TYPE_CHECKING:
    from pathlib import Path

    from harness.compare.model import Comparison, Pair

WIDTH: Final = 100
MOST_PAIRS: Final = 24
MOST_NOTES: Final = 6
MOST_ALIKE: Final = 3
"""Pairs named that could not be measured for the same reason."""
MOST_LINES: Final = 6
"""Of one reason."""
_LEAST_CASE: Final = 9
"""Columns that the name of a case keeps at least when its middle is left out."""
_HEADS: Final = ("base", "head", "head / base", "digits")


def lines(comparison: Comparison, *, report: Path | None = None, width: int = WIDTH) -> Iterator[str]:
    """Yield the summary of a comparison.

    Parameters
    ----------
    comparison
        What was found.
    report
        Where all of it can be read.
    width
        Columns of the screen.
    """
    from harness.report.view import comparison as view

    yield from _wrapped(view.told(comparison).sentence, width)
    yield f"  base  {told(comparison.base.title)}"
    yield f"  head  {told(comparison.head.title)}"
    if comparison.differences:
        yield f"  differs: {told('; '.join(comparison.differences))}"
    if comparison.pairs:
        yield ""
        yield from _table(comparison.pairs, width)
    yield ""
    yield from _wrapped(view.null_sentence(comparison), width)
    for null in comparison.nulls:
        decade, cells = view.decade_text(null.decade), f"{null.cells} cell{'s' * (null.cells != 1)}"
        median, delta = view.share(null.median), view.share(null.threshold)
        yield f"  {decade:>14}  base against itself {median:>6}  δ {delta:>6}  {cells}"
    yield from (f"note: {_cut(note, 3 * width)}" for note in comparison.notes[:MOST_NOTES])
    if len(comparison.notes) > MOST_NOTES:
        yield f"… and {len(comparison.notes) - MOST_NOTES} more notes in the report"
    meaning = view.EXIT_CODES.get(comparison.exit_code)
    yield f"exit code {comparison.exit_code}" + (f": {meaning}" if meaning else "")
    if report is not None:
        yield f"report: {report}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(told(text), width, break_long_words=False, break_on_hyphens=False)


def _table(pairs: Sequence[Pair], width: int) -> Iterator[str]:
    from harness.compare.model import KINDS
    from harness.report.view.comparison import groups

    every = [pair for found in groups(pairs).values() for pair in found]
    shown, alike = _shown(every)
    fields = {n: _fields(every[n]) for n in shown}
    widths = [max(map(len, column)) for column in zip(_HEADS, *fields.values(), strict=True)]
    room = width - 2 - sum(w + 2 for w in widths)
    names = distinct_names([pair.cell for pair in every], room)
    pad = min(room, max(len(names[n]) for n in shown))
    yield f"  {'':{pad}}{_joined(_HEADS, widths)}"
    before: tuple[str, str] | None = None
    for n in shown:
        pair, name, row = every[n], names[n], _joined(fields[n], widths)
        if (pair.verdict, pair.kind) != before:
            before = (pair.verdict, pair.kind)
            yield f"{pair.verdict}: {KINDS[pair.kind]}"
        if len(name) <= pad:
            yield f"  {name:{pad}}{row}".rstrip()
        else:
            yield f"  {name}"
            yield from [f"  {'':{pad}}{row}"] if row else []
        for line in _wrapped(_cut(_why(pair), MOST_LINES * (width - 4)), width - 4):
            yield f"    {line}"
        if alike.get(n):
            yield f"  … and {alike[n]:,} more for the same reason"
    left = len(every) - len(shown) - sum(alike.values())
    if left:
        yield f"… and {left:,} more in the report"


def _shown(pairs: Sequence[Pair]) -> tuple[list[int], dict[int, int]]:
    """Return which pairs are named, and for how many others of the same reason the last of them stands."""
    named: dict[tuple[str, str], list[int]] = {}
    shown: list[int] = []
    alike: dict[int, int] = {}
    for n, pair in enumerate(pairs):
        same = named.setdefault((pair.kind, _why(pair)), []) if _why(pair) else []
        if len(same) >= MOST_ALIKE:
            alike[same[-1]] = alike.get(same[-1], 0) + 1
        elif len(shown) < MOST_PAIRS:
            shown.append(n)
            same.append(n)
    return shown, alike


def _why(pair: Pair) -> str:
    """Return why there is no ratio, or what became of the digits where they decided."""
    if pair.ratio is None:
        return pair.error or pair.reason
    return pair.reason if pair.accuracy == "worse" else ""


def _fields(pair: Pair) -> tuple[str, ...]:
    from harness.report.view.comparison import digits_text, ratio_text, time_text

    if pair.ratio is None:
        return ("",) * len(_HEADS)
    return (time_text(pair.base_s), time_text(pair.head_s), ratio_text(pair), digits_text(pair))


def _joined(fields: Sequence[str], widths: Sequence[int]) -> str:
    """Return fields in their columns; ratios begin together, the other numbers end together."""
    parts = [
        f"  {field:<{width}}" if n == 2 else f"  {field:>{width}}"
        for n, (field, width) in enumerate(zip(fields, widths, strict=True))
    ]
    return "".join(parts).rstrip()


def _cut(text: str, most: int) -> str:
    from harness.report.view.visible import one_line

    return one_line(text, most)


def distinct_names(cells: Sequence[str], room: int) -> list[str]:
    """Return ids for a screen: where one is wider than `room`, the name of its case loses its middle.

    All coordinates stay. What would be too short then, or like another, stays whole; ids that differ only in
    what cannot be shown are numbered.
    """
    from harness.report.view.visible import visible

    whole = [" ".join(visible(cell).split()) for cell in cells]
    looks = Counter(whole)
    if any(n > 1 for n in looks.values()):
        numbers = {cell: n for n, cell in enumerate(dict.fromkeys(cells), start=1)}
        whole = [f"#{numbers[c]} {w}" if looks[w] > 1 else w for c, w in zip(cells, whole, strict=True)]
    parts = [name.partition("/") for name in whole]
    keeps: dict[str, int] = {}
    for case, slash, rest in parts:
        left = room - len(slash + rest)
        if _LEAST_CASE <= left < len(case):
            keeps[case] = min(left, keeps.get(case, left))
    cut = []
    for name, (case, slash, rest) in zip(whole, parts, strict=True):
        keep = keeps.get(case, len(case))
        front, fits = keep // 2, len(name) > room >= keep + len(slash + rest)
        cut.append(f"{case[:front]}…{case[len(case) - (keep - 1 - front) :]}{slash}{rest}" if fits else name)
    taken = Counter(cut)
    return [short if taken[short] == 1 else name for short, name in zip(cut, whole, strict=True)]
