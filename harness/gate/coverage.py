"""Whether an accepted result lies inside what a run was asked to measure: if so, its absence is a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.casefile import GUIDE, default_paths, packaged_cases
from harness.model import PROFILES, Plan
from harness.selection import Selection

Row = Mapping[str, Any]


def coverage(plan: Plan, case_paths: Mapping[str, str]) -> Callable[[Row], bool]:
    """Return the test whether an accepted row is inside a plan's selection, profile and paths.

    Parameters
    ----------
    plan
        What the run was asked to measure.
    case_paths
        Case → the file it was accepted from, for cases that the run does not know.
    """
    selection = Selection.from_plain(plan.selection)
    given = [packaged_cases() if path == GUIDE else Path(path) for path in selection.paths]
    roots = [root.resolve() for root in given or default_paths()]
    held = PROFILES[: PROFILES.index(plan.profile) + 1]

    def inside(case: str) -> bool:
        path = case_paths.get(case)
        if case in plan.cases or path is None:
            return True
        # A file that is gone may have been anywhere when no paths are given.
        if not selection.paths and not Path(path).exists():
            return True
        return any(Path(path).resolve().is_relative_to(root) for root in roots)

    def covers(row: Row) -> bool:
        return (
            row["profile"] in held
            and selection.takes(
                row["cell"],
                operation=row["operation"],
                backend=row["backend"],
                dtype=row["dtype"],
                topic=row["topic"],
                guide=(row["guide"] or "").split(),
            )
            and inside(row["case"])
        )

    return covers
