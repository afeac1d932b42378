"""Euclidean distances between the rows of two matrices: D_ij = ‖x_i − y_j‖."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from harness.errors import InputError
from harness.model import Written
from harness.operations import definition
from harness.operations import norms_family as family
from harness.registry import Cost, ExactProblem, Parameter, formulation

MODES: Final = ("direct", "matmul")


def meant(xp: Any, x: Any, y: Any, *, mode: Written) -> Any:
    """‖x_i − y_j‖, whose gradient is 0 where the distance is."""
    return family.root_of_squares(xp, _differences(xp, x, y))


def stable(xp: Any, x: Any, y: Any, *, mode: Written) -> Any:
    """√Σ (x_i − y_j)²: differences before squares."""
    root = family.root_of_relative(xp, _differences(xp, x, y))
    return xp.reshape(root, root.shape[:-1])


def _differences(xp: Any, x: Any, y: Any) -> Any:
    (m, n), k = x.shape, y.shape[0]
    return xp.reshape(x, (m, 1, n)) - xp.reshape(y, (1, k, n))


def check(problem: ExactProblem) -> None:
    """Raise InputError unless x and y are matrices with columns, equally many."""
    shapes = [problem.inputs[name].shape for name in ("x", "y")]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1] or shapes[0][1] == 0:
        told = " and ".join(f"{name} {list(shape)}" for name, shape in zip("xy", shapes, strict=True))
        raise InputError(f"the shapes are {told}", "two matrices with equally many columns are allowed")


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Count 3mkn: a difference, a square and an addition for each entry of each pair."""
    (m, n), k = shapes["x"], shapes["y"][0]
    return Cost(3 * m * k * n, (m * n + k * n + m * k) * element_bytes)


definition.operation(
    name="pairwise_distance",
    title="Distances between rows",
    formula="D_ij = √(Σ_k (x_ik − y_jk)²)",
    inputs={"x": "(m, n)", "y": "(k, n)"},
    outputs=("D",),
    definition=meant,
    stable=stable,
    algorithm="√Σ (x_i − y_j)²",
    parameters={
        "mode": Parameter("direct", "what torch.cdist is told to do; other formulations do not ask", MODES)
    },
    differentiable=("x", "y"),
    cost=cost,
    gradient_formula="Σ_j g_ij·(x_i − y_j)/D_ij, 0 where D_ij = 0; of y with the other sign",
    condition=False,
    check=check,
)


@formulation(
    "pairwise_distance", "gram", title="√(‖x‖² + ‖y‖² − 2·xyᵀ)", needs=("elementwise", "sum", "matmul")
)
def gram(xp: Any, x: Any, y: Any, mode: Written) -> Callable[[], Any]:
    """Subtract squares: nothing is left of a distance below √u·‖x‖; what is negative counts as 0."""

    def thunk() -> Any:
        a = xp.sum(xp.square(x), axis=1, keepdims=True)
        b = xp.reshape(xp.sum(xp.square(y), axis=1), (1, y.shape[0]))
        twice = xp.multiply(xp.scalar(2), xp.matmul(x, xp.transpose(y)))
        return xp.sqrt(xp.maximum(xp.subtract(xp.add(a, b), twice), xp.scalar(0)))

    return thunk


@formulation("pairwise_distance", "direct", title="√Σ (x_i − y_j)²", needs=("elementwise", "sum"))
def direct(xp: Any, x: Any, y: Any, mode: Written) -> Callable[[], Any]:
    """Subtract first; where nothing differs the gradient is 0."""
    (m, n), k = x.shape, y.shape[0]

    def thunk() -> Any:
        d = xp.subtract(xp.reshape(x, (m, 1, n)), xp.reshape(y, (1, k, n)))
        return xp.reshape(family.norm_of_scaled(xp, d), (m, k))

    return thunk
