"""Bayes' rule for several hypotheses and many observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations.definition import RUNNING, operation
from harness.registry import COTANGENT, Cost, ExactProblem, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

    Floats = NDArray[np.float64]

EXP: Final = 6
"""Units of u of an exponential: 3 units in the last place, each at most 2u."""


def definition(xp: Any, prior: Any, likelihoods: Any) -> Any:
    """Prior times the product of the likelihoods, over the sum of these; one product a logarithm's sum."""
    weights = xp.exp(xp.log(prior) + xp.sum(xp.log(likelihoods), axis=0))
    return weights / xp.sum(weights)


def in_logarithms(xp: Any, prior: Any, likelihoods: Any) -> Any:
    """The softmax of ln prior + Σ ln likelihood, its largest entry subtracted first."""
    score = xp.add(xp.log(prior), xp.sum(xp.log(likelihoods), axis=0))
    weights = xp.exp(xp.subtract(score, xp.detach(xp.max(score))))
    return xp.divide(weights, xp.sum(weights))


def _posterior_and_error(problem: ExactProblem, precision: Precision) -> tuple[Floats, Floats]:
    """Return the posterior p, to float64, and the bound on its error.

    Running error analysis gives θ_j, how far off a score ln prior + Σ ln L is. What is subtracted is common
    to all, its rounding u·|gap| and the exponential's are not: η_j = θ_j + (gap_j + 6)u. The sum of
    exponentials is within e^η̄, Σ p e^η = e^η̄, and p̂ within p·(e^(η + η̄ + (h+1)u) − 1) + (h+1)ω, be p too
    small for float64 or not; and both are at most 1. A prior or a likelihood of 0 makes a p of 0, exactly.

    Whatever the scores are, the p̂ sum to 1 within e^((h+1)u) and (h+1)ω: none is off by more than the others
    together, and that. So a posterior that is nearly certain is known to be.
    """
    import numpy as np

    from harness.reference.running_error import RunningErrors

    errors = RunningErrors(precision)
    prior, likelihoods = (errors.exact(problem.inputs[name]) for name in ("prior", "likelihoods"))
    score = errors.add(errors.log(prior), errors.sum(errors.log(likelihoods), axis=0))
    certain = (problem.inputs["prior"] == 0) | (problem.inputs["likelihoods"] == 0).any(axis=0)
    with np.errstate(all="ignore"):
        gap = np.max(score.value) - score.value
        total = np.sum(np.exp(-gap))
        p, log_p = np.exp(-gap) / total, -gap - np.log(total)
        eta = np.where(certain, 0.0, score.error + precision.u_out * (gap + EXP))
        count = eta.size + 1
        common = np.log(np.sum(np.exp(log_p + eta))) + count * max(precision.u_out, precision.u_acc)
        moved = np.where(p > 0, p * np.expm1(eta + common), np.exp(log_p + eta + common))
        error = moved + count * float(precision.format.min_subnormal)
        error = np.where(certain, 0.0, np.minimum(error, 1.0 + precision.u_out))
        off = np.expm1(count * max(precision.u_out, precision.u_acc))
        others = np.sum(error) - error + off + count * float(precision.format.min_subnormal)
        return p, np.where(certain, 0.0, np.minimum(error, others * (1 + 2.0**-40)))


def bound(problem: ExactProblem, reference: Reference, precision: Precision) -> Mapping[str, Floats]:
    """Return log2 of the bound on each probability."""
    import numpy as np

    with np.errstate(divide="ignore"):
        return {"y": np.log2(_posterior_and_error(problem, precision)[1])}


def gradient_bound(problem: ExactProblem, reference: Reference, precision: Precision) -> Mapping[str, Floats]:
    """Return log2 of the bound on (g_j − Σ g·p)·p_j/x_j, x a prior or a likelihood.

    With p off by e, the mean Σ g·p by Σ|g|·(e + (h + 2)u(p + e)), and the difference, its product with p̂ and
    the quotient rounded; automatic differentiation adds the same terms in another order: 8u in all.
    """
    import numpy as np

    from harness.registry import gradient_output

    p, error = _posterior_and_error(problem, precision)
    g = np.reshape(problem.inputs[COTANGENT], p.shape)
    u, least = precision.u_out, float(precision.format.min_subnormal)
    size = p + error
    mean = float(np.sum(g * p))
    of_mean = float(np.sum(np.abs(g) * (error + (p.size + 2) * u * size))) + p.size * least
    whole = np.abs(g) + np.sum(np.abs(g) * size)
    moved = error * np.abs(g - mean) + size * of_mean + 8 * u * size * whole + 4 * least
    found = {}
    for name in problem.with_respect_to:
        x = problem.inputs[name]
        found[gradient_output(name)] = np.log2(moved / x * (1 + 2 * u) + least)
    return found


