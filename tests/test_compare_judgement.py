"""Verdict, kind and words of a pair: every kind there is, from digits and from times of a model."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from harness import catalogue
from harness.compare.judgement import Known, alone, judged, nulls_by_decade, worst_first
from harness.compare.measure import Measuring, Timed
from harness.compare.model import ACCURACY, KINDS, VERDICTS, Pair, Side
from harness.compare.pairs import CellPair
from harness.execute.loop import StopAsked
from harness.execute.rounds import SideError
from tests.modelled_times import Model, cell, measured

GOOD = {
    "output": "s", "outcome": "ok", "verdict": "pass", "reason": "", "bound_ratio": 0.2, "bits": 22.0,
    "max_ulp": 2.0, "dtype": "float32", "compute_dtype": "float32", "inputs_digest": "i",
    "result_digest": "r", "axes": "{}",
}  # fmt: skip
DIGITS: dict[str, dict[str, Any]] = {
    "same": {},
    "changed": {"result_digest": "q"},
    "better": {"result_digest": "q", "bound_ratio": 0.01},
    "worse": {"result_digest": "q", "bound_ratio": 0.9},
    "not_compared": {"outcome": "raised", "verdict": "fail"},
}


@pytest.fixture(scope="module", autouse=True)
def _catalogue() -> None:
    catalogue.load()


def timed(model: Model) -> Timed:
    """Return the pair `a`, measured on workers of a model."""
    found = measured(model)
    try:
        found.run()
    except StopAsked:
        found.judge()
    return found.pairs[0]


@pytest.fixture(scope="module")
def speeds(_catalogue: None) -> dict[str, Timed]:
    """A pair of each kind of speed."""
    return {
        "slower": timed(Model(head={"a": 1.2})),
        "faster": timed(Model(head={"a": 0.8})),
        "same": timed(Model()),
        "undecided": timed(Model(noise=0.5)),
        "refuted": timed(Model(bias={(0, "head"): 1.1})),
        "luck": timed(Model(bias={(0, "head"): 0.9})),
    }


def known(digits: str = "same", *, allow: bool = False, finished: bool = True, **failures: str) -> Known:
    rows = {"base": {"a": [GOOD]}, "head": {"a": [{**GOOD, **DIGITS[digits]}]}}
    return Known(rows, {side: {"a": why} for side, why in failures.items()}, 3, allow, finished)


def pair_of(found: Timed | None, about: Known) -> Pair:
    a = cell("a")
    return judged(CellPair("a", a, a), found, about)


def ending(pair: Pair) -> tuple[str, str]:
    return pair.verdict, pair.kind


# ---- every kind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "digits", "allow", "verdict", "kind"),
    [
        ("faster", "worse", False, "fail", "traded"),
        ("luck", "worse", False, "fail", "less_accurate"),  # faster in one process only
        ("same", "worse", False, "fail", "less_accurate"),
        ("undecided", "worse", False, "fail", "less_accurate"),
        ("slower", "worse", False, "fail", "less_accurate"),
        ("slower", "same", False, "fail", "slower"),
        ("slower", "better", False, "fail", "slower"),  # more digits do not pay for time
        ("slower", "worse", True, "fail", "slower"),
        ("undecided", "better", False, "inconclusive", "undecided"),
        ("undecided", "worse", True, "inconclusive", "undecided"),
        ("faster", "worse", True, "pass", "less_accurate_allowed"),
        ("same", "worse", True, "pass", "less_accurate_allowed"),
        ("faster", "same", False, "pass", "faster"),
        ("faster", "better", False, "pass", "faster"),
        ("same", "better", False, "pass", "more_accurate"),
        ("same", "changed", False, "pass", "changed"),
        ("same", "same", False, "pass", "same"),
        ("same", "not_compared", False, "pass", "same"),
        ("refuted", "same", False, "pass", "same"),
        ("luck", "same", False, "pass", "same"),
    ],
)
def test_what_time_and_digits_come_to(
    speeds: dict[str, Timed], speed: str, digits: str, allow: bool, verdict: str, kind: str
) -> None:
    found = pair_of(speeds[speed], known(digits, allow=allow))
    assert ending(found) == (verdict, kind), found.reason
    assert found.accuracy == digits
    assert found.error is None
    assert found.reason


def test_every_kind_was_reached_and_each_has_one_verdict(speeds: dict[str, Timed]) -> None:
    found = [
        pair_of(speed, known(digits, allow=allow))
        for speed, digits, allow in itertools.product(speeds.values(), DIGITS, (False, True))
    ]
    found.append(pair_of(None, known(head="ValueError: no")))
    by_kind: dict[str, set[str]] = {}
    for pair in found:
        by_kind.setdefault(pair.kind, set()).add(pair.verdict)
    assert set(by_kind) == set(KINDS)
    assert all(len(verdicts) == 1 for verdicts in by_kind.values())
    # kinds are worst first, and so are their verdicts
    order = [VERDICTS.index(min(by_kind[kind])) for kind in KINDS]
    assert order == sorted(order)
    assert {pair.accuracy for pair in found} == set(ACCURACY)


def test_a_loss_of_digits_fails_whatever_became_of_the_time(speeds: dict[str, Timed]) -> None:
    broken = replace_error(speeds["same"], SideError("head", "crashed", "killed by SIGSEGV"))
    found = pair_of(broken, known("worse"))
    assert ending(found) == ("fail", "less_accurate")
    assert found.error == "head: killed by SIGSEGV"
    assert ending(pair_of(broken, known("worse", allow=True))) == ("inconclusive", "not_measured")
    assert ending(pair_of(None, known("worse"))) == ("fail", "less_accurate")


def replace_error(found: Timed, error: SideError | str) -> Timed:
    return replace(found, error=error)


# ---- what could not be measured -------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["base", "head"])
def test_a_side_without_output_is_named(side: str) -> None:
    found = pair_of(None, known(**{side: "killed by SIGSEGV"}))
    assert ending(found) == ("inconclusive", "not_measured")
    assert found.error == found.reason == f"{side}: killed by SIGSEGV"
    assert (found.ratio, found.rounds, found.speed, found.seconds) == (None, 0, None, 0.0)


def test_the_base_is_named_first() -> None:
    assert pair_of(None, known(base="no", head="neither")).error == "base: no"


def test_what_was_interrupted_is_not_measured_and_what_was_known_is_judged(speeds: dict[str, Timed]) -> None:
    found = pair_of(None, known(finished=False))
    assert (*ending(found), found.error) == ("inconclusive", "not_measured", "interrupted")
    begun = timed(Model(stop_after=5))
    found = pair_of(begun, known(finished=False))
    assert (*ending(found), found.error) == ("inconclusive", "not_measured", "interrupted")
    assert found.rounds == 5
    assert (found.speed, found.threshold, found.ratio_low) == (None, None, None)
    done = pair_of(speeds["same"], known(finished=False))
    assert (*ending(done), done.error) == ("pass", "same", None)


def test_what_was_not_confirmed_yet_is_undecided() -> None:
    found = pair_of(timed(Model(head={"a": 1.2}, stop_after=20)), known(finished=False))
    assert ending(found) == ("inconclusive", "undecided")
    assert "slower in the first workers, not confirmed yet" in found.reason
    assert found.rounds == 20
    assert found.ratio_low is not None
    assert found.ratio_low > 1.1
    found = pair_of(timed(Model(head={"a": 1.2}, stop_after=45)), known(finished=False))
    assert ending(found) == ("inconclusive", "undecided")
    assert "shown again by 2 of 2 fresh sets" in found.reason
    assert (found.confirmed, found.asked_to_confirm) == (2, 3)


def test_another_problem_than_was_asked_for_is_not_compared(speeds: dict[str, Timed]) -> None:
    """A file of inputs that changed between two revisions: neither digits nor times compare."""
    about = known()
    about = replace(about, rows={**about.rows, "head": {"a": [{**GOOD, "inputs_digest": "j"}]}})
    found = pair_of(speeds["same"], about)
    assert ending(found) == ("inconclusive", "not_measured")
    assert found.accuracy == "not_compared"
    assert found.error is not None
    assert "its inputs are not the base's" in found.error
    a, b = cell("a"), replace(cell("a"), problem="other")
    found = judged(CellPair("a", b, a), speeds["same"], about)  # an axis or a dtype differs: as asked
    assert ending(found) == ("pass", "changed")


def test_a_cell_without_a_partner_names_the_side_that_lacks_it() -> None:
    sides = {
        name: Side(name, name, "python", coordinates={"backend": backend})
        for name, backend in (("base", "numpy"), ("head", "torch-cpu"))
    }
    for backend, lacks in (("numpy", "head"), ("torch-cpu", "base")):
        found = alone(cell("x", backend), sides)
        assert ending(found) == ("inconclusive", "not_measured")
        assert found.error == f"{lacks}: has no cell that corresponds to it"
        assert (found.cell, found.base_cell, found.backend) == ("x", "x", backend)


# ---- numbers and words ----------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_rounds_that_judge(speeds: dict[str, Timed]) -> None:
    slow = pair_of(speeds["slower"], known())
    assert slow.ratio is not None
    assert slow.ratio_low is not None
    assert slow.ratio_high is not None
    # noise of 0.5 % a slot: the median of 60 rounds is known to some tenths of a percent
    assert slow.ratio == pytest.approx(1.2, rel=0.005)
    assert 1.19 < slow.ratio_low <= slow.ratio <= slow.ratio_high < 1.21
    assert slow.base_s == pytest.approx(2e-5, rel=0.005)
    assert slow.head_s == pytest.approx(2.4e-5, rel=0.005)
    assert (slow.rounds, slow.calls, slow.timer, slow.threshold) == (60, 15, "wall", 0.03)
    assert (slow.confirmed, slow.asked_to_confirm, slow.speed) == (3, 3, "fail")
    assert slow.confidence is not None
    assert slow.confidence >= 0.95
    assert slow.null is not None
    assert 0 <= slow.null < 0.005
    assert slow.seconds == pytest.approx(80 * Model.round_s)
    same = pair_of(speeds["same"], known())
    assert (same.rounds, same.confirmed, same.asked_to_confirm, same.speed) == (20, None, None, "pass")


@pytest.mark.parametrize(
    ("speed", "says"),
    [
        ("slower", "beyond 3.0%, shown again by 3 of 3 fresh sets"),
        ("faster", "beyond 3.0%, shown again by 3 of 3 fresh sets"),
        ("same", "below 3.0% after 20 rounds"),
        ("undecided", "% after 180 rounds"),
        ("refuted", "slower in the first workers, shown again by 0 of 1 fresh sets"),
        ("luck", "faster in the first workers, shown again by 0 of 1 fresh sets"),
    ],
)
def test_what_decided_is_told(speeds: dict[str, Timed], speed: str, says: str) -> None:
    found = pair_of(speeds[speed], known())
    assert says in found.reason
    assert found.ratio is not None
    assert f"{found.ratio:.3f} × [{found.ratio_low:.3f}, {found.ratio_high:.3f}]" in found.reason


def test_what_is_worse_is_told_first(speeds: dict[str, Timed]) -> None:
    fails = pair_of(speeds["faster"], known("worse")).reason
    allowed = pair_of(speeds["faster"], known("worse", allow=True)).reason
    assert fails.startswith("bound_ratio 0.2 → 0.9 (4.5 ×); 0.8")
    assert allowed.startswith("0.8")
    assert allowed.endswith("; bound_ratio 0.2 → 0.9 (4.5 ×)")


def test_pairs_are_worst_first(speeds: dict[str, Timed]) -> None:
    found = [pair_of(speeds[speed], known(digits)) for speed, digits in itertools.product(speeds, DIGITS)] + [
        pair_of(None, known(base="no"))
    ]
    ordered = sorted(found, key=worst_first)
    assert [VERDICTS.index(p.verdict) for p in ordered] == sorted(VERDICTS.index(p.verdict) for p in found)
    kinds = list(KINDS)
    assert [kinds.index(p.kind) for p in ordered] == sorted(kinds.index(p.kind) for p in found)


def test_nulls_are_told_by_decade() -> None:
    model = Model(
        by_pair={"b": 3e-3, "c": 4e-3, "d": 5e-3}, bias={(0, "twin"): 1.05}, head=dict.fromkeys("abcd", 1.025)
    )
    found = measured(model, "abcd")
    found.run()
    short, long = nulls_by_decade(found)
    assert (short.decade, short.cells, long.decade, long.cells) == (-5, 1, -3, 3)
    assert long.median == pytest.approx(0.05, abs=0.005)
    assert long.median <= long.largest < 0.06
    assert long.threshold == pytest.approx(math.expm1(3 * math.log(1.05)), abs=0.015)
    assert nulls_of(measured(Model())) == []


def nulls_of(found: Measuring) -> list[Any]:
    return list(nulls_by_decade(found))
