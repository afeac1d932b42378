"""Cases → cells, each runnable or skipped with a reason; what is to be measured is decided here alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from harness.casefile.coordinates import Matcher, points, values_at
from harness.casefile.inputs import substituted
from harness.errors import NothingSelectedError, UsageError, did_you_mean
from harness.formats import DTYPES, unit_value
from harness.model import (
    MODES,
    PROFILES,
    AxisReference,
    Case,
    Cell,
    InputSpec,
    Plan,
    Problem,
    Skip,
    Written,
    cell_id,
    format_written,
)
from harness.protocol import encode
from harness.registry import BACKENDS, OPERATIONS, RECIPES, Lack, Operation, formulations_of, support
from harness.selection import Selection


def make_plan(cases: Sequence[Case], *, profile: str = "default", selection: Selection | None = None) -> Plan:
    """Return every cell of the cases that the profile holds and the selection takes, in their order.

    Raises
    ------
    UsageError
        If a name in the selection or the profile does not exist, or two cells have one id.
    NothingSelectedError
        If no cell is left.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", did_you_mean(profile, PROFILES))
    selection = selection or Selection()
    selection.check_names()
    planner = _Planner(PROFILES.index(profile), selection)
    taken = [case for case in cases if selection.takes_case(case)]
    for case in taken:
        planner.add(case)
    if not planner.cells:
        raise NothingSelectedError(*_nothing(cases, profile, selection))
    used = {cell.case for cell in planner.cells}
    problems = {cell.problem for cell in planner.cells}
    return Plan(
        cells=tuple(planner.cells),
        problems={key: problem for key, problem in planner.problems.items() if key in problems},
        cases={case.name: case for case in taken if case.name in used},
        profile=profile,
        selection=selection.as_plain(),
    )


class _Planner:
    """Collects the cells and problems of one case after another."""

    def __init__(self, profile: int, selection: Selection) -> None:
        self.profile = profile
        self.selection = selection
        self.cells: list[Cell] = []
        self.problems: dict[str, Problem] = {}
        self._ids: dict[str, str] = {}
        self._unavailable: dict[str, str | None] = {}

    def add(self, case: Case) -> None:
        """Add the cells of a case."""
        operation = OPERATIONS[case.operation]
        mode = MODES[0] if case.differentiate is None else MODES[1]
        outputs = operation.differentiated(with_respect_to(case)).outputs
        at = [p for p in points(case.axes, case.zipped) if p.profile <= self.profile]
        values = [values_at(case.axes, point) for point in at]
        rules = [(rule, Matcher(rule.where, case.axes)) for rule in case.expect]
        exclusions = [(e, Matcher(e.where, case.axes)) for e in case.exclude]
        timed = None if case.speed is None else Matcher(case.speed.where, case.axes)
        rules_at = [[m.holds_at(p) for _, m in rules] for p in at]
        excluded_at = [[m.holds_at(p) for _, m in exclusions] for p in at]
        timed_at = [timed is not None and timed.holds_at(p) for p in at]
        keys: dict[str, list[str]] = {}
        for formulation, backend, dtype in self._names(case):
            names = {"formulation": formulation, "backend": backend, "dtype": dtype, "mode": mode}
            lack = self._lack(case.operation, formulation, backend, dtype, mode)
            taking = [i for i, (_, m) in enumerate(rules) if m.takes(names)]
            leaving = [i for i, (_, m) in enumerate(exclusions) if m.takes(names)]
            timing = timed is not None and timed.takes(names)
            if dtype not in keys:
                keys[dtype] = _problem_keys(case, dtype, mode, values, self.problems)
            for n, point in enumerate(at):
                identity = cell_id(case.name, formulation, backend, dtype, values[n], mode)
                if not self.selection.takes_id(identity):
                    continue
                self._claim(identity, case)
                excluded = next((exclusions[i][0] for i in leaving if excluded_at[n][i]), None)
                skip = lack if excluded is None else Skip("excluded", excluded.reason)
                if skip is None and operation.storage:
                    skip = _not_held(operation, backend, self.problems[keys[dtype][n]])
                self.cells.append(
                    Cell(
                        id=identity,
                        case=case.name,
                        operation=case.operation,
                        formulation=formulation,
                        backend=backend,
                        dtype=dtype,
                        mode=mode,
                        axes=values[n],
                        profile=PROFILES[point.profile],
                        problem=keys[dtype][n],
                        topic=case.topic,
                        guide=case.guide,
                        seed=case.seed,
                        outputs=outputs,
                        accuracy=case.accuracy,
                        speed=case.speed if timing and timed_at[n] and skip is None else None,
                        skip=skip,
                        rules=tuple(rules[i][0] for i in taking if rules_at[n][i]),
                    )
                )

    def _names(self, case: Case) -> Iterator[tuple[str, str, str]]:
        operation = OPERATIONS[case.operation]
        formulations = formulations_of(case.operation) if case.formulations is None else case.formulations
        backends = tuple(BACKENDS) if case.backends is None else case.backends
        dtypes = operation.dtypes if case.dtypes is None else case.dtypes
        for formulation in formulations:
            for backend in self.selection.backends_of(backends):
                for dtype in self.selection.dtypes_of(dtypes):
                    yield formulation, backend, dtype

    def _lack(self, operation: str, formulation: str, backend: str, dtype: str, mode: str) -> Skip | None:
        found = support(operation, formulation, BACKENDS[backend], dtype, mode)
        if isinstance(found, Lack):
            return Skip(found.word, found.reason)
        if backend not in self._unavailable:
            self._unavailable[backend] = BACKENDS[backend].unavailable()
        reason = self._unavailable[backend]
        return None if reason is None else Skip("unavailable", reason)

    def _claim(self, identity: str, case: Case) -> None:
        if identity in self._ids:
            places = " and ".join(dict.fromkeys((self._ids[identity], case.path)))
            raise UsageError(
                f"two cells are called {identity!r}: {places}", "give each case a name of its own"
            )
        self._ids[identity] = case.path


