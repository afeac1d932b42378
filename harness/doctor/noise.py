"""How much identical code differs from itself here: a base, its twin, and a head that is the same again.

They are measured as a comparison measures its sides: by the same probes, laid out alike, in the same rounds,
on built-in kernels of 1 µs to 10 ms. So what is told is what a comparison would have.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from harness.doctor.sight import in_words, sight
from harness.errors import UserError
from harness.execute.loop import Loop, StopAsked
from harness.execute.options import Options, Unwritten
from harness.execute.programs import WorkerKey, flags_of
from harness.execute.progress import Estimate, Silent
from harness.execute.rounds import Series, SideError, Subject, Trio
from harness.execute.scratch import Scratch
from harness.execute.session import Session
from harness.execute.sets import probe_programs, set_of_workers
from harness.registry import Backend, support
from harness.timing import paired

if TYPE_CHECKING:
    from harness.execute.programs import Programs

ROUNDS: Final = paired.LOOKS[0]
"""As many as a comparison takes before it looks first."""

DTYPE: Final = "float32"

_BUDGET_S: Final = 6.0
"""What workers and rounds of one backend may take; then `paired.LEAST_ROUNDS` must do."""

_CONTENTS: Final = 61
"""Inputs are eighths of so many small integers in turn: exact in every format, far from its limits."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A built-in kernel: the first of these formulations that a backend has, on inputs of these shapes."""

    operation: str
    formulations: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def name(self) -> str:
        """What the doctor calls it: `softmax 32×256`."""
        sizes = "×".join(str(n) for n in next(iter(self.shapes.values())))
        return f"{self.operation} {sizes}"

    def formulation(self, backend: Backend) -> str | None:
        """Return which formulation is measured, or None: the backend has none of them."""
        able = (f for f in self.formulations if isinstance(support(self.operation, f, backend, DTYPE), str))
        return next(able, None)


def _square(n: int) -> Kernel:
    return Kernel("matmul", ("library",), {"a": (n, n), "b": (n, n)})


def _softmax(*shape: int) -> Kernel:
    return Kernel("softmax", ("shifted", "library"), {"x": shape})


KERNELS: Final = (
    Kernel("dot", ("library",), {"x": (65536,), "y": (65536,)}),
    _square(32),
    _softmax(32, 256),
    _square(96),
    _softmax(512, 512),
    _square(256),
    _softmax(1024, 1024),
    _square(512),
)
"""One that waits for memory and one that computes in each decade from 1 µs to 10 ms."""


