"""Ratios of a comparison with their intervals, one above the other: places here, colours in the style sheet.

Every row is a drawing as wide as the page allows; places across are percentages, so that marks and letters
keep their size on any screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from harness.compare.model import KINDS, Null, Pair
from harness.report.view.comparison import (
    digits_text,
    measured_text,
    ordered,
    ratio_text,
    share,
    time_text,
)
from harness.report.view.scales import nice_step, power_of_ten
from harness.report.view.text import finite

MOST_ROWS: Final = 40
MOST_IMPROVED: Final = 12
"""Rows kept for what got most faster, where there are more pairs than rows."""
_LEAST_REACH: Final = 3.0
"""The scale goes to this many δ on either side of 1 at least."""
_REACH: Final = math.log(2.5)
"""All intervals are on the scale as long as none goes further than this factor from 1."""
_TYPICAL: Final = 0.75
_ROOM: Final = 3.0
"""Else it goes this many times as far as so many of the intervals do; what is beyond is cut and says so."""
_CHARACTER: Final = 1.8
"""Width of a character of a tick's label, in percent of a narrow plot (340 px)."""
_LADDER: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)

MARKS: Final = {
    "fail": ("M0-6.5 6.5 0 0 6.5-6.5 0Z", "fails"),
    "inconclusive": ("M4.2 0A4.2 4.2 0 1 1-4.2 0 4.2 4.2 0 1 1 4.2 0Z", "cannot tell"),
    "faster": ("M-6 0 4-5.5V5.5Z", "passes, faster"),
    "pass": ("M3.6 0A3.6 3.6 0 1 1-3.6 0 3.6 3.6 0 1 1 3.6 0Z", "passes"),
}
"""Mark → its outline, and what it means."""


@dataclass(frozen=True, slots=True)
class RatioScale:
    """A logarithmic scale of ratios: 1 is no difference, and half as long is as far from it as twice."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where a ratio lies, in percent from the left; what is beyond the scale is on its edge."""
        if value <= self.low:
            return 0.0
        if value >= self.high:
            return 100.0
        return 100.0 * math.log(value / self.low) / math.log(self.high / self.low)

    def holds(self, value: float) -> bool:
        """Return whether a ratio lies on the scale."""
        return self.low <= value <= self.high

    def ticks(self) -> tuple[float, ...]:
        """Return round ratios, 1 among them, whose labels do not touch in a narrow plot."""
        candidates = _round_ratios(self.low, self.high)
        kept = [1.0]
        for value in sorted(candidates, key=lambda v: (abs(math.log(v)) < 1e-9, len(tick_text(v)))):
            apart = all(
                abs(self.place(value) - self.place(k))
                >= _CHARACTER / 2 * (len(tick_text(value)) + len(tick_text(k)) + 1)
                for k in kept
            )
            if apart and self.holds(value):
                kept.append(value)
        return tuple(sorted(kept))


def tick_text(value: float) -> str:
    """Return a tick's label: `1`, `0.95`, `1.5`, `10⁴`."""
    exponent = round(math.log10(value))
    if not 1e-2 <= value <= 1e3 and math.isclose(value, 10.0**exponent):
        return power_of_ten(exponent)
    return f"{value:.4g}"


def _round_ratios(low: float, high: float) -> list[float]:
    if high / low < 4:
        step = nice_step(high - low, 6)
        first, last = math.ceil((low - 1) / step - 1e-9), math.floor((high - 1) / step + 1e-9)
        return [round(1 + k * step, 9) for k in range(first, last + 1)]
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    few = high / low > 60
    return [m * 10.0**k for k in powers for m in ((1.0,) if few else _LADDER) if low <= m * 10.0**k <= high]


