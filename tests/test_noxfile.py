"""What `nox -s compare` asks for, with a session that only takes notes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class SessionError(Exception):
    pass


class Session:
    """Answers git with `git`; None: as `nox --install-only` does, which runs nothing."""

    def __init__(self, git: str | None, *posargs: str) -> None:
        self.posargs = list(posargs)
        self.ran: list[tuple[str, ...]] = []
        self._git = git

    def install(self, *_: str, **__: Any) -> None:
        pass

    def run(self, *command: str, **options: Any) -> str | None:
        if command[0] == "git":
            assert options["external"]
            assert options["silent"]
            return self._git
        assert "success_codes" not in options
        self.ran.append(command)
        return None

    def error(self, text: str) -> NoReturn:
        raise SessionError(text)


@pytest.fixture
def noxfile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The file itself; the tests run where nox is not installed."""
    nox = SimpleNamespace(session=lambda function: function, options=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "nox", nox)
    spec = importlib.util.spec_from_file_location("noxfile_under_test", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_comparison_is_with_where_the_tree_left_main(noxfile: Any) -> None:
    session = Session(COMMIT + "\n", "--quick")
    noxfile.compare(session)
    assert session.ran == [("harness", "compare", "--base", COMMIT, "--quick")]


@pytest.mark.parametrize("asked", [("--base", "v1", "--quick"), ("--quick", "--base=v1")])
def test_another_base_takes_its_place(asked: tuple[str, ...], noxfile: Any) -> None:
    session = Session("fatal: never asked", *asked)
    noxfile.compare(session)
    assert session.ran == [("harness", "compare", *asked)]


@pytest.mark.parametrize("said", ["", "fatal: Not a valid object name origin/main\n"])
def test_a_tree_without_main_is_told_what_to_do(said: str, noxfile: Any) -> None:
    session = Session(said)
    with pytest.raises(SessionError, match="nox -s compare -- --base REVISION"):
        noxfile.compare(session)
    assert session.ran == []


def test_sessions_that_are_only_installed_need_no_base(noxfile: Any) -> None:
    noxfile.compare(Session(None))
