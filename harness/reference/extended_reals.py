"""Exact arithmetic on arrays of objects: rationals while they last, balls beyond, extended reals throughout.

An element is one of

    fmpq    a rational number, exact; inputs and decimals begin as such, and + − × ÷ keep to it, so that a sum
            that cancels to 0 is 0
    arb     a ball, at the precision set in flint's context: what a transcendental function gives, but for the
            values that are rational by structure (exp 0, log 1, √ of a square), and rationals that have grown
            beyond `LARGEST` bits
    float   +inf, −inf or nan: what is no real number, with the limits and the indeterminate forms of
            IEEE 754-2019 (chapter 9.2); zeros have no sign, and a division by 0 is undefined

A ball without bounds is what is not known at this precision, and may be at a higher one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np
from flint import arb, fmpq
from numpy.typing import NDArray

Objects = NDArray[np.object_]
Element = Any
"""fmpq, arb, or a float that is not finite."""

LARGEST: Final = 1 << 15
"""Bits of a numerator or denominator beyond which a rational becomes a ball: 15 products of 1000 float64."""
ZERO: Final = fmpq(0)
ONE: Final = fmpq(1)
NAN: Final = math.nan
INF: Final = math.inf


def element(number: Any) -> Element:
    """Return a number of Python's as an element: exactly."""
    if isinstance(number, (fmpq, arb)):
        return number
    if isinstance(number, int):
        return fmpq(number)
    if isinstance(number, float) and not math.isfinite(number):
        return number
    if isinstance(number, Decimal) and not number.is_finite():
        return float(number)
    exact = Fraction(number)
    return fmpq(exact.numerator, exact.denominator)


def elements(values: Any) -> Objects:
    """Return float64 `values` as elements, in their shape."""
    values = np.asarray(values, np.float64)
    found = np.empty(values.size, object)
    found[:] = [fmpq(*v.as_integer_ratio()) if math.isfinite(v) else v for v in values.reshape(-1).tolist()]
    return found.reshape(values.shape)


def ball(x: Element) -> arb:
    """Return a real element as a ball."""
    return x if type(x) is arb else arb(x)


def _kept(x: fmpq) -> Element:
    return x if x.height_bits() <= LARGEST else arb(x)


def add(a: Element, b: Element) -> Element:
    """Return a + b."""
    if type(a) is float or type(b) is float:
        if type(a) is type(b):
            return a + b
        special, real = (a, b) if type(a) is float else (b, a)
        return special if math.isnan(special) or _bounded(real) else arb.nan()
    if type(a) is fmpq and type(b) is fmpq:
        return _kept(a + b)
    return ball(a) + ball(b)


def subtract(a: Element, b: Element) -> Element:
    """Return a − b."""
    return add(a, _negative(b))


def _negative(a: Element) -> Element:
    return -a


def multiply(a: Element, b: Element) -> Element:
    """Return a·b; an exact 0 times a ball is 0."""
    if type(a) is float or type(b) is float:
        if type(a) is type(b):
            return a * b
        return _by_sign(a, b) if type(a) is float else _by_sign(b, a)
    if type(a) is fmpq and type(b) is fmpq:
        return _kept(a * b)
    if (type(a) is fmpq and a == 0) or (type(b) is fmpq and b == 0):
        return ZERO
    return ball(a) * ball(b)


def divide(a: Element, b: Element) -> Element:
    """Return a/b; undefined where b is 0."""
    if type(a) is float or type(b) is float:
        if type(a) is float:
            return NAN if type(b) is float else _by_sign(a, b)
        if math.isnan(b):
            return NAN
        return ZERO if _bounded(a) else arb.nan()
    if type(b) is fmpq:
        if b == 0:
            return NAN
        if type(a) is fmpq:
            return _kept(a / b)
    if type(a) is fmpq and a == 0:
        return ZERO
    return ball(a) / ball(b)


def _bounded(x: Element) -> bool:
    """Return whether it is known that a real element is no infinity."""
    return type(x) is fmpq or bool(x.is_finite())


def _by_sign(special: float, x: Element) -> Element:
    """Return an infinity, or NaN, times or over a real element; not known while a ball holds 0 and more."""
    if math.isnan(special):
        return NAN
    sign = _sign(x)
    return arb.nan() if math.isnan(sign) else special * sign


