import numpy as np
import pytest

from harness.backends import torch_backend
from harness.backends.torch_backend import STORAGE_ONLY
from harness.backends.torch_cpu import CAPABILITIES
from harness.errors import DtypeError
from harness.formats import DTYPES, FORMATS, decode, encode
from harness.registry import BACKENDS, FORMULATIONS, Lack, support

torch = pytest.importorskip("torch")

BACKEND = BACKENDS["torch-cpu"]


@pytest.fixture(scope="module", autouse=True)
def started():
    BACKEND.start(1, {})


def tensor(values, dtype):
    storage = FORMATS[dtype]
    return BACKEND.from_bits(encode(storage, np.asarray(values, float)), storage)


def xp(dtype):
    return BACKEND.namespace(DTYPES[dtype], checked=True)


def values(native):
    codes, name = BACKEND.to_bits(native)
    return decode(FORMATS[name], codes)


def test_every_format_that_torch_names_is_held():
    assert set(CAPABILITIES) == {name for name in FORMATS if hasattr(torch, name)} | {"tf32"}


@pytest.mark.parametrize("dtype", STORAGE_ONLY)
def test_storage_only_formats_have_no_arithmetic(dtype):
    assert all(isinstance(declared, Lack) for declared in CAPABILITIES[dtype].values())
    x = BACKEND.from_bits(np.array([1, 2], np.uint8), FORMATS[dtype])
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.add(x, x)
    with pytest.raises(AttributeError, match="storage only"):
        _ = xp(dtype).add


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sums_and_products_of_narrow_formats_accumulate_in_float32(dtype):
    stagnates_at = 2 ** FORMATS[dtype].precision
    ones = tensor(np.ones((8 * stagnates_at, 3)), dtype)
    assert values(xp(dtype).sum(ones, axis=0)).tolist() == [8.0 * stagnates_at] * 3
    assert values(xp(dtype).matmul(xp(dtype).transpose(ones), ones))[0, 0] == 8 * stagnates_at
    assert CAPABILITIES[dtype]["sum"] == CAPABILITIES[dtype]["matmul"] == "float32"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_there_is_no_lapack_in_narrow_formats(dtype):
    lack = CAPABILITIES[dtype]["linalg"]
    assert isinstance(lack, Lack)
    assert lack.reason == f"torch has no LAPACK in {dtype}"
    assert support("least_squares", "library", BACKEND, dtype) == lack
    square = tensor(np.eye(2), dtype)
    for call in (torch.linalg.cholesky, torch.linalg.qr, lambda A: torch.linalg.lstsq(A, A)):
        with pytest.raises(RuntimeError):  # NotImplementedError is one
            call(square)


def test_least_squares_give_the_same_bits_whatever_memory_held_before():
    """torch's default driver does not: its pivots are never set (pytorch#187411)."""
    generator = np.random.default_rng(0)
    A, b = tensor(generator.normal(size=(50, 7)), "float64"), tensor(generator.normal(size=50), "float64")
    thunk = FORMULATIONS["least_squares/library@torch-cpu"].build(xp("float64"), A, b)
    found = set()
    for i in range(50):
        left_over = torch.full((7,), i % 3, dtype=torch.int32)
        del left_over
        found.add(values(thunk()).tobytes())
    assert len(found) == 1


def test_a_widened_result_is_refused():
    x = tensor([1.0, 2.0], "bfloat16")
    with pytest.raises(DtypeError, match="multiply of torch-cpu gave float32, declared is bfloat16"):
        xp("bfloat16").multiply(x, torch.tensor([0.5, 0.5]))
    with pytest.raises(DtypeError, match="where of torch-cpu gave float32"):
        xp("bfloat16").where(x > 1, x, torch.tensor([0.0, 0.0]))


@pytest.mark.parametrize(
    "wrong", [torch.arange(3), torch.ones(2, dtype=torch.complex64), torch.tensor([True])]
)
def test_outputs_of_other_dtypes_are_refused(wrong):
    with pytest.raises(DtypeError, match=str(wrong.dtype).removeprefix("torch.")):
        BACKEND.to_bits(wrong)


