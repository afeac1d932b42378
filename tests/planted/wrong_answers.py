"""Formulations that are wrong on purpose: every checker must notice them (`tests/test_planted.py`).

Each stands under a name of its own, does what a broken kernel does, and declares what the right one would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.registry import find_formulation, formulation

HONEST = {"float64": "float64", "float32": "float32"}


def plant(operation: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a formulation of the NumPy backend that declares to compute in its dtype."""
    return formulation(operation, name, title=f"planted: {name}", backends=("numpy",), compute=HONEST)


def stable_softmax(xp: Any, x: Any, axis: int) -> Any:
    found = find_formulation("softmax", "shifted", "numpy")
    assert found is not None
    return found.build(xp, x, axis=axis)


@plant("softmax", "zeros")
def zeros(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    return lambda: xp.zeros(x.shape)


@plant("softmax", "naive_as_stable")
def naive_as_stable(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    found = find_formulation("softmax", "naive", "numpy")
    assert found is not None
    return found.build(xp, x, axis=axis)


@plant("softmax", "one_element_off")
def one_element_off(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    """One element is wrong by twice the bound, u·p·(c + n + 2·range) with room for any c ≤ 16."""
    import numpy as np

    stable = stable_softmax(xp, x, axis)

    def thunk() -> Any:
        p = stable()
        n, spread = x.shape[-1], float(x.max() - x.min())
        relative = 2 * (16 + n + 2 * spread) * 2.0 ** -(np.finfo(x.dtype).nmant + 1)
        flat = p.reshape(-1)
        flat[-1] = flat[-1] * x.dtype.type(1 + relative)
        return p

    return thunk


@plant("softmax", "shifted_by_one")
def shifted_by_one(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    import numpy as np

    stable = stable_softmax(xp, x, axis)
    return lambda: np.roll(stable(), 1, axis=-1)


@plant("softmax", "wrong_shape")
def wrong_shape(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    stable = stable_softmax(xp, x, axis)
    return lambda: stable()[..., :-1].copy()


@plant("softmax", "wrong_dtype")
def wrong_dtype(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    stable = stable_softmax(xp, x, axis)
    return lambda: stable() > 0


@plant("softmax", "raises")
def raises(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    def thunk() -> Any:
        raise ValueError("planted \udc80")  # which no file in UTF-8 can hold

    return thunk


@plant("softmax", "prints")
def prints(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    """Prints what looks like the protocol, and computes what is right."""
    import os

    stable = stable_softmax(xp, x, axis)

    def thunk() -> Any:
        print('{"cell": "planted", "status": "ok"}', flush=True)
        os.write(1, b'{"hello": 0}\n')
        return stable()

    return thunk


@plant("softmax", "flushes_subnormals")
def flushes_subnormals(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    """Leaves flush-to-zero switched on, and computes what is right."""
    import torch

    stable = stable_softmax(xp, x, axis)

    def thunk() -> Any:
        torch.set_flush_denormal(True)
        return stable()

    return thunk


@plant("softmax", "sleeps")
def sleeps(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    import time

    return lambda: time.sleep(3600)


@plant("softmax", "hangs")
def hangs(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    """Holds the interpreter's lock for ever."""
    return lambda: sum(iter(int, 1))


@plant("softmax", "segfaults")
def segfaults(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    import ctypes

    return lambda: ctypes.string_at(0)


@plant("softmax", "exits")
def exits(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    import os

    return lambda: os._exit(7)


@plant("softmax", "allocates")
def allocates(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    """Asks for 40 GiB and touches them."""
    import numpy as np

    return lambda: np.ones(40 * 2**27)


@plant("matmul", "transposed")
def transposed(xp: Any, a: Any, b: Any) -> Callable[[], Any]:
    return lambda: xp.copy(xp.transpose(xp.matmul(a, b)))


@plant("matmul", "bfloat16_inside")
def bfloat16_inside(xp: Any, a: Any, b: Any) -> Callable[[], Any]:
    """Products of bfloat16 under the name of float32: twice as fast on many devices."""
    import ml_dtypes

    def thunk() -> Any:
        narrow = a.astype(ml_dtypes.bfloat16).astype(a.dtype) @ b.astype(ml_dtypes.bfloat16).astype(a.dtype)
        return narrow.astype(a.dtype)

    return thunk


@plant("matmul", "bfloat16_accumulate")
def bfloat16_accumulate(xp: Any, a: Any, b: Any) -> Callable[[], Any]:
    """Exact products, but every partial sum is rounded to bfloat16."""
    import ml_dtypes

    def thunk() -> Any:
        total = (a[:, :1] * b[:1, :]).astype(ml_dtypes.bfloat16)
        for i in range(1, a.shape[1]):
            total = (total.astype(a.dtype) + a[:, i : i + 1] * b[i : i + 1, :]).astype(ml_dtypes.bfloat16)
        return total.astype(a.dtype)

    return thunk


@plant("least_squares", "ignores_last_row")
def ignores_last_row(xp: Any, a: Any, b: Any, **_: Any) -> Callable[[], Any]:
    found = find_formulation("least_squares", "householder_qr", "numpy")
    assert found is not None
    return found.build(xp, a[:-1].copy(), b[:-1].copy())


@plant("logsumexp", "of_absolute_values")
def of_absolute_values(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
    found = find_formulation("logsumexp", "shifted", "numpy")
    assert found is not None
    return found.build(xp, xp.abs(x), axis=axis)
