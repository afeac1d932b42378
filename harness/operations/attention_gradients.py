"""Gradients of attention: dV = Pᵀ·G, dS = P∘(G·Vᵀ − D), dQ = c·dS·K, dK = c·dSᵀ·Q.

With G the cotangent, D_i = Σ_j p_ij Σ_l g_il v_jl and N_ij = Σ_l |g_il v_jl|, every dS_ij is a sum of
products of which T_ij = p_ij·(N_ij + Σ_j' p_ij' N_ij') is the sum of sizes. Computed weights lie within
e^±(η_i + u·g_ij) of the exact ones (`attention_family`), and occur twice at most in a product. What else
enters a product: e roundings of G·Vᵀ, n of D (from the output as Σ_l g_il ŷ_il, e more at most), the last
sum's m or n, and `ROUNDINGS` of u. With p⁺_ij = p_ij·e^(u·g_ij) for p in T⁺, and no higher order left out,

    |dQ̂_id − dQ_id| ≤ |c|·Σ_j (e^Λ_i T⁺_ij − T_ij)·|k_jd| + ω·e^Λ_i·Z,
    Λ_i = 2η_i + (2e + n + max(m, n))·u_acc + 12u,

and with the largest Λ of all queries for dK. For dV, Λ = η + m·u_acc + u, and p_ij|g_il| the sizes. Z counts
what underflows: 2ω of each weight, ω of each product and rounding, carried to the result.

No gradient flows through the shift of a softmax, for that of any shift is exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.model import Written
from harness.operations import attention_family as family
from harness.operations.widening import at_least_single
from harness.registry import COTANGENT, Cost, ExactProblem, Gradient, gradient, gradient_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

    Floats = NDArray[np.float64]

ROUNDINGS: Final = 12
"""Of u_out: G·Vᵀ 1; its quotients by the sum 2, products 2, their sum 1, difference 1, product with p 1,
to the storage format 1, the scale and its product 2, the last sum 1."""


def reference(problem: ExactProblem) -> Reference:
    """Return certified gradients, and the sums of sizes that weigh their error terms."""
    from harness.reference.attention_gradient import exact_attention_gradient
    from harness.reference.elements import Reference

    family.check_shapes({name: problem.inputs[name].shape for name in "qkv"})
    exact = exact_attention_gradient(
        *(problem.inputs[name] for name in ("q", "k", "v", COTANGENT)),
        scale=family.exact_scale(problem.parameters),
        causal=bool(problem.parameters.get("causal", False)),
        keep=problem.inputs.get("keep"),
        fmt=problem.dtype.storage,
        with_respect_to=problem.with_respect_to,
    )
    return Reference({gradient_output(name): exact[name] for name in problem.with_respect_to}, sizes(problem))


def sizes(problem: ExactProblem) -> dict[str, Any]:
    """Return the rows' quantities, and for each input wanted its sums of sizes.

    `size_q` |c|·Σ_j T_ij|k_jd|, `tilt_q` the same of T⁺ − T, `lost_q` in units of ω; so for k and v.
    """
    import numpy as np

    q, k, v, g = (np.abs(problem.inputs[name]) for name in ("q", "k", "v", COTANGENT))
    (m, d), (n, e) = q.shape[-2:], v.shape[-2:]
    c = family.scale_size(problem.parameters, d)
    made = {name: np.zeros((*q.shape[:-1], 1)) for name in ("score_size", "mean_gap", "terms")}
    for name in problem.with_respect_to:
        made |= {f"{what}_{name}": np.zeros(problem.inputs[name].shape) for what in ("size", "tilt", "lost")}
    for b in family.blocks(problem):
        for name, values in b.of_rows().items():
            made[name][b.index][b.rows] = values
        at: Any = b.index
        rows: Any = (*b.index, b.rows)
        if "v" in problem.with_respect_to:
            made["size_v"][at] += b.p.T @ g[rows]
            made["tilt_v"][at] += b.tilted.T @ g[rows]
            made["lost_v"][at] += 2 * b.sees.T @ g[rows] + b.sees.sum(axis=0)[:, None] + 1
        product = np.where(b.sees, g[rows] @ v[at].T, 0.0)
        mean = np.sum(b.p * product, axis=1, keepdims=True)
        raised = np.sum(b.tilted * product, axis=1, keepdims=True)
        size = b.p * (product + mean)
        tilt = b.tilted * (product + mean + raised) + b.p * raised
        lost = 2 * (product + mean + b.p * product.sum(axis=1, keepdims=True)) + b.p * (2 * e + 2 + n)
        lost = np.where(b.sees, c * (lost + 2) + 1, 0.0)
        if "q" in problem.with_respect_to:
            made["size_q"][rows] = c * size @ k[at]
            made["tilt_q"][rows] = c * tilt @ k[at]
            made["lost_q"][rows] = lost @ k[at] + n * max(c, 1.0) + 1
        if "k" in problem.with_respect_to:
            made["size_k"][at] += c * size.T @ q[rows]
            made["tilt_k"][at] += c * tilt.T @ q[rows]
            made["lost_k"][at] += lost.T @ q[rows] + (size + tilt).T.sum(axis=1, keepdims=True)
            made["lost_k"][at] += m * max(c, 1.0) + 1
    return made


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the bounds that the module derives."""
    import numpy as np

    q, found = reference.quantities, {}
    m, (n, e) = problem.inputs["q"].shape[-2], problem.inputs["v"].shape[-2:]
    eta, _ = family.log_error_of_weights(problem, q, precision)
    rounded = family.rounded_inputs(precision)
    of_scores = (2 * e + n + max(m, n)) * precision.u_acc + ROUNDINGS * precision.u_out + 3 * rounded
    of_values = m * precision.u_acc + precision.u_out + rounded
    for name in problem.with_respect_to:
        exponent = eta + of_values if name == "v" else 2 * eta + of_scores
        if name != "q":
            exponent = np.max(exponent, axis=-2, keepdims=True)
        exponent = np.minimum(exponent, family.LARGEST_EXPONENT)
        size, tilt, lost = (np.asarray(q[f"{what}_{name}"]) for what in ("size", "tilt", "lost"))
        absolute = tilt + float(precision.format.min_subnormal) * lost
        with np.errstate(over="ignore", divide="ignore"):
            total = np.log2(np.expm1(exponent) * size + np.exp(exponent) * absolute)
        if name == "q":
            total = np.where(np.asarray(q["terms"]) == 0, -np.inf, total)
        found[gradient_output(name)] = total
    return found


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Return the value's 2mn(d + e) + 6mn flops, four more products' 4mn(d + e), and 5mn of dS.

    Read and written once: q, k, v, the cotangent, and the three gradients.
    """
    count, m, n, d, e = family.rows_and_sizes(shapes)
    elements = 2 * (m * d + n * d + n * e) + m * e
    return Cost(count * (6 * m * n * (d + e) + 11 * m * n), count * elements * element_bytes)


GRADIENT: Final = Gradient(
    with_respect_to=("q", "k", "v"),
    formula="dV = Pᵀ·G, dS = P∘(G·Vᵀ − rowsum(P∘(G·Vᵀ))), dQ = c·dS·K, dK = c·dSᵀ·Q",
    reference=reference,
    reference_version=1,
    bound_formula=(
        "|c|·Σ_j (e^Λ_i T⁺_ij − T_ij)·|k_jd| + ω·e^Λ_i·Z, T_ij = p_ij(N_ij + Σ p N), N_ij = Σ_l|g_il v_jl|, "
        "T⁺ with p·e^(u·g); Λ_i = 2η_i + (2e + n + max(m, n))·u_acc + 12u"
    ),
    bound_source=family.SOURCE,
    bound=bound,
    cost=cost,
)


# ---- NumPy's own -----------------------------------------------------------------------------------


def _backward(
    xp: Any, p: Any, left: Any, right: Any, v: Any, g: Any, wanted: tuple[str, ...], c: Any, before: bool
) -> tuple[Any, ...]:
    """Return the gradients from stored weights p; `left` and `right` are what scores were a product of.

    `before`: dS is scaled before it is multiplied with (q, k); otherwise what is made for cq from (cq, k).
    """
    found = {}
    if "v" in wanted:
        found["v"] = xp.matmul(xp.transpose(p), g)
    if wanted != ("v",):
        wide, product = at_least_single(xp, xp.matmul(g, xp.transpose(v)))
        shares = at_least_single(xp, p)[1]
        mean = wide.sum(wide.multiply(shares, product), axis=-1, keepdims=True)
        ds = wide.multiply(shares, wide.subtract(product, mean))
        ds = ds if wide is xp else wide.astype(ds, xp.dtype.name)
        if before:
            ds = xp.multiply(ds, c)
        if "q" in wanted:
            dq = xp.matmul(ds, right)
            found["q"] = dq if before else xp.multiply(dq, c)
        if "k" in wanted:
            found["k"] = xp.matmul(xp.transpose(ds), left)
    return tuple(found[name] for name in wanted)


@gradient(
    "attention", "scaled", title="through P, with dS scaled", needs=family.NEEDS, compute=family.COMPUTE
)
def scaled(
    xp: Any, q: Any, k: Any, v: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("q", "k", "v"),
    scale: Written = family.INVERSE_SQRT, causal: bool = False,
) -> Callable[[], Any]:  # fmt: skip
    """Take the softmax of c·(q·k), and scale dS."""
    c = family.scale_scalar(xp, scale, q.shape[-1])
    sees = family.seen(xp, q, k, causal)

    def thunk() -> Any:
        scores = xp.multiply(xp.matmul(q, xp.transpose(k)), c)
        p = family.weights(xp, family.masked(xp, scores, sees))
        return _backward(xp, p, q, k, v, cotangent, with_respect_to, c, before=True)

    return thunk


@gradient(
    "attention", "prescaled", title="through P, with dQ scaled", needs=family.NEEDS, compute=family.COMPUTE
)
def prescaled(
    xp: Any, q: Any, k: Any, v: Any, cotangent: Any, with_respect_to: tuple[str, ...] = ("q", "k", "v"),
    scale: Written = family.INVERSE_SQRT, causal: bool = False,
) -> Callable[[], Any]:  # fmt: skip
    """Take the softmax of (c·q)·k, and scale what is made for c·q."""
    c = family.scale_scalar(xp, scale, q.shape[-1])
    sees = family.seen(xp, q, k, causal)

    def thunk() -> Any:
        queries = xp.multiply(q, c)
        scores = xp.matmul(queries, xp.transpose(k))
        p = family.weights(xp, family.masked(xp, scores, sees))
        return _backward(xp, p, queries, k, v, cotangent, with_respect_to, c, before=False)

    return thunk


@gradient(
    "masked_attention", "guarded", title="through P, 0 where a query sees no key", needs=family.NEEDS,
    compute=family.COMPUTE,
)  # fmt: skip
def guarded(
    xp: Any, q: Any, k: Any, v: Any, keep: Any, cotangent: Any,
    with_respect_to: tuple[str, ...] = ("q", "k", "v"), scale: Written = family.INVERSE_SQRT,
) -> Callable[[], Any]:  # fmt: skip
    """Weights of a query without keys are 0, and so is every product with them."""
    c = family.scale_scalar(xp, scale, q.shape[-1])
    sees = xp.greater(keep, xp.scalar(0))

    def thunk() -> Any:
        scores = family.masked(xp, xp.multiply(xp.matmul(q, xp.transpose(k)), c), sees)
        p = family.weights(xp, scores, family.guarded_softmax)
        return _backward(xp, p, q, k, v, cotangent, with_respect_to, c, before=True)

    return thunk
