"""What `harness run` says at its end: verdicts, failures worst first, frontiers, where the report is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.cli.gate_command import gate_lines
from harness.cli.output import as_json, bounded, told

if TYPE_CHECKING:
    from harness.api import Measured
    from harness.report.view.summary import Story
    from harness.store import Run

MOST_ROWS: Final = 10
MOST_FRONTIERS: Final = 16


def lines(measured: Measured) -> Iterator[str]:
    """Yield the summary of a run."""
    from harness.execute.progress import duration
    from harness.report.view.summary import skip_groups

    run, executed = measured.run, measured.executed
    yield from verdict_lines(run)
    yield from _frontiers(run)
    for group in skip_groups(run.rows)[:MOST_ROWS]:
        yield f"skipped {group.cells}: {told(group.what)}"
    references = executed.references
    if references:
        again = references.get("recomputed", 0)
        damaged = f" ({again} of them damaged in the cache)" if again else ""
        computed = references.get("computed", 0) + again
        yield f"references: {computed} computed{damaged}, {references.get('cached', 0)} from the cache"
    if executed.losses:
        yield f"child processes that died or were killed: {executed.losses}, see {run.folder / 'logs'}"
    if measured.gate is not None:
        yield ""
        yield from gate_lines(measured.gate, told_before=("failed", "inconclusive", "fixed_upstream"))
    if executed.peak_bytes:
        child, most = max(executed.peak_bytes.items(), key=lambda item: item[1])
        yield f"most memory: {most / 2**20:,.0f} MiB, {child}"
    resumed = f", {executed.resumed} from before" if executed.resumed else ""
    yield f"took {duration(measured.seconds)}: {executed.cells} cells judged, {executed.timed} timed{resumed}"
    yield f"report: {measured.reports.get('html', run.folder)}"


def verdict_lines(run: Run) -> Iterator[str]:
    """Yield the verdict in a sentence, and the worst rows and facts behind it."""
    from harness.report.view.summary import summarise

    summary = summarise(run.rows, run.fact_rows, finished=run.finished)
    yield summary.sentence
    for row in summary.fixed:
        yield f"  fixed upstream  {told(row['cell'])}: {told(row['reason'])}"
    if summary.defects:
        yield f"known defects of libraries that still show: {told(summary.defects_told)}"
    several = {cell.id for cell in run.plan.cells if len(cell.outputs) > 1}
    alike: dict[tuple[str, str], list[Story]] = {}
    for story in summary.worst:
        alike.setdefault((_word(story.worst), story.worst["reason"]), []).append(story)
    found = []
    for (word, reason), stories in alike.items():
        row = stories[0].worst
        name = f"{row['cell']} [{row['output']}]" if row["cell"] in several else str(row["cell"])
        others = sum(1 + len(story.others) for story in stories) - 1
        where = f": {stories[0].others_where}" if len(stories) == 1 else ""
        more = f" (and {others} more{told(where)})" if others else ""
        found.append(f"  {word:<12}  {told(name)}: {told(reason)}{more}")
    for fact in summary.facts:
        name = "/".join(str(fact[k]) for k in ("case", "formulation", "backend", "dtype"))
        found.append(f"  {_word(fact):<12}  {told(name)}: {told(fact['reason'])}")
    yield from bounded(found, MOST_ROWS, "in the report")


def _word(item: Mapping[str, Any]) -> str:
    return "warning" if item["severity"] == "warn" else str(item["verdict"])


def _frontiers(run: Run) -> Iterator[str]:
    """Yield where formulations break, by dtype: the first bad value of each axis; equal backends together."""
    from harness.report.view.frontier import frontier_tables
    from harness.report.view.header import cases_of
    from harness.report.view.text import MISSING

    found = []
    for table in frontier_tables(run.fact_rows, cases_of(run)):
        alike: dict[tuple[str, str], list[str]] = {}
        for line in table.lines:
            fields = zip(table.dtypes, line.fields, strict=True)
            breaking = ", ".join(
                f"{d} {f.text}" for d, f in fields if f.text != MISSING and not f.text.startswith("holds")
            )
            if breaking:
                alike.setdefault((line.formulation, breaking), []).append(line.backend)
        output = f" [{table.outputs}]" if table.outputs else ""
        for (formulation, breaking), backends in alike.items():
            where = f"{table.case} {formulation} ({', '.join(backends)}), {table.axis}{output}"
            found.append(f"  {told(where)}: {breaking}")
    if found:
        yield "first bad values:"
        yield from bounded(found, MOST_FRONTIERS, "in the report")


def as_plain(measured: Measured) -> str:
    """Return a run as machine output."""
    from harness.store import COLUMNS

    run = measured.run
    known = {column.name for column in COLUMNS}
    cells = [{n: v for n, v in row.items() if v is not None and n in known} for row in run.rows]
    more: dict[str, Any] = {
        "exit_code": int(measured.exit_code),
        "folder": str(run.folder),
        "profile": run.plan.profile,
        "seconds": measured.seconds,
        "references": measured.executed.references,
        "reports": {name: str(path) for name, path in measured.reports.items()},
        "facts": run.fact_rows,
    }
    if measured.gate is not None:
        more["gate"] = measured.gate.as_json()
    return as_json(cells=cells, **more)
