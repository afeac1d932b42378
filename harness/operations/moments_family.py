"""What sums, means, variances and covariances share: ways of adding up, and the error that they may have.

Sums. Where every term passes through at most h additions, each off by a factor 1 + δ, |δ| ≤ u, the error of
Σx is at most ((1 + u)^h − 1)·Σ|x| (Higham 2002, section 4.2), and at most (n − 1)·u·Σ|x| in any order
(Jeannerod & Rump 2013, theorem 3.1). Added in pairs h is ⌈log₂n⌉; libraries stop at blocks, NumPy at 128
terms in 8 lanes of at most 16 and a rest of at most 7 (its `pairwise_sum`), which makes h = ⌈log₂n⌉ + `LEAF`.
That is what is asked here: of one after another it is not true, and ones stop at n = 1/u.

Two passes. With m̂ = m + δ for the mean, Σ(x − m̂)² is Σ(x − m)² + nδ², exactly, for deviations from m have
the sum 0: an error of the mean enters by its square (Chan, Golub & LeVeque 1983, section 3). Each deviation
is rounded once, its square once more, their sum h times in the accumulator and once to the format, n − ddof,
which the format may not hold, and the quotient once each:

    |V̂ − V| ≤ (((1 + u)⁷(1 + u_acc)^h − 1)·(S + nδ²) + nδ²)/(n − ddof),   S = Σ(x − m)²

and for two columns likewise, with Σ|x − m̂||y − m̂| for S + nδ² and δ_x δ_y for δ².
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from harness.errors import InputError
from harness.model import Condition, Written
from harness.registry import Cost, ExactProblem, Parameter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision

    Floats = NDArray[np.float64]

LEAF: Final = 18
"""Additions in a block of 128 beyond the 7 of a tree: 15 in a lane, 3 that join lanes, 7 of the rest."""
SLACK: Final = 1 + 2.0**-30
"""For the float64 arithmetic that evaluates a bound."""

AXIS: Final = Parameter(-1, "the axis that is reduced", kind="integer")
LAYOUT: Final = Parameter("C", "order of the input in memory: rows (C) or columns (F) together", ("C", "F"))
DDOF: Final = Parameter(
    0, "what is subtracted from n in the divisor", kind="integer", within=Condition(at_least=0)
)
PARAMETERS: Final[Mapping[str, Parameter]] = {"axis": AXIS, "layout": LAYOUT}
WITH_DDOF: Final[Mapping[str, Parameter]] = {**PARAMETERS, "ddof": DDOF}
INPUTS: Final[Mapping[str, str]] = {"x": "any shape, at least one entry along `axis`"}

SUMS: Final = (
    "Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. 2002, section 4.2; "
    "Jeannerod & Rump, SIAM J. Matrix Anal. Appl. 34 (2013), theorem 3.1"
)
TWO_PASS: Final = (
    "Chan, Golub & LeVeque, Algorithms for computing the sample variance, Amer. Statist. 37 (1983), "
    f"section 3; sums: {SUMS}"
)
IN_DTYPE: Final[Mapping[str, str]] = {n: n for n in ("float64", "float32", "bfloat16", "float16")}
"""Formulations that round every partial sum to the dtype."""
WIDER: Final[Mapping[str, str]] = {"float32": "float64", "bfloat16": "float64", "float16": "float64"}
"""Formulations with an accumulator of float64; float64 itself has no wider one."""


def axis_of(shape: tuple[int, ...], parameters: Mapping[str, Written]) -> int:
    """Return `axis` counted from 0.

    Raises
    ------
    InputError
        An axis that `x` has not, or fewer entries along it than the divisor n − ddof needs.
    """
    axis, dimensions = int(parameters["axis"]), len(shape)
    if not -dimensions <= axis < dimensions:
        allowed = f"{-dimensions} to {dimensions - 1}" if dimensions else "none, for x is a scalar"
        raise InputError(f"axis is {axis}, and x has shape {list(shape)}; allowed: {allowed}")
    place, ddof = axis % dimensions, int(parameters.get("ddof", 0))
    if shape[place] <= ddof:
        raise InputError(f"x has {shape[place]} entries along axis {axis}; at least {ddof + 1} are needed")
    return place


def check(problem: ExactProblem) -> None:
    """Raise InputError if there is nothing to be reduced along `axis`."""
    axis_of(problem.inputs["x"].shape, problem.parameters)


def cost(flops: int) -> Callable[[Mapping[str, tuple[int, ...]], Mapping[str, Written], int], Cost]:
    """Return the cost of a reduction with so many flops an element: one read, and one write a row."""

    def counted(
        shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int
    ) -> Cost:
        size, n = math.prod(shapes["x"]), shapes["x"][axis_of(shapes["x"], parameters)]
        return Cost(flops * size, (size + size // n) * itemsize)

    return counted


def laid_out(xp: Any, x: Any, layout: str) -> Any:
    """Return x with that order in memory."""
    return x if layout == "C" else xp.arrange(x, layout)


def at(axis: int, part: Any) -> tuple[Any, ...]:
    """Return the index that takes `part` along an axis counted from 0."""
    return (slice(None),) * axis + (part,)


def sequential_sum(xp: Any, x: Any, axis: int) -> Any:
    """Return ((x₁ + x₂) + x₃) + … along an axis, each a call of the library: about a microsecond."""
    place = axis % x.ndim
    total = x[at(place, 0)]
    for i in range(1, x.shape[place]):
        total = xp.add(total, x[at(place, i)])
    return total


def pairwise_sum(xp: Any, x: Any, axis: int) -> Any:
    """Return the sum by halving, along a tree of height ⌈log₂n⌉."""
    place = axis % x.ndim
    while (n := x.shape[place]) > 1:
        half = n // 2
        sums = xp.add(x[at(place, slice(0, half))], x[at(place, slice(half, 2 * half))])
        x = xp.concat([sums, x[at(place, slice(2 * half, n))]], axis=place) if n % 2 else sums
    return x[at(place, 0)]


def compensated_sum(xp: Any, x: Any, axis: int) -> Any:
    """Return the sum with the rounding errors of its additions added back: Sum2, along a tree.

    Ogita, Rump & Oishi 2005, algorithm 4.4, with Knuth's TwoSum; error ≤ u|s| + O(u²·log²n)·Σ|x|. Kahan's and
    Neumaier's loops do the same one after another. No gradient flows through the errors, which are 0 to it.
    """
    place = axis % x.ndim
    errors = None
    while (n := x.shape[place]) > 1:
        half = n // 2
        first, second, odd = (at(place, slice(*s)) for s in ((0, half), (half, 2 * half), (2 * half, n)))
        a, b = x[first], x[second]
        sums = xp.add(a, b)
        virtual = xp.subtract(sums, a)
        lost = xp.add(xp.subtract(a, xp.subtract(sums, virtual)), xp.subtract(b, virtual))
        lost = xp.detach(lost)
        kept = lost if errors is None else xp.add(xp.add(errors[first], errors[second]), lost)
        if n % 2:
            rest = xp.detach(xp.zeros_like(x[odd])) if errors is None else errors[odd]
            sums, kept = xp.concat([sums, x[odd]], axis=place), xp.concat([kept, rest], axis=place)
        x, errors = sums, kept
    return x[at(place, 0)] if errors is None else xp.add(x[at(place, 0)], errors[at(place, 0)])


def height(n: int) -> int:
    """Return how many additions a term passes through in a blocked sum of n terms."""
    return max(0, min(n - 1, (n - 1).bit_length() + LEAF))


def growth(roundings: float, u: float) -> float:
    """Return (1 + u)^roundings − 1."""
    return math.expm1(roundings * math.log1p(u))


def accumulated(n: int, precision: Precision) -> float:
    """Return the relative error, against Σ|x|, of a sum of n terms in the accumulator."""
    return min(growth(height(n), precision.u_acc), max(n - 1, 0) * precision.u_acc)


class Centred(NamedTuple):
    """Data less their mean, to float64's accuracy, and how far off a computed mean may be; axes are kept."""

    deviation: Floats
    mean: Floats
    mean_error: Floats


