"""Examples in the documentation are run, and generated pages are current."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, *pages: Path) -> list[str]:
    return [
        text
        for page in (pages or PAGES)
        for found, text in FENCE.findall(page.read_text(encoding="utf-8"))
        if found == language
    ]


def test_the_quick_start_is_two_lines_that_set_everything_up() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Quick start")[1].split("\n## ")[0]
    (block,) = [text for found, text in FENCE.findall(section) if found == "console"]
    first, second = block.strip().splitlines()
    for line in (first, second):
        assert line.startswith("$ python3 -m venv .venv && ")
        assert "--constraint constraints.txt nox" in line
    assert first.endswith("nox -s bench")
    assert second.endswith("nox -s lint types tests")


def test_the_case_in_the_readme_runs(tmp_path: Path) -> None:
    (case,) = blocks("yaml", ROOT / "README.md")
    path = tmp_path / "softmax.yaml"
    path.write_text(case, encoding="utf-8")
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(path), "--backend", "numpy", "--out", str(out)],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "report.html").stat().st_size > 0


def test_the_python_in_the_readme_runs(tmp_path: Path) -> None:
    (code,) = blocks("python", ROOT / "README.md")
    (tmp_path / "cases").symlink_to(ROOT / "cases")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"float32 +not_a_number +1", done.stdout), done.stdout


def test_the_formulation_in_contributing_is_right() -> None:
    code = blocks("python", ROOT / "CONTRIBUTING.md")[0]
    check = """
import numpy as np
from harness import catalogue
from harness.formats import DTYPES
from harness.registry import BACKENDS, find_formulation
catalogue.load()
xp = BACKENDS["numpy"].namespace(DTYPES["float64"], checked=True)
x = np.array([[0.5, 2.0, -3.0], [1000.0, 999.0, 0.0]])
y = find_formulation("softmax", "base_two", "numpy").build(xp, x, axis=-1)()
z = find_formulation("softmax", "shifted", "numpy").build(xp, x, axis=-1)()
print(abs(y - z).max() <= 1000 * 2.0 ** -52)  # exponents up to 1000 carry an error of 1000u
"""
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_the_operation_in_contributing_is_judged(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(blocks("python", ROOT / "CONTRIBUTING.md")[2], encoding="utf-8")
    (tmp_path / "case.yaml").write_text(
        """
case: shifted-logarithm
title: A logarithm
topic: stability
operation: shifted_logarithm
parameters: {shift: $shift}
axes: {shift: [0, -1e-3, 1e-20]}
inputs:
  x: {recipe: values, values: [0, 1e-7, -0.9999, 3, 1e30, .inf, -1, -2, 1e-3]}
""",
        encoding="utf-8",
    )
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "case.yaml", "--plugin", "plugin.py", "--out", str(out)],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = harness.load(out).rows
    assert len(rows) == len({row["backend"] for row in rows}) * 2 * 3
    rows = [row for row in rows if not str(row["reason"]).startswith("unavailable: ")]
    assert {row["backend"] for row in rows} >= {"numpy"}
    assert {row["verdict"] for row in rows} == {"pass"}
    assert all(0 < row["bound_ratio"] <= 1 for row in rows)
    # −2 is below −1 always; with a shift of −0.001, so are −0.9999 and −1
    assert {row["not_a_number_count"] for row in rows} == {1, 3}


def test_the_operation_by_two_expressions_in_contributing_is_judged(tmp_path: Path) -> None:
    code = blocks("python", ROOT / "CONTRIBUTING.md")[1]
    (tmp_path / "plugin.py").write_text(code, encoding="utf-8")
    for mode in (
        "",
        "differentiate: {with_respect_to: [x], cotangent: {recipe: constant, value: 1, shape: [5]}}",
    ):
        (tmp_path / "case.yaml").write_text(
            f"""
case: inverse-softplus
title: Inverse of softplus
topic: stability
operation: inverse_softplus
backends: [numpy, torch-cpu]
inputs:
  x: {{recipe: values, values: [1e-6, 0.1, 3, 11.5, 1000]}}
{mode}
expect:
  # exp(11.5) passes the largest float16, exp(1000) that of every format
  - where: {{formulation: naive}}
    breaks: true
""",
            encoding="utf-8",
        )
        out = tmp_path / ("backward" if mode else "forward")
        done = subprocess.run(
            [sys.executable, "-m", "harness", "run", str(tmp_path / "case.yaml"),
             "--plugin", str(tmp_path / "plugin.py"), "--out", str(out)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        rows = [r for r in harness.load(out).rows if not str(r["reason"]).startswith("unavailable: ")]
        assert {row["verdict"] for row in rows} == {"pass"}
        assert all(0 < row["bound_ratio"] <= 1 for row in rows if row["formulation"] == "stable")
        assert {row["dtype"] for row in rows} == {"float64", "float32", "bfloat16", "float16"}


def test_the_gradient_in_contributing_is_judged(tmp_path: Path) -> None:
    operation, slope = blocks("python", ROOT / "CONTRIBUTING.md")[2:4]
    start = operation.index("register_operation(\n")
    record = operation[start:].replace("cost=cost,", "cost=cost,\n        gradient=SLOPE,")
    whole = operation[:start] + slope + record
    (tmp_path / "plugin.py").write_text(whole, encoding="utf-8")
    (tmp_path / "case.yaml").write_text(
        """
case: shifted-logarithm-gradient
title: The slope of a logarithm
topic: differentiation
operation: shifted_logarithm
backends: [numpy, torch-cpu]
parameters: {shift: $shift}
axes: {shift: [0, -1e-3, 1e-20]}
inputs:
  x: {recipe: values, values: [0, 1e-7, -0.9, 3, 1e30, .inf, 1e-3]}
