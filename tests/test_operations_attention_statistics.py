"""Variance of scores and entropy of weights: reference, bounds, and mistakes."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

from harness.errors import InputError
from harness.registry import OPERATIONS, ExactProblem
from tests.attention_problems import (
    BACKEND_NAMES,
    DTYPE_NAMES,
    assert_right,
    judge,
    numbers,
    problem_of,
    run,
    scale_of,
    shares,
)

STATISTICS = OPERATIONS["score_statistics"]


def make(
    dtype: str, m: int = 6, n: int = 5, d: int = 4, amplitude: float = 1.0, **parameters: Any
) -> ExactProblem:
    rng = np.random.default_rng(3)
    inputs = {"q": rng.standard_normal((m, d)) * amplitude, "k": rng.standard_normal((n, d))}
    return problem_of("score_statistics", dtype, inputs, **parameters)


def by_mpmath(problem: ExactProblem) -> tuple[float, float]:
    with mpmath.workdps(60):
        q, k, c = numbers(problem.inputs["q"]), numbers(problem.inputs["k"]), scale_of(problem)
        s = [c * mpmath.fsum(x * y for x, y in zip(a, b, strict=True)) for a in q for b in k]
        mean = mpmath.fsum(s) / len(s)
        p = shares(q, k, c, np.ones((len(q), len(k)), bool))
        terms = [x * mpmath.log(x) for row in p for x in row]
        return float(mpmath.fsum((x - mean) ** 2 for x in s) / len(s)), float(-mpmath.fsum(terms) / len(q))


@pytest.mark.parametrize("parameters", [{}, {"scale": 1}, {"scale": -2}])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_the_reference_is_what_mpmath_gives(dtype: str, parameters: dict[str, Any]) -> None:
    problem = make(dtype, **parameters)
    exact = STATISTICS.reference(problem).outputs
    assert (float(exact["variance"].to_float64()), float(exact["entropy"].to_float64())) == by_mpmath(problem)


def test_equal_scores_have_no_variance_and_the_largest_entropy() -> None:
    problem = problem_of(
        "score_statistics", "float64", {"q": np.full((3, 2), 0.1), "k": np.full((4, 2), 0.3)}
    )
    exact = STATISTICS.reference(problem).outputs
    assert float(exact["variance"].to_float64()) == 0
    assert float(exact["entropy"].to_float64()) == math.log(4)
    single = problem_of("score_statistics", "float64", {"q": np.full((3, 2), 0.1), "k": np.full((1, 2), 0.3)})
    assert float(STATISTICS.reference(single).outputs["entropy"].to_float64()) == 0
    for equal in (single, problem):
        assert_right(equal, "guarded", "numpy")
    assert judge(problem, *run(problem, "naive", "numpy"))["variance"]["bound_ratio"] > 1  # squares cancel


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_the_guarded_one_keeps_to_the_bounds(dtype: str, backend: str) -> None:
    for given in (
        {},
        {"m": 40, "n": 30, "d": 64},
        {"scale": 1, "d": 64},
        {"amplitude": 1e-3},
        {"m": 1, "n": 1},
    ):
        assert_right(make(dtype, **given), "guarded", backend)
        assert_right(make(dtype, **given), "naive", backend)
    assert_right(make(dtype, amplitude=1000.0), "guarded", backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_a_weight_of_0_makes_the_naive_entropy_undefined(dtype: str, backend: str) -> None:
    """A gap of 800 is beyond the 745 of float64."""
    inputs = {"q": [[1.0]], "k": [[0.0], [800.0]]}
    problem = problem_of("score_statistics", dtype, inputs, scale=1)
    rows = judge(problem, *run(problem, "naive", backend))
    assert (rows["variance"]["outcome"], rows["entropy"]["outcome"]) == ("ok", "not_a_number")
    assert_right(problem, "guarded", backend)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_wrong_statistics_are_beyond_the_bounds(dtype: str) -> None:
    problem = make(dtype, 8, 8, 16)
    variance, entropy = by_mpmath(problem)
    rows = judge(problem, [np.array(variance), np.array(entropy)], dtype)
    assert all(row["bound_ratio"] < 0.1 for row in rows.values())
    unscaled = by_mpmath(make(dtype, 8, 8, 16, scale=1))
    wrong = {
        "no scale": unscaled,
        "divided by N − 1, and in bits": (variance * 64 / 63, entropy / math.log(2)),
        "a deviation, and of one row": (math.sqrt(variance), entropy * 8),
        "negative": (-variance, -entropy),
    }
    for what, values in wrong.items():
        rows = judge(problem, [np.array(x) for x in values], dtype)
        assert all(row["bound_ratio"] > 1 for row in rows.values()), what


def test_other_shapes_and_numbers_are_refused() -> None:
    for q, k in ((np.ones((2, 3)), np.ones((2, 4))), (np.ones((1, 2, 3)), np.ones((1, 2, 3)))):
        with pytest.raises(InputError, match="shapes"):
            STATISTICS.reference(problem_of("score_statistics", "float32", {"q": q, "k": k}))
    with pytest.raises(InputError, match="infinities"):
        STATISTICS.reference(problem_of("score_statistics", "float32", {"q": [[np.inf]], "k": [[1.0]]}))


def test_cost_by_hand() -> None:
    """2·3·5·4 flops of the product and 12·15; 12 + 20 elements read and two written."""
    assert STATISTICS.cost is not None
    found = STATISTICS.cost({"q": (3, 4), "k": (5, 4)}, {"scale": 1}, 8)
    assert (found.flops, found.bytes) == (300, 272)
