"""The program that measures one side, started by path as a comparison starts it; what its harness lacks."""

from __future__ import annotations

import ast
import json
import os
import platform
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from harness import __version__, catalogue
from harness.execute.programs import Programs, WorkerKey
from harness.execute.sets import DISPLACED, PROBE, probe_programs
from harness.formats import FORMATS, encode
from harness.protocol import PROTOCOL_VERSION
from harness.protocol import decode as decode_message
from harness.protocol import encode as encode_message
from harness.worker import bridge

ROOT = Path(__file__).resolve().parents[1]
KERNELS = [str(ROOT / "tests" / "planted" / name) for name in ("worker_kernels.py", "probe_kernels.py")]
KEY = WorkerKey("numpy", 1)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux only")


class Probe:
    """A probe and this end of its pipe."""

    def __init__(
        self, folder: Path, programs: Programs, key: WorkerKey = KEY, worker: bool = False, **more: str
    ):
        catalogue.load()
        self.folder = folder
        self.inputs = 0
        self.log = (folder / "log.txt").open("ab")
        command = programs.worker_command(key, 4 << 30)
        if worker:
            command[: len(programs.worker)] = [sys.executable, "-m", "harness.worker"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=folder,
            env={**programs.worker_environment(key), **more},
        )
        self.hello = self.read()

    def read(self, seconds: float = 60) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"no reply in {seconds} s; log: {self.logged()}"
        line = self.process.stdout.readline()
        if not line:
            raise EOFError(self.logged())
        found: dict[str, Any] = decode_message(line)
        return found

    def ask(self, do: str, **message: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(encode_message({"do": do, **message}).encode() + b"\n")
        self.process.stdin.flush()
        return self.read()

    def cell(self, formulation: str, values: Any = (1.0, 2.0), **more: Any) -> dict[str, Any]:
        self.inputs += 1
        path = self.folder / f"x{self.inputs}.npy"
        np.save(path, encode(FORMATS["float64"], np.asarray(values, float)))
        found = {
            "cell": formulation, "operation": "planted", "formulation": formulation, "dtype": "float64",
            "inputs": {"x": str(path)}, "parameters": {}, "cache": "hot", "input_bytes": 8 * len(values),
        }  # fmt: skip
        return {**found, **more}

    def open(self, formulation: str, *arguments: Any, **more: Any) -> dict[str, Any]:
        return self.ask("open", **self.cell(formulation, *arguments, **more))

    def slot(self, cell: str, calls: int = 10, **more: Any) -> dict[str, Any]:
        asked = {"timer": "wall", "calls": calls, "sub_blocks": 2, "seed": 1, "cpus": None, "fresh": False}
        return self.ask("slot", cell=cell, **{**asked, **more})

    def logged(self) -> str:
        return (self.folder / "log.txt").read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Probe]]:
    every: list[Probe] = []

    def start(programs: Programs | None = None, **more: Any) -> Probe:
        every.append(Probe(tmp_path, programs or probe_programs(sys.executable, KERNELS), **more))
        return every[-1]

    yield start
    for probe in every:
        probe.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    folder = tmp_path_factory.mktemp("probe")
    programs = probe_programs(sys.executable, KERNELS)
    probe = Probe(folder, programs, PLANTED_PLACES=str(folder / "places"))
    yield probe
    probe.close()


# ---- what it says and runs ------------------------------------------------------------------------------


def test_hello_tells_what_a_workers_does_and_how_it_is_laid_out(shared: Probe) -> None:
    hello = shared.hello
    facts = hello["facts"]
    assert (hello["hello"], hello["status"], hello["backend"]) == (PROTOCOL_VERSION, "ok", "numpy")
    assert hello["pid"] == shared.process.pid  # also where it executed itself again
    assert facts["numpy"] == np.__version__
    assert facts["harness"] == __version__
    assert facts["python"] == platform.python_version()
    assert Path(facts["executable"]).samefile(sys.executable)
    assert facts["layout"] in ("as in every other worker", "random")
    assert shared.ask("facts")["facts"].items() <= facts.items()


