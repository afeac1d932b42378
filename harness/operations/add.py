"""Sum of two numbers, element by element: exact, then rounded once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from harness.formats import FORMATS, is_finite
from harness.model import Written
from harness.operations import correct_rounding
from harness.operations.definition import require_one_shape
from harness.registry import Cost, ExactProblem, Operation, Thunk, formulation, register_operation

if TYPE_CHECKING:
    from harness.reference.elements import Reference

NARROW: Final = {n: "float32" for n, f in FORMATS.items() if 2 * f.precision + 2 <= 24}
"""Formats whose sums may be rounded to float32 first (see `through_float32`)."""


def _reference(problem: ExactProblem) -> Reference:
    """Add exact rationals; sums of infinities, NaN and zeros are those of IEEE 754-2019, 6.1 to 6.3."""
    import numpy as np

    from harness.formats import round_objects
    from harness.reference.elements import FINITE, Reference, ReferenceArray

    x, y = problem.inputs["x"], problem.inputs["y"]
    require_one_shape(problem)
    sums = [_sum(a, b) for a, b in zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)]
    exact = ReferenceArray.from_float64(np.array([v if isinstance(v, float) else 1.0 for v in sums]))
    finite = exact.kind == FINITE
    rationals = [v for v in sums if isinstance(v, Fraction)]
    exact.assign(finite, ReferenceArray.from_fractions(rationals, (len(rationals),)))
    objects = np.empty(len(sums), object)
    objects[:] = sums
    fmt = problem.dtype.storage
    rounded = correct_rounding.rounded_once(fmt, round_objects(fmt, objects), exact)
    return Reference({"s": rounded.reshape(x.shape)})


def _sum(a: float, b: float) -> Fraction | float:
    """Return a + b: a Fraction that is not 0, or ±inf, NaN or a signed zero as a float."""
    total = Fraction(a) + Fraction(b) if is_finite(a) and is_finite(b) else Fraction(0)
    return total or a + b


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return one addition an element, two reads and one write."""
    size = math.prod(shapes["x"])
    return Cost(size, 3 * size * itemsize)


register_operation(
    Operation(
        name="add",
        title="Sum of two numbers",
        formula="s = x + y, rounded once to the dtype",
        inputs={"x": "any shape", "y": "that of x"},
        outputs=("s",),
        dtypes=("float64", "float32", "bfloat16", "float16"),
        reference=_reference,
        reference_version=1,
        bound_formula=correct_rounding.FORMULA,
        bound_source=correct_rounding.SOURCE,
        bound=correct_rounding.bound,
        cost=cost,
        elementwise=True,
        signed_zero=True,
    )
)


@formulation("add", "direct", title="x + y in the dtype")
def direct(xp: Any, x: Any, y: Any) -> Thunk:
    """Return the library's own sum."""

    def thunk() -> Any:
        return xp.add(x, y)

    return thunk


@formulation("add", "through_float32", title="Added in float32, cast to the dtype", needs=(), compute=NARROW)
def through_float32(xp: Any, x: Any, y: Any) -> Thunk:
    """Return the float32 sum, cast: still correctly rounded, for 24 ≥ 2p + 2.

    Figueroa, When is double rounding innocuous?, SIGNUM Newsletter 30, 1995. The formats that have no
    arithmetic of their own are computed so.
    """
    single = xp.cast_namespace("float32")

    def thunk() -> Any:
        return single.astype(single.add(xp.astype(x, "float32"), xp.astype(y, "float32")), xp.dtype.name)

    return thunk
