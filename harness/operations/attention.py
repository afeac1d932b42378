"""Scaled dot-product attention: softmax(c·Q·Kᵀ)·V."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.model import Written
from harness.operations import attention_family as family
from harness.operations import attention_gradients as gradients
from harness.operations.widening import at_least_single
from harness.registry import Cost, ExactProblem, Operation, Parameter, formulation, register_operation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

TILE: Final = 128
"""Keys that `online` takes at once."""


def reference(problem: ExactProblem) -> Reference:
    """Return certified outputs, and what weighs their error terms; 0 for a query that sees no key."""
    from harness.reference.elements import Reference
    from harness.reference.exact_attention import exact_attention

    family.check_shapes({name: problem.inputs[name].shape for name in "qkv"})
    exact = exact_attention(
        *(problem.inputs[name] for name in "qkv"),
        scale=family.exact_scale(problem.parameters),
        causal=bool(problem.parameters.get("causal", False)),
        keep=problem.inputs.get("keep"),
        fmt=problem.dtype.storage,
    )
    return Reference({"y": exact}, quantities(problem))


def quantities(problem: ExactProblem) -> dict[str, Any]:
    """Return the rows' quantities, `weight` Σ_j p_ij|v_jl| and `tilt` Σ_j p_ij|v_jl|(e^(u·g_ij) − 1)."""
    import numpy as np

    q, size = problem.inputs["q"], np.abs(problem.inputs["v"])
    of_rows = (*q.shape[:-1], 1)
    made = {name: np.zeros(of_rows) for name in ("score_size", "mean_gap", "terms")}
    made |= {name: np.zeros((*q.shape[:-1], size.shape[-1])) for name in ("weight", "tilt")}
    for b in family.blocks(problem):
        with np.errstate(invalid="ignore"):
            sums = {"weight": b.p @ size[b.index], "tilt": b.tilted @ size[b.index]}
        for name, values in {**b.of_rows(), **sums}.items():
            made[name][b.index][b.rows] = values
    return made


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the bound that `attention_family` derives; a query without keys is allowed no error."""
    import numpy as np

    q, v = reference.quantities, problem.inputs["v"]
    n, u = v.shape[-2], precision.u_out
    eta, total = family.log_error_of_weights(problem, q, precision)
    summed = n * precision.u_acc + u + family.rounded_inputs(precision)
    least = np.minimum(eta + summed, family.LARGEST_EXPONENT)
    size = np.abs(v)
    lost = float(precision.format.min_subnormal) * (n + 2 * size.sum(axis=-2, keepdims=True))
    with np.errstate(over="ignore", invalid="ignore"):
        weight, tilt = np.asarray(q["weight"]), np.asarray(q["tilt"])
        spread = np.expm1(least) * weight + np.exp(least) * (tilt + lost)
        apart = v.max(axis=-2, keepdims=True) - v.min(axis=-2, keepdims=True)
        largest = size.max(axis=-2, keepdims=True)
        within = apart + np.expm1(total + summed) * largest + np.exp(total + summed) * lost
    allowed = np.fmin(spread, within)
    allowed = np.where(np.isnan(allowed), np.inf, allowed)  # of values that are not all finite
    return {"y": np.where(np.asarray(q["terms"]) == 0, -np.inf, np.log2(allowed))}


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Return 2mn(d + e) flops of the products, mn of the scale, 5mn of the softmax; q, k, v, y once.

    A causal product is counted in full: what skips half of it is faster, not doing other work.
    """
    count, m, n, d, e = family.rows_and_sizes(shapes)
    return Cost(
        count * (2 * m * n * (d + e) + 6 * m * n), count * (m * d + n * d + n * e + m * e) * element_bytes
    )


# ---- formulations ----------------------------------------------------------------------------------


@formulation(
    "attention", "unscaled", title="softmax(Q·Kᵀ)·V: the scale forgotten", needs=family.NEEDS,
    compute=family.COMPUTE,
)  # fmt: skip
def unscaled(
    xp: Any, q: Any, k: Any, v: Any, scale: Written = family.INVERSE_SQRT, causal: bool = False
) -> Callable[[], Any]:
    """Forget the scale: another function, unless the scale is 1."""
    sees = family.seen(xp, q, k, causal)

    def thunk() -> Any:
        return xp.matmul(family.weights(xp, family.masked(xp, xp.matmul(q, xp.transpose(k)), sees)), v)

    return thunk


@formulation(
    "attention", "naive", title="exp(c·Q·Kᵀ) over its sum, unshifted, in the dtype", needs=family.NEEDS
)
def naive(
    xp: Any, q: Any, k: Any, v: Any, scale: Written = family.INVERSE_SQRT, causal: bool = False
) -> Callable[[], Any]:
    """Overflow where a score passes ln Ω."""
    c, zero = family.scale_scalar(xp, scale, q.shape[-1]), xp.scalar(0)
    sees = family.seen(xp, q, k, causal)

    def thunk() -> Any:
        e = xp.exp(xp.multiply(xp.matmul(q, xp.transpose(k)), c))
        if sees is not None:
            e = xp.where(sees, e, zero)
        return xp.matmul(xp.divide(e, xp.sum(e, axis=-1, keepdims=True)), v)

    return thunk


