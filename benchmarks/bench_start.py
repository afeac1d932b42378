"""What the command line costs before it does anything: each command as a fresh process.

pytest benchmarks/bench_start.py --benchmark-only -o python_files='bench_*.py'

`bare` is the interpreter alone; what a command costs is its time less that. Printed beside it: the
modules that took longest to import.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

COMMANDS = {
    "bare": ("-c", "pass"),
    "import": ("-c", "import harness"),
    "help": ("-m", "harness", "--help"),
    "list": ("-m", "harness", "list"),
    "check": ("-m", "harness", "check"),
    "schema": ("-m", "harness", "schema"),
    "dry run": ("-m", "harness", "run", "--dry-run"),
}

ROUNDS = 15


def start(arguments: tuple[str, ...]) -> None:
    """Start the interpreter on `arguments` and wait for it."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("name", COMMANDS)
def test_start(name: str, benchmark: Any) -> None:
    """One process from start to end; files are in the page cache after the first."""
    benchmark.pedantic(start, (COMMANDS[name],), rounds=ROUNDS, warmup_rounds=2)
    slowest = imports(COMMANDS[name])[:5]
    benchmark.extra_info["slowest_imports_us"] = dict(slowest)


def imports(arguments: tuple[str, ...]) -> list[tuple[str, int]]:
    """Return modules and the microseconds that importing each took by itself, slowest first."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", done.stderr, re.MULTILINE)
    return sorted(((module, int(time)) for time, module in found), key=lambda item: -item[1])
