# ruff: noqa: E501 — tables of Markdown
"""Writes `case-file.md` and `harness/case.schema.json` from the models of a case and the recipes: run it after changing these."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import casefile, catalogue
from harness.casefile.tree import MAX_BYTES, MAX_DEPTH, MAX_NODES
from harness.formats import UNITS
from harness.registry import RECIPES, Argument

DOCS = Path(__file__).resolve().parent
SCHEMA = DOCS.parent / "harness" / "case.schema.json"
PAGE = DOCS / "case-file.md"

OPENING = """\
# The case file

<!-- Written by docs/case_file_reference.py from the schema and the recipes: change these, not this page. -->

A case is one YAML document: an operation, its inputs, the axes that vary, what to measure, what to
expect. A file may hold several, parted by `---`. Nothing named in a case is ever imported or run.

```yaml
# yaml-language-server: $schema=../harness/case.schema.json
case: softmax-overflow
title: Softmax of large logits
topic: stability
operation: softmax
formulations: [naive, shifted]
dtypes: [float64, float32]
axes:
  n: {values: [8, 1024], quick: [8], full: [65536]}
  top: {unit: ln_max, times: [0.5, 0.99, 1.01, 2]}
inputs:
  x: {recipe: linspace, low: 0, high: $top, shape: [$n]}
measure:
  accuracy: {}
  speed: {where: {n: {at_least: 1024}}, budget_s: 0.5}
expect:
  - where: {formulation: naive, top: {above: 1}}
    outcome: not_a_number
```

`harness check FILE` tells every problem of a file at once, with line, column and a hint, and measures
nothing. `harness list FILE` shows the cells, and what is skipped and why.

## How YAML is read

Scalars follow the core schema of YAML 1.2: `1e-5` is a number, `no` and `1:30` are text, `.inf`, `-.inf`
and `.nan` are what they look like. Numbers stay exact decimals until they are rounded, once, to the
storage format of a cell. A second key of one name, a tag (`!!…`) and a key without a value are refused.
Anchors and aliases may be used, within bounds: a file has at most {bytes} bytes, is nested at most
{depth} deep, and unfolds to at most {nodes} values.
"""

AXES = """\
## Axes, units and profiles

An axis is a list of values, or a mapping:

| form | values in a cell |
|---|---|
| `[8, 1024]` | as written |
| `{{values: [8, 1024], quick: [8], full: [65536]}}` | `--quick` runs 8; the default 8 and 1024; `--full` all three |
| `{{unit: ln_max, times: [0.99, 1.01]}}` | number · unit of the cell's dtype, on its grid; rounded toward zero up to 1 and away from zero above, so that a value stays on its side of the unit |
| `{{unit: unit_roundoff, powers: [-0.5, -1]}}` | unit to that power, to 53 bits |

Units: {units}.

`quick` and `full` go with `times` and `powers` as well. Without `quick` an axis contributes all of its values to `--quick`, except those under `full`. The cells of a case are the product
of its axes; axes named together under `zip` advance together: they have equal length, and may repeat values but no whole point.

`$name` stands for the value of an axis, in arguments of recipes and in `parameters`. There are no
expressions. An axis that nothing uses is an error.

## Conditions

`where` takes `formulation`, `backend`, `dtype`, `mode` (`forward` or `backward`) and the names of axes. A
condition is a value, a list of values, or comparators on the number *as written*
({comparators}): an axis in units of `ln_max` is compared by its multiple. A rule, exclusion, timing or fact that reaches no cell of
the full profile is an error, and so is a rule whose every cell an earlier rule decides.

## Inputs

