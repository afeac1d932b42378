"""The scratch folder of one run: inputs and outputs on their way, bounded, and gone at the end.

Its owner holds a lock in it. A run that was killed let go of its lock, so the next run knows the
folder for stale and removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from harness.errors import CouldNotMeasureError

LIMIT_BYTES: Final = 2 << 30
"""What inputs and outputs may take at one time."""

_SMALLEST_BYTES: Final = 64 << 20
_PREFIX: Final = "numerics-harness-"
_LOCK: Final = "owner.lock"


class Account:
    """Bytes that lie in a folder, or are about to, by what they belong to."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.total_bytes = 0
        self._held: dict[str, int] = {}

    def fits(self, size: int) -> bool:
        """Return whether `size` more stays within the limit."""
        return self.total_bytes + size <= self.limit_bytes

    @property
    def empty(self) -> bool:
        """Whether nothing is held."""
        return not self._held

    def hold(self, key: str, size: int) -> None:
        """Account `size` bytes to `key`, instead of what was accounted to it before."""
        self.total_bytes += size - self._held.get(key, 0)
        self._held[key] = size

    def release(self, key: str) -> None:
        """Forget what was accounted to `key`."""
        self.total_bytes -= self._held.pop(key, 0)


class Scratch:
    """A folder of our own under `root`, and accounts of the inputs and the outputs in it.

    Parameters
    ----------
    root
        Where to make it; the system's folder for temporary files if None.
    limit_bytes
        What may lie in it at one time; never more than half of what is free there.

    Raises
    ------
    CouldNotMeasureError
        There is no room, or the folder cannot be made.
    """

    def __init__(self, root: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        root = Path(tempfile.gettempdir()) if root is None else root
        try:
            root.mkdir(parents=True, exist_ok=True)
            sweep(root)
            made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=root))
            self._lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(OSError):  # a file system without locks: never swept
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.folder = made.rename(root / made.name.removeprefix("."))  # locked before it can be swept
            self.inputs = self.folder / "inputs"
            self.outputs = self.folder / "outputs"
            self.inputs.mkdir()
            self.outputs.mkdir()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise CouldNotMeasureError(
                f"cannot make a scratch folder in {root}: {error.strerror}",
                "set TMPDIR to a folder with room",
            ) from None
        if free < 2 * _SMALLEST_BYTES:
            self.close()
            raise CouldNotMeasureError(
                f"{root} has {free >> 20} MiB free; {2 * _SMALLEST_BYTES >> 20} MiB are needed for inputs",
                "make room there, or set TMPDIR to another folder",
            )
        half = min(limit_bytes, free // 2) // 2
        self.held_inputs = Account(half)
        self.held_outputs = Account(half)
        self._serial = 0

    def remove_inputs(self, key: str, paths: Iterable[str]) -> None:
        """Remove files that a referee made, and their folders; what lies elsewhere is left alone."""
        self.held_inputs.release(key)
        for path in map(Path, paths):
            if path.parent.parent == self.inputs and ".." not in path.parts:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    path.parent.rmdir()

    def new_outputs(self) -> Path:
        """Return a new empty folder for what one cell gives."""
        self._serial += 1
        folder = self.outputs / str(self._serial)
        folder.mkdir()
        return folder

    def remove_outputs(self, folder: Path) -> None:
        """Remove what one cell gave."""
        self.held_outputs.release(str(folder))
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._lock)


def sweep(root: Path) -> list[Path]:
    """Remove scratch folders whose owners are gone, and return them."""
    removed = []
    for folder in root.glob(_PREFIX + "*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # being made this moment, or not ours to remove
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
        finally:
            os.close(lock)
    return removed
