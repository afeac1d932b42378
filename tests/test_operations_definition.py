"""Operations by two expressions: what is refused when the two, or what they are given, do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from harness.errors import InputError
from harness.formats import DTYPES
from harness.operations import definition
from harness.registry import COTANGENT, OPERATIONS, ExactProblem, Operation

X = np.array([0.5, 1.0, 2.0])


@pytest.fixture
def made() -> Iterator[Callable[..., Operation]]:
    before = dict(OPERATIONS._items)

    def make(meant: Any, stable: Any) -> Operation:
        return definition.operation(
            name="made", title="t", formula="f", inputs={"x": "any"}, definition=meant, stable=stable,
            algorithm="a", differentiable=("x",),
        )  # fmt: skip

    yield make
    OPERATIONS._items.clear()
    OPERATIONS._items.update(before)


def problem(x: np.ndarray, cotangent: np.ndarray | None = None) -> ExactProblem:
    if cotangent is None:
        return ExactProblem("made", {"x": x}, {}, DTYPES["float64"])
    return ExactProblem("made", {"x": x, COTANGENT: cotangent}, {}, DTYPES["float64"], ("x",))


def test_a_stable_expression_of_another_function_is_refused(made: Callable[..., Operation]) -> None:
    own = made(lambda xp, x: xp.exp(x), lambda xp, x: xp.exp(x) + 1)
    with pytest.raises(InputError, match=r"computes another function than its definition: y\[0\] is 2\.6487"):
        own.reference(problem(X))


def test_a_stable_expression_of_another_shape_is_refused(made: Callable[..., Operation]) -> None:
    own = made(lambda xp, x: xp.exp(x), lambda xp, x: xp.sum(x))
    with pytest.raises(InputError, match=r"gives y of shape \[\], the definition of shape \[3\]"):
        own.reference(problem(X))


def test_a_stable_expression_that_rounds_is_not(made: Callable[..., Operation]) -> None:
    """1 − cos x loses half of its digits at 10⁻⁴, and says so: that is its bound."""
    own = made(lambda xp, x: 1 - xp.cos(x), lambda xp, x: 1 - xp.cos(x))
    found = own.reference(problem(np.array([1e-4, 1e-9, 3.0])))
    np.testing.assert_allclose(found.outputs["y"].to_float64(), [5e-9, 5e-19, 1.9899924966], rtol=1e-8)


@pytest.mark.parametrize("shape", [(2,), (3, 1), (1, 3), ()])
def test_a_cotangent_of_another_shape_is_refused(made: Callable[..., Operation], shape: Any) -> None:
    own = made(lambda xp, x: xp.exp(x), None).differentiated(("x",))
    with pytest.raises(InputError, match=r"shape"):
        own.reference(problem(X, np.ones(shape)))


def test_that_of_a_scalar_may_be_a_list_of_one(made: Callable[..., Operation]) -> None:
    own = made(lambda xp, x: xp.sum(x), None).differentiated(("x",))
    for shape in ((), (1,)):
        assert own.reference(problem(X, np.ones(shape))).outputs["grad_x"].to_float64().tolist() == [1, 1, 1]


def test_costs_are_those_of_the_largest_input() -> None:
    """Inputs of 12 and 3 numbers and a result of 4: 5 operations for each of 12, 19 numbers of 8 bytes."""
    shapes = {"x": (4, 3), "scale": (3,)}
    found = definition.per_entry(5, definition.rows)(shapes, {}, 8)
    assert (found.flops, found.bytes) == (60, 152)
    assert definition.per_entry(1)(shapes, {}, 1).bytes == 12 + 3 + 12
    assert definition.per_entry(1, definition.one)(shapes, {}, 1).bytes == 12 + 3 + 1
