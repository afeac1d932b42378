"""The tape: its gradients against torch's, in each arithmetic that it serves."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from harness import catalogue, tape
from harness.formats import DTYPES, Precision
from harness.reference.definitions import certified_gradients
from harness.reference.running_error import RunningErrors
from harness.registry import BACKENDS
from harness.tape import Tape, differentiated

torch = pytest.importorskip("torch")
X = np.array([[0.3, -0.7, 0.2], [0.9, 0.1, -0.4]])
Y = np.array([[0.6, 0.8, 0.7]])

EXPRESSIONS = {
    "arithmetic": lambda xp, x, y: (x * y - y / (x + 2)) * 3 - (-x),
    "elementary": lambda xp, x, y: xp.log(xp.exp(x) + 1) + xp.expm1(x * y) - xp.log1p(y) + xp.sqrt(y),
    "powers": lambda xp, x, y: xp.exp2(x) + xp.log2(y) + xp.log10(y) + xp.square(x),
    "circular": lambda xp, x, y: xp.sin(x) * xp.cos(y) + xp.tan(x) + xp.atan(x),
    "inverse": lambda xp, x, y: xp.asin(x) + xp.acos(y),
    "hyperbolic": lambda xp, x, y: xp.sinh(x) + xp.cosh(y) + xp.tanh(x),
    "special": lambda xp, x, y: xp.erf(x) * xp.erfc(y) + xp.lgamma(y),
    "normal": lambda xp, x, y: xp.erfcx(x) * xp.erfinv(x) + xp.ndtri(y),
    "selection": lambda xp, x, y: xp.where(xp.greater(x, xp.scalar(0)), x * y, xp.abs(x)),
    "extremes": lambda xp, x, y: xp.maximum(x, y) - xp.minimum(x, y) + xp.max(x, axis=-1, keepdims=True),
    # At 0.1 an entry meets the limit, two are largest, and there is |0|; below 0.2 two are smallest.
    "ties": lambda xp, x, y: (
        xp.maximum(x, xp.scalar(0.1)) * y
        + xp.minimum(x, xp.scalar(0.1))
        + xp.abs(x - 0.1)
        + xp.max(xp.minimum(x, xp.scalar(0.1)), axis=-1, keepdims=True) * 3
        + xp.reshape(xp.min(xp.maximum(x, xp.scalar(0.2)), axis=1), (2, 1))
    ),
    "sums": lambda xp, x, y: xp.sum(x * y, axis=-1) * xp.mean(x, axis=1) + xp.mean(y) - xp.min(x, axis=1),
    "axes": lambda xp, x, y: (
        xp.mean(xp.exp(xp.concat([x, y, x * y], axis=-2)), axis=-2) * y[0]
        + xp.sum(xp.stack([y, y], axis=0), axis=0)
        + xp.mean(x * y, axis=-1, keepdims=True)
        + xp.mean(x) * xp.sum(x * x)
    ),
    "shapes": lambda xp, x, y: xp.matmul(xp.transpose(x), xp.reshape(xp.sum(x * y, axis=-1), (2, 1))),
    "pieces": lambda xp, x, y: xp.concat([x[:, :1], x[:, 1:] * y[:, 1:]], axis=1) + xp.stack([y[0], x[1]]),
    "arranged": lambda xp, x, y: xp.arrange(x, "F") * xp.arrange(y, "C"),
    "taken": lambda xp, x, y: xp.take(x, [2, 0], axis=1) * xp.take(y, [1], axis=1),
    "cast": lambda xp, x, y: xp.cast_namespace("float32").multiply(
        xp.astype(x, "float32"), xp.astype(y, "float32")
    ),
}


def of_torch(expression: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the cotangent and torch's own gradients of an expression in torch's namespace."""
    catalogue.load()
    xp = BACKENDS["torch-cpu"].namespace(DTYPES["float64"], checked=False)
    x, y = (torch.tensor(v, requires_grad=True) for v in (X, Y))
    value = expression(Operators(xp), Plain(x, xp), Plain(y, xp)).value
    g = np.linspace(-1, 2, value.numel()).reshape(tuple(value.shape))
    value.backward(torch.tensor(g).to(value.dtype))
    return g, [x.grad.numpy(), y.grad.numpy()]


class Plain:
    """A tensor with the operators of nodes, and no tape."""

    def __init__(self, value: Any, xp: Any) -> None:
        self.value, self.xp = value, xp

    def __getitem__(self, index: Any) -> Plain:
        return Plain(self.value[index], self.xp)

    def _other(self, other: Any) -> Any:
        return other.value if isinstance(other, Plain) else other

    def __add__(self, other: Any) -> Plain:
        return Plain(self.value + self._other(other), self.xp)

    def __sub__(self, other: Any) -> Plain:
        return Plain(self.value - self._other(other), self.xp)

    def __mul__(self, other: Any) -> Plain:
        return Plain(self.value * self._other(other), self.xp)

    def __truediv__(self, other: Any) -> Plain:
        return Plain(self.value / self._other(other), self.xp)

    def __neg__(self) -> Plain:
        return Plain(-self.value, self.xp)


