"""Balls and rationals split into what float64 arrays hold: hi + lo, an integer exponent, a radius."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from fractions import Fraction
from typing import Any, Final

import numpy as np
from flint import arb, ctx
from numpy.typing import NDArray


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


Columns = tuple[
    NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]
]
"""kind, hi, lo, exponent, radius_log2, in that order (see `ReferenceArray`)."""

FIELDS: Final[dict[str, np.dtype[Any]]] = {
    "kind": np.dtype(np.uint8),
    "hi": np.dtype(np.float64),
    "lo": np.dtype(np.float64),
    "exponent": np.dtype(np.int64),
    "radius_log2": np.dtype(np.float64),
}

_Row = tuple[int, float, float, int, float]

_LONGEST = 1000
"""Bits of an integer that are kept before it is split: its float64 must not overflow."""
_SPLIT_BITS = 128
"""Precision at which a ball is split, at least: hi + lo hold 106 bits and more."""
_WIDEST = 2**52
"""Exponents beyond it are not held: int64 and float64 (for radii) stay exact up to it."""
_ENDLESS = 2**1000
"""Exponents that no float64 holds: such a ball is beyond everything, or next to nothing, whatever it is."""
_STEPS = 16
"""Radii are rounded up to a 16th of a binary order: they are bounds, and compress well so."""
_SCALES = (0, 1600, -1600, 3200, -3200)
"""Powers of two by which balls are multiplied, exactly, to bring them into the range of float64."""


def round_up(radius_log2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return radii on the grid that they are kept on."""
    return np.ceil(radius_log2 * _STEPS) / _STEPS


def fractions_to_columns(values: Sequence[Fraction | int]) -> Columns:
    """Return rationals split; the radius is 0 where the denominator is a power of two and hi + lo hold it."""
    columns = _blank(len(values))
    for i, value in enumerate(values):
        numerator, denominator = value.numerator, value.denominator
        if denominator & (denominator - 1):
            shift = max(0, 240 - numerator.bit_length() + denominator.bit_length())
            _write(columns, i, _split((numerator << shift) // denominator, -shift, 1, -shift))
        else:
            _write(columns, i, _split(numerator, 1 - denominator.bit_length(), 0, 0))
    return columns


def balls_to_columns(balls: Sequence[arb]) -> Columns:
    """Return balls split, by vector arithmetic at the powers of two where float64 holds them.

    hi is the midpoint rounded to nearest, lo what is left of it, rounded; the radius takes in what
    is lost. A ball that is not finite is UNDECIDED, an exact zero is ZERO.
    """
    columns = _blank(len(balls))
    left = np.arange(len(balls))
    for power in _SCALES:
        if left.size == 0:
            return columns
        chosen = list(balls) if left.size == len(balls) else [balls[i] for i in left.tolist()]
        with ctx.workprec(max(ctx.prec, _SPLIT_BITS)):
            if power:
                factor = arb(2) ** power
                chosen = [ball * factor for ball in chosen]
            done, hi, lo, exponent, radius_log2 = _by_float64(chosen)
        places = left[done]
        columns[0][places] = ElementClass.FINITE
        columns[1][places] = hi[done]
        columns[2][places] = lo[done]
        columns[3][places] = exponent[done] - power
        columns[4][places] = radius_log2[done] - power
        left = left[~done]
    for i in left.tolist():
        _write(columns, i, _row_of_ball(balls[i]))
    return columns


def _by_float64(
    balls: Sequence[arb],
) -> tuple[
    NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]
]:
    """Return (done, hi, lo, exponent, radius_log2); done are inexact balls well inside float64."""
    near = np.fromiter(map(float, balls), np.float64, len(balls))
    rest = [ball - value for ball, value in zip(balls, near.tolist(), strict=True)]
    low = np.fromiter(map(float, rest), np.float64, len(rest))
    radius = np.fromiter((float(r.rad()) for r in rest), np.float64, len(rest))
    mantissa, exponent = np.frexp(near)
    scale = exponent.astype(np.int64) - 1
    lo = np.ldexp(low, -scale)
    done = np.isfinite(near) & (near != 0) & (np.abs(scale) < 900)
    done &= np.isfinite(radius) & (radius > 2.0**-1000)
    done &= (low == 0) | ((np.abs(lo) > 2.0**-900) & (np.abs(low) > 2.0**-1000))
    # low is its ball's midpoint rounded: half an ulp of it, and room for these two operations
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        total = (radius + np.abs(low) * 2.0**-52) * (1 + 2.0**-50)
        radius_log2 = round_up(np.log2(total) + 2.0**-40)
    return done, 2 * mantissa, lo, scale, radius_log2


def _row_of_ball(ball: arb) -> _Row:
    if not ball.is_finite():
        return (ElementClass.UNDECIDED, 0.0, 0.0, 0, math.inf)
    mantissa, exponent = ball.mid().man_exp()
    radius, radius_exponent = ball.rad().man_exp()
    return _split(int(mantissa), int(exponent), int(radius), int(radius_exponent))


def _split(mantissa: int, exponent: int, radius: int, radius_exponent: int) -> _Row:
    """Return (kind, hi, lo, exponent, radius_log2) of mantissa·2**exponent ± radius·2**radius_exponent."""
    if max(exponent, radius_exponent) > _ENDLESS:
        return (ElementClass.UNDECIDED, 0.0, 0.0, 0, math.inf)
    exponent, radius_exponent = max(exponent, -_ENDLESS), max(radius_exponent, -_ENDLESS)
    radii = [_log2_up(radius) + radius_exponent] if radius else []
    if mantissa:
        even = (mantissa & -mantissa).bit_length() - 1
        mantissa >>= even
        exponent += even
    excess = mantissa.bit_length() - _LONGEST
    if excess > 0:
        mantissa >>= excess
        exponent += excess
        radii.append(float(exponent))
    top = mantissa.bit_length() + exponent
    if mantissa and abs(top) > _WIDEST:
        if top > 0:
            return (ElementClass.UNDECIDED, 0.0, 0.0, 0, math.inf)
        mantissa = 0
        radii.append(float(top))
    hi = float(mantissa)
    rest = mantissa - int(hi)
    lo = float(rest)
    lost = abs(rest - int(lo))
    if lost:
        radii.append(_log2_up(lost) + exponent)
    radius_log2 = -math.inf
    if radii:
        total = max(radii) + math.log2(len(radii))
        total += abs(total) * 2.0**-50  # exponents beyond 2**53 were rounded on the way
        radius_log2 = float(round_up(np.array(total)))
    if mantissa == 0:
        return (ElementClass.FINITE if radii else ElementClass.ZERO, 0.0, 0.0, 0, radius_log2)
    scale = math.frexp(hi)[1] - 1
    held = math.ldexp(hi, -scale), math.ldexp(lo, -scale)
    return (ElementClass.FINITE, *held, exponent + scale, radius_log2)


def _log2_up(value: int) -> float:
    """Return a float at or above log2 of a positive integer, tight to 2**-39."""
    shift = max(0, value.bit_length() - 60)
    return math.log2((value >> shift) + (1 if shift else 0)) + shift + 2.0**-40


def _blank(size: int) -> Columns:
    return (
        np.full(size, ElementClass.UNDECIDED, np.uint8),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size, np.int64),
        np.full(size, -np.inf),
    )


def _write(columns: Columns, place: int, row: _Row) -> None:
    arrays: tuple[NDArray[Any], ...] = columns
    for array, value in zip(arrays, row, strict=True):
        array[place] = value
