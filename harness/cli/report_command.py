"""`harness report`: the reports of a run, written again."""

from __future__ import annotations

import click

from harness.cli.output import as_json


def _known(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of report formats, or say which was likely meant."""
    from harness.errors import did_you_mean
    from harness.report import formats

    allowed = [*formats(), "json"]
    for name in value:
        if name not in allowed:
            hint = did_you_mean(name, allowed)
            raise click.BadParameter(f"{name!r} is no report format; {hint}", ctx, param)
    return value


@click.command("report")
@click.argument("run", required=False, default="reports/latest", metavar="[RUN]")
@click.option(
    "--format",
    "formats",
    multiple=True,
    callback=_known,
    metavar="NAME",
    help="html, markdown, csv …: written; json: printed. Repeatable.  [default: all that are written]",
)
@click.option("--out", metavar="FILE", help="Write one format here.  [default: in the run's folder]")
def command(run: str, formats: tuple[str, ...], out: str | None) -> None:
    """Write the reports of RUN (default: reports/latest) again."""
    from pathlib import Path

    from harness import api
    from harness.errors import UsageError
    from harness.report import formats as known
    from harness.report import write_report
    from harness.store import replace_text

    opened = api.load(run)
    wanted = formats or known()
    if out is not None and len(wanted) != 1:
        raise UsageError("--out takes one format", f"name one of {', '.join(known())} with --format")
    for name in wanted:
        if name == "json":
            text = as_json(cells=opened.rows, facts=opened.fact_rows, finished=opened.finished)
            if out is None:
                click.echo(text)
            else:
                replace_text(Path(out), text + "\n")
        else:
            click.echo(write_report(opened, name, None if out is None else Path(out)))
