"""The worst element of a row in decimal and hexadecimal."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.formats import DTYPES, FORMATS
from harness.report.view.element import (
    BEYOND,
    Spelling,
    hexadecimal,
    shortened_exact,
    spelled,
    worst_element,
)

DOUBLE, SINGLE, HALF = (FORMATS[name] for name in ("float64", "float32", "float16"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_spelled_as_python_spells_it(value: float) -> None:
    assert hexadecimal(repr(value), DOUBLE) == value.hex()


@pytest.mark.parametrize(
    ("text", "fmt", "expected"),
    [
        ("65504.0", "float16", "0x1.ffcp+15"),
        ("5.960464477539063e-08", "float16", "0x0.004p-14"),  # 2⁻²⁴, the smallest subnormal
        ("1.401298464324817e-45", "float32", "0x0.000002p-126"),  # 2⁻¹⁴⁹
        ("-0.0", "float32", "-0x0.0p+0"),
        ("448.0", "float8_e4m3fn", "0x1.cp+8"),
        ("4.0", "float8_e8m0fnu", "0x1p+2"),
        ("nan", "float32", ""),
        ("undecided", "float32", ""),
    ],
)
def test_a_number_has_as_many_digits_as_its_format(text: str, fmt: str, expected: str) -> None:
    assert hexadecimal(text, FORMATS[fmt]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.33333333333333333333333333333333", "0x1.55555555…p-2"),  # 6 digits and 2 beyond
        ("0.5", "0x1.00000000p-1"),
        ("0.3333", "0x1.55…p-2"),  # four digits tell 9 bits for certain
        ("1e-60", "0x1.9…p-200"),  # far below the format: 1.6…·2⁻²⁰⁰
        ("1e300", "0x1.7…p+996"),
    ],
)
def test_an_exact_value_shows_a_few_bits_more_and_none_that_is_not_known(text: str, expected: str) -> None:
    assert hexadecimal(text, SINGLE, beyond=2) == expected


@given(
    st.sampled_from([DOUBLE, SINGLE, HALF]), st.fractions(min_value=Fraction(1, 10**4), max_value=6 * 10**4)
)
def test_the_digits_kept_of_an_exact_value_tell_its_hexadecimal_ones(fmt: object, value: Fraction) -> None:
    from decimal import Context, Decimal

    from harness.formats import NumberFormat

    assert isinstance(fmt, NumberFormat)
    if value == 0:
        return
    full = str(Context(prec=32).divide(Decimal(value.numerator), Decimal(value.denominator)))
    shown = hexadecimal(shortened_exact(full, fmt), fmt, beyond=2)
    mantissa, _, exponent = shown.replace("…", "").partition("p")
    lead, _, digits = mantissa.removeprefix("0x").partition(".")
    told = Fraction(int(lead + digits, 16), 16 ** len(digits)) * Fraction(2) ** int(exponent)
    # Cut after the last digit, so below the value by less than one of it; the decimal digits kept put
    # the value off by at most a hundredth of that.
    last = Fraction(2) ** (int(exponent) - 4 * len(digits))
    assert -last / 100 <= value - told <= last * Fraction(101, 100)


def test_an_exact_value_is_cut_where_its_format_tells_no_more() -> None:
    third = "0.33333333333333333333333333333333"
    assert shortened_exact(third, DOUBLE) == "0.33333333333333333333333…"  # ⌈61·log₁₀2⌉ + 4 = 23
    assert shortened_exact(third, HALF) == "0.3333333333…"
    assert shortened_exact("0.5", HALF) == "0.5"
    assert shortened_exact("-inf", HALF) == "-inf"
    assert shortened_exact("1.25E-8", HALF) == "1.25e-8"
    assert shortened_exact(third, None) == third


def test_what_is_no_number_is_said_in_words() -> None:
    assert spelled("nan", SINGLE) == Spelling("not a number", "")
    assert spelled("-inf", SINGLE) == Spelling("-∞", "")
    assert spelled("", SINGLE) == Spelling("—", "")
    assert spelled("0.5", None) == Spelling("0.5", "")


def test_the_worst_element_of_a_row() -> None:
    row = {
        "output": "p", "dtype": "float32", "worst_index": "1,2", "worst_computed": repr(float(2**-24)),
        "worst_exact": "5.9604644775390625E-8", "max_ulp": 0.0,
    }  # fmt: skip
    worst = worst_element(row)
    assert worst is not None
    assert (worst.place, worst.error) == ("p[1,2]", "largest error 0 ulp")
    assert worst.computed.hexadecimal == "0x1.000000p-24"
    assert worst.exact == Spelling("5.9604644775391e-8…", "0x1.00000000…p-24")


def test_a_value_that_is_nan_is_there_and_a_missing_one_is_not() -> None:
    row = {
        "output": "y",
        "dtype": "float32",
        "worst_index": "0",
        "worst_computed": math.nan,
        "worst_exact": "1",
    }
    worst = worst_element(row)
    assert worst is not None
    assert worst.computed.decimal == "not a number"
    assert worst_element({**row, "worst_computed": None, "worst_exact": None}) is None
    assert worst_element({**row, "worst_index": None}) is None


def test_every_dtype_has_a_spelling() -> None:
    for dtype in DTYPES.values():
        assert hexadecimal("1.0", dtype.storage).startswith("0x1")


def test_a_number_beyond_all_formats_is_spelled_in_decimal_alone() -> None:
    """exp(−10³⁰) as a rational number would fill any memory."""
    fmt = FORMATS["float32"]
    for text in ("1.5E-434294481903251827651128918917", "2.5E+99999999999999"):
        assert hexadecimal(text, fmt, BEYOND) == ""
        shortened_exact(text, fmt)
    assert hexadecimal("1.5E-4000", fmt, BEYOND).startswith("0x1.")
