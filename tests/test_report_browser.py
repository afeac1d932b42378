"""The report in a browser: nothing is asked of a server, no complaint, and all of it works by keyboard.

They are skipped where no Chromium or Chrome is found; `$HARNESS_CHROMIUM` names one.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.report.html import page as page_of
from harness.report.view.element import worst_element
from harness.report.view.reproduce import reproduction
from harness.store import Run
from tests.browser import NAMES, Browser, Page, find_browser, running
from tests.synthetic_run import (
    GAPS,
    LEAST_SQUARES,
    MATMUL,
    SOFTMAX,
    example_facts,
    example_run,
    failing,
    gap_rows,
    least_squares_rows,
    matmul_rows,
    skipped,
    softmax_rows,
)

pytestmark = [
    pytest.mark.skipif(
        find_browser() is None, reason=f"no browser: $HARNESS_CHROMIUM, or one of {', '.join(NAMES)}"
    ),
    pytest.mark.xdist_group("browser"),
]

EVIL = "</script><img src=//evil.invalid/x onerror=alert(1)><b>\"'`${1}"


def hostile() -> Run:
    """Return a run whose names, reasons and ids are markup."""
    rows = [
        {
            **r,
            **{k: f"{r[k] or ''}{EVIL}" for k in ("formulation", "backend", "output", "reason", "cell")},
            f"axis.{EVIL}": EVIL,
            "worst_index": EVIL,
            "worst_computed": EVIL,
            "worst_exact": EVIL,
            "verdict": "fail",
        }
        for r in softmax_rows()[:40]
    ]
    return example_run(rows, cases=[replace(SOFTMAX, title=EVIL, path=f"cases/{EVIL}")])


def many(count: int) -> Run:
    """Return a run of so many rows: the cases repeated under other names, their numbers scattered."""
    scatter, rows, cases = random.Random(0), [], {}
    known = {c.name: c for c in (SOFTMAX, GAPS, LEAST_SQUARES, MATMUL)}
    made = [*softmax_rows(), *gap_rows(), *least_squares_rows(), *matmul_rows()]
    for number in itertools.count():
        for row in made:
            if len(rows) == count:
                return example_run(rows, example_facts(), cases=cases.values())
            name = f"{row['case']}-{number}"
            cases[name] = replace(known[row["case"]], name=name)
            scattered = {
                k: v * scatter.uniform(0.9, 1.1)
                for k, v in row.items()
                if k in ("bound_ratio", "max_ulp", "p99_ulp", "median_ulp", "norm_rel_error", "time_median_s")
                and v
            }
            rows.append({**row, **scattered, "case": name, "cell": row["cell"].replace(row["case"], name, 1)})
    raise AssertionError("unreachable")


RUNS: dict[str, Callable[[], Run]] = {
    "ordinary": example_run,
    "failing": lambda: example_run(
        failing(softmax_rows(), lambda r: r["dtype"] == "float16"), example_facts()
    ),
    "all failed": lambda: example_run(
        [
            {**r, "verdict": "fail", "outcome": "raised", "bits": None, "bound_ratio": None}
            for r in softmax_rows()
        ]
    ),
    "one cell": lambda: example_run(softmax_rows()[:1]),
    "none timed": lambda: example_run([*softmax_rows(), *gap_rows()]),
    "all skipped": lambda: example_run([{**r, **skipped("unavailable: no torch")} for r in softmax_rows()]),
    "nothing": lambda: example_run([]),
    "hostile": hostile,
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this module."""
    with running(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the file of a report by the name of its run, written once."""
    folder = tmp_path_factory.mktemp("reports")

    def file(name: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.html"
        if not path.exists():
            path.write_text(page_of(RUNS[name]()), encoding="utf-8")
        return path

    return file


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new page, which must have asked for nothing but its file and complained of nothing."""
    opened = browser.page()
    opened.size(1280)
    yield opened
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("file:///")] == []
    assert len(set(opened.requests)) <= 1


@pytest.fixture
def ordinary(page: Page, files: Callable[[str], Path]) -> Page:
    """The report of an ordinary run."""
    page.open(files("ordinary"))
    return page


def column(page: Page, name: str) -> list[str]:
    """Return what one column of the table shows, from the top."""
    script = """(name) => {
        const table = document.querySelector("#table table");
        const names = [...table.tHead.querySelectorAll("button")].map((head) => head.dataset.column);
        const at = names.indexOf(name);
        return [...table.querySelectorAll("tr[data-row]")].map((row) => row.cells[at].textContent);
    }"""
    return list(page.run(f"({script})({json.dumps(name)})"))


def head(name: str) -> str:
    """Return the selector of the head of a column."""
    return f'#table thead button[data-column="{name}"]'


