"""The HTML report: self-contained, escaped, readable without colour, and small."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.model import Differentiate, InputSpec
from harness.report.html import MOST_LISTED, page, write
from harness.store import Run
from tests.synthetic_run import (
    GAPS,
    METRICS,
    OPERATIONS,
    SOFTMAX,
    example_facts,
    example_run,
    fact,
    failing,
    gap_rows,
    least_squares_rows,
    matmul_rows,
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
    assert "unsafe" not in policy
    for kind, content in (("style", style), ("script", outline.html.rpartition("<script>")[2])):
        digest = hashlib.sha256(content.partition("</script>")[0].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_no_text_of_a_run_becomes_markup(outline: Outline) -> None:
    assert [a.get("type") for a in outline.all("script")] == ["application/json", None]
    assert len(outline.all("style")) == 1
    assert not [a for _, a in outline.elements for name in a if name.startswith("on") or name == "style"]
    known = (
        "html head meta title style script body a nav main header section h1 h2 h3 p ol ul li dl "
        "dt dd div span table caption thead tbody tr th td code small b em i strong wbr details summary "
        "figure figcaption svg desc text path circle g noscript fieldset legend label input"
    )
    # <title> names both the page and the marks of figures.
    assert {tag for tag, _ in outline.elements} <= set(known.split())


def test_links_lead_somewhere_and_ids_are_unique(outline: Outline) -> None:
    ids = set(outline.ids)
    assert len(outline.ids) == len(ids)
    for attributes in outline.all("a"):
        assert attributes["href"].removeprefix("#") in ids
    rows = json.loads(re.findall(r'id="data">(.*?)</script>', outline.html)[0])["rows"]
    assert all(int(a["data-row"]) < rows for a in outline.all("a") if "data-row" in a)
    for _, attributes in outline.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert name not in attributes or attributes[name] in ids


def test_structure_is_told_to_those_who_do_not_see_it(outline: Outline) -> None:
    headings = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count(1) == 1
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))
    assert outline.html.count("<caption>") == len(outline.all("table"))
    assert all(a.get("scope") in ("row", "rowgroup", "col") for a in outline.all("th"))
    for attributes in outline.all("svg"):
        assert attributes["class"] == "key" or {"aria-label", "aria-describedby"} <= attributes.keys()
    assert all(a.get("aria-hidden") == "true" for a in outline.all("ul") if a.get("class") == "legend")
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


def test_cold_times_are_said_to_be_cold() -> None:
    rows = matmul_rows()
    hot = page(example_run(rows))
    cold = page(example_run([{**r, "cache": "cold"} for r in rows]))
    some = page(example_run([{**r, "cache": "cold" if r["axis.n"] == 64 else "hot"} for r in rows]))
    assert "with cold inputs" not in hot
    assert "inputs cold" not in hot
    assert re.search(r"· \d+ cells timed with cold inputs ·", cold)
    assert re.search(r"· \d+ cells timed, \d+ of them with cold inputs ·", some)
    assert "inputs cold" in cold
    data = re.search(r'id="data">(.*?)</script>', cold, re.DOTALL)
    assert data is not None
    column = next(c for c in json.loads(data[1])["columns"] if c["name"] == "cache")
    assert column["texts"] == ["cold"]


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


def test_a_failure_links_to_its_row_and_has_its_worst_element_and_command() -> None:
    cell = "softmax-overflow/naive/numpy/float16/n=8,top=2"
    rows = failing(softmax_rows(), lambda r: r["cell"] == cell)
    rows = [r for r in rows if r["formulation"] != "library"] + rows[-1:]
    html = page(example_run(rows))
    number = next(n for n, r in enumerate(rows) if r["verdict"] == "fail")
    assert f'<a href="#results" data-row="{number}"><code>{cell}</code></a>' in html
    assert '<th scope="row" class="t">computed<td class="t">not a number<td class="t">—' in html
    # 1.23…e-5 is below float16's smallest normal number 2⁻¹⁴: 0.2022… of it, to 3 digits and 2 beyond.
    assert '<td class="t">0.00001234567890…<td class="t">0x0.33c81…p-14' in html
    assert f"<code>harness run cases/softmax-overflow.yaml -k {cell}</code>" in html
    assert f"<code>harness reference cases/softmax-overflow.yaml -k {cell}</code>" in html


def test_the_list_of_failures_is_bounded_and_says_so() -> None:
    rows = [{**r, "verdict": "fail", "formulation": f"f{n}"} for n, r in enumerate(softmax_rows()[:200])]
    html = page(example_run(rows))
    assert f"The first {MOST_LISTED} of 200 kinds of failure" in html
    assert len(re.findall(r'data-row="\d+"', html)) == MOST_LISTED


def test_known_defects_that_are_gone_are_listed_first() -> None:
    rows = softmax_rows()
    rows[7] |= {"reason": "fixed_upstream: pytorch#31829 no longer shows: bound_ratio 0.2 ≤ 1"}
    html = page(example_run(failing(rows, lambda r: r["dtype"] == "float16")))
    assert html.index("Fixed upstream") < html.index("Worst first")
    assert "pytorch#31829" in html


def test_known_defects_that_still_show_are_told_after_those_that_are_gone() -> None:
    rows = softmax_rows()
    rows[6] |= {"reason": "known defect pytorch#31829: outcome zeroed"}
    rows[7] |= {"reason": "fixed_upstream: numpy#8775 no longer shows: bound_ratio 0.2 ≤ 1"}
    html = page(example_run(failing(rows, lambda r: r["dtype"] == "float16")))
    told = html.index("Known defects of libraries that still show: pytorch#31829 (1 cell).")
    assert html.index("Fixed upstream") < told < html.index("Worst first")


def test_the_matrix_says_in_words_what_its_colours_show() -> None:
    html = page(example_run(softmax_rows()))
    assert html.count('<td class="f ') == 8 * 4
    assert "<b>not a number</b><small>6 of 18 cells, 3 broke otherwise, else 13.4</small>" in html
    assert "<b>—</b><small>unsupported</small>" in html
    assert "Decimal digits left" in html


def test_a_gradient_has_a_section_of_its_own() -> None:
    backward = [
        {
            **r,
            "case": "softmax-gradient",
            "mode": "backward",
            "output": "grad_x",
            "cell": f"{r['cell']}/backward",
        }
        for r in gap_rows()
    ]
    case = replace(
        GAPS, name="softmax-gradient", title="Of wide gaps",
        differentiate=Differentiate(("x",), InputSpec("cotangent", "normal", {})),
    )  # fmt: skip
    html = page(example_run([*gap_rows(), *backward], cases=(GAPS, case)))
    titles = re.findall(r'<h2 id="o\d-title">([^<]*)', html)
    assert titles == ["Softmax", "Softmax, gradient"]
    forward, of_gradient = html.split('<section id="o1"')
    assert "Of wide gaps" not in forward.partition('<section id="o0"')[2]
    # One kind of row in each, so no line and no figure has to say which.
    assert "grad_x" not in of_gradient.partition('<section id="results"')[0]


def test_cells_of_an_absent_backend_are_one_group() -> None:
    rows = softmax_rows()
    absent = [
        {**r, **skipped("unavailable: no CUDA device"), "backend": "torch-cuda", "cell": f"{r['cell']}/{n}"}
        for n in range(10)
        for r in rows
    ]
    lean, full = (page(example_run(r)) for r in (rows, [*rows, *absent]))
    assert f'<td>{len(absent):,}<th scope="row" class="t wrap">unavailable: no CUDA device' in full
    assert len(full) - len(lean) < 1500
    assert f"torch-cuda is unavailable: no CUDA device ({len(absent):,} cells)" in full


def packed(html: str) -> list[str]:
    """Return the figures of a page that its script unpacks."""
    found = re.findall(r'data-packed="([^"]*)"', html)
    return [zlib.decompress(base64.b64decode(text), -zlib.MAX_WBITS).decode() for text in found]


def test_figures_beyond_their_room_are_packed_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = example_run()
    monkeypatch.setattr("harness.report.html.FIGURE_BYTES", 10**9)
    panels = re.findall(r'<svg class="panel.*?</svg>', page(run))
    monkeypatch.setattr("harness.report.html.FIGURE_BYTES", 40_000)
    html = page(run)
    plain = re.findall(r'<svg class="panel.*?</svg>', html)
    unpacked = [svg for text in packed(html) for svg in re.findall(r'<svg class="panel.*?</svg>', text)]
    assert sum(len(svg.encode()) for svg in plain) <= 40_000
    assert sorted([*plain, *unpacked]) == sorted(panels)
    assert html.count("This figure needs JavaScript") == len(packed(html))
    assert "Not everything of this case is drawn" not in html
    assert sum(map(len, re.findall(r'data-packed="([^"]*)"', html))) < sum(map(len, unpacked)) / 3


def test_what_fits_nowhere_is_left_out_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.html.FIGURE_BYTES", 40_000)
    monkeypatch.setattr("harness.report.html.PACKED_BYTES", 2_000)
    monkeypatch.setattr("harness.report.html.MATRIX_BYTES", 4_000)
    html = page(example_run())
    assert sum(map(len, re.findall(r'data-packed="([^"]*)"', html))) <= 2_000
    assert "Not everything of this case is drawn" in html
    assert "figures left out" in html


def test_those_that_fail_have_their_figures_before_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.html.FIGURE_BYTES", 60_000)
    rows = failing(example_run().rows, lambda r: r["case"] == GAPS.name)
    sections = re.split(r'<details id="o\dc\d" class="case"', page(example_run(rows)))
    gaps = next(s for s in sections if "wide gaps</h3>" in s)
    assert '<svg class="panel' in gaps
    assert "data-packed" not in gaps


CSS = (Path(write.__code__.co_filename).parent / "templates" / "report.css").read_text(encoding="utf-8")
COLOURS = dict(re.findall(r"(--[\w-]+): light-dark\((#\w+, #\w+)\)", CSS))


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rgb` or `#rrggbb` (WCAG 2.2)."""
    digits = colour.removeprefix("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(front: str, back: str, scheme: int) -> float:
    """Return the contrast ratio of two colours of the style sheet, light (0) or dark (1)."""
    pair = [(COLOURS.get(c) or f"{c}, {c}").split(", ")[scheme] for c in (front, back)]
    high, low = sorted(map(luminance, pair), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_is_that_of_wcag_aa(scheme: int) -> None:
    backs = ("--page", "--card", "--band")
    text = [
        (f, b) for f in ("--ink", "--soft", "--link", "--good", "--bad", "--warn", "--unsure") for b in backs
    ]
    text += [("--ink", f"--{kind}-wash") for kind in ("good", "bad", "warn", "unsure")]
    text += [(f"--{kind}", f"--{kind}-wash") for kind in ("good", "bad", "warn", "unsure")]
    text += [("--soft", "--bad-wash"), ("--soft", "--unsure-wash")]
    text += [("--ink", f"--q{n}") for n in range(4)] + [("#1c1f23", "--q4")]
    text += [("--deep-ink", "--q5"), ("--deep-ink", "--q6")]
    # 4.5 for text, 3 for the marks of figures (WCAG 2.2, 1.4.3 and 1.4.11).
    assert {p: r for p in text if (r := contrast(*p, scheme)) < 4.5} == {}
    marks = [(f"--s{n}", "--card") for n in range(6)]
    assert {p: r for p in marks if (r := contrast(*p, scheme)) < 3} == {}


def test_it_follows_the_readers_colour_scheme_and_prints() -> None:
    html = page(example_run(softmax_rows()[:1]))
    assert "color-scheme: light dark;" in html
    assert ":root:has(#theme-dark:checked) { color-scheme: dark; }" in html
    assert "@media print" in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html


def test_every_colour_has_a_light_and_a_dark_value() -> None:
    for name in set(re.findall(r"var\((--\w[\w-]*)\)", CSS)) - {
        "--sans",
        "--mono",
        "--mid-ink",
        "--c",
        "--radius",
    }:
        assert re.search(rf"{name}: light-dark\(", CSS), name


def test_a_report_keeps_its_size() -> None:
    measured = [*softmax_rows(), *least_squares_rows(), *matmul_rows()]
    rows = [{**measured[n % len(measured)], "seed": n // len(measured)} for n in range(3500)]
    assert len(page(example_run(rows)).encode()) <= 1_500_000


def test_it_is_written_whole_where_it_is_asked_for(tmp_path: Path) -> None:
    run = example_run(softmax_rows()[:20])
    path = tmp_path / "report.html"
    assert write(run, path) == path
    assert path.read_text(encoding="utf-8") == page(run)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_two_pages_of_one_run_are_equal() -> None:
    assert page(example_run(gap_rows())) == page(example_run(gap_rows()))
