"""Formulations whose work is known, a plug-in of trials: one unit, 100, 102, 103, 105 or 110 times a call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import repeat, starmap
from typing import Any

from harness.registry import formulation

COUNTS = (100, 102, 103, 105, 110)
SPIN = 8
"""Iterations of an empty loop in one unit of `spin`, some 10 ns each."""


def _times(unit: Callable[[], Any], count: int) -> Callable[[], Any]:
    """Return a thunk that does a unit several times; no bytecode runs between two of them."""

    def thunk() -> Any:
        deque(starmap(unit, repeat((), count - 1)), maxlen=0)
        return unit()

    return thunk


def _register(count: int) -> None:
    @formulation("softmax", f"spin_{count}", title=f"{count} short loops", needs=("elementwise",))
    def spin(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
        def unit() -> Any:
            deque(repeat(None, SPIN), maxlen=0)
            return x

        return _times(unit, count)

    @formulation("softmax", f"exp_{count}", title=f"{count} exponentials of a row", needs=("elementwise",))
    def exponentials(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
        return _times(lambda: xp.exp(x), count)

    @formulation("softmax", f"softmax_{count}", title=f"{count} times softmax", needs=("elementwise", "sum"))
    def softmaxes(xp: Any, x: Any, *, axis: int) -> Callable[[], Any]:
        def unit() -> Any:
            e = xp.exp(xp.subtract(x, xp.max(x, axis=axis, keepdims=True)))
            return xp.divide(e, xp.sum(e, axis=axis, keepdims=True))

        return _times(unit, count)

    @formulation("matmul", f"matmul_{count}", title=f"{count} products", needs=("matmul",))
    def products(xp: Any, a: Any, b: Any) -> Callable[[], Any]:
        return _times(lambda: xp.matmul(a, b), count)


for _count in COUNTS:
    _register(_count)
