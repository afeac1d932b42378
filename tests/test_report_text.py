"""Numbers and words as the reports show them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from harness.model import OUTCOMES
from harness.report.view import text
from harness.report.view.axes import AxisUnit


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (999.6, "1,000"),
        (9994.0, "9,990"),
        (9999.0, "1.00e4"),  # rounds up into the next decade, and so into the other notation
        (0.001, "0.00100"),
        (0.00099951, "0.00100"),
        (0.000999, "9.99e-4"),
        (-0.0123, "-0.0123"),
        (1.7976931348623157e308, "1.80e308"),
        (5e-324, "4.94e-324"),
    ],
)
def test_three_significant_digits(value: float, shown: str) -> None:
    assert text.significant(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 s"),
        (1.5e-9, "1.50 ns"),
        (4e-10, "0.400 ns"),
        (9.9996e-7, "1.00 µs"),
        (0.00123, "1.23 ms"),
        (0.9996, "1.00 s"),
        (75.04, "75.0 s"),
    ],
)
def test_times_take_the_unit_that_suits_them(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.42, "0.4 s"), (48.2, "48 s"), (59.7, "1 min 0 s"), (171, "2 min 51 s"), (3840, "1 h 4 min")],
)
def test_durations_are_for_people(value: float, shown: str) -> None:
    assert text.duration(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (1.0, "100 %"),
        (0.9999, "99.9 %"),
        (0.5, "50.0 %"),
        (1e-5, "< 0.1 %"),
        (0.0, "0 %"),
        (1.00001, "100.1 %"),
    ],
)
def test_a_percentage_is_0_or_100_only_where_the_share_is(share: float, shown: str) -> None:
    assert text.percent(share) == shown


@pytest.mark.parametrize("display", ["scientific", "fixed", "integer", "percent", "seconds", "text"])
@pytest.mark.parametrize("missing", [None, "", float("nan"), "nan", Decimal("nan")])
def test_what_is_missing_is_a_dash_by_every_hint(display: str, missing: Any) -> None:
    assert text.number(missing, display) == "—"
    assert text.exact(missing) == ""


@pytest.mark.parametrize(
    ("value", "display", "shown"),
    [
        (math.inf, "scientific", "∞"),
        (-math.inf, "fixed", "-∞"),
        (65536, "integer", "65,536"),
        (65536, "scientific", "65,536"),
        (23.0, "fixed", "23.00"),
        (1e9, "fixed", "1.00e9"),
        (True, "scientific", "yes"),
        ("3,1", "text", "3,1"),
        (0.25, "percent", "25.0 %"),
    ],
)
def test_the_hint_decides_how_a_value_shows(value: Any, display: str, shown: str) -> None:
    assert text.number(value, display) == shown


@pytest.mark.parametrize("value", [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -2.5])
def test_the_exact_text_of_a_number_reads_back_as_the_number(value: float) -> None:
    assert float(text.exact(value)) == value
    assert float(text.plain(value)) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.0, "2"), (0.99, "0.99"), (1e-8, "1e-8"), (1e22, "1e22"), (True, "yes"), ("a", "a")],
)
def test_axis_values_are_written_as_in_a_case(value: Any, shown: str) -> None:
    assert text.plain(value) == shown


@pytest.mark.parametrize(
    ("value", "number"),
    [("", None), ("abc", None), (None, None), (True, None), (math.inf, None), ("1.5", 1.5), (2, 2.0)],
)
def test_only_finite_numbers_are_numbers(value: Any, number: float | None) -> None:
    assert text.finite(value) == number


def test_every_outcome_has_words_and_every_bad_one_a_sign_of_its_own() -> None:
    assert set(text.OUTCOME_WORDS) == {*OUTCOMES, "over"}
    assert set(text.OUTCOME_GLYPHS) == {*OUTCOMES, "over"} - {"ok"}
    assert len(set(text.OUTCOME_GLYPHS.values())) == len(text.OUTCOME_GLYPHS)
    assert all("_" not in words for words in text.OUTCOME_WORDS.values())


def test_words() -> None:
    assert text.counted(1, "cell") == "1 cell"
    assert text.counted(1204, "cell") == "1,204 cells"
    assert text.listed([]) == ""
    assert text.listed(["a"]) == "a"
    assert text.listed(["a", "b", "c"]) == "a, b and c"
    assert text.shortened("a\n  b", 10) == "a b"
    assert text.shortened("a" * 20, 10) == "a" * 9 + "…"


def test_axes_are_named_with_what_their_numbers_count() -> None:
    times, powers, plain = AxisUnit("ln_max", "times"), AxisUnit("unit_roundoff", "powers"), AxisUnit()
    assert [u.title("a") for u in (times, powers, plain)] == ["a (× ln Ω)", "a (power of u)", "a"]
    assert [u.say(0.5) for u in (times, powers, plain)] == ["0.5 × ln Ω", "u^0.5", "0.5"]
