"""Softmax along an axis: exp(x_i) / Σ exp(x_j)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.model import Written
from harness.operations import shifted_exponentials as family
from harness.registry import Cost, ExactProblem, Operation, formulation, register_operation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def reference(problem: ExactProblem) -> Reference:
    """Return certified shares; a row with NaN, with +inf, or of nothing but −inf is undefined."""
    from harness.reference.elements import Reference
    from harness.reference.exponential_sums import softmax

    x, axis = family.exact_input(problem)
    p = softmax(x, axis, problem.dtype.storage)
    share = p.to_float64()
    condition = family.largest(family.share_condition(x, share, 1 - share, axis))
    return Reference({"p": p}, {**family.row_quantities(x, axis), **condition})


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of p·(e^η − 1) + ω, of at most 2, with η = u·(2·EXP_ULP + 1 + g_i) + |ln ŝ/s|.

    η adds to the sum's error that of the numerator and of the division; e^η − 1 is what it is without
    leaving out higher orders, and 2 holds for a quotient by a sum of at least 1 whatever η. ω is half
    of it for the exponential and half for the division. A structural zero allows no error.
    """
    import numpy as np

    from harness.reference.elements import ElementClass

    x, axis = family.exact_input(problem)
    p = reference.outputs["p"]
    own = precision.u_out * (2 * family.EXP_ULP + 1 + family.gaps(x, axis))
    eta = np.minimum(own + family.sum_error(reference, precision), 700.0)
    share = np.maximum(p.log2_abs(), np.where(p.hi == 0, p.radius_log2, -np.inf))
    of_share = np.minimum(np.nan_to_num(share, nan=-np.inf) + np.log2(np.expm1(eta)), 1.0)
    total = np.logaddexp2(of_share, np.log2(float(precision.format.min_subnormal)))
    return {"p": np.where(p.kind == ElementClass.ZERO, -np.inf, total)}


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 5n − 2 a row: n − 1 comparisons, n subtractions, n exp, n − 1 additions, n divisions.

    An elementary function counts as one operation. x is read and p written once.
    """
    rows, n = family.rows_and_length(shapes["x"], parameters)
    return Cost(rows * (5 * n - 2), 2 * rows * n * element_bytes)


@formulation("softmax", "naive", title="exp(x) / Σ exp(x)", needs=("elementwise", "sum"))
def naive(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Overflow where x > ln Ω, and where the sum does."""

    def thunk() -> Any:
        e = xp.exp(x)
        return xp.divide(e, xp.sum(e, axis=axis, keepdims=True))

    return thunk


@formulation("softmax", "shifted", title="exp(x − max) / Σ exp(x − max)", needs=("elementwise", "sum"))
def shifted(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Keep every exponent at or below 0."""

    def thunk() -> Any:
        e = xp.exp(xp.subtract(x, xp.max(x, axis=axis, keepdims=True)))
        return xp.divide(e, xp.sum(e, axis=axis, keepdims=True))

    return thunk


@formulation(
    "softmax",
    "online",
    title=f"maximum and rescaled sum in one pass, tiles of {family.TILE}, float32 or wider inside",
    needs=("elementwise", "sum"),
    compute=family.AT_LEAST_SINGLE,
)
def online(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Read x once for the normaliser and once for the result (Milakov and Gimelshein 2018)."""
    place = axis % x.ndim

    def thunk() -> Any:
        wide, values, m, s = family.online_normaliser(xp, x, place)
        p = wide.divide(wide.exp(wide.subtract(values, m)), s)
        return p if wide is xp else wide.astype(p, xp.dtype.name)

    return thunk


register_operation(
    Operation(
        name="softmax",
        title="Softmax",
        formula="p_i = exp(x_i) / Σ_j exp(x_j)",
        inputs=family.INPUTS,
        outputs=("p",),
        dtypes=family.DTYPES,
        reference=reference,
        reference_version=1,
        bound_formula=(
            "p_i·(e^η − 1) + ω, η = u·(15 + g_i + Σ p_j g_j) + (n−1)·u_acc + n·ω/2, g_i = max x − x_i"
        ),
        bound_source=family.SOURCE,
        bound=bound,
        parameters=family.PARAMETERS,
        cost=cost,
    )
)
