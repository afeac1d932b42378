"""The floating-point environment of this thread: rounding mode, and whether subnormals are flushed.

A kernel that leaves another environment behind (`torch.set_flush_denormal` reaches NumPy in the same
process) changes the bits of whatever runs after it. So it is looked at before and after each kernel.
"""

from __future__ import annotations

import ctypes
import sys

_FE_DFL_ENV = ctypes.c_void_p(-1)
"""glibc and musl: the environment at program start (fenv.h)."""


def departure() -> str | None:
    """Return how arithmetic departs from IEEE 754's default, or None; takes a microsecond.

    Judged by results, not by reading a register: a product and a sum whose values tell.
    """
    one, tiny, subnormal = 1.0, sys.float_info.min, 5e-324
    found = []
    if tiny * 0.5 == 0.0 or subnormal * 2.0**60 == 0.0:  # results, or operands
        found.append("flushes subnormals")
    up = one + 2.0**-60 > one
    down = -one - 2.0**-60 < -one
    if up:
        found.append("rounds up")
    elif down:
        found.append("rounds down")
    elif one + 0.75 * sys.float_info.epsilon == one:
        found.append("rounds toward zero")
    return " and ".join(found) or None


def restore() -> bool:
    """Set the default environment again; return whether that worked."""
    try:
        library = ctypes.CDLL(None)
        library.fesetenv(_FE_DFL_ENV)
    except (OSError, AttributeError, TypeError):
        return departure() is None
    return departure() is None
