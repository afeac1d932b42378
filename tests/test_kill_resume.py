"""A run killed at any moment: no finished cell is lost or repeated, no child survives, no bit differs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness import store
from harness.store.columns import SPEED

FAKE = Path(__file__).with_name("fake_children.py")
ROOT = FAKE.parents[1]
CELLS, TIMED = 120, 16


def start(folder: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start a parent that executes a plan of fake cells, with a log of every kernel that runs."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FAKE_LOG": str(folder / "kernels"),
        "FAKE_PAUSE": "0.02",
        **variables,
    }
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(FAKE), "parent", str(folder), str(CELLS), str(TIMED)]
    with (folder / "told").open("wb") as told:
        return subprocess.Popen(command, env=environment, stderr=told, cwd="/")


def told(folder: Path) -> str:
    """Return what the latest parent wrote to its standard error."""
    return (folder / "told").read_text()


REAL_CASE = """
case: softmax-small
title: Softmax of a few numbers
topic: test
operation: softmax
formulations: [naive, shifted]
backends: [numpy]
dtypes: [float64, float32, float16]
axes:
  n: [4, 16, 64, 256]
  top: {unit: ln_max, times: [0.5, 2]}
inputs:
  x: {recipe: linspace, low: 0, high: $top, shape: [$n]}
measure:
  accuracy: {}
  speed: {where: {n: 16, dtype: float64}, budget_s: 0.05}
expect:
  - {where: {formulation: naive}, breaks: maybe}
"""


def start_real(folder: Path) -> subprocess.Popen[bytes]:
    """Start the command line on a small case with the real worker and referee."""
    folder.mkdir(exist_ok=True)
    (folder / "case.yaml").write_text(REAL_CASE)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HARNESS_CACHE": str(folder.parent / "cache"),
        "FAKE_LOG": str(folder / "kernels"),  # marks its processes
    }
    command = [sys.executable, "-m", "harness", "run", str(folder / "case.yaml")]
    command += ["--out", str(folder / "run"), "--resume"]
    with (folder / "told").open("wb") as told:
        return subprocess.Popen(command, env=environment, stderr=told, stdout=told, cwd="/")


def marked(folder: Path) -> list[int]:
    """Return the living processes that write to this folder's log of kernels, parents and children."""
    mark = f"FAKE_LOG={folder / 'kernels'}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def await_none(folder: Path, seconds: float = 10.0) -> list[int]:
    """Wait until no process of a run is left, and return those that are left all the same."""
    deadline = time.monotonic() + seconds
    while (left := marked(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def accuracy_of(folder: Path) -> list[dict[str, Any]]:
    """Return a run's rows without what a clock said."""
    speed = {column.name for column in SPEED} - {"flops", "bytes"}
    return [{k: v for k, v in row.items() if k not in speed} for row in store.load(folder).rows]


def test_killed_ten_times_at_random_moments_and_resumed(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole")
    assert whole.wait(120) == 0, told(tmp_path / "whole")
    moments = random.Random(20)
    folder = tmp_path / "killed"
    kills = 0
    for _ in range(10):
        process = start(folder)
        try:
            process.wait(moments.uniform(0.2, 0.7))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        assert await_none(folder) == []
    last = start(folder)
    assert last.wait(120) == 0, told(folder)
    assert kills >= 5  # or the moments came too late to test anything
    assert await_none(folder) == []
    assert accuracy_of(folder) == accuracy_of(tmp_path / "whole")
    lines = [line for line in (folder / "journal.jsonl").read_bytes().split(b"\n") if line.strip()]
    records = store.read(folder / "journal.jsonl")
    counted = Counter((r["kind"], r["cell"]) for r in records if "cell" in r)
    assert set(counted.values()) == {1}
    assert sum(kind == "accuracy" for kind, _ in counted) == CELLS
    assert sum(kind == "timing" for kind, _ in counted) == TIMED
    assert 0 <= len(lines) - len(records) <= kills  # a kill tears one line at most
    finished = store.load(folder)
    assert finished.finished
    assert list((folder / "scratch").glob("numerics-harness-*")) == []


def test_a_finished_cell_is_never_run_again(tmp_path: Path) -> None:
    """Whatever was journalled when the parent was killed has run once when all is done."""
    process = start(tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while sum(r["kind"] == "accuracy" for r in store.read(journal)) < 15 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = [r["cell"] for r in store.read(journal) if r["kind"] == "accuracy"]
    assert 15 <= len(done) < CELLS
    assert await_none(tmp_path / "run") == []
    again = start(tmp_path / "run")
    assert again.wait(120) == 0, told(tmp_path / "run")
    ran = Counter((tmp_path / "run" / "kernels").read_text().splitlines())
    assert {ran[f"run {cell}"] for cell in done} == {1}
    assert len(store.load(tmp_path / "run").rows) == CELLS


def test_children_that_hang_end_with_a_killed_parent(tmp_path: Path) -> None:
    """A kernel that sleeps for an hour does not outlive the parent: the pipe's end is watched beside it."""
    process = start(tmp_path / "run", FAKE_PAUSE="3600")
    deadline = time.monotonic() + 60
    log = tmp_path / "run" / "kernels"
    while (not log.exists() or "run " not in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(marked(tmp_path / "run")) >= 3  # the parent, a worker, a referee
    process.kill()
    process.wait()
    assert await_none(tmp_path / "run") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while sum(r["kind"] == "accuracy" for r in store.read(journal)) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(20) == 130
    said = told(tmp_path / "run")
    assert f"of {CELLS} cells are judged" in said
    assert f"harness run --resume --out {tmp_path / 'run'}" in said
    assert "Traceback" not in said
    assert await_none(tmp_path / "run", 2.0) == []
    assert list((tmp_path / "run" / "scratch").glob("*")) == []
    assert not store.load(tmp_path / "run").finished
    again = start(tmp_path / "run")
    assert again.wait(120) == 0, told(tmp_path / "run")
    assert store.load(tmp_path / "run").finished


def test_a_real_run_killed_and_resumed_has_the_same_bits(tmp_path: Path) -> None:
    whole = start_real(tmp_path / "whole")
    assert whole.wait(240) == 0, told(tmp_path / "whole")
    folder = tmp_path / "killed"
    moments = random.Random(7)
    kills = 0
    for _ in range(6):
        process = start_real(folder)
        try:
            process.wait(moments.uniform(0.6, 1.6))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        assert await_none(folder) == []
    last = start_real(folder)
    assert last.wait(240) == 0, told(folder)
    assert kills >= 2
    assert accuracy_of(folder / "run") == accuracy_of(tmp_path / "whole" / "run")
    rows = store.load(folder / "run").rows
    assert len(rows) == 48
    assert sum(row["time_median_s"] is not None for row in rows) == 4
    records = [r for r in store.read(folder / "run" / "journal.jsonl") if "cell" in r]
    assert len({(r["kind"], r["cell"]) for r in records}) == len(records) == 48 + 4
