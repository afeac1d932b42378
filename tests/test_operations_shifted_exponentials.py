"""Softmax, log-softmax and log-sum-exp: stable formulations keep to the bounds, wrong answers do not."""

from __future__ import annotations

import math
import subprocess
import sys
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
from harness.model import Written
from harness.operations.shifted_exponentials import TILE, axis_of, gaps, row_quantities
from harness.registry import BACKENDS, OPERATIONS, ExactProblem, Lack, find_formulation, support

catalogue.load()

INF = math.inf
FAMILY = ("softmax", "log_softmax", "logsumexp")
STABLE = ("shifted", "online")
DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
BACKEND_NAMES = ("numpy", "torch-cpu")


def make_problem(operation: str, dtype: str, x: Any, axis: Written = -1) -> ExactProblem:
    values = round_array(DTYPES[dtype].storage, np.array(x, np.float64))
    return ExactProblem(operation, {"x": values}, {"axis": axis}, DTYPES[dtype])


def run(problem: ExactProblem, name: str, backend: str) -> tuple[np.ndarray, str]:
    """Run a formulation with checked dtypes; return the exact values it gave, and its compute dtype."""
    library = BACKENDS[backend]
    compute = support(problem.operation, name, library, problem.dtype.name)
    assert not isinstance(compute, Lack)
    found = find_formulation(problem.operation, name, backend)
    assert found is not None
    native = library.from_bits(encode(problem.dtype.storage, problem.inputs["x"]), problem.dtype.storage)
    xp = library.namespace(problem.dtype, checked=True)
    with np.errstate(all="ignore"):
        bits, fmt = library.to_bits(found.build(xp, native, **problem.parameters)())
    assert fmt == problem.dtype.storage.name
    return decode(problem.dtype.storage, bits), compute


def judge(problem: ExactProblem, computed: np.ndarray, compute: str) -> dict[str, Any]:
    operation = OPERATIONS[problem.operation]
    (output,) = operation.outputs
    precision = Precision.of(problem.dtype, compute)
    reference = operation.reference(problem)
    assert reference.undecided == 0
    return score(operation, problem, reference, {output: computed}, precision)[output]


def assert_right(problem: ExactProblem, name: str, backend: str) -> None:
    row = judge(problem, *run(problem, name, backend))
    assert row["outcome"] == "ok", (name, backend, problem)
    assert row["bound_ratio"] <= 1, (name, backend, problem)


