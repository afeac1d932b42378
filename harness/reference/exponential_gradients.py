"""Certified gradients of softmax, log-softmax and log-sum-exp of the rows of an array.

With m the largest entry of a row, e_j = exp(x_j − m), S = Σ e_j and a cotangent g:

    softmax       r_i = p_i·Σ_j p_j (g_i − g_j) = e_i·((g_i − c)·S − Σ_j e_j (g_j − c)) / S²
    log-softmax   r_i = g_i − p_i·Σ_j g_j = (g_i·S − e_i·Σ_j g_j) / S
    logsumexp     r_i = p_i·g = e_i·g / S

c is the cotangent at the largest entry, so that what one entry dominates does not cancel; log-softmax
there is (g_i·Σ_{j≠i} e_j − Σ_{j≠i} g_j) / S, its second sum taken exactly. What cancels beyond that is
certified by raising the precision, which ends, for it is known beforehand which elements are 0:
exponentials of distinct algebraic numbers are linearly independent over the algebraic numbers
(Lindemann–Weierstrass). So a combination Σ c_j·e_j vanishes only if the c_j of equal entries x_j add up to
0, which rationals decide:

    softmax       where g has one mean over each set of equal entries, and g_i is that mean
    log-softmax   where g_i and Σ g_j are 0; or all entries are equal, and g_i is the mean of g
    logsumexp     where g is 0

Entries that are not finite. Where a value is undefined, so is its derivative. Elsewhere it is the limit from
finite rows: an entry of −inf has p = 0, its gradient is 0, and g_i for log-softmax. Log-sum-exp of nothing
but −inf has no such limit, for p may tend to any shares there. An entry of −inf stands for log 0 and stays
what it is, whatever finite number is added to it, so that the value is constant: the gradient is declared 0,
like that of a −inf beside finite entries (and as users of torch and JAX ask: pytorch#31829, jax#6811).
Beside +inf all other entries have the limit 0; +inf itself is undefined, for its share is ∞/∞.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from flint import arb
from numpy.typing import NDArray

from harness.errors import InputError
from harness.formats import NumberFormat
from harness.reference.certify import ball_of, certify_elements, dot, total
from harness.reference.elements import FINITE, NAN, NEG_INF, POS_INF, ZERO, ReferenceArray
from harness.reference.exponential_sums import Rows
from harness.reference.inner_product import exact_dot

Floats = NDArray[np.float64]

Places = NDArray[np.intp]
RowBalls = Callable[[int, Places], Sequence[arb]]
"""(row, columns wanted) → their balls, at the precision set."""

_LARGEST = Fraction(float(np.finfo(np.float64).max))


def softmax_gradient(x: Floats, cotangent: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return p∘(g − Σ p_j g_j) along `axis`, in the shape of `x`, which the cotangent has too.

    A row that holds NaN or +inf, or nothing but −inf, is undefined.

    Raises
    ------
    InputError
        A cotangent of another shape, or one that is not finite.
    """
    rows, g = Rows.of(x, axis), _rows_of_cotangent(cotangent, x.shape, axis)
    kinds = _kinds(rows)
    for r in np.flatnonzero(rows.kind == FINITE).tolist():
        mean = _common_mean(rows.values[r], g[r])
        if mean is not None:
            kinds[r][_equals(g[r], mean)] = ZERO

    def balls(r: int, columns: Places) -> list[arb]:
        row = _Row(rows.values[r])
        c = arb(float(g[r][row.largest]))
        offsets = [arb(v) - c for v in g[r][row.finite].tolist()]
        weighted = dot(row.exps, offsets)
        scale = 1 / (row.total * row.total)
        return [row.exps[i] * (offsets[i] * row.total - weighted) * scale for i in row.places(columns)]

    return rows.restore(_certified(balls, kinds, fmt))


