"""The report as one self-contained HTML file: it asks nothing of any server, and everything is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report import Report, register_report
from harness.report.view import header as heading
from harness.report.view import summary as telling
from harness.report.view import text
from harness.report.view.chart import Figure, LegendKey, Styles
from harness.report.view.curves import digit_figures
from harness.report.view.frontier import facts_table, frontier_tables
from harness.report.view.laws import law_figures
from harness.report.view.matrix import LEVELS, Matrix, digits_matrix, spoken
from harness.report.view.rows import Row, digits_left, grouped, has_several_outputs, result_name, text_of
from harness.report.view.speed import INTERVAL, half_width, is_timed, speed_figures
from harness.report.view.svg import legend_svg, panel_svg
from harness.report.view.table import ResultTable, result_table, shown

if TYPE_CHECKING:
    from harness.report.view.header import CaseInfo, Column
    from harness.store import Run

TEMPLATES: Final = Path(__file__).parent / "templates"
MOST_LISTED: Final = 50
"""Entries in the list of the worst; the rest are in the table of their case."""

_SPEED_COLUMNS: Final = (
    "time_median_s", INTERVAL, "time_min_s", "gflops", "peak_fraction", "gbps",
    "samples", "converged", "overhead_fraction", "noise", "bound_ratio", "bits",
)  # fmt: skip
_UNQUOTED: Final = re.compile(r"[A-Za-z0-9_.+-]+")


@dataclass(frozen=True, slots=True)
class CaseSection:
    """What the report shows of one case."""

    info: CaseInfo
    key: str
    matrix: Matrix | None
    figures: tuple[Figure, ...]
    cells: int


@dataclass(frozen=True, slots=True)
class OperationSection:
    """What the report shows of one operation; its own matrix where it has several cases."""

    info: CaseInfo
    key: str
    matrix: Matrix | None
    cases: tuple[CaseSection, ...]


@dataclass(frozen=True, slots=True)
class TableSection:
    """A table of results of one case, as markup."""

    info: CaseInfo
    key: str
    shared: tuple[tuple[str, str], ...]
    head: Markup
    body: Markup
    rows: int
    figures: tuple[Figure, ...] = ()


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


def page(run: Run) -> str:
    """Return the report of a run as HTML."""
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
        "panel": lambda panel, key: Markup(panel_svg(panel, key)),  # noqa: S704 - escapes what it holds
        "key": _legend,
        "spoken": spoken,
    }
    return environment.get_template("report.html.j2").render(contents(run))


def contents(run: Run) -> dict[str, Any]:
    """Return everything that the templates lay out."""
    cases = heading.cases_of(run)
    known = heading.columns_of(run.header)
    facts = run.fact_rows
    summary = telling.summarise(run.rows, facts, finished=run.finished)
    anchors = {id(row): f"r{n}" for n, row in enumerate(run.rows)}
    by_case = {c: rows for c, rows in grouped(run.rows, lambda r: text_of(r, "case")).items() if c in cases}
    by_operation = grouped(run.rows, lambda r: text_of(r, "operation"))
    styles = {
        operation: Styles.of((text_of(r, "formulation"), text_of(r, "backend")) for r in rows)
        for operation, rows in by_operation.items()
    }
    several = {operation: has_several_outputs(rows) for operation, rows in by_operation.items()}
    return {
        "css": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        "js": Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),  # noqa: S704 - ours
        "run": run,
        "name": run.folder.name,
        "summary": summary,
        "worst": [
            (
                story,
                anchors[id(story.worst)],
                result_name(story.worst, several[text_of(story.worst, "operation")]),
            )
            for story in summary.worst[:MOST_LISTED]
        ],
        "overview": overview(run, summary.counts),
        "levels": LEVELS,
        "operations": operation_sections(by_case, cases, styles),
        "speed": speed_sections(by_case, cases, known, styles),
        "frontiers": frontier_tables(facts, cases),
        "facts": facts_table(facts),
        "tables": [
            _table_section(result_table(rows, known), cases[case], f"t{n}", anchors)
            for n, (case, rows) in enumerate(by_case.items())
        ],
        "skips": telling.skip_groups(run.rows),
        "breakages": grouped(telling.expected_breakages(run.rows), lambda g: g.case),
        "titles": {name: info.title for name, info in cases.items()},
        "environment": heading.environment_groups(run.header),
        "metrics": heading.metrics_of(run.header),
        "missing": text.MISSING,
    }


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


def operation_sections(
    by_case: Mapping[str, Sequence[Row]], cases: Mapping[str, CaseInfo], styles: Mapping[str, Styles]
) -> list[OperationSection]:
    """Return a section for each operation, its cases in the order of the plan."""
    sections = []
    operations = grouped(by_case, lambda case: cases[case].operation)
    for n, (operation, names) in enumerate(operations.items()):
        made = []
        for m, case in enumerate(names):
            rows, info, key = by_case[case], cases[case], f"o{n}c{m}"
            figures = (
                *digit_figures(rows, info, styles[operation], f"{key}d"),
                *law_figures(rows, info, styles[operation], f"{key}l"),
            )
            cells = len({text_of(r, "cell") for r in rows})
            made.append(CaseSection(info, key, digits_matrix(rows), figures, cells))
        together = [r for case in names for r in by_case[case]] if len(names) > 1 else []
        sections.append(OperationSection(cases[names[0]], f"o{n}", digits_matrix(together), tuple(made)))
    return sections


def speed_sections(
    by_case: Mapping[str, Sequence[Row]],
    cases: Mapping[str, CaseInfo],
    known: Mapping[str, Column],
    styles: Mapping[str, Styles],
) -> list[TableSection]:
    """Return a section for each case that was timed: its figures, and a table of its times."""
    sections = []
    for n, (case, rows) in enumerate(by_case.items()):
        # Several outputs of one cell have one time.
        timed = list({text_of(r, "cell"): r for r in rows if is_timed(r)}.values())
        if not timed:
            continue
        info, key = cases[case], f"s{n}"
        figures = speed_figures(timed, info, styles[info.operation], key)
        axes = [k for k in timed[0] if k.startswith("axis.")]
        names = ("case", "formulation", "backend", "dtype", *axes, *_SPEED_COLUMNS)
        shown_rows = [{**{k: r.get(k) for k in ("cell", *names)}, INTERVAL: half_width(r)} for r in timed]
        table = result_table(shown_rows, known)
        sections.append(_table_section(table, info, key, {}, tuple(figures)))
    return sections


def _table_section(
    table: ResultTable,
    info: CaseInfo,
    key: str,
    anchors: Mapping[int, str],
    figures: tuple[Figure, ...] = (),
) -> TableSection:
    head = "".join(_head(column, table.rows) for column in table.columns)
    body = "\n".join(_row(row, table.columns, anchors.get(id(row), "")) for row in table.rows)
    shared = tuple((title, value) for title, value in table.shared if title != "case")
    return TableSection(info, key, shared, Markup(head), Markup(body), len(table.rows), figures)  # noqa: S704


def _head(column: Column, rows: Sequence[Row]) -> str:
    """Return the head of a column, on the side where its values stand."""
    is_text = not any(shown(row.get(column.name), column).numeric for row in rows)
    unit = f"<small>{escape(column.unit)}</small>" if column.unit not in ("", "1") else ""
    kind = " class=t" if is_text else ""
    return f'<th scope=col{kind} title="{escape(_explained(column))}">{escape(column.title)}{unit}'


def _explained(column: Column) -> str:
    return ": ".join(t for t in (column.name, column.formula) if t)


def _row(row: Row, columns: Sequence[Column], anchor: str) -> str:
    """Return one row of a table; end tags that HTML does not need are left out, thousands of them."""
    verdict = text_of(row, "verdict")
    attributes = (f" id={anchor}" if anchor else "") + (f" class={_attribute(verdict)}" if verdict else "")
    cells = [f"<tr{attributes}>"]
    for n, column in enumerate(columns):
        value = shown(row.get(column.name), column)
        if n == 0:
            cells.append(f"<th scope=row title={_attribute(text_of(row, 'cell'))}>{escape(value.text)}")
            continue
        kind = "" if value.numeric or not value.text else " class=t"
        full = f" title={_attribute(value.exact)}" if value.exact else ""
        cells.append(f"<td{kind}{full}>{escape(value.text)}")
    return "".join(cells)


def _prose(value: str) -> Markup:
    """Return text of a case, what stands between backticks as code."""
    parts = re.split(r"`([^`]+)`", value)
    shown = [escape(p) if n % 2 == 0 else f"<code>{escape(p)}</code>" for n, p in enumerate(parts)]
    return Markup("".join(shown))  # noqa: S704 - escaped in its parts


def _attribute(value: str) -> str:
    return value if _UNQUOTED.fullmatch(value) else f'"{escape(value)}"'


def _legend(entry: LegendKey) -> Markup:
    words = text.outcome_words(entry.label) if entry.outcome else entry.label
    return Markup(f"<li>{legend_svg(entry)}{escape(words)}")  # noqa: S704 - escaped in its parts


register_report(Report("html", "matrices, curves and tables in one offline file", "report.html", write))
