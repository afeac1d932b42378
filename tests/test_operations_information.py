"""Entropy, divergence and mutual information: references against mpmath, bounds, frontiers of naive forms."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from harness.errors import InputError
from harness.formats import DTYPES, round_array
from harness.operations.mutual_information import compensated
from harness.reference.elements import ElementClass
from harness.registry import BACKENDS
from tests.judged import Judged

DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
BACKEND_NAMES = ("numpy", "torch-cpu")
INF = math.inf


def value(found: Judged) -> np.ndarray:
    (output,) = found.operation.outputs
    return found.reference.outputs[output].to_float64()


def assert_right(found: Judged, names: tuple[str, ...]) -> None:
    for backend in BACKEND_NAMES:
        for name in names:
            if found.runs(name, backend):
                row = found.row(name, backend)
                assert row["outcome"] == "ok", (name, backend, row)
                assert (row["bound_ratio"] or 0) <= 1, (name, backend, row)


def information_by_definition(p: np.ndarray) -> mpmath.mpf:
    with mpmath.workdps(80):
        rows = [mpmath.fsum(map(mpmath.mpf, row)) for row in p.tolist()]
        columns = [mpmath.fsum(map(mpmath.mpf, column)) for column in p.T.tolist()]
        return mpmath.fsum(
            mpmath.mpf(x) * mpmath.log(mpmath.mpf(x) / (rows[i] * columns[j]))
            for (i, j), x in np.ndenumerate(p)
            if x
        )


# ---- references -------------------------------------------------------------------------------------


def test_entropies_are_those_of_mpmath() -> None:
    p = np.random.default_rng(1).dirichlet(np.full(9, 0.3), 6)
    with mpmath.workdps(50):
        nats = [-mpmath.fsum(mpmath.mpf(v) * mpmath.log(mpmath.mpf(v)) for v in row) for row in p.tolist()]
    np.testing.assert_allclose(value(Judged("entropy", "float64", p=p)), np.array(nats, float), rtol=1e-15)
    bits = Judged("entropy", "float64", p=p, parameters={"base": 2})
    np.testing.assert_allclose(value(bits), [float(h / mpmath.log(2)) for h in nats], rtol=1e-15)


def test_what_the_guide_prints() -> None:
    p = [[0.25] * 4, [0.97, 0.01, 0.01, 0.01]]
    bits = value(Judged("entropy", "float64", p=p, parameters={"base": 2}))
    assert bits[0] == 2
    assert bits[1] == pytest.approx(0.24194073285321, abs=5e-15)
    nats = value(Judged("kl_divergence", "float64", p=[0.4, 0.3, 0.2, 0.1], q=[0.35, 0.35, 0.15, 0.15]))
    assert nats == pytest.approx(0.02415725678117, abs=5e-15)


def test_divergences_and_slopes_are_those_of_mpmath() -> None:
    rng = np.random.default_rng(2)
    p, q = rng.dirichlet(np.ones(6), 5), rng.dirichlet(np.ones(6), 5)
    with mpmath.workdps(50):
        expected = [
            mpmath.fsum(
                mpmath.mpf(a) * mpmath.log(mpmath.mpf(a) / mpmath.mpf(b)) for a, b in zip(*rows, strict=True)
            )
            for rows in zip(p.tolist(), q.tolist(), strict=True)
        ]
    np.testing.assert_allclose(
        value(Judged("kl_divergence", "float64", p=p, q=q)), np.array(expected, float), rtol=1e-15
    )
    back = Judged("kl_divergence", "float64", wrt=("p", "q"), p=p, q=q, cotangent=np.ones(5))
    slopes = {name: y.to_float64() for name, y in back.reference.outputs.items()}
    np.testing.assert_allclose(slopes["grad_p"], np.log(p / q) + 1, rtol=1e-12)  # float64 on the right
    np.testing.assert_allclose(slopes["grad_q"], -p / q, rtol=1e-15)


def test_divergences_of_logits_are_those_of_mpmath() -> None:
    rng = np.random.default_rng(4)
    x, z = 20 * rng.standard_normal((4, 5)), 20 * rng.standard_normal((4, 5))
    with mpmath.workdps(80):
        shares = [[mpmath.exp(mpmath.mpf(v)) for v in row] for row in (*x.tolist(), *z.tolist())]
        shares = [[v / mpmath.fsum(row) for v in row] for row in shares]
        expected = [
            mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True))
            for p, q in zip(shares[:4], shares[4:], strict=True)
        ]
    found = Judged("kl_divergence_of_logits", "float64", x=x, z=z)
    np.testing.assert_allclose(value(found), np.array(expected, float), rtol=1e-15)
    back = Judged("kl_divergence_of_logits", "float64", wrt=("z",), x=x, z=z, cotangent=np.ones(4))
    slopes = [
        [float(b - a) for a, b in zip(p, q, strict=True)] for p, q in zip(shares[:4], shares[4:], strict=True)
    ]
    np.testing.assert_allclose(value(back), slopes, rtol=1e-15)
    masked = Judged("kl_divergence_of_logits", "float64", x=[0.0, -INF, 1.0], z=[1.0, -INF, 0.0])
    assert value(masked) == pytest.approx(math.tanh(0.5), rel=1e-15)  # (e − 1)/(e + 1)
    assert_right(masked, ("log_softmax",))


def test_information_and_its_slope_are_those_of_mpmath() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        p = rng.dirichlet(np.ones(12)).reshape(3, 4)
        found = Judged("mutual_information", "float64", p=p)
        assert value(found) == pytest.approx(float(information_by_definition(p)), rel=1e-15)
        back = Judged("mutual_information", "float64", wrt=("p",), p=p, cotangent=1.0)
        m = p.sum(axis=1, keepdims=True) * p.sum(axis=0)
        np.testing.assert_allclose(value(back), np.log(p / m) - 1, rtol=1e-12)  # the right side is in float64


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_what_is_0_by_structure_is_exactly_0(dtype: str) -> None:
    rows, columns = np.array([0.5, 0.25, 0.25]), np.array([0.75, 0.125, 0.125])
    given = {
        "mutual_information": {"p": np.outer(rows, columns)},
        "kl_divergence": {"p": columns, "q": columns},
        "entropy": {"p": [0.0, 1.0, 0.0]},
        "entropy_identity": {"p": rows, "q": columns},
    }
    for operation, inputs in given.items():
        found = Judged(operation, dtype, **inputs)
        (y,) = found.reference.outputs.values()
        assert y.kind.tolist() == ElementClass.ZERO, operation
    assert_right(Judged("mutual_information", dtype, **given["mutual_information"]), ("deviation",))


def test_special_values() -> None:
    def kl(p: list[float], q: list[float]) -> float:
        found = Judged("kl_divergence", "float64", p=p, q=q)
        assert_right(found, ("log_space", "log1p"))
        assert found.row("library", "numpy")["outcome"] == "ok"
        return float(value(found))

    assert kl([0, 1], [0.5, 0.5]) == pytest.approx(math.log(2), rel=1e-15)
    assert kl([0, 1], [0, 1]) == 0
    assert kl([0.5, 0.5], [0, 1]) == INF
    assert math.isnan(value(Judged("entropy", "float64", p=[-0.5, 1.5])))


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(InputError, match=r"the shapes differ: p \[2\] and q \[3\]"):
        Judged("kl_divergence", "float64", p=[0.5, 0.5], q=[0.2, 0.3, 0.5])
    with pytest.raises(InputError, match="p has shape"):
        Judged("mutual_information", "float64", p=[0.5, 0.5])
    with pytest.raises(InputError, match="without anything"):
        Judged("entropy", "float64", p=np.zeros((2, 0)))


# ---- bounds -----------------------------------------------------------------------------------------


def spread(dtype: str, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return probabilities over all binades of the format."""
    least = math.log2(float(DTYPES[dtype].storage.min_subnormal))
    return np.exp2(np.random.default_rng(seed).uniform(least + 1, -1, shape))


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_stable_forms_keep_to_the_bound_over_the_whole_range(dtype: str) -> None:
    for seed in range(4):
        p, q = (spread(dtype, 10 * seed + i, (4, 6)) for i in (1, 2))
        p[0, :2] = 0
        for base in ("e", 2):
            assert_right(Judged("entropy", dtype, p=p, parameters={"base": base}), ("guarded", "library"))
        assert_right(Judged("kl_divergence", dtype, p=p, q=q), ("log_space", "log1p", "library"))
        assert_right(Judged("entropy_identity", dtype, p=p, q=q), ("guarded",))


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_divergences_of_logits_keep_to_the_bound_forward_and_back(dtype: str) -> None:
    rng = np.random.default_rng(9)
    for size in (1.0, 30.0, 1000.0):
        x, z = size * rng.standard_normal((3, 6)), size * rng.standard_normal((3, 6))
        found = Judged("kl_divergence_of_logits", dtype, x=x, z=z)
        assert found.reference.undecided == 0
        assert_right(found, ("log_softmax", "library"))
        for wrt in ("x", "z"):
            g = np.array([1.0, -2.0, 0.5])
            back = Judged("kl_divergence_of_logits", dtype, wrt=(wrt,), x=x, z=z, cotangent=g)
            assert_right(back, ("log_softmax", "library"))


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_gradients_keep_to_the_bound(dtype: str) -> None:
    rng = np.random.default_rng(5)
    p, q = rng.dirichlet(np.ones(5), 3).clip(0.01), rng.dirichlet(np.ones(5), 3).clip(0.01)
    g = np.array([1.0, -2.0, 0.5])
    assert_right(Judged("entropy", dtype, wrt=("p",), p=p, cotangent=g), ("direct", "guarded", "library"))
    for wrt in ("p", "q"):
        found = Judged("kl_divergence", dtype, wrt=(wrt,), p=p, q=q, cotangent=g)
        assert_right(found, ("log_space", "library"))
    table = Judged("mutual_information", dtype, wrt=("p",), p=p, cotangent=1.5)
    assert_right(table, ("direct", "log_space", "entropies", "deviation"))


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_deviations_keep_to_the_bound_from_independent_to_singular(dtype: str) -> None:
    rng = np.random.default_rng(6)
    for trial in range(16):
        rows, columns = (rng.dirichlet(np.full(n, (0.1, 1.0, 10.0)[trial % 3])) for n in (6, 9))
        noise = 1 + (1.0, 1e-2, 1e-6, 0)[trial % 4] * rng.uniform(-1, 1, (6, 9))
        p = np.outer(rows, columns) * noise
        found = Judged("mutual_information", dtype, p=p / p.sum())
        assert found.reference.undecided == 0
        assert_right(found, ("deviation",))


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_wrong_answers_are_outside(dtype: str) -> None:
    p, q = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]), np.array([[0.2, 0.2, 0.6], [0.6, 0.2, 0.2]])
    for operation, inputs in (
        ("entropy", {"p": p}),
        ("kl_divergence", {"p": p, "q": q}),
        ("mutual_information", {"p": p / 2}),
    ):
        found = Judged(operation, dtype, **inputs)
        ((name, y),) = found.reference.outputs.items()
        exact = y.round_to(found.dtype.storage)
        wrongs = [np.zeros_like(exact), 1.5 * exact, exact - 0.5]
        for wrong in wrongs:
            row = found.rows({name: round_array(found.dtype.storage, wrong)})[name]
            assert row["outcome"] != "ok" or row["bound_ratio"] > 1, (operation, wrong)


