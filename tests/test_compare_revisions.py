"""Revisions in worktrees of their own, with git itself in repositories of the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.compare.revisions import Worktree, moved, revision, root_of, sweep
from harness.errors import CouldNotMeasureError, UsageError

_IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgSign=false")


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises, also where whoever started us had it ignored (a shell does, for what it runs behind)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *_IDENTITY, "-c", "init.defaultBranch=main", *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def _no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits on main, a branch, a tag."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "src").mkdir()
    for i, subject in enumerate(("Begin", "Make it faster (#2)", "Say what it does"), 1):
        (folder / "src" / "kernels.py").write_text(f"version = {i}\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", subject, "--date", f"2026-01-0{i}T12:00:00")
    git(folder, "branch", "feature/softmax", "HEAD~1")
    git(folder, "tag", "v1.0", "HEAD~2")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "temporary"


def _state(repository: Path) -> tuple[object, ...]:
    """What of a repository must not change."""
    index = (repository / ".git" / "index").stat()
    return (
        (repository / ".git" / "HEAD").read_text(),
        (index.st_mtime_ns, index.st_ino),
        git(repository, "--no-optional-locks", "status", "--porcelain"),
        git(repository, "for-each-ref"),
        git(repository, "worktree", "list", "--porcelain"),
        sorted(path.name for path in (repository / ".git").iterdir()),
    )


def _refused(spec: str, repository: Path, place: Path) -> str:
    with pytest.raises(UsageError) as caught, revision(spec, repository, place, print):
        pass
    assert not list(place.glob("*"))
    return str(caught.value)


# ---- what is had ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("main", 3), ("HEAD~1", 2), ("feature/softmax", 2), ("v1.0", 1), ("@^^", 1), ("heads/main", 3),
        (":/faster", 2), ("main^{/Begin}", 1),
    ],
)  # fmt: skip
def test_a_revision_is_checked_out_and_gone(repository: Path, place: Path, spec: str, version: int) -> None:
    told: list[str] = []
    with revision(spec, repository / "src", place, told.append) as tree:
        assert (tree.folder / "src" / "kernels.py").read_text() == f"version = {version}\n"
        assert tree.commit == git(repository, "rev-parse", f"HEAD~{3 - version}")
        assert tree.repository == repository
        assert tree.folder.is_relative_to(place)
        assert told == [f"checking out {spec} ({tree.short} of {tree.date}): {tree.folder}"]
    assert not list(place.iterdir())
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_title(repository: Path, place: Path) -> None:
    git(repository, "-c", "core.logAllRefUpdates=true", "tag", "-m", "annotated", "v2.0", "HEAD~1")
    with revision("v2.0", repository, place, print) as tree:
        assert tree.subject == "Make it faster (#2)"
        assert tree.title == f"v2.0 ({tree.short} of {tree.date}): Make it faster (#2)"
    with revision(tree.commit[:9], repository, place, print) as same:
        assert same.title == f"{tree.short} of {tree.date}: Make it faster (#2)"


def test_a_long_subject_is_shortened() -> None:
    tree = Worktree("dev", "a" * 40, "aaaaaaa", "2026-01-01", "word " * 30, Path("/a"), Path("/b"))
    assert tree.title.startswith("dev (aaaaaaa of 2026-01-01): word word")
    assert tree.title.endswith("…")
    assert len(tree.title.partition(": ")[2]) <= 72


def test_nothing_of_the_user_changes(repository: Path, place: Path) -> None:
    (repository / "src" / "kernels.py").write_text("half written\n")
    (repository / "staged").write_text("")
    git(repository, "add", "staged")
    (repository / "untracked").write_text("")
    before = _state(repository)
    with revision("HEAD~2", repository, place, print) as tree:
        (tree.folder / "written by a kernel").write_text("")
        (tree.folder / "src" / "kernels.py").write_text("changed by a kernel\n")
    after = _state(repository)
    assert (repository / "src" / "kernels.py").read_text() == "half written\n"
    assert after[:5] == before[:5]
    assert set(after[5]) - set(before[5]) <= {"worktrees"}  # type: ignore[call-overload]
    assert not list((repository / ".git").glob("worktrees/*"))


def test_no_hook_runs_and_variables_of_a_hook_do_no_harm(
    repository: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
    hook.chmod(0o755)
    index = repository / ".git" / "index"
    before = index.read_bytes()
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    with revision("v1.0", repository, place, print) as tree:
        assert (tree.folder / "src" / "kernels.py").read_text() == "version = 1\n"
    assert index.read_bytes() == before
    assert not (tmp_path / "hook-ran").exists()


def test_gone_after_an_error_and_an_interrupt(repository: Path, place: Path) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), revision("main", repository, place, print):
            raise error
        assert not list(place.iterdir())
        assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_two_at_once(repository: Path, place: Path) -> None:
    with revision("main", repository, place, print) as one:
        with (
            revision("v1.0", repository, place, print) as two,
            revision("main", repository, place, print) as three,
        ):
            assert len({one.folder, two.folder, three.folder}) == 3
            assert (two.folder / "src" / "kernels.py").read_text() == "version = 1\n"
        assert (one.folder / "src" / "kernels.py").read_text() == "version = 3\n"
        assert git(one.folder, "rev-parse", "HEAD") == one.commit
    assert not list(place.iterdir())


def test_inside_another_worktree(repository: Path, place: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--quiet", str(tmp_path / "second"), "feature/softmax")
    with revision("HEAD", tmp_path / "second", place, print) as tree:
        assert tree.repository == tmp_path / "second"
        assert (tree.folder / "src" / "kernels.py").read_text() == "version = 2\n"
    assert len(git(repository, "worktree", "list").splitlines()) == 2


# ---- what a killed comparison leaves --------------------------------------------------------------------

_KILLED = """
import sys, time
from pathlib import Path
from harness.compare.revisions import revision
with revision("main", Path(sys.argv[1]), Path(sys.argv[2]), print) as tree:
    print("ready", flush=True)
    time.sleep(120)
