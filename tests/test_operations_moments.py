"""Sums, means, variances, covariances, correlations: references, bounds, frontiers, published data."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harness import casefile, catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, Precision, decode, encode, round_array
from harness.metrics.published import log_relative_error
from harness.metrics.score import score
from harness.operations import moments_family as family
from harness.reference.elements import NAN, POS_INF, ZERO
from harness.reference.inner_product import exact_sum
from harness.registry import BACKENDS, OPERATIONS, ExactProblem, find_formulation, support

torch = pytest.importorskip("torch")
catalogue.load()

ALL = ("float64", "float32", "bfloat16", "float16")
AXES = ("sum", "mean", "variance", "standard_deviation")
BOTH = ("numpy", "torch-cpu")
STABLE = {
    "sum": ("pairwise", "compensated", "wide", "library"),
    "mean": ("pairwise", "compensated", "scaled", "wide", "library"),
    "variance": ("two_pass", "compensated", "library"),
    "standard_deviation": ("two_pass", "library"),
    "covariance": ("two_pass", "library"),
    "correlation": ("two_pass", "library"),
}


def problem_of(operation: str, dtype: str, x: Any, **parameters: Any) -> ExactProblem:
    inputs = {"x": round_array(DTYPES[dtype].storage, np.asarray(x, float))}
    given = {**OPERATIONS[operation].defaults(), **parameters}
    return ExactProblem(operation, inputs, given, DTYPES[dtype])


def run(problem: ExactProblem, name: str, backend: str = "numpy") -> tuple[np.ndarray, str]:
    """Return what a formulation gives, and what it accumulates in."""
    bench, storage = BACKENDS[backend], problem.dtype.storage
    compute = support(problem.operation, name, bench, problem.dtype.name)
    if not isinstance(compute, str):
        pytest.skip(compute.reason)
    found = find_formulation(problem.operation, name, backend)
    assert found is not None
    native = bench.from_bits(encode(storage, problem.inputs["x"]), storage)
    with np.errstate(all="ignore"):
        result = found.build(bench.namespace(problem.dtype, checked=True), native, **problem.parameters)()
    bits, fmt = bench.to_bits(result)
    return round_array(storage, decode(FORMATS[fmt], bits)), compute  # as a worker rounds what is wider


def scored(problem: ExactProblem, computed: Any, compute: str | None = None) -> Mapping[str, Any]:
    operation = OPERATIONS[problem.operation]
    precision = Precision.of(problem.dtype, compute or problem.dtype.name)
    reference = operation.reference(problem)
    return score(operation, problem, reference, {"y": np.asarray(computed, float)}, precision)["y"]


def judged(problem: ExactProblem, name: str, backend: str = "numpy") -> Mapping[str, Any]:
    return scored(problem, *run(problem, name, backend))


# ---- references ----------------------------------------------------------------------------------------


def test_sums_of_data_are_exact_whatever_their_exponents() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3000) * 2.0 ** rng.integers(-1000, 1000, 3000)
    assert exact_sum(x) == sum(map(Fraction, x.tolist()))
    assert exact_sum(np.array([])) == 0
    assert exact_sum(np.array([1.7e308, 1.7e308, -5e-324])) == 2 * Fraction(1.7e308) - Fraction(5e-324)
    assert exact_sum(np.full(2**20 + 3, 0.1)) == (2**20 + 3) * Fraction(0.1)


def close(found: Any, exact: float) -> bool:
    return float(found) == pytest.approx(exact, rel=2.0**-51)  # exact is rounded, twice at most


@pytest.mark.parametrize("ddof", [0, 1])
def test_references_are_those_of_rational_arithmetic(ddof: int) -> None:
    x = np.random.default_rng(1).standard_normal(40) + 2.0**20
    exact = [Fraction(v) for v in x.tolist()]
    mean = sum(exact) / 40
    spread = sum((v - mean) ** 2 for v in exact) / (40 - ddof)
    given = {
        "sum": float(sum(exact)),
        "mean": float(mean),
        "variance": float(spread),
        "standard_deviation": math.sqrt(spread),
    }
    for name, value in given.items():
        parameters = {"ddof": ddof} if name in ("variance", "standard_deviation") else {}
        reference = OPERATIONS[name].reference(problem_of(name, "float64", x, **parameters))
        assert close(reference.outputs["y"].to_float64(), value), name
    assert statistics.pvariance(exact) == spread if ddof == 0 else statistics.variance(exact) == spread


def test_covariances_and_correlations_are_those_of_rational_arithmetic() -> None:
    x = np.random.default_rng(2).standard_normal((9, 3)) + 100
    columns = [[Fraction(v) for v in column] for column in x.T.tolist()]
    centred = [[v - sum(c) / 9 for v in c] for c in columns]
    exact = [[sum(a * b for a, b in zip(p, q, strict=True)) / 8 for q in centred] for p in centred]
    covariance = OPERATIONS["covariance"].reference(problem_of("covariance", "float64", x, ddof=1))
    found = covariance.outputs["y"].to_float64()
    assert all(close(found[j, k], float(exact[j][k])) for j in range(3) for k in range(3))
    correlation = OPERATIONS["correlation"].reference(problem_of("correlation", "float64", x))
    found = correlation.outputs["y"].to_float64()
    assert np.diagonal(found).tolist() == [1.0, 1.0, 1.0]
    for j, k in ((0, 1), (0, 2), (2, 1)):
        square = Fraction(exact[j][k]) ** 2 / (exact[j][j] * exact[k][k])
        assert found[j, k] ** 2 == pytest.approx(float(square), rel=2.0**-50)
        assert np.sign(found[j, k]) == np.sign(float(exact[j][k]))


@pytest.mark.parametrize(
    ("x", "kinds"),
    [
        ([1.0, np.inf], {"sum": POS_INF, "mean": POS_INF, "variance": NAN, "standard_deviation": NAN}),
        ([np.inf, -np.inf], dict.fromkeys(("sum", "mean", "variance", "standard_deviation"), NAN)),
        ([np.nan, 1.0], dict.fromkeys(("sum", "mean", "variance", "standard_deviation"), NAN)),
        ([3.0, 3.0], {"variance": ZERO, "standard_deviation": ZERO}),
        ([1e-300, -1e-300], {"sum": ZERO, "mean": ZERO}),
    ],
)
def test_special_inputs_and_exact_zeros(x: list[float], kinds: dict[str, int]) -> None:
    for name, kind in kinds.items():
        problem = problem_of(name, "float64", x)
        assert OPERATIONS[name].reference(problem).outputs["y"].kind == kind, name
        for formulation in STABLE[name]:
            infinite = formulation == "compensated" and kind == POS_INF  # its errors are ∞ − ∞
            if formulation != "wide" and not infinite:
                assert judged(problem, formulation)["outcome"] == "ok", (name, formulation)


def test_what_cannot_be_reduced_is_told() -> None:
    for name, x, parameters, text in (
        ("sum", np.ones((2, 3)), {"axis": 2}, "axis is 2, and x has shape"),
        ("variance", np.ones(1), {"ddof": 1}, "at least 2 are needed"),
        ("covariance", np.ones(4), {"ddof": 0}, "rows of at least two columns"),
        ("covariance", np.ones((1, 2)), {"ddof": 1}, "at least 2 are needed"),
    ):
        with pytest.raises(InputError, match=text):
            OPERATIONS[name].reference(problem_of(name, "float64", x, **parameters))
    shapes = {"x": np.ones(3), "y": np.ones(4)}
    with pytest.raises(InputError, match="one length"):
        OPERATIONS["linear_expectation"].reference(
            ExactProblem("linear_expectation", shapes, {"a": 1, "b": 1}, DTYPES["float64"])
        )


# ---- bounds --------------------------------------------------------------------------------------------


def data(dtype: str, kind: str, shape: tuple[int, ...], seed: int) -> Any:
    """Return numbers whose moments are ordinary, or near the ends of a format's range."""
    fmt, rng = DTYPES[dtype].storage, np.random.default_rng(seed)
    x = rng.standard_normal(shape) + rng.uniform(-3, 3)
    n = shape[0]
    largest, least = float(fmt.max_finite), float(fmt.min_subnormal)
    with np.errstate(under="ignore"):
        if kind == "large":
            return x / np.abs(x).sum(axis=0) * (0.9 * largest)
        if kind == "large squares":
            return x / np.abs(x).max() * math.sqrt(largest / n) / 4
        if kind == "small":
            return x * least * 8
        if kind == "small squares":
            return x * math.sqrt(least) * 2
    return x


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("operation", STABLE)
def test_stable_formulations_stay_within_their_bounds(operation: str, dtype: str, backend: str) -> None:
    kinds = ["plain", "large"] if operation in ("sum", "mean") else ["plain", "large squares"]
    kinds += ["small", "small squares"] if operation != "correlation" else []  # 0/0 where squares vanish
    for seed, kind in enumerate(kinds * 2):
        n = (3, 17, 60, 129)[seed % 4]
        x = data(dtype, kind, (n, 2), seed)
        for layout in "CF":
            parameters = {"axis": 0, "layout": layout} if operation in AXES else {}
            problem = problem_of(operation, dtype, x, **parameters)
            for name in STABLE[operation]:
                if name == "wide" and dtype == "float64":
                    continue
                row = judged(problem, name, backend)
                assert row["outcome"] == "ok", (name, kind, n, layout, row)
                assert row.get("bound_ratio", 0.0) <= 1, (name, kind, n, layout, row)


