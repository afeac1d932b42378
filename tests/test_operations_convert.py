"""Conversions and sums: one correct rounding, whatever casts do; planted wrong ones are caught."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, NumberFormat, Precision, decode, encode, round_array, round_exact
from harness.metrics.score import score
from harness.recipes import RandomStream
from harness.registry import (
    BACKENDS,
    OPERATIONS,
    RECIPES,
    ExactProblem,
    Lack,
    RecipeContext,
    find_formulation,
    support,
)

catalogue.load()

NUMPY = BACKENDS["numpy"]
INF, NAN = math.inf, math.nan
NARROW = [name for name, fmt in FORMATS.items() if fmt.bits <= 8]


def boundaries(source: str, target: str, which: str = "all", count: int = 1000) -> np.ndarray:
    """What the recipe gives: of the target at most some 1000 numbers and what lies beside them."""
    stream = RandomStream(0, "test", "x")
    context = RecipeContext(FORMATS[source], FORMATS[target], stream, Path(), {})
    return RECIPES["rounding_boundaries"].make(context, which=which, count=count)


def numbers(fmt: NumberFormat) -> np.ndarray:
    values = decode(fmt, np.arange(1 << fmt.bits, dtype=f"<u{fmt.storage_bits // 8}"))
    return values[~np.isnan(values)] if not fmt.nans else values


def problem_of(operation: str, dtype: str, parameters: dict[str, Any], **inputs: np.ndarray) -> ExactProblem:
    return ExactProblem(operation, inputs, parameters, DTYPES[dtype])


def scored(problem: ExactProblem, computed: np.ndarray) -> dict[str, Any]:
    operation = OPERATIONS[problem.operation]
    (output,) = operation.outputs
    precision = Precision.of(problem.dtype, problem.dtype.name)
    with np.errstate(all="ignore"):
        reference = operation.reference(problem)
        return score(operation, problem, reference, {output: computed}, precision)[output]


def run(problem: ExactProblem, name: str) -> np.ndarray:
    """The output of a formulation on NumPy, as float64."""
    operation = OPERATIONS[problem.operation]
    formats = operation.input_formats(problem.parameters, problem.dtype.storage)
    with np.errstate(all="ignore"):
        native = [NUMPY.from_bits(encode(formats[n], x), formats[n]) for n, x in problem.inputs.items()]
        found = find_formulation(problem.operation, name, "numpy")
        assert found is not None
        namespace = NUMPY.namespace(problem.dtype, checked=True)
        bits, fmt = NUMPY.to_bits(found.build(namespace, *native, **problem.parameters)())
    return decode(FORMATS[fmt], bits)


def is_right(row: dict[str, Any]) -> bool:
    return row["outcome"] == "ok" and row["bound_ratio"] == 0 and row["correctly_rounded_fraction"] == 1


# ---- the reference -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [n for n in NARROW if FORMATS[n].zero])
def test_reference_is_the_nearest_number_found_by_search(target: str) -> None:
    """Of all numbers of the format and the next one beyond Ω the nearest; of two, that of even code."""
    fmt = FORMATS[target]
    codes = np.arange(fmt.max_code + 1, dtype=f"<u{fmt.storage_bits // 8}")
    candidates = [Fraction(v) for v in decode(fmt, codes).tolist()]
    candidates.append(2 * candidates[-1] - candidates[-2])
    x = boundaries("float64", target, "finite")
    x = x[:: max(1, len(x) // 300)]
    expected = []
    for value in x.tolist():
        distances = [abs(abs(Fraction(value)) - c) for c in candidates]
        least = min(distances)
        best = [i for i, d in enumerate(distances) if d == least]
        chosen = best[0] if len(best) == 1 or best[0] % 2 == 0 else best[1]
        beyond = {"inf": INF, "nan": NAN, "max": float(fmt.max_finite)}[fmt.overflow]
        size = beyond if chosen > fmt.max_code else float(candidates[chosen])
        expected.append(math.copysign(size, value) if size or fmt.negative_zero else 0.0)
    row = scored(problem_of("convert", target, {"source": "float64"}, x=x), np.array(expected))
    assert row["outcome"] == "ok"
    assert row["correctly_rounded_fraction"] == 1


def test_reference_agrees_with_hardware() -> None:
    """x86 and ARM round float64 to float32 and float16 once, to nearest even."""
    for target in ("float32", "float16"):
        x = boundaries("float64", target, count=40_000 if target == "float16" else 3000)
        with np.errstate(all="ignore"):
            computed = x.astype(target).astype(np.float64)
        assert is_right(scored(problem_of("convert", target, {"source": "float64"}, x=x), computed))


def test_specials_and_what_overflows() -> None:
    x = np.array([INF, -INF, NAN, 0.0, -0.0, 500.0, -70000.0, 2.0**-1074])
    right = {
        "float16": [INF, -INF, NAN, 0.0, -0.0, 500.0, -INF, 0.0],
        "bfloat16": [INF, -INF, NAN, 0.0, -0.0, 500.0, -70144.0, 0.0],
        "float8_e4m3fn": [NAN, NAN, NAN, 0.0, -0.0, NAN, NAN, 0.0],
        "float8_e4m3fnuz": [NAN, NAN, NAN, 0.0, 0.0, NAN, NAN, 0.0],
        "float8_e5m2": [INF, -INF, NAN, 0.0, -0.0, 512.0, -INF, 0.0],
        "float8_e8m0fnu": [NAN, NAN, NAN, NAN, NAN, 512.0, NAN, 2.0**-127],
    }
    for target, values in right.items():
        row = scored(problem_of("convert", target, {"source": "float64"}, x=x), np.array(values))
        assert is_right(row), target


def test_nan_is_not_converted_to_formats_without_one() -> None:
    problem = problem_of("convert", "float4_e2m1fn", {"source": "float32"}, x=np.array([1.0, NAN]))
    with pytest.raises(InputError, match="float4_e2m1fn has no NaN"):
        OPERATIONS["convert"].reference(problem)


# ---- formulations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["float64", "float32"])
@pytest.mark.parametrize("target", [n for n in FORMATS if n != "float64"])
def test_rounding_first_is_right_everywhere(source: str, target: str) -> None:
    problem = problem_of("convert", target, {"source": source}, x=boundaries(source, target))
    row = scored(problem, run(problem, "round_then_cast"))
    assert row["elements"] > 50
    assert is_right(row)


def test_rounding_first_is_right_at_any_exponent() -> None:
    words = RandomStream(5, "any", "x").bits(20_000)
    x = decode(FORMATS["float64"], words.astype("<u8"))
    for target in ("float32", "float16", "float8_e5m2"):
        problem = problem_of("convert", target, {"source": "float64"}, x=x)
        assert is_right(scored(problem, run(problem, "round_then_cast")))


@pytest.mark.parametrize(
    ("target", "midpoints"),
    [("bfloat16", 32640), ("float16", 31744), ("float8_e4m3fn", 127), ("float4_e2m1fn", 7)],
)
def test_float32_in_between_is_wrong_at_one_neighbour_of_each_midpoint(target: str, midpoints: int) -> None:
    """The midpoints of all finite codes, and the one of Ω and the number after it, of both signs.

    Not the last one in e2m1fn, which has no overflow.
    """
    x = boundaries("float64", target, count=40_000)
    problem = problem_of("convert", target, {"source": "float64"}, x=x)
    row = scored(problem, run(problem, "through_float32"))
    assert row["outcome"] != "ok" or row["bound_ratio"] >= 2
    assert round(row["elements"] * (1 - row["correctly_rounded_fraction"])) == 2 * midpoints
    problem = problem_of("convert", target, {"source": "float32"}, x=boundaries("float32", target))
    assert is_right(scored(problem, run(problem, "through_float32")))


def test_formulations_take_the_targets_they_can_be_for() -> None:
    assert isinstance(support("convert", "through_float32", NUMPY, "float32"), Lack)
    assert isinstance(support("convert", "round_then_cast", NUMPY, "float64"), Lack)
    for dtype in FORMATS:
        assert support("convert", "cast", NUMPY, dtype) == dtype


@pytest.mark.parametrize("dtype", [n for n, f in FORMATS.items() if f.bits <= 16])
def test_every_number_comes_back_from_float32(dtype: str) -> None:
    problem = problem_of("round_trip", dtype, {"through": "float32"}, x=numbers(FORMATS[dtype]))
    computed = run(problem, "cast")
    assert is_right(scored(problem, computed))
    assert np.array_equal(computed, problem.inputs["x"], equal_nan=True)


def test_a_format_in_between_that_is_too_narrow_is_part_of_the_result() -> None:
    """float16 → bfloat16 → float16 keeps 8 bits: 1 + 2⁻¹⁰ comes back as 1, and 65504 as infinity."""
    x = np.array([1 + 2.0**-10, 1 + 2.0**-7, 65504.0])
    problem = problem_of("round_trip", "float16", {"through": "bfloat16"}, x=x)
    assert run(problem, "cast").tolist() == [1.0, 1 + 2.0**-7, INF]
    assert is_right(scored(problem, run(problem, "cast")))
    assert not is_right(scored(problem, x))


# ---- planted -----------------------------------------------------------------------------------------


def on_grid(target: NumberFormat, x: np.ndarray, settle: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`x` in units in the last place, `settle`d to integers; overflow as in a correct rounding."""
    _, exponent = np.frexp(x)
    quantum = np.maximum(exponent - 1, target.exponent_min) - target.mantissa_bits
    return round_array(target, np.ldexp(settle(np.ldexp(x, -quantum)), quantum))


