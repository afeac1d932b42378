"""The report as GitHub Markdown, for a job's summary: worst first, and never too long to be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.report import Report, register_report
from harness.report.view import header as heading
from harness.report.view.frontier import FrontierTable, frontier_tables
from harness.report.view.matrix import Matrix, digits_matrix
from harness.report.view.rows import Row, digits_left, grouped, text_of
from harness.report.view.summary import Story, Summary, skip_groups, summarise, what_happened
from harness.report.view.text import MISSING, counted, exact, shortened, whole

if TYPE_CHECKING:
    from harness.store import Run

MOST_BYTES: Final = 1 << 20
"""GitHub shows no step summary above 1 MiB."""
MOST_LISTED: Final = 50
_LONGEST: Final = 400
"""Characters of one reason or text of a case; the rest is in the other reports."""


def write(run: Run, path: Path) -> Path:
    """Write the summary of a run as Markdown.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    replace_text(path, text_of_run(run))
    return path


def text_of_run(run: Run) -> str:
    """Return the summary of a run; sections that do not fit any more are counted, not cut through."""
    summary = summarise(run.rows, run.fact_rows, finished=run.finished)
    kept = [section for section in opening(run, summary) if section]
    left_out = 0
    closing = environment(run)
    room = MOST_BYTES - 256 - _size("\n\n".join([*kept, *closing]))
    for section in sections(run):
        size = _size(section) + 2
        if size <= room:
            room -= size
            kept.append(section)
        else:
            left_out += 1
    if left_out:
        kept.append(
            f"*{counted(left_out, 'section')} left out, for this summary is full; report.html has all.*"
        )
    return "\n\n".join([*kept, *closing]) + "\n"


def _size(part: str) -> int:
    return len(part.encode())


def opening(run: Run, summary: Summary) -> list[str]:
    """Return the verdict, the counts, and what is wrong, worst first."""
    sign = {"pass": "✅", "warn": "⚠️", "inconclusive": "❔", "fail": "❌"}[summary.state]
    counts = summary.counts
    numbers = (counts.passed, counts.failed, counts.warnings, counts.inconclusive, counts.skipped)
    parts = [
        f"# {sign} {escaped(summary.headline)}",
        escaped(summary.rest),
        table(
            ["passed", "failed", "warned", "not judged", "skipped"], "rrrrr", [[whole(n) for n in numbers]]
        ),
    ]
    if summary.fixed:
        entries = [
            f"- {code(text_of(r, 'cell'))}: {limited(r.get('reason'))}" for r in summary.fixed[:MOST_LISTED]
        ]
        parts += ["## Fixed upstream", "\n".join(entries)]
    if summary.worst:
        parts += ["## Worst first", *failures(summary.worst)]
    if summary.facts:
        parts += [
            "## Facts that failed or could not be judged",
            "\n".join(map(_fact, summary.facts[:MOST_LISTED])),
        ]
        parts.append(_cut(len(summary.facts), "fact"))
    return parts


def failures(worst: Sequence[Story]) -> list[str]:
    """Return a table of what failed, and how many kinds of failure it leaves out."""
    lines = []
    for story in worst[:MOST_LISTED]:
        row = story.worst
        verdict = (
            "warning" if text_of(row, "verdict") == "fail" and text_of(row, "severity") == "warn" else ""
        )
        others = f" and {whole(len(story.others))} more" if story.others else ""
        where = f" ({limited(story.others_where)})" if others and story.others_where else ""
        digits = digits_left(row)
        lines.append(
            [
                verdict or text_of(row, "verdict"),
                code(text_of(row, "cell")) + others + where,
                escaped(what_happened(row)),
                MISSING if digits is None else f"{digits:.1f}",
                limited(row.get("reason")),
            ]
        )
    return [
        table(["verdict", "cell", "what happened", "digits left", "why"], "lllrl", lines),
        _cut(len(worst), "kind"),
    ]


def _cut(total: int, what: str) -> str:
    left = total - MOST_LISTED
    return (
        f"*{counted(left, f'more {what}')} not listed here; report.html has every row.*" if left > 0 else ""
    )


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
    lines = [[escaped(name), limited(value, 2000)] for name, value in pairs if value]
    return ["## Environment", table(["", ""], "ll", lines)] if lines else []


_SPECIAL: Final = str.maketrans({**{c: f"\\{c}" for c in "\\`*_[]<>#|~$"}, "&": "&amp;", "@": "&#64;"})
"""What would be markup, a column, HTML, mathematics or a mention."""


def escaped(value: str) -> str:
    """Return text that Markdown shows as it is, on one line: no markup, no column, no HTML."""
    return " ".join(value.split()).translate(_SPECIAL)


def limited(value: object, most: int = _LONGEST) -> str:
    """Return escaped text of bounded length."""
    return escaped(shortened(exact(value), most))


def code(value: str) -> str:
    """Return text of bounded length as a code span for a table; its fence is longer than any in it."""
    flat = shortened(value, _LONGEST)
    longest = max((len(run) for run in _ticks(flat)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{pad}{flat}{pad}{fence}".replace("|", "\\|")


def _ticks(value: str) -> list[str]:
    return "".join(c if c == "`" else " " for c in value).split()


def table(head: Sequence[str], align: str, lines: Iterable[Sequence[str]]) -> str:
    """Return a table; `align` has `l` or `r` for each column. Cells are Markdown already."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(head), rule, *lines])


register_report(Report("markdown", "summary for a pull request or a job", "summary.md", write))
