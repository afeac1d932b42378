"""Kernels for a head that got worse: `tests/test_compare_run.py` compares them with the library's.

`narrower` are faster or not, and less accurate behind the same name; `twice` computes everything twice;
`moody` does by the size of its input what broken kernels do, is otherwise right, and has no float64;
`dawdles` does nothing for 50 ms a call. The backend `planted-numpy` is not there for a process that has
$PLANTED_LACK.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.backends.numpy import NumpyBackend, register
from harness.registry import find_formulation, formulation

HONEST = {"float64": "float64", "float32": "float32"}
ONE_DTYPE = {"float32": "float32"}

CRASHES, RAISES, HANGS, CRASHES_LATER, RAISES_LATER, HANGS_LATER = range(33, 39)
"""Sizes at which `moody` misbehaves."""
LATER = 3
"""Calls that are right before one that is not."""


def plant(
    operation: str, name: str, compute: dict[str, str] = HONEST
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a formulation of the NumPy backend that declares to compute in its dtype."""
    return formulation(operation, name, title=f"planted: {name}", backends=("numpy",), compute=compute)


def library(operation: str, xp: Any, *inputs: Any, **parameters: Any) -> Callable[[], Any]:
    found = find_formulation(operation, "library", "numpy")
    assert found is not None
    return found.build(xp, *inputs, **parameters)


@plant("matmul", "narrower")
def matmul_in_bfloat16(xp: Any, a: Any, b: Any) -> Callable[[], Any]:
    """Products of bfloat16 under the name of float32."""
    import ml_dtypes

    def thunk() -> Any:
        return (a.astype(ml_dtypes.bfloat16) @ b.astype(ml_dtypes.bfloat16)).astype(a.dtype)

    return thunk


@plant("logsumexp", "narrower")
def logsumexp_in_float16(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Right terms, added in float16."""
    import numpy as np

    def thunk() -> Any:
        top = x.max(axis=axis, keepdims=True)
        total = np.exp(x - top).sum(axis=axis, dtype=np.float16)
        return (top.squeeze(axis) + np.log(total.astype(x.dtype))).astype(x.dtype)

    return thunk


@plant("dot", "narrower")
def dot_that_returns_early(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Adds the first eighth: what a clock alone would praise."""
    n = len(x) // 8
    return library("dot", xp, x[:n], y[:n])


@plant("dot", "twice")
def dot_twice(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    once = library("dot", xp, x, y)

    def thunk() -> Any:
        once()
        return once()

    return thunk


@formulation("dot", "as-found", title="planted: as-found", compute=HONEST)
def dot_as_found(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Four times the work where $PLANTED_LACK is set, as another library in another environment."""
    once, times = library("dot", xp, x, y), 4 if os.environ.get("PLANTED_LACK") else 1

    def thunk() -> Any:
        for _ in range(times - 1):
            once()
        return once()

    return thunk


@plant("dot", "dawdles")
def dot_that_dawdles(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    import time

    right = library("dot", xp, x, y)

    def thunk() -> Any:
        time.sleep(0.05)
        return right()

    return thunk


@plant("dot", "moody", ONE_DTYPE)
def moody(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    import ctypes
    import time

    right, n, calls = library("dot", xp, x, y), len(x), itertools.count()

    def thunk() -> Any:
        late = next(calls) >= LATER
        if n == CRASHES or (n == CRASHES_LATER and late):
            ctypes.string_at(0)
        if n == RAISES or (n == RAISES_LATER and late):
            raise ValueError("planted")
        if n == HANGS or (n == HANGS_LATER and late):
            time.sleep(3600)
        return right()

    return thunk


@plant("dot", "hangs")
def hangs(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Holds the interpreter's lock for ever."""
    return lambda: sum(iter(int, 1))


@dataclass(frozen=True)
class SometimesThere(NumpyBackend):
    """A NumPy that some environments have, and others lack."""

    def unavailable(self) -> str | None:
        return "not installed: planted-library" if os.environ.get("PLANTED_LACK") else None


register(SometimesThere(name="planted-numpy", title="Sometimes there"))
