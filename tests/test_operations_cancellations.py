"""The classic cancellations: references against mpmath, bounds, and where the naive forms end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from harness.errors import InputError
from harness.formats import DTYPES
from tests.judged import Judged

FORMATS = ("float64", "float32", "bfloat16", "float16")
BACKENDS = ("numpy", "torch-cpu")
INF, NAN = math.inf, math.nan
N = 48


def limits(dtype: str) -> tuple[float, float, float]:
    """Return u, ω and Ω."""
    fmt = DTYPES[dtype].storage
    return float(fmt.unit_roundoff), float(fmt.min_subnormal), float(fmt.max_finite)


def many(low: float, high: float, n: int = N) -> np.ndarray:
    """Return numbers of equal ratio, of one sign."""
    return np.copysign(np.exp(np.linspace(math.log(abs(low)), math.log(abs(high)), n)), low)


def correct(judged: Judged, exact: Callable[..., Any], output: str) -> None:
    """Compare a reference with mpmath's value at 4000 bits: rounded to float64 they are the same."""
    with mpmath.workprec(4000):
        wanted = [float(exact(*map(mpmath.mpf, row))) for row in zip(*judged.inputs.values(), strict=True)]
    np.testing.assert_array_equal(judged.exact(output), wanted)


MEANT: dict[str, tuple[str, Callable[..., Any], tuple[str, ...]]] = {
    "one_minus_cos": ("y", lambda x: 1 - mpmath.cos(x), ("x",)),
    "sqrt_difference": ("y", lambda x: mpmath.sqrt(x + 1) - mpmath.sqrt(x), ("x",)),
    "log1mexp": ("y", lambda x: mpmath.log(1 - mpmath.exp(x)), ("x",)),
    "hypot": ("r", lambda x, y: mpmath.sqrt(x * x + y * y), ("x", "y")),
    "quadratic_root": (
        "x",
        lambda a, b, c: (-b + mpmath.sign(b) * mpmath.sqrt(b * b - 4 * a * c)) / (2 * a),
        ("a", "b", "c"),
    ),
}
STABLE = {
    "one_minus_cos": ("half_angle",),
    "sqrt_difference": ("conjugate",),
    "log1mexp": ("split",),
    "hypot": ("scaled", "library"),
    "quadratic_root": ("scaled",),
}


