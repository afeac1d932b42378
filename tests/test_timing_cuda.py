"""Timers of a CUDA device, on one that is written down here: queue, events, graphs, host and device clock."""

import random

import pytest

from harness.timing.clock import MeasureError, WallTimer, empty
from harness.timing.cuda import (
    COLD_SUB_BLOCK_S,
    FLUSHED_BYTES,
    GRAPH_CALLS,
    GRAPH_WARM_UPS,
    LONGEST_SLEEP_S,
    SHORTEST_SLEEP_S,
    SLEEP_CYCLES_PER_S,
    CaptureError,
    ColdTimer,
    GraphTimer,
    flushed_bytes,
    sleep_cycles,
)
from harness.timing.sample import Failed, Rules, TimedCell, time_batch

LAUNCH_NS = 5_000
"""What the host takes to queue a kernel."""


class Event:
    def __init__(self, device, enable_timing):
        assert enable_timing
        self.device = device
        self.at_ns = None

    def record(self):
        self.device.queue("record", 0)
        self.at_ns = self.device.device_ns

    def elapsed_time(self, other):
        assert self.device.waited, "events are read after the device was waited for"
        return (other.at_ns - self.at_ns) * 1e-6


class Graph:
    def __init__(self, device):
        self.device = device
        self.kernels = None

    def capture_begin(self):
        assert self.device.capturing is None
        self.device.log.append("capture")
        self.device.capturing = []

    def capture_end(self):
        captured, self.device.capturing = self.device.capturing, None
        if self.device.invalid:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nmore")
        self.kernels = captured

    def replay(self):
        self.device.log.append("replay")
        for name, ns in self.kernels:
            self.device.run(name, ns)
        self.device.device_ns += 2_000  # the gap to the next replay


class Device:
    """Stands for torch.cuda: the host queues, the device does; each has a clock of its own in nanoseconds."""

    def __init__(self):
        self.host_ns = 0
        self.device_ns = 0
        self.log = []
        self.waited = False
        self.capturing = None
        self.invalid = False
        self.mode = 0
        self.stream = "own"

    # what timers use

    def Event(self, enable_timing):
        return Event(self, enable_timing)

    def CUDAGraph(self):
        return Graph(self)

    def _sleep(self, cycles):
        self.queue("sleep", round(cycles / SLEEP_CYCLES_PER_S * 1e9))

    def synchronize(self):
        if self.capturing is not None:
            self.invalid = True
            raise RuntimeError("operation not permitted when stream is capturing")
        self.log.append("wait")
        self.waited = True
        self.host_ns = max(self.host_ns, self.device_ns)

    def current_stream(self):
        return self.stream

    def default_stream(self):
        return "default"

    def get_sync_debug_mode(self):
        return self.mode

    def set_sync_debug_mode(self, mode):
        self.mode = {"default": 0, "error": 2}.get(mode, mode)

    # what kernels do

    def run(self, name, ns):
        """Begin when both are ready: a device that is idle waits for the launch."""
        self.device_ns = max(self.device_ns, self.host_ns) + ns

    def queue(self, name, ns):
        self.waited = False
        if self.capturing is not None:
            self.capturing.append((name, ns))
            return
        self.log.append(name)
        self.run(name, ns)

    def kernel(self, name="run", ns=3_000, launches=1):
        def thunk():
            for _ in range(launches):
                if self.capturing is None:
                    self.host_ns += LAUNCH_NS
                self.queue(name, ns)

        return thunk

    def flush(self):
        self.queue("flush", 100_000)

    def clock(self):
        return self.host_ns


@pytest.fixture
def device():
    return Device()


def cold(device, **options):
    return ColdTimer(device, device.flush, counter=device.clock, **options)


def graph(device, **options):
    return GraphTimer(device, counter=device.clock, **options)


# ---- single calls


def test_each_call_is_flushed_and_slept_before_and_stands_between_two_events(device):
    cold(device).measure(device.kernel(), 2)
    one = ["flush", "sleep", "record", "run", "record"]
    assert device.log == ["wait", *one, *one, "wait"]


def test_the_flush_the_sleep_and_the_launch_are_not_in_the_time(device):
    timer = cold(device)
    assert timer.measure(device.kernel(ns=3_000), 5) == pytest.approx(5 * 3e-6)
    assert timer.measure(device.kernel(ns=70_000), 1) == pytest.approx(70e-6)
    assert timer.measure(empty, 4) == 0


