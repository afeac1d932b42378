"""The Poisson distribution: the probability of k events where λ are expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations import saddle_point
from harness.operations.definition import RUNNING, operation, per_entry, require_one_shape
from harness.operations.normal_family import TWO_PI
from harness.registry import ExactProblem, formulation


def definition(xp: Any, k: Any, rate: Any) -> Any:
    """λ^k·e^−λ/k!, with 0⁰ = 1."""
    zero, one = xp.scalar(0), xp.scalar(1)
    none = xp.equal(k, zero)
    power = xp.where(none, zero, k * xp.log(xp.where(none, one, rate)))
    return xp.exp(power - rate - xp.lgamma(k + 1))


def expansion(xp: Any, k: Any, rate: Any) -> Any:
    """e^(−δ(k) − D(k, λ))/√(2πk), and e^−λ for k = 0."""
    zero, one = xp.scalar(0), xp.scalar(1)
    none = xp.equal(k, zero)
    count = xp.where(none, one, k)
    exponent = xp.add(saddle_point.stirling_error(xp, count), saddle_point.deviance(xp, count, rate))
    width = xp.sqrt(xp.multiply(xp.scalar(TWO_PI), count))
    inside = xp.divide(xp.exp(xp.negative(exponent)), width)
    return xp.where(none, xp.exp(xp.negative(xp.where(none, rate, zero))), inside)


def check(problem: ExactProblem) -> None:
    """Refuse what is no count, rates that are negative or infinite, and shapes that differ."""
    import math

    require_one_shape(problem)
    saddle_point.check_counts(problem, problem.inputs["k"], math.inf)
    saddle_point.check_interior(problem, "rate", 0, math.inf)


operation(
    name="poisson_pmf",
    title="Poisson probability",
    formula="y = λ^k·e^−λ/k!",
    inputs={"k": "any shape, integers from 0", "rate": "the shape of k: λ ≥ 0"},
    definition=definition,
    stable=expansion,
    algorithm="Loader's saddle-point expansion",
    source=f"{saddle_point.SOURCE}; {RUNNING}",
    differentiable=("rate",),
    gradient_formula="g·y·(k/λ − 1)",
    check=check,
    condition=False,
    cost=per_entry(6),
    elementwise=True,
)


@formulation("poisson_pmf", "factorial", title="λ^k·e^−λ/k!, factor by factor")
def factorial(xp: Any, k: Any, rate: Any) -> Callable[[], Any]:
    """Multiply everything out: λ^k and k! overflow, and e^−λ underflows."""
    one = xp.scalar(1)
    most = int(xp.max(k))

    def thunk() -> Any:
        power = xp.add(xp.multiply(rate, xp.scalar(0)), one)
        product = xp.full(k.shape, one)
        for i in range(1, most + 1):
            more = xp.greater(k, xp.scalar(i - 1))
            power = xp.where(more, xp.multiply(power, rate), power)
            product = xp.where(more, xp.multiply(product, xp.scalar(i)), product)
        return xp.divide(xp.multiply(power, xp.exp(xp.negative(rate))), product)

    return thunk


@formulation("poisson_pmf", "lgamma", title="exp(k ln λ − λ − lnΓ(k+1))")
def lgamma(xp: Any, k: Any, rate: Any) -> Callable[[], Any]:
    """Never overflow; lose u·k ln k of everything to the difference."""
    zero, one = xp.scalar(0), xp.scalar(1)

    def thunk() -> Any:
        none = xp.equal(k, zero)
        power = xp.where(none, zero, xp.multiply(k, xp.log(xp.where(none, one, rate))))
        return xp.exp(xp.subtract(xp.subtract(power, rate), xp.lgamma(xp.add(k, one))))

    return thunk


@formulation("poisson_pmf", "saddle_point", title="Loader's expansion about λ: δ and the deviance")
def saddle(xp: Any, k: Any, rate: Any) -> Callable[[], Any]:
    """Keep every term of the exponent as small as the logarithm of the result."""
    return lambda: expansion(xp, k, rate)
