"""Bernoulli, binomial and Poisson probabilities: references, bounds that hold, and where factorials end."""

from __future__ import annotations

from fractions import Fraction
from math import comb, factorial, isnan

import mpmath
import numpy as np
import pytest

from harness.errors import InputError
from harness.formats import DTYPES, round_array
from harness.operations import saddle_point
from tests.judged import Judged

DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
BACKEND_NAMES = ("numpy", "torch-cpu")
OVERFLOWS_FROM = {"float64": 171, "float32": 35, "bfloat16": 35, "float16": 9}
LARGEST_COUNT = {"float64": 10**6, "float32": 10**6, "bfloat16": 255, "float16": 2047}


def value(found: Judged, output: str = "y") -> np.ndarray:
    return found.reference.outputs[output].to_float64()


def test_stirling_errors_are_those_of_mpmath() -> None:
    with mpmath.workdps(40):
        for i, number in enumerate(saddle_point.SMALL, start=1):
            k = mpmath.mpf(i)
            exact = mpmath.loggamma(k + 1) - (k + 0.5) * mpmath.log(k) + k - mpmath.log(2 * mpmath.pi) / 2
            assert abs(mpmath.mpf(str(number)) / exact - 1) < 1e-22  # printed to 24 digits
        k = mpmath.mpf(16)
        exact = mpmath.loggamma(k + 1) - (k + 0.5) * mpmath.log(k) + k - mpmath.log(2 * mpmath.pi) / 2
        series = sum(
            (-1) ** j * mpmath.mpf(c.numerator) / c.denominator / k ** (2 * j + 1)
            for j, c in enumerate(saddle_point.SERIES)
        )
        assert 0 < abs(series - exact) < 1.5e-18  # 1/(156·16^13), the next term


def test_binomial_probabilities_are_exact_rationals() -> None:
    k, p, n = np.arange(13.0), np.linspace(0, 1, 13), 12
    found = value(Judged("binomial_pmf", "float64", k=k, p=p, parameters={"n": n}))
    for j, q, y in zip(k.tolist(), p.tolist(), found.tolist(), strict=True):
        exact = comb(n, int(j)) * Fraction(q) ** int(j) * (1 - Fraction(q)) ** (n - int(j))
        assert y == pytest.approx(float(exact), rel=3e-16)


def test_the_guides_example() -> None:
    assert value(Judged("binomial_pmf", "float64", k=[5], p=[0.5], parameters={"n": 10}))[0] == 0.24609375


def test_poisson_probabilities_are_those_of_mpmath() -> None:
    k, rate = [0.0, 1, 7, 100, 1000], [0.25, 3.0, 7.5, 120.0, 900.0]
    found = value(Judged("poisson_pmf", "float64", k=k, rate=rate))
    with mpmath.workdps(50):
        for j, lam, y in zip(k, rate, found.tolist(), strict=True):
            exact = mpmath.mpf(lam) ** int(j) * mpmath.exp(-mpmath.mpf(lam)) / factorial(int(j))
            assert y == pytest.approx(float(exact), rel=3e-16)
    assert value(Judged("poisson_pmf", "float64", k=[0, 2], rate=[0, 0])).tolist() == [1, 0]


