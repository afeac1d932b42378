"""Absolute times of six operations by five tools, in one session: do ours agree with what others print?

    pip install pyperf pytest-benchmark
    python benchmarks/absolute_times.py [--passes 12] [--save times.jsonl]   # 15 s a pass and operation
    python benchmarks/absolute_times.py --explain    # where differences come from

Each pass starts fresh processes for each operation, in random order: one in which our slots, timeit and
torch.utils.benchmark measure one after the other in random order, on the same arrays, ours twice; one more of
ours; one of pytest-benchmark; pyperf with its own. A ratio is tool / ours of the same pass, its interval that
of the median over passes. `ours, another process` is what two processes differ in of themselves: where
arrays, code and stack lie. Every process has one thread, imports NumPy and torch, times the same callables.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterator
from itertools import repeat, starmap
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from harness.backends.alignment import aligned_copy
from harness.timing.calibrate import calibrate
from harness.timing.clock import WallTimer, collector_off, empty
from harness.timing.sample import Rules, TimedCell, Timing, time_batch
from harness.timing.statistics import median_interval

Thunk = Callable[[], Any]
OPERATION = "ABSOLUTE_TIMES_OPERATION"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
APART = 0.03
TOOLS = {
    "ours again": "ours again, same process",
    "ours elsewhere": "ours, another process",
    "timeit median": "timeit, median of 5",
    "timeit min": "timeit, min of 5",
    "torch": "torch.utils.benchmark, median",
    "pyperf": "pyperf, median",
    "pytest-benchmark": "pytest-benchmark, median",
    "pytest-benchmark min": "pytest-benchmark, min",
}


# --------------------------------------------------------------------------------------------- operations


def operation(name: str) -> Thunk:
    """Return the callable that every tool times: with inputs of its own, seeded, at 64-byte boundaries."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    generator = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return aligned_copy(generator.uniform(-1, 1, shape))

    if name == "nothing":
        return empty
    if name == "np.add 3000":
        a, b, out = array(3000), array(3000), array(3000)
        return lambda: np.add(a, b, out=out)
    if name == "np.exp 10000":
        a, out = array(10_000), array(10_000)
        return lambda: np.exp(a, out=out)
    if name == "NumPy softmax 8×1024":
        x = array(8, 1024)

        def softmax() -> Any:
            e = np.exp(x - x.max(axis=-1, keepdims=True))
            return e / e.sum(axis=-1, keepdims=True)

        return softmax
    if name == "torch softmax 64×1024":
        t = torch.from_numpy(array(64, 1024))
        return lambda: torch.softmax(t, -1)
    n = {"np.matmul 256": 256, "np.matmul 1024": 1024}[name]
    a, b, out = array(n, n), array(n, n), array(n, n)
    return lambda: np.matmul(a, b, out=out)


OPERATIONS = (
    "np.add 3000",
    "np.exp 10000",
    "NumPy softmax 8×1024",
    "torch softmax 64×1024",
    "np.matmul 256",
    "np.matmul 1024",
)


# ------------------------------------------------------------------------------------------ in one process


def ours(thunk: Thunk) -> Timing:
    (found,) = time_batch([TimedCell("x", thunk, budget_s=2.0)], WallTimer(), random.Random(0))
    assert isinstance(found, Timing), found
    return found


def measured(name: str) -> dict[str, float]:
    """Return what ours, timeit and torch say of one operation in this process, in random order."""
    thunk = operation(name)

    def by_us(key: str) -> dict[str, float]:
        found = ours(thunk)
        return {key: found.median_s, f"overhead {key}": found.overhead_fraction}

    def by_timeit() -> dict[str, float]:
        timer = timeit.Timer(thunk)
        calls, _ = timer.autorange()
        times = [seconds / calls for seconds in timer.repeat(5, calls)]
        return {"timeit median": median(times), "timeit min": min(times)}

    def by_torch() -> dict[str, float]:
        from torch.utils.benchmark import Timer

        return {"torch": Timer("thunk()", globals={"thunk": thunk}).blocked_autorange().median}

    tools = [lambda: by_us("ours"), lambda: by_us("ours again"), by_timeit, by_torch]
    random.shuffle(tools)
    found: dict[str, float] = {}
    for tool in tools:
        found |= tool()
    return found


def run_pyperf() -> None:
    """Be the program that pyperf starts, and starts again in its worker processes."""
    import pyperf

    pyperf.Runner().bench_func("operation", operation(os.environ[OPERATION]))


def test_operation(benchmark: Any) -> None:
    """Be the test that pytest-benchmark measures."""
    benchmark(operation(os.environ[OPERATION]))


# --------------------------------------------------------------------------------------------- experiments


