"""What every backend must do, for each dtype that it declares. A backend that is registered is tested here.

Expected values are of our own exact rounding (harness.formats), of rational arithmetic, or of float64
with an error that is negligible beside the tolerance; tolerances are derived beside them.

A backend that has variables of its own is tested in a process that has them; here it would be another one.
"""

import inspect
import math
import os
import subprocess
import sys
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from harness import catalogue
from harness.backends.namespace import GROUPS
from harness.errors import DtypeError, UserError
from harness.formats import DTYPES, FORMATS, decode, encode, round_array, round_exact
from harness.model import SKIP_WORDS
from harness.registry import (
    BACKENDS,
    FORMULATIONS,
    OPERATIONS,
    PRIMITIVE_GROUPS,
    Lack,
    find_formulation,
    formulations_of,
    own_variables,
    support,
)
from tests.accumulation import CANDIDATES, DEPARTURES

catalogue.load()

SUBJECT = os.environ.get("HARNESS_CONFORMANCE_OF")
"""The backend that this process was started for; unset: those that need no variables that it lacks."""


def is_at_home(name):
    """Return whether this process has the variables of a backend, thread counts apart."""
    return all(os.environ.get(v) == value for v, value in own_variables(BACKENDS[name]).items())


HERE = [SUBJECT] if SUBJECT else [name for name in BACKENDS if is_at_home(name)]
ELSEWHERE = [] if SUBJECT else [name for name in BACKENDS if not is_at_home(name)]
CELLS = [(backend, dtype) for backend in HERE for dtype in BACKENDS[backend].capabilities]


def computing(group):
    """Return the cells whose backend computes `group` in the dtype."""
    return [
        (b, d) for b, d in CELLS if not isinstance(BACKENDS[b].capabilities[d].get(group, Lack("", "")), Lack)
    ]


