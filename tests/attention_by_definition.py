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
) -> list[list[mpmath.mpf]]:
    """Return p by its definition, without a shift; call at the precision wanted."""
    factor = exact_scale(scale, q.shape[1])
    exact_q, exact_k = ([[mpmath.mpf(x) for x in row] for row in a.tolist()] for a in (q, k))
    scores = [[factor * mpmath.fdot(a, b) for b in exact_k] for a in exact_q]
    shares = []
    for row, seen in zip(scores, visible, strict=True):
        exps = [mpmath.exp(s) if see else mpmath.mpf(0) for s, see in zip(row, seen, strict=True)]
        total = mpmath.fsum(exps)
        shares.append([e / total if total else e for e in exps])
    return shares


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
    p = shares_by_mpmath(q, k, visible, scale)
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


def gradient_sizes(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    g: np.ndarray,
    visible: np.ndarray,
    scale: Fraction | None,
) -> tuple[dict[str, list[list[mpmath.mpf]]], dict[str, list[list[mpmath.mpf]]]]:
    """Return for each gradient the sums of sizes of its last product, and of all that cancels in it.

    Those of dQ and dK are of |dS| and of p·(A + Σ p A) for it, A = |G|·|V|ᵀ.
    """
    p = shares_by_mpmath(q, k, visible, scale)
    factor = abs(exact_scale(scale, q.shape[1]))
    Q, K, G = ([[abs(mpmath.mpf(x)) for x in row] for row in a.tolist()] for a in (q, k, g))
    last, whole = [], []
    for own, row in zip(p, g.tolist(), strict=True):
        terms = [[mpmath.mpf(a) * b for a, b in zip(row, value, strict=True)] for value in v.tolist()]
        dp = [mpmath.fsum(t) for t in terms]
        size = [mpmath.fsum(map(abs, t)) for t in terms]
        mean, mean_size = mpmath.fdot(own, dp), mpmath.fdot(own, size)
        last.append([factor * abs(w * (x - mean)) for w, x in zip(own, dp, strict=True)])
        whole.append([factor * w * (x + mean_size) for w, x in zip(own, size, strict=True)])

    def product(a: Any, b: Any) -> list[list[mpmath.mpf]]:
        return [[mpmath.fdot(row, column) for column in zip(*b, strict=True)] for row in a]

    def of_scores(ds: Any) -> dict[str, list[list[mpmath.mpf]]]:
        return {"q": product(ds, K), "k": product(zip(*ds, strict=True), Q)}

    of_values = {"v": product(zip(*p, strict=True), G)}
    return of_scores(last) | of_values, of_scores(whole) | of_values
