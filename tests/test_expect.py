"""Verdicts from rules and facts from rows, on results written by hand."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from harness.expect import FACT_COLUMNS, facts, verdicts
from harness.expect.fitting import fit_slope, student_t
from harness.expect.measured import breaks
from harness.model import Axis, Case, Cell, Condition, FactSpec, Plan, Rule, Skip, SpeedSpec, cell_id


def a_cell(*rules: Rule, formulation: str = "naive", dtype: str = "float32", **changes: Any) -> Cell:
    axes = changes.pop("axes", {})
    cell = Cell(
        id=cell_id("c", formulation, "numpy", dtype, axes), case="c", operation="softmax",
        formulation=formulation, backend="numpy", dtype=dtype, mode="forward", axes=axes, profile="quick",
        problem="p", topic="stability", guide=(), seed=0, outputs=("p",), rules=rules,
    )  # fmt: skip
    return replace(cell, **changes)


def a_plan(*cells: Cell, **case: Any) -> Plan:
    whole = Case("c", "t", "stability", "softmax", (), **case)
    return Plan(cells, {}, {"c": whole}, "default", {})


def a_row(cell: Cell, outcome: str | None = "ok", ratio: Any = 0.25, **more: Any) -> dict[str, Any]:
    return {"cell": cell.id, "output": "p", "outcome": outcome, "bound_ratio": ratio, **more}


def judged(row: dict[str, Any], cell: Cell) -> tuple[str, str, str]:
    (result,) = verdicts([row], a_plan(cell))
    return result["verdict"], result["reason"], result["severity"]


@pytest.mark.parametrize(
    ("outcome", "ratio", "verdict", "reason"),
    [
        ("ok", 0.25, "pass", "outcome ok; bound_ratio 0.25 ≤ 1"),
        ("ok", 1.0, "pass", "outcome ok; bound_ratio 1 ≤ 1"),
        ("ok", 37.21, "fail", "bound_ratio 37.2 > 1"),
        ("ok", 1.0000001, "fail", "bound_ratio 1.0000001 > 1"),
        ("ok", math.inf, "fail", "bound_ratio inf > 1"),
        ("ok", "inf", "fail", "bound_ratio inf > 1"),
        ("ok", None, "inconclusive", "bound_ratio was not measured"),
        ("overflow", None, "fail", "outcome overflow, expected ok"),
        ("zeroed", 0.1, "fail", "outcome zeroed, expected ok"),
        ("raised", None, "fail", "outcome raised, expected ok"),
        ("crashed", None, "inconclusive", "no answer: crashed"),
        ("timeout", None, "inconclusive", "no answer: timeout"),
        (None, None, "inconclusive", "no result: the run ended before this cell was measured"),
    ],
)
def test_without_a_rule(outcome: str | None, ratio: Any, verdict: str, reason: str) -> None:
    cell = a_cell()
    assert judged(a_row(cell, outcome, ratio), cell) == (verdict, reason, "fail")


LINE = 41
ACCURATE = Condition(at_most=Decimal(500))


@pytest.mark.parametrize(
    ("rule", "row", "verdict", "reason"),
    [
        (Rule(outcome=("not_a_number",)), {"outcome": "not_a_number", "ratio": None}, "pass",
         "outcome not_a_number"),
        (Rule(outcome=("not_a_number",)), {}, "fail", "outcome ok, expected not_a_number"),
        (Rule(outcome=("overflow", "zeroed")), {"outcome": "underflow"}, "fail",
         "outcome underflow, expected one of overflow, zeroed"),
        (Rule(outcome=("ok",)), {"ratio": 7.0}, "pass", "outcome ok"),
        (Rule(outcome=("timeout",)), {"outcome": "timeout", "ratio": None}, "pass", "outcome timeout"),
        (Rule(outcome=("raised",)), {"outcome": "raised", "ratio": None}, "pass", "outcome raised"),
        (Rule(breaks="yes"), {"ratio": 7.0}, "pass", "breaks as expected: bound_ratio 7 > 1"),
        (Rule(breaks="yes"), {"outcome": "raised", "ratio": None}, "pass",
         "breaks as expected: outcome raised"),
        (Rule(breaks="yes"), {}, "fail", "expected to break, but outcome ok and bound_ratio 0.25 ≤ 1"),
        (Rule(breaks="yes"), {"ratio": None}, "inconclusive", "bound_ratio was not measured"),
        (Rule(breaks="yes"), {"outcome": "crashed"}, "inconclusive", "no answer: crashed"),
        (Rule(breaks="maybe"), {}, "pass", "may break, and does not: bound_ratio 0.25 ≤ 1"),
        (Rule(breaks="maybe"), {"outcome": "overflow"}, "pass", "may break, and does: outcome overflow"),
        (Rule(breaks="no"), {"ratio": 2.0}, "fail", "bound_ratio 2 > 1"),
        (Rule(bounds={"max_ulp": ACCURATE}), {"max_ulp": 12.0}, "pass",
         "outcome ok; bound_ratio 0.25 ≤ 1; max_ulp 12 ≤ 500"),
        (Rule(bounds={"max_ulp": ACCURATE}), {"max_ulp": 612.3}, "fail", "max_ulp 612 > 500"),
        (Rule(bounds={"max_ulp": ACCURATE}), {"max_ulp": 12.0, "ratio": 3.0}, "fail", "bound_ratio 3 > 1"),
        (Rule(bounds={"max_ulp": ACCURATE}), {}, "inconclusive", "max_ulp was not measured"),
        (Rule(bounds={"max_ulp": ACCURATE}), {"outcome": "zeroed"}, "fail", "outcome zeroed, expected ok"),
        (Rule(bounds={"bound_ratio": Condition(above=5, at_most=40)}), {"ratio": 37.2}, "pass",
         "outcome ok; bound_ratio 37.2 > 5 and ≤ 40"),
        (Rule(bounds={"bound_ratio": Condition(above=5, at_most=40)}), {"ratio": 2.0}, "fail",
         "bound_ratio 2 ≤ 5"),
        (Rule(breaks="maybe", bounds={"bits": Condition(at_least=3)}), {"bits": 2.0}, "fail", "bits 2 < 3"),
        # what is known to be broken outweighs what is not known
        (Rule(bounds={"max_ulp": ACCURATE, "bits": Condition(at_least=3)}), {"bits": 2.0}, "fail",
         "bits 2 < 3"),
        (Rule(bounds={"timer": Condition(equals=("wall", "graph"))}), {"timer": "cold"}, "fail",
         "timer cold is none of {wall, graph}"),
    ],
)  # fmt: skip
def test_one_rule(rule: Rule, row: dict[str, Any], verdict: str, reason: str) -> None:
    cell = a_cell(replace(rule, line=LINE))
    result = judged(a_row(cell, **row), cell)
    assert result == (verdict, f"{reason} (rule line {LINE})", "fail")


def test_the_first_rule_that_fits_the_output_decides() -> None:
    rules = (
        Rule(output="q", outcome=("overflow",), line=1),
        Rule(bounds={"bound_ratio": Condition(at_most=9)}, line=2),
        Rule(outcome=("zeroed",), line=3),
    )
    cell = a_cell(*rules, outputs=("q", "p"))
    rows = [{**a_row(cell, ratio=8.0), "output": "q"}, a_row(cell, ratio=8.0)]
    first, second = verdicts(rows, a_plan(cell))
    assert (first["verdict"], first["reason"]) == ("fail", "outcome ok, expected overflow (rule line 1)")
    assert (second["verdict"], second["reason"]) == ("pass", "outcome ok; bound_ratio 8 ≤ 9 (rule line 2)")


def test_severity_comes_from_the_rule() -> None:
    cell = a_cell(Rule(severity="warn", line=5))
    assert judged(a_row(cell, ratio=3.0), cell) == ("fail", "bound_ratio 3 > 1 (rule line 5)", "warn")


def test_undecided_elements_are_never_judged() -> None:
    cell = a_cell()
    for ratio in (0.1, 100.0):
        verdict, reason, _ = judged(a_row(cell, ratio=ratio, undecided=2, elements=64), cell)
        assert (verdict, reason) == ("inconclusive", "2 of 64 reference elements are undecided")


def test_an_error_text_is_told() -> None:
    cell = a_cell()
    _, reason, _ = judged(a_row(cell, "raised", None, error="LinAlgError: not positive definite"), cell)
    assert reason == "outcome raised, expected ok (LinAlgError: not positive definite)"


def test_a_skipped_cell_says_why() -> None:
    cell = a_cell(skip=Skip("unsupported", "numpy has no linalg in bfloat16"))
    assert judged(a_row(cell, None, None), cell)[:2] == (
        "skip",
        "unsupported: numpy has no linalg in bfloat16",
    )


@pytest.mark.parametrize(
    ("rule", "row", "verdict", "start"),
    [
        (Rule(breaks="yes"), {"outcome": "overflow"}, "pass", "known defect numpy#8775: breaks as expected"),
        (Rule(), {"ratio": 20.0}, "pass", "known defect numpy#8775: breaks as expected: bound_ratio 20 > 1"),
        (Rule(breaks="maybe"), {}, "pass", "fixed_upstream: numpy#8775 no longer shows: outcome ok"),
        (Rule(outcome=("overflow",)), {}, "pass", "fixed_upstream: numpy#8775 no longer shows"),
        (Rule(outcome=("overflow",)), {"outcome": "not_a_number"}, "fail",
         "defect numpy#8775 shows otherwise than declared: outcome not_a_number, expected overflow"),
        (Rule(bounds={"bound_ratio": Condition(above=5)}), {}, "pass", "fixed_upstream: numpy#8775"),
        (Rule(bounds={"bound_ratio": Condition(above=5)}), {"ratio": 2.0}, "fail", "defect numpy#8775"),
        (Rule(outcome=("overflow",)), {"outcome": "crashed"}, "inconclusive", "no answer: crashed"),
        (Rule(bounds={"bound_ratio": Condition(above=1), "max_ulp": Condition(above=5)}), {"ratio": 2.0},
         "inconclusive", "defect numpy#8775: max_ulp was not measured"),
    ],
)  # fmt: skip
def test_known_defects(rule: Rule, row: dict[str, Any], verdict: str, start: str) -> None:
    cell = a_cell(replace(rule, defect="numpy#8775"))
    result = judged(a_row(cell, **row), cell)
    assert result[0] == verdict
    assert result[1].startswith(start)


def test_a_cell_that_changes_the_arithmetic_of_its_process_fails() -> None:
    cell = a_cell()
    row = a_row(cell, fp_environment="flush-to-zero off → on")
    assert judged(row, cell)[:2] == (
        "fail",
        "outcome ok; bound_ratio 0.25 ≤ 1; left the floating-point environment flush-to-zero off → on",
    )
    assert judged({**row, "outcome": "crashed"}, cell)[0] == "inconclusive"


@pytest.mark.parametrize(
    ("row", "broken"),
    [
        ({"outcome": "ok", "bound_ratio": 1.0}, False),
        ({"outcome": "ok", "bound_ratio": math.nextafter(1, 2)}, True),
        ({"outcome": "ok", "bound_ratio": "nan"}, True),  # no number is at most 1
        ({"outcome": "ok", "bound_ratio": 7.0, "undecided": 1}, None),
        ({"outcome": "overflow", "undecided": 1}, None),
        ({"outcome": "raised"}, True),
        ({"outcome": "timeout"}, None),
        ({"outcome": "ok"}, None),
        ({}, None),
    ],
)
def test_what_breaks(row: dict[str, Any], broken: bool | None) -> None:
    assert breaks(row) is broken


def test_a_cell_that_is_only_timed() -> None:
    cell = a_cell(accuracy=False, speed=SpeedSpec())
    timed = a_row(cell, None, None, time_median_s=0.7)
    assert judged(timed, cell)[:2] == ("pass", "timed only; accuracy is not measured")
    limited = replace(cell, rules=(Rule(bounds={"time_median_s": Condition(at_most=Decimal("0.5"))}),))
    assert judged(a_row(limited, None, None, time_median_s=0.7), limited)[:2] == (
        "fail", "time_median_s 0.7 > 0.5",
    )  # fmt: skip
    assert judged(a_row(limited, None, None), limited)[0] == "inconclusive"
    assert judged(a_row(limited, "timeout", None), limited)[0] == "inconclusive"


def test_a_cell_that_was_to_be_timed_and_was_not_is_inconclusive() -> None:
    cell = a_cell(speed=SpeedSpec())
    assert judged(a_row(cell, error="not timed: timeout after 60 s"), cell)[:2] == (
        "inconclusive", "outcome ok; bound_ratio 0.25 ≤ 1; not timed: timeout after 60 s",
    )  # fmt: skip
    assert judged(a_row(cell, time_median_s=1e-3), cell)[0] == "pass"
    assert judged(a_row(cell, ratio=3.0), cell)[0] == "fail"
    raising = replace(cell, rules=(Rule(outcome=("raised",)),))
    assert judged(a_row(raising, "raised", None), raising)[0] == "pass"


def test_a_judge_that_could_not_score_is_no_result() -> None:
    cell = a_cell()
    assert judged(a_row(cell, None, None, error="shape (3,) came back, (4,) is due"), cell)[:2] == (
        "inconclusive", "no result: shape (3,) came back, (4,) is due",
    )  # fmt: skip


def test_rows_keep_their_order_and_columns_and_unknown_cells_are_refused() -> None:
    cell = a_cell()
    row = a_row(cell, seed=3)
    (result,) = verdicts([row], a_plan(cell))
    assert {k: result[k] for k in row} == row
    with pytest.raises(ValueError, match="'other'"):
        verdicts([{**row, "cell": "other"}], a_plan(cell))


# ---- fits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("degrees", "quantile"),  # Abramowitz & Stegun (1964), table 26.10, column 0.05
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_student_quantiles_agree_with_the_printed_table(degrees: int, quantile: float) -> None:
    assert student_t(degrees) == pytest.approx(quantile, abs=5e-4)  # half a unit of the last digit printed


def test_slope_and_interval_agree_with_a_published_regression() -> None:
    # NIST StRD, Norris, certifies slope 1.00211681802045 and standard error 0.429796848199937E-03.
    y = [
        0.1, 338.8, 118.1, 888.0, 9.2, 228.1, 668.5, 998.5, 449.1, 778.9, 559.2, 0.3,
        0.1, 778.1, 668.8, 339.3, 448.9, 10.8, 557.7, 228.3, 998.0, 888.8, 119.6, 0.3,
        0.6, 557.6, 339.3, 888.0, 998.5, 778.9, 10.2, 117.6, 228.9, 668.4, 449.2, 0.2,
    ]  # fmt: skip
    x = [
        0.2, 337.4, 118.2, 884.6, 10.1, 226.5, 666.3, 996.3, 448.6, 777.0, 558.2, 0.4,
        0.6, 775.5, 666.9, 338.0, 447.5, 11.6, 556.0, 228.1, 995.8, 887.6, 120.2, 0.3,
        0.3, 556.8, 339.1, 887.2, 999.0, 779.0, 11.1, 118.3, 229.2, 669.1, 448.9, 0.5,
    ]  # fmt: skip
    slope = fit_slope(x, y)
    assert slope.value == pytest.approx(1.00211681802045, rel=1e-13)
    half = student_t(34) * 0.429796848199937e-03
    assert slope.high - slope.value == pytest.approx(half, rel=1e-10)
    with pytest.raises(ValueError, match="three points"):
        fit_slope([1, 2], [1, 2])


def sweep(
    values: list[Any], metric: dict[Any, dict[str, Any]], spec: FactSpec | None = None, **axis: Any
) -> list[dict[str, Any]]:
    """Return the facts of one formulation swept over axis `n`; values not in `metric` were not measured."""
    cells = [a_cell(axes={"n": v}, speed=SpeedSpec()) for v in values]
    rows = [a_row(c, **m) for c in cells if (m := metric.get(c.axes["n"])) is not None]
    the_axis = Axis("n", tuple(values), frozenset(), **axis)
    return facts(rows, a_plan(*cells, axes=(the_axis,), facts=() if spec is None else (spec,)))


CUBIC = {n: {"time_median_s": 1e-9 * n**3} for n in (16, 32, 64, 128)}


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [
        (Condition(at_most=Decimal("3.1")), "pass"),
        (Condition(at_least=Decimal("2.9"), at_most=Decimal("3.1")), "pass"),
        (Condition(at_most=Decimal("2.5")), "fail"),
        (Condition(above=4), "fail"),
        (Condition(below=Decimal("2.5")), "fail"),
        (Condition(equals=(2,)), "fail"),  # one number has no side that the interval could be on
    ],
)
def test_an_exponent_is_fitted_and_judged(condition: Condition, verdict: str) -> None:
    spec = FactSpec("time_median_s", "n", expect={"exponent": condition}, line=9)
    (fact,) = sweep([16, 32, 64, 128], CUBIC, spec)
    assert tuple(fact) == FACT_COLUMNS
    assert (fact["fact"], fact["of"]) == ("exponent", "time_median_s")
    assert fact["value"] == pytest.approx(3, abs=1e-12)  # an exact cubic: only rounding of the logarithms
    assert (fact["verdict"], fact["expected"], fact["severity"]) == (verdict, str(condition), "fail")
    assert fact["reason"].endswith("(fact line 9)")


def test_a_scattered_exponent_outside_what_is_expected_is_inconclusive() -> None:
    noisy = {1: 1.0, 10: 40.0, 100: 90.0, 1000: 5000.0}  # the line through them has slope 1.14 ± 0.67
    spec = FactSpec("time_median_s", "n", expect={"exponent": Condition(at_most=1)})
    (fact,) = sweep(list(noisy), {n: {"time_median_s": t} for n, t in noisy.items()}, spec)
    assert fact["low"] < 1 < fact["value"]
    assert fact["verdict"] == "inconclusive"
    steeper = replace(spec, expect={"exponent": Condition(at_least=Decimal("1.5"))})
    (fact,) = sweep(list(noisy), {n: {"time_median_s": t} for n, t in noisy.items()}, steeper)
    assert fact["value"] < 1.5 < fact["high"]
    assert fact["verdict"] == "inconclusive"


def test_an_estimate_that_fits_by_chance_is_inconclusive() -> None:
    """The interval [0.47, 1.81] of these four points holds nearly any law: none is shown by them."""
    noisy = {1: 1.0, 10: 40.0, 100: 90.0, 1000: 5000.0}
    spec = FactSpec("time_median_s", "n", expect={"exponent": Condition(at_most=Decimal("1.5"))})
    (fact,) = sweep(list(noisy), {n: {"time_median_s": t} for n, t in noisy.items()}, spec)
    assert fact["value"] < 1.5 < fact["high"]
    assert (fact["verdict"], "the interval reaches beyond ≤ 1.5" in fact["reason"]) == ("inconclusive", True)


def test_a_fact_of_one_output_leaves_the_others_out() -> None:
    cells = [a_cell(axes={"n": v}, outputs=("a", "b")) for v in (1, 2, 4)]
    rows = [
        {**a_row(c, max_ulp=float(c.axes["n"]) ** power), "output": output}  # type: ignore[arg-type]
        for c in cells
        for output, power in (("a", 1), ("b", 2))
    ]
    axes = (Axis("n", (1, 2, 4), frozenset()),)
    spec = FactSpec("max_ulp", "n", output="b")
    (fact,) = facts(rows, a_plan(*cells, axes=axes, facts=(spec,)))
    assert (fact["output"], fact["value"]) == ("b", pytest.approx(2, abs=1e-12))


def test_only_cells_that_are_timed_make_the_exponent_of_a_time() -> None:
    cells = [a_cell(axes={"n": n}, speed=None if n == 16 else SpeedSpec()) for n in CUBIC]
    axes = (Axis("n", tuple(CUBIC), frozenset()),)
    spec = FactSpec("time_median_s", "n", expect={"exponent": Condition(at_most=4)})
    (fact,) = facts([], a_plan(*cells, axes=axes, facts=(spec,)))
    assert fact["reason"].startswith("0 of 3 points gave a positive time_median_s")


def test_few_points_are_inconclusive_where_more_were_to_be_had() -> None:
    spec = FactSpec("time_median_s", "n", expect={"exponent": Condition(at_most=4)})
    (lost,) = sweep([16, 32, 64], {n: CUBIC[n] for n in (16, 32)}, spec)
    assert (lost["verdict"], lost["value"]) == ("inconclusive", None)
    assert lost["reason"].startswith("2 of 3 points gave a positive time_median_s")
    (short,) = sweep([16, 32], CUBIC, spec)
    assert short["verdict"] == "skip"
    assert sweep([16, 32], CUBIC, replace(spec, expect={})) == []


def test_zero_errors_have_no_logarithm_and_are_left_out() -> None:
    spec = FactSpec("max_ulp", "n")
    errors = {1: {"max_ulp": 0.0}, 2: {"max_ulp": 2.0}, 4: {"max_ulp": 4.0}, 8: {"max_ulp": 8.0}}
    (fact,) = sweep([1, 2, 4, 8], errors, spec)
    assert fact["value"] == pytest.approx(1, abs=1e-12)
    assert fact["verdict"] is None
    assert "from 3 points" in fact["reason"]


def test_powers_of_a_unit_are_fitted_against_the_power_of_the_unit() -> None:
    powers = [Decimal("-0.25"), Decimal("-0.5"), Decimal("-0.75")]
    u = 2.0**-24
    errors = {p: {"norm_rel_error": (u ** float(p)) ** 2 * u} for p in powers}  # error ~ κ², κ = u^p
    (fact,) = sweep(powers, errors, FactSpec("norm_rel_error", "n"), unit="unit_roundoff", kind="powers")
    assert fact["value"] == pytest.approx(2, abs=1e-12)


def test_an_exponent_against_a_measured_column_pools_the_axes() -> None:
    kappa = {1: 10.0, 2: 1e3, 3: 1e6}
    rows = {i: {"condition": k, "norm_rel_error": 1e-7 * k} for i, k in kappa.items()}
    spec = FactSpec("norm_rel_error", "condition", expect={"exponent": Condition(at_most=2)})
    (fact,) = sweep(list(kappa), rows, spec)
    assert fact["value"] == pytest.approx(1, abs=1e-12)
    assert fact["where"] == "{}"


# ---- frontiers -------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {}
BAD: dict[str, Any] = {"outcome": "overflow", "ratio": None}
WEAK: dict[str, Any] = {"ratio": 12.5}
LOST: dict[str, Any] = {"outcome": "timeout", "ratio": None}


def edges(*states: dict[str, Any] | None) -> list[tuple[Any, Any, Any]]:
    metric = {i: s for i, s in enumerate(states, 1) if s is not None}
    found = sweep(list(range(1, len(states) + 1)), metric)
    assert all(f["fact"] == "frontier" and f["verdict"] is None for f in found)
    return [(f["value"], f["low"], f["high"]) for f in found]


def test_a_frontier_lies_between_the_last_good_and_the_first_bad_value() -> None:
    assert edges(GOOD, GOOD, BAD, BAD) == [(3, 2, 3)]
    assert edges(GOOD, WEAK) == [(2, 1, 2)]
    assert edges(BAD, BAD, GOOD) == [(2, 2, 3)]
    assert edges(BAD, GOOD, BAD) == [(1, 1, 2), (3, 2, 3)]
    assert edges(GOOD, LOST, None, BAD) == [(4, 1, 4)]
    assert edges(GOOD, GOOD) == []
    assert edges(BAD, BAD) == [(None, None, 1)]  # bad at every value, also where no other formulation holds


def test_a_frontier_does_not_depend_on_the_order_of_the_values() -> None:
    states = {4: BAD, 1: GOOD, 3: BAD, 2: GOOD}
    (fact,) = sweep(list(states), states)
    assert (fact["value"], fact["low"], fact["high"]) == (3, 2, 3)


def test_a_frontier_tells_its_place_in_the_unit_of_the_axis() -> None:
    times = [Decimal("0.5"), Decimal("0.99"), Decimal("1.01"), Decimal(2)]
    states = dict(zip(times, (GOOD, GOOD, BAD, GOOD), strict=True))
    (fact,) = sweep(times, states, unit="ln_max", kind="times")
    assert fact["value"] == 1.01
    assert fact["unit"] == "× ln_max"
    assert fact["reason"] == (
        "good at 0.99 × ln_max, outcome overflow at 1.01 × ln_max; good again at 2 × ln_max"
    )


def test_an_infinite_value_of_an_axis_bounds_no_frontier() -> None:
    infinite = [Decimal("-Infinity"), Decimal(0), Decimal(1)]
    states = dict(zip(infinite, (BAD, GOOD, BAD), strict=True))
    (fact,) = sweep(infinite, states)
    assert (fact["value"], fact["low"], fact["high"]) == (1, 0, 1)


def test_formulations_that_hold_are_told_where_another_breaks() -> None:
    values = [1, 2, 3]
    cells = [a_cell(axes={"n": n}, formulation=f) for f in ("naive", "shifted", "wrong") for n in values]
    bad = {("naive", 3), ("wrong", 1), ("wrong", 2), ("wrong", 3)}
    rows = [a_row(c, **(BAD if (c.formulation, c.axes["n"]) in bad else GOOD)) for c in cells]
    found = facts(rows, a_plan(*cells, axes=(Axis("n", tuple(values), frozenset()),)))
    assert [(f["formulation"], f["value"], f["low"], f["high"]) for f in found] == [
        ("naive", 3, 2, 3),
        ("shifted", None, 3, None),
        ("wrong", None, None, 1),
    ]
    assert found[1]["reason"] == "good at every value from n = 1 to n = 3"


def test_other_axes_are_held_fixed_and_zipped_ones_move_along() -> None:
    grid = list(itertools.product([1, 2], [10, 20]))
    cells = [a_cell(axes={"n": n, "m": m}) for n, m in grid]
    rows = [a_row(c, **(BAD if c.axes == {"n": 2, "m": 20} else GOOD)) for c in cells]
    axes = (Axis("n", (1, 2), frozenset()), Axis("m", (10, 20), frozenset()))
    found = facts(rows, a_plan(*cells, axes=axes))
    assert [(f["against"], json.loads(f["where"]), f["value"]) for f in found] == [
        ("n", {"m": 20}, 2),
        ("m", {"n": 2}, 20),
    ]
    pair = [a_cell(axes={"n": n, "m": m}) for n, m in ((1, 10), (2, 20))]
    rows = [a_row(c, **(BAD if c.axes["n"] == 2 else GOOD)) for c in pair]
    zipped = facts(rows, a_plan(*pair, axes=axes, zipped=(("n", "m"),)))
    assert [(f["against"], f["where"], f["value"]) for f in zipped] == [("n", "{}", 2), ("m", "{}", 20)]
