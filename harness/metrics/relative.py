"""Relative errors: of the worst element, of the whole output in the 2-norm, and against κ·u."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.registry import Metric, register_metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.metrics.judgement import Judgement

HIGHAM = "Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002, section 1.2"


def _max_rel_error(j: Judgement) -> float | None:
    import numpy as np

    from harness.metrics.judgement import exp2

    at = j.both_finite
    if not j.comparable or not at.any():
        return None
    error, value = j.error_log2[at], j.value_log2[at]
    log_ratio = np.where(np.isneginf(error), -np.inf, error - np.where(np.isneginf(error), 0.0, value))
    return float(exp2(np.max(log_ratio)))


def norm_rel_error(j: Judgement) -> float | None:
    """Return ‖ŷ − y‖₂/‖y‖₂; None where elements are not comparable."""
    at = j.both_finite
    if "norm_rel_error" in j.own:
        return j.own["norm_rel_error"]
    if not j.comparable or not at.any():
        return None
    error, value = _log2_norm(j.error_log2[at]), _log2_norm(j.value_log2[at])
    if error == -math.inf:
        return 0.0
    return math.inf if value == -math.inf or error - value > 1023 else 2.0 ** (error - value)


def _log2_norm(log2_abs: NDArray[np.float64]) -> float:
    """log₂ of the 2-norm of numbers given by log₂ of their size, scaled so that nothing overflows."""
    import numpy as np

    top = float(log2_abs.max())
    if top == -math.inf:
        return top
    return top + 0.5 * math.log2(math.fsum(np.exp2(2 * (log2_abs - top)).tolist()))


def _condition(j: Judgement) -> float | None:
    value = j.own.get("condition", j.quantities.get("condition"))
    if value is None:
        return None
    import numpy as np

    largest = float(np.max(value))
    return largest if largest == largest else None


def _kappa_error(j: Judgement) -> float | None:
    if "kappa_error" in j.own:
        return j.own["kappa_error"]
    condition, error = _condition(j), norm_rel_error(j)
    if condition is None or error is None or condition == 0:
        return None
    ratio = error / condition / j.precision.u_out  # κ·u may be 0 where κ is not: rows of subnormal numbers
    return None if math.isnan(ratio) else ratio


for _metric in (
    Metric("max_rel_error", "Largest relative error", "1", "max |ŷ − y|/|y|", HIGHAM, _max_rel_error),
    Metric("norm_rel_error", "Relative error", "1", "‖ŷ − y‖₂/‖y‖₂", HIGHAM, norm_rel_error),
    Metric(
        "condition",
        "Condition number",
        "1",
        "κ of the operation at the rounded inputs, to nine digits or more",
        "Higham 2002, section 1.6; the operation's own definition",
        _condition,
        "none",
    ),
    Metric(
        "kappa_error",
        "Error against κu",
        "1",
        "‖ŷ − y‖₂/(‖y‖₂·κ·u)",
        "Higham 2002, section 1.6",
        _kappa_error,
    ),
):
    register_metric(_metric, __name__)
