"""Bounds of gradients where nothing is to be forgiven, and of products that are added up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness import catalogue
from harness.formats import DTYPES, Precision
from harness.registry import OPERATIONS, ExactProblem

INF = math.inf

catalogue.load()


def bound_of(operation: str, dtype: str, compute: str, **inputs: object) -> dict[str, np.ndarray]:
    values = {name: np.array(value, np.float64) for name, value in inputs.items()}
    wanted = tuple(name for name in values if name != "cotangent")
    parameters = {} if operation == "matmul" else {"axis": -1}
    problem = ExactProblem(operation, values, parameters, DTYPES[dtype], wanted)
    found = OPERATIONS[operation].differentiated(wanted)
    assert found.bound is not None
    return dict(found.bound(problem, found.reference(problem), Precision.of(DTYPES[dtype], compute)))


@pytest.mark.parametrize("operation", ["softmax", "log_softmax", "logsumexp"])
def test_a_masked_entry_is_allowed_no_error(operation: str) -> None:
    """Its share is exp(−inf) = 0 in any arithmetic: ω would let a library's smallest number pass for 0."""
    g = 3.0 if operation == "logsumexp" else [1.0, 2.0, 3.0]
    found = bound_of(operation, "float16", "float16", x=[1.0, -INF, 2.0], cotangent=g)["grad_x"]
    assert (found == -INF).tolist() == [False, True, False]


@pytest.mark.parametrize("operation", ["softmax", "log_softmax"])
def test_the_only_entry_of_a_row_is_allowed_no_error(operation: str) -> None:
    """p = 1 and s = 1 exactly: g − 1·g and 1·(g − 1·g) are 0 in any arithmetic."""
    found = bound_of(operation, "float16", "float16", x=[[5.0]], cotangent=[[3.0]])["grad_x"]
    assert found.tolist() == [[-INF]]


def test_sums_of_rounded_products_round_what_the_products_have_grown_to() -> None:
    """∂a of ones: r = 2 products of n = 3 terms, K = 6 = Σ|g·b| = ∂a; u = u_acc = 2⁻¹¹, ω = 2⁻²⁴.

    (1 + u)·K·u·6 + u·6 + K·ω of one inner product over all terms, and 2·u·(1 + n·u)·6 of two roundings to the
    format and their sum; inputs that products round would count (1 + u_in)² at most. The growth of the inner
    sums is 36u² of some 54u.
    """
    u, least = 2.0**-11, 2.0**-24
    a, b, g = np.ones((1, 4)), np.ones((2, 4, 3)), np.ones((2, 1, 3))
    found = np.exp2(bound_of("matmul", "float16", "float16", a=a, b=b, cotangent=g)["grad_a"])
    wanted = (1 + u) * 6 * u * 6 + u * 6 + 6 * least + 2 * u * (1 + 3 * u) * 6
    assert found.shape == (1, 4)
    assert (found >= wanted * (1 - 1e-12)).all()  # a logarithm and back: some 2⁻⁵⁰
    assert (found <= wanted * (1 + u) ** 2).all()
