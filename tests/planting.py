"""Wrong answers planted in every operation: made from honest ones, and judged as a run judges its cells.

For each operation, and each gradient, the smallest problems of the shipped cases are made as a referee makes
them. A formulation of which the case expects `ok` gives the honest answer, through the worker's own code. The
wrong one stands in one output at a time; the others stay honest. The judge is `metrics.score` and, without
the rules of the case, `expect.verdicts`: an answer is caught where the verdict is `fail`.

What gives the same numbers as the honest answer, or the exact one rounded once, is not wrong and not planted.
1 + 8u is a factor of the exact values: what becomes of it depends on the bound alone, and not on the rounding
errors of a kernel beside it.

Nothing here names an operation: what is registered and has a case is planted in. `test_planted.py` plants a
few in the whole program: kernels that hang, crash, print or leave another floating-point environment.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness import casefile, catalogue
from harness.errors import InputError
from harness.execute.content import problem_content
from harness.expect.verdicts import verdicts
from harness.formats import DTYPES, FORMATS, NumberFormat, Precision, decode, encode
from harness.metrics.score import score
from harness.model import Cell, InputSpec, Plan, Problem
from harness.plan import make_plan
from harness.recipes import make_inputs
from harness.referee import Prepared, Referee
from harness.reference.cache import ReferenceCache
from harness.registry import BACKENDS, COTANGENT, FORMULATIONS, OPERATIONS, RECIPES, Operation, support
from harness.worker.kernel import KernelError, Kernels
from harness.worker.service import run as run_in_worker
from tests.planted.findings import (
    FACTORED,
    LAST,
    NAIVE,
    NEXT,
    ONE_LESS,
    ONES,
    ROLLED,
    ZEROS,
    Findings,
    Planted,
    Subject,
)
from tests.planted.mutations import (
    Array,
    change,
    differs,
    factored,
    holds_counts,
    next_number,
    rolled,
    without_last,
)
from tests.planted.rules import all_ok, broken_outputs, raises

BACKEND: Final = "numpy"
WIDE: Final = ("float64", "float32")
TRIED: Final = (*WIDE, "bfloat16")
PROBLEMS: Final = 4
"""Of each wide dtype, from as many cases as there are."""
FEW: Final = 2
"""Of others."""
BROKEN: Final = 2
"""Answers in each dtype of each formulation that is declared to break."""
ELEMENTS: Final = 2000
"""Of the inputs of a problem; larger ones are used only where there is no other."""
TINY: Final = 512
"""Those that come before the smaller ones of another case: certifying some references takes their cube."""
Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Honest:
    """A problem with a right answer."""

    cell: Cell
    prepared: Prepared
    precision: Precision
    outputs: Outputs

    @cached_property
    def bounds(self) -> Mapping[str, Array]:
        """What each element is allowed; it does not depend on what is judged."""
        p = self.prepared
        return {} if p.operation.bound is None else p.operation.bound(p.exact, p.reference, self.precision)

    @property
    def promised(self) -> bool:
        """Whether anything is: a bound that is infinite throughout judges nothing."""
        return all(np.size(b) == 0 or not np.isposinf(b).all() for b in self.bounds.values())

    @cached_property
    def operation(self) -> Operation:
        """The operation, with a bound that is computed once."""
        known = self.prepared.operation
        return known if known.bound is None else replace(known, bound=lambda *_: self.bounds)

    @property
    def fmt(self) -> NumberFormat:
        return self.precision.format

    def exact(self, output: str) -> Array:
        """Return the exact values, rounded once to the format."""
        return self.prepared.reference.outputs[output].round_to(self.fmt)


class Planter:
    """Plants in the operations of the shipped cases; references are kept in `folder`."""

    def __init__(self, folder: Path, plan: Plan | None = None) -> None:
        self.plan = shipped() if plan is None else plan
        self._problems: dict[str, Problem] = dict(self.plan.problems)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._referee = Referee(ReferenceCache(folder / "references"), folder / "inputs")
        self._kernels = Kernels(BACKENDS[BACKEND])
        self._runs = 0
        self._sizes: dict[str, int] = {}

    def plant(self, subject: Subject) -> Findings:
        """Plant every mutation in every output of the chosen problems of a subject."""
        cells = self._cells(subject) or list(self._gradients(subject.operation))
        findings = Findings(subject, outputs=tuple(dict.fromkeys(o for c in cells for o in c.outputs)))
        operation = OPERATIONS[subject.operation]
        judged = operation if subject.mode == "forward" or operation.gradient is None else operation.gradient
        findings.judged_by = (judged.bound or operation.judge).__module__
        dtypes = [d for d in TRIED if any(c.dtype == d for c in cells)]
        dtypes = dtypes or list(dict.fromkeys(c.dtype for c in cells))[:1]
        findings.dtypes = tuple(d for d in dtypes if d in WIDE) or tuple(dtypes)
        with np.errstate(all="ignore"), warnings.catch_warnings():  # a kernel's warning is no result
            warnings.simplefilter("ignore")
            for dtype in dtypes:
                there = [c for c in cells if c.dtype == dtype]
                for honest in self._honest_answers(there, findings):
                    findings.planted += self._plant_in(subject, honest)
                findings.planted += self._naive_forms(subject, there)
        found = (p.formulation for p in findings.planted if p.mutation.startswith(NAIVE))
        findings.breaking = tuple(dict.fromkeys(found))
        return findings

    def _cells(self, subject: Subject) -> list[Cell]:
        """Return the cells of a subject that this backend runs; if it runs none, those of the others."""
        cells = [
            c
            for c in self.plan.cells
            if (c.operation, c.mode) == (subject.operation, subject.mode)
            and c.accuracy
            and (c.skip is None or c.skip.word != "excluded")
        ]
        return [c for c in cells if c.backend == BACKEND and c.skip is None] or cells

    def _gradients(self, name: str) -> Iterator[Cell]:
        """Yield gradients that no case asks for, at the smallest problems of the operation itself.

        The cotangent is random. No rule says which formulations are right: the first that is will do.
        """
        operation = OPERATIONS[name]
        forward = [c for c in self._cells(Subject(name, "forward")) if c.backend == BACKEND and all_ok(c)]
        for dtype in TRIED if operation.gradient else ():
            there = [c for c in forward if c.dtype == dtype]
            for smallest in islice(self._smallest(there), PROBLEMS if dtype in WIDE else FEW):
                problem = self._problems[smallest.problem]
                (value,) = self._referee.prepared(problem).reference.outputs.values()
                key = f"{problem.key}, differentiated"
                self._problems[key] = replace(
                    problem,
                    key=key,
                    mode="backward",
                    with_respect_to=operation.differentiable,
                    cotangent=InputSpec(COTANGENT, "normal", {"shape": list(value.shape)}),
                )
                try:
                    self._referee.prepared(self._problems[key])
                except InputError:  # no derivative is proved there
                    continue
                outputs = operation.differentiated(operation.differentiable).outputs
                for cell in there:
                    made = replace(cell, problem=key, mode="backward", outputs=outputs, rules=())
                    if cell.problem == smallest.problem and runs(made):
                        yield made

    # ---- honest answers ----------------------------------------------------------------------------

    def _honest_answers(self, cells: Sequence[Cell], findings: Findings) -> Iterator[Honest]:
        """Yield the answers of the formulation that is expected to break least, on the smallest problems.

        Of several the one that computes in the widest format: it is allowed least.
        """
        everywhere = [c for c in self.plan.cells if c.operation == findings.subject.operation]
        breaks = Counter(c.formulation for c in everywhere if not all_ok(c))
        count = Counter(c.formulation for c in everywhere)

        def rank(cell: Cell) -> tuple[float, float]:
            return breaks[cell.formulation] / count[cell.formulation], precision_of(cell).u_acc

        sound: dict[str, list[Cell]] = {}
        for cell in cells:
            if all_ok(cell):
                sound.setdefault(cell.problem, []).append(cell)
        ranked = {key: sorted(found, key=rank) for key, found in sound.items()}
        smallest = self._smallest(found[0] for found in ranked.values())
        for best in islice(smallest, PROBLEMS if cells and cells[0].dtype in findings.dtypes else FEW):
            planned = (
                best.problem in self.plan.problems
            )  # a rule, or the lack of one, says that the best is ok
            refused = []
            for cell in ranked[best.problem][: 1 if planned else None]:
                honest = self._judged_ok(cell)
                if isinstance(honest, Honest):
                    refused = []
                    findings.honest.append(f"{cell.problem}: {cell.formulation}")
                    if not honest.prepared.reference.undecided and honest.promised:  # else no verdict
                        yield honest
                    break
                refused.append(f"{cell.problem}, {cell.formulation}: {honest}")
            findings.refused += refused

    def _judged_ok(self, cell: Cell) -> Honest | str:
        """Return the answer of a cell, or why it is not right."""
        honest = self._answer(cell)
        if isinstance(honest, str) or honest.prepared.reference.undecided:
            return honest
        reasons = []
        for h in (replace(honest, cell=replace(cell, rules=())), honest):
            found = [row for row in self._verdicts(h, h.outputs) if row["verdict"] != "pass"]
            if not found:
                return h  # with its rules, where the case judges by a metric of its own
            reasons.append(str(found[0]["reason"]))
        return reasons[0]

    def _smallest(self, cells: Iterable[Cell]) -> Iterator[Cell]:
        """Yield cells with small problems, each problem once: the smallest of each case first, if it is tiny.

        If there is none of at most `ELEMENTS`, the smallest that there is.
        """
        by_size = sorted(cells, key=self._known_elements)
        first_of_case = {c.case: c for c in reversed(by_size)}
        tiny = {c.id for c in first_of_case.values() if self._known_elements(c) <= TINY}
        order = sorted(by_size, key=lambda c: c.id not in tiny)
        seen: set[str] = set()
        for cell in order:
            content = problem_content(self._problems[cell.problem])
            if content not in seen and self._elements(cell, content) <= ELEMENTS:
                seen.add(content)
                yield cell
        if not seen:
            yield from by_size[:1]

    def _known_elements(self, cell: Cell) -> int:
        """Return how many elements the inputs of a cell have, as far as their recipes tell beforehand."""
        specs = self._problems[cell.problem].inputs
        return sum(RECIPES[spec.recipe].elements(spec.arguments) or 0 for spec in specs)

    def _elements(self, cell: Cell, content: str) -> int:
        """Return how many elements the inputs of a cell have; they are made where recipes cannot tell."""
        known = self._known_elements(cell)
        if known > ELEMENTS:
            return known
        if content not in self._sizes:
            problem = self._problems[cell.problem]
            dtype = DTYPES[problem.dtype]
            operation = OPERATIONS[problem.operation].differentiated(problem.with_respect_to)
            formats = operation.input_formats(problem.parameters, dtype.storage)
            self._sizes[content] = sum(v.size for v in make_inputs(problem, dtype, formats)[0].values())
        return self._sizes[content]

    def _answer(self, cell: Cell) -> Honest | str:
        """Return what the formulation of a cell gives, or what it raised.

        Of what this backend does not run: the exact result, as if a perfect kernel had computed it.
        """
        prepared = self._referee.prepared(self._problems[cell.problem])
        precision = precision_of(cell)
        if cell.backend != BACKEND:
            exact = {name: y.round_to(precision.format) for name, y in prepared.reference.outputs.items()}
            return Honest(cell, prepared, precision, exact)
        outputs = self._run(cell, prepared, prepared.exact.inputs)
        return outputs if isinstance(outputs, str) else Honest(cell, prepared, precision, outputs)

    def _run(self, cell: Cell, prepared: Prepared, inputs: Outputs) -> Outputs | str:
        """Run a formulation as a worker does, on these inputs; return its outputs, or what it raised."""
        problem = self._problems[cell.problem]
        self._runs += 1  # in the names: a worker keeps files by name, time and size
        paths = {name: self._folder / f"{self._runs}-input-{name}.npy" for name in inputs}
        for name, path in paths.items():
            np.save(path, encode(prepared.formats[name], inputs[name]), allow_pickle=False)
        request = {
            "operation": cell.operation,
            "formulation": cell.formulation,
            "dtype": cell.dtype,
            "with_respect_to": problem.with_respect_to,
            "parameters": problem.parameters,
            "inputs": {name: str(path) for name, path in paths.items()},
            "outputs": str(self._folder / f"{self._runs}-output-"),
        }
        try:
            reply = run_in_worker(self._kernels, request)
            return {
                name: decode(FORMATS[reply["format"][name]], np.load(path, allow_pickle=False))
                for name, path in reply["outputs"].items()
            }
        except KernelError as error:
            return str(error)
        finally:
            for path in self._folder.glob(f"{self._runs}-*.npy"):
                path.unlink()

    # ---- the judge ---------------------------------------------------------------------------------

    def _verdicts(self, honest: Honest, outputs: Outputs) -> list[dict[str, Any]]:
        """Return the row of each output with its verdict, by the rules that are left to the cell."""
        p, cell = honest.prepared, replace(honest.cell, speed=None, skip=None)
        rows = score(honest.operation, p.exact, p.reference, outputs, honest.precision)
        alone = Plan((cell,), {}, {}, "full", {})
        return verdicts(({**row, "cell": cell.id, "output": name} for name, row in rows.items()), alone)

    def _judged(self, subject: Subject, honest: Honest, output: str, mutation: str, wrong: Array) -> Planted:
        judged = self._verdicts(honest, {**honest.outputs, output: wrong})
        own = next(row for row in judged if row["output"] == output)
        others = [] if mutation.startswith(NAIVE) else judged  # honest, so that they may tell of this one
        failed = next((row for row in (own, *others) if row["verdict"] == "fail"), None)
        by = None
        if failed is not None:
            by = "" if failed is own else f"{failed['output']}: "
            by += failed["outcome"] if failed["outcome"] != "ok" else _metric(failed)
        cell, ratio = honest.cell, own.get("bound_ratio")
        names = cell.dtype, cell.problem, cell.formulation
        return Planted(subject, output, mutation, *names, by, ratio, change(wrong, honest.exact(output)))

    # ---- what is planted ---------------------------------------------------------------------------

    def _plant_in(self, subject: Subject, honest: Honest) -> Iterator[Planted]:
        changed = dict(self._of_changed_inputs(honest))
        for output, right in honest.outputs.items():
            exact = honest.exact(output)
            made = {
                ZEROS: np.zeros(right.shape),
                ROLLED: rolled(right),
                FACTORED: factored(exact, honest.fmt),
            }
            if exact.any():
                made |= {mutation: outputs[output] for mutation, outputs in changed.items()}
            else:  # as the residual of an identity, which is 0 for other inputs as well
                made[ONES] = np.ones(right.shape)
            if holds_counts(exact, honest.fmt):
                made[ONE_LESS] = exact - 1
            if self._is_bit_exact(honest, output):
                made[NEXT] = next_number(exact, honest.fmt)
            for mutation, wrong in made.items():
                if wrong.shape == right.shape and differs(wrong, right) and differs(wrong, exact):
                    yield self._judged(subject, honest, output, mutation, wrong)

    def _of_changed_inputs(self, honest: Honest) -> Iterator[tuple[str, Outputs]]:
        """Yield the answers to inputs that lack their last element, its neighbour in its place."""
        inputs = honest.prepared.exact.inputs
        if honest.cell.backend != BACKEND:
            return
        for name, values in inputs.items():
            for axis in range(values.ndim):
                if values.shape[axis] > 1:
                    other = {**inputs, name: without_last(values, axis)}
                    outputs = self._run(honest.cell, honest.prepared, other)
                    if not isinstance(outputs, str):
                        place = "" if values.ndim == 1 else f", axis {axis - values.ndim}"
                        yield f"{LAST}{name}{place}", outputs

    def _is_bit_exact(self, honest: Honest, output: str) -> bool:
        """Return whether the bound allows less than half a unit in the last place, everywhere."""
        half = honest.prepared.reference.outputs[output].ulp_exponent(honest.fmt) - 1
        return bool(honest.bounds) and bool(np.all(honest.bounds[output] < half))

    def _naive_forms(self, subject: Subject, cells: Sequence[Cell]) -> Iterator[Planted]:
        """Yield the answers of formulations that are declared to break, where they are.

        A formulation that gives up is caught, and asked again where it may answer: it is the judge that is
        tried.
        """
        by_formulation: dict[str, list[Cell]] = {}
        for cell in cells:
            if cell.backend == BACKEND and broken_outputs(cell):
                by_formulation.setdefault(cell.formulation, []).append(cell)
        for formulation, broken in by_formulation.items():
            answering = [c for c in broken if not raises(c)]
            answers = 0
            for cell in islice(self._smallest(answering or broken), PROBLEMS * BROKEN):
                if answers == BROKEN:
                    break
                naive, mutation = self._answer(cell), f"{NAIVE}{formulation}"
                if isinstance(naive, Honest) and naive.prepared.reference.undecided:
                    continue
                answers += isinstance(naive, Honest)
                for output in broken_outputs(cell):
                    if isinstance(naive, str):
                        names = cell.dtype, cell.problem, formulation
                        yield Planted(subject, output, mutation, *names, "raised", None, np.inf)
                    else:
                        bare = replace(naive, cell=replace(cell, rules=()))
                        yield self._judged(subject, bare, output, mutation, naive.outputs[output])


def shipped() -> Plan:
    """Return everything that the shipped cases plan."""
    catalogue.load()
    return make_plan(casefile.read_cases([casefile.packaged_cases()]), profile="full")


def subjects() -> list[Subject]:
    """Return the operations of the harness itself and their gradients; plug-ins have no cases here."""
    catalogue.load()
    own = {f.operation for f in FORMULATIONS.values() if f.build.__module__.startswith("harness.")}
    return [
        Subject(o.name, mode)
        for o in OPERATIONS.values()
        for mode in ("forward", *(["backward"] if o.gradient else []))
        if o.name in own
    ]


def runs(cell: Cell) -> bool:
    """Return whether the backend of a cell runs it."""
    return isinstance(
        support(cell.operation, cell.formulation, BACKENDS[cell.backend], cell.dtype, cell.mode), str
    )


def precision_of(cell: Cell) -> Precision:
    """Return what a cell is judged by; where it cannot run here, as if it computed in its own dtype."""
    dtype = DTYPES[cell.dtype]
    compute = support(cell.operation, cell.formulation, BACKENDS[cell.backend], cell.dtype, cell.mode)
    return Precision.of(dtype, compute if isinstance(compute, str) else dtype.storage.name)


def _metric(row: Mapping[str, Any]) -> str:
    """Return the metric that a verdict names, with outcome ok: `bound_ratio 3.2 > 1` → `bound_ratio`."""
    return str(row["reason"]).split(maxsplit=1)[0]
