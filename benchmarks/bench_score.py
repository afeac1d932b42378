"""Judging: all metrics of one output, tiny and long, against a reference that is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import catalogue
from harness.formats import DTYPES, Precision, round_array
from harness.metrics.score import score
from harness.registry import OPERATIONS, ExactProblem


@pytest.mark.parametrize("n", [8, 1024, 65536])
def test_score_softmax(benchmark: Any, n: int) -> None:
    catalogue.load()
    dtype, operation = DTYPES["float32"], OPERATIONS["softmax"]
    x = round_array(dtype.storage, np.linspace(0.0, 20.0, n))
    problem = ExactProblem("softmax", {"x": x}, {"axis": -1}, dtype)
    reference = operation.reference(problem)
    e = np.exp((x - x.max()).astype(np.float32))
    outputs = {operation.outputs[0]: (e / e.sum()).astype(np.float64)}
    precision = Precision.of(dtype, "float32")
    rows = benchmark(lambda: score(operation, problem, reference, outputs, precision))
    benchmark.extra_info["elements"] = n
    assert rows[operation.outputs[0]]["bound_ratio"] <= 1
