"""The rows of the guide to the mathematics of machine learning, which cases name under `guide:`.

Nothing here imports more than the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the guide."""

    number: str
    title: str
    topic: str
    """What its cases say under `topic:`."""

    def __str__(self) -> str:
        return f"{self.number} {self.title}"


@dataclass(frozen=True, slots=True)
class Row:
    """One computation of the guide."""

    id: str
    title: str
    section: Section

    @property
    def topic(self) -> str:
        """What its cases say under `topic:`, as a rule."""
        return self.section.topic


_GUIDE: Final[Mapping[tuple[str, str, str], Mapping[str, str]]] = {
    ("1.1", "Vectors", "vectors"): {
        "LA1": "Sum of vectors, multiple of a vector",
        "LA2": "Inner product",
        "LA3": "Cosine similarity",
        "LA4": "The norms L1, L2 and L∞",
    },
    ("1.2", "Matrices", "matrices"): {
        "LA5": "Product of matrices",
        "LA6": "Transpose of a product, (AB)ᵀ = BᵀAᵀ",
        "LA7": "Determinant and its logarithm",
        "LA8": "Inverse, A·A⁻¹ = I",
        "LA9": "Rank",
    },
    ("1.3", "Eigenvalues, principal components, singular values", "eigen"): {
        "LA10": "Eigenvalues and eigenvectors of a general matrix",
        "LA11": "Eigendecomposition of a symmetric matrix",
        "LA12": "Principal components",
        "LA13": "Singular values and approximation of rank k",
        "LA14": "Update of low rank, W + BA",
    },
    ("1.4", "Linear algebra in deep learning", "deep-learning-layers"): {
        "LA15": "Linear layer, one vector and a batch",
        "LA16": "Linear layers without anything between them",
    },
    ("2.1", "Differentiation", "differentiation"): {
        "CA1": "Gradient by differences",
        "CA2": "Gradient by automatic differentiation",
        "CA3": "Derivatives of sigmoid, tanh, ReLU, exp and log",
        "CA4": "Jacobian",
        "CA5": "Hessian, and the signs of its eigenvalues",
    },
    ("2.2", "Chain rule and backpropagation", "backpropagation"): {
        "CA6": "Backpropagation through a network of two layers",
    },
    ("2.3", "Optimisation", "optimisation"): {
        "CA7": "Gradient descent",
        "CA8": "Stochastic gradient descent and momentum",
        "CA9": "Adam",
        "CA10": "Inequality of convexity",
    },
    ("3.1", "Probability", "probability"): {
        "PR1": "Conditional probability and Bayes' theorem",
    },
    ("3.2", "Distributions", "distributions"): {
        "PR2": "Bernoulli, binomial and Poisson probabilities",
        "PR3": "Uniform and normal densities and distribution functions",
        "PR4": "Multivariate normal: log-density and sampling",
    },
    ("3.3", "Expectation and variance", "moments"): {
        "PR5": "Expectation, variance, standard deviation",
        "PR6": "Covariance and correlation",
    },
    ("3.4", "Maximum likelihood", "likelihood"): {
        "PR7": "Likelihood and log-likelihood",
        "PR8": "Maximum-likelihood estimates",
        "PR9": "Cross-entropy",
    },
    ("3.5", "Information theory", "information"): {
        "PR10": "Entropy",
        "PR11": "Kullback–Leibler divergence",
        "PR12": "Mutual information",
    },
    ("4.1", "Floating-point representation", "formats"): {
        "NM1": "0.1 + 0.2 in every format",
        "NM2": "Ranges of the formats",
        "NM3": "Conversion between formats",
    },
    ("4.2", "Numerical stability", "stability"): {
        "NM4": "Softmax",
        "NM5": "Log-softmax",
        "NM6": "Elementary functions",
    },
    ("5.1", "Ordinary least squares", "least-squares"): {
        "LR1": "Ordinary least squares",
        "LR4": "Mean squared error and its gradient",
    },
    ("5.2", "Ridge and lasso", "regularisation"): {
        "LR2": "Ridge regression",
        "LR3": "Lasso",
    },
    ("6.1", "A mathematical view of neural networks", "networks"): {
        "IN1": "One step of training of a network of several layers",
        "IN4": "Time of matrix products",
    },
    ("6.2", "The attention mechanism", "attention"): {
        "IN2": "Scaled dot-product attention",
        "IN3": "Why attention scales its scores",
    },
}

SECTIONS: Final[Mapping[str, Section]] = {head[0]: Section(*head) for head in _GUIDE}
"""By number, in the order of the guide."""

ROWS: Final[Mapping[str, Row]] = {
    id_: Row(id_, title, SECTIONS[head[0]]) for head, rows in _GUIDE.items() for id_, title in rows.items()
}
"""By id, in the order of the guide."""

TOPICS: Final = tuple(section.topic for section in SECTIONS.values())
"""What cases of the guide say under `topic:`; a case without a row of the guide may have another."""
