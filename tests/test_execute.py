"""Children that do well, print, hang, crash, allocate or lie: what becomes of each cell and of the others."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness import registry, store
from harness.errors import CouldNotMeasureError, InterruptedRunError, UsageError
from harness.execute import Executed, Options, Programs, execute
from harness.execute.child import Child, MalformedReplyError
from harness.execute.problems import groups_of
from harness.execute.progress import Estimate, Lines, duration
from harness.execute.scratch import Account, Scratch, available_memory_bytes, default_root, sweep
from harness.model import Plan, SpeedSpec


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "fake_children", Path(__file__).with_name("fake_children.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_children"] = module
    spec.loader.exec_module(module)
    return module


fake = _load()


@pytest.fixture(autouse=True)
def _declared(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, items in fake.declarations().items():
        for key, item in items.items():
            monkeypatch.setitem(getattr(registry, name)._items, key, item)


class Run:
    """One execution with fake children, and what it left behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "kernels"
        self.executed: Executed | None = None

    def __call__(
        self, plan: Plan, *, variables: dict[str, str] | None = None, progress: Any = None, **changes: Any
    ) -> dict[str, dict[str, Any]]:
        """Execute a plan and return its rows by cell."""
        os.environ["FAKE_LOG"] = str(self.log)
        programs = fake.fake_programs(FAKE_LOG=str(self.log), **(variables or {}))
        options = Options(
            **{
                "jobs": 2,
                "timeout_s": 60.0,
                "scratch": self.folder / "scratch",
                "programs": programs,
                "memory_bytes": 1 << 30,
                **changes,
            }
        )
        self.folder.mkdir(exist_ok=True)
        with store.Journal(self.folder / "journal.jsonl") as journal:
            self.executed = execute(
                plan,
                folder=self.folder,
                cache=self.folder / "cache",
                journal=journal,
                options=options,
                progress=progress,
            )
            rows = store.rows(plan, journal.records)
        return {row["cell"]: row for row in rows}

    @property
    def records(self) -> list[dict[str, Any]]:
        return store.read(self.folder / "journal.jsonl")

    @property
    def did(self) -> Counter[str]:
        """How often each kernel ran, by its line in the log."""
        return Counter(self.log.read_text().splitlines()) if self.log.exists() else Counter()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("FAKE_LOG", "")
    made = Run(tmp_path / "run")
    yield made
    assert list((tmp_path / "run" / "scratch").glob("*")) == [], "scratch files were left"
    assert _children() == [], "children were left"


def _children() -> list[int]:
    path = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---- cells that do well ------------------------------------------------------------------------------


def test_all_cells_are_run_judged_and_journalled_once(run: Run) -> None:
    plan = fake.make_plan(fake.many_cells(40))
    rows = run(plan)
    assert [row["outcome"] for row in rows.values()] == ["ok"] * 40
    assert run.did == Counter(
        {"start worker": 2}
        | {f"run {cell.id}": 1 for cell in plan.cells}
        | {f"prepare p{i}": 1 for i in range(5)}
        | {f"score p{i}": 8 for i in range(5)}
    )
    row = rows[plan.cells[0].id]
    assert (row["device"], row["compute_dtype"], row["inputs_digest"]) == ("cpu", "float32", "digest of p0")
    assert (row["data_error"], row["max_ulp"], row["result_digest"]) == (0.125, 1.0, "d" + plan.cells[0].id)
    assert (row["flops"], row["bytes"]) == (16, 32)  # 2·8 operations, 8 elements of 4 bytes
    assert run.executed is not None
    assert (run.executed.cells, run.executed.resumed, run.executed.losses) == (40, 0, 0)
    assert run.executed.references == {"computed": 5}
    assert set(run.executed.peak_bytes) == {"referee-1", "referee-2", "fake-a-1t", "fake-b-1t"}
    assert min(run.executed.peak_bytes.values()) > 1 << 20


