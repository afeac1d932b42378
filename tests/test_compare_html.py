"""The page of a comparison: what it says, where its marks are, that nothing of others is markup."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from harness.compare.model import Comparison
from harness.report.comparison import report_text, write_comparison_reports
from harness.report.html import page
from harness.report.view.forest import (
    MOST_IMPROVED,
    MOST_ROWS,
    RatioScale,
    forest,
    mark_of,
    null_rows,
    scale_of,
    tick_text,
)
from tests import synthetic_comparison as synthetic
from tests.synthetic_run import example_run

Maker = Callable[[], Comparison]

ALL: tuple[Maker, ...] = (
    synthetic.ordinary,
    synthetic.one_pair,
    synthetic.all_passed,
    synthetic.nothing_measured,
    synthetic.no_pairs,
    synthetic.interrupted,
    synthetic.formulations,
    synthetic.hostile,
    synthetic.extreme,
)
every = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)


class Elements(HTMLParser):
    """Every element of a page: its name and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.found.append((tag, dict(attrs)))


def rows_of(html: str) -> list[list[str]]:
    """Return the texts of the table of pairs."""
    table = html[html.index('class="data sortable pairs-of"') :]
    table = table[table.index("<tbody>") : table.index("</table>")]
    lines = re.findall(r"<tr class=[^>]*>(.*)", table)
    return [
        [unescape(re.sub("<[^>]*>", "", cell)).strip() for cell in re.split("<t[hd][^>]*>", line)[1:]]
        for line in lines
    ]


# ---- the page --------------------------------------------------------------------------------------


@every
def test_a_page_stands_alone_with_or_without_a_run(make: Maker) -> None:
    for run in (None, example_run([])):
        html = page(run, make())
        elements = Elements(html).found
        assert "src" not in {name for _, attributes in elements for name in attributes}
        targets = [a["href"] for tag, a in elements if tag in ("a", "use") and a.get("href")]
        ids = [a["id"] for _, a in elements if "id" in a]
        assert len(ids) == len(set(ids))
        assert {str(t).removeprefix("#") for t in targets} <= set(map(str, ids))
        assert all(str(t).startswith("#") for t in targets)
        assert [tag for tag, _ in elements].count("h1") == 1
        assert "style" not in {name for _, attributes in elements for name in attributes}, (
            "the policy forbids it"
        )
        assert [tag for tag, _ in elements].count("script") == 1
        assert 'id="results"' not in html


def test_the_verdict_comes_first_and_the_run_of_the_head_below() -> None:
    html = page(example_run(), synthetic.ordinary())
    assert (
        "<title>6 of 40 pairs fail: 1 faster, bought with digits; 2 less accurate; 3 slower.</title>" in html
    )
    places = [
        html.index(f'id="{name}"') for name in ("comparison", "ratios", "pairs", "null", "sides", "verdict")
    ]
    assert places == sorted(places)
    assert html.count("<h1>") == 1
    assert '<h2 class="headline">' in html
    assert "All 1,318 cells are as expected." in html
    assert [tag for tag, _ in Elements(html).found].count("h1") == 1


def test_a_run_alone_is_as_it_was() -> None:
    html = page(example_run())
    assert "pairs-of" not in html.replace('querySelectorAll("table.pairs-of")', "")
    assert "<h1><span" in html


def test_four_hundred_pairs_stay_small() -> None:
    html = page(None, synthetic.many(400))
    assert len(html.encode()) <= 200_000
    assert len(rows_of(html)) == 400
    assert html.count('<use href="#f-') == MOST_ROWS
    assert "Of 398 timed pairs these are the 40 worst and most improved" in html


def test_thousands_of_pairs_and_of_long_errors_are_cut_and_counted() -> None:
    pairs = [replace(p, error=synthetic.LONG) for p in synthetic.many(400).pairs] * 5
    html = page(None, synthetic.comparison(pairs))
    assert len(rows_of(html)) == 1000
    assert "1,000 more pairs in <code>compare.csv</code>" in html
    assert len(html.encode()) <= 450_000


# ---- the table -------------------------------------------------------------------------------------


