"""The logarithm of the multivariate normal density, by three factorisations of the covariance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations import covariance_roots as roots
from harness.operations.normal_family import HALF_LOG_TWO_PI
from harness.registry import (
    COTANGENT,
    Cost,
    ExactProblem,
    Gradient,
    Operation,
    formulation,
    gradient,
    gradient_output,
    register_operation,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

    Floats = NDArray[np.float64]

LOG: Final = 8
"""Units of u of a logarithm: 4 units in the last place, each at most 2u."""
_HALF: Final = Fraction(1, 2)


def _rounded(value: Fraction) -> float:
    """Return a rational in float64, ±∞ beyond its range: there bounds are infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _solved(problem: ExactProblem) -> tuple[list[list[Fraction]], list[Fraction], Fraction, dict[str, Any]]:
    """Return z = Σ⁻¹(x − μ) of each point, (x − μ)ᵀz, det Σ, all exact; and what weighs in the bounds."""
    import numpy as np
    from flint import fmpq, fmpq_mat

    d = roots.check(problem, "x")
    x, mean, covariance = (problem.inputs[name] for name in ("x", "mean", "covariance"))
    _, pivots = roots.exact_factors(covariance)
    if not all(pivots):
        raise InputError("the covariance is singular: there is no density", "use a positive definite matrix")

    def exact(v: float) -> Any:
        return fmpq(*v.as_integer_ratio())

    def fraction(v: Any) -> Fraction:
        return Fraction(int(v.p), int(v.q))

    centre = [exact(v) for v in mean.tolist()]
    apart = [[exact(v) - c for v, c in zip(row, centre, strict=True)] for row in x.tolist()]
    matrix = fmpq_mat(d, d, [exact(v) for v in covariance.ravel().tolist()])
    inverse = matrix.inv()
    solved = [
        [fraction(sum((inverse[i, j] * row[j] for j in range(d)), fmpq(0))) for i in range(d)]
        for row in apart
    ]
    forms = [
        sum((z * fraction(r) for z, r in zip(zs, rs, strict=True)), Fraction(0))
        for zs, rs in zip(solved, apart, strict=True)
    ]
    of_inverse = np.array([[_rounded(fraction(inverse[i, j])) for j in range(d)] for i in range(d)])
    norm, norm_inverse = float(np.linalg.norm(covariance, 2)), float(np.linalg.norm(of_inverse, 2))
    quantities = {
        "norm": norm,
        "norm_inverse": norm_inverse,
        "trace_inverse": float(np.trace(of_inverse)),
        "solution": np.array([[_rounded(z) for z in zs] for zs in solved]),
        "apart": np.array([[_rounded(fraction(r)) for r in rs] for rs in apart]),
        "forms": np.array([_rounded(q) for q in forms]),
        "condition": norm * norm_inverse,
    }
    return solved, forms, math.prod(pivots, start=Fraction(1)), quantities


def reference(problem: ExactProblem) -> Reference:
    """Return −½(d ln 2π + ln det Σ + q): q and the determinant are rational numbers."""
    from harness.reference.certify import ball_of, certify
    from harness.reference.elements import Reference

    _, forms, determinant, quantities = _solved(problem)
    d = problem.inputs["mean"].size

    def balls(bits: int) -> list[Any]:
        from flint import arb

        constant = d * (2 * arb.pi()).log() + ball_of(determinant).log()
        return [-(constant + ball_of(q)) / 2 for q in forms]

    y = certify(balls, fmt=problem.dtype.storage, shape=(len(forms),))
    return Reference({"y": y}, quantities)


def gradient_reference(problem: ExactProblem) -> Reference:
    """Return −g·z for the points and Σ g·z for the mean, z = Σ⁻¹(x − μ): rational numbers."""
    from harness.reference.elements import Reference, ReferenceArray

    solved, _, _, quantities = _solved(problem)
    g = [Fraction(v) for v in problem.inputs[COTANGENT].ravel().tolist()]
    d = problem.inputs["mean"].size
    outputs = {}
    for name in problem.with_respect_to:
        if name == "x":
            flat = [-w * z for w, zs in zip(g, solved, strict=True) for z in zs]
            found = ReferenceArray.from_fractions(flat, (len(solved), d))
        else:
            sums = [sum((w * zs[j] for w, zs in zip(g, solved, strict=True)), Fraction(0)) for j in range(d)]
            found = ReferenceArray.from_fractions(sums, (d,))
        outputs[gradient_output(name)] = found
    return Reference(outputs, quantities)


def _departure(problem: ExactProblem, reference: Reference, u: float) -> tuple[float, float]:
    """Return E = max(20, 3d + 1)·d·u·‖Σ‖ and 1/(1 − E·‖Σ⁻¹‖), infinite where Σ + ΔΣ may be singular."""
    q: Any = reference.quantities
    change = roots.backward_error_bound(problem.inputs["mean"].size, u, float(q["norm"]))
    left = 1 - change * float(q["norm_inverse"])
    return change, 1 / left if left > 0 else math.inf


