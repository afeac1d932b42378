"""What products are computed in, as measured: kernels simulated in NumPy, each departure seen and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, Precision, decode, encode
from harness.metrics.score import score
from harness.operations import matmul_precision
from harness.registry import BACKENDS, OPERATIONS, ExactProblem, find_formulation, support

catalogue.load()

OPERATION = OPERATIONS["matmul_precision"]
NUMPY = BACKENDS["numpy"]
SINGLE = FORMATS["float32"]
Round = Callable[[np.ndarray], np.ndarray]


def rounding(
    precision: int, *, truncate: bool = False, flush: bool = False, range_of: str = "float32"
) -> Round:
    """Rounding to some bits with the range of a format: to nearest even, or toward zero."""
    fmt = FORMATS[range_of]

    def rounded(x: np.ndarray) -> np.ndarray:
        _, exponent = np.frexp(x)
        quantum = np.maximum(exponent - 1, fmt.exponent_min) - (precision - 1)
        x = np.ldexp((np.trunc if truncate else np.rint)(np.ldexp(x, -quantum)), quantum)
        x = np.where(np.abs(x) > float(fmt.max_finite), np.copysign(np.inf, x), x)
        return np.where(np.abs(x) < 2.0**fmt.exponent_min, 0.0, x) if flush else x

    return rounded


def same(x: np.ndarray) -> np.ndarray:
    return x


@dataclass
class Kernel:
    """Σ a·b one after another; float64 holds products of 24 bits exactly, and rounds sums of two to 53."""

    factors: Round = same
    products: Round = same
    sums: Round = field(default_factory=lambda: rounding(24))
    block: int = 0
    partial: Round = same
    known: dict[bytes, np.ndarray] = field(default_factory=dict)
    """Results by row and column, for each is computed by way of every shape."""

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.ndim == 3:
            return np.concatenate([self(x, y)[None] for x, y in zip(a, b, strict=True)])
        if (a == a[0]).all() and not (b == b[:, :1]).all():
            return self(b.T, a.T).T  # the equal rows are the column
        column = np.ascontiguousarray(b[:, :1])
        missing = [row for row in a if row.tobytes() + column.tobytes() not in self.known]
        if missing:
            values = self._computed(np.array(missing, np.float64), column.astype(np.float64))
            for row, value in zip(missing, values.astype(a.dtype), strict=True):
                self.known[row.tobytes() + column.tobytes()] = value
        found = np.array([self.known[row.tobytes() + column.tobytes()] for row in a])
        return np.repeat(found[:, None], b.shape[1], axis=1)

    def _computed(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        products = self.products(self.factors(a) * self.factors(b[:, 0]))
        step = self.block or products.shape[1]
        total = np.zeros(len(a))
        for start in range(0, products.shape[1], step):
            part = np.zeros(len(a))
            for k in range(start, min(start + step, products.shape[1])):
                part = self.sums(part + products[:, k])
            total = self.partial(total + part) if self.block else part
        return total


class Lanes(Kernel):
    """16 fused multiply-adds beside each other: in a row of 16 each does no more than round a product."""

    def _computed(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        lanes, total = np.zeros((len(a), 16)), np.zeros(len(a))
        for start in range(0, a.shape[1], 16):
            part = a[:, start : start + 16] * b[start : start + 16, 0]
            lanes[:, : part.shape[1]] = self.sums(lanes[:, : part.shape[1]] + part)
        for lane in lanes.T:
            total = self.sums(total + lane)
        return total


def measured(product: Any, dtype: str) -> dict[str, np.ndarray]:
    fmt = FORMATS[dtype]
    xp = NUMPY.namespace(DTYPES[dtype], checked=True)
    with np.errstate(all="ignore"):
        one = NUMPY.from_bits(encode(fmt, np.ones(1)), fmt)
        native = matmul_precision._Probe(xp, one, product).measured()
    bits = [NUMPY.to_bits(x) for x in native]
    return {n: decode(FORMATS[f], b) for n, (b, f) in zip(OPERATION.outputs, bits, strict=True)}


def beyond(outputs: dict[str, np.ndarray], dtype: str, compute: str) -> set[str]:
    """The outputs that tell of less than is declared."""
    problem = ExactProblem("matmul_precision", {"one": np.ones(1)}, {}, DTYPES[dtype])
    precision = Precision.of(problem.dtype, compute)
    rows = score(OPERATION, problem, OPERATION.reference(problem), outputs, precision)
    return {name for name, row in rows.items() if row["outcome"] != "ok" or row["bound_ratio"] > 1}


@dataclass
class Switching:
    """float32 for small products, another kernel where a tile of inner indices and 16 columns is full."""

    narrow: Kernel = field(default_factory=lambda: Kernel(factors=rounding(11)))
    inner: int = 512
    wide: Kernel = field(default_factory=Kernel)

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        large = a.shape[-1] >= self.inner and b.shape[-1] >= 16
        return (self.narrow if large else self.wide)(a, b)


BITS = ("input_bits", "product_bits", "accumulator_bits", "rounding_error")
NARROW_FACTORS = {"input_bits", "product_bits", "min_input"}
PLANTED: dict[str, tuple[Callable[[], Any], tuple[float, ...], tuple[int, int], set[str]]] = {
    # what is planted: bits as measured, log2 of the least product and factor, and what is beyond the bound.
    # p bits of float32's range end at 2^(−125 − p).
    "float32": (Kernel, (24, 47, 24, 0.25), (-149, -149), set()),
    "no FMA": (lambda: Kernel(products=rounding(24)), (24, 24, 24, 0.25), (-149, -149), set()),
    "float64 sums": (
        lambda: Kernel(sums=rounding(53, range_of="float64")), (24, 47, 53, 0.25), (-149, -149), set(),
    ),
    "TF32 factors": (
        lambda: Kernel(factors=rounding(11)), (11, 21, 24, 0.25), (-149, -136), NARROW_FACTORS,
    ),
    "bfloat16 factors": (
        lambda: Kernel(factors=rounding(8)), (8, 15, 24, 0.25), (-149, -133), NARROW_FACTORS,
    ),
    # Products of two factors are tried in rows of at most 64; factors beside a 1 in longer ones too.
    "TF32 in large tiles": (Switching, (11, 47, 24, 0.25), (-149, -136), {"input_bits", "min_input"}),
    # Rows of 16 still show 47 bits in every shape: fewer than a sum keeps are not excused.
    "TF32 in tiles of 64": (
        lambda: Switching(inner=64), (11, 21, 24, 0.25), (-149, -136), NARROW_FACTORS,
    ),
    "no FMA in tiles": (
        lambda: Switching(Kernel(products=rounding(24)), 1), (24, 24, 24, 0.25), (-149, -149), set(),
    ),
    "lanes": (Lanes, (24, 47, 24, 0.25), (-149, -149), set()),
    "toward zero in tiles": (
        lambda: Switching(Kernel(sums=rounding(24, truncate=True)), 1), (24, 47, 24, 0.75), (-149, -149),
        {"rounding_error"},
    ),
    "products of 16 bits": (
        lambda: Kernel(products=rounding(16)), (16, 16, 24, 0.25), (-141, -149),
        {"input_bits", "product_bits", "min_product"},
    ),
    # Products of 15 bits are left where the sum before has 8.
    "sums in bfloat16": (
        lambda: Kernel(sums=rounding(8)), (8, 15, 8, 0.25), (-133, -149),
        {"input_bits", "product_bits", "accumulator_bits", "min_product"},
    ),
    "blocks added up in bfloat16": (
        lambda: Kernel(block=64, partial=rounding(8)), (8, 47, 8, 0.25), (-133, -149),
        {"input_bits", "accumulator_bits", "min_product"},
    ),
    "sums toward zero": (
        lambda: Kernel(sums=rounding(24, truncate=True)), (24, 47, 24, 0.75), (-149, -149),
        {"rounding_error"},
    ),
    "products flushed": (
        lambda: Kernel(sums=rounding(24, flush=True)), (24, 47, 24, 0.25), (-126, -149), {"min_product"},
    ),
    "factors taken for 0": (
        lambda: Kernel(factors=rounding(24, flush=True)), (24, 47, 24, 0.25), (-149, -126), {"min_input"},
    ),
}  # fmt: skip
LARGE = ("TF32 in large tiles", "blocks added up in bfloat16")
"""Planted where short rows do not reach."""


@pytest.fixture
def short_rows(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Rows of at most 64 inner indices: a simulated kernel takes long for a thousand."""
    if request.node.callspec.params["kind"] not in LARGE:
        monkeypatch.setattr(matmul_precision, "INNER", (1, 16, 64))
        monkeypatch.setattr(matmul_precision, "SMALL_TERMS", matmul_precision.SMALL_TERMS[:-1])


