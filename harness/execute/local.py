"""Execution on this machine: both phases, resumed where they were, ended together."""

from __future__ import annotations

import time
from pathlib import Path

from harness.errors import InterruptedRunError
from harness.execute.accuracy import AccuracyPhase
from harness.execute.loop import Loop, StopAsked
from harness.execute.options import Executed, Journal, Options
from harness.execute.problems import Group, groups_of
from harness.execute.progress import Estimate, Progress, Silent, duration
from harness.execute.scratch import Scratch
from harness.execute.session import Session
from harness.execute.timing import TimingPhase, has_output
from harness.model import Plan


def execute(
    plan: Plan,
    *,
    folder: Path,
    cache: Path,
    journal: Journal,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Executed:
    """Measure what is not in the journal yet, and write each result into it at once.

    Parameters
    ----------
    plan
        What to run; the catalogue it was made with is loaded.
    folder
        The run's folder; logs of the children go there.
    cache
        Folder of certified references, shared by all runs.
    journal
        Where results go, and where those of before an interruption are.
    options
        Limits, and the programs to start.
    progress
        Who is told how far it is; nobody by default.

    Raises
    ------
    InterruptedRunError
        SIGINT or SIGTERM; no child is left, and the journal can be resumed.
    UsageError
        A resumed run's inputs are no longer what they were.
    CouldNotMeasureError
        There is no room for the journal or the scratch folder; what was measured is kept.
    """
    options = Options() if options is None else options
    progress = Silent() if progress is None else progress
    groups, resumed = _what_is_left(plan, journal, options.timing)
    to_run = sum(len(group.cells) for group in groups)
    timed = [cell for group in groups for cell in group.timed]
    budgets = sum(float(cell.speed.budget_s) for cell in timed if cell.speed)
    estimate = Estimate(to_run, budgets, len(timed))
    seconds: dict[str, float] = {}
    largest = max((group.estimate_bytes for group in groups), default=0)
    scratch = Scratch(options.scratch, options.scratch_bytes, largest)
    try:
        with Loop() as loop:
            session = Session(folder, cache, options, journal, progress, estimate, loop, scratch)
            _remember_digests(plan, groups, session)
            start = time.monotonic()
            if to_run:
                progress.begin("accuracy", to_run)
                AccuracyPhase(session, groups).run()
                journal.sync()
            seconds["accuracy"] = time.monotonic() - start
            if to_run:
                progress.end(_judged(session, to_run, seconds["accuracy"]))
            start = time.monotonic()
            timing = TimingPhase(session, groups, quick=plan.profile == "quick")
            to_time = timing.cells
            estimate.expect("timing", to_time)
            if to_time:
                progress.begin("timing", to_time)
                timing.run()
                journal.sync()
            seconds["timing"] = time.monotonic() - start
            if to_time:
                progress.end(f"{session.timed} of {to_time} cells timed in {duration(seconds['timing'])}")
    except StopAsked:
        done = len({r["cell"] for r in journal.records if r["kind"] == "accuracy"})
        of = sum(cell.skip is None for cell in plan.cells)
        raise InterruptedRunError(
            f"interrupted: {done} of {of} cells are judged; what was measured is kept in {folder}",
            f"go on with: harness run --resume --out {folder} and the same selection",
        ) from None
    finally:
        progress.close()
        scratch.close()
    return Executed(
        cells=to_run,
        timed=session.timed,
        resumed=resumed,
        statuses=dict(session.statuses),
        references=dict(session.references),
        losses=session.losses,
        seconds=seconds,
        peak_bytes=session.peak_bytes,
    )


def _what_is_left(plan: Plan, journal: Journal, timing: bool) -> tuple[list[Group], int]:
    """Return the problems with the cells that still need something, and how many need no judging any more."""
    accuracy = {record["cell"]: record for record in journal.find("accuracy")}
    timed = {record["cell"] for record in journal.find("timing")}
    runnable = [cell for cell in plan.cells if cell.skip is None]
    by_key = groups_of(plan, runnable)
    resumed = 0
    for cell in runnable:
        group = by_key[cell.problem]
        record = accuracy.get(cell.id)
        if record is None:
            group.cells.append(cell)
        else:
            resumed += 1
        to_time = timing and cell.speed is not None and cell.id not in timed
        if to_time and (record is None or has_output(record)):
            group.timed.append(cell)
    return [group for group in dict.fromkeys(by_key.values()) if group.cells or group.timed], resumed


def _remember_digests(plan: Plan, groups: list[Group], session: Session) -> None:
    """Note on which inputs cells were measured before, so that a resumed run measures on no others."""
    digests = {
        record["cell"]: record["inputs_digest"]
        for record in session.journal.find("accuracy")
        if record.get("inputs_digest")
    }
    left = {group.content: group for group in groups}
    by_key = groups_of(plan, [cell for cell in plan.cells if cell.id in digests])
    for cell in plan.cells:
        if cell.id in digests and by_key[cell.problem].content in left:
            session.remember_digest(left[by_key[cell.problem].content], digests[cell.id])


def _judged(session: Session, cells: int, seconds: float) -> str:
    told = [f"{cells} cells judged in {duration(seconds)}"]
    told += [f"{n} {status}" for status, n in sorted(session.statuses.items()) if status != "ok"]
    references = sum(session.references.values())
    if references:
        computed = references - session.references["cached"]
        told.append(f"{computed} references computed, {references - computed} from the cache")
    return ", ".join(told)
