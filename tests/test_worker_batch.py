"""Batches of a backend with several timers, and of a device that a kernel can take down."""

import subprocess
import sys
from collections import Counter

import pytest

from harness.timing.clock import MeasureError, WallTimer
from harness.timing.cuda import COLD_SUB_BLOCK_S, ColdTimer
from harness.timing.rotation import MOST_BYTES
from harness.timing.sample import Rules, time_batch
from harness.worker import batch, groups
from harness.worker.__main__ import _told_of_ruin
from harness.worker.kernel import KernelError


class Ended(BaseException):
    """What the test has instead of the end of the process."""


class Timer(WallTimer):
    """A clock that each call advances by a millisecond times `factor`."""

    def __init__(self, name, factor=1, refuses=(), spoiled=None):
        self.ns = 0
        self.cache = "cold" if name.endswith("cold") else "hot"
        super().__init__(lambda: self.ns)
        self.name = name
        self.factor = factor
        self.refuses = refuses
        self.spoiled = spoiled

    def measure(self, thunk, calls):
        if getattr(thunk, "name", None) in self.refuses:
            raise MeasureError(f"no {thunk.name}")
        for _ in range(calls):
            thunk()
        self.ns += 1_000_000 * self.factor * calls
        return 1e-3 * self.factor * calls


class Kernels:
    """Thunks by the name of their cell, and the backend that they run on; `kills` take the device down.

    `calls` has the cell and the number of the thunk of each call, from 0; `room` thunks of a cell fit.
    """

    def __init__(self, *timers, kills=(), raises=(), input_bytes=1 << 20, room=10_000):
        self.calls = []
        self.made = Counter()
        self._input_bytes = input_bytes
        self._room = room
        self.backend = self
        self.name = "device"
        self.alive = True
        self._timers = timers
        self._kills = kills
        self._raises = raises

    def timers(self):
        return self._timers

    def synchronize(self):
        if not self.alive:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def thunk(self, request, *, checked):
        assert not checked
        name = request["cell"]
        number = self.made[name]
        if number == self._room:
            raise KernelError("MemoryError: planted")
        self.made[name] += 1

        def thunk():
            self.calls.append((name, number))
            self.synchronize()
            if name in self._kills:
                self.alive = False
                self.synchronize()
            if name in self._raises:
                raise ValueError(name)

        thunk.name = name
        return thunk

    def input_bytes(self, request):
        return self._input_bytes


def timed(kernels, *names, **more):
    replies = []
    requests = [{"cell": name, "budget_s": 1.0, **more} for name in names]
    batch.time_cells(kernels, requests, True, replies.append)
    return {r["cell"]: r for r in replies if "cell" in r}


def test_one_timer_fills_its_column_and_the_columns_of_samples():
    (reply,) = timed(Kernels(Timer("wall")), "a").values()
    timing = reply["timing"]
    assert timing["timer"] == "wall"
    assert timing["time_wall_s"] == timing["time_median_s"] == pytest.approx(1e-3)
    assert timing["not_timed_by"] is None
    assert not {"time_cuda_cold_s", "time_cuda_graph_s"} & set(timing)


def test_timers_are_not_mixed():
    kernels = Kernels(Timer("cuda-cold", 3), Timer("cuda-graph", 2, refuses=("b",)), Timer("wall", 5))
    found = timed(kernels, "a", "b")
    for name, graph in (("a", pytest.approx(2e-3)), ("b", None)):
        timing = found[name]["timing"]
        assert timing["timer"] == "cuda-cold"
        assert timing["time_median_s"] == timing["time_cuda_cold_s"] == pytest.approx(3e-3)
        assert timing["time_min_s"] == pytest.approx(3e-3)
        assert timing["time_wall_s"] == pytest.approx(5e-3)
        assert timing.get("time_cuda_graph_s") == graph
    assert found["a"]["timing"]["not_timed_by"] is None
    assert found["b"]["timing"]["not_timed_by"] == "cuda-graph: no b"
    assert "replace" not in found["a"]


def test_timers_beside_the_first_have_half_a_budget_and_each_the_blocks_of_its_kind(monkeypatch):
    asked = []

    def spied(cells, timer, order, rules, between_slots):
        asked.append((timer.name, [cell.budget_s for cell in cells], rules.sub_block_s))
        return time_batch(cells, timer, order, rules, between_slots)

    monkeypatch.setattr(batch, "time_batch", spied)
    timed(Kernels(Timer("cuda-cold"), Timer("wall")), "a", "b")
    usual = Rules().sub_block_s
    assert asked == [("cuda-cold", [1.0, 1.0], usual), ("wall", [0.5, 0.5], usual)]
    for quick in (False, True):
        assert batch._rules(ColdTimer(None, None), quick).sub_block_s == COLD_SUB_BLOCK_S
        assert batch._rules(Timer("wall"), quick).sub_block_s == usual


def test_what_the_first_timer_could_not_measure_is_no_fault_of_the_kernel():
    kernels = Kernels(Timer("cuda-cold", refuses=("b",)), Timer("wall"), raises=("c",))
    found = timed(kernels, "a", "b", "c")
    assert [found[name]["status"] for name in "abc"] == ["ok", "error", "raised"]
    assert found["b"]["error"] == "MeasureError: no b"
    assert found["c"]["error"] == "ValueError: c"


def test_a_process_whose_allocator_a_capture_spoiled_is_replaced():
    found = timed(Kernels(Timer("cuda-cold"), Timer("cuda-graph", spoiled="why")), "a")
    assert found["a"]["replace"] is True


@pytest.fixture
def small_cache(monkeypatch):
    """4 MiB: inputs of 1 MiB need 9 copies."""
    monkeypatch.setattr(groups, "last_cache_bytes", lambda: 4 << 20)


