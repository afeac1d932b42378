"""Statistics of sides measured in turn, against scipy's binomial test, definitions, and properties."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from harness.timing.paired import (
    ALPHA,
    FLOOR,
    LEAST_ROUNDS,
    LOOKS,
    NULL_FACTOR,
    SETS,
    SHARE_IN_EACH,
    Confirmation,
    confidence,
    decade,
    holm,
    interval,
    log_ratio,
    planned_looks,
    screen,
    sign_test,
    thresholds,
)
from harness.timing.statistics import Interval

times = st.floats(1e-9, 1e3)
ratios = st.floats(-2, 2)
p_values = st.floats(0, 1)


# ---- one round ------------------------------------------------------------------------------------------


@given(st.lists(times, min_size=1, max_size=4), st.lists(times, min_size=1, max_size=4))
def test_a_round_is_the_logarithm_of_the_quotient_of_geometric_means(
    base: list[float], head: list[float]
) -> None:
    expected = math.log(math.prod(head) ** (1 / len(head)) / math.prod(base) ** (1 / len(base)))
    # logarithms of at most 21 in size, and a power whose error is that of a product of four
    assert log_ratio(base, head) == pytest.approx(expected, abs=1e-12)


@given(times, times, times, times)
def test_swapping_the_sides_turns_the_sign(a: float, b: float, c: float, d: float) -> None:
    assert log_ratio((a, b), (c, d)) == -log_ratio((c, d), (a, b))


@given(st.floats(1e-6, 1e-3), st.floats(0.5, 2), st.floats(-0.05, 0.05))
def test_drift_that_is_geometric_in_time_cancels_in_abba(base: float, factor: float, drift: float) -> None:
    """Slots at times 0, 1, 2, 3 of a machine that becomes exp(drift) slower in each."""
    slow = [math.exp(drift * t) for t in range(4)]
    found = log_ratio((base * slow[0], base * slow[3]), (base * factor * slow[1], base * factor * slow[2]))
    assert found == pytest.approx(math.log(factor), abs=1e-12)


@pytest.mark.parametrize("bad", [0.0, -1e-6, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(4))
def test_what_is_no_time_is_refused_wherever_it_stands(bad: float, place: int) -> None:
    found = [1e-6] * 4
    found[place] = bad
    with pytest.raises(ValueError, match="a slot took no time"):
        log_ratio(found[:2], found[2:])


# ---- the interval ---------------------------------------------------------------------------------------


def test_alpha_is_shared_by_the_looks() -> None:
    for looks in range(1, 5):
        assert looks * (1 - confidence(looks)) == ALPHA == Fraction(1, 20)


@settings(max_examples=60)
@given(st.integers(0, 200), st.integers(1, 3), st.integers(0, 10**6))
def test_the_interval_is_where_scipys_binomial_test_does_not_reject(n: int, looks: int, seed: int) -> None:
    """Between two samples the two-sided test says the same on both sides of each end."""
    chance = random.Random(seed)
    ds = sorted(chance.gauss(0, 1) for _ in range(n))
    each_side = float(ALPHA / looks / 2)
    kept = []
    for below in range(n + 1):  # a median above `below` of the samples
        p_low = binomtest(below, n, 0.5, alternative="less").pvalue if n else 1.0
        p_high = binomtest(below, n, 0.5, alternative="greater").pvalue if n else 1.0
        kept.append(min(p_low, p_high) > each_side)
    found = interval(ds, looks)
    if n == 0 or kept[0]:
        assert found is None
        return
    assert found is not None
    first = kept.index(True) if any(kept) else n // 2
    # gap number i lies between samples i − 1 and i: the interval begins where the first kept gap does
    assert (found.low, found.high) == (ds[first - 1], ds[n - first])
    assert found.confidence == pytest.approx(1 - 2 * binom.cdf(first - 1, n, 0.5), abs=1e-12)
    assert found.confidence >= 1 - 2 * each_side


@pytest.mark.parametrize(("looks", "fewest"), [(1, 6), (2, 7), (3, 7)])
def test_too_few_rounds_have_no_interval(looks: int, fewest: int) -> None:
    """2·2⁻ⁿ is at most 5 % / looks from n = 6, 7 and 7 on."""
    assert interval([0.1] * (fewest - 1), looks) is None
    found = interval([0.1] * fewest, looks)
    assert found is not None
    assert (found.low, found.high) == (0.1, 0.1)
    assert fewest <= LEAST_ROUNDS


def test_every_first_look_can_decide() -> None:
    assert interval([0.0] * LEAST_ROUNDS, len(LOOKS)) is not None


@given(st.lists(ratios, min_size=LEAST_ROUNDS, max_size=80))
def test_the_interval_holds_the_median_of_the_samples_whatever_their_order(ds: list[float]) -> None:
    found = interval(ds, 1)
    assert found is not None
    assert found.low <= median(ds) <= found.high
    assert interval(ds[::-1], 1) == found
    wider = interval(ds, 3)
    assert wider is not None
    assert wider.low <= found.low
    assert wider.high >= found.high


@pytest.mark.parametrize("n", [20, 21])
def test_the_interval_covers_as_often_as_it_says(n: int) -> None:
    """Of a skewed distribution with median 0; 2000 trials, four standard errors below what it says."""
    chance = random.Random(7)
    trials, held = 2000, 0
    for _ in range(trials):
        found = interval([math.log(chance.expovariate(math.log(2))) for _ in range(n)], 1)
        assert found is not None
        held += found.low <= 0 <= found.high
    error = math.sqrt(0.05 * 0.95 / trials)
    assert held / trials > found.confidence - 4 * error


# ---- what one look says ---------------------------------------------------------------------------------


def within(low: float, high: float) -> Interval:
    return Interval(math.log(low), math.log(high), 0.95)


@pytest.mark.parametrize(
    ("found", "threshold", "said"),
    [
        (None, 0.05, "undecided"),
        (within(1.06, 1.20), 0.05, "slower"),
        (within(1.04, 1.20), 0.05, "slower"),  # beyond the floor: worth confirming
        (within(1.01, 1.20), 0.05, "undecided"),
        (within(1.01, 1.04), 0.05, "not slower"),
        (within(0.50, 0.60), 0.05, "faster"),
        (within(0.96, 0.965), 0.05, "faster"),  # beyond the floor: worth confirming
        (within(0.96, 0.98), 0.05, "not slower"),
        (within(0.50, 1.01), 0.05, "not slower"),
        (Interval(-0.2, -math.log1p(0.03), 0.95), 0.05, "not slower"),
        (within(1.01, 1.04), 0.03, "undecided"),
        (within(1.04, 1.045), 0.05, "slower"),  # though all of it lies below the threshold of now
        (Interval(math.log1p(0.03), 0.2, 0.95), 0.03, "undecided"),  # on the line is not beyond it
        (Interval(0.0, math.log1p(0.05), 0.95), 0.05, "undecided"),
    ],
)
def test_what_a_look_says(found: Interval | None, threshold: float, said: str) -> None:
    assert screen(found, threshold, 0.03) == said


@given(ratios, st.floats(0, 1), st.floats(0.005, 0.5), st.floats(1, 5))
def test_a_look_never_says_both(low: float, width: float, floor: float, factor: float) -> None:
    """Sliding an interval upwards changes what it says in one way only."""
    threshold = floor * factor
    said = [screen(Interval(low + s, low + s + width, 0.95), threshold, floor) for s in (-5.0, 0.0, 0.2, 5.0)]
    rank = ("faster", "not slower", "undecided", "slower")
    assert [rank.index(word) for word in said] == sorted(rank.index(word) for word in said)
    assert (said[0], said[-1]) == ("faster", "slower")


# ---- the sign test --------------------------------------------------------------------------------------


@given(st.lists(ratios, min_size=1, max_size=200), st.floats(0, 0.5))
def test_the_sign_test_is_scipys(ds: list[float], threshold: float) -> None:
    above = sum(1 for d in ds if d > math.log1p(threshold))
    expected = binomtest(above, len(ds), 0.5, alternative="greater").pvalue
    assert sign_test(ds, threshold) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    ("ds", "p"),
    [
        ([], 1.0),
        ([0.1], 0.5),
        ([0.1] * 10, 2.0**-10),
        ([-0.1] * 10, 1.0),
        ([0.0] * 10, 1.0),  # a tie is not above
        ([0.1] * 9 + [0.0], 11 * 2.0**-10),
        ([0.1, -0.1], 0.75),
    ],
)
def test_the_sign_test_by_hand(ds: list[float], p: float) -> None:
    assert sign_test(ds, 0.0) == p


def test_a_ratio_on_the_threshold_is_not_beyond_it() -> None:
    assert sign_test([math.log1p(0.05)] * 8, 0.05) == 1.0
    assert sign_test([math.nextafter(math.log1p(0.05), 1)] * 8, 0.05) == 2.0**-8


def test_many_rounds_keep_their_digits() -> None:
    """A float64 of 2ⁿ would overflow; scipy's p underflows at the same place as ours."""
    assert sign_test([1.0] * 1060, 0.0) == 2.0**-1060
    assert sign_test([1.0] * 2000, 0.0) == 0.0
    assert sign_test([1.0, -1.0] * 2000, 0.0) == pytest.approx(float(binom.sf(1999, 4000, 0.5)), rel=1e-9)


