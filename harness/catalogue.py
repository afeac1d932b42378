"""The only discoverer: imports every room, entry point and plug-in, so that what they hold is registered.

It imports no array library itself, and the rooms import theirs inside functions.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from harness.errors import RegistrationError, UserError
from harness.registry import require_formulations_of_gradients

ROOMS: Final = ("operations", "backends", "recipes", "metrics")

_loaded: set[str] = set()


def load(plugins: Sequence[str] = ()) -> None:
    """Import all rooms, all installed entry points, and `plugins`; what was imported before is not again.

    Parameters
    ----------
    plugins
        Dotted names of modules, or paths of `.py` files.

    Raises
    ------
    UserError
        If a plug-in or entry point cannot be imported, registers a name that is taken, or a gradient of what
        is no formulation.
    """
    for room in ROOMS:
        _load_room(room)
    installed = entry_points()  # once: it reads the metadata of every installed package
    for room in ROOMS:
        for point in installed.select(group=f"harness.{room}"):
            _load_entry_point(point)
    for plugin in plugins:
        _load_plugin(plugin)
    try:
        require_formulations_of_gradients()
    except RegistrationError as error:
        raise UserError(str(error)) from None


def modules_of(room: str) -> tuple[str, ...]:
    """Return the dotted names of a room's modules, sorted."""
    package = importlib.import_module(f"harness.{room}")
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")))


def is_path(plugin: str) -> bool:
    """Return whether a plug-in is given as a file, not as a dotted name."""
    return plugin.endswith(".py") or "/" in plugin or "\\" in plugin


def _load_room(room: str) -> None:
    if room in _loaded:
        return
    for name in modules_of(room):
        importlib.import_module(name)
    _loaded.add(room)


def _load_entry_point(point: EntryPoint) -> None:
    key = f"{point.group}:{point.name}={point.value}"
    if key in _loaded:
        return
    try:
        point.load()
    except Exception as error:
        origin = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
        raise UserError(
            f"entry point {point.name!r} ({point.group}{origin}) cannot be loaded from {point.value!r}: "
            f"{_told(error)}",
            "mend or uninstall the package that provides it",
        ) from error
    _loaded.add(key)


def _load_plugin(plugin: str) -> None:
    key = str(Path(plugin).resolve()) if is_path(plugin) else plugin
    if key in _loaded:
        return
    try:
        if is_path(plugin):
            _import_file(Path(key))
        else:
            importlib.import_module(plugin)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        hint = "give a dotted name that this interpreter can import, or the path of a .py file"
        raise UserError(f"plug-in {plugin!r} cannot be imported: {_told(error)}", hint) from error
    except (Exception, SystemExit) as error:
        raise UserError(f"plug-in {plugin!r} cannot be imported: {_told(error)}") from error
    _loaded.add(key)


def _import_file(path: Path) -> None:
    if path.suffix != ".py" or not path.is_file():
        raise UserError(
            f"plug-in {str(path)!r} is no Python file",
            "give the path of an existing .py file, or a dotted name",
        )
    # The digest keeps two files of one name apart; the stem keeps tracebacks readable.
    name = f"harness_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"plug-in {str(path)!r} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
