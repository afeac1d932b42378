"""What the command line does, as functions: check, plan, run, load, gate, certified references."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness import casefile, catalogue
from harness.errors import (
    CouldNotMeasureError,
    InputError,
    NoBaselineError,
    NothingSelectedError,
    UsageError,
    did_you_mean,
)
from harness.model import Case, Plan, Problem
from harness.plan import make_plan
from harness.registry import BACKENDS
from harness.selection import Selection

if TYPE_CHECKING:
    from harness.execute import Executed, Progress
    from harness.gate import Baseline, ExitCode, GateReport
    from harness.reference.elements import Reference
    from harness.store import Run

PathLike = str | os.PathLike[str]

ROOT: Final = Path("reports")
"""Where runs go that are not told where."""
LATEST: Final = ROOT / "latest"
BASELINE: Final = ROOT / "baseline"
REPORTS: Final = ("markdown", "junit", "html")
"""What a run writes beside its tables."""


def check(
    paths: Sequence[PathLike] = (), *, plugins: Sequence[str] = (), max_elements: int | None = None
) -> list[Case]:
    """Return the cases in some files and folders, all of them valid.

    Parameters
    ----------
    paths
        Case files and folders; left out: `cases/` here, or else the cases that are shipped.
    plugins
        Modules that register more operations, backends, recipes or metrics.
    max_elements
        What one input may hold.

    Raises
    ------
    CaseFileError
        With every mistake of every file, in the order of their places.
    UsageError
        A path does not exist or holds no case.
    """
    return _cases(paths, plugins, max_elements)


def plan(
    paths: Sequence[PathLike] = (),
    *,
    profile: str = "default",
    keyword: str | None = None,
    operations: Sequence[str] = (),
    backends: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    topics: Sequence[str] = (),
    guide: Sequence[str] = (),
    max_elements: int | None = None,
    plugins: Sequence[str] = (),
) -> Plan:
    """Return every cell that a run would hold, each runnable or skipped with a reason.

    Raises
    ------
    CaseFileError, UsageError
        A case file or a name is wrong.
    NothingSelectedError
        The selection matches no cell.
    """
    cases = _cases(paths, plugins, max_elements)
    selection = Selection(
        paths=tuple(str(path) for path in paths),
        keyword=keyword,
        operations=tuple(operations),
        backends=tuple(backends),
        dtypes=tuple(dtypes),
        topics=tuple(topics),
        guide=tuple(guide),
        plugins=tuple(plugins),
    )
    return make_plan(cases, profile=profile, selection=selection)


def _cases(paths: Sequence[PathLike], plugins: Sequence[str], max_elements: int | None = None) -> list[Case]:
    catalogue.load(plugins)
    given = [Path(p) if not isinstance(p, str) else p for p in paths]
    limit = casefile.MAX_ELEMENTS if max_elements is None else max_elements
    return casefile.read_cases(given or casefile.default_paths(), max_elements=limit)


# ---- measuring -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What a run gave."""

    run: Run
    executed: Executed
    reports: Mapping[str, Path]
    """Format → file."""
    gate: GateReport | None
    exit_code: ExitCode
    seconds: float


def measure(
    plan: Plan,
    *,
    out: PathLike,
    resume: bool = False,
    timeout_s: float | None = None,
    jobs: int | None = None,
    require: Sequence[str] = (),
    plugins: Sequence[str] = (),
    baseline: PathLike | None = None,
    reports: Sequence[str] = REPORTS,
    progress: Progress | None = None,
) -> Measured:
    """Run a plan: measure, judge, write the run's folder and reports, and gate if there is a baseline.

    Parameters
    ----------
    plan
        What to run.
    out
        The run's folder (see `run_folder`).
    resume
        Go on with the run in `out`, or start one if there is none.
    timeout_s
        What one cell may take, in seconds.
    jobs
        Processes that certify references at one time.
    require
        Backends that must be here.
    plugins
        Modules that the children import too.
    baseline
        Folder of accepted results.
    reports
        Formats to write.
    progress
        Who is told how far it is.

    Raises
    ------
    CouldNotMeasureError
        A required backend is absent, or there is no room to write.
    NothingSelectedError
        No cell of the plan can run on this machine.
    UsageError
        The folder holds another run, or the baseline is damaged.
    InterruptedRunError
        SIGINT or SIGTERM; the run can be resumed.
    """
    from harness import store
    from harness.execute import Options, Programs, execute
    from harness.expect import FACT_COLUMNS, facts, verdicts
    from harness.gate import exit_code_of_run
    from harness.report import write_report

    start = time.monotonic()
    _check_required(require)
    _check_runnable(plan)
    accepted = None if baseline is None else _baseline(Path(baseline))
    folder = Path(out)
    opened = store.start(plan, folder, resume=resume)
    options = Options(programs=Programs(plugins=tuple(plugins)))
    if timeout_s is not None:
        options = replace(options, timeout_s=timeout_s)
    if jobs is not None:
        options = replace(options, jobs=jobs)
    try:
        executed = execute(
            plan,
            folder=folder,
            cache=cache_folder(),
            journal=opened.journal,
            options=options,
            progress=progress,
        )
        rows = verdicts(store.rows(plan, opened.journal.records), plan)
        found = facts(rows, plan)
        run = store.finish(opened, rows, found, FACT_COLUMNS)
    finally:
        opened.journal.close()
    report = None if accepted is None else _compare(run, accepted)
    written = {name: write_report(run, name, gate=report) for name in reports}
    if folder.absolute().parent == ROOT.absolute():
        store.point_latest(folder)
    code = exit_code_of_run(rows, found) if report is None else report.exit_code
    return Measured(run, executed, written, report, code, time.monotonic() - start)


