"""Comparisons made up for tests of their reports: every verdict and kind, many decades, hostile texts.

Nothing here is measured. Times follow a seeded scatter, and verdicts follow from the numbers by the
rules that a comparison has, so that what a report says of a pair can be told from its numbers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from harness.compare.model import KINDS, VERDICTS, Comparison, Null, Pair, Side
from harness.model import Written, cell_id

EVIL = (
    "</script><img src=//evil.invalid/x onerror=alert(1)><b>\"'`${1}|*_[x](http://evil.invalid)\x1b[31m\u202e"
)
LONG = "could not be built: " + "the kernel was not found in any of the places it was looked for, " * 80

BASE = Side(
    spec="main~1",
    title="main~1 (3bcc28c): A gradient that fails its test names its cell",
    interpreter="/opt/venv/bin/python",
    folders=("/tmp/worktrees/3bcc28c",),
    revision="3bcc28c90367f81dcdcb08cd703",
    versions={"numpy": "2.4.6", "scipy": "1.17.0", "torch": "2.13.0"},
    facts={"numpy/1": {"blas": "OpenBLAS 0.3.30", "threads": "1"}},
)
HEAD = Side(
    spec="here",
    title="here (c90367f+): The style sheet of the report stands once",
    interpreter="/opt/venv/bin/python",
    revision="c90367f08cd703a794e7a1f91c8+",
    versions={"numpy": "2.4.6", "scipy": "1.17.1", "torch": "2.13.0"},
    facts={"numpy/1": {"blas": "OpenBLAS 0.3.31", "threads": "1"}},
)

NULLS = (
    Null(decade=-7, cells=3, median=0.0102, largest=0.021, threshold=0.0306),
    Null(decade=-6, cells=11, median=0.0061, largest=0.017, threshold=0.02),
    Null(decade=-5, cells=13, median=0.0034, largest=0.0088, threshold=0.02),
    Null(decade=-4, cells=8, median=0.0021, largest=0.0051, threshold=0.02),
    Null(decade=-3, cells=5, median=0.0013, largest=0.0019, threshold=0.02),
)

SETTINGS: dict[str, Any] = {
    "floor": 0.02,
    "null_factor": 3,
    "looks": [20, 60, 180],
    "confidence": 0.99,
    "budget_s": 600,
    "sets": 3,
    "allow_accuracy_loss": False,
    "profile": "default",
    "selection": {"paths": ["cases"], "keyword": "not float16"},
}
CONDITIONS: dict[str, Any] = {
    "cpu": "AMD EPYC 7763 64-Core Processor",
    "cores": 2,
    "load": 0.31,
    "steal_fraction": 0.0004,
    "governor": "performance",
}

# case, operation, formulation, the axes, and seconds of the base.
_CELLS: Sequence[tuple[str, str, str, Mapping[str, Written], float]] = (
    ("softmax-overflow", "softmax", "naive", {"n": 8, "top": Decimal("0.25")}, 9.1e-7),
    ("softmax-overflow", "softmax", "shifted", {"n": 1024, "top": Decimal("0.99")}, 4.4e-6),
    ("softmax-overflow", "softmax", "online", {"n": 1024, "top": Decimal("0.99")}, 8.2e-6),
    ("softmax-overflow", "softmax", "library", {"n": 65536, "top": Decimal("2")}, 1.63e-4),
    ("matmul-square", "matmul", "library", {"n": 64}, 1.12e-5),
    ("matmul-square", "matmul", "blocked", {"n": 256}, 7.4e-4),
    ("matmul-square", "matmul", "library", {"n": 512}, 2.61e-3),
    ("least-squares-condition", "least_squares", "qr", {"kappa": Decimal("-0.6"), "angle": 0}, 3.91e-5),
    ("attention-causal-mask", "attention", "flash", {"n": 256, "heads": 4, "mask": "causal"}, 5.5e-5),
    ("dot-products", "dot", "pairwise", {"n": 100000}, 2.2e-5),
)

_PLANNED: Sequence[tuple[str, float, float]] = (
    # kind, head / base, half the width of the interval as ln
    ("traded", 0.71, 0.006),
    ("less_accurate", 1.003, 0.006),
    ("less_accurate", 0.994, 0.005),
    ("slower", 1.482, 0.008),
    ("slower", 1.127, 0.01),
    ("slower", 1.052, 0.0055),
    ("not_measured", math.nan, 0.0),
    ("not_measured", math.nan, 0.0),
    ("undecided", 1.021, 0.019),
    ("undecided", 1.009, 0.035),
    ("undecided", 1.031, 0.022),
    ("faster", 0.52, 0.004),
    ("faster", 0.881, 0.007),
    ("faster", 0.934, 0.006),
    ("faster", 0.962, 0.004),
    ("more_accurate", 1.004, 0.006),
    ("more_accurate", 0.998, 0.004),
    ("changed", 0.999, 0.005),
    ("changed", 1.006, 0.005),
    ("changed", 1.001, 0.007),
)


def verdict_of(kind: str) -> str:
    """Return the verdict that a kind has."""
    place = list(KINDS).index(kind)
    return VERDICTS[0 if place < 3 else 1 if place < 5 else 2]


def pair(number: int, kind: str, ratio: float, half: float, scatter: random.Random) -> Pair:
    """Return one pair of a kind, its numbers about those given."""
    case, operation, formulation, axes, seconds = _CELLS[number % len(_CELLS)]
    backend = ("numpy", "torch-cpu")[number // len(_CELLS) % 2]
    dtype = ("float64", "float32")[number // (2 * len(_CELLS)) % 2]
    cell = cell_id(case, formulation, backend, dtype, axes)
    digits = (15.3 if dtype == "float64" else 6.8) - scatter.uniform(0, 1.4)
    common = Pair(
        cell=cell, base_cell=cell, case=case, operation=operation, formulation=formulation, backend=backend,
        dtype=dtype, axes=axes, threads=1, cache="hot", verdict=verdict_of(kind), kind=kind,
        reason="", base_outcome="ok", base_digits=digits, base_bound_ratio=0.11, base_digest="0" * 64,
    )  # fmt: skip
    if kind == "not_measured":
        return replace(
            common,
            reason="head: MemoryError: unable to allocate 512 MiB for an array of shape (8192, 8192)",
            head_outcome="raised",
            error="head: MemoryError: unable to allocate 512 MiB for an array of shape (8192, 8192)",
        )
    seconds *= scatter.uniform(0.9, 1.1)
    delta = 0.0306 if seconds < 1e-6 else 0.02
    low, high = ratio * math.exp(-half * 1.04), ratio * math.exp(half)
    speed = "fail" if low > 1 + delta else "pass" if high < 1 + delta else "inconclusive"
    shown, percent = f"{ratio:.3f} × [{low:.3f}, {high:.3f}]", f"{delta:.1%}"
    said = {
        "fail": f"{shown}, beyond {percent}, shown again by 3 of 3 fresh sets",
        "pass": f"{shown}, below {percent} after 20 rounds",
        "inconclusive": f"{shown} holds {percent} after 180 rounds",
    }
    lost = {"traded": 4.1, "less_accurate": 2.2, "less_accurate_allowed": 2.2, "more_accurate": -1.3}
    worse = {"traded": "worse", "less_accurate": "worse", "less_accurate_allowed": "worse"}
    accuracy = worse.get(kind, "better" if kind == "more_accurate" else "same")
    accuracy = "changed" if kind == "changed" else accuracy
    return replace(
        common,
        reason=said[speed],
        speed=speed,
        accuracy=accuracy,
        timer="wall",
        base_s=seconds,
        head_s=seconds * ratio,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        confidence=0.99,
        threshold=delta,
        null=abs(scatter.gauss(0, 0.004)),
        rounds=180 if kind in ("undecided", "slower") else 20,
        calls=max(1, round(2e-3 / seconds)),
        confirmed=3 if kind == "slower" else None,
        asked_to_confirm=3 if kind == "slower" else None,
        seconds=scatter.uniform(0.4, 9),
        head_outcome="ok",
        head_digits=digits - lost.get(kind, 0.0),
        head_bound_ratio=0.11 * 10 ** lost.get(kind, 0.0),
        head_digest=("0" if accuracy == "same" else "1") * 64,
    )


def worst_first(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return pairs as a comparison orders them."""
    kinds = list(KINDS)
    return tuple(sorted(pairs, key=lambda p: (kinds.index(p.kind), -abs(math.log(p.ratio or 1.0)))))


