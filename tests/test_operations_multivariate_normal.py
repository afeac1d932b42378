"""The multivariate normal: densities against mpmath, factorisations in their bound, samples by their law."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from harness.errors import InputError
from harness.formats import DTYPES, encode, round_array
from harness.operations import covariance_roots
from harness.registry import BACKENDS, find_gradient
from tests.judged import Judged

BACKEND_NAMES = ("numpy", "torch-cpu")
FACTORISATIONS = ("cholesky", "eigh", "svd")
EVERY = pytest.mark.parametrize("backend", BACKEND_NAMES)
DTYPED = pytest.mark.parametrize("dtype", ["float64", "float32"])
GUIDE = [[1, 0.7], [0.7, 1]]


def covariance(d: int, condition: float) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(d).standard_normal((d, d)))[0]
    made = (q * np.logspace(0, -np.log10(condition), d)) @ q.T
    return np.triu(made) + np.triu(made, 1).T


def points(d: int, n: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng([d, n])
    return {"x": rng.standard_normal((n, d)), "mean": rng.standard_normal(d)}


def test_log_densities_are_those_of_mpmath() -> None:
    inputs = points(4) | {"covariance": covariance(4, 1e6)}
    found = Judged("mvn_log_density", "float64", **inputs).reference
    with mpmath.workdps(60):
        sigma = mpmath.matrix(inputs["covariance"].tolist())
        mean = [mpmath.mpf(v) for v in inputs["mean"].tolist()]
        expected = []
        for row in inputs["x"].tolist():
            r = mpmath.matrix([mpmath.mpf(v) - m for v, m in zip(row, mean, strict=True)])
            form = (r.T * mpmath.lu_solve(sigma, r))[0]
            expected.append(-(4 * mpmath.log(2 * mpmath.pi) + mpmath.log(mpmath.det(sigma)) + form) / 2)
    np.testing.assert_allclose(found.outputs["y"].to_float64(), np.array(expected, float), rtol=3e-16)
    assert found.quantities["condition"] == pytest.approx(1e6, rel=1e-6)


def test_exact_factors_multiply_to_the_covariance() -> None:
    sigma = covariance(5, 1e4)
    lower, pivots = covariance_roots.exact_factors(sigma)
    for i in range(5):
        for j in range(5):
            exact = sum(lower[i][k] * pivots[k] * lower[j][k] for k in range(5))
            assert exact == sigma[i, j]
    assert covariance_roots.exact_factors(np.ones((2, 2)))[1] == [1, 0]
    with pytest.raises(InputError, match="not positive semidefinite"):
        covariance_roots.exact_factors(np.array([[0.0, 1], [1, 0]]))


def test_a_factorisation_is_allowed_twenty_times_what_its_size_makes_of_a_rounding() -> None:
    """Twice 10·d·u·‖Σ‖: of the factors, and of what is done with them; from d = 7 on the theorem's 3d + 1."""
    for d, factor in ((3, 20), (6, 20), (7, 22), (30, 91)):
        assert covariance_roots.backward_error_bound(d, 2.0**-24, 5.0) == factor * d * 2.0**-24 * 5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_eigenvalues_below_what_roundings_make_are_replaced(dtype: str) -> None:
    xp = BACKENDS["numpy"].namespace(DTYPES[dtype], checked=True)
    values = np.array([-1e-3, 0.0, 1e-30, 2.0, 8.0], dtype)
    found = covariance_roots.no_less_than_rounding(xp, values, 5)
    least = 5 * 8 * (2.0**-53 if dtype == "float64" else 2.0**-24)
    assert found.tolist() == [least, least, least, 2.0, 8.0]


@EVERY
@DTYPED
@pytest.mark.parametrize("name", FACTORISATIONS)
def test_densities_stay_within_the_bound(name: str, dtype: str, backend: str) -> None:
    for d in (1, 2, 8):
        for condition in (1.0, 1e2, 1e4, 1e10) if dtype == "float64" else (1.0, 1e2, 1e4):
            sigma = covariance(d, condition) if d > 1 else np.array([[condition]])
            row = Judged("mvn_log_density", dtype, **points(d), covariance=sigma).row(name, backend)
            assert row["outcome"] == "ok"
            assert row["bound_ratio"] <= 1


