from itertools import pairwise

import pytest

from harness.timing.calibrate import GROWTH, MARGIN, calibrate


class ScriptedTimer:
    """Gives the seconds of a script: number of the reading, number of calls → seconds."""

    name = "scripted"

    def __init__(self, seconds):
        self.seconds = seconds
        self.asked = []

    def measure(self, thunk, calls):
        self.asked.append(calls)
        return self.seconds(len(self.asked), calls)

    def now(self):
        return 0.0


def found(seconds, target=0.3e-3, long_call=0.1):
    timer = ScriptedTimer(seconds)
    return calibrate(timer, lambda: None, target, long_call), timer.asked


def test_a_steady_microsecond_gives_a_sub_block_just_beyond_the_target():
    calibration, asked = found(lambda i, calls: 1e-6 * calls)
    assert calibration.calls == pytest.approx(MARGIN * 300, abs=1)
    assert calibration.seconds_per_call == pytest.approx(1e-6)
    assert asked[-1] == asked[-2] == calibration.calls, "two consecutive readings reach the target"


def test_the_number_of_calls_never_grows_more_than_tenfold():
    _, asked = found(lambda i, calls: 1e-9 * calls)
    grown = [later / earlier for earlier, later in pairwise(asked)]
    assert max(grown) == GROWTH
    assert asked[-1] >= 300_000


def test_one_preempted_reading_does_not_stop_the_growth():
    # the 3rd reading is 8 ms too long: accepting it would leave sub-blocks of 10 µs
    calibration, _ = found(lambda i, calls: 1e-6 * calls + (8e-3 if i == 3 else 0.0))
    assert calibration.calls >= 300


def test_a_cold_first_call_does_not_decide():
    calibration, asked = found(lambda i, calls: 0.05 if i == 1 else 1e-6 * calls)
    assert calibration.calls >= 300
    assert asked[:2] == [1, 1]


def test_a_call_longer_than_the_target_is_one_call():
    calibration, asked = found(lambda i, calls: 2e-3 * calls)
    assert calibration.calls == 1
    assert asked == [1, 1, 1], "warm-up, and two readings that agree"


def test_a_long_call_is_believed_at_once():
    calibration, asked = found(lambda i, calls: 3.0 * calls)
    assert (calibration.calls, calibration.seconds_per_call) == (1, 3.0)
    assert asked == [1]


def test_a_clock_too_coarse_to_see_one_call_still_ends():
    # a reading of 0 until 100 µs are reached
    calibration, _ = found(lambda i, calls: 1e-4 * (calls // 1000))
    assert calibration.calls >= 3000
