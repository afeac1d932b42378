"""Data beside the case file: `file` reads columns of a CSV file, or a NumPy array."""

from __future__ import annotations

import csv
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, did_you_mean
from harness.recipes.arguments import LARGEST_EXPONENT
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _file(
    context: RecipeContext, path: str, column: str | None, columns: tuple[str, ...] | None, intercept: bool
) -> NDArray[Any]:
    """Return one column as a vector, several as the columns of a matrix, or a whole NPY file.

    Numbers of a CSV file are exact decimals. With `intercept` a column of ones comes first.
    """
    found = inside(context.folder, path)
    if found.suffix.lower() == ".npy":
        if column is not None or columns is not None:
            raise InputError(f"{path} is a NumPy array and has no named columns", "leave column(s) out")
        data = _read_npy(found, path)
    elif found.suffix.lower() == ".csv":
        data = _read_csv(found, path, column, columns)
    else:
        raise InputError(f"{path} is of an unknown kind", "allowed: .csv, .npy")
    return _with_ones(data, path) if intercept else data


def inside(folder: Path, path: str) -> Path:
    """Return the file that `path` names, or raise InputError if it is none or lies outside `folder`.

    Symbolic links are followed first, so that none leads out.
    """
    root = folder.resolve()
    try:
        found = (root / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"path {path!r} cannot be followed: {error}") from None
    if not found.is_relative_to(root):
        raise InputError(f"path {path!r} leaves the folder of its case", "put the file beside the case file")
    if not found.is_file():
        raise InputError(f"path {path!r} is no file", "paths start at the folder of the case file")
    return found


def _read_csv(found: Path, path: str, column: str | None, columns: tuple[str, ...] | None) -> NDArray[Any]:
    import numpy as np

    if (column is None) == (columns is None):
        raise InputError("one of column and columns is needed", "column: name, or columns: [name, name]")
    wanted = columns if column is None else (column,)
    try:
        with found.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if len(set(header)) < len(header):
        raise InputError(f"{path} names a column twice in its first line")
    if len(rows) < 2:
        raise InputError(f"{path} holds no data", "the first line names the columns, the others are rows")
    places = []
    for name in wanted or ():
        if name not in header:
            raise InputError(f"{path} has no column {name!r}", did_you_mean(name, header))
        places.append(header.index(name))
    made = np.empty((len(rows) - 1, len(places)), object)
    for i, row in enumerate(rows[1:]):
        if len(row) != len(header):
            raise InputError(f"{path}, row {i + 1}: {len(row)} cells under {len(header)} columns")
        for j, place in enumerate(places):
            made[i, j] = _number(row[place], f"{path}, row {i + 1}, column {header[place]!r}")
    return made if column is None else made[:, 0]


def _number(text: str, place: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise InputError(f"{place}: {text!r} is no number") from None
    if number.is_finite() and abs(number.adjusted()) > LARGEST_EXPONENT:
        raise InputError(f"{place}: {text!r} is out of range: exponents end at {LARGEST_EXPONENT}")
    return number


def _read_npy(found: Path, path: str) -> NDArray[Any]:
    import numpy as np

    try:
        data = np.load(found, allow_pickle=False, mmap_mode=None)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a NumPy array: {error}") from None
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "fiu" or data.dtype.itemsize > 8:
        kind = getattr(data, "dtype", type(data).__name__)
        raise InputError(f"{path} holds {kind}", "allowed: integers, and floats of at most 64 bits")
    if data.dtype.kind == "f":
        return data.astype(np.float64)
    return np.array([int(v) for v in data.reshape(-1)], object).reshape(data.shape)


def _with_ones(data: NDArray[Any], path: str) -> NDArray[Any]:
    import numpy as np

    matrix = data[:, None] if data.ndim == 1 else data
    if matrix.ndim != 2:
        raise InputError(f"{path} has {matrix.ndim} dimensions; an intercept joins the columns of a matrix")
    one: Any = Fraction(1) if data.dtype == object else 1.0
    return np.concatenate([np.full((len(matrix), 1), one, data.dtype), matrix], axis=1)


register_recipe(
    Recipe(
        name="file",
        title="Columns of a CSV file, or a NumPy array, in the folder of the case file",
        arguments={
            "path": Argument("text", "a .csv or .npy file in the folder of the case file or below"),
            "column": Argument("text", "the name of one column, for a vector", None, required=False),
            "columns": Argument("texts", "the names of columns, for a matrix", None, required=False),
            "intercept": Argument("flag", "whether a column of ones comes first", False, required=False),
        },
        make=_file,
        elements=lambda arguments: None,
    )
)
