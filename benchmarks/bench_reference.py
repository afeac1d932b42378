"""Speed of certified references: beside mpmath at the same precision, and of what every problem costs.

pytest benchmarks/bench_reference.py --benchmark-only -o python_files='bench_*.py'
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from flint import arb, arb_mat, ctx

from harness.formats import FORMATS, round_array
from harness.reference.cache import ReferenceCache
from harness.reference.certify import START_BITS
from harness.reference.elements import Reference, ReferenceArray
from harness.reference.exact_attention import exact_attention, exact_attention_gradient
from harness.reference.exponential_sums import log_softmax, logsumexp, softmax

MILLION = 10**6


def normal(count: int, fmt: str, spread: float = 5.0) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal(count) * spread
    return round_array(FORMATS[fmt], values)


def test_logsumexp_of_a_million_beside_mpmath(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Certified log-sum-exp of 10⁶ float32 values, and mpmath's at the precision that was certified."""
    x = normal(MILLION, "float32")
    found = benchmark.pedantic(logsumexp, (x, 0, FORMATS["float32"]), rounds=5, warmup_rounds=1)
    bits = math.ceil(found.log2_abs().item() - found.radius_log2.item())
    values = x.tolist()
    with mpmath.workprec(bits):
        start = time.perf_counter()
        by_mpmath = mpmath.log(mpmath.fsum(map(mpmath.exp, values)))
        mpmath_s = time.perf_counter() - start
    with mpmath.workprec(300):
        value = mpmath.mpf(found.hi.item()) + mpmath.mpf(found.lo.item())
        value *= mpmath.mpf(2) ** int(found.exponent)
        # mpmath rounds each exponential and the logarithm to 2⁻ᵇⁱᵗˢ, and log-sum-exp is near 2⁵
        assert abs(value - by_mpmath) < mpmath.mpf(2) ** (7 - bits)
    certified_s = benchmark.stats.stats.median
    ratio = mpmath_s / certified_s
    benchmark.extra_info.update(
        bits=bits, mpmath_s=mpmath_s, mpmath_backend=mpmath.libmp.BACKEND, mpmath_over_certified=ratio
    )
    with capsys.disabled():
        print(
            f"\nlog-sum-exp of 10⁶ float32 values to {bits} bits: certified {certified_s:.3f} s, "
            f"mpmath ({mpmath.libmp.BACKEND}) {mpmath_s:.3f} s, ratio {ratio:.1f}"
        )


@pytest.mark.parametrize("fmt", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("function", [softmax, log_softmax, logsumexp], ids=lambda f: f.__name__)
def test_a_long_row(benchmark: Any, function: Any, fmt: str) -> None:
    """65,536 entries, the longest rows of the cases; half precisions repeat theirs."""
    x = normal(65_536, fmt)
    found = benchmark.pedantic(function, (x, 0, FORMATS[fmt]), rounds=5, warmup_rounds=1)
    assert found.undecided == 0


def test_many_short_rows(benchmark: Any) -> None:
    """1000 rows of 64: what a batch of attention costs."""
    x = normal(64_000, "float32").reshape(1000, 64)
    found = benchmark.pedantic(softmax, (x, 1, FORMATS["float32"]), rounds=5, warmup_rounds=1)
    assert found.undecided == 0


def heads(length: int, fmt: str) -> tuple[np.ndarray, ...]:
    """Queries, keys, values and a cotangent of one head of 64."""
    return tuple(normal(4 * length * 64, fmt, 1.0).reshape(4, length, 64))


ATTENTION: dict[str, Any] = {"scale": None, "causal": False, "keep": None}


@pytest.mark.parametrize("fmt", ["float64", "float32"])
def test_attention_beside_balls(benchmark: Any, capsys: pytest.CaptureFixture[str], fmt: str) -> None:
    """1024 × 64 in pairs, and by its formula in ball arithmetic of 128 bits, to 2⁻⁶³ both."""
    q, k, v, _ = heads(1024, fmt)
    options = ATTENTION | {"fmt": FORMATS["float64"]}
    found = benchmark.pedantic(exact_attention, (q, k, v), options, rounds=3, warmup_rounds=1)
    assert found.undecided == 0
    start = time.perf_counter()
    with ctx.workprec(128):
        scores = arb_mat(q.tolist()) * arb_mat(k.T.tolist()) / arb(64).sqrt()
        exps = [[s.exp() for s in row] for row in scores.table()]
        shares = [[e / total for e in row] for row, total in ((row, sum(row, arb(0))) for row in exps)]
        balls = ReferenceArray.from_balls((arb_mat(shares) * arb_mat(v.tolist())).entries(), (1024, 64))
    balls_s = time.perf_counter() - start
    apart = found.error_log2(balls.to_float64())
    assert (apart <= np.logaddexp2(found.radius_log2, balls.log2_abs() - 53)).all()
    ratio = balls_s / benchmark.stats.stats.median
    benchmark.extra_info.update(balls_s=balls_s, balls_over_pairs=ratio)
    with capsys.disabled():
        print(f"\nattention 1024 × 64, {fmt}: ball arithmetic {balls_s:.2f} s, ratio {ratio:.1f}")


def test_long_attention(benchmark: Any) -> None:
    """4096 × 64, the longest of the cases."""
    q, k, v, _ = heads(4096, "float32")
    options = ATTENTION | {"fmt": FORMATS["float32"]}
    found = benchmark.pedantic(exact_attention, (q, k, v), options, rounds=1)
    assert found.undecided == 0


@pytest.mark.parametrize("fmt", ["float64", "float32"])
def test_gradients_of_attention(benchmark: Any, fmt: str) -> None:
    """1024 × 64, with respect to queries, keys and values."""
    options = ATTENTION | {"fmt": FORMATS[fmt], "with_respect_to": ("q", "k", "v")}
    data = heads(1024, fmt)
    found = benchmark.pedantic(exact_attention_gradient, data, options, rounds=3, warmup_rounds=1)
    assert sum(gradient.undecided for gradient in found.values()) == 0


@pytest.mark.parametrize("spread", [1, 1000], ids=["in range", "out of range"])
def test_balls_into_an_array(benchmark: Any, spread: int) -> None:
    """10⁵ balls into hi + lo, within float64's range and far beyond it."""
    with ctx.workprec(START_BITS):
        balls = [(arb(v) * spread).exp() for v in normal(100_000, "float64", 2.0).tolist()]
        found = benchmark.pedantic(ReferenceArray.from_balls, (balls, (100_000,)), rounds=5, warmup_rounds=1)
    assert found.undecided == 0


@pytest.fixture
def stored(tmp_path: Path) -> tuple[ReferenceCache, str]:
    """A cache that holds the softmax of a long row."""
    x = normal(65_536, "float32")
    reference = Reference({"p": softmax(x, 0, FORMATS["float32"])}, {})
    cache = ReferenceCache(tmp_path)
    cache.put("ab" * 32, reference)
    return cache, "ab" * 32


def test_a_cached_reference(benchmark: Any, stored: tuple[ReferenceCache, str]) -> None:
    """Reading and checking what certification gave: 65,536 elements."""
    cache, key = stored
    found = benchmark(cache.get, key)
    assert found is not None
    assert cache.corrupted == 0


def test_errors_of_a_long_row(benchmark: Any) -> None:
    """log2|ŷ − y| of 65,536 elements."""
    x = normal(65_536, "float32")
    reference = softmax(x, 0, FORMATS["float32"])
    computed = reference.round_to(FORMATS["float32"])
    errors = benchmark(reference.error_log2, computed)
    assert np.isfinite(errors).all()
