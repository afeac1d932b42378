"""The uniform distribution between two ends: its density, and its distribution function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import InputError
from harness.operations.definition import operation, per_entry, require_one_shape
from harness.registry import ExactProblem, formulation

INPUTS = {"x": "any shape", "low": "the shape of x", "high": "the shape of x, above low"}


def density(xp: Any, x: Any, low: Any, high: Any) -> Any:
    """1/(high − low) from low to high, 0 elsewhere."""
    return _selected(xp, x, low, high, 1 / (high - low), xp.scalar(0))


def halved_density(xp: Any, x: Any, low: Any, high: Any) -> Any:
    """½/(high/2 − low/2): halves are exact, and their difference does not overflow."""
    return _selected(xp, x, low, high, 0.5 / (high * 0.5 - low * 0.5), xp.scalar(0))


def distribution(xp: Any, x: Any, low: Any, high: Any) -> Any:
    """(x − low)/(high − low), 0 below and 1 above; an infinite x is not given to what is not chosen."""
    inside = xp.where(xp.isinf(x), low, x)
    return _selected(xp, x, low, high, (inside - low) / (high - low), xp.scalar(1))


def halved_distribution(xp: Any, x: Any, low: Any, high: Any) -> Any:
    """(x/2 − low/2)/(high/2 − low/2)."""
    half = low * 0.5
    return _selected(xp, x, low, high, (x * 0.5 - half) / (high * 0.5 - half), xp.scalar(1))


def _selected(xp: Any, x: Any, low: Any, high: Any, inside: Any, above: Any) -> Any:
    found = xp.where(xp.less(x, low), xp.scalar(0), xp.where(xp.greater(x, high), above, inside))
    return xp.where(xp.isnan(x), x, found)


def check(problem: ExactProblem) -> None:
    """Refuse shapes that differ, and ends that are not finite or not in order."""
    import numpy as np

    require_one_shape(problem)
    low, high = problem.inputs["low"], problem.inputs["high"]
    if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
        raise InputError("low is not below high everywhere", "finite ends, low < high, are allowed")


operation(
    name="uniform_pdf",
    title="Density of the uniform distribution",
    formula="y = 1/(high − low) for low ≤ x ≤ high, else 0",
    inputs=INPUTS,
    definition=density,
    stable=halved_density,
    algorithm="½/(high/2 − low/2)",
    differentiable=("low", "high"),
    cost=per_entry(3),
    gradient_cost=per_entry(6),
    gradient_formula="(g, −g)/(high − low)² inside, else 0",
    check=check,
    elementwise=True,
)
operation(
    name="uniform_cdf",
    title="Distribution function of the uniform distribution",
    formula="y = (x − low)/(high − low), 0 below low and 1 above high",
    inputs=INPUTS,
    definition=distribution,
    stable=halved_distribution,
    algorithm="(x/2 − low/2)/(high/2 − low/2)",
    differentiable=("x", "low", "high"),
    cost=per_entry(5),
    gradient_cost=per_entry(10),
    gradient_formula="g·(1, y − 1, −y)/(high − low) inside, else 0",
    check=check,
    elementwise=True,
)


def _chosen(xp: Any, x: Any, low: Any, high: Any, inside: Any, above: Any) -> Any:
    zero = xp.scalar(0)
    outside = xp.where(xp.greater(x, high), above, zero)
    within = xp.logical_and(xp.logical_not(xp.less(x, low)), xp.logical_not(xp.greater(x, high)))
    return xp.add(xp.where(within, inside, outside), xp.where(xp.isnan(x), x, zero))


@formulation("uniform_pdf", "direct", title="1/(high − low)")
def direct_density(xp: Any, x: Any, low: Any, high: Any) -> Callable[[], Any]:
    """Divide by the width: 0 where it overflows."""
    one, zero = xp.scalar(1), xp.scalar(0)

    def thunk() -> Any:
        return _chosen(xp, x, low, high, xp.divide(one, xp.subtract(high, low)), zero)

    return thunk


@formulation("uniform_pdf", "halved", title="½/(high/2 − low/2)")
def density_by_halves(xp: Any, x: Any, low: Any, high: Any) -> Callable[[], Any]:
    """Divide by half the width."""
    half, zero = xp.scalar("0.5"), xp.scalar(0)

    def thunk() -> Any:
        width = xp.subtract(xp.multiply(half, high), xp.multiply(half, low))
        return _chosen(xp, x, low, high, xp.divide(half, width), zero)

    return thunk


@formulation("uniform_cdf", "affine", title="x/w − low/w, w = high − low")
def affine(xp: Any, x: Any, low: Any, high: Any) -> Callable[[], Any]:
    """Scale before subtracting: the roundings of low/w stay where x − low would be exact."""
    one = xp.scalar(1)

    def thunk() -> Any:
        width = xp.subtract(high, low)
        inside = xp.subtract(xp.divide(x, width), xp.divide(low, width))
        return _chosen(xp, x, low, high, inside, one)

    return thunk


@formulation("uniform_cdf", "direct", title="(x − low)/(high − low)")
def direct_distribution(xp: Any, x: Any, low: Any, high: Any) -> Callable[[], Any]:
    """Divide differences: 0 or ∞/∞ where they overflow."""
    one = xp.scalar(1)

    def thunk() -> Any:
        inside = xp.divide(xp.subtract(x, low), xp.subtract(high, low))
        return _chosen(xp, x, low, high, inside, one)

    return thunk


@formulation("uniform_cdf", "halved", title="(x/2 − low/2)/(high/2 − low/2)")
def distribution_by_halves(xp: Any, x: Any, low: Any, high: Any) -> Callable[[], Any]:
    """Divide differences of halves."""
    half, one = xp.scalar("0.5"), xp.scalar(1)

    def thunk() -> Any:
        first, point, last = (xp.multiply(half, v) for v in (low, x, high))
        inside = xp.divide(xp.subtract(point, first), xp.subtract(last, first))
        return _chosen(xp, x, low, high, inside, one)

    return thunk
