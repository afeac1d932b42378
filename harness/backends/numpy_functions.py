"""NumPy's side of the namespace: for each group, its functions for one dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from harness.backends.namespace import Functions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    NativeDtype = np.dtype[Any]
    Array = NDArray[Any]

Group = Callable[["NativeDtype", Callable[[str], "NativeDtype"]], Functions]
"""(native dtype, name of a format → native dtype) → functions by name."""


def elementwise(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return the functions that take arrays element by element."""
    import numpy as np

    names = (
        "add", "subtract", "multiply", "divide", "negative", "abs", "square", "sqrt",
        "exp", "expm1", "log", "log1p", "maximum", "minimum", "where", "sign", "floor",
    )  # fmt: skip
    return {name: getattr(np, name) for name in names}


def functions(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return elementary functions, by NumPy's own loops for the dtype."""
    import numpy as np

    names = ("exp2", "log2", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh")
    inverse = {"asin": np.arcsin, "acos": np.arccos, "atan": np.arctan}
    return {**{name: getattr(np, name) for name in names}, **inverse}


def special(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return SciPy's functions; for what it has no loop of (it would give float64), by float32, cast once."""
    import numpy as np
    import scipy.special

    def at_least_single(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        if dtype in (np.float64, np.float32):
            return function
        return lambda x: function(x.astype(np.float32)).astype(dtype)

    same = ("erf", "erfc", "erfcx", "erfinv", "ndtri", "digamma")
    names = {**dict(zip(same, same, strict=True)), "lgamma": "gammaln"}
    return {name: at_least_single(getattr(scipy.special, own)) for name, own in names.items()}


def logic(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return comparisons, tests and connectives, which give booleans."""
    import numpy as np

    names = (
        "equal", "less", "greater", "logical_and", "logical_or", "logical_not",
        "isfinite", "isinf", "isnan", "any", "all",
    )  # fmt: skip
    return {name: getattr(np, name) for name in names}


def sums(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return sum and mean, `(x, axis=None, keepdims=False)`."""
    import numpy as np

    def sum(x: Array, axis: int | None = None, keepdims: bool = False) -> Any:
        return np.sum(x, axis=axis, keepdims=keepdims)

    def mean(x: Array, axis: int | None = None, keepdims: bool = False) -> Any:
        return np.mean(x, axis=axis, keepdims=keepdims)

    return {"sum": sum, "mean": mean}


def order(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return max and min, `(x, axis=None, keepdims=False)`; a NaN wins."""
    import numpy as np

    def max(x: Array, axis: int | None = None, keepdims: bool = False) -> Any:
        return np.max(x, axis=axis, keepdims=keepdims)

    def min(x: Array, axis: int | None = None, keepdims: bool = False) -> Any:
        return np.min(x, axis=axis, keepdims=keepdims)

    return {"max": max, "min": min}


def matmul(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return matmul; of a narrow format of ml_dtypes in float32, cast once (its own gives float32)."""
    import numpy as np

    if dtype.kind == "f":
        return {"matmul": np.matmul}
    single = np.float32

    def widened(a: Array, b: Array) -> Any:
        return np.matmul(a.astype(single), b.astype(single)).astype(dtype)

    return {"matmul": widened}


def linalg(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return factorisations by SciPy: LAPACK in the dtype itself, where np.linalg computes in float64."""
    import scipy.linalg

    lapack: Any = scipy.linalg

    def cholesky(A: Array) -> Any:
        return lapack.cholesky(A, lower=True, check_finite=False)

    def solve_triangular(R: Array, b: Array, *, lower: bool, transpose: bool = False) -> Any:
        return lapack.solve_triangular(R, b, lower=lower, trans="T" if transpose else "N", check_finite=False)

    def qr(A: Array) -> tuple[Array, Array]:
        Q, R = lapack.qr(A, mode="economic", check_finite=False)
        return Q, R

    def svd(A: Array) -> tuple[Array, Array, Array]:
        U, s, Vt = lapack.svd(A, full_matrices=False, check_finite=False)
        return U, s, Vt

    def solve(A: Array, b: Array) -> Any:
        return lapack.solve(A, b, assume_a="gen", check_finite=False)

    def eigh(A: Array) -> tuple[Array, Array]:
        w, Q = lapack.eigh(A, check_finite=False)
        return w, Q

    functions = (cholesky, solve_triangular, qr, svd, solve, eigh)
    return {function.__name__: function for function in functions}


def shape(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return what moves elements and computes nothing; `transpose` swaps the last two axes.

    `detach` gives the same array, as one that gradients do not flow through; `place(g, index, like)` zeros in
    the shape of `like`, with g at `index`; `arrange(x, order)` the same in memory in that order, C or F.
    """
    import numpy as np

    def transpose(x: Array) -> Array:
        return np.swapaxes(x, -1, -2)

    def take(x: Array, indices: Sequence[int], axis: int = 0) -> Array:
        return np.take(x, np.asarray(indices, np.intp), axis=axis)

    def concat(xs: Sequence[Array], axis: int = 0) -> Array:
        return np.concatenate(xs, axis=axis)

    def stack(xs: Sequence[Array], axis: int = 0) -> Array:
        return np.stack(xs, axis=axis)

    def detach(x: Array) -> Array:
        return x

    def place(g: Array, index: Any, like: Array) -> Array:
        found = np.zeros_like(like)
        found[index] = g
        return found

    def arrange(x: Array, order: str) -> Array:
        return np.asarray(x, order="F" if order == "F" else "C")

    return {
        "reshape": np.reshape, "transpose": transpose, "concat": concat,
        "stack": stack, "copy": np.copy, "take": take, "detach": detach,
        "broadcast_to": np.broadcast_to, "place": place, "arrange": arrange,
    }  # fmt: skip


def constant(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return arrays of one value, and the identity; `full` takes a `scalar(...)`."""
    import numpy as np

    def zeros(shape: Sequence[int]) -> Array:
        return np.zeros(shape, dtype)

    def full(shape: Sequence[int], x: Any) -> Array:
        return np.full(shape, x, dtype)

    def eye(n: int) -> Array:
        return np.eye(n, dtype=dtype)

    return {"zeros": zeros, "full": full, "eye": eye, "zeros_like": np.zeros_like}


def widening(dtype: NativeDtype, of: Callable[[str], NativeDtype]) -> Functions:
    """Return astype(x, name of a dtype), by the library's own cast."""
    from harness.formats import DTYPES

    def astype(x: Array, name: str) -> Array:
        return x.astype(of(DTYPES[name].storage.name))

    return {"astype": astype}


GROUPS: Final[dict[str, Group]] = {
    "elementwise": elementwise,
    "functions": functions,
    "special": special,
    "sum": sums,
    "matmul": matmul,
    "linalg": linalg,
    "logic": logic,
    "order": order,
    "shape": shape,
    "constant": constant,
    "widening": widening,
}
