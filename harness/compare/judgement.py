"""What a comparison comes to: the verdict of each pair, from its digits and its times, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from harness.compare.accuracy import Accuracy, compared
from harness.compare.measure import TO_CONFIRM, Measuring, Timed
from harness.compare.model import KINDS, VERDICTS, Null, Pair, Side
from harness.compare.pairs import CellPair, coordinate
from harness.model import Cell
from harness.timing import paired

Rows = Mapping[str, Sequence[Mapping[str, Any]]]

SIDES: Final = ("base", "head")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of both sides.

    Attributes
    ----------
    rows
        By side and cell, judged rows.
    failures
        By side and cell, why there is no output.
    sets
        How many fresh sets of workers were to confirm.
    finished
        False: interrupted.
    """

    rows: Mapping[str, Rows]
    failures: Mapping[str, Mapping[str, str]]
    sets: int
    allow_accuracy_loss: bool
    finished: bool


def worst_first(pair: Pair) -> tuple[Any, ...]:
    """Return what orders pairs: by verdict and kind, and of one kind those first that changed most."""
    change = abs(math.log(pair.ratio)) if pair.ratio else 0.0
    return (VERDICTS.index(pair.verdict), list(KINDS).index(pair.kind), -change, pair.cell)


def _identity(cell: Cell, base: Cell) -> dict[str, Any]:
    return {
        "cell": cell.id,
        "base_cell": base.id,
        "case": cell.case,
        "operation": cell.operation,
        "formulation": cell.formulation,
        "backend": cell.backend,
        "dtype": cell.dtype,
        "axes": dict(cell.axes),
        "threads": 1 if cell.speed is None else cell.speed.threads,
        "cache": "hot" if cell.speed is None else cell.speed.cache,
    }


def alone(cell: Cell, sides: Mapping[str, Side]) -> Pair:
    """Return what is told of a cell that one side has no partner for."""
    on_base = all(coordinate(cell, key) == value for key, value in sides["base"].coordinates.items())
    reason = f"{'head' if on_base else 'base'}: has no cell that corresponds to it"
    about = _identity(cell, cell)
    return Pair(**about, verdict="inconclusive", kind="not_measured", reason=reason, error=reason)


def judged(pair: CellPair, timed: Timed | None, known: Known) -> Pair:
    """Return what was found of a pair; `timed` is None where it was not measured."""
    rows = [known.rows.get(side, {}).get(getattr(pair, side).id, []) for side in SIDES]
    other = _other_inputs(pair, *rows)
    accuracy = Accuracy("not_compared") if other or not all(rows) else compared(rows[0], rows[1])
    error = other or _why_not(pair, timed, known)
    verdict, kind, reason = _verdict(accuracy, timed, error, known)
    found = timed.interval if timed is not None and timed.judged else None
    ds = [] if timed is None else timed.ds
    about = _identity(pair.head, pair.base)
    if timed is not None and timed.series is not None:
        about["cache"] = timed.series.cache
    return Pair(
        **about,
        verdict=verdict,
        kind=kind,
        reason=reason,
        speed=None if timed is None or timed.screened is None else timed.verdict,
        accuracy=accuracy.word,
        timer=None if timed is None or timed.series is None else timed.series.timer,
        base_s=None if timed is None else timed.median_s("base"),
        head_s=None if timed is None else timed.median_s("head"),
        ratio=math.exp(median(ds)) if ds else None,
        ratio_low=None if found is None else math.exp(found.low),
        ratio_high=None if found is None else math.exp(found.high),
        confidence=None if found is None else found.confidence,
        threshold=None if timed is None or timed.screened is None else timed.threshold,
        null=None if timed is None or timed.null is None else math.expm1(abs(timed.null)),
        rounds=len(ds),
        calls=None if timed is None or timed.series is None else timed.series.calls,
        confirmed=_agreeing(timed),
        asked_to_confirm=known.sets if timed is not None and timed.fresh else None,
        seconds=0.0 if timed is None else timed.seconds,
        base_outcome=accuracy.base_outcome,
        head_outcome=accuracy.head_outcome,
        base_digits=accuracy.base_digits,
        head_digits=accuracy.head_digits,
        base_bound_ratio=accuracy.base_bound_ratio,
        head_bound_ratio=accuracy.head_bound_ratio,
        base_digest=accuracy.base_digest,
        head_digest=accuracy.head_digest,
        error=error,
    )


