"""YAML documents as trees that know their places, read as data only.

Scalars follow the core schema of YAML 1.2 (section 10.3): `1e-5` and `1e5` are numbers, `no` and `1:30`
are text. Numbers stay exact: integers are `int`, all others `Decimal`. Tags, duplicate keys, keys that
are no scalars, and trees that unfold beyond the bounds below are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from harness.errors import Diagnostic

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 24
MAX_NODES: Final = 100_000
"""Of one file, each alias counted as often as it is used."""
MAX_DIGITS: Final = 2000
MAX_EXPONENT: Final = 10_000
"""Powers of ten; float64 ends at 308."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER: Final = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL: Final = re.compile(r"0o[0-7]+\Z")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+\Z")
_DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE](?P<exponent>[-+]?[0-9]+))?\Z")
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((s + w for s in ("", "+") for w in (".inf", ".Inf", ".INF")), Decimal("Infinity")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), Decimal("-Infinity")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), Decimal("NaN")),
}

Steps = tuple[str | int, ...]
"""Keys and indices from the root of a document to a node."""


@dataclass(slots=True)
class Node:
    """A scalar, a list or a mapping, and where it begins (1-based)."""

    value: Any
    """A scalar; a list of nodes; or a dict from key to node."""
    line: int
    column: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of a mapping: where each key begins."""
    size: int = 1
    """Nodes in the tree below and here, aliases unfolded."""
    depth: int = 1

    def plain(self) -> Any:
        """Return the tree as scalars, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def place(self, path: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
        """Return line and column of the node at `path`, or of its key, or of the nearest node above it.

        Steps that lead nowhere are passed over, for a validator adds steps of its own to a path.
        """
        node, found = self, (self.line, self.column)
        for step in path:
            below = node.child(step)
            if below is not None:
                found = node.keys[str(step)] if key and node.keys else (below.line, below.column)
                node = below
        return found

    def child(self, step: str | int) -> Node | None:
        """Return the node at a key or an index, if there is one."""
        if isinstance(self.value, dict):
            found = self.value.get(step)
        elif isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            found = self.value[step]
        else:
            return None
        return found if isinstance(found, Node) else None


def read(path: Path, shown: str) -> tuple[list[Node], list[Diagnostic]]:
    """Return the documents of the file at `path` and every problem found; `shown` names the file in them.

    After a problem that keeps the parser from going on, only the documents before it are returned.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return [], [Diagnostic(shown, 1, 1, f"the file is larger than {MAX_BYTES} bytes")]
        data = path.read_bytes()
    except OSError as error:
        return [], [Diagnostic(shown, 1, 1, f"the file cannot be read: {error.strerror or error}")]
    return parse(data, shown)


def parse(data: bytes, shown: str) -> tuple[list[Node], list[Diagnostic]]:
    """Return the documents in `data` (UTF-8) and every problem found; see `read`."""
    builder = _Builder(shown)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _end_of(data[: error.start].decode("utf-8", "replace"))
        builder.refuse(line, column, f"not UTF-8: byte 0x{data[error.start]:02x}", "save the file as UTF-8")
        return [], builder.diagnostics
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        about = ", ".join(filter(None, (error.context, error.problem)))
        builder.refuse(line, column, f"not YAML: {about}")
    except yaml.YAMLError as error:
        line, column = _first_control_character(text)
        about = getattr(error, "reason", None) or str(error).splitlines()[0]
        builder.refuse(line, column, f"not YAML: {about}")
    except _BoundError:
        pass
    if not builder.documents and not builder.diagnostics:
        builder.refuse(1, 1, "the file is empty: it holds no case", "a case begins with `case: its-name`")
    return builder.documents, builder.diagnostics


def scalar(text: str) -> Any:
    """Return what a plain scalar stands for under the core schema of YAML 1.2.

    Raises
    ------
    ValueError
        For a number with more than `MAX_DIGITS` characters or beyond 10**±MAX_EXPONENT.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    match = _DECIMAL.match(text)
    if match is None and not _OCTAL.match(text) and not _HEXADECIMAL.match(text):
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters; at most {MAX_DIGITS} are allowed")
    if match is None:
        return int(text, 0)
    if _INTEGER.match(text):
        return int(text)
    exponent = match["exponent"]
    if exponent is not None and abs(int(exponent)) > MAX_EXPONENT:
        raise ValueError(f"{text} is beyond 1e±{MAX_EXPONENT}")
    return Decimal(text)


class _BoundError(Exception):
    """A bound was passed: nothing after it is read."""


class _Builder:
    """Makes trees of the parser's events, on a stack of its own: a deep file cannot exhaust Python's."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.documents: list[Node] = []
        self.diagnostics: list[Diagnostic] = []
        self._open: list[Node] = []
        self._key: list[tuple[str, int, int] | None] = []
        self._anchor_of: list[str | None] = []
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0

    def refuse(self, line: int, column: int, message: str, hint: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(self.shown, line, column, message, hint))

    def take(self, event: Any) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor, line, column)
        elif isinstance(event, yaml.ScalarEvent):
            self._tag(event, line, column)
            self._add(Node(self._scalar(event, line, column), line, column), event.anchor)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._tag(event, line, column)
            self._begin(event, line, column)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            node, anchor = self._open.pop(), self._anchor_of.pop()
            self._key.pop()
            self._add(node, anchor)

    def _tag(self, event: Any, line: int, column: int) -> None:
        if event.tag is not None:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            hint = "write the plain value; quote it to keep it text"
            self.refuse(line, column, f"tag {shown!r} is refused: a case file is data and runs no code", hint)

    def _scalar(self, event: Any, line: int, column: int) -> Any:
        if event.style or self._awaits_key():
            return event.value
        try:
            return scalar(event.value)
        except ValueError as error:
            self.refuse(line, column, str(error))
            return None

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._key[-1] is None

    def _begin(self, event: Any, line: int, column: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            self.refuse(line, column, f"nested more than {MAX_DEPTH} deep")
            raise _BoundError
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(Node({} if mapping else [], line, column))
        self._key.append(None)
        self._anchor_of.append(event.anchor)

    def _alias(self, anchor: Any, line: int, column: int) -> None:
        if anchor not in self._anchors:
            self.refuse(line, column, f"alias *{anchor} stands before any anchor &{anchor}")
            self._add(Node(None, line, column), None)
            return
        target = self._anchors[anchor]
        if target is None:
            self.refuse(line, column, f"alias *{anchor} stands inside its own anchor: it has no end")
            raise _BoundError
        copy = Node(target.value, line, column, target.keys, target.size, target.depth)
        if len(self._open) + copy.depth > MAX_DEPTH:
            self.refuse(line, column, f"nested more than {MAX_DEPTH} deep through alias *{anchor}")
            raise _BoundError
        self._add(copy, None)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.documents.append(node)
            self._nodes += node.size
            return
        parent = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif self._key[-1] is None:
            self._take_key(parent, node)
            return
        else:
            name, line, column = self._key[-1]
            self._key[-1] = None
            if name in parent.value:
                first = parent.keys[name][0]
                self.refuse(line, column, f"key {name!r} is given twice: first on line {first}")
                return
            parent.value[name] = node
            parent.keys[name] = (line, column)
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if self._nodes + parent.size > MAX_NODES:
            self.refuse(node.line, node.column, f"the file unfolds to more than {MAX_NODES} values")
            raise _BoundError

    def _take_key(self, parent: Node, node: Node) -> None:
        if isinstance(node.value, (dict, list)):
            self.refuse(node.line, node.column, "a key is a list or a mapping; keys are plain text")
            self._key[-1] = ("", node.line, node.column)
        else:
            text = node.value if isinstance(node.value, str) else str(node.value)
            self._key[-1] = (text, node.line, node.column)


def _end_of(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _first_control_character(text: str) -> tuple[int, int]:
    found = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]", text)
    return _end_of(text[: found.start()]) if found else (1, 1)


def walk(node: Node, path: Steps = ()) -> Iterator[tuple[Steps, Node]]:
    """Yield every scalar below `node` with its path."""
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from walk(child, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from walk(child, (*path, index))
    else:
        yield path, node
