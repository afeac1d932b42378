"""The judge, a program of its own: makes inputs, certifies references, scores outputs.

No formulation runs here, so that a kernel which flips flush-to-zero or a rounding mode cannot touch
what judges it. Started as `python -m harness.referee`; requests and replies are JSON lines
(`harness.protocol`), arrays are files of bit patterns.

- `{"do": "prepare", "problem": Problem}` makes the inputs and their reference, once.
- `{"do": "score", "cell": id, "problem": Problem, "outputs": {name: path}, "formats": {name: format},
  "compute_dtype": dtype}` judges what a worker wrote.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import time
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import catalogue
from harness.channel import Channel
from harness.errors import InputError, UserError, did_you_mean
from harness.model import Problem, Published, Written
from harness.protocol import PROTOCOL_VERSION
from harness.registry import OPERATIONS, ExactProblem, Operation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.formats import NumberFormat
    from harness.reference.cache import ReferenceCache
    from harness.reference.elements import Reference

KEPT_BYTES = 256 << 20
"""Of problems that stay in memory; the next cell is nearly always of one of the last few."""


@dataclass(frozen=True)
class Prepared:
    """A problem whose inputs are made and whose reference is certified."""

    operation: Operation
    """The gradient's own record where the problem asks for one."""
    exact: ExactProblem
    formats: Mapping[str, NumberFormat]
    """What each input is stored in."""
    reference: Reference
    found: str
    """cached, computed, or recomputed where the cache held a damaged entry."""
    digest: str
    data_error: float | None
    published: Mapping[str, tuple[tuple[Fraction, ...], int]]

    @property
    def bytes(self) -> int:
        """What the arrays take in memory."""
        arrays: list[Any] = [*self.exact.inputs.values(), *self.reference.quantities.values()]
        for output in self.reference.outputs.values():
            arrays += [output.kind, output.hi, output.lo, output.exponent, output.radius_log2]
        return sum(int(getattr(array, "nbytes", 8)) for array in arrays)


