"""`harness report`: the reports of a run, written again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from harness.cli.options import baseline

if TYPE_CHECKING:
    from pathlib import Path

    from harness.gate import GateReport
    from harness.store import Run

_STANDARD_OUTPUT: Final = ("-", "/dev/stdout")


def _known(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of report formats, or say which was likely meant."""
    from harness.errors import did_you_mean
    from harness.report import formats

    for name in value:
        if name not in formats():
            hint = did_you_mean(name, formats())
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
    help="csv html junit markdown parquet pytest-benchmark: written; json github: printed. Repeatable.  "
    "[default: what a run writes]",
)
@click.option(
    "--out",
    metavar="FILE",
    help="Write one format here; - is standard output.  [default: in the run's folder]",
)
@baseline(required_default=None)
def command(run: str, formats: tuple[str, ...], out: str | None, baseline: str | None) -> None:
    """Write the reports of RUN (default: reports/latest) again. RUN may be the folder of a comparison, too.

    With --baseline markdown, junit and github say what a gate finds; the exit code does not.
    """
    from pathlib import Path

    from harness import api
    from harness.compare.store import is_comparison
    from harness.errors import UsageError
    from harness.report import IN_THE_FOLDER, find_report, write_report
    from harness.report import formats as known

    if is_comparison(Path(run)):
        _report_comparison(Path(run), formats, out, baseline)
        return
    wanted = tuple(dict.fromkeys(formats)) or IN_THE_FOLDER
    if out is not None and len(wanted) != 1:
        raise UsageError("--out takes one format", f"name one of {', '.join(known())} with --format")
    opened = api.load(run)
    gate = None if baseline is None else api.gate(run, baseline)
    for name in wanted:
        if out in _STANDARD_OUTPUT or (out is None and find_report(name).printed):
            _print(opened, name, gate, verdict=name == "github" and out is None)
        else:
            click.echo(write_report(opened, name, None if out is None else Path(out), gate=gate))


def _report_comparison(folder: Path, formats: tuple[str, ...], out: str | None, baseline: str | None) -> None:
    """Write the reports of a comparison, or print those that are printed."""
    from pathlib import Path

    from harness import comparing
    from harness.cli.compare_summary import lines
    from harness.cli.output import say
    from harness.errors import UsageError
    from harness.report.comparison import IN_THE_FOLDER, find_report, report_text, write_comparison_report

    wanted = tuple(dict.fromkeys(formats)) or IN_THE_FOLDER
    if out is not None and len(wanted) != 1:
        raise UsageError("--out takes one format", "name one with --format")
    if baseline is not None:
        raise UsageError(
            f"{folder} is a comparison: it has a base, and no baseline",
            "leave out --baseline; the run of its head is in head/",
        )
    comparison = comparing.load(folder)
    reports = [find_report(name) for name in wanted]
    run = comparing.head_of(folder)
    for report in reports:
        if out in _STANDARD_OUTPUT or (out is None and report.printed):
            if report.name == "github" and out is None:
                say("\n".join(lines(comparison, report=folder / "report.html")))
            text = report_text(comparison, report.name, run)
            click.echo(text.encode("utf-8", "backslashreplace"), nl=False)
        else:
            path = None if out is None else Path(out)
            click.echo(write_comparison_report(comparison, report.name, path, folder=folder, run=run))


def _print(run: Run, name: str, gate: GateReport | None, *, verdict: bool) -> None:
    """Print a report byte for byte, after the run's verdict if that is asked for."""
    import tempfile
    from pathlib import Path

    from harness.cli.output import say
    from harness.cli.summary import verdict_lines
    from harness.report import find_report, write_report

    if verdict:
        say("\n".join(verdict_lines(run)))
    with tempfile.TemporaryDirectory(prefix="harness-report-") as scratch:
        path = write_report(run, name, Path(scratch) / find_report(name).file, gate=gate)
        click.echo(path.read_bytes(), nl=False)
