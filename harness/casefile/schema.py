"""The shape of a case file: what keys there are and what may stand under them, without any name's meaning.

The JSON Schema for editors and the reference page derive from these models; whether an operation, an
axis or a metric of a name exists is asked later, by `harness.casechecks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, ClassVar, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from harness.formats import UNITS
from harness.model import OUTCOMES

COMPARATORS: Final = ("above", "at_least", "below", "at_most")
NAMED_KEYS: Final = ("formulation", "backend", "dtype", "mode")
"""What `where` may name beside the axes."""
AXIS_REFERENCE: Final = re.compile(r"\$(?P<name>[A-Za-z][A-Za-z0-9_]*)\Z")

_SLUG: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$"
_WORD: Final = r"^[A-Za-z][A-Za-z0-9_]*$"
_LONGEST: Final = 200

_OUTCOME_FORMS: Final[dict[str, Any]] = {
    "anyOf": [{"enum": list(OUTCOMES)}, {"type": "array", "items": {"enum": list(OUTCOMES)}, "minItems": 1}]
}


def _shorter(value: str) -> str:
    if len(value) > _LONGEST or not value.isprintable():
        raise PydanticCustomError("line", f"one line of at most {_LONGEST} printable characters")
    return value


def _scalar(value: Any) -> Any:
    if not isinstance(value, (int, Decimal, bool, str)):
        raise PydanticCustomError("scalar", "a number, text, true or false")
    return _shorter(value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise PydanticCustomError("number", "a number")
    if isinstance(value, Decimal) and value.is_nan():
        raise PydanticCustomError("number", "a number that can be compared")
    return value


def _argument(value: Any) -> Any:
    if isinstance(value, list):
        return [_argument(v) for v in value]
    if isinstance(value, dict) or value is None:
        raise PydanticCustomError("argument", "a number, text, true, false, $axis, or lists of these")
    return value


def _breaking(value: Any) -> Any:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Scalar = Annotated[Any, PlainValidator(_scalar), WithJsonSchema({"type": ["number", "string", "boolean"]})]
Number = Annotated[Any, PlainValidator(_number), WithJsonSchema({"type": "number"})]
ArgumentValue = Annotated[
    Any,
    PlainValidator(_argument),
    WithJsonSchema({"type": ["number", "string", "boolean", "array"]}),
]
Line = Annotated[
    str, BeforeValidator(lambda v: _shorter(v) if isinstance(v, str) else v), Field(min_length=1)
]
Slug = Annotated[str, Field(pattern=_SLUG, max_length=100)]
Word = Annotated[str, Field(pattern=_WORD, max_length=50)]
Names = Annotated[list[Line], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


_SCALAR: Final = {"type": ["number", "string", "boolean"]}
_SCALARS: Final = {"type": "array", "items": _SCALAR, "minItems": 1}


class _ShortForm(_Strict):
    """A mapping for which a list, or a scalar, may stand as well."""

    SHORT_FORMS: ClassVar[tuple[dict[str, Any], ...]]
    """Their JSON Schemas."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        schema: dict[str, Any] = handler.resolve_ref_schema(handler(core_schema))
        mapping = dict(schema)
        description = mapping.pop("description", None)
        schema.clear()
        schema.update({"description": description, "anyOf": [*cls.SHORT_FORMS, mapping]})
        return schema


class AxisModel(_ShortForm):
    """An axis: a list of values, or a mapping that also says which values are quick, full, or in a unit."""

    values: list[Scalar] | None = Field(None, description="Values of the default profile, as written.")
    times: list[Number] | None = Field(None, description="With `unit`: the value is number · unit.")
    powers: list[Number] | None = Field(None, description="With `unit`: the value is unit ** number.")
    unit: str | None = Field(
        None,
        description="A limit of the cell's dtype that `times` or `powers` count in.",
        json_schema_extra={"enum": list(UNITS)},
    )
    quick: list[Scalar] | None = Field(
        None, description="Those of the values that `--quick` runs; left out: all of them; `[]`: none."
    )
    full: list[Scalar] | None = Field(None, description="Values that `--full` adds.")

    SHORT_FORMS = (_SCALARS,)


class ConditionModel(_ShortForm):
    """A test: a value, a list of values, or comparators on the number as written."""

    equals: list[Scalar] | None = Field(None, description="Any of these values.", min_length=1)
    above: Number | None = Field(None, description="Greater than this.")
    at_least: Number | None = Field(None, description="Greater than or equal to this.")
    below: Number | None = Field(None, description="Less than this.")
    at_most: Number | None = Field(None, description="Less than or equal to this.")

    SHORT_FORMS = (_SCALAR, _SCALARS)


