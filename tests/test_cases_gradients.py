"""The shipped cases of gradients: expectations that follow from theory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import pytest

from harness import casefile, catalogue
from harness.formats import DTYPES, NumberFormat, round_exact
from harness.model import Cell, Plan
from harness.plan import make_plan

OPERATIONS = ("softmax", "log_softmax", "logsumexp", "matmul")
TORCH = ("torch-cpu", "torch-cuda")


@pytest.fixture(scope="module")
def full() -> Plan:
    catalogue.load()
    return make_plan(casefile.read_cases([casefile.packaged_cases()]), profile="full")


def runnable(plan: Plan, **names: str) -> Iterator[Cell]:
    """Return backward cells of these operations that run where all backends are installed."""
    for cell in plan.cells:
        runs = cell.skip is None or cell.skip.word == "unavailable"
        ours = cell.mode == "backward" and cell.operation in OPERATIONS
        if runs and ours and all(getattr(cell, key) == name for key, name in names.items()):
            yield cell


def expected_of(cell: Cell) -> str:
    """Return what the first rule of a cell expects, in a word."""
    if not cell.rules:
        return "ok"
    rule = cell.rules[0]
    if rule.outcome is not None:
        return "/".join(rule.outcome)
    return {"yes": "breaks", "maybe": "maybe"}.get(str(rule.breaks), "ok")


def logarithm(x: Fraction) -> float:
    return math.log(x.numerator) - math.log(x.denominator)


def storage(cell: Cell) -> NumberFormat:
    return DTYPES[cell.dtype].storage


def test_every_operation_has_gradients_on_both_backends_in_four_dtypes(full: Plan) -> None:
    for operation in OPERATIONS:
        cells = list(runnable(full, operation=operation))
        assert {"numpy", "torch-cpu"} <= {c.backend for c in cells}
        assert {c.dtype for c in cells} >= {"float64", "float32", "bfloat16", "float16"}
        guides = [c for c in cells if c.case.endswith("gradient-guide")]
        assert {c.dtype for c in guides} >= {"float64", "float32", "bfloat16", "float16"}


def test_stable_gradients_break_only_where_a_derivation_says_so(full: Plan) -> None:
    stable = {"shifted", "online", "library", "blocked", "float32_accumulate"}
    lenient = {
        (c.case, c.formulation, c.dtype if c.case.endswith("equal") else "", c.backend in TORCH)
        for c in runnable(full)
        if c.formulation in stable and expected_of(c) != "ok"
    }
    # 1/n² in float16; exp(x − y) of a rounded y; and torch's NaN for nothing but −inf.
    assert lenient == {
        ("softmax-gradient-equal", "shifted", "float16", True),
        ("logsumexp-gradient-overflow", "library", "", True),
        ("logsumexp-gradient-offset", "library", "", True),
        *(("logsumexp-gradient-minus-infinity", n, "", True) for n in ("shifted", "online", "library")),
    }


@pytest.mark.parametrize(
    ("case", "axis"),
    [("softmax-gradient-overflow", "top"), ("logsumexp-gradient-overflow", "top")],
)
def test_naive_gradients_are_expected_to_fail_past_the_largest_number(
    full: Plan, case: str, axis: str
) -> None:
    """And may from where s·n·ω/2, what 1/s loses as a subnormal number, is beyond the roundings: 15u."""
    for cell in runnable(full, case=case, formulation="naive"):
        fmt = storage(cell)
        x = float(str(cell.axes[axis])) * logarithm(fmt.max_finite)
        n = 64 if case.startswith("logsumexp") else 1024
        if x > logarithm(fmt.max_finite):
            assert expected_of(cell) == "not_a_number", cell.id
            continue
        log_sum = x + math.log1p((n - 1) / x)
        terms = n if case.startswith("softmax") else 1
        loses = log_sum + math.log(terms / 2) + logarithm(fmt.min_subnormal)
        if expected_of(cell) == "ok":
            assert loses < math.log(15) + logarithm(fmt.unit_roundoff), cell.id
            assert log_sum < logarithm(fmt.max_finite), cell.id


@pytest.mark.parametrize(
    ("case", "axis"), [("softmax-gradient-underflow", "level"), ("log-softmax-gradient-wide-gap", "gap")]
)
def test_naive_gradients_are_expected_to_fail_from_half_the_smallest_number_on(
    full: Plan, case: str, axis: str
) -> None:
    for cell in runnable(full, case=case, formulation="naive"):
        fmt = storage(cell)
        smallest = logarithm(fmt.min_subnormal)
        x = float(str(cell.axes[axis])) * smallest
        if x < smallest - math.log(2):  # rounds to 0
            assert expected_of(cell) == "not_a_number", cell.id
        elif x < logarithm(fmt.min_normal):
            assert expected_of(cell) == "maybe", cell.id


def test_shares_divided_by_n_are_expected_to_vanish_in_float16_alone(full: Plan) -> None:
    """Where sums are kept in float32: in NumPy's float16 n·u allows any error."""
    for cell in runnable(full, case="softmax-gradient-equal"):
        n = int(cell.axes["n"])
        vanish = round_exact(storage(cell), Fraction(1, n**2)) == 0
        chained = cell.backend in TORCH and cell.formulation in ("naive", "shifted")
        assert expected_of(cell) == ("breaks" if vanish and chained else "ok"), cell.id


def test_rounded_values_are_expected_to_spoil_shares(full: Plan) -> None:
    """ŷ = fl(x + ln 64) makes exp(x − ŷ) wrong by its own error; allowed are 17u and a sum's 63 roundings."""
    for cell in runnable(full, case="logsumexp-gradient-offset", formulation="library"):
        fmt = storage(cell)
        level = int(cell.axes["level"])
        exact = level + Fraction(math.log(64))
        error = abs(round_exact(fmt, exact) - exact)
        accumulator = DTYPES["float32"].storage if fmt.precision < 24 else fmt
        allowed = 17 * fmt.unit_roundoff + 63 * accumulator.unit_roundoff
        expected = "breaks" if level >= 1024 else "maybe"
        assert expected_of(cell) == expected, cell.id
        assert (error > 4 * allowed) == (expected == "breaks"), cell.id
