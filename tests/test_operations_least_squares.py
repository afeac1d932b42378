"""Least squares: which formulations stay within the bound, and where the unstable ones leave it."""

from __future__ import annotations

import math
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, Precision, decode, encode, round_array
from harness.metrics.score import score
from harness.operations.least_squares import OPERATION
from harness.registry import BACKENDS, ExactProblem, find_formulation, support

catalogue.load()
BACKEND = BACKENDS["numpy"]
STABLE = ("householder_qr", "svd")
UNSTABLE = ("normal_equations", "cholesky")


def problem_of(dtype: str, a: Any, b: Any, **parameters: Any) -> ExactProblem:
    fmt = DTYPES[dtype].storage
    inputs = {"a": round_array(fmt, np.asarray(a, float)), "b": round_array(fmt, np.asarray(b, float))}
    return ExactProblem("least_squares", inputs, parameters, DTYPES[dtype])


def conditioned(m: int, n: int, kappa: float, residual: float) -> tuple[np.ndarray, np.ndarray]:
    """A matrix with logarithmically spaced singular values, and b with ‖r‖ about residual·‖b‖."""
    rng = np.random.default_rng([m, n])
    left = np.linalg.qr(rng.standard_normal((m, m)))[0]
    right = np.linalg.qr(rng.standard_normal((n, n)))[0]
    a = (left[:, :n] * np.logspace(0, -math.log10(kappa), n)) @ right.T
    fit = a @ right @ rng.standard_normal(n)
    return a, fit + residual * np.linalg.norm(fit) * left[:, -1]


