"""A place where one kind of child works: it starts it, feeds it, watches it, and replaces it.

What a child died of is its head's doing, the request it was at; the others go to its replacement. A
child that had done other work before may have died of that, so its head is tried once more, alone in
a new child: what kills twice is recorded and not tried again.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.execute.child import LOG_LIMIT_BYTES, Child, MalformedReplyError
from harness.execute.loop import Loop
from harness.protocol import PROTOCOL_VERSION

_STARTS: Final = 2
"""How often a child that ends before its first word is started."""
_FRUITLESS: Final = 3
"""Children in a row that died before their first reply, until the next is asked whether it works at all."""
_PROBE: Final = {"do": "facts"}
"""Harmless; any answer will do."""

_GRACE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request got no reply: the outcome it stands for, and the reason in words."""

    kind: Literal["crashed", "timeout"]
    reason: str


@dataclass(slots=True, eq=False)
class Task:
    """One request and who wants to know what becomes of it.

    `reply` is called with each message until it returns True; it raises MalformedReplyError for one
    that does not fit. `failed` is called instead when there will be no more.
    """

    request: Mapping[str, Any]
    timeout_s: float
    reply: Callable[[dict[str, Any]], bool]
    failed: Callable[[Failure], None]
    retry: bool = True
    """False: the first death is final."""
    deaths: int = 0
    first_death: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take."""

    hello_s: float
    memory_bytes: int
    window: int
    """Requests that it has at one time: while it works on one, the next lies in its pipe."""


class Station:
    """One child at a time, started when there is something to do.

    Parameters
    ----------
    name
        What messages call it.
    start
        Starts a child.
    loop
        Watches it; the station adds itself.
    limits
        What the child may take.
    source
        Gives the next task for this station, or None for now.
    greeted
        Called with each child's first message.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Child],
        loop: Loop,
        limits: Limits,
        source: Callable[[Station], Task | None],
        greeted: Callable[[Station, Mapping[str, Any]], None],
    ) -> None:
        self.name = name
        self.child: Child | None = None
        self.under_way: deque[Task] = deque()
        self.broken: Failure | None = None
        self.losses = 0
        self.peak_bytes = 0
        self.start_seconds = 0.0
        self._start = start
        self._loop = loop
        self._limits = limits
        self._source = source
        self._greeted = greeted
        self._again: deque[Task] = deque()
        self._ready = False
        self._probing = False
        self._worn = False
        """Whether the child asked to be replaced."""
        self._served = 0
        self._failed_starts = 0
        self._fruitless = 0
        self._since = 0.0
        loop.stations.append(self)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing waits to be tried again."""
        return not self.under_way and not self._again

    @property
    def deadline(self) -> float | None:
        """When the child's patience ends; None while nothing is expected of it."""
        if self.child is None:
            return None
        if not self._ready:
            return self._since + self._limits.hello_s
        return self._since + self.under_way[0].timeout_s if self.under_way else None

    # ---- work ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the child now, so that it imports while others work."""
        if self.child is not None or self.broken is not None:
            return
        self._since = self._loop.clock()
        self._ready = False
        self._worn = False
        self._served = 0
        try:
            self.child = self._start()
        except OSError as error:
            self._give_up(Failure("crashed", f"{self.name} cannot be started: {error.strerror or error}"))
            return
        self._loop.watch(self.child, self)

    def pump(self) -> bool:
        """Hand the child as much as its window takes; return whether anything was done."""
        done = False
        while self._has_room() and (task := self._next()) is not None:
            done = True
            if self.broken is not None:
                task.failed(self.broken)
            elif self.child is None:
                self._again.appendleft(task)
                self.begin()
            else:
                self._send(task, self.child)
        return done

    def _has_room(self) -> bool:
        if self.broken is not None:
            return True
        if self.child is None:
            return True
        if not self._ready or len(self.under_way) >= self._limits.window:
            return False
        if not self.under_way:
            return True
        # what may have killed a child is tried alone
        return not (self._probing or self.under_way[0].deaths or (self._again and self._again[0].deaths))

    def _next(self) -> Task | None:
        return self._again.popleft() if self._again else self._source(self)

    def _send(self, task: Task, child: Child) -> None:
        if not self.under_way:
            self._since = self._loop.clock()
        self.under_way.append(task)
        child.send(task.request)
        self._loop.watch_requests(child, self)

    # ---- what happens to the child -------------------------------------------------------------------

    def happened(self, child: Child, what: str) -> None:
        """Take note of an event of `child`: `replies`, `requests` or `exit`."""
        if child is not self.child:
            return  # it was replaced earlier in this step
        if what == "requests":
            child.flush()
            self._loop.watch_requests(child, self)
            return
        try:
            # After its end everything it still said is in the pipe, which a descendant may hold open.
            for message in child.receive():
                self._take(message, child)
                if child is not self.child:
                    return
        except MalformedReplyError as error:
            self._lose(child, "crashed", f"replied what is no reply: {error}")
            return
        if child.ended and not child.await_exit(_GRACE_S):
            self._lose(child, "crashed", "closed its pipe and went on")
        elif child.ended or what == "exit":
            self._lose(child, "crashed", None)

    def _take(self, message: dict[str, Any], child: Child) -> None:
        if not self._ready:
            self._greet(message, child)
            return
        self._worn = self._worn or message.get("replace") is True
        if not self.under_way:
            raise MalformedReplyError(f"{_shown(message)} to nothing")
        task = self.under_way[0]
        if task.reply(message):
            self.under_way.popleft()
            self._since = self._loop.clock()
            self._served += 1
            self._fruitless = 0
            if self._worn:
                self._replace(child)

    def _greet(self, message: dict[str, Any], child: Child) -> None:
        if message.get("hello") != PROTOCOL_VERSION:
            raise MalformedReplyError(f"{_shown(message)} instead of hello {PROTOCOL_VERSION}")
        if message.get("status", "ok") != "ok":
            self._failed_starts = _STARTS  # it knows why, and will say the same again
            self._end(child)
            self._lose_starting("crashed", str(message.get("error")), "")
            return
        self._ready = True
        self._failed_starts = 0
        self.start_seconds = self._loop.clock() - self._since
        self._since = self._loop.clock()
        self._greeted(self, message)
        if self._fruitless >= _FRUITLESS:
            self._probing = True
            self._send(Task(_PROBE, self._limits.hello_s, self._probed, self._give_up), child)

    def _probed(self, message: dict[str, Any]) -> bool:
        self._probing = False
        self._served -= 1  # a cell that dies next died of itself
        return True

    def check(self, now: float, *, memory: bool) -> None:
        """Kill the child if its patience, memory or log is used up."""
        if self.child is None:
            return
        deadline = self.deadline
        if deadline is not None and now >= deadline:
            seconds = self.under_way[0].timeout_s if self._ready else self._limits.hello_s
            self._lose(self.child, "timeout", f"exceeded {seconds:g} s")
        elif memory and self.child.resident_bytes() > self._limits.memory_bytes:
            limit = f"{self._limits.memory_bytes / 2**30:.1f} GiB"
            self._lose(self.child, "crashed", f"exceeded {limit} of memory")
        elif memory and self.child.logged_bytes() > LOG_LIMIT_BYTES:
            self._lose(self.child, "crashed", f"printed more than {LOG_LIMIT_BYTES >> 20} MiB")

    def _end(self, child: Child, patience_s: float = 0.0) -> None:
        """End the child with its group: by itself if it does so in time, or killed."""
        self.child = None
        self._loop.forget(child)
        if patience_s > 0:
            child.finish(patience_s)
        child.kill()
        self.peak_bytes = max(self.peak_bytes, child.peak_bytes)

    def _replace(self, child: Child) -> None:
        """Take a new child for one that asked to be replaced; what it was not yet at goes there."""
        self._end(child)
        self._again.extendleft(reversed(self.under_way))
        self.under_way.clear()

    def _lose(self, child: Child, kind: Literal["crashed", "timeout"], reason: str | None) -> None:
        """End the child and decide what becomes of its tasks."""
        self._end(child)
        self.losses += 1
        if reason is None:
            reason = child.exit_in_words()
            if child.returncode == -signal.SIGKILL:
                reason += ", which is what the system does when memory runs out"
        if not self._ready:
            self._lose_starting(kind, reason, child.last_words())
            return
        head = self.under_way.popleft() if self.under_way else None
        self._again.extendleft(reversed(self.under_way))
        self.under_way.clear()
        if self._served == 0:
            self._fruitless += 1
        if head is None:
            return
        if self._probing:
            self._probing = False
            words = child.last_words()
            self._give_up(
                Failure(kind, f"{self.name} does not answer: {reason}" + (f": {words}" if words else ""))
            )
            return
        head.deaths += 1
        if kind == "timeout" or not head.retry or head.deaths > 1 or self._served == 0:
            head.failed(Failure(kind, reason))
        else:
            head.first_death = reason
            self._again.appendleft(head)

    def _lose_starting(self, kind: Literal["crashed", "timeout"], reason: str, words: str) -> None:
        self._failed_starts += 1
        if kind == "timeout" or self._failed_starts >= _STARTS:
            told = f"{self.name} did not start: {reason}" + (f": {words}" if words else "")
            self._give_up(Failure(kind, told))

    def _give_up(self, failure: Failure) -> None:
        """No child will work here: everything still to come fails for this reason."""
        self.broken = failure

    # ---- the end -------------------------------------------------------------------------------------

    def close(self, patience_s: float = 2.0) -> None:
        """End the child: by itself, or killed when its patience is zero or used up."""
        if self in self._loop.stations:
            self._loop.stations.remove(self)
        if self.child is not None:
            self._end(self.child, patience_s)


def _shown(message: Mapping[str, Any]) -> str:
    text = repr(dict(message))
    return text if len(text) <= 120 else text[:117] + "..."