def flushed(target: NumberFormat, x: np.ndarray) -> np.ndarray:
    right = round_array(target, x)
    return np.where(np.abs(right) < float(target.min_normal), np.copysign(0.0, right), right)


def saturated(target: NumberFormat, x: np.ndarray) -> np.ndarray:
    largest = float(target.max_finite)
    return round_array(target, np.clip(x, -largest, largest))


PLANTED: dict[str, Callable[[NumberFormat, np.ndarray], np.ndarray]] = {
    "toward zero": lambda t, x: on_grid(t, x, np.trunc),
    "up": lambda t, x: on_grid(t, x, np.ceil),
    "ties away": lambda t, x: on_grid(t, x, lambda v: np.trunc(v + np.copysign(0.5, v))),
    "through float32": lambda t, x: round_array(t, round_array(FORMATS["float32"], x)),
    "subnormals flushed": flushed,
    "overflow saturates": saturated,
    "−0 loses its sign": lambda t, x: round_array(t, x) + 0.0,
    "NaN becomes 0": lambda t, x: np.nan_to_num(round_array(t, x), nan=0.0, posinf=INF, neginf=-INF),
    "infinity is finite": lambda t, x: np.where(np.isinf(x), saturated(t, x), round_array(t, x)),
}


@pytest.mark.parametrize("wrong", PLANTED)
@pytest.mark.parametrize("target", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_wrong_conversions_are_caught(target: str, wrong: str) -> None:
    x = boundaries("float64", target)
    problem = problem_of("convert", target, {"source": "float64"}, x=x)
    with np.errstate(all="ignore"):
        computed = PLANTED[wrong](FORMATS[target], x)
        right = round_array(FORMATS[target], x)
    assert is_right(scored(problem, right))
    row = scored(problem, computed)
    assert row["outcome"] != "ok" or row["bound_ratio"] >= 2
    assert row["correctly_rounded_fraction"] < 1
    expected = {"overflow saturates": "saturated", "−0 loses its sign": "wrong_class"}
    assert row["outcome"] == expected.get(wrong, row["outcome"])


@pytest.mark.parametrize("target", ["float8_e4m3fn", "float6_e3m2fn", "float8_e8m0fnu"])
def test_any_other_number_of_the_format_is_at_least_twice_the_bound(target: str) -> None:
    values = decode(FORMATS[target], np.arange(FORMATS[target].max_code + 1, dtype="<u1"))
    for right, other in ((values[:-1], values[1:]), (values[1:], values[:-1])):
        for i in range(0, len(right), 7):
            computed = right.copy()
            computed[i] = other[i]
            problem = problem_of("convert", target, {"source": "float64"}, x=right)
            row = scored(problem, computed)
            assert row["bound_ratio"] >= 2
            assert row["worst_index"] == str(i)


# ---- sums --------------------------------------------------------------------------------------------


def test_sums_agree_with_hardware() -> None:
    words = RandomStream(6, "sums", "x").bits(8000).astype("<u8")
    x, y = decode(FORMATS["float64"], words[:4000]), decode(FORMATS["float64"], words[4000:])
    y[::3] = -x[::3] * (1 + 2.0**-52)  # cancels
    with np.errstate(all="ignore"):
        problem = problem_of("add", "float64", {}, x=x, y=y)
        assert is_right(scored(problem, x + y))
        single = [round_array(FORMATS["float32"], v) for v in (x, y)]
        exact = (single[0].astype(np.float32) + single[1].astype(np.float32)).astype(np.float64)
    assert is_right(scored(problem_of("add", "float32", {}, x=single[0], y=single[1]), exact))


def test_sums_of_specials() -> None:
    x = np.array([0.0, -0.0, -0.0, 1.0, INF, INF, NAN, 65504.0])
    y = np.array([-0.0, -0.0, 0.0, -1.0, 1.0, -INF, 1.0, 16.0])
    right = np.array([0.0, -0.0, 0.0, 0.0, INF, NAN, NAN, INF])
    problem = problem_of("add", "float16", {}, x=x, y=y)
    assert is_right(scored(problem, right))
    finite = np.where((x == INF) & (right == INF), 65504.0, right)
    assert scored(problem, finite)["outcome"] == "wrong_class"
    wrong = np.where(right == 0, -right, right)
    assert scored(problem, wrong)["outcome"] == "wrong_class"
    overflow = problem_of("add", "float16", {}, x=x[-1:], y=y[-1:])
    assert scored(overflow, np.array([65504.0]))["outcome"] == "saturated"


def test_sums_by_way_of_float32_are_those_of_formats_it_is_twice_as_wide_as() -> None:
    """24 ≥ 2p + 2 holds for 8 bits and for 11, with equality, and not for 24 or 53."""
    for dtype in ("bfloat16", "float16"):
        assert support("add", "through_float32", NUMPY, dtype) == "float32"
    for dtype in ("float32", "float64"):
        assert isinstance(support("add", "through_float32", NUMPY, dtype), Lack)


@pytest.mark.parametrize("dtype", ["float6_e2m3fn", "float8_e5m2", "bfloat16", "float16"])
def test_sums_by_way_of_float32_are_rounded_once(dtype: str) -> None:
    """24 ≥ 2p + 2 (Figueroa 1995): every pair of a format of 6 bits, and drawn ones of others."""
    fmt = FORMATS[dtype]
    if fmt.bits == 6:
        x, y = (v.ravel() for v in np.meshgrid(numbers(fmt), numbers(fmt)))
    else:
        words = RandomStream(7, "pairs", "x").bits(6000) % np.uint64(1 << fmt.bits)
        x, y = np.split(decode(fmt, words.astype(f"<u{fmt.storage_bits // 8}")), 2)
    problem = problem_of("add", dtype, {}, x=x, y=y)
    assert is_right(scored(problem, run(problem, "through_float32")))


def test_one_tenth_and_two_tenths() -> None:
    found = {}
    for dtype in ("float64", "float16", "float8_e4m3fn", "float4_e2m1fn"):
        fmt = FORMATS[dtype]
        x, y = (np.array([float(round_exact(fmt, Fraction(n, 10)))]) for n in (1, 2))
        name = "direct" if dtype in ("float64", "float16") else "through_float32"
        found[dtype] = run(problem_of("add", dtype, {}, x=x, y=y), name).item()
    assert found == {
        "float64": 0.30000000000000004,
        "float16": 0.2998046875,  # 0.0999755859375 + 0.199951171875 = 0.2999267578125, below 0.30004…
        "float8_e4m3fn": 0.3125,  # 0.1015625 + 0.203125, a tie of 0.296875 … 0.3125
        "float4_e2m1fn": 0.0,
    }


def test_shapes_of_sums_must_be_one() -> None:
    with pytest.raises(InputError, match="give x and y one shape"):
        OPERATIONS["add"].reference(problem_of("add", "float32", {}, x=np.ones(2), y=np.ones(3)))


def test_costs() -> None:
    cost = OPERATIONS["convert"].cost
    assert cost is not None
    found = cost({"x": (3, 4)}, {"source": "float64"}, 2)
    assert (found.flops, found.bytes) == (0, 12 * (8 + 2))
    cost = OPERATIONS["round_trip"].cost
    assert cost is not None
    assert cost({"x": (3, 4)}, {"through": "float64"}, 2).bytes == 12 * 4
    cost = OPERATIONS["add"].cost
    assert cost is not None
    assert (cost({"x": (5,)}, {}, 4).flops, cost({"x": (5,)}, {}, 4).bytes) == (5, 60)
