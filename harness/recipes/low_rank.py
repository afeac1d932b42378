"""Rank-deficient matrices without rounding: `low_rank`, a product of two factors of small integers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.recipes.arguments import at_least, matrix_shape, shape_elements
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PRIME = 2**31 - 1
_LARGEST = 3  # magnitude of the factors' entries, where the format has the bits for it
_ATTEMPTS = 64


def _low_rank(context: RecipeContext, rank: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return X·Y, m×r times r×n, with entries that the format holds, and of rank exactly r.

    The rank is at most r by construction and at least r because both factors have rank r modulo a
    prime. Entries of the factors are drawn from −a…a; a falls from 3 to 1 until the product fits.
    """
    import numpy as np

    rows, columns = matrix_shape(shape)
    at_least("rank", rank, 1)
    if rank > min(rows, columns):
        raise InputError(f"rank is {rank}; a matrix of {rows} × {columns} has at most {min(rows, columns)}")
    fmt = context.format
    if not fmt.signed or not fmt.zero:
        raise InputError(f"{fmt.name} does not hold the negative numbers and zeros of a low-rank matrix")
    limit = min(1 << fmt.precision, math.floor(fmt.max_finite))
    for attempt in range(_ATTEMPTS):
        largest = max(1, _LARGEST - attempt // 8)
        left = context.stream.integers(rows * rank, 2 * largest + 1).reshape(rows, rank) - largest
        right = context.stream.integers(rank * columns, 2 * largest + 1).reshape(rank, columns) - largest
        product = _product(left, right)
        if np.max(np.abs(product)) <= limit and _has_rank(left, rank) and _has_rank(right, rank):
            return product.astype(np.float64)
    raise InputError(
        f"{fmt.name} does not hold the integers of a matrix of rank {rank}, which pass 2^{fmt.precision}",
        "lower the rank",
    )


def _product(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    product = np.zeros((len(left), right.shape[1]), np.int64)
    for k in range(len(right)):
        product += left[:, k, None] * right[k]
    return product


def _has_rank(matrix: NDArray[np.int64], rank: int) -> bool:
    """Return whether a matrix with min(m, n) = rank has full rank modulo a prime, by elimination."""
    work: Any = (matrix if matrix.shape[1] == rank else matrix.T) % _PRIME
    for k in range(rank):
        pivots = work[k:, k].nonzero()[0]
        if not len(pivots):
            return False
        pivot = k + int(pivots[0])
        work[[k, pivot]] = work[[pivot, k]]
        inverse = pow(int(work[k, k]), -1, _PRIME)
        factors = work[k + 1 :, k] * inverse % _PRIME
        work[k + 1 :] = (work[k + 1 :] - factors[:, None] * work[k] % _PRIME) % _PRIME
    return True


register_recipe(
    Recipe(
        name="low_rank",
        title="A matrix of exact rank r: the product of two factors of small integers",
        arguments={
            "rank": Argument("integer", "r, from 1 to the lesser extent"),
            "shape": Argument("shape", "rows and columns"),
        },
        make=_low_rank,
        elements=shape_elements,
    )
)
