"""All registered metrics and the outcome of every output of one cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.metrics.judgement import Judgement
from harness.metrics.outcome import outcome
from harness.registry import METRICS, ExactProblem, Operation

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def score(
    operation: Operation,
    problem: ExactProblem,
    reference: Reference,
    outputs: Mapping[str, NDArray[np.float64]],
    precision: Precision,
    *,
    data_error: float | None = None,
    published: Mapping[str, tuple[tuple[Fraction, ...], int]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return, for each output, `outcome`, `undecided` and every metric that applies.

    Parameters
    ----------
    outputs : mapping of float64 arrays
        What a formulation returned, by output, in the output's format held exactly.
    precision : Precision
        Unit roundoffs of products' inputs, accumulation and output.
    published : mapping, optional
        By output: certified values in the order of its elements, and their digits.

    Raises
    ------
    InputError
        A published column that has another length than its output.
    """
    import numpy as np

    from harness.formats import digest

    wrong = _wrong_shapes(operation, reference, outputs)
    if wrong:
        return {name: {"outcome": "raised", "error": wrong} for name in operation.outputs}
    bounds = operation.bound(problem, reference, precision) if operation.bound else {}
    finite = all(np.isfinite(a).all() for a in outputs.values())
    own = operation.judge(problem, reference, outputs, precision) if operation.judge and finite else {}
    rows: dict[str, dict[str, Any]] = {}
    for name in operation.outputs:
        certified = (published or {}).get(name)
        if certified is not None and len(certified[0]) != outputs[name].size:
            raise InputError(
                f"the published column for {name!r} has {len(certified[0])} values, "
                f"the output has {outputs[name].size}"
            )
        j = Judgement(
            operation=operation,
            problem=problem,
            output=name,
            reference=reference.outputs[name],
            quantities=reference.quantities,
            computed=outputs[name],
            precision=precision,
            bound_log2=bounds.get(name),
            own=own.get(name, {}),
            coverage=reference.coverage,
            data_error=data_error,
            published=certified,
            result_digest=digest({name: (precision.format, outputs[name])}),
        )
        row: dict[str, Any] = {"outcome": outcome(j), "undecided": int((~j.decided).sum())}
        for metric in METRICS.values():
            value = None if metric.compute is None else metric.compute(j)
            if value is not None:
                row[metric.name] = value
        rows[name] = row
    return rows


def _wrong_shapes(
    operation: Operation, reference: Reference, outputs: Mapping[str, NDArray[np.float64]]
) -> str | None:
    for name in operation.outputs:
        if name not in outputs:
            return f"returned no output {name!r}"
        if outputs[name].shape != reference.outputs[name].shape:
            return f"output {name!r} has shape {outputs[name].shape}, not {reference.outputs[name].shape}"
    return None
