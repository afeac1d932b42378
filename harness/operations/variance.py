"""Variance along an axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.model import Written
from harness.operations import moments_family as family
from harness.operations.definition import operation
from harness.registry import COTANGENT, ExactProblem, Thunk, formulation, gradient_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def definition(xp: Any, x: Any, *, axis: Written, layout: Written, ddof: Written) -> Any:
    """Return Σ (x − mean)² / (n − ddof)."""
    place = int(axis)
    d = x - xp.mean(x, axis=place, keepdims=True)
    return xp.sum(xp.square(d), axis=place) / (x.shape[place] - int(ddof))


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the error of two passes (the module's formula)."""
    x, ddof = problem.inputs["x"], int(problem.parameters["ddof"])
    axis = family.axis_of(x.shape, problem.parameters)
    return {"y": family.log2(family.variance_error(x, axis, ddof, precision)[1])}


def gradient_bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the error of c·(x − m), c = 2g/(n − ddof)."""
    import numpy as np

    x, ddof = problem.inputs["x"], int(problem.parameters["ddof"])
    axis = family.axis_of(x.shape, problem.parameters)
    g = np.expand_dims(problem.inputs[COTANGENT].reshape(np.delete(x.shape, axis)), axis)
    error = family.gradient_error(x, axis, 2 * g / (x.shape[axis] - ddof), np.ones(g.shape), precision)
    return {gradient_output("x"): family.log2(error)}


OPERATION = operation(
    name="variance",
    title="Variance",
    formula="y = Σ_i (x_i − m)² / (n − ddof), m = Σ_i x_i / n",
    inputs=family.INPUTS,
    definition=definition,
    bound=bound,
    gradient_bound=gradient_bound,
    bound_formula=(
        "(((1 + u)⁷(1 + u_acc)^h − 1)·(S + nδ²) + nδ² + 2nω)/(n − ddof) + 2ω, S = Σ(x − m)², "
        f"δ the bound of the mean, h = ⌈log₂n⌉ + {family.LEAF}"
    ),
    differentiable=("x",),
    gradient_formula="r_i = 2g·(x_i − m)/(n − ddof)",
    parameters=family.WITH_DDOF,
    source=family.TWO_PASS,
    check=family.check,
    cost=family.cost(4),
    gradient_cost=family.cost(6),
)


def of_one_pass(xp: Any, x: Any, axis: int, ddof: int) -> Any:
    """Return (Σx² − (Σx)²/n)/(n − ddof): E[x²] − E[x]² where ddof is 0."""
    n = x.shape[axis]
    second, mean = xp.mean(xp.square(x), axis=axis), xp.mean(x, axis=axis)
    found = xp.subtract(second, xp.square(mean))
    return xp.divide(xp.multiply(found, xp.scalar(n)), xp.scalar(n - ddof)) if ddof else found


def of_two_passes(xp: Any, x: Any, axis: int, ddof: int) -> Any:
    """Return the mean squared deviation from the mean."""
    d = xp.subtract(x, xp.mean(x, axis=axis, keepdims=True))
    return xp.divide(xp.sum(xp.square(d), axis=axis), xp.scalar(x.shape[axis] - ddof))


def of_welford(xp: Any, x: Any, axis: int, ddof: int) -> Any:
    """Return the variance by updates of mean and squares, one entry after another (Welford 1962)."""
    place = axis % x.ndim
    mean = x[family.at(place, 0)]
    squares = xp.zeros_like(mean)
    for i in range(1, x.shape[place]):
        entry = x[family.at(place, i)]
        d = xp.subtract(entry, mean)
        mean = xp.add(mean, xp.divide(d, xp.scalar(i + 1)))
        squares = xp.add(squares, xp.multiply(d, xp.subtract(entry, mean)))
    return xp.divide(squares, xp.scalar(x.shape[place] - ddof))


def of_corrected_passes(xp: Any, x: Any, axis: int, ddof: int) -> Any:
    """Return two passes less (Σ(x − m̂))²/n, what the error of the mean added, sums in pairs."""
    n = xp.scalar(x.shape[axis])
    place = axis % x.ndim
    mean = xp.divide(family.pairwise_sum(xp, x, place), n)
    kept = (*mean.shape[:place], 1, *mean.shape[place:])
    d = xp.subtract(x, xp.reshape(mean, kept))
    first, second = family.pairwise_sum(xp, d, place), family.pairwise_sum(xp, xp.square(d), place)
    corrected = xp.subtract(second, xp.divide(xp.square(first), n))
    return xp.divide(corrected, xp.scalar(x.shape[axis] - ddof))


@formulation("variance", "one_pass", title="E[x²] − E[x]²", needs=("elementwise", "sum"))
def one_pass(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Thunk:
    """Lose what mean² exceeds the variance by."""
    x = family.laid_out(xp, x, layout)
    return lambda: of_one_pass(xp, x, int(axis), int(ddof))


@formulation("variance", "two_pass", title="E[(x − E[x])²]", needs=("elementwise", "sum"))
def two_pass(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Thunk:
    """Subtract the mean before squares are taken."""
    x = family.laid_out(xp, x, layout)
    return lambda: of_two_passes(xp, x, int(axis), int(ddof))


@formulation(
    "variance", "welford", title="Mean and squares updated one after another", compute=family.IN_DTYPE
)
def welford(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Thunk:
    """Read each entry once, as where data arrive in a stream."""
    x = family.laid_out(xp, x, layout)
    return lambda: of_welford(xp, x, int(axis), int(ddof))


@formulation(
    "variance",
    "compensated",
    title="E[(x − E[x])²] less the square of the mean deviation",
    compute=family.IN_DTYPE,
)
def compensated(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Thunk:
    """Take away what the rounding of the mean added (Chan, Golub & LeVeque 1983, equation 1.7)."""
    x = family.laid_out(xp, x, layout)
    return lambda: of_corrected_passes(xp, x, int(axis), int(ddof))