@pytest.mark.parametrize("formulation", ["scaled", "wide"])
def test_a_cell_is_run_as_a_worker_runs_it(
    shared: Probe, started: Callable[..., Probe], tmp_path: Path, formulation: str
) -> None:
    worker = started(worker=True)
    values = [1.5, -0.0, 5e-324, np.inf, np.nan, 0.1, 1 / 3]
    replies = [
        probe.ask("run", **probe.cell(formulation, values, outputs=str(tmp_path / f"{name}.")))
        for probe, name in ((shared, "probe"), (worker, "worker"))
    ]
    assert [reply["status"] for reply in replies] == ["ok", "ok"]
    assert replies[0]["result_digest"] == replies[1]["result_digest"]
    assert replies[0]["format"] == replies[1]["format"]
    mine, theirs = (Path(reply["outputs"]["y"]).read_bytes() for reply in replies)
    assert mine == theirs
    assert set(replies[0]) == set(replies[1]) - {"dtype"}


def test_a_cell_is_opened_calibrated_and_measured(shared: Probe) -> None:
    opened = shared.open("takes-2-ms")
    assert (opened["status"], opened["cell"]) == ("ok", "takes-2-ms")
    assert opened["timers"] == ["wall", "wall-cold"]
    assert opened["build_s"] >= 0.002  # it has run once
    found = shared.ask("calibrate", cell="takes-2-ms")
    assert (found["status"], found["timer"], found["calls"]) == ("ok", "wall", 1)
    assert found["seconds_per_call"] >= 0.002
    assert 0 <= found["overhead_fraction"] < 0.5
    for fresh in (False, True, True):
        slot = shared.slot("takes-2-ms", calls=2, fresh=fresh, seed=5)
        assert slot["status"] == "ok"
        assert slot["seconds"] >= 0.002  # of one call, not of two
        assert set(slot) == {"cell", "status", "seconds"}


def test_short_calls_are_measured_many_at_a_time(shared: Probe) -> None:
    assert shared.open("scaled")["status"] == "ok"
    found = shared.ask("calibrate", cell="scaled")
    assert found["calls"] > 10
    assert shared.slot("scaled", calls=found["calls"])["seconds"] > 0


def test_cold_cells_go_through_copies(shared: Probe) -> None:
    opened = shared.open("scaled", [0.5] * (1 << 20), cell="cold", cache="cold", input_bytes=8 << 20)
    assert opened["status"] == "ok"
    found = shared.ask("calibrate", cell="cold")
    assert found["timer"] == "wall-cold"
    assert shared.slot("cold", calls=found["calls"], timer="wall-cold", fresh=True)["seconds"] > 0
    small = shared.open("scaled", cell="too-small", cache="cold", input_bytes=16)
    assert small["status"] == "error"
    assert "copies" in small["error"]


@linux
def test_a_slot_runs_on_the_core_that_it_is_told(shared: Probe) -> None:
    shared.open("scaled")
    allowed = sorted(os.sched_getaffinity(0))
    for core in (allowed[0], allowed[-1]):
        assert shared.slot("scaled", cpus=[core])["status"] == "ok"
        assert os.sched_getaffinity(shared.process.pid) == {core}
    assert shared.slot("scaled", cpus=allowed)["status"] == "ok"


def test_what_is_closed_is_forgotten(shared: Probe) -> None:
    shared.open("scaled")
    assert shared.ask("close") == {"status": "ok"}
    assert shared.slot("scaled")["status"] == "error"
    assert shared.ask("calibrate", cell="scaled")["status"] == "error"


@pytest.mark.parametrize(
    ("do", "message", "says"),
    [
        ("time", {"cells": []}, "unknown request 'time'; allowed: run, facts, open, calibrate, slot, close"),
        ("open", {"cell": "x"}, "KeyError"),
    ],
)
def test_what_it_cannot_do_is_told(shared: Probe, do: str, message: Mapping[str, Any], says: str) -> None:
    found = shared.ask(do, **message)
    assert found["status"] == "error"
    assert says in found["error"]


