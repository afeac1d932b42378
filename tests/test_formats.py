"""Formats: bit patterns against ml_dtypes, rounding against exact arithmetic at every midpoint."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from functools import cache

import ml_dtypes
import numpy as np
import pytest
from flint import arb, ctx, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.formats import (
    DTYPES,
    FORMATS,
    UNITS,
    NumberFormat,
    Precision,
    decode,
    digest,
    encode,
    round_array,
    round_exact,
    round_objects,
    round_pair,
    round_to_grid,
    ulp_exponent,
    unit,
    unit_value,
)

ALL = sorted(FORMATS)
SMALL = [name for name in ALL if FORMATS[name].bits <= 16]
WIDE = ["float32", "float64"]
# a format that nobody has: everything below must follow from its row alone
INVENTED = NumberFormat("float12_e6m5", 12, 6, -30)
LISTABLE = [*(FORMATS[name] for name in SMALL), INVENTED]


def numpy_type(name):
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def word(fmt):
    return np.dtype(f"u{fmt.storage_bits // 8}")


@cache
def magnitudes(fmt):
    """Every finite number ≥ 0 of a format by its code, by the textbook formula in rationals."""
    field_bits, fraction_bits = fmt.exponent_bits, fmt.precision - 1
    bias = 1 - fmt.exponent_min if fmt.subnormals else -fmt.exponent_min
    numbers = []
    for code in range(1 << (field_bits + fraction_bits)):
        field, fraction = divmod(code, 1 << fraction_bits)
        top = field == (1 << field_bits) - 1
        if fmt.specials == "ieee" and top:
            break
        if fmt.specials == "fn" and top and fraction == (1 << fraction_bits) - 1:
            break
        if fmt.subnormals and field == 0:
            numbers.append(Fraction(fraction, 1 << fraction_bits) * Fraction(2) ** (1 - bias))
        else:
            numbers.append((1 + Fraction(fraction, 1 << fraction_bits)) * Fraction(2) ** (field - bias))
    return numbers


def overflowed(fmt, sign):
    largest = float(fmt.max_finite)
    return {"ieee": sign * math.inf, "fn": math.nan, "fnuz": math.nan, "none": sign * largest}[fmt.specials]


def same(a, b):
    """Equal bit by bit, all NaNs being one."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    both = np.isnan(a) & np.isnan(b)
    return bool(((a.view("u8") == b.view("u8")) | both).all())


def midpoint_cases(fmt):
    """(x, expected): every number, every midpoint and both its float64 neighbours, both signs, overflow.

    A tie goes to the even code, except with p = 1, where all significands are 1 and the tie goes to
    the upper number, whose significand in the lower one's quantum is even.
    """
    numbers = magnitudes(fmt)
    cases = []
    for code, (low, high) in enumerate(itertools.pairwise(numbers)):
        middle = (low + high) / 2
        at_tie = low if code % 2 == 0 and fmt.precision > 1 else high
        cases.append((float(low), low))
        cases.append((float(middle), at_tie))
        cases.append((math.nextafter(float(middle), -math.inf), low))
        cases.append((math.nextafter(float(middle), math.inf), high))
    largest = numbers[-1]
    gap = largest - numbers[-2] if fmt.precision > 1 else largest
    limit = float(largest + gap / 2)
    odd = (len(numbers) - 1) % 2 == 1 or fmt.precision == 1
    cases.append((float(largest), largest))
    cases.append((math.nextafter(limit, 0), largest))
    cases.append((limit, None if odd else largest))
    for x in (math.nextafter(limit, math.inf), 2 * limit, 1e300, math.inf):
        cases.append((x, None))
    xs, expected = [], []
    for sign in (1, -1):
        for x, number in cases:
            xs.append(sign * x)
            if sign < 0 and not fmt.signed:
                expected.append(math.nan)
            elif number is None:
                expected.append(overflowed(fmt, sign))
            else:
                value = math.copysign(float(number), sign)
                expected.append(0.0 if value == 0 and fmt.specials == "fnuz" else value)
    return np.array(xs), np.array(expected)


