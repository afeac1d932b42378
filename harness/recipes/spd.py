"""Symmetric positive definite matrices of a given condition number: `spd`.

Up to a part of 1/u, Q·diag(λ)·Qᵀ rounded. Beyond, rounding could make it indefinite; then the extreme
eigenvalues belong to [[1, c], [c, c² + 1]], which has determinant 1, so that κ = λ² with
λ + 1/λ = c² + 2, and which holds on the grid of a format with p bits as long as κ < 2^2p.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.formats import NumberFormat
from harness.recipes.arguments import at_least, square_elements
from harness.recipes.conditioned import MODES, require_matrix, smallest_carried, spectrum
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.recipes.stream import RandomStream


def _spd(context: RecipeContext, condition: Fraction, n: int, mode: str) -> NDArray[np.float64]:
    """Return a symmetric matrix with eigenvalues λ > 0 whose extremes are near the ratio `condition`."""
    import numpy as np

    at_least("n", n, 1)
    require_matrix(context.format, condition, n)
    if condition == 1:
        return np.eye(n)
    eigenvalues = spectrum(condition, n, mode)
    if eigenvalues[-1] >= smallest_carried(context.format):
        return _rotated(context.stream, eigenvalues)
    pair = _extreme_pair(context.format, condition)
    made = np.zeros((n, n))
    made[:2, :2] = pair
    if n > 2:
        least = smallest_carried(context.format)
        made[2:, 2:] = float(pair[1, 1]) * _rotated(context.stream, np.maximum(eigenvalues[1:-1], least))
    order = context.stream.permutation(n)
    return np.ascontiguousarray(made[np.ix_(order, order)])


def _rotated(stream: RandomStream, eigenvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Q·diag(λ)·Qᵀ, its upper triangle mirrored."""
    import numpy as np

    from harness.recipes.orthogonal import product, random_orthonormal

    q = random_orthonormal(stream, len(eigenvalues), len(eigenvalues))
    made = product(q * eigenvalues, q.T)
    upper = np.triu(made)
    return upper + np.triu(made, 1).T


def _extreme_pair(fmt: NumberFormat, condition: Fraction) -> NDArray[np.float64]:
    """Return [[1, c], [c, c² + 1]], c with as many fractional bits as leave c² + 1 in p bits."""
    import numpy as np

    root = math.sqrt(float(condition))
    c = math.sqrt(root + 1 / root - 2)
    most = math.ldexp(1.0, fmt.precision)
    places = 0
    while math.ldexp(c * c + 1, 2 * places + 2) < most:
        places += 1
    c = math.ldexp(round(math.ldexp(c, places)), -places)
    if c * c + 1 > min(most, float(fmt.max_finite)) or c == 0:
        raise InputError(
            f"no symmetric matrix of condition {float(condition):.3g} was found in {fmt.name}",
            f"stay below 2^{2 * fmt.precision - 2}",
        )
    return np.array([[1.0, c], [c, c * c + 1]])


register_recipe(
    Recipe(
        name="spd",
        title="A symmetric positive definite matrix of given condition number, also beyond 1/u",
        arguments={
            "condition": Argument("number", "the condition number, at least 1"),
            "n": Argument("integer", "rows and columns, at least 1"),
            "mode": Argument(
                "text",
                "eigenvalues of equal ratio, of equal difference, or all 1 but the last",
                "geometric",
                required=False,
                choices=MODES,
            ),
        },
        make=_spd,
        elements=square_elements,
    )
)
