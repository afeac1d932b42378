"""What became of a cell's digits, from rows written by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compare.accuracy import DIGITS_PER_BIT, Accuracy, compared
from harness.compare.model import ACCURACY
from harness.model import OUTCOMES

GOOD = {
    "output": "s", "outcome": "ok", "verdict": "pass", "reason": "bound_ratio 0.2 ≤ 1", "bound_ratio": 0.2,
    "bits": 22.0, "max_ulp": 2.0, "dtype": "float32", "compute_dtype": "float32",
    "axes": '{"n": 8}', "inputs_digest": "i", "result_digest": "r",
}  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def change(was: dict[str, Any], now: dict[str, Any]) -> Accuracy:
    return compared([row(**was)], [row(**now)])


def test_equal_bits_of_equal_inputs_are_the_same() -> None:
    found = change({}, {})
    assert (found.word, found.reason) == ("same", "")
    assert (found.base_digest, found.head_digest) == ("r", "r")
    assert found.base_digits == found.head_digits == pytest.approx(22 * 0.30103, rel=1e-6)
    assert (found.base_bound_ratio, found.head_bound_ratio) == (0.2, 0.2)


@pytest.mark.parametrize("now", [{"result_digest": "q"}, {"result_digest": "q", "bound_ratio": 0.29}])
def test_other_bits_within_what_is_allowed_are_changed(now: dict[str, Any]) -> None:
    assert change({}, now).word == "changed"


def test_equal_results_of_other_inputs_are_not_the_same() -> None:
    assert change({}, {"inputs_digest": "j"}).word == "changed"


@pytest.mark.parametrize(
    ("was", "now", "word"),
    [
        (0.2, 0.41, "worse"),  # more than doubled, by more than a tenth of the bound
        (0.2, 0.4, "changed"),  # doubled is not more
        (0.02, 0.1, "changed"),  # five times nothing
        (0.02, 0.13, "worse"),
        (0.41, 0.2, "better"),
        (0.4, 0.2, "changed"),
        (0.0, 0.5, "worse"),
        (0.5, math.inf, "worse"),
        (0.5, 0.0, "better"),
    ],
)
def test_an_error_that_grew_against_the_same_bound(was: float, now: float, word: str) -> None:
    found = change({"bound_ratio": was}, {"bound_ratio": now, "result_digest": "q"})
    assert found.word == word
    assert ("bound_ratio" in found.reason) == (word in ("worse", "better"))


def test_a_bound_that_is_broken_is_worse_however_little_it_grew() -> None:
    found = change(
        {"bound_ratio": 0.99},
        {"bound_ratio": 1.01, "verdict": "fail", "reason": "bound_ratio 1.01 > 1", "result_digest": "q"},
    )
    assert (found.word, found.reason) == ("worse", "bound_ratio 1.01 > 1")


def test_what_was_broken_before_is_no_news() -> None:
    broken = {"bound_ratio": 3.0, "verdict": "fail", "reason": "bound_ratio 3 > 1"}
    assert change(broken, broken).word == "same"
    assert change(broken, {**broken, "bound_ratio": 3.1, "result_digest": "q"}).word == "changed"
    assert change(broken, {**broken, "bound_ratio": 7.0, "result_digest": "q"}).word == "worse"


@pytest.mark.parametrize("worse", OUTCOMES[3:-1])
def test_an_outcome_that_is_worse(worse: str) -> None:
    found = change({}, {"outcome": worse, "verdict": "fail"})
    assert (found.word, found.reason) == ("worse", f"outcome ok → {worse}")
    assert (found.base_outcome, found.head_outcome) == ("ok", worse)
    assert change({"outcome": worse, "verdict": "fail"}, {}).word == "better"


@pytest.mark.parametrize("none", ["crashed", "timeout", "raised", None])
def test_no_output_is_not_compared(none: str | None) -> None:
    """What did not come out is told by who measured, and is not less accurate."""
    lacking = {"outcome": none, "verdict": "inconclusive", "bits": None, "bound_ratio": None}
    assert change({}, lacking).word == "not_compared"
    assert change(lacking, {}).word == "not_compared"


def test_without_digests_bits_cannot_be_told_equal() -> None:
    assert change({}, {"result_digest": None}).word == "changed"
    unmeasured = {"result_digest": None, "bound_ratio": None}
    assert change(unmeasured, unmeasured).word == "not_compared"


# ---- other bounds: digits -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "now", "word"),
    [
        (22.0, 20.9, "worse"),
        (22.0, 21.0, "changed"),  # one bit fewer is an error doubled: not more than that
        (22.0, 23.1, "better"),
        (22.0, 23.0, "changed"),
        (22.0, None, "changed"),
    ],
)
@pytest.mark.parametrize("differs", ["inputs_digest", "compute_dtype"])
def test_digits_decide_where_bounds_differ(was: float, now: float, word: str, differs: str) -> None:
    """The ratio to another bound is not looked at: here it would say the opposite."""
    ratios = (0.5, 0.01) if word == "worse" else (0.01, 0.5)
    found = change(
        {"bits": was, "bound_ratio": ratios[0]},
        {"bits": now, "bound_ratio": ratios[1], differs: "other", "result_digest": "q"},
    )
    assert found.word == word
    assert ("digits" in found.reason) == (word in ("worse", "better"))


def test_another_dtype_is_compared_by_digits() -> None:
    narrow = {"dtype": "float16", "compute_dtype": "float16", "bits": 10.0, "result_digest": "q"}
    found = change({}, narrow)
    assert (found.word, found.reason) == ("worse", "6.6 → 3.0 digits")
    assert change(narrow, {}).word == "better"


def test_digits_of_another_value_of_an_axis_are_no_loss_within_its_bound() -> None:
    other = {"axes": '{"n": 64}', "inputs_digest": "j", "result_digest": "q", "bits": 12.0}
    assert change({}, other).word == "not_compared"
    broken = {**other, "verdict": "fail", "reason": "bound_ratio 2 > 1"}
    assert change({}, broken).word == "worse"
    assert change({}, {**other, "outcome": "overflow", "verdict": "fail"}).word == "worse"


def test_a_result_within_one_unit_lost_nothing_that_its_dtype_holds() -> None:
    other = {"inputs_digest": "j", "result_digest": "q"}
    assert change({"bits": 24.0}, {"bits": 22.9, "max_ulp": 1.0, **other}).word == "changed"
    assert change({"bits": 24.0}, {"bits": 22.9, "max_ulp": 1.1, **other}).word == "worse"
    # of another dtype, one unit is worth something else
    assert change({"bits": 24.0}, {"bits": 11.0, "max_ulp": 0.5, "dtype": "float16", **other}).word == "worse"


# ---- several outputs ------------------------------------------------------------------------------------


def test_the_worst_output_decides_and_the_worst_numbers_are_told() -> None:
    base = [row(output="x"), row(output="y", bits=20.0, bound_ratio=0.6)]
    head = [
        row(output="x", bound_ratio=0.9, bits=19.0, result_digest="q"),
        row(output="y", bits=20.0, bound_ratio=0.01),
    ]
    found = compared(base, head)
    assert (found.word, found.reason) == ("worse", "bound_ratio 0.2 → 0.9 (4.5 ×)")
    assert (found.base_digits, found.head_digits) == (20 * DIGITS_PER_BIT, 19 * DIGITS_PER_BIT)
    assert (found.base_bound_ratio, found.head_bound_ratio) == (0.6, 0.9)
    assert compared(base[::-1], head).word == "worse"  # outputs are matched by name


def test_an_output_that_the_base_has_not_is_not_compared() -> None:
    assert compared([row(output="x")], [row(output="y")]).word == "not_compared"
    assert compared([], []).word == "not_compared"
    assert compared([row()], []).word == "not_compared"


def test_fewer_than_no_digits_are_none() -> None:
    assert change({}, {"bits": -3.0}).head_digits == 0.0


rows_of_anything = st.fixed_dictionaries(
    {
        "outcome": st.sampled_from([*OUTCOMES, None]),
        "verdict": st.sampled_from(["pass", "fail", "inconclusive"]),
        "bound_ratio": st.none() | st.floats(0, 10) | st.just(math.inf),
        "bits": st.none() | st.floats(0, 53),
        "max_ulp": st.none() | st.floats(0, 1e6),
        "inputs_digest": st.sampled_from("ij"),
        "result_digest": st.sampled_from(["q", "r", None]),
        "dtype": st.sampled_from(["float32", "float64"]),
    }
)


@given(rows_of_anything, rows_of_anything)
def test_every_word_is_one_of_the_model_and_no_two_sides_are_both_worse(
    was: dict[str, Any], now: dict[str, Any]
) -> None:
    there, back = change(was, now), change(now, was)
    assert there.word in ACCURACY
    assert not (there.word == back.word == "better")
    if there.word == "better":
        assert back.word in ("worse", "changed", "not_compared")
    if "same" in (there.word, back.word):
        assert was["result_digest"] == now["result_digest"]


@given(rows_of_anything)
def test_a_row_against_itself_is_no_change(found: dict[str, Any]) -> None:
    assert change(found, found).word in ("same", "changed", "not_compared")
