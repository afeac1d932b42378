"""Certified attention against mpmath at far higher precision, closed forms and rules."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.formats import FORMATS, NumberFormat, round_array
from harness.reference import attention_weights
from harness.reference.attention_weights import Heads, Weights
from harness.reference.elements import FINITE, NAN, POS_INF, ZERO, ReferenceArray
from harness.reference.exact_attention import exact_attention
from harness.reference.pair_arrays import Pairs
from tests.attention_by_definition import (
    BITS,
    SCALES,
    assert_encloses,
    kept,
    normal,
    sees,
    shares_by_mpmath,
)

INF = math.inf
FLOAT64 = FORMATS["float64"]


def attention(q: Any, k: Any, v: Any, fmt: NumberFormat = FLOAT64, **options: Any) -> ReferenceArray:
    given_options = {"scale": None, "causal": False, "keep": None} | options
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    return exact_attention(q, k, v, fmt=fmt, **given_options)


def check(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    fmt: NumberFormat,
    *,
    scale: Fraction | None = None,
    causal: bool = False,
    keep: np.ndarray | None = None,
) -> ReferenceArray:
    """Compare values of single matrices with their definitions."""
    found = attention(q, k, v, fmt, scale=scale, causal=causal, keep=keep)
    visible = sees((len(q), len(k)), causal, keep)
    with mpmath.workprec(BITS):
        p = shares_by_mpmath(q, k, visible, scale)
        columns = [[mpmath.mpf(x) for x in column] for column in v.T.tolist()]
        exact = [[mpmath.fdot(row, column) for column in columns] for row in p]
        sizes = [[mpmath.fdot(row, map(abs, column)) for column in columns] for row in p]
        assert_encloses(found, exact, sizes, fmt)
    return found


@pytest.mark.parametrize("fmt", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_every_mask_and_scale(fmt: str, scale: Fraction | None, causal: bool, masked: bool) -> None:
    q, k, v = (
        normal(seed, rows, columns, fmt=fmt) for seed, rows, columns in ((1, 5, 3), (2, 6, 3), (3, 6, 2))
    )
    check(q, k, v, FORMATS[fmt], scale=scale, causal=causal, keep=kept(4, 5, 6) if masked else None)


@pytest.mark.parametrize("fmt", ["float64", "float32"])
@pytest.mark.parametrize("spread", [1e-3, 3.0, 30.0, 300.0])
def test_scores_of_every_size(fmt: str, spread: float) -> None:
    q, k, v = (normal(seed, 4, 8, fmt=fmt, spread=s) for seed, s in ((1, spread), (2, 1.0), (3, 1.0)))
    check(q, k, v, FORMATS[fmt])


EXTREME: dict[str, tuple[list[Any], list[Any], list[Any]]] = {
    "one dominates": ([[1e4], [-1e4]], [[1.0], [0.5], [-1.0]], [[1.0, 0.1], [2.0, 1e-3], [3.0, 7.0]]),
    "weights of e-5000 on values beside zeros": (
        [[5e3]],
        [[1.0], [0.0], [0.1]],
        [[0.0, 0.0], [1.0, 0.0], [0.3, 1.0]],
    ),
    "ties": ([[1e4], [0.0]], [[1.0], [1.0], [1.0], [-1.0]], [[1.0], [-1.0], [0.1], [5.0]]),
    "cancelling values": ([[0.0], [2.0]], [[0.3], [0.3]], [[1e8], [-1e8]]),
    "cancelling scores": (
        [[1e8, 1e8, 1.0]],
        [[1e8, -1e8, 0.5], [1e8, -1e8, 1.5], [-1e8, 1e8, 0.25]],
        [[1.0], [2.0], [-3.0]],
    ),
    "sums of magnitudes of 1e24": (
        [[1e12, 1e12, 1.0]],
        [[1e12, -1e12, 0.5], [1e12, -1e12, 1.5], [1e12, -1e12, 2.0]],
        [[1.0], [2.0], [-3.0]],
    ),
    "values at the top": ([[1.0]], [[1.0], [1.5]], [[1.5e308], [1.7e308]]),
    "values at the bottom": ([[1.0]], [[1.0], [1.5]], [[5e-324], [1e-323]]),
    "values of every size": ([[1.0]], [[1.0], [1.5], [-2.0]], [[1e-300], [1e300], [1.0]]),
}


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("scale", [None, Fraction(1, 7)], ids=str)
def test_extreme_data(name: str, scale: Fraction | None) -> None:
    q, k, v = (np.array(a) for a in EXTREME[name])
    check(q, k, v, FLOAT64, scale=scale)


def test_single_keys_and_no_keys_are_exact() -> None:
    q, k, v = normal(1, 4, 3), normal(2, 4, 3), normal(3, 4, 2)
    keep = np.array([[1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]], np.float64)
    found = attention(q, k, v, keep=keep)
    assert (found.radius_log2[1:3] == -INF).all()
    np.testing.assert_array_equal(found.to_float64()[1], v[2])
    assert (found.kind[2] == ZERO).all()
    assert (found.kind[3] == FINITE).all()
    first = attention(q, k, v, causal=True)
    np.testing.assert_array_equal(first.to_float64()[0], v[0])
    alone = attention(q, k[:1], v[:1])
    assert (alone.difference(np.repeat(v[:1], 4, axis=0))[0] == 0).all()


def test_values_of_zero_give_zero_exactly() -> None:
    v = normal(3, 4, 2)
    v[:3, 1] = 0
    keep = np.array([1, 1, 1, 0], np.float64)
    found = attention(normal(1, 5, 3), normal(2, 4, 3), v, keep=keep)
    assert found.kind.tolist() == [[FINITE, ZERO]] * 5


def test_the_mask_broadcasts() -> None:
    q, k, v = normal(1, 2, 3, 4, 3), normal(2, 2, 3, 5, 3), normal(3, 2, 3, 5, 2)
    keys = np.array([1, 0, 1, 1, 0], np.float64)
    heads = np.stack([np.tile(np.roll(keys, h), (4, 1)) for h in range(3)])
    for keep in (keys, heads, np.broadcast_to(heads, (2, 3, 4, 5))):
        found = attention(q, k, v, keep=keep)
        assert found.shape == (2, 3, 4, 2)
        for b, h in itertools.product(range(2), range(3)):
            one = np.broadcast_to(keep, (2, 3, 4, 5))[b, h]
            single = attention(q[b, h], k[b, h], v[b, h], keep=one)
            np.testing.assert_array_equal(found[b, h].to_float64(), single.to_float64())


@pytest.mark.parametrize("panel", [1, 7, 40])
def test_panels_join_up(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = normal(1, 2, 9, 3), normal(2, 2, 7, 3), normal(3, 2, 7, 2)
    options = {"causal": True, "keep": kept(4, 9, 7)}
    whole = attention(q, k, v, **options)
    monkeypatch.setattr(attention_weights, "_PANEL", panel)
    monkeypatch.setattr(attention_weights, "_BALLS", panel)
    parts = attention(q, k, v, **options)
    np.testing.assert_array_equal(parts.to_float64(), whole.to_float64())
    np.testing.assert_array_equal(parts.kind, whole.kind)


@pytest.mark.parametrize("panel", [3, 6, 100])
def test_rows_in_balls_in_a_later_panel_of_queries(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four queries and three keys, in panels of one query, two, or all, and with more than one matrix.

    A row's place in its panel is not its own, nor that of its matrix: every row is taken in balls here.
    """
    rows: list[tuple[int, int]] = []

    def noted(heads: Heads, matrix: int, queries: np.ndarray, visible: np.ndarray) -> Any:
        rows.extend((matrix, row) for row in queries.tolist())
        return BALLS(heads, matrix, queries, visible)

    q, k, v = normal(1, 2, 4, 3), normal(2, 2, 3, 3), normal(3, 2, 3, 2)
    monkeypatch.setattr(attention_weights, "_PANEL", panel)
    monkeypatch.setattr(attention_weights, "_UNSURE", 0.0)
    monkeypatch.setattr(Heads, "ball_weights", noted)
    alone = [check(*matrices, FLOAT64) for matrices in zip(q, k, v, strict=True)]
    rows.clear()
    both = attention(q, k, v)
    assert set(rows) == set(itertools.product(range(2), range(4)))
    for matrix, wanted in enumerate(alone):
        found = both[matrix].to_float64()
        np.testing.assert_array_equal(found, wanted.to_float64())


