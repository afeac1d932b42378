"""Shannon's entropy, in nats or bits."""

from __future__ import annotations

from typing import Any, Final

from harness.model import Written
from harness.operations import weighted_logarithms as logs
from harness.operations.definition import operation
from harness.registry import Parameter, Thunk, formulation

NEEDS: Final = ("elementwise", "sum")
BASE: Final = Parameter("e", "of the logarithm: nats, or bits", choices=("e", 2))


def meant(xp: Any, p: Any, base: Written) -> Any:
    """Return −Σ p·log p, 0·log 0 = 0; the p are taken as they are, whatever their sum."""
    inside = xp.where(xp.equal(p, xp.scalar(0)), xp.scalar(1), p)
    return -xp.sum(p * (xp.log(inside) if base == "e" else xp.log2(inside)), axis=-1)


def without_zeros(xp: Any, p: Any, base: Written) -> Any:
    """Return −Σ p·log p, 0 where p is 0."""
    log = xp.log if base == "e" else xp.log2
    return xp.negative(xp.sum(logs.product(xp, p, log, p), axis=-1))


operation(
    name="entropy",
    title="Entropy",
    formula="H = −Σ_i p_i·log p_i, 0·log 0 = 0; the p_i as they are, whatever their sum",
    inputs={"p": "(…, n), probabilities"},
    outputs=("entropy",),
    parameters={"base": BASE},
    definition=meant,
    stable=without_zeros,
    algorithm="−Σ p·log p, 0 where p is 0",
    differentiable=("p",),
    gradient_formula="−g·(ln p_i + 1)/ln base, and 0 where p_i = 0, as of a term left out",
    cost=logs.cost(3),
    check=logs.require_equal_shapes,
)


def _register(name: str, title: str, guard: logs.Guard) -> None:
    @formulation("entropy", name, title=title, needs=NEEDS)
    def of_all(xp: Any, p: Any, base: Written = "e") -> Thunk:
        """Divide by ln 2 once, at the end, as one does without a logarithm of its own to base 2."""
        log = guard(xp)

        def thunk() -> Any:
            nats = xp.negative(xp.sum(xp.multiply(p, log(p)), axis=-1))
            return nats if base == "e" else xp.divide(nats, xp.log(xp.scalar(2)))

        return thunk


_register("direct", "−Σ p·ln p", logs.plain)
for _name in ("plus_1e15", "plus_1e12", "plus_1e9", "clip_1e7"):
    _register(_name, f"−Σ p·ln p, in the logarithm {logs.GUARDS[_name][0]}", logs.GUARDS[_name][1])


@formulation("entropy", "guarded", title="−Σ p·log p, 0 where p is 0", needs=NEEDS)
def guarded(xp: Any, p: Any, base: Written = "e") -> Thunk:
    """Change nothing but 0·log 0; logarithms to the base that is asked for."""
    return lambda: without_zeros(xp, p, base)


@formulation(
    "entropy",
    "categorical",
    title="torch.distributions.Categorical(p).entropy(): p over its sum, clipped to [eps, 1 − eps]",
    backends=("torch-cpu", "torch-cuda"),
    compute={"float64": "float64", "float32": "float32", "bfloat16": "float32", "float16": "float32"},
)
def categorical(xp: Any, p: Any, base: Written = "e") -> Thunk:
    """Return torch's own, which knows no entropy below eps and no base but e."""
    import math

    from torch.distributions import Categorical

    divisor = 1 if base == "e" else math.log(2)
    return lambda: Categorical(probs=p, validate_args=False).entropy() / divisor
