"""Operations whose only right result is the exact one rounded once: reference, and what any other costs.

A correctly rounded number is a number of the format, so that nothing needs to be forgiven. The bound is a
quarter of its unit in the last place: two numbers of a format lie at least half of one apart (below a power
of two), so that error / bound is 0 for the one right result and at least 2 for any other, a tie that was
resolved to the wrong side included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from harness.registry import ExactProblem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import NumberFormat, Precision
    from harness.reference.elements import Reference, ReferenceArray

FORMULA: Final = "a quarter of the unit in the last place of the correctly rounded result: any other fails"
SOURCE: Final = (
    "IEEE 754-2019, 4.3.1 (to nearest, ties to even) and 7.4 (overflow); for formats without infinities the "
    "OCP 8-bit Floating Point Specification 1.0 (without saturation) and OCP Microscaling Formats 1.0"
)


def rounded_once(fmt: NumberFormat, rounded: NDArray[np.float64], exact: ReferenceArray) -> ReferenceArray:
    """Return the correctly rounded numbers as elements that are known exactly.

    Parameters
    ----------
    fmt : NumberFormat
        What was rounded to.
    rounded : float64 array
        The exact numbers, rounded once to `fmt`.
    exact : ReferenceArray of that shape
        The numbers before. Where a finite one overflows, it stays as it is: it rounds to what the format
        has for it, and a computed Ω is told from a number that never was one (`saturated`).
    """
    import numpy as np

    from harness.reference.elements import FINITE, ReferenceArray

    elements = ReferenceArray.from_float64(rounded)
    overflowed = (exact.kind == FINITE) & ~np.isfinite(rounded) & (fmt.signed | (exact.hi > 0))
    if overflowed.any():
        elements.assign(overflowed, exact[overflowed])
    return elements


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of ulp(y)/4 for each element of each output."""
    import numpy as np

    quarter = {name: y.ulp_exponent(precision.format) - 2 for name, y in reference.outputs.items()}
    return {name: np.asarray(exponent, np.float64) for name, exponent in quarter.items()}