@pytest.mark.parametrize("fmt", LISTABLE, ids=lambda f: f.name)
def test_rounding_is_correct_at_every_midpoint_and_beside_it(fmt):
    xs, expected = midpoint_cases(fmt)
    assert same(round_array(fmt, xs), expected)
    assert same([float(round_exact(fmt, x)) for x in xs.tolist()], expected)
    mantissa, exponent = np.frexp(xs)
    assert same(round_pair(fmt, mantissa, np.zeros_like(xs), exponent), expected)


@pytest.mark.parametrize("fmt", LISTABLE, ids=lambda f: f.name)
def test_a_low_part_however_small_decides_a_tie(fmt):
    numbers = magnitudes(fmt)
    pairs = list(itertools.pairwise(numbers))
    middles = np.array([float((a + b) / 2) for a, b in pairs])
    mantissa, exponent = np.frexp(middles)
    for tiny in (2.0**-60, 5e-324):
        up = round_pair(fmt, mantissa, np.full_like(middles, tiny), exponent)
        down = round_pair(fmt, mantissa, np.full_like(middles, -tiny), exponent)
        assert same(up, [float(b) for _, b in pairs])
        assert same(down, [float(a) for a, _ in pairs])
    values = np.array([Fraction(m) + Fraction(1, 10**400) for m in middles.tolist()], object)
    assert same(round_objects(fmt, values), [float(b) for _, b in pairs])


def wide_neighbours(name, x):
    """The numbers of float32 or float64 beside a rational, found by NumPy's nextafter."""
    kind = np.dtype(name).type
    near = kind(float(x)) if abs(x) <= Fraction(float(np.finfo(kind).max)) else np.finfo(kind).max
    yield from (np.nextafter(near, kind(-np.inf)), near, np.nextafter(near, kind(np.inf)))


def wide_reference(name, x):
    """Nearest of the neighbours, the even bit pattern at a tie."""
    candidates = [c for c in wide_neighbours(name, x) if np.isfinite(c)]
    bits = np.dtype(f"u{np.dtype(name).itemsize}")
    return float(min(candidates, key=lambda c: (abs(Fraction(float(c)) - x), int(c.view(bits)) % 2)))


@pytest.mark.parametrize("name", WIDE)
def test_rounding_to_wide_formats_is_correct_at_sampled_midpoints(name):
    fmt, kind = FORMATS[name], np.dtype(name).type
    rng = np.random.Philox(key=np.array([7, 0], np.uint64))
    size = np.dtype(name).itemsize
    codes = rng.random_raw(4000) >> np.uint64(64 - 8 * size)
    sample = codes.astype(f"u{size}").view(name)
    edges = [0.0, np.finfo(kind).smallest_subnormal, np.finfo(kind).tiny, 1.0, -1.0]
    sample = np.concatenate([sample[np.isfinite(sample)], np.array(edges, name)])
    lows = sample[np.abs(sample) < np.finfo(kind).max]
    highs = np.nextafter(lows, kind(np.inf))
    exact = [(Fraction(float(a)) + Fraction(float(b))) / 2 for a, b in zip(lows, highs, strict=True)]
    step = Fraction(1, 10**1200)
    for shift, expected in (
        (-step, [float(a) for a in lows]),
        (step, [float(b) for b in highs]),
        (Fraction(0), [wide_reference(name, x) for x in exact]),
    ):
        xs = np.array([x + shift for x in exact], object)
        got = round_objects(fmt, xs)
        assert np.array_equal(got, np.array(expected))
        negative = round_objects(fmt, -xs)
        assert same(negative, -got)
    if name == "float32":
        middles = np.array([float(x) for x in exact])
        nearby = np.concatenate([middles, np.nextafter(middles, -np.inf), np.nextafter(middles, np.inf)])
        with np.errstate(over="ignore", under="ignore"):
            hardware = nearby.astype(np.float32).astype(np.float64)  # one correct rounding of the CPU
        assert same(round_array(fmt, nearby), hardware)


