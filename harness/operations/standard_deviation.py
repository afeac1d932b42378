"""Standard deviation along an axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.model import Written
from harness.operations import moments_family as family
from harness.operations import variance
from harness.operations.definition import operation
from harness.registry import COTANGENT, ExactProblem, Thunk, formulation, gradient_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def definition(xp: Any, x: Any, *, axis: Written, layout: Written, ddof: Written) -> Any:
    """Return √V."""
    return xp.sqrt(variance.definition(xp, x, axis=axis, layout=layout, ddof=ddof))


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of √V − √(V − E) + u·√(V + E), E the error of two passes."""
    import numpy as np

    x, ddof = problem.inputs["x"], int(problem.parameters["ddof"])
    axis = family.axis_of(x.shape, problem.parameters)
    found, error = family.variance_error(x, axis, ddof, precision)
    with np.errstate(all="ignore"):
        root, most = np.sqrt(found), np.sqrt(found + error)
        least = np.sqrt(np.maximum(found - error, 0.0))
        fallen = np.where(error > 0, error / (root + least), 0.0)
        carried = np.where(error > found, np.maximum(root, most - root), fallen)
        total = carried + precision.u_out * most
    return {"y": family.log2(total * family.SLACK)}


def gradient_bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the error of c·(x − m), c = g/((n − ddof)·√V); any, where V may come out as 0."""
    import numpy as np

    x, ddof = problem.inputs["x"], int(problem.parameters["ddof"])
    axis = family.axis_of(x.shape, problem.parameters)
    g = np.expand_dims(problem.inputs[COTANGENT].reshape(np.delete(x.shape, axis)), axis)
    found, error = (np.expand_dims(a, axis) for a in family.variance_error(x, axis, ddof, precision))
    with np.errstate(all="ignore"):
        factor = g / ((x.shape[axis] - ddof) * np.sqrt(found))
        grown = np.where(error < found, 1 / np.sqrt(1 - error / found), np.inf)
        total = family.gradient_error(x, axis, factor, grown, precision)
    return {gradient_output("x"): np.log2(np.where(np.isnan(total), 0.0, total))}


OPERATION = operation(
    name="standard_deviation",
    title="Standard deviation",
    formula="y = √(Σ_i (x_i − m)² / (n − ddof)), m = Σ_i x_i / n",
    inputs=family.INPUTS,
    definition=definition,
    bound=bound,
    gradient_bound=gradient_bound,
    bound_formula=(
        "√V − √(V − E) + u·√(V + E), E the bound of the variance; max(√V, √(V + E) − √V) where E > V"
    ),
    differentiable=("x",),
    gradient_formula="r_i = g·(x_i − m)/((n − ddof)·y)",
    parameters=family.WITH_DDOF,
    source=family.TWO_PASS,
    check=family.check,
    cost=family.cost(4),
    gradient_cost=family.cost(6),
)


@formulation("standard_deviation", "one_pass", title="√(E[x²] − E[x]²)", needs=("elementwise", "sum"))
def one_pass(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Thunk:
    """Lose what mean² exceeds the variance by; NaN where it comes out negative."""
    x = family.laid_out(xp, x, layout)
    return lambda: xp.sqrt(variance.of_one_pass(xp, x, int(axis), int(ddof)))


@formulation("standard_deviation", "two_pass", title="√E[(x − E[x])²]", needs=("elementwise", "sum"))
def two_pass(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Thunk:
    """Subtract the mean before squares are taken."""
    x = family.laid_out(xp, x, layout)
    return lambda: xp.sqrt(variance.of_two_passes(xp, x, int(axis), int(ddof)))


@formulation(
    "standard_deviation",
    "welford",
    title="√ of squares updated one after another",
    compute=family.IN_DTYPE,
)
def welford(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Thunk:
    """Read each entry once."""
    x = family.laid_out(xp, x, layout)
    return lambda: xp.sqrt(variance.of_welford(xp, x, int(axis), int(ddof)))
