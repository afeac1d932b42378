"""Norms, cosines, distances and normalisations: references, bounds, and where the naive forms end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.formats import DTYPES, Precision, round_array, unit_value
from harness.registry import BACKENDS, COTANGENT, OPERATIONS
from tests.judged import Judged

INF, NAN = np.inf, np.nan
ALL = ("float64", "float32", "bfloat16", "float16")
BOTH = ("numpy", "torch-cpu")
STABLE = {
    "l2_norm": "scaled",
    "normalize": "scaled",
    "cosine_similarity": "normalise_first",
    "pairwise_distance": "direct",
    "rms_norm": "scaled",
    "layer_norm": "two_pass",
}
TWO = ("cosine_similarity", "pairwise_distance")


def unit(dtype: str, name: str, times: str) -> float:
    return float(unit_value(DTYPES[dtype].storage, name, "times", Decimal(times)))


def judged(operation: str, dtype: str, x: Any, y: Any = None, g: Any = None, **parameters: Any) -> Judged:
    inputs = {"x": x} if y is None else {"x": x, "y": y}
    if g is None:
        return Judged(operation, dtype, parameters=parameters, **inputs)
    return Judged(operation, dtype, wrt=tuple(inputs), parameters=parameters, **inputs, **{COTANGENT: g})


def assert_right(case: Judged, formulation: str, backend: str) -> None:
    for output in case.operation.outputs:
        row = case.row(formulation, backend, output)
        assert row["outcome"] == "ok", (formulation, backend, case.problem)
        assert row["bound_ratio"] <= 1, (formulation, backend, case.problem)


# ---- references -----------------------------------------------------------------------------------------


def mp(values: Any) -> Any:
    return mpmath.matrix([mpmath.mpf(float(v)) for v in values])


def norm(x: Any) -> Any:
    return mpmath.sqrt(mpmath.fsum(v * v for v in x))


def by_mpmath(operation: str, x: Any, y: Any, epsilon: Any) -> list[Any]:
    """Return the result for one row, by the formula, with 200 digits."""
    n = len(x)
    if operation == "l2_norm":
        return [norm(x)]
    if operation == "normalize":
        return [v / max(norm(x), epsilon) for v in x]
    if operation == "cosine_similarity":
        return [mpmath.fsum(a * b for a, b in zip(x, y, strict=True)) / (norm(x) * norm(y))]
    if operation == "pairwise_distance":
        return [norm([a - b for a, b in zip(x, y, strict=True)])]
    mean = mpmath.fsum(x) / n if operation == "layer_norm" else 0
    return [(v - mean) / mpmath.sqrt(mpmath.fsum((w - mean) ** 2 for w in x) / n + epsilon) for v in x]


def gradient_by_differences(operation: str, x: Any, y: Any, epsilon: Any, g: Any) -> list[Any]:
    """Return central differences of Σ g·y with a step of 1e-60: 100 digits and more are right."""
    step, found = mpmath.mpf(10) ** -60, []
    for place in range(len(x)):
        ends = []
        for sign in (1, -1):
            moved = mpmath.matrix(x)
            moved[place] += sign * step
            ends.append(mpmath.fdot(by_mpmath(operation, moved, y, epsilon), g))
        found.append((ends[0] - ends[1]) / (2 * step))
    return found


@pytest.mark.parametrize("operation", STABLE)
@pytest.mark.parametrize("scale", ["1", "1e-150", "1e150"])
def test_references_are_those_of_the_formulas(operation: str, scale: str) -> None:
    rng = np.random.default_rng(1)
    x, y, g = (rng.standard_normal((1, 5)) * s for s in (float(scale), float(scale), 1.0))
    scalar = operation in ("l2_norm", "cosine_similarity")
    matrix = operation == "pairwise_distance"
    with mpmath.workdps(400):
        given = {} if operation in ("l2_norm", *TWO) else {"epsilon": Decimal("0.001")}
        epsilon = mpmath.mpf("0.001")
        row_x, row_y = mp(x[0]), mp(y[0])
        second = y if operation in TWO else None
        weights = g[0, :1] if scalar or matrix else g[0]
        cotangent = weights.reshape((1, 1)) if matrix else (weights if scalar else g)
        forward = judged(operation, "float64", x, second, **given)
        backward = judged(operation, "float64", x, second, cotangent, **given)
        expected = by_mpmath(operation, row_x, row_y, epsilon)
        (output,) = forward.operation.outputs
        assert_encloses(forward.reference.outputs[output], expected, 1e-15)
        step_too_large = scale == "1e-150"  # the differences' own step is 1e-60
        if not step_too_large:
            slopes = gradient_by_differences(
                operation, row_x, row_y, epsilon, [mpmath.mpf(v) for v in weights]
            )
            assert_encloses(backward.reference.outputs["grad_x"], slopes, 1e-15)


def assert_encloses(reference: Any, expected: list[Any], tolerance: float) -> None:
    """Compare rounded to float64: half a unit in the last place, 1.1e-16, is what that costs."""
    found = reference.round_to(DTYPES["float64"].storage).reshape(-1)
    assert found == pytest.approx([float(v) for v in expected], rel=tolerance, abs=0)


def test_exact_values_are_exact() -> None:
    assert judged("l2_norm", "float64", [3, 4]).reference.outputs["y"].to_float64() == 5
    assert judged("cosine_similarity", "float64", [3, 4], [6, 8]).reference.outputs["c"].to_float64() == 1
    assert judged("cosine_similarity", "float64", [1, 1], [1, -1]).reference.outputs["c"].to_float64() == 0
    y = judged("layer_norm", "float64", [1, 2, 3, 2], epsilon=0).reference.outputs["y"].to_float64()
    assert y[1] == y[3] == 0
    grad = judged("layer_norm", "float64", [1.1, 2, 3.7], g=[0.3, 0.3, 0.3]).reference
    assert grad.undecided == 0
    assert not grad.outputs["grad_x"].to_float64().any()  # a constant cotangent is taken out with the mean


SPECIAL: list[tuple[str, Any, Any, Any]] = [
    ("l2_norm", [INF, 1], None, INF),
    ("l2_norm", [-INF, NAN], None, NAN),
    ("l2_norm", [0, 0], None, 0),
    ("normalize", [INF, 1], None, [NAN, 0]),
    ("normalize", [0, 0], None, [0, 0]),
    ("cosine_similarity", [0, 0], [1, 2], NAN),
    ("cosine_similarity", [INF, 1], [1, 2], NAN),
    ("pairwise_distance", [[1, INF]], [[1, 2], [0, INF]], [[INF, NAN]]),
    ("pairwise_distance", [[1, 2]], [[1, 2]], [[0]]),
    ("rms_norm", [INF, 1], None, [NAN, 0]),
    ("rms_norm", [0, 0], None, [0, 0]),
    ("layer_norm", [INF, 1], None, [NAN, NAN]),
    ("layer_norm", [7, 7, 7], None, [0, 0, 0]),
]


@pytest.mark.parametrize(("operation", "x", "y", "expected"), SPECIAL)
def test_special_values(operation: str, x: Any, y: Any, expected: Any) -> None:
    for dtype in ALL:
        case = judged(operation, dtype, x, y)
        (output,) = case.operation.outputs
        np.testing.assert_array_equal(case.reference.outputs[output].to_float64(), np.array(expected, float))
        if np.isfinite(x).all() or operation in ("l2_norm", "pairwise_distance"):
            for backend in BOTH:
                assert case.row(STABLE[operation], backend)["outcome"] == "ok", (backend, dtype)


def test_gradients_where_there_is_no_derivative() -> None:
    for dtype in ALL:
        for backend in BOTH:
            assert_right(judged("l2_norm", dtype, [0.0, 0.0], g=1.0), "scaled", backend)
            same = judged("pairwise_distance", dtype, [[1.0, 2.0]], [[1.0, 2.0], [0.0, 2.0]], [[1.0, 1.0]])
            assert_right(same, "direct", backend)
            assert same.row("gram", backend)["outcome"] == "not_a_number"
    exact = judged("normalize", "float64", [0.0, 0.0], g=[1.0, -2.0], epsilon=Decimal("1e-12")).reference
    assert list(exact.outputs["grad_x"].to_float64()) == [1e12, -2e12]


# ---- bounds ---------------------------------------------------------------------------------------------


@st.composite
def rows(draw: st.DrawFn) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """Draw a dtype, two matrices of numbers over its whole range, up to Ω/n, and a cotangent."""
    dtype = draw(st.sampled_from(ALL))
    fmt = DTYPES[dtype].storage
    least, largest = (int(np.frexp(float(limit))[1]) for limit in (fmt.min_subnormal, fmt.max_finite))
    low = draw(st.integers(least, largest - 5))
    high = draw(st.integers(low, largest - 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(1, 3)), draw(st.integers(2, 9))
    x, y = (np.ldexp(rng.uniform(-2, 2, shape), rng.integers(low, high + 1, shape)) for _ in "xy")
    return dtype, x, y, rng.standard_normal(shape)


@settings(max_examples=60, deadline=None)
@given(rows())
def test_scaled_forms_keep_to_the_bound_over_the_whole_range(drawn: Any) -> None:
    dtype, x, y, g = drawn
    for backend in BOTH:
        assert_right(judged("l2_norm", dtype, x), "scaled", backend)
        assert_right(judged("l2_norm", dtype, x, g=g[:, 0]), "scaled", backend)
        assert_right(judged("rms_norm", dtype, x), "scaled", backend)
        assert_right(judged("normalize", dtype, x, epsilon=Decimal("0.25")), "scaled", backend)
        if np.abs(judged("l2_norm", dtype, x).inputs["x"]).max(axis=-1).min() > 0:
            both = judged("cosine_similarity", dtype, x, y)
            if np.abs(both.inputs["y"]).max(axis=-1).min() > 0:
                assert_right(both, "normalise_first", backend)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ALL), st.integers(0, 2**32), st.floats(0, 0.6), st.integers(2, 40))
def test_forms_that_subtract_first_keep_to_the_bound_far_from_zero(
    dtype: str, seed: int, power: float, n: int
) -> None:
    rng = np.random.default_rng(seed)
    level = float(DTYPES[dtype].storage.unit_roundoff) ** -power
    x, y = (rng.normal(level, 1, (3, n)) for _ in "xy")
    g = rng.standard_normal((3, n))
    for backend in BOTH:
        for name in ("two_pass", "library"):
            if backend == "numpy" and name == "library":
                continue
            assert_right(judged("layer_norm", dtype, x), name, backend)
            assert_right(judged("layer_norm", dtype, x, g=g), name, backend)
        assert_right(judged("pairwise_distance", dtype, x, y), "direct", backend)
        assert_right(
            judged("pairwise_distance", dtype, x, y, g[:, :3] if n > 2 else np.ones((3, 3))),
            "direct",
            backend,
        )


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ALL), st.integers(0, 2**32), st.integers(2, 40))
def test_gradients_keep_to_the_bound(dtype: str, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, g = (rng.standard_normal((3, n)) for _ in range(3))
    for backend in BOTH:
        assert_right(judged("l2_norm", dtype, x, g=g[:, 0]), "scaled", backend)
        assert_right(judged("cosine_similarity", dtype, x, y, g[:, 0]), "normalise_first", backend)
        for operation in ("normalize", "rms_norm"):
            assert_right(judged(operation, dtype, x, g=g), "scaled", backend)


def test_the_mean_costs_its_square_in_the_variance() -> None:
    """At |m|/σ = 2^20 in float32 the mean alone is off by 1/16 σ, and the scale by 1/512 of itself."""
    x = np.array([2.0**20 - 1, 2.0**20 + 1] * 8)
    case = judged("layer_norm", "float32", x)
    bound = np.exp2(case.operation.bound(case.problem, case.reference, precision(case))["y"])
    u = 2.0**-24
    mean_is_off = 15 * u * (2**20 + 1) + u * 2**20 * 2  # in the sum of 16, its rounding and the division's
    assert np.all(bound <= mean_is_off * (1 + mean_is_off) + mean_is_off**2 + 40 * u)
    assert np.all(bound >= mean_is_off / 2)


def precision(case: Judged) -> Any:
    return Precision.of(case.dtype, case.dtype.name)


WRONG: dict[str, Callable[[Any, float], Any]] = {
    "zeros": lambda y, u: y * 0,
    "next": lambda y, u: np.roll(y, 1, axis=-1) if y.size > 1 else y * 1.5,
    "sixty-four roundings": lambda y, u: y * (1 + 64 * u),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("operation", STABLE)
def test_planted_wrong_answers_are_outside(operation: str, wrong: str) -> None:
    x, y = np.array([[0.5, -1.25, 3.0, 0.75]]), np.array([[1.5, 0.25, 2.0, -0.5], [1.0, 2.0, 3.0, 4.0]])
    second = {"cosine_similarity": y[:1], "pairwise_distance": y}.get(operation)
    for dtype in ("float64", "float32"):
        u = float(DTYPES[dtype].storage.unit_roundoff)
        case = judged(operation, dtype, x, second)
        honest = case.outputs(STABLE[operation], "numpy")
        found = {k: round_array(case.dtype.storage, WRONG[wrong](v, u)) for k, v in honest.items()}
        (row,) = case.rows(found).values()
        assert row["outcome"] != "ok" or row["bound_ratio"] > 1


# ---- where the naive forms end --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("dtype", ALL)
def test_squares_end_at_the_root_of_the_largest_number(dtype: str, backend: str) -> None:
    naive = {
        "l2_norm": "naive",
        "normalize": "naive",
        "cosine_similarity": "quotient",
        "rms_norm": "in_dtype",
    }
    for times, right in (("0.5", True), ("1.01", False)):
        x = np.array([unit(dtype, "sqrt_max", times), 0.0])
        for operation, name in naive.items():
            case = judged(operation, dtype, x, x if operation in TWO else None)
            assert (case.row(name, backend)["outcome"] == "ok") == right, (operation, times)
            assert_right(case, STABLE[operation], backend)


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("dtype", ALL)
def test_squares_vanish_below_the_root_of_half_the_smallest_number(dtype: str, backend: str) -> None:
    for times, right in (("0.70", False), ("1", True)):  # √½ = 0.7071
        case = judged("l2_norm", dtype, [unit(dtype, "sqrt_min_subnormal", times)])
        assert (case.row("naive", backend)["outcome"] != "zeroed") == right
        assert_right(case, "scaled", backend)


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("dtype", ALL)
def test_squares_of_distances_end_at_the_root_of_the_roundoff(dtype: str, backend: str) -> None:
    for power, right in (("0.25", True), ("0.55", False)):
        gap = float(unit_value(DTYPES[dtype].storage, "unit_roundoff", "powers", Decimal(power)))
        case = judged("pairwise_distance", dtype, [[1, 1, 1, 0]], [[1, 1, 1, gap]])
        assert (case.row("gram", backend)["outcome"] != "zeroed") == right
        assert_right(case, "direct", backend)


def test_one_pass_ends_at_the_root_of_the_roundoff() -> None:
    for dtype in ("float64", "float32"):
        level = float(DTYPES[dtype].storage.unit_roundoff) ** -0.55
        case = judged("layer_norm", dtype, np.random.default_rng(3).normal(level, 1, 32))
        row = case.row("one_pass")
        assert row["outcome"] != "ok" or row["bound_ratio"] > 1
        assert_right(case, "two_pass", "numpy")


def test_a_cosine_may_come_out_above_one() -> None:
    x = np.linspace(0.1, 8.3, 84)
    found = {
        (dtype, name): float(judged("cosine_similarity", dtype, x, x).outputs(name, backend)["c"])
        for dtype in ALL
        for name in ("quotient", "normalise_first")
        for backend in BOTH
    }
    assert max(found.values()) > 1
    for (dtype, name), c in found.items():
        case = judged("cosine_similarity", dtype, x, x)
        (row,) = case.rows({"c": np.array(c)}).values()
        assert row["bound_ratio"] <= 1, (dtype, name)


def test_rows_whose_quotient_by_epsilon_is_beyond_the_format_are_divided_by_epsilon() -> None:
    """ε/5e-324 overflows; 5e-324/1e-12 does not: (2⁻¹⁰⁷⁴, 2⁻¹⁰⁷³)·10¹²."""
    case = judged("normalize", "float64", [[2.0**-1074, 2.0**-1073]])
    assert_right(case, "scaled", "numpy")
    exact = case.reference.outputs["y"].to_float64()
    np.testing.assert_allclose(exact, [[4.940656458412465e-312, 9.88131291682493e-312]], rtol=1e-11)
    bound = case.operation.bound
    assert bound is not None
    allowed = bound(case.problem, case.reference, Precision.of(DTYPES["float64"], "float64"))["y"]
    assert np.all(allowed <= -1074 + 5)  # some roundings, each of a smallest number


def test_an_epsilon_that_the_format_lacks_is_none() -> None:
    zeros = [0.0, 0.0]
    for name in ("naive", "library"):
        assert judged("normalize", "float16", zeros).row(name, "torch-cpu")["outcome"] == "not_a_number"
        assert judged("normalize", "bfloat16", zeros).row(name, "torch-cpu")["outcome"] == "ok"
    row = judged("normalize", "float16", zeros).row("scaled", "torch-cpu")
    assert row["outcome"] == "ok"
    assert "bound_ratio" not in row  # of 0/0 nothing is promised


# ---- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "p"), [("float64", 53), ("float32", 24)])
def test_the_bound_of_layer_norm_is_that_of_its_formula(dtype: str, p: int) -> None:
    """Of ±1, n = 4: 3u the mean, 1u x − m̂, θ/2 = 4½u the variance, 2u the inverse root, 1u the product.

    And 2⁻⁵¹ for float64's arithmetic, which are 4u of its own: 1 + u is 1 there, and (1 + u)⁶ − 1 is not 0.
    """
    case = judged("layer_norm", dtype, [[1.0, -1.0, 1.0, -1.0]], epsilon=0)
    precision = Precision.of(DTYPES[dtype], dtype)
    bound = case.operation.bound
    assert bound is not None
    allowed = np.exp2(bound(case.problem, case.reference, precision)["y"]) * 2.0**p
    least = 11.5 + 2.0 ** (p - 51)
    # beyond it the mean's quotient, and what 1/√w − 1 is rounded to
    assert np.all((allowed >= least * (1 - 1e-9)) & (allowed <= least + 2))


def test_costs_count_the_entries_that_are_read_and_the_rows_that_are_written() -> None:
    shape, itemsize = (3, 4), 8
    cosine, normal = (OPERATIONS[n].cost for n in ("cosine_similarity", "normalize"))
    assert cosine is not None
    assert normal is not None
    assert cosine({"x": shape, "y": shape}, {}, itemsize).bytes == (12 + 12 + 3) * itemsize
    assert normal({"x": shape}, {}, itemsize).bytes == (12 + 12) * itemsize


def test_epsilons_are_those_of_torch_unless_given() -> None:
    functional = pytest.importorskip("torch").nn.functional
    for operation, name in (("layer_norm", "eps"), ("normalize", "eps")):
        theirs = inspect.signature(getattr(functional, operation)).parameters[name].default
        assert OPERATIONS[operation].defaults() == {"epsilon": Decimal(repr(theirs))}


@pytest.mark.parametrize(
    ("operation", "x", "y", "told"),
    [
        ("l2_norm", 1.0, None, "without anything along its last axis"),
        ("rms_norm", np.zeros((2, 0)), None, "without anything along its last axis"),
        ("cosine_similarity", [1.0, 2.0], [1.0], "give x and y one shape"),
        ("pairwise_distance", [1.0, 2.0], [1.0, 2.0], "two matrices"),
        ("pairwise_distance", [[1.0, 2.0]], [[1.0]], "two matrices"),
    ],
)
def test_inputs_that_are_refused(operation: str, x: Any, y: Any, told: str) -> None:
    with pytest.raises(InputError) as caught:
        judged(operation, "float64", x, y)
    assert told in f"{caught.value} {caught.value.hint}"


def test_the_library_takes_no_norm_for_less_than_1e8() -> None:
    """0.910 and 0.840 of pytorch issue 115786, from exact fractions."""
    x = [2606.66824394, 2477.72226966, 3251.84008903]
    y = [3.46822161e-09, 1.82536693e-09, 8.35245752e-09]
    case = judged("cosine_similarity", "float64", x, y)
    product = sum(Fraction(a) * Fraction(b) for a, b in zip(x, y, strict=True))
    squares = [sum(Fraction(v) ** 2 for v in vector) for vector in (x, y)]
    exact = float(product) / float(squares[0] * squares[1]) ** 0.5
    assert exact == pytest.approx(0.91036, abs=5e-6)
    found = case.outputs("library", "torch-cpu")["c"]
    assert found == pytest.approx(exact * float(squares[1]) ** 0.5 / 1e-8, rel=1e-12)
    assert found == pytest.approx(0.8399261, abs=5e-8)
    assert_right(case, "normalise_first", "torch-cpu")
    assert "torch-cpu" in BACKENDS
