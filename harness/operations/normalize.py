"""Vectors of length 1: each row divided by its norm, or by ε where that is larger."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from harness.model import Condition, Written
from harness.operations import definition
from harness.operations import norms_family as family
from harness.registry import Parameter, formulation


def meant(xp: Any, x: Any, *, epsilon: Written) -> Any:
    """x/max(‖x‖, ε)."""
    return x / xp.maximum(family.root_of_squares(xp, x, keepdims=True), xp.scalar(epsilon))


def stable(xp: Any, x: Any, *, epsilon: Written) -> Any:
    """t/max(√Σ t², ε/c), t = x/c, c = max(max|x|, ε)."""
    c, t = family.relative(xp, x, epsilon)
    return t / xp.maximum(family.root_of_relative(xp, t), xp.scalar(epsilon) / c)


definition.operation(
    name="normalize",
    title="Normalisation to length 1",
    formula="y = x / max(‖x‖, ε)",
    inputs={"x": "any shape, at least one entry along the last axis"},
    definition=meant,
    stable=stable,
    algorithm="t/max(√Σ t², ε/c), t = x/c, c = max(max|x|, ε)",
    parameters={
        "epsilon": Parameter(
            Decimal("1e-12"), "the least norm that is divided by", kind="number", within=Condition(above=0)
        )
    },
    differentiable=("x",),
    cost=definition.per_entry(3),
    gradient_cost=definition.per_entry(8),
    gradient_formula="(g − y·Σ y g)/‖x‖, and g/ε where ‖x‖ < ε",
    condition=False,
    check=family.require_rows,
)


@formulation("normalize", "naive", title="x/max(√Σ x², ε)", needs=("elementwise", "sum"))
def naive(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Give 0 where |x| > √Ω, and x/ε where squares underflow."""
    least = xp.scalar(epsilon)

    def thunk() -> Any:
        norm = xp.sqrt(xp.sum(xp.square(x), axis=-1, keepdims=True))
        return xp.divide(x, xp.maximum(norm, least))

    return thunk


@formulation(
    "normalize", "scaled", title="t/max(√Σ t², ε/c), t = x/c, c = max|x| or ε", needs=("elementwise", "sum")
)
def scaled(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Scale first; where ε rounds to 0 a row of zeros is divided by 1."""
    least = xp.scalar(epsilon)

    def thunk() -> Any:
        c = family.scale_of(xp, x, least)
        t = xp.divide(x, c)
        length = xp.maximum(family.norm_of_scaled(xp, t), xp.divide(least, c))
        return xp.divide(t, xp.where(xp.equal(length, xp.scalar(0)), xp.scalar(1), length))

    return thunk
