"""Samples of a multivariate normal distribution from given standard normal draws: x = μ + A·z, A·Aᵀ = Σ.

Every square root A of Σ is right, and gives other samples: what is judged is their distribution, by a test
with a stated error probability, and the map from draws to samples, which linear least squares finds again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations import covariance_roots as roots
from harness.registry import Cost, ExactProblem, Operation, formulation, register_operation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

    Floats = NDArray[np.float64]

ERROR_PROBABILITY: Final = 1e-6
"""That samples of the right distribution are rejected, over all draws; those of a case have a seed."""
OWN: Final = 2.0**-53
"""Unit roundoff of the judge."""


def reference(problem: ExactProblem) -> Reference:
    """Return μ + Lz by the exact Cholesky factor: one right answer of many; the judge does not look at it."""
    import numpy as np

    from harness.reference.certify import ball_of, certify
    from harness.reference.elements import Reference

    d = roots.check(problem, "z")
    z, mean, covariance = (problem.inputs[name] for name in ("z", "mean", "covariance"))
    if len(z) < 2 * d or np.linalg.matrix_rank(z) < d:
        raise InputError(
            f"z has {len(z)} draws of {d} numbers: too few, or dependent", f"use at least {2 * d}"
        )
    lower, pivots = roots.exact_factors(covariance)

    def balls(bits: int) -> list[Any]:
        from flint import arb

        spread = [ball_of(p).sqrt() for p in pivots]
        factor = [[ball_of(lower[i][j]) * spread[j] for j in range(i + 1)] for i in range(d)]
        return [
            sum((f * arb(v) for f, v in zip(factor[i], row, strict=False)), arb(float(mean[i])))
            for row in z.tolist()
            for i in range(d)
        ]

    scale = np.abs(mean) + np.sqrt(np.diag(covariance)) * np.linalg.norm(z, axis=1, keepdims=True)
    return Reference({"x": certify(balls, fmt=problem.dtype.storage, shape=z.shape, scale=scale)})


def judge(
    problem: ExactProblem, reference: Reference, outputs: Mapping[str, Floats], precision: Precision
) -> Mapping[str, Mapping[str, float]]:
    """Test the distribution of the samples, and the map that made them.

    Distribution. (x̄_i − μ_i)·√(n/Σ_ii) is standard normal. Of each x_i/√Σ_ii, and of sum and difference of
    each two of them, n times the mean square over its variance, 1 or 2(1 ± ρ_ij), is χ² with n degrees of
    freedom. So d + d² tests with exact quantiles, each at `ERROR_PROBABILITY`/(d + d²).

    Map. Rounding moves a sample by Δ_ij = u|x_ij| + (d·u_acc + 3u)·√Σ_ii‖z_j‖ at most, the judge's own, in
    float64, by as much with its u. So Aᵀ, the least squares solution of zAᵀ = x − μ, is within
    δ = ‖Δ‖_F/σ_min(z) of a root of a matrix within E = c·d·u·‖Σ‖ of Σ, c = max(20, 3d + 1)
    (`covariance_roots`): ‖AAᵀ − Σ‖ ≤ E + 2δ√‖Σ‖ + δ², and ‖zAᵀ − (x − μ)‖_F ≤ ‖Δ‖_F. One step of refinement
    makes the solution that of the equations given.
    """
    import numpy as np

    z, mean, covariance = (problem.inputs[name] for name in ("z", "mean", "covariance"))
    u, acc, d = precision.u_out + OWN, precision.u_acc + OWN, mean.size
    apart, deviation = outputs["x"] - mean, np.sqrt(np.diag(covariance))
    length = np.linalg.norm(z, axis=1, keepdims=True)
    norm = float(np.linalg.norm(covariance, 2))
    moved = (
        u * np.abs(outputs["x"])
        + (d * acc + 3 * u) * deviation * length
        + float(precision.format.min_subnormal)
    )
    found = np.linalg.lstsq(z, apart, rcond=None)
    root_t, smallest, rounding = found[0], float(found[3][-1]), float(np.linalg.norm(moved))
    root_t = root_t + np.linalg.lstsq(z, apart - z @ root_t, rcond=None)[0]
    change = float(np.linalg.norm(root_t.T @ root_t - covariance, 2))
    delta = rounding / smallest
    departure = roots.backward_error_bound(d, max(u, acc), norm)
    allowed = departure + 2 * delta * math.sqrt(norm) + delta**2
    residual = float(np.linalg.norm(z @ root_t - apart))
    ratios = [change / allowed, residual / rounding, *_tests(apart, covariance, moved, departure)]
    return {"x": {"bound_ratio": max(ratios), "backward_error": change / norm}}


def _tests(apart: Floats, covariance: Floats, moved: Floats, departure: float) -> list[float]:
    """Return each statistic's distance from its centre over that of its quantiles, and of rounding.

    A variance wᵀΣw is wᵀ(Σ + ΔΣ)w for a root that is as good as factorisations are: ‖w‖²·`departure` off.
    """
    import numpy as np
    from scipy.special import gammaincinv, ndtri

    n, d = apart.shape
    deviation = np.sqrt(np.diag(covariance))
    each = ERROR_PROBABILITY / (d + d * d)
    low, high = (math.sqrt(2 * float(gammaincinv(n / 2, q)) / n) for q in (each / 2, 1 - each / 2))
    scaled, slack, off = apart / deviation, moved / deviation, departure / deviation**2
    allowed = -float(ndtri(each / 2)) * np.sqrt((1 + off) / n) + np.mean(slack, axis=0)
    ratios = list(np.abs(np.mean(scaled, axis=0)) / allowed)
    for i in range(d):
        for j in range(i, d):
            correlation = covariance[i, j] / (deviation[i] * deviation[j])
            for sign in (1.0, -1.0) if i < j else (0.0,):
                values = scaled[:, i] + sign * scaled[:, j] if sign else scaled[:, i]
                variance = max(2 * (1 + sign * correlation), 0.0) if sign else 1.0
                change = off[i] + abs(sign) * off[j]
                least, most = math.sqrt(max(variance - change, 0.0)), math.sqrt(variance + change)
                rounding = math.sqrt(float(np.mean((slack[:, i] + abs(sign) * slack[:, j]) ** 2)))
                below, above = low * least - rounding, high * most + rounding
                size = math.sqrt(float(np.mean(values**2)))
                ratios.append(size / above if below <= 0 else abs(2 * size - below - above) / (above - below))
    return [float(r) for r in ratios]


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return d³/3 flops of Cholesky and 2d² + d for each sample, whatever a formulation spends."""
    n, d = shapes["z"]
    return Cost(d**3 // 3 + n * (2 * d * d + d), (2 * n * d + d + d * d) * itemsize)


register_operation(
    Operation(
        name="mvn_sampling",
        title="Samples of a multivariate normal distribution",
        formula="x = μ + A·z, A·Aᵀ = Σ",
        inputs={"z": "(n, d): standard normal draws", "mean": "(d,)", "covariance": "(d, d), semidefinite"},
        outputs=("x",),
        dtypes=("float64", "float32"),
        reference=reference,
        reference_version=1,
        bound_formula=(
            "the worst of: d + d² tests of mean and covariance at 10⁻⁶/(d + d²), statistic over quantile; "
            "‖AAᵀ − Σ‖₂/(c·d·u‖Σ‖₂ + 2δ√‖Σ‖₂ + δ²) for the A that least squares finds from z and x, "
            "c = max(20, 3d + 1), δ = ‖Δ‖_F/σ_min(z); ‖zAᵀ − (x − μ)‖_F/‖Δ‖_F, "
            "Δ = u|x| + (d·u_acc + 3u)√Σ_ii‖z‖"
        ),
        bound_source=(
            "Anderson, An Introduction to Multivariate Statistical Analysis, 3rd ed. 2003, theorems 3.3.2 "
            f"and 7.2.1: of normal samples with known moments, and Bonferroni; {roots.SOURCE}"
        ),
        judge=judge,
        cost=cost,
    )
)


def _mapped(xp: Any, z: Any, mean: Any, root: Any) -> Any:
    return xp.add(mean, xp.matmul(z, xp.transpose(root)))


@formulation("mvn_sampling", "cholesky", title="A = L of Σ = LLᵀ", needs=roots.NEEDS)
def cholesky(xp: Any, z: Any, mean: Any, covariance: Any) -> Callable[[], Any]:
    """Raise where Σ is singular, or nearer to it than rounding: λ_min < d·u·λ_max."""
    return lambda: _mapped(xp, z, mean, xp.cholesky(covariance))


@formulation("mvn_sampling", "eigh", title="A = Q√Λ, λ from 0 on", needs=roots.NEEDS)
def eigh(xp: Any, z: Any, mean: Any, covariance: Any) -> Callable[[], Any]:
    """Take 0 for eigenvalues that rounding made negative: a root of a matrix within rounding of Σ."""

    def thunk() -> Any:
        w, q = xp.eigh(covariance)
        return _mapped(xp, z, mean, xp.multiply(q, xp.sqrt(xp.maximum(w, xp.scalar(0)))))

    return thunk


@formulation("mvn_sampling", "svd", title="A = U√S", needs=roots.NEEDS)
def svd(xp: Any, z: Any, mean: Any, covariance: Any) -> Callable[[], Any]:
    """Take singular values, which are never negative."""

    def thunk() -> Any:
        u, s, _ = xp.svd(covariance)
        return _mapped(xp, z, mean, xp.multiply(u, xp.sqrt(s)))

    return thunk
