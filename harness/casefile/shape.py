"""The first look at a document: has it the shape of a case? What has not is named, the rest goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.casefile.schema import COLLECTIONS, CaseModel, DraftModel, allowed_keys
from harness.casefile.tree import Node, Steps, walk
from harness.errors import Diagnostic, did_you_mean
from harness.model import format_written

_ALLOWED: Final = {
    "string_type": "text",
    "int_type": "an integer",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


@dataclass(frozen=True)
class Shape:
    """What of a document has the shape of a case."""

    draft: DraftModel | None
    """None where nothing of it has."""
    diagnostics: tuple[Diagnostic, ...]
    refused: frozenset[Steps]
    """Paths that were refused, or are missing."""
    indices: Mapping[str, Sequence[int]]
    """For `expect`, `exclude` and `facts`: the index in the document of each item of the draft."""


def read_shape(document: Node, shown: str) -> Shape:
    """Return what of `document` has the shape of a case, and a diagnostic for everything that has not."""
    if not isinstance(document.value, dict):
        found = _told(document.plain())
        message = f"a case is a mapping, and here is {found}"
        hint = "a case begins with `case: its-name`"
        return Shape(
            None, (Diagnostic(shown, document.line, document.column, message, hint),), frozenset(), {}
        )
    raw = document.plain()
    diagnostics = []
    empty = set()
    for path, node in walk(document):
        if node.value is None:
            empty.add(path)
            message = f"{_dotted(path)} has no value"
            hint = "write one ({} for an empty mapping), or leave the key out"
            diagnostics.append(Diagnostic(shown, node.line, node.column, message, hint))
    refused: set[Steps] = set(empty)
    try:
        CaseModel.model_validate(raw)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=True):
            path = _existing(detail["loc"], document)
            if path in empty:
                continue
            refused.add((*path, detail["loc"][-1]) if detail["type"] == "missing" else path)
            diagnostics.append(_diagnostic(detail, path, document, shown))
    draft, indices = _draft(raw, refused)
    return Shape(draft, tuple(diagnostics), frozenset(refused), indices)


def _draft(raw: Mapping[str, Any], refused: set[Steps]) -> tuple[DraftModel, dict[str, list[int]]]:
    for by_key in (_BY_KEY, ()):
        kept, indices = _without(raw, refused, by_key)
        try:
            return DraftModel.model_validate(kept), indices
        except ValidationError:
            if not by_key:
                raise
    raise AssertionError("the loop returns or raises")


def _existing(location: Sequence[str | int], document: Node) -> Steps:
    """Return a validator's path without the steps that the document does not have."""
    path: list[str | int] = []
    node = document
    for step in location:
        below = node.child(step)
        if below is not None:
            node = below
            path.append(step)
    return tuple(path)


def _diagnostic(detail: ErrorDetails, path: Steps, document: Node, shown: str) -> Diagnostic:
    kind, context, name = detail["type"], detail.get("ctx", {}), detail["loc"][-1]
    key = kind == "extra_forbidden" or name == "[key]"
    line, column = document.place(path, key=key)
    if kind == "missing":
        above = f" of {_dotted(path)}" if path else ""
        hint = f"write `{name}:`"
        return Diagnostic(shown, line, column, f"key {str(name)!r}{above} is missing", hint)
    if kind == "extra_forbidden":
        above = f" in {_dotted(path[:-1])}" if len(path) > 1 else ""
        hint = did_you_mean(str(path[-1]), allowed_keys(path[:-1]))
        return Diagnostic(shown, line, column, f"unknown key {str(path[-1])!r}{above}", hint)
    if name == "[key]":
        message = f"name {str(path[-1])!r} is refused"
        return Diagnostic(shown, line, column, message, f"allowed: {_allowed(kind, context, detail['msg'])}")
    found = _told(detail["input"])
    message = f"{_dotted(path)} is {found}"
    return Diagnostic(shown, line, column, message, f"allowed: {_allowed(kind, context, detail['msg'])}")


def _allowed(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _ALLOWED:
        return _ALLOWED[kind]
    if kind == "literal_error":
        return str(context["expected"]).replace("'yes', 'no' or 'maybe'", "true, false or maybe")
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    if kind == "too_short":
        return f"at least {context['min_length']} of them"
    return message[0].lower() + message[1:]


_PATTERNS: Final = {
    r"^[a-z0-9]+(-[a-z0-9]+)*$": "small letters, digits and single hyphens, such as softmax-overflow",
    r"^[A-Za-z][A-Za-z0-9_]*$": "a letter, then letters, digits and underscores",
    r"^[A-Z]{2}[0-9]+$": "two capitals and a number, such as NM4",
}


def _dotted(path: Steps) -> str:
    """Return a path in the words of the file: `axes.n.values[2]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "the case"


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    return format_written(value)


def _without(
    raw: Mapping[str, Any], refused: set[Steps], by_key: Sequence[str]
) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Return the document without what was refused: items of collections or whole sections.

    In the sections `by_key` single keys are dropped, so that the rest of a rule is checked too.
    """
    kept = {k: deepcopy(v) if k in by_key else v for k, v in raw.items()}
    coarse = {path for path in refused if path[0] not in by_key or not _drop_key(kept, path)}
    indices: dict[str, list[int]] = {"expect": [], "exclude": [], "facts": []}
    for section, value in list(kept.items()):
        bad = {path[1] if len(path) > 1 else None for path in coarse if path[:1] == (section,)}
        if not bad:
            pass
        elif section in COLLECTIONS and None not in bad and isinstance(value, dict):
            kept[section] = {k: v for k, v in value.items() if k not in bad}
        elif section in COLLECTIONS and None not in bad and isinstance(value, list):
            kept[section] = [v for i, v in enumerate(value) if i not in bad]
        else:
            del kept[section]
        if section in indices and isinstance(kept.get(section), list):
            indices[section] = [i for i in range(len(value)) if i not in bad]
    return kept, indices


_BY_KEY: Final = ("measure", "expect", "exclude", "facts")
_UNCHECKED: Final = ("issue", "reason")
"""Required keys whose text nothing depends on: any will do to check the rest."""


def _drop_key(kept: dict[str, Any], path: Steps) -> bool:
    """Drop the innermost key that a path leads to or through; return whether there is one.

    A mapping that this leaves empty goes too, for a condition without comparators is none.
    """
    keys = [i for i, step in enumerate(path) if isinstance(step, str)]
    for i in reversed(keys[1:]):
        above: Any = kept
        for step in path[:i]:
            above = above.get(step, {}) if isinstance(above, dict) else above[step]
        above.pop(path[i], None)
        if path[i] in _UNCHECKED:
            above[path[i]] = "refused"
        if above:
            break
    return len(keys) > 1