def test_the_table_holds_what_the_plot_shows() -> None:
    made = synthetic.ordinary()
    rows = rows_of(page(None, made))
    assert [row[0] for row in rows] == [pair.cell for pair in made.pairs]
    assert [row[1].split()[0] for row in rows] == [pair.verdict for pair in made.pairs]
    slow = rows[3]
    assert slow[1:6] == ["fail slower", "166 µs", "247 µs", "1.482 [1.467, 1.496]", "15.1"]
    assert slow[6].endswith("beyond 2.0%, shown again by 3 of 3 fresh sets")
    plotted = forest(made.pairs)
    assert plotted is not None
    by_cell = {row[0]: row for row in rows}
    assert all(by_cell[row.pair.cell][4] == row.ratio for row in plotted.rows)


def test_the_cell_of_the_base_is_named_where_it_is_another() -> None:
    rows = rows_of(page(None, synthetic.formulations()))
    assert all(row[0].count("/naive/") == 1 and "base: " in row[0] for row in rows)


def test_what_could_not_be_measured_says_why() -> None:
    html = page(None, synthetic.nothing_measured())
    assert 'id="ratios"' not in html
    assert "None of 7 pairs could be measured." in html
    assert all(row[6].startswith("head: MemoryError") for row in rows_of(html))
    assert "nothing says which effects are too small" in html


def test_sides_null_and_command_are_told() -> None:
    html = unescape(report_text(synthetic.ordinary(), "html"))
    assert (
        '<tr class="differs"><th scope="row" class="t">scipy<td class="t">1.17.0<td class="t">1.17.1' in html
    )
    assert "On both sides: numpy 2.4.6, torch 2.13.0." in html
    assert "Effects below 2 % (cells of 1 µs – 10 ms) or 3.1 %" in html
    assert "<code>harness compare --base 'main~1' --head here cases -k 'not float16'" in html
    assert "Exit code 1: a pair fails." in html
    assert "AMD EPYC 7763" in html


def test_nothing_of_others_is_markup() -> None:
    html = page(None, synthetic.hostile())
    elements = Elements(html).found
    assert not [tag for tag, _ in elements if tag == "img"]
    assert not [a for _, a in elements if any(name.startswith("on") for name in a)]
    assert "evil.invalid/x" in html
    assert "\x1b" not in html
    assert "\u202e" not in html


# ---- the plot --------------------------------------------------------------------------------------


def test_rows_go_from_the_slowest_to_the_fastest() -> None:
    made = forest(synthetic.ordinary().pairs)
    assert made is not None
    ratios = [row.pair.ratio for row in made.rows]
    assert ratios == sorted((r for r in ratios if r is not None), reverse=True)
    assert made.timed == len(made.rows) == 38
    assert [name for name, _ in made.marks] == ["fail", "inconclusive", "faster", "pass"]
    assert not made.cut


def test_of_many_the_worst_and_the_most_improved_are_kept() -> None:
    pairs = synthetic.many(400).pairs
    made = forest(pairs)
    assert made is not None
    assert len(made.rows) == MOST_ROWS
    kept = {row.pair.cell for row in made.rows}
    assert {p.cell for p in pairs if p.verdict != "pass" and p.ratio == p.ratio and p.ratio} <= kept
    fastest = sorted((p for p in pairs if p.ratio_high), key=lambda p: p.ratio_high or 0.0)
    assert sum(p.cell in kept for p in fastest[:MOST_IMPROVED]) == MOST_IMPROVED


def test_of_many_that_got_faster_the_fastest_are_kept() -> None:
    one = next(p for p in synthetic.ordinary().pairs if p.kind == "faster")
    ratios = [0.9 - 0.01 * n for n in range(60)]
    pairs = [
        replace(one, cell=f"{one.cell}{n}", ratio=r, ratio_low=0.99 * r, ratio_high=1.01 * r)
        for n, r in enumerate(ratios)
    ]
    made = forest(pairs)
    assert made is not None
    assert [row.pair.ratio for row in made.rows][-MOST_IMPROVED:] == ratios[-MOST_IMPROVED:]


