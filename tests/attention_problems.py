"""Problems of attention for tests: made, run, judged; and attention by mpmath, independent of the harness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mpmath
import numpy as np

from harness import catalogue
from harness.formats import DTYPES, FORMATS, Precision, decode, encode, round_array
from harness.metrics.score import score
from harness.model import Written
from harness.registry import (
    BACKENDS,
    COTANGENT,
    OPERATIONS,
    ExactProblem,
    find_formulation,
    find_gradient,
    support,
)
from harness.tape import differentiated

catalogue.load()

DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
BACKEND_NAMES = ("numpy", "torch-cpu")
DIGITS = 80


def make(
    operation: str,
    dtype: str,
    m: int = 12,
    n: int | None = None,
    d: int = 8,
    e: int | None = None,
    *,
    lead: tuple[int, ...] = (),
    amplitude: float = 1.0,
    keep: Any = None,
    seed: int = 0,
    with_respect_to: tuple[str, ...] = (),
    **parameters: Written,
) -> ExactProblem:
    """Return a problem of random normal q, k, v (and cotangent); `amplitude` multiplies q."""
    rng = np.random.default_rng(seed)
    n, e = n or m, e or d
    made = {
        "q": rng.standard_normal((*lead, m, d)) * amplitude,
        "k": rng.standard_normal((*lead, n, d)),
        "v": rng.standard_normal((*lead, n, e)),
    }
    if keep is not None:
        made["keep"] = np.asarray(keep, np.float64)
    if with_respect_to:
        made[COTANGENT] = rng.standard_normal((*lead, m, e))
    return problem_of(operation, dtype, made, with_respect_to=with_respect_to, **parameters)


def problem_of(
    operation: str,
    dtype: str,
    inputs: dict[str, Any],
    *,
    with_respect_to: tuple[str, ...] = (),
    **parameters: Written,
) -> ExactProblem:
    """Return a problem of the inputs, rounded to the dtype."""
    order = [*OPERATIONS[operation].inputs, *([COTANGENT] if with_respect_to else [])]
    rounded = {name: round_array(DTYPES[dtype].storage, np.array(inputs[name], np.float64)) for name in order}
    given = {**OPERATIONS[operation].defaults(), **parameters}
    return ExactProblem(operation, rounded, given, DTYPES[dtype], with_respect_to)


def run(problem: ExactProblem, name: str, backend: str) -> tuple[list[np.ndarray], str]:
    """Run a formulation, or its gradient, with checked dtypes; return its outputs and compute dtype."""
    library, storage = BACKENDS[backend], problem.dtype.storage
    backward = bool(problem.with_respect_to)
    compute = support(
        problem.operation, name, library, problem.dtype.name, "backward" if backward else "forward"
    )
    assert isinstance(compute, str), compute
    arrays = [library.from_bits(encode(storage, x), storage) for x in problem.inputs.values()]
    xp = library.namespace(problem.dtype, checked=True)
    found = find_formulation(problem.operation, name, backend)
    assert found is not None

    def build(*values: Any) -> Callable[[], Any]:
        thunk: Callable[[], Any] = found.build(xp, *values, **problem.parameters)
        return thunk

    positions = [list(problem.inputs).index(i) for i in problem.with_respect_to]
    own = find_gradient(problem.operation, name, backend)
    if backward and library.autograd:
        thunk = library.differentiated(build, arrays[:-1], positions, arrays[-1])
    elif backward and own is None:
        written = partial(found.build, **problem.parameters)
        thunk = differentiated(written, xp, arrays[:-1], positions, arrays[-1])
    elif backward:
        thunk = own.build(xp, *arrays, with_respect_to=problem.with_respect_to, **problem.parameters)
    else:
        thunk = build(*arrays)
    with np.errstate(all="ignore"):
        result = thunk()
    outputs = []
    for value in result if isinstance(result, tuple) else (result,):
        bits, fmt = library.to_bits(value)
        assert fmt == storage.name
        outputs.append(decode(FORMATS[fmt], bits))
    return outputs, compute


def judge(problem: ExactProblem, outputs: Sequence[np.ndarray], compute: str) -> dict[str, dict[str, Any]]:
    """Return the rows of what was computed, by output; every reference must be decided."""
    operation = OPERATIONS[problem.operation].differentiated(problem.with_respect_to)
    reference = operation.reference(problem)
    assert reference.undecided == 0
    given = {
        name: round_array(problem.dtype.storage, np.asarray(value, np.float64))
        for name, value in zip(operation.outputs, outputs, strict=True)
    }
    return score(operation, problem, reference, given, Precision.of(problem.dtype, compute))


def assert_right(problem: ExactProblem, name: str, backend: str) -> None:
    """Run, judge, and assert that every output is ok and within its bound."""
    for output, row in judge(problem, *run(problem, name, backend)).items():
        assert row["outcome"] == "ok", (output, name, backend, problem.dtype.name, problem.parameters)
        assert row["bound_ratio"] <= 1, (output, name, backend, problem.dtype.name, problem.parameters)


def worst_ratio(problem: ExactProblem, outputs: Sequence[np.ndarray], compute: str) -> float:
    """Return the largest error over its bound of all outputs; inf where one is of a wrong class."""
    rows = judge(problem, outputs, compute).values()
    return max(float("inf") if row["outcome"] != "ok" else row["bound_ratio"] for row in rows)


# ---- by mpmath -------------------------------------------------------------------------------------


def scale_of(problem: ExactProblem) -> mpmath.mpf:
    """Return the scale; call at the precision wanted."""
    scale = problem.parameters["scale"]
    d = problem.inputs["q"].shape[-1]
    return 1 / mpmath.sqrt(d) if scale == "inverse_sqrt" else mpmath.mpf(str(scale))


def visible(problem: ExactProblem) -> np.ndarray:
    """Return which key each query sees, (m, n); of problems without leading dimensions."""
    m, n = len(problem.inputs["q"]), len(problem.inputs["k"])
    keep = np.broadcast_to(problem.inputs.get("keep", np.ones((m, n))), (m, n)) != 0
    return keep & (np.tri(m, n, dtype=bool) if problem.parameters.get("causal") else True)


def shares(q: Any, k: Any, scale: Any, sees: np.ndarray) -> list[list[mpmath.mpf]]:
    """Return the softmax of scale·q·kᵀ over the keys seen, as rows; zeros for a query that sees none."""
    rows = []
    for i, query in enumerate(q):
        scores = [scale * mpmath.fsum(a * b for a, b in zip(query, key, strict=True)) for key in k]
        e = [mpmath.exp(s) if see else mpmath.mpf(0) for s, see in zip(scores, sees[i], strict=True)]
        total = mpmath.fsum(e)
        rows.append([x / total if total else x for x in e])
    return rows


def numbers(x: np.ndarray) -> list[list[mpmath.mpf]]:
    """Return a matrix of float64 as exact numbers."""
    return [[mpmath.mpf(value) for value in row] for row in x.tolist()]


def attention_by_mpmath(problem: ExactProblem) -> list[list[mpmath.mpf]]:
    """Return the output of small matrices without leading dimensions."""
    with mpmath.workdps(DIGITS):
        q, k, v = (numbers(problem.inputs[name]) for name in "qkv")
        p = shares(q, k, scale_of(problem), visible(problem))
        return [
            [mpmath.fsum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*v, strict=True)]
            for row in p
        ]


def gradient_by_mpmath(problem: ExactProblem, name: str) -> list[list[mpmath.mpf]]:
    """Return Σ g·y differentiated by central differences of 1e-25, good to 40 digits or so."""
    with mpmath.workdps(DIGITS):
        given = {x: numbers(problem.inputs[x]) for x in "qkv"}
        g, sees, scale = numbers(problem.inputs[COTANGENT]), visible(problem), scale_of(problem)
        step = mpmath.mpf(10) ** -25

        def total(values: dict[str, Any]) -> mpmath.mpf:
            p = shares(values["q"], values["k"], scale, sees)
            return mpmath.fsum(
                g[i][c] * p[i][j] * values["v"][j][c]
                for i in range(len(p))
                for j in range(len(p[0]))
                for c in range(len(g[0]))
            )

        def moved(i: int, c: int, by: mpmath.mpf) -> mpmath.mpf:
            matrix = [list(row) for row in given[name]]
            matrix[i][c] += by
            return total({**given, name: matrix})

        rows, columns = problem.inputs[name].shape
        return [
            [(moved(i, c, step) - moved(i, c, -step)) / (2 * step) for c in range(columns)]
            for i in range(rows)
        ]