@pytest.mark.parametrize("name", ALL)
@settings(derandomize=True, deadline=None, max_examples=150)
@given(data=st.data())
def test_pairs_round_like_the_exact_sum(name, data):
    fmt = FORMATS[name]
    hi = data.draw(
        st.floats(1, 2, exclude_max=True) | st.sampled_from([1.0, 1.5, 1 + 2.0**-52, 2 - 2.0**-52])
    )
    hi *= data.draw(st.sampled_from([1.0, -1.0]))
    half_ulp = 2.0**-53
    lo = data.draw(st.floats(-half_ulp, half_ulp) | st.sampled_from([0.0, half_ulp, -half_ulp, 5e-324]))
    around = st.sampled_from([fmt.exponent_min, fmt.exponent_max, 0, fmt.exponent_min - fmt.precision])
    exponent = data.draw(around) + data.draw(st.integers(-4, 4))
    exact = (Fraction(hi) + Fraction(lo)) * Fraction(2) ** exponent
    got = round_pair(fmt, np.array([hi]), np.array([lo]), np.array([exponent]))
    assert same(got, [float(round_exact(fmt, exact))])
    if name == "float64" and abs(exact) <= fmt.max_finite:
        assert got[0] == float(exact)  # CPython divides integers with one correct rounding


def test_a_pair_just_below_a_power_of_two():
    ulp = 2.0**-53  # of numbers just below 1
    parts = np.array([0.0, -0.25, -0.5, -0.75, -1.0])
    got = round_pair(FORMATS["float64"], np.ones(5), parts * ulp, np.zeros(5))
    assert got.tolist() == [1, 1, 1, 1 - ulp, 1 - ulp]  # −½ is a tie, and 1 is even


@pytest.mark.parametrize("name", [n for n in ALL if FORMATS[n].zero])
def test_the_smallest_low_part_decides_at_half_of_the_smallest_number(name):
    fmt = FORMATS[name]
    least = float(fmt.min_subnormal)
    below = np.full(3, math.frexp(least)[1] - 2)  # half of the smallest number is 1·2^below
    got = round_pair(fmt, np.ones(3), np.array([-5e-324, 0.0, 5e-324]), below)
    assert got.tolist() == [0.0, 0.0, least]


@pytest.mark.parametrize("name", ALL)
def test_pairs_far_beyond_float64(name):
    fmt = FORMATS[name]
    ones = np.array([1.5, -1.5])
    far = round_pair(fmt, ones, np.zeros(2), np.array([10**15, 10**15]))
    assert same(far, [float(round_exact(fmt, 10**400)), float(round_exact(fmt, -(10**400)))])
    tiny = round_pair(fmt, ones, np.zeros(2), np.array([-(10**15), -(2**63)]))
    least = Fraction(1, 10**400)
    assert same(tiny, [float(round_exact(fmt, least)), float(round_exact(fmt, -least))])
    special = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0])
    assert same(
        round_pair(fmt, special, np.zeros(5), np.array([5, -5, 0, 10**9, 0])), round_array(fmt, special)
    )


def test_rounding_twice_is_not_rounding_once():
    bfloat16 = FORMATS["bfloat16"]
    x = 1 + 2.0**-8 + 2.0**-30  # by way of float32 this would be a tie, and 1
    assert round_array(bfloat16, np.array([x]))[0] == 1 + 2.0**-7
    assert float(np.float64(x).astype(ml_dtypes.bfloat16)) == 1.0  # the trap itself, so that it stays known


def test_the_largest_float8_e4m3fn_takes_its_tie():
    fmt = FORMATS["float8_e4m3fn"]
    got = round_array(fmt, np.array([448, 464, np.nextafter(464, 500), 480, 500, -464, -500, np.inf]))
    assert same(got, [448, 448, np.nan, np.nan, np.nan, -448, np.nan, np.nan])
    assert fmt.overflow_threshold == 464
    assert not fmt.overflow_at_tie


