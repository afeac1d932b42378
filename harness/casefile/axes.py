"""Checks of axes: their values, units, which values are quick, and which axes advance together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from harness.casefile.examination import Examination, kind_of, shown
from harness.casefile.schema import NAMED_KEYS, AxisModel
from harness.casefile.tree import Steps
from harness.errors import InputError
from harness.formats import DTYPES, UNITS, unit_value
from harness.model import Axis, Written, format_written


def axes(exam: Examination, dtypes: Sequence[str]) -> tuple[Axis, ...]:
    """Return the axes of the case; `dtypes` are those whose units they must have."""
    made = []
    for name, form in exam.draft.axes.items():
        if name in (*NAMED_KEYS, "output"):
            exam.error(("axes", name), f"an axis cannot be called {name!r}", key=True)
            exam.whole = False
            continue
        before = len(exam.diagnostics)
        axis = _axis(exam, name, form, dtypes)
        exam.whole = exam.whole and len(exam.diagnostics) == before
        made.append(axis)
    return tuple(made)


def _axis(exam: Examination, name: str, form: AxisModel, dtypes: Sequence[str]) -> Axis:
    path: Steps = ("axes", name)
    given = [k for k in ("values", "times", "powers") if getattr(form, k) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        exam.error(path, f"axis {name!r} needs exactly one of values, times, powers: found {found}")
    kind = given[0] if given else "values"
    if form.unit is None and kind != "values":
        exam.error(path, f"axis {name!r} has {kind} but no unit", "add `unit:`, or call them `values`")
    if form.unit is not None:
        exam.known((*path, "unit"), form.unit, UNITS, "unit")
        if kind == "values":
            exam.error(
                path, f"axis {name!r} has a unit but neither times nor powers", "call the values `times`"
            )
    ordinary: list[Written] = getattr(form, kind) or []
    if not ordinary and len(given) == 1:
        exam.error((*path, kind), f"axis {name!r} is empty", "give it at least one value, or leave it out")
    values = _distinct(exam, name, {kind: ordinary, "full": form.full or []})
    quick = form.quick if form.quick is not None else ordinary
    for i, value in enumerate(form.quick or ()):
        if value not in ordinary:
            hint = f"allowed: {', '.join(map(format_written, ordinary))}"
            exam.error((*path, "quick", i), f"quick value {shown(value)} is none of the {kind}", hint)
    axis = Axis(
        name, tuple(values), frozenset(quick), frozenset(form.full or ()),
        form.unit, kind if form.unit is not None and kind != "values" else None,  # type: ignore[arg-type]
    )  # fmt: skip
    if form.unit in UNITS and kind != "values":
        _unit_values(exam, axis, kind, len(ordinary), dtypes)
    return axis


def _distinct(exam: Examination, name: str, given: Mapping[str, Sequence[Written]]) -> list[Written]:
    values: list[Written] = []
    kinds: set[str] = set()
    repeats = any(name in group for group in exam.draft.zip)  # only whole points must differ then
    for key, some in given.items():
        for i, value in enumerate(some):
            kinds.add(kind_of(value))
            if isinstance(value, Decimal) and value.is_nan():
                exam.error(("axes", name, key, i), "an axis cannot hold .nan: it equals nothing")
            elif isinstance(value, str) and any(c in value for c in ",="):
                exam.error(("axes", name, key, i), f"{value!r} holds ',' or '=', which part a cell's id")
            elif value in values and not (repeats and key != "full"):
                exam.error(("axes", name, key, i), f"{shown(value)} stands twice on axis {name!r}")
            values.append(value)
    if len(kinds) > 1:
        exam.error(("axes", name), f"axis {name!r} mixes {' and '.join(sorted(kinds))}", "split it in two")
    return values


def _unit_values(exam: Examination, axis: Axis, kind: Any, ordinary: int, dtypes: Sequence[str]) -> None:
    for position, value in enumerate(axis.values):
        if isinstance(value, (bool, str)):
            continue
        key, i = (kind, position) if position < ordinary else ("full", position - ordinary)
        for dtype in dtypes:
            try:
                unit_value(DTYPES[dtype], str(axis.unit), kind, value)
            except InputError as error:
                exam.error(("axes", axis.name, key, i), f"in {dtype}: {error.message}", error.hint)
                break


def zipped(exam: Examination) -> tuple[tuple[str, ...], ...]:
    """Return the groups of axes that advance together."""
    by_name = {axis.name: axis for axis in exam.axes}
    seen: dict[str, int] = {}
    groups = []
    for i, group in enumerate(exam.draft.zip):
        sound = True
        for j, name in enumerate(group):
            if name not in by_name:
                sound = False
                if not exam.is_refused("axes", name):
                    exam.known(("zip", i, j), name, by_name, "axis")
            elif name in seen:
                sound = False
                exam.error(("zip", i, j), f"axis {name!r} is zipped twice")
            seen[name] = i
        if sound:
            together = [by_name[name] for name in group]
            sound = _same_lengths(exam, i, together) and _distinct_points(exam, i, together)
        if sound:
            groups.append(tuple(group))
        exam.whole = exam.whole and sound
    return tuple(groups)


def _distinct_points(exam: Examination, i: int, group: Sequence[Axis]) -> bool:
    seen = set()
    for point in zip(*(axis.values for axis in group), strict=True):
        if point in seen:
            where = ", ".join(f"{a.name} = {format_written(v)}" for a, v in zip(group, point, strict=True))
            exam.error(("zip", i), f"the point {where} stands twice on zipped axes")
            return False
        seen.add(point)
    return True


def _same_lengths(exam: Examination, i: int, group: Sequence[Axis]) -> bool:
    first = group[0]
    for j, axis in enumerate(group[1:], start=1):
        for what, a, b in (
            ("values", len(first.values), len(axis.values)),
            ("full values", len(first.full_only), len(axis.full_only)),
        ):
            if a != b:
                exam.error(
                    ("zip", i, j),
                    f"zipped axes differ in length: {first.name!r} has {a} {what}, {axis.name!r} {b}",
                )
                return False
    return True
