"""`harness gate`: a finished run against accepted results."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

import click

from harness.cli.options import baseline, output_format
from harness.cli.output import bounded, say, told

if TYPE_CHECKING:
    from harness.gate import GateReport

MOST_ENTRIES: Final = 30
_SENTENCES: Final = {
    0: "passed",
    1: "failed",
    3: "could not judge",
    4: "has no comparable baseline",
}


@click.command("gate")
@click.argument("run", required=False, default="reports/latest", metavar="[RUN]")
@baseline(required_default="reports/baseline")
@click.option("--accept", is_flag=True, help="Make this run the accepted results of what it covers.")
@output_format("text", "json", "markdown", "github")
def command(run: str, baseline: str, accept: bool, format_: str) -> int:
    """Compare RUN (default: reports/latest) with accepted results; nothing is measured.

    Accuracy that got worse, a failed expectation or a vanished cell fails. Times are compared on the
    same machine only, and never decide.
    """
    from harness import api
    from harness.cli.output import as_json

    report = api.gate(run, baseline)
    notes = api.accept(run, baseline) if accept else []
    code = 0 if accept else int(report.exit_code)
    if format_ == "json":
        found = report.as_json()
        del found["schema_version"]
        say(as_json(**found | {"exit_code": code, "accepted": notes}))
        return code
    accepted = [f"{baseline}: {note}" for note in notes]
    if format_ == "markdown":
        from harness.report.markdown import text_of_gate

        say("\n".join([text_of_gate(report), *(f"- {note}" for note in accepted)]))
        return code
    say("\n".join([*gate_lines(report), *accepted]))
    if format_ == "github":
        from harness.cli.output import say_commands
        from harness.report.github import commands

        say_commands(commands(api.load(run), report))
    return code


def gate_lines(report: GateReport, *, told_before: Collection[str] = ()) -> Iterator[str]:
    """Yield what the gate has to say: its answer, the entries worst first, the notes.

    Entries of the kinds in `told_before` are counted only.
    """
    from harness.gate import KINDS
    from harness.report.view.gate import gate_stories

    counts = report.counts
    numbers = [f"{counts['compared']} results compared, {counts['unchanged']} unchanged"]
    numbers += [
        f"{counts[kind]} {kind.replace('_', ' ')}" for kind in (*KINDS, "skipped") if counts.get(kind)
    ]
    if counts["warnings"]:
        numbers.append(f"{counts['warnings']} of them only warn")
    yield f"gate {_SENTENCES[int(report.exit_code)]}: {', '.join(numbers)}"
    lines = []
    for story in gate_stories(e for e in report.entries if e.kind not in told_before):
        entry = story.worst
        kind = f"{entry.kind} (warn)" if entry.warns else entry.kind
        more = f" (and {story.others} more)" if story.others else ""
        lines.append(f"  {kind:<16}  {told(entry.cell)} [{told(entry.output)}]: {told(entry.message)}{more}")
    yield from bounded(lines, MOST_ENTRIES, "entries: harness gate --format json")
    for note in report.notes:
        yield f"  note: {told(note)}"
