"""Bayes' rule for one event: P(A|B) = P(B|A)·P(A)/P(B)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import InputError
from harness.operations.definition import operation, per_entry, require_one_shape
from harness.registry import ExactProblem, formulation


def definition(xp: Any, likelihood: Any, prior: Any, evidence: Any) -> Any:
    """P(B|A)·P(A)/P(B)."""
    return likelihood * prior / evidence


def ordered(xp: Any, likelihood: Any, prior: Any, evidence: Any) -> Any:
    """(small/P(B))·large: the quotient is at most 1/√P(B), as small·large ≤ P(B), and no less than y."""
    large, small = xp.maximum(likelihood, prior), xp.minimum(likelihood, prior)
    return xp.multiply(xp.divide(small, evidence), large)


def check(problem: ExactProblem) -> None:
    """Refuse what are no probabilities, evidence of 0, and shapes that differ."""
    import numpy as np

    require_one_shape(problem)
    for name in ("likelihood", "prior", "evidence"):
        x = problem.inputs[name]
        bad = ~((x >= 0) & (x <= 1) & np.isfinite(x))
        if bad.any():
            raise InputError(f"{name} holds {x[bad].flat[0]!r}; allowed are probabilities, 0 to 1")
    if (problem.inputs["evidence"] == 0).any():
        raise InputError("evidence holds 0: nothing is conditional on what cannot happen", "use P(B) > 0")


operation(
    name="conditional_probability",
    title="Conditional probability by Bayes' rule",
    formula="P(A|B) = P(B|A)·P(A)/P(B)",
    inputs={
        "likelihood": "any shape: P(B|A)",
        "prior": "the same shape: P(A)",
        "evidence": "the same shape: P(B) > 0",
    },
    definition=definition,
    stable=ordered,
    algorithm="(the smaller factor / P(B)) times the larger",
    differentiable=("likelihood", "prior"),
    gradient_formula="g·P(A)/P(B), g·P(B|A)/P(B)",
    check=check,
    cost=per_entry(2),
    elementwise=True,
)


@formulation("conditional_probability", "product_first", title="(P(B|A)·P(A))/P(B)")
def product_first(xp: Any, likelihood: Any, prior: Any, evidence: Any) -> Callable[[], Any]:
    """Multiply first: the product of two rare things underflows, be the quotient what it may."""
    return lambda: xp.divide(xp.multiply(likelihood, prior), evidence)


@formulation("conditional_probability", "ordered", title="(smaller/P(B))·larger")
def ordered_formulation(xp: Any, likelihood: Any, prior: Any, evidence: Any) -> Callable[[], Any]:
    """Divide the smaller factor first: nothing between is smaller than the result."""
    return lambda: ordered(xp, likelihood, prior, evidence)
