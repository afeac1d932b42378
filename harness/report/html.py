"""The report as one self-contained HTML file: it asks nothing of any server, and everything is escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report import Report, register_report
from harness.report.view import header as heading
from harness.report.view import summary as telling
from harness.report.view import text
from harness.report.view.chart import LegendKey
from harness.report.view.element import worst_element
from harness.report.view.forest import legend_mark
from harness.report.view.frontier import facts_table, frontier_tables
from harness.report.view.matrix import LEVELS
from harness.report.view.pairs import comparison_section
from harness.report.view.payload import as_json, payload, shown_rows
from harness.report.view.reproduce import plugins_of, reproduction
from harness.report.view.rows import digits_left, grouped, has_several_outputs, result_name, text_of
from harness.report.view.sections import Budget, operation_sections, speed_sections
from harness.report.view.speed import is_timed
from harness.report.view.svg import legend_svg, panel_svg
from harness.report.view.visible import visible

if TYPE_CHECKING:
    from harness.compare.model import Comparison
    from harness.store import Run

TEMPLATES: Final = Path(__file__).parent / "templates"
SCRIPTS: Final = ("data.js", "results.js", "page.js")
"""Joined into one script, in this order."""
MOST_LISTED: Final = 50
"""Entries in the list of the worst; the rest are in the table of all results."""
MOST_FACTS: Final = 200
"""Rows of the table of facts, those that failed first; the rest are in facts.csv."""
MOST_GROUPS: Final = 250
"""Groups of expected breakages that are told."""
FIGURE_BYTES: Final = 150_000
"""What figures may take as they are; the others are packed."""
PACKED_BYTES: Final = 300_000
"""What packed figures may take; the cases whose figures do not fit say so."""
MATRIX_BYTES: Final = 300_000
"""What the matrices of cases may take, about."""


def write(run: Run, path: Path) -> Path:
    """Write the report of a run as one HTML file.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    replace_text(path, page(run))
    return path


def page(run: Run | None, comparison: Comparison | None = None) -> str:
    """Return the report of a run as HTML, that of a comparison above it; a run without rows adds nothing."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": text.number,
        "exact": text.exact,
        "prose": _prose,
        "breakable": lambda name: Markup(escape(name).replace("_", "_<wbr>")),  # noqa: S704 - escaped
        "whole": text.whole,
        "counted": text.counted,
        "digits": lambda row: "" if (d := digits_left(row)) is None else f"{d:.1f}",
        "happened": telling.what_happened,
        "key": _legend,
        "mark": lambda name: Markup(legend_mark(name)),  # noqa: S704 - ours
        "path": _path,
    }
    environment.globals["missing"] = text.MISSING
    return environment.get_template("report.html.j2").render(
        _shell(
            None if run is None or (comparison is not None and not run.rows) else contents(run), comparison
        )
    )


def _shell(of_run: dict[str, Any] | None, comparison: Comparison | None) -> dict[str, Any]:
    """Return what the page is made of: its parts, the style, the script, and the digests of both."""
    compared = None if comparison is None else comparison_section(comparison)
    css = "\n".join(map(_read, ("report.css", *(["comparison.css"] if compared else []))))
    js = "\n".join(map(_read, SCRIPTS if of_run else (SCRIPTS[0], SCRIPTS[-1])))
    title = (
        compared["told"].headline
        if compared
        else f"{of_run['summary'].headline} {of_run['name']}"
        if of_run
        else ""
    )
    return {
        **(of_run or {}),
        "of_run": of_run is not None,
        "comparison": compared,
        "title": title,
        "css": Markup(css),  # noqa: S704 - ours
        "js": Markup(js),  # noqa: S704 - ours
        "style_source": _source(css),
        "script_source": _source(js),
    }


def contents(run: Run) -> dict[str, Any]:
    """Return everything that the templates lay out of a run."""
    infos = heading.cases_of(run)
    facts = run.fact_rows
    profile = run.header.get("profile")
    summary = telling.summarise(run.rows, facts, finished=run.finished)
    by_case = {c: rows for c, rows in grouped(run.rows, lambda r: text_of(r, "case")).items() if c in infos}
    budget = Budget(FIGURE_BYTES, PACKED_BYTES, MATRIX_BYTES, _panel, _legend)
    operations = operation_sections(by_case, infos, budget)
    speed = speed_sections(by_case, infos, budget)
    known = heading.columns_of(run.header)
    results, plugins = [r for rows in by_case.values() for r in rows], plugins_of(run.header)
    data = payload(results, known, infos, run.plan.cases, profile, plugins)
    told_facts, breakages = facts_table(facts), telling.merged(telling.expected_breakages(run.rows))
    return {
        "data": Markup(as_json(data)),  # noqa: S704 - escaped
        "run": run,
        "name": run.folder.name,
        "summary": summary,
        "worst": worst_entries(run, summary.worst[:MOST_LISTED], by_case),
        "overview": overview(run, summary.counts),
        "levels": LEVELS,
        "operations": operations,
        "speed": speed,
        "left_out": budget.left_out,
        "frontiers": frontier_tables(facts, infos),
        "facts": told_facts[:MOST_FACTS],
        "more_facts": max(0, len(told_facts) - MOST_FACTS),
        "rows": data["rows"],
        "skips": telling.skip_groups(run.rows),
        "breakages": grouped(breakages[:MOST_GROUPS], lambda g: g.case),
        "more_breakages": max(0, len(breakages) - MOST_GROUPS),
        "titles": {name: info.title for name, info in infos.items()},
        "environment": heading.environment_groups(run.header),
        "metrics": heading.metrics_of(run.header),
    }


def worst_entries(
    run: Run, stories: Iterable[telling.Story], by_case: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return what is told of each of the worst: its row in the table, its worst element, its commands."""
    numbers = {id(r): n for n, r in enumerate(shown_rows(r for rows in by_case.values() for r in rows))}
    rows_of = grouped(run.rows, lambda r: text_of(r, "operation"))
    several = {operation: has_several_outputs(rows) for operation, rows in rows_of.items()}
    cases, plugins = run.plan.cases, plugins_of(run.header)
    entries = []
    for story in stories:
        row = story.worst
        case = cases.get(text_of(row, "case"))
        entries.append(
            {
                "story": story,
                "number": numbers.get(id(row)),
                "output": result_name(row, several[text_of(row, "operation")]),
                "element": worst_element(row),
                "commands": None
                if case is None
                else reproduction(row, case, cases.values(), run.header.get("profile"), plugins),
            }
        )
    return entries


