"""Enclosures whose radius holds: raise the precision of ball arithmetic until it does."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb, arb_mat, ctx, fmpq
from numpy.typing import NDArray

from harness.reference.elements import FINITE, UNDECIDED, ReferenceArray

if TYPE_CHECKING:
    from harness.formats import NumberFormat

START_BITS = 128
CAP_BITS = 4096
RADIUS_LOG2 = -10
"""A radius holds up to 2**RADIUS_LOG2 ulp of the format, or as much of u · scale."""


def certify(
    compute: Callable[[int], Sequence[arb | None]],
    *,
    fmt: NumberFormat,
    shape: tuple[int, ...],
    scale: Any = None,
    kinds: Any = None,
    start: int = START_BITS,
    cap: int = CAP_BITS,
) -> ReferenceArray:
    """Return certified elements, computing all of them at every precision.

    Parameters
    ----------
    compute : callable
        Takes a precision in bits, at which ball arithmetic is set while it runs; returns one ball for
        each element in C order.
    fmt : NumberFormat
        The format of the output.
    shape : of the output.
    scale : array, optional
        Non-negative, broadcastable to `shape`: where an element's radius is above 2⁻¹⁰ ulp, 2⁻¹⁰·u·scale
        is enough as well (u: unit roundoff of `fmt`).
    kinds : array of ElementClass, optional
        Of that shape; where it is not FINITE, the operation's own rules have decided, and what
        `compute` returns there is not looked at.
    start, cap : int
        First and last precision in bits; it is doubled in between. What is still too wide at the cap
        is UNDECIDED.
    """

    def chosen(bits: int, places: NDArray[np.intp]) -> Sequence[arb | None]:
        balls = compute(bits)
        return balls if places.size == len(balls) else [balls[i] for i in places.tolist()]

    return certify_elements(chosen, fmt=fmt, shape=shape, scale=scale, kinds=kinds, start=start, cap=cap)


def certify_elements(
    compute: Callable[[int, NDArray[np.intp]], Sequence[arb | None]],
    *,
    fmt: NumberFormat,
    shape: tuple[int, ...],
    scale: Any = None,
    kinds: Any = None,
    start: int = START_BITS,
    cap: int = CAP_BITS,
) -> ReferenceArray:
    """Return certified elements, computing at a higher precision only those still too wide.

    As `certify`, but `compute` takes the flat indices of the elements wanted beside the precision, and
    returns one ball for each of them.
    """
    kind = np.full(shape, FINITE, np.uint8) if kinds is None else np.array(kinds, np.uint8).reshape(shape)
    enough = _scale_radius_log2(fmt, scale, shape).reshape(-1)
    whole = ReferenceArray.from_kinds(np.where(kind == FINITE, UNDECIDED, kind).reshape(-1))
    left = np.flatnonzero(kind == FINITE)
    bits = start
    while left.size:
        with ctx.workprec(bits):
            found = ReferenceArray.from_balls(compute(bits, left), (left.size,))
        wide = ~holds(found, fmt, enough[left])
        whole.assign(left[~wide], found[~wide])
        left = left[wide]
        if bits >= cap:
            break
        bits = min(2 * bits, cap)
    return whole.reshape(shape)


def holds(found: ReferenceArray, fmt: NumberFormat, enough: Any = -np.inf) -> NDArray[np.bool_]:
    """Return where the radius is at most 2⁻¹⁰ ulp of `fmt`, or 2**enough; nowhere UNDECIDED."""
    allowed = np.maximum(found.ulp_exponent(fmt) + float(RADIUS_LOG2), enough)
    return np.asarray((found.radius_log2 <= allowed) & (found.kind != UNDECIDED), np.bool_)


def _scale_radius_log2(fmt: NumberFormat, scale: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if scale is None:
        return np.full(shape, -np.inf)
    with np.errstate(divide="ignore"):
        log2 = np.log2(np.asarray(scale, np.float64))
    return np.broadcast_to(log2 - fmt.precision + RADIUS_LOG2, shape)


def exact_balls(values: Any) -> list[arb]:
    """Return finite float64 `values` (any shape, C order) as balls of radius 0, at any precision."""
    return list(map(arb, np.asarray(values, np.float64).reshape(-1).tolist()))


def ball_of(number: int | float | Decimal | Fraction) -> arb:
    """Return a ball around an exact finite number, at the precision set."""
    if isinstance(number, (int, float)):
        return arb(number)
    exact = Fraction(number)
    return arb(fmpq(exact.numerator, exact.denominator))


def total(balls: Sequence[arb]) -> arb:
    """Return the sum of balls, at the precision set."""
    return sum(balls, arb(0))


def dot(left: Sequence[arb], right: Sequence[arb]) -> arb:
    """Return Σ left·right with one rounding of the whole, at the precision set."""
    if len(left) < 8:  # below, building two matrices costs more than the products
        return total(list(map(operator.mul, left, right)))
    return (arb_mat(1, len(left), left) * arb_mat(len(right), 1, right))[0, 0]
