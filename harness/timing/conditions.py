"""What else the machine did while we measured: load, context switches, steal; a device's clock and power."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .clock import Timer, control_loop

_CONTROL_RUNS = 4


@dataclass(frozen=True, slots=True)
class Conditions:
    """The machine at one moment; counters run from its start, or the process's."""

    load_1min: float | None
    involuntary_switches: int | None
    steal_s: float | None
    control_s: float
    """Fastest of four fixed loops: what the processor's pace is."""
    device: Mapping[str, float | str]
    """Clock, power and temperature of a device that tells them."""


def conditions(timer: Timer) -> Conditions:
    """Return the conditions now; None where this system does not tell."""
    return Conditions(
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        involuntary_switches=_involuntary_switches(),
        steal_s=steal_s(),
        control_s=min(_control_s(timer) for _ in range(_CONTROL_RUNS)),
        device=timer.pace.state(),
    )


def _control_s(timer: Timer) -> float:
    """Return the seconds of the control loop on the host, whatever device the timer measures."""
    start = timer.now()
    control_loop()
    return timer.now() - start


def between(before: Conditions, after: Conditions) -> dict[str, float | str]:
    """Return what happened between two moments, by name; what the system does not tell is left out."""
    return dict(_between(before, after))


def _between(before: Conditions, after: Conditions) -> Iterator[tuple[str, float | str]]:
    yield "control_before_s", before.control_s
    yield "control_after_s", after.control_s
    if after.load_1min is not None:
        yield "load_1min", after.load_1min
    if before.involuntary_switches is not None and after.involuntary_switches is not None:
        yield "involuntary_switches", after.involuntary_switches - before.involuntary_switches
    if before.steal_s is not None and after.steal_s is not None:
        yield "steal_s", after.steal_s - before.steal_s
    for when, device in (("before", before.device), ("after", after.device)):
        yield from ((f"{name}_{when}", value) for name, value in device.items())


def _involuntary_switches() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def steal_s() -> float | None:
    """Return the seconds that the hypervisor gave to others, all cores together (proc(5): 8th of cpu)."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        return int(fields[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return None
