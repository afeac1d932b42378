"""The HTML report: self-contained, escaped, readable without colour, and small."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.report.html import MOST_LISTED, page, write
from harness.store import Run
from tests.synthetic_run import (
    METRICS,
    OPERATIONS,
    SOFTMAX,
    example_facts,
    example_run,
    fact,
    failing,
    gap_rows,
    skipped,
    softmax_rows,
)

EVIL = "<script>alert('x')</script></style>\"'&<b>"
URL_ATTRIBUTES = {"href", "src", "action", "srcset", "data", "poster", "xlink:href", "formaction"}


class Outline(HTMLParser):
    """What a page is made of: elements with attributes, headings, text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._hidden = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag in ("script", "style"):
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        """Every id, as often as it occurs."""
        return [a["id"] for _, a in self.elements if "id" in a]

    @property
    def words(self) -> str:
        """All text that is shown, and all that is told on request."""
        told = [a[k] for _, a in self.elements for k in ("title", "aria-label", "placeholder") if k in a]
        return " ".join([*self.text, *told])


def all_failed() -> Run:
    """Return a run in which every cell raised."""
    rows = [
        {
            **r,
            "verdict": "fail",
            "outcome": "raised",
            "reason": f"raised: {EVIL}",
            "bits": None,
            "bound_ratio": None,
        }
        for r in example_run().rows
        if r["verdict"] != "skip"
    ]
    return example_run(rows)


def hostile() -> Run:
    """Return a run whose every text is markup."""
    texts = ("formulation", "backend", "output", "reason", "cell", "compute_dtype", "guide", "dtype")
    rows = [
        {
            **r,
            **{k: f"{r[k] or ''}{EVIL}" for k in texts},
            f"axis.{EVIL}": n % 7,
            "verdict": (EVIL, "fail")[n % 2],
        }
        for n, r in enumerate(softmax_rows()[:80])
    ]
    case = replace(SOFTMAX, title=EVIL, description=EVIL, topic=EVIL)
    return example_run(
        rows,
        [
            fact(
                "frontier",
                SOFTMAX.name,
                formulation=EVIL,
                backend=EVIL,
                dtype="float32",
                against=EVIL,
                reason=EVIL,
            ),
            fact("exponent", SOFTMAX.name, verdict="fail", unit=EVIL, expected=EVIL, reason=EVIL, where=EVIL),
        ],
        cases=[case],
        folder=Path(EVIL.replace("/", "")),
        environment={EVIL: {EVIL: EVIL}, "cpu": EVIL},
        metrics=[dict.fromkeys(METRICS[0], EVIL)],
        operations={"softmax": dict.fromkeys(OPERATIONS["softmax"], EVIL)},
        selection={EVIL: EVIL},
        profile=EVIL,
    )


RUNS = {
    "ordinary": example_run,
    "failing": lambda: example_run(
        failing(softmax_rows(), lambda r: r["dtype"] == "float16"), example_facts()
    ),
    "all failed": all_failed,
    "one cell": lambda: example_run(softmax_rows()[:1]),
    "no timing": lambda: example_run([*softmax_rows(), *gap_rows()]),
    "all skipped": lambda: example_run([{**r, **skipped("unavailable: no torch")} for r in softmax_rows()]),
    "nothing": lambda: example_run([]),
    "interrupted": lambda: example_run([{**r, "verdict": None} for r in softmax_rows()], finished=None),
    "hostile": hostile,
    "bare header": lambda: replace(example_run(softmax_rows()), header={"finished": None, "started": None}),
}


@pytest.fixture(scope="module", params=RUNS)
def outline(request: pytest.FixtureRequest) -> Outline:
    """The page of one of the runs."""
    return Outline(page(RUNS[request.param]()))


def test_nothing_is_asked_of_any_server(outline: Outline) -> None:
    for _, attributes in outline.elements:
        for name in URL_ATTRIBUTES & attributes.keys():
            assert attributes[name].startswith("#"), attributes
    assert not {"link", "img", "iframe", "object", "embed", "base", "audio", "video", "image", "use"} & {
        tag for tag, _ in outline.elements
    }
    (style,) = re.findall(r"<style>(.*?)</style>", outline.html, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    policy = next(
        a["content"] for a in outline.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")


def test_no_text_of_a_run_becomes_markup(outline: Outline) -> None:
    assert len(outline.all("script")) == 1
    assert len(outline.all("style")) == 1
    assert not [a for _, a in outline.elements for name in a if name.startswith("on") or name == "style"]
    known = (
        "html head meta title style script body a nav main header section h1 h2 h3 p ol ul li dl "
        "dt dd div span table caption thead tbody tr th td code small b em i strong wbr details summary "
        "figure figcaption svg desc text rect path circle"
    )
    # <title> names both the page and the marks of figures.
    assert {tag for tag, _ in outline.elements} <= set(known.split())


def test_links_lead_somewhere_and_ids_are_unique(outline: Outline) -> None:
    ids = set(outline.ids)
    assert len(outline.ids) == len(ids)
    for attributes in outline.all("a"):
        assert attributes["href"].removeprefix("#") in ids
    for _, attributes in outline.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert name not in attributes or attributes[name] in ids


def test_structure_is_told_to_those_who_do_not_see_it(outline: Outline) -> None:
    headings = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))
    assert outline.html.count("<caption>") == len(outline.all("table"))
    assert all(a.get("scope") in ("row", "col") for a in outline.all("th"))
    for attributes in outline.all("svg"):
        assert (
            attributes.get("aria-hidden") == "true" or {"aria-label", "aria-describedby"} <= attributes.keys()
        )
    assert outline.all("html")[0]["lang"] == "en"
    assert len(outline.all("main")) == len(outline.all("nav")) == 1