ROWS: dict[str, Any] = {
    "small": [1, 2, 3],
    "large": [1000, 2000, 3000],
    "guide": [2, 1, 0.1],
    "negative": [-2000, -2001],
    "gap": [0, -40],
    "one": [7],
    "some -inf": [[-INF, 1, 2], [-INF, 5, -INF]],
    "all -inf": [-INF, -INF],
    "+inf": [[INF, 1, 2], [INF, INF, -INF]],
    "nan": [math.nan, 1, INF],
    "equal": np.zeros(3000),
    "rising": np.linspace(0, 60, 1000),
    "falling": np.linspace(5, -5, 600),
    "-inf tile first": np.concatenate([np.full(TILE, -INF), np.linspace(-2000, -1990, TILE + 5)]),
    "edge of a tile": np.linspace(-3, 3, TILE + 1),
    "empty batch": np.zeros((0, 3)),
}


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("operation", FAMILY)
def test_stable_formulations_keep_to_the_bound(operation: str, dtype: str, backend: str) -> None:
    for x in ROWS.values():
        for name in STABLE:
            problem = make_problem(operation, dtype, x)
            if problem.inputs["x"].size == 0:
                assert run(problem, name, backend)[0].shape == (0, 3)[: 1 if operation == "logsumexp" else 2]
            else:
                assert_right(problem, name, backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_a_maximum_without_a_guard_is_right_while_it_is_finite(backend: str) -> None:
    for x in ([1000, 2000, 3000], [-INF, 5], [-2000, -2001]):
        assert_right(make_problem("logsumexp", "float32", x), "unguarded", backend)
    for x in ([-INF, -INF], [INF, 1]):
        problem = make_problem("logsumexp", "float32", x)
        assert judge(problem, *run(problem, "unguarded", backend))["outcome"] == "not_a_number"


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("operation", FAMILY)
def test_every_axis(operation: str, backend: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, TILE + 2, 2)) * 4
    for axis in (0, 1, 2, -1, -2):
        problem = make_problem(operation, "float32", x, axis)
        for name in ("naive", *STABLE):
            assert_right(problem, name, backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_naive_breaks_at_its_own_limit(dtype: str, backend: str) -> None:
    """exp overflows past ln Ω; before it, naive is as good as any."""
    storage = DTYPES[dtype].storage
    below, above = (float(unit_value(storage, "ln_max", "times", Decimal(t))) for t in ("0.9", "1.01"))
    for operation, outcome in (
        ("softmax", "not_a_number"),
        ("log_softmax", "not_a_number"),
        ("logsumexp", "overflow"),
    ):
        assert_right(make_problem(operation, dtype, [0.5, below, below / 2]), "naive", backend)
        broken = make_problem(operation, dtype, [0.5, above, below / 2])
        assert judge(broken, *run(broken, "naive", backend))["outcome"] == outcome
        for name in STABLE:
            assert_right(broken, name, backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize(
    ("dtype", "gap"), [("float64", 746), ("float32", 105), ("bfloat16", 94), ("float16", 18)]
)
def test_naive_log_softmax_breaks_past_the_smallest_number(dtype: str, gap: int, backend: str) -> None:
    """Past −ln ω (half of ω rounds to 0: 745.13, 103.97, 93.5, 17.3) the share is 0, its logarithm −inf."""
    broken = make_problem("log_softmax", dtype, [0, -gap])
    assert judge(broken, *run(broken, "naive", backend))["outcome"] == "overflow"
    for name in STABLE:
        assert_right(broken, name, backend)
    logsumexp = make_problem("logsumexp", dtype, [-gap, -gap])
    assert judge(logsumexp, *run(logsumexp, "naive", backend))["outcome"] == "overflow"
    for name in STABLE:
        assert_right(logsumexp, name, backend)


def shifted_by_numpy(operation: str, x: np.ndarray) -> np.ndarray:
    """The textbook computation, in the dtype of `x`, without the harness."""
    with np.errstate(all="ignore"):
        d = x - x.max()
        e = np.exp(d)
        return {
            "softmax": lambda: e / e.sum(),
            "log_softmax": lambda: d - np.log(e.sum()),
            "logsumexp": lambda: x.max() + np.log(e.sum()),
        }[operation]()


SPREADS = st.sampled_from([1e-3, 1.0, 30.0, 300.0, 2000.0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("operation", FAMILY)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), spread=SPREADS, offset=st.sampled_from([0.0, 1.0, -50.0, 1000.0]))
def test_a_correct_computation_never_exceeds_the_bound(
    operation: str, dtype: str, data: st.DataObject, spread: float, offset: float
) -> None:
    shape = data.draw(st.integers(1, 70))
    x = data.draw(arrays(np.float64, shape, elements=st.floats(-1, 1))) * spread + offset
    problem = make_problem(operation, dtype, x)
    computed = np.asarray(shifted_by_numpy(operation, problem.inputs["x"].astype(dtype)), np.float64)
    row = judge(problem, computed, dtype)
    assert row["outcome"] == "ok"
    assert row["bound_ratio"] <= 1


@pytest.mark.parametrize("operation", FAMILY)
def test_planted_wrong_answers_exceed_the_bound(operation: str) -> None:
    x = np.random.default_rng(0).uniform(-4, 4, (4, 16))
    problem = make_problem(operation, "float32", x)
    right, compute = run(problem, "shifted", "numpy")
    assert judge(problem, right, compute)["bound_ratio"] <= 1
    last = np.zeros_like(right)
    last[(-1,) * right.ndim] = 1e-4
    wrong = {
        "zeros": np.zeros_like(right),
        "rolled": np.roll(right, 1, axis=0),
        "one element": right + last,
        "rounded to bfloat16": round_array(DTYPES["bfloat16"].storage, right),
        "another axis": None if right.ndim == 1 else shifted_by_axis(operation, problem.inputs["x"], 0),
    }
    for what, computed in wrong.items():
        if computed is not None:
            row = judge(problem, round_array(DTYPES["float32"].storage, computed), compute)
            assert row["bound_ratio"] > 1, what


def shifted_by_axis(operation: str, x: np.ndarray, axis: int) -> np.ndarray:
    return np.apply_along_axis(lambda row: shifted_by_numpy(operation, row), axis, x)


@pytest.mark.parametrize("operation", FAMILY)
def test_the_bound_tells_a_wide_accumulator_from_a_narrow_one(operation: str) -> None:
    """n = 1000 terms of 1 sum to 256 in bfloat16: fine for that accumulator, wrong for float32's."""
    problem = make_problem(operation, "bfloat16", np.zeros(1000))
    narrow = {"softmax": 1 / 256, "log_softmax": -math.log(256), "logsumexp": math.log(256)}[operation]
    shape = () if operation == "logsumexp" else (1000,)
    computed = np.full(shape, round_array(DTYPES["bfloat16"].storage, np.array(narrow)))
    assert judge(problem, computed, "bfloat16")["bound_ratio"] <= 1
    assert judge(problem, computed, "float32")["bound_ratio"] > 1


def test_underflow_terms_are_in_the_bound() -> None:
    # float16: 60,000 entries of e^−17 = 4.1e-8 become ω = 6.0e-8 each, and their sum 1.0025 becomes 1.0036
    x = np.concatenate([[0.0], np.full(60_000, -17.0)])
    for operation in FAMILY:
        problem = make_problem(operation, "float16", x)
        with np.errstate(all="ignore"):
            half = problem.inputs["x"].astype(np.float16)
            e = np.exp(half)
            total = np.float16(e.astype(np.float32).sum())
            computed = {"softmax": e / total, "log_softmax": half - np.log(total), "logsumexp": np.log(total)}
        assert e[1] == 2.0**-24
        row = judge(problem, np.asarray(computed[operation], np.float64), "float32")
        assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True)


@pytest.mark.parametrize("operation", FAMILY)
def test_bounds_of_two_equal_entries(operation: str) -> None:
    # x = (3, 3): g = 0, G = 0, s = 2, n = 2; u = u_acc = 2⁻²⁴, ω = 2⁻¹⁴⁹
    problem = make_problem(operation, "float32", [3.0, 3.0])
    op = OPERATIONS[operation]
    assert op.bound is not None
    bound = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))
    u = 2.0**-24
    wanted = {
        "softmax": 0.5 * math.expm1(16 * u),
        "log_softmax": u * (2 * math.log(2) + 8 * math.log(2) + 8 + 1),
        "logsumexp": u * (9 * (3 + math.log(2)) + 8 + 1),
    }[operation]
    np.testing.assert_allclose(np.exp2(bound[op.outputs[0]]), wanted, rtol=1e-12)


