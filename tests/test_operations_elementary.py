"""Elementary functions: references against mpmath, limits, special values, gradients, and what is planted."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from harness import catalogue
from harness.formats import DTYPES, FORMATS, Precision, decode, encode, round_array
from harness.metrics.score import score
from harness.operations.elementary import FUNCTIONS
from harness.operations.elementary_family import FAR, LIMIT, limit_ulp
from harness.reference.elements import FINITE, Reference
from harness.registry import BACKENDS, COTANGENT, OPERATIONS, ExactProblem, find_formulation
from harness.tape import differentiated

catalogue.load()

BY_NAME = {f.name: f for f in FUNCTIONS}
NAMES = tuple(BY_NAME)
WIDE, NARROW = ("float64", "float32"), ("bfloat16", "float16")
INF, NAN = math.inf, math.nan
mpf = mpmath.mpf

EXACT: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "exp": (mpmath.exp, mpmath.exp),
    "expm1": (mpmath.expm1, mpmath.exp),
    "exp2": (lambda x: mpf(2) ** x, lambda x: mpf(2) ** x * mpmath.log(2)),
    "log": (mpmath.log, lambda x: 1 / x),
    "log1p": (mpmath.log1p, lambda x: 1 / (1 + x)),
    "log2": (lambda x: mpmath.log(x) / mpmath.log(2), lambda x: 1 / (x * mpmath.log(2))),
    "log10": (lambda x: mpmath.log(x) / mpmath.log(10), lambda x: 1 / (x * mpmath.log(10))),
    "sqrt": (mpmath.sqrt, lambda x: 1 / (2 * mpmath.sqrt(x))),
    "cbrt": (
        lambda x: mpmath.sign(x) * mpmath.root(abs(x), 3),
        lambda x: 1 / (3 * mpmath.root(abs(x), 3) ** 2),
    ),
    "sin": (mpmath.sin, mpmath.cos),
    "cos": (mpmath.cos, lambda x: -mpmath.sin(x)),
    "tan": (mpmath.tan, lambda x: mpmath.sec(x) ** 2),
    "asin": (mpmath.asin, lambda x: 1 / mpmath.sqrt(1 - x * x)),
    "acos": (mpmath.acos, lambda x: -1 / mpmath.sqrt(1 - x * x)),
    "atan": (mpmath.atan, lambda x: 1 / (1 + x * x)),
    "sinh": (mpmath.sinh, mpmath.cosh),
    "cosh": (mpmath.cosh, mpmath.sinh),
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
    "erf": (mpmath.erf, lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x)),
    "erfc": (mpmath.erfc, lambda x: -2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x)),
    "sigmoid": (
        lambda x: 1 / (1 + mpmath.exp(-x)),
        lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2,
    ),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
}
"""Function and derivative by mpmath, from the formulas of a textbook."""
POSITIVE = ("log", "log2", "log10", "sqrt")
BOUNDED = ("asin", "acos")
OF_ALL_SIZES = ("log1p", "cbrt", "sin", "cos", "tan", "atan")
KEEPS_DIGITS = tuple(n for n in NAMES if n not in ("expm1", "tanh", "sigmoid", "softplus", "cbrt"))
"""Whose derivative nobody computes from a rounded value that cancels, and each library differentiates."""


def arguments(name: str, count: int = 60, dtype: str = "float64") -> np.ndarray[Any, np.dtype[np.float64]]:
    """Arguments inside the domain, from tiny to large, on the grid of a format, each sign that there is."""
    fmt = DTYPES[dtype].storage
    random = np.random.default_rng(7)
    top = 1.0 if name in BOUNDED else 600.0
    if name in (*POSITIVE, *OF_ALL_SIZES):
        top = float(fmt.max_finite) / 4
    least = max(float(fmt.min_normal), 1e-30)
    size = np.exp(random.uniform(math.log(least), math.log(top), count))
    sign = np.ones(count) if name in (*POSITIVE, "log1p") else random.choice([-1.0, 1.0], count)
    return round_array(fmt, size * sign)


def reference_of(name: str, x: Any, dtype: str = "float64", cotangent: Any = None) -> Reference:
    problem, operation = posed(name, x, dtype, cotangent)
    return operation.reference(problem)


def posed(name: str, x: Any, dtype: str, cotangent: Any = None) -> tuple[ExactProblem, Any]:
    inputs = {"x": np.asarray(x, np.float64)}
    if cotangent is None:
        return ExactProblem(name, inputs, {}, DTYPES[dtype]), OPERATIONS[name]
    inputs[COTANGENT] = np.asarray(cotangent, np.float64)
    wanted = ("x",)
    return ExactProblem(name, inputs, {}, DTYPES[dtype], wanted), OPERATIONS[name].differentiated(wanted)


def rational(y: Any, i: int) -> mpmath.mpf:
    """Return hi + lo of an element as mpmath's number."""
    return (mpf(float(y.hi[i])) + mpf(float(y.lo[i]))) * mpf(2) ** int(y.exponent[i])


