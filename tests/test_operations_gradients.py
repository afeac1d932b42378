"""Gradients of softmax, log-softmax, log-sum-exp, matmul: stable ones keep to the bounds, others do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, Precision, decode, encode, round_array, unit_value
from harness.metrics.score import score
from harness.operations.shifted_exponentials import TILE
from harness.registry import (
    BACKENDS,
    OPERATIONS,
    ExactProblem,
    Lack,
    find_formulation,
    find_gradient,
    support,
)

catalogue.load()

INF = math.inf
FAMILY = ("softmax", "log_softmax", "logsumexp")
DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
BACKEND_NAMES = ("numpy", "torch-cpu")
Outputs = Mapping[str, np.ndarray]


def make_problem(
    operation: str, dtype: str, inputs: Mapping[str, Any], cotangent: Any, axis: int | None = -1
) -> ExactProblem:
    storage = DTYPES[dtype].storage
    values = {**inputs, "cotangent": cotangent}
    rounded = {name: round_array(storage, np.array(v, np.float64)) for name, v in values.items()}
    parameters = {} if operation == "matmul" else {"axis": axis}
    return ExactProblem(operation, rounded, parameters, DTYPES[dtype], tuple(inputs))


def of_rows(operation: str, dtype: str, x: Any, g: Any, axis: int = -1) -> ExactProblem:
    return make_problem(operation, dtype, {"x": x}, g, axis)


def cotangent_of(operation: str, x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Numbers of both signs, in the shape of the output."""
    shape = x.shape if operation != "logsumexp" else np.delete(x.shape, axis)
    return np.random.default_rng(7).standard_normal(shape)


def run(problem: ExactProblem, name: str, backend: str) -> tuple[Outputs, str] | None:
    """Run a gradient with checked dtypes; return the exact values it gave and what it computed in, if any."""
    library, storage = BACKENDS[backend], problem.dtype.storage
    compute = support(problem.operation, name, library, problem.dtype.name, "backward")
    if isinstance(compute, Lack):
        return None
    declared = OPERATIONS[problem.operation].differentiated(problem.with_respect_to)
    xp = library.namespace(problem.dtype, checked=True)
    arrays = [library.from_bits(encode(storage, problem.inputs[i]), storage) for i in declared.inputs]
    with np.errstate(all="ignore"):
        if library.autograd:
            found = find_formulation(problem.operation, name, backend)
            assert found is not None
            positions = [list(declared.inputs).index(i) for i in problem.with_respect_to]
            forward = found.build

            def build(*values: Any) -> Callable[[], Any]:
                return forward(xp, *values, **problem.parameters)

            thunk = library.differentiated(build, arrays[:-1], positions, arrays[-1])
        else:
            own = find_gradient(problem.operation, name, backend)
            assert own is not None
            thunk = own.build(xp, *arrays, with_respect_to=problem.with_respect_to, **problem.parameters)
        results = thunk()
    assert isinstance(results, tuple)
    codes = [library.to_bits(r) for r in results]
    assert {fmt for _, fmt in codes} <= {storage.name}
    return {o: decode(storage, bits) for o, (bits, _) in zip(declared.outputs, codes, strict=True)}, compute


def judge(problem: ExactProblem, outputs: Outputs, compute: str) -> list[dict[str, Any]]:
    operation = OPERATIONS[problem.operation].differentiated(problem.with_respect_to)
    reference = operation.reference(problem)
    assert reference.undecided == 0
    rows = score(operation, problem, reference, outputs, Precision.of(problem.dtype, compute))
    return [rows[o] for o in operation.outputs]


def judged(problem: ExactProblem, name: str, backend: str) -> list[dict[str, Any]]:
    found = run(problem, name, backend)
    return [] if found is None else judge(problem, *found)


def assert_right(problem: ExactProblem, name: str, backend: str) -> None:
    for row in judged(problem, name, backend):
        assert row["outcome"] == "ok", (name, backend, problem)
        assert row["bound_ratio"] <= 1, (name, backend, problem)