def sorted_as(page: Page, name: str) -> str:
    """Return what `aria-sort` says of a column."""
    return str(page.run(f"document.querySelector('{head(name)}').closest('th').getAttribute('aria-sort')"))


def told(page: Page) -> str:
    """Return how many rows the page says there are."""
    return str(page.run("document.querySelector('.find output').textContent"))


def few_digits(row: dict[str, Any]) -> bool:
    """Return whether fewer than three digits are left."""
    return row["bits"] is not None and row["bits"] * math.log10(2) < 3


def focused(page: Page) -> str:
    """Return the words of what has the focus."""
    return str(page.run("document.activeElement.textContent || document.activeElement.placeholder || ''"))


# ---- every run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_report_opens_without_complaint_and_fits_its_window(
    page: Page, files: Callable[[str], Path], name: str, dark: bool
) -> None:
    for width in (1600, 360):
        page.size(width, dark=dark)
        page.open(files(name))
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.querySelectorAll('#table form').length") == 1
    background = page.run("getComputedStyle(document.body).backgroundColor")
    red, green, blue = map(int, re.findall(r"\d+", background)[:3])
    assert (red + green + blue < 3 * 64) is dark


def test_markup_in_names_stays_text(page: Page, files: Callable[[str], Path]) -> None:
    page.open(files("hostile"))
    page.run("document.querySelector('#table tbody button').click()")
    page.run("document.querySelector('a[data-row]').click()")
    assert page.run("document.querySelectorAll('img, b:empty, [onerror]').length") == 0
    assert EVIL in page.run("document.querySelector('.inside').textContent")


def test_it_reads_without_a_script(page: Page, files: Callable[[str], Path]) -> None:
    page.command("Emulation.setScriptExecutionDisabled", value=True)
    page.size(1280)
    page.browser.loaded.discard(page.session)
    page.command("Page.navigate", url=files("failing").absolute().as_uri())
    page.browser.until(lambda: page.session in page.browser.loaded)
    text = page.run("document.body.innerText")
    assert "144 of 558 cells failed" in text
    assert "results.csv, beside this file, holds every row" in text
    assert "harness run cases/softmax-overflow.yaml" in text
    assert page.run("document.querySelectorAll('svg.panel').length") > 0


# ---- the table -------------------------------------------------------------------------------------


def test_numbers_are_sorted_as_numbers_and_what_is_missing_comes_last(ordinary: Page) -> None:
    ordinary.click(head("max_ulp"))
    assert sorted_as(ordinary, "max_ulp") == "ascending"
    rows = [r for r in example_run().rows if r["verdict"] != "skip"]
    values = sorted(r["max_ulp"] for r in rows if r["max_ulp"] is not None)
    shown = [float(t.replace(",", "")) for t in column(ordinary, "max_ulp")]
    assert shown == pytest.approx(values[:100], rel=5e-3)  # three digits are shown
    ordinary.click(head("max_ulp"))
    assert sorted_as(ordinary, "max_ulp") == "descending"
    shown = [float(t.replace(",", "")) for t in column(ordinary, "max_ulp")]
    assert shown == pytest.approx(values[::-1][:100], rel=5e-3)
    pages = math.ceil(len(rows) / 100) - 1
    ordinary.run(
        f"for (let n = 0; n < {pages}; n++) document.querySelector('.pager button:last-of-type').click()"
    )
    assert set(column(ordinary, "max_ulp")[-50:]) == {""}, "missing values come last both ways"
    ordinary.click(head("max_ulp"))
    assert sorted_as(ordinary, "max_ulp") == "none"
    assert column(ordinary, "formulation")[0] == rows[0]["formulation"]


def test_texts_are_sorted_as_words_with_their_numbers(ordinary: Page) -> None:
    ordinary.click(head("where"))
    first = column(ordinary, "where")
    numbers = [
        [float(n) for n in re.findall(r"[\d.]+(?:E-\d+)?", text)][:1] for text in first if "gap=" in text
    ]
    assert numbers == sorted(numbers)
    assert first[0].startswith("gap=0")


def test_it_is_found_sorted_and_opened_by_keyboard_alone(ordinary: Page) -> None:
    assert ordinary.run("document.querySelector('.keys').textContent").startswith("Keys: /")
    ordinary.key("/")
    assert "digits<3" in focused(ordinary)
    ordinary.type("naive /float16 top=2")
    assert told(ordinary) == "6 of 1,318 rows"
    assert set(column(ordinary, "dtype")) == {"float16"}
    ordinary.key("ArrowDown")
    assert focused(ordinary) == "naive"
    ordinary.key("ArrowDown")
    ordinary.key("Enter")
    assert ordinary.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert "/naive/numpy/float16/n=64,top=2" in ordinary.run("document.querySelector('.inside').textContent")
    outline = ordinary.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"
    ordinary.key("Enter")
    assert ordinary.run("document.querySelectorAll('.inside').length") == 0
    ordinary.key("Escape")
    ordinary.key("Escape")
    assert told(ordinary) == "1,318 rows"
    ordinary.run(f"document.querySelector('{head('digits')}').focus()")
    ordinary.key("Enter")
    assert sorted_as(ordinary, "digits") == "ascending"
    assert ordinary.run("document.activeElement.dataset.column") == "digits", "the focus stays on the head"


