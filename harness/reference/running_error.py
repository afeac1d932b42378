"""A-priori error bounds of an algorithm, by running error analysis.

An array is a pair: values v, which float64 arithmetic gives for the exact inputs, and a bound e on how far
what the algorithm computes in its own precision lies from the exact value. Each function adds what it rounds:

    fl(a ∘ b) = (a ∘ b)(1 + δ) + η,   |δ| ≤ u, |η| ≤ ω

(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. 2002, sections 2.2 and 3.3; u the unit
roundoff of the storage format, ω its smallest subnormal number, η = 0 for sums), and carries on what its
arguments have: by the largest |f'| in [v − e, v + e], or by the product rule in full. Sums are taken in any
order: (n − 1)·u_acc·Σ(|v| + e) (Jeannerod & Rump 2013, theorem 3.1, whatever n), and one rounding to the
storage format. Elementary functions are allowed `ULPS` units in the last place, each at most 2u of them.

The values themselves have float64's errors, which e covers: a magnitude is |v| + e. So the bound of an
expression is what *that* algorithm guarantees for *these* inputs, in any of our formats. Overflow in between
is not covered, nor that errors may decide a comparison otherwise: branches are those of the values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.formats import round_exact

if TYPE_CHECKING:
    from harness.formats import Precision

Floats = NDArray[np.float64]

ULPS: Final[dict[str, float]] = {
    "exp": 3,  # NumPy's float32 has 2.52 (numpy pull request 13134)
    "log": 4,  # NumPy's float32 has 3.83 (there)
    "sqrt": 0.5,  # correctly rounded, IEEE 754-2019, 5.4.1
    "erfcx": 8,  # SciPy's float64, of the Faddeeva package, has 6.5 near 0, against mpmath
}
"""Accuracy asked of elementary functions, in ulp; 4 unless named, as NumPy's validation sets for float32."""
DEFAULT_ULPS: Final = 4.0
AT_LEAST: Final[dict[str, float]] = {"lgamma": 1.0, "digamma": 1.0}
"""Functions that are accurate to units of u of 1, not of themselves, near their zeros (at 1, 2 and 1.46)."""


class Approximate(NamedTuple):
    """Values, and how far off the computed ones may be."""

    value: Floats
    error: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> Any:
        """That of the values."""
        return self.value.dtype

    @property
    def size(self) -> Floats:
        """|v| + e, which the exact and the computed value are at most."""
        return np.asarray(np.abs(self.value) + self.error)

    @property
    def low(self) -> Floats:
        """The least exact value, v − e."""
        return np.asarray(self.value - self.error)

    @property
    def high(self) -> Floats:
        """The largest exact value, v + e."""
        return np.asarray(self.value + self.error)

    def at(self, index: Any) -> Approximate:
        """Return the elements at an index."""
        return Approximate(np.asarray(self.value[index]), np.asarray(self.error[index]))


class Elements:
    """`Approximate` as an array that can be indexed: what the tape and expressions hold."""

    __slots__ = ("pair",)

    def __init__(self, value: Any, error: Any = 0.0) -> None:
        value = np.asarray(value, np.float64)
        self.pair = Approximate(value, np.broadcast_to(np.asarray(error, np.float64), value.shape))

    @property
    def value(self) -> Floats:
        """The values."""
        return self.pair.value

    @property
    def error(self) -> Floats:
        """The errors allowed."""
        return self.pair.error

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of both."""
        return self.pair.shape

    @property
    def dtype(self) -> Any:
        """That of the values."""
        return self.pair.dtype

    def __getitem__(self, index: Any) -> Elements:
        return Elements(self.value[index], self.error[index])


def log2_of(found: Elements) -> Floats:
    """Return log2 of the errors allowed; −inf, no error, where there is no number to speak of.

    That is where float64 has no finite value: the class of the result decides there. Beside a finite value
    an error that is undefined promises nothing, and is infinite.
    """
    known = np.where(np.isnan(found.error), np.inf, found.error)
    error = np.where(np.isfinite(found.value), known, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log2(error))


Slope = Callable[[Floats, Floats], Floats]
"""(low, high) → the largest |f'| between."""


