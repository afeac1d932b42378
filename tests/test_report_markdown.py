"""The Markdown summary: valid tables, nothing unescaped, never above 1 MiB."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.markdown import MOST_BYTES, MOST_LISTED, code, escaped, table, text_of_run, write
from tests.synthetic_run import SOFTMAX, example_facts, example_run, failing, row, skipped, softmax_rows
from tests.test_report_html import RUNS

UNESCAPED_COLUMN = re.compile(r"(?<!\\)(?:\\\\)*\|")


def tables(markdown: str) -> list[list[str]]:
    """Return the tables of a text, each as its lines."""
    found: list[list[str]] = []
    inside = False
    for line in markdown.split("\n"):
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append(line)
        inside = line.startswith("|")
    return found


@pytest.mark.parametrize("name", RUNS)
def test_every_line_of_a_table_has_as_many_fields_as_its_head(name: str) -> None:
    for lines in tables(text_of_run(RUNS[name]())):
        fields = [len(UNESCAPED_COLUMN.findall(line)) for line in lines]
        assert len(set(fields)) == 1, lines
        assert re.fullmatch(r"\|( (---|---:) \|)+", lines[1])


@pytest.mark.parametrize("name", RUNS)
def test_no_text_of_a_run_becomes_html(name: str) -> None:
    without_code = re.sub(r"(`+).*?\1", "", text_of_run(RUNS[name]()))
    assert set(re.findall(r"(?<!\\)<[^>]*>", without_code)) <= {"<br>"}
    assert not re.search(r"\bnan\b|\bNone\b(?! of)", without_code)


def test_it_opens_with_the_verdict_and_the_counts() -> None:
    run = example_run(failing(softmax_rows(), lambda r: r["cell"].endswith("naive/numpy/float16/n=8,top=2")))
    lines = text_of_run(run).split("\n")
    assert lines[0] == "# ❌ 1 of 558 cells failed: not a number."
    assert "| 557 | 1 | 0 | 0 | 18 |" in lines
    assert lines.index("## Worst first") < lines.index("## Digits left")


def test_the_matrix_shows_digits_or_what_broke() -> None:
    text = text_of_run(example_run(softmax_rows()))
    head = "| formulation | backend | float64 (holds 16.0) | float32 (holds 7.2) | float16 (holds 3.3) |"
    assert head in text
    assert "| naive | numpy | not a number<br>6 of 18 cells, 3 broke otherwise, else 13.4 |" in text
    assert re.search(r"\| shifted \| torch-cpu \| \*\*1\d\.\d\*\* \|", text)


def test_frontiers_and_environment_are_there() -> None:
    text = text_of_run(example_run())
    assert "**Softmax of large logits**: first bad top (× ln Ω)" in text
    assert "| naive | numpy | 0.99 | 0.99 | 0.99 | 0.99 |" in text
    assert "| machine | AMD EPYC 7763 64-Core Processor, 2 cores, Linux-6.1.0-x86\\_64 |" in text


def test_known_defects_that_still_show_are_told_after_those_that_are_gone() -> None:
    rows = softmax_rows()
    rows[6] |= {"reason": "known defect pytorch#31829: outcome zeroed"}
    rows[7] |= {"reason": "fixed_upstream: numpy#8775 no longer shows: bound_ratio 0.2 ≤ 1"}
    text = text_of_run(example_run(rows))
    told = text.index(r"**Known defects of libraries that still show**: pytorch\#31829 (1 cell).")
    assert text.index("## Fixed upstream") < told < text.index("## Digits left")
    assert "still show" not in text_of_run(example_run(softmax_rows()))


def test_failures_are_bounded_and_the_rest_is_counted() -> None:
    rows = [{**r, "verdict": "fail", "formulation": f"f{n}"} for n, r in enumerate(softmax_rows()[:170])]
    text = text_of_run(example_run(rows))
    assert "*120 more kinds not listed here; report.html has every row.*" in text
    worst = tables(text)[1]
    assert len(worst) == 2 + MOST_LISTED


def test_it_never_exceeds_what_a_job_summary_can_show() -> None:
    def wide(n: int) -> dict[str, Any]:
        reason = f"raised: {'é' * 5000}"
        made = row(SOFTMAX, f"{n:05d}{'x' * 300}", "numpy", "float64", {"n": n}, "p", outcome="raised")
        return made | {"verdict": "fail", "reason": reason, "operation": f"operation {n % 40}"}

    rows = [wide(n) for n in range(4000)] + [
        {**r, **skipped(f"unavailable: {n} {'y' * 900}")} for n, r in enumerate(softmax_rows())
    ]
    text = text_of_run(example_run(rows))
    assert 0 < len(text.encode()) <= MOST_BYTES
    assert "left out, for this summary is full" in text
    assert "## Environment" in text


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_escaped_text_holds_no_markup(text: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>#|~$]", shown.replace("&#64;", "").replace("&amp;", ""))


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_code_span_is_closed_by_its_own_fence_only(text: str) -> None:
    span = code(text)
    fence = re.match(r"`+", span)
    assert fence is not None
    inner = span[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall(r"`+", inner)
    assert not UNESCAPED_COLUMN.search(inner.replace("\\\\", ""))


def test_examples_of_escaping() -> None:
    assert escaped("a|b *c* <d> @e & f\ng") == "a\\|b \\*c\\* \\<d\\> &#64;e &amp; f g"
    assert code("a|b") == "`a\\|b`"
    assert code("a`b") == "`` a`b ``"
    assert table(["a", "b"], "lr", [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_it_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    run = example_run(softmax_rows()[:3], example_facts())
    assert write(run, tmp_path / "summary.md").read_text(encoding="utf-8") == text_of_run(run)
