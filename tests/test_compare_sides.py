"""Both sides made ready: what each would import, what it is called, what is left when they are done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.compare import environments
from harness.compare.model import Side
from harness.compare.sides import differences, prepared
from harness.errors import CouldNotMeasureError, UsageError

SOURCE = Path(harness.__file__).resolve().parents[1]
_IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgSign=false")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *_IDENTITY, "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _commit(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if not (folder / ".git").exists():
        _git(folder, "init", "--quiet")
    _git(folder, "add", *files)
    _git(folder, "commit", "--quiet", "-m", "A commit")


def _imports(side: Side, module: str, expression: str = "it.__file__") -> str:
    """What a worker of this side has as `module`."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(side.folders), "PYTHONSAFEPATH": "1"}
    program = f"import {module} as it; print({expression})"
    done = subprocess.run(
        [side.interpreter, "-c", program], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Prepare:
    """`prepared` in folders of the test."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.repository = folder / "repository"
        self.told: list[str] = []

    def __call__(
        self, base: str, head: str, *, plugins: Sequence[str] = (), backends: Sequence[str] = ()
    ) -> Any:
        return prepared(
            base, head, plugins=plugins, backends=backends, cache=self.cache, told=self.told.append,
            repository=self.repository,
        )  # fmt: skip


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prepare]:
    for name in ("PYTHONPATH", *(name for name in os.environ if name.startswith("GIT_"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    before = set(sys.modules)
    yield Prepare(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith(("planted_", "harness_plugin_")):
            del sys.modules[name]
    assert list((tmp_path / "temporary").iterdir()) == []


# ---- here -----------------------------------------------------------------------------------------------


def test_here(prepare: Prepare) -> None:
    with prepare("here", "here") as (base, head):
        assert base == head
        assert base.title == "here"
        assert base.interpreter == sys.executable
        assert base.versions["python"] == ".".join(map(str, sys.version_info[:3]))
        assert "numpy" in base.versions
        assert _imports(base, "harness") == str(SOURCE / "harness" / "__init__.py")
        assert differences(base, head) == ()


def test_coordinates(prepare: Prepare) -> None:
    with prepare("formulation=naive axis.n=8", "formulation=pairwise,axis.n=16") as (base, head):
        assert base.title == "formulation=naive, axis.n=8"
        assert head.coordinates == {"formulation": "pairwise", "axis.n": 16}
    with pytest.raises(UsageError, match="unknown backend 'nump'"), prepare("backend=nump", "backend=numpy"):
        pass
    with pytest.raises(UsageError, match="--head 'here' does not"), prepare("dtype=float32", "here"):
        pass


# ---- revisions ------------------------------------------------------------------------------------------


def test_plugins_come_from_the_revision(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = prepare.repository
    for version in (1, 2):
        _commit(
            root,
            {
                "src/planted_first/__init__.py": "",
                "src/planted_first/kernels.py": f"import planted_beside\nversion = {version}\n",
                "lib/planted_beside.py": f"version = {version}\n",
                "plug.py": f"version = {version}\n",
            },
        )
    outside = tmp_path / "outside.py"
    outside.write_text("")
    monkeypatch.syspath_prepend(str(root / "src"))
    monkeypatch.syspath_prepend(str(root / "lib"))
    monkeypatch.chdir(root)
    plugins = ("planted_first.kernels", "plug.py", str(outside))
    with prepare("HEAD~1 backend=numpy", "here backend=numpy", plugins=plugins) as (base, head):
        tree = Path(base.plugins[1]).parent
        assert base.title.startswith("HEAD~1 (")
        assert base.title.endswith("): A commit, backend=numpy")
        assert base.revision == _git(root, "rev-parse", "HEAD~1")
        assert head.title == "backend=numpy"
        assert (base.plugins[0], base.plugins[2]) == ("planted_first.kernels", str(outside))
        assert head.plugins == plugins
        assert (tree / "plug.py").read_text() == "version = 1\n"
        assert _imports(base, "planted_first.kernels", "it.version, it.planted_beside.version") == "1 1"
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join([*head.folders, str(root / "lib")])}
        assert (
            subprocess.check_output(
                [sys.executable, "-c", "import planted_first.kernels as k; print(k.version)"], env=variables
            )
            == b"2\n"
        )
        assert _imports(base, "harness") == str(SOURCE / "harness" / "__init__.py")
        assert str(root / "src") not in base.folders
    assert not tree.exists()
    assert _git(root, "worktree", "list").count("\n") == 0


def test_two_revisions(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (1, 2, 3):
        _commit(prepare.repository, {"planted_second.py": f"version = {version}\n"})
    monkeypatch.syspath_prepend(str(prepare.repository))
    with prepare("HEAD~2", "HEAD~1", plugins=["planted_second"]) as (base, head):
        assert _imports(base, "planted_second", "it.version") == "1"
        assert _imports(head, "planted_second", "it.version") == "2"
    with pytest.raises(KeyboardInterrupt), prepare("HEAD~2", "HEAD~1", plugins=["planted_second"]):
        raise KeyboardInterrupt


def test_the_same_code_twice_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    _commit(prepare.repository, {"readme": ""})
    (tmp_path / "planted_outside.py").write_text("")
    for plugins in ((), (str(tmp_path / "planted_outside.py"),)):
        with (
            pytest.raises(UsageError, match="'HEAD' would run the same code"),
            prepare("HEAD", "here", plugins=plugins),
        ):
            pass


def test_an_environment_inside_the_repository_is_not_the_project(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = prepare.repository / ".venv" / "lib" / "site-packages"
    _commit(prepare.repository, {"readme": ""})
    site.mkdir(parents=True)
    (site / "planted_installed.py").write_text("")
    monkeypatch.syspath_prepend(str(site))
    with (
        pytest.raises(UsageError, match="would run the same code"),
        prepare("HEAD", "here", plugins=["planted_installed"]),
    ):
        pass


def test_what_the_revision_has_not(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    root = prepare.repository
    _commit(root, {"planted_old.py": ""})
    _commit(root, {"planted_new.py": ""})
    (root / "untracked.py").write_text("")
    monkeypatch.syspath_prepend(str(root))  # where a worker would find today's, were it not looked for
    monkeypatch.setenv("PYTHONPATH", str(root))
    untracked = str(root / "untracked.py")
    with (
        pytest.raises(
            UsageError, match=r"has no planted_new, .*untracked\.py, which the other side"
        ) as caught,
        prepare("HEAD~1", "here", plugins=["planted_old", "planted_new", untracked]),
    ):
        pass
    assert "HEAD~1 (" in caught.value.message
    with prepare("HEAD~1", "here", plugins=["planted_old"]):
        pass


def test_a_misspelt_revision_costs_no_environment(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    _commit(prepare.repository, {"planted_third.py": ""})
    monkeypatch.syspath_prepend(str(prepare.repository))
    with (
        pytest.raises(UsageError, match="has no revision 'mian'"),
        prepare("numpy==2.3.0", "mian", plugins=["planted_third"]),
    ):
        pass
    assert prepare.told == []


# ---- other interpreters ---------------------------------------------------------------------------------


def _environment(folder: Path, site_files: dict[str, str] | None = None) -> tuple[Path, Path]:
    """Make an environment without pip; return its interpreter and its site-packages."""
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([str(python), "-I", "-c", asked], text=True).strip())
    for name, text in (site_files or {}).items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    return python, site


_METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"
_OWN = {
    "harness/__init__.py": "own = True\n",
    "harness/worker/__init__.py": "",
    "numerics_harness-0.0.9.dist-info/METADATA": _METADATA.format("numerics-harness", "0.0.9"),
    "tiny-1.0.dist-info/METADATA": _METADATA.format("tiny", "1.0"),
}


def test_an_environment_gets_our_harness(prepare: Prepare, tmp_path: Path) -> None:
    python, _ = _environment(tmp_path / "env")
    with prepare(f"{tmp_path}/env", "here") as (base, _):
        assert base.interpreter == str(python)
        assert base.title == f"{python} (Python {base.versions['python']})"
        assert base.environment is None
        assert _imports(base, "harness") == str(SOURCE / "harness" / "__init__.py")
        assert set(base.versions) == {"python"}


def test_its_own_harness_wins(prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _environment(tmp_path / "env", _OWN)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "planted_fourth.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    with prepare("here", f"{tmp_path}/env", plugins=["planted_fourth"]) as (base, head):
        assert head.title.endswith(", its own harness 0.0.9)")
        assert _imports(head, "harness", "it.own") == "True"
        assert head.folders == (str(tmp_path / "mine"),)
        assert "+tiny 1.0" in differences(base, head)


def test_its_own_harness_wins_over_one_that_lies_beside_a_plugin(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _environment(tmp_path / "env", _OWN)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "harness").symlink_to(SOURCE / "harness")
    (shared / "planted_fifth.py").write_text("version = 5\n")
    monkeypatch.syspath_prepend(str(shared))
    with prepare("here", f"{tmp_path}/env", plugins=["planted_fifth"]) as (_, head):
        assert _imports(head, "harness", "it.own") == "True"
        assert _imports(head, "planted_fifth", "it.version") == "5"
        (folder,) = head.folders
        assert [path.name for path in Path(folder).iterdir()] == ["planted_fifth.py"]


def test_another_projects_harness_does_not_win(prepare: Prepare, tmp_path: Path) -> None:
    _environment(tmp_path / "env", {"harness/__init__.py": ""})
    with prepare("here", f"{tmp_path}/env") as (_, head):
        assert _imports(head, "harness") == str(SOURCE / "harness" / "__init__.py")


_INSTALLED = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import harness
from harness.compare.sides import prepared
cache, other, plugin = sys.argv[1:]
with prepared("here", other, plugins=[plugin], backends=(), cache=Path(cache), told=print) as sides:
    names = [sorted(path.name for path in Path(folder).iterdir()) for folder in sides[1].folders]
    print(json.dumps([harness.__file__, asdict(sides[0]), asdict(sides[1]), names]), flush=True)
    sys.stdin.readline()
"""


def test_an_installed_harness_brings_nothing_else_along(prepare: Prepare, tmp_path: Path) -> None:
    python, site = _environment(tmp_path / "ours", {"planted_installed_too.py": "version = 1\n"})
    shutil.copytree(SOURCE / "harness", site / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _environment(tmp_path / "theirs")
    arguments = [str(tmp_path / "cache"), str(tmp_path / "theirs"), "planted_installed_too"]
    variables = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(
        [str(python), "-P", "-c", _INSTALLED, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables,
    ) as started:  # fmt: skip
        assert started.stdin is not None
        assert started.stdout is not None
        file, base, head, names = json.loads(started.stdout.readline())
        assert file == str(site / "harness" / "__init__.py")
        assert base["folders"] == []
        assert names == [["harness", "planted_installed_too.py"]]
        side = Side("", "", head["interpreter"], tuple(head["folders"]))
        assert _imports(side, "harness") == f"{side.folders[0]}/harness/__init__.py"
        assert _imports(side, "planted_installed_too", "it.version") == "1"
        with pytest.raises(subprocess.CalledProcessError):
            _imports(side, "numpy")
        started.communicate("\n")
    assert started.returncode == 0


# ---- versions -------------------------------------------------------------------------------------------


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a pip of ours records what it is asked."""
    monkeypatch.setattr(environments, "_VENV", ("-I", "-m", "venv", "--clear", "--without-pip"))
    monkeypatch.setattr(environments, "_PIP", ("-I", str(Path(__file__).with_name("fake_pip.py"))))
    monkeypatch.setenv("FAKE_PIP_RECORD", str(tmp_path / "record"))
    return tmp_path / "record"


def test_versions(prepare: Prepare, asked: Path) -> None:
    with prepare("here", "numpy==2.3.0", backends=["numpy"]) as (base, head):
        assert head.title == "numpy 2.3.0"
        assert Path(head.environment or "").parent == prepare.cache / "environments"
        assert Path(head.interpreter).is_relative_to(head.environment or "")
        assert head.versions["numpy"] == "2.3.0"
        assert _imports(head, "harness") == str(SOURCE / "harness" / "__init__.py")
        assert f"numpy {base.versions['numpy']} → 2.3.0" in differences(base, head)
        assert not [line for line in differences(base, head) if line.startswith("−")]
    (record,) = map(json.loads, asked.read_text().splitlines())
    assert f"scipy=={base.versions['scipy']}" in record["constraints"]
    assert not [line for line in record["constraints"] if line.startswith("numpy==")]
    wanted = record["arguments"][record["arguments"].index("--") + 1 :]
    assert wanted[0] == "numpy==2.3.0"
    assert "scipy>=1.14" in wanted
    assert Path(head.environment or "").exists()


def test_the_heads_versions_start_from_the_bases(prepare: Prepare, asked: Path) -> None:
    with prepare("tiny==1.5", "numpy==2.3.0") as (base, head):
        assert (base.title, head.title) == ("tiny 1.5", "numpy 2.3.0")
    first, second = map(json.loads, asked.read_text().splitlines())
    assert first["arguments"][-1] != "numpy==2.3.0"
    assert "tiny==1.5" in second["constraints"]


def test_the_backend_of_a_side_is_in_question_too(prepare: Prepare, asked: Path) -> None:
    with prepare("backend=numpy tiny==1.5", "backend=torch-cpu"):
        pass
    (record,) = map(json.loads, asked.read_text().splitlines())
    expected = "torch" in environments.installed(Path(sys.executable))
    assert ("torch" in record["arguments"]) is expected


def test_what_stands_before_the_environments_own(
    prepare: Prepare, asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "path" / "tiny-9.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(_METADATA.format("tiny", "9.0"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    with (
        pytest.raises(CouldNotMeasureError, match=r"workers with tiny==1\.5 would import tiny 9\.0"),
        prepare("here", "tiny==1.5"),
    ):
        pass


def _side(versions: dict[str, str], environment: str | None = None) -> Side:
    return Side("", "", "", versions=versions, environment=environment)


def test_differences() -> None:
    base = _side({"python": "3.11.7", "numpy": "2.4.6", "scipy": "1.17", "y": "2.0", "pip": "23", "b": "1"})
    head = _side({"python": "3.12.1", "numpy": "2.3.0", "scipy": "1.17", "x": "1.0", "pip": "24", "b": "2"})
    assert differences(base, head) == (
        "python 3.11.7 → 3.12.1",
        "b 1 → 2",
        "numpy 2.4.6 → 2.3.0",
        "+x 1.0",
        "−y 2.0",
    )
    assert differences(head, base)[-2:] == ("+y 2.0", "−x 1.0")


def test_differences_of_an_environment_that_holds_what_is_needed_only() -> None:
    here = _side({"numpy": "2.4.6", "y": "2.0"})
    made = _side({"numpy": "2.3.0", "x": "1.0"}, "/made")
    assert differences(here, made) == ("numpy 2.4.6 → 2.3.0", "+x 1.0")
    assert differences(made, here) == ("numpy 2.3.0 → 2.4.6", "−x 1.0")
    other = _side({"numpy": "2.2.0", "z": "1.0"}, "/other")
    assert differences(made, other) == ("numpy 2.3.0 → 2.2.0", "+z 1.0", "−x 1.0")
