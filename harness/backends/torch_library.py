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
