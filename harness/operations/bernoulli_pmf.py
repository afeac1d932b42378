"""The Bernoulli distribution: the probability of one yes or no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations import saddle_point
from harness.operations.definition import operation, per_entry, require_one_shape
from harness.registry import ExactProblem, formulation


def definition(xp: Any, k: Any, p: Any) -> Any:
    """Return p where k is 1, 1 − p where it is 0."""
    return xp.where(xp.equal(k, xp.scalar(0)), 1 - p, p)


def by_logarithms(xp: Any, k: Any, p: Any) -> Any:
    """exp(k ln p + (1 − k) ln(1 − p)), each logarithm where it counts."""
    zero, one = xp.scalar(0), xp.scalar(1)
    none = xp.equal(k, zero)
    hit = xp.log(xp.where(none, one, p))
    miss = xp.log1p(xp.negative(xp.where(none, p, zero)))
    return xp.exp(xp.where(none, miss, hit))


def check(problem: ExactProblem) -> None:
    """Refuse what is neither 0 nor 1, probabilities outside [0, 1], and shapes that differ."""
    require_one_shape(problem)
    saddle_point.check_counts(problem, problem.inputs["k"], 1)
    saddle_point.check_interior(problem, "p", 0, 1)


operation(
    name="bernoulli_pmf",
    title="Bernoulli probability",
    formula="y = p^k·(1 − p)^(1−k)",
    inputs={"k": "any shape, 0 or 1", "p": "the shape of k, in [0, 1]"},
    definition=definition,
    stable=by_logarithms,
    algorithm="exp(k ln p + (1 − k) ln(1 − p))",
    differentiable=("p",),
    gradient_formula="g where k is 1, −g where it is 0",
    check=check,
    condition=False,
    cost=per_entry(1),
    elementwise=True,
)


@formulation("bernoulli_pmf", "products", title="exp(k·ln p + (1 − k)·ln(1 − p))")
def products(xp: Any, k: Any, p: Any) -> Callable[[], Any]:
    """Multiply both logarithms: 0·(−∞) is NaN where p is 0 or 1."""
    one = xp.scalar(1)

    def thunk() -> Any:
        hit = xp.multiply(k, xp.log(p))
        miss = xp.multiply(xp.subtract(one, k), xp.log1p(xp.negative(p)))
        return xp.exp(xp.add(hit, miss))

    return thunk


@formulation("bernoulli_pmf", "selected", title="p where k = 1, else 1 − p")
def selected(xp: Any, k: Any, p: Any) -> Callable[[], Any]:
    """Round once at most."""
    return lambda: xp.where(xp.equal(k, xp.scalar(0)), xp.subtract(xp.scalar(1), p), p)
