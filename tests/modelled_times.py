"""What measures pairs, with sets of workers that are made up: times come from a seeded model."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from harness.compare.measure import Keys, Measuring, Settings, Timed
from harness.execute.loop import StopAsked
from harness.execute.problems import Group
from harness.execute.progress import Silent
from harness.execute.rounds import Series, Subject
from harness.model import Cell, InputSpec, Problem, SpeedSpec
from harness.timing.paired import LOOKS

FLOOR = 0.03


@dataclass
class Model:
    """How long calls take: `base_s` by cell, factors of the head, and what is peculiar to a set."""

    noise: float = 0.005
    """The standard deviation of ln of a slot."""
    base_s: float = 2e-5
    by_pair: dict[str, float] = field(default_factory=dict)
    """Seconds of a pair's base, where they are others."""
    head: dict[str, float] = field(default_factory=dict)
    """By pair, head / base."""
    bias: dict[tuple[int, str], float] = field(default_factory=dict)
    """By set and side, a factor: 0 is the set that screens."""
    round_s: float = 1e-3
    looks: tuple[int, ...] = LOOKS
    fails: dict[tuple[str, str], tuple[int, Exception]] = field(default_factory=dict)
    """By pair and `begin` or `round`: from which set on, what is raised."""
    stop_after: int | None = None
    """Rounds of all pairs after which somebody presses Ctrl-C."""
    unsteady: tuple[str, ...] = ()
    seed: int = 0


class FakeTrio:
    def __init__(self, model: Model, number: int, keys: Keys) -> None:
        self.model, self.number, self.keys = model, number, keys
        self.chance = random.Random(model.seed * 1000 + number)
        self.begun: list[str] = []
        self.rounds: list[str] = []
        self.closed: float | None = None
        self.forgotten = 0

    def begin(self, subject: Subject, clock: Callable[[], float]) -> Series:
        self.begun.append(subject.name)
        self._fail(subject.name, "begin")
        return Series(subject, "wall", "hot", 15, 4, self.model.looks, 0.01)

    def _fail(self, name: str, where: str) -> None:
        found = self.model.fails.get((name, where))
        if found is not None and self.number >= found[0]:
            raise found[1]

    def round(self, series: Series, clock: Callable[[], float]) -> None:
        model, name = self.model, series.subject.name
        if model.stop_after is not None:
            model.stop_after -= 1
            if model.stop_after < 0:
                raise StopAsked
        self.rounds.append(name)
        series.seconds += model.round_s
        if len(series.rounds) >= 5:
            self._fail(name, "round")
        if name in model.unsteady:
            series.discarded += 1
            return
        base = model.by_pair.get(name, model.base_s)
        times = {}
        for side in ("base", "twin", "head") if self.number == 0 else ("base", "head"):
            own = base * model.bias.get((self.number, side), 1.0)
            own *= model.head.get(name, 1.0) if side == "head" else 1.0
            times[side] = tuple(own * self.chance.lognormvariate(0, model.noise) for _ in range(2))
        series.rounds.append(times)

    def forget(self) -> None:
        self.forgotten += 1

    def close(self, patience_s: float = 2.0) -> None:
        self.closed = patience_s


class Modelled(Measuring):
    """Measures with sets of workers that are made up."""

    def __init__(self, model: Model, pairs: Iterable[Timed], groups: Mapping[str, Group], settings: Settings):
        self.trios: list[FakeTrio] = []
        self.recorded: list[Mapping[str, Any]] = []
        self.model = model
        held = SimpleNamespace(fits=lambda size: True)
        session = SimpleNamespace(progress=Silent(), scratch=SimpleNamespace(held_inputs=held))
        super().__init__(session, list(pairs), groups, {}, settings, self.recorded.append)  # type: ignore[arg-type]

    def _workers(self, keys: Keys, *, twin: bool) -> Any:
        confirming = any(pair.screened for pair in self.pairs if pair.keys == keys)
        assert twin or confirming
        made = sum(trio.keys == keys for trio in self.trios)
        self.trios.append(FakeTrio(self.model, made, keys))
        return self.trios[-1]


def cell(name: str, backend: str = "numpy", cache: str = "hot", threads: int = 1) -> Cell:
    return Cell(
        id=name, case="c", operation="dot", formulation="library", backend=backend, dtype="float32",
        mode="forward", axes={}, profile="quick", problem="p", topic="t", guide=(), seed=0, outputs=("s",),
        speed=SpeedSpec(cache=cache, threads=threads),  # type: ignore[arg-type]
    )  # fmt: skip


def measured(
    model: Model, names: Iterable[str] = ("a",), settings: Settings | None = None, cells: Iterable[Cell] = ()
) -> Modelled:
    """Return what measures pairs of identical cells; their inputs are there."""
    every = [*map(cell, names), *cells]
    problem = Problem(
        key="p", case="c", operation="dot", dtype="float32", mode="forward", seed=0, parameters={},
        inputs=(InputSpec("x", "normal", {"shape": [4]}),), folder="/",
    )  # fmt: skip
    group = Group(problem, "content", 32, inputs={"x": "x.npy"}, input_bytes=32)
    pairs = [Timed(c.id, c, c) for c in every]
    groups = {c.id: group for c in every}
    return Modelled(model, pairs, groups, settings or Settings(floor=FLOOR, seed=1))
