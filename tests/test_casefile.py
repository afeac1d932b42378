# ruff: noqa: E501 — tables of mistakes, one a line
"""Case files: what is read, and every mistake at its place with a hint."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness import casefile, registry
from harness.casefile.schema import allowed_keys
from harness.casefile.tree import MAX_BYTES, MAX_DEPTH, MAX_NODES, parse, scalar
from harness.errors import CaseFileError, Diagnostic, UsageError
from harness.guide import ROWS
from harness.model import Axis, AxisReference, Case, Condition
from harness.registry import Argument, Formulation, Gradient, Metric, Operation, Parameter, Recipe, Registry

SCHEMA = Path(casefile.__file__).parent.parent / "case.schema.json"
DOCS = SCHEMA.parent.parent / "docs"


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("reading a case runs nothing")


def _shape_elements(arguments: Mapping[str, Any]) -> int:
    return math.prod(arguments["shape"])


SHAPE = Argument("shape", "the shape of the array")
RECIPES = {
    "linspace": (
        {"low": Argument("number", "first"), "high": Argument("number", "last"), "shape": SHAPE},
        True,
    ),
    "normal": ({"shape": SHAPE, "scale": Argument("number", "deviation", Decimal(1), required=False)}, True),
    "values": ({"values": Argument("numbers", "the numbers")}, False),
    "image": ({"matrix": Argument("input", "of the product"), "angle": Argument("number", "angle")}, False),
    "file": ({"path": Argument("text", "the file"), "column": Argument("text", "its column")}, False),
}
OPERATIONS: dict[str, dict[str, Any]] = {
    "softmax": {
        "inputs": {"x": "(…, n)"}, "outputs": ("p",), "gradient": Gradient(("x",), "", _never, 1, "", "", _never),
        "parameters": {"axis": Parameter(-1, "summed over", kind="integer"), "base": Parameter("e", "of powers", ("e", 2))},
    },
    "least_squares": {
        "inputs": {"A": "(m, n)", "b": "(m,)"}, "outputs": ("x", "r"),
        "parameters": {"tolerance": Parameter(None, "singular values below it are zero")},
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of this test alone, so that what rooms hold does not matter."""
    operations = {
        name: Operation(
            name=name, title=name, formula="", dtypes=("float64", "float16"), reference=_never,
            reference_version=1, bound_formula="", bound_source="", bound=_never, **parts,
        )
        for name, parts in OPERATIONS.items()
    }  # fmt: skip
    formulations = {
        f"{operation}/{name}": Formulation(operation, name, _never, name)
        for operation, names in {"softmax": ("naive", "shifted"), "least_squares": ("qr",)}.items()
        for name in names
    }
    recipes = {
        name: Recipe(name, name, arguments, _never, _shape_elements if sized else lambda _: None)
        for name, (arguments, sized) in RECIPES.items()
    }
    metrics = {
        name: Metric(name, name, "1", "", "", None) for name in ("bound_ratio", "max_ulp", "condition")
    }
    metrics["result_digest"] = Metric("result_digest", "", "", "", "", None, display="text")
    backends = {name: types.SimpleNamespace(name=name) for name in ("numpy", "torch-cpu")}
    known: list[tuple[Registry[Any], Mapping[str, Any]]] = [
        (registry.OPERATIONS, operations), (registry.FORMULATIONS, formulations),
        (registry.RECIPES, recipes), (registry.METRICS, metrics), (registry.BACKENDS, backends),
    ]  # fmt: skip
    for held, items in known:
        monkeypatch.setattr(held, "_items", dict(items))


WHOLE = """\
case: softmax-overflow
title: Softmax of large logits
topic: stability
guide: [NM4]
description: |
  What happens past ln(max).
operation: softmax
formulations: [naive, shifted]
backends: [numpy]
dtypes: [float64, float16]
seed: 7
parameters: {axis: -1}
axes:
  n: {values: [8, 1024], quick: [8], full: [65536]}
  top: {unit: ln_max, times: [0.5, 1.01, 2]}
inputs:
  x: {recipe: linspace, low: 0, high: $top, shape: [$n, 2]}
measure:
  accuracy: {}
  speed: {where: {n: {at_least: 1024}}, budget_s: 0.5}
exclude:
  - {where: {dtype: float16, n: {above: 4096}}, reason: sums take minutes}
expect:
  - where: {formulation: naive, top: {above: 1}}
    outcome: not_a_number
  - where: {formulation: naive, top: 0.5}
    breaks: maybe
  - where: {formulation: shifted, backend: numpy}
    bounds: {bound_ratio: {at_most: 1}, max_ulp: {at_most: 5e2}}
    severity: warn
facts:
  - {fit: time_median_s, against: n, expect: {exponent: {at_most: 1.5}}}
"""

