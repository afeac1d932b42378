"""Speed of execution: what a cell costs beside its arithmetic, with real workers and referees.

pytest benchmarks/bench_execute.py --benchmark-only -o python_files='bench_*.py'
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from harness import api, store
from harness.execute import Executed, Options, execute
from harness.model import Plan

CASE = """
case: many-tiny
title: Many tiny cells
topic: speed
operation: softmax
formulations: [naive, shifted]
backends: [{backends}]
dtypes: [float64, float32]
axes:
  high: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
  low: [{lows}]
inputs:
  x: {{recipe: linspace, low: $low, high: $high, shape: [8]}}
"""


def tiny_plan(folder: Path, cells: int, backends: tuple[str, ...]) -> Plan:
    """Return a plan of cells of 8 elements: 2 formulations and 2 dtypes, 10 values a line."""
    lows = ", ".join(str(-1 - i) for i in range(cells // (len(backends) * 2 * 2 * 10)))
    path = folder / "many-tiny.yaml"
    path.write_text(CASE.format(backends=", ".join(backends), lows=lows))
    return api.plan([path])


@pytest.mark.parametrize("backends", [("numpy",), ("numpy", "torch-cpu")], ids="+".join)
@pytest.mark.parametrize("cache", ["empty", "filled"])
def test_a_thousand_tiny_cells(
    benchmark: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    backends: tuple[str, ...],
    cache: str,
) -> None:
    """1,000 accuracy-only cells with tiny input, from the plan to the last record, starts included."""
    plan = tiny_plan(tmp_path, 1000, backends)
    runs = itertools.count()

    def run(references: Path) -> Executed:
        folder = tmp_path / f"run-{next(runs)}"
        folder.mkdir()
        with store.Journal(folder / "journal.jsonl") as journal:
            return execute(plan, folder=folder, cache=references, journal=journal, options=Options())

    if cache == "filled":
        run(tmp_path / "cache")
    found = benchmark.pedantic(
        run,
        setup=lambda: ((tmp_path / ("cache" if cache == "filled" else f"cache-{next(runs)}"),), {}),
        rounds=3,
    )
    assert found.cells == len(plan.cells)
    assert found.statuses == {"ok": len(plan.cells)}
    milliseconds = 1e3 * benchmark.stats.stats.median / len(plan.cells)
    benchmark.extra_info.update(cells=len(plan.cells), ms_a_cell=milliseconds, peak_bytes=found.peak_bytes)
    with capsys.disabled():
        print(
            f"\n{len(plan.cells)} cells on {'+'.join(backends)}, cache {cache}: {milliseconds:.2f} ms a cell"
        )


def test_starting_and_ending(benchmark: Any, tmp_path: Path) -> None:
    """One cell on NumPy: what starting and ending the children costs."""
    plan = tiny_plan(tmp_path, 40, ("numpy",))
    one = Plan(plan.cells[:1], plan.problems, plan.cases, plan.profile, plan.selection)
    runs = itertools.count()

    def run() -> Executed:
        folder = tmp_path / f"run-{next(runs)}"
        folder.mkdir()
        with store.Journal(folder / "journal.jsonl") as journal:
            return execute(one, folder=folder, cache=tmp_path / "cache", journal=journal, options=Options())

    assert benchmark.pedantic(run, rounds=5).statuses == {"ok": 1}
