"""What became of the digits: a cell's rows on both sides → better, worse, changed, the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.gate import error_change
from harness.model import OUTCOMES

Row = Mapping[str, Any]

DIGITS_PER_BIT: Final = math.log10(2)

LOST_BITS: Final = 1.0
"""More than so many fewer bits is a loss: the error has more than doubled, the gate's factor. Used where the
two sides' bounds differ, so that their ratios to it say nothing of one another."""

_NO_OUTPUT: Final = ("crashed", "timeout", "raised", None)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What became of one cell's accuracy, its worst output first."""

    word: str
    """`worse better changed same not_compared`."""
    reason: str = ""
    base_outcome: str | None = None
    head_outcome: str | None = None
    base_digits: float | None = None
    head_digits: float | None = None
    base_bound_ratio: float | None = None
    head_bound_ratio: float | None = None
    base_digest: str | None = None
    head_digest: str | None = None


def compared(base: Sequence[Row], head: Sequence[Row]) -> Accuracy:
    """Return what became of a cell's accuracy.

    Parameters
    ----------
    base, head
        Judged rows of one cell on each side, one an output.
    """
    before = {row["output"]: row for row in base}
    words = []
    for row in head:
        was = before.get(row["output"])
        words.append(("not_compared", "") if was is None else _change(was, row))
    order = ("worse", "not_compared", "better", "changed", "same")
    word, reason = min(words, key=lambda w: order.index(w[0]), default=("not_compared", ""))
    return Accuracy(
        word,
        reason,
        _worst_outcome(base),
        _worst_outcome(head),
        _least(base, "bits", DIGITS_PER_BIT),
        _least(head, "bits", DIGITS_PER_BIT),
        _most(base, "bound_ratio"),
        _most(head, "bound_ratio"),
        _digest(base),
        _digest(head),
    )


def _change(was: Row, now: Row) -> tuple[str, str]:
    if was["outcome"] in _NO_OUTPUT or now["outcome"] in _NO_OUTPUT:
        return "not_compared", ""
    if now["outcome"] != was["outcome"]:
        worse = OUTCOMES.index(now["outcome"]) < OUTCOMES.index(was["outcome"])
        return ("worse" if worse else "better"), f"outcome {was['outcome']} → {now['outcome']}"
    if now["verdict"] == "fail" and was["verdict"] != "fail":
        return "worse", str(now["reason"])
    if was["axes"] != now["axes"]:
        return "not_compared", ""  # the digits of two problems, each within its bound, are no loss or gain
    found = _change_of_error(was, now) if _same_bound(was, now) else _change_of_digits(was, now)
    if found is not None:
        return found
    if not was.get("result_digest") or not now.get("result_digest"):
        return "not_compared" if was.get("bound_ratio") is None else "changed", ""
    if was["inputs_digest"] == now["inputs_digest"] and was["result_digest"] == now["result_digest"]:
        return "same", ""
    return "changed", ""


def _same_bound(was: Row, now: Row) -> bool:
    """Whether the two errors are measured against one bound: that of one problem, computed in one dtype."""
    return all(was.get(name) == now.get(name) for name in ("inputs_digest", "dtype", "compute_dtype"))


def _change_of_error(was: Row, now: Row) -> tuple[str, str] | None:
    for kind, text, _ in error_change(now, was):
        return ("worse" if kind == "regressed" else "better"), text
    return None


def _change_of_digits(was: Row, now: Row) -> tuple[str, str] | None:
    old, new = was.get("bits"), now.get("bits")
    if old is None or new is None or abs(new - old) <= LOST_BITS:
        return None
    digits = f"{old * DIGITS_PER_BIT:.1f} → {new * DIGITS_PER_BIT:.1f} digits"
    if new > old:
        return "better", digits
    ulp = now.get("max_ulp")
    within_an_ulp = was.get("dtype") == now.get("dtype") and ulp is not None and ulp <= 1
    return None if within_an_ulp else ("worse", digits)


def _worst_outcome(rows: Sequence[Row]) -> str | None:
    found = [row["outcome"] for row in rows if row["outcome"] is not None]
    return min(found, key=OUTCOMES.index, default=None)


def _least(rows: Sequence[Row], name: str, factor: float) -> float | None:
    found = [float(row[name]) for row in rows if row.get(name) is not None]
    return max(0.0, min(found)) * factor if found else None


def _most(rows: Sequence[Row], name: str) -> float | None:
    return max((float(row[name]) for row in rows if row.get(name) is not None), default=None)


def _digest(rows: Sequence[Row]) -> str | None:
    return next((row["result_digest"] for row in rows if row.get("result_digest")), None)