def test_a_blocked_sum_is_as_high_as_is_said() -> None:
    """Follow NumPy's pairwise_sum: 8 lanes and a rest in blocks of 128 at most, halves above."""

    def height(n: int) -> int:
        if n < 8:
            return n - 1
        if n <= 128:
            return n // 8 - 1 + 3 + n % 8
        half = n // 2 - n // 2 % 8
        return 1 + max(height(half), height(n - half))

    for n in [*range(1, 3000), 65536, 65535, 10**6 + 7, 2**24 - 1]:
        assert max(0, height(n)) <= family.height(n), n
    assert family.height(2**20) == 20 + family.LEAF


COLUMNS: list[list[float]] = [[1000, 1001, 1003, 1003, 1005], [-2, 0.5, 4, 8, 3]]


def by_formula(ddof: int, fmt: str, u_acc: Fraction) -> dict[str, list[Fraction]]:
    """Return the module's formulas for two columns of five numbers, in rationals."""
    u, omega = FORMATS[fmt].unit_roundoff, FORMATS[fmt].min_subnormal
    n, h = 5, 4  # no term passes through more than four additions
    grown = lambda k: (1 + Fraction(u)) ** k - 1  # noqa: E731
    columns = [[Fraction(v) for v in column] for column in COLUMNS]
    means = [sum(column) / n for column in columns]
    off = [[abs(v - m) for v in column] for column, m in zip(columns, means, strict=True)]
    added = min((1 + u_acc) ** h - 1, (n - 1) * u_acc)
    # The sum's errors, and roundings of the sum, of n, of the quotient, and of what they make of each other.
    delta = [
        added * (1 + grown(4)) * sum(map(abs, column)) / n + grown(4) * abs(m) + omega
        for column, m in zip(columns, means, strict=True)
    ]
    relative = (1 + grown(7)) * (1 + u_acc) ** h - 1
    variance = [
        (relative * (sum(v * v for v in of) + n * d * d) + n * d * d + 2 * n * omega) / (n - ddof) + 2 * omega
        for of, d in zip(off, delta, strict=True)
    ]
    pair, of_means = (
        sum((a + delta[0]) * (b + delta[1]) for a, b in zip(*off, strict=True)),
        n * delta[0] * delta[1],
    )
    relative = (1 + grown(6)) * (1 + n * u_acc) - 1
    covariance = (relative * pair + of_means + 2 * n * omega) / (n - ddof) + 2 * omega
    # Of a gradient x − m: each deviation is off by Δ, their mean by the mean of Δ and what its sum is off.
    gradient = []
    for of, d in zip(off, delta, strict=True):
        errors = [d + u * (v + d) for v in of]
        mean = (
            sum(errors) / n + added * (1 + grown(4)) * sum(v + e for v, e in zip(of, errors, strict=True)) / n
        )
        gradient += [grown(8) * v + (1 + grown(8)) * (e + mean) for v, e in zip(of, errors, strict=True)]
    return {"mean": delta, "variance": variance, "covariance": [covariance], "gradient": gradient}


