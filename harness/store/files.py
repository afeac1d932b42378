"""Files that are either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import CouldNotMeasureError


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old content or the new one, never a part.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CouldNotMeasureError(
            f"cannot write {path}: {error.strerror}",
            "make room there or choose another folder; what the journal holds is kept",
        ) from None