def scale_of(pairs: Iterable[Pair]) -> RatioScale:
    """Return the scale for some pairs: as wide as their intervals need, and as δ needs to be seen."""
    reaches, deltas, lows, highs = [], [0.01], [1.0], [1.0]
    for pair in pairs:
        low, high = ends(pair)
        deltas.append(finite(pair.threshold) or 0.0)
        lows.append(low)
        highs.append(high)
        reaches.append(max(-math.log(low), math.log(high)) if low > 0 and math.isfinite(high) else math.inf)
    known = sorted(r for r in reaches if math.isfinite(r)) or [0.0]
    typical = known[min(len(known) - 1, int(_TYPICAL * len(known)))]
    least = _LEAST_REACH * math.log1p(max(deltas))
    most = max(_ROOM * typical, _REACH, least)
    up = min(math.log(max(highs)) if math.isfinite(max(highs)) else math.inf, most)
    down = min(-math.log(min(lows)) if min(lows) > 0 else math.inf, most)
    return RatioScale(math.exp(-max(1.06 * down, least)), math.exp(max(1.06 * up, least)))


def ends(pair: Pair) -> tuple[float, float]:
    """Return the ends of a pair's interval; its ratio where it has none, 0 and ∞ where it has no end."""
    ratio = pair.ratio if pair.ratio is not None and pair.ratio == pair.ratio else 1.0
    low = ratio if pair.ratio_low is None else max(0.0, pair.ratio_low)
    high = ratio if pair.ratio_high is None else pair.ratio_high
    return min(low, ratio), max(high, ratio)


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One pair: its name, its drawing, and its numbers."""

    pair: Pair
    mark: str
    drawing: str
    ratio: str
    digits: str
    """Empty where the accuracy is alike."""


@dataclass(frozen=True, slots=True)
class Forest:
    """The plot: rows from the slowest to the fastest, and what belongs to all of them."""

    rows: tuple[ForestRow, ...]
    axis: str
    """Drawing of the ticks and their labels; it defines the marks and the grid, too."""
    foot: str
    """The same labels, without the definitions."""
    marks: tuple[tuple[str, str], ...]
    """What occurs, and what it means: the legend."""
    timed: int
    """Pairs with a ratio; those without a row are in the table."""
    cut: bool
    """Whether something goes beyond the scale."""


def forest(pairs: Sequence[Pair]) -> Forest | None:
    """Return the plot of the pairs that have a ratio, from the slowest; None where there is none.

    Of many the worst and the most improved are kept.
    """
    timed = [pair for pair in ordered(pairs) if (finite(pair.ratio) or 0) > 0]
    if not timed:
        return None
    kept = timed
    if len(timed) > MOST_ROWS:
        first = timed[: MOST_ROWS - MOST_IMPROVED]
        rest = sorted(timed[MOST_ROWS - MOST_IMPROVED :], key=lambda p: ends(p)[1])
        kept = [*first, *rest[:MOST_IMPROVED]]
    kept = sorted(kept, key=lambda p: -(p.ratio or 0.0))
    scale = scale_of(kept)
    rows = tuple(
        ForestRow(
            pair,
            mark_of(pair),
            _drawing(pair, scale),
            ratio_text(pair),
            digits_text(pair) if pair.accuracy in ("worse", "better") else "",
        )
        for pair in kept
    )
    marks = tuple((name, words) for name, (_, words) in MARKS.items() if any(r.mark == name for r in rows))
    cut = any(not (scale.holds(end)) for pair in kept for end in ends(pair))
    return Forest(rows, *_axis(scale), marks, len(timed), cut)


def mark_of(pair: Pair) -> str:
    """Return the name of a pair's mark."""
    return "faster" if pair.verdict == "pass" and pair.kind == "faster" else pair.verdict