def run(
    paths: Sequence[PathLike] = (),
    *,
    quick: bool = False,
    full: bool = False,
    keyword: str | None = None,
    operations: Sequence[str] = (),
    backends: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    topics: Sequence[str] = (),
    guide: Sequence[str] = (),
    max_elements: int | None = None,
    plugins: Sequence[str] = (),
    out: PathLike | None = None,
    resume: bool = False,
    timeout_s: float | None = None,
    jobs: int | None = None,
    require: Sequence[str] = (),
    reports: Sequence[str] = REPORTS,
    progress: Progress | None = None,
) -> Run:
    """Measure and judge cases; the result holds pandas frames `results` and `facts`.

    Parameters
    ----------
    paths
        Case files and folders; left out: `cases/` here, or else the cases that are shipped.
    quick, full
        The short or the long profile.
    keyword
        As `-k`: words of cell ids with `and`, `or`, `not` and parentheses.
    operations, backends, dtypes, topics, guide
        Only these; empty asks for all.
    max_elements
        What one input may hold.
    plugins, out, resume, timeout_s, jobs, require, reports, progress
        See `measure`.

    Raises
    ------
    UserError
        See `plan` and `measure`.
    """
    if quick and full:
        raise UsageError("quick and full exclude each other")
    planned = plan(
        paths,
        profile="quick" if quick else "full" if full else "default",
        keyword=keyword,
        operations=operations,
        backends=backends,
        dtypes=dtypes,
        topics=topics,
        guide=guide,
        max_elements=max_elements,
        plugins=plugins,
    )
    with run_folder(out, resume=resume) as folder:
        return measure(
            planned,
            out=folder,
            resume=resume,
            timeout_s=timeout_s,
            jobs=jobs,
            require=require,
            plugins=plugins,
            reports=reports,
            progress=progress,
        ).run


def load(run: PathLike = LATEST) -> Run:
    """Open a run that was made: a folder, by default the latest.

    Raises
    ------
    UsageError
        There is no run, or it cannot be read.
    """
    from harness import store

    return store.load(run)


@contextlib.contextmanager
def run_folder(out: PathLike | None = None, *, resume: bool = False) -> Iterator[Path]:
    """Give the folder of a run to be made: `out`, or a new one under `reports/`.

    Raises
    ------
    UsageError
        To resume, the folder must be named; a new one cannot be made.
    """
    from harness.store import claimed_folder

    if out is not None:
        yield Path(out)
        return
    if resume:
        raise UsageError("--resume needs the folder of the run", "name it with --out")
    with claimed_folder(ROOT) as folder:
        yield folder


def _check_required(require: Sequence[str]) -> None:
    for name in require:
        if name not in BACKENDS:
            raise UsageError(f"unknown backend {name!r}", did_you_mean(name, list(BACKENDS)))
        lack = BACKENDS[name].unavailable()
        if lack is not None:
            raise CouldNotMeasureError(
                f"the required backend {name} is unavailable: {lack}", "install it, or do not require it"
            )


def _check_runnable(plan: Plan) -> None:
    if all(cell.skip is not None for cell in plan.cells):
        reasons = dict.fromkeys(f"{c.skip.word}: {c.skip.reason}" for c in plan.cells if c.skip is not None)
        raise NothingSelectedError(
            f"none of the {len(plan.cells)} cells selected can run here: {'; '.join(reasons)}",
            "`harness list` shows what is skipped and why",
        )


