"""Kullback–Leibler divergence, and the identity that makes it what cross-entropy has beyond entropy."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

from harness.operations import weighted_logarithms as logs
from harness.operations.definition import operation
from harness.registry import Thunk, formulation

NEEDS: Final = ("elementwise", "sum")


def meant(xp: Any, p: Any, q: Any) -> Any:
    """Return Σ p·ln(p/q): 0 where p is 0, +∞ where q alone is 0; both as they are, whatever their sums.

    The infinite term is p·∞·(1 − q), whose slopes are those of the limit, +∞ for p and −∞ for q.
    """
    one, nothing = xp.scalar(1), xp.equal(p, xp.scalar(0))
    impossible = xp.logical_and(xp.equal(q, xp.scalar(0)), xp.logical_not(nothing))
    beside = xp.logical_or(nothing, impossible)
    ratio = xp.divide(xp.where(beside, one, p), xp.where(beside, one, q))
    endless = xp.where(impossible, xp.scalar("inf"), xp.scalar(0))
    beyond = xp.multiply(p, xp.multiply(endless, xp.subtract(one, q)))
    terms = xp.add(xp.multiply(p, xp.log(ratio)), beyond)
    return xp.sum(xp.where(nothing, xp.scalar(0), terms), axis=-1)


def in_log_space(xp: Any, p: Any, q: Any) -> Any:
    """Return Σ p·(ln p − ln q), 0 where p is 0: no quotient, which may overflow or underflow."""
    return xp.sum(logs.product(xp, p, lambda a, b: xp.subtract(xp.log(a), xp.log(b)), p, q), axis=-1)


operation(
    name="kl_divergence",
    title="Kullback–Leibler divergence",
    formula="D = Σ_i p_i·ln(p_i/q_i); 0 where p_i = 0, +∞ where only q_i = 0",
    inputs={"p": "(…, n), probabilities", "q": "the same shape, probabilities"},
    outputs=("divergence",),
    definition=meant,
    stable=in_log_space,
    algorithm="Σ p·(ln p − ln q), 0 where p is 0",
    differentiable=("p", "q"),
    gradient_formula="∂p: g·(ln(p_i/q_i) + 1), 0 where p_i = 0, as of a term left out; ∂q: −g·p_i/q_i",
    cost=logs.cost(5),
    check=logs.require_equal_shapes,
)


def no_residual(xp: Any, p: Any, q: Any) -> Any:
    """Return 0: the identity holds for any positive p and q; where q alone is 0 both sides are infinite."""
    return xp.sum(xp.multiply(xp.scalar(0), xp.subtract(p, q)), axis=-1)


def residual(xp: Any, p: Any, q: Any) -> Any:
    """Return H(p, q) − (H(p) + D(p‖q)), each computed for itself."""
    crossed = xp.negative(xp.sum(logs.weighted_log(xp, p, q), axis=-1))
    own = xp.negative(xp.sum(logs.weighted_log(xp, p, p), axis=-1))
    return xp.subtract(crossed, xp.add(own, in_log_space(xp, p, q)))


operation(
    name="entropy_identity",
    title="Cross-entropy is entropy and divergence",
    formula="r = H(p, q) − (H(p) + D(p‖q)) = 0",
    inputs={"p": "(…, n), probabilities", "q": "the same shape, probabilities above 0"},
    outputs=("residual",),
    definition=no_residual,
    stable=residual,
    algorithm="the three sums, each guarded, and their difference",
    cost=logs.cost(11),
    check=logs.require_equal_shapes,
)


@formulation("kl_divergence", "ratio", title="Σ p·ln(p/q)", needs=NEEDS)
def ratio(xp: Any, p: Any, q: Any) -> Thunk:
    """Give NaN where p is 0; the quotient overflows, or underflows to ln 0."""
    return lambda: xp.sum(xp.multiply(p, xp.log(xp.divide(p, q))), axis=-1)


def _register(name: str, title: str, change: Callable[[Any, Any], Any]) -> None:
    @formulation("kl_divergence", name, title=f"Σ p·ln(p/q), {title}", needs=NEEDS)
    def changed(xp: Any, p: Any, q: Any) -> Thunk:
        def thunk() -> Any:
            quotient = xp.divide(change(xp, p), change(xp, q))
            return xp.sum(xp.multiply(p, xp.log(quotient)), axis=-1)

        return thunk


def _plus(size: str) -> Callable[[Any, Any], Any]:
    return lambda xp, p: xp.add(p, xp.scalar(Fraction(size)))


def _clip(xp: Any, p: Any) -> Any:
    return xp.minimum(xp.maximum(p, xp.scalar(Fraction("1e-7"))), xp.scalar(1))


_register("plus_1e15", "with 1e-15 added to p and q", _plus("1e-15"))
_register("plus_1e9", "with 1e-9 added to p and q", _plus("1e-9"))
_register("clip_1e7", "p and q clipped to [1e-7, 1], as Keras but for its factor p", _clip)


@formulation("kl_divergence", "log_space", title="Σ p·(ln p − ln q), 0 where p is 0", needs=NEEDS)
def log_space(xp: Any, p: Any, q: Any) -> Thunk:
    """Take both logarithms: a q beyond the reach of a quotient costs nothing."""
    return lambda: in_log_space(xp, p, q)


@formulation("kl_divergence", "log1p", title="Σ p·log1p((p − q)/q), near 1; else ln p − ln q", needs=NEEDS)
def by_log1p(xp: Any, p: Any, q: Any) -> Thunk:
    """Subtract first where p and q are within a factor of 2, which is exact (Sterbenz)."""

    def logarithm(a: Any, b: Any) -> Any:
        one, half, two = xp.scalar(1), xp.scalar(Fraction(1, 2)), xp.scalar(2)
        above = xp.greater(a, xp.multiply(half, b))
        near = xp.logical_and(above, xp.less(xp.multiply(half, a), b))
        close = xp.log1p(
            xp.divide(xp.subtract(xp.where(near, a, one), xp.where(near, b, one)), xp.where(near, b, one))
        )
        far = xp.subtract(xp.log(xp.where(near, two, a)), xp.log(xp.where(near, two, b)))
        return xp.where(near, close, far)

    return lambda: xp.sum(logs.product(xp, p, logarithm, p, q), axis=-1)


@formulation("entropy_identity", "direct", title="H(p, q) − (H(p) + D(p‖q)), with quotients", needs=NEEDS)
def direct_identity(xp: Any, p: Any, q: Any) -> Thunk:
    """Give NaN where a p is 0."""

    def thunk() -> Any:
        crossed = xp.negative(xp.sum(xp.multiply(p, xp.log(q)), axis=-1))
        own = xp.negative(xp.sum(xp.multiply(p, xp.log(p)), axis=-1))
        return xp.subtract(crossed, xp.add(own, xp.sum(xp.multiply(p, xp.log(xp.divide(p, q))), axis=-1)))

    return thunk


@formulation("entropy_identity", "guarded", title="H(p, q) − (H(p) + D(p‖q)), guarded", needs=NEEDS)
def guarded_identity(xp: Any, p: Any, q: Any) -> Thunk:
    """Hold to the identity within the rounding of its three sums."""
    return lambda: residual(xp, p, q)
