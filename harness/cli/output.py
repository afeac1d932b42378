"""What is printed: machine output, and lists cut to what a screen holds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from harness.cli import discard

LONGEST: Final = 500
"""Characters of one line about one result: an error of a kernel may be a megabyte."""


def as_json(*, cells: Iterable[Mapping[str, Any]], **more: Any) -> str:
    """Return machine output: `{"schema_version": 1, …, "cells": [...]}`; non-finite numbers as text."""
    from harness.report.json import as_json as machine_output

    return machine_output(cells=cells, **more)


def say(text: str) -> None:
    """Print what comes before a verdict: a reader that has seen enough (`| head -1`) does not change it.

    Characters that steer a terminal are spelt out, whoever they come from.
    """
    from harness.report.view.visible import visible

    try:
        click.echo(visible(text))
    except BrokenPipeError:
        discard(sys.stdout)


def say_commands(commands: Iterable[str]) -> None:
    """Print workflow commands of GitHub Actions, each a line of its own."""
    for command in commands:
        say(command)


def told(text: object) -> str:
    """Return what others wrote on one line of bounded length: an error cannot pass for lines of ours."""
    from harness.report.view.visible import one_line

    return one_line(str(text), LONGEST)


def bounded(lines: list[str], limit: int, what: str) -> list[str]:
    """Return at most `limit` lines, and what was left out."""
    if len(lines) <= limit:
        return lines
    return [*lines[:limit], f"  … and {len(lines) - limit} more {what}"]
