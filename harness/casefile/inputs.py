"""Checks of inputs: recipes, their arguments, axes in them, files beside the case, sizes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final

from harness.casefile.coordinates import axis_groups
from harness.casefile.csv_header import check_column, columns_of
from harness.casefile.tree import Steps
from harness.errors import InputError, did_you_mean
from harness.model import AxisReference, InputSpec, Written, format_written
from harness.recipes.arguments import check_arguments
from harness.registry import RECIPES, Recipe

if TYPE_CHECKING:
    from harness.casefile.examination import Examination
    from harness.casefile.schema import InputModel


class InputChecker:
    """The checks of one case's inputs; diagnostics go to its `Examination`."""

    def __init__(self, exam: Examination) -> None:
        self.exam = exam

    def spec(self, name: str, path: Steps, form: InputModel, earlier: Sequence[str]) -> InputSpec:
        """Return the input of that name; `earlier` names those made before it."""
        before = len(self.exam.diagnostics)
        written = dict(form.__pydantic_extra__ or {})
        arguments = {key: self._with_references((*path, key), value) for key, value in written.items()}
        line, column = self.exam.node.place(path)
        spec = InputSpec(name, form.recipe, arguments, line, column)
        if form.recipe not in RECIPES:
            hint = did_you_mean(form.recipe, list(RECIPES))
            self.exam.error((*path, "recipe"), f"unknown recipe {form.recipe!r}", hint)
            return spec
        recipe = RECIPES[form.recipe]
        self._names(path, recipe, written)
        for key, value in arguments.items():
            if key in recipe.arguments and self._known_axes(value):
                self._argument((*path, key), recipe, key, value, earlier)
        if len(self.exam.diagnostics) == before and self._known_axes(arguments):
            if recipe.name == "file":
                self._columns_of_recipe(path, arguments)
            self._elements(path, recipe, spec)
        return spec

    def _columns_of_recipe(self, path: Steps, arguments: Mapping[str, Any]) -> None:
        """Check that a CSV file has the columns that an input takes, at every value of the axes in it."""
        for values in self._axis_values(references_in(arguments)):
            made = {key: substituted(value, values) for key, value in arguments.items()}
            named = [((*path, "column"), made["column"])] if "column" in made else []
            listed = made.get("columns", ())
            named += [((*path, "columns", i), name) for i, name in enumerate(listed)]
            if not all(self.column((*path, "path"), made["path"], place, name) for place, name in named):
                return

    def _known_axes(self, value: Any) -> bool:
        return all(self.exam.axis(name) is not None for name in references_in(value))

    def _names(self, path: Steps, recipe: Recipe, written: Mapping[str, Any]) -> None:
        for key in written:
            if key not in recipe.arguments:
                hint = did_you_mean(key, list(recipe.arguments))
                message = f"unknown argument {key!r} of recipe {recipe.name}"
                self.exam.error((*path, key), message, hint, key=True)
        for key, argument in recipe.arguments.items():
            if argument.required and key not in written:
                message = f"recipe {recipe.name} lacks argument {key!r}"
                self.exam.error(path, message, f"{key}: {argument.description}")

    def _with_references(self, path: Steps, value: Any) -> Any:
        if isinstance(value, list):
            return [self._with_references((*path, i), v) for i, v in enumerate(value)]
        if isinstance(value, str) and value.startswith("$"):
            return self.exam.reference(path, value) or AxisReference("")
        return value

    def _argument(self, path: Steps, recipe: Recipe, key: str, value: Any, earlier: Sequence[str]) -> None:
        """Check an argument, with every value that the axes in it can have."""
        alone = replace(recipe, arguments={key: recipe.arguments[key]})
        is_file = (recipe.name, key) == ("file", "path")
        for values in self._axis_values(references_in(value)):
            written = substituted(value, values, recipe.arguments[key].kind)
            errors = check_arguments(alone, {key: written}, earlier)
            for error in errors[:1]:
                self.exam.error(path, error.message + self._at(values), error.hint)
            if errors:
                return
            if is_file:
                self.file(path, written)

    # ---- files and sizes ---------------------------------------------------------------------------

    def file(self, path: Steps, name: str) -> bool:
        """Return whether a file lies in the folder of the case, also through symbolic links; else say so."""
        folder = self.exam.folder
        hint = f"name a file below {PurePath(self.exam.shown).parent}"
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts):
            self.exam.error(path, f"path {name!r} leaves the folder of the case", hint)
            return False
        found = folder / name
        try:
            resolved = found.resolve()
            if not resolved.is_relative_to(folder.resolve()):
                self.exam.error(path, f"path {name!r} leaves the folder of the case by a symbolic link", hint)
            elif not resolved.is_file():
                self.exam.error(path, f"file {name!r} does not exist", hint)
            else:
                return True
        except (OSError, RuntimeError, ValueError) as error:
            self.exam.error(path, f"path {name!r} cannot be followed: {error}", hint)
        return False

    def column(self, path: Steps, name: str, place: Steps, column: str) -> bool:
        """Check that a CSV file, of which `file` found nothing wrong, has a column; `place` names it."""
        if not name.lower().endswith(".csv"):
            return True
        try:
            header = columns_of(self.exam.folder / name, name)
        except InputError as error:
            self.exam.error(path, error.message, error.hint)
            return False
        try:
            check_column(header, column, name)
        except InputError as error:
            self.exam.error(place, error.message, error.hint)
            return False
        return True

    def _elements(self, path: Steps, recipe: Recipe, spec: InputSpec) -> None:
        """Refuse an input that is too large at any value of its axes."""
        largest: tuple[int, dict[str, Written]] = (0, {})
        for values in self._axis_values(references_in(spec.arguments)):
            arguments = {
                key: substituted(argument, values, recipe.arguments[key].kind)
                for key, argument in {**_defaults(recipe), **spec.arguments}.items()
            }
            try:
                count = recipe.elements(arguments)
            except InputError as error:
                self.exam.error(path, error.message, error.hint)
                return
            if count is not None and count > largest[0]:
                largest = (count, values)
        count, values = largest
        if count > self.exam.max_elements:
            message = f"input {spec.name!r} would hold {count:,} elements{self._at(values)}"
            hint = f"at most {self.exam.max_elements:,} are allowed (--max-elements)"
            self.exam.error((*path, "shape"), message, hint)

    def _at(self, values: Mapping[str, Written]) -> str:
        words = []
        for name, value in values.items():
            axis = self.exam.axis(name)
            in_unit = axis is not None and axis.unit is not None
            words.append(f"{name} in a unit" if in_unit else f"{name} = {format_written(value)}")
        return f" at {', '.join(words)}" if words else ""

    def _axis_values(self, names: Sequence[str]) -> Iterator[dict[str, Written]]:
        """Yield each combination of the values of these axes; zipped axes advance together."""
        axes = self.exam.axes
        groups = [
            [axes[i] for i in group]
            for group in axis_groups(axes, self.exam.zipped)
            if any(axes[i].name in names for i in group)
        ]
        combinations = itertools.product(*(range(len(group[0].values)) for group in groups))
        for positions in itertools.islice(combinations, _MOST_COMBINATIONS):
            yield {
                axis.name: axis.values[p] if axis.unit is None else _IN_UNITS
                for group, p in zip(groups, positions, strict=True)
                for axis in group
                if axis.name in names
            }


_MOST_COMBINATIONS: Final = 50_000
_IN_UNITS: Final = Decimal("0.5")
"""Stands for a value in a unit: some number, never an integer to count with."""


def substituted(argument: Any, values: Mapping[str, Any], kind: str = "") -> Any:
    """Return an argument with every axis reference replaced; counts become integers (`1e3` is 1000)."""
    if isinstance(argument, list):
        return [substituted(item, values, kind) for item in argument]
    if isinstance(argument, AxisReference):
        argument = values[argument.name]
    counts = kind in ("integer", "shape") and isinstance(argument, Decimal) and argument.is_finite()
    return int(argument) if counts and argument == argument.to_integral_value() else argument


def references_in(value: Any) -> tuple[str, ...]:
    """Return the names of all axes that an argument, or a tree of arguments, stands for."""
    if isinstance(value, AxisReference):
        return (value.name,)
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return ()
    return tuple(dict.fromkeys(name for item in value for name in references_in(item)))


def _defaults(recipe: Recipe) -> dict[str, Any]:
    return {k: a.default for k, a in recipe.arguments.items() if not a.required}
