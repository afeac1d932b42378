"""The vocabulary: frozen values that flow from a case file to a row of results.

Nothing here computes, and nothing here imports more than the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

Written = int | Decimal | bool | str
"""A scalar as a case file writes it; numbers stay exact."""

Exact = int | Decimal | Fraction
"""An exact number that stands for itself."""

PROFILES: Final = ("quick", "default", "full")
MODES: Final = ("forward", "backward")
OUTCOMES: Final = (  # worst first; the first three stand for a cell without output
    "crashed", "timeout", "raised",
    "not_a_number", "overflow", "saturated", "wrong_class", "zeroed", "underflow", "ok",
)  # fmt: skip
ELEMENT_OUTCOMES: Final = OUTCOMES[3:]
VERDICTS: Final = ("fail", "inconclusive", "skip", "pass")
TIMED_COLUMNS: Final = (
    "time_median_s", "time_ci_low_s", "time_ci_high_s", "time_min_s", "time_wall_s", "time_wall_cold_s",
    "time_cuda_cold_s", "time_cuda_graph_s", "samples", "calls", "overhead_fraction", "noise", "gflops",
    "gbps", "peak_fraction", "peak_memory_bytes",
)  # fmt: skip
"""Columns of results that hold a number where a cell is timed only."""
SKIP_WORDS: Final = ("excluded", "unavailable", "unsupported")
"""excluded: the case says so. unavailable: not on this machine. unsupported: the backend cannot."""


@dataclass(frozen=True, slots=True)
class AxisReference:
    """`$name` in a case file: stands for the value of that axis."""

    name: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A test on one value: equal to one of `equals`, and inside every bound given."""

    equals: tuple[Written, ...] | None = None
    above: Exact | None = None
    at_least: Exact | None = None
    below: Exact | None = None
    at_most: Exact | None = None

    def holds(self, value: Any) -> bool:
        """Return whether `value` (a scalar as written, or a float) satisfies the condition."""
        if self.equals is not None and not any(_same(value, e) for e in self.equals):
            return False
        if self.above is self.at_least is self.below is self.at_most is None:
            return True
        if isinstance(value, (str, bool)):
            return False
        number = Fraction(value) if _finite(value) else value
        return (
            (self.above is None or number > _comparable(self.above))
            and (self.at_least is None or number >= _comparable(self.at_least))
            and (self.below is None or number < _comparable(self.below))
            and (self.at_most is None or number <= _comparable(self.at_most))
        )

    def __str__(self) -> str:
        parts = [] if self.equals is None else ["in {" + ", ".join(map(str, self.equals)) + "}"]
        for word, sign in (("above", ">"), ("at_least", "≥"), ("below", "<"), ("at_most", "≤")):
            bound = getattr(self, word)
            if bound is not None:
                parts.append(f"{sign} {bound}")
        return " and ".join(parts) or "anything"


def _finite(value: Any) -> bool:
    return not isinstance(value, (float, Decimal)) or (value == value and abs(value) != float("inf"))


def _comparable(value: Exact) -> Fraction | float:
    return Fraction(value) if _finite(value) else float(value)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (str, bool)) or isinstance(b, (str, bool)):
        return type(a) is type(b) and a == b
    return bool(a == b)


Where = Mapping[str, Condition]
"""Conditions by key: `formulation backend dtype mode`, or the name of an axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a case. Values are as written; with a unit they are multiples or powers of it."""

    name: str
    values: tuple[Written, ...]
    """Every value, those of the `full` profile included, in the order written."""
    quick: frozenset[Written]
    full_only: frozenset[Written] = frozenset()
    unit: str | None = None
    kind: Literal["times", "powers"] | None = None


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How one input is made: a recipe and its arguments (scalars, lists, `AxisReference`s)."""

    name: str
    recipe: str
    arguments: Mapping[str, Any]
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class SpeedSpec:
    """What to time and how."""

    where: Where = field(default_factory=dict)
    threads: int = 1
    cache: Literal["hot", "cold"] = "hot"
    """Cold: each call finds its inputs in no cache. What a timer measured is in the column `cache`."""
    budget_s: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Cells that a case leaves out, and why."""

    where: Where
    reason: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What to expect of the cells (and the output) that it matches; the first match decides."""

    where: Where = field(default_factory=dict)
    output: str | None = None
    outcome: tuple[str, ...] | None = None
    breaks: Literal["yes", "maybe", "no"] | None = None
    bounds: Mapping[str, Condition] = field(default_factory=dict)
    defect: str | None = None
    severity: Literal["fail", "warn"] = "fail"
    line: int = 0


@dataclass(frozen=True, slots=True)
class FactSpec:
    """A fact of several rows: the exponent of `fit` ~ `against`**exponent, in each group of cells."""

    fit: str
    against: str
    output: str | None = None
    """None: each of the operation's outputs."""
    where: Where = field(default_factory=dict)
    expect: Mapping[str, Condition] = field(default_factory=dict)
    severity: Literal["fail", "warn"] = "fail"
    line: int = 0


