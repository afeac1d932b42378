"""What a library accumulates in: sums that are exactly 0, whose terms span a chosen number of bits.

The terms are B, m·s one by one, −B and −m·s, with B = 2^r·s. While r ≤ p − 2 and m ≤ 2^(p−2), every partial
sum is a multiple of s of at most 2^(p−1)·s: an accumulator of p bits gives 0 in *any* order, so a result
other than 0 proves that it has fewer, and that the declaration is too wide. At r = p + 1 an accumulator of
p bits that holds ±B loses what it adds (2^(p+1) + 1 is below half a spacing; 2^(p+1) − 1 is a tie, and goes
to the even 2^(p+1)), and every wider format keeps it: 0 everywhere says that the declaration is too narrow.

That second side needs an order that adds some s to B before −B. Libraries reorder, block and use many lanes,
so it is asked of several placements and shapes together, and one loss is enough: what is declared is the
narrowest accumulator of any of them. A library may add some shapes in more (NumPy's contiguous float16 sums,
OpenBLAS's dot products), and that is not shown. FMA changes nothing: all products here are exact. Of what
float64 is declared for, only the first side can be asked: there is no wider format.
"""

from __future__ import annotations

import warnings

import numpy as np

from harness.formats import FORMATS

CANDIDATES = ("bfloat16", "float16", "float32", "float64")
"""The formats that libraries accumulate in."""

MOST = 1024
"""Terms s: more than the lanes of any vector unit, so that some meet B."""

_N = 60
"""Rows of the matrices that are factorised: enough for float32 errors in most entries."""


