"""What was measured: the journal, the rows made from it, CSV and DataFrame, and the folder of a run."""

from __future__ import annotations

from harness.store.columns import AXIS_PREFIX, COLUMNS, Column
from harness.store.environment import environment
from harness.store.files import replace_text
from harness.store.folders import claimed_folder, default_folder
from harness.store.journal import SCHEMA_VERSION, Journal, read
from harness.store.rows import rows
from harness.store.run import (
    OpenRun,
    Run,
    finish,
    load,
    point_latest,
    resolve,
    start,
)
from harness.store.table import frame, read_facts, read_rows, write_results, write_table

__all__ = [
    "AXIS_PREFIX",
    "COLUMNS",
    "SCHEMA_VERSION",
    "Column",
    "Journal",
    "OpenRun",
    "Run",
    "claimed_folder",
    "default_folder",
    "environment",
    "finish",
    "frame",
    "load",
    "point_latest",
    "read",
    "read_facts",
    "read_rows",
    "replace_text",
    "resolve",
    "rows",
    "start",
    "write_results",
    "write_table",
]
