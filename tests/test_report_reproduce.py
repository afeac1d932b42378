"""The command of a row selects its cell among those of its case file, and no other."""

from __future__ import annotations

import shlex
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness import api
from harness.model import Axis, Case, Plan, cell_id
from harness.report.html import contents
from harness.report.view.reproduce import longer_endings, plugins_of, reproduction, selection
from harness.selection import keyword_test
from tests.synthetic_run import SOFTMAX, example_run, failing, softmax_rows


def row_of(identity: str, dtype: str = "float16") -> dict[str, Any]:
    """Return what a command asks of a row."""
    return {"cell": identity, "case": identity.partition("/")[0], "dtype": dtype}


def chosen(command: str, plan_of: Plan) -> list[str]:
    """Return the ids that the `-k` and `--dtype` of a command select among those of a plan."""
    words = shlex.split(command)
    test = keyword_test(words[words.index("-k") + 1])
    dtypes = [words[words.index("--dtype") + 1]] if "--dtype" in words else None
    return [c.id for c in plan_of.cells if test(c.id) and (dtypes is None or c.dtype in dtypes)]


CASES = sorted(Path("cases").glob("*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_each_cell_of_the_cases_is_selected_alone(path: Path) -> None:
    plan = api.plan([path], profile="full")
    (case,) = plan.cases.values()
    assert plan.cells
    coordinates = {(c.formulation, c.backend, c.dtype): c for c in reversed(plan.cells)}
    first = next(iter(coordinates))
    same = [c for c in plan.cells if (c.formulation, c.backend, c.dtype) == first]
    for cell in (*coordinates.values(), *same):  # ids differ in coordinates, or in the axes of one
        command = reproduction(row_of(cell.id, cell.dtype), case, plan.cases.values(), "full").run
        words = shlex.split(command)
        assert words[:3] == ["harness", "run", str(path)]
        assert words[-1] == "--full"
        assert chosen(command, plan) == [cell.id]


def test_the_command_makes_a_plan_of_that_cell_alone() -> None:
    plan = api.plan(["cases/softmax-overflow.yaml"])
    case = plan.cases["softmax-overflow"]
    cell = plan.cells[5]
    words = shlex.split(reproduction(row_of(cell.id, cell.dtype), case, [case], "default").run)
    again = api.plan([words[2]], keyword=words[words.index("-k") + 1])
    assert [c.id for c in again.cells] == [cell.id]


def test_the_command_names_the_plugins_of_the_run() -> None:
    plan = api.plan(["cases/softmax-guide.yaml"], plugins=["json"])
    plugins = plugins_of({"selection": dict(plan.selection)})
    assert plugins == ("json",)
    case, cell = plan.cases["softmax-guide"], plan.cells[0]
    made = reproduction(row_of(cell.id, cell.dtype), case, [case], "quick", (*plugins, "my rules.py"))
    for command in (made.run, made.reference):
        assert shlex.split(command)[-5:] == ["--plugin", "json", "--plugin", "my rules.py", "--quick"]
    assert plugins_of({}) == plugins_of({"selection": {"paths": ["x"]}}) == ()


def test_the_page_names_the_plugins_of_the_run_too() -> None:
    rows = failing(softmax_rows(), lambda r: r["dtype"] == "float16")
    run = example_run(rows)
    made = replace(run, header={**run.header, "selection": {"plugins": ["mine.py"]}})
    assert contents(made)["data"].count('"options":"--plugin mine.py"') == 1
    assert contents(made)["worst"][0]["commands"].reference.endswith(" --plugin mine.py")


def test_values_that_go_on_from_this_one_are_excluded() -> None:
    values = tuple(map(Decimal, ("0.5", "0.55", "0.555", "5")))
    case = replace(SOFTMAX, axes=(Axis("top", (1,), frozenset()), Axis("stop", values, frozenset())))
    ids = [cell_id(case.name, "naive", "numpy", "float16", {"top": 1, "stop": v}) for v in values]
    assert longer_endings(ids[0], case) == [",stop=0.55", ",stop=0.555"]
    assert longer_endings(ids[2], case) == []
    for identity in ids:
        words = shlex.split(selection(row_of(identity), case))
        test = keyword_test(words[1])
        assert [i for i in ids if test(i)] == [identity]


def test_a_dtype_that_ends_the_id_is_named() -> None:
    case = replace(SOFTMAX, axes=())
    assert selection(row_of("softmax-overflow/naive/numpy/float16"), case) == (
        "-k softmax-overflow/naive/numpy/float16 --dtype float16"
    )


def test_a_gradient_needs_no_exclusions() -> None:
    identity = "softmax-overflow/naive/numpy/float16/n=8/backward"
    case = replace(SOFTMAX, axes=(Axis("n", (8, 80), frozenset()),))
    assert selection(row_of(identity), case) == f"-k {identity}"


def test_cases_of_the_same_file_whose_names_end_alike_are_told_apart() -> None:
    other = replace(SOFTMAX, name="log-softmax-overflow")
    words = shlex.split(
        selection(row_of("softmax-overflow/naive/numpy/float16/n=8,top=2"), SOFTMAX, [other, SOFTMAX])
    )
    test = keyword_test(words[1])
    assert test("softmax-overflow/naive/numpy/float16/n=8,top=2")
    assert not test("log-softmax-overflow/naive/numpy/float16/n=8,top=2")
    elsewhere = replace(other, path="cases/log.yaml")
    assert " not " not in selection(row_of("softmax-overflow/a/b/float16/n=8,top=2"), SOFTMAX, [elsewhere])


@pytest.mark.parametrize("value", ["a b", "a(b)", 'say "x" and go', "it's", "or"])
def test_any_value_can_be_asked_for(value: str) -> None:
    case = replace(SOFTMAX, axes=(Axis("kind", (value, "c"), frozenset()),))
    identity = cell_id(case.name, "naive", "numpy", "float16", {"kind": value})
    words = shlex.split(selection(row_of(identity), case))
    test = keyword_test(words[1])
    assert test(identity)
    assert not test(cell_id(case.name, "naive", "numpy", "float16", {"kind": "c"}))


def test_a_case_without_a_file_has_no_command() -> None:
    made = Case(name="c", title="C", topic="t", operation="softmax", inputs=())
    found = reproduction(row_of("c/naive/numpy/float16"), made, [made], "default")
    assert (found.run, found.reference) == ("", "")


@pytest.mark.parametrize(
    ("profile", "option"), [("quick", " --quick"), ("default", ""), ("full", " --full"), (None, "")]
)
def test_the_profile_is_that_of_the_run(profile: Any, option: str) -> None:
    found = reproduction(
        row_of("softmax-overflow/naive/numpy/float16/n=8,top=2"), SOFTMAX, [SOFTMAX], profile
    )
    ending = f"cases/softmax-overflow.yaml -k softmax-overflow/naive/numpy/float16/n=8,top=2{option}"
    assert found.run == f"harness run {ending}"
    assert found.reference == f"harness reference {ending}"