def test_without_a_sleep_a_launch_is_in_the_time(device, monkeypatch):
    """Why there is one: the planted timer that does not sleep gives the launch for the kernel."""
    monkeypatch.setattr(device, "_sleep", lambda cycles: None)
    monkeypatch.setattr(device, "flush", lambda: None)
    assert cold(device).measure(device.kernel(ns=3_000), 1) >= LAUNCH_NS * 1e-9


def test_the_sleep_grows_with_what_the_host_takes_to_queue(device):
    timer, thunk = cold(device), device.kernel(ns=1_000, launches=100)
    timer.measure(thunk, 1)
    assert timer.measure(thunk, 1) == pytest.approx(100e-6), "0.5 ms of launches behind 1 ms of sleep"


def test_sleeps_have_bounds():
    assert sleep_cycles(0.0) == SHORTEST_SLEEP_S * SLEEP_CYCLES_PER_S
    assert sleep_cycles(1e-3) == pytest.approx(2e-3 * SLEEP_CYCLES_PER_S)
    assert sleep_cycles(1.0) == LONGEST_SLEEP_S * SLEEP_CYCLES_PER_S


@pytest.mark.parametrize(
    ("l2_bytes", "expected"), [(6 << 20, FLUSHED_BYTES), (50 << 20, FLUSHED_BYTES), (192 << 20, 384 << 20)]
)
def test_twice_the_cache_is_flushed(l2_bytes, expected):
    assert flushed_bytes(l2_bytes) == expected


# ---- graphs


def test_a_graph_is_captured_after_calls_that_may_not_wait_and_replayed_between_two_events(device):
    graph(device).measure(device.kernel(), 8)
    assert device.log == [
        "wait", *["run"] * GRAPH_WARM_UPS, "wait", "capture",
        "wait", "sleep", "record", "replay", "record", "wait",
    ]  # fmt: skip
    assert device.mode == 0, "the mode of debugging is as before"


def test_the_time_of_replays_is_brought_to_the_number_of_calls(device):
    timer, thunk = graph(device), device.kernel(ns=3_000)
    for calls in (1, 7, 64, 100, 1000):
        held = min(GRAPH_CALLS, 1 << (calls.bit_length() - 1))
        seconds = timer.measure(thunk, calls)
        assert seconds / calls == pytest.approx(3e-6 + 2e-6 / held), "a replay's gap is shared by its calls"


def test_as_many_replays_as_hold_the_calls(device):
    graph(device).measure(device.kernel(), 100)
    assert device.log.count("replay") == 2, "of 64 calls each: one would hold 64 of 100"


def test_a_graph_is_captured_again_only_for_another_number_of_calls(device):
    timer, thunk = graph(device), device.kernel()
    for calls in (1, 1, 10, 12, 200, 300):
        timer.measure(thunk, calls)
    assert device.log.count("capture") == 3, "of 1, 8 and 64 calls"
    assert device.log.count("run") == GRAPH_WARM_UPS + 0, "a replay's kernels are not queued by the host"


def test_each_thunk_has_a_graph_of_its_own(device):
    timer = graph(device)
    fast, slow = device.kernel(ns=1_000), device.kernel(ns=9_000)
    for _ in range(2):
        assert timer.measure(slow, 64) > 5 * timer.measure(fast, 64)
    assert device.log.count("capture") == 2


def test_nothing_has_no_graph(device):
    assert graph(device).measure(empty, 100) == 0
    assert device.log == []


def test_a_call_that_waits_is_refused_without_an_attempt_and_spoils_nothing(device):
    timer, tried = graph(device), []

    def waits():
        tried.append(device.mode)
        if device.mode == 2:
            raise RuntimeError("called a synchronizing CUDA operation\nat …")

    for _ in range(2):
        with pytest.raises(
            CaptureError, match=r"^it waits for the device: called a synchronizing CUDA operation$"
        ):
            timer.measure(waits, 4)
    assert len(tried) == 1, "what was refused once is not tried again"
    assert "capture" not in device.log
    assert timer.spoiled is None
    assert device.mode == 0
    assert timer.measure(device.kernel(), 4) > 0, "others are captured"


