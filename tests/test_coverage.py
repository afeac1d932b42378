"""Which rows of the guide are covered: what the command tells, and what the shipped cases must hold."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import casefile, catalogue, registry
from harness.cli import coverage_list, main
from harness.coverage import (
    CaseCoverage,
    Coverage,
    RowCoverage,
    Unexercised,
    coverage,
    guide_rows,
    unexercised,
    words_of,
)
from harness.errors import NothingSelectedError
from harness.guide import ROWS, SECTIONS, TOPICS
from harness.model import Axis, Case, Cell, Condition, Exclusion, InputSpec, Plan, Skip
from harness.plan import make_plan
from harness.registry import BACKENDS, FORMULATIONS, GRADIENTS, OPERATIONS, Formulation, Lack, Registry
from harness.selection import Selection

CLAIMED = {*(f"NM{n}" for n in range(1, 7)), *(f"PR{n}" for n in range(1, 13))}
"""The parts of the guide that are whole: each row has a case that is judged by its digits."""
TO_COME = {
    "LA1", "LA6", "LA7", "LA8", "LA9", "LA10", "LA11", "LA12", "LA13", "LA14", "LA15", "LA16",
    "CA1", "CA2", "CA3", "CA4", "CA5", "CA6", "CA7", "CA8", "CA9", "CA10",
    "LR2", "LR3", "LR4",
    "IN1",
}  # fmt: skip
"""Rows of the other parts without a case: whoever adds one takes it from here."""


@pytest.fixture(scope="module")
def shipped() -> list[Case]:
    catalogue.load()
    return casefile.read_cases([casefile.packaged_cases()])


@pytest.fixture(scope="module")
def default(shipped: list[Case]) -> Plan:
    return make_plan(shipped)


@pytest.fixture(scope="module")
def full(shipped: list[Case]) -> Plan:
    return make_plan(shipped, profile="full")


# ---- the shipped cases ------------------------------------------------------------------------------


def judged_rows(plan: Plan) -> set[str]:
    """Return the rows that have a case with digits to judge both in NumPy and in PyTorch on a CPU."""
    backends: dict[str, set[str]] = {}
    for cell in plan.cells:
        if cell.accuracy and (cell.skip is None or cell.skip.word == "unavailable"):
            backends.setdefault(cell.case, set()).add(cell.backend)
    both = {case for case, found in backends.items() if found >= {"numpy", "torch-cpu"}}
    return {row for case in both for row in plan.cases[case].guide}


def test_what_is_claimed_has_cases_that_are_judged(default: Plan) -> None:
    assert CLAIMED - judged_rows(default) == set()


def test_what_has_no_case_yet_is_known(default: Plan) -> None:
    assert set(ROWS) - CLAIMED - judged_rows(default) == TO_COME


def of_the_harness(item: Formulation) -> bool:
    """Return whether no plug-in of another test registered it."""
    return item.build.__module__.startswith("harness.")


def test_every_formulation_and_gradient_is_exercised(full: Plan) -> None:
    missed = []
    for u in unexercised(full.cells):
        kind = FORMULATIONS if u.mode == "forward" else GRADIENTS
        name = f"{u.operation}/{u.formulation}" + (f"@{u.backend}" if u.backend else "")
        missed += [f"{u.operation}: {u}"] if of_the_harness(kind[name]) else []
    assert missed == []


def test_every_operation_with_a_gradient_has_a_backward_case(full: Plan) -> None:
    ours = {f.operation for f in FORMULATIONS.values() if of_the_harness(f)}
    run = {c.operation for c in full.cells if c.mode == "backward" and c.accuracy and c.skip is None}
    assert {name for name in ours if OPERATIONS[name].gradient is not None} - run == set()


def test_topics_of_the_shipped_cases_are_those_of_the_guide(shipped: list[Case]) -> None:
    assert {case.topic for case in shipped} <= set(TOPICS)
    assert [
        case.name for case in shipped if case.topic in ("probability", "likelihood") and not case.guide
    ] == []


# ---- the guide --------------------------------------------------------------------------------------


def test_the_guide_has_six_parts() -> None:
    numbers = {"LA": 16, "CA": 10, "PR": 12, "NM": 6, "LR": 4, "IN": 4}
    assert set(ROWS) == {f"{part}{n}" for part, most in numbers.items() for n in range(1, most + 1)}
    assert list(SECTIONS) == sorted(SECTIONS)
    assert len(set(TOPICS)) == len(SECTIONS) == 18
    assert {row.section.number[0] for row in ROWS.values() if row.id[:2] in ("PR",)} == {"3"}
    assert all(id_ == row.id and SECTIONS[row.section.number] is row.section for id_, row in ROWS.items())
    assert (str(ROWS["PR3"].section), ROWS["NM6"].topic) == ("3.2 Distributions", "stability")
    assert len({row.title for row in ROWS.values()}) == len(ROWS)


# ---- rows, cases, verdicts --------------------------------------------------------------------------


def case(name: str, *guide: str, operation: str = "softmax") -> Case:
    inputs = (InputSpec("x", "linspace", {"shape": [4]}),)
    return Case(name, name, "stability", operation, inputs, guide=guide)


def cell(case: str, backend: str = "numpy", **changes: Any) -> Cell:
    parts: dict[str, Any] = {"operation": "softmax", "formulation": "naive", "dtype": "float64", **changes}
    mode = parts.setdefault("mode", "forward")
    return Cell(
        id="/".join((case, parts["operation"], parts["formulation"], backend, parts["dtype"], mode)),
        case=case, backend=backend, axes={}, profile="quick", problem="p", topic="stability", guide=(),
        seed=0, outputs=("p",), **parts,
    )  # fmt: skip


def plan(cases: list[Case], *cells: Cell) -> Plan:
    return Plan(cells, {}, {c.name: c for c in cases}, "default", {})


def row(identity: str, verdict: str | None, severity: str = "fail") -> Mapping[str, Any]:
    return {"cell": identity, "verdict": verdict, "severity": severity}


def test_a_cell_is_as_bad_as_its_worst_output() -> None:
    found = words_of(
        [
            row("a", "pass"), row("a", "fail"), row("a", "inconclusive"), row("b", "pass"), row("b", "pass"),
            row("c", "fail", "warn"), row("d", None), row("e", "skip"),
            row("f", "fail"), row("f", "fail", "warn"),
        ]
    )  # fmt: skip
    assert found == {"a": "fail", "b": "pass", "c": "warning", "d": "not judged", "e": "skip", "f": "fail"}


def test_rows_hold_their_cases_and_what_became_of_the_cells() -> None:
    cases = [case("one", "NM4", "NM5"), case("two", "NM4"), case("timed", "PR1")]
    skipped = Skip("unsupported", "no")
    made = plan(
        cases,
        cell("one"), cell("one", "torch-cpu"), cell("one", dtype="float16", skip=skipped),
        cell("two", skip=skipped), cell("timed", accuracy=False),
    )  # fmt: skip
    results = [row(made.cells[0].id, "pass"), row("one of another run", "fail")]
    found = {r.row.id: r for r in guide_rows(made, Selection(), results)}
    assert list(found) == list(ROWS)
    assert [c.case for c in found["NM4"].cases] == ["one", "two"]
    assert found["NM5"].cases == (
        CaseCoverage("one", "softmax", 2, 1, ("numpy", "torch-cpu"), {"pass": 1, "not run": 1}),
    )
    assert found["NM4"].cases[1] == CaseCoverage("two", "softmax", 0, 1, (), {})
    assert found["NM4"].covered
    assert found["NM5"].covered
    assert not found["PR1"].covered  # timed only
    assert not found["LA1"].covered
    assert Coverage(tuple(found.values()), ()).covered == 2
    assert guide_rows(made, Selection(guide=("NM5",)), None)[0].cases[0].verdicts == {}


def test_cases_are_in_the_order_of_their_operations_and_take_their_rows_along() -> None:
    cases = [case("a", "NM4"), case("b", "NM4", operation="add"), case("c", "NM4")]
    made = plan(cases, *(cell(c.name, operation=c.operation) for c in cases))
    found = guide_rows(made, Selection(topics=("distributions",)), None)
    # NM4 is of another topic, and named by cases that are asked for.
    assert [r.row.id for r in found] == ["PR2", "PR3", "PR4", "NM4"]
    assert [(c.operation, c.case) for c in found[-1].cases] == [
        ("add", "b"),
        ("softmax", "a"),
        ("softmax", "c"),
    ]


@pytest.mark.usefixtures("shipped")
def test_what_the_full_profile_alone_runs_is_exercised() -> None:
    top = Axis("top", (1, 2), frozenset(), full_only=frozenset({2}))
    later = Exclusion({"formulation": Condition(("shifted",)), "top": Condition((1,))}, "it takes 2")
    rare = replace(
        case("rare", "NM4"), axes=(top,), exclude=(later,),
        formulations=("naive", "shifted"), backends=("numpy",), dtypes=("float64",),
    )  # fmt: skip
    found = coverage([rare], selection=Selection(operations=("softmax",)))
    assert [c.cells for r in found.rows for c in r.cases] == [1]
    missed = {u.formulation for u in found.unexercised if u.mode == "forward"}
    assert not missed & {"naive", "shifted"}
    assert "library" in missed


def test_rows_and_topics_narrow_the_rows(shipped: list[Case]) -> None:
    assert [r.row.id for r in coverage(shipped, selection=Selection(guide=("NM5", "NM4"))).rows] == [
        "NM4",
        "NM5",
    ]
    formats = coverage(shipped, selection=Selection(topics=("formats",)))
    assert {r.row.id for r in formats.rows} >= {"NM1", "NM2", "NM3"}
    assert {c.operation for r in formats.rows for c in r.cases} >= {"add", "convert"}
    quick, all_ = (
        coverage(shipped, profile=p, selection=Selection(guide=("NM4",))) for p in ("quick", "full")
    )
    assert sum(c.cells for c in quick.rows[0].cases) < sum(c.cells for c in all_.rows[0].cases)


def test_a_row_without_a_case_is_shown_and_one_that_nothing_takes_is_not(shipped: list[Case]) -> None:
    only = [c for c in shipped if c.name == "softmax-guide"]
    (found,) = coverage(only, selection=Selection(guide=("LA9",))).rows
    assert (found.row.id, found.cases, found.covered) == ("LA9", (), False)
    for nothing in (Selection(topics=("stabilty",)), Selection(guide=("NM4",), keyword="nowhere")):
        with pytest.raises(NothingSelectedError):
            coverage(only, selection=nothing)


# ---- what no case exercises -------------------------------------------------------------------------


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("nothing is run")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three formulations, one of them a backend's own, and a gradient; one backend differentiates."""

    def made(name: str, **more: Any) -> Formulation:
        return Formulation("softmax", name, _never, "", **more)

    nowhere = {"float64": Lack("unsupported", "it has none")}
    formulations = {
        "softmax/naive": made("naive"),
        "softmax/library@numpy": made("library", needs=(), backends=("numpy",), compute="float64"),
        "softmax/library@torch-cpu": made("library", needs=(), backends=("torch-cpu",), compute="float64"),
        "softmax/library@torch-cuda": made("library", needs=(), backends=("torch-cuda",), compute=nowhere),
    }
    backends = {
        name: types.SimpleNamespace(
            name=name, autograd=name != "numpy", capabilities={"float64": {"elementwise": "float64"}}
        )
        for name in ("numpy", "torch-cpu", "torch-cuda")
    }
    held: list[tuple[Registry[Any], Mapping[str, Any]]] = [
        (registry.FORMULATIONS, formulations),
        (registry.GRADIENTS, {"softmax/naive": made("naive")}),
        (registry.BACKENDS, backends),
    ]
    for items, known in held:
        monkeypatch.setattr(items, "_items", dict(known))


