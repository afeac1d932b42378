"""Pairs of float64: exact transformations against rationals, exponentials and sums against their bounds."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reference.double_double import (
    EXP_ERROR_LOG2,
    EXP_LIMIT,
    exponentials,
    fast_two_sum,
    power_of_two,
    row_sums,
    two_product,
    two_sum,
)

moderate = st.floats(-1e140, 1e140).filter(
    lambda v: v == 0 or abs(v) > 1e-140
)  # products keep clear of both ends


def arrays(*values: float) -> list[np.ndarray]:
    return [np.array([v]) for v in values]


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_a_sum_and_what_it_lost_are_exact(a: float, b: float) -> None:
    total, lost = two_sum(*arrays(a, b))
    assert total.item() == a + b
    assert Fraction(total.item()) + Fraction(lost.item()) == Fraction(a) + Fraction(b)
    large, small = sorted((a, b), key=abs, reverse=True)
    np.testing.assert_array_equal(fast_two_sum(*arrays(large, small)), two_sum(*arrays(large, small)))


@given(moderate, moderate)
def test_a_product_and_what_it_lost_are_exact(a: float, b: float) -> None:
    product, lost = two_product(*arrays(a, b))
    assert product.item() == a * b
    assert Fraction(product.item()) + Fraction(lost.item()) == Fraction(a) * Fraction(b)


def test_powers_of_two() -> None:
    exponents = np.arange(-1022, 1024)
    np.testing.assert_array_equal(power_of_two(exponents), np.ldexp(1.0, exponents))


def relative_errors(head: np.ndarray, tail: np.ndarray) -> list[mpmath.mpf]:
    hi, lo, q = exponentials(head, tail)
    assert (np.abs(lo) <= np.spacing(hi) / 2).all()
    assert ((hi >= 0.5) & (hi <= 2)).all()
    errors = []
    with mpmath.workprec(300):
        for h, t, a, b, e in zip(*(v.tolist() for v in (head, tail, hi, lo, q)), strict=True):
            wanted = mpmath.exp(mpmath.mpf(h) + mpmath.mpf(t))
            errors.append(abs((mpmath.mpf(a) + mpmath.mpf(b)) * mpmath.mpf(2) ** e / wanted - 1))
    return errors


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e-6, 2.0**-15, 1e-3, 1.0, 100.0, EXP_LIMIT])
def test_exponentials_keep_to_their_bound(scale: float) -> None:
    generator = np.random.default_rng(1)
    head = generator.uniform(-1, 1, 500) * scale
    tail = generator.uniform(-0.5, 0.5, 500) * np.spacing(np.abs(head))
    with mpmath.workprec(300):
        assert max(relative_errors(head, tail)) < mpmath.mpf(2) ** EXP_ERROR_LOG2
        assert max(relative_errors(head, np.zeros(500))) < mpmath.mpf(2) ** EXP_ERROR_LOG2


def test_exponentials_half_way_between_entries_of_the_table() -> None:
    generator = np.random.default_rng(2)
    head = (generator.integers(-(2**25), 2**25, 1000) + 0.5) * (math.log(2) / 2**14)
    with mpmath.workprec(300):
        assert max(relative_errors(head, np.zeros(1000))) < mpmath.mpf(2) ** EXP_ERROR_LOG2


@given(st.floats(-EXP_LIMIT, EXP_LIMIT), st.floats(-0.5, 0.5))
def test_any_exponential(head: float, share: float) -> None:
    (error,) = relative_errors(*arrays(head, share * math.ulp(head)))
    with mpmath.workprec(300):
        assert error < mpmath.mpf(2) ** EXP_ERROR_LOG2


def test_exponentials_of_nothing_and_of_more_than_a_block() -> None:
    hi, lo, q = exponentials(np.zeros(3), np.zeros(3))
    assert (hi.tolist(), lo.tolist(), q.tolist()) == ([1.0] * 3, [0.0] * 3, [0] * 3)
    head = np.linspace(-30, 0, 3 * 5500).reshape(3, 5500)
    tail = np.zeros_like(head)
    whole = exponentials(head, tail)
    for row in range(3):
        for array, wanted in zip(whole, exponentials(head[row], tail[row]), strict=True):
            np.testing.assert_array_equal(array[row], wanted)
    assert exponentials(np.zeros((0, 2)), np.zeros((0, 2)))[0].shape == (0, 2)


@given(
    st.lists(st.tuples(st.floats(0.5, 2), st.floats(-1, 1), st.integers(-3000, 0)), min_size=1, max_size=40),
    st.integers(0, 3),
)
def test_sums_keep_to_their_bound(terms: list[tuple[float, float, int]], zeros: int) -> None:
    hi = np.array([a for a, _, _ in terms] + [0.0] * zeros)
    lo = np.array([share * math.ulp(a) / 2 for a, share, _ in terms] + [0.0] * zeros)
    q = np.array([e for *_, e in terms] + [5] * zeros)
    exact = sum(
        (
            (Fraction(a) + Fraction(b)) * Fraction(2) ** int(e)
            for a, b, e in zip(hi.tolist(), lo.tolist(), q.tolist(), strict=True)
        ),
        Fraction(0),
    )
    high, low, power, error_log2 = row_sums(hi, lo, q)
    found = (Fraction(high.item()) + Fraction(low.item())) * Fraction(2) ** int(power)
    assert abs(found - exact) <= exact * Fraction(2.0**error_log2)
    assert error_log2 < -99  # 43 terms are 6 levels: 42·2⁻¹⁰⁵ = 2⁻⁹⁹·⁶


def test_sums_of_many_rows() -> None:
    hi = np.random.default_rng(3).uniform(0.5, 2, (7, 1001))
    zeros = np.zeros_like(hi)
    high, low, power, _ = row_sums(hi, zeros, np.zeros(hi.shape, np.int64))
    for row in range(7):
        exact = sum(map(Fraction, hi[row].tolist()))
        assert abs(Fraction(high[row]) + Fraction(low[row]) - exact) <= exact * Fraction(2) ** -97
    assert power.tolist() == [0] * 7


def test_a_sum_of_nothing_is_zero() -> None:
    high, low, power, _ = row_sums(np.zeros((2, 3)), np.zeros((2, 3)), np.full((2, 3), -7))
    assert (high.tolist(), low.tolist(), power.tolist()) == ([0.0] * 2, [0.0] * 2, [0] * 2)
