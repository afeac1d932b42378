import pytest

from harness.timing.clock import WallTimer
from harness.timing.peaks import (
    array_bytes_beyond_cache,
    copy_bandwidth,
    last_cache_bytes,
    peak_gemm,
)


class World:
    def __init__(self):
        self.ns = 0.0

    def timer(self):
        return WallTimer(lambda: self.ns)


def test_peak_is_the_best_rate_over_sizes_within_the_budget():
    world, sizes = World(), []
    rate = {64: 10e9, 128: 40e9, 256: 80e9, 512: 60e9}

    def matrix(n):
        sizes.append(n)
        return n

    def multiply(a, b):
        world.ns += 2 * a**3 / rate.get(a, 50e9) * 1e9

    found = peak_gemm(multiply, matrix, world.timer(), budget_s=0.5)
    assert (found.n, found.flops_per_s) == (256, pytest.approx(80e9, rel=1e-6))
    assert sizes[:4] == [64, 64, 128, 128]
    assert world.ns * 1e-9 <= 0.5


def test_a_slow_dtype_ends_at_the_first_size():
    world = World()

    def multiply(a, b):
        world.ns += 2 * a**3 / 5e6 * 1e9  # 5 MFLOP/s: a product of 64 rows takes 0.1 s

    found = peak_gemm(multiply, lambda n: n, world.timer())
    assert (found.n, found.flops_per_s) == (64, pytest.approx(5e6, rel=1e-6))


def test_bandwidth_counts_bytes_read_and_written():
    world = World()

    class Destination:
        copies = 0

        def __setitem__(self, key, value):
            assert (key, value) == (..., "source")
            self.copies += 1
            world.ns += 5e6 if self.copies > 2 else 50e6  # the first touch of the pages is slow

    found = copy_bandwidth(Destination(), "source", 10**8, world.timer(), budget_s=0.2)
    assert found.bytes_per_s == pytest.approx(2 * 10**8 / 5e-3)
    assert world.ns * 1e-9 <= 0.2


def test_arrays_are_larger_than_the_last_cache_but_bounded():
    assert 64 << 20 <= array_bytes_beyond_cache() <= 256 << 20
    assert last_cache_bytes() >= 0
