"""Scales of a figure: values → places in [0, 1], and ticks that people would have chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

from harness.report.view.text import significant

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_ZERO_ROOM: Final = 0.12
"""Share of a logarithmic scale that is set apart for zero."""
_CLOSE: Final = 0.035
"""Values nearer than this share of the scale (8 px of 220) cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on a scale: where, and what stands beside it (nothing for a minor mark)."""

    value: float
    label: str


class Scale(Protocol):
    """What a figure asks of a scale."""

    @property
    def kind(self) -> str:
        """`linear`, `logarithmic` or `evenly spaced`."""

    def place(self, value: float) -> float | None:
        """Return where a value lies, 0 at the low end and 1 at the high end; None if it has no place."""

    def ticks(self, most: int) -> tuple[Tick, ...]:
        """Return at most about `most` labelled ticks."""


def nice_step(span: float, most: int) -> float:
    """Return the smallest 1, 2, 2.5 or 5 times a power of ten that cuts `span` into ≤ `most` parts.

    Raises
    ------
    ValueError
        A span that is not positive and finite, or `most` below one.
    """
    if not (0 < span < math.inf) or most < 1:
        raise ValueError(f"no step for a span of {span} in {most} parts")
    power = 10.0 ** math.floor(math.log10(span / most))
    # The allowance keeps 0.3 / 0.1 = 2.9999999999999996 parts from asking for a wider step.
    return next(s * power for s in (*_STEPS, 20.0) if span / (s * power) <= most * (1 + 1e-9))


def tick_label(value: float, step: float) -> str:
    """Return a tick's number with as many decimals as its step needs, all ticks alike."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(step) < 1e-4:
        return short_number(value)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals and not math.isclose(round(step, decimals), step, rel_tol=1e-9):
        decimals += 1
    return f"{value:,.{decimals}f}"


def short_number(value: float) -> str:
    """Return a number in the fewest signs that name it to three digits: `65536`, `0.99`, `1e-8`."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    text = significant(value)
    mantissa, sign, exponent = text.partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa + sign + exponent


_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(exponent: int) -> str:
    """Return a power of ten as an axis prints it: `0.01`, `1`, `100`, `10⁸`."""
    if -2 <= exponent <= 3:
        return str(10**exponent) if exponent >= 0 else f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


@dataclass(frozen=True, slots=True)
class LinearScale:
    """Equal steps are equal distances."""

    low: float
    high: float
    kind: str = "linear"

    def place(self, value: float) -> float | None:
        """Return where a value lies."""
        return 0.5 if self.low == self.high else (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> tuple[Tick, ...]:
        """Return round numbers inside the scale."""
        if self.low == self.high:
            return (Tick(self.low, short_number(self.low)),)
        step = nice_step(self.high - self.low, most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        values = [k * step for k in range(first, last + 1)]
        return tuple(Tick(v, tick_label(0.0 if abs(v) < step * 1e-9 else v, step)) for v in values)


@dataclass(frozen=True, slots=True)
class LogScale:
    """Equal ratios are equal distances; zero, where it occurs, has a place of its own on the left."""

    low: float
    high: float
    zero: bool = False
    kind: str = "logarithmic"

    def place(self, value: float) -> float | None:
        """Return where a value lies; None for what has no logarithm."""
        room = _ZERO_ROOM if self.zero else 0.0
        if value <= 0:
            return 0.0 if value == 0 and self.zero else None
        if self.low == self.high:
            return room + (1 - room) / 2
        share = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return room + (1 - room) * share

    def ticks(self, most: int) -> tuple[Tick, ...]:
        """Return powers of ten, every one or every k-th; within two decades 2 and 5 as well."""
        zero = (Tick(0.0, "0"),) if self.zero else ()
        if self.low == self.high:
            return (*zero, Tick(self.low, short_number(self.low)))
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        if last - first + 1 >= 3:
            step = next(s for s in (1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500) if (last - first) / s < most)
            start = math.ceil(first / step) * step
            return (*zero, *(Tick(10.0**e, power_of_ten(e)) for e in range(start, last + 1, step)))
        values = [m * 10.0**e for e in range(first - 1, last + 1) for m in (1, 2, 5)]
        inside = [v for v in values if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9)]
        if len(inside) < 2:
            inside = [self.low, self.high]
        return (*zero, *(Tick(v, short_number(float(f"{v:.6g}"))) for v in inside))


@dataclass(frozen=True, slots=True)
class EvenScale:
    """The values themselves, evenly spaced: for those that crowd around a limit."""

    values: tuple[float, ...]
    kind: str = "evenly spaced"

    def place(self, value: float) -> float | None:
        """Return where a value lies; None for one that is not on the scale."""
        if value not in self.values:
            return None
        return 0.5 if len(self.values) == 1 else self.values.index(value) / (len(self.values) - 1)

    def ticks(self, most: int) -> tuple[Tick, ...]:
        """Return the values, thinned evenly from the first when there are too many."""
        step = max(1, math.ceil(len(self.values) / most))
        return tuple(Tick(v, short_number(v)) for v in self.values[::step])


@dataclass(frozen=True, slots=True)
class Reversed:
    """Another scale from right to left: for powers of a unit below one, so that values grow to the right."""

    scale: Scale

    @property
    def kind(self) -> str:
        """The kind of the scale within."""
        return self.scale.kind

    def place(self, value: float) -> float | None:
        """Return where a value lies."""
        place = self.scale.place(value)
        return None if place is None else 1 - place

    def ticks(self, most: int) -> tuple[Tick, ...]:
        """Return the ticks of the scale within."""
        return self.scale.ticks(most)


def choose_scale(values: Sequence[float], *, few: int = 14) -> Scale:
    """Return the scale that shows these values best.

    Logarithmic when all are positive (zero set apart) and they span a factor of 30 or more; linear
    otherwise; evenly spaced when up to `few` values would lie on top of each other on either.

    Raises
    ------
    ValueError
        No value.
    """
    distinct = sorted(set(values))
    if not distinct:
        raise ValueError("a scale needs a value")
    positive = [v for v in distinct if v > 0]
    scale: Scale = LinearScale(distinct[0], distinct[-1])
    if distinct[0] >= 0 and len(positive) > 1 and positive[-1] / positive[0] >= 30:
        scale = LogScale(positive[0], positive[-1], zero=distinct[0] == 0)
    if 2 < len(distinct) <= few and _nearest(scale, distinct) < _CLOSE:
        return EvenScale(tuple(distinct))
    return scale


def decades(low: float, high: float) -> LogScale:
    """Return a logarithmic scale from a power of ten to a power of ten that holds both numbers.

    Raises
    ------
    ValueError
        A number that is not positive.
    """
    if not 0 < low <= high:
        raise ValueError(f"no decades hold {low} to {high}")
    first = math.floor(math.log10(low) + 1e-9)
    last = max(first + 1, math.ceil(math.log10(high) - 1e-9))
    return LogScale(10.0**first, 10.0**last)


def _nearest(scale: Scale, values: Sequence[float]) -> float:
    places = [p for p in map(scale.place, values) if p is not None]
    return min((b - a for a, b in pairwise(places)), default=1.0)
