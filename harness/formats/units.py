"""Units of a format that axes count in: its limits, and their logarithms and square roots.

Everything here is exact integer and decimal arithmetic, for the process that plans has no NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from functools import cache
from typing import Literal

from harness.errors import InputError, did_you_mean
from harness.formats.rounding import floor_log2, round_to_grid
from harness.formats.rows import DType, NumberFormat, power_of_two

_WIDE = Context(prec=100, Emax=MAX_EMAX, Emin=MIN_EMIN)  # 332 bits, for results good to 200
_ROOT_BITS = 320
_RANGE = 8192  # log2 of the largest magnitude an axis value may have; float64 ends at 1024

_UNITS: dict[str, Callable[[NumberFormat], Fraction]] = {
    "max": lambda f: f.max_finite,
    "min_normal": lambda f: f.min_normal,
    "min_subnormal": lambda f: f.min_subnormal,
    "unit_roundoff": lambda f: f.unit_roundoff,
    "ln_max": lambda f: _ln(f.max_finite),
    "ln_min_subnormal": lambda f: _ln(f.min_subnormal),
    "sqrt_max": lambda f: _sqrt(f.max_finite),
    "sqrt_min_subnormal": lambda f: _sqrt(f.min_subnormal),
}

UNITS: tuple[str, ...] = tuple(_UNITS)
"""Names of the units."""


def unit(dtype: DType | NumberFormat, name: str) -> Fraction:
    """Return a unit of a format: exact, or within 2^−200 relative of an irrational one.

    Raises
    ------
    InputError
        If there is no such unit.
    """
    if name not in _UNITS:
        raise InputError(f"unknown unit {name!r}", did_you_mean(name, UNITS))
    return _unit(dtype.storage if isinstance(dtype, DType) else dtype, name)


def unit_value(
    dtype: DType | NumberFormat, name: str, kind: Literal["times", "powers"], number: Decimal | int
) -> Fraction:
    """Return the value of an axis that is written in a unit.

    `times`: number · unit on the format's grid, away from zero where |number| > 1 and toward zero
    elsewhere, so that the value stays on the side of the unit that was written; the grid goes on
    beyond the largest number. `powers`: unit ** number, to 53 bits, nearest.

    Raises
    ------
    InputError
        If the unit is unknown, the number not finite, the result of a magnitude beyond 2^±8192, or a
        power of a negative unit not an integer.
    """
    fmt = dtype.storage if isinstance(dtype, DType) else dtype
    base = unit(fmt, name)
    if isinstance(number, Decimal) and not number.is_finite():
        raise InputError(f"{number} {kind} {name} is not a number", "write a finite number")
    if number != 0 and abs(Decimal(number).adjusted()) > _RANGE:
        raise InputError(f"{number} {kind} {name} is out of range", f"stay within 2^±{_RANGE}")
    if kind == "powers":
        return _power(name, base, Fraction(number))
    times = Fraction(number)
    return round_to_grid(fmt, times * base, "away" if abs(times) > 1 else "toward_zero")


@cache
def _unit(fmt: NumberFormat, name: str) -> Fraction:
    return _UNITS[name](fmt)


def _power(name: str, base: Fraction, power: Fraction) -> Fraction:
    if base < 0 and power.denominator != 1:
        raise InputError(f"{name} is negative and has no power {float(power)}", "write an integer")
    if abs(power * floor_log2(abs(base))) > _RANGE or abs(power) > _RANGE:
        raise InputError(f"{name} to the power {float(power)} is out of range", f"stay within 2^±{_RANGE}")
    if power.denominator == 1:
        exact = base ** int(power)
    else:
        logarithm = _WIDE.multiply(_WIDE.ln(_decimal(base)), _decimal(power))
        exact = Fraction(_WIDE.exp(logarithm))
    unbounded = NumberFormat("", 64, 53, -(10**6))
    return round_to_grid(unbounded, exact, "nearest")


def _decimal(x: Fraction) -> Decimal:
    return _WIDE.divide(Decimal(x.numerator), Decimal(x.denominator))


def _ln(x: Fraction) -> Fraction:
    return Fraction(_WIDE.ln(_decimal(x)))


def _sqrt(x: Fraction) -> Fraction:
    """Return √x, exactly where it is rational with a power of two below."""
    shift = max(0, 2 * _ROOT_BITS - 2 * (floor_log2(x) // 2))
    scaled = x * power_of_two(shift + shift % 2)
    return math.isqrt(scaled.numerator // scaled.denominator) * power_of_two(-(shift + shift % 2) // 2)
