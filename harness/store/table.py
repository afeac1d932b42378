"""Rows ↔ CSV ↔ pandas, exactly: floats by their shortest spelling, empty only where nothing was measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.model import OUTCOMES, VERDICTS
from harness.store.columns import AXIS_PREFIX, COLUMNS, FOR_VERDICTS, KINDS
from harness.store.files import replace_text
from harness.store.rows import axis_columns

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

NEEDED: Final = ("cell", "outcome", "verdict", "axes")
"""Columns without which a table is none of results."""

_WORDS: Final = {"outcome": OUTCOMES, "verdict": VERDICTS, "severity": ("fail", "warn")}


def write_results(rows: Sequence[Row], path: Path) -> None:
    """Write `results.csv`: the columns of the results in their order, then the axes.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    names = [column.name for column in COLUMNS]
    beside = dict.fromkeys(key for row in rows for key in row)
    names += [key for key in beside if key not in KINDS and key not in FOR_VERDICTS]
    write_table(rows, names, path)


def write_table(rows: Iterable[Row], names: Sequence[str], path: Path) -> None:
    """Write the named columns of `rows` as CSV, whole or not at all."""
    replace_text(path, table_text(rows, names))


def table_text(rows: Iterable[Row], names: Sequence[str]) -> str:
    """Return the named columns of `rows` as CSV: floats by their shortest spelling, None as nothing."""
    lines = [names, *([_text(row.get(name)) for name in names] for row in rows)]
    return "".join(",".join(map(_field, line)) + "\n" for line in lines)


def read_rows(path: Path, needed: Collection[str] = NEEDED) -> list[dict[str, Any]]:
    """Return the rows of a `results.csv`, each value in its column's type and None where empty.

    Raises
    ------
    UsageError
        The file cannot be read, or is no table of results with the columns `needed`.
    """
    table = _with_columns(read_table(path), needed, path)
    rows = []
    for number, raw in enumerate(table, start=2):
        try:
            row = {n: _value(text, KINDS.get(n)) for n, text in raw.items() if not n.startswith(AXIS_PREFIX)}
            row |= dict.fromkeys(n for n in raw if n.startswith(AXIS_PREFIX))
            row |= axis_columns(row["axes"] or "{}")
            for name, allowed in _WORDS.items():
                if row.get(name) not in (None, *allowed):
                    raise ValueError(f"unknown {name} {row[name]!r}; allowed: {', '.join(allowed)}")
        except ValueError as error:
            raise UsageError(f"{path}:{number}: {error}") from None
        rows.append(row)
    return rows


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file as texts by column name."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            names = next(reader, [])
            table = []
            for line in reader:
                if len(line) != len(names):
                    told = f"line {reader.line_num} has {len(line)} fields, the first line {len(names)}"
                    raise ValueError(told)
                table.append(dict(zip(names, line, strict=True)))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise UsageError(f"{path} is no CSV table: {error}") from None
    return table


def read_facts(path: Path, needed: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the rows of a `facts.csv`, or of another table beside the results; None where empty.

    Raises
    ------
    UsageError
        The file cannot be read, or is no table with the columns `needed`.
    """
    table = _with_columns(read_table(path), needed, path)
    try:
        return [{name: _value(text, KINDS.get(name)) for name, text in row.items()} for row in table]
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _with_columns(table: list[dict[str, str]], needed: Collection[str], path: Path) -> list[dict[str, str]]:
    lacking = [name for name in needed if table and name not in table[0]]
    if lacking:
        raise UsageError(
            f"{path} is no table of results, or a damaged one: it lacks the columns {', '.join(lacking)}"
        )
    return table


def _field(text: str) -> str:
    """Quote where needed; csv.writer leaves a lone carriage return bare, which its reader refuses."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def _value(text: str, kind: str | None) -> Any:
    if text == "":
        return None
    if kind == "text":
        return text
    if kind == "integer":
        return int(text)
    if kind == "number":
        return float(text)
    if kind == "boolean" or text in ("true", "false"):
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def frame(rows: Sequence[Row], names: Sequence[str] | None = None) -> pd.DataFrame:
    """Return rows as a pandas DataFrame with nullable types, so that empty and NaN stay two things.

    Columns are Int64, Float64, boolean or string; <NA> is what was not measured.
    """
    import pandas as pd

    if names is None:
        beside = dict.fromkeys(key for row in rows for key in row if key not in FOR_VERDICTS)
        names = [column.name for column in COLUMNS] + [key for key in beside if key not in KINDS]
    return pd.DataFrame({n: _series([row.get(n) for row in rows], KINDS.get(n)) for n in names})


def _series(values: Sequence[Any], kind: str | None) -> Any:
    import numpy as np
    import pandas as pd

    kind = kind or _kind_of([v for v in values if v is not None])
    missing = np.array([v is None for v in values], dtype=bool)
    if kind == "number":  # pandas.array would take NaN for missing
        numbers = np.array([math.nan if v is None else float(v) for v in values], dtype=np.float64)
        return pd.arrays.FloatingArray(numbers, missing)
    if kind == "integer":
        return pd.array(list(values), dtype="Int64")
    if kind == "boolean":
        return pd.array(list(values), dtype="boolean")
    return pd.array([None if v is None else str(v) for v in values], dtype="string")


def _kind_of(values: Sequence[Any]) -> str:
    types = {type(v) for v in values}
    if types and types <= {int}:
        return "integer"
    if types and types <= {int, float}:
        return "number"
    return "boolean" if types == {bool} else "text"
