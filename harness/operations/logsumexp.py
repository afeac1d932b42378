"""Log-sum-exp along an axis: log Σ exp(x_j)."""

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


@formulation("logsumexp", "naive", title="log Σ exp(x)", needs=("elementwise", "sum"))
def naive(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Overflow where x > ln Ω; −inf where every exponential underflows."""

    def thunk() -> Any:
        return xp.log(xp.sum(xp.exp(x), axis=axis))

    return thunk


@formulation(
    "logsumexp",
    "shifted",
    title="max + log Σ exp(x − max), 0 for a maximum that is not finite",
    needs=("elementwise", "sum"),
)
def shifted(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Guard the maximum: −inf − (−inf) is NaN, where the sum over nothing but −inf is 0."""

    def thunk() -> Any:
        m = _finite_or_zero(xp, xp.max(x, axis=axis, keepdims=True))
        s = xp.sum(xp.exp(xp.subtract(x, m)), axis=axis)
        return xp.add(xp.reshape(m, s.shape), xp.log(s))

    return thunk


@formulation(
    "logsumexp",
    "online",
    title=f"maximum and rescaled sum in one pass, tiles of {family.TILE}, float32 or wider inside",
    needs=("elementwise", "sum"),
    compute=family.AT_LEAST_SINGLE,
)
def online(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Read x once."""
    place = axis % x.ndim
    outer = tuple(x.shape[:place]) + tuple(x.shape[place + 1 :])

    def thunk() -> Any:
        wide, values = family.at_least_single(xp, x)
        m, s = family.running_maximum_and_sum(wide, values, place, lambda top: _finite_or_zero(wide, top))
        y = wide.reshape(wide.add(_finite_or_zero(wide, m), wide.log(s)), outer)
        return y if wide is xp else wide.astype(y, xp.dtype.name)

    return thunk


def _finite_or_zero(xp: Any, m: Any) -> Any:
    return xp.where(xp.isfinite(m), m, xp.scalar(0))


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
    )
)
