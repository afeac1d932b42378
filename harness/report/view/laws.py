"""Figures of the error against the certified condition number, beside the laws κu and κ²u."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from harness.report.view.chart import BrokenMark, Figure, Guide, Lane, Panel, Point, Series, Styles, legend_of
from harness.report.view.header import CaseInfo
from harness.report.view.rows import (
    Row,
    by_precision,
    grouped,
    has_several_outputs,
    is_skipped,
    number_of,
    result_name,
    text_of,
    unit_roundoff,
)
from harness.report.view.scales import LogScale, decades
from harness.report.view.text import counted, significant

LAWS: Final[Mapping[str, tuple[int, ...]]] = {"least_squares": (1, 2)}
"""Powers of κ that an operation's error may follow (Higham 2002, §20.4); any other follows κ alone."""

_LEAST_POINTS: Final = 4
_LEAST_SPAN: Final = 100.0
_HIGHEST: Final = 1e3
"""Errors above are drawn at the top: there is nothing left to lose."""
_NAMES: Final = {1: "κu", 2: "κ²u"}


def law_figures(rows: Sequence[Row], case: CaseInfo, styles: Styles, key: str) -> list[Figure]:
    """Return a figure for each output, of the dtypes whose certified κ spans two decades or more."""
    judged = [r for r in rows if not is_skipped(r) and text_of(r, "outcome")]
    several = has_several_outputs(judged)
    figures: list[Figure] = []
    for result, group in grouped(judged, lambda r: result_name(r, several)).items():
        dtypes = grouped(group, lambda r: text_of(r, "dtype"))
        swept = [r for rows_of_dtype in dtypes.values() if _is_sweep(rows_of_dtype) for r in rows_of_dtype]
        if swept:
            figures.append(_figure(swept, case, styles, result, f"{key}-{len(figures)}"))
    return figures


def _is_sweep(rows: Sequence[Row]) -> bool:
    conditions = {k for r in rows if (k := number_of(r, "condition") or 0.0) > 0 and error_of(r) is not None}
    return len(conditions) >= _LEAST_POINTS and max(conditions) / min(conditions) >= _LEAST_SPAN


def error_of(row: Row) -> float | None:
    """Return the relative error of a row: of the whole output, or of its worst element."""
    norm = number_of(row, "norm_rel_error")
    return number_of(row, "max_rel_error") if norm is None else norm


def _figure(rows: Sequence[Row], case: CaseInfo, styles: Styles, result: str, key: str) -> Figure:
    powers = LAWS.get(case.operation, (1,))
    by_dtype = grouped(rows, lambda r: text_of(r, "dtype"))
    panels = tuple(
        p for d in by_precision(by_dtype) if (p := _panel(by_dtype[d], d, powers, styles)) is not None
    )
    laws = ("the law " if len(powers) == 1 else "the laws ") + " and ".join(_NAMES[p] for p in powers)
    of = f" of {result}" if result else ""
    caption = (
        f"Relative error{of} against the certified condition number κ of the rounded data, with "
        f"{laws}; errors above {significant(_HIGHEST)} are drawn at the top."
    )
    legend = legend_of(panels, styles, [("law", laws), ("limit", "κ = 1/u")])
    return Figure(key, "Error against the condition number", caption, panels, legend)


def _panel(rows: Sequence[Row], dtype: str, powers: Sequence[int], styles: Styles) -> Panel | None:
    placed = [(k, e, r) for r in rows if (k := number_of(r, "condition")) and (e := error_of(r)) is not None]
    if not placed:
        return None
    u = unit_roundoff(dtype)
    conditions = [k for k, _, _ in placed]
    x = decades(min(conditions), max(conditions))
    positive = [e for _, e, _ in placed if e > 0] or [u or 1.0]
    y = decades(min(*positive, u or 1.0), min(_HIGHEST, max(*positive, 1.0)))
    series, lanes, spoken = [], [], []
    for (formulation, backend), line in grouped(
        rows, lambda r: (text_of(r, "formulation"), text_of(r, "backend"))
    ).items():
        name, style = f"{formulation} · {backend}", styles.style(formulation, backend)
        points, marks = _points(line, y)
        if points:
            series.append(Series(name, style, points, joined=False))
            worst = max(points, key=lambda p: p.y)
            spoken.append(f"{name}: {counted(len(points), 'point')}, at worst {worst.title}.")
        if marks:
            lanes.append(Lane(name, style, marks))
            spoken.append(f"{name} broke at {counted(len(marks), 'place')}.")
    guides = [law_line(p, u, x, y) for p in powers] if u else []
    if u and x.low < 1 / u < x.high:
        guides.append(Guide("limit", ((1 / u, y.low), (1 / u, y.high))))
    return Panel(
        title=dtype,
        note="" if u is None else f"u = {significant(u)}",
        x=x,
        y=y,
        x_values=(),
        x_title="condition number κ",
        y_title="relative error",
        series=tuple(series),
        guides=tuple(g for g in guides if g.points),
        lanes=tuple(lanes),
        description=f"{dtype}, relative error against the condition number. " + " ".join(spoken),
    )


def law_line(power: int, u: float, x: LogScale, y: LogScale) -> Guide:
    """Return the straight line error = κ^power · u inside the panel, labelled; empty if it never enters."""
    low = max(math.log10(x.low), (math.log10(y.low) - math.log10(u)) / power)
    high = min(math.log10(x.high), (math.log10(y.high) - math.log10(u)) / power)
    if low >= high:
        return Guide("law", ())
    ends = tuple((10.0**k, min(y.high, max(y.low, 10.0 ** (power * k + math.log10(u))))) for k in (low, high))
    return Guide("law", ends, _NAMES.get(power, f"κ^{power} u"))


def _points(rows: Sequence[Row], y: LogScale) -> tuple[tuple[Point, ...], tuple[BrokenMark, ...]]:
    points, marks = [], []
    for row in rows:
        condition, error, outcome = number_of(row, "condition"), error_of(row), text_of(row, "outcome")
        if not condition:
            continue
        place = f"at κ = {significant(condition)}"
        if outcome != "ok":
            marks.append(BrokenMark(condition, outcome, place))
        elif error is not None:
            shown = f"error {significant(error)}" if error else "exact"
            at = max(y.low, error)
            points.append(Point(condition, at, f"{shown} {place}"))
    return tuple(points), tuple(marks)
