"""The primary metric: the error as a share of what a stable algorithm guarantees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.registry import Metric, register_metric

if TYPE_CHECKING:
    from harness.metrics.judgement import Judgement


def _bound_ratio(j: Judgement) -> float | None:
    return j.bound_ratio


def _worst_index(j: Judgement) -> str | None:
    import numpy as np

    worst = j.worst
    if worst is None:
        return None
    return (
        ",".join(str(int(i)) for i in np.unravel_index(worst, j.computed.shape)) if j.computed.ndim else "0"
    )


register_metric(
    Metric(
        "bound_ratio",
        "Error / bound",
        "1",
        "largest error over the a-priori bound of its operation; at most 1 for a stable algorithm",
        "each operation's bound_source",
        _bound_ratio,
    ),
    __name__,
)
register_metric(
    Metric(
        "worst_index",
        "Worst element",
        "index",
        "where the worst outcome is, or the largest error / bound",
        "definition",
        _worst_index,
        "none",
        "text",
    ),
    __name__,
)
