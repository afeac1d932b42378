"""What is said of a comparison in words and on a screen: sentences, numbers, a table within 100 columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.cli.compare_summary import MOST_PAIRS, WIDTH, distinct_names, lines
from harness.compare.model import Comparison, Null
from harness.report.view.comparison import (
    compared,
    decade_text,
    digits_text,
    interval_text,
    measured_text,
    null_sentence,
    ordered,
    ratio_text,
    repetition,
    same_versions,
    share,
    told,
)
from tests import synthetic_comparison as synthetic

Maker = Callable[[], Comparison]


def screen(made: Comparison) -> list[str]:
    return list(lines(made))


# ---- sentences -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "state", "headline"),
    [
        (
            synthetic.ordinary,
            "fail",
            "6 of 40 pairs fail: 1 faster, bought with digits; 2 less accurate; 3 slower.",
        ),
        (synthetic.one_pair, "fail", "The one pair fails: it is slower."),
        (synthetic.formulations, "fail", "1 of 4 pairs fails: less accurate."),
        (synthetic.all_passed, "pass", "All 29 pairs pass."),
        (synthetic.undecided, "inconclusive", "None of 34 pairs fails, but 5 were not decided."),
        (synthetic.nothing_measured, "inconclusive", "None of 7 pairs could be measured."),
        (synthetic.no_pairs, "inconclusive", "Nothing was compared: there is no pair of cells."),
        (synthetic.interrupted, "fail", "This comparison was interrupted: 12 of 40 pairs were measured."),
    ],
)
def test_the_verdict_in_a_sentence(make: Maker, state: str, headline: str) -> None:
    found = told(make())
    assert (found.state, found.headline) == (state, headline)
    assert sum(found.counts.values()) == sum(found.kinds.values()) == len(make().pairs)


def test_one_pair_that_passes_or_cannot_be_told() -> None:
    pairs = {pair.kind: pair for pair in synthetic.ordinary().pairs}
    same = told(synthetic.comparison([pairs["same"]]))
    assert same.sentence == "The one pair passes. 1 shows no difference."
    assert told(synthetic.comparison([pairs["undecided"]])).headline == "The one pair could not be decided."


@pytest.mark.parametrize(
    ("thresholds", "sentence"),
    [
        (
            {},
            "The base was not measured against itself: nothing says which effects are too small to be seen.",
        ),
        ({-5: 0.02}, "Effects below 2 % are not gated here."),
        ({-6: 0.03, -5: 0.03}, "Effects below 3 % are not gated here."),
        (
            {-7: 0.05, -6: 0.03, -5: 0.02, -3: 0.02},
            "Effects below 2 % (cells of 10–100 µs and 1–10 ms), 3 % (cells of 1–10 µs) or "
            "5 % (cells of 100 ns – 1 µs) are not gated here.",
        ),
    ],
)
def test_what_is_too_small_to_be_gated(thresholds: dict[int, float], sentence: str) -> None:
    nulls = tuple(Null(d, 3, 0.005, 0.01, t) for d, t in thresholds.items())
    assert null_sentence(replace(synthetic.ordinary(), nulls=nulls)) == sentence


def test_decades_have_the_units_of_their_ends() -> None:
    shown = [decade_text(d) for d in (-10, -9, -7, -6, -4, -3, -1, 0, 2)]
    assert shown == [
        "0.1–1 ns", "1–10 ns", "100 ns – 1 µs", "1–10 µs", "100 µs – 1 ms", "1–10 ms", "100 ms – 1 s",
        "1–10 s", "100–1,000 s",
    ]  # fmt: skip


# ---- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "low", "high", "shown"),
    [
        (1.0521, 1.0468, 1.0579, "1.052 [1.047, 1.058]"),
        (0.5, 0.49, None, "0.500"),
        (12.34, 11.8, 13.2, "12.3 [11.8, 13.2]"),
        (0.0041, 0.0, math.inf, "0.00410 [0, ∞]"),
        (1234567.0, 1.0, 2e9, "1.23e6 [1.000, 2.00e9]"),
        (math.nan, None, None, "—"),
        (None, None, None, "—"),
    ],
)
def test_a_ratio_and_its_interval(
    ratio: float | None, low: float | None, high: float | None, shown: str
) -> None:
    pair = replace(synthetic.one_pair().pairs[0], ratio=ratio, ratio_low=low, ratio_high=high)
    assert ratio_text(pair) == shown
    assert interval_text(pair) == shown.partition(" ")[2]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"base_digits": 15.24, "head_digits": 11.0, "accuracy": "worse"}, "15.2 → 11.0"),
        ({"base_digits": 15.24, "head_digits": 15.21, "accuracy": "changed"}, "15.2"),
        ({"base_digits": 15.24, "head_digits": 15.21, "accuracy": "worse"}, "15.24 → 15.21"),
        ({"base_digits": 7.2, "head_digits": None, "head_outcome": "overflow"}, "7.2 → overflow"),
        ({"base_digits": None, "head_digits": None}, "—"),
        ({"base_digits": None, "head_digits": 0.0}, "— → 0.0"),
    ],
)
def test_digits_on_both_sides(values: dict[str, object], shown: str) -> None:
    assert digits_text(replace(synthetic.one_pair().pairs[0], **values)) == shown  # type: ignore[arg-type]


def test_shares_keep_two_digits() -> None:
    assert [share(v) for v in (0.02, 0.0306, 0.00034, 0.5, None, math.inf)] == [
        "2 %", "3.1 %", "0.034 %", "50 %", "—", "—",
    ]  # fmt: skip


def test_how_a_pair_was_measured() -> None:
    pair = replace(synthetic.one_pair().pairs[0], rounds=180, calls=12, null=0.0043, confirmed=2)
    assert measured_text(pair) == (
        "180 rounds of 12 calls, 99 % interval, δ 2 %, A/A 0.43 %, shown again by 2 of 3 fresh sets"
    )
    assert measured_text(synthetic.nothing_measured().pairs[0]) == ""


# ---- the sides -------------------------------------------------------------------------------------


def test_what_differs_between_the_sides() -> None:
    found = {line.name: line for line in compared(synthetic.ordinary())}
    assert {name for name, line in found.items() if line.differs} == {
        "asked for", "title", "revision", "import folders", "scipy", "numpy/1, blas",
    }  # fmt: skip
    assert (found["scipy"].base, found["scipy"].head) == ("1.17.0", "1.17.1")
    named = {line.name: line for line in compared(synthetic.formulations())}
    assert (named["formulation"].base, named["formulation"].head) == ("naive", "shifted")


def test_of_many_versions_those_that_compute_are_named() -> None:
    made = synthetic.ordinary()
    versions = {"numpy": "2.4.6", "scipy": "1.17.1", **{f"tool-{n}": "1" for n in range(40)}}
    sides = {"base": replace(made.base, versions=versions), "head": replace(made.head, versions=versions)}
    assert same_versions(replace(made, **sides)) == "numpy 2.4.6, scipy 1.17.1 and 40 more"  # type: ignore[arg-type]
    assert same_versions(made) == "numpy 2.4.6, torch 2.13.0"


def test_the_command_that_compares_again() -> None:
    made = synthetic.ordinary()
    again = "harness compare --base 'main~1' --head here cases -k 'not float16' --threshold 0.02 --budget 600"
    assert repetition(made) == again
    settings = {
        "profile": "quick", "allow_accuracy_loss": True,
        "selection": {"paths": ["a b.yaml"], "dtypes": ["float32"], "guide": ["NM4"]},
    }  # fmt: skip
    assert repetition(replace(made, settings=settings)) == (
        "harness compare --base 'main~1' --head here 'a b.yaml' --dtype float32 --guide NM4 --quick "
        "--allow-accuracy-loss"
    )
    assert repetition(replace(made, settings={"command": ["harness", "a b"]})) == "harness 'a b'"


# ---- the screen ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        synthetic.ordinary, synthetic.one_pair, synthetic.all_passed, synthetic.nothing_measured,
        synthetic.no_pairs, synthetic.interrupted, synthetic.formulations, synthetic.extreme,
        lambda: synthetic.many(400),
    ],
)  # fmt: skip
def test_it_fits_a_screen(make: Maker) -> None:
    made = make()
    shown = screen(made)
    assert max(map(len, shown)) <= WIDTH
    assert len(shown) < 80
    assert " ".join(shown).startswith(told(made).headline)
    assert shown[-1].startswith(f"exit code {made.exit_code}: ")


def test_pairs_stand_worst_first_under_their_verdict() -> None:
    made = synthetic.ordinary()
    shown = screen(made)
    heads = [line for line in shown if line.partition(":")[0] in ("fail", "inconclusive", "pass")]
    assert heads == [
        "fail: faster, bought with digits", "fail: less accurate", "fail: slower",
        "inconclusive: could not be measured", "inconclusive: cannot tell",
        "pass: less accurate, which is allowed", "pass: faster", "pass: more accurate",
        "pass: other digits, within what is allowed", "pass: no difference",
    ]  # fmt: skip
    slow = next(line for line in shown if "matmul-square/blocked/numpy/float64/n=256" in line)
    assert slow.split() == [
        "matmul-square/blocked/numpy/float64/n=256", "713", "µs", "750", "µs", "1.052",
        "[1.045,", "1.059]", "14.1",
    ]  # fmt: skip
    assert "    head: MemoryError: unable to allocate 512 MiB for an array of shape (8192, 8192)" in shown
    assert f"… and {40 - MOST_PAIRS} more in the report" in shown


def test_numbers_stand_below_one_another() -> None:
    shown = [x for x in screen(synthetic.ordinary()) if "[" in x and not x.startswith("    ")]
    assert len({line.index("[") for line in shown}) == 1
    units = {line.index("s  ") for line in shown}
    assert len(units) == 1, "times end together"


def test_pairs_not_measured_for_one_reason_are_told_together() -> None:
    shown = screen(synthetic.interrupted())
    assert shown.count("    interrupted") == 3
    assert "  … and 25 more for the same reason" in shown


def test_nothing_steers_the_terminal_and_errors_are_cut() -> None:
    shown = "\n".join(screen(synthetic.hostile()))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[31m" in shown
    assert all(len(line) < 400 for line in shown.split("\n"))


def test_ids_lose_the_middle_of_their_case_only() -> None:
    cells = ["attention-causal-mask/flash/numpy/float64/n=256", "dot/a/numpy/float64/n=1"]
    assert distinct_names(cells, 47) == cells
    short = distinct_names(cells, 40)[0]
    assert len(short) == 40
    assert short == "attenti…l-mask/flash/numpy/float64/n=256"
    assert distinct_names(cells, 30) == cells, "too little would be left of the case"


def test_no_two_ids_look_the_same() -> None:
    rest = "/shifted/torch-cpu/float64/n=1024,top=0.99"
    cells = [f"softmax-{word}-overflow{rest}" for word in ("early", "late", "never")]
    found = distinct_names(cells, len(rest) + 12)
    assert len(set(found)) == 3
    assert found == cells, "shortened, they would be one"
    hidden = ["dot\x1b/a", "dot\\x1b/a", "dot/b"]
    found = distinct_names(hidden, 80)
    assert len(set(found)) == 3
    assert found[2] == "dot/b"


def test_the_order_is_that_of_verdict_and_kind() -> None:
    made = list(synthetic.ordinary().pairs)
    assert [p.cell for p in ordered(made[::-1])][:1] == [made[0].cell]
    assert [(p.verdict, p.kind) for p in ordered(made[::-1])] == [(p.verdict, p.kind) for p in made]
