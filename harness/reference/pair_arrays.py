"""Arrays of pairs hi + lo, each with a bound on its error, and the operations that attention needs.

With u = 2⁻⁵³: every sum and product of float64 is rounded by at most u of itself, and a product that
underflows is off by at most 2⁻¹⁰⁷⁴ more. What an operation loses is bounded by its derivation and added
to the radius. Radii are float64 themselves: those formulas take few operations, each rounded by u, so
that `_UP` covers them, and `_TINY` covers all that underflows. A value that overflows leaves an infinity
or NaN in hi, lo or the radius, which no later operation takes away: it means "not known".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.reference import double_double
from harness.reference.double_double import two_product, two_sum
from harness.reference.elements import FINITE, UNDECIDED, ZERO, ReferenceArray
from harness.reference.exact_matmul import exact_matmul

Floats = NDArray[np.float64]

PRODUCT_LOG2: Final = -100
"""log2 of what a product of exact matrices may lose, beside its sum of magnitudes."""
LAST_PRODUCT_LOG2: Final = -66
"""The same for a product that is a result: an eighth of 2⁻⁶³, which is 2⁻¹⁰·u of float64."""

_UNIT: Final = 2.0**-53
_UP: Final = 1 + 2.0**-40
_TINY: Final = 2.0**-1060
_LOWEST: Final = -900
"""Binary order below which an element of a product is held as a radius alone."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Numbers within `radius` of hi + lo; all three of one shape, |lo| ≤ u·|hi|."""

    hi: Floats
    lo: Floats
    radius: Floats

    @classmethod
    def of_reference(cls, elements: ReferenceArray) -> Pairs:
        """Return reference elements at one scale; what is beyond 2¹⁰²³, or no number, is not known."""
        exponent = elements.exponent
        low = exponent < _LOWEST
        power = double_double.power_of_two(np.clip(exponent, _LOWEST, 1023))
        with np.errstate(over="ignore"):
            radius = np.exp2(elements.radius_log2)
        radius[np.isfinite(elements.radius_log2)] *= _UP
        radius += np.where(low, 2.0 ** (_LOWEST + 1), 0.0)
        known = ((elements.kind == FINITE) | (elements.kind == ZERO)) & (exponent <= 1023)
        power[low] = 0.0
        power[~known] = np.nan
        lo = elements.lo * power
        radius += np.where((np.abs(lo) < 2.0**-960) & (elements.lo != 0), _TINY, 0.0)
        return cls(elements.hi * power, lo, radius)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.hi.shape

    def __getitem__(self, index: Any) -> Pairs:
        """Return the numbers that a NumPy `index` selects."""
        return Pairs(self.hi[index], self.lo[index], self.radius[index])

    def put(self, where: Any, numbers: Pairs) -> None:
        """Write `numbers` to the places that a NumPy index selects, while a sum is made."""
        self.hi[where], self.lo[where], self.radius[where] = numbers.hi, numbers.lo, numbers.radius

    def along(self, places: NDArray[np.intp], axis: int) -> Pairs:
        """Return what `places` (of the same number of dimensions) select along one axis."""
        return Pairs(*(np.take_along_axis(a, places, axis) for a in (self.hi, self.lo, self.radius)))

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return the numbers that are `chosen`, and exact zeros elsewhere."""
        return Pairs(*(np.where(chosen, a, 0.0) for a in (self.hi, self.lo, self.radius)))

    def swapped(self) -> Pairs:
        """Return the matrices of a stack transposed."""
        return Pairs(*(np.swapaxes(a, -1, -2) for a in (self.hi, self.lo, self.radius)))

    def times_power(self, exponent: int) -> Pairs:
        """Return the numbers times 2**exponent, for |exponent| below 1000."""
        power = 2.0**exponent
        missed = 3 * _TINY if exponent < 0 else 0.0
        exact = (self.hi == 0) & (self.radius == 0)
        radius = np.where(exact, 0.0, self.radius * power + missed)
        return Pairs(self.hi * power, self.lo * power, radius)

    def magnitude_down(self) -> Floats:
        """Return lower bounds on the magnitudes; 0 where not known."""
        lower = np.abs(self.hi) * (1 - 2.0**-50) - self.radius * _UP
        return np.where(lower > 0, lower, 0.0)


def add(a: Pairs, b: Pairs) -> Pairs:
    """Return a + b.

    The two hi are added exactly. The two lo, and what was lost, take two sums of floats, each rounded by
    u of what it gives: nothing at all where that is 0.
    """
    total, lost = two_sum(a.hi, b.hi)
    lows = a.lo + b.lo
    low = lost + lows
    hi, lo = two_sum(total, low)
    return Pairs(hi, lo, (a.radius + b.radius + _UNIT * (np.abs(lows) + np.abs(low))) * _UP)


def subtract(a: Pairs, b: Pairs) -> Pairs:
    """Return a − b; see `add`."""
    return add(a, Pairs(-b.hi, -b.lo, b.radius))


def multiply(a: Pairs, b: Pairs) -> Pairs:
    """Return the products of the elements.

    hi·hi is a TwoProduct. hi·lo and lo·hi are at most u each of it, rounded by u², and so (2u)·u in their
    sum, and (3u)·u where that joins what the TwoProduct left; lo·lo is left out, u². Together 8u² =
    2⁻¹⁰³ and a little of third order, 2⁻¹⁰² at most. A factor that is exactly 0 gives exactly 0.
    """
    product, lost = two_product(a.hi, b.hi)
    hi, lo = double_double.fast_two_sum(product, lost + (a.hi * b.lo + a.lo * b.hi))
    size_a, size_b = np.abs(a.hi) * _UP, np.abs(b.hi) * _UP
    radius = a.radius * (size_b + b.radius) + size_a * (b.radius + 2.0**-102 * size_b)
    zero = ((a.hi == 0) & (a.radius == 0)) | ((b.hi == 0) & (b.radius == 0))
    return Pairs(hi, lo, np.where(zero, radius, radius * _UP + _TINY))


def row_sums(a: Pairs) -> Pairs:
    """Return the sums along the last axis, which is kept with length 1.

    The hi are added by TwoSums in a binary tree, so exactly, and what they lose joins the lo. With l
    levels and M = Σ|hi|, what is lost is at most u·M a level, so that the lower parts of a level stay
    below (l + 1)·u·M in total; two additions of them a level round by u each: l(l + 1)·2u²·M in all.
    """
    n = a.shape[-1]
    high, low, levels = a.hi, a.lo, 0
    while high.shape[-1] > 1:
        if high.shape[-1] % 2:
            nothing = np.zeros((*high.shape[:-1], 1))
            high, low = np.concatenate([high, nothing], axis=-1), np.concatenate([low, nothing], axis=-1)
        middle = high.shape[-1] // 2
        high, lost = two_sum(high[..., :middle], high[..., middle:])
        low = (low[..., :middle] + low[..., middle:]) + lost
        levels += 1
    slack = _UP * (1 + n * 2.0**-52)
    magnitude = np.sum(np.abs(a.hi), axis=-1, keepdims=True) * (levels * (levels + 1) * 2.0**-105)
    radius = np.sum(a.radius, axis=-1, keepdims=True)
    high, low = two_sum(high, low)
    return Pairs(high, low, (magnitude + radius) * slack)


def reciprocal(a: Pairs) -> Pairs:
    """Return 1/a for a between 2⁻⁹⁰⁰ and 2⁹⁰⁰ in size.

    With r = fl(1/hi), hi·r = 1 + θ, |θ| ≤ u, and e = 1 − (hi + lo)·r is at most 2u: 1 minus fl(hi·r) is
    exact (Sterbenz), taking off what that product lost and lo·r rounds by 2u·u, u·u and u·u at most. So e
    is known to 4u², 1/(hi + lo) = r·(1 + e + e²/(1 − e)), and r·e rounds by 2u·u of r: (4 + 4 + 2)u² and
    a little of third order, 2⁻¹⁰² at most; nothing where hi·r is exactly 1. The radius ρ of a gives
    ρ/(|a|·(|a| − ρ)).
    """
    first = 1 / a.hi
    product, lost = two_product(a.hi, first)
    rest = ((1 - product) - lost) - a.lo * first
    hi, lo = double_double.fast_two_sum(first, first * rest)
    size = np.abs(a.hi) * (1 - 2.0**-50)
    away = size - a.radius
    relative = np.where(away > 0, a.radius / np.where(away > 0, away, 1.0), np.inf)
    rounded = np.where((product == 1) & (lost == 0) & (a.lo == 0), 0.0, 2.0**-102)
    return Pairs(hi, lo, (relative * _UP + rounded) * np.abs(hi) * _UP)


def matmul(a: Pairs, b: Floats, *, radius_log2: int = LAST_PRODUCT_LOG2) -> Pairs:
    """Return a @ b of stacks (c, m, k) and (c, k, n); b is exact.

    hi·b is certified to `radius_log2` beside Σ|hi·b|. lo·b is a product of floats: summed in any order it
    is off by at most k·u·Σ|lo·b| ≤ k·u²·Σ|hi·b| (Jeannerod and Rump 2013, theorem 3.1). Adding the two
    rounds as `add` does. The radii multiply |b|, in a product rounded up.
    """
    k = b.shape[-2]
    main = exact(a.hi, b, radius_log2=radius_log2)
    sizes = np.abs(b)
    up = _UP * (1 + (k + 4) * 2.0**-52)
    lower = a.lo @ b
    of_lower = k * _UNIT * (np.abs(a.lo) @ sizes) * up + np.where(a.lo.any(), k * _TINY, 0.0)
    spread = (a.radius @ sizes) * up
    unknown = a.radius.any(axis=-1, keepdims=True) & b.any(axis=-2, keepdims=True)
    spread += np.where(unknown, k * _TINY, 0.0)
    return add(main, Pairs(lower, np.zeros(lower.shape), of_lower + spread))


def exact(a: Floats, b: Floats, *, radius_log2: int = PRODUCT_LOG2) -> Pairs:
    """Return a @ b of exact matrices, within 2**radius_log2 of the sums of magnitudes."""
    return Pairs.of_reference(exact_matmul(a, b, radius_log2=radius_log2).values)


def to_reference(a: Pairs, exponent: int, zero: NDArray[np.bool_]) -> ReferenceArray:
    """Return a·2**exponent as reference elements: exactly 0 where `zero` says, UNDECIDED if not known.

    Of a ball around 0 only the magnitude is kept.
    """
    known = np.isfinite(a.hi) & np.isfinite(a.lo) & np.isfinite(a.radius) & ~zero
    hi, lo, radius = (np.where(known, part, 0.0) for part in (a.hi, a.lo, a.radius))
    around = np.abs(hi) <= radius * (1 + 2.0**-40)
    size = np.where(around, (radius + np.abs(hi)) * _UP, radius)
    nothing = around & (size == 0)
    with np.errstate(divide="ignore"):
        radius_log2 = np.log2(size) + 2.0**-40 + exponent
    radius_log2[zero] = -np.inf
    places = np.full(a.shape, exponent, np.int64)
    one = np.where(around, 1.0, hi)
    found = ReferenceArray.from_pairs(one, np.where(around, 0.0, lo), places, radius_log2)
    found.hi[around] = 0.0
    found.exponent[around] = 0
    found.kind[nothing] = ZERO
    found.kind[~known & ~zero] = UNDECIDED
    found.radius_log2[~known & ~zero] = np.inf
    return found
