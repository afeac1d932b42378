"""Certified attention softmax(scale·QKᵀ + mask)·V, in full.

    o_il = Σ_j p_ij v_jl,  p_ij = w_ij / Σ_k w_ik   over the keys j that query i sees

Weights come in pairs with a proved error (`attention_weights`), relative to themselves; so does their
product with V, to 2⁻⁶⁶·Σ_j w_ij |v_jl|, and the division by their sum. An element is good if its radius
is at most 2⁻¹⁰ ulp or 2⁻¹⁰·u·Σ_j p_ij |v_jl|. Rows that hold another (scores beyond float64 or with sums
of magnitudes above 2³⁵, a value of no weight beside zeros) are taken in ball arithmetic, at a precision
that is raised until all are good.

*Zeros and other structure.* A key not seen, or of score −inf, takes no part, whatever it holds. A query
that sees no key gives 0, one that sees a single key its value, exactly; where all values seen are 0 the
result is exactly 0. A query with an undefined score (NaN, 0·∞, ∞ − ∞) or +inf among those it sees is
undefined. Values ±inf and NaN that are seen count with their (positive) weights.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from flint import arb, arb_mat
from numpy.typing import NDArray

from harness.formats import NumberFormat
from harness.reference import pair_arrays
from harness.reference.attention_gradient import exact_attention_gradient
from harness.reference.attention_weights import Booleans, Heads, Panel, Weights, meets
from harness.reference.certify import RADIUS_LOG2, certify_elements, exact_balls, holds
from harness.reference.elements import FINITE, NAN, NEG_INF, POS_INF, ZERO, ReferenceArray

__all__ = ["exact_attention", "exact_attention_gradient"]

Floats = NDArray[np.float64]


def exact_attention(
    q: Floats,
    k: Floats,
    v: Floats,
    *,
    scale: Fraction | None,
    causal: bool,
    keep: Floats | None,
    fmt: NumberFormat,
) -> ReferenceArray:
    """Return softmax(scale·QKᵀ + mask)·V, of shape (…, m, e).

    Parameters
    ----------
    q, k, v : float64 arrays (…, m, d), (…, n, d) and (…, n, e), leading dimensions equal.
    scale : of the scores; None is 1/√d.
    causal : whether query i sees key j only where j ≤ i.
    keep : array of 1 and 0 that broadcasts to (…, m, n), optional
        0 where a query does not see a key.
    fmt : format of the output, up to float64; decides what radius is small enough.

    Raises
    ------
    InputError
        Shapes that do not fit, d = 0, or `keep` other than 0 and 1.
    """
    heads = Heads.of(q, k, v, scale, causal, keep)
    raw = v.reshape(heads.v.shape)
    count, m, e = heads.q.shape[0], heads.q.shape[1], heads.v.shape[2]
    values = ReferenceArray.from_float64(np.zeros((count, m, e)))
    if heads.k.shape[1]:
        for panel in heads.panels():
            weights = heads.weights(panel)
            values.assign(panel, _panel(heads, weights, panel, raw[panel[0]], fmt))
    return values.reshape((*q.shape[:-2], m, e))


def _panel(heads: Heads, weights: Weights, panel: Panel, raw: Floats, fmt: NumberFormat) -> ReferenceArray:
    """Return the elements of a panel; `raw` are its values, with what is not finite in them."""
    v = heads.v[panel[0]]
    with np.errstate(all="ignore"):
        sums = pair_arrays.matmul(weights.lifted, v)
        inverse = weights.inverse_sums
        result = pair_arrays.multiply(sums, inverse)
        lower = weights.lifted.magnitude_down() @ np.abs(v) * inverse.magnitude_down() * (1 - 1e-6)
    visible, zero = weights.visible, ~meets(weights.visible, v != 0)
    found = pair_arrays.to_reference(result, 0, zero)
    single = np.nonzero(weights.terms[:, :, 0] == 1)
    alone = v[single[0], np.argmax(visible[single], axis=1)]
    found.assign(single, ReferenceArray.from_float64(alone))
    lower = np.where(np.isfinite(lower), lower, 0.0)
    with np.errstate(divide="ignore"):
        good = holds(found, fmt, np.log2(lower) - fmt.precision + RADIUS_LOG2)
    wanted = ~good.all(axis=2) & ~heads.undefined[panel]
    for matrix in np.flatnonzero(wanted.any(axis=1)).tolist():
        for rows in heads.chunks(np.flatnonzero(wanted[matrix])):
            here, place = (matrix, rows), (panel[0].start + matrix, panel[1].start + rows)
            kinds = np.where(zero[here], np.uint8(ZERO), np.uint8(FINITE))
            found.assign(here, _by_balls(heads, place, visible[here], lower[here], kinds, fmt))
    special = _special(visible, raw)
    special[heads.undefined[panel]] = NAN
    decided = special != FINITE
    found.assign(decided, ReferenceArray.from_kinds(special[decided]))
    return found


def _special(visible: Booleans, raw: Floats) -> NDArray[np.uint8]:
    """Return the class of each element by the values seen that are not finite, else FINITE."""
    if np.isfinite(raw).all():
        return np.full((*visible.shape[:2], raw.shape[2]), FINITE, np.uint8)
    up, down = meets(visible, raw == np.inf), meets(visible, raw == -np.inf)
    kinds = np.full(up.shape, FINITE, np.uint8)
    kinds[up] = POS_INF
    kinds[down] = NEG_INF
    kinds[(up & down) | meets(visible, np.isnan(raw))] = NAN
    return kinds


def _by_balls(
    heads: Heads,
    place: tuple[int, NDArray[np.intp]],
    visible: Booleans,
    scale: Floats,
    kinds: NDArray[np.uint8],
    fmt: NumberFormat,
) -> ReferenceArray:
    """Return (rows, e) elements in ball arithmetic; `place` is a matrix and rows of queries of it."""
    matrix, rows = place
    v = heads.v[matrix]
    n, e = v.shape

    def compute(bits: int, places: NDArray[np.intp]) -> list[arb]:
        used, found_in = np.unique(places // e, return_inverse=True)
        weights = heads.ball_weights(matrix, rows[used], visible[used])
        flat = [w for row in weights for w in row]
        found = (arb_mat(len(used), n, flat) * arb_mat(n, e, exact_balls(v))).entries()
        return [found[i * e + j] for i, j in zip(found_in.tolist(), (places % e).tolist(), strict=True)]

    return certify_elements(compute, fmt=fmt, shape=(len(rows), e), scale=scale, kinds=kinds)