def test_problems_of_one_content_are_prepared_once(run: Run) -> None:
    plan = fake.make_plan([fake.make_cell("p1"), fake.make_cell("p2"), fake.make_cell("p3")])
    same = {**plan.problems, "p2": replace(plan.problems["p1"], key="p2")}
    rows = run(Plan(plan.cells, same, plan.cases, plan.profile, plan.selection))
    assert [row["outcome"] for row in rows.values()] == ["ok"] * 3
    assert (run.did["prepare p1"], run.did["prepare p2"], run.did["prepare p3"]) == (1, 0, 1)


def test_a_skipped_cell_starts_nothing(run: Run) -> None:
    from harness.model import Skip

    rows = run(fake.make_plan([fake.make_cell("p", skip=Skip("unavailable", "not here"))]))
    assert [row["verdict"] for row in rows.values()] == ["skip"]
    assert not run.did
    assert not (run.folder / "logs" / "referee-1.log").exists()


def test_what_children_say_of_themselves_is_journalled_once(run: Run) -> None:
    run(
        fake.make_plan(
            [fake.make_cell("p"), fake.make_cell("p", "exits"), fake.make_cell("p", "ok", "fake-b")]
        )
    )
    told = [(r["child"], r["facts"]) for r in run.records if r["kind"] == "environment"]
    facts = {"library": "fake 1.0"}
    assert sorted(told) == [(c, facts) for c in ("fake-a-1t", "fake-b-1t", "referee-1", "referee-2")]


def test_a_cell_that_is_only_timed_is_run_and_not_judged(run: Run) -> None:
    cell = fake.make_cell("p", accuracy=False, speed=SpeedSpec())
    (row,) = run(fake.make_plan([cell])).values()
    assert (row["outcome"], row["error"], row["time_median_s"]) == (None, None, 1e-3)
    assert run.did["score p"] == 0


# ---- cells that do not -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "outcome", "told"),
    [
        ("raises", "raised", "ValueError: no"),
        ("errs", None, "no such formulation"),
        ("prints", "ok", None),
        ("segfaults", "crashed", "killed by SIGSEGV"),
        ("exits", "crashed", "exit code 3"),
        ("forks", "crashed", "exit code 5"),
        ("closes", "crashed", "closed its pipe and went on"),
        ("malformed", "crashed", "replied what is no reply"),
        ("mistaken", "crashed", "'another' instead of 'fake/mistaken"),
        ("incomplete", "crashed", "'outputs' is NoneType"),
        ("flips", "ok", None),
    ],
)
def test_what_a_kernel_does_is_its_own_outcome_and_nobody_elses(
    run: Run, behaviour: str, outcome: str | None, told: str | None
) -> None:
    before = [fake.make_cell(f"p{i}") for i in range(3)]
    after = [fake.make_cell(f"p{i}") for i in range(3, 9)]
    bad = fake.make_cell("p3", behaviour)
    rows = run(fake.make_plan([*before, bad, *after]))
    row = rows.pop(bad.id)
    assert row["outcome"] == outcome
    assert row["error"] is None if told is None else told in row["error"]
    assert row["max_ulp"] == (1.0 if outcome == "ok" else None)
    assert [other["outcome"] for other in rows.values()] == ["ok"] * 9
    assert [other["error"] for other in rows.values()] == [None] * 9


def test_a_kernel_that_changes_the_environment_is_told_and_its_worker_replaced(run: Run) -> None:
    cells = [fake.make_cell("p0", "flips"), *(fake.make_cell(f"p{i}") for i in range(1, 4))]
    rows = run(fake.make_plan(cells))
    assert [row["fp_environment"] for row in rows.values()] == ["changed: rounds up", None, None, None]
    assert run.did["start worker"] == 2


def test_what_a_kernel_started_is_killed_with_it(run: Run) -> None:
    run(fake.make_plan([fake.make_cell("p", "forks")]))
    (grandchild,) = (line.split()[1] for line in run.did if line.startswith("grandchild"))
    assert not _alive(int(grandchild))


def test_a_kernel_that_hangs_is_killed_and_the_others_go_on(run: Run) -> None:
    cells = [
        fake.make_cell("p0"),
        fake.make_cell("p0", "sleeps"),
        *(fake.make_cell(f"p{i}") for i in range(1, 5)),
    ]
    rows = run(fake.make_plan(cells), timeout_s=2.0)
    assert (rows[cells[1].id]["outcome"], rows[cells[1].id]["error"]) == ("timeout", "exceeded 2 s")
    assert Counter(row["outcome"] for row in rows.values()) == {"ok": 5, "timeout": 1}
    assert run.did[f"run {cells[1].id}"] == 1