def test_no_number_shows_as_nan_and_nothing_as_none(outline: Outline) -> None:
    words = outline.words
    assert not re.search(r"\bnan\b", words, re.IGNORECASE)
    assert not re.search(r"\bNone\b(?! of \d)", words)
    assert "Undefined" not in words


def test_sections_come_in_order() -> None:
    ids = Outline(page(example_run())).ids
    order = [
        "verdict",
        "run",
        "o0",
        "o1",
        "o2",
        "speed",
        "frontiers",
        "facts",
        "results",
        "skipped",
        "expected",
        "environment",
        "metrics",
    ]
    assert [i for i in ids if i in order] == order


def test_sections_that_have_nothing_are_left_out() -> None:
    ids = set(Outline(page(example_run(softmax_rows()[:1]))).ids)
    assert {"speed", "frontiers", "facts", "skipped", "expected", "worst", "fixed"}.isdisjoint(ids)
    assert {"verdict", "run", "o0", "results"} <= ids


def test_the_verdict_comes_first_in_words() -> None:
    run = example_run(failing(softmax_rows(), lambda r: r["cell"].endswith("naive/numpy/float16/n=8,top=2")))
    html = page(run)
    first = html.index("<h1>")
    assert "1 of 558 cells failed: not a number." in html[first : html.index("</h1>")]
    assert "18 cells were skipped." in html
    assert html.index("softmax-overflow/naive/numpy/float16/n=8,top=2</code>") < html.index('id="run"')


def test_a_failure_links_to_its_row() -> None:
    run = example_run(failing(softmax_rows(), lambda r: r["cell"].endswith("naive/numpy/float16/n=8,top=2")))
    number = next(n for n, r in enumerate(run.rows) if r["verdict"] == "fail")
    html = page(run)
    assert f'<a href="#r{number}">' in html
    assert f'<tr id=r{number} class=fail><th scope=row title="{run.rows[number]["cell"]}">naive' in html


def test_the_list_of_failures_is_bounded_and_says_so() -> None:
    rows = [{**r, "verdict": "fail", "formulation": f"f{n}"} for n, r in enumerate(softmax_rows()[:200])]
    html = page(example_run(rows))
    assert f"The first {MOST_LISTED} of 200 kinds of failure" in html
    assert len(re.findall(r'<a href="#r\d+">', html)) == MOST_LISTED


def test_known_defects_that_are_gone_are_listed_first() -> None:
    rows = softmax_rows()
    rows[7] |= {"reason": "fixed_upstream: pytorch#31829 no longer shows: bound_ratio 0.2 ≤ 1"}
    html = page(example_run(failing(rows, lambda r: r["dtype"] == "float16")))
    assert html.index("Fixed upstream") < html.index("Worst first")
    assert "pytorch#31829" in html


def test_the_matrix_says_in_words_what_its_colours_show() -> None:
    html = page(example_run(softmax_rows()))
    labels = [a["aria-label"] for a in Outline(html).all("td") if "aria-label" in a]
    assert len(labels) == 8 * 4
    assert "not a number, 6 of 18 cells, 3 broke otherwise, else 13.4" in labels
    assert "—, unsupported: scipy.special widens bfloat16 to float64" in labels
    assert "<b>—</b><small>unsupported</small>" in html
    assert any(re.fullmatch(r"\d+\.\d digits left", label) for label in labels)


def test_every_row_is_in_the_table_and_every_number_has_all_its_digits() -> None:
    run = example_run()
    html = page(run)
    assert len(re.findall(r"<tr id=r\d+", html)) == len(run.rows)
    long = [repr(r["max_ulp"]) for r in run.rows[::7] if len(repr(r["max_ulp"] or "")) > 12]
    assert len(long) > 50
    assert all(f"<td title={number}>" in html for number in long)


def test_formulas_units_and_sources_are_those_of_the_run() -> None:
    html = page(example_run())
    for metric in METRICS:
        assert metric["title"] in html
        assert metric["source"] in html
    for operation in OPERATIONS.values():
        assert operation["bound_source"] in html
        assert operation["formula"] in html


def test_it_follows_the_readers_colour_scheme_and_prints() -> None:
    html = page(example_run(softmax_rows()[:1]))
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media print" in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html


def test_every_colour_of_the_figures_has_a_light_and_a_dark_value() -> None:
    css = (Path(write.__code__.co_filename).parent / "templates" / "report.css").read_text(encoding="utf-8")
    for name in re.findall(r"var\((--\w[\w-]*)\)", css):
        defined = len(re.findall(rf"{name}:", css))
        assert defined >= (1 if name in ("--sans", "--mono", "--dark-ink", "--light-ink", "--c") else 2), name


def test_a_thousand_rows_stay_below_a_megabyte_and_a_half() -> None:
    run = example_run()
    assert len(run.rows) >= 1000
    assert len(page(run).encode()) / len(run.rows) <= 1500


def test_it_is_written_whole_where_it_is_asked_for(tmp_path: Path) -> None:
    run = example_run(softmax_rows()[:20])
    path = tmp_path / "report.html"
    assert write(run, path) == path
    assert path.read_text(encoding="utf-8") == page(run)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_two_pages_of_one_run_are_equal() -> None:
    assert page(example_run(gap_rows())) == page(example_run(gap_rows()))