@pytest.fixture(scope="module", autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


@cache
def started(name):
    backend = BACKENDS[name]
    missing = backend.unavailable()
    if missing:
        pytest.skip(f"{name}: {missing}")
    return backend


_made: dict = {}
"""By backend, the settings that it has now."""


def started_for(name, dtype):
    """Return a backend that has the settings of a dtype: in a run each mode has a worker of its own."""
    backend = started(name)
    flags = backend.flags.get(dtype, {})
    if _made.get(name) != flags:
        backend.start(1, flags)
        _made[name] = flags
    return backend


class Bench:
    """One backend and dtype, with ways to go in and out of its arrays."""

    def __init__(self, backend, dtype):
        self.backend = started_for(backend, dtype)
        self.dtype = DTYPES[dtype]
        self.storage = self.dtype.storage
        self.u = float(self.storage.unit_roundoff)
        self.rounded_inputs = 2 * float(self.dtype.u_in) if self.dtype.u_in > self.u else 0.0
        """Relative error of a product whose factors are rounded to fewer bits than they are stored in."""

    def xp(self, *, checked=True):
        return self.backend.namespace(self.dtype, checked=checked)

    def array(self, values):
        """Return a native array of values that are rounded to the format first."""
        return self.backend.from_bits(encode(self.storage, self.rounded(values)), self.storage)

    def rounded(self, values):
        return round_array(self.storage, np.asarray(values, np.float64))

    def values(self, native):
        bits, name = self.backend.to_bits(native)
        return decode(FORMATS[name], bits)


@pytest.fixture
def bench(backend, dtype):
    return Bench(backend, dtype)


def every(cells):
    return pytest.mark.parametrize(("backend", "dtype"), cells, ids=[f"{b}-{d}" for b, d in cells])


def sample_codes(fmt):
    """Return all codes of a format of up to 16 bits; of wider ones the edges and random codes."""
    word = f"<u{fmt.storage_bits // 8}"
    if fmt.bits <= 16:
        return np.arange(1 << fmt.bits, dtype=np.uint64).astype(word)
    random = np.random.default_rng(0).integers(0, 1 << fmt.bits, 4096, dtype=np.uint64)
    hidden = 1 << fmt.mantissa_bits
    edges = [0, 1, hidden - 1, hidden, fmt.max_code, fmt.max_code + 1, fmt.max_code + 2, fmt.nan_code]
    signed = [fmt.sign_mask | e for e in edges]
    return np.concatenate([random, np.array(edges + signed, np.uint64)]).astype(word)


# ---- declarations


@pytest.mark.parametrize("backend", HERE)
def test_capabilities_declare_every_group_of_known_dtypes(backend):
    assert BACKENDS[backend].capabilities
    for dtype, groups in BACKENDS[backend].capabilities.items():
        assert dtype in DTYPES
        assert set(groups) == set(PRIMITIVE_GROUPS), f"{dtype}: each group is computed or lacking"
        for group, declared in groups.items():
            if isinstance(declared, Lack):
                assert declared.word in SKIP_WORDS
                assert len(declared.reason) > 10, f"{dtype} {group}: a lack has a reason in words"
            else:
                assert declared in FORMATS


@pytest.mark.parametrize("backend", HERE)
def test_environment_depends_on_threads_and_is_text(backend):
    one, two = (BACKENDS[backend].environment(n) for n in (1, 2))
    assert one.keys() == two.keys()
    assert one != two
    assert all(isinstance(v, str) for v in one.values())


@pytest.mark.parametrize("backend", HERE)
def test_facts_are_text_and_name_the_library(backend):
    facts = started_for(backend, None).facts()
    assert all(isinstance(k, str) and isinstance(v, str) and v for k, v in facts.items())
    assert set(BACKENDS[backend].requires) & set(facts), "the version of the library is among the facts"
    own = ", ".join(f"{name}={value}" for name, value in own_variables(BACKENDS[backend]).items())
    assert facts.get("variables") == (own or "none"), "see harness.registry.variables_as_set"


# ---- processes


@pytest.mark.parametrize("backend", ELSEWHERE)
def test_a_backend_with_variables_conforms_in_a_process_that_has_them(backend):
    missing = BACKENDS[backend].unavailable()
    if missing:
        pytest.skip(f"{backend}: {missing}")
    variables = {**BACKENDS[backend].environment(1), "HARNESS_CONFORMANCE_OF": backend}
    done = pytest_of_this_file(variables)
    assert done.returncode == 0, f"in its own process:\n{done.stdout[-20_000:]}{done.stderr[-2_000:]}"


def pytest_of_this_file(variables, *options):
    """Run these tests in a process that has more variables."""
    file = Path(__file__).resolve()
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(file)],
        cwd=file.parent.parent,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(SUBJECT is not None, reason="this process is of one backend")
def test_variables_are_set_and_wrong_declarations_fail():
    """Of the two planted backends one starts only where its variable is set, the other declares wrongly."""
    done = pytest_of_this_file(
        {"PYTEST_PLUGINS": "tests.planted.two_numpys"},
        "-k",
        "process_that_has_them and (configured or misdeclared)",
    )
    report = done.stdout
    assert "1 failed, 1 passed" in report, report + done.stderr
    assert "FAILED" in report
    for said in (
        "sum along a strided axis loses terms at 2^-22, which float32 keeps",
        "matrix times vector loses terms at 2^-39, which float64 keeps",
        "cholesky is correctly rounded in",
        "nothing loses terms at 2^-25, which float32 cannot keep",
    ):
        assert said in report


# ---- conversion


@every(CELLS)
def test_codes_go_in_and_out_unchanged(bench):
    codes = sample_codes(bench.storage)
    back, name = bench.backend.to_bits(bench.backend.from_bits(codes, bench.storage))
    assert name == bench.storage.name
    values = decode(bench.storage, codes)
    number = ~np.isnan(values)
    assert np.array_equal(back[number], codes[number]), "numbers, −0, infinities and subnormals bit for bit"
    assert np.isnan(decode(bench.storage, back)[~number]).all(), "every NaN stays one"


