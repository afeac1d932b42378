"""A comparison as JSON for programs: `{"schema_version": 1, …, "cells": [...]}`, a cell for each pair."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from harness.compare.model import Comparison
from harness.report.view.comparison import told

if TYPE_CHECKING:
    from harness.store import Run


def text(comparison: Comparison, run: Run | None = None, **more: Any) -> str:
    """Return everything that a comparison found; `more` is added beside it."""
    from harness.report.json import as_json

    found = told(comparison)
    beside = [f.name for f in fields(Comparison) if f.name not in ("pairs", "base", "head", "nulls")]
    content: dict[str, Any] = {name: getattr(comparison, name) for name in beside}
    content |= {"verdict": found.state, "sentence": found.sentence, "counts": found.counts}
    content |= {name: _fields(getattr(comparison, name)) for name in ("base", "head")}
    content["nulls"] = [_fields(null) for null in comparison.nulls]
    return as_json(cells=[_fields(pair) for pair in comparison.pairs], **content, **more) + "\n"


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)}