# ---- several at once ------------------------------------------------------------------------------------


def holm_by_definition(found: list[float], alpha: float) -> list[bool]:
    """Adjusted p-values: the largest (m − j + 1)·p₍ⱼ₎ of j ≤ i, in exact fractions; rejected up to alpha."""
    order = sorted(range(len(found)), key=found.__getitem__)
    rejected, adjusted = [False] * len(found), Fraction(0)
    for j, index in enumerate(order):
        adjusted = max(adjusted, (len(found) - j) * Fraction(found[index]))
        rejected[index] = adjusted <= Fraction(alpha)
    return rejected


@given(st.lists(p_values | st.floats(0, 0.06), max_size=12))
def test_holm_is_what_it_is_by_definition(found: list[float]) -> None:
    # a product and a quotient that round differently at the line itself are not what is asked
    lines = [abs(p * k - 0.05) for p in found for k in range(1, len(found) + 1)]
    if all(distance > 1e-15 for distance in lines):
        assert holm(found) == holm_by_definition(found, 0.05)


@given(st.lists(p_values, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_holm_does_not_know_the_order(found: list[float], chance: random.Random) -> None:
    order = list(range(len(found)))
    chance.shuffle(order)
    rejected = holm(found)
    shuffled = holm([found[i] for i in order])
    assert [(found[i], r) for i, r in zip(order, shuffled, strict=True)] == [
        (found[i], rejected[i]) for i in order
    ]


@given(st.lists(p_values, min_size=1, max_size=8))
def test_holm_rejects_what_bonferroni_does_and_nothing_that_one_alone_would_not(found: list[float]) -> None:
    for p, rejected in zip(found, holm(found), strict=True):
        if p < 0.05 / len(found):
            assert rejected
        if rejected:
            assert p <= 0.05


@pytest.mark.parametrize(
    ("found", "rejected"),
    [
        ([], []),
        ([0.05], [True]),
        ([0.0500001], [False]),
        ([0.02, 0.03], [True, True]),
        ([0.03, 0.03], [False, False]),  # neither is below half of it
        ([0.01, 0.04, 0.03, 0.005], [True, False, False, True]),  # Holm 1979's kind: stops at the third
        ([0.04, 0.001, 0.04], [False, True, False]),  # the last is never reached
        ([math.nan, 0.9], [False, False]),
    ],
)
def test_holm_by_hand(found: list[float], rejected: list[bool]) -> None:
    assert holm(found) == rejected


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    """Ten true null hypotheses, p uniform: at most 5 % of 4000 families have a rejection, with 4 errors."""
    chance = random.Random(3)
    wrong = sum(any(holm([chance.random() for _ in range(10)])) for _ in range(4000))
    assert wrong / 4000 < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)


# ---- confirmation ---------------------------------------------------------------------------------------

SLOW = (0.1,) * 20
SAME = (0.0,) * 20


def test_all_sets_must_agree() -> None:
    assert Confirmation((SLOW, SLOW, SLOW)).p_value(0.03) == 2.0**-60
    assert Confirmation((SLOW, SLOW, SAME)).p_value(0.03) == 1.0
    assert Confirmation((SLOW, SLOW, SAME)).agreeing(0.03) == 2
    assert Confirmation((SLOW, SAME, SAME)).agreeing(0.03) == 1
    # pooled, two of three would have been enough for any level
    assert sign_test(Confirmation((SLOW, SLOW, SAME)).pooled, 0.03) < 0.01


def test_nothing_confirms_nothing() -> None:
    assert Confirmation(()).p_value(0.03) == 1.0
    assert Confirmation(((),)).p_value(0.03) == 1.0
    assert Confirmation((SLOW, SLOW, ())).p_value(0.03) == 1.0
    assert Confirmation((SLOW, SLOW, ())).agreeing(0.03) == 2


def test_a_set_agrees_beyond_half_of_the_threshold_and_all_together_beyond_the_whole() -> None:
    half = math.log1p(SHARE_IN_EACH * 0.04)
    at, beyond = (half,) * 20, (math.nextafter(half, 1),) * 20
    assert Confirmation((at,)).agreeing(0.04) == 0
    assert Confirmation((beyond,)).agreeing(0.04) == 1
    assert Confirmation((beyond,) * SETS).p_value(0.04) == 1.0  # each shows half, none the whole
    weak = Confirmation((SLOW, SLOW, beyond))
    assert weak.agreeing(0.04) == 3
    assert weak.p_value(0.04) == pytest.approx(float(binom.sf(39, 60, 0.5)), rel=1e-12)


@given(st.lists(st.lists(ratios, min_size=1, max_size=30), min_size=1, max_size=4), st.floats(0.005, 0.3))
def test_the_p_value_is_that_of_all_rounds_or_one(sets: list[list[float]], threshold: float) -> None:
    found = Confirmation(tuple(map(tuple, sets)))
    together = list(itertools.chain.from_iterable(sets))
    assert list(found.pooled) == together
    agree = all(median(ds) > math.log1p(threshold / 2) for ds in sets)
    n, above = len(together), sum(d > math.log1p(threshold) for d in together)
    expected = binomtest(above, n, 0.5, alternative="greater").pvalue if agree else 1.0
    assert found.p_value(threshold) == pytest.approx(expected, rel=1e-9, abs=1e-300)


# ---- thresholds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1e-6, -6), (9.99e-6, -6), (1e-5, -5), (0.999, -1), (1.0, 0), (12.0, 1), (1.5e-9, -9)],
)
def test_decades(seconds: float, expected: int) -> None:
    assert decade(seconds) == expected


