"""Calibration: how many calls one reading of the clock should hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from .clock import Thunk, Timer

GROWTH: Final = 10
"""The largest factor between two tries: the first readings are cold, and may be far too long."""

MARGIN: Final = 1.05
"""Aimed beyond the target, so that the next reading does not just miss it."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A frozen number of calls, and the seconds of one of them as last read."""

    calls: int
    seconds_per_call: float


def calibrate(timer: Timer, thunk: Thunk, target_s: float, long_call_s: float) -> Calibration:
    """Return the number of calls that take `target_s` seconds, or one call if that takes longer.

    The number grows by at most `GROWTH` at a time, and is accepted only after two consecutive readings
    reach the target, so that one pre-empted reading accepts nothing. The first call warms up; a single
    call of `long_call_s` or more is believed at once, for a second one could use up the budget.
    """
    first = timer.measure(thunk, 1)
    if first >= long_call_s:
        return Calibration(1, first)
    calls, reached = 1, 0
    while True:
        seconds = timer.measure(thunk, calls)
        if seconds >= target_s:
            reached += 1
            if reached == 2:
                return Calibration(calls, seconds / calls)
            continue
        reached = 0
        wanted = calls * (MARGIN * target_s / seconds if seconds > 0 else GROWTH)
        calls = min(GROWTH * calls, max(calls + 1, math.ceil(wanted)))
