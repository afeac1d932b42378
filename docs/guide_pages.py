"""The pages of the guide: for each row what it computes, where it breaks and how many digits are left.

Writes `guide/*.md` from the accepted results in `reports/baseline`, the declarations, and the prose in
`guide/text/<row>.md`: run it after results were accepted, cases added, or prose changed. A row without
prose, cases or results is an error; `--draft` writes what there is, `--check` only tells which pages differ
from what would be written.

Prose holds no measured number. It says `{{digits OPERATION FORMULATION DTYPE}}` (what the table has),
`{{breaks CASE FORMULATION DTYPE}}` (where a sweep breaks), and for facts of a format
`{{limit FORMAT UNIT}}` or `{{limit FORMAT UNIT^POWER}}` and `{{factorial FORMAT}}` (the largest n whose n!
is finite); `{{formats}}` is a table of such facts for every format of the row. What does not resolve is an
error: prose cannot go stale in silence.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import guide_results
from guide_results import BASELINE, BREAKS, HOLDS, MISSING, ROOT, Result, digits, number, of_row, swept

from harness.errors import UserError
from harness.formats import DTYPES, UNITS, unit, unit_value
from harness.gate.baseline import read_baseline
from harness.guide import ROWS, SECTIONS, Row, Section
from harness.model import Axis, Case
from harness.registry import BACKENDS, FORMULATIONS, OPERATIONS
from harness.report.view.rows import by_precision, capacity, grouped
from harness.report.view.text import listed

GUIDE = ROOT / "docs" / "guide"
TEXT = GUIDE / "text"

MARK = "<!-- Written by docs/guide_pages.py from reports/baseline: change guide/text, not this page. -->"
NOTHING_YET = "*No accepted results yet.*"
WIDEST = 5
"""Formats in the columns of a table; more become its lines."""


class GuideError(Exception):
    """What keeps the pages from being written, a line for each problem."""


# ---- tables -----------------------------------------------------------------------------------------


def table(
    head: Sequence[str], lines: Mapping[tuple[str, ...], Mapping[str, str]], *, holding: bool = False
) -> Iterator[str]:
    """Yield a table of lines by their names, with a column for each format; turned where they are many.

    With `holding` the name of a format tells how many digits it has.
    """
    dtypes = by_precision(d for fields in lines.values() for d in fields)
    heads = [f"{d} ({capacity(d):.1f})" if holding else d for d in dtypes]
    yield ""
    if len(dtypes) <= WIDEST:
        yield "| " + " | ".join([*head, *heads]) + " |"
        yield "|---" * (len(head) + len(dtypes)) + "|"
        for names, fields in lines.items():
            yield "| " + " | ".join([*names, *(fields.get(d, MISSING) for d in dtypes)]) + " |"
    else:
        yield "| format | " + " | ".join(" · ".join(filter(None, names)) for names in lines) + " |"
        yield "|---" * (1 + len(lines)) + "|"
        for d, shown in zip(dtypes, heads, strict=True):
            yield f"| {shown} | " + " | ".join(f.get(d, MISSING) for f in lines.values()) + " |"
    yield ""


def _by_output(
    found: Sequence[Result], field: Callable[[Sequence[Result]], str]
) -> dict[str, dict[str, str]]:
    """Return a formulation's field for each format; outputs of which the same is to be said together."""
    outputs = {
        output: {d: text for d, of in grouped(same, lambda r: r.cell.dtype).items() if (text := field(of))}
        for output, same in grouped(found, lambda r: str(r.row["output"])).items()
    }
    alike = grouped(outputs, lambda o: tuple(sorted(outputs[o].items())))
    name = found[0].formulation
    if len(alike) == 1:
        return {name: outputs[next(iter(outputs))]}
    return {f"{name} ({', '.join(of)})": outputs[of[0]] for of in alike.values()}


def digits_tables(found: Sequence[Result]) -> Iterator[str]:
    """Yield the digits left, values before gradients; operations of many formats apart from the others."""
    tables: dict[tuple[bool, bool], dict[tuple[str, ...], dict[str, str]]] = {}
    for (name, mode), group in grouped(found, lambda r: (r.cell.operation, r.cell.mode)).items():
        if name in guide_results.WITHOUT_DIGITS:
            continue
        many = len({r.cell.dtype for r in group}) > WIDEST
        lines = tables.setdefault((mode != "forward", many), {})
        for same in grouped(group, lambda r: r.formulation).values():
            by_output = _by_output(same, digits)
            lines |= {(f"`{name}`", label): fields for label, fields in by_output.items() if fields}
    for (of_gradients, _), lines in sorted(tables.items()):
        if lines:
            yield "Gradients:" if of_gradients else "Values:"
            yield from table(["operation", "formulation"], lines, holding=True)
    for name in grouped(found, lambda r: r.cell.operation):
        if name in guide_results.WITHOUT_DIGITS:
            yield f"Digits of `{name}` say nothing: {guide_results.WITHOUT_DIGITS[name]}.\n"


