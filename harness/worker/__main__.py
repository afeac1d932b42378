"""`python -m harness.worker`: start a backend, say hello, serve requests until the pipe ends."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Callable

from harness import catalogue
from harness.channel import Channel, limit_memory
from harness.protocol import PROTOCOL_VERSION
from harness.registry import Backend
from harness.worker.batch import answers
from harness.worker.kernel import described
from harness.worker.service import Message, Service
from harness.worker.start import import_numpy, started


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
        import_numpy()
        catalogue.load(options.plugin)
        backend = started(options.backend, options.threads, options.flags)
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


def _told_of_ruin(backend: Backend, reply: Callable[[Message], None]) -> Callable[[Message], None]:
    """Return `reply` that asks for a fresh worker after a kernel that took the device down with it."""

    def told(message: Message) -> None:
        ruined = message.get("status") == "raised" and not answers(backend)
        reply({**message, "replace": True} if ruined else message)

    return told


if __name__ == "__main__":
    main()
