"""Timers: what measures the time of a number of calls. The wall clock is one."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import repeat, starmap
from typing import Any, Final, Literal, Protocol

Thunk = Callable[[], Any]

Cache = Literal["hot", "cold"]
"""Whether a call may find its inputs in the cache: `hot` means that the call before left them there."""


class MeasureError(Exception):
    """A time that could not be measured, by no fault of what was timed."""


class Pace(Protocol):
    """How fast the device runs: processors slow down when they are hot, idle, or short of power."""

    def steady(self) -> bool:
        """Return whether the device is near its normal clock; what is timed while it is not is discarded."""

    def state(self) -> Mapping[str, float | str]:
        """Return clock, power and temperature now, by name and unit, for the record."""

    @property
    def about(self) -> Mapping[str, float | str]:
        """What does not change: where the readings come from, what they are compared with."""


class Timer(Protocol):
    """Measures calls. Timers are never mixed in one column: `name` goes into the results."""

    @property
    def name(self) -> str:
        """What the column `timer` calls it."""

    @property
    def cache(self) -> Cache:
        """What the calls that it measures find; a timer measures one of the two, always."""

    @property
    def sub_block_s(self) -> float | None:
        """Seconds of calls in one reading, where they are not what `Rules` say; None: they are."""

    @property
    def spoiled(self) -> str | None:
        """Why this process can no longer be trusted, and another has to take its place; None: it can."""

    @property
    def warm_s(self) -> float:
        """How long cells run, through `measure` itself, before the first measurement."""

    @property
    def pace(self) -> Pace:
        """The device's."""

    def measure(self, thunk: Thunk, calls: int) -> float:
        """Return the seconds that `calls` successive calls took."""

    def now(self) -> float:
        """Return seconds of a monotonic clock, for budgets."""


class UnwatchedPace:
    """Of a device whose clock nobody reads: a CPU's is watched by the control loop."""

    about: Mapping[str, float | str] = {}

    def steady(self) -> bool:
        """Return True."""
        return True

    def state(self) -> Mapping[str, float | str]:
        """Return nothing."""
        return {}


UNWATCHED: Final = UnwatchedPace()


class WallTimer:
    """Host time around a loop of calls.

    Parameters
    ----------
    counter
        A monotonic counter of nanoseconds.
    synchronize
        Waits until all work started is done; called before each reading of the counter.
    warm_s, pace
        See `Timer`.
    """

    name = "wall"
    cache: Cache = "hot"
    sub_block_s: float | None = None
    spoiled: str | None = None

    def __init__(
        self,
        counter: Callable[[], int] = time.perf_counter_ns,
        synchronize: Callable[[], None] | None = None,
        warm_s: float = 0.0,
        pace: Pace = UNWATCHED,
    ) -> None:
        self.warm_s = warm_s
        self.pace = pace
        self._counter = counter
        self._synchronize = synchronize or _nothing_to_wait_for

    def measure(self, thunk: Thunk, calls: int) -> float:
        """Return the seconds of `calls` calls; the loop itself adds some 20 ns a call.

        No bytecode runs between the calls: the interpreter specialises bytecode to what it has called
        before, so that one and the same thunk would take longer after others than alone.
        """
        counter, synchronize = self._counter, self._synchronize
        turns = starmap(thunk, repeat((), calls))
        synchronize()
        start = counter()
        deque(turns, maxlen=0)
        synchronize()
        return (counter() - start) * 1e-9

    def now(self) -> float:
        """Return the counter in seconds."""
        return self._counter() * 1e-9


@contextmanager
def collector_off() -> Iterator[None]:
    """Collect garbage, then keep the collector off until the block ends."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def empty() -> None:
    """Do nothing: timed like a formulation, it tells what the loop and the call cost."""


def control_loop() -> int:
    """Do a fixed amount of arithmetic in the interpreter, some 30 µs: its time shows the machine's pace."""
    state = 1
    for _ in repeat(None, 1000):
        state = state * 69069 & 0xFFFFFFFF
    return state


def _nothing_to_wait_for() -> None:
    pass
