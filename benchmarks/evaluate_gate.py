"""How often a comparison is wrong: ours and other tools' rules on the same measurements, as Markdown.

    python benchmarks/evaluate_gate.py comparisons.jsonl [--family 40] > evaluation.md

Each line of the file is one comparison of two sides whose true ratio is known:

    {"op": str, "threads": int, "loaded": bool, "family": int, "planted": float, "verdict": str,
     "seconds": float, "rounds": int, "threshold": float, "base": [s, …], "head": [s, …],
     "sequential_base": [s, …], "sequential_head": [s, …]}

`planted` is the true head / base (1.0: the same code twice), `verdict` is fail, pass or inconclusive; lists
hold seconds a call, one a slot, in order of time: the first two as measured in turn, the last two one side
after the other, as other tools measure. Ours is `verdict`, which was reached on more than these samples:
fresh workers confirm a failure. Intervals are Clopper–Pearson's at 95 %, and take comparisons for
independent; those of one family share workers, therefore families are counted too.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from rivals import RULES
from scipy.stats import binomtest

SAMPLINGS = ("interleaved", "sequential")
VERDICTS = ("fail", "pass", "inconclusive")
FEWEST = 9
"""Slots a side: what Google Benchmark's test asks for."""


class InputError(Exception):
    """What is wrong with the file, and where."""


@dataclass(frozen=True, slots=True)
class Record:
    """One comparison; `says` is what each rule makes of its samples, by rule and sampling."""

    op: str
    threads: int
    loaded: bool
    family: str
    planted: float
    verdict: str
    seconds: float
    rounds: int
    threshold: float
    says: Mapping[tuple[str, str], str]


SLOTS = ("base", "head", "sequential_base", "sequential_head")

# -------------------------------------------------------------------------------------------------- reading