@pytest.mark.parametrize("ddof", [0, 2])
@pytest.mark.parametrize(("dtype", "compute", "p"), [("float16", "float32", 24), ("bfloat16", "bfloat16", 8)])
def test_bounds_are_those_of_the_formulas(dtype: str, compute: str, p: int, ddof: int) -> None:
    expected = by_formula(ddof, dtype, Fraction(1, 2**p))
    precision = Precision.of(DTYPES[dtype], compute)
    x = np.array(COLUMNS, float).T
    found = {
        "mean": family.centred(x, 0, precision).mean_error,
        "variance": family.variance_error(x, 0, ddof, precision)[1],
        "covariance": family.covariance_error(x, ddof, precision)[1][0, 1],
        "gradient": family.gradient_error(x, 0, np.ones((1, 2)), np.ones((1, 2)), precision).T,
    }
    for name, values in expected.items():
        # ω in places that the gradient's formula leaves open: float16 has 6e-8 of them, of bounds above 1e-2
        tolerance = 1e-4 if name == "gradient" else 1e-8
        np.testing.assert_allclose(found[name].reshape(-1), np.array(values, float), rtol=tolerance)


def test_the_bound_of_correlations_is_that_of_its_formula() -> None:
    """q + ((1 + u)⁴ − 1)(1 + q), and at most 2."""
    problem = problem_of("correlation", "float32", np.transpose(COLUMNS))
    precision = Precision.of(DTYPES["float32"], "float32")
    bound = OPERATIONS["correlation"].bound
    assert bound is not None
    found = np.exp2(bound(problem, OPERATIONS["correlation"].reference(problem), precision)["y"])
    ((a, c), (_, b)), ((e_a, e_c), (_, e_b)) = family.covariance_error(problem.inputs["x"], 0, precision)
    s = math.sqrt((a - e_a) * (b - e_b))
    q = e_c / s + abs(c / math.sqrt(a * b)) * (math.sqrt(a * b) / s - 1)
    assert found[0, 1] == pytest.approx(q + ((1 + 2.0**-24) ** 4 - 1) * (1 + q), rel=1e-8)
    constant = problem_of("correlation", "float32", [[1, 2], [1, 3]])
    assert (bound(constant, OPERATIONS["correlation"].reference(constant), precision)["y"][0] == 1).all()


