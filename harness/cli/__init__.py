"""The command line: wiring only. A command's module is imported when that command is asked for."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

import click

from harness import __version__
from harness.errors import UserError, did_you_mean

COMMANDS: Final = {
    "run": "Measure, judge, report.",
    "list": "What would run, and what is skipped and why.",
    "check": "Check case files, and nothing else.",
    "gate": "Compare a finished run with a baseline; never measures.",
    "compare": "Two sides in turn: slower, less accurate, or cannot tell.",
    "report": "Write the reports of a run again.",
    "reference": "Certified values of a case, printed or exported.",
    "doctor": "This machine: peaks, clock, noise, threads, BLAS, what is missing.",
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
    _open_closed_streams()
    try:
        with _terminable():
            code = harness.main(args=given, prog_name="harness", standalone_mode=False, obj=given)
        sys.stdout.flush()
    except UserError as error:
        tell(f"harness: {error}")
        return error.exit_code
    except click.ClickException as error:
        with _unread(sys.stderr):
            error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        tell("harness: interrupted")
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        discard(sys.stdout)
        return 0
    except Exception as error:  # never exit code 1: a fault of ours does not say that something got worse
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            discard(sys.stdout)
            tell(f"harness: cannot write {error.filename or 'standard output'}: {error.strerror}")
            return 3
        tell(traceback.format_exc() + "harness: this is a defect of the harness; what was measured is kept")
        return 3
    finally:
        with _unread(sys.stderr):
            sys.stderr.flush()
    return int(code or 0)


_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end us as Ctrl-C does, so that temporary files are removed on the way out."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _open_closed_streams() -> None:
    """Open what was closed before we started (`>&-`), or the next file to be opened would be printed into."""
    for descriptor, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            setattr(sys, name, os.fdopen(descriptor, "r" if descriptor == 0 else "w", closefd=False))


def tell(text: str) -> None:
    """Print to standard error; where nobody can read it, the exit code still stands."""
    from harness.report.view.visible import visible

    with _unread(sys.stderr):
        click.echo(visible(text), err=True)


@contextlib.contextmanager
def _unread(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError:
        discard(stream)


def discard(stream: TextIO) -> None:
    """Let whatever else goes to a stream go nowhere: its reader is gone, or its disk full."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
