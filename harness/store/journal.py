"""The journal of a run: one self-contained JSON line for each thing measured, appended as it is known.

A line is written whole in one call; a process that is killed leaves at most one torn last line, which
reading ignores and the next opening terminates. A record that is there is never measured again.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from harness.errors import CouldNotMeasureError, UsageError
from harness.protocol import decode, encode

SCHEMA_VERSION: Final = 1

Record = Mapping[str, Any]

_IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "accuracy": ("cell",),
    "timing": ("cell",),
    "reference": ("problem",),
    "peak": ("backend", "threads", "dtype"),
    "bandwidth": ("backend",),
    "environment": ("child",),
}
"""What makes two records of a kind the same record."""


_HOLDS: Final[Mapping[str, tuple[str, type]]] = {
    "accuracy": ("status", str),
    "timing": ("status", str),
    "reference": ("reference", str),
    "environment": ("facts", dict),
}
"""What a record of a kind must hold beside that, and its type."""


def identity(record: Record) -> tuple[Any, ...]:
    """Return what a record is about: its kind, and the cell, problem or machine part it measures.

    Raises
    ------
    ValueError
        An unknown kind, or a record that does not say what it is about.
    """
    kind = str(record.get("kind"))
    if kind not in _IDENTITY:
        raise ValueError(f"unknown kind of record {kind!r}; allowed: {', '.join(sorted(_IDENTITY))}")
    try:
        return (kind, *(record[key] for key in _IDENTITY[kind]))
    except KeyError as missing:
        raise ValueError(f"a record of kind {kind!r} without {missing.args[0]!r}") from None


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a journal in the order written; a missing file has none.

    A torn or garbled line is ignored, and of two records about the same thing the first counts.

    Raises
    ------
    UsageError
        The journal was written by a newer version of the harness, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"cannot read the journal {path}: {error.strerror}") from None
    seen: set[tuple[Any, ...]] = set()
    records = []
    for line in content.split(b"\n"):
        record = _decoded(line)
        if record is None:
            continue
        version = record.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise UsageError(
                f"{path} has records of schema version {version}, this harness reads up to {SCHEMA_VERSION}",
                "use the version of the harness that made the run",
            )
        key = identity(record)
        if key not in seen and _is_whole(record):
            seen.add(key)
            records.append(record)
    return records


def _decoded(line: bytes) -> dict[str, Any] | None:
    """Return the record on a line, or None for a blank one and for what says of nothing what it is about."""
    if not line.strip():
        return None
    try:
        record = decode(line)
        if not isinstance(record, dict):
            return None
        hash(identity(record))
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return None
    return record


def _is_whole(record: Record) -> bool:
    """Return whether a record holds what is read from it; one that does not is measured again."""
    name, type_ = _HOLDS.get(record["kind"], ("kind", str))
    parts = [record.get(part, {}) for part in ("outputs", "timing")]
    if not isinstance(record.get(name), type_) or not all(isinstance(part, dict) for part in parts):
        return False
    return all(isinstance(scored, dict) for scored in parts[0].values())


class Journal:
    """Appends records to a file that one process at a time may write.

    Parameters
    ----------
    path
        The file; made if it is not there.

    Attributes
    ----------
    records : list of dict
        What the file held when it was opened, and what was appended since.

    Raises
    ------
    UsageError
        The file cannot be written, another process writes it, or a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise UsageError(f"cannot write the journal {path}: {error.strerror}") from None
        try:
            self._lock()
            self.records = read(path)
            self._end = self._terminate()
        except BaseException:
            os.close(self._file)
            raise
        self._seen = {identity(record) for record in self.records}

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return  # a file system without locks
            raise UsageError(
                f"{self.path} is being written by another process",
                "wait for that run to end, or choose another folder with --out",
            ) from None

    def _terminate(self) -> int:
        """End a torn last line, so that the next record starts a line of its own."""
        end = os.lseek(self._file, 0, os.SEEK_END)
        if end and os.pread(self._file, 1, end - 1) != b"\n":
            end += self._write(b"\n", end)
        return end

    def append(self, record: Record) -> None:
        """Write one record; `schema_version` is added.

        Raises
        ------
        ValueError
            A record about something that has one already: nothing is ever measured twice.
        CouldNotMeasureError
            The file cannot grow. What was written before stays whole.
        """
        record = {"schema_version": SCHEMA_VERSION, **record}
        key = identity(record)
        if key in self._seen:
            raise ValueError(f"{self.path} has a record of {key} already")
        # an unpaired surrogate of somebody's error text becomes \\udcxx, which is JSON for the same
        self._end += self._write(encode(record).encode("utf-8", "backslashreplace") + b"\n", self._end)
        self._seen.add(key)
        self.records.append(record)

    def _write(self, data: bytes, end: int) -> int:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            os.ftruncate(self._file, end)
            raise CouldNotMeasureError(
                f"cannot write {self.path}: {error.strerror}; what was measured so far is kept",
                "make room there, then go on with --resume",
            ) from None
        return len(data)

    def __contains__(self, key: object) -> bool:
        return key in self._seen

    def find(self, kind: str) -> Iterable[dict[str, Any]]:
        """Return the records of one kind, in the order written."""
        return [record for record in self.records if record["kind"] == kind]

    def sync(self) -> None:
        """Wait until the disk has what was written (a killed process loses nothing even without)."""
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
