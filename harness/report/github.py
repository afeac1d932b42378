"""Annotations for GitHub Actions: workflow commands that point at the rule of a case file.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions fixes the syntax. GitHub
shows ten annotations of a kind for a step, so that the rest is counted in the tenth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from harness.gate import ExitCode, GateReport, fact_message, fact_name
from harness.report import Report, register_report
from harness.report.view.gate import GateStory, Place, Places, gate_stories
from harness.report.view.rows import Row, text_of
from harness.report.view.summary import Story, summarise, warns
from harness.report.view.text import counted
from harness.report.view.visible import one_line

if TYPE_CHECKING:
    from harness.store import Run

Kind = Literal["error", "warning", "notice"]

MOST_OF_A_KIND: Final = 10
"""GitHub drops what comes after, without a word."""
_LONGEST: Final = 1000

_KIND_OF_ENTRY: Final[dict[str, Kind]] = {
    "regressed": "error", "failed": "error", "vanished": "error",
    "inconclusive": "warning", "changed": "warning",
    "drifted": "notice", "improved": "notice", "fixed_upstream": "notice",
}  # fmt: skip
"""What a gate found → annotation; times, new cells and absent machines are none."""

_TITLES: Final = {
    "regressed": "Regressed", "failed": "Failed", "vanished": "Vanished",
    "inconclusive": "Could not be judged", "changed": "Changed",
    "drifted": "Drifted", "improved": "Improved", "fixed_upstream": "Fixed upstream",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Annotation:
    """One message about a place in a case file, or about the run where it has none."""

    kind: Kind
    title: str
    message: str
    place: Place | None = None

    def __str__(self) -> str:
        where = []
        if self.place is not None:
            where.append(f"file={escaped_property(self.place.file)}")
            if self.place.line:
                where.append(f"line={self.place.line}")
        where.append(f"title={escaped_property(one_line(self.title, _LONGEST))}")
        return f"::{self.kind} {','.join(where)}::{escaped_data(one_line(self.message, _LONGEST))}"


def write(run: Run, path: Path, *, gate: GateReport | None = None) -> Path:
    """Write the workflow commands of a run, a line each.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    replace_text(path, "".join(f"{line}\n" for line in commands(run, gate)))
    return path


def commands(run: Run, gate: GateReport | None = None) -> list[str]:
    """Return the workflow commands of a run, or of what a gate found: worst first, ten of a kind at most."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    places = Places(run, root)
    found = [*(_of_run(run, places) if gate is None else _of_gate(gate, places))]
    kinds: tuple[Kind, ...] = ("error", "warning", "notice")
    return [str(a) for kind in kinds for a in limited([a for a in found if a.kind == kind])]


def limited(
    found: Sequence[Annotation], where: str = "summary.md and report.html of the run"
) -> list[Annotation]:
    """Return at most ten annotations of one kind; the tenth counts the rest and says where they are."""
    if len(found) <= MOST_OF_A_KIND:
        return list(found)
    kept, cut = found[: MOST_OF_A_KIND - 1], len(found) - MOST_OF_A_KIND + 1
    told = f"{counted(cut, f'more {found[0].kind}')} not shown here: see {where}."
    return [*kept, Annotation(found[0].kind, f"and {cut:,} more", told)]


def _of_run(run: Run, places: Places) -> Iterator[Annotation]:
    summary = summarise(run.rows, run.fact_rows, finished=run.finished)
    if not run.finished:
        yield Annotation("warning", "No verdict", summary.sentence)
        return
    told = [(_badness(s.worst), _of_story(s, places)) for s in summary.worst]
    told += [(_badness(f), _of_fact(f, places)) for f in summary.facts]
    yield from (annotation for _, annotation in sorted(told, key=lambda item: item[0]))
    for row in summary.fixed:
        message = f"{text_of(row, 'cell')}: {text_of(row, 'reason')}"
        yield Annotation("notice", _TITLES["fixed_upstream"], message, places.of_row(row))


def _badness(row: Row) -> int:
    """Sort what fails before what could not be judged before what warns; sorting is stable within."""
    return 2 if warns(row) else int(text_of(row, "verdict") != "fail")


def _of_story(story: Story, places: Places) -> Annotation:
    row = story.worst
    others = f" (and {len(story.others):,} more: {story.others_where})" if story.others else ""
    output = text_of(row, "output")
    message = f"{text_of(row, 'cell')} [{output}]: {text_of(row, 'reason')}{others}"
    kind, title = _judged(row)
    return Annotation(kind, f"{title}: {text_of(row, 'case')}", message, places.of_row(row))


def _of_fact(fact: Row, places: Places) -> Annotation:
    kind, title = _judged(fact)
    message = f"{fact_name(fact)}: {fact_message(fact)}"
    return Annotation(kind, f"{title}: {text_of(fact, 'case')}", message, places.of_fact(fact))


def _judged(row: Row) -> tuple[Kind, str]:
    if warns(row):
        return "warning", "Warning"
    return ("error", "Failed") if text_of(row, "verdict") == "fail" else ("warning", "Could not be judged")


def _of_gate(report: GateReport, places: Places) -> Iterator[Annotation]:
    if report.exit_code is ExitCode.NO_BASELINE:
        yield Annotation("warning", "No comparable baseline", "; ".join(report.notes))
    for story in gate_stories(report.entries):
        kind = "warning" if story.worst.warns else _KIND_OF_ENTRY.get(story.worst.kind)
        if kind is not None:
            yield _of_entry(kind, story, places)


def _of_entry(kind: Kind, story: GateStory, places: Places) -> Annotation:
    entry = story.worst
    title = f"{'Warning' if entry.warns else _TITLES[entry.kind]}: {entry.cell.partition('/')[0]}"
    others = f" (and {counted(story.others, 'other cell')} of the same)" if story.others else ""
    return Annotation(
        kind, title, f"{entry.cell} [{entry.output}]: {entry.message}{others}", places.of_entry(entry)
    )


def escaped_data(text: str) -> str:
    """Return the message of a workflow command: percent signs and ends of lines escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_property(text: str) -> str:
    """Return a property of a workflow command: colons and commas, which would end it, escaped too."""
    return escaped_data(text).replace(":", "%3A").replace(",", "%2C")


register_report(
    Report("github", "annotations for GitHub Actions", "annotations.txt", write, gated=True, printed=True)
)
