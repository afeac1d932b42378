"""All results as compact columns of text, from which the page's script makes its tables.

A column is one text of items that blanks part: `item*3` stands for three, an empty item for a missing
value. Items are numbers, texts without blanks, indices into a list of texts (`texts`), or an index
with the numbers that fill a pattern (`3:0.0136:1`). Numbers have four significant digits; the results
beside the report have all.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from harness.report.view.element import format_of, shortened_exact
from harness.report.view.header import CaseInfo, Column
from harness.report.view.reproduce import has_file, run_options, selection
from harness.report.view.rows import Row, axes_of, is_skipped, text_of
from harness.report.view.table import column_of, ordered_columns
from harness.report.view.text import exact, present

if TYPE_CHECKING:
    from harness.model import Case

DIGITS: Final = 4
"""Significant digits of a number that was measured."""
DIGEST_SHOWN: Final = 10
_ITSELF: Final = "\x01"
"""Stands for the id of a cell in the options that select it."""
_UNSAID: Final = ("1", "elements", "index", "the output's")
"""Units that say nothing beside the title of their column."""

_OF_THE_CASE: Final = frozenset(("case", "operation", "topic", "guide", "mode", "seed", "profile"))
_ELSEWHERE: Final = _OF_THE_CASE | {
    "cell",
    "axes",
    "undecided",
    "error",
    "fp_environment",
    "result_digest",
}
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_BLANK: Final = re.compile(r"[\s*]")


def payload(
    rows: Sequence[Row],
    known: Mapping[str, Column],
    infos: Mapping[str, CaseInfo],
    cases: Mapping[str, Case],
    profile: Any,
    plugins: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the results that are no skips, as plain data for JSON.

    Parameters
    ----------
    rows
        All results.
    known
        Titles, units and display hints of columns.
    infos, cases
        What the report and the plan know of each case.
    profile
        The profile that was run.
    plugins
        Modules that the run imported first.
    """
    kept = shown_rows(rows)
    names = [n for n in ordered_columns(kept) if n not in _ELSEWHERE]
    places, points = _places(kept)
    columns = [_headed(name, known) | _column(name, kept) for name in names]
    formats = {d: format_of(d) for d in dict.fromkeys(text_of(r, "dtype") for r in kept)}
    return {
        "rows": len(kept),
        "skipped": len(rows) - len(kept),
        "options": " ".join(run_options(profile, plugins)),
        "formats": {d: [f.precision, f.exponent_min] for d, f in formats.items() if f is not None},
        "cases": {
            name: {
                "title": info.title,
                "operation": info.operation_title,
                "mode": info.mode,
                "axes": {a: unit.title(a) for a, unit in info.axes.items() if unit.unit},
                "path": cases[name].path if has_file(cases[name]) else "",
            }
            for name, info in infos.items()
        },
        "columns": columns,
        "case": _texts(text_of(r, "case") for r in kept),
        "place": {"texts": points, "items": runs(str(p) for p in places)},
        "select": _texts(_selection(r, cases) for r in kept),
    }


def shown_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that the table has: cells that were never to run are told by reason instead."""
    return [row for row in rows if not is_skipped(row)]


def as_json(content: Mapping[str, Any]) -> str:
    """Return content as JSON that ends no script element and begins no comment, whatever it holds."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def runs(items: Iterable[str]) -> str:
    """Return items as one text, equal neighbours counted: `a a a  b` is `a*3  b`."""
    parts = []
    for item, same in groupby(items):
        count = sum(1 for _ in same)
        parts.append(item if count == 1 else f"{item}*{count}")
    return " ".join(parts)


def _headed(name: str, known: Mapping[str, Column]) -> dict[str, str]:
    """Return how a column is headed, without what is empty."""
    column = column_of(name, known)
    parts = {
        "name": name,
        "title": column.title,
        "unit": "" if column.unit in _UNSAID else column.unit,
        "display": column.display,
        "about": column.formula,
    }
    return {key: text for key, text in parts.items() if text}


def _column(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    values = [row.get(name) for row in rows]
    if name == "reason":
        return _patterns([exact(v) for v in values])
    if name == "inputs_digest":
        return _texts(exact(v)[:DIGEST_SHOWN] for v in values)
    if name == "worst_exact":
        formats = {d: format_of(d) for d in {text_of(r, "dtype") for r in rows}}
        return _texts(
            "" if v is None else shortened_exact(str(v), formats[text_of(r, "dtype")])
            for v, r in zip(values, rows, strict=True)
        )
    if name in ("worst_computed", "worst_input"):  # `nan` is a value here
        return _texts("" if v is None else str(v) for v in values)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values if present(v)):
        return {"items": runs(map(number_item, values))}
    return _texts(exact(v) for v in values)


def number_item(value: Any) -> str:
    """Return a number as an item: an integer in full, another to four; empty where it is missing."""
    if not present(value):
        return ""
    if isinstance(value, int):
        return str(value)
    text = f"{value:.{DIGITS}g}"
    if text.startswith("0."):
        return text[1:]
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _texts(values: Iterable[str]) -> dict[str, Any]:
    """Return texts by index where they repeat or hold blanks, and as they are otherwise."""
    kept = list(values)
    distinct = {text: str(n) for n, text in enumerate(dict.fromkeys(t for t in kept if t))}
    if 2 * len(distinct) > len(kept) and not any(_BLANK.search(text) for text in distinct):
        return {"kind": "plain", "items": runs(kept)}
    return {"texts": list(distinct), "items": runs(distinct[t] if t else "" for t in kept)}


def _patterns(values: Iterable[str]) -> dict[str, Any]:
    """Return texts as patterns, their numbers apart: reasons differ in little else."""
    patterns: dict[tuple[str, ...], int] = {}
    items = []
    for text in values:
        pattern = patterns.setdefault(tuple(_NUMBER.split(text)), len(patterns))
        items.append(":".join([str(pattern), *_NUMBER.findall(text)]) if text else "")
    return {"kind": "pattern", "texts": [list(p) for p in patterns], "items": runs(items)}


def _places(rows: Iterable[Row]) -> tuple[list[int], list[list[Any]]]:
    """Return for each row an index into its places, and the places: how the id ends, and the axis values.

    An id that is not made of the row's coordinates stands in full, after a `=`.
    """
    found: dict[str, int] = {}
    points: list[list[Any]] = []
    places = []
    for row in rows:
        identity = text_of(row, "cell")
        begin = "/".join(text_of(row, c) for c in ("case", "formulation", "backend", "dtype"))
        rest = identity.removeprefix(begin) if identity.startswith(begin) else f"={identity}"
        axes = axes_of(row)
        key = repr((rest, list(axes.items())))
        if key not in found:
            found[key] = len(points)
            points.append([rest, axes])
        places.append(found[key])
    return places, points


def _selection(row: Row, cases: Mapping[str, Case]) -> str:
    """Return the options that select the cell with its id marked, empty where the id alone does."""
    case = cases.get(text_of(row, "case"))
    if case is None or not has_file(case):
        return ""
    options = selection(row, case, cases.values())
    identity = text_of(row, "cell")
    return "" if options == f"-k {shlex.quote(identity)}" else options.replace(identity, _ITSELF, 1)
