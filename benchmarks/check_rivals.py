"""The rules in `rivals.py` against the tools' own code, on random samples.

    pip install asv asv_runner pyperf pytest-benchmark
    python benchmarks/check_rivals.py [--google FOLDER]

FOLDER is `tools` of a checkout of google/benchmark, which no package holds. criterion.rs is written in Rust:
its rule is compared with a second one, written down literally, one resample at a time, and the early decision
with the full one. What is not installed is said, and not checked. A minute.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
import rivals

SIZES = (6, 8, 12, 19, 20, 21, 40, 120)
RATIOS = (1.0, 1.01, 1.03, 1.06, 1.1, 1.12, 1.3, 0.9)
Pair = tuple[list[float], list[float]]
Check = Callable[[Pair], bool | None]


def pairs(
    count: int, seed: int = 0, sizes: tuple[int, ...] = SIZES, spread: float | None = None
) -> Iterator[Pair]:
    """Return samples of log-normal times, a fifth of them rounded so that there are ties, a few alike."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        n = int(random.choice(sizes))
        base, head = 1e-6 * random.lognormal(0, spread or random.choice([0.005, 0.03, 0.1, 0.3]), (2, n))
        head *= random.choice(RATIOS)
        if random.random() < 0.2:
            base, head = np.round(base, 8), np.round(head, 8)
        if random.random() < 0.01:
            head = base.copy()
        yield base.tolist(), head.tolist()


def asv() -> Check:
    compare, runner = (importlib.import_module(n) for n in ("asv.commands.compare", "asv_runner.statistics"))
    own = importlib.import_module("asv._stats")

    def check(pair: Pair) -> bool:
        found = [runner.compute_stats(side, 1) for side in pair]
        base, head = (value for value, _ in found)
        samples = [(s, side) for (_, s), side in zip(found, pair, strict=True)]
        worse = compare._is_result_better(base, head, *samples, 1.1)
        beyond = compare._is_result_better(base, head, None, None, 1.1)
        says = "slower" if worse else "cannot tell" if beyond else "not slower"
        same = math.isclose(
            own.mann_whitney_u(*pair)[1], rivals.asv_p_value(*pair), rel_tol=1e-9, abs_tol=1e-15
        )
        return same and rivals.asv(*pair) == says

    return check


def pyperf() -> Check:
    library, compare = (importlib.import_module(name) for name in ("pyperf", "pyperf._compare"))
    table = importlib.import_module("pyperf._utils").tdist95conf_level
    wrong = [freedom for freedom in range(1, 1000) if table(freedom) != rivals.pyperf_critical(freedom)]
    if wrong:
        print(f"pyperf: critical values differ at {wrong} degrees of freedom")

    def check(pair: Pair) -> bool:
        sides = [
            compare.CompareData(
                name, library.Benchmark([library.Run(v, metadata={"name": "x"}, collect_metadata=False)])
            )
            for name, v in zip(("base", "head"), pair, strict=True)
        ]
        result = compare.CompareResult(*sides)
        slower = result.significant and result.norm_mean > 1
        return rivals.pyperf(*pair) == ("slower" if slower else "not slower")

    return check


def pytest_benchmark() -> Check:
    parse = importlib.import_module("pytest_benchmark.utils").parse_compare_fail
    own = importlib.import_module("pytest_benchmark.stats").Stats

    def check(pair: Pair) -> bool:
        both = [own(), own()]
        for side, values in zip(both, pair, strict=True):
            for value in values:
                side.update(value)
        base, head = (side.as_dict() for side in both)
        return all(
            bool(parse(f"{field}:5%").fails(head, base))
            == (rivals.pytest_benchmark(*pair, field) == "slower")
            for field in ("mean", "median", "min")
        )

    return check


def google() -> Check:
    report = importlib.import_module("gbench.report")

    def check(pair: Pair) -> bool:
        enough, _, p = report.calc_utest(pair, pair)
        slower = p < 0.05 and median(pair[1]) > median(pair[0])
        says = "cannot tell" if not enough else "slower" if slower else "not slower"
        return rivals.google_benchmark(*pair) == says

    return check


