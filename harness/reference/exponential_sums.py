"""Certified softmax, log-softmax and log-sum-exp of the rows of an array.

All three come from the shifted form, with S the sum over all entries but one of the largest, m:

    p_i = exp(x_i − m) / (1 + S)    log p_i = (x_i − m) − log1p(S)    logsumexp = m + log1p(S)

In p_i and log p_i nothing cancels, so that a fixed precision gives them to a fixed relative accuracy;
m + log1p(S) may cancel, and is certified by raising the precision. It is 0 for two or more finite
entries never: distinct algebraic exponents make the exponentials linearly independent over the
algebraic numbers (Lindemann–Weierstrass), so raising ends.

Entries are taken in double-double arithmetic with a proved bound, rows in ball arithmetic. A row that
spreads beyond `EXP_LIMIT`, or whose result is not good enough, is taken in ball arithmetic altogether.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from harness.formats import NumberFormat
from harness.reference import double_double as pairs
from harness.reference.certify import START_BITS, certify_elements, holds, total
from harness.reference.elements import FINITE, NAN, NEG_INF, POS_INF, ZERO, ReferenceArray

Floats = NDArray[np.float64]

_LOG2_PRODUCT = -101.0
"""log2 of the relative error of a product of two pairs: four roundings of what is at most 2⁻⁵² of it,
and the product of the two lower parts, 2⁻¹⁰⁵."""
_LOG2_DIFFERENCE = -103.0
"""log2 of the relative error of a difference of two pairs that differ in sign: two roundings of lower
parts, at most 2⁻⁵¹ of it together."""


@dataclass(frozen=True)
class Rows:
    """An array as rows along one axis, each of the class that its non-finite entries decide.

    A row's class is NAN if it holds NaN, else POS_INF if it holds +inf, NEG_INF if all of it is −inf
    (an empty sum), and FINITE otherwise.
    """

    values: Floats
    """(rows, n), C order."""
    kind: NDArray[np.uint8]
    """(rows,)"""
    outer: tuple[int, ...]
    """The shape of the array without the axis."""
    axis: int

    @classmethod
    def of(cls, x: Floats, axis: int) -> Rows:
        """Return the rows of float64 `x` (any shape with at least one entry along `axis`)."""
        moved = np.ascontiguousarray(np.moveaxis(x, axis, -1))
        values = moved.reshape(-1, moved.shape[-1])
        kind = np.full(len(values), FINITE, np.uint8)
        kind[np.all(values == -np.inf, axis=1)] = NEG_INF
        kind[np.any(values == np.inf, axis=1)] = POS_INF
        kind[np.any(np.isnan(values), axis=1)] = NAN
        return cls(values, kind, moved.shape[:-1], axis % x.ndim)

    def restore(self, elements: ReferenceArray) -> ReferenceArray:
        """Return (rows, n) elements in the shape of the array."""
        places = np.arange(self.values.size).reshape(*self.outer, self.values.shape[1])
        return elements.reshape((self.values.size,))[np.moveaxis(places, -1, self.axis)]


def softmax(x: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return softmax along `axis`, in the shape of `x`.

    A −inf entry gives exactly 0. A row that holds NaN or +inf, or nothing but −inf, is undefined.
    """

    def by_balls(row: Floats) -> list[arb]:
        exps = [gap.exp() for gap in _gaps(row)]
        scale = 1 / total(exps)
        return [e * scale for e in exps]

    return _by_element(Rows.of(x, axis), 0.0, lambda rows: rows.shares(), by_balls, fmt)


