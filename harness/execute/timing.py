"""Timing: alone, one worker at a time, in batches, each cell journalled as its result arrives.

While a cell is timed no other child is alive, and this process sleeps until a message or a deadline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.execute.accuracy import KEPT_SHARE, kernel_request
from harness.execute.child import MalformedReplyError
from harness.execute.problems import Group, worker_key
from harness.execute.programs import WorkerKey, flags_of
from harness.execute.session import Session, needed, shortened
from harness.execute.station import Failure, Station, Task
from harness.model import Cell

BATCH_CELLS: Final = 12
BATCH_BYTES: Final = 512 << 20
"""Cells timed in turn, so that drift hits all alike, and what their inputs may take together."""

_BUDGETS: Final = 4.0
_CALLS: Final = 25.0
"""What a batch may take: a multiple of its budgets, and of one call of each cell, beside `timeout_s`."""


class TimingPhase:
    """Times cells.

    Parameters
    ----------
    session
        What both phases share.
    groups
        Cells by problem; those in `Group.timed` are timed, if their accuracy run gave an output.
    quick
        Whether a wider interval will do.
    """

    def __init__(self, session: Session, groups: Sequence[Group], quick: bool) -> None:
        self._session = session
        self._quick = quick
        self._task: Task | None = None
        self._accuracy = {r["cell"]: r for r in session.journal.find("accuracy")}
        self._group: dict[str, Group] = {}
        self._left: set[str] = set()
        self._cells: dict[WorkerKey, list[Cell]] = {}
        for group in groups:
            for cell in group.timed:
                if has_output(self._accuracy.get(cell.id, {})):
                    self._group[cell.id] = group
                    self._left.add(cell.id)
                    self._cells.setdefault(worker_key(cell), []).append(cell)
            if not any(cell.id in self._group for cell in group.timed):
                session.remove_inputs(group)

    @property
    def cells(self) -> int:
        """How many cells there are to time."""
        return len(self._group)

    def run(self) -> None:
        """Time all cells; every one of them is in the journal afterwards."""
        for key, cells in sorted(self._cells.items()):
            batches = deque(self._batches(cells))
            worker = self._session.worker(key, self._next, window=1)
            try:
                self._measure_machine(worker, key, cells)
                while batches:
                    self._time_some(worker, key, batches)
            except BaseException:
                self._session.close(worker, patience_s=0)
                raise
            self._session.close(worker)

    def _next(self, station: Station) -> Task | None:
        task, self._task = self._task, None
        return task

    def _do(self, task: Task, over: list[bool]) -> None:
        """Let the worker do one task while everything else is still."""
        loop = self._session.loop
        self._task = task
        loop.quiet = True
        try:
            loop.run_until(lambda: bool(over))
        finally:
            loop.quiet = False

    # ---- the machine -----------------------------------------------------------------------------------

    def _measure_machine(self, worker: Station, key: WorkerKey, cells: Sequence[Cell]) -> None:
        """Measure the peaks that results are compared with, of dtypes and compute dtypes, once a run.

        A dtype is measured by a worker that has its settings: float32 in one of TF32 would be TF32. The
        bandwidth is measured once for each device.
        """
        journal = self._session.journal
        known = {(r["backend"], r["threads"], r["dtype"]) for r in journal.find("peak")}
        computed = (self._accuracy[cell.id].get("compute_dtype") for cell in cells)
        for dtype in dict.fromkeys([*(cell.dtype for cell in cells), *filter(None, computed)]):
            here = flags_of(key.backend, dtype) == key.flags
            if here and (key.backend, key.threads, dtype) not in known:
                about = {"kind": "peak", "backend": key.backend, "threads": key.threads, "dtype": dtype}
                self._ask(worker, {"do": "peak", "dtype": dtype}, about, ("gflops", "n"))
        device = str(self._session.facts.get(key.name, {}).get("device", "cpu"))
        if all(r.get("device", "cpu") != device for r in journal.find("bandwidth")):
            about = {"kind": "bandwidth", "backend": key.backend, "threads": key.threads, "device": device}
            self._ask(worker, {"do": "bandwidth"}, about, ("gbps", "array_bytes"))

    def _ask(
        self, worker: Station, request: Mapping[str, Any], about: Mapping[str, Any], wanted: Sequence[str]
    ) -> None:
        over: list[bool] = []

        def reply(message: dict[str, Any]) -> bool:
            if needed(message, "status", str) == "ok":
                found = {name: message.get(name) for name in wanted}
            else:
                found = {wanted[0]: None, "error": shortened(needed(message, "error", str))}
            self._session.journal.append({**about, **found})
            over.append(True)
            return True

        def failed(failure: Failure) -> None:
            self._session.journal.append({**about, wanted[0]: None, "error": failure.reason})
            over.append(True)

        self._do(Task(request, self._session.options.timeout_s, reply, failed, retry=False), over)
        self._session.progress.tick()

    # ---- batches ---------------------------------------------------------------------------------------

    def _batches(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        batches: list[list[Cell]] = []
        held = 0
        for cell in cells:
            size = self._input_bytes(cell)
            if not batches or len(batches[-1]) >= BATCH_CELLS or held + size > BATCH_BYTES:
                batches.append([])
                held = 0
            batches[-1].append(cell)
            held += size
        return batches

    def _input_bytes(self, cell: Cell) -> int:
        return int(self._accuracy[cell.id].get("input_bytes") or 0)

    def _time_some(self, worker: Station, key: WorkerKey, batches: deque[list[Cell]]) -> None:
        """Time as many batches as there is room for the inputs of; inputs that went are made again."""
        some = [batches.popleft()]
        held = self._session.scratch.held_inputs
        wanted = self._missing(some[0])
        while batches:
            more = {**wanted, **self._missing(batches[0])}
            if sum(group.input_bytes or group.estimate_bytes for group in more.values()) > held.limit_bytes:
                break
            wanted = more
            some.append(batches.popleft())
        self._make_inputs(list(wanted.values()))
        for batch in some:
            self._time(worker, key, batch)
        for group in dict.fromkeys(self._group[cell.id] for batch in some for cell in batch):
            wanted_later = any(cell.id in self._left for cell in group.timed)
            if not wanted_later or held.total_bytes > KEPT_SHARE * held.limit_bytes:
                self._session.remove_inputs(group)

    def _missing(self, batch: Sequence[Cell]) -> dict[str, Group]:
        groups = (self._group[cell.id] for cell in batch)
        return {group.content: group for group in groups if group.inputs is None}

    def _make_inputs(self, groups: list[Group]) -> None:
        """Make the inputs of problems whose files are gone."""
        for group, error in make_inputs(self._session, groups).items():
            for cell in group.timed:
                if cell.id in self._left:
                    self._record(cell, "referee_error", error=f"its inputs could not be made again: {error}")

    def _time(self, worker: Station, key: WorkerKey, batch: Sequence[Cell]) -> None:
        """Time a batch; what is left of one that killed its worker is timed one by one."""
        left = {cell.id: cell for cell in batch if cell.id in self._left}
        if not left:
            return
        lost = self._time_together(worker, key, left)
        if lost is None:
            return
        alone = len(left) == 1
        for cell in list(left.values()):
            single = {cell.id: cell}
            again = lost if alone else self._time_together(worker, key, single)
            if again is not None:
                self._record(cell, again.kind, error=again.reason)
            self._session.progress.tick()

    def _time_together(self, worker: Station, key: WorkerKey, left: dict[str, Cell]) -> Failure | None:
        """Time cells and take each out of `left` as it is done; return what killed the worker."""
        over: list[bool] = []
        found: list[Failure] = []

        def reply(message: dict[str, Any]) -> bool:
            if "progress" in message:
                self._session.progress.tick()
                return False
            name = needed(message, "cell", str)
            if name not in left:
                raise MalformedReplyError(f"{name!r}, which is not being timed")
            status = needed(message, "status", str)
            if status == "ok":
                more: dict[str, Any] = {"timing": needed(message, "timing", dict)}
            else:
                status = "raised" if status == "raised" else "worker_error"
                more = {"error": shortened(needed(message, "error", str))}
            if "fp_environment" in message:
                more["fp_environment"] = message["fp_environment"]
            self._record(left.pop(name), status, threads=key.threads, **more)
            self._session.progress.tick()
            if not left:
                over.append(True)
            return not left

        def failed(failure: Failure) -> None:
            found.append(failure)
            over.append(True)

        cells = list(left.values())
        request = {
            "do": "time",
            "quick": self._quick,
            "cells": [
                {
                    **kernel_request(self._group[cell.id], cell),
                    "budget_s": _budget_s(cell),
                    "cache": cell.speed.cache if cell.speed else "hot",
                }
                for cell in cells
            ],
        }
        self._do(Task(request, self._patience_s(cells), reply, failed, retry=False), over)
        return found[0] if found else None

    def _patience_s(self, cells: Sequence[Cell]) -> float:
        calls = sum(float(self._accuracy[cell.id].get("seconds") or 0) for cell in cells)
        budgets = sum(map(_budget_s, cells))
        return self._session.options.timeout_s + _BUDGETS * budgets + _CALLS * calls

    def _record(self, cell: Cell, status: str, **found: Any) -> None:
        self._left.discard(cell.id)
        threads = {"threads": worker_key(cell).threads}
        self._session.journal.append(
            {"kind": "timing", "cell": cell.id, "status": status, **threads, **found}
        )
        self._session.timed += status == "ok"
        self._session.counted("timing", cell.id)


def make_inputs(session: Session, groups: Sequence[Group]) -> dict[Group, str]:
    """Let referees make the inputs of problems, and end before anything is timed; return why some are not."""
    if not groups:
        return {}
    waiting, left = deque(groups), {group.content for group in groups}
    errors: dict[Group, str] = {}

    def ready(group: Group) -> None:
        left.discard(group.content)

    def failed(group: Group, error: str) -> None:
        left.discard(group.content)
        errors[group] = error

    def source(station: Station) -> Task | None:
        return session.prepare(waiting.popleft(), ready, failed) if waiting else None

    jobs = max(1, min(session.options.jobs, len(groups)))
    referees = [session.referee(number, source, window=1) for number in range(1, jobs + 1)]
    try:
        session.loop.run_until(lambda: not left)
    finally:
        for referee in referees:
            session.close(referee)
    return errors


def has_output(record: Mapping[str, Any]) -> bool:
    """Return whether a cell's accuracy run gave an output, judged or not."""
    return record.get("seconds") is not None


def _budget_s(cell: Cell) -> float:
    return 0.0 if cell.speed is None else float(cell.speed.budget_s)
