"""The table of all results, the frontiers and facts, and what the header tells."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.report.view.axes import AxisUnit
from harness.report.view.frontier import axis_unit_of, facts_table, frontier_field, frontier_tables
from harness.report.view.header import (
    Column,
    cases_of,
    columns_of,
    environment_groups,
    flattened,
    machine,
    metrics_of,
    references,
    when,
)
from harness.report.view.table import column_of, result_table, shown
from tests.synthetic_run import HEADER, example_facts, example_run, fact, matmul_rows, softmax_rows

KNOWN = columns_of(HEADER)


def test_empty_columns_are_left_out_and_equal_ones_move_above_the_table() -> None:
    table = result_table(softmax_rows(), KNOWN)
    names = [c.name for c in table.columns]
    assert names[:6] == ["formulation", "backend", "dtype", "axis.n", "axis.top", "verdict"]
    assert {"lre", "time_median_s", "cell", "axes"}.isdisjoint(names)
    shared = dict(table.shared)
    assert shared["case"] == "softmax-overflow"
    assert shared["output"] == "p"
    assert "seed" in shared


def test_every_filled_column_is_in_the_table_or_above_it() -> None:
    rows = matmul_rows()
    table = result_table(rows, KNOWN)
    filled = {k for r in rows for k, v in r.items() if v is not None}
    placed = {c.name for c in table.columns}
    above = {column_of(k, KNOWN).title for k in filled - placed}
    assert above - {"cell"} == {title for title, _ in table.shared}


def test_a_table_of_one_row_keeps_its_coordinates() -> None:
    table = result_table(softmax_rows()[:1], KNOWN)
    assert {"formulation", "backend", "dtype", "output", "seed"} <= {c.name for c in table.columns}


def test_a_table_of_no_rows_has_no_columns() -> None:
    assert result_table([], KNOWN).columns == ()


@pytest.mark.parametrize(
    ("value", "column", "text", "exact"),
    [
        (0.1234567890123456, Column("x", "x", display="scientific"), "0.123", "0.1234567890123456"),
        (0.5, Column("x", "x", display="fixed"), "0.50", ""),
        (0.125, Column("x", "x", display="fixed"), "0.12", "0.125"),
        (1024, Column("x", "x", display="integer"), "1,024", ""),
        (1.5e-6, Column("x", "x", display="seconds"), "1.50 µs", "1.5e-06"),
        (0.9999, Column("x", "x", display="percent"), "99.9 %", "0.9999"),
        (2.0, Column("axis.top", "top", display="axis"), "2", ""),
        (math.inf, Column("x", "x", display="scientific"), "∞", ""),
        ("0,3", Column("x", "x", display="text"), "0,3", ""),
        ("ab" * 32, Column("x", "x", display="digest"), "ababababab", ""),
        (None, Column("x", "x", display="scientific"), "", ""),
        (math.nan, Column("x", "x", display="scientific"), "", ""),
        (True, Column("x", "x"), "yes", ""),
    ],
)
def test_a_value_shows_short_and_keeps_every_digit(value: Any, column: Column, text: str, exact: str) -> None:
    cell = shown(value, column)
    assert (cell.text, cell.exact) == (text, exact)


def test_a_column_without_a_definition_is_headed_by_its_name() -> None:
    assert column_of("my_metric", {}).title == "my metric"
    assert column_of("axis.n", {}).title == "n"
    assert column_of("bits", KNOWN).title == "Bits left"


# ---- frontiers and facts ---------------------------------------------------------------------------


def test_a_frontier_table_has_a_line_for_each_formulation_and_backend() -> None:
    (table,) = frontier_tables(example_facts(), cases_of(example_run()))
    assert (table.title, table.axis) == ("Softmax of large logits", "top (× ln Ω)")
    assert table.dtypes == ("float64", "float32", "float16", "bfloat16")
    assert [(line.formulation, line.backend, line.fields[0].text) for line in table.lines] == [
        ("naive", "numpy", "0.99"), ("naive", "torch-cpu", "0.99"),
        ("shifted", "numpy", "holds"), ("shifted", "torch-cpu", "holds"),
    ]  # fmt: skip
    assert '{"n": 8}' in table.lines[0].fields[0].detail


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ([], "—"),
        ([fact("frontier", "c", value=0.99, low=0.9, high=0.99)], "0.99"),
        ([fact("frontier", "c", value=v, low=0.5, high=v) for v in (2, 1.01)], "1.01 … 2"),
        ([fact("frontier", "c", low=2)], "holds"),
        ([fact("frontier", "c", high=0.5)], "always broken"),
        (
            [
                fact("frontier", "c", value=2, low=1, high=2),
                fact("frontier", "c", low=2),
                fact("frontier", "c", high=1),
            ],
            "2, always broken in 1 of 3, holds in 1 of 3",
        ),
    ],
)
def test_a_frontier_in_a_word(facts: list[dict[str, Any]], text: str) -> None:
    assert frontier_field(facts).text == text


def test_the_unit_of_a_frontier_comes_from_the_case_or_the_fact() -> None:
    assert axis_unit_of([fact("frontier", "c", unit="× ln_max")], None, "a") == AxisUnit("ln_max", "times")
    assert axis_unit_of([fact("frontier", "c", unit="power of unit_roundoff")], None, "a") == AxisUnit(
        "unit_roundoff", "powers"
    )
    assert axis_unit_of([fact("frontier", "c")], None, "a") == AxisUnit()


def test_facts_that_failed_come_first_and_frontiers_have_tables_of_their_own() -> None:
    facts = [
        *example_facts(),
        fact("exponent", "c", verdict="fail"),
        fact("exponent", "d", verdict="inconclusive"),
    ]
    assert [f["verdict"] for f in facts_table(facts)] == ["fail", "inconclusive", "pass"]


# ---- header ----------------------------------------------------------------------------------------


def test_cases_take_formula_and_bound_from_their_operation() -> None:
    case = cases_of(example_run())["softmax-overflow"]
    assert case.operation_title == "Softmax"
    assert case.bound_source.startswith("Blanchard")
    assert cases_of(example_run(operations={}))["softmax-overflow"].formula == ""


def test_metric_definitions_are_those_stored_with_the_run() -> None:
    (metric,) = metrics_of({"metrics": [{"name": "m", "title": "", "unit": "1", "display": "fixed"}]})
    assert (metric.title, metric.display, metric.better, metric.formula) == ("m", "fixed", "none", "")
    assert metrics_of({}) == []


@pytest.mark.parametrize(
    ("started", "finished", "text"),
    [
        ("2026-11-22T12:00:00Z", "2026-11-22T12:02:51Z", "2026-11-22 12:00 UTC, took 2 min 51 s"),
        ("2026-11-22T14:00:00+02:00", None, "2026-11-22 12:00 UTC, not finished"),
        (0, 42, "1970-01-01 00:00 UTC, took 42 s"),
        (None, None, ""),
        ("soon", "2026-11-22T12:02:51Z", ""),
    ],
)
def test_when_a_run_was_made(started: Any, finished: Any, text: str) -> None:
    assert when({"started": started, "finished": finished}) == text


def test_the_machine_in_a_line() -> None:
    assert machine(HEADER) == "AMD EPYC 7763 64-Core Processor, 2 cores, Linux-6.1.0-x86_64"
    assert machine({"environment": {"cores": 8, "cores_allowed": 2}}) == "2 of 8 cores"
    assert machine({}) == ""


def test_references_computed_and_cached() -> None:
    assert references(HEADER) == "327 references: 96 computed, 231 cached"
    assert references({}) == ""
    assert references({"references": {"computed": 0}}) == ""


def test_the_environment_in_groups() -> None:
    groups = dict(environment_groups(HEADER))
    assert dict(groups["machine"])["memory_bytes"] == "23.3 GiB"  # 25·10⁹ / 2³⁰ = 23.28
    assert dict(groups["packages"]) == {"numpy": "2.4.6", "torch": "2.13.0"}
    assert dict(groups["process numpy/1"])["blas"] == "OpenBLAS 0.3.30"
    assert groups["measured peaks"] == [("numpy float32, 1 thread", "84.1 GFLOP/s")]
    assert environment_groups({}) == []


def test_nested_facts_are_flat_and_what_is_missing_is_left_out() -> None:
    nested = {"a": {"b": 1, "c": None}, "d": [1, 2], "e": [{"f": "g"}], "h": []}
    assert flattened(nested) == [("a.b", "1"), ("d", "1, 2"), ("e.1.f", "g")]
