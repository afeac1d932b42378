"""Log-softmax along an axis: x_i − log Σ exp(x_j)."""

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
    """Return certified logarithms; −inf entries give −inf, the only finite entry of a row exactly 0.

    A row with NaN, with +inf, or of nothing but −inf is undefined.
    """
    import numpy as np

    from harness.reference.elements import Reference
    from harness.reference.exponential_sums import log_softmax

    x, axis = family.exact_input(problem)
    y = log_softmax(x, axis, problem.dtype.storage)
    value = y.to_float64()
    with np.errstate(divide="ignore", invalid="ignore"):
        condition = family.share_condition(x, np.exp(value), -np.expm1(value), axis) / np.abs(value)
    return Reference({"y": y}, {**family.row_quantities(x, axis), **family.largest(condition)})


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of u·(2|y| + 2·LOG_ULP·ln s) + |ln ŝ/s| + ω.

    u·g_i ≤ u|y| for x_i − m, u|y| for the last subtraction, 2·LOG_ULP·u·ln s for the logarithm, and the
    sum's own error; ω for results that underflow. The only finite entry of a row allows no error.
    """
    import numpy as np

    y = reference.outputs["y"]
    q = reference.quantities
    roundings = 2 * family.magnitude(y) + 2 * family.LOG_ULP * np.asarray(q["log_sum"])
    error = precision.u_out * roundings + family.sum_error(reference, precision)
    total = error + float(precision.format.min_subnormal)
    return {"y": family.log2(np.where(np.asarray(q["terms"]) > 1, total, 0.0))}


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 5n − 1 a row: n − 1 comparisons, 2n subtractions, n exp, n − 1 additions, one log.

    An elementary function counts as one operation. x is read and y written once.
    """
    rows, n = family.rows_and_length(shapes["x"], parameters)
    return Cost(rows * (5 * n - 1), 2 * rows * n * element_bytes)


def gradient_reference(problem: ExactProblem) -> Reference:
    """Return the certified gradient; undefined where softmax is, g itself at −inf entries."""
    from harness.reference.elements import Reference
    from harness.reference.exponential_gradients import log_softmax_gradient

    x, axis = family.exact_input(problem)
    found = log_softmax_gradient(x, problem.inputs[COTANGENT], axis, problem.dtype.storage)
    return Reference({exponential_gradients.OUTPUT: found}, exponential_gradients.quantities(problem))


def gradient_cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 9n − 2 a row: the value, and n − 1 additions, n exp, n products and n subtractions.

    x and the cotangent are read, the gradient is written.
    """
    rows, n = family.rows_and_length(shapes["x"], parameters)
    return Cost(rows * (9 * n - 2), 3 * rows * n * element_bytes)


@formulation("log_softmax", "naive", title="log(exp(x) / Σ exp(x))", needs=("elementwise", "sum"))
def naive(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Take the logarithm of the naive softmax: −inf where the share underflows."""

    def thunk() -> Any:
        e = xp.exp(x)
        return xp.log(xp.divide(e, xp.sum(e, axis=axis, keepdims=True)))

    return thunk


@formulation("log_softmax", "shifted", title="(x − max) − log Σ exp(x − max)", needs=("elementwise", "sum"))
def shifted(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Subtract the maximum first: adding it to the logarithm would lose the digits of small sums."""

    def thunk() -> Any:
        d = xp.subtract(x, xp.detach(xp.max(x, axis=axis, keepdims=True)))
        return xp.subtract(d, xp.log(xp.sum(xp.exp(d), axis=axis, keepdims=True)))

    return thunk


@formulation(
    "log_softmax",
    "online",
    title=f"maximum and rescaled sum in one pass, tiles of {family.TILE}, float32 or wider inside",
    needs=("elementwise", "sum"),
    compute=AT_LEAST_SINGLE,
)
def online(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Read x once for the normaliser and once for the result."""
    place = axis % x.ndim

    def thunk() -> Any:
        wide, values, m, s = family.online_normaliser(xp, x, place)
        y = wide.subtract(wide.subtract(values, m), wide.log(s))
        return y if wide is xp else wide.astype(y, xp.dtype.name)

    return thunk


@gradient(
    "log_softmax",
    "naive",
    title="e·(h/s − Σ h·(p/s)), h = g/p, e = exp(x), s = Σ e, p = e/s",
    needs=("elementwise", "sum"),
)
def naive_gradient(
    xp: Any, x: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("x",), axis: int = -1
) -> Callable[[], Any]:
    """Differentiate logarithm, quotient and exp one after the other: g/p is ±∞ where p underflows."""

    def thunk() -> Any:
        e = xp.exp(x)
        s = xp.sum(e, axis=axis, keepdims=True)
        p = xp.divide(e, s)
        h = xp.divide(cotangent, p)
        of_sum = xp.sum(xp.multiply(h, xp.divide(p, s)), axis=axis, keepdims=True)
        return (xp.multiply(e, xp.subtract(xp.divide(h, s), of_sum)),)

    return thunk


@gradient(
    "log_softmax", "shifted", title="g − exp(y)·Σ g, y by the shifted form", needs=("elementwise", "sum")
)
def shifted_gradient(
    xp: Any, x: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("x",), axis: int = -1
) -> Callable[[], Any]:
    """Use the value y, as libraries do that keep it."""
    value = shifted(xp, x, axis)

    def thunk() -> Any:
        return (_jacobian_product(xp, value(), cotangent, axis),)

    return thunk


@gradient(
    "log_softmax",
    "online",
    title="g − exp(y)·Σ g, y by the single-pass form, float32 or wider inside",
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
        y = wide.subtract(wide.subtract(values, m), wide.log(s))
        found = _jacobian_product(wide, y, at_least_single(xp, cotangent)[1], place)
        return (found if wide is xp else wide.astype(found, xp.dtype.name),)

    return thunk


def _jacobian_product(xp: Any, y: Any, g: Any, axis: int) -> Any:
    return xp.subtract(g, xp.multiply(xp.exp(y), xp.sum(g, axis=axis, keepdims=True)))


GRADIENT = Gradient(
    with_respect_to=("x",),
    formula="r_i = g_i − p_i·Σ_j g_j",
    reference=gradient_reference,
    reference_version=1,
    bound_formula=(
        "u·|r_i| + k·(α_i·k·(|T| + Δ) + p_i·(u·|T| + k·Δ)) + ω, T = Σ g_j, k = 1 + u, "
        "α_i = p_i·(e^η − 1) + ω, η = 6u + the bound of log-softmax, Δ = (k²·(1 + (n−1)·u_acc) − 1)·Σ |g_j|"
    ),
    bound_source=exponential_gradients.SOURCE,
    bound=exponential_gradients.log_softmax_bound,
    cost=gradient_cost,
)

register_operation(
    Operation(
        name="log_softmax",
        title="Log-softmax",
        formula="y_i = x_i − log Σ_j exp(x_j)",
        inputs=family.INPUTS,
        outputs=("y",),
        dtypes=family.DTYPES,
        reference=reference,
        reference_version=1,
        bound_formula=(
            "u·(2|y_i| + 8·ln s + Σ p_j g_j + 8) + (n−1)·u_acc + n·ω/2 + ω, "
            "s = Σ exp(−g_j), g_i = max x − x_i"
        ),
        bound_source=family.SOURCE,
        bound=bound,
        parameters=family.PARAMETERS,
        cost=cost,
        gradient=GRADIENT,
    )
)
