"""The rooms: what is registered, and how it gets there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from harness.errors import RegistrationError, did_you_mean
from harness.registry.backends import Backend, Lack
from harness.registry.names import Registry
from harness.registry.operations import PRIMITIVE_GROUPS, Formulation, Operation, Thunk
from harness.registry.recipes import Metric, Recipe

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
    """Register a backend; what it names must exist: dtypes, groups, compute dtypes, and dtypes of flags."""
    from harness.formats import DTYPES, FORMATS

    for dtype, groups in backend.capabilities.items():
        subject = f"backend {backend.name!r} declares"
        _require_known(f"{subject} the dtype", dtype, DTYPES)
        for group, declared in groups.items():
            _require_known(f"{subject} for {dtype} the group", group, PRIMITIVE_GROUPS)
            if not isinstance(declared, Lack):
                _require_known(f"{subject} for {dtype} that {group} is computed in", declared, FORMATS)
    for dtype in backend.flags:
        _require_known(f"backend {backend.name!r} declares flags for the dtype", dtype, backend.capabilities)
    BACKENDS.add(backend.name, backend, type(backend).__module__)
    return backend


def require_formulations_of_gradients() -> None:
    """Raise RegistrationError for a gradient of a formulation that there is not: it would never be run."""
    for key in GRADIENTS:
        plain = key.partition("@")[0]
        operation, name = plain.split("/")
        found = [f for f in FORMULATIONS.values() if f.operation == operation]
        known = sorted({f.name for f in found})
        if name not in known:
            raise RegistrationError(
                f"{GRADIENTS.origin(key)} declares a gradient of {plain}, which is no formulation; "
                f"{did_you_mean(name, known)}"
            )


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
