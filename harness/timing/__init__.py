"""Timing: clocks, calibration, sampling, statistics, peaks.

`clock` measures a number of calls, `calibrate` finds that number, `sample` takes slots of a batch of
cells in turn until each is known well enough, `statistics` makes intervals of them; `rotation` goes
through copies of inputs, so that no cache holds them. All take the timer they are given, so that a fake
one tests the scheduling without a clock.
"""
