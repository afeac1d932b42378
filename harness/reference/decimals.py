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

_PLAIN: Final = 1 << 14
"""Binary exponents up to this are rational numbers of a few kilobytes; exp(10³⁰) is not."""
_FACTOR_DIGITS: Final = 60
"""To which 2**exponent / 10**k is computed beyond; its error is at most 10**(3 − _FACTOR_DIGITS)."""


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
    significand = Fraction(hi) + Fraction(lo)
    if abs(exponent) <= _PLAIN and (radius_log2 == -math.inf or abs(radius_log2) <= _PLAIN):
        text, digits = _shared_digits(significand * Fraction(2) ** exponent, _upper_power(radius_log2))
    else:
        text, digits = _far_digits(significand, exponent, radius_log2)
    hexadecimal = (_hexadecimal(part, exponent) for part in (hi, lo))
    return CertifiedValue(name, text, digits, radius_log2, *hexadecimal)


def _far_digits(significand: Fraction, exponent: int, radius_log2: float) -> tuple[str, int]:
    """Return the digits of significand · 2**exponent ± 2**radius_log2 without the integer 2**|exponent|.

    The number is scaled by a power of ten to one of ordinary size, whose digits it shares. Of its radius
    what matters is whether any digit is left; one beyond 2**±_PLAIN of the number is as good as there.
    """
    whole, factor = _decimal_power(exponent)
    relative = radius_log2 - exponent  # of a significand in [1, 2), or 0
    radius = factor * _upper_power(min(max(relative, -_PLAIN), _PLAIN))
    value = significand * factor
    text, digits = _shared_digits(value, radius + 2 * Fraction(10) ** (4 - _FACTOR_DIGITS))
    near = Decimal(text)
    first, *rest = map(str, near.as_tuple().digits)
    sign = "-" if near.is_signed() else ""
    return f"{sign}{first}{'.' if rest else ''}{''.join(rest)}E{near.adjusted() + whole:+d}", digits


def _decimal_power(exponent: int) -> tuple[int, Fraction]:
    """Return (k, f) with 2**exponent = f·10**k, f in [1, 10) to a relative 10**(3 − _FACTOR_DIGITS).

    log₁₀2 is taken to as many digits beyond the exponent's own.
    """
    context = Context(prec=_FACTOR_DIGITS + len(str(abs(exponent))) + 5)
    logarithm = context.multiply(Decimal(exponent), context.log10(Decimal(2)))
    whole = math.floor(logarithm)
    return whole, Fraction(context.power(Decimal(10), context.subtract(logarithm, Decimal(whole))))


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