WRONG = {
    "zeros": lambda y, u: np.zeros_like(y),
    "off by one": lambda y, u: y * 129 / 128,
    "1 + 128u": lambda y, u: y * (1 + 128 * u),
}


@pytest.mark.parametrize("mutation", WRONG)
@pytest.mark.parametrize("operation", STABLE)
def test_planted_answers_are_outside(operation: str, mutation: str) -> None:
    """129 terms for 128, or n − 1 for n; what passes of 1 + 8u is in tests/planted/margins.py."""
    x = np.abs(data("float64", "plain", (128, 2), 3)) + 0.5
    problem = problem_of(operation, "float64", x, **({"axis": 0} if operation in AXES else {}))
    exact = OPERATIONS[operation].reference(problem).outputs["y"].to_float64()
    assert scored(problem, exact)["bound_ratio"] <= 1
    # products are added in any order, which allows 128u of them
    factor = 8 if operation in ("covariance", "correlation") else 1
    wrong = WRONG[mutation](exact, factor * 2.0**-53)
    row = scored(problem, wrong)
    assert row["outcome"] != "ok" or row["bound_ratio"] > 1


# ---- frontiers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "p"), [("bfloat16", 8), ("float16", 11)])
def test_a_sum_of_ones_stops_at_the_number_after_which_one_changes_nothing(dtype: str, p: int) -> None:
    for n, total in ((2**p, 2**p), (2**p + 1, 2**p), (2 * 2**p, 2**p)):
        problem = problem_of("sum", dtype, np.ones(n))
        y, compute = run(problem, "sequential")
        assert y == total
        assert (scored(problem, y, compute)["bound_ratio"] <= 1) == (n <= 2**p + 1)
        assert run(problem, "pairwise")[0] == round_array(DTYPES[dtype].storage, np.array(float(n)))