@dataclass(frozen=True, slots=True)
class Differentiate:
    """The gradient of an operation: with respect to which inputs, from which cotangent."""

    with_respect_to: tuple[str, ...]
    cotangent: InputSpec


@dataclass(frozen=True, slots=True)
class Published:
    """Values that somebody else certified, printed to `digits` significant digits."""

    output: str
    file: str
    column: str
    digits: int


@dataclass(frozen=True, slots=True)
class Case:
    """One YAML document: an operation, its inputs, axes, what to measure, what to expect."""

    name: str
    title: str
    topic: str
    operation: str
    inputs: tuple[InputSpec, ...]
    guide: tuple[str, ...] = ()
    description: str = ""
    formulations: tuple[str, ...] | None = None
    backends: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    seed: int = 0
    parameters: Mapping[str, Written | AxisReference] = field(default_factory=dict)
    axes: tuple[Axis, ...] = ()
    zipped: tuple[tuple[str, ...], ...] = ()
    accuracy: bool = True
    speed: SpeedSpec | None = None
    exclude: tuple[Exclusion, ...] = ()
    expect: tuple[Rule, ...] = ()
    facts: tuple[FactSpec, ...] = ()
    differentiate: Differentiate | None = None
    published: tuple[Published, ...] = ()
    path: str = "<memory>"
    folder: Path = Path()
    """Where data files beside the case lie; no path leaves it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The inputs of cells that differ in formulation or backend only: made once, judged once.

    Its content is what the `inputs_digest` and the reference depend on; `key` names it in one run.
    """

    key: str
    case: str
    operation: str
    dtype: str
    mode: str
    seed: int
    parameters: Mapping[str, Written]
    inputs: tuple[InputSpec, ...]
    """With every `AxisReference` replaced by an exact value."""
    folder: str
    with_respect_to: tuple[str, ...] = ()
    cotangent: InputSpec | None = None
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a cell is not run: one of `SKIP_WORDS`, and a reason in words."""

    word: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One coordinate: case × formulation × backend × dtype × axis values."""

    id: str
    case: str
    operation: str
    formulation: str
    backend: str
    dtype: str
    mode: str
    axes: Mapping[str, Written]
    """The values as written, in the order of the case's axes."""
    profile: str
    """The smallest profile that holds the cell."""
    problem: str
    """The key of its `Problem`."""
    topic: str
    guide: tuple[str, ...]
    seed: int
    outputs: tuple[str, ...]
    accuracy: bool = True
    speed: SpeedSpec | None = None
    """None where the cell is not timed."""
    skip: Skip | None = None
    rules: tuple[Rule, ...] = ()
    """The rules of its case that match it, in order; an output takes the first that fits it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one run will do, decided before anything is measured."""

    cells: tuple[Cell, ...]
    problems: Mapping[str, Problem]
    cases: Mapping[str, Case]
    profile: str
    selection: Mapping[str, Any]
    """What was asked for (paths, -k, --operation …), as plain data, so that a gate can ask it again."""


def cell_id(
    case: str, formulation: str, backend: str, dtype: str, axes: Mapping[str, Written], mode: str = "forward"
) -> str:
    """Return the readable, stable id of a cell: `case/formulation/backend/dtype/n=8,top=0.99`."""
    parts = [case, formulation, backend, dtype]
    if axes:
        parts.append(",".join(f"{name}={format_written(value)}" for name, value in axes.items()))
    if mode != "forward":
        parts.append(mode)
    return "/".join(parts)


def format_written(value: Written) -> str:
    """Return a scalar in one canonical spelling: `0.990` and `0.99` are one coordinate."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal) and value.is_finite():
        if value == value.to_integral_value() and abs(value) < Decimal(10) ** 16:
            return str(int(value))
        exactly = Context(prec=len(value.as_tuple().digits))  # the usual 28 digits would merge coordinates
        return str(value.normalize(exactly))
    return str(value)
