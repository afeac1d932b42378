"""What the torch backends share: bit patterns to tensors and back, the namespace, gradients."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from harness.backends import torch_functions
from harness.backends.alignment import aligned_copy
from harness.backends.namespace import Namespace
from harness.errors import DtypeError
from harness.formats import DTYPES, FORMATS, DType, NumberFormat
from harness.registry import PRIMITIVE_GROUPS, Lack, Thunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

Capabilities = Mapping[str, Mapping[str, str | Lack]]

STORAGE_ONLY: Final = (
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip

STORED: Final[Capabilities] = {
    name: dict.fromkeys(
        PRIMITIVE_GROUPS,
        Lack("unsupported", f"torch holds {name} as storage only: it has casts, no arithmetic"),
    )
    for name in STORAGE_ONLY
}
"""Formats that torch has casts for, and nothing else."""

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class TorchBackend(ABC):
    """PyTorch on one kind of device, in a process of its own."""

    name: str
    title: str
    capabilities: Capabilities
    requires: tuple[str, ...] = ("torch",)
    flags: Mapping[str, Mapping[str, str]]
    autograd = True
    device: str
    """What torch calls the device that tensors are on."""

    def unavailable(self) -> str | None:
        """Return which module is not installed, or None; nothing is imported."""
        missing = [name for name in self.requires if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None

    def environment(self, threads: int) -> Mapping[str, str]:
        """Return the variables that OpenMP and MKL read when they are loaded."""
        return {**dict.fromkeys(_THREAD_VARIABLES, str(threads)), "MKL_DYNAMIC": "FALSE"}

    def start(self, threads: int, flags: Mapping[str, str]) -> None:
        """Import torch and set its threads: `threads` inside an operation, one across operations."""
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # its profiler writes two lines for each use
        import torch

        torch.set_num_threads(threads)
        if torch.get_num_interop_threads() != 1:  # a second call raises
            torch.set_num_interop_threads(1)

    def from_bits(self, bits: NDArray[Any], storage: NumberFormat) -> Any:
        """Return an aligned tensor of the numbers that the codes stand for."""
        import torch

        codes = aligned_copy(bits)
        words = torch.from_numpy(codes.view(f"i{codes.dtype.itemsize}"))
        return words.to(self.device).view(getattr(torch, storage.name))

    def to_bits(self, array: Any) -> tuple[NDArray[Any], str]:
        """Return the codes of a tensor, and the name of its format.

        Raises
        ------
        DtypeError
            If it is no tensor of a format, but a number, integers, booleans or complex numbers, or if it
            is on another device.
        """
        import torch

        if not isinstance(array, torch.Tensor):
            raise DtypeError(f"{self.name} returns tensors; found {type(array).__name__}")
        if array.device.type != self.device:
            raise DtypeError(
                f"{self.name} returns tensors on {self.device}; found one on {array.device.type}"
            )
        name = torch_functions.format_of(array)
        if name not in FORMATS:
            raise DtypeError(f"an output is {name}; allowed: {', '.join(FORMATS)}")
        word = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[array.element_size()]
        codes: NDArray[Any] = array.detach().resolve_neg().contiguous().view(word).cpu().numpy()
        return codes.view(f"u{codes.dtype.itemsize}"), name

    def namespace(self, dtype: DType, *, checked: bool) -> Namespace:
        """Return torch's functions for tensors of `dtype`."""
        import torch

        native = getattr(torch, dtype.storage.name)

        def native_scalar(x: float) -> Any:
            return torch.full((), x, dtype=torch.float64, device=self.device).to(native)

        return Namespace(
            self.name,
            dtype,
            checked=checked,
            declared=self.capabilities[dtype.name],
            load=lambda group: torch_functions.GROUPS[group](native, self.device),
            format_of=torch_functions.format_of,
            native_scalar=native_scalar,
            cast=lambda name: self.namespace(DTYPES[name], checked=checked),
        )

    def differentiated(
        self, build: Callable[..., Thunk], inputs: Sequence[Any], positions: Sequence[int], cotangent: Any
    ) -> Thunk:
        """Return a thunk that gives the gradients for the inputs at `positions`, by torch.autograd.

        A scalar's cotangent may be a list of one number, for a case has no other way to write it. Each call
        computes the value anew, and then its gradients. What `build` computes outside its thunk
        (a view, a scaled copy) belongs to the graph too, and is kept from call to call.
        """
        import torch

        leaves = [x.detach() for x in inputs]
        wanted = [leaves[i].requires_grad_() for i in positions]
        forward = build(*leaves)

        def thunk() -> tuple[Any, ...]:
            value = forward()
            seed = cotangent if value.ndim else cotangent.reshape(())
            gradients: tuple[Any, ...] = torch.autograd.grad(value, wanted, seed, retain_graph=True)
            return gradients

        return thunk

    @abstractmethod
    def peak_memory(self, thunk: Thunk) -> int | None:
        """Return the most bytes that one call holds beyond what is held before, its result included."""
