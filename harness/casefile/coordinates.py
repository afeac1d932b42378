"""The coordinates of a case: every combination of axis values, and what `where` picks of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.model import PROFILES, Axis, Condition, Where, Written


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of axis values, by position in each axis of the case."""

    positions: tuple[int, ...]
    profile: int
    """Index into PROFILES of the smallest profile that holds it."""


def axis_groups(axes: Sequence[Axis], zipped: Sequence[Sequence[str]]) -> list[tuple[int, ...]]:
    """Return the axes that advance together, by index, in the order of the first of each group."""
    index = {axis.name: i for i, axis in enumerate(axes)}
    together = {index[name]: tuple(index[n] for n in group) for group in zipped for name in group}
    groups = {tuple(sorted(together.get(i, (i,)))): None for i in range(len(axes))}
    return list(groups)


def count_points(axes: Sequence[Axis], zipped: Sequence[Sequence[str]]) -> int:
    """Return the number of points without making them."""
    return math.prod(len(axes[group[0]].values) for group in axis_groups(axes, zipped))


def points(axes: Sequence[Axis], zipped: Sequence[Sequence[str]]) -> Iterator[Point]:
    """Yield every point of the full profile, the last axis fastest."""
    groups = axis_groups(axes, zipped)
    choices = [range(len(axes[group[0]].values)) for group in groups]
    levels = [[_profile(axis, value) for value in axis.values] for axis in axes]
    for chosen in itertools.product(*choices):
        positions = [0] * len(axes)
        for group, position in zip(groups, chosen, strict=True):
            for i in group:
                positions[i] = position
        profile = max((levels[i][p] for i, p in enumerate(positions)), default=0)
        yield Point(tuple(positions), profile)


def values_at(axes: Sequence[Axis], point: Point) -> dict[str, Written]:
    """Return the axis values of a point, as written."""
    return {axis.name: axis.values[p] for axis, p in zip(axes, point.positions, strict=True)}


def _profile(axis: Axis, value: Written) -> int:
    if value in axis.full_only:
        return PROFILES.index("full")
    return PROFILES.index("quick" if value in axis.quick else "default")


class Matcher:
    """A `where`, asked often: each condition is tried once for each value it can meet."""

    def __init__(self, where: Where, axes: Sequence[Axis]) -> None:
        names = {axis.name: i for i, axis in enumerate(axes)}
        self._named: dict[str, Condition] = {k: c for k, c in where.items() if k not in names}
        self._positions: dict[int, frozenset[int]] = {
            names[key]: frozenset(p for p, v in enumerate(axes[names[key]].values) if condition.holds(v))
            for key, condition in where.items()
            if key in names
        }

    def takes(self, names: Mapping[str, str]) -> bool:
        """Return whether formulation, backend, dtype and mode, by these keys, satisfy it."""
        return all(condition.holds(names[key]) for key, condition in self._named.items())

    def holds_at(self, point: Point) -> bool:
        """Return whether the axis values of a point satisfy it."""
        return all(point.positions[i] in allowed for i, allowed in self._positions.items())
