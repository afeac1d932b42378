"""One output against its certified reference: what every metric is computed from.

Errors are kept as log₂ of their size, because neither exp(1000) nor half of the smallest subnormal
fits a float64; ratios of two such numbers usually do, and are infinite where they do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import ReferenceArray
    from harness.registry import ExactProblem, Operation


@dataclass(frozen=True)
class Judgement:
    """What a metric may look at. Arrays have the output's shape and float64 holds them exactly."""

    operation: Operation
    problem: ExactProblem
    output: str
    reference: ReferenceArray
    quantities: Mapping[str, Any]
    computed: NDArray[np.float64]
    precision: Precision
    bound_log2: NDArray[np.float64] | None
    """log₂ of the error allowed to each element; None where the operation's judge gives the ratio."""
    own: Mapping[str, float]
    """Metrics that the operation's own judge gave for this output."""
    coverage: float = 1.0
    data_error: float | None = None
    published: tuple[tuple[Fraction, ...], int] | None = None
    """Published values in the order of the elements, and the digits to which they are printed."""
    result_digest: str | None = None

    @cached_property
    def decided(self) -> NDArray[np.bool_]:
        """Elements whose exact value is known well enough to be judged by."""
        from harness.reference.elements import ElementClass

        decided: NDArray[np.bool_] = self.reference.kind != ElementClass.UNDECIDED
        return decided

    @cached_property
    def exact_finite(self) -> NDArray[np.bool_]:
        """Elements whose exact value is a finite number, zero included."""
        from harness.reference.elements import ElementClass

        kind = self.reference.kind
        finite: NDArray[np.bool_] = (kind == ElementClass.FINITE) | (kind == ElementClass.ZERO)
        return finite

    @cached_property
    def rounded(self) -> NDArray[np.float64]:
        """The exact values, each rounded once to the output's format."""
        return self.reference.round_to(self.precision.format)

    @cached_property
    def same_class(self) -> NDArray[np.bool_]:
        """Elements that are NaN, or an infinity, exactly where the correctly rounded result is."""
        import numpy as np

        both_nan = np.isnan(self.computed) & np.isnan(self.rounded)
        infinite = np.isinf(self.computed)
        same: NDArray[np.bool_] = both_nan | (infinite & (self.computed == self.rounded))
        return same

    @cached_property
    def both_finite(self) -> NDArray[np.bool_]:
        """Elements that have an error: finite as computed and finite exactly."""
        import numpy as np

        return self.exact_finite & np.isfinite(self.computed)

    @cached_property
    def comparable(self) -> bool:
        """Whether every decided element has an error, or is non-finite where it should be.

        Otherwise no error metric is given at all: a maximum over the elements that happen to be
        finite would speak of another denominator than its neighbour's.
        """
        return bool((self.both_finite | self.same_class | ~self.decided).all())

    @cached_property
    def error_log2(self) -> NDArray[np.float64]:
        """log₂|ŷ − y|; −inf where there is no error, and where both are the same non-number."""
        import numpy as np

        return np.where(self.both_finite, self.reference.error_log2(self.computed), -np.inf)

    @cached_property
    def value_log2(self) -> NDArray[np.float64]:
        """log₂|y| of the exact values; −inf at zero."""
        return self.reference.log2_abs()

    @cached_property
    def ulp_log2(self) -> NDArray[np.float64]:
        """log₂ of the unit in the last place at each exact value, in the output's format."""
        return self.reference.ulp_exponent(self.precision.format).astype(float)

    @cached_property
    def ulp(self) -> NDArray[np.float64]:
        """|ŷ − y| in units in the last place of y, real-valued; inf beyond float64's range."""
        ulp: NDArray[np.float64] = exp2(self.error_log2 - self.ulp_log2)
        return ulp

    @cached_property
    def signed_ulp(self) -> NDArray[np.float64]:
        """ŷ − y in units in the last place of y, with its sign; 0 where there is no error to speak of."""
        import numpy as np

        signed = self.reference.difference_ulp(self.computed, self.precision.format)
        return np.where(self.both_finite, signed, 0.0)

    @cached_property
    def within_bound(self) -> NDArray[np.bool_]:
        """Elements whose error a finite bound allows (all or none where the judge gave one ratio)."""
        import numpy as np

        if self.bound_log2 is not None:
            bound = np.broadcast_to(self.bound_log2, self.computed.shape)
            return self.both_finite & (self.error_log2 <= bound) & (bound < np.inf)
        ratio = self.own.get("bound_ratio")
        return self.both_finite & (ratio is not None and ratio <= 1)

    @cached_property
    def bound_ratio(self) -> float | None:
        """The worst error / bound; None where elements are not comparable, and where nothing is promised."""
        import numpy as np

        if not self.comparable:
            return None
        if self.bound_log2 is None:
            return self.own.get("bound_ratio")
        judged = np.broadcast_to(self.bound_log2, self.computed.shape)[self.both_finite & self.decided]
        if judged.size and np.isposinf(judged).all():
            return None
        return float(exp2(self._excess_log2(self.bound_log2)[self.decided].max(initial=-np.inf)))

    def _excess_log2(self, unit_log2: NDArray[np.float64]) -> NDArray[np.float64]:
        """log₂ of the error in units; −inf where there is no error, be the unit 0."""
        import numpy as np

        none = np.isneginf(self.error_log2)
        return np.where(none, -np.inf, np.where(none, 0.0, self.error_log2) - unit_log2)

    @cached_property
    def worst(self) -> int | None:
        """The flat index of the worst element: a wrong class first, then the largest error."""
        import numpy as np

        from harness.metrics.outcome import element_outcomes

        if self.computed.size == 0:
            return None
        codes = element_outcomes(self)
        error = self._excess_log2(self.ulp_log2 if self.bound_log2 is None else self.bound_log2)
        at = (codes == codes.min()) & self.decided
        if not at.any():
            return None
        return int(np.argmax(np.where(at, np.maximum(error, np.finfo(np.float64).min), -np.inf)))


def exp2(x: Any) -> Any:
    """2**x without a warning where it is beyond float64's range."""
    import numpy as np

    with np.errstate(over="ignore", under="ignore"):
        return np.exp2(x)
