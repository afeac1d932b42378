"""Least squares in exact rationals, with certified singular values and backward errors.

Data are scaled to integers, and everything that is rational in them is computed exactly: the rank, the
minimum-norm solution, the residual's norm. With rank r, C a choice of r independent columns and R one of
r independent rows, the normal equations are Cᵀ A x = Cᵀ b, the solution of minimum norm is x = Rᵀ w, and

    (Cᵀ A Rᵀ) w = Cᵀ b

is a regular system of r equations: a product that vanishes, y with CᵀA Rᵀ y = 0, would put Rᵀ y both in
the null space of A and in its row space. Of full column rank it reduces to the normal equations.

*Singular values.* Their squares λ are the eigenvalues of a matrix H of order r (the smaller Gram matrix,
or (R Rᵀ)⁻¹ R AᵀA Rᵀ, that is AᵀA restricted to the row space). With μ = λ**N, N = 2**k, and power sums
p_N = Σμ = tr H**N from k squarings in ball arithmetic,

    (p_2N / p_N)**(1/N) ≤ λ₁ ≤ p_N**(1/N),
    λ₁**N ≤ p_N/r + √((r − 1)/r · (p_2N − p_N²/r))

(a mean of the μ weighted by themselves; all λ are positive; Samuelson 1968, "How deviant can you be?").
The first is tight after few squarings for a gap, the last for equal values, and p_N**(1/N) exceeds λ₁ by
no more than the factor r**(1/N) in any case: repeated and clustered values need no care. The smallest is
found in the same way from H⁻¹.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from flint import arb, arb_mat, ctx, fmpq, fmpz, fmpz_mat, nmod_mat
from numpy.typing import NDArray

from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = NDArray[np.float64]

_SINGULAR_VALUE_LOG2: Final = -40
"""log2 of the relative width at which enclosures of λ are narrow enough."""
_SQUARINGS: Final = 48
"""r**(1/2**48) is within 2**-40 of 1 for every rank below 2**50."""
_FIRST_BITS: Final = 256
_MOST_BITS: Final = 1 << 17
_NORM_BITS: Final = 128
_PRIMES: Final = (2**61 - 1, 2**62 - 57, 2**63 - 25)


@dataclass(frozen=True, slots=True)
class Scaled:
    """An exact matrix: integers times 2**exponent."""

    integers: fmpz_mat
    exponent: int

    @classmethod
    def of(cls, values: Floats) -> Scaled:
        """Scale a finite float64 matrix (m, n), or a vector as a column, to the smallest integers."""
        values = values.reshape(values.shape[0], -1)
        mantissa, exponent = np.frexp(values)
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        used = whole != 0
        if not used.any():
            return cls(fmpz_mat(*values.shape), 0)
        trailing = np.frexp((whole & -whole)[used].astype(np.float64))[1] - 1
        lowest = int(np.min(exponent[used] - 53 + trailing))
        shifts = (exponent.astype(np.int64) - 53 - lowest).ravel().tolist()
        integers = [
            w << s if s >= 0 else w >> -s for w, s in zip(whole.ravel().tolist(), shifts, strict=True)
        ]
        return cls(fmpz_mat(*values.shape, integers), lowest)


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """The minimum-norm solution x of min ‖b − Ax‖₂ and what is certified of it.

    Squares of norms are exact; `exponent` fields are binary orders by which they are to be multiplied.
    """

    rank: int
    x: tuple[fmpq, ...]
    """The solution, to be multiplied by 2**x_exponent."""
    x_exponent: int
    singular_values: tuple[arb, arb]
    """Enclosures of σ₁ and of σ_r, the smallest that is not zero; their scale cancels in κ."""
    a_exponent: int
    """To multiply the singular values by 2** of."""
    norm_a_squared: fmpz
    """‖A‖_F² / 2**(2·a_exponent)."""
    norm_b_squared: fmpz
    """‖b‖² / 2**(2·b_exponent)."""
    b_exponent: int
    norm_fit_squared: fmpq
    """‖Ax‖² / 2**(2·b_exponent)."""

    @property
    def norm_residual_squared(self) -> fmpq:
        """‖b − Ax‖² / 2**(2·b_exponent), exactly: the residual is orthogonal to Ax."""
        return self.norm_b_squared - self.norm_fit_squared

    @property
    def condition(self) -> arb:
        """κ₂(A) = σ₁/σ_r."""
        with ctx.workprec(_NORM_BITS):
            return self.singular_values[0] / self.singular_values[1]

    def quantities(self) -> dict[str, float]:
        """Return what bounds and reports need: norms as log2, the residual's angle in radians.

        `condition` is within `condition_radius` (relative) of κ₂; every other one within 2**-50.
        """
        with ctx.workprec(_NORM_BITS):
            condition = self.condition
            fit, residual = arb(self.norm_fit_squared).sqrt(), arb(self.norm_residual_squared).sqrt()
            angle = arb.atan2(residual, fit) if self.norm_b_squared else arb(0)
            x_squared = sum((value * value for value in self.x), start=fmpq(0))
            return {
                "rank": float(self.rank),
                "condition": _float(condition),
                "condition_log2": log2(condition),
                "condition_radius": float(condition.rad() / condition.mid()),
                "norm_a_2_log2": log2(self.singular_values[0]) + self.a_exponent,
                "norm_a_f_log2": log2(arb(self.norm_a_squared)) / 2 + self.a_exponent,
                "norm_b_log2": log2(arb(self.norm_b_squared)) / 2 + self.b_exponent,
                "norm_x_log2": log2(arb(x_squared)) / 2 + self.x_exponent,
                "norm_r_log2": log2(arb(self.norm_residual_squared)) / 2 + self.b_exponent,
                "residual_angle": float(angle.mid()),
            }


def solve_least_squares(a: Scaled, b: Scaled) -> LeastSquares:
    """Return the exact minimum-norm solution of min ‖b − Ax‖₂ and the certified quantities.

    Parameters
    ----------
    a : (m, n) of any rank but 0.
    b : (m, 1).

    Raises
    ------
    InputError
        A is zero, or its condition number is beyond what 2**17 bits resolve.
    """
    A, right = a.integers, b.integers
    rank = A.rank()
    if rank == 0:
        raise InputError("least squares needs a matrix that is not zero: it has no condition number")
    At = A.transpose()
    gram, projected = At * A, At * right
    if rank == A.ncols():
        numerators, denominator = gram.solve(projected).numer_denom()
        reduced = Reduced(gram, None)
    else:
        columns = _select(At, _independent(A, rank))
        rows = _select(A, _independent(At, rank))
        system = columns * A * rows.transpose()
        weights, denominator = system.solve(columns * right).numer_denom()
        numerators = rows.transpose() * weights
        metric = rows * rows.transpose()
        wide = rank == A.nrows()
        reduced = Reduced(A * At, None) if wide else Reduced(rows * gram * rows.transpose(), metric)
    largest, smallest = extreme_eigenvalues(reduced)
    with ctx.workprec(_NORM_BITS):
        singular_values = (largest.sqrt(), smallest.sqrt())
    return LeastSquares(
        rank=rank,
        x=tuple(fmpq(entry, denominator) for entry in numerators.entries()),
        x_exponent=b.exponent - a.exponent,
        singular_values=singular_values,
        a_exponent=a.exponent,
        norm_a_squared=_trace(gram),
        norm_b_squared=_inner(right, right),
        b_exponent=b.exponent,
        norm_fit_squared=fmpq(_inner(projected, numerators), denominator),
    )


# ---- rank ------------------------------------------------------------------------------------------


def _independent(matrix: fmpz_mat, rank: int) -> list[int]:
    """Return `rank` indices of independent columns: independent modulo a prime is independent."""
    for prime in _PRIMES:
        echelon, found = nmod_mat(matrix, prime).rref()
        if found == rank:
            table = echelon.table()
            return [next(j for j, entry in enumerate(row) if int(entry)) for row in table[:rank]]
    raise InputError(f"the rank of the matrix is lower modulo each of {_PRIMES}: its entries are contrived")


def _select(matrix: fmpz_mat, rows: list[int]) -> fmpz_mat:
    table = matrix.table()
    return fmpz_mat([table[i] for i in rows])


def _trace(matrix: fmpz_mat) -> fmpz:
    return sum((matrix[i, i] for i in range(matrix.nrows())), start=fmpz(0))


def _inner(x: fmpz_mat, y: fmpz_mat) -> fmpz:
    return (x.transpose() * y)[0, 0]


# ---- extreme eigenvalues -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reduced:
    """H = metric⁻¹·form with positive definite integer matrices, or `form` itself."""

    form: fmpz_mat
    metric: fmpz_mat | None

    def matrix(self, inverse: bool) -> arb_mat:
        """Return H or H⁻¹ at the precision of the context; ZeroDivisionError if that is too low."""
        if self.metric is None:
            return arb_mat(self.form).inv() if inverse else arb_mat(self.form)
        left, right = (self.form, self.metric) if inverse else (self.metric, self.form)
        return arb_mat(left).solve(arb_mat(right))


def extreme_eigenvalues(reduced: Reduced) -> tuple[arb, arb]:
    """Return enclosures of the largest and the smallest eigenvalue of H, to a relative 2**-40."""
    largest, bits = _dominant(reduced, inverse=False, bits=_FIRST_BITS)
    smallest, bits = _dominant(reduced, inverse=True, bits=bits)
    with ctx.workprec(bits):
        return largest, 1 / smallest


def _dominant(reduced: Reduced, *, inverse: bool, bits: int) -> tuple[arb, int]:
    while bits <= _MOST_BITS:
        with ctx.workprec(bits):
            try:
                found = _power_sums(reduced.matrix(inverse))
            except ZeroDivisionError:
                found = None
        if found is not None:
            return found, bits
        bits *= 2
    raise InputError(f"the condition number of the matrix is beyond what {_MOST_BITS} bits resolve")


def _power_sums(matrix: arb_mat) -> arb | None:
    """Return an enclosure of the dominant eigenvalue; None where the balls became too wide."""
    order = matrix.nrows()
    share = arb(order - 1) / order
    lower, upper = arb(0), arb("inf")
    for k, (now, then) in enumerate(_pairs_of_traces(matrix)):
        # μ of the docstring is scaled so that p_N is `now` and p_2N is `then`
        total, scale = now
        squares = then[0] * arb(2) ** (then[1] - 2 * scale)
        if not (total > 0 and squares > 0):
            return None
        spread = arb.max((squares - total * total / order).upper(), arb(0))
        most = arb.min(total, total / order + (share * spread).sqrt())
        lower = arb.max(lower, _root(squares / total, scale, k).lower())
        upper = arb.min(upper, _root(most, scale, k).upper())
        width = upper - lower
        if width < lower * arb(2) ** _SINGULAR_VALUE_LOG2:
            return lower.union(upper)
        if not (total.rel_accuracy_bits() > 64 and squares.rel_accuracy_bits() > 64):
            return None
    return None


def _pairs_of_traces(matrix: arb_mat) -> Iterator[tuple[tuple[arb, int], tuple[arb, int]]]:
    """Yield (tr H**N, tr H**2N) for N = 1, 2, 4 …, each as a ball near 1 and a binary order."""
    last, order = _normalise(matrix, 0)
    for _ in range(_SQUARINGS):
        power, next_order = _normalise(last * last, 2 * order)
        yield (last.trace(), order), (power.trace(), next_order)
        last, order = power, next_order


def _normalise(matrix: arb_mat, order: int) -> tuple[arb_mat, int]:
    mantissa, exponent = matrix.trace().mid().man_exp()
    shift = int(exponent) + int(mantissa).bit_length()
    return matrix * (arb(2) ** -shift), order + shift


def _root(value: arb, order: int, k: int) -> arb:
    """Return (value·2**order)**(1/2**k)."""
    return ((value.log() + order * arb(2).log()) / 2**k).exp()


# ---- backward error ----------------------------------------------------------------------------------


def backward_error(a: Scaled, b: Scaled, x: Scaled) -> float:
    """Return the Karlson–Waldén estimate of the backward error of x, relative to ‖A‖_F.

    ‖(‖x‖²AᵀA + ‖r‖²I)^(−½) Aᵀr‖ / ‖A‖_F with r = b − Ax, which is Karlson and Waldén 1997 with
    φ = ‖r‖/‖x‖ (there for perturbations of A alone) written so that x may be 0; r and Aᵀr are exact. The
    estimate is within a factor √2 of the smallest ‖E‖_F/‖A‖_F with x a least-squares solution for A + E
    (Gratton, Jiránek and Titley-Peloquin 2012; Hallman 2020). 0 if r or Aᵀr is exactly 0.
    """
    A, At = a.integers, a.integers.transpose()
    product, order = A * x.integers, a.exponent + x.exponent
    place = min(b.exponent, order)
    residual = b.integers * fmpz(2) ** (b.exponent - place) - product * fmpz(2) ** (order - place)
    gradient = At * residual
    gradient_squared = _inner(gradient, gradient)
    if not gradient_squared:
        return 0.0
    gram = At * A
    r_squared, x_squared = _inner(residual, residual), _inner(x.integers, x.integers)
    excess = 2 * (order - place)  # of ‖x‖²AᵀA over ‖r‖², both as integers; never negative
    n = gram.nrows()
    matrix = gram * (x_squared << excess)
    for i in range(n):
        matrix[i, i] += r_squared
    bits = _FIRST_BITS
    while bits <= _MOST_BITS:
        with ctx.workprec(bits):
            try:
                solved = arb_mat(matrix).solve(arb_mat(gradient))
            except ZeroDivisionError:
                bits *= 2
                continue
            squared = (arb_mat(gradient).transpose() * solved)[0, 0]
            if squared.rel_accuracy_bits() > 40:
                return _float((squared / arb(_trace(gram))).sqrt())
        bits *= 2
    raise ArithmeticError(f"the backward error was not enclosed with {_MOST_BITS} bits")


# ---- numbers -----------------------------------------------------------------------------------------


def log2(value: arb) -> float:
    """Return log2 of a ball that does not contain 0, or −inf of an exact 0, at any magnitude."""
    if value.is_zero():
        return -math.inf
    mantissa, exponent = value.mid().man_exp()
    shift = max(0, int(mantissa).bit_length() - 64)
    return math.log2(int(mantissa) >> shift) + shift + int(exponent)


def _float(value: Any) -> float:
    """Round the midpoint of a positive ball to float64, inf where it is beyond its range."""
    return math.inf if value.mid() > arb(2) ** 1023 else float(value.mid())