differentiate:
  with_respect_to: [x]
  cotangent: {recipe: values, values: [1, -2, 3, 0.1, 1e5, 1, 0]}
""",
        encoding="utf-8",
    )
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "case.yaml", "--plugin", "plugin.py", "--out", str(out)],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    rows = harness.load(out).rows
    judged = [row for row in rows if row["verdict"] != "skip"]
    assert {row["output"] for row in judged} == {"grad_x"}
    assert {row["verdict"] for row in judged} == {"pass"}
    assert all(0 < row["bound_ratio"] <= 1 for row in judged)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_support_table_is_current() -> None:
    code = "import runpy; print(runpy.run_path('docs/support_table.py')['document'](), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    written = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
    assert written == done.stdout, "run: python docs/support_table.py"
    assert "| naive | torch-cpu |" in written


def test_the_page_of_the_case_file_is_current() -> None:
    code = "import runpy; print(runpy.run_path('docs/case_file_reference.py')['page'](), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    written = (ROOT / "docs" / "case-file.md").read_text(encoding="utf-8")
    assert written == done.stdout, "run: python docs/case_file_reference.py"


def test_the_page_of_the_case_file_lists_every_recipe_with_its_arguments() -> None:
    from harness import catalogue
    from harness.registry import RECIPES

    catalogue.load()
    page = (ROOT / "docs" / "case-file.md").read_text("utf-8")
    table = page.partition("## Recipes\n")[2].partition("\n## ")[0]
    for name in ("uniform", "file", "spd"):
        lines = table.partition(f"| **`{name}`** |")[2].partition("| **`")[0]
        assert re.findall(r"^\| `(\w+)` \|", lines, re.MULTILINE) == list(RECIPES[name].arguments)


def test_the_example_in_the_page_of_the_case_file_has_no_mistake(tmp_path: Path) -> None:
    from harness import api

    (example, *_) = blocks("yaml", ROOT / "docs" / "case-file.md")
    file = tmp_path / "case.yaml"
    file.write_text(example, encoding="utf-8")
    (case,) = api.check([file])
    assert case.name == "softmax-overflow"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_session_of_nox_is_documented() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = re.findall(r"@nox.session\ndef (\w+)\(.*\n    \"\"\"(.+?)[.:]", noxfile)
    named = {"bench", "tests", "lint", "types", "gate", "compare", "docs", "selfbench"}
    assert {name for name, _ in sessions} == named


def test_the_threshold_in_the_documentation_is_that_of_the_code() -> None:
    from harness.timing import paired

    floor = f"{paired.FLOOR:.0%}".replace("%", " %")
    comparing, timing = ((ROOT / "docs" / name).read_text("utf-8") for name in ("comparing.md", "timing.md"))
    assert re.findall(r"slowdown that fails \(default: (.+?)\)", comparing) == [floor]
    assert re.findall(r"\*\*δ\*\* is (.+?) \(`--threshold`\)", timing) == [floor]
    assert paired.LOOKS == (20, 60, 180)
    assert (paired.SETS, paired.NULL_FACTOR, paired.SHARE_IN_EACH, paired.LEAST_ROUNDS) == (3, 3.0, 0.5, 8)


def test_every_side_in_the_documentation_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import catalogue
    from harness.compare.spec import check_names, paired, parse

    catalogue.load()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "old" / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "old" / ".venv" / "bin" / "python").symlink_to(sys.executable)
    text = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
    asked = re.findall(r"^\$ harness compare (.*?)(?: +#.*)?$", text, re.MULTILINE)
    assert len(asked) == 7
    for arguments in asked:
        given = dict(re.findall(r"--(base|head) (\S+)", arguments))
        base, head = parse(given["base"]), parse(given.get("head", "here"))
        paired(base, head)
        check_names(base)
        check_names(head)
        for path in re.findall(r"cases/\S+", arguments):
            assert (ROOT / path).is_file()


def test_the_published_data_in_the_documentation_is_judged(tmp_path: Path) -> None:
    page = ROOT / "docs" / "published-data.md"
    (data,), (case,) = blocks("text", page), blocks("yaml", page)
    (tmp_path / "acceptance.csv").write_text(data, encoding="utf-8")
    (tmp_path / "acceptance.yaml").write_text(case, encoding="utf-8")
    (commands,) = blocks("console", page)
    check, run = (line.removeprefix("$ harness ").split() for line in commands.splitlines())
    for command in (check, [*run, "--out", "run"]):
        done = subprocess.run(
            [sys.executable, "-m", "harness", *command],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    rows = [row for row in harness.load(tmp_path / "run").rows if row["verdict"] != "skip"]
    assert {row["verdict"] for row in rows} == {"pass"}
    assert {row["data_error"] for row in rows} == {0.0}
    digits = {(row["operation"], row["formulation"], row["dtype"]): row["lre"] for row in rows}
    assert digits["mean", "library", "float64"] == digits["standard_deviation", "library", "float64"] == 15
    assert digits["standard_deviation", "one_pass", "float64"] < 3


def test_the_elementwise_operations_that_the_documentation_names_declare_it() -> None:
    from harness import catalogue
    from harness.registry import OPERATIONS

    catalogue.load()
    page = (ROOT / "docs" / "reading-results.md").read_text("utf-8")
    told = page.partition("declare themselves `elementwise`")[2].partition(" show the input")[0]
    are, not_so = (re.findall(r"`(\w+)`", part) for part in told.split(", but not "))
    assert [OPERATIONS[name].elementwise for name in are] == [True] * 3
    assert [OPERATIONS[name].elementwise for name in not_so] == [False] * 2
    assert "`elementwise=True`" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")
