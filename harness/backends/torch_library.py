"""What torch users call: the `library` formulations of every torch backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from harness.backends.library import Library
from harness.model import Written
from harness.registry import Lack

TORCH: Final = Library(
    {"float64": "float64", "float32": "float32", "bfloat16": "float32", "float16": "float32"}
)

_NO_LAPACK = {name: Lack("unsupported", f"torch has no LAPACK in {name}") for name in ("bfloat16", "float16")}
_NO_LOG_NDTR = {
    name: Lack("unsupported", f"torch has no log_ndtr in {name}") for name in ("bfloat16", "float16")
}


@TORCH.function("torch.softmax")
def softmax(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return torch.softmax."""
    import torch

    return partial(torch.softmax, x, axis)


@TORCH.function("torch.log_softmax")
def log_softmax(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return torch.log_softmax."""
    import torch

    return partial(torch.log_softmax, x, axis)


@TORCH.function("torch.logsumexp")
def logsumexp(xp: Any, x: Any, axis: int = -1) -> Callable[[], Any]:
    """Return torch.logsumexp."""
    import torch

    return partial(torch.logsumexp, x, axis)


@TORCH.function("torch.matmul")
def matmul(xp: Any, A: Any, B: Any) -> Callable[[], Any]:
    """Return torch.matmul."""
    import torch

    return partial(torch.matmul, A, B)


@TORCH.function("torch.dot")
def dot(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return torch.dot."""
    import torch

    return partial(torch.dot, x, y)


@TORCH.function("torch.sum")
def sum(xp: Any, x: Any, *, axis: int, layout: str) -> Callable[[], Any]:
    """Return torch.sum."""
    import torch

    return partial(torch.sum, xp.arrange(x, layout), dim=int(axis))


@TORCH.function("torch.mean")
def mean(xp: Any, x: Any, *, axis: int, layout: str) -> Callable[[], Any]:
    """Return torch.mean."""
    import torch

    return partial(torch.mean, xp.arrange(x, layout), dim=int(axis))


@TORCH.function("torch.var")
def variance(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Callable[[], Any]:
    """Return torch.var: Welford's updates."""
    import torch

    return partial(torch.var, xp.arrange(x, layout), dim=int(axis), correction=int(ddof))


@TORCH.function("torch.std")
def standard_deviation(xp: Any, x: Any, *, axis: int, layout: str, ddof: int) -> Callable[[], Any]:
    """Return torch.std: Welford's updates."""
    import torch

    return partial(torch.std, xp.arrange(x, layout), dim=int(axis), correction=int(ddof))


@TORCH.function("torch.cov")
def covariance(xp: Any, x: Any, *, ddof: int) -> Callable[[], Any]:
    """Return torch.cov of columns."""
    import torch

    return lambda: torch.cov(x.T, correction=int(ddof))


@TORCH.function("torch.corrcoef")
def correlation(xp: Any, x: Any) -> Callable[[], Any]:
    """Return torch.corrcoef of columns."""
    import torch

    return lambda: torch.corrcoef(x.T)


@TORCH.function("torch.linalg.lstsq(driver='gelsd')", **_NO_LAPACK)
def least_squares(xp: Any, A: Any, b: Any, rcond: Written = "machine") -> Callable[[], Any]:
    """Return the solution of torch.linalg.lstsq by LAPACK's gelsd, as NumPy's.

    Not by torch's default, gelsy: torch 2.13 hands it pivots that were never set (pytorch#187411), so that
    the same call gives other bits each time, and at times another rank. `machine` leaves the truncation to
    torch: max(m, n) units in the last place of the dtype.
    """
    import torch

    tolerance = None if rcond == "machine" else float(rcond)
    column = b.unsqueeze(-1)
    return lambda: torch.linalg.lstsq(A, column, rcond=tolerance, driver="gelsd").solution.squeeze(-1)


@TORCH.function("torch.nn.functional.scaled_dot_product_attention")
def attention(
    xp: Any, q: Any, k: Any, v: Any, scale: Written = "inverse_sqrt", causal: bool = False
) -> Callable[[], Any]:
    """Return torch.nn.functional.scaled_dot_product_attention of (batch, heads, length, d)."""
    return _scaled_dot_product(q, k, v, scale, is_causal=causal)


@TORCH.function("torch.nn.functional.scaled_dot_product_attention(attn_mask=…)")
def masked_attention(
    xp: Any, q: Any, k: Any, v: Any, keep: Any, scale: Written = "inverse_sqrt"
) -> Callable[[], Any]:
    """Return torch.nn.functional.scaled_dot_product_attention under a mask of booleans."""
    return _scaled_dot_product(q, k, v, scale, attn_mask=keep.gt(0))


def _scaled_dot_product(q: Any, k: Any, v: Any, scale: Written, **options: Any) -> Callable[[], Any]:
    """Give it four dimensions, as models do: with fewer it takes no fused kernel."""
    from torch.nn.functional import scaled_dot_product_attention

    number = None if scale == "inverse_sqrt" else float(scale)
    added = max(0, 4 - q.ndim)
    lead = (1,) * added

    def thunk() -> Any:
        query, key, value = (x.reshape(lead + tuple(x.shape)) for x in (q, k, v))
        y = scaled_dot_product_attention(query, key, value, scale=number, **options)
        return y.reshape(tuple(y.shape)[added:])

    return thunk


@TORCH.function("torch.distributions.Bernoulli(probs).log_prob(k).exp()")
def bernoulli_pmf(xp: Any, k: Any, p: Any) -> Callable[[], Any]:
    """Return the exponential of torch.distributions.Bernoulli's log_prob, which keeps p from 2u to 1 − 2u."""
    import torch

    return lambda: torch.distributions.Bernoulli(probs=p).log_prob(k).exp()


@TORCH.function("torch.distributions.Binomial(n, probs).log_prob(k).exp()")
def binomial_pmf(xp: Any, k: Any, p: Any, n: Any) -> Callable[[], Any]:
    """Return the exponential of torch.distributions.Binomial's log_prob, by lgamma and logits."""
    import torch

    trials = int(n)
    return lambda: torch.distributions.Binomial(trials, probs=p).log_prob(k).exp()


@TORCH.function("torch.distributions.Poisson(rate).log_prob(k).exp()")
def poisson_pmf(xp: Any, k: Any, rate: Any) -> Callable[[], Any]:
    """Return the exponential of torch.distributions.Poisson's log_prob, by lgamma."""
    import torch

    return lambda: torch.distributions.Poisson(rate).log_prob(k).exp()


_NO_CDIST = {name: Lack("unsupported", f"torch.cdist has no {name}") for name in ("bfloat16", "float16")}
_CDIST = {"direct": "donot_use_mm_for_euclid_dist", "matmul": "use_mm_for_euclid_dist"}


@TORCH.function("torch.nn.functional.layer_norm")
def layer_norm(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Return torch.nn.functional.layer_norm over the last axis."""
    import torch

    return partial(torch.nn.functional.layer_norm, x, (x.shape[-1],), eps=float(epsilon))


@TORCH.function("torch.nn.functional.rms_norm")
def rms_norm(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Return torch.nn.functional.rms_norm over the last axis."""
    import torch

    return partial(torch.nn.functional.rms_norm, x, (x.shape[-1],), eps=float(epsilon))


@TORCH.function("torch.linalg.vector_norm")
def l2_norm(xp: Any, x: Any) -> Callable[[], Any]:
    """Return torch.linalg.vector_norm along the last axis."""
    import torch

    return partial(torch.linalg.vector_norm, x, dim=-1)


@TORCH.function("torch.nn.functional.normalize")
def normalize(xp: Any, x: Any, epsilon: Written) -> Callable[[], Any]:
    """Return torch.nn.functional.normalize along the last axis."""
    import torch

    return partial(torch.nn.functional.normalize, x, dim=-1, eps=float(epsilon))


@TORCH.function("torch.nn.functional.normalize")
def unit_vector(xp: Any, x: Any) -> Callable[[], Any]:
    """Return torch.nn.functional.normalize along the last axis, as it is called: with its ε of 1e-12."""
    import torch

    return partial(torch.nn.functional.normalize, x, dim=-1)


@TORCH.function("torch.nn.functional.cosine_similarity")
def cosine_similarity(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return torch.nn.functional.cosine_similarity, which takes no norm for less than 1e-8."""
    import torch

    return partial(torch.nn.functional.cosine_similarity, x, y, dim=-1)


@TORCH.function("torch.cdist", **_NO_CDIST)
def pairwise_distance(xp: Any, x: Any, y: Any, mode: Written) -> Callable[[], Any]:
    """Return torch.cdist, which left alone takes `matmul` from 26 rows on."""
    import torch

    return partial(torch.cdist, x, y, compute_mode=_CDIST[str(mode)])


@TORCH.function("torch.nn.functional.cross_entropy")
def cross_entropy(xp: Any, x: Any, target: Any, smoothing: Written = 0) -> Callable[[], Any]:
    """Return torch.nn.functional.cross_entropy of a target of probabilities, row by row."""
    from torch.nn.functional import cross_entropy

    n, share = x.shape[-1], float(smoothing)

    def thunk() -> Any:
        rows, targets = x.reshape(-1, n), target.reshape(-1, n)
        losses = cross_entropy(rows, targets, reduction="none", label_smoothing=share)
        return losses.reshape(tuple(x.shape[:-1]))

    return thunk


@TORCH.function("−torch.special.xlogy(t, p).sum()")
def cross_entropy_of_probabilities(xp: Any, p: Any, target: Any) -> Callable[[], Any]:
    """Return a sum of torch.special.xlogy."""
    import torch

    return lambda: -torch.special.xlogy(target, p).sum(-1)


@TORCH.function("torch.nn.functional.binary_cross_entropy")
def binary_cross_entropy(xp: Any, p: Any, y: Any, reduction: Written = "none") -> Callable[[], Any]:
    """Return torch.nn.functional.binary_cross_entropy, whose logarithms end at −100."""
    from torch.nn.functional import binary_cross_entropy

    return partial(binary_cross_entropy, p, y, reduction=str(reduction))


@TORCH.function("torch.nn.functional.binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    xp: Any, x: Any, y: Any, reduction: Written = "none"
) -> Callable[[], Any]:
    """Return torch.nn.functional.binary_cross_entropy_with_logits."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    return partial(binary_cross_entropy_with_logits, x, y, reduction=str(reduction))


@TORCH.function("torch.special.entr(p).sum()")
def entropy(xp: Any, p: Any, base: Written = "e") -> Callable[[], Any]:
    """Return a sum of torch.special.entr, over ln 2 for bits."""
    import math

    import torch

    return lambda: torch.special.entr(p).sum(-1) / (1 if base == "e" else math.log(2))


@TORCH.function("torch.nn.functional.kl_div(ln q, p).sum()")
def kl_divergence(xp: Any, p: Any, q: Any) -> Callable[[], Any]:
    """Return a sum of torch.nn.functional.kl_div, which takes q by its logarithm."""
    from torch.nn.functional import kl_div

    return lambda: kl_div(q.log(), p, reduction="none").sum(-1)


@TORCH.function("torch.sigmoid")
def sigmoid(xp: Any, x: Any) -> Callable[[], Any]:
    """Return torch.sigmoid."""
    import torch

    return partial(torch.sigmoid, x)


@TORCH.function("torch.nn.functional.softplus")
def softplus(xp: Any, x: Any) -> Callable[[], Any]:
    """Return torch.nn.functional.softplus, which gives x itself beyond its threshold of 20."""
    from torch.nn.functional import softplus

    return partial(softplus, x)


@TORCH.function("torch.prod")
def likelihood(xp: Any, densities: Any) -> Callable[[], Any]:
    """Return torch.prod."""
    import torch

    return partial(torch.prod, densities)


@TORCH.function("torch.distributions.Normal(…).log_prob(x).sum()")
def normal_log_likelihood(xp: Any, x: Any, mean: Any, deviation: Any) -> Callable[[], Any]:
    """Return the sum of torch.distributions.Normal's log_prob."""
    import torch

    return lambda: torch.distributions.Normal(mean, deviation).log_prob(x).sum()


@TORCH.function("torch.var_mean(correction=0)")
def mle_normal(xp: Any, x: Any) -> Callable[[], Any]:
    """Return torch.var_mean, n in the denominator."""
    import torch

    def thunk() -> Any:
        variance, mean = torch.var_mean(x, correction=0)
        return mean, variance

    return thunk


@TORCH.function("torch.hypot")
def hypot(xp: Any, x: Any, y: Any) -> Callable[[], Any]:
    """Return torch.hypot."""
    import torch

    return partial(torch.hypot, x, y)


@TORCH.function("torch.special.ndtr")
def normal_cdf(xp: Any, x: Any) -> Callable[[], Any]:
    """Return torch.special.ndtr, which is ½·(1 + erf(x/√2)) (pytorch#192295)."""
    import torch

    return partial(torch.special.ndtr, x)


@TORCH.function("torch.special.log_ndtr", **_NO_LOG_NDTR)
def normal_log_cdf(xp: Any, x: Any) -> Callable[[], Any]:
    """Return torch.special.log_ndtr."""
    import torch

    return partial(torch.special.log_ndtr, x)


@TORCH.function("torch.distributions.MultivariateNormal(…).log_prob", **_NO_LAPACK)
def mvn_log_density(xp: Any, x: Any, mean: Any, covariance: Any) -> Callable[[], Any]:
    """Return torch.distributions.MultivariateNormal's log_prob (Cholesky)."""
    import torch

    return lambda: torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)


@TORCH.function("torch.nn.functional.kl_div(log_softmax(z), log_softmax(x), log_target=True).sum()")
def kl_divergence_of_logits(xp: Any, x: Any, z: Any) -> Callable[[], Any]:
    """Return a sum of torch.nn.functional.kl_div of two log-softmaxes."""
    from torch.nn.functional import kl_div, log_softmax

    return lambda: kl_div(log_softmax(z, -1), log_softmax(x, -1), reduction="none", log_target=True).sum(-1)
