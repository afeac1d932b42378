"""Rounds: cells measured on two sides in turn, and on a twin of the base, which tells what chance alone does.

A round takes the three in random order and then in the opposite one (A B B A), so that what drifts hits all
alike; all slots of a round lie on the same cores, for no two are equally fast when somebody else is busy. The
number of calls is the base's for all three.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from harness.execute.prober import AskError, Prober
from harness.timing.paired import log_ratio, planned_looks

SIDES: Final = ("base", "twin", "head")

SUB_BLOCKS: Final = ((5e-4, 4), (5e-3, 2))
"""Up to so many seconds of a sub-block, how many a slot has: the fastest of several escapes pre-emption, and
what is long escapes none. Beyond the last, one."""

SETTLE_S: Final = 2e-3
"""Before a slot of several threads: those of another worker's last slot spin for a while, on cores that it
needs (libgomp: 300,000 turns, about a millisecond)."""

_PATIENCE: Final = 20.0
"""Beside the time allowed to a call, the multiple of a slot's usual time that one may take."""


class SideError(Exception):
    """A side could not do its part: its name, and why."""

    def __init__(self, side: str, kind: str, reason: str) -> None:
        super().__init__(f"{'base' if side == 'twin' else side}: {reason}")
        self.side = "base" if side == "twin" else side
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured in turn: a cell by name, what each side is asked to build, what it may take."""

    name: str
    requests: Mapping[str, Mapping[str, Any]]
    """By side, `twin` included, as a worker's request to run; with `cache`."""
    budget_s: float
    threads: int = 1


@dataclass(slots=True)
class Series:
    """The rounds of one subject in one set of workers; times are seconds a call."""

    subject: Subject
    timer: str
    cache: str
    """As the timer measures: a GPU's first flushes its own, whatever a case declares."""
    calls: int
    sub_blocks: int
    looks: tuple[int, ...]
    overhead_fraction: float
    rounds: list[Mapping[str, tuple[float, ...]]] = field(default_factory=list)
    """By side, two slots each."""
    discarded: int = 0
    """Rounds in which the device was not at its pace."""
    seconds: float = 0.0

    def times(self, side: str) -> list[float]:
        """Return all slots of a side."""
        return [t for r in self.rounds for t in r.get(side, ())]

    def median_s(self, side: str) -> float:
        """Return the median of a side's slots."""
        return median(self.times(side))

    def ds(self) -> list[float]:
        """Return ln(head / base) by round; the twin is a base too."""
        return [log_ratio((*r["base"], *r.get("twin", ())), r["head"]) for r in self.rounds]

    def nulls(self) -> list[float]:
        """Return ln(twin / base) by round."""
        return [log_ratio(r["base"], r["twin"]) for r in self.rounds if "twin" in r]


class Trio:
    """One set of workers: a base, its twin, a head; or a base and a head alone.

    Parameters
    ----------
    probers
        By side.
    timeout_s
        What one call of a cell may take.
    chance
        Orders the slots, moves them.
    """

    def __init__(self, probers: Mapping[str, Prober], timeout_s: float, chance: random.Random) -> None:
        self.probers = dict(probers)
        self._timeout_s = timeout_s
        self._chance = chance
        self._opened: dict[tuple[str, str], object] = {}
        for prober in self.probers.values():
            prober.begin()

    def begin(self, subject: Subject, clock: Callable[[], float]) -> Series:
        """Open a subject on all sides, and find out how many calls a slot holds.

        Raises
        ------
        SideError
            One of them could not.
        """
        start = clock()
        builds = {side: self._open(side, subject) for side in self.probers}
        found = self._ask("base", {"do": "calibrate", "cell": subject.name}, self._timeout_s)
        calls, call_s = int(found["calls"]), float(found["seconds_per_call"])
        block_s = calls * call_s
        sub_blocks = next((n for limit, n in SUB_BLOCKS if block_s <= limit), 1)
        slot_s = sub_blocks * block_s
        # a slot after inputs were made anew; making them takes at most as long as the slots (see the probe)
        slot_s += min(slot_s, max(builds.values()))
        series = Series(
            subject,
            str(found["timer"]),
            str(found["cache"]),
            calls,
            sub_blocks,
            planned_looks(2 * len(self.probers) * slot_s, subject.budget_s),
            float(found["overhead_fraction"]),
        )
        series.seconds = clock() - start
        return series

    def round(self, series: Series, clock: Callable[[], float]) -> None:
        """Take one round; one in which the device was not at its pace is discarded.

        Raises
        ------
        SideError
            A side could not take a slot.
        """
        start, chance = clock(), self._chance
        order = list(self.probers)
        chance.shuffle(order)
        cpus = _cpus(series.subject.threads, chance)
        times: dict[str, tuple[float, ...]] = {}
        steady = True
        patience_s = self._timeout_s + _PATIENCE * series.calls * series.sub_blocks * self._usual_s(series)
        for side in (*order, *reversed(order)):
            self._open(side, series.subject)
            if series.subject.threads > 1:
                time.sleep(SETTLE_S)
            request = {
                "do": "slot",
                "cell": series.subject.name,
                "timer": series.timer,
                "calls": series.calls,
                "sub_blocks": series.sub_blocks,
                "seed": chance.getrandbits(32),
                "cpus": cpus,
                "fresh": True,
            }
            found = self._ask(side, request, patience_s)
            seconds = float(found["seconds"])
            if not seconds > 0:
                raise SideError(side, "error", "a slot took no time that the clock can see")
            times[side] = (*times.get(side, ()), seconds)
            steady = steady and not found.get("unsteady")
        if steady:
            series.rounds.append(times)
        else:
            series.discarded += 1
        series.seconds += clock() - start

    def _usual_s(self, series: Series) -> float:
        return max(series.rounds[-1]["base"]) if series.rounds else 0.0

    def _open(self, side: str, subject: Subject) -> float:
        """Open a subject on a side, unless the child that is there knows it; return what building takes."""
        prober = self.probers[side]
        key = side, subject.name
        if prober.child is not None and self._opened.get(key) is prober.child:
            return 0.0
        found = self._ask(side, {"do": "open", **subject.requests[side]}, self._timeout_s)
        self._opened[key] = prober.child
        return float(found["build_s"])

    def _ask(self, side: str, request: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
        try:
            return self.probers[side].ask(request, timeout_s)
        except AskError as error:
            raise SideError(side, error.kind, str(error)) from None

    def forget(self) -> None:
        """Close all subjects, so that their inputs take no memory."""
        self._opened.clear()
        for side, prober in self.probers.items():
            if prober.child is not None:
                with contextlib.suppress(SideError):  # it died after its last cell
                    self._ask(side, {"do": "close"}, self._timeout_s)

    def close(self, patience_s: float = 2.0) -> None:
        """End the workers."""
        for prober in self.probers.values():
            prober.close(patience_s)


def _cpus(threads: int, chance: random.Random) -> Sequence[int] | None:
    """Return the core of one round; None for several threads, whose pools stay where they were made."""
    if threads != 1 or not hasattr(os, "sched_getaffinity"):
        return None
    return [chance.choice(sorted(os.sched_getaffinity(0)))]
