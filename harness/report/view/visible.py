"""Text of kernels and case files as what can be shown anywhere: no character that steers a terminal."""

from __future__ import annotations

import re
from typing import Final

from harness.report.view.text import shortened

_STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Control characters other than tab and line feed (U+009B begins a sequence as ESC [ does), separators
of lines, what reverses the direction of writing, unpaired surrogates, and two that are no characters.
XML 1.0 (section 2.2) allows none of the first and the last two kinds, escaped or not.
"""


def visible(text: str) -> str:
    """Return text whose steering characters are spelt out by their codes; line feeds and tabs stay."""
    return _STEERING.sub(_spelt, text)


def one_line(text: str, most: int) -> str:
    """Return visible text on one line of at most `most` characters; what was cut is marked."""
    return shortened(visible(text.replace("\r\n", "\n")), most)


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
