"""Certified gradients of softmax, log-softmax and log-sum-exp, against mpmath, closed forms and rationals."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.formats import FORMATS, NumberFormat
from harness.reference.elements import FINITE, NAN, ZERO, ReferenceArray
from harness.reference.exponential_gradients import (
    log_softmax_gradient,
    logsumexp_gradient,
    softmax_gradient,
)

INF = math.inf
FLOAT64, FLOAT32 = FORMATS["float64"], FORMATS["float32"]


def assert_encloses(found: ReferenceArray, exact: list[mpmath.mpf], fmt: NumberFormat) -> None:
    """Each exact value lies within the radius, and the radius within 2⁻¹⁰ ulp; what is 0 is known to be."""
    assert found.size == len(exact)
    assert set(found.kind.tolist()) <= {FINITE, ZERO}
    assert (found.radius_ulp(fmt) <= 2.0**-10).all()
    for i, wanted in enumerate(exact):
        with mpmath.workprec(400):
            two = mpmath.mpf(2) ** int(found.exponent[i])
            value = (mpmath.mpf(found.hi[i].item()) + mpmath.mpf(found.lo[i].item())) * two
            radius = mpmath.mpf(2) ** mpmath.mpf(found.radius_log2[i].item())
            left = abs(wanted) * mpmath.mpf(2) ** -200  # what mpmath itself may have lost
            assert abs(value - wanted) <= radius + left, (i, value, wanted)
        assert (wanted == 0) == (found.kind[i] == ZERO), i


Exact = list[mpmath.mpf]


def by_mpmath(row: list[float], g: list[float], scalar: float) -> tuple[Exact, Exact, Exact]:
    """Return the three gradients as they are defined, at a precision at which nothing is lost.

    A gradient may be as small as e^−2·spread beside the cotangents; 600 bits are left. What is below 2⁻³⁰⁰ of
    that is 0 here: no data below cancel so far otherwise.
    """
    spread = 2 * int((max(row) - min(row)) / math.log(2)) + 2
    with mpmath.workprec(600 + spread):
        exps = [mpmath.exp(mpmath.mpf(v)) for v in row]
        shares = [e / mpmath.fsum(exps) for e in exps]
        weights = [mpmath.mpf(v) for v in g]
        total = mpmath.fsum(weights)
        softmax = [
            p * (mpmath.fsum(q * (w - v) for q, v in zip(shares, weights, strict=True)))
            for p, w in zip(shares, weights, strict=True)
        ]
        log_softmax = [w - p * total for p, w in zip(shares, weights, strict=True)]
        logsumexp = [p * mpmath.mpf(scalar) for p in shares]
        least = max(map(abs, weights)) * mpmath.mpf(2) ** (-300 - spread)
        for values in (softmax, log_softmax):
            values[:] = [v if abs(v) > least else mpmath.mpf(0) for v in values]
        return softmax, log_softmax, logsumexp


def planted() -> dict[str, tuple[list[float], list[float]]]:
    generator = np.random.default_rng(0)
    half = np.round(generator.standard_normal(60) * 8) / 8
    weights = generator.standard_normal(60).tolist()
    share = math.exp(1.0) / math.exp(2.0)
    return {
        "small": ([1.0, 2.0, 3.0], [1.0, 0.0, -1.0]),
        "one-hot": ([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 0.0]),
        "one-hot at a share near 1": ([0.0, 300.0], [0.0, 1.0]),
        "large": ([1000.0, 2000.0, 3000.0], [0.5, -3.0, 2.0]),
        "negative": ([-2000.0, -2001.5], [1e30, 1e-30]),
        "wide gap": ([0.0, -2900.0, -1.0], [1.0, 1.0, 2.0]),
        "wide gap, one cotangent": ([0.0, -2900.0], [3.0, 3.0]),
        "one entry": ([0.3], [0.7]),
        "equal entries": ([0.1] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 3.0]),
        "equal entries and cotangents": ([0.1] * 5, [0.1] * 5),
        "repeated": (half.tolist(), weights),
        "one cotangent": (half.tolist(), [0.1] * 60),
        "one cotangent, far from 0": ([1.0, 2.0, 2.5], [1e16, 1e16, 1e16 + 2]),
        "sets of one mean": ([1.0, 2.0, 1.0, 2.0, 3.0], [0.0, 3.0, 2.0, -1.0, 1.0]),
        "cotangents that sum to 0": ([1.0, 2.0, 3.0, 4.0], [2.0, 0.0, -3.0, 1.0]),
        "cotangents that cancel": ([3.0, 2.0, 1.0], [0.0, 1.0, -1.0 / share]),
        "ties at the top": ([5.0, 5.0, 1.0, 5.0], [1.0, -2.0, 4.0, 1.0]),
        "tiny": ([5e-324, 0.0, -5e-324], [5e-324, 0.0, 1e308]),
    }


PLANTED = planted()


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32], ids=lambda fmt: fmt.name)
def test_planted_rows(name: str, fmt: NumberFormat) -> None:
    row, g = PLANTED[name]
    of_softmax, of_logarithm, of_sum = by_mpmath(row, g, 0.3)
    x = np.array(row)
    assert_encloses(softmax_gradient(x, np.array(g), 0, fmt), of_softmax, fmt)
    assert_encloses(log_softmax_gradient(x, np.array(g), 0, fmt), of_logarithm, fmt)
    assert_encloses(logsumexp_gradient(x, np.array(0.3), 0, fmt), of_sum, fmt)


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    row=st.lists(st.floats(-300, 300).map(lambda v: round(v, 3)), min_size=1, max_size=10),
    times=st.integers(1, 3),
)
def test_any_row(data: st.DataObject, row: list[float], times: int) -> None:
    row = row * times
    few = st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1.0, 1e3]), min_size=len(row), max_size=len(row))
    g = data.draw(few)
    of_softmax, of_logarithm, of_sum = by_mpmath(row, g, g[0])
    x = np.array(row)
    assert_encloses(softmax_gradient(x, np.array(g), 0, FLOAT64), of_softmax, FLOAT64)
    assert_encloses(log_softmax_gradient(x, np.array(g), 0, FLOAT64), of_logarithm, FLOAT64)
    assert_encloses(logsumexp_gradient(x, np.array(g[0]), 0, FLOAT64), of_sum, FLOAT64)


def test_two_entries_in_closed_form() -> None:
    """p₁p₂(g₁ − g₂) = (g₁ − g₂)/(2 + 2·cosh d); g₁p₂ − g₂p₁, whose largest entry keeps its small share."""
    d, g = 40.0, np.array([3.0, 1.0])
    x = np.array([0.0, -d])
    derivative = 1 / (2 + 2 * math.cosh(d))
    p = 1 / (1 + math.exp(-d)), 1 / (1 + math.exp(d))
    wanted = np.array([2 * derivative, -2 * derivative])
    np.testing.assert_allclose(softmax_gradient(x, g, 0, FLOAT64).to_float64(), wanted, rtol=1e-15)
    wanted = np.array([3 * p[1] - p[0], p[0] - 3 * p[1]])
    np.testing.assert_allclose(log_softmax_gradient(x, g, 0, FLOAT64).to_float64(), wanted, rtol=1e-15)
    only_first = log_softmax_gradient(x, np.array([1.0, 0.0]), 0, FLOAT64)
    np.testing.assert_allclose(only_first.to_float64(), [p[1], -p[1]], rtol=1e-15)


def test_gradients_beyond_the_range_of_float64() -> None:
    # p₂ = e^−3000/(1 + e^−3000): r = ±2·p₁p₂ has log₂ of 1 − 3000/ln 2
    r = softmax_gradient(np.array([0.0, -3000.0]), np.array([1.0, -1.0]), 0, FLOAT64)
    np.testing.assert_allclose(r.log2_abs(), [1 - 3000 / math.log(2)] * 2, rtol=1e-15)
    assert np.sign(r.hi).tolist() == [1, -1]
    one_hot = log_softmax_gradient(np.array([0.0, -5000.0]), np.array([1.0, 0.0]), 0, FLOAT64)
    np.testing.assert_allclose(one_hot.log2_abs(), [-5000 / math.log(2)] * 2, rtol=1e-15)
    assert (
        softmax_gradient(np.array([1e308, -1e308]), np.array([1.0, 2.0]), 0, FLOAT64).kind == FINITE
    ).all()


ZEROS = [
    # x, g, where softmax's gradient is 0, where log-softmax's is
    ([7.0], [3.0], [1], [1]),
    ([0.0, 1.0], [2.0, 2.0], [1, 1], [0, 0]),
    ([0.0, 1.0], [0.0, 0.0], [1, 1], [1, 1]),
    ([1.0, 1.0], [1.0, 3.0], [0, 0], [0, 0]),
    ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [0, 1, 0], [0, 1, 0]),
    ([1.0, 2.0, 1.0], [1.0, 2.0, 3.0], [0, 1, 0], [0, 0, 0]),  # means 2 and 2
    ([1.0, 2.0, 1.0], [1.0, 2.5, 3.0], [0, 0, 0], [0, 0, 0]),  # means 2 and 2.5
    ([1.0, 2.0, 3.0], [1.0, 0.0, -1.0], [0, 0, 0], [0, 1, 0]),  # the sum is 0
    ([1.0, 2.0, 3.0], [0.1, 0.2, -0.3], [0, 0, 0], [0, 0, 0]),  # but not of these, as float64 has them
    ([1.0, -INF], [5.0, 2.0], [1, 1], [0, 0]),
    ([1.0, -INF], [5.0, 0.0], [1, 1], [1, 1]),
    ([1.0, -INF, 1.0], [5.0, -5.0, 0.0], [0, 1, 0], [0, 0, 1]),  # masked entries are in the sum
    ([1.0, -INF, 1.0], [3.0, 1.0, 2.0], [0, 1, 0], [1, 0, 0]),  # the sum is 6, shared by two
    ([1.0, 1.0], [1.0, 0.0], [0, 0], [0, 0]),  # the sum is an entry, and the mean is not
    ([1.0, 2.0, 1.0, -INF], [1.0, 2.0, 3.0, 9.0], [0, 1, 0, 1], [0, 0, 0, 0]),  # masked: of no mean
    # means ½ and ½, of which float64 sums make ½ − 2⁻⁵⁴ and ½
    ([0.0] * 4 + [1.0] * 2, [0.5, 1.5, 2.0**-52, -(2.0**-52), 0.5, 0.5], [1, 0, 0, 0, 1, 1], [0] * 6),
    ([0.0] * 3, [1.0, 1 + 2.0**-52, 1.0], [0, 0, 0], [0, 0, 0]),  # the mean is beside 1, to which it rounds
]


@pytest.mark.parametrize(("x", "g", "of_softmax", "of_logarithm"), ZEROS)
def test_zeros_are_decided_by_rationals(
    x: list[float], g: list[float], of_softmax: list[int], of_logarithm: list[int]
) -> None:
    row, weights = np.array(x), np.array(g)
    assert (softmax_gradient(row, weights, 0, FLOAT64).kind == ZERO).tolist() == list(map(bool, of_softmax))
    found = log_softmax_gradient(row, weights, 0, FLOAT64)
    assert (found.kind == ZERO).tolist() == list(map(bool, of_logarithm))
    flat = logsumexp_gradient(row, np.array(0.0), 0, FLOAT64)
    assert (flat.kind == ZERO).all()


def test_a_masked_entry_of_log_softmax_has_its_own_cotangent() -> None:
    # y = (x₁ − s, −∞, x₃ − s): ∂y₂/∂x₂ is 1 as x₂ falls, and ∂y₂/∂x₁ = −p₁ throughout
    g = np.array([1.0, 0.1, 3.0])
    r = log_softmax_gradient(np.array([2.0, -INF, 2.0]), g, 0, FLOAT64)
    assert r.to_float64()[1] == 0.1
    assert r.radius_log2[1] == -INF
    np.testing.assert_allclose(r.to_float64()[[0, 2]], [1 - 2.05, 3 - 2.05], rtol=1e-15)


NON_FINITE = [
    # row, softmax and log-softmax, log-sum-exp
    ([-INF, 1.0, 2.0], [ZERO, FINITE, FINITE], [ZERO, FINITE, FINITE]),
    ([-INF] * 3, [NAN] * 3, [ZERO] * 3),
    ([INF, 1.0, -INF], [NAN] * 3, [NAN, ZERO, ZERO]),
    ([INF, INF, 1.0], [NAN] * 3, [NAN, NAN, ZERO]),
    ([math.nan, 1.0, -INF], [NAN] * 3, [NAN] * 3),
    ([math.nan, INF, 2.0], [NAN] * 3, [NAN] * 3),
]


@pytest.mark.parametrize(("row", "shares", "log_total"), NON_FINITE)
def test_classes_of_rows_that_are_not_all_finite(
    row: list[float], shares: list[int], log_total: list[int]
) -> None:
    x, g = np.array(row), np.array([0.0, 2.0, 1.0])
    assert softmax_gradient(x, g, 0, FLOAT64).kind.tolist() == shares
    assert log_softmax_gradient(x, g, 0, FLOAT64).kind.tolist() == shares  # g is 0 at the masked entry
    assert logsumexp_gradient(x, np.array(1.0), 0, FLOAT64).kind.tolist() == log_total


@pytest.mark.parametrize("function", [softmax_gradient, log_softmax_gradient])
def test_every_axis_of_every_shape(function: Callable[..., ReferenceArray]) -> None:
    generator = np.random.default_rng(1)
    x, g = generator.standard_normal((2, 3, 4, 5))
    for axis in (0, 1, 2, -1, -3):
        found = function(x, g, axis, FLOAT64).to_float64()
        assert found.shape == x.shape
        rows, weights = (np.moveaxis(v, axis, -1).reshape(-1, x.shape[axis]) for v in (x, g))
        one_by_one = [function(r, w, 0, FLOAT64).to_float64() for r, w in zip(rows, weights, strict=True)]
        moved = np.moveaxis(found, axis, -1).reshape(rows.shape)
        np.testing.assert_array_equal(moved, np.stack(one_by_one))


def test_every_axis_of_logsumexp() -> None:
    generator = np.random.default_rng(1)
    x = generator.standard_normal((3, 4, 5))
    for axis in (0, 1, 2, -2):
        g = generator.standard_normal(np.delete(x.shape, axis))
        found = logsumexp_gradient(x, g, axis, FLOAT64).to_float64()
        e = np.exp(x)
        wanted = e / e.sum(axis=axis, keepdims=True) * np.expand_dims(g, axis)
        np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_a_batch_without_rows() -> None:
    nothing = np.zeros((0, 3))
    assert softmax_gradient(nothing, nothing, 1, FLOAT64).shape == (0, 3)
    assert log_softmax_gradient(nothing, nothing, 1, FLOAT64).shape == (0, 3)
    assert logsumexp_gradient(nothing, np.zeros(0), 1, FLOAT64).shape == (0, 3)


def test_a_scalar_output_may_have_a_list_of_one_number_for_its_cotangent() -> None:
    found = logsumexp_gradient(np.zeros(2), np.array([3.0]), 0, FLOAT64)
    assert found.to_float64().tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    ("function", "shape"),
    [(softmax_gradient, (3,)), (log_softmax_gradient, (3, 2)), (logsumexp_gradient, (1,))],
)
def test_a_cotangent_of_another_shape_is_refused(
    function: Callable[..., ReferenceArray], shape: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="the cotangent has shape"):
        function(np.zeros((2, 3)), np.zeros(shape), 1, FLOAT64)


@pytest.mark.parametrize("function", [softmax_gradient, log_softmax_gradient])
@pytest.mark.parametrize("wrong", [INF, math.nan])
def test_a_cotangent_that_is_not_finite_is_refused(
    function: Callable[..., ReferenceArray], wrong: float
) -> None:
    with pytest.raises(InputError, match="not finite in this dtype"):
        function(np.zeros(2), np.array([1.0, wrong]), 0, FLOAT64)
