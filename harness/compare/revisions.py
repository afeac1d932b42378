"""A revision of the project, checked out beside it for as long as a comparison lasts.

The worktree lies in a folder of its own with a lock that its owner holds. A comparison that was killed let
go of its lock, so the next one removes the folder, and what git keeps of the worktree. The user's index, HEAD
and files are never touched; hooks do not run. Submodules are not fetched, and files of Git LFS stay pointers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import CouldNotMeasureError, UsageError, did_you_mean

_PREFIX: Final = "harness-worktree-"
_LOCK: Final = "owner.lock"
_REPOSITORY: Final = "repository"
"""File that names the folder whose worktree it is."""
_FORCE: Final = ("--force", "--force")
"""Once for changes, once for the lock that git holds while it adds."""
_SET_BY_HOOKS: Final = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_IMPLICIT_WORK_TREE", "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
)  # fmt: skip
"""Variables that would make git work on the user's index and tree, as they are inside a hook."""
_WIDEST: Final = 72
"""Characters of a subject in a title."""
_SETTINGS: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class Worktree:
    """A revision, and where it is checked out."""

    asked: str
    commit: str
    """The full hash."""
    short: str
    date: str
    """Of the commit: `2026-11-02`."""
    subject: str
    repository: Path
    """Root of the user's own tree."""
    folder: Path
    """Root of the tree at this revision."""

    @property
    def title(self) -> str:
        """What a reader knows it by: `main~1 (3bcc28c of 2026-11-02): What the commit did`."""
        name = f"{self.short} of {self.date}"
        named = name if self.commit.startswith(self.asked) else f"{self.asked} ({name})"
        subject = self.subject if len(self.subject) <= _WIDEST else self.subject[: _WIDEST - 1].rstrip() + "…"
        return f"{named}: {subject}" if subject else named


class GitError(Exception):
    """Git ended with an error; the text is what it said."""


@contextlib.contextmanager
def revision(spec: str, repository: Path, folder: Path, told: Callable[[str], None]) -> Iterator[Worktree]:
    """Check a revision out for the length of the block.

    Parameters
    ----------
    spec
        Whatever git takes for a commit: a branch, a tag, a hash, `main~1`.
    repository
        A folder inside the project's tree.
    folder
        Where to make the worktree's own folder.
    told
        Called with a line of what is being done.

    Raises
    ------
    UsageError
        The folder is in no tree of git, or the revision is unknown.
    CouldNotMeasureError
        There is no git, or it cannot check the revision out.
    """
    root = root_of(repository)
    commit = _commit(spec, root)
    format_ = "--format=%h%x00%cs%x00%s"
    shown = _git(root, "log", "-1", "--no-show-signature", "--no-color", "--encoding=UTF-8", format_, commit)
    short, date, subject = _readable(shown).rstrip("\n").split("\0", 2)
    sweep(folder)
    _forget_vanished(root)
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            place, lock = stack.enter_context(_owned(folder, root))
        except OSError as error:
            raise CouldNotMeasureError(
                f"cannot make a folder for {spec} in {folder}: {error.strerror}",
                "set TMPDIR to a folder with room",
            ) from None
        tree = place / f"{short}-{place.name.removeprefix(_PREFIX)}"
        told(f"checking out {spec} ({short} of {date}): {tree}")
        stack.callback(_remove, root, tree)
        try:
            _git(root, "worktree", "add", "--quiet", "--detach", "--", str(tree), commit, holding=lock)
        except GitError as error:
            raise CouldNotMeasureError(f"git cannot check out {spec}: {error}") from None
        yield Worktree(spec, commit, short, date, subject, root, tree)


def root_of(folder: Path) -> Path:
    """Return the root of the tree that holds `folder`; raises UsageError where there is none."""
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel").removesuffix("\n")).resolve()
    except GitError as error:
        said = str(error)
    with contextlib.suppress(GitError):
        if _git(folder, "rev-parse", "--is-bare-repository").strip() == "true":
            raise UsageError(
                f"{folder} is a bare repository: it has no tree to import kernels from",
                "call it in a clone or a worktree",
            )
    if "not a git repository" in said:
        raise UsageError(
            f"{folder} is in no git repository, so it has no revisions",
            "call it inside the project; or give an interpreter, or versions (name==version)",
        )
    raise UsageError(f"git cannot tell whose tree {folder} is: {said}")


