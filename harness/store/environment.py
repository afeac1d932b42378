"""What a run ran on: versions, processor, cores, system, load. Imports no array library to find out."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Any, Final

from harness.catalogue import ROOMS

PACKAGE: Final = "numerics-harness"

BINDING: Final = ("python", "implementation", "platform", "machine", "cpu", "packages")
"""What must be the same for a run to be resumed: numbers of two machines are not one run."""


def environment() -> dict[str, Any]:
    """Return facts of this machine and interpreter as plain data; what cannot be found is left out."""
    found = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": _memory_bytes(),
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "revision": _revision(),
        "packages": packages(),
        "variables": {n: v for n, v in sorted(os.environ.items()) if _THREADS.fullmatch(n)},
    }
    return {name: value for name, value in found.items() if value is not None}


_THREADS = re.compile(r"(OMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|KMP|GOMP|TORCH|CUDA|CUBLAS|NVIDIA)_\w+")


def packages() -> dict[str, str]:
    """Return the versions of the harness, of what it requires, and of what registers with it."""
    names = {PACKAGE}
    try:
        for text in requires(PACKAGE) or ():
            names.add(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0])
    except PackageNotFoundError:
        names |= {"numpy", "scipy", "torch", "ml_dtypes", "python-flint", "pandas"}
    for room in ROOMS:
        names |= {point.dist.name for point in entry_points(group=f"harness.{room}") if point.dist}
    versions = {}
    for name in sorted(names, key=str.lower):
        try:
            versions[name.replace("_", "-").lower()] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def cpu_model() -> str | None:
    """Return the processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        return _told(["sysctl", "-n", "machdep.cpu.brand_string"])
    return platform.processor() or None


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return, in words, what differs between two environments in `BINDING`."""
    found: list[str] = []
    for name in BINDING:
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found.extend(
                f"{part} {old.get(part, 'absent')} → {new.get(part, 'absent')}"
                for part in sorted(old.keys() | new.keys())
                if old.get(part) != new.get(part)
            )
        elif old != new:
            found.append(f"{name} {old} → {new}")
    return found


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _revision() -> str | None:
    """The git revision that the harness runs from, where it runs from a checkout; `+` when changed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    revision = _told(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"])
    changed = _told(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"])
    return None if revision is None else revision + ("+" if changed else "")


def _told(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
