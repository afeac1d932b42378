"""Numbers and words as a reader sees them: never NaN, one dash for what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

MISSING: Final = "—"

OUTCOME_WORDS: Final[Mapping[str, str]] = {
    "crashed": "crashed", "timeout": "timed out", "raised": "raised an error",
    "not_a_number": "not a number", "overflow": "overflow", "saturated": "saturated",
    "wrong_class": "wrong class", "zeroed": "zeroed", "underflow": "underflow", "ok": "ok",
    "over": "error above its bound",
}  # fmt: skip

OUTCOME_GLYPHS: Final[Mapping[str, str]] = {
    "crashed": "†", "timeout": "…", "raised": "!", "not_a_number": "×", "overflow": "∞",
    "saturated": "¬", "wrong_class": "≠", "zeroed": "0", "underflow": "↓", "over": ">",
}  # fmt: skip
"""One sign for each bad outcome, and for an error above its bound, where there is no room for a word."""

_SECONDS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def outcome_words(outcome: str) -> str:
    """Return an outcome's name as a reader says it."""
    return OUTCOME_WORDS.get(outcome, outcome.replace("_", " "))


def finite(value: Any) -> float | None:
    """Return a number as a float; None for text, a truth value, what is missing or not finite."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def present(value: Any) -> bool:
    """Return whether there is a value at all: None, empty text and NaN are none."""
    if value is None:
        return False
    if isinstance(value, str):
        return value.strip().lower() not in ("", "nan")
    return not (isinstance(value, (float, Decimal)) and value != value)


def exact(value: Any) -> str:
    """Return a value with every digit it has; empty where it is missing."""
    if not present(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return repr(value) if isinstance(value, float) else str(value)


def plain(value: Any) -> str:
    """Return a scalar as a case would write it: `2`, `0.99`, `1e-8`."""
    if isinstance(value, float) and math.isfinite(value):
        if value == int(value) and abs(value) < 1e16:
            return str(int(value))
        mantissa, sign, exponent = repr(value).partition("e")
        return mantissa + (sign and f"e{int(exponent)}")
    return exact(value)


def significant(value: float, digits: int = 3) -> str:
    """Return a finite number to `digits` significant digits, plain from 0.001 to 9,999."""
    if value == 0:
        return "0"
    text = f"{value:.{digits - 1}e}"
    exponent = int(text.partition("e")[2])
    if -3 <= exponent <= 3:
        return f"{float(text):,.{max(0, digits - 1 - exponent)}f}"
    mantissa = text.partition("e")[0]
    return f"{mantissa}e{exponent}"


def whole(value: float) -> str:
    """Return a count with its thousands set apart."""
    return f"{value:,.0f}" if abs(value) < 1e15 else significant(value)


def seconds(value: float) -> str:
    """Return a time to three significant digits in the unit that suits it."""
    if value == 0:
        return "0 s"
    for scale, unit in _SECONDS:
        # 0.9995 ms is 1.00 ms at three digits, not 999.5 µs rounded to 1,000.
        if abs(value) >= 0.9995 * scale:
            return f"{significant(value / scale)} {unit}"
    return f"{significant(value / 1e-9)} ns"


def duration(value: float) -> str:
    """Return how long something took, for people: `48 s`, `2 min 51 s`, `1 h 4 min`."""
    if value < 10:
        return f"{value:.1f} s"
    total = round(value)
    hours, rest = divmod(total, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def number(value: Any, display: str = "scientific") -> str:
    """Return a value by a metric's display hint; a dash where there is none.

    Parameters
    ----------
    value
        A number, text, truth value, or None.
    display
        `scientific`, `fixed`, `integer`, `percent`, `seconds` or `text`.
    """
    if not present(value):
        return MISSING
    if isinstance(value, bool) or display == "text":
        return exact(value)
    plain = finite(value)
    if plain is None:
        return exact(value)
    if display == "integer":
        return whole(plain)
    if display == "percent":
        return percent(plain)
    if display == "fixed":
        return f"{plain:,.2f}" if abs(plain) < 1e6 else significant(plain)
    if display == "seconds":
        return seconds(plain)
    return whole(plain) if isinstance(value, int) else significant(plain)


def percent(share: float) -> str:
    """Return a share of one as a percentage that is 0 or 100 only where the share is 0 or 1."""
    text = f"{share * 100:.1f}"
    if text == "100.0" and share != 1:
        text = "99.9" if share < 1 else "100.1"
    if text in ("0.0", "-0.0") and share != 0:
        return "< 0.1 %" if share > 0 else "> -0.1 %"
    return ("100" if share == 1 else "0" if share == 0 else text) + " %"


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """Return `1 cell`, `2 cells`, `1,204 cells`."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listed(items: list[str], last: str = "and") -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    if len(items) <= 1:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def shortened(text: str, limit: int) -> str:
    """Return at most `limit` characters on one line; what was cut is marked."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: max(0, limit - 1)].rstrip() + "…"
