"""The worst element of a result, computed and exact, in decimal and in hexadecimal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from harness.report.view.rows import Row, number_of, text_of
from harness.report.view.text import MISSING, significant

if TYPE_CHECKING:
    from harness.formats import NumberFormat

CUT: Final = "…"
"""Stands where further digits follow."""
BEYOND: Final = 2
"""Hexadecimal digits of an exact value beyond those of its format: 8 bits."""
_SPARE: Final = 4
"""Decimal digits kept beyond those that the hexadecimal digits need, so that cutting them changes none."""
_BITS_A_DIGIT: Final = math.log2(10)
_MOST_ORDERS: Final = 5000
"""Orders of magnitude of which a number is spelt in hexadecimal too: far more than any format has."""
_WORDS: Final = {"nan": "not a number", "inf": "∞", "-inf": "-∞"}


@dataclass(frozen=True, slots=True)
class Spelling:
    """One number in decimal and in hexadecimal; the latter is empty for what is no number."""

    decimal: str
    hexadecimal: str


@dataclass(frozen=True, slots=True)
class WorstElement:
    """Where a result is worst, what was computed there, and what is exact."""

    place: str
    error: str
    """Its error in ulps where it is the largest of all; may be empty."""
    computed: Spelling
    exact: Spelling


def worst_element(row: Row) -> WorstElement | None:
    """Return the worst element of a row; None where the run did not store it."""
    index, computed, exact = (_word(row, f"worst_{part}") for part in ("index", "computed", "exact"))
    if not index or not (computed or exact):
        return None
    fmt = format_of(text_of(row, "dtype"))
    ulp = number_of(row, "max_ulp")
    return WorstElement(
        f"{text_of(row, 'output') or 'output'}[{index}]",
        "" if ulp is None else f"largest error {significant(ulp)} ulp",
        spelled(computed, fmt),
        spelled(shortened_exact(exact, fmt), fmt, BEYOND),
    )


def _word(row: Row, column: str) -> str:
    """Return a column of elements as text; `nan` is a value here, not a missing one."""
    value = row.get(column)
    return "" if value is None else str(value)


def format_of(dtype: str) -> NumberFormat | None:
    """Return the format that a dtype stores; None for a dtype unknown here."""
    from harness.formats import DTYPES

    known = DTYPES.get(dtype)
    return None if known is None else known.storage


def spelled(text: str, fmt: NumberFormat | None, beyond: int = 0) -> Spelling:
    """Return a decimal text as it is, and in hexadecimal to `beyond` digits more than its format has."""
    if text in _WORDS or not text:
        return Spelling(_WORDS.get(text, MISSING), "")
    return Spelling(text, "" if fmt is None else hexadecimal(text, fmt, beyond))


def shortened_exact(text: str, fmt: NumberFormat | None) -> str:
    """Return an exact value to a few digits more than its format tells apart; what was cut is marked."""
    value = _decimal(text)
    if value is None:
        return text
    kept = 40 if fmt is None else math.ceil((fmt.precision + 4 * BEYOND) / _BITS_A_DIGIT) + _SPARE
    rounded = Context(prec=kept, Emax=MAX_EMAX, Emin=MIN_EMIN).plus(value)
    return _lower(rounded) + (CUT if rounded != value else "")


def hexadecimal(text: str, fmt: NumberFormat, beyond: int = 0) -> str:
    """Return a decimal number as `float.hex` would write it in its format.

    What was computed (`beyond` = 0) is the binary number whose shortest decimal text this is.

    Below the smallest normal number the exponent stays and the leading digit is 0, as the format has
    it. An exact value (`beyond` > 0) shows no digit that its decimal digits do not tell.

    Parameters
    ----------
    text
        A decimal number, perhaps cut off (`…`); anything else gives an empty text.
    fmt
        The format, which fixes the number of digits.
    beyond
        Digits more than the format has.
    """
    value = _decimal(text.removesuffix(CUT))
    if value is None or abs(value.adjusted()) > _MOST_ORDERS:
        return ""
    if not beyond:
        value = Decimal(float(text))
    sign = "-" if value.is_signed() else ""
    if value == 0:
        return f"{sign}0x0.0p+0"
    digits, magnitude = -(-fmt.mantissa_bits // 4) + beyond, abs(Fraction(value))
    shown, rest = _digits(magnitude, fmt, digits)
    if rest and beyond:
        told = int((len(value.as_tuple().digits) - 1) * _BITS_A_DIGIT) // 4
        shown, rest = _digits(magnitude, fmt, max(1, min(digits, told)))
    mantissa, exponent = shown
    return f"{sign}0x{mantissa}{CUT if rest or text.endswith(CUT) else ''}p{exponent:+d}"


def _digits(value: Fraction, fmt: NumberFormat, digits: int) -> tuple[tuple[str, int], bool]:
    from harness.formats import floor_log2

    exponent = floor_log2(value)
    if exponent < fmt.exponent_min <= exponent + 4 * digits:
        exponent = fmt.exponent_min
    scaled = value * Fraction(2) ** (4 * digits - exponent)
    whole, rest = divmod(scaled.numerator, scaled.denominator)
    lead, fraction = divmod(whole, 16**digits)
    return (f"{lead}.{fraction:0{digits}x}" if digits else f"{lead}", exponent), rest != 0


def _decimal(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _lower(value: Decimal) -> str:
    return str(value).lower()
