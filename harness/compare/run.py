"""A comparison from its pairs to what it found: accuracy of both sides, rounds, verdicts."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from harness import store
from harness.compare.judgement import SIDES, Known, alone, judged, nulls_by_decade, worst_first
from harness.compare.measure import Measuring, Settings, Timed
from harness.compare.model import Comparison, Side
from harness.compare.pairs import CellPair
from harness.errors import CouldNotMeasureError, InterruptedRunError
from harness.execute import Options, Programs, Progress, execute
from harness.execute.loop import Loop, StopAsked
from harness.execute.options import Unwritten, cores
from harness.execute.problems import groups_of
from harness.execute.progress import Estimate
from harness.execute.scratch import Scratch
from harness.execute.session import Session
from harness.execute.sets import probe_programs
from harness.execute.timing import has_output
from harness.expect import FACT_COLUMNS, verdicts
from harness.gate import ExitCode, highest
from harness.model import Cell, Plan
from harness.store import Run
from harness.store.environment import cpu_model
from harness.timing import paired
from harness.timing.conditions import steal_s

ROUNDS: Final = "rounds.jsonl"

_CODES: Final = {
    "fail": ExitCode.FAILED,
    "inconclusive": ExitCode.COULD_NOT_MEASURE,
    "pass": ExitCode.OK,
}


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison, and the accuracy of both sides as runs; None for one that was interrupted before."""

    comparison: Comparison
    base: Run | None
    head: Run | None


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be compared.

    Attributes
    ----------
    plan
        Holds the cells of all pairs.
    alone
        Cells that one side has no partner for.
    allow_accuracy_loss
        Whether fewer digits pass.
    differences
        What is installed otherwise on the head.
    """

    plan: Plan
    pairs: Sequence[CellPair]
    sides: Mapping[str, Side]
    plugins: Sequence[str]
    settings: Settings
    alone: Sequence[Cell] = ()
    allow_accuracy_loss: bool = False
    differences: Sequence[str] = ()


@dataclass(slots=True)
class _State:
    """What is known so far; an interruption leaves it as it is."""

    runs: dict[str, Run] = field(default_factory=dict)
    rows: dict[str, dict[str, list[Mapping[str, Any]]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    """By side and cell, why there is no output."""
    measuring: Measuring | None = None
    facts: dict[str, dict[str, Mapping[str, str]]] = field(default_factory=dict)
    finished: bool = False


def programs_of(side: Side, plugins: Sequence[str]) -> Programs:
    """Return what is started for a side: this harness's probe in its interpreter, with its folders first."""
    return probe_programs(side.interpreter, plugins, side.plugins, side.folders)


def run(work: Work, *, folder: Path, cache: Path, options: Options, progress: Progress) -> Compared:
    """Compare two sides.

    Parameters
    ----------
    work
        What is to be compared.
    folder
        Of the comparison; it exists. Its runs, rounds and logs go there.
    cache
        Folder of certified references.
    options
        Limits of execution.
    progress
        Who is told how far it is.

    Raises
    ------
    CouldNotMeasureError
        There is no room to write.
    """
    start, state = time.monotonic(), _State()
    before = steal_s()
    programs = {name: programs_of(side, work.plugins) for name, side in work.sides.items()}
    try:
        for name in SIDES:
            _judge_accuracy(
                name, work, state, folder, cache, replace(options, programs=programs[name]), progress
            )
        _measure(work, state, programs, folder, cache, options, progress)
        state.finished = True
    except (InterruptedRunError, StopAsked, KeyboardInterrupt):
        if state.measuring is not None:
            state.measuring.judge()
    finally:
        progress.close()
    seconds = time.monotonic() - start
    conditions = {**_machine(), "steal_fraction": _fraction(before, steal_s(), seconds)}
    comparison = _composed(work, state, seconds, conditions)
    return Compared(comparison, state.runs.get("base"), state.runs.get("head"))


# ---- accuracy --------------------------------------------------------------------------------------


class _Named:
    """Progress whose phases are told with the side that they are of."""

    def __init__(self, progress: Progress, side: str) -> None:
        self._progress = progress
        self._side = side

    def begin(self, phase: str, total: int) -> None:
        """See `Progress`."""
        self._progress.begin(f"{phase} of the {self._side}", total)

    def advance(self, cell: str, remaining_s: float | None) -> None:
        """See `Progress`."""
        self._progress.advance(cell, None)

    def tick(self) -> None:
        """See `Progress`."""
        self._progress.tick()

    def note(self, told: str) -> None:
        """See `Progress`."""
        self._progress.note(told)

    def end(self, told: str) -> None:
        """See `Progress`."""
        self._progress.end(told)

    def close(self) -> None:
        """Leave it to whoever goes on with it."""


def _judge_accuracy(
    name: str,
    work: Work,
    state: _State,
    folder: Path,
    cache: Path,
    options: Options,
    progress: Progress,
) -> None:
    """Run and judge the cells of one side, in a folder of its own."""
    cells = _once(getattr(pair, name) for pair in work.pairs)
    plan = _part(work.plan, cells)
    opened = store.start(plan, folder / name)
    try:
        execute(
            plan,
            folder=folder / name,
            cache=cache,
            journal=opened.journal,
            options=replace(options, timing=False),
            progress=_Named(progress, name),
        )
        # their times are of the rounds: none is lacking here
        untimed = replace(plan, cells=tuple(replace(cell, speed=None) for cell in cells))
        rows = verdicts(store.rows(untimed, opened.journal.records), untimed)
        records = {r["cell"]: r for r in opened.journal.find("accuracy")}
        state.facts[name] = {r["child"]: r["facts"] for r in opened.journal.find("environment")}
        state.runs[name] = store.finish(opened, rows, [], FACT_COLUMNS)
    finally:
        opened.journal.close()
    by_cell: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_cell.setdefault(row["cell"], []).append(row)
    state.rows[name] = by_cell
    state.failures[name] = {
        cell.id: str(records.get(cell.id, {}).get("error") or "it gave no output")
        for cell in cells
        if not has_output(records.get(cell.id, {}))
    }


