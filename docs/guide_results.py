"""The accepted results as the pages of the guide tell them: digits left, and where a sweep breaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness import casefile, catalogue
from harness.expect.measured import breaks
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
WORDS = {**OUTCOME_WORDS, "not_a_number": "NaN", "over": "inaccurate"}


@dataclass(frozen=True, slots=True)
class Result:
    """One accepted result: a cell, an output, and what was measured."""

    cell: Cell
    case: Case
    row: Mapping[str, Any]

    @property
    def bad(self) -> bool | None:
        """Whether it is wrong; None where that is not known."""
        return breaks(self.row)

    @property
    def word(self) -> str:
        """What became of it."""
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
    texts = [number(v) for v in sweep.values if format_written(v) in there]
    symbol = AxisUnit(sweep.unit, sweep.kind).symbol
    if sweep.kind == "powers":
        texts = [f"{symbol}^{text}" for text in texts]
    values = ", ".join(texts) if len(texts) <= MOST else f"{texts[0]} … {texts[-1]} ({len(texts)} values)"
    together = [f"`{name}`" for name in _moving(case, sweep) if name != sweep.name]
    beside = f" with {listed(together)}" if together else ""
    return f", along `{sweep.name}`{beside} = {values}" + (f" × {symbol}" if sweep.kind == "times" else "")


def _moving(case: Case, sweep: Axis) -> tuple[str, ...]:
    """Return the axes that advance with the sweep, itself among them."""
    return next((names for names in case.zipped if sweep.name in names), (sweep.name,))


def where_else(result: Result, sweep: Axis | None, found: Sequence[Result]) -> str:
    """Return the values of the other axes that vary, `n = 1024`; without a sweep all are in the fields."""
    if sweep is None:
        return ""
    others = [n for n in _varying(found) if n not in _moving(result.case, sweep)]
    return ", ".join(f"{n} = {number(result.cell.axes[n])}" for n in others)


def _varying(found: Sequence[Result]) -> list[str]:
    """Return the axes that differ, and those that are written together with one that does."""
    axes = found[0].cell.axes
    vary = {n for n in axes if len({format_written(r.cell.axes[n]) for r in found}) > 1}
    together = {n for names in found[0].case.zipped if vary & set(names) for n in names}
    return [n for n in axes if n in vary | together]


def broken_at(found: Sequence[Result], sweep: Axis | None) -> str:
    """Return where one formulation breaks in one format: `702.7 → 716.9: NaN`, or that it holds."""
    found = [r for r in found if r.bad is not None]
    if not found:
        return MISSING
    bad = [r for r in found if r.bad]
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
    first: dict[str, str] = {}
    for r in beyond:
        first.setdefault(r.word, number(_value(r, sweep)))
    edge, *later = first.items()
    return ", ".join([edge[0], *(f"{word} from {value}" for word, value in later)])


@dataclass(frozen=True, slots=True)
class Edge:
    """Between the last value that holds and the first that breaks."""

    holds: str
    breaks: str
    words: str

    def __str__(self) -> str:
        return f"{self.holds}\u00a0→ {self.breaks}: {self.words}"


def edges(found: Sequence[Result], sweep: Axis) -> tuple[list[Edge], bool]:
    """Return the edges of what holds here and breaks there, and whether it holds again beyond one."""
    scanned = _in_order([r for r in found if r.bad is not None], sweep)
    good = [i for i, r in enumerate(scanned) if not r.bad]
    low, high = good[0], good[-1]
    between = [i for i in range(low, high) if scanned[i].bad]
    places: list[tuple[int, int, Sequence[int]]] = [(low, low - 1, range(low)[::-1])] if low > 0 else []
    if between:
        places.append((between[0] - 1, between[0], between))
    elif high < len(scanned) - 1:
        places.append((high, high + 1, range(high + 1, len(scanned))))
    at = [number(_value(r, sweep)) for r in scanned]
    return [Edge(at[i], at[j], _progress([scanned[k] for k in of], sweep)) for i, j, of in places], bool(
        between
    )


def _edges(found: Sequence[Result], sweep: Axis) -> str:
    there, again = edges(found, sweep)
    return "; ".join(map(str, there)) + (", in part" if again else "")


def _value(result: Result, axis: Axis) -> Written | Fraction:
    return exact_value(result.case, axis.name, result.cell.axes[axis.name], result.cell.dtype)


def _in_order(found: Sequence[Result], sweep: Axis) -> list[Result]:
    """Return results in the order in which the case writes its values if that goes one way, else upwards."""
    if _goes_one_way(sweep.values):
        places = {format_written(value): i for i, value in enumerate(sweep.values)}
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
    values = [number(result.cell.axes[n]) for n in names]
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
