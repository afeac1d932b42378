"""Exact least squares against closed forms, published values and mpmath."""

from __future__ import annotations

import csv
import math
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
from flint import fmpq, fmpq_mat, fmpz_mat

from harness.errors import InputError
from harness.reference.exact_least_squares import LeastSquares, Scaled, backward_error, solve_least_squares

DATA = Path(__file__).parent.parent / "cases" / "data"


def solved(a: np.ndarray, b: np.ndarray) -> LeastSquares:
    return solve_least_squares(Scaled.of(np.asarray(a, float)), Scaled.of(np.asarray(b, float)))


def solution(found: LeastSquares) -> list[Fraction]:
    scale = Fraction(2) ** found.x_exponent
    return [Fraction(int(value.p), int(value.q)) * scale for value in found.x]


def assert_condition(found: LeastSquares, exact: object) -> None:
    """The enclosure of κ holds `exact` (an mpmath number) and is narrower than 2**-38 relative."""
    condition = found.condition
    with mpmath.workprec(500):
        middle = mpmath.mpf(condition.mid().str(140, radius=False))
        assert abs(middle - exact) <= exact * mpmath.mpf(2) ** -38
    assert condition.rad() < condition.mid() * 2.0**-38


# ---- solutions ---------------------------------------------------------------------------------------


