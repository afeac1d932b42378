"""What likelihoods and log-likelihoods of independent observations share: checks, and long products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.registry import ExactProblem

INPUTS: Final = {"densities": "(n,): density, or probability, of each observation"}
NEEDS: Final = ("elementwise", "sum")


def check(problem: ExactProblem) -> None:
    """Refuse what is no vector of finite densities from 0, and zeros in a gradient."""
    import numpy as np

    f = problem.inputs["densities"]
    if f.ndim != 1 or f.size == 0:
        raise InputError(f"densities have shape {list(f.shape)}; allowed is (n,), n from 1")
    bad = ~(np.isfinite(f) & (f >= 0))
    if bad.any():
        raise InputError(f"densities hold {f[bad].flat[0]!r}; allowed are finite numbers from 0")
    if problem.with_respect_to and (f == 0).any():
        raise InputError("densities hold 0, where the logarithm has no slope", "use positive numbers")


def product(xp: Any, factors: Any) -> Any:
    """Return the product from the left, one factor after the other."""
    found = factors[0]
    for i in range(1, factors.shape[0]):
        found = xp.multiply(found, factors[i])
    return found
