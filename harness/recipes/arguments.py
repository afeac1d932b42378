"""Arguments of recipes: what each kind allows, checked before anything runs, then made exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from harness.errors import InputError, did_you_mean
from harness.formats import is_finite
from harness.model import AxisReference
from harness.registry import Argument, Recipe

LARGEST_EXPONENT = 5000
"""Of ten, of a number in a case file; float64 ends at 308."""


def check_arguments(
    recipe: Recipe, arguments: Mapping[str, Any], earlier: Sequence[str] | None = None
) -> list[InputError]:
    """Return everything wrong with the arguments of a recipe; an axis reference fits any kind.

    Parameters
    ----------
    recipe : Recipe
    arguments : mapping of name to value
        As a case file writes them.
    earlier : sequence of str, optional
        Names of the inputs listed before; None: not known, and not checked.
    """
    errors = []
    for name, value in arguments.items():
        if name not in recipe.arguments:
            hint = did_you_mean(name, list(recipe.arguments))
            errors.append(InputError(f"recipe {recipe.name} has no argument {name!r}", hint))
            continue
        argument = recipe.arguments[name]
        try:
            coerced = _coerced(argument, value)
        except InputError as error:
            found = f"argument {name!r} of recipe {recipe.name} is {_shown(value)}"
            errors.append(InputError(f"{found}; {error.message}", error.hint))
            continue
        if argument.kind == "input" and isinstance(coerced, str) and not _listed(coerced, earlier):
            message = f"recipe {recipe.name} takes {name!r} from an earlier input, not {coerced!r}"
            errors.append(InputError(message, did_you_mean(coerced, list(earlier or []))))
    for name, argument in recipe.arguments.items():
        if argument.required and name not in arguments:
            hint = f"{name}: {argument.description}"
            errors.append(InputError(f"recipe {recipe.name} needs the argument {name!r}", hint))
    return errors


def _listed(name: str, earlier: Sequence[str] | None) -> bool:
    return earlier is None or name in earlier


def coerced_arguments(recipe: Recipe, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked arguments as exact Python values, defaults filled in."""
    filled = {name: argument.default for name, argument in recipe.arguments.items()}
    return filled | {name: _coerced(recipe.arguments[name], value) for name, value in arguments.items()}


def shape_elements(arguments: Mapping[str, Any]) -> int:
    """Return the number of elements of `shape`, for `Recipe.elements`."""
    return math.prod(_shape(arguments["shape"]))


def square_elements(arguments: Mapping[str, Any]) -> int:
    """Return n², for `Recipe.elements`."""
    return _integer(arguments["n"]) ** 2


def leaves(numbers: Any) -> int:
    """Return how many numbers nested lists hold."""
    return sum(map(leaves, numbers)) if isinstance(numbers, (list, tuple)) else 1


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape of a matrix, or raise InputError."""
    if len(shape) != 2:
        raise InputError(
            f"shape is {list(shape)}; a matrix has two dimensions", "write shape: [rows, columns]"
        )
    return shape[0], shape[1]


def at_least(name: str, value: int | Fraction, least: int) -> None:
    """Raise InputError if an argument is below its least value."""
    if value < least:
        raise InputError(f"{name} is {_shown(value)}; at least {least} is allowed")


def to_float(name: str, value: Fraction) -> float:
    """Return the float64 nearest to an argument, or raise InputError if there is none."""
    try:
        return float(value)
    except OverflowError:
        raise InputError(
            f"{name} is beyond the range of float64", "write the infinities with the recipe values"
        ) from None


def _coerced(argument: Argument, value: Any) -> Any:
    if isinstance(value, AxisReference) or (value is None and not argument.required):
        return value
    coerced = _KINDS[argument.kind](value)
    if argument.choices is not None and coerced not in argument.choices:
        raise InputError("it is not one of its words", did_you_mean(coerced, argument.choices))
    return coerced


def _number(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, Fraction, float)):
        raise InputError("a number is allowed")
    if not is_finite(value):
        raise InputError("a finite number is allowed", "only the recipe values takes infinities")
    return Fraction(_in_range(value))


def _in_range(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) > LARGEST_EXPONENT:
        raise InputError(f"{_shown(value)} is out of range: exponents end at {LARGEST_EXPONENT}")
    return value


def _integer(value: Any) -> int:
    number = None if isinstance(value, float) else _number(value)
    if number is None or number.denominator != 1:
        raise InputError("an integer is allowed")
    return int(number)


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > 32:
        raise InputError("a list of at most 32 integers is allowed", "for instance shape: [8, 3]")
    if any(isinstance(v, AxisReference) for v in value):
        return tuple(1 if isinstance(v, AxisReference) else _extent(v) for v in value)
    return tuple(map(_extent, value))


def _extent(value: Any) -> int:
    extent = _integer(value)
    if extent < 1:
        raise InputError("every extent is at least 1")
    return extent


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError("text is allowed")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(v, str) for v in value):
        raise InputError("a list of texts is allowed")
    return tuple(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError("true or false is allowed")
    return value


def _numbers(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise InputError("a list of numbers is allowed", "for instance values: [1, 2.5]")
    _require_numbers(value, 0)
    return tuple(value)


def _require_numbers(value: Any, depth: int) -> None:
    if isinstance(value, (list, tuple)):
        if depth == 32:
            raise InputError("lists nested at most 32 deep are allowed")
        for v in value:
            _require_numbers(v, depth + 1)
    elif isinstance(value, bool) or not isinstance(value, (int, Decimal, Fraction, float, AxisReference)):
        raise InputError(f"it holds {_shown(value)}, and only numbers are allowed")
    else:
        _in_range(value)


_KINDS: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "integer": _integer,
    "shape": _shape,
    "text": _text,
    "texts": _texts,
    "flag": _flag,
    "numbers": _numbers,
    "input": _text,
}


def _shown(value: Any) -> str:
    shown = repr(value) if isinstance(value, (str, list, tuple)) else str(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
