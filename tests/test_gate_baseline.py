"""A damaged baseline is said to be one: it neither passes nor fails a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.gate import accept, read_baseline
from harness.gate.baseline import RESULT_COLUMNS

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
