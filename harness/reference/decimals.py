"""Certified values in decimal: the digits that every number in an enclosure shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Final

from harness.reference.splitting import ElementClass

MOST_DIGITS: Final = 32
"""What hi + lo holds: 106 bits."""


@dataclass(frozen=True, slots=True)
class CertifiedValue:
    """One exact element in words."""

    kind: str
    value: str
    """Its certified digits; `inf`, `-inf`, `nan`, `0` or `undecided` where there are none."""
    digits: int
    """How many significant digits are certified; 0 where none is, or the value is no number."""
    radius_log2: float
    """log2 of the radius of the enclosure; −inf where hi + lo is the value."""
    hi: str
    """hi · 2**exponent in hexadecimal, exactly."""
    lo: str


def certified_value(kind: int, hi: float, lo: float, exponent: int, radius_log2: float) -> CertifiedValue:
    """Return one element of a reference array, of which these are the fields.

    The digits are those that the lower and the upper end of the enclosure both round to.
    """
    name = ElementClass(kind).name.lower()
    if kind != ElementClass.FINITE:
        words = {"pos_inf": "inf", "neg_inf": "-inf", "zero": "-0" if math.copysign(1, hi) < 0 else "0"}
        return CertifiedValue(name, words.get(name, name), 0, -math.inf, "", "")
    value = (Fraction(hi) + Fraction(lo)) * Fraction(2) ** exponent
    radius = _upper_power(radius_log2)
    text, digits = _shared_digits(value, radius)
    hexadecimal = (_hexadecimal(part, exponent) for part in (hi, lo))
    return CertifiedValue(name, text, digits, radius_log2, *hexadecimal)


def _upper_power(log2: float) -> Fraction:
    """Return a rational just above 2**log2; 0 for −inf."""
    if log2 == -math.inf:
        return Fraction(0)
    whole = math.floor(log2)
    return Fraction(2.0 ** (log2 - whole) * (1 + 2**-30)) * Fraction(2) ** whole


def _shared_digits(value: Fraction, radius: Fraction) -> tuple[str, int]:
    if radius == 0:
        exact = _rounded(value, MOST_DIGITS)
        return str(exact), len(exact.as_tuple().digits)
    for digits in range(MOST_DIGITS, 0, -1):
        low, high = (_rounded(end, digits) for end in (value - radius, value + radius))
        if low == high and low != 0:
            last_place = Decimal((0, (1,), low.adjusted() - digits + 1))  # zeros at the end are certified too
            return str(low.quantize(last_place, context=_context(digits + 1))), digits
    return f"{_rounded(value, 2)}", 0


def _rounded(value: Fraction, digits: int) -> Decimal:
    return _context(digits).divide(Decimal(value.numerator), Decimal(value.denominator))


def _context(digits: int) -> Context:
    return Context(prec=digits, rounding=ROUND_HALF_EVEN, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _hexadecimal(significand: float, exponent: int) -> str:
    """Return significand · 2**exponent as `float.hex` writes it, beyond the range of a float too."""
    if significand == 0:
        return "0x0.0p+0"
    digits, _, own = significand.hex().partition("p")
    return f"{digits}p{int(own) + exponent:+d}"
