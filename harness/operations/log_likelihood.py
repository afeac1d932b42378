"""The log-likelihood of independent observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations import likelihood_family as family
from harness.operations.definition import one, operation, per_entry
from harness.registry import formulation


def definition(xp: Any, densities: Any) -> Any:
    """Σ ln f_i."""
    return xp.sum(xp.log(densities))


operation(
    name="log_likelihood",
    title="Log-likelihood of independent observations",
    formula="ℓ = Σ ln f_i",
    inputs=family.INPUTS,
    definition=definition,
    algorithm="Σ ln f_i",
    differentiable=("densities",),
    gradient_formula="g/f_i",
    check=family.check,
    cost=per_entry(2, one),
)


@formulation("log_likelihood", "log_of_product", title="ln Π f_i")
def log_of_product(xp: Any, densities: Any) -> Callable[[], Any]:
    """Multiply first: −∞ once n·ln f is below ln ω, ∞ where it is above ln Ω."""
    return lambda: xp.log(family.product(xp, densities))


@formulation("log_likelihood", "sum_of_logs", title="Σ ln f_i", needs=family.NEEDS)
def sum_of_logs(xp: Any, densities: Any) -> Callable[[], Any]:
    """Add logarithms, each of a size that every format holds."""
    return lambda: xp.sum(xp.log(densities))
