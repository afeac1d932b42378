"""What a formulation gives for inputs, judged as a run judges its cells."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from harness import catalogue
from harness.formats import DTYPES, Precision, decode, encode, round_array
from harness.metrics.score import score
from harness.registry import BACKENDS, COTANGENT, OPERATIONS, ExactProblem, find_formulation, support
from harness.tape import differentiated

Array = np.ndarray[Any, np.dtype[np.float64]]


class Judged:
    """One problem: inputs rounded to a dtype, their certified reference, and what formulations make of them.

    Parameters
    ----------
    inputs
        By name; with a `cotangent` the gradients with respect to `wrt` are judged.
    """

    def __init__(
        self, operation: str, dtype: str, *, wrt: tuple[str, ...] = (), parameters: Any = None, **inputs: Any
    ) -> None:
        catalogue.load()
        self.name, self.dtype, self.wrt = operation, DTYPES[dtype], wrt
        self.plain = OPERATIONS[operation]
        self.operation = self.plain.differentiated(wrt)
        fmt = self.dtype.storage
        self.inputs = {k: round_array(fmt, np.asarray(v, np.float64)) for k, v in inputs.items()}
        self.parameters = {**self.plain.defaults(), **(parameters or {})}
        self.problem = ExactProblem(operation, self.inputs, self.parameters, self.dtype, wrt)
        self.reference = self.operation.reference(self.problem)

    def outputs(self, formulation: str, backend: str) -> dict[str, Array]:
        """Return what a formulation gives, or the gradients of it."""
        found = BACKENDS[backend]
        build = find_formulation(self.name, formulation, backend).build
        fmt = self.dtype.storage
        arrays = {k: found.from_bits(encode(fmt, v), fmt) for k, v in self.inputs.items()}
        cotangent = arrays.pop(COTANGENT, None)
        xp = found.namespace(self.dtype, checked=True)
        with np.errstate(all="ignore"), warnings.catch_warnings():  # a kernel's warning is no result
            warnings.simplefilter("ignore")
            if not self.wrt:
                made = build(xp, *arrays.values(), **self.parameters)()
            else:
                places = [list(self.plain.inputs).index(name) for name in self.wrt]
                if found.autograd:
                    whole = partial(build, xp, **self.parameters)
                    made = found.differentiated(whole, list(arrays.values()), places, cotangent)()
                else:
                    whole = partial(build, **self.parameters)
                    made = differentiated(whole, xp, list(arrays.values()), places, cotangent)()
        parts = made if isinstance(made, tuple) else (made,)
        decoded = []
        for part in parts:
            bits, kept = found.to_bits(part)
            decoded.append(round_array(self.dtype.storage, decode(DTYPES[kept].storage, bits)))
        return dict(zip(self.operation.outputs, decoded, strict=True))

    def rows(self, outputs: dict[str, Array], computed: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the row of each output, as `results.csv` has it."""
        precision = Precision.of(self.dtype, computed or self.dtype.storage.name)
        return score(self.operation, self.problem, self.reference, outputs, precision)

    def passes(self, values: Array, output: str | None = None) -> bool:
        """Return whether such an answer is judged right."""
        name = output or next(iter(self.operation.outputs))
        row = self.rows({name: round_array(self.dtype.storage, values)})[name]
        return row["outcome"] == "ok" and row["bound_ratio"] <= 1

    def exact(self, output: str | None = None, dtype: str | None = None) -> Array:
        """Return the exact result, rounded once to the dtype or to another."""
        name = output or next(iter(self.operation.outputs))
        fmt = self.dtype.storage if dtype is None else DTYPES[dtype].storage
        return self.reference.outputs[name].round_to(fmt)

    def row(self, formulation: str, backend: str = "numpy", output: str | None = None) -> dict[str, Any]:
        """Return the row of a formulation: of its only output, or of the one named."""
        mode = "backward" if self.wrt else "forward"
        computed = support(self.name, formulation, BACKENDS[backend], self.dtype.name, mode)
        assert isinstance(computed, str), computed
        rows = self.rows(self.outputs(formulation, backend), computed)
        return rows[output or next(iter(rows))]

    def runs(self, formulation: str, backend: str) -> bool:
        """Return whether a backend has this formulation in this dtype."""
        mode = "backward" if self.wrt else "forward"
        if find_formulation(self.name, formulation, backend) is None:
            return False
        return isinstance(support(self.name, formulation, BACKENDS[backend], self.dtype.name, mode), str)
