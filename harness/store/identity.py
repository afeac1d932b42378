"""Whether two plans measure the same: what decides if a run may be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.execute.content import problem_content
from harness.model import Cell, Plan
from harness.protocol import encode


def measurement_digests(plan: Plan) -> dict[str, str]:
    """Return, by cell, a digest of all that its measurement depends on.

    Rules, titles and topics are not among it: they may change between a run and its resumption,
    because verdicts are given at the end and anew.
    """
    contents = {key: problem_content(problem) for key, problem in plan.problems.items()}
    return {cell.id: _digest(_measured(cell), contents.get(cell.problem, "")) for cell in plan.cells}


def _measured(cell: Cell) -> Mapping[str, Any]:
    return {
        "id": cell.id,
        "operation": cell.operation,
        "formulation": cell.formulation,
        "backend": cell.backend,
        "dtype": cell.dtype,
        "mode": cell.mode,
        "axes": cell.axes,
        "seed": cell.seed,
        "outputs": cell.outputs,
        "accuracy": cell.accuracy,
        "speed": None if cell.speed is None else replace(cell.speed, where={}),
        "skip": None if cell.skip is None else cell.skip.word,
    }


def _digest(*parts: Any) -> str:
    return hashlib.sha256("\n".join(map(encode, parts)).encode()).hexdigest()[:32]


def plan_digest(digests: Mapping[str, str]) -> str:
    """Return one digest of all cells, in whatever order they are planned."""
    return _digest(dict(sorted(digests.items())))


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return, in words, how the cells of two plans differ."""
    found = []
    for words, cells in (
        ("no longer planned", [c for c in before if c not in now]),
        ("new", [c for c in now if c not in before]),
        ("changed", [c for c in now if c in before and now[c] != before[c]]),
    ):
        if cells:
            shown = ", ".join(cells[:3]) + (f" and {len(cells) - 3} more" if len(cells) > 3 else "")
            found.append(f"{len(cells)} {words}: {shown}")
    return found
