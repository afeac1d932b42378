"""Two sides made ready to be started: interpreter, folders, plug-ins, what each has installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness import catalogue
from harness.compare import environments, revisions, spec
from harness.compare.interpreter import Found, examined
from harness.compare.model import Side
from harness.compare.spec import SideSpec
from harness.errors import CouldNotMeasureError, UsageError
from harness.execute.programs import import_folders

ENVIRONMENTS: Final = "environments"
"""Folder of the cache that environments are kept in."""
PYTHON: Final = "python"
"""Among the versions of a side: that of its interpreter."""

_INSTALLERS: Final = ("pip", "setuptools", "wheel", "uv", environments.DISTRIBUTION)
"""Told apart from libraries: each environment brings its own, and no kernel calls them."""
_SITE: Final = ("site-packages", "dist-packages")


@contextlib.contextmanager
def prepared(
    base_text: str,
    head_text: str,
    *,
    plugins: Sequence[str],
    backends: Iterable[str],
    cache: Path,
    told: Callable[[str], None],
    repository: Path | None = None,
) -> Iterator[tuple[Side, Side]]:
    """Make both sides ready for the length of the block; worktrees go with its end, environments are kept.

    Parameters
    ----------
    base_text, head_text
        As asked for; see `spec.parse`.
    plugins
        Modules and `.py` files that are loaded here.
    backends
        Those in question: an environment that is made gets what they import.
    cache
        Folder whose `environments` are kept.
    told
        Called with a line of what is being done.
    repository
        A folder inside the project's tree; None: the current one.

    Raises
    ------
    UsageError
        What was asked for is no side, the sides do not fit together, or would run the same code.
    CouldNotMeasureError
        An interpreter, an environment or a revision cannot be had.
    """
    specs = (spec.parse(base_text), spec.parse(head_text))
    spec.paired(*specs)
    catalogue.load(plugins)
    for one in specs:
        spec.check_names(one)
    asked = [str(one.coordinates["backend"]) for one in specs if "backend" in one.coordinates]
    backends = dict.fromkeys([*backends, *asked])
    with contextlib.ExitStack() as stack:
        preparation = _Preparation(
            stack, tuple(plugins), tuple(backends), cache / ENVIRONMENTS, repository or Path.cwd(), told
        )
        made: dict[int, Side] = {}
        for i in sorted(
            (0, 1), key=lambda i: bool(specs[i].requirements)
        ):  # a misspelt revision costs no pip
            start = made[0].interpreter if i == 1 and 0 in made else sys.executable
            made[i] = preparation.side(specs[i], Path(start))
        yield made[0], made[1]


def differences(base: Side, head: Side) -> tuple[str, ...]:
    """Return what is installed otherwise on the head: `numpy 2.4.6 → 2.3.0`, then `+x 1.0`, then `−y 2.0`.

    An environment that was made holds what is needed only: what a side has beyond that is no difference.
    """
    changed, added, removed = [], [], []
    for name in sorted({*base.versions, *head.versions} - set(_INSTALLERS), key=lambda n: (n != PYTHON, n)):
        old, new = base.versions.get(name), head.versions.get(name)
        if old is None:
            if base.environment is None or head.environment is not None:
                added.append(f"+{name} {new}")
        elif new is None:
            if head.environment is None or base.environment is not None:
                removed.append(f"−{name} {old}")
        elif old != new:
            changed.append(f"{name} {old} → {new}")
    return (*changed, *added, *removed)


@dataclass(frozen=True, slots=True)
class _Preparation:
    """What both sides are made from, and what is undone at the end."""

    stack: contextlib.ExitStack
    plugins: tuple[str, ...]
    backends: tuple[str, ...]
    environments: Path
    repository: Path
    told: Callable[[str], None]

    def side(self, asked: SideSpec, start: Path) -> Side:
        """Return one side; `start` is the interpreter that versions are replaced in."""
        if asked.revision is not None:
            return self._revision(asked, asked.revision)
        if asked.requirements:
            return self._requirements(asked, start)
        if asked.interpreter is not None:
            return self._elsewhere(asked, asked.interpreter, str(asked.interpreter))
        title = ", ".join(spec.coordinates_in_words(asked.coordinates)) or spec.HERE
        folders = tuple(import_folders(self.plugins))
        return _side(
            asked, title, Path(sys.executable), folders, self.plugins, self._seen(sys.executable, folders)
        )

    def _requirements(self, asked: SideSpec, start: Path) -> Side:
        base = examined(start, environments.modules_of(self.backends))
        needed = environments.needed_distributions(self.backends, base)
        made = environments.environment(
            asked.requirements,
            start,
            environments.constraints(base, asked.requirements, needed),
            needed,
            self.environments,
            self.told,
        )
        title = ", ".join(requirement.replace("==", " ") for requirement in asked.requirements)
        side = self._elsewhere(asked, made.interpreter, title, str(made.folder))
        for requirement in asked.requirements:
            name, _, version = requirement.partition("==")
            if not spec.satisfies(side.versions.get(name), version):
                raise CouldNotMeasureError(
                    f"workers with {requirement} would import {name} {side.versions.get(name)}",
                    "something on PYTHONPATH stands before the environment's own: unset it",
                )
        return side

    def _elsewhere(
        self, asked: SideSpec, interpreter: Path, title: str, environment: str | None = None
    ) -> Side:
        """Return a side with an interpreter that is not ours: what it has itself, it keeps."""
        places = _places(self.plugins)
        own = examined(interpreter, tuple(places))
        theirs = {name: path for name in places if (path := _own(own, name)) is not None}
        folders: list[str] = []
        links: dict[str, Path] = {}
        for name, place in places.items():
            if name in theirs:
                continue
            if place.parent.name in _SITE or any(
                (place.parent / places[other].name).exists() for other in theirs
            ):
                links[name] = place
            else:
                folders.append(str(place.parent))
        if links:
            folders.insert(0, str(self._linked(links)))
        folders = list(dict.fromkeys(folders))
        told = [f"Python {own.python}"] if environment is None else []
        for name, path in theirs.items():
            if not _same_place(path, places[name]) and (environment is None or name == "harness"):
                told.append(f"its own {name}{_version_of(name, own)}")
        title += f" ({', '.join(told)})" if told else ""
        seen = self._seen(interpreter, folders)
        return _side(asked, title, interpreter, tuple(folders), self.plugins, seen, environment=environment)

    def _revision(self, asked: SideSpec, revision: str) -> Side:
        """Return a side whose modules come from a worktree, as far as they lie in the repository."""
        root = revisions.root_of(self.repository)
        folders = import_folders(self.plugins)
        files = [plugin for plugin in self.plugins if catalogue.is_path(plugin)]
        inside = [name for name, place in _places(self.plugins).items() if _holds(root, place)]
        if not inside and not any(_holds(root, Path(file)) for file in files):
            raise UsageError(
                f"{revision!r} would run the same code as the other side: neither the harness nor a plug-in "
                f"lies in {root}",
                "install the project from its tree (`pip install -e .`), or name its kernels with --plugin",
            )
        tree = self.stack.enter_context(
            revisions.revision(revision, self.repository, Path(tempfile.gettempdir()), self.told)
        )
        beside = [folder for folder in _loaded_from(root) if folder not in folders]
        moved = revisions.moved([*folders, *beside], root, tree.folder)
        plugins = tuple(
            revisions.moved([plugin], root, tree.folder)[0] if catalogue.is_path(plugin) else plugin
            for plugin in self.plugins
        )
        seen = self._seen(sys.executable, moved, inside)
        lost = [name for name in inside if not _holds(tree.folder, seen.origins.get(name))]
        lost += [
            old
            for old, new in zip(self.plugins, plugins, strict=True)
            if old != new and not Path(new).is_file()
        ]
        if lost:
            raise UsageError(
                f"{revision} ({tree.short}) has no {', '.join(lost)}, which the other side runs from {root}",
                "what is new since, untracked or in a submodule cannot be compared by revisions",
            )
        return _side(asked, tree.title, Path(sys.executable), moved, plugins, seen, revision=tree.commit)

    def _seen(self, interpreter: str | Path, folders: Sequence[str], modules: Sequence[str] = ()) -> Found:
        return examined(Path(interpreter), modules, folders)

    def _linked(self, places: Mapping[str, Path]) -> Path:
        """Return a folder that holds these modules and nothing else of where they are installed."""
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-modules-")))
        for place in places.values():
            try:
                (folder / place.name).symlink_to(place)
            except OSError:
                if place.is_dir():
                    shutil.copytree(place, folder / place.name)
                else:
                    shutil.copy2(place, folder / place.name)
        return folder


def _side(
    asked: SideSpec,
    title: str,
    interpreter: Path,
    folders: tuple[str, ...],
    plugins: tuple[str, ...],
    seen: Found,
    *,
    revision: str | None = None,
    environment: str | None = None,
) -> Side:
    beside = [] if asked.here else spec.coordinates_in_words(asked.coordinates)
    return Side(
        spec=asked.text,
        title=", ".join([title, *beside]),
        interpreter=str(interpreter),
        folders=folders,
        plugins=plugins,
        revision=revision,
        environment=environment,
        coordinates=asked.coordinates,
        versions={PYTHON: seen.python, **seen.versions},
    )


def _places(plugins: Sequence[str]) -> dict[str, Path]:
    """Return the folder or file of each top-level module that the harness and plug-ins were imported from."""
    places = {}
    for plugin in ("harness", *plugins):
        name = plugin.partition(".")[0]
        if catalogue.is_path(plugin) or name not in sys.modules:
            continue
        module = sys.modules[name]
        folders = list(getattr(module, "__path__", ()))
        place = folders[0] if folders else getattr(module, "__file__", None)
        if place is not None:
            places[name] = Path(place).resolve()
    return places


def _own(found: Found, name: str) -> Path | None:
    """Return where an interpreter has a module of its own; another project's `harness` is none."""
    origin = found.origins.get(name)
    if origin is None:
        return None
    place = origin.parent if origin.name == "__init__.py" else origin
    if name == "harness" and not (place / "worker").is_dir():
        return None
    return place


def _version_of(name: str, found: Found) -> str:
    version = found.versions.get(environments.DISTRIBUTION) if name == "harness" else None
    return "" if version is None else f" {version}"


def _loaded_from(root: Path) -> list[str]:
    """Return folders inside `root` from which anything was imported: plug-ins bring neighbours along."""
    folders = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." in name or name == "__main__" or not isinstance(file, str):
            continue
        place = Path(file)
        folder = place.parents[1] if place.name == "__init__.py" else place.parent
        if folder.is_absolute() and str(folder) in sys.path and _holds(root, folder):
            folders.append(str(folder))
    return list(dict.fromkeys(folders))


def _holds(root: Path, place: Path | None) -> bool:
    """Return whether a place lies in a tree, and not in an environment inside it."""
    if place is None:
        return False
    path = Path(os.path.realpath(place))
    return path.is_relative_to(os.path.realpath(root)) and not set(_SITE) & set(path.parts)


def _same_place(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
