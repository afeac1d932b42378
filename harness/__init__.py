"""How many digits are left, where a formula breaks, how fast it is, and whether that got worse.

`run` measures cases, `load` opens a run that was made, `check` validates case files. They are
imported when they are first used, so that `import harness` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import check, load, run

__version__ = "0.1.0"
__all__ = ["__version__", "check", "load", "run"]


def __getattr__(name: str) -> Any:
    if name in ("run", "load", "check"):
        return getattr(importlib.import_module("harness.api"), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
