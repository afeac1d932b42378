"""What a side is asked to be: `here`, an interpreter, versions, a revision; and coordinates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

from harness.casefile.tree import scalar
from harness.errors import UsageError, did_you_mean
from harness.formats import DTYPES
from harness.model import Written, format_written
from harness.registry import BACKENDS, FORMULATIONS

NAMED: Final = ("formulation", "backend", "dtype")
"""Coordinates that every cell has; those of a case's axes are `axis.<name>`."""

HERE: Final = "here"

_FORMS: Final = (
    "write here, an interpreter's path, name==version, a git revision, or formulation=, backend=, dtype=, "
    "axis.NAME="
)
_LONGEST: Final = 4000
_PYTHONS: Final = ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe")
_TERM: Final = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s,"'])+""")
_PATH_LIKE: Final = re.compile(r"(?:\.{0,2}[/\\]|~[^/\\]*[/\\]|[A-Za-z]:[/\\])|\.{1,2}\Z|~\Z|[^=]*[/\\]\Z")
_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_ASSIGNED: Final = re.compile(r"(?P<key>[^=<>!~\s]*)=(?P<value>[^=].*|)\Z", re.DOTALL)
_COMPARED: Final = re.compile(
    rf"(?P<name>{_NAME})?(?P<extras>\[[^\]]*\])?(?P<by>===|==|~=|!=|<=|>=|<|>)(?P<than>.*)\Z"
)
_AXIS: Final = re.compile(r"axis\.[A-Za-z][A-Za-z0-9_]*\Z")
_VERSION: Final = re.compile(
    r"v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?:[-_.]?(?P<pre>alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?P<pre_number>[0-9]*))?"
    r"(?:-(?P<bare_post>[0-9]+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_number>[0-9]*))?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_number>[0-9]*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\Z"
)
"""PEP 440, appendix B."""
_PRE: Final = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


@dataclass(frozen=True, slots=True)
class SideSpec:
    """What one side was asked to be; at most one of interpreter, requirements and revision is given."""

    text: str
    here: bool = True
    """This interpreter and this tree."""
    interpreter: Path | None = None
    requirements: tuple[str, ...] = ()
    """`name==version`, name and version in their normal forms (PEP 503, PEP 440)."""
    revision: str | None = None
    coordinates: Mapping[str, Written] = field(default_factory=dict)
    """`formulation`, `backend`, `dtype`, `axis.<name>` → the value, as a case file would write it."""


def parse(text: str) -> SideSpec:
    """Return what `text` asks for: terms separated by blanks or commas; quotes keep both in a term.

    Raises
    ------
    UsageError
        Something is no term, or two terms exclude each other.
    """
    here: list[str] = []
    interpreters: list[Path] = []
    requirements: dict[str, str] = {}
    revisions: list[str] = []
    coordinates: dict[str, Written] = {}
    for term, plain in _terms(text):
        if not plain:
            raise UsageError(f"a term of {text!r} is empty", _FORMS)
        if plain.startswith("-"):
            raise UsageError(f"{plain!r} is an option, not a side of a comparison", _FORMS)
        path = _interpreter(plain)
        assigned, compared = _ASSIGNED.match(term), _COMPARED.match(plain)
        if path is not None:
            interpreters.append(path)
        elif plain == HERE:
            here.append(plain)
        elif compared is not None:
            name, version = _requirement(plain, compared)
            if requirements.setdefault(name, version) != version:
                raise UsageError(f"{text!r} names two versions of {name}: {requirements[name]} and {version}")
        elif assigned is not None:
            key = _coordinate(assigned["key"], assigned["value"])
            if key in coordinates:
                raise UsageError(f"{text!r} gives {key} twice", "a side is at one value of each coordinate")
            coordinates[key] = _written(key, assigned["value"])
        else:
            revisions.append(plain)
    asked = [*here[:1], *map(str, interpreters), *_pinned(requirements)[:1], *revisions]
    if len(asked) > 1:
        raise UsageError(
            f"{text!r} asks for {' and '.join(map(repr, asked))}: a side is one of them",
            "one of here, an interpreter, versions (several may stand together), a revision",
        )
    return SideSpec(
        text,
        here=not (interpreters or requirements or revisions),
        interpreter=interpreters[0] if interpreters else None,
        requirements=_pinned(requirements),
        revision=revisions[0] if revisions else None,
        coordinates=coordinates,
    )


def paired(base: SideSpec, head: SideSpec) -> None:
    """Raise UsageError unless both sides give the same coordinates, for each cell needs its partner."""
    for one, other, name in ((base, head, "head"), (head, base, "base")):
        lacking = [key for key in one.coordinates if key not in other.coordinates]
        if lacking:
            whose = "base" if name == "head" else "head"
            wanted = " ".join(f"{key}=…" for key in lacking)
            raise UsageError(
                f"--{whose} {one.text!r} gives {', '.join(lacking)}, and --{name} {other.text!r} does not",
                f"give --{name} the value to compare with: {wanted}",
            )


def check_names(spec: SideSpec) -> None:
    """Raise UsageError if a formulation, backend or dtype does not exist; the catalogue is loaded."""
    formulations = sorted({f.name for f in FORMULATIONS.values()})
    for key, known in (("formulation", formulations), ("backend", list(BACKENDS)), ("dtype", list(DTYPES))):
        value = spec.coordinates.get(key)
        if value is not None and value not in known:
            raise UsageError(f"unknown {key} {value!r} in {spec.text!r}", did_you_mean(str(value), known))


