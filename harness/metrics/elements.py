"""Single elements in full: the value of an output that has one, and the worst of any output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.registry import Metric, register_metric

if TYPE_CHECKING:
    from harness.metrics.judgement import Judgement


def _value(j: Judgement) -> float | None:
    import numpy as np

    found = float(j.computed.reshape(-1)[0]) if j.computed.size == 1 else None
    return found if found is not None and np.isfinite(found) else None


def _worst_computed(j: Judgement) -> str | None:
    return None if j.worst is None else repr(float(j.computed.reshape(-1)[j.worst]))


def _worst_exact(j: Judgement) -> str | None:
    from harness.reference.decimals import certified_value

    if j.worst is None:
        return None
    y = j.reference
    columns = (y.kind, y.hi, y.lo, y.exponent, y.radius_log2)
    return certified_value(*(column.reshape(-1)[j.worst].item() for column in columns)).value


def _worst_input(j: Judgement) -> str | None:
    inputs = j.problem.inputs
    whole = j.operation.elementwise and all(x.shape == j.computed.shape for x in inputs.values())
    if j.worst is None or not whole:
        return None
    found = {name: float(x.reshape(-1)[j.worst]).hex() for name, x in inputs.items()}
    return " ".join(found.values() if len(found) == 1 else (f"{name}={x}" for name, x in found.items()))


register_metric(
    Metric(
        "value",
        "Value",
        "the output's",
        "what was computed, of an output that has one element and is finite",
        "definition",
        _value,
        "none",
    ),
    __name__,
)
for _name, _title, _formula, _compute in (
    (
        "worst_computed",
        "Worst element, computed",
        "the element at worst_index as the shortest decimal of its exact value",
        _worst_computed,
    ),
    (
        "worst_exact",
        "Worst element, exact",
        "its exact value: at most 32 significant digits, all of them certified",
        _worst_exact,
    ),
    (
        "worst_input",
        "Worst element, input",
        "what an elementwise operation took there, in hexadecimal: exact",
        _worst_input,
    ),
):
    register_metric(
        Metric(_name, _title, "the output's", _formula, "definition", _compute, "none", "text"), __name__
    )
