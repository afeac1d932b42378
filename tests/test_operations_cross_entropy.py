"""Cross-entropies: references against mpmath, bounds that hold, and what each clip and epsilon costs."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

from harness.errors import InputError
from harness.formats import DTYPES, round_array
from harness.reference.elements import ElementClass
from harness.registry import OPERATIONS
from tests.judged import Judged

DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
BACKEND_NAMES = ("numpy", "torch-cpu")
INF = math.inf


def value(found: Judged) -> np.ndarray:
    (output,) = found.operation.outputs
    return found.reference.outputs[output].to_float64()


def loss_of_logits(x: list[float], t: list[float]) -> mpmath.mpf:
    with mpmath.workdps(60):
        total = mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(v)) for v in x))
        return mpmath.fsum(mpmath.mpf(w) * (total - mpmath.mpf(v)) for v, w in zip(x, t, strict=True))


# ---- references -------------------------------------------------------------------------------------


def test_losses_of_logits_are_those_of_mpmath() -> None:
    rng = np.random.default_rng(1)
    x, t = 30 * rng.standard_normal((5, 7)), rng.dirichlet(np.ones(7), 5)
    found = Judged("cross_entropy", "float64", x=x, target=t)
    expected = [float(loss_of_logits(*row)) for row in zip(x.tolist(), t.tolist(), strict=True)]
    np.testing.assert_allclose(value(found), expected, rtol=1e-15)  # rounded once to float64


def test_smoothing_spreads_the_target() -> None:
    x, t = [3.0, 1.0, -2.0, 0.0], np.array([1.0, 0, 0, 0])
    found = Judged("cross_entropy", "float64", x=x, target=t, parameters={"smoothing": 0.5})
    assert value(found) == pytest.approx(float(loss_of_logits(x, (0.5 * t + 0.125).tolist())), rel=1e-15)
    for backend in BACKEND_NAMES:
        for name in ("shifted", "log_softmax", "library"):
            if found.runs(name, backend):
                assert found.row(name, backend)["bound_ratio"] <= 1


def test_losses_of_probabilities_are_those_of_mpmath() -> None:
    rng = np.random.default_rng(2)
    p, t = rng.dirichlet(np.ones(5), 4), rng.dirichlet(np.ones(5), 4)
    found = Judged("cross_entropy_of_probabilities", "float64", p=p, target=t)
    with mpmath.workdps(50):
        expected = [
            -mpmath.fsum(mpmath.mpf(w) * mpmath.log(mpmath.mpf(v)) for v, w in zip(a, b, strict=True))
            for a, b in zip(p.tolist(), t.tolist(), strict=True)
        ]
    np.testing.assert_allclose(value(found), np.array(expected, float), rtol=1e-15)


def test_binary_losses_and_slopes_are_those_of_mpmath() -> None:
    rng = np.random.default_rng(3)
    p, y, x = rng.uniform(1e-6, 1, 20), rng.uniform(0, 1, 20), 40 * rng.standard_normal(20)
    with mpmath.workdps(60):
        ps, ys, xs = ([mpmath.mpf(v) for v in values.tolist()] for values in (p, y, x))
        of_p = [-(w * mpmath.log(v) + (1 - w) * mpmath.log(1 - v)) for v, w in zip(ps, ys, strict=True)]
        plus = [mpmath.log(1 + mpmath.exp(v)) for v in xs]
        minus = [mpmath.log(1 + mpmath.exp(-v)) for v in xs]
        of_x = [w * b + (1 - w) * a for a, b, w in zip(plus, minus, ys, strict=True)]
        slope = [1 / (1 + mpmath.exp(-v)) - w for v, w in zip(xs, ys, strict=True)]
    found = Judged("binary_cross_entropy", "float64", p=p, y=y)
    np.testing.assert_allclose(value(found), np.array(of_p, float), rtol=1e-15)
    mean = Judged("binary_cross_entropy", "float64", p=p, y=y, parameters={"reduction": "mean"})
    assert value(mean) == pytest.approx(float(mpmath.fsum(of_p) / 20), rel=1e-15)
    logits = Judged("binary_cross_entropy_with_logits", "float64", x=x, y=y)
    np.testing.assert_allclose(value(logits), np.array(of_x, float), rtol=1e-15)
    back = Judged("binary_cross_entropy_with_logits", "float64", wrt=("x",), x=x, y=y, cotangent=np.ones(20))
    np.testing.assert_allclose(value(back), np.array(slope, float), rtol=1e-15)


def test_the_published_mean_is_that_of_the_formula() -> None:
    p, y = [0.9, 0.1, 0.8, 0.7, 0.2], [1, 0, 1, 1, 0]
    found = Judged("binary_cross_entropy", "float64", p=p, y=y, parameters={"reduction": "mean"})
    assert value(found) == pytest.approx(0.20273661557656, abs=5e-15)


# ---- special values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "target", "expected"),
    [
        ([7.0], [1.0], 0.0),  # one class
        ([-INF, 1.0], [0.0, 1.0], 0.0),  # what is masked adds nothing, and nothing else is left
        ([-INF, 1.0], [1.0, 0.0], INF),
        ([INF, 1.0], [1.0, 0.0], math.nan),
        ([-INF, -INF], [1.0, 0.0], math.nan),
        ([3.0, 1.0], [0.0, 0.0], 0.0),
    ],
)
def test_special_logits(x: list[float], target: list[float], expected: float) -> None:
    found = Judged("cross_entropy", "float32", x=x, target=target)
    np.testing.assert_equal(value(found), expected)
    for backend in BACKEND_NAMES:
        assert found.row("shifted", backend)["outcome"] == "ok"


@pytest.mark.parametrize(
    ("p", "y", "expected"),
    [(0, 1, INF), (1, 0, INF), (0, 0, 0.0), (1, 1, 0.0), (0.0, 0.5, INF), (2, 0, math.nan)],
)
def test_special_probabilities(p: float, y: float, expected: float) -> None:
    found = Judged("binary_cross_entropy", "float32", p=[p], y=[y])
    np.testing.assert_equal(value(found), [expected])
    for backend in BACKEND_NAMES:
        assert found.row("log1p", backend)["outcome"] == "ok"


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [(INF, 1, 0.0), (-INF, 0, 0.0), (INF, 0, INF), (-INF, 1, INF), (0, 0.5, math.log(2))],
)
def test_special_binary_logits(x: float, y: float, expected: float) -> None:
    found = Judged("binary_cross_entropy_with_logits", "float64", x=[x], y=[y])
    np.testing.assert_allclose(value(found), [expected], rtol=1e-15)


def test_shapes_that_do_not_fit_are_told() -> None:
    for name in ("cross_entropy", "binary_cross_entropy_with_logits"):
        other = list(OPERATIONS[name].inputs)[1]
        with pytest.raises(InputError, match=r"the shapes differ: x \[2\] and \w+ \[3\]"):
            Judged(name, "float64", x=[1.0, 2.0], **{other: [1.0, 0.0, 0.0]})
    with pytest.raises(InputError, match="without anything to sum over"):
        Judged("cross_entropy", "float64", x=np.zeros((2, 0)), target=np.zeros((2, 0)))


# ---- bounds -----------------------------------------------------------------------------------------

STABLE = {
    "cross_entropy": ("shifted", "log_softmax", "library"),
    "cross_entropy_of_probabilities": ("guarded", "library"),
    "binary_cross_entropy": ("log1p",),  # torch's logarithms end at −100
    "binary_cross_entropy_with_logits": ("from_logits",),
}


def near_the_limits(operation: str, dtype: str, seed: int) -> dict[str, Any]:
    """Return inputs over the whole range: logits of any size, probabilities down to the smallest number."""
    rng, fmt = np.random.default_rng(seed), DTYPES[dtype].storage
    shape, least = (6, 5), math.log2(float(fmt.min_subnormal))
    y = rng.choice([0.0, 1.0, 0.25], shape)
    logits = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4, shape)
    p = np.exp2(rng.uniform(least + 1, 0, shape))
    if operation == "cross_entropy":
        return {"x": logits, "target": y}
    if operation == "cross_entropy_of_probabilities":
        return {"p": p, "target": y}
    if operation == "binary_cross_entropy":
        return {
            "p": np.where(rng.random(shape) < 0.5, p, 1 - p.clip(2 * float(fmt.unit_roundoff), 0.5)),
            "y": y,
        }
    return {"x": logits, "y": y}


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("operation", STABLE)
def test_stable_formulations_keep_to_the_bound(operation: str, dtype: str, backend: str) -> None:
    for seed in range(3):
        found = Judged(operation, dtype, **near_the_limits(operation, dtype, seed))
        assert found.reference.undecided == 0
        for name in STABLE[operation]:
            if found.runs(name, backend):
                row = found.row(name, backend)
                assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True), (name, row)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("operation", STABLE)
def test_gradients_keep_to_the_bound(operation: str, dtype: str, backend: str) -> None:
    given = near_the_limits(operation, dtype, 7)
    (wrt,) = OPERATIONS[operation].differentiable
    if wrt == "p":
        given["p"] = np.clip(given["p"], 0.01, 0.96875)  # −1/p has to be a number
    shape = (6,) if operation.startswith("cross") else (6, 5)
    found = Judged(
        operation, dtype, wrt=(wrt,), **given, cotangent=np.linspace(-1, 2, math.prod(shape)).reshape(shape)
    )
    for name in STABLE[operation]:
        if found.runs(name, backend):
            row = found.row(name, backend)
            assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True), (name, row)


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("operation", STABLE)
def test_wrong_answers_are_outside(operation: str, dtype: str) -> None:
    found = Judged(operation, dtype, **near_the_limits(operation, dtype, 4))
    exact = found.reference.outputs["loss"].round_to(found.dtype.storage)
    for wrong in (np.zeros_like(exact), np.roll(exact, 1, axis=-1), exact * 1.5):
        row = found.rows({"loss": round_array(found.dtype.storage, wrong)})["loss"]
        assert row["outcome"] != "ok" or row["bound_ratio"] > 1


# ---- what clips and epsilons cost -------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize(
    ("name", "dtype", "left"),
    [
        ("clip_1e7", "float64", -math.log(1e-7)),
        ("clip_1e7", "float32", -math.log(1e-7)),
        ("clip_1e7", "float16", -math.log(2.0**-23)),  # the number next to 1e-7: two of the smallest
        ("clip_1e12", "float32", -math.log(1e-12)),
        ("clip_1e15", "bfloat16", -math.log(1e-15)),
        ("plus_1e9", "float64", -math.log(1e-9)),
        ("clip_1e15", "float16", INF),  # 1e-15 rounds to 0
        ("plus_1e9", "float16", INF),
        ("log_of_softmax", "float16", INF),
    ],
)
def test_a_guard_leaves_the_logarithm_of_itself(name: str, dtype: str, left: float, backend: str) -> None:
    found = Judged("cross_entropy", dtype, x=[0, -40], target=[0, 1])
    (loss,) = found.outputs(name, backend).values()
    assert loss == pytest.approx(left, rel=2.0**-7)  # bfloat16 rounds 1e-15, its logarithm and the product
    assert value(found) == pytest.approx(40)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize(
    ("name", "dtype", "left"),
    [
        ("clip_eps", "float64", 52 * math.log(2)),  # eps is 2u
        ("clip_eps", "float32", 23 * math.log(2)),
        ("clip_1e7", "float64", 7 * math.log(10)),
        ("plus_1e12", "float32", 12 * math.log(10)),
        ("plus_1e15", "float64", 15 * math.log(10)),
    ],
)
def test_a_guard_of_probabilities_leaves_the_logarithm_of_itself(
    name: str, dtype: str, left: float, backend: str
) -> None:
    found = Judged("cross_entropy_of_probabilities", dtype, p=[1, 0], target=[0, 1])
    (loss,) = found.outputs(name, backend).values()
    assert loss == pytest.approx(left, rel=1e-6)  # the guard itself is rounded


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_a_clip_at_1e_15_is_none_in_float32(backend: str) -> None:
    for dtype, expected in (("float32", math.nan), ("float64", 9 * 2.0**-53)):
        found = Judged("binary_cross_entropy", dtype, p=[1.0], y=[1.0])
        (loss,) = found.outputs("clip_1e15", backend).values()
        np.testing.assert_allclose(loss, [expected], rtol=1e-3)  # 1 − 1e-15 is 1 − 9u


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_a_clip_ends_the_gradient(backend: str) -> None:
    found = Judged("cross_entropy", "float32", wrt=("x",), x=[0, -20], target=[0, 1], cotangent=1.0)
    np.testing.assert_array_equal(found.outputs("clip_1e7", backend)["grad_x"], [0, 0])
    np.testing.assert_allclose(found.outputs("clip_1e12", backend)["grad_x"], [1, -1], rtol=1e-5)
    np.testing.assert_allclose(found.outputs("shifted", backend)["grad_x"], [1, -1], rtol=1e-5)
    assert value(found) == pytest.approx([1, -1], rel=1e-8)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
def test_a_clip_and_an_epsilon_add_up(backend: str) -> None:
    """As Keras long had it: −ln 2e-7 = 15.42 of an infinite loss, and 0 of a certain one."""
    found = Judged("binary_cross_entropy", "float32", p=[0.0, 1.0], y=[1.0, 1.0])
    (losses,) = found.outputs("clip_plus_1e7", backend).values()
    np.testing.assert_allclose(losses, [-math.log(2e-7), 0], rtol=1e-6)
    (losses,) = found.outputs("clip_1e7", backend).values()
    np.testing.assert_allclose(losses, [-math.log(1e-7), 2.0**-23], rtol=1e-6)


def test_torch_clamps_logarithms_at_minus_100_and_gradients_at_1e12() -> None:
    found = Judged("binary_cross_entropy", "float64", p=[0.0, 1e-50], y=[1.0, 1.0])
    assert found.outputs("library", "torch-cpu")["loss"].tolist() == [100, 100]
    back = Judged("binary_cross_entropy", "float64", wrt=("p",), p=[1e-20], y=[1.0], cotangent=[1.0])
    np.testing.assert_allclose(
        back.outputs("library", "torch-cpu")["grad_p"], [-1e12], rtol=2.0**-24
    )  # 1e-12f
    assert value(back) == pytest.approx([-1e20])


def test_only_one_form_of_binary_losses_keeps_both_tails() -> None:
    """x − (x − exp(x)) is torch's at y = 0, (x + exp(−x)) − x NumPy's at y = 1: nothing is left."""
    for x, y, loser in ((-30.0, 0.0, "torch-cpu"), (30.0, 1.0, "numpy")):
        found = Judged("binary_cross_entropy_with_logits", "float32", x=[x], y=[y])
        assert value(found) == pytest.approx([math.exp(-30)], rel=1e-10)
        for backend in BACKEND_NAMES:
            assert found.row("from_logits", backend)["bound_ratio"] <= 1
            assert found.row("library", backend)["outcome"] == ("zeroed" if backend == loser else "ok")


def test_zero_is_exact() -> None:
    found = Judged("cross_entropy_of_probabilities", "float64", p=[1.0, 0.0], target=[1.0, 0.0])
    assert found.reference.outputs["loss"].kind.tolist() == ElementClass.ZERO
