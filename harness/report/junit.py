"""Results as JUnit XML, which servers of continuous integration read: a test case for each cell.

The file keeps to what both the schema of Jenkins' xUnit plug-in (junit-10.xsd) and that of Maven Surefire
(surefire-test-report.xsd) allow, but for `properties` of a test case and times finer than a millisecond:
both are read by Jenkins' JUnit plug-in, GitLab and others, and neither stands in a schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from xml.etree import ElementTree as Xml

from harness.gate import Entry, ExitCode, GateReport, fact_message, fact_name
from harness.report import Report, register_report
from harness.report.view.gate import headline
from harness.report.view.rows import Row, grouped, is_cold, number_of, text_of, verdict_rank
from harness.report.view.summary import failure_kind, summarise, warns
from harness.report.view.text import exact
from harness.report.view.visible import one_line, visible

if TYPE_CHECKING:
    from harness.store import Run

Result = Literal["passed", "failure", "error", "skipped"]

_LONGEST: Final = 400
"""Characters of a message; a server shows it in a line."""
_LONGEST_TEXT: Final = 4000
_PROPERTIES: Final = ("bound_ratio", "bits")
_TOLD: Final = (
    "outcome", "bound_ratio", "max_ulp", "bits",
    "worst_index", "worst_input", "worst_computed", "worst_exact",
)  # fmt: skip
"""What the text of a failure shows of a row, as far as it was measured."""
_COUNTED_ELSEWHERE: Final = ("failed", "inconclusive", "fixed_upstream")
"""Entries of a gate that repeat the verdict of a row or a fact."""


@dataclass
class TestCase:
    """One test case: what became of it, in a line and in full."""

    classname: str
    name: str
    result: Result = "passed"
    kind: str = ""
    message: str = ""
    text: str = ""
    note: str = ""
    """What is to be read though nothing failed."""
    time_s: float = 0.0
    properties: tuple[tuple[str, str], ...] = ()

    def fail(self, kind: str, message: str, result: Result) -> None:
        """Add a finding; a failure outweighs an error, and an error what was skipped."""
        order: tuple[Result, ...] = ("failure", "error", "skipped", "passed")
        self.message = f"{message}; {self.message}" if self.message else message
        if order.index(result) < order.index(self.result):
            self.result, self.kind = result, kind


def write(run: Run, path: Path, *, gate: GateReport | None = None) -> Path:
    """Write a test case for each cell, each fact with a verdict, and each loss that only a gate knows.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    replace_text(path, text_of_run(run, gate))
    return path


def text_of_run(run: Run, gate: GateReport | None = None) -> str:
    """Return a run as XML of one test suite."""
    cases = {text_of(rows[0], "cell"): _of_cell(rows, run.finished) for rows in _cells(run.rows)}
    facts = [_of_fact(fact) for fact in run.fact_rows if text_of(fact, "verdict")]
    lost = [] if gate is None else [*_add_entries(gate.entries, cases)]
    return document([*cases.values(), *facts, *lost], _facts_of(run, gate))


def _cells(rows: Sequence[Row]) -> Iterable[list[Row]]:
    return grouped(rows, lambda r: text_of(r, "cell")).values()


def _of_cell(rows: Sequence[Row], finished: bool) -> TestCase:
    """Return the test case of one cell; the worst of its outputs decides."""
    case = TestCase(*_names(text_of(rows[0], "cell")), properties=tuple(_properties(rows)))
    seconds = number_of(rows[0], "time_median_s")
    case.time_s = 0.0 if seconds is None else seconds
    several = len(rows) > 1
    for row in sorted(rows, key=verdict_rank, reverse=True):
        reason = text_of(row, "reason")
        told = f"[{text_of(row, 'output')}] {reason}" if several else reason
        _add_verdict(case, row, told, finished)
    if case.result in ("failure", "error"):
        case.text = "\n\n".join(_details(row, several) for row in rows if text_of(row, "verdict") != "pass")
    return case


def _add_verdict(case: TestCase, row: Row, told: str, finished: bool) -> None:
    verdict = text_of(row, "verdict")
    if verdict == "skip":
        case.fail("skip", told, "skipped")
    elif verdict == "fail" and warns(row):
        case.note = f"warning: {told}"
    elif verdict == "fail":
        case.fail(failure_kind(row), told, "failure")
    elif verdict == "inconclusive" and warns(row):
        case.fail("inconclusive", f"could not be judged, which only warns: {told}", "skipped")
    elif verdict == "inconclusive":
        case.fail("inconclusive", told, "error")
    elif verdict != "pass":
        case.fail("interrupted", "no verdict" if finished else "no verdict: the run was interrupted", "error")
    elif told.startswith("fixed_upstream") or "] fixed_upstream" in told:
        case.note = told


def _names(cell: str) -> tuple[str, str]:
    """Return class and name: the case, and the rest of the id."""
    case, _, rest = cell.partition("/")
    return case, rest


