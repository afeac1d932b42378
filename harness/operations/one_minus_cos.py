"""1 − cos x, which is x²/2 near 0: below √u the cosine rounds to 1 and nothing is left of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations.definition import operation, per_entry
from harness.registry import formulation


def definition(xp: Any, x: Any) -> Any:
    """1 − cos x."""
    return 1 - xp.cos(x)


def half_angle(xp: Any, x: Any) -> Any:
    """2·sin²(x/2): the halving is exact."""
    return xp.square(xp.sin(x * 0.5)) * 2


operation(
    name="one_minus_cos",
    title="1 − cos x",
    formula="y = 1 − cos x",
    inputs={"x": "any shape"},
    definition=definition,
    stable=half_angle,
    algorithm="2·sin²(x/2)",
    differentiable=("x",),
    cost=per_entry(4),
    gradient_cost=per_entry(6),
    gradient_formula="g·sin x",
    elementwise=True,
)


@formulation("one_minus_cos", "naive", title="1 − cos x")
def naive(xp: Any, x: Any) -> Callable[[], Any]:
    """Subtract: an error of u/2 in the cosine is u/x² of the result, and below √u there is none.

    The derivative, sin x, has no such difference.
    """
    one = xp.scalar(1)
    return lambda: xp.subtract(one, xp.cos(x))


@formulation("one_minus_cos", "half_angle", title="2·sin²(x/2)")
def by_half_angle(xp: Any, x: Any) -> Callable[[], Any]:
    """Square the sine of half the angle."""
    half, two = xp.scalar("0.5"), xp.scalar(2)

    def thunk() -> Any:
        s = xp.sin(xp.multiply(half, x))
        return xp.multiply(two, xp.multiply(s, s))

    return thunk
