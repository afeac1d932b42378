"""What matrix products are computed in, measured by products of tiny matrices and of long rows.

The probes are those of Fasi, Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA tensor cores, PeerJ
Comput. Sci. 7, e330 (2021), asked of every shape in `_products`, for libraries choose another kernel for
another shape. Every answer is the worst of all shapes.

- `input_bits`: the most bits t of which 1 + 2^(1−t), as either factor beside a 1, comes back: 11 for TF32.
- `product_bits`: the most bits t = i + j + 1 with (1 + 2^−i)·(1 + 2^−j) − (1 + 2^−i + 2^−j) = 2^−(i+j). Of
  orders, places and lengths the best counts: a fused multiply-add shows all 2p − 1 bits where the product
  comes last, separate instructions no more than those of the accumulator.
- `accumulator_bits`: the least r at which B, m·s one by one, −B and −m·s, B = 2^r·s, do not add up to 0. With
  m ≤ 2^r every partial sum is a multiple of s of at most 2^(r+1)·s, which r + 1 bits hold in *any* order: a
  sum other than 0 proves that no more than r bits were kept. An accumulator of r bits loses s beside B
  (a tie, that goes to the even B); one of tensor cores with guard bits keeps it, and shows them.
- `rounding_error`: the largest error of B + f − B for f = ±¼, ±¾ of the last bit of the accumulator at B, in
  that bit: ¼ to nearest, ¾ in any one direction, 0 where nothing is rounded within reach.
- `min_product`, `min_input`: the least 2^(e_min−j) that comes back as the product of normal numbers, and the
  least that is not taken for 0 as a factor. The smallest subnormal number, unless those are flushed.

How far can be seen: r ends at 60, and at 28 in float16, whose range holds no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

from harness.errors import InputError
from harness.formats import NumberFormat, power_of_two
from harness.model import Written
from harness.operations import matmul
from harness.registry import Cost, ExactProblem, Operation, Thunk, formulation, register_operation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import Precision
    from harness.reference.elements import Reference

OUTPUTS: Final = (
    "input_bits", "product_bits", "accumulator_bits", "rounding_error", "min_product", "min_input",
)  # fmt: skip

COLUMNS: Final = 16
"""Equal columns of the second matrix: enough for a kernel of blocks."""
INNER: Final = (1, 16, 64, 512)
"""Inner indices of products with one or two terms, the others 0: dot products, tiles, blocks of a GPU."""
PAIRED: Final = (16, 64)
"""Those for products of two factors of several bits, of which there are many."""
SMALL_TERMS: Final = ((1, 4), (8, 16), (32, 64), (1024, 1040))
"""(most small terms m, inner indices): 1024 are more than the lanes of any vector unit; some meet B."""
REACH: Final = 60

Product = Callable[[Any, Any], Any]


def _reference(problem: ExactProblem) -> Reference:
    """Return what products in the dtype itself show: its own bits, a fused product, ties to even."""
    import numpy as np

    from harness.reference.elements import Reference, ReferenceArray

    if problem.inputs["one"].tolist() != [1.0]:
        raise InputError("matmul_precision makes its factors from 1: its input is that one number")
    fmt, factors = problem.dtype.storage, problem.dtype.compute
    exact = (
        factors.precision,
        2 * factors.precision - 1,
        fmt.precision,
        0.25,
        float(fmt.min_subnormal),
        float(factors.min_subnormal),
    )
    found = {n: ReferenceArray.from_float64(np.array([x])) for n, x in zip(OUTPUTS, exact, strict=True)}
    return Reference(found)


def _judge(
    problem: ExactProblem,
    reference: Reference,
    outputs: Mapping[str, NDArray[np.float64]],
    precision: Precision,
) -> Mapping[str, Mapping[str, float]]:
    """Return what is declared over what was found; above 1 where there is less than that.

    More bits, or smaller numbers, are no fault, as far as they can be: a format has no more bits than its
    precision, and no number below ω. What is claimed beyond that was not measured, and the ratio is infinite.
    """
    import numpy as np

    found = {name: float(values[0]) for name, values in outputs.items()}
    factors, accumulator = (int(-np.log2(u)) for u in (precision.u_in, precision.u_acc))
    declared = {
        "input_bits": factors,
        "product_bits": min(2 * factors - 1, accumulator),
        "accumulator_bits": min(accumulator, _reach(precision.format)),
    }
    ratios = {name: bits / found[name] if found[name] > 0 else np.inf for name, bits in declared.items()}
    omega = float(precision.format.min_subnormal)
    ratios |= {
        "rounding_error": 2 * found["rounding_error"],
        "min_product": found["min_product"] / omega,
        "min_input": found["min_input"] / float(problem.dtype.compute.min_subnormal),
    }
    most = {
        "input_bits": precision.format.precision,
        "product_bits": 2 * problem.dtype.compute.precision - 1,
        "accumulator_bits": _reach(precision.format),
    }
    impossible = [name for name, bits in most.items() if found[name] > bits]
    impossible += [name for name in ("min_product", "min_input") if found[name] < omega]
    ratios |= dict.fromkeys(impossible, np.inf)
    return {name: {"bound_ratio": float(ratio)} for name, ratio in ratios.items()}


def cost(shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Written], itemsize: int) -> Cost:
    """Return nothing: how long a probe takes says nothing."""
    return Cost(0, 0)


register_operation(
    Operation(
        name="matmul_precision",
        title="What matrix products are computed in, measured",
        formula="bits of factors, products and sums, error of one rounding, smallest product and factor",
        inputs={"one": "(1,), the number 1"},
        outputs=OUTPUTS,
        dtypes=("float64", "float32", "bfloat16", "float16"),
        reference=_reference,
        reference_version=1,
        bound_formula=(
            "−log₂ u_in, min(2p_in − 1, −log₂ u_acc) and −log₂ u_acc bits over those found; the error of a "
            "rounding over ½; the smallest number found over ω; none may be what the format does not have"
        ),
        bound_source=(
            "what the backend declares; Fasi, Higham, Mikaitis and Pranesh 2021: "
            "rounding to nearest errs by half a unit, subnormal numbers are kept"
        ),
        judge=_judge,
        cost=cost,
    )
)


@formulation("matmul_precision", "matmul", title="The library's own product", needs=("elementwise", "matmul"))
def library_product(xp: Any, one: Any) -> Thunk:
    """Probe matmul."""
    return _Probe(xp, one, xp.matmul).measured


@formulation(
    "matmul_precision",
    "blocked",
    title=f"Sum of products of tiles of {matmul.TILE} inner indices, added up in the dtype",
    needs=("elementwise", "matmul"),
    compute={name: name for name in ("float64", "float32", "bfloat16", "float16")},
)
def blocked(xp: Any, one: Any) -> Thunk:
    """Probe the formulation of that name of the matrix product."""
    return _Probe(xp, one, lambda a, b: matmul.blocked(xp, a, b)()).measured


@formulation(
    "matmul_precision",
    "float32_accumulate",
    title="Widened to float32, multiplied there, rounded once",
    needs=("elementwise",),
    compute=dict.fromkeys(("bfloat16", "float16"), "float32"),
)
def float32_accumulate(xp: Any, one: Any) -> Thunk:
    """Probe the formulation of that name of the matrix product."""
    return _Probe(xp, one, lambda a, b: matmul.float32_accumulate(xp, a, b)()).measured


def _reach(fmt: NumberFormat) -> int:
    """Return the largest r for which 2^r·s, s and the sum of both are normal numbers of the format."""
    return min(REACH, _top(fmt) - fmt.exponent_min)


def _top(fmt: NumberFormat) -> int:
    """Return log2 of B: B and as much again are finite."""
    return min(REACH // 2, fmt.exponent_max - 1)


@dataclass(frozen=True)
class _Probe:
    """One product of matrices, and what it shows. Probes are float64 arrays that the dtype holds exactly."""

    xp: Any
    one: Any
    product: Product
    scalars: dict[float, Any] = field(default_factory=dict)
    """Numbers that were rounded to the dtype before: the probes share most of theirs."""

    def measured(self) -> tuple[Any, ...]:
        """Return the outputs of the operation, as native arrays of one element."""
        xp, fmt = self.xp, self.xp.dtype.storage
        kept = self._accumulator_bits(fmt)
        bits = (self._input_bits(fmt), self._product_bits(xp.dtype.compute, kept), kept)
        error = self._rounding_error(fmt, kept)
        product = self._least(fmt, 0, fmt.exponent_min)
        factor = self._least(fmt, fmt.exponent_min, fmt.precision)
        numbers = (*bits, error, power_of_two(product), power_of_two(factor))
        return tuple(x if x is error else xp.full((1,), xp.scalar(x)) for x in numbers)

    def _input_bits(self, fmt: NumberFormat) -> int:
        import numpy as np

        factors = 1 + np.exp2(-np.arange(1.0, fmt.precision))
        return 1 + min(
            self._agreeing(c, factors)
            for inner in INNER
            for c in self._products(_first_of(factors, inner), np.ones(inner))
        )

    def _product_bits(self, factors: NumberFormat, kept: int) -> int:
        """Return the most bits of products seen by way of each shape, at worst.

        A short row may give no lane two terms, and show no more than the bits that sums are kept in: rows
        of other lengths speak for it then, but not where it shows fewer.
        """
        import numpy as np

        most, scale = 2 * factors.precision - 1, 2.0**8  # unscaled, 2^−20 would be subnormal in float16
        seen: dict[tuple[int, int], set[int]] = defaultdict(set)
        for j in range(1, factors.precision):
            first, second = 1 + 2.0 ** -np.arange(j, min(j + 2, factors.precision)), 1 + 2.0**-j
            for inner in PAIRED:
                places = _places(inner)
                rows, column = np.zeros((len(first) * len(places), inner)), np.ones(inner)
                rows[:, 0], column[0] = scale * np.repeat(first, len(places)), second
                rows[range(len(rows)), places * len(first)] = -scale * np.repeat(
                    (first - 1) + second, len(places)
                )
                left = self._native(np.asarray(scale * (first - 1) * (second - 1)))
                for order in (1, -1):
                    for way, c in enumerate(self._products(rows[:, ::order], column[::order])):
                        shown = seen[inner, way]
                        for n in range(len(first)):
                            group = c[n * len(places) : (n + 1) * len(places)]
                            if bool(self.xp.any(self.xp.equal(group, left[n]))):
                                shown.add(2 * j + n + 1)
        found = {at: next(t for t in range(3, most + 2) if t not in bits) - 1 for at, bits in seen.items()}
        fewer = [bits for bits in found.values() if bits < min(most, kept)]
        ways = {way for _, way in found}
        best = (max(bits for (_, way), bits in found.items() if way == w) for w in ways)
        return min(fewer or best, default=1)

    def _accumulator_bits(self, fmt: NumberFormat) -> int:
        import numpy as np

        reach = _reach(fmt)
        found = [reach]
        for most, inner in SMALL_TERMS:
            groups = [_cancelling(2.0 ** _top(fmt), r, min(most, 1 << r), inner) for r in range(1, reach + 1)]
            rows = np.concatenate(groups)
            zeros = np.zeros(len(rows))
            products = self._products(rows, np.ones(inner))
            found += [1 + self._agreeing(c, zeros) // len(groups[0]) for c in products]
        return min(min(found), reach)

    def _rounding_error(self, fmt: NumberFormat, kept: int) -> Any:
        import numpy as np

        xp, big = self.xp, 2.0 ** _top(fmt)
        last = big * 2.0 ** (1 - min(kept, _reach(fmt) - 1))
        worst = xp.full((1,), xp.scalar(0))
        for inner in INNER[1:]:
            places = _places(inner)
            added = last * np.repeat((0.25, 0.75, -0.25, -0.75), len(places))
            rows = np.zeros((len(added), inner))
            rows[range(len(added)), places * 4] = added
            rows[:, 0], rows[:, -1] = big, -big
            for c in self._products(rows, np.ones(inner)):
                error = xp.abs(xp.subtract(c, self._native(added[:, None])))
                worst = xp.maximum(worst, xp.reshape(xp.max(error), (1,)))
        return xp.divide(worst, xp.scalar(last))

    def _least(self, fmt: NumberFormat, first: int, second: int) -> int:
        """Return log2 of the least number found; factors are 2^(first − j) and 2^second."""
        import numpy as np

        powers = np.exp2(first - np.arange(float(fmt.precision)))
        products = np.ldexp(powers, second)
        kept = min(
            self._agreeing(c, products)
            for inner in INNER
            for c in self._products(_first_of(powers, inner), np.full(inner, 2.0**second))
        )
        return fmt.exponent_min + 1 - kept

    def _products(self, rows: NDArray[np.float64], column: NDArray[np.float64]) -> Iterator[Any]:
        """Yield rows times the column, by way of each shape, as native arrays with a row for each."""
        import numpy as np

        xp, (count, inner) = self.xp, rows.shape
        left, row_places = self._table(rows)
        right, places = self._table(column)
        columns = np.repeat(places[:, None], COLUMNS, axis=1)
        a, b, one = (
            _taken(xp, left, row_places),
            _taken(xp, right, columns),
            _taken(xp, right, places[:, None]),
        )
        yield self.product(a, b)
        yield self.product(a, one)
        yield xp.transpose(self.product(_taken(xp, right, columns.T), _taken(xp, left, row_places.T)))
        yield xp.concat([self.product(a[i : i + 1], one) for i in range(count)])
        stacked = _taken(xp, right, np.repeat(places[None, :, None], count, axis=0))
        yield xp.reshape(self.product(xp.reshape(a, (count, 1, inner)), stacked), (count, 1))

    def _table(self, values: NDArray[np.float64]) -> tuple[Any, NDArray[np.intp]]:
        """Return the different values as a native vector, and where in it each value is."""
        import numpy as np

        xp = self.xp
        different, places = np.unique(values, return_inverse=True)
        numbers: list[float] = different.tolist()
        self.scalars.update({x: xp.full((1,), xp.scalar(x)) for x in numbers if x not in self.scalars})
        table = xp.concat([self.scalars[x] for x in numbers])
        return xp.multiply(table, self.one), places.reshape(values.shape)

    def _native(self, values: NDArray[np.float64]) -> Any:
        return _taken(self.xp, *self._table(values))

    def _agreeing(self, found: Any, expected: NDArray[np.float64]) -> int:
        """Return how many rows, from the first on, hold nothing but what is expected of them."""
        same = self.xp.equal(found, self._native(expected[:, None]))
        differing = (i for i in range(len(expected)) if not bool(self.xp.all(same[i])))
        return next(differing, len(expected))


def _taken(xp: Any, table: Any, places: NDArray[np.intp]) -> Any:
    """Return a native, contiguous array of the entries of a vector."""
    return xp.reshape(xp.take(table, places.reshape(-1)), places.shape)


def _places(inner: int) -> list[int]:
    """Return the powers of two below the last place of a row."""
    return [1 << e for e in range(inner.bit_length()) if 1 << e < inner - 1]


def _first_of(values: NDArray[np.float64], inner: int) -> NDArray[np.float64]:
    """Return rows that begin with one of the values; the others are 0."""
    import numpy as np

    rows = np.zeros((len(values), inner))
    rows[:, 0] = values
    return rows


def _cancelling(big: float, r: int, m: int, inner: int) -> NDArray[np.float64]:
    """Return rows of B, s (m of them), −B and −m·s in several orders, B = 2^r·s, then zeros."""
    import numpy as np

    s = big * 2.0**-r
    if inner < 8:
        return np.array(list(permutations([big, s, -big, -s])))
    ones, half = [s] * m, m // 2
    rows = [
        [big, *ones, -big, -m * s],
        [-m * s, -big, *ones, big],
        [big, *ones[:half], -big, *ones[half:], -m * s],
        [-m * s, *ones[:half], -big, *ones[half:], big],
    ]
    return np.array([row + [0.0] * (inner - len(row)) for row in rows])
