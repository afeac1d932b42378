"""Matrices of a given condition number on the format's own grid: `conditioned`.

Rounding a matrix moves its singular values by about u‖A‖, so that no rounded matrix is reliably worse
than κ ≈ 1/u. Up to a part of that, A is U·diag(σ)·Vᵀ rounded. Beyond it the small singular values are
built in exactly: with B the part of A that holds the large ones, on a fixed-point grid,

    A = [B, B·C + E],    C: two entries ±1 a column,    E: one entry δ a column,

where B·C needs one bit more than B and vanishes, exactly, in the row of that column's δ, so that δ has
all p bits to itself. With a column of C and −1, A gives δ in one row and 0 elsewhere: A is δ away from a
matrix of lower rank, although no row or column of it is small, and no scaling mends it. δ is set from
the smallest singular value of the factored form, which float64 gives accurately at any κ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.formats import NumberFormat
from harness.recipes.arguments import at_least, matrix_shape, shape_elements
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.recipes.stream import RandomStream

MODES = ("geometric", "arithmetic", "one_small")
_ATTEMPTS = 32
_DIGITS = Context(prec=40, Emax=10**9, Emin=-(10**9))
_MARGIN = 16  # smallest singular value that rounding carries, in units of u·‖A‖, but at most a quarter
_MARGIN_FLOAT64 = 256  # where U·diag(σ)·Vᵀ itself is computed in the format, and not in a finer one


def _conditioned(
    context: RecipeContext, condition: Fraction, shape: tuple[int, ...], mode: str
) -> NDArray[np.float64]:
    """Return a matrix with ‖A‖₂ about 1 and 2-norm condition number within a factor 4 of `condition`.

    1 gives exactly orthonormal columns (or rows) of entries 0 and ±2^−k.
    """
    from harness.recipes.orthogonal import dyadic_orthonormal

    rows, columns = matrix_shape(shape)
    require_matrix(context.format, condition, min(rows, columns))
    if rows < columns:
        return _conditioned(context, condition, (columns, rows), mode).T
    if condition == 1:
        return dyadic_orthonormal(context.stream, rows, columns)
    sigma = spectrum(condition, columns, mode)
    if sigma[-1] >= smallest_carried(context.format):
        return _graded(context.stream, rows, columns, sigma)
    return _exact(context.format, context.stream, rows, columns, sigma)


def require_matrix(fmt: NumberFormat, condition: Fraction, order: int) -> None:
    """Raise InputError unless a format can hold a matrix of that condition and least extent."""
    at_least("condition", condition, 1)
    if not fmt.signed or not fmt.zero:
        raise InputError(f"{fmt.name} does not hold the negative numbers and zeros of a matrix")
    if order == 1 and condition > 1:
        raise InputError("one row or column has condition 1", "write condition: 1, or a larger shape")


def smallest_carried(fmt: NumberFormat) -> float:
    """Return the smallest singular value, of ‖A‖ = 1, that survives rounding the entries to `fmt`."""
    margin = _MARGIN_FLOAT64 if fmt.precision >= 53 else _MARGIN
    return min(margin * float(fmt.unit_roundoff), 0.25)


def spectrum(condition: Fraction, count: int, mode: str) -> NDArray[np.float64]:
    """Return singular values from 1 down to 1/condition: of equal ratio, equal difference, or one small."""
    import numpy as np

    sigma = np.ones(count)
    last = float(1 / condition)
    if mode == "one_small":
        sigma[-1] = last
    elif mode == "arithmetic":
        for k in range(1, count):
            sigma[k] = 1 - (1 - last) * (k / (count - 1))
        sigma[-1] = last
    else:
        ratio = _DIGITS.divide(Decimal(condition.denominator), Decimal(condition.numerator))
        step = _DIGITS.exp(_DIGITS.divide(_DIGITS.ln(ratio), Decimal(max(count - 1, 1))))
        for k in range(1, count):
            sigma[k] = float(_DIGITS.power(step, k))
    return sigma


def _graded(stream: RandomStream, rows: int, columns: int, sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return U·diag(σ)·Vᵀ with U and V random and orthonormal."""
    from harness.recipes.orthogonal import product, random_orthonormal

    left = random_orthonormal(stream, rows, columns)
    right = random_orthonormal(stream, columns, columns)
    return product(left * sigma, right.T)


