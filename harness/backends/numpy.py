"""NumPy on the CPU, with SciPy's LAPACK and ml_dtypes for the narrow formats.

A NumPy configured differently is another `NumpyBackend`, with a name and a file of its own beside this one:

    from harness.backends.numpy import NumpyBackend, register
    register(NumpyBackend(name="numpy-sse", title="NumPy, OpenBLAS without AVX",
                          variables={"OPENBLAS_CORETYPE": "Nehalem"}))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from harness.backends import numpy_functions, numpy_library
from harness.backends.alignment import aligned_copy
from harness.backends.namespace import Namespace
from harness.errors import DtypeError, UserError
from harness.formats import DTYPES, FORMATS, DType, NumberFormat
from harness.registry import PRIMITIVE_GROUPS, Lack, Thunk, register_backend, variables_as_set
from harness.timing.clock import Timer, WallTimer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Capabilities = Mapping[str, Mapping[str, str | Lack]]

_THREAD_VARIABLES: Final = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip

_NATIVE: Final = {"float64", "float32", "float16"}
"""Formats of NumPy itself; the others are those of ml_dtypes."""

_TF32 = Lack("unsupported", "TF32 products are made by a GPU's tensor cores; NumPy has none on a CPU")

_COMPUTED: Final[Capabilities] = {
    "float64": dict.fromkeys(PRIMITIVE_GROUPS, "float64"),
    "float32": dict.fromkeys(PRIMITIVE_GROUPS, "float32"),
    "tf32": dict.fromkeys(PRIMITIVE_GROUPS, _TF32),
    "bfloat16": {
        "elementwise": "bfloat16",
        "sum": "bfloat16",  # ml_dtypes: 10,000 × 0.1 gives 32
        "matmul": "float32",  # float32 products, cast once
        "linalg": Lack("unsupported", "LAPACK, and with it SciPy, has no bfloat16"),
    },
    "float16": {
        "elementwise": "float16",
        "sum": "float16",  # float32 along contiguous axes, float16 along others: 5000 ones are 2048
        "matmul": "float32",
        "linalg": Lack("unsupported", "LAPACK, and with it SciPy, has no float16"),
    },
}

_STORAGE_ONLY: Final[Capabilities] = {
    name: dict.fromkeys(
        PRIMITIVE_GROUPS,
        Lack("unsupported", f"NumPy holds {name} as storage only: ml_dtypes computes it in float32"),
    )
    for name, row in FORMATS.items()
    if row.storage_bits == 8
}

CAPABILITIES: Final[Capabilities] = {**_COMPUTED, **_STORAGE_ONLY}
"""dtype → primitive group → what it is computed in, or why not."""


@dataclass(frozen=True)
class NumpyBackend:
    """A NumPy in a process of its own.

    Parameters
    ----------
    name, title
        What cells call it, and what reports do.
    variables
        Environment variables that configure it, set before it is imported.
    configure
        Called once in the worker after NumPy was imported, for what no variable sets.
    """

    name: str = "numpy"
    title: str = "NumPy and SciPy on the CPU"
    variables: Mapping[str, str] = field(default_factory=dict)
    configure: Callable[[], None] | None = None
    requires: tuple[str, ...] = ("numpy", "scipy", "ml_dtypes")
    capabilities: Capabilities = field(default_factory=lambda: CAPABILITIES)
    flags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    autograd: bool = False

    def unavailable(self) -> str | None:
        """Return which module is not installed, or None; nothing is imported."""
        missing = [name for name in self.requires if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None

    def environment(self, threads: int) -> Mapping[str, str]:
        """Return the variables that BLAS libraries read when they are loaded."""
        return {**dict.fromkeys(_THREAD_VARIABLES, str(threads)), **self.variables}

    def start(self, threads: int, flags: Mapping[str, str]) -> None:
        """Import NumPy, set the threads of its BLAS, and silence floating-point warnings.

        A warning is no result: what overflowed is seen in the output, and the warning would be timed.
        """
        import numpy as np
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
        np.seterr(all="ignore")
        if self.configure is not None:
            self.configure()

    def from_bits(self, bits: NDArray[Any], storage: NumberFormat) -> NDArray[Any]:
        """Return an aligned array of the numbers that the codes stand for."""
        return aligned_copy(bits).view(native_dtype(storage.name))

    def to_bits(self, array: Any) -> tuple[NDArray[Any], str]:
        """Return the codes of an array or scalar, and the name of its format.

        Raises
        ------
        DtypeError
            If it is no NumPy array of a format, but a list, integers, booleans or complex numbers.
        """
        import numpy as np

        if not isinstance(array, (np.ndarray, np.generic)):
            raise DtypeError(f"{self.name} returns NumPy arrays; found {type(array).__name__}")
        values = np.asarray(array)
        if values.dtype.name not in FORMATS:
            raise DtypeError(f"an output is {values.dtype.name}; allowed: {', '.join(FORMATS)}")
        values = np.asarray(values, values.dtype.newbyteorder("="), order="C")
        return values.view(f"u{values.dtype.itemsize}"), values.dtype.name

    def namespace(self, dtype: DType, *, checked: bool) -> Namespace:
        """Return NumPy's functions for arrays of `dtype`."""
        return _namespace(self, dtype.name, checked)

    def differentiated(
        self, build: Callable[..., Thunk], inputs: Sequence[Any], positions: Sequence[int], cotangent: Any
    ) -> Thunk:
        """Raise UserError: NumPy does not differentiate."""
        raise UserError(
            f"{self.name} does not differentiate",
            "register the gradient of a formulation with @gradient (harness.registry)",
        )

    def peak_memory(self, thunk: Thunk) -> int:
        """Return the most bytes that one call held of Python's memory, in which NumPy's arrays are counted.

        What LAPACK and BLAS take from the system by themselves (packed panels) is not among them.
        """
        import tracemalloc

        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            result = thunk()
            _, peak = tracemalloc.get_traced_memory()
            del result
        finally:
            tracemalloc.stop()
        return max(0, peak - before)

    def timers(self) -> Sequence[Timer]:
        """Return the wall clock."""
        return (WallTimer(synchronize=self.synchronize),)

    def synchronize(self) -> None:
        """Return at once: NumPy's calls return when their work is done."""

    def facts(self) -> Mapping[str, str]:
        """Return versions, the BLAS libraries loaded and their threads, instruction sets, own variables."""
        from threadpoolctl import threadpool_info

        pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
        names = (f"{p['internal_api']} {p['version']} {p.get('architecture', '')}".strip() for p in pools)
        return {
            **{name: version(name) for name in self.requires},
            "blas": ", ".join(dict.fromkeys(names)) or "unknown",
            "blas_threads": ", ".join(dict.fromkeys(str(p["num_threads"]) for p in pools)) or "unknown",
            "simd": _simd(),
            "variables": variables_as_set(self),
        }


