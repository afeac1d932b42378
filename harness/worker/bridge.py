"""What a comparison asks of one side: thunks of its kernels, through one call that has a version.

The program that measures is another harness's, the same for both sides (`harness.probe`): it knows this
module's `VERSION`, `connect` and the methods of `Bridge`, and nothing else of ours. What they take and return
are plain numbers, texts, lists, mappings and callables. **Whoever changes any of it raises `VERSION`.**
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from harness import __version__, catalogue
from harness.backends.alignment import displaced
from harness.worker.batch import answers
from harness.worker.kernel import Kernels, environment_left, failure, guarded
from harness.worker.service import run
from harness.worker.start import import_numpy, started

VERSION: Final = 1


class Bridge:
    """The kernels of one started backend.

    `facts` are what the backend says of itself; `device` is `cuda` for a CUDA device that torch drives, and
    otherwise `host`: which timers can measure it.
    """

    def __init__(self, backend: str, threads: int, flags: Mapping[str, str], plugins: Sequence[str]) -> None:
        import_numpy()
        catalogue.load(plugins)
        found = started(backend, threads, flags)
        self._kernels = Kernels(found)
        self.device = "cuda" if getattr(found, "device", None) == "cuda" else "host"
        self.facts: dict[str, str] = {**found.facts(), "harness": __version__}

    def thunk(self, request: Mapping[str, Any], place: Callable[[], int]) -> Callable[[], Any]:
        """Return what is timed, on fresh copies of the inputs; it has not run yet.

        `request` has `operation formulation dtype with_respect_to inputs parameters` as a worker's has.
        `place` gives, for each copy, how many bytes into a page it begins.

        Raises
        ------
        Exception
            Whatever `failure` takes.
        """
        with displaced(place):
            return self._kernels.thunk(request, checked=False)

    def call(self, thunk: Callable[[], Any]) -> None:
        """Run a thunk once, to its end; raises what `failure` takes."""
        guarded(thunk)
        guarded(self.synchronize)

    def synchronize(self) -> None:
        """Wait until all work started is done."""
        self._kernels.backend.synchronize()

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Compute a cell once, with checked dtypes, and write its outputs: the worker's reply to `run`."""
        before = environment_left()
        try:
            message = run(self._kernels, request)
        except Exception as error:
            message = failure(error)
            if not answers(self._kernels.backend):
                message["replace"] = True
        return {**before, **message, **environment_left()}

    def failure(self, error: Exception) -> dict[str, Any]:
        """Return `status` and `error` of what a kernel, or we, raised."""
        return failure(error)

    def environment_left(self) -> dict[str, Any]:
        """Return what is to be said of a changed floating-point environment, and set the default again."""
        return environment_left()


def connect(backend: str, threads: int, flags: Mapping[str, str], plugins: Sequence[str]) -> Bridge:
    """Start a backend and return the bridge to its kernels; raises UserError if it cannot be started."""
    return Bridge(backend, threads, flags, plugins)