@dataclass(frozen=True, slots=True)
class _Combination:
    """A column of C with its δ: B's columns `first` and `second` (None: one only) and the row of δ."""

    first: int
    second: int | None
    sign_first: float
    sign_second: float
    row: int

    def cancel(self, core: NDArray[np.float64]) -> None:
        """Change one entry of B so that B·c is exactly 0 in the row of δ."""
        if self.second is None:
            core[self.row, self.first] = 0.0
        else:
            core[self.row, self.second] = -self.sign_first * self.sign_second * core[self.row, self.first]

    def of(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return matrix·c, over the columns of `matrix` or along a row."""
        part = self.sign_first * matrix[..., self.first]
        return part if self.second is None else part + self.sign_second * matrix[..., self.second]


def _exact(
    fmt: NumberFormat, stream: RandomStream, rows: int, columns: int, sigma: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return [B, B·C + E] on the grid of `fmt`, its columns in random order.

    Where a δ would lie nearly in the range of B it would have to be large; then all is drawn again,
    after some attempts with fewer δ and more columns in B, which is then less finely graded.
    """
    from harness.recipes.orthogonal import product, random_orthonormal

    beyond = min(int((sigma < smallest_carried(fmt)).sum()), columns - 1)
    for attempt in range(_ATTEMPTS):
        small = max(beyond >> (attempt // 4), 1)
        large = columns - small
        left = random_orthonormal(stream, rows, large)
        core = product(left * sigma[:large], random_orthonormal(stream, large, large).T)
        combinations = _combinations(stream, rows, large, small)
        order = stream.permutation(columns)
        taken = {c.row for c in combinations}
        pivots = [row for row in stream.permutation(rows).tolist() if row not in taken]
        for k, c in enumerate(combinations):
            _rotate_to_zero(core, c, pivots[k % len(pivots)])
        core = _on_fixed_grid(fmt, core)
        for c in combinations:
            c.cancel(core)
        made = _with_small_singular_values(fmt, core, combinations, sigma)
        if made is not None:
            return made[:, order]
    raise InputError(
        f"no {rows} × {columns} matrix of condition {1 / float(sigma[-1]):.3g} was found in {fmt.name}",
        "change the condition, the shape or the seed",
    )


def _with_small_singular_values(
    fmt: NumberFormat,
    core: NDArray[np.float64],
    combinations: list[_Combination],
    sigma: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """Return [B, B·C + E] with δ such that the condition is as wanted, or None if none is near."""
    import numpy as np

    from harness.formats import round_array
    from harness.recipes.orthogonal import largest_singular_value

    large = core.shape[1]
    dense = np.stack([c.of(core) for c in combinations], axis=1)
    largest = largest_singular_value(np.concatenate([core, dense], axis=1))
    inverse = _inverse_factor(core, combinations)
    if inverse is None or largest == 0:
        return None
    delta = sigma[large:] * largest
    for _ in range(2):
        smallest = 1 / largest_singular_value(_pseudo_inverse(inverse, combinations, delta))
        delta = delta * (largest * float(sigma[-1]) / smallest)
    scale = _scale(fmt, float(np.min(delta)), float(np.max(np.abs(dense))))
    delta = round_array(fmt, delta * scale) / scale
    if np.max(delta) > largest / 2:
        return None
    smallest = 1 / largest_singular_value(_pseudo_inverse(inverse, combinations, delta))
    if not 0.5 < smallest / (largest * float(sigma[-1])) < 2:
        return None
    for k, c in enumerate(combinations):
        dense[c.row, k] = float(delta[k])
    return np.concatenate([core, dense], axis=1) * scale


def _combinations(stream: RandomStream, rows: int, large: int, small: int) -> list[_Combination]:
    """Return which columns of B each column of B·C adds or subtracts, and in which row its δ is."""
    places = stream.permutation(rows)[:small].tolist()
    signs = stream.signs(2 * small).tolist()
    start = stream.permutation(large).tolist()
    made = []
    for k, row in enumerate(places):
        first = start[k % large]
        shift = 1 + (k // large) % max(large - 1, 1)
        second = start[(k + shift) % large] if large > 1 else None
        made.append(_Combination(first, second, signs[2 * k], signs[2 * k + 1], row))
    return made


def _rotate_to_zero(core: NDArray[np.float64], c: _Combination, pivot: int) -> None:
    """Rotate two rows of B so that B·c vanishes in the row of δ; singular values stay as they are."""
    a, b = float(c.of(core[c.row])), float(c.of(core[pivot]))
    length = math.sqrt(a * a + b * b)
    if length > 0:
        upper, lower = core[c.row].copy(), core[pivot].copy()
        core[c.row] = (b * upper - a * lower) / length
        core[pivot] = (a * upper + b * lower) / length


def _on_fixed_grid(fmt: NumberFormat, core: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return B rounded to multiples of one power of two, such that sums of two entries fit in p bits."""
    import numpy as np

    exponent = math.frexp(float(np.max(np.abs(core))))[1]  # |B| < 2^exponent, sums ≤ 2^(exponent + 1)
    quantum = exponent + 1 - fmt.precision
    rounded: NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(core, -quantum)), quantum)
    return rounded


def _inverse_factor(
    core: NDArray[np.float64], combinations: list[_Combination]
) -> NDArray[np.float64] | None:
    """Return R⁻¹ of [B, E₁] = Q·R, E₁ with 1 where E has δ; None if a column depends on the others."""
    import numpy as np

    from harness.recipes.orthogonal import orthogonalised, triangular_inverse

    units = np.zeros((len(core), len(combinations)))
    for k, c in enumerate(combinations):
        units[c.row, k] = 1.0
    _, r = orthogonalised(np.concatenate([core, units], axis=1))
    return None if (np.diagonal(r) == 0).any() else triangular_inverse(r)


def _pseudo_inverse(
    inverse: NDArray[np.float64], combinations: list[_Combination], delta: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return K with ‖K‖ = ‖A⁺‖: A = Q·R·diag(I, δ)·M, M = [[I, C], [0, I]], K = M⁻¹·diag(I, 1/δ)·R⁻¹.

    R is well conditioned wherever B is, so that K is accurate at any κ.
    """
    large = len(inverse) - len(combinations)
    made = inverse.copy()
    made[large:] = made[large:] / delta[:, None]
    for k, c in enumerate(combinations):
        made[c.first] = made[c.first] - c.sign_first * made[large + k]
        if c.second is not None:
            made[c.second] = made[c.second] - c.sign_second * made[large + k]
    return made


def _scale(fmt: NumberFormat, least: float, most: float) -> float:
    """Return the power of two that lifts δ far enough over the smallest subnormal to keep 4 bits."""
    wanted = 16 * float(fmt.min_subnormal)
    scale = 1.0
    while least * scale < wanted:
        scale *= 2
    if most * scale > float(fmt.max_finite):
        raise InputError(
            f"{fmt.name} holds no matrix of this condition: its numbers span too few binades",
            "lower the condition",
        )
    return scale


register_recipe(
    Recipe(
        name="conditioned",
        title="A matrix of given 2-norm condition number, also far beyond 1/u",
        arguments={
            "condition": Argument("number", "the condition number, at least 1"),
            "shape": Argument("shape", "rows and columns"),
            "mode": Argument(
                "text",
                "singular values of equal ratio, of equal difference, or all 1 but the last",
                "geometric",
                required=False,
                choices=MODES,
            ),
        },
        make=_conditioned,
        elements=shape_elements,
    )
)
