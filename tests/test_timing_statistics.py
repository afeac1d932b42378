from fractions import Fraction
from itertools import product
from statistics import median

import pytest

from harness.timing.statistics import Interval, median_interval, median_ranks, noise

# (n, k, exact confidence in %): 1 − 2·scipy.stats.binom.cdf(k − 1, n, 0.5), where k + 1 gives under 95 %.
RANKS = [
    (6, 1, 96.88),
    (8, 1, 99.22),
    (10, 2, 97.85),
    (20, 6, 95.86),
    (25, 8, 95.67),
    (50, 18, 96.72),
    (100, 40, 96.48),
]


@pytest.mark.parametrize(("n", "k", "percent"), RANKS)
def test_ranks_are_those_of_the_sign_test(n, k, percent):
    low, high, confidence = median_ranks(n)
    assert (low, high) == (k, n + 1 - k)
    assert confidence * 100 == pytest.approx(percent, abs=0.005)  # given to two decimals


@pytest.mark.parametrize("n", range(1, 6))
def test_fewer_than_six_samples_have_no_interval_of_95_percent(n):
    assert median_ranks(n) is None
    assert median_interval([1.0] * n) is None


@pytest.mark.parametrize("n", range(6, 15))
def test_confidence_is_the_share_of_all_equally_likely_sign_patterns(n):
    low, _high, confidence = median_ranks(n)
    below = [sum(signs) for signs in product((0, 1), repeat=n)]
    # x(k) ≤ median ≤ x(n+1−k) fails only if fewer than k samples are on one side
    covered = sum(low <= b <= n - low for b in below)
    assert confidence == covered / 2**n
    narrower = sum(low + 1 <= b <= n - low - 1 for b in below)
    assert Fraction(narrower, 2**n) < Fraction(95, 100), "a narrower interval would have done"


def test_interval_takes_order_statistics_whatever_the_order():
    samples = [float(x) for x in (7, 3, 9, 1, 10, 2, 8, 4, 6, 5)]
    found = median_interval(samples)
    assert (found.low, found.high) == (2.0, 9.0)
    assert found.width == 7.0
    assert found.low <= median(samples) <= found.high


def test_large_samples_are_exact_too():
    low, high, confidence = median_ranks(5000)
    assert low + high == 5001
    assert 0.95 <= confidence < 0.951
    # normal approximation: k ≈ n/2 − 0.98·√n, right to about one rank
    assert low == pytest.approx(2500 - 0.98 * 5000**0.5, abs=1.5)


def test_noise_is_the_scaled_median_deviation():
    assert noise([1.0, 1.1, 0.9, 1.0, 5.0]) == pytest.approx(1.4826 * 0.1)
    assert noise([2.0]) is None
    assert noise([3.0, 3.0, 3.0]) == 0.0


def test_interval_is_plain_data():
    assert Interval(1.0, 2.5, 0.95).width == 1.5
