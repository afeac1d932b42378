"""Which slowdown a machine can see, from how much identical code differs from itself on it; and what to do.

A slowdown s of a cell is seen if the interval of its ratio lies beyond δ as a whole. The interval lies about
1 + s, and its half-width is h; δ is what a comparison takes in this decade of time (`paired.thresholds`):
three times what the base shows against itself, and never less than a floor. So s is seen from (1 + δ)·eʰ − 1
on, h in logarithms.

That is of one set of 20 rounds and intervals of 95 %. A comparison goes on to 180 rounds for what it is not
sure of; its intervals are of 98⅓ %, for it may look three times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from harness.timing import paired

WANTED: Final = 0.05
"""The slowdown that a machine should show."""

_STEAL: Final = 0.01
_SCATTER: Final = 0.02
_BUSY: Final = 0.25
"""From here on steal, the pace's scatter, and the load of a core are worth a word."""

_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def sight(kernels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return by decade of time, shortest first, what identical code showed and which slowdown can be seen.

    Parameters
    ----------
    kernels
        As `noise` measures them: `seconds`, `null` and `head` with `median`, `low`, `high` in logarithms.

    Returns
    -------
    list of dict
        `decade` (−6 is 1 to 10 µs), `kernels`, `null` (the median of the |ratio − 1| of both), `half_width`
        (the widest interval's, as a ratio − 1), `threshold` (δ), `visible` (the least slowdown seen).
    """
    able = [k for k in kernels if k["head"]["low"] is not None]
    nulls = {
        f"{k['kernel']} {which}": (k["seconds"], k[which]["median"])
        for k in able
        for which in ("null", "head")
    }
    thresholds = paired.thresholds(nulls)
    medians = paired.thresholds(nulls, floor=0.0, factor=1.0)
    found = []
    for decade, threshold in sorted(thresholds.items()):
        here = [k for k in able if paired.decade(k["seconds"]) == decade]
        half = max((k["head"]["high"] - k["head"]["low"]) / 2 for k in here)
        found.append(
            {
                "decade": decade,
                "kernels": len(here),
                "null": medians[decade],
                "half_width": math.expm1(half),
                "threshold": threshold,
                "visible": (1 + threshold) * math.exp(half) - 1,
            }
        )
    return found


def sees(decades: Sequence[Mapping[str, Any]], wanted: float = WANTED) -> bool:
    """Return whether a slowdown of `wanted` is seen in all decades that were measured."""
    return bool(decades) and all(d["visible"] <= wanted for d in decades)


def in_words(decades: Sequence[Mapping[str, Any]], wanted: float = WANTED) -> str:
    """Return what can be seen: `can see a slowdown of 5 % in calls of …; of 1 to 10 µs only 8 % and more`."""
    if not decades:
        return "cannot tell which slowdown it sees: nothing was measured"
    good = list(_runs([d for d in decades if d["visible"] <= wanted]))
    bad = ", ".join(
        f"of {span([d])} only {_whole(d['visible'])} and more" for d in decades if d["visible"] > wanted
    )
    if not good:
        return f"cannot see a slowdown of {_whole(wanted)}: in calls {bad}"
    told = f"can see a slowdown of {_whole(wanted)} in calls of {' and of '.join(map(span, good))}"
    return told + (f"; {bad}" if bad else "")


def _runs(decades: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield decades that follow one another together."""
    run: list[Mapping[str, Any]] = []
    for one in decades:
        if run and run[-1]["decade"] + 1 != one["decade"]:
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def percent(share: float) -> str:
    """Return a share in percent, of two digits: `0.52 %`, `12 %`."""
    return f"{100 * share:.2g} %" if abs(share) < 0.995 else f"{100 * share:.0f} %"


def _whole(share: float) -> str:
    """Return a share as a whole number of percent, never less than it is."""
    return f"{math.ceil(100 * share - 1e-9)} %"


def span(run: Sequence[Mapping[str, Any]]) -> str:
    """Return the times of decades that follow one another: `1 to 10 µs`, `100 µs to 10 ms`."""
    low, high = _power(run[0]["decade"]), _power(run[-1]["decade"] + 1)
    same = low.split()[1] == high.split()[1]
    return f"{low.split()[0] if same else low} to {high}"


def _power(exponent: int) -> str:
    seconds = 10.0**exponent * (1 + 1e-9)
    scale, unit = next((u for u in _UNITS if seconds >= u[0]), _UNITS[-1])
    return f"{seconds / scale:.3g} {unit}"


def advice(found: Mapping[str, Any]) -> list[str]:
    """Return what to do about a machine that does not see `WANTED`, what was found first; or nothing.

    Parameters
    ----------
    found
        What `harness.doctor.examine` returns.
    """
    told = [b["noise"] for b in found["backends"] if b.get("noise", {}).get("decades")]
    if all(sees(noise["decades"]) for noise in told):
        return []
    return [*_causes(found, told), "let comparisons measure longer: harness compare --budget 30"]


def _causes(found: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    machine, processor, disturbance = found["machine"], found["processor"], found["disturbance"]
    cores = machine.get("cores_allowed") or machine.get("cores") or 1
    steal, load = disturbance["steal_fraction"], found["load_before"]
    if steal is not None and steal > _STEAL:
        yield f"the hypervisor gave {percent(steal)} of the time to others: use a machine of your own"
    if load is not None and load > _BUSY * cores:
        yield f"the load was {load:.2f} before anything was measured: end other work"
    if cores < 2:
        yield "there is one core for what is measured and everything else: allow a second one"
    quota = processor.get("quota_cores")
    if quota is not None and quota < cores:
        yield f"the container may use {quota:.2g} cores of {cores}, and is stopped beyond: raise its quota"
    if any(noise.get("layout") == "random" for noise in told):
        yield (
            "addresses are random: allow personality(2) in the container "
            "(docker run --security-opt seccomp=unconfined)"
        )
    governors = [g for g in processor.get("governors", ()) if g != "performance"]
    if governors:
        yield f"the clock follows the governor {', '.join(governors)}: cpupower frequency-set -g performance"
    scatter = found["pace"]["scatter"]
    if processor.get("turbo") and scatter is not None and scatter > _SCATTER:
        yield f"the pace scatters by {percent(scatter)}, and turbo is on: switch it off"
    if processor.get("smt"):
        yield "two threads share a core: keep others off its sibling (taskset), or switch SMT off"
