"""Certified gradients of attention against directional derivatives in mpmath, closed forms and rules."""

from __future__ import annotations

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
from harness.reference import attention_gradient, attention_weights, pair_arrays
from harness.reference.attention_weights import Heads
from harness.reference.elements import FINITE, ZERO, ReferenceArray
from harness.reference.exact_attention import exact_attention_gradient
from harness.reference.pair_arrays import Pairs
from tests.attention_by_definition import (
    BITS,
    SCALES,
    assert_encloses,
    gradient_sizes,
    gradients_by_definition,
    kept,
    normal,
    sees,
)

FLOAT64 = FORMATS["float64"]
ALL = ("q", "k", "v")
Gradients = dict[str, ReferenceArray]


def gradient(q: Any, k: Any, v: Any, g: Any, fmt: NumberFormat = FLOAT64, **options: Any) -> Gradients:
    chosen = {"scale": None, "causal": False, "keep": None, "with_respect_to": ALL} | options
    q, k, v, g = (np.asarray(a, np.float64) for a in (q, k, v, g))
    return exact_attention_gradient(q, k, v, g, fmt=fmt, **chosen)


def check(
    q: Any,
    k: Any,
    v: Any,
    g: Any,
    fmt: NumberFormat = FLOAT64,
    *,
    scale: Fraction | None = None,
    causal: bool = False,
    keep: np.ndarray | None = None,
) -> Gradients:
    """Compare gradients of single matrices with their definitions."""
    q, k, v, g = (np.asarray(a, np.float64) for a in (q, k, v, g))
    found = gradient(q, k, v, g, fmt, scale=scale, causal=causal, keep=keep)
    visible = sees((len(q), len(k)), causal, keep)
    with mpmath.workprec(BITS):
        exact = gradients_by_definition(q, k, v, g, visible, scale)
        sizes, lost = gradient_sizes(q, k, v, g, visible, scale)
        for name in ALL:
            assert_encloses(found[name], exact[name], sizes[name], fmt, lost=lost[name])
    return found


