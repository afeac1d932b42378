"""Operations made of two expressions: what is meant, and what a stable algorithm computes.

`operation(...)` makes an `Operation` of

    definition   the mathematical function, in exact arithmetic: the reference, and on a tape its gradient
    stable       an algorithm, from which running error analysis derives the a-priori bound, and on a tape, as
                 automatic differentiation would do it, that of its gradient; left out: the definition itself

both written once, in the notation of arrays: `(xp, *inputs, **parameters)`, with the functions of
formulations (`harness/backends/namespace.py`), the operators + − × ÷ and Python's own numbers, which the
algorithm rounds once to the format. Both return one array, or a tuple of the outputs. An input that is not
finite follows the rules of extended reals; where they make no number of it, the class of the result decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from harness.model import Written
from harness.registry import (
    COTANGENT,
    Cost,
    ExactProblem,
    Gradient,
    Operation,
    Parameter,
    gradient_output,
    register_operation,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference, ReferenceArray

    Floats = NDArray[np.float64]

DTYPES: Final = ("float64", "float32", "bfloat16", "float16")
RUNNING: Final = (
    "running error analysis of that algorithm, Higham, Accuracy and Stability of Numerical Algorithms, "
    "2nd ed. 2002, section 3.3; sums in any order: Jeannerod & Rump, SIAM J. Matrix Anal. Appl. 34 (2013)"
)
Expression = Callable[..., Any]
Bound = Callable[[ExactProblem, "Reference", "Precision"], Mapping[str, "Floats"]]
_ROUNDINGS: Final = 20.0
"""log2 of how many times its own bound a float64 evaluation may be off before it is another function."""
_TINY: Final = -960.0
"""log2 of what is next to underflow in float64."""
Costs = Callable[[Mapping[str, tuple[int, ...]], Mapping[str, Written], int], Cost]


def operation(
    *,
    name: str,
    title: str,
    formula: str,
    inputs: Mapping[str, str],
    definition: Expression,
    algorithm: str = "",
    stable: Expression | None = None,
    bound: Bound | None = None,
    gradient_bound: Bound | None = None,
    bound_formula: str | None = None,
    gradient_bound_formula: str | None = None,
    outputs: tuple[str, ...] = ("y",),
    differentiable: tuple[str, ...] = (),
    gradient_formula: str = "",
    gradient_definition: Expression | None = None,
    gradient_stable: Expression | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    dtypes: tuple[str, ...] = DTYPES,
    source: str = RUNNING,
    check: Callable[[ExactProblem], None] | None = None,
    cost: Costs | None = None,
    gradient_cost: Costs | None = None,
    condition: bool = True,
    version: int = 1,
    **options: Any,
) -> Operation:
    """Register an operation by its definition and a stable algorithm, and return it.

    Parameters
    ----------
    algorithm
        In words, what running error analysis is made of: makes `bound_formula` where that is left out, and
        `gradient_bound_formula` where there is no `gradient_bound` either.
    bound, gradient_bound
        Bounds that tell more than running error analysis of `stable` does, with `bound_formula` and
        `gradient_bound_formula`.
    differentiable
        Inputs with a derivative, that of the first output; `gradient_formula` is what reports print.
    gradient_definition, gradient_stable
        Expressions that the tape differentiates instead of `definition` and `stable`.
    check
        Raises InputError for inputs that the operation does not take: shapes, domains.
    condition
        Whether Σ|x_i ∂y/∂x_i| / |y| is a quantity: of elementwise functions and of one scalar output.
    options
        Further fields of `Operation`: `elementwise`, `signed_zero`, `normwise`, `judge`, `storage`. Where
        zeros of an elementwise function have signs, an input 0 gives its result of 0 its own (IEEE 754-2019,
        9.2.1).
    """
    algorithmic = stable or definition
    pair = definition, algorithmic
    told = f"what the standard model allows {algorithm}, evaluated for these inputs"
    words = bound_formula or told

    def reference(problem: ExactProblem) -> Reference:
        found = _reference(
            definition,
            algorithmic,
            problem,
            outputs,
            condition=condition and bool(differentiable),
            agreement=bound is None,
            check=check,
        )
        return _with_signs_of_zero(found, problem) if options.get("signed_zero") else found

    def derived(problem: ExactProblem, reference: Reference, precision: Precision) -> Mapping[str, Floats]:
        return _bound(algorithmic, problem, outputs, precision)

    reference.__module__ = definition.__module__
    gradient = None
    if differentiable:
        exact, approximate = gradient_definition or pair[0], gradient_stable or stable or definition

        def gradient_reference(problem: ExactProblem) -> Reference:
            return _gradient_reference(exact, problem, tuple(inputs), check)

        def derived_gradient(
            problem: ExactProblem, reference: Reference, precision: Precision
        ) -> Mapping[str, Floats]:
            return _gradient_bound(approximate, problem, tuple(inputs), precision)

        gradient_reference.__module__ = exact.__module__
        gradient = Gradient(
            with_respect_to=differentiable,
            formula=gradient_formula or f"Jᵀg of {formula}",
            reference=gradient_reference,
            reference_version=version,
            bound_formula=gradient_bound_formula
            or f"{told if gradient_bound is None else words}, differentiated by the chain rule",
            bound_source=source,
            bound=gradient_bound or derived_gradient,
            cost=gradient_cost,
        )
    return register_operation(
        Operation(
            name=name,
            title=title,
            formula=formula,
            inputs=inputs,
            outputs=outputs,
            dtypes=dtypes,
            reference=reference,
            reference_version=version,
            bound_formula=words,
            bound_source=source,
            bound=bound or derived,
            parameters=parameters or {},
            cost=cost,
            gradient=gradient,
            **options,
        )
    )


def require_one_shape(problem: ExactProblem) -> None:
    """Raise InputError unless all inputs, the cotangent apart, have one shape."""
    from harness.errors import InputError

    shapes = {name: list(x.shape) for name, x in problem.inputs.items() if name != COTANGENT}
    if len(set(map(tuple, shapes.values()))) > 1:
        told = _listed([f"{name} {shape}" for name, shape in shapes.items()])
        raise InputError(f"the shapes differ: {told}", f"give {_listed(list(shapes))} one shape")


def _listed(words: list[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def per_entry(flops: int, result: Callable[[tuple[int, ...]], int] = math.prod) -> Costs:
    """Return the cost of so many operations for each entry of the largest input.

    An elementary function counts as one. All inputs are read and the result written once; `result` gives its
    number of elements from the shape of the largest input. Left out: as many as that has.
    """

    def counted(
        shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
    ) -> Cost:
        sizes = [math.prod(shape) for shape in shapes.values()]
        largest = max(shapes.values(), key=math.prod)
        return Cost(flops * max(sizes), (sum(sizes) + result(largest)) * element_bytes)

    return counted


def one(shape: tuple[int, ...]) -> int:
    """Return the elements of a scalar: for `per_entry`."""
    return 1


def rows(shape: tuple[int, ...]) -> int:
    """Return the elements that are left when the last axis is reduced: for `per_entry`."""
    return math.prod(shape[:-1])


def _given(problem: ExactProblem) -> list[Floats]:
    return [x for name, x in problem.inputs.items() if name != COTANGENT]


def _reference(
    definition: Expression,
    stable: Expression,
    problem: ExactProblem,
    outputs: tuple[str, ...],
    *,
    condition: bool,
    agreement: bool,
    check: Callable[[ExactProblem], None] | None,
) -> Reference:
    from harness.reference.definitions import certified_values
    from harness.reference.elements import Reference

    if check is not None:
        check(problem)
    found = certified_values(definition, _given(problem), problem.parameters, problem.dtype.storage)
    exact = dict(zip(outputs, found, strict=True))
    if agreement:
        _require_agreement(stable, problem, exact)
    quantities = _condition(stable, problem, found[0]) if condition else {}
    return Reference(exact, quantities)


def _require_agreement(
    stable: Expression, problem: ExactProblem, exact: Mapping[str, ReferenceArray]
) -> None:
    """Raise InputError where the stable algorithm computes another function than the one that is meant.

    In float64 it may be off by its bound. A million times that is no rounding: the bound would be that of
    something else, and tell nothing. What is next to underflow is left out, for libraries flush it; and what
    is below that of the format is known to the radius of its reference only.
    """
    import numpy as np

    from harness.errors import InputError
    from harness.formats import DTYPES, Precision
    from harness.reference.elements import UNDECIDED
    from harness.reference.running_error import RunningErrors
    from harness.tape import Tape

    errors = RunningErrors(Precision.of(DTYPES["float64"], "float64"))
    tape = Tape(errors)
    found = stable(tape, *(tape.variable(errors.exact(x)) for x in _given(problem)), **problem.parameters)
    parts = found if isinstance(found, tuple) else (found,)
    for (name, y), part in zip(exact.items(), parts, strict=True):
        computed = getattr(part, "value", part)
        if computed.shape != y.shape:
            shapes = f"{list(computed.shape)}, the definition of shape {list(y.shape)}"
            raise InputError(f"the stable expression of {problem.operation} gives {name} of shape {shapes}")
        with np.errstate(all="ignore"):
            allowed = np.maximum(np.log2(computed.error) + _ROUNDINGS, y.radius_log2 + 1)
            off = y.error_log2(computed.value) > allowed
        off &= np.isfinite(computed.value) & (y.log2_abs() > _TINY) & (y.kind != UNDECIDED)
        if off.any():
            place = tuple(int(i) for i in np.argwhere(off)[0])
            values = (
                f"{float(computed.value[place])}, where the definition gives {float(y.to_float64()[place])}"
            )
            raise InputError(
                f"the stable expression of {problem.operation} computes another function than its "
                f"definition: {name}{list(place)} is {values}"
            )


def _with_signs_of_zero(reference: Reference, problem: ExactProblem) -> Reference:
    """Give a result of 0 at an input of 0 the sign of that input; exact arithmetic has one zero only."""
    import numpy as np

    from harness.reference.elements import ZERO

    (x,) = _given(problem)
    for y in reference.outputs.values():
        signed = (y.kind == ZERO) & (x == 0)
        y.hi[signed] = np.copysign(0.0, x[signed])
    return reference


def _bound(
    stable: Expression, problem: ExactProblem, outputs: tuple[str, ...], precision: Precision
) -> dict[str, Floats]:
    from harness.reference.running_error import RunningErrors, log2_of
    from harness.tape import Tape

    errors = RunningErrors(precision)
    tape = Tape(errors)
    found = stable(tape, *(tape.variable(errors.exact(x)) for x in _given(problem)), **problem.parameters)
    parts = found if isinstance(found, tuple) else (found,)
    return {n: log2_of(getattr(p, "value", p)) for n, p in zip(outputs, parts, strict=True)}


def _gradient_reference(
    definition: Expression,
    problem: ExactProblem,
    inputs: tuple[str, ...],
    check: Callable[[ExactProblem], None] | None,
) -> Reference:
    from harness.errors import InputError
    from harness.reference.definitions import certified_gradients
    from harness.reference.elements import Reference

    if check is not None:
        check(problem)
    wanted = [inputs.index(name) for name in problem.with_respect_to]
    try:
        found = certified_gradients(
            definition,
            _given(problem),
            problem.parameters,
            problem.inputs[COTANGENT],
            wanted,
            problem.dtype.storage,
        )
    except ValueError as error:
        raise InputError(f"the cotangent does not have the shape of the output: {error}") from error
    return Reference({gradient_output(n): y for n, y in zip(problem.with_respect_to, found, strict=True)})


def _gradient_bound(
    stable: Expression, problem: ExactProblem, inputs: tuple[str, ...], precision: Precision
) -> dict[str, Floats]:
    from harness.reference.running_error import RunningErrors, log2_of
    from harness.tape import Tape

    errors = RunningErrors(precision)
    tape = Tape(errors)
    nodes = [tape.variable(errors.exact(x)) for x in _given(problem)]
    found = stable(tape, *nodes, **problem.parameters)
    first = found[0] if isinstance(found, tuple) else found
    g = errors.exact(problem.inputs[COTANGENT].reshape(first.shape))
    wanted = [nodes[inputs.index(name)] for name in problem.with_respect_to]
    gradients = tape.gradients(first, g, wanted)
    return {gradient_output(n): log2_of(y) for n, y in zip(problem.with_respect_to, gradients, strict=True)}


def _condition(stable: Expression, problem: ExactProblem, exact: ReferenceArray) -> dict[str, float]:
    """Return the largest Σ|x_i ∂y/∂x_i| / |y|, from a float64 gradient; none where there is no number."""
    import numpy as np

    from harness.formats import DTYPES, Precision
    from harness.reference.running_error import RunningErrors
    from harness.tape import Tape

    given = _given(problem)
    shape = exact.shape
    if shape and any(x.shape != shape for x in given):
        return {}
    errors = RunningErrors(Precision.of(DTYPES["float64"], "float64"))
    tape = Tape(errors)
    nodes = [tape.variable(errors.exact(x)) for x in given]
    found = stable(tape, *nodes, **problem.parameters)
    first = found[0] if isinstance(found, tuple) else found
    gradients = tape.gradients(first, errors.exact(np.ones(shape)), nodes)
    with np.errstate(all="ignore"):
        parts = [np.abs(x * g.value) for x, g in zip(given, gradients, strict=True)]
        total = sum(parts) if shape else sum(float(part.sum()) for part in parts)
        found_condition = np.asarray(total / np.exp2(exact.log2_abs()))
    numbers = found_condition[np.isfinite(found_condition)]
    return {"condition": float(numbers.max())} if numbers.size else {}
