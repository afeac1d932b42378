"""What a backend is, and how it says that it lacks something."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.formats import DType, NumberFormat
    from harness.registry.operations import Thunk
    from harness.timing.clock import Timer


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a backend cannot do something: `unavailable` (not here) or `unsupported` (not at all)."""

    word: str
    reason: str


@runtime_checkable
class Backend(Protocol):
    """An array library on a device. Declarations are plain data and import nothing heavy."""

    @property
    def name(self) -> str:
        """What cells call it."""

    @property
    def title(self) -> str:
        """What reports call it."""

    @property
    def requires(self) -> tuple[str, ...]:
        """Modules that must be importable; found without importing them."""

    @property
    def capabilities(self) -> Mapping[str, Mapping[str, str | Lack]]:
        """By dtype: primitive group → compute dtype, or the lack of it. One left out is unsupported."""

    @property
    def flags(self) -> Mapping[str, Mapping[str, str]]:
        """By dtype: settings of the library that make its mode; each set of them has a worker of its own."""

    @property
    def autograd(self) -> bool:
        """Whether `differentiated` works; otherwise formulations need gradients of their own."""

    def unavailable(self) -> str | None:
        """Return why this backend cannot run on this machine, or None. Imports nothing heavy."""

    def environment(self, threads: int) -> Mapping[str, str]:
        """Return the variables that must be set before the library is imported."""

    def start(self, threads: int, flags: Mapping[str, str]) -> None:
        """Import the library and set its own switches; called once, in the worker.

        `flags` are those of the dtypes that this worker serves.
        """

    def from_bits(self, bits: NDArray[Any], storage: NumberFormat) -> Any:
        """Return a native 64-byte-aligned contiguous array of the bit patterns given (unsigned ints)."""

    def to_bits(self, array: Any) -> tuple[NDArray[Any], str]:
        """Return a native array's bit patterns (unsigned ints) and the name of its format."""

    def namespace(self, dtype: DType, *, checked: bool) -> Any:
        """Return the array functions that formulations use, for this dtype.

        Checked functions raise DtypeError when a result leaves the declared dtype; unchecked ones,
        used while timing, compute the same bits without the check.
        """

    def differentiated(
        self, build: Callable[..., Thunk], inputs: Sequence[Any], positions: Sequence[int], cotangent: Any
    ) -> Thunk:
        """Return a thunk that gives the gradients for the inputs at `positions`, as a tuple.

        `build` takes native inputs and returns the thunk of the value. Each call computes the value and then
        its gradients. Called only where `autograd`.
        """

    def peak_memory(self, thunk: Thunk) -> int | None:
        """Return the most bytes that one call holds beyond what is held before, its result included.

        None: this library cannot tell.
        """

    def timers(self) -> Sequence[Timer]:
        """Return what times this backend, the one for the columns of results first."""

    def synchronize(self) -> None:
        """Wait until all work started is done (CPU: nothing)."""

    def facts(self) -> Mapping[str, str]:
        """Return what the record says of it, called in the worker: versions, BLAS, thread counts as found.

        `variables` tells its `own_variables` as they are set here (`variables_as_set`).
        """
