"""Rounds of a set of workers, with stand-ins that answer at once: order, cores, counts, who is blamed."""

from __future__ import annotations

import itertools
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execute import rounds
from harness.execute.prober import AskError
from harness.execute.rounds import SIDES, SUB_BLOCKS, Series, SideError, Subject, Trio
from harness.timing.paired import planned_looks

CALL_S = {"base": 1e-5, "twin": 1e-5, "head": 2e-5}


class Machine:
    """The time of all stand-ins, and what each of them was asked, in order."""

    def __init__(self, slowed: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now = 0.0
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.slowed = slowed
        self.answers: dict[tuple[str, str], Callable[[Mapping[str, Any]], dict[str, Any]]] = {}
        """By side and request, what is answered instead."""

    def clock(self) -> float:
        return self.now

    def slots(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(side, request) for side, request in self.asked if request["do"] == "slot"]

    def order(self) -> list[str]:
        return [side for side, _ in self.slots()]


class StandIn:
    """Answers as a prober does, without a process."""

    def __init__(self, side: str, machine: Machine) -> None:
        self.side, self.machine = side, machine
        self.child: object = None
        self.closed: float | None = None
        self.timeouts: list[float] = []

    def begin(self) -> None:
        self.child = self.child or object()

    def close(self, patience_s: float = 2.0) -> None:
        self.closed, self.child = patience_s, None

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        machine, do = self.machine, request["do"]
        machine.asked.append((self.side, request))
        self.timeouts.append(timeout_s)
        if (self.side, do) in machine.answers:
            return machine.answers[self.side, do](request)
        if do == "open":
            machine.now += 1e-3
            return {"status": "ok", "build_s": 1e-3}
        if do == "calibrate":
            return {
                "timer": "wall",
                "cache": "hot",
                "calls": 30,
                "seconds_per_call": CALL_S[self.side],
                "overhead_fraction": 0.01,
            }
        if do == "slot":
            machine.now += 1.0
            return {"seconds": CALL_S[self.side] * machine.slowed(machine.now)}
        return {}


def trio(machine: Machine, sides: tuple[str, ...] = SIDES, seed: int = 1) -> Trio:
    found = {side: StandIn(side, machine) for side in sides}
    return Trio(found, 5.0, random.Random(seed))  # type: ignore[arg-type]


def subject(name: str = "cell", threads: int = 1, budget_s: float = 1.0) -> Subject:
    requests = {side: {"cell": name, "operation": "dot", "side": side} for side in SIDES}
    return Subject(name, requests, budget_s, threads)


def raising(kind: str, reason: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def answer(request: Mapping[str, Any]) -> dict[str, Any]:
        raise AskError(kind, reason)

    return answer


# ---- a series is begun ----------------------------------------------------------------------------------


def test_all_sides_open_the_subject_and_the_base_alone_counts_calls() -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    asked = [(side, request["do"]) for side, request in machine.asked]
    assert asked == [("base", "open"), ("twin", "open"), ("head", "open"), ("base", "calibrate")]
    for side, request in machine.asked[:3]:
        assert request == {"do": "open", "cell": "cell", "operation": "dot", "side": side}
    assert (series.timer, series.calls, series.overhead_fraction) == ("wall", 30, 0.01)
    assert series.seconds == pytest.approx(3e-3)


@pytest.mark.parametrize(
    ("calls", "call_s", "sub_blocks"),
    [(30, 1e-5, 4), (1, 5e-4, 4), (1, 6e-4, 2), (1, 5e-3, 2), (1, 6e-3, 1), (1, 2.0, 1)],
)
def test_long_blocks_are_fewer(calls: int, call_s: float, sub_blocks: int) -> None:
    machine = Machine()
    machine.answers["base", "calibrate"] = lambda request: {
        "timer": "wall", "cache": "cold", "calls": calls, "seconds_per_call": call_s, "overhead_fraction": 0.0
    }  # fmt: skip
    series = trio(machine).begin(subject(budget_s=10), machine.clock)
    assert (series.sub_blocks, series.cache) == (sub_blocks, "cold")
    # six slots a round, each with copies made anew, which take as long at most
    slot_s = sub_blocks * calls * call_s
    assert series.looks == planned_looks(6 * (slot_s + min(slot_s, 1e-3)), 10)
    assert [limit for limit, _ in SUB_BLOCKS] == sorted(limit for limit, _ in SUB_BLOCKS)


# ---- a round --------------------------------------------------------------------------------------------


def test_a_round_is_a_palindrome_in_random_order() -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    for _ in range(120):
        workers.round(series, machine.clock)
    order = machine.order()
    assert len(order) == 720
    every = [tuple(order[i : i + 6]) for i in range(0, 720, 6)]
    assert all(found == found[::-1] for found in every)
    counted = Counter(found[:3] for found in every)
    assert set(counted) == set(itertools.permutations(SIDES))
    # of 120 draws of six orders each is due 20 times; beyond 5 standard deviations is no chance
    assert all(abs(n - 20) < 5 * math.sqrt(120 * 5 / 36) for n in counted.values())
    assert len(series.rounds) == 120
    assert all(set(found) == set(SIDES) for found in series.rounds)
    assert all(len(slots) == 2 for found in series.rounds for slots in found.values())


def test_the_order_follows_from_the_seed_alone() -> None:
    def order(seed: int) -> list[str]:
        machine = Machine()
        workers = trio(machine, seed=seed)
        series = workers.begin(subject(), machine.clock)
        for _ in range(10):
            workers.round(series, machine.clock)
        return machine.order()

    assert order(4) == order(4)
    assert order(4) != order(5)


def test_one_count_of_calls_and_one_timer_for_all_and_memory_that_moves() -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    for _ in range(20):
        workers.round(series, machine.clock)
    slots = [request for _, request in machine.slots()]
    alike = {(r["calls"], r["sub_blocks"], r["timer"], r["cell"], r["fresh"]) for r in slots}
    assert alike == {(30, 4, "wall", "cell", True)}
    assert len({request["seed"] for request in slots}) == len(slots)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_all_slots_of_a_round_are_on_one_core_of_those_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds.os, "sched_getaffinity", lambda pid: {2, 5, 11})
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    for _ in range(60):
        workers.round(series, machine.clock)
    cpus = [request["cpus"] for _, request in machine.slots()]
    by_round = [cpus[i : i + 6] for i in range(0, len(cpus), 6)]
    assert all(len(core) == 1 for core in cpus)
    assert all(found == found[:1] * 6 for found in by_round)
    assert {found[0][0] for found in by_round} == {2, 5, 11}


def test_several_threads_are_bound_to_no_core() -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(threads=2), machine.clock)
    workers.round(series, machine.clock)
    assert [request["cpus"] for _, request in machine.slots()] == [None] * 6


