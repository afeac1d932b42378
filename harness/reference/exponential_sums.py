"""Certified softmax, log-softmax and log-sum-exp of the rows of an array.

All three come from the shifted form, with S the sum over all entries but one of the largest, m:

    p_i = exp(x_i − m) / (1 + S)    log p_i = (x_i − m) − log1p(S)    logsumexp = m + log1p(S)

In p_i and log p_i nothing cancels, so that a fixed precision gives them to a fixed relative accuracy;
m + log1p(S) may cancel, and is certified by raising the precision. It is 0 for two or more finite
entries never: distinct algebraic exponents make the exponentials linearly independent over the
algebraic numbers (Lindemann–Weierstrass), so raising ends.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from harness.formats import NumberFormat
from harness.reference.certify import certify_elements
from harness.reference.elements import FINITE, NAN, NEG_INF, POS_INF, ReferenceArray

Floats = NDArray[np.float64]

_GUARD_BITS = 10
_WORTH_SORTING = 32
"""Entries from which on equal ones are looked for: half precisions and constants repeat theirs."""


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
        n = self.values.shape[1]
        places = np.moveaxis(np.arange(self.values.size).reshape(*self.outer, n), -1, self.axis)
        return elements.reshape((self.values.size,))[places]


def softmax(x: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return softmax along `axis`, in the shape of `x`.

    A −inf entry gives exactly 0. A row that holds NaN or +inf, or nothing but −inf, is undefined.
    """

    def share(row: _Row) -> list[arb]:
        exps = list(map(arb.exp, row.gaps()))
        scale = 1 / (1 + row.others_of(exps))
        return [e * scale for e in exps]

    def rules(values: Floats) -> Floats:
        return np.where(values == -np.inf, 0.0, np.nan)

    return _by_element(Rows.of(x, axis), share, rules, fmt)


