"""Results and facts as JSON: `{"schema_version": 1, …, "cells": [...]}`; non-finite numbers are text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.report import Report, register_report

if TYPE_CHECKING:
    from harness.store import Run

SCHEMA_VERSION: Final = 1

_STEERING: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What JSON lets stand in a string and a terminal obeys, or UTF-8 cannot write."""


def write(run: Run, path: Path) -> Path:
    """Write every row with every column, and the facts.

    Raises
    ------
    CouldNotMeasureError
        The file cannot be written.
    """
    from harness.store import replace_text

    replace_text(path, text_of_run(run) + "\n")
    return path


def text_of_run(run: Run) -> str:
    """Return a run as one JSON object."""
    return as_json(cells=run.rows, facts=run.fact_rows, finished=run.finished)


def as_json(*, cells: Iterable[Mapping[str, Any]], **more: Any) -> str:
    """Return machine output: `{"schema_version": 1, …, "cells": [...]}`; non-finite numbers as text."""
    return as_json_object({**more, "cells": cells})


def as_json_object(content: Mapping[str, Any]) -> str:
    """Return machine output of which `cells` are no part: `{"schema_version": 1, …}`."""
    versioned = {"schema_version": SCHEMA_VERSION, **content}
    return spelt(json.dumps(plain(versioned), ensure_ascii=False, allow_nan=False, indent=1))


def spelt(text: str) -> str:
    """Return JSON that means the same and holds no character that steers a terminal."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plain(value: Any) -> Any:
    """Return data as JSON holds it: exact numbers as numbers, non-finite ones and what is unknown as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Decimal) and not value.is_finite():
        return str(value)
    if isinstance(value, (Decimal, Fraction)):
        return int(value) if value == int(value) else float(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


register_report(Report("json", "results and facts for programs", "results.json", write, printed=True))