def test_small_formats_saturate_and_keep_nan():
    fmt = FORMATS["float4_e2m1fn"]
    got = round_array(fmt, np.array([6.9, 7, 1e9, np.inf, -np.inf, np.nan, 0.25, 0.75, 2.5, 5]))
    assert same(got, [6, 6, 6, 6, -6, np.nan, 0, 1, 2, 4])
    with pytest.raises(ValueError, match="nan at \\(5,\\) is not a number of float4_e2m1fn"):
        encode(fmt, got)


def test_a_format_without_sign_or_zero():
    fmt = FORMATS["float8_e8m0fnu"]
    got = round_array(fmt, np.array([0.0, -0.0, -1.0, 1.49, 1.5, 3.0, 1e-300, 2.0**127 * 1.5, np.nan]))
    assert same(got, [np.nan, np.nan, np.nan, 1, 2, 4, 2.0**-127, np.nan, np.nan])
    assert [round_exact(fmt, Fraction(1, 10**99)), round_exact(fmt, Fraction(3))] == [Fraction(1, 2**127), 4]


def test_signs_of_zero():
    tiny = np.array([-1e-300, 1e-300, -0.0, 0.0])
    assert same(round_array(FORMATS["float16"], tiny), [-0.0, 0.0, -0.0, 0.0])
    assert same(round_array(FORMATS["float8_e5m2fnuz"], tiny), [0.0, 0.0, 0.0, 0.0])
    assert math.copysign(1, round_exact(FORMATS["float16"], Decimal("-0"))) == -1
    assert math.copysign(1, round_exact(FORMATS["float16"], Fraction(-1, 10**30))) == -1
    assert round_exact(FORMATS["float8_e4m3fnuz"], Decimal("-0.0")) == Fraction(0)


@pytest.mark.parametrize("name", ALL)
def test_exact_numbers_of_any_size_and_kind_round(name):
    fmt = FORMATS[name]
    given_ = [Decimal("1e999999999"), Decimal("1e-999999999"), Decimal("NaN"), Decimal("sNaN"), 10**400]
    got = [float(round_exact(fmt, x)) for x in given_]
    above, below = overflowed(fmt, 1), 0.0 if fmt.zero else float(fmt.min_subnormal)
    assert same(got, [above, below, np.nan, np.nan, above])
    assert same([float(round_exact(fmt, Decimal("Infinity")))], [above])
    assert round_exact(fmt, Decimal("0.5")) == round_exact(fmt, Fraction(1, 2)) == round_exact(fmt, 0.5)


@pytest.mark.parametrize("fmt", LISTABLE, ids=lambda f: f.name)
def test_every_code_decodes_and_encodes_back(fmt):
    codes = np.arange(1 << fmt.bits, dtype=word(fmt))
    values = decode(fmt, codes)
    numbers = [float(x) for x in magnitudes(fmt)]
    assert values[: len(numbers)].tolist() == numbers
    nan = np.isnan(values)
    assert np.array_equal(encode(fmt, values)[~nan], codes[~nan])
    if fmt.nans:
        assert set(encode(fmt, values)[nan].tolist()) == {fmt.nan_code}
    assert same(round_array(fmt, values), values)
    assert same(decode(fmt, codes.reshape(2, -1)), values.reshape(2, -1))


@pytest.mark.parametrize("name", SMALL)
def test_every_code_means_what_ml_dtypes_says(name):
    fmt = FORMATS[name]
    codes = np.arange(1 << fmt.bits, dtype=word(fmt))
    with np.errstate(invalid="ignore"):  # signalling NaNs among them
        theirs = codes.view(numpy_type(name)).astype(np.float64)
    assert same(decode(fmt, codes), theirs)
    finite = np.isfinite(theirs)
    assert np.array_equal(encode(fmt, theirs)[finite], codes[finite])


@pytest.mark.parametrize("name", WIDE)
def test_wide_codes_are_those_of_the_processor(name):
    fmt = FORMATS[name]
    values = np.array(
        [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, float(fmt.min_subnormal), float(fmt.max_finite)]
    )
    codes = encode(fmt, values)
    assert np.array_equal(codes, values.astype(name).view(word(fmt)))
    assert same(decode(fmt, codes), values)
    assert encode(fmt, np.array([-np.nan]))[0] == np.array([np.nan], name).view(word(fmt))[0]


