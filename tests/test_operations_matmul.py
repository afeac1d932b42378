"""Matrix product: formulations within the bound, planted errors beyond it, cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harness import catalogue
from harness.formats import DTYPES, FORMATS, Precision, decode, encode, round_array
from harness.metrics.score import score
from harness.operations.matmul import OPERATION
from harness.registry import BACKENDS, ExactProblem, Lack, find_formulation, support

catalogue.load()
BACKEND = BACKENDS["numpy"]


def problem_of(dtype: str, *shapes: tuple[int, ...]) -> ExactProblem:
    rng = np.random.default_rng(7)
    fmt = DTYPES[dtype].storage
    a, b = (round_array(fmt, rng.standard_normal(shape)) for shape in shapes)
    return ExactProblem("matmul", {"a": a, "b": b}, {}, DTYPES[dtype])


def scored(problem: ExactProblem, computed: np.ndarray, compute: str) -> dict[str, Any]:
    precision = Precision.of(problem.dtype, compute)
    reference = OPERATION.reference(problem)
    return score(OPERATION, problem, reference, {"c": computed}, precision)["c"]


def run(problem: ExactProblem, name: str) -> tuple[np.ndarray, str]:
    """The output of a formulation on NumPy as float64, and what it declares to compute in."""
    compute = support("matmul", name, BACKEND, problem.dtype.name)
    assert isinstance(compute, str)
    storage = problem.dtype.storage
    native = [BACKEND.from_bits(encode(storage, x), storage) for x in problem.inputs.values()]
    found = find_formulation("matmul", name, "numpy")
    assert found is not None
    result = found.build(BACKEND.namespace(problem.dtype, checked=True), *native)()
    bits, fmt = BACKEND.to_bits(result)
    assert fmt == storage.name
    return decode(FORMATS[fmt], bits), compute


SHAPES = [((20, 150), (150, 9)), ((3, 8, 64), (64, 5)), ((1, 1), (1, 1))]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_blocked_stays_within_the_bound(dtype: str, shapes: Any) -> None:
    problem = problem_of(dtype, *shapes)
    computed, compute = run(problem, "blocked")
    row = scored(problem, computed, compute)
    assert compute == dtype
    assert row["outcome"] == "ok"
    assert row["bound_ratio"] <= 1


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
def test_accumulating_in_float32_is_nearly_correct_rounding(dtype: str, shapes: Any) -> None:
    """Within the bound of float32 accumulation, hence within an ulp where nothing cancels."""
    problem = problem_of(dtype, *shapes)
    problem = ExactProblem("matmul", {k: np.abs(v) for k, v in problem.inputs.items()}, {}, problem.dtype)
    computed, compute = run(problem, "float32_accumulate")
    row = scored(problem, computed, compute)
    assert compute == "float32"
    assert row["bound_ratio"] <= 1
    assert row["max_ulp"] <= 0.51  # half an ulp and 150·2**-24 relative, below 0.01 ulp of 11 bits


def test_float32_accumulate_is_for_narrow_formats_only() -> None:
    for dtype in ("float64", "float32"):
        assert isinstance(support("matmul", "float32_accumulate", BACKEND, dtype), Lack)


def test_no_tile_of_an_empty_inner_dimension() -> None:
    problem = problem_of("float32", (2, 0), (0, 3))
    computed, compute = run(problem, "blocked")
    assert np.array_equal(computed, np.zeros((2, 3)))
    assert scored(problem, computed, compute)["bound_ratio"] == 0


PLANTED = {
    "zeros": lambda a, b: np.zeros((40, 40)),
    "transposed": lambda a, b: round_array(FORMATS["float32"], (a @ b).T),
    "inputs rounded to TF32": lambda a, b: round_array(FORMATS["float32"], tf32(a) @ tf32(b)),
    "half the inner indices": lambda a, b: round_array(FORMATS["float32"], 2 * a[:, ::2] @ b[::2]),
    "bfloat16 accumulation": lambda a, b: in_bfloat16(a, b),
}


def tf32(x: np.ndarray) -> np.ndarray:
    """Significands of 11 bits, by Veltkamp's splitting."""
    scaled = (2.0**42 + 1) * x
    return scaled - (scaled - x)