def test_a_decade_of_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a positive input|math domain error"):
        decade(0.0)


def test_each_decade_has_the_threshold_that_its_own_null_gives() -> None:
    nulls = {
        "a": (2e-6, 0.04), "b": (3e-6, -0.02), "c": (5e-6, 0.001),  # median 0.02
        "d": (2e-5, 0.001), "e": (5e-5, -0.003),  # median 0.002: the floor
        "f": (2e-3, -0.05),
    }  # fmt: skip
    found = thresholds(nulls, floor=0.03)
    assert set(found) == {-6, -5, -3}
    assert found[-6] == pytest.approx(math.exp(3 * 0.02) - 1, rel=1e-12)
    assert found[-5] == 0.03
    assert found[-3] == pytest.approx(math.exp(0.15) - 1, rel=1e-12)
    assert thresholds({}) == {}


@given(
    st.dictionaries(st.text(max_size=3), st.tuples(st.floats(1e-8, 10), st.floats(-0.2, 0.2)), max_size=12),
    st.floats(0.005, 0.1),
)
def test_no_threshold_is_below_the_floor_and_more_noise_never_lowers_one(
    nulls: dict[str, tuple[float, float]], floor: float
) -> None:
    found = thresholds(nulls, floor)
    noisier = thresholds({name: (s, 2 * null) for name, (s, null) in nulls.items()}, floor)
    turned = thresholds({name: (s, -null) for name, (s, null) in nulls.items()}, floor)
    assert all(delta >= floor for delta in found.values())
    assert all(noisier[k] >= delta for k, delta in found.items())
    assert turned == found
    assert set(found) == {math.floor(math.log10(s)) for s, _ in nulls.values()}


