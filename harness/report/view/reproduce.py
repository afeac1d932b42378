"""The commands that measure one cell again and certify its reference."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.model import format_written
from harness.report.view.rows import Row, text_of

if TYPE_CHECKING:
    from harness.model import Case

_WORD: Final = re.compile(r'[^\s()"]+')
_PROFILES: Final = ("quick", "full")
"""Profiles that a command names; the other is the default."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Commands for a shell; empty where the case came from no file."""

    run: str
    reference: str


def reproduction(
    row: Row, case: Case, others: Iterable[Case], profile: Any, plugins: Iterable[str] = ()
) -> Reproduction:
    """Return the commands for the cell of a row.

    Parameters
    ----------
    row
        A result.
    case
        Its case.
    others
        All cases of the run: those of the same file may have ids that hold this one's.
    profile
        The profile that was run.
    plugins
        Modules that the run imported first.
    """
    if not has_file(case):
        return Reproduction("", "")
    rest = " ".join([shlex.quote(case.path), selection(row, case, others), *run_options(profile, plugins)])
    return Reproduction(f"harness run {rest}", f"harness reference {rest}")


def has_file(case: Case) -> bool:
    """Return whether the case was read from a file, which a command can name."""
    return not case.path.startswith("<")


def run_options(profile: Any, plugins: Iterable[str] = ()) -> list[str]:
    """Return the options that all cells of a run share: its plug-ins, and its profile unless the default."""
    named = [f"--plugin {shlex.quote(plugin)}" for plugin in plugins]
    return [*named, *([f"--{profile}"] if profile in _PROFILES else [])]


def plugins_of(header: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modules that a run imported first; nothing where it does not say."""
    asked = header.get("selection")
    found = asked.get("plugins") if isinstance(asked, Mapping) else None
    return tuple(map(str, found)) if isinstance(found, (list, tuple)) else ()


def selection(row: Row, case: Case, others: Iterable[Case] = ()) -> str:
    """Return the options that select the cell of a row among those of its case file, and no other.

    A word of `-k` holds wherever it occurs in an id, so cells whose id only goes on from this one
    (`n=8` and `n=80`) are excluded by what they end in, and a dtype that ends the id is named.
    """
    identity = text_of(row, "cell")
    wanted = [_word(identity)]
    unwanted = longer_endings(identity, case)
    unwanted += [
        f"{other.name}/"
        for other in others
        if other.path == case.path and other.name != case.name and other.name.endswith(case.name)
    ]
    wanted += [f"not {_word(text)}" for text in unwanted]
    dtype = text_of(row, "dtype")
    named = [f"--dtype {shlex.quote(dtype)}"] if identity.endswith(f"/{dtype}") else []
    return " ".join(["-k " + shlex.quote(" and ".join(wanted)), *named])


def longer_endings(identity: str, case: Case) -> list[str]:
    """Return the endings of ids that begin with this one and go on: `,top=0.55` for `,top=0.5`."""
    if not case.axes:
        return []
    last = case.axes[-1]
    between = "," if len(case.axes) > 1 else "/"
    endings = [f"{between}{last.name}={format_written(value)}" for value in last.values]
    own = max((e for e in endings if identity.endswith(e)), key=len, default=None)
    return [] if own is None else [e for e in endings if e != own and e.lower().startswith(own.lower())]


def _word(text: str) -> str:
    """Return a text as one word of `-k`; what double quotes part is asked for piece by piece."""
    if _WORD.fullmatch(text) and text.lower() not in ("and", "or", "not"):
        return text
    pieces = [f'"{piece}"' for piece in text.split('"') if piece]
    return pieces[0] if len(pieces) == 1 else f"({' and '.join(pieces)})"
