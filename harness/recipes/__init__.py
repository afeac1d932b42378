"""Recipes make the inputs of cases, bit for bit the same on every machine.

One file holds one recipe or a few near relatives. What they share is here: `make_inputs` runs the
recipes of a problem and rounds each result once to the storage format, `inputs_digest` names the
result. A recipe uses raw generator bits (`stream`), exact integers and rationals, and elementwise
+ − × ÷ √ of float64 in a fixed order; no BLAS, no reduction whose order may vary, no libm.
"""

from __future__ import annotations

from harness.recipes.arguments import check_arguments
from harness.recipes.inputs import inputs_digest, make_inputs
from harness.recipes.stream import RandomStream

__all__ = ["RandomStream", "check_arguments", "inputs_digest", "make_inputs"]
