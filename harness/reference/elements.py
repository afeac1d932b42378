"""Reference values: what an exact result is known to be, element by element.

An element is a class (finite, an infinity, undefined, zero, undecided) and, where finite, an
enclosure ``y = (hi + lo) · 2**exponent ± 2**radius_log2``. The integer exponent holds exp(1000) and
values far below the smallest subnormal; ``hi + lo`` carries at least 106 bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.formats import FORMATS, round_array, round_pair

if TYPE_CHECKING:
    from flint import arb

    from harness.formats import NumberFormat

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class ElementClass(IntEnum):
    """What an exact element is. The values are part of the cache's format."""

    FINITE = 0
    POS_INF = 1
    NEG_INF = 2
    NAN = 3
    """Undefined: no extended real is the result."""
    ZERO = 4
    """Exactly zero, proved by structure or by exact arithmetic."""
    UNDECIDED = 5
    """The radius did not hold at the highest precision."""


FINITE, POS_INF, NEG_INF, NAN, ZERO, UNDECIDED = ElementClass

_FAR = 300
"""Binary orders between two numbers beyond which their difference is the larger, to 2**-_FAR."""
_LONGEST = 1000
"""Bits of an integer that are kept before it is split: its float64 must not overflow."""


@dataclass(frozen=True, eq=False)
class ReferenceArray:
    """Exact elements of one output. All fields have the shape of the output.

    A FINITE element with ``hi == 0`` is one of which only the magnitude is known, ``|y| ≤
    2**radius_log2``; it arises only where an operation declares a scale.
    """

    kind: NDArray[np.uint8]
    """`ElementClass` of each element."""
    hi: Floats
    """In ±[1, 2) for finite elements, else ±0."""
    lo: Floats
    """At most half a unit in the last place of `hi`."""
    exponent: Integers
    radius_log2: Floats
    """log2 of an upper bound on |y − (hi + lo)·2**exponent|; −inf where that is y."""

    def __post_init__(self) -> None:
        for name, dtype in _FIELDS.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != self.kind.shape:
                raise ValueError(
                    f"{name} is {array.dtype}{list(array.shape)}, must be {dtype}{list(self.kind.shape)}"
                )

    # ---- making ------------------------------------------------------------------------------------

    @classmethod
    def from_float64(cls, values: Any) -> ReferenceArray:
        """Return the elements that the float64 `values` (any shape) are exactly; −0 keeps its sign."""
        values = np.asarray(values, dtype=np.float64)
        kind = np.full(values.shape, FINITE, np.uint8)
        kind[values == 0] = ZERO
        kind[values == np.inf] = POS_INF
        kind[values == -np.inf] = NEG_INF
        kind[np.isnan(values)] = NAN
        finite = kind == FINITE
        mantissa, exponent = np.frexp(np.where(finite, values, 0.0))
        hi = np.where(finite, 2 * mantissa, np.where(kind == ZERO, values, 0.0))
        exponents = np.where(finite, exponent.astype(np.int64) - 1, 0)
        return cls(kind, hi, np.zeros(values.shape), exponents, np.full(values.shape, -np.inf))

    @classmethod
    def from_kinds(cls, kinds: Any) -> ReferenceArray:
        """Return elements given by their classes alone, none of them FINITE."""
        kind = np.asarray(kinds, dtype=np.uint8)
        if np.any(kind == FINITE):
            raise ValueError("a FINITE element needs a value: use from_float64, from_balls or from_fractions")
        zeros = np.zeros(kind.shape)
        return cls(kind, zeros, zeros.copy(), np.zeros(kind.shape, np.int64), np.full(kind.shape, -np.inf))

    @classmethod
    def from_balls(
        cls, balls: Sequence[arb | None], shape: tuple[int, ...], kinds: Any = None
    ) -> ReferenceArray:
        """Return the elements that `balls` enclose.

        Parameters
        ----------
        balls : sequence of arb
            One for each element in C order. Not looked at (may be None) where `kinds` says other than
            FINITE. A ball that is not finite becomes UNDECIDED, an exact zero becomes ZERO.
        shape : of the result.
        kinds : array of ElementClass of that shape, optional
            Decided beforehand by the operation's own rules. Left out: all FINITE.
        """
        kind = np.full(math.prod(shape), FINITE, np.uint8)
        if kinds is not None:
            kind[:] = np.asarray(kinds, dtype=np.uint8).reshape(-1)
        if len(balls) != kind.size:
            raise ValueError(f"{len(balls)} balls for {kind.size} elements of shape {shape}")
        places = np.flatnonzero(kind == FINITE)
        chosen: Any = balls if places.size == len(balls) else [balls[i] for i in places.tolist()]
        found = _from_finite_balls(chosen)
        parts = [kind]
        kind[places] = found.kind
        for name in ("hi", "lo", "exponent", "radius_log2"):
            values = getattr(found, name)
            fill = -np.inf if name == "radius_log2" else 0
            whole = np.full(kind.size, fill, values.dtype)
            whole[places] = values
            parts.append(whole)
        return cls(*(part.reshape(shape) for part in parts))

    @classmethod
    def from_fractions(cls, values: Sequence[Fraction | int], shape: tuple[int, ...]) -> ReferenceArray:
        """Return rational `values` (C order); the radius is what splitting them into hi + lo cost."""
        if len(values) != math.prod(shape):
            raise ValueError(f"{len(values)} fractions for {math.prod(shape)} elements of shape {shape}")
        rows = []
        for value in values:
            numerator, denominator = value.numerator, value.denominator
            shift = 0
            if denominator & (denominator - 1):
                shift = max(0, 240 - numerator.bit_length() + denominator.bit_length())
                quotient, error = (numerator << shift) // denominator, 1
            else:
                shift, quotient, error = denominator.bit_length() - 1, numerator, 0
            rows.append(_split(quotient, -shift, error, -shift))
        return _from_rows(rows).reshape(shape)

    # ---- shape -------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return self.kind.shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self.kind.size)

    def reshape(self, shape: tuple[int, ...]) -> ReferenceArray:
        """Return the same elements, in C order, in another shape."""
        return self._map(lambda a: a.reshape(shape))

    def __getitem__(self, index: Any) -> ReferenceArray:
        """Return the elements that a NumPy `index` selects."""
        return self._map(lambda a: np.asarray(a[index]))

    def _map(self, change: Any) -> ReferenceArray:
        return ReferenceArray(*(change(getattr(self, name)) for name in _FIELDS))

    # ---- what the exact elements are ---------------------------------------------------------------

    @property
    def undecided(self) -> int:
        """Number of elements that could not be certified."""
        return int(np.count_nonzero(self.kind == UNDECIDED))

    def log2_abs(self) -> Floats:
        """Return log2|y|: −inf for zero, +inf for infinities, NaN where undefined or undecided."""
        with np.errstate(divide="ignore"):
            value = np.log2(np.abs(self.hi + self.lo)) + self.exponent
        return self._by_class(value, infinite=np.inf, zero=-np.inf)

    def magnitude_exponent(self) -> Integers:
        """Return ⌊log2|y|⌋ where y is finite and not zero, elsewhere the lowest int64 / 4."""
        below = (np.abs(self.hi) == 1.0) & (np.sign(self.lo) == -np.sign(self.hi)) & (self.lo != 0)
        value = self.exponent - below.astype(np.int64)
        return np.where((self.kind == FINITE) & (self.hi != 0), value, np.iinfo(np.int64).min // 4)

    def ulp_exponent(self, fmt: NumberFormat) -> Integers:
        """Return e of the unit in the last place 2**e of each exact element in `fmt`.

        max(⌊log2|y|⌋, exponent_min) − p + 1; zeros and what is not finite take the smallest.
        """
        return np.maximum(self.magnitude_exponent(), fmt.exponent_min) - fmt.precision + 1

    def radius_ulp(self, fmt: NumberFormat) -> Floats:
        """Return the radius in units in the last place of `fmt`; 0 where the element is exact."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp2(self.radius_log2 - self.ulp_exponent(fmt)))

    def to_float64(self) -> Floats:
        """Return the elements rounded once to float64; NaN where undefined or undecided."""
        ordinary = (self.kind != FINITE) | ((self.exponent >= -1022) & (self.exponent <= 1023))
        if np.all(ordinary):  # |lo| ≤ ulp(hi)/2: hi is the rounded sum
            with np.errstate(over="ignore"):
                return self._by_class(np.ldexp(self.hi, self.exponent), infinite=np.inf, zero=0.0, signed=True)
        return self.round_to(FORMATS["float64"])

    def round_to(self, fmt: NumberFormat) -> Floats:
        """Return the elements correctly rounded to `fmt`, as float64; NaN where undefined or undecided.

        Overflow and infinities become what the format has for them.
        """
        rounded = np.asarray(round_pair(fmt, self.hi, self.lo, self.exponent))
        special = self._by_class(np.zeros(self.shape), infinite=np.inf, zero=0.0, signed=True)
        special = np.asarray(round_array(fmt, special))
        return np.where(self.kind == FINITE, rounded, special)

    def _by_class(self, finite: Floats, *, infinite: float, zero: float, signed: bool = False) -> Floats:
        value = np.where(self.kind == FINITE, finite, np.nan)
        value[...] = np.where(self.kind == POS_INF, infinite, value)
        value[...] = np.where(self.kind == NEG_INF, -infinite if signed else infinite, value)
        zeros = np.copysign(zero, self.hi) if signed else np.full(self.shape, zero)
        return np.where(self.kind == ZERO, zeros, value)

    # ---- distance from what was computed -----------------------------------------------------------

    def comparable(self, computed: Floats) -> NDArray[np.bool_]:
        """Return where ŷ − y is a number: `computed` is finite, and y is finite or zero."""
        return np.isfinite(computed) & ((self.kind == FINITE) | (self.kind == ZERO))

    def difference(self, computed: Floats) -> tuple[Floats, Integers]:
        """Return (d, e) with ŷ − y = d · 2**e to a relative 2**-51, beside the radius of y.

        `computed` is float64 of the shape of the reference. d is 0 exactly where ŷ equals all of
        hi + lo, and NaN where the two are not `comparable`.
        """
        computed = np.asarray(computed, dtype=np.float64)
        if computed.shape != self.shape:
            raise ValueError(f"computed has shape {computed.shape}, the reference {self.shape}")
        valid = self.comparable(computed)
        mantissa, own = np.frexp(np.where(valid, computed, 0.0))
        own = own.astype(np.int64)
        shift = own - self.exponent
        above = (shift > _FAR) | (self.hi == 0)
        below = (shift < -_FAR) | (mantissa == 0)
        near = np.ldexp(mantissa, np.clip(shift, -_FAR, _FAR))
        total = near - self.hi  # TwoSum (Knuth): total + lost is near − hi exactly
        virtual = total - near
        lost = (near - (total - virtual)) - (self.hi + virtual)
        d = total + (lost - self.lo)
        d = np.where(below, -(self.hi + self.lo), d)
        d = np.where(above, mantissa, d)
        e = np.where(above & valid, own, self.exponent)
        return np.where(valid, d, np.nan), e

    def error_log2(self, computed: Floats) -> Floats:
        """Return log2|ŷ − y|: −inf where equal, NaN where no number (see below).

        The same infinity, or undefined and NaN, count as equal; a finite number against an infinity
        is +inf; NaN against anything else, and anything against an undecided element, is NaN.
        """
        d, e = self.difference(computed)
        with np.errstate(divide="ignore"):
            value = np.log2(np.abs(d)) + e
        return self._with_specials(np.asarray(computed, np.float64), np.asarray(value), equal=-np.inf)

    def difference_ulp(self, computed: Floats, fmt: NumberFormat) -> Floats:
        """Return the signed (ŷ − y) / ulp(y) in `fmt`; ±inf beyond float64's range.

        0 and +inf for pairs that are not both finite, by the rules of `error_log2`.
        """
        d, e = self.difference(computed)
        with np.errstate(over="ignore", under="ignore"):
            value = np.ldexp(d, np.clip(e - self.ulp_exponent(fmt), -10_000, 10_000))
        return self._with_specials(np.asarray(computed, np.float64), np.asarray(value), equal=0.0)

    def error_ulp_log2(self, computed: Floats, fmt: NumberFormat) -> Floats:
        """Return log2(|ŷ − y| / ulp(y)) in `fmt`, for errors beyond the range of `difference_ulp`."""
        return self.error_log2(computed) - self.ulp_exponent(fmt)

    def _with_specials(self, computed: Floats, value: Floats, *, equal: float) -> Floats:
        infinite = (self.kind == POS_INF) | (self.kind == NEG_INF)
        same = (
            ((self.kind == POS_INF) & (computed == np.inf))
            | ((self.kind == NEG_INF) & (computed == -np.inf))
            | ((self.kind == NAN) & np.isnan(computed))
        )
        finite = (self.kind == FINITE) | (self.kind == ZERO)
        apart = (infinite | (finite & np.isinf(computed))) & ~np.isnan(computed) & ~same
        return np.where(same, equal, np.where(apart, np.inf, value))


@dataclass(frozen=True)
class Reference:
    """What a referee knows of a problem: exact outputs, and the quantities that bounds need."""

    outputs: Mapping[str, ReferenceArray]
    quantities: Mapping[str, Floats | float] = field(default_factory=dict)
    """Exact ones rounded to float64: norms, ranges, condition numbers."""
    coverage: float = 1.0
    """Share of the elements that were certified (below 1: a sample)."""

    @property
    def undecided(self) -> int:
        """Number of elements, over all outputs, that could not be certified."""
        return sum(output.undecided for output in self.outputs.values())


_FIELDS = {
    "kind": np.dtype(np.uint8),
    "hi": np.dtype(np.float64),
    "lo": np.dtype(np.float64),
    "exponent": np.dtype(np.int64),
    "radius_log2": np.dtype(np.float64),
}

_Row = tuple[int, float, float, int, float]


def _from_rows(rows: Sequence[_Row]) -> ReferenceArray:
    columns = list(zip(*rows, strict=True)) or [()] * len(_FIELDS)
    return ReferenceArray(*(np.array(c, d) for c, d in zip(columns, _FIELDS.values(), strict=True)))


def _log2_up(value: int) -> float:
    """Return a float at or above log2 of a positive integer, tight to 2**-40."""
    shift = max(0, value.bit_length() - 60)
    return math.log2((value >> shift) + (1 if shift else 0)) + shift + 2.0**-40


def _split(mantissa: int, exponent: int, radius: int, radius_exponent: int) -> _Row:
    """Return (kind, hi, lo, exponent, radius_log2) of mantissa·2**exponent ± radius·2**radius_exponent."""
    radii = [_log2_up(radius) + radius_exponent] if radius else []
    excess = mantissa.bit_length() - _LONGEST
    if excess > 0:
        mantissa >>= excess
        exponent += excess
        radii.append(float(exponent))
    if mantissa == 0:
        return (FINITE, 0.0, 0.0, 0, radii[0]) if radii else (ZERO, 0.0, 0.0, 0, -math.inf)
    hi = float(mantissa)
    rest = mantissa - int(hi)
    lo = float(rest)
    lost = abs(rest - int(lo))
    if lost:
        radii.append(_log2_up(lost) + exponent)
    scale = math.frexp(hi)[1] - 1
    largest = max(radii, default=-math.inf)
    total = largest + math.log2(len(radii)) if radii else largest
    return (FINITE, math.ldexp(hi, -scale), math.ldexp(lo, -scale), exponent + scale, total)


def _from_finite_balls(balls: Sequence[arb]) -> ReferenceArray:
    """Return balls by vector arithmetic where float64 holds them, else by integers."""
    hi = np.fromiter(map(float, balls), np.float64, len(balls))
    rest = [ball - near for ball, near in zip(balls, hi.tolist(), strict=True)]
    lo = np.fromiter(map(float, rest), np.float64, len(rest))
    radius = np.fromiter((float(r.rad()) for r in rest), np.float64, len(rest))
    mantissa, exponent = np.frexp(hi)
    scale = exponent.astype(np.int64) - 1
    scaled = np.ldexp(lo, -scale)
    ordinary = np.isfinite(hi) & (np.abs(scale) < 900) & (hi != 0) & (radius > 2.0**-1000)
    ordinary &= (lo == 0) | (np.abs(scaled) > 2.0**-900)
    # lo is its ball's midpoint rounded: half an ulp of it, and room for these two operations
    with np.errstate(invalid="ignore"):
        total = (radius + np.abs(lo) * 2.0**-52) * (1 + 2.0**-50)
    with np.errstate(divide="ignore", invalid="ignore"):
        radius_log2 = np.log2(total) + 2.0**-40
    found = ReferenceArray(np.full(hi.shape, FINITE, np.uint8), 2 * mantissa, scaled, scale, radius_log2)
    for i in np.flatnonzero(~ordinary).tolist():
        row = _row_of_ball(balls[i])
        for name, value in zip(_FIELDS, row, strict=True):
            getattr(found, name)[i] = value
    return found


def _row_of_ball(ball: arb) -> _Row:
    if not ball.is_finite():
        return (UNDECIDED, 0.0, 0.0, 0, math.inf)
    mantissa, exponent = ball.mid().man_exp()
    radius, radius_exponent = ball.rad().man_exp()
    return _split(int(mantissa), int(exponent), int(radius), int(radius_exponent))
