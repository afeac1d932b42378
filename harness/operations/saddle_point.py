"""Probabilities of counts by Loader's saddle-point expansion: what binomial and Poisson pmf share.

    k! = √(2πk)·(k/e)^k·e^δ(k),    δ(k) = 1/(12k) − 1/(360k³) + …
    D(k, m) = k·ln(k/m) + m − k,   the deviance of a count k from its expectation m

Where lgamma's differences cancel numbers of size n ln n, these are as small as the logarithm of the
probability itself: its absolute error does not grow with n (Loader, Fast and Accurate Computation of Binomial
Probabilities, 2000). Functions of namespaces only, so that formulations, error analysis and tapes take them
alike.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.registry import ExactProblem

SOURCE: Final = "C. Loader, Fast and Accurate Computation of Binomial Probabilities, 2000"
SMALL: Final = tuple(
    map(
        Decimal,
        (
            "0.0810614667953272582196703",
            "0.0413406959554092940938221",
            "0.0276779256849983391487893",
            "0.0207906721037650931115228",
            "0.0166446911898211921631949",
            "0.0138761288230707479987457",
            "0.0118967099458917700950557",
            "0.0104112652619720964974786",
            "0.00925546218271273291772864",
            "0.00833056343336287125646932",
            "0.00757367548795184079497202",
            "0.00694284010720952986566415",
            "0.00640899418800420706843963",
            "0.00595137011275884773562442",
            "0.00555473355196280137103869",
        ),
    )
)
"""δ(1) to δ(15)."""
SERIES: Final = (*tuple(Fraction(1, d) for d in (12, 360, 1260, 1680, 1188)), Fraction(691, 360360))
"""Of alternating signs, of 1/k, 1/k³, …: what is left out is 1.4·10⁻¹⁸ at 16, an eightieth of float64's u."""
TERMS: Final = 8
"""Of the deviance's series, whose rest is 10⁻¹⁸ of it where |k − m| = (k + m)/10."""


def stirling_error(xp: Any, k: Any) -> Any:
    """Return δ(k) for integers k ≥ 1: 15 known numbers, and the series beyond."""
    r = xp.divide(xp.scalar(1), k)
    square = xp.square(r)
    tail = xp.scalar(SERIES[-1])
    for coefficient in SERIES[-2::-1]:
        tail = xp.subtract(xp.scalar(coefficient), xp.multiply(square, tail))
    found = xp.multiply(r, tail)
    for i, number in enumerate(SMALL, start=1):
        found = xp.where(xp.equal(k, xp.scalar(i)), xp.scalar(number), found)
    return found


def deviance(xp: Any, k: Any, m: Any) -> Any:
    """Return D(k, m) for k > 0: near m by a series in v = (k − m)/(k + m).

    Its terms have one sign for k > m; for k < m those after the first take a thirtieth of it away at most.

    The quotient is taken as m/k, which may underflow where m is tiny but never overflows.
    """
    difference, total = xp.subtract(k, m), xp.add(k, m)
    v = xp.divide(difference, total)
    square = xp.square(v)
    near = xp.multiply(difference, v)
    term = xp.multiply(xp.multiply(xp.scalar(2), k), v)
    for j in range(1, TERMS + 1):
        term = xp.multiply(term, square)
        near = xp.add(near, xp.divide(term, xp.scalar(2 * j + 1)))
    far = xp.negative(xp.add(xp.multiply(k, xp.log(xp.divide(m, k))), difference))
    return xp.where(xp.less(xp.abs(v), xp.scalar(Fraction(1, 10))), near, far)


def check_counts(problem: ExactProblem, counts: NDArray[np.float64], most: float) -> None:
    """Refuse what is no integer from 0 to `most`, or beyond the integers that the format holds with 1 added.

    Raises
    ------
    InputError
        If a count is none.
    """
    import numpy as np

    limit = 2.0**problem.dtype.storage.precision
    good = np.isfinite(counts) & (counts == np.rint(counts)) & (counts >= 0) & (counts <= most)
    if not good.all():
        shown = "integers from 0" + (f" to {most:.0f}" if np.isfinite(most) else "")
        raise InputError(f"k holds {counts[~good].flat[0]!r}; allowed are {shown}")
    top = most if np.isfinite(most) else float(counts.max(initial=0))
    if top >= limit:
        raise InputError(
            f"counts up to {top:.0f} are not all numbers of {problem.dtype.name}",
            f"stay below {limit:.0f}, or use a wider dtype",
        )


def check_interior(problem: ExactProblem, name: str, low: float, high: float) -> None:
    """Refuse a parameter outside [low, high], and its ends where a gradient is asked for.

    Raises
    ------
    InputError
        If there is one.
    """
    import numpy as np

    x = problem.inputs[name]
    inside = (x > low) & (x < high) if problem.with_respect_to else (x >= low) & (x <= high)
    inside &= np.isfinite(x)
    if not inside.all():
        ends = "strictly between" if problem.with_respect_to else "from"
        upper = (
            f"{'and' if problem.with_respect_to else 'to'} {high:g}" if np.isfinite(high) else "on, finite"
        )
        raise InputError(f"{name} holds {x[~inside].flat[0]!r}; allowed are numbers {ends} {low:g} {upper}")
