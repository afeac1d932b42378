"""A case that is timed cold, from its file to rows, exit code and report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness import api
from harness.errors import CaseFileError
from harness.timing.peaks import last_cache_bytes
from harness.timing.rotation import CACHES, UNKNOWN_CACHE_BYTES

CASE = """\
case: {name}
title: T
topic: t
operation: dot
formulations: [library]
backends: [numpy]
dtypes: [float32]
axes:
  n: [8, 262144]
inputs:
  x: {{recipe: normal, shape: [$n]}}
  y: {{recipe: normal, shape: [$n]}}
measure:
  accuracy: {{}}
  speed: {{cache: {cache}, budget_s: 0.1}}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("cold")
    for cache in ("hot", "cold"):
        (folder / f"{cache}.yaml").write_text(CASE.format(name=f"all-{cache}", cache=cache))
    command = [sys.executable, "-m", "harness", "run", "hot.yaml", "cold.yaml", "--quick", "--out", "run"]
    return folder / "run", subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_rows_say_what_was_timed_and_no_column_of_a_timer_holds_both(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    rows = {row["cell"]: row for row in harness.load(done[0]).rows}
    hot, cold = (rows[f"all-{c}/library/numpy/float32/n=262144"] for c in ("hot", "cold"))
    assert (hot["timer"], hot["cache"], hot["verdict"]) == ("wall", "hot", "pass")
    assert (cold["timer"], cold["cache"], cold["verdict"]) == ("wall-cold", "cold", "pass")
    assert hot["time_wall_s"] == hot["time_median_s"] > 0
    assert cold["time_wall_cold_s"] == cold["time_median_s"] > 0
    assert hot["time_wall_cold_s"] is cold["time_wall_s"] is None


def test_the_journal_tells_how_many_copies_there_were(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    nbytes = 2 * 4 * 262144
    cache = last_cache_bytes() or UNKNOWN_CACHE_BYTES
    told = (done[0] / "journal.jsonl").read_text()
    assert re.findall(r'"copies":(\d+)', told) == [str(CACHES * cache // nbytes + 1)]


def test_inputs_too_small_to_be_cold_are_not_judged_and_fail_nothing(
    done: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, process = done
    assert process.returncode == 3, process.stdout + process.stderr
    rows = {row["cell"]: row for row in harness.load(folder).rows}
    row = rows["all-cold/library/numpy/float32/n=8"]
    assert (row["verdict"], row["outcome"]) == ("inconclusive", "ok")
    assert row["timer"] is row["cache"] is row["time_median_s"] is row["time_wall_s"] is None
    told = (
        r"not timed: inputs of 64 bytes would need [\d,]+ copies to leave a cache of .*; cold needs at least"
    )
    assert re.search(told, str(row["reason"]))
    assert re.search(told, process.stdout), "on the terminal too"
    assert rows["all-hot/library/numpy/float32/n=8"]["cache"] == "hot"


def test_the_page_says_which_times_are_cold(done: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    page = (done[0] / "report.html").read_text(encoding="utf-8")
    assert page.count("timed with cold inputs") == 1
    assert re.search(r"<code>all-cold</code> · 1 cell timed with cold inputs", page)


def test_a_case_is_hot_unless_it_says_cold(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    for written, read in (("cold", "cold"), ("hot", "hot"), (None, "hot")):
        text = CASE.format(name="c", cache=written)
        path.write_text(text if written else text.replace("cache: None, ", ""))
        speeds = {cell.speed.cache for cell in api.plan([str(path)]).cells if cell.speed}
        assert speeds == {read}
    path.write_text(CASE.format(name="c", cache="warm"))
    with pytest.raises(CaseFileError, match=r"cache is 'warm'"):
        api.plan([str(path)])