def exit_code_of(pairs: Sequence[Pair], *, finished: bool = True) -> int:
    """Return the exit code of a comparison of these pairs."""
    verdicts = {p.verdict for p in pairs}
    if not finished:
        return 130
    return 1 if "fail" in verdicts else 3 if "inconclusive" in verdicts or not pairs else 0


def comparison(pairs: Sequence[Pair], **values: Any) -> Comparison:
    """Return a comparison of these pairs."""
    finished = values.get("finished", True)
    made: dict[str, Any] = {
        "base": BASE,
        "head": HEAD,
        "pairs": worst_first(pairs),
        "nulls": NULLS,
        "exit_code": exit_code_of(pairs, finished=finished),
        "settings": SETTINGS,
        "conditions": CONDITIONS,
        "differences": ("scipy 1.17.0 → 1.17.1",),
        "seconds": 204.6,
        "made": "2026-11-22T12:02:51+00:00",
        **values,
    }
    return Comparison(**made)


def many(count: int) -> Comparison:
    """Return a comparison of so many pairs, of every kind that there is; most show no difference."""
    scatter = random.Random(count)
    kinds = [*_PLANNED, ("less_accurate_allowed", 0.9, 0.005)]
    pairs = []
    for n in range(count):
        kind, ratio, half = kinds[n] if n < len(kinds) else ("same", scatter.gauss(1, 0.003), 0.0055)
        made = pair(n, kind, ratio, half * scatter.uniform(0.8, 1.2), scatter)
        if n >= 4 * len(_CELLS):
            axes = {**made.axes, "seed": n}
            cell = cell_id(made.case, made.formulation, made.backend, made.dtype, axes)
            made = replace(made, axes=axes, cell=cell, base_cell=cell)
        pairs.append(made)
    return comparison(pairs)


