"""Recipes: one digest on every machine, random numbers checked against their definitions, arguments."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
from flint import arb, ctx, fmpq

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, FORMATS, decode, round_array, round_exact
from harness.model import AxisReference, InputSpec, Problem
from harness.recipes import RandomStream, check_arguments, inputs_digest, make_inputs
from harness.recipes.stream import natural_logarithm
from harness.registry import RECIPES

catalogue.load()

D = Decimal


def problem(*specs, seed=0, case="case", folder="."):
    """A problem whose inputs are (name, recipe, arguments)."""
    inputs = tuple(InputSpec(name, recipe, arguments) for name, recipe, arguments in specs)
    return Problem("key", case, "operation", "float64", "forward", seed, {}, inputs, str(folder))


def make(recipe, dtype="float64", seed=0, **arguments):
    """The one input that a recipe makes."""
    values, _ = make_inputs(problem(("x", recipe, arguments), seed=seed), DTYPES[dtype])
    return values["x"]


# ---- one digest on every machine ---------------------------------------------------------------------

MATRIX = ("A", "conditioned", {"condition": D("1e3"), "shape": [12, 4]})
FAR = ("A", "conditioned", {"condition": D("1e5"), "shape": [12, 4], "mode": "one_small"})
TABLE = {
    "values": [("x", "values", {"values": [[1, D("0.1"), D("-Infinity")], [3, D("1e-9"), D("NaN")]]})],
    "constant": [("x", "constant", {"value": D("0.1"), "shape": [3]})],
    "uniform": [("x", "uniform", {"low": -2, "high": D("3.5"), "shape": [100]})],
    "normal": [("x", "normal", {"shape": [40, 5]})],
    "linspace": [("x", "linspace", {"low": D("0.1"), "high": 7, "shape": [33]})],
    "logspace": [("x", "logspace", {"low": D("0.01"), "high": 7, "shape": [33]})],
    "exponent_uniform": [("x", "exponent_uniform", {"low": D("0.01"), "high": 7, "shape": [100]})],
    "edge_values": [("x", "edge_values", {"which": "all"})],
    "rounding_boundaries": [("x", "rounding_boundaries", {"which": "all", "count": 500})],
    "function_arguments edges": [
        (
            "x",
            "function_arguments",
            {"which": "edges", "near": [D("709.78")], "units": ["ln_max"], "half_pi": True},
        )
    ],
    "function_arguments random": [("x", "function_arguments", {"which": "random", "count": 100, "high": 7})],
    "function_arguments every": [("x", "function_arguments", {"which": "every", "count": 100})],
    "identity": [("x", "identity", {"n": 3})],
    "hilbert": [("x", "hilbert", {"n": 5})],
    "vandermonde": [("x", "vandermonde", {"low": -1, "shape": [5, 3]})],
    "lauchli": [("x", "lauchli", {"epsilon": D("0.01"), "n": 3})],
    "wilkinson": [("x", "wilkinson", {"n": 5})],
    "conditioned": [MATRIX],
    "conditioned one_small": [FAR],
    "orthonormal": [("A", "conditioned", {"condition": 1, "shape": [11, 7]})],
    "image": [MATRIX, ("b", "image", {"matrix": "A"})],
    "image with residual": [MATRIX, ("b", "image", {"matrix": "A", "residual": D("0.1")})],
    "spd": [("x", "spd", {"condition": 50, "n": 5})],
    "spd far": [("x", "spd", {"condition": D("2e4"), "n": 5})],
    "low_rank": [("x", "low_rank", {"rank": 2, "shape": [5, 4]})],
    "dot_conditioned": [
        ("x", "dot_conditioned", {"condition": 1000, "shape": [20]}),
        ("y", "dot_conditioned", {"condition": 1000, "shape": [20], "partner": "x"}),
    ],
}
DIGESTS: dict[str, dict[str, str]] = {
    "values": {
        "float64": "0b2289928812efcf",
        "float32": "ff301fb5a9914984",
        "bfloat16": "e0a260c758ffc38f",
        "float16": "f06523d3720b9216",
    },
    "constant": {
        "float64": "72e30f6e24980a86",
        "float32": "031dfc42b4bff8aa",
        "bfloat16": "10233f85d3d39f8c",
        "float16": "1005ac571d507aa5",
    },
    "uniform": {
        "float64": "733a727863ca9a65",
        "float32": "ec46acc9e51746ed",
        "bfloat16": "23b59b9ecba1bf4c",
        "float16": "34bed8e11f20bf47",
    },
    "normal": {
        "float64": "e9d4c4ec2f3258c8",
        "float32": "cfff50a844372f57",
        "bfloat16": "a5576cfcb3113069",
        "float16": "910132bfb0a8b22f",
    },
    "linspace": {
        "float64": "a211292a11ecfa2a",
        "float32": "ad7ee952130eb146",
        "bfloat16": "ba99f14326fcce3b",
        "float16": "294b990cd119ab1d",
    },
    "logspace": {
        "float64": "1c88dad807876e8a",
        "float32": "9b8afa461178f8ab",
        "bfloat16": "6110f81f87381c29",
        "float16": "71d99af2f3e390ba",
    },
    "exponent_uniform": {
        "float64": "a9695a5d5d8beacd",
        "float32": "d21a548657c39af6",
        "bfloat16": "c450fcc967b2d1fa",
        "float16": "3bdb73b2f921bfef",
    },
    "edge_values": {
        "float64": "db4a25bd2ff4af61",
        "float32": "ddc20e2c79922559",
        "bfloat16": "3c855d9b9238062c",
        "float16": "261a7c8bbc09feab",
    },
    "rounding_boundaries": {
        "float64": "6288c799026d2d1c",
        "float32": "e4228b5c7ae49047",
        "bfloat16": "6b9323f0b7705982",
        "float16": "7808bf1e4be1fb35",
    },
    "function_arguments edges": {
        "float64": "1cea58dc5a9886d5",
        "float32": "9d646d8b4fdaec6d",
        "bfloat16": "a3407024f8b5dc1a",
        "float16": "79b5d80ccb68c3ef",
    },
    "function_arguments random": {
        "float64": "c7aed03c20fc2574",
        "float32": "6457900756961c90",
        "bfloat16": "e1e9fe45d7c39184",
        "float16": "b26ff3cbb53a6178",
    },
    "function_arguments every": {
        "float64": "fffe2a052f089cc8",
        "float32": "5e2d4c15ec77d8d5",
        "bfloat16": "0dc0acbda1642b4a",
        "float16": "08749594288084b8",
    },
    "identity": {
        "float64": "96e92c75f3ed2392",
        "float32": "bfdedc4ad713b192",
        "bfloat16": "df5e6c67362fe6ef",
        "float16": "5ae6a645d1aa007c",
    },
    "hilbert": {
        "float64": "8652bf1decc7451e",
        "float32": "6daf07a84a2daefc",
        "bfloat16": "931aa8c488c72092",
        "float16": "949826b67dc8476a",
    },
    "vandermonde": {
        "float64": "b5e1c88d597ef003",
        "float32": "b4569fc1dca098f0",
        "bfloat16": "2a7fe1023f05f224",
        "float16": "69a9a703f27957ba",
    },
    "lauchli": {
        "float64": "dbc306d65e74a737",
        "float32": "54915cea688c6b68",
        "bfloat16": "a309e0793f548566",
        "float16": "32215935b7b8639e",
    },
    "wilkinson": {
        "float64": "98391729a4c7c689",
        "float32": "87c58f1fb9194bd3",
        "bfloat16": "5e9968b47059d393",
        "float16": "75c38c107c4ecbaf",
    },
    "conditioned": {
        "float64": "79300106e4204c48",
        "float32": "a730efe44c718f6e",
        "bfloat16": "5f2bb8f5acb65a47",
        "float16": "c4c5e285291289b6",
    },
    "conditioned one_small": {
        "float64": "51aab025379fa944",
        "float32": "dc707d2de9740951",
        "bfloat16": "d1a9c29184625bee",
        "float16": "51b7173e274084c8",
    },
    "orthonormal": {
        "float64": "a5f067fa14d7cf90",
        "float32": "12b9cf165af1b2aa",
        "bfloat16": "226a94eeaee8bcfe",
        "float16": "83099da9f55f5703",
    },
    "image": {
        "float64": "1d01202e3fbff820",
        "float32": "498af36df02a0386",
        "bfloat16": "e3c6e77baf6b14c2",
        "float16": "41f3a6448c9898f9",
    },
    "image with residual": {
        "float64": "725a01fc3be52a24",
        "float32": "7706ef87a06a96e6",
        "bfloat16": "cd8f470e9e01785c",
        "float16": "1f7177814e113203",
    },
    "spd": {
        "float64": "1088e5903669498a",
        "float32": "bf88cdeb86f26beb",
        "bfloat16": "a11e6b5f89a64a25",
        "float16": "a04c7c23e1785c17",
    },
    "spd far": {
        "float64": "b75662ce9b9b240e",
        "float32": "2e67a6f159f6e388",
        "bfloat16": "b988c2686ee6a120",
        "float16": "7a837575de15dc3c",
    },
    "low_rank": {
        "float64": "26b8a546c8664274",
        "float32": "5e926c5d3ab38d28",
        "bfloat16": "aea8d26f16d56447",
        "float16": "18734c6e258bc19b",
    },
    "dot_conditioned": {
        "float64": "26947fce07e89c0e",
        "float32": "8d8f83f8cdf823d4",
        "bfloat16": "a381018f5d961e90",
        "float16": "b5794a30e1205fbf",
    },
}


@pytest.mark.parametrize("name", TABLE)
def test_inputs_are_the_same_everywhere(name):
    found = {}
    for dtype in ("float64", "float32", "bfloat16", "float16"):
        values, _ = make_inputs(problem(*TABLE[name], seed=3), DTYPES[dtype])
        found[dtype] = inputs_digest(values, dict.fromkeys(values, FORMATS[dtype]))[:16]
    assert found == DIGESTS[name]


def test_every_recipe_without_a_file_has_a_digest():
    used = {recipe for specs in TABLE.values() for _, recipe, _ in specs}
    assert used == set(RECIPES) - {"file", "all_values"}  # all_values lists codes; a file is its own


def test_the_design_names_every_recipe():
    names = (
        "values uniform normal linspace logspace constant identity hilbert vandermonde lauchli wilkinson "
        "conditioned image spd low_rank dot_conditioned exponent_uniform edge_values all_values file "
        "rounding_boundaries function_arguments"
    )
    assert set(names.split()) == set(RECIPES)


def test_tf32_has_the_inputs_of_float32():
    a, b = (make_inputs(problem(MATRIX), DTYPES[d])[0] for d in ("tf32", "float32"))
    formats = dict.fromkeys(a, DTYPES["tf32"].storage)
    assert inputs_digest(a, formats) == inputs_digest(b, dict.fromkeys(b, FORMATS["float32"]))


def test_an_input_may_be_stored_in_a_format_of_its_own():
    """0.1 on the grid of float64 is 0.1 there, in a cell of bfloat16; boundaries are those of the cell's."""
    tenth = ("x", "values", {"values": [D("0.1")]})
    plain, wide = (
        make_inputs(problem(tenth), DTYPES["bfloat16"], formats)[0]["x"].item()
        for formats in (None, {"x": FORMATS["float64"]})
    )
    assert (plain, wide) == (0.10009765625, 0.1)
    ends = make_inputs(
        problem(("x", "rounding_boundaries", {"count": 4})), DTYPES["bfloat16"], {"x": FORMATS["float64"]}
    )[0]["x"]
    assert ends.max() == float(FORMATS["float64"].max_finite)  # the largest number of the input's format
    assert float(FORMATS["bfloat16"].overflow_threshold) in ends  # where the cell's rounding changes


