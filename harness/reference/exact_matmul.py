"""Matrix products with a proved error, for every element, at the speed of the BLAS.

Error-free splitting (Ozaki, Ogita, Oishi and Rump 2012, "Error-free transformations of matrix
multiplication by using fast routines of matrix multiplication and its applications").

*Scaling.* Row i of A is divided by 2**eᵢ and column j of B by 2**fⱼ so that all entries are below 1 in
magnitude: exact, but for entries below 2**-960 of their row's largest, which are set to zero and
accounted for.

*Slicing.* With β = ⌊(53 − ⌈log₂k⌉)/2⌋ and s = β + 1, digit t of an entry is the integer nearest to what
is left of it in units of 2**(1 − s·t). What is left is at most half of such a unit, so digits are at
most 2**β in magnitude, and all steps are exact: both x and rint(x) are multiples of the last bit of x,
and so is their difference, which is no longer than x.

*Products are exact.* A product of slices is a sum of k products of integers, of total magnitude at most
k·2**2β ≤ 2**53. Every partial sum, in whatever order, is an integer within that and therefore exact in
float64; with FMA likewise. What is assumed is only that the BLAS sums products of entries (no Strassen),
and even that is checked for every product by row sums modulo 2**64.

*Sums are exact.* Slice products of one level p + q are added as int64; carries of s bits make the levels
non-overlapping numbers, which two passes of TwoSum turn into hi + lo + rest, with nothing lost.

*What is left out* is bounded by Cauchy–Schwarz from norms of slices and tails: with tails R, S after P
and Q slices,  A·B = Σ_{p≤P, q≤Q} A⁽ᵖ⁾B⁽ᑫ⁾ + R·B + (A − R)·S,  so that the error is at most
‖Rᵢ‖‖bⱼ‖ + (‖aᵢ‖ + ‖Rᵢ‖)‖Sⱼ‖ + Σ ‖A⁽ᵖ⁾ᵢ‖‖B⁽ᑫ⁾ⱼ‖ over the pairs left out; every norm is rounded up. P, Q
and the pairs are chosen, before anything is multiplied, so that this stays below 3/16 · 2**-63 · Σ|aᵢₖbₖⱼ|
for every element (2**-63 is 2**-10 of the unit roundoff of float64; another power of two may be asked
for). Elements whose data mix exponents too widely for that are computed in ball arithmetic, or exactly
one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.reference.elements import FINITE, ZERO, ReferenceArray
from harness.reference.inner_product import exact_dot, special_products

Floats = NDArray[np.float64]

RADIUS_LOG2 = -63
"""log2 of radius / Σ|aᵢₖbₖⱼ|: 2**-10 · u of float64, for narrower formats as well."""
_MOST_SLICES = 8
_SMALLEST_LOG2 = -960
"""Scaled entries below this become zero; what is left loses nothing to underflow."""
_PANEL = 1 << 19
"""Elements of the result that are computed at a time."""
_BALL_BITS = 192
_ONE_BY_ONE = 64
"""Elements up to which exact summation of each is cheaper than a product in ball arithmetic."""


@dataclass(frozen=True, eq=False)
class Product:
    """A certified matrix product."""

    values: ReferenceArray
    """(…, m, n), within 2**-63·Σ|aᵢₖbₖⱼ|, or what was asked for; without any radius wherever all digits
    were used."""
    magnitude_log2: NDArray[Any]
    """(…, m, n), float32 to be small: upper bound on log2 Σ|aᵢₖbₖⱼ|; +inf where data are not finite."""


def exact_matmul(a: Floats, b: Floats, *, radius_log2: int = RADIUS_LOG2) -> Product:
    """Return a @ b of float64 arrays (…, m, k) and (…, k, n), certified element by element.

    Parameters
    ----------
    radius_log2 : from −100 to 0
        log2 of radius / Σ|aᵢₖbₖⱼ|, for what else is computed from the product; what hi + lo do not hold
        of the product itself is below 2**-104 of it, and in the radius beside that.

    Raises
    ------
    InputError
        Fewer than two dimensions, inner dimensions that differ, or leading ones that do not broadcast.
    ArithmeticError
        The BLAS does not multiply integers below 2**53 exactly.
    """
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
    kinds = special_products(a, b)
    if kinds is not None:
        a, b = np.where(np.isfinite(a), a, 0.0), np.where(np.isfinite(b), b, 0.0)
    (m, k), n = a.shape[-2:], b.shape[-1]
    count = math.prod(batch)
    left = np.broadcast_to(a, (*batch, m, k)).reshape(count, m, k)
    right = np.broadcast_to(b, (*batch, k, n)).reshape(count, k, n)
    result = _Result.empty((count, m, n))
    if result.kind.size and k:
        _fill(result, left, right, radius_log2)
    if kinds is not None:
        result.override(kinds.reshape(result.kind.shape))
    return result.product((*batch, m, n))


@dataclass(frozen=True, eq=False)
class _Result:
    """Elements as they are filled in; all (batch, m, n). Empty sums are exact zeros."""

    kind: NDArray[np.uint8]
    hi: Floats
    lo: Floats
    exponent: NDArray[np.int64]
    radius_log2: Floats
    magnitude_log2: NDArray[np.float32]

    @classmethod
    def empty(cls, shape: tuple[int, int, int]) -> _Result:
        return cls(
            np.full(shape, ZERO, np.uint8),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(shape, np.int64),
            np.full(shape, -np.inf),
            np.full(shape, -np.inf, np.float32),
        )

    def put(self, where: Any, values: ReferenceArray, magnitude_log2: Floats) -> None:
        for name in ("kind", "hi", "lo", "exponent", "radius_log2"):
            getattr(self, name)[where] = getattr(values, name)
        self.magnitude_log2[where] = _float32_up(magnitude_log2)

    def override(self, kinds: NDArray[np.uint8]) -> None:
        special = kinds != FINITE
        self.kind[special] = kinds[special]
        for array in (self.hi, self.lo, self.exponent):
            array[special] = 0
        self.radius_log2[special] = -np.inf
        self.magnitude_log2[special] = np.inf

    def product(self, shape: tuple[int, ...]) -> Product:
        values = ReferenceArray(self.kind, self.hi, self.lo, self.exponent, self.radius_log2)
        return Product(values.reshape(shape), self.magnitude_log2.reshape(shape))


def _float32_up(x: Floats) -> NDArray[np.float32]:
    near = x.astype(np.float32)
    return np.where(near < x, np.nextafter(near, np.float32(np.inf)), near)


def _fill(result: _Result, a: Floats, b: Floats, radius_log2: int) -> None:
    """Compute all elements, a panel at a time: several small matrices, or rows of a large one."""
    count, m = a.shape[:2]
    n = b.shape[2]
    together = max(1, _PANEL // (m * n))
    rows = max(1, min(m, _PANEL // n))
    for first in range(0, count, together):
        matrices = slice(first, first + together)
        right = _Slices.of(b[matrices], axis=1)
        for top in range(0, m, rows):
            panel = (matrices, slice(top, top + rows))
            _fill_panel(result, panel, a[panel], b[matrices], right, radius_log2)


# ---- slices ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Slices:
    """Digits of the rows (axis 2) or columns (axis 1) of a stack of matrices, made as they are needed."""

    axis: int
    scaled: Floats
    """Entries divided by 2**exponent, below 1."""
    exponent: NDArray[np.int64]
    """One for each row or column, with its axis kept."""
    dropped: NDArray[np.bool_]
    """Rows or columns that lost entries below 2**-960."""
    rest: Floats = field(init=False)
    """What no digit holds yet, in units of the last digit's place."""
    digits: list[Floats] = field(default_factory=list)
    inner: list[NDArray[np.bool_]] = field(default_factory=list)
    """Which positions along the axis have a digit that is not zero in any row or column."""
    norms: list[Floats] = field(default_factory=list)
    """Upper bounds on the 2-norms of the slices, one list entry a slice."""
    tails: list[Floats] = field(default_factory=list)
    """Upper bounds on the 2-norms of what is left after 0, 1, 2 … slices."""

    @classmethod
    def of(cls, x: Floats, axis: int) -> _Slices:
        largest = np.max(np.abs(x), axis=axis, keepdims=True)
        exponent = np.frexp(largest)[1].astype(np.int64)
        with np.errstate(under="ignore"):
            scaled = np.ldexp(x, -exponent)
        tiny = (np.abs(scaled) < 2.0**_SMALLEST_LOG2) & (x != 0)
        if tiny.any():
            scaled[tiny] = 0.0
        slices = cls(axis, scaled, exponent, tiny.any(axis=axis, keepdims=True))
        slices.rest = scaled.copy()
        slices.tails.append(slices._norm(scaled) + slices._lost())
        return slices

    @property
    def length(self) -> int:
        return int(self.scaled.shape[self.axis])

    @property
    def beta(self) -> int:
        """Bits of a digit: k·2**2β ≤ 2**53."""
        return (53 - (self.length - 1).bit_length()) // 2

    def place_log2(self, slices: int) -> int:
        """log2 of the unit of digit `slices`, counted from 1."""
        return 1 - (self.beta + 1) * slices

    def extend(self) -> None:
        """Split one more digit off."""
        self.rest *= 2.0 ** (self.beta + (1 if self.digits else 0))
        digit = np.rint(self.rest)
        self.rest -= digit
        self.digits.append(digit)
        self.inner.append(np.asarray(digit.any(axis=(0, 3 - self.axis))))
        unit = 2.0 ** self.place_log2(len(self.digits))
        self.norms.append(self._norm(digit) * unit)
        self.tails.append(self._norm(self.rest) * unit + self._lost())

    def _norm(self, x: Floats) -> Floats:
        """Upper bound on the 2-norm of rows or columns; exactly zero only where they are.

        The float sum of k squares is within k·2**-52 of the true one, and squares that underflow are
        below 2**-1022 each.
        """
        pattern = "bij,bij->bi" if self.axis == 2 else "bij,bij->bj"
        with np.errstate(under="ignore"):
            squares = np.expand_dims(np.einsum(pattern, x, x), self.axis)
        norm = np.sqrt(squares) * self.slack + math.sqrt(self.length) * 2.0**-500
        return np.where(x.any(axis=self.axis, keepdims=True), norm, 0.0)

    def _lost(self) -> Floats:
        return np.where(self.dropped, math.sqrt(self.length) * 2.0**_SMALLEST_LOG2, 0.0)

    @property
    def slack(self) -> float:
        """Covers the rounding of sums of k terms and of the few operations that combine them."""
        return 1 + (self.length + 64) * 2.0**-52


