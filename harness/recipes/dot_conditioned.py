"""Ill-conditioned sums and dot products on the format's own grid: `dot_conditioned`.

After algorithm 6.1 (GenDot) of Ogita, Rump and Oishi, SIAM J. Sci. Comput. 26, 2005: half of the
elements are random over a range of exponents, the others are each chosen to leave a smaller and
smaller exact sum. Here every element is rounded to the format, and the sum so far is exact.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.formats import NumberFormat, floor_log2, power_of_two, round_to_float
from harness.recipes.arguments import at_least, shape_elements
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CANCELLING = 512  # most elements that are chosen one by one
_TOLERANCE = 4  # factor between the condition asked for and that of the elements made


def _dot_conditioned(
    context: RecipeContext, condition: Fraction, shape: tuple[int, ...], partner: str | None
) -> NDArray[np.float64]:
    """Return x with Σ|xᵢyᵢ| / |Σxᵢyᵢ| within a factor 4 of `condition`; y is `partner`, or ones."""
    import numpy as np

    fmt = context.format
    at_least("condition", condition, 1)
    if not fmt.signed or not fmt.zero:
        raise InputError(f"{fmt.name} does not hold the negative numbers of a sum that cancels")
    count = math.prod(shape)
    other = np.ones(count) if partner is None else _partner(context, partner, shape)
    order = context.stream.permutation(count)
    significand = 1 + context.stream.uniform(count)
    sign = context.stream.signs(count)
    place = context.stream.uniform(count)
    bits = floor_log2(condition) + 1
    made = np.zeros(count)
    top = min(fmt.exponent_max - count.bit_length() - 2, bits // 2)
    cancelling = min(count // 2, _CANCELLING)
    free = order[: count - cancelling]
    exponent = top - np.floor(place * (bits + 1))
    exponent[free[0]] = top
    total, absolute = Fraction(0), Fraction(0)
    for i in free.tolist():
        wanted = sign[i] * math.ldexp(significand[i], int(exponent[i]))
        made[i] = _rounded(fmt, Fraction(wanted) / Fraction(other[i]))
        total += Fraction(made[i]) * Fraction(other[i])
        absolute += abs(Fraction(made[i]) * Fraction(other[i]))
    for k, i in enumerate(order[count - cancelling :].tolist()):
        step = Fraction(k + 1, cancelling)
        left = absolute / condition if step == 1 else power_of_two(top - math.floor(bits * step))
        made[i] = _rounded(fmt, (left * int(sign[i]) - total) / Fraction(other[i]))
        total += Fraction(made[i]) * Fraction(other[i])
        absolute += abs(Fraction(made[i]) * Fraction(other[i]))
    if total == 0 or not condition / _TOLERANCE <= absolute / abs(total) <= condition * _TOLERANCE:
        raise InputError(
            f"no {count} elements with a sum of condition {float(condition):.3g} were found in {fmt.name}",
            "lower the condition, or raise the number of elements",
        )
    return made.reshape(shape)


def _partner(context: RecipeContext, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    import numpy as np

    partner = context.others[name]
    if partner.shape != shape or not np.isfinite(partner).all() or (partner == 0).any():
        raise InputError(
            f"{name!r} has shape {list(partner.shape)}, or holds zeros or infinities",
            f"a partner has shape {list(shape)} and numbers other than 0",
        )
    return partner.reshape(-1)


def _rounded(fmt: NumberFormat, x: Fraction) -> float:
    rounded = round_to_float(fmt, x)
    if not math.isfinite(rounded):
        raise InputError(f"{fmt.name} overflows before the condition is reached", "lower the condition")
    return rounded


register_recipe(
    Recipe(
        name="dot_conditioned",
        title="Numbers whose sum, or dot product with an earlier input, has a given condition number",
        arguments={
            "condition": Argument("number", "Σ|xᵢyᵢ| / |Σxᵢyᵢ|, at least 1"),
            "shape": Argument("shape", "extents of the array"),
            "partner": Argument(
                "input", "the input y, listed before; left out: ones, and a sum", None, required=False
            ),
        },
        make=_dot_conditioned,
        elements=shape_elements,
    )
)
