"""Cells from cases: axes, profiles, units, skips, rules, shared problems; and what a selection takes."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.casefile.coordinates import count_points, points, values_at
from harness.errors import NothingSelectedError, UsageError
from harness.model import (
    Axis,
    AxisReference,
    Case,
    Condition,
    Differentiate,
    Exclusion,
    InputSpec,
    Plan,
    Rule,
    Skip,
    SpeedSpec,
)
from harness.plan import make_plan
from harness.protocol import decode, encode
from harness.registry import Argument, Formulation, Gradient, Lack, Operation, Parameter, Recipe, Registry
from harness.selection import Selection, keyword_test


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("planning runs nothing")


WHOLE = {"elementwise": "float64"}
NO_HALF = {"elementwise": Lack("unsupported", "numpy has no half sums")}


@pytest.fixture(autouse=True)
def _vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = Operation(
        name="softmax", title="", formula="", inputs={"x": "(n,)"}, outputs=("p",),
        dtypes=("float64", "float16"), reference=_never, reference_version=1, bound_formula="",
        bound_source="", bound=_never, parameters={"axis": Parameter(-1, "")},
        gradient=Gradient(("x",), "", _never, 1, "", "", _never),
    )  # fmt: skip
    arguments = {
        "low": Argument("number", "", 0, required=False),
        "high": Argument("number", "", 1, required=False),
        "shape": Argument("shape", ""),
    }
    backends = {
        "numpy": {"float64": WHOLE, "float32": WHOLE, "float16": NO_HALF},
        "absent": {"float64": WHOLE, "float16": WHOLE},
    }
    held: list[tuple[Registry[Any], Mapping[str, Any]]] = [
        (registry.OPERATIONS, {"softmax": operation}),
        (
            registry.FORMULATIONS,
            {f"softmax/{name}": Formulation("softmax", name, _never, "") for name in ("naive", "shifted")},
        ),
        (registry.GRADIENTS, {"softmax/naive": Formulation("softmax", "naive", _never, "")}),
        (registry.RECIPES, {"linspace": Recipe("linspace", "", arguments, _never, lambda _: 1)}),
        (
            registry.BACKENDS,
            {
                name: types.SimpleNamespace(
                    name=name,
                    capabilities=capabilities,
                    autograd=False,
                    unavailable=lambda name=name: "no such library" if name == "absent" else None,
                )
                for name, capabilities in backends.items()
            },
        ),
    ]
    for items, known in held:
        monkeypatch.setattr(items, "_items", dict(known))


def case(**changes: Any) -> Case:
    """Return a case of one cell on each of two formulations, unless changed."""
    plain = Case(
        name="plain",
        title="Plain",
        topic="stability",
        guide=("NM4",),
        operation="softmax",
        inputs=(InputSpec("x", "linspace", {"shape": [4]}),),
        backends=("numpy",),
        dtypes=("float64",),
    )
    return replace(plain, **changes)


def axis(name: str, *values: Any, **more: Any) -> Axis:
    full = more.pop("full", ())
    quick = frozenset(more.pop("quick", values))
    return Axis(name, (*values, *full), quick, frozenset(full), **more)


def ids(plan: Plan) -> list[str]:
    return [cell.id for cell in plan.cells]


SIZED = (InputSpec("x", "linspace", {"shape": [AxisReference("n")]}),)


# ---- axes and profiles ------------------------------------------------------------------------------


def test_cells_are_the_product_of_names_and_axes() -> None:
    plan = make_plan([case(axes=(axis("n", 4, 8), axis("m", 1, 2)), dtypes=("float64", "float32"))])
    assert len(plan.cells) == 2 * 1 * 2 * 4
    assert ids(plan)[:3] == [f"plain/naive/numpy/float64/n={n},m={m}" for n, m in ((4, 1), (4, 2), (8, 1))]
    assert len(set(ids(plan))) == len(plan.cells)


def test_zipped_axes_advance_together_in_the_order_of_the_axes() -> None:
    axes = (axis("m", 1, 2), axis("k", "a", "b"), axis("n", 10, 20))
    assert count_points(axes, (("n", "m"),)) == 4
    values = [tuple(values_at(axes, p).values()) for p in points(axes, (("n", "m"),))]
    assert values == [(1, "a", 10), (1, "b", 10), (2, "a", 20), (2, "b", 20)]


@pytest.mark.parametrize(
    ("profile", "sizes"),
    [("quick", {8}), ("default", {8, 1024}), ("full", {8, 1024, 65536})],
)
def test_profiles_hold_one_another(profile: str, sizes: set[int]) -> None:
    axes = (axis("n", 8, 1024, quick=[8], full=[65536]), axis("m", 1, 2))
    plan = make_plan([case(axes=axes)], profile=profile)
    assert {c.axes["n"] for c in plan.cells} == sizes
    assert {c.axes["m"] for c in plan.cells} == {1, 2}
    smallest = {8: "quick", 1024: "default", 65536: "full"}
    assert all(c.profile == smallest[c.axes["n"]] for c in plan.cells)


def test_a_cell_belongs_to_the_largest_profile_of_its_values() -> None:
    axes = (axis("n", 8, 16, quick=[8]), axis("m", 1, quick=[1], full=[2]))
    plan = make_plan([case(axes=axes)], profile="full")
    found = {tuple(c.axes.values()): c.profile for c in plan.cells}
    assert found == {(8, 1): "quick", (8, 2): "full", (16, 1): "default", (16, 2): "full"}


def test_rows_of_the_guide_are_named_without_regard_to_case() -> None:
    selection = Selection(guide=("nm4", "Ca1", "nm99"))
    assert selection.guide == ("NM4", "CA1", "nm99")
    assert Selection.from_plain(selection.as_plain()) == selection
    with pytest.raises(UsageError, match="unknown row of the guide 'nm99'"):
        selection.check_names()
    with pytest.raises(UsageError) as told:
        Selection(dtypes=("FLOAT64",)).check_names()
    assert told.value.hint == "did you mean 'float64'?"


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown profile 'fast'"):
        make_plan([case()], profile="fast")


# ---- problems ---------------------------------------------------------------------------------------


def test_units_become_exact_values_on_the_grid_of_each_dtype() -> None:
    inputs = (InputSpec("x", "linspace", {"high": AxisReference("top"), "shape": [4]}),)
    top = axis("top", 1, 2, unit="max", kind="times")
    plan = make_plan([case(inputs=inputs, axes=(top,), dtypes=("float32", "float16"))])
    high = {(p.dtype, p.key.split("|")[2]): p.inputs[0].arguments["high"] for p in plan.problems.values()}
    # 65504 and (2 − 2^−23)·2^127 are the largest finite numbers of IEEE 754-2019, table 3.5.
    assert high["float16", "top=1"] == 65504
    assert high["float32", "top=2"] == 2 * (2 - Fraction(1, 2**23)) * 2**127


def test_counts_written_with_an_exponent_become_integers() -> None:
    plan = make_plan([case(inputs=SIZED, axes=(axis("n", Decimal("1E+3")),))])
    (problem,) = plan.problems.values()
    assert problem.inputs[0].arguments["shape"] == [1000]
    assert type(problem.inputs[0].arguments["shape"][0]) is int
    assert ids(plan)[0].endswith("n=1000")


def test_formulations_and_backends_share_a_problem() -> None:
    plan = make_plan([case(inputs=SIZED, axes=(axis("n", 4, 8),), backends=("numpy", "absent"))])
    assert len(plan.cells) == 8
    assert set(plan.problems) == {"plain|float64|n=4|forward", "plain|float64|n=8|forward"}
    assert {c.problem for c in plan.cells if c.axes["n"] == 8} == {"plain|float64|n=8|forward"}


def test_points_with_the_same_inputs_share_a_problem() -> None:
    # In float16 ⌊0.5·ln Ω⌋ and ⌊0.5001·ln Ω⌋ are one number on the grid; in float64 they are two.
    inputs = (InputSpec("x", "linspace", {"high": AxisReference("top"), "shape": [4]}),)
    top = axis("top", Decimal("0.5"), Decimal("0.5001"), unit="ln_max", kind="times")
    plan = make_plan([case(inputs=inputs, axes=(top,), dtypes=("float64", "float16"))])
    assert sorted(p.dtype for p in plan.problems.values()) == ["float16", "float64", "float64"]
    assert len({c.problem for c in plan.cells if c.dtype == "float16"}) == 1


def test_parameters_may_come_from_axes_exactly() -> None:
    plan = make_plan(
        [
            case(
                parameters={"axis": AxisReference("d")},
                axes=(axis("d", -1, unit="unit_roundoff", kind="powers"),),
            )
        ]
    )
    (problem,) = plan.problems.values()
    assert problem.parameters["axis"] == 2**53
    plan = make_plan(
        [
            case(
                parameters={"axis": AxisReference("d")},
                axes=(axis("d", 1, unit="unit_roundoff", kind="times"),),
            )
        ]
    )
    (problem,) = plan.problems.values()
    assert isinstance(problem.parameters["axis"], Decimal)
    assert Fraction(problem.parameters["axis"]) == Fraction(1, 2**53)


def test_a_gradient_is_planned_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Formulation("softmax", "shifted", _never, "", backends=("numpy",))
    monkeypatch.setitem(registry.FORMULATIONS._items, "softmax/shifted@numpy", own)
    cotangent = InputSpec("cotangent", "linspace", {"shape": [AxisReference("n")]})
    plan = make_plan(
        [case(inputs=SIZED, axes=(axis("n", 4),), differentiate=Differentiate(("x",), cotangent))]
    )
    (problem,) = plan.problems.values()
    assert problem.with_respect_to == ("x",)
    assert problem.cotangent is not None
    assert problem.cotangent.arguments == {"shape": [4]}
    first = plan.cells[0]
    assert first.id == "plain/naive/numpy/float64/n=4/backward"
    assert (first.outputs, first.skip) == (("grad_x",), None)
    without = next(c for c in plan.cells if c.formulation == "shifted" and c.dtype == "float64")
    assert without.skip == Skip(
        "unsupported",
        "numpy does not differentiate, and softmax/shifted declares no gradient of its own",
    )


def test_a_backend_that_does_not_hold_the_format_of_an_input_skips_that_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convert = Operation(
        name="convert", title="", formula="", inputs={"x": "any"}, outputs=("y",), dtypes=("float64",),
        reference=_never, reference_version=1, bound_formula="", bound_source="", bound=_never,
        parameters={"source": Parameter(None, "", ("float32", "float8_e5m2"))}, storage={"x": "source"},
    )  # fmt: skip
    monkeypatch.setitem(registry.OPERATIONS._items, "convert", convert)
    cast = Formulation("convert", "cast", _never, "")
    monkeypatch.setitem(registry.FORMULATIONS._items, "convert/cast", cast)
    sources = Axis("source", ("float32", "float8_e5m2"), frozenset())
    plan = make_plan(
        [case(operation="convert", formulations=("cast",), dtypes=("float64",), backends=("numpy",),
              axes=(sources,), parameters={"source": AxisReference("source")})]
    )  # fmt: skip
    assert {c.axes["source"]: c.skip for c in plan.cells} == {
        "float32": None,
        "float8_e5m2": Skip("unsupported", "numpy does not hold float8_e5m2, in which x is stored"),
    }
    excluded = Exclusion({"source": Condition(equals=("float8_e5m2",))}, "no need")
    plan = make_plan(
        [case(operation="convert", formulations=("cast",), dtypes=("float64",), backends=("numpy",),
              axes=(sources,), parameters={"source": AxisReference("source")}, exclude=(excluded,))]
    )  # fmt: skip
    assert [c.skip for c in plan.cells] == [None, Skip("excluded", "no need")]  # what a case says comes first


def test_a_plan_crosses_a_process_boundary() -> None:
    plan = make_plan([case(inputs=SIZED, axes=(axis("n", 4),), folder=Path("/data"))])
    assert decode(encode(plan)) == plan


# ---- skips, timing, rules ---------------------------------------------------------------------------


def test_every_cell_that_is_not_run_says_why() -> None:
    excluded = Exclusion(
        {"formulation": Condition(equals=("naive",)), "dtype": Condition(equals=("float64",))}, "slow"
    )
    plan = make_plan([case(backends=("numpy", "absent"), dtypes=("float64", "float16"), exclude=(excluded,))])
    skips = {c.id: None if c.skip is None else (c.skip.word, c.skip.reason) for c in plan.cells}
    assert skips == {
        "plain/naive/numpy/float64": ("excluded", "slow"),
        "plain/naive/numpy/float16": ("unsupported", "numpy has no half sums"),
        "plain/naive/absent/float64": ("excluded", "slow"),
        "plain/naive/absent/float16": ("unavailable", "no such library"),
        "plain/shifted/numpy/float64": None,
        "plain/shifted/numpy/float16": ("unsupported", "numpy has no half sums"),
        "plain/shifted/absent/float64": ("unavailable", "no such library"),
        "plain/shifted/absent/float16": ("unavailable", "no such library"),
    }


def test_only_cells_that_where_takes_and_that_run_are_timed() -> None:
    speed = SpeedSpec(where={"n": Condition(at_least=8), "formulation": Condition(equals=("naive",))})
    excluded = Exclusion({"n": Condition(equals=(16,))}, "slow")
    plan = make_plan([case(inputs=SIZED, axes=(axis("n", 4, 8, 16),), speed=speed, exclude=(excluded,))])
    assert [c.id for c in plan.cells if c.speed is not None] == ["plain/naive/numpy/float64/n=8"]


def test_cells_carry_the_rules_that_match_them_in_order() -> None:
    rules = (
        Rule(
            where={"formulation": Condition(equals=("naive",)), "n": Condition(above=4)}, breaks="yes", line=1
        ),
        Rule(where={"dtype": Condition(equals=("float32",))}, breaks="no", line=2),
        Rule(breaks="maybe", line=3),
    )
    plan = make_plan([case(inputs=SIZED, axes=(axis("n", 4, 8),), expect=rules)])
    assert {c.id.split("/", 1)[1]: [r.line for r in c.rules] for c in plan.cells} == {
        "naive/numpy/float64/n=4": [3],
        "naive/numpy/float64/n=8": [1, 3],
        "shifted/numpy/float64/n=4": [3],
        "shifted/numpy/float64/n=8": [3],
    }


def test_two_cells_of_one_id_are_refused() -> None:
    with pytest.raises(UsageError, match=r"two cells are called 'plain/naive.*a.yaml and b.yaml"):
        make_plan([case(path="a.yaml"), case(path="b.yaml")])


def test_a_thousand_cells_need_few_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    # What makes planning fast is that a condition is tried once for each value, not once for each cell.
    tried = 0
    holds = Condition.holds

    def counted(self: Condition, value: Any) -> bool:
        nonlocal tried
        tried += 1
        return holds(self, value)

    monkeypatch.setattr(Condition, "holds", counted)
    rules = tuple(Rule(where={"n": Condition(above=i)}, breaks="maybe") for i in range(3))
    plan = make_plan([case(inputs=SIZED, axes=(axis("n", *range(1, 501)),), expect=rules)])
    assert len(plan.cells) == 1000
    assert tried == 3 * 500


# ---- selection --------------------------------------------------------------------------------------

CASES: Callable[[], list[Case]] = lambda: [  # noqa: E731
    case(inputs=SIZED, axes=(axis("n", 4, 8),), dtypes=("float64", "float32")),
    case(name="other", topic="moments", guide=("PR5", "PR6")),
]


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(), 10),
        (Selection(keyword="naive"), 5),
        (Selection(keyword="NAIVE and not float32"), 3),
        (Selection(dtypes=("float32",)), 4),
        (Selection(topics=("moments",)), 2),
        (Selection(guide=("PR6", "NM1")), 2),
        (Selection(backends=("numpy",), operations=("softmax",)), 10),
        (Selection(keyword="n=8", dtypes=("float64",)), 2),
    ],
)
def test_selections_narrow(selection: Selection, count: int) -> None:
    plan = make_plan(CASES(), selection=selection)
    assert len(plan.cells) == count
    assert set(plan.problems) == {c.problem for c in plan.cells}
    assert set(plan.cases) == {c.case for c in plan.cells}
    again = Selection.from_plain(plan.selection)
    assert again == selection
    taken = {
        c.id
        for c in make_plan(CASES()).cells
        if again.takes(
            c.id, operation=c.operation, backend=c.backend, dtype=c.dtype, topic=c.topic, guide=c.guide
        )
    }
    assert taken == set(ids(plan))


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        (Selection(keyword="absent_word"), "-k 'absent_word'"),
        (Selection(backends=("absent",), dtypes=("float32",)), "--backend absent --dtype float32"),
        (Selection(topics=("moment",)), "did you mean 'moments'?"),
        (Selection(guide=("LA1",)), "no case has guide 'LA1'"),
    ],
)
def test_nothing_selected_is_told_with_what_was_asked(selection: Selection, told: str) -> None:
    with pytest.raises(NothingSelectedError) as caught:
        make_plan(CASES(), selection=selection)
    assert caught.value.exit_code == 5
    assert told in str(caught.value)


def test_no_cell_in_a_profile_is_told() -> None:
    only_full = case(inputs=SIZED, axes=(axis("n", full=[4]),))
    with pytest.raises(NothingSelectedError, match="no cell in profile default"):
        make_plan([only_full])


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        (Selection(operations=("softmx",)), "did you mean 'softmax'?"),
        (Selection(backends=("numpi",)), "did you mean 'numpy'?"),
        (Selection(dtypes=("float63",)), "unknown dtype 'float63'"),
        (Selection(guide=("PR66",)), "did you mean 'PR6'?"),
        (Selection(keyword="naive and"), "a word is missing at the end"),
    ],
)
def test_names_that_do_not_exist_are_usage_errors(selection: Selection, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_plan(CASES(), selection=selection)
    assert told in str(caught.value)


IDENTITY = "softmax-overflow/naive/torch-cpu/float16/n=8,top=0.99"


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("naive", True),
        ("Softmax", True),
        ("shifted", False),
        ("not shifted", True),
        ("not not naive", True),
        ("naive or shifted and numpy", True),
        ("(naive or shifted) and numpy", False),
        ("not (naive or shifted)", False),
        ("not naive or float16", True),
        ("not naive and float16", False),
        ("n=8,top=0.99", True),
        ("/naive/", True),
        ('"n=8"', True),
        ('"and"', False),
        ("not(numpy)and naive", True),
        ("NOT shifted AND naive", True),
        ("notnaive", False),
    ],
)
def test_keyword_expressions(expression: str, holds: bool) -> None:
    assert keyword_test(expression)(IDENTITY) is holds
    assert keyword_test(expression)(IDENTITY.upper()) is holds


@pytest.mark.parametrize(
    ("expression", "problem", "at"),
    [
        ("", "a word is missing at the end", 0),
        ("naive and", "a word is missing at the end", 9),
        ("naive shifted", "`and` or `or` is missing here", 6),
        ("and naive", "a word is expected, not 'and'", 0),
        ("(naive", "`)` is missing here", 6),
        ("naive)", "`and` or `or` is missing here", 5),
        ("()", "a word is expected, not ')'", 1),
        ('naive and "x', "a double quote without its partner", 9),
        ("(" * 60 + "x" + ")" * 60, "nested more than 50 deep", 50),
    ],
)
def test_keyword_expressions_that_are_none(expression: str, problem: str, at: int) -> None:
    with pytest.raises(UsageError) as caught:
        keyword_test(expression)
    first, written, pointer = caught.value.message.splitlines()
    assert first == f"-k is no expression: {problem}"
    assert written == f"  {expression}"
    assert pointer.index("^") == at + 2
