"""The rules of other tools, and tables of what they say: `benchmarks/rivals.py`, `evaluate_gate.py`."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

SOURCE = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SOURCE))
        yield importlib.import_module("rivals"), importlib.import_module("evaluate_gate")
        for name in ("rivals", "evaluate_gate"):
            sys.modules.pop(name)


@pytest.fixture
def rivals(modules):
    return modules[0]


@pytest.fixture
def evaluate(modules):
    return modules[1]


def near(level: float, count: int) -> list[float]:
    """Return times without ties, in the order of their index, within 0.1 % of a level."""
    return [level * (1 + 1e-3 * i / count) for i in range(count)]


# ------------------------------------------------------------------------------------------------------ asv


def test_asv_needs_the_factor_and_the_test(rivals):
    # 7 + 7 apart: p = 2/binom(14, 7) = 2/3432 < 0.002; 6 + 6: 2/924 > 0.002, printed with "~".
    assert rivals.asv(near(1, 7), near(1.2, 7)) == "slower"
    assert rivals.asv(near(1, 6), near(1.2, 6)) == "cannot tell"
    assert rivals.asv(near(1, 40), near(1.09, 40)) == "not slower"
    assert rivals.asv(near(1.2, 40), near(1, 40)) == "not slower"


def test_asv_p_value_by_enumeration_and_by_hand(rivals):
    assert rivals.asv_p_value(near(1, 7), near(2, 7)) == pytest.approx(2 / math.comb(14, 7), rel=1e-12)
    # 21 + 21 apart: U = 0, mean 220.5, variance 441·43/12.
    z = 220.5 / math.sqrt(441 * 43 / 12)
    assert rivals.asv_p_value(near(1, 21), near(2, 21)) == pytest.approx(2 * stats.norm.sf(z), rel=1e-9)
    random = np.random.default_rng(0)
    for m, n in ((6, 6), (7, 11), (20, 13), (20, 20)):
        x, y = random.normal(0, 1, m), random.normal(0.7, 1, n)
        exact = stats.mannwhitneyu(x, y, method="exact").pvalue
        assert rivals.asv_p_value(list(x), list(y)) == pytest.approx(exact, rel=1e-9)


def test_asv_breaks_ties_towards_no_difference(rivals):
    # U lies between 0 and 49, whatever the ties are broken to: the middle is the least significant.
    assert rivals.asv_p_value([1.0] * 7, [1.0] * 7) == pytest.approx(1, abs=0.2)
    # 3 below and 4 tied with all of 7: U from 0 to 28, and 24 is the middle of 49.
    x, y = [1.0] * 3 + [2.0] * 4, [2.0] * 7
    assert rivals.asv_p_value(x, y) > 0.9


def test_asv_refuses_what_it_would_decide_otherwise(rivals):
    with pytest.raises(ValueError, match="needs 6"):
        rivals.asv(near(1, 5), near(2, 5))


# --------------------------------------------------------------------------------------------------- pyperf


def test_pyperf_critical_values_are_those_of_tables(rivals):
    known = {1: 12.706, 10: 2.228, 20: 2.086, 30: 2.042, 39: 2.042, 40: 2.021, 58: 2.009, 60: 2.0}
    known |= {79: 2.0, 80: 1.99, 100: 1.984, 199: 1.984, 200: 1.96, 5000: 1.96}
    assert {freedom: rivals.pyperf_critical(freedom) for freedom in known} == known


def test_pyperf_by_hand(rivals):
    # Variance 1 on both sides, 4 degrees of freedom (2.776): t = 2/√(2/3) = 2.45 and 3/√(2/3) = 3.67.
    assert rivals.pyperf([1, 2, 3], [3, 4, 5]) == "not slower"
    assert rivals.pyperf([1, 2, 3], [4, 5, 6]) == "slower"
    assert rivals.pyperf([4, 5, 6], [1, 2, 3]) == "not slower"
    # t = 2.3/√(2/3) = 2.82, and 2.25/√(2/3) = 2.756: a normal quantile, or variances by n, would take both.
    assert rivals.pyperf([1, 2, 3], [3.25, 4.25, 5.25]) == "not slower"
    assert rivals.pyperf([1, 2, 3], [3.3, 4.3, 5.3]) == "slower"


def test_pyperf_calls_significant_what_raises(rivals):
    assert rivals.pyperf([1, 2, 3], [1, 2, 3, 3.1]) == "slower"
    assert rivals.pyperf([1, 1], [1.0001, 1.0001]) == "slower"
    assert rivals.pyperf([1, 1], [1, 1]) == "not slower"


# ----------------------------------------------------------------------------------------- pytest-benchmark


def test_pytest_benchmark_takes_the_field_it_is_told(rivals):
    base, head = [1.0, 1.0, 4.0], [1.04, 1.2, 2.0]
    assert rivals.pytest_benchmark(base, head) == "not slower"
    assert rivals.pytest_benchmark(base, head, "median") == "slower"
    assert rivals.pytest_benchmark(base, head, "min") == "not slower"
    assert rivals.pytest_benchmark(base, head, "min", 3) == "slower"
    assert rivals.pytest_benchmark([100.0], [105.0]) == "not slower"
    assert rivals.pytest_benchmark([100.0], [105.1]) == "slower"


# ------------------------------------------------------------------------------------------------ criterion


def test_criterion_wants_the_interval_beyond_the_noise_threshold(rivals):
    base = near(1, 40)
    assert rivals.criterion(base, near(1.02, 40)) == "slower"
    assert rivals.criterion(base, near(1.009, 40)) == "not slower"
    assert rivals.criterion(base, near(1.009, 40), 5000, first=0) == "not slower"
    assert rivals.criterion(near(1.02, 40), base) == "not slower"
    # Within 0.1 %, 0.9 % is significant all the same.
    assert rivals.criterion_p_value(base, near(1.009, 40), 1000) == 0


def test_criterion_p_value_is_welchs_for_normal_samples(rivals):
    random = np.random.default_rng(1)
    base, head = random.normal(1, 0.1, 60), random.normal(1.04, 0.1, 60)
    expected = stats.ttest_ind(head, base, equal_var=False).pvalue
    assert 0.01 < expected < 0.2
    # 20 000 resamples: 5 standard errors of the estimate are below 0.015; the bootstrap itself is near only.
    assert rivals.criterion_p_value(base, head, 20_000) == pytest.approx(expected, abs=0.03)


def test_criterion_one_resample_of_head_serves_a_chunk(rivals):
    a, b = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0])
    ratios = rivals.criterion_ratios(a, b, 100, np.random.default_rng(0))
    assert ratios.shape == (100,)
    assert all(len(set(ratios[10 * i : 10 * i + 10])) == 1 for i in range(10))
    assert len(set(ratios)) > 1


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, "not slower"), (1.05, "slower")])
def test_criterion_decided_early_is_the_full_decision(rivals, ratio, expected):
    random = np.random.default_rng(2)
    base, head = random.lognormal(0, 0.05, 50), ratio * random.lognormal(0, 0.05, 50)
    assert rivals.criterion(base, head) == rivals.criterion(base, head, 5000, first=0) == expected


# -------------------------------------------------------------------------------------------------- Google


def test_google_benchmark(rivals):
    assert rivals.google_benchmark(near(1, 8), near(2, 8)) == "cannot tell"
    assert rivals.google_benchmark(near(1, 9), near(1.01, 9)) == "slower"
    assert rivals.google_benchmark(near(1.01, 9), near(1, 9)) == "not slower"
    assert rivals.google_benchmark([1, 3] * 9, [1.1, 2.9] * 9) == "not slower"


# ---------------------------------------------------------------------------------------------- evaluation


def line(**changes: Any) -> dict[str, Any]:
    value = {"op": "add", "threads": 1, "loaded": False, "family": 0, "planted": 1.0, "verdict": "pass"}
    value |= {"seconds": 1.0, "rounds": 20, "threshold": 0.03}
    value |= {side: near(1, 9) for side in ("base", "head", "sequential_base", "sequential_head")}
    return value | changes


def records(evaluate: Any, *lines: dict[str, Any]) -> list[Any]:
    return [evaluate.record(each) for each in lines]


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each row of a table, by the first cell; that of the last such row."""
    cells = [
        [c.strip() for c in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|")
    ]
    return {first: rest for first, *rest in cells}


def test_shares_have_the_interval_of_clopper_and_pearson(evaluate):
    # 0 of 100: 1 − 0.025^(1/100) = 3.62 %; 5 of 100: 1.64 to 11.28 % (tables).
    assert evaluate.share(0, 100) == "0 of 100: 0.0% [0.0%, 3.6%]"
    assert evaluate.share(5, 100) == "5 of 100: 5.0% [1.6%, 11.3%]"
    assert evaluate.share(0, 0) == "–"


def test_false_alarms_by_machine_operation_rule_and_sampling(evaluate):
    slow = near(1.3, 9)
    found = records(
        evaluate,
        line(),
        line(verdict="fail", op="matmul"),
        line(verdict="inconclusive", loaded=True, sequential_head=slow),
        line(loaded=True, head=near(1.3, 9), sequential_head=slow),
        line(planted=1.1, verdict="fail"),
    )
    text = evaluate.evaluation(found)
    assert "## The same code twice: 4 comparisons" in text
    same = rows(text.split("### False alarms by rule")[0])
    assert same["all"][:3] == ["all", "4", evaluate.share(1, 4)]
    assert same["idle"][1:] == ["2", evaluate.share(1, 2), evaluate.share(0, 2)]
    assert same["loaded"][1:] == ["2", evaluate.share(0, 2), evaluate.share(1, 2)]
    assert same["matmul"] == ["1", evaluate.share(1, 1), evaluate.share(0, 1)]
    alarms = rows(text.split("### False alarms by rule")[1].split("###")[0])
    counts = [(0, 2), (1, 2), (1, 4), (0, 2), (2, 2), (2, 4)]
    for title in (
        "Google Benchmark: U test p < 0.05",
        "pytest-benchmark mean:5%",
        "pyperf compare_to: t test at 95 %",
    ):
        assert alarms[title] == [evaluate.share(*each) for each in counts]
    assert alarms["**ours**"] == [evaluate.share(*each) for each in [(1, 2), (0, 2), (1, 4)]] + ["–"] * 3


def test_a_family_counts_once(evaluate):
    found = records(
        evaluate,
        *[line(family=1, verdict="fail")] * 2,
        line(family=1),
        *[line(family=2)] * 2,
        *[line(family=3, head=near(1.3, 9))],
    )
    text = evaluate.evaluation(found, 3).split("### Families of 3")[1]
    assert "(2 of 3 are of another size: 1 to 3)" in text
    table = rows(text.split("##")[0])
    assert table["**ours**"] == [evaluate.share(1, 3), "–"]
    assert table["pytest-benchmark min:5%"] == [evaluate.share(1, 3), evaluate.share(0, 3)]


def test_a_family_of_idle_and_loaded_ones_is_said(evaluate):
    found = records(evaluate, line(loaded=True), line())
    assert "### Families of 2 with at least one false alarm (some hold" in evaluate.evaluation(found, 2)
    found = records(evaluate, line(loaded=True), line(family=1))
    assert "some hold" not in evaluate.evaluation(found, 1)


def test_found_are_failures_only(evaluate):
    found = records(
        evaluate,
        line(planted=1.05, verdict="fail", head=near(1.3, 9)),
        line(planted=1.05, verdict="inconclusive"),
        line(planted=1.05, verdict="pass"),
        line(planted=1.05, loaded=True, verdict="fail"),
        line(planted=1.2, verdict="fail"),
        line(planted=0.8, verdict="pass"),
    )
    text = evaluate.evaluation(found)
    assert "The same code twice" not in text
    slow, fast = text.split("## The head is faster")
    table = rows(slow)
    assert table["**ours**"] == [evaluate.share(1, 3), evaluate.share(1, 1), evaluate.share(1, 1)]
    interleaved = table["Google Benchmark: U test p < 0.05, interleaved"]
    assert interleaved == [evaluate.share(1, 3), evaluate.share(0, 1), evaluate.share(0, 1)]
    first = next(row for row in slow.splitlines() if row.startswith("| 1.05 | idle"))
    assert first == f"| 1.05 | idle | 3 | {evaluate.share(1, 3)} | {evaluate.share(1, 3)} |"
    assert rows(fast)["**ours**"] == [evaluate.share(0, 1)]


def test_durations_and_thresholds(evaluate):
    found = records(evaluate, *[line(seconds=float(s), threshold=s / 100) for s in range(1, 11)])
    took = rows(evaluate.evaluation(found).split("## What a comparison takes")[1])
    assert took["1"] == ["idle", "10", "5.5", "9", "20", "5.5%", "10.0%"]
    assert took["all"][:4] == ["all", "10", "5.5", "9"]


def test_asv_cannot_tell_is_counted_apart(evaluate):
    # Beyond the factor, and so mixed that the test sees nothing.
    found = records(evaluate, line(base=[1, 2] * 4 + [1], head=[1.01, 2.01] * 4 + [2.01]))
    assert found[0].says["asv", "interleaved"] == "cannot tell"
    text = evaluate.evaluation(found)
    assert "asv 1 interleaved, 0 sequential (of 1)" in text
    alarms = rows(text.split("### False alarms by rule")[1].split("###")[0])
    assert alarms["asv compare: median > 1.1 and U test p < 0.002"] == [evaluate.share(0, 1)] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "failed"}, "line 2: verdict 'failed' is none of fail, pass, inconclusive"),
        ({"sequential_head": [1.0] * 8 + [0.0]}, "line 2: sequential_head holds what is not a time"),
        ({"planted": 0}, "line 2: planted 0 is not a ratio"),
    ],
)
def test_bad_lines_are_named(evaluate, tmp_path, change, message):
    path = tmp_path / "comparisons.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in (line(), line(**change))), encoding="utf-8")
    with pytest.raises(evaluate.InputError, match=message):
        evaluate.read(path)


def test_what_has_too_few_slots_is_left_out_and_counted(evaluate, tmp_path, capsys):
    path = tmp_path / "comparisons.jsonl"
    lines = (line(), line(head=[1.0] * 8), line(sequential_base=[]))
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert len(evaluate.read(path)) == 1
    assert "2 comparisons of fewer than 9 slots are left out" in capsys.readouterr().err


def test_what_is_no_comparison_is_named(evaluate, tmp_path):
    path = tmp_path / "comparisons.jsonl"
    with pytest.raises(evaluate.InputError, match="No such file"):
        evaluate.read(path)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(evaluate.InputError, match="no comparison"):
        evaluate.read(path)
    path.write_text('{"verdict": "pass"}\n', encoding="utf-8")
    with pytest.raises(evaluate.InputError, match="line 1: no 'base'"):
        evaluate.read(path)
    path.write_text("[", encoding="utf-8")
    with pytest.raises(evaluate.InputError, match="line 1: Expecting value"):
        evaluate.read(path)
