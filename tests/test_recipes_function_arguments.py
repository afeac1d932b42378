"""Arguments of functions: what is beside their edges, and the numbers nearest to multiples of π/2."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS
from harness.model import InputSpec, Problem
from harness.recipes import make_inputs
from harness.recipes.function_arguments import half_pi_multiples
from harness.registry import RECIPES

catalogue.load()


def made(dtype: str, **arguments: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    spec = InputSpec("x", "function_arguments", arguments)
    problem = Problem("key", "case", "operation", dtype, "forward", 0, {}, (spec,), ".")
    return make_inputs(problem, DTYPES[dtype])[0]["x"]


def distance(x: float) -> float:
    """Return log2 of how far x lies from the nearest multiple of π/2."""
    with ctx.workprec(3000):
        quotient = arb(x) * 2 / arb.pi()
        nearest = (quotient + arb(0.5)).floor()
        return float(abs((quotient - nearest) * arb.pi() / 2).log() / arb(2).log())


def test_the_published_worst_arguments_are_found() -> None:
    """Muller, Elementary Functions, table 11.1: 6381956970095103·2⁷⁹⁷ in double, 16367173·2⁷² in single."""
    for dtype, worst in (("float64", (6381956970095103, 797)), ("float32", (16367173, 72))):
        found = half_pi_multiples(FORMATS[dtype])
        assert math.ldexp(*worst) in found
        assert min(found, key=distance) == math.ldexp(*worst)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_each_binade_has_a_number_near_to_a_multiple(dtype: str) -> None:
    """A convergent's denominator q < 2^p has |q·α − k| < 2^−p: as near as 2^−p·π/2, or a multiple of it."""
    fmt = FORMATS[dtype]
    found = half_pi_multiples(fmt)
    assert [math.frexp(x)[1] - 1 for x in found] == list(range(fmt.exponent_max + 1))
    far = [distance(x) for x in found[1:]]
    assert sorted(far)[len(far) // 2] <= -fmt.precision + 1
    with ctx.workprec(400):  # of the codes of bfloat16 none is nearer in the largest binade
        if dtype == "bfloat16":
            codes = [math.ldexp(m, 120) for m in range(128, 256)]
            assert distance(found[-1]) <= min(map(distance, codes)) + 3


def test_edges_are_those_of_the_format_and_of_the_function() -> None:
    """At 1 the five nearest numbers of float16 are 1 − 2⁻¹⁰, 1 − 2⁻¹¹, 1, 1 + 2⁻¹⁰ and 1 + 2⁻⁹."""
    x = made("float16", which="edges", near=[Decimal("10"), Decimal("1e6")], units=["ln_max"])
    for wanted in (9.984375, 9.9921875, 10, 10.0078125, 10.015625, 11.0859375, 65504, 2.0**-24, math.inf):
        assert wanted in x, wanted
    assert np.isnan(x).sum() == 1
    assert np.signbit(x[x == 0]).any()
    assert not (np.isfinite(x) & (np.abs(x) > 65504)).any()
    base = made("float16", which="edges").size
    assert x.size == base + 10  # 1e6 is beyond the format
    assert made("float16", which="edges", half_pi=True).size == base + 2 * 16


def test_what_lies_beside_a_point_has_its_sign_and_is_a_number_of_the_format() -> None:
    base = made("float16", which="edges")

    def beside(point: str) -> list[float]:
        x = made("float16", which="edges", near=[Decimal(point)])
        assert np.array_equal(x[x.size - base.size :], base, equal_nan=True)
        return sorted(x[: x.size - base.size])

    assert beside("-1") == [-1 - 2.0**-9, -1 - 2.0**-10, -1, -1 + 2.0**-11, -1 + 2.0**-10]
    assert beside("65504") == [65440, 65472, 65504]  # beyond is no number
    assert beside("0") == [0, 2.0**-24, 2.0**-23]
    assert beside("-1e6") == []


def test_multiples_of_half_pi_come_with_both_signs() -> None:
    x = made("float16", which="edges", half_pi=True)
    for multiple in half_pi_multiples(FORMATS["float16"]):
        assert {multiple, -multiple} <= set(x)


def test_how_many_there_are_is_known_of_random_ones_only() -> None:
    elements = RECIPES["function_arguments"].elements
    assert [elements({"which": w}) for w in ("random", "edges", "every")] == [2000, None, None]
    assert elements({"which": "random", "count": 7}) == 7
    assert elements({"which": "edges", "count": 7}) is None


def test_random_arguments_stay_within_the_format() -> None:
    x = made("float16", which="random", count=500, low=Decimal("1e-17"), high=Decimal("1e30"))
    assert np.isfinite(x).all()
    assert (x != 0).all()
    assert {-1.0, 1.0} == set(np.sign(x))
    x = made("float64", which="random", count=500, low=Decimal("0.5"), high=3, sign="negative")
    assert x.min() >= -3
    assert x.max() <= -0.5


def test_every_number_of_16_bits_and_random_ones_of_more() -> None:
    assert made("float16", which="every", count=10).size == 2 * (1 << 15) - 2 * 2**10 + 3
    assert made("float32", which="every", count=10).size == 10


def test_a_wrong_count_or_unit_is_told() -> None:
    with pytest.raises(InputError, match="count is 0"):
        made("float32", which="random", count=0)
    with pytest.raises(InputError, match="unknown unit 'ln_maximum'"):
        made("float32", which="edges", units=["ln_maximum"])
