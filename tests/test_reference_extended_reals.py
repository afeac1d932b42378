"""Exact arithmetic on extended reals: exact while it can be, enclosed beyond, special values by rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from flint import arb, ctx, fmpq

from harness.formats import DTYPES
from harness.reference import definitions
from harness.reference.certify import START_BITS
from harness.reference.definitions import certified_gradients, certified_values
from harness.reference.elements import ElementClass
from harness.reference.exact_namespace import ExactNamespace, Leaf
from harness.reference.extended_reals import FUNCTIONS, LARGEST, UndecidedError

XP = ExactNamespace()
FLOAT64 = DTYPES["float64"].storage
INF, NAN = math.inf, math.nan

MPMATH = {
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "log10": lambda x: mpmath.log(x) / mpmath.log(10),
    "exp2": lambda x: mpmath.power(2, x),
    "lgamma": mpmath.loggamma,
    "erfcx": lambda x: mpmath.exp(x * x) * mpmath.erfc(x),
    "ndtri": lambda x: mpmath.sqrt(2) * mpmath.erfinv(2 * x - 1),
    "square": lambda x: x * x,
    "abs": abs,
    "negative": lambda x: -x,
    "sign": mpmath.sign,
    "cbrt": lambda x: mpmath.root(x, 3),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_are_those_of_mpmath(name: str) -> None:
    own = MPMATH.get(name) or getattr(mpmath, name)
    with mpmath.workprec(300), ctx.workprec(200):
        for v in (0.125, 0.3, 0.99, 0.5000000001):
            found = FUNCTIONS[name](fmpq(*v.as_integer_ratio()))
            exact = own(mpmath.mpf(v))
            whole = type(found) is fmpq
            digits = arb(found).str(60, radius=False)
            value = mpmath.mpf(int(found.p)) / int(found.q) if whole else mpmath.mpf(digits)
            # 60 digits are printed
            assert abs(value - exact) <= mpmath.mpf(10) ** -55 * (1 + abs(exact))


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("exp", 0, 1), ("exp", -INF, 0), ("exp", INF, INF), ("exp", NAN, NAN),
        ("log", 1, 0), ("log", 0, -INF), ("log", -1, NAN), ("log", INF, INF), ("log", -INF, NAN),
        ("log1p", -1, -INF), ("log1p", 0, 0), ("log1p", -2, NAN), ("expm1", -INF, -1), ("expm1", 0, 0),
        ("log2", 8, 3), ("log2", 0.125, -3), ("log10", 1000, 3), ("log10", Fraction(1, 100), -2),
        ("exp2", 10, 1024), ("exp2", -2, 0.25), ("exp2", -INF, 0),
        ("sqrt", 2.25, 1.5), ("sqrt", -1, NAN), ("sqrt", INF, INF), ("sqrt", 0, 0),
        ("cbrt", -27, -3), ("cbrt", Fraction(8, 27), Fraction(2, 3)), ("cbrt", -INF, -INF), ("cbrt", 0, 0),
        ("sin", 0, 0), ("sin", INF, NAN), ("cos", 0, 1), ("tan", -INF, NAN),
        ("asin", 1.5, NAN), ("acos", 1, 0),
        ("tanh", INF, 1), ("erf", -INF, -1), ("erfc", -INF, 2), ("erfc", 0, 1), ("sinh", -INF, -INF),
        ("cosh", -INF, INF), ("lgamma", 1, 0), ("lgamma", 2, 0), ("sign", -0.5, -1), ("sign", INF, 1),
        ("lgamma", 0, INF), ("lgamma", -0.5, NAN), ("digamma", 0, NAN),
        ("erfcx", -INF, INF), ("erfcx", 0, 1), ("erfcx", INF, 0), ("erfinv", -1, -INF), ("erfinv", 0, 0),
        ("erfinv", 2, NAN), ("ndtri", 0, -INF), ("ndtri", 0.5, 0), ("ndtri", 1, INF), ("ndtri", -1, NAN),
        ("tanh", -INF, -1), ("erf", INF, 1), ("erfc", INF, 0), ("sinh", INF, INF), ("cosh", INF, INF),
        ("expm1", INF, INF), ("log1p", INF, INF), ("log1p", -INF, NAN), ("exp2", INF, INF),
        ("cbrt", INF, INF), ("lgamma", INF, INF), ("digamma", INF, INF),
        ("acos", -1.5, NAN), ("acos", 1.5, NAN), ("asin", -1.5, NAN),
        ("erfinv", 1, INF), ("erfinv", -2, NAN), ("ndtri", 2, NAN), ("log2", 0, -INF), ("log2", -1, NAN),
        ("log10", 0, -INF), ("log10", INF, INF), ("sign", -INF, -1), ("sign", 0, 0), ("square", -INF, INF),
        ("sqrt", -INF, NAN), ("atan", 0, 0), ("negative", INF, -INF),
        ("floor", -1.5, -2), ("abs", -INF, INF), ("square", -3, 9),
    ],
)  # fmt: skip
def test_values_that_are_no_balls(name: str, argument: float | Fraction, value: float | Fraction) -> None:
    found = FUNCTIONS[name](XP.scalar(argument)[()])
    if isinstance(value, float) and not math.isfinite(value):
        assert type(found) is float
        assert found == value or (math.isnan(found) and math.isnan(value))
    else:
        exact = Fraction(value)
        assert type(found) is fmpq
        assert found == fmpq(exact.numerator, exact.denominator)


def test_the_limits_of_the_arc_tangent() -> None:
    for sign in (1, -1):
        assert (2 * FUNCTIONS["atan"](sign * INF)).contains(sign * arb.pi())


@pytest.mark.parametrize(
    ("name", "a", "b", "value"),
    [
        ("add", INF, -INF, NAN), ("add", INF, 1, INF), ("add", -INF, -INF, -INF), ("subtract", INF, INF, NAN),
        ("multiply", INF, 0, NAN), ("multiply", -INF, 2, -INF), ("multiply", INF, -INF, -INF),
        ("divide", 1, INF, 0), ("divide", INF, INF, NAN), ("divide", INF, -2, -INF), ("divide", 1, 0, NAN),
        ("divide", INF, 0, NAN), ("divide", 1, NAN, NAN), ("add", NAN, 1, NAN), ("multiply", NAN, 0, NAN),
        ("maximum", NAN, 1, NAN), ("maximum", -INF, 1, 1), ("minimum", -INF, 1, -INF),
        ("maximum", 1, NAN, NAN), ("minimum", 1, NAN, NAN), ("minimum", NAN, 1, NAN),
        ("divide", 1, 3, Fraction(1, 3)),
    ],
)  # fmt: skip
def test_arithmetic_of_extended_reals(name: str, a: float, b: float, value: float) -> None:
    found = getattr(XP, name)(XP.scalar(a), XP.scalar(b))[()]
    if isinstance(value, float) and not math.isfinite(value):
        assert type(found) is float
        assert found == value or (math.isnan(found) and math.isnan(value))
    else:
        exact = Fraction(value)
        assert found == fmpq(exact.numerator, exact.denominator)


def test_comparisons_are_strict_and_false_of_what_is_no_number() -> None:
    one, two, nan, far = (XP.scalar(v) for v in (1, 2, NAN, INF))
    assert [bool(f(one, two)) for f in (XP.less, XP.greater, XP.equal)] == [True, False, False]
    assert [bool(f(two, one)) for f in (XP.less, XP.greater, XP.equal)] == [False, True, False]
    assert [bool(f(one, one)) for f in (XP.less, XP.greater, XP.equal)] == [False, False, True]
    assert [bool(f(far, far)) for f in (XP.less, XP.greater, XP.equal)] == [False, False, True]
    for other in (one, far, nan):
        assert not any(
            bool(f(*pair)) for f in (XP.less, XP.greater, XP.equal) for pair in ((nan, other), (other, nan))
        )


def test_what_cancels_is_exactly_zero() -> None:
    x = np.array([0.1, 0.7, 1e300, -1e300, 5e-324])
    (y,) = certified_values(lambda xp, x: x / 3 - x * Fraction(1, 3), [x], {}, FLOAT64)
    assert (y.kind == ElementClass.ZERO).all()
    (constant,) = certified_values(
        lambda xp, x: xp.mean(xp.square(x - xp.mean(x))), [np.full(7, 0.1)], {}, FLOAT64
    )
    assert constant.kind == ElementClass.ZERO


def test_what_balls_cannot_tell_from_zero_is_known_to_be_tiny_not_to_be_zero() -> None:
    (y,) = certified_values(lambda xp, x: xp.exp(x) - xp.exp(x), [np.array([1.0])], {}, FLOAT64)
    assert y.kind.tolist() == [ElementClass.FINITE]
    assert y.radius_log2[0] <= -1074 - 10  # what is known of it: a thousandth of the smallest number at most
    assert y.hi[0] == 0


def test_an_infinity_beside_a_ball_that_may_be_0() -> None:
    x, above = np.array([1.0]), np.array([np.nextafter(1.0, 2.0)])

    def kind(operation: Callable[..., Any], x: np.ndarray, y: np.ndarray) -> int:
        def definition(xp: Any, x: Any, y: Any) -> Any:
            return operation(xp, xp.scalar(INF), xp.exp(y) - xp.exp(x))

        (found,) = certified_values(definition, [x, y], {}, FLOAT64)
        return int(found.kind[0])

    assert kind(lambda xp, infinity, d: infinity + d, x, x) == ElementClass.POS_INF
    assert kind(lambda xp, infinity, d: infinity * d, x, above) == ElementClass.POS_INF
    assert kind(lambda xp, infinity, d: infinity / d, above, x) == ElementClass.NEG_INF
    # no precision can tell that it is 0, where inf·0 is NaN
    assert kind(lambda xp, infinity, d: infinity * d, x, x) == ElementClass.UNDECIDED
    assert kind(lambda xp, infinity, d: xp.sign(d), x, x) == ElementClass.UNDECIDED


def test_a_comparison_without_an_answer_raises() -> None:
    with pytest.raises(UndecidedError), ctx.workprec(53):
        XP.less(XP.exp(XP.scalar(1)), XP.exp(XP.scalar(1)))


def test_balls_that_overlap_are_not_told_apart_unless_they_are_one() -> None:
    with ctx.workprec(53):
        e, same, far = XP.exp(XP.scalar(1)), XP.exp(XP.scalar(1)), XP.exp(XP.scalar(2))
        assert XP.equal(e, e)
        assert not XP.equal(e, far)
        assert not XP.equal(e, XP.scalar(INF))
        assert XP.equal(XP.sqrt(XP.scalar(4)), XP.scalar(2))
        with pytest.raises(UndecidedError):
            XP.equal(e, same)


def test_rationals_that_grow_become_balls() -> None:
    x = Leaf(np.full(4, 1 / 3))
    power: object = x
    with ctx.workprec(128):
        for _ in range(12):
            power = XP.square(power)
    assert {type(v) for v in power.reshape(-1)} == {arb}
    assert LARGEST < 54 * 2**12


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_of_data_are_exact(axis: int | None, keepdims: bool) -> None:
    values = np.random.default_rng(0).normal(size=(5, 7)) * 10.0 ** np.arange(7)
    direct = XP.sum(Leaf(values), axis=axis, keepdims=keepdims)
    by_elements = XP.sum(Leaf(values).objects, axis=axis, keepdims=keepdims)
    assert direct.shape == by_elements.shape == np.sum(values, axis=axis, keepdims=keepdims).shape
    assert (direct == by_elements).all()


def test_sums_of_nothing_are_zero_and_infinities_count() -> None:
    assert XP.sum(Leaf(np.zeros((0,))))[()] == 0
    assert XP.sum(Leaf(np.array([1.0, INF])))[()] == INF
    assert math.isnan(XP.sum(Leaf(np.array([-INF, INF])))[()])


def test_precision_is_raised_until_the_last_place_is_known() -> None:
    """1 − cos x = x²/2 − x⁴/24: at 10⁻¹⁰⁰ all of 128 bits cancel."""
    x = np.array([1e-100, 1e-3])
    (y,) = certified_values(lambda xp, x: 1 - xp.cos(x), [x], {}, FLOAT64)
    np.testing.assert_allclose(y.to_float64(), [5e-201, 4.99999958333334722e-7], rtol=1e-15)
    assert y.radius_ulp(FLOAT64).max() <= 2.0**-10


def test_what_no_precision_settles_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1 − cos 10⁻¹⁰⁰ nothing is known with 128 bits; of 1 − cos 0.001 all that is asked is."""
    monkeypatch.setattr(definitions, "CAP_BITS", START_BITS)
    (y,) = certified_values(lambda xp, x: 1 - xp.cos(x), [np.array([1e-100, 1e-3])], {}, FLOAT64)
    assert y.kind.tolist() == [ElementClass.UNDECIDED, ElementClass.FINITE]


