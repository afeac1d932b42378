"""Says hello as a worker does, and answers until the pipe ends."""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import os
import platform
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..channel import Channel, limit_memory
from ..protocol import PROTOCOL_VERSION
from ..timing.clock import MeasureError
from .bench import Bench

BRIDGE_VERSION: Final = 1
"""Of `harness.worker.bridge`, that this program knows."""


class NoBridgeError(Exception):
    """The side's harness cannot be asked for its kernels."""


def main(about: Mapping[str, str], arguments: Sequence[str] | None = None) -> None:
    """Serve requests for one backend of one side; exits with 3 if it cannot be started.

    `about` is said of the process beside the backend's facts.
    """
    parser = argparse.ArgumentParser(prog="probe")
    parser.add_argument("--backend", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--flags", type=json.loads, default={})
    parser.add_argument("--plugin", action="append", default=[])
    parser.add_argument("--memory", type=int)
    options = parser.parse_args(arguments)
    channel = Channel()
    faulthandler.enable()
    hello = {"hello": PROTOCOL_VERSION, "pid": os.getpid(), "backend": options.backend}
    try:
        side = connected(options.backend, options.threads, options.flags, options.plugin)
    except Exception as error:
        traceback.print_exc()
        told = str(error) if isinstance(error, NoBridgeError) else f"{type(error).__name__}: {error}"
        channel.reply({**hello, "status": "error", "error": told})
        sys.exit(3)
    if options.memory is not None:
        limit_memory(options.memory)
    facts = {**side.facts, "python": platform.python_version(), "executable": sys.executable, **about}
    channel.reply({**hello, "status": "ok", "facts": facts})
    bench = Bench(side)
    while True:
        channel.reply(answer(bench, side, channel.next_request()))


def connected(backend: str, threads: int, flags: Mapping[str, str], plugins: Sequence[str]) -> Any:
    """Return the bridge to the side's kernels.

    Raises
    ------
    NoBridgeError
        It has no harness, or one that is asked in another way, with the remedy.
    """
    remedy = "install there the harness that compares, or none: then that one is used"
    try:
        import harness
    except ImportError as error:
        raise NoBridgeError(f"{sys.executable} cannot import a harness: {error}; {remedy}") from error
    version = getattr(harness, "__version__", "of unknown version")
    where = f"its harness {version} in {os.path.dirname(str(harness.__file__))}"  # noqa: PTH120
    try:
        bridge: Any = importlib.import_module("harness.worker.bridge")
    except ModuleNotFoundError as error:
        if error.name not in ("harness.worker", "harness.worker.bridge"):
            raise NoBridgeError(f"{where} lacks {error.name}: install it there") from error
        raise NoBridgeError(
            f"{where} is older than comparisons: it has no harness.worker.bridge; {remedy}; "
            "a revision must be one that has it"
        ) from error
    if bridge.VERSION != BRIDGE_VERSION:
        newer = "newer" if bridge.VERSION > BRIDGE_VERSION else "older"
        raise NoBridgeError(
            f"{where} is {newer}: it is asked by version {bridge.VERSION} of harness.worker.bridge, "
            f"and this one knows {BRIDGE_VERSION}; {remedy}"
        )
    return bridge.connect(backend, threads, flags, plugins)


def answer(bench: Bench, side: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply to one request; what a kernel raises, and what we do, is a reply too."""
    do = request.get("do")
    subject = {"cell": request["cell"]} if "cell" in request else {}
    try:
        if do == "run":
            return {**subject, **side.run(request)}
        if do == "facts":
            return {"status": "ok", "facts": side.facts}
        return {**subject, "status": "ok", **bench.answer(str(do), request), **side.environment_left()}
    except MeasureError as error:  # ours: the side knows another class of that name
        failure = {"status": "error", "error": str(error)}
    except Exception as error:
        failure = side.failure(error)
    worn = {"replace": True} if bench.worn else {}
    return {**subject, **failure, **worn, **side.environment_left()}
