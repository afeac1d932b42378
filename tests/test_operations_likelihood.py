"""Bayes' rule, likelihoods and what maximises them: references, bounds that hold, and where products end."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from harness.errors import InputError
from harness.formats import DTYPES, round_array
from harness.operations import minimisation
from tests.judged import Judged

DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
BACKEND_NAMES = ("numpy", "torch-cpu")
SMALLEST = {"float64": 1074, "float32": 149, "bfloat16": 133, "float16": 24}
"""ω is 2 to minus this."""
EVERY = pytest.mark.parametrize("backend", BACKEND_NAMES)
DTYPED = pytest.mark.parametrize("dtype", DTYPE_NAMES)


def value(found: Judged, output: str | None = None) -> np.ndarray:
    name = output or next(iter(found.operation.outputs))
    return found.reference.outputs[name].to_float64()


def within(found: Judged, name: str, backend: str) -> None:
    for output in found.operation.outputs:
        row = found.row(name, backend, output)
        assert row["outcome"] == "ok", (name, output)
        assert row["bound_ratio"] <= 1, (name, output)


# ---- Bayes' rule ----------------------------------------------------------------------------------------


def posterior(prior: list[float], likelihoods: list[list[float]]) -> list[Fraction]:
    weights = [
        Fraction(p) * math.prod((Fraction(row[j]) for row in likelihoods), start=Fraction(1))
        for j, p in enumerate(prior)
    ]
    return [w / sum(weights) for w in weights]


def test_posteriors_and_their_slopes_are_rationals() -> None:
    rng = np.random.default_rng(1)
    prior, table, g = np.array([0.25, 0.5, 0.125]), rng.uniform(0.1, 1, (6, 3)), [1.0, -2.0, 3.0]
    exact = posterior(prior.tolist(), table.tolist())
    inputs = {"prior": prior, "likelihoods": table}
    np.testing.assert_allclose(
        value(Judged("bayes_posterior", "float64", **inputs)), [float(y) for y in exact], rtol=3e-16
    )
    found = Judged("bayes_posterior", "float64", wrt=("prior", "likelihoods"), cotangent=g, **inputs)
    mean = sum(Fraction(w) * y for w, y in zip(g, exact, strict=True))
    slopes = [(Fraction(w) - mean) * y for w, y in zip(g, exact, strict=True)]
    expected = [float(s / Fraction(p)) for s, p in zip(slopes, prior.tolist(), strict=True)]
    np.testing.assert_allclose(value(found, "grad_prior"), expected, rtol=3e-16)
    expected = [[float(s / Fraction(v)) for s, v in zip(slopes, row, strict=True)] for row in table.tolist()]
    np.testing.assert_allclose(value(found, "grad_likelihoods"), expected, rtol=3e-16)


@EVERY
@DTYPED
def test_posteriors_stay_within_their_bound(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(2)
    for n in (1, 5, 40, 300):
        for low in (0.01, 0.4):
            inputs = {"prior": rng.uniform(0.1, 1, 4), "likelihoods": rng.uniform(low, 0.5, (n, 4))}
            for name in ("log_space", "sequential"):
                within(Judged("bayes_posterior", dtype, **inputs), name, backend)
    inputs |= {"cotangent": rng.standard_normal(4)}
    found = Judged("bayes_posterior", dtype, wrt=("prior", "likelihoods"), **inputs)
    within(found, "log_space", backend)


@EVERY
@DTYPED
def test_products_of_flips_end_at_the_smallest_number(dtype: str, backend: str) -> None:
    n = SMALLEST[dtype]
    flips = {n - 2: [2 / 3, 1 / 3], n - 1: [1, 0]}
    for count, expected in flips.items():
        table = np.full((count, 2), 0.5)
        found = Judged("bayes_posterior", dtype, prior=[0.5, 0.25], likelihoods=table)
        got = found.outputs("product", backend)["y"]
        assert np.allclose(got, expected, rtol=2.0**-7)  # two roundings of bfloat16
    found = Judged("bayes_posterior", dtype, prior=[0.5, 0.25], likelihoods=np.full((n, 2), 0.5))
    assert found.row("product", backend)["outcome"] == "not_a_number"
    within(found, "sequential", backend)


def test_an_impossible_hypothesis_stays_impossible() -> None:
    found = Judged("bayes_posterior", "float64", prior=[0.5, 0.5], likelihoods=[[0.5, 0.0], [0.5, 1.0]])
    assert value(found).tolist() == [1, 0]
    for name in ("product", "log_space", "sequential"):
        within(found, name, "numpy")
    with pytest.raises(InputError, match="every hypothesis is impossible"):
        Judged("bayes_posterior", "float64", prior=[0.5, 0.5], likelihoods=[[0.0, 0.0]])
    with pytest.raises(InputError, match="allowed are finite numbers from 0"):
        Judged("bayes_posterior", "float64", prior=[0.5, -0.5], likelihoods=[[1, 1]])


@DTYPED
def test_what_underflows_may_be_the_smallest_numbers_and_what_is_impossible_is_0(dtype: str) -> None:
    # of n = 2 hypotheses: (h + 1)ω = 3ω, be the posterior of 10⁻¹⁸⁰⁰ or so a number of float64 or not
    least = float(DTYPES[dtype].storage.min_subnormal)
    table = np.full((1500, 2), [0.9375, 0.0625])
    found = Judged("bayes_posterior", dtype, prior=[0.5, 0.5], likelihoods=table)
    assert value(found)[1] == 0
    assert found.passes(np.array([1, 3 * least]))
    if dtype != "bfloat16":  # of which 1500 roundings are more than the sum of logarithms
        assert not found.passes(np.array([1, 4 * least]))
    table[7, 1] = 0
    found = Judged("bayes_posterior", dtype, prior=[0.5, 0.5], likelihoods=table)
    assert found.passes(np.array([1.0, 0.0]))
    assert not found.passes(np.array([1, least]))


@DTYPED
def test_wrong_posteriors_are_caught(dtype: str) -> None:
    rng = np.random.default_rng(3)
    table = rng.uniform(0.3, 0.6, (4, 3))
    found = Judged("bayes_posterior", dtype, prior=[0.2, 0.5, 0.3], likelihoods=table)
    shorter = Judged("bayes_posterior", dtype, prior=[0.2, 0.5, 0.3], likelihoods=table[:-1])
    right, u = found.exact(), float(DTYPES[dtype].storage.unit_roundoff)
    assert found.passes(right)
    assert not found.passes(np.zeros(3))
    assert found.passes(right * (1 + 8 * u))  # four logarithms of 8u each, to begin with
    if dtype in ("float64", "float32"):
        for wrong in (np.roll(right, 1), shorter.exact(), right * (1 + 400 * u)):
            assert not found.passes(wrong)


@EVERY
@DTYPED
def test_bayes_rule_keeps_what_a_product_loses(dtype: str, backend: str) -> None:
    tiny = float(DTYPES[dtype].storage.min_normal) ** 0.9
    found = Judged("conditional_probability", dtype, likelihood=[tiny], prior=[tiny], evidence=[tiny])
    assert found.row("product_first", backend)["outcome"] == "zeroed"
    within(found, "ordered", backend)
    rng = np.random.default_rng(4)
    a, b = rng.uniform(0, 1, (2, 50)) ** 3
    inputs = {"likelihood": a, "prior": b, "evidence": np.maximum(a * b, rng.uniform(0, 1, 50) ** 4)}
    within(Judged("conditional_probability", dtype, **inputs), "ordered", backend)
    inputs["cotangent"] = rng.standard_normal(50)
    found = Judged("conditional_probability", dtype, wrt=("likelihood", "prior"), **inputs)
    within(found, "ordered", backend)


def test_bayes_rule_refuses_what_is_no_probability() -> None:
    for change, words in (({"prior": [1.5]}, "probabilities"), ({"evidence": [0]}, "nothing is conditional")):
        with pytest.raises(InputError, match=words):
            Judged(
                "conditional_probability",
                "float64",
                **{"likelihood": [0.5], "prior": [0.5], "evidence": [0.5], **change},
            )


# ---- likelihoods ----------------------------------------------------------------------------------------


def test_likelihoods_are_products_and_their_logarithms() -> None:
    f = np.random.default_rng(5).uniform(0.1, 3, 30)
    exact = math.prod(map(Fraction, f.tolist()))
    assert value(Judged("likelihood", "float64", densities=f)) == pytest.approx(float(exact), rel=3e-16)
    with mpmath.workdps(40):
        logarithm = float(mpmath.log(mpmath.mpf(exact.numerator) / exact.denominator))
    assert value(Judged("log_likelihood", "float64", densities=f)) == pytest.approx(logarithm, rel=3e-16)
    slope = value(Judged("log_likelihood", "float64", wrt=("densities",), densities=f, cotangent=2.0))
    np.testing.assert_allclose(slope, 2 / f, rtol=3e-16)


def test_normal_log_likelihoods_are_those_of_mpmath() -> None:
    x, mean, deviation = [0.5, -1.25, 3.0], 0.25, 1.5
    found = Judged("normal_log_likelihood", "float64", x=x, mean=mean, deviation=deviation)
    with mpmath.workdps(40):
        densities = [mpmath.npdf(mpmath.mpf(v), mean, deviation) for v in x]
        assert value(found) == pytest.approx(float(mpmath.log(mpmath.fprod(densities))), rel=3e-16)
    slopes = Judged(
        "normal_log_likelihood", "float64", wrt=("x", "mean", "deviation"),
        x=x, mean=mean, deviation=deviation, cotangent=1,
    )  # fmt: skip
    z = (np.array(x) - mean) / deviation
    np.testing.assert_allclose(value(slopes, "grad_x"), -z / deviation, rtol=1e-15)
    assert value(slopes, "grad_mean") == pytest.approx(z.sum() / deviation, rel=1e-14)
    assert value(slopes, "grad_deviation") == pytest.approx((z @ z - 3) / deviation, rel=1e-14)


@EVERY
@DTYPED
def test_log_likelihoods_stay_within_their_bounds(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(6)
    for n in (1, 9, 300):
        f = rng.uniform(0.01, 2, n)
        within(Judged("log_likelihood", dtype, densities=f), "sum_of_logs", backend)
        wide = f * 2.0 ** rng.integers(-3, 4, n)
        within(Judged("likelihood", dtype, densities=wide), "scaled", backend)
        inputs = {"x": 3 + 2 * rng.standard_normal(n), "mean": 2.5, "deviation": 1.75}
        found = Judged("normal_log_likelihood", dtype, **inputs)
        for name in ("closed_form", "library"):
            within(found, name, backend)
    found = Judged("log_likelihood", dtype, wrt=("densities",), densities=f, cotangent=-1.5)
    within(found, "sum_of_logs", backend)
    found = Judged("likelihood", dtype, wrt=("densities",), densities=f[:40], cotangent=-1.5)
    within(found, "scaled", backend)
    wrt = ("x", "mean", "deviation")
    within(Judged("normal_log_likelihood", dtype, wrt=wrt, cotangent=0.75, **inputs), "closed_form", backend)


@EVERY
@DTYPED
def test_the_product_of_fair_flips_ends_one_flip_after_the_smallest_number(dtype: str, backend: str) -> None:
    for n, outcome in ((SMALLEST[dtype], "ok"), (SMALLEST[dtype] + 1, "overflow")):
        found = Judged("log_likelihood", dtype, densities=np.full(n, 0.5))
        assert found.row("log_of_product", backend)["outcome"] == outcome
        within(found, "sum_of_logs", backend)


@EVERY
@DTYPED
def test_a_likelihood_within_the_range_survives_partial_products_that_are_not(
    dtype: str, backend: str
) -> None:
    small = float(DTYPES[dtype].storage.min_normal) ** 0.5
    powers = 2.0 ** np.round(np.log2(small) * np.linspace(1, -1, 16))  # symmetric: the product is 1
    for f, outcome in ((powers, "zeroed"), (powers[::-1], "overflow")):
        found = Judged("likelihood", dtype, densities=f)
        assert found.row("product", backend)["outcome"] == outcome
        assert found.outputs("scaled", backend)["y"] == value(found) == 1
    assert Judged("likelihood", dtype, densities=[0.5, 0, 2]).outputs("scaled", backend)["y"] == 0


@DTYPED
def test_wrong_likelihoods_are_caught(dtype: str) -> None:
    f = np.random.default_rng(11).uniform(0.3, 0.9, 6)
    found = Judged("likelihood", dtype, densities=f)
    right, u = found.exact(), float(DTYPES[dtype].storage.unit_roundoff)
    assert found.passes(right)
    assert found.passes(right * (1 + 8 * u))  # of 18u: three roundings for each of six factors
    for wrong in (0 * right, Judged("likelihood", dtype, densities=f[:-1]).exact(), right * (1 + 24 * u)):
        assert not found.passes(wrong)


@DTYPED
def test_wrong_log_likelihoods_are_caught(dtype: str) -> None:
    f = np.random.default_rng(7).uniform(0.3, 0.6, 8)
    found = Judged("log_likelihood", dtype, densities=f)
    right, u = found.exact(), float(DTYPES[dtype].storage.unit_roundoff)
    assert found.passes(right)
    assert found.passes(right * (1 + 8 * u))  # each logarithm may be 8u off: 4 units in the last place
    for wrong in (0 * right, Judged("log_likelihood", dtype, densities=f[:-1]).exact(), right * (1 + 40 * u)):
        assert not found.passes(wrong)


# ---- what maximises them --------------------------------------------------------------------------------


def test_the_guides_flips_give_seven_tenths() -> None:
    flips = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1]
    found = Judged("mle_bernoulli", "float64", flips=flips)
    assert value(found) == 0.7
    for name in ("closed_form", "golden_section", "score_root"):
        assert round(float(found.outputs(name, "numpy")["p"]), 2) == 0.70


def test_most_likely_mean_and_variance_are_rationals() -> None:
    x = np.random.default_rng(8).normal(5, 2, 17)
    exact = [Fraction(v) for v in x.tolist()]
    mean = sum(exact) / 17
    found = Judged("mle_normal", "float64", x=x)
    assert value(found, "mean") == pytest.approx(float(mean), rel=3e-16)
    variance = sum((v - mean) ** 2 for v in exact) / 17
    assert value(found, "variance") == pytest.approx(float(variance), rel=3e-16)


@EVERY
@DTYPED
def test_closed_forms_and_roots_of_the_score_stay_within_their_bounds(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(9)
    for n in (2, 10, 200):
        for share in (0.03, 0.5, 0.9):
            flips = (rng.uniform(size=n) < share).astype(float)
            for name in ("closed_form", "score_root"):
                within(Judged("mle_bernoulli", dtype, flips=flips), name, backend)
        for centre in (0.0, 3.0, 50.0):
            x = centre + rng.standard_normal(n)
            if len(np.unique(Judged("mle_normal", "float64", x=x).inputs["x"].astype(np.float16))) > 1:
                for name in ("closed_form", "score_root", "library"):
                    within(Judged("mle_normal", dtype, x=x), name, backend)


@EVERY
@DTYPED
def test_function_values_find_a_minimum_to_the_root_of_u_only(dtype: str, backend: str) -> None:
    """For p = 0.7 by the derivation in the guide's case; float64 and float32 show that it is no better."""
    root = math.sqrt(float(DTYPES[dtype].storage.unit_roundoff))
    found = Judged("mle_bernoulli", dtype, flips=[1] * 7 + [0] * 3)
    off = found.row("golden_section", backend)["max_rel_error"]
    assert off <= 4.4 * root
    if dtype in ("float64", "float32"):
        assert off > root / 100


