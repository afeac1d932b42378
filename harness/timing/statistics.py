"""Statistics of samples of time: the median, and an interval for it that assumes no distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb
from statistics import median
from typing import Final

CONFIDENCE: Final = Fraction(95, 100)


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval that holds the true median with at least the probability `confidence`."""

    low: float
    high: float
    confidence: float

    @property
    def width(self) -> float:
        """Its length."""
        return self.high - self.low


@lru_cache(maxsize=1024)
def median_ranks(n: int, confidence: Fraction = CONFIDENCE) -> tuple[int, int, float] | None:
    """Return ranks k and n+1−k (from 1) of the samples that enclose the median, and their confidence.

    The number of n independent samples below the median is binomial(n, ½), whatever their distribution
    (David & Nagaraja, Order Statistics, 3rd ed., §7.1), so that [x₍ₖ₎, x₍ₙ₊₁₋ₖ₎] holds the median with
    probability at least 1 − 2·P(B ≤ k−1). The largest k that keeps `confidence` is taken, by integers
    alone. None where even k = 1 does not reach it (n ≤ 5 at 95 %).
    """
    tail, term, k = 0, 1, 0
    allowed = (1 - confidence) * 2**n
    while 2 * (tail + term) <= allowed and 2 * k < n:
        tail += term
        k += 1
        term = comb(n, k)
    if k == 0:
        return None
    return k, n + 1 - k, float(1 - Fraction(2 * tail, 2**n))


def median_interval(samples: Sequence[float], confidence: Fraction = CONFIDENCE) -> Interval | None:
    """Return a distribution-free interval for the median (the sign test's), or None for too few samples."""
    ranks = median_ranks(len(samples), confidence)
    if ranks is None:
        return None
    ordered = sorted(samples)
    return Interval(ordered[ranks[0] - 1], ordered[ranks[1] - 1], ranks[2])


def noise(samples: Sequence[float]) -> float | None:
    """Return the relative spread: 1.4826 · median |x − median| / median, or None for one sample.

    The factor makes it the standard deviation of normal samples (Rousseeuw & Croux, JASA 1993, §1).
    """
    if len(samples) < 2:
        return None
    middle = median(samples)
    return 1.4826 * median(abs(x - middle) for x in samples) / middle if middle > 0 else None
