"""Timing a batch of cells: one reply a cell as it is done, progress between slots."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from harness.errors import UserError
from harness.registry import Backend
from harness.timing.clock import MeasureError, Timer
from harness.timing.cuda import COLD_SUB_BLOCK_S, ColdTimer
from harness.timing.sample import Failed, Rules, TimedCell, Timing, time_batch
from harness.worker import fp_environment
from harness.worker.kernel import KernelError, Kernels, described, environment_left, failure, guarded

PROGRESS_S: Final = 1.0
"""Between two messages of progress: each wakes the parent."""

SETTLE_S: Final = 0.002
"""After a message the parent gets this long to deal with it, before the next slot."""

QUICK: Final = Rules(relative_width=0.05)

BESIDE: Final = 0.5
"""Of a cell's budget, what each timer but the first may spend."""

RUINED: Final = 4
"""Exit code of a worker whose device no longer answers."""


def time_cells(
    kernels: Kernels,
    requests: Sequence[Mapping[str, Any]],
    quick: bool,
    reply: Callable[[dict[str, Any]], None],
) -> None:
    """Time cells together, each with unchecked functions, and reply as each is done.

    The backend's first timer gives the samples; others, if it has any, add a median each, after all samples
    of the batch are taken.
    """
    first, *others = kernels.backend.timers()
    cells = []
    for request in requests:
        try:
            thunk = _warm(kernels, request, first)
            cells.append(TimedCell(request["cell"], thunk, float(request["budget_s"])))
        except Exception as error:
            _leave_if_ruined(kernels.backend, requests)
            reply({"cell": request["cell"], **failure(error), **environment_left()})
    done, told = 0, time.monotonic()

    def progress() -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_S:
            reply({"progress": {"done": done, "of": len(cells)}})
            time.sleep(SETTLE_S)
            told = time.monotonic()

    order = random.Random(",".join(cell.name for cell in cells))  # noqa: S311
    timed: dict[str, Timing] = {}
    for timing in time_batch(cells, first, order, _rules(first, quick), progress):
        if isinstance(timing, Failed):
            _leave_if_ruined(kernels.backend, requests)
        elif others:
            timed[timing.name] = timing
            continue
        done += 1
        reply({"cell": timing.name, **_message(timing), **environment_left()})
        time.sleep(SETTLE_S)
    again = [replace(cell, budget_s=BESIDE * cell.budget_s) for cell in cells if cell.name in timed]
    beside: dict[str, dict[str, Timing | Failed]] = {name: {} for name in timed}
    for timer in others:
        for found in time_batch(again, timer, order, _rules(timer, quick), progress):
            if isinstance(found, Failed):
                _leave_if_ruined(kernels.backend, requests)
            beside[found.name][timer.name] = found
    spoiled = {"replace": True} if any(getattr(timer, "spoiled", None) for timer in others) else {}
    for name, timing in timed.items():
        done += 1
        message = {"status": "ok", "timing": timing_message(timing, beside[name])}
        reply({"cell": name, **message, **spoiled, **environment_left()})


def _rules(timer: Timer, quick: bool) -> Rules:
    rules = QUICK if quick else Rules()
    return replace(rules, sub_block_s=COLD_SUB_BLOCK_S) if isinstance(timer, ColdTimer) else rules


def answers(backend: Backend) -> bool:
    """Return whether the device still works: after some faults everything that it is asked to do fails."""
    try:
        backend.synchronize()
    except Exception:
        return False
    return True


def _leave_if_ruined(backend: Backend, requests: Sequence[Mapping[str, Any]]) -> None:
    """End this process if one cell of several took the device down: each is then timed alone in another."""
    if len(requests) > 1 and not answers(backend):
        print("the device does not answer any more: leaving the batch", file=sys.stderr, flush=True)
        os._exit(RUINED)


def _warm(kernels: Kernels, request: Mapping[str, Any], timer: Timer) -> Callable[[], Any]:
    """Return a thunk that has run once; one that changes the floating-point environment is not timed."""
    cache = request.get("cache", "hot")
    if cache == "cold" and not timer.name.endswith("-cold"):
        raise UserError(f"{kernels.backend.name} times hot inputs only; found cache: cold")
    thunk = kernels.thunk(request, checked=False)
    guarded(thunk)
    guarded(kernels.backend.synchronize)
    changed = fp_environment.departure()
    if changed is not None:
        raise KernelError(f"FloatingPointError: it changed the environment, which now {changed}")
    return thunk


def _message(timing: Timing | Failed) -> dict[str, Any]:
    if isinstance(timing, Failed):
        status = "error" if isinstance(timing.error, MeasureError) else "raised"
        return {"status": status, "error": described(timing.error)}
    return {"status": "ok", "timing": timing_message(timing)}


def timing_message(timing: Timing, beside: Mapping[str, Timing | Failed] | None = None) -> dict[str, Any]:
    """Return a timing under the names of the results' columns; seconds are those of one call.

    `beside` has by timer what others found, or why they could not.
    """
    interval = timing.interval
    found = {timing.timer: timing, **(beside or {})}
    not_timed = [f"{name}: {f.error}" for name, f in found.items() if isinstance(f, Failed)]
    return {
        "timer": timing.timer,
        "time_median_s": timing.median_s,
        "time_ci_low_s": None if interval is None else interval.low,
        "time_ci_high_s": None if interval is None else interval.high,
        "time_min_s": min(timing.samples),
        **{f"time_{n.replace('-', '_')}_s": f.median_s for n, f in found.items() if isinstance(f, Timing)},
        "not_timed_by": "; ".join(not_timed) or None,
        "samples": len(timing.samples),
        "calls": timing.calls,
        "sub_blocks": timing.sub_blocks,
        "converged": timing.converged,
        "stopped": timing.stopped,
        "overhead_fraction": timing.overhead_fraction,
        "noise": timing.noise,
        "discarded": timing.discarded,
        "conditions": timing.conditions,
        "raw": list(timing.samples),
    }
