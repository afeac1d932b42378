"""Uniform and normal distributions: references against mpmath, bounds, and where the naive forms end."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

from harness.errors import InputError
from harness.formats import DTYPES, Precision
from harness.operations import normal_family
from tests.judged import Judged

FORMATS = ("float64", "float32", "bfloat16", "float16")
BACKENDS = ("numpy", "torch-cpu")
INF, NAN = math.inf, math.nan
N = 48
ZEROS, ONES = np.zeros(N), np.ones(N)


def limits(dtype: str) -> tuple[float, float, float]:
    """Return u, ω and Ω."""
    fmt = DTYPES[dtype].storage
    return float(fmt.unit_roundoff), float(fmt.min_subnormal), float(fmt.max_finite)


def cdf(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def density(x: Any, mean: Any = 0, deviation: Any = 1) -> Any:
    z = (x - mean) / deviation
    return mpmath.exp(-z * z / 2) / (deviation * mpmath.sqrt(2 * mpmath.pi))


def test_constants_of_pi_and_two_are_right_to_fifty_digits() -> None:
    with mpmath.workdps(60):
        for given, exact in (
            (normal_family.SQRT_HALF, mpmath.sqrt(0.5)),
            (normal_family.TWO_PI, 2 * mpmath.pi),
            (normal_family.ROOT_TWO_PI, mpmath.sqrt(2 * mpmath.pi)),
            (normal_family.HALF_LOG_TWO_PI, mpmath.log(2 * mpmath.pi) / 2),
        ):
            assert abs(mpmath.mpf(str(given)) / exact - 1) < mpmath.mpf(10) ** -49


X = np.linspace(-30, 30, N)
SHARES = np.concatenate([np.exp(np.linspace(math.log(1e-300), -1, N // 2)), np.linspace(0.4, 0.9999, N // 2)])
MEANT: dict[str, tuple[Any, dict[str, np.ndarray]]] = {
    "uniform_pdf": (
        lambda x, low, high: mpmath.mpf(low <= x <= high) / (high - low),
        {"x": X / 10, "low": -ONES, "high": np.linspace(2, 3, N)},
    ),
    "uniform_cdf": (
        lambda x, low, high: min(max((x - low) / (high - low), mpmath.mpf(0)), mpmath.mpf(1)),
        {"x": X / 10, "low": -ONES, "high": np.linspace(2, 3, N)},
    ),
    "normal_pdf": (density, {"x": X / 3, "mean": np.linspace(-1, 1, N), "deviation": np.linspace(0.3, 2, N)}),
    "normal_cdf": (cdf, {"x": X}),
    "normal_tail": (lambda x: cdf(-x), {"x": X}),
    "normal_within": (lambda k: mpmath.erf(k / mpmath.sqrt(2)), {"k": np.abs(X) / 4}),
    "normal_log_cdf": (lambda x: mpmath.log1p(-cdf(-x)) if x > 0 else mpmath.log(cdf(x)), {"x": X}),
    "normal_quantile": (lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1), {"p": SHARES}),
}
STABLE = {
    "uniform_pdf": ("halved",),
    "uniform_cdf": ("halved", "direct"),
    "normal_pdf": ("standardised",),
    "normal_cdf": ("erfc",),
    "normal_tail": ("erfc", "library"),
    "normal_within": ("erf",),
    "normal_log_cdf": ("erfcx", "library"),
    "normal_quantile": ("library",),
}
SLOPES: dict[str, tuple[str, Any]] = {
    "normal_cdf": ("x", density),
    "normal_tail": ("x", lambda x: -density(x)),
    "normal_within": ("k", lambda k: 2 * density(k)),
    "normal_log_cdf": ("x", lambda x: density(x) / cdf(x)),
    "normal_quantile": ("p", lambda p: 1 / density(mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1))),
}


@pytest.mark.parametrize("operation", MEANT)
def test_references_are_those_of_mpmath(operation: str) -> None:
    """At 3000 bits: 2p − 1 of p = 10⁻³⁰⁰ needs a thousand, P(X ≤ −30) 650."""
    exact, inputs = MEANT[operation]
    judged = Judged(operation, "float64", **inputs)
    with mpmath.workprec(3000 if operation == "normal_quantile" else 1000):
        wanted = [float(exact(*map(mpmath.mpf, row))) for row in zip(*inputs.values(), strict=True)]
    np.testing.assert_array_equal(judged.exact(), wanted)


@pytest.mark.parametrize("operation", SLOPES)
def test_gradients_are_densities(operation: str) -> None:
    name, slope = SLOPES[operation]
    inputs = MEANT[operation][1]
    g = np.linspace(1, 2, N)
    judged = Judged(operation, "float64", wrt=(name,), **inputs, cotangent=g)
    with mpmath.workprec(3000 if operation == "normal_quantile" else 1000):
        wanted = [float(mpmath.mpf(c) * slope(mpmath.mpf(x))) for c, x in zip(g, inputs[name], strict=True)]
    np.testing.assert_array_equal(judged.exact(), wanted)


def test_gradients_of_densities_and_ends() -> None:
    rows = {"x": [0.5, 3.5, 2.25], "low": [0.0, 0.0, 0.25], "high": [2.0, 2.0, 4.25]}
    wrt = ("x", "low", "high")
    judged = Judged("uniform_cdf", "float64", wrt=wrt, **rows, cotangent=[1.0, 1.0, 3.0])
    assert judged.exact("grad_x").tolist() == [0.5, 0, 0.75]
    assert judged.exact("grad_low").tolist() == [-0.375, 0, -0.375]
    assert judged.exact("grad_high").tolist() == [-0.125, 0, -0.375]
    judged = Judged("uniform_pdf", "float64", wrt=("low", "high"), **rows, cotangent=[1.0, 1.0, 3.0])
    assert judged.exact("grad_low").tolist() == [0.25, 0, 3 / 16]
    assert judged.exact("grad_high").tolist() == [-0.25, 0, -3 / 16]
    inputs = MEANT["normal_pdf"][1]
    judged = Judged("normal_pdf", "float64", wrt=("x", "mean", "deviation"), **inputs, cotangent=ONES)
    for name, factor in (("x", lambda z: -z), ("mean", lambda z: z), ("deviation", lambda z: z * z - 1)):
        with mpmath.workprec(400):
            wanted = [
                float(density(x, m, s) * factor((mpmath.mpf(x) - m) / s) / s)
                for x, m, s in zip(*(map(mpmath.mpf, v) for v in inputs.values()), strict=True)
            ]
        np.testing.assert_array_equal(judged.exact(f"grad_{name}"), wanted)


def wide(operation: str, dtype: str) -> dict[str, np.ndarray]:
    """Return inputs as far as results are normal numbers of a format, or some times ω."""
    u, least, most = limits(dtype)
    far = math.sqrt(-2 * math.log(least)) - 1.5  # P(X > far) is some 10 to 10⁴ ω; SciPy flushes below
    if operation.startswith("uniform"):
        return {"x": np.linspace(-0.9, 0.9, N) * most, "low": -0.75 * most * ONES, "high": 0.75 * most * ONES}
    if operation == "normal_pdf":
        sigma = np.exp(np.linspace(math.log(8 / most), math.log(most / 8), N))
        return {"x": sigma * np.linspace(-2, 2, N), "mean": ZEROS, "deviation": sigma}
    if operation == "normal_quantile":
        return {
            "p": np.concatenate([np.exp(np.linspace(math.log(least), -1, N // 2)), 1 - u * np.arange(N // 2)])
        }
    if operation == "normal_within":
        return {"k": np.exp(np.linspace(math.log(u), math.log(9), N))}
    if operation == "normal_log_cdf":
        return {"x": np.linspace(-100, min(far, 30), N)}
    return {"x": np.linspace(-far, far, N)}


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("operation", MEANT)
def test_stable_forms_are_within_their_bounds(operation: str, dtype: str) -> None:
    judged = Judged(operation, dtype, **wide(operation, dtype))
    assert judged.reference.undecided == 0
    for formulation in STABLE[operation]:
        if (operation, formulation) == ("uniform_cdf", "direct"):
            continue  # that of ordinary widths
        for backend in BACKENDS:
            if judged.runs(formulation, backend):
                row = judged.row(formulation, backend)
                assert row["outcome"] == "ok", (formulation, backend)
                assert row["bound_ratio"] <= 1, (formulation, backend)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("operation", MEANT)
def test_values_and_gradients_of_random_inputs_are_within_their_bounds(operation: str, dtype: str) -> None:
    generator = np.random.default_rng(11)
    normal = generator.normal(size=N)
    inputs: dict[str, np.ndarray] = {
        "uniform_pdf": {"x": normal, "low": -ONES, "high": generator.uniform(0, 2, N)},
        "uniform_cdf": {"x": normal, "low": -ONES, "high": generator.uniform(0, 2, N)},
        "normal_pdf": {"x": 2 * normal, "mean": ZEROS + 0.3, "deviation": generator.uniform(0.5, 3, N)},
        "normal_within": {"k": np.abs(normal) + 0.01},
        "normal_quantile": {"p": generator.uniform(0.01, 0.99, N)},
    }.get(operation, {"x": 2 * normal})
    plain = Judged(operation, dtype, **inputs)
    wrt = plain.plain.gradient.with_respect_to
    back = Judged(operation, dtype, wrt=wrt, **inputs, cotangent=generator.uniform(0.5, 2, N))
    for judged in (plain, back):
        for formulation in STABLE[operation]:
            for backend in BACKENDS:
                if (backend, formulation) == ("torch-cpu", "library") and operation == "normal_log_cdf":
                    continue  # of torch's own gradient the case normal-log-cdf-gradient tells
                for output in judged.operation.outputs:
                    if judged.runs(formulation, backend):
                        row = judged.row(formulation, backend, output)
                        assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True), (
                            formulation,
                            backend,
                        )


# ---- wrong answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("operation", MEANT)
def test_wrong_answers_are_outside(operation: str, dtype: str) -> None:
    u = limits(dtype)[0]
    x = np.linspace(-2, 2, N)
    inputs: dict[str, np.ndarray] = {
        "uniform_pdf": {"x": x, "low": -ONES, "high": np.linspace(1, 3, N)},
        "uniform_cdf": {"x": x, "low": -ONES, "high": np.linspace(1, 3, N)},
        "normal_pdf": {"x": x, "mean": ZEROS, "deviation": ONES},
        "normal_within": {"k": np.linspace(0.1, 3, N)},
        "normal_quantile": {"p": np.linspace(0.01, 0.99, N)},
    }.get(operation, {"x": x})
    judged = Judged(operation, dtype, **inputs)
    right = judged.exact()
    assert judged.passes(right)
    assert not judged.passes(np.zeros(N))
    assert not judged.passes(np.roll(right, 1))
    # 4 ulp of up to 2u each of a special function, 8 of erfcx, and x² for the rounding of an argument.
    factor = 8 if operation.startswith("uniform") else 64
    assert not judged.passes(right * (1 + factor * u))


def test_the_other_tail_and_the_other_function_are_outside() -> None:
    judged = Judged("normal_cdf", "float64", x=X)
    assert not judged.passes(1 - judged.exact())
    assert not judged.passes(Judged("normal_tail", "float64", x=X).exact())
    judged = Judged("normal_quantile", "float64", p=SHARES)
    assert not judged.passes(-judged.exact())


# ---- where naive forms end --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("dtype", "by_erf", "complement"),
    [
        ("float64", -8.37, 8.29),
        ("float32", -5.54, 5.42),
        ("float16", -3.67, 3.49),
        ("bfloat16", -3.10, 2.89),
    ],
)
def test_the_sum_with_one_ends_where_the_tail_is_a_rounding_error(
    dtype: str, by_erf: float, complement: float, backend: str
) -> None:
    """Zero from where 2·P(X ≤ x), and P(X > x), is u/2, to two places; bfloat16 numbers are 1/64 apart."""
    grid = np.linspace(2.5, 9, 1301)
    for operation, formulation, sign, frontier in (
        ("normal_cdf", "erf", -1, by_erf),
        ("normal_tail", "complement", 1, complement),
    ):
        judged = Judged(operation, dtype, x=sign * grid)
        (found,) = judged.outputs(formulation, backend).values()
        first = np.abs(judged.inputs["x"])[found == 0].min()
        assert first == pytest.approx(abs(frontier), abs=0.025)  # the grid's 0.005, 1/64, and half a place


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", FORMATS)
def test_naive_forms_end_where_theory_says(dtype: str, backend: str) -> None:
    u, least, most = limits(dtype)
    tail = math.sqrt(-2 * math.log(least)) + 1
    z = np.linspace(-2, 2, N)
    for operation, formulation, outcome, inputs in (
        ("normal_log_cdf", "naive", ("overflow",), {"x": np.linspace(-2 * tail, -tail, N)}),
        ("normal_quantile", "erfinv", ("overflow",), {"p": np.linspace(0.01, 0.24, N) * u}),
        ("normal_within", "difference", ("zeroed", "underflow"), {"k": np.linspace(0.1, 0.24, N) * u}),
        ("uniform_pdf", "direct", ("underflow",), wide("uniform_pdf", dtype)),
        ("uniform_cdf", "direct", ("not_a_number",), wide("uniform_cdf", dtype)),
        *(
            ("normal_pdf", "naive", ("not_a_number",), {"x": s * z, "mean": ZEROS, "deviation": s * ONES})
            for s in (2 * math.sqrt(most), 0.5 * math.sqrt(least))
        ),
    ):
        judged = Judged(operation, dtype, **inputs)
        assert judged.row(formulation, backend)["outcome"] in outcome, operation
        assert judged.row(STABLE[operation][0], backend)["outcome"] == "ok", operation


# ---- special values and wrong inputs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "inputs", "wanted"),
    [
        ("normal_cdf", {"x": [-INF, 0, INF, NAN]}, [0, 0.5, 1, NAN]),
        ("normal_tail", {"x": [-INF, 0, INF, NAN]}, [1, 0.5, 0, NAN]),
        ("normal_within", {"k": [0, INF, NAN]}, [0, 1, NAN]),
        ("normal_log_cdf", {"x": [-INF, INF, NAN]}, [-INF, 0, NAN]),
        ("normal_quantile", {"p": [0, 0.5, 1, -0.5, 2, INF, NAN]}, [-INF, 0, INF, NAN, NAN, NAN, NAN]),
        (
            "normal_pdf",
            {"x": [-INF, INF, NAN], "mean": [0, 0, 0], "deviation": [1, 1, 1]},
            [0, 0, NAN],
        ),
        (
            "uniform_pdf",
            {"x": [-INF, 0, 1, 2, INF, NAN], "low": [0] * 6, "high": [2] * 6},
            [0, 0.5, 0.5, 0.5, 0, NAN],
        ),
        (
            "uniform_cdf",
            {"x": [-INF, 0, 1, 2, INF, NAN], "low": [0] * 6, "high": [2] * 6},
            [0, 0, 0.5, 1, 1, NAN],
        ),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_special_values(operation: str, inputs: Any, wanted: Any, backend: str) -> None:
    judged = Judged(operation, "float32", **inputs)
    np.testing.assert_array_equal(judged.exact(), wanted)
    for formulation in STABLE[operation]:
        if judged.runs(formulation, backend):
            assert judged.row(formulation, backend)["outcome"] == "ok", formulation


@pytest.mark.parametrize(
    ("operation", "inputs", "message"),
    [
        ("uniform_cdf", {"x": [0.0], "low": [1.0], "high": [1.0]}, "low is not below high"),
        ("uniform_cdf", {"x": [0.0], "low": [-INF], "high": [1.0]}, "low is not below high"),
        ("uniform_pdf", {"x": [0.0], "low": [0.0, 0.0], "high": [1.0]}, "shapes differ"),
        ("normal_pdf", {"x": [0.0], "mean": [0.0], "deviation": [0.0]}, "not above 0"),
        ("normal_pdf", {"x": [0.0], "mean": [0.0], "deviation": [NAN]}, "not above 0"),
        ("normal_pdf", {"x": [0.0], "mean": [0.0, 1.0], "deviation": [1.0]}, "shapes differ"),
        ("normal_within", {"k": [1.0, -1.0]}, "below 0"),
    ],
)
def test_wrong_inputs_are_told(operation: str, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Judged(operation, "float64", **inputs)


@pytest.mark.parametrize(("name", "x"), [("normal_tail", 3.0), ("normal_cdf", -3.0)])
def test_the_slope_of_a_tail_is_an_exponential_and_allowed_what_that_costs(name: str, x: float) -> None:
    """exp(−t²), t² = 4.5: t is off by 2u, twice in its square, which is off by u; exp by 6u; 5u about it.

    By the product exp(−t²)·erfcx t, of whose derivative two terms cancel, it would be more.
    """
    found = Judged(name, "float64", wrt=("x",), x=[x], cotangent=[1.0])
    bound = found.operation.bound
    assert bound is not None
    allowed = bound(found.problem, found.reference, Precision.of(DTYPES["float64"], "float64"))["grad_x"]
    units = float(np.exp2(allowed[0])) * 2.0**53 / float(density(3))
    assert 3 * 4.5 + 6 <= units <= 5 * 4.5 + 6 + 5
