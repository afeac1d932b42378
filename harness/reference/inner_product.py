"""Inner products: the exact value of one, its class where data are not finite, the error allowed to it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.reference.elements import FINITE, NAN, NEG_INF, POS_INF

if TYPE_CHECKING:
    from harness.formats import Precision

Floats = NDArray[np.float64]

_LIMB = 27
"""A significand of 53 bits is two limbs, whose products, and the sum of two of them, an int64 holds."""
_CHUNK = 1 << 20
"""Terms whose limbs, below 2**27 each, have a sum that float64 holds."""


def exact_dot(x: Floats, y: Floats) -> tuple[Fraction, Fraction]:
    """Return (Σxᵢyᵢ, Σ|xᵢyᵢ|) of finite float64 vectors of one length, both exactly.

    Products of limbs are summed in int64 among terms of one exponent, each half of a product for
    itself, so that 2**31 terms cannot overflow; only the sums, one for each exponent, become integers
    of arbitrary length.
    """
    if x.size == 0:
        return Fraction(0), Fraction(0)
    high_x, low_x, exponent_x = _limbs(x)
    high_y, low_y, exponent_y = _limbs(y)
    exponents = exponent_x + exponent_y
    order = np.argsort(exponents, kind="stable")
    starts = np.flatnonzero(np.diff(exponents[order], prepend=exponents[order[0]] - 1))
    groups = exponents[order][starts].tolist()
    negative = np.signbit(x) != np.signbit(y)
    limbs = (
        (high_x * high_y, 2 * _LIMB),
        (high_x * low_y + low_x * high_y, _LIMB),
        (low_x * low_y, 0),
    )
    totals = []
    for signed in (True, False):
        total = [0] * len(groups)
        for products, shift in limbs:
            terms = np.where(negative, -products, products)[order] if signed else products[order]
            upper = np.add.reduceat(terms >> 32, starts).tolist()
            lower = np.add.reduceat(terms & 0xFFFFFFFF, starts).tolist()
            for group, (u, v) in enumerate(zip(upper, lower, strict=True)):
                total[group] += ((u << 32) + v) << shift
        least = groups[0]
        value = sum(t << (e - least) for t, e in zip(total, groups, strict=True))
        totals.append(Fraction(value << least) if least >= 0 else Fraction(value, 1 << -least))
    return totals[0], totals[1]


def exact_sum(x: Floats) -> Fraction:
    """Return Σxᵢ of a finite float64 vector exactly, about 20 ns a term.

    The limbs of `_CHUNK` terms, among those of one exponent, are summed in float64: no sum reaches 2**53.
    """
    total = Fraction(0)
    for start in range(0, x.size, _CHUNK):
        mantissa, exponent = np.frexp(x[start : start + _CHUNK])
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        least = int(exponent.min())
        place = exponent - least
        upper = np.bincount(place, weights=whole >> _LIMB)
        lower = np.bincount(place, weights=whole & ((1 << _LIMB) - 1))
        part = 0
        for e in np.flatnonzero((upper != 0) | (lower != 0)).tolist():
            part += ((int(upper[e]) << _LIMB) + int(lower[e])) << e
        total += part * Fraction(2) ** (least - 53)
    return total


def _limbs(x: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    mantissa, exponent = np.frexp(np.abs(x))
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    return whole >> _LIMB, whole & ((1 << _LIMB) - 1), exponent.astype(np.int64) - 53


def special_products(a: Floats, b: Floats) -> NDArray[np.uint8] | None:
    """Return the class of each element of a @ b, or None where all data are finite.

    FINITE where every product is finite; POS_INF or NEG_INF where infinite products have one sign;
    NAN where a factor is, where 0·∞ occurs, or where infinite products have both signs.

    Parameters
    ----------
    a, b : float64 arrays, (…, m, k) and (…, k, n).
    """
    if np.isfinite(a).all() and np.isfinite(b).all():
        return None

    def meets(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.bool_]:
        # a count of at most k coincidences: exact in float32 up to 2**24, and above zero in any case
        return np.asarray(left.astype(np.float32) @ right.astype(np.float32) > 0)

    infinite = np.isinf
    undefined = meets(np.isnan(a), np.ones(b.shape, bool)) | meets(np.ones(a.shape, bool), np.isnan(b))
    undefined |= meets(infinite(a), b == 0) | meets(a == 0, infinite(b))
    up = meets(a == np.inf, b > 0) | meets(a == -np.inf, b < 0)
    up |= meets(a > 0, b == np.inf) | meets(a < 0, b == -np.inf)
    down = meets(a == np.inf, b < 0) | meets(a == -np.inf, b > 0)
    down |= meets(a > 0, b == -np.inf) | meets(a < 0, b == np.inf)
    kind = np.full(up.shape, FINITE, np.uint8)
    kind[up] = POS_INF
    kind[down] = NEG_INF
    kind[undefined | (up & down)] = NAN
    return kind


def error_bound_log2(k: int, magnitude_log2: Any, value_log2: Any, precision: Precision) -> Floats:
    """Return log2 of the error that an inner product of length k may have, summed in any order.

    (1 + u_out)·k·u_acc·Σ|xᵢyᵢ| + u_out·|Σxᵢyᵢ| + k·ω: Jeannerod and Rump 2013, "Improved error bounds
    for inner products in floating-point arithmetic", theorem 3.1 (no restriction on k, unlike γₖ), one
    rounding of the sum from the accumulator to the result, and ω, the smallest subnormal, for each
    product that may underflow. Where products take rounded inputs (u_in above the format's u, as in
    TF32), (2u_in + u_in²)·Σ|xᵢyᵢ| is added and Σ|xᵢyᵢ| grows by (1 + u_in)².

    Parameters
    ----------
    k : length of the inner product.
    magnitude_log2 : array of log2 Σ|xᵢyᵢ|, or an upper bound on it.
    value_log2 : array of log2 |Σxᵢyᵢ|, of the same shape; NaN where undefined, which allows anything.
    precision : unit roundoffs of inputs, accumulator and result; its format gives ω.
    """
    factor = (1 + precision.u_out) * k * precision.u_acc
    if precision.u_in > precision.u_out:
        rounded = (1 + precision.u_in) ** 2
        factor = factor * rounded + (rounded - 1)
    if k == 0:
        return np.full(np.shape(value_log2), -np.inf)
    underflow = precision.format.min_subnormal
    with np.errstate(divide="ignore"):
        relative = np.asarray(magnitude_log2, dtype=np.float64) + math.log2(factor)
        rounding = np.nan_to_num(value_log2, nan=np.inf, posinf=np.inf, neginf=-np.inf)
        rounding = rounding + math.log2(precision.u_out)
        absolute = math.log2(k * underflow.numerator) - math.log2(underflow.denominator)
        return np.asarray(np.logaddexp2(np.logaddexp2(relative, rounding), absolute))
