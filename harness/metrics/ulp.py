"""Errors in units in the last place, and the bits that they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.registry import Metric, register_metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.metrics.judgement import Judgement

MULLER = "Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed., definition 2.6 (Goldberg, extended)"
ULP = "|ŷ − y| / 2^(max(⌊log₂|y|⌋, e_min) − p + 1)"


def _values(j: Judgement) -> NDArray[np.float64] | None:
    if not j.comparable or not j.decided.any():
        return None
    return j.ulp[j.decided]


def _max(j: Judgement) -> float | None:
    ulp = _values(j)
    return None if ulp is None else float(ulp.max())


def _quantile(q: float, j: Judgement) -> float | None:
    import numpy as np

    ulp = _values(j)
    return None if ulp is None else float(np.quantile(ulp, q, method="higher"))


def _bias(j: Judgement) -> float | None:
    import math

    if not j.comparable or not j.decided.any():
        return None
    signed = j.signed_ulp[j.decided].tolist()
    if not all(map(math.isfinite, signed)):
        return None
    try:
        return math.fsum(signed) / len(signed)
    except OverflowError:  # in units of the smallest subnormal, where the exact values are 0
        return math.fsum(ulp / len(signed) for ulp in signed)


def _correctly_rounded(j: Judgement) -> float | None:
    import numpy as np

    if not j.decided.any():
        return None
    same = (j.computed == j.rounded) | (np.isnan(j.computed) & np.isnan(j.rounded))
    if j.operation.signed_zero:
        same &= (np.signbit(j.computed) == np.signbit(j.rounded)) | (j.computed != 0)
    return float(same[j.decided].mean())


def _bits(j: Judgement) -> float | None:
    import math

    import numpy as np

    from harness.metrics.relative import norm_rel_error

    worst = _max(j)
    if worst is None:
        return None
    if np.any((j.computed == 0) & (j.rounded != 0) & j.decided & j.exact_finite) and not j.operation.normwise:
        return 0.0
    units = 2 * worst
    if (
        j.operation.normwise
    ):  # where each element keeps more than the norm tells, that counts: subnormal numbers
        whole = norm_rel_error(j)
        units = units if whole is None else min(units, whole / j.precision.u_out)
    lost = math.inf if math.isinf(units) else math.log2(max(1.0, units))
    return max(0.0, j.precision.format.precision - lost)


def _radius(j: Judgement) -> float | None:
    at = j.decided & j.exact_finite
    return float(j.reference.radius_ulp(j.precision.format)[at].max()) if at.any() else None


for _metric in (
    Metric("max_ulp", "Largest error", "ulp", f"max {ULP}", MULLER, _max),
    Metric(
        "p99_ulp", "99th percentile", "ulp", f"0.99 quantile of {ULP}", MULLER, lambda j: _quantile(0.99, j)
    ),
    Metric("median_ulp", "Median error", "ulp", f"median of {ULP}", MULLER, lambda j: _quantile(0.5, j)),
    Metric(
        "correctly_rounded_fraction",
        "Correctly rounded",
        "1",
        "share of elements equal to the exact result rounded once to nearest, ties to even",
        "IEEE 754-2019, 4.3.1",
        _correctly_rounded,
        "high",
        "percent",
    ),
    Metric("bias_ulp", "Bias", "ulp", "mean of (ŷ − y) in ulps of y", MULLER, _bias, "none"),
    Metric(
        "bits",
        "Bits left",
        "bit",
        "max(0, p − log₂ max(1, e)): a correctly rounded result keeps all p bits; e is 2·max_ulp, and where "
        "elements may cancel (products, attention) at most norm_rel_error/u; 0 where a result is 0 that the "
        "format has a number for",
        MULLER,
        _bits,
        "high",
        "fixed",
    ),
    Metric(
        "reference_radius_ulp",
        "Radius of the reference",
        "ulp",
        "largest radius of the certified ball, in ulps of its middle",
        "Johansson, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, 2017",
        _radius,
    ),
):
    register_metric(_metric, __name__)
