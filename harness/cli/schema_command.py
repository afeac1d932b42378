"""`harness schema`: the JSON Schema of case files."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of one case, for editors and other tools."""
    from harness.casefile import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
