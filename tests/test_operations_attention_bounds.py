"""Bounds of attention, its gradients and its scores' statistics: what the documented formulas give.

Whether a bound holds shows on what is computed; whether it is as tight as it is said to be shows here only.
The formulas are evaluated as they are written, in float64, in formats whose u is 2⁻²⁴ at least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from harness.formats import Precision
from harness.operations import attention_family
from harness.registry import COTANGENT, OPERATIONS, ExactProblem
from tests.attention_problems import make, problem_of

TOLERANCE = 1e-6
"""Weights that are bounded from above are raised by 1e-9. Formulas as written subtract 1 from numbers that
are u above it: 2⁻⁵³ of u = 2⁻²⁴ is 2e-9. Every term looked for is more than 1e-5 of its bound."""

CELLS = {  # unit roundoffs of a product's inputs, of accumulation and the result, and the least number
    ("float32", "float32"): (2.0**-24, 2.0**-24, 2.0**-24, 2.0**-149),
    ("tf32", "float32"): (2.0**-11, 2.0**-24, 2.0**-24, 2.0**-149),
    ("bfloat16", "float32"): (2.0**-8, 2.0**-24, 2.0**-8, 2.0**-133),
    ("float16", "float32"): (2.0**-11, 2.0**-24, 2.0**-11, 2.0**-24),
    ("float16", "float16"): (2.0**-11, 2.0**-11, 2.0**-11, 2.0**-24),
}
WIDE = [cell for cell in CELLS if cell[0] != "float16"]
"""Those of float32's range, where what underflows is 1e-30 of anything here."""
PROBLEMS: dict[str, dict[str, Any]] = {
    "square": {"m": 6},
    "more keys, and scores of 10": {"m": 4, "n": 9, "d": 3, "e": 2, "amplitude": 4.0},
    "scaled by −3": {"m": 4, "n": 5, "scale": -3},
    "causal": {"m": 5, "n": 7, "causal": True},
    "small": {"m": 3, "n": 4, "d": 2, "e": 3, "amplitude": 2.0**-12},
}


@dataclass
class Terms:
    """What the formulas speak of."""

    u_in: float
    acc: float
    u: float
    omega: float
    d: int
    n: int
    scale: float
    sees: np.ndarray
    sizes: np.ndarray
    """M_ij, of all keys."""
    gap: np.ndarray
    p: np.ndarray
    eta: np.ndarray
    delta: np.ndarray
    log_sum: np.ndarray

    @property
    def narrow(self) -> float:
        """What rounding two factors to fewer bits than the format's does to their product."""
        return (1 + self.u_in) ** 2 if self.u_in > self.u else 1.0


