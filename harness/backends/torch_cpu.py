"""PyTorch on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from harness.backends import torch_functions, torch_library
from harness.backends.alignment import aligned_copy
from harness.backends.namespace import Namespace
from harness.errors import DtypeError
from harness.formats import DTYPES, FORMATS, DType, NumberFormat
from harness.registry import PRIMITIVE_GROUPS, Lack, register_backend, variables_as_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

STORAGE_ONLY: Final = (
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip

CAPABILITIES: Final[Mapping[str, Mapping[str, str | Lack]]] = (
    {name: dict.fromkeys(PRIMITIVE_GROUPS, name) for name in ("float64", "float32")}
    | {
        "tf32": dict.fromkeys(
            PRIMITIVE_GROUPS,
            Lack(
                "unsupported",
                "TF32 products are made by a GPU's tensor cores; torch computes float32 on a CPU",
            ),
        )
    }
    | {
        name: {
            "elementwise": name,
            "sum": "float32",
            "matmul": "float32",
            "linalg": Lack("unsupported", f"torch has no LAPACK in {name}"),
        }
        for name in ("bfloat16", "float16")
    }
    | {
        name: dict.fromkeys(
            PRIMITIVE_GROUPS,
            Lack("unsupported", f"torch holds {name} as storage only: it has casts, no arithmetic"),
        )
        for name in STORAGE_ONLY
    }
)
"""dtype → primitive group → what it is computed in, or why not. Other formats torch does not hold."""


class TorchCpuBackend:
    """PyTorch on the CPU, in a process of its own."""

    name = "torch-cpu"
    title = "PyTorch on the CPU"
    requires: tuple[str, ...] = ("torch",)
    capabilities = CAPABILITIES

    def unavailable(self) -> str | None:
        """Return which module is not installed, or None; nothing is imported."""
        missing = [name for name in self.requires if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None

    def environment(self, threads: int) -> Mapping[str, str]:
        """Return the variables that OpenMP and MKL read when they are loaded."""
        return {**dict.fromkeys(_THREAD_VARIABLES, str(threads)), "MKL_DYNAMIC": "FALSE"}

    def start(self, threads: int) -> None:
        """Import torch and set its threads: `threads` inside an operation, one across operations."""
        import torch

        torch.set_num_threads(threads)
        if torch.get_num_interop_threads() != 1:  # a second call raises
            torch.set_num_interop_threads(1)

    def from_bits(self, bits: NDArray[Any], storage: NumberFormat) -> Any:
        """Return an aligned tensor of the numbers that the codes stand for."""
        import torch

        codes = aligned_copy(bits)
        return torch.from_numpy(codes.view(f"i{codes.dtype.itemsize}")).view(getattr(torch, storage.name))

    def to_bits(self, array: Any) -> tuple[NDArray[Any], str]:
        """Return the codes of a tensor, and the name of its format.

        Raises
        ------
        DtypeError
            If it is no tensor of a format, but a number, integers, booleans or complex numbers.
        """
        import torch

        if not isinstance(array, torch.Tensor):
            raise DtypeError(f"{self.name} returns tensors; found {type(array).__name__}")
        name = torch_functions.format_of(array)
        if name not in FORMATS:
            raise DtypeError(f"an output is {name}; allowed: {', '.join(CAPABILITIES)}")
        word = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[array.element_size()]
        codes: NDArray[Any] = array.detach().resolve_neg().contiguous().view(word).numpy()
        return codes.view(f"u{codes.dtype.itemsize}"), name

    def namespace(self, dtype: DType, *, checked: bool) -> Namespace:
        """Return torch's functions for tensors of `dtype`."""
        import torch

        native = getattr(torch, dtype.storage.name)

        def native_scalar(x: float) -> Any:
            return torch.tensor(x, dtype=torch.float64).to(native)

        return Namespace(
            self.name,
            dtype,
            checked=checked,
            declared=CAPABILITIES[dtype.name],
            load=lambda group: torch_functions.GROUPS[group](native),
            format_of=torch_functions.format_of,
            native_scalar=native_scalar,
            cast=lambda name: self.namespace(DTYPES[name], checked=checked),
        )

    def synchronize(self) -> None:
        """Return at once: torch's calls on a CPU return when their work is done."""

    def facts(self) -> Mapping[str, str]:
        """Return versions, the BLAS of the build, threads, and the settings that can change bits."""
        import torch

        build = torch.__config__.show()
        blas = [line.strip(" -") for line in build.splitlines() if "Math Kernel" in line or "MKL-DNN" in line]
        return {
            "torch": version("torch"),
            "numpy": version("numpy"),
            "blas": "; ".join(blas) or "unknown",
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "threads": str(torch.get_num_threads()),
            "interop_threads": str(torch.get_num_interop_threads()),
            "deterministic": str(torch.are_deterministic_algorithms_enabled()).lower(),
            "variables": variables_as_set(self),
        }


register_backend(TorchCpuBackend())
torch_library.TORCH.register(TorchCpuBackend.name)
