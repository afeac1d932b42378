"""The outcome of an output: what became of its worst element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.model import ELEMENT_OUTCOMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.metrics.judgement import Judgement


def element_outcomes(j: Judgement) -> NDArray[np.int8]:
    """Return, for each element, the index of its outcome in `ELEMENT_OUTCOMES` (0 is the worst).

    An element is `ok` if its class is that of the correctly rounded exact result or its error is
    within the bound; an undecided one is `ok` here and counted elsewhere. Where an operation tells −0
    from +0, the other zero is `wrong_class`: no error and no bound can tell them apart.
    """
    import numpy as np

    from harness.reference.elements import ElementClass

    code = {name: index for index, name in enumerate(ELEMENT_OUTCOMES)}
    fmt = j.precision.format
    computed, kind = j.computed, j.reference.kind
    exact_nan = kind == ElementClass.NAN
    exact_infinite = (kind == ElementClass.POS_INF) | (kind == ElementClass.NEG_INF)
    nonzero = kind == ElementClass.FINITE
    is_nan, is_inf, is_zero = np.isnan(computed), np.isinf(computed), computed == 0
    is_finite = ~(is_nan | is_inf)
    rounds_to_finite = np.isfinite(j.rounded)
    largest, min_normal = float(fmt.max_finite), float(fmt.min_normal)

    result = np.full(computed.shape, code["ok"], dtype=np.int8)
    wrong: list[tuple[str, NDArray[np.bool_]]] = [
        ("underflow", is_zero & nonzero & (np.abs(j.rounded) < min_normal) & (j.rounded != 0)),
        ("zeroed", is_zero & nonzero & (np.abs(j.rounded) >= min_normal)),
        ("wrong_class", is_finite & (exact_infinite | exact_nan)),
        ("wrong_class", is_inf & (exact_infinite | exact_nan)),
        ("wrong_class", is_finite & j.exact_finite & ~rounds_to_finite),
        ("saturated", is_finite & j.exact_finite & ~rounds_to_finite & (np.abs(computed) == largest)),
        ("overflow", is_inf & j.exact_finite),
        ("not_a_number", is_nan & ~exact_nan),
    ]
    for name, where in wrong:  # the worse is written later
        result[where] = code[name]
    result[j.within_bound | j.same_class | ~j.decided] = code["ok"]
    if j.operation.signed_zero:
        other_zero = is_zero & (j.rounded == 0) & (np.signbit(computed) != np.signbit(j.rounded))
        result[other_zero & j.decided] = code["wrong_class"]
    return result


def outcome(j: Judgement) -> str:
    """Return the outcome of the worst element; `ok` for an output without elements."""
    codes = element_outcomes(j)
    return "ok" if codes.size == 0 else ELEMENT_OUTCOMES[int(codes.min())]
