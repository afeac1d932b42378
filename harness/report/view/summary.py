"""The run in one sentence, its counts, and what to look at first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.report.view.rows import (
    Row,
    axes_of,
    grouped,
    is_broken,
    is_over_bound,
    is_skipped,
    number_of,
    outcome_rank,
    text_of,
    verdict_rank,
)
from harness.report.view.text import counted, finite, listed, number, outcome_words, plain

FIXED: Final = "fixed_upstream"
DEFECT: Final = "known defect "
"""How the reason of a row begins that shows the defect which its rule declares."""
_MOST_KINDS: Final = 3


@dataclass(frozen=True, slots=True)
class Counts:
    """Cells by their worst verdict; `warnings` failed where failing only warns."""

    cells: int
    passed: int
    failed: int
    warnings: int
    inconclusive: int
    skipped: int

    @property
    def judged(self) -> int:
        """Cells that were to run."""
        return self.cells - self.skipped


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that share a story: how many, of which case, what they have in common."""

    cells: int
    case: str
    what: str
    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Story:
    """Rows of one formulation, backend and dtype of a case with which the same is wrong."""

    worst: Row
    others: tuple[Row, ...]

    @property
    def others_where(self) -> str:
        """Where the others are: their axis values."""
        return spans(self.others)


@dataclass(frozen=True, slots=True)
class Summary:
    """What the verdict of a run is made of."""

    headline: str
    """What failed, or that nothing did."""
    rest: str
    """Whatever else a reader has to know; may be empty."""
    state: str
    """`pass`, `warn`, `inconclusive` or `fail`."""
    counts: Counts
    worst: tuple[Story, ...]
    """What failed, then what warns, then what could not be judged; worst first."""
    fixed: tuple[Row, ...]
    """Known defects that no longer show."""
    facts: tuple[Mapping[str, Any], ...]
    """Facts that failed or could not be judged."""
    defects: tuple[tuple[str, int], ...] = ()
    """Known defects that still show, each with the number of its cells; most cells first."""

    @property
    def defects_told(self) -> str:
        """The known defects that still show: `pytorch#31829 (2 cells), numpy#8775 (1 cell)`."""
        return ", ".join(f"{issue} ({counted(cells, 'cell')})" for issue, cells in self.defects)

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        return f"{self.headline} {self.rest}".strip()


def summarise(rows: Sequence[Row], facts: Sequence[Mapping[str, Any]], *, finished: bool = True) -> Summary:
    """Return the verdict of a run; one that was interrupted has none yet."""
    counts = count(rows)
    if not finished:
        done = len({text_of(r, "cell") for r in rows if text_of(r, "outcome") or _is_timed(r)})
        headline = (
            f"This run was interrupted: {done:,} of {counted(counts.judged, 'cell')} "
            f"{'has' if done == 1 else 'have'} a result, and there is no verdict yet."
        )
        return Summary(headline, "", "inconclusive", counts, (), (), ())
    bad_facts = tuple(f for f in facts if text_of(f, "verdict") in ("fail", "inconclusive"))
    bad = sorted((r for r in rows if text_of(r, "verdict") in ("fail", "inconclusive")), key=_badness)
    fixed = tuple(r for r in rows if text_of(r, "verdict") == "pass" and FIXED in text_of(r, "reason"))
    binding = {text_of(item, "verdict") for item in (*bad, *bad_facts) if not warns(item)}
    if "fail" in binding:
        state = "fail"
    elif binding or not counts.judged:
        state = "inconclusive"
    else:
        state = "warn" if bad or bad_facts else "pass"
    failures = [r for r in bad if _failed(r) and not warns(r)]
    return Summary(
        headline=headline_of(counts, failures),
        rest=rest_of(counts, bad_facts, len(facts), len(fixed)),
        state=state,
        counts=counts,
        worst=stories(bad),
        fixed=fixed,
        facts=bad_facts,
        defects=known_defects(rows),
    )


