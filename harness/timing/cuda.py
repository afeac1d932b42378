"""Timers of a CUDA device: single calls after a flush of its cache, and captured graphs of many calls.

They take torch.cuda, or a stand-in with the same few functions, as an argument: events, streams, graphs and
`_sleep` are all that they need, and their logic is tested without a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from .clock import UNWATCHED, Cache, MeasureError, Pace, Thunk, Timer, WallTimer, empty

WARM_S: Final = 0.5
"""A GPU takes some tenths of a second from its idle clock to that of work."""

FLUSHED_BYTES: Final = 256 << 20
"""At least; and twice the L2 cache, so that no line of it survives whatever replaces what."""

COLD_SUB_BLOCK_S: Final = 5e-5
"""Device time of one reading of single calls: a call of 3 µs costs some 200 of flush and sleep, and 17 of
them bring the events' half microsecond to a hundredth."""

SLEEP_CYCLES_PER_S: Final = 2e9
"""Of `torch.cuda._sleep`, which counts SM cycles: at lower clocks the sleep is longer, which does no harm."""
SHORTEST_SLEEP_S: Final = 1e-4
LONGEST_SLEEP_S: Final = 5e-3

GRAPH_CALLS: Final = 64
"""The most calls in one graph: the gap between replays, some microseconds, is divided by as many."""
GRAPH_WARM_UPS: Final = 3
"""Calls before a capture: libraries allocate their workspaces in the first."""


def cuda_timers(
    torch: Any, synchronize: Callable[[], None], pace: Pace = UNWATCHED, device: str = "cuda"
) -> Sequence[Timer]:
    """Return single calls with an empty cache, graphs, and the host's clock, in this order.

    Parameters
    ----------
    torch
        The module, whose current device and stream are those of the calls.
    synchronize
        Waits until the device has done all that it was given.
    pace
        The device's.
    device
        Where the buffer lies that empties the cache.
    """
    nbytes = flushed_bytes(torch.cuda.get_device_properties().L2_cache_size)
    buffer = torch.empty(nbytes, dtype=torch.int8, device=device)
    return (
        ColdTimer(torch.cuda, buffer.zero_, pace),
        GraphTimer(torch.cuda, pace),
        WallTimer(synchronize=synchronize, warm_s=WARM_S, pace=pace),
    )


def flushed_bytes(l2_bytes: int) -> int:
    """Return how many bytes are overwritten to empty a cache of `l2_bytes`."""
    return max(FLUSHED_BYTES, 2 * l2_bytes)


