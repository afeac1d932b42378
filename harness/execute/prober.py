"""One child that is asked one thing at a time, for whoever needs the answer before the next question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.execute.programs import Programs, WorkerKey
from harness.execute.session import Session, needed, shortened
from harness.execute.station import Failure, Station, Task


class AskError(Exception):
    """A question that got no answer: `kind` is crashed, timeout, raised or error; the text says why."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Prober:
    """A worker of one kind, asked synchronously.

    Parameters
    ----------
    session
        Whose loop watches it.
    key
        What it is.
    programs, name
        As in `Session.worker`.
    """

    def __init__(self, session: Session, key: WorkerKey, programs: Programs, name: str) -> None:
        self.name = name
        self._session = session
        self._task: Task | None = None
        self._station = session.worker(key, self._next, window=1, programs=programs, name=name)

    def _next(self, station: Station) -> Task | None:
        task, self._task = self._task, None
        return task

    @property
    def child(self) -> object:
        """The child that answers now; another one knows nothing of what this one was told."""
        return self._station.child

    def begin(self) -> None:
        """Start the child, without waiting for it."""
        self._station.begin()

    def close(self, patience_s: float = 2.0) -> None:
        """End the child."""
        self._session.close(self._station, patience_s)

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return the answer to one request.

        Raises
        ------
        AskError
            The child died, took too long, or answers that it could not.
        """
        answers: list[dict[str, Any]] = []
        failures: list[Failure] = []

        def reply(message: dict[str, Any]) -> bool:
            needed(message, "status", str)
            answers.append(message)
            return True

        loop = self._session.loop
        self._task = Task(request, timeout_s, reply, failures.append, retry=False)
        loop.quiet = True
        try:
            loop.run_until(lambda: bool(answers or failures))
        finally:
            loop.quiet = False
        if failures:
            raise AskError(failures[0].kind, failures[0].reason)
        message = answers[0]
        if message["status"] != "ok":
            kind = "raised" if message["status"] == "raised" else "error"
            raise AskError(kind, shortened(needed(message, "error", str)))
        if "fp_environment" in message:
            raise AskError("raised", f"floating-point environment {message['fp_environment']}")
        return message
