"""The cache of references: what comes back is what went in, whatever happened to the file."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flint import arb

from harness.reference.cache import SCHEMA, ReferenceCache, default_folder, dumps, loads
from harness.reference.elements import Reference, ReferenceArray

KEY_PARTS: dict[str, Any] = {
    "operation": "softmax",
    "version": 1,
    "parameters": {"axis": -1},
    "dtype": "float32",
    "mode": "forward",
    "inputs_digest": "ab" * 32,
}


def key(**changes: Any) -> str:
    return ReferenceCache.key(**{**KEY_PARTS, **changes})


def make_reference(seed: int = 0) -> Reference:
    roots = [arb(n).sqrt() for n in range(seed, seed + 12)]
    special = ReferenceArray.from_float64([np.inf, -np.inf, np.nan, 0.0, -0.0])
    outputs = {"p": ReferenceArray.from_balls(roots, (3, 4)), "special": special}
    quantities = {"condition": 1 / 3, "terms": np.full((3, 1), 4.0), "scalar": np.array(0.1)}
    return Reference(outputs, quantities, coverage=0.75)


def same(a: Reference, b: Reference) -> bool:
    return dumps(a, "k") == dumps(b, "k")


def test_a_reference_comes_back_bit_for_bit(tmp_path: Path) -> None:
    cache, reference = ReferenceCache(tmp_path), make_reference()
    assert cache.get(key()) is None
    cache.put(key(), reference)
    found = cache.get(key())
    assert found is not None
    for name, output in reference.outputs.items():
        for field in ("kind", "hi", "lo", "exponent", "radius_log2"):
            was, now = getattr(output, field), getattr(found.outputs[name], field)
            assert now.dtype == was.dtype
            np.testing.assert_array_equal(now.view(np.uint8), was.view(np.uint8))
    assert found.coverage == 0.75
    assert found.quantities["condition"] == 1 / 3
    np.testing.assert_array_equal(found.quantities["terms"], np.full((3, 1), 4.0))
    assert np.asarray(found.quantities["scalar"]).shape == ()
    assert (cache.hits, cache.misses, cache.corrupted, cache.unwritten) == (1, 1, 0, 0)


def test_arrays_that_come_back_can_be_written_to(tmp_path: Path) -> None:
    found = loads(dumps(make_reference(), "k"), "k")
    found.outputs["p"].hi[0, 0] = 1.25  # a view of the file's bytes would be read-only
    assert found.outputs["p"].hi[0, 0] == 1.25


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 1, 3)])
def test_every_shape_comes_back(shape: tuple[int, ...]) -> None:
    reference = Reference({"y": ReferenceArray.from_float64(np.full(shape, 2.5))}, {})
    found = loads(dumps(reference, "k"), "k")
    assert found.outputs["y"].shape == shape
    np.testing.assert_array_equal(found.outputs["y"].to_float64(), np.full(shape, 2.5))


def test_an_entry_is_compact(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(10_000)
    exact = Reference({"y": ReferenceArray.from_float64(values)}, {})
    assert len(dumps(exact, "k")) < 10_000 * 10  # hi is 8 bytes; lo is all 0, exponents compress
    irrational = Reference(
        {"y": ReferenceArray.from_balls([arb(v).exp() for v in values.tolist()], (10_000,))}
    )
    assert len(dumps(irrational, "k")) < 10_000 * 19  # hi and lo are 16; 33 uncompressed


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "log_softmax"},
        {"version": 2},
        {"parameters": {"axis": 0}},
        {"parameters": {}},
        {"parameters": {"axis": "-1"}},
        {"dtype": "bfloat16"},
        {"mode": "backward"},
        {"inputs_digest": "cd" * 32},
        {"cotangent": "ef"},
    ],
)
def test_whatever_a_reference_depends_on_changes_its_key(changes: dict[str, Any]) -> None:
    assert key(**changes) != key()


def test_another_format_of_entries_has_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr("harness.reference.cache.SCHEMA", SCHEMA + 1)
    assert key() != before


def test_equal_numbers_have_one_key_however_written() -> None:
    one = {key(parameters={"lr": number}) for number in (1, Decimal(1), Decimal("1.00"), Decimal("1e0"))}
    assert len(one) == 1
    assert key(parameters={"lr": True}) not in one
    assert key(parameters={"a": 1, "b": 2}) == key(parameters={"b": 2, "a": 1})


def flip_every_bit(content: bytes) -> list[bytes]:
    step = max(1, len(content) * 8 // 500)
    damaged = []
    for bit in range(0, len(content) * 8, step):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(changed))
    return damaged


def truncate(content: bytes) -> list[bytes]:
    return [content[:length] for length in range(0, len(content), max(1, len(content) // 100))]


def lengthen(content: bytes) -> list[bytes]:
    return [content + b"\0", content + content]


@pytest.mark.parametrize("damage", [flip_every_bit, truncate, lengthen])
def test_a_damaged_entry_is_noticed(tmp_path: Path, damage: Callable[[bytes], list[bytes]]) -> None:
    cache = ReferenceCache(tmp_path)
    cache.put(key(), make_reference())
    path = cache.path(key())
    damaged = damage(path.read_bytes())
    assert damaged
    for content in damaged:
        path.write_bytes(content)
        assert cache.get(key()) is None
    assert cache.corrupted == len(damaged)
    assert cache.hits == cache.misses == 0


def test_an_entry_of_another_key_is_noticed(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path)
    cache.put(key(dtype="float64"), make_reference(1))
    cache.path(key()).parent.mkdir(exist_ok=True)
    cache.path(key(dtype="float64")).rename(cache.path(key()))
    assert cache.get(key()) is None
    assert cache.corrupted == 1


def test_a_damaged_entry_is_made_again_and_replaced(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path)
    made: list[int] = []

    def compute() -> Reference:
        made.append(1)
        return make_reference()

    assert cache.get_or_compute(key(), compute)[1] == "computed"
    assert cache.get_or_compute(key(), compute)[1] == "cached"
    cache.path(key()).write_bytes(cache.path(key()).read_bytes()[:-1])
    reference, found = cache.get_or_compute(key(), compute)
    assert found == "recomputed"
    assert same(reference, make_reference())
    assert cache.get_or_compute(key(), compute)[1] == "cached"
    assert len(made) == 2


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    cache = ReferenceCache(blocked)
    reference, found = cache.get_or_compute(key(), make_reference)
    assert found == "computed"
    assert same(reference, make_reference())
    assert cache.unwritten == 1
    assert blocked.read_text() == "not a folder"


def test_what_a_killed_writer_left_is_removed_in_time(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path)
    folder = cache.path(key()).parent
    folder.mkdir()
    abandoned, fresh = folder / "old.partial", folder / "new.partial"
    abandoned.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    cache.put(key(), make_reference())
    assert sorted(p.name for p in folder.iterdir()) == [cache.path(key()).name, "new.partial"]


def write_and_read(folder: str, seeds: list[int]) -> tuple[int, int, int]:
    """Write, and read, the entries of all seeds many times; every one read must be right."""
    cache = ReferenceCache(folder)
    for _ in range(10):
        for seed in seeds:
            entry = key(inputs_digest=str(seed))
            cache.put(entry, make_reference(seed))
            found = cache.get(entry)
            if found is None or not same(found, make_reference(seed)):
                return (-1, -1, -1)
    return (cache.hits, cache.corrupted, cache.unwritten)


def test_writers_at_once_never_show_each_other_half_an_entry(tmp_path: Path) -> None:
    seeds = [1, 2, 3]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(write_and_read, [(str(tmp_path), seeds)] * 4)
    assert found == [(30, 0, 0)] * 4
    assert not list(tmp_path.rglob("*.partial"))


def test_the_folder_is_the_environments_or_the_platforms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("HARNESS_CACHE")
    assert default_folder().name == "numerics-harness"
