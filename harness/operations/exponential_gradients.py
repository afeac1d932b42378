"""Error bounds of the gradients of softmax, log-softmax and log-sum-exp.

Notation as in `shifted_exponentials`; p̂_j is a computed share with |p̂_j − p_j| ≤ α_j. Sums are taken in any
order (Jeannerod and Rump 2013: n − 1 errors of u_acc to each term, whatever n) and rounded to the storage
format; products round once, and may underflow by at most ω. With k = 1 + u and n entries:

*Shares.* From the shifted exponentials, with the errors that the bound of softmax has,

    α_j = min(p_j·(e^η_j − 1), 2) + ω,   η_j = u·(2·EXP_ULP + 1 + g_j) + |ln ŝ/s|.

From log-softmax, as libraries do that keep y instead of p, exp(ŷ_j) has the error of y_j and its own:

    α_j = min(p_j·(e^η_j − 1), 2) + ω,   η_j = 2·EXP_ULP·u + (the bound of log-softmax for y_j).

*softmax*, r_i = p_i·d_i with d_i = g_i − t and t = Σ p_j g_j, t̂ off by Δ. A product, the sum's rounding, and
two divisions by algorithms that divide g and p by s apart, make k⁴ in Δ; difference, product and again the
division of g make k³:

    Δ = Σ |g_j|·((p_j + α_j)·k⁴·(1 + (n−1)·u_acc) − p_j) + n·ω
    |r̂_i − r_i| ≤ α_i·k³·(|d_i| + Δ) + p_i·((k³ − 1)·|d_i| + k³·Δ) + ω

*log-softmax*, r_i = g_i − p_i·T with T = Σ g_j, T̂ off by Δ: its rounding and perhaps a division by s; a
product; a difference, whose rounding is relative to the result:

    Δ = Σ |g_j|·(k²·(1 + (n−1)·u_acc) − 1)
    |r̂_i − r_i| ≤ u·|r_i| + k·(α_i·k·(|T| + Δ) + p_i·(u·|T| + k·Δ)) + ω

*logsumexp*, r_i = p_i·g: a product, and perhaps a division of g by s:

    |r̂_i − r_i| ≤ |g|·(α_i·k² + p_i·(k² − 1)) + ω

An entry of −inf has p̂ = 0 exactly, and the only finite one of a row p̂ = 1: what then is exactly 0, or g_i, is
allowed no error. exp(x_i − ŷ), with a log-sum-exp that was rounded, does not keep to this bound: its error is
u·|y| of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from harness.operations import shifted_exponentials as family
from harness.registry import COTANGENT, ExactProblem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

    Floats = NDArray[np.float64]

OUTPUT: Final = "grad_x"
SOURCE: Final = (
    "derived in harness/operations/exponential_gradients.py from the bounds of the values "
    "(Blanchard, Higham & Higham 2021) and sums in any order (Jeannerod & Rump 2013)"
)


def quantities(problem: ExactProblem) -> dict[str, Floats]:
    """Return what the bounds need of a row beside its entries: G, ln s and n."""
    return family.row_quantities(*family.exact_input(problem))


def softmax_bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the bound on the gradient of softmax (module's formula)."""
    import numpy as np

    x, axis = family.exact_input(problem)
    g = problem.inputs[COTANGENT]
    p, error = _shares(x, axis, reference), _error_of_shifted(x, axis, reference, precision)
    n = np.asarray(reference.quantities["terms"])
    least, k = float(precision.format.min_subnormal), 1 + precision.u_out
    k3 = k**3
    grown = k**4 * (1 + np.maximum(n - 1, 0) * precision.u_acc)
    with np.errstate(over="ignore"):
        lost = np.sum(np.abs(g) * (error * grown + p * (grown - 1)), axis=axis, keepdims=True) + n * least
        distance = np.abs(g - np.sum(p * g, axis=axis, keepdims=True))
        total = error * k3 * (distance + lost) + p * ((k3 - 1) * distance + k3 * lost) + least
    return {OUTPUT: family.log2(np.where(np.isfinite(x) & (n > 1), total, 0.0))}


def log_softmax_bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the bound on the gradient of log-softmax (module's formula)."""
    import numpy as np

    x, axis = family.exact_input(problem)
    g = problem.inputs[COTANGENT]
    p, error = _shares(x, axis, reference), _error_of_logarithms(x, axis, reference, precision)
    least, k = float(precision.format.min_subnormal), 1 + precision.u_out
    n = x.shape[axis]
    with np.errstate(over="ignore"):
        whole = np.abs(np.sum(g, axis=axis, keepdims=True))
        lost = (k**2 * (1 + (n - 1) * precision.u_acc) - 1) * np.sum(np.abs(g), axis=axis, keepdims=True)
        subtrahend = error * k * (whole + lost) + p * ((k - 1) * whole + k * lost)
        result = family.magnitude(reference.outputs[OUTPUT])
        total = precision.u_out * result + k * subtrahend + least
    return {OUTPUT: family.log2(np.where(np.isfinite(x) & (n > 1), total, 0.0))}


def logsumexp_bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the bound on the gradient of log-sum-exp (module's formula)."""
    import numpy as np

    from harness.reference.elements import ElementClass

    x, axis = family.exact_input(problem)
    g = np.abs(problem.inputs[COTANGENT].reshape((*x.shape[:axis], 1, *x.shape[axis + 1 :])))
    p, error = _shares(x, axis, reference), _error_of_shifted(x, axis, reference, precision)
    k2 = (1 + precision.u_out) ** 2
    with np.errstate(over="ignore"):
        total = g * (error * k2 + p * (k2 - 1)) + float(precision.format.min_subnormal)
    exact = reference.outputs[OUTPUT].kind == ElementClass.ZERO
    return {OUTPUT: family.log2(np.where(exact, 0.0, total))}


def _shares(x: Floats, axis: int, reference: Reference) -> Floats:
    """Return p to a relative 1e-12: it weighs error terms."""
    import numpy as np

    return np.asarray(np.exp(-family.gaps(x, axis) - np.asarray(reference.quantities["log_sum"])))


def _error_of_shifted(x: Floats, axis: int, reference: Reference, precision: Precision) -> Floats:
    """Return α of shares by the shifted exponentials; 0 at −inf entries."""
    own = precision.u_out * (2 * family.EXP_ULP + 1 + family.gaps(x, axis))
    return _share_error(x, axis, reference, precision, own + family.sum_error(reference, precision))


def _error_of_logarithms(x: Floats, axis: int, reference: Reference, precision: Precision) -> Floats:
    """Return α of shares by exp(y) from log-softmax; 0 at −inf entries."""
    import numpy as np

    log_sum = np.asarray(reference.quantities["log_sum"])
    y = family.gaps(x, axis) + log_sum
    own = precision.u_out * (2 * y + 2 * family.LOG_ULP * log_sum + 2 * family.EXP_ULP)
    of_sum = family.sum_error(reference, precision) + float(precision.format.min_subnormal)
    return _share_error(x, axis, reference, precision, own + of_sum)


def _share_error(
    x: Floats, axis: int, reference: Reference, precision: Precision, relative: Floats
) -> Floats:
    """Return α from η; the exponent of p·(e^η − 1) is formed first, for η may be large where p is small."""
    import numpy as np

    grown = np.expm1(np.minimum(relative, 700.0))
    found = np.minimum(_shares(x, axis, reference) * grown, 2.0) + float(precision.format.min_subnormal)
    return np.where(np.isfinite(x), found, 0.0)
