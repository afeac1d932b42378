"""Environments that are made, kept, used again; and what is said where they cannot be had."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import catalogue
from harness.compare import environments, interpreter
from harness.compare.environments import (
    Made,
    constraints,
    environment,
    installed,
    modules_of,
    needed_distributions,
)
from harness.compare.interpreter import Found, examined, pins
from harness.errors import CouldNotMeasureError

HERE = Path(sys.executable)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises, also where whoever started us had it ignored (a shell does, for what it runs behind)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def _found(**changes: Any) -> Found:
    given = {
        "python": "3.12.4",
        "build": ("CPython", "3.12.4", "linux-x86_64", "/usr"),
        "versions": {"numpy": "2.4.6", "scipy": "1.17.1", "torch": "2.13.0+cpu", "mine": "0.1"},
        "local": frozenset({"mine"}),
        "origins": {},
        "providers": {},
    }
    return Found(**{**given, **changes})


# ---- an interpreter -------------------------------------------------------------------------------------


def test_installed_is_what_importlib_says() -> None:
    found = installed(HERE)
    for name in ("numpy", "pytest", "PyYAML", "ml_dtypes"):
        assert found[name.lower().replace("_", "-")] == importlib.metadata.version(name)
    assert list(found) == sorted(found)


def test_modules_and_who_brings_them() -> None:
    found = examined(HERE, ["flint", "harness", "no_such_module", "os"])
    assert found.providers["flint"] == ("python-flint",)
    assert found.providers["no_such_module"] == ()
    assert "no_such_module" not in found.origins
    origin = found.origins["flint"]
    assert origin is not None
    assert origin.parts[-2:] == ("flint", "__init__.py")
    assert found.python == ".".join(map(str, sys.version_info[:3]))


def test_variables_of_the_user_count_only_as_they_do_for_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "planted_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "second"))
    monkeypatch.chdir(tmp_path / "second")
    assert "planted_module" not in examined(HERE, ["planted_module"]).origins
    as_worker = examined(HERE, ["planted_module"], folders=[])
    assert as_worker.origins["planted_module"] == tmp_path / "second" / "planted_module.py"
    before = examined(HERE, ["planted_module"], folders=[str(tmp_path / "first")])
    assert before.origins["planted_module"] == tmp_path / "first" / "planted_module.py"
    monkeypatch.delenv("PYTHONPATH")
    assert "planted_module" not in examined(HERE, ["planted_module"], folders=[]).origins


def test_an_old_python_is_named(tmp_path: Path) -> None:
    old = _script(tmp_path / "python", """echo 'hello'; echo '{"version": [3, 9, 18]}'""")
    with pytest.raises(
        CouldNotMeasureError, match=r"python is Python 3\.9\.18; workers need 3\.11 or later"
    ) as caught:
        installed(old)
    assert caught.value.hint == "make an environment with a Python from 3.11 on"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo no such option >&2; exit 2", "ended with 2 and said 'no such option'"),
        ("echo 12", "said '12'"),
        ("exit 0", "said 'nothing'"),
        ("""echo '{"version": 3}'""", "is no Python that works"),
    ],
)
def test_what_is_no_python(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CouldNotMeasureError) as caught:
        installed(_script(tmp_path / "python", text))
    assert said in str(caught.value)


def test_what_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(CouldNotMeasureError, match="does not start: No such file"):
        installed(tmp_path / "python")
    (tmp_path / "text").write_text("not a program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(CouldNotMeasureError, match="does not start: Exec format error"):
        installed(tmp_path / "text")


def test_what_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_PATIENCE_S", 0.2)
    with pytest.raises(CouldNotMeasureError, match="gave no answer"):
        installed(_script(tmp_path / "python", "exec sleep 60"))


# ---- what goes in ---------------------------------------------------------------------------------------


def test_pins_leave_out_what_is_named_and_local_and_drop_labels() -> None:
    assert pins(_found(), ["numpy"]) == ("scipy==1.17.1", "torch==2.13.0")


def test_constraints_of_the_running_interpreter() -> None:
    base = examined(HERE)
    found = constraints(base, ["numpy==2.3.0"], ["numpy>=2.1", "scipy"])
    assert not [line for line in found if line.startswith(("numpy==", "numerics-harness"))]
    assert f"scipy=={importlib.metadata.version('scipy')}" in found
    assert not [line for line in found if "+" in line]


def test_what_is_needed_and_in_no_index_is_refused() -> None:
    base = _found(local=frozenset({"numpy", "numerics-harness"}))
    with pytest.raises(
        CouldNotMeasureError, match="numpy of the base came from a folder or a repository"
    ) as caught:
        constraints(base, ["scipy==1.16.0"], ["numpy>=2.1", "scipy>=1.14"])
    assert "`numpy==VERSION`" in str(caught.value)
    assert "torch==2.13.0" in constraints(base, ["numpy==2.3.0"], ["numpy>=2.1"])


def test_needed_distributions() -> None:
    catalogue.load()
    assert modules_of(["numpy", "torch-cpu"]) == ("numpy", "scipy", "ml_dtypes", "torch")
    base = _found(providers={"numpy": ("numpy",), "ml_dtypes": ("ml-dtypes",), "torch": ("torch",)})
    with_torch = needed_distributions(["numpy", "torch-cpu"], base)
    assert "torch" in with_torch
    assert [text for text in with_torch if text.startswith("numpy")] == ["numpy>=2.1"]
    without = needed_distributions(["numpy"], base)
    assert set(with_torch) - set(without) == {"torch"}
    assert {"click", "pydantic", "python-flint"} <= {text.partition(">")[0] for text in without}
    absent = needed_distributions(["numpy", "torch-cpu"], _found(providers={"torch": ()}))
    assert "torch" not in absent


def test_an_installed_harness_says_what_it_requires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments.harness, "__file__", str(tmp_path / "site-packages/harness/__init__.py"))
    required = ["numpy>=2.1", "tomli; python_version < '3.12'", "torch>=2.9; extra == 'torch'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: required)
    assert needed_distributions([], _found()) == ("numpy>=2.1", "tomli; python_version < '3.12'")

    def unknown(_: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError("numerics-harness")

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    with pytest.raises(CouldNotMeasureError, match="cannot tell what numerics-harness requires"):
        needed_distributions([], _found())


# ---- making ---------------------------------------------------------------------------------------------


class Maker:
    """`environment` with a pip of ours, and what that pip was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "environments"
        self.record = folder / "record"
        self.told: list[str] = []

    def __call__(
        self, *requirements: str, pinned: tuple[str, ...] = (), needed: tuple[str, ...] = ("beside",)
    ) -> Made:
        asked = requirements or ("tiny==1.0",)
        return environment(asked, HERE, pinned, needed, self.folder, self.told.append)

    @property
    def asked(self) -> list[dict[str, Any]]:
        return (
            [json.loads(line) for line in self.record.read_text().splitlines()]
            if self.record.exists()
            else []
        )


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    monkeypatch.setattr(environments, "_VENV", ("-I", "-m", "venv", "--clear", "--without-pip"))
    monkeypatch.setattr(environments, "_PIP", ("-I", str(Path(__file__).with_name("fake_pip.py"))))
    maker = Maker(tmp_path)
    monkeypatch.setenv("FAKE_PIP_RECORD", str(maker.record))
    return maker


