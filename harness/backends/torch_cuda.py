"""PyTorch on an NVIDIA GPU.

How products are computed is part of a dtype: `tf32` is float32 whose products take TF32 inputs,
`float16_reduced` is float16 whose split sums may be rounded to float16, and so on. Each set of such settings
has a worker of its own, which makes every one of them, and reads it back, before anything is computed.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from harness.backends import torch_library
from harness.backends.torch_backend import STORED, Capabilities, TorchBackend
from harness.errors import UserError
from harness.registry import PRIMITIVE_GROUPS, Lack, Thunk, register_backend, variables_as_set
from harness.timing.clock import Pace, Timer
from harness.timing.clocks import gpu_pace
from harness.timing.cuda import cuda_timers

SETTINGS: Final[Mapping[str, str]] = {
    "fp32_precision": "ieee",
    "allow_fp16_reduced_precision_reduction": "false",
    "allow_bf16_reduced_precision_reduction": "false",
    "allow_fp16_accumulation": "false",
}
"""Settings of torch.backends.cuda.matmul, and what they are where a dtype does not say otherwise."""

FLAGS: Final[Mapping[str, Mapping[str, str]]] = {
    "tf32": {"fp32_precision": "tf32"},
    "float16_reduced": {"allow_fp16_reduced_precision_reduction": "true"},
    "bfloat16_reduced": {"allow_bf16_reduced_precision_reduction": "true"},
    "float16_accumulate": {"allow_fp16_accumulation": "true"},
}

LEAST_CAPABILITY: Final[Mapping[str, tuple[int, int]]] = {
    "fp32_precision": (8, 0),
    "allow_fp16_accumulation": (7, 0),
}
"""Compute capability below which a setting changes nothing: TF32 came with Ampere (CUDA C++ Programming
Guide, table of features), and torch asks for 7.0 before it accumulates in float16 (CUDABlas.cpp)."""


def _half(storage: str, matmul: str) -> dict[str, str | Lack]:
    return {
        "elementwise": storage,
        "sum": "float32",
        "matmul": matmul,
        "linalg": Lack("unsupported", f"torch has no factorisations in {storage}"),
    }


CAPABILITIES: Final[Capabilities] = {
    **{name: dict.fromkeys(PRIMITIVE_GROUPS, name) for name in ("float64", "float32")},
    "tf32": {
        **dict.fromkeys(("elementwise", "sum", "matmul"), "float32"),
        "linalg": Lack("unsupported", "TF32 is a setting of products, which cuSOLVER does not read"),
    },
    "bfloat16": _half("bfloat16", "float32"),
    "float16": _half("float16", "float32"),
    "bfloat16_reduced": _half("bfloat16", "bfloat16"),
    "float16_reduced": _half("float16", "float16"),
    "float16_accumulate": _half("float16", "float16"),
    **STORED,
}
"""dtype → primitive group → what it is computed in, or why not.

What is allowed is declared as if it were done: where sums *may* be rounded to float16, float16 is what they
are held to.
"""

_PRODUCTS: Final[Mapping[str, str | Lack]] = {
    name: groups["matmul"] for name, groups in CAPABILITIES.items() if name in FLAGS
}

_GELSD: Final = Lack(
    "unsupported", "torch.linalg.lstsq on CUDA has the driver gels alone, which needs full rank and no rcond"
)

LIBRARY: Final[Mapping[str, Mapping[str, str | Lack]]] = {
    "matmul": _PRODUCTS,
    "least_squares": dict.fromkeys(("float64", "float32"), _GELSD),
}
"""Where torch's own functions differ from those on a CPU."""


