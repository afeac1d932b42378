import os
import platform
import re
import select
import signal
import subprocess
import sys
import time
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from harness import catalogue
from harness.errors import UserError
from harness.formats import FORMATS, decode, digest, encode
from harness.protocol import PROTOCOL_VERSION
from harness.protocol import decode as decode_message
from harness.protocol import encode as encode_message
from harness.registry import BACKENDS
from harness.worker import fp_environment
from harness.worker.inputs import StoredInputs

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = str(Path(__file__).resolve().parent / "planted" / "worker_kernels.py")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux only")


class WorkerProcess:
    """A worker and this end of its pipe."""

    def __init__(self, folder, backend="numpy", *options):
        catalogue.load()
        self.folder = folder
        self.inputs = 0
        self.log = (folder / "log.txt").open("wb")
        known = BACKENDS[backend].environment(1) if backend in BACKENDS else {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.worker", "--backend", backend, "--plugin", PLUGIN, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=ROOT,
            env={**os.environ, **known},
        )
        self.hello = self.read()

    def read(self, seconds=60):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"no reply in {seconds} s; log: {self.logged()}"
        line = self.process.stdout.readline()
        assert line, f"the worker ended; log: {self.logged()}"
        return decode_message(line)

    def send(self, message):
        self.process.stdin.write(encode_message(message).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, message):
        self.send(message)
        return self.read()

    def input(self, values, dtype="float64"):
        self.inputs += 1
        path = self.folder / f"x{self.inputs}.npy"
        np.save(path, encode(FORMATS[dtype], np.asarray(values, float)))
        return str(path)

    def request(self, formulation, values=(1.0, 2.0), dtype="float64", **more):
        return {
            "do": "run",
            "cell": f"case/{formulation}",
            "operation": "planted",
            "formulation": formulation,
            "dtype": dtype,
            "inputs": {"x": self.input(values, dtype)},
            "parameters": {},
            "outputs": str(self.folder / "out."),
            **more,
        }

    def run(self, formulation, *arguments, **more):
        return self.ask(self.request(formulation, *arguments, **more))

    def logged(self):
        return (self.folder / "log.txt").read_text()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    worker = WorkerProcess(tmp_path_factory.mktemp("worker"))
    yield worker
    worker.close()


@pytest.fixture
def own(tmp_path):
    """Return a function that starts a worker of this test alone."""
    started = []

    def start(*arguments):
        started.append(WorkerProcess(tmp_path, *arguments))
        return started[-1]

    yield start
    for worker in started:
        worker.close()


def values_of(reply, name="y"):
    return decode(FORMATS[reply["format"][name]], np.load(reply["outputs"][name]))


# ---- what it says and runs


def test_hello_tells_version_process_and_facts(shared):
    assert shared.hello["hello"] == PROTOCOL_VERSION
    assert shared.hello["status"] == "ok"
    assert shared.hello["pid"] == shared.process.pid
    assert shared.hello["facts"]["numpy"] == np.__version__
    assert shared.hello["facts"]["blas_threads"] == "1"
    assert shared.ask({"do": "facts"})["facts"] == shared.hello["facts"]


def test_a_cell_is_run_and_its_output_written_bit_for_bit(shared):
    values = [1.5, -0.0, 5e-324, np.inf]
    reply = shared.run("scaled", values)
    assert (reply["status"], reply["cell"]) == ("ok", "case/scaled")
    assert reply["format"] == {"y": "float64"}
    assert reply["seconds"] >= 0
    assert "fp_environment" not in reply
    assert "returned_format" not in reply
    found = values_of(reply)
    assert found.tolist() == [3.0, 0.0, 1e-323, np.inf]
    assert np.signbit(found[1])
    assert reply["result_digest"] == digest({"y": (FORMATS["float64"], found)})


def test_outputs_go_under_the_prefix_or_into_the_folder(shared, tmp_path):
    assert shared.run("scaled", outputs=str(tmp_path / "a-"))["outputs"] == {"y": str(tmp_path / "a-y.npy")}
    assert shared.run("scaled", outputs=str(tmp_path))["outputs"] == {"y": str(tmp_path / "y.npy")}


def test_parameters_come_as_written_and_defaults_fill_in(shared):
    assert values_of(shared.run("scaled", parameters={"by": Decimal("0.5")})).tolist() == [0.5, 1.0]
    assert values_of(shared.run("scaled", parameters={"mark": "m", "by": 3})).tolist() == [3.0, 6.0]