def _at_ends(derivative: Callable[[Floats], Floats]) -> Slope:
    """Return the slope of a function whose derivative is monotone in size, so that an end has the largest."""
    return lambda low, high: np.maximum(np.abs(derivative(low)), np.abs(derivative(high)))


def _near_zero(derivative: Callable[[Floats], Floats]) -> Slope:
    """Return the slope of a function whose derivative falls with |x|."""
    return lambda low, high: np.abs(derivative(_least_size(low, high)))


def _least_size(low: Floats, high: Floats) -> Floats:
    return np.where(low * high <= 0, 0.0, np.minimum(np.abs(low), np.abs(high)))


def _unit(low: Floats, high: Floats) -> Floats:
    return np.ones(np.shape(low))


def _special(name: str) -> Callable[[Floats], Floats]:
    def call(x: Floats) -> Floats:
        import scipy.special

        return np.asarray(getattr(scipy.special, {"lgamma": "gammaln"}.get(name, name))(x))

    return call


def _trigamma(x: Floats) -> Floats:
    import scipy.special

    return np.asarray(scipy.special.polygamma(1, x))


def _tan_slope(low: Floats, high: Floats) -> Floats:
    """Return the larger of 1 + tan² at the ends; there is none where a pole lies between."""
    branches = [np.floor(x / math.pi + 0.5) for x in (low, high)]
    ends = _at_ends(lambda x: np.asarray(1 + np.tan(x) ** 2))(low, high)
    return np.where(branches[0] == branches[1], ends, np.inf)


def _by_root(x: Floats) -> Floats:
    return np.asarray(1 / np.sqrt(np.maximum((1 - x) * (1 + x), 0.0)))


def _erfcx_slope(x: Floats) -> Floats:
    """Return 2/√π·(1 − √π·x·erfcx x) or more: from 0 on at most 1/(2x²) of it (NIST DLMF 7.8.2)."""
    below = 1 + math.sqrt(math.pi) * np.abs(x) * _special("erfcx")(np.minimum(x, 0.0))
    return np.asarray(2 / math.sqrt(math.pi) * np.where(x > 0, np.minimum(1, 0.5 / (x * x)), below))


def _erfinv_slope(x: Floats) -> Floats:
    inside = math.sqrt(math.pi) / 2 * np.exp(_special("erfinv")(x) ** 2)
    return np.where(np.abs(x) < 1, inside, np.inf)


def _ndtri_slope(x: Floats) -> Floats:
    inside = math.sqrt(2 * math.pi) * np.exp(_special("ndtri")(x) ** 2 / 2)
    return np.where((x > 0) & (x < 1), inside, np.inf)


_LN_2: Final = math.log(2)
_VALUES: Final[dict[str, tuple[Callable[[Floats], Floats], Slope]]] = {
    "sqrt": (np.sqrt, _at_ends(lambda x: 0.5 / np.sqrt(np.maximum(x, 0.0)))),
    "cbrt": (np.cbrt, _near_zero(lambda x: 1 / (3 * np.cbrt(x) ** 2))),
    "exp": (np.exp, _at_ends(np.exp)),
    "exp2": (np.exp2, _at_ends(lambda x: _LN_2 * np.exp2(x))),
    "expm1": (np.expm1, _at_ends(np.exp)),
    "log": (np.log, _at_ends(lambda x: 1 / np.maximum(x, 0.0))),
    "log2": (np.log2, _at_ends(lambda x: 1 / (_LN_2 * np.maximum(x, 0.0)))),
    "log10": (np.log10, _at_ends(lambda x: 1 / (math.log(10) * np.maximum(x, 0.0)))),
    "log1p": (np.log1p, _at_ends(lambda x: 1 / np.maximum(1 + x, 0.0))),
    "sin": (np.sin, _unit),
    "cos": (np.cos, _unit),
    "tan": (np.tan, _tan_slope),
    "asin": (np.arcsin, _at_ends(_by_root)),
    "acos": (np.arccos, _at_ends(_by_root)),
    "atan": (np.arctan, _near_zero(lambda x: 1 / (1 + x * x))),
    "sinh": (np.sinh, _at_ends(np.cosh)),
    "cosh": (np.cosh, _at_ends(np.sinh)),
    "tanh": (np.tanh, _near_zero(lambda x: 1 / np.cosh(x) ** 2)),
    "erf": (_special("erf"), _near_zero(lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x))),
    "erfc": (_special("erfc"), _near_zero(lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x))),
    "erfcx": (_special("erfcx"), _at_ends(_erfcx_slope)),
    "erfinv": (_special("erfinv"), _at_ends(_erfinv_slope)),
    "ndtri": (_special("ndtri"), _at_ends(_ndtri_slope)),
    "lgamma": (_special("lgamma"), _at_ends(_special("digamma"))),
    "digamma": (_special("digamma"), _at_ends(_trigamma)),
}
"""Function → its float64 values, and the largest slope in an interval."""


