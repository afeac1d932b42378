"""What a comparison asks and what it finds: plain frozen values, which reports read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from harness.model import Written

VERDICTS: Final = ("fail", "inconclusive", "pass")
"""Worst first."""

KINDS: Final[Mapping[str, str]] = {
    "traded": "faster, bought with digits",
    "less_accurate": "less accurate",
    "slower": "slower",
    "not_measured": "could not be measured",
    "undecided": "cannot tell",
    "less_accurate_allowed": "less accurate, which is allowed",
    "faster": "faster",
    "more_accurate": "more accurate",
    "changed": "other digits, within what is allowed",
    "same": "no difference",
}
"""What is to be said of a cell, worst first: three that fail, two that are inconclusive, then what passes."""

ACCURACY: Final = ("worse", "better", "changed", "same", "not_compared")
"""`changed`: the bits differ, the error has not grown; `same`: not a bit differs."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison, as it was asked for and as it was found."""

    spec: str
    """As asked: `here`, `numpy==2.3.0`, `main~1`, `formulation=naive`."""
    title: str
    """For a reader: `numpy 2.3.0`, `main~1 (3bcc28c): Subject of the commit`."""
    interpreter: str
    folders: tuple[str, ...] = ()
    """Put first on its path."""
    plugins: tuple[str, ...] = ()
    revision: str | None = None
    environment: str | None = None
    """Folder of an environment that was made for it."""
    coordinates: Mapping[str, Written] = field(default_factory=dict)
    """`formulation`, `backend`, `dtype` or `axis.<name>` → the value that this side takes."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Distribution → version, as installed there."""
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Worker → what its backend says of itself."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One cell on both sides. Times are seconds a call; `ratio` is head / base; what is not known is None."""

    cell: str
    """Of the head; the base's own is `base_cell` where the sides differ in a coordinate."""
    base_cell: str
    case: str
    operation: str
    formulation: str
    backend: str
    dtype: str
    axes: Mapping[str, Written]
    threads: int
    cache: str
    verdict: str
    """One of `VERDICTS`."""
    kind: str
    """One of `KINDS`."""
    reason: str
    speed: str | None = None
    """The verdict on speed alone; None where it was not timed."""
    accuracy: str = "not_compared"
    """One of `ACCURACY`."""
    timer: str | None = None
    base_s: float | None = None
    head_s: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    confidence: float | None = None
    threshold: float | None = None
    """The least ratio − 1 that counts as slower: δ."""
    null: float | None = None
    """|ln| of the base against itself in the same rounds, as a ratio − 1."""
    rounds: int = 0
    calls: int | None = None
    confirmed: int | None = None
    """Fresh sets of workers that showed it again; None where nothing was to be confirmed."""
    asked_to_confirm: int | None = None
    seconds: float = 0.0
    """What its measurement took, from its first slot to its verdict."""
    base_outcome: str | None = None
    head_outcome: str | None = None
    base_digits: float | None = None
    head_digits: float | None = None
    base_bound_ratio: float | None = None
    head_bound_ratio: float | None = None
    base_digest: str | None = None
    head_digest: str | None = None
    error: str | None = None
    """Why it could not be measured, beginning with the side."""


@dataclass(frozen=True, slots=True)
class Null:
    """What the base showed against itself among cells of one decade of time."""

    decade: int
    """⌊log₁₀⌋ of the seconds of a call: −6 is 1 to 10 µs."""
    cells: int
    median: float
    """The median of |ratio − 1| over the cells."""
    largest: float
    threshold: float
    """δ that follows for this decade: never less than the floor."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that a comparison found."""

    base: Side
    head: Side
    pairs: tuple[Pair, ...]
    """Worst first."""
    nulls: tuple[Null, ...]
    """By decade."""
    exit_code: int
    settings: Mapping[str, Any]
    """δ's floor and factor, looks, confidence, budget, whether fewer digits pass, profile, selection."""
    conditions: Mapping[str, Any]
    """The machine while it was measured: cpu, cores, load, steal_fraction, governor."""
    differences: tuple[str, ...] = ()
    """`numpy 2.4.6 → 2.3.0`: what is installed otherwise on the head."""
    notes: tuple[str, ...] = ()
    finished: bool = True
    """False: interrupted, and what was not decided is `not_measured`."""
    seconds: float = 0.0
    made: str = ""
    """Date and time, ISO 8601 with offset."""
