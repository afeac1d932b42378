"""Cold inputs on a CPU: copies of the inputs in turn, so many that each was evicted before it is read again.

A cache that keeps the lines used last has nothing of a copy left once more bytes than it holds were read
since; twice as many allow for caches that choose less well. Only what a call reads of its inputs is cold: its
code is not, nor where its result is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from operator import call
from typing import Any, ClassVar, Final

from .clock import Cache, MeasureError, Pace, Thunk, Timer

CACHES: Final = 2
"""How many times the last-level cache all copies together are, at least."""
UNKNOWN_CACHE_BYTES: Final = 64 << 20
"""Taken where the system does not tell the size of its cache: more than most cores can reach."""
MOST_COPIES: Final = 4096
"""Beyond, what the interpreter reads of a thunk (some hundred bytes) evicts as much as small inputs do."""
MOST_BYTES: Final = 1 << 30
"""Of all copies together: caches of up to 512 MiB can be left."""


def copies_needed(
    input_bytes: int, cache_bytes: int, most: int = MOST_COPIES, most_bytes: int = MOST_BYTES
) -> int:
    """Return how many copies of the inputs exceed `CACHES` times the last-level cache.

    Parameters
    ----------
    input_bytes
        Bytes of one copy. Inputs that exceed as much by themselves need one.
    cache_bytes
        Bytes of the cache, 0 where they are not known.
    most, most_bytes
        How many copies, and how many bytes of copies, there may be where there are several.

    Raises
    ------
    MeasureError
        Too many copies, or too many bytes, would be needed.
    """
    known = cache_bytes > 0
    cache_bytes = cache_bytes if known else UNKNOWN_CACHE_BYTES
    beyond = CACHES * cache_bytes
    of = f"a cache of {sized(cache_bytes)}" + ("" if known else " (taken, for the system does not tell)")
    if input_bytes <= 0:
        raise MeasureError(f"without inputs nothing leaves {of}; only hot times can be taken")
    copies = beyond // input_bytes + 1
    if copies > most:
        raise MeasureError(
            f"inputs of {sized(input_bytes)} would need {copies:,} copies to leave {of}; "
            f"cold needs at least {beyond // most + 1:,} bytes here, for at most {most:,} copies are made"
        )
    if copies > 1 and copies * input_bytes > most_bytes:
        raise MeasureError(
            f"inputs of {sized(input_bytes)} would need {copies:,} copies to leave {of}, "
            f"{sized(copies * input_bytes)} together; at most {sized(most_bytes)} are held here"
        )
    return copies


def sized(nbytes: int) -> str:
    """Return a number of bytes in the largest binary unit that it reaches: `64 bytes`, `1.5 MiB`."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if nbytes >= 1 << shift:
            return f"{nbytes / (1 << shift):.4g} {unit}"
    return f"{nbytes:,} bytes"


class Rotation(partial[Any]):
    """Calls thunks in turn, one at each call of its own, for ever.

    It goes on where it stopped: between two calls of one thunk lie all others, whatever lies between
    readings of the clock. The turn is taken in C, some 20 ns a call, and no bytecode runs between calls.
    """

    def __new__(cls, thunks: Iterable[Thunk]) -> Rotation:
        """Return a rotation of at least one thunk."""
        return super().__new__(cls, next, map(call, cycle(thunks)))

    @classmethod
    def of_nothing(cls, copies: int) -> Rotation:
        """Return a rotation of as many thunks that do nothing: what it takes is what the loop costs."""
        return cls([_nothing() for _ in range(copies)])


def copied(thunk: Thunk, build: Callable[[], Thunk], copies: int) -> list[Thunk]:
    """Return so many thunks, each on inputs of its own: `thunk`, and those that `build` returns.

    Raises
    ------
    MeasureError
        One of them could not be built, though the first was: it is no fault of the kernel.
    """
    thunks = [thunk]
    for number in range(2, copies + 1):
        try:
            thunks.append(build())
        except Exception as error:
            raise MeasureError(f"copy {number:,} of {copies:,} of its inputs failed: {error}") from error
    return thunks


def _nothing() -> Thunk:
    """Return a function of its own that does nothing: one and the same would stay in the nearest cache."""

    def nothing() -> None:
        pass

    return nothing


@dataclass(frozen=True, slots=True)
class RotationTimer:
    """Measures rotations with a timer of hot calls, under a name of its own.

    It refuses every other thunk, whose time would be hot.
    """

    timer: Timer

    cache: ClassVar[Cache] = "cold"

    @property
    def name(self) -> str:
        """That of its timer, with `-cold`."""
        return f"{self.timer.name}-cold"

    @property
    def sub_block_s(self) -> float | None:
        """As the timer has it."""
        return self.timer.sub_block_s

    @property
    def warm_s(self) -> float:
        """As the timer has it."""
        return self.timer.warm_s

    @property
    def pace(self) -> Pace:
        """As the timer has it."""
        return self.timer.pace

    @property
    def spoiled(self) -> str | None:
        """As the timer has it."""
        return self.timer.spoiled

    def measure(self, thunk: Thunk, calls: int) -> float:
        """Return the seconds that `calls` calls of a `Rotation` took."""
        if not isinstance(thunk, Rotation):
            raise TypeError(f"{self.name} measures rotations only; found {type(thunk).__name__}")
        return self.timer.measure(thunk, calls)

    def now(self) -> float:
        """Return what the timer's clock tells."""
        return self.timer.now()
