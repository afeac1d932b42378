"""Certified gradients of attention with respect to queries, keys and values, in full.

With weights P, values V and the cotangent G of the output, all sums over what the mask leaves,

    dV = PᵀG    dP = GVᵀ    dS_ij = p_ij (dP_ij − Σ_k p_ik dP_ik)    dQ = scale·dS·K    dK = scale·dSᵀQ

dS does not change if a number is taken off a row of dP. What is taken off is dP at the key of the largest
weight, so that a row which one key dominates does not cancel: with dP' the difference, dS_ij is
p_ij dP'_ij − p_ij Σ_k p_ik dP'_ik, and dP' is 0 at that key. Everything comes in pairs with a proved error
(`pair_arrays`), weights as in attention itself, up to the products with K, Q and G, which are good to 2⁻⁶⁶
of their sums of magnitudes, and to what the radii of dS and P add. An element is good if its radius is at
most 2⁻¹⁰ ulp or 2⁻¹⁰·u of Σ_i p_ij |g_il|, |scale|·Σ_j |dS_ij| |k_jl| or |scale|·Σ_i |dS_ij| |q_il|. All
others are taken in ball arithmetic, from the formulas above.

*Zeros.* A row of dS is exactly 0 if its query sees no key, or one; if all values that it sees are the
same; if all dP_ij that it sees are, and that is proved. A sum without a term that is not exactly 0 is
exactly 0. A score cannot be infinite here, for data that are not finite are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import arb, arb_mat
from numpy.typing import NDArray

from harness.errors import InputError
from harness.formats import NumberFormat
from harness.reference import pair_arrays
from harness.reference.attention_weights import LIFT, Booleans, Heads, Panel, Weights, meets
from harness.reference.certify import RADIUS_LOG2, certify_elements, exact_balls, holds
from harness.reference.elements import FINITE, ReferenceArray
from harness.reference.pair_arrays import Pairs

Floats = NDArray[np.float64]

_INPUTS = ("q", "k", "v")


def exact_attention_gradient(
    q: Floats,
    k: Floats,
    v: Floats,
    cotangent: Floats,
    *,
    scale: Fraction | None,
    causal: bool,
    keep: Floats | None,
    fmt: NumberFormat,
    with_respect_to: tuple[str, ...],
) -> dict[str, ReferenceArray]:
    """Return the gradients of Σ cotangent·attention by name, each of the shape of that input.

    Parameters
    ----------
    q, k, v, scale, causal, keep, fmt : as of `exact_attention`, all finite.
    cotangent : finite float64 array (…, m, e), of the shape of the output.
    with_respect_to : some of "q", "k" and "v".

    Raises
    ------
    InputError
        Data that are not finite, a cotangent of another shape than the output, and as `exact_attention`.
    """
    unknown = [name for name in with_respect_to if name not in _INPUTS]
    if unknown:
        raise InputError(f"attention has gradients with respect to q, k and v, not {unknown[0]}")
    if not all(np.isfinite(a).all() for a in (q, k, v, cotangent)):
        raise InputError("the gradient of attention takes q, k, v and a cotangent that are all finite")
    heads = Heads.of(q, k, v, scale, causal, keep)
    outer = q.shape[:-2]
    if cotangent.shape != (*outer, q.shape[-2], v.shape[-1]):
        raise InputError(
            f"the output is {[*outer, q.shape[-2], v.shape[-1]]}, the cotangent {list(cotangent.shape)}"
        )
    backward = _Backward.of(heads, cotangent.reshape(len(heads.q), *cotangent.shape[-2:]))
    if heads.k.shape[1]:
        for panel in heads.panels():
            with np.errstate(all="ignore"):
                backward.take(panel)
    sign = -1.0 if scale is not None and scale < 0 else 1.0
    gradients = backward.gradients(fmt, with_respect_to, {"q": sign, "k": 1.0, "v": 1.0})
    return {name: a.reshape((*outer, *a.shape[1:])) for name, a in gradients.items()}


@dataclass(eq=False)
class _Backward:
    """Sums over the panels done so far. Those of dQ and dK lack the scale; all are times 2**LIFT."""

    heads: Heads
    cotangent: Floats
    """(c, m, e)"""
    sums: dict[str, Pairs]
    lower: dict[str, Floats]
    """Lower bounds on the sums of magnitudes of the last products."""
    nonzero: dict[str, Booleans]
    """False where the element is exactly 0."""
    live: Booleans
    """(c, m): False where a row of dS is exactly 0."""

    @classmethod
    def of(cls, heads: Heads, cotangent: Floats) -> _Backward:
        shapes = {"q": heads.q.shape, "k": heads.k.shape, "v": heads.v.shape}
        return cls(
            heads,
            cotangent,
            {name: Pairs(*np.zeros((3, *shape))) for name, shape in shapes.items()},
            {name: np.zeros(shape) for name, shape in shapes.items()},
            {name: np.zeros(shape, bool) for name, shape in shapes.items()},
            np.zeros(heads.q.shape[:2], bool),
        )

    def take(self, panel: Panel) -> None:
        """Add what the queries of a panel contribute."""
        heads, matrices = self.heads, panel[0]
        q, k, v, g = heads.q[panel], heads.k[matrices], heads.v[matrices], self.cotangent[panel]
        weights = heads.weights(panel)
        p = pair_arrays.multiply(weights.lifted, weights.inverse_sums.times_power(LIFT))
        ds, live = _score_gradient(weights, p, g, v)
        self.live[panel] = live
        seen, moved = (
            np.swapaxes(weights.visible, 1, 2),
            np.swapaxes(weights.visible & live[:, :, None], 1, 2),
        )
        for name, place, left, right, some in (
            ("q", panel, ds, k, np.swapaxes(moved, 1, 2)),
            ("k", (matrices,), ds.swapped(), q, moved),
            ("v", (matrices,), p.swapped(), g, seen),
        ):
            product = pair_arrays.matmul(left, right)
            self.sums[name].put(place, pair_arrays.add(self.sums[name][place], product))
            self.lower[name][place] += left.magnitude_down() @ np.abs(right)
            self.nonzero[name][place] |= meets(some, right != 0)

    def gradients(
        self, fmt: NumberFormat, names: tuple[str, ...], signs: Mapping[str, float]
    ) -> dict[str, ReferenceArray]:
        """Return the gradients, those by `names`, times `signs`."""
        scale = self.heads.scale_pair
        found: dict[str, ReferenceArray] = {}
        lower: dict[str, Floats] = {}
        for name in names:
            with np.errstate(all="ignore"):
                scaled = self.sums[name] if name == "v" else pair_arrays.multiply(self.sums[name], scale)
                factor = 1.0 if name == "v" else scale.magnitude_down()
                size = self.lower[name] * factor * 2.0**-LIFT * (1 - 1e-6)
            zero = ~self.nonzero[name] | (name != "v" and self.heads.scale == 0)
            found[name] = pair_arrays.to_reference(scaled, -LIFT, zero)
            lower[name] = np.where(np.isfinite(size), size, 0.0)
        wide: dict[str, Booleans] = {}
        for name in names:
            with np.errstate(divide="ignore"):
                enough = np.log2(lower[name]) - fmt.precision + RADIUS_LOG2
            wide[name] = ~holds(found[name], fmt, enough)
        for matrix in range(len(self.heads.q)):
            if any(wide[name][matrix].any() for name in names):
                self._by_balls(matrix, found, wide, lower, fmt)
        return {name: a if signs[name] > 0 else _negative(a) for name, a in found.items()}

    # ---- in ball arithmetic ----------------------------------------------------------------------

    def _by_balls(
        self,
        matrix: int,
        found: dict[str, ReferenceArray],
        wide: Mapping[str, Booleans],
        lower: Mapping[str, Floats],
        fmt: NumberFormat,
    ) -> None:
        """Replace the elements of one matrix that are too `wide`."""
        places = {name: np.argwhere(wide[name][matrix]) for name in found}
        names = [name for name, place in places.items() for _ in place]
        indices = np.concatenate(list(places.values()))
        scale = np.concatenate([lower[name][matrix][wide[name][matrix]] for name in found])

        def compute(bits: int, chosen: NDArray[np.intp]) -> list[arb]:
            wanted = [(names[i], *indices[i].tolist()) for i in chosen.tolist()]
            sums = self._ball_sums(matrix, self._needed(matrix, wanted))
            return [sums[name][i, j] for name, i, j in wanted]

        balls = certify_elements(compute, fmt=fmt, shape=(len(names),), scale=scale)
        start = 0
        for name, place in places.items():
            stop = start + len(place)
            found[name].assign((matrix, place[:, 0], place[:, 1]), balls[start:stop])
            start = stop

    def _needed(self, matrix: int, wanted: list[tuple[str, int, int]]) -> NDArray[np.intp]:
        """Return the queries that the wanted elements depend on."""
        m = self.heads.q.shape[1]
        needed = np.zeros(m, bool)
        needed[[i for name, i, _ in wanted if name == "q"]] = True
        keys = sorted({i for name, i, _ in wanted if name != "q"})
        if keys:
            needed |= self.heads.visible((slice(matrix, matrix + 1), slice(0, m)))[0][:, keys].any(axis=1)
        return np.flatnonzero(needed)

    def _ball_sums(self, matrix: int, rows: NDArray[np.intp]) -> dict[str, arb_mat]:
        """Return the gradients that the queries of `rows` make, at the precision set."""
        heads = self.heads
        k, v = heads.k[matrix], heads.v[matrix]
        (m, d), (n, e) = heads.q.shape[1:], v.shape
        keys, columns = arb_mat(n, d, exact_balls(k)), arb_mat(e, n, exact_balls(v.T))
        scale, dq = heads.scale_ball(), arb_mat(m, d)
        dk, dv = arb_mat(n, d), arb_mat(n, e)
        for some in heads.chunks(rows):
            visible = heads.visible((slice(matrix, matrix + 1), slice(0, m)))[0][some]
            p = heads.ball_weights(matrix, some, visible)
            g = arb_mat(some.size, e, exact_balls(self.cotangent[matrix, some]))
            q = arb_mat(some.size, d, exact_balls(heads.q[matrix, some]))
            ds: list[arb] = []
            for own, dp, live in zip(p, (g * columns).table(), self.live[matrix, some], strict=True):
                mean = sum((a * b for a, b in zip(own, dp, strict=True)), arb(0))
                ds.extend(a * (b - mean) if live else arb(0) for a, b in zip(own, dp, strict=True))
            of_scores = arb_mat(some.size, n, ds)
            part = of_scores * keys * scale
            for r, i in enumerate(some.tolist()):
                for j in range(d):
                    dq[i, j] = part[r, j]
            dk += of_scores.transpose() * q * scale
            dv += arb_mat(some.size, n, [w for row in p for w in row]).transpose() * g
        return {"q": dq, "k": dk, "v": dv}


def _score_gradient(weights: Weights, p: Pairs, g: Floats, v: Floats) -> tuple[Pairs, Booleans]:
    """Return dS·2**LIFT and which rows of it are not exactly 0."""
    visible = weights.visible
    dp = pair_arrays.exact(g, np.swapaxes(v, 1, 2))
    own = np.arange(visible.shape[2]) == weights.top
    shifted = pair_arrays.subtract(dp, dp.along(weights.top, 2)).where(visible & ~own)
    still = np.all((shifted.hi == 0) & (shifted.radius == 0), axis=2) | _same_values(visible, v)
    live = ~still & (weights.terms[:, :, 0] > 1)
    products = pair_arrays.multiply(p, shifted)
    means = pair_arrays.row_sums(products)
    ds = pair_arrays.subtract(products, pair_arrays.multiply(p, means).times_power(-LIFT))
    return ds.where(visible & live[:, :, None]), live


def _same_values(visible: Booleans, v: Floats) -> Booleans:
    """Return which queries see nothing but keys of one and the same value."""
    same = np.zeros(visible.shape[:2], bool)
    for c, values in enumerate(v):
        kinds, number = np.unique(values, axis=0, return_inverse=True)
        if len(kinds) < len(values):
            numbers = np.broadcast_to(number.reshape(-1), visible[c].shape)
            least = np.min(numbers, axis=1, where=visible[c], initial=len(values))
            same[c] = least >= np.max(numbers, axis=1, where=visible[c], initial=0)
    return same


def _negative(a: ReferenceArray) -> ReferenceArray:
    hi = np.where(a.kind == FINITE, -a.hi, a.hi)
    return ReferenceArray(a.kind, hi, -a.lo, a.exponent, a.radius_log2)