def read(path: Path) -> list[Record]:
    """Return the comparisons of a file, each judged by every rule."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    found, few = [], 0
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                value = json.loads(line)
                if min(len(value[side]) for side in SLOTS) < FEWEST:
                    few += 1  # calls so slow that the budget held no more, or not measured by turns
                    continue
                found.append(record(value))
            except (ValueError, KeyError, TypeError) as error:
                what = f"no {error}" if isinstance(error, KeyError) else error
                raise InputError(f"{path}, line {number}: {what}") from error
        if number % 50 == 0:
            print(f"{number} of {len(lines)} lines", file=sys.stderr)
    if few:
        print(f"{path}: {few} comparisons of fewer than {FEWEST} slots are left out", file=sys.stderr)
    if not found:
        raise InputError(f"{path}: no comparison")
    return found


def record(value: dict[str, Any]) -> Record:
    """Return a comparison from what a line holds; ValueError if it makes no sense."""
    if value["verdict"] not in VERDICTS:
        raise ValueError(f"verdict {value['verdict']!r} is none of {', '.join(VERDICTS)}")
    says = {}
    for sampling, sides in zip(
        SAMPLINGS, (("base", "head"), ("sequential_base", "sequential_head")), strict=True
    ):
        samples = [value[side] for side in sides]
        for side, times in zip(sides, samples, strict=True):
            if len(times) < FEWEST:
                raise ValueError(f"{side} has {len(times)} slots; {FEWEST} are needed")
            if not all(isinstance(t, int | float) and math.isfinite(t) and t > 0 for t in times):
                raise ValueError(f"{side} holds what is not a time")
        says |= {(name, sampling): rule.decide(*samples) for name, rule in RULES.items()}
    plain = {f.name: value[f.name] for f in fields(Record) if f.name != "says"}
    if not plain["planted"] > 0:
        raise ValueError(f"planted {plain['planted']!r} is not a ratio")
    return Record(**plain, says=says)


# ------------------------------------------------------------------------------------------------- counting


def share(hits: int, of: int) -> str:
    """Return `hits of n: share [interval]`."""
    if not of:
        return "–"
    interval = binomtest(hits, of).proportion_ci(confidence_level=0.95, method="exact")
    return f"{hits} of {of}: {hits / of:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def shares(records: Sequence[Record], holds: Callable[[Record], bool]) -> str:
    return share(sum(holds(r) for r in records), len(records))


def failed(r: Record) -> bool:
    return r.verdict == "fail"


def undecided(r: Record) -> bool:
    return r.verdict == "inconclusive"


def slower(rule: str, sampling: str) -> Callable[[Record], bool]:
    return lambda r: r.says[rule, sampling] == "slower"


def grouped(records: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    groups: dict[Any, list[Record]] = defaultdict(list)
    for r in records:
        groups[key(r)].append(r)
    return dict(sorted(groups.items()))


def state(loaded: bool) -> str:
    return "loaded" if loaded else "idle"


def families_alarmed(records: Sequence[Record], alarm: Callable[[Record], bool]) -> str:
    families = grouped(records, lambda r: r.family)
    return share(sum(any(map(alarm, members)) for members in families.values()), len(families))


def percentile(values: Sequence[float], p: float) -> float:
    """Return the smallest value that at least the share p of them do not exceed."""
    return sorted(values)[max(0, math.ceil(p * len(values)) - 1)]


# --------------------------------------------------------------------------------------------------- tables


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def verdicts(groups: Mapping[Any, Sequence[Record]], header: Sequence[str]) -> str:
    rows = [
        [*(key if isinstance(key, tuple) else (key,)), len(of), shares(of, failed), shares(of, undecided)]
        for key, of in groups.items()
    ]
    return table([*header, "comparisons", "fail", "inconclusive"], rows)


def rules(
    records: Sequence[Record], count: Callable[[Sequence[Record], Callable[[Record], bool]], str]
) -> str:
    """Return a table of rules by sampling and load; ours is interleaved by its nature."""
    loads = {state(k): v for k, v in grouped(records, lambda r: r.loaded).items()}
    if len(loads) > 1:
        loads["all"] = list(records)
    columns = [(of, sampling) for sampling in SAMPLINGS for of in loads.values()]
    header = ["rule", *(f"{sampling}, {name}" for sampling in SAMPLINGS for name in loads)]
    rows = [["**ours**", *(count(of, failed) if s == "interleaved" else "–" for of, s in columns)]]
    for name, rule in RULES.items():
        rows.append([rule.title, *(count(of, slower(name, sampling)) for of, sampling in columns)])
    return table(header, rows)


def cannot_tell(records: Sequence[Record]) -> str:
    """Return a line on those rules that have this answer and gave it."""
    parts = []
    for name in RULES:
        counts = [sum(r.says[name, sampling] == "cannot tell" for r in records) for sampling in SAMPLINGS]
        if any(counts):
            parts.append(f"{name} {counts[0]} interleaved, {counts[1]} sequential")
    return f'"Cannot tell", counted as no alarm: {"; ".join(parts) or "none"} (of {len(records)}).\n'


def equal_code(records: Sequence[Record], size: int) -> list[str]:
    """Return the tables for comparisons of the same code."""
    parts = [
        f"## The same code twice: {len(records)} comparisons\n",
        verdicts(
            {
                (state(loaded), threads): of
                for (loaded, threads), of in grouped(records, lambda r: (r.loaded, r.threads)).items()
            }
            | {("all", "all"): records},
            ["machine", "threads"],
        ),
        "### By operation\n",
        verdicts(grouped(records, lambda r: r.op), ["operation"]),
        "### False alarms by rule\n",
        rules(records, shares),
        cannot_tell(records),
    ]
    families = grouped(records, lambda r: r.family)
    sizes = sorted(map(len, families.values()))
    odd = sum(s != size for s in sizes)
    note = "" if not odd else f" ({odd} of {len(sizes)} are of another size: {sizes[0]} to {sizes[-1]})"
    if any(len({r.loaded for r in members}) > 1 for members in families.values()):
        note += " (some hold idle and loaded ones, and count in both columns)"
    parts += [
        f"### Families of {size} with at least one false alarm{note}\n",
        rules(records, families_alarmed),
    ]
    return parts


def planted(records: Sequence[Record], title: str) -> list[str]:
    """Return the tables for comparisons with a true difference."""
    parts = [f"## {title}: {len(records)} comparisons\n"]
    groups = grouped(records, lambda r: (r.planted, r.loaded))
    parts += [
        verdicts(
            {(f"{p:g}", state(on)): of for (p, on), of in groups.items()}, ["true head / base", "machine"]
        ),
        "### Called slower, by rule\n",
    ]
    header = ["rule", *(f"{p:g}, {state(on)}" for p, on in groups)]
    rows = [["**ours**", *(shares(of, failed) for of in groups.values())]]
    for sampling in SAMPLINGS:
        for name, rule in RULES.items():
            cells = [shares(of, slower(name, sampling)) for of in groups.values()]
            rows.append([f"{rule.title}, {sampling}", *cells])
    return [*parts, table(header, rows), cannot_tell(records)]


def durations(records: Sequence[Record]) -> list[str]:
    """Return what comparisons took, and the thresholds they had."""
    rows = []
    for (p, loaded), of in grouped(records, lambda r: (r.planted, r.loaded)).items():
        took, deltas = [r.seconds for r in of], [r.threshold for r in of]
        rows.append(
            [
                f"{p:g}", state(loaded), len(of), f"{median(took):.3g}", f"{percentile(took, 0.9):.3g}",
                f"{median([r.rounds for r in of]):g}", f"{median(deltas):.1%}", f"{max(deltas):.1%}",
            ]
        )  # fmt: skip
    took = [r.seconds for r in records]
    rows.append(["all", "all", len(took), f"{median(took):.3g}", f"{percentile(took, 0.9):.3g}", "", "", ""])
    header = "true head / base, machine, comparisons, seconds (median), seconds (90th percentile)"
    return [
        "## What a comparison takes\n",
        table([*header.split(", "), "rounds (median)", "δ (median)", "δ (largest)"], rows),
    ]


def evaluation(records: Sequence[Record], size: int = 40) -> str:
    """Return the whole evaluation as Markdown."""
    same = [r for r in records if r.planted == 1]
    more, less = [r for r in records if r.planted > 1], [r for r in records if r.planted < 1]
    parts = equal_code(same, size) if same else []
    parts += planted(more, "The head is slower") if more else []
    parts += planted(less, "The head is faster, and nothing may call it slower") if less else []
    return "\n".join([*parts, *durations(records)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--family", type=int, default=40, help="comparisons of one family, for the heading")
    options = parser.parse_args()
    try:
        print(evaluation(read(options.file), options.family))
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
