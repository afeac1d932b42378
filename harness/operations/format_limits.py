"""The limits of a number format, measured by probing instead of asked of the library.

After Malcolm, Algorithms to reveal properties of floating-point arithmetic, CACM 15 (1972), Gentleman and
Marovich, More on algorithms that reveal properties of floating point arithmetic units, CACM 17 (1974), and
Cody, MACHAR, ACM TOMS 14 (1988): powers of two by doubling and halving until they no longer are, then the
bits of the largest number one by one. A probe knows nothing of the format but that its radix is 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.formats import FORMATS, power_of_two
from harness.model import Written
from harness.operations import correct_rounding
from harness.registry import Cost, ExactProblem, Operation, Thunk, formulation, register_operation

if TYPE_CHECKING:
    from harness.reference.elements import Reference, ReferenceArray

OUTPUTS: Final = ("max", "min_normal", "min_subnormal", "eps", "overflow", "ties")

TIES: Final = ((1, 0, 1, 2), (1, 1, 1, 2), (-1, 0, -1, 2), (-1, -1, -1, 2), (1, 0, 3, 4), (1, 0, 1, 4))
"""Sums (a + b·eps) + c/d·eps that tell how to round, as (a, b, c, d).

To nearest even they are 1, 1 + 2eps, −1, −1 − 2eps, 1 + eps, 1. Ties away give 1 + eps and −1 − eps for the
first and third; toward zero 1 + eps for the second, and 1 for the fifth; up 1 + eps for the last; down
−1 − eps for the third and 1 for the fifth.
"""


def _reference(problem: ExactProblem) -> Reference:
    """Return what the format's row says; an overflow is 2Ω, which rounds to what the format has for it."""
    import numpy as np

    from harness.formats import round_objects
    from harness.reference.elements import Reference, ReferenceArray

    if problem.inputs["one"].tolist() != [1.0]:
        raise InputError("format_limits starts at 1: its input holds that one number", "write values: [1]")
    fmt = problem.dtype.storage
    eps = power_of_two(-fmt.mantissa_bits)
    exact = {"max": fmt.max_finite, "min_normal": fmt.min_normal, "eps": eps}
    exact["min_subnormal"] = fmt.min_subnormal
    exact["overflow"] = fmt.max_finite if fmt.overflow == "max" else 2 * fmt.max_finite
    outputs: dict[str, ReferenceArray] = {
        name: ReferenceArray.from_fractions([x], (1,)) for name, x in exact.items()
    }
    probes = np.empty(len(TIES), object)
    probes[:] = [a + b * eps + Fraction(c, d) * eps for a, b, c, d in TIES]
    outputs["ties"] = ReferenceArray.from_float64(round_objects(fmt, probes))
    return Reference({name: outputs[name] for name in OUTPUTS})


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return nothing: how long a probe takes says nothing."""
    return Cost(0, 0)


register_operation(
    Operation(
        name="format_limits",
        title="Limits of a format, measured",
        formula="Ω, smallest normal and subnormal number, eps = 2^(1−p), 2Ω, and sums half-way between two",
        inputs={"one": "(1,), the number 1"},
        outputs=OUTPUTS,
        dtypes=tuple(FORMATS),
        reference=_reference,
        reference_version=1,
        bound_formula=correct_rounding.FORMULA,
        bound_source=correct_rounding.SOURCE,
        bound=correct_rounding.bound,
        cost=cost,
    )
)


Keeps = Callable[[str, Any, Any], bool]
"""(`add` or `multiply`, x, y) → whether the exact result is a number of the format, found by computing it."""


@formulation("format_limits", "arithmetic", title="Doubling, halving and adding in the format itself")
def arithmetic(xp: Any, one: Any) -> Thunk:
    """Return what the format's own sums and products show: a result is exact if it can be undone."""

    def keeps(name: str, x: Any, y: Any) -> bool:
        if name == "add":
            result = xp.add(x, y)
            undone = xp.logical_and(xp.equal(xp.subtract(result, x), y), xp.greater(result, x))
        else:
            result = xp.multiply(x, y)
            undone = xp.equal(xp.divide(result, y), x)
        return bool(xp.all(xp.logical_and(undone, xp.isfinite(result))))

    def thunk() -> Any:
        largest, normal, smallest, eps = _limits(xp, one, keeps)
        doubled = xp.multiply(largest, xp.add(one, one))
        return largest, normal, smallest, eps, doubled, _ties(xp, one, eps)

    return thunk


@formulation(
    "format_limits",
    "conversion",
    title="Doubling, halving and adding in float64, cast there and back",
    needs=(),
    compute={name: "float64" for name, fmt in FORMATS.items() if fmt.precision < 53},
)
def conversion(xp: Any, one: Any) -> Thunk:
    """Return what casts from float64 show: a number is one of the format if it comes back."""
    wide = xp.cast_namespace("float64")
    narrow = xp.dtype.name

    def keeps(name: str, x: Any, y: Any) -> bool:
        result = getattr(wide, name)(x, y)
        back = xp.astype(wide.astype(result, narrow), "float64")
        kept = wide.logical_and(wide.equal(back, result), wide.isfinite(result))
        # float64 itself rounds a sum to x, or a product to 0, where the format has far more to give
        return bool(
            wide.all(wide.logical_and(kept, wide.greater(result, x if name == "add" else wide.scalar(0))))
        )

    def thunk() -> Any:
        start = xp.astype(one, "float64")
        largest, normal, smallest, eps = _limits(wide, start, keeps)
        doubled = wide.multiply(largest, wide.add(start, start))
        measured = (largest, normal, smallest, eps, doubled, _ties(wide, start, eps))
        return tuple(wide.astype(x, narrow) for x in measured)

    return thunk


def _limits(xp: Any, one: Any, keeps: Keeps) -> tuple[Any, Any, Any, Any]:
    """Return Ω, the smallest normal and the smallest subnormal number, and eps."""
    two = xp.add(one, one)
    half = xp.divide(one, two)
    eps = one
    while keeps("add", one, xp.multiply(eps, half)):
        eps = xp.multiply(eps, half)
    largest = one
    while keeps("multiply", largest, two):
        largest = xp.multiply(largest, two)
    step = xp.multiply(largest, half)
    while keeps("add", largest, step):
        largest, step = xp.add(largest, step), xp.multiply(step, half)
    normal, after = one, xp.add(one, eps)  # as long as both can be halved, p bits are left
    while keeps("multiply", normal, half) and keeps("multiply", after, half):
        normal, after = xp.multiply(normal, half), xp.multiply(after, half)
    smallest = normal
    while keeps("multiply", smallest, half):
        smallest = xp.multiply(smallest, half)
    return largest, normal, smallest, eps


def _ties(xp: Any, one: Any, eps: Any) -> Any:
    """Return the sums of `TIES`, rounded by the addition (in a wider format: exact)."""
    half = xp.divide(one, xp.add(one, one))
    part = xp.multiply(eps, half)
    quarter = xp.multiply(part, half)
    second = xp.add(one, eps)
    first = [one, second, xp.negative(one), xp.negative(second), one, one]
    added = [part, part, xp.negative(part), xp.negative(part), xp.add(part, quarter), quarter]
    return xp.add(xp.concat(first), xp.concat(added))