def run(name: str, form: str, x: Any, dtype: str, backend: str = "numpy", cotangent: Any = None) -> Any:
    """Return what a formulation gives, or its gradient, as float64."""
    b, row, found = BACKENDS[backend], DTYPES[dtype], find_formulation(name, form, backend)
    assert found is not None
    fmt, xp = row.storage, b.namespace(row, checked=True)
    native = b.from_bits(encode(fmt, np.asarray(x, np.float64)), fmt)
    with np.errstate(all="ignore"):
        if cotangent is None:
            result = found.build(xp, native)()
        else:
            g = b.from_bits(encode(fmt, np.asarray(cotangent, np.float64)), fmt)
            how = b.differentiated if b.autograd else None
            args = [native], [0], g
            thunk = (
                how(lambda v: found.build(xp, v), *args) if how else differentiated(found.build, xp, *args)
            )
            result = thunk()[0]
    bits, written = b.to_bits(result)
    assert written == fmt.name
    return decode(FORMATS[written], bits)


def judged(name: str, x: Any, computed: Any, dtype: str, cotangent: Any = None) -> dict[str, Any]:
    problem, operation = posed(name, x, dtype, cotangent)
    (output,) = operation.outputs
    precision = Precision.of(DTYPES[dtype], dtype)
    outputs = {output: np.asarray(computed, np.float64)}
    return score(operation, problem, operation.reference(problem), outputs, precision)[output]


def passes(row: dict[str, Any]) -> bool:
    return row["outcome"] == "ok" and row["bound_ratio"] <= 1


# ---- references -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_references_are_mpmaths(name: str) -> None:
    """To 2⁻¹⁰⁰ of the value: hi + lo has 106 bits. mpmath has 4000, for arguments of 2⁹⁰⁰ lose 900."""
    x = arguments(name)
    g = np.linspace(1, 2, x.size)
    values, slopes = reference_of(name, x).outputs["y"], reference_of(name, x, cotangent=g).outputs["grad_x"]
    with mpmath.workprec(4000):
        for i, v in enumerate(x.tolist()):
            for found, exact in zip((values, slopes), EXACT[name], strict=True):
                wanted = exact(mpf(v)) * (mpf(float(g[i])) if found is slopes else 1)
                if abs(wanted) > mpf(2) ** -1090:  # below, half of the smallest number is all that counts
                    assert found.kind[i] == FINITE, (name, v)
                    assert abs(rational(found, i) / wanted - 1) < mpf(2) ** -60, (name, v)


def test_the_worst_arguments_of_the_circular_functions_are_certified() -> None:
    """6381956970095103·2⁷⁹⁷ lies 4.7e-19 from an odd multiple of π/2: mpmath with 3000 bits agrees."""
    x = math.ldexp(6381956970095103, 797)
    with mpmath.workprec(3000):
        for name in ("sin", "cos", "tan"):
            y = reference_of(name, [x]).outputs["y"]
            assert abs(rational(y, 0) / EXACT[name][0](mpf(x)) - 1) < mpf(2) ** -60
    assert abs(reference_of("cos", [x]).outputs["y"].to_float64()[0]) < 5e-19


def test_results_of_arguments_far_beyond_every_format_are_known() -> None:
    """exp(1e308) has an exponent of 308 digits; what it rounds to is known all the same, and its gradient."""
    far = [1e308, -1e308, float(FAR) + 1, -float(FAR) - 1]
    expected = {
        "exp": [INF, 0, INF, 0], "expm1": [INF, -1, INF, -1], "exp2": [INF, 0, INF, 0],
        "sinh": [INF, -INF, INF, -INF], "cosh": [INF, INF, INF, INF], "tanh": [1, -1, 1, -1],
        "erf": [1, -1, 1, -1], "erfc": [0, 2, 0, 2], "sigmoid": [1, 0, 1, 0],
        "softplus": [1e308, 0, FAR + 1, 0],
    }  # fmt: skip
    slopes = {
        "exp": [INF, 0] * 2, "exp2": [INF, 0] * 2, "expm1": [INF, 0] * 2, "sinh": [INF] * 4,
        "cosh": [INF, -INF] * 2, "tanh": [0] * 4, "erf": [0] * 4, "erfc": [0] * 4, "sigmoid": [0] * 4,
        "softplus": [1, 0] * 2,
    }  # fmt: skip
    fmt = FORMATS["float64"]
    for name, values in expected.items():
        assert reference_of(name, far).outputs["y"].round_to(fmt).tolist() == values, name
        found = reference_of(name, far, cotangent=np.ones(4)).outputs["grad_x"]
        assert found.round_to(fmt).tolist() == slopes[name], name


