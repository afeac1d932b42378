"""Which slowdown a machine sees: numbers by hand, in words, and what to do about it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.doctor.sight import advice, in_words, percent, sees, sight
from harness.timing import paired


def kernel(name: str, seconds: float, null: float, head: float, half: float) -> dict[str, Any]:
    def ratio(middle: float) -> dict[str, float]:
        return {"median": middle, "low": middle - half, "high": middle + half, "round": half}

    return {"kernel": name, "seconds": seconds, "rounds": 20, "null": ratio(null), "head": ratio(head)}


def decade(number: int, visible: float) -> dict[str, Any]:
    return {"decade": number, "visible": visible}


def test_a_slowdown_is_seen_from_the_threshold_and_half_an_interval_on() -> None:
    quiet = kernel("a", 2e-5, null=0.001, head=-0.001, half=0.004)
    (found,) = sight([quiet])
    assert found["decade"] == -5
    assert found["null"] == pytest.approx(math.expm1(0.001))
    assert found["threshold"] == paired.FLOOR  # 3 × 0.1 % is less
    assert found["visible"] == pytest.approx((1 + paired.FLOOR) * math.exp(0.004) - 1)
    # the interval of such a slowdown, measured with this noise, begins where the threshold ends
    slower = math.log1p(found["visible"])
    assert slower - 0.004 == pytest.approx(math.log1p(found["threshold"]))


def test_a_decade_takes_the_median_of_its_nulls_and_its_widest_interval() -> None:
    kernels = [
        kernel("a", 2e-6, null=0.02, head=-0.03, half=0.001),
        kernel("b", 9e-6, null=-0.02, head=0.09, half=0.05),
        kernel("c", 1.1e-5, null=0.0, head=0.0, half=0.2),
    ]
    short, long = sight(kernels)
    assert (short["decade"], short["kernels"], long["decade"], long["kernels"]) == (-6, 2, -5, 1)
    assert short["null"] == pytest.approx(math.expm1(0.025))  # of 0.02, 0.02, 0.03, 0.09
    assert short["threshold"] == pytest.approx(math.expm1(3 * 0.025))
    assert short["half_width"] == pytest.approx(math.expm1(0.05))
    assert long["visible"] == pytest.approx((1 + paired.FLOOR) * math.exp(0.2) - 1)


def test_too_few_rounds_tell_nothing() -> None:
    short = kernel("a", 2e-6, 0.0, 0.0, 0.0)
    short["head"] |= {"low": None, "high": None}
    assert sight([short]) == []
    assert not sees([])


@pytest.mark.parametrize(
    ("decades", "told"),
    [
        ([decade(-6, 0.05), decade(-5, 0.04), decade(-4, 0.031)],
         "can see a slowdown of 5 % in calls of 1 µs to 1 ms"),
        ([decade(-6, 0.0712), decade(-5, 0.04), decade(-4, 0.05), decade(-3, 0.05)],
         "can see a slowdown of 5 % in calls of 10 µs to 10 ms; of 1 to 10 µs only 8 % and more"),
        ([decade(-6, 0.04), decade(-4, 0.04), decade(-3, 1.2)],
         "can see a slowdown of 5 % in calls of 1 to 10 µs and of 100 µs to 1 ms; "
         "of 1 to 10 ms only 120 % and more"),
        ([decade(-6, 0.2), decade(-5, 0.051)],
         "cannot see a slowdown of 5 %: in calls of 1 to 10 µs only 20 % and more, "
         "of 10 to 100 µs only 6 % and more"),
        ([decade(-7, 0.05)], "can see a slowdown of 5 % in calls of 100 ns to 1 µs"),
        ([decade(-1, 0.05)], "can see a slowdown of 5 % in calls of 100 ms to 1 s"),
        ([], "cannot tell which slowdown it sees: nothing was measured"),
    ],
)  # fmt: skip
def test_what_is_seen_is_said_in_plain_words(decades: list[dict[str, Any]], told: str) -> None:
    assert in_words(decades) == told
    assert sees(decades) is ("only" not in told and "cannot" not in told)


def test_percent_has_two_digits() -> None:
    assert [percent(x) for x in (0.00123, 0.0519, 0.12, 0.996, 4.771)] == [
        "0.12 %", "5.2 %", "12 %", "100 %", "477 %",
    ]  # fmt: skip


def machine(visible: float, **changed: Any) -> dict[str, Any]:
    noise = {"decades": [decade(-6, visible)], "layout": "as in every other worker"}
    found: dict[str, Any] = {
        "machine": {"cores_allowed": 4},
        "processor": {"governors": ["performance"], "smt": False, "turbo": True},
        "pace": {"scatter": 0.001},
        "disturbance": {"steal_fraction": 0.0},
        "load_before": 0.1,
        "backends": [{"noise": noise}, {"available": False}],
    }
    layout = changed.pop("layout", None)
    if layout is not None:
        noise["layout"] = layout
    return {**found, **changed}


LONGER = "let comparisons measure longer: harness compare --budget 30"


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ({}, LONGER),
        ({"disturbance": {"steal_fraction": 0.034}}, "the hypervisor gave 3.4 % of the time to others"),
        ({"load_before": 1.01}, "the load was 1.01 before anything was measured: end other work"),
        ({"machine": {"cores_allowed": 1}}, "there is one core"),
        ({"processor": {"quota_cores": 1.5}}, "the container may use 1.5 cores of 4"),
        ({"layout": "random"}, "addresses are random: allow personality(2)"),
        ({"processor": {"governors": ["powersave", "performance"]}},
         "the clock follows the governor powersave: cpupower"),
        ({"processor": {"turbo": True}, "pace": {"scatter": 0.05}}, "the pace scatters by 5 %, and turbo"),
        ({"processor": {"smt": True}}, "two threads share a core"),
    ],
)  # fmt: skip
def test_a_machine_that_sees_too_little_is_told_why(changed: dict[str, Any], first: str) -> None:
    told = advice(machine(0.06, **changed))
    assert told[0].startswith(first)
    assert told[-1] == LONGER
    assert len(told) == (1 if first == LONGER else 2)
    assert advice(machine(0.05, **changed)) == []


def test_what_a_system_does_not_tell_is_no_cause() -> None:
    untold = machine(
        0.06, machine={}, processor={}, pace={"scatter": None}, disturbance={"steal_fraction": None},
        load_before=None,
    )  # fmt: skip
    assert advice({**untold, "machine": {"cores": 2}}) == [LONGER]
