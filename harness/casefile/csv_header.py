"""The first line of a CSV file: the columns that a case names are looked for before anything runs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InputError, did_you_mean


def check_column(header: Sequence[str], name: str, shown: str) -> None:
    """Raise InputError if no column has that name; a header that semicolons part is told as such."""
    if name in header:
        return
    if len(header) == 1 and ";" in header[0]:
        hint = "is this file separated by semicolons? commas are wanted"
    else:
        hint = did_you_mean(name, header)
    raise InputError(f"{shown} has no column {name!r}", hint)


def columns_of(file: Path, shown: str) -> tuple[str, ...]:
    """Return the names of the columns; nothing else of the file is read.

    Raises
    ------
    InputError
        The file cannot be read as CSV, or is empty.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            first = next((row for row in csv.reader(opened, strict=True) if row), None)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{shown} cannot be read as CSV: {error}") from None
    if first is None:
        raise InputError(f"{shown} holds no data", "the first line names the columns, the others are rows")
    return tuple(name.strip() for name in first)