# ---- special values ---------------------------------------------------------------------------------

AT_INFINITY = {
    "exp": (0, INF), "expm1": (-1, INF), "exp2": (0, INF), "log": (NAN, INF), "log1p": (NAN, INF),
    "log2": (NAN, INF), "log10": (NAN, INF), "sqrt": (NAN, INF), "cbrt": (-INF, INF), "sin": (NAN, NAN),
    "cos": (NAN, NAN), "tan": (NAN, NAN), "asin": (NAN, NAN), "acos": (NAN, NAN),
    "atan": (-math.pi / 2, math.pi / 2), "sinh": (-INF, INF), "cosh": (INF, INF), "tanh": (-1, 1),
    "erf": (-1, 1), "erfc": (2, 0), "sigmoid": (0, 1), "softplus": (0, INF),
}  # fmt: skip
"""IEEE 754-2019, 9.2.1, and the limits of the others."""
AT_ZERO = {
    "exp": 1, "exp2": 1, "log": -INF, "log2": -INF, "log10": -INF, "cos": 1, "acos": math.pi / 2, "cosh": 1,
    "erfc": 1, "sigmoid": 0.5, "softplus": math.log(2),
}  # fmt: skip
"""The others keep a zero as it is, its sign included."""


@pytest.mark.parametrize("name", NAMES)
def test_special_values_are_those_of_the_standard(name: str) -> None:
    y = reference_of(name, [-INF, INF, NAN, 0.0, -0.0]).outputs["y"].to_float64()
    assert y[:3].tolist() == pytest.approx([*AT_INFINITY[name], NAN], abs=0, nan_ok=True)
    if name in AT_ZERO:
        assert y[3:].tolist() == [AT_ZERO[name]] * 2
    else:
        assert y[3:].tolist() == [0, 0]
        assert np.signbit(y[3:]).tolist() == [False, True]


def test_zeros_at_other_arguments_are_positive() -> None:
    for name, x in (("log", 1), ("log2", 1), ("log10", 1), ("acos", 1), ("exp", -INF), ("erfc", INF)):
        y = reference_of(name, [x]).outputs["y"].to_float64()
        assert y.tolist() == [0], name
        assert not np.signbit(y[0]), name
    for name, x in (("log1p", -1), ("log", 0)):
        assert reference_of(name, [x]).outputs["y"].to_float64().tolist() == [-INF]
    outside = {
        "log": -1.0,
        "sqrt": -1.0,
        "log1p": -1.5,
        "asin": 1.5,
        "acos": -1.5,
        "log2": -1.0,
        "log10": -1.0,
    }
    for name, x in outside.items():
        assert np.isnan(reference_of(name, [x]).outputs["y"].to_float64()).all(), name


def test_a_zero_of_the_other_sign_is_wrong() -> None:
    assert judged("sin", [-0.0], [-0.0], "float64")["outcome"] == "ok"
    assert judged("sin", [-0.0], [0.0], "float64")["outcome"] == "wrong_class"
    assert judged("cos", [-0.0], [-0.0], "float64", cotangent=[1.0])["outcome"] == "ok"


# ---- limits -----------------------------------------------------------------------------------------


def test_the_limit_of_16_bits_is_what_a_float32_result_gives() -> None:
    """4 ulp of float32 are 4·2⁻¹³ ulp of float16 and 4·2⁻¹⁶ of bfloat16; rounding adds half of one."""
    assert [limit_ulp(FORMATS[n], LIMIT) for n in WIDE] == [4, 4]
    assert limit_ulp(FORMATS["float16"], 4) == 0.5 + 2.0**-11
    assert limit_ulp(FORMATS["bfloat16"], 4) == 0.5 + 2.0**-14


