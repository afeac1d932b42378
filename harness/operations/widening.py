"""Computing in float32 what is stored in less: what formulations with a wider accumulator declare and do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

AT_LEAST_SINGLE: Final[Mapping[str, str]] = {
    "float64": "float64",
    "float32": "float32", "tf32": "float32", "bfloat16": "float32", "float16": "float32",
}  # fmt: skip
"""Name of a dtype → the format to compute in: accumulators of kernels are float32 or wider."""


def at_least_single(xp: Any, x: Any) -> tuple[Any, Any]:
    """Return the namespace to compute in, and x in its dtype."""
    compute = AT_LEAST_SINGLE[xp.dtype.name]
    if compute == xp.dtype.storage.name:
        return xp, x
    return xp.cast_namespace(compute), xp.astype(x, compute)
