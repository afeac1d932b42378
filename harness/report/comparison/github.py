"""Annotations of a comparison for GitHub Actions: one for each pair that fails or could not be decided."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.compare.model import KINDS, Comparison, Pair
from harness.report.github import Annotation, Kind, limited
from harness.report.view.comparison import INTERRUPTED, digits_text, ordered, ratio_text, told
from harness.report.view.gate import Place, place_of_case

if TYPE_CHECKING:
    from harness.model import Case
    from harness.store import Run


def text(comparison: Comparison, run: Run | None = None) -> str:
    """Return the workflow commands of a comparison, a line each."""
    return "".join(f"{line}\n" for line in commands(comparison, {} if run is None else run.plan.cases))


def commands(comparison: Comparison, cases: Mapping[str, Case] | None = None) -> list[str]:
    """Return the workflow commands of a comparison: worst first, ten of a kind at most.

    Parameters
    ----------
    comparison
        What was found.
    cases
        By name, the cases that were compared: they name the files that annotations point at.
    """
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    places = {name: place_of_case(case, root) for name, case in (cases or {}).items()}
    found = [*_annotations(comparison, places)]
    kinds: tuple[Kind, ...] = ("error", "warning")
    where = "compare.md and report.html of the comparison"
    return [str(a) for kind in kinds for a in limited([a for a in found if a.kind == kind], where)]


def _annotations(comparison: Comparison, places: Mapping[str, Place | None]) -> Iterator[Annotation]:
    if not comparison.finished or not comparison.pairs:
        yield Annotation("warning", "No complete comparison", told(comparison).sentence)
    for pair in ordered(comparison.pairs):
        if pair.verdict == "pass" or pair.error == INTERRUPTED:
            continue
        kind: Kind = "error" if pair.verdict == "fail" else "warning"
        title = f"{KINDS[pair.kind].capitalize()}: {pair.case}"
        yield Annotation(kind, title, f"{pair.cell}: {message(pair)}", places.get(pair.case))


def message(pair: Pair) -> str:
    """Return what there is to say of a pair in a line: its digits where they differ, its ratio, why."""
    parts = [f"digits left {digits_text(pair)}"] if pair.accuracy in ("worse", "better") else []
    parts.append(pair.reason or f"head / base {ratio_text(pair)}")
    if pair.error and pair.error not in pair.reason:
        parts.append(pair.error)
    return "; ".join(parts)
