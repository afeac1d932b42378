"""Nothing is overridden, and what a backend supports is told from its declarations alone."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import RegistrationError
from harness.formats import FORMATS
from harness.model import SKIP_WORDS, Condition
from harness.registry import (
    BACKENDS,
    FORMULATIONS,
    OPERATIONS,
    Gradient,
    Lack,
    Operation,
    Parameter,
    Registry,
    find_formulation,
    formulation,
    formulations_of,
    own_variables,
    register_backend,
    support,
    variables_as_set,
)


def test_a_name_is_registered_once() -> None:
    registry: Registry[int] = Registry("thing")
    registry.add("a", 1, "one")
    with pytest.raises(RegistrationError, match="thing 'a' is registered by two and already by one"):
        registry.add("a", 2, "two")
    assert registry["a"] == 1
    with pytest.raises(KeyError, match="did you mean 'a'"):
        registry["aa"]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(FORMULATIONS, "_items", {})
    monkeypatch.setattr(FORMULATIONS, "_origin", {})
    formulation("op", "general", title="t", needs=("elementwise", "sum"))(lambda xp, x: lambda: x)
    formulation("op", "wide", title="t", needs=("sum",), compute="float32")(lambda xp, x: lambda: x)
    formulation("op", "library", title="t", needs=(), backends=("a",), compute={"float64": "float64"})(
        lambda xp, x: lambda: x
    )
    lack = Lack("unsupported", "a has no sum in float16")
    return SimpleNamespace(
        name="a",
        capabilities={
            "float64": {"elementwise": "float64", "sum": "float64"},
            "bfloat16": {"elementwise": "bfloat16", "sum": "float32"},
            "float16": {"elementwise": "float16", "sum": lack},
        },
    )


def test_support(planted: Any) -> None:
    assert formulations_of("op") == ("general", "wide", "library")
    assert support("op", "general", planted, "float64") == "float64"
    assert support("op", "general", planted, "bfloat16") == "float32"
    assert support("op", "wide", planted, "bfloat16") == "float32"
    assert support("op", "library", planted, "float64") == "float64"
    for name, dtype, said in (
        ("general", "float16", "a has no sum in float16"),
        ("general", "float8_e5m2", "a does not hold float8_e5m2"),
        ("library", "bfloat16", "does not take bfloat16"),
        ("none", "float64", "a has no 'none' formulation of op"),
    ):
        found = support("op", name, planted, dtype)
        assert isinstance(found, Lack)
        assert said in found.reason
        assert found.word in SKIP_WORDS


def test_the_narrowest_accumulator_of_what_a_formulation_needs_is_its_own(planted: Any) -> None:
    formulation("op", "both", title="t", needs=("sum", "matmul"))(lambda xp, x: lambda: x)
    for reductions in (("float32", "bfloat16"), ("bfloat16", "float32")):
        planted.capabilities["bfloat16"].update(zip(("sum", "matmul"), reductions, strict=True))
        assert support("op", "both", planted, "bfloat16") == "bfloat16"


def test_a_backends_own_formulation_comes_before_the_general_one(planted: Any) -> None:
    formulation("op", "general", title="own", backends=("a",))(lambda xp, x: lambda: x)
    assert find_formulation("op", "general", "a").title == "own"  # type: ignore[union-attr]
    assert find_formulation("op", "general", "b").title == "t"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameter", "taken", "refused", "allowed"),
    [
        (
            Parameter(-1, "axis", kind="integer"),
            [0, -3, Decimal("2.0")],
            [Decimal("0.5"), "x", True],
            "an integer",
        ),
        (
            Parameter("machine", "rcond", ("machine",), "number", Condition(at_least=0, below=1)),
            ["machine", 0, Decimal("1e-9")],
            ["auto", 1, -1, Decimal("Infinity"), Decimal("NaN")],
            "machine, a finite number ≥ 0 and < 1",
        ),
        (Parameter("a", "mode", ("a", "b")), ["a", "b"], ["c", 1], "a, b"),
        (Parameter(None, "anything"), [1, "x", True], [], "anything"),
    ],
)
def test_what_a_parameter_takes(
    parameter: Parameter, taken: list[Any], refused: list[Any], allowed: str
) -> None:
    assert all(map(parameter.takes, taken))
    assert not any(map(parameter.takes, refused))
    assert parameter.allowed == allowed


def test_unknown_needs_are_refused() -> None:
    with pytest.raises(RegistrationError, match="needs unknown primitives"):
        formulation("op", "x", title="t", needs=("fft",))


def backend(capabilities: Any, flags: Any = None) -> Any:
    return SimpleNamespace(name="mine", capabilities=capabilities, flags=flags or {})


def test_flags_are_those_of_a_dtype_that_is_held() -> None:
    """A misspelt dtype would leave its cells without the setting that they are named after."""
    mine = backend({"tf32": {"matmul": "float32"}}, {"tf23": {"fp32_precision": "tf32"}})
    with pytest.raises(RegistrationError, match=r"flags for the dtype 'tf23'.*did you mean 'tf32'"):
        register_backend(mine)
    assert "mine" not in BACKENDS


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [
        (
            {"flaot32": {}},
            "backend 'mine' declares the dtype 'flaot32', which there is not; did you mean 'float32'?",
        ),
        (
            {"float32": {"matmull": "float32"}},
            "backend 'mine' declares for float32 the group 'matmull', which there is not; "
            "did you mean 'matmul'?",
        ),
        (
            {"float32": {"sum": "flaot32"}},
            "backend 'mine' declares for float32 that sum is computed in 'flaot32', which there is not; "
            "did you mean 'float32'?",
        ),
        ({"float32": {"sum": None}}, "computed in None"),
        ({"tf32": {"matmul": "tf32"}}, "computed in 'tf32'"),  # no format: what products accumulate in is one
    ],
)
def test_a_backend_names_what_exists(capabilities: Any, said: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        register_backend(backend(capabilities))
    assert said in str(caught.value)
    assert "mine" not in BACKENDS


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (
            "flaot64",
            "formulation op/x of a declares that it computes in 'flaot64', which there is not; did you mean",
        ),
        ({"flaot32": "float32"}, "declares the dtype 'flaot32', which there is not; did you mean 'float32'?"),
        ({"float32": "double"}, "declares that float32 is computed in 'double', which there is not"),
    ],
)
def test_a_formulation_names_dtypes_that_exist(compute: Any, said: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        formulation("op", "x", title="t", backends=("a",), compute=compute)(lambda xp, x: lambda: x)
    assert said in str(caught.value)
    assert "op/x@a" not in FORMULATIONS


def test_a_misspelt_name_in_a_plug_in_is_its_users_mistake(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from harness.backends.numpy import CAPABILITIES, NumpyBackend, register\n"
        "register(NumpyBackend(name='mine', capabilities={**CAPABILITIES, 'float32': {'sum': 'flaot32'}}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "harness", "list", "--plugin", str(plugin)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "backend 'mine' declares for float32 that sum is computed in 'flaot32'" in done.stderr
    assert "did you mean 'float32'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_own_variables_are_those_that_threads_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    mine: Any = SimpleNamespace(
        environment=lambda n: {"OMP_NUM_THREADS": str(n), "MINE_A": "1", "MINE_B": "2"}
    )
    assert own_variables(mine) == {"MINE_A": "1", "MINE_B": "2"}
    monkeypatch.setenv("MINE_A", "3")
    assert variables_as_set(mine) == "MINE_A=3, MINE_B=(not set)", "what this process has, not what was asked"
    mine.environment = lambda n: {"OMP_NUM_THREADS": str(n)}
    assert variables_as_set(mine) == "none"


def test_the_catalogue_imports_no_array_library() -> None:
    code = (
        "import sys; from harness import catalogue; catalogue.load();"
        "print([m for m in ('numpy', 'torch', 'pandas', 'scipy', 'flint', 'ml_dtypes') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_gradient_is_an_operation_of_its_own() -> None:
    """Nothing of the value judges it; a format that a parameter names is the input's alone."""

    def of_value(*arguments: Any) -> Any: ...
    def of_gradient(*arguments: Any) -> Any: ...

    slope = Gradient(("b", "a"), "2x", of_gradient, 7, "2u", "its own", of_gradient, of_gradient)
    value = Operation(
        name="square", title="", formula="", inputs={"a": "any", "b": "any"}, outputs=("y",), dtypes=(),
        reference=of_value, reference_version=1, bound_formula="u", bound_source="another", bound=of_value,
        judge=of_value, cost=of_value, gradient=slope, storage={"a": "source"},
        parameters={"source": Parameter("float32", "")},
    )  # fmt: skip
    assert value.differentiated(()) is value
    found = value.differentiated(("b", "a"))
    assert (tuple(found.inputs), found.outputs) == (("a", "b", "cotangent"), ("grad_b", "grad_a"))
    assert (found.reference, found.bound, found.cost) == (of_gradient,) * 3
    assert (found.reference_version, found.bound_formula, found.bound_source) == (7, "2u", "its own")
    assert (found.judge, found.gradient) == (None, None)
    half = FORMATS["float16"]
    assert found.input_formats({}, half) == {"a": FORMATS["float32"], "b": half, "cotangent": half}
    assert found.input_formats({"source": "bfloat16"}, half)["a"] is FORMATS["bfloat16"]