def longley() -> tuple[list[dict[str, str]], list[Fraction]]:
    with (DATA / "longley.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (DATA / "longley_certified.csv").open(newline="") as file:
        return rows, [Fraction(row["beta"]) for row in csv.DictReader(file)]


def digits(found: list[Fraction], certified: list[Fraction]) -> float:
    return min(-math.log10(abs((x - c) / c)) for x, c in zip(found, certified, strict=True))


def test_longley_agrees_with_the_certified_coefficients() -> None:
    """NIST StRD, 15 digits; x1 is written to tenths, so all data are integers after times ten."""
    rows, certified = longley()
    a = fmpz_mat([[10, *(int(10 * Fraction(row[f"x{i}"])) for i in range(1, 7))] for row in rows])
    b = fmpz_mat([[int(10 * Fraction(row["y"]))] for row in rows])
    found = solve_least_squares(Scaled(a, 0), Scaled(b, 0))
    assert found.rank == 7
    assert digits(solution(found), certified) >= 14.6


@pytest.mark.parametrize(("dtype", "least", "most"), [(np.float64, 14.6, 15), (np.float32, 4.8, 5)])
def test_longley_rounded_to_a_format(dtype: type, least: float, most: float) -> None:
    """What rounding the data costs: nothing visible in float64, down to 4.9 digits in float32."""
    rows, certified = longley()
    a = np.array([[1.0, *(float(row[f"x{i}"]) for i in range(1, 7))] for row in rows])
    found = solved(a.astype(dtype).astype(float), np.array([float(row["y"]) for row in rows]))
    assert least <= digits(solution(found), certified) <= most


@pytest.mark.parametrize("epsilon", [2.0**-10, 2.0**-60, 2.0**-140])
def test_laeuchli_closed_form(epsilon: float) -> None:
    """A = [1ᵀ; εI], b = (1, 0): x = 1/(n + ε²), ‖r‖² = ε²/(n + ε²), κ² = (n + ε²)/ε²; σ₂ … σₙ = ε."""
    n = 6
    a = np.vstack([np.ones((1, n)), epsilon * np.eye(n)])
    found = solved(a, np.eye(n + 1)[0])
    e = Fraction(epsilon)
    assert solution(found) == [1 / (n + e * e)] * n
    residual = Fraction(int(found.norm_residual_squared.p), int(found.norm_residual_squared.q))
    assert residual == e * e / (n + e * e)
    with mpmath.workprec(500):
        assert_condition(found, mpmath.sqrt(n + mpmath.mpf(epsilon) ** 2) / epsilon)
    quantities = found.quantities()
    tangent = math.sqrt(epsilon**2 / n)  # ‖r‖/‖Ax‖ with ‖Ax‖² = n/(n + ε²)
    assert quantities["residual_angle"] == pytest.approx(math.atan(tangent), rel=2**-50)


def test_vandermonde_returns_the_polynomial_that_made_the_data() -> None:
    points = [Fraction(i, 8) for i in range(-12, 12)]
    polynomial = [3, -1, 0, 2, -5, 7, 1]
    a = np.array([[float(t**j) for j in range(7)] for t in points])
    b = np.array([float(sum(c * t**j for j, c in enumerate(polynomial))) for t in points])
    found = solved(a, b)
    assert solution(found) == polynomial
    assert found.norm_residual_squared == 0
    assert found.quantities()["norm_r_log2"] == -math.inf
    assert found.quantities()["residual_angle"] == 0


def test_rank_one_closed_form() -> None:
    """A = u vᵀ has the minimum-norm solution v·(uᵀb)/(‖u‖²‖v‖²), and one singular value."""
    u, v, b = np.array([1.0, -2, 3, 4]), np.array([2.0, 0, 5]), np.array([1.0, 1, 0, 2])
    found = solved(np.outer(u, v), b)
    assert found.rank == 1
    assert solution(found) == [Fraction(int(w * (u @ b))) / int((u @ u) * (v @ v)) for w in v]
    assert_condition(found, 1)


@pytest.mark.parametrize(("m", "n", "rank"), [(12, 7, 3), (5, 9, 5), (4, 9, 2), (9, 4, 4), (6, 6, 5)])
def test_what_defines_the_minimum_norm_solution_holds_exactly(m: int, n: int, rank: int) -> None:
    """Aᵀ(b − Ax) = 0, and x is in the row space: appending it to the rows does not raise the rank."""
    rng = np.random.default_rng(m * n)
    a = (rng.integers(-4, 5, (m, rank)) @ rng.integers(-4, 5, (rank, n))).astype(float) / 8
    b = rng.standard_normal(m)
    found = solved(a, b)
    assert found.rank == rank
    A = fmpq_mat(m, n, [fmpq(*v.as_integer_ratio()) for v in a.ravel().tolist()])
    right = fmpq_mat(m, 1, [fmpq(*v.as_integer_ratio()) for v in b.tolist()])
    x = fmpq_mat(n, 1, [fmpq(v.numerator, v.denominator) for v in solution(found)])
    residual = right - A * x
    assert A.transpose() * residual == fmpq_mat(n, 1)
    extended = fmpq_mat([*A.tolist(), [x[i, 0] for i in range(n)]])
    assert extended.rank() == rank
    squared = (residual.transpose() * residual)[0, 0]
    assert found.norm_residual_squared * fmpq(4) ** found.b_exponent == squared


def test_norms_and_angle_of_a_small_example() -> None:
    """A = [[3, 0], [0, 4], [0, 0]], b = (3, 4, 12): x = (1, 1), Ax = (3, 4, 0), r = (0, 0, 12)."""
    quantities = solved(np.array([[3.0, 0], [0, 4], [0, 0]]), np.array([3.0, 4, 12])).quantities()
    expected = {
        "rank": 2,
        "condition": 4 / 3,
        "condition_log2": math.log2(4 / 3),
        "norm_a_2_log2": 2,
        "norm_a_f_log2": math.log2(5),
        "norm_b_log2": math.log2(13),
        "norm_x_log2": 0.5,
        "norm_r_log2": math.log2(12),
        "residual_angle": math.atan2(12, 5),
    }
    assert quantities.pop("condition_radius") < 2**-38
    assert quantities == pytest.approx(expected, rel=2**-38)


def test_norms_beyond_the_range_of_float64() -> None:
    a, b = np.diag([1e308, 1e308, 1e308]), np.full(3, 1e-300)
    quantities = solved(a, b).quantities()
    assert quantities["condition"] == 1
    assert quantities["norm_a_f_log2"] == pytest.approx(math.log2(1e308) + math.log2(3) / 2, rel=2**-50)
    expected = math.log2(1e-300) + math.log2(3) / 2 - math.log2(1e308)
    assert quantities["norm_x_log2"] == pytest.approx(expected, rel=2**-50)


def test_b_of_zero_and_a_solution_of_zero() -> None:
    a = np.array([[1.0, 0], [0, 2], [0, 0]])
    nothing = solved(a, np.zeros(3)).quantities()
    assert (nothing["norm_x_log2"], nothing["norm_r_log2"], nothing["residual_angle"]) == (-math.inf,) * 2 + (
        0,
    )
    orthogonal = solved(a, np.array([0, 0, 3.0])).quantities()
    assert orthogonal["norm_x_log2"] == -math.inf
    assert orthogonal["residual_angle"] == pytest.approx(math.pi / 2, rel=2**-50)


def test_a_matrix_of_zeros_is_refused() -> None:
    with pytest.raises(InputError, match="not zero"):
        solved(np.zeros((3, 2)), np.ones(3))


# ---- condition numbers -------------------------------------------------------------------------------


def test_condition_of_orthogonal_columns_is_one() -> None:
    """Hadamard: n equal singular values, for which power iteration alone would not converge."""
    h = np.array([[1.0]])
    for _ in range(5):
        h = np.block([[h, h], [h, -h]])
    assert_condition(solved(h, np.ones(32)), 1)
    assert_condition(solved(h[:, :20], np.ones(32)), 1)


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 1.0, 1.0, 0.5, 0.5],  # repeated at both ends
        [1.0, 1 - 2.0**-20, 1 - 2.0**-40, 2.0**-30, 2.0**-30 * (1 + 2.0**-30)],  # clusters
        [2.0**-k for k in range(0, 130, 13)],  # graded, κ = 2**117
    ],
)
def test_condition_of_clustered_singular_values(values: list[float]) -> None:
    """Columns of a Hadamard matrix scaled exactly: the singular values are known."""
    h = np.array([[1.0]])
    for _ in range(4):
        h = np.block([[h, h], [h, -h]])
    a = h[:, : len(values)] * values
    assert_condition(solved(a, np.ones(16)), mpmath.mpf(max(values)) / min(values))


