"""An operation of no mathematics, and formulations of it that misbehave, for the tests of the worker."""

import os
import sys
import time

from harness.registry import Operation, Parameter, formulation, register_operation

register_operation(
    Operation(
        name="planted",
        title="Whatever its formulations do",
        formula="y = x",
        inputs={"x": "(n)"},
        outputs=("y",),
        dtypes=("float64", "float32"),
        reference=lambda problem: None,
        reference_version=1,
        bound_formula="none",
        bound_source="none",
        bound=lambda problem, reference, precision: {},
        parameters={"by": Parameter(2, "factor"), "mark": Parameter(None, "text, if any")},
    )
)


def planted(name, **options):
    return formulation("planted", name, title=name, **options)


@planted("scaled")
def scaled(xp, x, *, by, mark=""):
    factor = xp.scalar(by)
    return lambda: xp.multiply(x, factor)


@planted("wide")
def wide(xp, x, *, by):
    double = xp.cast_namespace("float64")
    return lambda: double.add(xp.astype(x, "float64"), double.scalar(2.0**-8 + 2.0**-30))


@planted("widens-silently")
def widens_silently(xp, x, *, by):
    import numpy as np

    return lambda: xp.multiply(x, np.float64(3))


@planted("two-outputs")
def two_outputs(xp, x, *, by):
    return lambda: (x, x)


@planted("a-list")
def a_list(xp, x, *, by):
    return lambda: [1.0]


@planted("no-thunk")
def no_thunk(xp, x, *, by):
    return x


@planted("raises-building")
def raises_building(xp, x, *, by):
    raise ValueError("no such thing")


@planted("raises")
def raises(xp, x, *, by):
    def thunk():
        raise ZeroDivisionError("division by zero")

    return thunk


@planted("exits")
def exits(xp, x, *, by):
    return lambda: sys.exit("enough")


@planted("prints")
def prints(xp, x, *, by):
    def thunk():
        print('{"cell": "forged", "status": "ok"}')
        sys.stdout.flush()
        os.write(1, b'{"cell": "forged", "status": "ok"}\n')
        return x

    return thunk


@planted("reads-standard-input")
def reads_standard_input(xp, x, *, by):
    def thunk():
        assert os.read(0, 100) == b"", "the requests are not for kernels"
        return x

    return thunk


@planted("writes-its-input")
def writes_its_input(xp, x, *, by):
    def thunk():
        x[...] = 0
        return x

    return thunk


@planted("flushes-subnormals")
def flushes_subnormals(xp, x, *, by):
    def thunk():
        import torch

        torch.set_flush_denormal(True)
        return x

    return thunk


@planted("rounds-up")
def rounds_up(xp, x, *, by):
    def thunk():
        import ctypes

        ctypes.CDLL(None).fesetround(0x800)  # FE_UPWARD on x86-64
        return x

    return thunk


@planted("allocates-40-GiB")
def allocates(xp, x, *, by):
    return lambda: xp.add(xp.full((40 << 27,), xp.scalar(1)), x)


@planted("takes-2-ms")
def takes_2_ms(xp, x, *, by):
    def thunk():
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass
        return x

    return thunk


@planted("sleeps")
def sleeps(xp, x, *, by):
    def thunk():
        time.sleep(600)
        return x

    return thunk