def test_rows_in_balls_agree_with_rows_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = normal(1, 9, 3), normal(2, 7, 3), normal(3, 7, 2)
    options = {"causal": True, "keep": kept(4, 9, 7)}
    pairs = attention(q, k, v, **options)
    monkeypatch.setattr(attention_weights, "_UNSURE", 0.0)  # every row with a rounded exponent
    balls = attention(q, k, v, **options)
    assert (balls.radius_log2 != pairs.radius_log2).any()
    d, e = pairs.difference(balls.to_float64())
    assert (np.abs(np.ldexp(d, e)) <= 2.0**-53 * np.abs(pairs.to_float64())).all()


def test_what_is_not_finite_is_decided_by_rule() -> None:
    q = np.array([[1.0, 0.0], [math.nan, 1.0], [INF, 1.0], [-INF, 1.0], [1.0, 2.0]])
    k = np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 1.0]])
    v = np.array([[1.0], [2.0], [3.0]])
    # 0·∞ in the third key; −inf against the two others
    assert attention(q, k, v).kind[:, 0].tolist() == [FINITE, NAN, NAN, NAN, FINITE]
    two = attention(q, k[:2], v[:2])
    assert two.kind[:, 0].tolist() == [FINITE, NAN, NAN, ZERO, FINITE]
    # a negative scale turns the infinities round, 0·∞ is undefined
    minus = attention(q, k[:2], v[:2], scale=Fraction(-1))
    assert minus.kind[:, 0].tolist() == [FINITE, NAN, ZERO, NAN, FINITE]
    nothing = attention(q, k[:2], v[:2], scale=Fraction(0))
    assert nothing.kind[:, 0].tolist() == [FINITE, NAN, NAN, NAN, FINITE]
    # an infinite key that is one of several: −inf takes no part
    k[2] = [-INF, 0.0]
    one = attention(np.array([[1.0, 1.0]]), k, v)
    wanted = attention(np.array([[1.0, 1.0]]), k[:2], v[:2])
    np.testing.assert_array_equal(one.to_float64(), wanted.to_float64())


