"""Variance of attention's scores, and entropy of their softmax: what the scale 1/√d is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from harness.errors import InputError
from harness.model import Written
from harness.operations import attention_family as family
from harness.operations.shifted_exponentials import LOG_ULP
from harness.operations.widening import at_least_single
from harness.registry import Cost, ExactProblem, Operation, formulation, register_operation

if TYPE_CHECKING:
    import numpy as np
    from flint import arb
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference, ReferenceArray

    Floats = NDArray[np.float64]


def reference(problem: ExactProblem) -> Reference:
    """Return the variance, a rational number, and the certified mean entropy in nats.

    Scores are integers times a power of two and the scale, so that equal ones are known to be equal.
    """
    import numpy as np

    from harness.reference.elements import Reference, ReferenceArray

    q, k = problem.inputs["q"], problem.inputs["k"]
    if q.ndim != 2 or k.ndim != 2 or q.shape[1] != k.shape[1] or 0 in (*q.shape, *k.shape):
        raise InputError(
            f"q and k have shapes {list(q.shape)} and {list(k.shape)}", "allowed are (m, d) and (n, d)"
        )
    if not (np.isfinite(q).all() and np.isfinite(k).all()):
        raise InputError(
            "q or k holds infinities or NaN, whose scores have no variance", "use finite numbers"
        )
    scores, unit = _integer_scores(q, k)
    flat = [s for row in scores for s in row]
    count, d = len(flat), q.shape[1]
    scale = family.exact_scale(problem.parameters)
    square = Fraction(1, d) if scale is None else scale * scale
    spread = Fraction(count * sum(s * s for s in flat) - sum(flat) ** 2, count * count)
    variance = ReferenceArray.from_fractions([spread * square * unit * unit], ())
    return Reference(
        {"variance": variance, "entropy": _entropy(scores, unit, scale, d, problem)}, quantities(problem)
    )


def _integer_scores(q: Floats, k: Floats) -> tuple[list[list[int]], Fraction]:
    """Return q·kᵀ as integers in units of a power of two, exactly."""
    from flint import fmpz_mat

    from harness.formats import power_of_two

    whole, unit = [], Fraction(1)
    for x in (q, k):
        fractions = [Fraction(value) for value in x.ravel().tolist()]
        bits = max(f.denominator.bit_length() - 1 for f in fractions)
        unit *= power_of_two(-bits)
        whole.append(fmpz_mat(*x.shape, [int(f * (1 << bits)) for f in fractions]))
    return [[int(s) for s in row] for row in (whole[0] * whole[1].transpose()).tolist()], unit


def _entropy(
    scores: Sequence[Sequence[int]], unit: Fraction, scale: Fraction | None, d: int, problem: ExactProblem
) -> ReferenceArray:
    """Return the mean over rows of ln(1 + S) + Σ e^−g·g/(1 + S), S the sum of all e^−g but the largest's."""
    from harness.reference.certify import ball_of, certify, total
    from harness.reference.elements import ZERO

    def mean(bits: int) -> list[arb]:
        from flint import arb

        c = ball_of(unit) * (arb(1) / arb(d).sqrt() if scale is None else ball_of(scale))
        entropies = []
        for row in scores:
            top = max(row) if scale is None or scale >= 0 else min(row)
            gaps = [c * (top - s) for s in row]
            gaps.remove(arb(0))
            exps = [(-gap).exp() for gap in gaps]
            others = total(exps)
            moment = total([e * gap for e, gap in zip(exps, gaps, strict=True)])
            entropies.append(others.log1p() + moment / (1 + others))
        return [total(entropies) / len(entropies)]

    kinds = ZERO if len(scores[0]) == 1 else None
    return certify(mean, fmt=problem.dtype.storage, shape=(), kinds=kinds)


def quantities(problem: ExactProblem) -> dict[str, Any]:
    """Return what weighs error terms: root mean square and mean of M, and sums of each row's entropy.

    `size` Σ p|ln p| of all keys. Of all but one with the largest score: `rest` Σ p, `spread` Σ p·g, `other`
    Σ p|ln p|, `raised` Σ p(e^(u·g) − 1), `tilt` the same times |ln p|, `moment` Σ p·e^(u·g)·u·g, and
    `against` Σ e^(u·g − g), their sum against that one. `top` is its p, `unlike` its |ln p|.
    """
    import numpy as np

    q, k = problem.inputs["q"], problem.inputs["k"]
    m, d = q.shape
    u = float(problem.dtype.storage.unit_roundoff)
    of_keys = ("size", "rest", "spread", "other", "raised", "tilt", "moment", "against", "top", "unlike")
    made: dict[str, Any] = {name: np.zeros((m, 1)) for name in ("score_size", "mean_gap", "terms", *of_keys)}
    for b in family.blocks(problem):
        whole = np.sum(np.exp(-b.gap), axis=1, keepdims=True)
        logarithm = b.gap + np.log(whole)
        others = np.arange(b.gap.shape[1]) != np.argmin(b.gap, axis=1)[:, None]
        raised = np.where(others, b.p + b.tilted, 0.0)
        terms = {
            "size": b.p * logarithm,
            "rest": others * b.p,
            "spread": others * b.p * b.gap,
            "other": others * b.p * logarithm,
            "raised": others * b.tilted,
            "tilt": others * b.tilted * logarithm,
            "moment": raised * u * b.gap,
            "against": raised * whole,
            "top": ~others * b.p,
            "unlike": ~others * logarithm,
        }
        sums = {name: np.sum(values, axis=1, keepdims=True) for name, values in terms.items()}
        for name, values in {**b.of_rows(), **sums}.items():
            made[name][b.rows] = values
    sizes = family.scale_size(problem.parameters, d) * (np.abs(q) @ np.abs(k).T)
    made["root_mean_square"] = float(np.sqrt(np.mean(sizes * sizes)))
    return made


