"""Storage in 8 bits and back: what is left of numbers, with and without a scale of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.formats import FORMATS
from harness.model import Written
from harness.operations.definition import operation
from harness.registry import Cost, ExactProblem, Parameter, Thunk, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

    Floats = NDArray[np.float64]

DTYPES: Final = ("float32", "bfloat16", "float16")
THROUGH: Final = Parameter(None, "format in between", choices=("float8_e4m3fn", "float8_e5m2"))


def bound(problem: ExactProblem, reference: Reference, precision: Precision) -> Mapping[str, Floats]:
    """Return log2 of u₈·|x|·(1 + 5u) + 3u·|x| + s·ω₈/2·(1 + 5u) + ω, s = max |x|/Ω₈.

    Quotient and product each round once. ŝ itself, the quotient of two numbers, is used both ways: its error
    changes nothing but where numbers fall in the format, and s·ω₈ by 2u. The largest becomes at most
    Ω₈·(1 + 3u), which every format of 8 bits rounds to Ω₈. Where s is subnormal that does not hold: it has to
    be at least the smallest normal number, that is max |x| ≥ Ω₈ of those.
    """
    import numpy as np

    narrow = FORMATS[str(problem.parameters["through"])]
    x = np.abs(problem.inputs["x"])
    u, wide = precision.u_out, 1 + 5 * precision.u_out
    largest = float(x.max(initial=0.0, where=np.isfinite(x)))
    step = largest / float(narrow.max_finite) * float(narrow.min_subnormal) / 2
    with np.errstate(all="ignore"):
        size = x * (float(narrow.unit_roundoff) * wide + 3 * u)
        return {"y": np.asarray(np.log2(size + step * wide + float(precision.format.min_subnormal)))}


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 4 an element: size and largest, quotient, product; read twice, for the largest comes first."""
    size = math.prod(shapes["x"])
    return Cost(4 * size, 3 * size * element_bytes)


def _same(xp: Any, x: Any, through: Written) -> Any:
    return xp.copy(x)


operation(
    name="scaled_cast",
    title="Storage in 8 bits and back",
    formula="y = x, held in 8 bits in between",
    inputs={"x": "any shape"},
    definition=_same,
    bound=bound,
    cost=cost,
    bound_formula="(1 + 5u)·(u₈·|x| + s·ω₈/2) + 3u·|x| + ω, s = max |x|/Ω₈",
    source="one rounding to 8 bits (IEEE 754-2019, 4.3.1), one each of the quotient and the product by s",
    parameters={"through": THROUGH},
    dtypes=DTYPES,
)


def _there_and_back(xp: Any, x: Any, through: Written) -> Any:
    narrow = xp.cast_namespace(str(through))
    return narrow.astype(xp.astype(x, str(through)), xp.dtype.name)


@formulation("scaled_cast", "direct", title="The library's own casts")
def direct(xp: Any, x: Any, through: Written) -> Thunk:
    """Lose what is beyond Ω₈, in each library's own way, and what is below ω₈."""
    return lambda: _there_and_back(xp, x, through)


@formulation("scaled_cast", "clamped", title="Cast of numbers clamped to ±Ω₈")
def clamped(xp: Any, x: Any, through: Written) -> Thunk:
    """Keep finite what is beyond Ω₈, and wrong."""
    largest = FORMATS[str(through)].max_finite
    high, low = xp.scalar(largest), xp.scalar(-largest)
    return lambda: _there_and_back(xp, xp.minimum(xp.maximum(x, low), high), through)


@formulation("scaled_cast", "amax", title="Cast of x/s, times s = max |x|/Ω₈")
def amax(xp: Any, x: Any, through: Written) -> Thunk:
    """Use all of the format's range for the numbers that there are."""
    largest, one, zero = xp.scalar(FORMATS[str(through)].max_finite), xp.scalar(1), xp.scalar(0)

    def thunk() -> Any:
        found = xp.divide(xp.max(xp.abs(x)), largest)
        s = xp.where(xp.equal(found, zero), one, found)
        return xp.multiply(_there_and_back(xp, xp.divide(x, s), through), s)

    return thunk