def _percent(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + "%"


def _drawing(pair: Pair, scale: RatioScale) -> str:
    """Return the strip of one pair: the band of δ, the interval, the mark."""
    low, high = ends(pair)
    delta = finite(pair.threshold) or 0.0
    mark = mark_of(pair)
    parts = ['<svg class="strip"><use href="#fg"/>']
    if delta:
        left, right = scale.place(1 / (1 + delta)), scale.place(1 + delta)
        parts.append(
            f'<rect class="de" x="{_percent(left)}" width="{_percent(right - left)}" height="100%"/>'
        )
    parts.append('<use href="#f1"/>')
    x1, x2 = _percent(scale.place(low)), _percent(scale.place(high))
    interval = f'<line x1="{x1}" x2="{x2}" y1="50%" y2="50%"/>'
    beyond = "".join(
        f'<use href="#f{side}" x="{at}" y="50%"/>'
        for side, at, is_beyond in (("l", "0%", low < scale.low), ("r", "100%", high > scale.high))
        if is_beyond
    )
    at = _percent(scale.place(pair.ratio or 1.0))
    told = escape(tip(pair))
    parts.append(
        f'<g class="f-{mark}">{interval}{beyond}</g><g class="f-{mark}" data-n="">'
        f'<use href="#f-{mark}" x="{at}" y="50%"><title>{told}</title></use></g></svg>'
    )
    return "".join(parts)


def tip(pair: Pair) -> str:
    """Return what a mark tells."""
    parts = [
        f"{KINDS[pair.kind]}: {ratio_text(pair)}",
        f"{time_text(pair.base_s)} → {time_text(pair.head_s)}",
    ]
    if pair.base_digits is not None or pair.head_digits is not None:
        parts.append(f"digits {digits_text(pair)}")
    return "; ".join([*parts, *[t for t in [measured_text(pair)] if t]])


def _axis(scale: RatioScale) -> tuple[str, str]:
    """Return the axis with the definitions that all rows use, and the axis alone."""
    ticks = [(scale.place(value), tick_text(value)) for value in scale.ticks()]
    grid = "".join(
        f'<line x1="{_percent(x)}" x2="{_percent(x)}" y2="100%"/>' for x, text in ticks if text != "1"
    )
    one = _percent(scale.place(1.0))
    marks = "".join(f'<path id="f-{name}" d="{outline}"/>' for name, (outline, _) in MARKS.items())
    places = [(_percent(x), ' class="one"' if text == "1" else "", text) for x, text in ticks]
    labels = "".join(f'<text x="{x}" y="13"{bold}>{text}</text>' for x, bold, text in places)
    defined = (
        f'<defs><g id="fg" class="gr">{grid}</g>'
        f'<line id="f1" class="one" x1="{one}" x2="{one}" y2="100%"/>{marks}'
        '<path id="fl" d="M-3 0 3-4V4Z"/><path id="fr" d="M3 0-3-4V4Z"/></defs>'
    )
    head = '<svg class="strip axis">'
    return f"{head}{defined}{labels}</svg>", f"{head}{labels}</svg>"


def legend_mark(name: str) -> str:
    """Return the small picture of a mark for the legend."""
    line = '<line x1="3" x2="25" y1="7" y2="7"/>'
    mark = f'<path transform="translate(14 7)" d="{MARKS[name][0]}"/>'
    return f'<svg class="key" viewBox="0 0 28 14"><g class="f-{name}">{line}{mark}</g></svg>'


# ---- the null --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NullRow:
    """One decade of the base against itself."""

    null: Null
    drawing: str


def null_most(nulls: Sequence[Null]) -> float:
    """Return the end of the scale of the null: the largest number on it."""
    return max((v for n in nulls for v in (n.threshold, n.largest) if math.isfinite(v)), default=0.0) or 1.0


def null_rows(nulls: Sequence[Null]) -> list[NullRow]:
    """Return the decades with what the base showed against itself, on one linear scale from 0."""
    most = null_most(nulls)

    def at(value: float) -> str:
        return _percent(100 * min(1.0, max(0.0, value / most)) if math.isfinite(value) else 100.0)

    rows = []
    for null in nulls:
        told = f"median {share(null.median)}, largest {share(null.largest)}, δ {share(null.threshold)}"
        median, largest, delta = at(null.median), at(null.largest), at(null.threshold)
        drawing = (
            f'<svg class="strip" role="img"><title>{told}</title>'
            f'<rect class="de" width="{delta}" height="100%"/>'
            f'<line class="th" x1="{delta}" x2="{delta}" y2="100%"/>'
            f'<g class="f-pass"><line x1="{median}" x2="{largest}" y1="50%" y2="50%"/>'
            f'<circle cx="{median}" cy="50%" r="3.6"/></g></svg>'
        )
        rows.append(NullRow(null, drawing))
    return rows
