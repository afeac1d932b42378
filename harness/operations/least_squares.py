"""Linear least squares, min ‖b − Ax‖₂: the solution of minimum norm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.model import Condition, Written, format_written
from harness.registry import (
    Cost,
    ExactProblem,
    Operation,
    Parameter,
    Thunk,
    formulation,
    register_operation,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

BACKWARD_CONSTANT: Final = 10
"""c of the bound c·√(mn)·u on the backward error of Householder QR.

Connolly and Higham (2023), theorem 4.4: with rounding errors that are mean independent and of mean zero,
‖ΔA‖_F ≤ c₆λ√n·(exp(λ√m·u) − 1)·‖A‖_F + O(u²) with probability at least 1 − 2mn·exp(−λ²), which is
c₆λ²·√(mn)·u; theirs is a small integer. The guarantee without probability is c·mn·u (Higham 2002, theorems
19.4 and 20.3): of large problems it tells too little.
"""
FORWARD_CONSTANT: Final = 20
"""c of the bound c·√(mn)·u·(κ + κ²‖r‖/(‖A‖‖x‖)): what the one on the backward error implies."""
UNDERFLOW_CONSTANT: Final = 4
"""c of the change c·mn·ω of b and of each column of A that stands for all underflow.

A product that underflows gradually is off by ω/2 (Higham 2002, (2.8)). A reflector I − τvvᵀ, τ‖v‖ ≤ 2, takes
m + 1 of them for τ(vᵀb), which v spreads, and m for the update: at most (m + 1 + √m/2)·ω. There are n
reflectors, and the n products to a row of the triangular system are fewer.
"""


def _reference(problem: ExactProblem) -> Reference:
    import numpy as np
    from flint import arb, ctx

    from harness.reference.elements import Reference, ReferenceArray
    from harness.reference.exact_least_squares import Scaled, solve_least_squares

    a, b = problem.inputs["a"], problem.inputs["b"]
    if a.ndim != 2 or b.shape != a.shape[:1] or 0 in a.shape:
        raise InputError(
            f"least squares takes a matrix (m, n) and a vector (m,), not {list(a.shape)} and {list(b.shape)}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("least squares is defined for finite data only; a or b holds infinities or NaN")
    solution = solve_least_squares(Scaled.of(a), Scaled.of(b))
    _check_separated(problem.parameters.get("rcond", "machine"), solution.condition)
    with ctx.workprec(256):
        scale = arb(2) ** solution.x_exponent
        balls = [arb(value) * scale for value in solution.x]
    return Reference({"x": ReferenceArray.from_balls(balls, (len(balls),))}, solution.quantities())


def _check_separated(rcond: Written, condition: Any) -> None:
    """Refuse a tolerance that would cut singular values that are not zero: x would be another vector."""
    from flint import arb

    if rcond == "machine":
        return
    tolerance = _tolerance(rcond)
    if not condition * arb(str(tolerance)) < 1:
        raise InputError(
            f"rcond {format_written(rcond)} truncates singular values of a matrix whose condition number, "
            f"within its exact rank, is {float(condition.mid()):.4g}",
            "the reference is the minimum-norm solution for the exact rank: choose rcond below 1/κ",
        )


def _tolerance(rcond: Written) -> Decimal:
    if isinstance(rcond, (bool, str)):
        raise InputError(f"rcond is {rcond!r}; allowed: 'machine', or a number from 0 to below 1")
    tolerance = Decimal(rcond)
    if not 0 <= tolerance < 1:
        raise InputError(
            f"rcond is {format_written(rcond)}; allowed: 'machine', or a number from 0 to below 1"
        )
    return tolerance


def _judge(
    problem: ExactProblem,
    reference: Reference,
    outputs: Mapping[str, NDArray[np.float64]],
    precision: Precision,
) -> Mapping[str, Mapping[str, float]]:
    """Compare the forward error with Wedin's bound and the backward error with that of Householder QR.

    Underflow is a change of b by η = c·mn·ω, of A by √n·η in the Frobenius norm, and of x by √n·ω. The
    backward error puts what b and x have of it into A, over max(‖x̂‖, ‖r̂‖/‖A‖).

    Both bounds are computed as log2: κ² may be beyond float64. No metrics are given for an output that
    is not finite.
    """
    import numpy as np

    from harness.reference.exact_least_squares import Scaled, backward_error

    a, b, x = problem.inputs["a"], problem.inputs["b"], outputs["x"]
    if not np.isfinite(x).all():
        return {}
    quantity: Any = reference.quantities
    u = max(precision.u_in, precision.u_acc, precision.u_out)
    elements = math.prod(a.shape)
    size, root_n = math.sqrt(elements), math.log2(a.shape[1]) / 2
    kappa, norm_x, norm_a = (quantity[q] for q in ("condition_log2", "norm_x_log2", "norm_a_2_log2"))
    least = math.log2(precision.format.min_subnormal)
    eta = math.log2(UNDERFLOW_CONSTANT * elements) + least
    error = _norm_log2(reference.outputs["x"].error_log2(x))
    relative_change = _sum_log2(math.log2(FORWARD_CONSTANT * size * u), 1 + root_n + eta - norm_a)
    forward_bound = _sum_log2(
        relative_change + kappa + norm_x,
        relative_change + 2 * kappa + quantity["norm_r_log2"] - norm_a,
        1 + eta + kappa - norm_a,
        root_n + least,
    )
    backward = backward_error(Scaled.of(a), Scaled.of(b), Scaled.of(x))
    residual = quantity["norm_r_log2"] if x.any() else quantity["norm_b_log2"]
    with np.errstate(divide="ignore"):
        backward_log2 = float(np.log2(backward))
        over = max(_norm_log2(np.log2(np.abs(x))), residual - norm_a)
    backward_bound = _sum_log2(
        math.log2(BACKWARD_CONSTANT * size * u),
        root_n + eta - quantity["norm_a_f_log2"],
        eta - quantity["norm_a_f_log2"] - over,
        root_n + least - over,
    )
    relative = _quotient(error, norm_x)
    return {
        "x": {
            "bound_ratio": max(_quotient(error, forward_bound), _quotient(backward_log2, backward_bound)),
            "backward_error": backward,
            "norm_rel_error": relative,
            "condition": quantity["condition"],
            "kappa_error": _quotient(error, norm_x + kappa + math.log2(u)),
        }
    }


def _sum_log2(*log2_terms: float) -> float:
    """Return log2 of the sum of numbers given by their log2."""
    import numpy as np

    return float(np.logaddexp2.reduce(np.array(log2_terms)))


def _norm_log2(log2_abs: NDArray[np.float64]) -> float:
    """Return log2 of the 2-norm of numbers given by log2 of their magnitudes."""
    import numpy as np

    return float(np.logaddexp2.reduce(2 * log2_abs)) / 2


def _quotient(numerator_log2: float, denominator_log2: float) -> float:
    """Return the quotient of two numbers given by their log2: 0/0 is 0, anything else over 0 infinite."""
    if numerator_log2 == -math.inf:
        return 0.0
    difference = numerator_log2 - denominator_log2
    return math.inf if difference >= 1024 else 2.0**difference


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return the 2mn² − ⅔n³ flops of Householder QR (for m ≥ n), whatever a formulation spends.

    One count for all of them makes their GFLOP/s comparable as speeds of solving the problem (Golub and
    Van Loan 2013, section 5.3.3). Bytes are those of A, b and x, once.
    """
    m, n = shapes["a"]
    long, short = max(m, n), min(m, n)
    return Cost(2 * long * short**2 - 2 * short**3 // 3, (m * n + m + n) * itemsize)


OPERATION = register_operation(
    Operation(
        name="least_squares",
        title="Linear least squares",
        formula="x = argmin ‖b − A·x‖₂, of minimum norm ‖x‖₂",
        inputs={"a": "(m, n), not zero", "b": "(m,)"},
        outputs=("x",),
        dtypes=("float64", "float32"),
        reference=_reference,
        reference_version=1,
        bound_formula=(
            "the worse of ‖x̂ − x‖/(20·√(mn)·u·(κ‖x‖ + κ²‖r‖/‖A‖)) and of "
            "‖(‖x̂‖²AᵀA + ‖r̂‖²I)^(−½)·Aᵀr̂‖/(10·√(mn)·u·‖A‖_F), with 4mn·ω more in b and in each column of A"
        ),
        bound_source=(
            "Higham 2002, theorem 20.3 (Householder QR is backward stable) and 20.1 (Wedin's perturbation "
            "bound, ε·κ·(2 + (κ + 1)‖r‖/(‖A‖‖x‖)), here at most twice ε·(κ + κ²‖r‖/(‖A‖‖x‖))); √(mn) for mn, "
            "with high probability: Connolly and Higham 2023, theorem 4.4; estimate of the backward error: "
            "Karlson and Waldén 1997, Grcar 2003, within √2 of the optimum: Gratton, Jiránek and "
            "Titley-Peloquin 2012"
        ),
        judge=_judge,
        parameters={
            "rcond": Parameter(
                default="machine",
                description=(
                    "singular values up to rcond·σ₁ count as zero where a formulation truncates: a number, "
                    "or 'machine' for max(m, n)·2u"
                ),
                choices=("machine",),
                kind="number",
                within=Condition(at_least=0, below=1),
            )
        },
        cost=cost,
    )
)

_NEEDS: Final = ("elementwise", "matmul", "linalg")


@formulation("least_squares", "normal_equations", title="AᵀA x = Aᵀb by LU with pivoting", needs=_NEEDS)
def normal_equations(xp: Any, a: Any, b: Any, rcond: Written = "machine") -> Thunk:
    """Return the solution of the normal equations, whose condition number is κ²; no truncation."""

    def thunk() -> Any:
        at = xp.transpose(a)
        return xp.solve(xp.matmul(at, a), xp.matmul(at, b))

    return thunk


@formulation("least_squares", "cholesky", title="AᵀA x = Aᵀb by Cholesky", needs=_NEEDS)
def cholesky(xp: Any, a: Any, b: Any, rcond: Written = "machine") -> Thunk:
    """Return the solution of the normal equations; raises once AᵀA as rounded is indefinite."""

    def thunk() -> Any:
        at = xp.transpose(a)
        factor = xp.cholesky(xp.matmul(at, a))
        y = xp.solve_triangular(factor, xp.matmul(at, b), lower=True)
        return xp.solve_triangular(factor, y, lower=True, transpose=True)

    return thunk


@formulation("least_squares", "householder_qr", title="A = QR, R x = Qᵀb", needs=_NEEDS)
def householder_qr(xp: Any, a: Any, b: Any, rcond: Written = "machine") -> Thunk:
    """Return R⁻¹Qᵀb of the Householder factorisation; for full column rank, no truncation."""

    def thunk() -> Any:
        q, r = xp.qr(a)
        return xp.solve_triangular(r, xp.matmul(xp.transpose(q), b), lower=False)

    return thunk


@formulation("least_squares", "svd", title="A = UΣVᵀ, x = VΣ⁺Uᵀb with truncation", needs=_NEEDS)
def svd(xp: Any, a: Any, b: Any, rcond: Written = "machine") -> Thunk:
    """Return VΣ⁺Uᵀb, where singular values up to rcond·σ₁ count as zero.

    The default is LAPACK's and NumPy's, max(m, n)·2u (Golub and Van Loan 2013, section 5.5.8).
    """
    machine = 2 * max(a.shape) * xp.dtype.storage.unit_roundoff
    tolerance = xp.scalar(machine if rcond == "machine" else _tolerance(rcond))
    zero, one = xp.scalar(0), xp.scalar(1)

    def thunk() -> Any:
        u, s, vt = xp.svd(a)
        kept = xp.greater(s, xp.multiply(tolerance, s[0]))
        along = xp.matmul(xp.transpose(u), b)
        weights = xp.where(kept, xp.divide(along, xp.where(kept, s, one)), zero)  # 1/s alone may overflow
        return xp.matmul(xp.transpose(vt), weights)

    return thunk
