"""Counts of elements: how many there are, and how many are not numbers, infinite or zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.registry import Metric, register_metric

if TYPE_CHECKING:
    from harness.metrics.judgement import Judgement


def _elements(j: Judgement) -> int:
    return int(j.computed.size)


def _nan(j: Judgement) -> int:
    import numpy as np

    return int(np.isnan(j.computed).sum())


def _inf(j: Judgement) -> int:
    import numpy as np

    return int(np.isinf(j.computed).sum())


def _zero(j: Judgement) -> int:
    return int((j.computed == 0).sum())


for _name, _title, _compute in (
    ("elements", "Elements", _elements),
    ("not_a_number_count", "NaN", _nan),
    ("inf_count", "Infinite", _inf),
    ("zero_count", "Zeros", _zero),
):
    register_metric(
        Metric(_name, _title, "elements", "count over the output", "definition", _compute, "none", "integer"),
        __name__,
    )