def loops(thunk: Thunk) -> dict[str, Callable[[int], float]]:
    """Return, for each tool, a function that takes a number of calls and returns the seconds of its loop."""
    wall, standard = WallTimer(), timeit.Timer(thunk)

    def of_pyperf(calls: int) -> float:
        function, turns, timer = thunk, range(calls), perf_counter
        start = timer()
        for _ in turns:
            function()
        return timer() - start

    def of_pytest_benchmark(calls: int) -> float:
        function, turns, timer, args, kwargs = thunk, range(calls), perf_counter, (), {}
        start = timer()
        for _ in turns:
            function(*args, **kwargs)
        return timer() - start

    def list_of_results(calls: int) -> float:
        start = perf_counter()
        list(starmap(thunk, repeat((), calls)))
        return perf_counter() - start

    return {
        "ours": lambda calls: wall.measure(thunk, calls),
        "timeit": standard.timeit,
        "torch": timeit.Timer("thunk()", globals={"thunk": thunk}).timeit,
        "pyperf": of_pyperf,
        "pytest-benchmark": of_pytest_benchmark,
        "results kept": list_of_results,
    }


def deeper(measure: Callable[[int], float], calls: int, depth: int) -> float:
    """Return what `measure` does when called below so many more frames of C: the stack lies elsewhere."""
    return next(map(deeper, [measure], [calls], [depth - 1])) if depth else measure(calls)