def test_what_underflows_may_be_off_by_the_smallest_number_too() -> None:
    """e^−16.640625 is just below ω = 2⁻²⁴ of float16, whose last place is ω: (½ + 2⁻¹¹)·ω + ω."""
    problem, operation = posed("exp", [-16.640625], "float16")
    assert operation.bound is not None
    found = operation.bound(
        problem, operation.reference(problem), Precision.of(DTYPES["float16"], "float32")
    )["y"]
    assert found == pytest.approx(math.log2(1.5 + 2.0**-11) - 24, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", WIDE)
def test_what_is_off_by_more_than_the_limit_is_caught(name: str, dtype: str) -> None:
    fmt = FORMATS[dtype]
    x = arguments(name, 40, dtype)
    x = x[np.abs(x) < 80] if name not in OF_ALL_SIZES else x
    exact = reference_of(name, x, dtype).outputs["y"]
    y, ulp = exact.round_to(fmt), np.exp2(exact.ulp_exponent(fmt).astype(float))
    limit = BY_NAME[name].limit
    assert passes(judged(name, x, y, dtype))
    mantissa = np.abs(np.frexp(y)[0])  # not beside a power of two, where units change; not beside ω
    inside = (mantissa > 0.55) & (mantissa < 0.95) & (np.abs(y) > 100 * float(fmt.min_normal))
    last = np.flatnonzero(inside)[-1]
    for units, ok in ((math.floor(limit) - 1, True), (math.ceil(limit) + 1, False)):
        wrong = y.copy()
        wrong[last] += max(units, 0) * ulp[last]
        assert passes(judged(name, x, wrong, dtype)) == ok, units
    assert not passes(judged(name, x, np.zeros(x.size), dtype))
    assert not passes(judged(name, x, np.roll(y, 1), dtype))
    factored = round_array(fmt, y * (1 + 8 * float(fmt.unit_roundoff)))
    assert not passes(judged(name, x, factored, dtype))  # 4 to 8 units, by where y lies in its binade


def test_a_result_of_zero_must_be_exact() -> None:
    assert passes(judged("log", [1.0], [0.0], "float64"))
    assert not passes(judged("log", [1.0], [5e-324], "float64"))
    assert not passes(judged("acos", [1.0], [2.0**-53], "float64"))


def test_half_a_unit_is_all_that_the_square_root_has() -> None:
    """√2 lies 0.43 units above its lower neighbour: that one passes, the upper one does not."""
    x = [2.0]
    below = math.sqrt(2)
    assert Fraction(below) ** 2 > 2  # the nearest one is above here; its neighbour below is farther
    assert passes(judged("sqrt", x, [below], "float64"))
    assert not passes(judged("sqrt", x, [math.nextafter(below, 0)], "float64"))


@pytest.mark.parametrize("dtype", [*WIDE, *NARROW])
def test_a_stable_form_is_within_the_limit_near_over_and_underflow(dtype: str) -> None:
    """Numbers around 0, ln Ω and ln ω, where e^x or e^−x leaves the format; and over cbrt's whole range."""
    fmt = FORMATS[dtype]
    top, bottom = (math.log(float(x)) for x in (fmt.max_finite, fmt.min_subnormal))
    around = np.concatenate([np.linspace(0.97 * e, 1.03 * e, 41) for e in (top, bottom, -top, -bottom)])
    x = round_array(fmt, np.concatenate([around, np.linspace(-40, 40, 161)]))
    sizes = np.geomspace(float(fmt.min_subnormal), float(fmt.max_finite) / 2, 200)
    for backend in ("numpy", "torch-cpu"):
        for name, form, taken in (
            ("sigmoid", "split", x),
            ("softplus", "split", x),
            ("cbrt", "newton", sizes),
        ):
            taken = round_array(fmt, taken)
            row = judged(name, taken, run(name, form, taken, dtype, backend), dtype)
            assert passes(row), (name, backend, row)


# ---- where definitions break ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*WIDE, *NARROW])
@pytest.mark.parametrize("backend", ["numpy", "torch-cpu"])
def test_definitions_break_where_theory_says(dtype: str, backend: str) -> None:
    fmt = FORMATS[dtype]
    u, top = float(fmt.unit_roundoff), math.log(float(fmt.max_finite))
    step = {"float64": 2e-13, "float32": 2e-5, "bfloat16": 0.5, "float16": 0.02}[dtype]

    def outcome(name: str, x: float) -> str:
        taken = round_array(fmt, np.full(3, x))
        row = judged(name, taken, run(name, "definition", taken, dtype, backend), dtype)
        return "ok" if passes(row) else row["outcome"] if row["outcome"] != "ok" else "inaccurate"

    assert outcome("sigmoid", top + step) == "not_a_number"
    assert outcome("sigmoid", top - step) in ("ok", "inaccurate")
    assert outcome("softplus", top + step) == "overflow"
    assert outcome("softplus", top - step) in ("ok", "inaccurate")
    assert outcome("tanh", top + step) == "not_a_number"
    assert outcome("cosh", top + step) == outcome("sinh", top + step) == "overflow"
    assert outcome("log1p", 0.9 * u) == "zeroed"  # a sum is correctly rounded; an exponential need not be
    assert outcome("log1p", 1.3 * u) == "inaccurate"  # 2u for 1.3u
    for name in ("expm1", "sinh", "tanh"):
        assert outcome(name, 0.2 * u) in ("zeroed", "inaccurate")
    assert outcome("erfc", 7.0 if dtype != "float16" else 3.0) in ("zeroed", "underflow")


def test_a_definition_under_the_librarys_name_is_caught() -> None:
    small = [1e-9, 3e-5, 0.25]
    for name, values in {
        "expm1": small, "log1p": small, "sinh": small, "tanh": small, "erfc": [0.25, 5.0],
        "acos": [1 - 1e-8, 0.5], "cbrt": [1e200, 3e-250, 7e99], "exp2": [700.3, 1000.7, -1000.1],
    }.items():  # fmt: skip
        wrong = run(name, "definition", values, "float64")
        assert not passes(judged(name, values, wrong, "float64")), name


# ---- gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEEPS_DIGITS)
@pytest.mark.parametrize("dtype", [*WIDE, *NARROW])
@pytest.mark.parametrize("backend", ["numpy", "torch-cpu"])
def test_gradients_are_within_their_bound(name: str, dtype: str, backend: str) -> None:
    """Sizes whose squares, and whose products with ln 10, stay in the format; e^x and e^−x too."""
    fmt = FORMATS[dtype]
    root = math.sqrt(float(fmt.max_finite))
    x = arguments(name, 80, dtype)
    largest = 0.5 if name in BOUNDED else root / 4 if name in (*POSITIVE, *OF_ALL_SIZES) else 10
    x = x[np.abs(x) < largest]
    assert x.size > 10
    g = round_array(fmt, np.linspace(1, 2, x.size))
    row = judged(name, x, run(name, "library", x, dtype, backend, g), dtype, g)
    assert passes(row), row


@pytest.mark.parametrize("name", NAMES)
def test_wrong_gradients_are_caught(name: str) -> None:
    """Zeros, the neighbour's, and one of the wrong sign; 1 + 8u where roundings come to less."""
    x = arguments(name, 30)
    x = x[np.abs(x) < (0.9 if name in BOUNDED else 10)]
    g = np.linspace(1, 2, x.size)
    y = reference_of(name, x, cotangent=g).outputs["grad_x"].to_float64()
    assert passes(judged(name, x, y, "float64", g))
    other = np.flatnonzero(y != np.roll(y, 1))
    assert other.size
    for wrong in (np.zeros(x.size), -y, np.roll(y, 1), y * (1 + 200 * 2.0**-53)):
        assert not passes(judged(name, x, wrong, "float64", g))


def test_derivatives_by_the_rounded_value_lose_their_digits() -> None:
    """1 − tanh², 1 + expm1 and y(1 − y): 0 where the value rounds to ±1, and the derivative is not 0."""
    x, g = np.array([20.0, 25.0, 40.0]), np.ones(3)
    for name, values in (("tanh", x), ("expm1", -x), ("sigmoid", x)):
        backend = "torch-cpu"
        row = judged(name, values, run(name, "library", values, "float64", backend, g), "float64", g)
        assert row["outcome"] == "zeroed", name
    for name, form in (("expm1", "definition"), ("sigmoid", "split")):
        values = -x if name == "expm1" else x
        for backend in ("numpy", "torch-cpu"):
            row = judged(name, values, run(name, form, values, "float64", backend, g), "float64", g)
            assert passes(row), name


def test_the_logistic_function_by_its_sign_has_a_derivative_at_zero() -> None:
    """1/4; with e^−|x| it would be 0, as the derivative of |x| is there."""
    for backend in ("numpy", "torch-cpu"):
        assert run("sigmoid", "split", [0.0], "float64", backend, [1.0]).tolist() == [0.25]
        assert run("softplus", "split", [0.0], "float64", backend, [1.0]).tolist() == [0.5]
