"""The functions of formulations on arrays of extended reals: what a definition is evaluated in.

A definition is written once, in the notation of arrays; here each element is a rational, a ball or no real
number (`extended_reals`), at flint's precision, and a tape differentiates it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
from flint import fmpq
from numpy.typing import NDArray

from harness.reference import extended_reals as reals
from harness.reference.extended_reals import FUNCTIONS, ZERO, Objects, element, elements
from harness.reference.inner_product import exact_sum

_UNARY: Final = {name: np.frompyfunc(function, 1, 1) for name, function in FUNCTIONS.items()}
_BINARY: Final = {
    name: np.frompyfunc(function, 2, 1)
    for name, function in {
        "add": reals.add,
        "subtract": reals.subtract,
        "multiply": reals.multiply,
        "divide": reals.divide,
        "maximum": reals.larger,
        "minimum": reals.smaller,
    }.items()
}
_TESTS: Final = {
    "isfinite": np.frompyfunc(lambda x: type(x) is not float, 1, 1),
    "isinf": np.frompyfunc(lambda x: type(x) is float and math.isinf(x), 1, 1),
    "isnan": np.frompyfunc(reals.is_nan, 1, 1),
    "less": np.frompyfunc(reals.less, 2, 1),
    "greater": np.frompyfunc(lambda a, b: reals.less(b, a), 2, 1),
    "equal": np.frompyfunc(reals.equal, 2, 1),
}


def _array(x: Any) -> Objects:
    """Return elements as an array of objects: a 0-d one of a single element."""
    if isinstance(x, Leaf):
        return x.objects
    if isinstance(x, np.ndarray):
        return x
    found = np.empty((), object)
    found[()] = x
    return found


def _quiet(function: Any, *args: Any) -> Objects:
    """Call a function of elements; ∞ − ∞ and 0·∞ are no warning here, but a result."""
    with np.errstate(invalid="ignore"):
        return _array(function(*map(_array, args)))


class Leaf:
    """Float64 data that become elements when they are first needed as such; sums of them need not be."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, np.float64)
        self._objects: Objects | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self.values.shape

    @property
    def dtype(self) -> Any:
        """That of elements."""
        return np.dtype(object)

    @property
    def objects(self) -> Objects:
        """The data as elements."""
        if self._objects is None:
            self._objects = elements(self.values)
        return self._objects

    def __getitem__(self, index: Any) -> Leaf:
        return Leaf(self.values[index])


