"""What the functions of the standard normal distribution share: how its tail is meant, and how bounded.

The tail, P(X > √2·t) = ½·erfc t, is bounded as ½·exp(−t²)·erfcx t for t ≥ 0. So its condition shows in the
bound: a rounding of the argument is 2t² of them in the result, and the square that exp must be given has one
more, t² of u. SciPy's erfc, of the Cephes library, has just that (5.7·10⁻¹⁴ at t = 26, as it documents).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from harness.operations.definition import RUNNING
from harness.tape import SQRT_2_PI

SQRT_HALF: Final = Decimal("0.70710678118654752440084436210484903928483593768847")
TWO_PI: Final = Decimal("6.2831853071795864769252867665590057683943387987502")
ROOT_TWO_PI: Final = Decimal(SQRT_2_PI)
HALF_LOG_TWO_PI: Final = Decimal("0.91893853320467274178032973640561763986139747363778")
"""ln √(2π). To 50 digits and more, for algorithms, which round them; definitions have `exact_two_pi`."""
SOURCE: Final = f"½·erfc t = ½·exp(−t²)·erfcx t, NIST DLMF 7.2; {RUNNING}"


def exact_two_pi(xp: Any) -> Any:
    """Return 2π = 8·atan 1, in exact arithmetic."""
    return xp.multiply(xp.atan(xp.scalar(1)), xp.scalar(8))


def exact_tail(xp: Any, x: Any) -> Any:
    """Return P(X > x) = ½·erfc(x/√2)."""
    return xp.erfc(x / xp.sqrt(xp.scalar(2))) / 2


def tail(xp: Any, t: Any) -> Any:
    """Return ½·erfc t as above; each branch has an argument of its own."""
    zero = xp.scalar(0)
    left = xp.less(t, zero)
    small, large = xp.where(left, t, zero), xp.where(left, zero, t)
    falling = xp.exp(-xp.square(large)) * xp.erfcx(large)
    return xp.where(left, xp.erfc(small), falling) * 0.5


def plain_tail(xp: Any, t: Any) -> Any:
    """Return ½·erfc t; its derivative is an exponential, whatever erfc itself is worth."""
    return xp.erfc(t) * 0.5
