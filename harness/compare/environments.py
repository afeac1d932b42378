"""Environments with other versions: made once by pip, kept, used again.

One is a folder with `venv/`, pip's `log`, the `constraints.txt` it was made under, and `made.json`, written
last: without it the environment is half made, and is made again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import harness
from harness.compare.interpreter import Found, examined, pins
from harness.compare.spec import normal_name, satisfies
from harness.errors import CouldNotMeasureError
from harness.registry import BACKENDS

DISTRIBUTION: Final = "numerics-harness"

_FORMAT: Final = 1
"""Of the folder; another one is another environment."""
_VENV: Final = ("-I", "-m", "venv", "--clear")
_PIP: Final = ("-I", "-m", "pip")
_REDIRECTIONS: Final = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PYTHONPATH",
    "PYTHONHOME",
    "__PYVENV_LAUNCHER__",
)
"""Variables of the user that would put packages elsewhere, or take them from there."""
_IDLE: Final = ("[notice]", "WARNING: Location", "To fix this", "1. ", "2. ")
"""How lines of pip begin that tell nothing."""
_LAST_LINES: Final = 12
_WIDEST: Final = 300


@dataclass(frozen=True, slots=True)
class Made:
    """An environment that is complete."""

    interpreter: Path
    folder: Path
    versions: Mapping[str, str]
    """Distribution → version."""
    made: str
    """When: ISO 8601 with offset."""
    seconds: float
    """What making it took."""
    reused: bool


def installed(interpreter: Path) -> dict[str, str]:
    """Return distribution → version of an interpreter.

    Raises
    ------
    CouldNotMeasureError
        It does not start, is no Python, or is too old.
    """
    return dict(examined(interpreter).versions)


def modules_of(backends: Sequence[str]) -> tuple[str, ...]:
    """Return the modules that backends must be able to import."""
    return tuple(dict.fromkeys(module for name in backends for module in BACKENDS[name].requires))


def needed_distributions(backends: Sequence[str], base: Found) -> tuple[str, ...]:
    """Return what must be installed for a side to be measured: what the harness and the backends import.

    Parameters
    ----------
    backends
        Those in question.
    base
        The interpreter to start from, examined for `modules_of(backends)`; a module that it does not have is
        left out, for the backend is unavailable there.
    """
    needed = {_name_of(text): text for text in _own_requirements()}
    for module in modules_of(backends):
        for name in base.providers.get(module, ()):
            needed.setdefault(name, name)
    return tuple(needed[name] for name in sorted(needed))


def constraints(base: Found, requirements: Sequence[str], needed: Sequence[str]) -> tuple[str, ...]:
    """Return what else than `requirements` stays as `base` has it, pinned.

    Raises
    ------
    CouldNotMeasureError
        Something that is needed came from a folder or a repository, so that no index has the same.
    """
    named = {_name_of(text) for text in requirements}
    local = sorted(base.local & {_name_of(text) for text in needed} - named - {DISTRIBUTION})
    if local:
        raise CouldNotMeasureError(
            f"{', '.join(local)} of the base came from a folder or a repository: an environment with "
            f"{' '.join(requirements)} cannot be given the same",
            f"name its version too (`{local[0]}==VERSION`), or make the environment and give its interpreter",
        )
    return pins(base, [*named, DISTRIBUTION])


def environment(
    requirements: Sequence[str],
    base_interpreter: Path,
    constraints: Sequence[str],
    needed: Sequence[str],
    folder: Path,
    told: Callable[[str], None],
) -> Made:
    """Return an environment that has `requirements` and `needed`; made where there is none yet.

    An interrupt ends pip with all that it started. Who makes one holds a lock, and so does pip itself:
    another process waits, even for a pip whose own harness was killed.

    Parameters
    ----------
    requirements
        `name==version`, each.
    base_interpreter
        Whose Python the environment gets.
    constraints
        Versions of all else, `name==version`.
    needed
        What else is installed, as pip takes it.
    folder
        Where environments are kept.
    told
        Called with a line of what is being done.

    Raises
    ------
    CouldNotMeasureError
        It cannot be made, with pip's last lines, or what it has is not what was asked for.
    """
    asked = {
        "format": _FORMAT,
        "requirements": sorted(requirements),
        "needed": sorted(needed),
        "constraints": sorted(constraints),
        "python": list(examined(base_interpreter).build),
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    place = folder / f"{requirements[0].replace('==', '-')}-{digest}"
    words = " ".join(requirements)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _locked(
            place / "lock", lambda: told(f"waiting for who makes the environment with {words}")
        ) as lock:
            found = _complete(place)
            if found is not None:
                when = found.made[:16].replace("T", " at ")
                told(f"using the environment with {words} made on {when}: {place}")
                return found
            told(f"making an environment with {words}: {place}")
            return _make(place, asked, base_interpreter, lock)
    except BrokenPipeError:  # of who is told
        raise
    except OSError as error:
        raise CouldNotMeasureError(
            f"cannot make an environment in {folder}: {error.strerror}",
            "set HARNESS_CACHE to a folder with room",
        ) from None


def _make(place: Path, asked: Mapping[str, Any], base_interpreter: Path, lock: int) -> Made:
    """Make it from nothing, and mark it as complete."""
    start = time.monotonic()
    venv = place / "venv"
    (place / "made.json").unlink(missing_ok=True)
    try:
        shutil.rmtree(venv, ignore_errors=True)
        limits = place / "constraints.txt"
        named = {_name_of(text) for text in asked["requirements"]}
        ranges = [
            text for text in asked["needed"] if _name_of(text) in named
        ]  # what the harness itself needs
        limits.write_text("".join(f"{line}\n" for line in (*asked["constraints"], *ranges)))
        interpreter = _interpreter_of(venv)
        with (place / "log").open("wb") as log:
            _run("venv", [str(base_interpreter), *_VENV, str(venv)], log, lock, asked)
            options = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--constraint")
            wanted = [*asked["requirements"], *(text for text in asked["needed"] if text not in ranges)]
            _run(
                "pip",
                [str(interpreter), *_PIP, "install", *options, str(limits), "--", *wanted],
                log,
                lock,
                asked,
            )
        versions = installed(interpreter)
        for requirement in asked["requirements"]:
            name, _, version = requirement.partition("==")
            if not satisfies(versions.get(name), version):
                raise CouldNotMeasureError(
                    f"pip was asked for {requirement} and left {versions.get(name, 'none')}",
                    f"its log is in {place}",
                )
        seconds = time.monotonic() - start
        made = datetime.now().astimezone().isoformat(timespec="seconds")
        record = {**asked, "versions": versions, "made": made, "seconds": round(seconds, 1)}
        half = place / "made.json.half"
        half.write_text(json.dumps(record, indent=1, sort_keys=True))
        half.replace(place / "made.json")
    except BaseException:
        shutil.rmtree(venv, ignore_errors=True)
        raise
    return Made(interpreter, place, versions, made, seconds, reused=False)


def _complete(place: Path) -> Made | None:
    """Return the environment if it is complete, starts, and has what it had when it was made."""
    try:
        record = json.loads((place / "made.json").read_text())
        interpreter = _interpreter_of(place / "venv")
        if installed(interpreter) == record["versions"]:
            return Made(
                interpreter, place, record["versions"], record["made"], float(record["seconds"]), reused=True
            )
    except (OSError, ValueError, KeyError, TypeError, CouldNotMeasureError):
        pass
    return None


def _run(what: str, command: Sequence[str], log: IO[bytes], lock: int, asked: Mapping[str, Any]) -> None:
    """Run a program to its end; whatever ends us before ends it too."""
    variables = {k: v for k, v in os.environ.items() if k not in _REDIRECTIONS} | {"PIP_USER": "0"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=variables,
        start_new_session=True,
        pass_fds=(lock,),
    )
    try:
        code = process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code != 0:
        place = Path(log.name).parent
        said = "\n".join(f"  {line}" for line in _last_lines(Path(log.name)))
        raise CouldNotMeasureError(
            f"cannot make an environment with {' '.join(asked['requirements'])}: "
            f"{what} ended with {code}\n{said}",
            f"see that the index has these versions for this Python, and where they conflict with others "
            f"name those too (numpy==… scipy==…); the whole log is in {place}",
        )


def _last_lines(log: Path) -> list[str]:
    """Return what it ends with, from its first error on if that is not far."""
    lines = [line.rstrip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_IDLE)]
    errors = [i for i, line in enumerate(lines) if line.startswith("ERROR")]
    last = lines[errors[0] if errors else -_LAST_LINES // 2 :][-_LAST_LINES:]
    return [
        line if len(line) <= _WIDEST else f"{line[: _WIDEST // 2]} … {line[-_WIDEST // 2 :]}" for line in last
    ]


@contextlib.contextmanager
def _locked(path: Path, wait: Callable[[], None]) -> Iterator[int]:
    """Hold a lock; `wait` is called if another process holds it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
        yield lock
    finally:
        os.close(lock)


def _interpreter_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _own_requirements() -> tuple[str, ...]:
    """Return what the harness requires, without extras.

    A source tree says so itself: what is recorded of an editable install is as old as that install.
    """
    project = Path(harness.__file__).resolve().parents[1] / "pyproject.toml"
    with contextlib.suppress(OSError, ValueError):
        declared = tomllib.loads(project.read_text("utf-8")).get("project", {})
        if declared.get("name") == DISTRIBUTION:
            return tuple(declared["dependencies"])
    try:
        required = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        raise CouldNotMeasureError(
            f"cannot tell what {DISTRIBUTION} requires: neither installed nor beside its pyproject.toml",
            "install it, or make the environment yourself and give its interpreter",
        ) from None
    return tuple(text for text in required if not re.search(r";.*\bextra\s*==", text))


def _name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    return normal_name(match[0].rstrip("._-")) if match else requirement
