"""What attention shares: scale, masks, the softmax of scores, error terms, cost.

With scores s_ij = c·Σ_d q_id k_jd, weights p_i = softmax(s_i) over the keys that query i sees, and
y_il = Σ_j p_ij v_jl, the error of a stable algorithm is made in three places.

Scores. M_ij = |c|·Σ_d |q_id k_jd|. A product accumulated in any order has an error of at most
d·u_acc·Σ|qk| (Jeannerod and Rump 2013, theorem 3.1); `SCALE_ROUNDINGS` more of u_out each are the
rounding of the product to the storage format, and of c and of what it multiplies: the product, a factor,
or its square root both factors. Hence

    |ŝ_ij − s_ij| ≤ Δ_i = ((1 + d·u_acc)(1 + u_out)^5 − 1)·max_j M_ij + τ_i,

τ_i = ω·max(|c|, 1)·(d + 2 + Σ_d|q_id| + max_j Σ_d|k_jd|) for what underflows. A shift by the mean cancels;
in softmax numerator and normaliser move by e^Δ at most each, so that weights move by e^2Δ.

Softmax of ŝ, as in `shifted_exponentials`: with g_ij = max_j s_ij − s_ij and G_i = Σ_j p_ij g_ij the
numerator has 2·EXP_ULP + g_ij, its sum 2·EXP_ULP + 1 + G_i and (n−1)·u_acc, division, rounding to the
storage format and the products of errors one each; ĝ_ij is within 2Δ_i of g_ij.

Sums. Σ_j p̂_ij v_jl adds n·u_acc and one rounding. A tile's rescaling keeps to all of it: its factors
telescope to the same exponent, and their 2·EXP_ULP + 2 roundings a tile are fewer than a tile's keys.

All factors together lie within e^±(Λ_i + u·g_ij), and no higher order is left out:

    |ŷ_il − y_il| ≤ Σ_j p_ij |v_jl| (e^(Λ_i + u·g_ij) − 1) + ω·(n + 2·Σ_j |v_jl|)·e^Λ_i
    Λ_i = 2Δ_i·(1 + u) + (4·EXP_ULP + 5 + Ĝ_i)·u + (2n − 1)·u_acc − ln(1 − nω/2),  Ĝ_i = e^2Δ_i (G_i + 2Δ_i).

Whatever the scores were, p̂ ≥ 0 sums to 1 within e^((2n − 1)·u_acc + 6u), so that ŷ_il lies between the
least and the largest v_jl: the error is never more than their distance and as much of max|v|.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations.shifted_exponentials import EXP_ULP, SECOND_ORDER
from harness.operations.widening import AT_LEAST_SINGLE, at_least_single
from harness.registry import ExactProblem, Parameter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision

    Floats = NDArray[np.float64]

INVERSE_SQRT: Final = "inverse_sqrt"
SCALE: Final = Parameter(
    INVERSE_SQRT,
    "what scores are multiplied by; inverse_sqrt: 1/√d",
    choices=(INVERSE_SQRT,),
    kind="number",
)
INPUTS: Final[Mapping[str, str]] = {
    "q": "(…, m, d)",
    "k": "(…, n, d)",
    "v": "(…, n, e); leading dimensions equal",
}
DTYPES: Final = ("float64", "float32", "bfloat16", "float16")
NEEDS: Final = ("elementwise", "sum", "matmul")
COMPUTE: Final = AT_LEAST_SINGLE
"""Products accumulate, and the softmax is taken, in float32 at least; scores are stored in the dtype."""
SOURCE: Final = (
    "derived from: products, Jeannerod & Rump, SIAM J. Matrix Anal. Appl. 34 (2013), theorem 3.1; softmax, "
    "Blanchard, Higham & Higham, IMA J. Numer. Anal. 41 (2021), section 4"
)
SCALE_ROUNDINGS: Final = 5
"""Of u_out, in a score: of the product, and two for each of c·(qk), (cq)·k or (√c·q)·(√c·k)."""
LARGEST_EXPONENT: Final = 700.0
"""e to this is a bound without a meaning, and still a float64."""

_BLOCK: Final = 1 << 20
"""Scores that are held at a time."""
_DIGITS: Final = Context(prec=60)


# ---- scale and masks -------------------------------------------------------------------------------


def exact_scale(parameters: Mapping[str, Written]) -> Fraction | None:
    """Return the scale exactly; None: the inverse square root of d."""
    scale = parameters["scale"]
    return None if isinstance(scale, str) else Fraction(scale)


def scale_value(parameters: Mapping[str, Written], d: int) -> float:
    """Return the scale, to a relative 2⁻⁵²."""
    exact = exact_scale(parameters)
    return d**-0.5 if exact is None else float(exact)


def scale_size(parameters: Mapping[str, Written], d: int) -> float:
    """Return |scale|, to a relative 2⁻⁵²."""
    return abs(scale_value(parameters, d))


def scale_scalar(xp: Any, scale: Written, d: int) -> Any:
    """Return the scale rounded once to the dtype, as a native scalar."""
    exact = _DIGITS.divide(Decimal(1), _DIGITS.sqrt(Decimal(d))) if scale == INVERSE_SQRT else scale
    return xp.scalar(exact)


def causal_mask(xp: Any, m: int, n: int) -> Any:
    """Return the native mask (m, n) of the keys j ≤ i, grown from one element by doubling."""
    grown = xp.full((1, 1), xp.scalar(1))
    while grown.shape[0] < max(m, n):
        ones, none = xp.full(tuple(grown.shape), xp.scalar(1)), xp.zeros(tuple(grown.shape))
        grown = xp.concat([xp.concat([grown, none], axis=1), xp.concat([ones, grown], axis=1)], axis=0)
    return xp.greater(grown[:m, :n], xp.scalar(0))


def seen(xp: Any, q: Any, k: Any, causal: bool) -> Any:
    """Return the causal mask of the scores, or None where every key is seen."""
    return causal_mask(xp, q.shape[-2], k.shape[-2]) if causal else None


def masked(xp: Any, scores: Any, sees: Any) -> Any:
    """Return scores with −∞ at the keys that are not seen; `sees` may be None."""
    return scores if sees is None else xp.where(sees, scores, xp.scalar("-inf"))


def check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise InputError unless q, k and v belong together, with one key at least."""
    q, k, v = (tuple(shapes[name]) for name in "qkv")
    fit = (
        len(q) == len(k) == len(v) >= 2
        and q[:-2] == k[:-2] == v[:-2]
        and q[-1] == k[-1]
        and k[-2] == v[-2]
        and k[-2] > 0
        and q[-1] > 0
    )
    if not fit:
        raise InputError(
            f"q, k and v have shapes {list(q)}, {list(k)} and {list(v)}",
            "allowed are (…, m, d), (…, n, d) and (…, n, e), with d and n at least 1",
        )


