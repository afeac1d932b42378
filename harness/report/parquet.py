"""Results as Parquet: typed columns, with units and the definitions of metrics in the schema's metadata."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import CouldNotMeasureError, UsageError
from harness.report import Report, register_report
from harness.report.json import plain

if TYPE_CHECKING:
    from harness.store import Run

METADATA: Final = "numerics-harness"
"""The key of the schema's metadata under which the run is described, as JSON."""
_DESCRIBED: Final = (
    "schema_version", "harness", "started", "finished", "profile", "selection", "references", "environment",
    "metrics", "operations", "cases",
)  # fmt: skip
_LARGEST: Final = 2**63
_EXACT: Final = 2**53
"""Up to here every integer is a double."""


def write(run: Run, path: Path) -> Path:
    """Write one row for each cell and output; null is what was not measured, and NaN is NaN.

    Raises
    ------
    UsageError
        pyarrow is not installed.
    CouldNotMeasureError
        The file cannot be written.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise UsageError(
            f"the format parquet needs pyarrow, which cannot be imported: {error}",
            "pip install 'numerics-harness[parquet]'",
        ) from None
    table = as_table(run, arrow)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        parquet.write_table(table, partial, compression="zstd")
        partial.replace(path)
    except OSError as error:
        raise CouldNotMeasureError(
            f"cannot write {path}: {os.strerror(error.errno) if error.errno else error}",
            "make room there or choose another folder",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def as_table(run: Run, arrow: Any) -> Any:
    """Return the results as a `pyarrow.Table`: the columns of results.csv, each in its type."""
    from harness.store import COLUMNS
    from harness.store.columns import FOR_VERDICTS, KINDS

    names = [column.name for column in COLUMNS]
    beside = dict.fromkeys(key for row in run.rows for key in row)
    names += [key for key in beside if key not in KINDS and key not in FOR_VERDICTS]
    explained = _explained(run.header)
    types = {"number": arrow.float64(), "integer": arrow.int64(), "boolean": arrow.bool_()}
    types["text"] = arrow.string()
    fields, arrays = [], []
    for name in names:
        values = [row.get(name) for row in run.rows]
        kind = KINDS.get(name) or kind_of(values)
        type_ = types[kind]
        arrays.append(arrow.array([_typed(value, kind) for value in values], type_))
        fields.append(arrow.field(name, type_, metadata=explained.get(name)))
    described = {key: run.header[key] for key in _DESCRIBED if key in run.header}
    metadata = {METADATA: json.dumps(plain(described), ensure_ascii=False, allow_nan=False)}
    return arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, metadata=metadata))


def kind_of(values: Sequence[Any]) -> str:
    """Return what a column that is not among the known ones holds; text where no one type holds it all."""
    found = {type(value) for value in values if value is not None}
    if found == {bool}:
        return "boolean"
    if found == {int} and all(-_LARGEST <= v < _LARGEST for v in values if v is not None):
        return "integer"
    if found and found <= {int, float}:
        whole = [v for v in values if isinstance(v, int)]
        return "number" if all(abs(v) <= _EXACT for v in whole) else "text"
    return "text"


def _typed(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "number":
        return float(value)
    if kind == "text":
        text = value if isinstance(value, str) else repr(value)
        return text.encode("utf-8", "backslashreplace").decode()
    return value


def _explained(header: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return what is known of each column: its unit, and the definition of its metric."""
    found = {name: {"unit": str(unit)} for name, unit in (header.get("columns") or {}).items()}
    for metric in header.get("metrics") or ():
        texts = {
            key: str(metric[key])
            for key in ("title", "unit", "formula", "source", "better")
            if metric.get(key)
        }
        found[str(metric.get("name"))] = texts
    return found


register_report(Report("parquet", "results as Parquet, typed (needs pyarrow)", "results.parquet", write))