def known_defects(rows: Iterable[Row]) -> tuple[tuple[str, int], ...]:
    """Return the defects of libraries that show as their cases declare, and in how many cells."""
    showing = (r for r in rows if text_of(r, "verdict") == "pass" and text_of(r, "reason").startswith(DEFECT))
    issues = grouped(showing, lambda r: text_of(r, "reason").removeprefix(DEFECT).partition(": ")[0])
    cells = {issue: len({text_of(r, "cell") for r in same}) for issue, same in issues.items()}
    return tuple(sorted(cells.items(), key=lambda item: -item[1]))


def stories(bad: Iterable[Row]) -> tuple[Story, ...]:
    """Return rows, worst first, told together where the same is wrong in one formulation and dtype."""
    told = grouped(
        bad,
        lambda r: (
            *(text_of(r, c) for c in ("case", "formulation", "backend", "dtype", "output", "verdict")),
            warns(r),
            failure_kind(r),
        ),
    )
    return tuple(Story(rows[0], tuple(rows[1:])) for rows in told.values())


def _failed(row: Row) -> bool:
    return text_of(row, "verdict") == "fail"


def _is_timed(row: Row) -> bool:
    return number_of(row, "time_median_s") is not None


def warns(row: Row) -> bool:
    """Return whether failing here is only a warning."""
    return text_of(row, "severity") == "warn"


def count(rows: Iterable[Row]) -> Counts:
    """Return the cells by their worst verdict over outputs."""
    tally = dict.fromkeys(("pass", "fail", "warn", "inconclusive", "skip"), 0)
    cells = grouped(rows, lambda r: text_of(r, "cell"))
    for outputs in cells.values():
        # A warning must not hide a failure of another output of the same cell.
        worst = min(outputs, key=lambda r: (verdict_rank(r), warns(r)))
        verdict = text_of(worst, "verdict")
        kind = "warn" if verdict == "fail" and warns(worst) else verdict
        tally[kind if kind in tally else "inconclusive"] += 1
    return Counts(
        len(cells), tally["pass"], tally["fail"], tally["warn"], tally["inconclusive"], tally["skip"]
    )


def headline_of(counts: Counts, failures: Sequence[Row]) -> str:
    """Return what failed in plain words, or that nothing did."""
    if counts.cells == 0:
        return "Nothing was measured: the selection holds no cell."
    if counts.judged == 0:
        which = "the one cell was" if counts.cells == 1 else f"all {counts.cells:,} cells were"
        return f"Nothing was measured: {which} skipped."
    if counts.failed:
        return f"{counts.failed:,} of {counted(counts.judged, 'cell')} failed: {_kinds(failures)}."
    if counts.passed == counts.judged:
        which = "The one cell is" if counts.judged == 1 else f"All {counts.judged:,} cells are"
        return f"{which} as expected."
    return "The one cell did not fail." if counts.judged == 1 else f"None of {counts.judged:,} cells failed."


def rest_of(counts: Counts, bad_facts: Sequence[Row], facts: int, fixed: int) -> str:
    """Return what else there is to know, as one sentence; empty when there is nothing."""
    kinds = ["warned" if warns(f) and _failed(f) else text_of(f, "verdict") for f in bad_facts]
    parts = [
        f"{kinds.count(kind):,} of {counted(facts, 'fact')} {words}"
        for kind, words in (
            ("fail", "failed"), ("inconclusive", "could not be judged"), ("warned", "gave a warning"),
        )
        if kind in kinds
    ]  # fmt: skip
    if counts.inconclusive:
        parts.append(f"{counted(counts.inconclusive, 'cell')} could not be judged")
    if counts.warnings:
        parts.append(f"{counted(counts.warnings, 'cell')} gave a warning")
    if fixed:
        parts.append(f"{counted(fixed, 'known defect')} no longer {'shows' if fixed == 1 else 'show'}")
    if counts.skipped and counts.judged:
        parts.append(f"{counted(counts.skipped, 'cell')} {'was' if counts.skipped == 1 else 'were'} skipped")
    sentence = listed(parts)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _kinds(failures: Sequence[Row]) -> str:
    """Name what went wrong and in how many cells, most frequent first."""
    kinds = grouped(failures, failure_kind)
    cells = {kind: len({text_of(r, "cell") for r in rows}) for kind, rows in kinds.items()}
    if len(cells) == 1:
        return next(iter(cells))
    ordered = sorted(cells.items(), key=lambda item: -item[1])
    shown = [f"{kind} ({n:,})" for kind, n in ordered[:_MOST_KINDS]]
    others = sum(n for _, n in ordered[_MOST_KINDS:])
    return listed([*shown, f"otherwise ({others:,})"] if others else shown)


