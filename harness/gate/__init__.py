"""The gate: a run's verdicts and an accepted baseline → entries worst first, and an exit code."""

from __future__ import annotations

from harness.gate.baseline import Baseline, accept, read_baseline
from harness.gate.comparison import KINDS, Entry, GateReport, compare_with_baseline, same_machine
from harness.gate.coverage import coverage
from harness.gate.exit_codes import ExitCode, exit_code_of, exit_code_of_run, highest

__all__ = [
    "KINDS",
    "Baseline",
    "Entry",
    "ExitCode",
    "GateReport",
    "accept",
    "compare_with_baseline",
    "coverage",
    "exit_code_of",
    "exit_code_of_run",
    "highest",
    "read_baseline",
    "same_machine",
]
