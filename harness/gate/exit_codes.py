"""What the command line returns, and which code wins where several hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final


class ExitCode(IntEnum):
    """Exit codes of `harness`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    COULD_NOT_MEASURE = 3
    NO_BASELINE = 4
    NOTHING_SELECTED = 5
    INTERRUPTED = 130


PRECEDENCE: Final = (
    ExitCode.INTERRUPTED,
    ExitCode.USAGE,
    ExitCode.NOTHING_SELECTED,
    ExitCode.FAILED,
    ExitCode.COULD_NOT_MEASURE,
    ExitCode.NO_BASELINE,
    ExitCode.OK,
)
"""The first that holds is returned."""

_OF_VERDICT: Final = {"fail": ExitCode.FAILED, "inconclusive": ExitCode.COULD_NOT_MEASURE}


def highest(codes: Iterable[int]) -> ExitCode:
    """Return the code that wins among `codes`; OK where there is none."""
    held = set(codes)
    return next((code for code in PRECEDENCE if code in held), ExitCode.OK)


def exit_code_of(verdict: str | None, severity: str | None) -> ExitCode:
    """Return what one verdict asks for; severity `warn` never changes the exit code."""
    if verdict is None or severity == "warn":
        return ExitCode.OK
    return _OF_VERDICT.get(verdict, ExitCode.OK)


def exit_code_of_run(rows: Iterable[Mapping[str, Any]], facts: Iterable[Mapping[str, Any]] = ()) -> ExitCode:
    """Return the exit code of a run that no baseline is asked about."""
    return highest(exit_code_of(item["verdict"], item["severity"]) for part in (rows, facts) for item in part)
