"""Peaks: the highest rates that this machine shows, which measured rates are set against.

They are measured, not looked up: a data sheet knows neither the clock, nor the hypervisor, nor the
library. Each takes half a second at most.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .clock import Timer, collector_off

BUDGET_S: Final = 0.5
SMALLEST: Final = 64
"""Rows of the first product; each next has twice as many, and costs eight times as much."""
READINGS: Final = 4
SIZE_S: Final = 0.02
"""Each size is read at least `READINGS` times and this long: the fastest reading is the one undisturbed."""

CACHE_MULTIPLE: Final = 4
"""How many times the last cache an array is, so that a copy comes from memory (McCalpin's STREAM rule)."""


@dataclass(frozen=True, slots=True)
class GemmPeak:
    """The fastest matrix product found: floating-point operations a second, and its rows."""

    flops_per_s: float
    n: int


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The fastest copy found: bytes read and written a second, and bytes of one array."""

    bytes_per_s: float
    array_bytes: int


def peak_gemm(
    multiply: Callable[[Any, Any], Any],
    matrix: Callable[[int], Any],
    timer: Timer,
    budget_s: float = BUDGET_S,
) -> GemmPeak:
    """Return the highest rate of A·B over square sizes that fit the budget.

    Parameters
    ----------
    multiply
        The matrix product of one library and dtype.
    matrix
        n, a multiple of `SMALLEST` → an n × n native array of random numbers.
    """
    best = GemmPeak(0.0, 0)
    n, start = SMALLEST, timer.now()
    with collector_off():
        while True:
            size_start = timer.now()
            A, B = matrix(n), matrix(n)

            def product(A: Any = A, B: Any = B) -> Any:
                return multiply(A, B)

            timer.measure(product, 1)
            first, fastest, readings = timer.now(), math.inf, 0
            while readings < READINGS or timer.now() - first < SIZE_S:
                fastest = min(fastest, timer.measure(product, 1))
                readings += 1
            if fastest > 0 and 2 * n**3 / fastest > best.flops_per_s:
                best = GemmPeak(2 * n**3 / fastest, n)
            next_s = 8 * (first - size_start + READINGS * fastest)
            if timer.now() - start + max(next_s, SIZE_S) > budget_s:
                return best
            n *= 2


def copy_bandwidth(
    destination: Any, source: Any, nbytes: int, timer: Timer, budget_s: float = BUDGET_S
) -> Bandwidth:
    """Return the highest rate of `destination[...] = source`, counting each byte read and each written.

    What is read to be overwritten is not counted, as in STREAM's copy.
    """

    def copy() -> None:
        destination[...] = source

    with collector_off():
        start = timer.now()
        timer.measure(copy, 1)
        fastest = timer.measure(copy, 1)
        while timer.now() - start + fastest < budget_s:
            fastest = min(fastest, timer.measure(copy, 1))
    return Bandwidth(2 * nbytes / fastest, nbytes)


def array_bytes_beyond_cache() -> int:
    """Return the bytes of an array that no cache of this machine holds, at least 64 and at most 256 MiB."""
    return min(max(CACHE_MULTIPLE * last_cache_bytes(), 64 << 20), 256 << 20)


def last_cache_bytes() -> int:
    """Return the size of the last level of cache, or 0 where the system does not tell."""
    listed = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    kibibytes = [int(size.read_text().rstrip("K\n")) for size in listed]
    if kibibytes:
        return max(kibibytes) << 10
    names = ("SC_LEVEL4_CACHE_SIZE", "SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE")
    sizes = (os.sysconf(name) for name in names if name in getattr(os, "sysconf_names", {}))
    return next((size for size in sizes if size > 0), 0)