PLAIN = """\
case: plain
title: Plain
topic: stability
operation: softmax
axes: {n: [4, 8]}
inputs: {x: {recipe: normal, shape: [$n]}}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: str | bytes, name: str = "case.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


@pytest.fixture
def one(write: Write) -> Callable[[str], Case]:
    def read(content: str) -> Case:
        (case,) = casefile.read_cases([write(content)])
        return case

    return read


@pytest.fixture
def problems(write: Write) -> Callable[..., list[tuple[int, int, str, str | None]]]:
    def read(content: str | bytes, **limits: int) -> list[tuple[int, int, str, str | None]]:
        found = casefile.check([write(content)], **limits)
        return [(d.line, d.column, d.message, d.hint) for d in found]

    return read


Problems = Callable[..., list[tuple[int, int, str, str | None]]]


def assert_told(found: list[tuple[int, int, str, str | None]], line: int, column: int, message: str) -> None:
    """Assert that a problem is told at a place; others may follow from it."""
    told = [text for *place, text, _ in found if place == [line, column]]
    assert any(text.startswith(message) for text in told), found


# ---- what is read ----------------------------------------------------------------------------------


def test_a_whole_case_is_read(one: Callable[[str], Case], tmp_path: Path) -> None:
    case = one(WHOLE)
    assert (case.name, case.seed, case.folder) == ("softmax-overflow", 7, tmp_path)
    assert case.description == "What happens past ln(max)."
    assert case.axes == (
        Axis("n", (8, 1024, 65536), frozenset({8}), frozenset({65536})),
        Axis(
            "top", (Decimal("0.5"), Decimal("1.01"), 2), frozenset({Decimal("0.5"), Decimal("1.01"), 2}),
            unit="ln_max", kind="times",
        ),
    )  # fmt: skip
    (x,) = case.inputs
    assert (x.recipe, x.line, x.column) == ("linspace", 17, 6)
    assert x.arguments == {
        "low": 0, "high": AxisReference("top"), "shape": [AxisReference("n"), 2]
    }  # fmt: skip
    assert case.speed is not None
    assert case.speed.budget_s == Decimal("0.5")
    assert case.speed.where == {"n": Condition(at_least=1024)}
    assert case.exclude[0].where == {"dtype": Condition(equals=("float16",)), "n": Condition(above=4096)}
    first, second, third = case.expect
    assert (first.outcome, first.line, first.breaks) == (("not_a_number",), 24, None)
    assert second.breaks == "maybe"
    assert third.bounds["max_ulp"] == Condition(at_most=Decimal(500))
    assert third.severity == "warn"
    assert case.facts[0].expect == {"exponent": Condition(at_most=Decimal("1.5"))}


def test_what_is_left_out_has_its_default(one: Callable[[str], Case]) -> None:
    case = one(PLAIN)
    assert case.formulations is case.backends is case.dtypes is None
    assert case.accuracy
    assert case.speed is None
    assert case.axes[0].quick == {4, 8}
    assert one(PLAIN + "measure: {speed: {}}\n").accuracy is False


def test_two_documents_are_two_cases(write: Write) -> None:
    second = PLAIN.replace("case: plain", "case: other")
    cases = casefile.read_cases([write(PLAIN + "---\n" + second)])
    assert [c.name for c in cases] == ["plain", "other"]
    assert cases[1].inputs[0].line == 13


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1e-5", Decimal("0.00001")), ("1e5", Decimal(100000)), ("1.", Decimal(1)), (".5", Decimal("0.5")),
        ("0.1", Decimal("0.1")), ("+3", 3), ("012", 12), ("0o17", 15), ("0x1F", 31), ("-0", 0),
        (".inf", Decimal("Infinity")), ("-.INF", Decimal("-Infinity")), ("no", "no"), ("yes", "yes"),
        ("on", "on"), ("1:30", "1:30"), ("1_000", "1_000"), ("2001-01-01", "2001-01-01"), ("-", "-"),
        ("true", True), ("False", False), ("~", None), ("", None), ("null", None), ("1e", "1e"), (".", "."),
        ("float16", "float16"), ("0b1", "0b1"), ("-0x1", "-0x1"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(written: str, read: Any) -> None:
    # YAML 1.2.2, section 10.3.2: the regular expressions of its table.
    found = scalar(written)
    assert (type(found), found) == (type(read), read)


def test_nan_and_minus_zero_are_kept() -> None:
    assert scalar(".nan").is_nan()
    assert math.copysign(1, scalar("-0.0")) == -1


def test_quoted_numbers_and_keys_are_text() -> None:
    (document,), _ = parse(b'a: "1e-5"\nno: 1\n', "f")
    assert document.plain() == {"a": "1e-5", "no": 1}


def test_folders_files_and_the_guide_are_found_once(write: Write, tmp_path: Path) -> None:
    b, a = write(PLAIN, "b.yaml"), write(PLAIN, "sub/a.yaml")
    write(PLAIN, ".hidden/c.yaml")
    assert casefile.case_files([tmp_path, b, a]) == [b, a]
    assert casefile.packaged_cases().name == "cases"


def test_paths_that_are_not_there_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no case file"):
        casefile.case_files([tmp_path / "empty"])
    with pytest.raises(UsageError, match="no case file or folder") as caught:
        casefile.case_files([tmp_path / "emty"])
    assert "empty" in str(caught.value.hint)


def test_default_paths_are_here_or_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert casefile.default_paths() == [casefile.packaged_cases()]
    (tmp_path / "cases").mkdir()
    assert casefile.default_paths() == [Path("cases")]


# ---- mistakes in the YAML ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "line", "column", "message"),
    [
        ("", 1, 1, "the file is empty"),
        ("# only a comment\n", 1, 1, "the file is empty"),
        ("case: \xff".encode("latin-1"), 1, 7, "not UTF-8: byte 0xff"),
        ("case: a\n".encode("utf-16"), 1, 1, "not UTF-8: byte 0xff"),
        ("case: [a\ntitle: b\n", 2, 6, "not YAML: "),
        ("case: a\n\x07", 2, 1, "not YAML: control characters"),
        ("a: 1\na: 2\n", 2, 1, "key 'a' is given twice: first on line 1"),
        ("a: &b [*b]\n", 1, 8, "alias *b stands inside its own anchor"),
        ("a: *b\n", 1, 4, "alias *b stands before any anchor &b"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, 4, "tag '!!python/object/apply:os.system'"),
        ("a: !!str 1\n", 1, 4, "tag '!!str' is refused"),
        ("? [a]\n: 1\n", 1, 3, "a key is a list or a mapping"),
        ("a: 1e99999\n", 1, 4, "1e99999 is beyond 1e±10000"),
        ("a: " + "9" * 5000, 1, 4, "a number of 5000 characters"),
        ("[" * 100_000, 1, 1 + MAX_DEPTH, f"nested more than {MAX_DEPTH} deep"),
        ("- " * 100_000, 1, 1 + 2 * MAX_DEPTH, f"nested more than {MAX_DEPTH} deep"),
        ("x" * (MAX_BYTES + 1), 1, 1, "the file is larger than"),
    ],
)
def test_what_is_no_yaml_is_told_by_place(
    problems: Problems, content: str | bytes, line: int, column: int, message: str
) -> None:
    assert_told(problems(content), line, column, message)


def test_an_alias_bomb_is_bounded(problems: Problems) -> None:
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    found = problems("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + levels)
    assert [f[2] for f in found] == [f"the file unfolds to more than {MAX_NODES} values"]


def test_an_alias_within_bounds_is_what_it_stands_for(one: Callable[[str], Case]) -> None:
    case = one(PLAIN.replace("[4, 8]", "&sizes [4, 8], m: *sizes").replace("[$n]", "[$n, $m]"))
    assert case.axes[1].values == (4, 8)


def test_a_deep_alias_counts_its_depth(problems: Problems) -> None:
    nested = "[" * 13 + "1" + "]" * 13
    found = problems(f"a: &a {nested}\nb: {'[' * 13}*a{']' * 13}\n")
    assert found[0][2] == f"nested more than {MAX_DEPTH} deep through alias *a"


def test_all_is_told_even_beside_refused_yaml(problems: Problems) -> None:
    found = problems(PLAIN + "titel: x\ntopic: again\nseed: !!int 3\n")
    assert [(line, message) for line, _, message, _ in found] == [
        (7, "unknown key 'titel'"),
        (8, "key 'topic' is given twice: first on line 3"),
        (9, "tag '!!int' is refused: a case file is data and runs no code"),
    ]


# ---- mistakes in the case ---------------------------------------------------------------------------

ADDED = [
    # what is added to PLAIN: line, column, message, hint
    ("formulatons: [naive]", 7, 1, "unknown key 'formulatons'", "did you mean 'formulations'?"),
    ("formulations: [naiv]", 7, 16, "unknown formulation of softmax 'naiv'", "did you mean 'naive'?"),
    ("formulations: naive", 7, 15, "formulations is 'naive'", "allowed: a list"),
    ("formulations: []", 7, 15, "formulations is an empty list", "allowed: at least 1 of them"),
    ("formulations: [naive, naive]", 7, 23, "'naive' is named twice in formulations", None),
    ("backends: [numpie]", 7, 12, "unknown backend 'numpie'", "did you mean 'numpy'?"),
    ("backends:", 7, 10, "backends has no value", None),
    ("dtypes: [float63]", 7, 10, "unknown dtype 'float63'", "did you mean 'float64'?"),
    ("seed: 1.5", 7, 7, "seed is 1.5", "allowed: an integer"),
    ("seed: yes", 7, 7, "seed is 'yes'", "allowed: an integer"),
    ("seed: true", 7, 7, "seed is true", "allowed: an integer"),
    ("seed: -1", 7, 7, "seed is -1", "allowed: input should be greater than or equal to 0"),
    ("guide: [NM44]", 7, 9, "unknown row of the guide 'NM44'", "did you mean 'NM4'?"),
    ("guide: [XX1]", 7, 9, "unknown row of the guide 'XX1'", "allowed: " + ", ".join(sorted(ROWS))),
    ("guide: [NM4, NM5, NM4]", 7, 19, "'NM4' is named twice in guide", None),
    ("guide: [nm4]", 7, 9, "guide[0] is 'nm4'", "allowed: two capitals and a number, such as NM4"),
    ("parameters: {axes: 0}", 7, 14, "unknown parameter of softmax 'axes'", "did you mean 'axis'?"),
    ("parameters: {base: 3}", 7, 20, "parameter 'base' is 3", "allowed: e, 2"),
    ("parameters: {axis: $m}", 7, 20, "undefined axis $m", None),
    ("parameters: {axis: 0.5}", 7, 20, "parameter 'axis' is 0.5", "allowed: an integer"),
    ("parameters: {axis: last}", 7, 20, "parameter 'axis' is 'last'", "allowed: an integer"),
    ("parameters: {axis: [0]}", 7, 20, "parameters.axis is a list", "allowed: a number, text, true or false"),
    ("measure: {}", 7, 10, "nothing is measured", None),
    ("measure: {speed: }", 7, 18, "measure.speed has no value", None),
    ("measure: {speed: {threads: 0}}", 7, 28, "measure.speed.threads is 0", None),
    ("measure: {speed: {cache: warm}}", 7, 26, "measure.speed.cache is 'warm'", "allowed: 'hot' or 'cold'"),
    ("measure: {speed: {budget_s: 0}}", 7, 29, "budget_s is 0", "allowed: above 0, at most 3600"),
    ("measure: {speed: {where: {n: {above: 8}}}}", 7, 26, "no cell of the full profile is timed", None),
    ("expect: [{where: {m: 1}, outcome: ok}]", 7, 19, "unknown key 'm' in where", None),
    ("expect: [{where: {dtype: float32}, outcome: ok}]", 7, 26, "dtype 'float32' is none of the case's", None),
    ("expect: [{where: {n: 5}, outcome: ok}]", 7, 22, "n 5 is none of the case's", None),
    ("expect: [{where: {dtype: {above: 1}}, outcome: ok}]", 7, 26, "'dtype' holds no numbers", None),
    ("expect: [{where: {n: {above: 8}}, outcome: ok}]", 7, 10, "the rule matches no cell of the full profile", None),
    ("expect: [{where: {n: {abov: 8}}, outcome: ok}]", 7, 23, "unknown key 'abov' in expect[0].where.n", "did you mean 'above'?"),
    ("expect: [{outcome: ok}, {where: {n: 4}, outcome: ok}]", 7, 25, "the rule decides nothing", None),
    ("expect: [{outcome: nan}]", 7, 20, "unknown outcome 'nan'", None),
    ("expect: [{breaks: perhaps}]", 7, 19, "expect[0].breaks is 'perhaps'", "allowed: true, false or maybe"),
    ("expect: [{bounds: {max_ulps: {at_most: 1}}}]", 7, 20, "unknown metric 'max_ulps'", "did you mean 'max_ulp'?"),
    ("expect: [{bounds: {gflops: {at_least: 1}}}]", 7, 20, "gflops is not measured", None),
    ("expect: [{bounds: {max_ulp: {at_most: many}}}]", 7, 39, "expect[0].bounds.max_ulp.at_most is 'many'", "allowed: a number"),
    ("expect: [{bounds: {result_digest: {at_most: 1}}}]", 7, 20, "unknown metric 'result_digest'", None),
    ("expect: [{output: y, outcome: ok}]", 7, 19, "unknown output of softmax 'y'", None),
    ("expect: [{where: {n: 4}}]", 7, 10, "the rule expects nothing", None),
    ("expect: [{outcome: ok, severity: error}]", 7, 34, "expect[0].severity is 'error'", "allowed: 'fail' or 'warn'"),
    ("exclude: [{where: {n: 4}}]", 7, 11, "key 'reason' of exclude[0] is missing", "write `reason:`"),
    ("exclude: [{where: {n: {above: 8}}, reason: x}]", 7, 11, "the exclusion matches no cell", None),
    ("exclude: [{where: {n: [4, 8]}, reason: x}]", 7, 1, "every cell is excluded", None),
    ("facts: [{fit: max_ulpp, against: n}]", 7, 15, "unknown metric 'max_ulpp'", "did you mean 'max_ulp'?"),
    ("facts: [{fit: max_ulp, against: m}]", 7, 33, "unknown axis or metric 'm'", None),
    ("facts: [{fit: max_ulp, against: n, expect: {slope: 1}}]", 7, 45, "name 'slope' is refused", "allowed: 'exponent'"),
    ("facts: [{fit: max_ulp, against: n, where: {n: {above: 8}}}]", 7, 9, "the fact matches no cell", None),
    ("published: {q: {file: data/x.csv, column: c, digits: 3}}", 7, 13, "unknown output of softmax 'q'", None),
    ("published: {p: {file: x.csv, column: c, digits: 3}}", 7, 23, "file 'x.csv' does not exist", None),
    ("published: {p: {file: ../x.csv, column: c, digits: 3}}", 7, 23, "path '../x.csv' leaves the folder", None),
    ("zip: [[n, m]]", 7, 11, "unknown axis 'm'", None),
    ("zip: [[n]]", 7, 7, "zip[0] is a list", "allowed: at least 2 of them"),
    ("zip: [[n, n]]", 7, 11, "axis 'n' is zipped twice", None),
    (
        "differentiate: {with_respect_to: [y], cotangent: {recipe: normal, shape: [$n]}}",
        7, 35, "unknown differentiable input of softmax 'y'", None,
    ),
    (
        "differentiate: {with_respect_to: [x, x], cotangent: {recipe: normal, shape: [$n]}}",
        7, 38, "'x' is named twice in with_respect_to", None,
    ),
    ("facts: [{fit: max_ulp, against: n, output: q}]", 7, 44, "unknown output of softmax 'q'", "allowed: p"),
]  # fmt: skip


@pytest.mark.parametrize(("added", "line", "column", "message", "hint"), ADDED)
def test_a_mistake_is_told_at_its_place(
    problems: Problems, write: Write, added: str, line: int, column: int, message: str, hint: str | None
) -> None:
    write("c\n1\n", "data/x.csv")
    found = problems(PLAIN + added + "\n")
    assert len(found) == 1, found
    assert found[0][:2] == (line, column)
    assert found[0][2].startswith(message)
    assert hint is None or found[0][3] == hint


def test_a_case_of_the_guide_has_a_topic_of_the_guide(problems: Problems) -> None:
    mistyped = PLAIN.replace("topic: stability", "topic: stabilty")
    assert problems(mistyped) == []  # a subject of one's own
    (found,) = problems(mistyped + "guide: [NM4]\n")
    told = "unknown topic of the guide 'stabilty'"
    assert found == (3, 8, told, "did you mean 'stability'?")


AXES = [
    ("{n: []}", 5, 11, "axis 'n' is empty"),
    ("{n: {values: []}}", 5, 20, "axis 'n' is empty"),
    ("{n: 4}", 5, 11, "axes.n is 4"),
    ("{n: {values: [4], quick: [8]}}", 5, 33, "quick value 8 is none of the values"),
    ("{n: {values: [4], full: [4]}}", 5, 32, "4 stands twice on axis 'n'"),
    ("{n: [4, 4.0]}", 5, 15, "4 stands twice on axis 'n'"),
    ("{n: [4, x]}", 5, 11, "axis 'n' mixes numbers and texts"),
    ("{n: [4, true]}", 5, 11, "axis 'n' mixes booleans and numbers"),
    ("{n: [4, 2.5]}", 6, 37, "argument 'shape' of recipe normal"),
    ("{n: [4, -1]}", 6, 37, "argument 'shape' of recipe normal"),
    ("{n: [4, .nan]}", 5, 15, "an axis cannot hold .nan"),
    ('{n: ["a,b"]}', 5, 12, "'a,b' holds ',' or '='"),
    ("{n: [4], m: [1]}", 5, 16, "axis 'm' is used by no input and no parameter"),
    ("{n: [4], dtype: [1]}", 5, 16, "an axis cannot be called 'dtype'"),
    ("{n: [4], m n: [1]}", 5, 16, "name 'm n' is refused"),
    ("{n: {times: [1]}}", 5, 11, "axis 'n' has times but no unit"),
    ("{n: {unit: max}}", 5, 11, "axis 'n' needs exactly one of values, times, powers: found none"),
    ("{n: {unit: max, values: [1]}}", 5, 11, "axis 'n' has a unit but neither times nor powers"),
    ("{n: {values: [1], powers: [1], unit: max}}", 5, 11, "axis 'n' needs exactly one of"),
    ("{n: {unit: maximum, times: [1]}}", 5, 18, "unknown unit 'maximum'"),
    ("{n: {unit: max, powers: [9999]}}", 5, 32, "in float64: max to the power 9999"),
]


@pytest.mark.parametrize(("axes", "line", "column", "message"), AXES)
def test_a_mistake_in_an_axis_is_told_at_its_place(
    problems: Problems, axes: str, line: int, column: int, message: str
) -> None:
    found = problems(PLAIN.replace("{n: [4, 8]}", axes))
    assert_told(found, line, column, message)


INPUTS = [
    ("{}", 6, 9, "inputs is a mapping"),
    ("{y: {recipe: normal, shape: [$n]}}", 6, 10, "unknown input of softmax 'y'"),
    ("{x: {recipe: gaussian, shape: [$n]}}", 6, 22, "unknown recipe 'gaussian'"),
    ("{x: {shape: [$n]}}", 6, 13, "key 'recipe' of inputs.x is missing"),
    ("{x: {recipe: normal}}", 6, 13, "recipe normal lacks argument 'shape'"),
    ("{x: {recipe: normal, shape: [$n], mean: 1}}", 6, 43, "unknown argument 'mean' of recipe normal"),
    ("{x: {recipe: normal, shape: [$m]}}", 6, 38, "undefined axis $m"),
    ("{x: {recipe: normal, shape: [$n+1]}}", 6, 38, "'$n+1' is no axis"),
    ("{x: {recipe: normal, shape: 4}}", 6, 37, "argument 'shape' of recipe normal is 4"),
    ("{x: {recipe: normal, shape: [0]}}", 6, 37, "argument 'shape' of recipe normal is [0]"),
    ("{x: {recipe: normal, shape: [$n], scale: wide}}", 6, 50, "argument 'scale' of recipe normal is 'wide'"),
    ("{x: {recipe: normal, shape: [1000, 1000, 1000]}}", 6, 37, "input 'x' would hold 1,000,000,000 elements"),
    ("{x: {recipe: image, matrix: A, angle: 0}}", 6, 37, "recipe image takes 'matrix' from an earlier input"),
    ("{x: {recipe: file, path: /etc/passwd, column: a}}", 6, 34, "path '/etc/passwd' leaves the folder"),
    ("{x: {recipe: file, path: a/../../b, column: a}}", 6, 34, "path 'a/../../b' leaves the folder"),
    ('{x: {recipe: file, path: "C:\\\\a", column: a}}', 6, 34, "path 'C:\\\\a' leaves the folder"),
    ("{x: {recipe: file, path: link.csv, column: a}}", 6, 34, "path 'link.csv' leaves the folder of the case by a"),
    ("{x: {recipe: file, path: loop.csv, column: a}}", 6, 34, "path 'loop.csv' cannot be followed"),
    ("{x: {recipe: file, path: absent.csv, column: a}}", 6, 34, "file 'absent.csv' does not exist"),
    ("{x: {recipe: normal, shape: {a: 1}}}", 6, 37, "inputs.x.shape is a mapping"),
]  # fmt: skip


@pytest.mark.parametrize(("inputs", "line", "column", "message"), INPUTS)
def test_a_mistake_in_an_input_is_told_at_its_place(
    problems: Problems, tmp_path: Path, inputs: str, line: int, column: int, message: str
) -> None:
    (tmp_path / "link.csv").symlink_to("/etc/hostname")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    found = problems(PLAIN.replace("{x: {recipe: normal, shape: [$n]}}", inputs))
    assert_told(found, line, column, message)


def test_several_mistakes_are_told_at_once_in_the_order_of_lines(problems: Problems) -> None:
    text = """\