"""


def test_a_killed_ones_worktree_is_swept_by_the_next(repository: Path, place: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(repository), str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        while killed.stdout.readline() != "ready\n":
            assert killed.poll() is None
        (left,) = place.iterdir()
        assert sweep(place) == []  # its owner lives
        killed.send_signal(signal.SIGKILL)
    assert left.exists()
    with revision("v1.0", repository, place, print):
        assert not left.exists()
        assert len(git(repository, "worktree", "list").splitlines()) == 2
    assert not list(place.iterdir())


def test_ours_that_vanished_are_forgotten_and_others_kept(
    repository: Path, place: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "harness-worktree-gone" / "tree"
    theirs = tmp_path / "on-another-disk" / "tree"
    for tree in (ours, theirs):
        git(repository, "worktree", "add", "--quiet", "--detach", str(tree))
        shutil.rmtree(tree.parent)
    with revision("main", repository, place, print):
        pass
    left = git(repository, "worktree", "list")
    assert str(theirs) in left
    assert str(ours) not in left


def test_a_folder_without_an_owner_yet_is_left(place: Path) -> None:
    (place / "harness-worktree-new").mkdir(parents=True)
    (place / "harness-worktree-file").write_text("")
    assert sweep(place) == []
    assert len(list(place.iterdir())) == 2


def test_an_interrupt_while_git_checks_out(repository: Path, place: Path, tmp_path: Path) -> None:
    filter_ = f"sh -c 'echo $$ > {tmp_path}/pid; kill -INT {os.getpid()}; exec sleep 100'"
    (repository / ".gitattributes").write_text("slow filter=slow\n")
    (repository / "slow").write_text("content\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "Slow")
    git(repository, "config", "filter.slow.smudge", filter_)
    with pytest.raises(KeyboardInterrupt), revision("main", repository, place, print):
        raise AssertionError("it was checked out")
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
    assert not list(place.iterdir())
    assert len(git(repository, "worktree", "list").splitlines()) == 1


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("feature/sofmax", "did you mean 'feature/softmax'?"),
        ("v1.1", "did you mean 'v1.0'?"),
        ("mian", "did you mean 'main'?"),
        ("something-else", "`git branch -a` lists names"),
        ("^main", "did you mean 'main'?"),
        ("v1.0..main", ""),
        ("main:src/kernels.py", ""),
        ("main~99", ""),
        ("0123456789", ""),
    ],
)
def test_unknown(repository: Path, place: Path, spec: str, hint: str) -> None:
    told = _refused(spec, repository, place)
    assert f"has no revision {spec!r}" in told
    assert hint in told


def test_an_option_never_reaches_git(repository: Path, place: Path) -> None:
    assert "is an option" in _refused("--git-dir=/elsewhere", repository, place)


def test_a_branch_that_only_the_remote_has(repository: Path, place: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(repository), "clone")
    git(tmp_path / "clone", "checkout", "--quiet", "--detach")
    git(tmp_path / "clone", "branch", "-D", "main")
    assert "did you mean 'origin/main'?" in _refused("main", tmp_path / "clone", place)


def test_a_shallow_clone(repository: Path, place: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), "shallow")
    told = _refused("HEAD~1", tmp_path / "shallow", place)
    assert "its history is cut off" in told
    assert "fetch-depth: 0" in told


def test_no_repository(tmp_path: Path, place: Path, repository: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert "is in no git repository" in _refused("main", tmp_path / "plain", place)
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "bare.git")
    assert "is a bare repository" in _refused("main", tmp_path / "bare.git", place)
    assert "cannot tell whose tree" in _refused("main", repository / ".git", place)
    with pytest.raises(UsageError, match="cannot tell whose tree"):
        root_of(tmp_path / "nothing")


def test_a_repository_without_commits(tmp_path: Path, place: Path) -> None:
    git(tmp_path, "init", "--quiet", "empty")
    assert "has no revision 'HEAD'" in _refused("HEAD", tmp_path / "empty", place)


def test_no_git(repository: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nothing/here")
    with (
        pytest.raises(CouldNotMeasureError, match="git cannot be started"),
        revision("main", repository, place, print),
    ):
        pass


def test_git_cannot_check_out(repository: Path, place: Path) -> None:
    blob = git(repository, "rev-parse", "HEAD:src/kernels.py")
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with (
        pytest.raises(CouldNotMeasureError, match="git cannot check out main: "),
        revision("main", repository, place, print),
    ):
        pass
    assert not list(place.iterdir())
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_no_room(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CouldNotMeasureError, match="cannot make a folder for main"),
        revision("main", repository, tmp_path / "file", print),
    ):
        pass


# ---- folders --------------------------------------------------------------------------------------------


def test_moved(tmp_path: Path) -> None:
    root, tree = tmp_path / "repository", tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root / "src")
    folders = [
        str(root),
        str(root / "src"),
        str(tmp_path / "link"),
        "/elsewhere",
        str(tmp_path / "repository2"),
    ]
    assert moved(folders, root, tree) == (
        str(tree), str(tree / "src"), "/elsewhere", str(tmp_path / "repository2"),
    )  # fmt: skip
