"""w·ln p, which entropies and losses are sums of: with 0·ln 0 = 0, and with what is put around p instead.

A logarithm of 0 is mostly kept away by changing p. What that costs follows from theory alone:

    clip to [c, 1 − c]   exact for c ≤ p ≤ 1 − c. Below, the result stays at ln c and the gradient is 0.
                         Above, there is an error of c. Where c < ω/2 the lower limit rounds to 0, and
                         where c < u/2 the upper one to 1, and nothing is left of the clip: 1e-15 has no
                         upper limit in float32, and none at all in float16
    + ε                  an error of ε/p, and ln(1 + ε), above 0, for p = 1. Where ε < u·p/2 the sum rounds to
                         p, and ε does nothing, neither good nor bad
    where                exact: nothing but 0·ln 0 is changed

The functions serve formulations, definitions and error analysis alike: they call functions of `xp` only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations.definition import require_one_shape
from harness.registry import Cost, ExactProblem

Logarithm = Callable[[Any], Any]
Guard = Callable[[Any], Logarithm]
"""xp → a function of p, with its constants made."""


def product(xp: Any, weight: Any, factor: Callable[..., Any], *given: Any) -> Any:
    """Return weight·factor(*given), and 0 where the weight is 0: there the factor is given ones."""
    zero, one = xp.scalar(0), xp.scalar(1)
    nothing = xp.equal(weight, zero)
    values = [xp.where(nothing, one, x) for x in given]
    return xp.where(nothing, zero, xp.multiply(weight, factor(*values)))


def weighted_log(xp: Any, weight: Any, p: Any) -> Any:
    """Return weight·ln p, 0 where the weight is 0."""
    return product(xp, weight, xp.log, p)


def plain(xp: Any) -> Logarithm:
    """Return the logarithm with nothing around p."""
    return lambda p: xp.log(p)


def clipped(size: str | None) -> Guard:
    """Return p kept within [c, 1 − c], each end rounded to the format; None: c = 2u."""

    def guard(xp: Any) -> Callable[[Any], Any]:
        c = Fraction(size) if size else 2 * Fraction(xp.dtype.storage.unit_roundoff)
        low, high = xp.scalar(c), xp.scalar(1 - c)
        return lambda p: xp.minimum(xp.maximum(p, low), high)

    return guard


def clip(size: str | None) -> Guard:
    """Return ln of p clipped."""

    def guard(xp: Any) -> Logarithm:
        within = clipped(size)(xp)
        return lambda p: xp.log(within(p))

    return guard


def plus(size: str) -> Guard:
    """Return ln(p + ε)."""

    def guard(xp: Any) -> Logarithm:
        epsilon = xp.scalar(Fraction(size))
        return lambda p: xp.log(xp.add(p, epsilon))

    return guard


GUARDS: Final[Mapping[str, tuple[str, Guard]]] = {
    "clip_1e15": ("p clipped to [1e-15, 1 − 1e-15], as scikit-learn up to 1.1", clip("1e-15")),
    "clip_1e12": ("p clipped to [1e-12, 1 − 1e-12]", clip("1e-12")),
    "clip_1e7": ("p clipped to [1e-7, 1 − 1e-7], as Keras", clip("1e-7")),
    "clip_eps": ("p clipped to [eps, 1 − eps] of the dtype, as scikit-learn since 1.2", clip(None)),
    "plus_1e15": ("p + 1e-15", plus("1e-15")),
    "plus_1e12": ("p + 1e-12", plus("1e-12")),
    "plus_1e9": ("p + 1e-9", plus("1e-9")),
}
"""Name of a formulation → what is done to p, in words and in functions."""


def require_equal_shapes(problem: ExactProblem, *, rows: bool = True) -> None:
    """Raise InputError unless all inputs have one shape, with something along the last axis if `rows`."""
    require_one_shape(problem)
    name, first = next(iter(problem.inputs.items()))
    if rows and (not first.shape or first.shape[-1] == 0):
        raise InputError(
            f"{name} has shape {list(first.shape)}, without anything to sum over",
            "one number or more along the last axis is allowed",
        )


def cost(flops: int, *, elementwise: bool = False) -> Callable[..., Cost]:
    """Return the cost of so many flops an element: all inputs are read once, and one number written a row.

    Parameters
    ----------
    elementwise : whether a number is written for each element, unless `reduction` is `mean`.
    """

    def of(
        shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
    ) -> Cost:
        shape = next(iter(shapes.values()))
        size = math.prod(shape)
        written = size // max(shape[-1], 1) if shape else 1
        if elementwise:
            written = 1 if parameters.get("reduction") == "mean" else size
        return Cost(flops * size, (sum(map(math.prod, shapes.values())) + written) * element_bytes)

    return of
