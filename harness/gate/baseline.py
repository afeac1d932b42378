"""The accepted results: a small folder of text files whose differences read well under version control.

`results.csv` holds coordinates, outcome and errors, `times.csv` the times, `facts.csv` the exponents
and frontiers, `baseline.json` the environment they were measured in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness import __version__
from harness.errors import NoBaselineError, UsageError
from harness.gate.comparison import MACHINE, same_machine
from harness.store import read_facts, read_rows, replace_text, write_table
from harness.store.environment import BINDING
from harness.store.run import read_header

Row = Mapping[str, Any]

SCHEMA_VERSION: Final = 1
HEADER: Final = "baseline.json"
RESULTS: Final = "results.csv"
TIMES: Final = "times.csv"
FACTS: Final = "facts.csv"

RESULT_COLUMNS: Final = (
    "cell", "output", "case", "operation", "formulation", "backend", "dtype", "compute_dtype", "mode", "axes",
    "topic", "guide", "profile", "inputs_digest", "outcome", "verdict", "severity", "bound_ratio", "max_ulp",
    "norm_rel_error", "bits",
)  # fmt: skip
TIME_COLUMNS: Final = (
    "cell", "timer", "cache", "time_median_s", "time_ci_low_s", "time_ci_high_s", "time_cuda_graph_s",
)  # fmt: skip
TIMES_NEEDED: Final = ("cell", "timer", "time_median_s", "time_ci_low_s", "time_ci_high_s")
"""What a table of times has at least: older ones have no more."""
FACT_COLUMNS: Final = (
    "fact", "case", "formulation", "backend", "dtype", "mode", "output", "of", "against", "where", "value",
    "unit",
)  # fmt: skip
TIMED: Final = (
    "time_median_s", "time_min_s", "time_wall_s", "time_wall_cold_s", "time_cuda_cold_s", "time_cuda_graph_s",
    "gflops", "gbps", "peak_fraction",
)  # fmt: skip
"""Exponents of these change with every run and are not accepted."""
_DIGITS: Final = 6
"""Significant digits of errors and times: far finer than any rule of the gate, and short to read."""


@dataclass(frozen=True)
class Baseline:
    """Accepted rows and what was known of the machine they come from."""

    rows: Sequence[Row]
    header: Mapping[str, Any]
    absence: str = ""
    """Why there are no rows, and how to make some."""


def read_baseline(folder: Path) -> Baseline:
    """Return the accepted results in a folder; the folder of a run is a baseline too.

    Raises
    ------
    NoBaselineError
        There is no baseline, or it holds no result.
    UsageError
        The folder holds something else, or a newer version wrote it.
    """
    if not (folder / RESULTS).is_file():
        found = "holds no results.csv" if folder.is_dir() else "is not there"
        raise NoBaselineError(
            f"baseline {folder} {found}", f"make one with: harness gate --accept --baseline {folder}"
        )
    rows = read_rows(folder / RESULTS, RESULT_COLUMNS)
    if not rows:
        raise NoBaselineError(
            f"baseline {folder} is empty", f"renew it with: harness gate --accept --baseline {folder}"
        )
    if not (folder / HEADER).is_file():
        return Baseline(rows, _header_of_run(folder))
    header = _read_header(folder / HEADER)
    times: dict[str, Row] = {}
    if (folder / TIMES).is_file():
        times = {row["cell"]: row for row in read_facts(folder / TIMES, TIMES_NEEDED)}
    return Baseline([{**row, **times.get(row["cell"], {})} for row in rows], header)


def accept(
    folder: Path,
    rows: Iterable[Row],
    facts: Iterable[Row],
    header: Mapping[str, Any],
    case_paths: Mapping[str, str],
    *,
    selected: Callable[[Row], bool] = lambda row: True,
) -> list[str]:
    """Make `rows` the accepted results of what they cover, and return what there is to know about it.

    Results outside the run's selection, and those of backends that this machine lacks, stay as they
    were. Rows are in the order of their cells' ids; every file is replaced whole.

    Parameters
    ----------
    folder
        The baseline; made if it is not there.
    rows, facts
        A judged run.
    header
        The header of the run.
    case_paths
        Case → file, so that a case whose file is gone can be told from one outside a selection.
    selected
        Whether an older row lies inside the selection of the run.

    Raises
    ------
    UsageError
        A cell of the run has no result, or the folder cannot be written.
    """
    rows = list(rows)
    unfinished = sorted({r["cell"] for r in rows if r["verdict"] != "skip" and _is_open(r)})
    if unfinished:
        raise UsageError(
            f"{len(unfinished)} cells of the run have no result, the first {unfinished[0]}",
            "finish it with `harness run --resume` before it is accepted",
        )
    before = _read_if_there(folder)
    taken = [row for row in rows if row["verdict"] != "skip"]
    kept = _kept(before.rows, rows, selected)
    environment = header.get("environment") or {}
    if not same_machine(header, before.header):
        kept = [{n: v for n, v in row.items() if n not in TIME_COLUMNS[1:]} for row in kept]
    _write(
        folder,
        taken + kept,
        [f for f in facts if str(f["of"]) not in TIMED],
        {
            "schema_version": SCHEMA_VERSION,
            "harness": __version__,
            "profile": header.get("profile"),
            "environment": {n: environment[n] for n in (*BINDING, *MACHINE, "variables") if n in environment},
            "cases": dict(sorted({**before.header.get("cases", {}), **case_paths}.items())),
        },
    )
    notes = [f"accepted {len(taken)} results"]
    if kept:
        notes.append(f"kept {len(kept)} results that this run does not cover")
    failing = sum(row["verdict"] == "fail" and row["severity"] != "warn" for row in taken)
    if failing:
        notes.append(f"{failing} accepted results fail their expectation, and the gate will go on failing")
    return notes


def _is_open(row: Row) -> bool:
    return row["outcome"] is None and row.get("time_median_s") is None


def _read_if_there(folder: Path) -> Baseline:
    try:
        return read_baseline(folder)
    except NoBaselineError:
        return Baseline([], {})


def _kept(older: Iterable[Row], rows: Iterable[Row], selected: Callable[[Row], bool]) -> list[Row]:
    """Return the older rows that the run says nothing about."""
    covered = {(r["cell"], r["output"]): r for r in rows}
    kept = []
    for row in older:
        now = covered.get((row["cell"], row["output"]))
        if now is None:
            if not selected(row):
                kept.append(row)
        elif now["verdict"] == "skip" and str(now["reason"]).startswith("unavailable"):
            kept.append(row)
    return kept


def _write(folder: Path, rows: Iterable[Row], facts: Iterable[Row], header: Mapping[str, Any]) -> None:
    rows = [_shortened(r) for r in sorted(rows, key=lambda r: (r["cell"], r["output"]))]
    timed = {row["cell"]: row for row in rows if row.get("time_median_s") is not None}
    order = [name for name in FACT_COLUMNS if name != "value"]
    facts = sorted((_shortened(f) for f in facts), key=lambda f: [str(f[name]) for name in order])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the baseline folder {folder}: {error.strerror}") from None
    write_table(rows, RESULT_COLUMNS, folder / RESULTS)
    write_table(timed.values(), TIME_COLUMNS, folder / TIMES)
    write_table(facts, FACT_COLUMNS, folder / FACTS)
    replace_text(folder / HEADER, json.dumps(header, indent=1, ensure_ascii=False) + "\n")


def _shortened(row: Row) -> dict[str, Any]:
    return {n: float(f"{v:.{_DIGITS}g}") if isinstance(v, float) else v for n, v in row.items()}


def _header_of_run(folder: Path) -> Mapping[str, Any]:
    """Return the header of a baseline that is the folder of a run itself."""
    header, plan = read_header(folder)
    return {**header, "cases": {case.name: case.path for case in plan.cases.values()}}


def _read_header(path: Path) -> Mapping[str, Any]:
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        version = int(header["schema_version"])
        for name in ("environment", "cases"):
            if not isinstance(header.get(name, {}), dict):
                raise TypeError(f"{name} is no mapping")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is damaged: {type(error).__name__}: {error}",
            "take it back from version control, or accept a run into another folder",
        ) from None
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {version}, this harness reads up to {SCHEMA_VERSION}",
            "use the version of the harness that accepted the baseline",
        )
    return dict(header)