@every(CELLS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (2, 0, 3), (2, 3, 4)])
def test_shapes_stay(bench, shape):
    codes = np.resize(sample_codes(bench.storage)[1:60], shape)
    back, _ = bench.backend.to_bits(bench.backend.from_bits(codes, bench.storage))
    assert back.shape == shape
    assert np.array_equal(back, codes)


@every(CELLS)
def test_arrays_are_copies_at_64_bytes(bench):
    codes = sample_codes(bench.storage)[:50].copy()
    codes.flags.writeable = False
    native = bench.backend.from_bits(codes, bench.storage)
    address = native.data_ptr() if hasattr(native, "data_ptr") else native.ctypes.data
    assert address % 64 == 0
    assert address != codes.ctypes.data


@every(CELLS)
def test_views_that_are_not_contiguous_come_out_in_order(bench):
    codes = np.resize(sample_codes(bench.storage)[1:25], (4, 6))
    native = bench.backend.from_bits(codes, bench.storage)
    back, _ = bench.backend.to_bits(bench.xp().transpose(native))
    assert np.array_equal(back, codes.T)


@every(CELLS)
def test_the_library_reads_the_codes_as_we_do(bench):
    """The library's own cast to float64, which is exact, against our decoding."""
    if "float64" not in bench.backend.capabilities:
        pytest.skip("the backend has no float64 to widen to")
    codes = sample_codes(bench.storage)
    native = bench.backend.from_bits(codes, bench.storage)
    if bench.storage.name == "float64":
        widened = native
    else:
        widened = bench.xp().astype(native, "float64")
    found, expected = bench.values(widened), decode(bench.storage, codes)
    assert np.array_equal(found, expected, equal_nan=True)
    zero = expected == 0
    assert np.array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


@every(CELLS)
def test_what_is_no_array_of_a_format_is_refused(bench):
    for wrong in (1.5, [1.0], None, "text"):
        with pytest.raises(DtypeError):
            bench.backend.to_bits(wrong)


# ---- namespace


@every(CELLS)
def test_scalars_are_rounded_once_and_native(bench):
    p = bench.storage.precision
    just_above_a_tie = 1 + Fraction(1, 2**p) + Fraction(1, 2 ** (p + 60))
    expected = float(round_exact(bench.storage, just_above_a_tie))
    assert expected == 1 + 2.0 ** (1 - p), "rounded twice it would be 1"
    assert float(bench.values(bench.xp().scalar(just_above_a_tie))) == expected
    assert bench.values(bench.xp().scalar(1)).shape == ()


@every(CELLS)
def test_groups_are_there_or_lacking_with_the_declared_reason(bench):
    xp = bench.xp()
    for group, names in GROUPS.items():
        declared = bench.backend.capabilities[bench.dtype.name].get(group)
        for name in names:
            if isinstance(declared, Lack):
                with pytest.raises(AttributeError, match=r"has no") as caught:
                    getattr(xp, name)
                assert declared.reason in str(caught.value)
            else:
                assert callable(getattr(xp, name))


X = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.5]
Y = [1.0, -0.5, 2.0, 3.0, 0.75, 1.25, -2.5, 6.0]


