"""Batches of a backend with several timers, and of a device that a kernel can take down."""

import pytest

from harness.timing.clock import MeasureError, WallTimer
from harness.timing.cuda import COLD_SUB_BLOCK_S, ColdTimer
from harness.timing.sample import Rules, time_batch
from harness.worker import batch
from harness.worker.__main__ import _told_of_ruin


class Ended(BaseException):
    """What the test has instead of the end of the process."""


class Timer(WallTimer):
    """A clock that each call advances by a millisecond times `factor`."""

    def __init__(self, name, factor=1, refuses=(), spoiled=None):
        self.ns = 0
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
    """Thunks by the name of their cell, and the backend that they run on; `kills` take the device down."""

    def __init__(self, *timers, kills=(), raises=()):
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

        def thunk():
            self.synchronize()
            if name in self._kills:
                self.alive = False
                self.synchronize()
            if name in self._raises:
                raise ValueError(name)

        thunk.name = name
        return thunk


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


def test_cold_inputs_are_for_timers_that_flush():
    found = timed(Kernels(Timer("wall")), "a", cache="cold")
    assert found["a"]["error"] == "device times hot inputs only; found cache: cold"
    assert timed(Kernels(Timer("cuda-cold")), "a", cache="cold")["a"]["status"] == "ok"


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
