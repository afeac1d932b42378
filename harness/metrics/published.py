"""Agreement with values that somebody else certified, and what rounding the data cost."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.registry import Metric, register_metric

if TYPE_CHECKING:
    from harness.metrics.judgement import Judgement


def log_relative_error(computed: float, certified: Fraction, digits: int) -> float:
    """Return −log₁₀(|ŷ − c|/|c|), at most `digits`, at least 0 (McCullough 1998, section 2.1).

    Parameters
    ----------
    computed : float
        ŷ, held exactly.
    certified : Fraction
        c; for c = 0 the absolute error takes the place of the relative one.
    digits : int
        The significant digits to which c is published.
    """
    if not math.isfinite(computed):
        return 0.0
    error = abs(Fraction(computed) - certified)
    if certified:
        error /= abs(certified)
    if error == 0:
        return float(digits)
    log10 = (math.log2(error.numerator) - math.log2(error.denominator)) * math.log10(2)
    return min(float(digits), max(0.0, -log10))


def _lre(j: Judgement) -> float | None:
    if j.published is None:
        return None
    certified, digits = j.published
    return min(
        log_relative_error(float(y), c, digits) for y, c in zip(j.computed.ravel(), certified, strict=True)
    )


for _metric in (
    Metric(
        "lre",
        "Published digits",
        "digit",
        "min −log₁₀(|ŷ − c|/|c|), to the digits that c is printed with",
        "McCullough, Assessing the reliability of statistical software: part I, 1998",
        _lre,
        "high",
        "fixed",
    ),
    Metric(
        "data_error",
        "Error of the data",
        "1",
        "largest relative change of an input when it was rounded to the storage format",
        "definition",
        lambda j: j.data_error,
        "none",
    ),
    Metric(
        "reference_coverage",
        "Certified share",
        "1",
        "share of the elements with a certified reference",
        "definition",
        lambda j: j.coverage,
        "high",
        "percent",
    ),
    Metric(
        "result_digest",
        "Digest of the result",
        "sha256",
        "SHA-256 over the format, shape and bits of the output",
        "FIPS 180-4",
        lambda j: j.result_digest,
        "none",
        "text",
    ),
):
    register_metric(_metric, __name__)
