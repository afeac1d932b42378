"""A gate on another machine: low bits may differ, what is optional may be absent, bounds hold as ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.gate import GateReport, accept, another_cpu, compare_with_baseline, read_baseline
from tests.test_gate import HEADER, HERE, a_row, kinds, skipped

ELSEWHERE = {**HEADER, "environment": {**HERE, "cpu": "B"}}


def gated_elsewhere(now: list[dict[str, Any]], before: list[dict[str, Any]], **more: Any) -> GateReport:
    return compare_with_baseline(now, ELSEWHERE, before, HEADER, **more)


def ratio_of(order: slice, rows: int = 24, terms: int = 32) -> float:
    """Return error / bound of a product whose sums are taken in some order, against exact arithmetic.

    The bound is n·u·|A||B|, Jeannerod and Rump 2013; sums of 48-bit products in float64 are exact enough.
    """
    generator = np.random.default_rng(7)
    a, b = (generator.uniform(-1, 1, shape).astype(np.float32) for shape in ((rows, terms), (terms, rows)))
    total = np.zeros((rows, rows), np.float32)
    for k in np.arange(terms)[order]:
        total = total + np.outer(a[:, k], b[k])
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    bound = terms * 2.0**-24 * (np.abs(wide_a) @ np.abs(wide_b))
    return float((np.abs(total - wide_a @ wide_b) / bound).max())


def test_other_bits_of_a_product_within_its_bound_do_not_fail() -> None:
    here, there = ratio_of(slice(None)), ratio_of(slice(None, None, -1))
    assert here != there
    assert max(here, there) < 1
    for before, now in ((here, there), (there, here)):
        report = gated_elsewhere(
            [a_row(ratio=now, result_digest="r2")], [a_row(ratio=before, result_digest="r1")]
        )
        assert report.exit_code == 0
        assert "cpu A → B" in report.notes


@pytest.mark.parametrize(
    ("before", "now", "kind", "code"),
    [
        # grown within the bound: a loss here, advice there
        ({"ratio": 0.05}, {"ratio": 0.6}, "drifted", 0),
        ({"ratio": 0.0}, {"ratio": 0.3}, "drifted", 0),
        # what a rule lets break either way: also an outcome, also an error beyond the bound
        ({}, {"outcome": "raised", "ratio": None, "verdict": "pass"}, "drifted", 0),
        ({"ratio": 5e7, "verdict": "pass"}, {"ratio": 3e8, "verdict": "pass"}, "drifted", 0),
        # the bound, or what is expected: no CPU changes those
        ({"ratio": 0.5}, {"ratio": 1.2}, "regressed", 1),
        ({}, {"outcome": "overflow", "ratio": None}, "regressed", 1),
        ({"ratio": 1.5}, {"ratio": 1.5}, "failed", 1),
        # no answer, other inputs, no judgement: as on the machine of the baseline
        ({}, {"outcome": "timeout", "ratio": None, "verdict": "inconclusive"}, "regressed", 1),
        ({}, {"inputs_digest": "d2"}, "changed", 3),
        ({}, {"verdict": "inconclusive", "reason": "undecided"}, "inconclusive", 3),
        ({"ratio": 0.9}, {"ratio": 0.1}, "improved", 0),
    ],
)  # fmt: skip
def test_a_row_on_another_cpu(before: dict[str, Any], now: dict[str, Any], kind: str, code: int) -> None:
    report = gated_elsewhere([a_row(**now)], [a_row(**before)])
    assert (kinds(report), report.exit_code) == ([kind], code)
    assert any("what drifted is advisory" in note for note in report.notes) == (kind == "drifted")
    if kind == "drifted":
        same = compare_with_baseline([a_row(**now)], HEADER, [a_row(**before)], HEADER)
        assert (kinds(same), same.exit_code) == (["regressed"], 1)


def test_other_versions_on_the_same_cpu_are_judged_in_full() -> None:
    upgraded = {**HEADER, "environment": {**HERE, "packages": {"numpy": "9"}, "memory_bytes": 16}}
    report = compare_with_baseline([a_row(ratio=0.9)], upgraded, [a_row()], HEADER)
    assert (kinds(report), report.exit_code) == (["regressed"], 1)


@pytest.mark.parametrize(
    ("environment", "other"),
    [
        ({}, False), (HERE, False), ({**HERE, "memory_bytes": 1}, False), ({**HERE, "cpu": None}, False),
        ({**HERE, "cpu": "B"}, True), ({**HERE, "machine": "aarch64"}, True),
    ],
)  # fmt: skip
def test_what_another_cpu_is(environment: dict[str, Any], other: bool) -> None:
    assert another_cpu({"environment": environment}, HEADER) is other
    assert another_cpu(HEADER, {"environment": environment}) is other


def test_an_absent_optional_backend_neither_fails_nor_vanishes(tmp_path: Path) -> None:
    cuda = {"backend": "torch-cuda", "cell": "c/library/torch-cuda/float32/n=1"}
    before = [a_row(1), {**a_row(1), **cuda}]
    accept(tmp_path, before, [], HEADER, {"c": "cases/c.yaml"})
    absent = {**skipped(1, "unavailable"), **cuda}
    baseline = read_baseline(tmp_path)
    report = gated_elsewhere([a_row(1), absent], [*baseline.rows])
    assert (kinds(report), report.exit_code) == (["unavailable"], 0)
    assert report.counts.get("vanished", 0) == report.counts.get("failed", 0) == 0
    # where it was never there, nothing is said; and a machine without it does not drop what is accepted
    assert kinds(gated_elsewhere([a_row(1), absent], [a_row(1)])) == []
    accept(tmp_path, [a_row(1), absent], [], ELSEWHERE, {"c": "cases/c.yaml"})
    assert cuda["cell"] in {row["cell"] for row in read_baseline(tmp_path).rows}
