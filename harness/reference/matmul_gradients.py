"""Certified gradients of a matrix product C = A·B from a cotangent G: ∂A = G·Bᵀ and ∂B = Aᵀ·G.

A matrix that was used for several products, because its leading dimensions broadcast, has the sum of their
gradients. That sum is a matrix product itself, with the products' inner indices joined to one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.reference.exact_matmul import Product, exact_matmul

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factors:
    """Two stacks of matrices whose product is a gradient, but for the shape of its leading dimensions."""

    left: Floats
    """(kept…, p, products·inner)"""
    right: Floats
    """(kept…, products·inner, r)"""
    inner: int
    """Terms of each element of a single product."""
    products: int
    """How many products are added up for one matrix."""


def matmul_gradient(name: str, a: Floats, b: Floats, cotangent: Floats) -> Product:
    """Return the gradient with respect to `a` or `b`, in its shape.

    Parameters
    ----------
    name : which of the two.
    a, b, cotangent : (…, m, k), (…, k, n) and (…, m, n), leading dimensions as those of a product.

    Raises
    ------
    InputError
        Shapes that are no matrix product's, or a cotangent that has not its shape.
    """
    factors = gradient_factors(name, a, b, cotangent)
    product = exact_matmul(factors.left, factors.right)
    shape = a.shape if name == "a" else b.shape
    return Product(product.values.reshape(shape), product.magnitude_log2.reshape(shape))


def gradient_factors(name: str, a: Floats, b: Floats, cotangent: Floats) -> Factors:
    """Return the factors of the gradient with respect to `a` or `b` (see `matmul_gradient`)."""
    batch = _require_shapes(a, b, cotangent)
    own, other = (a, b) if name == "a" else (b, a)
    transposed = np.swapaxes(np.broadcast_to(other, (*batch, *other.shape[-2:])), -1, -2)
    left, right = (cotangent, transposed) if name == "a" else (transposed, cotangent)
    lengths = (1,) * (len(batch) - own.ndim + 2) + own.shape[:-2]
    summed = [i for i, (held, used) in enumerate(zip(lengths, batch, strict=True)) if held != used]
    kept = [i for i in range(len(batch)) if i not in summed]
    outer, products = tuple(batch[i] for i in kept), math.prod(batch[i] for i in summed)
    row, column = len(batch), len(batch) + 1
    (p, inner), r = left.shape[-2:], right.shape[-1]
    return Factors(
        left.transpose(*kept, row, *summed, column).reshape(*outer, p, products * inner),
        right.transpose(*kept, *summed, row, column).reshape(*outer, products * inner, r),
        inner,
        products,
    )


def _require_shapes(a: Floats, b: Floats, cotangent: Floats) -> tuple[int, ...]:
    """Return the leading dimensions of the product."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise InputError(
            f"a matrix product takes (…, m, k) and (…, k, n), not {list(a.shape)} and {list(b.shape)}"
        )
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError as error:
        raise InputError(
            f"leading dimensions {list(a.shape[:-2])} and {list(b.shape[:-2])} do not broadcast"
        ) from error
    shape = (*batch, a.shape[-2], b.shape[-1])
    if cotangent.shape != shape:
        raise InputError(f"the cotangent has shape {list(cotangent.shape)}, the product {list(shape)}")
    return batch