def mean_error(mean: Floats, size: Floats, n: int, precision: Precision) -> Floats:
    """Return the error of a mean with Σ|x|/n = `size`: sum, its rounding, that of n, the quotient."""
    import numpy as np

    outside = growth(4, precision.u_out)
    found = accumulated(n, precision) * (1 + outside) * size + outside * np.abs(mean)
    return np.asarray((found + float(precision.format.min_subnormal)) * SLACK)


def centred(x: Floats, axis: int, precision: Precision) -> Centred:
    """Return x − m with m in two parts, so that it holds where m is 10¹⁵ times as large."""
    import numpy as np

    n = x.shape[axis]
    with np.errstate(all="ignore"):
        high = np.sum(x / n, axis=axis, keepdims=True)
        first = x - high
        low = np.mean(first, axis=axis, keepdims=True)
        size = np.sum(np.abs(x) / n, axis=axis, keepdims=True)
        return Centred(first - low, high + low, mean_error(high + low, size, n, precision))


def variance_error(x: Floats, axis: int, ddof: int, precision: Precision) -> tuple[Floats, Floats]:
    """Return (V, the error of two passes), without the axis; not finite where V is beyond float64."""
    import numpy as np

    n, u = x.shape[axis], precision.u_out
    d, _, delta = centred(x, axis, precision)
    with np.errstate(all="ignore"):
        spread, square = np.mean(d * d, axis=axis), np.squeeze(delta, axis=axis) ** 2
        relative = (1 + growth(7, u)) * (1 + growth(height(n), precision.u_acc)) - 1
        tiny = 2 * float(precision.format.min_subnormal)
        error = (relative * (spread + square) + square + tiny) * (n / (n - ddof)) + tiny
        return np.asarray(spread * (n / (n - ddof))), np.asarray(error * SLACK)


