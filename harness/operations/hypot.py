"""The length of the hypotenuse, √(x² + y²), whose squares overflow and underflow long before it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations.definition import operation, per_entry, require_one_shape
from harness.registry import formulation


def definition(xp: Any, x: Any, y: Any) -> Any:
    """√(x² + y²), and ∞ where one of both is infinite, be the other undefined (IEEE 754-2019, 9.2.1)."""
    endless = xp.logical_or(xp.isinf(x), xp.isinf(y))
    return xp.where(endless, xp.scalar("inf"), xp.sqrt(x * x + y * y))


def scaled(xp: Any, x: Any, y: Any) -> Any:
    """m·√((x/m)² + (y/m)²), m = max(|x|, |y|), through which no gradient flows."""
    m = xp.detach(xp.maximum(xp.abs(x), xp.abs(y)))
    m = xp.where(xp.equal(m, xp.scalar(0)), xp.scalar(1), m)
    return m * xp.sqrt(xp.square(x / m) + xp.square(y / m))


operation(
    name="hypot",
    title="Length of the hypotenuse",
    formula="r = √(x² + y²)",
    inputs={"x": "any shape", "y": "the shape of x"},
    outputs=("r",),
    definition=definition,
    stable=scaled,
    algorithm="m·√((x/m)² + (y/m)²), m = max(|x|, |y|)",
    differentiable=("x", "y"),
    cost=per_entry(4),
    gradient_cost=per_entry(9),
    gradient_formula="(g·x/r, g·y/r)",
    check=require_one_shape,
    elementwise=True,
)


@formulation("hypot", "naive", title="√(x² + y²)")
def naive(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Square: ∞ above √Ω; below √(min normal) squares lose digits, and below √(ω/2) they are 0."""
    return lambda: xp.sqrt(xp.add(xp.square(x), xp.square(y)))


@formulation("hypot", "scaled", title="m·√((x/m)² + (y/m)²), m = max(|x|, |y|)")
def by_scaling(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Divide by the larger: where m is 0 or ∞ by 1, for 0/0 and ∞/∞ are no numbers."""
    zero, one, inf = xp.scalar(0), xp.scalar(1), xp.scalar("inf")

    def thunk() -> Any:
        m = xp.detach(xp.maximum(xp.abs(x), xp.abs(y)))
        m = xp.where(xp.logical_and(xp.isfinite(m), xp.greater(m, zero)), m, one)
        a, b = xp.divide(x, m), xp.divide(y, m)
        r = xp.multiply(m, xp.sqrt(xp.add(xp.multiply(a, a), xp.multiply(b, b))))
        return xp.where(xp.logical_or(xp.isinf(x), xp.isinf(y)), inf, r)

    return thunk
