"""`comparison.json`: a comparison written so that it comes back as it was, exact numbers included."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from harness.compare.model import ACCURACY, KINDS, VERDICTS, Comparison, Null, Pair, Side
from harness.errors import UsageError
from harness.protocol import decode, encode

SCHEMA_VERSION: Final = 1
FILE: Final = "comparison.json"

_WORDS: Final[Mapping[str, Iterable[str]]] = {"verdict": VERDICTS, "kind": KINDS, "accuracy": ACCURACY}
_FLAT: Final = (Side, Pair, Null)
_MEND: Final = "put it back from a copy, or compare anew"

T = TypeVar("T")


def write(comparison: Comparison, folder: Path) -> Path:
    """Write a comparison into a folder, whole or not at all, and return the file.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    path = folder / FILE
    replace_text(path, text_of(comparison))
    return path


def text_of(comparison: Comparison) -> str:
    """Return a comparison as JSON, a pair on a line; numbers that JSON does not know are tagged objects."""
    content = {"schema_version": SCHEMA_VERSION, **_plain(comparison)}
    lines = []
    for name, value in content.items():
        several = name in ("pairs", "nulls") and value
        shown = "[\n  " + ",\n  ".join(map(encode, value)) + "\n ]" if several else encode(value)
        lines.append(f" {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def is_comparison(folder: Path) -> bool:
    """Return whether a folder holds a comparison."""
    return (folder / FILE).is_file()


def read(folder: Path) -> Comparison:
    """Return the comparison that a folder holds.

    Raises
    ------
    UsageError
        There is none, it is damaged, or a newer version wrote it.
    """
    path = folder / FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"{folder} is no folder of a comparison: it has no {FILE}", "make one with: harness compare"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    try:
        content = json.loads(raw)
        version = content["schema_version"] if isinstance(content, dict) else None
        if type(version) is not int:
            raise ValueError(f"its schema version is {version!r}, no number")
        if version > SCHEMA_VERSION:
            raise UsageError(
                f"{path} has schema version {version}, this harness reads up to {SCHEMA_VERSION}",
                "use the version of the harness that made the comparison",
            )
        return _made(Comparison, decode(raw), "the file")
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: {type(error).__name__}: {error}", _MEND) from None


def _plain(value: Any) -> Any:
    """Return our own classes as mappings of their fields, tuples of them as lists."""
    if isinstance(value, (Comparison, *_FLAT)):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple) and any(isinstance(v, _FLAT) for v in value):
        return [_plain(v) for v in value]
    return value


def _made(cls: type[T], content: Any, where: str) -> T:
    """Return a value of one of our classes; what a later version added to it is passed over."""
    if not isinstance(content, Mapping):
        raise TypeError(f"{where} is {type(content).__name__}, not an object")
    hints = get_type_hints(cls)
    known = [name for name in hints if name in content]
    values = {name: _fitting(content[name], hints[name], f"{name} of {where}") for name in known}
    for name, words in _WORDS.items():
        if name in values and values[name] not in words:
            raise ValueError(f"{name} of {where} is {values[name]!r}; allowed: {', '.join(words)}")
    return cls(**values)


def _fitting(value: Any, hint: Any, where: str) -> Any:
    """Return a value as the type of its field, or raise."""
    if hint is Any:
        return value
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        if value is None and NoneType in arguments:
            return None
        error: Exception = TypeError(f"{where} is {type(value).__name__}")
        for one in arguments:
            try:
                return _fitting(value, one, where)
            except TypeError as found:
                error = found
        raise error
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{where} is {type(value).__name__}, not a list")
        return tuple(_fitting(v, arguments[0], f"{where}, item {n + 1}") for n, v in enumerate(value))
    if origin is not None:
        if not isinstance(value, Mapping):
            raise TypeError(f"{where} is {type(value).__name__}, not an object")
        return {k: _fitting(v, arguments[1], f"{where}, {k}") for k, v in value.items()}
    if hint in _FLAT:
        return _made(hint, value, where)
    wanted = (int, float) if hint is float else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{where} is {type(value).__name__}, not {hint.__name__}")
    return float(value) if hint is float else value
