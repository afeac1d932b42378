"""The child's end of the pipe: private descriptors, an end when the parent ends, a limit of memory.

Kernels print, read their standard input, and hang. So the protocol moves to descriptors of its own
before anything else is imported, a thread watches the pipe, and on Linux the kernel is asked to kill
the child with its parent.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from .protocol import decode, encode

_PR_SET_PDEATHSIG = 1


class Channel:
    """Requests in, replies out, one JSON line each; `next_request` returns None at the end."""

    def __init__(self) -> None:
        self._requests = os.fdopen(os.dup(0), "rb", buffering=1 << 16)
        self._replies = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)  # what a kernel prints goes where its errors go
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        _die_with_parent()
        threading.Thread(target=self._read, name="requests", daemon=True).start()

    def _read(self) -> None:
        for line in self._requests:
            self._queue.put(line)
        os._exit(0)  # the parent closed the pipe or died: nobody waits for what is still running

    def next_request(self) -> dict[str, Any]:
        """Wait for one request; the process ends when the pipe does."""
        request: dict[str, Any] = decode(self._queue.get())
        return request

    def reply(self, message: dict[str, Any]) -> None:
        """Send one reply whole."""
        # an unpaired surrogate of somebody's error text becomes \\udcxx, which is JSON for the same
        data = memoryview(encode(message).encode("utf-8", "backslashreplace") + b"\n")
        while data:
            data = data[os.write(self._replies, data) :]


def _die_with_parent() -> None:
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_memory(nbytes: int) -> None:
    """Let this process hold `nbytes` more private memory than it does; beyond, allocations fail.

    Private memory is Linux's RLIMIT_DATA, anonymous mappings included; elsewhere nothing is limited. What
    CUDA reserves of the address space is not writable and not counted (mm/mmap.c, is_data_mapping); its
    context, which is, was made when the backend was started, and is held already.
    """
    if not sys.platform.startswith("linux"):
        return
    import resource

    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + nbytes
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def memory_left() -> int:
    """Return the bytes that this process may still allocate, as `limit_memory` left it; else a great many."""
    if not sys.platform.startswith("linux"):
        return sys.maxsize
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))
    return max(0, limit - held)
