"""Panels and legend keys drawn as SVG: coordinates here, colours and fonts in the style sheet."""

from __future__ import annotations

from html import escape
from typing import Final

from harness.report.view.chart import PANEL, Lane, LegendKey, Panel, Point, Series, Style
from harness.report.view.scales import Tick, short_number
from harness.report.view.text import OUTCOME_GLYPHS, outcome_words

LEFT: Final = 52
RIGHT: Final = 10
TOP: Final = 26
INSET: Final = 10
"""Between the frame and the first and last value, so that no mark is cut."""
LANE: Final = 14
FOOT: Final = 38
CHARACTER: Final = 6.2
"""Width of a digit at the size of tick labels (11 px), a little generous."""
LABEL_AT: Final = 0.72
"""How far along a sloping guide its label stands."""
SAME: Final = 5
"""Equal signs nearer than this (px) are one."""
MOST_VALUES: Final = 18
"""Up to so many values of an axis are its ticks; beyond, round numbers are."""


def panel_svg(panel: Panel, key: str) -> str:
    """Return one panel as an SVG element; `key` makes its ids unique.

    Marks lie in a group for each series, which carries its name; a mark tells the rest.
    """
    lanes_at = TOP + panel.plot + 4
    axis_at = lanes_at + LANE * len(panel.lanes) + (2 if panel.lanes else -4)
    height, right = axis_at + FOOT, panel.width - RIGHT
    wide = " wide" if panel.width > PANEL else ""
    parts = [
        f'<svg class="panel{wide}" role="img" tabindex="0" viewBox="0 0 {panel.width} {height}" '
        f'aria-label="{escape(panel.title)}" aria-describedby="{key}d">',
        f'<desc id="{key}d">{escape(panel.description)}</desc>',
        f'<text class="pt" x="4" y="15">{escape(panel.title)}</text>',
        f'<text class="pn" x="{right}" y="15">{escape(panel.note)}</text>' if panel.note else "",
        f'<path class="bg" d="M{LEFT} {TOP}H{right}V{TOP + panel.plot}H{LEFT}Z"/>',
        *_y_axis(panel),
        *_x_axis(panel, axis_at),
        *_guides(panel),
        *(_series(panel, series) for series in sorted(panel.series, key=lambda s: not s.faint)),
        *(_lane(panel, lane, lanes_at + n * LANE) for n, lane in enumerate(panel.lanes)),
    ]
    if panel.nothing and not any(p for s in panel.series for p in s.points):
        middle = (LEFT + right) / 2
        parts.append(
            f'<text class="no" x="{_at(middle)}" y="{TOP + panel.plot / 2}">{escape(panel.nothing)}</text>'
        )
    parts.append("</svg>")
    return "".join(parts)


def legend_svg(entry: LegendKey) -> str:
    """Return the small picture of a legend entry; its words stand beside it."""
    head = '<svg class="key" viewBox="0 0 28 14">'
    if entry.style is not None:
        mark = _mark(entry.style, 14, 7)
        return f'{head}<g class="{_classes(entry.style)}"><path class="l" d="M2 7H26"/>{mark}</g></svg>'
    if entry.fill is not None:
        mark = _mark_path("circle", 14, 7, _RADII[entry.fill])
        return f'{head}<g class="m plain {entry.fill}">{mark}</g></svg>'
    if entry.guide is not None:
        shade = '<path class="sh" d="M2 7H26V13H2Z"/>' if entry.guide == "bound" else ""
        return f'{head}{shade}<path class="g-{entry.guide}" d="M2 7H26"/></svg>'
    glyph = OUTCOME_GLYPHS.get(entry.outcome or "", "?")
    return f'{head}<text class="gl" x="14" y="11">{escape(glyph)}</text></svg>'


def _across(panel: Panel, value: float) -> float | None:
    place = panel.x.place(value)
    return None if place is None else LEFT + INSET + place * (panel.width - LEFT - RIGHT - 2 * INSET)


def _up(panel: Panel, value: float) -> float | None:
    """Where a value lies vertically; what lies outside the scale is kept on its edge."""
    place = panel.y.place(value)
    return None if place is None else TOP + panel.plot * (1 - min(1.0, max(0.0, place)))