def normal_name(name: str) -> str:
    """Return the normal form of a distribution's name (PEP 503): `ml_dtypes` is `ml-dtypes`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def normal_version(version: str) -> str | None:
    """Return the normal form of a version (PEP 440): `V2.3-RC1` is `2.3rc1`; None if it is none."""
    match = _VERSION.match(version.strip().lower())
    if match is None:
        return None
    text = f"{int(match['epoch'])}!" if match["epoch"] and int(match["epoch"]) else ""
    text += ".".join(str(int(part)) for part in match["release"].split("."))
    if match["pre"]:
        text += f"{_PRE.get(match['pre'], match['pre'])}{int(match['pre_number'] or 0)}"
    if match["post"] or match["bare_post"]:
        text += f".post{int(match['bare_post'] or match['post_number'] or 0)}"
    if match["dev"]:
        text += f".dev{int(match['dev_number'] or 0)}"
    if match["local"]:
        text += "+" + re.sub(r"[-_]", ".", match["local"])
    return text


def satisfies(found: str | None, asked: str) -> bool:
    """Return whether a version is the one that was asked for with `==`.

    Zeros at the end do not count, and a local label counts only where one was asked for: 2.3.0+cpu is 2.3.
    """
    if found is None:
        return False
    one, other = (_stripped(normal_version(v) or v) for v in (found, asked))
    return other in (one, one.partition("+")[0])


def _stripped(version: str) -> str:
    release = re.match(r"(?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*", version)
    end = release.end() if release else 0
    return re.sub(r"(\.0)+\Z", "", version[:end]) + version[end:]


# ---- terms ----------------------------------------------------------------------------------------------


def _terms(text: str) -> Iterator[tuple[str, str]]:
    """Yield each term, and what it is without quotes; a path that exists is one term, whatever it holds."""
    if "\0" in text or len(text) > _LONGEST:
        raise UsageError(f"a side of a comparison is a line of at most {_LONGEST} characters", _FORMS)
    if not text.strip(" \t\r\n,"):
        raise UsageError("a side of a comparison is empty", _FORMS)
    if re.search(r"[\s,\"']", text) and os.path.exists(_absolute(text)):  # noqa: PTH110
        yield text, text
        return
    if re.sub(r"[\s,]", "", _TERM.sub("", text)):
        raise UsageError(f"{text!r} has a quote that is not closed")
    for term in _TERM.findall(text):
        yield term, _unquoted(term)


def _unquoted(term: str) -> str:
    return re.sub(r"""("[^"]*"|'[^']*')""", lambda match: match[0][1:-1], term)


def _interpreter(term: str) -> Path | None:
    """Return the interpreter that a term names by a path; None if it is no path."""
    like = _PATH_LIKE.match(term) is not None
    path = _absolute(term)
    if os.path.isdir(path):  # noqa: PTH112 — as below: Path's own raises for a name that is too long
        found = next((path / name for name in _PYTHONS if (path / name).is_file()), None)
        if found is None:
            hint = "name the interpreter itself, or a folder that holds bin/python"
            if not like:
                hint += f"; for a branch of this name write heads/{term}"
            raise UsageError(f"the folder {term!r} holds no interpreter", hint)
        return found
    if os.path.isfile(path):  # noqa: PTH113
        if not os.access(path, os.X_OK):
            raise UsageError(f"the file {term!r} is no interpreter: it cannot be executed", _FORMS)
        return path
    if like:
        raise UsageError(f"there is no file or folder {term!r}", _FORMS)
    return None


def _absolute(text: str) -> Path:
    """Return an absolute path; links are kept, for an environment's interpreter is one to another's."""
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 — never raises


def _requirement(term: str, match: re.Match[str]) -> tuple[str, str]:
    """Return the name and the version of `name==version`."""
    name, by, than = match["name"], match["by"], match["than"]
    if name is None or not than:
        raise UsageError(f"{term!r} is half a requirement", "write name==version without blanks")
    if match["extras"]:
        raise UsageError(
            f"{term!r} names extras", f"write {name}=={than}, and what the extras need beside it"
        )
    if by != "==":
        raise UsageError(
            f"{term!r} allows several versions: a comparison needs one", f"write {name}=={than or 'VERSION'}"
        )
    version = normal_version(than)
    if version is None:
        raise UsageError(f"{than!r} is no full version of {name}", f"one version, such as {name}==2.3.0")
    return normal_name(name), version


def _coordinate(key: str, value: str) -> str:
    if key in NAMED or _AXIS.match(key):
        return key
    if not key:
        raise UsageError(f"'={value}' has no name", "write NAME=VALUE without blanks")
    hint = did_you_mean(key, [*NAMED, "axis.NAME"])
    if "did you mean" not in hint:
        hint = f"an axis is written axis.{key or 'NAME'}={value}"
        if value[:1].isdigit():
            hint += f", a version {key}=={value}"
        hint += "; " + did_you_mean("", [*NAMED, "axis.NAME"])
    raise UsageError(f"{key!r} is no coordinate", hint)


def _written(key: str, value: str) -> Written:
    """Return a value as a case file would hold it: quoted it is text, otherwise a scalar of YAML 1.2."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    plain = _unquoted(value)
    if not plain:
        raise UsageError(f"{key} has no value", f"write {key}=VALUE")
    if key in NAMED or quoted:
        return plain
    try:
        found = scalar(plain)
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from None
    if found is None or (isinstance(found, Decimal) and found.is_nan()):
        raise UsageError(f"{key}={plain}: an axis cannot hold it", "quote it if it is text")
    return found  # type: ignore[no-any-return]


def _pinned(requirements: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}=={version}" for name, version in sorted(requirements.items()))


def coordinates_in_words(coordinates: Mapping[str, Written]) -> Sequence[str]:
    """Return `formulation=naive`, `axis.n=8`: each as a side would be asked for it."""
    return [f"{key}={format_written(value)}" for key, value in coordinates.items()]