def bound(
    problem: ExactProblem, reference: Reference, precision: Precision
) -> Mapping[str, NDArray[np.float64]]:
    """Return log2 of the bounds on both.

    Variance. With scores moved by δ_ij ≤ f·M_ij + τ, r = rms(δ), a standard deviation moves by r at most. A
    mean in N roundings moves it by no more than ε² more, ε = (N·u_acc + 2u)·rms(s), and squares, their sum
    and its quotient are within e^(N·u_acc + 6u): e^(…)·((σ + r)² + ε²) − σ².

    Entropy: `entropy_error` of each row, and what n weights lose that underflow, n·ω·(|ln ω| + 1).
    """
    import numpy as np

    q = reference.quantities
    (m, d), n = problem.inputs["q"].shape, problem.inputs["k"].shape[0]
    u, acc, least = precision.u_out, precision.u_acc, float(precision.format.min_subnormal)
    sigma = float(np.sqrt(_magnitude(reference.outputs["variance"])))
    rms = float(q["root_mean_square"])
    moved = float(np.max(family.score_error(problem, np.asarray(rms), d, precision)))
    mean = (m * n * acc + 2 * u) * (rms + moved)
    with np.errstate(over="ignore", divide="ignore"):
        summed = m * n * acc + 6 * u
        wide = (sigma + moved) ** 2 + mean**2
        change = np.expm1(summed) * wide + moved * (2 * sigma + moved) + mean**2 + 2 * least
        rows = entropy_error(problem, q, precision)
        entropy = np.mean(rows) + n * least * (1 - np.log(least))
        return {"variance": np.asarray(np.log2(change)), "entropy": np.asarray(np.log2(entropy))}


def entropy_error(problem: ExactProblem, q: Mapping[str, Any], precision: Precision) -> Floats:
    """Return the error of each row's entropy H, (m, 1), from its `quantities`.

    Scores. Where they move by δ, |δ| ≤ Δ, dH = −Σ p·(δ − Σ p·δ)·ln p: weights keep the sum 1, and what all
    have in common moves nothing. So it is at most Δ times the mean deviation of ln p, which is at most twice
    that from the largest, and on the way from s to s + δ no p grows by more than e^2Δ:

        |H(s + δ) − H(s)| ≤ 2Δ·e^2Δ·Σ p·(g + 2Δ)     over all keys but one with the largest score, g its lead

    Weights. Of those of the moved scores, p̂ = p·e^θ, |θ| ≤ a + u·g, a being η less what scores have, makes
    p̂ ln p̂ − p ln p = p·((e^θ − 1)·ln p + e^θ·θ). Of the largest, 1/(1 + R), R = Σ e^−g of the others,
    as e^0 = 1 (IEEE 754-2019, 9.2.1): adding to 1 loses no more than is added, R, a quotient or a rounding to
    a number below 1 that is not 1 itself no more than that again, and exponentials are off by part of R: θ is
    at most 6R·e^a beside. So a softmax that saturates gives an entropy as small as it is.

    Logarithm, product, sums and means are within e^ρ, ρ = (2·LOG_ULP + 4)·u + (m + n)·u_acc, of terms of one
    sign. Whatever the scores were, weights whose sum is e^β have an entropy between −β·e^β and
    (ln n + β)·e^β: the error is at most (ln n + 2β)·e^(β + ρ).
    """
    import numpy as np

    (m, d), n = problem.inputs["q"].shape, problem.inputs["k"].shape[0]
    u, acc = precision.u_out, precision.u_acc
    keys = ("score_size", "rest", "spread", "other", "raised", "tilt", "moment", "against", "top", "unlike")
    score_size, rest, spread, other, raised, tilt, moment, against, top, unlike = (
        np.asarray(q[name]) for name in keys
    )
    delta = np.minimum(family.score_error(problem, score_size, d, precision), family.LARGEST_EXPONENT)
    eta, beta = family.log_error_of_weights(problem, q, precision)
    rho = (2 * LOG_ULP + 4) * u + (m + n) * acc
    with np.errstate(over="ignore", invalid="ignore"):
        grown, a = np.exp(2 * delta), eta - 2 * delta
        scores = 2 * delta * grown * (spread + 2 * delta * rest)
        of_others = np.expm1(a) * (other + 2 * delta * rest) + np.exp(a) * (
            tilt + 2 * delta * raised + a * (rest + raised) + moment
        )
        theta = np.minimum(a, 6 * np.exp(a) * grown * against)
        of_top = np.minimum(top * grown, 1.0) * (
            np.expm1(theta) * np.minimum(unlike + 2 * delta, grown * against) + np.exp(theta) * theta
        )
        moved = scores + grown * of_others + of_top
        found = moved + np.expm1(rho) * (np.asarray(q["size"]) + moved)
        most = np.exp(beta + rho) * (np.log(n) + 2 * beta)
        return np.asarray(np.fmin(np.where(eta < family.LARGEST_EXPONENT, found, np.inf), most))