@pytest.mark.parametrize("fmt", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_every_mask_and_scale(fmt: str, scale: Fraction | None, causal: bool, masked: bool) -> None:
    q, k, v, g = (
        normal(seed, *shape, fmt=fmt) for seed, shape in enumerate([(4, 3), (5, 3), (5, 2), (4, 2)])
    )
    check(q, k, v, g, FORMATS[fmt], scale=scale, causal=causal, keep=kept(4, 4, 5) if masked else None)


@pytest.mark.parametrize("fmt", ["float64", "float32"])
@pytest.mark.parametrize("spread", [1e-3, 3.0, 30.0, 300.0])
def test_scores_of_every_size(fmt: str, spread: float) -> None:
    q, k = normal(1, 3, 8, fmt=fmt, spread=spread), normal(2, 4, 8, fmt=fmt)
    check(q, k, normal(3, 4, 3, fmt=fmt), normal(4, 3, 3, fmt=fmt), FORMATS[fmt])


EXTREME: dict[str, tuple[list[Any], list[Any], list[Any], list[Any]]] = {
    "one dominates": ([[1e4], [-1e4]], [[1.0], [0.5], [-1.0]], [[1.0], [2.0], [3.0]], [[1.0], [0.1]]),
    "one dominates by e-45": ([[45.0], [-45.0]], [[1.0], [0.0]], [[1.0], [2.0]], [[1.0], [0.1]]),
    "ties": ([[1e4], [0.0]], [[1.0], [1.0], [-1.0]], [[1.0], [-1.0], [5.0]], [[1.0], [0.3]]),
    "nearly equal values": (
        [[0.3], [0.7]],
        [[1.0], [0.0], [2.0]],
        [[1.0], [1 + 2.0**-52], [1.0]],
        [[1.0], [1 / 3]],
    ),
    "a difference that vanishes": ([[0.0]], [[1.0], [2.0], [3.0]], [[1.0], [2.0], [3.0]], [[1 / 3]]),
    "cancelling scores": (
        [[1e12, 1e12, 1.0]],
        [[1e12, -1e12, 0.5], [1e12, -1e12, 1.5], [1e12, -1e12, 2.0]],
        [[1.0], [2.0], [-3.0]],
        [[1.0]],
    ),
    "a large cotangent": ([[1.0]], [[1.0], [1.5]], [[1e10], [1.7]], [[1e280]]),
    "a small cotangent": ([[1.0]], [[1.0], [1.5]], [[1e-10], [1.7]], [[1e-300]]),
    "equal keys": ([[1.0], [0.1]], [[0.7], [0.7], [0.7]], [[1.0], [2.0], [-0.1]], [[1.0], [3.0]]),
}


@pytest.mark.parametrize("name", EXTREME)
@pytest.mark.parametrize("scale", [None, Fraction(1, 7)], ids=str)
def test_extreme_data(name: str, scale: Fraction | None) -> None:
    check(*EXTREME[name], scale=scale)


@pytest.mark.parametrize("name", ["one dominates by e-45", "ties", "equal keys"])
@pytest.mark.parametrize("scale", [None, Fraction(-5, 2), Fraction(1, 7)], ids=str)
def test_all_in_balls(name: str, scale: Fraction | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_gradient, "holds", lambda found, *rest: found.kind == ZERO)
    monkeypatch.setattr(attention_weights, "_BALLS", 4)
    check(*EXTREME[name], scale=scale)
    check(*EXTREME[name], scale=scale, causal=True)


def test_balls_agree_with_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = [normal(seed, 2, *shape) for seed, shape in enumerate([(24, 8), (20, 8), (20, 6), (24, 6)])]
    options = {"causal": True, "keep": kept(4, 24, 20)}
    pairs = gradient(*data, **options)
    monkeypatch.setattr(attention_gradient, "holds", lambda found, *rest: found.kind == ZERO)
    balls = gradient(*data, **options)
    for name, one in pairs.items():
        other = balls[name]
        np.testing.assert_array_equal(one.kind, other.kind)
        power = np.exp2(one.exponent.astype(float))
        # radii of both, and 2⁻¹⁰⁵ or so for the sums of this line
        apart = (one.hi - np.ldexp(other.hi, other.exponent - one.exponent)) + (
            one.lo - np.ldexp(other.lo, other.exponent - one.exponent)
        )
        allowed = np.exp2(one.radius_log2) + np.exp2(other.radius_log2) + power * 2.0**-100
        assert (np.abs(apart) * power <= allowed).all()


@pytest.mark.parametrize("panel", [1, 7, 40])
def test_panels_join_up(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = [normal(seed, 2, *shape) for seed, shape in enumerate([(9, 3), (7, 3), (7, 2), (9, 2)])]
    options = {"causal": True, "keep": kept(4, 9, 7)}
    whole = gradient(*data, **options)
    monkeypatch.setattr(attention_weights, "_PANEL", panel)
    parts = gradient(*data, **options)
    for name, one in whole.items():
        np.testing.assert_array_equal(one.kind, parts[name].kind)
        np.testing.assert_array_equal(one.to_float64(), parts[name].to_float64())


def test_stacks_are_single_problems() -> None:
    q, k, v, g = (normal(seed, 2, 3, *shape) for seed, shape in enumerate([(4, 3), (5, 3), (5, 2), (4, 2)]))
    found = gradient(q, k, v, g, keep=kept(4, 4, 5))
    for b, h in np.ndindex(2, 3):
        single = gradient(q[b, h], k[b, h], v[b, h], g[b, h], keep=kept(4, 4, 5))
        for name, one in single.items():
            np.testing.assert_array_equal(found[name][b, h].to_float64(), one.to_float64())


def test_only_what_is_asked_for() -> None:
    data = normal(1, 4, 3), normal(2, 5, 3), normal(3, 5, 2), normal(4, 4, 2)
    whole = gradient(*data)
    found = gradient(*data, with_respect_to=("v", "q"))
    assert list(found) == ["v", "q"]
    for name, one in found.items():
        np.testing.assert_array_equal(one.to_float64(), whole[name].to_float64())


def test_a_single_key_moves_its_value_alone() -> None:
    q, k, v, g = normal(1, 4, 3), normal(2, 3, 3), normal(3, 3, 2), normal(4, 4, 2)
    keep = np.zeros((4, 3))
    keep[:3, 1] = 1  # the last query sees nothing, the others the same key
    found = gradient(q, k, v, g, keep=keep)
    assert (found["q"].kind == ZERO).all()
    assert (found["k"].kind == ZERO).all()
    assert (found["v"].kind[[0, 2]] == ZERO).all()
    sums = [sum(map(Fraction, column), Fraction(0)) for column in g[:3].T.tolist()]
    assert found["v"].to_float64()[1].tolist() == [float(x) for x in sums]
    alone = gradient(q, k[:1], v[:1], g)
    assert (alone["q"].kind == ZERO).all()
    assert (alone["k"].kind == ZERO).all()


def test_gradients_that_vanish() -> None:
    q, k, v, g = normal(1, 4, 3), normal(2, 5, 3), normal(3, 5, 2), normal(4, 4, 2)
    v[[0, 1, 3]] = v[4]
    g[2] = 0
    keep = np.ones((4, 5))
    keep[1:, 2] = 0  # only the first query sees another value
    found = gradient(q, k, v, g, keep=keep)
    assert (found["q"].kind == np.array([[FINITE], [ZERO], [ZERO], [ZERO]])).all()
    assert (found["k"].kind == FINITE).all()
    assert (found["v"].kind == FINITE).all()
    keep[0, 2] = 0
    found = gradient(q, k, v, g, keep=keep)
    assert (found["k"].kind == ZERO).all()
    assert found["v"].kind.tolist() == [[FINITE] * 2, [FINITE] * 2, [ZERO] * 2, [FINITE] * 2, [FINITE] * 2]
    q[:, 1] = 0
    k[:, 0] = 0
    found = gradient(q, k, normal(3, 5, 2), g)
    assert found["q"].kind.tolist() == [[ZERO, FINITE, FINITE]] * 2 + [[ZERO] * 3] + [[ZERO, FINITE, FINITE]]
    assert found["k"].kind.tolist() == [[FINITE, ZERO, FINITE]] * 5


def test_scores_that_do_not_depend_on_the_data() -> None:
    found = check(normal(1, 3, 2), normal(2, 4, 2), normal(3, 4, 2), normal(4, 3, 2), scale=Fraction(0))
    assert (found["q"].kind == ZERO).all()
    assert (found["k"].kind == ZERO).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_any_data(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    m, n, d, e = (data.draw(st.integers(1, 4)) for _ in range(4))
    fmt = data.draw(st.sampled_from(["float64", "float32", "float16", "bfloat16"]))
    orders = data.draw(st.sampled_from([0, 4, 12]))

    def draw(*shape: int) -> np.ndarray:
        values = rng.standard_normal(shape) * 2.0 ** rng.integers(-orders, orders + 1, shape)
        values = np.where(rng.random(shape) < 0.3, np.round(values), values)
        return np.asarray(round_array(FORMATS[fmt], values))

    keep = data.draw(st.sampled_from([None, rng.integers(0, 2, (m, n)).astype(np.float64)]))
    scale = data.draw(st.sampled_from(SCALES))
    causal = data.draw(st.booleans())
    check(draw(m, d), draw(n, d), draw(n, e), draw(m, e), FORMATS[fmt], scale=scale, causal=causal, keep=keep)


def plus_for_minus(a: Pairs, b: Pairs) -> Pairs:
    return pair_arrays.add(a, b)


SEES, SCORES = Heads.visible, attention_gradient._score_gradient
GRADIENTS = attention_gradient._Backward.gradients


def off_by_one(heads: Heads, panel: Any) -> np.ndarray:
    """Of a causal mask: every query sees one key more."""
    first = range(heads.q.shape[1])[panel[1]].start
    seen = SEES(heads, panel)
    return seen | (np.arange(seen.shape[2]) == np.arange(first, first + seen.shape[1])[:, None] + 1)


def one_key_dropped(heads: Heads, panel: Any) -> np.ndarray:
    seen = SEES(heads, panel)
    seen[:, :, 1] = False
    return seen


def wrong_sign(*arguments: Any) -> tuple[Pairs, np.ndarray]:
    ds, live = SCORES(*arguments)
    return Pairs(-ds.hi, -ds.lo, ds.radius), live


def relative_error(*arguments: Any) -> tuple[Pairs, np.ndarray]:
    ds, live = SCORES(*arguments)
    return Pairs(ds.hi, ds.lo + ds.hi * 2.0**-62, ds.radius), live


def without_the_mean(weights: Any, p: Pairs, g: np.ndarray, v: np.ndarray) -> tuple[Pairs, np.ndarray]:
    _, live = SCORES(weights, p, g, v)
    dp = pair_arrays.exact(g, np.swapaxes(v, 1, 2)).where(weights.visible)
    return pair_arrays.multiply(p, dp), live


def without_the_scale(backward: Any, *arguments: Any) -> Gradients:
    backward.heads.__dict__["scale_pair"] = Pairs(*(np.full((1, 1, 1), x) for x in (1.0, 0.0, 0.0)))
    return GRADIENTS(backward, *arguments)


WRONG: dict[str, tuple[Any, str, Any]] = {
    "dS of the wrong sign": (attention_gradient, "_score_gradient", wrong_sign),
    "the mean added": (pair_arrays, "subtract", plus_for_minus),
    "the mean left out": (attention_gradient, "_score_gradient", without_the_mean),
    "a relative error of 2⁻⁶² in dS": (attention_gradient, "_score_gradient", relative_error),
    "no scale in the last product": (attention_gradient._Backward, "gradients", without_the_scale),
    "mask off by one": (Heads, "visible", off_by_one),
    "one key dropped": (Heads, "visible", one_key_dropped),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = normal(1, 4, 3), normal(2, 5, 3), normal(3, 5, 2), normal(4, 4, 2)
    check(*data, causal=True)
    monkeypatch.setattr(*WRONG[name])
    with pytest.raises(AssertionError):
        check(*data, causal=True)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_are_not_finite_are_refused(place: int, value: float) -> None:
    data = [normal(1, 4, 3), normal(2, 5, 3), normal(3, 5, 2), normal(4, 4, 2)]
    data[place][0, 0] = value
    with pytest.raises(InputError, match="finite"):
        gradient(*data)


def test_what_has_no_meaning_is_refused() -> None:
    data = normal(1, 4, 3), normal(2, 5, 3), normal(3, 5, 2)
    with pytest.raises(InputError, match="cotangent"):
        gradient(*data, normal(4, 4, 3))
    with pytest.raises(InputError, match="not keep"):
        gradient(*data, normal(4, 4, 2), with_respect_to=("q", "keep"))


def test_nothing_to_see_and_nothing_asked() -> None:
    found = gradient(np.ones((3, 2)), np.ones((0, 2)), np.ones((0, 4)), np.ones((3, 4)))
    assert (found["q"].kind == ZERO).all()
    assert found["k"].shape == (0, 2)
    found = gradient(np.ones((0, 2)), np.ones((3, 2)), np.ones((3, 4)), np.ones((0, 4)))
    assert (found["v"].kind == ZERO).all()
    assert found["v"].shape == (3, 4)
