"""How far a run is and how long it will still take, drawn between samples only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TextIO


class Progress(Protocol):
    """Who is told how far the run is; nothing is drawn but inside these calls."""

    def begin(self, phase: str, total: int) -> None:
        """Start a phase of `total` cells."""

    def advance(self, cell: str, remaining_s: float | None) -> None:
        """Count one cell; `remaining_s` is the estimate for the whole rest of the run."""

    def tick(self) -> None:
        """Draw if it is time to: called when a sample has ended and the next has not begun."""

    def note(self, told: str) -> None:
        """Say now and then what is still open; called when a sample has ended and the next has not begun."""

    def end(self, told: str) -> None:
        """End the phase and say what came of it."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Silent:
    """Tells nobody."""

    def begin(self, phase: str, total: int) -> None:
        """See `Progress`."""

    def advance(self, cell: str, remaining_s: float | None) -> None:
        """See `Progress`."""

    def tick(self) -> None:
        """See `Progress`."""

    def note(self, told: str) -> None:
        """See `Progress`."""

    def end(self, told: str) -> None:
        """See `Progress`."""

    def close(self) -> None:
        """See `Progress`."""


class Lines:
    """Plain lines for logs: the start and the end of each phase, and one now and then between."""

    def __init__(
        self, stream: TextIO | None = None, every_s: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._every_s = every_s
        self._clock = clock
        self._phase, self._total, self._done, self._told_at = "", 0, 0, 0.0

    def begin(self, phase: str, total: int) -> None:
        """See `Progress`."""
        self._phase, self._total, self._done, self._told_at = phase, total, 0, self._clock()
        self._say(f"{phase}: {total} cells")

    def advance(self, cell: str, remaining_s: float | None) -> None:
        """See `Progress`."""
        self._done += 1
        now = self._clock()
        if now - self._told_at >= self._every_s:
            self._told_at = now
            left = "" if remaining_s is None else f", about {duration(remaining_s)} left"
            self._say(f"{self._phase}: {self._done}/{self._total}{left}")

    def tick(self) -> None:
        """See `Progress`."""

    def note(self, told: str) -> None:
        """See `Progress`."""
        now = self._clock()
        if now - self._told_at >= self._every_s:
            self._told_at = now
            self._say(f"{self._phase}: {self._done}/{self._total}, {told}")

    def end(self, told: str) -> None:
        """See `Progress`."""
        self._say(f"{self._phase}: {told}")

    def close(self) -> None:
        """See `Progress`."""

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # nobody reads it: no reason to stop measuring
            print(line, file=self._stream, flush=True)


class Bar:
    """A line of a terminal with bar, count, remaining time and the last cell; redrawn when told to.

    Parameters
    ----------
    console
        A rich console; standard error if None.
    every_s
        Seconds between two redrawings at least.
    """

    def __init__(
        self, console: Any = None, every_s: float = 0.2, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        self._every_s = every_s
        self._clock = clock
        self._drawn_at = -float("inf")
        self._left = ""
        self._bars = RichProgress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
            TextColumn(
                "[dim]{task.fields[cell]}",
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1, min_width=0),
            ),
            expand=True,
            console=console or Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._task: Any = None
        self._phase = ""

    def begin(self, phase: str, total: int) -> None:
        """See `Progress`."""
        self._phase = phase
        self._bars.start()
        self._task = self._bars.add_task(phase, total=total, left="", cell="")
        self._draw()

    def advance(self, cell: str, remaining_s: float | None) -> None:
        """See `Progress`."""
        from rich.markup import escape

        left = "" if remaining_s is None else f"about {duration(remaining_s)} left"
        self._bars.update(self._task, advance=1, left=left, cell=escape(cell))

    def tick(self) -> None:
        """See `Progress`."""
        if self._clock() - self._drawn_at >= self._every_s:
            self._draw()

    def note(self, told: str) -> None:
        """See `Progress`."""
        from rich.markup import escape

        self._bars.update(self._task, cell=escape(told))
        self.tick()

    def end(self, told: str) -> None:
        """See `Progress`."""
        self._bars.remove_task(self._task)
        self._bars.stop()
        self._bars.console.print(f"{self._phase}: {told}", markup=False, highlight=False)

    def close(self) -> None:
        """See `Progress`."""
        self._bars.stop()

    def _draw(self) -> None:
        self._drawn_at = self._clock()
        self._bars.refresh()


def progress(stream: TextIO | None = None) -> Progress:
    """Return a bar where `stream` (standard error) is a terminal, and plain lines elsewhere."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        return Lines(stream)
    from rich.console import Console

    return Bar(Console(file=stream))


class Estimate:
    """How long the rest of a run takes: what is left of each phase, at the pace that phase has shown.

    Before a phase has begun its pace is a guess: a hundredth of a second to judge a cell, and of the
    time allowed to time one, what most cells need.
    """

    def __init__(
        self, cells: int, budgets_s: float, timed: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._left = {"accuracy": cells, "timing": timed}
        self._guess = {
            "accuracy": _JUDGING_S,
            "timing": _SHARE_OF_BUDGET * budgets_s / timed + _SETUP_S if timed else 0.0,
        }
        self._done = {"accuracy": 0, "timing": 0}
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}

    def expect(self, phase: str, cells: int) -> None:
        """Correct how many cells a phase has."""
        self._left[phase] = cells

    def count(self, phase: str) -> None:
        """Count one cell of a phase as done; the clock starts at the first, when all children work."""
        now = self._clock()
        self._left[phase] -= 1
        self._done[phase] += 1
        self._took[phase] = now - self._began.setdefault(phase, now)

    def remaining_s(self) -> float:
        """Return the seconds that are left, of both phases."""
        return sum(left * self._pace(phase) for phase, left in self._left.items())

    def _pace(self, phase: str) -> float:
        done = self._done[phase]
        return self._took[phase] / (done - 1) if done > _ENOUGH else self._guess[phase]


_JUDGING_S: Final = 0.01
_SHARE_OF_BUDGET: Final = 0.6
_SETUP_S: Final = 0.1
_ENOUGH: Final = 5


def duration(seconds: float) -> str:
    """Return seconds in words for a glance: `40 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