def ordinary(operation: str, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Return inputs over the whole range of a format in which the result is a number."""
    _, least, most = limits(dtype)
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], N)
    if operation == "one_minus_cos":
        return {"x": many(least, 3 if seed else 1e-3) * signs}
    if operation == "sqrt_difference":
        return {"x": many(least, most)}
    if operation == "log1mexp":
        return {"x": many(-least, 1.1 * math.log(least))}
    if operation == "hypot":
        return {"x": many(least, most) * signs, "y": generator.permutation(many(least, most))}
    b = 4 * generator.normal(size=N)
    b = np.where(np.abs(b) < 0.25, 1.0, b)
    return {"a": generator.uniform(0.5, 2, N), "b": b, "c": generator.uniform(-2, 2, N)}


@pytest.mark.parametrize("operation", MEANT)
def test_references_are_those_of_mpmath(operation: str) -> None:
    output, exact, _ = MEANT[operation]
    inputs = ordinary(operation, "float64")
    if operation == "quadratic_root":  # roots that are numbers
        inputs["c"] = np.minimum(inputs["c"], 0.24 * inputs["b"] ** 2 / inputs["a"])
    if operation in ("one_minus_cos", "sqrt_difference"):  # what 4000 bits of mpmath tell
        inputs["x"] = np.clip(np.abs(inputs["x"]), 1e-300, 1e300)
    if operation == "hypot":
        inputs = {name: v * 0.5 for name, v in inputs.items()}
    correct(Judged(operation, "float64", **inputs), exact, output)


@pytest.mark.parametrize("operation", MEANT)
def test_gradients_are_those_of_mpmath(operation: str) -> None:
    _, exact, names = MEANT[operation]
    inputs = {n: np.abs(v[:8]) for n, v in ordinary(operation, "float32").items()}
    if operation in ("log1mexp", "sqrt_difference", "one_minus_cos", "hypot"):
        inputs = {n: np.linspace(0.1, 4, 8) * (-1 if operation == "log1mexp" else 1) for n in names}
    else:
        inputs["b"], inputs["c"] = inputs["b"] + 8, inputs["c"] + 1
    cotangent = np.linspace(1, 2, 8)
    judged = Judged(operation, "float64", wrt=names, **inputs, cotangent=cotangent)
    for place, name in enumerate(names):
        found = judged.reference.outputs[f"grad_{name}"].to_float64()
        with mpmath.workprec(400):
            wanted = [
                float(g * mpmath.diff(exact, row, tuple(int(i == place) for i in range(len(names)))))
                for g, row in zip(cotangent, zip(*inputs.values(), strict=True), strict=True)
            ]
        np.testing.assert_allclose(found, wanted, rtol=1e-14)  # differences of mpmath to 400 bits


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("operation", MEANT)
def test_stable_forms_are_within_their_bounds_everywhere(operation: str, dtype: str) -> None:
    for seed in (0, 1):
        judged = Judged(operation, dtype, **ordinary(operation, dtype, seed))
        assert judged.reference.undecided == 0
        for formulation in STABLE[operation]:
            for backend in BACKENDS:
                row = judged.row(formulation, backend)
                assert row["outcome"] == "ok", (formulation, backend)
                assert row["bound_ratio"] <= 1, (formulation, backend)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("operation", MEANT)
def test_gradients_of_stable_forms_are_within_their_bounds(operation: str, dtype: str) -> None:
    u, least, most = limits(dtype)
    names = MEANT[operation][2]
    inputs = ordinary(operation, dtype, 1)
    if operation in ("sqrt_difference", "log1mexp", "hypot"):  # derivatives that are numbers
        low, high = (0.01, 1 / u) if operation == "sqrt_difference" else (-0.01, -8)
        if operation == "hypot":
            low, high = math.sqrt(least), math.sqrt(most)
        inputs = {n: many(low, high) for n in names}
    if operation == "quadratic_root":  # away from a double root, where no derivative is a number
        inputs["c"] = np.minimum(inputs["c"], 0.2 * inputs["b"] ** 2 / inputs["a"])
    judged = Judged(operation, dtype, wrt=names, **inputs, cotangent=np.linspace(0.25, 1, N))
    for formulation in STABLE[operation]:
        for backend in BACKENDS:
            if not judged.runs(formulation, backend):
                continue
            for name in names:
                row = judged.row(formulation, backend, f"grad_{name}")
                assert row["outcome"] == "ok", (formulation, backend, name)
                assert row["bound_ratio"] <= 1, (formulation, backend, name)


# ---- wrong answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("operation", MEANT)
def test_wrong_answers_are_outside(operation: str, dtype: str) -> None:
    u = limits(dtype)[0]
    inputs = {
        "one_minus_cos": {"x": many(0.01, 2)},
        "sqrt_difference": {"x": many(0.1, 1000)},
        "log1mexp": {"x": many(-0.01, -5)},
        "hypot": {"x": many(1, 9), "y": many(5, 2)},
        "quadratic_root": {"a": many(1, 2), "b": many(3, 9), "c": many(1, 0.5)},
    }[operation]
    judged = Judged(operation, dtype, **inputs)
    right = judged.exact()
    assert judged.passes(right)
    assert not judged.passes(np.zeros_like(right))
    assert not judged.passes(np.roll(right, 1))
    # Elementary functions are allowed 4 ulp, of up to 2u each, and a sine is squared here.
    factor = {"one_minus_cos": 32, "log1mexp": 32}.get(operation, 8)
    assert not judged.passes(right * (1 + factor * u))


NAIVE: list[tuple[str, str, Callable[..., Any], str | None]] = [
    ("one_minus_cos", "naive", lambda u, w, o: {"x": many(u**0.6, u**0.505)}, "zeroed"),
    ("sqrt_difference", "naive", lambda u, w, o: {"x": many(u**-1.05, u**-1.3)}, "zeroed"),
    ("sqrt_difference", "naive", lambda u, w, o: {"x": many(u**-0.5, u**-0.9)}, None),
    ("log1mexp", "naive", lambda u, w, o: {"x": many(-u / 100, -0.45 * u)}, "overflow"),
    ("log1mexp", "naive", lambda u, w, o: {"x": many(-0.55 * u, -2 * u)}, None),
    ("hypot", "naive", lambda u, w, o: {"x": many(1.1 * o**0.5, 2 * o**0.5), "y": many(1, 1)}, "overflow"),
    ("hypot", "naive", lambda u, w, o: {"x": many(w**0.5, 2 * w**0.5), "y": many(w, w)}, None),
    (
        "quadratic_root",
        "textbook",
        lambda u, w, o: {"a": many(1, 1), "b": many(u**-0.6, u**-0.7), "c": many(0.25, 0.25)},
        "zeroed",
    ),
    (
        "quadratic_root",
        "q_form",
        lambda u, w, o: {"a": many(1, 1), "b": many(2 * o**0.5, 4 * o**0.5), "c": many(0.25, 1)},
        "zeroed",
    ),
]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("operation", "formulation", "inputs", "outcome"), NAIVE)
def test_naive_forms_end_where_theory_says(
    operation: str, formulation: str, inputs: Any, outcome: str | None, dtype: str
) -> None:
    judged = Judged(operation, dtype, **inputs(*limits(dtype)))
    for backend in BACKENDS:
        row = judged.row(formulation, backend)
        if outcome is not None:
            assert row["outcome"] == outcome
        else:
            assert row["outcome"] != "ok" or row["bound_ratio"] > 1
        for stable in STABLE[operation]:
            assert judged.row(stable, backend)["outcome"] == "ok"


# ---- special values and wrong inputs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "formulation", "inputs", "wanted"),
    [
        ("one_minus_cos", "half_angle", {"x": [0, -0.0, INF, NAN]}, [0, 0, NAN, NAN]),
        ("sqrt_difference", "conjugate", {"x": [0, INF, -INF, -0.5, NAN]}, [1, 0, NAN, NAN, NAN]),
        ("log1mexp", "split", {"x": [0, -INF, 1, INF, NAN]}, [-INF, 0, NAN, NAN, NAN]),
        ("hypot", "scaled", {"x": [0, INF, -INF, NAN, 3], "y": [0, NAN, 1, 0, -4]}, [0, INF, INF, NAN, 5]),
        ("hypot", "library", {"x": [0, INF, -INF, NAN, 3], "y": [0, NAN, 1, 0, -4]}, [0, INF, INF, NAN, 5]),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_special_values(operation: str, formulation: str, inputs: Any, wanted: Any, backend: str) -> None:
    judged = Judged(operation, "float32", **inputs)
    np.testing.assert_array_equal(judged.exact(), wanted)
    assert judged.row(formulation, backend)["outcome"] == "ok"


def test_one_choice_between_branches_differentiates_the_other_too() -> None:
    x = many(-(2.0**-30), -(2.0**-26))
    judged = Judged("log1mexp", "float32", wrt=("x",), x=x, cotangent=np.full(N, 0.01))
    for backend in BACKENDS:
        assert judged.row("split_once", backend)["outcome"] == "not_a_number"
        assert judged.row("split", backend)["outcome"] == "ok"


@pytest.mark.parametrize(
    ("operation", "inputs", "message"),
    [
        ("hypot", {"x": [1.0, 2.0], "y": [1.0]}, "shapes"),
        ("quadratic_root", {"a": [1.0], "b": [1.0, 2.0], "c": [1.0]}, "shapes differ"),
        ("quadratic_root", {"a": [0.0], "b": [1.0], "c": [1.0]}, "a has an entry of 0"),
        ("quadratic_root", {"a": [1.0], "b": [0.0], "c": [1.0]}, "b has an entry of 0"),
    ],
)
def test_wrong_inputs_are_told(operation: str, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Judged(operation, "float64", **inputs)


@pytest.mark.parametrize(
    ("name", "inputs", "condition"),
    [
        ("exp", {"x": [1.0, -3.0]}, 3.0),  # |x|
        ("cbrt", {"x": [5.0]}, 1 / 3),
        ("log1p", {"x": [0.5]}, 0.5 / (1.5 * math.log(1.5))),
        ("log1mexp", {"x": [-2.0]}, 2 / ((math.exp(2) - 1) * -math.log(1 - math.exp(-2)))),
        ("hypot", {"x": [3.0], "y": [4.0]}, 1.0),  # (x² + y²)/(x² + y²)
    ],
)
def test_a_condition_number_is_what_relative_changes_of_the_inputs_grow_by(
    name: str, inputs: dict[str, list[float]], condition: float
) -> None:
    """Σ|x_i ∂y/∂x_i|/|y|, the largest of all elements."""
    found = Judged(name, "float64", **inputs).reference.quantities["condition"]
    assert found == pytest.approx(condition, rel=1e-12)  # of a float64 gradient
