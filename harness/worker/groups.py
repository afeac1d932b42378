"""Which timers measure which cells of a batch, and on how many copies of their inputs.

Hot cells, and cold ones where a timer flushes the cache itself, are called on the same inputs each time.
Other cold cells go through copies of their inputs (`harness/timing/rotation.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.channel import memory_left
from harness.timing.clock import Timer
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