def test_a_kernel_that_takes_all_memory_is_killed(run: Run) -> None:
    cells = [fake.make_cell("p0", "allocates"), fake.make_cell("p1")]
    rows = run(fake.make_plan(cells), memory_bytes=256 << 20)
    assert rows[cells[0].id]["outcome"] == "crashed"
    assert rows[cells[0].id]["error"] == "exceeded 0.2 GiB of memory"
    assert rows[cells[1].id]["outcome"] == "ok"


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("floods", "printed more than 4 MiB"),
        ("babbles", "replied what is no reply: a line of more than 4 MiB"),
    ],
)
def test_a_kernel_that_prints_without_end_is_killed(
    run: Run, monkeypatch: pytest.MonkeyPatch, behaviour: str, told: str
) -> None:
    for name in ("child.LOG_LIMIT_BYTES", "station.LOG_LIMIT_BYTES", "child.LONGEST_LINE"):
        monkeypatch.setattr(f"harness.execute.{name}", 4 << 20)
    cells = [fake.make_cell("p0", behaviour), fake.make_cell("p1")]
    rows = run(fake.make_plan(cells))
    assert (rows[cells[0].id]["outcome"], rows[cells[0].id]["error"]) == ("crashed", told)
    assert rows[cells[1].id]["outcome"] == "ok"
    assert (run.folder / "logs" / "fake-a-1t.log").stat().st_size <= 1 << 20  # and what it said is cut


def test_a_cell_whose_worker_died_of_another_is_tried_again_alone(run: Run) -> None:
    cells = [fake.make_cell(f"p{i}") for i in range(4)] + [fake.make_cell("p9", "dies-once")]
    rows = run(fake.make_plan(cells))
    assert [row["outcome"] for row in rows.values()] == ["ok"] * 5
    assert run.did[f"run {cells[4].id}"] == 2
    (record,) = (r for r in run.records if r.get("cell") == cells[4].id)
    assert record["first_death"] == "exit code 9"


def test_a_cell_that_kills_twice_is_not_tried_a_third_time(run: Run) -> None:
    cells = [fake.make_cell("p0"), fake.make_cell("p1", "segfaults"), fake.make_cell("p2")]
    rows = run(fake.make_plan(cells))
    assert [row["outcome"] for row in rows.values()] == ["ok", "crashed", "ok"]
    assert 1 <= run.did[f"run {cells[1].id}"] <= 2


def test_many_cells_that_crash_in_a_row_take_none_of_the_others_along(run: Run) -> None:
    bad = [fake.make_cell(f"p{i}", "exits", id=f"bad{i}") for i in range(12)]
    good = [fake.make_cell(f"p{i}", id=f"good{i}") for i in range(12)]
    rows = run(fake.make_plan([*bad, *good]))
    assert Counter(row["outcome"] for row in rows.values()) == {"crashed": 12, "ok": 12}


# ---- workers that do not start -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "outcome", "told"),
    [
        ("exit", "crashed", "did not start: exit code 3: ImportError: no such library"),
        ("error", "crashed", "did not start: fake is unavailable: no licence"),
        ("version", "crashed", "did not start: replied what is no reply: {'hello': 99"),
        ("silent", "timeout", "did not start: exceeded 3 s"),
        ("gone", "crashed", "exit code 7"),
    ],
)
def test_a_worker_that_does_not_start_says_why_in_each_of_its_cells(
    run: Run, start: str, outcome: str, told: str
) -> None:
    cells = [fake.make_cell(f"p{i}") for i in range(8)]
    rows = run(
        fake.make_plan(cells),
        variables={"FAKE_START": start},
        hello_timeout_s=3.0 if start == "silent" else 60.0,
    )
    assert Counter(row["outcome"] for row in rows.values()) == {outcome: 8}
    assert all(told in row["error"] for row in rows.values())
    assert run.executed is not None
    assert run.executed.losses <= 6