def test_numpy_adds_float16_in_pairs_only_along_what_is_together_in_memory() -> None:
    for axis, layout, total in ((0, "C", 2048), (0, "F", 5000), (-1, "C", 5000), (-1, "F", 2048)):
        shape = (5000, 2) if axis == 0 else (2, 5000)
        y, _ = run(problem_of("sum", "float16", np.ones(shape), axis=axis, layout=layout), "library")
        assert y.tolist() == [total, total], (axis, layout)


def test_two_passes_along_what_is_apart_in_memory_stop_as_sums_do() -> None:
    """The variance of ±1 is 1; of their squares 2048 are added one after another, and then no more."""
    stopped = float(np.float16(2048 / 5000))
    for axis, layout, value in ((0, "C", stopped), (0, "F", 1), (-1, "C", 1), (-1, "F", stopped)):
        signs = np.resize([1.0, -1.0], (5000, 1)) * np.ones((1, 2))
        x = signs if axis == 0 else signs.T
        y, _ = run(problem_of("variance", "float16", x, axis=axis, layout=layout), "two_pass")
        assert y.tolist() == [value, value], (axis, layout)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_compensated_sums_have_digits_where_others_have_none(dtype: str) -> None:
    u = float(DTYPES[dtype].storage.unit_roundoff)
    problem = problem_of("sum", dtype, [1, 3, 1 / u**2, -1 / u**2])
    assert judged(problem, "compensated")["max_rel_error"] == 0
    for name in ("sequential", "pairwise"):
        row = judged(problem, name)
        assert row["max_rel_error"] >= 0.25, name
        assert row["bound_ratio"] <= 1  # as much may be lost: κ·u is 1/(2u)


def test_what_an_odd_one_out_lost_before_is_added_back_too() -> None:
    """Of six the third and the sixth are a pair, which is odd among three: 1 + 2⁻⁶⁰, and −1 elsewhere."""
    problem = problem_of("sum", "float64", [-1, 0, 1, 0, 0, 2.0**-60])
    assert run(problem, "compensated")[0] == 2.0**-60
    assert run(problem, "pairwise")[0] == 0


@pytest.mark.parametrize("dtype", ALL)
def test_means_overflow_where_sums_do_unless_terms_are_scaled(dtype: str) -> None:
    largest = float(DTYPES[dtype].storage.max_finite)
    for x in ([largest] * 5, [largest, -largest, largest, largest, -largest], [largest] * 4 + [1.0]):
        problem = problem_of("mean", dtype, x)
        assert judged(problem, "scaled")["bound_ratio"] <= 1
    for name in ("sequential", "pairwise"):
        assert judged(problem, name)["outcome"] == "overflow"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_pass_loses_variance_and_covariance_past_the_root_of_u(dtype: str) -> None:
    u = float(DTYPES[dtype].storage.unit_roundoff)
    for seed in range(8):
        x = np.random.default_rng(seed).standard_normal((50, 2)) + u**-0.75
        for operation in ("variance", "standard_deviation", "covariance", "correlation"):
            problem = problem_of(operation, dtype, x, **({"axis": 0} if operation in AXES else {}))
            row = judged(problem, "one_pass")
            assert row["outcome"] != "ok" or row["bound_ratio"] > 1, (operation, seed)
            assert judged(problem, "two_pass")["bound_ratio"] <= 1


def test_one_pass_correlations_leave_their_range_and_two_passes_do_not() -> None:
    beyond = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal(50)
        x = np.stack([z, z + 1e-3 * rng.standard_normal(50)], axis=1) + 1e3
        problem = problem_of("correlation", "float32", x)
        beyond.append(judged(problem, "one_pass").get("beyond_one", 0.0))
        for name in ("two_pass", "library"):
            for backend in BOTH:
                row = judged(problem, name, backend)
                assert (row["beyond_one"], row["outcome"]) == (0.0, "ok")
    assert max(beyond) > 1e-3


