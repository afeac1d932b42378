"""Reports: each format is one module here with `write(run, path)` and a registered `Report`.

The name of a format is the name of its module, with dashes for underscores, so that listing the formats
imports none of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import UsageError, did_you_mean
from harness.registry import Registry

if TYPE_CHECKING:
    from harness.gate import GateReport
    from harness.store import Run

IN_THE_FOLDER: Final = ("csv", "html", "junit", "markdown")
"""What the folder of a run holds. The other formats are made when they are asked for."""


@dataclass(frozen=True, slots=True)
class Report:
    """One format: what it is called, the file it writes in the run's folder, and who writes it."""

    name: str
    title: str
    file: str
    write: Callable[..., Path]
    """Takes the run and the path of the file to write, returns the path written; with `gated` also `gate`."""
    gated: bool = False
    """Whether it says what a gate found; then `write` takes a `GateReport` or None as `gate`."""
    printed: bool = False
    """Whether it goes to standard output when no file is named."""


REPORTS: Final[Registry[Report]] = Registry("report")


def register_report(report: Report) -> Report:
    """Register a format."""
    REPORTS.add(report.name, report, report.write.__module__)
    return report


def formats() -> tuple[str, ...]:
    """Return the names of all formats, without importing any."""
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if not m.ispkg))


def find_report(name: str) -> Report:
    """Return a format by name, importing its module and no other.

    Raises
    ------
    UsageError
        There is no such format.
    """
    if name not in formats():
        raise UsageError(f"unknown report format {name!r}", did_you_mean(name, formats()))
    importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return REPORTS[name]


def write_report(run: Run, name: str, path: Path | None = None, *, gate: GateReport | None = None) -> Path:
    """Write one report of a run, by default under its usual name in the run's folder.

    Parameters
    ----------
    run
        What to report.
    name
        The format.
    path
        The file to write.
    gate
        What a gate found, for the formats that tell it.

    Raises
    ------
    UsageError
        There is no such format, or what it needs is not installed.
    CouldNotMeasureError
        The file cannot be written.
    """
    report = find_report(name)
    path = run.folder / report.file if path is None else path
    return report.write(run, path, gate=gate) if report.gated else report.write(run, path)
