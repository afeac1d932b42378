"""The table of all results, the frontiers and facts, and what the header tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.report.view.axes import AxisUnit
from harness.report.view.frontier import (
    axis_unit_of,
    facts_table,
    frontier_field,
    frontier_tables,
    predictions,
)
from harness.report.view.header import (
    cases_of,
    columns_of,
    environment_groups,
    flattened,
    machine,
    metrics_of,
    references,
    when,
)
from harness.report.view.table import column_of, ordered_columns
from tests.synthetic_run import HEADER, example_facts, example_run, fact, matmul_rows, softmax_rows

KNOWN = columns_of(HEADER)


def test_columns_that_hold_nothing_are_left_out_and_what_a_reader_looks_for_comes_first() -> None:
    names = ordered_columns(softmax_rows())
    assert names[:6] == ["formulation", "backend", "dtype", "output", "verdict", "outcome"]
    assert {"lre", "time_median_s", "axis.n"}.isdisjoint(names)
    assert ordered_columns([]) == []


def test_every_filled_column_but_the_axes_is_there_once() -> None:
    rows = matmul_rows()
    names = ordered_columns(rows)
    filled = {k for r in rows for k, v in r.items() if v is not None and not k.startswith("axis.")}
    assert sorted(names) == sorted(filled)


def test_an_element_that_is_not_a_number_is_no_missing_value() -> None:
    assert "worst_computed" in ordered_columns([{"worst_computed": "nan", "worst_exact": None}])
    assert "worst_exact" not in ordered_columns([{"worst_computed": "nan", "worst_exact": None}])


def test_a_column_without_a_definition_is_headed_by_its_name() -> None:
    assert column_of("my_metric", {}).title == "My metric"
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
    assert [(line.formulation, line.backend) for line in table.breaking] == [
        ("naive", "numpy"), ("naive", "torch-cpu"),
    ]  # fmt: skip
    assert table.holding == "shifted (numpy, torch-cpu)"


def frontier(output: str, against: str, value: float, formulation: str = "naive") -> dict[str, Any]:
    """Return a frontier of one formulation in float32."""
    where = {"formulation": formulation, "backend": "numpy", "dtype": "float32"}
    reason = f"bad from {value}: {output}"
    return fact("frontier", "c", output=output, against=against, value=value, reason=reason, **where)


def test_axes_that_move_together_are_told_by_the_first_of_them() -> None:
    known = replace(
        cases_of(example_run())["softmax-overflow"], name="c", zipped=(("rate", "low"), ("a", "b"))
    )
    facts = [frontier("y", axis, 32) for axis in ("low", "rate", "n", "b")]
    assert [t.axis for t in frontier_tables(facts, {"c": known})] == ["rate", "n", "b"]
    assert [t.axis for t in frontier_tables(facts, {})] == ["low", "rate", "n", "b"]


def test_outputs_with_the_same_frontiers_share_a_table() -> None:
    facts = [frontier(output, "n", 40) for output in ("grad_p", "grad_q")]
    (table,) = frontier_tables(facts, {})
    assert (table.title, table.outputs) == ("c", "")
    other = [frontier("grad_r", "n", 41), frontier("grad_r", "n", 40, "shifted")]
    first, second = frontier_tables([*facts, *other], {})
    assert (first.title, first.outputs) == ("c: grad_p, grad_q", "grad_p, grad_q")
    assert (second.title, len(second.lines)) == ("c: grad_r", 2)


def test_a_frontier_lies_between_two_values_and_may_be_where_it_is_predicted() -> None:
    found = fact("frontier", "c", value=1.01, low=0.99, high=1.01)
    field = frontier_field([found], AxisUnit("ln_max", "times"))
    assert (field.text, field.beside, field.as_predicted) == ("1.01", "0.99 to 1.01", True)
    early = fact("frontier", "c", value=0.5, low=0.25, high=0.5)
    assert frontier_field([early], AxisUnit("ln_max", "times")).as_predicted is False
    assert frontier_field([found, early], AxisUnit("ln_max", "times")).as_predicted is False
    assert frontier_field([found, early], AxisUnit("ln_max", "times")).beside == ""
    assert frontier_field([found], AxisUnit()).as_predicted is None
    assert frontier_field([fact("frontier", "c", low=2)], AxisUnit("ln_max", "times")).as_predicted is None


def test_predictions_are_the_units_of_each_dtype() -> None:
    # ln of the largest finite number: 1.797…e308, 3.40…e38, 65504.
    assert predictions(("float64", "float32", "float16"), AxisUnit("ln_max", "times")) == (
        "1 × ln Ω = 710", "1 × ln Ω = 88.7", "1 × ln Ω = 11.1",
    )  # fmt: skip
    assert predictions(("float64",), AxisUnit("unit_roundoff", "powers")) == ()
    assert predictions(("unheard-of",), AxisUnit("ln_max", "times")) == ("",)


def test_the_reasons_behind_a_frontier_are_bounded() -> None:
    many = [fact("frontier", "c", value=n, low=0, high=n, reason=f"reason {n}") for n in range(1, 9)]
    assert frontier_field(many).detail == "reason 1; and 7 more"


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
