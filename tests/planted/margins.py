"""Which planted answers pass, and why they may: the lists that `tests/test_planted_everywhere.py` holds true.

An entry that is caught after all fails the test, as an answer does that passes without an entry. A place is
`operation/output`, or `operation, gradient/grad_input`.
"""

from __future__ import annotations

from typing import Final

_SCORES: Final = "scores are rounded in the exponent: d·u·Σ|q||k| of each weight, and n·u of their sum"
_SUMS: Final = "sums of n and of d products that cancel, of weights whose scores are rounded in the exponent"
_SPREADS: Final = "log₂n + 18 additions of a blocked sum and 7 roundings, and what the mean is off by"
_SCORE_OF_LOGARITHMS: Final = "8u of each logarithm, n·u·Σ of them, in the exponent of each weight"
_FACTORS: Final = "max(20, 3d + 1)·d·u·‖Σ‖ of whatever factorisation, times what Σ⁻¹ makes of it"
_FROM_ABOVE: Final = "a measurement, judged from one side: more bits, or smaller numbers, are no fault"

FACTOR_ALLOWED: Final = {
    "attention/y": _SCORES,
    "attention, gradient/grad_q": _SUMS,
    "attention, gradient/grad_k": _SUMS,
    "attention, gradient/grad_v": _SUMS,
    "bayes_posterior/y": _SCORE_OF_LOGARITHMS,
    "bayes_posterior, gradient/grad_prior": _SCORE_OF_LOGARITHMS,
    "bayes_posterior, gradient/grad_likelihoods": _SCORE_OF_LOGARITHMS,
    "cbrt, gradient/grad_x": "two cube roots of 4 ulp, which are 8u each, in a product",
    "correlation/y": _SPREADS,
    "exp2, gradient/grad_x": "4 ulp of a power are 8u, times a rounded ln 2",
    "layer_norm/y": "the mean is off by n·u·Σ|x|/n, in each of its results, and the variance by (n + 6)·u",
    "layer_norm, gradient/grad_x": "sums of n that cancel, of what has the errors of layer_norm",
    "least_squares/x": "20·√(mn)·κ·u is allowed forward, and 10·√(mn)·u backward",
    "likelihood/y": "3n·u: a product, and two scalings that libraries may round, of each of n factors",
    "likelihood, gradient/grad_densities": "(6n + 4)·u: the roundings of n factors, and as many back",
    "logsumexp/y": "9u·|y|: 4 ulp of a logarithm are 8u, and the maximum is added",
    "logsumexp, gradient/grad_x": "that of softmax: 15u and more",
    "masked_attention/y": _SCORES,
    "masked_attention, gradient/grad_q": _SUMS,
    "masked_attention, gradient/grad_k": _SUMS,
    "masked_attention, gradient/grad_v": _SUMS,
    "matmul_precision/accumulator_bits": _FROM_ABOVE,
    "matmul_precision/rounding_error": "a quarter of a unit is exact, and a half is allowed",
    "mle_bernoulli/p": "(n + 7)·u: a sum of n flips, or six roundings of the score and its last bracket",
    "mle_normal/variance": "(n + 10)·u: a sum of n squares, or the root of the score that it makes",
    "mutual_information/information": "10u·Σ p·|ln(p/m)|, 9u·Σ|d| and 75u² of all p, of terms that cancel",
    "scaled_cast/y": "it goes through 8 bits: half a unit of theirs is 2⁻⁴ of the value",
    "mvn_log_density/y": _FACTORS,
    "mvn_log_density, gradient/grad_x": _FACTORS,
    "mvn_log_density, gradient/grad_mean": _FACTORS,
    "normal_quantile/y": "11u·|y|: 4 ulp of a special function are 8u, and √2 and a product are 2u more",
    "score_statistics/variance": "N·u of a mean of N = m·n squares, in whatever order they are added",
    "score_statistics/entropy": _SCORES,
    "sigmoid, gradient/grad_x": "an exponential of 3 ulp, which are 6u, in three factors",
    "softmax/p": "15u and more: 4 ulp each of two exponentials are 8u a piece, with sum and quotient",
    "softmax, gradient/grad_x": "the 15u of softmax, in p and again in Σ p·g",
    "standard_deviation, gradient/grad_x": _SPREADS,
    "tanh, gradient/grad_x": "an exponential of 3 ulp, which are 6u, in three factors",
    "variance/y": _SPREADS,
    "variance, gradient/grad_x": _SPREADS,
}
"""Where no problem that is tried tells 1 + 8u from right: place → what makes its bound as large."""

DERIVED: Final = {
    "harness.operations.definition": "running error analysis counts each rounding of the stated algorithm",
}
"""The same of bounds that a machine derives, by the module that does: up to 1 + `LOOSEST`·u may pass."""

LOOSEST: Final = 256
"""Of tiny problems: some thirty operations deep, of four units each, and a cancellation of one bit."""

PASSING: Final = {
    ("matmul_precision/rounding_error", "zeros"): "nothing rounded within reach is declared to be 0",
    ("matmul_precision/product_bits", "off by one"): "104 of 105 bits are more than the 53 declared",
}
"""What else passes, in every problem of a dtype: (place, `zeros`, `off by one` or `naive: …`) → why."""
