"""What a side may be asked to be, and what is said of what it may not."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import catalogue
from harness.compare.spec import (
    SideSpec,
    check_names,
    coordinates_in_words,
    normal_name,
    normal_version,
    paired,
    parse,
    satisfies,
)
from harness.errors import UsageError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(text)
    return str(caught.value)


def _program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


# ---- what is allowed ------------------------------------------------------------------------------------


def test_here() -> None:
    assert parse(" here ") == SideSpec(" here ", here=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("numpy==2.3.0", ("numpy==2.3.0",)),
        ("scipy==1.16.0 numpy==2.3.0", ("numpy==2.3.0", "scipy==1.16.0")),
        ("scipy==1.16.0,numpy==2.3.0", ("numpy==2.3.0", "scipy==1.16.0")),
        ("ML_Dtypes==V0.5.RC1", ("ml-dtypes==0.5rc1",)),
        ("torch==2.13.0+CPU", ("torch==2.13.0+cpu",)),
        ("numpy==2.3.0 numpy==2.3.0", ("numpy==2.3.0",)),
    ],
)
def test_requirements(text: str, expected: tuple[str, ...]) -> None:
    found = parse(text)
    assert found.requirements == expected
    assert not found.here
    assert found.revision is found.interpreter is None


@pytest.mark.parametrize(
    "text",
    [
        "main",
        "main~1",
        "HEAD^",
        "HEAD^^{}",
        "3bcc28c",
        "v1.0",
        "feature/faster",
        "origin/main",
        "HEAD@{1}",
        "@",
        ":/fix",
    ],
)
def test_revision(text: str) -> None:
    found = parse(text)
    assert found == SideSpec(text, here=False, revision=text)


def test_a_quoted_revision_keeps_its_blanks_and_commas() -> None:
    assert parse("'HEAD@{2 days, 3 hours ago}'").revision == "HEAD@{2 days, 3 hours ago}"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("8", 8), ("-3", -3), ("0x10", 16), ("0.50", Decimal("0.50")), ("1e-5", Decimal("1e-5")),
        (".inf", Decimal("Infinity")), ("true", True), ("no", "no"), ("1:30", "1:30"), ("causal", "causal"),
        ("'8'", "8"), ('"two words"', "two words"), ('"null"', "null"),
    ],
)  # fmt: skip
def test_axis_values_are_those_of_a_case_file(written: str, value: Any) -> None:
    found = parse(f"axis.n={written}").coordinates["axis.n"]
    assert found == value
    assert type(found) is type(value)


def test_names_stay_text() -> None:
    assert parse("formulation=8").coordinates == {"formulation": "8"}


def test_coordinates_beside_a_revision() -> None:
    found = parse("main~1, formulation=naive axis.n=8")
    assert found.revision == "main~1"
    assert found.coordinates == {"formulation": "naive", "axis.n": 8}
    assert not found.here
    assert coordinates_in_words(found.coordinates) == ["formulation=naive", "axis.n=8"]


def test_coordinates_alone_are_here() -> None:
    found = parse("backend=torch-cpu,dtype=float32")
    assert found.here
    assert found.coordinates == {"backend": "torch-cpu", "dtype": "float32"}


def test_interpreter_by_its_path_and_by_its_folder(tmp_path: Path) -> None:
    python = _program(tmp_path / "env" / "bin" / "python")
    for text in ("env/bin/python", "env", "./env", str(python), str(tmp_path / "env")):
        assert parse(text).interpreter == python, text


def test_an_interpreter_that_is_a_link_stays_one(tmp_path: Path) -> None:
    link = tmp_path / "env" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(sys.executable)
    assert parse("env").interpreter == link


def test_a_path_with_blanks_quotes_and_commas(tmp_path: Path) -> None:
    python = _program(tmp_path / "it's, my env" / "bin" / "python")
    assert parse("it's, my env").interpreter == python
    other = _program(tmp_path / "two words" / "bin" / "python")
    found = parse("'two words' axis.n=2")
    assert found.interpreter == other
    assert found.coordinates == {"axis.n": 2}


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    python = _program(tmp_path / "home" / "env" / "bin" / "python3")
    assert parse("~/env").interpreter == python


# ---- what is not ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "  ", ",", "''", '"" main'])
def test_nothing(text: str) -> None:
    assert "empty" in _refusal(text)


@pytest.mark.parametrize("text", ["here main", "main numpy==2.3", "main dev", "here,numpy==2.3.0"])
def test_two_that_exclude_each_other(text: str) -> None:
    assert "a side is one of them" in _refusal(text)


def test_an_interpreter_excludes_the_others(tmp_path: Path) -> None:
    _program(tmp_path / "env" / "bin" / "python")
    for text in ("env main", "env numpy==2.3", "env here", "env env"):
        assert "a side is one of them" in _refusal(text)


@pytest.mark.parametrize(
    "text", ["--upload-pack=sh", "-x", "'--all'", "main --output=/tmp/x", "--output=x/ main"]
)
def test_an_option_is_refused_and_never_reaches_git(text: str) -> None:
    assert "is an option" in _refusal(text)


def test_an_option_is_refused_even_where_a_file_is_called_so(tmp_path: Path) -> None:
    _program(tmp_path / "-x")
    assert "is an option" in _refusal("-x")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("formulaton=naive", "did you mean 'formulation'?"),
        ("backends=numpy", "did you mean 'backend'?"),
        ("numpy=2.3.0", "a version numpy==2.3.0"),
        ("n=8", "an axis is written axis.n=8"),
        ("axis.=8", "axis.NAME"),
        ("axis.2n=8", "axis.NAME"),
    ],
)
def test_what_is_no_coordinate(text: str, hint: str) -> None:
    told = _refusal(text)
    assert "is no coordinate" in told
    assert hint in told


@pytest.mark.parametrize(
    "text", ["numpy>=2", "numpy~=2.3", "numpy!=2.3", "numpy<3", "numpy>2", "numpy===2.3"]
)
def test_several_versions(text: str) -> None:
    assert "write numpy==" in _refusal(text)


@pytest.mark.parametrize("text", ["numpy==2.*", "numpy==latest", "numpy==2.3.0;x", "numpy==2.3==4"])
def test_no_full_version(text: str) -> None:
    assert "no full version of numpy" in _refusal(text)


@pytest.mark.parametrize("text", ["numpy==", "==2.3", "numpy == 2.3", "numpy ==2.3", "numpy== 2.3"])
def test_half_a_requirement(text: str) -> None:
    assert "half a requirement" in _refusal(text)


def test_half_a_coordinate() -> None:
    assert "'=naive' has no name" in _refusal("formulation =naive")
    assert "formulation has no value" in _refusal("formulation= naive")


def test_extras_and_two_versions() -> None:
    assert "names extras" in _refusal("jax[cpu]==0.5")
    assert "two versions of numpy" in _refusal("numpy==2.3.0 NumPy==2.2.0")


@pytest.mark.parametrize(
    "text", ["axis.n=null", "axis.n=~", "axis.n=.nan", "axis.n=1e99999", "axis.n=" + "1" * 2001]
)
def test_values_that_no_axis_holds(text: str) -> None:
    assert "axis.n" in _refusal(text)


def test_a_coordinate_twice() -> None:
    assert "gives axis.n twice" in _refusal("axis.n=8 axis.n=9")


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    _program(tmp_path / "README", 0o644)
    assert "heads/docs" in _refusal("docs")
    assert "holds no interpreter" in _refusal("./docs")
    assert "cannot be executed" in _refusal("README")
    for text in ("./nothing", "/nothing/python", "nothing/", "~/nothing", "~nobody-of-this-name/env"):
        assert "there is no file or folder" in _refusal(text), text


def test_quotes_that_do_not_close() -> None:
    assert "not closed" in _refusal("main 'x")


def test_far_too_long_and_unprintable() -> None:
    assert "at most" in _refusal("a" * 5000)
    assert "at most" in _refusal("a\0b")
    assert parse("a" * 300).revision == "a" * 300


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    given_ = (found.interpreter is not None) + bool(found.requirements) + (found.revision is not None)
    assert given_ + found.here == 1
    assert found.revision is None or not found.revision.startswith("-")


# ---- both sides -----------------------------------------------------------------------------------------


def test_both_sides_name_the_same_coordinates() -> None:
    paired(parse("here"), parse("main"))
    paired(parse("formulation=naive axis.n=8"), parse("main axis.n=9 formulation=naive"))
    with pytest.raises(UsageError, match=r"--base 'formulation=naive' gives formulation, and --head 'here'"):
        paired(parse("formulation=naive"), parse("here"))
    with pytest.raises(UsageError, match=r"give --base the value to compare with: axis\.n=…"):
        paired(parse("dtype=float32"), parse("dtype=float32 axis.n=8"))


def test_names_that_exist() -> None:
    catalogue.load()
    check_names(parse("formulation=naive backend=numpy dtype=float32 axis.n=8"))
    for text, hint in (
        ("formulation=naiv", "'naive'"),
        ("backend=nump", "'numpy'"),
        ("dtype=float31", "'float3"),
    ):
        with pytest.raises(UsageError, match=hint):
            check_names(parse(text))


# ---- versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "normal"),
    [  # the examples of PEP 440, "Normalization"
        ("1.1RC1", "1.1rc1"), ("00", "0"), ("09000", "9000"), ("1.0+foo0100", "1.0+foo0100"),
        ("1.1.a1", "1.1a1"),
        ("1.1-a1", "1.1a1"), ("1.0a.1", "1.0a1"), ("1.1alpha1", "1.1a1"), ("1.1beta2", "1.1b2"),
        ("1.1c3", "1.1rc3"),
        ("1.2a", "1.2a0"), ("1.2.post-2", "1.2.post2"), ("1.2-post2", "1.2.post2"), ("1.0-r4", "1.0.post4"),
        ("1.2.post", "1.2.post0"), ("1.0-1", "1.0.post1"), ("1.2-dev2", "1.2.dev2"), ("1.2.dev", "1.2.dev0"),
        ("1.0+ubuntu-1", "1.0+ubuntu.1"), ("v1.0", "1.0"), ("1!2.0", "1!2.0"), ("0!2.0", "2.0"),
        ("latest", None), ("2.*", None), ("", None), ("1.0+", None), ("2.3.0 ; x", None),
    ],
)  # fmt: skip
def test_normal_versions(written: str, normal: str | None) -> None:
    assert normal_version(written) == normal


@pytest.mark.parametrize(
    ("found", "asked", "same"),
    [
        ("2.3.0", "2.3", True), ("2.3", "2.3.0", True), ("2.30", "2.3", False), ("2.3.0+cpu", "2.3.0", True),
        ("2.3.0", "2.3.0+cpu", False), ("2.3.0+cpu", "2.3.0+cu126", False), ("2.3.0rc1", "2.3rc1", True),
        ("2.3.0rc1", "2.3", False), ("2.3.0.post1", "2.3", False), ("10.0", "1", False),
        ("1!2.0", "2.0", False),
        ("1!2.0", "1!2", True), (None, "2.3", False), ("0.0", "0", True), ("strange", "strange", True),
    ],
)  # fmt: skip
def test_what_satisfies(found: str | None, asked: str, same: bool) -> None:
    assert satisfies(found, asked) is same


def test_normal_names() -> None:
    assert normal_name("ML_Dtypes") == normal_name("ml.dtypes") == normal_name("ml-_.dtypes") == "ml-dtypes"


def test_the_running_interpreter_is_a_side() -> None:
    assert parse(sys.executable).interpreter == Path(sys.executable).absolute()
