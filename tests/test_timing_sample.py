import gc
import random
from itertools import pairwise
from statistics import median

import pytest

from harness.timing.clock import UNWATCHED, WallTimer, empty
from harness.timing.sample import Failed, Rules, TimedCell, measure_slot, time_batch


class World:
    """A clock that only the thunks of a test advance."""

    def __init__(self):
        self.ns = 0
        self.calls = []

    def thunk(self, name, seconds):
        """Return a thunk that takes `seconds`, a number or a function of how often it was called."""
        count = 0

        def call():
            nonlocal count
            count += 1
            self.calls.append(name)
            self.ns += round((seconds(count) if callable(seconds) else seconds) * 1e9)

        return call

    def timer(self):
        return WallTimer(lambda: self.ns)


def timed(world, seconds_of, budget_s=1.0, seed=0, **options):
    cells = [TimedCell(name, world.thunk(name, s), budget_s) for name, s in seconds_of.items()]
    return {t.name: t for t in time_batch(cells, world.timer(), random.Random(seed), **options)}


def test_a_slot_is_the_fastest_of_its_sub_blocks():
    world = World()
    seconds = iter([5e-3, 2e-3, 9e-3, 3e-3])
    assert measure_slot(world.timer(), world.thunk("x", lambda i: next(seconds)), 1, 4) == pytest.approx(2e-3)


def test_a_steady_cell_converges_at_the_least_number_of_slots():
    result = timed(World(), {"a": 1e-6})["a"]
    assert (result.stopped, result.converged, len(result.samples)) == ("converged", True, 20)
    assert result.sub_blocks == 4
    assert result.median_s == pytest.approx(1e-6)
    assert result.calls * 1e-6 == pytest.approx(0.3e-3, rel=0.06)  # the calibration's margin is 5 %
    assert result.interval.low == result.interval.high == result.median_s
    assert result.timer == "wall"


def test_long_calls_take_one_call_a_slot_and_at_least_eight_slots():
    world = World()
    result = timed(world, {"a": 0.11})["a"]
    assert (result.calls, result.sub_blocks, len(result.samples)) == (1, 1, 8)
    assert len(world.calls) == 1 + 8, "one warm-up, then one call a slot"


def test_calls_of_seconds_get_what_the_budget_allows_and_say_so():
    world = World()
    result = timed(world, {"a": 3.0})["a"]
    assert (result.stopped, result.converged, len(result.samples)) == ("budget", False, 1)
    assert result.interval is None
    assert result.noise is None
    assert world.ns == 6_000_000_000, "a warm-up and one slot"


def test_where_four_sub_blocks_leave_too_few_slots_a_slot_is_one_call():
    result = timed(World(), {"a": 0.05})["a"]
    assert (result.sub_blocks, len(result.samples), result.stopped) == (1, 8, "converged")
    shorter = timed(World(), {"a": 0.01})["a"]
    assert (shorter.sub_blocks, len(shorter.samples)) == (4, 20)


def test_the_budget_is_kept_to_one_slot():
    world = World()
    noisy = random.Random(1)
    result = timed(world, {"a": lambda i: 1e-3 * noisy.uniform(1, 3)}, budget_s=0.2)["a"]
    assert result.stopped == "budget"
    assert not result.converged
    longest_slot = 4 * 3e-3
    assert 4 * sum(result.samples) <= 0.2 + longest_slot