def applied(xp, x, y):
    """Return every function of the namespace that computes on arrays, applied, by name."""
    some = {
        "unary": [
            "negative", "abs", "square", "sqrt", "exp", "expm1", "log", "log1p", "sign",
            "isfinite", "isinf", "isnan", "copy", "zeros_like", "floor",
            *GROUPS["functions"], *GROUPS["special"],
        ],
        "binary": ["add", "subtract", "multiply", "divide", "maximum", "minimum", "equal", "less", "greater"],
    }  # fmt: skip
    mask = xp.less(x, y)
    results = {name: getattr(xp, name)(x) for name in some["unary"]}
    results |= {name: getattr(xp, name)(x, y) for name in some["binary"]}
    results |= {name: getattr(xp, name)(mask, xp.isnan(x)) for name in ("logical_and", "logical_or")}
    results |= {"logical_not": xp.logical_not(mask), "any": xp.any(mask), "all": xp.all(mask, axis=0)}
    results |= {"where": xp.where(mask, x, y), "sum": xp.sum(x), "mean": xp.mean(x, axis=0, keepdims=True)}
    results |= {
        "max": xp.max(x),
        "min": xp.min(x, axis=0),
        "concat": xp.concat([x, y]),
        "stack": xp.stack([x, y]),
    }
    results |= {"reshape": xp.reshape(x, (2, 4)), "transpose": xp.transpose(xp.reshape(x, (2, 4)))}
    results |= {
        "take": xp.take(x, [3, 1]),
        "detach": xp.detach(x),
        "broadcast_to": xp.broadcast_to(x, (2, *x.shape)),
        "place": xp.place(x, 1, xp.stack([x, y])),
        "arrange": xp.arrange(xp.stack([x, y]), "F"),
        "zeros": xp.zeros((2, 3)),
        "full": xp.full((2,), xp.scalar(2)),
        "eye": xp.eye(3),
    }
    results |= {"astype": xp.astype(x, "float32")}
    return results


def bits_of(bench, native):
    try:
        return bench.backend.to_bits(native)[0]
    except DtypeError:
        return np.asarray(native.cpu() if hasattr(native, "cpu") else native)  # booleans


@every([c for c in computing("sum") if c in computing("elementwise")])
def test_checked_and_unchecked_functions_give_the_same_bits(bench):
    checked, unchecked = (applied(bench.xp(checked=c), bench.array(X), bench.array(Y)) for c in (True, False))
    tested = set(checked) | set(GROUPS["matmul"]) | set(GROUPS["linalg"])
    assert tested == {name for names in GROUPS.values() for name in names}, "every function is tested here"
    for name, result in checked.items():
        assert np.array_equal(bits_of(bench, result), bits_of(bench, unchecked[name]), equal_nan=False), name


@every(computing("elementwise"))
def test_a_result_of_another_dtype_is_refused(bench):
    wider = "float64" if bench.dtype.name != "float64" else "float32"
    if wider not in bench.backend.capabilities:
        pytest.skip(f"the backend has no {wider}")
    xp, x = bench.xp(), bench.array(X)
    other = xp.astype(x, wider)
    result = xp.cast_namespace(wider).multiply(other, other)
    assert bench.backend.to_bits(result)[1] == wider
    foreign = xp if wider == "float64" else xp.cast_namespace(wider)
    with pytest.raises(DtypeError, match="float64"):
        foreign.multiply(foreign.scalar(1) if wider == "float32" else x, other if wider == "float64" else x)


@every(computing("elementwise"))
def test_arithmetic_is_correctly_rounded(bench):
    """+ − × ÷ of IEEE 754; of narrow formats in float32 or float64 and rounded again, which is the same.

    Rounding first to p' bits is innocuous where p' ≥ 2p + 2 (Figueroa 1995); float32 suffices for p ≤ 11.
    """
    xp = bench.xp()
    generator = np.random.default_rng(1)
    a, b = (bench.rounded(generator.uniform(0.5, 4, 200)) for _ in range(2))
    x, y = bench.array(a), bench.array(b)
    exact = [(Fraction(float(p)), Fraction(float(q))) for p, q in zip(a, b, strict=True)]
    expected = {
        "add": [p + q for p, q in exact],
        "subtract": [p - q for p, q in exact],
        "multiply": [p * q for p, q in exact],
        "divide": [p / q for p, q in exact],
    }
    for name, results in expected.items():
        rounded = [float(round_exact(bench.storage, r)) for r in results]
        assert np.array_equal(bench.values(getattr(xp, name)(x, y)), rounded), name


