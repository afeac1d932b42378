"""Checks of whatever picks cells: timings, exclusions, rules and facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from harness.casefile.examination import Examination, kind_of, shown
from harness.casefile.schema import COMPARATORS, NAMED_KEYS, ConditionModel, RuleModel
from harness.casefile.tree import Steps
from harness.errors import did_you_mean
from harness.model import (
    MODES,
    OUTCOMES,
    TIMED_COLUMNS,
    Axis,
    Condition,
    Exclusion,
    FactSpec,
    Rule,
    SpeedSpec,
    Where,
    Written,
    format_written,
)
from harness.registry import BACKENDS, METRICS, formulations_of


def where(exam: Examination, path: Steps, forms: Mapping[str, ConditionModel]) -> Where:
    """Return the conditions at `path`, without those on keys that do not exist."""
    axes = {axis.name: axis for axis in exam.axes}
    return {
        key: _condition_of(exam, (*path, key), key, form, axes.get(key))
        for key, form in forms.items()
        if key in axes or key in NAMED_KEYS or _unknown_key(exam, path, key)
    }


def _unknown_key(exam: Examination, path: Steps, key: str) -> bool:
    if not exam.is_refused("axes", key) and not exam.is_refused("axes"):
        allowed = (*NAMED_KEYS, *exam.draft.axes)
        exam.error((*path, key), f"unknown key {key!r} in where", did_you_mean(key, allowed), key=True)
    return False


def _condition_of(
    exam: Examination, path: Steps, key: str, form: ConditionModel, axis: Axis | None
) -> Condition:
    compared = [c for c in COMPARATORS if getattr(form, c) is not None]
    allowed = _values_for(exam, key, axis)
    numeric = axis is not None and all(kind_of(v) == "numbers" for v in axis.values)
    if compared and not numeric:
        exam.error(path, f"{key!r} holds no numbers: it cannot be compared by {', '.join(compared)}")
    for i, value in enumerate(form.equals or ()):
        if allowed is not None and not any(kind_of(value) == kind_of(a) and value == a for a in allowed):
            words = [format_written(a) for a in allowed]
            hint = did_you_mean(format_written(value), words)
            exam.error((*path, i), f"{key} {shown(value)} is none of the case's", hint)
    return condition(form)


def _values_for(exam: Examination, key: str, axis: Axis | None) -> Sequence[Written] | None:
    if axis is not None:
        return axis.values
    if key == "mode":
        return MODES
    draft, operation = exam.draft, exam.operation
    if key == "backend":
        return None if exam.is_refused("backends") else draft.backends or tuple(BACKENDS)
    if operation is None:
        return None
    if key == "formulation":
        return (
            None if exam.is_refused("formulations") else draft.formulations or formulations_of(operation.name)
        )
    return None if exam.is_refused("dtypes") else draft.dtypes or operation.dtypes


def speed(exam: Examination) -> SpeedSpec | None:
    """Return what is timed."""
    measure = exam.draft.measure
    if measure.accuracy is None and measure.speed is None and not exam.is_refused("measure"):
        exam.error(
            ("measure",), "nothing is measured", "name accuracy: {} or speed: {}, or leave measure out"
        )
    if measure.speed is None:
        return None
    path: Steps = ("measure", "speed")
    budget = measure.speed.budget_s
    if not 0 < budget <= 3600:
        exam.error((*path, "budget_s"), f"budget_s is {budget}", "allowed: above 0, at most 3600")
    return SpeedSpec(
        where=where(exam, (*path, "where"), measure.speed.where),
        threads=measure.speed.threads,
        cache=measure.speed.cache,
        budget_s=Decimal(budget),
    )


def exclusions(exam: Examination) -> tuple[Exclusion, ...]:
    """Return the exclusions."""
    made = []
    for i, form in zip(exam.indices["exclude"], exam.draft.exclude, strict=True):
        path: Steps = ("exclude", i)
        made.append(Exclusion(where(exam, (*path, "where"), form.where), form.reason, exam.line(path)))
    return tuple(made)


def rules(exam: Examination) -> tuple[Rule, ...]:
    """Return the rules."""
    return tuple(
        _rule(exam, ("expect", i), form)
        for i, form in zip(exam.indices["expect"], exam.draft.expect, strict=True)
    )


def _rule(exam: Examination, path: Steps, form: RuleModel) -> Rule:
    if form.output is not None and exam.operation is not None:
        exam.known((*path, "output"), form.output, exam.outputs, f"output of {exam.operation.name}")
    for i, outcome in enumerate(form.outcome or ()):
        exam.known((*path, "outcome", i), outcome, OUTCOMES, "outcome")
    says = (form.outcome, form.breaks, form.bounds, form.defect, form.severity == "warn")
    if not any(says) and not exam.is_refused(*path):
        hint = "give outcome, breaks, bounds, defect or severity: warn; without a rule a cell must be ok"
        exam.error(path, "the rule expects nothing", hint)
    return Rule(
        where=where(exam, (*path, "where"), form.where),
        output=form.output,
        outcome=None if form.outcome is None else tuple(form.outcome),
        breaks=form.breaks,
        bounds={
            name: _bound(exam, (*path, "bounds", name), name, bound) for name, bound in form.bounds.items()
        },
        defect=None if form.defect is None else form.defect.issue,
        severity=form.severity,
        line=exam.line(path),
    )


def _bound(exam: Examination, path: Steps, name: str, form: ConditionModel) -> Condition:
    if exam.known(path, name, _columns(), "metric", key=True):
        _measured(exam, path, name)
    return condition(form)


def _measured(exam: Examination, path: Steps, column: str) -> None:
    measure = exam.draft.measure
    if exam.is_refused("measure"):
        return
    if column in TIMED_COLUMNS and measure.speed is None:
        exam.error(path, f"{column} is not measured: the case has no measure.speed", key=True)
    if column in METRICS and measure.accuracy is None:
        exam.error(path, f"{column} is not measured: the case has no measure.accuracy", key=True)


def facts(exam: Examination) -> tuple[FactSpec, ...]:
    """Return the facts."""
    made = []
    axes = {axis.name: axis for axis in exam.axes}
    columns = _columns()
    for i, form in zip(exam.indices["facts"], exam.draft.facts, strict=True):
        path: Steps = ("facts", i)
        if exam.known((*path, "fit"), form.fit, columns, "metric"):
            _measured(exam, (*path, "fit"), form.fit)
        axis = axes.get(form.against)
        if axis is not None:
            if any(kind_of(v) != "numbers" for v in axis.values):
                exam.error((*path, "against"), f"axis {axis.name!r} holds no numbers to fit against")
        elif not exam.is_refused("axes", form.against):
            allowed = (*axes, *columns)
            if exam.known((*path, "against"), form.against, allowed, "axis or metric"):
                _measured(exam, (*path, "against"), form.against)
        if form.output is not None and exam.outputs:
            exam.known((*path, "output"), form.output, exam.outputs, f"output of {exam.draft.operation}")
        made.append(
            FactSpec(
                fit=form.fit,
                against=form.against,
                output=form.output,
                where=where(exam, (*path, "where"), form.where),
                expect={name: condition(expected) for name, expected in form.expect.items()},
                severity=form.severity,
                line=exam.line(path),
            )
        )
    return tuple(made)


def _columns() -> tuple[str, ...]:
    """Return the columns of results that can be compared."""
    return (*(m.name for m in METRICS.values() if m.display != "text"), *TIMED_COLUMNS)


def condition(form: ConditionModel) -> Condition:
    """Return the condition that a form writes."""
    return Condition(
        equals=None if form.equals is None else tuple(form.equals),
        **{word: getattr(form, word) for word in COMPARATORS},
    )
