"""The verdict of each row: pass, fail, inconclusive or skip, with its reason in words.

Of the rules of a cell the first that fits the output decides. What a rule leaves out is what a cell
without a rule must do: have outcome `ok` and `bound_ratio` ≤ 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.expect.measured import (
    UNJUDGED,
    Row,
    breaks,
    broken_bounds,
    kept_bounds,
    measured,
    undecided,
)
from harness.model import ELEMENT_OUTCOMES, Cell, Condition, Plan, Rule

_WITHIN_BOUND: Final = Condition(at_most=1)
_NO_RULE: Final = Rule()


@dataclass(frozen=True, slots=True)
class _Finding:
    """One requirement: met, broken, or unknown because it was not measured."""

    state: Literal["met", "broken", "unknown"]
    text: str


def verdicts(rows: Iterable[Row], plan: Plan) -> list[dict[str, Any]]:
    """Return the rows, in their order, each with `verdict`, `reason` and `severity`.

    Parameters
    ----------
    rows
        Results by column name; `cell` and `output` name a cell of `plan` and one of its outputs.
    plan
        What was to be run, with the rules of each cell.

    Raises
    ------
    ValueError
        A row names a cell that the plan does not hold.
    """
    cells = {cell.id: cell for cell in plan.cells}
    judged = []
    for row in rows:
        cell = cells.get(row["cell"])
        if cell is None:
            raise ValueError(f"a result names cell {row['cell']!r}, which the plan does not hold")
        judged.append({**row, **_judge(row, cell)})
    return judged


def _judge(row: Row, cell: Cell) -> dict[str, str]:
    if cell.skip is not None:
        return _verdict("skip", f"{cell.skip.word}: {cell.skip.reason}", "fail")
    output = row.get("output")
    rule = next((r for r in cell.rules if r.output is None or r.output == output), _NO_RULE)
    place = f" (rule line {rule.line})" if rule is not _NO_RULE and rule.line else ""
    verdict, reason = _decide(row, cell, rule)
    left = measured(row, "fp_environment")
    if left is not None:  # right itself, but every kernel after it in its process computes otherwise
        verdict = "fail" if verdict == "pass" else verdict
        reason = f"{reason}; left the floating-point environment {left}"
    if verdict == "pass" and _lacks_its_time(row, cell):
        verdict = "inconclusive"
        reason = f"{reason}; {measured(row, 'error') or 'not timed: the run ended before'}"
    return _verdict(verdict, reason + place, rule.severity)


def _lacks_its_time(row: Row, cell: Cell) -> bool:
    """Return whether a cell that gave an output was to be timed and was not."""
    answered = measured(row, "outcome") in (None, *ELEMENT_OUTCOMES)
    return cell.speed is not None and answered and measured(row, "time_median_s") is None


def _verdict(verdict: str, reason: str, severity: str) -> dict[str, str]:
    return {"verdict": verdict, "reason": reason, "severity": severity}


def _decide(row: Row, cell: Cell, rule: Rule) -> tuple[str, str]:
    outcome = measured(row, "outcome")
    if outcome is None and cell.accuracy:
        error = measured(row, "error") or "the run ended before this cell was measured"
        return "inconclusive", f"no result: {error}"
    if outcome in UNJUDGED and outcome not in (rule.outcome or ()):
        return "inconclusive", _with_error(f"no answer: {outcome}", row)
    open_elements = undecided(row)
    if open_elements:
        of = measured(row, "elements")
        total = f" of {of}" if of is not None else ""
        return "inconclusive", f"{open_elements}{total} reference elements are undecided"
    if rule.defect is not None:
        return _decide_defect(row, rule)
    if outcome is None:
        return (
            _combine(_bounds(row, rule)) if rule.bounds else ("pass", "timed only; accuracy is not measured")
        )
    return _combine(_findings(row, rule))


def _decide_defect(row: Row, rule: Rule) -> tuple[str, str]:
    """Pass where the symptom shows as declared, and where it no longer shows at all."""
    clean = _findings(row, _NO_RULE)
    healthy = _combine(clean)[0] == "pass"
    symptom = Rule(outcome=rule.outcome, breaks=rule.breaks, bounds=rule.bounds)
    if symptom.breaks == "maybe" or not (symptom.outcome or symptom.breaks or symptom.bounds):
        symptom = Rule(outcome=rule.outcome, breaks="yes", bounds=rule.bounds)
    verdict, reason = _combine(_findings(row, symptom))
    if verdict == "pass":
        return "pass", f"known defect {rule.defect}: {reason}"
    if healthy:
        return "pass", f"fixed_upstream: {rule.defect} no longer shows: {_combine(clean)[1]}"
    if verdict == "inconclusive":
        return verdict, f"defect {rule.defect}: {reason}"
    return verdict, f"defect {rule.defect} shows otherwise than declared: {reason}"


def _findings(row: Row, rule: Rule) -> list[_Finding]:
    findings = []
    if rule.outcome is not None:
        findings.append(_outcome(row, rule.outcome))
    if rule.breaks in ("yes", "maybe"):
        findings.append(_breaking(row, required=rule.breaks == "yes"))
    elif rule.outcome is None:
        findings.append(_outcome(row, ("ok",)))
        if findings[-1].state == "met" and "bound_ratio" not in rule.bounds:
            findings.append(_bound(row, "bound_ratio", _WITHIN_BOUND))
    return findings if findings[0].state == "broken" else findings + _bounds(row, rule)


def _outcome(row: Row, allowed: tuple[str, ...]) -> _Finding:
    outcome = row["outcome"]
    if outcome in allowed:
        return _Finding("met", f"outcome {outcome}")
    expected = allowed[0] if len(allowed) == 1 else "one of " + ", ".join(allowed)
    return _Finding("broken", _with_error(f"outcome {outcome}, expected {expected}", row))


def _breaking(row: Row, *, required: bool) -> _Finding:
    broken = breaks(row)
    if broken is None:
        if row["outcome"] == "ok" and not required:
            return _Finding("met", "may break: no bound_ratio tells, for nothing is promised")
        return _Finding("unknown", "bound_ratio was not measured")
    if not broken:
        kept = kept_bounds("bound_ratio", measured(row, "bound_ratio"), _WITHIN_BOUND)
        if required:
            return _Finding("broken", f"expected to break, but outcome ok and {kept}")
        return _Finding("met", f"may break, and does not: {kept}")
    if row["outcome"] != "ok":
        how = f"outcome {row['outcome']}"
    else:
        how = broken_bounds("bound_ratio", measured(row, "bound_ratio"), _WITHIN_BOUND)[0]
    return _Finding("met", f"{'breaks as expected' if required else 'may break, and does'}: {how}")


def _bounds(row: Row, rule: Rule) -> list[_Finding]:
    return [_bound(row, column, condition) for column, condition in rule.bounds.items()]


def _bound(row: Row, column: str, condition: Condition) -> _Finding:
    value = measured(row, column)
    if value is None:
        return _Finding("unknown", f"{column} was not measured")
    violations = broken_bounds(column, value, condition)
    if violations:
        return _Finding("broken", "; ".join(violations))
    return _Finding("met", kept_bounds(column, value, condition))


def _combine(findings: list[_Finding]) -> tuple[str, str]:
    for state, verdict in (("broken", "fail"), ("unknown", "inconclusive")):
        texts = [f.text for f in findings if f.state == state]
        if texts:
            return verdict, "; ".join(texts)
    return "pass", "; ".join(f.text for f in findings)


def _with_error(text: str, row: Row) -> str:
    error = measured(row, "error")
    return f"{text} ({error})" if error else text
