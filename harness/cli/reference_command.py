"""`harness reference`: the certified values of a case, printed or exported."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from harness.cli import options
from harness.cli.output import as_json

if TYPE_CHECKING:
    from harness.api import Certified

SHOWN: Final = 8
COLUMNS: Final = (
    "case", "dtype", "axes", "inputs_digest", "output", "index", "kind", "value", "digits",
    "radius_log2", "hi", "lo",
)  # fmt: skip


@click.command("reference")
@click.argument("case", metavar="CASE")
@options.keyword
@options.names("--dtype", "dtypes", "Only this dtype.")
@options.profile
@options.plugins
@options.output_format("text", "csv", "json", "npz")
@click.option("--out", metavar="FILE", help="Write here instead of standard output; npz needs it.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=SHOWN,
    show_default=True,
    metavar="N",
    help="Elements of each output that text shows.",
)
def command(
    case: str,
    keyword: str | None,
    dtypes: tuple[str, ...],
    profile: str | None,
    plugins: tuple[str, ...],
    format_: str,
    out: str | None,
    limit: int,
) -> None:
    """Certify the exact results of CASE (a name or a file) at its rounded inputs, and print them.

    Of each element: the decimal digits that are certified, the radius of its enclosure, and its leading
    part in hexadecimal. CSV and JSON hold every element, NPZ the arrays.
    """
    from harness import api
    from harness.errors import UsageError

    if format_ == "npz" and out is None:
        raise UsageError("--format npz is binary", "name a file with --out")
    found = api.references(
        case, profile=profile or "default", keyword=keyword, dtypes=dtypes, plugins=plugins
    )
    if format_ == "npz":
        _save(found, Path(str(out)))
        return
    text = {"text": _text, "csv": _csv, "json": _json}[format_](found, limit)
    if out is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        Path(out).write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None


def _elements(certified: Certified, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the elements of all outputs, at most `limit` of each."""
    import numpy as np

    from harness.reference.decimals import certified_value

    for output, array in certified.reference.outputs.items():
        columns = (array.kind, array.hi, array.lo, array.exponent, array.radius_log2)
        flat = [column.reshape(-1)[:limit].tolist() for column in columns]
        for place, fields in enumerate(zip(*flat, strict=True)):
            index = np.unravel_index(place, array.shape) if array.shape else ()
            yield {"output": output, "index": [int(i) for i in index], **asdict(certified_value(*fields))}


def _identity(certified: Certified) -> dict[str, Any]:
    from harness.store.rows import axes_text

    return {
        "case": certified.problem.case,
        "dtype": certified.problem.dtype,
        "axes": axes_text(certified.axes),
        "inputs_digest": certified.inputs_digest,
    }


def _text(found: Iterable[Certified], limit: int) -> str:
    lines: list[str] = []
    for certified in found:
        problem = certified.problem
        lines.append(
            f"{problem.key}: {problem.operation}, inputs {certified.inputs_digest[:12]}, {certified.found}"
        )
        sizes = {name: array.size for name, array in certified.reference.outputs.items()}
        lines += [f"  {_place(element)} = {_told(element)}" for element in _elements(certified, limit)]
        hidden = {name: size - limit for name, size in sizes.items() if size > limit}
        lines += [
            f"  … and {count} more of {name}: --limit, or --format csv" for name, count in hidden.items()
        ]
    return "\n".join(lines)


def _place(element: Mapping[str, Any]) -> str:
    index = ",".join(map(str, element["index"]))
    return f"{element['output']}[{index}]" if index else str(element["output"])


def _told(element: Mapping[str, Any]) -> str:
    if element["kind"] != "finite":
        return str(element["value"])
    radius = "exact" if element["radius_log2"] == -math.inf else f"± 2^{element['radius_log2']:.1f}"
    return f"{element['value']}  ({element['digits']} digits, {radius}, {element['hi']})"


def _csv(found: Iterable[Certified], limit: int) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for certified in found:
        identity = _identity(certified)
        for element in _elements(certified):
            writer.writerow({**identity, **element, "index": " ".join(map(str, element["index"]))})
    return out.getvalue()


def _json(found: Iterable[Certified], limit: int) -> str:
    problems = [{**_identity(c), "elements": list(_elements(c))} for c in found]
    return as_json(cells=[], problems=problems)


def _save(found: Iterable[Certified], path: Path) -> None:
    """Write the arrays as `<problem>/<output>/<field>`, and the values rounded to float64 as `…/float64`."""
    import numpy as np

    from harness.errors import UsageError

    arrays: dict[str, Any] = {}
    for certified in found:
        for output, array in certified.reference.outputs.items():
            prefix = f"{certified.problem.key}/{output}"
            for field in ("kind", "hi", "lo", "exponent", "radius_log2"):
                arrays[f"{prefix}/{field}"] = getattr(array, field)
            arrays[f"{prefix}/float64"] = array.to_float64()
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