@pytest.mark.parametrize("name", ALL)
def test_limits_are_those_that_ml_dtypes_states(name):
    fmt = FORMATS[name]
    info = ml_dtypes.finfo(numpy_type(name))
    assert fmt.bits == info.bits
    assert fmt.mantissa_bits == info.nmant
    assert fmt.exponent_min == info.minexp
    assert fmt.max_finite == Fraction(float(info.max))
    assert fmt.min_normal == Fraction(float(info.tiny))
    assert fmt.min_subnormal == Fraction(float(info.smallest_subnormal))
    # eps is 2u, save where ml_dtypes gives the spacing that its smallest format has at 1
    assert 2 * fmt.unit_roundoff == Fraction(float(info.eps))
    assert fmt.storage_bits == 8 * numpy_type(name).itemsize


@pytest.mark.parametrize("name", SMALL)
def test_overflow_gives_what_ml_dtypes_gives(name):
    fmt = FORMATS[name]
    with np.errstate(all="ignore"):
        beyond = np.array([float(fmt.max_finite) * 4], np.float32).astype(numpy_type(name))
    assert same(beyond.astype(np.float64), [overflowed(fmt, 1)])
    assert fmt.overflow == {"ieee": "inf", "fn": "nan", "fnuz": "nan", "none": "max"}[fmt.specials]


@pytest.mark.parametrize("name", ALL)
def test_the_overflow_threshold_is_sharp(name):
    fmt = FORMATS[name]
    limit, least = fmt.overflow_threshold, Fraction(1, 10**400)
    over = overflowed(fmt, 1)
    assert round_exact(fmt, limit - least) == fmt.max_finite
    assert same([float(round_exact(fmt, limit + least))], [over])
    assert same([float(round_exact(fmt, limit))], [over if fmt.overflow_at_tie else float(fmt.max_finite)])


@pytest.mark.parametrize(
    ("name", "precision", "largest", "threshold_exponent"),
    [
        ("float64", 53, 1.7976e308, 1024),
        ("float32", 24, 3.403e38, 128),
        ("bfloat16", 8, 3.390e38, 128),
        ("float16", 11, 65504, 16),
        ("float8_e5m2", 3, 57344, 16),
        ("float8_e4m3fn", 4, 448, 9),
    ],
)
def test_the_published_table(name, precision, largest, threshold_exponent):
    fmt = FORMATS[name]
    assert fmt.precision == precision
    assert float(fmt.max_finite) == pytest.approx(largest, rel=3e-4)  # the table's four digits
    assert fmt.max_finite < Fraction(2) ** threshold_exponent
    assert 2 * fmt.max_finite >= Fraction(2) ** threshold_exponent


def test_encode_refuses_what_a_format_does_not_hold():
    for name, value in [
        ("float16", 1 + 2.0**-11),
        ("float32", 1e300),
        ("float32", 0.1),
        ("bfloat16", 257.0),
        ("float8_e4m3fn", np.inf),
        ("float8_e4m3fn", 480.0),
        ("float8_e4m3fnuz", -0.0),
        ("float8_e8m0fnu", 0.0),
        ("float8_e8m0fnu", -1.0),
        ("float6_e2m3fn", np.inf),
    ]:
        with pytest.raises(ValueError, match=f"at \\(1,\\) is not a number of {name}"):
            encode(FORMATS[name], np.array([1.0, value]))


def test_decode_refuses_other_words():
    with pytest.raises(ValueError, match="codes of bfloat16 are uint16, found uint8"):
        decode(FORMATS["bfloat16"], np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="6-bit codes, found 0x40"):
        decode(FORMATS["float6_e2m3fn"], np.array([0, 64], np.uint8))


