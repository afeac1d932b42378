"""The direction of a vector: each row divided by its norm, with no ε to decide what becomes of 0.

A row of zeros has no direction: 0 is what stands for it, and a constant there, so that its gradient is 0, as
users ask who mask or pad rows (pytorch#184575). An ε in the divisor makes it 1/ε instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations import definition
from harness.operations import norms_family as family
from harness.registry import formulation


def meant(xp: Any, x: Any) -> Any:
    """x/‖x‖, and 0 for 0: it is divided by 1 there, so that nothing of the norm is differentiated."""
    return _over(xp, x, family.root_of_squares(xp, x, keepdims=True))


def stable(xp: Any, x: Any) -> Any:
    """t/√Σ t², t = x/max|x|."""
    t = family.relative(xp, x)[1]
    return _over(xp, t, family.root_of_relative(xp, t))


def _over(xp: Any, x: Any, length: Any) -> Any:
    empty = xp.equal(length, xp.scalar(0))
    return xp.where(empty, xp.scalar(0), x / xp.where(empty, xp.scalar(1), length))


definition.operation(
    name="unit_vector",
    title="Direction of a vector",
    formula="y = x/‖x‖, 0 where x = 0",
    inputs={"x": "any shape, at least one entry along the last axis"},
    definition=meant,
    stable=stable,
    algorithm="t/√Σ t², t = x/max|x|",
    differentiable=("x",),
    gradient_formula="(g − y·Σ y g)/‖x‖, and 0 where x = 0",
    condition=False,
    check=family.require_rows,
    cost=definition.per_entry(6),
    gradient_cost=definition.per_entry(12),
)


@formulation("unit_vector", "naive", title="x/√Σ x²", needs=("elementwise", "sum"))
def naive(xp: Any, x: Any) -> Callable[[], Any]:
    """Give 0/0 for 0."""
    return lambda: xp.divide(x, xp.sqrt(xp.sum(xp.square(x), axis=-1, keepdims=True)))


@formulation("unit_vector", "selected", title="0 where Σ x² = 0, else x/√Σ x²", needs=("elementwise", "sum"))
def selected(xp: Any, x: Any) -> Callable[[], Any]:
    """Choose between results: the value is right, and 0·∞ comes back from what was not chosen."""

    def thunk() -> Any:
        squares = xp.sum(xp.square(x), axis=-1, keepdims=True)
        return xp.where(xp.equal(squares, xp.scalar(0)), xp.scalar(0), xp.divide(x, xp.sqrt(squares)))

    return thunk


@formulation(
    "unit_vector", "guarded", title="t/√Σ t², t = x/max|x|, 1 in place of a 0", needs=("elementwise", "sum")
)
def guarded(xp: Any, x: Any) -> Callable[[], Any]:
    """Choose between arguments, and between results: the double `where`."""
    zero, one = xp.scalar(0), xp.scalar(1)

    def thunk() -> Any:
        largest = xp.detach(xp.max(xp.abs(x), axis=-1, keepdims=True))
        empty = xp.equal(largest, zero)
        t = xp.divide(x, xp.where(empty, one, largest))
        squares = xp.where(empty, one, xp.sum(xp.square(t), axis=-1, keepdims=True))
        return xp.where(empty, zero, xp.divide(t, xp.sqrt(squares)))

    return thunk
