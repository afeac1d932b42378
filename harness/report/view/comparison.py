"""A comparison as a reader sees it: its verdict in a sentence, its pairs worst first, what was not seen."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.compare.model import KINDS, VERDICTS, Comparison, Pair, Side
from harness.report.view.rows import grouped
from harness.report.view.text import (
    MISSING,
    counted,
    exact,
    finite,
    listed,
    outcome_words,
    present,
    seconds,
    significant,
)

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "no pair fails",
    1: "a pair fails",
    3: "no pair fails, and not every pair could be decided",
    5: "nothing was selected",
    130: "interrupted; what was decided is kept",
}
ACCURACY_WORDS: Final[Mapping[str, str]] = {
    "worse": "less accurate", "better": "more accurate", "changed": "other bits, error not larger",
    "same": "the same bits", "not_compared": "not compared",
}  # fmt: skip
_COUNTED: Final[Mapping[str, tuple[str, str]]] = {
    "traded": ("is faster, bought with digits", "are faster, bought with digits"),
    "less_accurate": ("is less accurate", "are less accurate"),
    "slower": ("is slower", "are slower"),
    "not_measured": ("could not be measured", "could not be measured"),
    "undecided": ("could not be decided", "could not be decided"),
    "less_accurate_allowed": ("is less accurate, which is allowed", "are less accurate, which is allowed"),
    "faster": ("is faster", "are faster"),
    "more_accurate": ("is more accurate", "are more accurate"),
    "changed": ("has other digits, within what is allowed", "have other digits, within what is allowed"),
    "same": ("shows no difference", "show no difference"),
}
_UNITS: Final = ("s", "ms", "µs", "ns")
_OPTIONS: Final = {
    "operations": "--operation", "backends": "--backend", "dtypes": "--dtype", "topics": "--topic",
    "guide": "--guide", "plugins": "--plugin",
}  # fmt: skip
_NAMES: Final = {
    "floor": "δ, at least", "null_factor": "δ, times the median of A/A", "looks": "rounds looked at",
    "budget_s": "seconds a pair may take", "sets": "fresh sets of workers that confirm",
    "allow_accuracy_loss": "fewer digits are allowed",
}  # fmt: skip
INTERRUPTED: Final = "interrupted"
"""The error of a pair that an interruption left without a verdict."""


@dataclass(frozen=True, slots=True)
class Told:
    """The verdict of a comparison in words."""

    state: str
    """`fail`, `inconclusive` or `pass`."""
    headline: str
    rest: str
    """What else there is to know, as a sentence; may be empty."""
    counts: Mapping[str, int]
    """Pairs by verdict."""
    kinds: Mapping[str, int]
    """Pairs by kind, worst first, without those that do not occur."""

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        return f"{self.headline} {self.rest}".strip()


def told(comparison: Comparison) -> Told:
    """Return the verdict of a comparison in words."""
    pairs = comparison.pairs
    counts = {verdict: sum(p.verdict == verdict for p in pairs) for verdict in VERDICTS}
    kinds = {kind: n for kind in KINDS if (n := sum(p.kind == kind for p in pairs))}
    of = "the one pair" if len(pairs) == 1 else f"{len(pairs):,} pairs"
    failing = {k: n for k, n in kinds.items() if k in _kinds_of(pairs, "fail")}
    others = {k: n for k, n in kinds.items() if k not in failing}
    if not pairs:
        return Told("inconclusive", "Nothing was compared: there is no pair of cells.", "", counts, kinds)
    if not comparison.finished:
        reached = sum(p.kind != "not_measured" for p in pairs)
        told_first = f"This comparison was interrupted: {reached:,} of {of} {_were(reached)} measured."
        state = "fail" if counts["fail"] else "inconclusive"
        others.pop("not_measured", None)
        return Told(state, told_first, _sentence({**failing, **others}), counts, kinds)
    if failing:
        what = _kinds_named(failing)
        if len(pairs) == 1:
            what = _COUNTED[next(iter(failing))][0]
            return Told("fail", f"The one pair fails: it {what}.", "", counts, kinds)
        verb = "fails" if counts["fail"] == 1 else "fail"
        return Told("fail", f"{counts['fail']:,} of {of} {verb}: {what}.", _sentence(others), counts, kinds)
    if counts["inconclusive"] == len(pairs):
        what = "measured" if set(kinds) == {"not_measured"} else "decided"
        of = "The one pair" if len(pairs) == 1 else f"None of {of}"
        could = "could not be" if len(pairs) == 1 else "could be"
        return Told("inconclusive", f"{of} {could} {what}.", "", counts, kinds)
    if counts["inconclusive"]:
        headline = (
            f"None of {of} fails, but {counts['inconclusive']:,} {_were(counts['inconclusive'])} not decided."
        )
        return Told("inconclusive", headline, _sentence(others), counts, kinds)
    headline = "The one pair passes." if len(pairs) == 1 else f"All {of} pass."
    return Told("pass", headline, _sentence(others), counts, kinds)


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _kinds_of(pairs: Sequence[Pair], verdict: str) -> set[str]:
    return {p.kind for p in pairs if p.verdict == verdict}


def _kinds_named(kinds: Mapping[str, int]) -> str:
    if len(kinds) == 1:
        return KINDS[next(iter(kinds))]
    return "; ".join(f"{n:,} {KINDS[kind]}" for kind, n in kinds.items())


def _sentence(kinds: Mapping[str, int]) -> str:
    parts = [f"{n:,} {_COUNTED[kind][n != 1]}" for kind, n in kinds.items()]
    return f"{'; '.join(parts)}." if any("," in part for part in parts) else _ended(listed(parts))


def _ended(text: str) -> str:
    return f"{text}." if text else ""


def ordered(pairs: Sequence[Pair]) -> list[Pair]:
    """Return pairs worst first; those of one kind stay in their order."""
    kinds = list(KINDS)
    return sorted(pairs, key=lambda p: (VERDICTS.index(p.verdict), kinds.index(p.kind)))


def groups(pairs: Sequence[Pair]) -> dict[tuple[str, str], list[Pair]]:
    """Return pairs by verdict and kind, worst first."""
    return grouped(ordered(pairs), lambda p: (p.verdict, p.kind))


# ---- numbers ---------------------------------------------------------------------------------------


def time_text(value: float | None) -> str:
    """Return a time for people; a dash where there is none."""
    number = finite(value)
    return MISSING if number is None else seconds(number)


def ratio_number(value: float | None) -> str:
    """Return a ratio of times: `1.052`, `12.3`; one without an end is ∞."""
    if value is None or value != value:
        return MISSING
    if math.isinf(value):
        return "∞"
    return f"{value:.3f}" if 0.0995 <= abs(value) < 9.9995 else significant(value)


def interval_text(pair: Pair) -> str:
    """Return the interval of a ratio: `[1.047, 1.058]`; empty where there is none."""
    if pair.ratio_low is None or pair.ratio_high is None:
        return ""
    return f"[{ratio_number(pair.ratio_low)}, {ratio_number(pair.ratio_high)}]"


def ratio_text(pair: Pair) -> str:
    """Return a ratio and its interval: `1.052 [1.047, 1.058]`."""
    return f"{ratio_number(pair.ratio)} {interval_text(pair)}".strip()


def share(value: float | None) -> str:
    """Return a ratio − 1 as a percentage of two digits: `2.1 %`, `0.34 %`."""
    number = finite(value)
    return MISSING if number is None else f"{_short(significant(number * 100, 2))} %"


def _short(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number and "e" not in number else number


def digits_text(pair: Pair) -> str:
    """Return the digits left on both sides: `15.2 → 11.0`, `7.2 → overflow`, or `15.2` where both are alike.

    Where the accuracy differs, so do the numbers shown, as far as two decimals tell them apart.
    """
    sides = [
        (pair.base_outcome, finite(pair.base_digits)),
        (pair.head_outcome, finite(pair.head_digits)),
    ]
    texts = [_left(outcome, digits, 1) for outcome, digits in sides]
    if texts[0] == texts[1] and pair.accuracy in ("worse", "better"):
        texts = [_left(outcome, digits, 2) for outcome, digits in sides]
    return texts[0] if texts[0] == texts[1] else " → ".join(texts)


def _left(outcome: str | None, digits: float | None, decimals: int) -> str:
    if outcome is not None and outcome != "ok":
        return outcome_words(outcome)
    return MISSING if digits is None else f"{digits:.{decimals}f}"


def measured_text(pair: Pair) -> str:
    """Return how a pair was measured: `180 rounds of 12 calls, 99 % interval, δ 2 %, confirmed 3 of 3`."""
    parts = []
    if pair.rounds:
        calls = f" of {counted(pair.calls, 'call')}" if pair.calls else ""
        parts.append(counted(pair.rounds, "round") + calls)
    if finite(pair.confidence) is not None:
        parts.append(f"{share(pair.confidence)} interval")
    if finite(pair.threshold) is not None:
        parts.append(f"δ {share(pair.threshold)}")
    if finite(pair.null) is not None:
        parts.append(f"A/A {share(pair.null)}")
    if pair.threads != 1:
        parts.append(counted(pair.threads, "thread"))
    if pair.cache != "hot":
        parts.append(f"{pair.cache} cache")
    if pair.asked_to_confirm:
        parts.append(f"shown again by {pair.confirmed or 0} of {counted(pair.asked_to_confirm, 'fresh set')}")
    return ", ".join(parts)


# ---- the null --------------------------------------------------------------------------------------


def decade_text(decade: int) -> str:
    """Return a decade of time: `1–10 µs`, `100 µs – 1 ms`."""
    low, high = _bound(decade), _bound(decade + 1)
    if low[1] == high[1]:
        return f"{low[0]}–{high[0]} {low[1]}"
    return f"{low[0]} {low[1]} – {high[0]} {high[1]}"


def _bound(exponent: int) -> tuple[str, str]:
    place = min(max(-math.floor(exponent / 3), 0), len(_UNITS) - 1)
    value = exponent + 3 * place
    return (f"{10**value:,}" if value >= 0 else f"{10.0**value:g}"), _UNITS[place]


def null_sentence(comparison: Comparison) -> str:
    """Return, in a sentence, what is too small to be gated."""
    nulls = comparison.nulls
    if not nulls:
        return (
            "The base was not measured against itself: nothing says which effects are too small to be seen."
        )
    by_threshold = grouped(nulls, lambda n: share(n.threshold))
    if len(by_threshold) == 1:
        return f"Effects below {next(iter(by_threshold))} are not gated here."
    parts = [
        f"{threshold} (cells of {listed(_joined([n.decade for n in same]))})"
        for threshold, same in sorted(by_threshold.items(), key=lambda item: item[1][0].threshold)
    ]
    return f"Effects below {listed(parts, 'or')} are not gated here."


def _joined(decades: Sequence[int]) -> list[str]:
    """Return decades, those that follow one another as one span."""
    spans: list[list[int]] = []
    for decade in sorted(decades):
        if spans and spans[-1][1] == decade:
            spans[-1][1] = decade + 1
        else:
            spans.append([decade, decade + 1])
    told_spans = []
    for first, last in spans:
        low, high = _bound(first), _bound(last)
        same = low[1] == high[1]
        told_spans.append(
            f"{low[0]}–{high[0]} {low[1]}" if same else f"{low[0]} {low[1]} – {high[0]} {high[1]}"
        )
    return told_spans


# ---- the sides -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of what was compared."""

    name: str
    base: str
    head: str

    @property
    def differs(self) -> bool:
        """Whether the sides differ in it."""
        return self.base != self.head


