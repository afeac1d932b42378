"""What is started: the two programs, their arguments and their variables."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.registry import BACKENDS

_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


Flags = tuple[tuple[str, str], ...]
"""Settings of a library by name, sorted."""


@dataclass(frozen=True, slots=True, order=True)
class WorkerKey:
    """What a worker is: one process for each backend, number of threads, and settings of the library."""

    backend: str
    threads: int
    flags: Flags = ()

    @property
    def name(self) -> str:
        """What messages, logs and the journal call it."""
        settings = ",".join(f"{name}={value}" for name, value in self.flags)
        return f"{self.backend}-{self.threads}t" + (f"-{settings}" if settings else "")


def flags_of(backend: str, dtype: str) -> Flags:
    """Return the settings that make a dtype's mode on a backend."""
    return tuple(sorted(BACKENDS[backend].flags.get(dtype, {}).items()))


def backend_environment(backend: str, threads: int) -> Mapping[str, str]:
    """Return the variables that a backend wants set before it is imported."""
    return BACKENDS[backend].environment(threads)


@dataclass(frozen=True, slots=True)
class Programs:
    """How children are started; tests put programs of their own here."""

    worker: Sequence[str] = (sys.executable, "-m", "harness.worker")
    referee: Sequence[str] = (sys.executable, "-m", "harness.referee")
    environment: Callable[[str, int], Mapping[str, str]] = backend_environment
    plugins: Sequence[str] = ()
    worker_plugins: Sequence[str] | None = None
    """Those of workers, where their kernels are not ours; None: `plugins`."""
    worker_folders: Sequence[str] | None = None
    """What workers import from, before their interpreter's own; None: where we imported from."""
    worker_variables: Mapping[str, str] = field(default_factory=dict)
    """Of workers, beside those of the backend."""

    def worker_command(self, key: WorkerKey, memory_bytes: int) -> list[str]:
        """Return the command line of a worker."""
        return [
            *self.worker,
            *("--backend", key.backend),
            *("--threads", str(key.threads)),
            *("--flags", json.dumps(dict(key.flags))),
            *("--memory", str(memory_bytes)),
            *_options(self.plugins if self.worker_plugins is None else self.worker_plugins),
        ]

    def worker_environment(self, key: WorkerKey) -> dict[str, str]:
        """Return all variables of a worker."""
        own = self.environment(key.backend, key.threads)
        return {**self._common(self.worker_folders), **own, **self.worker_variables}

    def referee_command(self, cache: Path, scratch: Path) -> list[str]:
        """Return the command line of a referee."""
        return [*self.referee, "--cache", str(cache), "--scratch", str(scratch), *_options(self.plugins)]

    def referee_environment(self) -> dict[str, str]:
        """Return all variables of a referee: one thread each, for there is one on every core."""
        return {**self._common(), **dict.fromkeys(_THREADS, "1")}

    def _common(self, folders: Sequence[str] | None = None) -> dict[str, str]:
        """Our own variables, with the same hash seed everywhere and nothing imported from where we are."""
        own = import_folders(self.plugins) if folders is None else folders
        found = [*own, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "PYTHONSAFEPATH": "1",
            "PYTHONFAULTHANDLER": "1",
            "PYTHONUNBUFFERED": "1",
            **({"PYTHONPATH": os.pathsep.join(found)} if found else {}),
        }


def _options(plugins: Sequence[str]) -> list[str]:
    return [text for plugin in plugins for text in ("--plugin", plugin)]


def import_folders(modules: Sequence[str]) -> list[str]:
    """Folders, beside the interpreter's own, from which we imported the harness and plug-ins."""
    folders = []
    for name in ("harness", *modules):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None:
            continue
        path = Path(file).resolve()
        depth = name.count(".") + (1 if path.name == "__init__.py" else 0)
        folder = path.parents[depth]
        if folder.name not in ("site-packages", "dist-packages") and str(folder) not in folders:
            folders.append(str(folder))
    return folders
