"""Storage in 8 bits and back: the bound of scaled casts, and where the plain ones lose numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.formats import FORMATS, round_array
from tests.judged import Judged

DTYPES = ("float32", "bfloat16", "float16")
BACKENDS = ("numpy", "torch-cpu")
THROUGH = ("float8_e4m3fn", "float8_e5m2")


def judged(dtype: str, through: str, x: object) -> Judged:
    return Judged("scaled_cast", dtype, parameters={"through": through}, x=x)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("through", THROUGH)
@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_casts_keep_to_the_bound(dtype: str, through: str, backend: str) -> None:
    rng = np.random.default_rng(1)
    for top in (4.0, 448.0, 6e4, 1e-3, 1e30, 1e-30):
        if dtype == "float16" and not 1 < top < 65504:
            continue  # the scale has to be a number of the format
        x = top * rng.uniform(-1, 1, 300) * np.exp2(rng.uniform(-12, 0, 300))
        row = judged(dtype, through, x).row("amax", backend)
        assert (row["outcome"], row["bound_ratio"] <= 1) == ("ok", True), (top, row)


@pytest.mark.parametrize("backend", BACKENDS)
def test_zeros_stay_zeros(backend: str) -> None:
    found = judged("float32", "float8_e4m3fn", [0.0, 0.0])
    for name in ("direct", "clamped", "amax"):
        assert found.outputs(name, backend)["y"].tolist() == [0, 0]


@pytest.mark.parametrize("through", THROUGH)
def test_wrong_answers_are_outside(through: str) -> None:
    x = np.array([1.0, -0.5, 0.3, 2.0])
    found = judged("float32", through, x)
    for wrong in (np.zeros(4), np.roll(x, 1), 1.3 * x):
        row = found.rows({"y": round_array(found.dtype.storage, wrong)})["y"]
        assert row["outcome"] != "ok" or row["bound_ratio"] > 1
    near = round_array(found.dtype.storage, found.inputs["x"] * (1 + 8 * 2.0**-24))
    assert found.rows({"y": near})["y"]["bound_ratio"] <= 1  # 8 bits allow 2⁻⁴ and 2⁻³


def test_beyond_the_largest_each_library_has_its_way() -> None:
    for through, numpy, torch in (("float8_e4m3fn", math.nan, 448.0), ("float8_e5m2", math.inf, math.inf)):
        found = judged("float32", through, [1e5, 1.0])
        np.testing.assert_equal(found.outputs("direct", "numpy")["y"], [numpy, 1])
        np.testing.assert_equal(found.outputs("direct", "torch-cpu")["y"], [torch, 1])
        for backend in BACKENDS:
            largest = float(FORMATS[through].max_finite)
            assert found.outputs("clamped", backend)["y"].tolist() == [largest, 1]
            assert found.row("clamped", backend)["bound_ratio"] > 1
            assert found.row("amax", backend)["bound_ratio"] <= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_scale_itself_underflows_in_float16(backend: str) -> None:
    found = judged("float16", "float8_e4m3fn", [1e-5, -1e-5])
    assert found.outputs("amax", backend)["y"].tolist() == [0, 0]
    assert found.row("amax", backend)["bound_ratio"] > 1
