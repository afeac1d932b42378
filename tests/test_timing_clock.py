import gc

import pytest

from harness.timing.clock import WallTimer, collector_off, control_loop, empty


class Counter:
    def __init__(self):
        self.ns = 0

    def __call__(self):
        return self.ns


def test_wall_timer_measures_all_calls_and_nothing_else():
    counter, called = Counter(), []

    def thunk():
        called.append(counter.ns)
        counter.ns += 250

    timer = WallTimer(counter)
    counter.ns = 1_000_000
    assert timer.measure(thunk, 8) == pytest.approx(8 * 250e-9)
    assert len(called) == 8
    assert timer.now() == pytest.approx(counter.ns * 1e-9)


def test_wall_timer_waits_before_each_reading():
    counter = Counter()
    order = []

    def read():
        order.append("read")
        return counter.ns

    timer = WallTimer(read, synchronize=lambda: order.append("wait"))
    timer.measure(lambda: order.append("call"), 2)
    assert order == ["wait", "read", "call", "call", "wait", "read"]


def test_empty_and_control_are_what_they_say():
    assert empty() is None
    state = 1
    for _ in range(1000):
        state = state * 69069 % 2**32
    assert control_loop() == state


def test_collector_is_off_inside_and_as_before_after():
    assert gc.isenabled()
    with collector_off():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), collector_off():
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.disable()
    try:
        with collector_off():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