def test_a_capture_that_fails_is_the_last_in_its_process(device):
    timer = graph(device)
    with pytest.raises(CaptureError, match=r"^it cannot be captured: operation not permitted"):
        timer.measure(lambda: device.synchronize(), 4)
    assert timer.spoiled
    device.invalid = False
    with pytest.raises(CaptureError, match="an earlier capture failed in this process"):
        timer.measure(device.kernel(), 4)
    assert device.log.count("capture") == 1


def test_the_default_stream_is_not_captured(device):
    device.stream = "default"
    with pytest.raises(CaptureError, match="default"):
        graph(device).measure(device.kernel(), 1)


# ---- in a batch


class Clocked:
    """A pace that is below the default in some of its readings."""

    def __init__(self, slow):
        self.about = {"clocks": "written down"}
        self.readings = 0
        self.slow = slow

    def steady(self):
        self.readings += 1
        return self.readings not in self.slow

    def state(self):
        return {"sm_clock_mhz": 1000 + self.readings}


def batch(timer, cells, **rules):
    block = COLD_SUB_BLOCK_S if isinstance(timer, ColdTimer) else Rules().sub_block_s
    rules = Rules(sub_block_s=block, **rules)
    return {t.name: t for t in time_batch(cells, timer, random.Random(0), rules)}


@pytest.mark.parametrize("make", [cold, graph])
def test_a_batch_is_timed_by_either(device, make):
    cells = [TimedCell(str(ns), device.kernel(ns=ns), 1.0) for ns in (3_000, 50_000)]
    found = batch(make(device), cells)
    for name, timing in found.items():
        gap = 2_000 / GRAPH_CALLS if make is graph else 0
        assert timing.median_s == pytest.approx((int(name) + gap) * 1e-9, rel=0.05)
        assert timing.converged
        assert timing.timer == make(device).name
        assert timing.overhead_fraction == 0


def test_cells_run_until_the_device_is_warm_by_the_timer_itself(device):
    timer = cold(device, warm_s=0.5)
    seen = []

    def thunk():
        seen.append(device.host_ns)
        device.kernel()()

    batch(timer, [TimedCell("a", thunk, 1.0)])
    warm = [ns for ns in seen if ns < 0.5e9]
    assert len(warm) > 1000, "0.2 ms each"
    assert device.log.count("flush") >= len(seen), "flushed as in a measurement"


def test_warming_ends_with_cells_that_raise(device):
    def broken():
        device.host_ns += 1_000_000
        raise ValueError("broken")

    (failed,) = batch(cold(device, warm_s=0.1), [TimedCell("a", broken, 1.0)]).values()
    assert isinstance(failed, Failed)
    assert 0.1e9 <= device.host_ns < 0.15e9


def test_slots_at_a_low_clock_are_discarded_and_counted(device):
    pace = Clocked(slow={2, 3, 7})
    timing = batch(cold(device, pace=pace, warm_s=0.0), [TimedCell("a", device.kernel(), 1.0)])["a"]
    assert (len(timing.samples), timing.discarded, pace.readings) == (20, 3, 23)
    assert timing.conditions["clocks"] == "written down"
    assert timing.conditions["sm_clock_mhz_before"] == 1000
    assert timing.conditions["sm_clock_mhz_after"] == 1023


def test_a_cell_that_never_had_the_clock_is_not_measured_rather_than_wrong(device):
    pace = Clocked(slow=range(10_000))
    failed = batch(cold(device, pace=pace, warm_s=0.0), [TimedCell("a", device.kernel(), 0.2)])["a"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, MeasureError)
    assert "below its pace in each of" in str(failed.error)
    assert device.host_ns < 0.4e9, "the budget holds"


def test_discarded_slots_are_spent(device):
    """Of 60 ms each 0.2 s hold three; a fourth would end after them."""
    timer = cold(device, pace=Clocked(slow=range(10_000)), warm_s=0.0)
    failed = batch(timer, [TimedCell("a", device.kernel(ns=60_000_000), 0.2)])["a"]
    assert "in each of 3 slots" in str(failed.error)


def test_the_control_loop_is_the_hosts(device):
    """Not between two events: the device does nothing there."""
    timing = batch(cold(device, warm_s=0.0), [TimedCell("a", device.kernel(), 1.0)])["a"]
    assert timing.conditions["control_before_s"] == 0, "the host of this test does it in no time"
    real = batch(WallTimer(), [TimedCell("a", lambda: None, 0.01)])["a"]
    assert real.conditions["control_before_s"] > 0
