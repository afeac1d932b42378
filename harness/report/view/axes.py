"""Axes of a case as figures and tables name them: numbers, what they count, and where they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.report.view.rows import AXIS_PREFIX, Row, axes_of
from harness.report.view.scales import Reversed, Scale, choose_scale, short_number
from harness.report.view.text import finite

_UNIT_SYMBOLS: Final[Mapping[str, str]] = {
    "max": "Ω", "min_normal": "smallest normal", "min_subnormal": "ω", "unit_roundoff": "u",
    "ln_max": "ln Ω", "ln_min_subnormal": "ln ω", "sqrt_max": "√Ω", "sqrt_min_subnormal": "√ω",
}  # fmt: skip

_BELOW_ONE: Final = ("unit_roundoff", "min_normal", "min_subnormal", "sqrt_min_subnormal")
"""Units whose powers fall as the exponent grows."""


@dataclass(frozen=True, slots=True)
class AxisUnit:
    """What the numbers of an axis count: times or powers of a unit; both None for plain numbers."""

    unit: str | None = None
    kind: str | None = None

    @property
    def symbol(self) -> str:
        """The unit as mathematics writes it."""
        return _UNIT_SYMBOLS.get(self.unit or "", self.unit or "")

    def title(self, axis: str) -> str:
        """Return an axis' name with what its numbers count: `top (× ln Ω)`, `kappa (power of u)`."""
        if self.unit is None:
            return axis
        return f"{axis} (power of {self.symbol})" if self.kind == "powers" else f"{axis} (× {self.symbol})"

    def say(self, value: float) -> str:
        """Return a value with its unit: `0.99 × ln Ω`, `u^-0.5`, `1024`."""
        number = short_number(value)
        if self.unit is None:
            return number
        return f"{self.symbol}^{number}" if self.kind == "powers" else f"{number} × {self.symbol}"


@dataclass(frozen=True, slots=True)
class Along:
    """What a figure is drawn along: a column of the results, its values in order, its scale."""

    column: str
    title: str
    unit: AxisUnit
    values: tuple[float, ...]
    scale: Scale

    @classmethod
    def axis(cls, name: str, unit: AxisUnit, values: tuple[float, ...]) -> Along:
        """Return an axis of the case; where values are powers of a unit below one, they grow to the right."""
        scale = choose_scale(values)
        if unit.kind == "powers" and unit.unit in _BELOW_ONE:
            scale = Reversed(scale)
        return cls(AXIS_PREFIX + name, unit.title(name), unit, values, scale)

    def say(self, value: float) -> str:
        """Return a value as a sentence names it."""
        return self.unit.say(value)


def numeric_axes(rows: Sequence[Row], zipped: Sequence[Sequence[str]] = ()) -> dict[str, tuple[float, ...]]:
    """Return the axes along which these rows differ in a number, with its values in order.

    Of axes that move together (`zipped`) the first whose values all differ stands for the others.
    """
    values: dict[str, set[float]] = {}
    texts: set[str] = set()
    for row in rows:
        for name, value in axes_of(row).items():
            number = None if isinstance(value, str) else finite(value)
            if number is None:
                texts.add(name)
            else:
                values.setdefault(name, set()).add(number)
    found = {n: tuple(sorted(v)) for n, v in values.items() if n not in texts and len(v) > 1}
    for together in zipped:
        among = [name for name in together if name in found]
        kept = max(among, key=lambda n: len(found[n]), default="")
        for name in among:
            if name != kept:
                del found[name]
    return found
