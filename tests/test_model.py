"""Conditions and ids: what a case file says is what is compared."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from harness.errors import CaseFileError, Diagnostic, UserError, did_you_mean
from harness.model import Condition, cell_id, format_written


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        (Condition(equals=(8,)), 8, True),
        (Condition(equals=(8,)), Decimal("8.0"), True),
        (Condition(equals=(1,)), True, False),
        (Condition(equals=("a", "b")), "b", True),
        (Condition(equals=("a", "b")), "c", False),
        (Condition(above=Decimal("0.1")), Decimal("0.1"), False),
        (Condition(above=Decimal("0.1")), 0.1, True),  # the double 0.1 lies above the decimal
        (Condition(at_most=Decimal("0.1")), 0.1, False),
        (Condition(at_least=1, below=2), Fraction(3, 2), True),
        (Condition(at_least=1, below=2), 2, False),
        (Condition(at_most=1), math.inf, False),
        (Condition(above=1), math.inf, True),
        (Condition(above=1), math.nan, False),
        (Condition(at_most=1), math.nan, False),
        (Condition(at_most=Decimal("Infinity")), math.inf, True),
        (Condition(above=1), "text", False),
        (Condition(above=0), True, False),
        (Condition(), "anything", True),
    ],
)
def test_condition(condition: Condition, value: object, holds: bool) -> None:
    assert condition.holds(value) is holds


def test_condition_in_words() -> None:
    assert str(Condition(at_least=1, below=Decimal("2.5"))) == "≥ 1 and < 2.5"
    assert str(Condition(equals=("a", 2))) == "in {a, 2}"
    assert str(Condition()) == "anything"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8, "8"),
        (Decimal("0.990"), "0.99"),
        (Decimal("8.0"), "8"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1e-5"), "0.00001"),
        (Decimal("1e-12"), "1E-12"),
        (Decimal("-Infinity"), "-Infinity"),
        (True, "true"),
        ("wide", "wide"),
    ],
)
def test_one_spelling_of_a_coordinate(value: object, text: str) -> None:
    assert format_written(value) == text  # type: ignore[arg-type]


def test_cell_id() -> None:
    axes = {"n": 8, "top": Decimal("0.990")}
    assert cell_id("c", "naive", "numpy", "float32", axes) == "c/naive/numpy/float32/n=8,top=0.99"
    assert cell_id("c", "naive", "numpy", "float32", {}) == "c/naive/numpy/float32"
    assert cell_id("c", "naive", "numpy", "float32", {}, "backward") == "c/naive/numpy/float32/backward"


def test_did_you_mean() -> None:
    assert did_you_mean("softmx", ["softmax", "matmul"]) == "did you mean 'softmax'?"
    assert did_you_mean("zzz", ["softmax", "matmul"]) == "allowed: matmul, softmax"


def test_diagnostics_are_in_order_and_once() -> None:
    late, early = Diagnostic("a.yaml", 9, 1, "late"), Diagnostic("a.yaml", 2, 5, "early", "mend it")
    error = CaseFileError([late, early, late])
    assert error.diagnostics == (early, late)
    assert str(error).startswith("a.yaml:2:5: early\n  hint: mend it\na.yaml:9:1: late")
    assert error.exit_code == 2
    assert str(UserError("found x", "use y")) == "found x\n  hint: use y"
