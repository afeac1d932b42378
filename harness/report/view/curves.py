"""Figures of the digits left along each numeric axis of a case, with its bound drawn in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from harness.report.view.axes import Along, numeric_axes
from harness.report.view.chart import (
    OVER,
    BrokenMark,
    Figure,
    Guide,
    Lane,
    Panel,
    Point,
    Series,
    Styles,
    legend_of,
)
from harness.report.view.header import CaseInfo
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
from harness.report.view.scales import LinearScale
from harness.report.view.text import counted, listed, outcome_words, significant

_VISIBLE: Final = 0.05
"""Fewer digits than this cannot be told from none in a figure."""
BOUND: Final = ("bound", "the bound; shaded: worse than a stable algorithm guarantees")


def digit_figures(rows: Sequence[Row], case: CaseInfo, styles: Styles, key: str) -> list[Figure]:
    """Return a figure for each numeric axis and output of a case that has digits to show.

    Parameters
    ----------
    rows
        The rows of one case.
    styles
        Colours and shapes, shared by all figures of the operation.
    key
        Begins the ids of the figures.
    """
    judged = [r for r in rows if not is_skipped(r) and text_of(r, "outcome")]
    several = has_several_outputs(judged)
    figures: list[Figure] = []
    for result, group in grouped(judged, lambda r: result_name(r, several)).items():
        if not any(digits_left(r) is not None for r in group):
            continue
        axes = numeric_axes(group, case.zipped)
        for name, values in axes.items():
            along = Along.axis(name, case.axis(name), values)
            others = [a for a in axes if a != name]
            figures.append(_figure(group, along, others, result, styles, f"{key}-{len(figures)}"))
    return figures


def _figure(
    rows: Sequence[Row], along: Along, others: Sequence[str], result: str, styles: Styles, key: str
) -> Figure:
    by_dtype = grouped(rows, lambda r: text_of(r, "dtype"))
    panels = tuple(_panel(by_dtype[d], d, along, styles) for d in by_precision(by_dtype))
    of = f" of {result}" if result else ""
    if others and not any(p.y >= _VISIBLE for n in panels for s in n.series for p in s.points if p):
        caption = f"Against {along.title}, no formulation keeps a digit at its worst {listed(list(others))}."
        return Figure(key, f"Digits left against {along.title}", caption, (), ())
    over = f"; each point is the worst over {listed(list(others))}" if others else ""
    spaced = ", values evenly spaced" if along.scale.kind == "evenly spaced" else ""
    caption = f"Decimal digits that the worst element{of} keeps, against {along.title}{spaced}{over}."
    legend = legend_of(panels, styles, [BOUND])
    return Figure(key, f"Digits left against {along.title}", caption, panels, legend)


def _panel(rows: Sequence[Row], dtype: str, along: Along, styles: Styles) -> Panel:
    holds = capacity(dtype)
    top = holds or max((d for r in rows if (d := digits_left(r)) is not None), default=1.0) or 1.0
    series, lanes, spoken = [], [], []
    lines = grouped(rows, lambda r: (text_of(r, "formulation"), text_of(r, "backend")))
    for (formulation, backend), line in lines.items():
        name = f"{formulation} · {backend}"
        points, marks = _line(line, along)
        style = styles.style(formulation, backend)
        if any(points):
            series.append(Series(name, style, points))
        if marks:
            lanes.append(Lane(name, style, marks))
        spoken.append(_spoken(name, points, marks, along))
    bound = bound_curve(rows, along.column, top)
    return Panel(
        title=dtype,
        note="" if holds is None else f"holds {holds:.1f} digits",
        x=along.scale,
        y=LinearScale(0.0, top),
        x_values=along.values,
        x_title=along.title,
        y_title="digits left",
        series=tuple(series),
        guides=(Guide("bound", bound),) if bound else (),
        lanes=tuple(lanes),
        description=f"{dtype}, digits left against {along.title}. " + " ".join(spoken),
        nothing="no cell has digits left",
    )


def _line(rows: Sequence[Row], along: Along) -> tuple[tuple[Point | None, ...], tuple[BrokenMark, ...]]:
    """Return the points of one line, a gap where any of the cells at a place broke, and where it is wrong."""
    at = grouped(rows, lambda r: number_of(r, along.column))
    points: list[Point | None] = []
    marks = []
    for value in along.values:
        cells = at.get(value)
        if not cells:
            continue
        place = f"at {along.say(value)}"
        broke = [r for r in cells if text_of(r, "outcome") != "ok"]
        over = [r for r in cells if is_over_bound(r)]
        kept = [(d, r) for r in cells if (d := digits_left(r)) is not None]
        if broke or over:
            wrong, outcome = (broke, worst_outcome(broke)) if broke else (over, OVER)
            share = "" if len(wrong) == len(cells) else f", {len(wrong)} of {len(cells)} cells"
            marks.append(BrokenMark(value, outcome, place + share))
        if broke or not kept:
            points.append(None)
            continue
        digits, row = min(kept, key=lambda item: item[0])
        points.append(Point(value, digits, f"{digits:.1f} digits {place}{_against_bound(row)}"))
    return tuple(points), tuple(marks)


def _against_bound(row: Row) -> str:
    ratio = number_of(row, "bound_ratio")
    return "" if ratio is None else f", error {significant(ratio)} × its bound"


def bound_curve(rows: Sequence[Row], column: str, holds: float) -> tuple[tuple[float, float], ...]:
    """Return the digits that the bound leaves, along a column: (its value, digits) pairs.

    `max_ulp / bound_ratio` is at most the bound, in ulps, on the element with the largest error,
    since `bound_ratio` is the largest of all elements' ratios. The curve takes the largest over the
    formulations, so a point below it is above its bound for certain. Where an operation is judged by
    a backward error, ulps say nothing about the ratio, and where digits are those of the whole output,
    nothing about the digits: there is no curve.
    """
    if any(number_of(r, "backward_error") is not None or _of_the_whole(r, holds) for r in rows):
        return ()
    allowed: dict[float, float] = {}
    for row in rows:
        value, ulp = number_of(row, column), number_of(row, "max_ulp")
        ratio = number_of(row, "bound_ratio")
        if value is None or not ulp or not ratio or text_of(row, "outcome") != "ok":
            continue
        estimate = math.log10(ulp) - math.log10(ratio)
        allowed[value] = max(allowed.get(value, estimate), estimate)
    return tuple(
        (value, min(holds, max(0.0, holds - max(0.0, math.log10(2) + bound))))
        for value, bound in sorted(allowed.items())
    )


def _of_the_whole(row: Row, holds: float) -> bool:
    """Return whether more digits are left than in the element with the largest error."""
    ulp, digits = number_of(row, "max_ulp"), digits_left(row)
    if ulp is None or digits is None:
        return False
    return digits > max(0.0, holds - math.log10(max(1.0, 2 * ulp))) + 1e-6


def _spoken(name: str, points: Sequence[Point | None], marks: Sequence[BrokenMark], along: Along) -> str:
    """Say one line in words: where it starts and ends, its worst, and where it is wrong."""
    kept = [p for p in points if p is not None]
    parts = []
    if kept:
        low, first, last = min(kept, key=lambda p: p.y), kept[0], kept[-1]
        ends = f"{first.y:.1f} at {along.say(first.x)}"
        if last is not first:
            ends += f", {last.y:.1f} at {along.say(last.x)}"
        parts.append(ends if low in (first, last) else f"{ends}, fewest {low.y:.1f} at {along.say(low.x)}")
    for outcome, group in grouped(marks, lambda m: m.outcome).items():
        places = [along.say(m.x) for m in group]
        if len(places) > 3:
            places = [f"{counted(len(places), 'place')} from {places[0]} to {places[-1]}"]
        parts.append(f"{outcome_words(outcome)} at {listed(places)}")
    return f"{name}: {'; '.join(parts) or 'nothing measured'}."
