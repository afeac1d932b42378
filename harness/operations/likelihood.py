"""The likelihood of independent observations: a product that leaves the range of every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.model import Written
from harness.operations import likelihood_family as family
from harness.operations.definition import operation
from harness.operations.widening import AT_LEAST_SINGLE, at_least_single
from harness.registry import COTANGENT, Cost, ExactProblem, formulation, gradient_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

TOGETHER: Final = 64
"""Significands from 1 to 2 that are multiplied before powers of two are taken out: at most 2^64."""


def definition(xp: Any, densities: Any) -> Any:
    """Π f_i, as e to the sum of logarithms: a product of thousands of rationals grows too long."""
    return xp.exp(xp.sum(xp.log(densities)))


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of 3n·u·L + ω.

    Of n significands with powers of two apart: a quotient by a power, a product, and a quotient again each;
    the powers are put together exactly. So nothing leaves the range in between, and a product is within
    (n − 1)u (Higham 2002, section 3.1).
    """
    import numpy as np

    f = problem.inputs["densities"]
    with np.errstate(divide="ignore", over="ignore"):
        size = np.exp2(reference.outputs["y"].log2_abs())
        allowed = 3 * f.size * precision.u_out * size + float(precision.format.min_subnormal)
        return {"y": np.where(np.isfinite(allowed), np.log2(allowed), -np.inf)}


def gradient_bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of (6n + 4)u·|g·L/f_i| + 2(|g| + 1)ω: 3n roundings of products, and as many back."""
    import numpy as np

    f, g = problem.inputs["densities"], float(np.abs(problem.inputs[COTANGENT]))
    name = gradient_output("densities")
    with np.errstate(divide="ignore", over="ignore"):
        size = np.exp2(reference.outputs[name].log2_abs())
        least = 2 * (g + 1) * float(precision.format.min_subnormal)
        allowed = (6 * f.size + 4) * precision.u_out * size + least
        return {name: np.where(np.isfinite(allowed), np.log2(allowed), -np.inf)}


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return n − 1 products; n reads and one write."""
    (n,) = shapes["densities"]
    return Cost(n - 1, (n + 1) * itemsize)


operation(
    name="likelihood",
    title="Likelihood of independent observations",
    formula="L = Π f_i",
    inputs=family.INPUTS,
    definition=definition,
    bound=bound,
    gradient_bound=gradient_bound,
    bound_formula="3n·u·L + ω",
    gradient_bound_formula="(6n + 4)u·|g·L/f_i| + 2(|g| + 1)ω",
    source="Higham 2002, section 3.1: products; scaling by powers of two is exact",
    differentiable=("densities",),
    gradient_formula="g·L/f_i",
    check=family.check,
    cost=cost,
)


@formulation("likelihood", "product", title="Π f_i from the left")
def product(xp: Any, densities: Any) -> Callable[[], Any]:
    """Leave the range in between, be the likelihood itself within."""
    return lambda: family.product(xp, densities)


@formulation(
    "likelihood",
    "scaled",
    title="product of significands, powers of two apart, float32 or wider inside",
    needs=family.NEEDS,
    compute=AT_LEAST_SINGLE,
)
def scaled(xp: Any, densities: Any) -> Callable[[], Any]:
    """Take the power of two out of each factor, and of the product after each `TOGETHER` of them."""

    def thunk() -> Any:
        wide, f = at_least_single(xp, densities)
        zero, one = wide.scalar(0), wide.scalar(1)
        none = wide.equal(f, zero)
        significands, powers = _apart(wide, wide.where(none, one, f))
        power = wide.sum(powers)
        found = None
        for start in range(0, f.shape[0], TOGETHER):
            part = family.product(wide, significands[start : start + TOGETHER])
            found, more = _apart(wide, part if found is None else wide.multiply(found, part))
            power = wide.add(power, more)
        half = wide.floor(wide.divide(power, wide.scalar(2)))
        whole = wide.multiply(wide.multiply(found, wide.exp2(half)), wide.exp2(wide.subtract(power, half)))
        y = wide.multiply(whole, wide.min(wide.where(none, zero, one)))
        return y if wide is xp else wide.astype(y, xp.dtype.name)

    return thunk


def _apart(xp: Any, x: Any) -> tuple[Any, Any]:
    """Return x as a number near 1 to 2 and the power of two that it was divided by, a constant."""
    power = xp.detach(xp.floor(xp.log2(xp.detach(x))))
    return xp.divide(x, xp.exp2(power)), power


@formulation("likelihood", "exp_of_logs", title="exp(Σ ln f_i)", needs=family.NEEDS)
def exp_of_logs(xp: Any, densities: Any) -> Callable[[], Any]:
    """Add logarithms: over- and underflow where the likelihood does, at 8u and more of each logarithm."""
    return lambda: xp.exp(xp.sum(xp.log(densities)))
