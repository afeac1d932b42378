"""The folder of one run: started, resumed, finished, opened again.

It holds `plan.json` (what is asked and on what machine, written before anything is measured),
`journal.jsonl` (what was measured, line by line) and, when finished, `results.csv` and `facts.csv`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from harness import __version__
from harness.errors import CouldNotMeasureError, UsageError
from harness.model import Plan
from harness.protocol import decode, encode
from harness.registry import METRICS, OPERATIONS, Gradient, Operation
from harness.store.columns import COLUMNS
from harness.store.environment import differences, environment
from harness.store.files import replace_text
from harness.store.identity import changes, measurement_digests, plan_digest
from harness.store.journal import SCHEMA_VERSION, Journal, read
from harness.store.rows import rows
from harness.store.table import frame, read_facts, read_rows, write_results, write_table

if TYPE_CHECKING:
    import pandas as pd

PLAN: Final = "plan.json"
JOURNAL: Final = "journal.jsonl"
RESULTS: Final = "results.csv"
FACTS: Final = "facts.csv"
LATEST: Final = "latest"

_HEADER: Final[Mapping[str, type | tuple[type, ...]]] = {
    "harness": str,
    "started": str,
    "finished": (str, NoneType),
    "plan_digest": str,
    "environment": dict,
    "digests": dict,
}
"""What is read from `plan.json` beside the plan, and its type."""

_OF_A_FACT: Final = (
    "fact", "case", "formulation", "backend", "dtype", "output", "of", "against", "verdict", "reason",
)  # fmt: skip
"""What whoever reads a fact relies on."""

_PROBE_BYTES: Final = 1 << 20
"""Written, synchronised and removed before the work: a full disk shows now, not after an hour."""


@dataclass(frozen=True)
class OpenRun:
    """A run that is being made: its folder, its plan, what is stored with it, and its journal."""

    folder: Path
    plan: Plan
    header: Mapping[str, Any]
    journal: Journal
    resumed: bool


@dataclass(frozen=True)
class Run:
    """A run that was made, finished or not.

    `results` and `facts` are pandas frames with nullable types; `rows` are the results as plain
    data; `header["finished"]` is None where the run was interrupted, and then rows have no verdict.
    """

    folder: Path
    header: Mapping[str, Any]
    plan: Plan
    rows: Sequence[Mapping[str, Any]]
    fact_rows: Sequence[Mapping[str, Any]]

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.header["finished"] is not None

    @property
    def results(self) -> pd.DataFrame:
        """One row for each cell and output."""
        return frame(self.rows)

    @property
    def facts(self) -> pd.DataFrame:
        """What belongs to no single row."""
        names = list(self.fact_rows[0]) if self.fact_rows else []
        return frame(self.fact_rows, names)


def start(plan: Plan, folder: Path, *, resume: bool = False) -> OpenRun:
    """Open `folder` for a run of `plan`; nothing is measured unless it can be written.

    With `resume`, a run that is there goes on. It must be the same question on the same machine:
    every cell's measurement unchanged, and the environment too; otherwise rows that look alike would
    answer two questions. Rules and texts of cases may have changed, and count as they are now.

    Raises
    ------
    UsageError
        The folder cannot be written; it holds a run and `resume` is false; the run in it measures
        something else, was made on another machine or with other versions, or is being written.
    CouldNotMeasureError
        There is no room to write.
    """
    _probe(folder)
    there = (folder / PLAN).exists() or (folder / JOURNAL).exists()
    if there and not resume:
        raise UsageError(
            f"{folder} holds a run already", "add --resume to go on with it, or choose another --out"
        )
    digests = measurement_digests(plan)
    machine = environment()
    started = _now()
    resumed = False
    journal = Journal(folder / JOURNAL)
    try:
        _sweep(folder)
        if (folder / PLAN).exists():
            before, _ = read_header(folder)
            _refuse_another(folder, before, digests, machine)
            started, resumed = before["started"], True
        elif journal.records:
            raise UsageError(
                f"{folder} holds a journal without {PLAN}: no run to resume", "choose another --out"
            )
        header = _header(plan, digests, machine, started)
        _write_header(folder, header, plan)
    except BaseException:
        journal.close()
        raise
    return OpenRun(folder, plan, header, journal, resumed)


def finish(
    run: OpenRun,
    results: Sequence[Mapping[str, Any]],
    facts: Sequence[Mapping[str, Any]],
    fact_columns: Sequence[str],
) -> Run:
    """Write the results and facts of a run that came to its end, and close its journal."""
    run.journal.sync()
    write_results(results, run.folder / RESULTS)
    write_table(facts, fact_columns, run.folder / FACTS)
    header = {**run.header, "finished": _now()}
    _write_header(run.folder, header, run.plan)
    records = run.journal.records
    run.journal.close()
    return Run(run.folder, _with_children(header, records), run.plan, results, facts)


def load(run: str | os.PathLike[str]) -> Run:
    """Return the run in a folder; `reports/latest` may be a link to one, or a file that names one.

    An interrupted run has the rows of its journal, and no verdicts yet.

    Raises
    ------
    UsageError
        There is no run, or it cannot be read.
    """
    folder = resolve(Path(run))
    header, plan = read_header(folder)
    records = read(folder / JOURNAL)
    header = _with_children(header, records)
    if header["finished"] is None:
        return Run(folder, header, plan, rows(plan, records), [])
    facts = read_facts(folder / FACTS, _OF_A_FACT) if (folder / FACTS).exists() else []
    return Run(folder, header, plan, _results(folder, plan), facts)


def _results(folder: Path, plan: Plan) -> list[dict[str, Any]]:
    """Return the results of a finished run, which are all that its plan asks for.

    Raises
    ------
    UsageError
        They cannot be read, or are not all there: those missing would count as vanished, or be accepted.
    """
    again = f"write it again from the journal: harness run --resume --out {folder}, with the same selection"
    try:
        results = read_rows(folder / RESULTS)
    except UsageError as error:
        raise UsageError(error.message, again) from None
    planned = [(cell.id, output) for cell in plan.cells for output in cell.outputs]
    if planned != [(row["cell"], row.get("output")) for row in results]:
        raise UsageError(
            f"{folder / RESULTS} is damaged: its {len(results)} rows are not the {len(planned)} of the plan",
            again,
        )
    return results


def resolve(run: Path) -> Path:
    """Return the folder that `run` stands for.

    Raises
    ------
    UsageError
        There is none.
    """
    folder = run
    if run.is_file() and run.name == LATEST:
        folder = run.parent / run.read_text(encoding="utf-8", errors="replace").strip()
    if not (folder / PLAN).is_file():
        raise UsageError(f"{run} is no folder of a run: it has no {PLAN}", "make one with: harness run")
    return folder.resolve()


def point_latest(folder: Path) -> Path | None:
    """Let `latest` beside `folder` name it, in one step; a text file where links are not to be had.

    Returns None, and changes nothing, where a folder or foreign file of that name is in the way.
    """
    latest = folder.parent / LATEST
    if latest.is_dir() and not latest.is_symlink():
        return None
    partial = folder.parent / f".{LATEST}.{secrets.token_hex(4)}"
    try:
        try:
            partial.symlink_to(folder.name, target_is_directory=True)
        except OSError:
            partial.write_text(folder.name + "\n", encoding="utf-8")
        partial.replace(latest)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CouldNotMeasureError(f"cannot write {latest}: {error.strerror}") from None
    return latest


def read_header(folder: Path) -> tuple[dict[str, Any], Plan]:
    """Return what `plan.json` stores beside the plan, and the plan.

    Raises
    ------
    UsageError
        It cannot be read, is damaged, or a newer version wrote it.
    """
    path = folder / PLAN
    try:
        raw = path.read_bytes()
        version = json.loads(raw)["schema_version"]
        if version > SCHEMA_VERSION:
            raise UsageError(
                f"{path} has schema version {version}, this harness reads up to {SCHEMA_VERSION}",
                "use the version of the harness that made the run",
            )
        header: dict[str, Any] = decode(raw)
        plan = header.pop("plan")
        for name, type_ in _HEADER.items():
            if not isinstance(header[name], type_):
                raise TypeError(f"{name} is {header[name]!r}")
        if not isinstance(plan, Plan):
            raise TypeError("what it holds is no plan")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise UsageError(
            f"{path} is damaged: {type(error).__name__}: {error}",
            "put it back from a copy, or start anew with another --out",
        ) from None
    return header, plan


def _header(
    plan: Plan, digests: Mapping[str, str], machine: Mapping[str, Any], started: str
) -> dict[str, Any]:
    used = {case.operation for case in plan.cases.values()}
    return {
        "schema_version": SCHEMA_VERSION,
        "harness": __version__,
        "started": started,
        "finished": None,
        "profile": plan.profile,
        "selection": dict(plan.selection),
        "plan_digest": plan_digest(digests),
        "environment": dict(machine),
        "columns": {column.name: column.unit for column in COLUMNS if column.unit},
        "metrics": [
            {
                key: getattr(metric, key)
                for key in ("name", "title", "unit", "formula", "source", "better", "display")
            }
            for metric in METRICS.values()
        ],
        "operations": {
            o.name: {
                "title": o.title,
                **_told(o),
                **({} if o.gradient is None else {"gradient": _told(o.gradient)}),
            }
            for o in OPERATIONS.values()
            if o.name in used
        },
        "cases": {
            c.name: {"title": c.title, "topic": c.topic, "guide": list(c.guide), "description": c.description}
            for c in plan.cases.values()
        },
        "digests": dict(digests),
    }


def _told(proved: Operation | Gradient) -> dict[str, Any]:
    names = ("formula", "bound_formula", "bound_source", "reference_version")
    return {name: getattr(proved, name) for name in names}


def _write_header(folder: Path, header: Mapping[str, Any], plan: Plan) -> None:
    replace_text(folder / PLAN, encode({**header, "plan": plan}) + "\n")


def _with_children(header: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The header with what children said of themselves, the peaks, and where references came from."""
    children = {r["child"]: r["facts"] for r in records if r["kind"] == "environment"}
    peaks = [r for r in records if r["kind"] in ("peak", "bandwidth")]
    found = [r["reference"] for r in records if r["kind"] == "reference"]
    cached = found.count("cached")
    return {
        **header,
        "environment": {**header["environment"], "children": children, "peaks": peaks},
        "references": {"computed": len(found) - cached, "cached": cached},
    }


def _refuse_another(
    folder: Path, before: Mapping[str, Any], digests: Mapping[str, str], machine: Mapping[str, Any]
) -> None:
    if before["plan_digest"] != plan_digest(digests):
        told = "; ".join(changes(before["digests"], digests))
        raise UsageError(
            f"{folder} holds a run of other cells, so it cannot be resumed: {told}",
            "run the selection and case files it was made with, or start anew with another --out",
        )
    other = differences(before["environment"], machine)
    if other or before["harness"] != __version__:
        if before["harness"] != __version__:
            other.insert(0, f"harness {before['harness']} → {__version__}")
        raise UsageError(
            f"{folder} holds a run made in another environment, so it cannot be resumed: {'; '.join(other)}",
            "go back to that environment, or start anew with another --out",
        )


def _probe(folder: Path) -> None:
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(
            f"cannot write to the output folder {folder}: {error.strerror}", "choose another with --out"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what a run that was killed left half written; the journal's lock says that it is gone."""
    for left in (*folder.glob(".probe-*"), *folder.glob(".*.partial")):
        with contextlib.suppress(OSError):
            left.unlink()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
