"""The root of ax² + bx + c that is nearer to 0: the textbook's formula subtracts two equal numbers for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import InputError
from harness.operations.definition import RUNNING, operation, per_entry, require_one_shape
from harness.registry import ExactProblem, formulation


def definition(xp: Any, a: Any, b: Any, c: Any) -> Any:
    """(−b + sgn(b)·√(b² − 4ac))/(2a)."""
    root = xp.sqrt(b * b - a * c * 4)
    return (xp.where(xp.less(b, xp.scalar(0)), -root, root) - b) / (a * 2)


def scaled(xp: Any, a: Any, b: Any, c: Any) -> Any:
    """−2t/(1 + √(1 − 4t·a/b)), t = c/b: no square that overflows."""
    t = c / b
    return t * -2 / (xp.sqrt(1 - t * (a / b) * 4) + 1)


def check(problem: ExactProblem) -> None:
    """Refuse shapes that differ, and zeros where there would be no such root, or two."""
    require_one_shape(problem)
    for name in ("a", "b"):
        if (problem.inputs[name] == 0).any():
            raise InputError(f"{name} has an entry of 0", f"every other number is allowed for {name}")


operation(
    name="quadratic_root",
    title="Smaller root of a quadratic equation",
    formula="x = (−b + sgn(b)·√(b² − 4ac))/(2a)",
    inputs={"a": "any shape, not 0", "b": "the shape of a, not 0", "c": "the shape of a"},
    outputs=("x",),
    definition=definition,
    stable=scaled,
    algorithm="−2t/(1 + √(1 − 4t·a/b)), t = c/b",
    source=f"{RUNNING}; the cancellation: Higham 2002, section 1.8",
    differentiable=("a", "b", "c"),
    cost=per_entry(9),
    gradient_cost=per_entry(20),
    gradient_formula="−g·(x², x, 1)/(2ax + b)",
    check=check,
    elementwise=True,
)


def _discriminant(xp: Any, a: Any, b: Any, c: Any) -> Any:
    return xp.subtract(xp.multiply(b, b), xp.multiply(xp.multiply(xp.scalar(4), a), c))


def _with_the_sign_of(xp: Any, b: Any, size: Any) -> Any:
    return xp.where(xp.less(b, xp.scalar(0)), xp.negative(size), size)


@formulation(
    "quadratic_root",
    "textbook",
    title="(−b + sgn(b)·√(b² − 4ac))/(2a)",
)
def textbook(xp: Any, a: Any, b: Any, c: Any) -> Callable[[], Any]:
    """Subtract b from a root that is b where 4ac/b² < u; b² overflows above √Ω, and the root with it."""
    two = xp.scalar(2)

    def thunk() -> Any:
        root = xp.sqrt(_discriminant(xp, a, b, c))
        return xp.divide(xp.subtract(_with_the_sign_of(xp, b, root), b), xp.multiply(two, a))

    return thunk


@formulation(
    "quadratic_root",
    "q_form",
    title="c/q, q = −(b + sgn(b)·√(b² − 4ac))/2",
)
def q_form(xp: Any, a: Any, b: Any, c: Any) -> Callable[[], Any]:
    """Compute the larger root, and the smaller by their product, c/a; 0 where b² overflows."""
    half = xp.scalar("-0.5")

    def thunk() -> Any:
        root = xp.sqrt(_discriminant(xp, a, b, c))
        return xp.divide(c, xp.multiply(half, xp.add(b, _with_the_sign_of(xp, b, root))))

    return thunk


@formulation("quadratic_root", "scaled", title="−2t/(1 + √(1 − 4t·a/b)), t = c/b")
def by_ratios(xp: Any, a: Any, b: Any, c: Any) -> Callable[[], Any]:
    """Divide by b first."""
    one, four, minus_two = xp.scalar(1), xp.scalar(4), xp.scalar(-2)

    def thunk() -> Any:
        t = xp.divide(c, b)
        inside = xp.subtract(one, xp.multiply(four, xp.multiply(t, xp.divide(a, b))))
        return xp.divide(xp.multiply(minus_two, t), xp.add(one, xp.sqrt(inside)))

    return thunk