class RunningErrors:
    """The functions of formulations on `Elements`, in a cell's precision.

    Parameters
    ----------
    precision
        Unit roundoffs of accumulation and result, and the format that subnormal numbers are those of.
    """

    def __init__(self, precision: Precision) -> None:
        self.u = precision.u_out
        self.u_acc = precision.u_acc
        self.format = precision.format
        self.least = float(precision.format.min_subnormal)

    def __getattr__(self, name: str) -> Any:
        """Return an elementary function."""
        if name not in _VALUES:
            raise AttributeError(f"error analysis has no function {name!r}")
        function, slope = _VALUES[name]
        allowed = 2 * ULPS.get(name, DEFAULT_ULPS)

        def call(x: Elements) -> Elements:
            with np.errstate(all="ignore"):
                value = np.asarray(function(x.value), np.float64)
                carried = _product(np.where(x.error == 0, 0.0, slope(x.pair.low, x.pair.high)), x.error)
                if name == "sqrt":  # at 0 the slope has no bound, but √ itself does
                    carried = np.minimum(carried, np.sqrt(x.pair.size))
                floor = allowed * self.u * np.maximum(AT_LEAST.get(name, 0.0) - np.abs(value), 0.0)
                return self._rounded(value, carried + floor, allowed, self.least)

        return call

    def exact(self, x: Any) -> Elements:
        """Return inputs, which have no error."""
        return Elements(x)

    def scalar(self, x: Any) -> Elements:
        """Return an exact number that the algorithm rounds once to the format."""
        from fractions import Fraction

        from harness.formats import is_finite

        rounded = float(round_exact(self.format, x))
        if not is_finite(x) or not math.isfinite(rounded):
            return Elements(float(x))
        return Elements(float(x), abs(float(Fraction(rounded) - Fraction(x))))

    def _rounded(self, value: Any, carried: Any, units: float = 1.0, least: float = 0.0) -> Elements:
        """Return a result with `units` of u for its own rounding; an infinity is not rounded."""
        with np.errstate(all="ignore"):
            size = np.abs(value) + carried
            own = np.where(np.isinf(value), 0.0, units * self.u * size + least)
            return Elements(value, carried + own)

    def add(self, a: Elements, b: Elements) -> Elements:
        """Return a + b, rounded once."""
        with np.errstate(all="ignore"):
            return self._rounded(a.value + b.value, a.error + b.error)

    def subtract(self, a: Elements, b: Elements) -> Elements:
        """Return a − b, rounded once."""
        with np.errstate(all="ignore"):
            return self._rounded(a.value - b.value, a.error + b.error)

    def negative(self, x: Elements) -> Elements:
        """Return −x: exact."""
        return Elements(-x.value, x.error)

    def abs(self, x: Elements) -> Elements:
        """Return |x|: exact."""
        return Elements(np.abs(x.value), x.error)

    def sign(self, x: Elements) -> Elements:
        """Return the sign, of a number that the algorithm knows to have it."""
        return Elements(np.sign(x.value))

    def multiply(self, a: Elements, b: Elements) -> Elements:
        """Return a·b, rounded once; an exact 0 or power of two makes no error, or a subnormal number."""
        with np.errstate(all="ignore"):
            carried = _product(np.abs(a.value), b.error) + _product(np.abs(b.value), a.error)
            carried = np.where(_endless(a, b) | _endless(b, a), 0.0, carried + _product(a.error, b.error))
            found = self._rounded(a.value * b.value, carried, 1.0, self.least)
            exact = _power_of_two(a) | _power_of_two(b)
            least = np.where(_trivial(a) | _trivial(b), 0.0, self.least)
            return Elements(found.value, np.where(exact, carried + least, found.error))

    def square(self, x: Elements) -> Elements:
        """Return x·x, rounded once."""
        return self.multiply(x, x)

    def divide(self, a: Elements, b: Elements) -> Elements:
        """Return a/b, rounded once; nothing is known where b may be 0."""
        with np.errstate(all="ignore"):
            value = a.value / b.value
            least = np.abs(b.value) - b.error
            carried = (a.error + _product(np.abs(value), b.error)) / least
            carried = np.where(_endless(a, b), 0.0, np.where(least > 0, carried, np.inf))
            return self._rounded(value, carried, 1.0, self.least)

    def maximum(self, a: Elements, b: Elements) -> Elements:
        """Return the larger: exact."""
        return Elements(np.maximum(a.value, b.value), np.maximum(a.error, b.error))

    def minimum(self, a: Elements, b: Elements) -> Elements:
        """Return the smaller: exact."""
        return Elements(np.minimum(a.value, b.value), np.maximum(a.error, b.error))

    def where(self, condition: Any, a: Elements, b: Elements) -> Elements:
        """Return a where `condition`, else b: exact."""
        return Elements(np.where(condition, a.value, b.value), np.where(condition, a.error, b.error))

    def equal(self, a: Elements, b: Elements) -> NDArray[np.bool_]:
        """Return where the values are equal."""
        return np.asarray(a.value == b.value)

    def less(self, a: Elements, b: Elements) -> NDArray[np.bool_]:
        """Return where a < b."""
        return np.asarray(a.value < b.value)

    def greater(self, a: Elements, b: Elements) -> NDArray[np.bool_]:
        """Return where a > b."""
        return np.asarray(a.value > b.value)

    def isfinite(self, x: Elements) -> NDArray[np.bool_]:
        """Return where the values are finite."""
        return np.isfinite(x.value)

    def isinf(self, x: Elements) -> NDArray[np.bool_]:
        """Return where the values are infinite."""
        return np.isinf(x.value)

    def isnan(self, x: Elements) -> NDArray[np.bool_]:
        """Return where the values are undefined."""
        return np.isnan(x.value)

    def logical_and(self, a: Any, b: Any) -> NDArray[np.bool_]:
        """Return where both hold."""
        return np.asarray(np.logical_and(a, b))

    def logical_or(self, a: Any, b: Any) -> NDArray[np.bool_]:
        """Return where one of both holds."""
        return np.asarray(np.logical_or(a, b))

    def logical_not(self, a: Any) -> NDArray[np.bool_]:
        """Return where it does not hold."""
        return np.asarray(np.logical_not(a))

    def sum(self, x: Elements, axis: int | None = None, keepdims: bool = False) -> Elements:
        """Return sums in any order, accumulated with u_acc and rounded once to the format."""
        n = math.prod(x.shape) if axis is None else x.shape[axis]
        with np.errstate(all="ignore"):
            value = np.sum(x.value, axis=axis, keepdims=keepdims)
            carried = np.sum(x.error, axis=axis, keepdims=keepdims)
            size = np.sum(x.pair.size, axis=axis, keepdims=keepdims)
            if n < 2:
                return Elements(value, carried)
            summed = carried + np.where(np.isinf(value), 0.0, (n - 1) * self.u_acc * size)
            return self._rounded(value, summed)

    def mean(self, x: Elements, axis: int | None = None, keepdims: bool = False) -> Elements:
        """Return the sum, divided by the number of terms."""
        n = math.prod(x.shape) if axis is None else x.shape[axis]
        return self.divide(self.sum(x, axis, keepdims), Elements(float(n)))

    def max(self, x: Elements, axis: int | None = None, keepdims: bool = False) -> Elements:
        """Return the largest: exact."""
        return Elements(*(np.max(part, axis=axis, keepdims=keepdims) for part in x.pair))

    def min(self, x: Elements, axis: int | None = None, keepdims: bool = False) -> Elements:
        """Return the smallest: exact."""
        with np.errstate(all="ignore"):
            value = np.min(x.value, axis=axis, keepdims=keepdims)
        return Elements(value, np.max(x.error, axis=axis, keepdims=keepdims))

    def matmul(self, a: Elements, b: Elements) -> Elements:
        """Return Σ_k a_ik b_kj: products of n terms, accumulated with u_acc, rounded once."""
        n = a.shape[-1]
        with np.errstate(all="ignore"):
            carried = np.abs(a.value) @ b.error + a.error @ b.pair.size
            size = a.pair.size @ b.pair.size
            return self._rounded(a.value @ b.value, carried + n * self.u_acc * size + n * self.least)

    def reshape(self, x: Elements, shape: Sequence[int]) -> Elements:
        """Return the same in another shape."""
        return Elements(x.value.reshape(shape), x.error.reshape(shape))

    def broadcast_to(self, x: Elements, shape: Sequence[int]) -> Elements:
        """Return the same, repeated to a shape."""
        return Elements(*(np.broadcast_to(part, tuple(shape)) for part in x.pair))

    def transpose(self, x: Elements) -> Elements:
        """Return the last two axes swapped."""
        return Elements(*(np.swapaxes(part, -1, -2) for part in x.pair))

    def take(self, x: Elements, indices: Sequence[int], axis: int = 0) -> Elements:
        """Return the entries at `indices` along an axis."""
        return Elements(*(np.take(part, np.asarray(indices, np.intp), axis=axis) for part in x.pair))

    def concat(self, xs: Sequence[Elements], axis: int = 0) -> Elements:
        """Return arrays joined along an axis."""
        return Elements(
            *(np.concatenate(parts, axis=axis) for parts in zip(*(x.pair for x in xs), strict=True))
        )

    def stack(self, xs: Sequence[Elements], axis: int = 0) -> Elements:
        """Return arrays joined along a new axis."""
        return Elements(*(np.stack(parts, axis=axis) for parts in zip(*(x.pair for x in xs), strict=True)))

    def copy(self, x: Elements) -> Elements:
        """Return the same."""
        return x

    def arrange(self, x: Elements, order: str) -> Elements:
        """Return the same: their order in memory is nothing here."""
        return x

    def detach(self, x: Elements) -> Elements:
        """Return the same, which gradients do not flow through."""
        return x

    def zeros_like(self, x: Elements) -> Elements:
        """Return exact zeros."""
        return Elements(np.zeros(x.shape))

    def zeros(self, shape: Sequence[int]) -> Elements:
        """Return exact zeros."""
        return Elements(np.zeros(tuple(shape)))

    def full(self, shape: Sequence[int], x: Elements) -> Elements:
        """Return one number throughout."""
        return self.broadcast_to(x, shape)

    def place(self, g: Elements, index: Any, like: Elements) -> Elements:
        """Return exact zeros in the shape of `like`, with g at `index`."""
        value, error = np.zeros(like.shape), np.zeros(like.shape)
        value[index], error[index] = g.value, g.error
        return Elements(value, error)


def _product(size: Floats, error: Floats) -> Floats:
    """Return size·error: 0 where either is 0, be the other infinite, and never NaN for it."""
    return np.where((error == 0) | (size == 0), 0.0, size * error)


def _endless(a: Elements, b: Elements) -> NDArray[np.bool_]:
    """Return where a is an infinity that nothing was lost of, and b certainly not 0."""
    return np.asarray(np.isinf(a.value) & (a.error == 0) & (np.abs(b.value) > b.error))


def _trivial(x: Elements) -> NDArray[np.bool_]:
    """Return which factors leave every product exact: a power of two of at least 1 makes none underflow."""
    return np.asarray(_power_of_two(x) & ((np.abs(x.value) >= 1) | (x.value == 0)))


def _power_of_two(x: Elements) -> NDArray[np.bool_]:
    """Return which factors leave a product exact but for underflow: 0, powers of two that nothing rounded."""
    mantissa, _ = np.frexp(np.where(np.isfinite(x.value), x.value, 0.0))
    return np.asarray(((np.abs(mantissa) == 0.5) | (x.value == 0)) & (x.error == 0))