@every(computing("elementwise"))
def test_elementary_functions_are_within_four_ulp(bench):
    """4 ulp is the limit that operations declare by default; NumPy's float64 beside it is good to 1.

    Square roots are among them: torch takes them from MKL's vector functions, up to 1 ulp off.
    """
    xp = bench.xp()
    a = bench.rounded(np.random.default_rng(2).uniform(0.1, 5, 500))
    x = bench.array(a)
    for name in ("exp", "expm1", "log", "log1p", "sqrt"):
        expected = getattr(np, name)(a)
        _, exponent = np.frexp(expected)
        ulp = np.ldexp(1.0, exponent - bench.storage.precision)
        error = np.abs(bench.values(getattr(xp, name)(x)) - expected) / ulp
        assert error.max() <= 4, name


@every(computing("elementwise"))
def test_special_values_follow_ieee_754(bench):
    xp = bench.xp()
    inf, nan = math.inf, math.nan
    x = bench.array([inf, -inf, nan, 0.0, -0.0, 1.0])
    zero = xp.scalar(0)
    with np.errstate(all="ignore"):
        found = {
            "exp": bench.values(xp.exp(x)),
            "log": bench.values(xp.log(x)),
            "divide": bench.values(xp.divide(x, zero)),
            "maximum": bench.values(xp.maximum(x, zero)),
            "minimum": bench.values(xp.minimum(x, zero)),
        }
    expected = {
        "exp": [inf, 0, nan, 1, 1, math.e],
        "log": [inf, nan, nan, -inf, -inf, 0],
        "divide": [inf, -inf, nan, nan, nan, inf],
        "maximum": [inf, 0, nan, 0, 0, 1],
        "minimum": [0, -inf, nan, 0, 0, 0],
    }
    for name, values in expected.items():
        # e is within one rounding
        assert np.allclose(found[name], values, rtol=2 * bench.u, atol=0, equal_nan=True), name
    assert bits_of(bench, xp.isnan(x)).tolist() == [False, False, True, False, False, False]
    assert bits_of(bench, xp.isinf(x)).tolist() == [True, True, False, False, False, False]
    assert bits_of(bench, xp.isfinite(x)).tolist() == [False, False, False, True, True, True]


@every(computing("elementwise"))
def test_subnormals_are_kept(bench):
    xp = bench.xp()
    smallest = float(bench.storage.min_subnormal)
    x = bench.array([smallest, -smallest, 3 * smallest])
    assert bench.values(xp.add(x, x)).tolist() == [2 * smallest, -2 * smallest, 6 * smallest]
    half_of_normal = xp.multiply(bench.xp().finfo.min_normal, xp.scalar(0.5))
    assert float(bench.values(half_of_normal)) == float(bench.storage.min_normal) / 2


@every(computing("sum"))
def test_reductions_take_axes(bench):
    """Small integers: every partial sum is exact in every format."""
    xp = bench.xp()
    values = np.array([[1.0, 2, 0], [3, 1, 4]])
    x = bench.array(values)
    for name, reduce in {"sum": np.sum, "max": np.max, "min": np.min}.items():
        function = getattr(xp, name)
        assert bench.values(function(x)).tolist() == reduce(values), name
        for axis in (0, 1, -1):
            assert bench.values(function(x, axis=axis)).tolist() == reduce(values, axis=axis).tolist()
            kept = bench.values(function(x, axis=axis, keepdims=True))
            assert kept.tolist() == reduce(values, axis=axis, keepdims=True).tolist()
        assert bench.values(function(x, keepdims=True)).shape == (1, 1)
    assert bench.values(xp.mean(x, axis=0)).tolist() == [2.0, 1.5, 2.0]


MEASURED = [(b, d, group) for group in DEPARTURES for b, d in computing(group) if d not in BACKENDS[b].flags]
"""Without the modes: what a setting allows is declared, and what is done may be better."""
measured = pytest.mark.parametrize(("backend", "dtype", "group"), MEASURED, ids=map("-".join, MEASURED))


