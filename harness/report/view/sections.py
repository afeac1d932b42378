"""The parts of the report that each operation and each case has, within the bytes they may take."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.report.view.chart import Figure, LegendKey, Panel, Styles
from harness.report.view.curves import digit_figures
from harness.report.view.header import CaseInfo
from harness.report.view.laws import law_figures
from harness.report.view.matrix import Matrix, digits_matrix
from harness.report.view.pareto import Contender, tradeoffs
from harness.report.view.rows import Row, grouped, is_cold, text_of
from harness.report.view.speed import is_timed, speed_figures
from harness.report.view.summary import Counts, count

FEW_CASES: Final = 6
"""Up to so many cases are open when the page opens; of more only those with a failure."""
_FIELD_BYTES: Final = 75
"""Of one field of a matrix, about."""


@dataclass(frozen=True, slots=True)
class DrawnFigure:
    """A figure with its panels drawn."""

    figure: Figure
    panels: tuple[str, ...]
    """Empty where the panels are packed."""
    packed: str = ""
    """The legend and the panels, deflated and in base64: the page's script puts them in their place."""
    front: tuple[Contender, ...] = ()
    """Named beside a figure of digits against time."""


@dataclass
class Budget:
    """What figures and matrices may take.

    Figures that no longer fit as they are get packed, a sixth of their size, and need the page's script;
    what does not fit packed either is left out and said to be.
    """

    figures: int
    packed: int
    matrices: int
    draw: Callable[[Panel, str], str]
    key: Callable[[LegendKey], str]
    """Draws an entry of a legend."""
    left_out: list[str] = field(default_factory=list)
    """Titles of cases without all of their figures."""

    def drawn(
        self, figures: Iterable[Figure], title: str, front: tuple[Contender, ...] = ()
    ) -> tuple[DrawnFigure, ...]:
        """Return the figures that fit, drawn."""
        kept: list[DrawnFigure] = []
        for figure in figures:
            panels = tuple(self.draw(p, f"{figure.key}p{n}") for n, p in enumerate(figure.panels))
            size = sum(len(p.encode()) for p in panels)
            if size <= self.figures:
                self.figures -= size
                kept.append(DrawnFigure(figure, panels, front=front))
                continue
            packed = pack(self._whole(figure, panels)) if self.packed > 0 else ""
            if packed and len(packed) <= self.packed:
                self.packed -= len(packed)
                kept.append(DrawnFigure(figure, (), packed, front))
            else:
                self.packed = 0  # those after it do not fit either, and are not worth drawing
                self.left_out += [title] if title not in self.left_out else []
        return tuple(kept)

    def _whole(self, figure: Figure, panels: tuple[str, ...]) -> str:
        legend = "".join(map(self.key, figure.legend))
        return f'<ul class="legend" aria-hidden="true">{legend}</ul>{"".join(panels)}'

    def fits(self, matrix: Matrix | None) -> bool:
        """Return whether a matrix fits, and count it where it does."""
        size = 0 if matrix is None else _FIELD_BYTES * len(matrix.lines) * (len(matrix.headings) + 2)
        if size > self.matrices:
            return False
        self.matrices -= size
        return True


def pack(text: str) -> str:
    """Return a text deflated (RFC 1951, which browsers inflate) and in base64."""
    deflated = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return base64.b64encode(deflated.compress(text.encode()) + deflated.flush()).decode()


@dataclass(frozen=True, slots=True)
class CaseSection:
    """What the report shows of one case."""

    info: CaseInfo
    key: str
    matrix: Matrix | None
    figures: tuple[DrawnFigure, ...]
    counts: Counts
    is_open: bool
    cut: bool
    """Whether a matrix or a figure is left out for its size."""


@dataclass(frozen=True, slots=True)
class OperationSection:
    """What the report shows of one operation, or of its gradient: a matrix where it has several cases."""

    info: CaseInfo
    key: str
    matrix: Matrix | None
    tradeoffs: tuple[DrawnFigure, ...]
    cases: tuple[CaseSection, ...]


