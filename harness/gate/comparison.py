"""A run against accepted results: what failed, grew, vanished or could not be judged, worst first.

Accuracy is compared where cell, output and `inputs_digest` agree. Time is compared on the same machine
only, and never decides.

On another CPU the same kernel sums in another order or fuses other operations, so that low bits differ.
There an error that grew, or an outcome that got worse, is advisory as long as the row itself does not fail:
what its bound and its rules allow does not depend on the CPU. What they forbid fails on every machine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.errors import UsageError
from harness.gate.exit_codes import ExitCode, highest
from harness.model import OUTCOMES
from harness.store.environment import differences

Row = Mapping[str, Any]
Header = Mapping[str, Any]

GROWTH_FACTOR: Final = 2.0
"""An error has grown when it is more than this multiple of the baseline's …"""
GROWTH_OF_BOUND: Final = 0.1
"""… and by more than this share of its bound."""
TIME_FACTOR: Final = 1.1
"""A time differs when the whole interval of its ratio is beyond this factor (advisory).

The interval knows the scatter of two runs, not what changed between two days: of identical code, one
cell in eight was beyond 1.03 a minute later.
"""

KINDS: Final[Mapping[str, tuple[str, ExitCode]]] = {
    "regressed": ("worse than the baseline", ExitCode.FAILED),
    "failed": ("fails its expectation", ExitCode.FAILED),
    "vanished": ("in the baseline, and no longer run", ExitCode.FAILED),
    "inconclusive": ("could not be judged", ExitCode.COULD_NOT_MEASURE),
    "changed": ("changed, needs --accept", ExitCode.COULD_NOT_MEASURE),
    "drifted": ("worse than on the baseline's CPU, and within what is expected, advisory", ExitCode.OK),
    "unavailable": ("not available on this machine", ExitCode.OK),
    "slower": ("slower, advisory", ExitCode.OK),
    "faster": ("faster, advisory", ExitCode.OK),
    "improved": ("better than the baseline", ExitCode.OK),
    "fixed_upstream": ("a known defect that no longer shows", ExitCode.OK),
    "new": ("not in the baseline", ExitCode.OK),
}
"""Kinds of entries, worst first: what each means, and the exit code it asks for."""

MACHINE: Final = ("machine", "cpu", "cores_allowed", "memory_bytes")
"""Facts of the environment that are the same where times may be compared."""
PROCESSOR: Final = ("machine", "cpu")
"""Facts of the environment that decide low bits of a result."""

_BAD_ENDS: Final = ("crashed", "timeout")
_RANK: Final = {kind: rank for rank, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to report about one output of one cell (or one fact)."""

    kind: str
    cell: str
    output: str
    message: str
    severity: str = "fail"
    magnitude: float = 0.0
    """Orders entries of one kind, the largest first."""

    @property
    def exit_code(self) -> ExitCode:
        """What this entry asks for."""
        return ExitCode.OK if self.severity == "warn" else KINDS[self.kind][1]

    @property
    def warns(self) -> bool:
        """Whether it would count, were it not for its severity."""
        return self.severity == "warn" and KINDS[self.kind][1] is not ExitCode.OK

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts the worst first: what fails, what could not be judged, warnings, notes."""
        asks = KINDS[self.kind][1]
        place = 3 if asks is ExitCode.OK else 2 if self.severity == "warn" else asks != ExitCode.FAILED
        return (int(place), _RANK[self.kind], -self.magnitude, self.cell, self.output)


@dataclass(frozen=True, slots=True)
class GateReport:
    """What a gate has to say."""

    entries: tuple[Entry, ...]
    """Worst first."""
    counts: Mapping[str, int]
    """Number of entries by kind, with `compared`, `unchanged`, `skipped` and `warnings`."""
    exit_code: ExitCode
    notes: tuple[str, ...] = ()
    """Differences of environment, and what else is no entry."""
    comparable_times: bool | None = None
    """Whether both were measured on one machine; None without a baseline."""

    def as_json(self) -> dict[str, Any]:
        """Return plain data for machine output."""
        cells = [
            {"cell": e.cell, "output": e.output, "kind": e.kind, "severity": e.severity, "message": e.message}
            for e in self.entries
        ]
        return {
            "schema_version": 1,
            "exit_code": int(self.exit_code),
            "counts": dict(self.counts),
            "notes": list(self.notes),
            "cells": cells,
        }


@dataclass
class _Findings:
    """Entries so far; several of one row become one entry of the worst kind."""

    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, found: Sequence[tuple[str, str, float]]) -> None:
        worst = min(found, key=lambda f: _RANK[f[0]])
        ordered = sorted(found, key=lambda f: _RANK[f[0]])
        self.entries.append(
            Entry(
                worst[0],
                row["cell"],
                row["output"],
                "; ".join(text for _, text, _ in ordered),
                row.get("severity") or "fail",
                worst[2],
            )
        )


