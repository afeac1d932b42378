"""Discovery: idempotent, light, and clear about what cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from harness import catalogue, registry
from harness.errors import UserError

RECIPE = """
from harness.registry import Recipe, register_recipe

register_recipe(Recipe("{name}", "Planted", {{}}, make=lambda context: None, elements=lambda a: 1))
"""


@pytest.fixture(autouse=True)
def _restored_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.RECIPES, "_items", dict(registry.RECIPES._items))
    monkeypatch.setattr(registry.RECIPES, "_origin", dict(registry.RECIPES._origin))
    monkeypatch.setattr(catalogue, "_loaded", set(catalogue._loaded))


def written(tmp_path: Path, file: str, content: str) -> Path:
    path = tmp_path / file
    path.write_text(content, encoding="utf-8")
    return path


def test_a_plugin_file_is_imported_once(tmp_path: Path) -> None:
    plugin = written(tmp_path, "mine.py", RECIPE.format(name="planted"))
    catalogue.load([str(plugin)])
    catalogue.load([str(plugin), str(plugin)])
    assert "planted" in registry.RECIPES
    assert registry.RECIPES.origin("planted").endswith("_mine")


def test_a_dotted_plugin_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "planted_dotted.py", RECIPE.format(name="planted-dotted"))
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.load(["planted_dotted"])
    assert "planted-dotted" in registry.RECIPES


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
        ("import absent_module_of_nobody", "No module named 'absent_module_of_nobody'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_broken_plugin_is_a_user_error(tmp_path: Path, content: str, told: str) -> None:
    plugin = written(tmp_path, "broken.py", content)
    for _ in range(2):  # a failure is not remembered as loaded
        with pytest.raises(UserError, match=r"broken\.py") as caught:
            catalogue.load([str(plugin)])
        assert told in caught.value.message


def test_a_plugin_that_takes_a_name_says_whose(tmp_path: Path) -> None:
    first = written(tmp_path, "first.py", RECIPE.format(name="twice"))
    second = written(tmp_path, "second.py", RECIPE.format(name="twice"))
    catalogue.load([str(first)])
    with pytest.raises(UserError, match=r"'twice' is registered by .*_second and already by .*_first"):
        catalogue.load([str(second)])


def test_a_gradient_of_no_formulation_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would never be run, and the formulation that was meant skipped as one without a gradient."""
    catalogue.load()
    monkeypatch.setattr(registry.GRADIENTS, "_items", dict(registry.GRADIENTS._items))
    monkeypatch.setattr(registry.GRADIENTS, "_origin", dict(registry.GRADIENTS._origin))
    plugin = written(
        tmp_path,
        "orphan.py",
        "from harness.registry import gradient\n"
        "gradient('softmax', 'shiftd', title='t')(lambda xp, x, cotangent, with_respect_to: None)\n",
    )
    with pytest.raises(UserError, match=r"gradient of softmax/shiftd, .*did you mean 'shifted'"):
        catalogue.load([str(plugin)])


def test_absent_plugins_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no Python file"):
        catalogue.load([str(tmp_path / "absent.py")])
    with pytest.raises(UserError, match="absent_module_of_nobody"):
        catalogue.load(["absent_module_of_nobody"])


def test_entry_points_are_loaded_and_their_faults_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "planted_entry.py", RECIPE.format(name="planted-entry"))
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint("good", "planted_entry", "harness.recipes")]
    monkeypatch.setattr(catalogue, "entry_points", lambda: EntryPoints(points))
    catalogue.load()
    catalogue.load()
    assert "planted-entry" in registry.RECIPES
    points.append(EntryPoint("bad", "absent_module_of_nobody:thing", "harness.metrics"))
    with pytest.raises(UserError, match=r"entry point 'bad' \(harness.metrics\)"):
        catalogue.load()


def test_every_module_of_every_room_is_imported() -> None:
    catalogue.load()
    names = [name for room in catalogue.ROOMS for name in catalogue.modules_of(room)]
    assert names
    assert [n for n in names if n not in sys.modules] == []


def test_loading_imports_no_array_library() -> None:
    code = (
        "import sys; from harness import catalogue; catalogue.load();"
        "print([m for m in ('numpy', 'torch', 'pandas', 'scipy', 'flint') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