def _sign(x: Element) -> float:
    """Return −1, 0 or 1; NaN for NaN and for a ball that holds 0 and more."""
    if type(x) is float:
        return math.copysign(1.0, x) if not math.isnan(x) else NAN
    if x > 0:
        return 1.0
    if x < 0:
        return -1.0
    return 0.0 if type(x) is fmpq or x.is_zero() else NAN


def _absolute(x: Element) -> Element:
    return abs(x)


def _signum(x: Element) -> Element:
    found = _sign(x)
    if math.isnan(found):
        return NAN if type(x) is float else arb.nan()
    return fmpq(int(found))


def _sqrt(x: Element) -> Element:
    if type(x) is float:
        return x if x > 0 else NAN
    if type(x) is fmpq:
        if x < 0:
            return NAN
        p, q = math.isqrt(int(x.p)), math.isqrt(int(x.q))
        if fmpq(p * p, q * q) == x:
            return fmpq(p, q)
    elif x < 0:
        return NAN
    return ball(x).sqrt()


def _function(
    name: str,
    *,
    exact: dict[int, Element] | None = None,
    low: Element = NAN,
    high: Element = NAN,
    domain: tuple[Any, Any] = (None, None),
    compute: Callable[[arb], arb] | None = None,
) -> Callable[[Element], Element]:
    """Return a function of one element.

    Parameters
    ----------
    name : of arb's method, unless `compute` is given.
    exact : rational arguments with a value that is no ball, by argument.
    low, high : the limits at −inf and +inf.
    domain : the ends outside which it is undefined (NaN); None: no end.
    """
    known = {fmpq(k): v for k, v in (exact or {}).items()}
    least, most = domain

    def call(x: Element) -> Element:
        if type(x) is float:
            return NAN if math.isnan(x) else (high if x > 0 else low)
        if type(x) is fmpq and known and (found := known.get(x)) is not None:
            return found
        if (least is not None and x < least) or (most is not None and x > most):
            return NAN
        value = ball(x)
        return compute(value) if compute is not None else getattr(value, name)()

    return call


def _cbrt(x: Element) -> Element:
    if type(x) is float:
        return x
    if type(x) is fmpq:
        p, q = (_integer_root(abs(int(n))) for n in (x.p, x.q))
        if fmpq(p**3, q**3) == abs(x):
            return fmpq(p if x > 0 else -p, q)
    sign = _sign(x)
    return arb.nan() if math.isnan(sign) else int(sign) * ball(abs(x)).root(3)