def compare_with_baseline(
    run_rows: Iterable[Row],
    run_header: Header,
    baseline_rows: Iterable[Row],
    baseline_header: Header,
    *,
    run_facts: Iterable[Row] = (),
    selected: Callable[[Row], bool] = lambda row: True,
    absence: str = "there is no baseline",
) -> GateReport:
    """Compare a judged run with accepted results.

    Parameters
    ----------
    run_rows
        Rows with verdicts, skipped cells included.
    run_header, baseline_header
        `environment`: facts of the machine and its libraries by name.
    baseline_rows
        Accepted rows; none means that there is no baseline.
    run_facts
        Facts of the run; those with a verdict count like rows.
    selected
        Whether a baseline row lies inside the run's selection and profile, so that its absence is a loss.
    absence
        What to say where there is no baseline.

    Raises
    ------
    UsageError
        A cell and output stands twice in either table.
    """
    run = _by_key(run_rows, "the run")
    baseline = _by_key(baseline_rows, "the baseline")
    comparable_times = same_machine(run_header, baseline_header)
    elsewhere = another_cpu(run_header, baseline_header)
    findings = _Findings()
    comparable = 0
    timed: set[str] = set()
    for key, row in run.items():
        before = baseline.get(key)
        found, compared = _compare(row, before, elsewhere)
        if not baseline:
            found = [f for f in found if f[0] != "new"]
        comparable += before is not None
        findings.counts["compared"] += compared
        findings.counts["skipped"] += row["verdict"] == "skip"
        if found:
            findings.add(row, found)
        elif compared:
            findings.counts["unchanged"] += 1
        if before is not None and comparable_times and row["cell"] not in timed:
            timed.add(row["cell"])
            _compare_time(row, before, findings)
    for key, before in baseline.items():
        if key not in run and selected(before):
            comparable += 1
            message = f"the baseline has {_told(before)}, and this run's selection no longer holds it"
            findings.entries.append(Entry("vanished", *key, message, before.get("severity") or "fail"))
    for fact in run_facts:
        _add_fact(fact, findings)
    missing = "" if baseline else absence
    return _report(findings, run_header, baseline_header, missing, comparable, comparable_times)


def _by_key(rows: Iterable[Row], where: str) -> dict[tuple[str, str], Row]:
    by_key: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row["cell"], row["output"])
        if key in by_key:
            raise UsageError(
                f"{where} holds output {key[1]!r} of cell {key[0]} twice",
                "renew the table; a result never overrides another",
            )
        by_key[key] = row
    return by_key