def explained(name: str, rounds: int = 60) -> dict[str, float]:
    """Return times of one operation, seconds a call, that differ from ours in one thing each."""
    thunk, rules = operation(name), Rules()
    calls = calibrate(WallTimer(), thunk, rules.sub_block_s, rules.long_call_s).calls
    ways: dict[str, Callable[[], float]] = {}
    for loop, measure in loops(thunk).items():
        if loop == "results kept" and calls * 100_000 > 1e9:
            continue
        ways[f"loop of {loop}"] = lambda m=measure: min(m(calls) for _ in range(4)) / calls
    own = loops(thunk)["ours"]
    few = max(1, min(calls, round(10e-6 / max(1e-9, own(calls) / calls))))
    fixture = loops(thunk)["pytest-benchmark"]
    ways["one call a block, median of 50, loop of pytest-benchmark"] = lambda: median(
        fixture(1) for _ in range(50)
    )
    for depth in (1, 2, 3, 5, 8):
        ways[f"{depth} more C frames below"] = lambda d=depth: (
            min(deeper(own, calls, d) for _ in range(4)) / calls
        )
    ways["blocks of 10 µs"] = lambda: min(own(few) for _ in range(4)) / few
    ways["blocks of 10 µs, loop of pytest-benchmark"] = lambda: min(fixture(few) for _ in range(4)) / few
    ways["one block, no minimum"] = lambda: own(calls) / calls

    def collecting() -> float:
        gc.enable()
        try:
            return min(own(calls) for _ in range(4)) / calls
        finally:
            gc.disable()

    ways["collector on"] = collecting
    once = own(calls) / calls
    lengths = {f"blocks of {ms} ms, no minimum": max(1, round(ms * 1e-3 / once)) for ms in (2, 20, 100)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    long: dict[str, list[float]] = {way: [] for way in lengths}
    with collector_off():
        for turn in range(rounds):
            for way in random.sample(list(ways), len(ways)):
                times[way].append(ways[way]())
            if turn % 6 == 0:
                for way, many in lengths.items():
                    long[way].append(own(many) / many)
    found = {way: median(values) for way, values in (times | long).items()}
    single = times["one block, no minimum"]
    return found | {
        "one block, mean": statistics.fmean(single),
        "one block, min of all": min(single),
    }


# -------------------------------------------------------------------------------------------- the processes


def environment(name: str) -> dict[str, str]:
    return os.environ | dict.fromkeys(THREADS, "1") | {OPERATION: name}


def run(arguments: list[str], name: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(name), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{name}: {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def child(mode: str, name: str) -> dict[str, float]:
    return json.loads(run([__file__, mode, name], name).splitlines()[-1])


def by_pyperf(name: str, folder: Path) -> dict[str, float]:
    """Return pyperf's median over its values: two worker processes beside that which calibrates.

    Without `--copy-env` its workers get none of our environment: no number of threads, and, where
    OPENBLAS_CORETYPE is set, another matmul.
    """
    import pyperf

    out = folder / "pyperf.json"
    out.unlink(missing_ok=True)
    run([__file__, "--processes=2", "--values=3", "--quiet", "--copy-env", "-o", str(out)], name)
    return {"pyperf": pyperf.Benchmark.load(str(out)).median()}


def by_pytest(name: str, folder: Path) -> dict[str, float]:
    out, empty_file = folder / "benchmark.json", folder / "pytest.ini"
    empty_file.write_text("[pytest]\n", encoding="utf-8")
    arguments = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-c",
        str(empty_file),
        f"--benchmark-json={out}",
    ]
    run(["-m", "pytest", f"{__file__}::test_operation", *arguments], name)
    found = json.loads(out.read_text(encoding="utf-8"))["benchmarks"][0]["stats"]
    return {
        "pytest-benchmark": found["median"],
        "pytest-benchmark min": found["min"],
        "pytest-benchmark calls": found["iterations"],
    }


def passes(count: int, names: list[str], folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the times of one operation by all tools, each operation `count` times, all in random order."""
    for turn in range(count):
        for name in random.sample(names, len(names)):
            tools: list[Callable[[], dict[str, float]]] = [
                lambda n=name: child("--measure", n),
                lambda n=name: {"ours elsewhere": child("--ours", n)["ours"]},
                lambda n=name: by_pyperf(n, folder),
                lambda n=name: by_pytest(n, folder),
            ]
            random.shuffle(tools)
            found: dict[str, float] = {}
            for tool in tools:
                found |= tool()
            print(f"pass {turn + 1} of {count}: {name}", file=sys.stderr)
            yield name, found


# ----------------------------------------------------------------------------------------------- the tables


def seconds(value: float) -> str:
    for unit, factor in (("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.4g} {unit}"
    return f"{value * 1e9:.3g} ns"


def ratio(values: list[float]) -> str:
    """Return the median ratio with its interval; bold and marked where the interval is beyond 3 %, or `*`."""
    middle, interval = median(values), median_interval(values)
    text = f"{middle:.3f}"
    if interval is not None:
        text += f" [{interval.low:.3f}, {interval.high:.3f}]"
        if interval.low > 1 + APART or interval.high < 1 - APART:
            return f"**{text}** !"
    return text + (" *" if abs(middle - 1) > APART else "")


def print_times(found: dict[str, list[dict[str, float]]]) -> None:
    found = {name: turns for name, turns in found.items() if turns}
    names = list(found)
    count = min(map(len, found.values()), default=0)
    print(f"Time of a call, and tool / ours: median over {count} passes with a 95 % interval.")
    print("`!`: the interval is more than 3 % from 1. `*`: the median is, the interval is not.\n")
    print("| | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for key, title in (("ours", "ours"), ("overhead ours", "our loop, of the time")):
        middle = [median([turn[key] for turn in found[name]]) for name in names]
        cells = [seconds(m) if key == "ours" else f"{m:.2%}" for m in middle]
        print(f"| {title} | " + " | ".join(cells) + " |")
    for tool, title in TOOLS.items():
        cells = [ratio([turn[tool] / turn["ours"] for turn in found[name]]) for name in names]
        print(f"| {title} | " + " | ".join(cells) + " |")
    calls = [" ".join(str(turn["pytest-benchmark calls"]) for turn in found[name]) for name in names]
    print("| pytest-benchmark, calls a round | " + " | ".join(calls) + " |")
    between = []
    for name in names:
        middles = sorted(t for turn in found[name] for t in (turn["ours"], turn["ours elsewhere"]))
        between.append(f"{middles[-1] / middles[0] - 1:.1%}")
    print("| ours, slowest over fastest process | " + " | ".join(between) + " |")


def print_explanations(repeats: int, names: list[str]) -> None:
    names = ["nothing", *names]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in random.sample(names, len(names)):
            found[name].append(child("--explain-one", name))
    print(
        f"What differs from our slot in one thing: median over {repeats} processes (60 rounds each, in turn)."
    )
    print("Difference from ours in ns a call, and the ratio to ours with its interval over processes.\n")
    print("| | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    start = [seconds(median([turn["loop of ours"] for turn in found[name]])) for name in names]
    print("| ours | " + " | ".join(start) + " |")
    for way in [way for way in found[names[1]][0] if way != "loop of ours"]:
        cells = []
        for name in names:
            turns = [turn for turn in found[name] if way in turn]
            if not turns:
                cells.append("")
                continue
            more = median([turn[way] - turn["loop of ours"] for turn in turns]) * 1e9
            cells.append(f"{more:+.0f} ns; " + ratio([turn[way] / turn["loop of ours"] for turn in turns]))
        print(f"| {way} | " + " | ".join(cells) + " |")


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] in ("--measure", "--ours", "--explain-one"):
        mode, name = sys.argv[1:]
        if mode == "--ours":
            print(json.dumps({"ours": ours(operation(name)).median_s}))
        else:
            print(json.dumps((measured if mode == "--measure" else explained)(name)))
        return
    if OPERATION in os.environ:
        run_pyperf()
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passes", type=int, default=12, help="at least 6 for an interval")
    parser.add_argument("--only", action="append", choices=OPERATIONS, help="may be given more than once")
    parser.add_argument("--save", type=Path, help="append each pass to this file, one line an operation")
    parser.add_argument(
        "--explain", action="store_true", help="loops and statistics, one difference at a time"
    )
    parser.add_argument("--show", type=Path, help="measure nothing: print the table of such a file")
    options = parser.parse_args()
    if options.show:
        saved = [json.loads(line) for line in options.show.read_text(encoding="utf-8").splitlines()]
        print_times({n: [turn for turn in saved if turn["operation"] == n] for n in OPERATIONS})
        return
    missing = [n for n in ("pyperf", "pytest_benchmark", "torch") if importlib.util.find_spec(n) is None]
    if missing:
        sys.exit(f"not installed here: {', '.join(missing)}. pip install pyperf pytest-benchmark torch")
    names = options.only or list(OPERATIONS)
    if options.explain:
        print_explanations(options.passes, options.only or [n for n in names if n != "np.matmul 1024"])
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for name, times in passes(options.passes, names, Path(folder)):
            found[name].append(times)
            if options.save:
                with options.save.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"operation": name, **times}, ensure_ascii=False) + "\n")
    print_times(found)


if __name__ == "__main__":
    main()
