"""Certified matrix and inner products against rational arithmetic and mpmath."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, Precision, round_array
from harness.reference import exact_matmul as module
from harness.reference.elements import FINITE, NAN, NEG_INF, POS_INF, ZERO, ReferenceArray
from harness.reference.exact_matmul import Product, exact_matmul
from harness.reference.inner_product import error_bound_log2, exact_dot, special_products

INF = math.inf


def log2(x: Fraction) -> float:
    """log2 of a positive rational, to float64."""
    shift = x.numerator.bit_length() - x.denominator.bit_length()
    return math.log2(float(x / Fraction(2) ** shift)) + shift


def value_of(array: ReferenceArray, index: tuple[int, ...]) -> Fraction:
    return (Fraction(float(array.hi[index])) + Fraction(float(array.lo[index]))) * Fraction(2) ** int(
        array.exponent[index]
    )


def assert_certified(product: Product, a: np.ndarray, b: np.ndarray) -> None:
    """Every element lies in its ball, every ball within 2**-62·Σ|ab|, every Σ|ab| within its bound.

    2**-62 and not 2**-63: a ball around 0 is given by its magnitude, which is at most twice its radius.
    """
    rows = [[Fraction(v) for v in row] for row in a.tolist()]
    columns = [[Fraction(v) for v in column] for column in b.T.tolist()]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            terms = [x * y for x, y in zip(row, column, strict=True)]
            exact, magnitude = sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0))
            error = abs(value_of(product.values, (i, j)) - exact)
            radius = float(product.values.radius_log2[i, j])
            assert error == 0 or log2(error) <= radius
            kind = product.values.kind[i, j]
            assert kind == FINITE or (kind == ZERO and exact == 0)
            bound = float(product.magnitude_log2[i, j])
            if magnitude:
                assert radius <= log2(magnitude) - 62
                # float32 holds numbers of up to 2**11 to 2**-12
                assert log2(magnitude) <= bound <= log2(magnitude) + 2.0**-11
            else:
                assert bound == -INF
                assert radius == -INF


def spread(rng: np.random.Generator, orders: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of either sign whose binary exponents are uniform within ±orders."""
    return np.ldexp(
        rng.uniform(0.5, 1, shape) * rng.choice([-1, 1], shape), rng.integers(-orders, orders, shape)
    )


# orders: below 60 slices serve, at 1000 balls or single elements
@pytest.mark.parametrize("orders", [0, 20, 60, 200, 400, 1000])
@pytest.mark.parametrize("shape", [(7, 9, 8), (12, 1, 12), (1, 40, 1)])
def test_every_element_lies_in_its_ball(orders: int, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    rng = np.random.default_rng(orders)
    a, b = spread(rng, orders + 1, (m, k)), spread(rng, orders + 1, (k, n))
    assert_certified(exact_matmul(a, b), a, b)


@pytest.mark.parametrize("panel", [4, 30])
def test_panels_and_single_elements_join_up(monkeypatch: pytest.MonkeyPatch, panel: int) -> None:
    monkeypatch.setattr(module, "_PANEL", panel)
    rng = np.random.default_rng(panel)
    a, b = spread(rng, 3, (9, 6)), spread(rng, 3, (6, 7))
    a[2, 3] = 1e-300  # this row alone needs more slices than there are
    b[3, :] = 0.0
    b[3, 4] = 1e300
    assert_certified(exact_matmul(a, b), a, b)


@pytest.mark.parametrize("bits", [192, 60])
def test_wide_matrices_are_multiplied_as_balls(monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    """Balls of 60 bits are wider than 2**-63·Σ|ab|: these elements are then summed exactly."""
    monkeypatch.setattr(module, "_BALL_BITS", bits)
    rng = np.random.default_rng(5)
    a, b = spread(rng, 900, (12, 5)), spread(rng, 900, (5, 11))
    assert_certified(exact_matmul(a, b), a, b)


def test_exact_cancellation_is_zero_and_not_merely_small() -> None:
    rng = np.random.default_rng(1)
    half = rng.standard_normal((5, 20))
    a = np.hstack([half, -half])
    product = exact_matmul(a, np.ones((40, 3)))
    assert (product.values.kind == ZERO).all()
    assert np.isneginf(product.values.radius_log2).all()
    assert (product.magnitude_log2 > 0).all()


@pytest.mark.parametrize("value", [5e-324, 1.7e308])
def test_the_ends_of_the_range(value: float) -> None:
    a, b = np.full((2, 3), value), np.full((3, 2), -value)
    product = exact_matmul(a, b)
    assert_certified(product, a, b)
    assert (product.values.hi < 0).all()


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_products_of_narrow_formats_are_exact(name: str) -> None:
    """No radius at all: an 11-bit significand and 30 orders of exponent fit two slices."""
    rng = np.random.default_rng(3)
    a, b = (round_array(FORMATS[name], rng.standard_normal((24, 24))) for _ in range(2))
    product = exact_matmul(a, b)
    assert np.isneginf(product.values.radius_log2).all()
    assert_certified(product, a, b)


def test_integers_of_a_larger_product() -> None:
    """Products of integers below 2**20 over k = 700 stay below 2**50: int64 knows them exactly."""
    rng = np.random.default_rng(4)
    a, b = (rng.integers(-(2**20), 2**20, (300, 700)) for _ in range(2))
    product = exact_matmul(a.astype(float), b.T.astype(float))
    assert np.array_equal(product.values.to_float64(), (a @ b.T).astype(float))
    assert np.isneginf(product.values.radius_log2).all()


def test_against_mpmath_at_a_size_of_several_slices() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((3, 900)), rng.standard_normal((900, 2))
    values = exact_matmul(a, b).values
    with mpmath.workprec(400):
        for i in range(3):
            for j in range(2):
                exact = mpmath.fdot(a[i].tolist(), b[:, j].tolist())
                near = mpmath.mpf(float(values.hi[i, j])) + mpmath.mpf(float(values.lo[i, j]))
                error = abs(mpmath.ldexp(near, int(values.exponent[i, j])) - exact)
                assert error <= mpmath.mpf(2) ** float(values.radius_log2[i, j])


def test_stacks_broadcast() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((2, 1, 3, 4)), rng.standard_normal((5, 4, 2))
    product = exact_matmul(a, b)
    assert product.values.shape == (2, 5, 3, 2)
    for i in range(2):
        for j in range(5):
            single = exact_matmul(a[i, 0], b[j])
            assert np.array_equal(product.values.hi[i, j], single.values.hi)
            assert np.array_equal(product.values.lo[i, j], single.values.lo)


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 4, 3), (2, 4, 0)])
def test_empty_dimensions(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    product = exact_matmul(np.ones((m, k)), np.ones((k, n)))
    assert product.values.shape == (m, n)
    assert (product.values.kind == ZERO).all()


@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3, 2)), ((2, 3), (3,)), ((2, 3), (4, 2)), ((2, 2, 3), (3, 3, 2))],
)
def test_shapes_that_do_not_fit(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"matrix product takes|do not broadcast"):
        exact_matmul(np.ones(a), np.ones(b))


