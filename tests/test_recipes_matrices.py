"""Matrices: certified condition, rank and residual of the rounded data, in exact or ball arithmetic."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, arb_mat, ctx, fmpq, fmpq_mat

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, round_array
from harness.model import InputSpec, Problem
from harness.recipes import RandomStream, make_inputs
from harness.recipes.conditioned import MODES, spectrum
from harness.recipes.orthogonal import (
    dyadic_orthonormal,
    largest_singular_value,
    ordered_sum,
    orthogonalised,
    random_orthonormal,
    triangular_inverse,
)

catalogue.load()

WORKING = ("float64", "float32", "bfloat16", "float16")


def make(dtype, *specs, seed=0):
    inputs = tuple(InputSpec(name, recipe, arguments) for name, recipe, arguments in specs)
    problem = Problem("key", "case", "operation", dtype, "forward", seed, {}, inputs, ".")
    return make_inputs(problem, DTYPES[dtype])


def conditioned(dtype, condition, shape, mode="geometric", seed=0):
    arguments = {"condition": condition, "shape": shape, "mode": mode}
    values, errors = make(dtype, ("A", "conditioned", arguments), seed=seed)
    return values["A"], errors["A"]


def exact(matrix):
    """A float64 matrix as rationals."""
    entries = [fmpq(*Fraction(v).as_integer_ratio()) for v in matrix.reshape(-1).tolist()]
    return fmpq_mat(matrix.shape[0], matrix.shape[1], entries)


def as_fraction(x):
    return Fraction(int(x.p), int(x.q))


def norm_bounds(gram, prec):
    """Certified bounds of the largest eigenvalue of a positive definite matrix: trace of its 64th power.

    λ^64 ≤ tr G^64 ≤ n·λ^64. The matrix is scaled by its trace, so that powers stay near 1.
    """
    n = gram.nrows()
    with ctx.workprec(prec):
        trace = sum((gram[i, i] for i in range(n)), arb(0))
        power = arb_mat(n, n, [e / trace for e in gram.entries()])
        for _ in range(6):
            power = power * power
        total = sum((power[i, i] for i in range(n)), arb(0))
        upper = total ** (arb(1) / 64) * trace
        return upper / arb(n) ** (arb(1) / 64), upper


def condition_bounds(matrix):
    """Certified bounds of the 2-norm condition number of a float64 matrix, within a few percent."""
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    a = exact(matrix)
    gram = a.transpose() * a
    inverse = gram.inv()  # exact: raises for a singular matrix
    prec = 4000
    with ctx.workprec(prec):
        low, high = norm_bounds(arb_mat(gram), prec)
        inverse_low, inverse_high = norm_bounds(arb_mat(inverse), prec)
        return float((low * inverse_low).sqrt().lower()), float((high * inverse_high).sqrt().upper())


def test_the_certifier_knows_a_condition_number():
    low, high = condition_bounds(np.diag([8.0, 2.0, 0.5]) @ np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1.0]]))
    assert low <= 16 <= high
    assert high / low < 1.05


# ---- conditioned ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [[24, 8], [24, 6], [8, 8], [6, 20], [3, 2]])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", WORKING)
def test_the_condition_of_the_rounded_matrix(dtype, mode, shape):
    reach = 100 * 2 ** FORMATS[dtype].precision  # 100/u
    for k in range(9):
        condition = Decimal(reach) ** (Decimal(k) / 8)
        matrix, error = conditioned(dtype, condition, shape, mode, seed=k % 2)
        low, high = condition_bounds(matrix)
        assert low <= high < 1.05 * low
        # a factor 4 is what the recipe states
        assert float(condition) / 4 <= low
        assert high <= 4 * float(condition)
        assert list(matrix.shape) == shape
        if condition * 16 > 2 ** FORMATS[dtype].precision:
            assert error == 0  # built on the grid


@pytest.mark.parametrize("dtype", WORKING)
def test_tall_matrices_come_within_a_few_percent(dtype):
    for condition in (3, 10 * 2 ** FORMATS[dtype].precision):
        matrix, _ = conditioned(dtype, condition, [24, 8])
        low, high = condition_bounds(matrix)
        assert 0.9 * condition <= low
        assert high <= 1.15 * condition  # 1.05 for the bounds, the rest for rounding


@pytest.mark.parametrize("dtype", WORKING)
@pytest.mark.parametrize("shape", [[24, 8], [8, 8]])
def test_no_scaling_of_rows_and_columns_takes_the_condition_away(dtype, shape):
    condition = 100 * 2 ** FORMATS[dtype].precision
    matrix, _ = conditioned(dtype, condition, shape, "one_small")
    scaled = matrix.copy()
    for axis in (0, 1, 0, 1):  # powers of two, so that nothing is rounded
        longest = np.max(np.abs(scaled), axis=axis, keepdims=True)
        scaled = np.ldexp(scaled, -np.frexp(longest)[1])
    low, _ = condition_bounds(scaled)
    assert low > condition / 16


@pytest.mark.parametrize("dtype", [d for d in FORMATS if FORMATS[d].signed])
@pytest.mark.parametrize("shape", [[24, 8], [7, 7], [5, 11], [1, 1]])
def test_condition_one_is_exactly_orthonormal(dtype, shape):
    matrix, error = conditioned(dtype, 1, shape)
    a = exact(matrix if shape[0] >= shape[1] else matrix.T)
    columns = a.ncols()
    if error == 0:
        assert a.transpose() * a == fmpq_mat(
            columns, columns, [fmpq(i == j) for i in range(columns) for j in range(columns)]
        )
    else:
        assert dtype == "float4_e2m1fn"  # it ends at ½, where the others hold ¼


@pytest.mark.parametrize("mode", MODES)
def test_singular_values_are_those_of_the_mode(mode):
    matrix, _ = conditioned("float64", 1000, [30, 7], mode)
    found = np.linalg.svd(matrix, compute_uv=False)
    wanted = spectrum(Fraction(1000), 7, mode)
    assert wanted[0] == 1
    assert wanted[-1] == pytest.approx(1e-3, rel=1e-14)
    # float64 moves σ by at most about m·n·u = 210·1.1e−16, of 1e−3
    assert found == pytest.approx(wanted, rel=1e-10)


def test_the_three_spectra():
    assert spectrum(Fraction(16), 5, "geometric").tolist() == [1, 0.5, 0.25, 0.125, 0.0625]
    assert spectrum(Fraction(4), 4, "arithmetic").tolist() == [1, 0.75, 0.5, 0.25]
    assert spectrum(Fraction(4), 4, "one_small").tolist() == [1, 1, 1, 0.25]


def test_beyond_a_narrow_range_the_matrix_is_lifted():
    matrix, _ = conditioned("float16", Decimal("1e8"), [24, 8])
    low, high = condition_bounds(matrix)
    assert low >= 1e8 / 4
    assert high <= 4e8
    with pytest.raises(InputError, match="float16 holds no matrix of this condition"):
        conditioned("float16", Decimal("1e14"), [24, 8])


def test_formats_without_negative_numbers_are_refused():
    with pytest.raises(InputError, match="float8_e8m0fnu does not hold the negative numbers"):
        conditioned("float8_e8m0fnu", 10, [4, 4])


# ---- spd -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 9])
@pytest.mark.parametrize("dtype", WORKING)
def test_spd_matrices_are_symmetric_definite_and_conditioned(dtype, n):
    reach = 100 * 2 ** FORMATS[dtype].precision
    for k in range(7):
        condition = Decimal(reach) ** (Decimal(k) / 6)
        values, _ = make(dtype, ("A", "spd", {"condition": condition, "n": n}))
        a = exact(values["A"])
        assert a == a.transpose()
        for order in range(1, n + 1):  # Sylvester's criterion, exactly
            minor = fmpq_mat(order, order, [a[i, j] for i in range(order) for j in range(order)])
            assert minor.det() > 0
        low, high = condition_bounds(values["A"])
        assert float(condition) / 2 <= low
        assert high <= 2 * float(condition)


def test_spd_beyond_reach_is_refused():
    with pytest.raises(InputError, match="no symmetric matrix of condition 1e\\+30 was found in float32"):
        make("float32", ("A", "spd", {"condition": Decimal("1e30"), "n": 4}))


# ---- low rank ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*WORKING, "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize(("rank", "shape"), [(1, [4, 3]), (2, [12, 6]), (3, [4, 9]), (5, [12, 6])])
def test_low_rank_is_exact(dtype, rank, shape):
    values, errors = make(dtype, ("A", "low_rank", {"rank": rank, "shape": shape}))
    assert errors["A"] == 0
    assert exact(values["A"]).rank() == rank
    assert np.array_equal(values["A"], np.rint(values["A"]))


def test_factors_that_lack_rank_are_drawn_again():
    for seed in range(40):  # one in seven first factors is 0
        values, _ = make("float32", ("A", "low_rank", {"rank": 1, "shape": [1, 1]}), seed=seed)
        assert values["A"][0, 0] != 0


def test_a_rank_beyond_the_format_is_refused():
    with pytest.raises(InputError, match="float4_e2m1fn does not hold the integers"):
        make("float4_e2m1fn", ("A", "low_rank", {"rank": 40, "shape": [50, 50]}))


# ---- named matrices ------------------------------------------------------------------------------------


def test_named_matrices():
    values, errors = make(
        "float64",
        ("I", "identity", {"n": 3}),
        ("H", "hilbert", {"n": 4}),
        ("L", "lauchli", {"n": 2, "epsilon": Decimal("0.25")}),
        ("V", "vandermonde", {"low": -1, "high": 1, "shape": [5, 3]}),
        ("W", "wilkinson", {"n": 4}),
    )
    assert values["I"].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert values["H"].tolist() == [[1 / (i + j + 1) for j in range(4)] for i in range(4)]
    assert values["L"].tolist() == [[1, 1], [0.25, 0], [0, 0.25]]
    assert values["V"].tolist() == [[1, t, t * t] for t in (-1, -0.5, 0, 0.5, 1)]
    assert values["W"].tolist() == [[1, 0, 0, 1], [-1, 1, 0, 1], [-1, -1, 1, 1], [-1, -1, -1, 1]]
    assert errors["V"] == 0
    assert 0 < errors["H"] <= 2.0**-53


def test_laeuchlis_condition():
    values, _ = make("float64", ("L", "lauchli", {"n": 4, "epsilon": Decimal(2) ** -10}))
    low, high = condition_bounds(values["L"])
    assert low <= math.sqrt(1 + 4 * 2.0**20) <= high  # √(1 + n/ε²)


def test_wilkinsons_matrix_grows():
    n = 9
    values, _ = make("bfloat16", ("W", "wilkinson", {"n": n}))
    rows = [[Fraction(v) for v in row] for row in values["W"].tolist()]
    for k in range(n):  # no pivot is ever larger below the diagonal: partial pivoting stays
        assert all(abs(rows[i][k]) <= abs(rows[k][k]) for i in range(k, n))
        for i in range(k + 1, n):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    assert rows[-1][-1] == 2 ** (n - 1)


# ---- image ---------------------------------------------------------------------------------------------


def least_squares(a, b):
    """x and ‖b − A·x‖/‖b‖, in rationals."""
    a, b = exact(a), exact(b[:, None])
    x = (a.transpose() * a).solve(a.transpose() * b)
    r = b - a * x
    squares = [sum((e * e for e in v.entries()), fmpq(0)) for v in (r, b)]
    relative = math.sqrt(as_fraction(squares[0] / squares[1]))
    return [as_fraction(e) for e in x.entries()], relative


@pytest.mark.parametrize("dtype", WORKING)
@pytest.mark.parametrize("residual", ["1e-3", "0.5", "0.99"])
def test_the_residual_is_what_was_asked_for(dtype, residual):
    unit = float(FORMATS[dtype].unit_roundoff)
    for condition in (10, 1 / unit):
        arguments = {"condition": Decimal(condition), "shape": [24, 6]}
        values, _ = make(
            dtype,
            ("A", "conditioned", arguments),
            ("b", "image", {"matrix": "A", "residual": Decimal(residual)}),
        )
        _, found = least_squares(values["A"], values["b"])
        # rounding b adds a vector of relative length at most u, and it may lie anywhere
        assert found == pytest.approx(float(residual), abs=unit, rel=4 * unit)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_solution_stays_small_at_any_condition(dtype):
    unit = float(FORMATS[dtype].unit_roundoff)
    for residual in ("0", "0.5"):
        values, _ = make(
            dtype,
            ("A", "conditioned", {"condition": Decimal(1 / unit), "shape": [24, 6]}),
            ("b", "image", {"matrix": "A", "residual": Decimal(residual)}),
        )
        x, _ = least_squares(values["A"], values["b"])
        # integers up to 4, and rounding b moves x by at most κ·u·‖b‖/‖A‖, with κ·u = 1 and ‖b‖ ≤ 2·4·√6
        assert 1 <= max(map(abs, x)) < 4 + 20


def test_no_residual_is_none_where_the_format_allows():
    for dtype in WORKING:
        values, errors = make(
            dtype,
            ("A", "low_rank", {"rank": 3, "shape": [9, 3]}),
            ("b", "image", {"matrix": "A"}),
        )
        x, found = least_squares(values["A"], values["b"])
        assert found == 0
        assert errors["b"] == 0
        assert all(v.denominator == 1 and 1 <= abs(v) <= 4 for v in x)


def test_no_residual_is_rounding_elsewhere():
    for dtype in WORKING:
        values, _ = make(
            dtype,
            ("A", "conditioned", {"condition": 5, "shape": [24, 6]}),
            ("b", "image", {"matrix": "A", "residual": 0}),
        )
        _, found = least_squares(values["A"], values["b"])
        assert found <= float(FORMATS[dtype].unit_roundoff)


def test_all_residual_leaves_no_solution():
    values, _ = make(
        "float64",
        ("A", "conditioned", {"condition": 5, "shape": [24, 6]}),
        ("b", "image", {"matrix": "A", "residual": 1}),
    )
    x, found = least_squares(values["A"], values["b"])
    assert found == pytest.approx(1, abs=1e-15)
    assert max(map(abs, x)) < 1e-14


def test_a_rank_deficient_matrix_has_a_residual_too():
    values, _ = make(
        "float64",
        ("A", "low_rank", {"rank": 2, "shape": [9, 4]}),
        ("b", "image", {"matrix": "A", "residual": Decimal("0.25")}),
    )
    basis, _ = orthogonalised(values["A"])
    rest = values["b"] - basis @ (basis.T @ values["b"])
    assert np.linalg.norm(rest) / np.linalg.norm(values["b"]) == pytest.approx(0.25, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "residual", "message"),
    [
        ([6, 6], "0.1", "has 6 rows and 6 columns, and b no room outside its range"),
        ([8, 4], "1.5", "residual is 1.5, and no part is greater than the whole"),
        ([8, 4], "-1", "residual is -1; at least 0"),
    ],
)
def test_residuals_that_cannot_be(shape, residual, message):
    with pytest.raises(InputError, match=message):
        make(
            "float64",
            ("A", "conditioned", {"condition": 5, "shape": shape}),
            ("b", "image", {"matrix": "A", "residual": Decimal(residual)}),
        )


def test_an_image_is_of_a_finite_matrix():
    with pytest.raises(InputError, match="a finite matrix is allowed"):
        make("float64", ("A", "values", {"values": [1, 2]}), ("b", "image", {"matrix": "A"}))
    infinite = [[Decimal("Infinity"), 1]]
    with pytest.raises(InputError, match="a finite matrix is allowed"):
        make("float64", ("A", "values", {"values": infinite}), ("b", "image", {"matrix": "A"}))


# ---- elementwise linear algebra ------------------------------------------------------------------------


def stream():
    return RandomStream(0, "orthogonal", "x")


def test_sums_are_by_halves_in_one_order():
    tiny = 2.0**-53
    assert ordered_sum(np.array([1.0, tiny, tiny])) == 1.0  # (1 + u) rounds to 1, and again
    assert ordered_sum(np.array([tiny, 1.0, tiny])) == 1 + 2 * tiny  # u + u first
    for n in range(1, 40):
        assert ordered_sum(np.arange(1.0, n + 1)) == n * (n + 1) / 2
    assert ordered_sum(np.arange(12.0).reshape(4, 3)).tolist() == [18, 22, 26]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 5), (40, 7)])
def test_random_orthonormal_columns(rows, columns):
    q = random_orthonormal(stream(), rows, columns)
    # Householder products are orthonormal to a small multiple of n·u
    assert np.abs(q.T @ q - np.eye(columns)).max() < 10 * columns * 2.0**-53


def test_orthonormal_matrices_are_haar_distributed():
    source = stream()
    entries = np.array([random_orthonormal(source, 3, 3) for _ in range(2000)])
    # every entry has mean 0, variance 1/3 and fourth moment 1/5; five standard errors of 2000 draws
    assert np.abs(entries.mean(axis=0)).max() < 5 * math.sqrt(1 / 3 / 2000)
    assert np.abs((entries**2).mean(axis=0) - 1 / 3).max() < 5 * math.sqrt((1 / 5 - 1 / 9) / 2000)
    assert abs(np.linalg.det(entries).mean()) < 1 + 1e-9


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (16, 16), (23, 9), (70, 70)])
def test_dyadic_columns_are_exactly_orthonormal(rows, columns):
    q = dyadic_orthonormal(stream(), rows, columns)
    assert np.array_equal(q.T @ q, np.eye(columns))  # sums of few dyadics, exact in any order
    assert np.array_equal(round_array(FORMATS["bfloat16"], q), q)


def test_factorisation_inverse_and_norm():
    a = stream().normal(60).reshape(12, 5)
    q, r = orthogonalised(a)
    assert np.abs(q @ r - a).max() < 1e-14
    assert np.abs(q.T @ q - np.eye(5)).max() < 1e-15
    assert np.abs(triangular_inverse(r) @ r - np.eye(5)).max() < 1e-14
    assert largest_singular_value(a) == pytest.approx(np.linalg.norm(a, 2), rel=0.05)
    dependent, triangle = orthogonalised(np.stack([a[:, 0], 2 * a[:, 0], a[:, 1]], axis=1))
    assert (dependent[:, 1] == 0).all()
    assert triangle[1, 1] == 0
    assert largest_singular_value(np.zeros((3, 2))) == 0
