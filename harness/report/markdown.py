"""The report as GitHub Markdown, for a job's summary: worst first, and never too long to be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.gate import KINDS, ExitCode, GateReport
from harness.report import Report, register_report
from harness.report.view import header as heading
from harness.report.view.frontier import FrontierTable, frontier_tables
from harness.report.view.gate import GateStory, gate_stories
from harness.report.view.gate import headline as gate_headline
from harness.report.view.gate import state as gate_state
from harness.report.view.matrix import Matrix, digits_matrix
from harness.report.view.rows import Row, digits_left, grouped, text_of
from harness.report.view.summary import (
    Counts,
    Story,
    Summary,
    skip_groups,
    summarise,
    warns,
    what_happened,
)
from harness.report.view.text import MISSING, counted, exact, shortened, whole
from harness.report.view.visible import visible

if TYPE_CHECKING:
    from harness.store import Run

MOST_BYTES: Final = 64 << 10
"""A summary is there to be read. GitHub shows none above 1 MiB, of all steps of a job together."""
MOST_LISTED: Final = 50
_LONGEST: Final = 400
"""Characters of one reason or text of a case; the rest is in the other reports."""
SIGNS: Final = {"pass": "✅", "warn": "⚠️", "inconclusive": "❔", "fail": "❌"}


def write(run: Run, path: Path, *, gate: GateReport | None = None) -> Path:
    """Write the summary of a run as Markdown.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    replace_text(path, text_of_run(run, gate))
    return path


class Page:
    """Text of bounded size: lists are cut at a line, sections are left out whole, and either is said."""

    def __init__(self, room: int) -> None:
        self.parts: list[str] = []
        self._room = room
        self._left_out = 0

    @property
    def room(self) -> int:
        """How many bytes are left."""
        return self._room

    def add(self, section: str) -> None:
        """Add a section if there is room for it."""
        size = len(section.encode()) + 2
        if size > self._room:
            self._left_out += 1
        elif section:
            self._room -= size
            self.parts.append(section)

    def add_list(self, head: str, lines: Sequence[str], what: str) -> None:
        """Add as many lines below a head as half of the room takes, and say how many more there are."""
        kept: list[str] = []
        room = self._room // 2 - len(head.encode()) - 200
        for line in lines[:MOST_LISTED]:
            room -= len(line.encode()) + 1
            if room < 0:
                break
            kept.append(line)
        if not lines:
            return
        self.add("\n".join([head, *kept]))
        if len(kept) < len(lines):
            more = counted(len(lines) - len(kept), f"more {what}")
            self.add(f"*{more} not listed here; report.html has every row.*")

    def close(self, closing: Sequence[str]) -> str:
        """Return the whole text, with what always stands at its end."""
        if self._left_out:
            told = counted(self._left_out, "section")
            self.parts.append(f"*{told} left out, for this summary is full; report.html has all.*")
        return "\n\n".join([*self.parts, *closing]) + "\n"


def text_of_run(run: Run, gate: GateReport | None = None) -> str:
    """Return the summary of a run, and of what a gate found, worst first."""
    summary = summarise(run.rows, run.fact_rows, finished=run.finished)
    closing = environment(run)
    page = Page(MOST_BYTES - 256 - sum(len(part.encode()) + 2 for part in closing))
    if gate is None:
        page.add(f"# {SIGNS[summary.state]} {escaped(summary.headline)}")
        page.add(escaped(summary.rest))
        page.add(verdict_counts(summary.counts))
        add_findings(page, summary)
    else:
        add_gate(page, gate)
        page.add(f"## {SIGNS[summary.state]} {escaped(summary.headline)}")
        page.add(escaped(summary.rest))
        page.add(verdict_counts(summary.counts))
        page.add(still_showing(summary))
    for section in sections(run):
        page.add(section)
    return page.close(closing)


def text_of_gate(gate: GateReport) -> str:
    """Return what a gate found, worst first."""
    page = Page(MOST_BYTES - 256)
    add_gate(page, gate)
    return page.close([])


