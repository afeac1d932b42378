"""Probabilities of the standard normal distribution: below a number, above it, and between −k and k."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import InputError
from harness.operations import normal_family as family
from harness.operations.definition import operation, per_entry
from harness.registry import ExactProblem, formulation


def check(problem: ExactProblem) -> None:
    """Refuse numbers of deviations below 0."""
    if (problem.inputs["k"] < 0).any():
        raise InputError("k has an entry below 0", "numbers of standard deviations are at least 0")


operation(
    name="normal_cdf",
    title="Distribution function of the normal distribution",
    formula="y = P(X ≤ x) = ½·erfc(−x/√2)",
    inputs={"x": "any shape"},
    definition=lambda xp, x: family.exact_tail(xp, -x),
    stable=lambda xp, x: family.tail(xp, x * -family.SQRT_HALF),
    algorithm="½·erfc(−x/√2), as ½·exp(−t²)·erfcx t where it is small",
    source=family.SOURCE,
    differentiable=("x",),
    cost=per_entry(3),
    gradient_cost=per_entry(6),
    gradient_formula="g·exp(−x²/2)/√(2π)",
    gradient_stable=lambda xp, x: family.plain_tail(xp, x * -family.SQRT_HALF),
    elementwise=True,
)
operation(
    name="normal_tail",
    title="Upper tail of the normal distribution",
    formula="y = P(X > x) = ½·erfc(x/√2)",
    inputs={"x": "any shape"},
    definition=family.exact_tail,
    stable=lambda xp, x: family.tail(xp, x * family.SQRT_HALF),
    algorithm="½·erfc(x/√2), as ½·exp(−t²)·erfcx t where it is small",
    source=family.SOURCE,
    differentiable=("x",),
    cost=per_entry(3),
    gradient_cost=per_entry(6),
    gradient_formula="−g·exp(−x²/2)/√(2π)",
    gradient_stable=lambda xp, x: family.plain_tail(xp, x * family.SQRT_HALF),
    elementwise=True,
)
operation(
    name="normal_within",
    title="Probability within k standard deviations",
    formula="y = P(|X| < k) = erf(k/√2)",
    inputs={"k": "any shape, at least 0"},
    definition=lambda xp, k: xp.erf(k / xp.sqrt(xp.scalar(2))),
    stable=lambda xp, k: xp.erf(k * family.SQRT_HALF),
    algorithm="erf(k/√2)",
    differentiable=("k",),
    cost=per_entry(2),
    gradient_cost=per_entry(5),
    gradient_formula="g·2·exp(−k²/2)/√(2π)",
    check=check,
    elementwise=True,
)


@formulation("normal_cdf", "erf", title="½·(1 + erf(x/√2))")
def cdf_by_erf(xp: Any, x: Any) -> Callable[[], Any]:
    """Add 1 to what is nearly −1: 0 from where 2·P(X ≤ x) is u/2 down, −8.37 in float64.

    The derivative is that of erf and has no such sum.
    """
    half, one, root = xp.scalar("0.5"), xp.scalar(1), xp.scalar(family.SQRT_HALF)
    return lambda: xp.multiply(half, xp.add(one, xp.erf(xp.multiply(x, root))))


@formulation("normal_cdf", "erfc", title="½·erfc(−x/√2)")
def cdf_by_erfc(xp: Any, x: Any) -> Callable[[], Any]:
    """Compute the small number itself."""
    half, root = xp.scalar("0.5"), xp.scalar(family.SQRT_HALF)
    return lambda: xp.multiply(half, xp.erfc(xp.negative(xp.multiply(x, root))))


@formulation("normal_tail", "complement", title="1 − ½·erfc(−x/√2)")
def complement(xp: Any, x: Any) -> Callable[[], Any]:
    """Subtract from 1: 0 from where P(X > x) is u/2 on, 8.29 in float64."""
    half, one, root = xp.scalar("0.5"), xp.scalar(1), xp.scalar(family.SQRT_HALF)

    def thunk() -> Any:
        return xp.subtract(one, xp.multiply(half, xp.erfc(xp.negative(xp.multiply(x, root)))))

    return thunk


@formulation("normal_tail", "erfc", title="½·erfc(x/√2)")
def tail_by_erfc(xp: Any, x: Any) -> Callable[[], Any]:
    """Compute the small number itself."""
    half, root = xp.scalar("0.5"), xp.scalar(family.SQRT_HALF)
    return lambda: xp.multiply(half, xp.erfc(xp.multiply(x, root)))


@formulation("normal_within", "difference", title="½·erfc(−k/√2) − ½·erfc(k/√2)")
def difference(xp: Any, k: Any) -> Callable[[], Any]:
    """Subtract one value of the distribution function from another: for small k two halves."""
    half, root = xp.scalar("0.5"), xp.scalar(family.SQRT_HALF)

    def thunk() -> Any:
        t = xp.multiply(k, root)
        below = xp.multiply(half, xp.erfc(xp.negative(t)))
        return xp.subtract(below, xp.multiply(half, xp.erfc(t)))

    return thunk


@formulation("normal_within", "erf", title="erf(k/√2)")
def within_by_erf(xp: Any, k: Any) -> Callable[[], Any]:
    """Call the function that this is."""
    root = xp.scalar(family.SQRT_HALF)
    return lambda: xp.erf(xp.multiply(k, root))
