"""JUnit XML: one test case a cell, nothing dropped, and well-formed whatever a kernel said."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.gate import compare_with_baseline
from harness.report.junit import text_of_run
from tests.synthetic_run import SOFTMAX, example_facts, example_run, fact, row, skipped, softmax_rows

CHILDREN = ("properties", "failure", "skipped", "error", "system-out")
"""What a test case may hold, in the order of surefire-test-report.xsd; `properties` stands in no schema."""
ATTRIBUTES = {
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testcase": {"classname", "name", "time"},
    "property": {"name", "value"},
    "properties": set(),
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-out": set(),
}
"""Every element with all its attributes: what both junit-10.xsd and surefire-test-report.xsd know."""


def a_row(n: int, verdict: str | None = "pass", output: str = "p", **values: Any) -> dict[str, Any]:
    made = row(SOFTMAX, "naive", "numpy", "float32", {"n": n}, output, outcome="ok")
    return {**made, "bound_ratio": 0.25, "bits": 22.5, "verdict": verdict, **values}


def suite_of(*arguments: Any, **more: Any) -> Xml.Element:
    """Return the document of a run, after checking it against what the schemas have in common."""
    text = text_of_run(*arguments, **more)
    assert text.isascii()
    suite = Xml.fromstring(text)
    assert suite.tag == "testsuite"
    assert [child.tag for child in suite] == ["properties", *["testcase"] * (len(suite) - 1)]
    for element in suite.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag]
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+(\.\d{1,9})?", element.attrib["time"])
        if element.tag == "testcase":
            order = [CHILDREN.index(child.tag) for child in element]
            assert order == sorted(set(order))
            assert len({"failure", "skipped", "error"} & {child.tag for child in element}) <= 1
    tags = Counter(element.tag for element in suite.iter())
    counted = {"failures": "failure", "errors": "error", "skipped": "skipped", "tests": "testcase"}
    assert {name: int(suite.attrib[name]) for name in counted} == {n: tags[t] for n, t in counted.items()}
    return suite


def results(suite: Xml.Element) -> dict[str, str]:
    """Return the rest of each id → what became of the test case."""
    return {
        case.attrib["name"]: next((c.tag for c in case if c.tag in ("failure", "error", "skipped")), "passed")
        for case in suite.iter("testcase")
    }


def child(suite: Xml.Element, name: str, tag: str) -> Xml.Element:
    (case,) = (c for c in suite.iter("testcase") if c.attrib["name"] == name)
    found = case.find(tag)
    assert found is not None
    return found


def test_verdicts_become_results_and_none_is_dropped() -> None:
    rows = [
        a_row(1),
        a_row(2, "fail", outcome="not_a_number", reason="outcome not_a_number, expected ok"),
        a_row(3, "inconclusive", reason="2 reference elements are undecided"),
        a_row(4, **skipped("unavailable: not installed: torch")),
        a_row(5, "fail", severity="warn", reason="slower than expected"),
        a_row(6, "inconclusive", severity="warn", reason="undecided"),
        a_row(7, reason="fixed_upstream: numpy#8775 no longer shows"),
    ]
    suite = suite_of(example_run(rows))
    name = "naive/numpy/float32/n="
    assert results(suite) == {
        name + "1": "passed", name + "2": "failure", name + "3": "error", name + "4": "skipped",
        name + "5": "passed", name + "6": "skipped", name + "7": "passed",
    }  # fmt: skip
    assert {case.attrib["classname"] for case in suite.iter("testcase")} == {"softmax-overflow"}
    failure = child(suite, name + "2", "failure")
    assert failure.attrib == {"type": "not a number", "message": "outcome not_a_number, expected ok"}
    assert failure.text is not None
    assert failure.text.startswith("softmax-overflow/naive/numpy/float32/n=2\n")
    assert "\nbound_ratio = 0.25" in failure.text
    assert child(suite, name + "4", "skipped").attrib["message"] == "unavailable: not installed: torch"
    assert child(suite, name + "5", "system-out").text == "warning: slower than expected"
    assert "only warns: undecided" in child(suite, name + "6", "skipped").attrib["message"]
    assert child(suite, name + "7", "system-out").text == "fixed_upstream: numpy#8775 no longer shows"


def test_numbers_are_properties_and_the_time_is_the_median() -> None:
    exact = 0.1 + 0.2
    rows = [a_row(1, bound_ratio=exact, bits=None, time_median_s=9.302058823529413e-06)]
    suite = suite_of(example_run(rows))
    case = next(suite.iter("testcase"))
    assert case.attrib["time"] == "0.000009302"
    told = {p.attrib["name"]: float(p.attrib["value"]) for p in case.iter("property")}
    assert told == {"bound_ratio": exact, "time_median_s": 9.302058823529413e-06}
    about = {p.attrib["name"]: p.attrib["value"] for p in suite[0]}
    assert about["numpy"] == "2.4.6"
    assert about["verdict"] == "The one cell is as expected."
    rows = [a_row(1, time_median_s=0.25, cache="cold"), a_row(2, time_median_s=0.25, cache="hot")]
    told = [
        p.attrib["value"] for p in suite_of(example_run(rows)).iter("property") if p.attrib["name"] == "cache"
    ]
    assert told == ["cold"], "where it is"
    both = suite_of(example_run([a_row(1, time_median_s=0.25), a_row(2, time_median_s=0.5), a_row(3)]))
    assert both.attrib["time"] == "0.75", "of the suite: all cells"


def test_the_worst_output_of_a_cell_decides_and_every_output_is_told() -> None:
    rows = [
        a_row(1, "fail", "p", reason="bound_ratio 3 > 1", bound_ratio=3.0),
        a_row(1, "inconclusive", "q", reason="undecided"),
        a_row(1, "pass", "r"),
    ]
    suite = suite_of(example_run(rows))
    assert results(suite) == {"naive/numpy/float32/n=1": "failure"}
    message = child(suite, "naive/numpy/float32/n=1", "failure").attrib["message"]
    assert message == "[p] bound_ratio 3 > 1; [q] undecided"
    names = [p.attrib["name"] for p in next(suite.iter("testcase")).iter("property")]
    assert names == ["bound_ratio.p", "bits.p", "bound_ratio.q", "bits.q", "bound_ratio.r", "bits.r"]


def test_facts_with_a_verdict_are_test_cases() -> None:
    where = {"formulation": "library", "backend": "numpy", "dtype": "float64", "output": "C"}
    failed = fact(
        "exponent", "matmul-square", **where, of="time_median_s", against="n",
        verdict="fail", severity="fail", reason="exponent 4 > 3.2",
    )  # fmt: skip
    suite = suite_of(example_run([a_row(1)], [*example_facts(), failed]))
    name = "library/numpy/float64/C: exponent of time_median_s against n"
    assert [case.attrib["name"] for case in suite.iter("testcase")] == ["naive/numpy/float32/n=1", name, name]
    assert results(suite)[name] == "failure"
    assert suite.attrib["tests"] == "3"  # frontiers have no verdict
    assert suite.attrib["failures"] == "1"


def test_an_interrupted_run_passes_nothing_that_was_not_judged() -> None:
    suite = suite_of(example_run([a_row(1, None), a_row(2, None, outcome=None)], finished=None))
    assert set(results(suite).values()) == {"error"}
    assert "interrupted" in child(suite, "naive/numpy/float32/n=1", "error").attrib["message"]


def test_what_only_the_gate_knows_is_a_failure_too() -> None:
    header = {"environment": {"cpu": "A", "machine": "x"}}
    before = [a_row(n, inputs_digest="d") for n in (1, 2, 3, 4, 5)]
    now = [
        a_row(1, inputs_digest="d", bound_ratio=0.9),
        a_row(2, inputs_digest="e"),
        a_row(4, "fail", inputs_digest="d", reason="bound_ratio 3 > 1", bound_ratio=3.0),
        a_row(5, inputs_digest="d", bound_ratio=0.0),
    ]
    gate = compare_with_baseline(now, header, before, header)
    suite = suite_of(example_run(now), gate)
    name = "naive/numpy/float32/n="
    assert results(suite) == {
        name + "1": "failure", name + "2": "error", name + "4": "failure", name + "5": "passed",
        name + "3": "failure",
    }  # fmt: skip
    assert child(suite, name + "1", "failure").attrib["type"] == "regressed"
    assert child(suite, name + "2", "error").attrib["type"] == "changed"
    assert child(suite, name + "3", "failure").attrib["type"] == "vanished"
    both = child(suite, name + "4", "failure").attrib["message"]
    assert both == "regressed [p]: bound_ratio 0.25 → 3 (12 ×); bound_ratio 3 > 1; bound_ratio 3 > 1"
    about = {p.attrib["name"]: p.attrib["value"] for p in suite[0]}
    assert about["gate"].startswith("The gate failed: 2 regressed, 1 vanished and 1 changed.")


def test_a_failure_that_its_row_tells_is_told_once() -> None:
    now = [a_row(1, "fail", reason="bound_ratio 3 > 1", bound_ratio=3.0)]
    gate = compare_with_baseline(now, {}, now, {})
    assert [entry.kind for entry in gate.entries] == ["failed"]
    suite = suite_of(example_run(now), gate)
    assert child(suite, "naive/numpy/float32/n=1", "failure").attrib["message"] == "bound_ratio 3 > 1"


@given(st.text(st.characters(), max_size=80))
def test_any_text_gives_a_document_that_can_be_read(text: str) -> None:
    rows = [a_row(1, "fail", reason=text), a_row(2, "skip", reason=text)]
    suite = suite_of(example_run(rows))
    body = child(suite, "naive/numpy/float32/n=1", "failure").text
    assert body is not None
    if text.isprintable():
        assert text.strip() in body
    assert not any(ord(c) < 32 and c not in "\n\t" for c in body)


def test_emoji_and_control_characters_are_escaped() -> None:
    text = text_of_run(example_run([a_row(1, "fail", reason="😀 \x1b[2J \x00 <b> \ud800")]))
    assert "&#128512; \\x1b[2J \\x00 &lt;b&gt; \\ud800" in text


def test_text_is_bounded() -> None:
    rows = [a_row(1, "fail", reason="é" * 1_000_000), a_row(2, "skip", reason="y" * 1_000_000)]
    suite = suite_of(example_run(rows))
    failure = child(suite, "naive/numpy/float32/n=1", "failure")
    assert len(failure.attrib["message"]) == 400
    assert failure.text is not None
    assert len(failure.text) == 4000
    assert failure.text.endswith("…")
    assert len(child(suite, "naive/numpy/float32/n=2", "skipped").attrib["message"]) == 400


@pytest.mark.parametrize("count", [0, 18])
def test_as_many_test_cases_as_cells(count: int) -> None:
    assert suite_of(example_run(softmax_rows()[:count])).attrib["tests"] == str(count)