def _agreeing(timed: Timed | None) -> int | None:
    if timed is None or not timed.fresh:
        return None
    return timed.confirmation.agreeing(timed.threshold)


def _why_not(pair: CellPair, timed: Timed | None, known: Known) -> str | None:
    """Return why a pair was not measured, beginning with the side."""
    for side in SIDES:
        reason = known.failures.get(side, {}).get(getattr(pair, side).id)
        if reason is not None:
            return f"{side}: {reason}"
    if timed is not None and timed.error is not None:
        return str(timed.error)
    return None if known.finished or (timed is not None and timed.screened is not None) else "interrupted"


def _other_inputs(
    pair: CellPair, base: Sequence[Mapping[str, Any]], head: Sequence[Mapping[str, Any]]
) -> str | None:
    """Return that two cells of one problem were given other inputs: then neither digits nor times compare."""
    if pair.base.problem != pair.head.problem:
        return None  # another dtype or another value of an axis: so it was asked for
    digests = {row["inputs_digest"] for row in (*base, *head) if row.get("inputs_digest")}
    return (
        "head: its inputs are not the base's: a file that they come from has changed"
        if len(digests) > 1
        else None
    )


def _verdict(
    accuracy: Accuracy, timed: Timed | None, error: str | None, known: Known
) -> tuple[str, str, str]:
    """Return verdict, kind and reason of a pair: the worse of what digits and time say."""
    lost = accuracy.word == "worse"
    speed = None if timed is None or error is not None else timed.verdict
    said = "" if timed is None or error is not None else _speed_in_words(timed)
    if lost and not known.allow_accuracy_loss:
        faster = timed is not None and error is None and _is_faster(timed)
        kind = "traded" if faster else "less_accurate"
        return "fail", kind, "; ".join(filter(None, (accuracy.reason, said)))
    if timed is None or error is not None:
        return "inconclusive", "not_measured", error or "not measured"
    told = "; ".join(filter(None, (said, accuracy.reason)))
    if speed == "fail":
        return "fail", "slower", told
    if speed == "inconclusive":
        return "inconclusive", "undecided", told
    if lost:
        return "pass", "less_accurate_allowed", told
    if _is_faster(timed):
        return "pass", "faster", told
    return "pass", {"better": "more_accurate", "changed": "changed"}.get(accuracy.word, "same"), told


def _is_faster(timed: Timed) -> bool:
    return timed.screened == "faster" and timed.shown


def _speed_in_words(timed: Timed) -> str:
    """Return what decided on speed."""
    found, delta = timed.interval, f"{timed.threshold:.1%}"
    if found is None:
        return "too few rounds"
    low, high = math.exp(found.low), math.exp(found.high)
    shown = f"{math.exp(median(timed.ds)):.3f} × [{low:.3f}, {high:.3f}]"
    rounds = f"{len(timed.ds)} rounds"
    if timed.shown:
        return f"{shown}, beyond {delta}, shown again by {len(timed.fresh)} of {len(timed.fresh)} fresh sets"
    if timed.screened in TO_CONFIRM and not any(series.rounds for series in timed.fresh):
        return f"{shown}: {timed.screened} in the first workers, not confirmed yet"
    if timed.screened in TO_CONFIRM:
        again = f"shown again by {_agreeing(timed)} of {len(timed.fresh)} fresh sets"
        return f"{shown}: {timed.screened} in the first workers, {again}"
    if timed.verdict == "pass":
        return f"{shown}, below {delta} after {rounds}"
    if found.high < math.log1p(timed.threshold):
        return f"{shown} after {rounds}: chance alone does {delta} here, and a pass would say nothing"
    return f"{shown} holds {delta} after {rounds}"


def nulls_by_decade(measuring: Measuring) -> Iterator[Null]:
    """Yield what the base showed against itself."""
    thresholds = measuring.thresholds()
    by_decade: dict[int, list[float]] = {}
    for seconds, null in measuring.nulls().values():
        by_decade.setdefault(paired.decade(seconds), []).append(math.expm1(abs(null)))
    for decade, found in sorted(by_decade.items()):
        yield Null(decade, len(found), median(found), max(found), thresholds[decade])
