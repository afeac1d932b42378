"""Runs made up for tests of the reports: the shapes of real ones, from models of error and speed.

Nothing here is measured. Numbers follow simple laws with a seeded scatter, so that two calls agree.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from harness.expect import FACT_COLUMNS
from harness.formats import DTYPES, round_to_float
from harness.model import Axis, Case, Plan, cell_id
from harness.store import COLUMNS, Run
from harness.store.columns import FOR_VERDICTS

DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
BACKENDS = ("numpy", "torch-cpu")
LN_MAX = {"float64": 709.78, "float32": 88.72, "bfloat16": 88.72, "float16": 11.09}
PEAK = {"float64": 41.0, "float32": 84.0, "bfloat16": 2.6, "float16": 2.1}

METRICS = [
    {"name": n, "title": t, "unit": u, "formula": f, "source": s, "display": d, "better": b}
    for n, t, u, f, s, d, b in (
        ("bound_ratio", "Error / bound", "1", "max |ŷ − y|/bound", "each bound_source", "scientific", "low"),
        ("max_ulp", "Largest error", "ulp", "max |ŷ − y|/ulp(y)", "Muller et al.", "scientific", "low"),
        ("median_ulp", "Median error", "ulp", "median |ŷ − y|/ulp(y)", "Muller et al.", "scientific", "low"),
        (
            "correctly_rounded_fraction", "Correctly rounded", "1", "share of elements equal to fl(y)",
            "IEEE 754-2019, 4.3.1", "percent", "high",
        ),
        ("norm_rel_error", "Relative error", "1", "‖ŷ − y‖₂/‖y‖₂", "Higham 2002, 1.2", "scientific", "low"),
        ("bits", "Bits left", "bit", "p − log₂ max(1, 2·max_ulp)", "Muller et al.", "fixed", "high"),
        ("backward_error", "Backward error", "1", "Karlson–Waldén", "BIT 37 (1997)", "scientific", "low"),
        ("condition", "Condition number", "1", "certified κ", "Higham 2002, 1.6", "scientific", "none"),
        ("worst_index", "Worst element", "index", "argmax", "definition", "text", "none"),
    )
]  # fmt: skip

OPERATIONS = {
    "softmax": {
        "title": "Softmax",
        "formula": "pᵢ = exp(xᵢ) / Σⱼ exp(xⱼ)",
        "bound_formula": "u·p·(c + n_acc + 2·max|xᵢ − xⱼ|) + ω",
        "bound_source": "Blanchard, Higham and Higham 2021, theorem 3.2",
    },
    "least_squares": {
        "title": "Least squares",
        "formula": "x = argmin ‖b − A·x‖₂",
        "bound_formula": "backward: c·mn·u; forward: c·u·(κ + κ²‖r‖/(‖A‖‖x‖))",
        "bound_source": "Karlson and Waldén 1997; Higham 2002, theorem 20.4",
    },
    "matmul": {
        "title": "Matrix product",
        "formula": "C = A·B",
        "bound_formula": "n·u_acc·|A||B| + u_out·|C| + n·ω",
        "bound_source": "Jeannerod and Rump 2013, theorem 2.1",
    },
}

SOFTMAX = Case(
    name="softmax-overflow",
    title="Softmax of large logits",
    topic="stability",
    operation="softmax",
    guide=("NM4",),
    description="exp(x) overflows once x passes ln(max); subtracting the row maximum prevents it.",
    inputs=(),
    path="cases/softmax-overflow.yaml",
    axes=(
        Axis("n", (8, 64, 1024), frozenset((8,))),
        Axis(
            "top",
            tuple(map(Decimal, ("0.25", "0.5", "0.9", "0.99", "1.01", "2"))),
            frozenset(),
            unit="ln_max",
            kind="times",
        ),
    ),
)
GAPS = replace(
    SOFTMAX,
    name="softmax-gaps",
    path="cases/softmax-gaps.yaml",
    title="Softmax of rows with wide gaps",
    description="The smallest probabilities underflow long before the largest logit is large.",
    axes=(Axis("gap", (0, 1, 10, 50, 100, 400), frozenset()),),
)
LEAST_SQUARES = Case(
    name="least-squares-condition",
    title="Least squares as the condition number grows",
    topic="least-squares",
    operation="least_squares",
    guide=("LR1",),
    description="Normal equations square the condition number; orthogonal methods do not.",
    inputs=(),
    axes=(
        Axis(
            "kappa",
            tuple(Decimal(-k) / 10 for k in range(0, 13, 2)),
            frozenset(),
            unit="unit_roundoff",
            kind="powers",
        ),
        Axis("angle", (0, Decimal("1e-8"), Decimal("1e-4"), Decimal("0.1")), frozenset()),
    ),
)
MATMUL = Case(
    name="matmul-square",
    title="Square matrix products",
    topic="networks",
    operation="matmul",
    guide=("IN4",),
    inputs=(),
    axes=(Axis("n", (16, 32, 64, 128, 256, 512, 1024, 2048), frozenset()),),
)

Axes = Mapping[str, Any]


def row(
    case: Case, formulation: str, backend: str, dtype: str, axes: Axes, output: str, **values: Any
) -> dict[str, Any]:
    """Return a result with every column of the results, as a run's rows have them."""
    plain = {k: float(v) if isinstance(v, Decimal) else v for k, v in axes.items()}
    cell = cell_id(case.name, formulation, backend, dtype, axes)
    names = [c.name for c in COLUMNS] + [*FOR_VERDICTS]
    return {
        **dict.fromkeys(names),
        "cell": cell,
        "case": case.name,
        "output": output,
        "operation": case.operation,
        "formulation": formulation,
        "backend": backend,
        "device": "cpu",
        "dtype": dtype,
        "compute_dtype": "float32" if dtype in ("bfloat16", "float16") else dtype,
        "topic": case.topic,
        "guide": " ".join(case.guide),
        "profile": "default",
        "mode": "forward",
        "seed": 0,
        "inputs_digest": _digest(case.name, dtype, plain),
        "verdict": "pass",
        "reason": "bound_ratio ≤ 1",
        "severity": "fail",
        **{f"axis.{k}": v for k, v in plain.items()},
        **values,
    }