def test_keys_not_seen_take_no_part_whatever_they_hold() -> None:
    q, k, v = normal(1, 3, 2), normal(2, 4, 2), normal(3, 4, 2)
    wanted = attention(q, k[:3], v[:3]).to_float64()
    k[3], v[3] = [math.nan, INF], [INF, math.nan]
    keep = np.array([1, 1, 1, 0], np.float64)
    found = attention(q, k, v, keep=keep)
    np.testing.assert_array_equal(found.to_float64(), wanted)


def test_values_that_are_not_finite() -> None:
    v = np.array([[INF, INF, math.nan, 1.0], [1.0, -INF, 0.0, INF], [0.0, 1.0, 2.0, -1.0]])
    keep = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1]], np.float64)
    found = attention(np.zeros((3, 1)), np.zeros((3, 1)), v, keep=keep)
    assert found.kind.tolist() == [
        [POS_INF, NAN, NAN, POS_INF],
        [POS_INF, POS_INF, NAN, ZERO],  # (1 − 1)/2
        [ZERO, FINITE, FINITE, FINITE],
    ]


def test_scores_beyond_float64() -> None:
    q, k, v = np.array([[1e200], [-1e200], [1e-300]]), np.array([[1e200], [9e199]]), np.array([[1.0], [2.0]])
    found = attention(q, k, v, scale=Fraction(1))
    np.testing.assert_array_equal(found.to_float64()[:2, 0], [1.0, 2.0])
    check(q[2:] * 1e100, k * 1e-10, v, FLOAT64)