def bound(problem: ExactProblem, reference: Reference, precision: Precision) -> Mapping[str, Floats]:
    """Return log2 of the bound on each density.

    Factors of Σ + ΔΣ, ‖ΔΣ‖ ≤ E, change ln det Σ by E·tr Σ⁻¹/(1 − ρ), ρ = E·‖Σ⁻¹‖, and q by E·‖z‖²/(1 − ρ);
    the rounding of x − μ changes q by (2u Σ|r||z| + u²‖r‖²‖Σ⁻¹‖)/(1 − ρ). Logarithms of at most
    Λ = max |ln λ| and their sum add (8u + d·u_acc)·d·Λ, squares and their sum (d·u_acc + 4u)·q, the sum of
    all parts 6u of them.
    """
    import numpy as np

    q: Any = reference.quantities
    u, acc, d = precision.u_out, precision.u_acc, problem.inputs["mean"].size
    change, more = _departure(problem, reference, max(u, acc))
    z, r = np.asarray(q["solution"]), np.asarray(q["apart"])
    largest = max(abs(math.log(q["norm"])), abs(math.log(q["norm_inverse"])))
    of_difference = 2 * u * np.sum(np.abs(z * r), axis=1) + u**2 * np.sum(r * r, axis=1) * q["norm_inverse"]
    with np.errstate(invalid="ignore", over="ignore"):
        form = (change * np.sum(z * z, axis=1) + of_difference) * more
        logarithm = change * q["trace_inverse"] * more + (LOG * u + d * acc) * d * largest
        size = np.asarray(q["forms"]) + form
        parts = d * (2 * float(HALF_LOG_TWO_PI) + largest) + size
        total = (form + logarithm + (d * acc + 4 * u) * size + 6 * u * parts) / 2
        return {"y": np.log2(total + d * float(precision.format.min_subnormal))}