@formulation(
    "attention", "scaled", title="softmax(c·(Q·Kᵀ))·V, softmax in float32 or wider", needs=family.NEEDS,
    compute=family.COMPUTE,
)  # fmt: skip
def scaled(
    xp: Any, q: Any, k: Any, v: Any, scale: Written = family.INVERSE_SQRT, causal: bool = False
) -> Callable[[], Any]:
    """Scale the product, which is stored in the dtype: it overflows where Σqk does."""
    c = family.scale_scalar(xp, scale, q.shape[-1])
    sees = family.seen(xp, q, k, causal)

    def thunk() -> Any:
        scores = xp.multiply(xp.matmul(q, xp.transpose(k)), c)
        return xp.matmul(family.weights(xp, family.masked(xp, scores, sees)), v)

    return thunk


@formulation(
    "attention", "prescaled", title="softmax((c·Q)·Kᵀ)·V, softmax in float32 or wider", needs=family.NEEDS,
    compute=family.COMPUTE,
)  # fmt: skip
def prescaled(
    xp: Any, q: Any, k: Any, v: Any, scale: Written = family.INVERSE_SQRT, causal: bool = False
) -> Callable[[], Any]:
    """Scale the queries: the product overflows where c·Σqk does, √d times later."""
    c = family.scale_scalar(xp, scale, q.shape[-1])
    sees = family.seen(xp, q, k, causal)

    def thunk() -> Any:
        scores = xp.matmul(xp.multiply(q, c), xp.transpose(k))
        return xp.matmul(family.weights(xp, family.masked(xp, scores, sees)), v)

    return thunk


@formulation(
    "attention", "online", title=f"running maximum and sums over tiles of {TILE} keys, float32 or wider",
    needs=family.NEEDS, compute=family.COMPUTE,
)  # fmt: skip
def online(
    xp: Any, q: Any, k: Any, v: Any, scale: Written = family.INVERSE_SQRT, causal: bool = False
) -> Callable[[], Any]:
    """Hold the scores of one tile of keys at a time: memory in proportion to m + n.

    Milakov and Gimelshein (2018), Algorithm 3; with the output rescaled too, FlashAttention (Dao 2022).
    """
    n = k.shape[-2]
    sees = family.seen(xp, q, k, causal)

    def thunk() -> Any:
        wide, queries = at_least_single(xp, q)
        queries = wide.multiply(queries, family.scale_scalar(wide, scale, q.shape[-1]))
        top = total = y = None
        for start in range(0, n, TILE):
            keys = at_least_single(xp, k[..., start : start + TILE, :])[1]
            values = at_least_single(xp, v[..., start : start + TILE, :])[1]
            scores = wide.matmul(queries, wide.transpose(keys))
            scores = family.masked(wide, scores, None if sees is None else sees[..., start : start + TILE])
            largest = wide.detach(wide.max(scores, axis=-1, keepdims=True))
            shift = largest if top is None else wide.maximum(top, largest)
            e = wide.exp(wide.subtract(scores, shift))
            part, product = wide.sum(e, axis=-1, keepdims=True), wide.matmul(e, values)
            if top is None:
                total, y = part, product
            else:
                kept = wide.exp(wide.subtract(top, shift))
                total = wide.add(wide.multiply(total, kept), part)
                y = wide.add(wide.multiply(y, kept), product)
            top = shift
        y = wide.divide(y, total)
        return y if wide is xp else wide.astype(y, xp.dtype.name)

    return thunk


BOUND_FORMULA: Final = (
    "Σ_j p_ij|v_jl|(e^(Λ_i + u·g_ij) − 1) + ω·(n + 2Σ_j|v_jl|)·e^Λ_i, at most max v − min v and rounding; "
    "Λ_i = 2(1 + u)Δ_i + (17 + Ĝ_i)·u + (2n − 1)·u_acc, "
    "Δ_i = ((1 + d·u_acc)(1 + u)^5 − 1)·max_j |c|Σ|q_id k_jd| + underflow"
)

register_operation(
    Operation(
        name="attention",
        title="Scaled dot-product attention",
        formula="y_i = Σ_j p_ij v_j, p_i = softmax_j(c·q_i·k_j); causal: over j ≤ i",
        inputs=family.INPUTS,
        outputs=("y",),
        normwise=True,
        dtypes=family.DTYPES,
        reference=reference,
        reference_version=1,
        bound_formula=BOUND_FORMULA,
        bound_source=family.SOURCE,
        bound=bound,
        parameters={
            "scale": family.SCALE,
            "causal": Parameter(
                False, "whether query i sees keys up to the i-th only, from the top left", (False, True)
            ),
        },
        cost=cost,
        gradient=gradients.GRADIENT,
    )
)
