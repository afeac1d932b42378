"""Cells grouped by the content of their problem: what is prepared once and judged together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.execute.content import problem_content
from harness.execute.programs import WorkerKey, flags_of
from harness.model import Cell, Plan, Problem
from harness.registry import OPERATIONS, RECIPES

if TYPE_CHECKING:
    from harness.execute.station import Station

_UNKNOWN_BYTES = 1 << 20
"""What inputs are taken to need whose recipe cannot say it before it has made them."""


@dataclass(slots=True, eq=False)
class Group:
    """Cells of one problem, and what a referee said of it."""

    problem: Problem
    content: str
    estimate_bytes: int
    cells: list[Cell] = field(default_factory=list)
    """Those that are still to be run for accuracy."""
    timed: list[Cell] = field(default_factory=list)
    """Those that are still to be timed."""
    to_run: int = 0
    owner: Station | None = None
    """The referee that has it in memory."""
    inputs: Mapping[str, str] | None = None
    """Files by input; None before they are made and after they are removed."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    inputs_digest: str | None = None
    data_error: float | None = None
    input_bytes: int = 0


def worker_key(cell: Cell) -> WorkerKey:
    """Return which worker runs a cell: accuracy and time are those of one number of threads and one mode."""
    threads = 1 if cell.speed is None else cell.speed.threads
    return WorkerKey(cell.backend, threads, flags_of(cell.backend, cell.dtype))


def groups_of(plan: Plan, cells: Iterable[Cell]) -> dict[str, Group]:
    """Return the group of each cell's problem key; problems of one content share a group."""
    by_key: dict[str, Group] = {}
    by_content: dict[str, Group] = {}
    for cell in cells:
        if cell.problem not in by_key:
            problem = plan.problems[cell.problem]
            content = problem_content(problem)
            if content not in by_content:
                by_content[content] = Group(problem, content, estimated_bytes(problem))
            by_key[cell.problem] = by_content[content]
    return by_key


def estimated_bytes(problem: Problem) -> int:
    """Return about how much the inputs of a problem take on disk, from their recipes' arguments alone."""
    total = 0
    cotangent = () if problem.cotangent is None else (problem.cotangent,)
    for spec in (*problem.inputs, *cotangent):
        elements = None
        if spec.recipe in RECIPES:
            elements = RECIPES[spec.recipe].elements(spec.arguments)
        total += _UNKNOWN_BYTES if elements is None else elements * element_bytes(problem.dtype)
    return total


def element_bytes(dtype: str) -> int:
    """Return the bytes of one stored element."""
    from harness.formats import DTYPES

    return DTYPES[dtype].storage.storage_bits // 8


def cost(group: Group) -> dict[str, Any]:
    """Return `flops` and `bytes` of one call, where the operation declares its cost."""
    problem = group.problem
    operation = OPERATIONS[problem.operation].differentiated(problem.with_respect_to)
    if operation.cost is None:
        return {}
    parameters = {**operation.defaults(), **problem.parameters}
    found = operation.cost(group.shapes, parameters, element_bytes(problem.dtype))
    return {"flops": found.flops, "bytes": found.bytes}