def ordinary() -> Comparison:
    """Return forty pairs, every kind and verdict among them."""
    return many(40)


def one_pair() -> Comparison:
    """Return one pair, which fails."""
    made = ordinary().pairs
    return comparison([next(p for p in made if p.kind == "slower")], nulls=NULLS[1:2])


def all_passed() -> Comparison:
    """Return pairs of which none fails or is left undecided."""
    return comparison([p for p in ordinary().pairs if p.verdict == "pass"])


def undecided() -> Comparison:
    """Return pairs of which none fails and some cannot be told."""
    return comparison([p for p in ordinary().pairs if p.verdict != "fail"])


def nothing_measured() -> Comparison:
    """Return pairs of which none could be measured."""
    scatter = random.Random(0)
    pairs = [pair(n, "not_measured", math.nan, 0.0, scatter) for n in range(7)]
    return comparison(pairs, nulls=(), notes=("no pair was timed: there is no null",))


def no_pairs() -> Comparison:
    """Return a comparison that holds no pair at all."""
    return comparison([], nulls=(), conditions={}, settings={})


def interrupted() -> Comparison:
    """Return pairs of which most were not reached."""
    scatter = random.Random(5)
    pairs = [*ordinary().pairs[3:6], *ordinary().pairs[20:29]]
    pairs += [
        replace(
            pair(n, "not_measured", math.nan, 0.0, scatter),
            error="interrupted", reason="interrupted", head_outcome=None, base_outcome=None, base_digits=None,
        )
        for n in range(28)
    ]  # fmt: skip
    return comparison(pairs, finished=False, nulls=NULLS[1:3], seconds=31.0)


def formulations() -> Comparison:
    """Return pairs whose sides differ in their formulation and in nothing else."""
    sides = [
        replace(HEAD, spec=f"formulation={f}", title=f"formulation {f}", coordinates={"formulation": f})
        for f in ("naive", "shifted")
    ]
    pairs = [
        replace(p, base_cell=p.cell.replace(f"/{p.formulation}/", "/naive/"))
        for p in ordinary().pairs
        if p.formulation == "shifted"
    ]
    return comparison(pairs, base=sides[0], head=sides[1], differences=())


def hostile() -> Comparison:
    """Return pairs whose texts are markup, commands of terminals, and very long."""
    pairs = [
        replace(
            p,
            cell=f"{p.cell}/{EVIL}", base_cell=f"{p.base_cell}/{EVIL}",
            case=EVIL, formulation=EVIL, reason=EVIL,
            error=EVIL + LONG if p.kind == "not_measured" else None,
            axes={**p.axes, EVIL: EVIL},
        )
        for p in ordinary().pairs
    ]  # fmt: skip
    side = replace(BASE, spec=EVIL, title=EVIL, interpreter=EVIL, revision=EVIL, versions={EVIL: EVIL})
    return comparison(
        pairs, base=side, differences=(EVIL,), notes=(EVIL, LONG), conditions={"cpu": EVIL},
        settings={**SETTINGS, "profile": EVIL, "selection": {"paths": [EVIL]}},
    )  # fmt: skip


def extreme() -> Comparison:
    """Return pairs with ratios far from one and intervals without an end."""
    scatter = random.Random(9)
    pairs = [
        pair(0, "slower", 312.0, 0.4, scatter),
        pair(1, "faster", 0.0041, 0.2, scatter),
        replace(pair(2, "undecided", 1.01, 0.02, scatter), ratio_low=0.0, ratio_high=math.inf),
        replace(pair(3, "undecided", 1.01, 0.02, scatter), ratio_low=None, ratio_high=None),
        *(pair(n, "same", 1.0, 0.004, scatter) for n in range(4, 9)),
    ]
    return comparison(pairs)