def compared(comparison: Comparison) -> list[Compared]:
    """Return what is known of the two sides, line by line; what neither says is left out."""
    base, head = comparison.base, comparison.head
    lines = [Compared(name, _of(base, name), _of(head, name)) for name in _LINES]
    lines += [
        Compared(name, exact(base.coordinates.get(name)), exact(head.coordinates.get(name)))
        for name in dict.fromkeys((*base.coordinates, *head.coordinates))
    ]
    for name in sorted({*base.versions, *head.versions}):
        ours = [exact(side.versions.get(name)) or "not installed" for side in (base, head)]
        if ours[0] != ours[1]:
            lines.append(Compared(name, *ours))
    lines += [Compared(*line) for line in _facts(base, head)]
    return [line for line in lines if line.base or line.head]


_MOST_SAME: Final = 8
_COMPUTE: Final = (
    "numerics-harness", "numpy", "scipy", "torch", "ml-dtypes", "python-flint", "jax", "jaxlib", "cupy",
    "numba", "triton", "mkl", "threadpoolctl",
)  # fmt: skip
_LINES: Final = ("asked for", "title", "interpreter", "revision", "environment", "import folders", "plug-ins")


def _of(side: Side, name: str) -> str:
    return {
        "asked for": side.spec,
        "title": side.title,
        "interpreter": side.interpreter,
        "revision": side.revision or "",
        "environment": side.environment or "",
        "import folders": ", ".join(side.folders),
        "plug-ins": ", ".join(side.plugins),
    }[name]


