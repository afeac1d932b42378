"""What crosses a process boundary: exact JSON lines, and arrays as files of bit patterns.

A message is one JSON object on one line. Exact numbers and non-finite floats, which JSON cannot
carry, travel as tagged objects, so that `decode(encode(x)) == x` for everything in `harness.model`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from . import model

PROTOCOL_VERSION = 1

_CLASSES = {
    cls.__name__: cls
    for cls in vars(model).values()
    if dataclasses.is_dataclass(cls) and isinstance(cls, type)
}


def encode(message: Any) -> str:
    """Return `message` as one line of JSON without a newline; exact for numbers of every kind."""
    return json.dumps(_pack(message), allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def decode(line: str | bytes) -> Any:
    """Return what `encode` was given (lists come back as lists, tuples as tuples)."""
    return _unpack(json.loads(line))


def _pack(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, Fraction):
        return {"$fraction": str(value)}
    if isinstance(value, Path):
        return {"$path": str(value)}
    if isinstance(value, tuple):
        return {"$tuple": [_pack(v) for v in value]}
    if isinstance(value, frozenset):
        return {"$set": sorted((_pack(v) for v in value), key=str)}
    if isinstance(value, list):
        return [_pack(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _pack(v) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _pack(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"$type": type(value).__name__, **fields}
    raise TypeError(f"{type(value).__name__} cannot cross a process boundary: {value!r}")


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(v) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag == "$decimal":
            return Decimal(content)
        if tag == "$fraction":
            return Fraction(content)
        if tag == "$float":
            return float(content)
        if tag == "$path":
            return Path(content)
        if tag == "$tuple":
            return tuple(_unpack(v) for v in content)
        if tag == "$set":
            return frozenset(_unpack(v) for v in content)
    if "$type" in value:
        cls = _CLASSES[value["$type"]]
        return cls(**{k: _unpack(v) for k, v in value.items() if k != "$type"})
    return {k: _unpack(v) for k, v in value.items()}
