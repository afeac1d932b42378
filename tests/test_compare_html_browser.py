"""The page of a comparison in a browser: on any width, by keyboard, without a complaint.

They are skipped where no Chromium or Chrome is found; `$HARNESS_CHROMIUM` names one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.report.html import page as page_of
from tests import synthetic_comparison as synthetic
from tests.browser import NAMES, Browser, Page, find_browser, running
from tests.synthetic_run import example_run

pytestmark = [
    pytest.mark.skipif(
        find_browser() is None, reason=f"no browser: $HARNESS_CHROMIUM, or one of {', '.join(NAMES)}"
    ),
    pytest.mark.xdist_group("browser"),
]

PAGES: dict[str, Callable[[], str]] = {
    "ordinary": lambda: page_of(None, synthetic.ordinary()),
    "with a run": lambda: page_of(example_run(), synthetic.ordinary()),
    "many": lambda: page_of(None, synthetic.many(400)),
    "one": lambda: page_of(None, synthetic.one_pair()),
    "nothing": lambda: page_of(None, synthetic.nothing_measured()),
    "no pairs": lambda: page_of(None, synthetic.no_pairs()),
    "extreme": lambda: page_of(None, synthetic.extreme()),
    "hostile": lambda: page_of(None, synthetic.hostile()),
}
ROWS = "[...document.querySelectorAll('.pairs-of tbody tr:not([hidden])')]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this module."""
    with running(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the file of a page by its name, written once."""
    folder = tmp_path_factory.mktemp("pages")

    def file(name: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.html"
        if not path.exists():
            path.write_text(PAGES[name](), encoding="utf-8")
        return path

    return file


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new page, which must have asked for nothing but its file and complained of nothing."""
    opened = browser.page()
    opened.size(1280)
    yield opened
    assert opened.complaints == []
    assert len(set(opened.requests)) <= 1


@pytest.fixture
def ordinary(page: Page, files: Callable[[str], Path]) -> Page:
    """The page of forty pairs, open."""
    page.open(files("ordinary"))
    return page


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [380, 800, 1400])
def test_it_fits_the_window(page: Page, files: Callable[[str], Path], name: str, width: int) -> None:
    page.size(width, dark=width == 800)
    page.open(files(name))
    assert page.run("document.documentElement.scrollWidth") <= width
    # Nothing of the plot leaves its frame, and no row lies on another.
    outside = page.run(
        "[...document.querySelectorAll('.forest')].flatMap((f) => { const o = f.getBoundingClientRect();"
        "return [...f.querySelectorAll('use, line, text, code, b, em')].filter((e) => {"
        "const b = e.getBoundingClientRect(); return b.width && (b.left < o.left || b.right > o.right); })"
        ".map((e) => e.outerHTML); })"
    )
    assert outside == []
    tops = page.run(
        "[...document.querySelectorAll('.forest ol > li')].map((e) => e.getBoundingClientRect().top)"
    )
    assert tops == sorted(tops)


def test_marks_lie_where_the_axis_says(ordinary: Page) -> None:
    """Pixels of a mark, read on the axis between the labels 1 and 0.8, give its ratio."""
    found = ordinary.run(
        "(() => { const middle = (e) => { const b = e.getBoundingClientRect(); return b.x + b.width / 2; };"
        "const labels = [...document.querySelectorAll('.axis text')];"
        "const label = (text) => middle(labels.find((e) => e.textContent === text));"
        "const rows = [...document.querySelectorAll('.forest ol > li:not([aria-hidden])')];"
        "return [label('1'), label('0.8'), rows.map((r) => [parseFloat(r.querySelector('b').textContent),"
        "middle(r.querySelector('[data-n] use'))])]; })()"
    )
    one, four_fifths, rows = found
    assert len(rows) == 38
    for ratio, x in rows:
        read = math.exp((x - one) / (four_fifths - one) * math.log(0.8))
        # The triangle's middle is 1 px beside its place; a pixel is 0.4 % of a ratio here, 0.001 is rounding.
        assert read == pytest.approx(ratio, rel=0.012), ratio


def test_the_plot_is_read_by_keyboard_from_the_slowest(ordinary: Page) -> None:
    ordinary.run("document.querySelector('.forest').focus()")
    read = []
    for _ in range(3):
        ordinary.key("ArrowDown")
        read.append(ordinary.run("document.querySelector('.tip').textContent"))
    assert [text.split(" [")[0] for text in read] == ["slower: 1.482", "slower: 1.127", "slower: 1.052"]
    assert "180 rounds of" in read[0]
    ordinary.key("End")
    assert ordinary.run("document.querySelector('.tip').textContent").startswith("faster: 0.520")
    top = ordinary.run("document.querySelector('.current').getBoundingClientRect().top")
    assert 0 <= top <= 900, "what is told is in sight"
    ordinary.key("Escape")
    assert ordinary.run("document.querySelector('.tip').hidden")


def test_the_table_is_filtered_and_sorted(ordinary: Page) -> None:
    told = "document.querySelector('#pairs .find output').textContent"
    assert ordinary.run(told) == "40 pairs"
    ordinary.run("document.querySelector('#pairs .find input').focus()")
    ordinary.type("softmax -torch")
    shown = ordinary.run(f"{ROWS}.map((r) => r.cells[0].textContent)")
    assert ordinary.run(told) == f"{len(shown)} of 40 pairs"
    expected = [p.cell for p in synthetic.ordinary().pairs if "softmax" in p.cell and "torch" not in p.cell]
    assert shown == expected
    ordinary.run(
        "(() => { const s = document.querySelector('#pairs .find select'); s.value = 'fail';"
        "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert ordinary.run(f"{ROWS}.every((r) => r.className === 'fail')")
    ordinary.run("document.querySelector('#pairs form').reset()")
    ordinary.run("document.querySelector('#pairs form').dispatchEvent(new Event('input'))")
    ordinary.run("document.querySelectorAll('.pairs-of thead button')[2].click()")
    texts = ordinary.run(f"{ROWS}.map((r) => r.cells[2].textContent)")
    units = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3}
    times = [float(t.split()[0]) * units[t.split()[1]] for t in texts if t != "—"]
    assert times == sorted(times), "times are sorted across their units"
    assert texts[-2:] == ["—", "—"]


def test_with_a_run_both_tables_work(page: Page, files: Callable[[str], Path]) -> None:
    page.open(files("with a run"))
    page.key("/")
    page.type("matmul float32 n=64")
    assert page.run("document.querySelector('#results .find output').textContent").endswith("of 1,318 rows")
    assert page.run("document.querySelector('#pairs .find output').textContent") == "40 pairs"


def test_on_paper_all_of_it_is_there(ordinary: Page) -> None:
    ordinary.command("Emulation.setEmulatedMedia", media="print")
    assert ordinary.run("document.querySelector('#pairs .scroll').scrollHeight") == ordinary.run(
        "document.querySelector('#pairs .scroll').clientHeight"
    )
    assert ordinary.run("getComputedStyle(document.querySelector('#pairs .find')).display") == "none"
