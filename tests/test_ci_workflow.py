"""The workflow of CI: it runs the gate and the comparison, keeps what they say, and shows what they found."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))


def steps(job: str = "gate") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = WORKFLOW["jobs"][job]["steps"]
    return found


def run_step(job: str, name: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does."""
    (script,) = (s["run"] for s in steps(job) if s.get("name") == name)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **variables},
        check=False,
        capture_output=True,
        text=True,
    )


def run_summary_step(folder: Path, job: str = "gate") -> str:
    """Run the step that shows, and return what it left in the summary."""
    shown = folder / "shown.md"
    done = run_step(job, "Step summary", folder, GITHUB_STEP_SUMMARY=str(shown))
    assert done.returncode == 0, done.stderr
    return shown.read_text(encoding="utf-8")


def test_the_gate_is_run_with_annotations_and_nothing_hides_its_exit_code() -> None:
    (gate,) = (s for s in steps() if "nox -s gate" in s.get("run", ""))
    assert gate["run"] == "nox -s gate -- --format github"
    assert not any("continue-on-error" in s for s in [*steps(), WORKFLOW["jobs"]["gate"]])
    assert WORKFLOW["permissions"] == {"contents": "read"}
    session = re.search(r"def gate\(.*?\n\n\n", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.DOTALL)
    assert session is not None
    assert 'session.run("harness", "run", "--baseline", BASELINE, *session.posargs)' in session[0]
    assert "success_codes" not in session[0]


def test_summary_and_reports_are_kept_when_the_gate_fails() -> None:
    names = [s.get("name") for s in steps()]
    gate = next(n for n, s in enumerate(steps()) if "nox -s gate" in s.get("run", ""))
    after = {s.get("name"): s for s in steps()[gate + 1 :]}
    assert set(after) == {"Step summary", "Keep the reports"} <= set(names)
    assert all(s["if"] == "always()" for s in after.values())
    assert after["Keep the reports"]["with"]["path"] == "reports/latest/"


def test_the_summary_is_that_of_the_run_or_says_that_there_is_none(tmp_path: Path) -> None:
    assert "No run came to its end" in run_summary_step(tmp_path)
    (tmp_path / "reports" / "latest").mkdir(parents=True)
    (tmp_path / "reports" / "latest" / "summary.md").write_text(
        "# ❌ The gate failed: 1 vanished.\n", encoding="utf-8"
    )
    (tmp_path / "shown.md").unlink()
    assert run_summary_step(tmp_path) == "# ❌ The gate failed: 1 vanished.\n"


COMPARES = "Compare with the base branch"


def test_pull_requests_are_compared_with_their_base_and_pushes_are_not() -> None:
    job = WORKFLOW["jobs"]["compare"]
    assert job["if"] == "github.event_name == 'pull_request'"
    checkout, *_ = steps("compare")
    assert checkout["with"] == {"fetch-depth": 0}  # without its history there is no merge base
    (compare,) = (s for s in steps("compare") if s.get("name") == COMPARES)
    assert compare["env"]["BASE"] == "${{ github.base_ref }}"
    assert "${{" not in compare["run"]  # a branch's name is no part of the script
    assert compare["timeout-minutes"] == 15 < job["timeout-minutes"]
    assert not any("continue-on-error" in s for s in [*steps("compare"), job])
    runs = [s.get("run", "") for s in steps("compare")]
    assert runs.index("nox -s compare --install-only") < runs.index(compare["run"])


def compared(folder: Path, code: int) -> subprocess.CompletedProcess[str]:
    """Run the step in a repository whose branch left main one commit ago; the command ends with `code`."""
    folder.mkdir()
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
        ["update-ref", "refs/remotes/origin/main", "HEAD"],
        ["checkout", "-q", "-b", "work"],
        ["commit", "-q", "--allow-empty", "-m", "second"],
    ):
        subprocess.run([*git, *command], cwd=folder, check=True)
    program = folder / ".nox" / "compare" / "bin" / "harness"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "asked $*"\nexit {code}\n', encoding="utf-8")
    program.chmod(0o755)
    return run_step("compare", COMPARES, folder, BASE="main")


def test_what_could_not_be_measured_is_no_verdict_and_everything_else_is_kept(tmp_path: Path) -> None:
    for code in (0, 1, 2, 3, 5, 130):
        done = compared(tmp_path / str(code), code)
        assert done.returncode == (0 if code == 3 else code), done.stderr
        assert ("::warning " in done.stdout) == (code == 3)
    first = subprocess.run(
        ["git", "rev-parse", "origin/main"],
        cwd=tmp_path / "0",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    asked = f"asked compare --base {first} --quick --format github --out reports/comparison\n"
    assert compared(tmp_path / "again", 0).stdout.startswith("asked compare --base ")
    assert run_step("compare", COMPARES, tmp_path / "0", BASE="main").stdout == asked


def test_no_merge_base_is_an_error(tmp_path: Path) -> None:
    compared(tmp_path / "there", 0)
    done = run_step("compare", COMPARES, tmp_path / "there", BASE="elsewhere")
    assert done.returncode not in (0, 3)
    assert "asked" not in done.stdout


def test_the_options_that_the_job_takes_exist() -> None:
    import click

    from harness.cli.compare_command import command

    (script,) = (s["run"] for s in steps("compare") if s.get("name") == COMPARES)
    options = {name: p for p in command.params if isinstance(p, click.Option) for name in p.opts}
    used = re.findall(r"--[a-z-]+", script.split("harness compare", 1)[1].split("||")[0])
    assert used == ["--base", "--quick", "--format", "--out"]
    assert set(used) <= set(options)
    kinds = options["--format"].type
    assert isinstance(kinds, click.Choice)
    assert "github" in kinds.choices


def test_the_summary_of_a_comparison_is_shown_and_kept_however_it_ended(tmp_path: Path) -> None:
    names = [s.get("name") for s in steps("compare")]
    after = {s["name"]: s for s in steps("compare")[names.index(COMPARES) + 1 :]}
    assert set(after) == {"Step summary", "Keep the report"}
    assert all(s["if"] == "always()" for s in after.values())
    assert after["Keep the report"]["with"]["path"] == "reports/comparison/"
    assert "Nothing was compared" in run_summary_step(tmp_path, "compare")
    (tmp_path / "reports" / "comparison").mkdir(parents=True)
    (tmp_path / "reports" / "comparison" / "compare.md").write_text("# All pass\n", encoding="utf-8")
    (tmp_path / "shown.md").unlink()
    assert run_summary_step(tmp_path, "compare") == "# All pass\n"
