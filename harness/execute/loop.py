"""The one loop that watches all children: their pipes, their ends, their deadlines, and Ctrl-C.

Single-threaded on purpose: children ask the kernel to die with the *thread* that started them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from harness.execute.child import Child
    from harness.execute.station import Station

_MEMORY_EVERY_S: Final = 0.25
_LONGEST_WAIT_S: Final = 3600.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopAsked(Exception):  # noqa: N818 — no error: somebody pressed Ctrl-C
    """SIGINT or SIGTERM arrived; raised between two steps, never inside one."""


class Loop:
    """Waits for whatever happens next and tells the station it concerns.

    While it is entered, SIGINT and SIGTERM only wake it, so that no record is torn by an exception
    in its midst.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.stations: list[Station] = []
        self.quiet = False
        """While a cell is timed: memory is not sampled, and nothing wakes us but messages and deadlines."""
        self._selector = selectors.DefaultSelector()
        self._before: dict[int, Any] = {}
        self._stop = False
        self._next_sample = 0.0

    def __enter__(self) -> Loop:
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.close()
        os.close(self._wake)
        os.close(self._waker)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        with contextlib.suppress(OSError):
            os.write(self._waker, b"!")

    # ---- what is watched -----------------------------------------------------------------------------

    def watch(self, child: Child, station: Station) -> None:
        """Tell `station` when `child` says something or ends."""
        self._selector.register(child.replies, selectors.EVENT_READ, (station, child, "replies"))
        if child.exit is not None:
            self._selector.register(child.exit, selectors.EVENT_READ, (station, child, "exit"))

    def watch_requests(self, child: Child, station: Station) -> None:
        """While requests wait for room in the pipe, tell `station` when there is some."""
        waiting = child.requests in self._selector.get_map()
        if child.unsent and not waiting:
            self._selector.register(child.requests, selectors.EVENT_WRITE, (station, child, "requests"))
        elif waiting and not child.unsent:
            self._selector.unregister(child.requests)

    def forget(self, child: Child) -> None:
        """Stop watching a child, before its descriptors are closed."""
        for file in (child.replies, child.requests, child.exit):
            if file is not None and file in self._selector.get_map():
                self._selector.unregister(file)

    # ---- running -------------------------------------------------------------------------------------

    def run_until(self, done: Callable[[], bool]) -> None:
        """Go on until `done`.

        Raises
        ------
        StopAsked
            SIGINT or SIGTERM arrived.
        RuntimeError
            Nothing is under way and yet it is not done: a fault of ours that would wait for ever.
        """
        self._pump()
        while not done():
            self._step()
            self._pump()

    def _pump(self) -> None:
        while any(station.pump() for station in self.stations):
            pass  # what one could not do may be another's work

    def _step(self) -> None:
        if not self._stop:
            for key, _ in self._selector.select(self._patience()):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 1024)
                    continue
                station, child, what = key.data
                station.happened(child, what)
        if self._stop:
            raise StopAsked
        now = self.clock()
        sample = not self.quiet and now >= self._next_sample
        if sample:
            self._next_sample = now + _MEMORY_EVERY_S
        for station in self.stations:
            station.check(now, memory=sample)

    def _patience(self) -> float:
        """Seconds until the next deadline, or the next look at the children's memory."""
        now = self.clock()
        deadlines = [d for station in self.stations if (d := station.deadline) is not None]
        if not deadlines:
            raise RuntimeError("nothing is under way, and the work is not done")
        until = min(deadlines)
        if not self.quiet:
            until = min(until, max(self._next_sample, now))
        return min(max(until - now, 0.0), _LONGEST_WAIT_S)


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends
