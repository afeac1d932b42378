"""What can be registered, and where it goes: operations, formulations, backends, recipes, metrics.

A room's file builds one of these frozen records and registers it when it is imported; nothing else
in the harness has to be told. A second thing of one name raises `RegistrationError`: nothing is ever
overridden. No heavy import here: arrays are named in annotations only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeVar, runtime_checkable

from harness.errors import RegistrationError, did_you_mean
from harness.model import MODES, Condition, Written, format_written

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import DType, NumberFormat, Precision
    from harness.reference.elements import Reference
    from harness.timing.clock import Timer

T = TypeVar("T")

PRIMITIVE_GROUPS: Final = ("elementwise", "sum", "matmul", "linalg")
"""What a formulation may need of a backend; a backend declares its compute dtype for each."""


class Registry(Generic[T]):
    """Names and what they stand for; registering a name twice raises."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._origin: dict[str, str] = {}

    def add(self, name: str, item: T, origin: str) -> None:
        """Register `item`; `origin` (a module's name) is told when the name is taken."""
        if name in self._items:
            raise RegistrationError(
                f"{self.kind} {name!r} is registered by {origin} and already by {self._origin[name]}"
            )
        self._items[name] = item
        self._origin[name] = origin

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            raise KeyError(f"unknown {self.kind} {name!r}; {did_you_mean(name, list(self._items))}")
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> Sequence[T]:
        """Return what is registered, in the order of registration."""
        return tuple(self._items.values())

    def origin(self, name: str) -> str:
        """Return the module that registered `name`."""
        return self._origin[name]


# ---- operations and formulations -------------------------------------------------------------------


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


# ---- backends --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a backend cannot do something: `unavailable` (not here) or `unsupported` (not at all)."""

    word: str
    reason: str


@runtime_checkable
class Backend(Protocol):
    """An array library on a device. Declarations are plain data and import nothing heavy."""

    @property
    def name(self) -> str:
        """What cells call it."""

    @property
    def title(self) -> str:
        """What reports call it."""

    @property
    def requires(self) -> tuple[str, ...]:
        """Modules that must be importable; found without importing them."""

    @property
    def capabilities(self) -> Mapping[str, Mapping[str, str | Lack]]:
        """By dtype: primitive group → compute dtype, or the lack of it. One left out is unsupported."""

    @property
    def flags(self) -> Mapping[str, Mapping[str, str]]:
        """By dtype: settings of the library that make its mode; each set of them has a worker of its own."""

    @property
    def autograd(self) -> bool:
        """Whether `differentiated` works; otherwise formulations need gradients of their own."""

    def unavailable(self) -> str | None:
        """Return why this backend cannot run on this machine, or None. Imports nothing heavy."""

    def environment(self, threads: int) -> Mapping[str, str]:
        """Return the variables that must be set before the library is imported."""

    def start(self, threads: int, flags: Mapping[str, str]) -> None:
        """Import the library and set its own switches; called once, in the worker.

        `flags` are those of the dtypes that this worker serves.
        """

    def from_bits(self, bits: NDArray[Any], storage: NumberFormat) -> Any:
        """Return a native 64-byte-aligned contiguous array of the bit patterns given (unsigned ints)."""

    def to_bits(self, array: Any) -> tuple[NDArray[Any], str]:
        """Return a native array's bit patterns (unsigned ints) and the name of its format."""

    def namespace(self, dtype: DType, *, checked: bool) -> Any:
        """Return the array functions that formulations use, for this dtype.

        Checked functions raise DtypeError when a result leaves the declared dtype; unchecked ones,
        used while timing, compute the same bits without the check.
        """

    def differentiated(
        self, build: Callable[..., Thunk], inputs: Sequence[Any], positions: Sequence[int], cotangent: Any
    ) -> Thunk:
        """Return a thunk that gives the gradients for the inputs at `positions`, as a tuple.

        `build` takes native inputs and returns the thunk of the value. Each call computes the value and then
        its gradients. Called only where `autograd`.
        """

    def peak_memory(self, thunk: Thunk) -> int | None:
        """Return the most bytes that one call holds beyond what is held before, its result included.

        None: this library cannot tell.
        """

    def timers(self) -> Sequence[Timer]:
        """Return what times this backend, the one for the columns of results first."""

    def synchronize(self) -> None:
        """Wait until all work started is done (CPU: nothing)."""

    def facts(self) -> Mapping[str, str]:
        """Return what the record says of it, called in the worker: versions, BLAS, thread counts as found.

        `variables` tells its `own_variables` as they are set here (`variables_as_set`).
        """


# ---- recipes and metrics ---------------------------------------------------------------------------


ARGUMENT_KINDS: Final = ("number", "integer", "shape", "text", "texts", "flag", "numbers", "input")
"""number: finite. numbers: nested lists, ±inf and NaN included. flag: true or false. input: the name of an
input that is listed before."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a recipe. `kind` is one of `ARGUMENT_KINDS`."""

    kind: str
    description: str
    default: Any = None
    required: bool = True
    choices: tuple[str, ...] | None = None
    """What a text may be; None: anything."""