@measured
def test_accumulators_are_those_declared(bench, group):
    """The narrowest of the shapes and orders tried; what can be shown is told in tests/accumulation.py."""
    declared = bench.backend.capabilities[bench.dtype.name][group]
    found = DEPARTURES[group](bench, declared)
    assert not found, "\n".join(dict.fromkeys(found))


@measured
def test_any_other_declaration_of_an_accumulator_would_fail(bench, group):
    declared = bench.backend.capabilities[bench.dtype.name][group]
    for other in CANDIDATES:
        if other != declared:
            assert DEPARTURES[group](bench, other), f"{group} of {bench.dtype.name} passes as {other}"


@every(computing("sum"))
def test_long_sums_are_within_the_bound_of_what_is_declared(bench):
    """Five thousand ones: |ŝ − s| ≤ n·u_acc·s + u_out·s (Jeannerod and Rump 2013, theorem 3.1), any order.

    Seen in float32 and wider: partial sums that are stored in a narrow format between blocks stagnate.
    """
    declared = bench.backend.capabilities[bench.dtype.name]["sum"]
    n = 5000
    bound = (n * float(FORMATS[declared].unit_roundoff) + bench.u) * n
    ones = bench.array(np.ones((n, 3)))
    for found in (
        bench.xp().sum(ones[:, 0]),
        bench.xp().sum(ones, axis=0),
        bench.xp().sum(bench.array(np.ones((3, n))), axis=1),
        bench.xp().sum(bench.array(np.ones(n))),
    ):
        assert np.abs(bench.values(found) - n).max() <= bound


@every(computing("matmul"))
def test_products_are_within_the_bound_of_what_is_declared(bench):
    """Positive factors: |ĉ − c| ≤ k·u_acc·Σ|a·b| + u_out·|c| (Jeannerod and Rump 2013, theorem 3.1)."""
    declared = bench.backend.capabilities[bench.dtype.name]["matmul"]
    u_acc = float(FORMATS[declared].unit_roundoff)
    generator = np.random.default_rng(3)
    for m, k, n in ((3, 4, 5), (33, 257, 17), (1, 500, 1)):
        a, b = bench.rounded(generator.uniform(0, 1, (m, k))), bench.rounded(generator.uniform(0, 1, (k, n)))
        exact = np.array(
            [
                [
                    float(sum(Fraction(float(p)) * Fraction(float(q)) for p, q in zip(r, c, strict=True)))
                    for c in b.T
                ]
                for r in a
            ]
        )
        found = bench.values(bench.xp().matmul(bench.array(a), bench.array(b)))
        relative = k * u_acc + bench.u + bench.rounded_inputs
        assert np.all(np.abs(found - exact) <= 1.001 * relative * exact)  # 0.1 %: squares of u, and `exact`


@every(computing("matmul"))
def test_matmul_takes_vectors_and_stacks(bench):
    """Small integers, exact in every format."""
    xp = bench.xp()
    a, b = np.arange(24.0).reshape(2, 3, 4) % 3, np.arange(24.0).reshape(2, 4, 3) % 2
    assert np.array_equal(bench.values(xp.matmul(bench.array(a), bench.array(b))), a @ b)
    v = np.array([1.0, 0, 2, 1])
    assert np.array_equal(bench.values(xp.matmul(bench.array(a[0]), bench.array(v))), a[0] @ v)
    assert np.array_equal(bench.values(xp.matmul(bench.array(v), bench.array(b[0]))), v @ b[0])


