"""√(x+1) − √x, about 1/(2√x): beyond 1/u both roots are the same number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations.definition import operation, per_entry
from harness.registry import formulation


def definition(xp: Any, x: Any) -> Any:
    """√(x+1) − √x, and its limit 0 at +∞."""
    zero, endless = xp.scalar(0), xp.equal(x, xp.scalar("inf"))
    inside = xp.where(endless, zero, x)
    return xp.where(endless, zero, xp.sqrt(inside + 1) - xp.sqrt(inside))


def conjugate(xp: Any, x: Any) -> Any:
    """1/(√(x+1) + √x): sums of positive numbers only."""
    return 1 / (xp.sqrt(x + 1) + xp.sqrt(x))


operation(
    name="sqrt_difference",
    title="√(x+1) − √x",
    formula="y = √(x + 1) − √x",
    inputs={"x": "any shape, at least 0"},
    definition=definition,
    stable=conjugate,
    algorithm="1/(√(x+1) + √x)",
    differentiable=("x",),
    cost=per_entry(5),
    gradient_cost=per_entry(9),
    gradient_formula="−g/(2·√x·√(x+1)·(√(x+1) + √x))",
    elementwise=True,
)


@formulation("sqrt_difference", "naive", title="√(x+1) − √x")
def naive(xp: Any, x: Any) -> Callable[[], Any]:
    """Subtract: the error is some u·x of the result, and from x = 1/u on x + 1 is x.

    The derivative is a difference of two numbers as near to one another.
    """
    one = xp.scalar(1)
    return lambda: xp.subtract(xp.sqrt(xp.add(x, one)), xp.sqrt(x))


@formulation("sqrt_difference", "conjugate", title="1/(√(x+1) + √x)")
def by_conjugate(xp: Any, x: Any) -> Callable[[], Any]:
    """Divide by the sum."""
    one = xp.scalar(1)
    return lambda: xp.divide(one, xp.add(xp.sqrt(x), xp.sqrt(xp.add(one, x))))