def test_golden_section_and_bisection_find_what_they_should() -> None:
    found = Judged("mle_bernoulli", "float64", flips=[1, 0])
    xp_root = found.outputs("score_root", "numpy")["p"]
    assert abs(float(xp_root) - 0.5) <= 2.0**-53
    assert minimisation.golden_steps(2.0**-53) == 42  # ln(√u/4)/ln 0.618 = 41.05


def test_wrong_maxima_are_caught() -> None:
    for dtype in ("float64", "float32"):
        fmt = DTYPES[dtype].storage
        u = float(fmt.unit_roundoff)
        coin = Judged("mle_bernoulli", dtype, flips=[1] * 7 + [0] * 3)
        for wrong in (0.0, 0.6, 7 / 9, 0.7 * (1 + 40 * u)):
            assert not coin.passes(np.asarray(wrong))
        assert coin.passes(np.asarray(0.7 * (1 + 8 * u)))  # 8u, and 9u of the sum
        x = np.random.default_rng(10).normal(3, 1, 10)
        normal = Judged("mle_normal", dtype, x=x)
        right = {n: normal.exact(n) for n in ("mean", "variance")}
        assert all(r["bound_ratio"] <= 1 for r in normal.rows(right).values())
        for name, factor in (("variance", 10 / 9), ("variance", 0.0), ("mean", 1 + 1e-4)):
            rows = normal.rows({**right, name: round_array(fmt, right[name] * factor)})
            assert rows[name]["bound_ratio"] > 1


def test_data_without_a_most_likely_value_are_told() -> None:
    with pytest.raises(InputError, match="allowed are 0 and 1"):
        Judged("mle_bernoulli", "float64", flips=[0.5])
    with pytest.raises(InputError, match="no maximum"):
        Judged("mle_normal", "float64", x=[1, 1])
    with pytest.raises(InputError, match="deviation not above 0"):
        Judged("normal_log_likelihood", "float64", x=[1], mean=0, deviation=0)
    with pytest.raises(InputError, match="no slope"):
        Judged("log_likelihood", "float64", wrt=("densities",), densities=[0, 1], cotangent=1)