@pytest.mark.usefixtures("short_rows")
@pytest.mark.parametrize("kind", PLANTED)
def test_kernels_for_float32_are_seen_as_they_are(kind: str) -> None:
    make, numbers, least, expected = PLANTED[kind]
    outputs = measured(make(), "float32")
    assert tuple(outputs[name].item() for name in BITS) == numbers
    assert tuple(np.log2([outputs[name].item() for name in ("min_product", "min_input")])) == least
    assert beyond(outputs, "float32", "float32") == expected


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "matrices": lambda a, b: a.ndim == 2 and b.shape[1] == 16 and (b == b[:, :1]).all(),
    "a matrix and a column": lambda a, b: a.ndim == 2 and len(a) > 1 and b.shape[1] == 1,
    "transposed": lambda a, b: a.ndim == 2 and not (b == b[:, :1]).all(),
    "a row and a column": lambda a, b: a.ndim == 2 and len(a) == 1,
    "a stack": lambda a, b: a.ndim == 3,
}


@pytest.mark.usefixtures("short_rows")
@pytest.mark.parametrize("kind", SHAPES)
def test_what_one_shape_alone_departs_in_is_seen(kind: str) -> None:
    """TF32 factors in products of one shape: the 23 numbers 1 + 2^−i differ, so that columns of them do."""
    narrow, wide = Kernel(factors=rounding(11)), Kernel()
    outputs = measured(lambda a, b: (narrow if SHAPES[kind](a, b) else wide)(a, b), "float32")
    assert tuple(outputs[name].item() for name in BITS) == (11, 21, 24, 0.25)


