"""`python -m harness.worker`: start a backend, say hello, serve requests until the pipe ends."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from harness import catalogue
from harness.channel import Channel
from harness.errors import UserError
from harness.protocol import PROTOCOL_VERSION
from harness.registry import BACKENDS, Backend
from harness.worker.batch import answers
from harness.worker.kernel import described
from harness.worker.service import Message, Service


def main(arguments: list[str] | None = None) -> None:
    """Serve requests for one backend; exits with 3 if it cannot be started."""
    parser = argparse.ArgumentParser(prog="python -m harness.worker")
    parser.add_argument("--backend", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--flags", type=json.loads, default={}, help="settings of the library, as JSON")
    parser.add_argument("--plugin", action="append", default=[], help="module to import")
    parser.add_argument("--memory", type=int, help="bytes that cells may hold, beside the libraries")
    options = parser.parse_args(arguments)
    channel = Channel()
    faulthandler.enable()
    hello = {"hello": PROTOCOL_VERSION, "pid": os.getpid(), "backend": options.backend}
    try:
        _import_numpy()
        catalogue.load(options.plugin)
        backend = _started(options.backend, options.threads, options.flags)
        facts = dict(backend.facts())
    except Exception as error:
        traceback.print_exc()
        channel.reply({**hello, "status": "error", "error": described(error)})
        sys.exit(3)
    if options.memory is not None:
        limit_memory(options.memory)
    service = Service(backend, _told_of_ruin(backend, channel.reply))
    channel.reply({**hello, "status": "ok", "facts": facts})
    while True:
        service.serve(channel.next_request())


def _import_numpy() -> None:
    """Import NumPy, before a plug-in may; raises UserError if it does not know what its variables name.

    NumPy only warns of a misspelt instruction set in NPY_DISABLE_CPU_FEATURES, and Python hides that warning:
    the backend would run, and be recorded, as something that it is not.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "During parsing environment variable", ImportWarning)
        try:
            import numpy  # noqa: F401
        except ImportWarning as warning:
            raise UserError(" ".join(str(warning).split())) from None


def _told_of_ruin(backend: Backend, reply: Callable[[Message], None]) -> Callable[[Message], None]:
    """Return `reply` that asks for a fresh worker after a kernel that took the device down with it."""

    def told(message: Message) -> None:
        ruined = message.get("status") == "raised" and not answers(backend)
        reply({**message, "replace": True} if ruined else message)

    return told


def _started(name: str, threads: int, flags: dict[str, str]) -> Backend:
    if name not in BACKENDS:
        raise UserError(f"unknown backend {name!r}; known: {', '.join(BACKENDS)}")
    backend = BACKENDS[name]
    known = {flag for settings in backend.flags.values() for flag in settings}
    foreign = sorted(set(flags) - known)
    if foreign:
        raise UserError(
            f"{name} has no flags {', '.join(foreign)}; known: {', '.join(sorted(known)) or 'none'}"
        )
    lack = backend.unavailable()
    if lack is not None:
        raise UserError(f"{name} is unavailable: {lack}")
    warnings.simplefilter("ignore")  # a kernel's warning is no result, and printing it would be timed
    backend.start(threads, flags)
    return backend


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


if __name__ == "__main__":
    main()