def test_a_worker_that_prints_before_its_hello_starts(run: Run) -> None:
    (row,) = run(fake.make_plan([fake.make_cell("p")]), variables={"FAKE_START": "noise"}).values()
    assert row["outcome"] == "ok"
    assert "Welcome to Fake BLAS!" in (run.folder / "logs" / "fake-a-1t.log").read_text()


def test_a_program_that_is_not_there_is_said_in_each_cell(run: Run) -> None:
    programs = Programs(
        worker=("/nowhere/python",), referee=fake.fake_programs().referee, environment=lambda b, t: {}
    )
    rows = run(fake.make_plan([fake.make_cell("p0"), fake.make_cell("p1")]), programs=programs)
    assert [row["outcome"] for row in rows.values()] == ["crashed", "crashed"]
    assert all("cannot be started: No such file" in row["error"] for row in rows.values())


# ---- referees ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "behaviour", "told"),
    [
        ("prepare", "error", "bad inputs"),
        ("prepare", "dies", "the referee gave no reference: killed by SIGSEGV"),
        ("prepare", "sleeps", "the referee gave no reference: exceeded 3 s"),
        ("prepare", "malformed", "the referee gave no reference: replied what is no reply"),
        ("score", "error", "bad inputs"),
        ("score", "dies", "the referee gave no judgement: killed by SIGSEGV"),
        ("score", "sleeps", "the referee gave no judgement: exceeded 3 s"),
        ("score", "malformed", "the referee gave no judgement: replied what is no reply"),
    ],
)
def test_a_referee_that_fails_costs_its_cell_the_judgement_and_gives_no_outcome(
    run: Run, step: str, behaviour: str, told: str
) -> None:
    cells = [fake.make_cell(f"p{i}") for i in range(6)]
    rows = run(
        fake.make_plan(cells, {"p2": {step: behaviour}}),
        reference_timeout_s=3.0 if behaviour == "sleeps" else 60.0,
    )
    row = rows.pop(cells[2].id)
    assert (row["outcome"], row["bound_ratio"]) == (None, None)
    assert told in row["error"]
    assert [other["outcome"] for other in rows.values()] == ["ok"] * 5