def _axis_form(value: Any) -> Any:
    return {"values": value} if isinstance(value, list) else value


def _condition_form(value: Any) -> Any:
    if isinstance(value, list):
        return {"equals": value}
    if isinstance(value, (int, Decimal, bool, str)):
        return {"equals": [value]}
    if value == {}:
        raise PydanticCustomError("condition", "a value, a list of values, or comparators: " + _COMPARED)
    return value


_COMPARED: Final = ", ".join(COMPARATORS)

AxisForm = Annotated[AxisModel, BeforeValidator(_axis_form)]
ConditionForm = Annotated[ConditionModel, BeforeValidator(_condition_form)]
WhereForm = dict[Word, ConditionForm]


class InputModel(BaseModel):
    """How an input is made: a recipe and its arguments; `$name` stands for the value of an axis."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    __pydantic_extra__: dict[str, ArgumentValue]

    recipe: Line = Field(description="The name of a recipe.")


class AccuracyModel(_Strict):
    """Accuracy has no settings: a case that names it is judged by its operation's bound."""


class SpeedModel(_Strict):
    """What to time, and how."""

    where: WhereForm = Field(default_factory=dict, description="Cells to time; left out: all.")
    threads: int = Field(1, ge=1, le=4096, description="Threads that the library may use.")
    cache: Literal["hot", "cold"] = Field(
        "hot",
        description="hot: the same inputs each call. cold: inputs that no cache holds any more.",
    )
    budget_s: Number = Field(1, description="Seconds that one cell may take, calibration included.")


class MeasureModel(_Strict):
    """What is measured of each cell; what is not named is not measured."""

    accuracy: AccuracyModel | None = Field(None, description="Errors against the certified reference.")
    speed: SpeedModel | None = Field(None, description="Time.")


class ExclusionModel(_Strict):
    """Cells that the case leaves out, and why."""

    where: WhereForm = Field(min_length=1, description="Which cells.")
    reason: Line = Field(description="Why, in words: shown wherever the cells would be.")


class DefectModel(_Strict):
    """A known defect of a library."""

    issue: Line = Field(description="Where it is reported, such as `pytorch#31829`.")


class RuleModel(_Strict):
    """What to expect of the cells it matches; the first rule that matches a cell decides."""

    where: WhereForm = Field(default_factory=dict, description="Which cells; left out: all.")
    output: Line | None = Field(None, description="The only output meant, where an operation has several.")
    outcome: Annotated[list[Line] | None, BeforeValidator(_one_or_more), WithJsonSchema(_OUTCOME_FORMS)] = (
        Field(None, description="The outcome expected, or any of several.", min_length=1)
    )
    breaks: Annotated[
        Literal["yes", "no", "maybe"] | None,
        BeforeValidator(_breaking),
        WithJsonSchema({"enum": [True, False, "maybe"]}),
    ] = Field(
        None,
        description="true: must break; maybe: may break; false: must not. "
        "Breaking is an outcome other than ok, or bound_ratio above 1.",
    )
    bounds: dict[Word, ConditionForm] = Field(
        default_factory=dict, description="Comparators that columns of results must satisfy."
    )
    defect: DefectModel | None = Field(None, description="A known defect that these cells show.")
    severity: Literal["fail", "warn"] = Field(
        "fail", description="Whether a miss fails the run or only warns."
    )


class FactModel(_Strict):
    """A fact of several rows: the exponent e of `fit` ~ `against`**e, in each group of cells."""

    fit: Line = Field(description="A numeric column of the results.")
    against: Line = Field(description="A numeric axis, or a numeric column of the results.")
    output: Line | None = Field(None, description="Which output; left out: each of them.")
    where: WhereForm = Field(default_factory=dict, description="Which cells; left out: all.")
    expect: dict[Literal["exponent"], ConditionForm] = Field(
        default_factory=dict, description="What the exponent must satisfy; left out: it is only shown."
    )
    severity: Literal["fail", "warn"] = Field(
        "fail", description="Whether a miss fails the run or only warns."
    )


class DifferentiateModel(_Strict):
    """The gradient of the operation instead of its value."""

    with_respect_to: Names = Field(description="Inputs to differentiate with respect to.")
    cotangent: InputModel = Field(description="How the gradient of the output is made.")


