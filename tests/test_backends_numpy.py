import os
import subprocess
import sys

import numpy as np
import pytest

from harness.backends import numpy as numpy_room
from harness.backends.numpy import CAPABILITIES, NumpyBackend, register
from harness.errors import DtypeError, RegistrationError, UserError
from harness.formats import DTYPES, FORMATS, decode, encode
from harness.registry import BACKENDS, FORMULATIONS, Lack, Registry, support

BACKEND = BACKENDS["numpy"]


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def array(values, dtype):
    storage = FORMATS[dtype]
    return BACKEND.from_bits(encode(storage, np.asarray(values, float)), storage)


def xp(dtype):
    return BACKEND.namespace(DTYPES[dtype], checked=True)


def values(native):
    codes, name = BACKEND.to_bits(native)
    return decode(FORMATS[name], codes)


def test_every_format_is_held():
    assert set(CAPABILITIES) == set(FORMATS) | {"tf32"}


def test_importing_the_backends_imports_no_array_library():
    code = (
        "import sys, harness.backends.numpy, harness.backends.torch_cpu\n"
        "found = {'numpy', 'scipy', 'torch', 'ml_dtypes', 'threadpoolctl'} & set(sys.modules)\n"
        "assert not found, found\n"
        "from harness.registry import BACKENDS\n"
        "assert [b.unavailable() for b in BACKENDS.values()]\n"
        "found = {'numpy', 'scipy', 'torch', 'ml_dtypes'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("group", ["elementwise", "sum", "matmul", "linalg"])
def test_tf32_is_unsupported_for_a_reason(group):
    lack = CAPABILITIES["tf32"][group]
    assert isinstance(lack, Lack)
    assert lack.word == "unsupported"
    assert "tensor cores" in lack.reason


# ---- the declared compute dtypes, each shown by a result that another would not give


def test_bfloat16_sums_stay_in_bfloat16():
    tenths = array(np.full(10_000, float(np.float32(0.100097656))), "bfloat16")
    assert float(values(xp("bfloat16").sum(tenths))) == 32.0  # 32 + 0.1 rounds to 32
    assert CAPABILITIES["bfloat16"]["sum"] == "bfloat16"


def test_float16_sums_stay_in_float16_along_strided_axes():
    ones = array(np.ones((5000, 2)), "float16")
    assert values(xp("float16").sum(ones, axis=0)).tolist() == [2048.0, 2048.0]  # 2048 + 1 rounds to 2048
    assert float(values(xp("float16").sum(array(np.ones(5000), "float16")))) == 5000.0
    assert CAPABILITIES["float16"]["sum"] == "float16"


@pytest.mark.parametrize(("dtype", "stagnates_at"), [("float16", 2048), ("bfloat16", 256)])
def test_products_of_narrow_formats_accumulate_in_float32(dtype, stagnates_at):
    ones = array(np.ones(8 * stagnates_at), dtype)
    assert float(values(xp(dtype).matmul(ones, ones))) == 8 * stagnates_at
    assert CAPABILITIES[dtype]["matmul"] == "float32"


def test_linear_algebra_is_in_the_dtype_itself():
    """NumPy's own solve would compute float32 in float64, and be right to the last bit."""
    n = 60
    A, x = np.random.default_rng(0).normal(size=(n, n)).astype(np.float32), np.ones(n)
    b = (A.astype(float) @ x).astype(np.float32)
    ours = values(xp("float32").solve(array(A, "float32"), array(b, "float32")))
    wide = np.linalg.solve(A.astype(float), b.astype(float)).astype(np.float32)
    assert np.array_equal(np.linalg.solve(A, b), wide)
    assert not np.array_equal(ours, wide)
    assert CAPABILITIES["float32"]["linalg"] == "float32"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_lapack_has_no_narrow_formats(dtype):
    lack = CAPABILITIES[dtype]["linalg"]
    assert isinstance(lack, Lack)
    assert f"no {dtype}" in lack.reason
    import scipy.linalg

    factor = scipy.linalg.cholesky(array(np.eye(2), dtype))
    assert factor.dtype in (np.float32, np.float64), "widened, not computed in the dtype"


def test_lstsq_computes_float32_in_float64_and_refuses_float16():
    assert support("least_squares", "library", BACKEND, "float32") == "float64"
    build = FORMULATIONS["least_squares/library@numpy"].build
    # κ = 1e6: an error of κu in float32 would be 6 %
    A = np.vander(np.linspace(0, 1, 9), 8).astype(np.float32)
    x = np.ones(8)
    b = (A.astype(float) @ x).astype(np.float32)
    exact = np.linalg.lstsq(A.astype(float), b.astype(float), rcond=None)[0].astype(np.float32)
    found = build(xp("float32"), array(A, "float32"), array(b, "float32"))()
    assert found.dtype == np.float32
    assert np.array_equal(found, exact)
    lack = support("least_squares", "library", BACKEND, "float16")
    assert isinstance(lack, Lack)
    with pytest.raises(TypeError, match="float16 is unsupported in linalg"):
        build(xp("float16"), array(np.eye(2), "float16"), array(np.ones(2), "float16"))()


def test_a_library_that_widens_returns_the_wider_array():
    build = FORMULATIONS["logsumexp/library@numpy"].build
    found = build(xp("bfloat16"), array([[1.0, 2.0, 3.0]], "bfloat16"), axis=-1)()
    assert BACKEND.to_bits(found)[1] == "float64" == support("logsumexp", "library", BACKEND, "bfloat16")


# ---- traps that the namespace turns into errors


def test_a_where_that_widens_is_refused():
    x = array([1.0, 2.0], "bfloat16")
    namespace = xp("bfloat16")
    mask = namespace.less(x, namespace.scalar(2))
    with pytest.raises(DtypeError, match="where of numpy gave float64, declared is bfloat16"):
        namespace.where(mask, x, -np.inf)
    assert values(namespace.where(mask, x, namespace.scalar("-inf"))).tolist() == [1.0, -np.inf]


def test_a_float64_scalar_that_widens_float16_is_refused():
    x = array([1.0, 2.0], "float16")
    with pytest.raises(DtypeError, match="multiply of numpy gave float64"):
        xp("float16").multiply(x, np.float64(0.5))


def test_casting_float64_to_bfloat16_rounds_twice_but_scalars_do_not():
    """1 + 2⁻⁸ + 2⁻³⁰ by way of float32 is a tie, and goes to 1: why formats round results."""
    tie = 1 + 2.0**-8 + 2.0**-30
    assert float(values(xp("float64").astype(array([tie], "float64"), "bfloat16"))[0]) == 1.0
    assert float(values(xp("bfloat16").scalar(tie))) == 1 + 2.0**-7


@pytest.mark.parametrize("wrong", [np.arange(3), np.ones(2, complex), np.array([True]), np.longdouble(1)])
def test_outputs_of_other_dtypes_are_refused(wrong):
    if wrong.dtype.name == "float64":
        pytest.skip("long double is float64 here")
    with pytest.raises(DtypeError, match=wrong.dtype.name):
        BACKEND.to_bits(wrong)


def test_foreign_byte_order_is_read_as_numbers():
    assert values(np.array([1.5, -2.0], ">f4")).tolist() == [1.5, -2.0]


# ---- configuration


def test_threads_are_set_by_variables_and_told():
    environment = BACKEND.environment(3)
    assert environment["OPENBLAS_NUM_THREADS"] == environment["OMP_NUM_THREADS"] == "3"
    BACKEND.start(1, {})
    assert BACKEND.facts()["blas_threads"] == "1"


def test_variables_are_told_as_they_are_set(monkeypatch):
    assert BACKEND.facts()["variables"] == "none"
    second = NumpyBackend(name="numpy-nehalem", variables={"OPENBLAS_CORETYPE": "Nehalem"})
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert second.facts()["variables"] == "OPENBLAS_CORETYPE=(not set)"
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    assert second.facts()["variables"] == "OPENBLAS_CORETYPE=Nehalem"


def test_instruction_sets_are_told_without_those_that_are_disabled():
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if not found:
        pytest.skip("this NumPy found nothing beyond what it is built for")
    assert set(found) <= set(BACKEND.facts()["simd"].split())
    code = "from harness.backends.numpy import NumpyBackend as N; print(N().facts()['simd'])"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(found)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert told, "what NumPy is built for"
    assert not set(told) & set(found)


def test_warnings_are_off_after_start():
    with np.errstate(all="raise"):
        BACKEND.start(1, {})
        assert np.isinf(np.exp(np.float64(1000)))


def test_a_second_numpy_is_one_call(monkeypatch):
    backends, formulations = Registry("backend"), Registry("formulation")
    for registered in FORMULATIONS:
        formulations.add(registered, FORMULATIONS[registered], "before")
    monkeypatch.setattr("harness.registry.rooms.BACKENDS", backends)
    monkeypatch.setattr("harness.registry.rooms.FORMULATIONS", formulations)
    monkeypatch.setattr("harness.registry.lookup.FORMULATIONS", formulations)
    configured = []
    second = register(
        NumpyBackend(
            name="numpy-nehalem",
            title="NumPy, OpenBLAS without AVX",
            variables={"OPENBLAS_CORETYPE": "Nehalem"},
            configure=lambda: configured.append(True),
        )
    )
    assert list(backends) == ["numpy-nehalem"]
    assert second.environment(2)["OPENBLAS_CORETYPE"] == "Nehalem"
    assert "OPENBLAS_CORETYPE" not in BACKEND.environment(2)
    second.start(1, {})
    assert configured == [True]
    assert support("softmax", "library", second, "float32") == "float32"
    with pytest.raises(RegistrationError, match="numpy-nehalem"):
        register(second)


def test_a_missing_module_is_named(monkeypatch):
    monkeypatch.setattr(numpy_room, "find_spec", lambda name: None if name == "scipy" else object())
    assert BACKEND.unavailable() == "not installed: scipy"
    monkeypatch.undo()
    assert BACKEND.unavailable() is None


# ---- gradients and memory


def test_numpy_does_not_differentiate():
    assert not BACKEND.autograd
    with pytest.raises(UserError, match="numpy does not differentiate"):
        BACKEND.differentiated(lambda x: lambda: x, [np.ones(2)], [0], np.ones(2))


def test_the_most_bytes_that_a_call_holds_are_those_of_its_arrays():
    x = np.ones((1000, 1000))

    def one_after_another():
        y = x + 1
        z = y * 2
        del y
        return z - 3

    n, objects = 8_000_000, 2_000  # array objects, frames: Python's own memory is counted too
    for thunk, arrays in ((lambda: -x, 1), (one_after_another, 2), (lambda: [-x for _ in range(5)], 5)):
        assert arrays * n <= BACKEND.peak_memory(thunk) < arrays * n + objects
    assert BACKEND.peak_memory(lambda: x.T) < objects
