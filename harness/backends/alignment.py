"""Arrays at 64-byte boundaries: kernels take other paths, and give other bits, on others."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIGNMENT: Final = 64
"""Bytes: a cache line, and the widest vector register."""


PAGE: Final = 4096
OWN_PAGES: Final = 64 << 10
"""Bytes from which a displaced copy has pages of its own."""

_places: list[Callable[[], int]] = []


@contextlib.contextmanager
def displaced(place: Callable[[], int]) -> Iterator[None]:
    """Let each copy made inside begin as many bytes farther into a page as `place` gives for it.

    Where arrays lie within a page relative to one another decides how fast a kernel is: loads wait for stores
    that seem to be at their address (4K aliasing; Intel 64 Optimization Reference Manual, Memory
    Disambiguation).
    """
    _places.append(place)
    try:
        yield
    finally:
        _places.pop()


def _bytes(size: int) -> NDArray[Any]:
    """Return memory for a displaced copy; what is not small has pages of its own, fresh from the system.

    A cache that is addressed physically holds some sets of pages better than others.
    """
    import numpy as np

    if size < OWN_PAGES:
        return np.empty(size, np.uint8)
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


def aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous, writable copy of an array whose data begins at a multiple of 64 bytes."""
    import numpy as np

    if _places:
        beyond = _places[-1]() % PAGE // ALIGNMENT * ALIGNMENT
        buffer = _bytes(array.nbytes + ALIGNMENT + PAGE)
    else:
        beyond, buffer = 0, np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT + beyond
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
