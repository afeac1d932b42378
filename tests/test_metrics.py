"""Outcomes and metrics of planted outputs, against numbers worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES, Precision
from harness.metrics.published import log_relative_error
from harness.metrics.score import score
from harness.reference.elements import Reference, ReferenceArray
from harness.registry import METRICS, ExactProblem, Operation

INF, NAN = math.inf, math.nan

catalogue.load()


def make_operation(bound: float | None = 0.0, **changes: object) -> Operation:
    """An operation whose bound is one absolute error for every element."""
    log2 = math.log2(bound) if bound else -INF
    settings: dict[str, object] = {
        "name": "planted",
        "title": "Planted",
        "formula": "y",
        "inputs": {"x": "any"},
        "outputs": ("y",),
        "dtypes": ("float32",),
        "reference": lambda problem: None,
        "reference_version": 1,
        "bound_formula": "constant",
        "bound_source": "this test",
        "bound": None if bound is None else lambda *_: {"y": np.array(log2)},
    }
    return Operation(**{**settings, **changes})  # type: ignore[arg-type]


def scored(
    exact: object, computed: object, dtype: str = "float32", bound: float = 0.0, **more: object
) -> dict:
    array = ReferenceArray.from_float64(np.asarray(exact)) if not isinstance(exact, ReferenceArray) else exact
    problem = ExactProblem("planted", {}, {}, DTYPES[dtype])
    operation = more.pop("operation", None) or make_operation(bound)
    reference = Reference({"y": array})
    outputs = {"y": np.asarray(computed, dtype=np.float64)}
    return score(operation, problem, reference, outputs, Precision.of(DTYPES[dtype], dtype), **more)["y"]


def exact_power(base: int, exponent: int) -> ReferenceArray:
    return ReferenceArray.from_fractions([Fraction(base) ** exponent], (1,))


def with_condition(
    condition: object,
    exact: list[float],
    computed: list[float],
    dtype: str = "float64",
    *,
    accumulate: str | None = None,
    **own: float,
) -> dict:
    """Scores of an operation that gives a condition number among its quantities."""
    operation = make_operation(bound=1.0, judge=lambda *_: {"y": own})
    reference = Reference(
        {"y": ReferenceArray.from_float64(np.array(exact))}, {"condition": np.asarray(condition)}
    )
    problem = ExactProblem("planted", {}, {}, DTYPES[dtype])
    precision = Precision.of(DTYPES[dtype], accumulate or dtype)
    return score(operation, problem, reference, {"y": np.array(computed)}, precision)["y"]


@pytest.mark.parametrize(
    ("exact", "computed", "dtype", "outcome"),
    [
        ([1.0], [1.0], "float32", "ok"),
        ([1.0], [NAN], "float32", "not_a_number"),
        ([1.0], [INF], "float32", "overflow"),
        ([1.0], [-INF], "float32", "overflow"),
        ([INF], [INF], "float32", "ok"),
        ([INF], [-INF], "float32", "wrong_class"),
        ([INF], [3.0], "float32", "wrong_class"),
        ([INF], [NAN], "float32", "not_a_number"),
        ([NAN], [NAN], "float32", "ok"),
        ([NAN], [1.0], "float32", "wrong_class"),
        ([NAN], [INF], "float32", "wrong_class"),
        ([1.0], [0.0], "float32", "zeroed"),
        ([2.0**-126], [0.0], "float32", "zeroed"),  # the smallest normal number
        ([2.0**-127], [0.0], "float32", "underflow"),
        ([2.0**-149], [0.0], "float32", "underflow"),
        ([2.0**-150], [0.0], "float32", "ok"),  # the tie rounds to 0
        ([2.0**-150 * 1.5], [0.0], "float32", "underflow"),
        ([0.0], [0.0], "float32", "ok"),
        ([0.0], [1.0], "float32", "ok"),  # judged by the bound, not by class
        ([1e39], [INF], "float32", "ok"),  # rounds to inf
        ([1e39], [-INF], "float32", "overflow"),
        ([1e39], [3.4028234663852886e38], "float32", "saturated"),
        ([-1e39], [-3.4028234663852886e38], "float32", "saturated"),
        ([1e39], [1.0], "float32", "wrong_class"),
        ([0.0], [INF], "float32", "overflow"),
        ([70000.0], [65504.0], "float16", "saturated"),
        ([500.0], [NAN], "float8_e4m3fn", "ok"),  # overflow is NaN in this format
        ([500.0], [448.0], "float8_e4m3fn", "saturated"),
        ([1.0, 2.0, 4.0], [0.0, NAN, INF], "float32", "not_a_number"),  # the worst decides
        ([1.0, 2.0, 4.0], [0.0, 2.0, INF], "float32", "overflow"),
    ],
)
def test_outcome(exact: list[float], computed: list[float], dtype: str, outcome: str) -> None:
    assert scored(exact, computed, dtype)["outcome"] == outcome


def test_an_error_within_the_bound_is_ok_even_for_a_zero() -> None:
    assert scored([2.0**-130], [0.0], bound=2.0**-130)["outcome"] == "ok"
    assert scored([2.0**-130], [0.0], bound=2.0**-131)["outcome"] == "underflow"


def test_the_mean_of_ulps_whose_sum_overflows() -> None:
    assert scored([0.0, 0.0], [2.0**-51, 2.0**-51], "float64")["bias_ulp"] == 2.0**1023


def test_ulps_of_neighbours() -> None:
    ulp = 2.0**-23
    row = scored([1.0, 1.0, 1.5, 1.0], [1.0, 1 + ulp, 1.5 - 2 * ulp, 1.0], bound=ulp)
    assert row["max_ulp"] == 2
    assert row["median_ulp"] in (0, 1)
    assert row["bias_ulp"] == pytest.approx((0 + 1 - 2 + 0) / 4, abs=0)
    assert row["bound_ratio"] == 2
    assert row["worst_index"] == "2"
    assert row["correctly_rounded_fraction"] == 0.5
    assert row["bits"] == 24 - math.log2(4)
    assert row["max_rel_error"] == pytest.approx(2 * ulp / 1.5, rel=1e-12)


def test_bits_of_elements_that_may_cancel_are_those_of_the_whole_output() -> None:
    """An error of 4u beside elements of 1: all digits of the small element are gone, two bits of the norm."""
    u = 2.0**-24
    exact, computed = [1.0, u], [1.0, 5 * u]
    whole = make_operation(1.0, normwise=True)
    assert scored(exact, computed, bound=1.0)["bits"] == 0
    assert scored(exact, computed, operation=whole)["bits"] == pytest.approx(24 - 2, abs=1e-9)
    # each element is correctly rounded, and the norm tells 1/3: 2⁻¹⁴⁹ is all that the format has there
    third = ReferenceArray.from_fractions([Fraction(3, 4) * Fraction(2) ** -149], (1,))
    assert scored(third, [2.0**-149], operation=whole)["bits"] == 24


def test_a_zero_in_the_place_of_a_number_has_no_bits() -> None:
    """Ten times the smallest number: by its error of ten units 24 − log₂ 20 bits would be left of nothing."""
    assert scored([10 * 2.0**-149, 1.0], [0.0, 1.0], bound=1.0)["bits"] == 0
    assert scored([2.0**-151], [0.0], bound=1.0)["bits"] == 24  # it rounds to 0
    assert scored([1.0, 2.0**-149], [1.0, 0.0], operation=make_operation(1.0, normwise=True))["bits"] == 24


def test_a_bias_whose_sum_is_beyond_float64_is_told() -> None:
    # 1e-16 where the exact value is 0: 2.0e307 units of the smallest subnormal each, 1.2e309 together
    row = scored(np.zeros(60), np.full(60, 1e-16), "float64")
    assert row["bias_ulp"] == pytest.approx(1e-16 * 2.0**537 * 2.0**537, rel=1e-12)


def test_the_ulp_is_that_of_the_exact_value_below_a_power_of_two() -> None:
    below = 1 - 2.0**-24
    assert scored([below], [1.0])["max_ulp"] == 1
    assert scored([1.0], [below])["max_ulp"] == 0.5


def test_subnormals_have_one_ulp_and_the_correctly_rounded_one_has_half_at_most() -> None:
    third = ReferenceArray.from_fractions([Fraction(1, 3) * Fraction(2) ** -147], (1,))
    row = scored(third, [2.0**-149])  # 4/3 of the smallest subnormal
    assert row["max_ulp"] == pytest.approx(1 / 3, rel=1e-12)
    assert row["correctly_rounded_fraction"] == 1
    assert row["bits"] == 24


def test_values_beyond_the_range_of_float64() -> None:
    row = scored(exact_power(10, 400), [INF], "float64")
    assert row["outcome"] == "ok"
    assert row["correctly_rounded_fraction"] == 1
    row = scored(exact_power(10, -400), [0.0], "float64")
    assert row["outcome"] == "ok"
    assert row["max_ulp"] < 0.5
    row = scored(exact_power(10, -400), [1e300], "float64", bound=1e-300)
    assert row["outcome"] == "ok"
    assert row["bound_ratio"] == pytest.approx(INF)
    assert row["bits"] == 0


def test_no_error_metric_where_an_element_has_no_error() -> None:
    row = scored([1.0, 2.0], [NAN, 2.0])
    assert not {"bound_ratio", "max_ulp", "bits", "max_rel_error", "norm_rel_error", "bias_ulp"} & set(row)
    assert row["not_a_number_count"] == 1
    assert row["elements"] == 2
    assert row["correctly_rounded_fraction"] == 0.5
    assert row["worst_index"] == "0"


def test_the_same_infinity_has_no_error() -> None:
    row = scored([INF, -INF, 1.0], [INF, -INF, 1.0], bound=1e-9)
    assert row["bound_ratio"] == 0
    assert row["max_ulp"] == 0
    assert row["inf_count"] == 2


def test_undecided_elements_are_counted_and_not_judged() -> None:
    array = ReferenceArray.from_float64(np.array([1.0, 2.0]))
    array.kind[1] = 5
    row = scored(array, [1.0, NAN])
    assert row["undecided"] == 1
    assert row["outcome"] == "ok"
    assert row["max_ulp"] == 0


def test_a_zero_bound_with_an_error_is_an_infinite_ratio() -> None:
    assert scored([1.0], [1 + 2.0**-23])["bound_ratio"] == INF
    assert scored([1.0], [1.0])["bound_ratio"] == 0


def test_signed_zero_counts_only_where_the_operation_says_so() -> None:
    assert scored([0.0], [-0.0])["correctly_rounded_fraction"] == 1
    signed = make_operation(signed_zero=True)
    assert scored([0.0], [-0.0], operation=signed)["correctly_rounded_fraction"] == 0
    assert scored([0.0], [-0.0])["outcome"] == "ok"
    assert scored([0.0], [-0.0], operation=signed)["outcome"] == "wrong_class"
    assert scored([-0.0], [-0.0], operation=signed)["outcome"] == "ok"
    assert scored([1.0], [-0.0], operation=signed)["outcome"] == "zeroed"  # which says more than its sign


def test_a_wrong_shape_is_no_number() -> None:
    row = scored([[1.0, 2.0]], [1.0, 2.0])
    assert row == {"outcome": "raised", "error": "output 'y' has shape (2,), not (1, 2)"}


def test_own_judge_gives_the_ratio_and_is_not_asked_about_nan() -> None:
    def judge(*_: object) -> dict[str, dict[str, float]]:
        return {"y": {"bound_ratio": 7.0, "backward_error": 1e-9, "condition": 3.0, "norm_rel_error": 0.5}}

    operation = make_operation(bound=None, judge=judge)
    row = scored([1.0, 2.0], [1.0, 0.0], operation=operation)
    assert (row["bound_ratio"], row["backward_error"], row["condition"]) == (7.0, 1e-9, 3.0)
    assert row["outcome"] == "zeroed"
    row = scored([1.0], [NAN], operation=operation)
    assert "bound_ratio" not in row
    assert row["outcome"] == "not_a_number"


@pytest.mark.parametrize(("ratio", "outcome"), [(1.0, "ok"), (1.5, "zeroed")])
def test_own_ratio_decides_about_a_zero(ratio: float, outcome: str) -> None:
    operation = make_operation(bound=None, judge=lambda *_: {"y": {"bound_ratio": ratio}})
    assert scored([2.0], [0.0], operation=operation)["outcome"] == outcome


def test_own_judge_sees_finite_outputs_only() -> None:
    def judge(_problem: object, _reference: object, outputs: dict, _precision: object) -> dict:
        assert np.isfinite(outputs["y"]).all()
        return {"y": {"norm_rel_error": 0.125}}

    operation = make_operation(bound=None, judge=judge)
    assert scored([1.0, 1.0], [1.0, 2.0], operation=operation)["norm_rel_error"] == 0.125
    assert "norm_rel_error" not in scored([1.0], [INF], operation=operation)


def test_the_worst_element_is_that_of_the_worst_outcome() -> None:
    """An error of 1 that is a zero comes before one of 99, which its class allows."""
    assert scored([100.0, 1.0, 4.0], [1.0, 0.0, 4.0], bound=0.5)["worst_index"] == "1"


def test_the_worst_element_is_told_in_full() -> None:
    """1/3 to 32 digits, as many as certified; what was computed is exact in fewer."""
    exact = ReferenceArray.from_fractions([Fraction(1), Fraction(1, 3)], (2,))
    row = scored(exact, [1.0, 0.25], bound=1.0)
    assert (row["worst_index"], row["worst_computed"]) == ("1", "0.25")
    assert Fraction(row["worst_exact"]) == Fraction(10**32 // 3, 10**32)


def test_an_elementwise_operation_tells_what_it_took_at_its_worst_element() -> None:
    """1 + 2⁻²³ is 0x1.000002p+0; of several inputs each has its name, and other operations tell nothing."""

    def told(elementwise: bool, inputs: dict[str, list[float]]) -> object:
        operation = make_operation(bound=1.0, elementwise=elementwise)
        arrays = {name: np.array(values) for name, values in inputs.items()}
        problem = ExactProblem("planted", arrays, {}, DTYPES["float32"])
        reference = Reference({"y": ReferenceArray.from_float64(np.array([1.0, 3.0]))})
        precision = Precision.of(DTYPES["float32"], "float32")
        return score(operation, problem, reference, {"y": np.array([1.0, 2.5])}, precision)["y"].get(
            "worst_input"
        )

    x, g = [4.0, 1 + 2.0**-23], [0.0, -INF]
    assert told(True, {"x": x}) == "0x1.0000020000000p+0"
    assert told(True, {"x": x, "cotangent": g}) == "x=0x1.0000020000000p+0 cotangent=-inf"
    assert told(False, {"x": x}) is None
    assert told(True, {"x": [1.0]}) is None


def test_only_a_single_finite_element_is_a_value() -> None:
    assert scored([1.0], [0.75], bound=1.0)["value"] == 0.75
    assert "value" not in scored([1.0, 2.0], [1.0, 2.0])
    for far in (INF, NAN):
        assert "value" not in scored([far], [far])


def test_an_exact_zero_has_an_error() -> None:
    row = scored([0.0, 1.0], [2.0**-20, 1.0], bound=2.0**-22)
    assert row["bound_ratio"] == 4
    assert row["max_ulp"] == 2.0**129  # of the smallest subnormal number, 2⁻¹⁴⁹
    assert row["max_rel_error"] == INF


def test_quantiles_are_those_of_elements() -> None:
    """Errors of 0 … 199 ulp: of 200 elements the ranks 0.5·199 = 99.5 and 0.99·199 = 197.01, upwards."""
    row = scored(np.ones(200), 1 + 2.0**-23 * np.arange(200), bound=1.0)
    found = (row["median_ulp"], row["p99_ulp"], row["max_ulp"])
    assert found == pytest.approx((100, 198, 199), rel=1e-13)  # log₂ and back


def test_the_radius_is_the_widest_of_elements_in_their_own_ulps() -> None:
    array = ReferenceArray.from_float64(np.array([1.0, 1024.0]))
    array.radius_log2[...] = [-40.0, -31.0]  # 2⁻¹⁷ and 2⁻¹⁸ of a float32 ulp
    assert scored(array, [1.0, 1024.0])["reference_radius_ulp"] == 2.0**-17


def test_norms_do_not_overflow() -> None:
    row = scored([1e300, 1e300], [1e300, 2e300], "float64", bound=1.0)
    assert row["norm_rel_error"] == pytest.approx(1 / math.sqrt(2), rel=1e-14)


def test_kappa_error_where_the_unit_is_below_the_smallest_number() -> None:
    """κ = 2⁻¹⁰⁷⁰: κ·u is 0 in float64, the quotient of 2⁻¹⁰⁷³ and κ over u is 2⁻³·2⁵³ = 2⁵⁰."""
    assert with_condition(2.0**-1070, [1.0], [1.0])["kappa_error"] == 0
    assert with_condition(2.0**-1070, [2.0**1000], [2.0**1000 * (1 + 2.0**-52)])["kappa_error"] == INF
    row = with_condition(2.0**-1070, [1.0], [1.0], norm_rel_error=2.0**-1073)
    assert row["kappa_error"] == 2.0**50


def test_kappa_error_of_a_known_condition() -> None:
    """‖ŷ − y‖/‖y‖ = 2⁻²⁰, κ = 2⁸: 2⁻²⁸ in units of u = 2⁻²⁴ (float32), whatever sums are taken in."""
    row = with_condition([2.0**4, 2.0**8], [4.0], [4.0 + 2.0**-18], "float32", accumulate="float64")
    assert row["condition"] == 2.0**8
    assert row["kappa_error"] == 2.0**-4
    assert "kappa_error" not in with_condition(0.0, [1.0], [1.0])
    assert "kappa_error" not in with_condition(INF, [0.0], [1.0])  # ∞/∞ is no number


@pytest.mark.parametrize(
    ("computed", "certified", "digits", "lre"),
    [
        (1.0, Fraction(1), 15, 15.0),
        (0.999, Fraction(1), 15, 3.0),
        (NAN, Fraction(1), 15, 0.0),
        (0.0, Fraction(1), 15, 0.0),
        (0.001, Fraction(0), 9, 3.0),
        (1 + 2.0**-52, Fraction(1), 15, 15.0),  # 15.65, of which 15 are printed
        (5.0, Fraction(1), 15, 0.0),
    ],
)
def test_log_relative_error(computed: float, certified: Fraction, digits: int, lre: float) -> None:
    assert log_relative_error(computed, certified, digits) == pytest.approx(lre, abs=1e-9)


def test_published_values_are_compared_in_order_and_length() -> None:
    published = {"y": ((Fraction(1), Fraction(2)), 15)}
    assert scored([1.0, 2.0], [1.0, 2.0 + 2.0**-9], published=published)["lre"] == pytest.approx(
        10 * math.log10(2), abs=1e-9
    )
    with pytest.raises(InputError, match="has 2 values, the output has 1"):
        scored([1.0], [1.0], published=published)


def test_every_metric_is_described() -> None:
    for metric in METRICS.values():
        assert metric.title
        assert metric.unit
        assert metric.formula
        assert metric.source
        assert metric.better in {"low", "high", "none"}
        assert metric.display in {"scientific", "fixed", "integer", "percent", "text"}
