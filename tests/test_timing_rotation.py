"""Rotations of copies: how many, in which order, and that nothing hot is measured under a cold name."""

import importlib.util
import random
import re
import sys
from pathlib import Path

import pytest

import harness.timing
from harness.timing.clock import MeasureError, WallTimer, empty
from harness.timing.rotation import (
    MOST_BYTES,
    MOST_COPIES,
    UNKNOWN_CACHE_BYTES,
    Rotation,
    RotationTimer,
    copies_needed,
    sized,
)
from harness.timing.sample import TimedCell, time_batch

MIB = 1 << 20


@pytest.mark.parametrize(
    ("input_bytes", "copies"),
    [
        (MIB, 65),  # 64 copies are twice the cache, and do not exceed it
        (MIB + 1, 64),
        (3 * MIB, 22),
        (64 * MIB, 2),
        (64 * MIB + 1, 1),  # evicts itself
        (4096 * MIB, 1),  # held for hot times too, whatever the limit of copies
    ],
)
def test_copies_exceed_twice_the_cache_by_no_more_than_one(input_bytes, copies):
    assert copies_needed(input_bytes, 32 * MIB) == copies
    assert copies * input_bytes > 64 * MIB >= (copies - 1) * input_bytes


def test_too_small_inputs_say_how_large_they_would_have_to_be():
    told = (
        "inputs of 64 bytes would need 1,048,577 copies to leave a cache of 32 MiB; "
        "cold needs at least 16,385 bytes here, for at most 4,096 copies are made"
    )
    with pytest.raises(MeasureError, match=re.escape(told)):
        copies_needed(64, 32 * MIB)
    assert copies_needed(16385, 32 * MIB) == MOST_COPIES == 4096
    with pytest.raises(MeasureError):
        copies_needed(16384, 32 * MIB)


def test_a_cache_of_unknown_size_is_said_to_be_taken():
    assert copies_needed(MIB, 0) == copies_needed(MIB, UNKNOWN_CACHE_BYTES) == 129
    with pytest.raises(MeasureError, match=r"a cache of 64 MiB \(taken, for the system does not tell\)"):
        copies_needed(64, 0)


def test_copies_hold_no_more_than_may_be_held():
    assert copies_needed(MIB, MOST_BYTES // 2 - MIB) == 1023
    told = "need 1,025 copies to leave a cache of 512 MiB, 1.001 GiB together; at most 1 GiB are held here"
    with pytest.raises(MeasureError, match=re.escape(told)):
        copies_needed(MIB, MOST_BYTES // 2)
    with pytest.raises(MeasureError, match="at most 32 MiB are held here"):
        copies_needed(MIB, 32 * MIB, most_bytes=32 * MIB)


def test_without_inputs_there_is_nothing_cold():
    with pytest.raises(MeasureError, match="without inputs"):
        copies_needed(0, 32 * MIB)


def test_sizes_are_in_the_largest_unit_reached():
    assert [sized(n) for n in (64, 16385, 3 << 19, 5 << 30)] == ["64 bytes", "16 KiB", "1.5 MiB", "5 GiB"]


def test_a_rotation_goes_on_where_it_stopped():
    called = []
    rotation = Rotation(lambda n=n: called.append(n) or n for n in range(5))
    timer = RotationTimer(WallTimer())
    assert [rotation(), rotation()] == [0, 1]
    timer.measure(rotation, 4)
    timer.measure(rotation, 7)
    assert called == [n % 5 for n in range(13)], "between two calls of one thunk lie the four others"


def test_what_a_thunk_raises_arrives_and_the_rotation_goes_on():
    def broken():
        raise ValueError("planted")

    rotation = Rotation([broken, lambda: 1])
    with pytest.raises(ValueError, match="planted"):
        RotationTimer(WallTimer()).measure(rotation, 1)
    assert rotation() == 1


def test_a_rotation_of_nothing_has_as_many_functions_of_their_own(monkeypatch):
    found = []
    monkeypatch.setattr(Rotation, "__new__", lambda cls, thunks: found.extend(thunks))
    Rotation.of_nothing(7)
    assert len(set(map(id, found))) == 7
    assert {thunk() for thunk in found} == {None}


def test_the_cold_timer_refuses_what_would_be_hot():
    for hot in (empty, lambda: None):
        with pytest.raises(TypeError, match="wall-cold measures rotations only; found function"):
            RotationTimer(WallTimer()).measure(hot, 1)


def test_the_cold_timer_is_its_timer_by_another_name():
    class Clock(WallTimer):
        sub_block_s = 1e-5
        spoiled = "planted"

    clock = Clock(lambda: 7_000_000_000, warm_s=0.5)
    timer = RotationTimer(clock)
    assert (timer.name, timer.cache) == ("wall-cold", "cold")
    assert (timer.sub_block_s, timer.warm_s, timer.spoiled) == (1e-5, 0.5, "planted")
    assert (timer.pace, timer.now()) == (clock.pace, 7.0)


def test_overhead_is_that_of_a_rotation_of_nothing():
    """Each call costs 50 ns; the turn of a rotation 20 more, and the thunks of the cell 930."""

    class Counted(WallTimer):
        ns = 0

        def measure(self, thunk, calls):
            assert isinstance(thunk, Rotation)
            self.ns += calls * (70 if thunk is idle else 1000)
            return super().measure(thunk, calls) + calls * (70 if thunk is idle else 1000) * 1e-9

    clock = Counted(lambda: clock.ns)
    idle = Rotation.of_nothing(3)
    cell = TimedCell("a", Rotation([empty] * 3), 0.1, idle)
    (timing,) = time_batch([cell], RotationTimer(clock), random.Random(0))
    assert timing.overhead_fraction == pytest.approx(0.07)
    assert (timing.timer, timing.cache) == ("wall-cold", "cold")


def test_it_can_be_loaded_under_another_name():
    """Another environment's interpreter loads these files as a package of its own."""
    folder = Path(harness.timing.__file__).parent
    spec = importlib.util.spec_from_file_location(
        "elsewhere", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["elsewhere"] = importlib.util.module_from_spec(spec)
    try:
        rotation = importlib.import_module("elsewhere.rotation")
        assert rotation.Rotation is not Rotation
        assert rotation.MeasureError is sys.modules["elsewhere.clock"].MeasureError
    finally:
        for name in [n for n in sys.modules if n.partition(".")[0] == "elsewhere"]:
            del sys.modules[name]
