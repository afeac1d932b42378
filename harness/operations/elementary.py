"""Elementary functions: one entry each of `FUNCTIONS`, and nothing anywhere else.

`definition` among the forms is the formula that defines a function by others, taken literally. Where its
digits are lost:

    expm1, sinh, tanh   e^x − 1 and e^x − e^−x cancel for small x: 0 below u/2, relative error u/|x|
    log1p               1 + x is rounded: relative error u/|x|
    exp2                x·ln 2 is rounded: relative error u·|x|·ln 2, as of e^x with a rounded argument
    sinh, cosh, tanh    e^x overflows from ln Ω on; sinh and cosh do at ln 2Ω, tanh nowhere
    asin                x² is rounded: an angle off by u/(4√(1 − x²)) where 1 − x is about √u
    acos                π/2 − asin x cancels near 1
    erfc                1 − erf x is 0 where erf x rounds to 1
    cbrt                ln|x|/3 is rounded: relative error u·|ln x|/3
    sigmoid             e^x/(1 + e^x) is ∞/∞ beyond ln Ω
    softplus            ln(1 + e^x) overflows beyond ln Ω, and is 0 where e^x ≤ u
    log2, log10, tan    two functions and a division: a few units in the last place, no cancellation
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from harness.operations.elementary_family import FAR, Expression, Form, Function, register, within_reach
from harness.tape import LN_2, LN_10, TWO_BY_SQRT_PI

PI: Final = "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803"


def _reached(name: str) -> Expression:
    """Return a function of exact arithmetic whose argument stays within ±FAR."""
    return lambda xp, x: getattr(xp, name)(within_reach(xp, x))


def _half(xp: Any) -> Any:
    return xp.scalar(Decimal("0.5"))


# ---- slopes: derivatives that keep their digits -----------------------------------------------------


def _arctangent_slope(xp: Any, x: Any) -> Any:
    """1/(1 + x²), and with q = 1/x for |x| > 1 q²/(1 + q²), which does not overflow."""
    q = 1 / x
    return xp.where(xp.less(xp.abs(x), xp.scalar(1)), 1 / (1 + x * x), q * q / (1 + q * q))


def _arcsine_slope(xp: Any, x: Any) -> Any:
    return 1 / xp.sqrt((1 - x) * (1 + x))


def _tanh_slope(xp: Any, x: Any) -> Any:
    e = xp.exp(-2 * xp.abs(x))
    return 4 * e / ((1 + e) * (1 + e))


def _sigmoid_slope(xp: Any, x: Any) -> Any:
    e = xp.exp(-xp.abs(x))
    return e / ((1 + e) * (1 + e))


def _bell(xp: Any, x: Any) -> Any:
    return Decimal(TWO_BY_SQRT_PI) * xp.exp(-x * x)


# ---- sigmoid and softplus: by their sign, exact, stable and as formulations -------------------------


def _sigmoid_by_sign(xp: Any, x: Any) -> Any:
    """1/(1 + e^−x) for x ≥ 0, e^x/(1 + e^x) below: each exponential sees arguments of one sign only.

    With e^−|x| for both the derivative at 0 would be 0, as that of |x| is there.
    """
    zero, one = xp.scalar(0), xp.scalar(1)
    below = xp.less(x, zero)
    above = xp.exp(xp.negative(xp.where(below, zero, x)))
    under = xp.exp(xp.where(below, x, zero))
    right = xp.divide(one, xp.add(one, above))
    return xp.where(below, xp.divide(under, xp.add(one, under)), right)


def _softplus_by_sign(xp: Any, x: Any) -> Any:
    tail = xp.log1p(xp.exp(xp.negative(xp.abs(x))))
    return xp.add(xp.maximum(x, xp.scalar(0)), tail)


def _softplus(xp: Any, x: Any) -> Any:
    """ln(1 + e^x), which is x beyond FAR but for e^−FAR; the other branch must not be given its infinity."""
    beyond = xp.less(xp.scalar(FAR), x)
    near = within_reach(xp, xp.where(beyond, xp.scalar(0), x))
    return xp.where(beyond, x, xp.log1p(xp.exp(near)))


def _tanh_by_sign(xp: Any, x: Any) -> Any:
    """Return tanh x ± 1, by exponentials of at most 1: so its derivative at ±∞ is 0, and not 0·∞."""
    x = within_reach(xp, x)
    above = xp.less(xp.scalar(0), x)
    up, down = xp.where(above, x, xp.scalar(0)), xp.where(above, xp.scalar(0), x)
    return xp.where(above, 2 / (1 + xp.exp(-2 * up)), -2 / (1 + xp.exp(2 * down)))


# ---- definitions, taken literally -------------------------------------------------------------------


def _by_power(xp: Any, x: Any) -> Any:
    return xp.multiply(xp.sign(x), xp.exp(xp.divide(xp.log(xp.abs(x)), xp.scalar(3))))


def _by_newton(xp: Any, x: Any) -> Any:
    """One step t − (t − |x|/t²)/3 from the power, whose relative error δ becomes δ² and a few u."""
    size = xp.abs(x)
    whole = xp.logical_and(xp.isfinite(x), xp.greater(size, xp.scalar(0)))
    inside = xp.where(whole, size, xp.scalar(1))
    t = xp.exp(xp.divide(xp.log(inside), xp.scalar(3)))
    step = xp.divide(xp.subtract(t, xp.divide(inside, xp.square(t))), xp.scalar(3))
    return xp.where(whole, xp.multiply(xp.sign(x), xp.subtract(t, step)), x)


def _exponentials(xp: Any, x: Any) -> tuple[Any, Any]:
    return xp.exp(x), xp.exp(xp.negative(x))


def _sinh(xp: Any, x: Any) -> Any:
    return xp.multiply(_half(xp), xp.subtract(*_exponentials(xp, x)))


def _cosh(xp: Any, x: Any) -> Any:
    return xp.multiply(_half(xp), xp.add(*_exponentials(xp, x)))


def _tanh(xp: Any, x: Any) -> Any:
    up, down = _exponentials(xp, x)
    return xp.divide(xp.subtract(up, down), xp.add(up, down))


def _arcsine(xp: Any, x: Any) -> Any:
    return xp.atan(xp.divide(x, xp.sqrt(xp.subtract(xp.scalar(1), xp.square(x)))))


def _sigmoid(xp: Any, x: Any) -> Any:
    e = xp.exp(x)
    return xp.divide(e, xp.add(xp.scalar(1), e))


def _logarithm_by(base: str) -> Expression:
    return lambda xp, x: xp.divide(xp.log(x), xp.scalar(Decimal(base)))


def _definition(title: str, expression: Expression) -> dict[str, Form]:
    return {"definition": Form(title, expression)}


FUNCTIONS: Final = (
    Function(
        "exp",
        "Exponential function",
        "y = e^x",
        slope=lambda xp, x: xp.exp(x),
        slope_formula="e^x",
        definition=_reached("exp"),
    ),
    Function(
        "expm1",
        "Exponential function minus one",
        "y = e^x − 1",
        slope=lambda xp, x: xp.exp(x),
        slope_formula="e^x",
        definition=_reached("expm1"),
        gradient_definition=_reached("exp"),
        forms=_definition("e^x, minus 1", lambda xp, x: xp.subtract(xp.exp(x), xp.scalar(1))),
    ),
    Function(
        "exp2",
        "Power of two",
        "y = 2^x",
        slope=lambda xp, x: Decimal(LN_2) * xp.exp2(x),
        slope_formula="2^x·ln 2",
        definition=_reached("exp2"),
        forms=_definition("e^(x·ln 2)", lambda xp, x: xp.exp(xp.multiply(x, xp.scalar(Decimal(LN_2))))),
    ),
    Function("log", "Natural logarithm", "y = ln x", slope=lambda xp, x: 1 / x, slope_formula="1/x"),
    Function(
        "log1p",
        "Logarithm of one more",
        "y = ln(1 + x)",
        slope=lambda xp, x: 1 / (1 + x),
        slope_formula="1/(1 + x)",
        forms=_definition("ln of the rounded 1 + x", lambda xp, x: xp.log(xp.add(xp.scalar(1), x))),
    ),
    Function(
        "log2",
        "Logarithm to base 2",
        "y = log₂ x",
        slope=lambda xp, x: 1 / (x * Decimal(LN_2)),
        slope_formula="1/(x·ln 2)",
        forms=_definition("ln x / ln 2", _logarithm_by(LN_2)),
    ),
    Function(
        "log10",
        "Logarithm to base 10",
        "y = log₁₀ x",
        slope=lambda xp, x: 1 / (x * Decimal(LN_10)),
        slope_formula="1/(x·ln 10)",
        forms=_definition("ln x / ln 10", _logarithm_by(LN_10)),
    ),
    Function(
        "sqrt",
        "Square root",
        "y = √x",
        slope=lambda xp, x: Decimal("0.5") / xp.sqrt(x),
        slope_formula="1/(2√x)",
        limit=0.5,
        source="correctly rounded: IEEE 754-2019, 5.4.1",
    ),
    Function(
        "cbrt",
        "Cube root",
        "y = ∛x",
        slope=lambda xp, x: 1 / (3 * (xp.cbrt(x) * xp.cbrt(x))),
        slope_formula="1/(3·∛x²)",
        library=False,
        forms={
            **_definition("sign(x)·e^(ln|x|/3)", _by_power),
            "newton": Form("sign(x)·e^(ln|x|/3), and a step of Newton's method", _by_newton, True),
        },
    ),
    Function("sin", "Sine", "y = sin x", slope=lambda xp, x: xp.cos(x), slope_formula="cos x"),
    Function("cos", "Cosine", "y = cos x", slope=lambda xp, x: -xp.sin(x), slope_formula="−sin x"),
    Function(
        "tan",
        "Tangent",
        "y = tan x",
        slope=lambda xp, x: 1 + xp.tan(x) * xp.tan(x),
        slope_formula="1 + tan²x",
        forms=_definition("sin x / cos x", lambda xp, x: xp.divide(xp.sin(x), xp.cos(x))),
    ),
    Function(
        "asin",
        "Inverse sine",
        "y = arcsin x",
        slope=_arcsine_slope,
        slope_formula="1/√((1 − x)(1 + x))",
        forms=_definition("arctan(x/√(1 − x²))", _arcsine),
    ),
    Function(
        "acos",
        "Inverse cosine",
        "y = arccos x",
        slope=lambda xp, x: -_arcsine_slope(xp, x),
        slope_formula="−1/√((1 − x)(1 + x))",
        forms=_definition(
            "π/2 − arcsin x", lambda xp, x: xp.subtract(xp.scalar(Decimal(PI) / 2), xp.asin(x))
        ),
    ),
    Function(
        "atan",
        "Inverse tangent",
        "y = arctan x",
        slope=_arctangent_slope,
        slope_formula="1/(1 + x²)",
    ),
    Function(
        "sinh",
        "Hyperbolic sine",
        "y = sinh x",
        slope=lambda xp, x: xp.cosh(x),
        slope_formula="cosh x",
        definition=_reached("sinh"),
        forms=_definition("(e^x − e^−x)/2", _sinh),
    ),
    Function(
        "cosh",
        "Hyperbolic cosine",
        "y = cosh x",
        slope=lambda xp, x: xp.sinh(x),
        slope_formula="sinh x",
        definition=_reached("cosh"),
        forms=_definition("(e^x + e^−x)/2", _cosh),
    ),
    Function(
        "tanh",
        "Hyperbolic tangent",
        "y = tanh x",
        slope=_tanh_slope,
        slope_formula="4e^−2|x|/(1 + e^−2|x|)²",
        gradient_definition=_tanh_by_sign,
        forms=_definition("(e^x − e^−x)/(e^x + e^−x)", _tanh),
    ),
    Function(
        "erf",
        "Error function",
        "y = erf x",
        slope=_bell,
        slope_formula="(2/√π)·e^−x²",
        gradient_definition=_reached("erf"),
    ),
    Function(
        "erfc",
        "Complementary error function",
        "y = erfc x = 1 − erf x",
        slope=lambda xp, x: -_bell(xp, x),
        slope_formula="−(2/√π)·e^−x²",
        definition=_reached("erfc"),
        forms=_definition("1 − erf x", lambda xp, x: xp.subtract(xp.scalar(1), xp.erf(x))),
    ),
    Function(
        "sigmoid",
        "Logistic function",
        "y = 1/(1 + e^−x)",
        slope=_sigmoid_slope,
        slope_formula="e^−|x|/(1 + e^−|x|)²",
        definition=lambda xp, x: 1 / (1 + xp.exp(-within_reach(xp, x))),
        gradient_definition=lambda xp, x: _sigmoid_by_sign(xp, within_reach(xp, x)),
        stable=_sigmoid_by_sign,
        library=False,
        forms={
            **_definition("e^x/(1 + e^x)", _sigmoid),
            "split": Form("1/(1 + e^−x) for x ≥ 0, e^x/(1 + e^x) below", _sigmoid_by_sign, True),
        },
    ),
    Function(
        "softplus",
        "Softplus",
        "y = ln(1 + e^x)",
        slope=lambda xp, x: _sigmoid_by_sign(xp, x),
        slope_formula="1/(1 + e^−x)",
        definition=_softplus,
        stable=_softplus_by_sign,
        library=False,
        forms={
            **_definition("ln(1 + e^x)", lambda xp, x: xp.log(xp.add(xp.scalar(1), xp.exp(x)))),
            "split": Form("max(x, 0) + log1p(e^−|x|)", _softplus_by_sign, True),
        },
    ),
)

for _function in FUNCTIONS:
    register(_function)
