"""What NumPy and SciPy users call: the `library` formulations of every NumPy backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from harness.backends.library import Library
from harness.model import Written
from harness.registry import Lack

NUMPY: Final = Library({"float64": "float64", "float32": "float32"})

_NO_HALF = Lack("unsupported", "np.linalg raises on float16: LAPACK has none")


@NUMPY.function("scipy.special.softmax", bfloat16="bfloat16", float16="float16")
def softmax(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return scipy.special.softmax; its sums stay in the dtype."""
    from scipy.special import softmax

    return partial(softmax, x, axis=axis)


@NUMPY.function("scipy.special.log_softmax", bfloat16="bfloat16", float16="float16")
def log_softmax(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return scipy.special.log_softmax; its sums stay in the dtype."""
    from scipy.special import log_softmax

    return partial(log_softmax, x, axis=axis)


@NUMPY.function("scipy.special.logsumexp", bfloat16="float64", float16="float16")
def logsumexp(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return scipy.special.logsumexp, which promotes bfloat16 to float64."""
    from scipy.special import logsumexp

    return partial(logsumexp, x, axis=axis)


@NUMPY.function("np.matmul", bfloat16="float32", float16="float32")
def matmul(xp: Any, A: Any, B: Any) -> Callable[[], Any]:
    """Return np.matmul, which gives float32 for bfloat16."""
    import numpy as np

    return partial(np.matmul, A, B)


@NUMPY.function("np.dot", bfloat16="float32", float16="float32")
def dot(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return np.dot."""
    import numpy as np

    return partial(np.dot, x, y)


@NUMPY.function("np.linalg.lstsq", float32="float64", bfloat16="float64", float16=_NO_HALF)
def least_squares(xp: Any, A: Any, b: Any, rcond: Written = "machine") -> Callable[[], Any]:
    """Return the solution of np.linalg.lstsq (LAPACK's gelsd), which computes everything in float64.

    `machine` leaves the truncation to NumPy: max(m, n) units in the last place of float64.
    """
    import numpy as np

    tolerance = None if rcond == "machine" else float(rcond)

    def thunk() -> Any:
        return np.linalg.lstsq(A, b, rcond=tolerance)[0]

    return thunk


@NUMPY.function("scipy.stats.bernoulli.pmf", float32="float64", bfloat16="float64", float16="float64")
def bernoulli_pmf(xp: Any, k: Any, p: Any) -> Callable[[], Any]:
    """Return scipy.stats.bernoulli.pmf, in float64 whatever it is given, rounded once."""
    from scipy.stats import bernoulli

    return _rounded(bernoulli.pmf, k, p)


@NUMPY.function("scipy.stats.binom.pmf", float32="float64", bfloat16="float64", float16="float64")
def binomial_pmf(xp: Any, k: Any, p: Any, n: Any) -> Callable[[], Any]:
    """Return scipy.stats.binom.pmf (Boost's), in float64 whatever it is given, rounded once."""
    from scipy.stats import binom

    return _rounded(lambda k, p: binom.pmf(k, float(n), p), k, p)


@NUMPY.function("scipy.stats.poisson.pmf", float32="float64", bfloat16="float64", float16="float64")
def poisson_pmf(xp: Any, k: Any, rate: Any) -> Callable[[], Any]:
    """Return scipy.stats.poisson.pmf, an exponential of lnΓ, in float64 whatever it is given, rounded once."""
    from scipy.stats import poisson

    return _rounded(poisson.pmf, k, rate)


def _rounded(function: Callable[..., Any], *arrays: Any) -> Callable[[], Any]:
    """Call a function of scipy.stats on float64 arrays, and round what it gives to the dtype they had."""
    import numpy as np

    dtype = arrays[0].dtype
    return lambda: np.asarray(function(*(x.astype(np.float64) for x in arrays))).astype(dtype)
