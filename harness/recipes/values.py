"""Numbers as written: `values` takes nested lists of exact numbers, `constant` one for all elements."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.recipes.arguments import leaves, shape_elements
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = 2**53


def _values(context: RecipeContext, values: tuple[Any, ...]) -> NDArray[Any]:
    import numpy as np

    made = np.empty(_extents(values), object)
    flat = made.reshape(-1)
    for i, value in enumerate(_flattened(values)):
        flat[i] = value
    return made


def _extents(values: Any) -> tuple[int, ...]:
    """Return the shape of nested lists, or raise InputError where they are ragged."""
    if not isinstance(values, (list, tuple)):
        return ()
    shapes = {_extents(v) for v in values}
    if len(shapes) > 1:
        shown = " and ".join(str(list(s)) for s in sorted(shapes)[:2])
        raise InputError(
            f"values are nested unevenly: shapes {shown} side by side", "give all rows one length"
        )
    return (len(values), *(shapes.pop() if shapes else ()))


def _flattened(values: Any) -> list[Any]:
    if not isinstance(values, (list, tuple)):
        return [values]
    return [leaf for v in values for leaf in _flattened(v)]


def _constant(context: RecipeContext, value: Fraction, shape: tuple[int, ...]) -> NDArray[Any]:
    import numpy as np

    if abs(value.numerator) <= EXACT and value.denominator == 1:  # float64 holds it: a tenth of the memory
        return np.full(shape, float(value))
    return np.full(shape, value, object)


register_recipe(
    Recipe(
        name="values",
        title="Numbers as written, exact until they are rounded to the storage format",
        arguments={"values": Argument("numbers", "nested lists of numbers; .inf, -.inf and .nan too")},
        make=_values,
        elements=lambda arguments: leaves(arguments["values"]),
    )
)

register_recipe(
    Recipe(
        name="constant",
        title="One number in every element",
        arguments={
            "value": Argument("number", "the number"),
            "shape": Argument("shape", "extents of the array"),
        },
        make=_constant,
        elements=shape_elements,
    )
)
