"""Reference values: what an exact result is known to be, element by element.

An element is a class (finite, an infinity, undefined, zero, undecided) and, where finite, an
enclosure ``y = (hi + lo) · 2**exponent ± 2**radius_log2``. The integer exponent holds exp(1000) and
values far below the smallest subnormal; ``hi + lo`` carries at least 106 bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from harness.formats import FORMATS, round_array, round_pair
from harness.reference.splitting import (
    FIELDS,
    ElementClass,
    balls_to_columns,
    fractions_to_columns,
    round_up,
)

if TYPE_CHECKING:
    from flint import arb

    from harness.formats import NumberFormat

__all__ = [
    "FINITE",
    "NAN",
    "NEG_INF",
    "POS_INF",
    "UNDECIDED",
    "ZERO",
    "ElementClass",
    "Reference",
    "ReferenceArray",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FINITE, POS_INF, NEG_INF, NAN, ZERO, UNDECIDED = ElementClass

_FAR = 300
"""Binary orders between two numbers beyond which their difference is the larger, to 2**-_FAR."""


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
        for name, dtype in FIELDS.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != self.kind.shape:
                raise ValueError(
                    f"{name} is {array.dtype}{list(array.shape)}, must be {dtype}{list(self.kind.shape)}"
                )

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
        if places.size == len(balls):
            return cls(*balls_to_columns(cast("Sequence[arb]", balls))).reshape(shape)
        whole = cls.from_kinds(np.where(kind == FINITE, UNDECIDED, kind))
        whole.assign(places, cls(*balls_to_columns([cast("arb", balls[i]) for i in places.tolist()])))
        return whole.reshape(shape)

    @classmethod
    def from_fractions(cls, values: Sequence[Fraction | int], shape: tuple[int, ...]) -> ReferenceArray:
        """Return rational `values` (C order); the radius is what splitting them into hi + lo cost."""
        if len(values) != math.prod(shape):
            raise ValueError(f"{len(values)} fractions for {math.prod(shape)} elements of shape {shape}")
        return cls(*fractions_to_columns(values)).reshape(shape)

    @classmethod
    def from_pairs(cls, hi: Floats, lo: Floats, exponent: Integers, radius_log2: Floats) -> ReferenceArray:
        """Return the elements (hi + lo)·2**exponent ± 2**radius_log2, normalised; hi is nowhere 0.

        |lo| ≤ ulp(hi)/2, both normal numbers (or lo 0). All are of one shape.
        """
        mantissa, shift = np.frexp(hi)
        places = np.asarray(exponent + shift - 1, np.int64)
        kind = np.full(mantissa.shape, FINITE, np.uint8)
        return cls(kind, 2 * mantissa, np.ldexp(lo, 1 - shift), places, round_up(radius_log2))

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

    def assign(self, places: Any, elements: ReferenceArray) -> None:
        """Write `elements` to the places of this array that a NumPy index selects, while it is made."""
        for name in FIELDS:
            getattr(self, name)[places] = getattr(elements, name)

    def _map(self, change: Any) -> ReferenceArray:
        return ReferenceArray(*(change(getattr(self, name)) for name in FIELDS))

    @property
    def undecided(self) -> int:
        """Number of elements that could not be certified."""
        return int(np.count_nonzero(self.kind == UNDECIDED))

    def log2_abs(self) -> Floats:
        """Return log2|y|: −inf for zero, +inf for infinities, NaN where undefined or undecided."""
        with np.errstate(divide="ignore"):
            value = np.asarray(np.log2(np.abs(self.hi + self.lo)) + self.exponent, np.float64)
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
        return self.round_to(FORMATS["float64"])

    def round_to(self, fmt: NumberFormat) -> Floats:
        """Return the elements correctly rounded to `fmt`, as float64; NaN where undefined or undecided.

        Overflow and infinities become what the format has for them.
        """
        rounded = np.asarray(round_pair(fmt, self.hi, self.lo, self.exponent))
        if fmt.precision == FORMATS["float64"].precision:  # hi was rounded from all that was known of y: lo
            normal = (self.exponent >= fmt.exponent_min) & (self.exponent <= 1023)  # may have become a tie
            own = np.ldexp(self.hi, np.clip(self.exponent, -1022, 1023).astype(np.int64))
            rounded = np.where(normal, own, rounded)
        special = self._by_class(np.zeros(self.shape), infinite=np.inf, zero=0.0, signed=True)
        special = np.asarray(round_array(fmt, special))
        return np.where(self.kind == FINITE, rounded, special)

    def _by_class(self, finite: Floats, *, infinite: float, zero: float, signed: bool = False) -> Floats:
        value = np.where(self.kind == FINITE, finite, np.nan)
        value[...] = np.where(self.kind == POS_INF, infinite, value)
        value[...] = np.where(self.kind == NEG_INF, -infinite if signed else infinite, value)
        zeros = np.copysign(zero, self.hi) if signed else np.full(self.shape, zero)
        return np.where(self.kind == ZERO, zeros, value)

    def comparable(self, computed: Floats) -> NDArray[np.bool_]:
        """Return where ŷ − y is a number: `computed` is finite, and y is finite or zero."""
        return np.asarray(np.isfinite(computed) & ((self.kind == FINITE) | (self.kind == ZERO)), np.bool_)

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
        below = (shift < -_FAR) | (mantissa == 0)
        above = ((shift > _FAR) | (self.hi == 0)) & (mantissa != 0)
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
