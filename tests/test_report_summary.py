"""The verdict in plain words, its counts, and what comes first."""

from __future__ import annotations

from typing import Any

import pytest

from harness.gate import ExitCode, exit_code_of_run
from harness.report.view.summary import (
    Counts,
    count,
    expected_breakages,
    failure_kind,
    merged,
    skip_groups,
    spans,
    summarise,
    what_happened,
)


def cell(name: str, verdict: str | None = "pass", **values: Any) -> dict[str, Any]:
    """Return a row of the case `c`; a name is `formulation/backend/dtype`."""
    formulation, backend, dtype = name.split("/")[:3]
    return {
        "cell": f"c/{name}", "case": "c", "output": "y", "formulation": formulation, "backend": backend,
        "dtype": dtype, "outcome": "ok", "bound_ratio": 0.5, "verdict": verdict, "severity": "fail", **values,
    }  # fmt: skip


FAILED = {"verdict": "fail", "outcome": "overflow", "bound_ratio": None}


@pytest.mark.parametrize(
    ("rows", "sentence", "state"),
    [
        ([], "Nothing was measured: the selection holds no cell.", "inconclusive"),
        ([cell("f/b/d", "skip")], "Nothing was measured: the one cell was skipped.", "inconclusive"),
        (
            [cell("f/b/d", "skip"), cell("f/b/e", "skip")],
            "Nothing was measured: all 2 cells were skipped.",
            "inconclusive",
        ),
        ([cell("f/b/d")], "The one cell is as expected.", "pass"),
        ([cell("f/b/d"), cell("f/b/e")], "All 2 cells are as expected.", "pass"),
        (
            [cell("f/b/d"), cell("f/b/e", "skip")],
            "The one cell is as expected. 1 cell was skipped.",
            "pass",
        ),
        ([cell("f/b/d"), cell("f/b/e", **FAILED)], "1 of 2 cells failed: overflow.", "fail"),
        (
            [
                cell("f/b/a", **FAILED), cell("f/b/b", **FAILED),
                cell("f/b/c", "fail", bound_ratio=3.0), cell("f/b/d", "fail"),
                cell("f/b/e", "fail", outcome="zeroed"), cell("f/b/f", "inconclusive"),
            ],
            "5 of 6 cells failed: overflow (2), zeroed (1), error above the bound (1) and otherwise (1). "
            "1 cell could not be judged.",
            "fail",
        ),
        (
            [cell("f/b/d", "fail", severity="warn")],
            "The one cell did not fail. 1 cell gave a warning.",
            "warn",
        ),
        (
            [cell("f/b/d", "inconclusive"), cell("f/b/e")],
            "None of 2 cells failed. 1 cell could not be judged.",
            "inconclusive",
        ),
        (
            [cell("f/b/d", reason="fixed_upstream: pytorch#1 no longer shows: ok")],
            "The one cell is as expected. 1 known defect no longer shows.",
            "pass",
        ),
    ],
)  # fmt: skip
def test_the_verdict_in_a_sentence(rows: list[dict[str, Any]], sentence: str, state: str) -> None:
    summary = summarise(rows, [])
    assert summary.sentence == sentence
    assert summary.state == state


def test_known_defects_that_still_show_are_counted_by_their_issue() -> None:
    shows = "known defect pytorch#31829: outcome not_a_number (rule line 20)"
    other = "known defect numpy#8775: breaks as expected: bound_ratio 3 > 1"
    gone = "fixed_upstream: pytorch#31829 no longer shows: outcome ok"
    rows = [
        cell("f/b/d", reason=other), cell("f/b/e", reason=shows), cell("f/b/f", reason=shows),
        cell("f/b/f", reason=shows, output="z"), cell("f/b/g", reason=gone),
        cell("f/b/h", "fail", reason=shows), cell("f/b/i", reason="outcome ok: no known defect x: y"),
    ]  # fmt: skip
    summary = summarise(rows, [])
    assert summary.defects == (("pytorch#31829", 2), ("numpy#8775", 1))
    assert summary.defects_told == "pytorch#31829 (2 cells), numpy#8775 (1 cell)"
    assert summarise([cell("f/b/d")], []).defects == ()


def test_a_failed_fact_fails_the_run_and_a_warning_fact_does_not() -> None:
    failed = {"fact": "exponent", "verdict": "fail", "severity": "fail"}
    assert summarise([cell("f/b/d")], [failed]).state == "fail"
    assert summarise([cell("f/b/d")], [failed]).rest == "1 of 1 fact failed."
    assert summarise([cell("f/b/d")], [{**failed, "severity": "warn"}]).state == "warn"
    unsure = {**failed, "verdict": "inconclusive"}
    assert summarise([cell("f/b/d")], [unsure]).state == "inconclusive"
    assert summarise([cell("f/b/d")], [{**unsure, "severity": "warn"}]).state == "warn"
    assert summarise([cell("f/b/d")], [failed, unsure, unsure]).rest == (
        "1 of 3 facts failed and 2 of 3 facts could not be judged."
    )


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive", "skip"])
@pytest.mark.parametrize("severity", ["fail", "warn"])
def test_the_state_agrees_with_the_exit_code(verdict: str, severity: str) -> None:
    rows = [cell("f/b/d"), cell("f/b/e", verdict, severity=severity)]
    bad = {ExitCode.FAILED: "fail", ExitCode.COULD_NOT_MEASURE: "inconclusive"}
    state = summarise(rows, []).state
    assert bad.get(exit_code_of_run(rows)) == (state if state in bad.values() else None)


