"""Covariance matrix of the columns of a matrix of observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.model import Written
from harness.operations import moments_family as family
from harness.operations.definition import operation
from harness.registry import Cost, ExactProblem, Thunk, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def definition(xp: Any, x: Any, *, ddof: Written) -> Any:
    """Return Xᵀ X / (n − ddof) of centred columns."""
    d = x - xp.mean(x, axis=0, keepdims=True)
    return xp.matmul(xp.transpose(d), d) / (x.shape[0] - int(ddof))


def check(problem: ExactProblem) -> None:
    """Raise InputError unless x has rows enough, of two columns or more."""
    shape, ddof = problem.inputs["x"].shape, int(problem.parameters.get("ddof", 0))
    if len(shape) != 2 or shape[1] < 2:
        raise InputError(f"x has shape {list(shape)}; allowed: rows of at least two columns")
    if shape[0] <= ddof:
        raise InputError(f"x has {shape[0]} rows; at least {ddof + 1} are needed")


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the error of two passes."""
    ddof = int(problem.parameters["ddof"])
    return {"y": family.log2(family.covariance_error(problem.inputs["x"], ddof, precision)[1])}


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Count means, differences and the products."""
    n, d = shapes["x"]
    return Cost(2 * n * d + 2 * n * d * d, (n * d + d * d) * itemsize)


OPERATION = operation(
    name="covariance",
    title="Covariance matrix",
    formula="y_jk = Σ_i (x_ij − m_j)(x_ik − m_k) / (n − ddof), m_j = Σ_i x_ij / n",
    inputs={"x": "(n, d), a row for each observation"},
    definition=definition,
    algorithm="two passes",
    bound=bound,
    bound_formula=(
        "(((1 + u)⁶(1 + n·u_acc) − 1)·Σ(|x_j − m_j| + δ_j)(|x_k − m_k| + δ_k) + nδ_jδ_k + 2nω)/(n − ddof) "
        "+ 2ω, δ_j the bound of the mean of column j"
    ),
    differentiable=("x",),
    gradient_formula="R = (X − M)·(G + Gᵀ)/(n − ddof)",
    parameters={"ddof": family.DDOF},
    source=family.TWO_PASS,
    check=check,
    cost=cost,
    normwise=True,
)


def of_one_pass(xp: Any, x: Any, ddof: int) -> Any:
    """Return (Σ x_j x_k − n m_j m_k)/(n − ddof): what it exceeds the covariance by is lost."""
    n, d = x.shape
    mean = xp.mean(x, axis=0)
    products = xp.matmul(xp.transpose(x), x)
    of_means = xp.multiply(xp.reshape(mean, (d, 1)), xp.reshape(mean, (1, d)))
    return xp.divide(xp.subtract(products, xp.multiply(of_means, xp.scalar(n))), xp.scalar(n - ddof))


def of_two_passes(xp: Any, x: Any, ddof: int) -> Any:
    """Return the mean product of deviations."""
    d = xp.subtract(x, xp.mean(x, axis=0, keepdims=True))
    return xp.divide(xp.matmul(xp.transpose(d), d), xp.scalar(x.shape[0] - ddof))


@formulation(
    "covariance",
    "one_pass",
    title="(Σ x_j x_k − n·m_j m_k)/(n − ddof)",
    needs=("elementwise", "sum", "matmul"),
)
def one_pass(xp: Any, x: Any, *, ddof: int) -> Thunk:
    """Take products of the data themselves."""
    return lambda: of_one_pass(xp, x, int(ddof))


@formulation(
    "covariance",
    "two_pass",
    title="Products of columns less their means",
    needs=("elementwise", "sum", "matmul"),
)
def two_pass(xp: Any, x: Any, *, ddof: int) -> Thunk:
    """Centre first."""
    return lambda: of_two_passes(xp, x, int(ddof))
