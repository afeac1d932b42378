"""Reverse-mode differentiation of what is written in a namespace of array functions.

`Tape(xp)` has the functions of `xp`; those called with a `Node` remember how their result came about, and
`gradients` goes back through it. Nothing is assumed of the arrays but the functions of their namespace
(`harness/backends/namespace.py` lists them), so that one tape serves NumPy's formulations, ball arithmetic
and error analysis: a derivative is rounded, enclosed or bounded as its arithmetic has it. The rules are those
of automatic differentiation as libraries do it; where a maximum is reached several times its gradient is
shared equally, and the derivative of |x| at 0 is 0, as in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

Back = Callable[[Any], Any]
"""From the gradient of a result to that of one argument; its shape is that of the result or the argument."""
Rule = Callable[..., Sequence[Back | None]]
"""(xp, result, arguments, options) → for each argument how its gradient is made (None: there is none)."""


class Node:
    """An array on a tape: its value, and what it was computed from."""

    __array_priority__ = 1000.0
    __array_ufunc__ = None  # NumPy's operators leave it to this class
    __slots__ = ("origins", "tape", "value")

    def __init__(self, tape: Tape, value: Any, origins: Sequence[tuple[Node, Back]] = ()) -> None:
        self.tape = tape
        self.value = value
        self.origins = origins

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return tuple(self.value.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.value.shape)

    @property
    def dtype(self) -> Any:
        """What the value says its dtype is."""
        return self.value.dtype

    def __getitem__(self, index: Any) -> Node:
        xp, like = self.tape.xp, self.value
        return Node(self.tape, like[index], [(self, lambda g: xp.place(g, index, like))])

    def __add__(self, other: Any) -> Any:
        return self.tape.add(self, self.tape.lift(other))

    def __radd__(self, other: Any) -> Any:
        return self.tape.add(self.tape.lift(other), self)

    def __sub__(self, other: Any) -> Any:
        return self.tape.subtract(self, self.tape.lift(other))

    def __rsub__(self, other: Any) -> Any:
        return self.tape.subtract(self.tape.lift(other), self)

    def __mul__(self, other: Any) -> Any:
        return self.tape.multiply(self, self.tape.lift(other))

    def __rmul__(self, other: Any) -> Any:
        return self.tape.multiply(self.tape.lift(other), self)

    def __truediv__(self, other: Any) -> Any:
        return self.tape.divide(self, self.tape.lift(other))

    def __rtruediv__(self, other: Any) -> Any:
        return self.tape.divide(self.tape.lift(other), self)

    def __neg__(self) -> Any:
        return self.tape.negative(self)


class Tape:
    """The functions of a namespace, recording; made anew for each evaluation."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def __getattr__(self, name: str) -> Any:
        """Return the namespace's own attribute, or its function as one that records."""
        found = getattr(self.xp, name)
        if name in _PLAIN or not callable(found):
            return found
        call = self._cast_namespace if name == "cast_namespace" else self._recording(name, found)
        setattr(self, name, call)
        return call

    def variable(self, value: Any) -> Node:
        """Return an array that gradients may be asked for."""
        return Node(self, value)

    def lift(self, value: Any) -> Any:
        """Return a number as the namespace's scalar; arrays and nodes as they are."""
        return self.xp.scalar(value) if type(value) in (int, float) or _is_exact(value) else value

    def gradients(self, output: Node, cotangent: Any, wanted: Sequence[Node]) -> list[Any]:
        """Return the gradients of Σ cotangent·output with respect to `wanted`, in their shapes."""
        total: dict[int, Any] = {id(output): cotangent}
        for node in reversed(_in_order(output)):
            g = total.get(id(node))
            if g is None:
                continue
            for origin, back in node.origins:
                xp = origin.tape.xp
                part = _summed_to(xp, back(g), origin.shape)
                have = total.get(id(origin))
                total[id(origin)] = part if have is None else xp.add(have, part)
        return [self.xp.zeros_like(w.value) if (found := total.get(id(w))) is None else found for w in wanted]

    def _recording(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        xp = self.xp

        def call(*args: Any, **options: Any) -> Any:
            nodes = [a for a in args if isinstance(a, Node)]
            listed = args and isinstance(args[0], (list, tuple)) and any(isinstance(a, Node) for a in args[0])
            if listed:
                return self._joined(name, function, args[0], args[1:], options)
            if not nodes:
                return function(*args, **options)
            values = [a.value if isinstance(a, Node) else a for a in args]
            result = function(*values, **options)
            if name in _CONSTANT:
                return result if name in _LOGIC else Node(self, result)
            rule = RULES.get(name)
            if rule is None:
                raise TypeError(f"the derivative of {name} is not known to the tape")
            backs = rule(xp, result, values, options)
            origins = [(a, b) for a, b in zip(args, backs, strict=False) if isinstance(a, Node) and b]
            tape = self if name != "astype" else Tape(xp.cast_namespace(values[1]))
            return Node(tape, result, origins)

        return call

    def _joined(
        self, name: str, function: Callable[..., Any], parts: Sequence[Any], rest: Any, options: Any
    ) -> Node:
        """Return `concat` or `stack` of arrays of which some are nodes."""
        values = [p.value if isinstance(p, Node) else p for p in parts]
        result = function(values, *rest, **options)
        axis = rest[0] if rest else options.get("axis", 0)
        axis %= len(result.shape)
        origins, start = [], 0
        for part, value in zip(parts, values, strict=True):
            width = 1 if name == "stack" else value.shape[axis]
            index: Any = start if name == "stack" else slice(start, start + width)
            place = (slice(None),) * axis + (index,)
            if isinstance(part, Node):
                origins.append((part, lambda g, place=place: g[place]))
            start += width
        return Node(self, result, origins)

    def _cast_namespace(self, dtype: str) -> Tape:
        return Tape(self.xp.cast_namespace(dtype))


def differentiated(
    build: Callable[..., Callable[[], Any]],
    xp: Any,
    inputs: Sequence[Any],
    positions: Sequence[int],
    cotangent: Any,
) -> Callable[[], Any]:
    """Return a thunk of the gradients of a formulation with respect to the inputs at `positions`.

    Parameters
    ----------
    build
        `build(xp, *inputs)` returns the thunk of the value (of the first output, where there are several).
    xp
        The namespace that it is written in.
    """

    def thunk() -> Any:
        tape = Tape(xp)
        nodes = [tape.variable(value) if place in positions else value for place, value in enumerate(inputs)]
        output = build(tape, *nodes)()
        if isinstance(output, tuple):
            output = output[0]
        if not isinstance(output, Node):
            raise TypeError("the result does not depend on what it is to be differentiated by")
        return tuple(tape.gradients(output, cotangent, [nodes[p] for p in positions]))

    return thunk


def _is_exact(value: Any) -> bool:
    from decimal import Decimal

    return isinstance(value, (Fraction, Decimal))


def _in_order(output: Node) -> list[Node]:
    """Return the nodes that the output came from, each after all that it came from."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(output, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((origin, False) for origin, _ in node.origins)
    return order


def _summed_to(xp: Any, g: Any, shape: tuple[int, ...]) -> Any:
    """Add up what broadcasting repeated, or repeat it: g in `shape`."""
    if tuple(g.shape) == shape:
        return g
    while len(g.shape) > len(shape):
        g = xp.sum(g, axis=0)
    for axis, length in enumerate(shape):
        if length == 1 and g.shape[axis] != 1:
            g = xp.sum(g, axis=axis, keepdims=True)
    return g if tuple(g.shape) == shape else xp.broadcast_to(g, shape)


def _rule(function: Callable[..., Sequence[Back | None]]) -> Rule:
    """Unpack the arguments of a function of numbers: (xp, result, *arguments)."""

    def rule(xp: Any, y: Any, values: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Back | None]:
        return function(xp, y, *values)

    return rule


def _through(factor: Callable[[Any, Any, Any], Any]) -> Rule:
    """Return the rule of a function of one argument whose derivative is factor(xp, y, x)."""
    return _rule(lambda xp, y, x: [lambda g: xp.multiply(g, factor(xp, y, x))])


def _by(divisor: Callable[[Any, Any, Any], Any]) -> Rule:
    """Return the rule of a function of one argument whose derivative is 1/divisor(xp, y, x)."""
    return _rule(lambda xp, y, x: [lambda g: xp.divide(g, divisor(xp, y, x))])


def _one(xp: Any) -> Any:
    return xp.scalar(1)


def _two(xp: Any) -> Any:
    return xp.scalar(2)


def _constant(xp: Any, digits: str) -> Any:
    from decimal import Decimal

    return xp.scalar(Decimal(digits))


LN_2: Final = "0.69314718055994530941723212145817656807550013436025525412068000949339362196969"
LN_10: Final = "2.3025850929940456840179914546843642076011014886287729760333279009675726096773"
TWO_BY_SQRT_PI: Final = "1.1283791670955125738961589031215451716881012586579977136881714434212849368829868"

HALF_SQRT_PI: Final = "0.88622692545275801364908374167057259139877472806119356410690389492645564229551609"
SQRT_2_PI: Final = "2.5066282746310005024157652848110452530069867406099383166299235763422936546078419749"


def _exp_of_minus_square(xp: Any, x: Any) -> Any:
    return xp.exp(xp.negative(xp.square(x)))


def _one_minus_square(xp: Any, x: Any) -> Any:
    return xp.multiply(xp.subtract(_one(xp), x), xp.add(_one(xp), x))


def _selected(xp: Any, condition: Any, g: Any) -> Any:
    return xp.where(condition, g, xp.scalar(0))


def _maximum(xp: Any, y: Any, a: Any, b: Any) -> Sequence[Back]:
    """Share the gradient equally where both are the largest, as torch does."""

    def back(this: Any, other: Any) -> Back:
        def found(g: Any) -> Any:
            alone = _selected(xp, xp.equal(this, y), g)
            return xp.where(xp.equal(this, other), xp.divide(g, _two(xp)), alone)

        return found

    return [back(a, b), back(b, a)]


def _extreme(xp: Any, y: Any, values: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Back]:
    """Share the gradient of `max` or `min` equally among the entries that reach it."""
    x, axis, kept = _reduced(values, options)
    top = y if kept else xp.reshape(y, _kept_shape(x, axis))

    def back(g: Any) -> Any:
        wide = g if kept else xp.reshape(g, _kept_shape(x, axis))
        hit = xp.where(xp.equal(x, top), _one(xp), xp.scalar(0))
        return xp.multiply(hit, xp.divide(wide, xp.sum(hit, axis=axis, keepdims=True)))

    return [back]


def _sum(xp: Any, y: Any, values: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Back]:
    x, axis, kept = _reduced(values, options)
    return [lambda g: xp.broadcast_to(g if kept else xp.reshape(g, _kept_shape(x, axis)), tuple(x.shape))]


def _mean(xp: Any, y: Any, values: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Back]:
    x, axis, kept = _reduced(values, options)
    count = 1
    for place, length in enumerate(x.shape):
        count *= length if axis is None or place == axis % len(x.shape) else 1

    def back(g: Any) -> Any:
        each = xp.divide(g if kept else xp.reshape(g, _kept_shape(x, axis)), xp.scalar(count))
        return xp.broadcast_to(each, tuple(x.shape))

    return [back]


def _reduced(values: Sequence[Any], options: Mapping[str, Any]) -> tuple[Any, int | None, bool]:
    x, *rest = values
    axis = rest[0] if rest else options.get("axis")
    kept = bool(rest[1] if len(rest) > 1 else options.get("keepdims", False))
    return x, axis, kept


def _kept_shape(x: Any, axis: int | None) -> tuple[int, ...]:
    place = None if axis is None else axis % len(x.shape)
    return tuple(1 if place is None or i == place else n for i, n in enumerate(x.shape))


def _shaped(xp: Any, y: Any, values: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Back]:
    return [lambda g: xp.reshape(g, tuple(values[0].shape))]


def _take(xp: Any, y: Any, values: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Back]:
    x, indices = values[0], list(values[1])
    axis = (values[2] if len(values) > 2 else options.get("axis", 0)) % len(x.shape)
    if len(set(indices)) != len(indices):
        raise TypeError("the derivative of take is known to the tape for different indices only")
    return [lambda g: xp.place(g, (slice(None),) * axis + (indices,), x)]


def _matmul(xp: Any, y: Any, a: Any, b: Any) -> Sequence[Back]:
    if min(len(a.shape), len(b.shape)) < 2:
        raise TypeError("the derivative of matmul is known to the tape for matrices only")
    return [
        lambda g: xp.matmul(g, xp.transpose(b)),
        lambda g: xp.matmul(xp.transpose(a), g),
    ]


def _astype(xp: Any, y: Any, values: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Back | None]:
    wide = xp.cast_namespace(values[1])
    return [lambda g: wide.astype(g, xp.dtype.name), None]


RULES: Final[Mapping[str, Rule]] = {
    "add": _rule(lambda xp, y, a, b: [lambda g: g, lambda g: g]),
    "subtract": _rule(lambda xp, y, a, b: [lambda g: g, lambda g: xp.negative(g)]),
    "multiply": _rule(lambda xp, y, a, b: [lambda g: xp.multiply(g, b), lambda g: xp.multiply(g, a)]),
    "divide": _rule(
        lambda xp, y, a, b: [
            lambda g: xp.divide(g, b),
            lambda g: xp.negative(xp.multiply(g, xp.divide(y, b))),
        ]
    ),
    "negative": _rule(lambda xp, y, x: [lambda g: xp.negative(g)]),
    "abs": _through(lambda xp, y, x: xp.sign(x)),
    "square": _through(lambda xp, y, x: xp.multiply(_two(xp), x)),
    "sqrt": _by(lambda xp, y, x: xp.multiply(_two(xp), y)),
    "exp": _through(lambda xp, y, x: y),
    "exp2": _through(lambda xp, y, x: xp.multiply(y, _constant(xp, LN_2))),
    "expm1": _through(lambda xp, y, x: xp.add(y, _one(xp))),
    "log": _by(lambda xp, y, x: x),
    "log2": _by(lambda xp, y, x: xp.multiply(x, _constant(xp, LN_2))),
    "log10": _by(lambda xp, y, x: xp.multiply(x, _constant(xp, LN_10))),
    "log1p": _by(lambda xp, y, x: xp.add(x, _one(xp))),
    "cbrt": _by(lambda xp, y, x: xp.multiply(xp.scalar(3), xp.square(y))),
    "sin": _through(lambda xp, y, x: xp.cos(x)),
    "cos": _through(lambda xp, y, x: xp.negative(xp.sin(x))),
    "tan": _through(lambda xp, y, x: xp.add(_one(xp), xp.square(y))),
    "asin": _by(lambda xp, y, x: xp.sqrt(_one_minus_square(xp, x))),
    "acos": _by(lambda xp, y, x: xp.negative(xp.sqrt(_one_minus_square(xp, x)))),
    "atan": _by(lambda xp, y, x: xp.add(_one(xp), xp.square(x))),
    "sinh": _through(lambda xp, y, x: xp.cosh(x)),
    "cosh": _through(lambda xp, y, x: xp.sinh(x)),
    "tanh": _through(lambda xp, y, x: _one_minus_square(xp, y)),
    "erf": _through(lambda xp, y, x: xp.multiply(_constant(xp, TWO_BY_SQRT_PI), _exp_of_minus_square(xp, x))),
    "erfc": _through(
        lambda xp, y, x: xp.negative(xp.multiply(_constant(xp, TWO_BY_SQRT_PI), _exp_of_minus_square(xp, x)))
    ),
    "erfcx": _through(
        lambda xp, y, x: xp.subtract(xp.multiply(_two(xp), xp.multiply(x, y)), _constant(xp, TWO_BY_SQRT_PI))
    ),
    "erfinv": _through(lambda xp, y, x: xp.multiply(_constant(xp, HALF_SQRT_PI), xp.exp(xp.square(y)))),
    "ndtri": _through(
        lambda xp, y, x: xp.multiply(_constant(xp, SQRT_2_PI), xp.exp(xp.divide(xp.square(y), _two(xp))))
    ),
    "lgamma": _through(lambda xp, y, x: xp.digamma(x)),
    "maximum": _rule(_maximum),
    "minimum": _rule(_maximum),
    "where": _rule(
        lambda xp, y, c, a, b: [
            None,
            lambda g: _selected(xp, c, g),
            lambda g: xp.where(c, xp.scalar(0), g),
        ]
    ),
    "sum": _sum,
    "mean": _mean,
    "max": _extreme,
    "min": _extreme,
    "reshape": _shaped,
    "broadcast_to": lambda xp, y, values, options: [lambda g: g],
    "transpose": _rule(lambda xp, y, x: [lambda g: xp.transpose(g)]),
    "copy": _rule(lambda xp, y, x: [lambda g: g]),
    "arrange": _rule(lambda xp, y, x, order: [lambda g: g, None]),
    "take": _take,
    "matmul": _rule(_matmul),
    "astype": _astype,
}
"""How a gradient goes back through each function."""

_LOGIC: Final = frozenset(
    {"equal", "less", "greater", "logical_and", "logical_or", "logical_not"}
    | {"isfinite", "isinf", "isnan", "any", "all"}
)
_CONSTANT: Final = _LOGIC | {"sign", "detach", "zeros_like", "floor"}
"""Functions that no gradient flows through."""
_PLAIN: Final = frozenset({"scalar", "zeros", "full", "eye"})
"""Functions that take no arrays."""
