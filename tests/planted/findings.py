"""What is planted, where, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.expect.measured import number
from tests.planted.mutations import FACTOR

ZEROS, ONES, ROLLED, ONE_LESS, NEXT = "zeros", "ones", "rolled by one", "one less", "next number"
FACTORED, LAST, NAIVE = f"1 + {FACTOR}u", "last of ", "naive: "


@dataclass(frozen=True, order=True)
class Subject:
    """What is judged: an operation, forward or backward."""

    operation: str
    mode: str

    def __str__(self) -> str:
        return self.operation if self.mode == "forward" else f"{self.operation}, gradient"


@dataclass(frozen=True)
class Planted:
    """One wrong answer and what became of it."""

    subject: Subject
    output: str
    mutation: str
    dtype: str
    problem: str
    formulation: str
    """Whose honest answer it was made from or, of a naive form, the one that gave it."""
    by: str | None
    """What caught it: an outcome, or `bound_ratio`; None: nothing."""
    ratio: float | None
    """Error / bound; None where the outcome tells."""
    change: float
    """‖wrong − exact‖₂/‖exact‖₂; infinite where another element is finite."""

    @property
    def caught(self) -> bool:
        return self.by is not None

    @property
    def place(self) -> str:
        """What the lists of exceptions call its output."""
        return f"{self.subject}/{self.output}"

    @property
    def constant(self) -> bool:
        """Whether it is zeros or, where zeros are right, ones."""
        return self.mutation in (ZEROS, ONES)

    @property
    def off_by_one(self) -> bool:
        return self.mutation in (ROLLED, ONE_LESS) or self.mutation.startswith(LAST)

    @property
    def of_input(self) -> str | None:
        """The input whose last element was left out; None: something else was done."""
        return self.mutation.removeprefix(LAST).split(",")[0] if self.mutation.startswith(LAST) else None

    def __str__(self) -> str:
        became = f"is caught by {self.by}" if self.caught else "passes"
        ratio = "" if self.ratio is None else f" at {number(self.ratio)} of the bound"
        return f"{self.place}: {self.mutation} {became}{ratio} in {self.problem}"


@dataclass
class Findings:
    """Everything that was planted in one subject."""

    subject: Subject
    planted: list[Planted] = field(default_factory=list)
    honest: list[str] = field(default_factory=list)
    """Honest answers that were judged ok: `problem: formulation`."""
    refused: list[str] = field(default_factory=list)
    """Honest answers that were not, and why: nothing can be said of what is planted in them."""
    dtypes: tuple[str, ...] = ()
    """In which a planted answer has to be caught: the wide ones, where there are any."""
    outputs: tuple[str, ...] = ()
    judged_by: str = ""
    """The module of its bound, or of its judge."""
    breaking: tuple[str, ...] = ()
    """Formulations that some shipped rule expects to break in one of the dtypes tried, on this backend."""
