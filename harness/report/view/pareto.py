"""Digits against time: what each formulation, backend and dtype gives for its time, and the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.report.view.axes import AxisUnit
from harness.report.view.chart import (
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
    axes_of,
    by_precision,
    capacity,
    digits_left,
    grouped,
    is_cold,
    number_of,
    text_of,
    worst_outcome,
)
from harness.report.view.scales import LinearScale, LogScale, Tick, decades
from harness.report.view.text import counted, finite, outcome_words, plain, seconds

WIDTH: Final = 560
PLOT: Final = 250
_COLD: Final = "inputs cold"
_ROOM: Final = 1.3
"""Factor left free beside the fastest and the slowest."""
_NARROW: Final = 4.0
"""Times within this factor are shown on whole decades."""
_LABELS: Final = 0.3
"""Share of the span of times (logarithms) that is left free for the names of dtypes before the fastest."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One formulation on one backend in one dtype, at one size."""

    formulation: str
    backend: str
    dtype: str
    time_s: float
    digits: float | None
    """Decimal digits of the worst element over all outputs; None where one of them broke."""
    outcome: str

    @property
    def name(self) -> str:
        """The name as the report writes it."""
        return f"{self.formulation} · {self.backend} · {self.dtype}"

    @property
    def told(self) -> str:
        """What it gives and costs."""
        gives = outcome_words(self.outcome) if self.digits is None else f"{self.digits:.1f} digits"
        return f"{gives} in {seconds(self.time_s)}"


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Digits against time of one case at one size."""

    title: str
    figure: Figure
    front: tuple[Contender, ...]
    """From the fastest to the most precise; nothing is both faster and more precise than one of these."""


@dataclass(frozen=True, slots=True)
class _TimeScale:
    """Logarithmic, with ticks in the units of times."""

    scale: LogScale
    kind: str = "logarithmic"

    def place(self, value: float) -> float | None:
        return self.scale.place(value)

    def ticks(self, most: int) -> tuple[Tick, ...]:
        return tuple(Tick(t.value, _time_label(t.value)) for t in self.scale.ticks(most))


def tradeoffs(rows: Sequence[Row], cases: Mapping[str, CaseInfo], styles: Styles, key: str) -> list[Tradeoff]:
    """Return digits against time for each timed case of an operation, that with the most contenders first.

    Hot and cold times of one case, which its backends may have, are not drawn together.
    The size is the one at which most were timed; of those at which equally many were, the one with the most
    work. A size at which there is only one contender shows nothing.

    Parameters
    ----------
    rows
        The rows of one operation, forward or backward.
    cases
        What the report knows of its cases.
    styles
        Colours and shapes, shared by all figures of the operation.
    key
        Begins the ids of the figures.
    """
    timed = [r for r in rows if (number_of(r, "time_median_s") or 0.0) > 0]
    found: list[tuple[int, Tradeoff]] = []
    for (case, cold), of_case in grouped(timed, lambda r: (text_of(r, "case"), is_cold(r))).items():
        sizes = grouped(of_case, lambda r: tuple(axes_of(r).items()))
        at, chosen = max(sizes.items(), key=lambda item: (_series_of(item[1]), _work(item[1])))
        made = contenders(chosen)
        if len(made) < 2 or all(c.digits is None for c in made):
            continue
        info = cases[case]
        where = ", ".join([_said(info.axis(name), name, value) for name, value in at] + [_COLD] * cold)
        found.append((len(made), _tradeoff(made, info, where, styles, f"{key}-{len(found)}")))
    return [tradeoff for _, tradeoff in sorted(found, key=lambda item: -item[0])]


def contenders(rows: Iterable[Row]) -> list[Contender]:
    """Return one contender for each formulation, backend and dtype of rows at one size, the fastest first.

    Where a formulation has several cells or outputs its time is the slowest and its digits the fewest;
    what was timed only, without accuracy, is left out.
    """
    made = []
    names = grouped(rows, lambda r: (text_of(r, "formulation"), text_of(r, "backend"), text_of(r, "dtype")))
    for (formulation, backend, dtype), same in names.items():
        outcome, digits = worst_outcome(same), [digits_left(r) for r in same]
        kept = [d for d in digits if d is not None]
        if not outcome or (outcome == "ok" and not kept):
            continue
        time_s = max(t for r in same if (t := number_of(r, "time_median_s")) is not None)
        left = min(kept) if outcome == "ok" else None
        made.append(Contender(formulation, backend, dtype, time_s, left, outcome))
    return sorted(made, key=lambda c: (c.time_s, -(c.digits or 0.0)))


def front_of(found: Iterable[Contender]) -> tuple[Contender, ...]:
    """Return those that nothing beats: no other is at least as fast and as precise, and better in one.

    What keeps no digit is on no front, however fast.
    """
    front: list[Contender] = []
    for contender in sorted(found, key=lambda c: (c.time_s, -(c.digits or 0.0))):
        if contender.digits is None:
            continue
        best = front[-1] if front else None
        level = best is not None and (best.time_s, best.digits) == (contender.time_s, contender.digits)
        if level or contender.digits > (0.0 if best is None or best.digits is None else best.digits):
            front.append(contender)
    return tuple(front)


def _tradeoff(found: Sequence[Contender], info: CaseInfo, where: str, styles: Styles, key: str) -> Tradeoff:
    front = front_of(found)
    title = f"{info.title}, {where}" if where else info.title
    panel = _panel(found, front, title, styles)
    broke = sum(c.digits is None for c in found)
    caption = (
        f"Decimal digits left, against the median time of one call (logarithmic): "
        f"{counted(len(found), 'point')}, {len(front)} of them on the front"
        + (f"; {counted(broke, 'point')} below the plot gave no right result." if broke else ".")
    )
    legend = legend_of([panel], styles, [("front", "Pareto front: nothing is faster and keeps more")])
    return Tradeoff(title, Figure(key, f"Digits against time: {title}", caption, (panel,), legend), front)


def _panel(found: Sequence[Contender], front: Sequence[Contender], title: str, styles: Styles) -> Panel:
    times = [c.time_s for c in found]
    low, high = min(times), max(times)
    if high < _NARROW * low:
        x = decades(low, high)
    else:
        x = LogScale(low / max(_ROOM, (high / low) ** _LABELS), high * _ROOM)
    top = max([capacity(c.dtype) or 0.0 for c in found] + [c.digits or 0.0 for c in found])
    y = LinearScale(0.0, max(1.0, top) * 1.04)
    series, lanes = [], []
    for (formulation, backend), same in grouped(found, lambda c: (c.formulation, c.backend)).items():
        style, name = styles.style(formulation, backend), f"{formulation} · {backend}"
        for faint in (True, False):
            points = tuple(
                Point(
                    c.time_s, c.digits, f"{c.dtype}: {c.told}" + ("" if faint else ", on the front"),
                    label="" if faint else str(front.index(c) + 1),
                )
                for c in same
                if c.digits is not None and (c in front) is not faint
            )  # fmt: skip
            if points:
                series.append(Series(name, style, points, joined=False, faint=faint))
        broken = tuple(
            BrokenMark(c.time_s, c.outcome, f"{c.dtype} in {seconds(c.time_s)}")
            for c in same
            if c.digits is None
        )
        if broken:
            lanes.append(Lane(name, style, broken))
    said = "; ".join(f"{c.name}: {c.told}" for c in front)
    return Panel(
        title=title,
        note="",
        x=_TimeScale(x),
        y=y,
        x_values=(),
        x_title="median time of one call",
        y_title="digits left",
        series=tuple(series),
        guides=(*_capacities(found, x), *_staircase(front, x, y)),
        lanes=tuple(lanes),
        description=f"Digits left against time, {counted(len(found), 'point')}. On the front: {said}.",
        width=WIDTH,
        plot=PLOT,
    )


def _capacities(found: Iterable[Contender], x: LogScale) -> Iterable[Guide]:
    """Yield a line for each dtype at the digits that it holds."""
    for dtype in by_precision(c.dtype for c in found):
        holds = capacity(dtype)
        if holds is not None:
            yield Guide("limit", ((x.low, holds), (x.high, holds)), f"{dtype} holds {holds:.1f}")


def _staircase(front: Sequence[Contender], x: LogScale, y: LinearScale) -> Iterable[Guide]:
    """Yield the edge of what is reached: from the fastest upwards, level until the next is better."""
    if not front:
        return
    corners = [(front[0].time_s, y.low)]
    for contender in front:
        corners += [(contender.time_s, corners[-1][1]), (contender.time_s, contender.digits or 0.0)]
    yield Guide("front", (*corners, (x.high, corners[-1][1])))


def _series_of(rows: Iterable[Row]) -> int:
    return len({(text_of(r, "formulation"), text_of(r, "backend"), text_of(r, "dtype")) for r in rows})


def _work(rows: Sequence[Row]) -> float:
    return max((number_of(r, "flops") or number_of(r, "time_median_s") or 0.0) for r in rows)


def _said(unit: AxisUnit, name: str, value: object) -> str:
    number = None if isinstance(value, str) else finite(value)
    return f"{name} = {plain(value) if number is None or unit.unit is None else unit.say(number)}"


def _time_label(value: float) -> str:
    """Return a tick's time in the fewest signs: `1 µs`, `20 ms`."""
    number, _, unit = seconds(value).partition(" ")
    return f"{float(number.replace(',', '')):g} {unit}"