def test_noise_that_more_samples_do_not_narrow_is_a_plateau():
    # slots alternate between two paces: no number of samples narrows the interval of the median
    result = timed(World(), {"a": lambda i: 2e-3 if (i // 4) % 2 else 3e-3}, budget_s=60.0)["a"]
    assert result.stopped == "plateau"
    assert len(result.samples) == 40
    assert not result.converged


def test_sampling_noise_is_no_plateau():
    noisy = random.Random(3)
    result = timed(World(), {"a": lambda i: 1e-3 * (1 + noisy.expovariate(8))}, budget_s=600.0)["a"]
    assert result.stopped == "converged"
    assert len(result.samples) > 20
    assert result.interval.width <= 0.02 * median(result.samples)


def test_rounds_take_one_slot_of_each_cell_in_an_order_that_varies():
    world = World()
    timed(world, dict.fromkeys("abc", 1e-3))
    slots = world.calls[len(world.calls) - 3 * 20 * 4 :]
    assert all(len(set(slots[i : i + 4])) == 1 for i in range(0, len(slots), 4)), "sub-blocks stay together"
    names = slots[::4]
    rounds = [tuple(names[i : i + 3]) for i in range(0, len(names), 3)]
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert len(set(rounds)) > 1


def test_the_order_follows_from_the_seed():
    orders = []
    for seed in (1, 1, 2):
        world = World()
        timed(world, dict.fromkeys("abcd", 1e-3), seed=seed)
        orders.append(world.calls)
    assert orders[0] == orders[1] != orders[2]


def test_drift_hits_all_cells_alike():
    world = World()
    drift = {name: lambda i: 1e-3 * (1 + world.ns * 1e-9) for name in "ab"}
    results = timed(world, drift, budget_s=60.0)
    # sampled one after the other, b would be slower by the 80 ms that a takes, 8 %
    assert results["a"].median_s == pytest.approx(results["b"].median_s, rel=0.01)


def test_each_cell_is_yielded_as_it_is_done():
    world = World()
    noisy = random.Random(0)
    order = list(timed(world, {"slow": lambda i: 1e-3 * noisy.uniform(1, 9), "fast": 1e-3}, budget_s=0.5))
    assert order == ["fast", "slow"]


def test_a_cell_that_raises_does_not_stop_the_others():
    world = World()

    def late(i):
        if i > 9:
            raise FloatingPointError("at last")
        return 1e-3

    def at_once(i):
        raise ValueError("no")

    results = timed(world, {"late": late, "good": 1e-3, "at once": at_once})
    assert isinstance(results["late"], Failed)
    assert isinstance(results["late"].error, FloatingPointError)
    assert isinstance(results["at once"].error, ValueError)
    assert len(results["good"].samples) == 20


def test_between_slots_is_called_outside_of_them():
    world = World()
    seen = []
    timed(world, {"a": 1e-3}, between_slots=lambda: seen.append(len(world.calls)))
    assert len(seen) == 20
    assert {later - earlier for earlier, later in pairwise(seen)} == {4}


def test_the_collector_is_off_while_sampling_and_on_afterwards():
    world = World()
    states = []
    timed(world, {"a": 1e-3}, between_slots=lambda: states.append(gc.isenabled()))
    assert states
    assert not any(states)
    assert gc.isenabled()


def test_overhead_is_what_an_empty_thunk_takes_in_the_same_loop():
    class Timer:
        """Each call costs 50 ns, and the thunk 1 µs more."""

        name = "counted"
        cache = "hot"
        warm_s = 0.0
        pace = UNWATCHED
        seconds = 0.0

        def measure(self, thunk, calls):
            taken = calls * (50e-9 + (0.0 if thunk is empty else 1e-6))
            self.seconds += taken
            return taken

        def now(self):
            return self.seconds

    (result,) = time_batch([TimedCell("a", lambda: None, 1.0)], Timer(), random.Random(0))
    assert result.overhead_fraction == pytest.approx(50 / 1050)
    assert result.median_s == pytest.approx(1050e-9), "it is told, not subtracted"


def test_conditions_are_recorded():
    result = timed(World(), {"a": 1e-3})["a"]
    assert {"control_before_s", "control_after_s"} <= set(result.conditions)
    assert all(isinstance(value, (int, float)) for value in result.conditions.values())


def test_rules_can_ask_for_less():
    result = timed(World(), {"a": 1e-3}, rules=Rules(slots=6, sub_blocks=2))["a"]
    assert (len(result.samples), result.sub_blocks) == (6, 2)