def log_softmax_gradient(x: Floats, cotangent: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return g − p·Σ g_j along `axis`, in the shape of `x`, which the cotangent has too.

    g itself at −inf entries. A row that holds NaN or +inf, or nothing but −inf, is undefined.

    Raises
    ------
    InputError
        A cotangent of another shape, or one that is not finite.
    """
    rows, g = Rows.of(x, axis), _rows_of_cotangent(cotangent, x.shape, axis)
    kinds = _kinds(rows)
    sums: dict[int, Fraction] = {}
    for r in np.flatnonzero(rows.kind == FINITE).tolist():
        sums[r] = _exact_sum(g[r])
        finite = rows.values[r][np.isfinite(rows.values[r])]
        if np.all(finite == finite[0]):
            kinds[r][_equals(g[r], sums[r] / finite.size)] = ZERO
        elif sums[r] == 0:
            kinds[r][g[r] == 0] = ZERO

    def balls(r: int, columns: Places) -> list[arb]:
        row = _Row(rows.values[r])
        g_top = float(g[r][row.largest])
        at_top = (arb(g_top) * row.others - ball_of(sums[r] - Fraction(g_top))) / row.total
        whole, scale = ball_of(sums[r]), 1 / row.total
        weights = g[r][columns].tolist()
        return [
            at_top if column == row.largest else (arb(w) * row.total - row.exps[i] * whole) * scale
            for column, i, w in zip(columns.tolist(), row.places(columns), weights, strict=True)
        ]

    masked = (rows.kind == FINITE)[:, None] & (rows.values == -np.inf)
    found = _certified(balls, np.where(masked, ZERO, kinds), fmt)
    found.assign(masked, ReferenceArray.from_float64(g[masked]))
    return rows.restore(found)


def logsumexp_gradient(x: Floats, cotangent: Floats, axis: int, fmt: NumberFormat) -> ReferenceArray:
    """Return p·g along `axis`, in the shape of `x`; the cotangent has that shape without the axis.

    0 throughout a row of nothing but −inf, and beside +inf; +inf itself, and a row with NaN, are undefined.

    Raises
    ------
    InputError
        A cotangent of another shape, or one that is not finite.
    """
    rows = Rows.of(x, axis)
    g = _finite(cotangent, rows.outer).reshape(-1)
    kinds = _kinds(rows)
    kinds[rows.kind == NEG_INF] = ZERO
    beside = (rows.kind == POS_INF)[:, None] & (rows.values != np.inf)
    kinds[beside] = ZERO
    kinds[(rows.kind == FINITE) & (g == 0)] = ZERO

    def balls(r: int, columns: Places) -> list[arb]:
        row = _Row(rows.values[r])
        scale = arb(float(g[r])) / row.total
        return [row.exps[i] * scale for i in row.places(columns)]

    return rows.restore(_certified(balls, kinds, fmt))


class _Row:
    """Exponentials of a row of the class FINITE, relative to its largest entry, at the precision set."""

    def __init__(self, values: Floats) -> None:
        self.finite = np.isfinite(values)
        self.largest = int(np.argmax(values))
        """The column of an entry that no other is above."""
        self._place = np.cumsum(self.finite) - 1
        top = arb(float(values[self.largest]))
        self.exps = [(arb(v) - top).exp() for v in values[self.finite].tolist()]
        """Of the finite entries."""
        at = int(self._place[self.largest])
        self.others = total(self.exps[:at] + self.exps[at + 1 :])
        """S without the largest entry."""
        self.total = 1 + self.others
        """S"""

    def places(self, columns: Places) -> list[int]:
        """Return where the entries of these columns, all finite, are among the finite ones."""
        found: list[int] = self._place[columns].tolist()
        return found


def _kinds(rows: Rows) -> NDArray[np.uint8]:
    """Return FINITE for the finite entries of FINITE rows, ZERO for the −inf among them, NAN elsewhere."""
    kinds = np.where(np.isfinite(rows.values), FINITE, ZERO).astype(np.uint8)
    kinds[rows.kind != FINITE] = NAN
    return kinds


def _certified(balls: RowBalls, kinds: NDArray[np.uint8], fmt: NumberFormat) -> ReferenceArray:
    """Return the elements (rows, n), each row's exponentials computed once at each precision."""
    n = kinds.shape[1]

    def compute(bits: int, places: Places) -> list[arb]:
        row, column = np.divmod(places, n)
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        groups = zip(row[starts].tolist(), np.split(column, starts[1:]), strict=True)
        return [ball for r, columns in groups for ball in balls(r, columns)]

    return certify_elements(compute, fmt=fmt, shape=kinds.shape, kinds=kinds)


def _rows_of_cotangent(cotangent: Floats, shape: tuple[int, ...], axis: int) -> Floats:
    return Rows.of(_finite(cotangent, shape), axis).values


def _finite(cotangent: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the cotangent in the shape of the output; a scalar output's may be a list of one number."""
    if cotangent.shape != shape and not (shape == () and cotangent.shape == (1,)):
        raise InputError(f"the cotangent has shape {list(cotangent.shape)}, the output {list(shape)}")
    if not np.isfinite(cotangent).all():
        raise InputError(
            "the cotangent holds what is not finite in this dtype, and the gradient of that is undefined"
        )
    return cotangent.reshape(shape)


def _common_mean(x: Floats, g: Floats) -> Fraction | None:
    """Return the mean of g over each set of equal finite entries of x, if it is the same for all of them.

    Means that differ by more than float64 sums may be off are told apart by these.
    """
    finite = np.isfinite(x)
    values, group, counts = np.unique(x[finite], return_inverse=True, return_counts=True)
    weights = g[finite]
    if values.size > 1:
        off = x.size * (2.0**-50 * float(np.max(np.abs(weights))) + 2.0**-1070)
        with np.errstate(over="ignore", invalid="ignore"):
            rough = np.bincount(group, weights) / counts
            if np.max(rough) - np.min(rough) > 2 * off:
                return None
    if np.all(weights == weights[0]):
        return Fraction(float(weights[0]))
    sets = np.split(weights[np.argsort(group, kind="stable")], np.cumsum(counts)[:-1])
    mean = _exact_sum(sets[0]) / sets[0].size
    return mean if all(_exact_sum(own) == mean * own.size for own in sets[1:]) else None


def _exact_sum(g: Floats) -> Fraction:
    return exact_dot(g, np.ones(g.size))[0]


def _equals(g: Floats, value: Fraction) -> NDArray[np.bool_]:
    """Return where float64 numbers are that rational number exactly."""
    near = float(value) if abs(value) <= _LARGEST else np.inf
    return np.asarray((g == near) & (Fraction(near) == value if np.isfinite(near) else False), np.bool_)