def slopes(found: Judged, name: str, backend: str) -> dict[str, np.ndarray]:
    """Return the gradients of a formulation; NumPy's are its own."""
    if backend != "numpy":
        return found.outputs(name, backend)
    own = find_gradient("mvn_log_density", name, backend)
    assert own is not None
    numpy, fmt = BACKENDS[backend], found.dtype.storage
    arrays = [numpy.from_bits(encode(fmt, v), fmt) for v in found.inputs.values()]
    made = own.build(numpy.namespace(found.dtype, checked=True), *arrays, with_respect_to=found.wrt)()
    return {n: np.asarray(v, np.float64) for n, v in zip(found.operation.outputs, made, strict=True)}


@EVERY
@DTYPED
@pytest.mark.parametrize("name", FACTORISATIONS)
def test_gradients_stay_within_the_bound(name: str, dtype: str, backend: str) -> None:
    g = np.array([1.0, -2, 0.5, 3, -1])
    inputs = points(4) | {"covariance": covariance(4, 100.0), "cotangent": g}
    found = Judged("mvn_log_density", dtype, wrt=("x", "mean"), **inputs)
    rows = found.rows(slopes(found, name, backend))
    assert all(row["outcome"] == "ok" and row["bound_ratio"] <= 1 for row in rows.values())
    z = np.linalg.solve(found.inputs["covariance"], (found.inputs["x"] - found.inputs["mean"]).T).T
    exact = found.reference.outputs
    # a float64 solution, κ = 100
    np.testing.assert_allclose(exact["grad_x"].to_float64(), -g[:, None] * z, rtol=1e-11)
    np.testing.assert_allclose(exact["grad_mean"].to_float64(), g @ z, rtol=1e-11)


def test_beyond_rounding_there_is_no_bound_and_cholesky_may_stop() -> None:
    sigma = [[7626, 1565, -20], [1565, 5477, -74], [-20, -74, 1]]  # κ = 3.3e11, det = 1
    inputs = {"x": [[1, 2, 3]], "mean": [0, 0, 0], "covariance": sigma}
    single, double = (Judged("mvn_log_density", dtype, **inputs) for dtype in ("float32", "float64"))
    assert double.row("cholesky")["bound_ratio"] <= 1
    for name in ("eigh", "svd"):
        assert np.isfinite(single.outputs(name, "numpy")["y"]).all()
        assert "bound_ratio" not in single.row(name)  # of an infinite bound


@DTYPED
def test_wrong_densities_are_caught(dtype: str) -> None:
    inputs = points(2) | {"covariance": GUIDE}
    found = Judged("mvn_log_density", dtype, **inputs)
    right, u = found.exact(), float(DTYPES[dtype].storage.unit_roundoff)
    constant = np.log(2 * np.pi)
    assert found.passes(right)
    assert found.passes(right * (1 + 8 * u))  # κ = 5.7 of 20·d·u
    for wrong in (0 * right, np.roll(right, 1), right + constant, 2 * right, right * (1 + 4000 * u)):
        assert not found.passes(wrong)


# ---- samples --------------------------------------------------------------------------------------------


