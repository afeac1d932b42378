"""Mutual information of a table of joint probabilities, accurate where the two are nearly independent.

With m_ij = r_i·c_j, the product of the marginals, d = p − m and S = Σ p,

    I = Σ p·ln(p/m) = Σ t + S − S²,   t = p·ln(1 + d/m) − d,   for Σ d = S − S².

No t is negative, each is about d²/(2m), and where a marginal moves by a relative δ, t moves by −d·δ and not
by −p·δ: nothing of first order in δ is left where nothing depends on anything.

Marginals come from compensated sums: n halved l = ⌈log₂ n⌉ times leaves roundings of at most l·u·Σp in all,
and adding those up costs n·u_acc + (l + 2)·u of them (compare Ogita, Rump & Oishi, SIAM J. Sci. Comput. 26
(2005), proposition 4.5). So a marginal is within ε = u + 2l·u·(n·u_acc + (l + 2)·u), and S in two parts,
L = l_r + l_c, within ε₂ = 2L·u·((n_r + n_c)·u_acc + (L + 4)·u), the factors 2 for products of errors. The
bound is the sum of

    |d|·η + p·η²              η = ε_r + ε_c + u of m: to first order, and the second with (1 − η)⁻² ≤ 2
    u·(5·d' + 10·p·l' + t)    for d, d/m or p/m, 4 ulp of the logarithm, product and subtraction, of what the
                              algorithm has: d' = |d| + η·m, l' = |ln(p/m)| + 2η
    ω·(2 + |d|/m)             what underflows

e over the table, N·u_acc·Σ (t + e) for its sum, (2ε₂ + 4u·|1 − S|)·S for S·(1 − S), and 2u of all. Where the
two are independent d, t and the logarithm are 0, and η's products with u are what is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations import weighted_logarithms as logs
from harness.operations.definition import operation
from harness.registry import Cost, ExactProblem, Thunk, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

    Floats = NDArray[np.float64]

NEEDS: Final = ("elementwise", "sum")


def _marginals(xp: Any, p: Any) -> tuple[Any, Any]:
    return xp.sum(p, axis=1, keepdims=True), xp.sum(p, axis=0, keepdims=True)


def meant(xp: Any, p: Any) -> Any:
    """Return Σ p·ln(p/(r·c)), 0 where p is 0; marginals are the sums of the p as they are."""
    rows, columns = _marginals(xp, p)
    m = xp.multiply(rows, columns)
    return xp.sum(logs.product(xp, p, lambda a, b: xp.log(xp.divide(a, b)), p, m))


def by_logarithms(xp: Any, p: Any) -> Any:
    """Return Σ p·(ln p − (ln r + ln c)), 0 where p is 0."""
    rows, columns = _marginals(xp, p)
    like = xp.zeros_like(p)

    def logarithm(a: Any, b: Any, c: Any) -> Any:
        return xp.subtract(xp.log(a), xp.add(xp.log(b), xp.log(c)))

    return xp.sum(logs.product(xp, p, logarithm, p, xp.add(rows, like), xp.add(columns, like)))


def bound(problem: ExactProblem, reference: Reference, precision: Precision) -> Mapping[str, Floats]:
    """Return log2 of the module's bound; float64's own rounding of d is added to |d|."""
    import numpy as np

    p = problem.inputs["p"]
    total = p.size
    u, least = precision.u_out, float(precision.format.min_subnormal)
    with np.errstate(all="ignore"):
        m = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
        d = np.abs(p - m) + 4 * 2.0**-53 * m
        logarithm = np.where(p > 0, p * np.abs(np.log(p / m)), 0.0)
        terms = np.abs(np.where(p > 0, p * np.log(p / m), 0.0) - (p - m))
        levels = [math.ceil(math.log2(n)) for n in p.shape]
        acc, both = precision.u_acc, sum(levels)
        marginals = [u + 2 * k * u * (n * acc + (k + 2) * u) for n, k in zip(p.shape, levels, strict=True)]
        eta = sum(marginals) + u
        each = d * eta + p * eta**2 + u * (5 * (d + eta * m) + 10 * (logarithm + 2 * eta * p) + terms)
        each = each + least * (2 + np.where(m > 0, d / m, 0.0))
        s = float(p.sum())
        away = abs(1 - s) + total * 2.0**-53
        parts = 2 * both * u * (sum(p.shape) * acc + (both + 4) * u)
        whole = (2 * parts + 4 * u * away) * s
        found = each.sum() + total * acc * (terms + each).sum() + whole
        y = abs(float(reference.outputs["information"].to_float64()))
        return {"information": np.asarray(np.log2(found + 2 * u * (y + found) + least))}


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 7 an entry: two sums, product of marginals, quotient, logarithm, product, sum; one read."""
    size = math.prod(shapes["p"])
    return Cost(7 * size, (size + 1) * element_bytes)


def _check(problem: ExactProblem) -> None:
    p = problem.inputs["p"]
    if p.ndim != 2 or 0 in p.shape:
        raise InputError(f"p has shape {list(p.shape)}", "a table of one row and column or more is allowed")


