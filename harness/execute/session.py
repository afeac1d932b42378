"""What both phases of a run share: its children, its journal, its scratch folder, its counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.errors import UsageError
from harness.execute.child import Child, MalformedReplyError
from harness.execute.loop import Loop
from harness.execute.options import Journal, Options
from harness.execute.problems import Group
from harness.execute.programs import Programs, WorkerKey
from harness.execute.progress import Estimate, Progress
from harness.execute.scratch import Scratch
from harness.execute.station import Failure, Limits, Station, Task

T = TypeVar("T")

_WORKERS_SHARE: Final = 0.875
"""Of the memory allowed, so that an allocation fails inside a worker before the worker is killed."""

_LONGEST_ERROR: Final = 2000
"""Characters of an error that are kept."""


class Session:
    """One execution of a plan."""

    def __init__(
        self,
        folder: Path,
        cache: Path,
        options: Options,
        journal: Journal,
        progress: Progress,
        estimate: Estimate,
        loop: Loop,
        scratch: Scratch,
    ) -> None:
        self.options = options
        self.journal = journal
        self.progress = progress
        self.estimate = estimate
        self.loop = loop
        self.scratch = scratch
        self.statuses: Counter[str] = Counter()
        self.references: Counter[str] = Counter()
        self.losses = 0
        self.timed = 0
        self.peak_bytes: dict[str, int] = {}
        self.facts: dict[str, Mapping[str, Any]] = {
            r["child"]: r["facts"] for r in journal.find("environment")
        }
        self._cache = cache
        self._logs = folder / "logs"
        self._logs.mkdir(exist_ok=True)
        self._referenced = {record["problem"] for record in journal.find("reference")}
        self._digests: dict[str, str] = {}

    # ---- children ------------------------------------------------------------------------------------

    def worker(
        self,
        key: WorkerKey,
        source: Callable[[Station], Task | None],
        window: int,
        *,
        programs: Programs | None = None,
        name: str | None = None,
    ) -> Station:
        """Return a station for one kind of worker; of other programs, and so called, if they are given."""
        programs, limit = programs or self.options.programs, self.options.memory_bytes
        command = programs.worker_command(key, int(limit * _WORKERS_SHARE))
        environment = programs.worker_environment(key)
        return self._station(name or key.name, command, environment, source, window)

    def referee(self, number: int, source: Callable[[Station], Task | None], window: int) -> Station:
        """Return a station for one referee."""
        programs = self.options.programs
        command = programs.referee_command(self._cache, self.scratch.inputs)
        return self._station(f"referee-{number}", command, programs.referee_environment(), source, window)

    def _station(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        source: Callable[[Station], Task | None],
        window: int,
    ) -> Station:
        log = self._logs / f"{name}.log"
        limits = Limits(self.options.hello_timeout_s, self.options.memory_bytes, window)

        def start() -> Child:
            return Child(name, command, environment, log)

        return Station(name, start, self.loop, limits, source, self._greeted)

    def _greeted(self, station: Station, hello: Mapping[str, Any]) -> None:
        facts = hello.get("facts")
        if not isinstance(facts, Mapping) or station.name in self.facts:
            return
        self.facts[station.name] = facts
        self.journal.append({"kind": "environment", "child": station.name, "facts": facts})

    def close(self, station: Station, patience_s: float = 2.0) -> None:
        """End a station and remember what it took."""
        station.close(patience_s)
        self.losses += station.losses
        self.peak_bytes[station.name] = max(station.peak_bytes, self.peak_bytes.get(station.name, 0))

    # ---- problems ------------------------------------------------------------------------------------

    def remember_digest(self, group: Group, digest: str) -> None:
        """Take note that cells of this problem were measured on these inputs before the interruption."""
        self._digests[group.content] = digest

    def prepare(
        self, group: Group, ready: Callable[[Group], None], failed: Callable[[Group, str], None]
    ) -> Task:
        """Return the task of making a problem's inputs and reference."""

        def reply(message: dict[str, Any]) -> bool:
            if message.get("status") == "error":
                self.scratch.held_inputs.release(group.content)
                failed(group, shortened(needed(message, "error", str)))
                return True
            inputs = needed(message, "inputs", dict)
            shapes = needed(message, "shapes", dict)
            digest = needed(message, "inputs_digest", str)
            found = needed(message, "reference", str)
            size = sum(_size(path) for path in inputs.values())
            self._same_inputs(group, digest)
            group.inputs, group.inputs_digest, group.input_bytes = inputs, digest, size
            group.shapes = {name: tuple(shape) for name, shape in shapes.items()}
            group.data_error = message.get("data_error")
            self.scratch.held_inputs.hold(group.content, size)
            self._referenced_now(group, found, message)
            ready(group)
            return True

        def lost(failure: Failure) -> None:
            self.scratch.held_inputs.release(group.content)
            failed(group, f"the referee gave no reference: {failure.reason}")

        self.scratch.held_inputs.hold(group.content, group.estimate_bytes)
        request = {"do": "prepare", "problem": group.problem}
        return Task(request, self.options.reference_timeout_s, reply, lost)

    def _same_inputs(self, group: Group, digest: str) -> None:
        before = self._digests.setdefault(group.content, digest)
        if before != digest:
            raise UsageError(
                f"the inputs of {group.problem.key} are not those that this run began with "
                f"(inputs_digest {before[:12]} → {digest[:12]}): a file that they come from has changed",
                "put the file back, or start anew with another --out",
            )

    def _referenced_now(self, group: Group, found: str, message: Mapping[str, Any]) -> None:
        if group.problem.key in self._referenced:
            return
        self._referenced.add(group.problem.key)
        self.references[found] += 1
        told = {key: message[key] for key in ("undecided", "seconds") if key in message}
        self.journal.append({"kind": "reference", "problem": group.problem.key, "reference": found, **told})

    def remove_inputs(self, group: Group) -> None:
        """Remove the files of a problem's inputs; it can be prepared again."""
        if group.inputs is not None:
            self.scratch.remove_inputs(group.content, group.inputs.values())
            group.inputs = None

    def counted(self, phase: str, cell: str) -> None:
        """Count a cell as done and tell how far we are."""
        self.estimate.count(phase)
        self.progress.advance(cell, self.estimate.remaining_s())


def needed(message: Mapping[str, Any], name: str, kind: type[T] | tuple[type[T], ...]) -> T:
    """Return a field of a reply.

    Raises
    ------
    MalformedReplyError
        It is missing, or of another type.
    """
    value = message.get(name)
    if not isinstance(value, kind):
        shown = repr(dict(message))[:200]
        raise MalformedReplyError(f"{name!r} is {type(value).__name__} in {shown}")
    return value


def shortened(text: str) -> str:
    """Return an error that fits a line of a table and can be printed: unpaired surrogates are escaped."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"


def _size(path: Any) -> int:
    try:
        return Path(path).stat().st_size
    except (OSError, TypeError, ValueError):
        raise MalformedReplyError(f"{path!r} is no file of inputs") from None
