"""The columns of `results.csv`: their order, what each holds, and units that no metric defines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["text", "integer", "number", "boolean"]

AXIS_PREFIX: Final = "axis."
"""`axis.n` holds the value of axis `n`; these columns come last."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the results."""

    name: str
    kind: Kind
    unit: str = ""


def _columns(kind: Kind, names: str, unit: str = "") -> tuple[Column, ...]:
    return tuple(Column(name, kind, unit) for name in names.split())


COORDINATES: Final = (
    *_columns(
        "text",
        "cell case output operation formulation backend device dtype compute_dtype topic guide profile mode "
        "axes",
    ),
    Column("seed", "integer"),
    Column("inputs_digest", "text"),
)
"""What was run."""

JUDGEMENT: Final = _columns("text", "outcome verdict reason severity")

ACCURACY: Final = (
    *_columns("integer", "elements not_a_number_count inf_count zero_count", "elements"),
    *_columns(
        "number",
        "bound_ratio max_ulp p99_ulp median_ulp correctly_rounded_fraction bias_ulp max_rel_error "
        "norm_rel_error bits lre backward_error componentwise_backward_error orthogonality subspace_angle "
        "condition kappa_error data_error reference_radius_ulp reference_coverage value",
    ),
    *_columns("text", "worst_index worst_input worst_computed worst_exact result_digest"),
)
"""What a referee measured; units, formulas and sources are those of the registered metrics."""

SPEED: Final = (
    Column("timer", "text"),
    Column("cache", "text"),
    *_columns("number", "time_median_s time_ci_low_s time_ci_high_s time_min_s", "s"),
    *_columns("number", "time_wall_s time_wall_cold_s time_cuda_cold_s time_cuda_graph_s", "s"),
    Column("not_timed_by", "text"),
    *_columns("integer", "samples calls"),
    Column("converged", "boolean"),
    *_columns("number", "overhead_fraction noise"),
    Column("flops", "integer", "floating-point operations"),
    Column("bytes", "integer", "B"),
    Column("gflops", "number", "GFLOP/s"),
    Column("gbps", "number", "GB/s"),
    Column("peak_fraction", "number"),
    Column("peak_memory_bytes", "integer", "B"),
)
"""What a worker measured."""

COLUMNS: Final = COORDINATES + JUDGEMENT + ACCURACY + SPEED

KINDS: Final = {column.name: column.kind for column in COLUMNS}

FOR_VERDICTS: Final = ("undecided", "error", "fp_environment")
"""Keys that rows made from a journal carry beside the columns: how many reference elements stayed
undecided, the error text of a cell without a result, and how a cell left the floating-point
environment changed. Verdicts put them into `reason`."""
