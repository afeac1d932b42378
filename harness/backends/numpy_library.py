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
_NO_CDIST = Lack("unsupported", "SciPy's cdist refuses the dtypes of ml_dtypes")


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


@NUMPY.function("np.sum", bfloat16="bfloat16", float16="float16")
def sum(xp: Any, x: Any, *, axis: int, layout: str) -> Callable[[], Any]:
    """Return np.sum: in pairs along the last axis in memory, one after another along others."""
    import numpy as np

    return partial(np.sum, xp.arrange(x, layout), axis=int(axis))


@NUMPY.function("np.mean", bfloat16="bfloat16", float16="float32")
def mean(xp: Any, x: Any, *, axis: int, layout: str) -> Callable[[], Any]:
    """Return np.mean; it accumulates float16 in float32, and nothing else in anything wider."""
    import numpy as np

    return partial(np.mean, xp.arrange(x, layout), axis=int(axis))


@NUMPY.function("np.var", bfloat16="bfloat16", float16="float16")
def variance(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Callable[[], Any]:
    """Return np.var: two passes in the dtype."""
    import numpy as np

    return partial(np.var, xp.arrange(x, layout), axis=int(axis), ddof=int(ddof))


@NUMPY.function("np.std", bfloat16="bfloat16", float16="float16")
def standard_deviation(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Callable[[], Any]:
    """Return np.std: two passes in the dtype."""
    import numpy as np

    return partial(np.std, xp.arrange(x, layout), axis=int(axis), ddof=int(ddof))


@NUMPY.function("np.cov", float32="float64", bfloat16="float64", float16="float64")
def covariance(xp: Any, x: Any, *, ddof: int) -> Callable[[], Any]:
    """Return np.cov of columns, which computes and gives float64."""
    import numpy as np

    return partial(np.cov, x, rowvar=False, ddof=int(ddof))


@NUMPY.function("np.corrcoef", float32="float64", bfloat16="float64", float16="float64")
def correlation(xp: Any, x: Any) -> Callable[[], Any]:
    """Return np.corrcoef of columns, which computes and gives float64."""
    import numpy as np

    return partial(np.corrcoef, x, rowvar=False)


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
    """Return scipy.stats.poisson.pmf, an exponential of lnΓ, in float64 always, rounded once."""
    from scipy.stats import poisson

    return _rounded(poisson.pmf, k, rate)


def _rounded(function: Callable[..., Any], *arrays: Any) -> Callable[[], Any]:
    """Call a function of scipy.stats on float64 arrays, and round what it gives to the dtype they had."""
    import numpy as np

    dtype = arrays[0].dtype
    return lambda: np.asarray(function(*(x.astype(np.float64) for x in arrays))).astype(dtype)


@NUMPY.function("np.linalg.norm", bfloat16="float64", float16="float16")
def l2_norm(xp: Any, x: Any) -> Callable[[], Any]:
    """Return np.linalg.norm along the last axis, which promotes bfloat16 to float64."""
    import numpy as np

    return partial(np.linalg.norm, x, axis=None if x.ndim == 1 else -1)


@NUMPY.function("scipy.spatial.distance.cdist", float32="float64", bfloat16=_NO_CDIST, float16="float64")
def pairwise_distance(xp: Any, x: Any, y: Any, mode: Written) -> Callable[[], Any]:
    """Return scipy.spatial.distance.cdist, which computes everything in float64."""
    from scipy.spatial.distance import cdist

    return partial(cdist, x, y)


@NUMPY.function("−scipy.special.xlogy(t, p).sum()", bfloat16="float64", float16="float64")
def cross_entropy_of_probabilities(xp: Any, p: Any, target: Any) -> Callable[[], Any]:
    """Return a sum of scipy.special.xlogy, which gives float64 for halves: rounded once."""
    from scipy.special import xlogy

    return lambda: -xlogy(target, p).sum(axis=-1).astype(p.dtype)


@NUMPY.function("scipy.special.xlogy and xlog1py", bfloat16="float64", float16="float64")
def binary_cross_entropy(xp: Any, p: Any, y: Any, reduction: Written = "none") -> Callable[[], Any]:
    """Return −(xlogy(y, p) + xlog1py(1 − y, −p)), which are float64 for halves: rounded once."""
    from scipy.special import xlog1py, xlogy

    def thunk() -> Any:
        losses = -(xlogy(y, p) + xlog1py(1 - y, -p))
        return (losses.mean() if reduction == "mean" else losses).astype(p.dtype)

    return thunk


@NUMPY.function("np.logaddexp(0, x) − x·y", bfloat16="bfloat16", float16="float16")
def binary_cross_entropy_with_logits(
    xp: Any, x: Any, y: Any, reduction: Written = "none"
) -> Callable[[], Any]:
    """Return np.logaddexp(0, x) − x·y, the shortest way to write softplus."""
    import numpy as np

    zero = xp.scalar(0)

    def thunk() -> Any:
        losses = np.logaddexp(zero, x) - x * y
        return losses.mean() if reduction == "mean" else losses

    return thunk


@NUMPY.function("scipy.special.entr(p).sum()", bfloat16="float32", float16="float32")
def entropy(xp: Any, p: Any, base: Written = "e") -> Callable[[], Any]:
    """Return a sum of scipy.special.entr, over ln 2 for bits; float32 for halves, rounded once."""
    import math

    from scipy.special import entr

    divisor = 1 if base == "e" else math.log(2)
    return lambda: (entr(p).sum(axis=-1) / divisor).astype(p.dtype)


@NUMPY.function("scipy.special.rel_entr(p, q).sum()", bfloat16="float32", float16="float32")
def kl_divergence(xp: Any, p: Any, q: Any) -> Callable[[], Any]:
    """Return a sum of scipy.special.rel_entr; float32 for halves, rounded once."""
    from scipy.special import rel_entr

    return lambda: rel_entr(p, q).sum(axis=-1).astype(p.dtype)


@NUMPY.function("np.cbrt", bfloat16="bfloat16", float16="float16")
def cbrt(xp: Any, x: Any) -> Callable[[], Any]:
    """Return np.cbrt."""
    import numpy as np

    return partial(np.cbrt, x)


@NUMPY.function("scipy.special.expit", bfloat16="float64", float16="float64")
def sigmoid(xp: Any, x: Any) -> Callable[[], Any]:
    """Return scipy.special.expit, which gives float64 for 16 bits; cast back, as users do."""
    from scipy.special import expit

    return lambda: expit(x).astype(x.dtype, copy=False)


@NUMPY.function("np.logaddexp(0, x)", bfloat16="bfloat16", float16="float16")
def softplus(xp: Any, x: Any) -> Callable[[], Any]:
    """Return np.logaddexp(0, x)."""
    import numpy as np

    return partial(np.logaddexp, x.dtype.type(0), x)


@NUMPY.function("np.prod", bfloat16="bfloat16", float16="float16")
def likelihood(xp: Any, densities: Any) -> Callable[[], Any]:
    """Return np.prod."""
    import numpy as np

    return partial(np.prod, densities)


@NUMPY.function("scipy.stats.norm.logpdf(…).sum()", float32="float64", bfloat16="float64", float16="float64")
def normal_log_likelihood(xp: Any, x: Any, mean: Any, deviation: Any) -> Callable[[], Any]:
    """Return the sum of scipy.stats.norm.logpdf, in float64 whatever it is given, rounded once."""
    import numpy as np
    from scipy.stats import norm

    def total(x: Any, mean: Any, deviation: Any) -> Any:
        return np.sum(norm.logpdf(x, mean, deviation))

    return _rounded(total, x, mean, deviation)


@NUMPY.function(
    "scipy.optimize.minimize_scalar(method='bounded')",
    float32="float64",
    bfloat16="float64",
    float16="float64",
)
def mle_bernoulli(xp: Any, flips: Any) -> Callable[[], Any]:
    """Return scipy.optimize.minimize_scalar's minimum of −ℓ, to its default xatol of 1e-5, in float64."""
    from scipy.optimize import minimize_scalar
    from scipy.special import xlog1py, xlogy

    def minimum(x: Any) -> Any:
        heads = x.sum()
        return minimize_scalar(
            lambda p: -xlogy(heads, p) - xlog1py(x.size - heads, -p), bounds=(0, 1), method="bounded"
        ).x

    return _rounded(minimum, flips)


@NUMPY.function("scipy.stats.norm.fit", float32="float64", bfloat16="float64", float16="float64")
def mle_normal(xp: Any, x: Any) -> Callable[[], Any]:
    """Return scipy.stats.norm.fit's mean and squared scale, in float64 always, rounded once."""
    import numpy as np
    from scipy.stats import norm

    def thunk() -> Any:
        mean, scale = norm.fit(x.astype(np.float64))
        return tuple(np.asarray(value).astype(x.dtype) for value in (mean, scale**2))

    return thunk


@NUMPY.function("−scipy.special.cosm1", bfloat16="float64", float16="float64")
def one_minus_cos(xp: Any, x: Any) -> Callable[[], Any]:
    """Return −scipy.special.cosm1, which gives float64 for halves."""
    from scipy.special import cosm1

    return lambda: -cosm1(x)


@NUMPY.function("np.hypot", bfloat16="bfloat16", float16="float16")
def hypot(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return np.hypot."""
    import numpy as np

    return partial(np.hypot, x, y)


@NUMPY.function("scipy.special.ndtr", bfloat16="float64", float16="float64")
def normal_cdf(xp: Any, x: Any) -> Callable[[], Any]:
    """Return scipy.special.ndtr, which gives float64 for halves."""
    from scipy.special import ndtr

    return partial(ndtr, x)


@NUMPY.function("scipy.special.ndtr(−x)", bfloat16="float64", float16="float64")
def normal_tail(xp: Any, x: Any) -> Callable[[], Any]:
    """Return scipy.special.ndtr of −x, as scipy.stats has it for the upper tail."""
    from scipy.special import ndtr

    return lambda: ndtr(-x)


@NUMPY.function("scipy.special.log_ndtr", bfloat16="float64", float16="float64")
def normal_log_cdf(xp: Any, x: Any) -> Callable[[], Any]:
    """Return scipy.special.log_ndtr, which gives float64 for halves."""
    from scipy.special import log_ndtr

    return partial(log_ndtr, x)


@NUMPY.function(
    "scipy.stats.multivariate_normal.logpdf", float32="float64", bfloat16=_NO_HALF, float16=_NO_HALF
)
def mvn_log_density(xp: Any, x: Any, mean: Any, covariance: Any) -> Callable[[], Any]:
    """Return scipy.stats.multivariate_normal.logpdf (eigh), in float64 always, rounded once."""
    import numpy as np
    from scipy.stats import multivariate_normal

    def logpdf(x: Any, mean: Any, covariance: Any) -> Any:
        return np.atleast_1d(multivariate_normal.logpdf(x, mean, covariance))

    return _rounded(logpdf, x, mean, covariance)
