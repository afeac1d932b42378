"""Annotations: GitHub's syntax, the place of the rule, ten of a kind, the worst of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.gate import GateReport, compare_with_baseline
from harness.model import Cell, FactSpec, Plan, Rule
from harness.report.github import Annotation, Place, commands, escaped_data, escaped_property, limited, write
from harness.store import Run
from tests.synthetic_run import SOFTMAX, example_run, fact, row, softmax_rows

COMMAND = re.compile(r"::(error|warning|notice) ([^:\n]*)::([^\r\n]*)")


def parsed(command: str) -> tuple[str, dict[str, str], str]:
    """Return kind, properties and message of a workflow command, as the runner reads them."""
    found = COMMAND.fullmatch(command)
    assert found is not None, command
    pairs = (pair.split("=", 1) for pair in found[2].split(","))
    return found[1], {name: unquote(value) for name, value in pairs}, unquote(found[3])


def a_row(n: int, verdict: str = "pass", output: str = "p", **values: Any) -> dict[str, Any]:
    made = row(SOFTMAX, "naive", "numpy", "float32", {"n": n}, output, outcome="ok", bound_ratio=0.25)
    return {**made, "verdict": verdict, "inputs_digest": "d", **values}


def a_cell(made: dict[str, Any], *rules: Rule) -> Cell:
    return Cell(
        id=made["cell"], case=made["case"], operation="softmax", formulation=made["formulation"],
        backend="numpy", dtype="float32", mode="forward", axes={}, profile="default", problem="", topic="",
        guide=(), seed=0, outputs=("p", "q"), rules=rules,
    )  # fmt: skip


def a_run(rows: list[dict[str, Any]], path: str = "cases/softmax.yaml", *rules: Rule, **more: Any) -> Run:
    facts = (FactSpec("time_median_s", "n", line=41), FactSpec("bits", "n", output="q", line=42))
    case = replace(SOFTMAX, path=path, facts=facts)
    plan = Plan(tuple(a_cell(r, *rules) for r in rows), {}, {case.name: case}, "default", {})
    return replace(example_run(rows, **more), plan=plan)


def gated(now: list[dict[str, Any]], before: list[dict[str, Any]]) -> GateReport:
    header = {"environment": {"cpu": "A"}}
    return compare_with_baseline(now, header, before, header)


def test_an_annotation_points_at_the_rule_of_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    rules = (Rule(output="q", line=30), Rule(line=34))
    rows = [a_row(1, "fail", reason="bound_ratio 3 > 1"), a_row(2, "fail", "q", reason="another")]
    found = [parsed(c) for c in commands(a_run(rows, "cases/softmax.yaml", *rules))]
    assert found == [
        (
            "error",
            {"file": "cases/softmax.yaml", "line": line, "title": "Failed: softmax-overflow"},
            f"softmax-overflow/naive/numpy/float32/n={n} [{output}]: {reason}",
        )
        for n, output, line, reason in ((1, "p", "34", "bound_ratio 3 > 1"), (2, "q", "30", "another"))
    ]


def test_facts_point_at_the_line_that_asks_for_them() -> None:
    where = {"formulation": "naive", "backend": "numpy", "dtype": "float32", "against": "n"}
    facts = [
        fact("exponent", "softmax-overflow", **where, of=of, output=output, verdict="fail", reason=of)
        for of, output in (("time_median_s", "p"), ("bits", "q"))
    ]
    run = a_run([a_row(1)], facts=facts)
    assert [parsed(c)[1]["line"] for c in commands(run)] == ["41", "42"]
    gate = compare_with_baseline(run.rows, {}, run.rows, {}, run_facts=facts)
    assert [parsed(c)[1]["line"] for c in commands(run, gate)] == ["41", "42"]


@pytest.mark.parametrize("path", ["<memory>", "/somewhere/else/case.yaml", "../case.yaml"])
def test_a_case_outside_the_workspace_has_no_place(path: str) -> None:
    (command,) = commands(a_run([a_row(1, "fail")], path))
    assert set(parsed(command)[1]) == {"title"}


def test_files_are_named_from_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (command,) = commands(a_run([a_row(1, "fail")], "cases/a.yaml"))
    assert parsed(command)[1]["file"] == "below/cases/a.yaml"


def test_ten_of_a_kind_the_worst_and_what_was_cut() -> None:
    rows = [
        a_row(n, "fail", case=f"c{n:02d}", cell=f"c{n:02d}/naive/numpy/float32/n={n}", bound_ratio=float(n))
        for n in range(1, 24)
    ]
    rows += [
        a_row(n, "inconclusive", cell=f"d{n}/naive/numpy/float32", case=f"d{n}", reason="undecided")
        for n in range(10)
    ]
    found = [parsed(c) for c in commands(a_run(rows))]
    assert [kind for kind, *_ in found] == ["error"] * 10 + ["warning"] * 10
    assert [int(message[1:3]) for _, _, message in found[:9]] == list(range(23, 14, -1))
    assert found[9][1] == {"title": "and 14 more"}
    assert found[9][2].startswith("14 more errors not shown here")
    assert found[-1][2].startswith("d9/")  # ten are ten


def test_failures_of_one_formulation_are_told_together() -> None:
    rows = [a_row(n, "fail", reason="bound_ratio 3 > 1", bound_ratio=3.0) for n in range(1, 6)]
    (command,) = commands(a_run(rows))
    assert parsed(command)[2].endswith("(and 4 more: n = 2 … 5)")
    (command,) = commands(a_run(rows), gated(rows, [a_row(n) for n in range(1, 6)]))
    assert parsed(command)[2].endswith("(and 4 other cells of the same)")


def test_warnings_and_what_was_mended() -> None:
    rows = [
        a_row(1, "fail", severity="warn", reason="above"),
        a_row(2, "inconclusive", reason="undecided"),
        a_row(3, reason="fixed_upstream: gone"),
        a_row(4, "fail", reason="broken"),
    ]
    found = [(kind, p["title"].partition(":")[0]) for kind, p, _ in map(parsed, commands(a_run(rows)))]
    assert found == [
        ("error", "Failed"), ("warning", "Could not be judged"), ("warning", "Warning"),
        ("notice", "Fixed upstream"),
    ]  # fmt: skip


def test_what_a_gate_found() -> None:
    before = [a_row(n) for n in (1, 2, 3, 4)] + [a_row(9, bound_ratio=0.9)]
    now = [
        a_row(1, bound_ratio=0.9), a_row(2, inputs_digest="e"), a_row(4, "inconclusive", reason="undecided"),
        a_row(5), a_row(9),
    ]  # fmt: skip
    found = [parsed(command) for command in commands(a_run(now), gated(now, before))]
    assert {properties["file"] for _, properties, _ in found} == {"cases/softmax.yaml"}
    assert [(kind, properties["title"].partition(":")[0]) for kind, properties, _ in found] == [
        ("error", "Regressed"), ("error", "Vanished"), ("warning", "Could not be judged"),
        ("warning", "Changed"), ("notice", "Improved"),
    ]  # fmt: skip
    (command,) = commands(a_run(now), compare_with_baseline(now[3:4], {}, [], {}, absence="no baseline here"))
    assert parsed(command)[1:] == ({"title": "No comparable baseline"}, "no baseline here")


def test_what_only_warns_is_a_warning_to_a_gate_too() -> None:
    now = [a_row(1, "fail", severity="warn", reason="above")]
    (command,) = commands(a_run(now), gated(now, now))
    assert parsed(command)[0] == "warning"
    assert parsed(command)[1]["title"].startswith("Warning")


def test_an_interrupted_run_has_no_verdict() -> None:
    (command,) = commands(example_run(softmax_rows()[:2], finished=None))
    assert parsed(command)[0] == "warning"
    assert "interrupted" in parsed(command)[2]


def test_a_good_run_has_no_annotation(tmp_path: Path) -> None:
    assert write(a_run([a_row(1)]), tmp_path / "none.txt").read_text() == ""


def test_escaping_as_github_reads_it() -> None:
    # the examples of @actions/core: escapeData and escapeProperty of its command.ts
    assert (
        escaped_data("percent % cr \r lf \n colon : comma ,") == "percent %25 cr %0D lf %0A colon : comma ,"
    )
    assert escaped_property("percent % cr \r lf \n colon : comma ,") == (
        "percent %25 cr %0D lf %0A colon %3A comma %2C"
    )
    assert escaped_data("%0A") == "%250A"


@given(st.text(st.characters(), max_size=60))
def test_any_text_stays_inside_its_command(text: str) -> None:
    command = str(Annotation("error", text, text, Place(text, 3)))
    kind, properties, message = parsed(command)
    assert (kind, properties["line"], set(properties)) == ("error", "3", {"file", "line", "title"})
    assert properties["title"] == message
    if text.isprintable():
        assert message == " ".join(text.split())


def test_a_message_is_bounded() -> None:
    (command,) = commands(a_run([a_row(1, "fail", reason="%" * 10_000)]))
    assert len(parsed(command)[2]) == 1000


def test_exactly_ten_are_all_shown() -> None:
    ten = [Annotation("notice", str(n), "") for n in range(10)]
    assert limited(ten) == ten
    assert [a.title for a in limited([*ten, Annotation("notice", "x", "")])][-2:] == ["8", "and 2 more"]
