"""What NumPy and SciPy users call: the `library` formulations of every NumPy backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from harness.model import Written
from harness.registry import Lack, library

_SAME = {"float64": "float64", "float32": "float32"}


def softmax(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return scipy.special.softmax; its sums stay in the dtype."""
    from scipy.special import softmax

    return partial(softmax, x, axis=axis)


def log_softmax(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return scipy.special.log_softmax; its sums stay in the dtype."""
    from scipy.special import log_softmax

    return partial(log_softmax, x, axis=axis)


def logsumexp(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return scipy.special.logsumexp, which promotes bfloat16 to float64."""
    from scipy.special import logsumexp

    return partial(logsumexp, x, axis=axis)


def matmul(xp: Any, A: Any, B: Any) -> Callable[[], Any]:
    """Return np.matmul, which gives float32 for bfloat16."""
    import numpy as np

    return partial(np.matmul, A, B)


def dot(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return np.dot."""
    import numpy as np

    return partial(np.dot, x, y)


def least_squares(xp: Any, A: Any, b: Any, rcond: Written = "machine") -> Callable[[], Any]:
    """Return the solution of np.linalg.lstsq (LAPACK's gelsd), which computes everything in float64.

    `machine` leaves the truncation to NumPy: max(m, n) units in the last place of float64.
    """
    import numpy as np

    tolerance = None if rcond == "machine" else float(rcond)

    def thunk() -> Any:
        return np.linalg.lstsq(A, b, rcond=tolerance)[0]

    return thunk


_NO_HALF = Lack("unsupported", "np.linalg raises on float16: LAPACK has none")

_LIBRARY: tuple[tuple[Callable[..., Callable[[], Any]], str, dict[str, str | Lack]], ...] = (
    (softmax, "scipy.special.softmax", {"bfloat16": "bfloat16", "float16": "float16"}),
    (log_softmax, "scipy.special.log_softmax", {"bfloat16": "bfloat16", "float16": "float16"}),
    (logsumexp, "scipy.special.logsumexp", {"bfloat16": "float64", "float16": "float16"}),
    (matmul, "np.matmul", {"bfloat16": "float32", "float16": "float32"}),
    (dot, "np.dot", {"bfloat16": "float32", "float16": "float32"}),
    (
        least_squares,
        "np.linalg.lstsq",
        {"float32": "float64", "bfloat16": "float64", "float16": _NO_HALF},
    ),
)


def register(backend: str) -> None:
    """Register the callables as the `library` formulations of one backend."""
    for build, title, compute in _LIBRARY:
        library(backend, build.__name__, title=title, compute={**_SAME, **compute})(build)
