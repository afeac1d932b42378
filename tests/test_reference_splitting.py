"""Balls and rationals split into hi + lo: the enclosure holds, and is not wasteful."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from harness.reference.elements import FINITE, POS_INF, UNDECIDED, ZERO, ReferenceArray


def held(elements: ReferenceArray) -> tuple[Fraction, Fraction]:
    """Return (value, radius rounded up to a power of two) of the only element."""
    (hi,), (lo,), (exponent,), (log2,) = (
        a.tolist() for a in (elements.hi, elements.lo, elements.exponent, elements.radius_log2)
    )
    value = (Fraction(hi) + Fraction(lo)) * Fraction(2) ** exponent
    return value, Fraction(0) if log2 == -math.inf else Fraction(2) ** math.ceil(log2)


def ends(ball: arb) -> tuple[Fraction, Fraction]:
    """Return the exact midpoint and radius of a ball."""

    def exact(x: arb) -> Fraction:
        mantissa, exponent = x.man_exp()
        return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)

    return exact(ball.mid()), exact(ball.rad())


@given(
    x=st.fractions(min_value=1, max_value=2, max_denominator=10**12),
    power=st.sampled_from(
        [0, 1, -1, 52, -900, 900, -1022, 1023, -1075, -1600, 1600, 4000, -4000, -9000, 9000]
    ),
    bits=st.sampled_from([53, 64, 110, 128, 300, 2000]),
    negative=st.booleans(),
)
def test_a_ball_is_enclosed(x: Fraction, power: int, bits: int, negative: bool) -> None:
    with ctx.workprec(bits):
        ball = arb(x.numerator) / x.denominator * arb(2) ** power * (-1 if negative else 1)
    midpoint, ball_radius = ends(ball)
    elements = ReferenceArray.from_balls([ball], (1,))
    value, radius = held(elements)
    assert elements.kind.tolist() == [FINITE]
    assert abs(value - midpoint) + ball_radius <= radius
    assert 1 <= abs(elements.hi.item()) < 2
    assert abs(elements.lo.item()) <= 2.0**-53
    # hi + lo are 106 bits, the ball's own are `bits`: a few binary orders beside that are the rounding up
    assert radius <= abs(midpoint) * Fraction(2) ** (5 - min(106, bits)) or radius == 0


def test_what_is_exact_stays_exact() -> None:
    with ctx.workprec(200):
        exact = [arb(1), arb(-3) / 4, arb(2) ** 5000, arb(2) ** -5000, arb(2) ** 100 + 1, 1 + arb(2) ** -150]
        elements = ReferenceArray.from_balls(exact, (len(exact),))
    assert (elements.radius_log2 == -math.inf).all()
    assert elements.exponent.tolist() == [0, -1, 5000, -5000, 100, 0]
    assert elements.lo.tolist() == [0, 0, 0, 0, 2.0**-100, 2.0**-150]


def test_an_exact_zero_is_zero_and_a_ball_around_it_is_not() -> None:
    elements = ReferenceArray.from_balls([arb(0), arb(0, 2.0**-200)], (2,))
    assert elements.kind.tolist() == [ZERO, FINITE]
    assert elements.hi.tolist() == [0.0, 0.0]
    assert elements.radius_log2[0] == -math.inf
    assert -200 <= elements.radius_log2[1] <= -199.9  # a 16th of a binary order, rounded up


def test_balls_without_a_finite_radius_are_undecided() -> None:
    elements = ReferenceArray.from_balls([arb("nan"), arb(0, 1).log(), arb("inf")], (3,))
    assert elements.kind.tolist() == [UNDECIDED] * 3


@pytest.mark.parametrize("x", [-1e17, -1e30, -1e308])
def test_exponents_beyond_the_integers_become_a_magnitude(x: float) -> None:
    elements = ReferenceArray.from_balls([arb(x).exp()], (1,))
    assert elements.kind.tolist() == [FINITE]
    assert elements.hi.tolist() == [0.0]
    assert elements.radius_log2.item() <= -(2.0**52)


def test_decided_elements_need_no_ball() -> None:
    kinds = np.array([[FINITE, POS_INF], [ZERO, FINITE]])
    elements = ReferenceArray.from_balls([arb(2), None, None, arb(3)], (2, 2), kinds)
    assert elements.to_float64().tolist() == [[2.0, math.inf], [0.0, 3.0]]


@given(
    st.fractions(),
    st.integers(-2000, 2000),
)
def test_a_rational_is_enclosed(x: Fraction, power: int) -> None:
    scaled = x * Fraction(2) ** power
    elements = ReferenceArray.from_fractions([scaled], (1,))
    value, radius = held(elements)
    assert abs(value - scaled) <= radius
    assert radius <= abs(scaled) * Fraction(2) ** -102
    if x == 0:
        assert elements.kind.tolist() == [ZERO]
    elif x.denominator == 1 and abs(x) < 2**53:
        assert radius == 0


def test_many_balls_of_all_sizes_keep_their_places() -> None:
    powers = np.random.default_rng(0).integers(-6000, 6000, 400).tolist()
    balls = [arb(3).sqrt() * arb(2) ** p for p in powers]
    elements = ReferenceArray.from_balls(balls, (20, 20))
    assert elements.exponent.reshape(-1).tolist() == powers
    np.testing.assert_array_equal(elements.hi, np.full((20, 20), math.sqrt(3)))
