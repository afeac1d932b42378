"""Times for pytest-benchmark: its numbers, of the journal's samples, and accepted by its `compare`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

from harness.report.pytest_benchmark import document, statistics_of, write
from harness.store import Journal, Run
from tests.synthetic_run import MATMUL, example_run, row

CELL = "matmul-square/library/numpy/float64/n=64"


def a_run(folder: Path, seed: int = 0, samples: int = 21, **values: Any) -> Run:
    """Return a run of two formulations, whose journal has the samples that its rows tell of."""
    folder.mkdir()
    scatter, rows = random.Random(seed), []
    with Journal(folder / "journal.jsonl") as journal:
        for formulation in ("library", "blocked"):
            raw = [1e-5 * scatter.uniform(1, 1.3) for _ in range(samples)]
            made = row(MATMUL, formulation, "numpy", "float64", {"n": 64}, "C", outcome="ok", bound_ratio=0.1)
            rows.append(
                {**made, "time_median_s": sorted(raw)[len(raw) // 2], "time_min_s": min(raw), **values}
            )
            timing = {"timer": "wall", "cache": values.get("cache"), "calls": 34, "sub_blocks": 4, "raw": raw}
            journal.append(
                {"kind": "timing", "cell": made["cell"], "status": "ok", "threads": 1, "timing": timing}
            )
    untimed = row(MATMUL, "library", "numpy", "float32", {"n": 64}, "C", outcome="ok")
    return example_run([*rows, untimed], folder=folder)


@given(st.lists(st.floats(1e-9, 10), min_size=2, max_size=40))
def test_statistics_are_those_of_pytest_benchmark(samples: list[float]) -> None:
    theirs = Stats()
    for sample in samples:
        theirs.update(sample)
    ours = statistics_of(samples)
    expected = theirs.as_dict()
    assert set(ours) == set(expected)
    # sums in another order: 40 roundings of 2⁻⁵³ each; the rest is comparisons and halves
    for name in ("mean", "stddev", "total", "ops", "median", "q1", "q3", "min", "max"):
        assert ours[name] == pytest.approx(expected[name], rel=40 * 2**-53, abs=1e-300)
    assert ours["rounds"] == expected["rounds"] == len(samples)
    assert (ours["ld15iqr"], ours["hd15iqr"]) == (expected["ld15iqr"], expected["hd15iqr"])
    assert ours["outliers"] == expected["outliers"]


def test_statistics_by_hand() -> None:
    found = statistics_of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0])
    assert (found["q1"], found["median"], found["q3"], found["iqr"]) == (2.5, 4.5, 6.5, 4.0)
    assert (found["ld15iqr"], found["hd15iqr"], found["outliers"]) == (1.0, 7.0, "1;1")
    assert (found["mean"], found["total"], found["ops"]) == (16.0, 128.0, 0.0625)
    fence = 6.5 + 1.5 * 4.0  # what lies on it is inside
    found = statistics_of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, fence])
    assert (found["hd15iqr"], found["iqr_outliers"]) == (fence, 0)


def test_cold_benchmarks_are_in_groups_of_their_own(tmp_path: Path) -> None:
    hot, cold = (document(a_run(tmp_path / c, cache=c))["benchmarks"][0] for c in ("hot", "cold"))
    assert hot["group"] == "matmul-square float64 n=64"
    assert cold["group"] == "matmul-square float64 n=64 cold"
    assert [b["options"]["cache"] for b in (hot, cold)] == ["hot", "cold"]


def test_a_benchmark_holds_the_samples_of_the_journal_and_the_errors(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a")
    made = json.loads(write(run, tmp_path / "a.json").read_text())
    first, second = made["benchmarks"]
    assert first["fullname"] == CELL
    assert (first["group"], second["group"]) == ("matmul-square float64 n=64",) * 2
    raw = Journal(run.folder / "journal.jsonl").records[0]["timing"]["raw"]
    assert first["stats"]["data"] == raw
    assert first["stats"]["mean"] == pytest.approx(sum(raw) / 21, rel=21 * 2**-53)
    assert (first["stats"]["rounds"], first["stats"]["iterations"]) == (21, 34)
    digest = run.rows[0]["inputs_digest"]
    assert first["extra_info"]["errors"] == {
        "C": {"outcome": "ok", "verdict": "pass", "bound_ratio": 0.1, "inputs_digest": digest}
    }
    assert first["extra_info"]["sample"] == "seconds a call, the fastest of 4 blocks"
    assert first["params"] == {
        "operation": "matmul", "formulation": "library", "backend": "numpy", "dtype": "float64", "n": 64,
    }  # fmt: skip
    assert made["machine_info"]["cpu"]["brand_raw"] == "AMD EPYC 7763 64-Core Processor"
    assert made["commit_info"]["id"] == "unversioned"
    assert made["left_out"] == []


def test_a_gradient_is_not_compared_with_its_value(tmp_path: Path) -> None:
    """Rows of one group are what pytest-benchmark sets beside each other."""
    (first, _) = document(a_run(tmp_path / "a", mode="backward"))["benchmarks"]
    assert first["group"] == "matmul-square float64 n=64 backward"


def test_what_has_no_samples_is_left_out_and_named(tmp_path: Path) -> None:
    assert document(a_run(tmp_path / "one", samples=1))["left_out"] == [
        CELL, "matmul-square/blocked/numpy/float64/n=64",
    ]  # fmt: skip
    run = a_run(tmp_path / "none")
    (run.folder / "journal.jsonl").unlink()
    made = document(run)
    assert (made["benchmarks"], len(made["left_out"])) == ([], 2)


def test_the_revision_of_a_changed_tree_is_dirty(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a")
    environment = {**run.header["environment"], "revision": "c9320147b80f+"}
    found = document(example_run(run.rows, folder=run.folder, environment=environment))["commit_info"]
    assert (found["id"], found["dirty"]) == ("c9320147b80f", True)


def test_pytest_benchmark_compares_two_runs(tmp_path: Path) -> None:
    paths = [
        write(a_run(tmp_path / name, seed), tmp_path / f"{name}.json")
        for seed, name in enumerate(("before", "after"))
    ]
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "--csv", "told.csv", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Failed to load" not in done.stdout + done.stderr
    assert "benchmark 'matmul-square float64 n=64': 4 tests" in done.stdout
    lines = (tmp_path / "told.csv").read_text().splitlines()
    assert len(lines) == 5
    assert sum("library/numpy" in line for line in lines) == 2
    between = [*command[:4], "--between", "mean,ops", *map(str, paths)]
    done = subprocess.run(between, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert CELL in done.stdout
