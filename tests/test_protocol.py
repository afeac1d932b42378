"""Messages come back as they went, exactly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import AxisReference, Cell, Condition, InputSpec, Problem, Rule, Skip, SpeedSpec
from harness.protocol import decode, encode

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False), st.fractions(),
    st.decimals(allow_nan=False),
)  # fmt: skip
MESSAGES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(alphabet="abcdefgh_", min_size=1), inner, max_size=4),
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


@given(MESSAGES)
def test_round_trip(message: Any) -> None:
    line = encode(message)
    assert "\n" not in line
    assert same(decode(line), message)


def test_it_is_strict_json() -> None:
    def refuse(token: str) -> None:
        raise AssertionError(token)

    json.loads(encode([math.inf, -math.inf, math.nan, Decimal("Infinity")]), parse_constant=refuse)
    assert math.isnan(decode(encode(math.nan)))
    assert decode(encode(Decimal("0.10"))).as_tuple() == Decimal("0.10").as_tuple()


def test_the_vocabulary_crosses() -> None:
    spec = InputSpec(
        "x", "linspace", {"low": 0, "high": Fraction(1, 3), "shape": [8, AxisReference("n")]}, 3, 5
    )
    problem = Problem("k", "case", "softmax", "float32", "forward", 0, {"axis": -1}, (spec,), "/tmp")
    rule = Rule(
        where={"n": Condition(above=Decimal("0.9"))}, outcome=("ok", "zeroed"), breaks="maybe", line=7
    )
    cell = Cell(
        id="case/naive/numpy/float32/n=8", case="case", operation="softmax", formulation="naive",
        backend="numpy", dtype="float32", mode="forward", axes={"n": 8}, profile="quick", problem="k",
        topic="stability", guide=("NM4",), seed=0, outputs=("y",), speed=SpeedSpec(), rules=(rule,),
    )  # fmt: skip
    for thing in (spec, problem, cell, replace(cell, skip=Skip("excluded", "too slow")), Path("a/b")):
        assert decode(encode(thing)) == thing
    assert decode(encode(frozenset({1, 2, Decimal("0.5")}))) == frozenset({1, 2, Decimal("0.5")})


def test_what_cannot_cross_is_named() -> None:
    with pytest.raises(TypeError, match="complex cannot cross"):
        encode({"z": 1j})