class ExactNamespace:
    """The functions of formulations, on arrays of elements (or `Leaf`s), at flint's precision."""

    def __getattr__(self, name: str) -> Any:
        """Return an elementwise function."""
        if name in _UNARY:
            function: Any = _UNARY[name]
            return lambda x: _quiet(function, x)
        if name in _BINARY:
            binary: Any = _BINARY[name]
            return lambda a, b: _quiet(binary, a, b)
        if name in _TESTS:
            test: Any = _TESTS[name]
            return lambda *args: np.asarray(_quiet(test, *args), bool)
        raise AttributeError(f"exact arithmetic has no function {name!r}")

    def scalar(self, x: Any) -> Objects:
        """Return an exact number as an array of no dimension."""
        return _array(element(Decimal(x) if isinstance(x, str) else x))

    def where(self, condition: Any, a: Any, b: Any) -> Objects:
        """Return a where `condition`, else b."""
        return np.where(np.asarray(condition, bool), _array(a), _array(b))

    def logical_and(self, a: Any, b: Any) -> NDArray[np.bool_]:
        """Return where both hold."""
        return np.asarray(np.logical_and(a, b))

    def logical_or(self, a: Any, b: Any) -> NDArray[np.bool_]:
        """Return where one of both holds."""
        return np.asarray(np.logical_or(a, b))

    def logical_not(self, a: Any) -> NDArray[np.bool_]:
        """Return where it does not hold."""
        return np.asarray(np.logical_not(a))

    def sum(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Objects:
        """Return sums: of data by exact integer arithmetic, of nothing 0."""
        if isinstance(x, Leaf) and np.isfinite(x.values).all():
            return _exact_sums(x.values, axis, keepdims)
        return _reduced(_BINARY["add"], _array(x), axis, keepdims, ZERO)

    def mean(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Objects:
        """Return sum / number of terms."""
        total = self.sum(x, axis, keepdims)
        count = math.prod(x.shape) if axis is None else x.shape[axis]
        return _quiet(_BINARY["divide"], total, fmpq(count))

    def max(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Objects:
        """Return the largest; NaN wins."""
        return _reduced(_BINARY["maximum"], _array(x), axis, keepdims, None)

    def min(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Objects:
        """Return the smallest; NaN wins."""
        return _reduced(_BINARY["minimum"], _array(x), axis, keepdims, None)

    def reshape(self, x: Any, shape: Sequence[int]) -> Any:
        """Return the elements in another shape."""
        return Leaf(x.values.reshape(shape)) if isinstance(x, Leaf) else np.reshape(x, shape)

    def broadcast_to(self, x: Any, shape: Sequence[int]) -> Objects:
        """Return the elements repeated to a shape."""
        return np.broadcast_to(_array(x), tuple(shape))

    def transpose(self, x: Any) -> Any:
        """Return the last two axes swapped."""
        swapped = x.values if isinstance(x, Leaf) else x
        swapped = np.swapaxes(swapped, -1, -2)
        return Leaf(swapped) if isinstance(x, Leaf) else swapped

    def matmul(self, a: Any, b: Any) -> Objects:
        """Return Σ_k a_ik b_kj of matrices."""
        left, right = _array(a), _array(b)
        products = _quiet(_BINARY["multiply"], left[..., :, :, None], right[..., None, :, :])
        return _reduced(_BINARY["add"], products, -2, False, ZERO)

    def take(self, x: Any, indices: Sequence[int], axis: int = 0) -> Objects:
        """Return the entries at `indices` along an axis."""
        return np.take(_array(x), np.asarray(indices, np.intp), axis=axis)

    def concat(self, xs: Sequence[Any], axis: int = 0) -> Objects:
        """Return arrays joined along an axis."""
        return np.concatenate([_array(x) for x in xs], axis=axis)

    def stack(self, xs: Sequence[Any], axis: int = 0) -> Objects:
        """Return arrays joined along a new axis."""
        return np.stack([_array(x) for x in xs], axis=axis)

    def copy(self, x: Any) -> Objects:
        """Return the same elements."""
        return _array(x)

    def arrange(self, x: Any, order: str) -> Objects:
        """Return the same elements: their order in memory is nothing here."""
        return _array(x)

    def detach(self, x: Any) -> Objects:
        """Return the same elements, which gradients do not flow through."""
        return _array(x)

    def zeros_like(self, x: Any) -> Objects:
        """Return zeros."""
        return self.zeros(x.shape)

    def zeros(self, shape: Sequence[int]) -> Objects:
        """Return zeros."""
        return self.full(shape, ZERO)

    def full(self, shape: Sequence[int], x: Any) -> Objects:
        """Return one number throughout."""
        found = np.empty(tuple(shape), object)
        found[...] = x[()] if isinstance(x, np.ndarray) else x
        return found

    def place(self, g: Any, index: Any, like: Any) -> Objects:
        """Return zeros in the shape of `like`, with g at `index`."""
        found = self.zeros(like.shape)
        found[index] = _array(g)
        return found


def _reduced(function: Any, x: Objects, axis: int | None, keepdims: bool, empty: Any) -> Objects:
    """Return x reduced along an axis, or all of it, pair by pair from the left."""
    whole = x.reshape(-1) if axis is None else np.moveaxis(x, axis, 0)
    if whole.shape[0] == 0:
        found = np.empty(whole.shape[1:], object)
        found[...] = empty
    else:
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            found = _array(function.reduce(whole, axis=0))
    if not keepdims:
        return found
    shape = tuple(1 if axis is None or i == axis % x.ndim else n for i, n in enumerate(x.shape))
    return found.reshape(shape)


def _exact_sums(values: NDArray[np.float64], axis: int | None, keepdims: bool) -> Objects:
    rows = values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, -1)
    flat = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])
    sums = np.empty(flat.shape[0], object)
    for place, row in enumerate(flat):
        total = exact_sum(np.ascontiguousarray(row))
        sums[place] = fmpq(total.numerator, total.denominator)
    found: Objects = sums.reshape(rows.shape[:-1] if axis is not None else ())
    if not keepdims:
        return found
    ndim = values.ndim
    shape = tuple(1 if axis is None or i == axis % ndim else n for i, n in enumerate(values.shape))
    return found.reshape(shape)