def add_gate(page: Page, gate: GateReport) -> None:
    """Add the answer of a gate, its counts, its entries worst first, and how the environments differ."""
    counts = gate.counts
    warned = gate.exit_code is ExitCode.OK and counts.get("warnings")
    page.add(f"# {SIGNS['warn' if warned else gate_state(gate)]} {escaped(gate_headline(gate))}")
    kinds = [kind for kind in (*KINDS, "skipped", "unchanged") if counts.get(kind)]
    if kinds:
        shown = [escaped(kind.replace("_", " ")) for kind in kinds]
        page.add(table(shown, "r" * len(kinds), [[whole(counts[kind]) for kind in kinds]]))
    if counts.get("warnings"):
        page.add(f"{counted(counts['warnings'], 'entry', 'entries')} of these only warn.")
    lines = [_entry(story) for story in gate_stories(gate.entries)]
    head = "## Against the baseline, worst first\n\n" + table(["", "cell", "what"], "lll", [])
    page.add_list(head, lines, "finding")
    if gate.notes:
        page.add_list("## The baseline\n", [f"- {limited(note)}" for note in gate.notes], "note")


def _entry(story: GateStory) -> str:
    entry = story.worst
    kind = entry.kind.replace("_", " ") + (" (warns)" if entry.warns else "")
    others = f" and {whole(story.others)} more" if story.others else ""
    name = f"{code(entry.cell)} {escaped(shortened(f'[{entry.output}]', 60))}"
    return line_of_table([escaped(kind), name + others, limited(entry.message)])


def verdict_counts(counts: Counts) -> str:
    """Return the cells of a run by verdict, as a table."""
    numbers = (counts.passed, counts.failed, counts.warnings, counts.inconclusive, counts.skipped)
    head = ["passed", "failed", "warned", "not judged", "skipped"]
    return table(head, "rrrrr", [[whole(n) for n in numbers]])


def add_findings(page: Page, summary: Summary) -> None:
    """Add what is wrong with a run, worst first, and what was mended elsewhere."""
    fixed = [f"- {code(text_of(r, 'cell'))}: {limited(r.get('reason'))}" for r in summary.fixed]
    page.add_list("## Fixed upstream\n", fixed, "defect")
    page.add(still_showing(summary))
    head = table(["verdict", "cell", "what happened", "digits left", "why"], "lllrl", [])
    page.add_list(f"## Worst first\n\n{head}", failures(summary.worst), "kind")
    page.add_list("## Facts that failed or could not be judged\n", [*map(_fact, summary.facts)], "fact")


def still_showing(summary: Summary) -> str:
    """Return the known defects of libraries that show as their cases declare; empty without one."""
    told = f"**Known defects of libraries that still show**: {limited(summary.defects_told, 2000)}."
    return told if summary.defects else ""


def failures(worst: Sequence[Story]) -> list[str]:
    """Return the lines of a table of what failed."""
    lines = []
    for story in worst:
        row = story.worst
        warned = text_of(row, "verdict") == "fail" and warns(row)
        others = f" and {whole(len(story.others))} more" if story.others else ""
        where = f" ({limited(story.others_where)})" if others and story.others_where else ""
        digits = digits_left(row)
        fields = [
            "warning" if warned else text_of(row, "verdict"),
            code(text_of(row, "cell")) + others + where,
            escaped(what_happened(row)),
            MISSING if digits is None else f"{digits:.1f}",
            limited(row.get("reason")),
        ]
        lines.append(line_of_table(fields))
    return lines


def _fact(fact: Row) -> str:
    where = " · ".join(t for c in ("case", "formulation", "backend", "dtype") if (t := text_of(fact, c)))
    return f"- {text_of(fact, 'verdict')}: {code(where)} {limited(fact.get('reason'))}"


def sections(run: Run) -> Iterable[str]:
    """Yield what may be left out when there is no room, the most useful first."""
    cases = heading.cases_of(run)
    operations = grouped(run.rows, lambda r: text_of(r, "operation"))
    titles = {info.operation: info.operation_title for info in cases.values()}
    first = True
    for operation, rows in operations.items():
        matrix = digits_matrix(rows)
        if matrix is not None:
            if first:
                yield "## Digits left\n\nDecimal digits that the worst element of the worst cell keeps."
            yield f"### {escaped(titles.get(operation, operation))}\n\n{matrix_table(matrix)}"
            first = False
    tables = frontier_tables(run.fact_rows, cases)
    if tables:
        yield "## Frontiers\n\nThe first value of an axis at which a formulation is no longer right."
        yield from map(frontier, tables)
    skips = skip_groups(run.rows)
    if skips:
        lines = [[whole(g.cells), limited(g.what), limited(g.where)] for g in skips[:MOST_LISTED]]
        yield "## Skipped\n\n" + table(["cells", "reason", "formulations · backends · dtypes"], "rll", lines)


