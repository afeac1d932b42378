"""Conversion between number formats: one correct rounding, and the values that come back unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.formats import FORMATS, power_of_two
from harness.model import Written
from harness.operations import correct_rounding
from harness.registry import (
    Cost,
    ExactProblem,
    Operation,
    Parameter,
    Thunk,
    formulation,
    register_operation,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import NumberFormat
    from harness.reference.elements import Reference

IN_DTYPE: Final = {name: name for name in FORMATS}
NARROWER_THAN_SINGLE: Final = {n: "float32" for n, f in FORMATS.items() if f.precision < 24}
NARROWER_THAN_DOUBLE: Final = {n: "float64" for n, f in FORMATS.items() if f.precision < 53}


def _reference(problem: ExactProblem) -> Reference:
    """Round each number once, to nearest even; what overflows becomes what the format's standard says."""
    from harness.reference.elements import Reference

    target = problem.dtype.storage
    return Reference({"y": _rounded(problem, target, problem.inputs["x"])})


def _round_trip_reference(problem: ExactProblem) -> Reference:
    """Round each number once to the format in between, and once back: x itself where that holds it."""
    from harness.formats import round_array
    from harness.reference.elements import Reference

    between = FORMATS[str(problem.parameters["through"])]
    x = round_array(between, _held(between, problem.inputs["x"]))
    return Reference({"y": _rounded(problem, problem.dtype.storage, x)})


def _rounded(problem: ExactProblem, fmt: NumberFormat, x: NDArray[np.float64]) -> Any:
    from harness.formats import round_array
    from harness.reference.elements import ReferenceArray

    return correct_rounding.rounded_once(fmt, round_array(fmt, _held(fmt, x)), ReferenceArray.from_float64(x))


def _held(fmt: NumberFormat, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `x`, or raise where no standard says what a NaN becomes."""
    import numpy as np

    if not fmt.nans and np.isnan(x).any():
        raise InputError(f"{fmt.name} has no NaN, and what one becomes is not defined", "leave NaN out")
    return x


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return no arithmetic, one read in the format of the input and one write."""
    size = math.prod(shapes["x"])
    source = FORMATS[str(parameters["source"])].storage_bits // 8 if "source" in parameters else itemsize
    return Cost(0, size * (source + itemsize))


register_operation(
    Operation(
        name="convert",
        title="Conversion between formats",
        formula="y = x, held in `source`, rounded once to the dtype",
        inputs={"x": "any shape"},
        outputs=("y",),
        dtypes=("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"),
        reference=_reference,
        reference_version=1,
        bound_formula=correct_rounding.FORMULA,
        bound_source=correct_rounding.SOURCE,
        bound=correct_rounding.bound,
        parameters={"source": Parameter(None, "format of x", choices=tuple(FORMATS))},
        storage={"x": "source"},
        cost=cost,
        elementwise=True,
        signed_zero=True,
    )
)

register_operation(
    Operation(
        name="round_trip",
        title="Conversion to another format and back",
        formula="y = x, rounded once to `through`, and once back to the dtype",
        inputs={"x": "any shape"},
        outputs=("y",),
        dtypes=("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"),
        reference=_round_trip_reference,
        reference_version=1,
        bound_formula=correct_rounding.FORMULA,
        bound_source=correct_rounding.SOURCE,
        bound=correct_rounding.bound,
        parameters={"through": Parameter(None, "format in between", choices=tuple(FORMATS))},
        cost=cost,
        elementwise=True,
        signed_zero=True,
    )
)


@formulation("convert", "cast", title="The library's own cast", needs=(), compute=IN_DTYPE)
def cast(xp: Any, x: Any, source: str) -> Thunk:
    """Return x.astype(dtype)."""

    def thunk() -> Any:
        return xp.astype(x, xp.dtype.name)

    return thunk


@formulation(
    "convert",
    "through_float32",
    title="To float32, and from there to the dtype: rounds twice",
    needs=(),
    compute=NARROWER_THAN_SINGLE,
)
def through_float32(xp: Any, x: Any, source: str) -> Thunk:
    """Return the cast of a cast: wrong where float32 rounds a number to the midpoint of two others."""
    single = xp.cast_namespace("float32")

    def thunk() -> Any:
        return single.astype(xp.astype(x, "float32"), xp.dtype.name)

    return thunk


@formulation(
    "convert",
    "round_then_cast",
    title="Rounded to the dtype's grid in float64, then cast, which is exact",
    needs=(),
    compute=NARROWER_THAN_DOUBLE,
)
def round_then_cast(xp: Any, x: Any, source: str) -> Thunk:
    """Return x rounded once, on a backend whose float64 rounds to nearest even, whatever its casts do.

    (x + c) − c with c = 1.5·2⁵²·q rounds |x| ≤ 2⁵⁰·q to a multiple of q, ties to even, for c/q is even and
    the sum stays in c's binade. q is the spacing of the dtype at x: 2^(1−p)·max(ufp(x), 2^e_min), with the
    unit in the first place of Rump, Error estimation of floating-point summation and dot product, BIT 52,
    2012: q₀ = φ·x, ufp = |q₀ − (1 − u)·q₀|, φ = 2⁵² + 1. Sizes beyond 4Ω count as 4Ω there.
    What is cast is a number of the dtype, or one of at least Ω + ulp(Ω), which overflows whatever its tie.
    """
    wide = xp.cast_namespace("float64")
    fmt = xp.dtype.storage
    factor, rest = wide.scalar(2**52 + 1), wide.scalar(1 - power_of_two(-53))
    beyond, normal = wide.scalar(4 * fmt.max_finite), wide.scalar(fmt.min_normal)
    scale = wide.scalar(3 * power_of_two(51 - fmt.mantissa_bits))
    zero, least = wide.scalar(0), wide.scalar(fmt.min_subnormal)

    def thunk() -> Any:
        v = xp.astype(x, "float64")
        scaled = wide.multiply(factor, wide.minimum(wide.abs(v), beyond))
        first = wide.abs(wide.subtract(scaled, wide.multiply(rest, scaled)))
        c = wide.multiply(scale, wide.maximum(first, normal))
        y = wide.subtract(wide.add(v, c), c)
        y = wide.where(wide.equal(y, zero), wide.multiply(v, zero), y)
        if not fmt.zero:
            y = wide.where(wide.logical_and(wide.greater(v, zero), wide.less(y, least)), least, y)
        return wide.astype(y, xp.dtype.name)

    return thunk


@formulation("round_trip", "cast", title="The library's own casts", needs=(), compute=IN_DTYPE)
def there_and_back(xp: Any, x: Any, through: str) -> Thunk:
    """Return x.astype(through).astype(dtype)."""
    between = xp.cast_namespace(through)

    def thunk() -> Any:
        return between.astype(xp.astype(x, through), xp.dtype.name)

    return thunk
