"""Hot and cold times of the same calls: how far a rotation of copies takes the cache away.

`python benchmarks/bench_timing_cold.py` prints, for sums and additions that wait for memory and for products
that compute, the medians of slots hot and cold, taken in turn, their ratio with its interval, and what the
loop costs. Each cold operation has as many copies of its inputs as a run would make.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest

from harness.backends.alignment import aligned_copy
from harness.timing.calibrate import calibrate
from harness.timing.clock import Timer, WallTimer, collector_off, empty
from harness.timing.peaks import last_cache_bytes
from harness.timing.rotation import Rotation, RotationTimer, copies_needed
from harness.timing.sample import Rules, measure_slot
from harness.timing.statistics import median_interval

RULES = Rules()
ROUNDS = 40
Build = Callable[..., Callable[[], Any]]


def _sum(x: Any) -> Callable[[], Any]:
    return lambda: np.sum(x)


def _add(x: Any, y: Any) -> Callable[[], Any]:
    into = np.empty_like(x)
    return lambda: np.add(x, y, out=into)


def _dot(x: Any, y: Any) -> Callable[[], Any]:
    return lambda: np.dot(x, y)


def _matmul(a: Any, b: Any) -> Callable[[], Any]:
    return lambda: np.matmul(a, b)


OPERATIONS: dict[str, tuple[Build, tuple[tuple[int, ...], ...]]] = {
    "sum, 1 MiB": (_sum, ((1 << 17,),)),
    "sum, 4 MiB": (_sum, ((1 << 19,),)),
    "dot, 2 × 0.5 MiB": (_dot, ((1 << 16,),) * 2),
    "dot, 2 × 2 MiB": (_dot, ((1 << 18,),) * 2),
    "add, 2 × 1 MiB": (_add, ((1 << 17,),) * 2),
    "add, 2 × 2 MiB": (_add, ((1 << 18,),) * 2),
    "matmul, 2 × 256²": (_matmul, ((256, 256),) * 2),
    "matmul, 2 × 512²": (_matmul, ((512, 512),) * 2),
}
"""By name: how a thunk is built of float64 inputs, and their shapes. Products compute; the others wait."""


def compared(build: Build, shapes: tuple[tuple[int, ...], ...], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the medians of both, seconds a call, and the ratio cold / hot with its interval."""
    generator, order = np.random.default_rng(0), random.Random(0)
    inputs = [generator.uniform(-1, 1, shape) for shape in shapes]
    copies = copies_needed(sum(array.nbytes for array in inputs), last_cache_bytes())
    thunks = [build(*map(aligned_copy, inputs)) for _ in range(copies)]
    order.shuffle(thunks)
    hot, cold = WallTimer(), RotationTimer(WallTimer())
    ways: dict[str, tuple[Timer, Any, Any]] = {
        "hot": (hot, build(*map(aligned_copy, inputs)), empty),
        "cold": (cold, Rotation(thunks), Rotation.of_nothing(copies)),
    }
    slots: dict[str, list[float]] = {"hot": [], "cold": []}
    with collector_off():
        calls = {
            name: calibrate(timer, thunk, RULES.sub_block_s, RULES.long_call_s).calls
            for name, (timer, thunk, _) in ways.items()
        }
        for _ in range(rounds):
            for name in order.sample(list(ways), 2):
                timer, thunk, _ = ways[name]
                slots[name].append(measure_slot(timer, thunk, calls[name], RULES.sub_blocks))
        overhead = {n: measure_slot(t, idle, calls[n], RULES.sub_blocks) for n, (t, _, idle) in ways.items()}
    interval = median_interval([a / b for a, b in zip(slots["cold"], slots["hot"], strict=True)])
    assert interval is not None
    return {
        "copies": copies,
        "hot_s": median(slots["hot"]),
        "cold_s": median(slots["cold"]),
        "ratio": median(slots["cold"]) / median(slots["hot"]),
        "ratio_low": interval.low,
        "ratio_high": interval.high,
        "hot_overhead_s": overhead["hot"],
        "cold_overhead_s": overhead["cold"],
    }


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_cold_against_hot(benchmark: Any, name: str) -> None:
    build, shapes = OPERATIONS[name]
    benchmark.extra_info.update(compared(build, shapes))
    thunk = build(*(np.ones(shape) for shape in shapes))
    benchmark.pedantic(measure_slot, args=(WallTimer(), thunk, 1, RULES.sub_blocks), rounds=10)


def main() -> None:
    print(f"last cache {last_cache_bytes() >> 20} MiB; min-of-{RULES.sub_blocks} slots, {ROUNDS} rounds")
    head = f"{'':20}{'copies':>8}{'hot':>12}{'cold':>12}{'ratio':>8}   {'95 % interval':<16}"
    print(head + "loop hot, cold (ns a call)")
    for name, (build, shapes) in OPERATIONS.items():
        f = compared(build, shapes)
        times = f"{f['hot_s'] * 1e6:>9.1f} µs{f['cold_s'] * 1e6:>9.1f} µs{f['ratio']:>8.2f}"
        interval = f"[{f['ratio_low']:.2f}, {f['ratio_high']:.2f}]"
        loops = f"{f['hot_overhead_s'] * 1e9:.0f}, {f['cold_overhead_s'] * 1e9:.0f}"
        print(f"{name:20}{f['copies']:>8.0f}{times}   {interval:<16}{loops}")


if __name__ == "__main__":
    main()
