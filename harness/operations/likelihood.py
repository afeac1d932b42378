"""The likelihood of independent observations: a product that leaves the range of every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.model import Written
from harness.operations import likelihood_family as family
from harness.operations.definition import operation
from harness.registry import Cost, formulation


def definition(xp: Any, densities: Any) -> Any:
    """Π f_i, as e to the sum of logarithms: a product of thousands of rationals grows too long."""
    return xp.exp(xp.sum(xp.log(densities)))


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return n − 1 products; n reads and one write."""
    (n,) = shapes["densities"]
    return Cost(n - 1, (n + 1) * itemsize)


operation(
    name="likelihood",
    title="Likelihood of independent observations",
    formula="L = Π f_i",
    inputs=family.INPUTS,
    definition=definition,
    algorithm="exp(Σ ln f_i)",
    differentiable=("densities",),
    gradient_formula="g·L/f_i",
    check=family.check,
    cost=cost,
)


@formulation("likelihood", "product", title="Π f_i from the left")
def product(xp: Any, densities: Any) -> Callable[[], Any]:
    """Leave the range in between, be the likelihood itself within."""
    return lambda: family.product(xp, densities)


@formulation("likelihood", "exp_of_logs", title="exp(Σ ln f_i)", needs=family.NEEDS)
def exp_of_logs(xp: Any, densities: Any) -> Callable[[], Any]:
    """Add logarithms: over- and underflow where the likelihood does."""
    return lambda: xp.exp(xp.sum(xp.log(densities)))
