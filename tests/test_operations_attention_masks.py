"""Attention under masks: what each does to hidden keys, and to a query that sees none."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import InputError
from harness.registry import OPERATIONS
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

EVERY = ("additive_1e9", "additive_min", "minus_infinity", "guarded")
PADDED = np.tri(7, 7)
EMPTY = np.where(np.arange(7)[:, None] == 3, 0.0, PADDED)
"""Query 3 sees no key."""


def formulations(backend: str) -> tuple[str, ...]:
    return (*EVERY, "library") if backend == "torch-cpu" else EVERY


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_reference_is_what_mpmath_gives_and_0_without_keys(dtype: str) -> None:
    problem = make("masked_attention", dtype, 7, d=3, keep=EMPTY)
    exact = OPERATIONS["masked_attention"].reference(problem).outputs["y"]
    expected = np.array([[float(x) for x in row] for row in attention_by_mpmath(problem)])
    scale = np.abs(problem.inputs["v"]).max()
    assert np.abs(exact.to_float64() - expected).max() <= 2.0**-52 * scale
    assert np.array_equal(exact.to_float64()[3], np.zeros(3))


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_every_mask_hides_keys_from_a_query_that_sees_another(dtype: str, backend: str) -> None:
    for name in formulations(backend):
        assert_right(make("masked_attention", dtype, 7, keep=PADDED), name, backend)
        assert_right(make("masked_attention", dtype, 7, lead=(2, 3), keep=PADDED), name, backend)
        assert_right(make("masked_attention", dtype, 7, keep=PADDED[4:5]), name, backend)  # the same for all


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_a_query_without_keys(dtype: str, backend: str) -> None:
    """0 if guarded, NaN from −∞, which −1e9 is in float16, and otherwise finite and not 0."""
    problem = make("masked_attention", dtype, 7, keep=EMPTY)
    for name in formulations(backend):
        outputs, compute = run(problem, name, backend)
        row = judge(problem, outputs, compute)["y"]
        if name in ("guarded", "library"):
            assert (row["outcome"], outputs[0][3].tolist()) == ("ok", [0.0] * 8), name
            assert row["bound_ratio"] <= 1
        elif name == "minus_infinity" or (name == "additive_1e9" and dtype == "float16"):
            assert row["outcome"] == "not_a_number", name
        else:
            assert row["outcome"] == "ok", name
            assert row["bound_ratio"] == np.inf, name


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_what_large_negative_numbers_leave(backend: str) -> None:
    """In float64 s − 1e9 keeps s to 6e-8: no mask at all. In float32 its ulp is 64: the mean of values."""
    for dtype in ("float64", "float32"):
        problem = make("masked_attention", dtype, 7, keep=EMPTY)
        plain = problem_of("attention", dtype, {name: problem.inputs[name] for name in "qkv"})
        (masked,), _ = run(problem, "additive_1e9", backend)
        (unmasked,), _ = run(plain, "scaled", backend)
        expected = unmasked[3] if dtype == "float64" else problem.inputs["v"].mean(axis=0)
        assert np.abs(masked[3] - expected).max() < 1e-6  # seven weights to 6e-8, of values below 2


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("score", [-8.0, -15.99, -16.0, -40.0])
def test_the_least_float16_and_a_score_overflow_from_half_an_ulp_on(score: float, backend: str) -> None:
    """ulp(65504) is 32; −65504 − 16 is a tie, and rounds to the even −65536, which is −∞."""
    inputs = {"q": [[score]], "k": np.ones((4, 1)), "v": np.eye(4) + 1}
    for keep, expected in (([1, 0, 0, 0], "ok"), ([0, 0, 0, 0], "ok" if score > -16 else "not_a_number")):
        problem = problem_of("masked_attention", "float16", {**inputs, "keep": [keep]}, scale=1)
        row = judge(problem, *run(problem, "additive_min", backend))["y"]
        assert row["outcome"] == expected
        if expected == "ok":
            assert (row["bound_ratio"] <= 1) == bool(keep[0])


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_wrong_masks_are_beyond_the_bound(dtype: str) -> None:
    """The right output of another mask: inverted, transposed, none, one key more for one query."""
    problem = make("masked_attention", dtype, 7, keep=PADDED)
    more = PADDED.copy()
    more[2, 5] = 1
    for keep in (1 - PADDED, PADDED.T, np.ones((7, 7)), more):
        other = problem_of("masked_attention", dtype, {**problem.inputs, "keep": keep})
        outputs, compute = run(other, "guarded", "numpy")
        assert worst_ratio(problem, outputs, compute) > 1


def test_masks_of_other_numbers_or_shapes_are_refused() -> None:
    reference = OPERATIONS["masked_attention"].reference
    with pytest.raises(InputError, match="other numbers than 0 and 1"):
        reference(make("masked_attention", "float32", 3, keep=np.full((3, 3), 0.5)))
    with pytest.raises(InputError, match="shape"):
        reference(make("masked_attention", "float32", 3, keep=np.ones((3, 4))))


@pytest.mark.parametrize("shape", [(5, 2), (5, 3), (5, 4), (2, 5), (3, 5), (4, 5), (2,), (4,), (1, 5, 5)])
def test_masks_of_fewer_queries_or_keys_are_refused(shape: tuple[int, ...]) -> None:
    """One or all of them broadcast; so does no axis that the scores lack."""
    problem = make("masked_attention", "float32", 5, keep=np.ones(shape))
    with pytest.raises(InputError, match="broadcasts to theirs"):
        OPERATIONS["masked_attention"].reference(problem)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (5, 1), (1, 1), (5, 4)])
def test_masks_of_one_or_all_queries_and_keys_are_taken(shape: tuple[int, ...]) -> None:
    problem = make("masked_attention", "float32", 5, 4, keep=np.ones(shape))
    plain = make("attention", "float32", 5, 4)
    found, expected = (OPERATIONS[p.operation].reference(p).outputs["y"] for p in (problem, plain))
    assert np.array_equal(found.to_float64(), expected.to_float64())


def test_the_mask_is_counted_in_the_cost() -> None:
    """Attention's 288 flops and 360 bytes of two heads of 2, 3, 4, 5; 12 more additions, 6 elements read."""
    shapes = {"q": (2, 2, 4), "k": (2, 3, 4), "v": (2, 3, 5), "keep": (2, 3)}
    cost = OPERATIONS["masked_attention"].cost
    assert cost is not None
    assert (cost(shapes, {"scale": 1}, 4).flops, cost(shapes, {"scale": 1}, 4).bytes) == (300, 384)
