"""Matrices with a name: `identity hilbert vandermonde lauchli wilkinson`, exact before they are rounded."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.recipes.arguments import at_least, matrix_shape, shape_elements, square_elements
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _identity(context: RecipeContext, n: int) -> NDArray[np.float64]:
    import numpy as np

    at_least("n", n, 1)
    return np.eye(n)


def _hilbert(context: RecipeContext, n: int) -> NDArray[Any]:
    """Return 1/(i + j − 1), i, j = 1…n; κ grows like e^(3.5 n) (Todd, 1954)."""
    import numpy as np

    at_least("n", n, 1)
    reciprocals = np.array([Fraction(1, k) for k in range(1, 2 * n)], object)
    return np.stack([reciprocals[i : i + n] for i in range(n)])


def _vandermonde(
    context: RecipeContext, low: Fraction, high: Fraction, shape: tuple[int, ...]
) -> NDArray[Any]:
    """Return tᵢ^j, j = 0…columns−1, at evenly spaced points from low to high."""
    import numpy as np

    rows, columns = matrix_shape(shape)
    gaps = max(rows - 1, 1)
    made = np.empty((rows, columns), object)
    for i in range(rows):
        point = low + (high - low) * Fraction(i, gaps)
        power = Fraction(1)
        for j in range(columns):
            made[i, j] = power
            power *= point
    return made


def _lauchli(context: RecipeContext, epsilon: Fraction, n: int) -> NDArray[Any]:
    """Return a row of ones above ε·I, n + 1 by n: κ = √(1 + n/ε²) (Läuchli, Numer. Math. 3, 1961)."""
    import numpy as np

    at_least("n", n, 1)
    if epsilon == 0:
        raise InputError("epsilon is 0, and the matrix would have rank 1", "write a number other than 0")
    made = np.full((n + 1, n), Fraction(0), object)
    made[0] = Fraction(1)
    for j in range(n):
        made[j + 1, j] = epsilon
    return made


def _wilkinson(context: RecipeContext, n: int) -> NDArray[np.float64]:
    """Return 1 on the diagonal and in the last column, −1 below the diagonal.

    Gaussian elimination with partial pivoting grows by 2^(n−1) on it (Wilkinson, J. ACM 8, 1961, §10).
    """
    import numpy as np

    at_least("n", n, 1)
    made = np.eye(n) - np.tri(n, n, -1)
    made[:, -1] = 1
    return made


_N = Argument("integer", "rows and columns, at least 1")

for _recipe in (
    Recipe("identity", "The identity matrix", {"n": _N}, _identity, square_elements),
    Recipe("hilbert", "Hilbert's matrix, 1/(i + j − 1)", {"n": _N}, _hilbert, square_elements),
    Recipe(
        "wilkinson", "Wilkinson's matrix, worst for partial pivoting", {"n": _N}, _wilkinson, square_elements
    ),
    Recipe(
        name="lauchli",
        title="Läuchli's matrix, a row of ones above ε times the identity",
        arguments={
            "epsilon": Argument("number", "ε, not 0"),
            "n": Argument("integer", "columns, at least 1; there is one row more"),
        },
        make=_lauchli,
        elements=lambda arguments: square_elements(arguments) + int(arguments["n"]),
    ),
    Recipe(
        name="vandermonde",
        title="Powers 0, 1, 2 … of evenly spaced points",
        arguments={
            "low": Argument("number", "the first point", Fraction(0), required=False),
            "high": Argument("number", "the last point", Fraction(1), required=False),
            "shape": Argument("shape", "points, and powers"),
        },
        make=_vandermonde,
        elements=shape_elements,
    ),
):
    register_recipe(_recipe)
