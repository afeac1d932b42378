"""What the functions of the standard normal distribution share: how its tail is meant, and how bounded.

The tail, P(X > √2·t) = ½·erfc t, is bounded as ½·exp(−t²)·erfcx t for t ≥ 0. So its condition shows in the
bound: a rounding of the argument is 2t² of them in the result, and the square that exp must be given has one
more, t² of u. SciPy's erfc, of the Cephes library, has just that (5.7·10⁻¹⁴ at t = 26, as it documents).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from harness.operations.definition import RUNNING

SQRT_HALF: Final = Decimal("0.70710678118654752440084436210484903928483593768847")
SOURCE: Final = f"½·erfc t = ½·exp(−t²)·erfcx t, NIST DLMF 7.2; {RUNNING}"


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
