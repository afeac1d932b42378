"""Layer normalisation, without weights: (x − m)/√(v + ε), m and v the mean and the variance of each row.

The bound. Let e be that of the computed mean m̂, by running error analysis. Each x − m̂ is off by e and a
rounding. Of the variance, two passes keep all digits (Chan, Golub & LeVeque 1983): since Σ (x − m) = 0,

    Σ (x − m̂)² = Σ (x − m)² + n(m̂ − m)²,

so that the mean costs e² and not e, and upwards only. Two roundings of a difference squared, that of the
square, the sum in any order and its rounding, the division, and that of v̂ + ε make

    (v + ε)(1 − θ) − |ε̂ − ε| − 2ω ≤ ŵ ≤ (v + e² + ε + |ε̂ − ε| + 2ω)(1 + θ),

with θ = (1 + u)⁶(1 + (n − 1)u_acc) − 1 and ε̂ the rounded ε. 1/√ŵ lies between those of the ends, but for two
roundings, and the result is one product more. Its gradient is bounded by running error analysis of h − mean h
with h = g·r − d·(s·r³/n), r = 1/√(v + ε) and s = Σ g·d.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from harness.model import Condition, Written
from harness.operations import definition
from harness.operations import norms_family as family
from harness.registry import COTANGENT, ExactProblem, Parameter, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference
    from harness.reference.running_error import Elements, RunningErrors

FLOAT64: Final = 2.0**-50
"""More than w has of errors of float64, in which it is evaluated here."""


def meant(xp: Any, x: Any, *, epsilon: Written) -> Any:
    """d·(1/√(mean d² + ε)), d = x − mean x: 0 is 0 exactly where an entry is the mean."""
    d = x - xp.mean(x, axis=-1, keepdims=True)
    return d * _inverse(xp, d, epsilon)


def meant_to_differentiate(xp: Any, x: Any, *, epsilon: Written) -> Any:
    """Centre last: so the cotangent is centred first, exactly, and one that is constant leaves an exact 0."""
    d = x - xp.mean(x, axis=-1, keepdims=True)
    y = x * _inverse(xp, d, epsilon)
    return y - xp.mean(y, axis=-1, keepdims=True)


def _inverse(xp: Any, d: Any, epsilon: Written) -> Any:
    return 1 / xp.sqrt(xp.mean(d * d, axis=-1, keepdims=True) + xp.scalar(epsilon))


def _centred_and_scale(problem: ExactProblem, errors: RunningErrors) -> tuple[Elements, Elements]:
    """Return x − m and 1/√(v + ε) with their bounds, those of the module."""
    import numpy as np

    from harness.reference.running_error import Elements

    x = errors.exact(problem.inputs["x"])
    mean, epsilon = errors.mean(x, -1, True), errors.scalar(problem.parameters["epsilon"])
    n = x.shape[-1]
    with np.errstate(all="ignore"):
        centred = x.value - np.mean(x.value, axis=-1, keepdims=True)
        centred = centred - np.mean(centred, axis=-1, keepdims=True)  # of m − m̂, in float64 here
        d = Elements(centred, errors.subtract(x, mean).error)
        w = np.mean(centred**2, axis=-1, keepdims=True) + epsilon.value
        theta = math.expm1(6 * math.log1p(errors.u) + math.log1p((n - 1) * errors.u_acc)) + FLOAT64
        lost = epsilon.error + 2 * errors.least
        low = np.maximum(w * (1 - theta) - lost, 0.0)
        high = (w + mean.error**2 + lost) * (1 + theta)
        r = 1 / np.sqrt(w)
        off = np.maximum(1 / np.sqrt(low) - r, r - 1 / np.sqrt(high))
        return d, Elements(r, off + 2 * errors.u * (r + off) + errors.least)


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the module's bound."""
    from harness.reference.running_error import RunningErrors, log2_of

    errors = RunningErrors(precision)
    return {"y": log2_of(errors.multiply(*_centred_and_scale(problem, errors)))}


def gradient_bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the module's bound of the gradient."""
    from harness.reference.running_error import Elements, RunningErrors, log2_of

    errors = RunningErrors(precision)
    d, r = _centred_and_scale(problem, errors)
    g = errors.exact(problem.inputs[COTANGENT])
    s = errors.sum(errors.multiply(g, d), -1, True)
    cube = errors.multiply(errors.multiply(r, r), r)
    share = errors.divide(errors.multiply(s, cube), Elements(float(d.shape[-1])))
    total = errors.subtract(errors.multiply(g, r), errors.multiply(d, share))
    return {"grad_x": log2_of(errors.subtract(total, errors.mean(total, -1, True)))}


definition.operation(
    name="layer_norm",
    title="Layer normalisation",
    formula="y = (x − m) / √(v + ε), m = Σ_j x_j/n, v = Σ_j (x_j − m)²/n",
    inputs={"x": "any shape, at least one entry along the last axis"},
    definition=meant,
    gradient_definition=meant_to_differentiate,
    algorithm="(x − m̂)/√(v̂ + ε) in two passes, with the mean's error squared in the variance",
    bound=bound,
    gradient_bound=gradient_bound,
    source=f"Chan, Golub & LeVeque, Am. Stat. 37 (1983), for the variance; {definition.RUNNING}",
    parameters={
        "epsilon": Parameter(
            Decimal("1e-5"), "added to the variance", kind="number", within=Condition(at_least=0)
        )
    },
    differentiable=("x",),
    cost=definition.per_entry(7),
    gradient_cost=definition.per_entry(16),
    gradient_formula="r·(g − mean g − y·mean(y g)), r = 1/√(v + ε)",
    condition=False,
    check=family.require_rows,
)


@formulation("layer_norm", "one_pass", title="v = mean x² − m²", needs=("elementwise", "sum"))
def one_pass(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Subtract squares: nothing is left of the variance where |m| > σ/√u, and it may be negative."""
    least = xp.scalar(epsilon)

    def thunk() -> Any:
        m = xp.mean(x, axis=-1, keepdims=True)
        v = xp.subtract(xp.mean(xp.square(x), axis=-1, keepdims=True), xp.square(m))
        return xp.divide(xp.subtract(x, m), xp.sqrt(xp.add(v, least)))

    return thunk


@formulation("layer_norm", "two_pass", title="v = mean (x − m)²", needs=("elementwise", "sum"))
def two_pass(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Subtract the mean before squaring."""
    least = xp.scalar(epsilon)

    def thunk() -> Any:
        centred = xp.subtract(x, xp.mean(x, axis=-1, keepdims=True))
        v = xp.mean(xp.square(centred), axis=-1, keepdims=True)
        return xp.divide(centred, xp.sqrt(xp.add(v, least)))

    return thunk
