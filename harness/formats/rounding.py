"""One correct rounding to any format: from exact numbers, from float64, from unevaluated pairs.

Rounding is to nearest, ties to even, in one step; what is too large becomes what the format's
`overflow` says (the ties rule of IEEE 754-2019 §4.3.1). A NaN stays NaN. A format without −0 gives 0
for it; one without zero gives NaN for 0 and rounds small positive numbers to its smallest; one
without sign gives NaN for negative numbers.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from harness.formats.rows import NumberFormat, power_of_two

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Exact = int | Fraction | Decimal | float
"""An exact number; special values as Decimal or float."""

_FAR = 5000  # beyond the exponent range of every format, and of the float64 that carries results


Direction = Literal["nearest", "away", "toward_zero"]


def round_exact(fmt: NumberFormat, x: Exact) -> Fraction | float:
    """Return `x` rounded once to `fmt`: a Fraction, or ±inf, NaN or −0.0 as a float.

    Parameters
    ----------
    x : int, Fraction, Decimal or float
        Any exact number; infinities, NaN and −0 as Decimal or float.
    """
    rounded = _round(fmt, x)
    return rounded if isinstance(rounded, float) else rounded[0] * power_of_two(rounded[1])


def round_to_float(fmt: NumberFormat, x: Exact) -> float:
    """Return `x` rounded once to `fmt`, as the float that holds it exactly."""
    rounded = _round(fmt, x)
    return rounded if isinstance(rounded, float) else math.ldexp(*rounded)


def round_to_grid(fmt: NumberFormat, x: Fraction, direction: Direction) -> Fraction:
    """Return `x` on the grid of `fmt`, continued beyond the largest number with the same precision."""
    multiple, exponent = _on_grid(fmt, abs(x), direction)
    return (multiple if x >= 0 else -multiple) * power_of_two(exponent)


def floor_log2(x: Fraction) -> int:
    """Return ⌊log2 x⌋ of a positive rational, exactly."""
    n, d = x.numerator, x.denominator
    exponent = n.bit_length() - d.bit_length()
    below = n < d << exponent if exponent >= 0 else n << -exponent < d
    return exponent - below


def _on_grid(fmt: NumberFormat, x: Fraction, direction: Direction) -> tuple[int, int]:
    """Return k and q such that k·2^q is `x` ≥ 0 rounded to the grid with unbounded exponent."""
    if x == 0:
        return 0, 0
    exponent = max(floor_log2(x), fmt.exponent_min) - fmt.precision + 1
    n, d = x.numerator, x.denominator
    if exponent >= 0:
        d <<= exponent
    else:
        n <<= -exponent
    multiple, rest = divmod(n, d)
    if direction == "away":
        multiple += rest > 0
    elif direction == "nearest":
        multiple += 2 * rest > d or (2 * rest == d and multiple % 2 == 1)
    return multiple, exponent


def _round(fmt: NumberFormat, x: Exact) -> float | tuple[int, int]:
    """Return k and q with k·2^q the number rounded; ±inf, NaN and −0 as a float."""
    special = _special(x)
    if special is not None:
        return _round_special(fmt, special)
    number = Fraction(_within_range(x))
    multiple, exponent = _on_grid(fmt, abs(number), "nearest")
    if multiple == 0 and (number < 0 or not fmt.zero):
        return _round_special(fmt, -0.0) if number <= 0 else (1, fmt.exponent_min)
    if number < 0 and not fmt.signed:
        return math.nan
    top = fmt.exponent_max - fmt.mantissa_bits
    if multiple << max(exponent - top, 0) > fmt.max_significand << max(top - exponent, 0):
        return _round_special(fmt, -math.inf if number < 0 else math.inf)
    return multiple if number > 0 else -multiple, exponent


def round_array(fmt: NumberFormat, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each element of `x` rounded once to `fmt`, as a float64 array of its shape."""
    import numpy as np

    values = np.asarray(x, dtype=np.float64)
    if fmt.precision == 53:
        return values.copy()
    _, exponent = np.frexp(values)
    quantum = np.maximum(exponent - 1, fmt.exponent_min) - (fmt.precision - 1)
    rounded = np.ldexp(np.rint(np.ldexp(values, -quantum)), quantum)
    return _settle(fmt, rounded, values)


