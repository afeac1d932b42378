"""Random numbers: `uniform`, `normal`, and `exponent_uniform` over many binades."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.recipes.arguments import at_least, shape_elements, to_float
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _uniform(
    context: RecipeContext, low: Fraction, high: Fraction, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return low·(1 − t) + high·t for t uniform in [0, 1), in float64."""
    import numpy as np

    a, b = to_float("low", low), to_float("high", high)
    if a > b:
        raise InputError(f"low is {a!r}, above high, {b!r}", "exchange them")
    t = context.stream.uniform(math.prod(shape))
    made: NDArray[np.float64] = np.clip(a * (1 - t) + b * t, a, b)
    return made.reshape(shape)


def _normal(
    context: RecipeContext, mean: Fraction, deviation: Fraction, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    import numpy as np

    at_least("deviation", deviation, 0)
    z = context.stream.normal(math.prod(shape))
    made = to_float("mean", mean) + to_float("deviation", deviation) * z
    return np.asarray(made, np.float64).reshape(shape)


def _exponent_uniform(
    context: RecipeContext, low: Fraction | None, high: Fraction | None, sign: str, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return a binade of [low, high] drawn evenly, and in it a number drawn evenly."""
    import numpy as np

    fmt = context.format
    least = float(fmt.min_subnormal) if low is None else to_float("low", low)
    most = float(fmt.max_finite) if high is None else to_float("high", high)
    if not 0 < least <= most:
        raise InputError(f"low is {least!r} and high {most!r}", "0 < low ≤ high is allowed")
    if sign != "positive" and not fmt.signed:
        raise InputError(f"{fmt.name} has no sign", "write sign: positive")
    count = math.prod(shape)
    (first, lowest), (last, highest) = math.frexp(least), math.frexp(most)
    exponent = lowest + context.stream.integers(count, highest - lowest + 1)
    bottom = np.where(exponent == lowest, first, 0.5)
    top = np.where(exponent == highest, last, 1.0)
    t = context.stream.uniform(count)
    significand = np.clip(bottom * (1 - t) + top * t, bottom, top)
    signs = {"positive": 1.0, "negative": -1.0}.get(sign) or context.stream.signs(count)
    made: NDArray[np.float64] = np.ldexp(significand * signs, exponent)
    return made.reshape(shape)


_SHAPE = Argument("shape", "extents of the array")

register_recipe(
    Recipe(
        name="uniform",
        title="Uniform random numbers: multiples of 2^−53 of the interval",
        arguments={
            "low": Argument("number", "lower end", Fraction(0), required=False),
            "high": Argument("number", "upper end", Fraction(1), required=False),
            "shape": _SHAPE,
        },
        make=_uniform,
        elements=shape_elements,
    )
)

register_recipe(
    Recipe(
        name="normal",
        title="Normal random numbers, by the polar method",
        arguments={
            "mean": Argument("number", "mean", Fraction(0), required=False),
            "deviation": Argument("number", "standard deviation, at least 0", Fraction(1), required=False),
            "shape": _SHAPE,
        },
        make=_normal,
        elements=shape_elements,
    )
)

register_recipe(
    Recipe(
        name="exponent_uniform",
        title="Random numbers whose exponents are uniform, and significands uniform in each binade",
        arguments={
            "low": Argument("number", "least magnitude; left out: the format's least", None, required=False),
            "high": Argument("number", "greatest magnitude; left out: the format's", None, required=False),
            "sign": Argument(
                "text", "signs drawn", "both", required=False, choices=("both", "positive", "negative")
            ),
            "shape": _SHAPE,
        },
        make=_exponent_uniform,
        elements=shape_elements,
    )
)