def test_made_once_and_used_again(make: Maker) -> None:
    first = make()
    assert not first.reused
    assert first.versions == {"tiny": "1.0", "beside": "1.0"}
    assert first.interpreter.is_relative_to(first.folder)
    assert first.folder.parent == make.folder
    assert first.folder.name.startswith("tiny-1.0-")
    second = make()
    assert second.reused
    assert (second.folder, second.versions, second.made) == (first.folder, first.versions, first.made)
    assert len(make.asked) == 1
    assert [line.split(" with ")[0] for line in make.told] == [
        "making an environment",
        "using the environment",
    ]
    assert first.made[:10] in make.told[1]


def test_what_pip_is_asked(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    make("tiny==1.0", pinned=("scipy==1.17.1",), needed=("beside>=2", "tiny>=0.5"))
    (asked,) = make.asked
    assert asked["arguments"][0] == "install"
    assert asked["arguments"][asked["arguments"].index("--") + 1 :] == ["tiny==1.0", "beside>=2"]
    assert asked["constraints"] == ["scipy==1.17.1", "tiny>=0.5"]
    assert asked["redirected"] == []


def test_whatever_differs_is_another_environment(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {
        make().folder,
        make("tiny==1.1").folder,
        make(pinned=("scipy==1.17.1",)).folder,
        make(needed=("other",)).folder,
    }
    real = environments.examined
    monkeypatch.setattr(
        environments, "examined", lambda path: _found(versions={}) if path == HERE else real(path)
    )
    folders.add(make().folder)
    assert len(folders) == 5
    assert len(make.asked) == 5


def test_a_half_made_one_is_made_again(make: Maker) -> None:
    made = make()
    (made.folder / "made.json").unlink()
    left = made.folder / "venv" / "left"
    left.write_text("")
    again = make()
    assert not again.reused
    assert again.folder == made.folder
    assert not left.exists()
    assert make().reused


@pytest.mark.parametrize("harm", ["record", "interpreter", "contents"])
def test_a_damaged_one_is_made_again(make: Maker, harm: str) -> None:
    made = make()
    if harm == "record":
        (made.folder / "made.json").write_text("{")
    elif harm == "interpreter":
        made.interpreter.unlink()
        made.interpreter.symlink_to("/no/such/python")
    else:
        next((made.folder / "venv").rglob("beside-*.dist-info/METADATA")).write_text(
            "Name: beside\nVersion: 9\n"
        )
    assert not make().reused
    assert len(make.asked) == 2
    assert make().reused


def test_pip_fails(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PIP", "fail")
    with pytest.raises(CouldNotMeasureError) as caught:
        make()
    (place,) = make.folder.iterdir()
    assert "cannot make an environment with tiny==1.0: pip ended with 1" in caught.value.message
    assert caught.value.message.splitlines()[1:] == [
        "  ERROR: Could not find a version",
        "  ERROR: No matching distribution",
    ]
    assert str(place) in str(caught.value.hint)
    assert "Looking in indexes" in (place / "log").read_text()
    assert not (place / "venv").exists()
    monkeypatch.delenv("FAKE_PIP")
    assert not make().reused


def test_pip_leaves_another_version(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PIP", "lie")
    with pytest.raises(CouldNotMeasureError, match=r"pip was asked for tiny==1\.0 and left 0\.1"):
        make()
    assert not list(make.folder.glob("*/made.json"))


def test_no_venv(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        environments, "_VENV", ("-c", "import sys; print('ensurepip is not available'); sys.exit(1)")
    )
    with pytest.raises(CouldNotMeasureError, match="venv ended with 1\n  ensurepip is not available"):
        make()


def test_an_interrupt_leaves_no_child_and_nothing_that_counts(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PIP", "interrupt")
    with pytest.raises(KeyboardInterrupt):
        make()
    (asked,) = make.asked
    _wait_for(lambda: not _alive(asked["pid"]))
    _wait_for(lambda: not _alive(int((make.folder.parent / "child").read_text())))
    (place,) = make.folder.iterdir()
    assert not (place / "venv").exists()
    assert not (place / "made.json").exists()
    monkeypatch.delenv("FAKE_PIP")
    assert not make().reused


def test_two_at_once_make_one(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PIP", "slow")
    found: list[Made] = []
    threads = [threading.Thread(target=lambda: found.append(make())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made.reused for made in found) == [False, True]
    assert len(make.asked) == 1
    assert any(line.startswith("waiting for who makes") for line in make.told)


_KILLED = """
import sys
from pathlib import Path
from harness.compare import environments
environments._VENV, environments._PIP = ("-I", "-m", "venv", "--clear", "--without-pip"), ("-I", sys.argv[1])
environments.environment(("tiny==1.0",), Path(sys.executable), (), ("beside",), Path(sys.argv[2]), print)
"""


def test_a_pip_that_outlives_its_harness_is_waited_for(make: Maker) -> None:
    command = [sys.executable, "-c", _KILLED, environments._PIP[1], str(make.folder)]
    variables = {**os.environ, "FAKE_PIP": "hold"}
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as killed:
        _wait_for(lambda: make.asked)
        killed.kill()
    found: list[Made] = []
    thread = threading.Thread(target=lambda: found.append(make()))
    thread.start()
    _wait_for(lambda: make.told)
    assert make.told[0].startswith("waiting for who makes")
    assert len(make.asked) == 1
    (make.folder.parent / "release").write_text("")
    thread.join()
    assert [made.reused for made in found] == [False]
    assert len(make.asked) == 2


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_room(make: Maker, tmp_path: Path) -> None:
    make.folder = tmp_path / "file"
    make.folder.write_text("")
    with pytest.raises(
        CouldNotMeasureError, match=r"cannot make an environment in .*: Not a directory"
    ) as caught:
        make()
    assert "HARNESS_CACHE" in str(caught.value.hint)


# ---- with the real pip, and no network ------------------------------------------------------------------


def _wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def test_real_pip_keeps_to_the_constraints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.0", "2.0", "3.0"):
        _wheel(tmp_path, "tiny_numbers", version)
        _wheel(tmp_path, "tiny_kernels", version, "tiny-numbers")
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    base = _found(versions={"tiny-numbers": "2.0+mine", "tiny-kernels": "3.0"}, local=frozenset())
    requirements, needed = ("tiny-kernels==1.0",), ("tiny-kernels>=0.5",)
    pinned = constraints(base, requirements, needed)
    made = environment(requirements, HERE, pinned, needed, tmp_path / "environments", lambda _: None)
    assert made.versions["tiny-kernels"] == "1.0"
    assert made.versions["tiny-numbers"] == "2.0"
    found = examined(made.interpreter, ["tiny_kernels"])
    assert found.providers["tiny_kernels"] == ("tiny-kernels",)
