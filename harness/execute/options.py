"""How a run is executed, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from harness.execute.programs import Programs
from harness.execute.scratch import LIMIT_BYTES

_MEMORY_BYTES: Final = 8 << 30


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_memory_bytes() -> int:
    """Return what one child may hold: 8 GiB, or three quarters of a smaller machine."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return _MEMORY_BYTES
    return min(_MEMORY_BYTES, physical * 3 // 4)


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is executed.

    Attributes
    ----------
    timeout_s
        What one cell may take, once.
    reference_timeout_s
        What one reference, or one judgement, may take.
    jobs
        Referees at one time; as many as there are cores by default.
    memory_bytes
        What one child may hold.
    """

    timeout_s: float = 60.0
    reference_timeout_s: float = 600.0
    hello_timeout_s: float = 60.0
    jobs: int = field(default_factory=cores)
    memory_bytes: int = field(default_factory=default_memory_bytes)
    timing: bool = True
    """False: cells are judged and not timed."""
    scratch: Path | None = None
    """Where the scratch folder is made; None: in memory if that is plenty, else with temporary files."""
    scratch_bytes: int = LIMIT_BYTES
    programs: Programs = field(default_factory=Programs)


class Journal(Protocol):
    """Where measurements are written down at once, and what an interrupted run had measured."""

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        """All records, those of before the interruption first."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record."""

    def find(self, kind: str) -> Iterable[Mapping[str, Any]]:
        """Return the records of one kind."""

    def sync(self) -> None:
        """Wait until the disk has them."""


class Unwritten:
    """A journal of what nobody resumes."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []

    def append(self, record: Mapping[str, Any]) -> None:
        """Keep one record."""
        self.records.append(record)

    def find(self, kind: str) -> Iterator[Mapping[str, Any]]:
        """Yield the records of one kind."""
        return (record for record in self.records if record.get("kind") == kind)

    def sync(self) -> None:
        """Do nothing: there is no disk."""


@dataclass(frozen=True, slots=True)
class Executed:
    """What came of a run.

    Attributes
    ----------
    cells, timed
        Cells run for accuracy and cells timed, now.
    resumed
        Cells whose accuracy was in the journal already.
    statuses
        Cells run now, by status: ok, raised, crashed, timeout, worker_error, referee_error.
    references
        Problems by where their reference came from: cached, computed, recomputed.
    losses
        Children that died or were killed before their work was done.
    seconds
        Wall time of each phase.
    peak_bytes
        The most memory that each child held.
    """

    cells: int
    timed: int
    resumed: int
    statuses: Mapping[str, int]
    references: Mapping[str, int]
    losses: int
    seconds: Mapping[str, float]
    peak_bytes: Mapping[str, int]
