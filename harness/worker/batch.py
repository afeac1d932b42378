"""Timing a batch of cells: one reply a cell as it is done, progress between slots."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from harness.registry import Backend
from harness.timing.clock import MeasureError, Thunk, Timer
from harness.timing.rotation import Rotation, copied
from harness.timing.sample import Failed, Rules, TimedCell, Timing, time_batch
from harness.worker import fp_environment
from harness.worker.groups import Group, groups
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

    The first timer gives the samples; others, if there are any, add a median each, after all samples of their
    group are taken. Cold cells that need copies of their inputs are groups of their own.
    """
    _Batch(kernels, requests, quick, reply).time()


class _Batch:
    """Cells that are timed together, and how far we are."""

    def __init__(
        self,
        kernels: Kernels,
        requests: Sequence[Mapping[str, Any]],
        quick: bool,
        reply: Callable[[dict[str, Any]], None],
    ) -> None:
        self._kernels = kernels
        self._requests = requests
        self._quick = quick
        self._reply = reply
        self._order = random.Random(",".join(request["cell"] for request in requests))  # noqa: S311
        self._done, self._of, self._told = 0, len(requests), time.monotonic()

    def time(self) -> None:
        """Time every cell, group by group."""
        for group in groups(self._kernels, self._requests, self._refused):
            self._time_group(group)

    def _time_group(self, group: Group) -> None:
        cells = []
        for request in group.requests:
            try:
                cells.append(self._prepared(request, group.copies.get(request["cell"])))
            except Exception as error:
                self._refused(request, error)
        first, *others = group.timers
        timed: dict[str, Timing] = {}
        for timing in self._measured(cells, first):
            if isinstance(timing, Timing) and others:
                timed[timing.name] = timing
            else:
                self._finished({"cell": timing.name, **_message(timing, group), **_worn(group)})
                time.sleep(SETTLE_S)
        again = [replace(cell, budget_s=BESIDE * cell.budget_s) for cell in cells if cell.name in timed]
        beside: dict[str, dict[str, Timing | Failed]] = {name: {} for name in timed}
        for timer in others:
            for found in self._measured(again, timer):
                beside[found.name][timer.name] = found
        for name, timing in timed.items():
            self._finished({"cell": name, **_message(timing, group, beside[name]), **_worn(group)})

    def _measured(self, cells: Sequence[TimedCell], timer: Timer) -> Iterator[Timing | Failed]:
        for found in time_batch(cells, timer, self._order, _rules(timer, self._quick), self._progress):
            if isinstance(found, Failed):
                self._leave_if_ruined()
            yield found

    def _prepared(self, request: Mapping[str, Any], copies: int | None) -> TimedCell:
        """Return a cell whose thunk has run once; what changes the floating-point environment is not timed.

        Copies are taken in random order, so that no neighbour in memory is fetched ahead.
        """

        def build() -> Thunk:
            return self._kernels.thunk(request, checked=False)

        thunk = build()
        guarded(thunk)
        guarded(self._kernels.backend.synchronize)
        changed = fp_environment.departure()
        if changed is not None:
            raise KernelError(f"FloatingPointError: it changed the environment, which now {changed}")
        name, budget_s = request["cell"], float(request["budget_s"])
        if copies is None:
            return TimedCell(name, thunk, budget_s)
        thunks = copied(thunk, build, copies)
        self._order.shuffle(thunks)
        return TimedCell(name, Rotation(thunks), budget_s, Rotation.of_nothing(copies))

    def _refused(self, request: Mapping[str, Any], error: Exception) -> None:
        """Reply that a cell is not timed."""
        self._of -= 1
        self._leave_if_ruined()
        self._reply({"cell": request["cell"], **failure(error), **environment_left()})

    def _finished(self, message: Mapping[str, Any]) -> None:
        self._done += 1
        self._reply({**message, **environment_left()})

    def _progress(self) -> None:
        if time.monotonic() - self._told >= PROGRESS_S:
            self._reply({"progress": {"done": self._done, "of": self._of}})
            time.sleep(SETTLE_S)
            self._told = time.monotonic()

    def _leave_if_ruined(self) -> None:
        """End this process if one of several cells took the device down: each is timed alone in another."""
        if len(self._requests) > 1 and not answers(self._kernels.backend):
            print("the device does not answer any more: leaving the batch", file=sys.stderr, flush=True)
            os._exit(RUINED)


def _rules(timer: Timer, quick: bool) -> Rules:
    rules = QUICK if quick else Rules()
    return rules if timer.sub_block_s is None else replace(rules, sub_block_s=timer.sub_block_s)


def answers(backend: Backend) -> bool:
    """Return whether the device still works: after some faults everything that it is asked to do fails."""
    try:
        backend.synchronize()
    except Exception:
        return False
    return True


def _worn(group: Group) -> dict[str, Any]:
    return {"replace": True} if any(timer.spoiled for timer in group.timers) else {}


def _message(
    timing: Timing | Failed, group: Group, beside: Mapping[str, Timing | Failed] | None = None
) -> dict[str, Any]:
    if isinstance(timing, Failed):
        status = "error" if isinstance(timing.error, MeasureError) else "raised"
        return {"status": status, "error": described(timing.error)}
    copies = {"copies": group.copies[timing.name]} if timing.name in group.copies else {}
    return {"status": "ok", "timing": {**timing_message(timing, beside), **copies}}


def timing_message(timing: Timing, beside: Mapping[str, Timing | Failed] | None = None) -> dict[str, Any]:
    """Return a timing under the names of the results' columns; seconds are those of one call.

    `beside` has by timer what others found, or why they could not.
    """
    interval = timing.interval
    found = {timing.timer: timing, **(beside or {})}
    not_timed = [f"{name}: {f.error}" for name, f in found.items() if isinstance(f, Failed)]
    return {
        "timer": timing.timer,
        "cache": timing.cache,
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
