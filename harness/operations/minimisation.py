"""One-dimensional maximum likelihood: golden section on function values, bisection on the derivative's sign.

Near its minimum a function is flat: f(x* + δ) − f(x*) = f''·δ²/2, which rounding errors ε of f hide while
δ² < 4ε/f''. So what sees function values alone finds x* to √u (Brent, Algorithms for Minimization without
Derivatives, 1973, section 5.2); the derivative changes its sign within u of x*.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

SOURCE: Final = "R. P. Brent, Algorithms for Minimization without Derivatives, 1973, section 5.2"
GOLDEN: Final = "0.61803398874989484820458683436563811772030917980576"
_SHRINK: Final = float(GOLDEN)


def golden_steps(unit_roundoff: float, width: float = 1.0) -> int:
    """Return the steps that shrink a bracket, `width` times as wide as the minimiser, to √u/4 of it."""
    return math.ceil(math.log(math.sqrt(unit_roundoff) / (4 * width)) / math.log(_SHRINK))


def golden_section(xp: Any, f: Callable[[Any], Any], low: Any, high: Any, steps: int) -> Any:
    """Return the middle of the bracket after `steps` comparisons of values of f within it."""
    shrink = xp.scalar(GOLDEN)

    def inner(a: Any, b: Any) -> tuple[Any, Any]:
        part = xp.multiply(shrink, xp.subtract(b, a))
        return xp.subtract(b, part), xp.add(a, part)

    left, right = inner(low, high)
    at_left, at_right = f(left), f(right)
    for _ in range(steps):
        if bool(xp.less(at_left, at_right)):
            high, right, at_right = right, left, at_left
            left = inner(low, high)[0]
            at_left = f(left)
        else:
            low, left, at_left = left, right, at_right
            right = inner(low, high)[1]
            at_right = f(right)
    return xp.divide(xp.add(low, high), xp.scalar(2))


def bisection(xp: Any, slope: Callable[[Any], Any], low: Any, high: Any, steps: int) -> Any:
    """Return where a rising slope changes its sign, to half of the last bracket."""
    zero, two = xp.scalar(0), xp.scalar(2)
    for _ in range(steps):
        middle = xp.divide(xp.add(low, high), two)
        if bool(xp.less(slope(middle), zero)):
            low = middle
        else:
            high = middle
    return xp.divide(xp.add(low, high), two)
