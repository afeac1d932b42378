"""Starts, watches, kills and replaces the processes that measure and judge."""

from __future__ import annotations

from harness.execute.content import problem_content
from harness.execute.local import execute
from harness.execute.options import Executed, Options
from harness.execute.programs import Programs, WorkerKey
from harness.execute.progress import Bar, Lines, Progress, Silent, progress

__all__ = [
    "Bar",
    "Executed",
    "Lines",
    "Options",
    "Programs",
    "Progress",
    "Silent",
    "WorkerKey",
    "execute",
    "problem_content",
    "progress",
]
