"""The pages of the guide, built right from results made up here."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from harness import catalogue
from harness.guide import ROWS
from harness.model import Axis, Case, Cell, InputSpec, Rule, cell_id

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"


@pytest.fixture(scope="module", autouse=True)
def _modules() -> Iterator[None]:
    """Let the two modules of `docs/` be imported."""
    catalogue.load()
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(ROOT / "docs"))
    yield
    patch.undo()


@pytest.fixture
def pages() -> Any:
    return importlib.import_module("guide_pages")


@pytest.fixture
def results() -> Any:
    return importlib.import_module("guide_results")


TOP = Axis("top", (Decimal("0.5"), Decimal("0.99"), 2, 4), frozenset(), unit="ln_max", kind="times")
N = Axis("n", (8, 16), frozenset())
SOURCE = Axis("source", ("float16", "bfloat16"), frozenset())


def case(*axes: Axis, name: str = "made-up", guide: tuple[str, ...] = ("NM4",), **more: Any) -> Case:
    inputs = (InputSpec("x", "linspace", {}),)
    path = str(ROOT / "cases" / f"{name}.yaml")
    more.setdefault("topic", "stability")
    return Case(
        name, "Made *up*", operation="softmax", inputs=inputs, guide=guide, axes=axes, path=path, **more
    )


@pytest.fixture
def result(results: Any) -> Any:
    def made(
        outcome: str | None = "ok", ratio: float | None = 0.5, bits: float | None = None, **more: Any
    ) -> Any:
        of: Case = more.pop("of", case(TOP))
        names = {"formulation": "naive", "backend": "numpy", "dtype": "float64", "mode": "forward"}
        names = {key: more.pop(key, default) for key, default in names.items()}
        output, outputs = more.pop("output", "p"), more.pop("outputs", ("p",))
        identity = cell_id(
            of.name, names["formulation"], names["backend"], names["dtype"], more, names["mode"]
        )
        cell = Cell(
            id=identity, case=of.name, operation="softmax", axes=more, profile="quick", problem="p",
            topic=of.topic, guide=of.guide, seed=0, outputs=outputs, **names,
        )  # fmt: skip
        row = {"cell": identity, "output": output, "outcome": outcome, "bound_ratio": ratio, "bits": bits}
        return results.Result(cell, of, row)

    return made


NBSP = "\u00a0"


def test_an_edge_lies_between_the_last_good_and_the_first_bad_value(result: Any, results: Any) -> None:
    def told(*bad: int) -> str:
        found = [
            result("not_a_number" if i in bad else "ok", top=v, dtype="float32")
            for i, v in enumerate(TOP.values)
        ]
        return str(results.broken_at(found[::-1], TOP)).replace(NBSP, " ")

    # ln Ω of float32 is 88.7228; its multiples are rounded to the grid away from 1 ×
    assert told() == "holds"
    assert told(2, 3) == "87.84 → 177.4: NaN"
    assert told(0) == "NaN to 44.36, holds from 87.84"
    assert told(0, 3) == "NaN to 44.36, holds from 87.84, NaN from 354.9"
    assert told(0, 2, 3) == "NaN to 44.36, holds at 87.84, NaN from 177.4"
    assert told(0, 1, 2) == "NaN to 177.4, holds at 354.9"
    assert told(2) == "87.84 → 177.4: NaN, in part"
    assert told(0, 1, 2, 3) == "everywhere: NaN"


def test_what_comes_after_the_edge_is_told_from_where(result: Any, results: Any) -> None:
    outcomes = ["ok", "zeroed", "not_a_number", "not_a_number"]
    found = [result(o, top=v, dtype="float32") for o, v in zip(outcomes, TOP.values, strict=True)]
    assert results.broken_at(found, TOP).replace(NBSP, " ") == "44.36 → 87.84: zeroed, NaN from 177.4"
    assert results.broken_at(found[1:], TOP) == "everywhere: zeroed, NaN from 177.4"
    down = [result(o, top=v, dtype="float32") for o, v in zip(outcomes[::-1], TOP.values, strict=True)]
    assert results.broken_at(down, TOP).replace(NBSP, " ") == (
        "NaN to 87.84, zeroed to 177.4, holds at 354.9"
    )


def test_a_sweep_goes_the_way_it_is_written(result: Any, results: Any) -> None:
    p = Axis("p", (Decimal("0.5"), Decimal("1E-10"), Decimal("1E-20")), frozenset())
    of = case(p)
    found = [result(o, of=of, p=v) for o, v in zip(("ok", "zeroed", "overflow"), p.values, strict=True)]
    assert results.along(of, p, found) == ", along `p` = 0.5, 1e−10, 1e−20"
    assert results.broken_at(found, p).replace(NBSP, " ") == "0.5 → 1e−10: zeroed, overflow from 1e−20"
    assert results.broken_at(found[1:], p) == "everywhere: zeroed, overflow from 1e−20"
    mixed = Axis("p", (1, 3, 2), frozenset())
    found = [result(o, of=case(mixed), p=v) for o, v in (("ok", 1), ("zeroed", 3), ("ok", 2))]
    assert results.broken_at(found, mixed).replace(NBSP, " ") == "2 → 3: zeroed"


def test_a_sweep_that_goes_to_and_fro_is_told_upwards(result: Any, results: Any) -> None:
    p = Axis("p", (Decimal("1E-6"), 2, *(Decimal(i) / 10 for i in range(1, 9)), Decimal("1E-9")), frozenset())
    found = [result(of=case(p), p=v) for v in p.values]
    assert results.along(case(p), p, found) == ", along `p` = 1e−9 … 2 (11 values)"
    of = case(Axis("p", (Decimal("0.5"), Decimal("0.1"), 2), frozenset()))  # the last is of another profile
    found = [result(o, of=of, p=v) for o, v in zip(("ok", "zeroed"), of.axes[0].values, strict=False)]
    assert results.along(of, of.axes[0], found) == ", along `p` = 0.5, 0.1"
    assert results.broken_at(found, of.axes[0]).replace(NBSP, " ") == "0.5 → 0.1: zeroed"


def test_what_is_within_its_bound_without_a_digit_does_not_hold(
    pages: Any, result: Any, results: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        result(bits=53.0, top=TOP.values[0]),
        result("ok", None, bits=0.0, top=TOP.values[1]),  # the bound is infinite
        result("ok", 0.5, bits=0.1, top=2),  # 0.03 digits
        result("not_a_number", None, top=4),
    ]
    told = "351.3 → 702.7: no digit left, NaN from 2839"
    assert results.broken_at(found, TOP).replace(NBSP, " ").replace("354.9", "351.3") == told
    assert results.broken_at(found[1:2], None) == "no digit left"
    assert results.digits(found) == "0.0 – 16.0 †"
    text = "\n".join(pages.break_tables(found[:2]))
    assert "no digit left |" in text
    assert "wherever measured" not in text
    assert results.broken_at([result(bits=0.2, top=2)], None) == "holds"  # 0.06
    monkeypatch.setattr(results, "WITHOUT_DIGITS", {"softmax": "they are made up"})
    assert results.broken_at(found[1:2], None) == "holds"
    assert list(pages.digits_tables(found)) == ["Digits of `softmax` say nothing: they are made up.\n"]


def test_points_have_the_units_of_their_axes(result: Any, results: Any) -> None:
    low, high = (Axis(n, (v, 1), frozenset(), unit="max", kind="times") for n, v in (("a", -1), ("b", 2)))
    power = Axis("c", (Decimal("-0.5"), -1), frozenset(), unit="unit_roundoff", kind="powers")
    of = case(low, high, power, zipped=(("a", "b", "c"),))
    points = [{"a": low.values[i], "b": high.values[i], "c": power.values[i]} for i in range(2)]
    found = [result("overflow" if i else "ok", of=of, **points[i]) for i in range(2)]
    assert results.broken_at(found, None) == "\\[1 × Ω, 1 × Ω, u^−1\\]: overflow"


def test_many_operations_have_a_line_each(pages: Any, result: Any) -> None:
    found = [result(top=1), result(formulation="shifted", top=1)]
    assert "\n  - `shifted`: exp(x − max) / Σ exp(x − max)" in "\n".join(pages.operations(found))


def test_axes_that_advance_together_are_one_sweep(result: Any, results: Any) -> None:
    n, k = Axis("n", (8, 34, 170), frozenset()), Axis("k", (4, 17, 85), frozenset())
    of = case(n, k, zipped=(("n", "k"),))
    found = [result("overflow" if i == 2 else "ok", of=of, n=n.values[i], k=k.values[i]) for i in range(3)]
    assert results.swept(of, found) is n
    assert results.along(of, n, found) == ", along `n` with `k` = 8, 34, 170"
    assert results.broken_at(found, n).replace(NBSP, " ") == "34 → 170: overflow"
    assert results.where_else(found[0], n, found) == ""
    assert results.swept(of, found[:2]) is None  # two points are told as they are
    powers = Axis("m", (Decimal("-0.5"), -1), frozenset(), unit="unit_roundoff", kind="powers")
    far = [result(of=case(powers), m=v) for v in powers.values]
    assert results.along(far[0].case, powers, far) == ", along `m` = u^−0.5, u^−1"


def test_an_error_above_the_bound_breaks_and_what_is_not_known_does_not(result: Any, results: Any) -> None:
    found = [result(top=Decimal("0.5")), result("ok", 3.0, top=2), result(None, None, top=4)]
    assert str(results.broken_at(found, TOP)).endswith(": inaccurate")
    assert results.broken_at([result(None, None)], TOP) == "—"
    assert results.broken_at([result("zeroed", None)], None) == "zeroed"


def test_without_a_sweep_points_are_listed(result: Any, results: Any) -> None:
    of = case(SOURCE)
    found = [result("overflow", of=of, source="float16"), result(of=of, source="bfloat16")]
    assert results.swept(of, found) is None
    assert results.broken_at(found, None) == "float16: overflow"
    x, y = (Axis(name, (1, Decimal("-Infinity")), frozenset()) for name in "xy")
    zipped = case(x, y, zipped=(("x", "y"),))
    found = [result(of=zipped, x=1, y=1), result("not_a_number", of=zipped, x=Decimal("-Infinity"), y=1)]
    assert results.broken_at(found, None) == "\\[−∞, 1\\]: NaN"


def test_the_sweep_is_the_axis_in_a_unit(result: Any, results: Any) -> None:
    of = case(N, TOP)
    found = [result(of=of, n=n, top=t) for n in N.values for t in TOP.values]
    assert results.swept(of, found) is TOP
    assert results.along(of, TOP, found) == ", along `top` = 0.5, 0.99, 2, 4 × ln Ω"
    assert {results.where_else(r, TOP, found) for r in found} == {"n = 8", "n = 16"}
    alone = [r for r in found if r.cell.axes["top"] == 2]
    assert results.swept(of, alone) is N
    assert results.where_else(alone[0], N, alone) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1024, "1024"), (-3, "−3"), (Fraction(7097827, 10**4), "709.8"), (Fraction(1, 2**24), "5.96e−8"),
        (Fraction(2) ** 1100, "1.358e331"), (Fraction(1, 8), "0.125"), (Fraction(-1, 2**12), "−2.441e−4"),
        (Decimal("Infinity"), "∞"), ("float16", "float16"), (Fraction(10) ** 6, "1e6"), (0, "0"),
        (Fraction(1, 1000), "0.001"), (Fraction(1, 10001), "9.999e−5"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits(value: Any, text: str, results: Any) -> None:
    assert results.number(value) == text


def test_digits_are_those_of_the_cells_that_hold(result: Any, results: Any) -> None:
    # 53 bits are 15.95 digits, 24 are 7.22
    held = [result(bits=53.0, top=1), result(bits=24.0, top=2)]
    assert results.digits(held) == "7.2 – 16.0"
    assert results.digits(held[:1]) == "16.0"
    assert results.digits([*held[:1], result("not_a_number", None)]) == "16.0 †"
    assert results.digits([*held[:1], result("ok", 2.0, bits=1.0)]) == "16.0 †"
    assert results.digits([result("zeroed", None)]) == "none †"
    assert results.digits([result()]) == ""


@pytest.mark.parametrize(
    ("guide", "topic", "home"),
    [
        (("NM4",), "stability", ("NM4",)),
        (("NM4", "NM5"), "stability", ("NM5",)),
        (("NM5", "NM4"), "stability", ("NM5",)),
        (("NM2", "LA5"), "formats", ("NM2",)),
        (("PR9", "NM5"), "differentiation", ("PR9", "NM5")),
        ((), "stability", ()),
    ],
)
def test_a_case_is_told_once(guide: tuple[str, ...], topic: str, home: tuple[str, ...], results: Any) -> None:
    assert results.homes(case(guide=guide, topic=topic)) == home


def test_backends_that_agree_share_a_line(pages: Any, result: Any) -> None:
    first_bad = {"numpy": 2, "torch-cpu": 2, "torch-cuda": 3}
    found = [
        result(outcome, formulation=formulation, backend=backend, top=v)
        for backend, first in first_bad.items()
        for formulation in ("naive", "shifted")
        for i, v in enumerate(TOP.values)
        for outcome in ["overflow" if formulation == "naive" and i >= first else "ok"]
    ]
    text = "\n".join(pages.break_tables(found)).replace(NBSP, " ")
    assert "**Made \\*up\\***, along `top` = 0.5, 0.99, 2, 4 × ln Ω" in text
    assert "| `naive` | numpy, torch-cpu | 702.7 → 1420: overflow |" in text
    assert "| `naive` | torch-cuda | 1420 → 2839: overflow |" in text
    assert "`shifted` holds wherever measured." in text
    assert "Shown by `harness run cases/made-up.yaml -k naive`." in text


def test_a_backend_on_which_nothing_breaks_has_no_line(pages: Any, result: Any) -> None:
    found = [
        result("overflow" if (backend, v) == ("numpy", 4) else "ok", backend=backend, top=v)
        for backend in ("numpy", "torch-cpu")
        for v in TOP.values
    ]
    lines = [line for table in pages.break_tables(found) for line in table.splitlines()]
    assert [line.split(" | ")[1] for line in lines if line.startswith("| `naive`")] == ["numpy"]


def test_what_does_not_break_is_told_and_what_was_only_timed_is_not(pages: Any, result: Any) -> None:
    timed = [result(None, None, of=case(TOP, name="timed"), top=2)]
    assert list(pages.break_tables(timed)) == []
    assert list(pages.break_tables([result(top=2), *timed])) == ["Nothing breaks in `made-up`.\n"]


def test_a_defect_of_the_full_profile_is_told_as_such(pages: Any, result: Any) -> None:
    n = Axis("n", (8, 16), frozenset(), full_only=frozenset({16}))
    of = case(n, name="known", expect=(Rule(defect="numpy#1"),))
    assert list(pages.break_tables([result(of=of, n=8)])) == [
        "`known` breaks in the full profile alone: numpy#1, shown by `harness run cases/known.yaml --full`.\n"
    ]


def test_known_defects_are_named(pages: Any, result: Any, tmp_path: Path) -> None:
    found = [
        result("overflow", of=case(TOP, name="known", expect=(Rule(defect="numpy#1"),)), top=2),
        result(of=case(TOP, name="slope"), mode="backward", top=2),
        result(of=case(TOP, name="value"), top=2),
    ]
    assert "Known: numpy#1." in list(pages.break_tables(found))
    (tmp_path / "nm4.md").write_text("Prose.")
    lines = [line.strip() for line in pages._row(ROWS["NM4"], found, tmp_path / "nm4.md")]
    assert [line for line in lines if line.startswith("### ")] == [
        "### Where it breaks (NM4)",
        "### Where its gradient breaks (NM4)",
        "### Known defects of libraries (NM4)",
        "### Digits left (NM4)",
    ]
    assert lines.index("Nothing breaks in `value`.") < lines.index("Nothing breaks in `slope`.")


def test_other_axes_that_agree_share_a_line(pages: Any, result: Any) -> None:
    layout = Axis("layout", ("C", "F"), frozenset())
    of = case(TOP, layout)
    first_bad = {"numpy": 4, "torch-cpu": 2}
    found = [
        result("overflow" if top >= first else "ok", of=of, backend=backend, top=top, layout=where)
        for backend, first in first_bad.items()
        for where in layout.values
        for top in TOP.values[1:]
    ]
    text = "\n".join(pages.break_tables(found)).replace(NBSP, " ")
    assert "| `naive` | numpy | layout = C; layout = F | 1420 → 2839: overflow |" in text
    assert "| `naive` | torch-cpu | layout = C; layout = F | 702.7 → 1420: overflow |" in text


def test_outputs_that_agree_share_a_line(pages: Any, result: Any) -> None:
    outputs = ("max", "eps", "ties")
    found = [
        result("overflow" if o == "ties" else "ok", bits=53.0, output=o, outputs=outputs, top=1)
        for o in outputs
    ]
    text = "\n".join(pages.digits_tables(found))
    assert "| `softmax` | `naive` (max, eps) | 16.0 |" in text
    assert "| `softmax` | `naive` (ties) | none † |" in text
    assert "| `softmax` | `naive` | 16.0 |" in "\n".join(pages.digits_tables(found[:2]))


def test_many_formats_are_lines(pages: Any) -> None:
    few, many = (
        ["float64", "float32"],
        ["float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3"],
    )
    for dtypes, head in ((few, "| name | float64 | float32 |"), (many, "| format | `cast` · numpy |")):
        lines = list(pages.table(["name"], {("`cast`", "numpy"): dict.fromkeys(dtypes, "holds")}))
        assert lines[1] == head
        widths = {line.count("|") for line in lines if line and not line.startswith("| `cast`")}
        assert len(widths) == 1
    assert "| float32 (7.2) |" in "\n".join(pages.table([], {("a",): dict.fromkeys(many, "1")}, holding=True))


@pytest.mark.parametrize(
    ("case_", "chosen", "option"),
    [
        ("softmax-overflow", ["naive"], " -k naive"),
        ("softmax-overflow", ["naive", "online"], ' -k "naive or online"'),
        ("softmax-overflow", ["naive", "online", "cast"], ""),
        ("softmax-overflow", ["naive", "online", "cast", "round_then_cast"], ""),
        ("matmul-naive", ["naive"], " -k /naive/"),
        ("softmax-overflow", ["cast"], " -k /cast/"),
    ],
)
def test_commands_take_what_breaks(case_: str, chosen: list[str], option: str, pages: Any) -> None:
    assert pages._keyword(case_, chosen, ["naive", "online", "cast", "round_then_cast"]) == option


def test_prose_takes_its_numbers_from_results_and_formats(pages: Any, result: Any) -> None:
    found = [result("not_a_number" if v == 2 else "ok", bits=53.0, top=v) for v in TOP.values[:3]]

    def told(text: str) -> str:
        path = GUIDE / "text" / "made-up.md"
        return str(pages.prose(found, path, text))

    assert told("a {{limit float16 max}} b") == "a 65504 b"
    assert told("{{limit float32 unit_roundoff^-0.5}}, {{limit float64 ln_max}}") == "4096, 709.8"
    # 170! = 7.3e306, 171! > 1.8e308; 34! = 3.0e38, 35! > 3.4e38; 8! = 40320, 9! > 65504
    assert told("{{factorial float64}} {{factorial float32}} {{factorial float16}}") == "170 34 8"
    assert told("{{digits softmax naive float64}}") == "16.0"
    found.append(result(bits=10.0, top=1, mode="backward"))
    assert told("{{digits softmax naive float64}}") == "16.0"  # of values, not of gradients
    found.pop()
    assert told("{{breaks made-up naive float64}}") == "right at 702.7 and NaN at 1420"
    assert "| float64 | 16.0 | 1.798e308 |" in told("{{formats}}")


def test_no_line_of_prose_begins_a_list(pages: Any) -> None:
    text = f"{'a' * 60}\n{'b' * 44} + c and\n+ d = e"
    told = pages.prose([], GUIDE / "text" / "made-up.md", text)
    assert " ".join(told.replace(NBSP, " ").split()) == " ".join(text.split())
    assert not any(line.startswith(("+", "=", "-")) for line in told.splitlines())
    assert len(told.splitlines()) == 2
    assert pages.prose([], GUIDE, "a\n\n| b\nc |") == "a\n\n| b\nc |"


@pytest.mark.parametrize(
    "placeholder",
    [
        "value made-up",
        "factorial",
        "limit float23 max",
        "limit float32",
        "limit float32 maximum",
        "limit float32 max^x",
        "digits softmax naive float32",
        "digits softmax naive float64",
        "digits softmax shifted float64",
        "breaks made-up shifted float64",
        "breaks other naive float64",
    ],
)
def test_what_does_not_resolve_is_told(placeholder: str, pages: Any, result: Any) -> None:
    found = [result("not_a_number", top=2), result(top=1)]
    told = re.escape(f"docs/guide/text/made-up.md: {{{{{placeholder}}}}} does not resolve: ")
    with pytest.raises(pages.GuideError, match=told):
        pages.prose(found, GUIDE / "text" / "made-up.md", f"a {{{{{placeholder}}}}}")


def test_a_number_that_went_stale_is_told(pages: Any, result: Any) -> None:
    found = [result(top=v) for v in TOP.values]
    with pytest.raises(pages.GuideError, match="nothing breaks there"):
        pages.prose(found, GUIDE / "text" / "made-up.md", "{{breaks made-up naive float64}}")


def test_a_place_that_another_axis_moves_is_told(pages: Any, result: Any) -> None:
    of = case(TOP, N)
    edges = {8: 2, 16: 4}
    found = [
        result("not_a_number" if v >= edge else "ok", of=of, top=v, n=n)
        for n, edge in edges.items()
        for v in TOP.values
    ]
    text = "{{breaks made-up naive float64}}"
    with pytest.raises(pages.GuideError, match="it depends on another axis, or the output"):
        pages.prose(found, GUIDE / "text" / "made-up.md", text)
    assert "NaN at" in pages.prose(found[:4], GUIDE / "text" / "made-up.md", text)


def test_a_page_that_nothing_writes_is_told_and_taken_away(
    pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, left_over = tmp_path / "stability.md", tmp_path / "gone.md"
    for name, value in (("ROOT", tmp_path), ("GUIDE", tmp_path), ("pages", lambda **_: {page: "new"})):
        monkeypatch.setattr(pages, name, value)
    left_over.write_text("old")
    with pytest.raises(SystemExit, match="run: python"):
        pages.main(["--check"])
    assert capsys.readouterr().out.splitlines() == [
        f"{p} is not what would be written" for p in (page.name, "gone.md")
    ]
    assert left_over.exists()
    pages.main([])
    assert (page.read_text(), left_over.exists()) == ("new", False)
    pages.main(["--check"])


def test_a_row_without_prose_or_results_is_an_error(
    pages: Any, result: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "TEXT", tmp_path)
    (tmp_path / "nm4.md").write_text("Prose.")
    (tmp_path / "nm5.md").write_text("Prose.")
    section = ROWS["NM4"].section
    found = [result(top=1, bits=53.0)]
    with pytest.raises(pages.GuideError) as caught:
        pages.section_page(section, found, strict=True)
    assert str(caught.value).splitlines() == [
        "NM5 has no accepted results: `harness run`, then `harness gate --accept`",
        "NM6 has no prose: write nm6.md",
    ]
    draft = pages.section_page(section, found, strict=False)
    assert "## NM4 Softmax" in draft
    assert "## NM5 Log-softmax\n\n*No accepted results yet.*" in draft
    assert "Nothing breaks in `made-up`." in draft
    assert pages.sections() == [section]
