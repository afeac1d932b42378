"""A library's own callables, for all backends of that library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import RegistrationError
from harness.registry import Lack, library

Build = Callable[..., Callable[[], Any]]


class Library:
    """Functions of one library; each becomes the formulation `library` of the operation of its name.

    Parameters
    ----------
    compute
        Dtype → what it is computed in, unless a function says otherwise.
    """

    def __init__(self, compute: Mapping[str, str | Lack]) -> None:
        self._compute = dict(compute)
        self._functions: dict[str, tuple[Build, str, Mapping[str, str | Lack]]] = {}

    def function(self, title: str, **compute: str | Lack) -> Callable[[Build], Build]:
        """Add the decorated function; what it computes in, for the dtypes where it differs, or why not."""

        def add(build: Build) -> Build:
            self._functions[build.__name__] = build, title, {**self._compute, **compute}
            return build

        return add

    def register(self, backend: str, changes: Mapping[str, Mapping[str, str | Lack]] | None = None) -> None:
        """Register the functions for one backend; `changes` by operation are what differs on its device."""
        unknown = sorted(set(changes or {}) - set(self._functions))
        if unknown:
            raise RegistrationError(f"the library of {backend} has no {', '.join(unknown)} to be changed")
        for operation, (build, title, compute) in self._functions.items():
            here = {**compute, **(changes or {}).get(operation, {})}
            library(backend, operation, title=title, compute=here)(build)