def terms(storage, precision, r, most=MOST):
    """Return rows of terms, one a placement, for B = 2^r·s; None if the format has no such B and s."""
    highest = (storage.max_finite.numerator // storage.max_finite.denominator).bit_length() - 1
    lowest = storage.exponent_min - storage.precision + 1
    small = max(lowest, min(-(r // 2), highest - r))
    if small + r > highest:
        return None
    m = min(most, 1 << (precision - 2))
    s, big = 2.0**small, 2.0 ** (small + r)
    ones = [s] * m
    half = m // 2
    rows = [
        [big, *ones, -big, -m * s],
        [-m * s, -big, *ones, big],
        [big, *ones[:half], -big, *ones[half:], -m * s],
        [-m * s, *ones[:half], -big, *ones[half:], big],
    ]
    return np.array(rows)


def departures(add, storage, declared, most=MOST):
    """Return, in words, how `add` departs from accumulating in `declared`.

    `add` takes rows of terms, rounded to the storage format, and yields (what, sums).
    """
    precision = FORMATS[declared].precision
    found = []
    r = precision - 2
    while (kept := terms(storage, precision, r, most)) is None:
        r -= 1  # float16 spans 39 bits
    found += [
        f"{what} loses terms at 2^-{r}, which {declared} keeps"
        for what, sums in add(kept)
        if np.any(sums != 0)
    ]
    wider = [name for name in CANDIDATES if FORMATS[name].precision > precision]
    lost = terms(storage, precision, precision + 1, most) if wider else None
    if lost is not None and not any(np.any(sums != 0) for _, sums in add(lost)):
        found.append(f"nothing loses terms at 2^-{precision + 1}, which {declared} cannot keep")
    return found


def sum_departures(bench, declared):
    """Return how sums along contiguous and strided axes depart from what is declared."""
    xp = bench.xp()

    def add(rows):
        strided = bench.array(rows.T)
        yield "sum along a contiguous axis", bench.values(xp.sum(bench.array(rows), axis=1))
        yield "sum along a strided axis", bench.values(xp.sum(strided, axis=0))
        for j, row in enumerate(rows):
            yield "sum of a vector", bench.values(xp.sum(bench.array(row)))
            yield "sum of a strided vector", bench.values(xp.sum(strided[:, j]))

    return departures(add, bench.storage, declared)


def matmul_departures(bench, declared):
    """Return how products of vectors and matrices depart from what is declared."""
    xp = bench.xp()

    def add(rows):
        k = rows.shape[1]
        A, one = bench.array(rows), np.ones((k, 5))
        yield "matrix times matrix", bench.values(xp.matmul(A, bench.array(one)))
        yield "matrix times transposed", bench.values(xp.matmul(bench.array(one.T), xp.transpose(A)))
        yield "matrix times vector", bench.values(xp.matmul(A, bench.array(one[:, 0])))
        many = bench.array(np.tile(rows, (10, 1)))
        yield "larger matrices", bench.values(xp.matmul(many, bench.array(np.ones((k, 40)))))
        for row in rows:
            yield "vector times vector", bench.values(xp.matmul(bench.array(row), bench.array(one[:, 0])))

    return departures(add, bench.storage, declared)


def linalg_departures(bench, declared):
    """Return how factorisations and solutions depart from what is declared.

    An unknown is −Σ of the terms, in a triangular matrix that is the identity but for one row. Factors have
    no such inner product: theirs are compared with float64's, below.
    """
    xp = bench.xp()

    def add(rows):
        n = rows.shape[1] + 1
        for row in rows:
            b = np.ones(n)
            b[-1] = 0
            lower = np.eye(n)
            lower[-1, :-1] = row
            upper = lower[::-1, ::-1].copy()
            for what, matrix, right, at in (("lower", lower, b, -1), ("upper", upper, b[::-1].copy(), 0)):
                T, is_lower = bench.array(matrix), what == "lower"
                for columns in (right, np.stack([right] * 3, axis=1)):
                    x = bench.values(xp.solve_triangular(T, bench.array(columns), lower=is_lower))
                    yield f"solve_triangular, {what}", x[at]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SciPy's, of a norm beside a pivot of 1: no row is exchanged
                x = bench.values(xp.solve(bench.array(upper), bench.array(b[::-1])))
            yield "solve", x[0]

    return departures(add, bench.storage, declared, most=64) + _rounding_departures(bench, declared)


def _rounding_departures(bench, declared):
    """Return which functions are right to the last bit where they cannot be, or are not where they must.

    Computed in a wider format and rounded once, entries are those of float64 rounded, but for one in 2^29
    that is close to a tie; computed in the storage format, rounding errors reach most entries. Where
    float64 is stored there is nothing wider to compare with, and residuals alone tell.
    """
    if bench.storage.precision >= FORMATS["float64"].precision:
        return []
    wide = FORMATS[declared].precision > bench.storage.precision
    found = []
    for name, share in correctly_rounded_shares(bench).items():
        if wide and share < 0.99:
            found.append(
                f"{name} is correctly rounded in {share:.0%}, computed in {declared} it would be everywhere"
            )
        if not wide and share > 0.9:
            found.append(
                f"{name} is correctly rounded in {share:.0%}, computed in {declared} it could not be"
            )
    return found


def correctly_rounded_shares(bench):
    """Return by function the share of entries that are float64's, rounded once; zeros are not counted."""
    xp = bench.xp()
    generator = np.random.default_rng(5)
    A = bench.rounded(generator.normal(size=(_N, _N)) + 10 * np.eye(_N))
    spd = bench.rounded(A @ A.T)
    T, b = np.tril(A), bench.rounded(generator.normal(size=_N))
    Q, R = np.linalg.qr(A)
    q, r = map(bench.values, xp.qr(bench.array(A)))
    signs = np.sign(np.diag(R)) * np.sign(np.diag(r))
    pairs = {
        "cholesky": (xp.cholesky(bench.array(spd)), np.linalg.cholesky(spd)),
        "solve": (xp.solve(bench.array(A), bench.array(b)), np.linalg.solve(A, b)),
        "solve_triangular": (
            xp.solve_triangular(bench.array(T), bench.array(b), lower=True),
            np.linalg.solve(T, b),
        ),
        "svd": (xp.svd(bench.array(A))[1], np.linalg.svd(A, compute_uv=False)),
    }
    found = {name: (bench.values(native), exact) for name, (native, exact) in pairs.items()}
    found["qr"] = (
        np.concatenate([q, r.T], axis=1),
        np.concatenate([Q * signs, (R * signs[:, None]).T], axis=1),
    )
    return {
        name: float(np.mean((values == bench.rounded(exact))[exact != 0]))
        for name, (values, exact) in found.items()
    }


DEPARTURES = {"sum": sum_departures, "matmul": matmul_departures, "linalg": linalg_departures}
