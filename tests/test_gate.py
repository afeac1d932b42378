"""The gate on rows written by hand: what counts, what does not, and the exit code."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from harness.errors import NoBaselineError, UsageError
from harness.gate import (
    KINDS,
    GateReport,
    accept,
    compare_with_baseline,
    exit_code_of_run,
    highest,
    read_baseline,
)

HERE = {
    "machine": "x86_64",
    "cpu": "A",
    "cores_allowed": 2,
    "memory_bytes": 8,
    "packages": {"numpy": "2.4.6"},
}
HEADER = {"environment": HERE, "profile": "default"}


def a_row(n: int = 1, outcome: str | None = "ok", ratio: float | None = 0.2, **more: Any) -> dict[str, Any]:
    good = outcome == "ok" and ratio is not None and ratio <= 1
    row = {
        "cell": f"c/naive/numpy/float32/n={n}", "output": "p", "case": "c", "operation": "softmax",
        "formulation": "naive", "backend": "numpy", "dtype": "float32", "compute_dtype": "float32",
        "mode": "forward", "axes": f'{{"n": {n}}}', "topic": "t", "guide": None, "profile": "quick",
        "inputs_digest": "d1", "outcome": outcome, "verdict": "pass" if good else "fail",
        "reason": "outcome ok; bound_ratio 0.2 ≤ 1" if good else "bound_ratio > 1", "severity": "fail",
        "bound_ratio": ratio, "max_ulp": 1.5, "timer": None, "time_median_s": None, "time_ci_low_s": None,
        "time_ci_high_s": None,
    }  # fmt: skip
    return {**row, **more}


def skipped(n: int, word: str) -> dict[str, Any]:
    return a_row(n, None, None, verdict="skip", reason=f"{word}: not here", inputs_digest=None)


def gated(run: list[dict[str, Any]], baseline: list[dict[str, Any]], **more: Any) -> GateReport:
    return compare_with_baseline(run, HEADER, baseline, HEADER, **more)


def kinds(report: GateReport) -> list[str]:
    return [e.kind for e in report.entries]


# ---- exit codes ------------------------------------------------------------------------------------


def test_the_highest_code_wins_in_the_documented_order() -> None:
    order = [130, 2, 5, 1, 3, 4, 0]
    for size in range(1, len(order) + 1):
        for codes in itertools.combinations(order, size):
            assert highest(reversed(codes)) == codes[0]
    assert highest([]) == 0


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([("pass", "fail"), ("skip", "fail")], 0),
        ([("pass", "fail"), ("inconclusive", "fail")], 3),
        ([("inconclusive", "fail"), ("fail", "fail")], 1),
        ([("fail", "warn"), ("inconclusive", "warn")], 0),
        ([("fail", "warn"), ("inconclusive", "fail")], 3),
        ([(None, None)], 0),
    ],
)
def test_the_exit_code_of_a_run(verdicts: list[tuple[str, str]], code: int) -> None:
    items = [{"verdict": v, "severity": s} for v, s in verdicts]
    assert exit_code_of_run(items) == code
    assert exit_code_of_run([], items) == code


# ---- one row against its baseline ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "kind", "code"),
    [
        # grown: more than 2 × the baseline's error, and by more than a tenth of the bound
        ({"ratio": 0.2}, {"ratio": 0.2}, None, 0),
        ({"ratio": 0.2}, {"ratio": 0.4}, None, 0),
        ({"ratio": 0.2}, {"ratio": 0.41}, "regressed", 1),
        ({"ratio": 0.01}, {"ratio": 0.1}, None, 0),
        ({"ratio": 0.01}, {"ratio": 0.12}, "regressed", 1),
        ({"ratio": 0.0}, {"ratio": 0.2}, "regressed", 1),
        ({"ratio": 0.6}, {"ratio": 0.9}, None, 0),
        ({"ratio": 0.41}, {"ratio": 0.2}, "improved", 0),
        ({"ratio": 0.2}, {"ratio": math.inf}, "regressed", 1),
        ({"ratio": 5.0, "verdict": "pass"}, {"ratio": 11.0, "verdict": "pass"}, "regressed", 1),
        # outcomes
        ({}, {"outcome": "overflow", "ratio": None}, "regressed", 1),
        ({"outcome": "zeroed"}, {"outcome": "overflow", "verdict": "pass"}, "regressed", 1),
        ({"outcome": "overflow"}, {}, "improved", 0),
        ({"outcome": "raised", "ratio": None}, {}, "improved", 0),
        ({}, {"outcome": "raised", "ratio": None}, "regressed", 1),
        # a broken bound counts by itself, whatever the baseline had
        ({"ratio": 1.5}, {"ratio": 1.5}, "failed", 1),
        # could not be judged
        ({}, {"verdict": "inconclusive", "reason": "2 reference elements are undecided"}, "inconclusive", 3),
        ({}, {"outcome": None, "ratio": None, "verdict": "inconclusive"}, "inconclusive", 3),
        # no answer where the baseline had one is a loss
        ({}, {"outcome": "timeout", "ratio": None, "verdict": "inconclusive"}, "regressed", 1),
        ({"outcome": "raised"}, {"outcome": "crashed", "verdict": "inconclusive"}, "regressed", 1),
        ({}, {"outcome": "crashed", "ratio": None, "verdict": "inconclusive", "inputs_digest": "d2"},
         "regressed", 1),
        ({"outcome": "crashed"}, {"outcome": "crashed", "verdict": "inconclusive"}, "inconclusive", 3),
        # other inputs, another accumulator: not comparable
        ({}, {"inputs_digest": "d2"}, "changed", 3),
        ({}, {"inputs_digest": "d2", "ratio": 0.9}, "changed", 3),
        ({}, {"compute_dtype": "bfloat16"}, "changed", 3),
        # severity warn never decides
        ({}, {"ratio": 0.9, "severity": "warn"}, "regressed", 0),
        ({}, {"ratio": 3.0, "severity": "warn"}, "regressed", 0),
        ({}, {"reason": "fixed_upstream: numpy#8775 no longer shows"}, "fixed_upstream", 0),
    ],
)  # fmt: skip
def test_a_row_against_its_baseline(
    before: dict[str, Any], now: dict[str, Any], kind: str | None, code: int
) -> None:
    report = gated([a_row(**now)], [a_row(**before)])
    assert kinds(report) == ([] if kind is None else [kind])
    assert report.exit_code == code
    assert report.counts.get("unchanged", 0) == (kind is None)
    assert report.counts.get("warnings", 0) == (now.get("severity") == "warn")


def test_what_is_wrong_with_one_row_is_told_in_one_entry() -> None:
    (entry,) = gated([a_row(ratio=3.0, reason="bound_ratio 3 > 1")], [a_row(ratio=0.2)]).entries
    assert entry.kind == "regressed"
    assert entry.message == "bound_ratio 0.2 → 3 (15 ×); bound_ratio 3 > 1"


def test_a_failing_row_with_a_new_digest_fails() -> None:
    report = gated([a_row(ratio=3.0, inputs_digest="d2")], [a_row()])
    assert (kinds(report), report.exit_code) == (["failed"], 1)


# ---- cells that come and go ------------------------------------------------------------------------


def test_a_vanished_cell_fails_only_inside_the_selection() -> None:
    baseline = [a_row(1), a_row(2)]
    report = gated([a_row(1)], baseline)
    assert (kinds(report), report.exit_code) == (["vanished"], 1)
    assert report.entries[0].cell.endswith("n=2")
    outside = gated([a_row(1)], baseline, selected=lambda row: "n=1" in row["cell"])
    assert (kinds(outside), outside.exit_code) == ([], 0)


@pytest.mark.parametrize(
    ("word", "kind", "code"),
    [("unavailable", "unavailable", 0), ("unsupported", "vanished", 1), ("excluded", "vanished", 1)],
)
def test_a_cell_that_is_skipped_now(word: str, kind: str, code: int) -> None:
    report = gated([a_row(1), skipped(2, word)], [a_row(1), a_row(2)])
    assert (kinds(report), report.exit_code) == ([kind], code)
    assert kinds(gated([a_row(1), skipped(2, word)], [a_row(1)])) == []


def test_new_cells_are_notes_and_without_a_baseline_not_even_that() -> None:
    report = gated([a_row(1), a_row(2)], [a_row(1)])
    assert (kinds(report), report.exit_code) == (["new"], 0)
    none = gated([a_row(1)], [])
    assert (kinds(none), none.exit_code, none.comparable_times) == ([], 4, None)
    assert "no baseline" in none.notes[0]


def test_a_baseline_of_other_cells_is_no_baseline_and_failures_outrank_that() -> None:
    elsewhere = [a_row(7)]
    report = gated([a_row(1)], elsewhere, selected=lambda row: False)
    assert report.exit_code == 4
    assert gated([a_row(1, ratio=2.0)], elsewhere, selected=lambda row: False).exit_code == 1
    lost = a_row(1, None, None, verdict="inconclusive")
    assert gated([lost], elsewhere, selected=lambda row: False).exit_code == 3


def test_duplicates_are_refused() -> None:
    with pytest.raises(UsageError, match="the run holds output 'p' of cell c/naive"):
        gated([a_row(), a_row()], [])
    with pytest.raises(UsageError, match="the baseline holds"):
        gated([a_row()], [a_row(), a_row()])


def test_entries_are_worst_first() -> None:
    run = [
        a_row(1, ratio=0.9),
        a_row(2, "overflow", None),
        a_row(3, ratio=50.0),
        a_row(4, ratio=0.9, severity="warn"),
        a_row(5, verdict="inconclusive"),
        a_row(6, inputs_digest="d2"),
        a_row(7),
        a_row(8, ratio=400.0),
        a_row(9),
    ]
    baseline = [a_row(n) for n in (1, 2, 4, 5, 6, 10)] + [a_row(3, ratio=49.0), a_row(7, "zeroed", 0.1)]
    report = gated(run, baseline)
    told = [(e.kind, int(e.cell.partition("n=")[2])) for e in report.entries]
    assert told == [
        ("regressed", 2), ("regressed", 1), ("failed", 8), ("failed", 3), ("vanished", 10),
        ("inconclusive", 5), ("changed", 6), ("regressed", 4), ("improved", 7), ("new", 9),
    ]  # fmt: skip
    assert report.counts["regressed"] == 3
    assert report.counts["warnings"] == 1
    assert set(kinds(report)) <= set(KINDS)


def test_facts_count_like_rows() -> None:
    fact = {
        "fact": "exponent", "case": "c", "formulation": "naive", "backend": "numpy", "dtype": "float32",
        "output": "p", "of": "time_median_s", "against": "n", "reason": "exponent 3 > 2", "severity": "fail",
    }  # fmt: skip
    failing = gated([a_row()], [a_row()], run_facts=[{**fact, "verdict": "fail"}])
    assert (kinds(failing), failing.exit_code) == (["failed"], 1)
    assert failing.entries[0].message == "exponent of time_median_s against n: exponent 3 > 2"
    open_ = gated([a_row()], [a_row()], run_facts=[{**fact, "verdict": "inconclusive"}])
    assert open_.exit_code == 3
    assert gated([a_row()], [a_row()], run_facts=[{**fact, "verdict": None}]).exit_code == 0
    warned = gated([a_row()], [a_row()], run_facts=[{**fact, "verdict": "fail", "severity": "warn"}])
    assert (warned.exit_code, warned.counts["warnings"]) == (0, 1)


# ---- times and environments ------------------------------------------------------------------------


def timed(median: float, half: float) -> dict[str, Any]:
    return a_row(
        timer="wall", time_median_s=median, time_ci_low_s=median - half, time_ci_high_s=median + half
    )  # fmt: skip


def test_times_advise_on_the_same_machine_only() -> None:
    slow, base = timed(1.5e-3, 2e-5), timed(1.0e-3, 1e-5)
    report = gated([slow], [base])
    assert (kinds(report), report.exit_code) == (["slower"], 0)
    assert report.entries[0].message == "time 1.5 × the baseline's [1.47, 1.54], advisory"
    assert report.counts["warnings"] == 0
    assert kinds(gated([base], [slow])) == ["faster"]
    assert kinds(gated([timed(1.02e-3, 5e-6)], [base])) == []
    assert kinds(gated([timed(1.5e-3, 6e-4)], [base])) == []
    assert kinds(gated([timed(0.95e-3, 5e-6)], [base])) == []  # 5 % faster, and surely so: within 10 %
    elsewhere = {**HEADER, "environment": {**HERE, "cpu": "B"}}
    other = compare_with_baseline([slow], HEADER, [base], elsewhere)
    assert (kinds(other), other.comparable_times) == ([], False)
    assert "times are not compared: the baseline was measured on another machine" in other.notes
    unlike = {**slow, "timer": "cuda-graph"}
    assert kinds(gated([unlike], [base])) == []


def test_hot_times_are_never_compared_with_cold_ones() -> None:
    old, slow = timed(1e-3, 1e-5), timed(1.5e-3, 1e-5)
    hot, cold = {**slow, "cache": "hot"}, {**slow, "cache": "cold"}
    assert kinds(gated([hot], [{**old, "cache": "hot"}])) == ["slower"]
    assert kinds(gated([cold], [{**old, "cache": "cold"}])) == ["slower"]
    for run, baseline in ((cold, "hot"), (hot, "cold")):
        report = gated([run], [{**old, "cache": baseline}])
        assert (kinds(report), report.counts["times_compared"]) == ([], 0)
    assert kinds(gated([hot], [old])) == ["slower"], "an older baseline: its timer was hot"
    assert kinds(gated([{**cold, "timer": "wall-cold"}], [old])) == []


def test_differences_of_environment_are_told_and_decide_nothing() -> None:
    older = {**HEADER, "environment": {**HERE, "packages": {"numpy": "2.4.5"}, "python": "3.11.1"}}
    newer = {**HEADER, "environment": {**HERE, "python": "3.12.0", "variables": {"OMP_NUM_THREADS": "1"}}}
    report = compare_with_baseline([a_row()], newer, [a_row()], older)
    assert report.exit_code == 0
    assert set(report.notes) == {
        "python 3.11.1 → 3.12.0", "numpy 2.4.5 → 2.4.6", "variables none → OMP_NUM_THREADS=1",
    }  # fmt: skip


def test_machine_output() -> None:
    data = gated([a_row(ratio=0.9)], [a_row()]).as_json()
    assert data["schema_version"] == 1
    assert data["exit_code"] == 1
    assert data["cells"] == [
        {"cell": "c/naive/numpy/float32/n=1", "output": "p", "kind": "regressed", "severity": "fail",
         "message": "bound_ratio 0.2 → 0.9 (4.5 ×)"}
    ]  # fmt: skip


# ---- the baseline folder ---------------------------------------------------------------------------


def accepted(folder: Path, rows: list[dict[str, Any]], header: Any = HEADER, **more: Any) -> list[str]:
    return accept(folder, rows, [], header, {"c": "cases/c.yaml"}, **more)


def test_an_accepted_run_passes_its_own_gate(tmp_path: Path) -> None:
    rows = [
        a_row(2, ratio=1 / 3),
        a_row(1, "overflow", None, verdict="pass"),
        timed(1e-3, 1e-6) | {"cell": "c/naive/numpy/float32/n=3"},
    ]
    assert accepted(tmp_path / "b", rows) == ["accepted 3 results"]
    baseline = read_baseline(tmp_path / "b")
    report = compare_with_baseline(rows, HEADER, baseline.rows, baseline.header)
    assert (report.exit_code, kinds(report), report.counts["compared"]) == (0, [], 3)
    assert report.notes == ()
    assert report.counts["times_compared"] == 1
    assert {row["cell"][-1]: row["bound_ratio"] for row in baseline.rows}["2"] == 0.333333


def test_accepting_twice_gives_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    rows = [a_row(n, ratio=n / 7) for n in range(1, 7)]
    for name, ordered in (("a", rows), ("b", rows[::-1])):
        accepted(tmp_path / name, ordered)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == ["baseline.json", "facts.csv", "results.csv", "times.csv"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert "time" not in (tmp_path / "a" / "results.csv").read_text()


def test_accepting_keeps_what_the_run_does_not_cover(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    accepted(folder, [timed(1e-3, 1e-6), *(a_row(n) for n in (2, 3, 4, 5))])
    run = [skipped(1, "unavailable"), skipped(2, "excluded"), a_row(3, ratio=0.5)]
    elsewhere = {**HEADER, "environment": {**HERE, "cpu": "B"}}
    notes = accepted(folder, run, elsewhere, selected=lambda row: not row["cell"].endswith("n=5"))
    assert notes == ["accepted 1 results", "kept 2 results that this run does not cover"]
    rows = {r["cell"][-1]: r for r in read_baseline(folder).rows}
    assert {n: r["bound_ratio"] for n, r in rows.items()} == {"1": 0.2, "3": 0.5, "5": 0.2}
    assert rows["1"].get("time_median_s") is None


def test_an_unfinished_run_is_not_accepted_and_failing_ones_are_told(tmp_path: Path) -> None:
    lost = a_row(2, None, None, verdict="inconclusive")
    with pytest.raises(UsageError, match="1 cells of the run have no result"):
        accepted(tmp_path / "b", [a_row(1), lost])
    assert not (tmp_path / "b").exists()
    notes = accepted(tmp_path / "b", [a_row(1, ratio=3.0), a_row(2, ratio=3.0, severity="warn")])
    assert notes[1] == "1 accepted results fail their expectation, and the gate will go on failing"


@pytest.mark.parametrize("content", [None, "", "cell,output,outcome,verdict,axes\n"])
def test_no_baseline_or_an_empty_one(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "results.csv").write_text(content)
    with pytest.raises(NoBaselineError, match="harness gate --accept") as caught:
        read_baseline(tmp_path)
    assert caught.value.exit_code == 4
    with pytest.raises(NoBaselineError, match="is not there"):
        read_baseline(tmp_path / "none")


def test_a_damaged_or_newer_header_is_refused(tmp_path: Path) -> None:
    accepted(tmp_path, [a_row()])
    (tmp_path / "baseline.json").write_text('{"schema_version": 99}')
    with pytest.raises(UsageError, match="schema version 99"):
        read_baseline(tmp_path)
    (tmp_path / "baseline.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        read_baseline(tmp_path)
