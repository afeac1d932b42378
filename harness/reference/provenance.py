"""What a reference was computed by: a digest of the source that could change its content.

A cache is shared by checkouts and versions. Its key holds what a reference was made from; this digest
adds how, so that a mended reference, or a format whose row was corrected, never meets an old entry.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]


def source_digest(compute: Callable[..., Any]) -> str:
    """Return the SHA-256 (hex) of the sources that `compute` rests on.

    These are its module, the modules beside it that it imports from, all of `harness.reference` and
    `harness.formats`, and the tape that differentiates definitions. Sources that cannot be read count as
    empty.
    """
    module = sys.modules.get(compute.__module__)
    digest = hashlib.sha256(_of_the_floor())
    for path in sorted(set(_files(module)) if module else ()):
        digest.update(_content(path))
    return digest.hexdigest()


def _files(module: ModuleType) -> Iterator[Path]:
    """Yield the file of a module, and those of its package that its names come from, once removed."""
    package = module.__name__.rpartition(".")[0]
    names = {module.__name__}
    for value in vars(module).values():
        origin = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if package and isinstance(origin, str) and origin.startswith(f"{package}."):
            names.add(origin)
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            yield Path(file)


@cache
def _of_the_floor() -> bytes:
    digest = hashlib.sha256()
    for pattern in ("reference/*.py", "formats/*.py", "tape.py"):
        for path in sorted(_ROOT.glob(pattern)):
            digest.update(_content(path))
    return digest.digest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
