"""How long a report of a run takes to write, and that it keeps its size: 1,000, 3,500 and 20,000 rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.report import find_report, formats
from harness.store import Run
from tests.synthetic_run import example_run, least_squares_rows, matmul_rows, softmax_rows

PARTS = {
    "data": r'<script type="application/json".*?</script>',
    "script": r"<script>.*?</script>",
    "style": r"<style>.*?</style>",
    "figures": r'<svg class="panel.*?</svg>',
    "matrices": r'<table class="matrix">.*?</table>',
}
"""Parts of the page whose bytes are told; the rest is its text and small tables."""

MOST_BYTES = {1000: 1_500_000, 3500: 1_500_000, 20_000: 6_000_000}


def run_of(rows: int) -> Run:
    """Return a run of so many rows, their cells told apart."""
    measured = [*softmax_rows(), *least_squares_rows(), *matmul_rows()]
    repeated = [
        {**measured[n % len(measured)], "seed": n // len(measured), "data_error": n / rows}
        for n in range(rows)
    ]
    return example_run(repeated)


@pytest.mark.parametrize("rows", list(MOST_BYTES))
@pytest.mark.parametrize("name", formats())
def test_write(benchmark: BenchmarkFixture, tmp_path: Path, name: str, rows: int) -> None:
    report, run = find_report(name), run_of(rows)
    path = benchmark.pedantic(report.write, (run, tmp_path / report.file), rounds=3)
    benchmark.extra_info["bytes"] = path.stat().st_size
    if name == "html":
        text = path.read_text(encoding="utf-8")
        for part, pattern in PARTS.items():
            found = re.findall(pattern, text, re.DOTALL)
            benchmark.extra_info[part] = sum(len(piece.encode()) for piece in found)
    assert path.stat().st_size <= {"html": MOST_BYTES[rows], "markdown": 1 << 20}.get(name, 2500 * rows)