# ---- problems --------------------------------------------------------------------------------------


def _problem_keys(
    case: Case, dtype: str, mode: str, values: Sequence[Mapping[str, Written]], problems: dict[str, Problem]
) -> list[str]:
    """Return the key of the problem at each point; points whose inputs are the same share one."""
    keys: list[str] = []
    by_content: dict[str, str] = {}
    for written in values:
        problem = _problem(case, dtype, mode, written)
        content = encode(replace(problem, key=""))
        key = by_content.setdefault(content, problem.key)
        problems.setdefault(key, problem)
        keys.append(key)
    return keys


def _problem(case: Case, dtype: str, mode: str, written: Mapping[str, Written]) -> Problem:
    exact = {axis.name: exact_value(case, axis.name, written[axis.name], dtype) for axis in case.axes}
    derived = case.differentiate
    axes = ",".join(f"{name}={format_written(value)}" for name, value in written.items())
    return Problem(
        key="|".join((case.name, dtype, axes, mode)),
        case=case.name,
        operation=case.operation,
        dtype=dtype,
        mode=mode,
        seed=case.seed,
        parameters={
            name: _as_decimal(exact[value.name]) if isinstance(value, AxisReference) else value
            for name, value in case.parameters.items()
        },
        inputs=tuple(_resolved(spec, exact) for spec in case.inputs),
        folder=str(case.folder),
        with_respect_to=with_respect_to(case),
        cotangent=None if derived is None else _resolved(derived.cotangent, exact),
        published=case.published,
    )


def with_respect_to(case: Case) -> tuple[str, ...]:
    """Return the inputs whose gradients a case asks for; none: forward."""
    return () if case.differentiate is None else case.differentiate.with_respect_to


def _not_held(operation: Operation, backend: str, problem: Problem) -> Skip | None:
    """Return why a backend cannot take the inputs of a problem, whose formats may differ from the dtype."""
    formats = operation.input_formats(problem.parameters, DTYPES[problem.dtype].storage)
    for name, fmt in formats.items():
        if fmt.name not in BACKENDS[backend].capabilities:
            return Skip("unsupported", f"{backend} does not hold {fmt.name}, in which {name} is stored")
    return None


def exact_value(case: Case, axis: str, written: Written, dtype: str) -> Written | Fraction:
    """Return what an axis value stands for in a dtype: itself, or a multiple or power of its unit."""
    found = next(a for a in case.axes if a.name == axis)
    if found.unit is None or found.kind is None or isinstance(written, (str, bool)):
        return written
    return unit_value(DTYPES[dtype], found.unit, found.kind, written)


def _resolved(spec: InputSpec, exact: Mapping[str, Any]) -> InputSpec:
    kinds = RECIPES[spec.recipe].arguments
    arguments = {key: substituted(value, exact, kinds[key].kind) for key, value in spec.arguments.items()}
    return replace(spec, arguments=arguments)


def _as_decimal(value: Written | Fraction) -> Written:
    """Return a binary fraction (what `unit_value` gives) as the decimal it exactly is."""
    if not isinstance(value, Fraction):
        return value
    if value.denominator == 1:
        return int(value)
    places = value.denominator.bit_length() - 1
    digits = value.numerator * 5**places
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -places))


def _nothing(cases: Sequence[Case], profile: str, selection: Selection) -> tuple[str, str]:
    asked = selection.in_words()
    if not asked:
        return f"no cell in profile {profile}", "name other case files, or run --full"
    return f"nothing is selected by {asked} in profile {profile}", selection.hint(cases)