def check(problem: ExactProblem) -> None:
    """Refuse shapes that do not go together, what is negative or infinite, and zeros in a gradient."""
    import numpy as np

    prior, likelihoods = problem.inputs["prior"], problem.inputs["likelihoods"]
    if prior.ndim != 1 or likelihoods.ndim != 2 or likelihoods.shape[1:] != prior.shape or prior.size == 0:
        raise InputError(
            f"prior and likelihoods have shapes {list(prior.shape)} and {list(likelihoods.shape)}",
            "allowed are (hypotheses,) and (observations, hypotheses)",
        )
    for name, x in (("prior", prior), ("likelihoods", likelihoods)):
        bad = ~(np.isfinite(x) & (x >= 0))
        if bad.any():
            raise InputError(f"{name} holds {x[bad].flat[0]!r}; allowed are finite numbers from 0")
        if problem.with_respect_to and (x == 0).any():
            raise InputError(f"{name} holds 0, where logarithms have no slope", "use positive numbers")
    if not ((likelihoods > 0).all(axis=0) & (prior > 0)).any():
        raise InputError("every hypothesis is impossible", "leave one without zeros")


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return a logarithm and a sum for each likelihood, and a softmax of the hypotheses."""
    n, h = shapes["likelihoods"]
    return Cost(2 * n * h + 6 * h, (n * h + 2 * h) * itemsize)


operation(
    name="bayes_posterior",
    title="Posterior of hypotheses",
    formula="y_j = prior_j·Π_i L_ij / Σ_k prior_k·Π_i L_ik",
    inputs={"prior": "(hypotheses,)", "likelihoods": "(observations, hypotheses)"},
    definition=definition,
    bound=bound,
    gradient_bound=gradient_bound,
    bound_formula=(
        "p·(e^(η + η̄ + (h+1)u) − 1) + (h+1)ω, at most 1, and at most that of the others, e^((h+1)u) − 1 and "
        "(h+1)ω: η = θ + (gap + 6)u, e^η̄ = Σ p·e^η, θ what the standard model allows ln prior + Σ ln L"
    ),
    gradient_bound_formula=(
        "(e·|g_j − m| + (p+e)·Δm + 8u(p+e)(|g_j| + Σ|g|(p+e)))/x_j, e that of p, m = Σ g·p and "
        "Δm = Σ|g|(e + (h+2)u(p+e))"
    ),
    source=f"Blanchard, Higham & Higham 2021, section 4, for the softmax; {RUNNING}",
    differentiable=("prior", "likelihoods"),
    gradient_formula="(g_j − Σ g·y)·y_j / prior_j, and / L_ij",
    check=check,
    condition=False,
    cost=cost,
)


@formulation(
    "bayes_posterior",
    "product",
    title="products of all factors, over their sum",
    needs=("elementwise", "sum"),
)
def product(xp: Any, prior: Any, likelihoods: Any) -> Callable[[], Any]:
    """Multiply the factors one after the other: 0/0 once all hypotheses have underflowed."""
    observations = likelihoods.shape[0]

    def thunk() -> Any:
        weights = prior
        for i in range(observations):
            weights = xp.multiply(weights, likelihoods[i])
        return xp.divide(weights, xp.sum(weights))

    return thunk


@formulation(
    "bayes_posterior",
    "log_space",
    title="softmax of ln prior + Σ ln likelihood",
    needs=("elementwise", "sum"),
)
def log_space(xp: Any, prior: Any, likelihoods: Any) -> Callable[[], Any]:
    """Add logarithms, and subtract the largest before exponentials are taken."""
    return lambda: in_logarithms(xp, prior, likelihoods)


@formulation(
    "bayes_posterior", "sequential", title="normalised after each observation", needs=("elementwise", "sum")
)
def sequential(xp: Any, prior: Any, likelihoods: Any) -> Callable[[], Any]:
    """Take each posterior for the next prior: only a hypothesis that underflows is lost for ever."""
    observations = likelihoods.shape[0]

    def thunk() -> Any:
        belief = xp.divide(prior, xp.sum(prior))
        for i in range(observations):
            weights = xp.multiply(belief, likelihoods[i])
            belief = xp.divide(weights, xp.sum(weights))
        return belief

    return thunk