def test_a_timer_that_flushes_needs_no_copies():
    for timers in ([Timer("cuda-cold"), Timer("wall")], [Timer("wall"), Timer("cuda-cold")]):
        kernels = Kernels(*timers)
        timing = timed(kernels, "a", cache="cold")["a"]["timing"]
        assert (timing["timer"], timing["cache"]) == ("cuda-cold", "cold")
        assert timing["time_wall_s"] == timing["time_cuda_cold_s"] == pytest.approx(1e-3)
        assert "copies" not in timing
        assert kernels.made["a"] == 1


def test_cold_calls_go_through_all_copies_before_one_is_called_again(small_cache):
    kernels = Kernels(Timer("wall", 2))
    timing = timed(kernels, "a", cache="cold")["a"]["timing"]
    assert (timing["timer"], timing["cache"], timing["copies"]) == ("wall-cold", "cold", 9)
    assert timing["time_wall_cold_s"] == timing["time_median_s"] == pytest.approx(2e-3)
    assert "time_wall_s" not in timing, "hot times only"
    first, *calls = [number for _, number in kernels.calls]
    assert first == 0, "that one runs once before"
    assert len(calls) > 5 * 9
    turn = calls[:9]
    assert sorted(turn) == list(range(9))
    assert turn != list(range(9)), "not in the order in which they lie in memory"
    assert calls == [turn[n % 9] for n in range(len(calls))]


def test_hot_and_cold_cells_of_one_batch_have_timers_of_their_own(small_cache):
    replies = []
    requests = [
        {"cell": name, "budget_s": 1.0, "cache": cache}
        for name, cache in (("a", "cold"), ("b", "hot"), ("c", "cold"), ("d", "hot"))
    ]
    kernels = Kernels(Timer("wall"))
    batch.time_cells(kernels, requests, True, replies.append)
    found = {r["cell"]: r["timing"] for r in replies if "cell" in r}
    assert {name: (t["timer"], t["cache"]) for name, t in found.items()} == {
        **dict.fromkeys("ac", ("wall-cold", "cold")),
        **dict.fromkeys("bd", ("wall", "hot")),
    }
    assert kernels.made == {"a": 9, "b": 1, "c": 9, "d": 1}
    order = list(dict.fromkeys(name for name, _ in kernels.calls))
    assert set(order[:2]) == {"b", "d"}, "hot cells are done before copies of others take memory"


def test_what_cannot_be_cold_here_is_no_fault_of_the_kernel(small_cache):
    kernels = Kernels(Timer("wall"), input_bytes=64)
    reply = timed(kernels, "a", cache="cold")["a"]
    assert reply["status"] == "error"
    assert reply["error"].startswith("inputs of 64 bytes would need 131,073 copies to leave a cache of 4 MiB")
    assert not kernels.made, "and nothing is measured in its place"
    reply = timed(Kernels(Timer("wall"), room=5), "a", cache="cold")["a"]
    assert reply["status"] == "error"
    assert reply["error"] == "copy 6 of 9 of its inputs failed: MemoryError: planted"


def test_copies_take_half_of_the_memory_left_and_groups_of_cells_a_bound(small_cache, monkeypatch):
    monkeypatch.setattr(groups, "memory_left", lambda: 17 << 20)
    assert "at most 8.5 MiB are held here" in timed(Kernels(Timer("wall")), "a", cache="cold")["a"]["error"]
    monkeypatch.setattr(groups, "memory_left", lambda: 10 * MOST_BYTES)
    monkeypatch.setattr(groups, "HELD_BYTES", 20 << 20)
    requests = [{"cell": name, "cache": "cold"} for name in "abcde"]
    found = groups.groups(Kernels(Timer("wall")), requests, None)
    assert [[r["cell"] for r in group.requests] for group in found] == [["a", "b"], ["c", "d"], ["e"]]
    monkeypatch.setattr(groups, "HELD_BYTES", 1)
    assert len(groups.groups(Kernels(Timer("wall")), requests, None)) == 5, "one at least in each"


def test_memory_that_is_left_is_what_the_limit_leaves():
    code = (
        "from harness.worker.__main__ import limit_memory\n"
        "from harness.worker.groups import memory_left\n"
        "unlimited = memory_left()\n"
        "limit_memory(1 << 30)\n"
        "print(unlimited, memory_left())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unlimited, left = map(int, done.stdout.split())
    assert unlimited == sys.maxsize
    if sys.platform.startswith("linux"):
        assert (1 << 30) - (64 << 20) < left <= 1 << 30
    else:
        assert left == sys.maxsize


def test_a_kernel_that_takes_the_device_down_ends_the_batch_so_that_each_is_timed_alone(monkeypatch):
    def end(code):
        raise Ended(code)

    monkeypatch.setattr(batch.os, "_exit", end)
    with pytest.raises(Ended) as ended:
        timed(Kernels(Timer("wall"), kills=("b",)), "a", "b", "c")
    assert ended.value.args == (batch.RUINED,)
    kernels = Kernels(Timer("wall"), kills=("b",))
    replies = []
    batch.time_cells(kernels, [{"cell": "b", "budget_s": 1.0}], True, _told_of_ruin(kernels, replies.append))
    (reply,) = replies
    assert (reply["status"], reply["replace"]) == ("raised", True)
    assert "illegal memory access" in reply["error"]


def test_a_kernel_that_raises_and_leaves_the_device_well_costs_no_worker():
    kernels = Kernels(Timer("wall"), raises=("a",))
    replies = []
    batch.time_cells(kernels, [{"cell": "a", "budget_s": 1.0}], True, _told_of_ruin(kernels, replies.append))
    assert [(r["status"], "replace" in r) for r in replies] == [("raised", False)]
