"""`harness list`: what would run, and what is skipped and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import output_format, selection
from harness.cli.output import as_json

if TYPE_CHECKING:
    from harness.model import Cell, Plan


@click.command("list")
@selection
@click.option(
    "--coverage", is_flag=True, help="Rows of the guide instead of cells: their cases and verdicts."
)
@click.option(
    "--run", metavar="DIR", help="With --coverage: the run whose verdicts count.  [default: reports/latest]"
)
@output_format("text", "json")
def command(format_: str, coverage: bool, run: str | None, profile: str | None, **asked: Any) -> None:
    """List the cells of the cases in PATHS (default: all), and what is skipped and why."""
    from harness import api
    from harness.cli.coverage_list import echo_coverage
    from harness.errors import UsageError

    if coverage:
        echo_coverage(run, format_, profile, **asked)
        return
    if run is not None:
        raise UsageError("--run gives verdicts to the rows of the guide", "add --coverage, or leave it out")
    echo_plan(api.plan(profile=profile or "default", **asked), format_)


def echo_plan(plan: Plan, format_: str) -> None:
    """Print every cell to run, then the skipped ones by reason."""
    if format_ == "json":
        click.echo(as_json(profile=plan.profile, cells=map(_as_plain, plan.cells)))
    else:
        click.echo("\n".join(_lines(plan)))


def _lines(plan: Plan) -> Iterator[str]:
    to_run = [cell for cell in plan.cells if cell.skip is None]
    yield from (cell.id for cell in to_run)
    skipped: dict[tuple[str, str], list[Cell]] = {}
    for cell in plan.cells:
        if cell.skip is not None:
            skipped.setdefault((cell.skip.word, cell.skip.reason), []).append(cell)
    if skipped:
        yield ""
        yield "skipped:"
    for (word, reason), cells in sorted(skipped.items(), key=lambda item: (item[0][0], -len(item[1]))):
        yield f"{len(cells):6}  {word}: {reason} ({cells[0].id}{', …' if len(cells) > 1 else ''})"
    timed = sum(cell.speed is not None for cell in to_run)
    yield ""
    yield (
        f"{len(to_run)} cells of {len(plan.cases)} cases to run ({timed} timed, {len(plan.problems)} "
        f"references), {len(plan.cells) - len(to_run)} skipped, profile {plan.profile}"
    )


def _as_plain(cell: Cell) -> dict[str, Any]:
    skip = cell.skip
    return {
        "cell": cell.id,
        "verdict": None if skip is None else "skip",
        "reason": None if skip is None else f"{skip.word}: {skip.reason}",
        "case": cell.case,
        "operation": cell.operation,
        "formulation": cell.formulation,
        "backend": cell.backend,
        "dtype": cell.dtype,
        "mode": cell.mode,
        "axes": cell.axes,
        "topic": cell.topic,
        "guide": cell.guide,
        "profile": cell.profile,
        "outputs": cell.outputs,
        "accuracy": cell.accuracy,
        "timed": cell.speed is not None,
    }
