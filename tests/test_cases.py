"""The shipped cases: valid, enough of them, and with expectations that follow from theory.

And the six case files that fixed the format, each of which runs.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

import harness
from harness import casefile, catalogue
from harness.formats import DTYPES
from harness.model import Case, Cell, Plan
from harness.plan import make_plan
from harness.registry import OPERATIONS, formulations_of
from harness.selection import Selection

SHIPPED = casefile.packaged_cases()
SIX = Path(__file__).parent / "data" / "six"
ACCEPTED = ("softmax-range", "least-squares-kappa", "dot-published", "matmul-speed")


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    catalogue.load()
    return casefile.read_cases([SHIPPED])


@pytest.fixture(scope="module")
def full(cases: list[Case]) -> Plan:
    return make_plan(cases, profile="full")


def runnable(plan: Plan) -> list[Cell]:
    """Return the cells that run where all backends are installed."""
    return [c for c in plan.cells if c.skip is None or c.skip.word == "unavailable"]


def expected_of(cell: Cell) -> str:
    """Return what the first rule of a cell expects, in a word."""
    if not cell.rules:
        return "ok"
    rule = cell.rules[0]
    if rule.outcome is not None:
        return "/".join(rule.outcome)
    return {"yes": "breaks", "maybe": "maybe"}.get(str(rule.breaks), "ok")


def of_case(plan: Plan, case: str, **names: str) -> Iterator[Cell]:
    for cell in runnable(plan):
        if cell.case == case and all(getattr(cell, key) == name for key, name in names.items()):
            yield cell


BUILT_IN = {"numpy", "torch-cpu"}

# ---- how many, and of what --------------------------------------------------------------------------


def test_profiles_hold_enough_and_hold_one_another(cases: list[Case]) -> None:
    plans = {profile: make_plan(cases, profile=profile) for profile in ("quick", "default", "full")}
    ids = {profile: {c.id for c in plan.cells} for profile, plan in plans.items()}
    assert ids["quick"] < ids["default"] < ids["full"]
    assert len(runnable(plans["default"])) >= 600
    timed = [c for c in runnable(plans["default"]) if c.speed is not None and c.backend in BUILT_IN]
    assert len(timed) >= 70
    # Timing runs alone: what it may take at most must leave half of 300 s to accuracy.
    assert sum(c.speed.budget_s for c in timed if c.speed is not None) <= 150


def test_every_operation_backend_and_dtype_of_the_families_has_cells(full: Plan) -> None:
    cells = runnable(full)
    assert {c.operation for c in cells} == set(OPERATIONS)
    assert {c.backend for c in cells} >= BUILT_IN
    assert {c.dtype for c in cells} >= {"float64", "float32", "bfloat16", "float16"}
    lengths = {c.axes["n"] for c in of_case(full, "softmax-length")}
    assert {1, 65536} <= lengths
    sizes = {c.axes["n"] for name in ("matmul-square", "matmul-large") for c in of_case(full, name)}
    assert {16, 2048} <= sizes


def test_every_case_tells_what_it_is_for(cases: list[Case]) -> None:
    guide = {row for case in cases for row in case.guide}
    assert guide >= {"NM1", "NM2", "NM3", "NM4", "NM5", "LR1", "LA2", "LA5", "IN2", "IN3", "IN4"}
    for case in cases:
        file = Path(case.path)  # one case a file, by its name
        assert file.stem == case.name
        text, up = file.read_text("utf-8"), "../" * len(file.resolve().relative_to(SHIPPED).parts)
        assert text.startswith(f"# yaml-language-server: $schema={up}harness/case.schema.json\n"), case.path
        assert text.count("\ncase: ") == 1
        assert len(case.description) > 80, case.path
        assert max(map(len, text.splitlines())) <= 110, case.path


def test_every_data_file_belongs_to_a_case(cases: list[Case]) -> None:
    named = set()
    for case in cases:
        folder = Path(case.path).resolve().parent
        named |= {folder / p.file for p in case.published}
        named |= {folder / str(i.arguments["path"]) for i in case.inputs if i.recipe == "file"}
    assert set(SHIPPED.rglob("*.csv")) == named


def test_every_rule_of_a_defect_stands_among_the_defects_and_names_an_issue(cases: list[Case]) -> None:
    for case in cases:
        issues = [rule.defect for rule in case.expect if rule.defect is not None]
        assert bool(issues) == (Path(case.path).parent.name == "defects"), case.path
        assert all(re.fullmatch(r"[a-z]+#[0-9]+", issue) for issue in issues), case.path


def test_stable_formulations_have_no_rule_that_lets_them_break(full: Plan) -> None:
    stable = {key: {"shifted", "online", "library"} for key in ("softmax", "log_softmax", "logsumexp")}
    stable["least_squares"] = {"householder_qr", "svd", "library"}
    lenient = {
        (c.case, c.formulation, c.dtype)
        for c in full.cells
        if c.mode == "forward" and c.formulation in stable.get(c.operation, ()) and expected_of(c) != "ok"
    }
    # Without truncation no solution of least norm; and 65,536 ones are beyond float16.
    assert lenient == {
        ("least-squares-rank-deficient", "householder_qr", "float64"),
        ("least-squares-rank-deficient", "householder_qr", "float32"),
        ("softmax-sum-overflow", "shifted", "float16"),
    }


# ---- expectations against theory --------------------------------------------------------------------


def limits(dtype: str) -> tuple[float, float, float]:
    """Return ln Ω, ln ω and ln(smallest normal) of a dtype, from its row."""
    fmt = DTYPES[dtype].storage
    return tuple(  # type: ignore[return-value]
        math.log(x.numerator) - math.log(x.denominator)
        for x in map(Fraction, (fmt.max_finite, fmt.min_subnormal, fmt.min_normal))
    )


def test_naive_softmax_is_expected_to_fail_past_each_limit(full: Plan) -> None:
    for cell in of_case(full, "softmax-overflow", formulation="naive"):
        top = Decimal(str(cell.axes["top"]))
        if top > 1:
            assert expected_of(cell) == "not_a_number", cell.id
            continue
        # Σ exp(x) of evenly spaced x: at least the integral (n − 1)/top·(e^top − 1), at most e^top more.
        largest, n = limits(cell.dtype)[0], int(cell.axes["n"])
        x = float(top) * largest
        integral = x + math.log((n - 1) / x)
        overflows = integral > largest
        if overflows:
            assert expected_of(cell) == "maybe", cell.id
        if expected_of(cell) == "ok":
            assert x + math.log1p((n - 1) / x) < largest, cell.id


def test_equal_logits_are_expected_to_vanish_from_their_sum_on(full: Plan) -> None:
    for cell in of_case(full, "softmax-sum-overflow", formulation="naive"):
        if cell.dtype in ("bfloat16", "float16"):
            continue
        largest = limits(cell.dtype)[0]
        overflows = float(str(cell.axes["level"])) * largest + math.log(int(cell.axes["n"])) > largest
        assert expected_of(cell) == ("zeroed" if overflows else "ok"), cell.id


@pytest.mark.parametrize(
    ("case", "axis", "outcome"),
    [
        ("softmax-underflow", "level", "not_a_number"),
        ("logsumexp-underflow", "level", "overflow"),
        ("log-softmax-wide-gap", "gap", "overflow"),
    ],
)
def test_underflow_is_expected_from_half_the_smallest_subnormal_on(
    full: Plan, case: str, axis: str, outcome: str
) -> None:
    for cell in of_case(full, case, formulation="naive"):
        _, smallest, normal = limits(cell.dtype)
        x = float(str(cell.axes[axis])) * smallest
        if x < smallest - math.log(2):  # rounds to 0
            assert expected_of(cell) == outcome, cell.id
        elif x < normal:
            assert expected_of(cell) == "maybe", cell.id
        else:
            assert expected_of(cell) in ("ok", "maybe"), cell.id


def test_laeuchli_is_expected_to_be_singular_where_one_plus_a_square_rounds_to_one(full: Plan) -> None:
    found = set()
    for cell in of_case(full, "least-squares-lauchli", formulation="cholesky"):
        u = DTYPES[cell.dtype].storage.unit_roundoff
        singular = 2 * float(str(cell.axes["epsilon"])) > 1  # ε² = u^(2·power) < u
        assert (expected_of(cell) == "raised") == singular, cell.id
        found.add((singular, u))
    assert len(found) == 4


@pytest.mark.parametrize(
    ("file", "column", "x"),
    [("softmax_guide", "p", [1.0, 2.0, 3.0]), ("log_softmax_guide", "y", [2.0, 1.0, 0.1])],
)
def test_published_values_are_those_of_the_formula(file: str, column: str, x: list[float]) -> None:
    total = math.fsum(map(math.exp, x))
    values = [math.exp(v) / total if column == "p" else v - math.log(total) for v in x]
    with (SHIPPED / "data" / f"{file}.csv").open(encoding="utf-8") as lines:
        printed = [float(row[column]) for row in csv.DictReader(lines)]
    assert printed == pytest.approx(values, abs=0.5e-8)  # eight decimals are printed


# ---- the six ----------------------------------------------------------------------------------------


def six(name: str) -> Path:
    return SIX / f"{name}.yaml"


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("softmax-range", 3 * 2 * 4 * 3 * 3),
        ("least-squares-kappa", 2 * 2 * 2 * 3 * 2),
        ("dot-published", 4 * 2 * 2),
        ("matmul-speed", 2 * 2),
        ("logsumexp-gradient", 5 * 2),
        ("attention-length", 6 * 2 * 4 * 3),
    ],
)
def test_what_is_accepted_of_the_six(name: str, cells: int) -> None:
    catalogue.load()
    plan = make_plan(
        casefile.read_cases([six(name)]),
        profile="full",
        selection=Selection(backends=("numpy", "torch-cpu")),
    )
    assert len(plan.cells) == cells
    assert any(c.speed is not None for c in runnable(plan)) == (name in ("matmul-speed", "attention-length"))


def test_what_is_accepted_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    run = harness.run(
        [six(name) for name in ACCEPTED],
        quick=True,
        keyword="numpy and not float16",
        out=tmp_path / "run",
        reports=(),
    )
    verdicts = run.results.set_index("cell")["verdict"]
    assert len(verdicts) > 50
    assert verdicts[verdicts != "pass"].to_dict() == {}
    lre = run.results.loc[run.results["case"] == "six-dot-published", "lre"]
    assert set(lre) == {4.0}
    timed = run.results.loc[run.results["case"] == "six-matmul-speed", "time_median_s"]
    assert timed.notna().sum() == 1


def test_the_gradient_of_the_six_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's NaN is a known defect; two of NumPy's forms have it too, and no rule expects that."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    run = harness.run(
        [six("logsumexp-gradient")], keyword="numpy or torch-cpu", out=tmp_path / "run", reports=()
    )
    rows = {(r["backend"], r["formulation"]): r for r in run.rows}
    found = {key: (row["verdict"], row["outcome"]) for key, row in rows.items()}
    assert found == {
        ("numpy", "naive"): ("fail", "not_a_number"),
        ("numpy", "unguarded"): ("fail", "not_a_number"),
        ("numpy", "shifted"): ("pass", "ok"),
        ("numpy", "online"): ("pass", "ok"),
        ("numpy", "library"): ("skip", None),
        **{("torch-cpu", n): ("pass", "not_a_number") for n in formulations_of("logsumexp")},
    }
    told = {row["reason"] for key, row in rows.items() if key[0] == "torch-cpu"}
    assert told == {"known defect pytorch#31829: outcome not_a_number (rule line 13)"}
