"""References and accuracy, in parallel over the cores: prepare → run → score, each as soon as it can be.

Problems are prepared by referees; the cells of one that is ready go to their workers, outputs go back
to the referee that has the problem in memory, and each cell is journalled as it is judged.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.execute.child import MalformedReplyError
from harness.execute.problems import Group, cost, worker_key
from harness.execute.programs import WorkerKey
from harness.execute.session import Session, needed, shortened
from harness.execute.station import Failure, Station, Task
from harness.model import Cell
from harness.registry import BACKENDS, support

WINDOW: Final = 8
"""Requests that a worker has at one time, so that it never waits for us between tiny cells."""

_SCORES_AT_ONCE: Final = 4
_LOOKAHEAD: Final = 32
"""Problems that a referee may have prepared and that wait for their workers."""

_UNJUDGED: Final = 256
"""Outputs that may wait for a referee before workers do."""

_WORTH_HELPING: Final = 4
"""Judgements that wait at one referee before an idle one, who must read the problem first, helps."""

_LARGE_BYTES: Final = 1 << 20
"""Problems from here on go first, the largest first, so that no core is left alone with one at the end."""

_REMARKS: Final = ("fp_environment", "returned_format", "peak_memory_bytes")
"""What a worker may say of a cell beside its result."""

KEPT_SHARE: Final = 0.5
"""Of the room for inputs, what those of cells to be timed may hold until then."""


class AccuracyPhase:
    """Runs and judges cells.

    Parameters
    ----------
    session
        What both phases share.
    groups
        Cells by problem; those in `Group.cells` are run.
    """

    def __init__(self, session: Session, groups: Sequence[Group]) -> None:
        self._session = session
        self._waiting = deque(sorted((g for g in groups if g.cells), key=_large_first))
        self._left = sum(len(group.cells) for group in self._waiting)
        self._ready: dict[WorkerKey, deque[tuple[Group, Cell]]] = defaultdict(deque)
        self._scores: dict[str, deque[Task]] = {}
        self._unjudged = 0
        self._open: dict[str, int] = defaultdict(int)
        """By referee, problems that it prepared or prepares and whose cells are not all run."""
        self._kept: deque[Group] = deque()
        self._referees: list[Station] = []
        self._keys: dict[Station, WorkerKey] = {}

    def run(self) -> None:
        """Run and judge all cells; every one of them is in the journal afterwards."""
        if not self._left:
            return
        session = self._session
        jobs = max(1, min(session.options.jobs, self._left))
        for number in range(1, jobs + 1):
            referee = session.referee(number, self._next_for_referee, _SCORES_AT_ONCE)
            self._scores[referee.name] = deque()
            self._referees.append(referee)
        stations = list(self._referees)
        for key in sorted({worker_key(cell) for group in self._waiting for cell in group.cells}):
            worker = session.worker(key, self._next_for_worker, WINDOW)
            self._keys[worker] = key
            stations.append(worker)
        try:
            for station in stations:
                station.begin()
            session.loop.run_until(lambda: not self._left)
        except BaseException:
            for station in stations:
                session.close(station, patience_s=0)
            raise
        for station in stations:
            session.close(station)

    # ---- what a referee does next ----------------------------------------------------------------------

    def _next_for_referee(self, station: Station) -> Task | None:
        if station.broken and not all(referee.broken for referee in self._referees):
            return None  # its work is left to the others
        if any(task.request["do"] == "prepare" for task in station.under_way):
            return None  # what waits behind a long reference is better done elsewhere
        own = self._scores[station.name]
        if own:
            return own.popleft()
        if not station.under_way and (group := self._next_problem(station)) is not None:
            return self._prepare(group, station)
        return None if station.under_way else self._help_another()

    def _help_another(self) -> Task | None:
        for referee in sorted(self._referees, key=lambda r: -len(self._scores[r.name])):
            queue = self._scores[referee.name]
            if queue and (referee.broken or len(queue) >= _WORTH_HELPING):
                return queue.pop()
        return None

    def _next_problem(self, station: Station) -> Group | None:
        if not self._waiting or self._open[station.name] >= _LOOKAHEAD:
            return None
        held = self._session.scratch.held_inputs
        size = self._waiting[0].estimate_bytes
        while not held.fits(size) and self._kept:
            self._session.remove_inputs(self._kept.popleft())
        if not held.fits(size) and any(self._open.values()):
            return None
        return self._waiting.popleft()

    def _prepare(self, group: Group, station: Station) -> Task:
        group.owner = station
        group.to_run = len(group.cells)
        self._open[station.name] += 1
        return self._session.prepare(group, self._prepared, self._not_prepared)

    def _prepared(self, group: Group) -> None:
        for cell in group.cells:
            self._ready[worker_key(cell)].append((group, cell))

    def _not_prepared(self, group: Group, error: str) -> None:
        for cell in group.cells:
            self._finish(group, cell, "referee_error", error=error)
            self._ran(group)

    # ---- what a worker does next -----------------------------------------------------------------------

    def _next_for_worker(self, station: Station) -> Task | None:
        queue = self._ready[self._keys[station]]
        if not queue or self._unjudged >= _UNJUDGED:
            return None
        held = self._session.scratch.held_outputs
        if not held.fits(queue[0][0].input_bytes) and not held.empty:
            return None
        group, cell = queue.popleft()
        return self._run(group, cell)

    def _run(self, group: Group, cell: Cell) -> Task:
        scratch = self._session.scratch
        prefix = scratch.new_outputs(group.input_bytes)

        def reply(message: dict[str, Any]) -> bool:
            check_cell(message, cell)
            status = needed(message, "status", str)
            about: dict[str, Any] = {k: message[k] for k in _REMARKS if k in message}
            if task.first_death is not None:
                about["first_death"] = task.first_death
            if status == "ok":
                outputs = needed(message, "outputs", dict)
                about["seconds"] = float(needed(message, "seconds", (int, float)))
                about["result_digest"] = message.get("result_digest")
                if cell.accuracy:
                    self._to_judge(group, cell, prefix, outputs, needed(message, "format", dict), about)
                else:
                    self._finish(group, cell, "ok", prefix, **about)
            else:
                status = "raised" if status == "raised" else "worker_error"
                self._finish(group, cell, status, prefix, error=needed(message, "error", str), **about)
            self._ran(group)
            return True

        def failed(failure: Failure) -> None:
            self._finish(group, cell, failure.kind, prefix, error=failure.reason)
            self._ran(group)

        task = Task(
            {"do": "run", **kernel_request(group, cell), "outputs": prefix, "memory": cell.speed is not None},
            self._session.options.timeout_s,
            reply,
            failed,
        )
        return task

    def _ran(self, group: Group) -> None:
        """Once all cells of a problem are run, its inputs go, or stay for those that will be timed."""
        group.to_run -= 1
        if group.to_run:
            return
        if group.owner is not None:
            self._open[group.owner.name] -= 1
        held = self._session.scratch.held_inputs
        kept = sum(g.input_bytes for g in self._kept) + group.input_bytes
        if group.timed and group.inputs is not None and kept <= KEPT_SHARE * held.limit_bytes:
            self._kept.append(group)
        else:
            self._session.remove_inputs(group)

    # ---- judging ---------------------------------------------------------------------------------------

    def _to_judge(
        self,
        group: Group,
        cell: Cell,
        prefix: str,
        outputs: Mapping[str, str],
        formats: Mapping[str, str],
        about: Mapping[str, Any],
    ) -> None:
        self._unjudged += 1
        compute = _compute_dtype(cell)
        request = {
            "do": "score",
            "cell": cell.id,
            "problem": group.problem,
            "outputs": outputs,
            "formats": formats,
            "compute_dtype": compute or cell.dtype,
        }

        def reply(message: dict[str, Any]) -> bool:
            check_cell(message, cell)
            failed = message.get("status") == "error"
            more = (
                {"error": needed(message, "error", str)}
                if failed
                else {"outputs": needed(message, "rows", dict)}
            )
            self._unjudged -= 1
            self._finish(group, cell, "referee_error" if failed else "ok", prefix, **about, **more)
            return True

        def lost(failure: Failure) -> None:
            self._unjudged -= 1
            error = f"the referee gave no judgement: {failure.reason}"
            self._finish(group, cell, "referee_error", prefix, error=error, **about)

        task = Task(request, self._session.options.reference_timeout_s, reply, lost)
        owner = group.owner or self._referees[0]
        self._scores[owner.name].append(task)

    def _finish(self, group: Group, cell: Cell, status: str, prefix: str | None = None, **found: Any) -> None:
        """Journal a cell and remove its outputs."""
        session = self._session
        if "error" in found:
            found["error"] = shortened(found["error"])
        facts = session.facts.get(worker_key(cell).name, {})
        session.journal.append(
            {
                "kind": "accuracy",
                "cell": cell.id,
                "status": status,
                "device": facts.get("device", "cpu"),
                "compute_dtype": _compute_dtype(cell),
                "inputs_digest": group.inputs_digest,
                "input_bytes": group.input_bytes,
                "data_error": group.data_error,
                **(cost(group) if group.shapes else {}),
                **found,
            }
        )
        if prefix is not None:
            session.scratch.remove_outputs(prefix)
        session.statuses[status] += 1
        self._left -= 1
        session.counted("accuracy", cell.id)
        session.progress.tick()


def kernel_request(group: Group, cell: Cell) -> dict[str, Any]:
    """Return what a worker needs to know to build a cell's thunk."""
    return {
        "cell": cell.id,
        "operation": cell.operation,
        "formulation": cell.formulation,
        "dtype": cell.dtype,
        "mode": cell.mode,
        "with_respect_to": group.problem.with_respect_to,
        "inputs": group.inputs,
        "parameters": group.problem.parameters,
    }


def _compute_dtype(cell: Cell) -> str | None:
    found = support(cell.operation, cell.formulation, BACKENDS[cell.backend], cell.dtype, cell.mode)
    return found if isinstance(found, str) else None


def check_cell(message: Mapping[str, Any], cell: Cell) -> None:
    """Raise MalformedReplyError for a reply about another cell than the one asked."""
    name = needed(message, "cell", str)
    if name != cell.id:
        raise MalformedReplyError(f"{name!r} instead of {cell.id!r}")


def _large_first(group: Group) -> int:
    return -group.estimate_bytes if group.estimate_bytes >= _LARGE_BYTES else 0
