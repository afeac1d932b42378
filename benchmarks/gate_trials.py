"""Trials of the speed gate on itself: identical code, and slowdowns that are planted. Run by hand.

    python benchmarks/gate_trials.py identical --families 13 --out trials.jsonl
    python benchmarks/gate_trials.py identical --families 13 --loaded --out trials.jsonl
    python benchmarks/gate_trials.py planted --work 105 --families 3 --out trials.jsonl
    python benchmarks/gate_trials.py planted --work 105 --single --families 40 --out trials.jsonl
    python benchmarks/evaluate_gate.py trials.jsonl

A family is what one `harness compare` would measure: 40 pairs, on one thread and on two in turn (planted: on
one). `--single` takes one pair of the family at a time. Beside its rounds each pair is measured once more as
other tools would, all of the base and then all of the head, on one set of inputs, wherever the system puts
it: for their rules. `--loaded` keeps one core busy with something else. Each pair adds a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import api
from harness.compare.measure import Measuring, Settings, Timed
from harness.compare.model import Side
from harness.compare.pairs import pairs_of
from harness.compare.run import measuring, programs_of
from harness.errors import NothingSelectedError
from harness.execute import Options
from harness.execute.progress import Silent
from harness.execute.rounds import SideError, Trio

HERE = Path(__file__).parent
TRIALS = HERE / "trials"
PLUGIN = str(TRIALS / "planted_work.py")
SEQUENTIAL = 20
"""Slots of each side, one side after the other."""


class AlsoSequential(Measuring):
    """Takes slots of one side and then of the other, after the rounds of a batch."""

    sequential: dict[str, dict[str, list[float]]]

    def _screen_batch(self, trio: Trio, batch: Sequence[Timed], number: int) -> None:
        super()._screen_batch(trio, batch, number)
        self.sequential = getattr(self, "sequential", {})
        for pair in batch:
            if pair.series is None or pair.error is not None:
                continue
            series = pair.series
            request: dict[str, Any] = {
                "do": "slot", "cell": pair.name, "timer": series.timer, "calls": series.calls,
                "sub_blocks": series.sub_blocks, "seed": 0, "cpus": sorted(os.sched_getaffinity(0)),
                "fresh": False,
            }  # fmt: skip
            slots = min(SEQUENTIAL, len(series.rounds))
            try:
                self.sequential[pair.name] = {
                    side: [float(trio._ask(side, request, 60.0)["seconds"]) for _ in range(slots)]
                    for side in ("base", "head")
                }
            except SideError:
                continue


def main() -> None:
    """Run trials."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["identical", "planted"])
    parser.add_argument(
        "--work", type=int, default=105, choices=[100, 102, 103, 105, 110], help="head's, base 100"
    )
    parser.add_argument("--families", type=int, default=1)
    parser.add_argument("--threads", type=int, choices=[1, 2], help="of identical code; else both in turn")
    parser.add_argument("--single", action="store_true", help="one pair a family")
    parser.add_argument(
        "--slow", action="store_true", help="identical products of 20 to 50 ms, on one thread and two"
    )
    parser.add_argument("--loaded", action="store_true", help="keep one core busy")
    parser.add_argument("--threshold", type=float, default=None, help="floor of δ")
    parser.add_argument("-k", dest="keyword", default=None)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if options.loaded else None
    try:
        for family in range(options.families):
            _family(options, family)
    finally:
        if burner is not None:
            burner.kill()


def _pairs(options: argparse.Namespace, family: int) -> tuple[Any, list[Any]]:
    """Return the plan and the pairs of one family."""
    if options.slow:
        plan = api.plan([TRIALS / "slow"], keyword=options.keyword)
        return plan, pairs_of(plan.cells, {}, {})[0]
    if options.kind == "identical":
        threads = options.threads or 1 + family % 2
        plan = api.plan([TRIALS / f"identical-{threads}"], keyword=options.keyword)
        return plan, pairs_of(plan.cells, {}, {})[0]
    plan = api.plan([TRIALS / "planted"], plugins=[PLUGIN], keyword=options.keyword)
    found = []
    for unit in ("spin", "exp", "softmax", "matmul"):
        sides = [{"formulation": f"{unit}_{count}"} for count in (100, options.work)]
        try:
            found += pairs_of(plan.cells, *sides)[0]
        except NothingSelectedError:  # left out by -k
            continue
    return plan, found


def _family(options: argparse.Namespace, family: int) -> None:
    plan, pairs = _pairs(options, family)
    if options.single:
        pairs = [pairs[family % len(pairs)]]
    side = Side("here", "here", sys.executable, (str(HERE.parent),), (PLUGIN,))
    programs = {name: programs_of(side, (PLUGIN,)) for name in ("base", "head")}
    timed = [Timed(pair.name, pair.base, pair.head) for pair in pairs]
    settings = Settings() if options.threshold is None else Settings(floor=options.threshold)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        measure = measuring(
            plan, timed, programs, settings, Path(folder), api.cache_folder(), Options(), Silent(),
            AlsoSequential,
        )  # fmt: skip
        with measure as found:
            found.run()
    assert isinstance(found, AlsoSequential)
    number = f"{options.kind}-{options.work}-{options.single}-{options.loaded}-{time.time():.0f}"
    with options.out.open("a") as file:
        for pair in found.pairs:
            if pair.series is None:
                print("not measured:", pair.name, pair.error, flush=True)
                continue
            line = {
                "op": pair.name,
                "threads": max(key.threads for key in pair.keys),
                "loaded": options.loaded,
                "family": number,
                "single": options.single,
                "planted": options.work / 100 if options.kind == "planted" else 1.0,
                "verdict": pair.verdict,
                "error": None if pair.error is None else str(pair.error),
                "screened": pair.screened,
                "seconds": pair.seconds,
                "rounds": len(pair.series.rounds),
                "threshold": pair.threshold,
                "null": pair.null,
                "base": pair.series.times("base"),
                "head": pair.series.times("head"),
                "twin": pair.series.times("twin"),
                "fresh": [series.ds() for series in pair.fresh],
                "sequential_base": found.sequential.get(pair.name, {}).get("base", []),
                "sequential_head": found.sequential.get(pair.name, {}).get("head", []),
            }
            file.write(json.dumps(line) + "\n")
    verdicts = [pair.verdict for pair in found.pairs]
    told = ", ".join(f"{verdicts.count(v)} {v}" for v in ("fail", "inconclusive", "pass"))
    print(f"family {family}: {len(verdicts)} pairs in {time.monotonic() - start:.0f} s: {told}", flush=True)


if __name__ == "__main__":
    main()