def test_a_system_without_affinity_binds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(rounds.os, "sched_getaffinity", raising=False)
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    workers.round(series, machine.clock)
    assert [request["cpus"] for _, request in machine.slots()] == [None] * 6


def test_a_round_in_which_the_device_was_slow_is_discarded_whole() -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    count = itertools.count()
    machine.answers["twin", "slot"] = lambda request: {
        "seconds": 1e-5, **({"unsteady": True} if next(count) == 3 else {})
    }  # fmt: skip
    for _ in range(4):
        workers.round(series, machine.clock)
    assert (len(series.rounds), series.discarded) == (3, 1)
    assert len(machine.slots()) == 24  # the rest of the round was taken: the order stays what it is
    assert len(series.times("head")) == 6


@pytest.mark.parametrize("seconds", [0.0, -1e-9, math.nan])
def test_a_slot_without_time_is_the_sides_fault(seconds: float) -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    machine.answers["head", "slot"] = lambda request: {"seconds": seconds}
    with pytest.raises(SideError, match="head: a slot took no time"):
        workers.round(series, machine.clock)
    assert series.rounds == []


def test_a_slot_may_take_what_slots_take_and_the_time_of_one_call_beside() -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    workers.round(series, machine.clock)
    workers.round(series, machine.clock)
    first, later = workers.probers["head"].timeouts[1], workers.probers["head"].timeouts[-1]  # type: ignore[attr-defined]
    assert first == 5.0
    assert later == pytest.approx(5.0 + 20 * 30 * 4 * CALL_S["base"])


# ---- who is blamed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "named"), [("base", "base"), ("twin", "base"), ("head", "head")])
@pytest.mark.parametrize("do", ["open", "slot"])
def test_the_side_that_fails_is_named_and_the_twin_is_a_base(side: str, named: str, do: str) -> None:
    machine = Machine()
    machine.answers[side, do] = raising("crashed", "killed by SIGSEGV")
    workers = trio(machine)

    def measured() -> None:
        workers.round(workers.begin(subject(), machine.clock), machine.clock)

    with pytest.raises(SideError) as caught:
        measured()
    assert (caught.value.side, caught.value.kind) == (named, "crashed")
    assert str(caught.value) == f"{named}: killed by SIGSEGV"