@dataclass(frozen=True, slots=True)
class SpeedSection:
    """What the report shows of one case that was timed."""

    info: CaseInfo
    key: str
    cells: int
    cold: int
    """How many of the cells were timed with inputs that no cache held."""
    figures: tuple[DrawnFigure, ...]


Rows = Mapping[str, Sequence[Row]]


def operation_sections(
    by_case: Rows, infos: Mapping[str, CaseInfo], budget: Budget
) -> list[OperationSection]:
    """Return a section for each operation and each gradient, its cases in the order of the plan.

    Digits against time are drawn before what belongs to single cases, and cases with a failure before
    the others, so that these have their figures when there are too many.
    """
    groups, styles = _groups(by_case, infos), styles_of(by_case, infos)
    counts = {case: count(rows) for case, rows in by_case.items()}
    traded = {}
    for n, (group, names) in enumerate(groups.items()):
        rows = [r for case in names for r in by_case[case]]
        found = tradeoffs(rows, infos, styles[group], f"o{n}t")
        traded[group] = tuple(d for t in found for d in budget.drawn([t.figure], t.title, t.front))
    keys = {case: f"o{n}c{m}" for n, names in enumerate(groups.values()) for m, case in enumerate(names)}
    sections: dict[str, CaseSection] = {}
    for case in sorted(by_case, key=lambda case: _is_quiet(counts[case])):
        info = infos[case]
        sections[case] = _case_section(
            by_case[case], info, keys[case], styles[info.operation, info.mode], counts[case], budget,
            is_open=len(by_case) <= FEW_CASES or not _is_quiet(counts[case]),
        )  # fmt: skip
    return [
        OperationSection(
            infos[names[0]],
            f"o{n}",
            digits_matrix([r for case in names for r in by_case[case]]) if len(names) > 1 else None,
            traded[group],
            tuple(sections[case] for case in names),
        )
        for n, (group, names) in enumerate(groups.items())
    ]


def _is_quiet(counts: Counts) -> bool:
    return not (counts.failed or counts.warnings or counts.inconclusive)


def _groups(by_case: Rows, infos: Mapping[str, CaseInfo]) -> dict[tuple[str, str], list[str]]:
    return grouped(by_case, lambda case: (infos[case].operation, infos[case].mode))


def styles_of(by_case: Rows, infos: Mapping[str, CaseInfo]) -> dict[tuple[str, str], Styles]:
    """Return the colours and shapes of each operation and each gradient, by operation and mode."""
    return {
        group: Styles.of(
            (text_of(r, "formulation"), text_of(r, "backend")) for c in names for r in by_case[c]
        )
        for group, names in _groups(by_case, infos).items()
    }


def _case_section(
    rows: Sequence[Row],
    info: CaseInfo,
    key: str,
    styles: Styles,
    counts: Counts,
    budget: Budget,
    *,
    is_open: bool,
) -> CaseSection:
    made = (
        *digit_figures(rows, info, styles, f"{key}d"),
        *law_figures(rows, info, styles, f"{key}l"),
    )
    figures = budget.drawn(made, info.title)
    matrix = digits_matrix(rows)
    fits = budget.fits(matrix)
    cut = len(figures) < len(made) or not fits
    return CaseSection(info, key, matrix if fits else None, figures, counts, is_open, cut)


def speed_sections(by_case: Rows, infos: Mapping[str, CaseInfo], budget: Budget) -> list[SpeedSection]:
    """Return a section for each case that was timed."""
    styles, sections = styles_of(by_case, infos), []
    for n, (case, rows) in enumerate(by_case.items()):
        timed = [r for r in rows if is_timed(r)]
        if timed:
            info = infos[case]
            figures = speed_figures(timed, info, styles[info.operation, info.mode], f"s{n}")
            cells, cold = (
                len({text_of(r, "cell") for r in some}) for some in (timed, filter(is_cold, timed))
            )
            sections.append(SpeedSection(info, f"s{n}", cells, cold, budget.drawn(figures, info.title)))
    return sections