class Operators:
    """A namespace whose functions take and give `Plain`."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            bare = [
                [p.value for p in a]
                if isinstance(a, list) and isinstance(a[0], Plain)
                else getattr(a, "value", a)
                for a in args
            ]
            found = getattr(self.xp, name)(*bare, **options)
            return Plain(found, self.xp) if isinstance(found, torch.Tensor) else found

        if name == "cast_namespace":
            return lambda dtype: Operators(self.xp.cast_namespace(dtype))
        return getattr(self.xp, name) if name == "scalar" else call


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_gradients_of_numpy_are_those_of_torch(name: str) -> None:
    g, expected = of_torch(EXPRESSIONS[name])
    xp = BACKENDS["numpy"].namespace(DTYPES["float64"], checked=True)

    def build(tape: Any, x: Any, y: Any) -> Any:
        return lambda: EXPRESSIONS[name](tape, x, y)

    dtype = np.float32 if name == "cast" else np.float64
    found = differentiated(build, xp, [X, Y], [0, 1], g.astype(dtype))()
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype == np.float64  # that of the inputs, whatever was between
        # a few roundings each; terms of order 10
        np.testing.assert_allclose(mine, theirs, rtol=1e-5 if name == "cast" else 1e-13, atol=1e-13)


@pytest.mark.parametrize("name", [n for n in EXPRESSIONS if n != "cast"])
def test_exact_gradients_and_their_bounds_enclose_those_of_torch(name: str) -> None:
    g, expected = of_torch(EXPRESSIONS[name])
    exact = certified_gradients(EXPRESSIONS[name], [X, Y], {}, g, [0, 1], DTYPES["float64"].storage)
    errors = RunningErrors(Precision.of(DTYPES["float64"], "float64"))
    tape = Tape(errors)
    nodes = [tape.variable(errors.exact(v)) for v in (X, Y)]
    bounds = tape.gradients(EXPRESSIONS[name](tape, *nodes), errors.exact(g), nodes)
    for reference, bound, theirs in zip(exact, bounds, expected, strict=True):
        error = reference.error_log2(theirs)
        with np.errstate(divide="ignore"):
            assert np.all(error <= np.log2(bound.error) + 1e-9)
        assert np.all(bound.error <= 1e-12)  # of order 100 roundings of terms of order 10


def test_a_result_that_depends_on_no_input_is_told() -> None:
    catalogue.load()
    xp = BACKENDS["numpy"].namespace(DTYPES["float64"], checked=False)
    thunk = differentiated(lambda tape, x: lambda: tape.zeros((2,)), xp, [X], [0], X)
    with pytest.raises(TypeError, match="does not depend"):
        thunk()


def of_numpy(expression: Any, *inputs: np.ndarray, g: float = 1.0) -> tuple[np.ndarray, ...]:
    catalogue.load()
    xp = BACKENDS["numpy"].namespace(DTYPES["float64"], checked=True)
    thunk = differentiated(
        lambda tape, *nodes: lambda: expression(tape, *nodes), xp, inputs, range(len(inputs)), np.float64(g)
    )
    return tuple(thunk())


def test_what_is_detached_or_not_used_has_no_gradient_and_of_several_outputs_the_first_counts() -> None:
    of_x, of_y = of_numpy(lambda xp, x, y: (xp.sum(xp.detach(x) * x), xp.sum(x * y)), X, Y)
    assert np.array_equal(of_x, X)
    assert np.array_equal(of_y, np.zeros(Y.shape))


def test_a_number_that_is_used_twice_has_both_gradients() -> None:
    """(a + a·a)·a = a² + a³."""
    (found,) = of_numpy(lambda xp, a: (a + a * a) * a, np.array(3.0), g=2.0)
    assert found == 2 * (2 * 3 + 3 * 9)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        (lambda xp, x: xp.sum(xp.take(x, [0, 1, 0], axis=1)), "different indices only"),
        (lambda xp, x: xp.matmul(x, x[0]), "matrices only"),
        (lambda xp, x: xp.sum(xp.digamma(x)), "derivative of digamma is not known"),
    ],
)
def test_what_the_tape_does_not_differentiate_is_told(expression: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        of_numpy(expression, X)


def test_digits_of_constants_are_those_of_mpmath() -> None:
    with mpmath.workdps(90):
        for digits, exact in (
            (tape.LN_2, mpmath.log(2)),
            (tape.LN_10, mpmath.log(10)),
            (tape.TWO_BY_SQRT_PI, 2 / mpmath.sqrt(mpmath.pi)),
            (tape.HALF_SQRT_PI, mpmath.sqrt(mpmath.pi) / 2),
            (tape.SQRT_2_PI, mpmath.sqrt(2 * mpmath.pi)),
        ):
            assert abs(mpmath.mpf(digits) - exact) < mpmath.mpf(10) ** -75
