"""Reference arrays: exact in, exact out, and distances, against rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

from harness.formats import FORMATS, round_exact
from harness.reference.elements import (
    FINITE,
    NAN,
    NEG_INF,
    POS_INF,
    UNDECIDED,
    ZERO,
    Reference,
    ReferenceArray,
)

INF = math.inf
FLOAT64, FLOAT32, FLOAT16 = FORMATS["float64"], FORMATS["float32"], FORMATS["float16"]

finite_floats = st.floats(allow_nan=False, allow_infinity=False)


def exactly(element: ReferenceArray) -> Fraction:
    """What hi, lo and exponent of one element stand for."""
    two = Fraction(2) ** int(element.exponent.item())
    return (Fraction(element.hi.item()) + Fraction(element.lo.item())) * two


def radius(element: ReferenceArray) -> Fraction:
    """An upper bound on the radius, tight to a binary order."""
    log2 = element.radius_log2.item()
    return Fraction(0) if log2 == -INF else Fraction(2) ** math.ceil(log2)


def log2_of(x: Fraction) -> float:
    """log2 of a positive rational beyond float64's range, to float64's accuracy."""
    shift = x.numerator.bit_length() - x.denominator.bit_length()
    return shift + math.log2(x / Fraction(2) ** shift)


def of_pair(hi: float, lo: float, exponent: int) -> ReferenceArray:
    """One finite element from its parts."""
    parts = (np.array([hi]), np.array([lo]), np.array([exponent]), np.array([-INF]))
    return ReferenceArray(np.array([FINITE], np.uint8), *parts)


def test_beside_a_tie_the_leading_part_decides() -> None:
    """√(4 − 2⁻⁵¹) = 2 − 2⁻⁵³ − 2⁻¹⁰⁸…: 106 bits cannot tell it from the middle of 2 − 2⁻⁵² and 2."""
    with ctx.workprec(300):
        root = ReferenceArray.from_balls([arb(4 - 2.0**-51).sqrt()], (1,))
    assert root.lo[0] == 2.0**-53
    assert root.round_to(FORMATS["float64"]).tolist() == [2 - 2.0**-52]
    assert root.to_float64().tolist() == [2 - 2.0**-52]


@given(st.lists(st.floats(), max_size=20))
def test_float64_values_come_back_bit_for_bit(values: list[float]) -> None:
    array = np.array(values, np.float64)
    elements = ReferenceArray.from_float64(array)
    back = elements.to_float64()
    np.testing.assert_array_equal(back, array)
    numbers = ~np.isnan(array)
    np.testing.assert_array_equal(np.signbit(back)[numbers], np.signbit(array)[numbers])
    assert (elements.radius_log2 == -INF).all()
    finite = elements.kind == FINITE
    assert ((np.abs(elements.hi[finite]) >= 1) & (np.abs(elements.hi[finite]) < 2)).all()


def test_classes_of_float64_values() -> None:
    elements = ReferenceArray.from_float64([[1.5, 0.0], [-0.0, INF], [-INF, math.nan]])
    assert elements.kind.tolist() == [[FINITE, ZERO], [ZERO, POS_INF], [NEG_INF, NAN]]
    assert elements.log2_abs()[0, 0] == math.log2(1.5)
    assert elements.log2_abs()[0, 1] == -INF
    assert elements.log2_abs()[1, 1] == elements.log2_abs()[2, 0] == INF
    assert math.isnan(elements.log2_abs()[2, 1])
    assert elements.shape == (3, 2)
    assert elements[1].kind.tolist() == [ZERO, POS_INF]
    assert elements.reshape((6,)).kind.tolist() == elements.kind.reshape(-1).tolist()


def test_a_value_beyond_float64_is_held() -> None:
    with ctx.workprec(200):
        elements = ReferenceArray.from_balls([arb(1000).exp(), arb(-1000).exp()], (2,))
    # ln 2 to 40 digits: 1000 / ln 2 = 1442.695040888963407…
    assert elements.log2_abs() == pytest.approx([1442.6950408889634, -1442.6950408889634], rel=1e-15)
    assert elements.exponent.tolist() == [1442, -1443]
    assert elements.to_float64().tolist() == [INF, 0.0]
    assert elements.round_to(FLOAT16).tolist() == [INF, 0.0]


@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32, FLOAT16, FORMATS["float8_e4m3fn"]])
@given(numerator=st.integers(-(10**40), 10**40), power=st.integers(-60, 60))
def test_rounding_is_that_of_the_rational(fmt, numerator: int, power: int) -> None:  # type: ignore[no-untyped-def]
    value = Fraction(numerator) * Fraction(10) ** power
    rounded = ReferenceArray.from_fractions([value], (1,)).round_to(fmt)
    np.testing.assert_array_equal(rounded, [float(round_exact(fmt, value))])


@given(computed=finite_floats, top=finite_floats, share=st.floats(-1, 1), power=st.integers(-1200, 1200))
def test_difference_is_exact_to_its_last_bits(computed: float, top: float, share: float, power: int) -> None:
    mantissa, shift = math.frexp(top)
    if mantissa == 0:
        return
    element = of_pair(2 * mantissa, share * 2.0**-53, shift - 1 + power)
    wanted = Fraction(computed) - exactly(element)
    d, e = element.difference(np.array([computed]))
    found = Fraction(d.item()) * Fraction(2) ** int(e.item())
    assert abs(found - wanted) <= abs(wanted) * Fraction(2) ** -51  # as documented
    log2 = element.error_log2(np.array([computed])).item()
    if wanted == 0:
        assert log2 == -INF
    else:
        # log2 d and e, each up to 300 where they cancel, are added in float64: ulp(300) = 6e-14
        assert log2 == pytest.approx(log2_of(abs(wanted)), rel=1e-14, abs=1.2e-13)


@pytest.mark.parametrize(
    ("exact", "computed", "log2"),
    [
        (INF, INF, -INF),
        (-INF, -INF, -INF),
        (math.nan, math.nan, -INF),
        (0.0, 0.0, -INF),
        (INF, -INF, INF),
        (INF, 1.0, INF),
        (1.0, -INF, INF),
        (0.0, INF, INF),
        (0.0, 0.25, -2.0),
        (0.25, 0.0, -2.0),
        (1.0, math.nan, None),
        (INF, math.nan, None),
        (math.nan, 1.0, None),
    ],
)
def test_errors_of_what_is_no_number(exact: float, computed: float, log2: float | None) -> None:
    elements = ReferenceArray.from_float64([exact])
    found = elements.error_log2(np.array([computed])).item()
    assert math.isnan(found) if log2 is None else found == log2
    ulps = elements.difference_ulp(np.array([computed]), FLOAT64).item()
    if log2 is None:
        assert math.isnan(ulps)
    elif abs(log2) == INF:
        assert ulps == (0.0 if log2 < 0 else INF)


def test_an_undecided_element_has_no_error() -> None:
    elements = ReferenceArray.from_balls([arb(0, 1).log()], (1,))
    assert elements.kind.tolist() == [UNDECIDED]
    assert math.isnan(elements.error_log2(np.array([1.0])).item())
    assert math.isnan(elements.to_float64().item())
    assert Reference({"y": elements}).undecided == 1


@pytest.mark.parametrize(
    ("hi", "lo", "exponent", "floor"),
    [(1.0, 0.0, 0, 0), (1.0, -(2.0**-60), 0, -1), (-1.0, 2.0**-60, 5, 4), (1.0, 2.0**-60, 0, 0)],
)
def test_ulp_takes_the_binade_of_the_whole_value(hi: float, lo: float, exponent: int, floor: int) -> None:
    element = of_pair(hi, lo, exponent)
    assert element.magnitude_exponent().item() == floor
    assert element.ulp_exponent(FLOAT32).item() == floor - 23


def test_ulps_stop_at_the_smallest_exponent() -> None:
    tiny = of_pair(1.5, 0.0, -400)
    assert tiny.ulp_exponent(FLOAT32).item() == -149
    assert ReferenceArray.from_float64([0.0]).ulp_exponent(FLOAT32).item() == -149
    assert tiny.difference_ulp(np.array([2.0**-149]), FLOAT32).item() == 1.0  # 1.5·2⁻⁴⁰⁰ is lost beside it


def test_signed_ulps_and_their_logarithm() -> None:
    third = ReferenceArray.from_fractions([Fraction(1, 3)] * 2, (2,))
    nearest = float(round_exact(FLOAT32, Fraction(1, 3)))
    computed = np.array([nearest, np.nextafter(np.float32(nearest), np.float32(0)).item()])
    wanted = [float((Fraction(c) - Fraction(1, 3)) * 2**25) for c in computed.tolist()]  # ulp(1/3) = 2⁻²⁵
    assert third.difference_ulp(computed, FLOAT32) == pytest.approx(wanted, rel=1e-15)
    assert wanted[0] > 0 > wanted[1]
    logs = third.error_ulp_log2(computed, FLOAT32)
    assert logs == pytest.approx(np.log2(np.abs(wanted)), rel=1e-14)


def test_ulps_beyond_float64_are_infinite_but_keep_a_logarithm() -> None:
    zero_like = of_pair(1.0, 0.0, -5000)
    assert zero_like.difference_ulp(np.array([1.0]), FLOAT64).item() == INF
    assert zero_like.error_ulp_log2(np.array([1.0]), FLOAT64).item() == 1074


def test_radius_in_ulps() -> None:
    with ctx.workprec(60):
        element = ReferenceArray.from_balls([arb(2).sqrt()], (1,))
    assert 0 < element.radius_ulp(FLOAT32).item() < 2.0**-34  # 60 bits against 24
    assert ReferenceArray.from_float64([1.0]).radius_ulp(FLOAT32).item() == 0


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="radius_log2 is float64"):
        ReferenceArray(np.zeros(2, np.uint8), np.ones(2), np.zeros(2), np.zeros(2, np.int64), np.zeros(3))
    with pytest.raises(ValueError, match="3 balls for 2 elements"):
        ReferenceArray.from_balls([arb(1)] * 3, (2,))
    with pytest.raises(ValueError, match="needs a value"):
        ReferenceArray.from_kinds([FINITE])
    with pytest.raises(ValueError, match=r"computed has shape \(3,\)"):
        ReferenceArray.from_float64([1.0, 2.0]).difference(np.zeros(3))
