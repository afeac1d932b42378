"""The command line: wiring only. A command's module is imported when that command is asked for."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from harness import __version__
from harness.errors import UserError, did_you_mean

COMMANDS: Final = {
    "run": "Measure, judge, report.",
    "list": "What would run, and what is skipped and why.",
    "check": "Check case files, and nothing else.",
    "gate": "Compare a finished run with a baseline; never measures.",
    "report": "Write the reports of a run again.",
    "reference": "Certified values of a case, printed or exported.",
    "doctor": "This machine: peaks, clock, threads, BLAS, what is missing.",
    "schema": "The JSON Schema of case files.",
}
"""Name → what `--help` says, without importing the command."""


class _Commands(click.Group):
    """Commands that are imported when they run, so that `harness --help` costs next to nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"harness.cli.{cmd_name}_command").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f"no command {args[0]!r}; {did_you_mean(args[0], list(COMMANDS))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 good · 1 a verdict failed · 2 usage or invalid case · 3 could not measure · "
    "4 no comparable baseline · 5 nothing selected · 130 interrupted, resumable.",
)
@click.version_option(__version__, prog_name="harness", message="%(prog)s %(version)s")
def harness() -> None:
    """How many digits are left, where a formula breaks, how fast it is, and whether that got worse."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's mistake is told without a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = harness.main(args=given, prog_name="harness", standalone_mode=False, obj=given)
        sys.stdout.flush()
    except UserError as error:
        click.echo(f"harness: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("harness: interrupted", err=True)
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # a fault of ours is no verdict: exit code 1 would say that something got worse
        traceback.print_exc()
        click.echo("harness: this is a defect of the harness; what was measured is kept", err=True)
        return 3
    return int(code or 0)
