"""±inf and NaN, as far as formats have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.formats import NumberFormat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def specials(source: NumberFormat, target: NumberFormat) -> NDArray[np.float64]:
    """Return ±inf and NaN of a format, NaN only where the other format can hold one."""
    import numpy as np

    infinities = [-np.inf, np.inf] if source.infinities else []
    return np.array(infinities + ([np.nan] if source.nans and target.nans else []), np.float64)
