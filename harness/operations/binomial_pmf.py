"""The binomial distribution: the probability of k successes in n trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.model import Condition
from harness.operations import saddle_point
from harness.operations.definition import RUNNING, operation, per_entry, require_one_shape
from harness.operations.normal_family import TWO_PI
from harness.registry import ExactProblem, Parameter, formulation


def definition(xp: Any, k: Any, p: Any, *, n: Any) -> Any:
    """n!/(k!(n − k)!)·p^k·(1 − p)^(n−k), with 0⁰ = 1."""
    zero, one = xp.scalar(0), xp.scalar(1)
    failures = n - k
    none, every = xp.equal(k, zero), xp.equal(failures, zero)
    ways = xp.lgamma(xp.scalar(n + 1)) - xp.lgamma(k + 1) - xp.lgamma(failures + 1)
    ways = xp.where(xp.logical_or(none, every), zero, ways)  # balls do not cancel
    of_hits = xp.where(none, zero, k * xp.log(xp.where(none, one, p)))
    of_misses = xp.where(every, zero, failures * xp.log(xp.where(every, one, 1 - p)))
    return xp.exp(ways + of_hits + of_misses)


def expansion(xp: Any, k: Any, p: Any, *, n: Any) -> Any:
    """√(n/(2πk(n−k)))·e^(δ(n) − δ(k) − δ(n−k) − D(k, np) − D(n−k, nq)); p^n and q^n at the ends."""
    zero, one, count = xp.scalar(0), xp.scalar(1), xp.scalar(n)
    misses, q = xp.subtract(count, k), xp.subtract(one, p)
    none, every = xp.equal(k, zero), xp.equal(misses, zero)
    end = xp.logical_or(none, every)
    hit, miss = xp.where(end, one, k), xp.where(end, one, misses)
    ways = xp.subtract(
        xp.subtract(saddle_point.stirling_error(xp, count), saddle_point.stirling_error(xp, hit)),
        saddle_point.stirling_error(xp, miss),
    )
    deviances = xp.add(
        saddle_point.deviance(xp, hit, xp.multiply(count, p)),
        saddle_point.deviance(xp, miss, xp.multiply(count, q)),
    )
    width = xp.divide(xp.divide(xp.divide(count, hit), miss), xp.scalar(TWO_PI))
    inside = xp.multiply(xp.sqrt(width), xp.exp(xp.subtract(ways, deviances)))
    all_hit = xp.exp(xp.multiply(count, xp.log(xp.where(every, p, one))))
    no_hit = xp.exp(xp.multiply(count, xp.log1p(xp.negative(xp.where(none, p, zero)))))
    return xp.where(every, all_hit, xp.where(none, no_hit, inside))


def check(problem: ExactProblem) -> None:
    """Refuse other counts than 0 to n, probabilities outside [0, 1], and shapes that differ."""
    require_one_shape(problem)
    saddle_point.check_counts(problem, problem.inputs["k"], float(problem.parameters["n"]))
    saddle_point.check_interior(problem, "p", 0, 1)


operation(
    name="binomial_pmf",
    title="Binomial probability",
    formula="y = n!/(k!(n − k)!)·p^k·(1 − p)^(n−k)",
    inputs={"k": "any shape, integers 0 to n", "p": "the shape of k, in [0, 1]"},
    definition=definition,
    stable=expansion,
    algorithm="Loader's saddle-point expansion",
    source=f"{saddle_point.SOURCE}; {RUNNING}",
    differentiable=("p",),
    gradient_formula="g·y·(k/p − (n − k)/(1 − p))",
    parameters={"n": Parameter(None, "number of trials", kind="integer", within=Condition(at_least=1))},
    check=check,
    condition=False,
    cost=per_entry(12),
    elementwise=True,
)


@formulation("binomial_pmf", "factorial", title="n!/(k!·(n−k)!)·p^k·(1−p)^(n−k), factor by factor")
def factorial(xp: Any, k: Any, p: Any, *, n: Any) -> Callable[[], Any]:
    """Multiply everything out: n! overflows from 171 in float64, 35 in float32 and bfloat16, 9 in float16."""
    count, one = xp.scalar(n), xp.scalar(1)

    def thunk() -> Any:
        misses, q = xp.subtract(count, k), xp.subtract(one, p)
        every = of_k = of_misses = xp.full(k.shape, one)
        hits = missed = xp.add(xp.multiply(p, xp.scalar(0)), one)
        for i in range(1, int(n) + 1):
            factor, before = xp.scalar(i), xp.scalar(i - 1)
            more_k, more_misses = xp.greater(k, before), xp.greater(misses, before)
            every = xp.multiply(every, factor)
            of_k = xp.where(more_k, xp.multiply(of_k, factor), of_k)
            of_misses = xp.where(more_misses, xp.multiply(of_misses, factor), of_misses)
            hits = xp.where(more_k, xp.multiply(hits, p), hits)
            missed = xp.where(more_misses, xp.multiply(missed, q), missed)
        ways = xp.divide(every, xp.multiply(of_k, of_misses))
        return xp.multiply(xp.multiply(ways, hits), missed)

    return thunk


@formulation("binomial_pmf", "lgamma", title="exp(lnΓ(n+1) − lnΓ(k+1) − lnΓ(n−k+1) + k ln p + (n−k) ln(1−p))")
def lgamma(xp: Any, k: Any, p: Any, *, n: Any) -> Callable[[], Any]:
    """Never overflow; lose u·n ln n of everything to the difference of the three."""
    count, one, zero = xp.scalar(n), xp.scalar(1), xp.scalar(0)

    def thunk() -> Any:
        misses = xp.subtract(count, k)
        none, every = xp.equal(k, zero), xp.equal(misses, zero)
        ways = xp.subtract(
            xp.subtract(xp.lgamma(xp.full(k.shape, xp.add(count, one))), xp.lgamma(xp.add(k, one))),
            xp.lgamma(xp.add(misses, one)),
        )
        hits = xp.where(none, zero, xp.multiply(k, xp.log(xp.where(none, one, p))))
        q = xp.log1p(xp.negative(xp.where(every, zero, p)))
        missed = xp.where(every, zero, xp.multiply(misses, q))
        return xp.exp(xp.add(xp.add(ways, hits), missed))

    return thunk


@formulation("binomial_pmf", "saddle_point", title="Loader's expansion about np: δ and deviances")
def saddle(xp: Any, k: Any, p: Any, *, n: Any) -> Callable[[], Any]:
    """Keep every term of the exponent as small as the logarithm of the result."""
    return lambda: expansion(xp, k, p, n=n)
