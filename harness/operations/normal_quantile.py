"""The quantile of the standard normal distribution: a small probability must not be added to anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.operations.definition import operation, per_entry
from harness.registry import ExactProblem, formulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference


def definition(xp: Any, p: Any) -> Any:
    """√2·erf⁻¹(2p − 1)."""
    return xp.erfinv(p * 2 - 1) * xp.sqrt(xp.scalar(2))


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of 11u|y| + ω.

    4 ulp, of at most 2u each, as of elementary functions, and √2, rounded, a product, and what is of second
    order. An error of the argument is forgiven nowhere: for p ≥ ¼ the difference 2p − 1 is exact (Sterbenz),
    and smaller p need none.
    """
    import numpy as np

    y = np.abs(reference.outputs["y"].to_float64())
    with np.errstate(divide="ignore"):
        allowed = 11 * precision.u_out * np.where(np.isfinite(y), y, 0.0) + float(
            precision.format.min_subnormal
        )
        return {"y": np.log2(allowed)}


operation(
    name="normal_quantile",
    title="Quantile of the normal distribution",
    formula="y = √2·erf⁻¹(2p − 1)",
    inputs={"p": "any shape, in [0, 1]"},
    definition=definition,
    stable=lambda xp, p: xp.ndtri(p),
    algorithm="a function of p itself, to 4 ulp",
    bound=bound,
    bound_formula="11u·|y| + ω",
    source="4 ulp as of elementary functions, √2 and a product; 2p − 1 is exact for p ≥ ¼ (Sterbenz 1974)",
    differentiable=("p",),
    cost=per_entry(1),
    gradient_cost=per_entry(5),
    gradient_formula="g·√(2π)·exp(y²/2)",
    elementwise=True,
)


@formulation("normal_quantile", "erfinv", title="√2·erf⁻¹(2p − 1)")
def by_erfinv(xp: Any, p: Any) -> Callable[[], Any]:
    """Subtract 1: −1 is left of 2p − 1 where p < u/4, and digits of p are lost below ¼."""
    one, two, root = xp.scalar(1), xp.scalar(2), xp.scalar("1.4142135623730950488016887242096980786")
    return lambda: xp.multiply(root, xp.erfinv(xp.subtract(xp.multiply(two, p), one)))


@formulation(
    "normal_quantile",
    "library",
    title="scipy.special.ndtri, torch.special.ndtri; float32 for 16 bits",
)
def library(xp: Any, p: Any) -> Callable[[], Any]:
    """Call the function that this is."""
    return lambda: xp.ndtri(p)
