"""The support table: which formulation runs on which backend in which dtype, and why not.

Writes `support.md`: run it after changing what backends or formulations declare. It says what
`harness list` says, from the same declarations, and depends on nothing that is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import catalogue
from harness.registry import BACKENDS, FORMULATIONS, OPERATIONS, Lack, Operation, formulations_of, support

PAGE = Path(__file__).resolve().parent / "support.md"

HEAD = """# What runs where

<!-- Written by docs/support_table.py: change the declarations, not this page. -->

From what backends and formulations declare; `harness list` tells the same for your cases and this
machine. A dtype in a table is what sums are accumulated in; a number refers to the reasons below it.
"""


def table(operation: Operation, dtypes: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the table of one operation: a row for each formulation and backend."""
    reasons: dict[str, int] = {}
    yield f"## {operation.title} (`{operation.name}`)\n"
    yield "| formulation | backend | " + " | ".join(dtypes) + " |"
    yield "|---" * (2 + len(dtypes)) + "|"
    for name in formulations_of(operation.name):
        for backend in BACKENDS.values():
            found = [support(operation.name, name, backend, dtype) for dtype in dtypes]
            cells = [
                f"— [{reasons.setdefault(f.reason, len(reasons) + 1)}]" if isinstance(f, Lack) else f
                for f in found
            ]
            yield f"| {name} | {backend.name} | " + " | ".join(cells) + " |"
    yield ""
    yield from (f"{number}. {reason}" for reason, number in reasons.items())
    if reasons:
        yield ""


def modes(operation: Operation) -> list[str]:
    """Return the dtypes that are settings of products, for operations that have any."""
    if not any("matmul" in f.needs for f in FORMULATIONS.values() if f.operation == operation.name):
        return []
    settings = dict.fromkeys(dtype for backend in BACKENDS.values() for dtype in backend.flags)
    return [dtype for dtype in settings if dtype not in operation.dtypes]


def document() -> str:
    """Return docs/support.md."""
    catalogue.load()
    lines = [HEAD]
    lines += [f"- `{b.name}`: {b.title}" for b in BACKENDS.values()]
    lines += [""]
    for operation in sorted(OPERATIONS.values(), key=lambda o: o.name):
        lines += table(operation, [*operation.dtypes, *modes(operation)])
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(document(), encoding="utf-8")
