"""Metrics that only an operation itself can compute: its `judge` gives them by these names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.registry import Metric, register_metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.metrics.judgement import Judgement


def _own(name: str) -> Callable[[Judgement], float | None]:
    return lambda j: j.own.get(name)


for _name, _title, _unit, _formula, _source in (
    (
        "backward_error",
        "Backward error",
        "1",
        "size of the smallest normwise change of the data that makes the output exact",
        "Rigal and Gaches 1967 (solve); Karlson and Waldén 1997 (least squares)",
    ),
    (
        "componentwise_backward_error",
        "Componentwise backward error",
        "1",
        "maxᵢ |r|ᵢ/(|A||x̂| + |b|)ᵢ",
        "Oettli and Prager 1964",
    ),
    ("orthogonality", "Loss of orthogonality", "1", "‖QᵀQ − I‖₂", "Higham 2002, section 19.8"),
    ("beyond_one", "Beyond one", "1", "max(0, max |ŷ| − 1): of what is in [−1, 1]", "definition"),
    ("subspace_angle", "Angle of subspaces", "rad", "largest canonical angle", "Björck and Golub 1973"),
):
    register_metric(Metric(_name, _title, _unit, _formula, _source, _own(_name)), __name__)