def test_the_radius_asked_for_follows_the_format() -> None:
    q, k = np.array([[1e9, 1.0]]), np.array([[1e9, 0.1], [1e9, 0.7]])
    for fmt in ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn"):
        check(q, k, np.array([[1.0], [-1.0]]), FORMATS[fmt])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_any_data(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    m, n, d, e = (data.draw(st.integers(1, 5)) for _ in range(4))
    fmt = data.draw(st.sampled_from(["float64", "float32", "float16", "bfloat16"]))
    orders = data.draw(st.sampled_from([0, 4, 12]))

    def draw(*shape: int) -> np.ndarray:
        values = rng.standard_normal(shape) * 2.0 ** rng.integers(-orders, orders + 1, shape)
        values = np.where(rng.random(shape) < 0.2, np.round(values), values)
        return np.asarray(round_array(FORMATS[fmt], values))

    keep = data.draw(st.sampled_from([None, rng.integers(0, 2, (m, n)).astype(np.float64)]))
    scale = data.draw(st.sampled_from(SCALES))
    causal = data.draw(st.booleans())
    check(draw(m, d), draw(n, d), draw(n, e), FORMATS[fmt], scale=scale, causal=causal, keep=keep)


def off_by_one(heads: Heads, panel: Any) -> np.ndarray:
    """Of a causal mask: every query sees one key more."""
    first = range(heads.q.shape[1])[panel[1]].start
    seen = SEES(heads, panel)
    return seen | (np.arange(seen.shape[2]) == np.arange(first, first + seen.shape[1])[:, None] + 1)


def one_key_dropped(heads: Heads, panel: Any) -> np.ndarray:
    seen = SEES(heads, panel)
    seen[:, :, 1] = False
    return seen


def relative_error(heads: Heads, panel: Any) -> Weights:
    """One in a thousand billion billion, in the weights of one key."""
    weights = WEIGHTS(heads, panel)
    weights.lifted.lo[:, :, 0] += weights.lifted.hi[:, :, 0] * 2.0**-62
    return weights


SEES, WEIGHTS, BALLS = Heads.visible, Heads.weights, Heads.ball_weights

WRONG: dict[str, tuple[str, Any]] = {
    "mask off by one": ("visible", off_by_one),
    "one key dropped": ("visible", one_key_dropped),
    "no scale": ("scale_pair", property(lambda heads: Pairs(*(np.full((1, 1, 1), x) for x in (1.0, 0, 0))))),
    "scale of the keys' number": (
        "scale_pair",
        property(lambda heads: Pairs(*(np.full((1, 1, 1), x) for x in (len(heads.k[0]) ** -0.5, 0, 0)))),
    ),
    "a relative error of 2⁻⁶²": ("weights", relative_error),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = normal(1, 4, 3), normal(2, 5, 3), normal(3, 5, 2)
    check(*data, FLOAT64, causal=True)
    monkeypatch.setattr(Heads, *WRONG[name])
    with pytest.raises(AssertionError):
        check(*data, FLOAT64, causal=True)


@pytest.mark.parametrize(
    ("q", "k", "v", "keep"),
    [
        ((3, 2), (4, 3), (4, 2), None),
        ((3, 2), (4, 2), (5, 2), None),
        ((1, 3, 2), (2, 4, 2), (2, 4, 2), None),
        ((3, 0), (4, 0), (4, 2), None),
        ((3,), (3,), (3,), None),
        ((3, 2), (4, 2), (4, 2), np.ones((3, 3))),
        ((3, 2), (4, 2), (4, 2), np.full((3, 4), 0.5)),
    ],
)
def test_what_has_no_meaning_is_refused(q: Any, k: Any, v: Any, keep: Any) -> None:
    with pytest.raises(InputError):
        attention(np.ones(q), np.ones(k), np.ones(v), keep=keep)


def test_nothing_to_see_and_nothing_asked() -> None:
    assert (attention(np.ones((3, 2)), np.ones((0, 2)), np.ones((0, 4))).kind == ZERO).all()
    assert attention(np.ones((0, 2)), np.ones((3, 2)), np.ones((3, 4))).shape == (0, 4)
    assert attention(np.ones((0, 3, 2)), np.ones((0, 3, 2)), np.ones((0, 3, 4))).shape == (0, 3, 4)
