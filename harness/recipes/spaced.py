"""Evenly spaced numbers: `linspace` by difference, `logspace` by ratio."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.recipes.arguments import shape_elements, to_float
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIGITS = Context(prec=60, Emax=10**9, Emin=-(10**9))  # 2^24 products lose 8 of them; float64 needs 17


def _linspace(
    context: RecipeContext, low: Fraction, high: Fraction, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return low·((N−1−i)/(N−1)) + high·(i/(N−1)) in float64: both ends exact, and no overflow between."""
    import numpy as np

    a, b = to_float("low", low), to_float("high", high)
    count = math.prod(shape)
    if count == 1:
        return np.full(shape, a)
    i = np.arange(count, dtype=np.float64)
    last = float(count - 1)
    return (a * ((last - i) / last) + b * (i / last)).reshape(shape)


def _logspace(
    context: RecipeContext, low: Fraction, high: Fraction, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return low·(high/low)^(i/(N−1)) to 50 digits, rounded to float64; both ends exact."""
    import numpy as np

    if low * high <= 0:
        raise InputError(f"low is {float(low)!r} and high {float(high)!r}", "both of one sign are allowed")
    to_float("low", low), to_float("high", high)
    count = math.prod(shape)
    step = Decimal(1)
    if count > 1:
        step = _DIGITS.exp(_DIGITS.divide(_DIGITS.ln(_decimal(high / low)), Decimal(count - 1)))
    made = np.empty(count)
    value = _decimal(low)
    for i in range(count):
        made[i] = float(value)
        value = _DIGITS.multiply(value, step)
    made[0], made[-1] = float(low), float(high if count > 1 else low)
    return made.reshape(shape)


def _decimal(x: Fraction) -> Decimal:
    return _DIGITS.divide(Decimal(x.numerator), Decimal(x.denominator))


for _name, _title, _make in (
    ("linspace", "Numbers of equal difference, from low to high", _linspace),
    ("logspace", "Numbers of equal ratio, from low to high", _logspace),
):
    register_recipe(
        Recipe(
            name=_name,
            title=_title,
            arguments={
                "low": Argument("number", "the first number"),
                "high": Argument("number", "the last number"),
                "shape": Argument("shape", "extents of the array, filled in C order"),
            },
            make=_make,
            elements=shape_elements,
        )
    )
