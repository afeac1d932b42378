"""Arguments that try a function of one variable: `function_arguments`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.formats import NumberFormat, decode, encode, is_finite, round_objects
from harness.formats.units import unit
from harness.model import AxisReference
from harness.registry import RECIPES, Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WIDEST = 16  # bits of a format whose numbers can be listed
_BESIDE: Final = (-2, -1, 0, 1, 2)
"""Numbers of the format that are taken beside a point."""
_MOST = 1 << 20
_COUNT: Final = 2000


def _function_arguments(
    context: RecipeContext,
    which: str,
    count: int,
    low: Fraction | None,
    high: Fraction | None,
    sign: str,
    near: tuple[Any, ...],
    units: tuple[str, ...],
    half_pi: bool,
) -> NDArray[np.float64]:
    import numpy as np

    if not 1 <= count <= _MOST:
        raise InputError(f"count is {count}; from 1 to {_MOST:,} are allowed")
    fmt = context.format
    if which == "edges":
        edges: NDArray[np.float64] = RECIPES["edge_values"].make(context, which="all")
        points = [x for x in near if is_finite(x)] + [unit(fmt, name) for name in units]
        multiples = half_pi_multiples(fmt) if half_pi else []
        return np.concatenate([_beside(fmt, points), multiples, np.negative(multiples), edges])
    if which == "every" and fmt.bits <= _WIDEST:
        every: NDArray[np.float64] = RECIPES["all_values"].make(context, which="all")
        return every
    ends = {
        "low": None if low is None else max(low, fmt.min_subnormal),
        "high": None if high is None else min(high, fmt.max_finite),
    }
    drawn: NDArray[np.float64] = RECIPES["exponent_uniform"].make(context, **ends, sign=sign, shape=(count,))
    return drawn


def _elements(arguments: Mapping[str, Any]) -> int | None:
    """Return how many numbers are drawn; of a format's own numbers nothing is known here."""
    count = arguments.get("count", _COUNT)
    return int(count) if arguments["which"] == "random" and not isinstance(count, AxisReference) else None


def _beside(fmt: NumberFormat, points: list[Any]) -> NDArray[np.float64]:
    """Return the number of the format nearest to each point, and two on each side, as far as it has them."""
    import numpy as np

    exact = np.array([Fraction(x) for x in points if abs(Fraction(x)) <= fmt.max_finite], object)
    if not exact.size:
        return np.empty(0)
    nearest = round_objects(fmt, exact)
    codes = encode(fmt, np.abs(nearest)).astype(np.int64)[:, None] + np.array(_BESIDE)
    inside = (codes >= 0) & (codes <= fmt.max_code)
    signs = np.broadcast_to(np.where(nearest < 0, -1.0, 1.0)[:, None], codes.shape)
    magnitudes = decode(fmt, codes[inside].astype(f"<u{fmt.storage_bits // 8}"))
    return np.asarray(magnitudes * signs[inside])


def half_pi_multiples(fmt: NumberFormat) -> list[float]:
    """Return, of each binade from 1 on, a number of the format that lies very near to a multiple of π/2.

    The reduction of an argument cancels most there. m·2^e is near k·π/2 where k/m is near 2^(e+1)/π, so that
    m is a denominator of a convergent of that number's continued fraction (Kahan, Minimizing q·m − n, 1983;
    Muller, Elementary Functions, 3rd ed. 2016, section 11.3), or a multiple of one where it has fewer bits
    than the format.
    """
    p = fmt.precision
    return [_near_half_pi(e - p + 1, p) for e in range(fmt.exponent_max + 1)]


def _near_half_pi(exponent: int, precision: int) -> float:
    """Return m·2^exponent near a multiple of π/2, m of `precision` bits."""
    bits = 4 * precision + 64  # what is left of 2/π beyond the point: far more than two denominators need
    whole = 1 << bits
    remainder = _scaled_two_by_pi(bits + exponent) & (whole - 1)
    last, denominator = 0, 1
    numerator, divisor = whole, remainder
    while divisor:
        quotient, rest = divmod(numerator, divisor)
        following = quotient * denominator + last
        if following >> precision:
            break
        last, denominator = denominator, following
        numerator, divisor = divisor, rest
    m = denominator * -(-(1 << (precision - 1)) // denominator)
    if m >> precision:
        m -= denominator
    return math.ldexp(m, exponent)


@cache
def _scaled_two_by_pi(shift: int) -> int:
    """Return ⌊2^shift · 2/π⌋, the last bits aside: Machin's formula in integers, with 64 bits to spare."""
    bits = max(shift, 0) + 64
    one = 1 << bits

    def arctangent_of_inverse(n: int) -> int:
        power, total, k = one // n, 0, 0
        while power:
            term = power // (2 * k + 1)
            total += -term if k % 2 else term
            power //= n * n
            k += 1
        return total

    pi = 4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))
    return (2 << (bits + shift)) // pi


register_recipe(
    Recipe(
        name="function_arguments",
        title="Arguments of a function of one variable: edges, points where it changes, numbers of all sizes",
        arguments={
            "which": Argument(
                "text",
                "edges: those of the format, ±inf, NaN and what lies beside `near`, `units` and multiples of "
                "π/2; random: sizes of all exponents from `low` to `high`; every: all numbers of a format of "
                "16 bits, of a wider one random ones",
                choices=("edges", "random", "every"),
            ),
            "count": Argument("integer", "how many are drawn at random", _COUNT, required=False),
            "low": Argument(
                "number", "least size drawn; left out, or less: the format's", None, required=False
            ),
            "high": Argument(
                "number", "greatest size drawn; left out, or more: the format's", None, required=False
            ),
            "sign": Argument(
                "text", "signs drawn", "both", required=False, choices=("both", "positive", "negative")
            ),
            "near": Argument(
                "numbers",
                "points whose five nearest numbers are edges; those beyond the format are left out",
                (),
                required=False,
            ),
            "units": Argument("texts", "units of the format that are such points", (), required=False),
            "half_pi": Argument(
                "flag",
                "whether edges include, of each binade, a number very near to a multiple of π/2",
                False,
                required=False,
            ),
        },
        make=_function_arguments,
        elements=_elements,
    )
)