class PublishedModel(_Strict):
    """Values that somebody else certified, scored beside the proved reference."""

    file: Line = Field(description="A CSV file beside the case.")
    column: Line = Field(description="Its column.")
    digits: int = Field(ge=1, le=60, description="Significant digits printed.")


class CaseModel(_Strict):
    """One case: an operation, its inputs, axes, what to measure, what to expect."""

    case: Slug = Field(description="Its name: unique, in kebab-case; the first part of every cell's id.")
    title: Line = Field(description="One line for tables and headings.")
    topic: Slug = Field(description="The subject it belongs to, such as `stability` or `least-squares`.")
    operation: Line = Field(description="The name of an operation.")
    inputs: dict[Word, InputModel] = Field(
        min_length=1, description="How each input of the operation is made."
    )
    guide: list[Annotated[str, Field(pattern=r"^[A-Z]{2}[0-9]+$")]] = Field(
        default_factory=list,
        description="Rows of the guide to the mathematics of machine learning it covers.",
    )
    description: str = Field("", description="What is shown and why, in prose.")
    formulations: Names | None = Field(None, description="Left out: all of the operation's.")
    backends: Names | None = Field(None, description="Left out: all that are registered.")
    dtypes: Names | None = Field(None, description="Left out: the operation's own.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="Of the random inputs; each input has a stream of its own."
    )
    parameters: dict[Word, Scalar] = Field(
        default_factory=dict,
        description="Scalars of the operation, exact decimals, never rounded; or `$axis`.",
    )
    axes: dict[Word, AxisForm] = Field(
        default_factory=dict, description="What varies: the cells are the product of all axes."
    )
    zip: list[Annotated[list[Word], Field(min_length=2)]] = Field(
        default_factory=list, description="Axes that advance together: `[[m, k]]`."
    )
    measure: MeasureModel = Field(
        default_factory=lambda: MeasureModel(accuracy=AccuracyModel(), speed=None),
        description="Left out: accuracy.",
    )
    exclude: list[ExclusionModel] = Field(
        default_factory=list, description="Cells left out, each with a reason."
    )
    expect: list[RuleModel] = Field(
        default_factory=list,
        description="Rules; a cell without one must be ok with bound_ratio at most 1.",
    )
    facts: list[FactModel] = Field(default_factory=list, description="Exponents to fit.")
    differentiate: DifferentiateModel | None = Field(None, description="Left out: forward.")
    published: dict[Word, PublishedModel] = Field(
        default_factory=dict, description="For outputs: values that somebody else certified."
    )


class DraftModel(CaseModel):
    """A case of which parts are missing or were refused, so that the rest can be checked all the same."""

    case: str = ""  # type: ignore[assignment,unused-ignore]
    title: str = ""
    topic: str = ""
    operation: str = ""
    inputs: dict[Word, InputModel] = Field(default_factory=dict)


COLLECTIONS: Final = ("inputs", "parameters", "axes", "exclude", "expect", "facts", "published")
"""Keys under which one refused item leaves the others to be checked."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one case."""
    schema = _tidied(CaseModel.model_json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A case of the numerics harness",
        **schema,
    }


def allowed_keys(path: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys that a mapping at `path` (from the root of a case) may have."""
    found = [CaseModel]
    for step in path:
        found = [inner for annotation in found for inner in _below(annotation, step)]
    models = [a for a in found if _is_model(a)]
    return tuple(dict.fromkeys(name for m in models for name in m.model_fields))


def _below(annotation: Any, step: str | int) -> list[Any]:
    """Return what the annotation of a value says of the item, or the key, `step` of it."""
    if _is_model(annotation):
        field = annotation.model_fields.get(str(step))
        return [] if field is None else _unwrapped(field.annotation)
    arguments = get_args(annotation)
    return _unwrapped(arguments[-1]) if get_origin(annotation) in (list, dict) else []


def _unwrapped(annotation: Any) -> list[Any]:
    """Return the alternatives of an annotation, without what only restricts them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [inner for a in get_args(annotation) for inner in _unwrapped(a)]
    return [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _tidied(schema: Any) -> Any:
    """Drop generated titles, and `null`: a key without a value is refused everywhere."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {
        key: _tidied(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }
    choices = [c for c in kept.get("anyOf", ()) if c != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        kept = {**choices[0], **kept}
    elif choices:
        kept["anyOf"] = choices
    return kept
