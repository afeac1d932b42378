"""How long a report of a run takes to write, and that it keeps its size: 1,000 and 3,000 rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.report import find_report, formats
from harness.store import Run
from tests.synthetic_run import example_run, least_squares_rows, matmul_rows, softmax_rows


def run_of(rows: int) -> Run:
    """Return a run of so many rows, their cells told apart."""
    measured = [*softmax_rows(), *least_squares_rows(), *matmul_rows()]
    repeated = [{**measured[n % len(measured)], "seed": n // len(measured)} for n in range(rows)]
    return example_run(repeated)


@pytest.mark.parametrize("rows", [1000, 3000])
@pytest.mark.parametrize("name", formats())
def test_write(benchmark: BenchmarkFixture, tmp_path: Path, name: str, rows: int) -> None:
    report, run = find_report(name), run_of(rows)
    path = benchmark(report.write, run, tmp_path / report.file)
    benchmark.extra_info["bytes"] = path.stat().st_size
    assert path.stat().st_size <= {"html": 1500 * rows, "markdown": 1 << 20}.get(name, 2000 * rows)