NAIVE = Unexercised("softmax", "naive", "forward", None)
SLOPE = Unexercised("softmax", "naive", "backward", None)
OF_NUMPY = Unexercised("softmax", "library", "forward", "numpy")
OF_TORCH = Unexercised("softmax", "library", "forward", "torch-cpu")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("cells", "missed"),
    [
        ((), {NAIVE, SLOPE, OF_NUMPY, OF_TORCH}),
        ((cell("a"),), {SLOPE, OF_NUMPY, OF_TORCH}),
        ((cell("a", formulation="library"),), {NAIVE, SLOPE, OF_TORCH}),
        # What differentiates itself runs the formulation, what does not its declared gradient.
        ((cell("a", mode="backward"),), {NAIVE, OF_NUMPY, OF_TORCH}),
        ((cell("a", "torch-cpu", mode="backward"),), {SLOPE, OF_NUMPY, OF_TORCH}),
        ((cell("a", skip=Skip("excluded", "")),), {NAIVE, SLOPE, OF_NUMPY, OF_TORCH}),
        ((cell("a", skip=Skip("unsupported", "")),), {NAIVE, SLOPE, OF_NUMPY, OF_TORCH}),
        ((cell("a", skip=Skip("unavailable", "")),), {SLOPE, OF_NUMPY, OF_TORCH}),
    ],
)
def test_what_no_cell_runs_is_told(cells: tuple[Cell, ...], missed: set[Unexercised]) -> None:
    assert set(unexercised(cells)) == missed