def _integer_root(n: int) -> int:
    """Return ⌊∛n⌋."""
    if n < 2:
        return n
    x = 1 << -(-n.bit_length() // 3)
    while (y := (2 * x + n // (x * x)) // 3) < x:
        x = y
    return x


def _exp2(x: Element) -> Element:
    if type(x) is float:
        return NAN if math.isnan(x) else (INF if x > 0 else ZERO)
    if type(x) is fmpq and x.q == 1 and abs(x) <= LARGEST:
        n = int(x.p)
        return fmpq(1 << n) if n >= 0 else fmpq(1, 1 << -n)
    return (ball(x) * arb(2).log()).exp()


def _logarithm(base: int) -> Callable[[Element], Element]:
    """Return log_base, exact at the powers of the base."""

    def call(x: Element) -> Element:
        if type(x) is fmpq and x > 0 and 1 in (x.p, x.q):
            power = _power(int(x.p) if x.q == 1 else int(x.q), base)
            if power is not None:
                return fmpq(power if x.q == 1 else -power)
        found = _log(x)
        return found / arb(base).log() if type(found) is arb else found

    return call


def _power(n: int, base: int) -> int | None:
    """Return k where n = base**k, or None."""
    if base == 2:
        return n.bit_length() - 1 if n & (n - 1) == 0 else None
    power = 0
    while n % base == 0:
        n //= base
        power += 1
    return power if n == 1 else None


def _scaled_tail(x: arb) -> arb:
    """Return e^(x²)·erfc x: far off as U(½, ½, x²)/√π (NIST DLMF 7.11.5), where nothing underflows."""
    if x > 30:
        half = arb(1) / 2
        found: arb = (x * x).hypgeom_u(half, half) / arb.pi().sqrt()
        return found
    return (x * x).exp() * x.erfc()


_QUANTILES: Final = {ZERO: -INF, fmpq(1, 2): ZERO, ONE: INF}


def _ndtri(x: Element) -> Element:
    """Return the quantile of the standard normal distribution, −√2·erfc⁻¹(2x)."""
    if type(x) is float or x < 0 or x > 1:
        return NAN
    if type(x) is fmpq and x in _QUANTILES:
        return _QUANTILES[x]
    return -arb(2).sqrt() * ball(2 * x).erfcinv()


_log = _function("log", exact={0: -INF, 1: ZERO}, high=INF, domain=(0, None))
_at_zero = {0: ZERO}

FUNCTIONS: Final[dict[str, Callable[[Element], Element]]] = {
    "negative": _negative,
    "abs": _absolute,
    "square": lambda x: multiply(x, x),
    "sign": _signum,
    "sqrt": _sqrt,
    "cbrt": _cbrt,
    "exp": _function("exp", exact={0: ONE}, low=ZERO, high=INF),
    "exp2": _exp2,
    "expm1": _function("expm1", exact=_at_zero, low=fmpq(-1), high=INF),
    "log": _log,
    "log1p": _function("log1p", exact={-1: -INF, 0: ZERO}, high=INF, domain=(-1, None)),
    "log2": _logarithm(2),
    "log10": _logarithm(10),
    "sin": _function("sin", exact=_at_zero),
    "cos": _function("cos", exact={0: ONE}),
    "tan": _function("tan", exact=_at_zero),
    "asin": _function("asin", exact=_at_zero, domain=(-1, 1)),
    "acos": _function("acos", exact={1: ZERO}, domain=(-1, 1)),
    "atan": _function("atan", exact=_at_zero),
    "sinh": _function("sinh", exact=_at_zero, low=-INF, high=INF),
    "cosh": _function("cosh", exact={0: ONE}, low=INF, high=INF),
    "tanh": _function("tanh", exact=_at_zero, low=fmpq(-1), high=ONE),
    "erf": _function("erf", exact=_at_zero, low=fmpq(-1), high=ONE),
    "erfc": _function("erfc", exact={0: ONE}, low=fmpq(2), high=ZERO),
    "erfcx": _function("erfcx", exact={0: ONE}, low=INF, high=ZERO, compute=_scaled_tail),
    "erfinv": _function("erfinv", exact={-1: -INF, 0: ZERO, 1: INF}, domain=(-1, 1)),
    "ndtri": _ndtri,
    "lgamma": _function("lgamma", exact={0: INF, 1: ZERO, 2: ZERO}, high=INF, domain=(0, None)),
    "digamma": _function("digamma", exact={0: NAN}, high=INF, domain=(0, None)),
    "floor": lambda x: x if type(x) is float else fmpq(math.floor(Fraction(int(x.p), int(x.q)))),
}
"""Functions of one element. atan at ±inf is ±π/2, below; sin, cos and tan have no limits there.

lgamma and digamma are those of x ≥ 0.
"""


def _atan(x: Element) -> Element:
    if type(x) is float:
        return NAN if math.isnan(x) else math.copysign(1, x) * arb.pi() / 2
    return ZERO if type(x) is fmpq and x == 0 else ball(x).atan()


FUNCTIONS["atan"] = _atan


class UndecidedError(ArithmeticError):
    """A comparison of balls that overlap: it has no answer at this precision."""


def less(a: Element, b: Element) -> bool:
    """Return whether a < b; never with NaN."""
    if type(a) is float or type(b) is float:
        left, right = (x if type(x) is float else 0.0 for x in (a, b))
        return left < right
    if a < b:
        return True
    if a >= b:
        return False
    raise UndecidedError("two numbers are too close to be compared at this precision")


def equal(a: Element, b: Element) -> bool:
    """Return whether a = b; never with NaN."""
    if type(a) is float or type(b) is float:
        return type(a) is float and type(b) is float and a == b
    if type(a) is fmpq and type(b) is fmpq:
        return bool(a == b)
    if a is b:
        return True
    if ball(a) != ball(b):
        return False
    if ball(a) == ball(b):
        return True
    raise UndecidedError("two numbers are too close to be told apart at this precision")


def is_nan(x: Element) -> bool:
    """Return whether an element is undefined."""
    return type(x) is float and math.isnan(x)


def larger(a: Element, b: Element) -> Element:
    """Return the larger of two; NaN wins."""
    if is_nan(a) or is_nan(b):
        return NAN
    return b if less(a, b) else a


def smaller(a: Element, b: Element) -> Element:
    """Return the smaller of two; NaN wins."""
    if is_nan(a) or is_nan(b):
        return NAN
    return b if less(b, a) else a
