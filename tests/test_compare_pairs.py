"""Which cells of two sides are partners, and what is said of those that have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compare.pairs import coordinate, pairs_of, with_axis_values
from harness.errors import NothingSelectedError, UsageError
from harness.model import Axis, Case, Cell, Skip, SpeedSpec, cell_id


def cell(
    formulation: str = "library",
    backend: str = "numpy",
    dtype: str = "float64",
    axes: Mapping[str, Any] | None = None,
    **more: Any,
) -> Cell:
    axes = axes or {}
    found = Cell(
        id=cell_id("c", formulation, backend, dtype, axes), case="c", operation="dot",
        formulation=formulation, backend=backend, dtype=dtype, mode="forward", axes=axes, profile="quick",
        problem="p", topic="t", guide=(), seed=0, outputs=("s",), speed=SpeedSpec(),
    )  # fmt: skip
    return replace(found, **more)


def named(cells: Any) -> list[tuple[str, str]]:
    return [(pair.base.id, pair.head.id) for pair in cells]


def case(name: str, axes: Mapping[str, tuple[Any, ...]], zipped: tuple[tuple[str, ...], ...] = ()) -> Case:
    every = tuple(
        Axis(name=axis, values=values, quick=frozenset(values[:1]), full_only=frozenset(values[-1:]))
        for axis, values in axes.items()
    )
    return replace(Case(name, name, "t", "dot", ()), axes=every, zipped=zipped)


# ---- partners -------------------------------------------------------------------------------------------


def test_without_coordinates_each_cell_is_its_own_partner() -> None:
    cells = [cell(dtype=d, axes={"n": n}) for d in ("float64", "float32") for n in (1, 2)]
    pairs, alone = pairs_of(cells, {}, {})
    assert named(pairs) == [(c.id, c.id) for c in cells]
    assert alone == []


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("formulation", "library", "naive"),
        ("backend", "numpy", "torch-cpu"),
        ("dtype", "float64", "float32"),
    ],
)
def test_a_coordinate_pairs_what_else_is_alike(key: str, one: str, other: str) -> None:
    cells = [cell(**{key: value}, axes={"n": n}) for value in (one, other, "third") for n in (1, 2)]
    pairs, alone = pairs_of(cells, {key: one}, {key: other})
    assert named(pairs) == [
        (cell(**{key: one}, axes={"n": n}).id, cell(**{key: other}, axes={"n": n}).id) for n in (1, 2)
    ]
    assert [pair.name for pair in pairs] == [pair.head.id for pair in pairs]
    assert alone == []  # what neither side asks for is no loss


def test_an_axis_pairs_its_two_values() -> None:
    cells = [cell(axes={"n": n, "m": m}) for n in (8, 16, 32) for m in (1, 2)]
    pairs, _ = pairs_of(cells, {"axis.n": 8}, {"axis.n": 16})
    assert [(p.base.axes, p.head.axes) for p in pairs] == [
        ({"n": 8, "m": 1}, {"n": 16, "m": 1}),
        ({"n": 8, "m": 2}, {"n": 16, "m": 2}),
    ]


def test_axis_values_are_compared_as_numbers_not_as_texts() -> None:
    cells = [cell(axes={"top": Decimal("0.50")}), cell(axes={"top": Decimal(2)})]
    pairs, _ = pairs_of(cells, {"axis.top": Decimal("0.5")}, {"axis.top": 2})
    assert len(pairs) == 1


def test_several_coordinates_at_once() -> None:
    cells = [
        cell(f, b, d) for f in ("library", "naive") for b in ("numpy", "t") for d in ("float64", "float32")
    ]
    pairs, alone = pairs_of(
        cells, {"formulation": "library", "backend": "numpy"}, {"formulation": "naive", "backend": "t"}
    )
    assert named(pairs) == [
        (cell("library", "numpy", d).id, cell("naive", "t", d).id) for d in ("float64", "float32")
    ]
    assert alone == []


def test_cells_of_other_cases_are_no_partners() -> None:
    cells = [cell("library"), cell("naive", case="other")]
    with pytest.raises(NothingSelectedError, match="none of the 2 timed cells selected is on both sides"):
        pairs_of(cells, {"formulation": "library"}, {"formulation": "naive"})


@pytest.mark.parametrize("side", ["base", "head"])
def test_what_one_side_lacks_is_told_of_the_other(side: str) -> None:
    there, here = ("library", "naive") if side == "head" else ("naive", "library")
    cells = [cell(there, dtype="float64"), cell(there, dtype="float32"), cell(here, dtype="float64")]
    pairs, alone = pairs_of(cells, {"formulation": "library"}, {"formulation": "naive"})
    assert len(pairs) == 1
    assert alone == [cell(there, dtype="float32")]


def test_what_is_skipped_or_not_timed_is_on_no_side() -> None:
    cells = [
        cell("library"), cell("naive"),
        cell("library", dtype="float32"), cell("naive", dtype="float32", skip=Skip("unsupported", "no")),
        cell("library", dtype="float16", speed=None), cell("naive", dtype="float16", speed=None),
    ]  # fmt: skip
    pairs, alone = pairs_of(cells, {"formulation": "library"}, {"formulation": "naive"})
    assert named(pairs) == [(cells[0].id, cells[1].id)]
    assert alone == [cells[2]]


def test_nothing_timed_and_nothing_in_common_are_told_apart() -> None:
    with pytest.raises(NothingSelectedError, match="none of the cells selected is timed") as caught:
        pairs_of([cell(speed=None)], {}, {})
    assert caught.value.exit_code == 5
    with pytest.raises(NothingSelectedError) as caught:
        pairs_of([cell()], {"backend": "numpy"}, {"backend": "torch-cpu"})
    assert "(backend=numpy; backend=torch-cpu)" in str(caught.value)
    with pytest.raises(NothingSelectedError, match="none of the cells selected is timed"):
        pairs_of([], {}, {})


coordinates = st.sampled_from(["library", "naive", "third"])


@given(
    st.sets(st.tuples(coordinates, st.sampled_from(["a", "b"]), st.integers(1, 3)), min_size=1),
    coordinates,
    coordinates,
)
def test_each_cell_of_a_side_is_in_one_pair_or_alone(
    found: set[tuple[str, str, int]], one: str, other: str
) -> None:
    cells = [cell(f, b, axes={"n": n}) for f, b, n in sorted(found)]
    sides = {"formulation": one}, {"formulation": other}
    try:
        pairs, alone = pairs_of(cells, *sides)
    except NothingSelectedError:
        rests = [{(c.backend, c.axes["n"]) for c in cells if c.formulation == f} for f in (one, other)]
        assert not rests[0] & rests[1]
        return
    for formulation, side in ((one, "base"), (other, "head")):
        mine = [c.id for c in cells if c.formulation == formulation]
        told = [getattr(p, side).id for p in pairs] + [c.id for c in alone if c.formulation == formulation]
        assert sorted(told) == sorted(mine)
    assert all((p.base.backend, p.base.axes) == (p.head.backend, p.head.axes) for p in pairs)


def test_a_coordinate_of_a_cell() -> None:
    found = cell("library", "numpy", "float32", {"n": 4})
    keys = ("formulation", "backend", "dtype", "axis.n", "axis.m")
    assert [coordinate(found, key) for key in keys] == ["library", "numpy", "float32", 4, None]


# ---- axes that sides set --------------------------------------------------------------------------------


def test_cases_take_the_values_that_sides_ask_for_in_every_profile() -> None:
    found = with_axis_values([case("a", {"n": (1, 2), "m": (5, 6)})], {"axis.n": 7}, {"axis.n": 2})
    n, m = found[0].axes
    assert (n.values, n.quick, n.full_only) == ((7, 2), {7, 2}, frozenset())
    assert m == case("a", {"n": (1, 2), "m": (5, 6)}).axes[1]


def test_one_value_on_both_sides_is_one_value() -> None:
    found = with_axis_values([case("a", {"n": (1, 2)})], {"axis.n": 7}, {"axis.n": 7})
    assert found[0].axes[0].values == (7,)


def test_without_axes_cases_are_as_they_were() -> None:
    cases = [case("a", {"n": (1,)}), case("b", {})]
    assert with_axis_values(cases, {"backend": "numpy"}, {"backend": "numpy"}) == cases


def test_cases_without_the_axis_are_left_out() -> None:
    cases = [case("a", {"n": (1,)}), case("b", {"m": (1,)}), case("c", {"m": (1,), "n": (3,)})]
    assert [c.name for c in with_axis_values(cases, {"axis.n": 2}, {"axis.n": 4})] == ["a", "c"]


def test_an_axis_that_no_case_has() -> None:
    with pytest.raises(UsageError, match="no case selected has the axis 'size'") as caught:
        with_axis_values([case("a", {"sizes": (1,)})], {"axis.size": 2}, {"axis.size": 4})
    assert "did you mean 'sizes'" in str(caught.value)


def test_axes_that_no_case_has_together() -> None:
    sides = {"axis.n": 1, "axis.m": 1}
    with pytest.raises(UsageError, match="no case selected has the axis"):
        with_axis_values([case("a", {"n": (1,)}), case("b", {"m": (1,)})], sides, sides)


def test_a_paired_axis_takes_only_the_values_that_its_partner_knows() -> None:
    paired = case("a", {"n": (1, 2), "m": (5, 6)}, zipped=(("n", "m"),))
    assert with_axis_values([paired], {"axis.n": 1}, {"axis.n": 2}) == [paired]
    with pytest.raises(UsageError, match="paired with another, and has no value 3") as caught:
        with_axis_values([paired], {"axis.n": 1}, {"axis.n": 3})
    assert "allowed: 1, 2" in str(caught.value)