class TorchCudaBackend(TorchBackend):
    """PyTorch on the first CUDA device, in a process of its own."""

    name = "torch-cuda"
    title = "PyTorch on an NVIDIA GPU"
    capabilities = CAPABILITIES
    flags = FLAGS
    device = "cuda"

    def unavailable(self) -> str | None:
        """Return what is missing: torch, its CUDA, the driver, or a device. Nothing heavy is imported."""
        return super().unavailable() or without_cuda(torch_folder()) or _without_device()

    def environment(self, threads: int) -> Mapping[str, str]:
        """Return the variables of the CPU's side, and those that make products repeatable bit for bit.

        cuBLAS repeats its results only with workspaces of a fixed size (cuBLAS documentation, Results
        Reproducibility); torch refuses to run deterministically without.
        """
        return {
            **super().environment(threads),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        }

    def start(self, threads: int, flags: Mapping[str, str]) -> None:
        """Import torch, set up the device, make every setting and read it back, and compute something.

        Work runs on a stream of its own, for the default one cannot be captured into a graph. The context and
        the libraries are loaded here, before anybody limits this process's memory.

        Raises
        ------
        UserError
            If a setting does not take, or this GPU does not know it.
        """
        super().start(threads, flags)
        import torch

        torch.cuda.init()
        make_settings(torch, flags, torch.cuda.get_device_capability())
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # it would be timed
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        if torch.cuda.current_stream() == torch.cuda.default_stream():
            torch.cuda.set_stream(torch.cuda.Stream())
        for name in ("float64", "float32", "float16"):
            x = torch.eye(16, dtype=getattr(torch, name), device=self.device)
            torch.matmul(x, x)
        self.synchronize()

    def peak_memory(self, thunk: Thunk) -> int:
        """Return the most that torch's allocator had given out while one call ran, beyond what it had before.

        The allocator gives out blocks of 512 bytes.
        """
        import torch

        self.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before: int = torch.cuda.memory_allocated()
        result = thunk()
        self.synchronize()
        peak: int = torch.cuda.max_memory_allocated()
        del result
        return peak - before

    def timers(self) -> Sequence[Timer]:
        """Return single calls with an empty cache, graphs, and the host's clock, in this order."""
        import torch

        pace = _pace(f"GPU-{torch.cuda.get_device_properties().uuid}")
        return cuda_timers(torch, self.synchronize, pace, self.device)

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given; raises what went wrong there meanwhile."""
        import torch

        torch.cuda.synchronize()

    def facts(self) -> Mapping[str, str]:
        """Return versions, the device, every setting as torch tells it, and what would do attention."""
        import torch

        properties = torch.cuda.get_device_properties()
        return {
            "torch": version("torch"),
            "numpy": version("numpy"),
            "device": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": str(properties.multi_processor_count),
            "device_memory_bytes": str(properties.total_memory),
            "l2_cache_bytes": str(properties.L2_cache_size),
            "cuda": str(torch.version.cuda),
            "driver": _driver(),
            "cudnn": str(torch.backends.cudnn.version()),
            "blas": str(torch.backends.cuda.preferred_blas_library()),
            "linalg": str(torch.backends.cuda.preferred_linalg_library()),
            **settings_found(torch),
            "attention": attention_choices(torch, self.device),
            "clocks": str(_pace(f"GPU-{properties.uuid}").about.get("clocks", "unknown")),
            "threads": str(torch.get_num_threads()),
            "interop_threads": str(torch.get_num_interop_threads()),
            "deterministic": str(torch.are_deterministic_algorithms_enabled()).lower(),
            "variables": variables_as_set(self),
        }


# ---- settings --------------------------------------------------------------------------------------


def make_settings(torch: Any, flags: Mapping[str, str], capability: tuple[int, int]) -> None:
    """Make every setting, those of `flags` and the usual ones, and read each back.

    Only the interface by `fp32_precision` is used: torch raises where it is mixed with `allow_tf32`.

    Raises
    ------
    UserError
        If torch has no such setting, refuses it, or tells another value afterwards; if the GPU's compute
        capability is too low for it to change anything.
    """
    wanted = {**SETTINGS, **flags}
    for name, value in flags.items():
        least = LEAST_CAPABILITY.get(name, (0, 0))
        if value != SETTINGS[name] and capability < least:
            has, needs = (".".join(map(str, c)) for c in (capability, least))
            raise UserError(
                f"{name} = {value} changes nothing on this GPU: its compute capability is {has}, not {needs}"
            )
    backends = torch.backends
    try:
        precision = wanted["fp32_precision"]
        backends.fp32_precision = precision
        for place in (backends.cudnn.conv, backends.cudnn.rnn):
            place.fp32_precision = precision
        for name, value in wanted.items():
            setattr(backends.cuda.matmul, name, value if name == "fp32_precision" else value == "true")
    except (AttributeError, RuntimeError) as error:
        raise UserError(f"torch {torch.__version__} does not take {_written(wanted)}: {error}") from error
    found = settings_found(torch)
    differing = {name: found[name] for name, value in wanted.items() if found[name] != value}
    if differing:
        asked = {name: wanted[name] for name in differing}
        raise UserError(f"torch was set to {_written(asked)} and tells {_written(differing)}")


def settings_found(torch: Any) -> dict[str, str]:
    """Return every setting as torch tells it."""
    return {name: str(getattr(torch.backends.cuda.matmul, name)).lower() for name in SETTINGS}


def attention_choices(torch: Any, device: str) -> str:
    """Return which implementation of attention torch would choose, by dtype, for 1 × 8 heads of 128 × 64."""
    from torch.nn.attention import SDPBackend

    told = []
    for name in ("float64", "float32", "bfloat16", "float16"):
        q = torch.zeros((1, 8, 128, 64), dtype=getattr(torch, name), device=device)
        told.append(f"{name} {SDPBackend(torch._fused_sdp_choice(q, q, q)).name}")
    return ", ".join(told)


def _written(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


# ---- whether there is a device ---------------------------------------------------------------------


def torch_folder() -> Path:
    """Return where torch is installed; it is not imported."""
    spec = find_spec("torch")
    return Path(spec.origin).parent if spec is not None and spec.origin else Path()


def without_cuda(folder: Path) -> str | None:
    """Return why the torch in a folder has no CUDA, from the text of its `version.py`, or None if it has."""
    try:
        text = (folder / "version.py").read_text(encoding="utf-8")
    except OSError:
        return f"torch in {folder} has no version.py to tell of CUDA"
    told = dict(re.findall(r"^(\w+)(?:\s*:[^=\n]+)?\s*=\s*(.+)$", text, re.MULTILINE))
    number = told.get("__version__", "").strip("'\"")
    if told.get("cuda", "None").strip() != "None":
        return None
    if told.get("hip", "None").strip() != "None":
        return f"torch {number} is built for AMD's ROCm, not for CUDA"
    return f"torch {number} is built without CUDA"


@cache
def _without_device() -> str | None:
    """Return why there is no CUDA device, as the driver itself says, or None if there is one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible} hides every device"
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return f"no NVIDIA driver: {name} cannot be loaded"
    return without_device(driver)


def without_device(driver: Any) -> str | None:
    """Return why a CUDA driver library gives no device, or None if it gives one."""
    code = driver.cuInit(0)
    if code == 100:  # CUDA_ERROR_NO_DEVICE (cuda.h)
        return "the NVIDIA driver finds no device"
    if code:
        return f"the NVIDIA driver cannot be started: cuInit gives error {code} of cuda.h"
    count = ctypes.c_int()
    code = driver.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return f"the NVIDIA driver does not tell its devices: error {code} of cuda.h"
    return None if count.value else "the NVIDIA driver shows no device"


def _driver() -> str:
    """Return the newest CUDA that the driver supports."""
    found = ctypes.c_int()
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(found))
    return f"for CUDA {found.value // 1000}.{found.value % 1000 // 10}"


@cache
def _pace(uuid: str) -> Pace:
    return gpu_pace(uuid)


register_backend(TorchCudaBackend())
torch_library.TORCH.register(TorchCudaBackend.name, LIBRARY)