@every(computing("linalg"))
def test_factorisations_have_small_residuals(bench):
    """Backward stable algorithms: residuals within 10·n·u·‖A‖ of zero (Higham 2002, theorems 10.3, 19.4)."""
    xp = bench.xp()
    n = 8
    A = bench.rounded(np.random.default_rng(4).normal(size=(12, n)))
    spd = bench.rounded(A.T @ A + n * np.eye(n))
    tolerance = 10 * n * bench.u

    Q, R = map(bench.values, xp.qr(bench.array(A)))
    assert (Q.shape, R.shape) == ((12, n), (n, n))
    assert np.linalg.norm(Q @ R - A) <= tolerance * np.linalg.norm(A)
    assert np.linalg.norm(Q.T @ Q - np.eye(n)) <= tolerance * np.sqrt(n)
    assert np.array_equal(R, np.triu(R))

    U, s, Vt = map(bench.values, xp.svd(bench.array(A)))
    assert (U.shape, s.shape, Vt.shape) == ((12, n), (n,), (n, n))
    assert np.linalg.norm(U * s @ Vt - A) <= tolerance * np.linalg.norm(A)
    assert np.all(np.diff(s) <= 0)

    w, V = map(bench.values, xp.eigh(bench.array(spd)))
    assert np.all(np.diff(w) >= 0)
    assert np.linalg.norm(V * w @ V.T - spd) <= tolerance * np.linalg.norm(spd)

    L = bench.values(xp.cholesky(bench.array(spd)))
    assert np.linalg.norm(L @ L.T - spd) <= tolerance * np.linalg.norm(spd)
    assert np.array_equal(L, np.tril(L))

    for b in (A[:n, 0], A[:n, :3]):
        x = bench.values(xp.solve(bench.array(spd), bench.array(b)))
        assert x.shape == b.shape
        assert np.linalg.norm(spd @ x - b) <= tolerance * np.linalg.norm(spd) * np.linalg.norm(x)
        for matrix, lower in ((R, False), (L, True)):
            for transpose in (False, True):
                x = bench.values(
                    xp.solve_triangular(bench.array(matrix), bench.array(b), lower=lower, transpose=transpose)
                )
                T = matrix.T if transpose else matrix
                assert x.shape == b.shape
                assert np.linalg.norm(T @ x - b) <= tolerance * np.linalg.norm(T) * np.linalg.norm(x)


@every(computing("linalg"))
def test_an_indefinite_matrix_has_no_cholesky_factor(bench):
    with pytest.raises(Exception, match=r"positive.definite"):
        bench.xp().cholesky(bench.array([[1.0, 2.0], [2.0, 1.0]]))


# ---- gradients, memory, time


@every(computing("elementwise"))
def test_gradients_are_those_of_the_value_or_there_are_none(bench):
    """Of x·x·y, exact in every format: 2xy and x², times the cotangent; in the order asked for, and again."""
    xp = bench.xp()
    x, y, cotangent = (bench.array(v) for v in ([1.0, 2.0, -3.0], [2.0, 0.5, 1.0], [1.0, 4.0, 2.0]))

    def build(x, y):
        return lambda: xp.multiply(xp.multiply(x, x), y)

    if not bench.backend.autograd:
        with pytest.raises(UserError, match="does not differentiate"):
            bench.backend.differentiated(build, [x, y], [1, 0], cotangent)
        return
    thunk = bench.backend.differentiated(build, [x, y], [1, 0], cotangent)
    for _ in range(2):
        of_y, of_x = map(bench.values, thunk())
        assert of_x.tolist() == [4.0, 8.0, -12.0]
        assert of_y.tolist() == [1.0, 16.0, 18.0]


@every(computing("elementwise"))
def test_the_peak_of_memory_is_that_of_the_arrays(bench):
    """Two results at once at most; beside them objects and blocks of some hundred bytes."""
    xp, n = bench.xp(checked=False), 1 << 16
    x = bench.array(np.ones(n))
    nbytes = n * bench.storage.storage_bits // 8

    def one_after_another():
        y = xp.negative(x)
        z = xp.negative(y)
        del y
        return xp.negative(z)

    one_after_another()
    assert nbytes <= bench.backend.peak_memory(lambda: xp.negative(x)) <= nbytes + 4096
    assert 2 * nbytes <= bench.backend.peak_memory(one_after_another) <= 2 * nbytes + 4096


