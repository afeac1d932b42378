"""An operation that a test plants: y = x², of an x in a format of its own, and its gradient g·2x.

The gradient of `doubled` has its factor; that of `forgotten` lacks it, as a wrong answer does.
"""

from __future__ import annotations

from fractions import Fraction

from harness.formats import FORMATS
from harness.registry import (
    Gradient,
    Operation,
    Parameter,
    formulation,
    gradient,
    gradient_output,
    register_operation,
)


def _square(problem):
    from harness.reference.elements import Reference, ReferenceArray

    x = problem.inputs["x"]
    exact = [Fraction(v) ** 2 for v in x.reshape(-1).tolist()]
    return Reference({"y": ReferenceArray.from_fractions(exact, x.shape)})


def _slope(problem):
    from harness.reference.elements import Reference, ReferenceArray

    x, g = problem.inputs["x"], problem.inputs["cotangent"]
    pairs = zip(x.reshape(-1).tolist(), g.reshape(-1).tolist(), strict=True)
    exact = [2 * Fraction(a) * Fraction(b) for a, b in pairs]
    assert problem.with_respect_to == ("x",)
    return Reference({gradient_output("x"): ReferenceArray.from_fractions(exact, x.shape)})


def _two_roundings(problem, reference, precision):
    import numpy as np

    smallest = float(precision.format.min_subnormal)
    return {
        name: np.logaddexp2(np.log2(3 * precision.u_out) + value.log2_abs(), np.log2(smallest))
        for name, value in reference.outputs.items()
    }


register_operation(
    Operation(
        name="planted_square",
        title="Square",
        formula="y = x²",
        inputs={"x": "any shape"},
        outputs=("y",),
        dtypes=("float32",),
        reference=_square,
        reference_version=1,
        bound_formula="3u|y| + ω",
        bound_source="two roundings",
        bound=_two_roundings,
        parameters={"source": Parameter("float32", "format of x", choices=tuple(FORMATS))},
        storage={"x": "source"},
        gradient=Gradient(
            with_respect_to=("x",),
            formula="2·x·g",
            reference=_slope,
            reference_version=1,
            bound_formula="3u|y| + ω",
            bound_source="two roundings",
            bound=_two_roundings,
        ),
    )
)


def _build(xp, x, source="float32"):
    def thunk():
        wide = xp.astype(x, xp.dtype.name)
        return xp.multiply(wide, wide)

    return thunk


for name in ("doubled", "forgotten", "underived"):
    formulation("planted_square", name, title=name)(_build)


@gradient("planted_square", "doubled", title="2·x·g")
def doubled(xp, x, cotangent, with_respect_to, source="float32"):
    def thunk():
        wide = xp.astype(x, xp.dtype.name)
        return (xp.multiply(xp.add(wide, wide), cotangent),)

    return thunk


@gradient("planted_square", "forgotten", title="x·g, wrongly")
def forgotten(xp, x, cotangent, with_respect_to, source="float32"):
    def thunk():
        return (xp.multiply(xp.astype(x, xp.dtype.name), cotangent),)

    return thunk
