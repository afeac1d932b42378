"""`harness compare`: two sides measured in turn."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import output_format, selection

if TYPE_CHECKING:
    from harness.comparing import Made


class _Share(click.ParamType):  # type: ignore[type-arg]
    """A share: `5%` or `0.05`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", str(value))
        if match is None:
            self.fail(f"{value!r} is no share: write 5% or 0.05.", param, ctx)
        return float(match[1]) / (100 if match[2] else 1)


@click.command("compare")
@click.option("--base", required=True, metavar="SIDE", help="What is compared with.")
@click.option("--head", default="here", show_default=True, metavar="SIDE", help="What is compared.")
@selection
@click.option(
    "--threshold",
    type=_Share(),
    metavar="SHARE",
    help="The least slowdown that fails; noise may raise it.  [default: 2%]",
)
@click.option(
    "--budget",
    "budget_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="What the rounds of one cell may take in one set of workers.  [default: 10]",
)
@click.option("--allow-accuracy-loss", is_flag=True, help="Let fewer digits pass, and say so.")
@click.option("--out", metavar="DIR", help="The comparison's folder.  [default: a new one under reports/]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="What one call of a cell may take.  [default: 60]",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="References certified at one time.  [default: as many as cores]",
)
@output_format("text", "json", "markdown", "github")
def command(format_: str, profile: str | None, **asked: Any) -> int:
    """Compare the timed cells in PATHS (default: all) on two sides: speed and accuracy together.

    A SIDE is one of

    \b
      here                      this interpreter and this tree
      PATH                      another interpreter or virtual environment
      name==version …           an environment that is made for it, and kept
      REVISION                  a git revision of the project that holds the kernels
    \b
    and beside it or alone, on both sides,
    \b
      formulation=F  backend=B  dtype=D  axis.NAME=VALUE

    Both are measured in turn, in one session, on inputs that this harness makes: the same for both, unless
    they differ in a dtype or an axis. A slowdown fails once several sets of fresh workers show it again; a
    loss of digits fails whatever it buys.

    Exit codes: 0 nothing got worse · 1 something did · 3 some cells could not be measured or judged ·
    130 interrupted, what was found is kept.
    """  # noqa: D301 - click's own mark
    from harness import comparing
    from harness.cli import tell
    from harness.execute import progress

    made = comparing.compare(
        profile=profile or "default",
        progress=progress(),
        told=tell,
        command=click.get_current_context().find_root().obj,
        **asked,
    )
    _say(made, format_)
    return made.comparison.exit_code


def _say(made: Made, format_: str) -> None:
    from harness.cli.compare_summary import lines
    from harness.cli.output import say, say_commands
    from harness.report.comparison import report_text

    if format_ in ("json", "markdown"):
        say(report_text(made.comparison, format_).rstrip("\n"))
        return
    say("\n".join(lines(made.comparison, report=made.reports.get("html"))))
    if format_ == "github":
        from harness.report.comparison.github import commands

        say_commands(commands(made.comparison, made.cases))
