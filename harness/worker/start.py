"""Starting a backend in this process, by whichever program serves it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from harness.errors import UserError
from harness.registry import BACKENDS, Backend


def import_numpy() -> None:
    """Import NumPy, before a plug-in may; raises UserError if it does not know what its variables name.

    NumPy only warns of a misspelt instruction set in NPY_DISABLE_CPU_FEATURES, and Python hides that warning:
    the backend would run, and be recorded, as something that it is not.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "During parsing environment variable", ImportWarning)
        try:
            import numpy  # noqa: F401
        except ImportWarning as warning:
            raise UserError(" ".join(str(warning).split())) from None


def started(name: str, threads: int, flags: Mapping[str, str]) -> Backend:
    """Return a backend that is started; the catalogue is loaded.

    Raises
    ------
    UserError
        There is no such backend, it is unavailable, or has no such flags.
    """
    if name not in BACKENDS:
        raise UserError(f"unknown backend {name!r}; known: {', '.join(BACKENDS)}")
    backend = BACKENDS[name]
    known = {flag for settings in backend.flags.values() for flag in settings}
    foreign = sorted(set(flags) - known)
    if foreign:
        raise UserError(
            f"{name} has no flags {', '.join(foreign)}; known: {', '.join(sorted(known)) or 'none'}"
        )
    lack = backend.unavailable()
    if lack is not None:
        raise UserError(f"{name} is unavailable: {lack}")
    warnings.simplefilter("ignore")  # a kernel's warning is no result, and printing it would be timed
    backend.start(threads, flags)
    return backend