class Referee:
    """Prepares problems and scores outputs; keeps the last few problems in memory."""

    def __init__(self, cache: ReferenceCache, scratch: Path) -> None:
        self._cache = cache
        self._scratch = scratch
        self._problems: OrderedDict[str, Prepared] = OrderedDict()
        self._bytes = 0

    def prepare(self, problem: Problem) -> dict[str, Any]:
        """Make the inputs of a problem, write their bits, and certify the reference."""
        start = time.perf_counter()
        prepared = self.prepared(problem)
        folder = self._scratch / hashlib.sha256(problem.key.encode()).hexdigest()[:24]
        return {
            "problem": problem.key,
            "status": "ok",
            "inputs": {
                name: str(_write_bits(folder / f"{name}.npy", prepared.formats[name].name, values))
                for name, values in prepared.exact.inputs.items()
            },
            "shapes": {name: list(values.shape) for name, values in prepared.exact.inputs.items()},
            "inputs_digest": prepared.digest,
            "data_error": prepared.data_error,
            "reference": prepared.found,
            "undecided": prepared.reference.undecided,
            "seconds": time.perf_counter() - start,
        }

    def score(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Judge the outputs of one cell; the row of each output holds its outcome and metrics."""
        from harness.formats import DTYPES, Precision
        from harness.metrics.score import score

        problem: Problem = request["problem"]
        prepared = self.prepared(problem)
        precision = Precision.of(DTYPES[problem.dtype], request["compute_dtype"])
        outputs = {
            name: _read_bits(Path(path), request["formats"][name])
            for name, path in request["outputs"].items()
        }
        foreign = {name: f for name, f in request["formats"].items() if f != precision.format.name}
        if foreign:
            error = "; ".join(f"output {n!r} is {f}, not {precision.format.name}" for n, f in foreign.items())
            rows = {name: {"outcome": "raised", "error": error} for name in prepared.operation.outputs}
        else:
            rows = score(
                prepared.operation,
                prepared.exact,
                prepared.reference,
                outputs,
                precision,
                data_error=prepared.data_error,
                published=prepared.published,
            )
        return {"cell": request["cell"], "status": "ok", "rows": rows}

    def prepared(self, problem: Problem) -> Prepared:
        """Return a problem with its inputs made and its reference certified, kept while it is recent."""
        if problem.key in self._problems:
            self._problems.move_to_end(problem.key)
            return self._problems[problem.key]
        prepared = self._make(problem)
        self._problems[problem.key] = prepared
        self._bytes += prepared.bytes
        while self._bytes > KEPT_BYTES and len(self._problems) > 1:
            self._bytes -= self._problems.popitem(last=False)[1].bytes
        return prepared

    def _make(self, problem: Problem) -> Prepared:
        from harness.formats import DTYPES
        from harness.recipes import inputs_digest, make_inputs
        from harness.reference.provenance import source_digest

        operation = OPERATIONS[problem.operation].differentiated(problem.with_respect_to)
        dtype = DTYPES[problem.dtype]
        parameters: dict[str, Written] = {**operation.defaults(), **problem.parameters}
        formats = operation.input_formats(parameters, dtype.storage)
        values, errors = make_inputs(problem, dtype, formats)
        digest = inputs_digest(values, formats)
        exact = ExactProblem(problem.operation, values, parameters, dtype, problem.with_respect_to)
        key = self._cache.key(
            operation=operation.name,
            version=operation.reference_version,
            parameters=parameters,
            dtype=dtype.name,
            mode=" ".join((problem.mode, *problem.with_respect_to)),
            inputs_digest=digest,
            source=source_digest(operation.reference),
        )
        damaged = self._cache.corrupted
        reference = self._cache.get(key)
        found = "cached"
        if reference is None:
            found = "computed" if self._cache.corrupted == damaged else "recomputed"
            reference = operation.reference(exact)
            self._cache.put(key, reference)
        published = {p.output: read_published(p, Path(problem.folder)) for p in problem.published}
        worst = max(errors.values(), default=None)
        return Prepared(operation, exact, formats, reference, found, digest, worst, published)


def read_published(published: Published, folder: Path) -> tuple[tuple[Fraction, ...], int]:
    """Return a column of certified values, exactly as printed, and their digits.

    Raises
    ------
    InputError
        A file that is not there, lies outside `folder`, lacks the column, or holds what is no number.
    """
    path = (folder / published.file).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"{published.file!r} lies outside the folder of its case")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [{str(name).strip(): cell for name, cell in row.items()} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the published values of {published.output!r}: {error}") from None
    if not rows or published.column not in rows[0]:
        columns = list(rows[0]) if rows else []
        raise InputError(
            f"{published.file} has no column {published.column!r}", did_you_mean(published.column, columns)
        )
    try:
        cells = [(row[published.column] or "").strip() for row in rows]
        while cells and not cells[-1]:  # a column that is shorter than those beside it
            cells.pop()
        values = tuple(Fraction(Decimal(cell)) for cell in cells)
    except (InvalidOperation, ValueError, AttributeError, OverflowError):
        raise InputError(f"column {published.column!r} of {published.file} holds what is no number") from None
    return values, published.digits


def _write_bits(path: Path, fmt: str, values: NDArray[np.float64]) -> Path:
    import numpy as np

    from harness.formats import FORMATS, encode

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        with partial.open("wb") as file:
            np.save(file, encode(FORMATS[fmt], values), allow_pickle=False)
        partial.replace(path)
    return path


def _read_bits(path: Path, fmt: str) -> NDArray[np.float64]:
    import numpy as np

    from harness.formats import FORMATS, decode

    return decode(FORMATS[fmt], np.load(path, allow_pickle=False))


def answer(referee: Referee, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply to one request; a fault of ours is a reply too, and never a verdict."""
    subject = {k: request[k] for k in ("cell",) if k in request}
    problem = request.get("problem")
    if isinstance(problem, Problem):
        subject["problem"] = problem.key
    try:
        if request["do"] == "prepare":
            return referee.prepare(request["problem"])
        if request["do"] == "score":
            return referee.score(request)
        raise UserError(f"unknown request {request['do']!r}")
    except UserError as error:
        return {**subject, "status": "error", "error": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {**subject, "status": "error", "error": f"{type(error).__name__}: {error}"}


def main(arguments: list[str] | None = None) -> None:
    """Serve requests until the pipe ends."""
    parser = argparse.ArgumentParser(prog="python -m harness.referee", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder of certified references")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for inputs")
    parser.add_argument("--plugin", action="append", default=[], help="module to import")
    options = parser.parse_args(arguments)
    channel = Channel()
    catalogue.load(options.plugin)
    from harness.reference.cache import ReferenceCache

    referee = Referee(ReferenceCache(options.cache), options.scratch)
    channel.reply({"hello": PROTOCOL_VERSION, "pid": os.getpid()})
    while True:
        channel.reply(answer(referee, channel.next_request()))


if __name__ == "__main__":
    main()
