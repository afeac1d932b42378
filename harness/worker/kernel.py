"""A cell's formulation: from a request to a thunk, and from what it raises to a message."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.formats import DTYPES, DType, NumberFormat
from harness.registry import OPERATIONS, Backend, Operation, find_formulation, find_gradient
from harness.tape import differentiated
from harness.timing.clock import MeasureError
from harness.worker import fp_environment
from harness.worker.inputs import StoredInputs

if TYPE_CHECKING:
    from numpy.typing import NDArray


class KernelError(Exception):
    """What a formulation raised, as `Type: message`."""


class Kernels:
    """Builds thunks of one backend's formulations, from inputs in files."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._inputs = StoredInputs()
        self._namespaces: dict[tuple[str, bool], Any] = {}

    def thunk(self, request: Mapping[str, Any], *, checked: bool) -> Callable[[], Any]:
        """Load the inputs of a cell, fresh copies each time, and build its thunk.

        Raises
        ------
        KernelError
            If building raises, or gives no thunk.
        UserError
            If there is no such formulation, or its inputs are not what the dtype is stored as.
        """
        operation, name = request["operation"], request["formulation"]
        if request["dtype"] not in self.backend.capabilities:
            raise UserError(f"{self.backend.name} does not hold {request['dtype']}")
        found = find_formulation(operation, name, self.backend.name)
        if operation not in OPERATIONS or found is None:
            raise UserError(f"{self.backend.name} has no formulation {name!r} of {operation!r}")
        dtype = DTYPES[request["dtype"]]
        wanted = tuple(request.get("with_respect_to", ()))
        declared, parameters = _declared(request)
        arrays = [self.backend.from_bits(bits, storage) for bits, storage in self._stored(request)]
        namespace = self.namespace(dtype, checked=checked)

        def build(*values: Any) -> Callable[[], Any]:
            thunk: Callable[[], Any] = found.build(namespace, *values, **parameters)
            return thunk

        thunk: Callable[[], Any]
        if wanted and self.backend.autograd:
            positions = [list(declared.inputs).index(i) for i in wanted]
            *values, cotangent = arrays
            thunk = guarded(lambda: self.backend.differentiated(build, values, positions, cotangent))
        elif wanted:
            own = find_gradient(operation, name, self.backend.name)
            if own is not None:
                thunk = guarded(lambda: own.build(namespace, *arrays, with_respect_to=wanted, **parameters))
            elif found.backends is None:
                positions = [list(declared.inputs).index(i) for i in wanted]
                *values, cotangent = arrays
                thunk = differentiated(
                    partial(found.build, **parameters), namespace, values, positions, cotangent
                )
            else:
                raise UserError(f"{operation}/{name} has no gradient on {self.backend.name}")
        else:
            thunk = guarded(lambda: build(*arrays))
        if not callable(thunk):
            raise KernelError(f"TypeError: {operation}/{name} built {type(thunk).__name__}, not a thunk")
        return thunk

    def input_bytes(self, request: Mapping[str, Any]) -> int:
        """Return how many bytes the inputs of a cell take, each element in its format's word."""
        return sum(bits.nbytes for bits, _ in self._stored(request))

    def _stored(self, request: Mapping[str, Any]) -> Iterator[tuple[NDArray[Any], NumberFormat]]:
        """Yield the codes of each input of a cell, in the operation's order, and their format."""
        declared, parameters = _declared(request)
        formats = declared.input_formats(parameters, DTYPES[request["dtype"]].storage)
        for name, storage in formats.items():
            yield self._inputs.load(request["inputs"][name], storage), storage

    def namespace(self, dtype: DType, *, checked: bool) -> Any:
        """Return the backend's namespace of a dtype; there is one of each kind."""
        key = dtype.name, checked
        if key not in self._namespaces:
            self._namespaces[key] = self.backend.namespace(dtype, checked=checked)
        return self._namespaces[key]


def _declared(request: Mapping[str, Any]) -> tuple[Operation, dict[str, Any]]:
    """Return the operation of a cell, or its gradient, and its parameters."""
    declared = OPERATIONS[request["operation"]].differentiated(tuple(request.get("with_respect_to", ())))
    return declared, {**declared.defaults(), **request.get("parameters", {})}


def guarded(call: Callable[[], Any]) -> Any:
    """Call what belongs to a kernel; whatever it raises, `SystemExit` too, becomes a KernelError."""
    try:
        return call()
    except BaseException as error:
        raise KernelError(described(error)) from error


def failure(error: Exception) -> dict[str, Any]:
    """Return the reply to a request that gave no result; a fault of ours leaves its traceback in the log."""
    if isinstance(error, KernelError):
        return {"status": "raised", "error": str(error)}
    if isinstance(error, (UserError, MeasureError)):
        return {"status": "error", "error": str(error)}
    traceback.print_exception(error)
    return {"status": "error", "error": described(error)}


def described(error: BaseException) -> str:
    """Return an exception as `Type: message`."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def environment_left() -> dict[str, Any]:
    """Return what a reply says of a changed floating-point environment, and set the default again."""
    found = fp_environment.departure()
    if found is None:
        return {}
    fp_environment.restore()
    return {"fp_environment": f"changed: {found}", "replace": True}
