"""Certified softmax, log-softmax and log-sum-exp, against mpmath at far higher precision and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats import FORMATS, NumberFormat
from harness.reference import exponential_sums
from harness.reference.elements import FINITE, NAN, NEG_INF, POS_INF, ZERO, ReferenceArray
from harness.reference.exponential_sums import log_softmax, logsumexp, softmax

INF = math.inf
FLOAT64, FLOAT32 = FORMATS["float64"], FORMATS["float32"]


def enough(row: list[float]) -> int:
    """Bits in which no digit of the results is lost: what cancels is e^−spread, and 300 bits are left."""
    return 300 + int((max(row) - min(row)) / math.log(2))


def assert_encloses(found: ReferenceArray, exact: list[mpmath.mpf], fmt: NumberFormat) -> None:
    """Each exact value lies within the radius, and the radius within 2⁻¹⁰ ulp."""
    found = found.reshape((found.size,))
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


def by_mpmath(row: list[float]) -> tuple[list[mpmath.mpf], list[mpmath.mpf], mpmath.mpf]:
    """Return shares, their logarithms, and log-sum-exp of finite entries."""
    with mpmath.workprec(enough(row)):
        exps = [mpmath.exp(mpmath.mpf(v)) for v in row]
        log_total = mpmath.log(mpmath.fsum(exps)) if len(row) > 1 else mpmath.mpf(row[0])
        shares = [e / mpmath.fsum(exps) for e in exps]
        return shares, [mpmath.mpf(v) - log_total for v in row], log_total


def planted_rows() -> dict[str, list[float]]:
    generator = np.random.default_rng(0)
    half = np.round(generator.standard_normal(60) * 8) / 8
    return {
        "small": [1.0, 2.0, 3.0],
        "large": [1000.0, 2000.0, 3000.0],
        "negative": [-2000.0, -2001.5],
        "gap": [0.0, -40.0],
        "wide gap": [0.0, -2900.0, -1.0],
        "one": [0.3],
        "equal": [0.1] * 50,
        "repeated": half.tolist(),
        "repeated with far ones": [*half.tolist(), *(half - 900).tolist(), -1500.0, -1500.0],
        "far ones only": [3.0, *(half - 700).tolist()],
        "differences that round": [1e3 / 3, 0.1, 1e3 / 7, -1e-3],
        "many differences that round": [*(half * 0.1).tolist(), 1e3 / 3, 1e3 / 7],
        "cancelling": [-math.log(2), -math.log(2)],
        "cancelling hard": [-math.log1p(math.exp(-30.0)), -30.0],
        "tiny": [5e-324, 0.0, -5e-324],
    }


PLANTED = planted_rows()


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("fmt", [FLOAT64, FLOAT32], ids=lambda fmt: fmt.name)
def test_planted_rows(name: str, fmt: NumberFormat) -> None:
    row = PLANTED[name]
    shares, logs, log_total = by_mpmath(row)
    x = np.array(row)
    assert_encloses(softmax(x, 0, fmt), shares, fmt)
    assert_encloses(log_softmax(x, 0, fmt), logs, fmt)
    assert_encloses(logsumexp(x, 0, fmt), [log_total], fmt)


@settings(max_examples=40, deadline=None)
@given(
    row=st.lists(st.floats(-700, 700), min_size=1, max_size=12),
    times=st.integers(1, 5),
)
def test_any_row(row: list[float], times: int) -> None:
    row = row * times
    shares, logs, log_total = by_mpmath(row)
    x = np.array(row)
    assert_encloses(softmax(x, 0, FLOAT64), shares, FLOAT64)
    assert_encloses(log_softmax(x, 0, FLOAT64), logs, FLOAT64)
    assert_encloses(logsumexp(x, 0, FLOAT64), [log_total], FLOAT64)


def test_cancellation_raises_the_precision() -> None:
    # y = x + ln 2 at x = −ln 2 rounded is what rounding ln 2 cost: 2.3e-17, of at most 5.6e-17
    y = logsumexp(np.full(2, -math.log(2)), 0, FLOAT64)
    with mpmath.workprec(200):
        wanted = mpmath.log(2) - mpmath.mpf(math.log(2))
    assert y.to_float64().item() == float(wanted)
    assert y.radius_log2.item() < y.log2_abs().item() - 63


def test_equal_entries_share_equally() -> None:
    for n in (1, 2, 3, 64, 1000):
        p = softmax(np.full((n,), 7.25), 0, FLOAT64)
        wanted = ReferenceArray.from_fractions([Fraction(1, n)], (1,))
        np.testing.assert_array_equal(p.to_float64(), np.full(n, wanted.to_float64()))
        if n & (n - 1) == 0:
            assert (p.error_log2(np.full(n, 1 / n)) == -INF).all()
    assert softmax(np.array([7.25, -INF]), 0, FLOAT64).radius_log2[0] == -INF


NON_FINITE = [
    # row, softmax, log-softmax, logsumexp
    ([-INF, 0.0, -INF], [ZERO, FINITE, ZERO], [NEG_INF, ZERO, NEG_INF], ZERO),
    ([-INF, 5.0, -INF], [ZERO, FINITE, ZERO], [NEG_INF, ZERO, NEG_INF], FINITE),
    ([-INF, 1.0, 2.0], [ZERO, FINITE, FINITE], [NEG_INF, FINITE, FINITE], FINITE),
    ([-INF] * 3, [NAN] * 3, [NAN] * 3, NEG_INF),
    ([INF, 1.0, -INF], [NAN] * 3, [NAN] * 3, POS_INF),
    ([INF, INF, 1.0], [NAN] * 3, [NAN] * 3, POS_INF),
    ([math.nan, 1.0, 2.0], [NAN] * 3, [NAN] * 3, NAN),
    ([math.nan, INF, 2.0], [NAN] * 3, [NAN] * 3, NAN),
    ([math.nan, -INF, -INF], [NAN] * 3, [NAN] * 3, NAN),
]


@pytest.mark.parametrize(("row", "shares", "logs", "log_total"), NON_FINITE)
def test_classes_of_rows_that_are_not_all_finite(
    row: list[float], shares: list[int], logs: list[int], log_total: int
) -> None:
    x = np.array(row)
    assert softmax(x, 0, FLOAT64).kind.tolist() == shares
    assert log_softmax(x, 0, FLOAT64).kind.tolist() == logs
    assert logsumexp(x, 0, FLOAT64).kind.tolist() == log_total


def test_rules_hold_row_by_row() -> None:
    x = np.array([row for row, *_ in NON_FINITE])
    assert softmax(x, 1, FLOAT64).kind.tolist() == [shares for _, shares, _, _ in NON_FINITE]
    assert log_softmax(x.T, 0, FLOAT64).kind.T.tolist() == [logs for _, _, logs, _ in NON_FINITE]
    assert logsumexp(x, -1, FLOAT64).kind.tolist() == [log_total for *_, log_total in NON_FINITE]


def test_the_only_finite_entry_is_the_sum_exactly() -> None:
    y = logsumexp(np.array([[-INF, 0.1], [5.0, -INF]]), 1, FLOAT64)
    assert y.to_float64().tolist() == [0.1, 5.0]
    assert (y.radius_log2 == -INF).all()


@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_every_axis_of_every_shape(function: Callable[..., ReferenceArray]) -> None:
    x = np.random.default_rng(1).standard_normal((3, 4, 5))
    for axis in (0, 1, 2, -1, -3):
        found = function(x, axis, FLOAT64)
        assert found.shape == x.shape
        moved = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
        rows = np.stack([function(row, 0, FLOAT64).to_float64() for row in moved])
        np.testing.assert_array_equal(np.moveaxis(found.to_float64(), axis, -1).reshape(rows.shape), rows)


def test_every_axis_of_logsumexp() -> None:
    x = np.random.default_rng(1).standard_normal((3, 4, 5))
    for axis in (0, 1, 2, -2):
        found = logsumexp(x, axis, FLOAT64)
        moved = np.moveaxis(x, axis, -1)
        rows = [logsumexp(row, 0, FLOAT64).to_float64() for row in moved.reshape(-1, x.shape[axis])]
        assert found.shape == moved.shape[:-1]
        np.testing.assert_array_equal(found.to_float64().reshape(-1), rows)


def test_far_terms_are_enclosed_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a limit of 40, the thousand terms beyond it, up to e⁻⁴⁰ = 2⁻⁵⁷·⁷ each, are only enclosed
    monkeypatch.setattr(exponential_sums.pairs, "EXP_LIMIT", 40.0)
    x = np.array([1.0, *(1 - 40.1 - np.arange(1000) / 1024), 0.5, 0.5])
    y = logsumexp(x, 0, FLOAT32)
    with mpmath.workprec(400):
        kept = 1 + mpmath.log1p(2 * mpmath.exp(mpmath.mpf(-0.5)))
        wanted = mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(v)) for v in x.tolist()))
        value = (mpmath.mpf(y.hi.item()) + mpmath.mpf(y.lo.item())) * mpmath.mpf(2) ** int(y.exponent)
        radius = mpmath.mpf(2) ** y.radius_log2.item()
        assert wanted - kept > mpmath.mpf(2) ** -51  # they would be missed
        assert abs(value - wanted) <= radius < mpmath.mpf(2) ** -46


def test_gaps_beyond_float64() -> None:
    x = np.array([1.7e308, -1.7e308])
    p = softmax(x, 0, FLOAT64)
    assert p.to_float64().tolist() == [1.0, 0.0]
    assert p.radius_log2[1] < -1e15  # only its magnitude is known
    y = log_softmax(x, 0, FLOAT64)
    assert y.log2_abs()[1] == pytest.approx(math.log2(1.7e308) + 1, rel=1e-15)
    assert logsumexp(x, 0, FLOAT64).to_float64().item() == 1.7e308


@pytest.mark.parametrize("gap", [2799.0, 2801.0, 5000.0])
def test_rows_around_the_limit_of_pairs_agree_with_mpmath(gap: float) -> None:
    row = [0.25, -gap, -gap / 2, -1.5]
    shares, logs, log_total = by_mpmath(row)
    x = np.array(row)
    assert_encloses(log_softmax(x, 0, FLOAT64), logs, FLOAT64)
    assert_encloses(logsumexp(x, 0, FLOAT64), [log_total], FLOAT64)
    assert_encloses(softmax(x, 0, FLOAT64), shares, FLOAT64)


def test_a_batch_without_rows() -> None:
    x = np.zeros((0, 3))
    assert softmax(x, 1, FLOAT64).shape == (0, 3)
    assert log_softmax(x, 1, FLOAT64).shape == (0, 3)
    assert logsumexp(x, 1, FLOAT64).shape == (0,)
