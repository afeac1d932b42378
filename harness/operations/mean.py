"""Arithmetic mean along an axis."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from harness.model import Written
from harness.operations import moments_family as family
from harness.operations.definition import operation
from harness.registry import ExactProblem, Thunk, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def definition(xp: Any, x: Any, *, axis: Written, layout: Written) -> Any:
    """Return Σ x / n."""
    return xp.mean(x, axis=int(axis))


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of what a sum, its rounding, that of n and the quotient may have.

    Where n·max|x| is beyond half the format's range terms are scaled by a power of two before they are added:
    exact, but for ω/2 of each that underflows, n·ω in the mean.
    """
    import numpy as np

    x, axis = problem.inputs["x"], family.axis_of(problem.inputs["x"].shape, problem.parameters)
    n = x.shape[axis]
    with np.errstate(all="ignore"):
        magnitude = np.abs(x)
        scaled = np.max(magnitude, axis=axis) > float(precision.format.max_finite) / (2 * n)
        magnitude /= n
        size = np.sum(magnitude, axis=axis)
    error = family.mean_error(reference.outputs["y"].to_float64(), size, n, precision)
    return {"y": family.log2(error + np.where(scaled, n * float(precision.format.min_subnormal), 0.0))}


OPERATION = operation(
    name="mean",
    title="Mean",
    formula="y = Σ_i x_i / n",
    inputs=family.INPUTS,
    definition=definition,
    algorithm="a blocked pairwise sum, divided by n",
    bound=bound,
    bound_formula=(
        "min((1 + u_acc)^h − 1, (n − 1)·u_acc)·(1 + u)⁴·Σ|x|/n + ((1 + u)⁴ − 1)·|y| + ω, "
        f"h = ⌈log₂n⌉ + {family.LEAF} additions a term (+ n·ω if n·max|x| > Ω/2)"
    ),
    differentiable=("x",),
    gradient_formula="r_i = g/n",
    parameters=family.PARAMETERS,
    source=family.SUMS,
    check=family.check,
    cost=family.cost(1),
    gradient_cost=family.cost(1),
)


def _length(xp: Any, x: Any, axis: int) -> Any:
    return xp.scalar(x.shape[axis])


@formulation(
    "mean", "sequential", title="Terms added one after another, divided by n", compute=family.IN_DTYPE
)
def sequential(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Overflow where the sum does, and stop at n = 1/u equal terms."""
    x, n = family.laid_out(xp, x, layout), _length(xp, x, int(axis))
    return lambda: xp.divide(family.sequential_sum(xp, x, int(axis)), n)


@formulation("mean", "pairwise", title="Terms added in pairs, divided by n", compute=family.IN_DTYPE)
def pairwise(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Overflow where the sum does."""
    x, n = family.laid_out(xp, x, layout), _length(xp, x, int(axis))
    return lambda: xp.divide(family.pairwise_sum(xp, x, int(axis)), n)


@formulation("mean", "compensated", title="Sum2 along a binary tree, divided by n", compute=family.IN_DTYPE)
def compensated(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Return the sum as if in twice the precision, divided; it overflows where the sum does."""
    x, n = family.laid_out(xp, x, layout), _length(xp, x, int(axis))
    return lambda: xp.divide(family.compensated_sum(xp, x, int(axis)), n)


@formulation(
    "mean", "scaled", title="Terms scaled where they are large, added in pairs", compute=family.IN_DTYPE
)
def scaled(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Scale by 2^−k, 2^k ≥ n, where Σ|x| may pass half the range: no partial sum overflows."""
    place = int(axis) % x.ndim
    x, n = family.laid_out(xp, x, layout), x.shape[place]
    k = (n - 1).bit_length()
    limit = xp.scalar(xp.dtype.storage.max_finite / (2 * n))
    one, down, back = xp.scalar(1), xp.scalar(Fraction(1, 2**k)), xp.scalar(Fraction(2**k, n))
    length = xp.scalar(n)

    def thunk() -> Any:
        top = xp.max(xp.abs(xp.detach(x)), axis=place, keepdims=True)
        large = xp.greater(top, limit)
        terms = xp.multiply(x, xp.where(large, down, one))
        total = family.pairwise_sum(xp, terms, place)
        small = xp.divide(total, length)
        return xp.where(xp.reshape(large, tuple(total.shape)), xp.multiply(total, back), small)

    return thunk


@formulation(
    "mean",
    "wide",
    title="The library's mean in float64, rounded once",
    needs=("elementwise", "sum"),
    compute=family.WIDER,
)
def wide(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Return a mean with an accumulator of float64."""
    x, inside = family.laid_out(xp, x, layout), xp.cast_namespace("float64")

    def thunk() -> Any:
        found = inside.mean(xp.astype(x, "float64"), axis=int(axis))
        return inside.astype(found, xp.dtype.name)

    return thunk