def test_expectation_is_linear_up_to_its_bound() -> None:
    rng = np.random.default_rng(5)
    inputs = {"x": rng.standard_normal(100) + 3, "y": rng.standard_normal(100) + 3}
    problem = ExactProblem("linear_expectation", inputs, {"a": 2, "b": -2}, DTYPES["float64"])
    operation = OPERATIONS["linear_expectation"]
    exact = operation.reference(problem)
    value = sum(
        2 * Fraction(a) - 2 * Fraction(b) for a, b in zip(*(v.tolist() for v in inputs.values()), strict=True)
    )
    assert float(exact.outputs["e"].to_float64()) == float(value / 100)
    for y, ratio in (((inputs["x"] * 2 - inputs["y"] * 2).mean(), 1), (0.0, math.inf)):
        row = score(
            operation, problem, exact, {"e": np.asarray(y)}, Precision.of(DTYPES["float64"], "float64")
        )
        assert (row["e"]["bound_ratio"] <= 1) == (ratio == 1)


# ---- gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["sum", "mean", "variance", "standard_deviation"])
def test_gradients_are_the_closed_forms(operation: str) -> None:
    x, g = np.random.default_rng(7).standard_normal((6, 2)) + 4, np.array([0.5, -2.0])
    parameters: dict[str, Any] = {"axis": 0, "layout": "C"}
    if operation not in ("sum", "mean"):
        parameters["ddof"] = 1
    problem = ExactProblem(
        operation, {"x": x, "cotangent": g}, parameters, DTYPES["float64"], with_respect_to=("x",)
    )
    d, deviation = x - x.mean(axis=0), x.std(axis=0, ddof=1)
    closed = {
        "sum": np.ones_like(x) * g,
        "mean": np.ones_like(x) * g / 6,
        "variance": 2 * d * g / 5,
        "standard_deviation": d * g / 5 / deviation,
    }[operation]
    gradient = OPERATIONS[operation].differentiated(("x",))
    reference = gradient.reference(problem)
    # the closed form has a mean that is off by an ulp of 4, against deviations of 0.01 or more
    assert reference.outputs["grad_x"].to_float64() == pytest.approx(closed, rel=1e-12)
    assert gradient.bound is not None
    bound = np.exp2(gradient.bound(problem, reference, Precision.of(DTYPES["float64"], "float64"))["grad_x"])
    assert (np.abs(bound) <= 1e-12 * np.abs(g)).all()
    wrong = score(
        gradient, problem, reference, {"grad_x": closed * 1.01}, Precision.of(DTYPES["float64"], "float64")
    )
    assert wrong["grad_x"]["bound_ratio"] > 1


# ---- published data ------------------------------------------------------------------------------------


def test_numacc_files_are_the_definitions_of_nist() -> None:
    folder = casefile.packaged_cases() / "data"

    def column(name: str) -> list[str]:
        with (folder / name).open(encoding="utf-8") as lines:
            return [row["y"] for row in csv.DictReader(lines)]

    assert column("numacc1.csv") == ["10000001", "10000003", "10000002"]
    third = column("numacc3.csv")
    assert len(third) == 1001
    exact = [Fraction(text) for text in third]
    assert (sum(exact) / 1001, statistics.variance(exact)) == (Fraction("1000000.2"), Fraction("0.01"))
    lagged = sum((a - exact[0]) * (b - exact[0]) for a, b in pairwise(exact))
    assert lagged / sum((a - exact[0]) ** 2 for a in exact) == Fraction("-0.999")  # r₁ as certified


def test_numacc3_has_the_digits_that_are_reported_of_it() -> None:
    x = [1000000.2, *[1000000.1, 1000000.3] * 500]
    problem = problem_of("variance", "float64", x, ddof=1)
    textbook, _ = run(problem, "one_pass")
    assert 1.6 < log_relative_error(float(textbook), Fraction("0.01"), 15) < 1.7
    deviation, _ = run(problem_of("standard_deviation", "float64", x, ddof=1), "library")
    assert 9.4 < log_relative_error(float(deviation), Fraction("0.1"), 15) < 9.5
    row = scored(problem_of("standard_deviation", "float64", x, ddof=1), deviation)
    assert row["max_ulp"] <= 1  # of the data as rounded: 15.9 digits
