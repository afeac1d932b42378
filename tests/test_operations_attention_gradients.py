"""Gradients of attention: the reference against differences by mpmath, formulations, planted mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.operations.attention import TILE
from harness.registry import BACKENDS, COTANGENT, OPERATIONS, ExactProblem, Lack, support
from tests.attention_problems import (
    BACKEND_NAMES,
    DTYPE_NAMES,
    assert_right,
    gradient_by_mpmath,
    judge,
    make,
    run,
    worst_ratio,
)

ALL = ("q", "k", "v")
EMPTY = np.where(np.arange(6)[:, None] == 2, 0.0, np.tri(6, 6))
"""Query 2 sees no key."""
PROBLEMS: dict[str, dict[str, Any]] = {
    "square": {},
    "one query": {"m": 1, "n": 9},
    "one key": {"m": 5, "n": 1},
    "values of another width": {"d": 16, "e": 3},
    "batches of heads": {"lead": (2, 2), "m": 7, "n": 5},
    "a scale of 1": {"scale": 1},
    "causal": {"causal": True},
    "causal, fewer keys": {"m": 9, "n": 4, "causal": True},
    "more keys than a tile": {"m": 6, "n": TILE + 5},
}


def differentiable(operation: str, name: str, backend: str, dtype: str) -> bool:
    return not isinstance(support(operation, name, BACKENDS[backend], dtype, "backward"), Lack)


@pytest.mark.parametrize(
    ("operation", "more"),
    [("attention", {}), ("attention", {"causal": True}), ("masked_attention", {"keep": EMPTY[:4, :3]})],
)
def test_the_reference_is_what_differences_give(operation: str, more: dict[str, Any]) -> None:
    """Differences are good to 40 digits; elements to 2⁻⁶² of sums of sizes, here of tens."""
    problem = make(operation, "float64", 4, 3, 2, with_respect_to=ALL, **more)
    exact = OPERATIONS[operation].differentiated(ALL).reference(problem)
    for name in ALL:
        expected = np.array([[float(x) for x in row] for row in gradient_by_mpmath(problem, name)])
        found = exact.outputs[f"grad_{name}"].to_float64()
        assert np.abs(found - expected).max() <= 2.0**-52 * np.abs(expected).max() + 2.0**-56


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_stable_gradients_keep_to_the_bound(dtype: str, backend: str) -> None:
    for given_ in PROBLEMS.values():
        problem = make("attention", dtype, **given_, with_respect_to=ALL)
        for name in ("naive", "scaled", "prescaled", "online", "library"):
            if differentiable("attention", name, backend, dtype):
                assert_right(problem, name, backend)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_a_query_without_keys_has_no_gradient_if_guarded(dtype: str, backend: str) -> None:
    problem = make("masked_attention", dtype, 6, keep=EMPTY, with_respect_to=ALL)
    for name in ("guarded", "library"):
        if differentiable("masked_attention", name, backend, dtype):
            assert_right(problem, name, backend)
            assert np.array_equal(run(problem, name, backend)[0][0][2], np.zeros(8))


def test_without_a_guard_nan_reaches_all_values() -> None:
    problem = make("masked_attention", "float32", 6, keep=EMPTY, with_respect_to=ALL)
    rows = judge(problem, *run(problem, "minus_infinity", "torch-cpu"))
    assert [row["outcome"] for row in rows.values()] == ["ok", "ok", "not_a_number"]
    rows = judge(problem, *run(problem, "additive_min", "torch-cpu"))
    assert all(row["bound_ratio"] > 1 for row in rows.values())


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_gradients_are_given_in_the_order_asked_for(backend: str) -> None:
    whole = dict(
        zip(ALL, run(make("attention", "float32", with_respect_to=ALL), "scaled", backend)[0], strict=True)
    )
    for asked in (("v",), ("k", "q"), ("v", "q")):
        outputs, compute = run(make("attention", "float32", with_respect_to=asked), "scaled", backend)
        for name, found in zip(asked, outputs, strict=True):
            assert np.array_equal(found, whole[name])
        assert worst_ratio(make("attention", "float32", with_respect_to=asked), outputs, compute) <= 1


def test_what_numpy_differentiates() -> None:
    assert set(OPERATIONS["attention"].differentiable) == set(ALL)
    for name in ("scaled", "prescaled", "online", "unscaled"):
        assert differentiable("attention", name, "numpy", "float32")  # those without a gradient, on the tape
        assert differentiable("attention", name, "torch-cpu", "float32")
    assert not differentiable("attention", "library", "numpy", "float32")


# ---- by the formulas, with mistakes ----------------------------------------------------------------


def textbook(
    problem: ExactProblem,
    native: Any = np.float64,
    *,
    sign: float = 1.0,
    mean: bool = True,
    scale: float | None = None,
    sees: np.ndarray | None = None,
    swap: bool = False,
    of_values: bool = True,
) -> list[np.ndarray]:
    """Gradients by the formulas, in a native dtype."""
    q, k, v, g = (problem.inputs[name].astype(native) for name in (*ALL, COTANGENT))
    c = native(q.shape[-1] ** -0.5)
    s = c * (q @ k.T)
    shown = np.ones(s.shape, bool) if sees is None else sees
    s = np.where(shown, s, native(-np.inf))
    with np.errstate(all="ignore"):
        e = np.exp(s - s.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        dp = g @ v.T
        ds = p * (dp - sign * (p * dp).sum(axis=-1, keepdims=True) if mean else dp)
        c = c if scale is None else native(scale)
        dq, dk = (ds.T if swap else ds) @ k * c, (ds if swap else ds.T) @ q * c
        dv = (p.T if of_values else p) @ g
    return [np.asarray(x, np.float64) for x in (dq, dk, dv)]


PLANTED: dict[str, Callable[[ExactProblem], list[np.ndarray]]] = {
    "wrong sign in dS": lambda p: textbook(p, sign=-1.0),
    "no mean taken off": lambda p: textbook(p, mean=False),
    "no scale": lambda p: textbook(p, scale=1.0),
    "the scale twice": lambda p: textbook(p, scale=1 / 16),
    "dS transposed": lambda p: textbook(p, swap=True),
    "P transposed in dV": lambda p: textbook(p, of_values=False),
    "all negative": lambda p: [-x for x in textbook(p)],
    "queries and keys exchanged": lambda p: [textbook(p)[i] for i in (1, 0, 2)],
    "a mask that is not there": lambda p: textbook(p, sees=np.tri(9, 9, dtype=bool)),
}


@pytest.mark.parametrize("what", PLANTED)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_wrong_gradients_are_beyond_the_bound(what: str, dtype: str) -> None:
    problem = make("attention", dtype, 9, d=16, with_respect_to=ALL)
    accumulated = "float64" if dtype == "float64" else "float32"
    assert worst_ratio(problem, textbook(problem), accumulated) <= 1
    assert worst_ratio(problem, PLANTED[what](problem), accumulated) > 1


@pytest.mark.parametrize("k", [-1, 1])
def test_a_causal_mask_off_by_one_is_found_in_the_gradients(k: int) -> None:
    problem = make("attention", "float32", 9, d=16, causal=True, with_respect_to=ALL)
    right = textbook(problem, sees=np.tri(9, 9, dtype=bool))
    assert worst_ratio(problem, right, "float32") <= 1
    shifted = np.tri(9, 9, k, dtype=bool) | (np.arange(9) == 0)
    assert worst_ratio(problem, textbook(problem, sees=shifted), "float32") > 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.integers(1, 6),
    n=st.integers(1, 40),
    d=st.integers(1, 16),
    amplitude=st.sampled_from([1e-6, 1.0, 10.0, 60.0]),
)
def test_a_correct_gradient_never_exceeds_the_bound(
    dtype: str, seed: int, m: int, n: int, d: int, amplitude: float
) -> None:
    problem = make("attention", dtype, m, n, d, seed=seed, amplitude=amplitude, with_respect_to=ALL)
    assert worst_ratio(problem, textbook(problem, np.dtype(dtype).type), dtype) <= 1


def test_cost_of_value_and_gradient_by_hand() -> None:
    """m, n, d, e = 2, 3, 4, 5: six products of 2·6·9/2 a pair: 6·6·9 + 11·6 flops; 2·35 + 10 elements."""
    shapes = {"q": (2, 4), "k": (3, 4), "v": (3, 5), COTANGENT: (2, 5)}
    cost = OPERATIONS["attention"].differentiated(ALL).cost
    assert cost is not None
    found = cost(shapes, {"scale": 1, "causal": False}, 4)
    assert (found.flops, found.bytes) == (390, 320)
