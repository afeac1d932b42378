"""What the inputs and the reference of a problem depend on."""

from __future__ import annotations

from dataclasses import replace

from harness.model import InputSpec, Problem
from harness.protocol import encode


def problem_content(problem: Problem) -> str:
    """Return what the inputs and the reference of a problem depend on, as one canonical text.

    Its key, the place of its inputs in their file, and where that file lies are not among it.
    """

    def placeless(spec: InputSpec) -> InputSpec:
        return replace(spec, line=0, column=0)

    return encode(
        replace(
            problem,
            key="",
            folder="",
            inputs=tuple(map(placeless, problem.inputs)),
            cotangent=None if problem.cotangent is None else placeless(problem.cotangent),
        )
    )