# ---- one panel -------------------------------------------------------------------------------------


def _fill_panel(
    result: _Result, panel: tuple[slice, slice], a: Floats, b: Floats, right: _Slices, radius_log2: int
) -> None:
    left = _Slices.of(a, axis=2)
    magnitude = np.abs(left.scaled) @ np.abs(right.scaled)
    # entries set to zero and products that underflow hide at most k·2**-959 of the sum of magnitudes:
    # nothing where they cannot occur, and otherwise less than 2**-100 of the sums served below
    hidden = 0.0 if _widest(left) + _widest(right) < 840 else left.length * 2.0**-840
    lower = magnitude * (2 - left.slack) - hidden
    target = np.maximum(lower, 0.0) * 2.0**radius_log2

    p, cut_left = _cut(left, right.tails[0], target / 32)
    q, cut_right = _cut(right, left.tails[0] + left.tails[p], target / 32)
    served = (cut_left <= target / 32) & (cut_right <= target / 32)
    if np.count_nonzero(~served) > max(_ONE_BY_ONE, served.size // 64):
        _fill_wide(result, panel, a, b, np.ones(served.shape, bool), radius_log2)
        return
    pairs, left_out = _choose_pairs(left.norms[:p], right.norms[:q], target / 8, served)
    scale = left.exponent + right.exponent
    with np.errstate(divide="ignore"):
        magnitude_log2 = np.log2(magnitude * left.slack) + 2.0**-40 + scale
    result.put(panel, _sum_pairs(left, right, pairs, cut_left + cut_right + left_out, scale), magnitude_log2)
    if not served.all():
        _fill_wide(result, panel, a, b, ~served, radius_log2)


def _widest(slices: _Slices) -> int:
    """Binary orders between 1 and the smallest entry that is not zero."""
    magnitudes = np.abs(slices.scaled)
    smallest = float(np.min(magnitudes, initial=1.0, where=magnitudes > 0))
    return -_SMALLEST_LOG2 if slices.dropped.any() else 1 - math.frexp(smallest)[1]


def _cut(slices: _Slices, norms: Floats, allowed: Floats) -> tuple[int, Floats]:
    """Return how many slices leave tails that, times `norms`, are nowhere above `allowed`; and these.

    Where no number of slices does that, the most slices are given, and products above `allowed`.
    """
    for count in range(_MOST_SLICES + 1):
        if count > len(slices.digits):
            slices.extend()
        cut = slices.tails[count] * norms
        if count == _MOST_SLICES or bool(np.all(cut <= allowed)):
            break
    return count, cut


def _choose_pairs(
    left: list[Floats], right: list[Floats], allowed: Floats, served: NDArray[np.bool_]
) -> tuple[list[tuple[int, int]], Floats]:
    """Return the pairs of slices to multiply (numbered from 1), and a bound on those left out.

    Levels are left out from the last, as long as the bound stays within `allowed` where `served`. The
    last four are kept in any case: narrow formats, which have no more, are then exact.
    """
    kept = [(p, q) for p in range(1, len(left) + 1) for q in range(1, len(right) + 1)]
    bound = np.zeros(allowed.shape)
    while len(kept) > 4:
        level = max(p + q for p, q in kept)
        larger = bound + sum(left[p - 1] * right[q - 1] for p, q in kept if p + q == level)
        if np.any(larger[served] > allowed[served]):
            break
        kept, bound = [(p, q) for p, q in kept if p + q < level], larger
    return kept, bound


def _sum_pairs(
    left: _Slices, right: _Slices, pairs: list[tuple[int, int]], left_out: Floats, scale: NDArray[np.int64]
) -> ReferenceArray:
    """Return the sum of slice products, with `left_out` (of the scaled problem) in its radius."""
    shape = left_out.shape
    levels: dict[int, NDArray[np.int64]] = {}
    for p, q in pairs:
        inner = left.inner[p - 1] & right.inner[q - 1]
        products = _multiply(left.digits[p - 1], right.digits[q - 1], inner)
        levels[p + q] = levels[p + q] + products if p + q in levels else products
    stride = left.beta + 1
    numbers: list[Floats] = []
    carry = np.zeros(shape, np.int64)
    for level in range(max(levels, default=1), 0, -1):
        total = levels[level] + carry if level in levels else carry
        carry = (total + (1 << (stride - 1))) >> stride if level > 1 else np.zeros(shape, np.int64)
        numbers.append((total - (carry << stride)) * 2.0 ** (2 - stride * level))
    hi, errors = _distill(numbers)
    lo, errors = _distill(errors) if errors else (np.zeros(shape), [])
    hi, lo = _two_sum(hi, lo)
    lost = sum((np.abs(e) for e in errors), start=np.zeros(shape)) * (1 + 2.0**-45)
    return _elements(hi, lo, (left_out + lost) * (1 + 2.0**-45), scale)


def _multiply(x: Floats, y: Floats, inner: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Multiply slices exactly; `inner` says which of the k inner indices have entries in both."""
    if np.count_nonzero(inner) <= inner.size // 2:  # the last slice of narrow data is nearly empty
        x, y = x[:, :, inner], y[:, inner, :]
    product = (x @ y).astype(np.int64)
    expected = x.astype(np.int64) @ y.astype(np.int64).sum(axis=-1, keepdims=True)
    if not np.array_equal(product.sum(axis=-1, keepdims=True), expected):  # both modulo 2**64
        raise ArithmeticError(
            "the BLAS of this NumPy does not multiply matrices of integers below 2**53 exactly; "
            "references of matrix products need one that sums products of entries in float64"
        )
    return product


def _two_sum(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return fl(x + y) and its error, exactly (Knuth)."""
    total = x + y
    virtual = total - x
    return total, (x - (total - virtual)) + (y - virtual)


def _distill(numbers: list[Floats]) -> tuple[Floats, list[Floats]]:
    """Add up `numbers`, smallest first; return the sum and the error of every addition."""
    total, errors = numbers[0], []
    for number in numbers[1:]:
        total, error = _two_sum(number, total)
        errors.append(error)
    return total, errors


def _elements(hi: Floats, lo: Floats, radius: Floats, scale: NDArray[np.int64]) -> ReferenceArray:
    """Normalise (hi + lo)·2**scale ± radius·2**scale; of a ball around 0 only the magnitude is kept."""
    around_zero = (np.abs(hi) <= radius * (1 + 2.0**-40)) & (radius > 0)
    radius = np.where(around_zero, 2 * radius * (1 + 2.0**-40), radius)
    kind = np.where((hi == 0) & (radius == 0), ZERO, FINITE).astype(np.uint8)
    hi, lo = np.where(around_zero, 0.0, hi), np.where(around_zero, 0.0, lo)
    mantissa, exponent = np.frexp(hi)
    shift = exponent.astype(np.int64) - 1
    with np.errstate(divide="ignore"):
        radius_log2 = np.ceil(np.log2(radius) + 2.0**-40) + scale  # whole orders, which compress well
    places = np.where(hi == 0, 0, shift + scale)
    return ReferenceArray(
        kind, 2 * mantissa, np.ldexp(lo, -shift), places, np.asarray(radius_log2, np.float64)
    )


# ---- exponents that spread too widely ----------------------------------------------------------------


def _fill_wide(
    result: _Result,
    panel: tuple[slice, slice],
    a: Floats,
    b: Floats,
    where: NDArray[np.bool_],
    radius_log2: int,
) -> None:
    """Compute the elements of `where`: few of them exactly, many of one matrix in ball arithmetic."""
    for matrix in np.flatnonzero(where.any(axis=(1, 2))).tolist():
        rows, columns = np.nonzero(where[matrix])
        if rows.size > _ONE_BY_ONE:
            values, magnitude_log2 = _ball_product(a[matrix], b[matrix], radius_log2)
            values, magnitude_log2 = values[rows, columns], magnitude_log2[rows, columns]
        else:
            values, magnitude_log2 = _exact_elements(a[matrix], b[matrix], rows, columns)
        at = (panel[0].start + matrix, panel[1].start + rows, columns)
        result.put(at, values, magnitude_log2)


def _exact_elements(
    a: Floats, b: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[ReferenceArray, Floats]:
    sums = [exact_dot(a[i], b[:, j]) for i, j in zip(rows.tolist(), columns.tolist(), strict=True)]
    values = ReferenceArray.from_fractions([s for s, _ in sums], rows.shape)
    return values, _log2_up([m for _, m in sums])


def _log2_up(values: list[Fraction]) -> Floats:
    return ReferenceArray.from_fractions(values, (len(values),)).log2_abs() + 2.0**-40


def _ball_product(a: Floats, b: Floats, radius_log2: int) -> tuple[ReferenceArray, Floats]:
    """Multiply in ball arithmetic; what is wider than allowed is summed exactly."""
    from flint import arb_mat, ctx

    (m, k), n = a.shape, b.shape[1]
    with ctx.workprec(_BALL_BITS):
        balls = arb_mat(m, k, a.ravel().tolist()) * arb_mat(k, n, b.ravel().tolist())
        bounds = arb_mat(m, k, np.abs(a).ravel().tolist()) * arb_mat(k, n, np.abs(b).ravel().tolist())
        values = ReferenceArray.from_balls(balls.entries(), (m, n))
        magnitudes = ReferenceArray.from_balls(bounds.entries(), (m, n))
    lower = magnitudes.log2_abs() - 2.0**-40
    wide = ~(values.radius_log2 <= lower + radius_log2) & ~np.isneginf(values.radius_log2)
    magnitude_log2 = np.logaddexp2(magnitudes.log2_abs(), magnitudes.radius_log2) + 2.0**-40
    if wide.any():
        rows, columns = np.nonzero(wide)
        exact, exact_log2 = _exact_elements(a, b, rows, columns)
        for name in ("kind", "hi", "lo", "exponent", "radius_log2"):
            getattr(values, name)[wide] = getattr(exact, name)
        magnitude_log2[wide] = exact_log2
    return values, magnitude_log2
