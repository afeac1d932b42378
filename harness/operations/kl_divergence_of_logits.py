"""Kullback–Leibler divergence of two distributions given by their logits."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

from harness.operations import weighted_logarithms as logs
from harness.operations.definition import operation
from harness.registry import Thunk, formulation

NEEDS: Final = ("elementwise", "sum")


def _log_softmax(xp: Any, x: Any) -> Any:
    d = xp.subtract(x, xp.detach(xp.max(x, axis=-1, keepdims=True)))
    return xp.subtract(d, xp.log(xp.sum(xp.exp(d), axis=-1, keepdims=True)))


def meant(xp: Any, x: Any, z: Any) -> Any:
    """Return Σ p·(x − z) − ln Σ exp(x) + ln Σ exp(z), p = exp(x)/Σ exp(x); x, z less their largest.

    So what is exactly 0 comes out as 0, and a term whose p is 0 is left out.
    """
    a, b = (v - xp.detach(xp.max(v, axis=-1, keepdims=True)) for v in (x, z))
    of_x, of_z = xp.sum(xp.exp(a), axis=-1, keepdims=True), xp.sum(xp.exp(b), axis=-1, keepdims=True)
    p = xp.exp(a) / of_x
    nothing, zero = xp.equal(p, xp.scalar(0)), xp.scalar(0)
    apart = p * (xp.where(nothing, zero, a) - xp.where(nothing, zero, b))
    logarithms = xp.reshape(xp.log(of_x) - xp.log(of_z), x.shape[:-1])
    return xp.sum(apart, axis=-1) - logarithms


def of_log_shares(xp: Any, x: Any, z: Any) -> Any:
    """Return Σ p·(ln p − ln q), 0 where p is 0; logarithms of shares, which underflow nowhere."""
    log_p, log_q = _log_softmax(xp, x), _log_softmax(xp, z)
    return xp.sum(logs.product(xp, xp.exp(log_p), xp.subtract, log_p, log_q), axis=-1)


operation(
    name="kl_divergence_of_logits",
    title="Kullback–Leibler divergence from logits",
    formula="D = Σ_i p_i·(ln p_i − ln q_i), p = softmax(x), q = softmax(z)",
    inputs={"x": "(…, n), logits of p", "z": "the same shape, logits of q"},
    outputs=("divergence",),
    definition=meant,
    stable=of_log_shares,
    algorithm="the two shifted log-softmaxes, Σ exp(ln p)·(ln p − ln q)",
    differentiable=("x", "z"),
    gradient_formula="∂x: g·p_i·(ln p_i − ln q_i − D); ∂z: g·(q_i − p_i)",
    cost=logs.cost(13),
    check=logs.require_equal_shapes,
)


@formulation(
    "kl_divergence_of_logits", "log_softmax", title="Σ exp(ln p)·(ln p − ln q), shifted", needs=NEEDS
)
def log_softmax(xp: Any, x: Any, z: Any) -> Thunk:
    """Take logarithms of no share."""
    return lambda: of_log_shares(xp, x, z)


def _register(name: str, title: str, change: Callable[[Any, Any], Any]) -> None:
    @formulation("kl_divergence_of_logits", name, title=f"Σ p·ln(p/q) of two softmaxes{title}", needs=NEEDS)
    def of_shares(xp: Any, x: Any, z: Any) -> Thunk:
        def share(logits: Any) -> Any:
            e = xp.exp(xp.subtract(logits, xp.detach(xp.max(logits, axis=-1, keepdims=True))))
            return xp.divide(e, xp.sum(e, axis=-1, keepdims=True))

        def thunk() -> Any:
            p = share(x)
            quotient = xp.divide(change(xp, p), change(xp, share(z)))
            return xp.sum(xp.multiply(p, xp.log(quotient)), axis=-1)

        return thunk


_register("ratio_of_softmax", "", lambda xp, p: p)
_register("plus_1e9", ", 1e-9 added to both", lambda xp, p: xp.add(p, xp.scalar(Fraction("1e-9"))))
