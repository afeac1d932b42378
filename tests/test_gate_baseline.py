"""A damaged baseline is said to be one: it neither passes nor fails a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.gate import accept, read_baseline
from harness.gate.baseline import RESULT_COLUMNS, TIME_COLUMNS, TIMES_NEEDED

ROW: dict[str, Any] = {
    **dict.fromkeys(RESULT_COLUMNS),
    **{
        "cell": "c/naive/numpy/float32/n=1",
        "output": "p",
        "case": "c",
        "axes": '{"n": 1}',
        "profile": "quick",
    },
    **{"outcome": "ok", "verdict": "pass", "severity": "fail", "bound_ratio": 0.2, "inputs_digest": "1a"},
    **{"timer": "wall", "time_median_s": 1e-3, "time_ci_low_s": 9e-4, "time_ci_high_s": 2e-3},
}
HEADER = {"profile": "quick", "environment": {"cpu": "A"}}


def _header(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "baseline.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def _table(name: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_header(schema_version="x"), r"baseline\.json is damaged"),
        (_header(environment=[1]), "environment is no mapping"),
        (_header(cases="c"), "cases is no mapping"),
        (_table("results.csv", "bound_ratio", "ratio"), "lacks the columns bound_ratio"),
        (_table("results.csv", "inputs_digest", "digest"), "lacks the columns inputs_digest"),
        (_table("results.csv", ",ok,", ",fine,"), "2: unknown outcome 'fine'; allowed: .*not_a_number"),
        (_table("results.csv", ",pass,", ",passed,"), "unknown verdict 'passed'; allowed: .*skip"),
        (_table("results.csv", ",1a,", ","), "line 2 has 20 fields, the first line 21"),
        (_table("times.csv", "timer", "clock"), "lacks the columns timer"),
        (_table("times.csv", "0.0009", "short"), "times.csv: .*short"),
    ],
)
def test_a_damaged_baseline_is_refused(tmp_path: Path, spoil: Callable[[Path], None], told: str) -> None:
    accept(tmp_path, [ROW], [], HEADER, {"c": "cases/c.yaml"})
    assert len(read_baseline(tmp_path).rows) == 1
    spoil(tmp_path)
    with pytest.raises(UsageError, match=told):
        read_baseline(tmp_path)


def test_times_say_hot_or_cold_and_what_a_graph_took(tmp_path: Path) -> None:
    gpu = {"timer": "cuda-cold", "cache": "cold", "time_cuda_graph_s": 2e-6}
    accept(tmp_path, [{**ROW, **gpu}], [], HEADER, {})
    (row,) = read_baseline(tmp_path).rows
    assert {name: row[name] for name in gpu} == gpu
    assert (tmp_path / "times.csv").read_text().splitlines()[0] == ",".join(TIME_COLUMNS)


def test_an_older_table_of_times_is_read_and_renewed(tmp_path: Path) -> None:
    accept(tmp_path, [ROW], [], HEADER, {})
    path = tmp_path / "times.csv"
    path.write_text(f"{','.join(TIMES_NEEDED)}\n{ROW['cell']},wall,0.001,0.0009,0.002\n")
    (row,) = read_baseline(tmp_path).rows
    assert (row["timer"], row["time_median_s"], row.get("cache")) == ("wall", 1e-3, None)
    other = {**ROW, "cell": "c/naive/numpy/float32/n=2", "cache": "hot"}
    accept(tmp_path, [other], [], HEADER, {})
    lines = path.read_text().splitlines()
    assert lines == [
        "cell,timer,cache,time_median_s,time_ci_low_s,time_ci_high_s,time_cuda_graph_s",
        "c/naive/numpy/float32/n=2,wall,hot,0.001,0.0009,0.002,",
    ]