def tensor_core(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sums of four products and the sum before, each cut to 24 bits of the largest: Volta's, in float16.

    Fasi, Higham, Mikaitis and Pranesh 2021: products are exact, none is normalised before the
    sum, bits below the last of the largest are dropped, and the sum is truncated to float32.
    """
    products = a[..., :, :, None].astype(np.float64) * b[..., None, :, :].astype(np.float64)
    total = np.zeros(products.shape[:-2] + products.shape[-1:])
    for start in range(0, products.shape[-2], 4):
        terms = np.concatenate([products[..., start : start + 4, :], total[..., None, :]], axis=-2)
        _, exponent = np.frexp(np.abs(terms).max(axis=-2, keepdims=True))
        quantum = np.maximum(exponent - 1, -126) - 23
        total = truncated(np.ldexp(np.trunc(np.ldexp(terms, -quantum)), quantum).sum(axis=-2))
    return total.astype(a.dtype)


truncated = rounding(24, truncate=True)


@pytest.mark.parametrize("kind", ["tensor core"])
@pytest.mark.usefixtures("short_rows")
def test_a_tensor_core_is_seen_to_truncate(kind: str) -> None:
    outputs = measured(tensor_core, "float16")
    assert tuple(outputs[name].item() for name in BITS) == (11, 21, 24, 0.75)
    assert beyond(outputs, "float16", "float32") == {"rounding_error"}


@pytest.mark.parametrize("kind", ["TF32 factors"])
@pytest.mark.usefixtures("short_rows")
def test_tf32_is_right_where_it_is_declared(kind: str) -> None:
    outputs = measured(PLANTED[kind][0](), "float32")
    assert beyond(outputs, "tf32", "float32") == set()
    assert beyond(outputs, "float32", "float32") == NARROW_FACTORS


@pytest.mark.parametrize(
    ("dtype", "name", "numbers"),
    [
        ("float32", "matmul", (24, 24)),
        ("bfloat16", "matmul", (8, 24)),
        ("bfloat16", "blocked", (8, 8)),
        ("float16", "blocked", (11, 11)),
        ("float16", "float32_accumulate", (11, 24)),
    ],
)
def test_formulations_on_numpy_are_what_they_declare(dtype: str, name: str, numbers: tuple[int, int]) -> None:
    found = find_formulation("matmul_precision", name, "numpy")
    compute = support("matmul_precision", name, NUMPY, dtype)
    assert found is not None
    assert isinstance(compute, str)
    fmt = FORMATS[dtype]
    one = NUMPY.from_bits(encode(fmt, np.ones(1)), fmt)
    with np.errstate(all="ignore"):
        native = found.build(NUMPY.namespace(DTYPES[dtype], checked=True), one)()
    bits = [NUMPY.to_bits(x) for x in native]
    outputs = {n: decode(FORMATS[f], b) for n, (b, f) in zip(OPERATION.outputs, bits, strict=True)}
    assert (outputs["input_bits"].item(), outputs["accumulator_bits"].item()) == numbers
    assert beyond(outputs, dtype, compute) == set()


@pytest.mark.parametrize(
    ("name", "limit", "worse"),
    [
        ("input_bits", 11.0, 10.0),
        ("product_bits", 21.0, 20.0),
        ("accumulator_bits", 24.0, 23.0),
        ("rounding_error", 0.5, 0.5 + 2.0**-11),
        ("min_product", 2.0**-24, 2.0**-23),
        ("min_input", 2.0**-24, 2.0**-23),
    ],
)
def test_what_is_declared_is_the_limit(name: str, limit: float, worse: float) -> None:
    """float16 added up in float32: factors of 11 bits, products of 21, ½ of a unit, least number 2⁻²⁴."""
    right = dict(zip(OPERATION.outputs, (11.0, 21.0, 24.0, 0.25, 2.0**-24, 2.0**-24), strict=True))
    for value, expected in ((limit, set()), (worse, {name})):
        outputs = {n: np.array([x]) for n, x in {**right, name: value}.items()}
        assert beyond(outputs, "float16", "float32") == expected


def test_the_terms_of_a_sum_cancel_in_an_accumulator_that_is_wide_enough() -> None:
    """Every partial sum of every row is a multiple of s of at most 2^(r+1)·s: r + 1 bits hold it."""
    for most, inner in matmul_precision.SMALL_TERMS:
        for r in (1, 7, 24, 53):
            rows = matmul_precision._cancelling(2.0**30, r, min(most, 1 << r), inner)
            assert rows.shape[1] == inner
            multiples = rows / 2.0 ** (30 - r)
            assert (multiples == np.rint(multiples)).all()
            partial = np.cumsum(multiples.astype(np.int64), axis=1)
            assert (partial[:, -1] == 0).all()
            assert np.abs(partial).max() <= 2 ** (r + 1)


def test_the_probe_starts_at_one() -> None:
    problem = ExactProblem("matmul_precision", {"one": np.array([2.0])}, {}, DTYPES["float32"])
    with pytest.raises(InputError, match="its input is that one number"):
        OPERATION.reference(problem)


@pytest.mark.parametrize(
    ("name", "impossible"),
    [
        ("input_bits", 12.0),
        ("product_bits", 22.0),
        ("accumulator_bits", 29.0),
        ("min_product", 0.0),
        ("min_product", -(2.0**-24)),
        ("min_input", 0.0),
        ("min_input", -1.0),
    ],
)
def test_what_no_probe_can_have_found_is_refused(name: str, impossible: float) -> None:
    """float16 has 11 bits, products of 21, 28 places that sums can show, and nothing below 2⁻²⁴."""
    right = dict(zip(OPERATION.outputs, (11.0, 21.0, 24.0, 0.25, 2.0**-24, 2.0**-24), strict=True))
    outputs = {n: np.array([x]) for n, x in {**right, name: impossible}.items()}
    assert beyond(outputs, "float16", "float32") == {name}
