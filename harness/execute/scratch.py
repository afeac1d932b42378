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
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 — the folder it lies in belongs to root
_CGROUP: Final = Path("/sys/fs/cgroup")


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
        Where to make it; None: see `default_root`.
    limit_bytes
        What may lie in it at one time; never more than half of what is free there.
    largest_bytes
        About what the inputs of the largest problem take.

    Raises
    ------
    CouldNotMeasureError
        There is no room, or the folder cannot be made.
    """

    def __init__(
        self, root: Path | None = None, limit_bytes: int = LIMIT_BYTES, largest_bytes: int = 0
    ) -> None:
        if root is None:
            root, limit_bytes = default_root(limit_bytes, largest_bytes)
            for other in {_MEMORY, Path(tempfile.gettempdir())} - {root}:
                sweep(other)
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

    def new_outputs(self, size: int) -> str:
        """Return what the names of one cell's files begin with, and account about `size` bytes to them."""
        self._serial += 1
        prefix = f"{self.outputs}{os.sep}{self._serial}-"
        self.held_outputs.hold(prefix, size)
        return prefix

    def remove_outputs(self, prefix: str) -> None:
        """Remove what one cell gave."""
        self.held_outputs.release(prefix)
        name = prefix.rpartition(os.sep)[2]
        for found in os.listdir(self.outputs):  # noqa: PTH208 — names only, once a cell
            if found.startswith(name):
                (self.outputs / found).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._lock)


def default_root(limit_bytes: int, largest_bytes: int) -> tuple[Path, int]:
    """Return where a scratch folder is made, and what may lie in it.

    That is $TMPDIR if it is set. Else Linux's folder in memory, if an eighth of the memory that is
    available holds the largest problem four times: a small file takes 10 µs there and 0.2 to 3 ms on a
    busy disk. Else the system's folder for temporary files.
    """
    if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK):
        try:
            room = min(available_memory_bytes() // 8, shutil.disk_usage(_MEMORY).free // 2, limit_bytes)
        except OSError:
            room = 0
        if room >= max(4 * largest_bytes, 2 * _SMALLEST_BYTES):
            return _MEMORY, room
    return Path(tempfile.gettempdir()), limit_bytes


def available_memory_bytes() -> int:
    """Return what memory can be had without swapping, within the limit of our control group; 0: unknown."""
    meminfo = _lines(Path("/proc/meminfo"))
    found = [int(line.split()[1]) << 10 for line in meminfo if line.startswith("MemAvailable:")]
    limit, used = _lines(_CGROUP / "memory.max"), _lines(_CGROUP / "memory.current")
    if limit and used and limit[0].isdigit():
        found.append(max(0, int(limit[0]) - int(used[0])))
    return min(found, default=0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


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
