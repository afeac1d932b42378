"""The two families of exceptions: a user's mistake, and a fault of ours.

Everything a user can cause derives from `UserError`: the command line prints it without a traceback
and exits with `exit_code`. Anything else that escapes is a defect of the harness.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class UserError(Exception):
    """A mistake that its message lets the user mend. `exit_code` is what the command line returns."""

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class UsageError(UserError):
    """A command, option or argument that does not fit."""


class NothingSelectedError(UserError):
    """The selection matches no cell."""

    exit_code = 5


class CouldNotMeasureError(UserError):
    """A required backend, interpreter or file to measure with is absent."""

    exit_code = 3


class NoBaselineError(UserError):
    """There is nothing comparable to compare with."""

    exit_code = 4


class InterruptedRunError(UserError):
    """The run was interrupted; what it measured is kept, and it can be resumed."""

    exit_code = 130


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """One problem of a case file, at a place in it (1-based line and column)."""

    path: str
    line: int
    column: int
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.path}:{self.line}:{self.column}: {self.message}"
        return text if self.hint is None else f"{text}\n  hint: {self.hint}"


class CaseFileError(UserError):
    """All problems of one or more case files, in the order of their places."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(sorted(set(diagnostics), key=_place))
        super().__init__("\n".join(map(str, self.diagnostics)))


class RegistrationError(Exception):
    """Two things registered under one name, or a thing that does not keep its contract."""


class DtypeError(Exception):
    """An array function left the dtype that was declared, or returned what is no array of a format."""


class InputError(UserError):
    """Inputs that a recipe cannot make or an operation cannot take, found while they were made."""


def _place(d: Diagnostic) -> tuple[str, int, int, str]:
    return (d.path, d.line, d.column, d.message)


def did_you_mean(found: str, allowed: Sequence[str]) -> str:
    """Return a hint that names the nearest allowed word, or all of them when none is near."""
    near = [word for word in allowed if word.casefold() == found.casefold()]
    near = near or difflib.get_close_matches(found, allowed, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return "allowed: " + ", ".join(sorted(allowed)) if allowed else "nothing is allowed here"
