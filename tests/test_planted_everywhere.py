"""Every operation's judge is itself judged: what is planted by `planting.py` has to be caught.

In float64 and in float32 (in bfloat16, where an operation has neither), in each output:

- zeros (ones, where zeros are right), and one answer at least that is off by one and differs from the exact
  values by a thousandth of their size or more, in the 2-norm, in one problem of each dtype or more;
- wherever zeros are caught, values in the wrong places that differ by half the size or more;
- a last element left out, of each input, in some output: not in every problem, for where it is
  ill-conditioned the answer to other data may be as good;
- forms that a rule declares to break, and the next number where only the correctly rounded one is right, in
  every problem and every dtype;
- 1 + 8u, in one problem or more, unless `planted/margins.py` says what its bound is made of; bounds that are
  derived by a machine are listed there by what derives them, and may not exceed a few hundred u.

A problem in which zeros pass is one whose bound is larger than its values, as it may be where the problem is
ill-conditioned; `benchmarks/plant_wrong_answers.py` tells of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.formats import FORMATS
from harness.registry import OPERATIONS
from tests import planting
from tests.planted import mutations
from tests.planted.findings import (
    FACTORED,
    LAST,
    NAIVE,
    NEXT,
    ONE_LESS,
    ONES,
    ROLLED,
    ZEROS,
    Findings,
    Planted,
    Subject,
)
from tests.planted.margins import DERIVED, FACTOR_ALLOWED, LOOSEST, PASSING
from tests.planted.mutations import FACTOR
from tests.planting import Planter, subjects

OFF_BY_ONE = "off by one"
GROSS, SEEN = 0.5, 2.0**-10
"""Of the size of the exact values: zeros differ from them by 1. Below `SEEN` an answer may be right."""


def complaints(
    findings: Findings,
    factor_allowed: Mapping[str, str] = FACTOR_ALLOWED,
    passing: Mapping[tuple[str, str], str] = PASSING,
) -> Iterator[str]:
    """Yield what is wrong with the judge of a subject, or with the lists."""
    subject, planted = findings.subject, findings.planted
    yield from (f"an honest answer is not judged ok: {text}" for text in findings.refused)
    if not findings.honest:
        yield f"{subject}: no shipped case has a small problem with an honest answer to plant in"
    for output in set(findings.outputs if findings.honest else ()) - {p.output for p in planted}:
        yield f"{subject}/{output}: nothing can be planted in any problem that was tried"
    counting = [p for p in planted if p.dtype in findings.dtypes]
    telling = {(p.place, p.problem) for p in counting if p.constant and p.caught}
    for place in dict.fromkeys(p.place for p in planted):
        here = [p for p in counting if p.place == place]
        for family in (ZEROS, OFF_BY_ONE):
            of_family = [p for p in here if (_moved(p) if family == OFF_BY_ONE else p.constant)]
            unseen = [of_dtype[0] for of_dtype in _by_dtype(of_family) if not any(p.caught for p in of_dtype)]
            moved = [p for p in of_family if p.of_input is None and p.change >= GROSS]
            passed = [p for p in moved if not p.caught and (place, p.problem) in telling]
            if (place, family) not in passing:
                yield from (f"{family}, everywhere in {p.dtype}: {p}" for p in unseen)
                yield from (f"{family}, where zeros are caught: {p}" for p in passed)
            elif not unseen and not passed:
                yield f"margins.PASSING has {place}, {family!r}, which is caught: take it out"
        factored = [p for p in here if p.mutation == FACTORED]
        caught = [p for p in factored if p.caught]
        if caught and place in factor_allowed:
            yield f"margins.FACTOR_ALLOWED has {place}; take it out, for {caught[0]}"
        nearest = max(factored, key=lambda p: p.ratio or 0.0, default=None)
        if nearest is not None and not caught and place not in factor_allowed:
            if findings.judged_by in DERIVED and LOOSEST * (nearest.ratio or 0.0) >= FACTOR:
                continue
            yield f"{nearest}; if its bound is honest, say in margins.FACTOR_ALLOWED what makes it as large"
    for p in planted:
        everywhere = p.mutation == NEXT or p.mutation.startswith(NAIVE)
        if everywhere and not p.caught and (p.place, p.mutation) not in passing:
            yield f"passes: {p}"
    for name in dict.fromkeys(p.of_input for p in counting if p.of_input is not None):
        of_input = [p for p in counting if p.of_input == name and _moved(p)]
        if of_input and not any(p.caught for p in of_input):
            yield f"{subject}: input {name!r} may lack its last element; {of_input[0]}"


def _moved(p: Planted) -> bool:
    """Return whether an answer is off by one, and has to be caught in one problem."""
    return p.off_by_one and (p.caught or p.change >= SEEN)


def _by_dtype(planted: list[Planted]) -> list[list[Planted]]:
    return [[p for p in planted if p.dtype == dtype] for dtype in dict.fromkeys(p.dtype for p in planted)]


@pytest.fixture(scope="module")
def planter(tmp_path_factory: pytest.TempPathFactory) -> Planter:
    return Planter(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("subject", subjects(), ids=str)
def test_what_is_planted_is_caught(planter: Planter, subject: Subject) -> None:
    found = list(complaints(planter.plant(subject)))
    assert not found, "\n".join(found)


def test_the_lists_name_what_there_is() -> None:
    operations = {str(s): OPERATIONS[s.operation] for s in subjects()}
    for place in (*FACTOR_ALLOWED, *(place for place, _ in PASSING)):
        name, output = place.split("/")
        operation = operations[name]
        if name.endswith(", gradient"):
            operation = operation.differentiated(operation.differentiable)
        assert output in operation.outputs, place


# ---- the check is checked as well ------------------------------------------------------------------------


def softmax_under(planter: Planter, monkeypatch: pytest.MonkeyPatch, log2_factor: float) -> Findings:
    """Return what is found where the bound of softmax is 2**log2_factor times what it is."""
    honest = OPERATIONS["softmax"].bound
    assert honest is not None

    def scaled(*given: Any) -> dict[str, Any]:
        return {name: bound + log2_factor for name, bound in honest(*given).items()}

    def score(operation: Any, *given: Any, **named: Any) -> Any:
        return real(replace(operation, bound=scaled), *given, **named)

    real = planting.score
    monkeypatch.setattr(planting, "score", score)
    return planter.plant(Subject("softmax", "forward"))


def test_a_bound_that_forgives_everything_is_noticed(
    planter: Planter, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = "\n".join(complaints(softmax_under(planter, monkeypatch, 2200.0)))
    for dtype in planting.WIDE:
        assert f"zeros, everywhere in {dtype}: softmax/p: zeros passes" in found
    # In float32 one problem has a mask: its share of 0 has a bound of 0, whatever that is multiplied by.
    assert "off by one, everywhere in float64: softmax/p: " in found
    assert "input 'x' may lack its last element" in found


def test_a_bound_that_forgives_nothing_is_noticed(planter: Planter, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(complaints(softmax_under(planter, monkeypatch, -2200.0)))
    assert any(text.startswith("an honest answer is not judged ok") for text in found)


def test_what_has_no_verdict_is_not_caught(planter: Planter, monkeypatch: pytest.MonkeyPatch) -> None:
    real = planting.verdicts

    def undecided(*given: Any) -> list[dict[str, Any]]:
        rows = real(*given)
        return [{**r, "verdict": "inconclusive"} if r["verdict"] == "fail" else r for r in rows]

    monkeypatch.setattr(planting, "verdicts", undecided)
    findings = planter.plant(Subject("softmax", "forward"))
    assert findings.honest
    assert not any(p.caught for p in findings.planted)


def test_the_lists_are_held_to_both_ways(planter: Planter) -> None:
    of_softmax = planter.plant(Subject("softmax", "forward"))
    without = list(complaints(of_softmax, factor_allowed={}))
    assert len(without) == 1
    assert "softmax/p: 1 + 8u passes at 0.533 of the bound" in without[0]  # 8u of 15u
    of_add = planter.plant(Subject("add", "forward"))
    assert list(complaints(of_add)) == []
    too_much = list(complaints(of_add, {"add/s": "no reason"}, {("add/s", ZEROS): "no reason"}))
    assert len(too_much) == 2
    assert all("take it out" in text for text in too_much)


def test_a_bound_that_a_machine_derives_needs_no_line_unless_it_is_loose() -> None:
    subject = Subject("softmax", "forward")
    for ratio, accepted in ((FACTOR / 255, True), (FACTOR / 257, False)):
        passes = Planted(subject, "p", FACTORED, "float64", "problem", "shifted", None, ratio, 1e-15)
        zeros = Planted(subject, "p", ZEROS, "float64", "problem", "shifted", "zeroed", None, 1.0)
        findings = Findings(subject, [passes, zeros], ["one"], dtypes=("float64",), outputs=("p",))
        assert len(list(complaints(findings, factor_allowed={}))) == 1
        findings.judged_by = next(iter(DERIVED))
        assert list(complaints(findings, factor_allowed={})) == [] or not accepted


def test_a_naive_form_that_does_not_break_is_noticed() -> None:
    subject = Subject("softmax", "forward")
    passes = Planted(subject, "p", f"{NAIVE}naive", "bfloat16", "problem", "naive", None, 0.5, 1.0)
    found = list(complaints(Findings(subject, [passes], ["one"], dtypes=("float64",))))
    assert found == ["passes: softmax/p: naive: naive passes at 0.5 of the bound in problem"]


def test_an_output_in_which_nothing_is_planted_is_noticed_and_a_next_number_that_passes() -> None:
    subject = Subject("add", "forward")
    zeros = [Planted(subject, "s", ZEROS, "float64", n, "plain", "zeroed", None, 1.0) for n in ("one", "two")]
    caught = Planted(subject, "s", NEXT, "float64", "one", "plain", "bound_ratio", 2.0, 1e-16)
    passes = replace(caught, problem="two", by=None, ratio=0.5)
    findings = Findings(subject, [*zeros, caught, passes], ["one"], dtypes=("float64",), outputs=("s", "t"))
    assert list(complaints(findings)) == [
        "add/t: nothing can be planted in any problem that was tried",
        "passes: add/s: next number passes at 0.5 of the bound in two",
    ]


def test_values_in_wrong_places_that_pass_where_zeros_are_caught_are_noticed() -> None:
    subject = Subject("add", "forward")

    def planted(mutation: str, problem: str, by: str | None, change: float = 1.0) -> Planted:
        return Planted(subject, "s", mutation, "float64", problem, "plain", by, None, change)

    found = [planted(m, "one", "zeroed") for m in (ZEROS, ROLLED)] + [planted(ZEROS, "two", "zeroed")]
    for passes, told in (
        (
            planted(ROLLED, "two", None),
            ["off by one, where zeros are caught: add/s: rolled by one passes in two"],
        ),
        (planted(ROLLED, "two", None, 0.25), []),  # of half the size and more
        (planted(ROLLED, "three", None), []),  # where zeros would pass
    ):
        findings = Findings(subject, [*found, passes], ["one"], dtypes=("float64",), outputs=("s",))
        assert list(complaints(findings)) == told


def test_a_case_without_an_honest_answer_is_noticed() -> None:
    assert "no shipped case" in next(complaints(Findings(Subject("softmax", "forward"))))


def test_a_gradient_that_no_case_asks_for_is_made_from_the_operations_own_problems(
    planter: Planter, tmp_path: Path
) -> None:
    forward = tuple(c for c in planter.plan.cells if (c.operation, c.mode) == ("softmax", "forward"))
    findings = Planter(tmp_path, replace(planter.plan, cells=forward)).plant(Subject("softmax", "backward"))
    assert len(findings.honest) == 2 * planting.PROBLEMS + planting.FEW
    assert all("differentiated" in text and "naive" not in text for text in findings.honest)
    assert findings.outputs == ("grad_x",)
    assert {p.of_input for p in findings.planted} >= {"x", "cotangent"}
    assert list(complaints(findings)) == []


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        ("softmax", {ZEROS, FACTORED, ROLLED, f"{LAST}x", f"{NAIVE}naive"}),
        ("convert", {ZEROS, FACTORED, ROLLED, ONE_LESS, NEXT, f"{LAST}x", f"{NAIVE}cast"}),
        ("matmul", {ROLLED, ONE_LESS, *(f"{LAST}{name}, axis {axis}" for name in "ab" for axis in (-1, -2))}),
    ],
)
def test_what_can_be_planted_is_planted_and_judged(
    planter: Planter, operation: str, wanted: set[str]
) -> None:
    """A mutation that is never made would be missed by no complaint: another may tell as much."""
    findings = planter.plant(Subject(operation, "forward"))
    assert {p.mutation for p in findings.planted} >= wanted
    for dtype in (*planting.WIDE, "bfloat16"):
        assert {ZEROS, FACTORED} <= {p.mutation for p in findings.planted if p.dtype == dtype}


def test_ones_are_planted_where_zeros_are_right(planter: Planter) -> None:
    findings = planter.plant(Subject("softmax", "backward"))
    zero_rows = [p.problem for p in findings.planted if p.mutation == ONES]
    zeros = [p.problem for p in findings.planted if p.mutation == ZEROS]
    assert zero_rows, "softmax of one logit, or of one that takes all, has the gradient 0"
    assert not set(zero_rows) & set(zeros)


# ---- wrong answers ---------------------------------------------------------------------------------------


def test_the_next_number_is_one_place_away_in_one_element() -> None:
    fmt = FORMATS["bfloat16"]
    wrong = mutations.next_number(np.array([1.0, -1.5, np.inf]), fmt)
    assert wrong.tolist() == [1.0, -1.5 + 2.0**-7, np.inf]
    assert mutations.next_number(np.array([0.0]), fmt).tolist() == [2.0**-133]
    assert mutations.next_number(np.array(1.0), fmt) == 1 - 2.0**-8
    assert np.isnan(mutations.next_number(np.array([np.nan]), fmt)).all()


def test_the_last_element_gives_way_to_its_neighbour() -> None:
    values = np.arange(6.0).reshape(2, 3)
    assert mutations.without_last(values, 1).tolist() == [[0, 1, 1], [3, 4, 4]]
    assert mutations.without_last(values, 0).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert values.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_values_are_rolled_along_the_last_axis_that_can_be() -> None:
    assert mutations.rolled(np.array([[1.0, 2.0, 3.0]])).tolist() == [[3, 1, 2]]
    assert mutations.rolled(np.array([[1.0], [2.0]])).tolist() == [[2], [1]]
    assert mutations.rolled(np.array(1.0)) == 1


def test_a_factor_is_of_the_formats_own_unit() -> None:
    fmt = FORMATS["bfloat16"]
    largest = float(fmt.max_finite)
    values = np.array([1.0, -2.0, 0.0, largest, np.inf])
    assert mutations.factored(values, fmt).tolist() == [1 + 2.0**-5, -2 - 2.0**-4, 0, largest, np.inf]


def test_a_change_is_measured_in_the_size_of_what_is_changed() -> None:
    exact = np.array([3e200, 4e200, np.inf])
    assert mutations.change(np.zeros(3), exact) == np.inf
    assert mutations.change(np.array([0, 0, np.inf]), exact) == 1
    assert mutations.change(np.array([3e200, 9e200, np.inf]), exact) == pytest.approx(1, abs=1e-15)  # 5 of 5
    assert mutations.change(exact, exact) == 0
    assert mutations.change(np.array([1.0]), np.array([0.0])) == np.inf


def test_counts_are_integers_that_have_a_smaller_one() -> None:
    fmt = FORMATS["bfloat16"]
    assert mutations.holds_counts(np.array([3.0, -7.0]), fmt)
    for values in ([0.0, 1.0], [1.5], [np.inf], [np.nan], [256.0], []):
        assert not mutations.holds_counts(np.array(values), fmt)


def test_references_are_kept_in_the_folder(tmp_path: Path) -> None:
    subject = Subject("add", "forward")
    first = Planter(tmp_path).plant(subject)
    assert any(path.is_file() for path in (tmp_path / "references").rglob("*"))
    assert Planter(tmp_path).plant(subject) == first
