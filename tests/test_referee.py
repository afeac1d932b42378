"""The referee: inputs once, references from the cache, scores of right and wrong outputs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import FORMATS, decode, encode
from harness.model import InputSpec, Problem, Published
from harness.referee import Referee, answer, read_published
from harness.reference.cache import ReferenceCache
from harness.registry import OPERATIONS

catalogue.load()

(OUTPUT,) = OPERATIONS["softmax"].outputs
LOGITS = [Decimal(1), Decimal(2), Decimal(3)]


def make_problem(**changes: Any) -> Problem:
    spec = InputSpec("x", "values", {"values": LOGITS})
    problem = Problem("k", "case", "softmax", "float32", "forward", 0, {"axis": -1}, (spec,), ".")
    return replace(problem, **changes)


@pytest.fixture
def referee(tmp_path: Path) -> Referee:
    return Referee(ReferenceCache(tmp_path / "cache"), tmp_path / "scratch")


def scored(
    referee: Referee, tmp_path: Path, values: Any, fmt: str = "float32", **request: Any
) -> dict[str, Any]:
    path = tmp_path / "out.npy"
    np.save(path, encode(FORMATS[fmt], np.asarray(values, dtype=np.float64)))
    message = {
        "do": "score", "cell": "c", "problem": make_problem(), "outputs": {OUTPUT: str(path)},
        "formats": {OUTPUT: fmt}, "compute_dtype": "float32",
    }  # fmt: skip
    return answer(referee, {**message, **request})


def test_prepare_writes_bits_and_tells_where_the_reference_came_from(
    referee: Referee, tmp_path: Path
) -> None:
    reply = answer(referee, {"do": "prepare", "problem": make_problem()})
    assert reply["status"] == "ok"
    assert reply["reference"] == "computed"
    assert reply["undecided"] == 0
    bits = np.load(reply["inputs"]["x"])
    assert bits.dtype == np.uint32
    assert decode(FORMATS["float32"], bits).tolist() == [1.0, 2.0, 3.0]
    again = Referee(ReferenceCache(tmp_path / "cache"), tmp_path / "scratch")
    second = answer(again, {"do": "prepare", "problem": make_problem()})
    assert second["reference"] == "cached"
    assert second["inputs_digest"] == reply["inputs_digest"]


def test_a_reference_is_not_taken_for_that_of_other_parameters(referee: Referee) -> None:
    """The same four numbers along either axis: 1/2 in rows of equal logits, 1/(1 + e) in columns."""
    spec = InputSpec("x", "values", {"values": [[Decimal(0), Decimal(0)], [Decimal(1), Decimal(1)]]})
    rows, columns = (
        referee.prepared(make_problem(key=f"axis {axis}", inputs=(spec,), parameters={"axis": axis}))
        for axis in (1, 0)
    )
    assert rows.digest == columns.digest
    assert (rows.found, columns.found) == ("computed", "computed")
    assert rows.reference.outputs[OUTPUT].to_float64().tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert columns.reference.outputs[OUTPUT].to_float64()[0, 0] == pytest.approx(1 / (1 + np.e), rel=1e-15)


def test_a_reference_is_not_taken_for_that_of_another_dtype_of_one_format(referee: Referee) -> None:
    spec = InputSpec("x", "values", {"values": LOGITS})
    problem = make_problem(operation="dot", inputs=(spec, replace(spec, name="y")), parameters={})
    single, tensor = (referee.prepared(replace(problem, key=d, dtype=d)) for d in ("float32", "tf32"))
    assert single.digest == tensor.digest
    assert tensor.found == "computed"


def test_a_reference_of_an_older_version_is_made_again(
    referee: Referee, monkeypatch: pytest.MonkeyPatch
) -> None:
    referee.prepared(make_problem())
    operation = OPERATIONS["softmax"]
    newer = replace(operation, reference_version=operation.reference_version + 1)
    monkeypatch.setitem(OPERATIONS._items, "softmax", newer)
    assert referee.prepared(make_problem(key="newer")).found == "computed"


def test_the_bound_is_that_of_the_accumulator(referee: Referee, tmp_path: Path) -> None:
    """Three terms: u·(15 + g + G) + 2u_acc, so that sums in float16 allow 2⁻¹⁰ more."""
    shares = np.exp([-2.0, -1, 0]) / np.exp([-2.0, -1, 0]).sum()
    wrong = np.float32(shares * (1 + 2.0**-12))
    narrow, same = (
        scored(referee, tmp_path, wrong, compute_dtype=dtype)["rows"][OUTPUT]["bound_ratio"]
        for dtype in ("float16", "float32")
    )
    assert narrow < 0.5  # 2⁻¹² of at least 2⁻¹⁰
    assert same > 100  # 2⁻¹² of at most 2⁻²⁴·22


def test_memory_is_bounded_by_bytes_and_the_last_problem_stays(
    referee: Referee, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = referee.prepared(make_problem()), referee.prepared(make_problem(key="other"))
    assert first.bytes >= 3 * 8 + 3 * (1 + 8 * 4)  # one input, one reference of three elements
    assert referee.prepared(make_problem()) is first
    monkeypatch.setattr("harness.referee.KEPT_BYTES", first.bytes)
    assert referee.prepared(make_problem(key="third")).digest == first.digest
    assert referee.prepared(make_problem(key="third")) is referee.prepared(make_problem(key="third"))
    assert referee.prepared(make_problem(key="other")) is not second


def test_a_damaged_reference_is_made_again(referee: Referee, tmp_path: Path) -> None:
    answer(referee, {"do": "prepare", "problem": make_problem()})
    entries = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert entries
    for path in entries:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x10
        path.write_bytes(bytes(data))
    again = Referee(ReferenceCache(tmp_path / "cache"), tmp_path / "scratch")
    assert answer(again, {"do": "prepare", "problem": make_problem()})["reference"] == "recomputed"
    third = Referee(ReferenceCache(tmp_path / "cache"), tmp_path / "scratch")
    assert answer(third, {"do": "prepare", "problem": make_problem()})["reference"] == "cached"


def test_score_of_the_right_answer_and_of_planted_ones(referee: Referee, tmp_path: Path) -> None:
    right = np.exp([-2.0, -1.0, 0.0]) / np.exp([-2.0, -1.0, 0.0]).sum()
    right = right.astype(np.float32).astype(np.float64)
    row = scored(referee, tmp_path, right)["rows"][OUTPUT]
    assert row["outcome"] == "ok"
    assert row["bound_ratio"] <= 1
    assert row["correctly_rounded_fraction"] == 1
    zeros = scored(referee, tmp_path, [0.0, 0.0, 0.0])["rows"][OUTPUT]
    assert zeros["outcome"] == "zeroed"
    assert zeros["bound_ratio"] > 1000
    swapped = scored(referee, tmp_path, right[[1, 0, 2]])["rows"][OUTPUT]
    assert swapped["outcome"] == "ok"
    assert swapped["bound_ratio"] > 1000
    nan = scored(referee, tmp_path, [np.nan, *right[1:]])["rows"][OUTPUT]
    assert nan["outcome"] == "not_a_number"
    assert "bound_ratio" not in nan


def test_another_format_or_shape_is_no_result(referee: Referee, tmp_path: Path) -> None:
    row = scored(referee, tmp_path, [0.0, 0.0, 1.0], fmt="float64")["rows"][OUTPUT]
    assert row["outcome"] == "raised"
    assert "is float64, not float32" in row["error"]
    row = scored(referee, tmp_path, [[0.0, 0.0, 1.0]])["rows"][OUTPUT]
    assert row["outcome"] == "raised"
    assert "shape (1, 3), not (3,)" in row["error"]


def test_faults_are_replies(referee: Referee, tmp_path: Path) -> None:
    bad = make_problem(inputs=(InputSpec("x", "nothing", {}),))
    reply = answer(referee, {"do": "prepare", "problem": bad})
    assert reply["status"] == "error"
    assert reply["problem"] == "k"
    assert "unknown recipe 'nothing'" in reply["error"]
    missing = scored(referee, tmp_path, [0.0], outputs={"y": str(tmp_path / "absent.npy")})
    assert missing["status"] == "error"
    assert missing["cell"] == "c"
    assert answer(referee, {"do": "dance"})["status"] == "error"


def test_published_values_are_read_exactly_and_from_the_folder_only(tmp_path: Path) -> None:
    (tmp_path / "certified.csv").write_text("name,beta\na,0.10\nb,-3482258.63459582\n")
    published = Published("x", "certified.csv", "beta", 15)
    values, digits = read_published(published, tmp_path)
    assert digits == 15
    assert values[1] * 10**8 == -348225863459582
    for file, column, said in (
        ("../certified.csv", "beta", "outside the folder"),
        ("absent.csv", "beta", "cannot read"),
        ("certified.csv", "beat", "has no column"),
        ("certified.csv", "name", "holds what is no number"),
    ):
        with pytest.raises(InputError, match=said):
            read_published(replace(published, file=file, column=column), tmp_path)


def test_a_published_column_may_be_shorter_than_the_data_beside_it(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("\ufeffy, mean,gap\n1,2.5,\n2,,7\n4.5,,\n", encoding="utf-8")
    values, digits = read_published(Published("y", "all.csv", "mean", 2), tmp_path)
    assert (values, digits) == ((Fraction(5, 2),), 2)
    assert read_published(Published("y", "all.csv", "y", 2), tmp_path)[0] == tuple(
        map(Fraction, ("1", "2", "4.5"))
    )
    with pytest.raises(InputError, match="holds what is no number"):
        read_published(Published("y", "all.csv", "gap", 2), tmp_path)