def test_pages_are_turned_by_keyboard(ordinary: Page) -> None:
    ordinary.run("document.querySelector('#table tbody button').focus()")
    first = column(ordinary, "where")
    ordinary.key("PageDown")
    assert ordinary.run("document.querySelector('.pager span').textContent") == "101–200 of 1,318"
    assert column(ordinary, "where") != first
    ordinary.key("PageUp")
    assert column(ordinary, "where") == first
    ordinary.key("End")
    assert ordinary.run("document.activeElement.closest('tr').matches(':last-of-type')")


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ("bound_ratio>1", lambda r: r["bound_ratio"] is not None and r["bound_ratio"] > 1),
        ("digits<3 -naive", lambda r: "naive" not in r["cell"] and few_digits(r)),
        ("n=8", lambda r: r.get("axis.n") == 8),
        ("softmax-gaps zeroed", lambda r: r["case"] == "softmax-gaps" and r["outcome"] == "zeroed"),
        ("n=", lambda r: "n=" in r["cell"]),
        ("no-such-thing", lambda r: False),
    ],
)  # fmt: skip
def test_what_the_filter_keeps(ordinary: Page, words: str, holds: Callable[[dict[str, Any]], bool]) -> None:
    kept = sum(holds(dict(r)) for r in example_run().rows if r["verdict"] != "skip")
    ordinary.key("/")
    ordinary.type(words)
    assert told(ordinary) == f"{kept:,} of 1,318 rows"


def test_verdict_case_and_columns_can_be_chosen(page: Page, files: Callable[[str], Path]) -> None:
    page.open(files("failing"))
    choose = "(n, value) => { const s = document.querySelectorAll('.find select')[n]; s.value = value;"
    choose += " s.dispatchEvent(new Event('input', {bubbles: true})); }"
    page.run(f"({choose})(0, 'fail')")
    assert told(page) == "144 of 558 rows"
    assert set(column(page, "verdict")) == {"fail"}
    page.run(f"({choose})(1, 'softmax-overflow')")
    assert {"8", "64", "1024"} == set(column(page, "axis.n")), "the axes of a case have columns of their own"
    page.run(f"({choose})(2, 'element')")
    assert "not a number" not in column(page, "worst_computed")
    assert "nan" in column(page, "worst_computed")


# ---- rows ------------------------------------------------------------------------------------------


def test_worst_elements_and_commands_are_those_of_the_python_side(
    page: Page, files: Callable[[str], Path]
) -> None:
    run = RUNS["ordinary"]()
    page.open(files("ordinary"))
    told = page.run(
        "(() => { const r = readResults(JSON.parse(document.getElementById('data').textContent));"
        "return r.column('cell').map((cell, n) => [cell, worstElement(r, n), commandsOf(r, n)]); })()"
    )
    rows = [r for r in run.rows if r["verdict"] != "skip"]
    assert len(told) == len(rows)
    cases = run.plan.cases
    for (cell, worst, commands), row in zip(told, rows, strict=True):
        assert cell == row["cell"]
        expected = worst_element(row)
        if expected is None:
            assert worst is None
        else:
            assert worst["place"] == expected.place
            for part in ("computed", "exact"):
                spelling = getattr(expected, part)
                assert worst[part] == {"decimal": spelling.decimal, "hexadecimal": spelling.hexadecimal}
        found = reproduction(row, cases[row["case"]], cases.values(), run.header["profile"])
        assert commands == ({"run": found.run, "reference": found.reference} if found.run else None)


def test_numbers_are_spelled_as_the_python_side_spells_them(ordinary: Page) -> None:
    from harness.formats import FORMATS
    from harness.report.view.element import BEYOND, hexadecimal
    from harness.report.view.text import percent, seconds, significant

    scatter = random.Random(1)
    values = [scatter.uniform(-1, 1) * 10.0 ** scatter.randint(-320, 308) for _ in range(200)]
    values += [5e-324, 0.0, 1.0, 0.9995, 9999.5, 999.5, 1e-3, 2.0**-149, 65504.0]
    for function, expected in (("significant", significant), ("seconds", seconds), ("percent", percent)):
        small = [v for v in values if function == "significant" or 1e-12 < v < 1e6]
        assert ordinary.run(f"{json.dumps(small)}.map({function})") == [expected(v) for v in small], function
    for fmt in FORMATS.values():
        texts = [repr(v) for v in values]
        for beyond in (0, BEYOND):
            of = f"[{fmt.precision}, {fmt.exponent_min}], {beyond}"
            assert ordinary.run(f"{json.dumps(texts)}.map((t) => hexadecimal(t, {of}))") == [
                hexadecimal(t, fmt, beyond) for t in texts
            ], fmt.name


