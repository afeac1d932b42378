"""What an operation, its gradient and a formulation are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from harness.model import Condition, Written, format_written

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import DType, NumberFormat, Precision
    from harness.reference.elements import Reference
    from harness.registry.backends import Lack

PRIMITIVE_GROUPS: Final = ("elementwise", "sum", "matmul", "linalg")
"""What a formulation may need of a backend; a backend declares its compute dtype for each."""

_ANY: Final = Condition()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A scalar parameter of an operation. Numbers stay exact decimals; `default` None: required."""

    default: Written | None
    description: str
    choices: tuple[Written, ...] = ()
    """Words that are allowed; with a `kind`, beside the values of that kind."""
    kind: Literal["integer", "number"] | None = None
    """None: whatever `choices` allow, or anything where there are none."""
    within: Condition = _ANY
    """What numbers must satisfy; they are finite in any case."""

    def takes(self, value: Written) -> bool:
        """Return whether a case may give this value."""
        if any(type(value) is type(c) and value == c for c in self.choices):
            return True
        if self.kind is None:
            return not self.choices
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            return False
        return (self.kind == "number" or value == int(value)) and self.within.holds(value)

    @property
    def allowed(self) -> str:
        """What `takes` takes, in words."""
        words = [format_written(choice) for choice in self.choices]
        if self.kind is not None:
            article = "an integer" if self.kind == "integer" else "a finite number"
            words.append(article if self.within == _ANY else f"{article} {self.within}")
        return ", ".join(words) or "anything"


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one call: floating-point operations, and bytes that must cross to and from memory."""

    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ExactProblem:
    """Inputs as a referee sees them: float64 arrays that hold the rounded inputs exactly."""

    operation: str
    inputs: Mapping[str, NDArray[np.float64]]
    """By name; a backward problem has `cotangent` among them."""
    parameters: Mapping[str, Written]
    dtype: DType
    with_respect_to: tuple[str, ...] = ()
    """Inputs whose gradients are wanted; empty: forward."""


@dataclass(frozen=True)
class Gradient:
    """The derivative of an operation: from a cotangent g of its output to Jᵀg for some of its inputs.

    References, bounds and judges see the problem with `cotangent` among its inputs, and give an output
    `grad_<input>` for each of `problem.with_respect_to`.
    """

    with_respect_to: tuple[str, ...]
    """Inputs that a derivative is proved for."""
    formula: str
    reference: Callable[[ExactProblem], Reference]
    reference_version: int
    bound_formula: str
    bound_source: str
    bound: Callable[[ExactProblem, Reference, Precision], Mapping[str, NDArray[np.float64]]]
    cost: Callable[[Mapping[str, tuple[int, ...]], Mapping[str, Written], int], Cost] | None = None
    """Of the value and the gradient together, which is what is timed."""


COTANGENT: Final = "cotangent"
"""The input of a backward problem that stands for the gradient of the output."""


def gradient_output(name: str) -> str:
    """Return what the gradient with respect to input `name` is called among the outputs."""
    return f"grad_{name}"


@dataclass(frozen=True)
class Operation:
    """A mathematical function: certified reference, a-priori error bound with source, cost."""

    name: str
    title: str
    formula: str
    """In plain text, for reports."""
    inputs: Mapping[str, str]
    """Name → shape in words, in the order in which formulations take them."""
    outputs: tuple[str, ...]
    """Names, in the order in which formulations return them."""
    dtypes: tuple[str, ...]
    """What a case runs when it names none."""
    reference: Callable[[ExactProblem], Reference]
    """Certified values and the quantities that bounds need. Raises InputError for inputs it cannot take."""
    reference_version: int
    """Part of the cache key: raised whenever `reference` could give another content."""
    bound_formula: str
    bound_source: str
    bound: Callable[[ExactProblem, Reference, Precision], Mapping[str, NDArray[np.float64]]] | None = None
    """Per output, log2 of the error allowed to each element (broadcastable to its shape)."""
    judge: (
        Callable[
            [ExactProblem, Reference, Mapping[str, NDArray[np.float64]], Precision],
            Mapping[str, Mapping[str, float]],
        ]
        | None
    ) = None
    """Per output, metrics that are the operation's own; may hold `bound_ratio` instead of `bound`."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    cost: Callable[[Mapping[str, tuple[int, ...]], Mapping[str, Written], int], Cost] | None = None
    """(input shapes, parameters, bytes of one element) → Cost."""
    signed_zero: bool = False
    """Whether −0 and +0 are different results (elementwise operations and conversions only)."""
    elementwise: bool = False
    """Whether an element of an output depends on the same element of each input, and on no other."""
    normwise: bool = False
    """Whether elements may cancel, so that the digits left are those of the whole output, in its 2-norm."""
    storage: Mapping[str, str] = field(default_factory=dict)
    """Input → the parameter that names the format it is stored in; others are stored as the cell's dtype."""
    gradient: Gradient | None = None
    """None: forward only."""

    @property
    def differentiable(self) -> tuple[str, ...]:
        """Inputs with respect to which a rigorous derivative exists; empty: forward only."""
        return () if self.gradient is None else self.gradient.with_respect_to

    def differentiated(self, with_respect_to: tuple[str, ...]) -> Operation:
        """Return the gradient as an operation of its own: inputs with the cotangent, outputs, proofs.

        Nothing is asked for: the operation itself.
        """
        if not with_respect_to:
            return self
        g = self.gradient
        if g is None or not set(with_respect_to) <= set(g.with_respect_to):
            raise ValueError(
                f"{self.name} declares no derivative with respect to {', '.join(with_respect_to)}"
            )
        return replace(
            self,
            title=f"Gradient of {self.title}",
            formula=g.formula,
            inputs={**self.inputs, COTANGENT: "the shape of the output"},
            outputs=tuple(map(gradient_output, with_respect_to)),
            reference=g.reference,
            reference_version=g.reference_version,
            bound_formula=g.bound_formula,
            bound_source=g.bound_source,
            bound=g.bound,
            judge=None,
            cost=g.cost,
            signed_zero=False,  # no standard gives a derivative's zeros a sign
            gradient=None,
        )

    def defaults(self) -> dict[str, Written]:
        """Return the parameters that a case may leave out, and what they are then."""
        return {n: p.default for n, p in self.parameters.items() if p.default is not None}

    def input_formats(
        self, parameters: Mapping[str, Written], storage: NumberFormat
    ) -> dict[str, NumberFormat]:
        """Return the format of each input (the cotangent's is the cell's own, `storage`)."""
        from harness.formats import FORMATS

        given = {**self.defaults(), **parameters}
        named = {name: FORMATS[str(given[parameter])] for name, parameter in self.storage.items()}
        return {name: named.get(name, storage) for name in self.inputs}


@dataclass(frozen=True)
class Formulation:
    """One algorithm for an operation.

    `build(xp, *inputs, **parameters)` takes native arrays in the order of the operation's inputs and
    returns a thunk; the thunk, and nothing else, is timed. It returns one native array, or a tuple
    of them in the order of the operation's outputs.
    """

    operation: str
    name: str
    build: Callable[..., Callable[[], Any]]
    title: str
    needs: tuple[str, ...] = ("elementwise",)
    """Of `PRIMITIVE_GROUPS`: a backend that lacks one for a dtype makes the cell `unsupported`."""
    backends: tuple[str, ...] | None = None
    """None: any backend, through its namespace."""
    compute: str | Mapping[str, str | Lack] | None = None
    """Dtype that reductions accumulate in, where the formulation decides it: one name, or dtype → name
    (then only these dtypes are supported) or why not. None: what the backend declares for `needs`."""


class Thunk(Protocol):
    """What is timed: no argument, returns the native result."""

    def __call__(self) -> Any:
        """Do the work once."""