def measured(dtype: str, ulp: float, ratio: float, elements: int, scatter: random.Random) -> dict[str, Any]:
    """Return the accuracy columns of a result whose worst element is off by `ulp`."""
    fmt = DTYPES[dtype].storage
    p = fmt.precision
    return {
        "outcome": "ok",
        "elements": elements,
        "not_a_number_count": 0,
        "inf_count": 0,
        "zero_count": 0,
        "bound_ratio": ratio,
        "max_ulp": ulp,
        "p99_ulp": ulp * 0.9,
        "median_ulp": ulp * 0.3,
        "correctly_rounded_fraction": min(1.0, 0.6 / max(ulp, 0.6)),
        "bias_ulp": ulp * scatter.uniform(-0.1, 0.1),
        "max_rel_error": ulp * 2.0**-p,
        "norm_rel_error": ulp * 2.0**-p * 0.6,
        "bits": max(0.0, p - math.log2(max(1.0, 2 * ulp))),
        "reference_radius_ulp": 3.1e-5,
        "reference_coverage": 1.0,
        "worst_index": str(elements - 1),
        "worst_computed": repr(float(round_to_float(fmt, Fraction(1, 3)))),
        "worst_exact": str(Context(prec=32).divide(Decimal(1), Decimal(3))),
        "result_digest": _digest(dtype, ulp, elements),
    }


def broken(outcome: str, elements: int, reason: str = "outcome as expected (rule line 24)") -> dict[str, Any]:
    """Return the accuracy columns of a result that broke as its case says."""
    computed = {"not_a_number": "nan", "overflow": "inf", "underflow": "0.0", "zeroed": "0.0"}.get(outcome)
    return {
        "outcome": outcome,
        "elements": elements,
        "reason": reason,
        "result_digest": _digest(outcome),
        "worst_index": computed and "0",
        "worst_computed": computed,
        "worst_exact": computed and "1.2345678901234567890123456789012e-5",
    }


