"""Correlation matrix of the columns of a matrix of observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.operations import covariance
from harness.operations import moments_family as family
from harness.operations.definition import operation
from harness.registry import ExactProblem, Thunk, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

ROUNDINGS = 4
"""Two square roots and two quotients."""


def definition(xp: Any, x: Any) -> Any:
    """Return C_jk / √(C_jj C_kk); on the diagonal that is the root of a square, and exactly 1."""
    d = x - xp.mean(x, axis=0, keepdims=True)
    products = xp.matmul(xp.transpose(d), d)
    squares = xp.sum(xp.square(d), axis=0, keepdims=True)
    return products / xp.sqrt(xp.transpose(squares) * squares)


def stable(xp: Any, x: Any) -> Any:
    """Return the same with two roots, whose product cannot overflow where the variances do not."""
    d = x - xp.mean(x, axis=0, keepdims=True)
    products = xp.matmul(xp.transpose(d), d)
    roots = xp.sqrt(xp.sum(xp.square(d), axis=0, keepdims=True))
    return products / xp.transpose(roots) / roots


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of how far ĉ_jk/√(ĉ_jj ĉ_kk) may be from r, and at most 2: the result is in [−1, 1]."""
    import numpy as np

    covariances, error = family.covariance_error(problem.inputs["x"], 0, precision)
    with np.errstate(all="ignore"):
        variances, errors = np.diagonal(covariances), np.diagonal(error)
        least = np.sqrt(np.maximum(variances - errors, 0.0))
        sizes, smallest = np.sqrt(np.outer(variances, variances)), np.outer(least, least)
        carried = error / smallest + np.abs(covariances) / sizes * (sizes / smallest - 1)
        total = carried + family.growth(ROUNDINGS, precision.u_out) * (1 + carried)
    return {"y": family.log2(np.where(total < 2, total * family.SLACK, 2.0))}


def judge(
    problem: ExactProblem,
    reference: Reference,
    outputs: Mapping[str, NDArray[np.float64]],
    precision: Precision,
) -> Mapping[str, Mapping[str, float]]:
    """Return by how much the largest correlation is beyond 1."""
    import numpy as np

    return {"y": {"beyond_one": float(np.max(np.maximum(np.abs(outputs["y"]) - 1, 0.0), initial=0.0))}}


OPERATION = operation(
    name="correlation",
    title="Correlation matrix",
    formula="y_jk = C_jk / √(C_jj·C_kk), C the covariance matrix",
    inputs={"x": "(n, d), a row for each observation"},
    definition=definition,
    stable=stable,
    algorithm="two passes, two square roots and two quotients",
    bound=bound,
    bound_formula=(
        "q + ((1 + u)⁴ − 1)(1 + q), q = E_jk/s + |r|·(√(C_jj·C_kk)/s − 1), "
        "s = √((C_jj − E_jj)(C_kk − E_kk)), E the bound of the covariance; at most 2"
    ),
    differentiable=("x",),
    gradient_formula=(
        "r_ij = Σ_k (g_jk + g_kj)·(z_ik − y_jk·z_ij)/s_j, z_ij = (x_ij − m_j)/s_j, s_j² = Σ_i (x_ij − m_j)²"
    ),
    source=family.TWO_PASS,
    check=covariance.check,
    cost=covariance.cost,
    normwise=True,
    judge=judge,
)


def _by_roots(xp: Any, c: Any) -> Any:
    """Return c_jk/√c_jj/√c_kk."""
    d = c.shape[0]
    variances = xp.stack([c[j, j] for j in range(d)])
    roots = xp.sqrt(variances)
    return xp.divide(xp.divide(c, xp.reshape(roots, (d, 1))), xp.reshape(roots, (1, d)))


@formulation(
    "correlation", "one_pass", title="From Σ x_j x_k − n·m_j m_k", needs=("elementwise", "sum", "matmul")
)
def one_pass(xp: Any, x: Any) -> Thunk:
    """Divide what one pass leaves: NaN, or beyond 1, where it left nothing."""
    return lambda: _by_roots(xp, covariance.of_one_pass(xp, x, 0))


@formulation(
    "correlation",
    "two_pass",
    title="From products of centred columns, at most 1",
    needs=("elementwise", "sum", "matmul"),
)
def two_pass(xp: Any, x: Any) -> Thunk:
    """Centre first, and cut off what rounding leaves beyond [−1, 1], as np.corrcoef does."""
    one, minus_one = xp.scalar(1), xp.scalar(-1)

    def thunk() -> Any:
        found = _by_roots(xp, covariance.of_two_passes(xp, x, 0))
        return xp.maximum(xp.minimum(found, one), minus_one)

    return thunk