@pytest.mark.parametrize("operation", FAMILY)
def test_bounds_of_unequal_entries(operation: str) -> None:
    """x = (0, −3, −∞, 2) in float16, sums in float32: u = 2⁻¹¹, u_acc = 2⁻²⁴ = ω, three terms."""
    problem = make_problem(operation, "float16", [0.0, -3.0, -INF, 2.0])
    op = OPERATIONS[operation]
    assert op.bound is not None
    bound = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))
    u, least = 2.0**-11, 2.0**-24
    g = np.array([2.0, 5.0, 0.0])
    s = 1 + math.exp(-2) + math.exp(-5)
    mean = (2 * math.exp(-2) + 5 * math.exp(-5)) / s
    of_sum = u * (8 + mean) + 2 * 2.0**-24 - math.log1p(-3 * least / 2)
    wanted = {
        "softmax": np.exp(-g) / s * np.expm1(u * (7 + g) + of_sum) + least,
        "log_softmax": u * (2 * (g + math.log(s)) + 8 * math.log(s)) + of_sum + least,
        "logsumexp": u * 9 * (2 + math.log(s)) + of_sum + least,
    }[operation]
    found = np.exp2(bound[op.outputs[0]])
    np.testing.assert_allclose(found[[0, 1, 3]] if found.ndim else found, wanted, rtol=1e-12)


def test_the_logarithm_counts_where_the_maximum_cancels_it() -> None:
    """x = fl(−ln 2) twice: y is below 2⁻²⁵, and the error that of ln 2: u·(9·ln 2 + 8 + 1)."""
    problem = make_problem("logsumexp", "float32", [-math.log(2), -math.log(2)])
    op = OPERATIONS["logsumexp"]
    assert op.bound is not None
    bound = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))
    assert float(np.exp2(bound["y"])) == pytest.approx((9 * math.log(2) + 9) * 2.0**-24, rel=1e-12)


def test_a_single_entry_has_no_sum_whose_error_counts() -> None:
    """log-sum-exp of (5, −∞) is 5: 9u·5 and ω are left of the bound."""
    problem = make_problem("logsumexp", "float32", [5.0, -INF])
    op = OPERATIONS["logsumexp"]
    assert op.bound is not None
    bound = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))
    assert float(np.exp2(bound["y"])) == pytest.approx(45 * 2.0**-24, rel=1e-12)


