"""Which cells the rules, exclusions, timings and facts of a case reach; what reaches none is a mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.casefile.coordinates import Matcher, Point
from harness.model import Case, Where

if TYPE_CHECKING:
    from harness.casefile.examination import Examination


class Coverage:
    """Which cells each rule, exclusion, timing and fact of a case reaches."""

    def __init__(
        self, exam: Examination, case: Case, names: Sequence[Mapping[str, str]], at: Sequence[Point]
    ) -> None:
        self.exam = exam
        self.case = case
        self.names = names
        self.points = at
        self.kept = self._exclude()

    def _exclude(self) -> list[list[Point]]:
        """Return, for each combination of names, the points that no exclusion takes."""
        kept = [list(self.points) for _ in self.names]
        for i, exclusion in enumerate(self.case.exclude):
            if not self._sound("exclude", i):
                continue
            matcher = Matcher(exclusion.where, self.case.axes)
            away = {p.positions for p in self.points if matcher.holds_at(p)}
            reached = False
            for n, names in enumerate(self.names):
                if matcher.takes(names):
                    left = [p for p in kept[n] if p.positions not in away]
                    reached = reached or len(left) < len(kept[n])
                    kept[n] = left
            if not reached:
                self._error("exclude", i, "the exclusion matches no cell that is not excluded already")
        return kept

    def check(self) -> None:
        """Report what reaches no cell, and rules of which every cell has an earlier rule."""
        if not any(self.kept):
            self.exam.error(("exclude",), "every cell is excluded", key=True)
            return
        self._rules()
        speed = None if self.exam.is_refused("measure") else self.case.speed
        if speed is not None and not self._reaches(speed.where):
            self.exam.error(("measure", "speed", "where"), "no cell of the full profile is timed")
        for i, fact in enumerate(self.case.facts):
            if not self._reaches(fact.where) and self._sound("facts", i):
                self._error("facts", i, "the fact matches no cell of the full profile")

    def _reaches(self, where: Where) -> bool:
        matcher = Matcher(where, self.case.axes)
        return any(
            matcher.takes(names) and any(map(matcher.holds_at, kept))
            for names, kept in zip(self.names, self.kept, strict=True)
        )

    def _rules(self) -> None:
        outputs = self.exam.outputs
        matchers = [Matcher(rule.where, self.case.axes) for rule in self.case.expect]
        at = [{p.positions for p in self.points if m.holds_at(p)} for m in matchers]
        reached, decided = set(), set()
        for names, kept in zip(self.names, self.kept, strict=True):
            taking = [i for i, matcher in enumerate(matchers) if matcher.takes(names)]
            for output in outputs:
                open_points = {p.positions for p in kept}
                for i in taking:
                    if self.case.expect[i].output in (None, output):
                        if at[i] & {p.positions for p in kept}:
                            reached.add(i)
                        if at[i] & open_points:
                            decided.add(i)
                        open_points -= at[i] if self._sound("expect", i) else set()
        for i in range(len(matchers)):
            if i in decided or not self._sound("expect", i):
                continue
            if i in reached:
                self._error("expect", i, "the rule decides nothing: earlier rules match all of its cells")
            else:
                self._error("expect", i, "the rule matches no cell of the full profile")

    def _sound(self, section: str, i: int) -> bool:
        """Return whether the item has no problem yet: what is wrong with it changes what it matches."""
        path = (section, self.exam.indices[section][i])
        return not self.exam.is_refused(*path) and path not in {e[:2] for e in self.exam.erroneous}

    def _error(self, section: str, i: int, message: str) -> None:
        self.exam.error((section, self.exam.indices[section][i]), message)
