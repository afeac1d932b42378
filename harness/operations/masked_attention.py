"""Attention under a mask: what becomes of the keys that are hidden, and of a query that sees none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.model import Written
from harness.operations import attention
from harness.operations import attention_family as family
from harness.operations import attention_gradients as gradients
from harness.registry import Cost, ExactProblem, Operation, formulation, register_operation

if TYPE_CHECKING:
    from harness.reference.elements import Reference


def reference(problem: ExactProblem) -> Reference:
    """Return certified outputs; exactly 0 for a query that sees no key, by definition."""
    _check_mask(problem)
    return attention.reference(problem)


def _check_mask(problem: ExactProblem) -> None:
    import numpy as np

    q, k, keep = (problem.inputs[name] for name in ("q", "k", "keep"))
    scores = (*q.shape[:-1], k.shape[-2])
    fits = keep.ndim <= len(scores) and all(
        n in (1, of) for n, of in zip(reversed(keep.shape), reversed(scores), strict=False)
    )
    if not fits:
        raise InputError(
            f"keep has shape {list(keep.shape)}, and the scores {list(scores)}",
            "allowed is a shape that broadcasts to theirs, such as (m, n)",
        )
    if not np.isin(keep, (0.0, 1.0)).all():
        raise InputError("keep holds other numbers than 0 and 1", "1: seen, 0: hidden")


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Return the cost of attention, mn more flops for the mask, and its elements read once."""
    import math

    count, m, n, _, _ = family.rows_and_sizes(shapes)
    plain = attention.cost(shapes, parameters, element_bytes)
    return Cost(plain.flops + count * m * n, plain.bytes + math.prod(shapes["keep"]) * element_bytes)


def _added(xp: Any, q: Any, k: Any, v: Any, keep: Any, scale: Written, hidden: Any) -> Callable[[], Any]:
    """Return the thunk that adds `hidden` to the scores of keys that are not seen, in the dtype."""
    c, zero = family.scale_scalar(xp, scale, q.shape[-1]), xp.scalar(0)
    bias = xp.where(xp.greater(keep, zero), zero, hidden)

    def thunk() -> Any:
        scores = xp.add(xp.multiply(xp.matmul(q, xp.transpose(k)), c), bias)
        return xp.matmul(family.weights(xp, scores), v)

    return thunk


@formulation(
    "masked_attention", "additive_1e9", title="−1e9 added to hidden scores", needs=family.NEEDS,
    compute=family.COMPUTE,
)  # fmt: skip
def additive_1e9(
    xp: Any, q: Any, k: Any, v: Any, keep: Any, scale: Written = family.INVERSE_SQRT
) -> Callable[[], Any]:
    """Leave a query without keys a mean of values: all its scores are shifted alike.

    In float64 the scores survive the shift to 1e-7 and the mask has no effect; in float32 and bfloat16
    they are lost in it, and all weights are 1/n. In float16 −1e9 is −∞, and the row NaN.
    """
    return _added(xp, q, k, v, keep, scale, xp.scalar(-(10**9)))


@formulation(
    "masked_attention", "additive_min", title="the least finite number added to hidden scores",
    needs=family.NEEDS, compute=family.COMPUTE,
)  # fmt: skip
def additive_min(
    xp: Any, q: Any, k: Any, v: Any, keep: Any, scale: Written = family.INVERSE_SQRT
) -> Callable[[], Any]:
    """Overflow where a hidden score is at most −ulp(Ω)/2, −16 in float16: −Ω + s rounds to −∞."""
    return _added(xp, q, k, v, keep, scale, xp.negative(xp.finfo.max))


@formulation(
    "masked_attention", "minus_infinity", title="hidden scores are −∞", needs=family.NEEDS,
    compute=family.COMPUTE,
)  # fmt: skip
def minus_infinity(
    xp: Any, q: Any, k: Any, v: Any, keep: Any, scale: Written = family.INVERSE_SQRT
) -> Callable[[], Any]:
    """Give NaN to a query without keys: −∞ − (−∞)."""
    c, lowest = family.scale_scalar(xp, scale, q.shape[-1]), xp.scalar("-inf")
    sees = xp.greater(keep, xp.scalar(0))

    def thunk() -> Any:
        scores = xp.where(sees, xp.multiply(xp.matmul(q, xp.transpose(k)), c), lowest)
        return xp.matmul(family.weights(xp, scores), v)

    return thunk


@formulation(
    "masked_attention", "guarded", title="hidden scores are −∞, and a sum of 0 divides by 1",
    needs=family.NEEDS, compute=family.COMPUTE,
)  # fmt: skip
def guarded(
    xp: Any, q: Any, k: Any, v: Any, keep: Any, scale: Written = family.INVERSE_SQRT
) -> Callable[[], Any]:
    """Give 0 to a query without keys."""
    c, lowest = family.scale_scalar(xp, scale, q.shape[-1]), xp.scalar("-inf")
    sees = xp.greater(keep, xp.scalar(0))

    def thunk() -> Any:
        scores = xp.where(sees, xp.multiply(xp.matmul(q, xp.transpose(k)), c), lowest)
        return xp.matmul(family.weights(xp, scores, family.guarded_softmax), v)

    return thunk


register_operation(
    Operation(
        name="masked_attention",
        title="Attention under a mask",
        formula="y_i = Σ_j p_ij v_j, p_i = softmax of c·q_i·k_j over j with keep_ij = 1; 0 if there is none",
        inputs={**family.INPUTS, "keep": "broadcasts to (…, m, n); 1: seen, 0: hidden"},
        outputs=("y",),
        normwise=True,
        dtypes=family.DTYPES,
        reference=reference,
        reference_version=1,
        bound_formula=attention.BOUND_FORMULA + "; 0 where a query sees no key",
        bound_source=family.SOURCE,
        bound=attention.bound,
        parameters={"scale": family.SCALE},
        cost=cost,
        gradient=gradients.GRADIENT,
    )
)