def break_tables(found: Sequence[Result]) -> Iterator[str]:
    """Yield for each case in which something breaks where it does, and the command that shows it."""
    still = []
    for case, group in grouped(found, lambda r: r.case.name).items():
        info = group[0].case
        issues = ", ".join(dict.fromkeys(rule.defect for rule in info.expect if rule.defect))
        broken = dict.fromkeys(r.cell.formulation for r in group if r.amiss)
        if not broken:
            if issues and any(axis.full_only for axis in info.axes):
                shown_by = f"`harness run {_path(info)} --full`"
                yield f"`{case}` breaks in the full profile alone: {issues}, shown by {shown_by}.\n"
            else:
                still += [f"`{case}`"] if any(r.bad is False for r in group) else []
            continue
        sweep = swept(info, group)
        yield f"**{escaped(info.title)}**{guide_results.along(info, sweep, group)}"
        lines = _break_lines([r for r in group if r.cell.formulation in broken], sweep)
        shown = 3 if any(names[2] for names in lines) else 2
        yield from table(
            ["formulation", "backend", "where"][:shown], {n[:shown]: f for n, f in lines.items()}
        )
        all_ = tuple(dict.fromkeys(r.cell.formulation for r in group))
        held = [f"`{name}`" for name in all_ if name not in broken]
        if held:
            yield f"{listed(held)} {'hold' if len(held) > 1 else 'holds'} wherever measured."
        if issues:
            yield f"Known: {issues}."
        yield f"Shown by `harness run {_path(info)}{_keyword(case, list(broken), all_)}`.\n"
    if still:
        yield f"Nothing breaks in {listed(still)}.\n"


def _path(case: Case) -> str:
    return Path(case.path).resolve().relative_to(ROOT).as_posix()


def _keyword(case: str, chosen: Sequence[str], all_: Sequence[str]) -> str:
    """Return the option that takes the cells of some formulations, where that is not most of them."""
    if len(chosen) == len(all_) or len(chosen) > 2:
        return ""
    words = [w if not any(w in o for o in (case, *all_) if o != w) else f"/{w}/" for w in chosen]
    return f" -k {words[0]}" if len(words) == 1 else f' -k "{" or ".join(words)}"'


def _break_lines(found: Sequence[Result], sweep: Axis | None) -> dict[tuple[str, str, str], dict[str, str]]:
    """Return the fields of each line by formulation, backends, other axes; what agrees shares one."""
    said: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[str]] = {}
    for (_, where), same in grouped(
        found, lambda r: (r.formulation, guide_results.where_else(r, sweep, found))
    ).items():
        by_backend = {
            backend: _by_output(those, lambda of: guide_results.broken_at(of, sweep))
            for backend, those in grouped(same, lambda r: r.cell.backend).items()
        }
        each = [(label, b, fields) for b, of in by_backend.items() for label, fields in of.items()]
        for of in grouped(each, lambda e: (e[0], tuple(sorted(e[2].items())))).values():
            label, _, fields = of[0]
            if any(text not in (HOLDS, MISSING) for text in fields.values()):
                key = (label, ", ".join(b for _, b, _ in of), tuple(fields.items()))
                said.setdefault(key, []).append(where)
    return {
        (label, backends, "; ".join(where)): dict(fields) for (label, backends, fields), where in said.items()
    }


# ---- prose ------------------------------------------------------------------------------------------


def prose(found: Sequence[Result], path: Path, text: str) -> str:
    """Return the text of a row, read from `path`, with its placeholders resolved.

    Raises
    ------
    GuideError
        A placeholder does not resolve.
    """

    def resolved(match: re.Match[str]) -> str:
        what, *names = match[1].split()
        try:
            return _PLACEHOLDERS[what](found, *names)
        except (KeyError, TypeError, ArithmeticError, UserError, GuideError) as error:
            raise GuideError(f"{path.relative_to(ROOT)}: {match[0]} does not resolve: {error}") from None

    whole = re.sub(r"\{\{(.+?)\}\}", resolved, text.strip())
    paragraphs = re.split(r"\n\n+", whole)
    return "\n\n".join(p if p.startswith("|") else _filled(p) for p in paragraphs)


def _filled(paragraph: str) -> str:
    """Return a paragraph in lines, none of which begins with what would make a list of it."""
    joined = re.sub(r" ([-+*=]|\d+[.)])(?= )", "\u00a0\\1", " ".join(paragraph.split("\n")))
    return textwrap.fill(joined, 110, break_long_words=False, break_on_hyphens=False)


