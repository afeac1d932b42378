"""The Euclidean norm of each row: √Σ x²."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations import definition
from harness.operations import norms_family as family
from harness.registry import formulation


def meant(xp: Any, x: Any) -> Any:
    """√Σ x², whose gradient at 0 is 0."""
    return family.root_of_squares(xp, x)


def stable(xp: Any, x: Any) -> Any:
    """c·√Σ (x/c)², c = max|x|."""
    c, t = family.relative(xp, x)
    y = c * family.root_of_relative(xp, t)
    return xp.reshape(y, y.shape[:-1])


definition.operation(
    name="l2_norm",
    title="Euclidean norm",
    formula="y = √(Σ_j x_j²)",
    inputs={"x": "any shape, at least one entry along the last axis"},
    definition=meant,
    stable=stable,
    algorithm="c·√Σ (x/c)², c = max|x|",
    differentiable=("x",),
    cost=definition.per_entry(2, definition.rows),
    gradient_cost=definition.per_entry(5),
    gradient_formula="g·x/‖x‖, 0 at x = 0",
    check=family.require_rows,
)


@formulation("l2_norm", "naive", title="√Σ x²", needs=("elementwise", "sum"))
def naive(xp: Any, x: Any) -> Callable[[], Any]:
    """Overflow where |x| > √Ω; 0 where every square underflows."""
    return lambda: xp.sqrt(xp.sum(xp.square(x), axis=-1))


@formulation("l2_norm", "scaled", title="c·√Σ (x/c)², c = max|x|", needs=("elementwise", "sum"))
def scaled(xp: Any, x: Any) -> Callable[[], Any]:
    """Square nothing beyond 1."""

    def thunk() -> Any:
        c = family.scale_of(xp, x)
        y = xp.multiply(c, family.norm_of_scaled(xp, xp.divide(x, c)))
        return xp.reshape(y, tuple(y.shape)[:-1])

    return thunk
