"""Dtypes whose mode is a setting of the library: a worker for each, from the plan to the row."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness import api, catalogue
from harness.errors import CouldNotMeasureError
from harness.execute.problems import worker_key
from harness.execute.programs import Programs, WorkerKey, flags_of
from harness.registry import BACKENDS
from tests.test_store import make_cell

CASE = """
case: modes
title: A log-sum-exp in two modes
topic: stability
operation: logsumexp
formulations: [library, shifted]
backends: [{backend}]
dtypes: [float32, bfloat16]
inputs:
  x: {{recipe: normal, shape: [64]}}
measure: {{accuracy: {{}}, speed: {{budget_s: 0.05}}}}
"""


def test_the_settings_of_a_dtype_are_part_of_its_worker():
    catalogue.load()
    keys = {
        d: worker_key(make_cell(backend="torch-cuda", dtype=d)) for d in BACKENDS["torch-cuda"].capabilities
    }
    assert keys["float64"] == keys["float32"] == keys["bfloat16"] == WorkerKey("torch-cuda", 1)
    assert keys["tf32"] == WorkerKey("torch-cuda", 1, (("fp32_precision", "tf32"),))
    assert len(set(keys.values())) == 5
    assert keys["tf32"].name == "torch-cuda-1t-fp32_precision=tf32"
    assert WorkerKey("numpy", 2).name == "numpy-2t"


def test_a_worker_is_started_with_its_settings():
    catalogue.load()
    for dtype in ("float32", "float16_reduced"):
        key = WorkerKey("torch-cuda", 1, flags_of("torch-cuda", dtype))
        command = Programs().worker_command(key, 1 << 30)
        flags = json.loads(command[command.index("--flags") + 1])
        assert flags == BACKENDS["torch-cuda"].flags.get(dtype, {})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The case on the planted device, in processes of its own."""
    folder = tmp_path_factory.mktemp("modes")
    (folder / "modes.yaml").write_text(CASE.format(backend="device"))
    plugin = str(Path(__file__).resolve().parent / "planted" / "device_with_modes.py")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "modes.yaml", "--plugin", plugin, "--out", "run"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return harness.load(folder / "run")


def test_each_mode_was_computed_by_a_worker_of_its_own(run):
    children = run.header["environment"]["children"]
    assert "rounding" not in children["device-1t"]
    assert children["device-1t-rounding=twice"]["rounding"] == "twice"
    assert {row["verdict"] for row in run.rows} == {"pass"}
    assert {row["device"] for row in run.rows} == {"Planted 9000"}


def test_peaks_of_a_dtype_are_those_of_its_mode_and_bandwidth_is_measured_once_a_device(run):
    """SciPy computes bfloat16 in float64, whose peak the worker of the bfloat16 mode does not tell."""
    assert "float64" in {row["compute_dtype"] for row in run.rows}
    peaks = run.header["environment"]["peaks"]
    assert sorted(p["dtype"] for p in peaks if p["kind"] == "peak") == ["bfloat16", "float32"]
    (bandwidth,) = (p for p in peaks if p["kind"] == "bandwidth")
    assert bandwidth["device"] == "Planted 9000"


def test_each_timer_has_its_column_and_one_that_cannot_says_why(run):
    for row in run.rows:
        assert (row["timer"], row["cache"]) == ("cuda-cold", "cold"), "whatever is declared"
        assert row["time_cuda_cold_s"] == row["time_median_s"] > 0
        assert row["time_wall_s"] > 0
        assert row["time_cuda_graph_s"] is None
        assert row["not_timed_by"] == "cuda-graph: it waits for the device: planted"


def test_without_a_gpu_its_cells_are_skipped_for_the_backends_reason(tmp_path):
    catalogue.load()
    reason = BACKENDS["torch-cuda"].unavailable()
    if reason is None:
        pytest.skip("there is a GPU")
    path = tmp_path / "modes.yaml"
    path.write_text(CASE.format(backend="torch-cuda"))
    cells = api.plan([str(path)]).cells
    assert len(cells) == 4
    assert {(c.skip.word, c.skip.reason) for c in cells} == {("unavailable", reason)}
    with pytest.raises(CouldNotMeasureError, match="torch-cuda is unavailable"):
        harness.run([str(path)], require=["torch-cuda"], out=tmp_path / "run")
