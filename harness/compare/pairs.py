"""Which cells are compared: the timed ones of a plan, on both sides, matched by what the sides do not set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.errors import NothingSelectedError, UsageError, did_you_mean
from harness.model import Axis, Case, Cell, Written, format_written

AXIS: Final = "axis."
NAMES: Final = ("formulation", "backend", "dtype")


@dataclass(frozen=True, slots=True)
class CellPair:
    """One cell on both sides."""

    name: str
    """The head's id."""
    base: Cell
    head: Cell


def with_axis_values(cases: Sequence[Case], *sides: Mapping[str, Written]) -> list[Case]:
    """Return the cases, the axes that sides set taking those values; cases without such an axis are left out.

    A value need not be one of the case's own, unless the axis is paired with another.

    Raises
    ------
    UsageError
        No case has such an axis, or a paired axis has no such value.
    """
    wanted: dict[str, list[Written]] = {}
    for coordinates in sides:
        for key, value in coordinates.items():
            if key.startswith(AXIS):
                wanted.setdefault(key.removeprefix(AXIS), []).append(value)
    if not wanted:
        return list(cases)
    found = [case for case in cases if wanted.keys() <= {axis.name for axis in case.axes}]
    if not found:
        known = sorted({axis.name for case in cases for axis in case.axes})
        name = next((n for n in wanted if n not in known), next(iter(wanted)))
        raise UsageError(f"no case selected has the axis {name!r}", did_you_mean(name, known))
    return [
        replace(case, axes=tuple(_with_values(case, axis, wanted) for axis in case.axes)) for case in found
    ]


def _with_values(case: Case, axis: Axis, wanted: Mapping[str, Sequence[Written]]) -> Axis:
    if axis.name not in wanted:
        return axis
    values = tuple(dict.fromkeys(wanted[axis.name]))
    if any(axis.name in names for names in case.zipped):
        unknown = [v for v in values if v not in axis.values]
        if unknown:
            raise UsageError(
                f"{case.name}: the axis {axis.name!r} is paired with another, and has no value {unknown[0]}",
                "allowed: " + ", ".join(map(format_written, axis.values)),
            )
        return axis
    return replace(axis, values=values, quick=frozenset(values), full_only=frozenset())


def pairs_of(
    cells: Iterable[Cell], base: Mapping[str, Written], head: Mapping[str, Written]
) -> tuple[list[CellPair], list[Cell]]:
    """Return the pairs of timed cells, and the timed cells that one side has no partner for.

    Raises
    ------
    NothingSelectedError
        There is no pair.
    """
    timed = [cell for cell in cells if cell.speed is not None and cell.skip is None]
    on_base = {_rest(cell, base): cell for cell in timed if _takes(cell, base)}
    on_head = {_rest(cell, head): cell for cell in timed if _takes(cell, head)}
    pairs = [CellPair(cell.id, on_base[key], cell) for key, cell in on_head.items() if key in on_base]
    alone = [c for key, c in on_base.items() if key not in on_head]
    alone += [c for key, c in on_head.items() if key not in on_base]
    if not pairs:
        if not timed:
            raise NothingSelectedError(
                "none of the cells selected is timed",
                "cases are timed that have `measure: {speed: …}`; `harness list` shows which",
            )
        raise NothingSelectedError(
            f"none of the {len(timed)} timed cells selected is on both sides ({_told(base)}; {_told(head)})",
            "`harness list` shows the ids of all cells",
        )
    return pairs, alone


def _takes(cell: Cell, coordinates: Mapping[str, Written]) -> bool:
    return all(coordinate(cell, key) == value for key, value in coordinates.items())


def coordinate(cell: Cell, key: str) -> Written | None:
    """Return a coordinate of a cell: `formulation`, `backend`, `dtype` or `axis.<name>`."""
    if key.startswith(AXIS):
        return cell.axes.get(key.removeprefix(AXIS))
    value: str = getattr(cell, key)
    return value


def _rest(cell: Cell, coordinates: Mapping[str, Written]) -> tuple[object, ...]:
    """Return what two cells of one pair have in common."""
    names = tuple(getattr(cell, name) for name in NAMES if name not in coordinates)
    axes = tuple((k, str(v)) for k, v in cell.axes.items() if AXIS + k not in coordinates)
    return (cell.case, *names, *axes)


def _told(coordinates: Mapping[str, Written]) -> str:
    return ", ".join(f"{k}={format_written(v)}" for k, v in coordinates.items()) or "as they are"
