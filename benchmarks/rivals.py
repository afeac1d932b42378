"""How other tools decide that something became slower: their rules, as functions of two samples.

Each takes the times of base and of head, seconds a call, one a slot, and says "slower", "not slower" or,
where the tool has such an answer, "cannot tell". The rules are the tools'; the samples are what is passed:
the tools themselves measure one side after the other, and their samples are blocks of calls where ours are
minima of four. `check_rivals.py` compares these functions with the tools' own code.

asv 0.6.6 with asv_runner 0.3.2
    `asv compare` and `asv continuous`. asv/commands/compare.py, `_is_result_better`: worse if the medians
    (asv_runner/statistics.py, `compute_stats`) differ by more than the factor 1.1 (`add_compare` in
    asv/commands/common_args.py) and `is_different` (asv/_stats.py): two-sided Mann–Whitney, p < 0.002, exact
    up to 20 samples a side, then normal without corrections for ties or continuity; ties are broken in
    favour of "no difference". A ratio beyond the factor that is not significant is printed with "~": cannot
    tell.
pyperf 2.10.0
    `pyperf compare_to`. pyperf/_utils.py, `is_significant`: Student's two-sample t-test, two-sided at 95 %,
    variances pooled, critical values from a table in steps (`tdist95conf_level`); pyperf/_compare.py,
    `is_significant_benchs`: whatever raises (samples of different sizes, no spread) counts as significant;
    slower if the ratio of the means is above 1.
pytest-benchmark 5.3.1
    `--benchmark-compare --benchmark-compare-fail=mean:5%`. pytest_benchmark/utils.py,
    `PercentageRegressionCheck`: fails if the field (mean, min, median …) grew by more than the percentage.
criterion.rs 0.7
    `cargo bench` against a stored baseline. src/analysis/compare.rs: the t statistic of Welch, whose
    distribution is bootstrapped from both samples pooled (src/stats/univariate/mixed.rs), and the ratio of
    the means, bootstrapped from each (src/stats/univariate/mod.rs: a resample of head serves √resamples of
    base); src/report.rs, `measurement_complete`: regressed if p < 0.05 (`p_value` in src/stats/mod.rs) and
    the whole 95 % interval of head/base − 1 is above the noise threshold 0.01 (`compare_to_threshold`).
    Defaults: src/lib.rs, `impl Default for Criterion`, 100 000 resamples. Read at criterion-rs/criterion.rs
    993f392 (compare.rs), 528cb12 (report.rs), 14b1bdf (lib.rs) and bheisler/criterion.rs 2c9937c (stats).
Google Benchmark
    `compare.py benchmarks a.json b.json`. tools/gbench/report.py, `calc_utest`: scipy's two-sided
    Mann–Whitney, called significant below 0.05 (`--alpha` of tools/compare.py); fewer than 9 repetitions
    print "Results unreliable": cannot tell. It fails nothing: the reader takes a significant U test and a
    larger time for "slower"; here the medians say which is larger. Read at google/benchmark 058fb58
    (report.py) and 0d933be (compare.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import median
from typing import Literal

import numpy as np
from scipy import stats

Verdict = Literal["slower", "not slower", "cannot tell"]
Samples = Sequence[float]

ASV_FEWEST = 6
"""With 5 + 5 samples no order is as rare as 0.002: asv compares intervals of a posterior, not done here."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a tool does with two samples, under a title for tables."""

    title: str
    decide: Callable[[Samples, Samples], Verdict]


# ---------------------------------------------------------------------------------------------------- asv


def asv(base: Samples, head: Samples, factor: float = 1.1, p_threshold: float = 0.002) -> Verdict:
    """Return what `asv compare` says."""
    if min(len(base), len(head)) < ASV_FEWEST:
        raise ValueError(f"{len(base)} and {len(head)} samples: asv's test needs {ASV_FEWEST} on each side")
    if not median(base) < median(head) / factor:
        return "not slower"
    return "slower" if asv_p_value(base, head) < p_threshold else "cannot tell"


