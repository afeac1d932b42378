"""Case files: YAML → `Case`, with every problem of all files at once, each at file:line:column.

The registries must be filled first (`harness.catalogue.load`), for names are checked against them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import CaseFileError, Diagnostic, UsageError, did_you_mean
from harness.model import Case

if TYPE_CHECKING:
    from harness.casefile.tree import Node

GUIDE: Final = "@guide"
"""Stands for the cases that are shipped with the harness."""
MAX_ELEMENTS: Final = 1 << 27


def read_cases(paths: Sequence[Path | str], *, max_elements: int = MAX_ELEMENTS) -> list[Case]:
    """Return the cases of files, of folders (all `*.yaml` below) and of `@guide`, in the order of names.

    Raises
    ------
    UsageError
        If a path does not exist, or no case file is found.
    CaseFileError
        With all problems of all files.
    """
    cases, diagnostics = _examined(paths, max_elements)
    if diagnostics:
        raise CaseFileError(diagnostics)
    return cases


def check(paths: Sequence[Path | str], *, max_elements: int = MAX_ELEMENTS) -> tuple[Diagnostic, ...]:
    """Return all problems of the case files; see `read_cases`."""
    _, diagnostics = _examined(paths, max_elements)
    return CaseFileError(diagnostics).diagnostics


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of one case, for editors."""
    from harness.casefile import schema

    return schema.json_schema()


def packaged_cases() -> Path:
    """Return the folder of the shipped cases: beside the code in a wheel, beside `harness/` in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "cases"
    return shipped if shipped.is_dir() else package.parent / "cases"


def default_paths() -> list[Path]:
    """Return what is read when no path is given: `cases/` of the current folder, else the shipped cases."""
    here = Path("cases")
    return [here if here.is_dir() else packaged_cases()]


def case_files(paths: Sequence[Path | str]) -> list[Path]:
    """Return the case files that paths stand for, each once; see `read_cases`."""
    found: dict[Path, Path] = {}
    for given in paths:
        path = packaged_cases() if str(given) == GUIDE else Path(given)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*.yaml") if p.is_file() and not _hidden(p, path))
            if not inside:
                raise UsageError(f"folder {path} holds no case file", "a case file is called *.yaml")
        elif path.is_file():
            inside = [path]
        else:
            raise UsageError(f"no case file or folder {str(given)!r}", _nearest(path))
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _nearest(path: Path) -> str:
    beside = [str(p) for p in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = did_you_mean(str(path), beside)
    return hint if hint.startswith("did") else f"give a .yaml file, a folder, or {GUIDE}"


def _examined(paths: Sequence[Path | str], max_elements: int) -> tuple[list[Case], list[Diagnostic]]:
    from harness.casefile import tree

    cases: list[Case] = []
    diagnostics: list[Diagnostic] = []
    named: dict[str, tuple[str, int, int]] = {}
    for file in case_files(paths):
        shown = _shown(file)
        documents, problems = tree.read(file, shown)
        diagnostics += problems
        found: list[Diagnostic] = []
        for document in documents:
            case, faults = _examined_document(document, shown, file.parent.absolute(), max_elements)
            found += faults
            if case is not None:
                found += _twice(case.name, document, shown, named)
                cases.append(case)
        # A tag or a second key at a place explains whatever else is wrong there.
        told = {(d.line, d.column) for d in problems}
        diagnostics += [d for d in found if (d.line, d.column) not in told]
    return cases, diagnostics


def _shown(file: Path) -> str:
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _examined_document(
    document: Node, shown: str, folder: Path, max_elements: int
) -> tuple[Case | None, list[Diagnostic]]:
    from harness.casefile.checks import examine
    from harness.casefile.shape import read_shape

    shape = read_shape(document, shown)
    if shape.draft is None:
        return None, list(shape.diagnostics)
    case, found = examine(shape, document, path=shown, folder=folder, max_elements=max_elements)
    return case, [*shape.diagnostics, *found]


def _twice(
    name: str, document: Node, shown: str, named: dict[str, tuple[str, int, int]]
) -> Iterable[Diagnostic]:
    """Yield a problem at both places where one name is given to two cases."""
    if not name:
        return
    line, column = document.place(("case",))
    if name not in named:
        named[name] = (shown, line, column)
        return
    path, first_line, first_column = named[name]
    here, there = f"{shown}:{line}", f"{path}:{first_line}"
    hint = "names are unique: rename one"
    yield Diagnostic(shown, line, column, f"case {name!r} is also at {there}", hint)
    yield Diagnostic(path, first_line, first_column, f"case {name!r} is also at {here}", hint)
