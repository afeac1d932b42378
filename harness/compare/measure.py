"""Measuring the speed of pairs: rounds, looks, the null, confirmation in fresh workers.

1. Pairs of one kind of worker are measured in batches, a round of each in turn. After 20, 60 and 180 rounds
   the interval of a pair's median is looked at: *not slower* and *worth confirming* stop, the rest goes on
   until its budget ends.
2. δ of each decade of time follows from what the base showed against its twin.
3. What is worth confirming is measured again in several fresh sets of workers. It is slower, or faster, if
   every set shows it, and all together reject "at most δ" after Holm's correction over what was confirmed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from harness.execute.accuracy import kernel_request
from harness.execute.problems import Group, worker_key
from harness.execute.programs import Programs, WorkerKey
from harness.execute.rounds import Series, SideError, Subject, Trio
from harness.execute.session import Session
from harness.execute.sets import set_of_workers
from harness.execute.timing import BATCH_BYTES, BATCH_CELLS, make_inputs
from harness.model import Cell
from harness.timing import paired
from harness.timing.statistics import Interval

TO_CONFIRM: Final = ("slower", "faster")
"""What is measured again in fresh workers before it is said."""

Keys = tuple[WorkerKey, WorkerKey]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides.

    Attributes
    ----------
    floor
        δ is never less.
    budget_s
        What the rounds of one pair may take in its first set of workers; what confirms takes as many.
    sets
        Fresh sets of workers in which a slowdown must show again.
    seed
        Of the order of slots and of where inputs lie; None: another each time.
    """

    floor: float = paired.FLOOR
    budget_s: float = 10.0
    sets: int = paired.SETS
    seed: int | None = None


@dataclass(slots=True, eq=False)
class Timed:
    """What was measured of one pair, and what it says."""

    name: str
    base: Cell
    head: Cell
    series: Series | None = None
    error: SideError | str | None = None
    screened: paired.Screened | None = None
    """None: not enough rounds, for it failed or was interrupted."""
    looked: bool = False
    """Whether it had its last look."""
    threshold: float = 0.0
    fresh: list[Series] = field(default_factory=list)
    """What was measured again."""
    refuted: bool = False
    """A fresh set did not show it."""
    shown: bool = False
    """That it is slower, or faster, was shown again, in every fresh set."""
    verdict: str = "inconclusive"
    """`fail`, `inconclusive` or `pass`, on speed alone."""

    @property
    def keys(self) -> Keys:
        """Kinds of workers."""
        return worker_key(self.base), worker_key(self.head)

    @property
    def judged(self) -> list[Series]:
        """The series that the verdict is about: fresh ones, which did not select the pair, if any."""
        again = [series for series in self.fresh if series.rounds]
        return again or [series for series in (self.series,) if series is not None and series.rounds]

    @property
    def ds(self) -> list[float]:
        """Return ln(head / base) of all rounds that the verdict is about."""
        return [d for series in self.judged for d in series.ds()]

    @property
    def confirmation(self) -> paired.Confirmation:
        """What fresh sets found in the direction that is to be confirmed."""
        sign = -1 if self.screened == "faster" else 1
        return paired.Confirmation(tuple(tuple(sign * d for d in series.ds()) for series in self.fresh))

    def measured_again(self, sets: int) -> bool:
        """Whether so many fresh sets took as many rounds as the first: the last may have been interrupted."""
        wanted = 0 if self.series is None else len(self.series.rounds)
        return len(self.fresh) == sets and all(len(series.rounds) >= wanted for series in self.fresh)

    @property
    def looks(self) -> int:
        """How many looks the rounds that are judged had."""
        again = any(series.rounds for series in self.fresh)
        return 1 if again or self.series is None else len(self.series.looks)

    @property
    def interval(self) -> Interval | None:
        """Of the median of ln(head / base)."""
        return paired.interval(self.ds, self.looks)

    @property
    def null(self) -> float | None:
        """The median of ln(twin / base), of all series."""
        all_series = [*([] if self.series is None else [self.series]), *self.fresh]
        found = [d for series in all_series for d in series.nulls()]
        return median(found) if len(found) >= paired.LEAST_ROUNDS else None

    def median_s(self, side: str) -> float | None:
        """Return the median of a side's slots, in seconds a call."""
        times = [t for series in self.judged for t in series.times(side)]
        return median(times) if times else None

    @property
    def seconds(self) -> float:
        """What its rounds took."""
        return sum(s.seconds for s in [*([] if self.series is None else [self.series]), *self.fresh])