NO_LIBRARY = {
    # probes of formats and backends, and laws
    "convert", "round_trip", "add", "format_limits", "matmul_precision", "score_statistics", "scaled_cast",
    "linear_expectation", "entropy_identity",
    # computed by their formulas everywhere: NumPy, SciPy's fast modules and torch have no function of them
    "bayes_posterior", "conditional_probability", "log1mexp", "log_likelihood", "mutual_information",
    "mvn_sampling", "normal_pdf", "normal_within", "quadratic_root", "sqrt_difference", "uniform_pdf",
    "uniform_cdf",
}  # fmt: skip
ALONE = {"round_trip", "exp", "log", "sqrt", "sin", "cos", "atan", "erf"}
"""Operations with one formulation: there is no formula to take their place."""


def test_every_operation_keeps_its_contract() -> None:
    from harness import catalogue

    catalogue.load()
    assert {"numpy", "torch-cpu"} <= set(BACKENDS)
    own = [o for o in OPERATIONS.values() if OPERATIONS.origin(o.name).startswith("harness.operations.")]
    assert {o.name for o in own} >= NO_LIBRARY | ALONE
    for operation in own:
        assert operation.bound_source
        assert operation.bound_formula
        assert operation.title
        assert operation.formula
        assert operation.outputs
        assert operation.cost is not None, operation.name
        assert ("library" in formulations_of(operation.name)) == (operation.name not in NO_LIBRARY)
        assert (len(formulations_of(operation.name)) == 1) == (operation.name in ALONE), operation.name
