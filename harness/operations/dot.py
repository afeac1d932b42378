"""Inner product of two vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.formats import DTYPES
from harness.model import Written
from harness.registry import Cost, ExactProblem, Operation, Thunk, formulation, register_operation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def _reference(problem: ExactProblem) -> Reference:
    """Sum exactly. `condition` is 2·Σ|xᵢyᵢ|/|Σxᵢyᵢ| (Ogita, Rump and Oishi 2005, section 5).

    It is NaN, which is none, where the sum is 0 or not finite: there is no relative error then.
    """
    import numpy as np

    from harness.reference.elements import FINITE, Reference, ReferenceArray
    from harness.reference.inner_product import exact_dot, special_products

    x, y = problem.inputs["x"], problem.inputs["y"]
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"dot takes two vectors of one length, not {list(x.shape)} and {list(y.shape)}")
    kind = special_products(x[None, :], y[:, None])
    if kind is not None and kind[0, 0] != FINITE:
        values = ReferenceArray.from_kinds(kind[0, 0])
        return Reference({"s": values}, {"magnitude_log2": np.inf, "condition": np.nan})
    value, magnitude = exact_dot(x, y)
    ratio = 2 * magnitude / abs(value) if value else np.nan
    condition = float(ratio) if not value or ratio < 2**1023 else np.inf
    magnitude_log2 = float(ReferenceArray.from_fractions([magnitude], ()).log2_abs()) + 2.0**-40
    return Reference(
        {"s": ReferenceArray.from_fractions([value], ())},
        {"magnitude_log2": magnitude_log2, "condition": condition},
    )


def _bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    from harness.reference.inner_product import error_bound_log2

    n = problem.inputs["x"].shape[0]
    magnitude, value = reference.quantities["magnitude_log2"], reference.outputs["s"].log2_abs()
    return {"s": error_bound_log2(n, magnitude, value, precision)}


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return 2n flops, whatever a formulation spends, and one pass over both vectors."""
    n = shapes["x"][0]
    return Cost(2 * n, (2 * n + 1) * itemsize)


OPERATION = register_operation(
    Operation(
        name="dot",
        title="Inner product",
        formula="s = Σ_i x[i]·y[i]",
        inputs={"x": "(n,)", "y": "(n,)"},
        outputs=("s",),
        dtypes=("float64", "float32", "bfloat16", "float16"),
        reference=_reference,
        reference_version=1,
        bound_formula="(1 + u_out)·n·u_acc·Σ|x·y| + u_out·|s| + n·ω (+ 2u_in·Σ|x·y| if inputs are rounded)",
        bound_source=(
            "Jeannerod and Rump 2013, Improved error bounds for inner products in floating-point "
            "arithmetic, theorem 3.1; compensated summation is judged by the same bound"
        ),
        bound=_bound,
        cost=cost,
    )
)

IN_DTYPE = {name: name for name in DTYPES}
"""All formulations here round every partial sum to the dtype."""


@formulation("dot", "sequential", title="Products added one by one, in the dtype", compute=IN_DTYPE)
def sequential(xp: Any, x: Any, y: Any) -> Thunk:
    """Return ((x₁y₁ + x₂y₂) + x₃y₃) + …

    A recurrence does not vectorise: each addition is one call of the library, about a microsecond,
    so that its time says nothing of a compiled loop and n is best kept below 10⁴.
    """

    def thunk() -> Any:
        products = xp.multiply(x, y)
        total = xp.zeros(())
        for i in range(x.shape[0]):
            total = xp.add(total, products[i])
        return total

    return thunk


@formulation("dot", "pairwise", title="Products added in pairs, along a binary tree", compute=IN_DTYPE)
def pairwise(xp: Any, x: Any, y: Any) -> Thunk:
    """Return the sum of products by halving: the error grows with log₂n (Higham 2002, section 4.2)."""

    def thunk() -> Any:
        if x.shape[0] == 0:
            return xp.zeros(())
        terms = xp.multiply(x, y)
        while terms.shape[0] > 1:
            half = terms.shape[0] // 2
            sums = xp.add(terms[:half], terms[half : 2 * half])
            terms = xp.concat([sums, terms[2 * half :]]) if terms.shape[0] % 2 else sums
        return xp.reshape(terms, ())

    return thunk


@formulation("dot", "compensated", title="Dot2 along a binary tree, in the dtype alone", compute=IN_DTYPE)
def compensated(xp: Any, x: Any, y: Any) -> Thunk:
    """Return the sum of products with their rounding errors added back, as if in twice the precision.

    Dot2 of Ogita, Rump and Oishi 2005, "Accurate sum and dot product", algorithm 5.3, whose sums are
    taken in pairs instead of one by one; error ≤ u|s| + O(u²·log²n)·Σ|xᵢyᵢ|. TwoProduct is Dekker's by
    way of Veltkamp's splitting, so each of its operations must round once to the dtype, to nearest;
    it loses its exactness where x·2^⌈p/2⌉ overflows or the error of a product underflows.
    """
    precision = xp.dtype.storage.precision
    splitter = xp.scalar(2 ** ((precision + 1) // 2) + 1)

    def split(a: Any) -> tuple[Any, Any]:
        scaled = xp.multiply(splitter, a)
        high = xp.subtract(scaled, xp.subtract(scaled, a))
        return high, xp.subtract(a, high)

    def two_product(a: Any, b: Any) -> tuple[Any, Any]:
        product = xp.multiply(a, b)
        (a1, a2), (b1, b2) = split(a), split(b)
        rest = xp.subtract(product, xp.multiply(a1, b1))
        rest = xp.subtract(xp.subtract(rest, xp.multiply(a2, b1)), xp.multiply(a1, b2))
        return product, xp.subtract(xp.multiply(a2, b2), rest)

    def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
        total = xp.add(a, b)
        virtual = xp.subtract(total, a)
        return total, xp.add(xp.subtract(a, xp.subtract(total, virtual)), xp.subtract(b, virtual))

    def thunk() -> Any:
        if x.shape[0] == 0:
            return xp.zeros(())
        terms, errors = two_product(x, y)
        while terms.shape[0] > 1:
            half = terms.shape[0] // 2
            odd = terms[2 * half :], errors[2 * half :]
            sums, lost = two_sum(terms[:half], terms[half : 2 * half])
            kept = xp.add(xp.add(errors[:half], errors[half : 2 * half]), lost)
            full = terms.shape[0] % 2 == 0
            terms, errors = (sums, kept) if full else (xp.concat([sums, odd[0]]), xp.concat([kept, odd[1]]))
        return xp.reshape(xp.add(terms, errors), ())

    return thunk
