"""What makes a processor's pace change: clock, turbo, threads that share a core, limits of a container."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any, Final

from harness.timing.clock import control_loop
from harness.timing.statistics import noise

_CPUS: Final = Path("/sys/devices/system/cpu")
_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN_GROUPS: Final = Path("/proc/self/cgroup")

_PACE_S: Final = 0.2
_RUNS: Final = 4
"""The fastest of so many control loops is one reading, as a slot is the fastest of four blocks."""


def processor(cpus: Path = _CPUS) -> dict[str, Any]:
    """Return what the system tells of clock and cores; what it does not tell is left out.

    Returns
    -------
    dict
        `governors` of the cores that we may use; `mhz_now`, lowest and highest of them; `mhz_max`; whether
        `turbo` and `smt` are on; `quota_cores`, how many cores' time the control group gets.
    """
    folders = list(_folders(cpus))
    now = _numbers(folder / "cpufreq" / "scaling_cur_freq" for folder in folders)
    highest = _numbers(folder / "cpufreq" / "cpuinfo_max_freq" for folder in folders)
    governors = {_text(folder / "cpufreq" / "scaling_governor") for folder in folders} - {None}
    found = {
        "governors": sorted(governors, key=str) or None,
        "mhz_now": [round(min(now) / 1000), round(max(now) / 1000)] if now else None,
        "mhz_max": round(max(highest) / 1000) if highest else None,
        "turbo": _turbo(cpus),
        "smt": {"1": True, "0": False}.get(_text(cpus / "smt" / "active") or ""),
        "quota_cores": quota(),
    }
    return {name: value for name, value in found.items() if value is not None}


def _folders(cpus: Path) -> Iterator[Path]:
    """Yield the folders of the cores that we may use."""
    count = os.cpu_count() or 1
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(count)
    for number in sorted(allowed):
        yield cpus / f"cpu{number}"


def _turbo(cpus: Path) -> bool | None:
    """Return whether clocks beyond the nominal one are allowed (Intel's driver has the opposite switch)."""
    off = _text(cpus / "intel_pstate" / "no_turbo")
    if off is not None:
        return off == "0"
    on = _text(cpus / "cpufreq" / "boost")
    return None if on is None else on == "1"


def quota(groups: Path = _GROUPS, own: Path = _OWN_GROUPS) -> float | None:
    """Return how many cores' time our control group may use, or None without a limit.

    The least of the group's and its parents' counts: `cpu.max` of version 2, `cpu.cfs_quota_us` of version 1.
    """
    limits: list[float] = []
    for line in (_text(own) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        parts = [part for part in path.split("/") if part]
        chain = [Path(*parts[:n]) for n in range(len(parts) + 1)]
        if not controllers:
            limits += [n for p in chain if (n := _cores_v2(groups / p / "cpu.max")) is not None]
        elif "cpu" in controllers.split(","):
            for root in {groups / controllers, groups / "cpu"}:
                limits += [n for p in chain if (n := _cores_v1(root / p)) is not None]
    return min(limits, default=None)


def _cores_v2(path: Path) -> float | None:
    words = (_text(path) or "").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _cores_v1(folder: Path) -> float | None:
    numbers = _numbers([folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"])
    return numbers[0] / numbers[1] if len(numbers) == 2 and numbers[0] > 0 else None


def pace(clock: Callable[[], int] = time.perf_counter_ns) -> Mapping[str, float | None]:
    """Return how long a fixed loop of arithmetic takes here, and how much that changes within 0.2 s.

    Returns
    -------
    Mapping
        `control_s`, the median of the readings; `scatter`, their relative spread (1.4826 · MAD / median);
        `slowest`, the slowest reading over the median, less 1.
    """
    readings: list[float] = []
    start = clock()
    while clock() - start < _PACE_S * 1e9 or len(readings) < _RUNS:
        readings.append(min(_loop_s(clock) for _ in repeat(None, _RUNS)))
    middle = median(readings)
    return {"control_s": middle, "scatter": noise(readings), "slowest": max(readings) / middle - 1}


def _loop_s(clock: Callable[[], int]) -> float:
    start = clock()
    control_loop()
    return (clock() - start) * 1e-9


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _numbers(paths: Any) -> list[float]:
    """Return the numbers in those of the files that hold one."""
    found = []
    for path in paths:
        text = _text(path)
        if text is not None and text.removeprefix("-").isdigit():
            found.append(float(text))
    return found
