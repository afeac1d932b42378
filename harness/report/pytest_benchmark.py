"""Times as pytest-benchmark writes them, for its `compare` and for what reads its files.

Rounds are the slots of a timing as the journal holds them, seconds a call. Each is the fastest of a few
blocks (docs/timing.md), which `extra_info` says: minimum, mean and deviation are those of the slots.
"""

from __future__ import annotations

import json
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.report import Report, register_report
from harness.report.json import plain, spelt
from harness.report.view.rows import Row, axes_of, grouped, is_cold, text_of
from harness.report.view.text import present

if TYPE_CHECKING:
    from harness.store import Run

_ERRORS: Final = (
    "outcome", "verdict", "bound_ratio", "max_ulp", "median_ulp", "bits", "norm_rel_error", "backward_error",
    "condition", "inputs_digest", "result_digest",
)  # fmt: skip
_TIMING: Final = (
    "time_median_s", "time_ci_low_s", "time_ci_high_s", "converged", "overhead_fraction", "noise", "gflops",
    "gbps", "peak_fraction", "peak_memory_bytes",
)  # fmt: skip


def write(run: Run, path: Path) -> Path:
    """Write a benchmark for each timed cell.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    text = json.dumps(plain(document(run)), ensure_ascii=False, allow_nan=False, indent=1)
    replace_text(path, spelt(text) + "\n")
    return path


def document(run: Run) -> dict[str, Any]:
    """Return a run in the form of pytest-benchmark 5; what a run does not know is None."""
    from harness.store import read
    from harness.store.run import JOURNAL

    timings = {r["cell"]: r for r in read(run.folder / JOURNAL) if r["kind"] == "timing"}
    cells = grouped(run.rows, lambda row: text_of(row, "cell"))
    timed = {name: rows for name, rows in cells.items() if present(rows[0].get("time_median_s"))}
    benchmarks, left_out = [], []
    for name, rows in timed.items():
        record = timings.get(name, {})
        samples = record.get("timing", {}).get("raw") or ()
        if len(samples) < 2:  # no deviation, which a reader takes a 0 for
            left_out.append(name)
        else:
            benchmarks.append(_benchmark(rows, record, samples))
    return {
        "machine_info": machine_info(run.header),
        "commit_info": commit_info(run.header),
        "benchmarks": benchmarks,
        "datetime": run.header.get("started"),
        "version": f"numerics-harness {run.header.get('harness')}",
        "left_out": left_out,
    }


def _benchmark(rows: Sequence[Row], record: Mapping[str, Any], samples: Sequence[float]) -> dict[str, Any]:
    row, timing = rows[0], record["timing"]
    blocks = timing.get("sub_blocks") or 1
    axes = axes_of(row)
    computed = {name: text_of(row, name) for name in ("operation", "formulation", "backend", "dtype")}
    problem = [
        text_of(row, "case"),
        text_of(row, "dtype"),
        *(f"{name}={value}" for name, value in axes.items()),
    ]
    if text_of(row, "mode") not in ("", "forward"):
        problem.append(text_of(row, "mode"))
    if is_cold(row):
        problem.append("cold")
    return {
        "group": " ".join(problem),
        "name": text_of(row, "cell"),
        "fullname": text_of(row, "cell"),
        "params": {**computed, **axes},
        "param": None,
        "extra_info": {
            "errors": {text_of(r, "output"): dict(_measured(r, _ERRORS)) for r in rows},
            "sample": f"seconds a call, the fastest of {blocks} blocks" if blocks > 1 else "seconds a call",
            "threads": record.get("threads"),
            **dict(_measured(row, _TIMING)),
        },
        "options": {"timer": timing.get("timer"), "cache": timing.get("cache")},
        "stats": {**statistics_of(samples), "data": list(samples), "iterations": timing["calls"]},
    }


def _measured(row: Row, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    return ((name, row[name]) for name in names if present(row.get(name)))


def statistics_of(samples: Sequence[float]) -> dict[str, Any]:
    """Return the statistics of at least two samples under pytest-benchmark's names.

    Quartiles are medians of the halves (Tukey's hinges), the middle of an odd number of samples weighted
    by a quarter and three quarters; `ld15iqr` and `hd15iqr` are the last samples inside the fences.
    """
    ordered = sorted(samples)
    n, mean, deviation = len(ordered), statistics.mean(ordered), statistics.stdev(ordered)
    low, high = quartiles(ordered)
    fences = (low - 1.5 * (high - low), high + 1.5 * (high - low))
    outside = sum(abs(x - mean) > deviation for x in ordered)
    beyond = sum(not fences[0] <= x <= fences[1] for x in ordered)
    total = sum(ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": n,
        "median": statistics.median(ordered),
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "iqr_outliers": beyond,
        "stddev_outliers": outside,
        "outliers": f"{outside};{beyond}",
        "ld15iqr": ordered[bisect_left(ordered, fences[0])],
        "hd15iqr": ordered[bisect_right(ordered, fences[1]) - 1],
        "ops": n / total,
        "total": total,
    }


def quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile of sorted samples, by methods 2 and 3 of Wikipedia's list."""
    n = len(ordered)
    if n % 2 == 0:
        return statistics.median(ordered[: n // 2]), statistics.median(ordered[n // 2 :])
    k = n // 4
    if n % 4 == 1:
        near, far = (ordered[k], ordered[k - 1]), (ordered[3 * k], ordered[3 * k + 1])
    else:
        near, far = (ordered[k], ordered[k + 1]), (ordered[3 * k + 2], ordered[3 * k + 1])
    return 0.75 * near[0] + 0.25 * near[1], 0.75 * far[0] + 0.25 * far[1]


def machine_info(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the machine of a run under pytest-benchmark's names."""
    known = header.get("environment") or {}
    system = str(known.get("platform") or "").split("-")
    return {
        "node": None,
        "processor": known.get("machine"),
        "machine": known.get("machine"),
        "python_implementation": known.get("implementation"),
        "python_implementation_version": known.get("python"),
        "python_version": known.get("python"),
        "system": system[0] or None,
        "release": system[1] if len(system) > 1 else None,
        "cpu": {"brand_raw": known.get("cpu"), "count": known.get("cores"), "arch": known.get("machine")},
        "packages": known.get("packages") or {},
    }


def commit_info(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the revision that a run was made from under pytest-benchmark's names."""
    revision = str((header.get("environment") or {}).get("revision") or "")
    return {
        "id": revision.removesuffix("+") or "unversioned",
        "time": None,
        "author_time": None,
        "dirty": revision.endswith("+"),
        "project": "numerics-harness",
        "branch": "(unknown)",
    }


register_report(
    Report("pytest-benchmark", "times for pytest-benchmark compare", "pytest-benchmark.json", write)
)