def test_a_wider_result_is_rounded_once_and_told(shared):
    # it adds 2⁻⁸ + 2⁻³⁰: 1 goes to 1 + 2⁻⁷ in bfloat16; rounded twice, by way of float32, it would stay 1
    reply = shared.run("wide", [1 + 2.0**-7, 1.0], "bfloat16")
    assert reply["returned_format"] == {"y": "float64"}
    assert reply["format"] == {"y": "bfloat16"}
    assert values_of(reply).tolist() == [1 + 2.0**-6, 1 + 2.0**-7]


@pytest.mark.parametrize(
    ("formulation", "error"),
    [
        ("raises", "ZeroDivisionError: division by zero"),
        ("raises-building", "ValueError: no such thing"),
        ("exits", "SystemExit: enough"),
        ("no-thunk", "TypeError: planted/no-thunk built ndarray, not a thunk"),
        ("two-outputs", "ValueError: two-outputs returned 2 arrays; planted has 1: y"),
        ("a-list", "DtypeError: numpy returns NumPy arrays; found list"),
    ],
)
def test_what_a_formulation_raises_is_its_outcome(shared, formulation, error):
    assert shared.run(formulation) == {"cell": f"case/{formulation}", "dtype": "float64", "status": "raised",
                                       "error": error}  # fmt: skip
    assert shared.run("scaled")["status"] == "ok", "the next cell is run"


def test_a_silently_widened_product_is_refused(shared):
    reply = shared.run("widens-silently", dtype="float32")
    assert reply["status"] == "raised"
    assert reply["error"].startswith("DtypeError: multiply of numpy gave float64, declared is float32")


def test_what_a_formulation_prints_goes_to_the_log(shared):
    reply = shared.run("prints")
    assert (reply["cell"], reply["status"]) == ("case/prints", "ok")
    assert shared.run("scaled")["cell"] == "case/scaled", "the forged lines are no replies"
    assert shared.logged().count("forged") == 2


def test_a_formulation_cannot_read_the_requests(shared):
    assert shared.run("reads-standard-input")["status"] == "ok"


def test_a_formulation_that_writes_its_input_spoils_no_other(shared):
    assert values_of(shared.run("writes-its-input", [4.0, 5.0])).tolist() == [0.0, 0.0]
    assert values_of(shared.run("scaled", [4.0, 5.0])).tolist() == [8.0, 10.0]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"formulation": "fastest"}, "numpy has no formulation 'fastest' of 'planted'"),
        ({"operation": "nothing"}, "numpy has no formulation 'scaled' of 'nothing'"),
        ({"dtype": "float128"}, "numpy does not hold float128"),
        ({"do": "dance"}, "unknown request 'dance'"),
    ],
)
def test_a_request_that_cannot_be_served_is_an_error(shared, change, error):
    reply = shared.ask({**shared.request("scaled"), **change})
    assert reply["status"] == "error"
    assert error in reply["error"]


def test_a_missing_or_foreign_input_is_an_error(shared):
    reply = shared.run("scaled", inputs={"x": str(shared.folder / "nowhere.npy")})
    assert reply["status"] == "error"
    assert "nowhere.npy" in reply["error"]
    reply = shared.run("scaled", inputs={"x": shared.input([1.0], "float16")})
    assert reply["status"] == "error"
    assert "float64 is stored as uint64" in reply["error"]


# ---- time


def test_a_batch_is_timed_and_answered_one_by_one(shared):
    cells = [
        {**shared.request(name), "cell": name, "budget_s": 0.2}
        for name in ("scaled", "raises", "takes-2-ms", "no-such")
    ]
    shared.send({"do": "time", "cells": cells, "quick": True})
    replies = {}
    while len(replies) < 4:
        reply = shared.read()
        if "progress" not in reply:
            assert reply["cell"] not in replies
            replies[reply["cell"]] = reply
    assert replies["raises"]["status"] == "raised"
    assert replies["no-such"]["status"] == "error"
    for name in ("scaled", "takes-2-ms"):
        timing = replies[name]["timing"]
        assert timing["timer"] == "wall"
        assert timing["samples"] == len(timing["raw"])
        assert timing["time_min_s"] == min(timing["raw"])
        assert (
            timing["time_min_s"]
            <= timing["time_ci_low_s"]
            <= timing["time_median_s"]
            <= timing["time_ci_high_s"]
        )
        assert timing["stopped"] in ("converged", "plateau", "budget")
        assert timing["converged"] == (timing["stopped"] == "converged")
        assert timing["overhead_fraction"] > 0
    spinning = replies["takes-2-ms"]["timing"]
    assert spinning["time_min_s"] >= 0.002, "it spins until 2 ms are over"
    assert spinning["calls"] == 1


