"""The noise floor: measured by real probes once, by planted ones for what can go wrong."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import catalogue
from harness.doctor import noise as measured
from harness.doctor.noise import KERNELS, Kernel, noise
from harness.errors import CouldNotMeasureError
from harness.execute.programs import Programs
from harness.execute.rounds import Series, Subject
from harness.registry import BACKENDS
from harness.timing.statistics import median_interval

SMALL = (
    Kernel("dot", ("library",), {"x": (64,), "y": (64,)}),
    Kernel("softmax", ("shifted", "library"), {"x": (4, 8)}),
)


@pytest.fixture(autouse=True)
def _catalogue() -> None:
    catalogue.load()


def test_identical_code_is_measured_against_itself(tmp_path: Path) -> None:
    found = noise(BACKENDS["numpy"], 1, cache=tmp_path, kernels=SMALL)
    assert [k["kernel"] for k in found["kernels"]] == ["dot 64", "softmax 4×8"]
    assert found["without"] == {}
    assert "reason" not in found
    for told in found["kernels"]:
        assert 8 <= told["rounds"] <= 20
        assert told["seconds"] > 0
        for which in ("null", "head"):
            assert told[which]["low"] <= told[which]["median"] <= told[which]["high"]
            assert math.isfinite(told[which]["round"])
    assert found["layout"] in ("as in every other worker", "random")
    assert sum(d["kernels"] for d in found["decades"]) == 2
    assert "a slowdown of 5 %" in found["sees"]
    assert not list(tmp_path.iterdir())  # no reference is needed


def test_every_host_backend_has_each_kernel_and_a_gpu_none(tmp_path: Path) -> None:
    for name in ("numpy", "torch-cpu"):
        assert all(kernel.formulation(BACKENDS[name]) for kernel in KERNELS)
    found = noise(BACKENDS["torch-cuda"], 1, cache=tmp_path)
    assert found["kernels"] == found["decades"] == []
    assert "GPU" in found["reason"]


def test_a_kernel_is_the_first_formulation_that_a_backend_has() -> None:
    assert SMALL[1].formulation(BACKENDS["numpy"]) == "shifted"
    assert Kernel("softmax", ("no such", "library"), {}).formulation(BACKENDS["numpy"]) == "library"
    assert Kernel("softmax", ("no such",), {}).formulation(BACKENDS["numpy"]) is None


def test_both_ratios_of_a_series_are_told_with_their_intervals() -> None:
    series = Series(Subject("dot 64", {}, 1.0), "wall", "hot", 10, 4, (20,), 0.0)
    steps = [0.001 * n for n in range(-10, 10)]
    for step in steps:
        base, twin = 1e-6, 1e-6 * math.exp(step)
        head = 1e-6 * math.exp(0.02)
        series.rounds.append({"base": (base, base), "twin": (twin, twin), "head": (head, head)})
    found = measured._summary(series)
    assert (found["kernel"], found["rounds"]) == ("dot 64", 20)
    assert found["seconds"] == 1e-6
    interval = median_interval(steps)  # 95 %: the 6th and the 15th of 20
    assert interval is not None
    assert (interval.low, interval.high) == (steps[5], steps[14])
    assert found["null"]["median"] == pytest.approx(-0.0005)
    assert (found["null"]["low"], found["null"]["high"]) == pytest.approx((steps[5], steps[14]))
    assert found["null"]["round"] == pytest.approx(1.4826 * 0.005)
    # the twin is a base too: ln(head) − mean of ln(base), ln(twin)
    assert found["head"]["median"] == pytest.approx(0.02 + 0.00025)


def planted(tmp_path: Path, code: str) -> dict[str, Any]:
    programs = Programs(worker=(sys.executable, "-c", code))
    return noise(BACKENDS["numpy"], 1, cache=tmp_path, programs=programs, kernels=SMALL)


ANSWERING = """
import json, sys
hello = {"hello": 1, "status": "ok", "pid": 1, "backend": "numpy", "facts": {"layout": "random"}}
print(json.dumps(hello), flush=True)
slots = 0
for line in sys.stdin:
    asked = json.loads(line)
    reply = {"status": "ok"}
    if asked["do"] == "open":
        reply |= {"timers": ["wall"], "build_s": 1e-3}
    elif asked["do"] == "calibrate":
        reply |= {"calls": 3, "seconds_per_call": 2e-5, "overhead_fraction": 0.0}
        reply |= {"timer": "wall", "cache": "hot"}
    elif asked["do"] == "slot":
        slots += 1
        reply |= {"seconds": 2e-5}
        SPOILT
    print(json.dumps(reply), flush=True)
"""


def test_planted_times_come_out_as_they_are(tmp_path: Path) -> None:
    found = planted(tmp_path, ANSWERING.replace("SPOILT", ""))
    assert found["layout"] == "random"
    assert [(k["seconds"], k["rounds"]) for k in found["kernels"]] == [(2e-5, 20)] * 2
    (decade,) = found["decades"]
    assert (decade["decade"], decade["null"], decade["half_width"]) == (-5, 0.0, 0.0)
    assert found["sees"] == "can see a slowdown of 5 % in calls of 10 to 100 µs"


def test_a_slow_machine_takes_the_fewest_rounds_that_make_an_interval(tmp_path: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0  # each look at the clock
        return now[0]

    programs = Programs(worker=(sys.executable, "-c", ANSWERING.replace("SPOILT", "")))
    found = noise(BACKENDS["numpy"], 1, cache=tmp_path, programs=programs, kernels=SMALL, clock=clock)
    assert [k["rounds"] for k in found["kernels"]] == [8, 8]
    assert [d["kernels"] for d in found["decades"]] == [2]


def test_a_kernel_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    spoilt = "if 'dot' in asked['cell'] and slots > 12: reply = {'status': 'raised', 'error': 'E: no'}"
    found = planted(tmp_path, ANSWERING.replace("SPOILT", spoilt))
    rounds = {k["kernel"]: k["rounds"] for k in found["kernels"]}
    assert found["without"]["dot 64"].endswith("E: no")
    assert 0 < rounds["dot 64"] < 8  # too few for an interval: of no decade
    assert rounds["softmax 4×8"] == 20
    assert [d["kernels"] for d in found["decades"]] == [1]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.stderr.write('no such chip'); sys.exit(7)", "no such chip"),
        ('print(\'{"hello": 1, "status": "error", "error": "no BLAS"}\')', "no BLAS"),
    ],
)
def test_workers_that_do_not_start_are_a_reason(code: str, reason: str, tmp_path: Path) -> None:
    found = planted(tmp_path, code)
    assert reason in found["reason"]
    assert list(found["without"]) == ["dot 64"]  # the next was not waited for
    assert found["decades"] == []


@pytest.mark.parametrize("error", [CouldNotMeasureError("no room"), OSError("no room")])
def test_no_room_for_inputs_is_a_reason(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise error

    monkeypatch.setattr(measured, "Scratch", full)
    found = noise(BACKENDS["numpy"], 1, cache=tmp_path, kernels=SMALL)
    assert (found["reason"], found["decades"]) == ("no room", [])
    assert found["sees"].startswith("cannot tell")
