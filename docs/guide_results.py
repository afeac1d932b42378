"""The accepted results as the pages of the guide tell them: digits left, and where a sweep breaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from harness import casefile, catalogue
from harness.expect.measured import breaks, undecided
from harness.gate.baseline import read_baseline
from harness.guide import ROWS, Row
from harness.model import Axis, Case, Cell, Written, format_written
from harness.plan import exact_value, make_plan
from harness.report.view.axes import AxisUnit
from harness.report.view.rows import digits_left, grouped
from harness.report.view.text import OUTCOME_WORDS, listed

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "reports" / "baseline"

MISSING = "—"
HOLDS = "holds"
BREAKS = "†"
MOST = 8
"""Values of a sweep that are all told."""
LEAST = 0.05
"""Fewer digits than that are written as 0.0: none."""
NO_DIGIT = "no digit left"
WITHOUT_DIGITS = {
    "matmul_precision": "its output is a number of bits",
    "entropy_identity": "its output is a residual, which is 0 or rounding",
    "mvn_sampling": "every root of the covariance gives other samples, all of them right",
}
"""Operations of which digits say nothing, and why."""
WORDS = {**OUTCOME_WORDS, "not_a_number": "NaN", "over": "inaccurate"}


@dataclass(frozen=True, slots=True)
class Result:
    """One accepted result: a cell, an output, and what was measured."""

    cell: Cell
    case: Case
    row: Mapping[str, Any]

    @property
    def bad(self) -> bool | None:
        """Whether it is wrong; None where that is not known. Beyond an infinite bound is nothing."""
        known = breaks(self.row)
        unbounded = self.row["outcome"] == "ok" and not undecided(self.row)
        return False if known is None and unbounded and digits_left(self.row) is not None else known

    @property
    def lost(self) -> bool:
        """Whether it is within its bound without a digit that is right."""
        if self.bad is not False or self.cell.operation in WITHOUT_DIGITS:
            return False
        left = digits_left(self.row)
        return left is not None and left < LEAST

    @property
    def amiss(self) -> bool:
        """Whether it cannot be said to hold: it is wrong, or without a digit."""
        return bool(self.bad) or self.lost

    @property
    def word(self) -> str:
        """What became of it."""
        if self.lost:
            return NO_DIGIT
        return WORDS.get(self.row["outcome"] if self.row["outcome"] != "ok" else "over", "")

    @property
    def formulation(self) -> str:
        """The formulation, as a page writes it."""
        return f"`{self.cell.formulation}`"


@cache
def results() -> tuple[Result, ...]:
    """Return the accepted results of the shipped cases, in the order of a run."""
    catalogue.load()
    cases = casefile.read_cases([ROOT / "cases"])
    accepted: dict[str, list[Mapping[str, Any]]] = {}
    for row in read_baseline(BASELINE).rows:
        accepted.setdefault(row["cell"], []).append(row)
    plan = make_plan(cases, profile="full")
    return tuple(
        Result(cell, plan.cases[cell.case], row) for cell in plan.cells for row in accepted.get(cell.id, ())
    )


def of_row(row: Row, found: Iterable[Result]) -> list[Result]:
    """Return the results of one row of the guide."""
    return [r for r in found if row.id in r.case.guide]


def told_under(row: Row, found: Iterable[Result]) -> list[Result]:
    """Return the results that a row tells of, each on one page once.

    A case of several rows is told in the section of its topic, under the last of its rows there; in each of
    their sections where none of its rows is of its topic.
    """
    return [r for r in found if row.id in homes(r.case)]


def homes(case: Case) -> tuple[str, ...]:
    """Return the rows under which a case is told."""
    rows = [row for row in ROWS.values() if row.id in case.guide]
    own = [row for row in rows if row.topic == case.topic] or rows
    return tuple(of[-1].id for of in grouped(own, lambda row: row.section).values())


def digits(found: Iterable[Result]) -> str:
    """Return the range of decimal digits where a formulation holds, marked where it breaks elsewhere."""
    found = [r for r in found if r.bad is not None]
    left = [d for r in found if not r.bad and (d := digits_left(r.row)) is not None]
    mark = f" {BREAKS}" if any(r.bad for r in found) else ""
    if not left:
        return f"none{mark}" if mark else ""
    low, high = f"{min(left):.1f}", f"{max(left):.1f}"
    return (low if low == high else f"{low} – {high}") + mark


def swept(case: Case, found: Sequence[Result]) -> Axis | None:
    """Return the axis along which a case is driven to where it breaks: numeric, in a unit if there is one.

    Of axes that advance together, the first stands for all if each goes one way through three values or more.
    """
    there: dict[str, list[Written]] = {
        axis.name: list(dict.fromkeys(r.cell.axes[axis.name] for r in found)) for axis in case.axes
    }
    numeric = []
    for axis in case.axes:
        group = next((names for names in case.zipped if axis.name in names), (axis.name,))
        steady = len(group) == 1 or (
            len(there[axis.name]) > 2 and all(_goes_one_way(there[n]) for n in group)
        )
        if axis.name == group[0] and len(there[axis.name]) > 1 and _is_numeric(there[axis.name]) and steady:
            numeric.append(axis)
    return max(numeric, key=lambda axis: axis.unit is not None, default=None)


def _is_numeric(values: Sequence[Written]) -> bool:
    return all(
        isinstance(v, (int, Decimal)) and not isinstance(v, bool) and Decimal(v).is_finite() for v in values
    )


def _goes_one_way(values: Sequence[Written]) -> bool:
    if not _is_numeric(values):
        return False
    steps = [Fraction(b) - Fraction(a) for a, b in pairwise(values)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def along(case: Case, sweep: Axis | None, found: Sequence[Result]) -> str:
    """Return what varies in a case, to go on with its title: `, along `top` = 0.5, 1.01 × ln Ω`."""
    if sweep is None:
        names = [f"`{name}`" for name in _varying(found)]
        return f", by {listed(names)}" if names else ""
    there = {format_written(r.cell.axes[sweep.name]) for r in found}
    values = [v for v in sweep.values if format_written(v) in there]
    if not _goes_one_way(values):
        values.sort(key=lambda v: Fraction(exact_value(case, sweep.name, v, found[0].cell.dtype)))
    texts = [number(v) for v in values]
    symbol = AxisUnit(sweep.unit, sweep.kind).symbol
    if sweep.kind == "powers":
        texts = [f"{symbol}^{text}" for text in texts]
    said = ", ".join(texts) if len(texts) <= MOST else f"{texts[0]} … {texts[-1]} ({len(texts)} values)"
    together = [f"`{name}`" for name in _moving(case, sweep) if name != sweep.name]
    beside = f" with {listed(together)}" if together else ""
    return f", along `{sweep.name}`{beside} = {said}" + (f" × {symbol}" if sweep.kind == "times" else "")


def _moving(case: Case, sweep: Axis) -> tuple[str, ...]:
    """Return the axes that advance with the sweep, itself among them."""
    return next((names for names in case.zipped if sweep.name in names), (sweep.name,))


def where_else(result: Result, sweep: Axis | None, found: Sequence[Result]) -> str:
    """Return the values of the other axes that vary, `n = 1024`; without a sweep all are in the fields."""
    if sweep is None:
        return ""
    others = [n for n in _varying(found) if n not in _moving(result.case, sweep)]
    return ", ".join(f"{n} = {_written(result, n)}" for n in others)


def _written(result: Result, name: str) -> str:
    """Return the value of an axis as its case writes it, with the unit that it counts in."""
    value, axis = result.cell.axes[name], next(a for a in result.case.axes if a.name == name)
    if axis.unit is None or not _is_numeric([value]):
        return number(value)
    symbol = AxisUnit(axis.unit, axis.kind).symbol
    return f"{symbol}^{number(value)}" if axis.kind == "powers" else f"{number(value)} × {symbol}"


def _varying(found: Sequence[Result]) -> list[str]:
    """Return the axes that differ, and those that are written together with one that does."""
    axes = found[0].cell.axes
    vary = {n for n in axes if len({format_written(r.cell.axes[n]) for r in found}) > 1}
    together = {n for names in found[0].case.zipped if vary & set(names) for n in names}
    return [n for n in axes if n in vary | together]


def broken_at(found: Sequence[Result], sweep: Axis | None) -> str:
    """Return where one formulation breaks, or has no digit left: `702.7 → 716.9: NaN`; or that it holds."""
    found = [r for r in found if r.bad is not None]
    if not found:
        return MISSING
    bad = [r for r in found if r.amiss]
    if not bad:
        return HOLDS
    if len(bad) == len(found):
        said = _words(bad) if sweep is None else _progress(_in_order(bad, sweep), sweep)
        return ("everywhere: " if len(found) > 1 else "") + said
    return _listed_points(found, bad) if sweep is None else _edges(found, sweep)


def _words(found: Iterable[Result]) -> str:
    return ", ".join(dict.fromkeys(r.word for r in found))


def _progress(beyond: Sequence[Result], sweep: Axis) -> str:
    """Return what becomes of a formulation beyond an edge: `inaccurate, NaN from 4096`."""
    edge, *later = _firsts(beyond, sweep).items()
    return ", ".join([edge[0], *(f"{word} from {value}" for word, value in later)])


def _firsts(found: Sequence[Result], sweep: Axis) -> dict[str, str]:
    """Return the words of some results, each with the value where it comes first."""
    first: dict[str, str] = {}
    for r in found:
        first.setdefault(r.word, number(_value(r, sweep)))
    return first


@dataclass(frozen=True, slots=True)
class Edge:
    """Between the last value that holds and the first that breaks."""

    holds: str
    breaks: str
    words: str


@dataclass(frozen=True, slots=True)
class Scan:
    """The results along a sweep: what holds, and what does not before and after it."""

    before: Sequence[Result]
    """What breaks before anything holds."""
    held: Sequence[Result]
    after: Sequence[Result]
    """What breaks beyond that."""
    again: bool
    """Whether some of it holds again there."""


def scan(found: Sequence[Result], sweep: Axis) -> Scan:
    """Return the results of a sweep in their order, in parts; at least one of them holds."""
    scanned = _in_order([r for r in found if r.bad is not None], sweep)
    good = [i for i, r in enumerate(scanned) if not r.amiss]
    low, high = good[0], good[-1]
    end = next((i for i in range(low, high) if scanned[i].amiss), high + 1)
    after = [r for r in scanned[end:] if r.amiss]
    return Scan(scanned[:low], scanned[low:end], after, end < high)


def edges(found: Sequence[Result], sweep: Axis) -> list[Edge]:
    """Return the edges between what holds and what breaks, each seen from what holds."""
    parts = scan(found, sweep)
    sides = ((parts.held[0], parts.before[::-1]), (parts.held[-1], parts.after))
    return [
        Edge(number(_value(last, sweep)), number(_value(beyond[0], sweep)), _progress(beyond, sweep))
        for last, beyond in sides
        if beyond
    ]


def _edges(found: Sequence[Result], sweep: Axis) -> str:
    """Return the edges of a sweep: `8 → 9: NaN`, or, where it begins broken, `NaN to 8, holds from 9`."""
    parts = scan(found, sweep)
    if not parts.before:
        (edge,) = edges(found, sweep)
        said = f"{edge.holds}\u00a0→ {edge.breaks}: {edge.words}"
    else:
        told = [
            f"{word} to {number(_value(list(same)[-1], sweep))}"
            for word, same in groupby(parts.before, lambda r: r.word)
        ]
        at = "at" if len(parts.held) == 1 else "from"
        told.append(f"{HOLDS} {at} {number(_value(parts.held[0], sweep))}")
        told += [f"{word} from {value}" for word, value in _firsts(parts.after, sweep).items()]
        said = ", ".join(told)
    return said + (", in part" if parts.again else "")


def _value(result: Result, axis: Axis) -> Written | Fraction:
    return exact_value(result.case, axis.name, result.cell.axes[axis.name], result.cell.dtype)


def _in_order(found: Sequence[Result], sweep: Axis) -> list[Result]:
    """Return results in the order in which the case writes its values if that goes one way, else upwards."""
    there = {format_written(r.cell.axes[sweep.name]) for r in found}
    values = [format_written(v) for v in sweep.values if format_written(v) in there]
    if _goes_one_way([v for v in sweep.values if format_written(v) in there]):
        places = {value: i for i, value in enumerate(values)}
        return sorted(found, key=lambda r: places[format_written(r.cell.axes[sweep.name])])
    return sorted(found, key=lambda r: Fraction(_value(r, sweep)))


def _listed_points(found: Sequence[Result], bad: Sequence[Result]) -> str:
    names = _varying(found)
    parts = []
    for word, same in grouped(bad, lambda r: r.word).items():
        points = [_point(r, names) for r in same]
        more = "" if len(points) <= 4 else f", … ({len(points)} of {len(found)})"
        parts.append(f"{', '.join(points[:4])}{more}: {word}")
    return "; ".join(parts)


def _point(result: Result, names: Sequence[str]) -> str:
    values = [_written(result, n) for n in names]
    return values[0] if len(values) == 1 else f"\\[{', '.join(values)}\\]"


def number(value: Written | Fraction) -> str:
    """Return a number to four digits, beyond the range of a float too."""
    if isinstance(value, (bool, str)):
        return format_written(value)
    if isinstance(value, Decimal) and not value.is_finite():
        return str(value).replace("Infinity", "∞").replace("-", "−")
    exact = Fraction(value)
    if exact.denominator == 1 and abs(exact) < 10**6:
        return str(exact).replace("-", "−")
    decimal = Context(prec=4).divide(Decimal(exact.numerator), Decimal(exact.denominator))
    scientific = exact != 0 and not -3 <= decimal.adjusted() < 6
    mantissa, _, exponent = f"{decimal:.3e}".partition("e") if scientific else (f"{decimal:f}", "", "")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return (mantissa + (f"e{int(exponent)}" if exponent else "")).replace("-", "−")
