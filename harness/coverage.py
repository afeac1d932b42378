"""What of the guide is covered: row → operations → cases, their cells, and how the last run judged them.

And what is registered but exercised by no case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from harness.errors import NothingSelectedError
from harness.formats import DTYPES
from harness.guide import ROWS, Row
from harness.model import MODES, PROFILES, VERDICTS, Case, Cell, Plan
from harness.plan import make_plan
from harness.registry import BACKENDS, FORMULATIONS, GRADIENTS, OPERATIONS, Lack, support
from harness.selection import Selection

WORDS: Final = ("fail", "warning", "inconclusive", "skip", "pass", "not judged", "not run")
"""What became of a cell in a run, worst first: a verdict, or why there is none."""


@dataclass(frozen=True, slots=True)
class CaseCoverage:
    """One case of a row of the guide."""

    case: str
    operation: str
    cells: int
    """To run here."""
    skipped: int
    judged_on: tuple[str, ...]
    """Backends on which at least one of the cells is judged by its digits."""
    verdicts: Mapping[str, int]
    """Of `WORDS`, how many of the cells; empty where there is no run to look into."""


@dataclass(frozen=True, slots=True)
class RowCoverage:
    """One row of the guide, and its cases by operation."""

    row: Row
    cases: tuple[CaseCoverage, ...]
    narrowed: bool = False
    """Whether there may be more cases of it than those that were looked at."""

    @property
    def covered(self) -> bool:
        """Whether a cell of the row is judged by its digits."""
        return any(case.judged_on for case in self.cases)


@dataclass(frozen=True, slots=True)
class Unexercised:
    """A formulation, or the gradient that it declares, which no cell of any profile runs."""

    operation: str
    formulation: str
    mode: str
    backend: str | None
    """None: it is every backend's."""

    def __str__(self) -> str:
        name = self.formulation if self.backend is None else f"{self.formulation}@{self.backend}"
        return name if self.mode == MODES[0] else f"{name} (gradient)"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The rows that were asked for, in the order of the guide, and what no case exercises."""

    rows: tuple[RowCoverage, ...]
    unexercised: tuple[Unexercised, ...]

    @property
    def covered(self) -> int:
        """How many of the rows are covered."""
        return sum(row.covered for row in self.rows)


def coverage(
    cases: Sequence[Case],
    *,
    profile: str = "default",
    selection: Selection | None = None,
    results: Iterable[Mapping[str, Any]] | None = None,
    whole: bool = True,
) -> Coverage:
    """Return which rows of the guide some cases cover.

    Parameters
    ----------
    cases
        What there is.
    profile, selection
        Which of their cells count. `selection.guide` and `selection.topics` narrow the rows, too: a row that
        they take and no case has is there, without cases.
    results
        The rows of a run, for verdicts.
    whole
        Whether these are all the cases there are.

    Raises
    ------
    UsageError
        A name in the selection does not exist.
    NothingSelectedError
        The selection takes neither a row nor a cell.
    """
    selection = selection or Selection()
    try:
        plan = make_plan(cases, profile=profile, selection=selection)
    except NothingSelectedError:
        asked = (selection.keyword, selection.operations, selection.backends, selection.dtypes)
        if any(asked) or not _rows_taken((), selection):
            raise
        plan = Plan((), {}, {}, profile, selection.as_plain())
    there = {row for case in cases for row in case.guide}
    rows = tuple(
        replace(row, narrowed=not whole or row.row.id in there)
        for row in guide_rows(plan, selection, results)
    )
    return Coverage(rows, _unexercised(cases, plan, selection))


def guide_rows(
    plan: Plan, selection: Selection, results: Iterable[Mapping[str, Any]] | None
) -> tuple[RowCoverage, ...]:
    """Return the rows that a selection takes, with the cases of a plan."""
    words = None if results is None else words_of(results)
    cells: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        cells.setdefault(cell.case, []).append(cell)
    cases = sorted(plan.cases.values(), key=lambda case: (case.operation, case.name))
    return tuple(
        RowCoverage(
            row, tuple(_case(case, cells[case.name], words) for case in cases if row.id in case.guide)
        )
        for row in _rows_taken(cases, selection)
    )


def _rows_taken(cases: Sequence[Case], selection: Selection) -> list[Row]:
    named = {row for case in cases for row in case.guide}
    return [
        row
        for row in ROWS.values()
        if (not selection.guide or row.id in selection.guide)
        and (not selection.topics or row.topic in selection.topics or row.id in named)
    ]


def _case(case: Case, cells: Sequence[Cell], words: Mapping[str, str] | None) -> CaseCoverage:
    to_run = [cell for cell in cells if cell.skip is None]
    found = Counter() if words is None else Counter(words.get(cell.id, "not run") for cell in to_run)
    return CaseCoverage(
        case=case.name,
        operation=case.operation,
        cells=len(to_run),
        skipped=len(cells) - len(to_run),
        judged_on=tuple(dict.fromkeys(cell.backend for cell in to_run if cell.accuracy)),
        verdicts={word: found[word] for word in WORDS if found[word]},
    )


def words_of(results: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return for each cell of a run what became of it: the worst of its outputs, in one of `WORDS`."""
    found: dict[str, str] = {}
    for row in results:
        verdict = row["verdict"]
        word = "not judged" if verdict not in VERDICTS else str(verdict)
        if word == "fail" and row.get("severity") == "warn":
            word = "warning"
        before = found.get(row["cell"], word)
        found[row["cell"]] = min(before, word, key=WORDS.index)
    return found