def test_gradients_are_certified_too() -> None:
    x, g = np.array([0.5, 2.0, -3.0]), np.array([1.0, -2.0, 0.25])
    found = certified_gradients(lambda xp, x: xp.exp(x) * x, [x], {}, g, [0], FLOAT64)[0]
    np.testing.assert_allclose(found.to_float64(), g * np.exp(x) * (1 + x), rtol=1e-15)


def test_an_exact_zero_stays_exact_beside_a_ball() -> None:
    zero, ball = fmpq(0), arb(1).exp()
    for found in (XP.multiply(zero, ball), XP.multiply(ball, zero), XP.divide(zero, ball)):
        assert type(found[()]) is fmpq
        assert found[()] == 0


def test_a_ball_below_0_has_no_root_and_no_logarithm() -> None:
    for name in ("sqrt", "log", "log2", "log10", "lgamma"):
        found = FUNCTIONS[name](-arb(1).exp())
        assert type(found) is float
        assert math.isnan(found)


def test_a_ball_without_bounds_leaves_open_what_an_infinity_makes_of_it() -> None:
    """It may be infinite: ∞ − ∞ and ∞/∞ are NaN, and ∞ + 1 and 1/∞ are not; NaN is NaN with anything."""
    unknown, special = arb.nan(), np.array(INF, object)
    for name, a, b in (("add", unknown, special), ("add", special, unknown), ("divide", unknown, special)):
        found = getattr(XP, name)(a, b)[()]
        assert type(found) is arb
        assert not found.is_finite()
    for name in ("add", "subtract", "multiply", "divide"):
        assert math.isnan(getattr(XP, name)(XP.scalar(NAN), unknown)[()])
    assert XP.divide(arb(1).exp(), special)[()] == 0
    assert XP.add(arb(1).exp(), special)[()] == INF
