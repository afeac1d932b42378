"""Statistics of two sides measured in turn: is the median of ln(head / base) beyond a threshold?

A round gives one d = ln(head / base). Nothing is assumed of its distribution but that rounds are independent
and alike; a bias that stays within one pair of processes breaks that, and is met by fresh ones
(`Confirmation`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median
from typing import Final, Literal

from .statistics import Interval, median_interval

Screened = Literal["slower", "faster", "not slower", "undecided"]
"""`slower` and `faster` are worth confirming; who is faster is not slower either."""

LOOKS: Final = (20, 60, 180)
"""Rounds after which the interval is looked at."""

LEAST_ROUNDS: Final = 8
"""What one look at slow calls needs: 7 rounds are the fewest whose extremes are an interval at 98 1/3 %."""

ALPHA: Final = Fraction(5, 100)
"""Of all looks together; each has an equal share, so that looking again is paid for (Bonferroni)."""

FLOOR: Final = 0.02
"""The least slowdown that is gated, whatever the null shows."""

CEILING: Final = 0.10
"""No pass where more than this cannot be excluded, however large δ is: a pass that might hide a tenth says
nothing."""

NULL_FACTOR: Final = 3.0
"""The threshold is at least so many times what the base shows against itself."""

SETS: Final = 3
"""Fresh sets of workers in which a slowdown must show again."""

SHARE_IN_EACH: Final = 0.5
"""Of the threshold, what each fresh set must show at least; together they must be beyond the whole."""


def confidence(looks: int) -> Fraction:
    """Return the confidence of the interval at one of several looks."""
    return 1 - ALPHA / looks


def log_ratio(base: Sequence[float], head: Sequence[float]) -> float:
    """Return the mean of ln(head) − ln(base) over the slots of one round: linear drift cancels.

    Raises
    ------
    ValueError
        A time is not positive and finite.
    """
    if not all(0 < t < math.inf for t in (*base, *head)):  # NaN is refused, too
        raise ValueError("a slot took no time")
    return math.fsum(map(math.log, head)) / len(head) - math.fsum(map(math.log, base)) / len(base)


def interval(ds: Sequence[float], looks: int) -> Interval | None:
    """Return the sign test's interval of the median at one of `looks` looks, or None for too few rounds."""
    return median_interval(ds, confidence(looks))


def screen(found: Interval | None, threshold: float, floor: float) -> Screened:
    """Return what an interval of the median of ln(head / base) says.

    Parameters
    ----------
    found
        The interval.
    threshold
        δ, as a ratio − 1: below it lies what does not count as slower.
    floor
        What δ cannot be less than. Whatever is beyond it is worth confirming, for δ is known better then.
    """
    if found is None:
        return "undecided"
    if found.low > math.log1p(floor):
        return "slower"
    if found.high < -math.log1p(floor):
        return "faster"
    return "not slower" if is_below(found, threshold, floor) else "undecided"


def is_below(found: Interval, threshold: float, floor: float) -> bool:
    """Return whether an interval of the median of ln(head / base) excludes a slowdown worth the name.

    That is δ, but never more than `CEILING`, or than the floor that was asked for.
    """
    return found.high < math.log1p(min(threshold, max(CEILING, floor)))


def sign_test(ds: Sequence[float], threshold: float) -> float:
    """Return the one-sided p-value of "the median is at most ln(1 + threshold)" (exact binomial).

    The chance that as many of n rounds or more lie above, if each does so with probability ½
    (Conover, Practical Nonparametric Statistics, 3rd ed., §3.4). A tie counts as not above.
    """
    n, above = len(ds), sum(d > math.log1p(threshold) for d in ds)
    return float(Fraction(sum(math.comb(n, k) for k in range(above, n + 1)), 2**n))


def holm(p_values: Sequence[float], alpha: float = float(ALPHA)) -> list[bool]:
    """Return which of several hypotheses are rejected, so that none is wrongly with probability 1 − alpha.

    Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979): the i-th
    smallest of m p-values is compared with alpha / (m − i + 1), until the first that is not below.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected = [False] * len(p_values)
    for rank, index in enumerate(order):
        if not p_values[index] <= alpha / (len(order) - rank):  # NaN rejects nothing
            break
        rejected[index] = True
    return rejected


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What fresh sets of workers found of one cell: the d of each round, by set.

    That a head is faster is confirmed as that it is slower, with −d.
    """

    sets: tuple[tuple[float, ...], ...]

    @property
    def pooled(self) -> tuple[float, ...]:
        """All rounds together."""
        return tuple(d for ds in self.sets for d in ds)

    def agreeing(self, threshold: float) -> int:
        """Return in how many sets the median is beyond `SHARE_IN_EACH` of the threshold."""
        least = math.log1p(SHARE_IN_EACH * threshold)
        return sum(median(ds) > least for ds in self.sets if ds)

    def p_value(self, threshold: float) -> float:
        """Return the p-value of "not slower", from all sets; 1 unless every set shows the slowdown.

        The rounds of one set share what is peculiar to its processes. Identical code that is slow in one by
        chance is not slow in each, and so each must show it.
        """
        if not self.sets or self.agreeing(threshold) < len(self.sets):
            return 1.0
        return sign_test(self.pooled, threshold)


def decade(seconds: float) -> int:
    """Return ⌊log₁₀⌋ of a time: −6 is 1 to 10 µs."""
    return math.floor(math.log10(seconds))


def thresholds(
    nulls: Mapping[str, tuple[float, float]], floor: float = FLOOR, factor: float = NULL_FACTOR
) -> dict[int, float]:
    """Return δ by decade, as a ratio − 1: `factor` times the median |null| of its cells, at least `floor`.

    Parameters
    ----------
    nulls
        By cell, seconds of a call and the median of ln(twin / base).
    """
    by_decade: dict[int, list[float]] = {}
    for seconds, null in nulls.values():
        by_decade.setdefault(decade(seconds), []).append(abs(null))
    return {k: max(floor, math.expm1(factor * median(found))) for k, found in by_decade.items()}


def planned_looks(round_s: float, budget_s: float) -> tuple[int, ...]:
    """Return after how many rounds to look, within a budget: fixed before the first is measured.

    The last look is where the budget ends, if that lies well beyond the one before. Slow calls have one
    look, after `LEAST_ROUNDS` if the budget holds no more.
    """
    affordable = int(budget_s / round_s) if round_s > 0 else LOOKS[-1]
    looks = [n for n in LOOKS if n <= affordable]
    if not looks:
        return (max(LEAST_ROUNDS, affordable),)
    if len(looks) < len(LOOKS) and affordable >= 3 * looks[-1] // 2:
        looks.append(affordable)
    return tuple(looks)
