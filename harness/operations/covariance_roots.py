"""Covariance matrices: exact checks and factors, and square roots A with A·Aᵀ = Σ by three factorisations.

What each backward stable factorisation gives are the factors of Σ + ΔΣ. Of Cholesky's there is a theorem:
‖ΔΣ‖₂ ≤ d(d + 1)u·‖Σ‖₂, and with triangular solutions d(3d + 1)u·‖Σ‖₂ in all, to first order (Higham 2002,
theorems 10.3 and 10.4: |ΔΣ| ≤ γ|L||Lᵀ|, whose norm is at most d·‖Σ‖₂). Of the symmetric eigendecomposition
and the SVD there is p(d)·u·‖Σ‖₂ with a p that "grows modestly" (Anderson et al., LAPACK Users' Guide, 3rd ed.
1999, sections 4.7 and 4.9), which is no number. By custom 10·d·u stands for it, for the factors and again for
what they are used for; LAPACK's own tests pass residuals below 60 and 35 times 2u·d (its TESTING/sep.in and
svd.in). So the bound is max(`CUSTOMARY`, 3d + 1)·d·u·‖Σ‖₂: proved for Cholesky, expected of the others.

Cholesky stops where Σ + ΔΣ is indefinite, which λ_min < d·u·λ_max allows (Higham 2002, theorem 10.7); the
others give eigenvalues that are 0, or negative, and can be replaced.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.registry import ExactProblem

    Floats = NDArray[np.float64]

CUSTOMARY: Final = 20
"""Of d·u·‖Σ‖₂: 10 for a decomposition, and 10 for what is made of it."""
SOURCE: Final = (
    "Higham 2002, theorems 10.3, 10.4 and 10.7, for Cholesky; for eigendecomposition and SVD the customary "
    "10·d·u twice, where Anderson et al., LAPACK Users' Guide, 3rd ed. 1999, section 4.7, have p(d)·u"
)
NEEDS: Final = ("elementwise", "sum", "matmul", "linalg")


def check(problem: ExactProblem, points: str) -> int:
    """Refuse shapes that do not go together, what is not finite, and a matrix that is not symmetric.

    Returns
    -------
    The number of dimensions.

    Raises
    ------
    InputError
        If there is anything of that.
    """
    import numpy as np

    x, mean, covariance = (problem.inputs[name] for name in (points, "mean", "covariance"))
    d = mean.size
    if mean.ndim != 1 or d == 0 or x.ndim != 2 or x.shape[1:] != (d,) or covariance.shape != (d, d):
        raise InputError(
            f"{points}, mean and covariance have shapes {list(x.shape)}, {list(mean.shape)} and "
            f"{list(covariance.shape)}",
            "allowed are (n, d), (d,) and (d, d)",
        )
    if not all(np.isfinite(v).all() for v in (x, mean, covariance)):
        raise InputError(f"{points}, mean or covariance holds infinities or NaN", "use finite numbers")
    if not np.array_equal(covariance, covariance.T):
        raise InputError("the covariance is not symmetric", "give Σ_ij = Σ_ji")
    return d


def exact_factors(covariance: Floats) -> tuple[list[list[Fraction]], list[Fraction]]:
    """Return L and D of Σ = L·D·Lᵀ, exactly, L with ones on its diagonal; a D of 0 has a column of zeros.

    Raises
    ------
    InputError
        If Σ is not positive semidefinite.
    """
    d = len(covariance)
    left = [[Fraction(v) for v in row] for row in covariance.tolist()]
    lower = [[Fraction(int(i == j)) for j in range(d)] for i in range(d)]
    pivots = []
    for k in range(d):
        pivot = left[k][k]
        if pivot < 0 or (pivot == 0 and any(left[i][k] for i in range(k, d))):
            raise InputError(
                f"the covariance is not positive semidefinite: pivot {k} is {float(pivot):.3g}",
                "rounding to the dtype may have made it so: use a smaller condition number",
            )
        pivots.append(pivot)
        for i in range(k + 1, d):
            factor = left[i][k] / pivot if pivot else Fraction(0)
            lower[i][k] = factor
            for j in range(k + 1, d):
                left[i][j] -= factor * left[k][j]
    return lower, pivots


def backward_error_bound(d: int, u: float, norm: float) -> float:
    """Return max(`CUSTOMARY`, 3d + 1)·d·u·‖Σ‖₂."""
    return max(CUSTOMARY, 3 * d + 1) * d * u * norm


def diagonal(xp: Any, matrix: Any, d: int) -> Any:
    """Return the diagonal of a d×d matrix."""
    return xp.sum(xp.multiply(matrix, xp.eye(d)), axis=1)


def no_less_than_rounding(xp: Any, eigenvalues: Any, d: int) -> Any:
    """Return eigenvalues, those that rounding may have made: d·u·λ_max instead."""
    least = xp.multiply(xp.scalar(d * xp.dtype.storage.unit_roundoff), xp.max(eigenvalues))
    return xp.maximum(eigenvalues, least)