case: Softmax_Overflow
title: 3
topic: stability
operation: softmx
backends: [numpi]
axes:
  n: {values: [8, 16], quick: [9]}
  top: {unit: ln_mx, times: [1]}
inputs:
  x: {recipe: linspac, high: $topp, shape: [$n]}
expect:
  - {where: {naive: true}, outcome: okay}
  - {where: {n: 8}, breks: true}
  - {bounds: {ulps: {at_most: 1}}}
surprise: 1
"""
    found = problems(text)
    assert [(line, column) for line, column, _, _ in found] == [
        (1, 7), (2, 8), (4, 12), (5, 12), (7, 32), (8, 3), (8, 15), (10, 15), (10, 30), (12, 14),
        (12, 37), (13, 21), (14, 15), (15, 1),
    ]  # fmt: skip
    assert all(message for *_, message, _ in found)


def test_the_rest_of_a_rule_is_checked_beside_what_is_refused(problems: Problems) -> None:
    rules = """\
expect:
  - {where: {formulation: naiv, n: {above: x}}, breaks: true, defect: {}}
  - {where: {formulation: shifted, n: 4}, breaks: perhaps, bounds: {ulps: {at_most: 1}}}
  - {where: {formulation: shifted}, outcome: ok}
exclude:
  - {where: {dtype: flot16}, reason: 3}