@pytest.mark.parametrize("backend", HERE)
def test_timers_have_names_and_longer_work_takes_longer(backend):
    bench = Bench(backend, "float32")
    xp = bench.xp(checked=False)
    short, long = (bench.array(np.ones(n)) for n in (1 << 12, 1 << 24))
    timers = bench.backend.timers()
    assert len({timer.name for timer in timers}) == len(timers)
    for timer in timers:
        for thunk in (lambda: xp.negative(short), lambda: xp.negative(long)):
            timer.measure(thunk, 1)
        fast = min(timer.measure(lambda: xp.negative(short), 2) for _ in range(3))
        slow = min(timer.measure(lambda: xp.negative(long), 2) for _ in range(3))
        assert 0 < fast < slow, f"{timer.name}: 4096 times the work"


# ---- formulations


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def logsumexp(x):
    m = x.max(axis=-1, keepdims=True)
    return (np.log(np.exp(x - m).sum(axis=-1, keepdims=True)) + m)[..., 0]


ROWS = np.array([[0.5, -1.0, 2.0, 0.25], [3.0, 3.0, -2.0, 1.0]])
TALL = np.array([[1.0, 0.5], [1, 1.5], [1, -2], [1, 3]])
SAMPLES = {  # operation: inputs, parameters, expected in float64
    "softmax": ((ROWS,), {"axis": -1}, softmax(ROWS)),
    "log_softmax": ((ROWS,), {"axis": -1}, ROWS - logsumexp(ROWS)[:, None]),
    "logsumexp": ((ROWS,), {"axis": -1}, logsumexp(ROWS)),
    "matmul": ((ROWS / 2, ROWS.T), {}, ROWS / 2 @ ROWS.T),
    "dot": ((ROWS[0], ROWS[1]), {}, ROWS[0] @ ROWS[1]),
    "least_squares": ((TALL, ROWS[1]), {}, np.linalg.solve(TALL.T @ TALL, TALL.T @ ROWS[1])),
}
RUNNING = [
    (backend, operation, name, dtype)
    for operation in SAMPLES
    for name in formulations_of(operation)
    for backend in HERE
    for dtype in BACKENDS[backend].capabilities
    if isinstance(support(operation, name, BACKENDS[backend], dtype), str)
    and DTYPES[dtype].storage.signed  # the samples are
]


@pytest.mark.parametrize(("backend", "operation", "name", "dtype"), RUNNING, ids=map("-".join, RUNNING))
def test_formulations_compute_their_operation(backend, operation, name, dtype):
    """To 32 u of the largest result: some roundings of four terms; a wrong function is off by far more."""
    bench = Bench(backend, dtype)
    inputs, parameters, expected = SAMPLES[operation]
    build = find_formulation(operation, name, backend).build
    thunk = build(bench.xp(checked=name != "library"), *map(bench.array, inputs), **parameters)
    first, second = bench.values(thunk()), bench.values(thunk())
    assert np.array_equal(first, second), "a thunk can be called again"
    assert first.shape == np.shape(expected)
    assert np.abs(first - expected).max() <= 32 * (bench.u + bench.rounded_inputs) * np.abs(expected).max()


def test_every_library_callable_of_a_sampled_operation_is_tested_above():
    assert set(SAMPLES) <= set(OPERATIONS)
    libraries = [f for f in FORMULATIONS.values() if f.name == "library" and f.operation in SAMPLES]
    declared = {(b, f.operation) for f in libraries for b in f.backends or () if b in HERE}
    assert declared or ELSEWHERE
    assert declared <= {(b, o) for b, o, name, _ in RUNNING if name == "library"}


@pytest.mark.parametrize("key", list(FORMULATIONS))
def test_formulations_take_the_inputs_and_parameters_of_their_operation(key):
    operation = OPERATIONS[FORMULATIONS[key].operation]
    signature = inspect.signature(FORMULATIONS[key].build)
    signature.bind("xp", *operation.inputs, **operation.parameters)
