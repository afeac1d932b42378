"""The logarithm of the normal distribution function: a number of the size of x²/2, of one that underflows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.operations import normal_family as family
from harness.operations.definition import operation, per_entry
from harness.registry import formulation


def definition(xp: Any, x: Any) -> Any:
    """log(½·erfc(−x/√2)), by log1p of the other tail where that is the smaller one."""
    right = xp.log1p(-family.exact_tail(xp, x))
    return xp.where(xp.greater(x, xp.scalar(0)), right, xp.log(family.exact_tail(xp, -x)))


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
    half, root = xp.scalar("0.5"), xp.scalar("-0.70710678118654752440084436210485")
    return lambda: xp.log(xp.multiply(half, xp.erfc(xp.multiply(root, x))))


@formulation(
    "normal_log_cdf",
    "erfcx",
    title="log(½·erfcx t) − t² below −1, log1p(−½·erfc(−t)) above, t = −x/√2",
)
def by_erfcx(xp: Any, x: Any) -> Callable[[], Any]:
    """Take the exponential out of the logarithm; each branch has an argument of its own."""
    half, root, border = xp.scalar("0.5"), xp.scalar("0.70710678118654752440084436210485"), xp.scalar(-1)

    def thunk() -> Any:
        far = xp.less(x, border)
        t = xp.negative(xp.multiply(root, xp.where(far, x, border)))
        s = xp.multiply(root, xp.where(far, border, x))
        logarithm = xp.subtract(xp.log(xp.multiply(half, xp.erfcx(t))), xp.multiply(t, t))
        return xp.where(far, logarithm, xp.log1p(xp.negative(xp.multiply(half, xp.erfc(s)))))

    return thunk
