"""Arrays at 64-byte boundaries: kernels take other paths, and give other bits, on others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIGNMENT: Final = 64
"""Bytes: a cache line, and the widest vector register."""


def aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous, writable copy of an array whose data begins at a multiple of 64 bytes."""
    import numpy as np

    buffer = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