def test_codes_keep_shapes_and_orders():
    values = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for name in ("float32", "bfloat16", "float64"):
        fmt = FORMATS[name]
        assert np.array_equal(decode(fmt, encode(fmt, values)), values)
        assert np.array_equal(decode(fmt, encode(fmt, values.T)), values.T)
        assert encode(fmt, np.array(1.0)).shape == ()
        assert decode(fmt, encode(fmt, np.empty((0, 4)))).shape == (0, 4)


def test_ulp_exponents():
    fmt = FORMATS["float16"]
    assert ulp_exponent(fmt, np.array([0, 15, -14, -20])).tolist() == [-10, 5, -24, -24]


# ---- units -------------------------------------------------------------------------------------------


def ball(x):
    return arb(fmpq(x.numerator, x.denominator))


@pytest.mark.parametrize("name", ALL)
def test_units_are_exact_or_good_to_200_bits(name):
    fmt = FORMATS[name]
    with ctx.workprec(700):
        for kind, of in itertools.product(("ln", "sqrt"), ("max", "min_subnormal")):
            exact = ball(unit(fmt, of))
            exact = exact.log() if kind == "ln" else exact.sqrt()
            error = abs(ball(unit(fmt, f"{kind}_{of}")) / exact - 1)
            assert error < arb(2) ** -200
    assert unit(fmt, "max") == fmt.max_finite
    assert unit(fmt, "unit_roundoff") == Fraction(1, 2**fmt.precision)


def test_roots_of_even_powers_are_exact():
    assert unit(FORMATS["float16"], "sqrt_min_subnormal") == Fraction(1, 2**12)
    assert unit(FORMATS["float64"], "sqrt_min_subnormal") == Fraction(1, 2**537)


@pytest.mark.parametrize(
    ("name", "limit", "digits"),
    [
        ("float64", "709.7827", 4),
        ("float32", "88.7228", 4),
        ("bfloat16", "88.7209", 4),
        ("float16", "11.0901", 4),
        ("float8_e5m2", "11.026", 3),
        ("float8_e4m3fn", "6.140", 3),
    ],
)
def test_where_exp_overflows(name, limit, digits):
    fmt = FORMATS[name]
    with ctx.workprec(200):
        threshold = float(ball(fmt.overflow_threshold).log().mid())
    assert abs(threshold - float(limit)) <= 0.5 * 10**-digits + 1e-12  # rounded to the digits printed
    # times a little over 1 lies beyond it, times 1 does not: what cases rely on
    assert unit_value(fmt, "ln_max", "times", Decimal("1.001")) > Fraction(threshold)
    assert unit_value(fmt, "ln_max", "times", 1) <= Fraction(threshold)


def test_a_dtype_has_the_units_of_its_storage():
    assert unit(DTYPES["tf32"], "ln_max") == unit(FORMATS["float32"], "ln_max")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("of", UNITS)
def test_times_stay_on_their_side_of_the_unit(name, of):
    fmt = FORMATS[name]
    limit = unit(fmt, of)
    for times in (Decimal("0.5"), Decimal("0.99"), 1, Decimal("1.01"), 2, 3):
        value = unit_value(fmt, of, "times", times)
        exact = Fraction(times) * limit
        assert abs(value) >= abs(exact) if times > 1 else abs(value) <= abs(exact)
        assert value == round_to_grid(fmt, value, "nearest")  # on the grid
        quantum = Fraction(2) ** (max(floor_log2_by_search(abs(exact)), fmt.exponent_min) - fmt.precision + 1)
        assert abs(value - exact) < quantum


def floor_log2_by_search(x):
    exponent = math.floor(math.log2(x.numerator) - math.log2(x.denominator)) - 2
    while Fraction(2) ** (exponent + 1) <= x:
        exponent += 1
    return exponent


