"""The pages of the guide as they stand: in step with the accepted results, and whole."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import catalogue
from harness.selection import keyword_test

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
CLAIMED = {*(f"NM{n}" for n in range(1, 7)), *(f"PR{n}" for n in range(1, 13))}


@pytest.fixture(scope="module", autouse=True)
def _modules() -> Iterator[None]:
    """Let the two modules of `docs/` be imported."""
    catalogue.load()
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(ROOT / "docs"))
    yield
    patch.undo()


@pytest.fixture
def results() -> Any:
    return importlib.import_module("guide_results")


def test_the_pages_are_current_and_whole() -> None:
    command = [sys.executable, "docs/guide_pages.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_claimed_row_has_prose_of_a_readable_length() -> None:
    there = {path.stem.upper(): path.read_text("utf-8") for path in (GUIDE / "text").glob("*.md")}
    assert set(there) == CLAIMED | {"INDEX"}
    for row in CLAIMED:
        assert 60 <= len(re.sub(r"\{\{.+?\}\}", "N", there[row]).split()) <= 245, row
        assert max(map(len, there[row].splitlines())) <= 130, row  # a placeholder is longer than its value


def test_commands_and_links_of_the_pages_lead_somewhere(results: Any) -> None:
    made = {path.name: path.read_text("utf-8") for path in GUIDE.glob("*.md")}
    ids = {r.cell.id for r in results.results()}
    commands = [c for text in made.values() for c in re.findall(r"`harness run (cases/[^`]+)`", text)]
    assert len(commands) > 10
    for command in commands:
        path, _, keyword = command.partition(" -k ")
        path = path.removesuffix(" --full")
        assert (ROOT / path).is_file(), command
        of_case = [i for i in ids if i.startswith(f"{Path(path).stem}/")]
        taken = keyword_test(keyword.strip('"')) if keyword else lambda _: True
        assert sum(map(taken, of_case)) > 0, command
        assert not keyword or not all(map(taken, of_case)), command
    for target in re.findall(r"\]\((\w+\.md)#", made["index.md"]):
        assert target in made
    slug = importlib.import_module("guide_pages").slug
    headings = {slug(h) for text in made.values() for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    anchors = re.findall(r"\.md#([^)]+)\)", made["index.md"])
    assert len(anchors) >= len(CLAIMED)
    assert set(anchors) <= headings