def criterion_literally(
    base: list[float], head: list[float], resamples: int, seed: int
) -> tuple[float, float]:
    """Return the p value and the lower end of the interval of the ratio − 1, as the Rust code does."""
    random = np.random.default_rng(seed)

    def draw(values: list[float]) -> list[float]:
        return [values[i] for i in random.integers(0, len(values), len(values))]

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    def t(a: list[float], b: list[float]) -> float:
        error = 0.0
        for values in (a, b):
            middle = mean(values)
            error += math.fsum((x - middle) ** 2 for x in values) / (len(values) - 1) / len(values)
        return (mean(a) - mean(b)) / math.sqrt(error)

    distribution = []
    for _ in range(resamples):
        pool = draw(head + base)
        distribution.append(t(pool[: len(head)], pool[len(head) :]))
    hits = sum(x < t(head, base) for x in distribution)
    p = min(hits, resamples - hits) / resamples * 2
    chunks = math.ceil(math.sqrt(resamples))
    each, ratios = (resamples + chunks - 1) // chunks, []
    for i in range(chunks):
        above = mean(draw(head))
        for _ in range(i * each, min((i + 1) * each, resamples)):
            ratios.append(above / mean(draw(base)) - 1)  # noqa: PERF401
    ratios.sort()
    rank = 0.025 * (resamples - 1)
    low, part = math.floor(rank), rank - math.floor(rank)
    return p, ratios[low] + (ratios[low + 1] - ratios[low]) * part


def check_criterion(count: int) -> None:
    """Print how far both differ, and how often the early decision is the full one."""
    resamples = 10_000
    off_p, off_low = [], []
    for base, head in pairs(12, seed=3, sizes=(20, 40), spread=0.05):
        p, low = criterion_literally(base, head, resamples, seed=5)
        ours_p = rivals.criterion_p_value(base, head, resamples)
        a, b = np.array(head), np.array(base)
        ratios = rivals.criterion_ratios(a, b, resamples, np.random.default_rng(0))
        off_p.append(abs(p - ours_p) / math.sqrt(max(p, 1e-3) * 2 / resamples * 2))
        width = float(np.quantile(ratios, 0.975) - np.quantile(ratios, 0.025))
        off_low.append(abs(low - float(np.quantile(ratios, 0.025))) / width)
    print(
        f"criterion.rs: against {resamples} resamples one at a time, 12 pairs: p differs by at most "
        f"{max(off_p):.1f} standard errors, the interval's lower end by {max(off_low):.1%} of its width"
    )
    full, again, early, seconds = [], [], [], 0.0
    for base, head in pairs(count, seed=4, sizes=(20, 40, 120), spread=0.04):
        full.append(rivals.criterion(base, head, first=0, seed=1))
        again.append(rivals.criterion(base, head, first=0, seed=2))
        start = time.perf_counter()
        early.append(rivals.criterion(base, head, seed=3))
        seconds += time.perf_counter() - start
    same = sum(a == b for a, b in zip(full, early, strict=True))
    itself = sum(a == b for a, b in zip(full, again, strict=True))
    print(
        f"criterion.rs: early decision as the full one {same} of {count}; the full one as itself with other "
        f"random numbers {itself} of {count}; {seconds / count * 1e3:.1f} ms each; {dict(Counter(full))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--google", metavar="FOLDER", help="`tools` of a checkout of google/benchmark")
    parser.add_argument("--pairs", type=int, default=2000)
    options = parser.parse_args()
    if options.google:
        sys.path.insert(0, options.google)
    tools: dict[str, tuple[Callable[[], Check], Any]] = {
        "asv": (asv, "asv"),
        "pyperf": (pyperf, "pyperf"),
        "pytest-benchmark": (pytest_benchmark, "pytest-benchmark"),
        "Google Benchmark": (google, None),
    }
    failed = False
    for name, (make, distribution) in tools.items():
        try:
            check = make()
        except ImportError as error:
            print(f"{name}: not checked ({error})")
            continue
        version = importlib.metadata.version(distribution) if distribution else options.google
        agree = sum(bool(check(pair)) for pair in pairs(options.pairs))
        failed |= agree != options.pairs
        print(f"{name} ({version}): {agree} of {options.pairs} agree")
    check_criterion(200)
    sys.exit(failed)


if __name__ == "__main__":
    main()
