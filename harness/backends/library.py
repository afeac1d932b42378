"""A library's own callables, for all backends of that library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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

    def register(self, backend: str) -> None:
        """Register the functions for one backend."""
        for operation, (build, title, compute) in self._functions.items():
            library(backend, operation, title=title, compute=compute)(build)