def overview(run: Run, counts: telling.Counts) -> list[tuple[str, str]]:
    """Return what was run, as (name, text) pairs; what is not known is left out."""
    selection = heading.flattened(run.header.get("selection"))
    pairs = [
        ("Profile", text.exact(run.header.get("profile"))),
        ("Selected", "; ".join(f"{name} {value}" for name, value in selection)),
        ("Made", heading.when(run.header)),
        ("Machine", heading.machine(run.header)),
        ("References", heading.references(run.header)),
        ("Harness", text.exact(run.header.get("harness"))),
    ]
    for title, column in (
        ("Operations", "operation"), ("Backends", "backend"), ("Dtypes", "dtype"),
    ):  # fmt: skip
        pairs.append((title, ", ".join(dict.fromkeys(t for r in run.rows if (t := text_of(r, column))))))
    timed = len({text_of(r, "cell") for r in run.rows if is_timed(r)})
    pairs.append(("Timed", f"{text.whole(timed)} of {text.counted(counts.judged, 'cell')}"))
    return [(name, value) for name, value in pairs if value]


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _source(content: str) -> str:
    """Return what the page's policy allows: this content and no other, by its digest."""
    digest = hashlib.sha256(f"\n{content}\n".encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _prose(value: str) -> Markup:
    """Return text of a case, what stands between backticks as code."""
    parts = re.split(r"`([^`]+)`", value)
    shown = [escape(p) if n % 2 == 0 else f"<code>{escape(p)}</code>" for n, p in enumerate(parts)]
    return Markup("".join(shown))  # noqa: S704 - escaped in its parts


def _path(cell: str) -> Markup:
    """Return an id that breaks between its parts and not at a hyphen."""
    parts = [f"<i>{escape(part)}</i>" for part in visible(cell).split("/")]
    return Markup("/<wbr>".join(parts))  # noqa: S704 - escaped in its parts


def _panel(*args: Any) -> Markup:
    return Markup(panel_svg(*args))  # noqa: S704 - escapes what it holds


def _legend(entry: LegendKey) -> Markup:
    words = text.outcome_words(entry.label) if entry.outcome else entry.label
    return Markup(f"<li>{legend_svg(entry)}{escape(words)}")  # noqa: S704 - escaped in its parts


register_report(Report("html", "matrices, curves and tables in one offline file", "report.html", write))