def test_no_error_is_allowed_to_what_structure_decides() -> None:
    for operation, x in (("softmax", [-INF, 0.0, 1.0]), ("log_softmax", [-INF, 2.0])):
        problem = make_problem(operation, "float32", x)
        op = OPERATIONS[operation]
        assert op.bound is not None
        bound = op.bound(problem, op.reference(problem), Precision.of(problem.dtype, "float32"))
        assert np.broadcast_to(bound[op.outputs[0]], (len(x),))[0] == -INF


def test_row_quantities_by_hand() -> None:
    # weights e^0 and e^−ln 3 = 1/3: s = 4/3, G = ln 3 / 4
    q = row_quantities(np.array([[math.log(3), 0.0, -INF], [-INF, -INF, -INF]]), 1)
    np.testing.assert_allclose(q["mean_gap"], [[math.log(3) / 4], [0.0]], rtol=1e-15)
    np.testing.assert_allclose(q["log_sum"], [[math.log(4 / 3)], [0.0]], rtol=1e-14)
    assert q["terms"].tolist() == [[2.0], [0.0]]
    assert gaps(np.array([1.0, -INF, 3.0]), 0).tolist() == [2.0, INF, 0.0]


def test_condition_numbers_by_hand() -> None:
    # x = (0, ln 3): p = (1/4, 3/4). κ(p₁) = ¾ ln 3, κ(p₂) = ¼ ln 3, κ(lse) = ¾ ln 3 / ln 4,
    # κ(log p₁) = ¾ ln 3 / ln 4, κ(log p₂) = ¼ ln 3 / ln(4/3)
    x = [0.0, math.log(3)]
    wanted = {
        "softmax": 0.75 * math.log(3),
        "log_softmax": 0.25 * math.log(3) / math.log(4 / 3),
        "logsumexp": 0.75 * math.log(3) / math.log(4),
    }
    for operation, condition in wanted.items():
        problem = make_problem(operation, "float64", x)
        found = OPERATIONS[operation].reference(problem).quantities["condition"]
        assert found == pytest.approx(condition, rel=1e-14)
        undefined = make_problem(operation, "float64", [math.nan, 1.0])
        assert "condition" not in OPERATIONS[operation].reference(undefined).quantities


@pytest.mark.parametrize("x", [[40.0, 3.0], [3.0, 40.0], [40.0, 0.0], [700.0, 1.0]])
def test_the_condition_of_a_logarithm_near_zero(x: list[float]) -> None:
    """log p of the larger is −q + q²/2 …, q = e^−gap: κ = (|x₁|·q + |x₂|·q)/q, the sum of both sizes."""
    found = OPERATIONS["log_softmax"].reference(make_problem("log_softmax", "float64", x))
    assert found.quantities["condition"] == pytest.approx(sum(x), rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "axis", "told"),
    [
        ((), -1, "x is a scalar"),
        ((3,), 1, "allowed: -1 to 0"),
        ((3, 0), -1, "nothing along axis -1"),
        ((3,), "last", "allowed: an integer"),
        ((3,), True, "allowed: an integer"),
        ((3,), Decimal("0.5"), "allowed: an integer"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape: tuple[int, ...], axis: Written, told: str) -> None:
    with pytest.raises(InputError, match=told):
        axis_of(shape, {"axis": axis})
    for operation in FAMILY:
        with pytest.raises(InputError, match=told):
            OPERATIONS[operation].reference(make_problem(operation, "float32", np.zeros(shape), axis))


def test_cost_counts_operations_and_traffic() -> None:
    shapes = {"x": (2, 5, 3)}  # axis 1: six rows of five
    costs = {name: OPERATIONS[name].cost for name in FAMILY}
    found = {n: c(shapes, {"axis": 1}, 4) for n, c in costs.items() if c is not None}
    assert {n: c.flops for n, c in found.items()} == {
        "softmax": 6 * (4 + 5 + 5 + 4 + 5),
        "log_softmax": 6 * (4 + 5 + 5 + 4 + 1 + 5),
        "logsumexp": 6 * (4 + 5 + 5 + 4 + 1 + 1),
    }
    assert {n: c.bytes for n, c in found.items()} == {
        "softmax": 2 * 30 * 4,
        "log_softmax": 2 * 30 * 4,
        "logsumexp": (30 + 6) * 4,
    }


def test_importing_operations_imports_no_array_library() -> None:
    code = (
        "import sys\n"
        "from harness.operations import log_softmax, logsumexp, softmax\n"
        "print(sorted({'numpy', 'flint', 'torch', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
