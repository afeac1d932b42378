"""The most likely probability of heads, given flips of a coin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.model import Written
from harness.operations import minimisation
from harness.operations.definition import RUNNING, operation
from harness.registry import Cost, ExactProblem, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def definition(xp: Any, flips: Any) -> Any:
    """The mean: where (h/p) − (n − h)/(1 − p) is 0."""
    return xp.mean(flips)


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of p·(8u + (n − 1)·u_acc) + ω.

    A sum of n flips, and then the mean by a division, or the root of the derivative by the sign of
    h(1 − p) − (n − h)p: both terms are h(1 − p) there, each within 3u, so that the root is off by
    6u·p(1 − p) at most, and by 2u·p for the last bracket.
    """
    import numpy as np

    x = problem.inputs["flips"]
    relative = 8 * precision.u_out + (x.size - 1) * precision.u_acc
    return {"p": np.log2(np.mean(x) * relative + float(precision.format.min_subnormal))}


def check(problem: ExactProblem) -> None:
    """Refuse what is no vector of zeros and ones."""
    x = problem.inputs["flips"]
    if x.ndim != 1 or x.size == 0:
        raise InputError(f"flips have shape {list(x.shape)}; allowed is (n,), n from 1")
    if not ((x == 0) | (x == 1)).all():
        raise InputError(f"flips hold {x[(x != 0) & (x != 1)][0]!r}; allowed are 0 and 1")


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return the n operations of the mean, whatever a formulation spends."""
    (n,) = shapes["flips"]
    return Cost(n, (n + 1) * itemsize)


operation(
    name="mle_bernoulli",
    title="Maximum likelihood of a Bernoulli probability",
    formula="p = argmax Σ x_i ln p + (1 − x_i) ln(1 − p) = mean of x",
    inputs={"flips": "(n,): 0 or 1"},
    outputs=("p",),
    definition=definition,
    bound=bound,
    bound_formula="p·(8u + (n − 1)·u_acc) + ω",
    source=f"{minimisation.SOURCE}; {RUNNING}",
    check=check,
    cost=cost,
)


@formulation("mle_bernoulli", "closed_form", title="mean of the flips", needs=("sum",))
def closed_form(xp: Any, flips: Any) -> Callable[[], Any]:
    """Return the mean."""
    return lambda: xp.mean(flips)


@formulation(
    "mle_bernoulli",
    "golden_section",
    title="minimum of −ℓ(p)/n by golden section",
    needs=("elementwise", "sum"),
)
def golden_section(xp: Any, flips: Any) -> Callable[[], Any]:
    """Compare values of the negative log-likelihood: good to √u."""
    one = xp.scalar(1)
    steps = minimisation.golden_steps(float(xp.dtype.storage.unit_roundoff))

    def thunk() -> Any:
        share = xp.mean(flips)
        rest = xp.subtract(one, share)

        def negative(p: Any) -> Any:
            heads, tails = xp.log(p), xp.log1p(xp.negative(p))
            return xp.negative(xp.add(xp.multiply(share, heads), xp.multiply(rest, tails)))

        return minimisation.golden_section(xp, negative, xp.scalar(0), one, steps)

    return thunk


@formulation("mle_bernoulli", "score_root", title="root of ∂ℓ/∂p by bisection", needs=("elementwise", "sum"))
def score_root(xp: Any, flips: Any) -> Callable[[], Any]:
    """Bisect the sign of (n − h)p − h(1 − p), good to u; without heads it never is negative, and p is 0."""
    zero, one = xp.scalar(0), xp.scalar(1)
    steps = (
        xp.dtype.storage.precision + flips.shape[0].bit_length() + 2
    )  # a last bracket of u·p/4, p from 1/n

    def thunk() -> Any:
        share = xp.mean(flips)
        rest = xp.subtract(one, share)

        def slope(p: Any) -> Any:
            return xp.subtract(xp.multiply(rest, p), xp.multiply(share, xp.subtract(one, p)))

        found = minimisation.bisection(xp, slope, zero, one, steps)
        return found if bool(xp.less(slope(zero), zero)) else zero

    return thunk