def run(problem: ExactProblem, name: str) -> np.ndarray:
    assert support("least_squares", name, BACKEND, problem.dtype.name) == problem.dtype.name
    storage = problem.dtype.storage
    native = [BACKEND.from_bits(encode(storage, x), storage) for x in problem.inputs.values()]
    found = find_formulation("least_squares", name, "numpy")
    assert found is not None
    xp = BACKEND.namespace(problem.dtype, checked=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy warns of ill-conditioned systems
        bits, fmt = BACKEND.to_bits(found.build(xp, *native, **problem.parameters)())
    assert fmt == storage.name
    return decode(FORMATS[fmt], bits)


def scored(problem: ExactProblem, computed: Any) -> dict[str, Any]:
    precision = Precision.of(problem.dtype, problem.dtype.name)
    reference = OPERATION.reference(problem)
    return score(OPERATION, problem, reference, {"x": np.asarray(computed, float)}, precision)["x"]


@pytest.mark.parametrize("residual", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("kappa", [1.0, 1e3, 1e6, 1e9, 1e18])
@pytest.mark.parametrize("shape", [(5, 5), (20, 4), (64, 16)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", STABLE)
def test_stable_formulations_stay_within_the_bound(
    name: str, dtype: str, shape: tuple[int, int], kappa: float, residual: float
) -> None:
    if shape[0] == shape[1] and residual:
        shape = (shape[0] + 1, shape[1])
    row = scored(problem := problem_of(dtype, *conditioned(*shape, kappa, residual)), run(problem, name))
    assert row["outcome"] == "ok"
    assert row["bound_ratio"] <= 1


@pytest.mark.parametrize("name", UNSTABLE)
@pytest.mark.parametrize(("dtype", "kappa"), [("float64", 1e6), ("float32", 3e3)])
def test_the_normal_equations_lose_more_than_the_condition_number_explains(
    name: str, dtype: str, kappa: float
) -> None:
    """Their error is of the order κ²u, κ/(20·√(mn)) times the bound where the residual vanishes."""
    problem = problem_of(dtype, *conditioned(20, 4, kappa, 0.0))
    row = scored(problem, run(problem, name))
    assert row["bound_ratio"] > 1
    assert row["kappa_error"] > 20


def test_the_normal_equations_are_fine_for_a_small_condition_number() -> None:
    problem = problem_of("float64", *conditioned(20, 4, 10.0, 0.5))
    for name in UNSTABLE:
        assert scored(problem, run(problem, name))["bound_ratio"] < 1


def test_laeuchli_makes_cholesky_raise_and_qr_succeed() -> None:
    """With ε below √u, AᵀA rounds to a matrix of ones."""
    a = np.vstack([np.ones(3), 2.0**-30 * np.eye(3)])
    problem = problem_of("float64", a, [1.0, 0, 0, 0])
    with pytest.raises(np.linalg.LinAlgError):
        run(problem, "cholesky")
    assert scored(problem, run(problem, "householder_qr"))["bound_ratio"] <= 1


def low_rank() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    a = rng.integers(-3, 4, (20, 3)) @ rng.integers(-3, 4, (3, 8))
    return a.astype(float), rng.standard_normal(20)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_svd_with_truncation_finds_the_minimum_norm_solution(dtype: str) -> None:
    for parameters in ({}, {"rcond": "machine"}, {"rcond": Decimal("1e-5")}):
        problem = problem_of(dtype, *low_rank(), **parameters)
        assert scored(problem, run(problem, "svd"))["bound_ratio"] <= 1


def test_svd_without_truncation_does_not() -> None:
    problem = problem_of("float64", *low_rank(), rcond=0)
    assert scored(problem, run(problem, "svd"))["bound_ratio"] > 1


def test_a_tolerance_that_cuts_the_rank_is_refused() -> None:
    a, b = conditioned(20, 4, 1e4, 0.1)
    assert OPERATION.reference(problem_of("float64", a, b, rcond=Decimal("0.9e-4"))).undecided == 0
    with pytest.raises(InputError, match="truncates singular values") as caught:
        OPERATION.reference(problem_of("float64", a, b, rcond=Decimal("1.1e-4")))
    assert "below 1/κ" in str(caught.value)


@pytest.mark.parametrize("rcond", ["automatic", Decimal(-1), 1, Decimal("1.5"), True])
def test_tolerances_that_are_none(rcond: Any) -> None:
    a, b = conditioned(6, 2, 10.0, 0.1)
    with pytest.raises(InputError, match="allowed: 'machine', or a number from 0 to below 1"):
        OPERATION.reference(problem_of("float64", a, b, rcond=rcond))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones(3), np.ones(3), "takes a matrix"),
        (np.ones((3, 2)), np.ones(2), "takes a matrix"),
        (np.ones((0, 2)), np.ones(0), "takes a matrix"),
        (np.array([[1.0], [math.inf]]), np.ones(2), "finite data"),
        (np.ones((2, 1)), np.array([math.nan, 1]), "finite data"),
    ],
)
def test_inputs_that_it_cannot_take(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        OPERATION.reference(problem_of("float64", a, b))


def test_metrics_by_hand() -> None:
    """A = diag(2, 1), b = (2, 1), x̂ = (1 + 2⁻²⁰, 1): x = (1, 1), κ = 2, r = 0.

    ‖x̂ − x‖/‖x‖ = 2⁻²⁰/√2 against 20·√4·u·κ. r̂ = (−2⁻¹⁹, 0), Aᵀr̂ = (−2⁻¹⁸, 0); with δ = 2⁻²⁰ the first
    entry of ‖x̂‖²AᵀA + ‖r̂‖²I is 4(1 + (1 + δ)²) + 4δ².
    """
    problem = problem_of("float64", np.diag([2.0, 1.0]), [2.0, 1.0])
    delta, u = 2.0**-20, 2.0**-53
    row = scored(problem, [1 + delta, 1])
    relative = delta / math.sqrt(2)
    squared = 4 * (1 + (1 + delta) ** 2) + 4 * delta**2
    backward = 4 * delta / math.sqrt(squared) / math.sqrt(5)
    size = 2
    forward_ratio = relative / (20 * size * u * 2)
    expected = {
        "norm_rel_error": relative,
        "condition": 2,
        "kappa_error": relative / (2 * u),
        "backward_error": backward,
        "bound_ratio": max(forward_ratio, backward / (10 * size * u)),
    }
    # κ is known to 2**-38
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=2**-38)


def test_the_forward_bound_by_hand() -> None:
    """A = diag(4, 0), b = (4, 3): x = (1, 0) of minimum norm, κ = 1, ‖r‖ = 3.

    The error (0, δ) leaves the residual as it is, so that only the forward bound tells of it.
    """
    problem = problem_of("float64", np.diag([4.0, 0.0]), [4.0, 3.0])
    row = scored(problem, [1.0, 2.0**-40])
    assert row["backward_error"] == 0
    assert row["bound_ratio"] == pytest.approx(2.0**-40 / (20 * 2 * 2.0**-53 * (1 + 3 / 4)), rel=2**-38)


def test_underflow_by_hand() -> None:
    """A = I, b = x = (ω, 0), x̂ = (ω, tω): b and columns of A may change by 4mn·ω = 16ω, x by √2·ω.

    Forward: tω against 2·16ω + √2·ω; u·κ‖x‖ and 2·√2·16ω·‖x‖ are nothing beside them. Backward: Aᵀr̂ is
    (0, −tω), so t/√(1 + 2t²)/√2 against (16/√2 + √2)/√(1 + t²).
    """
    least = 2.0**-1074
    problem = problem_of("float64", np.eye(2), [least, 0.0])
    for t in (1, 30, 3000):
        forward = t / (32 + math.sqrt(2))
        backward = t / math.sqrt(1 + 2 * t * t) / math.sqrt(2)
        allowed = (16 / math.sqrt(2) + math.sqrt(2)) / math.sqrt(1 + t * t)
        row = scored(problem, [least, t * least])
        assert row["bound_ratio"] == pytest.approx(max(forward, backward / allowed), rel=1e-9)  # κ: 2⁻³⁸


def test_underflow_of_a_small_matrix_by_hand() -> None:
    """A = a·I with q = ω/a = 2⁻³⁴, x = (1, 1), x̂ = (1 + δ, 1): δ/√(2‖x̂‖² + 2δ²).

    That stands against 20u + 16q + 16q/(√2‖x̂‖).

    A = a·diag(1, 0), x = (1, 0), x̂ = (1, δ): δ against 40u + 2·√2·16q + 2·16q, and nothing backward.
    """
    a, q, u, delta = 2.0**-1040, 2.0**-34, 2.0**-53, 2.0**-20
    norm = math.hypot(1 + delta, 1)
    backward = delta / math.sqrt(2 * norm**2 + 2 * delta**2)
    row = scored(problem_of("float64", a * np.eye(2), [a, a]), [1 + delta, 1])
    wanted = backward / (20 * u + 16 * q + 16 * q / (math.sqrt(2) * norm))
    assert row["bound_ratio"] == pytest.approx(wanted, rel=2**-38)
    row = scored(problem_of("float64", a * np.diag([1.0, 0]), [a, 0]), [1, delta])
    assert row["backward_error"] == 0
    wanted = delta / (40 * u + 32 * math.sqrt(2) * q + 32 * q)
    assert row["bound_ratio"] == pytest.approx(wanted, rel=2**-38)


@pytest.mark.parametrize(("of_a", "of_b"), [(0, -1060), (-1020, -1020), (-700, -1065), (500, -600)])
@pytest.mark.parametrize("kappa", [3.0, 1e4, 1e9])
def test_small_numbers_neither_alarm_nor_hide(kappa: float, of_a: int, of_b: int) -> None:
    """Householder QR on data whose products, or solution, are subnormal; a solution doubled is wrong."""
    a, b = conditioned(20, 4, kappa, 0.5)
    problem = problem_of("float64", np.ldexp(a, of_a), np.ldexp(b, of_b))
    assert scored(problem, run(problem, "householder_qr"))["bound_ratio"] <= 1
    if kappa < 10 and of_b - of_a > -1060:
        exact = OPERATION.reference(problem).outputs["x"].to_float64()
        assert scored(problem, 2 * exact)["bound_ratio"] > 1


def test_the_residual_enters_the_forward_bound() -> None:
    """κ‖x‖ = 8·√2, κ²‖r‖/‖A‖ = 64 or 0: an error of 30 units of 20·√(mn)·u is within the one bound only."""
    a = np.array([[1.0, 0], [0, 0.125], [0, 0]])
    error = np.array([0, 20 * math.sqrt(6) * 2.0**-53 * 30])
    consistent, inconsistent = (problem_of("float64", a, [1.0, 0.125, r]) for r in (0.0, 1.0))
    within, beyond = (scored(p, np.ones(2) + error) for p in (inconsistent, consistent))
    assert within["norm_rel_error"] == beyond["norm_rel_error"]
    assert within["bound_ratio"] < 1 < beyond["bound_ratio"]


def test_wrong_answers() -> None:
    a, b = conditioned(20, 4, 100.0, 0.1)
    problem = problem_of("float64", a, b)
    exact = OPERATION.reference(problem).outputs["x"].to_float64()
    assert scored(problem, exact)["bound_ratio"] <= 1
    for wrong in (np.zeros(4), -exact, exact[::-1], np.float32(exact), exact * (1 + 1e-9)):
        assert scored(problem, wrong)["bound_ratio"] > 1


def test_outputs_that_are_not_finite_get_no_numbers() -> None:
    problem = problem_of("float64", *conditioned(6, 3, 10.0, 0.1))
    reference = OPERATION.reference(problem)
    assert OPERATION.judge is not None
    for value in (math.nan, math.inf):
        outputs = {"x": np.array([1.0, value, 0.0])}
        assert OPERATION.judge(problem, reference, outputs, Precision.of(problem.dtype, "float64")) == {}
    assert scored(problem, [1.0, math.nan, 0.0])["outcome"] == "not_a_number"


def test_solutions_of_zero() -> None:
    """b = 0, and b orthogonal to the columns: 0 is right; anything else has no relative error."""
    a = np.array([[1.0, 0], [0, 0.5], [0, 0]])
    for b in ([0.0, 0, 0], [0.0, 0, 7]):
        problem = problem_of("float64", a, b)
        assert scored(problem, np.zeros(2))["bound_ratio"] == 0
        row = scored(problem, [1e-3, 0.0])
        assert row["bound_ratio"] > 1
        assert row["norm_rel_error"] == math.inf
    # b = (0, 0, 7): errors of u·κ²‖r‖/‖A‖ are what a stable algorithm may make
    assert scored(problem, [2.0**-52, 0.0])["bound_ratio"] < 1


def test_a_law_beyond_1_over_u_still_gives_numbers() -> None:
    problem = problem_of("float32", *conditioned(12, 6, 1e12, 0.0))
    row = scored(problem, np.ones(6))
    assert row["condition"] > 2**24
    assert 0 < row["bound_ratio"] < math.inf


def test_compute_dtype_decides_the_unit_roundoff() -> None:
    problem = problem_of("float32", *conditioned(20, 4, 100.0, 0.1))
    reference = OPERATION.reference(problem)
    assert OPERATION.judge is not None
    x = {"x": reference.outputs["x"].to_float64() * (1 + 2.0**-10)}
    wide, narrow = (
        OPERATION.judge(problem, reference, x, Precision.of(problem.dtype, compute))["x"]["bound_ratio"]
        for compute in ("float64", "float16")
    )
    # float64 computes more finely than the float32 result is rounded; float16 2¹³ times more coarsely
    assert wide == pytest.approx(narrow * 2**13, rel=2**-40)


def test_cost_is_that_of_householder_qr() -> None:
    """2·6·3² − ⅔·3³ = 90, the same for the transposed shape."""
    assert OPERATION.cost is not None
    assert OPERATION.cost({"a": (6, 3), "b": (6,)}, {}, 8).flops == 90
    assert OPERATION.cost({"a": (3, 6), "b": (3,)}, {}, 8).flops == 90
    assert OPERATION.cost({"a": (6, 3), "b": (6,)}, {}, 8).bytes == 8 * (18 + 6 + 3)