def matrix_table(matrix: Matrix) -> str:
    """Return a matrix as a table: digits, or the worst outcome and how many cells it struck."""
    head = ["formulation", "backend", *(["result"] if matrix.has_results else [])]
    tops = [f"{escaped(h.dtype)} ({h.holds})" if h.holds else escaped(h.dtype) for h in matrix.headings]
    lines = []
    for line in matrix.lines:
        fields = []
        for field in line.fields:
            digits = f"**{field.text}**" if field.kind == "digits" else escaped(field.text)
            detail = f"<br>{limited(field.detail)}" if field.detail else ""
            failed = f"<br>❌ {counted(field.failed, 'cell')} failed" if field.failed else ""
            fields.append(digits + detail + failed)
        names = [line.formulation, line.backend, *([line.result] if matrix.has_results else [])]
        lines.append([*map(escaped, names), *fields])
    return table([*head, *tops], "l" * len(head) + "r" * len(tops), lines)


def frontier(found: FrontierTable) -> str:
    """Return one table of frontiers."""
    lines = [
        [escaped(line.formulation), escaped(line.backend), *(escaped(f.text) for f in line.fields)]
        for line in found.lines
    ]
    head = ["formulation", "backend", *map(escaped, found.dtypes)]
    title = f"**{escaped(found.title)}**: first bad {escaped(found.axis)}"
    return f"{title}\n\n{table(head, 'll' + 'r' * len(found.dtypes), lines)}"


def environment(run: Run) -> list[str]:
    """Return the time, the machine and the versions, folded."""
    pairs = [
        ("profile", exact(run.header.get("profile"))),
        ("made", heading.when(run.header)),
        ("machine", heading.machine(run.header)),
        ("references", heading.references(run.header)),
        ("harness", exact(run.header.get("harness"))),
    ]
    groups = dict(heading.environment_groups(run.header))
    pairs += [
        (name, ", ".join(f"{key} {value}" for key, value in groups.get(name, [])))
        for name in ("packages", "measured peaks")
    ]
    lines = [[escaped(name), limited(value, 600)] for name, value in pairs if value]
    return ["## Environment", table(["", ""], "ll", lines)] if lines else []


_SPECIAL: Final = str.maketrans({**{c: f"\\{c}" for c in "\\`*_[]<>#|~$"}, "&": "&amp;", "@": "&#64;"})
"""What would be markup, a column, HTML, mathematics or a mention."""


def escaped(value: str) -> str:
    """Return text that Markdown shows as it is, on one line: no markup, no column, no HTML."""
    return " ".join(visible(value).split()).translate(_SPECIAL)


def limited(value: object, most: int = _LONGEST) -> str:
    """Return escaped text of bounded length."""
    return escaped(shortened(exact(value), most))


def code(value: str) -> str:
    """Return text of bounded length as a code span for a table; its fence is longer than any in it.

    In a table a bar is escaped even in code, and a backslash before it may be escaped itself (GitHub Flavored
    Markdown, 4.10): after an odd number of backslashes one more is shown.
    """
    flat = shortened(visible(value), _LONGEST)
    longest = max((len(run) for run in _ticks(flat)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    escaped = re.sub(r"(\\*)\|", lambda m: m[1] + "\\" * (len(m[1]) % 2) + "\\|", flat)
    return f"{fence}{pad}{escaped}{pad}{fence}"


def _ticks(value: str) -> list[str]:
    return "".join(c if c == "`" else " " for c in value).split()


def table(head: Sequence[str], align: str, lines: Iterable[Sequence[str]]) -> str:
    """Return a table; `align` has `l` or `r` for each column. Cells are Markdown already."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join(map(line_of_table, [list(head), rule, *lines]))


def line_of_table(fields: Sequence[str]) -> str:
    """Return one line of a table; its fields are Markdown already."""
    return f"| {' | '.join(fields)} |"


register_report(Report("markdown", "summary for a pull request or a job", "summary.md", write, gated=True))