def test_without_a_referee_no_cell_has_an_outcome(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_START", "exit")
    rows = run(fake.make_plan(fake.many_cells(20)), variables={"FAKE_START": "well"})
    assert [row["outcome"] for row in rows.values()] == [None] * 20
    assert all("referee-" in row["error"] and "did not start" in row["error"] for row in rows.values())


def test_an_idle_referee_helps_a_busy_one(run: Run) -> None:
    cells = [fake.make_cell("p0", id=f"c{i}") for i in range(60)]
    rows = run(fake.make_plan(cells), variables={})
    assert [row["outcome"] for row in rows.values()] == ["ok"] * 60
    assert run.did["prepare p0"] == 1


# ---- scratch -----------------------------------------------------------------------------------------


def test_large_inputs_are_prepared_as_room_comes_free(run: Run) -> None:
    size = 1 << 20
    cells = [fake.make_cell(f"p{i}") for i in range(12)]
    plan = fake.make_plan(cells, {f"p{i}": {"size": size} for i in range(12)})
    rows = run(plan, scratch_bytes=5 * size)
    assert [row["outcome"] for row in rows.values()] == ["ok"] * 12


def test_inputs_that_had_to_go_are_made_again_for_timing(run: Run) -> None:
    size = 1 << 20
    cells = [fake.make_cell(f"p{i}", speed=SpeedSpec()) for i in range(8)]
    plan = fake.make_plan(cells, {f"p{i}": {"size": size} for i in range(8)})
    rows = run(plan, scratch_bytes=6 * size)
    assert [row["time_median_s"] for row in rows.values()] == [1e-3] * 8
    prepared = sum(n for line, n in run.did.items() if line.startswith("prepare"))
    assert 8 < prepared <= 16


def test_an_account_knows_what_fits() -> None:
    account = Account(10)
    account.hold("a", 6)
    assert account.fits(4)
    assert not account.fits(5)
    account.hold("a", 9)
    assert (account.total_bytes, account.empty) == (9, False)
    account.release("a")
    account.release("never held")
    assert (account.total_bytes, account.empty) == (0, True)


def test_only_files_of_our_own_are_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "mine" / "data.npy"
    foreign.parent.mkdir()
    foreign.write_text("precious")
    scratch = Scratch(tmp_path)
    ours = scratch.inputs / "abc" / "x.npy"
    ours.parent.mkdir()
    ours.write_text("x")
    sideways = scratch.inputs / ".." / "x.npy"
    scratch.remove_inputs("k", [str(foreign), str(ours), str(sideways), str(scratch.folder / "owner.lock")])
    assert foreign.read_text() == "precious"
    assert not ours.parent.exists()
    assert (scratch.folder / "owner.lock").exists()
    scratch.close()
    assert not scratch.folder.exists()


def test_folders_of_killed_runs_are_swept_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    living = Scratch(tmp_path)
    dead = tmp_path / "numerics-harness-dead"
    (dead / "inputs").mkdir(parents=True)
    (dead / "owner.lock").touch()
    strange = tmp_path / "numerics-harness-without-lock"
    strange.mkdir()
    assert sweep(tmp_path) == [dead]
    assert living.inputs.exists()
    assert strange.exists()
    living.close()


@pytest.mark.parametrize(
    ("available", "largest", "chosen"),
    [
        (64 << 30, 1 << 20, (Path("/dev/shm"), 2 << 30)),  # plenty
        (8 << 30, 100 << 20, (Path("/dev/shm"), 1 << 30)),  # an eighth of what is available
        (8 << 30, 300 << 20, (Path("/tmp"), 2 << 30)),  # four of the largest problems do not fit in that
        (512 << 20, 1 << 10, (Path("/tmp"), 2 << 30)),  # a small machine
        (0, 1 << 10, (Path("/tmp"), 2 << 30)),  # not known
    ],
)
def test_scratch_is_in_memory_only_where_that_is_plenty(
    monkeypatch: pytest.MonkeyPatch, available: int, largest: int, chosen: tuple[Path, int]
) -> None:
    class Usage:
        free = 100 << 30

    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    monkeypatch.setattr("os.access", lambda path, mode: True)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    monkeypatch.setattr("harness.execute.scratch.available_memory_bytes", lambda: available)
    assert default_root(2 << 30, largest) == chosen
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert default_root(2 << 30, largest) == (Path("/tmp"), 2 << 30)


def test_available_memory_is_within_what_the_machine_has() -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < available_memory_bytes() <= physical


def test_a_full_disk_is_said_before_anything_starts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1 << 20

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(CouldNotMeasureError, match="1 MiB free"):
        run(fake.make_plan([fake.make_cell("p")]))
    assert not run.did


# ---- timing ------------------------------------------------------------------------------------------


def test_timed_cells_are_timed_alone_in_batches_after_the_peaks(run: Run) -> None:
    plan = fake.make_plan(fake.many_cells(40, timed=30))
    rows = run(plan)
    timed = [row for row in rows.values() if row["time_median_s"] is not None]
    assert len(timed) == 30
    assert {row["timer"] for row in timed} == {"wall"}
    # 16 flops in 1 ms are 1.6e-5 GFLOP/s, of a peak of 10
    assert timed[0]["peak_fraction"] == pytest.approx(1.6e-6)
    lines = run.log.read_text().splitlines()
    batches = [line for line in lines if line.startswith("batch")]
    assert batches == ["batch 12 siblings 1", "batch 3 siblings 1"] * 2
    assert lines.count("peak float32") == 2
    assert lines.count("bandwidth") == 1
    first = min(i for i, line in enumerate(lines) if line.startswith(("time", "peak", "bandwidth")))
    assert max(i for i, line in enumerate(lines) if line.startswith(("run", "score", "prepare"))) < first
    peaks = [(r["backend"], r["gflops"]) for r in run.records if r["kind"] == "peak"]
    assert peaks == [("fake-a", 10.0), ("fake-b", 10.0)]


def test_peaks_of_compute_dtypes_are_measured_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.execute.accuracy.support", lambda *_: "float64")
    rows = run(fake.make_plan(fake.many_cells(8, timed=4)))
    assert {row["compute_dtype"] for row in rows.values()} == {"float64"}
    lines = run.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("peak")] == ["peak float32", "peak float64"] * 2