def test_eight_units_are_seen_by_the_sums_that_do_not_cancel() -> None:
    """Of entropy the bound is about 9 u: 4 ulp of a logarithm are 8 u; a factor of 1 + 24u is beyond it."""
    found = Judged("entropy", "float64", p=[0.5, 0.25, 0.25])
    y = value(found)
    row = found.rows({"entropy": y * (1 + 24 * 2.0**-53)})["entropy"]
    assert row["bound_ratio"] > 1


# ---- frontiers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_zeros_break_what_has_no_guard(backend: str) -> None:
    for operation, name, inputs in (
        ("entropy", "direct", {"p": [0.5, 0.5, 0.0]}),
        ("kl_divergence", "ratio", {"p": [0.0, 1.0], "q": [0.5, 0.5]}),
        ("mutual_information", "direct", {"p": [[0.5, 0.0], [0.0, 0.5]]}),
        ("entropy_identity", "direct", {"p": [0.0, 1.0], "q": [0.5, 0.5]}),
    ):
        assert Judged(operation, "float32", **inputs).row(name, backend)["outcome"] == "not_a_number"


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_quotients_overflow_for_a_subnormal_q(dtype: str, backend: str) -> None:
    fmt = DTYPES[dtype].storage
    for q, outcome in ((2 * float(fmt.min_subnormal), "overflow"), (float(fmt.min_normal), "ok")):
        found = Judged("kl_divergence", dtype, p=[0.5, 0.5], q=[q, 0.5])
        assert found.row("ratio", backend)["outcome"] == outcome
        assert_right(found, ("log_space", "log1p"))


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_an_epsilon_makes_entropy_negative_where_the_format_knows_it(backend: str) -> None:
    for dtype, expected in (("float64", -1e-9), ("float32", 0.0)):
        found = Judged("entropy", dtype, p=[1.0, 0.0])
        (entropy,) = found.outputs("plus_1e9", backend).values()
        assert entropy == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_entropies_cancel_to_a_multiple_of_their_unit(backend: str) -> None:
    """For joint probabilities ¼ ± 2⁻²⁸ the information is half a unit of the entropies in float64."""
    e = 2.0**-28
    found = Judged("mutual_information", "float64", p=[[0.25 + e, 0.25 - e], [0.25 - e, 0.25 + e]])
    (information,) = found.outputs("entropies", backend).values()
    assert float(information) * 2**52 == round(float(information) * 2**52)
    assert value(found) == pytest.approx(8 * e * e, rel=1e-8)
    assert found.row("entropies", backend)["bound_ratio"] > 1e6
    assert_right(found, ("deviation",))


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("axis", [0, 1])
def test_two_parts_of_a_sum_are_exact_to_the_square_of_u(axis: int, backend: str) -> None:
    x = np.random.default_rng(8).uniform(0, 1, (7, 11))
    xp = BACKENDS[backend].namespace(DTYPES["float64"], checked=True)
    arrays = x if backend == "numpy" else __import__("torch").from_numpy(x)
    high, low = (np.asarray(part).reshape(-1) for part in compensated(xp, arrays, axis))
    lines = x.T if axis == 0 else x
    for line, h, rest in zip(lines, high, low, strict=True):
        exact = mpmath.fsum(map(mpmath.mpf, line))
        assert abs(mpmath.mpf(h) + mpmath.mpf(rest) - exact) <= 100 * 2.0**-106 * exact  # 2l·(n + l + 2)·u²
