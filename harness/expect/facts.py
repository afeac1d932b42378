"""Facts of several rows: fitted exponents, and the frontier where a formulation stops being right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from harness.expect.fitting import Slope, fit_slope
from harness.expect.measured import Row, breaks, broken_bounds, kept_bounds, measured, number
from harness.model import TIMED_COLUMNS, Axis, Case, Cell, FactSpec, Plan, Where, Written, format_written
from harness.store.rows import axes_text

FACT_COLUMNS: Final = (
    "fact", "case", "formulation", "backend", "dtype", "mode", "output", "of", "against", "where",
    "value", "low", "high", "unit", "expected", "verdict", "reason", "severity",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Group:
    """Cells that differ in the axis looked at only; `where` holds the values of the others."""

    formulation: str
    backend: str
    dtype: str
    mode: str
    output: str
    where: tuple[tuple[str, Written], ...]


Point = tuple[Cell, Row | None]
"""A cell that was to be run, and its row for one output (None: nothing came of it)."""


def facts(rows: Iterable[Row], plan: Plan) -> list[dict[str, Any]]:
    """Return the facts of a run, one mapping each with the keys of `FACT_COLUMNS`.

    Kinds
    -----
    exponent
        e of `fit` ~ `against`**e for each of a case's `facts`; `low`, `high`: its 95 % interval. The
        verdict is `pass` where the whole interval satisfies the expectation, `fail` where all of it is
        outside, otherwise `inconclusive`: an estimate that may lie anywhere shows nothing. Fewer than three
        measured points are `inconclusive`, and `skip` where the selection holds no more.
    frontier
        On a numeric axis, between a last good and a first bad value; `value` is the first bad one,
        `low` and `high` the two. Formulations that hold where another breaks have a row without `value`.
    """
    by_cell: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_cell.setdefault(row["cell"], {})[row["output"]] = row
    found: list[dict[str, Any]] = []
    for case in plan.cases.values():
        cells = [c for c in plan.cells if c.case == case.name and c.skip is None]
        for spec in case.facts:
            found += _exponents(case, spec, cells, by_cell)
        for axis in case.axes:
            found += _frontiers(case, axis, cells, by_cell)
    return found


def _grouped(
    case: Case, against: str, cells: Sequence[Cell], rows: Mapping[str, Mapping[str, Row]]
) -> dict[_Group, list[Point]]:
    """Return the points of each group; axes zipped with `against` move with it."""
    moving = {against}.union(*(z for z in case.zipped if against in z))
    if against not in {axis.name for axis in case.axes}:
        moving = {axis.name for axis in case.axes}
    groups: dict[_Group, list[Point]] = {}
    for cell in cells:
        where = tuple((n, v) for n, v in cell.axes.items() if n not in moving)
        for output in cell.outputs:
            group = _Group(cell.formulation, cell.backend, cell.dtype, cell.mode, output, where)
            groups.setdefault(group, []).append((cell, rows.get(cell.id, {}).get(output)))
    return groups


def _fact(kind: str, case: Case, group: _Group, against: str, **values: Any) -> dict[str, Any]:
    identity = {
        "fact": kind, "case": case.name, "formulation": group.formulation, "backend": group.backend,
        "dtype": group.dtype, "mode": group.mode, "output": group.output, "against": against,
        "where": axes_text(dict(group.where)),
    }  # fmt: skip
    return {**dict.fromkeys(FACT_COLUMNS), **identity, **values}


# ---- exponents -------------------------------------------------------------------------------------


def _exponents(
    case: Case, spec: FactSpec, cells: Sequence[Cell], rows: Mapping[str, Mapping[str, Row]]
) -> Iterator[dict[str, Any]]:
    timed = spec.fit in TIMED_COLUMNS
    chosen = [c for c in cells if _matches(spec.where, c) and (c.speed is not None if timed else c.accuracy)]
    axis = next((a for a in case.axes if a.name == spec.against), None)
    condition = spec.expect.get("exponent")
    for group, points in _grouped(case, spec.against, chosen, rows).items():
        logarithms = [p for p in (_logarithms(point, spec, axis) for point in points) if p is not None]
        if spec.output not in (None, group.output):
            continue
        different = len({x for x, _ in logarithms})
        if different < 3 and condition is None:
            continue
        values: dict[str, Any] = {
            "unit": f"d log {spec.fit} / d log {spec.against}",
            "expected": None if condition is None else str(condition),
            "severity": spec.severity,
        }
        if different >= 3:
            slope = fit_slope([x for x, _ in logarithms], [y for _, y in logarithms])
            verdict, reason = _judge_slope(slope, condition)
            values |= {"value": slope.value, "low": slope.low, "high": slope.high}
        else:
            planned = len({format_written(c.axes[spec.against]) for c, _ in points}) if axis else len(points)
            verdict = "skip" if planned < 3 else "inconclusive"
            reason = (
                f"the selection holds {planned} points and an exponent needs 3"
                if planned < 3
                else f"{different} of {planned} points gave a positive {spec.fit} and an exponent needs 3"
            )
        place = f" (fact line {spec.line})" if spec.line else ""
        yield _fact(
            "exponent", case, group, spec.against,
            of=spec.fit, **values, verdict=verdict, reason=reason + place,
        )  # fmt: skip


def _judge_slope(slope: Slope, condition: Any) -> tuple[str | None, str]:
    fitted = (
        f"exponent {number(slope.value)} "
        f"[{number(slope.low)}, {number(slope.high)}] from {slope.points} points"
    )
    if condition is None:
        return None, fitted
    fits = condition.holds(slope.value)
    if fits and (
        condition.equals is not None or (condition.holds(slope.low) and condition.holds(slope.high))
    ):
        return "pass", f"{fitted}: {kept_bounds('exponent', slope.value, condition)}"
    if fits:
        return "inconclusive", f"{fitted}: the interval reaches beyond {condition}"
    violations = "; ".join(broken_bounds("exponent", slope.value, condition))
    # A line is violated for certain when both ends of the interval lie on the same wrong side of it.
    below = condition.above if condition.at_least is None else condition.at_least
    above = condition.below if condition.at_most is None else condition.at_most
    certain = (below is not None and slope.high < below) or (above is not None and slope.low > above)
    if certain or condition.equals is not None:
        return "fail", f"{fitted}: {violations}"
    return "inconclusive", f"{fitted}: {violations}, but the interval reaches what is allowed"


def _logarithms(point: Point, spec: FactSpec, axis: Axis | None) -> tuple[float, float] | None:
    cell, row = point
    if row is None:
        return None
    y = _log(measured(row, spec.fit))
    x = _log(measured(row, spec.against)) if axis is None else _log_on_axis(cell, axis)
    return None if x is None or y is None else (x, y)


def _log_on_axis(cell: Cell, axis: Axis) -> float | None:
    """Return ln of an axis value up to a constant: of the multiple, or the power times ln of the unit."""
    written = cell.axes[axis.name]
    if axis.kind != "powers":
        return _log(written)
    from harness.formats import DTYPES, unit

    base = _log(unit(DTYPES[cell.dtype], str(axis.unit)))
    return None if base is None or isinstance(written, str) else float(written) * base


def _log(value: Any) -> float | None:
    if value is None or isinstance(value, (str, bool)) or not _is_finite(value) or not value > 0:
        return None
    if isinstance(value, (int, Fraction)):
        exact = Fraction(value)
        return math.log(exact.numerator) - math.log(exact.denominator)
    return float(value.ln()) if isinstance(value, Decimal) else math.log(value)


def _is_finite(value: Any) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


# ---- frontiers -------------------------------------------------------------------------------------


def _frontiers(
    case: Case, axis: Axis, cells: Sequence[Cell], rows: Mapping[str, Mapping[str, Row]]
) -> Iterator[dict[str, Any]]:
    if sum(isinstance(v, (int, Decimal)) and not isinstance(v, bool) for v in axis.values) < 2:
        return
    scanned: dict[_Group, list[tuple[Written, bool, Row]]] = {}
    broken: set[tuple[str, str, str, tuple[tuple[str, Written], ...]]] = set()
    for group, points in _grouped(case, axis.name, cells, rows).items():
        judged = [
            (cell.axes[axis.name], bad, row)
            for cell, row in points
            if row is not None
            and not isinstance(cell.axes[axis.name], (str, bool))
            and _is_finite(cell.axes[axis.name])
            and (bad := breaks(row)) is not None
        ]
        judged.sort(key=lambda p: Fraction(p[0]))
        if len(judged) < 2:
            continue
        scanned[group] = judged
        if any(bad for _, bad, _ in judged):
            broken.add((group.dtype, group.mode, group.output, group.where))
    for group, judged in scanned.items():
        if (group.dtype, group.mode, group.output, group.where) not in broken:
            continue
        for values in _edges(judged, axis):
            yield _fact("frontier", case, group, axis.name, unit=_unit(axis), **values)


def _edges(judged: Sequence[tuple[Written, bool, Row]], axis: Axis) -> Iterator[dict[str, Any]]:
    """Yield the frontiers of one group, sorted by axis value: upwards, and downwards from the first good."""
    first, last = judged[0][0], judged[-1][0]
    good = [i for i, (_, bad, _) in enumerate(judged) if not bad]
    if not good:
        yield {
            "reason": f"bad at every value from {_on_axis(first, axis)} to {_on_axis(last, axis)}",
            "high": _plain(first),
        }
        return
    if len(good) == len(judged):
        yield {
            "reason": f"good at every value from {_on_axis(first, axis)} to {_on_axis(last, axis)}",
            "low": _plain(last),
        }
        return
    start = good[0]
    if start > 0:
        yield _edge(judged[start], judged[start - 1], axis, "")
    for i in range(start + 1, len(judged)):
        if judged[i][1]:
            later = [v for v, bad, _ in judged[i + 1 :] if not bad]
            again = f"; good again at {_on_axis(later[0], axis)}" if later else ""
            yield _edge(judged[i - 1], judged[i], axis, again)
            return


def _edge(
    good: tuple[Written, bool, Row], bad: tuple[Written, bool, Row], axis: Axis, again: str
) -> dict[str, Any]:
    row = bad[2]
    how = f"outcome {row['outcome']}"
    if row["outcome"] == "ok":
        how = f"bound_ratio {number(measured(row, 'bound_ratio'))}"
    low, high = sorted((good[0], bad[0]), key=lambda v: Fraction(v))
    reason = f"good at {_on_axis(good[0], axis)}, {how} at {_on_axis(bad[0], axis)}{again}"
    return {"value": _plain(bad[0]), "low": _plain(low), "high": _plain(high), "reason": reason}


def _plain(value: Written) -> int | float:
    number_ = Fraction(value)
    return int(number_) if number_.denominator == 1 and abs(number_) < 2**53 else float(number_)


def _unit(axis: Axis) -> str | None:
    if axis.unit is None:
        return None
    return f"× {axis.unit}" if axis.kind == "times" else f"power of {axis.unit}"


def _on_axis(value: Written, axis: Axis) -> str:
    """Return an axis value in words: `n = 8`, `2 × ln_max`, `unit_roundoff^-0.5`."""
    text = format_written(value)
    if axis.unit is None:
        return f"{axis.name} = {text}"
    return f"{text} × {axis.unit}" if axis.kind == "times" else f"{axis.unit}^{text}"


def _matches(where: Where, cell: Cell) -> bool:
    """Return whether a cell satisfies every condition of `where`."""
    words = {"formulation": cell.formulation, "backend": cell.backend, "dtype": cell.dtype, "mode": cell.mode}
    values: Mapping[str, Any] = {**words, **cell.axes}
    return all(name in values and condition.holds(values[name]) for name, condition in where.items())
