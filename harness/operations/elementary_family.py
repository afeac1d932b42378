"""What elementary functions share: a record of one, and the operation and formulations made of it.

The error allowed is `LIMIT` units in the last place of the exact value, and the smallest subnormal number.
NumPy's own validation sets allow that much: 4 units in float32, 2 in float64 (`test_umath_accuracy.py` of
numpy 2.4 and its data). In a format of 16 bits it is what a float32 result within that limit gives, rounded
once: half a unit, and 4·2^(p−24) more. A result that is 0 must be exactly 0 (IEEE 754-2019, 9.2.1).

The gradient is g·f'(x) by `slope`, whose errors running error analysis bounds. It is written so that nothing
cancels: where automatic differentiation goes through the rounded value, as in 1 − tanh², its digits are lost
and the case says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from harness.formats import FORMATS
from harness.operations.definition import operation, per_entry
from harness.operations.widening import AT_LEAST_SINGLE, at_least_single
from harness.registry import COTANGENT, ExactProblem, Thunk, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import NumberFormat, Precision
    from harness.reference.elements import Reference

    Floats = NDArray[np.float64]

LIMIT: Final = 4.0
SINGLE: Final = FORMATS["float32"]
SOURCE: Final = (
    "NumPy's validation sets: at most 4 ulp in float32, 2 in float64 (umath-validation-set-*.csv in "
    "numpy/_core/tests/data); results of 0: IEEE 754-2019, 9.2.1"
)
FAR: Final = 2**51
"""exp(±FAR) is 2 to the ±3.2·10¹⁵, next to the largest exponent that an element holds; what is farther off
counts as that."""

Expression = Callable[[Any, Any], Any]
"""(xp, x) → f(x), in the notation of `definition`: operators and Python's numbers."""


@dataclass(frozen=True)
class Form:
    """A formulation of a function, in the namespace's functions."""

    title: str
    expression: Expression
    at_least_single: bool = False
    """Whether it computes in float32 what it is given in 16 bits, and rounds once: each step in the dtype
    would cost half a unit, which is all that there is."""


@dataclass(frozen=True)
class Function:
    """An elementary function of one variable."""

    name: str
    title: str
    formula: str
    slope: Expression
    """f', by an algorithm that keeps its digits: the bound of gradients."""
    slope_formula: str
    definition: Expression | None = None
    """f, exact; left out: exact arithmetic's own function of that name."""
    gradient_definition: Expression | None = None
    """What is differentiated instead, where f cancels; it may differ by a constant."""
    stable: Expression | None = None
    """f from functions that error analysis knows, for its condition number; left out: that of its name."""
    limit: float = LIMIT
    source: str = SOURCE
    library: bool = True
    """Whether the library's own is the namespace's; if not, it is in the `*_library.py` that have one."""
    forms: Mapping[str, Form] = field(default_factory=dict)
    """Further formulations by name. `definition` is the formula taken literally."""


def limit_ulp(fmt: NumberFormat, limit: float) -> float:
    """Return the units in the last place that a format's results may be off."""
    if fmt.precision >= SINGLE.precision:
        return limit
    return 0.5 + limit * 2.0 ** (fmt.precision - SINGLE.precision)


def within_reach(xp: Any, x: Any) -> Any:
    """Return ±FAR for what is farther off and finite, with the derivative of x.

    The exponent of exp(1e300) is a number of 64 bits no more.
    """
    far = xp.scalar(FAR)
    for beyond, end in ((xp.less(far, x), FAR), (xp.less(x, -far), -FAR)):
        x = xp.where(xp.logical_and(beyond, xp.isfinite(x)), x - xp.detach(x - end), x)
    return x


def register(function: Function) -> None:
    """Register a function as an operation, with its formulations."""

    def own(xp: Any, x: Any) -> Any:
        return getattr(xp, function.name)(x)

    def bound(problem: ExactProblem, reference: Reference, precision: Precision) -> Mapping[str, Floats]:
        return {"y": bound_log2(reference, precision.format, function.limit)}

    def gradient_bound(
        problem: ExactProblem, reference: Reference, precision: Precision
    ) -> Mapping[str, Floats]:
        return {"grad_x": gradient_bound_log2(function.slope, problem, precision)}

    limit = f"{function.limit:g}"
    operation(
        name=function.name,
        title=function.title,
        formula=function.formula,
        inputs={"x": "any shape"},
        definition=function.definition or own,
        stable=function.stable or own,
        gradient_definition=function.gradient_definition,
        bound=bound,
        gradient_bound=gradient_bound,
        bound_formula=f"{limit} ulp of y, in 16 bits ½ + {limit}·2^(p−24) of one, and ω; 0 where y = 0",
        gradient_bound_formula=f"running error analysis of g·({function.slope_formula}), and ω",
        source=function.source,
        differentiable=("x",),
        gradient_formula=f"g·({function.slope_formula})",
        cost=per_entry(1),
        elementwise=True,
        signed_zero=True,
    )
    forms = dict(function.forms)
    if function.library:
        forms = {"library": Form("The library's own function", own), **forms}
    for name, form in forms.items():
        compute = AT_LEAST_SINGLE if form.at_least_single else None
        formulation(function.name, name, title=form.title, compute=compute)(_built(form))


def bound_log2(reference: Reference, fmt: NumberFormat, limit: float) -> Floats:
    """Return log2 of what an elementary function may be off: (units·ulp(y) + ω), nothing where y = 0."""
    import numpy as np

    from harness.reference.elements import ZERO

    y = reference.outputs["y"]
    ulp = y.ulp_exponent(fmt).astype(np.float64)
    least = float(fmt.exponent_min - fmt.precision + 1)
    with np.errstate(under="ignore"):
        allowed = ulp + np.log2(limit_ulp(fmt, limit) + np.exp2(least - ulp))
    return np.where(y.kind == ZERO, -np.inf, allowed)


def gradient_bound_log2(slope: Expression, problem: ExactProblem, precision: Precision) -> Floats:
    """Return log2 of the error that g·slope(x) may have, and ω; none where float64 has no finite value."""
    import numpy as np

    from harness.reference.running_error import RunningErrors, log2_of
    from harness.tape import Tape

    errors = RunningErrors(precision)
    tape = Tape(errors)
    g, x = (tape.variable(errors.exact(problem.inputs[name])) for name in (COTANGENT, "x"))
    with np.errstate(all="ignore"):
        allowed = np.exp2(log2_of((g * slope(tape, x)).value))
        return np.asarray(np.log2(allowed + errors.least))


def _built(form: Form) -> Callable[..., Thunk]:
    def build(xp: Any, x: Any) -> Thunk:
        if not form.at_least_single:
            return lambda: form.expression(xp, x)

        def thunk() -> Any:
            wide, values = at_least_single(xp, x)
            y = form.expression(wide, values)
            return y if wide is xp else wide.astype(y, xp.dtype.name)

        return thunk

    return build
