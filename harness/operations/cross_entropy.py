"""Cross-entropy of a target distribution: from logits, and from probabilities."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from harness.model import Condition, Written
from harness.operations import weighted_logarithms as logs
from harness.operations.definition import operation
from harness.registry import Parameter, Thunk, formulation

NEEDS = ("elementwise", "sum")


def _smoothed(xp: Any, target: Any, smoothing: Written) -> Any:
    """Return (1 − s)·t + s/n, each number rounded once; t itself where s is 0."""
    if smoothing == 0:
        return target
    s = Fraction(Decimal(str(smoothing)))
    kept, share = xp.scalar(1 - s), xp.scalar(s / target.shape[-1])
    return xp.add(xp.multiply(target, kept), share)


def _shifted(xp: Any, x: Any) -> tuple[Any, Any]:
    """Return x − m and ln Σ exp(x − m), m the largest, which no gradient flows through."""
    d = xp.subtract(x, xp.detach(xp.max(x, axis=-1, keepdims=True)))
    return d, xp.log(xp.sum(xp.exp(d), axis=-1, keepdims=True))


def meant_of_logits(xp: Any, x: Any, target: Any, smoothing: Written) -> Any:
    """Return ln Σ exp(x)·Σ t − Σ t·x: for x less the largest, so that what is exactly 0 comes out as 0."""
    s = Fraction(Decimal(str(smoothing)))
    weights = target * (1 - s) + s / target.shape[-1]
    relative = x - xp.detach(xp.max(x, axis=-1, keepdims=True))
    counting = xp.where(xp.equal(weights, xp.scalar(0)), xp.scalar(0), relative)
    log_sum = xp.log(xp.sum(xp.exp(relative), axis=-1))
    return log_sum * xp.sum(weights, axis=-1) - xp.sum(weights * counting, axis=-1)


def meant_of_probabilities(xp: Any, p: Any, target: Any) -> Any:
    """Return −Σ t·ln p, with 0·ln 0 = 0; the p are taken as they are, whatever their sum."""
    return -xp.sum(target * xp.log(xp.where(xp.equal(target, xp.scalar(0)), xp.scalar(1), p)), axis=-1)


def of_logits(xp: Any, x: Any, target: Any, smoothing: Written) -> Any:
    """Return Σ t·(logsumexp(x) − x); a class of no weight may have a logit of −∞."""
    t = _smoothed(xp, target, smoothing)
    d, log_sum = _shifted(xp, x)
    losses = logs.product(xp, t, lambda z: xp.subtract(log_sum, z), d)
    return xp.sum(losses, axis=-1)


def of_probabilities(xp: Any, p: Any, target: Any) -> Any:
    """Return −Σ t·ln p, 0 where t is 0."""
    return xp.negative(xp.sum(logs.weighted_log(xp, target, p), axis=-1))


operation(
    name="cross_entropy",
    title="Cross-entropy from logits",
    formula="loss = Σ_i t_i·(ln Σ_j exp(x_j) − x_i), t the target, smoothed to (1 − s)·t + s/n",
    inputs={"x": "(…, n), logits", "target": "(…, n), weights of the classes"},
    outputs=("loss",),
    parameters={
        "smoothing": Parameter(
            0, "share of the target spread over all classes", kind="number",
            within=Condition(at_least=Decimal(0), at_most=Decimal(1)),
        )
    },
    definition=meant_of_logits,
    stable=of_logits,
    algorithm="shifted: Σ t·(ln Σ exp(x − max x) − (x − max x))",
    differentiable=("x",),
    gradient_formula="g·(p_i·Σ t − t_i), p = softmax(x)",
    check=logs.require_equal_shapes,
    cost=logs.cost(6),
)  # fmt: skip

operation(
    name="cross_entropy_of_probabilities",
    title="Cross-entropy from probabilities",
    formula="loss = −Σ_i t_i·ln p_i, 0·ln 0 = 0; the p_i as they are, whatever their sum",
    inputs={"p": "(…, n), probabilities", "target": "(…, n), weights of the classes"},
    outputs=("loss",),
    definition=meant_of_probabilities,
    stable=of_probabilities,
    algorithm="−Σ t·ln p, 0 where t is 0",
    differentiable=("p",),
    gradient_formula="−g·t_i/p_i",
    cost=logs.cost(3),
    check=logs.require_equal_shapes,
)


@formulation("cross_entropy", "shifted", title="Σ t·(logsumexp(x) − x), around the largest", needs=NEEDS)
def shifted(xp: Any, x: Any, target: Any, smoothing: Written = 0) -> Thunk:
    """Never form a share: what is small in it stays as far below 0 as it is."""
    return lambda: of_logits(xp, x, target, smoothing)


@formulation("cross_entropy", "log_softmax", title="−Σ t·log_softmax(x)", needs=NEEDS)
def log_softmax(xp: Any, x: Any, target: Any, smoothing: Written = 0) -> Thunk:
    """Take every logarithm, and multiply all of them: a logit of −∞ gives NaN, be its weight 0."""

    def thunk() -> Any:
        d, log_sum = _shifted(xp, x)
        products = xp.multiply(_smoothed(xp, target, smoothing), xp.subtract(d, log_sum))
        return xp.negative(xp.sum(products, axis=-1))

    return thunk


def _register_of_logits(name: str, title: str, guard: logs.Guard) -> None:
    @formulation("cross_entropy", name, title=f"−Σ t·ln p, p = softmax(x){title}", needs=NEEDS)
    def of_softmax(xp: Any, x: Any, target: Any, smoothing: Written = 0) -> Thunk:
        log = guard(xp)

        def thunk() -> Any:
            e = xp.exp(xp.subtract(x, xp.detach(xp.max(x, axis=-1, keepdims=True))))
            p = xp.divide(e, xp.sum(e, axis=-1, keepdims=True))
            products = xp.multiply(_smoothed(xp, target, smoothing), log(p))
            return xp.negative(xp.sum(products, axis=-1))

        return thunk


def _register_of_probabilities(name: str, title: str, guard: logs.Guard) -> None:
    @formulation("cross_entropy_of_probabilities", name, title=f"−Σ t·ln p{title}", needs=NEEDS)
    def of_clipped(xp: Any, p: Any, target: Any) -> Thunk:
        log = guard(xp)
        return lambda: xp.negative(xp.sum(xp.multiply(target, log(p)), axis=-1))


@formulation("cross_entropy_of_probabilities", "guarded", title="−Σ t·ln p, 0 where t is 0", needs=NEEDS)
def guarded(xp: Any, p: Any, target: Any) -> Thunk:
    """Change nothing but 0·ln 0."""
    return lambda: of_probabilities(xp, p, target)


_register_of_logits("log_of_softmax", "", logs.plain)
for _name in ("clip_1e15", "clip_1e12", "clip_1e7", "plus_1e9"):
    _register_of_logits(_name, f", {logs.GUARDS[_name][0]}", logs.GUARDS[_name][1])
_register_of_probabilities("direct", "", logs.plain)
for _name in ("clip_1e15", "clip_1e7", "clip_eps", "plus_1e15", "plus_1e12", "plus_1e9"):
    _register_of_probabilities(_name, f", {logs.GUARDS[_name][0]}", logs.GUARDS[_name][1])