def log_softmax(x: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return log-softmax along `axis`, in the shape of `x`.

    A −inf entry gives −inf, the only finite entry of a row exactly 0. A row that holds NaN or +inf,
    or nothing but −inf, is undefined.
    """

    def log_share(row: _Row) -> list[arb]:
        log_total = row.others().log1p()
        return [gap - log_total for gap in row.gaps()]

    def rules(values: Floats) -> Floats:
        return np.where(values == -np.inf, -np.inf, np.nan)

    return _by_element(Rows.of(x, axis), log_share, rules, fmt)


def logsumexp(x: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return log-sum-exp along `axis`, in the shape of `x` without it.

    +inf where a row holds +inf, −inf where it holds nothing but −inf, undefined where it holds NaN;
    the entry itself, exactly, where only one is finite.
    """
    rows = Rows.of(x, axis)
    decided = {int(POS_INF): np.inf, int(NEG_INF): -np.inf, int(NAN): np.nan}
    special = np.array([decided.get(int(k), 0.0) for k in rows.kind], np.float64)
    single = (rows.kind == FINITE) & (np.count_nonzero(np.isfinite(rows.values), axis=1) == 1)
    if single.any():
        special[single] = np.max(rows.values[single], axis=1)
    result = ReferenceArray.from_float64(special)
    open_rows = np.flatnonzero((rows.kind == FINITE) & ~single)
    shifted = [_Row.of(rows.values[r]) for r in open_rows.tolist()]

    def log_sums(bits: int, places: NDArray[np.intp]) -> list[arb]:
        return [arb(shifted[i].top) + shifted[i].others().log1p() for i in places.tolist()]

    if shifted:
        result.assign(open_rows, certify_elements(log_sums, fmt=fmt, shape=(len(shifted),)))
    return result.reshape(rows.outer)


def _by_element(
    rows: Rows, formula: Callable[[_Row], list[arb]], rules: Callable[[Floats], Floats], fmt: NumberFormat
) -> ReferenceArray:
    """Return `formula` of the finite entries of the FINITE rows; `rules` give the others of these rows."""
    usable = rows.kind == FINITE
    result = ReferenceArray.from_float64(np.where(usable[:, None], rules(rows.values), np.nan).reshape(-1))
    shifted = [_Row.of(rows.values[r]) for r in np.flatnonzero(usable).tolist()]
    if not shifted:
        return rows.restore(result)
    offsets = np.cumsum([0, *(row.distinct for row in shifted)])

    def compute(bits: int, places: NDArray[np.intp]) -> list[arb]:
        owner = np.searchsorted(offsets, places, side="right") - 1
        balls: list[arb] = []
        for mine in np.split(places, np.flatnonzero(np.diff(owner)) + 1):
            r = int(np.searchsorted(offsets, mine[0], side="right")) - 1
            values = formula(shifted[r])
            balls += values if mine.size == len(values) else [values[i] for i in (mine - offsets[r]).tolist()]
        return balls

    found = certify_elements(compute, fmt=fmt, shape=(int(offsets[-1]),))
    places = np.flatnonzero(usable[:, None] & np.isfinite(rows.values))
    source = np.concatenate([row.inverse + at for row, at in zip(shifted, offsets[:-1], strict=True)])
    result.assign(places, found[source])
    return rows.restore(result)


@dataclass(frozen=True)
class _Row:
    """The finite entries of a row of the class FINITE, and their distances from the largest."""

    values: Floats
    """Distinct and ascending where `ascending`, else as they come."""
    top: float
    place: int
    """Of the largest, `top`, in `values`."""
    counts: NDArray[np.int64]
    """How often each of `values` occurs, but for one occurrence of `top`."""
    inverse: NDArray[np.intp]
    """For each finite entry of the row, its place in `values`."""
    distances: Floats
    """values − top, rounded."""
    exact: bool
    """Whether nothing was rounded there."""
    ascending: bool

    @classmethod
    def of(cls, row: Floats) -> _Row:
        values = row[np.isfinite(row)]
        ascending = values.size >= _WORTH_SORTING
        if ascending:
            values, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
            place = values.size - 1
        else:
            inverse, counts = np.arange(values.size), np.ones(values.size, np.int64)
            place = int(np.argmax(values))
        counts[place] -= 1
        top = float(values[place])
        with np.errstate(over="ignore", invalid="ignore"):
            distances = values - top
            virtual = distances - values
            lost = (values - (distances - virtual)) - (top + virtual)  # TwoSum (Knuth)
        exact = bool(np.isfinite(distances).all() and not lost.any())
        return cls(values, top, place, counts.astype(np.int64), inverse, distances, exact, ascending)

    @property
    def distinct(self) -> int:
        return int(self.values.size)

    def gaps(self, chosen: Any = slice(None)) -> Iterator[arb]:
        """Give x_j − m of the values that an index chooses."""
        if self.exact:
            return map(arb, self.distances[chosen].tolist())
        top = arb(self.top)
        return (value - top for value in map(arb, self.values[chosen].tolist()))

    def others(self) -> arb:
        """S, with values too small to matter at the precision set enclosed together."""
        first = self._first_that_counts()
        matter = np.arange(self.distinct) >= first
        once, often = matter & (self.counts == 1), matter & (self.counts > 1)
        singles = sum(map(arb.exp, self.gaps(once)), arb(0))
        repeated = map(operator.mul, map(arb.exp, self.gaps(often)), self.counts[often].tolist())
        return sum(repeated, singles) + self._enclosed(first)

    def others_of(self, exps: Sequence[arb]) -> arb:
        """S from the exponentials of all values."""
        once, often = self.counts == 1, self.counts > 1
        singles = sum(itertools.compress(exps, once.tolist()), arb(0))
        repeated = map(operator.mul, itertools.compress(exps, often.tolist()), self.counts[often].tolist())
        return sum(repeated, singles)

    def _first_that_counts(self) -> int:
        if not self.ascending or self.distinct == 1:
            return 0
        largest = self.distances[-1 if self.counts[-1] else -2]
        negligible = (ctx.prec + _GUARD_BITS) * math.log(2) + math.log(self.inverse.size)
        return int(np.searchsorted(self.distances, largest - negligible))

    def _enclosed(self, first: int) -> arb:
        if first == 0:
            return arb(0)
        largest = (arb(float(self.values[first - 1])) - arb(self.top)).exp()
        return arb(0).union(largest * int(self.counts[:first].sum()))
