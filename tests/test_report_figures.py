"""Figures: digits along axes with their bound, errors against the laws, speed against size."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

import pytest

from harness.formats import DTYPES
from harness.report.view.axes import AxisUnit, numeric_axes
from harness.report.view.chart import Figure, Guide, LegendKey, Panel, Point, Series, Style, Styles
from harness.report.view.curves import bound_curve, digit_figures
from harness.report.view.header import CaseInfo, case_info
from harness.report.view.laws import law_figures, law_line
from harness.report.view.scales import LinearScale, LogScale, choose_scale
from harness.report.view.speed import peak_labels, peaks_of, share_scale, speed_figures
from harness.report.view.svg import CHARACTER, legend_svg, panel_svg, placed_ticks
from tests.synthetic_run import (
    LEAST_SQUARES,
    MATMUL,
    OPERATIONS,
    SOFTMAX,
    gap_rows,
    least_squares_rows,
    matmul_rows,
    softmax_rows,
)


def info(case: Any) -> CaseInfo:
    """Return what a report says of a synthetic case."""
    return case_info(case, OPERATIONS[case.operation])


def styles(rows: Iterable[dict[str, Any]]) -> Styles:
    """Return the styles of some rows."""
    return Styles.of((r["formulation"], r["backend"]) for r in rows)


def result(n: float, ulp: float = 4.0, ratio: float = 0.5, **values: Any) -> dict[str, Any]:
    """Return a float32 row at a place of the axis n."""
    return {
        "cell": f"{n}{values}", "formulation": "f", "backend": "b", "dtype": "float32", "output": "y",
        "outcome": "ok", "max_ulp": ulp, "bound_ratio": ratio, "bits": 24 - math.log2(max(1, 2 * ulp)),
        "verdict": "pass", "axis.n": n, **values,
    }  # fmt: skip


PLAIN = CaseInfo("c", "C", "", "", "sum", "Sum", "", "", "", {})


def only_panel(rows: list[dict[str, Any]]) -> Panel:
    """Return the panel of the one figure that these rows make."""
    (figure,) = digit_figures(rows, PLAIN, styles(rows), "k")
    (panel,) = figure.panels
    return panel


# ---- digits along an axis --------------------------------------------------------------------------


def test_numeric_axes_are_those_with_several_numbers() -> None:
    rows = [
        {"axis.n": 8, "axis.kind": "a", "axis.one": 1, "axis.mixed": 1},
        {"axis.n": 64.0, "axis.kind": "b", "axis.one": 1, "axis.mixed": "inf"},
    ]
    assert numeric_axes(rows) == {"n": (8.0, 64.0)}


def test_axes_that_move_together_are_one() -> None:
    rows = [{"axis.m": m, "axis.k": k, "axis.n": n} for m, k, n in ((1, 1, 9), (2, 1, 8), (2, 3, 7))]
    assert list(numeric_axes(rows, [("m", "n")])) == ["k", "n"]
    assert list(numeric_axes(rows, [("m", "k", "n")])) == ["n"]
    assert list(numeric_axes(rows, [("absent", "other")])) == ["m", "k", "n"]


def test_a_figure_for_each_numeric_axis_and_a_panel_for_each_dtype() -> None:
    rows = softmax_rows()
    figures = digit_figures(rows, info(SOFTMAX), styles(rows), "k")
    assert [f.title for f in figures] == ["Digits left against n", "Digits left against top (× ln Ω)"]
    assert [p.title for p in figures[0].panels] == ["float64", "float32", "float16", "bfloat16"]
    assert "worst over n" in figures[1].caption
    assert "evenly spaced" in figures[1].caption  # 0.99 and 1.01
    assert len({f.key for f in figures}) == 2


def test_a_point_is_the_worst_over_the_other_axes() -> None:
    rows = [
        result(1, 0.5, **{"axis.m": 1}),
        result(1, 512.0, **{"axis.m": 2}),
        result(2, 0.5, **{"axis.m": 1}),
    ]
    figure = digit_figures(rows, PLAIN, styles(rows), "k")[0]
    points = figure.panels[0].series[0].points
    assert [p and round(p.y, 4) for p in points] == [
        round(14 * math.log10(2), 4),  # 512 ulp leave 24 − log₂(1024) bits
        round(24 * math.log10(2), 4),
    ]


def test_a_broken_place_interrupts_the_line_and_is_marked_with_its_outcome() -> None:
    rows = [result(1), result(2, outcome="overflow", bits=None, bound_ratio=None, max_ulp=None), result(3)]
    panel = only_panel(rows)
    assert [p is None for p in panel.series[0].points] == [False, True, False]
    assert [(m.x, m.outcome) for m in panel.lanes[0].marks] == [(2.0, "overflow")]
    assert "overflow at 2" in panel.description


def test_an_error_above_its_bound_is_marked_where_it_is() -> None:
    panel = only_panel([result(1), result(2, 4000.0, 7.5), result(3)])
    assert [p is None for p in panel.series[0].points] == [False, False, False]
    assert [(m.x, m.outcome) for m in panel.lanes[0].marks] == [(2.0, "over")]


def test_the_bound_is_the_largest_ulp_over_ratio_in_digits() -> None:
    # 4 ulp at half the bound: the bound is 8 ulp, which leaves 24 − log₂ 16 = 20 bits.
    rows = [
        result(1, 4.0, 0.5),
        result(1, 1.0, 0.5, formulation="g"),
        result(2, 1e9, 1e-3),
        result(3, 0.0, 0.0),
    ]
    holds = 24 * math.log10(2)
    curve = dict(bound_curve(rows, "axis.n", holds))
    assert curve[1] == pytest.approx(20 * math.log10(2), rel=1e-12)
    assert curve[2] == 0  # 10¹² ulp are more than the format holds
    assert 3 not in curve  # an exact result tells nothing of its bound


def test_no_bound_where_the_ratio_is_not_of_ulps() -> None:
    assert bound_curve([result(1, backward_error=1e-8)], "axis.n", 7.2) == ()
    assert bound_curve([result(1, outcome="overflow")], "axis.n", 7.2) == ()
    # 1000 ulp where an element cancels, 20 bits of the whole output
    whole = result(1, 1000.0, 0.5, bits=20.0)
    assert bound_curve([whole], "axis.n", 24 * math.log10(2)) == ()


def test_no_point_within_its_bound_lies_below_the_curve() -> None:
    rows = [r for r in softmax_rows() if r["outcome"] == "ok"]
    for figure in digit_figures(rows, info(SOFTMAX), styles(rows), "k"):
        for panel in figure.panels:
            bound = dict(panel.guides[0].points)
            marked = {(lane.name, m.x) for lane in panel.lanes for m in lane.marks}
            for series in panel.series:
                for point in filter(None, series.points):
                    # 1e-9 digits: the rounding of the two logarithms.
                    assert (series.name, point.x) in marked or point.y >= bound[point.x] - 1e-9


def test_powers_of_u_grow_to_the_right() -> None:
    rows = least_squares_rows()
    figure = digit_figures(rows, info(LEAST_SQUARES), styles(rows), "k")[0]
    assert figure.panels[0].x_title == "kappa (power of u)"
    assert figure.panels[0].x.place(0) == 0
    assert figure.panels[0].x.place(-1.2) == 1


def test_an_axis_along_which_nothing_is_left_is_said_and_not_drawn() -> None:
    rows = [result(n, 1e9, 0.5, **{"axis.m": m}) for n in (1, 2) for m in (1, 2)]
    figure = digit_figures(rows, PLAIN, styles(rows), "k")[0]
    assert figure.panels == ()
    assert figure.caption == "Against n, no formulation keeps a digit at its worst m."


def test_nothing_is_drawn_without_digits_or_without_an_axis() -> None:
    assert digit_figures([result(1), result(1)], PLAIN, Styles(("f",), ("b",)), "k") == []
    broken = [result(n, outcome="raised", bits=None) for n in (1, 2)]
    assert digit_figures(broken, PLAIN, Styles(("f",), ("b",)), "k") == []
    skipped = [result(n, verdict="skip") for n in (1, 2)]
    assert digit_figures(skipped, PLAIN, Styles(("f",), ("b",)), "k") == []


def test_several_outputs_have_figures_of_their_own() -> None:
    rows = [result(n, output=o) for n in (1, 2) for o in ("Q", "R")]
    figures = digit_figures(rows, PLAIN, styles(rows), "k")
    assert ["of Q" in figures[0].caption, "of R" in figures[1].caption] == [True, True]


# ---- laws ------------------------------------------------------------------------------------------


def test_least_squares_are_drawn_against_both_laws_and_1_over_u() -> None:
    rows = least_squares_rows()
    (figure,) = law_figures(rows, info(LEAST_SQUARES), styles(rows), "k")
    assert [p.title for p in figure.panels] == ["float64", "float32"]
    for panel, u in zip(figure.panels, (2.0**-53, 2.0**-24), strict=True):
        assert [(g.kind, g.label) for g in panel.guides] == [("law", "κu"), ("law", "κ²u"), ("limit", "")]
        assert panel.guides[2].points[0][0] == 1 / u
        assert not any(s.joined for s in panel.series)
    assert "κ = 1/u" in {entry.label for entry in figure.legend}


@pytest.mark.parametrize("power", [1, 2])
def test_a_law_is_a_straight_line_clipped_to_the_panel(power: int) -> None:
    u = 2.0**-24
    x, y = LogScale(1.0, 1e12), LogScale(1e-8, 1e3)
    (x1, y1), (x2, y2) = law_line(power, u, x, y).points
    for k, error in ((x1, y1), (x2, y2)):
        assert 1 - 1e-9 <= k <= 1e12 * (1 + 1e-9)
        assert 1e-8 * (1 - 1e-9) <= error <= 1e3 * (1 + 1e-9)
        # 1e-9: log₁₀ and 10ˣ cost a few ulps each, times exponents up to 12.
        assert error == pytest.approx(u * k**power, rel=1e-9)


def test_a_law_outside_the_panel_is_empty() -> None:
    assert law_line(1, 1e-16, LogScale(1, 10), LogScale(1e-3, 1)).points == ()


def test_laws_need_a_span_of_conditions() -> None:
    rows = [result(n, condition=c, norm_rel_error=1e-6) for n, c in enumerate((1.0, 2.0, 3.0, 4.0, 99.0))]
    assert law_figures(rows, PLAIN, styles(rows), "k") == []
    elsewhere = [result(n, condition=10.0**n, norm_rel_error=1e-6, dtype=d) for n, d in enumerate(DTYPES)]
    assert law_figures(elsewhere, PLAIN, styles(elsewhere), "k") == []
    rows[-1]["condition"] = 101.0
    (figure,) = law_figures(rows, PLAIN, styles(rows), "k")
    assert [g.label for g in figure.panels[0].guides] == ["κu"]


def test_an_exact_result_lies_on_the_edge_of_a_logarithmic_panel() -> None:
    rows = [result(n, condition=10.0**n, norm_rel_error=1e-7 * n) for n in range(6)]
    (figure,) = law_figures(rows, PLAIN, styles(rows), "k")
    first = figure.panels[0].series[0].points[0]
    assert first is not None
    assert first.title == "exact at κ = 1.00"
    assert figure.panels[0].y.place(first.y) == pytest.approx(0, abs=1e-12)


# ---- speed -----------------------------------------------------------------------------------------


def test_speed_is_drawn_with_its_interval_peak_and_share() -> None:
    rows = matmul_rows()
    speed, share = speed_figures(rows, info(MATMUL), styles(rows), "k")
    assert [p.y_title for p in speed.panels] == ["GFLOP/s"] * 4
    assert [p.y_title for p in share.panels] == ["% of peak"] * 4
    panel = speed.panels[1]
    row = next(r for r in rows if r["dtype"] == "float32" and r["backend"] == "numpy" and r["axis.n"] == 64)
    point = next(p for p in panel.series[0].points if p and p.x == 64)
    assert point.y == row["gflops"]
    assert point.low == pytest.approx(row["flops"] / row["time_ci_high_s"] / 1e9, rel=1e-12)
    assert point.high == pytest.approx(row["flops"] / row["time_ci_low_s"] / 1e9, rel=1e-12)
    assert panel.note == "peak 84.0"
    assert panel.guides[0].points[0][1] == pytest.approx(84.0, rel=1e-12)
    assert all(0 <= p.y <= 100 for s in share.panels[0].series for p in s.points if p)


def test_peaks_that_differ_have_lines_of_their_own() -> None:
    assert peak_labels({"numpy": 41.0, "torch-cpu": 40.0}) == [("41.0", 41.0)]
    assert peak_labels({"numpy": 2.0, "torch-cpu": 40.0}) == [
        ("40.0 torch-cpu", 40.0),
        ("2.00 numpy", 2.0),
    ]
    assert peaks_of([{"backend": "b", "gflops": 20.0, "peak_fraction": 0.5}, {"backend": "b"}]) == {"b": 40.0}
    widened = [
        {"backend": "b", "gflops": 20.0, "peak_fraction": 0.5},
        *[{"backend": "b", "gflops": 1.0, "peak_fraction": 0.5}] * 2,
    ]
    assert peaks_of(widened) == {"b": 40.0}, "the highest, not what most rows are compared with"


def test_a_share_far_beyond_the_peak_does_not_flatten_the_others() -> None:
    assert share_scale([{"peak_fraction": 0.5}]) == LinearScale(0.0, 100.0)
    assert share_scale([{"peak_fraction": 1.1}]).place(110.0) == pytest.approx(1, rel=1e-12)
    assert share_scale([{"peak_fraction": 0.1}, {"peak_fraction": 125.0}]).kind == "logarithmic"
    assert share_scale([]).kind == "linear"


def test_time_is_drawn_where_no_work_is_known() -> None:
    rows = [
        result(n, time_median_s=1e-6 * n, time_ci_low_s=0.9e-6 * n, time_ci_high_s=1.2e-6 * n) for n in (1, 2)
    ]
    (figure,) = speed_figures(rows, PLAIN, styles(rows), "k")
    assert figure.panels[0].y_title == "time of one call (s)"
    point = figure.panels[0].series[0].points[1]
    assert point is not None
    assert (point.y, point.low, point.high) == (2e-6, 1.8e-6, 2.4e-6)


def test_hot_and_cold_times_have_figures_of_their_own() -> None:
    rows = [
        result(n, time_median_s=factor * 1e-6 * n, cache=cache, cell=f"{n}{cache}")
        for n in (1, 2)
        for cache, factor in (("hot", 1), ("cold", 3))
    ]
    hot, cold = speed_figures(rows, PLAIN, styles(rows), "k")
    for figure, factor in ((hot, 1), (cold, 3)):
        (series,) = figure.panels[0].series
        assert [p.y for p in series.points if p] == [factor * 1e-6, factor * 2e-6]
    assert hot.key != cold.key
    for told in (cold.title, cold.caption, cold.panels[0].description):
        assert "inputs cold" in told
    assert "cold" not in hot.title + hot.caption + hot.panels[0].description
    older = [{k: v for k, v in r.items() if k != "cache"} for r in rows if r["cache"] == "hot"]
    assert speed_figures(older, PLAIN, styles(rows), "k") == [hot], "runs from before there was a column"


def test_several_sizes_are_drawn_against_the_work() -> None:
    rows = [
        result(n, time_median_s=1e-3, flops=2 * n * m, gflops=n * m / 5e5, **{"axis.m": m})
        for n in (10, 1000)
        for m in (10, 50)
    ]
    (figure,) = speed_figures(rows, PLAIN, styles(rows), "k")
    assert figure.panels[0].x_title == "work of one call (flop)"
    assert len([p for p in figure.panels[0].series[0].points if p]) == 4


def test_one_size_and_no_time_make_no_figure() -> None:
    assert speed_figures([result(1, time_median_s=1e-3)], PLAIN, Styles(("f",), ("b",)), "k") == []
    assert speed_figures([], PLAIN, Styles((), ()), "k") == []


# ---- drawing ---------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def every_panel() -> list[Panel]:
    """Return the panels of all kinds of figure."""
    softmax, squares, products = softmax_rows(), least_squares_rows(), matmul_rows()
    figures: list[Figure] = [
        *digit_figures(softmax, info(SOFTMAX), styles(softmax), "a"),
        *digit_figures(gap_rows(), PLAIN, styles(gap_rows()), "b"),
        *digit_figures(squares, info(LEAST_SQUARES), styles(squares), "c"),
        *law_figures(squares, info(LEAST_SQUARES), styles(squares), "d"),
        *speed_figures(products, info(MATMUL), styles(products), "e"),
    ]
    return [panel for figure in figures for panel in figure.panels]


def test_every_panel_is_well_formed_described_and_inside_its_frame() -> None:
    panels = every_panel()
    assert len(panels) > 20
    for panel in panels:
        svg = ET.fromstring(
            panel_svg(panel, "k").replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        )
        _, _, width, height = map(float, svg.attrib["viewBox"].split())
        assert svg.attrib["role"] == "img"
        assert svg.attrib["aria-label"] == panel.title
        described = svg.find(f"{SVG}desc")
        assert described is not None
        assert described.attrib["id"] == svg.attrib["aria-describedby"]
        assert described.text
        for circle in svg.iter(f"{SVG}circle"):
            assert 0 < float(circle.attrib["cx"]) < width
            assert 0 < float(circle.attrib["cy"]) < height
        assert "nan" not in panel_svg(panel, "k").lower()


def test_no_two_tick_labels_touch_and_the_ends_are_labelled() -> None:
    for panel in every_panel():
        placed = placed_ticks(panel)
        labels = sorted((x, t.label) for t, x, labelled in placed if labelled)
        for (x1, a), (x2, b) in itertools.pairwise(labels):
            assert x1 + len(a) * CHARACTER / 2 < x2 - len(b) * CHARACTER / 2
        assert placed[0][2]
        assert placed[-1][2]


def test_text_in_a_panel_is_escaped() -> None:
    evil = "<script>alert(1)</script>\"'&"
    point = Point(1.0, 1.0, evil)
    panel = Panel(
        evil, evil, choose_scale([1, 2]), LinearScale(0, 2), (1.0, 2.0), evil, evil,
        (Series(evil, Style(0, 0), (point,)),), (Guide("law", ((1.0, 1.0), (2.0, 2.0)), evil),), (), evil,
    )  # fmt: skip
    svg = panel_svg(panel, "k")
    assert "<script" not in svg
    # label, description, title, note, two axes, guide, name of the series, point
    assert svg.count("&lt;script&gt;") == 9
    ET.fromstring(svg)


def test_an_empty_panel_says_so() -> None:
    panel = Panel(
        "d",
        "",
        choose_scale([1, 2]),
        LinearScale(0, 2),
        (1.0, 2.0),
        "x",
        "y",
        (),
        (),
        (),
        "d",
        "nothing left",
    )
    assert ">nothing left</text>" in panel_svg(panel, "k")


@pytest.mark.parametrize("formulation", range(6))
@pytest.mark.parametrize("backend", range(3))
def test_every_style_has_a_mark_of_its_own(formulation: int, backend: int) -> None:
    drawn = {(f, b): legend_svg(LegendKey("x", style=Style(f, b))) for f in range(6) for b in range(3)}
    mine = drawn.pop((formulation, backend))
    ET.fromstring(mine)
    assert mine not in drawn.values()


@pytest.mark.parametrize(
    "entry",
    [
        LegendKey("x", guide="bound"),
        LegendKey("x", guide="law"),
        LegendKey("x", guide="limit"),
        LegendKey("x", fill="ring"),
        LegendKey("overflow", outcome="overflow"),
        LegendKey("x", outcome="unheard-of"),
    ],
)
def test_every_legend_entry_has_a_picture(entry: LegendKey) -> None:
    assert len(list(ET.fromstring(legend_svg(entry)))) >= 1


def test_units_of_an_axis_come_from_the_case() -> None:
    assert info(SOFTMAX).axis("top") == AxisUnit("ln_max", "times")
    assert info(SOFTMAX).axis("n") == AxisUnit()
    assert info(SOFTMAX).axis("unknown") == AxisUnit()
