"""Numbers at which a conversion to the cell's format decides: `rounding_boundaries`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.formats import FORMATS, decode, encode, round_array
from harness.recipes.special_values import specials
from harness.registry import Argument, Recipe, RecipeContext, register_recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ALL = 1 << 15  # magnitudes of a format of 16 bits, and no fewer
_MOST = 1 << 20  # twelve times as many elements


def _rounding_boundaries(context: RecipeContext, which: str, count: int) -> NDArray[np.float64]:
    """Return numbers of the input's format where the rounding to the cell's format changes, ascending.

    Of each number t of the cell's format, of the midpoint of t and the next one, of Ω + ulp(Ω)/2, from
    which on numbers overflow, of 2Ω and 4Ω, and of the smallest and largest number of the input's format:
    the nearest number of the input's format and its two neighbours there. Both signs; then specials.
    """
    import numpy as np

    if not 1 <= count <= _MOST:
        raise InputError(f"count is {count}; from 1 to {_MOST:,} are allowed")
    source, target = context.format, context.target
    codes = _magnitudes(context, count)
    values = decode(target, codes)
    following = decode(target, np.minimum(codes + codes.dtype.type(1), codes.dtype.type(target.max_code)))
    far = [target.overflow_threshold, 2 * target.max_finite, 4 * target.max_finite]
    ends = [source.min_subnormal, source.max_finite]
    most = FORMATS["float64"].max_finite
    edges = np.array([float(x) for x in (*far, *ends) if x <= most])
    points = np.concatenate([values, values + (following - values) / 2, edges])  # exact below 53 bits
    nearest = round_array(source, points)
    own = encode(source, nearest[np.isfinite(nearest)]).astype(np.uint64)
    one, top = np.uint64(1), np.uint64(source.max_code)
    beside = np.concatenate([own, np.minimum(own + one, top), own - np.minimum(own, one)])
    magnitudes = decode(source, np.unique(beside).astype(f"<u{source.storage_bits // 8}"))
    if source.signed:
        negative = -magnitudes[::-1]
        kept = negative if source.negative_zero else negative[negative != 0]
        magnitudes = np.concatenate([kept, magnitudes])
    return magnitudes if which == "finite" else np.concatenate([magnitudes, specials(source, target)])


def _magnitudes(context: RecipeContext, count: int) -> NDArray[Any]:
    """Return the codes of all non-negative numbers of the cell's format, or its edges and `count` others."""
    import numpy as np

    fmt = context.target
    word = f"<u{fmt.storage_bits // 8}"
    if fmt.max_code < count:
        return np.arange(fmt.max_code + 1, dtype=word)
    hidden = 1 << fmt.mantissa_bits
    one = fmt.bias << fmt.mantissa_bits
    edges = {0, 1, hidden - 1, hidden, one - 1, one, one + 1, fmt.max_code - 1, fmt.max_code}
    drawn = context.stream.bits(count) % np.uint64(fmt.max_code + 1)
    return np.unique(np.concatenate([np.array(sorted(edges), np.uint64), drawn])).astype(word)


register_recipe(
    Recipe(
        name="rounding_boundaries",
        title="Numbers, midpoints and overflow threshold of the cell's format, and what lies beside them",
        arguments={
            "which": Argument(
                "text",
                "finite numbers, or all with ±inf and, where the cell's format holds it, NaN",
                "finite",
                required=False,
                choices=("finite", "all"),
            ),
            "count": Argument(
                "integer",
                "how many numbers of the cell's format are drawn; all where it has no more",
                _ALL,
                required=False,
            ),
        },
        make=_rounding_boundaries,
        elements=lambda arguments: None,
    )
)
