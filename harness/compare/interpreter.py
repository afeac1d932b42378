"""What another interpreter has: its version, its distributions, where it would import a module from."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.compare.spec import normal_name, normal_version
from harness.errors import CouldNotMeasureError

OLDEST: Final = (3, 11)
"""What the harness itself needs."""

_PATIENCE_S: Final = 60.0

_PROGRAM: Final = """\
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import json
told = {"version": list(sys.version_info[:3])}
if sys.version_info >= (3, 11):
    import importlib.metadata, importlib.util, os, platform, sysconfig
    asked = json.loads(sys.argv[1])
    versions, local = {}, []
    for found in importlib.metadata.distributions():
        name = found.metadata["Name"]
        if name and name not in versions:
            versions[name] = found.version
            direct = json.loads(found.read_text("direct_url.json") or "{}")
            if "dir_info" in direct or "vcs_info" in direct:
                local.append(name)
    origins = {}
    for name in asked:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is not None:
            folders = list(spec.submodule_search_locations or ())
            origins[name] = spec.origin if spec.has_location else folders[0] if folders else None
    providers = importlib.metadata.packages_distributions() if asked else {}
    told.update(
        versions=versions, local=local, origins=origins,
        providers={name: sorted(set(providers.get(name, ()))) for name in asked},
        python=platform.python_version(),
        build=[platform.python_implementation(), platform.python_version(), sysconfig.get_platform(),
               os.path.realpath(sys.base_prefix)],
    )
print(json.dumps(told))
"""
"""Runs in any Python, also in one that is too old, so that this can be said."""


@dataclass(frozen=True, slots=True)
class Found:
    """An interpreter, as it describes itself."""

    python: str
    """`3.12.4`."""
    build: tuple[str, ...]
    """Implementation, version, platform and base installation: what tells it from others."""
    versions: Mapping[str, str]
    """Distribution, by its normal name, → version; sorted."""
    local: frozenset[str]
    """Those installed from a folder or a repository: no index has the same."""
    origins: Mapping[str, Path | None]
    """Module that was asked for and is there → its file; None for one that has none."""
    providers: Mapping[str, tuple[str, ...]]
    """Module that was asked for → the distributions that bring it."""


def examined(interpreter: Path, modules: Sequence[str] = (), folders: Sequence[str] | None = None) -> Found:
    """Ask an interpreter what it has; nothing is imported from any of it.

    Parameters
    ----------
    interpreter
        Path of a Python.
    modules
        Names of top-level modules to look for.
    folders
        What stands first on its path, as for a worker: before the user's PYTHONPATH. None: the interpreter
        alone, isolated from the user's variables and folders.

    Raises
    ------
    CouldNotMeasureError
        It does not start, is no Python, or is too old.
    """
    told = _asked(interpreter, modules, folders)
    version = told.get("version", ())
    if tuple(version) < OLDEST:
        raise CouldNotMeasureError(
            f"{interpreter} is Python {'.'.join(map(str, version))}; workers need {_dotted(OLDEST)} or later",
            f"make an environment with a Python from {_dotted(OLDEST)} on",
        )
    versions = {normal_name(name): version for name, version in reversed(told["versions"].items())}
    return Found(
        told["python"],
        tuple(told["build"]),
        dict(sorted(versions.items())),
        frozenset(map(normal_name, told["local"])),
        {name: None if path is None else Path(path) for name, path in told["origins"].items()},
        {name: tuple(map(normal_name, names)) for name, names in told["providers"].items()},
    )


def pins(found: Found, named: Sequence[str]) -> tuple[str, ...]:
    """Return `name==version` of all that an interpreter has, but for what is `named` (by normal names).

    What no index has is left out: installs from folders and repositories. A local label (`+cpu`) is dropped,
    for an index need not know it.
    """
    pinned = []
    for name, version in found.versions.items():
        normal = normal_version(version)
        if normal is not None and name not in named and name not in found.local:
            pinned.append(f"{name}=={normal.partition('+')[0]}")
    return tuple(pinned)


def _asked(interpreter: Path, modules: Sequence[str], folders: Sequence[str] | None) -> dict[str, Any]:
    variables = dict(os.environ)
    isolated = ["-I"]
    if folders is not None:
        path = [*folders, *filter(None, [os.environ.get("PYTHONPATH")])]
        variables |= {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
        isolated = []
    command = [str(interpreter), *isolated, "-c", _PROGRAM, json.dumps(list(modules))]
    hint = "give the path of a Python that starts"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=variables,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CouldNotMeasureError(f"{interpreter} gave no answer in {_PATIENCE_S:.0f} s", hint) from None
    except OSError as error:
        raise CouldNotMeasureError(f"{interpreter} does not start: {error.strerror}", hint) from None
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    try:
        told = json.loads(lines[-1]) if done.returncode == 0 and lines else None
    except ValueError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("version"), list):
        words = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        said = words[-1] if words else lines[-1][:200] if lines else "nothing"
        raise CouldNotMeasureError(
            f"{interpreter} is no Python that works: it ended with {done.returncode} and said {said!r}", hint
        )
    return told


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
