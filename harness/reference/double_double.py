"""Exact sums and products of float64 arrays, and exponentials to 2⁻⁹⁷ relative, by pairs hi + lo.

Everything rests on float64 addition and multiplication being rounded to nearest, and on nothing else
of the machine: no exp of its library, no fused multiplication, no order of summation.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray

from harness.reference.elements import ReferenceArray

Floats = NDArray[np.float64]

EXP_LIMIT: Final = 2800.0
"""Largest |x| that `exponentials` takes: its multiple of ln 2 / 2¹⁴ stays below 2²⁶."""
EXP_ERROR_LOG2: Final = -97
"""log2 of the relative error of `exponentials`."""
_TABLE_BITS: Final = 14
_BLOCK: Final = 8192
"""Elements taken at once, so that all intermediate arrays stay in the processor's cache."""


def two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return fl(a + b) and what it lost, exactly (Knuth)."""
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)


def fast_two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return the same where |a| ≥ |b| or a = 0 (Dekker)."""
    total = a + b
    return total, b - (total - a)


def two_product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return fl(a·b) and what it lost, exactly where nothing overflows or underflows (Dekker, Veltkamp)."""
    product = a * b
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Floats) -> tuple[Floats, Floats]:
    scaled = 134217729.0 * a  # 2²⁷ + 1
    high = scaled - (scaled - a)
    return high, a - high


class _Constants(NamedTuple):
    inverse: float
    """2¹⁴ / ln 2, rounded."""
    parts: tuple[float, float, float, float]
    """ln 2 / 2¹⁴ as multiples of 2⁻⁴¹, 2⁻⁶⁸ and 2⁻⁹⁵, of at most 27 bits each, and the rest, rounded."""
    table: tuple[Floats, Floats]
    """exp(j·ln 2 / 2¹⁴) as hi + lo."""


@cache
def _constants() -> _Constants:
    with ctx.workprec(256):
        step = arb.const_log2() / 2**_TABLE_BITS
        rest = int((step * arb(2) ** 200).mid().floor().unique_fmpz())
        parts = []
        for place in (41, 68, 95):
            unit = 1 << (200 - place)
            multiple = (rest + unit // 2) // unit
            parts.append(multiple * 2.0**-place)
            rest -= multiple * unit
        powers = [(step * j).exp() for j in range(2**_TABLE_BITS)]
        inverse = float(1 / step)
    table = ReferenceArray.from_balls(powers, (len(powers),))
    return _Constants(inverse, (parts[0], parts[1], parts[2], rest * 2.0**-200), (table.hi, table.lo))


def power_of_two(exponent: NDArray[np.int64]) -> Floats:
    """Return 2**exponent for exponents of normal numbers; ten times as fast as ldexp."""
    return ((exponent + 1023) << 52).view(np.float64)


def exponentials(head: Floats, tail: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return (hi, lo, q) with exp(head + tail) = (hi + lo)·2**q·(1 + δ), |δ| ≤ 2⁻⁹⁷, |lo| ≤ ulp(hi)/2.

    Parameters
    ----------
    head : float64 array
        At most `EXP_LIMIT` in size.
    tail : float64 array
        At most ulp(head)/2 in size, of the same shape.

    Notes
    -----
    With L = ln 2 / 2¹⁴, u = 2⁻⁵³: k = rint(head / L) is below 2²⁶, so that its products with the first
    three parts of L are exact. So is head − k·L₁: it is a multiple of the last bit of one of the two,
    and no larger than k·L. The three further sums are TwoSums; what is rounded, in `rl`, is below 2⁻⁶⁷,
    so that r = rh + rl is the argument to 2⁻¹¹⁸, |r| < 2⁻¹⁵·⁵.

    exp(r) − 1 = rh + rh²/2 + rh³(1/6 + rh/24 + rh²/120 + rh³/720) + rl(1 + rh + …) to 2⁻¹¹⁶. The cubic
    term is below 2⁻⁴⁹·¹: its six roundings cost 2⁻⁹⁹·⁷, adding it to the other small terms 2⁻¹⁰⁰·⁵ and
    2⁻¹⁰²·¹; together 2⁻⁹⁸·⁹. rh + rh²/2 is kept exactly.

    Times the table's T in [1, 2), good to 2⁻¹⁰⁶: T_hi·(rh + rh²/2 rounded) is a TwoProduct, the small
    terms are below 2⁻⁴⁸, and their four roundings and the product left out cost 2⁻⁹⁸·⁹. So 2·2⁻⁹⁸·⁹ in
    all, below 2⁻⁹⁷. Products that underflow are off by less than 2⁻¹⁰⁰⁰ beside a result of at least ½.
    """
    shape = head.shape
    x, y = head.reshape(-1), tail.reshape(-1)
    hi, lo, q = np.empty(x.size), np.empty(x.size), np.empty(x.size, np.int64)
    for start in range(0, x.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        hi[block], lo[block], q[block] = _exponentials(x[block], y[block])
    return hi.reshape(shape), lo.reshape(shape), q.reshape(shape)


def _exponentials(head: Floats, tail: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    constants = _constants()
    k = np.rint(head * constants.inverse)
    first, second, third, fourth = constants.parts
    reduced = head - k * first
    reduced, lost_1 = two_sum(reduced, -(k * second))
    reduced, lost_2 = two_sum(reduced, tail)
    rh, lost_3 = two_sum(reduced, -(k * third))
    rl = ((lost_1 + lost_2) + lost_3) - k * fourth

    square, square_lost = two_product(rh, rh)
    cubic = (square * rh) * (1 / 6 + rh * (1 / 24 + rh * (1 / 120 + rh * (1 / 720))))
    small = ((0.5 * square_lost + cubic) + rl) + rl * (rh + 0.5 * square)
    eh, lost = fast_two_sum(rh, 0.5 * square)
    el = lost + small

    place = k.astype(np.int64)
    row = place & (2**_TABLE_BITS - 1)
    th, tl = constants.table[0][row], constants.table[1][row]
    product, product_lost = two_product(th, eh)
    hi, lost = fast_two_sum(th, product)
    lo = lost + (tl + (th * el + (product_lost + tl * eh)))
    hi, lo = fast_two_sum(hi, lo)
    return hi, lo, place >> _TABLE_BITS


def row_sums(hi: Floats, lo: Floats, q: NDArray[np.int64]) -> tuple[Floats, Floats, NDArray[np.int64], float]:
    """Return (hi, lo, q, error_log2): the sums (hi + lo)·2**q along the last axis of non-negative terms.

    Parameters
    ----------
    hi, lo, q : arrays of one shape (…, n), n from 1 to 2³⁰
        Terms (hi + lo)·2**q, hi in [½, 2] or 0, |lo| ≤ ulp(hi)/2.

    Notes
    -----
    Terms are scaled by the largest q of the row, at most by 2⁻¹⁰⁰⁰ (off by less than n·2⁻⁹⁹⁰). The hi
    are added pairwise by TwoSums, so exactly, and what they lose joins the lo. With l levels and
    u = 2⁻⁵³, all that is small is at most (l + 1)·u of the sum, and the two additions a level round it
    by 2u each time: l(l + 1)·2u² in all. Returned is log2 of these two relative errors together.
    """
    n = hi.shape[-1]
    lowest = np.iinfo(np.int64).min // 4
    top = np.max(np.where(hi > 0, q, lowest), axis=-1, keepdims=True)
    top = np.where(top == lowest, 0, top)
    scale = power_of_two(np.clip(q - top, -1000, 0))
    high, low = hi * scale, lo * scale
    levels = 0
    while high.shape[-1] > 1:
        if high.shape[-1] % 2:
            nothing = np.zeros((*high.shape[:-1], 1))
            high, low = (np.concatenate([a, nothing], axis=-1) for a in (high, low))
        middle = high.shape[-1] // 2
        high, lost = two_sum(high[..., :middle], high[..., middle:])
        low = (low[..., :middle] + low[..., middle:]) + lost
        levels += 1
    error = levels * (levels + 1) * 2.0**-105 * (1 + 2.0**-30) + n * 2.0**-990
    return high[..., 0], low[..., 0], top[..., 0], float(np.log2(error))
