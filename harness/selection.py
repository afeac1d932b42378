"""Which cells of a plan are wanted: by words in their ids, by operation, backend, dtype, topic, guide row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final

from harness.errors import UsageError, did_you_mean
from harness.formats import DTYPES
from harness.guide import ROWS
from harness.model import Case
from harness.registry import BACKENDS, OPERATIONS

MAX_NESTING: Final = 50

_TOKEN: Final = re.compile(r"""\s*(?:(?P<mark>[()])|"(?P<quoted>[^"]*)"|(?P<word>[^\s()"]+))""")

Test = Callable[[str], bool]


@dataclass(frozen=True)
class Selection:
    """What a command line asked for; each part narrows, and an empty part asks for nothing special."""

    paths: tuple[str, ...] = ()
    """Files and folders that cases were read from; they do not narrow here."""
    keyword: str | None = None
    """`-k`: words that occur in a cell's id, with `and`, `or`, `not` and parentheses."""
    operations: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    guide: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    """Modules that were imported first; they do not narrow."""

    def __post_init__(self) -> None:
        """Name rows of the guide as it does, however they were written: `nm4` is NM4."""
        as_named = {row.casefold(): row for row in ROWS}
        rows = tuple(as_named.get(row.casefold(), row) for row in self.guide)
        object.__setattr__(self, "guide", rows)

    def check_names(self) -> None:
        """Raise UsageError if a name does not exist, or `keyword` is no expression."""
        for kind, names, known in (
            ("operation", self.operations, OPERATIONS),
            ("backend", self.backends, BACKENDS),
            ("dtype", self.dtypes, DTYPES),
            ("row of the guide", self.guide, ROWS),
        ):
            for name in names:
                if name not in known:
                    raise UsageError(f"unknown {kind} {name!r}", did_you_mean(name, list(known)))
        self.takes_id("")

    def takes_case(self, case: Case) -> bool:
        """Return whether the case may have cells that are wanted."""
        return self._takes(case.operation, case.topic, case.guide)

    def takes_id(self, identity: str) -> bool:
        """Return whether a cell's id satisfies `keyword`."""
        return self._test(identity)

    def takes(
        self, identity: str, *, operation: str, backend: str, dtype: str, topic: str, guide: Sequence[str]
    ) -> bool:
        """Return whether a cell is wanted, be it planned now or remembered from another run."""
        return (
            self._takes(operation, topic, guide)
            and backend in (self.backends or (backend,))
            and dtype in (self.dtypes or (dtype,))
            and self.takes_id(identity)
        )

    def backends_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return those of the names that are wanted, in their order."""
        return tuple(n for n in names if not self.backends or n in self.backends)

    def dtypes_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return those of the names that are wanted, in their order."""
        return tuple(n for n in names if not self.dtypes or n in self.dtypes)

    def as_plain(self) -> dict[str, Any]:
        """Return the selection as lists and texts, without the parts that ask for nothing."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items() if v}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Selection:
        """Return the selection that `as_plain` gave."""
        parts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return cls(**parts)

    def in_words(self) -> str:
        """Return what narrows, as a command line would write it."""
        words = [] if not self.keyword else [f"-k {self.keyword!r}"]
        for option, names in (
            ("operation", self.operations), ("backend", self.backends), ("dtype", self.dtypes),
            ("topic", self.topics), ("guide", self.guide),
        ):  # fmt: skip
            words += [f"--{option} {name}" for name in names]
        return " ".join(words)

    def hint(self, cases: Sequence[Case]) -> str:
        """Return what to try where nothing was selected."""
        known = {
            "topics": sorted({c.topic for c in cases}),
            "guide": sorted({row for c in cases for row in c.guide}),
            "operations": sorted({c.operation for c in cases}),
        }
        for part, names in known.items():
            for asked in getattr(self, part):
                if asked not in names:
                    return f"no case has {part.rstrip('s')} {asked!r}: {did_you_mean(asked, names)}"
        return "`harness list` shows the ids of all cells"

    def _takes(self, operation: str, topic: str, guide: Sequence[str]) -> bool:
        return (
            (not self.operations or operation in self.operations)
            and (not self.topics or topic in self.topics)
            and (not self.guide or any(row in self.guide for row in guide))
        )

    @cached_property
    def _test(self) -> Test:
        return keyword_test(self.keyword) if self.keyword is not None else lambda _: True


def keyword_test(expression: str) -> Test:
    """Return the test that an expression such as `naive and not (float16 or top=2)` stands for.

    A word holds where it occurs in the id, without regard to case; in double quotes it may hold
    spaces or be `and`, `or`, `not`. `not` binds closest, then `and`, then `or`.

    Raises
    ------
    UsageError
        With the place in the expression where it goes wrong.
    """
    return _Parser(expression).parse()


class _Parser:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while expression[position:].strip():
            match = _TOKEN.match(expression, position)
            if match is None:
                raise self._error(position, "a double quote without its partner")
            kind = str(match.lastgroup)
            text = match[kind]
            if kind == "word" and text.lower() in ("and", "or", "not"):
                kind = text = text.lower()
            self.tokens.append((text if kind == "mark" else kind, text, match.start(str(match.lastgroup))))
            position = match.end()
        self.tokens.append(("end", "", len(expression)))
        self.at = 0
        self.depth = 0

    def parse(self) -> Test:
        test = self._or()
        if self._kind() != "end":
            raise self._error(self.tokens[self.at][2], "`and` or `or` is missing here")
        return test

    def _kind(self) -> str:
        return self.tokens[self.at][0]

    def _or(self) -> Test:
        tests = [self._and()]
        while self._kind() == "or":
            self.at += 1
            tests.append(self._and())
        return tests[0] if len(tests) == 1 else lambda text: any(test(text) for test in tests)

    def _and(self) -> Test:
        tests = [self._not()]
        while self._kind() == "and":
            self.at += 1
            tests.append(self._not())
        return tests[0] if len(tests) == 1 else lambda text: all(test(text) for test in tests)

    def _not(self) -> Test:
        negated = False
        while self._kind() == "not":
            self.at += 1
            negated = not negated
        test = self._atom()
        return (lambda text: not test(text)) if negated else test

    def _atom(self) -> Test:
        kind, text, position = self.tokens[self.at]
        self.at += 1
        if kind in ("word", "quoted"):
            wanted = text.lower()
            return lambda identity: wanted in identity.lower()
        if kind != "(":
            missing = "a word is missing at the end" if kind == "end" else f"a word is expected, not {text!r}"
            raise self._error(position, missing)
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise self._error(position, f"nested more than {MAX_NESTING} deep")
        test = self._or()
        if self._kind() != ")":
            raise self._error(self.tokens[self.at][2], "`)` is missing here")
        self.at += 1
        self.depth -= 1
        return test

    def _error(self, position: int, problem: str) -> UsageError:
        pointed = f"  {self.expression}\n  {' ' * position}^"
        hint = "words of cell ids with and, or, not and parentheses: `naive and not float16`"
        return UsageError(f"-k is no expression: {problem}\n{pointed}", hint)