def test_one_noisy_cell_among_three_raises_nothing() -> None:
    found = thresholds({"a": (1e-4, 0.0), "b": (2e-4, 0.001), "c": (3e-4, 0.5)})
    assert found == {-4: FLOOR}
    assert NULL_FACTOR * 0.001 < FLOOR


# ---- when to look ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("round_s", "budget_s", "looks"),
    [
        (0.01, 10.0, (20, 60, 180)),
        (1.0, 180.0, (20, 60, 180)),
        (1.0, 179.0, (20, 60, 179)),
        (1.0, 90.0, (20, 60, 90)),
        (1.0, 89.0, (20, 60)),
        (1.0, 60.0, (20, 60)),
        (1.0, 59.0, (20, 59)),
        (1.0, 30.0, (20, 30)),
        (1.0, 29.0, (20,)),
        (1.0, 20.0, (20,)),
        (1.0, 19.0, (19,)),
        (1.0, 8.0, (8,)),
        (1.0, 7.0, (8,)),  # one look at 8, over the budget: fewer can tell nothing
        (60.0, 10.0, (8,)),
        (0.0, 10.0, (20, 60, 180)),
    ],
)
def test_looks_that_a_budget_holds(round_s: float, budget_s: float, looks: tuple[int, ...]) -> None:
    assert planned_looks(round_s, budget_s) == looks


