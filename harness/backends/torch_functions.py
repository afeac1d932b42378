"""torch's side of the namespace: for each group, its functions for one dtype on one device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from harness.backends.namespace import Functions

Group = Callable[[Any, str], Functions]
"""torch dtype, device → functions by name."""


def format_of(array: Any) -> str:
    """Return the name of a tensor's dtype, or of the type of what is no tensor."""
    return str(array.dtype).removeprefix("torch.") if hasattr(array, "dtype") else type(array).__name__


def elementwise(dtype: Any, device: str) -> Functions:
    """Return the functions that take tensors element by element."""
    import torch

    names = (
        "add", "subtract", "multiply", "divide", "negative", "abs", "square", "sqrt",
        "exp", "expm1", "log", "log1p", "maximum", "minimum", "where", "sign", "floor",
    )  # fmt: skip
    return {name: getattr(torch, name) for name in names}


def functions(dtype: Any, device: str) -> Functions:
    """Return elementary functions."""
    import torch

    names = (
        "exp2", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh",
    )  # fmt: skip
    return {name: getattr(torch, name) for name in names}


def special(dtype: Any, device: str) -> Functions:
    """Return special functions; those that torch lacks in 16 bits in float32, cast once."""
    import torch

    def at_least_single(function: Any) -> Any:
        if dtype in (torch.float64, torch.float32):
            return function
        return lambda x: function(x.to(torch.float32)).to(dtype)

    own = {name: getattr(torch, name) for name in ("erf", "erfc", "erfinv", "lgamma", "digamma")}
    wide = {name: at_least_single(getattr(torch.special, name)) for name in ("erfcx", "ndtri")}
    return {**own, **wide}


def logic(dtype: Any, device: str) -> Functions:
    """Return comparisons, tests and connectives, which give booleans."""
    import torch

    def any(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return torch.any(x, dim=axis, keepdim=keepdims)

    def all(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return torch.all(x, dim=axis, keepdim=keepdims)

    same = ("less", "greater", "logical_and", "logical_or", "logical_not", "isfinite", "isinf", "isnan")
    return {"equal": torch.eq, "any": any, "all": all, **{name: getattr(torch, name) for name in same}}


def sums(dtype: Any, device: str) -> Functions:
    """Return sum and mean, `(x, axis=None, keepdims=False)`."""
    import torch

    def sum(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return torch.sum(x, dim=axis, keepdim=keepdims)

    def mean(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return torch.mean(x, dim=axis, keepdim=keepdims)

    return {"sum": sum, "mean": mean}


def order(dtype: Any, device: str) -> Functions:
    """Return max and min, `(x, axis=None, keepdims=False)`; a NaN wins."""
    import torch

    def max(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return torch.amax(x, dim=() if axis is None else axis, keepdim=keepdims)

    def min(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return torch.amin(x, dim=() if axis is None else axis, keepdim=keepdims)

    return {"max": max, "min": min}


def matmul(dtype: Any, device: str) -> Functions:
    """Return matmul."""
    import torch

    return {"matmul": torch.matmul}


def linalg(dtype: Any, device: str) -> Functions:
    """Return factorisations by LAPACK in the dtype itself."""
    import torch

    def solve_triangular(R: Any, b: Any, *, lower: bool, transpose: bool = False) -> Any:
        matrix = R.mT if transpose else R
        upper = lower if transpose else not lower
        if b.ndim == 1:
            return torch.linalg.solve_triangular(matrix, b.unsqueeze(-1), upper=upper).squeeze(-1)
        return torch.linalg.solve_triangular(matrix, b, upper=upper)

    def qr(A: Any) -> tuple[Any, Any]:
        Q, R = torch.linalg.qr(A)
        return Q, R

    def svd(A: Any) -> tuple[Any, Any, Any]:
        U, s, Vt = torch.linalg.svd(A, full_matrices=False)
        return U, s, Vt

    def eigh(A: Any) -> tuple[Any, Any]:
        w, Q = torch.linalg.eigh(A)
        return w, Q

    return {
        "cholesky": torch.linalg.cholesky, "solve_triangular": solve_triangular,
        "qr": qr, "svd": svd, "solve": torch.linalg.solve, "eigh": eigh,
    }  # fmt: skip


def shape(dtype: Any, device: str) -> Functions:
    """Return what moves elements and computes nothing; `transpose` swaps the last two axes.

    `detach` gives the same tensor, as one that gradients do not flow through; `place(g, index, like)` zeros
    in the shape of `like`, with g at `index`; `arrange(x, order)` the same in memory in that order, C or F.
    """
    import torch

    def transpose(x: Any) -> Any:
        return torch.transpose(x, -1, -2)

    def take(x: Any, indices: Sequence[int], axis: int = 0) -> Any:
        return torch.index_select(x, axis, torch.as_tensor(indices, dtype=torch.int64, device=device))

    def concat(xs: Sequence[Any], axis: int = 0) -> Any:
        return torch.cat(tuple(xs), dim=axis)

    def stack(xs: Sequence[Any], axis: int = 0) -> Any:
        return torch.stack(tuple(xs), dim=axis)

    def place(g: Any, index: Any, like: Any) -> Any:
        found = torch.zeros_like(like)
        found[index] = g
        return found

    def arrange(x: Any, order: str) -> Any:
        if order != "F":
            return x.contiguous()
        turned = tuple(reversed(range(x.ndim)))
        return x.permute(turned).contiguous().permute(turned)

    return {
        "reshape": torch.reshape, "transpose": transpose, "concat": concat,
        "stack": stack, "copy": torch.clone, "take": take, "detach": torch.detach,
        "broadcast_to": torch.broadcast_to, "place": place, "arrange": arrange,
    }  # fmt: skip


def constant(dtype: Any, device: str) -> Functions:
    """Return tensors of one value, and the identity; `full` takes a `scalar(...)`."""
    import torch

    def zeros(shape: Sequence[int]) -> Any:
        return torch.zeros(tuple(shape), dtype=dtype, device=device)

    def full(shape: Sequence[int], x: Any) -> Any:
        return torch.empty(tuple(shape), dtype=dtype, device=device).copy_(x)

    def eye(n: int) -> Any:
        return torch.eye(n, dtype=dtype, device=device)

    return {"zeros": zeros, "full": full, "eye": eye, "zeros_like": torch.zeros_like}


def widening(dtype: Any, device: str) -> Functions:
    """Return astype(x, name of a dtype), by torch's own cast."""
    import torch

    from harness.formats import DTYPES

    def astype(x: Any, name: str) -> Any:
        return x.to(getattr(torch, DTYPES[name].storage.name))

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
