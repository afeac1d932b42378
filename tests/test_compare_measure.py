"""Screening, thresholds, confirmation: with workers whose times come from a seeded model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from harness import catalogue
from harness.compare.measure import Measuring, Settings, Timed, cache_of
from harness.execute.loop import StopAsked
from harness.execute.rounds import Series, SideError, Subject
from harness.execute.timing import BATCH_CELLS
from harness.timing.paired import LOOKS
from tests.modelled_times import FLOOR, FakeTrio, Model, cell, measured


@pytest.fixture(scope="module", autouse=True)
def _catalogue() -> None:
    catalogue.load()


def verdicts(found: Measuring) -> dict[str, str]:
    return {pair.name: pair.verdict for pair in found.pairs}


MANY = [f"p{i:02}" for i in range(30)]


# ---- identical code, slower code ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_identical_code_passes_and_is_not_measured_again(seed: int) -> None:
    found = measured(Model(seed=seed), MANY)
    found.run()
    assert set(verdicts(found).values()) == {"pass"}
    assert len(found.trios) == 1
    assert not any(pair.fresh or pair.shown for pair in found.pairs)
    assert {pair.screened for pair in found.pairs} == {"not slower"}
    # 0.5 % of noise is seen to be below 3 % at the first look
    assert {len(pair.ds) for pair in found.pairs} == {LOOKS[0]}
    assert all(pair.interval is not None and pair.interval.high < 0.03 for pair in found.pairs)


@pytest.mark.parametrize("factor", [1.05, 1.10, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_slower_code_fails_once_all_sets_have_shown_it(factor: float, seed: int) -> None:
    found = measured(Model(seed=seed, head={"slow": factor}), [*MANY[:8], "slow"])
    found.run()
    expected = {**dict.fromkeys(MANY[:8], "pass"), "slow": "fail"}
    assert verdicts(found) == expected
    slow = found.pairs[-1]
    assert slow.screened == "slower"
    assert len(slow.fresh) == 3
    assert not slow.refuted
    assert slow.threshold == FLOOR
    # each fresh set took as many rounds as the first, and what selected the pair does not judge it
    assert [len(series.rounds) for series in slow.fresh] == [20] * 3
    assert len(slow.ds) == 60
    assert slow.series not in slow.judged
    assert slow.shown
    assert slow.confirmation.p_value(slow.threshold) == 2.0**-60
    assert [trio.begun for trio in found.trios[1:]] == [["slow"]] * 3


def test_faster_code_passes_and_is_said_to_be_once_all_sets_have_shown_it() -> None:
    found = measured(Model(head={"fast": 0.9}), ["fast", "same"])
    found.run()
    assert verdicts(found) == {"fast": "pass", "same": "pass"}
    fast, same = found.pairs
    assert (fast.screened, fast.shown, len(fast.fresh)) == ("faster", True, 3)
    assert fast.interval is not None
    assert fast.interval.high < -0.09
    assert fast.confirmation.p_value(FLOOR) == 2.0**-60
    assert (same.screened, same.shown) == ("not slower", False)


def test_what_is_faster_in_one_set_only_is_not_said_to_be_and_passes() -> None:
    found = measured(Model(bias={(0, "head"): 0.9}), MANY[:4])
    found.run()
    assert set(verdicts(found).values()) == {"pass"}
    assert {pair.screened for pair in found.pairs} == {"faster"}
    assert all(pair.refuted and not pair.shown for pair in found.pairs)
    assert len(found.trios) == 2


# ---- what is peculiar to workers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "biased", [{0}, {0, 1}, {0, 1, 2}, {0, 2, 3}, {0, 1, 3}], ids=lambda sets: "".join(map(str, sorted(sets)))
)
def test_what_one_set_of_workers_does_not_show_does_not_fail(biased: set[int]) -> None:
    """8 % of the head in some sets, as a layout of memory makes them, and none in one that confirms."""
    found = measured(Model(bias={(number, "head"): 1.08 for number in biased}), MANY[:6])
    found.run()
    assert "fail" not in verdicts(found).values()
    assert all(pair.refuted for pair in found.pairs)
    assert not any(pair.shown for pair in found.pairs)
    last = min({1, 2, 3} - biased)
    assert len(found.trios) == 1 + last  # refuted pairs are not measured again
    if biased == {0}:
        assert set(verdicts(found).values()) == {"pass"}


def test_a_bias_of_all_sets_is_a_slowdown() -> None:
    found = measured(Model(bias={(number, "head"): 1.08 for number in range(4)}))
    found.run()
    assert verdicts(found) == {"a": "fail"}


def test_what_the_base_shows_against_itself_is_excused() -> None:
    """Twins 2 % beside their base raise δ to e^(3·2 %) − 1 = 6.2 %: 5 % is not gated then, 20 % is."""
    twins = {(number, "twin"): 1.0202 for number in range(4)}
    found = measured(Model(bias=twins, head={"five": 1.05, "twenty": 1.2}), [*MANY[:5], "five", "twenty"])
    found.run()
    assert found.thresholds() == {-5: pytest.approx(0.062, abs=0.004)}
    assert verdicts(found) == {**dict.fromkeys(MANY[:5], "pass"), "five": "pass", "twenty": "fail"}
    five = found.pairs[-2]
    assert five.screened == "slower"  # beyond the floor, and so it was looked at again
    assert five.threshold == pytest.approx(0.062, abs=0.004)
    assert five.null == pytest.approx(0.02, abs=0.003)


def test_at_the_last_look_passes_what_the_null_excuses() -> None:
    """3 %, known to 1 %: the floor cannot tell, and what the base shows against itself is more."""
    twins = {(0, "twin"): 1.0202}
    for looks, screened in (((20,), "not slower"), ((20, 10**6), "undecided")):
        model = Model(noise=0.02, bias=twins, head=dict.fromkeys(MANY[:8], 1.04), looks=looks)
        found = measured(model, MANY[:8])
        if len(looks) == 1:
            found.run()
        else:  # the same rounds, and more to come
            model.stop_after = 160
            with pytest.raises(StopAsked):
                found.run()
        assert Counter(pair.screened for pair in found.pairs)[screened] >= 6


def test_noise_of_one_decade_of_time_excuses_no_other() -> None:
    model = Model(by_pair={"long": 3e-3, "longer": 5e-3}, head={"long": 1.05})
    found = measured(model, [*MANY[:3], "long", "longer"])
    model.bias = {}
    original = FakeTrio.round

    def noisy(self: FakeTrio, series: Series, clock: Callable[[], float]) -> None:
        self.model.bias = {(self.number, "twin"): 1.03} if series.subject.name in MANY else {}
        original(self, series, clock)

    FakeTrio.round = noisy  # type: ignore[method-assign]
    try:
        found.run()
    finally:
        FakeTrio.round = original  # type: ignore[method-assign]
    assert found.thresholds()[-3] == FLOOR
    assert found.thresholds()[-5] > 0.08
    assert verdicts(found)["long"] == "fail"


# ---- noise ----------------------------------------------------------------------------------------------


def test_noise_that_hides_the_answer_is_inconclusive() -> None:
    found = measured(Model(noise=0.5), MANY[:4])
    found.run()
    assert set(verdicts(found).values()) == {"inconclusive"}
    assert {pair.screened for pair in found.pairs} == {"undecided"}
    assert {len(pair.ds) for pair in found.pairs} == {LOOKS[-1]}


def test_less_noise_takes_more_rounds_where_few_do_not_tell() -> None:
    found = measured(Model(noise=0.08, head=dict.fromkeys(MANY[:6], 0.99)), MANY[:6])
    found.run()
    assert "fail" not in verdicts(found).values()
    assert all(len(pair.ds) in LOOKS for pair in found.pairs)
    assert max(len(pair.ds) for pair in found.pairs) > LOOKS[0]


def test_the_last_look_is_when_the_time_is_up() -> None:
    """Rounds that take longer than was planned: the budget ends after 30, and that is a look."""
    model = Model(noise=0.5, round_s=1.0)
    found = measured(model, settings=Settings(floor=FLOOR, budget_s=30.0, seed=1))
    found.run()
    assert len(found.pairs[0].ds) == 30
    assert found.pairs[0].screened == "undecided"
    assert found.pairs[0].seconds == pytest.approx(30.0)


def test_time_that_is_up_at_once_still_buys_what_can_decide() -> None:
    found = measured(Model(round_s=100.0), settings=Settings(floor=FLOOR, budget_s=1.0, seed=1))
    found.run()
    assert len(found.pairs[0].ds) == 8
    assert verdicts(found) == {"a": "pass"}


# ---- many at once ---------------------------------------------------------------------------------------


def confirmed_by(name: str, above: int, below: int) -> Timed:
    """Return a pair whose three fresh sets have rounds at +10 % and at 0, in equal shares."""
    c = cell(name)
    pair = Timed(name, c, c, screened="slower")

    def series(ds: list[float]) -> Series:
        found = [{"base": (1.0, 1.0), "twin": (1.0, 1.0), "head": (1 + d, 1 + d)} for d in ds]
        return Series(Subject(name, {}, 1.0), "wall", "hot", 1, 1, (10,), 0.0, found)

    pair.series = series([0.1] * 10)
    pair.fresh = [series([0.1] * above + [0.0] * below) for _ in range(3)]
    return pair


@pytest.mark.parametrize(("pairs", "fails"), [(1, True), (2, True), (3, False), (10, False)])
def test_what_fails_alone_may_be_chance_among_many(pairs: int, fails: bool) -> None:
    """21 of 30 rounds beyond have p = 0.0214: below 5 %, and 5 %/2, and not 5 %/3."""
    found = measured(Model())
    found.pairs = [confirmed_by(f"p{i}", 7, 3) for i in range(pairs)]
    found.judge()
    p_values = [pair.confirmation.p_value(FLOOR) for pair in found.pairs]
    assert p_values == pytest.approx([0.02139] * pairs, abs=1e-5)
    assert set(verdicts(found).values()) == {"fail" if fails else "inconclusive"}


def test_one_that_is_certain_makes_room_for_the_next() -> None:
    """Holm, not Bonferroni: after two with p = 2⁻³⁰ the third is compared with 5 %."""
    found = measured(Model())
    found.pairs = [confirmed_by("a", 10, 0), confirmed_by("b", 7, 3), confirmed_by("c", 10, 0)]
    found.judge()
    assert verdicts(found) == {"a": "fail", "b": "fail", "c": "fail"}


def test_identical_code_among_many_slow_ones_fails_nowhere() -> None:
    slow = dict.fromkeys(MANY[::2], 1.08)
    found = measured(Model(noise=0.01, head=slow), MANY)
    found.run()
    assert [name for name, word in verdicts(found).items() if word == "fail"] == MANY[::2]


# ---- interrupted ----------------------------------------------------------------------------------------


def test_what_was_known_when_it_was_interrupted_is_kept() -> None:
    """Two batches: the first is done, the second has had 5 rounds of each."""
    names = MANY[: BATCH_CELLS + 3]
    found = measured(Model(stop_after=20 * BATCH_CELLS + 15), names)
    with pytest.raises(StopAsked):
        found.run()
    found.judge()
    known = verdicts(found)
    assert {known[name] for name in names[:BATCH_CELLS]} == {"pass"}
    assert {known[name] for name in names[BATCH_CELLS:]} == {"inconclusive"}
    assert all(pair.screened is None for pair in found.pairs[BATCH_CELLS:])
    assert all(pair.interval is None for pair in found.pairs[BATCH_CELLS:])
    assert sum(len(record["rounds"]) for record in found.recorded) == 20 * BATCH_CELLS + 15
    assert found.trios[0].closed == 0


def test_what_was_not_confirmed_to_the_end_does_not_fail() -> None:
    found = measured(Model(head={"a": 1.2}, stop_after=20 + 20 + 20 + 10))
    with pytest.raises(StopAsked):
        found.run()
    found.judge()
    (pair,) = found.pairs
    assert [len(series.rounds) for series in pair.fresh] == [20, 20, 10]
    assert pair.verdict == "inconclusive"  # the third set has not said what it was asked for
    assert [record["set"] for record in found.recorded] == [0, 1, 2, 3]


@pytest.mark.parametrize("rounds", [0, 1, 25, 45])
def test_an_interruption_at_any_time_can_be_judged(rounds: int) -> None:
    found = measured(Model(head={"a": 1.2}, stop_after=rounds))
    with pytest.raises(StopAsked):
        found.run()
    found.judge()
    assert verdicts(found) == {"a": "inconclusive"}
    assert all(trio.closed is not None for trio in found.trios)


# ---- what breaks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["begin", "round"])
def test_what_breaks_stops_no_other(where: str) -> None:
    error = SideError("head", "crashed", "killed by SIGSEGV")
    found = measured(Model(fails={("b", where): (0, error)}), ["a", "b", "c"])
    found.run()
    assert verdicts(found) == {"a": "pass", "b": "inconclusive", "c": "pass"}
    assert found.pairs[1].error is error
    assert found.pairs[1].screened is None


def test_what_breaks_when_it_is_confirmed_does_not_fail() -> None:
    error = SideError("twin", "timeout", "exceeded 60 s")
    model = Model(head={"a": 1.2, "b": 1.2}, fails={("b", "round"): (2, error), ("b", "begin"): (3, error)})
    found = measured(model, ["a", "b"])
    found.run()
    assert verdicts(found) == {"a": "fail", "b": "inconclusive"}
    assert str(found.pairs[1].error) == "base: exceeded 60 s"
    assert [trio.begun for trio in found.trios] == [["a", "b"]] * 3 + [["a"]] or "b" not in found.trios[
        3
    ].begun


def test_what_breaks_when_it_is_confirmed_is_not_said_to_be_faster() -> None:
    error = SideError("head", "crashed", "killed by SIGSEGV")
    found = measured(Model(head={"a": 0.8}, fails={("a", "round"): (1, error)}))
    found.run()
    assert (found.pairs[0].screened, found.pairs[0].shown) == ("faster", False)
    assert verdicts(found) == {"a": "inconclusive"}


def test_a_time_that_is_none_is_an_error_of_the_pair() -> None:
    found = measured(Model(fails={("a", "round"): (0, ValueError("a slot took no time"))}), ["a", "b"])
    found.run()
    assert found.pairs[0].error == "a slot took no time"
    assert verdicts(found) == {"a": "inconclusive", "b": "pass"}


def test_a_device_that_is_always_slow_ends_it() -> None:
    found = measured(Model(unsteady=("a",), looks=(20,)), ["a", "b"])
    found.run()
    assert found.pairs[0].error == "the device was below its pace in most rounds"
    assert Counter(found.trios[0].rounds)["a"] == 21
    assert verdicts(found)["b"] == "pass"


# ---- in which workers -----------------------------------------------------------------------------------


def test_kinds_of_workers_have_sets_of_their_own() -> None:
    cells = [cell("n1"), cell("t1", "torch-cpu"), cell("n2"), cell("n-2t", threads=2)]
    found = measured(Model(), (), cells=cells)
    found.run()
    assert [(trio.keys[0].name, sorted(trio.begun)) for trio in found.trios] == [
        ("numpy-1t", ["n1", "n2"]),
        ("numpy-2t", ["n-2t"]),
        ("torch-cpu-1t", ["t1"]),
    ]
    assert all(trio.closed == 2.0 for trio in found.trios)


def test_batches_are_small_and_cold_cells_are_alone() -> None:
    cells = [cell(f"h{i:02}") for i in range(BATCH_CELLS + 1)] + [cell("cold", cache="cold"), cell("last")]
    found = measured(Model(), (), cells=cells)
    found.run()
    assert len(found.trios) == 1
    assert found.trios[0].forgotten == 4
    order = list(dict.fromkeys(found.trios[0].rounds))
    assert set(order[:BATCH_CELLS]) == {c.id for c in cells[:BATCH_CELLS]}
    assert order[BATCH_CELLS:] == [f"h{BATCH_CELLS:02}", "cold", "last"]
    assert [cache_of(c) for c in cells[-2:]] == ["cold", "hot"]


def test_pairs_of_a_batch_are_measured_in_turn() -> None:
    found = measured(Model(), ["a", "b", "c"])
    found.run()
    rounds = found.trios[0].rounds
    turns = [rounds[i : i + 3] for i in range(0, 60, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1


def test_sides_are_asked_for_their_own_cells() -> None:
    head = cell("h")
    found = measured(Model(), ["b"])
    group = found._groups["b"]
    pair = Timed("h", found.pairs[0].base, head)
    found._groups = {"b": group, "h": group}
    subject = found._subject(pair)
    assert subject.name == "h"
    assert {side: request["cell"] for side, request in subject.requests.items()} == dict.fromkeys(
        ("base", "twin", "head"), "h"
    )
    assert subject.requests["twin"] == subject.requests["base"]
    assert subject.requests["head"]["input_bytes"] == 32
    assert subject.budget_s == 10.0


# ---- what is written down -------------------------------------------------------------------------------


def test_each_series_is_recorded_once_and_whole() -> None:
    found = measured(Model(head={"a": 1.2}), ["a", "b"])
    found.run()
    assert [(record["cell"], record["set"]) for record in found.recorded] == [
        ("a", 0), ("b", 0), ("a", 1), ("a", 2), ("a", 3)
    ]  # fmt: skip
    for record in found.recorded:
        assert len(record["rounds"]) == 20
        assert set(record) == {
            "cell", "set", "timer", "calls", "sub_blocks", "looks", "discarded", "overhead_fraction",
            "seconds", "rounds",
        }  # fmt: skip
    first = found.pairs[0].series
    assert first is not None
    assert found.recorded[0]["rounds"] == [{k: list(v) for k, v in r.items()} for r in first.rounds]


def test_one_seed_is_one_comparison() -> None:
    def run(seed: int) -> list[str]:
        found = measured(Model(), ["a", "b", "c"], Settings(floor=FLOOR, seed=seed))
        found.run()
        return found.trios[0].rounds

    assert run(5) == run(5)
    assert run(5) != run(6)
