"""Digits against time: who is drawn, at which size, and who is on the front."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.view.chart import Styles
from harness.report.view.header import CaseInfo, case_info
from harness.report.view.pareto import Contender, contenders, front_of, tradeoffs
from tests.synthetic_run import MATMUL, OPERATIONS, matmul_rows

PLAIN = CaseInfo("c", "C", "", "", "sum", "Sum", "", "", "", {})


def contender(time_s: float, digits: float | None, name: str = "f") -> Contender:
    """Return a contender."""
    return Contender(name, "b", "float32", time_s, digits, "ok" if digits is not None else "overflow")


def timed(time_s: float, digits: float | None, **values: Any) -> dict[str, Any]:
    """Return a timed row of the case `c`."""
    bits = None if digits is None else digits / math.log10(2)
    return {
        "cell": f"{values}", "case": "c", "formulation": "f", "backend": "b", "dtype": "float32",
        "output": "y",
        "outcome": "ok" if digits is not None else "overflow", "bits": bits, "time_median_s": time_s,
        "verdict": "pass", "axis.n": 8, **values,
    }  # fmt: skip


def test_the_front_is_what_nothing_beats() -> None:
    a, b, c = contender(1, 2), contender(2, 5), contender(4, 7)
    beaten = [contender(3, 5), contender(2, 4), contender(9, 6.9)]
    assert front_of([c, *beaten, a, b]) == (a, b, c)


def test_equal_contenders_are_both_on_the_front() -> None:
    a, b = contender(1, 2, "a"), contender(1, 2, "b")
    assert front_of([a, b]) == (a, b)


def test_what_is_broken_or_keeps_no_digit_is_on_no_front() -> None:
    good = contender(5, 1)
    assert front_of([contender(1, None), contender(2, 0.0), good]) == (good,)
    assert front_of([contender(1, None)]) == ()


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=12).map(
        lambda pairs: [contender(t, float(d), str(n)) for n, (t, d) in enumerate(pairs)]
    )
)
def test_the_front_by_its_definition(found: list[Contender]) -> None:
    def beats(a: Contender, b: Contender) -> bool:
        no_worse = a.time_s <= b.time_s and (a.digits or 0) >= (b.digits or 0)
        return no_worse and (a.time_s, a.digits) != (b.time_s, b.digits)

    unbeaten = {c for c in found if c.digits and not any(beats(other, c) for other in found)}
    front = front_of(found)
    assert set(front) == unbeaten
    assert all(a.time_s <= b.time_s for a, b in itertools.pairwise(front))


def test_several_outputs_count_by_their_worst() -> None:
    (one,) = contenders([timed(1e-3, 5.0, output="Q"), timed(1e-3, 3.0, output="R")])
    assert one.digits == pytest.approx(3.0, rel=1e-12)
    (broken,) = contenders([timed(1e-3, 5.0, output="Q"), timed(1e-3, None, output="R")])
    assert (broken.digits, broken.outcome) == (None, "overflow")


def test_hot_and_cold_times_are_not_on_one_front() -> None:
    rows = [
        timed(t, d, cell=f"{backend}{d}", backend=backend, cache=cache, formulation=f"{d}")
        for backend, cache in (("a", "hot"), ("b", "cold"), ("c", "hot"))
        for t, d in ((1e-3, 3.0), (2e-3, 6.0))
    ]
    styles = Styles(("3.0", "6.0"), ("a", "b", "c"))
    hot, cold = tradeoffs(rows, {"c": PLAIN}, styles, "k")
    assert (hot.title, cold.title) == ("C, n = 8", "C, n = 8, inputs cold")
    assert {c.backend for c in cold.front} == {"b"}
    assert "b" not in {c.backend for c in hot.front}
    assert cold.figure.key != hot.figure.key


def test_what_was_timed_without_accuracy_is_left_out() -> None:
    assert contenders([timed(1e-3, None, outcome=None)]) == []
    assert contenders([timed(1e-3, None, outcome="ok")]) == []


def test_the_size_is_the_one_that_most_were_timed_at_and_then_the_largest() -> None:
    rows = [
        *(timed(1e-3, 5.0, formulation=f, **{"axis.n": 8}) for f in "ab"),
        *(timed(1e-2, 5.0, formulation=f, flops=100, **{"axis.n": 64}) for f in "ab"),
        timed(1.0, 5.0, formulation="a", **{"axis.n": 512}),
    ]
    (found,) = tradeoffs(rows, {"c": PLAIN}, Styles(("a", "b"), ("b",)), "k")
    assert found.title == "C, n = 64"


def test_one_contender_makes_no_figure() -> None:
    styles = Styles(("f",), ("b",))
    assert tradeoffs([timed(1e-3, 5.0)], {"c": PLAIN}, styles, "k") == []
    assert tradeoffs([], {"c": PLAIN}, styles, "k") == []
    two = [timed(1e-3, None), timed(1e-3, None, formulation="f2")]
    assert tradeoffs(two, {"c": PLAIN}, Styles(("f", "f2"), ("b",)), "k") == []


def test_the_figure_has_every_point_once_and_names_the_front() -> None:
    rows = matmul_rows()
    styles = Styles.of((r["formulation"], r["backend"]) for r in rows)
    (found,) = tradeoffs(rows, {MATMUL.name: case_info(MATMUL, OPERATIONS["matmul"])}, styles, "k")
    (panel,) = found.figure.panels
    at = [r for r in rows if r["axis.n"] == 256]  # the largest size that narrow formats were timed at
    assert found.title.endswith("n = 256")
    assert sum(len(s.points) for s in panel.series) == len(at) == 16
    labels = [p.label for s in panel.series for p in s.points if p and p.label]
    assert sorted(labels, key=int) == [str(n + 1) for n in range(len(found.front))]
    assert panel.x.place(min(r["time_median_s"] for r in at)) > 0
    assert all(c.name in panel.description for c in found.front)
    steps = next(g for g in panel.guides if g.kind == "front").points
    assert all(x1 <= x2 and y1 <= y2 for (x1, y1), (x2, y2) in itertools.pairwise(steps))


def test_broken_contenders_stand_below_the_plot() -> None:
    rows = [timed(1e-3, 5.0), timed(2e-3, 6.0, formulation="g"), timed(1e-4, None, formulation="h")]
    (found,) = tradeoffs(rows, {"c": PLAIN}, Styles(("f", "g", "h"), ("b",)), "k")
    (panel,) = found.figure.panels
    assert [(lane.name, [m.outcome for m in lane.marks]) for lane in panel.lanes] == [("h · b", ["overflow"])]
    assert "1 point below the plot" in found.figure.caption
    assert len(found.front) == 2