@pytest.mark.parametrize(("m", "n", "rank"), [(9, 5, 5), (4, 7, 4), (8, 6, 3)])
def test_condition_against_mpmath(m: int, n: int, rank: int) -> None:
    """Singular values by mpmath's SVD at 60 digits, including a rank-deficient and a wide matrix."""
    rng = np.random.default_rng(n)
    a = (rng.integers(-9, 10, (m, rank)) @ rng.integers(-9, 10, (rank, n))).astype(float)
    with mpmath.workdps(60):
        s = mpmath.svd_r(mpmath.matrix(a.tolist()), compute_uv=False)
        found = solved(a, np.ones(m))
        assert_condition(found, s[0] / s[rank - 1])
        sigma = mpmath.mpf(found.singular_values[0].mid().str(30, radius=False)) * 2**found.a_exponent
        assert abs(sigma - s[0]) < s[0] * mpmath.mpf(2) ** -38


def test_condition_of_hilbert_matrices_beyond_float64() -> None:
    """κ of the Hilbert matrix of order 12 with rounded entries, by mpmath at 80 digits: 1.7e16."""
    a = np.array([[1.0 / (i + j + 1) for j in range(12)] for i in range(12)])
    with mpmath.workdps(80):
        s = mpmath.svd_r(mpmath.matrix(a.tolist()), compute_uv=False)
        exact = s[0] / s[11]
        assert exact > 1e16
        assert_condition(solved(a, np.ones(12)), exact)


# ---- backward error ----------------------------------------------------------------------------------


def optimal_backward_error(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> mpmath.mpf:
    """min(φ, σ_min[A, φ(I − r rᵀ/‖r‖²)])/‖A‖_F, φ = ‖r‖/‖x‖ (Waldén, Karlson and Sun 1995)."""
    A, right, y = mpmath.matrix(a.tolist()), mpmath.matrix(b.tolist()), mpmath.matrix(x.tolist())
    r = right - A * y
    phi = mpmath.norm(r) / mpmath.norm(y)
    projector = phi * (mpmath.eye(len(b)) - r * r.T / mpmath.norm(r) ** 2)
    both = mpmath.matrix(a.shape[0], a.shape[1] + a.shape[0])
    both[:, : a.shape[1]] = A
    both[:, a.shape[1] :] = projector
    smallest = mpmath.svd_r(both, compute_uv=False)[a.shape[0] - 1]
    return min(phi, smallest) / mpmath.mnorm(A, "f")


@pytest.mark.parametrize("residual", [1e-10, 1e-3, 1.0])
@pytest.mark.parametrize("step", [1e-12, 1e-6, 1e-1])
def test_backward_error_is_within_sqrt_2_of_the_optimum(residual: float, step: float) -> None:
    rng = np.random.default_rng(11)
    a = rng.standard_normal((6, 3))
    b = a @ np.array([1.0, -2, 3]) + residual * rng.standard_normal(6)
    exact = np.array([float(v) for v in solution(solved(a, b))])
    x = exact + step * rng.standard_normal(3)
    estimate = backward_error(Scaled.of(a), Scaled.of(b), Scaled.of(x))
    with mpmath.workdps(60):
        ratio = float(optimal_backward_error(a, b, x) / estimate)
    # 1e-12: the estimate is rounded to float64, the optimum computed at 60 digits
    assert 1 / math.sqrt(2) - 1e-12 <= ratio <= math.sqrt(2) + 1e-12


def test_backward_error_where_it_is_known() -> None:
    """x = 0 for b = (3, 4), A = (1, 0)ᵀ: ‖Aᵀb‖/‖b‖ = 3/5; and 0 for the solution, or r = 0."""
    a, b = Scaled.of(np.array([[1.0], [0.0]])), Scaled.of(np.array([3.0, 4.0]))
    assert backward_error(a, b, Scaled.of(np.zeros(1))) == pytest.approx(0.6, rel=2**-52)
    assert backward_error(a, b, Scaled.of(np.array([3.0]))) == 0
    assert backward_error(a, Scaled.of(np.array([2.0, 0.0])), Scaled.of(np.array([2.0]))) == 0


def test_backward_error_does_not_depend_on_scales() -> None:
    rng = np.random.default_rng(3)
    a, b, x = rng.standard_normal((7, 3)), rng.standard_normal(7), rng.standard_normal(3)
    plain = backward_error(Scaled.of(a), Scaled.of(b), Scaled.of(x))
    # the units of a, b and x = b/a cancel; powers of two scale exactly
    scaled = (Scaled.of(a * 2.0**-300), Scaled.of(b * 2.0**500), Scaled.of(x * 2.0**800))
    assert backward_error(*scaled) == pytest.approx(plain, rel=2**-50)


def test_scaled_integers_are_the_data() -> None:
    values = np.array([[5e-324, -1.5], [0.0, 1.7e308]])
    found = Scaled.of(values)
    scale = Fraction(2) ** found.exponent
    assert [Fraction(int(v)) * scale for v in found.integers.entries()] == list(map(Fraction, values.ravel()))
    assert found.exponent == -1074
    assert Scaled.of(np.array([[96.0, -32.0]])).integers == fmpz_mat([[3, -1]])
