"""Binary cross-entropy, element by element or its mean: from probabilities, and from logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from harness.model import Written
from harness.operations import weighted_logarithms as logs
from harness.operations.definition import operation
from harness.registry import ExactProblem, Parameter, Thunk, formulation

NEEDS: Final = ("elementwise", "sum")
REDUCTION: Final = {
    "reduction": Parameter("none", "what becomes of the elements' losses", choices=("none", "mean"))
}


def _reduced(xp: Any, losses: Any, reduction: Written) -> Any:
    return xp.mean(losses) if reduction == "mean" else losses


def _other(xp: Any, p: Any) -> Any:
    return xp.subtract(xp.scalar(1), p)


def meant(xp: Any, p: Any, y: Any, reduction: Written) -> Any:
    """Return −(y·ln p + (1 − y)·ln(1 − p)), without a term whose weight is 0."""
    one = logs.weighted_log(xp, y, p)
    zero = logs.weighted_log(xp, _other(xp, y), _other(xp, p))
    return _reduced(xp, xp.negative(xp.add(one, zero)), reduction)


def by_log1p(xp: Any, p: Any, y: Any, reduction: Written) -> Any:
    """Return the same by log1p(−p), which has digits for the smallest p."""
    one = logs.weighted_log(xp, y, p)
    zero = logs.product(xp, _other(xp, y), xp.log1p, xp.negative(p))
    return _reduced(xp, xp.negative(xp.add(one, zero)), reduction)


def meant_by_logits(xp: Any, x: Any, y: Any, reduction: Written) -> Any:
    """Return y·ln(1 + exp(−x)) + (1 − y)·ln(1 + exp(x)), without a term whose weight is 0."""

    def softplus(z: Any) -> Any:
        """For z > 0 z + ln(1 + exp(−z)): its derivative at ∞ is 1, and not ∞/∞."""
        zero, one = xp.scalar(0), xp.scalar(1)
        above = xp.less(zero, z)
        up, down = xp.where(above, z, zero), xp.where(above, zero, z)
        right = xp.add(up, xp.log(xp.add(one, xp.exp(xp.negative(up)))))
        return xp.where(above, right, xp.log(xp.add(one, xp.exp(down))))

    one = logs.product(xp, y, softplus, xp.negative(x))
    return _reduced(xp, xp.add(one, logs.product(xp, _other(xp, y), softplus, x)), reduction)


def from_largest(xp: Any, x: Any, y: Any, reduction: Written) -> Any:
    """Return max(x, 0) − x·y + log1p(exp(−|x|)): for y of 0 or 1 the first two cancel exactly."""
    straight = xp.subtract(xp.maximum(x, xp.scalar(0)), xp.multiply(x, y))
    rest = xp.log1p(xp.exp(xp.negative(xp.abs(x))))
    return _reduced(xp, xp.add(straight, rest), reduction)


def in_order_of_slopes(xp: Any, x: Any, y: Any, reduction: Written) -> Any:
    """Return the same in another order: reverse mode then rounds σ(x) before it subtracts y, as all do."""
    softplus = xp.add(xp.maximum(x, xp.scalar(0)), xp.log1p(xp.exp(xp.negative(xp.abs(x)))))
    return _reduced(xp, xp.subtract(softplus, xp.multiply(x, y)), reduction)


def _check(problem: ExactProblem) -> None:
    logs.require_equal_shapes(problem, rows=problem.parameters.get("reduction") == "mean")


operation(
    name="binary_cross_entropy",
    title="Binary cross-entropy from probabilities",
    formula="loss = −(y·ln p + (1 − y)·ln(1 − p)), 0·ln 0 = 0",
    inputs={"p": "any shape, probabilities", "y": "the same shape, labels from 0 to 1"},
    outputs=("loss",),
    parameters=REDUCTION,
    definition=meant,
    stable=by_log1p,
    algorithm="−(y·ln p + (1 − y)·log1p(−p)), 0 where a weight is 0",
    differentiable=("p",),
    gradient_formula="g·((1 − y)/(1 − p) − y/p)",
    cost=logs.cost(8, elementwise=True),
    check=_check,
    elementwise=True,
)

operation(
    name="binary_cross_entropy_with_logits",
    title="Binary cross-entropy from logits",
    formula="loss = y·ln(1 + exp(−x)) + (1 − y)·ln(1 + exp(x))",
    inputs={"x": "any shape, logits", "y": "the same shape, labels from 0 to 1"},
    outputs=("loss",),
    parameters=REDUCTION,
    definition=meant_by_logits,
    stable=from_largest,
    gradient_stable=in_order_of_slopes,
    algorithm="max(x, 0) − x·y + log1p(exp(−|x|))",
    differentiable=("x",),
    gradient_formula="g·(σ(x) − y)",
    cost=logs.cost(8, elementwise=True),
    check=_check,
    elementwise=True,
)


Change = Callable[[Any], Callable[[Any], Any]]
"""xp → what is done to p before either logarithm is taken."""


def _as_it_is(xp: Any) -> Callable[[Any], Any]:
    return lambda p: p


def _register(name: str, title: str, of_p: Change, logarithm: logs.Guard = logs.plain) -> None:
    def both(xp: Any) -> Callable[[Any, Any], Any]:
        """Return the losses as they are mostly written: what is done to p is done before 1 − p is taken."""
        changed, log = of_p(xp), logarithm(xp)

        def losses(p: Any, y: Any) -> Any:
            q = changed(p)
            one = xp.multiply(y, log(q))
            return xp.negative(xp.add(one, xp.multiply(_other(xp, y), log(_other(xp, q)))))

        return losses

    @formulation("binary_cross_entropy", name, title=f"−(y·ln p + (1 − y)·ln(1 − p)){title}", needs=NEEDS)
    def of_probabilities(xp: Any, p: Any, y: Any, reduction: Written = "none") -> Thunk:
        losses = both(xp)
        return lambda: _reduced(xp, losses(p, y), reduction)

    @formulation(
        "binary_cross_entropy_with_logits",
        "from_sigmoid" if name == "direct" else f"from_sigmoid_{name}",
        title=f"−(y·ln p + (1 − y)·ln(1 − p)), p = σ(x){title}",
        needs=NEEDS,
    )
    def of_sigmoid(xp: Any, x: Any, y: Any, reduction: Written = "none") -> Thunk:
        losses = both(xp)
        return lambda: _reduced(xp, losses(_sigmoid(xp, x), y), reduction)


def _sigmoid(xp: Any, x: Any) -> Any:
    """Return σ(x) from exp(−|x|), which does not overflow."""
    e = xp.exp(xp.negative(xp.abs(x)))
    return xp.divide(xp.where(xp.less(x, xp.scalar(0)), e, xp.scalar(1)), xp.add(xp.scalar(1), e))


def _at_least_minus_100(xp: Any) -> logs.Logarithm:
    least = xp.scalar(-100)
    return lambda p: xp.maximum(xp.log(p), least)


_register("direct", "", _as_it_is)
_register("clamp_100", ", logarithms of at least −100, as torch", _as_it_is, _at_least_minus_100)
for _name, _size in (("clip_1e15", "1e-15"), ("clip_1e7", "1e-7"), ("clip_eps", None)):
    _register(_name, f", {logs.GUARDS[_name][0]}", logs.clipped(_size))
_register(
    "clip_plus_1e7",
    ", p clipped to [1e-7, 1 − 1e-7], and 1e-7 added to what a logarithm is taken of, as Keras up to 2",
    logs.clipped("1e-7"),
    logs.plus("1e-7"),
)


@formulation(
    "binary_cross_entropy", "log1p", title="−(y·ln p + (1 − y)·log1p(−p)), 0 where a weight is 0", needs=NEEDS
)
def log1p(xp: Any, p: Any, y: Any, reduction: Written = "none") -> Thunk:
    """Change nothing but 0·ln 0."""
    return lambda: by_log1p(xp, p, y, reduction)


@formulation(
    "binary_cross_entropy_with_logits",
    "from_logits",
    title="max(x, 0) − x·y + log1p(exp(−|x|))",
    needs=NEEDS,
)
def from_logits(xp: Any, x: Any, y: Any, reduction: Written = "none") -> Thunk:
    """Never form a probability."""
    return lambda: from_largest(xp, x, y, reduction)