def cache_folder() -> Path:
    """Return the folder of certified references: $HARNESS_CACHE, or the platform's folder for caches."""
    from harness.reference.folder import default_folder

    return default_folder()


# ---- the gate --------------------------------------------------------------------------------------


def gate(run: PathLike = LATEST, baseline: PathLike = BASELINE) -> GateReport:
    """Compare a finished run with accepted results; nothing is measured.

    Raises
    ------
    UsageError
        There is no run, or one of the two is damaged.
    """
    return _compare(_judged(load(run)), _baseline(Path(baseline)))


def accept(run: PathLike = LATEST, baseline: PathLike = BASELINE) -> list[str]:
    """Make a run the accepted results of what it covers, and return what there is to know about it.

    Raises
    ------
    UsageError
        There is no run, it is not finished, or the folder cannot be written.
    """
    from harness import gate as gating

    judged = _judged(load(run))
    known = _baseline(Path(baseline)).header.get("cases") or {}
    return gating.accept(
        Path(baseline),
        judged.rows,
        judged.fact_rows,
        judged.header,
        _case_paths(judged),
        selected=gating.coverage(judged.plan, known),
    )


def _judged(run: Run) -> Run:
    """Return a run with verdicts: an interrupted one has none, and what it lacks is inconclusive."""
    if run.finished:
        return run
    from harness.expect import facts, verdicts

    rows = verdicts(run.rows, run.plan)
    return replace(run, rows=rows, fact_rows=facts(rows, run.plan))


def _baseline(folder: Path) -> Baseline:
    """Return a baseline; one without results where there is none, for that is no reason not to judge."""
    from harness.gate import Baseline, read_baseline

    try:
        return read_baseline(folder)
    except NoBaselineError as error:
        return Baseline([], {}, f"{error.message}: {error.hint}")


def _compare(run: Run, accepted: Baseline) -> GateReport:
    from harness.gate import compare_with_baseline, coverage

    return compare_with_baseline(
        run.rows,
        run.header,
        accepted.rows,
        accepted.header,
        run_facts=run.fact_rows,
        selected=coverage(run.plan, accepted.header.get("cases") or {}),
        absence=accepted.absence,
    )


def _case_paths(run: Run) -> dict[str, str]:
    return {case.name: case.path for case in run.plan.cases.values()}


# ---- certified references --------------------------------------------------------------------------


@dataclass(frozen=True)
class Certified:
    """The certified values of one problem."""

    problem: Problem
    axes: Mapping[str, Any]
    inputs_digest: str
    reference: Reference
    found: str
    """cached, computed, or recomputed where the cache held a damaged entry."""


def references(
    case: str,
    *,
    profile: str = "default",
    keyword: str | None = None,
    dtypes: Sequence[str] = (),
    plugins: Sequence[str] = (),
) -> Iterator[Certified]:
    """Certify the problems of one case in this process, and yield them in the order of the plan.

    Parameters
    ----------
    case
        A case file, or the name of a case among those found by default.
    profile, keyword, dtypes, plugins
        As in `plan`.

    Raises
    ------
    UsageError
        There is no such case.
    InputError
        Its inputs cannot be made.
    """
    import tempfile

    from harness.referee import Referee
    from harness.reference.cache import ReferenceCache

    planned = _plan_of_case(case, profile, keyword, dtypes, plugins)
    axes = {cell.problem: cell.axes for cell in reversed(planned.cells)}
    with tempfile.TemporaryDirectory(prefix="harness-reference-") as scratch:
        referee = Referee(ReferenceCache(cache_folder()), Path(scratch))
        for key, problem in planned.problems.items():
            try:
                prepared = referee.prepared(problem)
            except InputError as error:
                raise InputError(f"{key}: {error.message}", error.hint) from None
            yield Certified(problem, axes[key], prepared.digest, prepared.reference, prepared.found)


def _plan_of_case(
    case: str, profile: str, keyword: str | None, dtypes: Sequence[str], plugins: Sequence[str]
) -> Plan:
    paths = [case] if Path(case).exists() else []
    cases = _cases(paths, plugins)
    if not paths:
        names = [c.name for c in cases]
        cases = [c for c in cases if c.name == case]
        if not cases:
            raise UsageError(f"no case file and no case {case!r}", did_you_mean(case, names))
    selection = Selection(paths=tuple(paths), keyword=keyword, dtypes=tuple(dtypes))
    return make_plan(cases, profile=profile, selection=selection)