# ---- random bits -------------------------------------------------------------------------------------


def philox(key, count):
    """Philox4x64-10 in integers, from the paper; NumPy counts up before it draws."""
    mask, words = 2**64 - 1, []
    for counter in range(1, count // 4 + 2):
        c, k = [counter, 0, 0, 0], list(key)
        for _ in range(10):
            a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
            c = [(b >> 64) ^ c[1] ^ k[0], b & mask, (a >> 64) ^ c[3] ^ k[1], a & mask]
            k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
        words += c
    return words[:count]


def test_raw_bits_are_philox_keyed_by_seed_case_and_input():
    stream = RandomStream(7, "some-case", "x")
    hashed = sha256(b"7\0some-case\0x").digest()
    key = [int.from_bytes(hashed[:8], "little"), int.from_bytes(hashed[8:16], "little")]
    expected = philox(key, 12)
    assert stream.bits(5).tolist() + stream.bits(7).tolist() == expected
    assert RandomStream(7, "some-case", "x").uniform(3).tolist() == [(w >> 11) / 2**53 for w in expected[:3]]


def test_streams_differ_by_seed_case_and_input_but_not_by_dtype():
    drawn = [
        make_inputs(problem((name, "uniform", {"shape": [4]}), seed=seed, case=case), DTYPES["float64"])[0][
            name
        ]
        for name, seed, case in [("x", 0, "a"), ("y", 0, "a"), ("x", 1, "a"), ("x", 0, "b")]
    ]
    assert len({tuple(x.tolist()) for x in drawn}) == 4
    fine, coarse = (make("normal", dtype, shape=[50]) for dtype in ("float64", "float16"))
    assert np.array_equal(round_array(FORMATS["float16"], fine), coarse)


def test_the_logarithm_is_good_to_three_ulp():
    words = RandomStream(0, "log", "x")
    x = np.concatenate([words.uniform(2000) + 2.0**-60, 1 - words.uniform(500) * 2.0**-20])
    x = np.concatenate([x, np.ldexp(0.5 + words.uniform(500) / 2, words.integers(500, 100) - 100)])
    got = natural_logarithm(x)
    with ctx.workprec(200):
        for value, logarithm in zip(x.tolist(), got.tolist(), strict=True):
            exact = arb(value).log()
            assert abs(arb(logarithm) - exact) <= 3 * arb(math.ulp(float(exact.mid())))
    assert natural_logarithm(np.array([1.0]))[0] == 0


def test_normal_numbers_are_the_polar_formula():
    drawn = RandomStream(0, "polar", "x").normal(64)
    points = 2 * RandomStream(0, "polar", "x").uniform(2 * (64 // 2 + 64 // 6 + 8)).reshape(-1, 2) - 1
    expected = []
    with ctx.workprec(200):
        for v, w in points.tolist():
            s = v * v + w * w
            if 0 < s < 1:
                expected += [c * (-2 * arb(s).log() / arb(s)).sqrt() for c in (v, w)]
        for got, exact in zip(drawn.tolist(), expected[:64], strict=True):
            assert abs(arb(got) - exact) <= 4 * arb(math.ulp(got))


def test_normal_numbers_are_normal():
    count = 200_000
    drawn = make("normal", shape=[count], seed=11)
    for limit in (-3.0, -2.0, -1.0, -0.5, 0.0, 0.3, 1.0, 2.5, 3.5):
        probability = 0.5 * math.erfc(-limit / math.sqrt(2))
        spread = math.sqrt(probability * (1 - probability) / count)
        # five standard errors: one test in a million would fail if the seed were not fixed
        assert abs(np.mean(drawn < limit) - probability) < 5 * spread
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 5 / math.sqrt(count)
    shifted = make("normal", shape=[count], seed=11, mean=D("2.5"), deviation=3)
    assert np.array_equal(shifted, 2.5 + 3 * drawn)


def test_uniform_numbers_fill_their_interval():
    drawn = make("uniform", shape=[100_000], low=-1, high=3)
    assert drawn.min() >= -1
    assert drawn.max() < 3
    counts, _ = np.histogram(drawn, 16, (-1, 3))
    # χ² with 15 degrees of freedom exceeds 45 once in 13,000
    assert ((counts - 6250) ** 2 / 6250).sum() < 45
    widest = make(
        "uniform", shape=[1000], low=-FORMATS["float64"].max_finite, high=FORMATS["float64"].max_finite
    )
    assert np.isfinite(widest).all()


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16", "float8_e4m3fn"])
def test_exponents_are_uniform(dtype):
    fmt = FORMATS[dtype]
    drawn = make("exponent_uniform", dtype, shape=[20_000])
    assert np.isfinite(drawn).all()
    assert (drawn != 0).all()
    assert ((drawn > 0).mean()) == pytest.approx(0.5, abs=0.02)
    exponents = np.frexp(drawn)[1] - 1
    least = fmt.exponent_min - fmt.mantissa_bits
    counts = np.bincount(exponents - least, minlength=fmt.exponent_max - least + 1)
    assert counts.min() > 0
    inner = counts[fmt.precision : -1]  # rounding moves some to the next binade in coarse grids
    assert inner.std() < 0.25 * inner.mean() + 6 * math.sqrt(inner.mean())


def test_exponent_uniform_stays_in_its_limits():
    drawn = make("exponent_uniform", shape=[5000], low=D("0.3"), high=D("5"), sign="negative")
    assert drawn.max() <= -0.3
    assert drawn.min() >= -5
    assert set((np.frexp(drawn)[1]).tolist()) == {-1, 0, 1, 2, 3}
    narrow = make("exponent_uniform", shape=[500], low=D("1.25"), high=D("1.5"), sign="positive")
    assert narrow.min() >= 1.25
    assert narrow.max() <= 1.5


# ---- literal, spaced, and the format's own -------------------------------------------------------------


def test_values_are_rounded_once_and_keep_specials():
    written = [[D("0.1"), D("1.00390625000000000000000001")], [D("-Infinity"), D("-0")]]
    values, error = make_inputs(problem(("x", "values", {"values": written})), DTYPES["bfloat16"])
    # 1 + 2^−8 is a tie, and the digits beyond it decide: 1 + 2^−7
    expected = [[float(round_exact(FORMATS["bfloat16"], D("0.1"))), 1.0078125], [-np.inf, 0.0]]
    assert values["x"].tolist() == expected
    assert np.signbit(values["x"][1, 1])
    assert error["x"] == pytest.approx(0.00390625 / 1.00390625, rel=1e-12)


def test_the_error_of_the_data():
    def error(dtype, recipe="values", **arguments):
        return make_inputs(problem(("x", recipe, arguments)), DTYPES[dtype])[1]["x"]

    assert error("float64", values=[D("0.5"), 3]) == 0
    assert error("float16", values=[100000, 1]) == math.inf
    assert error("float8_e4m3fn", values=[500]) == math.inf
    assert error("float16", values=[D("1e-9")]) == 1
    assert error("float16", values=[D("Infinity"), D("NaN"), 0]) == 0
    assert 0 < error("float32", "uniform", shape=[100]) < 2.0**-24
    assert error("float64", "uniform", shape=[100]) == 0
    assert 0 < error("float64", values=[D("0.1")]) < 2.0**-53


def test_linspace_has_exact_ends():
    for dtype, n in itertools.product(("float64", "bfloat16"), (1, 2, 3, 1000)):
        x = make("linspace", dtype, low=D("-0.1"), high=D("88.5"), shape=[n])
        assert x[0] == float(round_exact(FORMATS[dtype], Fraction(-0.1)))
        assert x[-1] == (88.5 if n > 1 else x[0])
        assert (np.diff(x) >= 0).all()
    exact = [Fraction(-0.1) + (Fraction(177, 2) - Fraction(-0.1)) * Fraction(i, 999) for i in range(1000)]
    x = make("linspace", low=D("-0.1"), high=D("88.5"), shape=[1000])
    # five roundings of numbers below 89
    assert max(abs(Fraction(a) - b) for a, b in zip(x.tolist(), exact, strict=True)) <= 5 * Fraction(
        89, 2**53
    )


def test_logspace_is_the_nearest_power():
    x = make("logspace", low=D("1e-5"), high=1000, shape=[2, 50])
    assert (x[0, 0], x[1, -1]) == (1e-5, 1000.0)
    with ctx.workprec(300):
        ratio = arb(10) ** 8
        for i, value in enumerate(x.reshape(-1).tolist()):
            exact = arb(fmpq(1, 10**5)) * ratio ** (arb(i) / 99)
            assert abs(arb(value) - exact) <= arb(math.ulp(value)) / 2 * (1 + arb(2) ** -100)
    assert make("logspace", low=-4, high=-1, shape=[3]).tolist() == [-4, -2, -1]


@pytest.mark.parametrize("dtype", [d for d in FORMATS if FORMATS[d].bits <= 16])
def test_all_values_are_all(dtype):
    fmt = FORMATS[dtype]
    finite = make("all_values", dtype)
    codes = np.arange(1 << fmt.bits, dtype=f"u{fmt.storage_bits // 8}")
    everything = decode(fmt, codes)
    assert sorted(finite.tolist()) == sorted(everything[np.isfinite(everything)].tolist())
    extra = make("all_values", dtype, which="all")
    assert len(extra) - len(finite) == 2 * fmt.infinities + fmt.nans


@pytest.mark.parametrize("dtype", list(FORMATS))
def test_edge_values_hold_the_edges_and_their_neighbours(dtype):
    fmt = FORMATS[dtype]
    x = make("edge_values", dtype)
    assert np.isfinite(x).all()
    assert (np.diff(x) >= 0).all()
    edges = {float(fmt.max_finite), float(fmt.min_normal), float(fmt.min_subnormal)}
    edges |= {
        e for e in (1.0, float(fmt.unit_roundoff)) if float(fmt.min_subnormal) <= e <= float(fmt.max_finite)
    }
    assert edges <= set(x.tolist())
    if fmt.signed:
        assert {-e for e in edges} <= set(x.tolist())
    if fmt.min_normal < 1 and fmt.precision > 1:
        assert {1 - float(fmt.unit_roundoff), 1 + 2 * float(fmt.unit_roundoff)} <= set(x.tolist())
    specials = make("edge_values", dtype, which="all")[len(x) :]
    assert np.isnan(specials).sum() == fmt.nans
    assert np.isinf(specials).sum() == 2 * fmt.infinities


# ---- sums and dot products that cancel -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("count", [8, 50, 700])
def test_sums_have_the_condition_asked_for(dtype, count):
    fmt = FORMATS[dtype]
    for condition in (1, 20, 10**4, 100 * 2**fmt.precision):
        specs = [
            ("x", "dot_conditioned", {"condition": condition, "shape": [count]}),
            ("z", "normal", {"shape": [count]}),
            ("y", "dot_conditioned", {"condition": condition, "shape": [count], "partner": "z"}),
        ]
        values, error = make_inputs(problem(*specs), DTYPES[dtype])
        assert error["x"] == error["y"] == 0
        for partner, other in ((np.ones(count), "x"), (values["z"], "y")):
            terms = [
                Fraction(a) * Fraction(b)
                for a, b in zip(partner.tolist(), values[other].tolist(), strict=True)
            ]
            found = sum(map(abs, terms)) / abs(sum(terms))
            assert Fraction(condition, 4) <= found <= 4 * condition  # the factor that the recipe states


def test_sums_that_no_format_holds_are_refused():
    with pytest.raises(InputError, match=r"input 'x': no 4 elements .* found in float16"):
        make("dot_conditioned", "float16", condition=D("1e12"), shape=[4])
    zeros = problem(
        ("z", "constant", {"value": 0, "shape": [4]}),
        ("x", "dot_conditioned", {"condition": 9, "shape": [4], "partner": "z"}),
    )
    with pytest.raises(InputError, match="other than 0"):
        make_inputs(zeros, DTYPES["float32"])


# ---- arguments -----------------------------------------------------------------------------------------

WRONG = [
    ("uniform", {"shape": [3], "lo": 1}, "recipe uniform has no argument 'lo'", "did you mean 'low'?"),
    ("uniform", {}, "recipe uniform needs the argument 'shape'", "extents"),
    ("uniform", {"shape": 3}, "'shape' of recipe uniform is 3; a list of", "shape: [8, 3]"),
    ("uniform", {"shape": [3, 0]}, "every extent is at least 1", None),
    ("uniform", {"shape": [3, D("1.5")]}, "an integer is allowed", None),
    ("uniform", {"shape": [True]}, "a number is allowed", None),
    ("uniform", {"shape": [3], "low": "a"}, "'low' of recipe uniform is 'a'; a number is allowed", None),
    ("uniform", {"shape": [3], "low": D("Infinity")}, "a finite number is allowed", "recipe values"),
    ("uniform", {"shape": [3], "low": D("1e999999")}, "out of range", None),
    ("uniform", {"shape": [3], "low": D("1e400")}, "low is beyond the range of float64", "recipe values"),
    ("uniform", {"shape": [3], "low": 2}, "low is 2.0, above high, 1.0", "exchange"),
    ("normal", {"shape": [3], "deviation": -1}, "deviation is -1; at least 0", None),
    ("exponent_uniform", {"shape": [3], "low": 0}, "low is 0.0", "0 < low"),
    ("exponent_uniform", {"shape": [3], "sign": "plus"}, "not one of its words", "allowed: both"),
    ("logspace", {"shape": [3], "low": 0, "high": 1}, "low is 0.0 and high 1.0", "one sign"),
    ("values", {"values": [[1, 2], [3]]}, "nested unevenly: shapes [1] and [2]", "one length"),
    ("values", {"values": [1, "b"]}, "it holds 'b', and only numbers", None),
    ("values", {"values": [1, True]}, "it holds True", None),
    ("values", {"values": 3}, "a list of numbers is allowed", None),
    ("values", {"values": [D("1e99999999")]}, "1E+99999999 is out of range", None),
    ("hilbert", {"n": 0}, "n is 0; at least 1", None),
    ("hilbert", {"n": D("2.5")}, "an integer is allowed", None),
    ("lauchli", {"n": 2, "epsilon": 0}, "epsilon is 0", None),
    ("vandermonde", {"shape": [3]}, "shape is [3]; a matrix has two dimensions", None),
    ("low_rank", {"rank": 5, "shape": [3, 4]}, "rank is 5; a matrix of 3 × 4 has at most 3", None),
    ("conditioned", {"condition": D("0.5"), "shape": [3, 3]}, "condition is 1/2; at least 1", None),
    ("conditioned", {"condition": 5, "shape": [3, 1]}, "one row or column has condition 1", None),
    ("conditioned", {"condition": 5, "shape": [3, 3], "mode": "big"}, "not one of its words", "one_small"),
    ("all_values", {}, "float64 has 2^64 codes", "edge_values"),
    ("all_values", {"which": 3}, "text is allowed", None),
    ("image", {"matrix": "A"}, "recipe image takes 'matrix' from an earlier input, not 'A'", "nothing"),
    ("unifrom", {}, "unknown recipe 'unifrom'", "did you mean 'uniform'?"),
]


@pytest.mark.parametrize(("recipe", "arguments", "message", "hint"), WRONG)
def test_wrong_arguments_say_what_is_allowed(recipe, arguments, message, hint):
    with pytest.raises(InputError) as caught:
        make_inputs(problem(("x", recipe, arguments)), DTYPES["float64"])
    assert caught.value.message.startswith("input 'x': ")
    assert message in caught.value.message
    assert hint is None or hint in caught.value.hint


def test_all_that_is_wrong_is_told_at_once():
    errors = check_arguments(RECIPES["uniform"], {"lo": 1, "high": "x"}, earlier=[])
    assert [e.message.split(";")[0] for e in errors] == [
        "recipe uniform has no argument 'lo'",
        "argument 'high' of recipe uniform is 'x'",
        "recipe uniform needs the argument 'shape'",
    ]


def test_axes_stand_for_any_kind():
    axis = AxisReference("n")
    arguments = {"condition": axis, "shape": [axis, 3], "mode": axis}
    assert check_arguments(RECIPES["conditioned"], arguments) == []
    assert check_arguments(RECIPES["values"], {"values": [1, axis]}) == []
    assert check_arguments(RECIPES["image"], {"matrix": axis}, earlier=["A"]) == []
    assert check_arguments(RECIPES["image"], {"matrix": "B"}) == []  # not known what comes before


OF_UNKNOWN_SIZE = ("image", "edge_values", "rounding_boundaries", "function_arguments")


@pytest.mark.parametrize("name", TABLE)
def test_sizes_are_known_before_anything_is_made(name):
    values, _ = make_inputs(problem(*TABLE[name]), DTYPES["float32"])
    for input_name, recipe, arguments in TABLE[name]:
        count = RECIPES[recipe].elements(arguments)
        assert count in (None, values[input_name].size)
        assert count is not None or recipe in OF_UNKNOWN_SIZE


def test_huge_sizes_cost_nothing():
    assert RECIPES["normal"].elements({"shape": [10**9, 10**9]}) == 10**18
    assert RECIPES["hilbert"].elements({"n": 10**9}) == 10**18


def test_a_cotangent_is_an_input_too():
    base = problem(("x", "constant", {"value": 1, "shape": [2]}))
    with_cotangent = Problem(
        **{f: getattr(base, f) for f in base.__slots__ if f != "cotangent"},
        cotangent=InputSpec("cotangent", "normal", {"shape": [2]}),
    )
    values, errors = make_inputs(with_cotangent, DTYPES["float32"])
    assert list(values) == list(errors) == ["x", "cotangent"]


def test_listing_recipes_imports_no_numpy():
    code = (
        "import sys, pkgutil, importlib, harness.recipes as r\n"
        "for m in pkgutil.iter_modules(r.__path__): importlib.import_module('harness.recipes.' + m.name)\n"
        "from harness.registry import RECIPES\n"
        "assert RECIPES['uniform'].elements({'shape': [3, 4]}) == 12\n"
        "assert not {'numpy', 'scipy', 'ml_dtypes', 'flint'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