# ---- formulations ----------------------------------------------------------------------------------


def softmax(xp: Any, scores: Any) -> Any:
    """Return the softmax of rows; NaN in one of nothing but −∞. No gradient flows through the shift."""
    shift = xp.detach(xp.max(scores, axis=-1, keepdims=True))
    e = xp.exp(xp.subtract(scores, shift))
    return xp.divide(e, xp.sum(e, axis=-1, keepdims=True))


def guarded_softmax(xp: Any, scores: Any) -> Any:
    """Return the softmax of rows; 0 throughout one of nothing but −∞."""
    zero, one, lowest = xp.scalar(0), xp.scalar(1), xp.scalar("-inf")
    top = xp.detach(xp.max(scores, axis=-1, keepdims=True))
    e = xp.exp(xp.subtract(scores, xp.where(xp.equal(top, lowest), zero, top)))
    total = xp.sum(e, axis=-1, keepdims=True)
    return xp.divide(e, xp.where(xp.equal(total, zero), one, total))


def weights(xp: Any, scores: Any, normalise: Any = softmax) -> Any:
    """Return softmax weights of stored scores, taken in float32 at least and stored in the dtype."""
    wide, values = at_least_single(xp, scores)
    p = normalise(wide, values)
    return p if wide is xp else wide.astype(p, xp.dtype.name)


# ---- error terms -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Block:
    """Some queries of one matrix of a stack, in float64: to weigh error terms, not to be exact.

    Scores of d products in float64 are within (d + 5)·2⁻⁵³·M of the exact ones, for every dtype at most
    Δ. `p` is raised by what that can do to it, so that sums over it are upper bounds.
    """

    index: tuple[int, ...]
    rows: slice
    sees: NDArray[np.bool_]
    """(r, n): which keys a query sees."""
    size: Floats
    """(r, 1): max_j M_ij over them."""
    gap: Floats
    """(r, n): g_ij, 0 at keys not seen."""
    p: Floats
    """(r, n)"""
    tilted: Floats
    """(r, n): p·(e^(u·g) − 1), with the storage format's u."""

    def of_rows(self) -> dict[str, Floats]:
        """Return `score_size` max_j M_ij, `mean_gap` G_i and `terms` n_i of each query, (r, 1)."""
        import numpy as np

        seen = np.count_nonzero(self.sees, axis=1)[:, None].astype(np.float64)
        gap = np.where(self.p > 0, self.gap, 0.0)
        mean_gap = np.sum(self.p * gap, axis=1, keepdims=True)
        return {"score_size": self.size, "mean_gap": mean_gap, "terms": seen}


