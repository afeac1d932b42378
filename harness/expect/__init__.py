"""Results and expectations → a verdict for each row, and the facts that belong to no single row."""

from __future__ import annotations

from harness.expect.facts import FACT_COLUMNS, facts
from harness.expect.verdicts import verdicts

__all__ = ["FACT_COLUMNS", "facts", "verdicts"]
