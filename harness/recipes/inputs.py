"""The inputs of a problem: recipes run in order, each result rounded once to the storage format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InputError, did_you_mean
from harness.formats import DType, NumberFormat, digest, is_finite, round_array, round_objects
from harness.model import InputSpec, Problem
from harness.recipes.arguments import check_arguments, coerced_arguments
from harness.recipes.stream import RandomStream
from harness.registry import RECIPES, RecipeContext

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def make_inputs(
    problem: Problem, dtype: DType, formats: Mapping[str, NumberFormat] | None = None
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Return the inputs of a problem as float64 arrays on the grids of their formats, and their errors.

    Parameters
    ----------
    problem : Problem
        Its inputs are made in their order, its cotangent last; a recipe sees those made before it.
    dtype : DType
        Its storage format is what inputs are rounded to, once.
    formats : mapping of name to NumberFormat, optional
        What single inputs are rounded to instead.

    Returns
    -------
    values : dict of name to float64 array
    data_error : dict of name to float
        Largest relative change of an element when it was rounded; inf where a finite one overflowed.

    Raises
    ------
    InputError
        If a recipe or an argument is unknown or unfit, or the format cannot hold what is asked for.
    """
    values: dict[str, NDArray[np.float64]] = {}
    errors: dict[str, float] = {}
    specs = problem.inputs if problem.cotangent is None else (*problem.inputs, problem.cotangent)
    for spec in specs:
        try:
            fmt = (formats or {}).get(spec.name, dtype.storage)
            made = _run(spec, problem, fmt, dtype.storage, values)
        except InputError as error:
            raise InputError(f"input {spec.name!r}: {error.message}", error.hint) from None
        values[spec.name], errors[spec.name] = _rounded(fmt, made)
    return values, errors


def inputs_digest(values: Mapping[str, NDArray[np.float64]], formats: Mapping[str, NumberFormat]) -> str:
    """Return the hexadecimal SHA-256 of inputs on the grids of their formats."""
    return digest({name: (formats[name], array) for name, array in values.items()})


def _run(
    spec: InputSpec,
    problem: Problem,
    fmt: NumberFormat,
    target: NumberFormat,
    made: Mapping[str, NDArray[np.float64]],
) -> NDArray[Any]:
    if spec.recipe not in RECIPES:
        raise InputError(f"unknown recipe {spec.recipe!r}", did_you_mean(spec.recipe, list(RECIPES)))
    recipe = RECIPES[spec.recipe]
    for error in check_arguments(recipe, spec.arguments, earlier=list(made)):
        raise error
    context = RecipeContext(
        format=fmt,
        target=target,
        stream=RandomStream(problem.seed, problem.case, spec.name),
        folder=Path(problem.folder),
        others=dict(made),
    )
    return recipe.make(context, **coerced_arguments(recipe, spec.arguments))


def _rounded(fmt: NumberFormat, made: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Return what a recipe made, rounded, and the largest relative change of a finite element."""
    import numpy as np

    if made.dtype != object:
        rounded = round_array(fmt, made)
        known = np.isfinite(made) & (made != 0)
        with np.errstate(all="ignore"):
            change = np.abs(rounded / made - 1) if fmt.precision < 53 else np.zeros(made.shape)
        change = np.where(np.isfinite(rounded), change, np.inf)
        return rounded, float(np.max(change, where=known, initial=0.0))
    rounded = round_objects(fmt, made)
    exact = made.reshape(-1).tolist()
    different = {id(x): (x, y) for x, y in zip(exact, rounded.reshape(-1).tolist(), strict=True)}
    return rounded, max((_relative_change(x, y) for x, y in different.values()), default=0.0)


def _relative_change(exact: Any, rounded: float) -> float:
    if not is_finite(exact) or exact == 0:
        return 0.0
    if not math.isfinite(rounded):
        return math.inf
    return float(abs(Fraction(rounded) / Fraction(exact) - 1))
