"""What makes wrong answers of right ones, and how far they are from each other.

Values are float64 arrays that a format holds exactly.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from harness.formats import NumberFormat, decode, encode, round_array

FACTOR: Final = 8
"""What is planted is 1 + 8u times the exact value."""

Array = np.ndarray[Any, np.dtype[np.float64]]


def rolled(values: Array) -> Array:
    """Return the values moved by one place along the last axis that has more than one."""
    axes = [axis for axis in range(values.ndim) if values.shape[axis] > 1]
    return np.roll(values, 1, axis=axes[-1]) if axes else values


def factored(exact: Array, fmt: NumberFormat) -> Array:
    """Return the exact values times 1 + 8u, computed in float64, rounded to the format."""
    wrong = round_array(fmt, exact * (1 + FACTOR * float(fmt.unit_roundoff)))
    return np.where(np.isfinite(wrong), wrong, exact)  # what overflows is no test of a bound


def holds_counts(exact: Array, fmt: NumberFormat) -> bool:
    """Return whether the values are integers other than 0, and the integers below them are of the format."""
    largest = 2.0 ** min(fmt.precision, 53)
    return exact.size > 0 and bool(
        np.all((exact == np.rint(exact)) & (exact != 0) & (np.abs(exact) < largest))
    )


def next_number(exact: Array, fmt: NumberFormat) -> Array:
    """Return the values with the last finite one moved to its neighbour: toward 0, and from 0 up."""
    wrong = exact.reshape(-1).copy()
    finite = np.flatnonzero(np.isfinite(wrong))
    if finite.size:
        last = finite[-1:]
        codes = encode(fmt, wrong[last])
        wrong[last] = decode(fmt, codes + 1 if wrong[last] == 0 else codes - 1)
    return wrong.reshape(exact.shape)


def without_last(values: Array, axis: int) -> Array:
    """Return the values with the last slice along an axis replaced by its neighbour."""
    changed = np.moveaxis(values.copy(), axis, 0)
    changed[-1] = changed[-2]
    return np.moveaxis(changed, 0, axis)


def differs(one: Array, other: Array) -> bool:
    """Return whether any element is another number: what gives the same numbers is no wrong answer."""
    return not np.array_equal(one, other, equal_nan=True)


def change(wrong: Array, exact: Array) -> float:
    """Return ‖wrong − exact‖₂/‖exact‖₂; infinite where not the same elements are finite."""
    finite = np.isfinite(wrong) & np.isfinite(exact)
    if not np.array_equal(wrong[~finite], exact[~finite], equal_nan=True):
        return np.inf
    size = np.max(np.abs(exact[finite]), initial=0.0)
    if size == 0:
        return np.inf if wrong[finite].any() else 0.0
    moved = wrong[finite] / size - exact[finite] / size  # what is divided first cannot overflow when squared
    return float(np.linalg.norm(moved) / np.linalg.norm(exact[finite] / size))
