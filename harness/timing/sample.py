"""Sampling: slots of a batch of cells, taken in turn, until each cell's median is known well enough.

A slot is the fastest of four sub-blocks; a round takes one slot of every cell that is not done, in
random order, so that drift of the machine hits all alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

from .calibrate import calibrate
from .clock import Cache, MeasureError, Thunk, Timer, collector_off, empty
from .conditions import Conditions, between, conditions
from .statistics import Interval, median_interval, noise

Stopped = Literal["converged", "plateau", "budget"]

PLATEAU: Final = 0.9
"""Twice the samples should narrow the interval to 0.71 of its width; above this, noise is not sampling."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How samples are taken. Seconds; `relative_width` is that of the interval against the median."""

    sub_block_s: float = 0.3e-3
    sub_blocks: int = 4
    slots: int = 20
    """At least, for calls under `long_call_s`, if the budget allows."""
    long_call_s: float = 0.1
    """From here on a slot is one call."""
    long_slots: int = 8
    relative_width: float = 0.02


@dataclass(frozen=True, slots=True)
class TimedCell:
    """What is timed: a thunk, under a name, for at most `budget_s` seconds of sampling."""

    name: str
    thunk: Thunk
    budget_s: float
    idle: Thunk = empty
    """Called as `thunk` is, and does nothing: its time is what the loop costs."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Samples of one cell: `samples` are seconds a call, each the fastest of `sub_blocks` readings."""

    name: str
    timer: str
    samples: tuple[float, ...]
    calls: int
    sub_blocks: int
    stopped: Stopped
    overhead_fraction: float
    """What an empty thunk takes in the same loop, against the median; it is not subtracted."""
    conditions: dict[str, float | str]
    discarded: int = 0
    """Slots thrown away, for the device was not at its pace."""
    cache: Cache = "hot"
    """What the calls found, as the timer says."""

    @property
    def median_s(self) -> float:
        """The median, in seconds a call."""
        return median(self.samples)

    @property
    def interval(self) -> Interval | None:
        """A distribution-free 95 % interval of the median; None for fewer than 6 samples."""
        return median_interval(self.samples)

    @property
    def noise(self) -> float | None:
        """The relative spread of the samples."""
        return noise(self.samples)

    @property
    def converged(self) -> bool:
        """Whether the interval became as narrow as asked."""
        return self.stopped == "converged"


@dataclass(frozen=True, slots=True)
class Failed:
    """A cell whose thunk raised while it was timed."""

    name: str
    error: Exception


@dataclass(slots=True)
class _Sampling:
    cell: TimedCell
    calls: int
    sub_blocks: int
    least: int
    overhead_s: float
    before: Conditions
    samples: list[float] = field(default_factory=list)
    discarded: int = 0
    spent_s: float = 0.0
    width_at: tuple[int, float] | None = None
    """Number of samples and relative width at the last doubling."""


def measure_slot(timer: Timer, thunk: Thunk, calls: int, sub_blocks: int) -> float:
    """Return the seconds a call of one slot: the fastest of `sub_blocks` readings of `calls` calls."""
    return min(timer.measure(thunk, calls) for _ in range(sub_blocks)) / calls


def time_batch(
    cells: Sequence[TimedCell],
    timer: Timer,
    order: random.Random,
    rules: Rules | None = None,
    between_slots: Callable[[], None] | None = None,
) -> Iterator[Timing | Failed]:
    """Time a batch of cells and yield each as it is done.

    Parameters
    ----------
    cells
        At most a dozen, whose inputs fit in memory together.
    timer
        Measures calls.
    order
        Shuffles each round.
    rules
        Numbers of slots, targets.
    between_slots
        Called between slots, never inside one: the place to tell how far we are.

    Yields
    ------
    Timing or Failed
        One a cell; a cell that raises does not stop the others.
    """
    rules = rules or Rules()
    with collector_off():
        _warm_up(cells, timer)
        active: list[_Sampling] = []
        for cell in cells:
            try:
                active.append(_begin(cell, timer, rules))
            except Exception as error:
                yield Failed(cell.name, error)
        while active:
            turn = list(active)
            order.shuffle(turn)
            for sampling in turn:
                try:
                    stopped = _take_slot(sampling, timer, rules)
                except Exception as error:
                    active.remove(sampling)
                    yield Failed(sampling.cell.name, error)
                    continue
                if between_slots is not None:
                    between_slots()
                if stopped is not None:
                    active.remove(sampling)
                    yield _finish(sampling, stopped, timer)


def _warm_up(cells: Sequence[TimedCell], timer: Timer) -> None:
    """Run the cells in turn as they will be measured; what one of them raises it will raise again."""
    start = timer.now()
    while cells and timer.now() - start < timer.warm_s:
        for cell in cells:
            with suppress(Exception):
                timer.measure(cell.thunk, 1)
            if timer.now() - start >= timer.warm_s:
                break


def _begin(cell: TimedCell, timer: Timer, rules: Rules) -> _Sampling:
    before = conditions(timer)
    found = calibrate(timer, cell.thunk, rules.sub_block_s, rules.long_call_s)
    block_s = found.calls * found.seconds_per_call
    # Between the two regimes four sub-blocks would leave fewer slots than long calls get.
    long = block_s >= rules.long_call_s or rules.long_slots * rules.sub_blocks * block_s > cell.budget_s
    overhead_s = measure_slot(timer, cell.idle, found.calls, rules.sub_blocks)
    return _Sampling(
        cell,
        found.calls,
        sub_blocks=1 if long else rules.sub_blocks,
        least=rules.long_slots if long else rules.slots,
        overhead_s=overhead_s,
        before=before,
    )


def _take_slot(sampling: _Sampling, timer: Timer, rules: Rules) -> Stopped | None:
    """Take one slot and return why it was the last, or None."""
    start = timer.now()
    sample = measure_slot(timer, sampling.cell.thunk, sampling.calls, sampling.sub_blocks)
    sampling.spent_s += timer.now() - start
    if timer.pace.steady():
        sampling.samples.append(sample)
    else:
        sampling.discarded += 1
    n = len(sampling.samples)
    taken = n + sampling.discarded
    if n >= sampling.least:
        width = _relative_width(sampling.samples)
        if width is not None:
            if width <= rules.relative_width:
                return "converged"
            if sampling.width_at is None:
                sampling.width_at = n, width
            elif n >= 2 * sampling.width_at[0]:
                if width > PLATEAU * sampling.width_at[1]:
                    return "plateau"
                sampling.width_at = n, width
    if sampling.spent_s * (taken + 1) / taken <= sampling.cell.budget_s:
        return None
    if not n:
        raise MeasureError(
            f"the device was below its pace in each of {taken} slots: " + _in_words(timer.pace.state())
        )
    return "budget"


def _relative_width(samples: Sequence[float]) -> float | None:
    interval = median_interval(samples)
    middle = median(samples)
    return None if interval is None or middle <= 0 else interval.width / middle


def _in_words(state: Mapping[str, float | str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in state.items())


def _finish(sampling: _Sampling, stopped: Stopped, timer: Timer) -> Timing:
    middle = median(sampling.samples)
    return Timing(
        name=sampling.cell.name,
        timer=timer.name,
        samples=tuple(sampling.samples),
        calls=sampling.calls,
        sub_blocks=sampling.sub_blocks,
        stopped=stopped,
        overhead_fraction=sampling.overhead_s / middle if middle > 0 else 1.0,
        conditions={**timer.pace.about, **between(sampling.before, conditions(timer))},
        discarded=sampling.discarded,
        cache=timer.cache,
    )
