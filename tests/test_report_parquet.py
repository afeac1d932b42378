"""Parquet: every double as it was, null apart from NaN, units and definitions in the schema."""

from __future__ import annotations

import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import CouldNotMeasureError, UsageError
from harness.report.parquet import METADATA, kind_of, write
from tests.synthetic_run import SOFTMAX, example_run, row, softmax_rows

DOUBLES = [
    0.1 + 0.2,
    5e-324,
    2.0**-1074 * 3,
    1.7976931348623157e308,
    -0.0,
    math.inf,
    -math.inf,
    1 / 3,
    math.pi,
]


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def a_row(n: Any, **values: Any) -> dict[str, Any]:
    return row(SOFTMAX, "naive", "numpy", "float32", {}, "p", **{"axis.n": n, **values})


def table_of(rows: list[dict[str, Any]], path: Path, **header: Any) -> Any:
    parquet = pytest.importorskip("pyarrow.parquet")
    return parquet.read_table(write(example_run(rows, **header), path))


def test_doubles_come_back_bit_for_bit(tmp_path: Path) -> None:
    table = table_of(
        [a_row(n, bound_ratio=v) for n, v in enumerate([*DOUBLES, None])], tmp_path / "r.parquet"
    )
    found = table.column("bound_ratio").to_pylist()
    assert [bits(v) for v in found[:-1]] == [bits(v) for v in DOUBLES]
    assert found[-1] is None


def test_nan_is_no_null(tmp_path: Path) -> None:
    column = table_of([a_row(1, lre=math.nan), a_row(2)], tmp_path / "r.parquet").column("lre")
    assert column.null_count == 1
    assert math.isnan(column.to_pylist()[0])


def test_every_value_of_a_run_comes_back(tmp_path: Path) -> None:
    rows = softmax_rows()
    table = table_of(rows, tmp_path / "r.parquet")
    assert table.num_rows == len(rows)
    back = table.to_pylist()
    for before, after in zip(rows, back, strict=True):
        assert after == {name: before[name] for name in after}
    assert set(rows[0]) - set(back[0]) == {"undecided", "error", "fp_environment"}


def test_columns_have_types_and_the_schema_says_what_they_are(tmp_path: Path) -> None:
    units = {"time_median_s": "s", "flops": "floating-point operations"}
    axes = {"axis.top": 0.5, "axis.how": 3}
    rows = [a_row(1, flops=2**40, converged=True, time_median_s=1e-6, bits=24.0, **axes)]
    rows.append(a_row(None, **{"axis.top": 2, "axis.how": "exact"}))
    schema = table_of(rows, tmp_path / "r.parquet", columns=units).schema
    types = {"cell": "string", "seed": "int64", "bits": "double", "flops": "int64", "converged": "bool"}
    types |= {"axis.n": "int64", "axis.top": "double", "axis.how": "string", "worst_index": "string"}
    assert {name: str(schema.field(name).type) for name in types} == types
    assert schema.field("time_median_s").metadata == {b"unit": b"s"}
    told = schema.field("bits").metadata
    assert told[b"unit"] == b"bit"
    assert told[b"formula"].decode() == "p − log₂ max(1, 2·max_ulp)"
    assert told[b"source"] == b"Muller et al."
    described = json.loads(schema.metadata[METADATA.encode()])
    assert described["environment"]["packages"] == {"numpy": "2.4.6", "torch": "2.13.0"}
    assert {m["name"] for m in described["metrics"]} >= {"bound_ratio", "max_ulp", "bits"}


def test_pandas_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pandas as pd

    frame = pd.read_parquet(write(example_run(softmax_rows()), tmp_path / "r.parquet"))
    assert frame["verdict"].value_counts()["pass"] == 558


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], "text"),
        ([None], "text"),
        ([1, None, 2], "integer"),
        ([True, False], "boolean"),
        ([1, 0.5], "number"),
        ([2**53 + 1, 0.5], "text"),
        ([2**63], "text"),
        ([1, True], "text"),
        ([1, "a"], "text"),
    ],
)
def test_a_type_that_holds_every_value(values: list[Any], kind: str) -> None:
    assert kind_of(values) == kind


def test_text_that_utf8_cannot_write_is_escaped(tmp_path: Path) -> None:
    table = table_of([a_row(1, reason="half \ud83d")], tmp_path / "r.parquet")
    assert table.column("reason").to_pylist() == ["half \\ud83d"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")

    def full(table: Any, path: Path, **options: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full)
    with pytest.raises(CouldNotMeasureError, match="No space left"):
        write(example_run(softmax_rows()), tmp_path / "r.parquet")
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="the format parquet needs pyarrow") as caught:
        write(example_run(softmax_rows()[:1]), tmp_path / "r.parquet")
    assert caught.value.hint == "pip install 'numerics-harness[parquet]'"
    assert list(tmp_path.iterdir()) == []
