import subprocess
import sys
from types import SimpleNamespace

import pytest

from harness.timing import clocks
from harness.timing.clocks import GpuPace, Reading, UnreadPace, gpu_pace, limits_in_words, nvml_pace, smi_pace


class NotSupportedError(Exception):
    pass


def nvml(clock=1500, default=1400, highest=1980, refused=(), bits=0x4 | 0x20):
    """Return a stand-in for the module pynvml."""

    def told(name, value):
        def call(*arguments):
            if name in refused:
                raise NotSupportedError("Not Supported")
            return value

        return call

    values = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByUUID": "handle",
        "nvmlDeviceGetClockInfo": clock,
        "nvmlDeviceGetDefaultApplicationsClock": default,
        "nvmlDeviceGetMaxClockInfo": highest,
        "nvmlDeviceGetPowerUsage": 312_500,
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetCurrentClocksEventReasons": bits,
    }
    functions = {name: told(name, value) for name, value in values.items()}
    return SimpleNamespace(NVMLError=NotSupportedError, NVML_CLOCK_SM=1, NVML_TEMPERATURE_GPU=0, **functions)


def test_nvml_tells_clock_power_temperature_and_what_limits_them():
    pace = nvml_pace(nvml(), "GPU-1")
    assert pace.state() == {
        "sm_clock_mhz": 1500,
        "power_w": 312.5,
        "temperature_c": 61,
        "clock_limited_by": "power cap, software thermal slowdown",
    }
    assert pace.about == {"clocks": "NVML", "sm_clock_default_mhz": 1400}


@pytest.mark.parametrize(("clock", "steady"), [(1050, True), (1049, False), (1980, True)])
def test_three_quarters_of_the_default_clock_are_steady(clock, steady):
    assert nvml_pace(nvml(clock=clock), "GPU-1").steady() is steady  # 0.75 · 1400 = 1050


def test_without_a_default_the_highest_clock_stands_for_it():
    pace = nvml_pace(nvml(clock=1400, refused=("nvmlDeviceGetDefaultApplicationsClock",)), "GPU-1")
    assert pace.default_mhz == 1980
    assert not pace.steady()


def test_where_no_clock_is_known_to_be_normal_nothing_is_discarded_and_that_is_said():
    refused = (
        "nvmlDeviceGetDefaultApplicationsClock",
        "nvmlDeviceGetMaxClockInfo",
        "nvmlDeviceGetPowerUsage",
    )
    pace = nvml_pace(nvml(clock=10, refused=refused), "GPU-1")
    assert pace.steady()
    assert pace.about == {"clocks": "NVML; no sample was discarded for a low clock"}
    assert "power_w" not in pace.state()


def test_a_clock_that_is_not_told_any_more_speaks_against_no_sample():
    assert GpuPace(lambda: Reading(power_w=300.0), 1400.0, "NVML", between_slots=True).steady()


def test_a_gpu_whose_clock_nvml_does_not_tell_is_not_read_by_it():
    with pytest.raises(NotSupportedError):
        nvml_pace(nvml(refused=("nvmlDeviceGetClockInfo",)), "GPU-1")


@pytest.mark.parametrize(
    ("bits", "words"),
    [(0, "none"), (1, "idle"), (0x88, "hardware slowdown, power brake"), (0x1001, "idle, 0x1000")],
)
def test_limits_are_bits(bits, words):
    assert limits_in_words(bits) == words


def smi(query="1410, 350.25, 58, 0x0000000000000004\n", clocks_="1980, 1980\n"):
    def ask(arguments):
        assert arguments[0] == "--id=GPU-1"
        return query if "clocks.sm" in arguments[1] else clocks_

    return ask


def test_nvidia_smi_tells_the_same_but_not_between_slots():
    pace = smi_pace(smi(), "GPU-1")
    assert pace.state() == {
        "sm_clock_mhz": 1410.0,
        "power_w": 350.25,
        "temperature_c": 58.0,
        "clock_limited_by": "power cap",
    }
    assert pace.about["clocks"] == "nvidia-smi; no sample was discarded for a low clock"
    assert smi_pace(smi(clocks_="1400, 1980\n"), "GPU-1").default_mhz == 1400.0, "the highest is no default"
    assert GpuPace(lambda: Reading(1.0), 1980.0, "nvidia-smi", between_slots=False).steady()


def test_what_nvidia_smi_does_not_tell_is_left_out():
    pace = smi_pace(smi("1410, [N/A], 58, [N/A]\n", "[N/A], 1980\n"), "GPU-1")
    assert pace.state() == {"sm_clock_mhz": 1410.0, "temperature_c": 58.0}
    assert pace.default_mhz == 1980.0


def test_where_nothing_reads_clocks_the_record_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    def missing(*arguments, **options):
        raise FileNotFoundError("no nvidia-smi")

    monkeypatch.setattr(subprocess, "run", missing)
    pace = gpu_pace("GPU-1")
    assert isinstance(pace, UnreadPace)
    assert pace.about == {"clocks": "not read: nvidia-ml-py is not installed; nvidia-smi: no nvidia-smi"}
    assert pace.steady()
    assert pace.state() == {}


def test_nvml_that_does_not_start_leaves_it_to_nvidia_smi(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(refused=("nvmlInit",)))
    monkeypatch.setattr(clocks, "_nvidia_smi", smi())
    assert gpu_pace("GPU-1").about["clocks"].startswith("nvidia-smi")
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    assert gpu_pace("GPU-1").about["clocks"] == "NVML"