def _magnitude(elements: ReferenceArray) -> Floats:
    import numpy as np

    return np.asarray(np.exp2(elements.log2_abs()))


def cost(
    shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], element_bytes: int
) -> Cost:
    """Return 2mnd flops of the product, and 12mn: scale, softmax, p·ln p and its sum, variance."""
    (m, d), n = shapes["q"], shapes["k"][0]
    return Cost(2 * m * n * d + 12 * m * n, (m * d + n * d + 2) * element_bytes)


def _results(xp: Any, wide: Any, *values: Any) -> tuple[Any, ...]:
    return values if wide is xp else tuple(wide.astype(value, xp.dtype.name) for value in values)


@formulation(
    "score_statistics", "naive", title="E[s²] − E[s]², and −Σ p·ln p", needs=family.NEEDS,
    compute=family.COMPUTE,
)  # fmt: skip
def naive(xp: Any, q: Any, k: Any, scale: Written = family.INVERSE_SQRT) -> Callable[[], Any]:
    """Give NaN where a weight underflows to 0: 0·ln 0. Squares may cancel."""
    c = family.scale_scalar(xp, scale, q.shape[-1])

    def thunk() -> Any:
        wide, s = at_least_single(xp, xp.multiply(xp.matmul(q, xp.transpose(k)), c))
        variance = wide.subtract(wide.mean(wide.square(s)), wide.square(wide.mean(s)))
        p = family.softmax(wide, s)
        terms = wide.sum(wide.multiply(p, wide.log(p)), axis=-1)
        return _results(xp, wide, variance, wide.negative(wide.mean(terms)))

    return thunk


@formulation(
    "score_statistics", "guarded", title="two passes, and −Σ p·ln p with 0·ln 0 = 0", needs=family.NEEDS,
    compute=family.COMPUTE,
)  # fmt: skip
def guarded(xp: Any, q: Any, k: Any, scale: Written = family.INVERSE_SQRT) -> Callable[[], Any]:
    """Subtract the mean before squaring, and take the logarithm of 1 where a weight is 0."""
    c = family.scale_scalar(xp, scale, q.shape[-1])

    def thunk() -> Any:
        wide, s = at_least_single(xp, xp.multiply(xp.matmul(q, xp.transpose(k)), c))
        variance = wide.mean(wide.square(wide.subtract(s, wide.mean(s))))
        p = family.softmax(wide, s)
        logarithm = wide.log(wide.where(wide.equal(p, wide.scalar(0)), wide.scalar(1), p))
        terms = wide.sum(wide.multiply(p, logarithm), axis=-1)
        return _results(xp, wide, variance, wide.negative(wide.mean(terms)))

    return thunk


register_operation(
    Operation(
        name="score_statistics",
        title="Variance of scores and entropy of their softmax",
        formula="variance of all s_ij = c·q_i·k_j; entropy = mean_i −Σ_j p_ij ln p_ij, p_i = softmax(s_i)",
        inputs={"q": "(m, d)", "k": "(n, d)"},
        outputs=("variance", "entropy"),
        dtypes=family.DTYPES,
        reference=reference,
        reference_version=2,
        bound_formula=(
            "variance: e^(N·u_acc + 6u)·((σ + r)² + ε²) − σ², r = ((1 + d·u_acc)(1 + u)^5 − 1)·rms(M) + τ, "
            "ε = (N·u_acc + 2u)·(rms(M) + r); "
            "entropy: the mean of what `entropy_error` derives, 2Δ·e^2Δ·Σ p·(g + 2Δ) for the scores and "
            "Σ p·((e^θ − 1)|ln p| + e^θ·θ) for the weights, at most (ln n + 2β)·e^(β + ρ)"
        ),
        bound_source=family.SOURCE,
        bound=bound,
        parameters={"scale": family.SCALE},
        cost=cost,
    )
)
