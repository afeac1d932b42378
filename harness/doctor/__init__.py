"""The machine, and what can be measured on it: clock, cores, memory, cache, backends, peaks, noise.

Peaks, bandwidth and BLAS are found by the workers that a run would start, and noise by those of a comparison,
so what is told here is what they would have.
"""

from __future__ import annotations

import os
import select
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from harness import catalogue
from harness.execute.child import Child, MalformedReplyError
from harness.execute.programs import Flags, Programs, WorkerKey, flags_of
from harness.registry import BACKENDS, Backend
from harness.store.environment import environment

_CLOCK_PAIRS: Final = 20_000
_CACHE_CHECK_S: Final = 2.0
_PATIENCE_S: Final = 60.0
_MEMORY_BYTES: Final = 2 << 30


def clock() -> dict[str, float]:
    """Return what reading the clock costs, and the smallest step it shows, in seconds.

    A timed block of one call holds one such reading; a pre-empted pair shows in the 99.9th percentile.
    """
    readings = [time.perf_counter_ns() for _ in range(_CLOCK_PAIRS + 1)]
    steps = sorted(b - a for a, b in pairwise(readings))
    positive = [s for s in steps if s > 0]
    return {
        "overhead_s": statistics.median(steps) * 1e-9,
        "overhead_p999_s": steps[len(steps) * 999 // 1000] * 1e-9,
        "smallest_step_s": positive[0] * 1e-9,
        "declared_resolution_s": time.get_clock_info("perf_counter").resolution,
    }


def machine() -> dict[str, Any]:
    """Return processor, cores, memory, load, clock governor and versions."""
    import psutil

    memory = psutil.virtual_memory()
    found = environment()
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    found |= {
        "cores_physical": psutil.cpu_count(logical=False),
        "memory_available_bytes": memory.available,
        "frequency_mhz": round(frequency.current) if frequency else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def disturbance(before: Any, after: Any, seconds: float) -> dict[str, float | None]:
    """Return what else ran between two `psutil.cpu_times()`: shares of the time of all cores."""
    total = seconds * (os.cpu_count() or 1)
    steal = getattr(after, "steal", None)
    return {
        "seconds": seconds,
        "steal_fraction": None if steal is None else (steal - before.steal) / total,
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def cache(folder: Path) -> dict[str, Any]:
    """Return where references are kept, how many, how large, and whether those read back are whole.

    Entries are read in the order of their names until two seconds are over.
    """
    from harness.reference.cache import DamagedEntryError, loads

    entries = sorted(folder.glob("*/*.reference")) if folder.is_dir() else []
    damaged: list[str] = []
    checked = 0
    start = time.monotonic()
    for entry in entries:
        if time.monotonic() - start > _CACHE_CHECK_S:
            break
        checked += 1
        try:
            loads(entry.read_bytes(), entry.stem)
        except (DamagedEntryError, OSError):
            damaged.append(entry.name)
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    return {
        "folder": str(folder),
        "entries": len(entries),
        "bytes": sum(entry.stat().st_size for entry in entries),
        "checked": checked,
        "damaged": damaged,
        "writable": nearest.is_dir() and os.access(nearest, os.W_OK),
        "free_bytes": shutil.disk_usage(nearest).free,
    }


def examine(
    cache_folder: Path,
    *,
    threads: Sequence[int] = (1,),
    plugins: Sequence[str] = (),
    peaks: bool = True,
    noise: bool = True,
) -> dict[str, Any]:
    """Return everything the doctor can tell, as plain data; takes some twenty seconds.

    Parameters
    ----------
    cache_folder
        Where references are kept.
    threads
        Numbers of threads to start each backend with.
    peaks
        Whether to measure peaks and bandwidth; without, each backend is only started.
    noise
        Whether to measure how much identical code differs from itself on each backend.
    """
    import psutil

    from harness.doctor.noise import noise as measured
    from harness.doctor.processor import pace, processor
    from harness.doctor.sight import advice

    catalogue.load(plugins)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found: dict[str, Any] = {"machine": machine(), "clock": clock(), "cache": cache(cache_folder)}
    found |= {"load_before": load, "processor": processor(), "pace": pace()}
    start, before = time.monotonic(), psutil.cpu_times()
    found["backends"] = [
        told for backend in BACKENDS.values() for told in _backend(backend, threads, plugins, peaks)
    ]
    if noise:
        for told in found["backends"]:
            if told["available"]:
                backend = BACKENDS[told["backend"]]
                told["noise"] = measured(backend, told["threads"], cache=cache_folder, plugins=plugins)
    found["disturbance"] = disturbance(before, psutil.cpu_times(), time.monotonic() - start)
    found["advice"] = advice(found)
    return found


def _backend(
    backend: Backend, threads: Sequence[int], plugins: Sequence[str], peaks: bool
) -> Iterator[dict[str, Any]]:
    """Yield what one backend is, once for each number of threads, or why it cannot be had."""
    identity = {"backend": backend.name, "title": backend.title}
    lack = backend.unavailable()
    if lack is not None:
        yield {**identity, "available": False, "reason": lack}
        return
    for number in threads:
        try:
            with _Worker(WorkerKey(backend.name, number), plugins) as worker:
                told = {**identity, "available": True, "threads": number, "facts": worker.facts}
                if peaks:
                    told |= _peaks(worker, backend) | _bandwidth(worker)
            if peaks:
                _add_peaks_of_modes(told, backend, number, plugins)
        except _WorkerError as error:
            told = {**identity, "available": False, "threads": number, "reason": str(error)}
        yield told


def _peaks(worker: _Worker, backend: Backend, flags: Flags = ()) -> dict[str, Any]:
    """Return the peaks of the dtypes whose settings a worker has, and why there are none."""
    products = (d for d, groups in backend.capabilities.items() if isinstance(groups.get("matmul"), str))
    dtypes = [d for d in products if flags_of(backend.name, d) == flags]
    gflops = {d: worker.ask({"do": "peak", "dtype": d}) for d in dtypes}
    return {
        "gflops": {d: reply["gflops"] for d, reply in gflops.items() if reply["status"] == "ok"},
        "without_peak": {d: reply["error"] for d, reply in gflops.items() if reply["status"] != "ok"},
    }


def _bandwidth(worker: _Worker) -> dict[str, Any]:
    return {"gbps": worker.ask({"do": "bandwidth"}).get("gbps")}


def _add_peaks_of_modes(told: dict[str, Any], backend: Backend, threads: int, plugins: Sequence[str]) -> None:
    """Add the peaks of dtypes that have settings of their own, each measured by a worker that has them."""
    modes: dict[Flags, list[str]] = {}
    for dtype in backend.flags:
        modes.setdefault(flags_of(backend.name, dtype), []).append(dtype)
    for flags, dtypes in modes.items():
        try:
            with _Worker(WorkerKey(backend.name, threads, flags), plugins) as worker:
                for name, found in _peaks(worker, backend, flags).items():
                    told[name] |= found
        except _WorkerError as error:
            told["without_peak"] |= dict.fromkeys(dtypes, str(error))


class _WorkerError(Exception):
    """A worker did not start, or did not answer."""


class _Worker:
    """A worker that is asked one thing at a time; ends with the block."""

    def __init__(self, key: WorkerKey, plugins: Sequence[str]) -> None:
        programs = Programs(plugins=plugins)
        self._log = tempfile.TemporaryDirectory(prefix="harness-doctor-")
        self._child = Child(
            key.name,
            programs.worker_command(key, _MEMORY_BYTES),
            programs.worker_environment(key),
            Path(self._log.name) / "log",
        )
        try:
            hello = self._next()
            if hello.get("status") != "ok":
                raise _WorkerError(f"does not start: {hello.get('error')}")
        except BaseException:
            self.__exit__()
            raise
        self.facts: Mapping[str, str] = hello["facts"]

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply to one request."""
        self._child.send(request)
        return self._next()

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            ready, _, _ = select.select([self._child.replies], [], [], max(0.0, deadline - time.monotonic()))
            try:
                replies = self._child.receive() if ready else []
            except MalformedReplyError as error:
                raise _WorkerError(f"said what is no reply: {error}") from None
            if replies:
                return replies[0]
            if self._child.ended:
                self._child.kill()
                raise _WorkerError(f"ended with {self._child.exit_in_words()}: {self._child.last_words()}")
            if not ready:
                raise _WorkerError(f"gave no answer in {_PATIENCE_S:.0f} s: {self._child.last_words()}")

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._log.cleanup()