def test_powers_of_units():
    fmt = FORMATS["float32"]
    assert unit_value(fmt, "unit_roundoff", "powers", -1) == 2**24
    assert unit_value(fmt, "unit_roundoff", "powers", Decimal("-0.5")) == 2**12
    assert unit_value(fmt, "unit_roundoff", "powers", 0) == 1
    assert unit_value(fmt, "max", "powers", 2) == Fraction(fmt.max_finite**2)  # 48 bits: exact
    got = unit_value(FORMATS["float16"], "unit_roundoff", "powers", Decimal("-0.3"))
    assert got.numerator.bit_length() <= 53
    with ctx.workprec(200):
        error = abs(ball(got) / arb(2) ** ball(Fraction(33, 10)) - 1)
    assert error < 2.0**-53  # the nearest of 53 bits
    # Ω² = 2^2048·(1 − 2^−53)² = 2^2048·(1 − 2^−52 + 2^−106), to 53 bits
    assert unit_value(FORMATS["float64"], "max", "powers", 2) == 2**2048 - 2**1996


@pytest.mark.parametrize(
    ("of", "kind", "number", "message"),
    [
        ("ln_mx", "times", 1, "unknown unit 'ln_mx'"),
        ("max", "times", Decimal("NaN"), "is not a number"),
        ("max", "times", Decimal("1e999999"), "out of range"),
        ("max", "powers", 10**9, "out of range"),
        ("ln_min_subnormal", "powers", Decimal("0.5"), "negative and has no power 0.5"),
    ],
)
def test_units_that_cannot_be(of, kind, number, message):
    with pytest.raises(InputError, match=message):
        unit_value(FORMATS["float32"], of, kind, number)


def test_planning_needs_no_numpy():
    code = (
        "import sys; from decimal import Decimal; from harness.formats import *\n"
        "for d in DTYPES.values():\n"
        "    for u in UNITS: unit_value(d, u, 'times', Decimal('1.01'))\n"
        "assert not {'numpy', 'ml_dtypes', 'flint'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- dtypes and digests ------------------------------------------------------------------------------


def test_one_dtype_a_format_and_the_modes_of_some():
    modes = {
        "tf32": "float32",
        "float16_reduced": "float16",
        "bfloat16_reduced": "bfloat16",
        "float16_accumulate": "float16",
    }
    assert set(DTYPES) == {*FORMATS, *modes}
    assert {name: DTYPES[name].storage.name for name in modes} == modes
    tf32 = DTYPES["tf32"]
    assert tf32.storage is FORMATS["float32"]
    assert tf32.u_in == Fraction(1, 2**11)
    precision = Precision.of(tf32, "float32")
    assert (precision.u_in, precision.u_acc, precision.u_out) == (2.0**-11, 2.0**-24, 2.0**-24)
    assert precision.format is FORMATS["float32"]
    mixed = Precision.of(DTYPES["bfloat16"], "float32")
    assert (mixed.u_in, mixed.u_acc, mixed.u_out) == (2.0**-8, 2.0**-24, 2.0**-8)


def test_every_float_of_ml_dtypes_is_a_row():
    theirs = {
        name
        for name, kind in vars(ml_dtypes).items()
        if isinstance(kind, type) and name.startswith(("float", "bfloat")) and name != "finfo"
    }
    assert theirs
    assert theirs <= set(FORMATS)


def test_digest_counts_name_format_shape_and_every_bit():
    x = np.array([1.0, 0.0])
    f32 = FORMATS["float32"]
    base = digest({"x": (f32, x)})
    assert base == "040cd3e17e576c276592a21742556ea4ed72ba5ef8b74360eccc582ba2a7dc1b"
    others = [
        digest({"y": (f32, x)}),
        digest({"x": (FORMATS["float64"], x)}),
        digest({"x": (f32, x.reshape(1, 2))}),
        digest({"x": (f32, -x)}),
        digest({"x": (f32, np.array([1.0, -0.0]))}),
        digest({"x": (f32, x), "y": (f32, x)}),
    ]
    assert len({base, *others}) == 7
    both = {"a": (f32, x), "b": (f32, x)}
    assert digest(both) == digest(dict(reversed(both.items())))
    assert digest({"x": (f32, np.asfortranarray(x))}) == base
    long = np.zeros(100_000)
    last = long.copy()
    last[-1] = 1.0
    assert digest({"x": (f32, long)}) != digest({"x": (f32, last)})
