"""PyTorch on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final

from harness.backends import torch_library
from harness.backends.torch_backend import STORED, Capabilities, TorchBackend
from harness.registry import PRIMITIVE_GROUPS, Lack, Thunk, register_backend, variables_as_set
from harness.timing.clock import Timer, WallTimer

CAPABILITIES: Final[Capabilities] = {
    **{name: dict.fromkeys(PRIMITIVE_GROUPS, name) for name in ("float64", "float32")},
    "tf32": dict.fromkeys(
        PRIMITIVE_GROUPS,
        Lack(
            "unsupported",
            "TF32 products are made by a GPU's tensor cores; torch computes float32 on a CPU",
        ),
    ),
    **{
        name: {
            "elementwise": name,
            "sum": "float32",
            "matmul": "float32",
            "linalg": Lack("unsupported", f"torch has no LAPACK in {name}"),
        }
        for name in ("bfloat16", "float16")
    },
    **STORED,
}
"""dtype → primitive group → what it is computed in, or why not. Other formats torch does not hold."""


class TorchCpuBackend(TorchBackend):
    """PyTorch on the CPU, in a process of its own."""

    name = "torch-cpu"
    title = "PyTorch on the CPU"
    capabilities = CAPABILITIES
    flags: Mapping[str, Mapping[str, str]] = {}
    device = "cpu"

    def peak_memory(self, thunk: Thunk) -> int:
        """Return the greatest sum of what torch's allocator gave and took back while one call ran.

        Each allocation, and each release of what was allocated meanwhile, is an event of torch's profiler, in
        the order in which they happened. What a library takes from the system by itself (MKL's packed panels)
        is not among them.
        """
        from torch.autograd.profiler import profile

        with profile(use_kineto=True, profile_memory=True) as profiled:
            result = thunk()
        del result
        held = peak = 0
        for event in profiled.kineto_results.events():
            if event.name() == "[memory]":
                # of a release of what was there before torch knows the size sometimes, and sometimes not
                held = max(0, held + event.nbytes())
                peak = max(peak, held)
        return peak

    def timers(self) -> Sequence[Timer]:
        """Return the wall clock."""
        return (WallTimer(synchronize=self.synchronize),)

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
