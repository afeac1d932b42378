"""`harness check`: case files only."""

from __future__ import annotations

from dataclasses import asdict

import click

from harness.cli.options import case_paths, output_format
from harness.cli.options import plugins as take_plugins


@click.command("check")
@case_paths
@take_plugins
@output_format("text", "json")
def command(paths: tuple[str, ...], plugins: tuple[str, ...], format_: str) -> int:
    """Check the case files in PATHS (default: all), telling every mistake with its place."""
    from harness import api
    from harness.cli.output import as_json
    from harness.errors import CaseFileError

    try:
        cases = api.check(paths, plugins=plugins)
    except CaseFileError as error:
        if format_ == "text":
            raise
        click.echo(as_json(cells=[], cases=[], diagnostics=map(asdict, error.diagnostics)))
        return error.exit_code
    if format_ == "json":
        told = [{"case": c.name, "title": c.title, "operation": c.operation, "path": c.path} for c in cases]
        click.echo(as_json(cells=[], cases=told, diagnostics=[]))
        return 0
    files = len({case.path for case in cases})
    click.echo(f"{len(cases)} cases in {files} files: no mistake found")
    return 0
