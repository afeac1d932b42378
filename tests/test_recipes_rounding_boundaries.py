"""Numbers at which a rounding decides: every one of them is there, and none is off the source's grid."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import FORMATS, decode, round_array
from harness.recipes import RandomStream
from harness.registry import RECIPES, RecipeContext

catalogue.load()


def made(source: str, target: str, **arguments: Any) -> np.ndarray:
    stream = RandomStream(0, "test", "x")
    context = RecipeContext(FORMATS[source], FORMATS[target], stream, Path(), {})
    return RECIPES["rounding_boundaries"].make(context, **{"which": "finite", "count": 1 << 15, **arguments})


def magnitudes(name: str) -> np.ndarray:
    fmt = FORMATS[name]
    return decode(fmt, np.arange(fmt.max_code + 1, dtype=f"<u{fmt.storage_bits // 8}"))


@pytest.mark.parametrize("source", ["float64", "float32"])
@pytest.mark.parametrize("target", ["float16", "bfloat16", "float8_e5m2", "float6_e3m2fn"])
def test_numbers_midpoints_and_what_lies_beside_them(source: str, target: str) -> None:
    fmt, word = FORMATS[target], {"float64": np.float64, "float32": np.float32}[source]
    numbers = magnitudes(target)
    ends = [float(fmt.overflow_threshold), 2 * float(fmt.max_finite)]
    midpoints = (numbers[1:] + numbers[:-1]) / 2
    points = np.concatenate([numbers, midpoints, ends])
    points = points[points <= float(FORMATS[source].max_finite)].astype(word)
    beside = [points, np.nextafter(points, word(np.inf)), np.nextafter(points, word(0))]
    expected = np.concatenate(beside).astype(np.float64)
    found = made(source, target)
    finite = expected[np.isfinite(expected)]
    assert np.isin(np.concatenate([finite, -finite]), found).all()
    assert np.array_equal(round_array(FORMATS[source], found), found)
    assert np.count_nonzero(found == 0) == 2
    assert np.array_equal(np.sort(found), found)


def test_both_extremes_of_the_source_are_there() -> None:
    found = made("float64", "float16")
    assert {5e-324, np.finfo(np.float64).max, -5e-324} <= set(found.tolist())


def test_midpoints_that_the_source_cannot_hold_are_enclosed() -> None:
    """From bfloat16 to float16: 2049/2048 lies between two numbers of 8 bits."""
    found = made("bfloat16", "float16")
    assert np.array_equal(round_array(FORMATS["bfloat16"], found), found)
    assert {1.0, 1 + 2.0**-7} <= set(found.tolist())


def test_unsigned_formats_have_one_sign() -> None:
    found = made("float8_e8m0fnu", "float16", which="all")
    finite = found[np.isfinite(found)]
    assert finite.min() == 2.0**-127
    assert np.isnan(found[-1])


@pytest.mark.parametrize(
    ("source", "target", "specials"),
    [
        ("float32", "float16", [-math.inf, math.inf, math.nan]),
        ("float32", "float8_e4m3fn", [-math.inf, math.inf, math.nan]),
        ("float32", "float4_e2m1fn", [-math.inf, math.inf]),
        ("float8_e4m3fn", "float16", [math.nan]),
        ("float6_e2m3fn", "float16", []),
    ],
)
def test_specials_are_those_that_have_a_meaning(source: str, target: str, specials: list[float]) -> None:
    found = made(source, target, which="all")
    assert np.array_equal(found[~np.isfinite(found)], specials, equal_nan=True)
    assert np.isfinite(made(source, target)).all()


def test_a_wide_target_is_sampled_with_its_edges() -> None:
    found = made("float64", "float32", count=100)
    assert 6 * 100 <= found.size <= 2 * 3 * 2 * (100 + 20)
    smallest, largest = 2.0**-149, float(FORMATS["float32"].max_finite)
    assert {smallest, smallest / 2, 2.0**-126, largest, 1 + 2.0**-24, 1.0} <= set(found.tolist())
    assert np.array_equal(found, made("float64", "float32", count=100))


@pytest.mark.parametrize("count", [0, 2**20 + 1])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(InputError, match="from 1 to 1,048,576 are allowed"):
        made("float64", "float32", count=count)


@pytest.mark.parametrize(("target", "nans"), [("float16", 1), ("float4_e2m1fn", 0)])
def test_all_values_leave_nan_out_where_it_has_no_meaning(target: str, nans: int) -> None:
    context = RecipeContext(FORMATS["float16"], FORMATS[target], RandomStream(0, "t", "x"), Path(), {})
    found = RECIPES["all_values"].make(context, which="all")
    assert np.isnan(found).sum() == nans
    assert np.isinf(found).sum() == 2
    assert found.size == 63488 + 2 + nans
