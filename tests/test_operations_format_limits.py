"""Limits of formats as measured: right on arithmetic that is, and each departure seen in its own output."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, Precision, decode, encode, round_array
from harness.metrics.score import score
from harness.operations import format_limits
from harness.registry import BACKENDS, OPERATIONS, ExactProblem, Lack, find_formulation, support

catalogue.load()

OPERATION = OPERATIONS["format_limits"]
HALF = FORMATS["float16"]


def scored(dtype: str, outputs: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    problem = ExactProblem("format_limits", {"one": np.ones(1)}, {}, DTYPES[dtype])
    precision = Precision.of(problem.dtype, dtype)
    return score(OPERATION, problem, OPERATION.reference(problem), outputs, precision)


def wrong_outputs(dtype: str, outputs: dict[str, np.ndarray]) -> set[str]:
    rows = scored(dtype, outputs)
    return {name for name, row in rows.items() if row["outcome"] != "ok" or row["bound_ratio"] > 1}


def measured(backend: str, dtype: str, name: str) -> dict[str, np.ndarray]:
    found, on = find_formulation("format_limits", name, backend), BACKENDS[backend]
    assert found is not None
    fmt = FORMATS[dtype]
    with np.errstate(all="ignore"):
        one = on.from_bits(encode(fmt, np.ones(1)), fmt)
        native = found.build(on.namespace(DTYPES[dtype], checked=True), one)()
        bits = [on.to_bits(x) for x in native]
    return {n: decode(FORMATS[f], b) for n, (b, f) in zip(OPERATION.outputs, bits, strict=True)}


@pytest.mark.parametrize("dtype", FORMATS)
def test_reference_is_what_ml_dtypes_and_numpy_say_of_the_format(dtype: str) -> None:
    problem = ExactProblem("format_limits", {"one": np.ones(1)}, {}, DTYPES[dtype])
    found = {n: y.to_float64().item() for n, y in OPERATION.reference(problem).outputs.items() if y.size == 1}
    info = np.finfo(dtype) if dtype in ("float64", "float32", "float16") else ml_dtypes.finfo(dtype)
    assert found["max"] == float(info.max)
    assert found["min_normal"] == float(info.smallest_normal)
    assert found["min_subnormal"] == float(info.smallest_subnormal)
    assert found["eps"] == float(info.eps)


CELLS = [
    (dtype, name)
    for dtype in FORMATS
    for name in ("arithmetic", "conversion")
    if not isinstance(support("format_limits", name, BACKENDS["numpy"], dtype), Lack)
]


@pytest.mark.parametrize(("dtype", "name"), CELLS)
def test_numpy_has_the_limits_of_every_format(dtype: str, name: str) -> None:
    assert wrong_outputs(dtype, measured("numpy", dtype, name)) == set()


def test_every_format_is_measured_in_some_way() -> None:
    assert {dtype for dtype, _ in CELLS} == set(FORMATS)
    assert [dtype for dtype, name in CELLS if name == "arithmetic"] == [
        "float64", "float32", "bfloat16", "float16",
    ]  # fmt: skip


# ---- planted -----------------------------------------------------------------------------------------

Round = Callable[[np.ndarray], np.ndarray]


def namespace(rounded: Round) -> Any:
    """Arithmetic of float16 by another rounding: float64 holds sums and products of float16 exactly."""

    def compute(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *x: rounded(np.asarray(function(*x), np.float64))

    operations = {n: compute(getattr(np, n)) for n in ("add", "subtract", "multiply", "divide", "negative")}
    tests = {n: getattr(np, n) for n in ("equal", "greater", "logical_and", "isfinite", "all")}
    return SimpleNamespace(**operations, **tests, concat=np.concatenate, dtype=DTYPES["float16"])


def by_units(settle: Round) -> Round:
    """Rounding in which `settle` makes numbers in units in the last place integers."""

    def rounded(x: np.ndarray) -> np.ndarray:
        _, exponent = np.frexp(x)
        quantum = np.maximum(exponent - 1, HALF.exponent_min) - HALF.mantissa_bits
        return round_array(HALF, np.ldexp(settle(np.ldexp(x, -quantum)), quantum))

    return rounded


def flushed(x: np.ndarray) -> np.ndarray:
    right = round_array(HALF, x)
    return np.where(np.abs(right) < float(HALF.min_normal), 0.0, right)


def saturated(x: np.ndarray) -> np.ndarray:
    return round_array(HALF, np.clip(x, -65504.0, 65504.0))


def bits_lost(x: np.ndarray) -> np.ndarray:
    return round_array(FORMATS["bfloat16"], round_array(HALF, x))


PLANTED: dict[str, tuple[Round, set[str]]] = {
    "right": (lambda x: round_array(HALF, x), set()),
    "toward zero": (by_units(np.trunc), {"ties"}),
    "up": (by_units(np.ceil), {"ties"}),
    "down": (by_units(np.floor), {"ties"}),
    "ties away": (by_units(lambda v: np.trunc(v + np.copysign(0.5, v))), {"ties"}),
    "subnormals flushed": (flushed, {"min_subnormal"}),
    "overflow saturates": (saturated, {"overflow"}),
    # Eight bits are left three binades below the least number that has eleven.
    "eight bits": (bits_lost, {"max", "eps", "ties", "min_normal"}),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_departure_shows_in_its_own_output(kind: str) -> None:
    rounded, expected = PLANTED[kind]
    with np.errstate(all="ignore"):
        found = format_limits.arithmetic(namespace(rounded), np.ones(1))()
    outputs = dict(zip(OPERATION.outputs, found, strict=True))
    assert wrong_outputs("float16", outputs) == expected
    rows = scored("float16", outputs)
    if kind == "subnormals flushed":
        assert outputs["min_subnormal"].item() == float(HALF.min_normal)
    if kind == "overflow saturates":
        assert rows["overflow"]["outcome"] == "saturated"


def test_roundings_differ_in_the_sums_half_way() -> None:
    kinds = ("right", "toward zero", "up", "down", "ties away")
    with np.errstate(all="ignore"):
        found = [format_limits.arithmetic(namespace(PLANTED[k][0]), np.ones(1))()[-1] for k in kinds]
    assert len({tuple(ties.tolist()) for ties in found}) == len(kinds)


def test_a_flushing_processor_is_seen() -> None:
    torch = pytest.importorskip("torch")
    backend = BACKENDS["torch-cpu"]
    backend.start(1, {})
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        outputs = measured("torch-cpu", "float32", "arithmetic")
    finally:
        torch.set_flush_denormal(False)
    assert wrong_outputs("float32", outputs) == {"min_subnormal"}
    assert outputs["min_subnormal"].item() == 2.0**-126


def test_the_probe_starts_at_one() -> None:
    problem = ExactProblem("format_limits", {"one": np.array([2.0])}, {}, DTYPES["float32"])
    with pytest.raises(InputError, match="starts at 1"):
        OPERATION.reference(problem)