def test_threads_make_another_worker(run: Run) -> None:
    cells = [fake.make_cell("p"), fake.make_cell("p", id="two", speed=SpeedSpec(threads=2))]
    rows = run(fake.make_plan(cells))
    assert rows["two"]["time_median_s"] == 1e-3
    assert {p.name for p in (run.folder / "logs").glob("fake*")} == {"fake-a-1t.log", "fake-a-2t.log"}


def test_only_cells_that_gave_an_output_are_timed(run: Run) -> None:
    cells = [fake.make_cell("p", name, speed=SpeedSpec()) for name in ("ok", "raises", "exits")]
    rows = run(fake.make_plan(cells))
    assert [row["time_median_s"] for row in rows.values()] == [1e-3, None, None]
    assert [row["outcome"] for row in rows.values()] == ["ok", "raised", "crashed"]
    assert [r["cell"] for r in run.records if r["kind"] == "timing"] == [cells[0].id]


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("timing-raises", "not timed: ValueError: tired"),
        ("timing-dies", "not timed: killed by SIGSEGV"),
    ],
)
def test_a_cell_that_fails_while_it_is_timed_costs_only_its_own_time(
    run: Run, behaviour: str, told: str
) -> None:
    cells = [fake.make_cell(f"p{i}", speed=SpeedSpec()) for i in range(4)]
    cells.insert(2, fake.make_cell("p2", behaviour, speed=SpeedSpec()))
    rows = run(fake.make_plan(cells))
    bad = rows.pop(cells[2].id)
    assert (bad["outcome"], bad["time_median_s"], bad["error"]) == ("ok", None, told)
    assert [row["time_median_s"] for row in rows.values()] == [1e-3] * 4
    assert [run.did[f"time {cell.id}"] for cell in cells[:2]] == [1, 1]


def test_a_cell_that_hangs_while_it_is_timed_is_killed(run: Run) -> None:
    from decimal import Decimal

    speed = SpeedSpec(budget_s=Decimal("0.01"))
    cells = [fake.make_cell("p0", speed=speed), fake.make_cell("p1", "timing-sleeps", speed=speed)]
    rows = run(fake.make_plan(cells), timeout_s=2.0)
    assert rows[cells[0].id]["time_median_s"] == 1e-3
    assert rows[cells[1].id]["error"].startswith("not timed: exceeded")


# ---- resuming and stopping ---------------------------------------------------------------------------


