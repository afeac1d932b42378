"""A cached reference is not found again once what computed it has changed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import catalogue
from harness.operations import dot
from harness.reference import provenance
from harness.reference.provenance import source_digest
from harness.registry import OPERATIONS

catalogue.load()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "planted_room"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "shared.py").write_text("def half(x):\n    return x / 2\n")
    (folder / "other.py").write_text("A = 1\n")
    (folder / "operation.py").write_text(
        "from planted_room.shared import half\n\ndef reference(problem):\n    return half(problem)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [n for n in sys.modules if n.startswith("planted_room")]:
        del sys.modules[name]


def test_it_follows_the_module_and_what_it_takes_from_its_room(package: Path) -> None:
    reference = importlib.import_module("planted_room.operation").reference
    before = source_digest(reference)
    assert source_digest(reference) == before
    (package / "other.py").write_text("A = 2\n")
    assert source_digest(reference) == before
    (package / "shared.py").write_text("def half(x):\n    return x / 3\n")
    shared = source_digest(reference)
    assert shared != before
    (package / "operation.py").write_text((package / "operation.py").read_text() + "# more\n")
    assert source_digest(reference) not in (before, shared)


def test_it_follows_the_floor_below(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = source_digest(dot.OPERATION.reference)
    for room in ("reference", "formats"):
        (tmp_path / room).mkdir()
    (tmp_path / "formats" / "rows.py").write_text("bias = 7\n")
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    provenance._of_the_floor.cache_clear()
    first = source_digest(dot.OPERATION.reference)
    provenance._of_the_floor.cache_clear()
    (tmp_path / "formats" / "rows.py").write_text("bias = 8\n")
    second = source_digest(dot.OPERATION.reference)
    provenance._of_the_floor.cache_clear()
    assert len({before, first, second}) == 3


def test_operations_that_share_a_helper_are_told_apart() -> None:
    assert source_digest(OPERATIONS["softmax"].reference) != source_digest(OPERATIONS["logsumexp"].reference)