def test_an_interrupted_run_has_no_verdict_yet() -> None:
    rows = [cell("f/b/d", None), cell("f/b/e", None, outcome=None, bound_ratio=None)]
    summary = summarise(rows, [], finished=False)
    assert (
        summary.sentence
        == "This run was interrupted: 1 of 2 cells has a result, and there is no verdict yet."
    )
    assert summary.state == "inconclusive"


def test_a_cell_counts_once_by_its_worst_output() -> None:
    rows = [
        cell("f/b/d", output="Q"),
        cell("f/b/d", "fail", output="R", severity="warn"),
        cell("f/b/d", "fail", output="S"),
        cell("f/b/e", "fail", output="Q", severity="warn"),
    ]
    assert count(rows) == Counts(cells=2, passed=0, failed=1, warnings=1, inconclusive=0, skipped=0)


def test_failures_come_before_warnings_and_worse_outcomes_before_larger_errors() -> None:
    rows = [
        cell("a/b/d", "inconclusive", outcome="timeout"),
        cell("b/b/d", "fail", severity="warn", outcome="not_a_number"),
        cell("c/b/d", "fail", bound_ratio=2.0),
        cell("d/b/d", "fail", bound_ratio=3000.0),
        cell("e/b/d", "fail", bound_ratio=float("inf")),
        cell("f/b/d", "fail", outcome="overflow"),
        cell("g/b/d"),
    ]
    order = [story.worst["formulation"] for story in summarise(rows, []).worst]
    assert order == ["f", "e", "d", "c", "b", "a"]


def test_rows_that_fail_alike_are_told_together_by_their_worst() -> None:
    rows = [cell(f"f/b/d/{n}", "fail", bound_ratio=float(n), **{"axis.n": n}) for n in (2, 50, 8, 30, 4)]
    rows.append(cell("f/b/other", "fail", bound_ratio=3.0))
    first, second = summarise(rows, []).worst
    assert first.worst["axis.n"] == 50
    assert first.others_where == "n = 2 … 30"
    assert second.others == ()


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"outcome": "not_a_number"}, "not a number", "not a number"),
        ({"bound_ratio": 3.21}, "error above the bound", "error 3.21 × its bound"),
        ({"bound_ratio": "inf"}, "error above the bound", "error inf × its bound"),
        ({}, "unexpected result", "within its bound"),
        ({"bound_ratio": None}, "unexpected result", "ok"),
        ({"bound_ratio": None, "outcome": None}, "unexpected result", "no result"),
    ],
)
def test_what_is_wrong_in_a_few_words(values: dict[str, Any], kind: str, words: str) -> None:
    row = cell("f/b/d", "fail", **values)
    assert failure_kind(row) == kind
    assert what_happened(row) == words


def test_expected_breakages_hold_what_broke_and_passed() -> None:
    rows = [
        cell("f/b/d/1", outcome="overflow", **{"axis.top": 1.01}),
        cell("f/b/d/2", bound_ratio=9.0, **{"axis.top": 2.0}),
        cell("f/b/d/3", **{"axis.top": 0.5}),
        cell("g/b/d/1", "fail", outcome="overflow"),
    ]
    (group,) = expected_breakages(rows)
    assert (group.cells, group.where, group.reason) == (2, "f · b · d", "top = 1.01, 2")
    assert group.what == "error above the bound and overflow"


def test_breakages_that_differ_in_backend_and_dtype_only_are_told_as_one() -> None:
    rows = [
        cell(f"f/{backend}/{dtype}/{top}", outcome="overflow", **{"axis.top": top})
        for backend in ("b", "c")
        for dtype in ("d", "e")
        for top in (1, 2)
    ]
    rows.append(cell("g/b/d/1", outcome="overflow", **{"axis.top": 1}))
    one, other = merged(expected_breakages(rows))
    assert (one.cells, one.where, one.what, one.reason) == (8, "f · b, c · d, e", "overflow", "top = 1, 2")
    assert (other.cells, other.where) == (1, "g · b · d")


def test_skips_are_grouped_by_reason_the_most_frequent_first() -> None:
    rows = [
        cell("f/b/d", "skip", reason="unavailable: no torch"),
        cell("f/b/e", "skip", reason="excluded: slow"),
        cell("g/b/e", "skip", reason="excluded: slow"),
        cell("h/b/e"),
    ]
    groups = skip_groups(rows)
    assert [(g.cells, g.what, g.where) for g in groups] == [
        (2, "excluded: slow", "f, g · b · e"),
        (1, "unavailable: no torch", "f · b · d"),
    ]


def test_spans_of_axes() -> None:
    assert spans([]) == ""
    assert spans([{"axis.n": 8, "axis.kind": "a"}, {"axis.n": 2, "axis.kind": "a"}]) == "n = 2, 8; kind = a"
    assert spans([{"axis.n": n} for n in (64, 8, 512, 1024)]) == "n = 8 … 1024"
