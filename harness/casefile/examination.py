"""What all checks of one case share: its parts as far as they are known, and the list of what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.casefile.schema import AXIS_REFERENCE, DraftModel
from harness.casefile.shape import Shape
from harness.casefile.tree import Node, Steps
from harness.errors import Diagnostic, did_you_mean
from harness.model import Axis, AxisReference, Written, format_written
from harness.registry import Operation, gradient_output


class Examination:
    """One case under examination.

    Parameters
    ----------
    shape
        What of the case has the right shape.
    node
        The document, for places.
    shown
        The name of the file in diagnostics.
    folder
        Where data files may lie.
    """

    def __init__(self, shape: Shape, node: Node, *, shown: str, folder: Path, max_elements: int) -> None:
        if shape.draft is None:
            raise ValueError("a document of the wrong shape has nothing to examine")
        self.draft: DraftModel = shape.draft
        self.indices = shape.indices
        self.refused = shape.refused
        self.node = node
        self.shown = shown
        self.folder = folder
        self.max_elements = max_elements
        self.operation: Operation | None = None
        self.axes: tuple[Axis, ...] = ()
        self.zipped: tuple[tuple[str, ...], ...] = ()
        self.diagnostics: list[Diagnostic] = []
        self.erroneous: list[Steps] = []
        names = ("operation", "formulations", "backends", "dtypes", "axes", "zip")
        self.whole = not any(self.is_refused(name) for name in names)
        """Whether the cells of the case are known."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """What rows there are of a cell: the operation's outputs, or gradients; none while it is unknown."""
        if self.operation is None:
            return ()
        form = self.draft.differentiate
        if form is None:
            return self.operation.outputs
        return tuple(map(gradient_output, dict.fromkeys(form.with_respect_to)))

    def error(self, path: Steps, message: str, hint: str | None = None, *, key: bool = False) -> None:
        """Add a diagnostic at the value, or the key, that `path` leads to."""
        line, column = self.node.place(path, key=key)
        self.erroneous.append(path)
        self.diagnostics.append(Diagnostic(self.shown, line, column, message, hint))

    def known(self, path: Steps, found: str, allowed: Iterable[str], kind: str, *, key: bool = False) -> bool:
        """Return whether a name is one of `allowed`; if not, say so and what was perhaps meant."""
        allowed = tuple(allowed)
        if found in allowed:
            return True
        self.error(path, f"unknown {kind} {found!r}", did_you_mean(found, allowed), key=key)
        return False

    def is_refused(self, *path: str | int) -> bool:
        """Return whether something at or below `path` had the wrong shape: it has been told already."""
        return any(refused[: len(path)] == path for refused in self.refused)

    def line(self, path: Steps) -> int:
        """Return the line of the value at `path`."""
        return self.node.place(path)[0]

    def axis(self, name: str) -> Axis | None:
        """Return the axis of that name, if it has the right shape."""
        return next((axis for axis in self.axes if axis.name == name), None)

    def reference(self, path: Steps, text: str) -> AxisReference | None:
        """Return the axis that `$name` stands for; None, with a diagnostic, if there is none."""
        match = AXIS_REFERENCE.match(text)
        if match is None:
            self.error(path, f"{text!r} is no axis", "write $ and the name of an axis, and nothing else")
            return None
        name = match["name"]
        if name in self.draft.axes:
            return AxisReference(name)
        if not self.is_refused("axes", name) and not self.is_refused("axes"):
            hint = did_you_mean(name, list(self.draft.axes)) if self.draft.axes else "the case has no axes"
            self.error(path, f"undefined axis ${name}", hint)
        return None


def kind_of(value: Written) -> str:
    """Return what a scalar is, in words: values of different kinds are never equal."""
    if isinstance(value, bool):
        return "booleans"
    return "texts" if isinstance(value, str) else "numbers"


def shown(value: Written) -> str:
    """Return a scalar as a message shows it."""
    return repr(value) if isinstance(value, str) else format_written(value)