def test_a_failure_opens_its_row(page: Page, files: Callable[[str], Path]) -> None:
    page.open(files("failing"))
    cell = page.run("document.querySelector('.worst a').textContent")
    page.click(".worst a")
    assert page.run("document.querySelector('.inside code').textContent") == cell
    assert page.run("document.activeElement.closest('tr').nextElementSibling.className") == "detail"
    box = page.run(
        "(() => { const b = document.activeElement.getBoundingClientRect(); return [b.top, innerHeight]; })()"
    )
    assert 0 <= box[0] < box[1], "and it is in sight"


# ---- figures and colours ---------------------------------------------------------------------------


def test_the_marks_of_a_figure_are_read_by_keyboard(ordinary: Page) -> None:
    ordinary.run("document.querySelector('svg.panel.wide').focus()")
    read = []
    for _ in range(3):
        ordinary.key("ArrowRight")
        assert not ordinary.run("document.querySelector('.tip').hidden")
        read.append(ordinary.run("document.querySelector('.tip').textContent"))
    assert len(set(read)) == 3
    assert all(
        re.fullmatch(r"\w+ · [\w-]+: \w+: .* in [\d.,]+ (s|ms|µs|ns)(, on the front)?", r) for r in read
    ), read
    ordinary.key("Escape")
    assert ordinary.run("document.querySelector('.tip').hidden")


def test_a_packed_figure_is_there_when_its_case_is_opened(page: Page, tmp_path: Path) -> None:
    run = RUNS["ordinary"]()
    path = tmp_path / "packed.html"
    html = page_of(run)
    panels = re.findall(r'<svg class="panel.*?</svg>', html)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.report.html.FIGURE_BYTES", 0)
        path.write_text(page_of(run), encoding="utf-8")
    page.open(path)
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    page.run("new Promise((done) => setTimeout(done, 300))")
    assert page.run("document.querySelectorAll('[data-packed]').length") == 0
    assert page.run("document.querySelectorAll('svg.panel').length") >= len(panels) > 5
    assert page.run("document.querySelectorAll('.panels > .legend li').length") > 5
    first = "document.querySelector('svg.panel circle')"
    assert page.run(f"{first}.namespaceURI") == "http://www.w3.org/2000/svg"
    assert page.run(f"{first}.getBoundingClientRect().width") > 0


def test_the_colours_can_be_chosen_without_storage(ordinary: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = ordinary.run(background)
    ordinary.run("document.getElementById('theme-auto').focus()")
    ordinary.key("ArrowRight")
    ordinary.key("ArrowRight")
    dark = ordinary.run(background)
    assert dark != light
    ordinary.size(1280, dark=True)
    ordinary.click("label:has(#theme-light)")
    assert ordinary.run(background) == light, "what was chosen goes before what the system prefers"
    ordinary.click("label:has(#theme-auto)")
    assert ordinary.run(background) == dark


def test_on_paper_everything_is_open_and_light(ordinary: Page) -> None:
    ordinary.size(1280, dark=True)
    ordinary.command("Emulation.setEmulatedMedia", media="print")
    ordinary.run("dispatchEvent(new Event('beforeprint'))")
    assert ordinary.run("document.querySelectorAll('details:not([open])').length") == 0
    assert ordinary.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert ordinary.run("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_a_link_to_a_closed_case_opens_it(page: Page, files: Callable[[str], Path]) -> None:
    page.open(files("ordinary"))
    page.run(
        "for (const one of document.querySelectorAll('details.case')) one.open = false;location.hash = 'o0c1'"
    )
    page.run("new Promise((done) => setTimeout(done, 50))")
    assert page.run("document.getElementById('o0c1').open")


# ---- many rows -------------------------------------------------------------------------------------


def test_twenty_thousand_rows_stay_small_and_answer(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    path.write_text(page_of(many(20_000)), encoding="utf-8")
    assert path.stat().st_size <= 6_000_000
    page.open(path)
    assert page.run("document.querySelectorAll('#table tr[data-row]').length") == 100
    page.key("/")
    page.type("matmul float32 n=64")
    kept = int(told(page).split(" of ")[0].replace(",", ""))
    assert 0 < kept < 1000
    page.click(head("max_ulp"))
    shown = [float(t.replace(",", "")) for t in column(page, "max_ulp")]
    assert shown == sorted(shown)
    assert page.run("document.querySelectorAll('*').length") < 20_000, "rows are made when they are shown"
