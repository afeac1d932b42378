"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from harness.errors import did_you_mean

F = TypeVar("F", bound=Callable[..., Any])


class Choice(click.Choice[str]):
    """One of some words; a wrong one is told which was likely meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return what was found, what is allowed, and the nearest of it."""
        return f"{value!r} is not one of {', '.join(self.choices)}; {did_you_mean(str(value), self.choices)}"


def case_paths(function: F) -> F:
    """Take case files or folders."""
    return click.argument("paths", nargs=-1, metavar="[PATHS]...")(function)


def plugins(function: F) -> F:
    """Take modules that register more operations, backends, recipes or metrics."""
    return click.option(
        "--plugin", "plugins", multiple=True, metavar="MODULE",
        help="Import this module or .py file first. Repeatable.",
    )(function)  # fmt: skip


def output_format(*formats: str) -> Callable[[F], F]:
    """Take the form of what goes to standard output; the first is the default."""
    return click.option(
        "--format", "format_", type=Choice(formats), default=formats[0], show_default=True,
        help="Form of what is printed.",
    )  # fmt: skip


def baseline(*, required_default: str | None) -> Callable[[F], F]:
    """Take a folder of accepted results."""
    return click.option(
        "--baseline", metavar="DIR", default=required_default, show_default=required_default is not None,
        help="Folder of accepted results.",
    )  # fmt: skip


def profile(function: F) -> F:
    """Take the short or the long profile."""
    for word, help_ in (("full", "The long profile."), ("quick", "The short profile.")):
        function = click.option(
            f"--{word}", "profile", flag_value=word, multiple=True, callback=_one_profile, help=help_
        )(function)
    return function


def _one_profile(ctx: click.Context, param: click.Parameter, value: Iterable[str]) -> str | None:
    found = set(value)
    if len(found) > 1:
        raise click.UsageError("--quick and --full exclude each other", ctx)
    return found.pop() if found else None


def keyword(function: F) -> F:
    """Take words of cell ids."""
    return click.option(
        "-k", "keyword", metavar="EXPR", help="Only cells whose id matches: 'naive and not float16'."
    )(function)


def names(flag: str, name: str, help_: str) -> Callable[[F], F]:
    """Take some names; none asks for all."""
    return click.option(flag, name, multiple=True, metavar="NAME", help=f"{help_} Repeatable.")


def selection(function: F) -> F:
    """Take all that selects cells; the names are those of `harness.api.plan`."""
    function = plugins(function)
    function = click.option(
        "--max-elements", type=click.IntRange(1), metavar="N",
        help="Refuse inputs of more elements.  [default: 2²⁷]",
    )(function)  # fmt: skip
    function = profile(function)
    function = names("--guide", "guide", "Only cases of this row of the guide.")(function)
    function = names("--topic", "topics", "Only cases of this topic.")(function)
    function = names("--dtype", "dtypes", "Only this dtype.")(function)
    function = names("--backend", "backends", "Only this backend.")(function)
    function = names("--operation", "operations", "Only this operation.")(function)
    return case_paths(keyword(function))