def test_what_is_journalled_is_not_measured_again(run: Run) -> None:
    plan = fake.make_plan(fake.many_cells(16, timed=8))
    first = run(plan)
    lines = (run.folder / "journal.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"i=1' not in line and "/i=1" not in line]
    assert 0 < len(kept) < len(lines)
    (run.folder / "journal.jsonl").write_text("".join(kept))
    before = run.did
    again = run(plan)
    assert again == first
    now = run.did - before
    missing = [cell.id for cell in plan.cells if "/i=1" in cell.id]
    assert {line for line in now if line.startswith("run")} == {f"run {cell}" for cell in missing}
    assert sum(line.startswith("time") for line in now.elements()) == 1  # i=1 alone is timed among them
    assert now["peak float32"] == now["bandwidth"] == 0
    assert run.executed is not None
    assert (run.executed.resumed, run.executed.cells) == (16 - len(missing), len(missing))


def test_a_finished_run_starts_no_child(run: Run) -> None:
    plan = fake.make_plan(fake.many_cells(8, timed=4))
    first = run(plan)
    before = run.did
    assert run(plan) == first
    assert run.did == before
    assert run.executed is not None
    assert run.executed.peak_bytes == {}


def test_a_resumed_run_refuses_inputs_that_have_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = fake.make_plan(fake.many_cells(8))
    run(plan)
    lines = (run.folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (run.folder / "journal.jsonl").write_text("".join(line for line in lines if "i=3" not in line))
    monkeypatch.setenv("FAKE_SALT", "!")
    with pytest.raises(UsageError, match="are not those that this run began with"):
        run(plan)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_resumably_and_leaves_no_child(run: Run, number: int) -> None:
    plan = fake.make_plan(fake.many_cells(200))
    before = signal.getsignal(number)

    class Stopper:
        def __init__(self) -> None:
            self.seen = 0

        def advance(self, cell: str, remaining_s: float | None) -> None:
            self.seen += 1
            if self.seen == 20:
                os.kill(os.getpid(), number)

        def begin(self, phase: str, total: int) -> None: ...
        def tick(self) -> None: ...
        def end(self, told: str) -> None: ...
        def close(self) -> None: ...

    with pytest.raises(InterruptedRunError, match=r"2\d of 200 cells are judged") as caught:
        run(plan, progress=Stopper())
    assert caught.value.exit_code == 130
    assert f"--resume --out {run.folder}" in str(caught.value)
    assert signal.getsignal(number) is before
    done = {r["cell"] for r in run.records if r["kind"] == "accuracy"}
    before_resuming = run.did
    rows = run(plan)
    assert [row["outcome"] for row in rows.values()] == ["ok"] * 200
    now = run.did - before_resuming
    assert {line for line in now if line.startswith("run")} == {
        f"run {c.id}" for c in plan.cells if c.id not in done
    }


def test_a_full_disk_while_running_keeps_what_was_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    real = os.write
    written = [0]

    def write(file: int, data: Any) -> int:
        if b'"kind":"accuracy"' in bytes(data[:200]):
            written[0] += 1
            if written[0] > 5:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(
        CouldNotMeasureError, match="No space left on device; what was measured so far is kept"
    ):
        run(fake.make_plan(fake.many_cells(40)))
    assert sum(r["kind"] == "accuracy" for r in run.records) == 5


def test_executing_imports_no_array_library(tmp_path: Path) -> None:
    """The parent is light: what it must not import is seen in a process of its own."""
    program = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parent)!r}]\n"
        "import fake_children\n"
        "from pathlib import Path\n"
        f"fake_children.parent(Path({str(tmp_path / 'run')!r}), 16, 8)\n"
        "print(sorted({'numpy', 'torch', 'scipy', 'pandas', 'flint', 'rich'} & sys.modules.keys()))\n"
    )
    (tmp_path / "run").mkdir()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert len(store.load(tmp_path / "run").rows) == 16


# ---- parts -------------------------------------------------------------------------------------------


def _child(tmp_path: Path, program: str) -> Child:
    return Child("test", [sys.executable, "-c", program], dict(os.environ), tmp_path / "log")


def _messages(child: Child, seconds: float = 10.0) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    found: list[dict[str, Any]] = []
    while not child.ended and time.monotonic() < deadline:
        found += child.receive()
        time.sleep(0.005)
    return found


def test_a_child_is_told_and_tells_by_lines_whatever_their_length(tmp_path: Path) -> None:
    child = _child(tmp_path, "import sys; [print(line, end='', flush=True) for line in sys.stdin]")
    sent = [{"text": "x" * size, "value": float("inf")} for size in (1, 70_000, 700_000)]
    for message in sent:
        child.send(message)
    assert child.unsent  # a pipe holds 64 KiB
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while len(found) < 3 and time.monotonic() < deadline:
        child.flush()
        found += child.receive()
        time.sleep(0.001)
    assert found == sent
    child.finish(5)
    assert child.exit_in_words() == "exit code 0"


def test_a_child_is_measured_while_it_lives(tmp_path: Path) -> None:
    child = _child(tmp_path, "x = b'1' * (64 << 20); print('{}', flush=True); import time; time.sleep(60)")
    deadline = time.monotonic() + 20
    while not child.receive() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert 64 << 20 < child.resident_bytes() < 512 << 20
    child.kill()
    child.kill()
    assert child.exit_in_words() == "killed by SIGKILL"
    assert child.resident_bytes() == 0
    assert child.peak_bytes > 64 << 20