@dataclass(frozen=True)
class RecipeContext:
    """What a recipe may use beside its arguments."""

    format: NumberFormat
    """What this input is stored in: ill-conditioned inputs are built on its grid."""
    target: NumberFormat
    """The storage format of the cell's dtype, which an operation's `storage` may make another one."""
    stream: Any
    """A harness.recipes RandomStream of this input alone: raw generator bits, the same everywhere."""
    folder: Path
    others: Mapping[str, NDArray[np.float64]]
    """Inputs made before this one, already rounded."""


@dataclass(frozen=True)
class Recipe:
    """How an input is made, bit for bit the same on every machine.

    `make(context, **arguments)` returns a float64 array, or an object array of exact numbers
    (Fraction, or Decimal for ±Infinity and NaN); the caller rounds it once to the storage format.
    """

    name: str
    title: str
    arguments: Mapping[str, Argument]
    make: Callable[..., NDArray[Any]]
    elements: Callable[[Mapping[str, Any]], int | None]
    """Number of elements from the arguments alone (None: not known before), without NumPy."""


@dataclass(frozen=True)
class Metric:
    """One column of accuracy: renderers know its unit and hint, never its name."""

    name: str
    title: str
    unit: str
    formula: str
    source: str
    compute: Callable[[Any], float | int | str | None] | None
    """Takes a harness.metrics Judgement. None: given by an operation's own `judge`."""
    better: str = "low"
    """low, high, or none."""
    display: str = "scientific"
    """scientific, fixed, integer, percent or text."""


OPERATIONS: Final[Registry[Operation]] = Registry("operation")
FORMULATIONS: Final[Registry[Formulation]] = Registry("formulation")
"""By `operation/name`; a backend's own by `operation/name@backend`."""
BACKENDS: Final[Registry[Backend]] = Registry("backend")
RECIPES: Final[Registry[Recipe]] = Registry("recipe")
METRICS: Final[Registry[Metric]] = Registry("metric")
GRADIENTS: Final[Registry[Formulation]] = Registry("gradient")
"""Gradients that formulations declare for backends without automatic differentiation, keyed like them."""


def register_operation(operation: Operation) -> Operation:
    """Register an operation; it must have a bound of its own or a judge that gives `bound_ratio`."""
    if operation.bound is None and operation.judge is None:
        raise RegistrationError(f"operation {operation.name!r} has neither a bound nor a judge")
    OPERATIONS.add(operation.name, operation, operation.reference.__module__)
    return operation


def formulation(
    operation: str,
    name: str,
    *,
    title: str,
    needs: Sequence[str] = ("elementwise",),
    backends: Sequence[str] | None = None,
    compute: str | Mapping[str, str | Lack] | None = None,
) -> Callable[[Callable[..., Thunk]], Callable[..., Thunk]]:
    """Register the decorated function as formulation `name` of `operation` (see `Formulation`)."""
    return _registrar(FORMULATIONS, operation, name, title, needs, backends, compute)


def gradient(
    operation: str,
    name: str,
    *,
    title: str,
    needs: Sequence[str] = ("elementwise",),
    backends: Sequence[str] | None = None,
    compute: str | Mapping[str, str | Lack] | None = None,
) -> Callable[[Callable[..., Thunk]], Callable[..., Thunk]]:
    """Register the decorated function as the gradient of formulation `name` of `operation`.

    `build(xp, *inputs, cotangent, with_respect_to=(…), **parameters)` returns a thunk that gives a tuple of
    native arrays, in the order of `with_respect_to`. It computes the value too, as far as it needs it.
    """
    return _registrar(GRADIENTS, operation, name, title, needs, backends, compute)


def _registrar(
    registry: Registry[Formulation],
    operation: str,
    name: str,
    title: str,
    needs: Sequence[str],
    backends: Sequence[str] | None,
    compute: str | Mapping[str, str | Lack] | None,
) -> Callable[[Callable[..., Thunk]], Callable[..., Thunk]]:
    subject = f"{registry.kind} {operation}/{name}" + (f" of {', '.join(backends)}" if backends else "")
    unknown = sorted(set(needs) - set(PRIMITIVE_GROUPS))
    if unknown:
        raise RegistrationError(f"{subject} needs unknown primitives {unknown}")
    _require_known_compute(subject, compute)

    def register(build: Callable[..., Thunk]) -> Callable[..., Thunk]:
        only = None if backends is None else tuple(backends)
        item = Formulation(operation, name, build, title, tuple(needs), only, compute)
        for key in [f"{operation}/{name}"] if only is None else [f"{operation}/{name}@{b}" for b in only]:
            registry.add(key, item, build.__module__)
        return build

    return register


def library(
    backend: str, operation: str, *, title: str, compute: Mapping[str, str | Lack]
) -> Callable[[Callable[..., Thunk]], Callable[..., Thunk]]:
    """Register a backend's own callable as formulation `library`: dtype → what it computes in, or why not."""
    return formulation(operation, "library", title=title, needs=(), backends=(backend,), compute=compute)


