"""Certified digits in decimal, against values known by other means."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from harness.reference.decimals import MOST_DIGITS, certified_value
from harness.reference.splitting import ElementClass

FINITE = int(ElementClass.FINITE)


def split(value: Fraction) -> tuple[float, float, int]:
    """Return hi, lo, exponent of a positive rational."""
    exponent = 0
    while value >= 2:
        value, exponent = value / 2, exponent + 1
    while value < 1:
        value, exponent = value * 2, exponent - 1
    hi = float(value)
    return hi, float(value - Fraction(hi)), exponent


def test_digits_are_those_of_the_number() -> None:
    # π to 50 digits: OEIS A000796.
    pi = Fraction("3.14159265358979323846264338327950288419716939937510")
    found = certified_value(FINITE, *split(pi), -100.0)
    assert found.value == "3.14159265358979323846264338328"  # 2^-100 is 8e-31: 30 digits
    assert found.digits == 30
    assert found.hi == math.pi.hex()
    assert found.lo == "0x1.1a62633145c07p-53"  # the low part of π, as in fdlibm's pi_lo
    assert found.radius_log2 == -100.0


@pytest.mark.parametrize("radius", [-10.0, -20.5, -40.0, -63.25, -90.0])
@pytest.mark.parametrize("value", [Fraction(1, 3), Fraction(2, 3), Fraction(9999999, 10**7), Fraction(5, 2)])
def test_every_number_in_the_ball_rounds_to_the_digits(value: Fraction, radius: float) -> None:
    hi, lo, exponent = split(value)
    found = certified_value(FINITE, hi, lo, exponent, radius)
    centre = (Fraction(hi) + Fraction(lo)) * Fraction(2) ** exponent
    shown = Fraction(found.value)
    half_unit = Fraction(10) ** (math.floor(math.log10(shown)) - found.digits + 1) / 2
    for end in (centre - Fraction(2.0**radius), centre + Fraction(2.0**radius)):
        assert abs(end - shown) <= half_unit
    assert len(found.value.replace(".", "").lstrip("0")) == found.digits


def test_exact_elements_show_all_their_digits() -> None:
    found = certified_value(FINITE, 1.25, 0.0, -3, -math.inf)
    assert (found.value, found.digits, found.hi, found.lo) == (
        "0.15625", 5, "0x1.4000000000000p-3", "0x0.0p+0",
    )  # fmt: skip
    third = certified_value(FINITE, *split(Fraction(1, 3)), -math.inf)
    assert third.digits == MOST_DIGITS


def test_values_beyond_float64() -> None:
    found = certified_value(FINITE, 1.5, 0.0, 5000, 4900.0)
    assert found.hi == "0x1.8000000000000p+5000"
    assert found.value.endswith("E+1505")  # 1.5 · 2^5000 = 2.1187…e1505
    exact = Fraction(3, 2) * 2**5000
    assert abs(Fraction(found.value) / exact - 1) < Fraction(5, 10**29)  # half of the 29th digit
    assert certified_value(FINITE, 1.0, 0.0, -3000, -3040.0).hi == "0x1.0000000000000p-3000"


def test_a_ball_that_holds_zero_has_no_digits() -> None:
    found = certified_value(FINITE, 1.0, 0.0, 0, 1.0)
    assert (found.digits, found.value) == (0, "1")


@pytest.mark.parametrize(
    ("kind", "hi", "value"),
    [
        (ElementClass.POS_INF, 0.0, "inf"),
        (ElementClass.NEG_INF, 0.0, "-inf"),
        (ElementClass.NAN, 0.0, "nan"),
        (ElementClass.ZERO, 0.0, "0"),
        (ElementClass.ZERO, -0.0, "-0"),
        (ElementClass.UNDECIDED, 0.0, "undecided"),
    ],
)
def test_what_is_no_number_is_a_word(kind: ElementClass, hi: float, value: str) -> None:
    found = certified_value(int(kind), hi, 0.0, 0, -math.inf)
    assert (found.value, found.digits, found.hi) == (value, 0, "")


@pytest.mark.parametrize("exponent", [16_385, -16_385, 50_000, -120_001])
def test_digits_far_from_one_are_those_of_the_rational_number(exponent: int) -> None:
    exact = Fraction(3, 2) * Fraction(2) ** exponent
    found = certified_value(FINITE, 1.5, 0.0, exponent, exponent - 100.0)
    low, high = (Fraction(Decimal(found.value)) * (1 + s * Fraction(1, 10**28)) for s in (-1, 1))
    assert found.digits >= 28  # 100 bits are 30.1 digits
    assert low < exact < high


@pytest.mark.parametrize("exponent", [10**12, -(10**12), 9 * 10**17])
def test_digits_of_what_no_machine_can_write_out(exponent: int) -> None:
    """3/2·2^e has a decimal exponent of ⌊e·log₁₀2 + log₁₀1.5⌋; 40 digits of log₁₀2 tell it."""
    log10_2 = Fraction("0.3010299956639811952137388947244930267681")
    found = certified_value(FINITE, 1.5, 0.0, exponent, -math.inf)
    digits, power = found.value.split("E")
    orders = exponent * log10_2
    assert int(power) == math.floor(orders + Fraction(math.log10(1.5)))
    assert float(digits) == pytest.approx(1.5 * 10 ** float(orders - int(power)), rel=1e-12)


def test_a_radius_far_below_one_is_no_matter() -> None:
    found = certified_value(FINITE, 0.0, 0.0, 0, -1e30)
    assert (found.digits, Decimal(found.value)) == (0, 0)
