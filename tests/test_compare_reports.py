"""Reports of a comparison: stored exactly, and told alike as CSV, JSON, JUnit, Markdown and annotations."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from harness import comparing
from harness.cli import main
from harness.compare import store
from harness.compare.model import KINDS, Comparison, Pair
from harness.errors import CouldNotMeasureError, UsageError
from harness.model import InputSpec, Written
from harness.report import formats
from harness.report.comparison import (
    FORMATS,
    IN_THE_FOLDER,
    report_text,
    write_comparison_reports,
)
from harness.report.comparison.github import commands
from harness.report.markdown import MOST_BYTES
from tests import synthetic_comparison as synthetic
from tests.synthetic_run import SOFTMAX, example_run

Maker = Callable[[], Comparison]

ALL: tuple[Maker, ...] = (
    synthetic.ordinary,
    synthetic.one_pair,
    synthetic.all_passed,
    synthetic.undecided,
    synthetic.nothing_measured,
    synthetic.no_pairs,
    synthetic.interrupted,
    synthetic.formulations,
    synthetic.hostile,
    synthetic.extreme,
    lambda: synthetic.many(400),
)
every = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)


# ---- comparison.json -------------------------------------------------------------------------------


@every
def test_a_comparison_comes_back_as_it_was(make: Maker, tmp_path: Path) -> None:
    made = make()
    assert store.write(made, tmp_path) == tmp_path / "comparison.json"
    assert store.is_comparison(tmp_path)
    back = store.read(tmp_path)
    # NaN is no member of these: equality is that of every number and text.
    assert back == made
    for ours, theirs in zip(made.pairs, back.pairs, strict=True):
        assert [type(v) for v in ours.axes.values()] == [type(v) for v in theirs.axes.values()]


def test_exact_scalars_and_texts_of_any_kind_survive(tmp_path: Path) -> None:
    axes: dict[str, Written] = {
        "top": Decimal("0.10000000000000000000000000001"),
        "n": 2**70,
        "flag": True,
        "mode": "0.10",
    }
    pair = replace(synthetic.one_pair().pairs[0], axes=axes, error="a lone \ud800 surrogate, \x00 and \u2028")
    store.write(synthetic.comparison([pair]), tmp_path)
    back = store.read(tmp_path).pairs[0]
    assert back == pair
    assert str(back.axes["top"]) == "0.10000000000000000000000000001"
    assert back.axes["flag"] is True


def test_an_old_file_is_replaced_and_none_is_left_half_written(tmp_path: Path) -> None:
    store.write(synthetic.ordinary(), tmp_path)
    store.write(synthetic.one_pair(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.json"]
    assert len(store.read(tmp_path).pairs) == 1
    with pytest.raises(CouldNotMeasureError, match="cannot write"):
        store.write(synthetic.one_pair(), tmp_path / "absent")


def test_what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    store.write(synthetic.one_pair(), tmp_path)
    path = tmp_path / store.FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    content["later"] = 1
    content["pairs"][0]["later"] = 1
    path.write_text(json.dumps(content), encoding="utf-8")
    assert store.read(tmp_path) == synthetic.one_pair()


def test_what_is_no_comparison_is_refused(tmp_path: Path) -> None:
    assert not store.is_comparison(tmp_path)
    with pytest.raises(UsageError, match=r"no folder of a comparison: it has no comparison\.json") as refused:
        store.read(tmp_path)
    assert refused.value.hint == "make one with: harness compare"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda c: c.update(schema_version=2), "schema version 2, this harness reads up to 1"),
        (lambda c: c.update(schema_version="1"), "its schema version is '1'"),
        (lambda c: c.update(schema_version=True), "its schema version is True"),
        (lambda c: c.pop("schema_version"), "KeyError: 'schema_version'"),
        (lambda c: c.pop("base"), "missing 1 required positional argument: 'base'"),
        (lambda c: c.update(pairs=3), "pairs of the file is int, not a list"),
        (lambda c: c["pairs"].append(7), "pairs of the file, item 2 is int, not an object"),
        (lambda c: c["pairs"][0].update(verdict="fine"), "is 'fine'; allowed: fail, inconclusive, pass"),
        (lambda c: c["pairs"][0].update(kind="odd"), "kind of .* is 'odd'"),
        (lambda c: c["pairs"][0].update(ratio="1.2"), "ratio of .* is str"),
        (lambda c: c["pairs"][0].update(rounds=True), "rounds of .* is bool, not int"),
        (lambda c: c["pairs"][0].update(axes=[1]), "axes of .* is list, not an object"),
        (lambda c: c.update(finished=1), "finished of the file is int, not bool"),
        (lambda c: c.update(exit_code=None), "exit_code of the file is NoneType"),
        (lambda c: c["settings"].update(x={"$decimal": "many"}), "is damaged"),
        (lambda c: c["settings"].update(x={"$type": "Odd"}), "is damaged"),
    ],
)  # fmt: skip
def test_a_damaged_file_says_where(
    tmp_path: Path, damage: Callable[[dict[str, object]], None], told: str
) -> None:
    store.write(synthetic.one_pair(), tmp_path)
    path = tmp_path / store.FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    damage(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match=told) as refused:
        store.read(tmp_path)
    assert refused.value.hint


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"schema_version": 1', "\x00", "[" * 100_000])
def test_a_file_that_is_cut_off_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / store.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="is damaged"):
        store.read(tmp_path)


# ---- all formats -----------------------------------------------------------------------------------


def test_the_names_are_those_of_a_runs_reports() -> None:
    assert set(FORMATS) <= set(formats())
    assert all(name == report.name for name, report in FORMATS.items())
    with pytest.raises(UsageError, match="a comparison has no report 'parquet'"):
        report_text(synthetic.one_pair(), "parquet")


@every
def test_reports_are_written_and_steer_no_terminal(make: Maker, tmp_path: Path) -> None:
    written = write_comparison_reports(make(), tmp_path)
    assert tuple(written) == IN_THE_FOLDER
    assert {path.name for path in tmp_path.iterdir()} == {FORMATS[name].file for name in IN_THE_FOLDER}
    steering = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
    for name in FORMATS:
        if name != "csv":  # which holds texts as they were
            assert not steering.search(report_text(make(), name)), name


# ---- CSV and JSON ----------------------------------------------------------------------------------


@every
def test_csv_holds_every_field_of_every_pair(make: Maker) -> None:
    made = make()
    rows = list(csv.DictReader(io.StringIO(report_text(made, "csv"), newline="")))
    assert len(rows) == len(made.pairs)
    names = [f.name for f in fields(Pair)]
    for row, pair in zip(rows, made.pairs, strict=True):
        assert list(row)[: len(names)] == names
        for name in names:
            value = getattr(pair, name)
            if name == "axes":
                found = json.loads(row["axes"], parse_float=Decimal)
                assert found == dict(value), "exact"
                assert {k: row[f"axis.{k}"] for k in value} == {
                    k: str(float(v) if isinstance(v, Decimal) and v % 1 else v) for k, v in value.items()
                }
            elif value is None:
                assert row[name] == ""
            elif isinstance(value, float):
                assert float(row[name]) == value, "to the last digit"
            else:
                assert row[name] == str(value)


def test_json_is_machine_output_as_everywhere() -> None:
    made = synthetic.ordinary()
    content = json.loads(report_text(made, "json"))
    assert content["schema_version"] == 1
    assert list(content)[-1] == "cells"
    assert [cell["cell"] for cell in content["cells"]] == [pair.cell for pair in made.pairs]
    assert [cell["verdict"] for cell in content["cells"]] == [pair.verdict for pair in made.pairs]
    assert content["counts"] == {"fail": 6, "inconclusive": 5, "pass": 29}
    assert content["verdict"] == "fail"
    assert content["exit_code"] == 1
    assert content["base"]["spec"] == "main~1"
    assert content["nulls"][0]["threshold"] == 0.0306
    assert json.loads(report_text(synthetic.extreme(), "json"))["cells"][1]["ratio_high"] == "inf"


# ---- JUnit -----------------------------------------------------------------------------------------


@every
def test_junit_counts_what_it_holds(make: Maker) -> None:
    made = make()
    suite = Xml.fromstring(report_text(made, "junit"))
    verdicts = [pair.verdict for pair in made.pairs]
    assert suite.get("tests") == str(len(verdicts)) == str(len(suite.findall("testcase")))
    assert suite.get("failures") == str(verdicts.count("fail")) == str(len(suite.findall("testcase/failure")))
    assert (
        suite.get("errors")
        == str(verdicts.count("inconclusive"))
        == str(len(suite.findall("testcase/error")))
    )


def test_junit_names_the_cell_and_tells_why() -> None:
    made = synthetic.ordinary()
    suite = Xml.fromstring(report_text(made, "junit"))
    by_name = {f"{case.get('classname')}/{case.get('name')}": case for case in suite.findall("testcase")}
    slow = next(pair for pair in made.pairs if pair.kind == "slower")
    case = by_name[slow.cell]
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("type") == "slower"
    assert str(failure.get("message")).startswith("slower: 1.482 × [1.467, 1.496]")
    found = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert float(str(found["ratio"])) == slow.ratio
    assert float(str(found["head_s"])) == slow.head_s
    assert float(str(case.get("time"))) == pytest.approx(slow.head_s, abs=1e-9)
    quiet = next(pair for pair in made.pairs if pair.kind == "same")
    assert [child.tag for child in by_name[quiet.cell]] == ["properties"]
    allowed = next(pair for pair in made.pairs if pair.kind == "less_accurate_allowed")
    assert "which is allowed" in str(by_name[allowed.cell].findtext("system-out"))
    facts = {p.get("name"): p.get("value") for p in suite.findall("properties/property")}
    assert str(facts["verdict"]).startswith("6 of 40 pairs fail")
    assert "not gated here" in str(facts["null"])


def test_junit_names_the_other_cell_where_sides_differ_in_a_coordinate() -> None:
    made = synthetic.formulations()
    suite = Xml.fromstring(report_text(made, "junit"))
    names = [case.get("name") for case in suite.findall("testcase")]
    assert all(
        f" against {pair.base_cell}" in str(name) for pair, name in zip(made.pairs, names, strict=True)
    )


# ---- Markdown --------------------------------------------------------------------------------------


@every
def test_markdown_begins_with_the_verdict_and_fits(make: Maker) -> None:
    made = make()
    text = report_text(made, "markdown")
    assert len(text.encode()) <= MOST_BYTES
    assert re.match(r"# (✅|❔|❌) ", text)
    assert f"Exit code {made.exit_code}" in text
    assert "harness compare --base" in text


def test_markdown_puts_the_worst_first_and_folds_what_passed() -> None:
    made = synthetic.ordinary()
    text = report_text(made, "markdown")
    assert text.startswith(
        "# ❌ 6 of 40 pairs fail: 1 faster, bought with digits; 2 less accurate; 3 slower.\n"
    )
    before, _, folded = text.partition("<details><summary>29 pairs passed</summary>")
    shown = [f"| `{pair.cell}` |" for pair in made.pairs]
    places = [text.index(cell) for cell in shown]
    assert places == sorted(places)
    for cell, pair in zip(shown, made.pairs, strict=True):
        assert cell in (folded if pair.verdict == "pass" else before)
    line = "| 166 µs | 247 µs | 1.482 \\[1.467, 1.496\\] | 15.1 | **fail**: slower |"
    assert line in before
    assert "14.1 → 10.0 | **fail**: faster, bought with digits |" in before
    assert "scipy | 1.17.0 | 1.17.1" in before
    assert (
        "Effects below 2 % (cells of 1 µs – 10 ms) or 3.1 % (cells of 100 ns – 1 µs) are not gated here."
        in before
    )
    assert "| 1–10 µs | 11 | 0.61 % | 1.7 % | **2 %** |" in before


def test_what_both_sides_have_stands_below_the_table() -> None:
    text = report_text(synthetic.formulations(), "markdown")
    assert (
        "\n| formulation | naive | shifted |\n\nOn both: numpy 2.4.6, scipy 1.17.1, torch 2.13.0.\n" in text
    )
    assert all(line.endswith(" |") for line in text.split("\n") if line.startswith("| "))


def test_thousands_of_failures_are_cut_and_counted() -> None:
    pairs = [replace(pair, verdict="fail", kind="slower") for pair in synthetic.many(400).pairs] * 10
    text = report_text(synthetic.comparison(pairs), "markdown")
    assert len(text.encode()) <= MOST_BYTES
    assert "*3,950 more pairs not listed here" in text


def test_what_passed_is_told_as_far_as_there_is_room() -> None:
    pairs = [replace(p, cell=f"{p.cell}/{'x' * 300}{n}") for n, p in enumerate(synthetic.many(400).pairs)]
    text = report_text(synthetic.comparison(pairs), "markdown")
    assert MOST_BYTES * 0.9 < len(text.encode()) <= MOST_BYTES
    shown = len(re.findall(r"(?m)^\| `", text.partition("<details>")[2]))
    assert 100 < shown < 200
    assert f"*{389 - shown} more pairs in report.html and compare.csv.*" in text


def test_markdown_holds_no_markup_of_others() -> None:
    text = report_text(synthetic.hostile(), "markdown")
    outside = re.sub(r"(`+).*?\1", "", text)
    assert "<img" not in outside.replace("\\<", "")
    assert "<script" not in outside.replace("\\<", "")
    assert "|*_[x]" not in outside


# ---- annotations -----------------------------------------------------------------------------------


def test_an_annotation_for_each_pair_that_did_not_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    made = synthetic.ordinary()
    told = commands(made, {SOFTMAX.name: replace(SOFTMAX, path=str(tmp_path / "cases" / "softmax.yaml"))})
    assert [line.partition(" ")[0] for line in told] == ["::error"] * 6 + ["::warning"] * 5
    for line, pair in zip(told, [p for p in made.pairs if p.verdict != "pass"], strict=True):
        assert pair.cell in line
        assert ("file=cases/softmax.yaml" in line) is (pair.case == SOFTMAX.name)
    assert "title=Slower%3A softmax-overflow::" in told[3]
    assert "1.482 × [1.467, 1.496]" in told[3]
    assert "digits left 14.1 → 10.0" in told[0]


def test_annotations_point_at_the_line_of_the_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    inputs = (InputSpec("x", "normal", {}, line=19), InputSpec("y", "normal", {}, line=12))
    case = replace(SOFTMAX, path=str(tmp_path / "all.yaml"), inputs=inputs)
    told = commands(synthetic.ordinary(), {SOFTMAX.name: case})
    assert "::error file=all.yaml,line=12,title=" in told[0]


def test_annotations_are_ten_of_a_kind_and_none_where_all_passed() -> None:
    assert commands(synthetic.all_passed()) == []
    pairs = [replace(pair, verdict="fail", kind="slower") for pair in synthetic.ordinary().pairs]
    told = commands(synthetic.comparison(pairs))
    assert len(told) == 10
    assert "31 more errors not shown here: see compare.md and report.html" in told[-1]


def test_pairs_that_an_interruption_left_are_told_together() -> None:
    told = commands(synthetic.interrupted())
    assert len(told) == 4
    assert told[-1] == (
        "::warning title=No complete comparison::This comparison was interrupted: 12 of 40 pairs were "
        "measured. 3 are slower; 1 has other digits, within what is allowed; 8 show no difference."
    )


def test_no_annotation_is_forged() -> None:
    for line in commands(synthetic.hostile()):
        assert re.fullmatch(r"::(error|warning) title=[^\n]*", line)
        assert line.count("\n") == 0


# ---- again, from the folder ------------------------------------------------------------------------


def test_reports_are_written_again_from_the_folder(tmp_path: Path) -> None:
    made = synthetic.ordinary()
    store.write(made, tmp_path)
    assert comparing.load(tmp_path) == made
    assert comparing.head_of(tmp_path) is None
    written = comparing.report(tmp_path)
    first = {name: path.read_bytes() for name, path in written.items()}
    assert {name: path.read_bytes() for name, path in comparing.report(tmp_path).items()} == first
    assert list(comparing.report(tmp_path, ("csv",))) == ["csv"]


def test_the_command_line_reports_a_comparison(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store.write(synthetic.ordinary(), tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    assert capfd.readouterr().out.split() == [str(tmp_path / FORMATS[n].file) for n in IN_THE_FOLDER]
    assert main(["report", str(tmp_path), "--format", "json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["cells"]) == 40
    assert main(["report", str(tmp_path), "--format", "github"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("6 of 40 pairs fail")
    assert out.count("\n::error ") == 6
    assert main(["report", str(tmp_path), "--format", "markdown", "--out", str(tmp_path / "x.md")]) == 0
    assert (tmp_path / "x.md").read_text(encoding="utf-8") == report_text(synthetic.ordinary(), "markdown")
    for words, told in (
        (["--format", "parquet"], "a comparison has no report 'parquet'"),
        (["--baseline", "b"], "it has a base, and no baseline"),
        (["--out", "x"], "--out takes one format"),
    ):
        assert main(["report", str(tmp_path), *words]) == 2
        assert told in capfd.readouterr().err


def test_every_kind_has_a_verdict_in_these_tests() -> None:
    assert {pair.kind for pair in synthetic.ordinary().pairs} == set(KINDS)
    assert example_run().rows, "the run below a comparison's page"