def draws(d: int, n: int = 600, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng([d, n, seed])
    return {"z": rng.standard_normal((n, d)), "mean": 1 + np.arange(d) * 1.5}


@EVERY
@DTYPED
@pytest.mark.parametrize("name", FACTORISATIONS)
def test_samples_pass_their_test(name: str, dtype: str, backend: str) -> None:
    for d in (1, 2, 5):
        for condition in (1.0, 1e3):
            sigma = covariance(d, condition) if d > 1 else np.array([[4.0]])
            row = Judged("mvn_sampling", dtype, **draws(d), covariance=sigma).row(name, backend)
            assert row["bound_ratio"] <= 1
            assert row["backward_error"] <= covariance_roots.backward_error_bound(
                d, float(DTYPES[dtype].storage.unit_roundoff), 1.0
            )


@EVERY
@DTYPED
def test_a_singular_covariance_has_a_root_but_no_cholesky_factor(dtype: str, backend: str) -> None:
    found = Judged("mvn_sampling", dtype, **draws(2), covariance=[[1, 1], [1, 1]])
    for name in ("eigh", "svd"):
        assert found.row(name, backend)["bound_ratio"] <= 1
    with pytest.raises(Exception, match=r"positive.definite"):
        found.outputs("cholesky", backend)


def test_right_samples_are_rejected_as_rarely_as_declared() -> None:
    """At 10⁻⁶ none of 200 seeds is, and their largest statistics are not far below: no formality."""
    ratios = [
        Judged("mvn_sampling", "float64", **draws(2, 100, seed), covariance=GUIDE).row("cholesky")[
            "bound_ratio"
        ]
        for seed in range(200)
    ]
    # The largest of 200·6 nearly normal statistics is about 3.3 of 5.1 standard errors.
    assert 0.5 < max(ratios) < 1


@DTYPED
def test_wrong_samples_are_caught(dtype: str) -> None:
    inputs = draws(2)
    found = Judged("mvn_sampling", dtype, **inputs, covariance=GUIDE)
    z, mean, fmt = found.inputs["z"], found.inputs["mean"], DTYPES[dtype].storage
    sigma = found.inputs["covariance"]
    root = np.linalg.cholesky(sigma)
    right = mean + z @ root.T

    def passes(x: np.ndarray) -> bool:
        return found.rows({"x": round_array(fmt, x)})["x"]["bound_ratio"] <= 1

    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert passes(right)
    assert passes(mean + z @ (root @ turn).T)  # any other root
    # 16u of a covariance, of 20·d·u = 40u
    assert passes(mean + (right - mean) * (1 + 8 * float(fmt.unit_roundoff)))
    wrong = {
        "zeros": 0 * right,
        "no covariance": mean + z,
        "the covariance itself": mean + z @ sigma.T,
        "the factor transposed": mean + z @ root,
        "rolled": np.roll(right, 1, axis=1),
        "another draw in a place": np.concatenate([right[:-1], right[-2:-1]]),
        "no mean": z @ root.T,
        "a mean a tenth off": right + 0.1 * 3,
        "more spread": mean + 1.3 * z @ root.T,
        "1 + 40000u": mean + (right - mean) * (1 + 40000 * float(fmt.unit_roundoff)),
    }
    assert [name for name, x in wrong.items() if passes(x)] == []


def test_draws_of_another_distribution_are_caught() -> None:
    """The map is right, and what it was given is no standard normal draw."""
    rng = np.random.default_rng(3)
    for z in (rng.uniform(0, 1, (600, 2)), 1.4 * rng.standard_normal((600, 2)), rng.normal(0.4, 1, (600, 2))):
        found = Judged("mvn_sampling", "float64", z=z, mean=[0, 0], covariance=GUIDE)
        assert found.row("cholesky")["bound_ratio"] > 1


def test_what_is_no_covariance_is_told() -> None:
    for sigma, words in (
        ([[1, 0.5], [0.25, 1]], "not symmetric"),
        ([[1, 2], [2, 1]], "not positive semidefinite"),
        ([[1]], "allowed are"),
        ([[1, np.inf], [np.inf, 1]], "infinities"),
        ([[1, 1], [1, 1]], "there is no density"),
    ):
        with pytest.raises(InputError, match=words):
            Judged("mvn_log_density", "float64", **points(2), covariance=sigma)
    with pytest.raises(InputError, match="too few"):
        Judged("mvn_sampling", "float64", z=[[1, 2]], mean=[0, 0], covariance=GUIDE)
