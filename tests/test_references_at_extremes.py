"""References, and what is promised of results, where arguments or errors are beyond float64, or infinite."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from flint import arb, ctx

from harness import catalogue
from harness.expect.verdicts import verdicts
from harness.formats import DTYPES, Precision
from harness.metrics.score import score
from harness.model import Cell, Plan
from harness.operations import score_statistics
from harness.reference.elements import ElementClass, ReferenceArray
from harness.reference.extended_reals import FUNCTIONS
from harness.reference.running_error import Elements, RunningErrors, log2_of
from harness.registry import COTANGENT, OPERATIONS, ExactProblem, gradient_output

catalogue.load()
INF = math.inf


def value(name: str, x: Any, dtype: str = "float64") -> ReferenceArray:
    """Return the reference of an operation of one input and one output."""
    operation = OPERATIONS[name]
    (given,), (output,) = operation.inputs, operation.outputs
    inputs = {given: np.asarray(x, np.float64)}
    return operation.reference(ExactProblem(name, inputs, {}, DTYPES[dtype])).outputs[output]


def gradient(name: str, x: Any, dtype: str = "float64") -> ReferenceArray:
    """Return the reference of its gradient, for a cotangent of ones."""
    (given,) = OPERATIONS[name].inputs
    inputs = {given: np.asarray(x, np.float64), COTANGENT: np.ones(np.shape(x))}
    problem = ExactProblem(name, inputs, {}, DTYPES[dtype], (given,))
    return OPERATIONS[name].differentiated((given,)).reference(problem).outputs[gradient_output(given)]


# ---- far arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [-64.0, -64.5, -1e3, -1e6, -1e10, -3.4e38, -1e154, -1.7e308])
def test_the_logarithm_of_a_tail_is_certified_however_far_it_is(x: float) -> None:
    """log(½·erfcx t) − t², with the asymptotic series of erfcx (NIST DLMF 7.12.1) where no erfc is."""
    with mpmath.workdps(700):
        t = -mpmath.mpf(x) / mpmath.sqrt(2)
        if x > -1e4:
            exact = mpmath.log(mpmath.erfc(t) / 2)
        else:
            series = 1 - 1 / (2 * t**2) + 3 / (4 * t**4) - 15 / (8 * t**6)
            exact = mpmath.log(series / (2 * t * mpmath.sqrt(mpmath.pi))) - t**2
        found = value("normal_log_cdf", [x])
        assert found.undecided == 0
        if exact > -(mpmath.mpf(2) ** 1024):
            assert found.to_float64()[0] == float(exact)
        else:
            assert found.to_float64()[0] == -INF  # half of (1.7e308)² rounds to it
    slope = gradient("normal_log_cdf", [x])
    assert slope.undecided == 0
    assert slope.to_float64()[0] == pytest.approx(-x - 1 / x, rel=2e-7)  # φ/Φ = −x − 1/x + 2/x³ − …


def test_the_scaled_tail_is_the_same_function_on_both_sides_of_its_border() -> None:
    with ctx.workprec(200):
        for x in (29.5, 30.0, 30.5, 40.0):
            found = FUNCTIONS["erfcx"](arb(x))
            with mpmath.workdps(60):
                exact = mpmath.exp(mpmath.mpf(x) ** 2) * mpmath.erfc(x)
                assert abs(mpmath.mpf(str(found.mid().str(50, radius=False))) / exact - 1) < 1e-45


@pytest.mark.parametrize("name", ["log1mexp", "normal_cdf", "normal_tail", "normal_log_cdf"])
def test_arguments_whose_power_of_e_no_integer_of_64_bits_holds(name: str) -> None:
    for x in (-1.7e308, -1e154, 1.7e308):
        assert value(name, [x]).undecided == 0 or (name, x > 0) == ("log1mexp", True)
        assert gradient(name, [x]).shape == (1,)


def test_a_ball_beyond_every_exponent_is_split() -> None:
    """2^±(2^1100): too small to be told from 0, but not beyond 2^-1000; too large to be told at all."""
    with ctx.workprec(64):
        small = arb(2) ** -(arb(2) ** 1100)
        large = arb(2) ** (arb(2) ** 1100)
        found = ReferenceArray.from_balls([small, large], (2,))
    assert found.kind[1] == ElementClass.UNDECIDED
    assert found.hi[0] == 0
    assert found.radius_log2[0] < -(2.0**52)


def test_what_is_far_below_a_format_is_known_to_its_radius_only() -> None:
    """e^−166 in float32: certified to 2⁻¹⁰·ω, 1e-48, the stable algorithm has it to 1e-16 of itself."""
    inputs = {"x": np.array([166.0, -166.0]), "y": np.array([1.0, 0.0])}
    operation = OPERATIONS["binary_cross_entropy_with_logits"]
    problem = ExactProblem(operation.name, inputs, operation.defaults(), DTYPES["float32"])
    loss = operation.reference(problem).outputs["loss"]
    assert (loss.error_log2(np.exp([-166.0, -166.0])) <= loss.radius_log2 + 1).all()


# ---- the ends of the extended reals ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "slopes"),
    [
        ("tanh", (0.0, 0.0)),
        ("sigmoid", (0.0, 0.0)),
        ("softplus", (0.0, 1.0)),
        ("normal_log_cdf", (INF, 0.0)),
        ("erf", (0.0, 0.0)),
        ("expm1", (0.0, INF)),
        ("atan", (0.0, 0.0)),
    ],
)
def test_a_slope_has_its_limit_at_infinity(name: str, slopes: tuple[float, float]) -> None:
    assert tuple(gradient(name, [-INF, INF]).to_float64()) == slopes
    assert np.isnan(gradient(name, [np.nan]).to_float64()).all()


def gradients(name: str, **inputs: Any) -> dict[str, list[Any]]:
    """Return the gradients of an operation for a cotangent of ones, rounded to float64."""
    operation = OPERATIONS[name]
    given = {n: np.asarray(x, np.float64) for n, x in inputs.items()}
    (y,) = operation.reference(
        ExactProblem(name, given, operation.defaults(), DTYPES["float64"])
    ).outputs.values()
    given[COTANGENT] = np.ones(y.shape)
    wanted = operation.differentiable
    problem = ExactProblem(name, given, operation.defaults(), DTYPES["float64"], wanted)
    found = operation.differentiated(wanted).reference(problem).outputs
    return {n.removeprefix("grad_"): g.to_float64().tolist() for n, g in found.items()}


def test_the_slope_of_a_loss_of_infinite_logits_is_its_limit() -> None:
    """σ(x) − y, for x → ±∞: right, wrong by all there is, and of y = ½."""
    x = [INF, INF, INF, -INF, -INF, -INF, 800.0, 0.0]
    y = [1.0, 0.0, 0.5, 1.0, 0.0, 0.5, 0.25, 0.5]
    found = gradients("binary_cross_entropy_with_logits", x=x, y=y)
    assert found["x"] == [0.0, 1.0, 0.5, -1.0, 0.0, -0.5, 0.75, 0.0]


def test_the_slopes_of_an_infinite_divergence_are_infinite() -> None:
    """ln(p/q) + 1 → +∞ and −p/q → −∞ for q → 0, beside terms that are finite."""
    found = gradients("kl_divergence", p=[[0.5, 0.5], [0.0, 1.0]], q=[[0.0, 1.0], [0.0, 0.5]])
    assert found["p"] == [[INF, pytest.approx(1 - math.log(2))], [0.0, pytest.approx(1 + math.log(2))]]
    assert found["q"] == [[-INF, -0.5], [0.0, -2.0]]


def test_beyond_its_ends_a_uniform_distribution_is_constant() -> None:
    x, low, high = [INF, -INF, 3.0, -1.0, 0.5], [0.0] * 5, [2.0] * 5
    found = gradients("uniform_cdf", x=x, low=low, high=high)
    assert found == {
        "x": [0, 0, 0, 0, 0.5],
        "low": [0, 0, 0, 0, -0.375],
        "high": [0, 0, 0, 0, -0.125],
    }


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus"])
def test_slopes_by_sign_are_those_of_the_function(name: str) -> None:
    x = [-700.0, -3.0, -1e-300, 0.0, 5e-324, 0.5, 20.0, 800.0]
    functions = {
        "tanh": mpmath.sech,
        "sigmoid": lambda v: mpmath.exp(-abs(v)) / (1 + mpmath.exp(-abs(v))) ** 2,
        "softplus": lambda v: 1 / (1 + mpmath.exp(-v)),
    }
    with mpmath.workdps(60):
        exact = [float(functions[name](mpmath.mpf(v)) ** (2 if name == "tanh" else 1)) for v in x]
    assert gradient(name, x).to_float64().tolist() == exact


def test_a_density_beyond_float64_has_a_reference() -> None:
    """−½·(1e200)²/v: exact as a rational, −∞ once rounded; what the bound needs of it is infinite."""
    inputs = {
        "x": np.array([[1e200], [-1.7e308]]),
        "mean": np.array([1e308]),
        "covariance": np.array([[2.0**-600]]),
    }
    problem = ExactProblem("mvn_log_density", inputs, {}, DTYPES["float64"])
    operation = OPERATIONS["mvn_log_density"]
    reference = operation.reference(problem)
    assert reference.outputs["y"].to_float64().tolist() == [-INF, -INF]
    with np.errstate(all="ignore"):
        operation.bound(problem, reference, Precision.of(DTYPES["float64"], "float64"))  # type: ignore[misc]


# ---- what is promised -------------------------------------------------------------------------------------


def test_an_undefined_error_beside_a_number_promises_nothing() -> None:
    found = log2_of(Elements([1.0, 1.0, INF, np.nan], [np.nan, 2.0, np.nan, 1.0]))
    assert found.tolist() == [INF, 1.0, -INF, -INF]


def test_an_exact_infinity_makes_no_error_and_no_undefined_one() -> None:
    """e^−∞ is 0, whatever −∞ was multiplied by or divided by, as long as that is not 0."""
    errors = RunningErrors(Precision.of(DTYPES["float32"], "float32"))
    endless, rounded = errors.exact([-INF, 3.0]), errors.scalar("0.1")
    for made in (
        endless,
        errors.multiply(endless, rounded),
        errors.multiply(rounded, endless),
        errors.divide(endless, rounded),
        errors.subtract(endless, errors.max(endless)),
        errors.add(errors.multiply(endless, rounded), errors.sum(endless)),
    ):
        found = errors.exp(made)
        assert found.value[0] == 0
        assert found.error[0] == errors.least
        assert np.isfinite(found.error).all()
    uncertain = Elements([0.5], [1.0])  # of either sign
    assert np.isposinf(errors.multiply(errors.exact([INF]), uncertain).error)
    assert np.isposinf(errors.divide(errors.exact([INF]), uncertain).error)


def test_where_nothing_is_promised_there_is_no_ratio_and_no_verdict_for_it() -> None:
    problem = ExactProblem("exp", {"x": np.zeros(2)}, {}, DTYPES["float32"])
    operation = OPERATIONS["exp"]
    reference = operation.reference(problem)
    for bounds, ratio, verdict in (
        ([INF, INF], None, "inconclusive"),
        ([INF, -20.0], 0.0, "pass"),
    ):
        judged = _with_bound(operation, np.array(bounds))
        row = score(judged, problem, reference, {"y": np.ones(2)}, Precision.of(DTYPES["float32"], "float32"))
        assert row["y"].get("bound_ratio") == ratio
        cell = Cell(
            "c", "c", "exp", "library", "numpy", "float32", "forward", {}, "quick", "p", "t", (), 0, ("y",)
        )
        told = verdicts([{**row["y"], "cell": cell.id, "output": "y"}], Plan((cell,), {}, {}, "full", {}))
        assert told[0]["verdict"] == verdict
        zeros = score(
            judged, problem, reference, {"y": np.zeros(2)}, Precision.of(DTYPES["float32"], "float32")
        )
        assert zeros["y"]["outcome"] == "zeroed"  # no bound excuses it


def _with_bound(operation: Any, bound: np.ndarray) -> Any:
    from dataclasses import replace

    return replace(operation, bound=lambda *_: {"y": bound})


# ---- a posterior that is nearly certain ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_certain_posterior_is_known_to_be(dtype: str) -> None:
    """600 flips: in 16 bits scores are off by more than 1, but not by as much as they lie apart."""
    row = DTYPES[dtype]
    inputs = {"prior": np.array([0.5, 0.5]), "likelihoods": np.tile([0.75, 2.0**-6], (600, 1))}
    problem = ExactProblem("bayes_posterior", inputs, {}, row)
    operation = OPERATIONS["bayes_posterior"]
    assert operation.bound is not None
    reference = operation.reference(problem)
    compute = dtype if dtype in ("float64", "float32") else "float32"
    allowed = operation.bound(problem, reference, Precision.of(row, compute))["y"]
    u = float(row.storage.unit_roundoff)
    assert 2 ** allowed[0] <= 4 * u + 8 * float(row.storage.min_subnormal)
    # what the algorithm makes of the scores, whatever of them rounding has moved by 600 times u of each log
    for share in (0.0, 1.0):
        gap = 600 * math.log(48) * (1 - 2 * 8 * u * share)
        assert abs(1 / (1 + math.exp(-max(gap, 0.0))) - 1) <= 2 ** allowed[0]


# ---- entropy of a softmax that saturates ------------------------------------------------------------------


@pytest.mark.parametrize("gap", [0.0, 0.5, 5.0, 20.0, 40.0, 90.0, 300.0])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_the_bound_of_an_entropy_falls_with_it(gap: float, dtype: str) -> None:
    """Scores 0, −gap, −gap − 1 have the entropy e^−gap·(gap + 2.7): what is allowed must not stay behind."""
    row = DTYPES[dtype]
    q, k = np.array([[gap / 8]]), np.array([[0.0], [-8.0], [-8.0 - 8 / max(gap, 1.0)]])
    problem = ExactProblem("score_statistics", {"q": q, "k": k}, {"scale": 1}, row)
    operation = OPERATIONS["score_statistics"]
    reference = operation.reference(problem)
    compute = dtype if dtype in ("float64", "float32") else "float32"
    bounds = score_statistics.bound(problem, reference, Precision.of(row, compute))
    allowed, exact = float(bounds["entropy"]), float(reference.outputs["entropy"].log2_abs())
    # what underflows is 3·ω·(|ln ω| + 1); in 16 bits a score of 5 and more is off by more than is left
    if exact > math.log2(float(row.storage.min_subnormal)) + 12 and (compute == dtype or gap < 1):
        assert allowed < exact - 1
    # the entropy of the scores as a kernel rounds them lies within it
    for seed in range(20):
        generator = np.random.default_rng(seed)
        s = np.array([0.0, -gap, -gap * (1 + 1 / max(gap, 1.0))])
        moved = s * (1 + float(row.storage.unit_roundoff) * generator.uniform(-3, 3, 3))
        with mpmath.workdps(400):
            found, right = (_entropy(v) for v in (moved, (q @ k.T)[0]))
            assert abs(found - right) <= mpmath.mpf(2) ** allowed


def _entropy(scores: np.ndarray) -> Any:
    weights = [mpmath.exp(mpmath.mpf(float(s))) for s in scores]
    total = mpmath.fsum(weights)
    return -mpmath.fsum(w / total * mpmath.log(w / total) for w in weights)