def round_pair(
    fmt: NumberFormat, hi: NDArray[np.float64], lo: NDArray[np.float64], exponent: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (hi + lo)·2^exponent rounded once to `fmt`, as a float64 array.

    Parameters
    ----------
    hi : float64 array
        Leading part: ±0, ±inf, NaN, or any finite number.
    lo : float64 array
        Trailing part, |lo| ≤ ulp(hi)/2; ignored where `hi` is zero or not finite.
    exponent : int64 array
        Of two; any value, also far outside float64's range.
    """
    import numpy as np

    top, low, scale = np.broadcast_arrays(
        np.asarray(hi, np.float64), np.asarray(lo, np.float64), np.asarray(exponent, np.int64)
    )
    regular = np.isfinite(top) & (top != 0)
    mantissa, shift = np.frexp(np.where(regular, top, 1.0))
    head = 2 * mantissa  # ±[1, 2)
    tail = np.ldexp(np.where(regular, low, 0.0), 1 - shift)
    power = np.clip(scale, -(2**62), 2**62) + (shift - 1)
    below = (np.abs(head) == 1) & (tail * head < 0)  # |hi + lo| is in the binade under hi's
    quantum = np.maximum(power - below, fmt.exponent_min) - (fmt.precision - 1)
    up = np.clip(power - quantum, -200, 60).astype(np.int64)  # 2^−200 rounds like anything smaller
    scaled = np.ldexp(head, up)
    nearest = np.rint(scaled)
    # Of a tail under 2^−800 only the sign can count: scaled's distance from a tie is 0 or ≥ 2^−252.
    fraction = np.ldexp(tail, up)
    fraction = np.where((tail != 0) & (np.abs(fraction) < 2.0**-800), np.copysign(2.0**-800, tail), fraction)
    sum_, error = _two_sum(scaled - nearest, fraction)
    odd = np.mod(nearest, 2) == 1
    half = 0.5
    increment = (sum_ > half) | ((sum_ == half) & ((error > 0) | ((error == 0) & odd & (fraction != 0))))
    decrement = (sum_ < -half) | ((sum_ == -half) & ((error < 0) | ((error == 0) & odd & (fraction != 0))))
    whole = nearest + increment - decrement
    with np.errstate(over="ignore"):
        rounded = np.ldexp(np.where(regular, whole, top), np.clip(quantum, -_FAR, _FAR).astype(np.int64))
    return _settle(fmt, rounded, top)


def round_objects(fmt: NumberFormat, x: NDArray[Any]) -> NDArray[np.float64]:
    """Return an array of exact numbers (see `round_exact`), each rounded once to `fmt`, as float64."""
    import numpy as np

    values = np.asarray(x, dtype=object)
    rounded = np.empty(values.shape, np.float64)
    flat = rounded.reshape(-1)
    known: dict[int, float] = {}  # by identity: an array of one constant is rounded once
    for i, value in enumerate(values.reshape(-1).tolist()):
        if id(value) not in known:
            known[id(value)] = round_to_float(fmt, value)
        flat[i] = known[id(value)]
    return rounded


def ulp_exponent(fmt: NumberFormat, exponent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return log2 of the unit in the last place of numbers in [2^e, 2^(e+1)), for an array of e."""
    import numpy as np

    return np.maximum(np.asarray(exponent, np.int64), fmt.exponent_min) - (fmt.precision - 1)


def is_finite(x: Exact) -> bool:
    """Return whether a number of any size is neither an infinity nor NaN."""
    if isinstance(x, Decimal):
        return x.is_finite()
    return not isinstance(x, float) or math.isfinite(x)


def _special(x: Exact) -> float | None:
    """Return ±inf, NaN and −0 as a float; None for any other number."""
    if not is_finite(x):
        return math.nan if isinstance(x, Decimal) and x.is_nan() else float(x)
    if isinstance(x, (float, Decimal)) and x == 0 and math.copysign(1.0, x) < 0:
        return -0.0
    return None


def _within_range(x: Exact) -> Exact:
    """Return `x`, or for 1e±999999 a number of sane size that rounds alike to every format."""
    if isinstance(x, Decimal) and x != 0 and abs(x.adjusted()) > _FAR:
        return Decimal((x.as_tuple().sign, (1,), _FAR if x.adjusted() > 0 else -_FAR))
    return x


def _round_special(fmt: NumberFormat, x: float) -> float | tuple[int, int]:
    """Return what ±inf, NaN and −0 become: also what overflows, underflows, or is a zero too many."""
    if math.isnan(x) or (math.copysign(1.0, x) < 0 and not fmt.signed):
        return math.nan
    if x == 0:
        return -0.0 if fmt.negative_zero else (0, 0)
    if fmt.overflow == "max":
        sign = 1 if x > 0 else -1
        return sign * fmt.max_significand, fmt.exponent_max - fmt.mantissa_bits
    return math.nan if fmt.overflow == "nan" else x


def _settle(
    fmt: NumberFormat, rounded: NDArray[np.float64], original: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return numbers rounded with unbounded exponent, with overflow, zeros and signs as in `fmt`."""
    import numpy as np

    largest = float(fmt.max_finite)
    beyond = np.abs(rounded) > largest
    if beyond.any():
        replacement = {"inf": np.inf, "nan": np.nan, "max": largest}[fmt.overflow]
        rounded = np.where(beyond, np.copysign(replacement, original), rounded)
    if not fmt.zero:
        rounded = np.where(rounded == 0, np.where(original > 0, float(fmt.min_subnormal), np.nan), rounded)
    elif fmt.negative_zero:
        rounded = np.where(rounded == 0, np.copysign(0.0, original), rounded)
    else:
        rounded = rounded + 0.0
    return rounded if fmt.signed else np.where(original < 0, np.nan, rounded)


def _two_sum(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a + b rounded, and its error (Knuth, TAOCP vol. 2, §4.2.2, theorem B)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