def test_a_timer_that_it_has_not(shared: Probe) -> None:
    shared.open("scaled")
    found = shared.slot("scaled", timer="cuda-graph")
    assert found["status"] == "error"
    assert "no timer 'cuda-graph': wall, wall-cold" in found["error"]


# ---- kernels that misbehave -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formulation", "status", "says"),
    [
        ("raises", "raised", "ZeroDivisionError: division by zero"),
        ("raises-building", "raised", "ValueError: no such thing"),
        ("exits", "raised", "SystemExit: enough"),
        ("no-thunk", "raised", "built ndarray, not a thunk"),
        ("no-such-kernel", "error", "numpy has no formulation 'no-such-kernel' of 'planted'"),
    ],
)
def test_a_kernel_that_cannot_be_opened_leaves_the_probe_alive(
    shared: Probe, formulation: str, status: str, says: str
) -> None:
    found = shared.open(formulation)
    assert (found["status"], found["cell"]) == (status, formulation)
    assert says in found["error"]
    assert shared.open("scaled")["status"] == "ok"


def test_a_kernel_that_raises_in_a_slot(shared: Probe) -> None:
    assert shared.open("raises-the-fourth-time")["status"] == "ok"
    found = shared.slot("raises-the-fourth-time")
    assert found["status"] != "ok"
    assert "ValueError: tired" in found["error"]
    assert shared.slot("raises-the-fourth-time")["status"] == "ok"


@pytest.mark.parametrize("formulation", ["prints", "reads-standard-input"])
def test_what_a_kernel_prints_or_reads_is_not_the_protocol(shared: Probe, formulation: str) -> None:
    assert shared.open(formulation)["cell"] == formulation
    found = shared.slot(formulation)
    assert (found["status"], found["cell"]) == ("ok", formulation)
    assert ("forged" in shared.logged()) or formulation != "prints"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the mode's number is of x86-64")
def test_a_kernel_that_changes_the_rounding_mode_is_not_timed(shared: Probe) -> None:
    found = shared.open("rounds-up")
    assert found["status"] == "error"
    assert "leaves another floating-point environment" in found["error"]
    assert shared.slot("rounds-up")["status"] == "error"
    assert "fp_environment" not in shared.open("scaled")  # it was set back
    shared.open("rounds-up-the-fourth-time")
    slot = shared.slot("rounds-up-the-fourth-time")
    assert slot["fp_environment"].startswith("changed")
    assert slot["replace"] is True


@linux
def test_a_kernel_that_crashes_takes_the_probe_with_it(started: Callable[..., Probe]) -> None:
    probe = started()
    with pytest.raises(EOFError, match="Segmentation fault"):
        probe.open("crashes")
    assert probe.process.wait(10) == -11


def test_it_ends_with_its_pipe(started: Callable[..., Probe]) -> None:
    probe = started()
    assert probe.process.stdin is not None
    probe.process.stdin.close()
    probe.process.wait(10)
    assert probe.process.returncode == 0


# ---- a side without what it is asked for ----------------------------------------------------------------


