"""Names and what they stand for, each once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from harness.errors import RegistrationError, did_you_mean

T = TypeVar("T")


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
