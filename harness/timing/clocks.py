"""The clock of a GPU: SM clock, power, temperature, and what holds the clock down.

Read through NVML (the package nvidia-ml-py) between slots, or by nvidia-smi before and after a cell, for
that takes it some 50 ms; where neither can, the record says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .clock import Pace

STEADY_SHARE: Final = 0.75
"""Of the default clock: a sample taken below it says more of power and heat than of the kernel."""

SMI_TIMEOUT_S: Final = 10.0

LIMITS: Final[Mapping[int, str]] = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x100: "display clocks",
}
"""Bits of nvmlClocksEventReasons (nvml.h)."""

_SMI_FIELDS: Final = ("clocks.sm", "power.draw", "temperature.gpu", "clocks_throttle_reasons.active")


def limits_in_words(bits: int) -> str:
    """Return what holds the clock down, `none` if nothing does."""
    known = [name for bit, name in LIMITS.items() if bits & bit]
    other = bits & ~sum(LIMITS)
    return ", ".join([*known, *([f"{other:#x}"] if other else [])]) or "none"


@dataclass(frozen=True, slots=True)
class Reading:
    """A GPU at one moment; None where its driver does not tell."""

    sm_clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    limits: int | None = None

    def state(self) -> dict[str, float | str]:
        """Return what is told, by name."""
        numbers = {
            "sm_clock_mhz": self.sm_clock_mhz,
            "power_w": self.power_w,
            "temperature_c": self.temperature_c,
        }
        told: dict[str, float | str] = {name: value for name, value in numbers.items() if value is not None}
        return told if self.limits is None else {**told, "clock_limited_by": limits_in_words(self.limits)}


@dataclass(frozen=True, slots=True)
class GpuPace:
    """The pace of a GPU.

    Parameters
    ----------
    read
        Takes a reading.
    default_mhz
        The SM clock that is normal; None: unknown, and nothing is discarded.
    source
        Where readings come from.
    between_slots
        Whether a reading is quick enough to be taken after each slot.
    """

    read: Callable[[], Reading]
    default_mhz: float | None
    source: str
    between_slots: bool

    @property
    def about(self) -> Mapping[str, float | str]:
        """The source, the default clock, and whether slow samples could be discarded."""
        known: dict[str, float | str] = {"clocks": self.source}
        if self.default_mhz is not None:
            known["sm_clock_default_mhz"] = self.default_mhz
        if not self.between_slots or self.default_mhz is None:
            known["clocks"] = f"{self.source}; no sample was discarded for a low clock"
        return known

    def steady(self) -> bool:
        """Return whether the SM clock is at least `STEADY_SHARE` of the default, or is not known."""
        if not self.between_slots or self.default_mhz is None:
            return True
        found = self.read().sm_clock_mhz
        return found is None or found >= STEADY_SHARE * self.default_mhz

    def state(self) -> Mapping[str, float | str]:
        """Return clock, power, temperature, and what limits the clock."""
        return self.read().state()


@dataclass(frozen=True, slots=True)
class UnreadPace:
    """Of a GPU whose clock cannot be read."""

    reason: str
    about: Mapping[str, float | str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "about", {"clocks": f"not read: {self.reason}"})

    def steady(self) -> bool:
        """Return True: nothing is known against it."""
        return True

    def state(self) -> Mapping[str, float | str]:
        """Return nothing."""
        return {}


def gpu_pace(uuid: str) -> Pace:
    """Return the pace of the GPU of that UUID (`GPU-…`): by NVML, else by nvidia-smi, else unread."""
    import subprocess

    try:
        import pynvml
    except ImportError:
        lacking = "nvidia-ml-py is not installed"
    else:
        try:
            return nvml_pace(pynvml, uuid)
        except pynvml.NVMLError as error:
            lacking = f"NVML: {error}"
    try:
        return smi_pace(_nvidia_smi, uuid)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return UnreadPace(f"{lacking}; nvidia-smi: {error}")


def nvml_pace(nvml: Any, uuid: str) -> GpuPace:
    """Return the pace of a GPU as NVML tells it.

    The default clock is that of applications; where a driver has none, the highest.

    Raises
    ------
    NVMLError
        If NVML cannot be started, does not know the GPU, or does not tell its clock.
    """
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    clock = nvml.NVML_CLOCK_SM
    nvml.nvmlDeviceGetClockInfo(handle, clock)

    def told(ask: Callable[..., int], *arguments: Any) -> int | None:
        try:
            return ask(handle, *arguments)
        except nvml.NVMLError:
            return None

    reasons = (
        getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
    )

    def read() -> Reading:
        milliwatts = told(nvml.nvmlDeviceGetPowerUsage)
        return Reading(
            sm_clock_mhz=told(nvml.nvmlDeviceGetClockInfo, clock),
            power_w=None if milliwatts is None else milliwatts / 1000,
            temperature_c=told(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            limits=told(reasons),
        )

    default = told(nvml.nvmlDeviceGetDefaultApplicationsClock, clock)
    highest = told(nvml.nvmlDeviceGetMaxClockInfo, clock)
    return GpuPace(read, default or highest, "NVML", between_slots=True)


def smi_pace(ask: Callable[[list[str]], str], uuid: str) -> GpuPace:
    """Return the pace of a GPU as nvidia-smi tells it; `ask` runs it and returns what it printed.

    Raises
    ------
    OSError, subprocess.SubprocessError, ValueError
        If nvidia-smi is not there, fails, or prints something else.
    """

    def query(names: tuple[str, ...]) -> list[str]:
        asked = [f"--id={uuid}", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
        found = [word.strip() for word in ask(asked).strip().split(",")]
        if len(found) != len(names):
            raise ValueError(f"{len(names)} values were asked for, and it printed {', '.join(found)!r}")
        return found

    def read() -> Reading:
        clock, power, temperature, reasons = query(_SMI_FIELDS)
        return Reading(_number(clock), _number(power), _number(temperature), _bits(reasons))

    default, highest = (
        _number(word) for word in query(("clocks.default_applications.graphics", "clocks.max.sm"))
    )
    read()
    return GpuPace(read, default or highest, "nvidia-smi", between_slots=False)


def _nvidia_smi(arguments: list[str]) -> str:
    import subprocess

    done = subprocess.run(
        ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=SMI_TIMEOUT_S, check=True
    )
    return done.stdout


def _number(word: str) -> float | None:
    """Return what nvidia-smi printed as a number; `[N/A]` and its like are None."""
    try:
        return float(word)
    except ValueError:
        return None


def _bits(word: str) -> int | None:
    try:
        return int(word, 16)
    except ValueError:
        return None