def _properties(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield what was measured, in full; with several outputs each is named."""
    for row in rows:
        after = f".{text_of(row, 'output')}" if len(rows) > 1 else ""
        for name in _PROPERTIES:
            value = exact(row.get(name))
            if value:
                yield name + after, value
    seconds = number_of(rows[0], "time_median_s")
    if seconds is not None:
        yield "time_median_s", repr(seconds)
        if is_cold(rows[0]):
            yield "cache", "cold"


def _details(row: Row, several: bool) -> str:
    lines = [text_of(row, "cell"), *([f"output {text_of(row, 'output')}"] if several else [])]
    lines += [text_of(row, "reason")]
    lines += [f"{name} = {value}" for name in _TOLD if (value := exact(row.get(name)))]
    return "\n".join(lines)


def _of_fact(fact: Row) -> TestCase:
    """Return the test case of a fact, which belongs to no single cell."""
    owner = fact_name(fact).partition("/")
    where = text_of(fact, "where").strip("{}")
    name = (
        "/".join(t for t in (owner[2], text_of(fact, "output"), where) if t)
        + f": {text_of(fact, 'fact')} of {text_of(fact, 'of')} against {text_of(fact, 'against')}"
    )
    case = TestCase(owner[0], name)
    _add_verdict(case, fact, text_of(fact, "reason"), True)
    if case.result in ("failure", "error"):
        case.kind, case.text = f"fact {text_of(fact, 'verdict')}", f"{fact_name(fact)}\n{fact_message(fact)}"
    return case


def _add_entries(entries: Iterable[Entry], cases: Mapping[str, TestCase]) -> Iterator[TestCase]:
    """Add to its test case what only the gate found, and yield a test case for each cell that vanished."""
    for entry in entries:
        code = entry.exit_code
        if code is ExitCode.OK or entry.kind in _COUNTED_ELSEWHERE:
            continue
        case = cases.get(entry.cell)
        made = TestCase(*_names(entry.cell)) if case is None else case
        made.fail(
            entry.kind,
            f"{entry.kind} [{entry.output}]: {entry.message}",
            "failure" if code is ExitCode.FAILED else "error",
        )
        made.text = "\n".join(t for t in (made.text, f"{entry.cell} [{entry.output}]\n{entry.message}") if t)
        if case is None:
            yield made


def document(cases: Sequence[TestCase], facts: Iterable[tuple[str, str]]) -> str:
    """Return test cases as one suite, with what is known of them all as its properties."""
    results = [case.result for case in cases]
    suite = Xml.Element(
        "testsuite",
        {
            "name": "harness",
            "tests": str(len(cases)),
            "failures": str(results.count("failure")),
            "errors": str(results.count("error")),
            "skipped": str(results.count("skipped")),
            "time": _seconds(sum(case.time_s for case in cases)),
        },
    )
    properties = Xml.SubElement(suite, "properties")
    for name, value in facts:
        Xml.SubElement(properties, "property", {"name": name, "value": one_line(value, _LONGEST)})
    for case in cases:
        _append(suite, case)
    Xml.indent(suite, " ")
    # ASCII throughout: some servers keep text in three bytes a character, and lose what takes four.
    body: bytes = Xml.tostring(suite, encoding="us-ascii")
    body = body.removeprefix(b"<?xml version='1.0' encoding='us-ascii'?>\n")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body.decode("ascii")}\n'


def _facts_of(run: Run, gate: GateReport | None) -> Iterator[tuple[str, str]]:
    yield "verdict", summarise(run.rows, run.fact_rows, finished=run.finished).sentence
    if gate is not None:
        yield "gate", headline(gate)
        yield from (("difference from the baseline", note) for note in gate.notes)
    for name in ("harness", "profile", "started", "finished"):
        yield from ((name, text) for text in [exact(run.header.get(name))] if text)
    environment: Mapping[str, Any] = run.header.get("environment") or {}
    for name in ("cpu", "platform", "python", "revision"):
        yield from ((name, text) for text in [exact(environment.get(name))] if text)
    packages: Mapping[str, Any] = environment.get("packages") or {}
    yield from ((name, exact(version)) for name, version in packages.items())


def _append(suite: Xml.Element, case: TestCase) -> None:
    attributes = {"classname": case.classname, "name": case.name}
    attributes = {name: one_line(value, _LONGEST) for name, value in attributes.items()}
    element = Xml.SubElement(suite, "testcase", {**attributes, "time": _seconds(case.time_s)})
    if case.properties:
        properties = Xml.SubElement(element, "properties")
        for name, value in case.properties:
            Xml.SubElement(
                properties, "property", {"name": one_line(name, _LONGEST), "value": visible(value)}
            )
    message = one_line(case.message, _LONGEST)
    if case.result == "skipped":
        Xml.SubElement(element, "skipped", {"message": message})
    elif case.result != "passed":
        found = Xml.SubElement(element, case.result, {"message": message, "type": case.kind})
        found.text = _bounded(visible(case.text))
    if case.note:
        Xml.SubElement(element, "system-out").text = _bounded(visible(case.note))


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _seconds(value: float) -> str:
    """Return seconds without an exponent, to the nanosecond: schemas know no exponents."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


register_report(Report("junit", "test cases for a CI server", "junit.xml", write, gated=True))