def test_progress_is_told_while_a_batch_is_timed(shared):
    cells = [{**shared.request("takes-2-ms"), "cell": f"c{i}", "budget_s": 2.0} for i in range(10)]
    shared.send({"do": "time", "cells": cells})
    replies = [shared.read()]
    while sum("cell" in r for r in replies) < len(cells):
        replies.append(shared.read())
    told = [r["progress"] for r in replies if "progress" in r]
    assert told, "10 cells of 20 slots of 4 calls of 2 ms take 1.6 s, and a message is due each second"
    assert all(0 <= p["done"] <= p["of"] == 10 for p in told)


def test_cold_timing_of_small_inputs_is_refused_not_faked(shared):
    shared.send({"do": "time", "cells": [{**shared.request("scaled"), "budget_s": 0.1, "cache": "cold"}]})
    reply = shared.read()
    assert reply["status"] == "error"
    assert re.match(r"inputs of \d+ bytes would need [\d,]+ copies to leave a cache of", reply["error"])


def test_a_misspelt_instruction_set_is_no_silent_plain_numpy(own, tmp_path, monkeypatch):
    """Neither where NumPy is imported by the backend nor where a plug-in imported it before."""
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "NO_SUCH_FEATURE")
    early = tmp_path / "imports_numpy.py"
    early.write_text("import numpy\n")
    for options in ((), ("--plugin", str(early))):
        worker = own("numpy", *options)
        assert worker.hello["status"] == "error"
        assert "NPY_DISABLE_CPU_FEATURES" in worker.hello["error"]
        assert "cannot disable CPU features (NO_SUCH_FEATURE)" in worker.hello["error"]
        assert worker.process.wait(20) == 3


def test_the_first_words_tell_what_a_backend_was_configured_with(shared):
    assert shared.hello["facts"]["variables"] == "none"
    assert shared.hello["facts"]["simd"]


def test_peaks_are_measured_or_lacking_for_a_reason(shared):
    peak = shared.ask({"do": "peak", "dtype": "float32"})
    assert peak["status"] == "ok"
    assert peak["dtype"] == "float32"
    assert peak["gflops"] > 0
    lack = shared.ask({"do": "peak", "dtype": "tf32"})
    assert lack["status"] == "unsupported"
    assert "tensor cores" in lack["error"]
    found = shared.ask({"do": "bandwidth"})
    assert found["status"] == "ok"
    assert found["gbps"] > 0
    assert found["array_bytes"] >= 64 << 20


# ---- the floating-point environment


@linux
@pytest.mark.skipif(find_spec("torch") is None, reason="torch flips the flag")
def test_flushing_subnormals_is_told_and_undone(own):
    worker = own()
    reply = worker.run("flushes-subnormals", [1e-310])
    assert reply["fp_environment"] == "changed: flushes subnormals"
    assert reply["replace"] is True
    assert values_of(worker.run("scaled", [1e-310])).tolist() == [2e-310], (
        "restored even before it is replaced"
    )
    worker.send({"do": "time", "cells": [{**worker.request("flushes-subnormals"), "budget_s": 0.1}]})
    timed = worker.read()
    assert timed["status"] == "raised"
    assert "flushes subnormals" in timed["error"]
    assert timed["replace"] is True


@linux
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the code of the rounding mode is x86's")
def test_another_rounding_mode_is_told_and_undone(own):
    worker = own()
    reply = worker.run("rounds-up")
    assert reply["fp_environment"] == "changed: rounds up"
    assert reply["replace"] is True
    assert "fp_environment" not in worker.run("scaled")


@linux
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the codes of the rounding modes are x86's")
def test_each_rounding_mode_is_recognised():
    import ctypes

    library, found = ctypes.CDLL(None), {}
    assert fp_environment.departure() is None
    for mode in (0x400, 0x800, 0xC00):
        library.fesetround(mode)
        found[mode] = fp_environment.departure()
        assert fp_environment.restore()
    assert found == {0x400: "rounds down", 0x800: "rounds up", 0xC00: "rounds toward zero"}
    assert fp_environment.departure() is None