def _limit(found: Sequence[Result], format_: str, name: str) -> str:
    base, _, power = name.partition("^")
    dtype = DTYPES[format_]
    if base not in UNITS:
        raise GuideError(f"no unit {base!r}")
    return number(unit_value(dtype, base, "powers", Decimal(power)) if power else unit(dtype, base))


def _factorial(found: Sequence[Result], format_: str) -> str:
    n, product = 1, 1
    while product * (n + 1) <= DTYPES[format_].storage.max_finite:
        n, product = n + 1, product * (n + 1)
    return str(n)


def _digits(found: Sequence[Result], operation: str, formulation: str, dtype: str) -> str:
    chosen = [
        r
        for r in found
        if (r.cell.operation, r.cell.formulation, r.cell.dtype) == (operation, formulation, dtype)
        and r.cell.mode == "forward"
    ]
    left = digits(chosen).removesuffix(BREAKS).strip()
    if left in ("", "none"):
        raise GuideError("no such results in this row, or none that holds")
    return left


def _breaks(found: Sequence[Result], case: str, formulation: str, dtype: str) -> str:
    chosen = [
        r for r in found if (r.case.name, r.cell.formulation, r.cell.dtype) == (case, formulation, dtype)
    ]
    if not any(r.bad for r in chosen):
        raise GuideError("nothing breaks there")
    sweep = swept(chosen[0].case, [r for r in found if r.case.name == case])
    if (
        sweep is not None
        and len({(guide_results.where_else(r, sweep, chosen), r.row["output"]) for r in chosen}) > 1
    ):
        raise GuideError("it depends on another axis, or the output")
    told = [_told(of, sweep) for of in grouped(chosen, lambda r: r.cell.backend).values()]
    return ", or ".join(dict.fromkeys(told))


def _told(found: Sequence[Result], sweep: Axis | None) -> str:
    """Return where something breaks as a sentence has it: `right at 702.7 and NaN at 716.9`."""
    if sweep is None or not any(r.bad is False and not r.lost for r in found):
        return guide_results.broken_at(found, sweep)
    there = guide_results.edges(found, sweep)
    return "; ".join(f"right at {edge.holds} and {edge.words} at {edge.breaks}" for edge in there)


def _formats(found: Sequence[Result]) -> str:
    """Return a table of the formats that the results are in: facts of their definitions."""
    lines = [
        "| format | digits | largest | smallest normal | smallest | u | exp overflows above |",
        "|---" * 7 + "|",
    ]
    for name in by_precision(r.cell.dtype for r in found):
        limits = [
            number(unit(DTYPES[name], u))
            for u in ("max", "min_normal", "min_subnormal", "unit_roundoff", "ln_max")
        ]
        lines.append(f"| {name} | {capacity(name):.1f} | " + " | ".join(limits) + " |")
    return "\n".join(lines)


_PLACEHOLDERS: Mapping[str, Callable[..., str]] = {
    "limit": _limit,
    "factorial": _factorial,
    "formats": _formats,
    "digits": _digits,
    "breaks": _breaks,
}


# ---- pages ------------------------------------------------------------------------------------------


def operations(found: Sequence[Result]) -> Iterator[str]:
    """Yield the formula of each operation, and what its formulations compute."""
    by_operation = grouped(found, lambda r: r.cell.operation)
    for name, group in by_operation.items():
        operation = OPERATIONS[name]
        parts = [f"`{name}`: {operation.title}, {code(operation.formula)}"]
        if operation.gradient is not None and any(r.cell.mode != "forward" for r in group):
            parts.append(f"gradient: {code(operation.gradient.formula)}")
        names = dict.fromkeys(r.cell.formulation for r in group)
        parts += [f"`{formulation}`: {_titles(name, formulation)}" for formulation in names]
        yield "- " + "\n  - ".join(parts)
    yield ""


def _titles(operation: str, formulation: str) -> str:
    """Return what a formulation computes; where backends differ, each with its name."""
    titles: dict[str, list[str]] = {}
    for item in FORMULATIONS.values():
        if (item.operation, item.name) == (operation, formulation):
            for backend in item.backends or ("",):
                titles.setdefault(item.title, []).append(backend)
    if len(titles) == 1:
        return escaped(next(iter(titles)))
    return "; ".join(f"{escaped(title)} ({', '.join(filter(None, of))})" for title, of in titles.items())


def section_page(section: Section, found: Sequence[Result], *, strict: bool) -> str:
    """Return the page of a section."""
    lines = [f"# {section}", "", MARK, ""]
    problems = []
    for row in ROWS.values():
        if row.section is not section:
            continue
        path = TEXT / f"{row.id.lower()}.md"
        lines += [f"## {heading(row)}", ""]
        if not path.exists():
            problems.append(f"{row.id} has no prose: write {path.relative_to(ROOT)}")
            continue
        if not of_row(row, found):
            problems.append(f"{row.id} has no accepted results: `harness run`, then `harness gate --accept`")
            lines += [NOTHING_YET, ""]
            continue
        lines += _row(row, found, path)
    if strict and problems:
        raise GuideError("\n".join(problems))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


