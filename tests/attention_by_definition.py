"""Attention and its gradients by their definitions, in mpmath, and data to compare them on."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from harness.formats import FORMATS, NumberFormat, round_array
from harness.reference.elements import FINITE, ZERO, ReferenceArray

BITS = 3000
"""Of mpmath, whose exponents have no limit: 2000 bits are left where scores of 1e24 cancel."""


SCALES = (None, Fraction(1), Fraction(1, 3), Fraction(-5, 2), Fraction(0))


def sees(shape: tuple[int, int], causal: bool, keep: np.ndarray | None) -> np.ndarray:
    m, n = shape
    visible = np.ones((m, n), bool) if keep is None else np.broadcast_to(keep != 0, (m, n)).copy()
    for i, j in itertools.product(range(m), range(n)):
        visible[i, j] &= not causal or j <= i
    return visible


def exact_scale(scale: Fraction | None, d: int) -> mpmath.mpf:
    if scale is None:
        return 1 / mpmath.sqrt(d)
    return mpmath.mpf(scale.numerator) / scale.denominator


def shares_by_mpmath(
    q: np.ndarray, k: np.ndarray, visible: np.ndarray, scale: Fraction | None
) -> tuple[list[list[mpmath.mpf]], list[list[mpmath.mpf]]]:
    """Return p and the scores by their definitions, without a shift; call at the precision wanted."""
    factor = exact_scale(scale, q.shape[1])
    exact_q, exact_k = ([[mpmath.mpf(x) for x in row] for row in a.tolist()] for a in (q, k))
    scores = [[factor * mpmath.fdot(a, b) for b in exact_k] for a in exact_q]
    shares = []
    for row, seen in zip(scores, visible, strict=True):
        exps = [mpmath.exp(s) if see else mpmath.mpf(0) for s, see in zip(row, seen, strict=True)]
        total = mpmath.fsum(exps)
        shares.append([e / total if total else e for e in exps])
    return shares, scores


def assert_encloses(
    found: ReferenceArray,
    exact: list[list[mpmath.mpf]],
    scale: list[list[mpmath.mpf]],
    fmt: NumberFormat,
    *,
    lost: list[list[mpmath.mpf]] | None = None,
) -> None:
    """Each exact value lies within the radius, and the radius within 2⁻¹⁰ ulp or 2⁻¹⁰·u·scale.

    `exact` is good to 2**(1000 − BITS) of `lost`, or of the scale.
    """
    assert found.shape == (len(exact), len(exact[0]))
    with mpmath.workprec(BITS):
        two = mpmath.mpf(2)
        for index in np.ndindex(*found.shape):
            wanted, natural = exact[index[0]][index[1]], scale[index[0]][index[1]]
            left = (lost or scale)[index[0]][index[1]] * two ** (1000 - BITS)
            if found.kind[index] == ZERO:
                assert abs(wanted) <= left
                continue
            assert found.kind[index] == FINITE
            value = (mpmath.mpf(float(found.hi[index])) + float(found.lo[index])) * two ** int(
                found.exponent[index]
            )
            radius = two ** mpmath.mpf(float(found.radius_log2[index]))
            assert abs(value - wanted) <= radius + left, (index, value, wanted)
            magnitude = abs(wanted) + radius
            place = max(int(mpmath.floor(mpmath.log(magnitude, 2))), fmt.exponent_min)
            ulp = two ** (place - fmt.precision + 1)
            assert radius <= max(ulp, natural * two**-fmt.precision) / 1024 * (1 + 1e-9), index


def quantities_by_definition(
    q: np.ndarray,
    k: np.ndarray,
    columns: list[list[mpmath.mpf]],
    p: list[list[mpmath.mpf]],
    s: list[list[mpmath.mpf]],
    visible: np.ndarray,
    factor: mpmath.mpf,
) -> dict[str, np.ndarray]:
    rows: dict[str, list[Any]] = {
        name: [] for name in ("terms", "mean_gap", "log_sum", "score_error", "weighted_score_error")
    }
    elements: dict[str, list[Any]] = {
        name: [] for name in ("magnitude", "magnitude_score", "magnitude_gap", "magnitude_plain")
    }
    for i in range(len(q)):
        seen = [j for j in range(len(k)) if visible[i, j]]
        terms = [
            [abs(factor * a * b) for a, b in zip(q[i].tolist(), k[j].tolist(), strict=True)] for j in seen
        ]
        sigma = [mpmath.fsum(t) for t in terms]
        gap = [max(s[i][j] for j in seen) - s[i][j] for j in seen]
        own = [p[i][j] for j in seen]
        mean_sigma, mean_gap = mpmath.fdot(own, sigma), mpmath.fdot(own, gap)
        rows["terms"].append(len(seen))
        rows["mean_gap"].append(mean_gap)
        rows["log_sum"].append(mpmath.log(mpmath.fsum(mpmath.exp(-g) for g in gap)) if seen else 0)
        rows["score_error"].append(max(sigma, default=0))
        rows["weighted_score_error"].append(mean_sigma)
        sizes = [[abs(column[j]) for j in seen] for column in columns]
        elements["magnitude"].append([mpmath.fdot(own, c) for c in sizes])
        for name, x, mean in (("magnitude_score", sigma, mean_sigma), ("magnitude_gap", gap, mean_gap)):
            weight = [w * (a + mean) for w, a in zip(own, x, strict=True)]
            elements[name].append([mpmath.fdot(weight, c) for c in sizes])
        elements["magnitude_plain"].append([mpmath.fsum(c) for c in sizes])
    return {name: np.array(a, np.float64) for name, a in (rows | elements).items()}


def normal(seed: int, *shape: int, fmt: str = "float64", spread: float = 1.0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape) * spread
    return np.asarray(round_array(FORMATS[fmt], values))


def kept(seed: int, m: int, n: int) -> np.ndarray:
    keep = np.random.default_rng(seed).integers(0, 2, (m, n)).astype(np.float64)
    keep[0] = 0  # a query that sees nothing
    keep[-1] = 0
    keep[-1, 0] = 1  # and one that sees a single key
    return keep


def gradients_by_definition(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    g: np.ndarray,
    visible: np.ndarray,
    scale: Fraction | None,
) -> dict[str, list[list[mpmath.mpf]]]:
    """Return the gradients entry by entry, as derivatives in the direction of that entry alone.

    Dual numbers: the scores' derivatives make those of p, p·(ds − Σ p ds), and these the output's.
    """
    p, _ = shares_by_mpmath(q, k, visible, scale)
    factor = exact_scale(scale, q.shape[1])
    (m, d), n, e = q.shape, len(k), v.shape[1]
    Q, K, V, G = ([[mpmath.mpf(x) for x in row] for row in a.tolist()] for a in (q, k, v, g))

    def along(i: int, ds: list[mpmath.mpf]) -> mpmath.mpf:
        """Derivative of Σ_l g_il o_il where the scores of query i change by ds."""
        mean = mpmath.fdot(p[i], ds)
        dp = [w * (x - mean) for w, x in zip(p[i], ds, strict=True)]
        return mpmath.fsum(G[i][c] * mpmath.fdot(dp, [row[c] for row in V]) for c in range(e))

    def unit(j: int, value: mpmath.mpf) -> list[mpmath.mpf]:
        return [value if r == j else mpmath.mpf(0) for r in range(n)]

    rows, keys = range(m), range(n)
    return {
        "q": [[along(i, [factor * K[j][a] for j in keys]) for a in range(d)] for i in rows],
        "k": [
            [mpmath.fsum(along(i, unit(j, factor * Q[i][a])) for i in rows) for a in range(d)] for j in keys
        ],
        "v": [[mpmath.fsum(p[i][j] * G[i][c] for i in rows) for c in range(e)] for j in keys],
    }


def gradient_quantities(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    g: np.ndarray,
    visible: np.ndarray,
    scale: Fraction | None,
) -> dict[str, list[list[mpmath.mpf]]]:
    """Return what `exact_attention_gradient` says of its quantities, in mpmath."""
    p, s = shares_by_mpmath(q, k, visible, scale)
    factor = abs(exact_scale(scale, q.shape[1]))
    (m, d), n, e = q.shape, len(k), v.shape[1]
    Q, K, V, G = ([[mpmath.mpf(x) for x in row] for row in a.tolist()] for a in (q, k, v, g))
    zero = mpmath.mpf(0)
    of_scores = {x: [[zero] * n for _ in range(m)] for x in ("", "_score", "_gap", "_plain", "product")}
    of_weights = {x: [[zero] * n for _ in range(m)] for x in ("", "_score", "_gap", "_plain")}
    for i in range(m):
        seen = [j for j in range(n) if visible[i, j]]
        if not seen:
            continue
        own = {j: p[i][j] for j in seen}

        def mean(x: dict[int, mpmath.mpf], own: dict[int, mpmath.mpf] = own) -> mpmath.mpf:
            return mpmath.fsum(own[j] * x[j] for j in own)

        size = {j: mpmath.fsum(abs(G[i][c] * V[j][c]) for c in range(e)) for j in seen}
        dp = {j: mpmath.fdot(G[i], V[j]) for j in seen}
        top = max(s[i][j] for j in seen)
        sigma = {j: factor * mpmath.fsum(abs(a * b) for a, b in zip(Q[i], K[j], strict=True)) for j in seen}
        sources = {"_score": sigma, "_gap": {j: top - s[i][j] for j in seen}}
        for j in seen:
            both = size[j] + mean(size)
            of_scores[""][i][j], of_weights[""][i][j] = own[j] * both, own[j]
            for name, x in sources.items():
                changes = {r: x[r] + mean(x) for r in seen}
                spread = mean({r: changes[r] * size[r] for r in seen})
                of_scores[name][i][j] = own[j] * (changes[j] * both + spread)
                of_weights[name][i][j] = own[j] * changes[j]
            of_scores["_plain"][i][j] = 1 + both + own[j] * mpmath.fsum(1 + size[r] for r in seen)
            of_weights["_plain"][i][j] = mpmath.mpf(1)
            of_scores["product"][i][j] = abs(own[j] * (dp[j] - mean(dp)))
    found = {}
    for kind, a in of_scores.items():
        name = kind if kind == "product" else f"magnitude{kind}"
        found[f"q_{name}"] = [
            [factor * mpmath.fsum(w * abs(y[x]) for w, y in zip(row, K, strict=True)) for x in range(d)]
            for row in a
        ]
        found[f"k_{name}"] = [
            [factor * mpmath.fsum(row[j] * abs(y[x]) for row, y in zip(a, Q, strict=True)) for x in range(d)]
            for j in range(n)
        ]
    for kind, a in of_weights.items():
        found[f"v_magnitude{kind}"] = [
            [mpmath.fsum(row[j] * abs(y[c]) for row, y in zip(a, G, strict=True)) for c in range(e)]
            for j in range(n)
        ]
    return found
