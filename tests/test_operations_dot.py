"""Inner product: exact reference, formulations against it and against published results."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, Precision, decode, encode, round_array
from harness.metrics.score import score
from harness.operations.dot import OPERATION
from harness.reference.elements import NAN, ZERO
from harness.reference.inner_product import error_bound_log2
from harness.registry import BACKENDS, ExactProblem, find_formulation, support

catalogue.load()
BACKEND = BACKENDS["numpy"]
FORMULATIONS = ("sequential", "pairwise", "compensated")


def problem_of(dtype: str, x: Any, y: Any) -> ExactProblem:
    fmt = DTYPES[dtype].storage
    inputs = {"x": round_array(fmt, np.asarray(x, float)), "y": round_array(fmt, np.asarray(y, float))}
    return ExactProblem("dot", inputs, {}, DTYPES[dtype])


def scored(problem: ExactProblem, computed: float) -> dict[str, Any]:
    precision = Precision.of(problem.dtype, problem.dtype.name)
    reference = OPERATION.reference(problem)
    return score(OPERATION, problem, reference, {"s": np.asarray(computed, float)}, precision)["s"]


def run(problem: ExactProblem, name: str) -> float:
    assert support("dot", name, BACKEND, problem.dtype.name) == problem.dtype.name
    storage = problem.dtype.storage
    native = [BACKEND.from_bits(encode(storage, x), storage) for x in problem.inputs.values()]
    found = find_formulation("dot", name, "numpy")
    assert found is not None
    bits, fmt = BACKEND.to_bits(found.build(BACKEND.namespace(problem.dtype, checked=True), *native)())
    assert (fmt, bits.shape) == (storage.name, ())
    return float(decode(FORMATS[fmt], bits))


def ill_conditioned(n: int, orders: int) -> tuple[np.ndarray, np.ndarray, Fraction]:
    """Float64 vectors whose products nearly cancel: each second one undoes the sum so far."""
    rng = np.random.default_rng(orders)
    x = np.ldexp(rng.uniform(1, 2, n), np.linspace(orders, 0, n).astype(int))
    y = rng.standard_normal(n)
    total = Fraction(0)
    for i in range(n):
        if i % 2:
            y[i] = -float(total / Fraction(x[i]))
        total += Fraction(x[i]) * Fraction(y[i])
    return x, y, total


def test_reference_is_exact_and_its_condition_number_too() -> None:
    x, y, exact = ill_conditioned(40, 60)
    reference = OPERATION.reference(problem_of("float64", x, y))
    s = reference.outputs["s"]
    value = (Fraction(float(s.hi)) + Fraction(float(s.lo))) * Fraction(2) ** int(s.exponent)
    magnitude = sum(abs(Fraction(u) * Fraction(v)) for u, v in zip(x, y, strict=True))
    assert abs(value - exact) <= abs(exact) * Fraction(2) ** -105
    assert reference.quantities["condition"] == float(2 * magnitude / abs(exact))
    # log2 of a float64 of 128 orders is within 2**-46
    assert float(reference.quantities["magnitude_log2"]) == pytest.approx(math.log2(magnitude), abs=2**-39)


def test_a_sum_of_exactly_zero_has_no_condition_number() -> None:
    reference = OPERATION.reference(problem_of("float64", [1e30, 3.0, -1e30], [1.0, 0.0, 1.0]))
    assert reference.outputs["s"].kind == ZERO
    assert math.isnan(float(reference.quantities["condition"]))
    row = scored(problem_of("float64", [1e30, 3.0, -1e30], [1.0, 0.0, 1.0]), 1.0)
    assert "condition" not in row
    assert row["bound_ratio"] < 1  # 1 against 3u·2e30


@pytest.mark.parametrize("name", FORMULATIONS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 101])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_every_formulation_stays_within_the_bound(dtype: str, n: int, name: str) -> None:
    rng = np.random.default_rng(n)
    problem = problem_of(dtype, rng.standard_normal(n), rng.standard_normal(n))
    row = scored(problem, run(problem, name))
    assert row["outcome"] == "ok"
    assert row["bound_ratio"] <= 1


def test_sequential_is_the_plain_recurrence() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 500)).astype(np.float32)
    total = np.float32(0)
    for u, v in zip(x, y, strict=True):
        total = total + u * v
    assert run(problem_of("float32", x, y), "sequential") == float(total)


def test_ten_thousand_tenths_in_bfloat16_stop_at_32() -> None:
    """Adding 0.1 to 32 moves nothing in 8 bits: known of ml_dtypes; halving keeps going."""
    problem = problem_of("bfloat16", np.full(10_000, 0.1), np.ones(10_000))
    assert run(problem, "sequential") == 32
    exact = 10_000 * problem.inputs["x"][0]
    # at most 14 roundings of a relative 2**-8 along the tree
    assert run(problem, "pairwise") == pytest.approx(exact, rel=14 * 2**-8)
    assert run(problem, "compensated") == round_array(FORMATS["bfloat16"], np.array(exact))


@pytest.mark.parametrize("orders", [20, 50, 80])
def test_compensated_is_as_if_in_twice_the_precision(orders: int) -> None:
    """|ŝ − s| ≤ u|s| + γₙ²·Σ|xᵢyᵢ| (Ogita, Rump and Oishi 2005, proposition 5.5)."""
    n = 200
    x, y, exact = ill_conditioned(n, orders)
    u = Fraction(1, 2**53)
    gamma = n * u / (1 - n * u)
    magnitude = sum(abs(Fraction(p) * Fraction(q)) for p, q in zip(x, y, strict=True))
    computed = run(problem_of("float64", x, y), "compensated")
    assert abs(Fraction(computed) - exact) <= u * abs(exact) + gamma**2 * magnitude


def test_compensated_beats_the_recurrence_on_cancelling_data() -> None:
    x, y, exact = ill_conditioned(200, 50)
    problem = problem_of("float64", x, y)
    errors = {name: abs(Fraction(run(problem, name)) - exact) for name in FORMULATIONS}
    assert errors["compensated"] * 1000 < min(errors["sequential"], errors["pairwise"])


def test_wrong_answers_are_beyond_the_bound() -> None:
    rng = np.random.default_rng(9)
    problem = problem_of("float64", rng.standard_normal(100), rng.standard_normal(100))
    exact = run(problem, "compensated")
    magnitude = np.abs(problem.inputs["x"] * problem.inputs["y"]).sum()
    for wrong in (0.0, -exact, exact + 101 * 2.0**-53 * magnitude):
        assert scored(problem, wrong)["bound_ratio"] > 1


def test_undefined_where_infinity_meets_zero() -> None:
    problem = problem_of("float64", [math.inf, 1.0], [0.0, 1.0])
    assert OPERATION.reference(problem).outputs["s"].kind == NAN
    assert scored(problem, math.nan)["outcome"] == "ok"
    assert scored(problem, 1.0)["outcome"] == "wrong_class"


@pytest.mark.parametrize(("x", "y"), [((3,), (4,)), ((2, 2), (2, 2))])
def test_shapes_that_do_not_fit(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="two vectors of one length"):
        OPERATION.reference(problem_of("float64", np.ones(x), np.ones(y)))


@pytest.mark.parametrize(
    ("dtype", "compute"),
    [("float32", "float32"), ("float32", "float64"), ("bfloat16", "float32"), ("tf32", "float32")],
)
@pytest.mark.parametrize(("magnitude", "value"), [(3, Fraction(1, 2)), (3, 3), (0, 0), (2**-150, 0)])
def test_the_bound_by_hand(dtype: str, compute: str, magnitude: Any, value: Any) -> None:
    """(1 + u_out)·5·u_acc·Σ + u_out·|s| + 5ω; rounded inputs: Σ·(1 + u_in)², and ((1 + u_in)² − 1)·Σ more."""
    u_out = {"float32": Fraction(1, 2**24), "tf32": Fraction(1, 2**24), "bfloat16": Fraction(1, 2**8)}[dtype]
    u_acc = {"float32": Fraction(1, 2**24), "float64": Fraction(1, 2**53)}[compute]
    least = Fraction(1, 2**133) if dtype == "bfloat16" else Fraction(1, 2**149)
    growth = (1 + Fraction(1, 2**11)) ** 2 if dtype == "tf32" else 1
    total, exact = Fraction(magnitude), Fraction(value)
    expected = ((1 + u_out) * 5 * u_acc * growth + growth - 1) * total + u_out * exact + 5 * least
    with np.errstate(divide="ignore"):
        found = error_bound_log2(
            5, np.log2(float(total)), np.log2(float(exact)), Precision.of(DTYPES[dtype], compute)
        )
    log2 = math.log2(expected.numerator) - math.log2(expected.denominator)
    assert float(found) == pytest.approx(log2, abs=1e-12)  # a log₂ near 150 is held to 2⁻⁴⁵


def test_the_bound_of_nothing_and_of_what_is_undefined() -> None:
    precision = Precision.of(DTYPES["float32"], "float32")
    assert error_bound_log2(0, -math.inf, -math.inf, precision) == -math.inf
    assert error_bound_log2(3, math.inf, math.nan, precision) == math.inf


def test_cost() -> None:
    assert OPERATION.cost is not None
    found = OPERATION.cost({"x": (100,), "y": (100,)}, {}, 2)
    assert (found.flops, found.bytes) == (200, 402)