# ---- limits and ends


@linux
def test_an_allocation_beyond_the_limit_is_raised_not_killed(own):
    worker = own("numpy", "--memory", str(1 << 30))
    reply = worker.run("allocates-40-GiB")
    assert reply["status"] == "raised"
    assert "MemoryError" in reply["error"]
    assert worker.run("scaled")["status"] == "ok"


def test_it_ends_when_the_pipe_does_even_while_a_formulation_runs(own):
    worker = own()
    worker.send(worker.request("sleeps"))
    time.sleep(0.2)
    assert worker.process.poll() is None
    worker.process.stdin.close()
    assert worker.process.wait(20) == 0


@linux
def test_it_ends_with_its_parent(tmp_path):
    """A parent that is killed, with the pipe held open by somebody else, takes the worker along."""
    holder = (
        "import os, subprocess, sys, time\n"
        "r, w = os.pipe(); os.set_inheritable(w, True)\n"
        "p = subprocess.Popen([sys.executable, '-m', 'harness.worker', '--backend', 'numpy'],"
        " stdin=r, stdout=subprocess.PIPE, close_fds=False)\n"
        "p.stdout.readline()\n"
        "q = subprocess.Popen(['sleep', '30'], close_fds=False, stdout=subprocess.DEVNULL)\n"
        "print(p.pid, q.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, cwd=ROOT)
    worker, keeper = map(int, parent.stdout.readline().split())
    try:
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 20
        while alive(worker) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(worker)
    finally:
        os.kill(keeper, signal.SIGKILL)
        parent.stdout.close()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("cupy",), "unknown backend 'cupy'; known: "),
        (("numpy", "--flags", '{"tf32": true}'), "numpy has no flags tf32; known: none"),
        (
            ("torch-cuda", "--flags", '{"allow_tf32": "true"}'),
            "torch-cuda has no flags allow_tf32; known: allow_bf16_reduced_precision_reduction",
        ),
        (("numpy", "--plugin", "no.such.module"), "'no.such.module' cannot be imported"),
    ],
)
def test_what_cannot_be_started_says_hello_with_the_error(own, arguments, error):
    worker = own(*arguments)
    assert worker.hello["status"] == "error"
    assert error in worker.hello["error"]
    assert worker.process.wait(20) == 3


@pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")
def test_torch_runs_the_same_formulations(own):
    worker = own("torch-cpu")
    assert worker.hello["facts"]["threads"] == "1"
    assert values_of(worker.run("scaled", [1.5, 5e-324])).tolist() == [3.0, 1e-323]
    assert worker.run("raises")["status"] == "raised"


def test_two_workers_give_the_same_bits(own, tmp_path):
    replies = [own().run("scaled", np.linspace(0, 1, 1000), dtype="float64") for _ in range(2)]
    assert replies[0]["result_digest"] == replies[1]["result_digest"]


# ---- inputs


def test_inputs_are_read_once_and_bounded_by_bytes(tmp_path):
    storage = FORMATS["float64"]
    paths = []
    for i in range(4):
        paths.append(str(tmp_path / f"{i}.npy"))
        np.save(paths[-1], np.full(100, i, np.uint64))
    stored = StoredInputs(kept_bytes=2 * 800)
    first = stored.load(paths[0], storage)
    assert stored.load(paths[0], storage) is first
    assert not first.flags.writeable
    stored.load(paths[1], storage)
    assert stored.load(paths[0], storage) is first, "the latest two are kept"
    second = stored.load(paths[1], storage)
    assert stored.load(paths[0], storage) is first
    stored.load(paths[2], storage)  # drops 1, which was used longest ago
    assert stored.load(paths[0], storage) is first
    assert stored.load(paths[1], storage) is not second


def test_a_file_that_was_replaced_is_read_again(tmp_path):
    path, stored = tmp_path / "x.npy", StoredInputs()
    for i in range(2):
        np.save(path, np.full(100, i, np.uint64))
        os.utime(path, ns=(i, i))
        assert stored.load(str(path), FORMATS["float64"])[0] == i


def test_inputs_of_another_width_or_kind_are_refused(tmp_path):
    path = str(tmp_path / "x.npy")
    np.save(path, np.ones(3))
    with pytest.raises(UserError, match="holds float64; float64 is stored as uint64"):
        StoredInputs().load(path, FORMATS["float64"])
