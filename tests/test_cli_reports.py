"""Reports and gates from the command line: what is written, what is printed, and what cannot be forged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from harness import api
from harness.cli import main
from tests.test_cli import CASE, FAILING

ESC = "\x1b"
PLUGIN = """
from harness.registry import formulation


@formulation("softmax", "loud", title="Raises what a terminal would obey")
def loud(xp, x, *, axis):
    def thunk():
        raise ValueError(
            "\\x1b[2J\\x1b]0;owned\\x07\\n::error::forged\\n  gate passed: 1 results\\x9b31m \\u202e"
        )

    return thunk
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run that fails, and one that passed accepted as its baseline."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "cases").mkdir()
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("HARNESS_CACHE", str(folder / "cache"))
    patch.delenv("GITHUB_WORKSPACE", raising=False)
    case = folder / "cases" / "exponentials.yaml"
    case.write_text(CASE)
    api.measure(api.plan(profile="quick"), out="reports/good", reports=())
    api.accept("reports/good", "b")
    case.write_text(FAILING)
    yield folder
    patch.undo()


def gated_run(*more: str) -> int:
    return main(["run", "--quick", "--baseline", "b", *more])


def test_a_gated_run_says_so_everywhere(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gated_run("--format", "github", "--out", "gated") == 1
    told = capsys.readouterr().out
    assert "gate failed: 8 results compared, 4 unchanged, 4 failed" in told
    text, _, commands = told.partition("::error ")
    assert text.splitlines()[-1].startswith("report: ")
    lines = ("::error " + commands).splitlines()
    assert len(lines) == 4
    assert all(line.startswith("::error file=cases/exponentials.yaml,") for line in lines)
    assert sum(",line=17,title=Failed%3A exponentials::" in line for line in lines) == 2  # no rule: no line
    summary = (made / "gated" / "summary.md").read_text()
    assert summary.startswith("# ❌ The gate failed: 4 failed. 8 results compared.\n")
    suite = Xml.parse(made / "gated" / "junit.xml").getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("8", "4")
    assert {p.attrib["name"] for p in suite[0]} >= {"verdict", "gate"}
    assert {p.name for p in (made / "gated").iterdir()} == {
        "plan.json", "journal.jsonl", "logs", "results.csv", "facts.csv", "report.html", "summary.md",
        "junit.xml",
    }  # fmt: skip

    # written again: without a baseline the run's own verdict, with one that of the gate
    assert main(["report", "gated"]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["results.csv", "report.html", "junit.xml", "summary.md"]
    assert (made / "gated" / "summary.md").read_text().startswith("# ❌ 4 of 8 cells failed")
    assert main(["report", "gated", "--format", "markdown", "--baseline", "b"]) == 0
    assert (made / "gated" / "summary.md").read_text() == summary
    capsys.readouterr()

    assert main(["gate", "gated", "--baseline", "b", "--format", "markdown"]) == 1
    assert capsys.readouterr().out.rstrip() in summary
    assert main(["gate", "gated", "--baseline", "b", "--format", "github"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("gate failed: ")
    assert told.count("\n::error file=") == 4
    assert main(["report", "gated", "--format", "github"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("4 of 8 cells failed")
    assert told.count("\n::error file=") == 4


def test_a_report_goes_to_standard_output(made: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for name, start in (
        ("junit", b"<?xml "), ("markdown", b"# "), ("csv", b"cell,case,"), ("json", b"{\n"),
        ("pytest-benchmark", b"{\n"), ("html", b"<!doctype html>"),
    ):  # fmt: skip
        assert main(["report", "reports/good", "--format", name, "--out", "-"]) == 0
        captured = capfdbinary.readouterr()
        assert captured.out.startswith(start), name
        assert captured.err == b""
    assert main(["report", "reports/good", "--format", "github", "--out", "-"]) == 0
    assert capfdbinary.readouterr().out == b""  # nothing failed, and no text is mixed in
    assert not (made / "-").exists()


def test_standard_output_may_be_a_file_and_is_not_replaced(made: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = f"{sys.executable} -m harness report reports/good --format junit --out /dev/stdout > junit.xml"
    subprocess.run(["bash", "-c", command], cwd=made, env=environment, check=True)
    assert (made / "junit.xml").read_text().startswith("<?xml ")
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["report", "--format", "jnit"], 2, "did you mean 'junit'?"),
        (["report", "--format", "pytest_benchmark"], 2, "did you mean 'pytest-benchmark'?"),
        (["report", "reports/good", "--out", "-"], 2, "--out takes one format"),
        (["report", "nowhere", "--format", "junit"], 2, "nowhere is no folder of a run"),
        (["report", "reports/good", "--format", "junit", "--out", "no/a.xml"], 3, "cannot write no/a.xml"),
        (["report", "reports/good", "--format", "github", "--out", "no/a"], 3, "cannot write no/a"),
        (["gate", "reports/good", "--format", "markdwn"], 2, "did you mean 'markdown'?"),
        (["gate", "nowhere", "--format", "github"], 2, "nowhere is no folder of a run"),
        (["run", "--format", "githb"], 2, "did you mean 'github'?"),
    ],
)  # fmt: skip
def test_mistakes(
    arguments: list[str], code: int, told: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_without_pyarrow_the_extra_is_named(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["report", "reports/good", "--format", "parquet"]) == 2
    assert "pip install 'numerics-harness[parquet]'" in capsys.readouterr().err


def test_two_runs_of_one_second_take_two_folders(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second finds its name before the first has made its folder."""
    names = iter([made / "reports" / "same", made / "reports" / "same", made / "reports" / "same-2"])
    monkeypatch.setattr("harness.store.folders.default_folder", lambda root, suffix="": next(names))
    for _ in range(2):
        assert main(["run", "--quick", "-k", "shifted and float16 and top=0.5"]) == 0
    assert (made / "reports" / "same" / "results.csv").is_file()
    assert (made / "reports" / "same-2" / "results.csv").is_file()
    assert next(names, None) is None


def test_a_run_that_could_not_begin_leaves_no_folder(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(p.name for p in (made / "reports").iterdir())
    assert main(["run", "--quick", "--require", "numpi"]) == 2
    assert sorted(p.name for p in (made / "reports").iterdir()) == before


def test_a_kernel_steers_no_terminal_and_forges_no_line(
    made: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (made / "plugin.py").write_text(PLUGIN)
    (made / "loud.yaml").write_text(
        CASE.replace("case: exponentials", "case: loud").replace("[naive, shifted]", "[loud]")
        .partition("measure:")[0]
    )  # fmt: skip
    arguments = ["run", "loud.yaml", "--quick", "--plugin", "plugin.py", "--baseline", "b"]
    for form in ("text", "json", "github"):
        assert main([*arguments, "--out", f"loud-{form}", "--format", form]) == 1
        captured = capfd.readouterr()
        for text in (captured.out, captured.err):
            assert not set(text) & {ESC, "\x07", "\x9b", "\u202e"}
            lines = [line.strip() for line in text.splitlines()]
            assert not any(line.startswith(("::error::", "gate passed")) for line in lines)
    journal = (made / "loud-text" / "journal.jsonl").read_text()
    assert journal.count("\\u001b[2J") == 4  # what the kernel said is kept as it was
    assert r"\\x1b\[2J" in (made / "loud-text" / "summary.md").read_text()


def test_known_defects_are_told_below_the_verdict_and_above_what_failed() -> None:
    from harness.cli.summary import verdict_lines
    from tests.synthetic_run import example_run, softmax_rows

    rows = softmax_rows()
    rows[5] |= {"reason": "fixed_upstream: numpy#8775 no longer shows: outcome ok"}
    rows[6] |= {"reason": "known defect pytorch#31829: outcome zeroed"}
    rows[7] |= {"verdict": "fail", "reason": "outcome zeroed, expected ok"}
    lines = [line.split(":")[0] for line in verdict_lines(example_run(rows))]
    assert lines[1].startswith("  fixed upstream  ")
    assert lines[2] == "known defects of libraries that still show"
    assert lines[3].startswith("  fail ")