class ColdTimer:
    """Events around each call, each after a flush of the cache and a sleep that hides the launch.

    While the device is still busy with the flush and the sleep, the host queues the events and the call's
    kernels, so that the time between the events is the device's alone. A call that takes the host longer to
    queue than the longest sleep is bound by its launches, and so is its time. An event is exact to
    about half a microsecond.

    Parameters
    ----------
    cuda
        torch.cuda.
    flush
        Queues a write to more bytes than the cache holds.
    pace
        The device's.
    warm_s
        Seconds of calls through this timer before it measures.
    counter
        A monotonic counter of nanoseconds.
    """

    name = "cuda-cold"
    cache: Cache = "cold"
    sub_block_s: float | None = COLD_SUB_BLOCK_S
    spoiled: str | None = None

    def __init__(
        self,
        cuda: Any,
        flush: Callable[[], object],
        pace: Pace = UNWATCHED,
        warm_s: float = WARM_S,
        counter: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.pace = pace
        self.warm_s = warm_s
        self._cuda = cuda
        self._flush = flush
        self._counter = counter
        self._launch_s: dict[int, float] = {}
        """By the identity of a thunk, how long the host took to queue its last call; a guess for the next."""

    def measure(self, thunk: Thunk, calls: int) -> float:
        """Return the sum of the seconds of `calls` calls, each after a flush of its own."""
        cuda, counter = self._cuda, self._counter
        launch_s = self._launch_s.get(id(thunk), 0.0)
        pairs = []
        cuda.synchronize()
        for _ in range(calls):
            before, after = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            self._flush()
            cuda._sleep(sleep_cycles(launch_s))
            start = counter()
            before.record()
            thunk()
            after.record()
            launch_s = (counter() - start) * 1e-9
            pairs.append((before, after))
        cuda.synchronize()
        self._launch_s[id(thunk)] = launch_s
        milliseconds: float = sum(before.elapsed_time(after) for before, after in pairs)
        return milliseconds * 1e-3

    def now(self) -> float:
        """Return the host's counter in seconds."""
        return self._counter() * 1e-9


def sleep_cycles(launch_s: float) -> int:
    """Return how long the device sleeps for a call that the host queues in `launch_s`: twice that."""
    return round(SLEEP_CYCLES_PER_S * min(max(2 * launch_s, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))


class CaptureError(MeasureError):
    """A call that no graph can hold."""


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: Any
    calls: int
    thunk: Thunk
    """Kept, for its memory is what the graph works on, and so that no other takes over its identity."""


class GraphTimer:
    """Replays of a captured graph of calls: the device's time, launches and Python apart; its cache is hot.

    Parameters
    ----------
    cuda
        torch.cuda, whose current stream is not the default one: that cannot be captured.
    pace
        The device's.
    warm_s
        Seconds of calls through this timer before it measures.
    counter
        A monotonic counter of nanoseconds.
    """

    name = "cuda-graph"
    cache: Cache = "hot"
    sub_block_s: float | None = None

    def __init__(
        self,
        cuda: Any,
        pace: Pace = UNWATCHED,
        warm_s: float = WARM_S,
        counter: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.pace = pace
        self.warm_s = warm_s
        self.spoiled: str | None = None
        """Why no more is captured: a capture that fails can leave this process's allocator in capture."""
        self._cuda = cuda
        self._counter = counter
        self._captured: dict[int, _Captured] = {}
        self._refused: dict[int, tuple[Thunk, str]] = {}

    def measure(self, thunk: Thunk, calls: int) -> float:
        """Return the seconds of `calls` calls: of as many replays as hold them, brought to their number.

        Raises
        ------
        CaptureError
            If the call cannot be captured: it waits for the device, or does what a graph does not allow.
        """
        if thunk is empty:
            return 0.0  # a replay runs no loop of ours, and nothing is what a graph of it would hold
        cuda = self._cuda
        captured = self._capture(thunk, calls)
        replays = -(-calls // captured.calls)
        before, after = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        cuda.synchronize()
        cuda._sleep(sleep_cycles(0.0))
        before.record()
        for _ in range(replays):
            captured.graph.replay()
        after.record()
        cuda.synchronize()
        seconds: float = before.elapsed_time(after) * 1e-3
        return seconds * calls / (replays * captured.calls)

    def now(self) -> float:
        """Return the host's counter in seconds."""
        return self._counter() * 1e-9

    def _capture(self, thunk: Thunk, calls: int) -> _Captured:
        """Return a graph of the largest power of two of calls within `calls` and `GRAPH_CALLS`."""
        wanted = 1 << (min(calls, GRAPH_CALLS).bit_length() - 1)
        found = self._captured.get(id(thunk))
        if found is not None and found.calls == wanted:
            return found
        if id(thunk) in self._refused:
            raise CaptureError(self._refused[id(thunk)][1])
        if self.spoiled is not None:
            raise CaptureError(f"an earlier capture failed in this process: {self.spoiled}")
        if found is None:
            self._require_no_waiting(thunk)
        else:
            del self._captured[id(thunk)], found
        captured = _Captured(self._graph(thunk, wanted), wanted, thunk)
        self._captured[id(thunk)] = captured
        return captured

    def _require_no_waiting(self, thunk: Thunk) -> None:
        """Call the thunk while torch raises wherever it would wait for the device: captures then fail."""
        cuda = self._cuda
        cuda.synchronize()
        mode = cuda.get_sync_debug_mode()
        cuda.set_sync_debug_mode("error")
        try:
            for _ in range(GRAPH_WARM_UPS):
                thunk()
        except Exception as error:
            raise self._refusal(thunk, f"it waits for the device: {_first_line(error)}") from error
        finally:
            cuda.set_sync_debug_mode(mode)
            cuda.synchronize()

    def _graph(self, thunk: Thunk, calls: int) -> Any:
        cuda = self._cuda
        if cuda.current_stream() == cuda.default_stream():
            raise CaptureError("the current stream is the default one, which cannot be captured")
        graph = cuda.CUDAGraph()
        try:
            graph.capture_begin()
            try:
                for _ in range(calls):
                    thunk()
            except Exception:
                with suppress(Exception):
                    graph.capture_end()  # raises too, and says less
                raise
            graph.capture_end()
        except Exception as error:
            self.spoiled = _first_line(error)
            raise self._refusal(thunk, f"it cannot be captured: {self.spoiled}") from error
        return graph

    def _refusal(self, thunk: Thunk, reason: str) -> CaptureError:
        """Remember why a thunk has no graph, and the thunk, so that no other takes over its identity."""
        self._refused[id(thunk)] = thunk, reason
        return CaptureError(reason)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
