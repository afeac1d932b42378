"""Random numbers from raw generator bits, the same on every machine and with every NumPy.

The generator is Philox4x64-10 (Salmon, Moraes, Dror, Shaw, SC11, 2011), keyed by SHA-256 of seed, case
and input; of NumPy it takes the raw 64-bit words only, whose sequence its algorithm fixes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LN2_HIGH = 0.6931471805598903  # the first 42 bits of ln 2, so that e·high is exact for |e| < 2^11
_LN2_LOW = 5.497923018708371e-14  # ln 2 − high, to 53 bits
_SQRT_HALF = 0.7071067811865476
_ATANH_TERMS = 12  # z² ≤ 0.0295: the first term left out is below 2^−65 of the sum


class RandomStream:
    """The random numbers of one input of one case; each call goes on where the last one stopped."""

    def __init__(self, seed: int, case: str, name: str) -> None:
        import numpy as np

        digest = hashlib.sha256(f"{seed}\0{case}\0{name}".encode()).digest()
        key = np.array([int.from_bytes(digest[i : i + 8], "little") for i in (0, 8)], np.uint64)
        self._generator = np.random.Philox(key=key)

    def bits(self, count: int) -> NDArray[np.uint64]:
        """Return `count` words of 64 random bits."""
        import numpy as np

        return np.asarray(self._generator.random_raw(count), np.uint64)

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Return `count` multiples of 2^−53 in [0, 1), all equally likely: the top 53 bits of a word."""
        import numpy as np

        top = (self.bits(count) >> np.uint64(11)).astype(np.float64)
        return np.ldexp(top, -53)

    def integers(self, count: int, stop: int) -> NDArray[np.int64]:
        """Return `count` integers in [0, stop), stop ≤ 2^31, equally likely to 2^−22."""
        import numpy as np

        return np.floor(self.uniform(count) * stop).astype(np.int64)

    def signs(self, count: int) -> NDArray[np.float64]:
        """Return `count` times −1.0 or 1.0."""
        import numpy as np

        return np.where(self.bits(count) >> np.uint64(63) == 1, -1.0, 1.0)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """Return the integers below `count` in random order: that of random words."""
        import numpy as np

        return np.argsort(self.bits(count), kind="stable").astype(np.int64)

    def normal(self, count: int) -> NDArray[np.float64]:
        """Return `count` standard normal numbers, by the polar method of Marsaglia and Bray (1964).

        Of a point uniform in the unit disc, v·√(−2 ln s / s) with s its squared radius; both its
        coordinates are used. Within 4 ulp of that formula at the s computed; |x| < 12.1.
        """
        import numpy as np

        pieces: list[NDArray[np.float64]] = []
        missing = count
        while missing > 0:
            points = 2 * self.uniform(2 * (missing // 2 + missing // 6 + 8)).reshape(-1, 2) - 1
            s = points[:, 0] * points[:, 0] + points[:, 1] * points[:, 1]
            inside = (s < 1) & (s > 0)
            radius = s[inside]
            factor = np.sqrt(-2 * natural_logarithm(radius) / radius)
            pieces.append((points[inside] * factor[:, None]).reshape(-1))
            missing -= pieces[-1].size
        return np.concatenate(pieces)[:count] if pieces else np.empty(0)


def natural_logarithm(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ln x of positive normal numbers, within 3 ulp, by + − × ÷ alone and so the same everywhere.

    x = m·2^e with m in [√½, √2); ln m = 2·artanh((m − 1)/(m + 1)), by its series.
    """
    import numpy as np

    m, e = np.frexp(x)
    small = m < _SQRT_HALF
    m = np.where(small, 2 * m, m)
    e = np.where(small, e - 1, e).astype(np.float64)
    z = (m - 1) / (m + 1)
    square = z * z
    series = np.zeros_like(z)
    for k in range(_ATANH_TERMS, 0, -1):
        series = (series + 1 / (2 * k + 1)) * square
    tail = 2 * z * series
    logarithm: NDArray[np.float64] = e * _LN2_HIGH + (2 * z + (tail + e * _LN2_LOW))
    return logarithm
