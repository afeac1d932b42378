"""Number formats: what they hold (`rows`), rounding to them, their bit patterns, their units.

The rows are in `harness.formats.rows`; a dtype is added there, by one row.
"""

from __future__ import annotations

from harness.formats.bits import decode, digest, encode
from harness.formats.rounding import (
    floor_log2,
    is_finite,
    round_array,
    round_exact,
    round_objects,
    round_pair,
    round_to_float,
    round_to_grid,
    ulp_exponent,
)
from harness.formats.rows import DTYPES, FORMATS, DType, NumberFormat, Precision, power_of_two
from harness.formats.units import UNITS, unit, unit_value

__all__ = [
    "DTYPES",
    "FORMATS",
    "UNITS",
    "DType",
    "NumberFormat",
    "Precision",
    "decode",
    "digest",
    "encode",
    "floor_log2",
    "is_finite",
    "power_of_two",
    "round_array",
    "round_exact",
    "round_objects",
    "round_pair",
    "round_to_float",
    "round_to_grid",
    "ulp_exponent",
    "unit",
    "unit_value",
]
