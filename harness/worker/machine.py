"""What the machine can do through one backend: peak matrix products, memory bandwidth."""

from __future__ import annotations

from typing import Any

from harness.formats import DTYPES, FORMATS, encode, round_array
from harness.registry import Backend, Lack
from harness.timing.cuda import FLUSHED_BYTES
from harness.timing.peaks import SMALLEST, array_bytes_beyond_cache, copy_bandwidth, peak_gemm
from harness.worker.kernel import Kernels


def peak(kernels: Kernels, name: str) -> dict[str, Any]:
    """Return the highest GFLOP/s of a matrix product in a dtype, or why there is none."""
    import numpy as np

    backend = kernels.backend
    lack = backend.capabilities.get(name, {}).get(
        "matmul", Lack("unsupported", f"{backend.name} does not hold {name}")
    )
    if isinstance(lack, Lack):
        return {"status": lack.word, "error": lack.reason}
    storage = DTYPES[name].storage
    numbers = np.random.default_rng(0).uniform(-1, 1, (SMALLEST, SMALLEST))
    block = encode(storage, round_array(storage, numbers))

    def matrix(n: int) -> Any:
        return backend.from_bits(np.tile(block, (n // SMALLEST, n // SMALLEST)), storage)

    multiply = kernels.namespace(DTYPES[name], checked=False).matmul
    found = peak_gemm(multiply, matrix, backend.timers()[0])
    return {"status": "ok", "gflops": found.flops_per_s / 1e9, "n": found.n}


def bandwidth(backend: Backend) -> dict[str, Any]:
    """Return the highest GB/s of a copy between arrays that no cache holds."""
    import numpy as np

    timer = backend.timers()[0]
    nbytes = FLUSHED_BYTES if timer.cache == "cold" else array_bytes_beyond_cache()
    storage = FORMATS["float64"]
    block = encode(storage, np.random.default_rng(0).uniform(-1, 1, 1 << 16))
    codes = np.resize(block, nbytes // block.itemsize)
    source, destination = (backend.from_bits(codes, storage) for _ in range(2))
    found = copy_bandwidth(destination, source, nbytes, timer)
    return {"status": "ok", "gbps": found.bytes_per_s / 1e9, "array_bytes": found.array_bytes}
