"""Which formulation runs where, and in what it computes."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model import MODES
from harness.registry.backends import Backend, Lack
from harness.registry.names import Registry
from harness.registry.operations import Formulation
from harness.registry.rooms import FORMULATIONS, GRADIENTS


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
        found = find_gradient(operation, name, backend.name) or (found if found.backends is None else None)
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
