"""Data beside the case file: exact decimals, and no path that leaves the folder."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from harness import catalogue
from harness.errors import InputError
from harness.formats import DTYPES
from harness.model import InputSpec, Problem
from harness.recipes import make_inputs

catalogue.load()


def read(folder, dtype="float64", **arguments):
    spec = InputSpec("x", "file", arguments)
    problem = Problem("key", "case", "operation", dtype, "forward", 0, {}, (spec,), str(folder))
    values, errors = make_inputs(problem, DTYPES[dtype])
    return values["x"], errors["x"]


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "cases"
    (inside / "data").mkdir(parents=True)
    text = "\N{ZERO WIDTH NO-BREAK SPACE}a, b ,c\n1,2.5,0.1\n\n-3,1e2,1.00390625000001\n"
    (inside / "data" / "t.csv").write_text(text, "utf-8")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    np.save(inside / "m.npy", np.arange(6.0).reshape(3, 2))
    np.save(inside / "i.npy", np.array([2**53 + 1, 2**60]))
    return inside


def test_a_column_is_a_vector_and_columns_are_a_matrix(folder):
    assert read(folder, path="data/t.csv", column="b")[0].tolist() == [2.5, 100.0]
    assert read(folder, path="data/t.csv", columns=["c", "a"])[0].tolist() == [
        [0.1, 1.0],
        [1.00390625000001, -3.0],
    ]


def test_decimals_are_rounded_once(folder):
    values, error = read(folder, "bfloat16", path="data/t.csv", column="c")
    assert values.tolist() == [0.10009765625, 1.0078125]  # by way of float32 the second would be 1
    assert error == pytest.approx(float((Decimal("1.0078125") / Decimal("1.00390625000001")) - 1), rel=1e-12)


def test_an_intercept_comes_first(folder):
    got, _ = read(folder, path="data/t.csv", columns=["a", "b"], intercept=True)
    assert got.tolist() == [[1.0, 1.0, 2.5], [1.0, -3.0, 100.0]]
    assert read(folder, path="data/t.csv", column="a", intercept=True)[0].tolist() == [[1, 1], [1, -3]]
    assert read(folder, path="m.npy", intercept=True)[0].tolist() == [[1, 0, 1], [1, 2, 3], [1, 4, 5]]


def test_numpy_arrays_are_exact(folder):
    assert read(folder, path="m.npy")[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    got, error = read(folder, path="i.npy")
    assert got.tolist() == [2.0**53, 2.0**60]  # a tie, to even
    assert error == pytest.approx(2.0**-53, rel=1e-12)


def test_no_path_leaves_the_folder(folder, tmp_path):
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "out").symlink_to(tmp_path)
    (folder / "within.csv").symlink_to(folder / "data" / "t.csv")
    for path in (
        "../secret.csv",
        str(tmp_path / "secret.csv"),
        "link.csv",
        "out/secret.csv",
        "data/../../secret.csv",
    ):
        with pytest.raises(InputError, match="leaves the folder of its case"):
            read(folder, path=path, column="a")
    assert read(folder, path="within.csv", column="a")[0].tolist() == [1.0, -3.0]


def test_loops_and_absent_files_are_no_files(folder):
    (folder / "loop.csv").symlink_to(folder / "loop.csv")
    for path in ("absent.csv", "data", "loop.csv", "nul\0byte.csv"):
        with pytest.raises(InputError, match=r"is no file|cannot be followed"):
            read(folder, path=path, column="a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "data/t.csv"}, "one of column and columns is needed"),
        ({"path": "data/t.csv", "column": "a", "columns": ["b"]}, "one of column and columns is needed"),
        ({"path": "data/t.csv", "column": "bb"}, "has no column 'bb'"),
        ({"path": "data/t.csv", "columns": []}, "a list of texts is allowed"),
        ({"path": "data/t.csv", "column": "a", "intercept": "yes"}, "true or false is allowed"),
        ({"path": "m.npy", "column": "a"}, "has no named columns"),
        ({"path": "bad.npy"}, "cannot be read as a NumPy array"),
        ({"path": "text.npy"}, "holds <U1"),
        ({"path": "pickle.npy"}, "cannot be read as a NumPy array"),
        ({"path": "cube.npy", "intercept": True}, "has 3 dimensions"),
        ({"path": "notes.txt", "column": "a"}, "of an unknown kind"),
        ({"path": "ragged.csv", "column": "a"}, "row 2: 1 cells under 2 columns"),
        ({"path": "word.csv", "column": "a"}, "row 1, column 'a': 'one' is no number"),
        ({"path": "vast.csv", "column": "a"}, "out of range"),
        ({"path": "empty.csv", "column": "a"}, "holds no data"),
        ({"path": "header.csv", "column": "a"}, "holds no data"),
        ({"path": "twice.csv", "column": "a"}, "names a column twice"),
        ({"path": "latin.csv", "column": "a"}, "cannot be read as CSV"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(folder, arguments, message):
    (folder / "bad.npy").write_bytes(b"not an array")
    np.save(folder / "text.npy", np.array(["a"]))
    np.save(folder / "pickle.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "cube.npy", np.zeros((1, 1, 1)))
    (folder / "notes.txt").write_text("a\n1\n")
    (folder / "ragged.csv").write_text("a,b\n1,2\n3\n")
    (folder / "word.csv").write_text("a\none\n")
    (folder / "vast.csv").write_text("a\n1e999999999\n")
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("a\n")
    (folder / "twice.csv").write_text("a,a\n1,2\n")
    (folder / "latin.csv").write_bytes("a\n1\né\n".encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read(folder, **arguments)
    assert message in caught.value.message
