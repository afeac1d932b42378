"""The density of a normal distribution: squares of a deviation that is itself in range may not be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import InputError
from harness.operations import normal_family as family
from harness.operations.definition import operation, per_entry, require_one_shape
from harness.registry import ExactProblem, formulation


def definition(xp: Any, x: Any, mean: Any, deviation: Any) -> Any:
    """exp(−z²/2)/(σ·√(2π)), z = (x − μ)/σ."""
    z = (x - mean) / deviation
    return xp.exp(-z * z / 2) / (deviation * xp.sqrt(family.exact_two_pi(xp)))


def standard(xp: Any, x: Any, mean: Any, deviation: Any) -> Any:
    """Return the same, rounded: the quotient first, then its square."""
    z = (x - mean) / deviation
    return xp.exp(z * z * -0.5) / (deviation * family.ROOT_TWO_PI)


def check(problem: ExactProblem) -> None:
    """Refuse shapes that differ, and deviations that are not above 0."""
    require_one_shape(problem)
    if not (problem.inputs["deviation"] > 0).all():
        raise InputError("deviation has an entry that is not above 0", "positive numbers are allowed")


operation(
    name="normal_pdf",
    title="Density of the normal distribution",
    formula="y = exp(−(x − μ)²/(2σ²))/(σ·√(2π))",
    inputs={"x": "any shape", "mean": "the shape of x", "deviation": "the shape of x, above 0"},
    definition=definition,
    stable=standard,
    algorithm="exp(−z²/2)/(σ·√(2π)), z = (x − μ)/σ",
    differentiable=("x", "mean", "deviation"),
    cost=per_entry(7),
    gradient_cost=per_entry(13),
    gradient_formula="g·y·(−z, z, z² − 1)/σ, z = (x − μ)/σ",
    check=check,
    elementwise=True,
)


@formulation("normal_pdf", "naive", title="exp(−(x − μ)²/(2σ²))/√(2πσ²)")
def naive(xp: Any, x: Any, mean: Any, deviation: Any) -> Callable[[], Any]:
    """Square first, as the formula is printed: ∞/∞ from √Ω on, 0/0 from √ω down."""
    two, two_pi = xp.scalar(2), xp.scalar(family.TWO_PI)

    def thunk() -> Any:
        variance = xp.square(deviation)
        power = xp.divide(xp.square(xp.subtract(x, mean)), xp.multiply(two, variance))
        return xp.divide(xp.exp(xp.negative(power)), xp.sqrt(xp.multiply(two_pi, variance)))

    return thunk


@formulation("normal_pdf", "standardised", title="exp(−z²/2)/√(2π)/σ, z = (x − μ)/σ")
def standardised(xp: Any, x: Any, mean: Any, deviation: Any) -> Callable[[], Any]:
    """Divide by σ before squaring."""
    half, root = xp.scalar("-0.5"), xp.scalar(family.ROOT_TWO_PI)

    def thunk() -> Any:
        z = xp.divide(xp.subtract(x, mean), deviation)
        return xp.divide(xp.exp(xp.multiply(half, xp.square(z))), xp.multiply(root, deviation))

    return thunk