def in_bfloat16(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        total = round_array(FORMATS["bfloat16"], total + a[:, k : k + 1] * b[k])
    return total


@pytest.mark.parametrize("wrong", PLANTED)
def test_wrong_products_are_beyond_the_bound(wrong: str) -> None:
    problem = problem_of("float32", (40, 40), (40, 40))
    computed = PLANTED[wrong](problem.inputs["a"], problem.inputs["b"])
    assert scored(problem, computed, "float32")["bound_ratio"] > 1


def test_one_element_beyond_the_bound_by_an_ulp_is_found() -> None:
    problem = problem_of("float32", (12, 30), (30, 12))
    reference = OPERATION.reference(problem)
    precision = Precision.of(problem.dtype, "float32")
    assert OPERATION.bound is not None
    bound = np.exp2(OPERATION.bound(problem, reference, precision)["c"][5, 7])
    computed = round_array(FORMATS["float32"], reference.outputs["c"].to_float64())
    exact = reference.outputs["c"].to_float64()[5, 7]
    ulp = np.spacing(np.float32(exact))
    computed[5, 7] = np.float32(exact + bound + ulp)
    row = score(OPERATION, problem, reference, {"c": computed}, precision)["c"]
    assert row["bound_ratio"] > 1
    assert row["worst_index"] == "5,7"
    computed[5, 7] = np.float32(exact + bound - ulp)
    assert score(OPERATION, problem, reference, {"c": computed}, precision)["c"]["bound_ratio"] <= 1


def test_the_terms_of_a_sum_are_counted_along_the_inner_dimension() -> None:
    """Ones of (2, 5) by (5, 3): an error of 2⁻²⁰ against (1 + u)·5u·5 + 5u, u = 2⁻²⁴."""
    inputs = {"a": np.ones((2, 5)), "b": np.ones((5, 3))}
    problem = ExactProblem("matmul", inputs, {}, DTYPES["float32"])
    ratio = scored(problem, np.full((2, 3), 5 + 2.0**-20), "float32")["bound_ratio"]
    assert ratio == pytest.approx(16 / (25 * (1 + 2.0**-24) + 5), rel=2e-7)  # Σ|ab| is bounded in float32


def test_infinities_and_nan_are_right_where_they_belong() -> None:
    a, b = np.array([[math.inf, 1.0], [2.0, 3.0]]), np.array([[1.0, 0.0], [4.0, 5.0]])
    problem = ExactProblem("matmul", {"a": a, "b": b}, {}, DTYPES["float64"])
    right = np.array([[math.inf, math.nan], [14.0, 15.0]])
    assert scored(problem, right, "float64")["outcome"] == "ok"
    wrong = np.array([[math.inf, 0.0], [14.0, 15.0]])
    assert scored(problem, wrong, "float64")["outcome"] == "wrong_class"


@pytest.mark.parametrize(
    ("a", "b", "count", "elements"),
    [
        ((3, 4), (4, 5), 1, 12 + 20 + 15),
        ((7, 3, 4), (4, 5), 7, 84 + 20 + 105),
        ((2, 1, 3, 4), (6, 4, 5), 12, 24 + 120 + 180),
        ((0, 3, 4), (1, 4, 5), 0, 0 + 20 + 0),
    ],
)
def test_cost(a: tuple[int, ...], b: tuple[int, ...], count: int, elements: int) -> None:
    assert OPERATION.cost is not None
    found = OPERATION.cost({"a": a, "b": b}, {}, 4)
    assert (found.flops, found.bytes) == (count * 2 * 3 * 4 * 5, 4 * elements)