operation(
    name="mutual_information",
    title="Mutual information",
    formula="I = Σ_ij p_ij·ln(p_ij/(r_i·c_j)), r_i = Σ_j p_ij, c_j = Σ_i p_ij; the p_ij as they are",
    inputs={"p": "(rows, columns), joint probabilities"},
    outputs=("information",),
    definition=meant,
    bound=bound,
    gradient_stable=by_logarithms,
    algorithm="Σ p·(ln p − (ln r + ln c))",
    bound_formula=(
        "Σ e + N·u_acc·Σ (t + e) + (2ε₂ + 4u·|1 − S|)·S, e = |d|·η + p·η² "
        "+ u·(5(|d| + η·m) + 10·p·(|ln(p/m)| + 2η) + t) + ω·(2 + |d|/m), d = p − m, m = r·c"
    ),
    source=(
        "derived in the operation's module; compensated sums: Ogita, Rump & Oishi, SIAM J. Sci. Comput. 26 "
        "(2005), proposition 4.5"
    ),
    differentiable=("p",),
    gradient_formula="g·(ln(p_ij/(r_i·c_j)) − 1)",
    cost=cost,
    check=_check,
)


@formulation("mutual_information", "direct", title="Σ p·ln(p/(r·c))", needs=NEEDS)
def direct(xp: Any, p: Any) -> Thunk:
    """Give NaN where p is 0; marginals' rounding enters with its full size."""

    def thunk() -> Any:
        rows, columns = _marginals(xp, p)
        return xp.sum(xp.multiply(p, xp.log(xp.divide(p, xp.multiply(rows, columns)))))

    return thunk


@formulation("mutual_information", "log_space", title="Σ p·(ln p − ln r − ln c), 0 where p is 0", needs=NEEDS)
def log_space(xp: Any, p: Any) -> Thunk:
    """Change nothing but 0·ln 0; otherwise as direct."""
    return lambda: by_logarithms(xp, p)


@formulation("mutual_information", "entropies", title="H(X) + H(Y) − H(X, Y), each guarded", needs=NEEDS)
def entropies(xp: Any, p: Any) -> Thunk:
    """Subtract numbers of the size of entropies: what is left has their rounding, and may be negative."""

    def thunk() -> Any:
        rows, columns = _marginals(xp, p)
        parts = [xp.sum(logs.weighted_log(xp, x, x)) for x in (rows, columns, p)]
        return xp.subtract(xp.add(xp.negative(parts[0]), xp.negative(parts[1])), xp.negative(parts[2]))

    return thunk


@formulation(
    "mutual_information",
    "deviation",
    title="Σ (p·ln(1 + d/m) − d) + S − S², d = p − r·c, compensated marginals",
    needs=NEEDS,
)
def deviation(xp: Any, p: Any) -> Thunk:
    """Add up what is small, instead of subtracting what is large."""
    zero, one, half = xp.scalar(0), xp.scalar(1), xp.scalar(Fraction(1, 2))

    def thunk() -> Any:
        rows, low_rows = compensated(xp, p, 1)
        columns, low_columns = compensated(xp, p, 0)
        high, low = compensated(xp, rows, 0)
        low = xp.add(low, xp.sum(low_rows, axis=0, keepdims=True))
        m = xp.multiply(xp.add(rows, low_rows), xp.add(columns, low_columns))
        d = xp.subtract(p, m)
        nothing = xp.equal(p, zero)
        x = xp.divide(d, xp.where(nothing, one, m))
        near = xp.less(xp.abs(x), half)
        ratio = xp.divide(xp.where(nothing, one, p), xp.where(nothing, one, m))
        logarithm = xp.where(near, xp.log1p(xp.where(near, x, zero)), xp.log(ratio))
        terms = xp.sum(xp.subtract(xp.multiply(p, logarithm), d))
        rest = xp.subtract(xp.subtract(one, high), low)
        return xp.add(terms, xp.reshape(xp.multiply(xp.add(high, low), rest), ()))

    return thunk


def compensated(xp: Any, x: Any, axis: int) -> tuple[Any, Any]:
    """Return Σ x along an axis of a matrix as high + low, what each addition of two halves rounds off.

    TwoSum: Knuth, The Art of Computer Programming II, 4.2.2, theorem B.
    """
    low = None
    while x.shape[axis] > 1:
        n = x.shape[axis] // 2
        a, b = (_part(x, axis, i * n, (i + 1) * n) for i in (0, 1))
        s = xp.add(a, b)
        virtual = xp.subtract(s, a)
        error = xp.add(xp.subtract(a, xp.subtract(s, virtual)), xp.subtract(b, virtual))
        lost = xp.sum(error, axis=axis, keepdims=True)
        low = lost if low is None else xp.add(low, lost)
        x = s if x.shape[axis] == 2 * n else xp.concat([s, _part(x, axis, 2 * n, 2 * n + 1)], axis=axis)
    return x, xp.zeros_like(x) if low is None else low


def _part(x: Any, axis: int, start: int, stop: int) -> Any:
    return x[start:stop] if axis == 0 else x[:, start:stop]
