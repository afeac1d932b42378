"""The most likely mean and variance, given normal data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.model import Written
from harness.operations import minimisation
from harness.operations.definition import operation
from harness.registry import Cost, ExactProblem, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def definition(xp: Any, x: Any) -> Any:
    """The mean, and the mean squared distance from it: n in the denominator, not n − 1."""
    mean = xp.mean(x)
    centred = x - mean
    return mean, xp.mean(centred * centred)


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the bounds on mean and variance.

    Mean: δ = (2n·u_acc + 6u)·mean|x| + ω. A sum in any order and a division are within half of it. Of the
    score Σ (m − x) each term is off by u·|m − x|, and their sum by (n − 1)·u_acc·Σ|m − x|: its sign is that
    of m − μ where n·|m − μ| is above both. Near the root, |m| ≤ mean|x|, and mean|m − x| ≤ 2·mean|x|: so the
    sign is right beyond (2(n − 1)·u_acc + 2u)·mean|x|. The last bracket is range/2^(p + log₂ n + 2), below
    u·mean|x|, for the range is at most 2n·mean|x|; rounded middles widen it to 3u·mean|x| at most. Its half,
    and the rounding of its middle, are 3u.

    Variance: Σ (x − m̂)²/n is V + (m̂ − m)² exactly (Chan, Golub and LeVeque 1983). Difference, square,
    quotient and, for the root of the score S/v − 1, its quotient and last bracket are within 10u, the sum
    n·u_acc: (n·u_acc + 10u)(V + δ²) + δ² + (n + 1)ω.
    """
    import numpy as np

    x = problem.inputs["x"]
    n, u, acc = x.size, precision.u_out, precision.u_acc
    least = float(precision.format.min_subnormal)
    mean = (2 * n * acc + 6 * u) * float(np.mean(np.abs(x))) + least
    spread = float(np.exp2(reference.outputs["variance"].log2_abs())) + mean**2
    variance = (n * acc + 10 * u) * spread + mean**2 + (n + 1) * least
    return {"mean": np.asarray(np.log2(mean)), "variance": np.asarray(np.log2(variance))}


def check(problem: ExactProblem) -> None:
    """Refuse what is no vector of finite numbers that differ."""
    import numpy as np

    x = problem.inputs["x"]
    if x.ndim != 1 or x.size < 2:
        raise InputError(f"x has shape {list(x.shape)}; allowed is (n,), n from 2")
    if not np.isfinite(x).all():
        raise InputError("x holds infinities or NaN, which have no most likely mean", "use finite numbers")
    if x.min() == x.max():
        raise InputError("all x are equal: their likelihood has no maximum", "use numbers that differ")


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return the 4n operations of two passes, whatever a formulation spends."""
    (n,) = shapes["x"]
    return Cost(4 * n, (n + 2) * itemsize)


operation(
    name="mle_normal",
    title="Maximum likelihood of normal mean and variance",
    formula="mean = Σ x_i/n, variance = Σ (x_i − mean)²/n",
    inputs={"x": "(n,), not all equal"},
    outputs=("mean", "variance"),
    definition=definition,
    bound=bound,
    bound_formula="mean: δ = (2n·u_acc + 6u)·mean|x| + ω; variance: (n·u_acc + 10u)(V + δ²) + δ² + (n + 1)ω",
    source=(
        "Chan, Golub & LeVeque, Algorithms for Computing the Sample Variance, Amer. Statist. 37 (1983); "
        f"{minimisation.SOURCE}; sums: Jeannerod & Rump, SIAM J. Matrix Anal. Appl. 34 (2013)"
    ),
    check=check,
    cost=cost,
)


def _mean_square(xp: Any, x: Any, m: Any) -> Any:
    return xp.mean(xp.square(xp.subtract(x, m)))


@formulation("mle_normal", "closed_form", title="mean, and mean of (x − mean)²", needs=("elementwise", "sum"))
def closed_form(xp: Any, x: Any) -> Callable[[], Any]:
    """Take two passes."""

    def thunk() -> Any:
        mean = xp.mean(x)
        return mean, _mean_square(xp, x, mean)

    return thunk


@formulation(
    "mle_normal",
    "golden_section",
    title="minimum of −ℓ in the mean, then in the variance, by golden section",
    needs=("elementwise", "sum"),
)
def golden_section(xp: Any, x: Any) -> Callable[[], Any]:
    """Compare values of the negative log-likelihood: good to √u.

    A variance is from range²/(2n) to range²/4: two values may make the range, or half of all be at each end.
    """
    n = x.shape[0]
    half, quarter = xp.scalar("0.5"), xp.scalar("0.25")
    u = float(xp.dtype.storage.unit_roundoff)
    steps, more = minimisation.golden_steps(u), minimisation.golden_steps(u, n / 2)

    def thunk() -> Any:
        low, high = xp.min(x), xp.max(x)
        mean = minimisation.golden_section(xp, lambda m: _mean_square(xp, x, m), low, high, steps)
        square = _mean_square(xp, x, mean)

        def negative(v: Any) -> Any:
            return xp.multiply(half, xp.add(xp.log(v), xp.divide(square, v)))

        widest = xp.multiply(quarter, xp.square(xp.subtract(high, low)))
        return mean, minimisation.golden_section(xp, negative, xp.scalar(0), widest, more)

    return thunk


@formulation(
    "mle_normal", "score_root", title="roots of ∂ℓ/∂μ and ∂ℓ/∂σ² by bisection", needs=("elementwise", "sum")
)
def score_root(xp: Any, x: Any) -> Callable[[], Any]:
    """Bisect the signs of Σ (m − x) and of 1 − S/v: good to u."""
    one, quarter = xp.scalar(1), xp.scalar("0.25")
    steps = (
        xp.dtype.storage.precision + x.shape[0].bit_length() + 2
    )  # of range²/4, and V is range²/(2n) at least

    def thunk() -> Any:
        low, high = xp.min(x), xp.max(x)
        mean = minimisation.bisection(xp, lambda m: xp.sum(xp.subtract(m, x)), low, high, steps)
        square = _mean_square(xp, x, mean)
        widest = xp.multiply(quarter, xp.square(xp.subtract(high, low)))
        variance = minimisation.bisection(
            xp, lambda v: xp.subtract(one, xp.divide(square, v)), xp.scalar(0), widest, steps
        )
        return mean, variance

    return thunk
