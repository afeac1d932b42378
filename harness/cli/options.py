"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from harness.errors import did_you_mean

F = TypeVar("F", bound=Callable[..., Any])


class Choice(click.Choice[str]):
    """One of some words; a wrong one is told which was likely meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        return f"{value!r} is not one of {', '.join(self.choices)}; {did_you_mean(str(value), self.choices)}"


def case_paths(function: F) -> F:
    """Take case files or folders."""
    return click.argument("paths", nargs=-1, metavar="[PATHS]...")(function)


def plugins(function: F) -> F:
    """Take modules that register more operations, backends, recipes or metrics."""
    return click.option(
        "--plugin", multiple=True, metavar="MODULE", help="Import this module or .py file first. Repeatable."
    )(function)


def output_format(*formats: str) -> Callable[[F], F]:
    """Take the form of what goes to standard output; the first is the default."""
    return click.option(
        "--format", "format_", type=Choice(formats), default=formats[0], show_default=True,
        help="Form of what is printed.",
    )  # fmt: skip


def selection(function: F) -> F:
    """Take what to select: paths, names, profile."""
    options = [
        click.option(
            "-k",
            "expression",
            metavar="EXPR",
            help="Only cells whose id matches, as in 'naive and not float16'.",
        ),
        _names("--operation", "operations", "Only this operation."),
        _names("--backend", "backends", "Only this backend."),
        _names("--dtype", "dtypes", "Only this dtype."),
        _names("--topic", "topics", "Only cases of this topic."),
        _names("--guide", "guides", "Only cases of this row of the guide."),
        click.option("--quick", "profile", flag_value="quick", help="The short profile."),
        click.option("--full", "profile", flag_value="full", help="The long profile."),
        click.option(
            "--max-elements",
            type=click.IntRange(1),
            metavar="N",
            help="Refuse inputs of more elements [2²⁷].",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return case_paths(plugins(function))


def _names(flag: str, name: str, help_: str) -> Callable[[F], F]:
    return click.option(flag, name, multiple=True, metavar="NAME", help=f"{help_} Repeatable.")