def blocks(problem: ExactProblem) -> Iterator[Block]:
    """Yield the queries of a problem, `_BLOCK` scores at a time."""
    import numpy as np

    q, k = problem.inputs["q"], problem.inputs["k"]
    m, (n, d) = q.shape[-2], k.shape[-2:]
    u = float(problem.dtype.storage.unit_roundoff)
    c = scale_value(problem.parameters, d)
    keep = problem.inputs.get("keep")
    shown = None if keep is None else np.broadcast_to(keep != 0, (*q.shape[:-2], m, n))
    causal = bool(problem.parameters.get("causal", False))
    step = max(1, _BLOCK // n)
    for index in np.ndindex(*q.shape[:-2]):
        for start in range(0, m, step):
            rows = slice(start, min(start + step, m))
            sees = np.ones((rows.stop - start, n), bool)
            if causal:
                sees &= np.arange(n) <= np.arange(start, rows.stop)[:, None]
            if shown is not None:
                sees &= shown[index][rows]
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                scaled, keys = q[index][rows] * c, k[index].T
                s = scaled @ keys
                finite = np.isfinite(scaled).all(axis=1, keepdims=True) & np.isfinite(keys).all(axis=0)
                sees &= finite | (s != -np.inf)  # a score of −∞ hides its key
                size = np.max(np.abs(scaled) @ np.abs(keys), axis=1, where=sees, initial=0.0)[:, None]
                top = np.max(s, axis=1, where=sees, initial=-np.inf)[:, None]
                gap = np.where(sees, np.maximum(top - s, 0.0), 0.0)
                e = np.where(sees, np.exp(-gap), 0.0)
                inflation = np.exp(np.minimum((2 * d + 10) * 2.0**-53 * size, LARGEST_EXPONENT)) + 1e-9
                p = e / np.maximum(e.sum(axis=1, keepdims=True), 1.0) * inflation
                tilted = np.where(p > 0, p * np.expm1(u * np.where(p > 0, gap, 0.0)), 0.0)
            yield Block(index, rows, sees, size, gap, p, tilted)


def log_error_of_weights(
    problem: ExactProblem, quantities: Mapping[str, Any], precision: Precision
) -> tuple[Floats, Floats]:
    """Return (η_i, ρ), with p̂_ij between p_ij·e^±(η_i + u·g_ij) but for what underflows; ρ of all queries.

    η_i is the module's Λ_i without the sum over keys that follows. ρ is how far weights that belong
    together may be from summing to 1, as a logarithm.
    """
    import numpy as np

    u, size = precision.u_out, np.asarray(quantities["score_size"])
    d, n = problem.inputs["q"].shape[-1], np.asarray(quantities["terms"])
    delta = np.minimum(score_error(problem, size, d, precision), LARGEST_EXPONENT)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mean_gap = np.exp(2 * delta) * (np.asarray(quantities["mean_gap"]) + 2 * delta)
        lost = -np.log1p(-np.minimum(n * float(precision.format.min_subnormal) / 2, 1.0))
        roundings = 4 * EXP_ULP + 3 + SECOND_ORDER
        summed = np.maximum(n - 1, 0) * precision.u_acc
        eta = 2 * delta * (1 + u) + u * (roundings + mean_gap) + summed + lost
    total = summed + (4 + SECOND_ORDER) * u + lost
    return np.minimum(np.nan_to_num(eta, nan=np.inf), LARGEST_EXPONENT), total


def score_error(problem: ExactProblem, size: Floats, d: int, precision: Precision) -> Floats:
    """Return Δ_i of each query (module's formula), (…, m, 1), from max_j M_ij."""
    import numpy as np

    q, k = (np.where(np.isfinite(x), np.abs(x), 0.0) for x in (problem.inputs["q"], problem.inputs["k"]))
    c = max(scale_size(problem.parameters, d), 1.0)
    relative = SCALE_ROUNDINGS * np.log1p(precision.u_out) + np.log1p(d * precision.u_acc)
    relative += rounded_inputs(precision)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = q.sum(axis=-1, keepdims=True) + k.sum(axis=-1).max(axis=-1)[..., None, None]
        small = float(precision.format.min_subnormal) * c * (d + 2 + sums)
        return np.asarray(np.nan_to_num(np.expm1(relative) * size + small, nan=np.inf, posinf=np.inf))


def rounded_inputs(precision: Precision) -> float:
    """Return the logarithm of what rounding both inputs of products to fewer bits can do (TF32)."""
    import math

    return 2 * math.log1p(precision.u_in) if precision.u_in > precision.u_out else 0.0


def rows_and_sizes(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int, int, int]:
    """Return how many matrices there are, and m, n, d, e of each."""
    import math

    q, k, v = shapes["q"], shapes["k"], shapes["v"]
    return math.prod(q[:-2]), q[-2], k[-2], q[-1], v[-1]
