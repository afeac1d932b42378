"""Arrays of pairs against rational arithmetic: every result within its radius, and the radius small."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from harness.reference import pair_arrays
from harness.reference.elements import FINITE, UNDECIDED, ZERO, ReferenceArray
from harness.reference.exact_matmul import exact_matmul
from harness.reference.pair_arrays import Pairs

Numbers = list[Fraction]


def pairs(seed: int, *shape: int, orders: int = 0, radius: float = 0.0) -> Pairs:
    """Pairs of either sign, with exponents within ±orders; radii relative."""
    rng = np.random.default_rng(seed)
    hi = rng.standard_normal(shape) * 2.0 ** rng.integers(-orders, orders + 1, shape)
    lo = hi * rng.uniform(-1, 1, shape) * 2.0**-54
    return Pairs(hi, lo, np.abs(hi) * radius)


def fractions(a: np.ndarray) -> Numbers:
    return [Fraction(x) for x in a.reshape(-1).tolist()]


def exact(a: Pairs, at: int = 0) -> Numbers:
    """The numbers at −1, 0 or 1 times their radius from the middle."""
    parts = map(fractions, (a.hi, a.lo, a.radius))
    return [h + low + at * r for h, low, r in zip(*parts, strict=True)]


def assert_encloses(found: Pairs, wanted: Numbers, allowed: Numbers) -> None:
    """`wanted` is within the radius, and the radius within `allowed`."""
    assert (np.abs(found.lo) <= np.abs(found.hi) * 2.0**-53).all()
    columns = exact(found), fractions(found.radius), wanted, allowed
    for value, radius, number, most in zip(*columns, strict=True):
        assert abs(value - number) <= radius <= most * (1 + Fraction(1, 1000)) + Fraction(1, 2**1058)


BINARY: dict[str, tuple[Callable[[Pairs, Pairs], Pairs], Callable[[Fraction, Fraction], Fraction]]] = {
    "add": (pair_arrays.add, lambda x, y: x + y),
    "subtract": (pair_arrays.subtract, lambda x, y: x - y),
    "multiply": (pair_arrays.multiply, lambda x, y: x * y),
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("orders", [0, 30, 200])
@pytest.mark.parametrize("radius", [0.0, 2.0**-90, 2.0**-20])
def test_elementwise(name: str, orders: int, radius: float) -> None:
    compute, define = BINARY[name]
    a, b = pairs(1, 200, orders=orders, radius=radius), pairs(2, 200, orders=orders, radius=radius)
    found = compute(a, b)
    share = Fraction(radius)
    for at in (-1, 0, 1):
        for beside in (-1, 1):
            ends = list(zip(exact(a, at), exact(b, beside), strict=True))
            if name == "multiply":
                relative = (2 * share + share**2 + Fraction(1, 2**102)) / (1 - share) ** 2
                allowed = [abs(x * y) * relative for x, y in ends]
            else:
                relative = (share + Fraction(1, 2**103)) / (1 - share)
                allowed = [(abs(x) + abs(y)) * relative for x, y in ends]
            assert_encloses(found, [define(x, y) for x, y in ends], allowed)


def test_what_is_exact_stays_so() -> None:
    a, zero = pairs(1, 50), Pairs(*np.zeros((3, 50)))
    none = pair_arrays.subtract(a, a)
    for nothing in (none, pair_arrays.multiply(a, zero), pair_arrays.multiply(zero, a), zero.times_power(-9)):
        assert not nothing.hi.any()
        assert not nothing.radius.any()
    whole = Pairs(np.arange(1.0, 9.0), np.zeros(8), np.zeros(8))
    assert not pair_arrays.add(whole, whole).radius.any()
    assert not pair_arrays.reciprocal(Pairs(2.0 ** np.arange(-9, 9), np.zeros(18), np.zeros(18))).radius.any()


@pytest.mark.parametrize("exponent", [-700, -1, 5, 400])
def test_powers_of_two(exponent: int) -> None:
    a = pairs(1, 200, orders=300, radius=2.0**-80)
    factor = Fraction(2) ** exponent
    wanted = [x * factor for x in exact(a)]
    assert_encloses(
        a.times_power(exponent), wanted, [r * factor + Fraction(1, 2**1058) for r in fractions(a.radius)]
    )


def test_what_underflows_is_in_the_radius() -> None:
    """Products and lower parts below 2⁻¹⁰⁷⁴ leave 0, and a radius that is not 0; both inputs are exact."""
    small = Pairs(np.full((1, 1, 1), 2.0**-600), np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))
    unsure = Pairs(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), np.full((1, 1, 1), 2.0**-600))
    product = Fraction(1, 2**1200)
    assert_encloses(pair_arrays.multiply(small, small), [product], [Fraction(0)])
    spread = pair_arrays.matmul(unsure, small.hi)
    assert_encloses(spread, [product], [Fraction(0)])
    assert_encloses(small.times_power(-600), [product], [Fraction(0)])
    lower = 2.0**-150 * (1 + 2.0**-52)  # times 2⁻⁹⁰⁰: below the smallest subnormal number in its last place
    column = ReferenceArray.from_float64(np.array([1.0]))
    column.lo[:], column.exponent[:] = lower, -900
    assert_encloses(Pairs.of_reference(column), [(1 + Fraction(lower)) * Fraction(1, 2**900)], [Fraction(0)])


def test_a_radius_is_not_below_its_logarithm() -> None:
    """exp2 rounds to nearest at best: of 200 radii some would be too small as it gives them."""
    logs = np.random.default_rng(5).integers(-(2**14), -(2**4), 200) / 2.0**7
    column = ReferenceArray.from_float64(np.ones(200))
    column.radius_log2[:] = logs
    kept = column.radius_log2.astype(np.float64)
    found = Pairs.of_reference(column).radius
    with mpmath.workprec(200):
        for radius, log2 in zip(found.tolist(), kept.tolist(), strict=True):
            exact = mpmath.mpf(2) ** mpmath.mpf(log2)
            assert exact <= mpmath.mpf(radius) <= exact * (1 + mpmath.mpf(2) ** -39)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1001])
def test_row_sums(n: int) -> None:
    a = pairs(n, 3, n, orders=20, radius=2.0**-90)
    found = pair_arrays.row_sums(a)
    assert found.shape == (3, 1)
    for at in (-1, 0, 1):
        rows = [exact(a[i : i + 1], at) for i in range(3)]
        sums = [sum(row, Fraction(0)) for row in rows]
        levels = math.ceil(math.log2(n))
        relative = Fraction(1, 2**89) + levels * (levels + 1) * Fraction(1, 2**105)
        assert_encloses(found, sums, [sum(map(abs, row), Fraction(0)) * relative for row in rows])


@pytest.mark.parametrize("orders", [0, 30, 800])
@pytest.mark.parametrize("radius", [0.0, 2.0**-90, 2.0**-20])
def test_reciprocals(orders: int, radius: float) -> None:
    a = pairs(3, 500, orders=orders, radius=radius)
    found = pair_arrays.reciprocal(a)
    for at in (-1, 0, 1):
        wanted = [1 / x for x in exact(a, at)]
        relative = Fraction(radius) * (1 + 4 * Fraction(radius)) + Fraction(1, 2**101)
        assert_encloses(found, wanted, [abs(x) * relative * (1 + 2 * Fraction(radius)) for x in wanted])


def test_the_reciprocal_of_what_may_be_zero_is_not_known() -> None:
    found = pair_arrays.reciprocal(Pairs(np.array([1.0]), np.zeros(1), np.array([1.5])))
    assert found.radius.item() == math.inf


@pytest.mark.parametrize("shape", [(3, 1, 4), (2, 40, 3), (5, 9, 5)])
@pytest.mark.parametrize("orders", [0, 40])
@pytest.mark.parametrize("radius", [0.0, 2.0**-70, 2.0**-20])
def test_products_with_exact_matrices(shape: tuple[int, int, int], orders: int, radius: float) -> None:
    m, k, n = shape
    a, b = pairs(1, 1, m, k, orders=orders, radius=radius), pairs(2, 1, k, n, orders=orders).hi
    found = pair_arrays.matmul(a, b)
    columns = [fractions(b[0, :, j]) for j in range(n)]
    for at in (-1, 0, 1):
        rows = [exact(a[0, i], at) for i in range(m)]
        terms = [[x * y for x, y in zip(row, column, strict=True)] for row in rows for column in columns]
        relative = (Fraction(radius) + Fraction(1, 2**66)) / (1 - Fraction(radius))
        magnitudes = [sum(map(abs, t), Fraction(0)) * relative for t in terms]
        assert_encloses(found, [sum(t, Fraction(0)) for t in terms], magnitudes)


@pytest.mark.parametrize("orders", [0, 60, 300])
def test_products_to_as_much_as_is_asked(orders: int) -> None:
    a, b = pairs(1, 1, 6, 8, orders=orders).hi, pairs(2, 1, 8, 5, orders=orders).hi
    found = pair_arrays.exact(a, b)
    columns = [fractions(b[0, :, j]) for j in range(5)]
    terms = [[x * y for x, y in zip(fractions(row), c, strict=True)] for row in a[0] for c in columns]
    # a ball around 0 is given by its magnitude, at most twice its radius
    magnitudes = [sum(map(abs, t), Fraction(0)) / 2**99 for t in terms]
    assert_encloses(found, [sum(t, Fraction(0)) for t in terms], magnitudes)


def test_what_is_not_asked_for_is_not_computed() -> None:
    a, b = pairs(1, 1, 6, 8).hi, pairs(2, 1, 8, 5).hi
    coarse, usual = exact_matmul(a, b, radius_log2=-30), exact_matmul(a, b)
    fine = exact_matmul(a, b, radius_log2=-100)
    for wider, narrower in ((coarse, usual), (usual, fine)):
        assert (wider.values.radius_log2 > narrower.values.radius_log2).all()


def test_reference_elements_and_back() -> None:
    values = np.array([1.0, -0.1, 0.0, 2.0**-899, 2.0**-950, math.inf, math.nan])
    elements = ReferenceArray.from_float64(values)
    found = Pairs.of_reference(elements)
    np.testing.assert_array_equal(found.hi[:4], values[:4])
    assert not found.radius[:4].any()
    assert abs(values[4] - found.hi[4]) <= found.radius[4] <= 2.0**-898
    assert np.isnan(found.hi[5:]).all()
    back = pair_arrays.to_reference(found, 3, values == 0)
    assert back.kind.tolist() == [FINITE, FINITE, ZERO, FINITE, FINITE, UNDECIDED, UNDECIDED]
    np.testing.assert_array_equal(back.to_float64()[:4], values[:4] * 8)
    assert back.hi[4] == 0.0
    large = ReferenceArray.from_fractions([Fraction(2) ** 1030], (1,))
    assert np.isnan(Pairs.of_reference(large).hi).all()


def test_of_a_ball_around_zero_the_magnitude_is_kept() -> None:
    found = pair_arrays.to_reference(
        Pairs(np.array([2.0**-70, 0.0, 1.0]), np.zeros(3), np.array([2.0**-60, 2.0**-60, 2.0**-60])),
        -5,
        np.zeros(3, bool),
    )
    assert found.hi.tolist() == [0.0, 0.0, 1.0]
    assert found.exponent.tolist() == [0, 0, -5]
    assert (found.radius_log2 >= [math.log2(2.0**-60 + 2.0**-70) - 5, -65.0, -65.0]).all()
    assert (found.radius_log2 <= -64.9).all()


def test_the_magnitude_of_a_ball_around_zero_is_its_middle_and_its_radius() -> None:
    """2⁻⁶⁰ away and as wide: up to 2⁻⁵⁹; logarithms of radii are kept to a sixteenth, upwards."""
    found = pair_arrays.to_reference(
        Pairs(np.array([2.0**-60]), np.zeros(1), np.array([2.0**-60])), 0, np.zeros(1, bool)
    )
    assert found.hi.tolist() == [0.0]
    assert -59 <= found.radius_log2.item() <= -58.9


@pytest.mark.parametrize("size", [1e200, 1e308])
def test_what_overflows_is_not_known(size: float) -> None:
    a = Pairs(np.full((1, 1, 2), size), np.zeros((1, 1, 2)), np.zeros((1, 1, 2)))
    with np.errstate(all="ignore"):
        products = (
            pair_arrays.multiply(a, a),
            pair_arrays.matmul(a, np.full((1, 2, 1), size)),
            pair_arrays.multiply(pair_arrays.multiply(a, a), a.times_power(-900)),
        )
    for product in products:
        found = pair_arrays.to_reference(product, 0, np.zeros(product.shape, bool))
        assert (found.kind == UNDECIDED).all()


def test_magnitudes_are_bounded_from_below() -> None:
    a = pairs(1, 300, orders=50, radius=2.0**-30)
    for lower, low, high in zip(fractions(a.magnitude_down()), exact(a, -1), exact(a, 1), strict=True):
        assert lower <= min(abs(low), abs(high))
