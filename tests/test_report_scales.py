"""Scales and ticks of the figures."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.view.scales import (
    EvenScale,
    LinearScale,
    LogScale,
    Reversed,
    choose_scale,
    decades,
    nice_step,
    power_of_ten,
    short_number,
)


@pytest.mark.parametrize(
    ("span", "most", "step"),
    [
        (10, 5, 2),
        (10, 10, 1),
        (0.3, 3, 0.1),
        (15.95, 6, 5),
        (7.22, 6, 2),
        (2.41, 6, 0.5),
        (100, 6, 20),
        (1, 4, 0.25),
        (1, 1, 1),
    ],
)
def test_steps_are_round(span: float, most: int, step: float) -> None:
    assert nice_step(span, most) == pytest.approx(step, rel=1e-12)  # one rounding of the division


@pytest.mark.parametrize(("span", "most"), [(0, 5), (-1, 5), (float("inf"), 5), (float("nan"), 5), (1, 0)])
def test_no_step_without_a_span(span: float, most: int) -> None:
    with pytest.raises(ValueError, match="no step"):
        nice_step(span, most)


@given(low=st.floats(-1e9, 1e9), span=st.floats(1e-3, 1e9), most=st.integers(2, 12))
def test_linear_ticks_are_few_rising_inside_and_told_apart(low: float, span: float, most: int) -> None:
    scale = LinearScale(low, low + span)
    ticks = scale.ticks(most)
    places = [scale.place(t.value) for t in ticks]
    assert len(ticks) <= most + 1
    assert all(p is not None and -1e-6 <= p <= 1 + 1e-6 for p in places)
    assert places == sorted(places)  # type: ignore[type-var]
    if all(abs(t.value) < 1e6 for t in ticks):  # above, labels keep three digits
        assert len({t.label for t in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 15.95, ["0", "5", "10", "15"]),
        (0, 2.41, ["0", "0.5", "1.0", "1.5", "2.0"]),
        (-1.2, 0, ["-1.2", "-1.0", "-0.8", "-0.6", "-0.4", "-0.2", "0"]),
        (0, 1, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 100, ["0", "20", "40", "60", "80", "100"]),
        (-0.3, 0.3, ["-0.3", "-0.2", "-0.1", "0", "0.1", "0.2", "0.3"]),
    ],
)
def test_linear_labels_have_equally_many_decimals(low: float, high: float, labels: list[str]) -> None:
    assert [t.label for t in LinearScale(low, high).ticks(6)] == labels


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (1, 1e20, ["1", "10⁴", "10⁸", "10¹²", "10¹⁶", "10²⁰"]),
        (1e-16, 1e3, ["10⁻¹⁶", "10⁻¹²", "10⁻⁸", "10⁻⁴", "1"]),
        (0.1, 100, ["0.1", "1", "10", "100"]),
        (16, 100, ["20", "50", "100"]),
        (3, 4, ["3", "4"]),
    ],
)
def test_logarithmic_labels(low: float, high: float, labels: list[str]) -> None:
    assert [t.label for t in LogScale(low, high).ticks(6)] == labels


@given(low=st.floats(1e-300, 1e300), ratio=st.floats(1.5, 1e8), most=st.integers(3, 9))
def test_logarithmic_ticks_are_inside_and_rise(low: float, ratio: float, most: int) -> None:
    scale = LogScale(low, low * ratio)
    ticks = scale.ticks(most)
    places = [scale.place(t.value) for t in ticks]
    assert len(ticks) >= 2
    assert all(p is not None and -1e-6 <= p <= 1 + 1e-6 for p in places)
    assert all(a < b for a, b in pairwise(places) if a is not None and b is not None)


def test_zero_has_a_place_of_its_own_left_of_every_positive_value() -> None:
    scale = choose_scale([0, 1e-8, 1e-4, 0.1])
    assert scale.kind == "logarithmic"
    places = [scale.place(v) for v in (0, 1e-8, 1e-4, 0.1)]
    assert places[0] == 0
    assert places[1] == pytest.approx(0.12, rel=1e-12)
    assert places[2] == pytest.approx(0.12 + 0.88 * 4 / 7, rel=1e-12)  # four of seven decades
    assert places[3] == pytest.approx(1, rel=1e-12)
    assert scale.ticks(6)[0].label == "0"
    assert scale.place(-1) is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([16, 32, 64, 128, 256, 512, 1024, 2048], "logarithmic"),
        ([1, 2, 3, 4], "linear"),
        ([0.25, 0.5, 0.75, 1.0], "linear"),
        ([0.5, 0.99, 1.01, 2], "evenly spaced"),  # 0.99 and 1.01 are 1.3 % of the range apart
        ([-1.2, -0.6, 0], "linear"),
        ([8, 1024], "logarithmic"),
        ([5], "linear"),
    ],
)
def test_the_scale_suits_the_values(values: list[float], kind: str) -> None:
    assert choose_scale(values).kind == kind


def test_a_scale_needs_a_value() -> None:
    with pytest.raises(ValueError, match="needs a value"):
        choose_scale([])


def test_evenly_spaced_values_keep_their_order_and_thin_out() -> None:
    scale = EvenScale((0.5, 0.99, 1.01, 2.0))
    assert [scale.place(v) for v in scale.values] == [0, 1 / 3, 2 / 3, 1]
    assert scale.place(1.0) is None
    assert [t.label for t in scale.ticks(2)] == ["0.5", "1.01"]
    assert EvenScale((3.0,)).place(3.0) == 0.5


def test_a_scale_of_one_value_puts_it_in_the_middle() -> None:
    assert LinearScale(5, 5).place(5) == 0.5
    assert [t.label for t in LinearScale(5, 5).ticks(6)] == ["5"]
    assert LogScale(5, 5).place(5) == 0.5
    assert [t.label for t in LogScale(5, 5).ticks(6)] == ["5"]


def test_powers_of_a_unit_below_one_grow_to_the_right() -> None:
    scale = Reversed(LinearScale(-1.2, 0))
    assert scale.place(0) == 0
    assert scale.place(-1.2) == 1
    assert scale.kind == "linear"


@pytest.mark.parametrize(
    ("low", "high", "first", "last"), [(3e-17, 20, 1e-17, 100), (1, 10, 1, 10), (5, 5, 1, 10), (1, 1, 1, 10)]
)
def test_decades_hold_both_numbers(low: float, high: float, first: float, last: float) -> None:
    scale = decades(low, high)
    assert scale.low == pytest.approx(first, rel=1e-12)
    assert scale.high == pytest.approx(last, rel=1e-12)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (2, 1)])
def test_no_decades_hold_what_is_not_positive(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="no decades"):
        decades(low, high)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (8, "8"),
        (1024, "1024"),
        (65536, "65536"),
        (0.99, "0.99"),
        (1e-8, "1e-8"),
        (1.5e-8, "1.5e-8"),
        (2**27, "1.34e8"),
        (-0.4, "-0.4"),
        (0.1 + 0.2, "0.3"),
    ],
)
def test_short_numbers(value: float, label: str) -> None:
    assert short_number(value) == label


@pytest.mark.parametrize(
    ("exponent", "label"), [(-2, "0.01"), (0, "1"), (3, "1000"), (4, "10⁴"), (-16, "10⁻¹⁶")]
)
def test_powers_of_ten(exponent: int, label: str) -> None:
    assert power_of_ten(exponent) == label