@pytest.mark.parametrize(
    ("row", "column", "kind"),
    [
        ([INF, 1], [1, 1], POS_INF),
        ([INF, 1], [-1, 1], NEG_INF),
        ([-INF, 1], [-2, 1], POS_INF),
        ([INF, 1], [0, 1], NAN),
        ([0, 1], [-INF, 1], NAN),
        ([INF, INF], [1, -1], NAN),
        ([INF, 1], [1, -INF], NAN),
        ([INF, 1], [1, INF], POS_INF),
        ([math.nan, 1], [0, 1], NAN),
        ([1, 1], [1, math.nan], NAN),
        ([1, 2], [3, 4], None),
    ],
)
def test_products_that_are_not_finite(row: list[float], column: list[float], kind: int | None) -> None:
    a, b = np.array([row]), np.array([column]).T
    found = special_products(a, b)
    assert (found is None) if kind is None else (found is not None and found.tolist() == [[kind]])


def test_finite_elements_beside_infinite_ones() -> None:
    a = np.array([[INF, 1.0], [2.0, 3.0]])
    product = exact_matmul(a, np.array([[1.0], [4.0]]))
    assert product.values.kind.tolist() == [[POS_INF], [FINITE]]
    assert product.values.to_float64().tolist() == [[INF], [14.0]]
    assert product.magnitude_log2[0, 0] == INF


def test_a_blas_that_is_inexact_is_noticed() -> None:
    """(2**30 + 1)² needs 61 bits: the float64 product is wrong, as from a BLAS in lower precision."""
    large = np.full((1, 2, 2), 2.0**30 + 1)
    with pytest.raises(ArithmeticError, match="does not multiply"):
        module._multiply(large, large, np.ones(2, bool))


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(numbers, numbers), max_size=12))
def test_exact_dot_of_any_float64(pairs: list[tuple[float, float]]) -> None:
    x, y = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    terms = [Fraction(u) * Fraction(v) for u, v in pairs]
    assert exact_dot(x, y) == (sum(terms, Fraction(0)), sum(map(abs, terms), Fraction(0)))


def test_exact_dot_of_many_large_terms_does_not_wrap() -> None:
    """2**16 products of just below 2**106 with one exponent: their int64 halves sum to 2**54."""
    largest = float(2**53 - 1)
    x = np.full(2**16, largest)
    assert exact_dot(x, -x) == (-(2**16) * (2**53 - 1) ** 2, 2**16 * (2**53 - 1) ** 2)


def test_error_bound_by_hand() -> None:
    """k = 8 in float32 with Σ|xy| = 4 and s = 1: (1 + u)·8u·4 + u + 8ω."""
    u, omega = Fraction(1, 2**24), Fraction(1, 2**149)
    expected = (1 + u) * 8 * u * 4 + u + 8 * omega
    found = error_bound_log2(8, np.array(2.0), np.array(0.0), Precision.of(DTYPES["float32"], "float32"))
    assert float(found) == pytest.approx(log2(expected), abs=2**-40)


def test_error_bound_of_rounded_inputs() -> None:
    """TF32: the inputs of every product are off by 2**-11 each, which dominates k·u of float32."""
    u_in, u, omega = Fraction(1, 2**11), Fraction(1, 2**24), Fraction(1, 2**149)
    expected = ((1 + u_in) ** 2 - 1) + (1 + u) * 8 * u * (1 + u_in) ** 2 + u + 8 * omega
    found = error_bound_log2(8, np.array(0.0), np.array(0.0), Precision.of(DTYPES["tf32"], "tf32"))
    assert float(found) == pytest.approx(log2(expected), abs=2**-40)


def test_the_error_bound_of_an_empty_sum_is_zero() -> None:
    precision = Precision.of(DTYPES["float32"], "float32")
    assert error_bound_log2(0, np.array(-INF), np.array(-INF), precision) == -INF
