"""Expectation of a linear combination: E[aX + bY] = a·E[X] + b·E[Y]."""

from __future__ import annotations

from typing import Any

from harness.errors import InputError
from harness.model import Written
from harness.operations.definition import one, operation, per_entry
from harness.registry import ExactProblem, Parameter, Thunk, formulation


def definition(xp: Any, x: Any, y: Any, *, a: Written, b: Written) -> Any:
    """Return the mean of a·x + b·y."""
    return xp.mean(x * a + y * b, axis=0)


def check(problem: ExactProblem) -> None:
    """Raise InputError unless x and y are vectors of one length."""
    x, y = problem.inputs["x"], problem.inputs["y"]
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"x and y have shapes {list(x.shape)} and {list(y.shape)}; allowed: one length")


OPERATION = operation(
    name="linear_expectation",
    title="Expectation of a linear combination",
    formula="e = Σ_i (a·x_i + b·y_i) / n",
    inputs={"x": "(n,)", "y": "(n,)"},
    outputs=("e",),
    definition=definition,
    algorithm="the mean of a·x + b·y",
    differentiable=("x", "y"),
    gradient_formula="r_i = a·g/n, s_i = b·g/n",
    parameters={
        "a": Parameter(1, "factor of x", kind="number"),
        "b": Parameter(1, "factor of y", kind="number"),
    },
    check=check,
    cost=per_entry(4, one),
)


@formulation("linear_expectation", "combined", title="E[aX + bY]", needs=("elementwise", "sum"))
def combined(xp: Any, x: Any, y: Any, *, a: Written, b: Written) -> Thunk:
    """Take the mean of the combination."""
    first, second = xp.scalar(a), xp.scalar(b)
    return lambda: xp.mean(xp.add(xp.multiply(x, first), xp.multiply(y, second)), axis=0)


@formulation("linear_expectation", "separate", title="a·E[X] + b·E[Y]", needs=("elementwise", "sum"))
def separate(xp: Any, x: Any, y: Any, *, a: Written, b: Written) -> Thunk:
    """Combine the means."""
    first, second = xp.scalar(a), xp.scalar(b)

    def thunk() -> Any:
        means = xp.mean(x, axis=0), xp.mean(y, axis=0)
        return xp.add(xp.multiply(means[0], first), xp.multiply(means[1], second))

    return thunk