def noise(
    backend: Backend,
    threads: int,
    *,
    cache: Path,
    plugins: Sequence[str] = (),
    programs: Programs | None = None,
    kernels: Sequence[Kernel] = KERNELS,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Return how much identical code differs from itself on one backend, as plain data.

    Parameters
    ----------
    backend, threads
        Whose workers.
    cache
        Folder of references, which are not needed.
    programs
        What is started instead of this interpreter's probe.

    Returns
    -------
    dict
        `kernels` and `decades` (see `sight`); `sees`, what that comes to in words; `layout`, whether the
        workers are laid out alike; `seconds`; `without`, by kernel why it was not measured; `reason` if none
        could be.
    """
    start = clock()
    found: dict[str, Any] = {"kernels": [], "without": {}}
    if getattr(backend, "device", "cpu") == "cuda":
        reason = "each comparison on a GPU tells its own"
        return {**found, "decades": [], "sees": in_words([]), "reason": reason}
    try:
        with tempfile.TemporaryDirectory(prefix="harness-doctor-") as folder:
            _measure(found, backend, threads, Path(folder), cache, plugins, programs, kernels, clock)
    except (UserError, OSError) as error:
        found["reason"] = str(error)
    if not found["kernels"] and "reason" not in found:
        found["reason"] = next(iter(found["without"].values()), "no kernel was measured")
    decades = sight(found["kernels"])
    return {**found, "decades": decades, "sees": in_words(decades), "seconds": clock() - start}


def _measure(
    found: dict[str, Any],
    backend: Backend,
    threads: int,
    folder: Path,
    cache: Path,
    plugins: Sequence[str],
    programs: Programs | None,
    kernels: Sequence[Kernel],
    clock: Callable[[], float],
) -> None:
    started = programs or probe_programs(sys.executable, plugins)
    key = WorkerKey(backend.name, threads, flags_of(backend.name, DTYPE))
    largest = max(_input_bytes(kernel) for kernel in kernels)
    scratch = Scratch(largest_bytes=largest)
    try:
        with Loop() as loop:
            session = Session(
                folder, cache, Options(), Unwritten(), Silent(), Estimate(0, 0.0, 0), loop, scratch
            )
            chance = random.Random()  # noqa: S311
            trio = set_of_workers(
                session, {"base": key, "head": key}, {"base": started, "head": started}, chance
            )
            try:
                series = _rounds(trio, found, _subjects(backend, threads, kernels, scratch.inputs), clock)
            finally:
                trio.close(patience_s=0)
            layouts = {str(facts.get("layout", "not told")) for facts in session.facts.values()}
    except StopAsked:
        raise KeyboardInterrupt from None
    finally:
        scratch.close()
    found["layout"] = layouts.pop() if len(layouts) == 1 else "not told"
    found["kernels"] = [_summary(one) for one in series if one.rounds]


def _subjects(backend: Backend, threads: int, kernels: Sequence[Kernel], folder: Path) -> list[Subject]:
    """Return what is measured in turn; the inputs are written to files, as referees write them."""
    subjects = []
    for kernel in kernels:
        formulation = kernel.formulation(backend)
        if formulation is None:
            continue
        inputs = {name: _written(folder, shape) for name, shape in kernel.shapes.items()}
        request = {
            "cell": kernel.name,
            "operation": kernel.operation,
            "formulation": formulation,
            "dtype": DTYPE,
            "inputs": inputs,
            "parameters": {},
            "cache": "hot",
            "input_bytes": _input_bytes(kernel),
        }
        requests = dict.fromkeys(("base", "twin", "head"), request)
        subjects.append(Subject(kernel.name, requests, _BUDGET_S, threads))
    return subjects


def _written(folder: Path, shape: tuple[int, ...]) -> str:
    """Write an input of this shape, unless it is there, and return its file."""
    import numpy as np

    from harness.formats import DTYPES
    from harness.formats.bits import encode

    path = folder / ("x".join(map(str, shape)) + ".npy")
    if not path.exists():
        values = (np.arange(prod(shape)) % _CONTENTS - _CONTENTS // 2) / 8
        np.save(path, encode(DTYPES[DTYPE].storage, values.reshape(shape)), allow_pickle=False)
    return str(path)


def _input_bytes(kernel: Kernel) -> int:
    return sum(4 * prod(shape) for shape in kernel.shapes.values())


def _rounds(
    trio: Trio, found: dict[str, Any], subjects: Sequence[Subject], clock: Callable[[], float]
) -> list[Series]:
    """Take the rounds of all subjects in turn; what cannot be measured is told in `without`."""
    active, start = list[Series](), clock()
    for subject in subjects:
        try:
            active.append(trio.begin(subject, clock))
        except SideError as error:
            found["without"][subject.name] = str(error)
            if error.kind in ("crashed", "timeout"):
                break  # so would the next, and be waited for as long
    all_series = list(active)
    for done in range(ROUNDS):
        if done >= paired.LEAST_ROUNDS and clock() - start > _BUDGET_S:
            break
        for series in list(active):
            try:
                trio.round(series, clock)
            except SideError as error:
                found["without"][series.subject.name] = str(error)
                active.remove(series)
    return all_series


def _summary(series: Series) -> dict[str, Any]:
    """Return one kernel: seconds of a call, and ln of both ratios of identical code with their intervals."""
    told = {"null": series.nulls(), "head": series.ds()}
    return {
        "kernel": series.subject.name,
        "seconds": series.median_s("base"),
        "rounds": len(series.rounds),
        **{name: _ratio(ds) for name, ds in told.items()},
    }


def _ratio(ds: Sequence[float]) -> dict[str, float | None]:
    """Return the median of ln of a ratio, its 95 % interval, and the noise of one round (1.4826 · MAD)."""
    interval, middle = paired.interval(ds, looks=1), median(ds)
    return {
        "median": middle,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "round": 1.4826 * median(abs(d - middle) for d in ds),
    }
