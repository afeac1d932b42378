"""What a figure is made of, before it is drawn: panels, series, guides, lanes of broken points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.report.view.scales import Scale

COLOURS: Final = 6
"""Distinct colours of formulations; the style sheet has as many."""
SHAPES: Final = ("circle", "square", "diamond", "triangle", "wedge", "cross")
FILLS: Final = ("filled", "ring", "halo")
PANEL: Final = 280
"""Width of a small multiple, px."""
OVER: Final = "over"
"""Stands among outcomes for a result whose error is above its bound."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a series looks: colour and shape tell the formulation, the filling the backend."""

    formulation: int
    backend: int

    @property
    def colour(self) -> int:
        """Number of its colour."""
        return self.formulation % COLOURS

    @property
    def shape(self) -> str:
        """Shape of its marks."""
        return SHAPES[self.formulation % len(SHAPES)]

    @property
    def fill(self) -> str:
        """Filling of its marks: a ring lies around the filled mark of equal results, so both show."""
        return FILLS[self.backend % len(FILLS)]


@dataclass(frozen=True, slots=True)
class Styles:
    """The order of formulations and backends, from which every figure takes its styles."""

    formulations: tuple[str, ...]
    backends: tuple[str, ...]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Styles:
        """Return styles for the formulations and backends of these pairs, in order of appearance."""
        seen = list(pairs)
        return cls(tuple(dict.fromkeys(f for f, _ in seen)), tuple(dict.fromkeys(b for _, b in seen)))

    def style(self, formulation: str, backend: str) -> Style:
        """Return the style of one series."""
        return Style(self.formulations.index(formulation), self.backends.index(backend))


@dataclass(frozen=True, slots=True)
class Point:
    """One mark; `low` and `high` are the ends of its interval."""

    x: float
    y: float
    title: str
    """What it says on request, beside the name of its series."""
    low: float | None = None
    high: float | None = None
    label: str = ""
    """Written beside it."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line; a None between points is a gap, where the line is interrupted."""

    name: str
    style: Style
    points: tuple[Point | None, ...]
    joined: bool = True
    faint: bool = False
    """Drawn behind what matters more."""


@dataclass(frozen=True, slots=True)
class Guide:
    """A curve to read the others against: a bound, a law or a limit."""

    kind: str
    """`bound` (dashed, with the side that it forbids shaded), `law` (dotted), `limit` (a thin line) or
    `front` (a staircase)."""
    points: tuple[tuple[float, float], ...]
    label: str = ""
    """Written at its end; empty where the legend says it."""


@dataclass(frozen=True, slots=True)
class BrokenMark:
    """A place where a series is wrong, and how: an outcome, or `OVER`."""

    x: float
    outcome: str
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """Where one series broke: a row of signs under the plot."""

    name: str
    style: Style
    marks: tuple[BrokenMark, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One small multiple."""

    title: str
    note: str
    x: Scale
    y: Scale
    x_values: tuple[float, ...]
    """Every value of the axis, for its ticks; empty where the scale gives them."""
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    guides: tuple[Guide, ...]
    lanes: tuple[Lane, ...]
    description: str
    """The text alternative."""
    nothing: str = ""
    """What stands in an empty plot."""
    width: int = PANEL
    """Of the whole panel, in px."""
    plot: int = 140
    """Height of the plot, in px."""


@dataclass(frozen=True, slots=True)
class LegendKey:
    """One entry of a legend."""

    label: str
    style: Style | None = None
    fill: str | None = None
    guide: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels side by side with one caption and one legend."""

    key: str
    """Unique in the report, fit for an id."""
    title: str
    caption: str
    panels: tuple[Panel, ...]
    legend: tuple[LegendKey, ...]


def legend_of(
    panels: Sequence[Panel], styles: Styles, guides: Sequence[tuple[str, str]]
) -> tuple[LegendKey, ...]:
    """Return the entries for what these panels hold.

    Formulations come first, then backends where there are several, then `guides` (kind, label), then
    the signs of outcomes.
    """
    drawn = {s.style for panel in panels for s in panel.series}
    drawn |= {lane.style for panel in panels for lane in panel.lanes}
    formulations = sorted({style.formulation for style in drawn})
    backends = sorted({style.backend for style in drawn})
    kinds = {g.kind for panel in panels for g in panel.guides}
    outcomes = dict.fromkeys(m.outcome for panel in panels for lane in panel.lanes for m in lane.marks)
    return (
        *(LegendKey(styles.formulations[f], style=Style(f, 0)) for f in formulations),
        *(LegendKey(styles.backends[b], fill=Style(0, b).fill) for b in backends if len(backends) > 1),
        *(LegendKey(label, guide=kind) for kind, label in guides if kind in kinds),
        *(LegendKey(outcome, outcome=outcome) for outcome in outcomes),
    )