def test_slopes_are_those_of_the_closed_forms() -> None:
    k, p, n, g = [0, 2, 5, 7, 10], [0.5, 0.25, 0.75, 0.5, 0.125], 10, [1.0, 2, -1, 1, 3]
    inputs = {"k": k, "p": p, "cotangent": g}
    found = value(Judged("binomial_pmf", "float64", wrt=("p",), parameters={"n": n}, **inputs), "grad_p")
    for j, q, w, y in zip(k, map(Fraction, p), g, found.tolist(), strict=True):
        weight = comb(n, j) * q**j * (1 - q) ** (n - j)
        assert y == pytest.approx(float(Fraction(w) * weight * (j / q - (n - j) / (1 - q))), rel=3e-16)
    found = value(
        Judged("poisson_pmf", "float64", wrt=("rate",), k=[4], rate=[2.5], cotangent=[1]), "grad_rate"
    )
    assert found[0] == pytest.approx(2.5**4 * np.exp(-2.5) / 24 * (4 / 2.5 - 1), rel=1e-14)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_the_expansion_stays_within_its_bound(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(7)
    for n in (1, 2, 9, 40, 250, 2000, 10**6):
        if n <= LARGEST_COUNT[dtype]:
            p = rng.uniform(0, 1, 40)
            k = np.concatenate([rng.binomial(n, p[:20]), rng.integers(0, n + 1, 20)])
            judged = Judged("binomial_pmf", dtype, k=k, p=p, parameters={"n": n})
            row = judged.row("saddle_point", backend)
            assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True), n
    for rate in (0.001, 3.0, 90.0, 1500.0, 10.0**5):
        if 2 * rate <= LARGEST_COUNT[dtype]:
            k = rng.poisson(rate, 40)
            row = Judged("poisson_pmf", dtype, k=k, rate=np.full(40, rate)).row("saddle_point", backend)
            assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True), rate


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_gradients_of_the_expansion_stay_within_their_bound(dtype: str, backend: str) -> None:
    rng = np.random.default_rng(8)
    p, n = rng.uniform(0.05, 0.95, 30), 60
    g = rng.standard_normal(30)
    inputs = {"k": rng.binomial(n, p), "p": p, "cotangent": g}
    row = Judged("binomial_pmf", dtype, wrt=("p",), parameters={"n": n}, **inputs).row(
        "saddle_point", backend
    )
    assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True)
    inputs = {"k": rng.poisson(20, 30), "rate": rng.uniform(15, 25, 30), "cotangent": g}
    row = Judged("poisson_pmf", dtype, wrt=("rate",), **inputs).row("saddle_point", backend)
    assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True)


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_factorials_end_where_they_overflow(dtype: str) -> None:
    first = OVERFLOWS_FROM[dtype]
    assert factorial(first - 1) < DTYPES[dtype].storage.max_finite < factorial(first)
    for n, overflows in ((first - 1, False), (first, True)):
        judged = Judged("binomial_pmf", dtype, k=[n // 2], p=[0.5], parameters={"n": n})
        for backend in BACKEND_NAMES:
            assert (judged.row("factorial", backend)["outcome"] == "overflow") == overflows


def test_logarithms_of_factorials_lose_what_they_cancel() -> None:
    """ln 100000! = 1.05e6: rounded to 2^-33 of it, a relative error of the probability."""
    k = np.arange(49_800.0, 50_200, 40)
    judged = Judged("binomial_pmf", "float64", k=k, p=np.full(10, 0.5), parameters={"n": 100_000})
    assert judged.row("lgamma")["max_rel_error"] > 1e-11
    assert judged.row("saddle_point")["max_rel_error"] < 1e-14


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_certain_and_impossible_events(dtype: str) -> None:
    k, p = [0, 10, 0, 10, 5, 5], [0, 1, 1, 0, 0, 1]
    judged = Judged("binomial_pmf", dtype, k=k, p=p, parameters={"n": 10})
    assert value(judged).tolist() == [1, 1, 0, 0, 0, 0]
    bernoulli = Judged("bernoulli_pmf", dtype, k=[0, 1, 0, 1], p=[0, 1, 1, 0])
    assert value(bernoulli).tolist() == [1, 1, 0, 0]
    for backend in BACKEND_NAMES:
        assert judged.row("saddle_point", backend)["outcome"] == "ok"
        assert judged.row("lgamma", backend)["outcome"] == "ok"
        assert bernoulli.row("selected", backend)["bound_ratio"] == 0
        assert isnan(bernoulli.outputs("products", backend)["y"][0])


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_wrong_probabilities_are_caught(dtype: str) -> None:
    k, p = np.array([2, 4, 5, 7]), np.full(4, 0.375)
    judged = Judged("binomial_pmf", dtype, k=k, p=p, parameters={"n": 8})
    right, fmt = judged.exact(), DTYPES[dtype].storage
    other = Judged("binomial_pmf", dtype, k=k, p=p, parameters={"n": 9}).exact()
    assert judged.passes(right)
    for wrong in (np.zeros(4), np.roll(right, 1), other, right * 1.5):
        assert not judged.passes(wrong)
    # 1 + 8u is within: three products of 2π, n/k and 1/(n − k), √ and exp are 10u alone.
    assert judged.passes(right * (1 + 8 * float(fmt.unit_roundoff)))
    assert not judged.passes(right * (1 + 400 * float(fmt.unit_roundoff)))


def test_inputs_that_are_no_counts_or_probabilities_are_told() -> None:
    for inputs, words in (
        ({"k": [1.5], "p": [0.5]}, "integers from 0 to 10"),
        ({"k": [11], "p": [0.5]}, "integers from 0 to 10"),
        ({"k": [1], "p": [1.5]}, "from 0 to 1"),
        ({"k": [1, 2], "p": [0.5]}, "one shape"),
    ):
        with pytest.raises(InputError, match=words):
            Judged("binomial_pmf", "float64", parameters={"n": 10}, **inputs)
    with pytest.raises(InputError, match="not all numbers of bfloat16"):
        Judged("binomial_pmf", "bfloat16", k=[1], p=[0.5], parameters={"n": 256})
    with pytest.raises(InputError, match="strictly between 0 and 1"):
        Judged("binomial_pmf", "float64", wrt=("p",), k=[1], p=[0], cotangent=[1], parameters={"n": 10})
    with pytest.raises(InputError, match="from 0 on"):
        Judged("poisson_pmf", "float64", k=[1], rate=[-1])


def test_counts_of_narrow_formats_are_those_they_hold() -> None:
    assert round_array(DTYPES["bfloat16"].storage, np.array([255.0, 257.0])).tolist() == [255, 256]