# ---- softmax, log-softmax, log-sum-exp --------------------------------------------------------------


def stable(operation: str, backend: str) -> tuple[str, ...]:
    """Formulations that keep to the bound; torch's logsumexp by exp(x − y) has a test of its own."""
    return ("shifted", "online", *(["library"] if operation != "logsumexp" else []))


ROWS: dict[str, Any] = {
    "small": [1, 2, 3],
    "large": [1000, 2000, 3000],
    "guide": [2, 1, 0.1],
    "negative": [-2000, -2001],
    "gap": [0, -40],
    "one": [7],
    "some -inf": [[-INF, 1, 2], [-INF, 5, -INF]],
    "equal": np.zeros(500),
    "rising": np.linspace(0, 60, 1000),
    "falling": np.linspace(5, -5, 600),
    "-inf tile first": np.concatenate([np.full(TILE, -INF), np.linspace(-2000, -1990, TILE + 5)]),
    "rows": np.random.default_rng(0).standard_normal((4, 100)) * 5,
}


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("operation", FAMILY)
def test_stable_gradients_keep_to_the_bound(operation: str, dtype: str, backend: str) -> None:
    for x in ROWS.values():
        values = np.array(x, np.float64)
        problem = of_rows(operation, dtype, values, cotangent_of(operation, values))
        for name in stable(operation, backend):
            assert_right(problem, name, backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("operation", FAMILY)
def test_every_axis(operation: str, backend: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, TILE + 2, 2)) * 4
    for axis in (0, 1, 2, -2):
        problem = of_rows(operation, "float32", x, cotangent_of(operation, x, axis), axis)
        for name in stable(operation, backend):
            assert_right(problem, name, backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("operation", FAMILY)
def test_undefined_rows_and_those_of_minus_infinity(operation: str, dtype: str, backend: str) -> None:
    """NaN where nothing is defined; 0 for log-sum-exp of nothing but −inf, where torch gives NaN."""
    for x in ([math.nan, 1.0, -INF], [-INF, -INF, -INF], [INF, 1.0, -INF]):
        problem = of_rows(operation, dtype, [x], cotangent_of(operation, np.array([x])))
        for name in stable(operation, backend):
            declared_zero = operation == "logsumexp" and x[0] == -INF
            expected = "not_a_number" if declared_zero and backend == "torch-cpu" else "ok"
            assert [r["outcome"] for r in judged(problem, name, backend)] in ([], [expected]), name


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_naive_gradients_break_where_exponentials_overflow_and_underflow(dtype: str, backend: str) -> None:
    storage = DTYPES[dtype].storage
    above = float(unit_value(storage, "ln_max", "times", Decimal("1.01")))
    below = float(unit_value(storage, "ln_min_subnormal", "times", Decimal("1.1")))
    for operation in FAMILY:
        for x in ([0.5, above, above / 2], [below, below, below]):
            problem = of_rows(operation, dtype, [x], cotangent_of(operation, np.array([x])))
            assert judged(problem, "naive", backend)[0]["outcome"] == "not_a_number", (operation, x)
            for name in stable(operation, backend):
                assert_right(problem, name, backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_quotients_of_shares_underflow_long_before_they_do(backend: str) -> None:
    """1/n² rounds to 0 in float16 from n = 5793 on, and with it the mean Σ p·g, which is 1/2 here."""
    for n, broken in ((1024, False), (8192, True)):
        problem = of_rows("softmax", "float16", np.zeros(n), np.arange(n) / n)
        found = run(problem, "naive", backend)
        assert found is not None
        ratio = judge(problem, found[0], "float32")[0]["bound_ratio"]
        assert (ratio > 1) == broken
        assert_right(problem, "online", backend)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("operation", FAMILY)
def test_no_gradient_flows_through_the_maximum(operation: str, dtype: str) -> None:
    """Its derivative cancels, and would leave the rounding errors of the whole row at the largest entry.

    All gradients of softmax add up to 0, and so do p − e_t; 4000 entries leave about u beside p = 1/s there.
    """
    generator = np.random.default_rng(1)
    x = generator.standard_normal((1, 4000))
    g = generator.uniform(0.5, 2, x.shape) if operation != "logsumexp" else np.array([1.7])
    problem = of_rows(operation, dtype, x, g)
    for name in ("shifted", "online"):
        assert_right(problem, name, "torch-cpu")


def test_naive_log_softmax_divides_by_shares_that_are_zero() -> None:
    for dtype, gap in (("float64", 746), ("float32", 105), ("bfloat16", 94), ("float16", 18)):
        problem = of_rows("log_softmax", dtype, [0, -gap], [1.0, 0.5])
        for backend in BACKEND_NAMES:
            assert judged(problem, "naive", backend)[0]["outcome"] == "not_a_number"
            assert_right(problem, "shifted", backend)


def test_the_gradient_of_torchs_logsumexp_loses_what_its_value_rounds() -> None:
    """exp(x − ŷ) with ŷ = fl(2²⁰ + ln 64), where float32 has steps of 1/8: off by 4.1589 − 4.125, 3.4 %."""
    problem = of_rows("logsumexp", "float32", np.full(64, 2.0**20), [1.0])
    found = run(problem, "library", "torch-cpu")
    assert found is not None
    np.testing.assert_allclose(found[0]["grad_x"], math.exp(-4.125), rtol=1e-6)
    assert judge(problem, *found)[0]["bound_ratio"] > 1000
    for name in ("shifted", "online"):
        assert_right(problem, name, "torch-cpu")
        assert_right(problem, name, "numpy")


def in_textbook_form(operation: str, x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The textbook computation along the last axis, in the dtype of its arguments, without the harness."""
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        s = e.sum(axis=-1, keepdims=True)
        if operation == "softmax":
            p = e / s
            return p * (g - (p * g).sum(axis=-1, keepdims=True))
        if operation == "log_softmax":
            y = (x - x.max(axis=-1, keepdims=True)) - np.log(s)
            return g - np.exp(y) * g.sum(axis=-1, keepdims=True)
        return e / s * g[..., None]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("operation", FAMILY)
@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    spread=st.sampled_from([1e-3, 1.0, 30.0, 2000.0]),
    offset=st.sampled_from([0.0, -50.0, 1000.0]),
    size=st.sampled_from([1e-3, 1.0, 100.0]),
    level=st.sampled_from([0.0, 1.0, -300.0]),
)
def test_a_correct_computation_never_exceeds_the_bound(
    operation: str, dtype: str, data: st.DataObject, spread: float, offset: float, size: float, level: float
) -> None:
    n = data.draw(st.integers(1, 70))
    x = data.draw(arrays(np.float64, n, elements=st.floats(-1, 1))) * spread + offset
    g = data.draw(arrays(np.float64, n, elements=st.floats(-1, 1))) * size + level
    problem = of_rows(operation, dtype, x[None], g[None] if operation != "logsumexp" else g[:1])
    stored = (problem.inputs[name].astype(dtype) for name in ("x", "cotangent"))
    computed = np.asarray(in_textbook_form(operation, *stored), np.float64)
    row = judge(problem, {"grad_x": computed}, dtype)[0]
    assert row["outcome"] == "ok"
    assert row["bound_ratio"] <= 1


def exact_gradient(operation: str, x: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient in float64, and mistakes in it, each right but for one thing."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    if operation == "softmax":
        right, mean = p * (g - (p * g).sum(axis=-1, keepdims=True)), (p * g).sum(axis=-1, keepdims=True)
        wrong = {
            "wrong sign of the mean": p * (g + mean),
            "the mean left out": p * g,
            "not multiplied by p": g - mean,
            "the mean without p": p * (g - g.mean(axis=-1, keepdims=True)),
            "p squared": p * right,
        }
    elif operation == "log_softmax":
        right, total = g - p * g.sum(axis=-1, keepdims=True), g.sum(axis=-1, keepdims=True)
        wrong = {
            "wrong sign of the sum": g + p * total,
            "the sum left out": g - p,
            "not multiplied by p": g - total,
            "p times its own cotangent": g - p * g,
        }
    else:
        right = p * g[..., None]
        wrong = {
            "not multiplied by p": np.broadcast_to(g[..., None], x.shape),
            "not multiplied by g": p,
            "p squared": p * right,
        }
    return {"right": right, "wrong sign": -right, "another row": np.roll(right, 1, axis=0), **wrong}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("operation", FAMILY)
def test_planted_wrong_gradients_exceed_the_bound(operation: str, dtype: str) -> None:
    generator = np.random.default_rng(0)
    problem = of_rows(
        operation,
        dtype,
        generator.uniform(-2, 2, (4, 16)),
        generator.uniform(0.5, 2, (4, 16) if operation != "logsumexp" else 4),
    )
    storage = problem.dtype.storage
    for what, values in exact_gradient(operation, *problem.inputs.values()).items():
        computed = round_array(storage, values)
        ratio = judge(problem, {"grad_x": computed}, dtype)[0]["bound_ratio"]
        assert (ratio <= 1) == (what == "right"), what


@pytest.mark.parametrize(("operation", "honest"), [("softmax", 8), ("log_softmax", 0), ("logsumexp", 8)])
def test_an_error_in_units_of_u_is_within_the_bound_or_beyond(operation: str, honest: int) -> None:
    """Of three entries 8u is honest, for an exponential alone may be off by 6u, and 64u is not.

    In log-softmax no more than p·Σ g may have such an error: 8u of g itself, which is larger here, is not.
    """
    x = np.array([[1.0, 2.0, 3.0]])
    g = np.array([[1.0, 0.25, -1.0]]) if operation != "logsumexp" else np.array([2.0])
    problem = of_rows(operation, "float32", x, g)
    right = exact_gradient(operation, *problem.inputs.values())["right"]
    for units in (0, 8, 64):
        computed = round_array(problem.dtype.storage, right * (1 + units * 2.0**-24))
        ratio = judge(problem, {"grad_x": computed}, "float32")[0]["bound_ratio"]
        assert (ratio <= 1) == (units <= honest), units


@pytest.mark.parametrize("operation", FAMILY)
def test_bounds_of_two_equal_entries(operation: str) -> None:
    """x = (3, 3): p = ½, s = 2, no gaps; u = u_acc = 2⁻²⁴ and ω = 2⁻¹⁴⁹, which counts for nothing."""
    g = [1.0, -3.0] if operation != "logsumexp" else [-3.0]
    problem = of_rows(operation, "float32", [3.0, 3.0], g)
    op = OPERATIONS[operation].differentiated(("x",))
    assert op.bound is not None
    found = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))
    u = 2.0**-24
    k = 1 + u
    of_sum = 9 * u  # 2·3 + 1 + 1, and one addition
    a = 0.5 * math.expm1(7 * u + of_sum)
    if operation == "softmax":  # t = −1, d = (2, −2), Σ|g| = 4
        lost = 4 * ((0.5 + a) * k**4 * (1 + u) - 0.5)
        wanted = a * k**3 * (2 + lost) + 0.5 * ((k**3 - 1) * 2 + k**3 * lost)
        wanted = np.array([wanted, wanted])
    elif operation == "log_softmax":  # T = −2, Σ|g| = 4, |y| = ln 2, r = (2, −2)
        a = 0.5 * math.expm1(10 * u * math.log(2) + 6 * u + of_sum)
        lost = 4 * (k**2 * (1 + u) - 1)
        wanted = u * np.array([2, 2]) + k * (a * k * (2 + lost) + 0.5 * (u * 2 + k * lost))
    else:
        wanted = np.full(2, 3 * (a * k**2 + 0.5 * (k**2 - 1)))
    np.testing.assert_allclose(np.exp2(found["grad_x"]), wanted, rtol=1e-9)


def test_bounds_of_unequal_entries_in_a_narrow_format() -> None:
    """x = (0, −3, −∞, 2) in float16, sums in float32: u = 2⁻¹¹, u_acc = 2⁻²⁴ = ω, three terms."""
    g = np.array([1.0, -2.0, 100.0, 0.5])
    x = np.array([0.0, -3.0, -INF, 2.0])
    u, least = 2.0**-11, 2.0**-24
    gap = np.array([2.0, 5.0, INF, 0.0])
    s = 1 + math.exp(-2) + math.exp(-5)
    p = np.exp(-gap) / s
    of_sum = u * (8 + (2 * math.exp(-2) + 5 * math.exp(-5)) / s) + 2 * 2.0**-24 - math.log1p(-1.5 * least)
    finite = np.array([0, 1, 3])
    a = p[finite] * np.expm1(u * (7 + gap[finite]) + of_sum) + least
    k, accumulated = 1 + u, 2 * 2.0**-24
    g3, p3 = g[finite], p[finite]
    lost = np.sum(np.abs(g3) * ((p3 + a) * k**4 * (1 + accumulated) - p3)) + 3 * least
    d = np.abs(g3 - np.sum(p3 * g3))
    wanted = a * k**3 * (d + lost) + p3 * ((k**3 - 1) * d + k**3 * lost) + least
    problem = of_rows("softmax", "float16", x, g)
    op = OPERATIONS["softmax"].differentiated(("x",))
    assert op.bound is not None
    found = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))["grad_x"]
    np.testing.assert_allclose(np.exp2(found[finite]), wanted, rtol=1e-12)
    assert found[2] == -INF  # 0 by structure
    # log-softmax: −∞ has its own cotangent exactly, and Σ g counts it
    y = gap[finite] + math.log(s)
    a = p3 * np.expm1(u * (2 * y + 8 * math.log(s) + 6) + of_sum + least) + least
    lost = (k**2 * (1 + 3 * 2.0**-24) - 1) * 103.5
    r = np.abs(g3 - p3 * 99.5)
    wanted = u * r + k * (a * k * (99.5 + lost) + p3 * (u * 99.5 + k * lost)) + least
    problem = of_rows("log_softmax", "float16", x, g)
    op = OPERATIONS["log_softmax"].differentiated(("x",))
    assert op.bound is not None
    found = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))["grad_x"]
    np.testing.assert_allclose(np.exp2(found[finite]), wanted, rtol=1e-12)
    assert found[2] == -INF


@pytest.mark.parametrize("operation", FAMILY)
def test_cost(operation: str) -> None:
    cost = OPERATIONS[operation].differentiated(("x",)).cost
    assert cost is not None
    found = cost({"x": (2, 5, 3), "cotangent": (2, 3)}, {"axis": 1}, 4)  # six rows of five
    flops = {"softmax": 9 * 5 - 3, "log_softmax": 9 * 5 - 2, "logsumexp": 6 * 5}[operation]
    moved = {"softmax": 15, "log_softmax": 15, "logsumexp": 11}[operation]
    assert (found.flops, found.bytes) == (6 * flops, 6 * moved * 4)


# ---- matmul -----------------------------------------------------------------------------------------


def product_problem(
    dtype: str, a: tuple[int, ...], b: tuple[int, ...], names: tuple[str, ...] = ("a", "b")
) -> ExactProblem:
    generator = np.random.default_rng(3)
    left, right = generator.standard_normal(a), generator.standard_normal(b)
    g = generator.standard_normal((left @ right).shape)
    made = make_problem("matmul", dtype, {"a": left, "b": right}, g)
    return ExactProblem("matmul", made.inputs, {}, made.dtype, names)


SHAPES = [
    ((5, 7), (7, 3)),
    ((40, 130), (130, 70)),
    ((8, 16, 24), (24, 10)),
    ((2, 1, 3, 4), (6, 4, 5)),
    ((2, 3, 2, 4), (4, 3)),
    ((1, 3, 4), (7, 4, 2)),
    ((3, 0), (0, 2)),
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_gradients_of_products_keep_to_the_bound(dtype: str, backend: str, shapes: Any) -> None:
    problem = product_problem(dtype, *shapes)
    for name in ("blocked", "float32_accumulate", "library"):
        assert_right(problem, name, backend)


@pytest.mark.parametrize("shapes", SHAPES)
def test_gradients_of_products_by_einsum(shapes: Any) -> None:
    problem = product_problem("float64", *shapes)
    a, b, g = problem.inputs.values()
    found = OPERATIONS["matmul"].differentiated(("a", "b")).reference(problem)
    for name, value, wanted in (("a", a, g @ np.swapaxes(b, -1, -2)), ("b", b, np.swapaxes(a, -1, -2) @ g)):
        more = wanted.ndim - value.ndim
        summed = wanted.sum(axis=tuple(range(more)))
        short = tuple(i for i in range(value.ndim - 2) if value.shape[i] != summed.shape[i])
        summed = summed.sum(axis=short, keepdims=True)
        assert found.outputs[f"grad_{name}"].shape == value.shape
        np.testing.assert_allclose(found.outputs[f"grad_{name}"].to_float64(), summed, rtol=1e-12, atol=1e-13)


def test_only_what_is_asked_for_is_given() -> None:
    whole = product_problem("float32", (5, 7), (7, 3))
    for names in (("b",), ("b", "a")):
        problem = ExactProblem("matmul", whole.inputs, {}, whole.dtype, names)
        for backend in BACKEND_NAMES:
            found = run(problem, "blocked", backend)
            assert found is not None
            assert list(found[0]) == [f"grad_{name}" for name in names]
            assert_right(problem, "blocked", backend)


def test_the_guides_product_by_hand() -> None:
    # G = [[1, 0], [0, 2]]: ∂A = G·Bᵀ has rows b₁ᵀ and 2·b₂ᵀ of B's columns, ∂B = Aᵀ·G the scaled rows of A
    a, b = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[7.0, 8.0], [9.0, 1.0], [2.0, 3.0]]
    problem = make_problem("matmul", "float16", {"a": a, "b": b}, [[1.0, 0.0], [0.0, 2.0]])
    found = OPERATIONS["matmul"].differentiated(("a", "b")).reference(problem)
    assert found.outputs["grad_a"].to_float64().tolist() == [[7, 9, 2], [16, 2, 6]]
    assert found.outputs["grad_b"].to_float64().tolist() == [[1, 8], [2, 10], [3, 12]]
    assert (found.outputs["grad_a"].radius_log2 == -INF).all()


PLANTED: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "right": lambda a, b, g: (g @ b.T, a.T @ g),
    "wrong sign": lambda a, b, g: (-g @ b.T, -a.T @ g),
    "operand not transposed": lambda a, b, g: (g @ b, a @ g),
    "cotangent transposed": lambda a, b, g: (g.T @ b.T, a.T @ g.T),
    "result transposed": lambda a, b, g: ((g @ b.T).T, (a.T @ g).T),
    "exchanged": lambda a, b, g: (a.T @ g, g @ b.T),
    "operands exchanged": lambda a, b, g: (g @ a.T, b.T @ g),
    "a term left out": lambda a, b, g: (g[:, 1:] @ b.T[1:], a.T[:, 1:] @ g[1:]),
    "without the cotangent": lambda a, b, g: (np.ones_like(g) @ b.T, a.T @ np.ones_like(g)),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("what", PLANTED)
def test_wrong_gradients_of_products_exceed_the_bound(what: str, dtype: str) -> None:
    problem = product_problem(dtype, (24, 24), (24, 24))
    wrong = (round_array(problem.dtype.storage, v) for v in PLANTED[what](*problem.inputs.values()))
    outputs = dict(zip(("grad_a", "grad_b"), wrong, strict=True))
    for row in judge(problem, outputs, "float32"):
        assert (row["bound_ratio"] <= 1) == (what == "right")


def sum_of_products(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("bij,bik->jk", a, g))


def test_a_batch_that_is_not_summed_is_found() -> None:
    problem = product_problem("float32", (8, 16, 24), (24, 10))
    a, b, g = problem.inputs.values()
    storage = problem.dtype.storage
    right = {"grad_a": round_array(storage, g @ b.T), "grad_b": round_array(storage, sum_of_products(a, g))}
    assert [row["bound_ratio"] <= 1 for row in judge(problem, right, "float32")] == [True, True]
    first = {**right, "grad_b": round_array(storage, a[0].T @ g[0])}
    assert [row["bound_ratio"] <= 1 for row in judge(problem, first, "float32")] == [True, False]


def test_the_terms_of_a_gradient_are_counted_along_what_is_summed() -> None:
    """Ones: ∂A sums n = 3 terms of one product, ∂B m = 2 of each of seven, which are rounded and added."""
    inputs = {"a": np.ones((7, 2, 5)), "b": np.ones((5, 3))}
    problem = make_problem("matmul", "float32", inputs, np.ones((7, 2, 3)))
    op = OPERATIONS["matmul"].differentiated(("a", "b"))
    assert op.bound is not None
    found = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))
    u = 2.0**-24
    wanted_a = (1 + u) * 3 * u * 3 + 3 * u
    wanted_b = (1 + u) * 14 * u * 14 + 14 * u + 7 * u * (1 + 2 * u) * 14
    np.testing.assert_allclose(np.exp2(found["grad_a"]), wanted_a, rtol=1e-6)  # Σ|gb| is bounded in float32
    np.testing.assert_allclose(np.exp2(found["grad_b"]), wanted_b, rtol=1e-6)


def test_cost_of_a_product_and_both_gradients() -> None:
    cost = OPERATIONS["matmul"].differentiated(("a", "b")).cost
    assert cost is not None
    found = cost({"a": (7, 3, 4), "b": (4, 5), "cotangent": (7, 3, 5)}, {}, 4)
    assert found.flops == 3 * 7 * 2 * 3 * 4 * 5
    assert found.bytes == 4 * (2 * (84 + 20) + 105)


@pytest.mark.parametrize(
    ("a", "b", "g", "told"),
    [
        ((2, 3), (3, 4), (4, 2), "the cotangent has shape"),
        ((2, 3), (4, 3), (2, 3), "a matrix product takes"),
        ((3,), (3, 4), (4,), "a matrix product takes"),
        ((2, 2, 3), (5, 3, 4), (2, 2, 4), "do not broadcast"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    a: tuple[int, ...], b: tuple[int, ...], g: tuple[int, ...], told: str
) -> None:
    problem = make_problem("matmul", "float32", {"a": np.ones(a), "b": np.ones(b)}, np.ones(g))
    with pytest.raises(InputError, match=told):
        OPERATIONS["matmul"].differentiated(("a", "b")).reference(problem)


# ---- what is declared -------------------------------------------------------------------------------


def test_numpy_has_the_gradients_that_formulations_declare_and_no_other() -> None:
    numpy = BACKENDS["numpy"]
    for operation, names in (
        *((name, ("naive", "shifted", "online")) for name in FAMILY),
        ("matmul", ("blocked",)),
    ):
        for name in names:
            assert support(operation, name, numpy, "float32", "backward") == "float32"
        lack = support(operation, "library", numpy, "float32", "backward")
        assert isinstance(lack, Lack)
        assert "declares no gradient of its own" in lack.reason
    assert support("matmul", "float32_accumulate", numpy, "bfloat16", "backward") == "float32"