def harness_in(folder: Path, **files: str) -> Programs:
    """Return programs whose workers have a harness of these files, and nothing that is installed."""
    root = folder / "side"
    (root / "harness" / "worker").mkdir(parents=True)
    (root / "harness" / "__init__.py").write_text('__version__ = "9.8"\n')
    (root / "harness" / "worker" / "__init__.py").touch()
    for name, text in files.items():
        (root / "harness" / "worker" / f"{name}.py").write_text(text)
    # -S: no folder of installed packages, where our own would be found
    found = probe_programs(sys.executable, [], [], [str(root)])
    return Programs(
        worker=(sys.executable, "-S", *found.worker[1:]), worker_folders=[str(root)], worker_plugins=[]
    )


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"bridge": "VERSION = 2\n"}, ["is newer: it is asked by version 2 of", "and this one knows 1"]),
        ({"bridge": "VERSION = 0\n"}, ["is older: it is asked by version 0 of"]),
        ({}, ["is older than comparisons: it has no harness.worker.bridge", "a revision must be one that"]),
        ({"bridge": "import no_such_library\n"}, ["lacks no_such_library: install it there"]),
        ({"bridge": "VERSION = 1\ndef connect(*_):\n    raise OSError('no disk')\n"}, ["OSError: no disk"]),
        ({"bridge": "VERSION = = 1\n"}, ["SyntaxError"]),
    ],
    ids=["newer", "older", "none", "dependency", "start", "syntax"],
)
def test_a_harness_that_cannot_be_asked(
    started: Callable[..., Probe], tmp_path: Path, files: Mapping[str, str], says: list[str]
) -> None:
    probe = started(harness_in(tmp_path, **files))
    assert (probe.hello["hello"], probe.hello["status"]) == (PROTOCOL_VERSION, "error")
    for words in says:
        assert words in probe.hello["error"]
    if "Error" not in says[0]:  # what it raised says where
        assert f"its harness 9.8 in {tmp_path / 'side' / 'harness'}" in probe.hello["error"]
    assert probe.process.wait(10) == 3


