"""Where each formulation stops being right: frontiers of the facts, as one table for each axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, Final

from harness.report.view.axes import AxisUnit
from harness.report.view.header import CaseInfo
from harness.report.view.rows import Row, by_precision, grouped, number_of, text_of
from harness.report.view.scales import short_number
from harness.report.view.text import MISSING

_TIMES: Final = "× "
_POWER: Final = "power of "
_MOST_REASONS: Final = 1
HOLDS: Final = "holds"


@dataclass(frozen=True, slots=True)
class FrontierField:
    """Where a formulation breaks in one dtype, over all values of the other axes."""

    text: str
    detail: str
    """The reasons behind it."""
    beside: str = ""
    """Between which two values it lies, where there is one frontier only."""
    as_predicted: bool | None = None
    """Whether 1 × the axis' unit lies between the two; None without a unit or a frontier."""


@dataclass(frozen=True, slots=True)
class FrontierLine:
    """One formulation on one backend."""

    formulation: str
    backend: str
    fields: tuple[FrontierField, ...]

    @property
    def holds(self) -> bool:
        """Whether it is right at every value in every dtype in which it ran."""
        return all(f.text in (HOLDS, MISSING) for f in self.fields)


@dataclass(frozen=True, slots=True)
class FrontierTable:
    """The first bad values of one axis of one case."""

    case: str
    title: str
    axis: str
    dtypes: tuple[str, ...]
    lines: tuple[FrontierLine, ...]
    predicted: tuple[str, ...] = ()
    """For each dtype what 1 × the unit is, which is where the threshold is predicted; empty without one."""
    outputs: str = ""
    """The outputs told, where an axis has several tables."""

    @property
    def breaking(self) -> tuple[FrontierLine, ...]:
        """The lines that have a frontier."""
        return tuple(line for line in self.lines if not line.holds)

    @property
    def holding(self) -> str:
        """Those that hold wherever they ran: `shifted (numpy, torch-cpu), online (numpy)`."""
        groups = grouped((line for line in self.lines if line.holds), lambda line: line.formulation)
        return ", ".join(f"{name} ({', '.join(line.backend for line in of)})" for name, of in groups.items())


def frontier_tables(facts: Sequence[Row], cases: Mapping[str, CaseInfo]) -> list[FrontierTable]:
    """Return one table for each case, axis and output that has frontiers.

    Axes that move together break together: the first of them is told. Outputs with equal frontiers share a
    table.
    """
    frontiers = [f for f in facts if text_of(f, "fact") == "frontier"]
    by_axis = grouped(frontiers, lambda f: (text_of(f, "case"), text_of(f, "against")))
    tables: list[FrontierTable] = []
    for (case, against), group in by_axis.items():
        info = cases.get(case)
        together = next((z for z in info.zipped if against in z), ()) if info else ()
        if any((case, axis) in by_axis for axis in together[: together.index(against) if together else 0]):
            continue
        unit = axis_unit_of(group, info, against)
        outputs = grouped(group, lambda f: (text_of(f, "output"), text_of(f, "mode")))
        made = [(output, mode, _table(f, case, against, unit)) for (output, mode), f in outputs.items()]
        alike = grouped(made, lambda one: (one[1], _seen(one[2])))
        for (mode, _), same in alike.items():
            names = ", ".join(output for output, _, _ in same) if len(alike) > 1 else ""
            what = names or ("gradient" if mode == "backward" else "")
            title = info.title if info else case
            told = f"{title}: {what}" if what else title
            tables.append(replace(same[0][2], title=told, outputs=names))
    return tables


def _seen(table: FrontierTable) -> tuple[object, ...]:
    """Return what a reader sees of a table: all but the reasons."""
    lines = (
        (line.formulation, line.backend, *((f.text, f.beside, f.as_predicted) for f in line.fields))
        for line in table.lines
    )
    return (table.dtypes, *lines)


