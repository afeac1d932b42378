"""The weights of attention, in pairs with a proved error, and in ball arithmetic where those do not do.

A weight is p_ij = w_ij / Σ_k w_ik over the keys k that query i sees, w_ij = exp(scale·(t_ij − t_i*)),
t = QKᵀ, with * the key of the largest t. The shift is exact, whichever key is taken, and the weight of *
itself exactly 1.

*In pairs*: t is certified to 2⁻¹⁰⁰·Σ|q·k|, so that the exponent is known to about that times the scale,
δ; exp(x + δ) = exp(x)·(1 + θ) with |θ| ≤ |δ|·(1 + |δ|) for |δ| ≤ 1, and the exponential of a pair is good
to 2⁻⁹⁷. Weights are held times 2³⁰⁰; those below e⁻⁹⁰⁰ become 0 with the radius 2⁻⁹⁹⁷, which is more than
e⁻⁹⁰⁰·2³⁰⁰ with δ of at most 2⁻⁵⁰. A larger δ, or a score beyond float64, is "not known".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Final

import numpy as np
from flint import arb, arb_mat, ctx
from numpy.typing import NDArray

from harness.errors import InputError
from harness.reference import double_double, pair_arrays
from harness.reference.certify import ball_of, exact_balls
from harness.reference.elements import NAN, NEG_INF, POS_INF, ReferenceArray
from harness.reference.inner_product import special_products
from harness.reference.pair_arrays import Pairs

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Panel = tuple[slice, slice]
"""Matrices of the stack, and rows of queries."""

LIFT: Final = 300
"""Binary orders by which weights are raised, to reach further below 1."""
_FAR: Final = 900.0
_PANEL: Final = 1 << 18
"""Weights that are computed at a time."""
_UNSURE: Final = 2.0**-50
"""Error of an exponent above which a weight is not known."""
_BALLS: Final = 1 << 15
"""Scores in ball arithmetic that are held at a time."""


@dataclass(frozen=True, eq=False)
class Heads:
    """Finite queries, keys and values, as a stack of matrices, and which keys a query sees."""

    q: Floats
    """(c, m, d)"""
    k: Floats
    """(c, n, d)"""
    v: Floats
    """(c, n, e)"""
    scale: Fraction | None
    """None: 1/√d."""
    causal: bool
    keep: Booleans | None
    """(c, m, n)"""
    undefined: Booleans
    """(c, m): queries with a score that no extended real is, or +inf."""

    @classmethod
    def of(
        cls, q: Floats, k: Floats, v: Floats, scale: Fraction | None, causal: bool, keep: Floats | None
    ) -> Heads:
        """Check and stack q (…, m, d), k (…, n, d), v (…, n, e); what is not finite in v becomes 0.

        A key with the score −inf is a key not seen.

        Raises
        ------
        InputError
            Shapes that do not fit, no inner dimension, or `keep` other than 0 and 1.
        """
        if min(q.ndim, k.ndim, v.ndim) < 2 or not (
            q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
            and q.shape[-1] == k.shape[-1] >= 1
            and k.shape[-2] == v.shape[-2]
        ):
            raise InputError(
                "attention takes q (…, m, d), k (…, n, d) and v (…, n, e) with equal leading dimensions and "
                f"d ≥ 1, not {list(q.shape)}, {list(k.shape)} and {list(v.shape)}"
            )
        batch, count = q.shape[:-2], math.prod(q.shape[:-2])
        (m, d), n = q.shape[-2:], k.shape[-2]
        seen = None
        if keep is not None:
            if not ((keep == 0) | (keep == 1)).all():
                raise InputError("keep holds 1 where a query sees a key and 0 elsewhere")
            try:
                seen = np.broadcast_to(keep != 0, (*batch, m, n)).reshape(count, m, n)
            except ValueError as error:
                raise InputError(f"keep {list(keep.shape)} does not broadcast to {[*batch, m, n]}") from error
        q, k = (-q if scale is not None and scale < 0 else q).reshape(count, m, d), k.reshape(count, n, d)
        v = v.reshape(count, n, v.shape[-1])
        undefined = np.zeros((count, m), bool)
        if not (np.isfinite(q).all() and np.isfinite(k).all()):
            hidden = cls(q, k, v, scale, causal, seen, undefined)
            seen, undefined = hidden._without_infinite_scores()
        q, k, v = (np.where(np.isfinite(a), a, 0.0) for a in (q, k, v))
        return cls(q, k, v, scale, causal, seen, undefined)

    def _without_infinite_scores(self) -> tuple[Booleans, Booleans]:
        seen, undefined = np.empty((*self.q.shape[:2], self.k.shape[1]), bool), self.undefined.copy()
        for panel in self.panels():
            kinds = special_products(self.q[panel], np.swapaxes(self.k[panel[0]], 1, 2))
            kinds = np.zeros(seen[panel].shape, np.uint8) if kinds is None else kinds
            if self.scale == 0:
                kinds = np.where(np.isin(kinds, (POS_INF, NEG_INF)), np.uint8(NAN), kinds)
            visible = self.visible(panel) & (kinds != NEG_INF)
            undefined[panel] = np.any(visible & np.isin(kinds, (NAN, POS_INF)), axis=2)
            seen[panel] = visible
        return seen, undefined

    def panels(self) -> Iterator[Panel]:
        """Yield panels of about 2¹⁸ weights: several small matrices, or rows of a large one."""
        count, m = self.q.shape[:2]
        n = self.k.shape[1]
        together = max(1, _PANEL // max(m * n, 1))
        rows = max(1, min(m, _PANEL // max(n, 1)))
        for first in range(0, count, together):
            for top in range(0, m, rows):
                yield slice(first, first + together), slice(top, top + rows)

    def visible(self, panel: Panel) -> Booleans:
        """Return which keys the queries of a panel see, (c, r, n); an undefined query sees its own."""
        rows, n = range(self.q.shape[1])[panel[1]], self.k.shape[1]
        shape = (len(range(self.q.shape[0])[panel[0]]), len(rows), n)
        seen = np.ones(shape, bool) if self.keep is None else self.keep[panel].copy()
        if self.causal:
            seen &= np.arange(n) <= np.arange(rows.start, rows.stop)[:, None]
        return seen

    @cached_property
    def exact_scale(self) -> Fraction | None:
        """|scale| where it is rational, which 1/√d is for square d."""
        if self.scale is not None:
            return abs(self.scale)
        root = math.isqrt(self.q.shape[-1])
        return Fraction(1, root) if root * root == self.q.shape[-1] else None

    def scale_ball(self) -> arb:
        """|scale| at the precision set."""
        exact = self.exact_scale
        return arb(self.q.shape[-1]).rsqrt() if exact is None else ball_of(exact)

    @cached_property
    def scale_pair(self) -> Pairs:
        """|scale|, of shape (1, 1, 1)."""
        with ctx.workprec(200):
            return Pairs.of_reference(ReferenceArray.from_balls([self.scale_ball()], (1, 1, 1)))

    def weights(self, panel: Panel) -> Weights:
        """Return the weights of a panel, in pairs."""
        with np.errstate(all="ignore"):
            return self._weights(panel)

    def _weights(self, panel: Panel) -> Weights:
        visible = self.visible(panel)
        q, kt = self.q[panel], np.swapaxes(self.k[panel[0]], 1, 2)
        products = pair_arrays.exact(q, kt)
        order = np.where(visible, products.hi, -np.inf)
        largest = order == np.max(order, axis=2, keepdims=True)
        top = np.argmax(np.where(largest, products.lo, -np.inf), axis=2)[:, :, None]
        distances = pair_arrays.subtract(products, products.along(top, 2)).where(visible)
        own = np.arange(visible.shape[2]) == top
        exponents = pair_arrays.multiply(distances, self.scale_pair).where(visible & ~own)
        return Weights(visible, top, _exponentials(exponents).where(visible))

    # ---- in ball arithmetic ----------------------------------------------------------------------

    def chunks(self, rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """Yield `rows` of queries, a number of them at a time that ball arithmetic can hold."""
        together = max(1, _BALLS // self.k.shape[1])
        for first in range(0, rows.size, together):
            yield rows[first : first + together]

    def ball_exponents(self, matrix: int, rows: NDArray[np.intp], visible: Booleans) -> list[list[arb]]:
        """Return |scale|·(t_ij − t_i*) of the keys seen, row by row, at the precision set."""
        q, k = self.q[matrix, rows], self.k[matrix]
        (r, d), n = q.shape, len(k)
        products = (arb_mat(r, d, exact_balls(q)) * arb_mat(d, n, exact_balls(k.T))).table()
        scale = self.scale_ball()
        found = []
        for scores, seen in zip(products, visible, strict=True):
            chosen = [scores[j] for j in np.flatnonzero(seen).tolist()]
            top = _largest(chosen or [arb(0)])
            found.append([arb(0) if s is top else scale * (s - top) for s in chosen])
        return found

    def ball_weights(self, matrix: int, rows: NDArray[np.intp], visible: Booleans) -> list[list[arb]]:
        """Return p_ij of all keys, (len(rows), n), at the precision set; 0 for keys not seen."""
        found = []
        for row, seen in zip(self.ball_exponents(matrix, rows, visible), visible, strict=True):
            exps = [x.exp() for x in row]
            total = sum(exps, arb(0))
            weights = [arb(0)] * seen.size
            for j, e in zip(np.flatnonzero(seen).tolist(), exps, strict=True):
                weights[j] = e / total
            found.append(weights)
        return found


def meets(visible: Booleans, some: Booleans) -> Booleans:
    """Return where a query sees a key of which something holds: counts, exact in float32 up to 2²⁴."""
    return np.asarray(visible.astype(np.float32) @ some.astype(np.float32) > 0)


def _largest(balls: list[arb]) -> arb:
    """Return one of the largest midpoints; an arb compares only where it is certain."""
    top = balls[0]
    for ball in balls:
        if (ball.mid() - top.mid()).mid() > 0:
            top = ball
    return top


def _exponentials(x: Pairs) -> Pairs:
    """Return exp(x)·2**LIFT, 0 below e**-_FAR, with the error derived above."""
    far = x.hi < -_FAR
    usable = (x.hi <= 1) & ~far
    hi, lo, q = double_double.exponentials(np.where(usable, x.hi, 0.0), np.where(usable, x.lo, 0.0))
    power = np.where(usable, double_double.power_of_two(np.where(usable, q, 0) + LIFT), 0.0)
    hi, lo = hi * power, lo * power
    given = (x.lo != 0) | (x.hi != 0)
    relative = np.where(given, 2.0**double_double.EXP_ERROR_LOG2, 0.0) + x.radius * (1 + 2 * _UNSURE)
    lost = np.where(far, 2.0**-997, np.where(given | (x.radius > 0), 2.0**-1060, 0.0))
    radius = (hi * relative + lost) * (1 + 2.0**-40)
    sure = (usable | far) & (x.radius <= _UNSURE)
    return Pairs(hi, lo, np.where(sure, radius, np.inf))


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of one panel, (c, r, n); keys not seen have exact zeros, everywhere."""

    visible: Booleans
    top: NDArray[np.intp]
    """(c, r, 1): the key * of each query."""
    lifted: Pairs
    """w_ij·2**LIFT."""

    @cached_property
    def terms(self) -> NDArray[np.int64]:
        """Keys that each query sees, (c, r, 1)."""
        return np.count_nonzero(self.visible, axis=2, keepdims=True)

    @cached_property
    def inverse_sums(self) -> Pairs:
        """2**-LIFT / Σ_j w_ij, (c, r, 1); of a query that sees nothing what is not to be used."""
        with np.errstate(all="ignore"):
            sums = pair_arrays.row_sums(self.lifted)
            none = self.terms == 0
            return pair_arrays.reciprocal(
                Pairs(np.where(none, 2.0**LIFT, sums.hi), np.where(none, 0.0, sums.lo), sums.radius)
            )
