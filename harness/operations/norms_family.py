"""What norms, and what is divided by them, share: rows, the exact root, its scaled form in three places.

The sum of squares overflows where an entry passes √Ω, and loses digits where squares are subnormal, below
√(min normal), though the norm itself is a number in range. Relative to the largest entry, c = max|x|, no
square passes 1, and those that underflow lose ω of a sum of at least 1 (Higham 2002, section 27.8; the BLAS's
nrm2).
"""

from __future__ import annotations

from typing import Any

from harness.errors import InputError
from harness.registry import ExactProblem


def require_rows(problem: ExactProblem) -> None:
    """Raise InputError unless every input has something along its last axis."""
    from harness.registry import COTANGENT

    for name, x in problem.inputs.items():
        if name != COTANGENT and (x.ndim == 0 or x.shape[-1] == 0):
            raise InputError(
                f"{name} has shape {list(x.shape)}, without anything along its last axis",
                "one number or more along the last axis is allowed",
            )


# ---- what is meant, in exact arithmetic -----------------------------------------------------------------


def root_of_squares(xp: Any, x: Any, *, keepdims: bool = False) -> Any:
    """Return √Σ x² along the last axis; at 0 its gradient is 0, the subgradient of least norm."""
    s = xp.sum(x * x, axis=-1, keepdims=keepdims)
    nothing = xp.equal(s, xp.scalar(0))
    return xp.where(nothing, xp.scalar(0), xp.sqrt(xp.where(nothing, xp.scalar(1), s)))


# ---- the algorithm whose roundings are counted ----------------------------------------------------------


def relative(xp: Any, x: Any, least: Any = 0) -> tuple[Any, Any]:
    """Return c, the larger of max|x| and `least` along the last axis, and x/c.

    Where c is 0 or infinite it is 1. No gradient flows through it: what is made of x/c and c does not
    depend on it.
    """
    top = xp.detach(xp.maximum(xp.max(xp.abs(x), axis=-1, keepdims=True), xp.scalar(least)))
    plain = xp.logical_or(xp.equal(top, xp.scalar(0)), xp.isinf(top))
    c = xp.where(plain, xp.scalar(1), top)
    return c, x / c


def root_of_relative(xp: Any, t: Any) -> Any:
    """Return √Σ t² along the last axis, which is kept; 0 of nothing but zeros, with gradient 0."""
    s = xp.sum(t * t, axis=-1, keepdims=True)
    nothing = xp.equal(s, xp.scalar(0))
    return xp.where(nothing, xp.scalar(0), xp.sqrt(xp.where(nothing, xp.scalar(1), s)))


# ---- what formulations call -----------------------------------------------------------------------------


def scale_of(xp: Any, x: Any, least: Any = None) -> Any:
    """Return max|x| of each row, and at least `least`, without a gradient; 1 where that divides nothing."""
    size = xp.max(xp.abs(x), axis=-1, keepdims=True)
    if least is not None:
        size = xp.maximum(size, least)
    divides = xp.logical_and(xp.isfinite(size), xp.greater(size, xp.scalar(0)))
    return xp.detach(xp.where(divides, size, xp.scalar(1)))


def norm_of_scaled(xp: Any, t: Any) -> Any:
    """Return the norm of each row of numbers relative to their largest; one of zeros has gradient 0."""
    squares = xp.sum(xp.square(t), axis=-1, keepdims=True)
    none = xp.equal(squares, xp.scalar(0))
    root = xp.sqrt(xp.where(none, xp.scalar(1), squares))
    return xp.where(none, xp.scalar(0), root)