def _compare(row: Row, before: Row | None, elsewhere: bool) -> tuple[list[tuple[str, str, float]], bool]:
    """Return what is to be said about one row, and whether its accuracy was compared.

    `elsewhere`: the baseline was measured on another CPU.
    """
    had_result = before is not None and before["outcome"] not in (None, *_BAD_ENDS)
    if row["verdict"] == "skip":
        if not had_result or before is None:
            return [], False
        kind = "unavailable" if str(row["reason"]).startswith("unavailable") else "vanished"
        return [(kind, f"the baseline has {_told(before)}; now skipped: {row['reason']}", 0.0)], False
    found: list[tuple[str, str, float]] = []
    outcome = row["outcome"]
    ratio = _ratio(row)
    if row["verdict"] == "fail":
        found.append(("failed", str(row["reason"]), _badness(outcome, ratio)))
    elif str(row["reason"]).startswith("fixed_upstream"):
        found.append(("fixed_upstream", str(row["reason"]), 0.0))
    if outcome in _BAD_ENDS and had_result and before is not None:
        found.append(("regressed", f"{outcome}, and the baseline has {_told(before)}", math.inf))
        return found, True
    if row["verdict"] == "inconclusive":
        found.append(("inconclusive", str(row["reason"]), 0.0))
    if before is None:
        return found or [("new", _told(row), 0.0)], False
    if outcome is None or before["outcome"] is None:
        return found, False
    for column in ("inputs_digest", "compute_dtype"):
        if row.get(column) and before.get(column) and row[column] != before[column]:
            message = f"{column} {_short(before[column])} → {_short(row[column])}: changed, needs --accept"
            return [*found, ("changed", message, 0.0)], False
    compared = error_change(row, before)
    if elsewhere and row["verdict"] != "fail":
        compared = [("drifted" if kind == "regressed" else kind, text, size) for kind, text, size in compared]
    return found + compared, True


def error_change(row: Row, before: Row) -> list[tuple[str, str, float]]:
    """Return whether a row regressed or improved, in words, and by how much; nothing for neither.

    Both have an outcome; their bounds are the same.
    """
    was, now = before["outcome"], row["outcome"]
    if now != was:
        kind = "regressed" if OUTCOMES.index(now) < OUTCOMES.index(was) else "improved"
        return [(kind, f"outcome {was} → {now}", _badness(now, _ratio(row)))]
    old, new = _ratio(before), _ratio(row)
    if old is None or new is None:
        return []
    if _grown(old, new):
        return [("regressed", _growth(old, new), _badness(now, new / old if old else math.inf))]
    if _grown(new, old):
        return [("improved", _growth(old, new), old / new if new else math.inf)]
    return []


def _grown(old: float, new: float) -> bool:
    return new > GROWTH_FACTOR * old and new - old > GROWTH_OF_BOUND


def _growth(old: float, new: float) -> str:
    factor = f" ({new / old:.3g} ×)" if 0 < old < math.inf and new < math.inf else ""
    return f"bound_ratio {old:.3g} → {new:.3g}{factor}"


def _badness(outcome: str | None, ratio: float | None) -> float:
    """Return a number that is larger for worse results: outcomes before ratios."""
    if outcome is not None and outcome != "ok":
        return 1e300 * (len(OUTCOMES) - OUTCOMES.index(outcome))
    return 0.0 if ratio is None else min(ratio, 1e300)


def _compare_time(row: Row, before: Row, findings: _Findings) -> None:
    """Compare medians; the ratio's interval is the quotient of the two intervals' far ends."""
    columns = ("time_median_s", "time_ci_low_s", "time_ci_high_s")
    if not _timed_alike(row, before) or any(not r.get(c) for r in (row, before) for c in columns):
        return
    ratio = row["time_median_s"] / before["time_median_s"]
    low = row["time_ci_low_s"] / before["time_ci_high_s"]
    high = row["time_ci_high_s"] / before["time_ci_low_s"]
    findings.counts["times_compared"] += 1
    if low > TIME_FACTOR or high < 1 / TIME_FACTOR:
        kind = "slower" if ratio > 1 else "faster"
        message = f"time {ratio:.3g} × the baseline's [{low:.3g}, {high:.3g}], advisory"
        findings.entries.append(
            Entry(kind, row["cell"], row["output"], message, "warn", abs(math.log(ratio)))
        )


