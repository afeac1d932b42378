"""Softmax along an axis: exp(x_i) / Σ exp(x_j)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.model import Written
from harness.operations import exponential_gradients
from harness.operations import shifted_exponentials as family
from harness.operations.widening import AT_LEAST_SINGLE, at_least_single
from harness.registry import (
    COTANGENT,
    Cost,
    ExactProblem,
    Gradient,
    Operation,
    formulation,
    gradient,
    register_operation,
)

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


def gradient_reference(problem: ExactProblem) -> Reference:
    """Return the certified gradient; undefined where softmax is, 0 at −inf entries."""
    from harness.reference.elements import Reference
    from harness.reference.exponential_gradients import softmax_gradient

    x, axis = family.exact_input(problem)
    found = softmax_gradient(x, problem.inputs[COTANGENT], axis, problem.dtype.storage)
    return Reference({exponential_gradients.OUTPUT: found}, exponential_gradients.quantities(problem))


def gradient_cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 9n − 3 a row: the value, and n products, n − 1 additions, n subtractions and n products.

    x and the cotangent are read, the gradient is written.
    """
    rows, n = family.rows_and_length(shapes["x"], parameters)
    return Cost(rows * (9 * n - 3), 3 * rows * n * element_bytes)


@formulation("softmax", "naive", title="exp(x) / Σ exp(x)", needs=("elementwise", "sum"))
def naive(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Overflow where x > ln Ω, and where the sum does."""

    def thunk() -> Any:
        e = xp.exp(x)
        return xp.divide(e, xp.sum(e, axis=axis, keepdims=True))

    return thunk


@formulation("softmax", "shifted", title="exp(x − max) / Σ exp(x − max)", needs=("elementwise", "sum"))
def shifted(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Keep every exponent at or below 0.

    Softmax does not depend on the shift, and no gradient flows through it.
    """

    def thunk() -> Any:
        e = xp.exp(xp.subtract(x, xp.detach(xp.max(x, axis=axis, keepdims=True))))
        return xp.divide(e, xp.sum(e, axis=axis, keepdims=True))

    return thunk


@formulation(
    "softmax",
    "online",
    title=f"maximum and rescaled sum in one pass, tiles of {family.TILE}, float32 or wider inside",
    needs=("elementwise", "sum"),
    compute=AT_LEAST_SINGLE,
)
def online(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Read x once for the normaliser and once for the result (Milakov and Gimelshein 2018)."""
    place = axis % x.ndim

    def thunk() -> Any:
        wide, values, m, s = family.online_normaliser(xp, x, place)
        p = wide.divide(wide.exp(wide.subtract(values, m)), s)
        return p if wide is xp else wide.astype(p, xp.dtype.name)

    return thunk


@gradient(
    "softmax",
    "naive",
    title="e·(g/s − Σ g·(p/s)), e = exp(x), s = Σ e, p = e/s",
    needs=("elementwise", "sum"),
)
def naive_gradient(
    xp: Any, x: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("x",), axis: int = -1
) -> Callable[[], Any]:
    """Differentiate exp and the quotient one after the other, as automatic differentiation does.

    p/s overflows or underflows long before p does: 1/n² for n equal entries at 0.
    """

    def thunk() -> Any:
        e = xp.exp(x)
        s = xp.sum(e, axis=axis, keepdims=True)
        p = xp.divide(e, s)
        of_sum = xp.sum(xp.multiply(cotangent, xp.divide(p, s)), axis=axis, keepdims=True)
        return (xp.multiply(e, xp.subtract(xp.divide(cotangent, s), of_sum)),)

    return thunk


@gradient("softmax", "shifted", title="p·(g − Σ p·g), p by the shifted form", needs=("elementwise", "sum"))
def shifted_gradient(
    xp: Any, x: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("x",), axis: int = -1
) -> Callable[[], Any]:
    """Use nothing of the value but p."""
    value = shifted(xp, x, axis)

    def thunk() -> Any:
        return (_jacobian_product(xp, value(), cotangent, axis),)

    return thunk


@gradient(
    "softmax",
    "online",
    title="p·(g − Σ p·g), p by the single-pass form, float32 or wider inside",
    needs=("elementwise", "sum"),
    compute=AT_LEAST_SINGLE,
)
def online_gradient(
    xp: Any, x: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("x",), axis: int = -1
) -> Callable[[], Any]:
    """Round to the storage format once, at the end."""
    place = axis % x.ndim

    def thunk() -> Any:
        wide, values, m, s = family.online_normaliser(xp, x, place)
        p = wide.divide(wide.exp(wide.subtract(values, m)), s)
        found = _jacobian_product(wide, p, at_least_single(xp, cotangent)[1], place)
        return (found if wide is xp else wide.astype(found, xp.dtype.name),)

    return thunk


def _jacobian_product(xp: Any, p: Any, g: Any, axis: int) -> Any:
    mean = xp.sum(xp.multiply(p, g), axis=axis, keepdims=True)
    return xp.multiply(p, xp.subtract(g, mean))


GRADIENT = Gradient(
    with_respect_to=("x",),
    formula="r_i = p_i·(g_i − Σ_j p_j g_j)",
    reference=gradient_reference,
    reference_version=1,
    bound_formula=(
        "α_i·k³·(|d_i| + Δ) + p_i·((k³ − 1)·|d_i| + k³·Δ) + ω, d_i = g_i − Σ p_j g_j, k = 1 + u, "
        "α_j the bound of softmax, Δ = Σ |g_j|·((p_j + α_j)·k⁴·(1 + (n−1)·u_acc) − p_j) + n·ω"
    ),
    bound_source=exponential_gradients.SOURCE,
    bound=exponential_gradients.softmax_bound,
    cost=gradient_cost,
)

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
        gradient=GRADIENT,
    )
)