def test_what_is_missed_is_named_as_the_registry_does() -> None:
    assert list(map(str, (NAIVE, SLOPE, OF_TORCH))) == ["naive", "naive (gradient)", "library@torch-cpu"]


def test_a_missing_case_shows(shipped: list[Case]) -> None:
    without = [c for c in shipped if c.operation != "add"]
    found = coverage(without)
    assert {u.operation for u in found.unexercised} >= {"add"}
    assert not next(r for r in found.rows if r.row.id == "NM1").covered
    assert "NM1" not in judged_rows(make_plan(without))
    narrowed = coverage(without, selection=Selection(operations=("softmax",)))
    assert {u.operation for u in narrowed.unexercised} <= {"softmax"}
    # A backend alone is not enough.
    alone = [replace(c, backends=("numpy",)) for c in shipped if c.operation == "add"]
    assert judged_rows(make_plan(alone)) == set()


def test_planned_names_are_registered(full: Plan) -> None:
    assert {c.backend for c in full.cells} <= set(BACKENDS)
    assert {f.name for f in (*FORMULATIONS.values(), *GRADIENTS.values())} >= {
        c.formulation for c in full.cells
    }


# ---- the command ------------------------------------------------------------------------------------

CASE = """\
case: {name}
title: Exponentials
topic: stability
guide: [{guide}]
operation: softmax
formulations: [naive, shifted]
backends: [numpy]
dtypes: [float32]
axes:
  top: [1, 2, 3]
inputs:
  x: {{recipe: linspace, low: 0, high: $top, shape: [16]}}
expect:
  - where: {{formulation: naive, top: 3}}
    breaks: true
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two cases, the first of which was run."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "cases").mkdir()
    for name, guide in (("exponentials", "NM4"), ("more-exponentials", "NM4, NM5")):
        (folder / "cases" / f"{name}.yaml").write_text(CASE.format(name=name, guide=guide))
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("HARNESS_CACHE", str(folder / "cache"))
    assert main(["run", "cases/exponentials.yaml", "--out", "first"]) == 1  # naive does not break at 3
    patch.undo()
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["list", "--coverage", *arguments]) == 0
    return capsys.readouterr().out


def test_without_a_run_there_are_no_verdicts(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(measured)
    lines = told(capsys).splitlines()
    assert lines[0].startswith("no run to take verdicts from: `harness run` makes one")
    assert "NM5   Log-softmax" in lines
    assert "LA9   Rank: no case" in lines
    assert lines[-1] == "2 of 52 rows of the guide covered"
    assert json.loads(told(capsys, "--format", "json"))["run"] is None


def test_verdicts_are_those_of_the_run_named(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(measured)
    text = told(capsys, "--run", "first", "--guide", "NM4")
    lines = text.splitlines()
    assert lines[:10] == [
        "verdicts of first, profile default",
        "",
        "row   operation case               cells  verdicts",
        "",
        "4.2 Numerical stability",
        "NM4   Softmax",
        "      softmax   exponentials           6  1 fail, 5 pass",
        "                more-exponentials      6  6 not run",
        "",
        "exercised by no case, in no profile:",
    ]
    assert lines[10].startswith("  softmax: ")
    assert "library@torch-cpu" in lines[10]
    assert lines[-2:] == ["", "1 of 1 rows of the guide covered"]
    monkeypatch.setattr("harness.api.LATEST", Path("first"))  # what reports/latest would be
    assert told(capsys, "--guide", "NM4") == text
    found = json.loads(told(capsys, "--guide", "NM4", "--format", "json"))
    assert found["schema_version"] == 1
    assert (found["profile"], found["covered"], found["run"]["finished"]) == ("default", 1, True)
    assert {(u["operation"], u["mode"]) for u in found["unexercised"]} == {
        ("softmax", "forward"), ("softmax", "backward")
    }  # fmt: skip
    (only,) = found["rows"]
    assert (only["row"], only["section"], only["topic"], only["covered"]) == ("NM4", "4.2", "stability", True)
    (operation,) = only["operations"]
    assert operation["operation"] == "softmax"
    assert operation["cases"][0] == {
        "case": "exponentials", "cells": 6, "skipped": 0, "judged_on": ["numpy"],
        "verdicts": {"fail": 1, "pass": 5},
    }  # fmt: skip


def test_paths_profiles_and_words_narrow_what_is_counted(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(measured)
    one = json.loads(told(capsys, "cases/exponentials.yaml", "-k", "naive", "--format", "json"))
    assert len(one["rows"]) == len(ROWS)
    found = {row["row"]: row for row in one["rows"]}
    assert found["NM4"]["operations"][0]["cases"][0]["cells"] == 3
    assert found["NM5"]["operations"] == []
    lines = told(capsys, "cases/exponentials.yaml").splitlines()
    assert "NM5   Log-softmax: none selected" in lines  # more-exponentials is of this row, too
    assert "LA9   Rank: none selected" in lines  # of which nothing is known
    lines = told(capsys, "-k", "not more").splitlines()
    assert "NM5   Log-softmax: none selected" in lines
    assert "LA9   Rank: no case" in lines


def test_cells_of_another_profile_are_counted_where_it_is_asked_for(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (measured / "cases" / "exponentials.yaml").read_text()
    (tmp_path / "case.yaml").write_text(text.replace("[1, 2, 3]", "{values: [1, 2], quick: [1], full: [3]}"))
    monkeypatch.chdir(tmp_path)
    for options, count in (["--quick"], 2), ([], 4), (["--full"], 6):
        found = json.loads(told(capsys, "case.yaml", "--guide", "NM4", "--format", "json", *options))
        assert found["profile"] == (options[0][2:] if options else "default")
        assert found["rows"][0]["operations"][0]["cases"][0]["cells"] == count


def test_an_interrupted_run_and_a_case_without_cells_are_told_as_such() -> None:
    never = CaseCoverage("two", "softmax", 0, 1, (), {})
    found = Coverage((RowCoverage(ROWS["NM4"], (never,)),), ())
    run: Any = types.SimpleNamespace(
        folder=Path("cut-short"), finished=False, plan=types.SimpleNamespace(profile="quick")
    )
    first, *_, case_line, _, last = coverage_list.lines(found, run)
    assert first == "verdicts of cut-short, profile quick, interrupted: nothing in it is judged yet"
    assert case_line.split() == ["softmax", "two", "0", "all", "skipped"]
    assert last == "0 of 1 rows of the guide covered"


def test_the_table_of_the_shipped_cases_fits_a_hundred_columns(
    shipped: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = told(capsys, "@guide").splitlines()
    assert max(map(len, lines)) <= 100
    assert len([line for line in lines if line.split(" ")[0] in ROWS]) == len(ROWS)
    assert all(any(c.name in line.split() for line in lines) for c in shipped if c.guide)