def moved(folders: Sequence[str], repository_root: Path, worktree: Path) -> tuple[str, ...]:
    """Return import folders with those inside the repository replaced by the worktree's own."""
    found = []
    for folder in folders:
        path = Path(folder).resolve()
        inside = path.is_relative_to(repository_root)
        found.append(str(worktree / path.relative_to(repository_root)) if inside else folder)
    return tuple(dict.fromkeys(found))


def sweep(folder: Path) -> list[Path]:
    """Remove worktrees whose owners are gone, and return their folders."""
    removed = []
    for place in sorted(folder.glob(f"{_PREFIX}*")):
        try:
            if place.lstat().st_uid != os.getuid():
                continue
            lock = os.open(place / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # being made this moment, or not ours to remove
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            with contextlib.suppress(OSError):
                root = Path((place / _REPOSITORY).read_text("utf-8"))
                for tree in place.iterdir():
                    if tree.is_dir():
                        _remove(root, tree)
            shutil.rmtree(place, ignore_errors=True)
            removed.append(place)
        finally:
            os.close(lock)
    return removed


@contextlib.contextmanager
def _owned(folder: Path, root: Path) -> Iterator[tuple[Path, int]]:
    """Make a folder that is ours until the block ends, and gone after; with it comes its lock."""
    made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=folder)).resolve()
    lock = -1
    place = made
    try:
        (made / _REPOSITORY).write_text(str(root), "utf-8")
        lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks: never swept
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place = made.rename(made.with_name(made.name.removeprefix(".")))  # locked before it can be swept
        yield place, lock
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


def _remove(root: Path, tree: Path) -> None:
    """Remove a worktree, and what git keeps of it; also one of which only a part was made."""
    with contextlib.suppress(GitError, CouldNotMeasureError):
        _git(root, "worktree", "remove", *_FORCE, "--", str(tree))
    shutil.rmtree(tree, ignore_errors=True)


def _forget_vanished(root: Path) -> None:
    """Let git forget our worktrees that something else removed: `git worktree prune`, but of ours only."""
    with contextlib.suppress(GitError):
        for line in _git(root, "worktree", "list", "--porcelain").splitlines():
            tree = Path(line.removeprefix("worktree "))
            ours = line.startswith("worktree ") and tree.parent.name.startswith(_PREFIX)
            if ours and not tree.parent.exists():
                _remove(root, tree)


def _commit(spec: str, root: Path) -> str:
    """Return the full hash of the commit that `spec` names."""
    if spec.startswith("-"):
        raise UsageError(f"{spec!r} is an option, not a revision")
    for text in (f"{spec}^{{commit}}", spec):  # `:/words` would take the braces for words
        with contextlib.suppress(GitError):
            found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", text).strip()
            if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", found):
                return _git(root, "rev-parse", "--verify", "--quiet", f"{found}^{{commit}}").strip()
    if _tells(root, "rev-parse", "--is-shallow-repository") == "true":
        raise UsageError(
            f"{root} has no revision {spec!r}, and its history is cut off",
            "fetch it: `git fetch --unshallow`, or `fetch-depth: 0` of actions/checkout",
        )
    names = _tells(
        root, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags", "refs/remotes"
    )
    remote = [name for name in names.split() if name.endswith(f"/{spec}")]
    hint = f"did you mean {remote[0]!r}?" if remote else did_you_mean(spec, names.split())
    if "did you mean" not in hint:
        hint = "`git branch -a` lists names; a version is written name==version, an interpreter by its path"
    raise UsageError(f"{root} has no revision {spec!r}", hint)


def _tells(root: Path, *arguments: str) -> str:
    try:
        return _git(root, *arguments).strip()
    except GitError:
        return ""


def _readable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "replace")


def _git(folder: Path, *arguments: str, holding: int | None = None) -> str:
    """Return what git prints; an interrupt ends it.

    Parameters
    ----------
    holding
        A descriptor that it keeps open: a lock then lasts until git has ended, even if we are killed.

    Raises
    ------
    GitError
        It ended with an error.
    CouldNotMeasureError
        There is none.
    """
    variables = {k: v for k, v in os.environ.items() if k not in _SET_BY_HOOKS} | _SETTINGS
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            start_new_session=True,
            pass_fds=() if holding is None else (holding,),
        )
    except OSError as error:
        raise CouldNotMeasureError(
            f"git cannot be started: {error.strerror}", "a revision needs git on the PATH"
        ) from None
    with process:
        try:
            out, err = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if process.returncode != 0:
        said = " ".join(err.decode("utf-8", "replace").split())
        raise GitError(said.removeprefix("fatal: ") or f"git {arguments[0]} ended with {process.returncode}")
    return os.fsdecode(out)
