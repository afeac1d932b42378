"""The worker's answers to requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.formats import DTYPES, FORMATS, decode, digest, encode, round_array
from harness.registry import OPERATIONS, Backend
from harness.worker import batch, machine
from harness.worker.kernel import KernelError, Kernels, environment_left, failure, guarded

if TYPE_CHECKING:
    from numpy.typing import NDArray

Message = dict[str, Any]


class Service:
    """Serves requests for one backend.

    Parameters
    ----------
    backend
        Started.
    reply
        Sends one message.
    """

    def __init__(self, backend: Backend, reply: Callable[[Message], None]) -> None:
        self._kernels = Kernels(backend)
        self._reply = reply

    def serve(self, request: Mapping[str, Any]) -> None:
        """Answer one request; whatever goes wrong is a reply too."""
        before = environment_left()  # a thread that an earlier kernel left running may change it
        if request.get("do") == "time":
            batch.time_cells(self._kernels, request["cells"], bool(request.get("quick")), self._reply)
            return
        subject = {key: request[key] for key in ("cell", "dtype") if key in request}
        try:
            message = self._answer(request)
        except Exception as error:
            message = failure(error)
        self._reply({**subject, **before, **message, **environment_left()})

    def _answer(self, request: Mapping[str, Any]) -> Message:
        do = request.get("do")
        if do == "run":
            return run(self._kernels, request)
        if do == "peak":
            return machine.peak(self._kernels, request["dtype"])
        if do == "bandwidth":
            return machine.bandwidth(self._kernels.backend)
        if do == "facts":
            return {"status": "ok", "facts": dict(self._kernels.backend.facts())}
        raise UserError(f"unknown request {do!r}; allowed: run, time, peak, bandwidth, facts")


def run(kernels: Kernels, request: Mapping[str, Any]) -> Message:
    """Compute a cell once and write its outputs.

    What a library returns in a wider format than the cell's is rounded to it here, once and correctly,
    for a library's own cast may round twice; `returned_format` tells.
    """
    thunk = kernels.thunk(request, checked=True)
    start = time.perf_counter()
    result = guarded(thunk)
    guarded(kernels.backend.synchronize)
    seconds = time.perf_counter() - start
    left = environment_left()  # before anything of ours computes
    peak = guarded(lambda: kernels.backend.peak_memory(thunk)) if request.get("memory") else None
    storage = DTYPES[request["dtype"]].storage
    names = OPERATIONS[request["operation"]].differentiated(tuple(request.get("with_respect_to", ()))).outputs
    values = result if isinstance(result, tuple) else (result,)
    if len(values) != len(names):
        raise KernelError(
            f"ValueError: {request['formulation']} returned {len(values)} arrays; "
            f"{request['operation']} has {len(names)}: {', '.join(names)}"
        )
    prefix = Path(request["outputs"])
    folder, stem = (prefix, "") if prefix.is_dir() else (prefix.parent, prefix.name)
    paths, returned, numbers = {}, {}, {}
    for name, value in zip(names, values, strict=True):
        bits, found = _codes(kernels.backend, value)
        exact = decode(FORMATS[found], bits)
        if found != storage.name:
            returned[name] = found
            exact = round_array(storage, exact)
            bits = encode(storage, exact)
        paths[name] = str(_write(folder / f"{stem}{name}.npy", bits))
        numbers[name] = storage, exact
    return {
        "status": "ok",
        "outputs": paths,
        "format": dict.fromkeys(names, storage.name),
        "result_digest": digest(numbers),
        "seconds": seconds,
        **({"returned_format": returned} if returned else {}),
        **({} if peak is None else {"peak_memory_bytes": peak}),
        **left,
    }


def _codes(backend: Backend, value: Any) -> tuple[NDArray[Any], str]:
    codes: tuple[NDArray[Any], str] = guarded(lambda: backend.to_bits(value))
    return codes


def _write(path: Path, bits: NDArray[Any]) -> Path:
    import numpy as np

    with path.open("wb") as file:
        np.save(file, bits, allow_pickle=False)
    return path
