"""Figures of speed: GFLOP/s with its interval, and the share of the measured peak, against size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.report.view.axes import Along, AxisUnit, numeric_axes
from harness.report.view.chart import Figure, Guide, Panel, Point, Series, Styles, legend_of
from harness.report.view.header import CaseInfo
from harness.report.view.rows import Row, by_precision, grouped, is_cold, number_of, text_of
from harness.report.view.scales import LinearScale, LogScale, Scale, choose_scale
from harness.report.view.text import seconds, significant

WORK: Final = "flops"
COLD: Final = ", inputs cold"
_FAR: Final = 200.0
"""Shares above this, in %, need a logarithmic scale."""
_NOTE: Final = 34
"""Characters that fit beside the title of a panel."""
_ROOM: Final = 2.0
"""Factor left free above and below on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What is drawn upwards: its names, its number in a row, and the ends of its interval."""

    name: str
    y_title: str
    caption: str
    value: Callable[[Row], float | None]
    ends: Callable[[Row], tuple[float, float] | None]
    shown: Callable[[float], str]
    slowest: Callable[[Sequence[float]], float]


def is_timed(row: Row) -> bool:
    """Return whether the row has a time."""
    return number_of(row, "time_median_s") is not None


def speed_figures(rows: Sequence[Row], case: CaseInfo, styles: Styles, key: str) -> list[Figure]:
    """Return the figures of a case's timed rows: speed and share of peak, or time where no work is known.

    They are drawn against the one numeric axis of the case, or against the work of a call where
    several axes vary. One size alone makes no figure: the table says it. Hot and cold times have figures
    of their own.
    """
    # Several outputs of one cell have one time.
    timed = list({text_of(r, "cell"): r for r in rows if is_timed(r)}.values())
    return [
        figure
        for cold, same in grouped(timed, is_cold).items()
        for figure in _figures(same, case, styles, f"{key}-cold" if cold else key)
    ]


def _figures(timed: Sequence[Row], case: CaseInfo, styles: Styles, key: str) -> list[Figure]:
    axes = numeric_axes(timed, case.zipped)
    if len(axes) == 1:
        ((name, values),) = axes.items()
        along = Along.axis(name, case.axis(name), values)
    else:
        values = tuple(sorted({w for r in timed if (w := number_of(r, WORK)) is not None}))
        along = Along(WORK, "work of one call (flop)", AxisUnit(), values, choose_scale(values or (0.0,)))
    if len(values) < 2:
        return []
    quantities = [_SPEED] if all(number_of(r, "gflops") is not None for r in timed) else [_TIME]
    if any(number_of(r, "peak_fraction") is not None for r in timed):
        quantities.append(_SHARE)
    return [_figure(timed, quantity, along, styles, f"{key}-{quantity.name}") for quantity in quantities]


def _figure(rows: Sequence[Row], quantity: _Quantity, along: Along, styles: Styles, key: str) -> Figure:
    by_dtype = grouped(rows, lambda r: text_of(r, "dtype"))
    peaks = {d: peaks_of(group) if quantity is _SPEED else {} for d, group in by_dtype.items()}
    numbers = [v for r in rows if (v := quantity.value(r)) is not None and v > 0]
    numbers += [peak for found in peaks.values() for peak in found.values()]
    shared = LogScale(min(numbers) / _ROOM, max(numbers) * _ROOM)
    panels = tuple(
        _panel(
            by_dtype[d], d, quantity, along, styles,
            share_scale(by_dtype[d]) if quantity is _SHARE else shared, peaks[d],
        )
        for d in by_precision(by_dtype)
    )  # fmt: skip
    legend = legend_of(panels, styles, [("limit", "measured peak of this machine")])
    cold = COLD if any(map(is_cold, rows)) else ""
    title = f"{quantity.y_title} against {along.title}{cold}"
    return Figure(key, title, f"{quantity.caption}, against {along.title}{cold}.", panels, legend)


def share_scale(rows: Sequence[Row]) -> Scale:
    """Return the scale of a share of the peak, %: to 100, or logarithmic where it goes far beyond."""
    shares = [s for r in rows if (s := _percent_of_peak(r))]
    top = max(shares, default=0.0)
    return LinearScale(0.0, max(100.0, top)) if top <= _FAR else LogScale(min(shares) / _ROOM, top * _ROOM)


def peaks_of(rows: Sequence[Row]) -> dict[str, float]:
    """Return the highest peak of each backend, GFLOP/s, from the shares that were reached of its peaks.

    Rows of one dtype that compute in different ones are compared with different peaks.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        speed, share = number_of(row, "gflops"), number_of(row, "peak_fraction")
        if speed and share:
            found.setdefault(text_of(row, "backend"), []).append(speed / share)
    return {backend: max(peaks) for backend, peaks in found.items()}


