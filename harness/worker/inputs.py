"""Inputs read from files of bit patterns, the latest kept in memory up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UserError
from harness.formats import NumberFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEPT_BYTES: Final = 256 << 20


class StoredInputs:
    """Reads each file once while it stays among the latest `kept_bytes`, and again if it was replaced."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._arrays: OrderedDict[tuple[str, int, int], NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def load(self, path: str, storage: NumberFormat) -> NDArray[Any]:
        """Return the codes in an NPY file, read-only: unsigned words as wide as the format's.

        Raises
        ------
        UserError
            If the file holds something else.
        """
        status = Path(path).stat()
        key = path, status.st_mtime_ns, status.st_size
        if key in self._arrays:
            self._arrays.move_to_end(key)
            return self._arrays[key]
        import numpy as np

        array: NDArray[Any] = np.load(path, allow_pickle=False)
        if array.dtype.kind != "u" or array.dtype.itemsize * 8 != storage.storage_bits:
            raise UserError(
                f"{path} holds {array.dtype}; {storage.name} is stored as uint{storage.storage_bits}"
            )
        array.flags.writeable = False
        self._arrays[key] = array
        self._bytes += array.nbytes
        while self._bytes > self._kept_bytes:
            _, oldest = self._arrays.popitem(last=False)
            self._bytes -= oldest.nbytes
        return array