def register_backend(backend: Backend) -> Backend:
    """Register a backend; every dtype, group and compute dtype that it names must exist."""
    from harness.formats import DTYPES, FORMATS

    for dtype, groups in backend.capabilities.items():
        subject = f"backend {backend.name!r} declares"
        _require_known(f"{subject} the dtype", dtype, DTYPES)
        for group, declared in groups.items():
            _require_known(f"{subject} for {dtype} the group", group, PRIMITIVE_GROUPS)
            if not isinstance(declared, Lack):
                _require_known(f"{subject} for {dtype} that {group} is computed in", declared, FORMATS)
    BACKENDS.add(backend.name, backend, type(backend).__module__)
    return backend


def _require_known_compute(subject: str, compute: str | Mapping[str, str | Lack] | None) -> None:
    from harness.formats import DTYPES

    if isinstance(compute, str):
        _require_known(f"{subject} declares that it computes in", compute, DTYPES)
        return
    for dtype, declared in (compute or {}).items():
        _require_known(f"{subject} declares the dtype", dtype, DTYPES)
        if not isinstance(declared, Lack):
            _require_known(f"{subject} declares that {dtype} is computed in", declared, DTYPES)


def _require_known(said: str, found: object, allowed: Iterable[str]) -> None:
    known = tuple(allowed)
    if found not in known:
        hint = did_you_mean(str(found), known)
        raise RegistrationError(f"{said} {found!r}, which there is not; {hint}")


def own_variables(backend: Backend) -> Mapping[str, str]:
    """Return the variables that configure a backend beyond its number of threads."""
    one, two = backend.environment(1), backend.environment(2)
    return {name: value for name, value in one.items() if two.get(name) == value}


def variables_as_set(backend: Backend) -> str:
    """Return the `own_variables` as this process has them, `NAME=value, …`, or `none` if there are none."""
    found = (f"{name}={os.environ.get(name, '(not set)')}" for name in own_variables(backend))
    return ", ".join(found) or "none"


def register_recipe(recipe: Recipe) -> Recipe:
    """Register a recipe."""
    RECIPES.add(recipe.name, recipe, recipe.make.__module__)
    return recipe


def register_metric(metric: Metric, origin: str) -> Metric:
    """Register a metric."""
    METRICS.add(metric.name, metric, origin)
    return metric


def formulations_of(operation: str) -> tuple[str, ...]:
    """Return the names of an operation's formulations, in the order of registration."""
    names = dict.fromkeys(f.name for f in FORMULATIONS.values() if f.operation == operation)
    return tuple(names)


def find_formulation(operation: str, name: str, backend: str) -> Formulation | None:
    """Return the formulation that `backend` runs under `name`: its own before the general one."""
    return _find(FORMULATIONS, operation, name, backend)


def find_gradient(operation: str, name: str, backend: str) -> Formulation | None:
    """Return the gradient that is declared for a formulation: the backend's own before the general one."""
    return _find(GRADIENTS, operation, name, backend)


def _find(registry: Registry[Formulation], operation: str, name: str, backend: str) -> Formulation | None:
    for key in (f"{operation}/{name}@{backend}", f"{operation}/{name}"):
        if key in registry:
            return registry[key]
    return None


def support(operation: str, name: str, backend: Backend, dtype: str, mode: str = MODES[0]) -> str | Lack:
    """Return the compute dtype of a formulation on a backend, or why it cannot run.

    Skips with reasons, `harness list` and the documented support table all derive from this.
    """
    found = find_formulation(operation, name, backend.name)
    if found is None:
        return Lack("unsupported", f"{backend.name} has no {name!r} formulation of {operation}")
    if mode != MODES[0] and not backend.autograd:
        found = find_gradient(operation, name, backend.name)
        if found is None:
            why = f"does not differentiate, and {operation}/{name} declares no gradient of its own"
            return Lack("unsupported", f"{backend.name} {why}")
    declared = backend.capabilities.get(dtype)
    if declared is None:
        return Lack("unsupported", f"{backend.name} does not hold {dtype}")
    for need in found.needs:
        have = declared.get(need, Lack("unsupported", f"{backend.name} has no {need} in {dtype}"))
        if isinstance(have, Lack):
            return have
    if isinstance(found.compute, str):
        return found.compute
    storage_only = declared.get("elementwise")
    if found.compute is not None:
        whose = f"{operation}/{name}" if found.backends is None else f"{backend.name}'s {name} of {operation}"
        untaken = Lack("unsupported", f"{whose} does not take {dtype}")
        return found.compute.get(dtype, storage_only if isinstance(storage_only, Lack) else untaken)
    reductions = [g for g in found.needs if g != "elementwise"] or ["elementwise"]
    if reductions == ["elementwise"] and isinstance(storage_only, Lack):
        return storage_only
    candidates = [str(declared[g]) for g in reductions]
    return _narrowest(candidates)


def _narrowest(names: Sequence[str]) -> str:
    from harness.formats import DTYPES

    return min(names, key=lambda n: DTYPES[n].storage.precision)
