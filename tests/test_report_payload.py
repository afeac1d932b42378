"""The results that travel with the page: compact, complete, and inert in a script element."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.view.header import cases_of, columns_of
from harness.report.view.payload import as_json, number_item, payload, runs
from harness.store import Run
from tests.synthetic_run import example_run, skipped, softmax_rows


def sent(run: Run) -> dict[str, Any]:
    """Return the payload of a run, as the page reads it."""
    content = payload(run.rows, columns_of(run.header), cases_of(run), run.plan.cases, "default")
    return dict(json.loads(as_json(content)))


def expanded(text: str) -> list[str]:
    """Return the items of a column, as the page's script takes them apart."""
    items: list[str] = []
    for item in text.split(" "):
        value, star, count = item.rpartition("*")
        items += [value] * int(count) if star else [item]
    return items


def values(content: dict[str, Any], name: str) -> list[str | None]:
    """Return the texts of one column."""
    column = next((c for c in content["columns"] if c["name"] == name), content.get(name))
    assert column is not None, name
    found: list[str | None] = []
    for item in expanded(column["items"]):
        if not item:
            found.append(None)
        elif column.get("kind") == "pattern":
            index, *numbers = item.split(":")
            parts = column["texts"][int(index)]
            found.append("".join(p + n for p, n in zip(parts, [*numbers, ""], strict=True)))
        else:
            found.append(column["texts"][int(item)] if "texts" in column else item)
    return found


@given(st.lists(st.sampled_from(["", "a", "1.5"]), min_size=1))
def test_runs_can_be_taken_apart(items: list[str]) -> None:
    assert expanded(runs(items)) == items


def test_every_text_comes_back() -> None:
    run = example_run()
    content = sent(run)
    kept = [r for r in run.rows if r["verdict"] != "skip"]
    assert content["rows"] == len(kept)
    for name in ("case", "formulation", "backend", "dtype", "output", "verdict", "outcome", "reason"):
        assert values(content, name) == [r[name] for r in kept], name
    assert values(content, "worst_computed") == [r["worst_computed"] for r in kept]
    assert values(content, "inputs_digest") == [r["inputs_digest"][:10] for r in kept]


def test_numbers_have_four_digits_and_what_is_missing_stays_missing() -> None:
    run = example_run()
    content = sent(run)
    kept = [r for r in run.rows if r["verdict"] != "skip"]
    for name in ("bits", "max_ulp", "bound_ratio", "time_median_s", "elements"):
        for text, row in zip(values(content, name), kept, strict=True):
            if row[name] is None:
                assert text is None
            else:
                # Half a unit of the fourth digit is at most 5·10⁻⁴ of the number.
                assert float(text or "") == pytest.approx(row[name], rel=5e-4, abs=0)


@pytest.mark.parametrize(
    ("value", "item"),
    [
        (0.0136244, ".01362"), (1.23456789e-5, "1.235e-5"), (2.5e300, "2.5e300"), (-0.5, "-0.5"),
        (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, ""), (None, ""), (12345678, "12345678"),
        (1e22, "1e22"), (0.0, "0"), (1e-10, "1e-10"),
    ],
)  # fmt: skip
def test_a_number_as_an_item(value: float | None, item: str) -> None:
    assert number_item(value) == item


def test_ids_are_made_of_the_coordinates() -> None:
    run = example_run()
    content = sent(run)
    kept = [r for r in run.rows if r["verdict"] != "skip"]
    parts = [values(content, n) for n in ("case", "formulation", "backend", "dtype")]
    for row, place, *names in zip(kept, values(content, "place"), *parts, strict=True):
        assert place is not None
        rest, axes = place
        assert "/".join(map(str, names)) + rest == row["cell"]
        assert axes == {k[5:]: v for k, v in row.items() if k.startswith("axis.") and v is not None}


def test_an_id_of_another_form_is_kept_whole() -> None:
    rows = [{**softmax_rows()[0], "cell": "something else"}]
    assert sent(example_run(rows))["place"]["texts"][0][0] == "=something else"


def test_skipped_rows_do_not_travel() -> None:
    rows = softmax_rows()
    absent = [
        {**r, **skipped("unavailable: no device"), "backend": "torch-cuda", "cell": f"{r['cell']}x{n}"}
        for n in range(5)
        for r in rows
    ]
    alone, together = (len(as_json(sent(example_run(r)))) for r in (rows, [*rows, *absent]))
    assert together - alone < 10  # the number of skipped rows
    assert sent(example_run([*rows, *absent]))["skipped"] == len(absent) + 18


def test_nothing_of_a_run_ends_the_script_element() -> None:
    evil = "</script><!--<script>\u2028&"
    text = as_json({evil: [evil]})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {evil: [evil]}


def test_a_row_takes_few_bytes() -> None:
    run = example_run()
    kept = sum(r["verdict"] != "skip" for r in run.rows)
    # 20,000 rows in 6 MB leave 300 bytes a row, 40 of them for the rest of the page.
    assert len(as_json(sent(run)).encode()) / kept <= 260
