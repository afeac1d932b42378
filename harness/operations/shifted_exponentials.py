"""What softmax, log-softmax and log-sum-exp share: rows, error terms, cost, the single-pass recurrence.

Error terms. With m the largest entry and g_i = m − x_i, a stable algorithm forms exp(−g_i) from a
subtraction (relative error u, which the exponential turns into u·g_i) and an exponential (at most
`EXP_ULP` units in the last place, each at most 2u). Their sum ŝ of at least 1 then has

    |ln ŝ/s| ≤ u·(2·EXP_ULP + G + 1) + (n−1)·u_acc − ln(1 − n·ω/2),   G = Σ p_j g_j ≤ min(max g, ln n)

by Jensen's inequality for the weighted g_j, Jeannerod and Rump (2013) for a sum in any order, one
rounding of the sum to the storage format, and ω/2 for each exponential that underflows gradually. A
running maximum with rescaling keeps to it: its factors telescope to the same exponent, and the
2·EXP_ULP + 2 roundings a tile are fewer than the tile's share of n. Blanchard, Higham and Higham
(2021, section 4) have max g where this has G and g_i, which tells more of long rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations.widening import at_least_single
from harness.registry import ExactProblem, Parameter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference, ReferenceArray

    Floats = NDArray[np.float64]

EXP_ULP: Final = 3
"""Accuracy asked of exp, in ulp: NumPy's float32 has 2.52 (numpy pull request 13134)."""
LOG_ULP: Final = 4
"""Accuracy asked of log, in ulp: NumPy's float32 has 3.83 (there)."""
SECOND_ORDER: Final = 1
"""Units of u that cover the products of two errors, for u up to 2**-8."""

DTYPES: Final = ("float64", "float32", "bfloat16", "float16")
INPUTS: Final[Mapping[str, str]] = {"x": "any shape, at least one entry along `axis`"}
PARAMETERS: Final[Mapping[str, Parameter]] = {
    "axis": Parameter(-1, "the axis that is normalised over", kind="integer")
}
SOURCE: Final = (
    "Blanchard, Higham & Higham, Accurately computing the log-sum-exp and softmax functions, "
    "IMA J. Numer. Anal. 41 (2021), section 4; sums: Jeannerod & Rump, SIAM J. Matrix Anal. Appl. 34 (2013)"
)

TILE: Final = 256
"""Entries that the single-pass formulations take at once: 65,536 are 256 rescalings."""


def axis_of(shape: tuple[int, ...], parameters: Mapping[str, Written]) -> int:
    """Return `axis` counted from 0.

    Raises
    ------
    InputError
        An axis that is no integer or that `x` has not, or one without entries.
    """
    axis = parameters["axis"]
    if isinstance(axis, (bool, str)) or axis != int(axis):
        raise InputError(f"axis is {axis!r}; allowed: an integer")
    dimensions = len(shape)
    if not -dimensions <= axis < dimensions:
        allowed = f"{-dimensions} to {dimensions - 1}" if dimensions else "none, for x is a scalar"
        raise InputError(f"axis is {axis}, and x has shape {list(shape)}; allowed: {allowed}")
    place = int(axis) % dimensions
    if shape[place] == 0:
        raise InputError(f"x has shape {list(shape)}: there is nothing along axis {axis} to normalise over")
    return place


def rows_and_length(shape: tuple[int, ...], parameters: Mapping[str, Written]) -> tuple[int, int]:
    """Return how many rows there are, and the entries of each."""
    import math

    n = shape[axis_of(shape, parameters)]
    return math.prod(shape) // n, n


