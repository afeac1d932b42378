"""The log-likelihood of normal data, given mean and standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations import likelihood_family as family
from harness.operations import normal_family
from harness.operations.definition import operation
from harness.registry import Cost, ExactProblem, formulation

_HALF: Final = Fraction(1, 2)


def definition(xp: Any, x: Any, mean: Any, deviation: Any) -> Any:
    """−Σ z²/2 − n·(ln σ + ln(2π)/2), z = (x − μ)/σ."""
    z = (x - mean) / deviation
    n = x.shape[0]
    return -(xp.sum(z * z) / 2) - n * (xp.log(deviation) + xp.log(normal_family.exact_two_pi(xp)) / 2)


def check(problem: ExactProblem) -> None:
    """Refuse other shapes than (n,), () and (), and what is not finite or no deviation."""
    import numpy as np

    x, mean, deviation = (problem.inputs[name] for name in ("x", "mean", "deviation"))
    if x.ndim != 1 or x.size == 0 or mean.shape or deviation.shape:
        raise InputError(
            f"x, mean and deviation have shapes {list(x.shape)}, {list(mean.shape)}, {list(deviation.shape)}",
            "allowed are (n,), () and ()",
        )
    if not (np.isfinite(x).all() and np.isfinite(mean) and np.isfinite(deviation) and deviation > 0):
        raise InputError("x, mean or deviation is not finite, or the deviation not above 0")


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return difference, quotient, square and sum for each; n + 2 reads and one write."""
    (n,) = shapes["x"]
    return Cost(4 * n, (n + 3) * itemsize)


def closed(xp: Any, x: Any, mean: Any, deviation: Any) -> Any:
    """The definition, in functions of namespaces: squares of standardised data, and one logarithm."""
    z = xp.divide(xp.subtract(x, mean), deviation)
    squares = xp.multiply(xp.sum(xp.square(z)), xp.scalar(_HALF))
    constant = xp.add(xp.log(deviation), xp.scalar(normal_family.HALF_LOG_TWO_PI))
    return xp.negative(xp.add(squares, xp.multiply(xp.scalar(x.shape[0]), constant)))


operation(
    name="normal_log_likelihood",
    title="Log-likelihood of normal data",
    formula="ℓ = −Σ (x_i − μ)²/(2σ²) − n·ln(σ√(2π))",
    inputs={"x": "(n,)", "mean": "(): μ", "deviation": "(): σ > 0"},
    definition=definition,
    stable=closed,
    algorithm="squares of (x − μ)/σ, their sum, and n·(ln σ + ln √(2π))",
    differentiable=("x", "mean", "deviation"),
    gradient_formula="−g·z/σ, g·Σ z/σ, g·(Σ z² − n)/σ, z = (x − μ)/σ",
    check=check,
    condition=False,
    cost=cost,
)


def _densities(xp: Any, x: Any, mean: Any, deviation: Any) -> Any:
    z = xp.divide(xp.subtract(x, mean), deviation)
    top = xp.divide(xp.scalar(1), xp.multiply(deviation, xp.scalar(normal_family.ROOT_TWO_PI)))
    return xp.multiply(top, xp.exp(xp.negative(xp.multiply(xp.square(z), xp.scalar(_HALF)))))


@formulation("normal_log_likelihood", "log_of_product", title="ln Π f(x_i)", needs=family.NEEDS)
def log_of_product(xp: Any, x: Any, mean: Any, deviation: Any) -> Callable[[], Any]:
    """Multiply densities: −∞ after a few dozen observations in the narrow formats."""
    return lambda: xp.log(family.product(xp, _densities(xp, x, mean, deviation)))


@formulation("normal_log_likelihood", "sum_of_logs", title="Σ ln f(x_i)", needs=family.NEEDS)
def sum_of_logs(xp: Any, x: Any, mean: Any, deviation: Any) -> Callable[[], Any]:
    """Take the logarithm of each density: −∞ where z² is above −2 ln ω."""
    return lambda: xp.sum(xp.log(_densities(xp, x, mean, deviation)))


@formulation("normal_log_likelihood", "closed_form", title="−Σ z²/2 − n·ln(σ√(2π))", needs=family.NEEDS)
def closed_form(xp: Any, x: Any, mean: Any, deviation: Any) -> Callable[[], Any]:
    """Never form a density."""
    return lambda: closed(xp, x, mean, deviation)
