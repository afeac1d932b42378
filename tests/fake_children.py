"""Children that speak the protocol and misbehave as told, plans for them, and a parent to be killed.

`python fake_children.py worker|referee …` is a child: what a worker does with a cell is the name of its
formulation, what a referee does is in the problem's parameters `prepare` and `score`, how either starts
is in $FAKE_START. `python fake_children.py parent FOLDER CELLS` executes a plan of cells that do well.
Every kernel that runs adds a line to the file $FAKE_LOG.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.channel import Channel
from harness.model import Case, Cell, InputSpec, Plan, Problem, SpeedSpec
from harness.protocol import PROTOCOL_VERSION

HERE = Path(__file__).resolve()

OPERATION = "fake-operation"
BACKEND_NAMES = ("fake-a", "fake-b")


# ---- plans -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class FakeBackend:
    """Declares float32, and nothing else of it is ever asked."""

    name: str
    capabilities: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"float32": {"elementwise": "float32"}}
    )
    flags: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    autograd: bool = False


def declarations() -> dict[str, dict[str, Any]]:
    """Return what must be registered for plans of `make_plan`: registry → name → item."""
    from harness.registry import Cost, Formulation, Operation

    def never(*_: Any) -> Any:
        raise AssertionError("a fake child computes nothing")

    operation = Operation(
        name=OPERATION,
        title="Fake",
        formula="y = x",
        inputs={"x": "n"},
        outputs=("y",),
        dtypes=("float32",),
        reference=never,
        reference_version=1,
        bound_formula="0",
        bound_source="none",
        bound=never,
        cost=lambda shapes, parameters, size: Cost(shapes["x"][0] * 2, shapes["x"][0] * size),
    )
    formulations = {f"{OPERATION}/{name}": Formulation(OPERATION, name, never, name) for name in BEHAVIOURS}
    return {
        "OPERATIONS": {OPERATION: operation},
        "FORMULATIONS": formulations,
        "BACKENDS": {name: FakeBackend(name) for name in BACKEND_NAMES},
    }


def register() -> None:
    """Register the declarations for the rest of this process."""
    from harness import registry

    for name, items in declarations().items():
        for key, item in items.items():
            getattr(registry, name).add(key, item, __name__)


def make_cell(problem: str, formulation: str = "ok", backend: str = "fake-a", **changes: Any) -> Cell:
    values: dict[str, Any] = {
        "id": f"fake/{formulation}/{backend}/float32/{problem}",
        "case": "fake",
        "operation": OPERATION,
        "formulation": formulation,
        "backend": backend,
        "dtype": "float32",
        "mode": "forward",
        "axes": {},
        "profile": "quick",
        "problem": problem,
        "topic": "test",
        "guide": (),
        "seed": 0,
        "outputs": ("y",),
    }
    return Cell(**{**values, **changes})


def make_plan(cells: Iterable[Cell], parameters: Mapping[str, Mapping[str, Any]] | None = None) -> Plan:
    """Return a plan of cells; `parameters` by problem; problems differ in the value of their input."""
    cells = tuple(cells)
    problems = {
        key: Problem(
            key=key,
            case="fake",
            operation=OPERATION,
            dtype="float32",
            mode="forward",
            seed=0,
            parameters=(parameters or {}).get(key, {}),
            inputs=(InputSpec("x", "values", {"values": [key]}),),
            folder="/",
        )
        for key in dict.fromkeys(cell.problem for cell in cells)
    }
    case = Case("fake", "Fake", "test", OPERATION, ())
    return Plan(cells, problems, {"fake": case}, "default", {})


def many_cells(number: int, *, timed: int = 0) -> list[Cell]:
    """Return cells that do well, eight to a problem, on two backends; `timed` of them are timed too."""
    return [
        make_cell(
            f"p{i // 8}",
            id=f"fake/ok/{BACKEND_NAMES[i % 2]}/float32/i={i}",
            backend=BACKEND_NAMES[i % 2],
            speed=SpeedSpec() if i < timed else None,
        )
        for i in range(number)
    ]


# ---- children ----------------------------------------------------------------------------------------


def note(text: str) -> None:
    path = os.environ.get("FAKE_LOG")
    if path:
        with Path(path).open("a") as file:
            file.write(text + "\n")


def say_hello(channel: Channel) -> None:
    start = os.environ.get("FAKE_START", "well")
    hello = {"hello": PROTOCOL_VERSION, "pid": os.getpid()}
    if start == "exit":
        print("ImportError: no such library", file=sys.stderr)
        os._exit(3)
    if start == "silent":
        time.sleep(3600)
    if start == "error":
        channel.reply({**hello, "status": "error", "error": "fake is unavailable: no licence"})
        time.sleep(3600)
    if start == "version":
        hello["hello"] = 99
    if start == "noise":
        os.write(channel._replies, b"Welcome to Fake BLAS!\n\n42\n")
    channel.reply({**hello, "status": "ok", "facts": {"library": "fake 1.0"}})
    if start == "gone":
        os._exit(7)


def result_of(request: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(request["outputs"] + "y.npy")
    path.write_text(Path(request["inputs"]["x"]).read_text())
    return {
        "cell": request["cell"],
        "status": "ok",
        "outputs": {"y": str(path)},
        "format": {"y": "float32"},
        "result_digest": "d" + request["cell"],
        "seconds": 0.001,
    }


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)


def allocate() -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1) * (16 << 20)))
        time.sleep(0.01)


def leave_a_child_behind() -> None:
    """Die, while a grandchild keeps the pipe open."""
    grandchild = os.fork()
    if grandchild == 0:
        time.sleep(3600)
    note(f"grandchild {grandchild}")
    os._exit(5)


def die_the_first_time(request: Mapping[str, Any]) -> None:
    mark = Path(os.environ["FAKE_LOG"]).with_suffix(".died")
    if not mark.exists():
        mark.touch()
        os._exit(9)


def run(channel: Channel, request: Mapping[str, Any]) -> None:
    behaviour = request["formulation"]
    note(f"run {request['cell']}")
    raw = channel._replies
    if behaviour == "raises":
        channel.reply({"cell": request["cell"], "status": "raised", "error": "ValueError: no"})
        return
    if behaviour == "errs":
        channel.reply({"cell": request["cell"], "status": "error", "error": "no such formulation"})
        return
    if behaviour == "prints":
        os.write(raw, b"hello from a kernel\n[1, 2]\n")
    elif behaviour == "sleeps":
        time.sleep(3600)
    elif behaviour == "segfaults":
        segfault()
    elif behaviour == "exits":
        os._exit(3)
    elif behaviour == "allocates":
        allocate()
    elif behaviour == "forks":
        leave_a_child_behind()
    elif behaviour == "dies-once":
        die_the_first_time(request)
    elif behaviour == "closes":
        os.close(raw)
        time.sleep(3600)
    elif behaviour == "floods":
        while True:
            os.write(2, b"once more\n" * 1000)
    elif behaviour == "babbles":
        while True:
            os.write(raw, b"{" * 60_000)
    elif behaviour == "malformed":
        os.write(raw, b'{"cell": "fake/mal\n')
    elif behaviour == "mistaken":
        channel.reply({**result_of(request), "cell": "another"})
        return
    elif behaviour == "incomplete":
        channel.reply({"cell": request["cell"], "status": "ok"})
        return
    elif behaviour == "flips":
        channel.reply({**result_of(request), "fp_environment": "changed: rounds up", "replace": True})
        return
    channel.reply(result_of(request))


BEHAVIOURS = (
    "ok", "raises", "errs", "prints", "sleeps", "segfaults", "exits", "allocates", "forks", "dies-once",
    "closes", "floods", "babbles", "malformed", "mistaken", "incomplete", "flips",
    "timing-raises", "timing-dies", "timing-sleeps",
)  # fmt: skip


def siblings() -> int:
    """Return how many children our parent has, ourselves among them."""
    parent = os.getppid()
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += int(fields[1]) == parent and fields[0] != "Z"
    return found


def time_cells(channel: Channel, request: Mapping[str, Any]) -> None:
    cells = request["cells"]
    note(f"batch {len(cells)} siblings {siblings()}")
    channel.reply({"progress": {"done": 0, "of": len(cells)}})
    for cell in cells:
        behaviour = cell["formulation"]
        note(f"time {cell['cell']}")
        if not Path(cell["inputs"]["x"]).exists():
            channel.reply({"cell": cell["cell"], "status": "error", "error": "no inputs"})
            continue
        if behaviour == "timing-dies":
            segfault()
        if behaviour == "timing-sleeps":
            time.sleep(3600)
        if behaviour == "timing-raises":
            channel.reply({"cell": cell["cell"], "status": "raised", "error": "ValueError: tired"})
            continue
        timing = {"timer": "wall", "time_median_s": 1e-3, "samples": 20, "calls": 1, "converged": True}
        channel.reply({"cell": cell["cell"], "status": "ok", "timing": {**timing, "raw": [1e-3] * 20}})
        time.sleep(float(os.environ.get("FAKE_PAUSE", "0")))


def worker() -> None:
    channel = Channel()
    note("start worker")
    say_hello(channel)
    while True:
        request = channel.next_request()
        do = request["do"]
        if do == "run":
            run(channel, request)
            time.sleep(float(os.environ.get("FAKE_PAUSE", "0")))
        elif do == "time":
            time_cells(channel, request)
        elif do == "peak":
            note(f"peak {request['dtype']}")
            channel.reply({"status": "ok", "gflops": 10.0, "n": 64})
        elif do == "bandwidth":
            note("bandwidth")
            channel.reply({"status": "ok", "gbps": 5.0, "array_bytes": 1})
        else:
            channel.reply({"status": "ok"})


def referee() -> None:
    channel = Channel()
    say_hello(channel)
    scratch = Path(sys.argv[sys.argv.index("--scratch") + 1])
    while True:
        request = channel.next_request()
        if request["do"] not in ("prepare", "score"):
            channel.reply({"status": "error", "error": "unknown request"})
            continue
        problem = request["problem"]
        behaviour = problem.parameters.get(request["do"], "ok")
        note(f"{request['do']} {problem.key}")
        if behaviour == "dies":
            segfault()
        if behaviour == "sleeps":
            time.sleep(3600)
        if behaviour == "malformed":
            os.write(channel._replies, b"{]\n")
        if behaviour == "error":
            channel.reply(
                {
                    "cell": request.get("cell"),
                    "problem": problem.key,
                    "status": "error",
                    "error": "bad inputs",
                }
            )
            continue
        if request["do"] == "prepare":
            path = scratch / problem.key / "x.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = int(problem.parameters.get("size", 0))
            path.write_text(json.dumps(problem.inputs[0].arguments["values"]) + "." * size)
            salt = os.environ.get("FAKE_SALT", "")
            channel.reply(
                {
                    "problem": problem.key,
                    "status": "ok",
                    "inputs": {"x": str(path)},
                    "shapes": {"x": [8]},
                    "inputs_digest": f"digest of {problem.key}{salt}",
                    "data_error": 0.125,
                    "reference": "computed",
                    "undecided": 0,
                    "seconds": 0.001,
                }
            )
        else:
            text = Path(request["outputs"]["y"]).read_text()
            row = {"outcome": "ok", "bound_ratio": 0.5, "max_ulp": 1.0, "elements": len(text)}
            channel.reply({"cell": request["cell"], "status": "ok", "rows": {"y": row}})
        time.sleep(float(os.environ.get("FAKE_PAUSE", "0")))


# ---- a parent ----------------------------------------------------------------------------------------


def fake_programs(**variables: str) -> Any:
    """Return the programs of this file, with variables for workers (referees take this process's)."""
    from harness.execute import Programs

    return Programs(
        worker=(sys.executable, str(HERE), "worker"),
        referee=(sys.executable, str(HERE), "referee"),
        environment=lambda backend, threads: {"FAKE_THREADS": str(threads), **variables},
    )


def parent(folder: Path, cells: int, timed: int) -> None:
    from harness import store
    from harness.errors import UserError
    from harness.execute import Options, execute

    register()
    plan = make_plan(many_cells(cells, timed=timed))
    opened = store.start(plan, folder, resume=True)
    options = Options(jobs=2, scratch=folder / "scratch", programs=fake_programs())
    try:
        execute(plan, folder=folder, cache=folder / "cache", journal=opened.journal, options=options)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    store.finish(opened, store.rows(plan, opened.journal.records), [], [])


if __name__ == "__main__":
    if sys.argv[1] == "parent":
        parent(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        {"worker": worker, "referee": referee}[sys.argv[1]]()