_TITLES = ("Where it breaks", "Where its gradient breaks", "Known defects of libraries")


def _title(result: Result) -> str:
    """Return under which heading a case is told."""
    known = any(rule.defect for rule in result.case.expect)
    return _TITLES[2 if known else result.cell.mode != "forward"]


def _row(row: Row, found: Sequence[Result], path: Path) -> Iterator[str]:
    everything = of_row(row, found)
    told = sorted(guide_results.told_under(row, everything), key=lambda r: _TITLES.index(_title(r)))
    yield prose(everything, path, path.read_text(encoding="utf-8"))
    yield ""
    yield from operations(told)
    for title, of in grouped(told, _title).items():
        yield f"\n### {title} ({row.id})\n"
        yield from break_tables(of)
    if told:
        yield f"\n### Digits left ({row.id})\n"
        yield from digits_tables(told)
    elsewhere = dict.fromkeys(f"`{r.case.name}`" for r in everything if r not in told)
    if elsewhere:
        yield f"Of this row too, and shown under the next: {listed(list(elsewhere))}.\n"
    yield f"All of it: `harness run --guide {row.id}`.\n"


def sections() -> list[Section]:
    """Return the sections that have a page: those with prose for one of their rows."""
    there = {row.section.number for row in ROWS.values() if (TEXT / f"{row.id.lower()}.md").exists()}
    return [section for section in SECTIONS.values() if section.number in there]


def index_page(found: Sequence[Result]) -> str:
    """Return the first page: what there is, and how to read it."""
    shown = sections()
    contents = []
    for section in shown:
        rows = [row for row in ROWS.values() if row.section is section]
        links = ", ".join(f"[{row.title}]({section.topic}.md#{slug(heading(row))})" for row in rows)
        contents.append(f"- **[{section}]({section.topic}.md)**: {links}")
    text = (TEXT / "index.md").read_text(encoding="utf-8").strip()
    text = text.replace("{{contents}}", "\n".join(contents)).replace("{{measured}}", _measured(found))
    tree = "\n".join(section.topic for section in shown)
    return f"# The guide, measured\n\n{MARK}\n\n{text}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"


def _measured(found: Sequence[Result]) -> str:
    """Return what the results were measured with."""
    environment = read_baseline(BASELINE).header["environment"]
    names = {"numpy": "NumPy", "scipy": "SciPy", "torch": "PyTorch", "ml-dtypes": "ml_dtypes"}
    packages = environment["packages"]
    versions = [f"{title} {packages[name]}" for name, title in names.items() if name in packages]
    used = dict.fromkeys(r.cell.backend for r in found)
    backends = listed([f"`{name}` is {BACKENDS[name].title}" for name in used])
    return f"Measured on {environment['cpu']} with {listed(versions)}; {backends}."


def heading(row: Row) -> str:
    """Return how a row is headed."""
    return f"{row.id} {row.title}"


def slug(title: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def code(text: str) -> str:
    """Return text as it is typed; what holds a backtick stands between two."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def escaped(text: str) -> str:
    """Return text in which Markdown finds nothing to do."""
    return re.sub(r"([\[\]*_<>|`])", r"\\\1", text)


def pages(*, strict: bool = True) -> dict[Path, str]:
    """Return every page by its file.

    Raises
    ------
    GuideError
        With `strict`, a row has no prose or no results; always, prose that does not resolve.
    """
    found = guide_results.results()
    problems: list[str] = []
    made = {GUIDE / "index.md": index_page(found)}
    for section in sections():
        try:
            made[GUIDE / f"{section.topic}.md"] = section_page(section, found, strict=strict)
        except GuideError as error:
            problems.append(str(error))
    if problems:
        raise GuideError("\n".join(problems))
    return made


def main(arguments: Sequence[str]) -> None:
    """Write the pages, or only compare; problems are told, and end the program."""
    draft, check = "--draft" in arguments, "--check" in arguments
    try:
        made = pages(strict=not draft)
    except (GuideError, UserError) as error:
        sys.exit(f"docs/guide_pages.py: nothing is written\n{error}\n  hint: --draft writes what there is")
    stale = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    stale += sorted(set(GUIDE.glob("*.md")) - set(made))
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is not what would be written")
        elif path in made:
            path.write_text(made[path], encoding="utf-8")
        else:
            path.unlink()
    if check and stale:
        sys.exit("run: python docs/guide_pages.py")


if __name__ == "__main__":
    main(sys.argv[1:])