def _once(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    return tuple({cell.id: cell for cell in cells}.values())


def _part(plan: Plan, cells: Sequence[Cell]) -> Plan:
    used = {cell.case for cell in cells}
    problems = {cell.problem for cell in cells}
    return replace(
        plan,
        cells=tuple(cells),
        problems={key: problem for key, problem in plan.problems.items() if key in problems},
        cases={name: case for name, case in plan.cases.items() if name in used},
    )


# ---- rounds ----------------------------------------------------------------------------------------


def _measure(
    work: Work,
    state: _State,
    programs: Mapping[str, Programs],
    folder: Path,
    cache: Path,
    options: Options,
    progress: Progress,
) -> None:
    """Measure the pairs that have an output on both sides."""
    able = [
        Timed(pair.name, pair.base, pair.head)
        for pair in work.pairs
        if pair.base.id not in state.failures["base"] and pair.head.id not in state.failures["head"]
    ]
    if able:
        options = replace(options, programs=replace(options.programs, plugins=tuple(work.plugins)))
        with measuring(work.plan, able, programs, work.settings, folder, cache, options, progress) as found:
            state.measuring = found
            found.run()


@contextlib.contextmanager
def measuring(
    plan: Plan,
    pairs: Sequence[Timed],
    programs: Mapping[str, Programs],
    settings: Settings,
    folder: Path,
    cache: Path,
    options: Options,
    progress: Progress,
    kind: type[Measuring] = Measuring,
) -> Iterator[Measuring]:
    """Give what measures pairs, with all that it needs until the block ends.

    Raises
    ------
    CouldNotMeasureError
        There is no room to write.
    StopAsked
        SIGINT or SIGTERM; no child is left, and what was measured can be read.
    """
    cells = _once(cell for pair in pairs for cell in (pair.base, pair.head))
    by_key = groups_of(plan, cells)
    groups = {cell.id: by_key[cell.problem] for cell in cells}
    largest = max(group.estimate_bytes for group in groups.values())
    scratch = Scratch(options.scratch, options.scratch_bytes, largest)
    path = folder / ROUNDS
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        scratch.close()
        raise CouldNotMeasureError(f"cannot write {path}: {error.strerror}") from None
    try:
        with Loop() as loop, file:
            session = Session(
                folder, cache, options, Unwritten(), progress, Estimate(0, 0.0, 0), loop, scratch
            )

            def record(found: Mapping[str, Any]) -> None:
                try:
                    file.write(json.dumps(found, ensure_ascii=False) + "\n")
                    file.flush()
                except OSError as error:
                    raise CouldNotMeasureError(f"cannot write {path}: {error.strerror}") from None

            yield kind(session, pairs, groups, programs, settings, record)
    finally:
        scratch.close()


# ---- what it comes to ------------------------------------------------------------------------------


def _composed(work: Work, state: _State, seconds: float, conditions: Mapping[str, Any]) -> Comparison:
    measuring = state.measuring
    timed = {} if measuring is None else {t.name: t for t in measuring.pairs}
    known = Known(state.rows, state.failures, work.settings.sets, work.allow_accuracy_loss, state.finished)
    pairs = [judged(pair, timed.get(pair.name), known) for pair in work.pairs]
    pairs += [alone(cell, work.sides) for cell in work.alone]
    codes = [_CODES[pair.verdict] for pair in pairs]
    code = highest(codes) if state.finished else ExitCode.INTERRUPTED
    settings = work.settings
    sides = {name: replace(side, facts=state.facts.get(name, {})) for name, side in work.sides.items()}
    return Comparison(
        base=sides["base"],
        head=sides["head"],
        pairs=tuple(sorted(pairs, key=worst_first)),
        nulls=() if measuring is None else tuple(nulls_by_decade(measuring)),
        exit_code=int(code),
        settings={
            "floor": settings.floor,
            "null_factor": paired.NULL_FACTOR,
            "looks": list(paired.LOOKS),
            "confidence": float(1 - paired.ALPHA),
            "budget_s": settings.budget_s,
            "sets": settings.sets,
            "allow_accuracy_loss": work.allow_accuracy_loss,
            "profile": work.plan.profile,
            "selection": dict(work.plan.selection),
        },
        conditions=conditions,
        differences=tuple(work.differences),
        notes=tuple(_notes(work, state)),
        finished=state.finished,
        seconds=seconds,
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
    )


def _notes(work: Work, state: _State) -> Iterator[str]:
    """Yield what a reader should know of the measurement as a whole."""
    if any(pair.base.problem != pair.head.problem for pair in work.pairs):
        yield "the sides differ in a dtype or an axis, and so do their inputs; others are alike bit for bit"
    layouts = {facts.get("layout") for side in state.facts.values() for facts in side.values()}
    if "random" in layouts:
        yield (
            "this system does not lay out workers alike: what chance does to a process counts as noise, "
            "and short calls may stay undecided"
        )


# ---- the machine -----------------------------------------------------------------------------------


def _machine() -> dict[str, Any]:
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _fraction(before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None or seconds <= 0:
        return None
    return (after - before) / (seconds * (os.cpu_count() or 1))
