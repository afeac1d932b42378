"""The cosine of the angle between two vectors, row by row: x·y/(‖x‖‖y‖)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations import definition
from harness.operations import norms_family as family
from harness.registry import ExactProblem, formulation


def meant(xp: Any, x: Any, y: Any) -> Any:
    """Σ xy/√(Σx²·Σy²): one root, which is rational where x and y are parallel."""
    squares = xp.sum(x * x, axis=-1) * xp.sum(y * y, axis=-1)
    return xp.sum(x * y, axis=-1) * (1 / xp.sqrt(squares))


def stable(xp: Any, x: Any, y: Any) -> Any:
    """Σ (x/‖x‖)(y/‖y‖), each norm relative to the largest entry."""
    return xp.sum(_direction(xp, x) * _direction(xp, y), axis=-1)


def _direction(xp: Any, x: Any) -> Any:
    t = family.relative(xp, x)[1]
    return t / family.root_of_relative(xp, t)


def check(problem: ExactProblem) -> None:
    """Raise InputError for vectors of different shapes, or without entries."""
    definition.require_one_shape(problem)
    family.require_rows(problem)


definition.operation(
    name="cosine_similarity",
    title="Cosine similarity",
    formula="c = Σ_j x_j y_j / (‖x‖‖y‖)",
    inputs={"x": "any shape, at least one entry along the last axis", "y": "that of x"},
    outputs=("c",),
    definition=meant,
    stable=stable,
    algorithm="Σ (x/‖x‖)(y/‖y‖), norms relative to the largest entry",
    differentiable=("x", "y"),
    cost=definition.per_entry(6, definition.rows),
    gradient_cost=definition.per_entry(16),
    gradient_formula="g·(y/(‖x‖‖y‖) − c·x/‖x‖²), and with x and y changed about",
    check=check,
)


@formulation("cosine_similarity", "quotient", title="Σ xy/(√Σx²·√Σy²)", needs=("elementwise", "sum"))
def quotient(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """∞/∞ where |x| > √Ω, 0/0 where squares underflow."""

    def thunk() -> Any:
        a = xp.sqrt(xp.sum(xp.square(x), axis=-1))
        b = xp.sqrt(xp.sum(xp.square(y), axis=-1))
        return xp.divide(xp.sum(xp.multiply(x, y), axis=-1), xp.multiply(a, b))

    return thunk


@formulation(
    "cosine_similarity",
    "normalise_first",
    title="Σ (x/‖x‖)(y/‖y‖), norms relative to the largest entry",
    needs=("elementwise", "sum"),
)
def normalise_first(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Multiply numbers of at most 1."""

    def unit(v: Any) -> Any:
        t = xp.divide(v, family.scale_of(xp, v))
        return xp.divide(t, family.norm_of_scaled(xp, t))

    return lambda: xp.sum(xp.multiply(unit(x), unit(y)), axis=-1)
