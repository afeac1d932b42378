"""log(1 − eˣ) for x < 0, the logarithm of a probability's complement; two cancellations, one at each end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from harness.operations.definition import RUNNING, operation, per_entry
from harness.registry import formulation

MINUS_LN_2: Final = "-0.6931471805599453094172321214581766"
"""Where eˣ is ½: above it 1 − eˣ is the smaller, below it eˣ."""


def definition(xp: Any, x: Any) -> Any:
    """Return log(1 − eˣ), by log1p: a ball around log 1 would hold 0, however small eˣ is."""
    return xp.log1p(-xp.exp(x))


def split(xp: Any, x: Any) -> Any:
    """log(−expm1 x) above −ln 2, log1p(−eˣ) below; each branch has an argument of its own."""
    middle = xp.scalar(MINUS_LN_2)
    near = xp.greater(x, middle)
    above = xp.log(-xp.expm1(xp.where(near, x, middle)))
    return xp.where(near, above, xp.log1p(-xp.exp(xp.where(near, middle, x))))


operation(
    name="log1mexp",
    title="log(1 − eˣ)",
    formula="y = log(1 − eˣ)",
    inputs={"x": "any shape, at most 0"},
    definition=definition,
    stable=split,
    algorithm="log(−expm1 x) above −ln 2, log1p(−eˣ) below",
    source=f"Mächler, Accurately computing log(1 − exp(−|a|)), Rmpfr package 2012; {RUNNING}",
    differentiable=("x",),
    cost=per_entry(3),
    gradient_cost=per_entry(6),
    gradient_formula="−g·eˣ/(1 − eˣ)",
    elementwise=True,
)


@formulation("log1mexp", "naive", title="log(1 − eˣ)")
def naive(xp: Any, x: Any) -> Callable[[], Any]:
    """Subtract: log 0 where eˣ rounds to 1, from −u/2 on; log 1 = 0 where it is below u/2."""
    one = xp.scalar(1)
    return lambda: xp.log(xp.subtract(one, xp.exp(x)))


@formulation("log1mexp", "split", title="log(−expm1 x) above −ln 2, log1p(−eˣ) below")
def by_split(xp: Any, x: Any) -> Callable[[], Any]:
    """Choose twice: before the functions too, so that the branch not taken has a finite slope."""
    middle = xp.scalar(MINUS_LN_2)

    def thunk() -> Any:
        near = xp.greater(x, middle)
        small, large = xp.where(near, x, middle), xp.where(near, middle, x)
        above = xp.log(xp.negative(xp.expm1(small)))
        return xp.where(near, above, xp.log1p(xp.negative(xp.exp(large))))

    return thunk


@formulation(
    "log1mexp",
    "split_once",
    title="where(x > −ln 2, log(−expm1 x), log1p(−eˣ))",
)
def by_one_choice(xp: Any, x: Any) -> Callable[[], Any]:
    """Choose between results alone: in a gradient the other branch is 0·∞, where eˣ rounds to 1."""
    middle = xp.scalar(MINUS_LN_2)

    def thunk() -> Any:
        near = xp.greater(x, middle)
        below = xp.log1p(xp.negative(xp.exp(x)))
        return xp.where(near, xp.log(xp.negative(xp.expm1(x))), below)

    return thunk
