"""The summary of a gated run: the gate's answer first, worst first, and short whatever there is to tell."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.gate import KINDS, GateReport, compare_with_baseline
from harness.report.markdown import MOST_BYTES, MOST_LISTED, text_of_gate, text_of_run
from tests.synthetic_run import HEADER, SOFTMAX, example_run, row

ELSEWHERE = {
    **HEADER,
    "environment": {**HEADER["environment"], "packages": {"numpy": "2.4.5", "torch": "2.13.0"}},
}


def a_row(n: int, verdict: str = "pass", **values: Any) -> dict[str, Any]:
    made = row(SOFTMAX, f"f{n:05d}", "numpy", "float32", {"n": n}, "p", outcome="ok", bound_ratio=0.25)
    return {**made, "verdict": verdict, "inputs_digest": "d", **values}


def gated(now: list[dict[str, Any]], before: list[dict[str, Any]], **more: Any) -> GateReport:
    return compare_with_baseline(now, HEADER, before, ELSEWHERE, **more)


def entries(text: str) -> list[tuple[str, int]]:
    """Return kind and number of each entry that a summary lists."""
    found = re.findall(r"^\| ([a-z ]+?)(?: \(warns\))? \| `softmax-overflow/f(\d+)/", text, re.MULTILINE)
    return [(kind, int(n)) for kind, n in found]


def some_of_each() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    before = [a_row(n) for n in range(1, 8)] + [a_row(8, bound_ratio=0.9)]
    now = [
        a_row(1),
        a_row(2, bound_ratio=0.9),
        a_row(3, "fail", bound_ratio=7.0, reason="bound_ratio 7 > 1"),
        a_row(5, "inconclusive", reason="2 reference elements are undecided"),
        a_row(6, inputs_digest="e"),
        a_row(7, "skip", outcome=None, bound_ratio=None, reason="unavailable: no CUDA device"),
        a_row(8),
        a_row(9),
        a_row(10, "fail", bound_ratio=9.0, reason="bound_ratio 9 > 1"),
    ]
    return now, before


def test_the_gate_comes_first_and_the_worst_of_it() -> None:
    now, before = some_of_each()
    gate = gated(now, before)
    text = text_of_run(example_run(now), gate)
    lines = text.split("\n")
    assert lines[0] == (
        "# ❌ The gate failed: 2 regressed, 1 failed, 1 vanished, 1 inconclusive and 1 changed. "
        "5 results compared."
    )
    kinds = [
        "regressed", "failed", "vanished", "inconclusive", "changed", "unavailable", "improved", "new",
        "skipped", "unchanged",
    ]  # fmt: skip
    head = lines.index(f"| {' | '.join(kinds)} |")
    assert lines[head + 2] == "| 2 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 |"
    assert entries(text) == [
        ("regressed", 3), ("regressed", 2), ("failed", 10), ("vanished", 4), ("inconclusive", 5),
        ("changed", 6), ("unavailable", 7), ("improved", 8), ("new", 9),
    ]  # fmt: skip
    assert "- numpy 2.4.5 → 2.4.6" in lines
    assert lines.index("## Against the baseline, worst first") < lines.index("## The baseline")
    assert text.index("## The baseline") < text.index("## ❌ 2 of 8 cells failed")
    assert text_of_gate(gate).split("\n")[:8] == lines[:8]


def test_a_failing_gate_of_20000_rows_is_worst_first_and_bounded() -> None:
    before = [a_row(n) for n in range(20_000)]
    lost = {"outcome": "not_a_number", "bound_ratio": None, "reason": f"raised 💥 | <b> {'é' * 3000}"}
    now = [
        a_row(n, bound_ratio=0.5 + n / 1e5) if n % 3 == 0 else
        a_row(n, "fail", **lost) if n % 3 == 1 else
        a_row(n, inputs_digest="e")
        for n in range(20_000)
        if n % 100
    ]  # fmt: skip
    gate = gated(now, before)
    text = text_of_run(example_run(now), gate)
    assert len(text.encode()) <= MOST_BYTES == 65_536
    told = entries(text)
    assert 10 <= len(told) <= MOST_LISTED
    assert told == [(e.kind, int(e.cell.split("/")[1][1:])) for e in gate.entries[: len(told)]]
    assert gate.entries[0].message.startswith("outcome ok → not_a_number")
    more = re.search(r"\*([\d,]+) more findings not listed here", text)
    assert more is not None
    assert int(more[1].replace(",", "")) == len(gate.entries) - len(told)
    counts = gate.counts
    numbers = [f"{counts[kind]:,} {kind}" for kind in ("regressed", "vanished", "changed")]
    assert text.startswith(f"# ❌ The gate failed: {numbers[0]}, {numbers[1]} and {numbers[2]}.")
    assert "## Environment" in text


def test_what_is_new_is_told_once_a_case_and_what_regressed_once_a_formulation() -> None:
    # 0.25 → 0.50 is not more than twice, so that four of five have grown
    before = [a_row(n, cell=f"softmax-overflow/f00001/numpy/float32/n={n}") for n in range(5)]
    now = [{**r, "bound_ratio": 0.5 + n / 100} for n, r in enumerate(before)] + [
        a_row(n) for n in range(10, 20)
    ]
    text = text_of_gate(gated(now, before))
    assert entries(text) == [("regressed", 1), ("new", 10)]
    assert "n=4` \\[p\\] and 3 more | bound\\_ratio 0.25 → 0.54 (2.16 ×) |" in text
    assert "n=10` \\[p\\] and 9 more | ok with bound\\_ratio 0.25 |" in text


def test_every_kind_of_entry_can_be_listed() -> None:
    now, before = some_of_each()
    gate = gated(now, before)
    assert {e.kind for e in gate.entries} <= set(KINDS)


@pytest.mark.parametrize(
    ("now", "before", "first"),
    [
        ([a_row(1)], [a_row(1)], "# ✅ The gate passed. 1 result compared."),
        ([a_row(1, severity="warn", bound_ratio=0.9)], [a_row(1)],
         "# ⚠️ The gate passed: 1 regressed. 1 result compared."),
        ([a_row(1, inputs_digest="e")], [a_row(1)],
         "# ❔ The gate could not judge: 1 changed. 0 results compared."),
        ([a_row(1)], [], "# ❔ The gate has no comparable baseline. 0 results compared."),
    ],
)  # fmt: skip
def test_the_four_answers(now: list[dict[str, Any]], before: list[dict[str, Any]], first: str) -> None:
    text = text_of_run(example_run(now), gated(now, before, absence="baseline b is not there"))
    assert text.split("\n")[0] == first
    assert ("baseline b is not there" in text) == (not before)


def test_many_notes_are_bounded_too() -> None:
    packages = {f"package-{n}": "1" * 300 for n in range(3000)}
    other = {**HEADER, "environment": {**HEADER["environment"], "packages": packages}}
    text = text_of_gate(compare_with_baseline([a_row(1)], HEADER, [a_row(1)], other))
    assert len(text.encode()) <= MOST_BYTES
    assert re.search(r"\*2,9\d\d more notes not listed here", text)
