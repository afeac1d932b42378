"""What `harness compare` does, as a function: two sides made ready, measured in turn, judged, reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness import api
from harness.errors import UsageError
from harness.model import Plan
from harness.plan import make_plan
from harness.selection import Selection

if TYPE_CHECKING:
    from harness.compare.model import Comparison
    from harness.compare.pairs import CellPair
    from harness.execute import Progress
    from harness.model import Case, Cell
    from harness.store import Run

LEAST_THRESHOLD = 0.005
"""No rounds of ours tell less apart."""


@dataclass(frozen=True)
class Made:
    """A comparison that was made, and where it lies."""

    comparison: Comparison
    folder: Path
    reports: Mapping[str, Path]
    """Format → file."""
    cases: Mapping[str, Case]


def compare(
    paths: Sequence[api.PathLike] = (),
    *,
    base: str,
    head: str = "here",
    profile: str = "default",
    keyword: str | None = None,
    operations: Sequence[str] = (),
    backends: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    topics: Sequence[str] = (),
    guide: Sequence[str] = (),
    max_elements: int | None = None,
    plugins: Sequence[str] = (),
    threshold: float | None = None,
    budget_s: float | None = None,
    allow_accuracy_loss: bool = False,
    out: api.PathLike | None = None,
    timeout_s: float | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    told: Callable[[str], None] = lambda line: None,
    command: Sequence[str] = (),
) -> Made:
    """Measure the timed cells of cases on two sides in turn, and judge speed and accuracy together.

    Parameters
    ----------
    paths, profile, keyword, operations, backends, dtypes, topics, guide, max_elements, plugins
        As in `harness.api.plan`.
    base, head
        What each side is: `here`; an interpreter or environment; `name==version …`; a git revision; and
        coordinates, `formulation=F`, `backend=B`, `dtype=D`, `axis.NAME=VALUE`.
    threshold
        The least slowdown that fails, as a fraction; what the base shows against itself may raise it.
    budget_s
        What the rounds of one cell may take in one set of workers, in seconds.
    allow_accuracy_loss
        Whether fewer digits pass.
    out
        The comparison's folder; left out: a new one under `reports/`.
    timeout_s, jobs, progress
        As in `harness.api.measure`.
    told
        Takes a line on what is made ready.
    command
        The command line that asks for it, for whoever wants to repeat it.

    Raises
    ------
    UsageError
        A side, a name or a number is wrong; the folder holds something.
    NothingSelectedError
        No cell that is timed is on both sides.
    CouldNotMeasureError
        A side cannot be had, or there is no room to write.
    """
    from harness.compare import run as comparing
    from harness.compare import sides, store
    from harness.compare.measure import Settings
    from harness.execute import Options, Silent
    from harness.report.comparison import write_comparison_reports
    from harness.store import claimed_folder

    settings = Settings()
    if threshold is not None:
        if not LEAST_THRESHOLD <= threshold < 1:
            raise UsageError(f"a threshold of {threshold:.2%}", "allowed: 0.5 % to 100 %")
        settings = replace(settings, floor=threshold)
    if budget_s is not None:
        settings = replace(settings, budget_s=budget_s)
    options = Options()
    if timeout_s is not None:
        options = replace(options, timeout_s=timeout_s)
    if jobs is not None:
        options = replace(options, jobs=jobs)
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
    cases = api.check(paths, plugins=plugins, max_elements=max_elements)
    plan, pairs, alone = _planned(cases, profile, selection, base, head)
    wanted = list(dict.fromkeys(cell.backend for pair in pairs for cell in (pair.base, pair.head)))
    cache = api.cache_folder()
    with (
        claimed_folder(api.ROOT, "-compare") if out is None else _named(Path(out)) as folder,
        sides.prepared(base, head, plugins=plugins, backends=wanted, cache=cache, told=told) as (a, b),
    ):
        work = comparing.Work(
            plan=plan,
            pairs=pairs,
            sides={"base": a, "head": b},
            plugins=tuple(plugins),
            settings=settings,
            alone=alone,
            allow_accuracy_loss=allow_accuracy_loss,
            differences=sides.differences(a, b),
        )
        found = comparing.run(
            work, folder=folder, cache=cache, options=options, progress=progress or Silent()
        )
        comparison = found.comparison
        if command:
            comparison = replace(
                comparison, settings={**comparison.settings, "command": ["harness", *_without_out(command)]}
            )
        store.write(comparison, folder)
        reports = write_comparison_reports(comparison, folder, found.head)
    return Made(comparison, folder, reports, plan.cases)


def _planned(
    cases: Sequence[Case], profile: str, selection: Selection, base: str, head: str
) -> tuple[Plan, list[CellPair], list[Cell]]:
    """Return the plan of both sides' cells, the pairs, and the timed cells without a partner."""
    from harness.compare.pairs import pairs_of, with_axis_values
    from harness.compare.spec import check_names, paired, parse

    specs = parse(base), parse(head)
    paired(*specs)
    for spec in specs:
        check_names(spec)
    sides = [spec.coordinates for spec in specs]
    selection.check_names()
    taken = [case for case in cases if selection.takes_case(case)]
    plan = make_plan(with_axis_values(taken or cases, *sides), profile=profile, selection=selection)
    return (plan, *pairs_of(plan.cells, *sides))


def _without_out(command: Sequence[str]) -> list[str]:
    """Return a command line without its folder, which will hold something when it is repeated."""
    kept: list[str] = []
    words = iter(command)
    for word in words:
        if word == "--out":
            next(words, None)
        elif not word.startswith("--out="):
            kept.append(word)
    return kept


@contextmanager
def _named(folder: Path) -> Iterator[Path]:
    """Give a folder that was named; one that holds something is not written over."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", "choose another --out, or remove it")
    except OSError as error:
        raise UsageError(
            f"cannot write to the output folder {folder}: {error.strerror}", "choose another with --out"
        ) from None
    yield folder


def load(folder: api.PathLike) -> Comparison:
    """Open a comparison that was made: the folder that holds its `comparison.json`.

    Raises
    ------
    UsageError
        There is none, it is damaged, or a newer version wrote it.
    """
    from harness.compare.store import read

    return read(Path(folder))


def report(folder: api.PathLike, formats: Sequence[str] | None = None) -> dict[str, Path]:
    """Write the reports of a comparison into its folder again, and return format → file.

    Parameters
    ----------
    folder
        The comparison's.
    formats
        Which; left out: those that a comparison writes.

    Raises
    ------
    UsageError
        There is no comparison, it is damaged, or has no such report.
    CouldNotMeasureError
        A file cannot be written.
    """
    from harness.report.comparison import IN_THE_FOLDER, write_comparison_reports

    where, wanted = Path(folder), IN_THE_FOLDER if formats is None else formats
    return write_comparison_reports(load(where), where, head_of(where), wanted)


def head_of(folder: api.PathLike) -> Run | None:
    """Return the run of a comparison's head; None where it was interrupted before that was made.

    Raises
    ------
    UsageError
        It cannot be read.
    """
    head = Path(folder) / "head"
    return api.load(head) if (head / "plan.json").is_file() else None
