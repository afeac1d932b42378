"""What the doctor tells: from real workers once, from planted ones for what can go wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import doctor
from harness.cli import main
from harness.execute.programs import Programs


def test_the_clock_costs_something_and_shows_steps() -> None:
    found = doctor.clock()
    assert 0 < found["smallest_step_s"] <= found["overhead_p999_s"]
    assert 0 <= found["overhead_s"] <= found["overhead_p999_s"]
    assert found["declared_resolution_s"] > 0


def test_steal_is_a_share_of_the_time_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    class Times:
        def __init__(self, steal: float) -> None:
            self.steal = steal

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    found = doctor.disturbance(Times(1.0), Times(3.0), seconds=10.0)
    assert found["steal_fraction"] == 2.0 / 40.0
    assert doctor.disturbance(object(), object(), 1.0)["steal_fraction"] is None


def test_the_cache_is_counted_and_damage_is_found(tmp_path: Path) -> None:
    from fractions import Fraction

    from harness.reference.cache import ReferenceCache
    from harness.reference.elements import Reference, ReferenceArray

    assert doctor.cache(tmp_path / "none" / "yet")["entries"] == 0
    assert doctor.cache(tmp_path / "none" / "yet")["writable"]
    (tmp_path / "file").touch()
    assert not doctor.cache(tmp_path / "file" / "below")["writable"]
    cache = ReferenceCache(tmp_path)
    reference = Reference({"y": ReferenceArray.from_fractions([Fraction(1, 3)], (1,))})
    keys = [format(n, "064x") for n in range(3)]
    for key in keys:
        cache.put(key, reference)
    whole = doctor.cache(tmp_path)
    assert (whole["entries"], whole["checked"], whole["damaged"]) == (3, 3, [])
    assert whole["bytes"] == sum(cache.path(key).stat().st_size for key in keys)
    assert whole["writable"]
    spoilt = cache.path(keys[1])
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    cache.path(keys[2]).write_bytes(cache.path(keys[0]).read_bytes())
    assert doctor.cache(tmp_path)["damaged"] == [f"{keys[1]}.reference", f"{keys[2]}.reference"]


def test_every_backend_is_started_or_its_lack_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import catalogue
    from harness.registry import BACKENDS

    catalogue.load()
    torch = type(BACKENDS["torch-cpu"])
    monkeypatch.setattr(torch, "unavailable", lambda self: "not installed: torch")
    found = doctor.examine(tmp_path, threads=(1, 2), peaks=False, noise=False)
    told = {(b["backend"], b.get("threads")): b for b in found["backends"]}
    assert told["numpy", 1]["facts"]["blas_threads"] == "1"
    assert told["numpy", 2]["facts"]["blas_threads"] == "2"
    assert told["numpy", 1]["facts"]["variables"] == "none"
    assert told["numpy", 1]["facts"]["simd"]
    assert told["torch-cpu", None]["reason"] == "not installed: torch"
    assert found["machine"]["cores_allowed"] >= 1
    assert not any("noise" in b for b in found["backends"])
    assert found["advice"] == []  # nothing was measured that could be better
    assert found["pace"]["control_s"] > 0


def planted(monkeypatch: pytest.MonkeyPatch, code: str, patience_s: float = 30.0) -> dict[str, Any]:
    """Return what is told of NumPy when its worker is the program `code`."""
    programs = Programs(worker=(sys.executable, "-c", code))
    monkeypatch.setattr("harness.doctor.Programs", lambda plugins: programs)
    monkeypatch.setattr(doctor, "_PATIENCE_S", patience_s)
    from harness import catalogue
    from harness.registry import BACKENDS

    catalogue.load()
    (told,) = doctor._backend(BACKENDS["numpy"], (1,), (), True)
    return told


ANSWERING = """
import json, sys
print(json.dumps({"hello": 1, "status": "ok", "facts": {"blas": "B"}}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "bandwidth":
        reply = {"status": "ok", "gbps": 12.5}
    elif asked["dtype"] == "float64":
        reply = {"status": "ok", "gflops": 40.0}
    else:
        reply = {"status": "raised", "error": "TypeError: no " + asked["dtype"]}
    print(json.dumps(reply), flush=True)
"""


def test_peaks_are_those_the_worker_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    told = planted(monkeypatch, ANSWERING)
    assert told["gflops"] == {"float64": 40.0}
    assert told["gbps"] == 12.5
    assert told["without_peak"] == {d: f"TypeError: no {d}" for d in ("float32", "bfloat16", "float16")}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.stderr.write('no such chip'); sys.exit(7)", "ended with exit code 7: no such chip"),
        ('print(\'{"hello": 1, "status": "error", "error": "no BLAS"}\')', "does not start: no BLAS"),
        ("print('{\"hello\": ')", "said what is no reply"),
        (
            'print(\'{"hello": 1, "status": "ok", "facts": {}}\', flush=True); import time; time.sleep(60)',
            "gave no answer in 1 s",
        ),
    ],
)
def test_a_worker_that_fails_is_a_lack_with_a_reason(
    code: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = planted(monkeypatch, code, patience_s=1.0 if "sleep" in code else 30.0)
    assert told["available"] is False
    assert reason in told["reason"]


def test_the_command_prints_both_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    found = {
        "machine": {
            "platform": "Linux", "cpu": "A", "cores": 2, "cores_allowed": 1, "python": "3.11", "packages": {},
            "implementation": "CPython", "executable": "/python", "variables": {"OMP_NUM_THREADS": "1"},
            "memory_available_bytes": 3 << 30, "memory_bytes": 4 << 30,
        },
        "clock": {"overhead_s": 6e-8, "overhead_p999_s": 1e-6, "smallest_step_s": 4e-8},
        "cache": {
            "folder": "/cache", "entries": 2, "bytes": 2048, "checked": 2, "damaged": ["x"],
            "writable": False, "free_bytes": 1 << 40,
        },
        "disturbance": {"steal_fraction": 0.25, "load_1min": 1.5},
        "load_before": 1.25,
        "processor": {
            "governors": ["powersave"], "mhz_now": [1200, 3400], "mhz_max": 3600, "turbo": True, "smt": False,
            "quota_cores": 1.5,
        },
        "pace": {"control_s": 4e-5, "scatter": 0.0123, "slowest": 0.5},
        "backends": [
            {"backend": "b", "title": "B", "available": True, "threads": 2, "facts": {"blas": "openblas"},
             "gflops": {"float64": 41.26}, "without_peak": {"tf32": "no cores"}, "gbps": 20.0,
             "noise": {
                 "decades": [{"decade": -6, "kernels": 2, "null": 0.0123, "half_width": 0.041,
                              "threshold": 0.0374, "visible": 0.08}],
                 "without": {"matmul 8×8": "head: killed"}, "layout": "random", "sees": "can see this",
             }},
            {"backend": "d", "title": "D", "available": True, "threads": 1, "facts": {},
             "noise": {"decades": [], "without": {}, "sees": "cannot", "reason": "no kernel"}},
            {"backend": "c", "title": "C", "available": False, "reason": "not installed: c"},
        ],
        "advice": ["end other work"],
    }  # fmt: skip
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: found)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "processor A, 2 cores, 1 allowed", "memory 4 GiB, 3 GiB available", "load 1.50, steal 25.0%",
        "variables OMP_NUM_THREADS=1", "reading 60 ns, one in a thousand 1000 ns",
        "folder /cache (1 TiB free, not writable)", "entries 2, 2 KiB; 1 damaged of 2 read",
        "b (B, threads: 2)", "blas openblas", "peak float64 41.3 GFLOP/s", "peak tf32 no cores",
        "bandwidth 20 GB/s", "quota 1.5 cores' time",
        "frequency 1200 to 3400 MHz, at most 3600, governor powersave, turbo on, SMT off",
        "pace 40.0 µs for a fixed loop, scatter 1.2 %, slowest 50 % longer",
        "1 to 10 µs identical code differs by 1.2 %, interval ±4.1 %, δ 3.7 %", "matmul 8×8 head: killed",
        "addresses random: workers of identical code differ, by some percent below 10 µs",
        "comparisons this machine can see this", "noise not measured: no kernel",
        "to see a slowdown of 5 % everywhere", "- end other work", "c (C)", "unavailable not installed: c",
    ):  # fmt: skip
        assert line in lines
    assert main(["doctor", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["backends"][0]
    assert told["gflops"] == {"float64": 41.26}
    assert told["noise"]["decades"][0]["visible"] == 0.08


def test_what_is_not_told_of_the_clock_is_said_so() -> None:
    from harness.cli.doctor_command import _frequency

    assert _frequency({}, {}) == "not told, governor not told, turbo not told, SMT not told"
    assert _frequency({"frequency_mhz": 2596}, {"smt": True}).startswith("2596 MHz, governor not told")


@pytest.mark.parametrize(("option", "asked"), [([], True), (["--no-noise"], False)])
def test_noise_is_measured_unless_it_is_switched_off(
    option: list[str], asked: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    seen: dict[str, Any] = {}

    def examine(*_: object, **given: Any) -> dict[str, Any]:
        seen.update(given)
        return {"backends": []}

    monkeypatch.setattr(doctor, "examine", examine)
    assert main(["doctor", "--format", "json", *option]) == 0
    assert seen["noise"] is asked
