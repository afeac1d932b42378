"""A NumPy that claims to be a device: it has a mode with a setting, three timers, and a name."""

from harness.backends.numpy import NumpyBackend, register
from harness.timing.clock import MeasureError, WallTimer


class Cold(WallTimer):
    name = "cuda-cold"
    cache = "cold"


class Graph(WallTimer):
    name = "cuda-graph"

    def measure(self, thunk, calls):
        raise MeasureError("it waits for the device: planted")


class Device(NumpyBackend):
    def start(self, threads, flags):
        super().start(threads, flags)
        object.__setattr__(self, "made", dict(flags))

    def timers(self):
        return Cold(), Graph(), WallTimer()

    def facts(self):
        return {**super().facts(), "device": "Planted 9000", **self.made}


register(Device(name="device", title="A device", flags={"bfloat16": {"rounding": "twice"}}))
