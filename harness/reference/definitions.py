"""Certified values and gradients of a definition that is written once, in the notation of arrays.

A definition is a function `(xp, *inputs, **parameters)` of arrays, with the functions of formulations and
the operators + − × ÷; it returns an array, or a tuple of them. Here it is evaluated in exact arithmetic
(`extended_reals`) and, on a tape, differentiated in it: the gradient is exact where the value is, and
enclosed where it is. The precision of balls is doubled until every radius holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb, ctx, fmpq
from numpy.typing import NDArray

from harness.reference.certify import CAP_BITS, START_BITS, holds
from harness.reference.elements import FINITE, NAN, NEG_INF, POS_INF, UNDECIDED, ZERO, ReferenceArray
from harness.reference.exact_namespace import ExactNamespace, Leaf
from harness.reference.extended_reals import Objects, UndecidedError
from harness.tape import Node, Tape

if TYPE_CHECKING:
    from harness.formats import NumberFormat

Floats = NDArray[np.float64]
Definition = Callable[..., Any]


def certified_values(
    definition: Definition,
    inputs: Sequence[Floats],
    parameters: Mapping[str, Any],
    fmt: NumberFormat,
) -> list[ReferenceArray]:
    """Return the outputs of a definition, certified.

    Parameters
    ----------
    inputs : float64 arrays, exact.
    parameters : by name, exact.
    fmt : the format of the outputs, whose last place decides when a radius is small enough.
    """
    exact = [Leaf(x) for x in inputs]

    def evaluate() -> list[Objects]:
        tape = Tape(ExactNamespace())
        return _values(definition(tape, *map(tape.variable, exact), **parameters))

    return _certified(evaluate, fmt)


def certified_gradients(
    definition: Definition,
    inputs: Sequence[Floats],
    parameters: Mapping[str, Any],
    cotangent: Floats,
    wanted: Sequence[int],
    fmt: NumberFormat,
) -> list[ReferenceArray]:
    """Return the gradients of Σ cotangent·y for the inputs at the positions `wanted`, y the first output.

    The cotangent of a scalar may be a list of one number; ValueError for any other shape than the output's.
    """
    exact = [Leaf(x) for x in inputs]

    def evaluate() -> list[Objects]:
        tape = Tape(ExactNamespace())
        nodes = [tape.variable(x) for x in exact]
        output = definition(tape, *nodes, **parameters)
        first = output[0] if isinstance(output, tuple) else output
        if cotangent.shape != first.shape and (first.shape or cotangent.shape != (1,)):
            raise ValueError(f"it has shape {list(cotangent.shape)}, the output {list(first.shape)}")
        g = Leaf(np.reshape(cotangent, first.shape)).objects
        return _values(tuple(tape.gradients(first, g, [nodes[place] for place in wanted])))

    return _certified(evaluate, fmt)


def _values(found: Any) -> list[Objects]:
    parts = found if isinstance(found, tuple) else (found,)
    values = [part.value if isinstance(part, Node) else part for part in parts]
    return [value.objects if isinstance(value, Leaf) else np.asarray(value, object) for value in values]


def _certified(evaluate: Callable[[], list[Objects]], fmt: NumberFormat) -> list[ReferenceArray]:
    bits = START_BITS
    while True:
        last = bits >= CAP_BITS
        try:
            with ctx.workprec(bits):
                found = [_elements(part) for part in evaluate()]
        except UndecidedError:
            if last:
                raise
        else:
            wide = [~holds(part, fmt) for part in found]
            if not any(part.any() for part in wide):
                return found
            if last:
                for part, where in zip(found, wide, strict=True):
                    part.kind[where] = UNDECIDED
                return found
        bits = min(2 * bits, CAP_BITS)


def _elements(objects: Objects) -> ReferenceArray:
    """Return elements of exact arithmetic as a reference: rationals exactly, balls enclosed."""
    flat = objects.reshape(-1)
    kinds = np.empty(flat.size, np.uint8)
    rationals: list[Fraction] = []
    balls: list[arb] = []
    exact, enclosed = [], []
    for place, x in enumerate(flat.tolist()):
        kinds[place] = FINITE
        if type(x) is fmpq:
            if x == 0:
                kinds[place] = ZERO
            else:
                rationals.append(Fraction(int(x.p), int(x.q)))
                exact.append(place)
        elif type(x) is arb:
            balls.append(x)
            enclosed.append(place)
        else:
            kinds[place] = NAN if x != x else (POS_INF if x > 0 else NEG_INF)
    whole = ReferenceArray.from_kinds(np.where(kinds == FINITE, UNDECIDED, kinds))
    if exact:
        whole.assign(np.array(exact), ReferenceArray.from_fractions(rationals, (len(rationals),)))
    if enclosed:
        whole.assign(np.array(enclosed), ReferenceArray.from_balls(balls, (len(balls),)))
    return whole.reshape(objects.shape)
