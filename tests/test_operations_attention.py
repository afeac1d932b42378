"""Attention: the reference against mpmath, formulations within the bound, wrong attention beyond it."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.formats import DTYPES, unit_value
from harness.model import Written
from harness.operations.attention import TILE
from harness.operations.attention_family import causal_mask, exact_scale, scale_scalar
from harness.registry import BACKENDS, OPERATIONS, ExactProblem, Lack, formulations_of, support
from tests.attention_problems import (
    BACKEND_NAMES,
    DTYPE_NAMES,
    assert_right,
    attention_by_mpmath,
    judge,
    make,
    problem_of,
    run,
    worst_ratio,
)

STABLE = ("naive", "scaled", "prescaled", "online", "library")
PROBLEMS: dict[str, dict[str, Any]] = {
    "square": {},
    "one query": {"m": 1, "n": 40},
    "one key": {"m": 5, "n": 1},
    "values of another width": {"d": 16, "e": 3},
    "batches of heads": {"lead": (2, 3), "m": 7, "n": 5},
    "unscaled": {"scale": 1},
    "a decimal scale": {"scale": Decimal("0.1")},
    "a negative scale": {"scale": Decimal("-0.5")},
    "causal": {"causal": True},
    "causal, fewer queries": {"m": 5, "n": 12, "causal": True},
    "causal, fewer keys": {"m": 12, "n": 5, "causal": True},
    "more keys than a tile": {"m": 6, "n": TILE + 5},
    "causal over tiles": {"m": 2 * TILE + 3, "d": 4, "causal": True},
    "large scores": {"amplitude": 9.0, "d": 32},
}


def available(name: str, backend: str, dtype: str) -> bool:
    return not isinstance(support("attention", name, BACKENDS[backend], dtype), Lack)


@pytest.mark.parametrize("what", ["square", "causal, fewer keys", "unscaled", "a negative scale", "one key"])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_the_reference_is_what_mpmath_gives(what: str, dtype: str) -> None:
    """To 2⁻¹⁰·u·Σp|v|, for which max|v| stands here, and the rounding of the difference to 53 bits."""
    problem = make("attention", dtype, **{**PROBLEMS[what], "d": 3})
    exact = OPERATIONS["attention"].reference(problem).outputs["y"]
    allowed = 2.0**-62 * np.abs(problem.inputs["v"]).max() + 2.0**-105
    for at, value in np.ndenumerate(np.array(attention_by_mpmath(problem), object)):
        with mpmath.workdps(60):
            found = (mpmath.mpf(exact.hi[at]) + mpmath.mpf(exact.lo[at])) * mpmath.mpf(2) ** int(
                exact.exponent[at]
            )
            assert abs(found - value) <= allowed


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_stable_formulations_keep_to_the_bound(dtype: str, backend: str) -> None:
    for what, settings_ in PROBLEMS.items():
        for name in STABLE:
            overflows = name == "naive" and what == "large scores" and dtype == "float16"
            if available(name, backend, dtype) and not overflows:
                assert_right(make("attention", dtype, **settings_), name, backend)


def textbook(problem: ExactProblem) -> np.ndarray:
    """Attention in the dtype throughout, by NumPy alone."""
    native = problem.dtype.storage.name
    q, k, v = (problem.inputs[name].astype(native) for name in "qkv")
    with np.errstate(all="ignore"):
        s = (q @ k.T) * np.array(q.shape[-1] ** -0.5, native)
        e = np.exp(s - s.max(axis=-1, keepdims=True))
        return np.asarray((e / e.sum(axis=-1, keepdims=True)) @ v, np.float64)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.integers(1, 6),
    n=st.integers(1, 70),
    d=st.integers(1, 24),
    amplitude=st.sampled_from([1e-7, 1e-2, 1.0, 10.0, 100.0]),
)
def test_a_correct_computation_never_exceeds_the_bound(
    dtype: str, seed: int, m: int, n: int, d: int, amplitude: float
) -> None:
    problem = make("attention", dtype, m, n, d, seed=seed, amplitude=amplitude)
    row = judge(problem, [textbook(problem)], dtype)["y"]
    assert row["outcome"] == "ok"
    assert row["bound_ratio"] <= 1


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_forgetting_the_scale_is_found_and_is_right_at_1(dtype: str, backend: str) -> None:
    problem = make("attention", dtype, d=16)
    assert worst_ratio(problem, *run(problem, "unscaled", backend)) > 1
    unscaled = make("attention", dtype, d=16, scale=1)
    assert_right(unscaled, "unscaled", backend)
    assert np.array_equal(*(run(unscaled, name, backend)[0][0] for name in ("unscaled", "scaled")))


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_the_product_overflows_before_the_scores_do(dtype: str, backend: str) -> None:
    """c²·d > Ω for `scaled`, c²·√d > Ω for `prescaled`: 1/√d = 0.25 and d^−¼ = 0.5 of √Ω for d = 16."""
    for times, fails in (
        ("0.24", ()),
        ("0.26", ("scaled",)),
        ("0.49", ("scaled",)),
        ("0.51", ("scaled", "prescaled")),
    ):
        c = float(unit_value(DTYPES[dtype].storage, "sqrt_max", "times", Decimal(times)))
        q = np.full((3, 16), c)
        problem = problem_of("attention", dtype, {"q": q, "k": q, "v": np.linspace(1, 2, 48).reshape(3, 16)})
        for name in ("scaled", "prescaled"):
            outcome = judge(problem, *run(problem, name, backend))["y"]["outcome"]
            assert outcome == ("not_a_number" if name in fails else "ok"), (times, name)
        if dtype == "float16":
            assert_right(problem, "online", backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_naive_breaks_past_ln_max_and_nothing_else_does(dtype: str, backend: str) -> None:
    top = float(unit_value(DTYPES[dtype].storage, "ln_max", "times", Decimal("1.01")))
    scores = np.array([[0.0], [top], [top / 2]])
    inputs = {"q": [[1.0]], "k": scores, "v": [[1.0], [2.0], [3.0]]}
    problem = problem_of("attention", dtype, inputs)
    assert judge(problem, *run(problem, "naive", backend))["y"]["outcome"] == "not_a_number"
    for name in ("scaled", "prescaled", "online"):
        assert_right(problem, name, backend)


def test_of_huge_scores_outputs_lie_between_the_values() -> None:
    """Where rounding of the scores leaves any weights, values of one size still give that size."""
    inputs = {"q": np.full((2, 4), 1e8), "k": np.full((3, 4), 1e8), "v": np.full((3, 2), 5.0)}
    problem = problem_of("attention", "float32", inputs)
    assert judge(problem, [np.full((2, 2), 5.0)], "float32")["y"]["bound_ratio"] == 0
    assert judge(problem, [np.full((2, 2), 5.001)], "float32")["y"]["bound_ratio"] > 1
    assert judge(problem, [np.zeros((2, 2))], "float32")["y"]["outcome"] == "zeroed"


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_infinite_values_and_scores(backend: str) -> None:
    """A value of inf has a weight above 0; a score of −inf hides its key, and one of +inf leaves NaN."""
    inputs = {"q": [[1.0, 2.0]], "k": [[1.0, 0.0], [0.5, 1.0]], "v": [[math.inf, 1.0], [2.0, 3.0]]}
    infinite = problem_of("attention", "float32", inputs)
    hidden = problem_of(
        "attention", "float32", {**inputs, "k": [[-math.inf, 1.0], [0.5, 1.0]], "v": np.eye(2)}
    )
    undefined = problem_of("attention", "float32", {**inputs, "k": [[math.inf, 1.0], [0.5, 1.0]]})
    for name in ("scaled", "prescaled", "online"):
        for problem, expected in (
            (infinite, [math.inf, None]),
            (hidden, [0.0, 1.0]),
            (undefined, [math.nan] * 2),
        ):
            (y,), compute = run(problem, name, backend)
            assert judge(problem, [y], compute)["y"]["outcome"] == "ok", (name, expected)
            for found, value in zip(y[0], expected, strict=True):
                assert value is None or np.array_equal(found, value, equal_nan=True)


# ---- planted ---------------------------------------------------------------------------------------


def wrong_online(
    problem: ExactProblem, *, rescale: bool = True, follow: bool = True, last: bool = True
) -> np.ndarray:
    """Tiled attention, exponentials in float32 or wider, with its steps left out as told."""
    held = np.float64 if problem.dtype.name == "float64" else np.float32
    q, k, v = (problem.inputs[name] for name in "qkv")
    c = q.shape[-1] ** -0.5
    tiles = range(0, len(k), TILE)
    top = total = y = None
    with np.errstate(all="ignore"):
        for start in tiles if last else tiles[:-1]:
            s = c * q @ k[start : start + TILE].T
            shift = s.max(axis=1, keepdims=True)
            if top is not None:
                shift = np.maximum(top, shift) if follow else top
            e = np.exp((s - shift).astype(held)).astype(np.float64)
            part, product = e.sum(axis=1, keepdims=True), e @ v[start : start + TILE]
            kept = np.exp(top - shift) if rescale and top is not None else 1.0
            total, y = (part, product) if top is None else (total * kept + part, y * kept + product)
            top = shift
        return np.asarray(y / total)


def wrong(problem: ExactProblem, sees: np.ndarray | None = None, scale: float | None = None) -> np.ndarray:
    """Attention of float64, with another mask or scale."""
    q, k, v = (problem.inputs[name] for name in "qkv")
    s = (q.shape[-1] ** -0.5 if scale is None else scale) * q @ k.T
    s = s if sees is None else np.where(sees, s, -np.inf)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return np.asarray((e / e.sum(axis=-1, keepdims=True)) @ v)


N = 2 * TILE + 40
PLANTED: dict[str, tuple[dict[str, Any], Callable[[ExactProblem], np.ndarray]]] = {
    "no scale": ({"m": 9, "d": 16}, lambda p: wrong(p, scale=1.0)),
    "1/d for 1/√d": ({"m": 9, "d": 16}, lambda p: wrong(p, scale=1 / 16)),
    "mask off by one, later": ({"m": 9, "causal": True}, lambda p: wrong(p, np.tri(9, 9, 1, dtype=bool))),
    "mask off by one, earlier": (
        {"m": 9, "causal": True},
        lambda p: wrong(p, np.tri(9, 9, -1, dtype=bool) | (np.arange(9) == 0)),
    ),
    "mask transposed": ({"m": 9, "causal": True}, lambda p: wrong(p, np.tri(9, 9, dtype=bool).T)),
    "mask forgotten": ({"m": 9, "causal": True}, wrong),
    "bottom-right mask": (
        {"m": 5, "n": 9, "causal": True},
        lambda p: wrong(p, np.tri(5, 9, 4, dtype=bool)),
    ),
    "a tile dropped": ({"m": 4, "n": N}, lambda p: wrong_online(p, last=False)),
    "no rescaling": ({"m": 4, "n": N}, lambda p: wrong_online(p, rescale=False)),
    "the maximum not updated": (
        {"m": 4, "n": N, "amplitude": 4000.0},
        lambda p: wrong_online(p, follow=False),
    ),
    "values of the next key": ({"m": 9}, lambda p: np.roll(wrong(p), 1, axis=0)),
    "zeros": ({"m": 9}, lambda p: np.zeros((9, 8))),
}


FEW_KEYS = ("a tile dropped", "no rescaling")
"""A seventh of the keys goes, or counts more: less than scores of eight bits may move the weights."""


@pytest.mark.parametrize(
    ("what", "dtype"),
    [(w, t) for w in PLANTED for t in DTYPE_NAMES if t != "bfloat16" or w not in FEW_KEYS],
)
def test_wrong_attention_is_beyond_the_bound(what: str, dtype: str) -> None:
    given_, compute = PLANTED[what]
    problem = make("attention", dtype, **given_)
    accumulated = "float64" if dtype == "float64" else "float32"
    assert worst_ratio(problem, [compute(problem)], accumulated) > 1


def test_the_tiled_attention_that_is_planted_is_right_with_all_its_steps() -> None:
    problem = make("attention", "float32", 4, N)
    assert worst_ratio(problem, [wrong_online(problem)], "float32") <= 1


def test_two_heads_exchanged_are_found() -> None:
    problem = make("attention", "bfloat16", 6, d=8, lead=(2, 2))
    (right,), compute = run(problem, "scaled", "numpy")
    assert worst_ratio(problem, [right], compute) <= 1
    assert worst_ratio(problem, [right[:, ::-1]], compute) > 1


# ---- parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (3, 9), (9, 3), (64, 64)])
def test_the_causal_mask_is_lower_triangular(shape: tuple[int, int], backend: str) -> None:
    xp = BACKENDS[backend].namespace(DTYPES["float16"], checked=True)
    assert np.array_equal(np.asarray(causal_mask(xp, *shape)), np.tri(*shape, dtype=bool))


def test_the_scale_is_rounded_once() -> None:
    xp = BACKENDS["numpy"].namespace(DTYPES["float64"], checked=True)
    for d in (2, 3, 64, 96, 127):
        with mpmath.workdps(50):
            assert float(scale_scalar(xp, "inverse_sqrt", d)) == float(1 / mpmath.sqrt(d))
    assert float(scale_scalar(xp, Decimal("0.1"), 64)) == 0.1
    assert exact_scale({"scale": "inverse_sqrt"}) is None


@pytest.mark.parametrize(
    "shapes",
    [
        {"q": (3, 4), "k": (3, 5), "v": (3, 4)},
        {"q": (3, 4), "k": (6, 4), "v": (5, 4)},
        {"q": (2, 3, 4), "k": (3, 4), "v": (3, 4)},
        {"q": (4,), "k": (4,), "v": (4,)},
        {"q": (3, 4), "k": (0, 4), "v": (0, 4)},
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    problem = ExactProblem(
        "attention",
        {name: np.ones(shape) for name, shape in shapes.items()},
        {"scale": 1, "causal": False},
        DTYPES["float32"],
    )
    with pytest.raises(InputError, match="shapes"):
        OPERATIONS["attention"].reference(problem)


def test_cost_of_two_heads_by_hand() -> None:
    """m, n, d, e = 2, 3, 4, 5: 2·6·9 flops of products and 36 more; 8 + 12 + 15 + 10 elements."""
    shapes = {"q": (2, 2, 4), "k": (2, 3, 4), "v": (2, 3, 5)}
    parameters: dict[str, Written] = {"scale": 1, "causal": False}
    cost = OPERATIONS["attention"].cost
    assert cost is not None
    assert (cost(shapes, parameters, 4).flops, cost(shapes, parameters, 4).bytes) == (288, 360)


def test_every_formulation_is_there_on_both_backends() -> None:
    assert set(formulations_of("attention")) == {"unscaled", *STABLE}
    for backend in BACKEND_NAMES:
        for dtype in DTYPE_NAMES:
            for name in ("unscaled", *STABLE):
                lacking = name == "library" and backend == "numpy"
                assert available(name, backend, dtype) != lacking


def test_a_wider_softmax_accumulates_in_float32() -> None:
    for name in ("scaled", "prescaled", "online"):
        assert support("attention", name, BACKENDS["numpy"], "bfloat16") == "float32"
    assert support("attention", "naive", BACKENDS["numpy"], "bfloat16") == "bfloat16"
    assert math.isclose(float(DTYPES["float32"].storage.unit_roundoff), 2.0**-24)
