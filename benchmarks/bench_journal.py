"""Speed of what is written down: an append, reading a journal back, rows, CSV both ways, a frame.

pytest benchmarks/bench_journal.py --benchmark-only -o python_files='bench_*.py'
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from harness import store
from harness.model import Case, Cell, Plan, Rule, SpeedSpec

CELLS = 10_000


def cell(number: int) -> Cell:
    return Cell(
        id=f"softmax-overflow/naive/numpy/float32/n={number}",
        case="softmax-overflow",
        operation="softmax",
        formulation="naive",
        backend="numpy",
        dtype="float32",
        mode="forward",
        axes={"n": number},
        profile="default",
        problem="p",
        topic="stability",
        guide=("NM4",),
        seed=0,
        outputs=("y",),
        speed=SpeedSpec(),
        rules=(Rule(),),
    )


def accuracy(number: int) -> dict[str, Any]:
    """Return a record with the content that a cell of softmax has."""
    metrics = {column.name: 0.1 * number for column in store.COLUMNS if column.kind == "number"}
    return {
        "kind": "accuracy",
        "cell": cell(number).id,
        "status": "ok",
        "device": "cpu",
        "compute_dtype": "float32",
        "inputs_digest": "0123456789abcdef" * 4,
        "flops": 100,
        "bytes": 400,
        "outputs": {"y": {"outcome": "ok", "elements": 8, "worst_index": "3", "undecided": 0, **metrics}},
    }


def timing(number: int) -> dict[str, Any]:
    """Return a record with the raw samples of 20 slots."""
    samples = [1e-6 * (1 + 0.01 * i) for i in range(20)]
    found = {"timer": "wall", "time_median_s": samples[10], "samples": 20, "calls": 256, "converged": True}
    return {
        "kind": "timing",
        "cell": cell(number).id,
        "status": "ok",
        "threads": 1,
        "timing": {**found, "raw": samples},
    }


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with store.Journal(path) as opened:
        for number in range(CELLS):
            opened.append(accuracy(number))
            opened.append(timing(number))
    return path


@pytest.fixture(scope="module")
def plan() -> Plan:
    case = Case("softmax-overflow", "Softmax", "stability", "softmax", ())
    return Plan(tuple(map(cell, range(CELLS))), {}, {case.name: case}, "default", {})


def test_append(benchmark: Any, tmp_path: Path) -> None:
    """One accuracy record, as it is written after each cell."""
    numbers = itertools.count()
    with store.Journal(tmp_path / "journal.jsonl") as opened:
        benchmark(lambda: opened.append(accuracy(next(numbers))))
    assert len(store.read(tmp_path / "journal.jsonl")) == next(numbers)


def test_read(benchmark: Any, journal: Path) -> None:
    """A journal of 10⁴ cells, accuracy and timing."""
    assert len(benchmark.pedantic(store.read, (journal,), rounds=3)) == 2 * CELLS


def test_rows(benchmark: Any, journal: Path, plan: Plan) -> None:
    """Rows of 10⁴ cells."""
    records = store.read(journal)
    found = benchmark.pedantic(store.rows, (plan, records), rounds=3)
    assert sum(row["time_median_s"] is not None for row in found) == CELLS


def test_write_results(benchmark: Any, journal: Path, plan: Plan, tmp_path: Path) -> None:
    """results.csv of 10⁴ rows."""
    found = store.rows(plan, store.read(journal))
    benchmark.pedantic(store.write_results, (found, tmp_path / "results.csv"), rounds=3)
    assert (tmp_path / "results.csv").read_bytes().count(b"\n") == CELLS + 1


def test_read_rows(benchmark: Any, journal: Path, plan: Plan, tmp_path: Path) -> None:
    """The same, read back."""
    store.write_results(store.rows(plan, store.read(journal)), tmp_path / "results.csv")
    assert len(benchmark.pedantic(store.read_rows, (tmp_path / "results.csv",), rounds=3)) == CELLS


def test_frame(benchmark: Any, journal: Path, plan: Plan) -> None:
    """A pandas frame of 10⁴ rows."""
    found = store.rows(plan, store.read(journal))
    assert len(benchmark.pedantic(store.frame, (found,), rounds=3, warmup_rounds=1)) == CELLS