class Measuring:
    """Measures pairs; what it has found so far stays readable when it is interrupted.

    Parameters
    ----------
    session
        Children, scratch folder, progress.
    pairs
        What to measure; both cells are timed ones.
    groups
        The problem of each cell, by cell id.
    programs
        By side (`base`, `head`), what is started.
    settings
        What decides.
    record
        Takes each series when it ends, as plain data.
    """

    def __init__(
        self,
        session: Session,
        pairs: Sequence[Timed],
        groups: Mapping[str, Group],
        programs: Mapping[str, Programs],
        settings: Settings,
        record: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.pairs = list(pairs)
        self._session = session
        self._groups = groups
        self._programs = dict(programs)
        self._settings = settings
        self._record = record
        self._chance = random.Random(settings.seed)  # noqa: S311
        self._clock = time.monotonic

    def run(self) -> None:
        """Measure all pairs; each has its verdict afterwards."""
        self._session.progress.begin("rounds", len(self.pairs))
        for keys, pairs in self._by_keys(self.pairs):
            self._in_fresh_workers(keys, pairs, 0, self._screen_batch)
        found = [pair for pair in self.pairs if pair.screened in TO_CONFIRM]
        undecided = sum(pair.screened == "undecided" for pair in self.pairs)
        told = f"{len(self.pairs)} pairs measured, {len(found)} to be confirmed, {undecided} undecided"
        self._session.progress.end(told)
        if found:
            self._session.progress.begin("confirmation", len(found) * self._settings.sets)
            for number in range(1, self._settings.sets + 1):
                still = [pair for pair in found if not pair.refuted and pair.error is None]
                for keys, pairs in self._by_keys(still):
                    self._in_fresh_workers(keys, pairs, number, self._confirm_batch)
            refuted = sum(pair.refuted for pair in found)
            self._session.progress.end(f"{len(found) - refuted} of {len(found)} shown again")
        self.judge()

    # ---- sets of workers -------------------------------------------------------------------------------

    def _by_keys(self, pairs: Sequence[Timed]) -> Iterator[tuple[Keys, list[Timed]]]:
        found: dict[Keys, list[Timed]] = {}
        for pair in pairs:
            found.setdefault(pair.keys, []).append(pair)
        yield from sorted(found.items())

    def _in_fresh_workers(
        self,
        keys: Keys,
        pairs: Sequence[Timed],
        number: int,
        measure: Callable[[Trio, Sequence[Timed], int], None],
    ) -> None:
        """Measure pairs batch by batch in one set of workers."""
        noisy = any(self._threshold_of(pair) > self._settings.floor for pair in pairs)
        trio = self._workers(keys, twin=number == 0 or noisy)
        try:
            for batch in self._batches(pairs):
                self._make_inputs(batch)
                able = [pair for pair in batch if pair.error is None]
                try:
                    measure(trio, able, number)
                finally:
                    for pair in able:
                        series = _of_set(pair, number)
                        if series is not None:
                            self._record(_as_plain(pair, series, number))
                trio.forget()
        except BaseException:
            trio.close(patience_s=0)
            raise
        trio.close()

    def _workers(self, keys: Keys, *, twin: bool) -> Trio:
        """Return a fresh set of workers.

        What confirms needs no twin where δ is the floor. Where the null raised it, that may be chance: the
        null of 20 noisy rounds is not known well, and a twin in every set makes it better known.
        """
        sides = {"base": keys[0], "head": keys[1]}
        return set_of_workers(self._session, sides, self._programs, self._chance, twin=twin)

    def _batches(self, pairs: Sequence[Timed]) -> list[list[Timed]]:
        batches: list[list[Timed]] = []
        held = 0
        for pair in pairs:
            size = sum(g.input_bytes or g.estimate_bytes for g in self._problems(pair))
            alone = cache_of(pair.base) == "cold"  # its copies take all the room
            if not batches or alone or len(batches[-1]) >= BATCH_CELLS or held + size > BATCH_BYTES:
                batches.append([])
                held = 0
            batches[-1].append(pair)
            held += BATCH_BYTES if alone else size
        return batches

    def _problems(self, pair: Timed) -> list[Group]:
        return list(dict.fromkeys((self._groups[pair.base.id], self._groups[pair.head.id])))

    def _make_inputs(self, batch: Sequence[Timed]) -> None:
        """Make the inputs of a batch, and remove those of the last one if there is no room for both."""
        wanted = list(dict.fromkeys(g for pair in batch for g in self._problems(pair)))
        missing = [group for group in wanted if group.inputs is None]
        held = self._session.scratch.held_inputs
        if not held.fits(sum(group.estimate_bytes for group in missing)):
            for group in {*self._groups.values()} - {*wanted}:
                self._session.remove_inputs(group)
        errors = make_inputs(self._session, missing)
        for pair in batch:
            for group in self._problems(pair):
                if group in errors:
                    pair.error = f"its inputs could not be made: {errors[group]}"

    def _subject(self, pair: Timed) -> Subject:
        requests = {
            side: {
                **kernel_request(self._groups[cell.id], cell),
                "cell": pair.name,
                "cache": cache_of(cell),
                "input_bytes": self._groups[cell.id].input_bytes,
            }
            for side, cell in (("base", pair.base), ("twin", pair.base), ("head", pair.head))
        }
        threads = max(key.threads for key in pair.keys)
        return Subject(pair.name, requests, self._settings.budget_s, threads)

    # ---- rounds ----------------------------------------------------------------------------------------

    def _screen_batch(self, trio: Trio, batch: Sequence[Timed], number: int) -> None:
        """Measure a batch until each pair is decided or its budget is used up."""
        active = []
        for pair in batch:
            try:
                pair.series = trio.begin(self._subject(pair), self._clock)
                active.append(pair)
            except SideError as error:
                self._lost(pair, error)
        while active:
            self._chance.shuffle(active)
            active = [pair for pair in active if self._round(trio, pair, pair.series)]
            active = [pair for pair in active if not self._looked(pair)]
            self._session.progress.note(_open_in_words(active))

    def _round(self, trio: Trio, pair: Timed, series: Series | None) -> bool:
        """Take one round of a pair; return whether it can go on."""
        if series is None:
            return False
        try:
            trio.round(series, self._clock)
        except (SideError, ValueError) as error:
            self._lost(pair, error if isinstance(error, SideError) else str(error))
            return False
        self._session.progress.tick()
        if series.discarded > series.looks[-1]:
            self._lost(pair, "the device was below its pace in most rounds")
            return False
        return True

    def _lost(self, pair: Timed, error: SideError | str) -> None:
        pair.error = error
        self._session.progress.advance(pair.name, None)

    def _looked(self, pair: Timed) -> bool:
        """Look at a pair whose time it is; return whether it is done."""
        series = pair.series
        if series is None:
            return False
        # looks were planned from one reading of the clock; what takes longer is looked at when time is up
        over = series.seconds >= self._settings.budget_s and len(series.rounds) >= paired.LEAST_ROUNDS
        if not over and len(series.rounds) not in series.looks:
            return False
        last = over or len(series.rounds) >= series.looks[-1]
        # what the null excuses is excused in the end only: until then more rounds may decide
        pair.threshold = self._threshold_of(pair) if last else self._settings.floor
        pair.screened = paired.screen(pair.interval, pair.threshold, self._settings.floor)
        pair.looked = last or pair.screened != "undecided"
        if pair.looked:
            self._session.progress.advance(pair.name, None)
        return pair.looked

    def _confirm_batch(self, trio: Trio, batch: Sequence[Timed], number: int) -> None:
        """Measure pairs again, as many rounds as they were screened by."""
        wanted: dict[str, int] = {}
        active = []
        for pair in batch:
            wanted[pair.name] = 0 if pair.series is None else len(pair.series.rounds)
            try:
                pair.fresh.append(trio.begin(self._subject(pair), self._clock))
                active.append(pair)
            except SideError as error:
                self._lost(pair, error)
        while active:
            self._chance.shuffle(active)
            active = [pair for pair in active if self._round(trio, pair, pair.fresh[-1])]
            for pair in [p for p in active if len(p.fresh[-1].rounds) >= wanted[p.name]]:
                active.remove(pair)
                pair.refuted = pair.confirmation.agreeing(self._settings.floor) < len(pair.fresh)
                self._session.progress.advance(pair.name, None)

    # ---- verdicts --------------------------------------------------------------------------------------

    def thresholds(self) -> dict[int, float]:
        """Return δ by decade of time, from the nulls so far."""
        return paired.thresholds(self.nulls(), self._settings.floor)

    def nulls(self) -> dict[str, tuple[float, float]]:
        """Return by pair the base's seconds a call and the median of ln(twin / base)."""
        return {
            pair.name: (seconds, null)
            for pair in self.pairs
            if (null := pair.null) is not None and (seconds := pair.median_s("base")) is not None
        }

    def _threshold_of(self, pair: Timed) -> float:
        seconds = pair.median_s("base")
        found = {} if seconds is None else self.thresholds()
        return found.get(paired.decade(seconds), self._settings.floor) if seconds else self._settings.floor

    def judge(self) -> None:
        """Give each pair its verdict, from what was measured so far."""
        for pair in self.pairs:
            if pair.error is None and pair.looked and pair.screened in ("not slower", "undecided"):
                pair.threshold = self._threshold_of(pair)  # more nulls are known than at its last look
                pair.screened = paired.screen(pair.interval, pair.threshold, self._settings.floor)
            known = pair.error is None and pair.screened in ("not slower", "faster")
            pair.verdict = "pass" if known else "inconclusive"
        for direction in TO_CONFIRM:
            again = [p for p in self.pairs if p.screened == direction and p.error is None]
            complete = [p for p in again if p.refuted or p.measured_again(self._settings.sets)]
            for pair in complete:
                pair.threshold = self._threshold_of(pair)
            p_values = [1.0 if p.refuted else p.confirmation.p_value(p.threshold) for p in complete]
            for pair, shown in zip(complete, paired.holm(p_values), strict=True):
                pair.shown = shown
                found = pair.interval
                passes = found is not None and paired.is_below(found, pair.threshold, self._settings.floor)
                slower = shown and direction == "slower"
                pair.verdict = "fail" if slower else "pass" if passes else "inconclusive"


def cache_of(cell: Cell) -> str:
    """Return whether a cell's inputs are hot or cold."""
    return "hot" if cell.speed is None else cell.speed.cache


def _open_in_words(pairs: Sequence[Timed]) -> str:
    """Return how many pairs of a batch are undecided, and those that had most rounds."""
    rounds = {pair.name: len(pair.series.rounds) for pair in pairs if pair.series is not None}
    if not rounds:
        return "none undecided"
    name = max(rounds, key=lambda n: rounds[n])
    others = f" and {len(rounds) - 1} more" if len(rounds) > 1 else ""
    return f"undecided after {rounds[name]} rounds: {name}{others}"


def _of_set(pair: Timed, number: int) -> Series | None:
    """Return what one set of workers gave: 0 is the first, in which the pair was screened."""
    if number == 0:
        return pair.series
    return pair.fresh[number - 1] if len(pair.fresh) >= number else None


def _as_plain(pair: Timed, series: Series, number: int) -> dict[str, Any]:
    return {
        "cell": pair.name,
        "set": number,
        "timer": series.timer,
        "calls": series.calls,
        "sub_blocks": series.sub_blocks,
        "looks": list(series.looks),
        "discarded": series.discarded,
        "overhead_fraction": series.overhead_fraction,
        "seconds": series.seconds,
        "rounds": [{side: list(times) for side, times in found.items()} for found in series.rounds],
    }
