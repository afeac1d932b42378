"""The matrix of digits left."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.report.view.matrix import LEVELS, digits_matrix, field_of, spoken
from tests.synthetic_run import softmax_rows

HOLDS = 24 * math.log10(2)


def result(bits: float | None = 20.0, **values: Any) -> dict[str, Any]:
    """Return a float32 row that keeps some bits."""
    return {
        "cell": f"c{sorted(values.items())}{bits}", "formulation": "f", "backend": "b", "dtype": "float32",
        "output": "y", "outcome": "ok", "bits": bits, "bound_ratio": 0.5, "verdict": "pass", **values,
    }  # fmt: skip


def test_a_field_shows_the_worst_of_its_cells_in_decimal_digits() -> None:
    field = field_of([result(20.0), result(10.0), result(24.0)], HOLDS)
    assert field.kind == "digits"
    assert field.text == "3.0"  # 10 bits · log₁₀2 = 3.01
    assert field.level == math.floor((1 - 10 / 24) * LEVELS)


def test_the_worst_outcome_decides_and_the_rest_is_told() -> None:
    rows = [result(20.0), result(None, outcome="zeroed"), result(None, outcome="not_a_number")]
    field = field_of(rows, HOLDS)
    assert (field.kind, field.text) == ("broken", "not a number")
    assert field.detail == "1 of 3 cells, 1 broke otherwise, else 6.0"
    assert field.level is None


@pytest.mark.parametrize(("cells", "detail"), [(1, "the only cell"), (3, "all 3 cells")])
def test_where_all_broke_there_is_no_rest(cells: int, detail: str) -> None:
    rows = [result(None, outcome="raised", cell=str(n)) for n in range(cells)]
    assert field_of(rows, HOLDS).detail == detail


def test_a_lesser_breakage_is_not_counted_as_the_worst() -> None:
    rows = [
        result(),
        result(None, outcome="overflow"),
        result(0.0, outcome="zeroed"),
        result(0.0, outcome="zeroed"),
    ]
    field = field_of(rows, 7.2)
    assert (field.text, field.detail) == ("overflow", "1 of 4 cells, 2 broke otherwise, else 6.0")


def test_errors_above_the_bound_and_failures_are_said_in_words() -> None:
    rows = [result(8.0, bound_ratio=4.0, verdict="fail"), result(20.0)]
    field = field_of(rows, HOLDS)
    assert field.detail == "1 of 2 cells above the bound"
    assert field.failed == 1
    assert spoken(field) == "2.4 digits left, 1 of 2 cells above the bound, 1 cell failed"


def test_few_digits_within_the_bound_are_said_to_be() -> None:
    assert field_of([result(2.0)], HOLDS).detail == "within the bound"
    assert field_of([result(2.0, bound_ratio=None)], HOLDS).detail == ""
    assert field_of([result(20.0)], HOLDS).detail == ""


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        ([], "not in this run"),
        ([result(verdict="skip", outcome=None, reason="unsupported: no linalg")], "unsupported: no linalg"),
        ([result(None, outcome=None, time_median_s=1e-3)], "timed only"),
        ([result(None, outcome=None)], "no result"),
        ([result(None)], "the exact result has no finite element"),
    ],
)
def test_a_missing_field_is_a_dash_with_its_reason(rows: list[dict[str, Any]], detail: str) -> None:
    field = field_of(rows, HOLDS)
    assert (field.kind, field.text, field.detail, field.level) == ("missing", "—", detail, None)


@pytest.mark.parametrize(("bits", "level"), [(24.0, 0), (21.0, 0), (20.0, 1), (12.0, 3), (1.0, 6), (0.0, 6)])
def test_colour_steps_are_equal_shares_of_what_the_dtype_holds(bits: float, level: int) -> None:
    assert field_of([result(bits)], HOLDS).level == level


def test_lines_are_formulations_then_backends_and_columns_the_widest_dtype_first() -> None:
    matrix = digits_matrix(softmax_rows())
    assert matrix is not None
    assert [h.dtype for h in matrix.headings] == ["float64", "float32", "float16", "bfloat16"]
    assert [h.holds for h in matrix.headings] == ["holds 16.0", "holds 7.2", "holds 3.3", "holds 2.4"]
    assert [(line.formulation, line.backend) for line in matrix.lines] == [
        (f, b) for f in ("naive", "shifted", "online", "library") for b in ("numpy", "torch-cpu")
    ]
    assert {f.text for f in matrix.lines[0].fields} == {"not a number"}
    library = matrix.lines[6].fields[3]
    assert (library.text, library.detail) == ("—", "unsupported: scipy.special widens bfloat16 to float64")
    assert not matrix.has_results


def test_outputs_and_gradients_have_lines_of_their_own() -> None:
    rows = [result(20.0, output="Q"), result(10.0, output="R"), result(5.0, output="Q", mode="backward")]
    matrix = digits_matrix(rows)
    assert matrix is not None
    assert [(line.result, line.fields[0].text) for line in matrix.lines] == [
        ("Q", "6.0"), ("R", "3.0"), ("Q gradient", "1.5"),
    ]  # fmt: skip


def test_a_backend_that_is_absent_has_no_lines_but_is_told() -> None:
    absent = {"verdict": "skip", "outcome": None, "backend": "gpu"}
    rows = [
        result(20.0),
        result(None, **absent, reason="unavailable: no device", cell="1"),
        result(None, **absent, reason="unavailable: no device", cell="2", dtype="tf32"),
        result(None, **absent, reason="unsupported: no such kernel", cell="3", formulation="g"),
        result(None, verdict="skip", outcome=None, reason="unsupported: no tf32", dtype="tf32"),
    ]
    matrix = digits_matrix(rows)
    assert matrix is not None
    assert [(line.backend, len(line.fields)) for line in matrix.lines] == [("b", 1)]
    assert [h.dtype for h in matrix.headings] == ["float32"], "a dtype that ran nowhere has no column"
    assert matrix.absent == ("gpu is unavailable: no device (2 cells)",)


def test_no_matrix_where_accuracy_was_not_measured() -> None:
    assert digits_matrix([result(None, outcome=None, time_median_s=1.0)]) is None
    assert digits_matrix([]) is None
