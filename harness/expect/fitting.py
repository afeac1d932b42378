"""Straight lines through logarithms, with the interval that the scatter leaves for the slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slope:
    """A fitted slope and its two-sided 95 % interval."""

    value: float
    low: float
    high: float
    points: int


def fit_slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Return the least-squares slope of y on x with its Student-t interval.

    The standard error is √(Σr²/(n−2) / Σ(x−x̄)²) with residuals r, and the interval
    b ± t₀.₉₇₅(n−2)·SE (Draper & Smith, Applied Regression Analysis, 3rd ed. 1998, §1.4).

    Raises
    ------
    ValueError
        Fewer than three points, or fewer than two different x.
    """
    n = len(x)
    if n < 3 or len(set(x)) < 2:
        raise ValueError(f"a slope with an interval needs three points at different x, not {n}")
    x_mean, y_mean = math.fsum(x) / n, math.fsum(y) / n
    spread = math.fsum((a - x_mean) ** 2 for a in x)
    slope = math.fsum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / spread
    residuals = [b - y_mean - slope * (a - x_mean) for a, b in zip(x, y, strict=True)]
    error = math.sqrt(math.fsum(r * r for r in residuals) / (n - 2) / spread)
    half = student_t(n - 2) * error
    return Slope(slope, slope - half, slope + half, n)


def student_t(degrees: int, confidence: float = 0.95) -> float:
    """Return t with P(|T| ≤ t) = `confidence` for an integer number of degrees of freedom.

    Bisection on the angle θ = atan(t/√ν) of the closed forms in Abramowitz & Stegun (1964),
    26.7.3 (odd ν) and 26.7.4 (even ν).

    Raises
    ------
    ValueError
        `degrees` below one.
    """
    if degrees < 1:
        raise ValueError(f"degrees of freedom start at 1, not {degrees}")
    low, high = 0.0, math.pi / 2
    for _ in range(200):
        middle = (low + high) / 2
        if _central_probability(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return math.tan((low + high) / 2) * math.sqrt(degrees)


def _central_probability(angle: float, degrees: int) -> float:
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    if degrees == 1:
        return 2 * angle / math.pi
    term = cosine if odd else 1.0
    total = term
    for k in range(2 if not odd else 3, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
