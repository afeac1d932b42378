"""Sum along an axis."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Return Σ x."""
    return xp.sum(x, axis=int(axis))


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of ((1 + u_acc)^h − 1)·(1 + u)·Σ|x| + u·|Σx|."""
    import numpy as np

    x, axis = problem.inputs["x"], family.axis_of(problem.inputs["x"].shape, problem.parameters)
    value = np.abs(reference.outputs["y"].to_float64())
    with np.errstate(all="ignore"):
        size = np.sum(np.abs(x), axis=axis)
    relative = family.accumulated(x.shape[axis], precision) * (1 + precision.u_out)
    found = relative * size + (precision.u_out * value if x.shape[axis] > 1 else 0.0)
    return {"y": family.log2(found * family.SLACK)}


OPERATION = operation(
    name="sum",
    title="Sum",
    formula="y = Σ_i x_i",
    inputs=family.INPUTS,
    definition=definition,
    algorithm="a blocked pairwise sum",
    bound=bound,
    bound_formula=(
        "min((1 + u_acc)^h − 1, (n − 1)·u_acc)·(1 + u)·Σ|x| + u·|Σx|, "
        f"h = ⌈log₂n⌉ + {family.LEAF} additions a term"
    ),
    differentiable=("x",),
    gradient_formula="r_i = g",
    parameters=family.PARAMETERS,
    source=family.SUMS,
    check=family.check,
    cost=family.cost(1),
    gradient_cost=family.cost(1),
)


@formulation(
    "sum", "sequential", title="Terms added one after another, in the dtype", compute=family.IN_DTYPE
)
def sequential(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Return ((x₁ + x₂) + x₃) + …; its time says nothing of a compiled loop."""
    x = family.laid_out(xp, x, layout)
    return lambda: family.sequential_sum(xp, x, int(axis))


@formulation("sum", "pairwise", title="Terms added in pairs, along a binary tree", compute=family.IN_DTYPE)
def pairwise(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Return the sum by halving: the error grows with log₂n."""
    x = family.laid_out(xp, x, layout)
    return lambda: family.pairwise_sum(xp, x, int(axis))


@formulation(
    "sum", "compensated", title="Sum2 along a binary tree, in the dtype alone", compute=family.IN_DTYPE
)
def compensated(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Return the sum as if in twice the precision."""
    x = family.laid_out(xp, x, layout)
    return lambda: family.compensated_sum(xp, x, int(axis))


@formulation(
    "sum",
    "wide",
    title="The library's sum in float64, rounded once",
    needs=("elementwise", "sum"),
    compute=family.WIDER,
)
def wide(xp: Any, x: Any, *, axis: int, layout: str) -> Thunk:
    """Return a sum with an accumulator of float64."""
    x, inside = family.laid_out(xp, x, layout), xp.cast_namespace("float64")

    def thunk() -> Any:
        total = inside.sum(xp.astype(x, "float64"), axis=int(axis))
        return inside.astype(total, xp.dtype.name)

    return thunk