def test_a_round_that_fails_leaves_no_half_of_itself() -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    workers.round(series, machine.clock)
    machine.answers["head", "slot"] = raising("raised", "ValueError: no")
    with pytest.raises(SideError):
        workers.round(series, machine.clock)
    assert len(series.rounds) == 1


# ---- children come and go -------------------------------------------------------------------------------


def test_a_child_that_was_replaced_is_told_again() -> None:
    machine = Machine()
    workers = trio(machine)
    series = workers.begin(subject(), machine.clock)
    workers.round(series, machine.clock)
    workers.probers["head"].child = object()  # type: ignore[misc]
    del machine.asked[:]
    workers.round(series, machine.clock)
    workers.round(series, machine.clock)
    opened = [(side, request["side"]) for side, request in machine.asked if request["do"] == "open"]
    assert opened == [("head", "head")]
    order = [side for side, request in machine.asked if request["do"] == "slot"]
    first = next(i for i, (side, _) in enumerate(machine.asked) if side == "head")
    assert machine.asked[first][1]["do"] == "open"
    assert len(order) == 12


def test_subjects_that_are_known_are_not_opened_twice_and_forgotten_ones_are() -> None:
    machine = Machine()
    workers = trio(machine)
    one, other = subject("one"), subject("other")
    series = [workers.begin(s, machine.clock) for s in (one, other)]
    for s in (*series, *series):
        workers.round(s, machine.clock)
    opened = Counter(r["cell"] for _, r in machine.asked if r["do"] == "open")
    assert opened == {"one": 3, "other": 3}
    workers.forget()
    assert [side for side, r in machine.asked if r["do"] == "close"] == list(SIDES)
    workers.begin(one, machine.clock)
    opened = Counter(r["cell"] for _, r in machine.asked if r["do"] == "open")
    assert opened == {"one": 6, "other": 3}


def test_one_that_dies_when_it_forgets_stops_no_other() -> None:
    machine = Machine()
    machine.answers["twin", "close"] = raising("crashed", "killed by SIGSEGV")
    trio(machine).forget()
    assert [side for side, r in machine.asked if r["do"] == "close"] == list(SIDES)


def test_what_is_dead_is_not_asked_to_forget() -> None:
    machine = Machine()
    workers = trio(machine)
    workers.begin(subject(), machine.clock)
    workers.probers["twin"].child = None  # type: ignore[misc]
    workers.forget()
    assert [side for side, r in machine.asked if r["do"] == "close"] == ["base", "head"]


def test_all_workers_are_started_together_and_closed_with_one_patience() -> None:
    workers = trio(Machine())
    assert all(prober.child is not None for prober in workers.probers.values())
    workers.close(patience_s=0)
    assert [prober.closed for prober in workers.probers.values()] == [0, 0, 0]  # type: ignore[attr-defined]


# ---- what rounds come to --------------------------------------------------------------------------------


@given(st.floats(-3e-3, 3e-3), st.integers(0, 1000), st.booleans())
def test_linear_drift_cancels(slope: float, seed: int, twins: bool) -> None:
    """A machine whose every slot is longer by the same amount: the ratio is what it is without."""
    machine = Machine(lambda now: 1.0 + slope * now)
    workers = trio(machine, SIDES if twins else ("base", "head"), seed)
    series = workers.begin(subject(), machine.clock)
    for _ in range(10):
        workers.round(series, machine.clock)
    # ln(1 + x) is not linear: what is left is of second order in the drift of one round, 6 slots
    left = (6 * abs(slope) / (1 - 61 * abs(slope))) ** 2
    assert all(abs(d - math.log(2)) <= left + 1e-12 for d in series.ds())
    assert all(abs(d) <= left + 1e-12 for d in series.nulls())
    assert len(series.nulls()) == (10 if twins else 0)


def test_the_twin_counts_as_a_base() -> None:
    found = {"base": (1.0, 1.0), "twin": (4.0, 4.0), "head": (2.0, 2.0)}
    series = Series(subject(), "wall", "hot", 1, 1, (20,), 0.0, [found])
    assert series.ds() == [0.0]  # 2 is the geometric mean of 1 and 4
    assert series.nulls() == [pytest.approx(math.log(4))]
    assert series.times("base") == [1.0, 1.0]
    assert series.median_s("twin") == 4.0


def test_a_pair_of_workers_has_no_null() -> None:
    machine = Machine()
    workers = trio(machine, ("base", "head"))
    series = workers.begin(subject(), machine.clock)
    workers.round(series, machine.clock)
    assert series.ds() == [pytest.approx(math.log(2))]
    assert series.nulls() == []
    assert series.times("twin") == []
    assert series.seconds == pytest.approx(2e-3 + 4.0)