def log2(bound: Floats) -> Floats:
    """Return log2 of a bound; −inf, nothing to be forgiven, where it is no number."""
    import numpy as np

    with np.errstate(divide="ignore"):
        return np.asarray(np.log2(np.where(np.isfinite(bound), bound, 0.0)))


def covariance_error(x: Floats, ddof: int, precision: Precision) -> tuple[Floats, Floats]:
    """Return (C, the error of two passes) of the columns of x; products are added in any order."""
    import numpy as np

    n, u = x.shape[0], precision.u_out
    d, _, delta = centred(x, 0, precision)
    with np.errstate(all="ignore"):
        relative = (1 + growth(6, u)) * (1 + n * precision.u_acc) - 1
        size, of_means = np.abs(d) + delta, n * delta * delta.T
        tiny = 2 * float(precision.format.min_subnormal)
        error = (relative * (size.T @ size) + of_means + n * tiny) / (n - ddof) + tiny
        return np.asarray((d.T @ d) / (n - ddof)), np.asarray(error * SLACK)


def gradient_error(x: Floats, axis: int, factor: Floats, grown: Floats, precision: Precision) -> Floats:
    """Return the error of c·(x − m), as automatic differentiation has it: c·(d̂ − mean of d̂), d̂ = x − m̂.

    d̂ is off by Δ = δ + u·(|d| + δ); its mean, 0, comes out as at most the mean of Δ and what its
    sum is off by. `factor` is c, of which ĉ is at most `grown` times as large; eight roundings, ω each.
    """
    import numpy as np

    n, u, tiny = x.shape[axis], precision.u_out, float(precision.format.min_subnormal)
    d, _, delta = centred(x, axis, precision)
    with np.errstate(all="ignore"):
        off = delta + u * (np.abs(d) + delta)
        size = np.abs(d) + off
        within = accumulated(n, precision) * (1 + growth(4, u)) * np.mean(size, axis=axis, keepdims=True)
        mean = np.mean(off, axis=axis, keepdims=True) + within
        largest = grown * (1 + growth(8, u))
        relative = (largest - 1) * np.abs(d) + largest * (off + mean)
        return np.asarray((np.abs(factor) * relative + tiny * (8 + size + mean)) * SLACK)
