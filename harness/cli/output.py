"""What is printed: machine output, and lists cut to what a screen holds."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import click

from harness.cli import discard

SCHEMA_VERSION = 1


def as_json(*, cells: Iterable[Mapping[str, Any]], **more: Any) -> str:
    """Return machine output: `{"schema_version": 1, …, "cells": [...]}`; non-finite numbers as text."""
    return json.dumps(
        _plain({"schema_version": SCHEMA_VERSION, **more, "cells": list(cells)}),
        ensure_ascii=False, allow_nan=False, indent=1,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Decimal) and not value.is_finite():
        return str(value)
    if isinstance(value, (Decimal, Fraction)):
        return int(value) if value == int(value) else float(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def say(text: str) -> None:
    """Print what comes before a verdict: a reader that has seen enough (`| head -1`) does not change it."""
    try:
        click.echo(text)
    except BrokenPipeError:
        discard(sys.stdout)


def bounded(lines: list[str], limit: int, what: str) -> list[str]:
    """Return at most `limit` lines, and what was left out."""
    if len(lines) <= limit:
        return lines
    return [*lines[:limit], f"  … and {len(lines) - limit} more {what}"]