def _panel(
    rows: Sequence[Row],
    dtype: str,
    quantity: _Quantity,
    along: Along,
    styles: Styles,
    y: Scale,
    peaks: dict[str, float],
) -> Panel:
    series, spoken = [], []
    lines = grouped(rows, lambda r: (text_of(r, "formulation"), text_of(r, "backend")))
    for (formulation, backend), line in lines.items():
        name = f"{formulation} · {backend}"
        points = _points(line, quantity, along)
        kept = [p for p in points if p]
        if kept:
            series.append(Series(name, styles.style(formulation, backend), points))
            ends = dict.fromkeys((kept[0], kept[-1]))
            said = ", ".join(f"{quantity.shown(p.y)} at {along.say(p.x)}" for p in ends)
            spoken.append(f"{name}: {said}.")
    cold = COLD if any(map(is_cold, rows)) else ""
    labels = peak_labels(peaks)
    guides = [Guide("limit", ((along.values[0], peak), (along.values[-1], peak))) for _, peak in labels]
    note = f"peak {', '.join(label for label, _ in labels)}" if labels else ""
    if len(note) > _NOTE:
        note = f"peaks {', '.join(significant(peak) for _, peak in labels)}"
    if note:
        spoken.append(f"Measured {note} GFLOP/s.")
    return Panel(
        title=dtype,
        note=note,
        x=along.scale,
        y=y,
        x_values=along.values if along.column != WORK else (),
        x_title=along.title,
        y_title=quantity.y_title,
        series=tuple(series),
        guides=tuple(guides),
        lanes=(),
        description=f"{dtype}, {quantity.y_title} against {along.title}{cold}. " + " ".join(spoken),
        nothing="not timed",
    )


def peak_labels(peaks: dict[str, float]) -> list[tuple[str, float]]:
    """Return (label, peak) for each peak that differs by more than a tenth; several name their backends."""
    lines: list[tuple[list[str], float]] = []
    for backend, peak in sorted(peaks.items(), key=lambda item: -item[1]):
        if lines and peak > 0.9 * lines[-1][1]:
            lines[-1][0].append(backend)
        else:
            lines.append(([backend], peak))
    several = len(lines) > 1
    return [
        (significant(peak) + (f" {', '.join(backends)}" if several else ""), peak) for backends, peak in lines
    ]


def _points(rows: Sequence[Row], quantity: _Quantity, along: Along) -> tuple[Point | None, ...]:
    at = grouped(rows, lambda r: number_of(r, along.column))
    points: list[Point | None] = []
    for value in along.values:
        cells = [(v, r) for r in at.get(value, []) if (v := quantity.value(r)) is not None]
        if not cells:
            continue
        slowest = quantity.slowest([v for v, _ in cells])
        row = next(r for v, r in cells if v == slowest)
        low, high = quantity.ends(row) or (None, None)
        time = "" if (t := number_of(row, "time_median_s")) is None else f", {seconds(t)} a call"
        title = f"{quantity.shown(slowest)} at {along.say(value)}{time}"
        points.append(Point(value, slowest, title, low, high))
    return tuple(points)


def _interval(row: Row) -> tuple[float, float] | None:
    low, high = number_of(row, "time_ci_low_s"), number_of(row, "time_ci_high_s")
    return None if low is None or high is None or low <= 0 else (low, high)


def _speed_ends(row: Row) -> tuple[float, float] | None:
    ends, flops = _interval(row), number_of(row, "flops")
    return None if ends is None or flops is None else (flops / ends[1] / 1e9, flops / ends[0] / 1e9)


def _percent_of_peak(row: Row) -> float | None:
    share = number_of(row, "peak_fraction")
    return None if share is None else 100 * share


def _percent_ends(row: Row) -> tuple[float, float] | None:
    ends, speed, share = _speed_ends(row), number_of(row, "gflops"), _percent_of_peak(row)
    if ends is None or not speed or not share:
        return None
    return ends[0] * share / speed, ends[1] * share / speed


_SPEED: Final = _Quantity(
    "speed",
    "GFLOP/s",
    "Speed with the 95 % interval of its median; the line is the measured peak",
    lambda r: number_of(r, "gflops"),
    _speed_ends,
    lambda v: f"{significant(v)} GFLOP/s",
    min,
)
_SHARE: Final = _Quantity(
    "share",
    "% of peak",
    "Share of the peak measured in the dtype, or in the one computed in where that is higher",
    _percent_of_peak,
    _percent_ends,
    lambda v: f"{v:.1f} % of peak",
    min,
)
_TIME: Final = _Quantity(
    "time",
    "time of one call (s)",
    "Median time of one call with its 95 % interval",
    lambda r: number_of(r, "time_median_s"),
    _interval,
    seconds,
    max,
)
