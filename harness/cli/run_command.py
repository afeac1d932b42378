"""`harness run`: measure, judge, report."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from harness.cli.list_command import echo_plan
from harness.cli.options import Choice, baseline, names, output_format, selection

if TYPE_CHECKING:
    from harness.api import Measured


def _limit(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Return a limit of time that some time reaches: no time is more than NaN."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number of seconds.", ctx, param)
    return value


@click.command("run")
@selection
@click.option("--dry-run", is_flag=True, help="Say what would be measured, and measure nothing.")
@click.option("--out", metavar="DIR", help="The run's folder.  [default: a new one under reports/]")
@click.option("--resume", is_flag=True, help="Go on with the run in --out; starts one if there is none.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    callback=_limit,
    metavar="SECONDS",
    help="What one call of a cell may take; its reference has ten minutes.  [default: 60]",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="References certified at one time.  [default: as many as cores]",
)
@names("--require", "require", "Fail with exit code 3 if this backend is absent.")
@click.option(
    "--executor", type=Choice(["local"]), default="local", show_default=True, help="Where cells are run."
)
@baseline(required_default=None)
@output_format("text", "json", "github")
def command(
    format_: str,
    profile: str | None,
    dry_run: bool,
    executor: str,
    out: str | None,
    resume: bool,
    timeout_s: float | None,
    jobs: int | None,
    require: tuple[str, ...],
    baseline: str | None,
    **asked: Any,
) -> int:
    """Measure the cases in PATHS (default: all), judge them, and write a report."""
    from harness import api
    from harness.errors import InterruptedRunError
    from harness.execute import progress

    plan = api.plan(profile=profile or "default", **asked)
    if dry_run:
        echo_plan(plan, format_)
        return 0
    with api.run_folder(out, resume=resume) as folder:
        try:
            measured = api.measure(
                plan,
                out=folder,
                resume=resume,
                timeout_s=timeout_s,
                jobs=jobs,
                require=require,
                plugins=asked["plugins"],
                baseline=baseline,
                progress=progress(),
            )
        except (InterruptedRunError, KeyboardInterrupt) as error:  # the second before or after the measuring
            given = click.get_current_context().find_root().obj
            told = getattr(error, "message", f"interrupted; what was measured is kept in {folder}")
            raise InterruptedRunError(told, f"go on with: {resuming(given, str(folder))}") from None
    _say(measured, format_)
    return int(measured.exit_code)


def _say(measured: Measured, format_: str) -> None:
    from harness.cli.output import say, say_commands
    from harness.cli.summary import as_plain, lines

    say(as_plain(measured) if format_ == "json" else "\n".join(lines(measured)))
    if format_ == "github":
        from harness.report.github import commands

        say_commands(commands(measured.run, measured.gate))


def resuming(given: Sequence[str], folder: str) -> str:
    """Return the command that goes on with an interrupted run: what was asked, and where it is."""
    words = ["harness", *given]
    if not any(word == "--out" or word.startswith("--out=") for word in words):
        words += ["--out", folder]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])
