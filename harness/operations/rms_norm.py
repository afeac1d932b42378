"""Each row divided by the root of its mean square: x/√(Σx²/n + ε)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from harness.model import Condition, Written
from harness.operations import definition
from harness.operations import norms_family as family
from harness.operations.widening import AT_LEAST_SINGLE, at_least_single
from harness.registry import Parameter, formulation


def meant(xp: Any, x: Any, *, epsilon: Written) -> Any:
    """x·(1/√(mean x² + ε))."""
    return x * (1 / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + xp.scalar(epsilon)))


def stable(xp: Any, x: Any, *, epsilon: Written) -> Any:
    """t·(1/√(mean t² + (√ε/c)²)), t = x/c, c = max(max|x|, √ε)."""
    root = Decimal(epsilon).sqrt()  # to 28 digits
    c, t = family.relative(xp, x, root)
    e = xp.scalar(root) / c
    return t * (1 / xp.sqrt(xp.mean(t * t, axis=-1, keepdims=True) + e * e))


definition.operation(
    name="rms_norm",
    title="Root-mean-square normalisation",
    formula="y = x / √(Σ_j x_j²/n + ε)",
    inputs={"x": "any shape, at least one entry along the last axis"},
    definition=meant,
    stable=stable,
    algorithm="t/√(mean t² + (√ε/c)²), t = x/c, c = max(max|x|, √ε)",
    parameters={
        "epsilon": Parameter(
            Decimal("1e-6"), "added to the mean square", kind="number", within=Condition(at_least=0)
        )
    },
    differentiable=("x",),
    cost=definition.per_entry(4),
    gradient_cost=definition.per_entry(10),
    gradient_formula="r·(g − y·Σ y g/n), r = 1/√(Σ_j x_j²/n + ε)",
    condition=False,
    check=family.require_rows,
)


@formulation("rms_norm", "in_dtype", title="x/√(mean x² + ε)", needs=("elementwise", "sum"))
def in_dtype(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Give 0 where |x| > √Ω: 256 in float16."""
    return lambda: _plain(xp, x, xp.scalar(epsilon))


@formulation(
    "rms_norm",
    "float32_inside",
    title="x/√(mean x² + ε) in float32 or wider, rounded once",
    needs=("elementwise", "sum"),
    compute=AT_LEAST_SINGLE,
)
def float32_inside(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Square in float32, as libraries do: it has room for float16, not for bfloat16."""

    def thunk() -> Any:
        wide, values = at_least_single(xp, x)
        y = _plain(wide, values, wide.scalar(epsilon))
        return y if wide is xp else wide.astype(y, xp.dtype.name)

    return thunk


def _plain(xp: Any, x: Any, least: Any) -> Any:
    return xp.divide(x, xp.sqrt(xp.add(xp.mean(xp.square(x), axis=-1, keepdims=True), least)))


@formulation(
    "rms_norm",
    "scaled",
    title="t/√(mean t² + (√ε/c)²), t = x/c, c = max|x| or √ε",
    needs=("elementwise", "sum"),
)
def scaled(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Square nothing beyond 1, not even √ε/c."""
    least = xp.scalar(Decimal(epsilon).sqrt())

    def thunk() -> Any:
        c = family.scale_of(xp, x, least)
        t, e = xp.divide(x, c), xp.square(xp.divide(least, c))
        return xp.divide(t, xp.sqrt(xp.add(xp.mean(xp.square(t), axis=-1, keepdims=True), e)))

    return thunk
