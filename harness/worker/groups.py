"""Which timers measure which cells of a batch, and on how many copies of their inputs.

Hot cells, and cold ones where a timer flushes the cache itself, are called on the same inputs each time.
Other cold cells go through copies of their inputs (`harness/timing/rotation.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.timing.clock import MeasureError, Thunk, Timer
from harness.timing.peaks import last_cache_bytes
from harness.timing.rotation import MOST_BYTES, RotationTimer, copies_needed
from harness.worker.kernel import Kernels

HELD_BYTES: Final = 512 << 20
"""What the copies of cells that are timed in turn may take together."""

SHARE: Final = 0.5
"""Of the memory that is left to this process, what the copies of one cell may take."""

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Cells that are timed in turn, by the same timers: the first gives the samples."""

    timers: tuple[Timer, ...]
    requests: list[Request] = field(default_factory=list)
    copies: dict[str, int] = field(default_factory=dict)
    """By cell, of how many copies of its inputs a rotation is made; none: there is no rotation."""


def groups(
    kernels: Kernels, requests: Iterable[Request], refused: Callable[[Request, Exception], None]
) -> list[Group]:
    """Return the groups of a batch, hot cells first.

    `refused` is told of each cell that cannot be timed cold here, and why.
    """
    timers = tuple(kernels.backend.timers())
    flushing = [timer for timer in timers if timer.cache == "cold"]
    hot, cold = Group(timers), []
    asked: list[Request] = []
    for request in requests:
        (asked if request.get("cache", "hot") == "cold" else hot.requests).append(request)
    if not flushing:
        cold = _rotated(kernels, asked, RotationTimer(timers[0]), refused)
    elif flushing[0] is timers[0]:
        hot.requests.extend(asked)
    else:
        cold = [Group((flushing[0], *(t for t in timers if t is not flushing[0])), asked)]
    return [group for group in (hot, *cold) if group.requests]


def _rotated(
    kernels: Kernels,
    requests: Sequence[Request],
    timer: Timer,
    refused: Callable[[Request, Exception], None],
) -> list[Group]:
    """Return groups of cells whose copies fit into `HELD_BYTES`, or that are alone in theirs."""
    found: list[Group] = []
    held, most = 0, min(MOST_BYTES, int(SHARE * memory_left()))
    for request in requests:
        try:
            size = kernels.input_bytes(request)
            copies = copies_needed(size, last_cache_bytes(), most_bytes=most)
        except Exception as error:
            refused(request, error)
            continue
        if not found or held + copies * size > HELD_BYTES:
            found.append(Group((timer,)))
            held = 0
        held += copies * size
        found[-1].requests.append(request)
        found[-1].copies[request["cell"]] = copies
    return found


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


def memory_left() -> int:
    """Return the bytes that this process may still allocate, as `limit_memory` left it; else a great many."""
    if not sys.platform.startswith("linux"):
        return sys.maxsize
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))
    return max(0, limit - held)