def gaps(x: Floats, axis: int) -> Floats:
    """Return g = m − x, inf at −inf entries; inf throughout rows without a finite maximum."""
    import numpy as np

    largest = np.max(x, axis=axis, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        found = largest - x
    return np.where(np.isfinite(x) & np.isfinite(largest), found, np.inf)


def row_quantities(x: Floats, axis: int) -> dict[str, Floats]:
    """Return G, ln s and n of each row, in the shape of `x` with 1 along `axis`, to a relative 1e-12.

    Sums of float64 exponentials: they weigh error terms, so their own rounding does not matter.
    """
    import numpy as np

    distance = gaps(x, axis)
    weight = np.exp(-distance)
    total = np.maximum(weight.sum(axis=axis, keepdims=True), 1.0)
    moment = np.where(weight > 0, weight * np.where(weight > 0, distance, 0.0), 0.0)
    return {
        "mean_gap": moment.sum(axis=axis, keepdims=True) / total,
        "log_sum": np.log(total),
        "terms": np.isfinite(x).sum(axis=axis, keepdims=True).astype(np.float64),
    }


def sum_error(reference: Reference, precision: Precision) -> Floats:
    """Return the bound on |ln ŝ/s| of each row (module's formula), in the shape of the quantities."""
    import numpy as np

    q = reference.quantities
    n = np.asarray(q["terms"])
    lost = np.minimum(n * float(precision.format.min_subnormal) / 2, 1.0)
    roundings = 2 * EXP_ULP + 1 + SECOND_ORDER + np.asarray(q["mean_gap"])
    with np.errstate(divide="ignore"):
        underflow = -np.log1p(-lost)
    return np.asarray(precision.u_out * roundings + np.maximum(n - 1, 0) * precision.u_acc + underflow)


def magnitude(elements: ReferenceArray) -> Floats:
    """Return |y| as float64: 0 where it is no number, inf beyond the range."""
    import numpy as np

    with np.errstate(over="ignore"):
        return np.asarray(np.exp2(np.nan_to_num(elements.log2_abs(), nan=-np.inf, posinf=-np.inf)))


def log2(bound: Floats) -> Floats:
    """Return log2 of a bound; −inf where no error is allowed."""
    import numpy as np

    with np.errstate(divide="ignore"):
        return np.asarray(np.log2(bound))


def largest(condition: Floats) -> dict[str, float]:
    """Return the largest of the condition numbers that are numbers, as a quantity; none, no quantity."""
    import numpy as np

    numbers = condition[~np.isnan(condition)]
    return {"condition": float(numbers.max())} if numbers.size else {}


def share_condition(x: Floats, p: Floats, rest: Floats, axis: int) -> Floats:
    """Return Σ_j |x_j ∂ ln p_i/∂x_j| = |x_i|(1 − p_i) + Σ_{j≠i} |x_j| p_j; NaN where p is none or x_i = −inf.

    The componentwise condition number of p_i, and of log p_i once divided by |log p_i|. `rest` is 1 − p. The
    largest term of a row is left out of the sum beside it, not subtracted: nothing cancels.
    """
    import numpy as np

    size = np.where(np.isfinite(x), np.abs(x), 0.0)
    terms = size * p
    largest = np.argmax(terms, axis=axis, keepdims=True)
    without = terms.copy()
    np.put_along_axis(without, largest, 0.0, axis)
    others = np.sum(terms, axis=axis, keepdims=True) - terms
    np.put_along_axis(others, largest, np.sum(without, axis=axis, keepdims=True), axis)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(x), size * rest + np.maximum(others, 0.0), np.nan)


def exact_input(problem: ExactProblem) -> tuple[Floats, int]:
    """Return x, and its axis counted from 0."""
    x = problem.inputs["x"]
    return x, axis_of(x.shape, problem.parameters)


def running_maximum_and_sum(xp: Any, x: Any, axis: int, anchor: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return (m, s) in one pass over `x`: the maximum so far, and the sum of exponentials rescaled to it.

    Milakov and Gimelshein (2018), Algorithm 3, a tile of `TILE` entries at a time and all rows at once.
    Entries are relative to `anchor(m)`, a finite stand-in where m is not. No gradient flows through m: s
    scaled by exp(m) does not depend on it.
    """
    m = s = None
    for start in range(0, x.shape[axis], TILE):
        tile = x[(slice(None),) * axis + (slice(start, start + TILE),)]
        largest = xp.max(tile, axis=axis, keepdims=True)
        top = xp.detach(largest if m is None else xp.maximum(m, largest))
        origin = anchor(top)
        part = xp.sum(xp.exp(xp.subtract(tile, origin)), axis=axis, keepdims=True)
        s = part if s is None else xp.add(xp.multiply(s, xp.exp(xp.subtract(m, origin))), part)
        m = top
    return m, s


def online_normaliser(xp: Any, x: Any, axis: int) -> tuple[Any, Any, Any, Any]:
    """Return (wide, values, m, s): the namespace and values computed in, and their running maximum and sum.

    Entries are relative to 0 while nothing but −inf was seen: −inf − (−inf) would be NaN.
    """
    wide, values = at_least_single(xp, x)
    zero, lowest = wide.scalar(0), wide.scalar("-inf")
    m, s = running_maximum_and_sum(
        wide, values, axis, lambda top: wide.where(wide.equal(top, lowest), zero, top)
    )
    return wide, values, m, s