def moved(t: Terms, size: Any, q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Δ: d roundings of the accumulator, five of the format, and what underflows in products and factors."""
    relative = (1 + t.d * t.acc) * (1 + t.u) ** 5 * t.narrow - 1
    sums = np.abs(q).sum(axis=1, keepdims=True) + np.abs(k).sum(axis=1).max()
    return np.asarray(relative * size + t.omega * max(t.scale, 1.0) * (t.d + 2 + sums))


def terms(problem: ExactProblem, cell: tuple[str, str]) -> Terms:
    """Evaluate scores, weights and what their logarithms err by, of one matrix."""
    q, k = problem.inputs["q"], problem.inputs["k"]
    (m, d), n = q.shape, len(k)
    given = problem.parameters["scale"]
    c = 1 / math.sqrt(d) if given == "inverse_sqrt" else float(given)
    sees = np.array(
        [[j <= i or not problem.parameters.get("causal") for j in range(n)] for i in range(m)]
    ) & (np.broadcast_to(problem.inputs.get("keep", np.ones((m, n))), (m, n)) == 1)
    s = np.where(sees, c * (q @ k.T), -np.inf)
    top = s.max(axis=1, keepdims=True, initial=-1e300)
    e = np.where(sees, np.exp(s - top), 0.0)
    total = e.sum(axis=1, keepdims=True)
    p = e / np.where(total == 0, 1.0, total)
    gap = np.where(sees, top - s, 0.0)
    none = np.zeros((m, 1))
    sizes = abs(c) * (np.abs(q) @ np.abs(k).T)
    log_sum = np.log(np.where(total == 0, 1.0, total))
    t = Terms(*CELLS[cell], d, n, abs(c), sees, sizes, gap, p, none, none, log_sum)
    t.delta = moved(t, np.where(sees, sizes, 0.0).max(axis=1, keepdims=True), q, k)
    seen = sees.sum(axis=1, keepdims=True)
    raised = np.exp(2 * t.delta) * ((p * gap).sum(axis=1, keepdims=True) + 2 * t.delta)

    # Exponentials of 3 ulp in numerator and sum, two of u each. Four more: the sum's, the quotient's,
    # the storage format's, products of errors.
    weight = (4 * 3 + 4 + raised) * t.u + np.maximum(seen - 1, 0) * t.acc
    t.eta = 2 * t.delta * (1 + t.u) + weight - np.log(1 - seen * t.omega / 2)
    return t


def found(problem: ExactProblem, cell: tuple[str, str]) -> dict[str, np.ndarray]:
    operation = OPERATIONS[problem.operation].differentiated(problem.with_respect_to)
    assert operation.bound is not None
    bounds = operation.bound(problem, operation.reference(problem), Precision.of(problem.dtype, cell[1]))
    return {name: np.exp2(bound) for name, bound in bounds.items()}


def of_output(problem: ExactProblem, cell: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Both bounds of attention: by the weights, and by the values alone."""
    t, v = terms(problem, cell), problem.inputs["v"]
    size = np.abs(v)
    last = t.n * t.acc + t.u + math.log(t.narrow)  # one more sum, and one more rounding
    exponent = t.eta + last
    raised = np.exp(exponent[:, :, None] + t.u * t.gap[:, :, None]) - 1
    lost = t.omega * (t.n + 2 * size.sum(axis=0))
    spread = (t.p[:, :, None] * size * raised).sum(axis=1) + lost * np.exp(exponent)
    seen = t.sees.sum(axis=1, keepdims=True)
    whole = np.exp((seen - 1) * t.acc + 5 * t.u - np.log(1 - seen * t.omega / 2) + last)
    within = v.max(axis=0) - v.min(axis=0) + (whole - 1) * size.max(axis=0) + whole * lost
    return spread, within


@pytest.mark.parametrize("what", PROBLEMS)
@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_the_bound_of_attention(cell: tuple[str, str], what: str) -> None:
    problem = make("attention", cell[0], **PROBLEMS[what])
    expected = np.minimum(*of_output(problem, cell))
    np.testing.assert_allclose(found(problem, cell)["y"], expected, rtol=TOLERANCE)


@pytest.mark.parametrize("cell", [("bfloat16", "float32"), ("float16", "float16")], ids="-".join)
def test_either_bound_of_attention_is_met(cell: tuple[str, str]) -> None:
    """Of large scores no more is known than that the output lies between the values."""
    for amplitude, last in ((0.25, False), (20.0 if cell[0] == "bfloat16" else 80.0, True)):
        problem = make("attention", cell[0], 4, amplitude=amplitude)
        spread, within = of_output(problem, cell)
        assert (within < spread).any() == last
        expected = np.minimum(spread, within)
        np.testing.assert_allclose(found(problem, cell)["y"], expected, rtol=TOLERANCE)


KEEP = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], np.float64)


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_the_bound_under_a_mask(cell: tuple[str, str]) -> None:
    """Nothing but the keys that are seen enters; 0 where there is none."""
    problem = make("masked_attention", cell[0], 4, 5, keep=KEEP)
    expected = np.minimum(*of_output(problem, cell))
    expected[2] = 0
    np.testing.assert_allclose(found(problem, cell)["y"], expected, rtol=TOLERANCE)


