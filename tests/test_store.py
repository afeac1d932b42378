"""The journal, the rows made from it, CSV and frame, and the folder of a run."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import store
from harness.errors import CouldNotMeasureError, UsageError
from harness.expect import FACT_COLUMNS
from harness.model import Case, Cell, InputSpec, Plan, Problem, Rule, Skip, SpeedSpec
from harness.store.columns import COLUMNS
from harness.store.environment import differences
from harness.store.rows import axes_text, axis_columns

DESIGNED = """
    cell case output operation formulation backend device dtype compute_dtype topic guide profile mode
    axes seed inputs_digest outcome verdict reason severity elements not_a_number_count inf_count
    zero_count bound_ratio max_ulp p99_ulp median_ulp correctly_rounded_fraction bias_ulp max_rel_error
    norm_rel_error bits lre backward_error componentwise_backward_error orthogonality subspace_angle
    condition kappa_error data_error reference_radius_ulp reference_coverage value worst_index
    worst_input worst_computed worst_exact result_digest timer cache time_median_s time_ci_low_s
    time_ci_high_s time_min_s time_wall_s time_wall_cold_s time_cuda_cold_s time_cuda_graph_s not_timed_by
    samples calls converged overhead_fraction noise flops bytes gflops gbps peak_fraction peak_memory_bytes
