"""The numbers of a format itself: `all_values`, and `edge_values` where arithmetic changes."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from harness.errors import InputError
from harness.formats import NumberFormat, decode
from harness.recipes.special_values import specials
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WIDEST = 16  # bits of a format whose numbers can be listed


def _all_values(context: RecipeContext, which: str) -> NDArray[np.float64]:
    """Return the numbers of all codes, in the order of the codes, and of NaNs one.

    None where the cell's format has none to turn it into.
    """
    import numpy as np

    fmt = context.format
    if fmt.bits > _WIDEST:
        raise InputError(
            f"{fmt.name} has 2^{fmt.bits} codes; formats of at most {_WIDEST} bits are allowed",
            "use edge_values or exponent_uniform for wider ones",
        )
    values = decode(fmt, np.arange(1 << fmt.bits, dtype=f"<u{fmt.storage_bits // 8}"))
    finite = values[np.isfinite(values)]
    return finite if which == "finite" else np.concatenate([finite, specials(fmt, context.target)])


def _edge_values(context: RecipeContext, which: str) -> NDArray[np.float64]:
    """Return each edge and its two neighbours in the format, of both signs, ascending; then specials.

    Edges: 0, smallest subnormal and normal, unit roundoff and twice it, 1, 2^p, √Ω, Ω.
    """
    import numpy as np

    fmt = context.format
    edges = {
        fmt.min_subnormal,
        fmt.min_normal,
        fmt.unit_roundoff,
        2 * fmt.unit_roundoff,
        Fraction(1),
        1 / fmt.unit_roundoff,
        Fraction(2) ** ((fmt.exponent_max + 1) // 2),
        fmt.max_finite,
    }
    inside = [e for e in edges if fmt.min_subnormal <= e <= fmt.max_finite]
    codes = {_code(fmt, float(e)) + step for e in inside for step in (-1, 0, 1)}
    word = f"<u{fmt.storage_bits // 8}"
    magnitudes = decode(fmt, np.array(sorted(c for c in codes if 0 <= c <= fmt.max_code), word))
    values = magnitudes
    if fmt.signed:
        negative = -magnitudes[::-1]
        values = np.concatenate([negative if fmt.negative_zero else negative[negative != 0], magnitudes])
    return values if which == "finite" else np.concatenate([values, specials(fmt, context.target)])


def _code(fmt: NumberFormat, value: float) -> int:
    import numpy as np

    from harness.formats import encode, round_array

    return int(encode(fmt, round_array(fmt, np.array([value])))[0])


for _name, _title, _make in (
    ("all_values", "Every number of a format of at most 16 bits, in the order of its codes", _all_values),
    ("edge_values", "The numbers at and beside the edges of a format", _edge_values),
):
    register_recipe(
        Recipe(
            name=_name,
            title=_title,
            arguments={
                "which": Argument(
                    "text",
                    "finite numbers, or all with ±inf and NaN where the formats have them",
                    "finite",
                    required=False,
                    choices=("finite", "all"),
                )
            },
            make=_make,
            elements=lambda arguments: None,
        )
    )