@given(st.floats(1e-6, 100), st.floats(1e-3, 1e4))
def test_looks_rise_within_the_budget_and_the_last_can_decide(round_s: float, budget_s: float) -> None:
    looks = planned_looks(round_s, budget_s)
    assert 1 <= len(looks) <= len(LOOKS)
    assert list(looks) == sorted(set(looks))
    assert looks[-1] <= LOOKS[-1]
    assert looks[-1] == LEAST_ROUNDS or looks[-1] * round_s <= budget_s * (1 + 1e-12)
    assert interval([0.0] * looks[0], len(looks)) is not None


def test_what_is_decided_is_what_is_documented() -> None:
    assert (LOOKS, LEAST_ROUNDS, SETS, NULL_FACTOR, SHARE_IN_EACH) == ((20, 60, 180), 8, 3, 3.0, 0.5)
    assert 0.01 <= FLOOR <= 0.05


def test_a_pass_excludes_a_tenth_however_large_the_threshold() -> None:
    below, above = Interval(0.0, math.log(1.09), 0.95), Interval(0.0, math.log(1.11), 0.95)
    assert screen(below, 3.0, 0.02) == "not slower"
    assert screen(above, 3.0, 0.02) == "undecided"
    # who asks for a floor beyond it has it
    assert screen(above, 0.2, 0.2) == "not slower"
    assert screen(below, 0.08, 0.02) == "undecided"