measure: {accuracy: {}, speed: {threads: 0, budget_s: -1}}
"""
    found = problems(PLAIN + rules)
    assert [(line, message.split(" is ")[0]) for line, _, message, _ in found] == [
        (8, "formulation 'naiv'"),
        (8, "expect[0].where.n.above"),
        (8, "key 'issue' of expect[0].defect"),
        (9, "expect[1].breaks"),
        (9, "unknown metric 'ulps'"),
        (12, "dtype 'flot16'"),
        (12, "exclude[0].reason"),
        (13, "measure.speed.threads"),
        (13, "budget_s"),
    ]


def test_missing_keys_are_all_told(problems: Problems) -> None:
    found = problems("description: nothing else\n")
    assert [message for *_, message, _ in found] == [
        f"key {key!r} is missing" for key in ("case", "inputs", "operation", "title", "topic")
    ]


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "3\n"])
def test_a_document_that_is_no_mapping_is_refused(problems: Problems, text: str) -> None:
    ((line, column, message, _),) = problems(text)
    assert (line, column) == (1, 1)
    assert message.startswith("a case is a mapping, and here is")


def test_missing_and_required_parts_of_an_operation(problems: Problems) -> None:
    text = PLAIN.replace("softmax", "least_squares").replace("x: {recipe", "A: {recipe")
    found = {message: hint for *_, message, hint in problems(text)}
    assert "input 'b' ((m,)) is missing" in found
    assert "least_squares needs parameter 'tolerance' (singular values below it are zero)" in found


def test_an_operation_without_derivative_is_refused_there(problems: Problems) -> None:
    text = (
        PLAIN.replace("softmax", "least_squares")
        .replace("{x: {recipe: normal, shape: [$n]}}", "{A: {recipe: normal, shape: [$n, 2]}, b: {recipe: normal, shape: [$n]}}")
    )  # fmt: skip
    text += "parameters: {tolerance: 0}\n"
    text += "differentiate: {with_respect_to: [A], cotangent: {recipe: normal, shape: [2]}}\n"
    ((line, column, message, _),) = problems(text)
    assert (line, column) == (8, 1)
    assert message == "least_squares cannot be differentiated: it declares no derivative"


def test_a_derivative_that_is_declared_is_read(one: Callable[[str], Case]) -> None:
    added = "differentiate: {with_respect_to: [x], cotangent: {recipe: normal, shape: [$n]}}\n"
    case = one(PLAIN + added)
    assert case.differentiate is not None
    assert case.differentiate.cotangent.name == "cotangent"
    rule = "expect: [{output: grad_x, where: {formulation: naive}, breaks: maybe}]\n"
    assert one(PLAIN + added + rule).expect[0].output == "grad_x"


def test_a_rule_of_a_gradient_names_gradients(problems: Problems) -> None:
    added = "differentiate: {with_respect_to: [x], cotangent: {recipe: normal, shape: [$n]}}\n"
    ((_, _, message, hint),) = problems(PLAIN + added + "expect: [{output: p, breaks: maybe}]\n")
    assert (message, hint) == ("unknown output of softmax 'p'", "allowed: grad_x")


def test_both_places_of_one_name_are_told(write: Write, tmp_path: Path) -> None:
    write(PLAIN, "a.yaml")
    write("\n" + PLAIN, "b.yaml")
    with pytest.raises(CaseFileError) as caught:
        casefile.read_cases([tmp_path])
    first, second = caught.value.diagnostics
    assert (first.line, first.column, second.line, second.column) == (1, 7, 2, 7)
    assert first.message == f"case 'plain' is also at {tmp_path / 'b.yaml'}:2"
    assert second.message == f"case 'plain' is also at {tmp_path / 'a.yaml'}:1"


def test_problems_of_all_files_come_together(write: Write, tmp_path: Path) -> None:
    write(PLAIN + "a: 1\nb: 2\n", "x.yaml")
    write("", "y.yaml")
    found = casefile.check([tmp_path])
    assert [(Path(d.path).name, d.line) for d in found] == [("x.yaml", 7), ("x.yaml", 8), ("y.yaml", 1)]
    assert str(found[0]).startswith(f"{found[0].path}:7:1: unknown key 'a'\n  hint: ")


def test_max_elements_bounds_inputs(problems: Problems) -> None:
    assert problems(PLAIN, max_elements=8) == []
    ((line, _, message, hint),) = problems(PLAIN, max_elements=7)
    assert (line, message) == (6, "input 'x' would hold 8 elements at n = 8")
    assert hint == "at most 7 are allowed (--max-elements)"


def test_zipped_axes_bound_the_product_they_have(problems: Problems) -> None:
    zipped = PLAIN.replace("{n: [4, 8]}", "{n: [4, 800], m: [800, 4]}").replace("[$n]", "[$n, $m]")
    assert problems(zipped + "zip: [[n, m]]\n", max_elements=3200) == []
    assert "at n = 800, m = 800" in problems(zipped, max_elements=3200)[0][2]


def test_zipped_axes_of_unequal_length(problems: Problems) -> None:
    text = PLAIN.replace("{n: [4, 8]}", "{n: [4, 8], m: [1]}").replace("[$n]", "[$n, $m]")
    ((line, column, message, _),) = problems(text + "zip: [[n, m]]\n")
    assert (line, column) == (7, 11)
    assert message == "zipped axes differ in length: 'n' has 2 values, 'm' 1"


def test_zipped_axes_may_repeat_values_but_no_point(problems: Problems) -> None:
    text = PLAIN.replace("{n: [4, 8]}", "{n: [4, 4], m: [1, 2]}").replace("[$n]", "[$n, $m]")
    assert problems(text + "zip: [[n, m]]\n") == []
    ((line, column, message, _),) = problems(text)
    assert (line, column, message) == (5, 15, "4 stands twice on axis 'n'")
    ((line, column, message, _),) = problems(text.replace("[1, 2]", "[1, 1]") + "zip: [[n, m]]\n")
    assert (line, column, message) == (7, 7, "the point n = 4, m = 1 stands twice on zipped axes")


def test_too_many_cells_are_refused_without_making_them(problems: Problems) -> None:
    names = [f"a{i}" for i in range(12)]
    axes = ", ".join(f"{name}: [{', '.join(map(str, range(1, 41)))}]" for name in names)
    shape = ", ".join(f"${name}" for name in names)
    values = PLAIN.replace("{n: [4, 8]}", f"{{{axes}}}").replace(
        "recipe: normal, shape: [$n]", f"recipe: values, values: [{shape}]"
    )
    message = problems(values)[0][2]
    assert message.startswith(f"{8 * 40**12:,} cells (8 × 40")


def test_a_rule_only_on_an_output_leaves_the_others_open(problems: Problems) -> None:
    text = (
        PLAIN.replace("softmax", "least_squares")
        .replace("{x: {recipe: normal, shape: [$n]}}", "{A: {recipe: normal, shape: [$n, 2]}, b: {recipe: normal, shape: [$n]}}")
        + "parameters: {tolerance: 0}\n"
        + "expect: [{output: x, breaks: maybe}, {outcome: ok}]\n"
    )  # fmt: skip
    assert problems(text) == []


def test_a_column_may_be_an_axis(write: Write, problems: Problems) -> None:
    write("alpha,beta\n1,2\n", "data.csv")
    case = PLAIN.replace("n: [4, 8]", "n: [4, 8], c: [alpha, gamma]")
    found = problems(
        case
        + "differentiate: {with_respect_to: [x], cotangent: {recipe: file, path: data.csv, column: $c}}\n"
    )
    assert [message for *_, message, _ in found] == ["data.csv has no column 'gamma'"]


COLUMNS = [
    ("alpha,beta\n1,2\n", "alpha", None),
    ("alpha,beta\n1,2\n", "alhpa", ("data.csv has no column 'alhpa'", "did you mean 'alpha'?")),
    (
        "alpha;beta\n1;2\n", "beta",
        ("data.csv has no column 'beta'", "is this file separated by semicolons? commas are wanted"),
    ),
    ("\ufeff alpha , beta\n", "beta", None),
    ("", "a", ("data.csv holds no data", "the first line names the columns, the others are rows")),
    ('"a', "a", ("data.csv cannot be read as CSV: unexpected end of data", None)),
]  # fmt: skip


@pytest.mark.parametrize(("content", "column", "told"), COLUMNS)
def test_columns_that_a_file_does_not_have_are_told_at_their_place(
    write: Write, problems: Problems, content: str, column: str, told: tuple[str, str | None] | None
) -> None:
    write(content, "data.csv")
    case = "case: a\ntitle: t\ntopic: t\noperation: softmax\n"
    made = f"inputs: {{x: {{recipe: file, path: data.csv, column: {column}}}}}\n"
    plain = "inputs: {x: {recipe: normal, shape: [2]}}\n"
    certified = f"published: {{p: {{file: data.csv, column: {column}, digits: 3}}}}\n"
    for text, line, places in ((made, 5, (34, 52)), (plain + certified, 6, (23, 41))):
        place = places["no column" in told[0]] if told else 0
        assert problems(case + text) == ([] if told is None else [(line, place, *told)])


def test_parameters_may_be_axes(one: Callable[[str], Case]) -> None:
    case = one(PLAIN.replace("n: [4, 8]", "n: [4, 8], d: [0, -1]") + "parameters: {axis: $d}\n")
    assert case.parameters == {"axis": AxisReference("d")}


def test_counts_written_with_an_exponent_are_integers(problems: Problems) -> None:
    assert problems(PLAIN.replace("[4, 8]", "[1e1, 2e1]"), max_elements=20) == []


# ---- schema and reference ---------------------------------------------------------------------------


def test_the_schema_beside_the_package_is_current() -> None:
    written = json.loads(SCHEMA.read_text("utf-8"))
    assert written == casefile.json_schema(), "run docs/case_file_reference.py"


def test_every_key_of_the_schema_is_described() -> None:
    schema = casefile.json_schema()
    forms = [schema, *schema["$defs"].values()]
    forms += [choice for form in forms for choice in form.get("anyOf", ()) if "properties" in choice]
    undescribed = [
        k for form in forms for k, v in form.get("properties", {}).items() if "description" not in v
    ]
    assert undescribed == []
    assert sum(len(form.get("properties", {})) for form in forms) > 50


def test_keys_allowed_at_a_path() -> None:
    assert allowed_keys(()) == tuple(casefile.json_schema()["properties"])
    assert allowed_keys(("expect", 3, "where", "n")) == ("equals", "above", "at_least", "below", "at_most")
    assert allowed_keys(("inputs", "x")) == ("recipe",)
    assert allowed_keys(("title",)) == ()


def test_diagnostics_are_in_the_order_of_places() -> None:
    later, earlier = Diagnostic("a", 2, 1, "x"), Diagnostic("a", 1, 9, "y")
    assert CaseFileError([later, earlier, later]).diagnostics == (earlier, later)
