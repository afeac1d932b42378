"""A plan and the records of its run → rows: one for each cell and output, with every column."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from harness.model import Cell, Plan, Written, format_written
from harness.store.columns import AXIS_PREFIX, COLUMNS, FOR_VERDICTS, KINDS
from harness.store.journal import Record, identity

UNJUDGED: Final = ("referee_error", "worker_error")
"""Statuses of cells for which the harness, not the formulation, failed."""

_OF_THE_RUN: Final = (
    "device", "compute_dtype", "inputs_digest", "data_error", "flops", "bytes", "peak_memory_bytes",
)  # fmt: skip
"""Columns that a cell's accuracy run fills, beside its scores."""

_UNSCORED: Final = ("verdict", "reason", "severity", "axes")
"""Columns that no score fills."""


def rows(plan: Plan, records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one row for each cell and output of `plan`, in the plan's order.

    A row has every column of the results in their order, then one `axis.<name>` for each axis of the
    plan, then `undecided` and `error` for those who give verdicts. What was not measured is None:
    a failure is an outcome, never a number. Skipped cells are rows too, with their verdict.

    Parameters
    ----------
    plan
        What was to be run.
    records
        Records of the journal; of two about the same thing the first counts.
    """
    known: dict[tuple[Any, ...], Record] = {}
    for record in records:
        known.setdefault(identity(record), record)
    names = list(dict.fromkeys(name for cell in plan.cells for name in cell.axes))
    extra = _metrics_beside_the_columns(known.values())
    template: dict[str, Any] = dict.fromkeys(
        [column.name for column in COLUMNS] + extra + [AXIS_PREFIX + n for n in names] + list(FOR_VERDICTS)
    )
    return [_row(template, cell, output, known) for cell in plan.cells for output in cell.outputs]


def _row(
    template: Mapping[str, Any], cell: Cell, output: str, known: Mapping[tuple[Any, ...], Record]
) -> dict[str, Any]:
    row = {**template, **_coordinates(cell, output)}
    if cell.skip is not None:
        row |= {"verdict": "skip", "reason": f"{cell.skip.word}: {cell.skip.reason}"}
        return row
    accuracy = known.get(("accuracy", cell.id), {})
    for name in _OF_THE_RUN:
        row[name] = accuracy.get(name)
    row |= {
        "outcome": _outcome(cell, accuracy),
        "error": accuracy.get("error"),
        "fp_environment": accuracy.get("fp_environment"),
    }
    scored = accuracy.get("outputs", {}).get(output, {})
    row |= {
        name: _typed(name, value) for name, value in scored.items() if name in row and name not in _UNSCORED
    }
    if row["result_digest"] is None:
        row["result_digest"] = accuracy.get("result_digest")
    timing = known.get(("timing", cell.id), {})
    row |= {name: _typed(name, value) for name, value in timing.get("timing", {}).items() if name in row}
    if row["error"] is None and timing.get("error"):
        row["error"] = f"not timed: {timing['error']}"
    peaks = (
        known.get(("peak", cell.backend, timing.get("threads"), dtype), {}).get("gflops")
        for dtype in (cell.dtype, row["compute_dtype"])
    )
    row |= _rates(row, max(filter(None, peaks), default=None))
    return row


def _coordinates(cell: Cell, output: str) -> dict[str, Any]:
    return {
        "cell": cell.id,
        "case": cell.case,
        "output": output,
        "operation": cell.operation,
        "formulation": cell.formulation,
        "backend": cell.backend,
        "dtype": cell.dtype,
        "topic": cell.topic,
        "guide": " ".join(cell.guide) or None,
        "profile": cell.profile,
        "mode": cell.mode,
        "axes": axes_text(cell.axes),
        "seed": cell.seed,
        **axis_columns(axes_text(cell.axes)),
    }


def _outcome(cell: Cell, accuracy: Record) -> str | None:
    """A cell without output has its status for outcome; one that could not be judged has none."""
    status = accuracy.get("status")
    return None if status in (None, "ok", *UNJUDGED) else str(status)


def _rates(row: Mapping[str, Any], peak_gflops: float | None) -> dict[str, float]:
    """GFLOP/s, GB/s and the share of the peak.

    The peak is the greater of those that this backend reached in the dtype and in the compute dtype: what
    widens float16 is not limited by a float16 product, which a CPU may not have but in software.
    """
    rates: dict[str, float] = {}
    seconds = row["time_median_s"]
    if not seconds:
        return rates
    if row["flops"]:
        rates["gflops"] = row["flops"] / seconds / 1e9
        if peak_gflops:
            rates["peak_fraction"] = rates["gflops"] / peak_gflops
    if row["bytes"]:
        rates["gbps"] = row["bytes"] / seconds / 1e9
    return rates


def _typed(name: str, value: Any) -> Any:
    """The value in its column's type: JSON does not tell 3 from 3.0, and a worst index is text."""
    kind = KINDS.get(name)
    if value is None or kind is None:
        return value
    if kind == "number":
        return float(value)
    if kind == "text":
        return str(value) or None
    return bool(value) if kind == "boolean" else int(value)


def _metrics_beside_the_columns(records: Iterable[Record]) -> list[str]:
    """Names of metrics that no column was foreseen for: those that plug-ins registered."""
    found = {
        name
        for record in records
        if record["kind"] == "accuracy"
        for scored in record.get("outputs", {}).values()
        for name in scored
    }
    return sorted(found - KINDS.keys() - set(FOR_VERDICTS))


def axes_text(axes: Mapping[str, Written]) -> str:
    """Return axis values as one JSON object whose numbers are exact; non-finite ones are text."""
    return (
        "{"
        + ", ".join(f"{json.dumps(n, ensure_ascii=False)}: {_axis_json(v)}" for n, v in axes.items())
        + "}"
    )


def _axis_json(value: Written) -> str:
    if isinstance(value, str) or (isinstance(value, Decimal) and not value.is_finite()):
        return json.dumps(str(value), ensure_ascii=False)
    return format_written(value)


def axis_columns(text: str) -> dict[str, Any]:
    """Return the `axis.<name>` columns that an `axes` text stands for: int, float, bool or text."""
    return {AXIS_PREFIX + name: value for name, value in json.loads(text).items()}
