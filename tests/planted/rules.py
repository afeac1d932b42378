"""What the rules of a case say of a cell, before it is run."""

from __future__ import annotations

from harness.model import Cell, Rule


def _rule(cell: Cell, output: str) -> Rule | None:
    return next((r for r in cell.rules if r.output in (None, output)), None)


def all_ok(cell: Cell) -> bool:
    """Return whether every output of a cell is expected to be ok, its error within the bound."""
    return all(
        rule is None
        or (
            rule.defect is None
            and rule.breaks in (None, "no")
            and rule.outcome in (None, ("ok",))
            and "bound_ratio" not in rule.bounds
        )
        for rule in (_rule(cell, output) for output in cell.outputs)
    )


def broken_outputs(cell: Cell) -> tuple[str, ...]:
    """Return the outputs that a rule expects to be wrong, for certain and by no defect of a library."""

    def broken(rule: Rule | None) -> bool:
        if rule is None or rule.defect is not None:
            return False
        ratio = rule.bounds.get("bound_ratio")
        return (
            rule.breaks == "yes"
            or (rule.outcome is not None and "ok" not in rule.outcome)
            or (ratio is not None and not ratio.holds(1))
        )

    return tuple(output for output in cell.outputs if broken(_rule(cell, output)))


def raises(cell: Cell) -> bool:
    """Return whether a formulation is declared to give no answer."""
    rules = (_rule(cell, output) for output in cell.outputs)
    return any(rule is not None and rule.outcome is not None and "raised" in rule.outcome for rule in rules)
