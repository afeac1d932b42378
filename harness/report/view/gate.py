"""What a gate found, as a reader sees it: a sentence, entries told together, places in case files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.gate import KINDS, Entry, ExitCode, GateReport, fact_message, fact_name
from harness.report.view.rows import Row, grouped, text_of
from harness.report.view.text import counted, listed

if TYPE_CHECKING:
    from harness.model import Case, FactSpec
    from harness.store import Run

_HEADLINES: Final = {
    ExitCode.OK: "The gate passed",
    ExitCode.FAILED: "The gate failed",
    ExitCode.COULD_NOT_MEASURE: "The gate could not judge",
    ExitCode.NO_BASELINE: "The gate has no comparable baseline",
}
_STATES: Final = {
    ExitCode.OK: "pass",
    ExitCode.FAILED: "fail",
    ExitCode.COULD_NOT_MEASURE: "inconclusive",
    ExitCode.NO_BASELINE: "inconclusive",
}


@dataclass(frozen=True, slots=True)
class GateStory:
    """Entries of one kind about one subject: the worst of them, and how many more there are."""

    worst: Entry
    others: int


def headline(report: GateReport) -> str:
    """Return what a gate found, as a sentence: its answer, and how many of what decided it."""
    told = [
        f"{report.counts[k]:,} {k.replace('_', ' ')}" for k in KINDS if _decides(k) and report.counts.get(k)
    ]
    found = f": {listed(told)}" if told else ""
    compared = counted(report.counts.get("compared", 0), "result")
    return f"{_HEADLINES[report.exit_code]}{found}. {compared} compared."


def state(report: GateReport) -> str:
    """Return `pass`, `fail` or `inconclusive`."""
    return _STATES[report.exit_code]


def _decides(kind: str) -> bool:
    return KINDS[kind][1] is not ExitCode.OK


def gate_stories(entries: Iterable[Entry]) -> list[GateStory]:
    """Return entries, worst first, told together where the same was found of one formulation.

    What is new or not to be had on this machine is told together for a whole case.
    """
    return [GateStory(told[0], len(told) - 1) for told in grouped(entries, _subject).values()]


def _subject(entry: Entry) -> tuple[object, ...]:
    case, *rest = entry.cell.split("/")[:4]
    whole_case = entry.kind in ("new", "unavailable")
    return (entry.kind, entry.warns, case, *(() if whole_case else (*rest, entry.output)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a case file something is expected; line 0 is the file as a whole."""

    file: str
    line: int = 0


class Places:
    """Finds the rule of a case file that judged a row, a fact, or an entry of a gate.

    Parameters
    ----------
    run
        The run whose plan holds cases and rules.
    root
        Files are named relative to this folder; those outside it have no place.
    """

    def __init__(self, run: Run, root: Path) -> None:
        root = root.resolve()
        self._cases = run.plan.cases
        self._cells = {cell.id: cell for cell in run.plan.cells}
        self._facts = {(fact_name(f), text_of(f, "output"), fact_message(f)): f for f in run.fact_rows}
        self._files = {name: _relative(case.path, root) for name, case in self._cases.items()}

    def of_row(self, row: Row) -> Place | None:
        """Return the rule that decided a row."""
        return self._of_cell(text_of(row, "cell"), text_of(row, "output"), text_of(row, "case"))

    def of_fact(self, fact: Row) -> Place | None:
        """Return the line that asks for a fact."""
        name = text_of(fact, "case")
        case = self._cases.get(name)
        asked = None if case is None else _asked_for(case, fact)
        return self._place(name, 0 if asked is None else asked.line)

    def of_entry(self, entry: Entry) -> Place | None:
        """Return what an entry of a gate is about."""
        fact = self._facts.get((entry.cell, entry.output, entry.message))
        if fact is not None:
            return self.of_fact(fact)
        return self._of_cell(entry.cell, entry.output, entry.cell.partition("/")[0])

    def _of_cell(self, cell: str, output: str, case: str) -> Place | None:
        known = self._cells.get(cell)
        rules = () if known is None else known.rules
        rule = next((r for r in rules if r.output in (None, output)), None)
        return self._place(case, 0 if rule is None else rule.line)

    def _place(self, case: str, line: int) -> Place | None:
        file = self._files.get(case)
        return None if file is None else Place(file, line)


def place_of_case(case: Case, root: Path) -> Place | None:
    """Return where a case stands: its file relative to `root`, and the first line that is known of it."""
    file = _relative(case.path, root.resolve())
    lines = [i.line for i in case.inputs] + [e.line for e in case.exclude]
    lines += [rule.line for rule in case.expect] + [fact.line for fact in case.facts]
    return None if file is None else Place(file, min(filter(None, lines), default=0))


def _asked_for(case: Case, fact: Row) -> FactSpec | None:
    wanted = (text_of(fact, "of"), text_of(fact, "against"))
    output = text_of(fact, "output")
    return next((f for f in case.facts if (f.fit, f.against) == wanted and f.output in (None, output)), None)


def _relative(path: str, root: Path) -> str | None:
    """Return a case's file relative to `root`, or None where it is elsewhere or no file at all."""
    if path.startswith("<"):
        return None
    try:
        return Path(os.path.abspath(path)).relative_to(root).as_posix()  # noqa: PTH100 links stay as written
    except ValueError:
        return None
