"""Matrix product, of single matrices and of stacks of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from harness.formats import DTYPES
from harness.model import Written
from harness.operations.matmul_gradients import GRADIENT, INPUTS, gradient_product
from harness.registry import Cost, ExactProblem, Operation, Thunk, formulation, gradient, register_operation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

TILE: Final = 64
"""Inner indices of one block product."""


def _reference(problem: ExactProblem) -> Reference:
    from harness.reference.elements import Reference
    from harness.reference.exact_matmul import exact_matmul

    product = exact_matmul(problem.inputs["a"], problem.inputs["b"])
    return Reference({"c": product.values}, {"magnitude_log2": product.magnitude_log2})


def _bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    from harness.reference.inner_product import error_bound_log2

    k = problem.inputs["a"].shape[-1]
    magnitude, value = reference.quantities["magnitude_log2"], reference.outputs["c"].log2_abs()
    return {"c": error_bound_log2(k, magnitude, value, precision)}


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return 2mnk flops a matrix (a multiplication and an addition each), and one pass over A, B and C."""
    a, b = shapes["a"], shapes["b"]
    m, k, n = a[-2], a[-1], b[-1]
    stacks = zip_longest(reversed(a[:-2]), reversed(b[:-2]), fillvalue=1)
    count = math.prod(q if p == 1 else p for p, q in stacks)
    return Cost(2 * count * m * n * k, (math.prod(a) + math.prod(b) + count * m * n) * itemsize)


OPERATION = register_operation(
    Operation(
        name="matmul",
        title="Matrix product",
        formula="C = A·B, c[i,j] = Σ_k a[i,k]·b[k,j]",
        inputs={"a": "(…, m, k)", "b": "(…, k, n), leading dimensions broadcast"},
        outputs=("c",),
        normwise=True,
        dtypes=("float64", "float32", "bfloat16", "float16"),
        reference=_reference,
        reference_version=1,
        bound_formula="(1 + u_out)·k·u_acc·Σ|a·b| + u_out·|c| + k·ω (+ 2u_in·Σ|a·b| if inputs are rounded)",
        bound_source=(
            "Jeannerod and Rump 2013, Improved error bounds for inner products in floating-point "
            "arithmetic, theorem 3.1; √k·u is typical (Higham and Mary 2019)"
        ),
        bound=_bound,
        cost=cost,
        gradient=GRADIENT,
    )
)


@formulation(
    "matmul",
    "blocked",
    title=f"Sum of products of tiles of {TILE} inner indices, added up in the dtype",
    needs=("elementwise", "matmul"),
    compute={name: name for name in DTYPES},
)
def blocked(xp: Any, a: Any, b: Any) -> Thunk:
    """Return Σ A[:, tile]·B[tile, :], every partial sum rounded to the dtype."""
    starts = range(0, max(a.shape[-1], 1), TILE)
    tiles = [(a[..., i : i + TILE], b[..., i : i + TILE, :]) for i in starts]

    def thunk() -> Any:
        total = xp.matmul(*tiles[0])
        for left, right in tiles[1:]:
            total = xp.add(total, xp.matmul(left, right))
        return total

    return thunk


@formulation(
    "matmul",
    "float32_accumulate",
    title="Widened to float32, multiplied there, rounded once",
    needs=(),
    compute={name: "float32" for name, dtype in DTYPES.items() if dtype.storage.precision < 24},
)
def float32_accumulate(xp: Any, a: Any, b: Any) -> Thunk:
    """Return the float32 product of narrow inputs, which it holds exactly, rounded to their dtype."""
    wide = xp.cast_namespace("float32")
    narrow = xp.dtype.name

    def thunk() -> Any:
        return wide.astype(wide.matmul(xp.astype(a, "float32"), xp.astype(b, "float32")), narrow)

    return thunk


@gradient(
    "matmul",
    "blocked",
    title=f"G·Bᵀ and Aᵀ·G in tiles of {TILE} inner indices, added up in the dtype; and the product",
    needs=("elementwise", "matmul", "sum"),
    compute={name: name for name in DTYPES},
)
def blocked_gradient(
    xp: Any, a: Any, b: Any, cotangent: Any, with_respect_to: tuple[str, ...] = INPUTS
) -> Thunk:
    """Compute the product too, which the cost counts, for automatic differentiation does."""
    value = blocked(xp, a, b)
    gradients = [gradient_product(xp, name, a, b, cotangent, blocked) for name in with_respect_to]

    def thunk() -> Any:
        value()
        return tuple(product() for product in gradients)

    return thunk


@gradient(
    "matmul",
    "float32_accumulate",
    title="G·Bᵀ and Aᵀ·G widened to float32, rounded once; and the product",
    needs=(),
    compute={name: "float32" for name, dtype in DTYPES.items() if dtype.storage.precision < 24},
)
def float32_accumulate_gradient(
    xp: Any, a: Any, b: Any, cotangent: Any, with_respect_to: tuple[str, ...] = INPUTS
) -> Thunk:
    """Compute the product too, which the cost counts, for automatic differentiation does."""
    wide = xp.cast_namespace("float32")
    narrow = xp.dtype.name

    def multiply(xp: Any, left: Any, right: Any) -> Thunk:
        return lambda: xp.matmul(left, right)

    def thunk() -> Any:
        a32, b32, g32 = (xp.astype(value, "float32") for value in (a, b, cotangent))
        wide.astype(wide.matmul(a32, b32), narrow)
        found = (gradient_product(wide, name, a32, b32, g32, multiply)() for name in with_respect_to)
        return tuple(wide.astype(product, narrow) for product in found)

    return thunk