def axis_unit_of(facts: Sequence[Row], info: CaseInfo | None, axis: str) -> AxisUnit:
    """Return what an axis' numbers count, from the case or from the unit that its frontiers carry."""
    known = info.axis(axis) if info else AxisUnit()
    if known.unit:
        return known
    text = next((t for f in facts if (t := text_of(f, "unit"))), "")
    if text.startswith(_TIMES):
        return AxisUnit(text.removeprefix(_TIMES), "times")
    return AxisUnit(text.removeprefix(_POWER), "powers") if text.startswith(_POWER) else AxisUnit()


def _table(facts: Sequence[Row], case: str, axis: str, unit: AxisUnit) -> FrontierTable:
    dtypes = by_precision(text_of(f, "dtype") for f in facts)
    lines = []
    for (formulation, backend), group in grouped(
        facts, lambda f: (text_of(f, "formulation"), text_of(f, "backend"))
    ).items():
        by_dtype = grouped(group, lambda f: text_of(f, "dtype"))
        fields = tuple(frontier_field(by_dtype.get(d, []), unit) for d in dtypes)
        lines.append(FrontierLine(formulation, backend, fields))
    return FrontierTable(case, case, unit.title(axis), tuple(dtypes), tuple(lines), predictions(dtypes, unit))


def predictions(dtypes: Sequence[str], unit: AxisUnit) -> tuple[str, ...]:
    """Return for each dtype the predicted threshold, `1 × ln Ω = 88.7`; nothing for an axis in no unit."""
    from harness.formats import DTYPES, UNITS, unit_value

    if unit.kind != "times" or unit.unit not in UNITS:
        return ()
    return tuple(
        f"1 × {unit.symbol} = {significant_fraction(unit_value(DTYPES[d], unit.unit, 'times', 1))}"
        if d in DTYPES
        else ""
        for d in dtypes
    )


def significant_fraction(value: Fraction) -> str:
    """Return a number beyond the range of a float too, to three digits."""
    return f"{Context(prec=3).divide(Decimal(value.numerator), Decimal(value.denominator)):g}".replace(
        "e+", "e"
    )


def frontier_field(facts: Sequence[Row], unit: AxisUnit | None = None) -> FrontierField:
    """Return one field: the first bad value, the range of it over other axes, or that it holds throughout.

    `facts` are the frontiers of one formulation, backend and dtype along an axis that counts `unit`.
    """
    if not facts:
        return FrontierField(MISSING, "no formulation breaks here, or it was not measured")
    found = [f for f in facts if number_of(f, "value") is not None]
    values = sorted({v for f in found if (v := number_of(f, "value")) is not None})
    holds = [f for f in facts if number_of(f, "value") is None and number_of(f, "high") is None]
    always = [f for f in facts if number_of(f, "value") is None and number_of(f, "high") is not None]
    parts = []
    if len(values) == 1:
        parts.append(short_number(values[0]))
    elif values:
        parts.append(f"{short_number(values[0])} … {short_number(values[-1])}")
    if always:
        parts.append(
            "always broken" if not parts and not holds else f"always broken in {len(always)} of {len(facts)}"
        )
    if holds:
        some = f" in {len(holds)} of {len(facts)}" if len(holds) < len(facts) else ""
        parts.append(HOLDS + some)
    ends = {(number_of(f, "low"), number_of(f, "high")) for f in found}
    between = [(low, high) for low, high in ends if low is not None and high is not None]
    timed = unit is not None and unit.kind == "times" and bool(between)
    return FrontierField(
        ", ".join(parts),
        _told(list(dict.fromkeys(_reason(f) for f in (found or facts)))),
        f"{short_number(between[0][0])} to {short_number(between[0][1])}" if len(between) == 1 else "",
        all(low <= 1 <= high for low, high in between) if timed else None,
    )


def _told(reasons: list[str]) -> str:
    more = len(reasons) - _MOST_REASONS
    return "; ".join(reasons[:_MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")


def _reason(fact: Row) -> str:
    where = text_of(fact, "where")
    reason = text_of(fact, "reason")
    return f"{where}: {reason}" if where not in ("", "{}") else reason


def facts_table(facts: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the facts that are no frontiers, those that failed first."""
    order = {"fail": 0, "inconclusive": 1, "pass": 2}
    others = [dict(f) for f in facts if text_of(f, "fact") != "frontier"]
    return sorted(others, key=lambda f: order.get(text_of(f, "verdict"), 3))
