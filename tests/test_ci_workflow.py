"""The workflow of CI: it runs the gate, keeps its exit code, and shows what it found."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = WORKFLOW["jobs"]["gate"]["steps"]
    return found


def run_summary_step(folder: Path) -> str:
    """Run the step as GitHub does, and return what it left in the summary."""
    (script,) = (s["run"] for s in steps() if s.get("name") == "Step summary")
    shown = folder / "shown.md"
    environment = {**os.environ, "GITHUB_STEP_SUMMARY": str(shown)}
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        check=True,
    )
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