def failure_kind(row: Row) -> str:
    """Return what is wrong with a row in a few words, the same for rows with which the same is wrong."""
    outcome = text_of(row, "outcome")
    if outcome not in ("", "ok"):
        return outcome_words(outcome)
    return "error above the bound" if is_over_bound(row) else "unexpected result"


def _badness(row: Row) -> tuple[int, bool, int, float]:
    ratio = number_of(row, "bound_ratio")
    size = -math.inf if is_over_bound(row) and ratio is None else -(ratio or 0.0)
    return (verdict_rank(row), warns(row), outcome_rank(text_of(row, "outcome")), size)


def what_happened(row: Row) -> str:
    """Return a row's outcome in a few words: `overflow`, `error 3.2 × its bound`."""
    outcome = text_of(row, "outcome")
    if outcome not in ("", "ok"):
        return outcome_words(outcome)
    ratio = row.get("bound_ratio")
    if is_over_bound(row):
        return f"error {number(ratio)} × its bound"
    return (
        "within its bound" if number_of(row, "bound_ratio") is not None else "ok" if outcome else "no result"
    )


def expected_breakages(rows: Sequence[Row]) -> list[Group]:
    """Return the cells that broke as their case says, by case, formulation and what happened."""
    broken = [r for r in rows if text_of(r, "verdict") == "pass" and is_broken(r)]
    keys = grouped(
        broken,
        lambda r: (text_of(r, "case"), text_of(r, "formulation"), text_of(r, "backend"), text_of(r, "dtype")),
    )
    return [
        Group(
            cells=len({text_of(r, "cell") for r in group}),
            case=case,
            what=listed(sorted({failure_kind(r) for r in group})),
            where=f"{formulation} · {backend} · {dtype}",
            reason=spans(group),
        )
        for (case, formulation, backend, dtype), group in keys.items()
    ]


def merged(groups: Iterable[Group]) -> list[Group]:
    """Return groups of breakages of one case that differ in backend or dtype only, told as one."""
    alike = grouped(groups, lambda g: (g.case, g.where.partition(" · ")[0], g.what, g.reason))
    found = []
    for (case, formulation, what, reason), same in alike.items():
        parts = [list(dict.fromkeys(g.where.split(" · ", 2)[n] for g in same)) for n in (1, 2)]
        where = " · ".join([formulation, *(", ".join(part) for part in parts)])
        found.append(Group(sum(g.cells for g in same), case, what, where, reason))
    return found


def skip_groups(rows: Sequence[Row]) -> list[Group]:
    """Return the skipped cells by reason, the most frequent first."""
    groups = grouped((r for r in rows if is_skipped(r)), lambda r: text_of(r, "reason") or "no reason given")
    found = [
        Group(
            cells=len({text_of(r, "cell") for r in group}),
            case=listed(_distinct(group, "case")),
            what=reason,
            where=" · ".join(", ".join(_distinct(group, c)) for c in ("formulation", "backend", "dtype")),
            reason=reason,
        )
        for reason, group in groups.items()
    ]
    return sorted(found, key=lambda g: -g.cells)


def _distinct(rows: Iterable[Row], column: str) -> list[str]:
    return list(dict.fromkeys(t for r in rows if (t := text_of(r, column))))


def spans(rows: Sequence[Row]) -> str:
    """Return which axis values some rows hold: `n = 8 … 1024, top = 2`."""
    values: dict[str, dict[Any, None]] = {}
    for row in rows:
        for name, value in axes_of(row).items():
            values.setdefault(name, {})[value] = None
    parts = []
    for name, found in values.items():
        kept = list(found)
        if all(finite(v) is not None and not isinstance(v, str) for v in kept):
            kept.sort()
        shown = [plain(v) for v in kept]
        if len(shown) > 3:
            shown = [f"{shown[0]} … {shown[-1]}"]
        parts.append(f"{name} = {', '.join(shown)}")
    return "; ".join(parts)