# ---- what no case exercises ------------------------------------------------------------------------


def unexercised(cells: Iterable[Cell]) -> tuple[Unexercised, ...]:
    """Return the formulations and declared gradients that none of some cells runs, here or anywhere.

    A backend's own formulation is exercised by cells of that backend only. Cells that a case excludes or
    that a backend does not support run nothing; those of a backend that is not on this machine do. What is
    registered only to say why it is supported in no dtype is not missed.
    """
    run = set()
    for cell in cells:
        if cell.skip is None or cell.skip.word == "unavailable":
            declared = cell.mode != MODES[0] and not BACKENDS[cell.backend].autograd
            registry = GRADIENTS if declared else FORMULATIONS
            name = f"{cell.operation}/{cell.formulation}"
            own = f"{name}@{cell.backend}"
            run.add((registry.kind, own if own in registry else name))
    found = []
    for registry, mode in ((FORMULATIONS, MODES[0]), (GRADIENTS, MODES[1])):
        for key in registry:
            if (registry.kind, key) not in run:
                name, _, backend = key.partition("@")
                operation, _, formulation = name.partition("/")
                item = Unexercised(operation, formulation, mode, backend or None)
                if _runs_somewhere(item):
                    found.append(item)
    return tuple(sorted(found, key=lambda u: (u.operation, u.formulation, u.mode, u.backend or "")))


def _runs_somewhere(item: Unexercised) -> bool:
    """Return whether there is a backend and a dtype for it."""
    return any(
        not isinstance(support(item.operation, item.formulation, backend, dtype, item.mode), Lack)
        for backend in BACKENDS.values()
        for dtype in DTYPES
        if item.backend in (None, backend.name) and (item.mode == MODES[0] or not backend.autograd)
    )


def _unexercised(cases: Sequence[Case], plan: Plan, selection: Selection) -> tuple[Unexercised, ...]:
    """Return what no cell of any profile runs, of the operations that a selection leaves."""
    cells = make_plan(cases, profile=PROFILES[-1]).cells if cases else ()
    asked = {case.operation for case in plan.cases.values()} if selection.as_plain() else set(OPERATIONS)
    return tuple(item for item in unexercised(cells) if item.operation in asked)