def skipped(reason: str) -> dict[str, Any]:
    """Return the columns of a cell that was not to run."""
    return {"verdict": "skip", "reason": reason, "compute_dtype": None, "device": None, "inputs_digest": None}


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def softmax_rows(case: Case = SOFTMAX) -> list[dict[str, Any]]:
    """Return softmax over the range of exp, broken and skipped where real ones are."""
    scatter, rows = random.Random(case.name), []
    for formulation in ("naive", "shifted", "online", "library"):
        for backend in BACKENDS:
            for dtype in DTYPE_NAMES:
                for n in (8, 64, 1024):
                    for top in case.axes[1].values:
                        axes = {"n": n, "top": top}
                        if formulation == "library" and backend == "numpy" and dtype == "bfloat16":
                            values = skipped("unsupported: scipy.special widens bfloat16 to float64")
                        elif formulation == "naive" and top > 1:
                            values = broken("not_a_number", n)
                        elif formulation == "naive" and top > Decimal("0.95"):
                            values = broken("zeroed", n)
                        else:
                            spread = float(top) * LN_MAX[dtype]
                            ulp = 0.6 + 0.3 * spread * scatter.uniform(0.5, 1.0)
                            ulp *= 1.6 if formulation == "online" else 1.0
                            ratio = ulp / (4 + 0.05 * n + 2 * spread)
                            values = measured(dtype, ulp, ratio, n, scatter)
                        rows.append(row(case, formulation, backend, dtype, axes, "p", **values))
    return rows


def gap_rows() -> list[dict[str, Any]]:
    """Return softmax over a gap, with an underflow here and there."""
    scatter, rows = random.Random("gaps"), []
    for formulation in ("naive", "shifted"):
        for backend in BACKENDS:
            for dtype in DTYPE_NAMES:
                for gap in (0, 1, 10, 50, 100, 400):
                    lost = formulation == "naive" and gap > LN_MAX[dtype] * 1.2
                    values = (
                        broken("underflow", 4) if lost else measured(dtype, 0.7 + gap / 90, 0.2, 4, scatter)
                    )
                    rows.append(row(GAPS, formulation, backend, dtype, {"gap": gap}, "p", **values))
    return rows


def least_squares_rows() -> list[dict[str, Any]]:
    """Return least squares over κ: normal equations follow κ²u and fail at the end, the others κu."""
    scatter, rows = random.Random("least squares"), []
    for formulation in ("normal_equations", "cholesky", "qr", "svd", "library"):
        for backend in BACKENDS:
            for dtype in ("float64", "float32"):
                u = float(DTYPES[dtype].storage.unit_roundoff)
                for kappa in LEAST_SQUARES.axes[0].values:
                    for angle in LEAST_SQUARES.axes[1].values:
                        condition = u ** float(kappa) * scatter.uniform(0.8, 1.3)
                        squared = formulation in ("normal_equations", "cholesky")
                        error = u * (condition**2 if squared else condition * (1 + condition * float(angle)))
                        error *= scatter.uniform(0.05, 0.6)
                        if formulation == "cholesky" and condition > 2 / math.sqrt(u):
                            values = broken("raised", 8) | {"condition": None, "max_ulp": None}
                        else:
                            ulp = min(error, 1e6) / u
                            values = measured(dtype, ulp, error / (40 * u * condition), 8, scatter) | {
                                "backward_error": u * scatter.uniform(0.1, 2),
                                "condition": condition,
                                "norm_rel_error": error,
                            }
                            if squared and values["bound_ratio"] > 1:
                                values["reason"] = "breaks as expected (rule line 31)"
                            else:
                                values["bound_ratio"] = min(0.9, values["bound_ratio"])
                        axes = {"kappa": kappa, "angle": angle}
                        rows.append(row(LEAST_SQUARES, formulation, backend, dtype, axes, "x", **values))
    return rows


def matmul_rows() -> list[dict[str, Any]]:
    """Return matrix products with times: slow and limited in narrow formats."""
    scatter, rows = random.Random("matmul"), []
    for formulation in ("library", "blocked"):
        for backend in BACKENDS:
            for dtype in DTYPE_NAMES:
                for n in MATMUL.axes[0].values:
                    assert isinstance(n, int)
                    if n > 256 and dtype in ("bfloat16", "float16"):
                        values = skipped("excluded: half-precision products take minutes on a CPU")
                    else:
                        flops = 2 * n**3
                        share = (
                            (0.9 if formulation == "library" else 0.25)
                            * n
                            / (n + 90)
                            * scatter.uniform(0.9, 1)
                        )
                        seconds = flops / (PEAK[dtype] * share * 1e9)
                        wide = scatter.uniform(0.003, 0.03)
                        ulp = 0.5 + 0.1 * math.sqrt(n)
                        values = measured(dtype, ulp, ulp / (n + 1), n * n, scatter) | {
                            "timer": "wall",
                            "time_median_s": seconds,
                            "time_ci_low_s": seconds * (1 - wide),
                            "time_ci_high_s": seconds * (1 + wide),
                            "time_min_s": seconds * (1 - 2 * wide),
                            "samples": 24,
                            "calls": max(1, round(3e-4 / seconds)),
                            "converged": wide < 0.02,
                            "overhead_fraction": 6e-8 / seconds,
                            "noise": wide,
                            "flops": flops,
                            "bytes": 3 * n * n * DTYPES[dtype].storage.storage_bits // 8,
                            "gflops": flops / seconds / 1e9,
                            "gbps": 24 * n * n / seconds / 1e9,
                            "peak_fraction": share,
                        }
                    rows.append(row(MATMUL, formulation, backend, dtype, {"n": n}, "C", **values))
    return rows


