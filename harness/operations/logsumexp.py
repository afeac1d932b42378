"""Log-sum-exp along an axis: log Σ exp(x_j)."""

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
    """Return certified sums: +inf of a row with +inf, −inf of one of nothing but −inf, NaN undefined."""
    import numpy as np

    from harness.reference.elements import Reference
    from harness.reference.exponential_sums import logsumexp

    x, axis = family.exact_input(problem)
    y = logsumexp(x, axis, problem.dtype.storage)
    q = family.row_quantities(x, axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.exp(-family.gaps(x, axis) - q["log_sum"])
        size = np.where(weight > 0, np.abs(x) * weight, 0.0).sum(axis=axis)
        condition = np.where(np.isfinite(y.to_float64()), size / family.magnitude(y), np.nan)
    return Reference({"y": y}, {**q, **family.largest(condition)})


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of (2·LOG_ULP + 1)·u·max(|y|, ln s) + |ln ŝ/s| + ω.

    2·LOG_ULP·u·ln s for the logarithm, u|y| for adding the maximum, and the sum's own error, which
    there is none of where only one entry is finite; ω for results that underflow.
    """
    import numpy as np

    axis = family.exact_input(problem)[1]
    y = reference.outputs["y"]
    terms, log_sum, sum_error = (
        np.squeeze(np.asarray(a), axis=axis)
        for a in (
            reference.quantities["terms"],
            reference.quantities["log_sum"],
            family.sum_error(reference, precision),
        )
    )
    roundings = (2 * family.LOG_ULP + 1) * np.maximum(family.magnitude(y), log_sum)
    of_sum = np.where(terms > 1, sum_error, 0.0)
    total = precision.u_out * roundings + of_sum + float(precision.format.min_subnormal)
    return {"y": family.log2(total)}


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 4n a row: n − 1 comparisons, n subtractions, n exp, n − 1 additions, one log, one addition.

    An elementary function counts as one operation. x is read and y written once.
    """
    rows, n = family.rows_and_length(shapes["x"], parameters)
    return Cost(rows * 4 * n, rows * (n + 1) * element_bytes)


def gradient_reference(problem: ExactProblem) -> Reference:
    """Return the certified gradient; 0 at −inf entries, +inf and rows with NaN undefined."""
    from harness.reference.elements import Reference
    from harness.reference.exponential_gradients import logsumexp_gradient

    x, axis = family.exact_input(problem)
    found = logsumexp_gradient(x, problem.inputs[COTANGENT], axis, problem.dtype.storage)
    return Reference({exponential_gradients.OUTPUT: found}, exponential_gradients.quantities(problem))


def gradient_cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 6n a row: the value, and a division and a product for each entry.

    x and the cotangent, one number a row, are read, the gradient is written.
    """
    rows, n = family.rows_and_length(shapes["x"], parameters)
    return Cost(rows * 6 * n, rows * (2 * n + 1) * element_bytes)


@formulation("logsumexp", "naive", title="log Σ exp(x)", needs=("elementwise", "sum"))
def naive(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Overflow where x > ln Ω; −inf where every exponential underflows."""

    def thunk() -> Any:
        return xp.log(xp.sum(xp.exp(x), axis=axis))

    return thunk


@formulation("logsumexp", "unguarded", title="max + log Σ exp(x − max)", needs=("elementwise", "sum"))
def unguarded(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Give NaN, value and gradient, for a row of nothing but −inf, and for one with +inf."""

    def thunk() -> Any:
        m = xp.detach(xp.max(x, axis=axis, keepdims=True))
        s = xp.sum(xp.exp(xp.subtract(x, m)), axis=axis)
        return xp.add(xp.reshape(m, s.shape), xp.log(s))

    return thunk


@formulation(
    "logsumexp",
    "shifted",
    title="max + log Σ exp(x − max), 0 for a maximum that is not finite",
    needs=("elementwise", "sum"),
)
def shifted(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Guard the maximum: −inf − (−inf) is NaN, where the sum over nothing but −inf is 0.

    The result does not depend on it, and no gradient flows through it.
    """

    def thunk() -> Any:
        m = xp.detach(_finite_or_zero(xp, xp.max(x, axis=axis, keepdims=True)))
        s = xp.sum(xp.exp(xp.subtract(x, m)), axis=axis)
        return xp.add(xp.reshape(m, s.shape), xp.log(s))

    return thunk


@formulation(
    "logsumexp",
    "online",
    title=f"maximum and rescaled sum in one pass, tiles of {family.TILE}, float32 or wider inside",
    needs=("elementwise", "sum"),
    compute=AT_LEAST_SINGLE,
)
def online(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Read x once."""
    place = axis % x.ndim
    outer = tuple(x.shape[:place]) + tuple(x.shape[place + 1 :])

    def thunk() -> Any:
        wide, values = at_least_single(xp, x)
        m, s = family.running_maximum_and_sum(wide, values, place, lambda top: _finite_or_zero(wide, top))
        y = wide.reshape(wide.add(_finite_or_zero(wide, m), wide.log(s)), outer)
        return y if wide is xp else wide.astype(y, xp.dtype.name)

    return thunk


def _finite_or_zero(xp: Any, m: Any) -> Any:
    return xp.where(xp.isfinite(m), m, xp.scalar(0))


@gradient("logsumexp", "naive", title="e·(g/s), e = exp(x), s = Σ e", needs=("elementwise", "sum"))
def naive_gradient(
    xp: Any, x: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("x",), axis: int = -1
) -> Callable[[], Any]:
    """Differentiate logarithm, sum and exp one after the other: ∞·0 where an exponential overflows."""
    g = _by_row(xp, cotangent, x.shape, axis)

    def thunk() -> Any:
        e = xp.exp(x)
        return (xp.multiply(e, xp.divide(g, xp.sum(e, axis=axis, keepdims=True))),)

    return thunk


@gradient(
    "logsumexp",
    "shifted",
    title="p·g, p by the shifted form, 0 where every entry is −inf",
    needs=("elementwise", "sum"),
)
def shifted_gradient(
    xp: Any, x: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("x",), axis: int = -1
) -> Callable[[], Any]:
    """Take p from the exponentials, for exp(x − y) has an error of u·|y|."""
    g = _by_row(xp, cotangent, x.shape, axis)

    def thunk() -> Any:
        m = _finite_or_zero(xp, xp.max(x, axis=axis, keepdims=True))
        e = xp.exp(xp.subtract(x, m))
        p = xp.divide(e, _one_for_zero(xp, xp.sum(e, axis=axis, keepdims=True)))
        return (xp.multiply(p, g),)

    return thunk


@gradient(
    "logsumexp",
    "online",
    title="p·g, p by the single-pass form, float32 or wider inside",
    needs=("elementwise", "sum"),
    compute=AT_LEAST_SINGLE,
)
def online_gradient(
    xp: Any, x: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("x",), axis: int = -1
) -> Callable[[], Any]:
    """Round to the storage format once, at the end."""
    place = axis % x.ndim
    g = _by_row(xp, cotangent, x.shape, axis)

    def thunk() -> Any:
        wide, values = at_least_single(xp, x)
        m, s = family.running_maximum_and_sum(wide, values, place, lambda top: _finite_or_zero(wide, top))
        e = wide.exp(wide.subtract(values, _finite_or_zero(wide, m)))
        p = wide.divide(e, _one_for_zero(wide, s))
        found = wide.multiply(p, at_least_single(xp, g)[1])
        return (found if wide is xp else wide.astype(found, xp.dtype.name),)

    return thunk


def _by_row(xp: Any, cotangent: Any, shape: tuple[int, ...], axis: int) -> Any:
    """Return the cotangent of the rows with 1 along the axis."""
    place = axis % len(shape)
    return xp.reshape(cotangent, (*shape[:place], 1, *shape[place + 1 :]))


def _one_for_zero(xp: Any, s: Any) -> Any:
    """Return s, and 1 where it is the sum of a row of nothing but −inf, whose exponentials are all 0."""
    return xp.where(xp.equal(s, xp.scalar(0)), xp.scalar(1), s)


GRADIENT = Gradient(
    with_respect_to=("x",),
    formula="r_i = p_i·g, p = softmax(x)",
    reference=gradient_reference,
    reference_version=1,
    bound_formula="|g|·(α_i·k² + p_i·(k² − 1)) + ω, k = 1 + u, α_i the bound of softmax",
    bound_source=exponential_gradients.SOURCE,
    bound=exponential_gradients.logsumexp_bound,
    cost=gradient_cost,
)

register_operation(
    Operation(
        name="logsumexp",
        title="Log-sum-exp",
        formula="y = log Σ_j exp(x_j)",
        inputs=family.INPUTS,
        outputs=("y",),
        dtypes=family.DTYPES,
        reference=reference,
        reference_version=1,
        bound_formula=(
            "u·(9·max(|y|, ln s) + Σ p_j g_j + 8) + (n−1)·u_acc + n·ω/2 + ω, "
            "s = Σ exp(−g_j), g_i = max x − x_i"
        ),
        bound_source=family.SOURCE,
        bound=bound,
        parameters=family.PARAMETERS,
        cost=cost,
        gradient=GRADIENT,
    )
)
