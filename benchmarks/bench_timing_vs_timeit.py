"""Our slots against the standard library's timeit: the same statistic, interleaved in one process.

`python benchmarks/bench_timing_vs_timeit.py` prints, for operations of about 1 µs, 100 µs and 10 ms, the
ratio of the medians of min-of-4 slots, and the interval of the ratio over the rounds. Under
pytest-benchmark each is a benchmark of one slot, with the ratio in its extra information.
"""

from __future__ import annotations

import random
import timeit
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest

from harness.backends.alignment import aligned_copy
from harness.timing.calibrate import calibrate
from harness.timing.clock import WallTimer, collector_off
from harness.timing.sample import Rules, measure_slot
from harness.timing.statistics import median_interval

RULES = Rules()
ROUNDS = 60
Thunk = Callable[[], Any]


def operations() -> dict[str, Thunk]:
    """Return a thunk for each duration, which its size gives on a machine of 2025.

    Each writes to an array of its own, and none is `exp`: where malloc puts a result, and where the
    stack of the caller happens to lie, change the time of NumPy's float64 `exp` by up to a sixth, for as
    long as the process lives, whoever measures.
    """
    generator = np.random.default_rng(0)
    small, middle, large = (aligned_copy(generator.uniform(-1, 1, s)) for s in (5000, (140, 140), (660, 660)))
    into = [aligned_copy(array) for array in (small, middle, large)]
    return {
        "1 µs": lambda: np.add(small, small, out=into[0]),
        "100 µs": lambda: np.matmul(middle, middle, out=into[1]),
        "10 ms": lambda: np.matmul(large, large, out=into[2]),
    }


def compared(thunk: Thunk, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the medians of both, seconds a call, and the ratio ours / timeit's with its interval."""
    timer, order = WallTimer(), random.Random(0)
    calls = calibrate(timer, thunk, RULES.sub_block_s, RULES.long_call_s).calls
    standard = timeit.Timer(thunk)
    measure = {
        "ours": lambda: measure_slot(timer, thunk, calls, RULES.sub_blocks),
        "timeit": lambda: min(standard.repeat(RULES.sub_blocks, calls)) / calls,
    }
    slots: dict[str, list[float]] = {"ours": [], "timeit": []}
    with collector_off():
        for _ in range(rounds):
            for name in order.sample(list(measure), 2):
                slots[name].append(measure[name]())
    interval = median_interval([a / b for a, b in zip(slots["ours"], slots["timeit"], strict=True)])
    assert interval is not None
    return {
        "calls": calls,
        "ours_s": median(slots["ours"]),
        "timeit_s": median(slots["timeit"]),
        "ratio": median(slots["ours"]) / median(slots["timeit"]),
        "ratio_low": interval.low,
        "ratio_high": interval.high,
    }


@pytest.mark.parametrize("duration", list(operations()))
def test_a_slot_against_timeit(benchmark: Any, duration: str) -> None:
    thunk = operations()[duration]
    found = compared(thunk)
    benchmark.extra_info.update(found)
    benchmark.pedantic(
        measure_slot, args=(WallTimer(), thunk, int(found["calls"]), RULES.sub_blocks), rounds=10
    )


def main() -> None:
    print(f"median of min-of-{RULES.sub_blocks} slots, {ROUNDS} rounds, random order")
    print(f"{'':8}{'calls':>8}{'ours':>14}{'timeit':>14}{'ratio':>9}   95 % interval of the paired ratio")
    for name, thunk in operations().items():
        found = compared(thunk)
        times = f"{found['ours_s'] * 1e6:>11.3f} µs{found['timeit_s'] * 1e6:>11.3f} µs"
        interval = f"[{found['ratio_low']:.4f}, {found['ratio_high']:.4f}]"
        print(f"{name:8}{found['calls']:>8.0f}{times}{found['ratio']:>9.4f}   {interval}")


if __name__ == "__main__":
    main()