def _timed_alike(row: Row, before: Row) -> bool:
    """Return whether both were measured by one timer, and both hot or both cold.

    A baseline from before there was a column says only by which timer, and each measured one of the two.
    """
    states = {r.get("cache") for r in (row, before)} - {None}
    return row.get("timer") == before.get("timer") and len(states) <= 1


def _add_fact(fact: Row, findings: _Findings) -> None:
    kind = {"fail": "failed", "inconclusive": "inconclusive"}.get(str(fact.get("verdict")))
    if kind is not None:
        findings.entries.append(
            Entry(kind, fact_name(fact), fact["output"], fact_message(fact), fact.get("severity") or "fail")
        )


def fact_name(fact: Row) -> str:
    """Return whose fact it is, as an entry names it: `case/formulation/backend/dtype`."""
    return "/".join(str(fact[k]) for k in ("case", "formulation", "backend", "dtype"))


def fact_message(fact: Row) -> str:
    """Return what an entry says of a fact."""
    return f"{fact['fact']} of {fact['of']} against {fact['against']}: {fact['reason']}"


def _report(
    findings: _Findings,
    run_header: Header,
    baseline_header: Header,
    missing: str,
    comparable: int,
    comparable_times: bool,
) -> GateReport:
    entries = tuple(sorted(findings.entries, key=lambda e: e.order))
    counts = Counter(dict.fromkeys(("compared", "unchanged", "skipped", "times_compared"), 0))
    counts.update(findings.counts)
    counts.update(e.kind for e in entries)
    counts["warnings"] = sum(e.warns for e in entries)
    codes = [e.exit_code for e in entries]
    notes = []
    if missing:
        notes.append(missing)
    elif not comparable:
        notes.append("the baseline holds no cell of this run's selection")
    else:
        notes += environment_differences(run_header, baseline_header)
        if not comparable_times:
            notes.append("times are not compared: the baseline was measured on another machine")
        if counts["drifted"]:
            notes.append(
                "what drifted is advisory: the baseline is of another CPU, and nothing that is expected broke"
            )
    if not comparable:
        codes.append(ExitCode.NO_BASELINE)
    return GateReport(
        entries, dict(counts), highest(codes), tuple(notes), None if missing else comparable_times
    )


def environment_differences(run_header: Header, baseline_header: Header) -> list[str]:
    """Return one line for each fact of the environment that differs: `numpy 2.4.5 → 2.4.6`."""
    was, now = (dict(h.get("environment") or {}) for h in (baseline_header, run_header))
    found = differences(was, now)
    for name in ("cores_allowed", "variables"):
        old, new = was.get(name), now.get(name)
        if old != new:
            found.append(f"{name} {_plain(old)} → {_plain(new)}")
    return found


def _plain(value: Any) -> str:
    if isinstance(value, Mapping) and value:
        return " ".join(f"{k}={v}" for k, v in value.items())
    return str(value) if value else "none"


def same_machine(run_header: Header, baseline_header: Header) -> bool:
    """Return whether both were measured on machines that `MACHINE` does not tell apart."""
    was, now = (h.get("environment") or {} for h in (baseline_header, run_header))
    return bool(was) and all(was.get(name) == now.get(name) for name in MACHINE)


def another_cpu(run_header: Header, baseline_header: Header) -> bool:
    """Return whether it is known that the two were measured on different processors."""
    was, now = (h.get("environment") or {} for h in (baseline_header, run_header))
    return any(was.get(n) and now.get(n) and was[n] != now[n] for n in PROCESSOR)


def _ratio(row: Row) -> float | None:
    value = row.get("bound_ratio")
    return None if value is None else float(value)


def _told(row: Row) -> str:
    ratio = _ratio(row)
    shown = f" with bound_ratio {ratio:.3g}" if ratio is not None else ""
    return f"{row['outcome'] or 'a time'}{shown}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}…"
