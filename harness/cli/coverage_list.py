"""What `harness list --coverage` prints: rows of the guide, their cases, and what became of the cells."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from harness.cli.output import told

if TYPE_CHECKING:
    from harness.coverage import CaseCoverage, Coverage, RowCoverage
    from harness.store import Run

WIDTH: Final = 100
_NO_CASE: Final = "no case"
_NONE_SELECTED: Final = "none selected"


def echo_coverage(run: str | None, format_: str, profile: str | None, **asked: Any) -> None:
    """Print which rows of the guide the cases cover, with the verdicts of a run if there is one."""
    from harness import api
    from harness.casefile import GUIDE
    from harness.coverage import coverage
    from harness.selection import Selection

    reading = {name: asked.pop(name) for name in ("max_elements", "plugins")}
    paths = asked["paths"]
    cases = api.check(paths, **reading)
    opened = None if run is None and not api.LATEST.exists() else api.load(run or api.LATEST)
    found = coverage(
        cases,
        profile=profile or "default",
        selection=Selection(**asked),
        results=None if opened is None else opened.rows,
        whole=not paths or GUIDE in map(str, paths),
    )
    if format_ == "json":
        click.echo(as_json(found, opened, profile or "default"))
    else:
        click.echo("\n".join(lines(found, opened)))


def lines(found: Coverage, run: Run | None) -> Iterator[str]:
    """Yield the table, what no case exercises, and the count."""
    if run is None:
        yield "no run to take verdicts from: `harness run` makes one, --run names another than reports/latest"
    else:
        unfinished = "" if run.finished else ", interrupted: nothing in it is judged yet"
        yield told(f"verdicts of {_shown(run.folder)}, profile {run.plan.profile}{unfinished}")
    yield ""
    cases = [case for row in found.rows for case in row.cases]
    operations = max((len(case.operation) for case in cases), default=0)
    widths = (max(len("operation"), operations), max((len(case.case) for case in cases), default=len("case")))
    yield _line(widths, "operation", "case", "cells", "" if run is None else "verdicts", row="row")
    for section, rows in groupby(found.rows, lambda row: row.row.section):
        yield ""
        yield str(section)
        for row in rows:
            yield from _row(row, widths)
    if found.unexercised:
        yield ""
        yield "exercised by no case, in no profile:"
    for operation, items in groupby(found.unexercised, lambda item: item.operation):
        names = f"{operation}: {', '.join(map(str, items))}"
        yield from textwrap.wrap(
            names, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )
    yield ""
    yield f"{found.covered} of {len(found.rows)} rows of the guide covered"


def _row(row: RowCoverage, widths: tuple[int, int]) -> Iterator[str]:
    none = _NONE_SELECTED if row.narrowed else _NO_CASE
    yield f"{row.row.id:<6}{row.row.title}{'' if row.cases else f': {none}'}"
    before = ""
    for case in row.cases:
        operation = "" if case.operation == before else case.operation
        yield _line(widths, operation, case.case, str(case.cells), _words(case))
        before = case.operation


def _words(case: CaseCoverage) -> str:
    if not case.cells:
        return "all skipped"
    return ", ".join(f"{count} {word}" for word, count in case.verdicts.items())


def _line(
    widths: tuple[int, int], operation: str, case: str, cells: str, verdicts: str, *, row: str = ""
) -> str:
    of_operation, of_case = widths
    return f"{row:<6}{operation:<{of_operation}} {case:<{of_case}} {cells:>6}  {verdicts}".rstrip()


def _shown(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def as_json(found: Coverage, run: Run | None, profile: str) -> str:
    """Return `{"schema_version": 1, …, "rows": [...]}`."""
    from harness.report.json import as_json_object

    return as_json_object(
        {
            "profile": profile,
            "run": None
            if run is None
            else {"folder": str(run.folder), "profile": run.plan.profile, "finished": run.finished},
            "covered": found.covered,
            "unexercised": [
                {"operation": u.operation, "formulation": u.formulation, "mode": u.mode, "backend": u.backend}
                for u in found.unexercised
            ],
            "rows": [_plain_row(row) for row in found.rows],
        }
    )


def _plain_row(row: RowCoverage) -> Mapping[str, Any]:
    by_operation = groupby(row.cases, lambda case: case.operation)
    return {
        "row": row.row.id,
        "title": row.row.title,
        "section": row.row.section.number,
        "topic": row.row.topic,
        "covered": row.covered,
        "operations": [
            {"operation": operation, "cases": [_plain_case(case) for case in cases]}
            for operation, cases in by_operation
        ],
    }


def _plain_case(case: CaseCoverage) -> Mapping[str, Any]:
    names = ("case", "cells", "skipped", "judged_on", "verdicts")
    return {name: getattr(case, name) for name in names}
