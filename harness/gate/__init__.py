"""The gate: a run's verdicts and an accepted baseline → entries worst first, and an exit code."""

from __future__ import annotations

from harness.gate.baseline import Baseline, accept, read_baseline
from harness.gate.comparison import (
    KINDS,
    Entry,
    GateReport,
    another_cpu,
    compare_with_baseline,
    error_change,
    fact_message,
    fact_name,
    same_machine,
)
from harness.gate.coverage import coverage
from harness.gate.exit_codes import ExitCode, exit_code_of, exit_code_of_run, highest

__all__ = [
    "KINDS",
    "Baseline",
    "Entry",
    "ExitCode",
    "GateReport",
    "accept",
    "another_cpu",
    "compare_with_baseline",
    "coverage",
    "error_change",
    "exit_code_of",
    "exit_code_of_run",
    "fact_message",
    "fact_name",
    "highest",
    "read_baseline",
    "same_machine",
]
