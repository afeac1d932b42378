"""From YAML to a plan: reading all shipped cases, and planning their cells."""

from __future__ import annotations

from typing import Any

from harness import casefile, catalogue
from harness.plan import make_plan


def test_read_the_shipped_cases(benchmark: Any) -> None:
    catalogue.load()
    cases = benchmark(lambda: casefile.read_cases([casefile.packaged_cases()]))
    benchmark.extra_info["cases"] = len(cases)
    assert len(cases) >= 20


def test_plan_the_default_profile(benchmark: Any) -> None:
    catalogue.load()
    cases = casefile.read_cases([casefile.packaged_cases()])
    plan = benchmark(lambda: make_plan(cases))
    benchmark.extra_info["cells"] = len(plan.cells)
    assert len(plan.cells) >= 600
