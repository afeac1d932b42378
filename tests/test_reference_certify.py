"""Raising the precision until the radius holds, for those elements only where it does not."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from harness.formats import FORMATS
from harness.reference.certify import ball_of, certify, certify_elements, dot, exact_balls, holds, total
from harness.reference.elements import FINITE, NAN, POS_INF, UNDECIDED, ZERO, ReferenceArray

FLOAT64, FLOAT32 = FORMATS["float64"], FORMATS["float32"]


def test_only_what_is_too_wide_is_computed_again() -> None:
    asked: list[tuple[int, list[int]]] = []
    exponents = [0, -60, -200, -1000]

    def near_one_less_one(bits: int, places):  # type: ignore[no-untyped-def]
        asked.append((bits, places.tolist()))
        assert ctx.prec == bits
        return [(1 + arb(2) ** exponents[i]).sqrt() - 1 for i in places.tolist()]

    found = certify_elements(near_one_less_one, fmt=FLOAT64, shape=(4,))
    # √(1 + t) − 1 has lost log2(1/t) bits, and 53 + 10 must be left
    assert asked == [(128, [0, 1, 2, 3]), (256, [2, 3]), (512, [2, 3]), (1024, [3]), (2048, [3])]
    with mpmath.workprec(5000):
        for i, e in enumerate(exponents):
            exact = mpmath.sqrt(1 + mpmath.mpf(2) ** e) - 1
            value = (mpmath.mpf(found.hi[i].item()) + mpmath.mpf(found.lo[i].item())) * mpmath.mpf(2) ** int(
                found.exponent[i]
            )
            radius = mpmath.mpf(2) ** found.radius_log2[i].item()
            assert abs(value - exact) <= radius <= abs(exact) * mpmath.mpf(2) ** -62


def test_undecided_at_the_cap() -> None:
    precisions: list[int] = []

    def vague(bits: int) -> list[arb]:
        precisions.append(bits)
        return [arb(1, 1e-6), arb(2)]

    found = certify(vague, fmt=FLOAT32, shape=(2,), cap=300)
    assert precisions == [128, 256, 300]
    assert found.kind.tolist() == [UNDECIDED, FINITE]
    assert found.undecided == 1


def test_a_scale_accepts_what_ulps_would_not() -> None:
    def beside_a_norm(bits: int) -> list[arb]:
        return [arb(1e-30, 2.0**-40), arb(1e-30, 2.0**-30)]

    found = certify(beside_a_norm, fmt=FLOAT32, shape=(2,), scale=[2.0, 2.0], cap=128)
    # 2⁻¹⁰ · u · scale = 2⁻¹⁰⁻²⁴⁺¹ = 2⁻³³
    assert found.kind.tolist() == [FINITE, UNDECIDED]
    assert certify(beside_a_norm, fmt=FLOAT32, shape=(2,), cap=128).undecided == 2


def test_what_rules_decided_is_not_looked_at() -> None:
    kinds = np.array([POS_INF, FINITE, ZERO], np.uint8)
    found = certify(lambda bits: [None, arb(2).sqrt(), None], fmt=FLOAT64, shape=(3,), kinds=kinds)
    assert found.to_float64().tolist() == [math.inf, math.sqrt(2), 0.0]
    everything = np.full((2, 2), POS_INF)
    assert certify(lambda bits: [], fmt=FLOAT64, shape=(2, 2), kinds=everything).shape == (2, 2)


def test_a_scalar_output_has_shape_without_axes() -> None:
    found = certify(lambda bits: [arb(2).log()], fmt=FLOAT64, shape=())
    assert found.shape == ()
    assert found.to_float64().item() == math.log(2)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(finite, finite), max_size=30))
def test_dot_and_total_enclose_the_rational(pairs: list[tuple[float, float]]) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    with ctx.workprec(128):
        product = dot(exact_balls(left), exact_balls(right))
        sum_ = total(exact_balls(left))
        exact_product = sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))
        exact_sum = sum(map(Fraction, left), Fraction(0))
    with ctx.workprec(5000):
        assert product.contains(ball_of(exact_product))
        assert sum_.contains(ball_of(exact_sum))


@pytest.mark.parametrize("number", [3, 0.1, Decimal("0.999"), Fraction(1, 3), Decimal("-1e-400")])
def test_a_number_lies_in_its_ball(number: int | float | Decimal | Fraction) -> None:
    with ctx.workprec(100):
        ball = ball_of(number)
    exact = Fraction(number)
    assert (ball * exact.denominator).contains(arb(exact.numerator))
    assert ball.rad() <= abs(ball) * arb(2) ** -98


@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32], ids=lambda f: f.name)
def test_a_radius_holds_up_to_a_thousandth_of_an_ulp(fmt) -> None:  # type: ignore[no-untyped-def]
    """1/1024 of the ulp of 1, 2^(1−p); of the smallest subnormal number below the normal ones."""
    found = ReferenceArray.from_float64(np.array([1.0, 1.0, 2.0**-1030, 2.0**-1030]))
    least = fmt.exponent_min - fmt.precision + 1
    enough = np.array([1 - fmt.precision, 1 - fmt.precision, least, least]) - 10.0
    found.radius_log2[...] = enough + np.array([0, 1 / 16, 0, 1 / 16])
    assert holds(found, fmt).tolist() == [True, False, True, False]
    assert holds(found, fmt, enough + 1 / 16).tolist() == [True] * 4


def test_what_is_undecided_never_holds() -> None:
    assert holds(ReferenceArray.from_kinds([UNDECIDED, NAN, ZERO]), FLOAT64).tolist() == [False, True, True]
