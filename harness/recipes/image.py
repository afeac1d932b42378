"""Right-hand sides: `image`, b = A·x + r for an earlier input A, with a residual of given size.

x has small integers, drawn so that A·x needs no rounding if any of a few draws allows it (A of small
integers, for instance). Otherwise rounding b to the storage format leaves a residual of order u even
where 0 is asked for; what b really is, the reference computes from b.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from operator import mul
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.formats import NumberFormat, round_exact
from harness.recipes.arguments import at_least, to_float
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIGITS = Context(prec=60, Emax=10**9, Emin=-(10**9))
_DEPENDENT = Decimal("1e-45")  # what is left of a column that depends on others, relative to it
_DRAWS = (4, 4, 2, 2, 1, 1, 1, 1)  # greatest |xⱼ| of each attempt to need no rounding


def _image(context: RecipeContext, matrix: str, residual: Fraction) -> NDArray[Any]:
    """Return A·x + r, exact before it is rounded once; r is orthogonal to the columns of A.

    `residual` is ‖r‖/‖b‖, the sine of the angle between b and the range of A.
    """
    import numpy as np

    a = context.others[matrix]
    if a.ndim != 2 or not np.isfinite(a).all():
        raise InputError(
            f"{matrix!r} has shape {list(a.shape)} or is not finite everywhere; a finite matrix is allowed"
        )
    at_least("residual", residual, 0)
    if residual > 1:
        raise InputError(f"residual is {float(residual)!r}, and no part is greater than the whole")
    image = _exact_image(context, a)
    if residual == 0:
        return image
    direction = _outside(context, a, matrix)
    part = to_float("residual", residual)
    if part == 1:
        return np.array(direction, object)
    length = math.sqrt(math.fsum(float(v) * float(v) for v in image))
    scale = length * part / math.sqrt((1 - part) * (1 + part))
    return np.array([v + Fraction(scale) * d for v, d in zip(image, direction, strict=True)], object)


def _exact_image(context: RecipeContext, a: NDArray[np.float64]) -> NDArray[Any]:
    """Return A·x in rationals, of a draw of x that makes it a vector of the format if one does."""
    import numpy as np

    rows, columns = a.shape
    lowest = _lowest_bit(a)
    integers = np.array([int(Fraction(v) / lowest) for v in a.reshape(-1).tolist()], object).reshape(a.shape)
    images = []
    for largest in _DRAWS:
        size = 1 + context.stream.integers(columns, largest)
        x = [int(v) for v in size * context.stream.signs(columns).astype(np.int64)]
        total = np.zeros(rows, object)
        for j in range(columns):
            total = total + integers[:, j] * x[j]
        image = np.array([int(v) * lowest for v in total], object)
        if all(_held(context.format, v) for v in image):
            return image
        images.append(image)
    return images[0]


def _lowest_bit(a: NDArray[np.float64]) -> Fraction:
    """Return the greatest power of two that divides every element."""
    least = min((Fraction(v) for v in a.reshape(-1).tolist() if v), key=_lowest_power, default=Fraction(1))
    return _lowest_power(least)


def _lowest_power(x: Fraction) -> Fraction:
    return Fraction(abs(x.numerator) & -abs(x.numerator), x.denominator)


def _held(fmt: NumberFormat, x: Fraction) -> bool:
    return round_exact(fmt, x) == x


def _outside(context: RecipeContext, a: NDArray[np.float64], matrix: str) -> list[Fraction]:
    """Return a random unit vector orthogonal to the columns of A, to 60 digits.

    Float64 would leave a part of size u in the range of A, which x multiplies by κ.
    """
    rows, columns = a.shape
    if rows <= columns:
        raise InputError(
            f"{matrix!r} has {rows} rows and {columns} columns, and b no room outside its range",
            "write residual: 0, or a matrix with more rows than columns",
        )
    with localcontext(_DIGITS):
        basis: list[list[Decimal]] = []
        for j in range(columns):
            column = [Decimal(v) for v in a[:, j].tolist()]
            before = _length(column)
            rest = _without(basis, column)
            length = _length(rest)
            if length > before * _DEPENDENT:
                basis.append([v / length for v in rest])
        z = _without(basis, [Decimal(v) for v in context.stream.normal(rows).tolist()])
        length = _length(z)
        return [Fraction(v / length) for v in z]


def _without(basis: list[list[Decimal]], v: list[Decimal]) -> list[Decimal]:
    """Return a vector less its projections on orthonormal ones, one after the other."""
    for q in basis:
        part = sum(map(mul, q, v), Decimal(0))
        v = [x - part * y for x, y in zip(v, q, strict=True)]
    return v


def _length(v: list[Decimal]) -> Decimal:
    return sum(map(mul, v, v), Decimal(0)).sqrt()


register_recipe(
    Recipe(
        name="image",
        title="b = A·x + r: a right-hand side at a given angle to the range of a matrix",
        arguments={
            "matrix": Argument("input", "the input A, listed before"),
            "residual": Argument(
                "number", "‖r‖/‖b‖, the sine of the angle, from 0 to 1", Fraction(0), required=False
            ),
        },
        make=_image,
        elements=lambda arguments: None,
    )
)
