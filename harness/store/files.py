"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from harness.errors import CouldNotMeasureError


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old content or the new one, never a part.

    What is no file, /dev/stdout or a named pipe, is written to and not replaced.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    content = text.encode("utf-8", "backslashreplace")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        hint = (
            "make room there or choose another folder; what the journal holds is kept"
            if path.parent.is_dir()
            else "its folder is not there"
        )
        raise CouldNotMeasureError(f"cannot write {path}: {error.strerror}", hint) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
