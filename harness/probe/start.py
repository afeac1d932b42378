"""Started by path in a side's interpreter: makes this harness importable as `harness_probe`, and serves.

Before anything else it asks for a process whose addresses are not random, and displaces what will be loaded
by as many pages as it is told. With random addresses one process of identical code is slower than another by
some percent, up to 9 % below 1 µs, for as long as both live. Without, the processes of one set are laid out
alike; and another set is displaced otherwise, so that no layout is the only one seen.
"""

import ctypes
import mmap
import os
import sys
import types
from pathlib import Path

ALIAS = "harness_probe"

_ADDR_NO_RANDOMIZE = 0x0040000
"""personality(2), Linux. Kept by what the process executes."""
_QUERY = 0xFFFFFFFF
_TRIED = "HARNESS_PROBE_LAYOUT"


def main() -> None:
    """Serve one side."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    _lay_out_alike()
    displaced = mmap.mmap(-1, (1 + int(os.environ.get("HARNESS_PROBE_PAGES", "0"))) * mmap.PAGESIZE)
    alias = types.ModuleType(ALIAS)
    alias.__path__ = [str(here.parent)]  # its own __init__ is not run: it would import the side's
    sys.modules[ALIAS] = alias
    from harness_probe.probe.serve import main as serve  # type: ignore[import-not-found]

    serve({"layout": "as in every other worker" if is_fixed() else "random"})
    displaced.close()


def is_fixed() -> bool:
    """Return whether this process's addresses are those of every other process of this program."""
    if not sys.platform.startswith("linux"):
        return False
    found: int = ctypes.CDLL(None).personality(ctypes.c_ulong(_QUERY))
    return found != -1 and bool(found & _ADDR_NO_RANDOMIZE)


def _lay_out_alike() -> None:
    """Execute this program again without random addresses, where that is allowed (not in every container)."""
    if not sys.platform.startswith("linux") or is_fixed() or _TRIED in os.environ:
        return
    personality = ctypes.CDLL(None).personality
    now = personality(ctypes.c_ulong(_QUERY))
    if now == -1 or personality(ctypes.c_ulong(now | _ADDR_NO_RANDOMIZE)) == -1:
        return
    os.environ[_TRIED] = "tried"  # once: a program that is not laid out alike then never will be
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