def _facts(base: Side, head: Side) -> list[tuple[str, str, str]]:
    """What the backends say of themselves, where the sides differ in it."""
    found = []
    for worker in dict.fromkeys((*base.facts, *head.facts)):
        ours, theirs = base.facts.get(worker), head.facts.get(worker)
        if ours is None or theirs is None:
            continue
        found += [
            (f"{worker}, {key}", exact(ours.get(key)), exact(theirs.get(key)))
            for key in dict.fromkeys((*ours, *theirs))
            if ours.get(key) != theirs.get(key)
        ]
    return found


def same_versions(comparison: Comparison) -> str:
    """Return the distributions of which both sides have the same version: `numpy 2.4.6, torch 2.13.0`.

    Of many those that compute are named, and the others counted.
    """
    base, head = comparison.base.versions, comparison.head.versions
    same = [name for name in sorted(base) if head.get(name) == base[name]]
    named = same if len(same) <= _MOST_SAME else [n for n in same if n.lower().replace("_", "-") in _COMPUTE]
    shown = [f"{name} {base[name]}" for name in named]
    more = len(same) - len(named)
    return listed([*shown, f"{more:,} more"]) if more else ", ".join(shown)


def repetition(comparison: Comparison) -> str:
    """Return the command that compares again; the one that was given, where it is stored in the settings."""
    settings = comparison.settings
    stored = settings.get("command")
    if isinstance(stored, str) and stored:
        return stored
    if isinstance(stored, (list, tuple)) and stored:
        return shlex.join(map(str, stored))
    words = ["harness", "compare", "--base", comparison.base.spec, "--head", comparison.head.spec]
    found = settings.get("selection")
    selection: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    words += map(str, _many(selection.get("paths")))
    if present(selection.get("keyword")):
        words += ["-k", str(selection["keyword"])]
    for name, option in _OPTIONS.items():
        for value in _many(selection.get(name, settings.get(name))):
            words += [option, str(value)]
    if settings.get("profile") in ("quick", "full"):
        words.append(f"--{settings['profile']}")
    for name, option in (("floor", "--threshold"), ("budget_s", "--budget")):
        value = finite(settings.get(name))
        words += [] if value is None else [option, f"{value:g}"]
    words += ["--allow-accuracy-loss"] if settings.get("allow_accuracy_loss") is True else []
    return shlex.join(words)


def _many(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def how_measured(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the settings and the conditions as (name, text) pairs."""
    from harness.report.view.header import flattened

    rest = {k: v for k, v in comparison.settings.items() if k != "command"}
    pairs = flattened(rest) + flattened(comparison.conditions)
    return [(_NAMES.get(name, name.replace("_", " ")), value) for name, value in pairs]
