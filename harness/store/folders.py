"""Where runs go that are not told where: a folder named after the time, which no other run takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import UsageError


def default_folder(root: Path = Path("reports"), suffix: str = "") -> Path:
    """Return a new folder's name under `root`: the time in UTC, to the second, and what it ends in."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ") + suffix
    folder, number = root / stamp, 2
    while folder.exists():
        folder, number = root / f"{stamp}-{number}", number + 1
    return folder


@contextlib.contextmanager
def claimed_folder(root: Path = Path("reports"), suffix: str = "") -> Iterator[Path]:
    """Give a new folder under `root`, made at once, so that no other run takes it.

    Where nothing came to be in it, it is removed again.

    Raises
    ------
    UsageError
        It cannot be made.
    """
    there = root.exists()
    folder = default_folder(root, suffix)
    for _ in range(1000):
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # taken since its name was found
            folder = default_folder(root, suffix)
        except OSError as error:
            raise UsageError(
                f"cannot write to the output folder {folder}: {error.strerror}", "choose another with --out"
            ) from None
    else:
        raise UsageError(f"no new folder is to be had under {root}", "name one with --out")
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()
            if not there:
                root.rmdir()