Every input of the operation has a [recipe](#recipes) and the recipe's arguments. They are made in the order written,
each from a random stream of its own (`seed`, the case's name and the input's), and rounded once. A file
lies in the folder of the case or below it: no path, and no symbolic link, leads out. An input has at most
{elements:,} elements (`--max-elements`).

## Expectations

A cell without a rule must have outcome `ok` and `bound_ratio` at most 1. Of the rules the first that
matches a cell decides; with `output` it speaks of that output alone, and others go on to the next rule.

| a rule says | the cell passes if |
|---|---|
| `outcome: not_a_number`, or a list | its outcome is one of them |
| `breaks: true` | its outcome is not `ok`, or `bound_ratio` is above 1 |
| `breaks: maybe` | either way: where theory leaves it open |
| `bounds: {{max_ulp: {{at_most: 4}}}}` | the columns satisfy the comparators, and the outcome is `ok` unless another is expected |
| `defect: {{issue: …}}` | the defect shows as declared; where it no longer shows, it passes as `fixed_upstream` |
| `severity: warn` | a miss is counted and shown, but fails nothing |
"""

GRADIENTS = """\
## Gradients

`differentiate` asks for the gradient instead of the value: the `cotangent`, an array of the output's shape, is carried back to the
inputs named. Rows are then called `grad_x`, cells end in `/backward`, and rules and facts name these outputs. PyTorch differentiates
every formulation; NumPy runs the gradients that formulations declare and skips the others.

```yaml
case: softmax-gradient
title: The gradient of softmax
topic: differentiation
operation: softmax
inputs:
  x: {recipe: normal, shape: [64]}
differentiate:
  with_respect_to: [x]
  cotangent: {recipe: normal, shape: [64]}
```
"""

RECIPES_OPENING = """\
## Recipes

An input is `{recipe: uniform, low: -1, shape: [$n]}`: the name of a recipe, and its arguments. Those without a default are required, unless
they say *optional*. A *number* is an exact decimal, a *shape* a list of extents; every argument, and every number in a list, may be `$axis`.
A plug-in may register more.

| recipe, argument | value | meaning |
|---|---|---|
"""


def page() -> str:
    """Return the reference page."""
    schema = casefile.json_schema()
    parts = [
        OPENING.replace("{bytes}", f"{MAX_BYTES:,}")
        .replace("{depth}", str(MAX_DEPTH))
        .replace("{nodes}", f"{MAX_NODES:,}"),
        "## Keys of a case\n\n" + "\n".join(_table(schema)) + "\n",
        AXES.format(
            units=", ".join(f"`{unit}`" for unit in UNITS),
            comparators=", ".join(f"`{c}`" for c in ("above", "at_least", "below", "at_most")),
            elements=casefile.MAX_ELEMENTS,
        ),
        GRADIENTS,
        RECIPES_OPENING + "\n".join(_recipes()) + "\n",
        "## Keys inside\n",
    ]
    for name, form in schema["$defs"].items():
        mapping = _mapping(form)
        if mapping.get("properties"):
            table = "\n".join(_table(mapping))
            parts.append(f"### {_spoken(name)}\n\n{_sentence(form)}\n\n{table}\n")
    return "\n".join(parts)


def schema_text() -> str:
    """Return the JSON Schema as the file beside the package holds it."""
    return json.dumps(casefile.json_schema(), indent=1, ensure_ascii=False) + "\n"


def _recipes() -> Iterator[str]:
    """Yield the lines of a table: each recipe of ours, and its arguments below it."""
    catalogue.load()
    for name in sorted(RECIPES):
        recipe = RECIPES[name]
        if not recipe.make.__module__.startswith("harness."):
            continue
        yield f"| **`{name}`** | | {_escaped(recipe.title)} |"
        for key, argument in recipe.arguments.items():
            yield f"| `{key}` | {_argument(argument)} | {_escaped(argument.description)} |"


def _argument(argument: Argument) -> str:
    """Return what an argument may be, and its default."""
    kinds = {
        "input": "an input above",
        "numbers": "list of numbers",
        "texts": "list of text",
        "flag": "true or false",
    }
    kind = (
        " ".join(f"`{c}`" for c in argument.choices)
        if argument.choices
        else kinds.get(argument.kind, argument.kind)
    )
    if argument.required:
        return kind
    default = argument.default
    if default is None or default == ():
        return f"{kind}, optional"
    return f"{kind}, default `{str(default).lower() if isinstance(default, bool) else default}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _mapping(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the long form of what may also be written short."""
    return next((c for c in form.get("anyOf", ()) if "properties" in c), form)


def _spoken(name: str) -> str:
    return name.removesuffix("Model")


def _sentence(form: Mapping[str, Any]) -> str:
    return " ".join(str(form.get("description", "")).split())


def _table(form: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | value | meaning |"
    yield "|---|---|---|"
    required = form.get("required", ())
    for key, value in form["properties"].items():
        mark = " (required)" if key in required else ""
        meaning = _sentence(value).replace("|", "\\|")
        default = value.get("default")
        if default not in (None, ""):
            meaning += f" Default: `{json.dumps(default, ensure_ascii=False)}`."
        yield f"| `{key}`{mark} | {_type(value)} | {meaning} |"


def _type(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = _spoken(value["$ref"].split("/")[-1])
        return "`{}`" if name == "Accuracy" else f"[{name}](#{name.lower()})"
    if "enum" in value:
        return " ".join(f"`{json.dumps(choice).strip(chr(34))}`" for choice in value["enum"])
    if "anyOf" in value:
        return ", or ".join(_type(choice) for choice in value["anyOf"])
    kind = value.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(_WORDS.get(k, k) for k in kind)
    if kind == "array":
        return f"list of {_type(value.get('items', {}))}"
    if kind == "object":
        inner = [*value.get("patternProperties", {}).values(), value.get("additionalProperties")]
        named = next((i for i in inner if isinstance(i, dict)), None)
        return "mapping" if named is None else f"mapping from names to {_type(named)}"
    return _WORDS.get(kind, kind)


_WORDS = {
    "string": "text",
    "number": "number",
    "integer": "integer",
    "boolean": "true or false",
    "array": "list",
}


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    SCHEMA.write_text(schema_text(), "utf-8")
