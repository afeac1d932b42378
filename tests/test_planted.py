"""Every checker is itself checked: planted wrong answers must be caught, each by what should catch it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import harness

PLANTED = Path(__file__).parent / "planted"

EXPECTED = {
    # formulation: (outcome, verdict, what the reason says)
    "planted-softmax/shifted": ("ok", "pass", ""),
    "planted-softmax/zeros": ("zeroed", "fail", "zeroed"),
    "planted-softmax/naive_as_stable": ("not_a_number", "fail", "not_a_number"),
    "planted-softmax/one_element_off": ("ok", "fail", "bound_ratio"),
    "planted-softmax/shifted_by_one": ("ok", "fail", "bound_ratio"),
    "planted-softmax/wrong_shape": ("raised", "fail", "shape (4, 15), not (4, 16)"),
    "planted-softmax/wrong_dtype": ("raised", "fail", "bool"),
    "planted-softmax/raises": ("raised", "fail", r"ValueError: planted \udc80"),
    "planted-softmax/prints": ("ok", "pass", ""),
    "planted-softmax/flushes_subnormals": ("ok", "fail", "environment changed: flushes subnormals"),
    "planted-softmax/sleeps": ("timeout", "inconclusive", "timeout"),
    "planted-softmax/hangs": ("timeout", "inconclusive", "timeout"),
    "planted-softmax/segfaults": ("crashed", "inconclusive", "SIGSEGV"),
    "planted-softmax/exits": ("crashed", "inconclusive", "7"),
    "planted-softmax/allocates": ("raised", "fail", "MemoryError"),
    "planted-matmul/library": ("ok", "pass", ""),
    "planted-matmul/transposed": ("ok", "fail", "bound_ratio"),
    "planted-matmul/bfloat16_inside": ("ok", "fail", "bound_ratio"),
    "planted-matmul/bfloat16_accumulate": ("ok", "fail", "bound_ratio"),
    "planted-least-squares/householder_qr": ("ok", "pass", ""),
    "planted-least-squares/ignores_last_row": ("ok", "fail", "bound_ratio"),
    "planted-logsumexp/shifted": ("ok", "pass", ""),
    "planted-logsumexp/of_absolute_values": ("ok", "fail", "bound_ratio"),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("planted")
    run = harness.run(
        [PLANTED / "softmax.yaml"],
        plugins=[str(PLANTED / "wrong_answers.py")],
        out=folder / "run",
        timeout_s=10.0,
    )
    return {f"{row['case']}/{row['formulation']}": row for row in run.rows}


@pytest.mark.parametrize("name", EXPECTED)
def test_planted_answer_is_caught(rows: dict[str, dict[str, Any]], name: str) -> None:
    outcome, verdict, said = EXPECTED[name]
    row = rows[name]
    assert (row["outcome"], row["verdict"]) == (outcome, verdict), row["reason"]
    assert said in row["reason"]


def test_nothing_else_was_run_and_the_right_ones_keep_their_digits(rows: dict[str, dict[str, Any]]) -> None:
    assert set(rows) == set(EXPECTED)
    shifted, prints = rows["planted-softmax/shifted"], rows["planted-softmax/prints"]
    assert shifted["result_digest"] == prints["result_digest"]
    assert shifted["bits"] > 10