def fact(kind: str, case: str, **values: Any) -> dict[str, Any]:
    """Return a fact with every column."""
    return {
        **dict.fromkeys(FACT_COLUMNS),
        "fact": kind,
        "case": case,
        "mode": "forward",
        "where": "{}",
        **values,
    }


def example_facts() -> list[dict[str, Any]]:
    """Return frontiers of softmax and exponents of matrix products."""
    found = []
    for formulation in ("naive", "shifted"):
        for backend in BACKENDS:
            for dtype in DTYPE_NAMES:
                for n in (8, 64, 1024):
                    breaks = formulation == "naive"
                    found.append(
                        fact(
                            "frontier", "softmax-overflow", formulation=formulation, backend=backend,
                            dtype=dtype, output="p", against="top", where=f'{{"n": {n}}}', unit="× ln_max",
                            value=0.99 if breaks else None, low=0.9 if breaks else 2.0,
                            high=0.99 if breaks else None,
                            reason="good at 0.9 × ln_max, outcome zeroed at 0.99 × ln_max"
                            if breaks
                            else "good at every value from 0.25 × ln_max to 2 × ln_max",
                        )
                    )  # fmt: skip
    found.append(
        fact(
            "exponent", "matmul-square", formulation="library", backend="numpy", dtype="float64", output="C",
            of="time_median_s", against="n", value=2.71, low=2.6, high=2.82, expected="≤ 3.2",
            unit="d log time_median_s / d log n", verdict="pass", severity="warn",
            reason="exponent 2.71 [2.6, 2.82] from 8 points: exponent 2.71 ≤ 3.2",
        )
    )  # fmt: skip
    return found


HEADER: dict[str, Any] = {
    "schema_version": 1,
    "harness": "0.1.0",
    "started": "2026-11-22T12:00:00Z",
    "finished": "2026-11-22T12:02:51Z",
    "profile": "default",
    "selection": {"paths": ["cases"], "k": None},
    "references": {"computed": 96, "cached": 231},
    "metrics": METRICS,
    "operations": OPERATIONS,
    "environment": {
        "python": "3.11.9",
        "platform": "Linux-6.1.0-x86_64",
        "cpu": "AMD EPYC 7763 64-Core Processor",
        "cores": 2,
        "memory_bytes": 25_000_000_000,
        "packages": {"numpy": "2.4.6", "torch": "2.13.0"},
        "children": {"numpy/1": {"blas": "OpenBLAS 0.3.30", "threads": "1"}},
        "peaks": [{"kind": "peak", "backend": "numpy", "threads": 1, "dtype": "float32", "gflops": 84.1}],
    },
}


def example_run(
    rows: Sequence[Mapping[str, Any]] | None = None,
    facts: Sequence[Mapping[str, Any]] | None = None,
    *,
    cases: Iterable[Case] = (SOFTMAX, GAPS, LEAST_SQUARES, MATMUL),
    folder: Path = Path("2026-11-22T120000Z"),
    **header: Any,
) -> Run:
    """Return a run of these rows and facts; about 1,000 rows when none are given."""
    if rows is None:
        rows = [*softmax_rows(), *gap_rows(), *least_squares_rows(), *matmul_rows()]
        facts = example_facts() if facts is None else facts
    plan = Plan((), {}, {c.name: c for c in cases}, "default", {})
    return Run(folder, {**HEADER, **header}, plan, list(rows), list(facts or ()))


def failing(
    rows: Iterable[Mapping[str, Any]], fail: Callable[[Mapping[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Return the rows, those chosen failed."""
    return [
        {**r, "verdict": "fail", "reason": "outcome not_a_number is not ok (no rule)"} if fail(r) else dict(r)
        for r in rows
    ]
