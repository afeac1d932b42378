"""Slots of open cells, each on inputs and a stack that lie elsewhere than the last one's.

Identical code takes another time where its arrays, the interpreter's objects and the stack lie otherwise
relative to one another (Mytkowicz et al., Producing wrong data without doing anything obviously wrong, ASPLOS
2009). Within one process that difference stays, so that no number of slots averages it out. Hence chance
moves all of it before each slot: copies of the inputs between blocks of random sizes, a random depth of
the stack (Curtsinger & Berger, STABILIZER, ASPLOS 2013, do it to a program's code as well).
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import operator
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from ..channel import memory_left
from ..timing.calibrate import calibrate
from ..timing.clock import MeasureError, Timer, WallTimer, empty
from ..timing.peaks import last_cache_bytes
from ..timing.rotation import MOST_BYTES, Rotation, RotationTimer, copied, copies_needed
from ..timing.sample import Rules, measure_slot

Thunk = Callable[[], Any]

GRAPH_BELOW_S: Final = 1e-5
"""Below this, CUDA calls are compared by captured graphs only: events measure themselves."""

_C_LIBRARY: Final = ctypes.CDLL(None) if os.name == "posix" else None

_FRAMES: Final = 64
"""Of C, at most, between one slot's stack and another's: some 100 bytes each, a page together."""
_PAGE: Final = 4096
_BLOCKS: Final = 8
_BLOCK_BITS: Final = 18
"""At most so many blocks, of less than 2¹⁷ bytes, displace the copies of the inputs."""
_PAGES: Final = 256
"""At most so many pages are taken beside, so that the system gives the copies others than the last time."""
_KEPT: Final = 3
"""Slots for which blocks and pages stay."""
_OLD: Final = 8
_OLD_BYTES: Final = 64 << 20
"""Copies that stay, one of which goes by chance for each that is made: memory is not simply given back."""


@dataclass(slots=True)
class _Open:
    request: Mapping[str, Any]
    thunk: Thunk
    copies: int
    """Of its inputs."""
    rotated: bool
    """Whether calls go through copies in turn, if only through one that no cache holds."""
    build_s: float
    """What building it anew takes, its first call included."""
    stale_s: float = 0.0
    """Seconds of slots since it was built."""
    blocks: deque[list[object]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    old: list[Thunk] = field(default_factory=list)


class Bench:
    """Cells of one backend that are open to be measured.

    Parameters
    ----------
    side
        The bridge to the kernels.
    """

    def __init__(self, side: Any) -> None:
        self._side = side
        self._cells: dict[str, _Open] = {}
        self._make_timers()
        self._warm = False
        gc.disable()

    def _make_timers(self) -> None:
        """Make the timers anew: those of graphs keep what they captured."""
        self._first, *others = _timers(self._side)
        rotating = () if self._first.cache == "cold" else (RotationTimer(self._first),)
        self._timers: dict[str, Timer] = {t.name: t for t in (self._first, *others, *rotating)}

    @property
    def worn(self) -> bool:
        """Whether another process is wanted for what comes next: a capture failed, or the device is gone."""
        if any(timer.spoiled for timer in self._timers.values()):
            return True
        try:
            self._side.synchronize()
        except Exception:
            return True
        return False

    def answer(self, do: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply to one request; raises what a kernel raises, MeasureError, ValueError."""
        if do == "open":
            return self._open(request)
        if do == "calibrate":
            return self._calibrate(request)
        if do == "slot":
            return self._slot(request)
        if do == "close":
            self._cells.clear()
            self._make_timers()
            gc.collect()
            return {}
        raise ValueError(f"unknown request {do!r}; allowed: run, facts, open, calibrate, slot, close")

    def _open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        copies = 1
        rotated = request.get("cache") == "cold" and self._first.cache != "cold"
        if rotated:
            most = min(MOST_BYTES, memory_left() // 2)
            copies = copies_needed(request["input_bytes"], last_cache_bytes(), most_bytes=most)
        start = time.perf_counter()
        thunk = self._built(request, copies, rotated, Random(0))  # noqa: S311
        took = time.perf_counter() - start
        gc.collect()
        self._cells[request["cell"]] = _Open(request, thunk, copies, rotated, took)
        return {"timers": list(self._timers), "build_s": took}

    def _built(self, request: Mapping[str, Any], copies: int, rotated: bool, chance: Random) -> Thunk:
        """Return a thunk that has run once; one that changes the floating-point environment is not timed."""

        def build() -> Thunk:
            thunk: Thunk = self._side.thunk(request, lambda: chance.randrange(_PAGE))
            return thunk

        thunk = build()
        self._side.call(thunk)
        left = self._side.environment_left()
        if left:
            raise MeasureError(f"it leaves another floating-point environment: {left['fp_environment']}")
        if not rotated:
            return thunk
        thunks = copied(thunk, build, copies)
        chance.shuffle(thunks)  # so that no neighbour in memory is fetched ahead
        return Rotation(thunks)

    def _calibrate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many calls a sub-block holds, and by which timer."""
        cell = self._cells[request["cell"]]
        self._warm_up(cell.thunk)
        rules = Rules()
        cold = cell.request.get("cache") == "cold"
        timer = RotationTimer(self._first) if cell.rotated else self._first
        found = calibrate(timer, cell.thunk, timer.sub_block_s or rules.sub_block_s, rules.long_call_s)
        if found.seconds_per_call < GRAPH_BELOW_S and "cuda-graph" in self._timers and not cold:
            timer = self._timers["cuda-graph"]
            found = calibrate(timer, cell.thunk, rules.sub_block_s, rules.long_call_s)
        nothing = Rotation.of_nothing(cell.copies) if cell.rotated else empty
        empty_s = timer.measure(nothing, found.calls) / found.calls
        return {
            "timer": timer.name,
            "cache": timer.cache,
            "calls": found.calls,
            "seconds_per_call": found.seconds_per_call,
            "overhead_fraction": empty_s / found.seconds_per_call if found.seconds_per_call > 0 else 1.0,
        }

    def _warm_up(self, thunk: Thunk) -> None:
        """Run a thunk until the device is at its clock, once a process; a CPU asks for none."""
        start = self._first.now()
        while not self._warm and self._first.now() - start < self._first.warm_s:
            self._first.measure(thunk, 1)
        self._warm = True

    def _slot(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the seconds of a call in one slot."""
        cell = self._cells[request["cell"]]
        if request["timer"] not in self._timers:
            raise MeasureError(f"this side has no timer {request['timer']!r}: {', '.join(self._timers)}")
        timer = self._timers[request["timer"]]
        chance = Random(request["seed"])  # noqa: S311
        _move_to(request.get("cpus"))
        # where building takes longer than a slot, inputs serve several: half of the time goes to slots
        if request.get("fresh") and timer.name != "cuda-graph" and cell.stale_s >= cell.build_s:
            self._renew(cell, chance)
        calls, sub_blocks = request["calls"], request["sub_blocks"]
        start = timer.now()

        def slot() -> float:
            return measure_slot(timer, cell.thunk, calls, sub_blocks)

        seconds = deeper(chance.randrange(_FRAMES), slot)
        cell.stale_s += timer.now() - start
        steady = timer.pace.steady()
        return {"seconds": seconds, **({} if steady else {"unsteady": True})}

    def _renew(self, cell: _Open, chance: Random) -> None:
        """Build the thunk on copies of its inputs that lie elsewhere."""
        start = time.perf_counter()
        most = min(_OLD, _OLD_BYTES // max(1, cell.copies * cell.request["input_bytes"]))
        cell.old.append(cell.thunk)
        cell.thunk = empty
        while len(cell.old) > most:
            cell.old.pop(chance.randrange(len(cell.old)))
        _give_back_free_memory()
        blocks = [bytearray(_block(chance)) for _ in range(chance.randrange(_BLOCKS))]
        cell.blocks.append([*blocks, _touched(chance.randrange(_PAGES))])
        cell.thunk = self._built(cell.request, cell.copies, cell.rotated, chance)
        cell.build_s, cell.stale_s = time.perf_counter() - start, 0.0


def deeper(frames: int, call: Callable[[], float]) -> float:
    """Return what `call` returns, called from so many more frames of C: its stack lies elsewhere."""
    nested: Callable[..., float] = operator.call
    return nested(*[operator.call] * frames, call)


def _touched(pages: int) -> object:
    """Return so many pages that are really there."""
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    for page in range(pages):
        memory[page * mmap.PAGESIZE] = 1
    return memory


def _give_back_free_memory() -> None:
    """Let the allocator keep no pages that nobody uses (malloc_trim(3), glibc): temporaries get others."""
    trim = getattr(_C_LIBRARY, "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _block(chance: Random) -> int:
    return chance.randrange(16, 1 << chance.randrange(5, _BLOCK_BITS))


def _move_to(cpus: Sequence[int] | None) -> None:
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def _timers(side: Any) -> Sequence[Timer]:
    """Return what can measure the side: our own timers, whatever the side's harness has."""
    if side.device == "cuda":
        import torch

        from ..timing.clocks import gpu_pace
        from ..timing.cuda import cuda_timers

        pace = gpu_pace(f"GPU-{torch.cuda.get_device_properties().uuid}")
        return cuda_timers(torch, side.synchronize, pace)
    return (WallTimer(synchronize=side.synchronize),)