@pytest.mark.parametrize("operation", ["attention", "masked_attention"])
def test_blocks_of_queries_join_up(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 12 scores are two queries of six keys: masks start in the middle of their matrix."""
    cell = ("float32", "float32")
    masked = {"keep": np.random.default_rng(4).integers(0, 2, (7, 6)) | np.eye(7, 6, dtype=int)}
    given: dict[str, Any] = {"causal": True} if operation == "attention" else masked
    problem = make(operation, cell[0], 6 if operation == "attention" else 7, 6, **given)
    expected = np.minimum(*of_output(problem, cell))
    monkeypatch.setattr(attention_family, "_BLOCK", 12)
    expected[terms(problem, cell).sees.sum(axis=1) == 0] = 0
    np.testing.assert_allclose(found(problem, cell)["y"], expected, rtol=TOLERANCE)


# ---- gradients -------------------------------------------------------------------------------------


def of_gradients(problem: ExactProblem, cell: tuple[str, str]) -> dict[str, np.ndarray]:
    """The bounds of gradients but for what underflows."""
    t = terms(problem, cell)
    q, k, v, g = (np.abs(problem.inputs[name]) for name in ("q", "k", "v", COTANGENT))
    m, e = len(q), v.shape[1]
    tilted = t.p * np.exp(t.u * t.gap)  # p⁺
    products = g @ v.T  # N
    size = t.p * (products + (t.p * products).sum(axis=1, keepdims=True))
    raised = tilted * (products + (tilted * products).sum(axis=1, keepdims=True))
    exponent = 2 * t.eta + (2 * e + t.n + max(m, t.n)) * t.acc + 12 * t.u + 3 * math.log(t.narrow)
    of_values = t.eta + m * t.acc + t.u + math.log(t.narrow)
    return {
        "grad_q": t.scale * (np.exp(exponent) * raised - size) @ k,
        "grad_k": t.scale * (np.exp(exponent.max()) * raised - size).T @ q,
        "grad_v": (np.exp(of_values.max()) * tilted - t.p).T @ g,
    }


@pytest.mark.parametrize("what", [what for what in PROBLEMS if what != "small"])
@pytest.mark.parametrize("cell", WIDE, ids="-".join)
def test_the_bounds_of_gradients(cell: tuple[str, str], what: str) -> None:
    """A key that no query sees is allowed what underflows: 1e-30 at most."""
    problem = make("attention", cell[0], **PROBLEMS[what], with_respect_to=("q", "k", "v"))
    bounds = found(problem, cell)
    for name, expected in of_gradients(problem, cell).items():
        np.testing.assert_allclose(bounds[name], expected, rtol=TOLERANCE, atol=1e-30, err_msg=name)


def test_what_underflows_in_gradients_is_allowed() -> None:
    """Of one query and one key in float16, p = 1: a weight's 2ω on g = 1, ω of its product and of the result.

    The bound of dV is (e^Λ − 1)·|g| + e^Λ·4ω. That of dQ and dK is larger than an ω of every operation of
    theirs: G·Vᵀ, D, the difference, its product with p, the scale and the last product are six.
    """
    cell = ("float16", "float16")
    problem = problem_of(
        "attention",
        "float16",
        {"q": [[1.0]], "k": [[1.0]], "v": [[1.0]], COTANGENT: [[1.0]]},
        with_respect_to=("q", "k", "v"),
    )
    bounds, plain = found(problem, cell), of_gradients(problem, cell)
    omega = 2.0**-24
    whole = 1 + plain["grad_v"].item()
    np.testing.assert_allclose(bounds["grad_v"].item(), whole - 1 + whole * 4 * omega, rtol=TOLERANCE)
    for name in ("grad_q", "grad_k"):
        assert bounds[name].item() >= plain[name].item() + 6 * omega, name


# ---- statistics ------------------------------------------------------------------------------------


def of_statistics(problem: ExactProblem, cell: tuple[str, str]) -> tuple[float, float]:
    t = terms(problem, cell)
    q, k = problem.inputs["q"], problem.inputs["k"]
    m, count = len(q), t.sees.size
    deviation = np.std(t.scale * (q @ k.T))
    rms = math.sqrt(np.mean(t.sizes**2))
    r = moved(t, rms, q, k).max()
    epsilon = (count * t.acc + 2 * t.u) * (rms + r)
    # A square that underflows, and the result that does, lose ω each.
    variance = math.exp(count * t.acc + 6 * t.u) * ((deviation + r) ** 2 + epsilon**2) - deviation**2
    entropy = np.mean([of_a_row(t, i, m) for i in range(m)])
    lost = t.n * t.omega * (abs(math.log(t.omega)) + 1)
    return float(variance + 2 * t.omega), float(entropy + lost)


def of_a_row(t: Terms, i: int, m: int) -> float:
    """What a row's entropy may be off by: moved scores, weights of all keys but the largest, and its own."""
    top = int(np.argmin(t.gap[i]))
    rest = [j for j in range(t.n) if j != top]
    delta = min(float(t.delta[i, 0]), 700.0)
    a = min(float(t.eta[i, 0]), 700.0) - 2 * delta
    with np.errstate(over="ignore"):
        grown = float(np.exp(2 * delta))
        logarithm = t.gap[i] + t.log_sum[i, 0]  # |ln p|
        scores = 2 * delta * grown * sum(t.p[i, j] * (t.gap[i, j] + 2 * delta) for j in rest)

        # p grows by e^2Δ, |ln p| by 2Δ; (e^θ − 1)·|ln p| + e^θ·θ for θ = a + u·g
        weights = 0.0
        for j in rest:
            theta = a + t.u * t.gap[i, j]
            weights += t.p[i, j] * (np.expm1(theta) * (logarithm[j] + 2 * delta) + np.exp(theta) * theta)
        against = grown * sum(np.exp((t.u - 1) * t.gap[i, j]) for j in rest)  # R of moved, rounded scores
        theta = min(a, 6 * np.exp(a) * against)
        own = min(t.p[i, top] * grown, 1.0)
        own *= np.expm1(theta) * min(logarithm[top] + 2 * delta, against) + np.exp(theta) * theta
        moved_by = scores + grown * weights + own
        rho = (2 * 4 + 4) * t.u + (m + t.n) * t.acc  # a logarithm is good to 4 ulp
        found = moved_by + np.expm1(rho) * ((t.p[i] * logarithm).sum() + moved_by)
        beta = (t.n - 1) * t.acc + 5 * t.u - math.log(1 - t.n * t.omega / 2)
        return float(min(found, math.exp(beta + rho) * (math.log(t.n) + 2 * beta)))


STATISTICS: dict[str, tuple[tuple[int, int, int], float, dict[str, Any]]] = {
    "of size 1": ((6, 5, 4), 1.0, {}),
    "scaled by −2": ((3, 7, 2), 1.0, {"scale": -2}),
    "of size 10": ((4, 4, 8), 10.0, {}),
    "small": ((4, 3, 2), 2.0**-6, {}),
}


@pytest.mark.parametrize("what", STATISTICS)
@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_the_bounds_of_statistics(cell: tuple[str, str], what: str) -> None:
    """In float16 "small" has a variance of 2e-4, of which 2⁻²⁴ is a visible part of some u."""
    (m, n, d), amplitude, parameters = STATISTICS[what]
    rng = np.random.default_rng(3)
    inputs = {"q": rng.standard_normal((m, d)) * amplitude, "k": rng.standard_normal((n, d))}
    problem = problem_of("score_statistics", cell[0], inputs, **parameters)
    bounds = found(problem, cell)
    for name, expected in zip(("variance", "entropy"), of_statistics(problem, cell), strict=True):
        np.testing.assert_allclose(bounds[name], expected, rtol=TOLERANCE, err_msg=name)