def _simd() -> str:
    """Return the instruction sets that NumPy uses here: of its build, then found; those disabled are not."""
    import numpy as np

    found = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return " ".join([*found.get("baseline", ()), *found.get("found", ())]) or "unknown"


@cache
def native_dtype(name: str) -> np.dtype[Any]:
    """Return NumPy's dtype of a format."""
    import numpy as np

    if name in _NATIVE:
        return np.dtype(name)
    import ml_dtypes

    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return dtype


def _namespace(backend: NumpyBackend, name: str, checked: bool) -> Namespace:
    dtype = DTYPES[name]
    native = native_dtype(dtype.storage.name)

    def native_scalar(x: float) -> Any:
        return native.type(x)

    return Namespace(
        backend.name,
        dtype,
        checked=checked,
        declared=backend.capabilities[name],
        load=lambda group: numpy_functions.GROUPS[group](native, native_dtype),
        format_of=lambda x: x.dtype.name if hasattr(x, "dtype") else type(x).__name__,
        native_scalar=native_scalar,
        cast=lambda other: _namespace(backend, other, checked),
    )


def register(backend: NumpyBackend) -> NumpyBackend:
    """Register a NumPy and the `library` callables that it shares with every other."""
    register_backend(backend)
    numpy_library.NUMPY.register(backend.name)
    return backend


register(NumpyBackend())
