"""The logarithm of the normal distribution function: a number of the size of x²/2, of one that underflows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from harness.operations import normal_family as family
from harness.operations.definition import operation, per_entry
from harness.registry import formulation

FAR: Final = -64
"""From here on down the tail is a power of e that exact arithmetic has no use for; its logarithm is x²/2."""


def definition(xp: Any, x: Any) -> Any:
    """log(½·erfc(−x/√2)), by log1p of the other tail where that is the smaller one.

    Far to the left log(½·erfcx t) − t², t = −x/√2. At −∞, −x²/2: its derivative has the limit of φ/Φ, +∞.
    """
    zero, border = xp.scalar(0), xp.scalar(FAR)
    positive, far, endless = xp.greater(x, zero), xp.less(x, border), xp.equal(x, xp.scalar("-inf"))
    right = xp.log1p(-family.exact_tail(xp, xp.where(positive, x, zero)))
    left = xp.log(family.exact_tail(xp, -xp.where(xp.logical_or(positive, far), zero, x)))
    near = xp.where(positive, right, left)
    t = -xp.where(xp.logical_and(far, xp.logical_not(endless)), x, border) / xp.sqrt(xp.scalar(2))
    lower = xp.log(xp.erfcx(t) / 2) - t * t
    limit = -xp.square(xp.where(endless, x, zero)) / 2
    return xp.where(endless, limit, xp.where(far, lower, near))


def by_branches(xp: Any, x: Any, tail: Any = family.tail) -> Any:
    """log(½·erfcx t) − t², t = −x/√2, below −1; log1p(−½·erfc(x/√2)) from there on."""
    border = xp.scalar(-1)
    left = xp.less(x, border)
    t = xp.where(left, x, border) * -family.SQRT_HALF
    far = xp.log(xp.erfcx(t) * 0.5) - xp.square(t)
    return xp.where(left, far, xp.log1p(-tail(xp, xp.where(left, border, x) * family.SQRT_HALF)))


operation(
    name="normal_log_cdf",
    title="Logarithm of the normal distribution function",
    formula="y = log P(X ≤ x)",
    inputs={"x": "any shape"},
    definition=definition,
    stable=by_branches,
    algorithm="log(½·erfcx t) − t², t = −x/√2, below −1, and log1p(−½·erfc(x/√2)) above",
    source=family.SOURCE,
    differentiable=("x",),
    cost=per_entry(6),
    gradient_cost=per_entry(10),
    gradient_formula="g·φ(x)/P(X ≤ x), φ(x) = exp(−x²/2)/√(2π)",
    gradient_stable=lambda xp, x: by_branches(xp, x, family.plain_tail),
    elementwise=True,
)


@formulation("normal_log_cdf", "naive", title="log(½·erfc(−x/√2))")
def naive(xp: Any, x: Any) -> Callable[[], Any]:
    """Take the logarithm of the number: of 0 where it underflows, of 1 from 8.29 on in float64."""
    half, root = xp.scalar("0.5"), xp.scalar(-family.SQRT_HALF)
    return lambda: xp.log(xp.multiply(half, xp.erfc(xp.multiply(root, x))))


@formulation(
    "normal_log_cdf",
    "erfcx",
    title="log(½·erfcx t) − t² below −1, log1p(−½·erfc(−t)) above, t = −x/√2",
)
def by_erfcx(xp: Any, x: Any) -> Callable[[], Any]:
    """Take the exponential out of the logarithm; each branch has an argument of its own."""
    half, root, border = xp.scalar("0.5"), xp.scalar(family.SQRT_HALF), xp.scalar(-1)

    def thunk() -> Any:
        far = xp.less(x, border)
        t = xp.negative(xp.multiply(root, xp.where(far, x, border)))
        s = xp.multiply(root, xp.where(far, border, x))
        logarithm = xp.subtract(xp.log(xp.multiply(half, xp.erfcx(t))), xp.multiply(t, t))
        return xp.where(far, logarithm, xp.log1p(xp.negative(xp.multiply(half, xp.erfc(s)))))

    return thunk
