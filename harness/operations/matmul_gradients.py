"""Gradients of the matrix product: reference, bound, cost, and how formulations make theirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.model import Written
from harness.registry import COTANGENT, Cost, ExactProblem, Gradient, Thunk, gradient_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

INPUTS: Final = ("a", "b")


def reference(problem: ExactProblem) -> Reference:
    """Return certified gradients; those of a matrix that several products take are summed."""
    from harness.reference.elements import Reference
    from harness.reference.matmul_gradients import matmul_gradient

    outputs, quantities = {}, {}
    for name in problem.with_respect_to:
        found = matmul_gradient(name, *_inputs(problem))
        outputs[gradient_output(name)] = found.values
        quantities[f"magnitude_log2_{name}"] = found.magnitude_log2
    return Reference(outputs, quantities)


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the bound of an inner product, over all terms of all products that are added up.

    Where they are several, r, each is rounded to the storage format, and so is each of the r − 1 sums: r
    errors of u_out to each term beside those of the accumulator, which the inner sum has grown by before.
    """
    import numpy as np

    from harness.reference.inner_product import error_bound_log2
    from harness.reference.matmul_gradients import gradient_factors

    bounds = {}
    for name in problem.with_respect_to:
        output, factors = gradient_output(name), gradient_factors(name, *_inputs(problem))
        magnitude = np.asarray(reference.quantities[f"magnitude_log2_{name}"], np.float64)
        value = reference.outputs[output].log2_abs()
        terms, inner = factors.products * factors.inner, factors.inner
        found = error_bound_log2(terms, magnitude, value, precision)
        if factors.products > 1 and terms:
            cut = precision.u_in if precision.u_in > precision.u_out else 0.0  # inputs of products, as TF32's
            grown = (1 + inner * precision.u_acc) * (1 + cut) ** 2
            several = math.log2(factors.products * precision.u_out * grown)
            found = np.logaddexp2(found, magnitude + several)
        bounds[output] = found
    return bounds


def _inputs(problem: ExactProblem) -> tuple[Any, Any, Any]:
    return problem.inputs["a"], problem.inputs["b"], problem.inputs[COTANGENT]


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return 6mnk flops a matrix, for the product and both gradients.

    A, B and the cotangent are read, the gradients of A and B written.
    """
    k, size = shapes["a"][-1], math.prod(shapes[COTANGENT])
    factors = math.prod(shapes["a"]) + math.prod(shapes["b"])
    return Cost(6 * k * size, (2 * factors + size) * itemsize)


GRADIENT: Final = Gradient(
    with_respect_to=INPUTS,
    formula="∂A = G·Bᵀ, ∂B = Aᵀ·G, summed over leading dimensions that were broadcast",
    reference=reference,
    reference_version=1,
    bound_formula=(
        "(1 + u_out)·K·u_acc·Σ|g·b| + u_out·|∂a| + K·ω, K = r·n for r products that are added up, "
        "and r·u_out·(1 + n·u_acc)·Σ|g·b| for r > 1; ∂b likewise"
    ),
    bound_source=(
        "Jeannerod and Rump 2013, Improved error bounds for inner products in floating-point "
        "arithmetic, theorem 3.1: the gradients are matrix products"
    ),
    bound=bound,
    cost=cost,
)


def gradient_product(
    xp: Any, name: str, a: Any, b: Any, cotangent: Any, multiply: Callable[[Any, Any, Any], Thunk]
) -> Thunk:
    """Return a thunk of the gradient with respect to `a` or `b`, by `multiply(xp, left, right)`."""
    if name == "a":
        shape, product = a.shape, multiply(xp, cotangent, xp.transpose(b))
    else:
        shape, product = b.shape, multiply(xp, xp.transpose(a), cotangent)

    def thunk() -> Any:
        return _summed_to(xp, product(), tuple(shape))

    return thunk


def _summed_to(xp: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """Add up the leading dimensions of x that `shape` does not have, or has with length 1."""
    while x.ndim > len(shape):
        x = xp.sum(x, axis=0)
    for axis in range(len(shape) - 2):
        if x.shape[axis] != shape[axis]:
            x = xp.sum(x, axis=axis, keepdims=True)
    return x