def log_softmax(x: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return log-softmax along `axis`, in the shape of `x`.

    A −inf entry gives −inf, the only finite entry of a row exactly 0. A row that holds NaN or +inf,
    or nothing but −inf, is undefined.
    """

    def by_balls(row: Floats) -> list[arb]:
        log_total = _others(row).log1p()
        return [gap - log_total for gap in _gaps(row)]

    return _by_element(Rows.of(x, axis), -np.inf, lambda rows: rows.log_shares(), by_balls, fmt)


def logsumexp(x: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return log-sum-exp along `axis`, in the shape of `x` without it.

    +inf where a row holds +inf, −inf where it holds nothing but −inf, undefined where it holds NaN;
    the entry itself, exactly, where only one is finite.
    """
    rows = Rows.of(x, axis)
    special = np.zeros(len(rows.kind))
    for kind, value in ((POS_INF, np.inf), (NEG_INF, -np.inf), (NAN, np.nan)):
        special[rows.kind == kind] = value
    single = (rows.kind == FINITE) & (np.count_nonzero(np.isfinite(rows.values), axis=1) == 1)
    special[single] = np.max(rows.values[single], axis=1, initial=-np.inf)
    result = ReferenceArray.from_float64(special)
    several = (rows.kind == FINITE) & ~single
    values = rows.values[several]
    tops = list(map(arb, np.max(values, axis=1, initial=-np.inf).tolist()))

    def log_sums(bits: int, places: NDArray[np.intp]) -> list[arb]:
        chosen = places.tolist()
        sums = _Shifted(values).others if bits == START_BITS else [_others(values[i]) for i in chosen]
        return [tops[i] + s.log1p() for i, s in zip(chosen, sums, strict=True)]

    result.assign(several, certify_elements(log_sums, fmt=fmt, shape=(len(values),)))
    return result.reshape(rows.outer)


def _by_element(
    rows: Rows,
    of_nothing: float,
    by_pairs: Callable[[_Shifted], ReferenceArray],
    by_balls: Callable[[Floats], list[arb]],
    fmt: NumberFormat,
) -> ReferenceArray:
    """Return FINITE rows by pairs, or by balls where those do not do; `of_nothing` for −inf entries."""
    usable = rows.kind == FINITE
    result = ReferenceArray.from_float64(
        np.where(usable[:, None], np.full(rows.values.shape, of_nothing), np.nan)
    )
    finite = usable[:, None] & np.isfinite(rows.values)
    near = usable.copy()
    near[usable] = _near(rows.values[usable])
    if near.any():
        found = by_pairs(_Shifted(rows.values[near]))
        good = np.all(holds(found, fmt) | ~finite[near], axis=1)
        near[near] = good
        result.assign(finite & near[:, None], found[good][finite[near]])
    for r in np.flatnonzero(usable & ~near).tolist():
        result.assign((r, finite[r]), _certified(rows.values[r][finite[r]], by_balls, fmt))
    return rows.restore(result)


def _certified(row: Floats, by_balls: Callable[[Floats], list[arb]], fmt: NumberFormat) -> ReferenceArray:
    def compute(bits: int, places: NDArray[np.intp]) -> list[arb]:
        balls = by_balls(row)
        return [balls[i] for i in places.tolist()]

    return certify_elements(compute, fmt=fmt, shape=row.shape)


def _gaps(row: Floats) -> list[arb]:
    """x_j − m of a row's finite entries, at the precision set."""
    top = arb(float(np.max(row)))
    return [value - top for value in map(arb, row[np.isfinite(row)].tolist())]


def _others(row: Floats) -> arb:
    """S of a row, at the precision set."""
    gaps = _gaps(row)
    del gaps[int(np.argmax(row[np.isfinite(row)]))]
    return total([gap.exp() for gap in gaps])


def _near(values: Floats) -> NDArray[np.bool_]:
    """Return which rows of the class FINITE spread by no more than `EXP_LIMIT`."""
    with np.errstate(over="ignore"):
        spread = np.max(values, axis=1) - np.min(values, axis=1, where=np.isfinite(values), initial=np.inf)
    return np.asarray(spread <= pairs.EXP_LIMIT, np.bool_)


@dataclass(frozen=True)
class _Shifted:
    """Rows of the class FINITE, in pairs."""

    values: Floats
    """(rows, n)"""

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        return np.isfinite(self.values)

    @cached_property
    def distances(self) -> tuple[Floats, Floats]:
        """x_j − m exactly, as head + tail, down to −`EXP_LIMIT`; 0 at −inf entries."""
        top = np.max(self.values, axis=1, keepdims=True)
        with np.errstate(over="ignore", invalid="ignore"):
            head, tail = pairs.two_sum(np.where(self.finite, self.values, top), -top)
        far = head < -pairs.EXP_LIMIT
        return np.where(far, -pairs.EXP_LIMIT, head), np.where(far, 0.0, tail)

    @cached_property
    def exponentials(self) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Exponentials of the distances; of a −inf entry what is not to be used."""
        return pairs.exponentials(*self.distances)

    @cached_property
    def others(self) -> list[arb]:
        """S of each row; entries beyond `EXP_LIMIT` are enclosed together."""
        hi, lo, q = self.exponentials
        counts = self.finite.copy()
        counts[np.arange(len(counts)), np.argmax(self.values, axis=1)] = False
        high, low, power, error_log2 = pairs.row_sums(np.where(counts, hi, 0.0), np.where(counts, lo, 0.0), q)
        far = np.count_nonzero(self.distances[0] == -pairs.EXP_LIMIT, axis=1)
        error = (2.0**pairs.EXP_ERROR_LOG2 + 2.0**error_log2) * (1 + 2.0**-30)
        with ctx.workprec(START_BITS):
            one, largest = arb(1, error), arb(-pairs.EXP_LIMIT).exp()
            parts = zip(high.tolist(), low.tolist(), power.tolist(), far.tolist(), strict=True)
            return [
                (arb(h) + rest) * arb(2) ** p * one + (arb(0).union(-count * largest) if count else 0)
                for h, rest, p, count in parts
            ]

    def shares(self) -> ReferenceArray:
        """p_i; of a −inf entry what is not to be used."""
        hi, lo, q = self.exponentials
        with ctx.workprec(START_BITS):
            scale = ReferenceArray.from_balls([1 / (1 + s) for s in self.others], (len(self.values),))[
                :, None
            ]
        product, lost = pairs.two_product(hi, scale.hi)
        high, low = pairs.fast_two_sum(product, lost + (hi * scale.lo + lo * scale.hi))
        relative = (
            2.0**pairs.EXP_ERROR_LOG2 + np.exp2(scale.radius_log2 - scale.exponent) + 2.0**_LOG2_PRODUCT
        )
        exponent = q + scale.exponent
        radius = np.log2(high * relative) + 2.0**-40 + exponent
        alone = np.isneginf(scale.radius_log2) & (self.distances[0] == 0)
        return ReferenceArray.from_pairs(high, low, exponent, np.where(alone, -np.inf, radius))

    def log_shares(self) -> ReferenceArray:
        """Logarithms of p_i; of a −inf entry what is not to be used."""
        head, tail = self.distances
        with ctx.workprec(START_BITS):
            sums = ReferenceArray.from_balls([s.log1p() for s in self.others], (len(self.values),))[:, None]
        held = sums.exponent > -900
        power = np.where(held, sums.exponent, 0)
        missed = np.where(held | (sums.kind == ZERO), -np.inf, sums.exponent + 1.0)
        high, lost = pairs.two_sum(head, -np.ldexp(np.where(held, sums.hi, 0.0), power))
        low = lost + (tail - np.ldexp(np.where(held, sums.lo, 0.0), power))
        largest = np.broadcast_to((head == 0) & (tail == 0), head.shape)
        high, low = pairs.fast_two_sum(np.where(largest, -1.0, high), np.where(largest, 0.0, low))
        radius = np.logaddexp2(np.logaddexp2(sums.radius_log2, missed), np.log2(-high) + _LOG2_DIFFERENCE)
        found = ReferenceArray.from_pairs(high, low, np.zeros(head.shape, np.int64), radius + 2.0**-40)
        rows = np.nonzero(largest)[0]
        negative = ReferenceArray(sums.kind, 0.0 - sums.hi, 0.0 - sums.lo, sums.exponent, sums.radius_log2)
        found.assign(largest, negative[rows, 0])
        return found
