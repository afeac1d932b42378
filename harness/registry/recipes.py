"""What a recipe for an input is, and what a metric is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import NumberFormat

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
