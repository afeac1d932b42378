"""Dense linear algebra for recipes: elementwise float64 operations in one fixed order, no BLAS.

Every function gives the same bits on every machine with IEEE arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.recipes.stream import RandomStream

_POWER_STEPS = 64  # a Rayleigh quotient is then within a few percent, whatever the spectrum


def ordered_sum(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over the first axis, by halves: elements i and i + ⌈n/2⌉ are added, again and again."""
    import numpy as np

    while len(x) > 1:
        half = (len(x) + 1) // 2
        x = np.concatenate([x[: len(x) - half] + x[half:], x[len(x) - half : half]])
    total: NDArray[np.float64] = x[0]
    return total


def product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix product, accumulated in the order of the inner index."""
    import numpy as np

    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        total = total + a[:, k, None] * b[k]
    return total


def norm(x: NDArray[np.float64]) -> float:
    """Return the 2-norm of a vector."""
    import numpy as np

    return float(np.sqrt(ordered_sum(x * x)))


def random_orthonormal(stream: RandomStream, rows: int, columns: int) -> NDArray[np.float64]:
    """Return a matrix with orthonormal columns, Haar distributed, orthonormal to a few ulp.

    The product of Householder reflectors of normal vectors of lengths `rows`, `rows` − 1, …
    (Stewart, SIAM J. Numer. Anal. 17, 1980, theorem 3.1), applied to the first columns of I.
    """
    import numpy as np

    q = np.eye(rows, columns)
    for k in range(min(rows, columns) - 1, -1, -1):
        v = stream.normal(rows - k)
        sign = -1.0 if v[0] < 0 else 1.0
        v[0] = v[0] + sign * norm(v)
        scale = 2 / ordered_sum(v * v)
        q[k:] = q[k:] - (scale * v)[:, None] * ordered_sum(v[:, None] * q[k:])
        q[k] = q[k] * -sign
    return q


def dyadic_orthonormal(stream: RandomStream, rows: int, columns: int) -> NDArray[np.float64]:
    """Return exactly orthonormal columns whose entries are 0 and ±2^−k.

    Hadamard matrices of orders 4^k, divided by 2^k, on a block diagonal; with random signs, in
    random order. Their rows have unit norm as well, so that any of their columns may be taken.
    """
    import numpy as np

    made = np.zeros((rows, rows))
    start = 0
    while start < rows:
        levels = ((rows - start).bit_length() - 1) // 2
        block = np.ones((1, 1))
        for _ in range(2 * levels):
            block = np.concatenate(
                [np.concatenate([block, block], axis=1), np.concatenate([block, -block], axis=1)]
            )
        stop = start + len(block)
        made[start:stop, start:stop] = block / 2**levels
        start = stop
    made = made * stream.signs(rows)[:, None]
    return made[stream.permutation(rows)][:, stream.permutation(rows)[:columns]]


def orthogonalised(a: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Q with orthonormal columns and R upper triangular, QR = a, m ≥ n.

    Modified Gram–Schmidt, each column against those before it twice, which keeps Q orthonormal
    (Giraud, Langou, Rozložník, van den Eshof, Numer. Math. 101, 2005). A column that nothing is left
    of becomes zero in Q, with zero on the diagonal of R.
    """
    import numpy as np

    rows, columns = a.shape
    q = np.zeros((rows, columns))
    r = np.zeros((columns, columns))
    for j in range(columns):
        v = a[:, j].copy()
        before = norm(v)
        for _ in range(2):
            for i in range(j):
                part = ordered_sum(q[:, i] * v)
                r[i, j] = r[i, j] + part
                v = v - part * q[:, i]
        length = norm(v)
        if length > 2.0**-48 * before:
            r[j, j] = length
            q[:, j] = v / length
    return q, r


def triangular_inverse(r: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of an upper triangular matrix, by rows from the last up."""
    import numpy as np

    n = len(r)
    inverse = np.zeros((n, n))
    for i in range(n - 1, -1, -1):
        right = np.zeros(n)
        right[i] = 1.0
        for j in range(i + 1, n):
            right = right - r[i, j] * inverse[j]
        inverse[i] = right / r[i, i]
    return inverse


def largest_singular_value(a: NDArray[np.float64]) -> float:
    """Return ‖a‖₂ from below, nearly always within 5 %, by the power method on aᵀa."""
    import numpy as np

    v = np.sqrt(ordered_sum(a * a))  # leans towards long columns, and is orthogonal to nothing by accident
    value = 0.0
    for _ in range(_POWER_STEPS):
        length = norm(v)
        if length == 0:
            return 0.0
        image = ordered_sum((a * (v / length)).T)
        value = norm(image)
        v = ordered_sum(a * (image / value)[:, None]) if value else v * 0
    return value