def asv_p_value(x: Samples, y: Samples) -> float:
    """Return the p value of asv's Mann–Whitney test, two-sided, ties broken conservatively."""
    m, n = len(x), len(y)
    below = np.sort(np.asarray(y, dtype=float))
    u = int(np.searchsorted(below, x, side="left").sum())
    ties = int(np.searchsorted(below, x, side="right").sum()) - u
    middle = m * n // 2
    if u <= middle <= u + ties:
        ties = middle - u
    extreme = max(min(u, m * n - u), min(u + ties, m * n - u - ties))
    if max(m, n) > 20:
        z = (extreme - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12)
        return math.erfc(-z / math.sqrt(2))
    return _cumulated(m, n, extreme) + 1 - _cumulated(m, n, max(middle, m * n - extreme - 1))


def _cumulated(m: int, n: int, u: int) -> float:
    return sum(_orderings(m, n)[: u + 1]) / math.comb(m + n, m)


@lru_cache(maxsize=512)
def _orderings(m: int, n: int) -> tuple[int, ...]:
    """Return how many orders of m and n values have U = 0, 1, … mn: a Gaussian binomial's coefficients."""
    counts = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            counts[u] -= counts[u - n - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    return tuple(counts)


# ------------------------------------------------------------------------------------------------- pyperf


def pyperf(base: Samples, head: Samples) -> Verdict:
    """Return what `pyperf compare_to` says."""
    slower = float(np.mean(head)) > float(np.mean(base))
    return "slower" if slower and pyperf_significant(base, head) else "not slower"


def pyperf_significant(base: Samples, head: Samples) -> bool:
    """Return whether pyperf calls the difference significant, either way."""
    n = len(base)
    if len(head) != n or n < 2:
        return True
    pooled = (np.var(base) + np.var(head)) * n / (2 * n - 2)
    if pooled == 0:
        return True
    score = (np.mean(base) - np.mean(head)) / math.sqrt(2 * pooled / n)
    return bool(abs(score) >= pyperf_critical(2 * n - 2))


@lru_cache(maxsize=1024)
def pyperf_critical(freedom: int) -> float:
    """Return the critical value for degrees of freedom: three decimals, in steps from 30, normal from 200."""
    if freedom >= 200:
        return 1.96
    step = freedom if freedom <= 30 else max(known for known in (30, 40, 50, 60, 80, 100) if known <= freedom)
    return round(float(stats.t.ppf(0.975, step)), 3)


# --------------------------------------------------------------------------------------- pytest-benchmark


def pytest_benchmark(base: Samples, head: Samples, field: str = "mean", percent: int = 5) -> Verdict:
    """Return what `--benchmark-compare-fail=FIELD:PERCENT%` does, of mean, median or min."""
    take = {"mean": np.mean, "median": np.median, "min": np.min}[field]
    return "slower" if float(take(head)) / float(take(base)) * 100 - 100 > percent else "not slower"


# ----------------------------------------------------------------------------------------------- criterion


def criterion(
    base: Samples,
    head: Samples,
    resamples: int = 100_000,
    *,
    first: int = 2_000,
    significance: float = 0.05,
    noise: float = 0.01,
    seed: int = 0,
) -> Verdict:
    """Return what criterion.rs says.

    `first` resamples come first, and decide where the answer is beyond 5 standard errors of what they
    estimate; only what is nearer gets all `resamples`. With `first=0` everything does.
    """
    random = np.random.default_rng(seed)
    a, b = np.asarray(head, dtype=float), np.asarray(base, dtype=float)
    beyond = _mean_beyond(_ratios(a, b, first, random), noise, sure=True) if first else None
    if beyond is None:
        beyond = _mean_beyond(criterion_ratios(a, b, resamples, random), noise)
    if not beyond:
        return "not slower"
    t = _welch(a[None], b[None])[0]
    different = _different(t, _t_resampled(a, b, first, random), significance, sure=True) if first else None
    if different is None:
        different = _different(t, _t_resampled(a, b, resamples, random), significance)
    return "slower" if different else "not slower"


def criterion_p_value(base: Samples, head: Samples, resamples: int, seed: int = 0) -> float:
    """Return criterion's p value."""
    a, b = np.asarray(head, dtype=float), np.asarray(base, dtype=float)
    return 2 * _tail(_welch(a[None], b[None])[0], _t_resampled(a, b, resamples, np.random.default_rng(seed)))


def criterion_ratios(a: np.ndarray, b: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """Return criterion's bootstrap of mean a / mean b − 1: a resample of a serves a chunk of those of b."""
    chunks = math.ceil(math.sqrt(resamples))
    each = -(-resamples // chunks)
    heads = np.repeat(_means(a, chunks, random), each)[:resamples]
    return heads / _means(b, resamples, random) - 1


def _ratios(a: np.ndarray, b: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    return _means(a, resamples, random) / _means(b, resamples, random) - 1


def _mean_beyond(ratios: np.ndarray, noise: float, sure: bool = False) -> bool | None:
    """Return whether the 95 % interval is above `noise`; None if `sure` is asked and it is not."""
    if not sure:
        return bool(np.quantile(ratios, 0.025) > noise)
    error = 5 * math.sqrt(0.025 * 0.975 / len(ratios))
    low, high = np.quantile(ratios, [max(0.0, 0.025 - error), 0.025 + error])
    return bool(low > noise) if low > noise or high <= noise else None


def _different(t: float, resampled: np.ndarray, significance: float, sure: bool = False) -> bool | None:
    tail = _tail(t, resampled)
    if not sure:
        return 2 * tail < significance
    error = 5 * math.sqrt(max(tail, 0.01) / len(resampled))
    if 2 * (tail - error) >= significance:
        return False
    return True if 2 * (tail + error) < significance else None


def _tail(t: float, resampled: np.ndarray) -> float:
    resampled = resampled[np.isfinite(resampled)]
    hits = int(np.count_nonzero(resampled < t))
    return min(hits, len(resampled) - hits) / len(resampled)


def _t_resampled(a: np.ndarray, b: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """Return t statistics of samples as large as a and b, drawn from both together."""
    pool = np.concatenate([a, b])
    found = []
    for rows in _chunks(resamples, len(pool)):
        drawn = pool[random.integers(0, len(pool), (rows, len(pool)), dtype=np.int32)]
        found.append(_welch(drawn[:, : len(a)], drawn[:, len(a) :]))
    return np.concatenate(found)


def _welch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    error = a.var(axis=1, ddof=1) / a.shape[1] + b.var(axis=1, ddof=1) / b.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return (a.mean(axis=1) - b.mean(axis=1)) / np.sqrt(error)


def _means(values: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    n = len(values)
    return np.concatenate(
        [
            values[random.integers(0, n, (rows, n), dtype=np.int32)].mean(axis=1)
            for rows in _chunks(resamples, n)
        ]
    )


def _chunks(rows: int, width: int, limit: int = 1_000_000) -> list[int]:
    """Return numbers of rows that fit in caches, in all `rows`."""
    each = max(1, limit // width)
    return [each] * (rows // each) + ([rows % each] if rows % each else [])


# ----------------------------------------------------------------------------------------- Google Benchmark


def google_benchmark(base: Samples, head: Samples, alpha: float = 0.05, fewest: int = 9) -> Verdict:
    """Return what a reader of Google Benchmark's compare.py concludes."""
    if min(len(base), len(head)) < fewest:
        return "cannot tell"
    p = stats.mannwhitneyu(base, head, alternative="two-sided").pvalue
    return "slower" if p < alpha and median(head) > median(base) else "not slower"


RULES: Mapping[str, Rule] = {
    "asv": Rule("asv compare: median > 1.1 and U test p < 0.002", asv),
    "pyperf": Rule("pyperf compare_to: t test at 95 %", pyperf),
    "pytest-benchmark mean": Rule("pytest-benchmark mean:5%", pytest_benchmark),
    "pytest-benchmark min": Rule("pytest-benchmark min:5%", partial(pytest_benchmark, field="min")),
    "criterion": Rule("criterion.rs: t bootstrapped, p < 0.05, interval > 1 %", criterion),
    "google": Rule("Google Benchmark: U test p < 0.05", google_benchmark),
}
"""By a short name."""