def test_an_array_of_another_library_is_refused():
    with pytest.raises(DtypeError, match="torch-cpu returns tensors; found ndarray"):
        BACKEND.to_bits(np.ones(2))


def test_lazy_negation_is_resolved():
    z = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex128)
    negated = z.conj().imag
    assert negated.is_neg()
    assert values(negated).tolist() == [-2.0, 4.0]


def test_outputs_that_require_gradients_come_out():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    assert values(x * 2).tolist() == [2.0, 4.0]


def test_threads_are_set_and_told():
    environment = BACKEND.environment(2)
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "2"
    facts = BACKEND.facts()
    assert (facts["threads"], facts["interop_threads"]) == ("1", "1")
    assert facts["torch"] == torch.__version__


def test_a_missing_module_is_named(monkeypatch):
    monkeypatch.setattr(torch_backend, "find_spec", lambda name: None)
    assert BACKEND.unavailable() == "not installed: torch"


# ---- gradients


def squared(xp):
    """Return a formulation of x·x, and of its double outside the thunk."""

    def build(x, y):
        doubled = xp.add(x, x)
        return lambda: xp.multiply(doubled, y)

    return build


def test_gradients_are_those_of_the_value_and_can_be_asked_for_again():
    x, y, cotangent = (tensor(v, "float64") for v in ([1.0, 2.0], [3.0, 5.0], [1.0, 10.0]))
    thunk = BACKEND.differentiated(squared(xp("float64")), [x, y], [0, 1], cotangent)
    for _ in range(3):
        gradient_x, gradient_y = thunk()
        assert values(gradient_x).tolist() == [6.0, 100.0], "2·y times the cotangent"
        assert values(gradient_y).tolist() == [2.0, 40.0], "2·x times the cotangent"
    assert not x.requires_grad
    assert not y.requires_grad


def test_what_is_computed_before_the_thunk_is_differentiated_at_every_call():
    """d(x²)/dx = 2x, where the square itself is made once and its graph is kept."""
    torch = pytest.importorskip("torch")

    def build(x):
        square = x * x
        return lambda: square.sum()

    thunk = BACKEND.differentiated(build, [torch.tensor([3.0, -0.5])], [0], torch.tensor([2.0]))
    for _ in range(2):
        assert thunk()[0].tolist() == [12.0, -2.0]


def test_only_the_gradients_asked_for_are_given_in_the_order_asked():
    x, y, cotangent = (tensor(v, "float32") for v in ([1.0, 2.0], [3.0, 5.0], [1.0, 1.0]))
    build = squared(xp("float32"))
    assert [values(g).tolist() for g in BACKEND.differentiated(build, [x, y], [1], cotangent)()] == [
        [2.0, 4.0]
    ]
    reverse = BACKEND.differentiated(build, [x, y], [1, 0], cotangent)()
    assert [values(g).tolist() for g in reverse] == [[2.0, 4.0], [6.0, 10.0]]


# ---- memory


def test_the_most_bytes_that_a_call_holds_are_counted_exactly():
    x = tensor(np.ones((1000, 1000)), "float32")

    def one_after_another():
        y = torch.neg(x)
        z = torch.neg(y)
        del y
        return torch.neg(z)

    n = 4_000_000
    assert BACKEND.peak_memory(lambda: torch.neg(x)) == n
    assert BACKEND.peak_memory(one_after_another) == 2 * n
    assert BACKEND.peak_memory(lambda: [torch.neg(x) for _ in range(5)]) == 5 * n
    assert BACKEND.peak_memory(lambda: x.T) == 0


def test_memory_held_before_is_not_counted_whether_it_is_given_back_or_not():
    held = [torch.ones(1000) for _ in range(10)]

    def replaced():
        held.clear()
        return torch.ones(2000)

    assert BACKEND.peak_memory(replaced) == 8000
    assert BACKEND.peak_memory(replaced) == 8000