""".split()  # noqa: SIM905 — as the documentation prints them
"""The columns as the documentation promises them, in their order."""


def make_cell(name: str = "softmax/naive/numpy/float32/n=8", **changes: Any) -> Cell:
    values: dict[str, Any] = {
        "id": name,
        "case": "softmax",
        "operation": "softmax",
        "formulation": "naive",
        "backend": "numpy",
        "dtype": "float32",
        "mode": "forward",
        "axes": {"n": 8, "top": Decimal("0.99")},
        "profile": "quick",
        "problem": "p1",
        "topic": "stability",
        "guide": ("NM4", "LR1"),
        "seed": 0,
        "outputs": ("y",),
    }
    return Cell(**{**values, **changes})


def make_plan(*cells: Cell, **problem: Any) -> Plan:
    cells = cells or (make_cell(),)
    values: dict[str, Any] = {
        "key": "p1",
        "case": "softmax",
        "operation": "softmax",
        "dtype": "float32",
        "mode": "forward",
        "seed": 0,
        "parameters": {"axis": -1},
        "inputs": (InputSpec("x", "linspace", {"low": 0, "high": Decimal("88.7"), "shape": [8]}, 12, 3),),
        "folder": "/somewhere",
    }
    made = Problem(**{**values, **problem})
    case = Case("softmax", "Softmax", "stability", "softmax", made.inputs)
    return Plan(cells, {"p1": made}, {"softmax": case}, "default", {"paths": ["cases"]})


def accuracy(cell: str = "softmax/naive/numpy/float32/n=8", **changes: Any) -> dict[str, Any]:
    record = {
        "kind": "accuracy",
        "cell": cell,
        "status": "ok",
        "device": "cpu",
        "compute_dtype": "float32",
        "inputs_digest": "abc",
        "flops": 40,
        "bytes": 64,
        "outputs": {
            "y": {"outcome": "ok", "max_ulp": 3, "bound_ratio": 0.25, "elements": 8.0, "worst_index": 5}
        },
    }
    return {**record, **changes}


def timing(cell: str = "softmax/naive/numpy/float32/n=8", **changes: Any) -> dict[str, Any]:
    measured = {"timer": "wall", "time_median_s": 2e-6, "samples": 20, "converged": True, "raw": [1.0]}
    return {"kind": "timing", "cell": cell, "status": "ok", "threads": 1, "timing": measured, **changes}


# ---- the journal -----------------------------------------------------------------------------------


def test_a_record_is_one_json_line_that_says_its_schema_version(tmp_path: Path) -> None:
    with store.Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(accuracy(note=math.inf, exact=Decimal("0.10")))
    (line,) = (tmp_path / "journal.jsonl").read_text().splitlines()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    raw = json.loads(line, parse_constant=refuse)
    assert raw["schema_version"] == store.SCHEMA_VERSION
    assert raw["note"] == {"$float": "inf"}
    (record,) = store.read(tmp_path / "journal.jsonl")
    assert record["note"] == math.inf
    assert str(record["exact"]) == "0.10"


@pytest.mark.parametrize("kept", [1, 7, 60, -1])
def test_a_torn_last_line_is_ignored_and_the_next_record_starts_a_line(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal.jsonl"
    with store.Journal(path) as journal:
        journal.append(accuracy("a"))
        whole = path.stat().st_size
        journal.append(accuracy("b"))
    content = path.read_bytes()
    path.write_bytes(content[: whole + kept] if kept > 0 else content[:-2])
    assert [r["cell"] for r in store.read(path)] == ["a"]
    with store.Journal(path) as journal:
        journal.append(accuracy("b"))
        journal.append(accuracy("c"))
    assert [r["cell"] for r in store.read(path)] == ["a", "b", "c"]


def test_a_last_line_that_lacks_only_its_newline_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with store.Journal(path) as journal:
        journal.append(accuracy("a"))
    path.write_bytes(path.read_bytes()[:-1])
    with store.Journal(path) as journal:
        assert ("accuracy", "a") in journal
        journal.append(accuracy("b"))
    assert [r["cell"] for r in store.read(path)] == ["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        {"cell": None},
        {"cell": ["b"]},
        {"kind": ["accuracy"]},
        {"kind": {"accuracy": 1}},
        {"status": None},
        {"status": 7},
        {"outputs": 3},
        {"outputs": {"y": 3}},
        {"note": {"$type": "Nothing"}},
    ],
)
def test_a_garbled_line_is_measured_again(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "journal.jsonl"
    with store.Journal(path) as journal:
        journal.append(accuracy("a"))
    garbled = {"schema_version": 1, **accuracy("b"), **change}
    line = json.dumps({name: value for name, value in garbled.items() if value is not None})
    with path.open("a") as file:
        file.write(f"{line}\n" + "[" * 100_000 + "\n[]\n7\n")
    with store.Journal(path) as journal:
        assert [r["cell"] for r in journal.records] == ["a"]
        journal.append(accuracy("b"))
    assert [r["cell"] for r in store.read(path)] == ["a", "b"]
    assert [
        r["outcome"] for r in store.rows(make_plan(make_cell("a"), make_cell("b")), store.read(path))
    ] == [
        "ok",
        "ok",
    ]


def test_nothing_is_recorded_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with store.Journal(path) as journal:
        journal.append(accuracy("a", status="ok"))
        with pytest.raises(ValueError, match="already"):
            journal.append(accuracy("a", status="raised"))
        journal.append(timing("a"))
    line = path.read_text().splitlines()[0].replace('"ok"', '"raised"', 1)
    with path.open("a") as file:
        file.write(line + "\n")
    records = store.read(path)
    assert [(r["kind"], r["status"]) for r in records] == [("accuracy", "ok"), ("timing", "ok")]


@pytest.mark.parametrize(
    ("record", "told"), [({"kind": "gossip"}, "unknown kind"), ({"kind": "accuracy"}, "without 'cell'")]
)
def test_a_record_that_does_not_say_what_it_is_about_is_refused(
    tmp_path: Path, record: dict[str, Any], told: str
) -> None:
    with store.Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(ValueError, match=told):
        journal.append(record)


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps({"schema_version": store.SCHEMA_VERSION + 1, **accuracy()}) + "\n")
    with pytest.raises(UsageError, match="schema version 2"):
        store.read(path)


def test_two_processes_cannot_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    program = f"from harness.store import Journal; from pathlib import Path; Journal(Path({str(path)!r}))"
    with store.Journal(path):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "being written by another process" in done.stderr
    store.Journal(path).close()


def test_an_unpaired_surrogate_in_an_error_text_is_kept(tmp_path: Path) -> None:
    with store.Journal(tmp_path / "j") as journal:
        journal.append(accuracy(error="caf\udce9"))
    assert store.read(tmp_path / "j")[0]["error"] == "caf\udce9"


def test_a_full_disk_keeps_whole_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    with store.Journal(path) as journal:
        journal.append(accuracy("a"))
        real = os.write
        room = [100]

        def write(file: int, data: Any) -> int:
            if not room[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            done = real(file, bytes(data)[: room[0]])
            room[0] -= done
            return done

        monkeypatch.setattr(os, "write", write)
        with pytest.raises(CouldNotMeasureError, match="No space left"):
            journal.append(accuracy("b"))
        monkeypatch.undo()
        assert ("accuracy", "b") not in journal
        assert path.read_bytes().count(b"\n") == 1
        journal.append(accuracy("b"))
    assert [r["cell"] for r in store.read(path)] == ["a", "b"]


# ---- rows ------------------------------------------------------------------------------------------


def test_the_columns_are_the_documented_ones_in_their_order() -> None:
    assert [column.name for column in COLUMNS] == DESIGNED
    (row,) = store.rows(make_plan(), [])
    assert list(row) == [*DESIGNED, "axis.n", "axis.top", "undecided", "error", "fp_environment"]


def test_a_row_merges_accuracy_timing_and_the_peak_of_its_worker() -> None:
    records = [
        accuracy(),
        timing(),
        {"kind": "peak", "backend": "numpy", "threads": 2, "dtype": "float32", "gflops": 1.0},
        {"kind": "peak", "backend": "numpy", "threads": 1, "dtype": "float32", "gflops": 80.0},
    ]
    (row,) = store.rows(make_plan(), records)
    assert row["outcome"] == "ok"
    assert (row["guide"], row["axes"], row["axis.n"], row["axis.top"]) == (
        "NM4 LR1",
        '{"n": 8, "top": 0.99}',
        8,
        0.99,
    )
    # 40 flops and 64 bytes in 2 µs: 0.02 GFLOP/s and 0.032 GB/s
    assert row["gflops"] == pytest.approx(0.02, rel=1e-15)
    assert row["gbps"] == pytest.approx(0.032, rel=1e-15)
    assert row["peak_fraction"] == pytest.approx(0.02 / 80, rel=1e-15)
    assert (row["max_ulp"], type(row["max_ulp"])) == (3.0, float)
    assert (row["elements"], type(row["elements"])) == (8, int)
    assert row["worst_index"] == "5"
    assert row["converged"] is True
    assert row["verdict"] is None


@pytest.mark.parametrize(
    ("peaks", "share"),
    [
        ({"float32": 80.0, "float64": 40.0}, 0.02 / 80),
        ({"float32": 0.01, "float64": 40.0}, 0.02 / 40),  # else 2: twice the peak
        ({"float32": None, "float64": 40.0}, 0.02 / 40),
        ({"float32": 80.0}, 0.02 / 80),
        ({"float32": None}, None),
    ],
)
def test_a_peak_is_the_greater_of_the_dtypes_and_the_compute_dtypes(
    peaks: dict[str, float | None], share: float | None
) -> None:
    about = {"kind": "peak", "backend": "numpy", "threads": 1}
    records = [{**about, "dtype": dtype, "gflops": gflops} for dtype, gflops in peaks.items()]
    (row,) = store.rows(make_plan(), [accuracy(compute_dtype="float64"), timing(), *records])
    assert row["peak_fraction"] == (None if share is None else pytest.approx(share, rel=1e-15))


def test_what_was_not_measured_is_none_and_never_a_number() -> None:
    (row,) = store.rows(make_plan(), [accuracy(status="crashed", error="killed by SIGSEGV", outputs={})])
    assert (row["outcome"], row["error"]) == ("crashed", "killed by SIGSEGV")
    numbers = [
        c.name
        for c in COLUMNS
        if c.kind in ("number", "integer") and c.name not in ("seed", "flops", "bytes")
    ]
    assert [row[name] for name in numbers] == [None] * len(numbers)


def test_a_cell_that_the_referee_could_not_judge_has_no_outcome() -> None:
    (row,) = store.rows(make_plan(), [accuracy(status="referee_error", error="the referee died", outputs={})])
    assert (row["outcome"], row["error"]) == (None, "the referee died")


def test_every_output_of_a_cell_is_a_row_and_has_the_time_of_its_cell() -> None:
    cell = make_cell(outputs=("q", "r"))
    scored = {"q": {"outcome": "ok", "max_ulp": 1.0}, "r": {"outcome": "overflow", "undecided": 2}}
    q, r = store.rows(make_plan(cell), [accuracy(outputs=scored), timing()])
    assert [(x["output"], x["outcome"], x["max_ulp"], x["undecided"]) for x in (q, r)] == [
        ("q", "ok", 1.0, None),
        ("r", "overflow", None, 2),
    ]
    assert q["time_median_s"] == r["time_median_s"] == 2e-6


def test_a_skipped_cell_is_a_row_with_its_reason() -> None:
    cell = make_cell(skip=Skip("unsupported", "numpy has no linalg in bfloat16"), speed=SpeedSpec())
    (row,) = store.rows(make_plan(cell), [])
    assert (row["verdict"], row["reason"]) == ("skip", "unsupported: numpy has no linalg in bfloat16")
    assert row["outcome"] is None


def test_a_cell_that_could_not_be_timed_says_why() -> None:
    (row,) = store.rows(make_plan(), [accuracy(), timing(status="timeout", error="exceeded 60 s", timing={})])
    assert (row["outcome"], row["time_median_s"], row["error"]) == ("ok", None, "not timed: exceeded 60 s")


def test_a_repeated_record_counts_once() -> None:
    (row,) = store.rows(make_plan(), [accuracy(), accuracy(status="crashed", outputs={})])
    assert (row["outcome"], row["bound_ratio"]) == ("ok", 0.25)


def test_a_metric_that_a_plug_in_registered_gets_a_column_after_the_fixed_ones() -> None:
    records = [accuracy(outputs={"y": {"outcome": "ok", "peer_ratio": 1.5}})]
    (row,) = store.rows(make_plan(), records)
    assert list(row)[len(DESIGNED)] == "peer_ratio"
    assert row["peer_ratio"] == 1.5


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
        st.integers(-(10**30), 10**30)
        | st.booleans()
        | st.text(max_size=8)
        | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**300), max_value=10**300),
    )
)
def test_axes_are_exact_json(axes: dict[str, Any]) -> None:
    read = json.loads(axes_text(axes), parse_float=Decimal)
    assert read == axes
    assert list(axis_columns(axes_text(axes))) == [f"axis.{name}" for name in axes]


# ---- CSV and frame ---------------------------------------------------------------------------------

_VALUES = {
    "text": st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False),
    "boolean": st.booleans(),
}
_ROW = st.fixed_dictionaries(
    {
        c.name: st.none() | _VALUES[c.kind]
        for c in COLUMNS
        if c.name not in ("cell", "axes", "outcome", "verdict", "severity")
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_ROW, min_size=1, max_size=4))
def test_results_come_back_from_csv_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any]
) -> None:
    axes = '{"n": 8, "kind": "8", "flag": true, "top": 0.1}'
    rows = [
        {
            **{c.name: None for c in COLUMNS},
            **r,
            "cell": "c",
            "axes": axes,
            "outcome": "ok",
            **axis_columns(axes),
        }
        for r in drawn
    ]
    path = tmp_path_factory.mktemp("csv") / "results.csv"
    store.write_results(rows, path)
    back = store.read_rows(path)
    assert back == rows
    assert [[type(v) for v in r.values()] for r in back] == [[type(v) for v in r.values()] for r in rows]


@given(st.floats())
def test_a_float_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, x: float) -> None:
    path = tmp_path_factory.getbasetemp() / "float.csv"
    store.write_results([{"cell": "c", "axes": "{}", "max_ulp": x}], path)
    (row,) = store.read_rows(path)
    assert row["max_ulp"] == x or (math.isnan(x) and math.isnan(row["max_ulp"]))
    assert math.copysign(1, row["max_ulp"]) == math.copysign(1, x) or math.isnan(x)


def test_another_reader_of_csv_sees_empty_cells_and_shortest_floats(tmp_path: Path) -> None:
    store.write_results(store.rows(make_plan(), [accuracy()]), tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert (line["bound_ratio"], line["elements"], line["time_median_s"], line["verdict"]) == (
        "0.25",
        "8",
        "",
        "",
    )
    assert "undecided" not in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a,b\n1,2\n", "no table of results"),
        (b"cell,outcome,verdict,axes,samples\nc,ok,pass,{},many\n", ":2: .*many"),
        (b"cell,outcome,verdict,axes,converged\nc,ok,pass,{},1\n", "neither true nor false"),
        (b"cell,outcome\nc\n", "no CSV table"),
        (b"\xff\xfe\n", "no CSV table"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(UsageError, match=told):
        store.read_rows(tmp_path / "results.csv")


def test_a_frame_keeps_empty_nan_and_infinity_apart() -> None:
    import pandas as pd

    records = [
        accuracy(outputs={"y": {"outcome": "ok", "max_ulp": math.inf, "bits": math.nan, "elements": 8}})
    ]
    table = store.frame(store.rows(make_plan(), records))
    assert {c.name: str(table[c.name].dtype) for c in COLUMNS} == {
        c.name: {"text": "string", "integer": "Int64", "number": "Float64", "boolean": "boolean"}[c.kind]
        for c in COLUMNS
    }
    assert (str(table["axis.n"].dtype), str(table["axis.top"].dtype)) == ("Int64", "Float64")
    assert table["max_ulp"][0] == math.inf
    assert table["bits"][0] is not pd.NA
    assert math.isnan(table["bits"][0])
    assert table["lre"][0] is pd.NA
    assert table["samples"][0] is pd.NA


def test_a_frame_of_no_rows_has_all_columns() -> None:
    assert list(store.frame([]).columns) == DESIGNED


# ---- the folder of a run ---------------------------------------------------------------------------


def test_a_run_that_was_interrupted_loads_with_what_it_has(tmp_path: Path) -> None:
    other = make_cell("softmax/shifted/numpy/float32/n=8", formulation="shifted")
    run = store.start(make_plan(make_cell(), other), tmp_path / "run")
    run.journal.append(accuracy())
    run.journal.append({"kind": "environment", "child": "numpy-1", "facts": {"blas": "OpenBLAS"}})
    run.journal.close()
    loaded = store.load(tmp_path / "run")
    assert not loaded.finished
    assert [r["outcome"] for r in loaded.rows] == ["ok", None]
    assert loaded.header["environment"]["children"] == {"numpy-1": {"blas": "OpenBLAS"}}
    assert loaded.header["environment"]["packages"]["numpy"]
    assert loaded.plan == make_plan(make_cell(), other)
    assert len(loaded.results) == 2
    assert loaded.facts.empty


def test_a_finished_run_loads_as_it_was(tmp_path: Path) -> None:
    run = store.start(make_plan(), tmp_path / "run")
    run.journal.append(accuracy())
    judged = [{**r, "verdict": "pass", "severity": "fail"} for r in store.rows(run.plan, run.journal.records)]
    facts = [{**dict.fromkeys(FACT_COLUMNS), "fact": "exponent", "case": "softmax", "value": 1.5}]
    made = store.finish(run, judged, facts, FACT_COLUMNS)
    loaded = store.load(tmp_path / "run")
    assert made.finished
    assert loaded.finished
    assert loaded.header == made.header
    assert [r["verdict"] for r in loaded.rows] == ["pass"]
    assert loaded.fact_rows == facts
    assert loaded.results.equals(made.results)
    assert list(loaded.facts.columns) == list(FACT_COLUMNS)


def test_resuming_keeps_the_records_and_the_time_of_the_start(tmp_path: Path) -> None:
    run = store.start(make_plan(), tmp_path)
    run.journal.append(accuracy())
    run.journal.close()
    again = store.start(make_plan(), tmp_path, resume=True)
    assert again.resumed
    assert again.header["started"] == run.header["started"]
    assert ("accuracy", make_cell().id) in again.journal
    again.journal.close()


def test_resuming_removes_what_a_killed_run_left_half_written(tmp_path: Path) -> None:
    store.start(make_plan(), tmp_path).journal.close()
    kept = {path.name for path in tmp_path.iterdir()}
    for name in (".probe-1", ".results.csv.1.partial"):
        (tmp_path / name).write_bytes(b"half")
    store.start(make_plan(), tmp_path, resume=True).journal.close()
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_resuming_what_is_not_there_starts_it(tmp_path: Path) -> None:
    run = store.start(make_plan(), tmp_path / "new" / "run", resume=True)
    assert not run.resumed
    run.journal.close()


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    store.start(make_plan(), tmp_path).journal.close()
    with pytest.raises(UsageError, match="holds a run already") as caught:
        store.start(make_plan(), tmp_path)
    assert "--resume" in str(caught.value)


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (make_plan(make_cell("other")), r"1 no longer planned: softmax/naive.*; 1 new: other"),
        (make_plan(make_cell(seed=1)), "1 changed: softmax/naive"),
        (make_plan(make_cell(speed=SpeedSpec())), "1 changed"),
        (make_plan(make_cell(), parameters={"axis": 0}), "1 changed"),
        (make_plan(make_cell(), inputs=(InputSpec("x", "values", {"values": [1]}),)), "1 changed"),
    ],
)
def test_a_run_of_other_cells_is_not_resumed(tmp_path: Path, plan: Plan, told: str) -> None:
    store.start(make_plan(), tmp_path).journal.close()
    with pytest.raises(UsageError, match=told):
        store.start(plan, tmp_path, resume=True)


def test_rules_titles_and_places_may_change_before_resuming(tmp_path: Path) -> None:
    store.start(make_plan(), tmp_path).journal.close()
    moved = (InputSpec("x", "linspace", {"low": 0, "high": Decimal("88.7"), "shape": [8]}, 99, 1),)
    plan = make_plan(
        make_cell(rules=(Rule(severity="warn"),), topic="other"), inputs=moved, folder="/elsewhere"
    )
    run = store.start(plan, tmp_path, resume=True)
    run.journal.close()
    assert run.resumed
    assert store.load(tmp_path).plan.cells[0].rules == (Rule(severity="warn"),)


def test_another_machine_or_version_does_not_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.start(make_plan(), tmp_path).journal.close()
    here = store.environment()
    there = {**here, "cpu": "Z80", "packages": {**here["packages"], "numpy": "1.0", "extra": "2"}}
    monkeypatch.setattr("harness.store.run.environment", lambda: there)
    with pytest.raises(UsageError, match=r"Z80; extra absent → 2; numpy [\d.]+ → 1.0"):
        store.start(make_plan(), tmp_path, resume=True)


def test_load_and_time_of_day_are_no_other_environment() -> None:
    here = store.environment()
    assert differences(here, {**here, "load_1min": 99.0, "revision": "other"}) == []
    assert here["cores"] == os.cpu_count()


def test_a_folder_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"(?s)cannot write to the output folder .*--out"):
        store.start(make_plan(), tmp_path / "file" / "run")


def test_a_full_disk_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        store.start(make_plan(), tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_said_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="Permission denied"):
            store.start(make_plan(), tmp_path)
    finally:
        tmp_path.chmod(0o700)


def _damaged(folder: Path) -> None:
    (folder / "plan.json").write_text('{"schema_version": 1, "plan"')


def _newer(folder: Path) -> None:
    (folder / "plan.json").write_text('{"schema_version": 99}')


def _another_plan(folder: Path) -> None:
    header = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**header, "plan": {"cells": []}}))


def _without_environment(folder: Path) -> None:
    header = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**header, "environment": None}))


def _without_plan(folder: Path) -> None:
    (folder / "plan.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_damaged, "is damaged"),
        (_newer, "schema version 99"),
        (_without_plan, "no folder of a run"),
        (_another_plan, "what it holds is no plan"),
        (_without_environment, "environment is None"),
    ],
)
def test_a_run_that_cannot_be_read_says_why(tmp_path: Path, spoil: Callable[[Path], None], told: str) -> None:
    store.start(make_plan(), tmp_path).journal.close()
    spoil(tmp_path)
    with pytest.raises(UsageError, match=told):
        store.load(tmp_path)


@pytest.mark.parametrize(
    ("table", "spoil", "told"),
    [
        (
            "results.csv",
            lambda text: text[: text[:-1].rindex("\n") + 1],
            "its 1 rows are not the 2 of the plan",
        ),
        ("results.csv", lambda text: "", "its 0 rows are not the 2 of the plan"),
        ("results.csv", lambda text: text[:-40], "has [0-9]+ fields"),
        ("results.csv", lambda text: text.replace("n=8", "n=9"), "are not the 2 of the plan"),
        ("facts.csv", lambda text: "fact,verdict\nfit,fail\n", "lacks the columns case"),
    ],
)
def test_a_finished_run_without_all_its_results_is_refused(
    tmp_path: Path, table: str, spoil: Callable[[str], str], told: str
) -> None:
    cells = make_cell(), make_cell("softmax/naive/numpy/float32/n=16")
    run = store.start(make_plan(*cells), tmp_path)
    for cell in cells:
        run.journal.append(accuracy(cell.id))
    results = [{**row, "verdict": "pass"} for row in store.rows(run.plan, run.journal.records)]
    store.finish(run, results, [], ["fact"])
    assert len(store.load(tmp_path).rows) == 2
    path = tmp_path / table
    path.write_text(spoil(path.read_text()))
    with pytest.raises(UsageError, match=told) as caught:
        store.load(tmp_path)
    assert table == "facts.csv" or "harness run --resume" in str(caught.value.hint)


def test_latest_that_names_nothing_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "latest").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no folder of a run"):
        store.load(tmp_path / "latest")


def test_a_journal_without_its_plan_is_not_resumed(tmp_path: Path) -> None:
    run = store.start(make_plan(), tmp_path)
    run.journal.append(accuracy())
    run.journal.close()
    (tmp_path / "plan.json").unlink()
    with pytest.raises(UsageError, match=r"a journal without plan\.json"):
        store.start(make_plan(), tmp_path, resume=True)


def test_latest_names_the_newest_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        store.start(make_plan(), tmp_path / name).journal.close()
        store.point_latest(tmp_path / name)
        assert store.load(tmp_path / "latest").folder == (tmp_path / name).resolve()


def test_latest_is_a_file_where_links_are_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    store.start(make_plan(), tmp_path / "one").journal.close()
    store.point_latest(tmp_path / "one")
    assert (tmp_path / "latest").read_text() == "one\n"
    assert store.load(tmp_path / "latest").folder == (tmp_path / "one").resolve()


def test_a_folder_named_latest_is_left_alone(tmp_path: Path) -> None:
    store.start(make_plan(), tmp_path / "latest").journal.close()
    store.start(make_plan(), tmp_path / "one").journal.close()
    assert store.point_latest(tmp_path / "one") is None
    assert store.load(tmp_path / "latest").folder == (tmp_path / "latest").resolve()


def test_two_runs_within_a_second_have_two_folders(tmp_path: Path) -> None:
    first = store.default_folder(tmp_path)
    first.mkdir()
    second = store.default_folder(tmp_path)
    assert second != first
    assert first.name.endswith("Z")
