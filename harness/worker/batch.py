"""Timing a batch of cells: one reply a cell as it is done, progress between slots."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from harness.errors import UserError
from harness.timing.sample import Failed, Rules, TimedCell, Timing, time_batch
from harness.worker import fp_environment
from harness.worker.kernel import KernelError, Kernels, described, environment_left, failure, guarded

PROGRESS_S: Final = 1.0
"""Between two messages of progress: each wakes the parent."""

SETTLE_S: Final = 0.002
"""After a message the parent gets this long to deal with it, before the next slot."""

QUICK: Final = Rules(relative_width=0.05)


def time_cells(
    kernels: Kernels,
    requests: Sequence[Mapping[str, Any]],
    quick: bool,
    reply: Callable[[dict[str, Any]], None],
) -> None:
    """Time cells together, each with unchecked functions, and reply as each is done."""
    cells = []
    for request in requests:
        try:
            cells.append(TimedCell(request["cell"], _warm(kernels, request), float(request["budget_s"])))
        except Exception as error:
            reply({"cell": request["cell"], **failure(error), **environment_left()})
    done, told = 0, time.monotonic()

    def progress() -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_S:
            reply({"progress": {"done": done, "of": len(cells)}})
            time.sleep(SETTLE_S)
            told = time.monotonic()

    timer = kernels.backend.timers()[0]
    order = random.Random(",".join(cell.name for cell in cells))  # noqa: S311
    for timing in time_batch(cells, timer, order, QUICK if quick else Rules(), progress):
        done += 1
        reply({"cell": timing.name, **_message(timing), **environment_left()})
        time.sleep(SETTLE_S)


def _warm(kernels: Kernels, request: Mapping[str, Any]) -> Callable[[], Any]:
    """Return a thunk that has run once; one that changes the floating-point environment is not timed."""
    if request.get("cache", "hot") != "hot":
        raise UserError(f"{kernels.backend.name} times hot inputs only; found cache: {request['cache']}")
    thunk = kernels.thunk(request, checked=False)
    guarded(thunk)
    changed = fp_environment.departure()
    if changed is not None:
        raise KernelError(f"FloatingPointError: it changed the environment, which now {changed}")
    return thunk


def _message(timing: Timing | Failed) -> dict[str, Any]:
    if isinstance(timing, Failed):
        return {"status": "raised", "error": described(timing.error)}
    return {"status": "ok", "timing": timing_message(timing)}


def timing_message(timing: Timing) -> dict[str, Any]:
    """Return a timing under the names of the results' columns; seconds are those of one call."""
    interval = timing.interval
    return {
        "timer": timing.timer,
        "time_median_s": timing.median_s,
        "time_ci_low_s": None if interval is None else interval.low,
        "time_ci_high_s": None if interval is None else interval.high,
        "time_min_s": min(timing.samples),
        "samples": len(timing.samples),
        "calls": timing.calls,
        "sub_blocks": timing.sub_blocks,
        "converged": timing.converged,
        "stopped": timing.stopped,
        "overhead_fraction": timing.overhead_fraction,
        "noise": timing.noise,
        "conditions": timing.conditions,
        "raw": list(timing.samples),
    }
