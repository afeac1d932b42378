"""What torch users call: the `library` formulations of torch on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from harness.model import Written
from harness.registry import Lack, library


def softmax(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return torch.softmax."""
    import torch

    return partial(torch.softmax, x, axis)


def log_softmax(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return torch.log_softmax."""
    import torch

    return partial(torch.log_softmax, x, axis)


def logsumexp(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return torch.logsumexp."""
    import torch

    return partial(torch.logsumexp, x, axis)


def matmul(xp: Any, A: Any, B: Any) -> Callable[[], Any]:
    """Return torch.matmul."""
    import torch

    return partial(torch.matmul, A, B)


def dot(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return torch.dot."""
    import torch

    return partial(torch.dot, x, y)


def least_squares(xp: Any, A: Any, b: Any, rcond: Written = "machine") -> Callable[[], Any]:
    """Return the solution of torch.linalg.lstsq by LAPACK's gelsd, as NumPy's.

    Not by torch's default, gelsy: torch 2.13 hands it pivots that were never set (pytorch#187411), so that
    the same call gives other bits each time, and at times another rank. `machine` leaves the truncation to
    torch: max(m, n) units in the last place of the dtype.
    """
    import torch

    tolerance = None if rcond == "machine" else float(rcond)
    column = b.unsqueeze(-1)
    return lambda: torch.linalg.lstsq(A, column, rcond=tolerance, driver="gelsd").solution.squeeze(-1)


_FULL = {"float64": "float64", "float32": "float32"}
_HALF: dict[str, str | Lack] = {"bfloat16": "float32", "float16": "float32"}
_NO_LAPACK: dict[str, str | Lack] = {
    name: Lack("unsupported", f"torch has no LAPACK in {name}") for name in _HALF
}

_LIBRARY: tuple[tuple[Callable[..., Callable[[], Any]], str, dict[str, str | Lack]], ...] = (
    (softmax, "torch.softmax", _HALF),
    (log_softmax, "torch.log_softmax", _HALF),
    (logsumexp, "torch.logsumexp", _HALF),
    (matmul, "torch.matmul", _HALF),
    (dot, "torch.dot", _HALF),
    (least_squares, "torch.linalg.lstsq(driver='gelsd')", _NO_LAPACK),
)


def register(backend: str) -> None:
    """Register the callables as the `library` formulations of one backend."""
    for build, title, compute in _LIBRARY:
        library(backend, build.__name__, title=title, compute={**_FULL, **compute})(build)
