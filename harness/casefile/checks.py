"""Names and meanings: turns the checked shape of one case into a `Case`, and finds what does not fit.

Every check adds to the same list of diagnostics, each at its place; none ends the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.casefile import axes, expectations, inputs
from harness.casefile.coordinates import axis_groups, count_points, points
from harness.casefile.coverage import Coverage
from harness.casefile.examination import Examination, shown
from harness.casefile.shape import Shape
from harness.casefile.tree import Node, Steps
from harness.errors import Diagnostic
from harness.formats import DTYPES
from harness.guide import ROWS, TOPICS
from harness.model import (
    MODES,
    AxisReference,
    Case,
    Differentiate,
    InputSpec,
    Published,
    Written,
)
from harness.registry import BACKENDS, OPERATIONS, formulations_of

MAX_CELLS: Final = 50_000
"""Of one case, in its full profile."""


def examine(
    shape: Shape, node: Node, *, path: str, folder: Path, max_elements: int
) -> tuple[Case, list[Diagnostic]]:
    """Return the case and all problems found; the case is of use only if there are none."""
    exam = Examination(shape, node, shown=path, folder=folder, max_elements=max_elements)
    draft = exam.draft
    _guide(exam)
    names = _names(exam)
    exam.axes = axes.axes(exam, names["dtype"])
    exam.zipped = axes.zipped(exam)
    made, cotangent = _inputs(exam)
    parameters = _parameters(exam)
    _unused_axes(exam, made, cotangent, parameters)
    case = Case(
        name=draft.case,
        title=draft.title,
        topic=draft.topic,
        operation=draft.operation,
        inputs=made,
        guide=tuple(draft.guide),
        description=draft.description.strip(),
        formulations=None if draft.formulations is None else tuple(draft.formulations),
        backends=None if draft.backends is None else tuple(draft.backends),
        dtypes=None if draft.dtypes is None else tuple(draft.dtypes),
        seed=draft.seed,
        parameters=parameters,
        axes=exam.axes,
        zipped=exam.zipped,
        accuracy=draft.measure.accuracy is not None,
        speed=expectations.speed(exam),
        exclude=expectations.exclusions(exam),
        expect=expectations.rules(exam),
        facts=expectations.facts(exam),
        differentiate=_differentiate(exam, cotangent),
        published=_published(exam),
        path=path,
        folder=folder,
    )
    if exam.whole:
        _coverage(exam, case, names)
    return case, exam.diagnostics


def _guide(exam: Examination) -> None:
    """Find rows of the guide that do not exist, and cases of the guide whose topic is none of its own."""
    draft = exam.draft
    for i, row in enumerate(draft.guide):
        exam.known(("guide", i), row, ROWS, "row of the guide")
        if row in draft.guide[:i]:
            exam.error(("guide", i), f"{row!r} is named twice in guide")
    if draft.guide and not exam.is_refused("topic"):
        exam.known(("topic",), draft.topic, TOPICS, "topic of the guide")


def _names(exam: Examination) -> dict[str, tuple[str, ...]]:
    """Return the formulations, backends and dtypes that the case runs, as far as they exist."""
    draft = exam.draft
    if not exam.is_refused("operation"):
        if exam.known(("operation",), draft.operation, OPERATIONS, "operation"):
            exam.operation = OPERATIONS[draft.operation]
        else:
            exam.whole = False
    operation = exam.operation
    formulations = formulations_of(draft.operation) if operation else ()
    kinds = {
        "formulations": (f"formulation of {draft.operation}", formulations, formulations),
        "backends": ("backend", tuple(BACKENDS), tuple(BACKENDS)),
        "dtypes": ("dtype", tuple(DTYPES), operation.dtypes if operation else ()),
    }
    chosen: dict[str, tuple[str, ...]] = {}
    for section, (kind, known, default) in kinds.items():
        names: Sequence[str] | None = getattr(draft, section)
        for i, name in enumerate(names or ()):
            if operation is None and section == "formulations":
                continue
            if not exam.known((section, i), name, known, kind):
                exam.whole = False
            if names is not None and name in names[:i]:
                exam.error((section, i), f"{name!r} is named twice in {section}")
        chosen[section[:-1]] = tuple(n for n in (default if names is None else names) if n in known)
    return chosen


def _inputs(exam: Examination) -> tuple[tuple[InputSpec, ...], InputSpec | None]:
    checker = inputs.InputChecker(exam)
    specs: list[InputSpec] = []
    for name, form in exam.draft.inputs.items():
        specs.append(checker.spec(name, ("inputs", name), form, [spec.name for spec in specs]))
    cotangent = None
    if exam.draft.differentiate is not None:
        earlier = [spec.name for spec in specs]
        form = exam.draft.differentiate.cotangent
        cotangent = checker.spec("cotangent", ("differentiate", "cotangent"), form, earlier)
    operation = exam.operation
    if operation is not None and not exam.is_refused("inputs"):
        for name in exam.draft.inputs:
            exam.known(("inputs", name), name, operation.inputs, f"input of {operation.name}", key=True)
        for name, meaning in operation.inputs.items():
            if name not in exam.draft.inputs:
                hint = f"{operation.name} takes {', '.join(operation.inputs)}"
                exam.error(("inputs",), f"input {name!r} ({meaning}) is missing", hint, key=True)
    return tuple(specs), cotangent


def _parameters(exam: Examination) -> dict[str, Written | AxisReference]:
    found: dict[str, Written | AxisReference] = {}
    operation = exam.operation
    declared = operation.parameters if operation else {}
    for name, value in exam.draft.parameters.items():
        path: Steps = ("parameters", name)
        if operation is not None:
            exam.known(path, name, declared, f"parameter of {operation.name}", key=True)
        values: Sequence[Written] = (value,)
        if isinstance(value, str) and value.startswith("$"):
            reference = exam.reference(path, value)
            if reference is None:
                continue
            found[name] = reference
            axis = next(a for a in exam.axes if a.name == reference.name)
            values = () if axis.unit else axis.values
        else:
            found[name] = value
        wrong = [v for v in values if name in declared and not declared[name].takes(v)]
        if wrong:
            hint = f"allowed: {declared[name].allowed}"
            exam.error(path, f"parameter {name!r} is {', '.join(map(shown, wrong))}", hint)
    for name, parameter in declared.items():
        given = name in exam.draft.parameters or exam.is_refused("parameters", name)
        if parameter.default is None and not given:
            needed = f"{exam.draft.operation} needs parameter {name!r} ({parameter.description})"
            exam.error(("operation",), needed, f"write `parameters: {{{name}: …}}`")
    return found


def _unused_axes(
    exam: Examination,
    made: Sequence[InputSpec],
    cotangent: InputSpec | None,
    parameters: Mapping[str, Written | AxisReference],
) -> None:
    if any(exam.is_refused(section) for section in ("inputs", "parameters", "differentiate")):
        return
    used = {v.name for v in parameters.values() if isinstance(v, AxisReference)}
    for spec in (*made, *([cotangent] if cotangent else [])):
        used |= set(inputs.references_in(spec.arguments))
    for axis in exam.axes:
        if axis.name not in used:
            message = f"axis {axis.name!r} is used by no input and no parameter"
            hint = f"write ${axis.name} where its value belongs, or leave the axis out"
            exam.error(("axes", axis.name), message, hint, key=True)


def _differentiate(exam: Examination, cotangent: InputSpec | None) -> Differentiate | None:
    form, operation = exam.draft.differentiate, exam.operation
    if form is None or cotangent is None:
        return None
    if operation is not None and not operation.differentiable:
        message = f"{operation.name} cannot be differentiated: it declares no derivative"
        hint = "leave differentiate out, or give the operation a rigorous derivative"
        exam.error(("differentiate",), message, hint, key=True)
    elif operation is not None:
        for i, name in enumerate(form.with_respect_to):
            kind = f"differentiable input of {operation.name}"
            path: Steps = ("differentiate", "with_respect_to", i)
            exam.known(path, name, operation.differentiable, kind)
            if name in form.with_respect_to[:i]:
                exam.error(path, f"{name!r} is named twice in with_respect_to")
    return Differentiate(tuple(form.with_respect_to), cotangent)


def _published(exam: Examination) -> tuple[Published, ...]:
    made = []
    checker = inputs.InputChecker(exam)
    for output, form in exam.draft.published.items():
        path: Steps = ("published", output)
        if exam.operation is not None:
            kind = f"output of {exam.operation.name}"
            exam.known(path, output, exam.outputs, kind, key=True)
        if checker.file((*path, "file"), form.file):
            checker.column((*path, "file"), form.file, (*path, "column"), form.column)
        made.append(Published(output, form.file, form.column, form.digits))
    return tuple(made)


def _coverage(exam: Examination, case: Case, chosen: Mapping[str, Sequence[str]]) -> None:
    """Find rules, exclusions, timings and facts that no cell of the full profile is left for."""
    mode = MODES[0] if case.differentiate is None else MODES[1]
    names = [
        {"formulation": f, "backend": b, "dtype": d, "mode": mode}
        for f in chosen["formulation"]
        for b in chosen["backend"]
        for d in chosen["dtype"]
    ]
    count = len(names) * count_points(case.axes, case.zipped)
    if count > MAX_CELLS:
        lengths = [len(case.axes[group[0]].values) for group in axis_groups(case.axes, case.zipped)]
        message = f"{count:,} cells ({' × '.join(map(str, [len(names), *lengths]))})"
        hint = f"at most {MAX_CELLS:,} are allowed in one case: split it"
        exam.error(("axes",), message, hint, key=True)
    elif count:
        Coverage(exam, case, names, list(points(case.axes, case.zipped))).check()
