"""`harness check`: case files only."""

from __future__ import annotations

import click

from harness.cli.options import case_paths, output_format, plugins


@click.command("check")
@case_paths
@plugins
@output_format("text", "json")
def command(paths: tuple[str, ...], plugin: tuple[str, ...], format_: str) -> None:
    """Check the case files in PATHS (default: all), telling every mistake with its place."""
    from harness import api
    from harness.cli.output import as_json

    cases = api.check(paths, plugins=plugin)
    if format_ == "json":
        told = [{"case": c.name, "title": c.title, "operation": c.operation, "path": c.path} for c in cases]
        click.echo(as_json(cells=[], cases=told))
        return
    files = len({case.path for case in cases})
    click.echo(f"{len(cases)} cases in {files} files: no mistake found")