def test_an_interpreter_without_a_harness(
    started: Callable[..., Probe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "empty").mkdir()
    programs = Programs(
        worker=(sys.executable, "-S", str(PROBE)), worker_folders=[str(tmp_path / "empty")], worker_plugins=[]
    )
    hello = started(programs).hello
    assert hello["status"] == "error"
    assert "cannot import a harness: No module named 'harness'; install there" in hello["error"]


def test_a_backend_that_is_not_there(started: Callable[..., Probe]) -> None:
    catalogue.load()
    hello = started(key=WorkerKey("torch-cpu", 1, (("nonsense", "1"),))).hello
    assert hello["status"] == "error"
    assert "torch-cpu has no flags nonsense" in hello["error"]


# ---- only the bridge of the side ------------------------------------------------------------------------

STAND_IN = """
import sys
VERSION = 1
class Bridge:
    device, facts = "host", {"stand-in": "yes"}
    def thunk(self, request, place):
        return lambda: place()
    def call(self, thunk):
        thunk()
    def synchronize(self):
        pass
    def run(self, request):
        return {"status": "ok", "modules": sorted(sys.modules)}
    def failure(self, error):
        return {"status": "error", "error": repr(error)}
    def environment_left(self):
        return {}
def connect(backend, threads, flags, plugins):
    assert (backend, threads, flags, plugins) == ("numpy", 1, {}, []), (backend, threads, flags, plugins)
    return Bridge()
"""


def test_another_harness_needs_nothing_but_a_bridge(started: Callable[..., Probe], tmp_path: Path) -> None:
    """Without NumPy, without ours: the stand-in's three modules are all of `harness` that is loaded."""
    probe = started(harness_in(tmp_path, bridge=STAND_IN))
    assert probe.hello["status"] == "ok", probe.hello
    assert probe.hello["facts"]["stand-in"] == "yes"
    assert probe.open("x")["status"] == "ok"
    found = probe.ask("calibrate", cell="x")
    assert found["calls"] > 1
    for cold in ("hot", "cold"):
        assert probe.open("x", cache=cold, input_bytes=1 << 22)["status"] == "ok"
        timer = probe.ask("calibrate", cell="x")["timer"]
        for seed in range(5):
            assert probe.slot("x", found["calls"], fresh=True, seed=seed, timer=timer)["seconds"] > 0
    modules = probe.ask("run", cell="x")["modules"]
    theirs = {name for name in modules if name.partition(".")[0] == "harness"}
    assert theirs == {"harness", "harness.worker", "harness.worker.bridge"}
    ours = {name for name in modules if name.partition(".")[0] == "harness_probe"}
    assert {"harness_probe.probe.bench", "harness_probe.timing.sample", "harness_probe.channel"} <= ours
    assert not {"numpy", "torch", "scipy"} & set(modules)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", "") == "import_module"
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.args[0].value


LOADED = sorted(
    path.relative_to(ROOT / "harness")
    for name in ("probe/*.py", "timing/*.py", "channel.py", "protocol.py", "model.py")
    for path in (ROOT / "harness").glob(name)
)


@pytest.mark.parametrize("path", LOADED, ids=str)
def test_what_is_loaded_under_the_alias_names_no_harness(path: Path) -> None:
    """`import harness` there is the side's: only the bridge is asked for, by the one file that does."""
    found = {name for name in imports_of(ROOT / "harness" / path) if name.partition(".")[0] == "harness"}
    assert found == ({"harness", "harness.worker.bridge"} if path == Path("probe/serve.py") else set())


def test_a_new_version_of_the_bridge_is_a_new_version() -> None:
    """What the probe asks of it: whoever takes one of these away raises both versions."""
    from harness.probe.serve import BRIDGE_VERSION

    assert bridge.VERSION == BRIDGE_VERSION == 1
    asked = {"thunk", "call", "synchronize", "run", "failure", "environment_left"}
    assert asked <= {name for name in vars(bridge.Bridge) if not name.startswith("_")}


# ---- where things lie -----------------------------------------------------------------------------------


def mappings(probe: Probe) -> dict[str, str]:
    """Return where each file begins in a probe's memory."""
    found = {}
    for line in Path(f"/proc/{probe.process.pid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith("/"):
            found.setdefault(fields[5], fields[0].partition("-")[0])
    return found


@linux
def test_workers_of_one_set_are_laid_out_alike_and_those_of_another_otherwise(
    started: Callable[..., Probe],
) -> None:
    asked = "import ctypes; print(ctypes.CDLL(None).personality(0x0040000))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    if answer.stdout.strip() == "-1":
        pytest.skip("personality(2) is not allowed here: addresses stay random")
    one, other, third = (started(**{DISPLACED: pages}) for pages in ("17", "17", "901"))
    assert one.hello["facts"]["layout"] == "as in every other worker"
    assert mappings(one) == mappings(other)
    assert any("libc" in name for name in mappings(one))
    assert any("numpy" in name for name in mappings(one))
    elsewhere = {name for name, start in mappings(third).items() if mappings(one).get(name) != start}
    assert any("numpy" in name for name in elsewhere)


def test_inputs_begin_elsewhere_in_a_page_at_each_slot(shared: Probe) -> None:
    """A kernel that is slower for where its input lies is so in some slots, not in all.

    Of an input that has pages of its own, which begins at 0 if nothing displaces it.
    """
    places = shared.folder / "places"
    places.unlink(missing_ok=True)
    chance, values = Random(3), [0.5] * (1 << 14)
    assert shared.open("tells-where", values)["status"] == "ok"
    for _ in range(40):
        assert shared.slot("tells-where", 500, fresh=True, seed=chance.getrandbits(32))["status"] == "ok"
    found = [int(line) for line in places.read_text().split()]
    assert len(found) > 15  # copies are made anew as often as slots have taken as long as that
    assert {place % 64 for place in found} == {0}  # bits would differ on other boundaries
    assert len(set(found)) > 10
    places.unlink()
    shared.open("tells-where", values)
    for _ in range(5):
        shared.slot("tells-where", 500, fresh=False)
    assert len(places.read_text().split()) == 1


def test_a_set_of_workers_is_started_as_it_is_described() -> None:
    programs = probe_programs("/other/python", ["ours"], ["theirs.py"], ["/tree"])
    command = programs.worker_command(KEY, 1 << 30)
    assert command[:2] == ["/other/python", str(PROBE)]
    assert command[command.index("--plugin") + 1] == "theirs.py"
    assert json.loads(command[command.index("--flags") + 1]) == {}
