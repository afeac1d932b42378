"""Formulations of `planted` that break later than at once, or tell where their inputs lie.

For the tests of the probe, beside `worker_kernels.py`, which has the operation.
"""

import ctypes
import itertools
import os
from pathlib import Path

from harness.registry import formulation


def planted(name):
    return formulation("planted", name, title=name)


@planted("crashes")
def crashes(xp, x, *, by):
    return lambda: ctypes.string_at(0)


@planted("raises-the-fourth-time")
def raises_later(xp, x, *, by):
    calls = itertools.count()

    def thunk():
        if next(calls) == 3:
            raise ValueError("tired")
        return x

    return thunk


@planted("rounds-up-the-fourth-time")
def rounds_up_later(xp, x, *, by):
    calls = itertools.count()

    def thunk():
        if next(calls) == 3:
            ctypes.CDLL(None).fesetround(0x800)  # FE_UPWARD on x86-64
        return x

    return thunk


@planted("tells-where")
def tells_where(xp, x, *, by):
    with Path(os.environ["PLANTED_PLACES"]).open("a") as file:
        print(x.ctypes.data % 4096, file=file)
    return lambda: xp.multiply(x, x)