def _at(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _y_axis(panel: Panel) -> list[str]:
    ticks = [(t, y) for t in panel.y.ticks(6) if (y := _up(panel, t.value)) is not None]
    right, middle = panel.width - RIGHT, _at(TOP + panel.plot / 2)
    lines = "".join(f"M{LEFT} {_at(y)}H{right}" for _, y in ticks)
    labels = "".join(
        f'<text x="{LEFT - 6}" y="{_at(y + 3.5)}">{escape(t.label)}</text>' for t, y in ticks if t.label
    )
    return [
        f'<path class="gr" d="{lines}"/><g class="ty">{labels}</g>' if ticks else "",
        f'<text class="at" transform="rotate(-90 10 {middle})" x="10" y="{middle}">'
        f"{escape(panel.y_title)}</text>",
    ]


def _x_axis(panel: Panel, at: float) -> list[str]:
    right = panel.width - RIGHT
    ticks = placed_ticks(panel)
    lines = "".join(f"M{_at(x)} {_at(at)}v{4 if labelled else 3}" for _, x, labelled in ticks)
    labels = "".join(
        f'<text x="{_at(x)}" y="{_at(at + 15)}">{escape(t.label)}</text>'
        for t, x, labelled in ticks
        if labelled
    )
    return [
        f'<path class="ax" d="M{LEFT} {_at(at)}H{right}{lines}"/><g class="tx">{labels}</g>',
        f'<text class="at" x="{_at((LEFT + right) / 2)}" y="{_at(at + 31)}">{escape(panel.x_title)}</text>',
    ]


def placed_ticks(panel: Panel) -> list[tuple[Tick, float, bool]]:
    """Return the ticks of the x axis, where they are, and whether there is room for the label.

    The values themselves are the ticks while they are few. The first and last are labelled before
    the others, and no two labels touch.
    """
    values = sorted(set(panel.x_values))
    few = 0 < len(values) <= MOST_VALUES
    ticks = tuple(Tick(v, short_number(v)) for v in values) if few else panel.x.ticks(7)
    places = [(t, x) for t in ticks if (x := _across(panel, t.value)) is not None]
    taken: list[tuple[float, float]] = []
    labelled: set[int] = set()
    for n in sorted(range(len(places)), key=lambda n: (n not in (0, len(places) - 1), n)):
        tick, x = places[n]
        half = len(tick.label) * CHARACTER / 2 + 3
        if all(x + half <= low or x - half >= high for low, high in taken):
            taken.append((x - half, x + half))
            labelled.add(n)
    return [(tick, x, n in labelled) for n, (tick, x) in enumerate(places)]


def _guides(panel: Panel) -> list[str]:
    """Draw the guides; a label stands on its line, or under it where another label is in the way."""
    parts = []
    taken: list[tuple[str, float]] = []
    for guide in panel.guides:
        places = [
            (x, y)
            for vx, vy in guide.points
            if (x := _across(panel, vx)) is not None and (y := _up(panel, vy)) is not None
        ]
        if not places:
            continue
        if len(places) == 1:
            x, y = places[0]
            places = [(x - INSET, y), (x + INSET, y)]
        path = "M" + "L".join(f"{_at(x)} {_at(y)}" for x, y in places)
        if guide.kind == "bound":
            parts.append(f'<path class="sh" d="{path}V{TOP + panel.plot}H{_at(places[0][0])}Z"/>')
        parts.append(f'<path class="g-{guide.kind}" d="{path}"/>')
        if not guide.label:
            continue
        level = places[0][1] == places[-1][1]
        x, y = _between(places[0], places[-1], 0.0 if level else LABEL_AT)
        side = " start" if level else ""
        up = max(TOP + 11, y - 4)
        if any(s == side and abs(up - other) < 11 for s, other in taken):
            up = y + 12
        taken.append((side, up))
        across = x + (4 - INSET if level else -6)
        parts.append(f'<text class="gt{side}" x="{_at(across)}" y="{_at(up)}">{escape(guide.label)}</text>')
    return parts


def _between(a: tuple[float, float], b: tuple[float, float], share: float) -> tuple[float, float]:
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def _series(panel: Panel, series: Series) -> str:
    placed: list[tuple[Point, float, float] | None] = []
    for point in series.points:
        place = None
        if point is not None:
            x, y = _across(panel, point.x), _up(panel, point.y)
            place = None if x is None or y is None else (point, x, y)
        placed.append(place)
    path = _joined(placed) if series.joined else ""
    parts = [f'<path class="l" d="{path}"/>' if path else ""]
    intervals, labels = [], []
    for point, x, y in filter(None, placed):
        low = None if point.low is None else _up(panel, point.low)
        high = None if point.high is None else _up(panel, point.high)
        if low is not None and high is not None:
            ends = f"M{_at(x - 3)} {_at(low)}h6M{_at(x - 3)} {_at(high)}h6"
            intervals.append(f"M{_at(x)} {_at(low)}V{_at(high)}{ends}")
        parts.append(_mark(series.style, x, y, point.title))
        if point.label:
            labels.append(f'<text class="nr" x="{_at(x)}" y="{_at(y - 8)}">{escape(point.label)}</text>')
    if intervals:
        parts.append(f'<path class="ci" d="{"".join(intervals)}"/>')
    return _group(series.name, series.style, [*parts, *labels], " faint" if series.faint else "")


def _group(name: str, style: Style, parts: list[str], more: str = "") -> str:
    return f'<g class="{_classes(style)}{more}" data-n="{escape(name)}">{"".join(parts)}</g>'


def _classes(style: Style) -> str:
    cross = " cross" if style.shape == "cross" else ""
    return f"m s{style.colour} {style.fill}{cross}"


def _joined(placed: list[tuple[Point, float, float] | None]) -> str:
    """Lines between neighbours; a gap starts anew."""
    path, pen_down, alone = [], False, 0
    for item in placed:
        if item is None:
            pen_down = False
            continue
        _, x, y = item
        path.append(f"{'L' if pen_down else 'M'}{_at(x)} {_at(y)}")
        alone += pen_down
        pen_down = True
    return "".join(path) if alone else ""


_RADII: Final = {"filled": 3.0, "ring": 4.6, "halo": 6.2}


def _mark(style: Style, x: float, y: float, title: str = "") -> str:
    return _mark_path(style.shape, x, y, _RADII[style.fill], title)


def _mark_path(shape: str, x: float, y: float, r: float, title: str = "") -> str:
    inside = f"<title>{escape(title)}</title>" if title else ""
    a, b = _at(x), _at(y)
    if shape == "circle":
        return f'<circle cx="{a}" cy="{b}" r="{_at(r)}">{inside}</circle>'
    h, c, d, w = 0.9 * r, _at(1.8 * r), _at(1.25 * r), _at(1.15 * r)
    path = {
        "square": f"M{_at(x - h)} {_at(y - h)}h{_at(2 * h)}v{_at(2 * h)}h-{_at(2 * h)}Z",
        "diamond": f"M{a} {_at(y - 1.25 * r)}l{d} {d}l-{d} {d}l-{d} -{d}Z",
        "triangle": f"M{a} {_at(y - 1.2 * r)}l{w} {_at(2 * r)}h-{_at(2.3 * r)}Z",
        "wedge": f"M{a} {_at(y + 1.2 * r)}l{w} -{_at(2 * r)}h-{_at(2.3 * r)}Z",
        "cross": f"M{_at(x - h)} {_at(y - h)}l{c} {c}m0 -{c}l-{c} {c}",
    }[shape]
    return f'<path d="{path}">{inside}</path>'


def _lane(panel: Panel, lane: Lane, at: float) -> str:
    """Draw the signs of one series in a row; equal signs too near to be told apart are one."""
    middle = at + LANE / 2
    parts = [
        f'<path class="ln" d="M{LEFT} {_at(at + 1)}H{panel.width - RIGHT}v{LANE - 2}H{LEFT}Z"/>',
        _mark(lane.style, LEFT - 12, middle, "broke here"),
    ]
    last: tuple[str, float] | None = None
    for mark in sorted(lane.marks, key=lambda m: m.x):
        x = _across(panel, mark.x)
        if x is None or (last is not None and last[0] == mark.outcome and abs(x - last[1]) < SAME):
            continue
        last = (mark.outcome, x)
        glyph = escape(OUTCOME_GLYPHS.get(mark.outcome, "?"))
        parts.append(
            f'<text class="gl" x="{_at(x)}" y="{_at(middle + 4)}">{glyph}'
            f"<title>{escape(outcome_words(mark.outcome))} {escape(mark.title)}</title></text>"
        )
    return _group(lane.name, lane.style, parts)