def gradient_bound(problem: ExactProblem, reference: Reference, precision: Precision) -> Mapping[str, Floats]:
    """Return log2 of the bounds: ‖ẑ − z‖ ≤ (E·‖z‖ + u‖r‖)·‖Σ⁻¹‖/(1 − ρ), and products or their sum."""
    import numpy as np

    q: Any = reference.quantities
    u, acc, d = precision.u_out, precision.u_acc, problem.inputs["mean"].size
    g = np.abs(problem.inputs[COTANGENT]).reshape(-1, 1)
    change, more = _departure(problem, reference, max(u, acc))
    z = np.asarray(q["solution"])
    lengths, apart = (np.linalg.norm(q[name], axis=1, keepdims=True) for name in ("solution", "apart"))
    least = d * float(precision.format.min_subnormal)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = (change * lengths + u * apart) * q["norm_inverse"] * more
        each = g * (moved + 4 * u * (np.abs(z) + moved)) + least
        mean = np.sum(each + len(g) * acc * g * (np.abs(z) + moved), axis=0)
        found = {"x": each, "mean": mean}
        return {gradient_output(n): np.log2(found[n]) for n in problem.with_respect_to}


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return d³/3 flops of Cholesky and d² + 3d for each point, whatever a formulation spends."""
    n, d = shapes["x"]
    return Cost(d**3 // 3 + n * (d * d + 3 * d), (n * d + d + d * d + n) * itemsize)


_BOUND: Final = (
    "½[(E·‖z‖² + 2uΣ|r||z| + u²‖r‖²‖Σ⁻¹‖ + E·tr Σ⁻¹)/(1 − E‖Σ⁻¹‖) + (8u + d·u_acc)·d·Λ + (d·u_acc + 4u)q "
    "+ 6u·parts], "
    "E = max(20, 3d + 1)·d·u·‖Σ‖₂, r = x − μ, z = Σ⁻¹r, Λ = max |ln λ|; none where E‖Σ⁻¹‖ ≥ 1"
)

register_operation(
    Operation(
        name="mvn_log_density",
        title="Multivariate normal log-density",
        formula="y = −½(d ln 2π + ln det Σ + (x − μ)ᵀΣ⁻¹(x − μ))",
        inputs={"x": "(n, d)", "mean": "(d,)", "covariance": "(d, d), positive definite"},
        outputs=("y",),
        dtypes=("float64", "float32"),
        reference=reference,
        reference_version=1,
        bound_formula=_BOUND,
        bound_source=roots.SOURCE,
        bound=bound,
        cost=cost,
        gradient=Gradient(
            with_respect_to=("x", "mean"),
            formula="−g·Σ⁻¹(x − μ), and its negated sum over the points",
            reference=gradient_reference,
            reference_version=1,
            bound_formula=(
                "|g|·(E‖z‖ + u‖r‖)·‖Σ⁻¹‖/(1 − E‖Σ⁻¹‖) + 4u|g z|; of the mean: their sum, n·u_acc more"
            ),
            bound_source=roots.SOURCE,
            bound=gradient_bound,
        ),
    )
)


def _density(xp: Any, d: int, form: Any, log_determinant: Any) -> Any:
    constant = xp.scalar(2 * d * HALF_LOG_TWO_PI)
    return xp.negative(xp.multiply(xp.scalar(_HALF), xp.add(xp.add(form, constant), log_determinant)))


@formulation("mvn_log_density", "cholesky", title="Σ = LLᵀ: ‖L⁻¹(x − μ)‖² and 2Σ ln l_ii", needs=roots.NEEDS)
def cholesky(xp: Any, x: Any, mean: Any, covariance: Any) -> Callable[[], Any]:
    """Raise once Σ as rounded while factored is indefinite: λ_min < d·u·λ_max."""
    d = mean.shape[0]

    def thunk() -> Any:
        factor = xp.cholesky(covariance)
        v = xp.solve_triangular(factor, xp.transpose(xp.subtract(x, mean)), lower=True)
        logarithms = xp.log(roots.diagonal(xp, factor, d))
        return _density(xp, d, xp.sum(xp.square(v), axis=0), xp.multiply(xp.scalar(2), xp.sum(logarithms)))

    return thunk


@formulation("mvn_log_density", "eigh", title="Σ = QΛQᵀ, λ from d·u·λ_max on", needs=roots.NEEDS)
def eigh(xp: Any, x: Any, mean: Any, covariance: Any) -> Callable[[], Any]:
    """Give an answer for every Σ, right while the smallest eigenvalue is above rounding."""
    d = mean.shape[0]

    def thunk() -> Any:
        w, q = xp.eigh(covariance)
        w = roots.no_less_than_rounding(xp, w, d)
        along = xp.matmul(xp.subtract(x, mean), q)
        form = xp.sum(xp.divide(xp.square(along), w), axis=1)
        return _density(xp, d, form, xp.sum(xp.log(w)))

    return thunk


@formulation("mvn_log_density", "svd", title="Σ = UΣVᵀ, σ from d·u·σ_max on", needs=roots.NEEDS)
def svd(xp: Any, x: Any, mean: Any, covariance: Any) -> Callable[[], Any]:
    """Take singular values for eigenvalues: the same of a positive definite matrix."""
    d = mean.shape[0]

    def thunk() -> Any:
        u, s, vt = xp.svd(covariance)
        s = roots.no_less_than_rounding(xp, s, d)
        apart = xp.subtract(x, mean)
        products = xp.multiply(xp.matmul(apart, u), xp.matmul(apart, xp.transpose(vt)))
        return _density(xp, d, xp.sum(xp.divide(products, s), axis=1), xp.sum(xp.log(s)))

    return thunk


Solve = Callable[[Any, Any, Any], Any]


def _by_cholesky(xp: Any, apart: Any, covariance: Any) -> Any:
    factor = xp.cholesky(covariance)
    v = xp.solve_triangular(factor, xp.transpose(apart), lower=True)
    return xp.transpose(xp.solve_triangular(factor, v, lower=True, transpose=True))


def _by_eigh(xp: Any, apart: Any, covariance: Any) -> Any:
    w, q = xp.eigh(covariance)
    w = roots.no_less_than_rounding(xp, w, covariance.shape[0])
    return xp.matmul(xp.divide(xp.matmul(apart, q), w), xp.transpose(q))


def _by_svd(xp: Any, apart: Any, covariance: Any) -> Any:
    u, s, vt = xp.svd(covariance)
    s = roots.no_less_than_rounding(xp, s, covariance.shape[0])
    return xp.matmul(xp.divide(xp.matmul(apart, u), s), vt)


def _slope(solve: Solve) -> Callable[..., Any]:
    """Return the gradient by a way to solve Σz = x − μ."""

    def build(
        xp: Any,
        x: Any,
        mean: Any,
        covariance: Any,
        cotangent: Any,
        with_respect_to: tuple[str, ...] = ("x", "mean"),
    ) -> Callable[[], Any]:
        g = xp.reshape(cotangent, (x.shape[0], 1))

        def thunk() -> Any:
            weighted = xp.multiply(g, solve(xp, xp.subtract(x, mean), covariance))
            found = {"x": xp.negative(weighted), "mean": xp.sum(weighted, axis=0)}
            return tuple(found[name] for name in with_respect_to)

        return thunk

    return build


for _name, _title, _solve in (
    ("cholesky", "−g·L⁻ᵀL⁻¹(x − μ)", _by_cholesky),
    ("eigh", "−g·QΛ⁻¹Qᵀ(x − μ)", _by_eigh),
    ("svd", "−g·VΣ⁻¹Uᵀ(x − μ)", _by_svd),
):
    gradient("mvn_log_density", _name, title=_title, needs=roots.NEEDS)(_slope(_solve))