def test_a_childs_last_words_are_the_end_of_its_own_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("somebody else\n")
    child = _child(tmp_path, "import sys; sys.exit('one\\ntwo\\n\\nthree\\nfour')")
    _messages(child)
    child.kill()
    assert child.last_words() == "two | three | four"
    assert child.exit_in_words() == "exit code 1"


@pytest.mark.parametrize("line", ['{"a": ', '{"$type": "Nobody"}', '{"$decimal": "x"}', "{" * 100_000])
def test_a_line_that_starts_as_an_object_and_is_none_is_malformed(tmp_path: Path, line: str) -> None:
    child = _child(tmp_path, f"print({line!r})")
    with pytest.raises(MalformedReplyError):
        _messages(child)
    child.kill()


def test_children_inherit_neither_pipes_nor_a_place_to_import_from(tmp_path: Path) -> None:
    environment = Programs().referee_environment()
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["PYTHONSAFEPATH"] == "1"
    first = _child(tmp_path, "import sys; sys.stdin.read()")
    second = _child(
        tmp_path, "import os; print(sorted(os.listdir('/proc/self/fd')), file=__import__('sys').stderr)"
    )
    _messages(second)
    second.kill()
    assert second.last_words() == "['0', '1', '2', '3']"  # 3 is the listing itself
    first.finish(10)
    assert first.exit_in_words() == "exit code 0"  # its pipe had no other holder


def test_plain_lines_tell_starts_ends_and_one_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(sys.stdout, every_s=30.0, clock=lambda: now[0])
    lines.begin("accuracy", 100)
    for second in range(70):
        now[0] = float(second)
        lines.advance("cell", 200.0 - second)
    lines.end("100 cells judged")
    assert capsys.readouterr().out.splitlines() == [
        "accuracy: 100 cells",
        "accuracy: 31/100, about 3 min left",
        "accuracy: 61/100, about 2 min left",
        "accuracy: 100 cells judged",
    ]


def test_a_bar_draws_only_when_it_is_told_that_a_sample_has_ended() -> None:
    import io

    from rich.console import Console

    from harness.execute import Bar

    now = [0.0]
    stream = io.StringIO()
    bar = Bar(Console(file=stream, force_terminal=True, width=100), every_s=0.2, clock=lambda: now[0])
    bar.begin("timing", 3)
    drawn = stream.tell()
    for _ in range(3):
        now[0] += 1.0
        bar.advance("case/[naive]/numpy", 4.0)
    assert stream.tell() == drawn
    bar.tick()
    assert stream.tell() > drawn
    assert "case/[naive]/numpy" in stream.getvalue()
    assert "3/3" in stream.getvalue()
    assert "about 4 s left" in stream.getvalue()
    drawn = stream.tell()
    now[0] += 0.1
    bar.tick()
    assert stream.tell() == drawn
    bar.end("3 cells timed")
    assert "timing: 3 cells timed" in stream.getvalue()
    bar.close()


def test_the_estimate_is_a_guess_until_a_phase_has_shown_its_pace() -> None:
    now = [0.0]
    estimate = Estimate(100, 50.0, 50, clock=lambda: now[0])
    # 100 judgements of 10 ms, 50 timings of 0.6 of 1 s and 0.1 s of setting up
    assert estimate.remaining_s() == pytest.approx(100 * 0.01 + 50 * 0.7)
    now[0] = 30.0  # of starting
    for _ in range(10):
        now[0] += 2.0
        estimate.count("accuracy")
    assert estimate.remaining_s() == pytest.approx(90 * 2.0 + 50 * 0.7)
    estimate.expect("timing", 0)
    assert estimate.remaining_s() == pytest.approx(90 * 2.0)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (3600, "60 min"), (7500, "2 h 5 min")]
)
def test_durations_are_told_for_a_glance(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_groups_are_estimated_without_making_anything() -> None:
    plan = fake.make_plan([fake.make_cell("p0"), fake.make_cell("p0", "raises"), fake.make_cell("p1")])
    groups = groups_of(plan, plan.cells)
    assert len(set(map(id, groups.values()))) == 2
    assert all(group.estimate_bytes > 0 for group in groups.values())