def test_the_scale_is_logarithmic_and_one_stands_where_it_should() -> None:
    scale = RatioScale(0.5, 2.0)
    assert [scale.place(v) for v in (0.5, 1.0, 2.0)] == pytest.approx([0, 50, 100])
    assert scale.place(math.sqrt(2)) == pytest.approx(75)
    assert (scale.place(0.01), scale.place(100.0)) == (0.0, 100.0)
    assert 1.0 in scale.ticks()
    assert all(0.5 <= tick <= 2 for tick in scale.ticks())


@pytest.mark.parametrize(
    "bounds", [(0.97, 1.03), (0.6, 1.5), (0.3, 3.5), (0.01, 1.05), (1e-7, 1e7), (0.9, 900.0)]
)
def test_ticks_are_several_and_do_not_touch(bounds: tuple[float, float]) -> None:
    scale = RatioScale(*bounds)
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 12
    for a, b in pairwise(ticks):
        # 340 px wide, 6 px a character: half of each label, and a space between them.
        between = (scale.place(b) - scale.place(a)) * 3.4
        assert between >= 3 * (len(tick_text(a)) + len(tick_text(b)))


def test_every_interval_is_on_the_scale_unless_it_is_far_beyond() -> None:
    pairs = [p for p in synthetic.ordinary().pairs if p.ratio == p.ratio and p.ratio]
    scale = scale_of(pairs)
    assert all(scale.holds(p.ratio_low or 1) and scale.holds(p.ratio_high or 1) for p in pairs)
    quiet = scale_of([p for p in pairs if p.kind == "same"])
    assert quiet.high >= 1.0306**3 * 0.999
    assert quiet.high < 1.2
    far = [replace(pairs[0], ratio=500.0, ratio_low=400.0, ratio_high=600.0), *pairs[10:]]
    assert scale_of(far).high < 10
    plotted = forest(far)
    assert plotted is not None
    assert plotted.cut
    assert 'href="#fr"' in plotted.rows[0].drawing


def test_the_band_and_the_interval_are_where_their_numbers_are() -> None:
    pairs = synthetic.ordinary().pairs
    plotted = forest(pairs)
    assert plotted is not None
    scale = scale_of([row.pair for row in plotted.rows])
    for row in plotted.rows:
        pair = row.pair
        band = re.search(r'<rect class="de" x="([\d.]+)%" width="([\d.]+)%"', row.drawing)
        assert band is not None
        left, width = map(float, band.groups())
        delta = pair.threshold or 0.0
        assert left == pytest.approx(scale.place(1 / (1 + delta)), abs=0.006)
        assert left + width == pytest.approx(scale.place(1 + delta), abs=0.011)
        line = re.search(r'<line x1="([\d.]+)%" x2="([\d.]+)%"', row.drawing)
        assert line is not None
        ends = [scale.place(pair.ratio_low or 1.0), scale.place(pair.ratio_high or 1.0)]
        assert list(map(float, line.groups())) == pytest.approx(ends, abs=0.006)
        mark = re.search(rf'<use href="#f-{mark_of(pair)}" x="([\d.]+)%"', row.drawing)
        assert mark is not None
        assert float(mark[1]) == pytest.approx(scale.place(pair.ratio or 1.0), abs=0.006)
        assert row.ratio in unescape(row.drawing), "the mark tells its numbers"


def test_digits_stand_beside_the_ratio_where_they_changed() -> None:
    plotted = forest(synthetic.ordinary().pairs)
    assert plotted is not None
    assert {row.pair.kind for row in plotted.rows if row.digits} == {
        "traded", "less_accurate", "less_accurate_allowed", "more_accurate",
    }  # fmt: skip


def test_the_null_is_drawn_on_one_scale() -> None:
    rows = null_rows(synthetic.NULLS)
    deltas = [float(re.findall(r'<rect class="de" width="([\d.]+)%"', row.drawing)[0]) for row in rows]
    assert deltas == pytest.approx([100, *[100 * 0.02 / 0.0306] * 4], abs=0.01)
    assert null_rows(()) == []


def test_the_page_is_a_file_of_the_folder(tmp_path: Path) -> None:
    written = write_comparison_reports(synthetic.ordinary(), tmp_path, example_run(), ("html",))
    assert written == {"html": tmp_path / "report.html"}
    assert "All results" in written["html"].read_text(encoding="utf-8")
