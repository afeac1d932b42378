"""What the header of a run says of its cases, metrics, time and machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from harness.report.view.axes import AxisUnit
from harness.report.view.text import counted, duration, exact, finite, present, significant

if TYPE_CHECKING:
    from harness.model import Case
    from harness.store import Run


@dataclass(frozen=True, slots=True)
class CaseInfo:
    """What a report says of a case before its results."""

    name: str
    title: str
    description: str
    topic: str
    operation: str
    operation_title: str
    formula: str
    bound_formula: str
    bound_source: str
    axes: Mapping[str, AxisUnit] = field(default_factory=dict)
    zipped: tuple[tuple[str, ...], ...] = ()
    """Axes that move together."""
    mode: str = "forward"
    """`backward` where the case is about a gradient."""

    def axis(self, name: str) -> AxisUnit:
        """Return the unit of an axis."""
        return self.axes.get(name, AxisUnit())


@dataclass(frozen=True, slots=True)
class Column:
    """How a column of results is headed and its numbers are shown."""

    name: str
    title: str
    unit: str = ""
    display: str = ""
    formula: str = ""
    source: str = ""
    better: str = "none"


_MEASURED: Final = {
    c.name: c
    for c in (
        Column("time_median_s", "Median time", "s", "seconds", better="low"),
        Column("time_ci_low_s", "95 % interval, low", "s", "seconds"),
        Column("time_ci_high_s", "95 % interval, high", "s", "seconds"),
        Column("time_min_s", "Shortest time", "s", "seconds", better="low"),
        Column("time_wall_s", "Median time, host's clock", "s", "seconds", better="low"),
        Column("time_wall_cold_s", "Median time, cold inputs", "s", "seconds", better="low"),
        Column("time_cuda_cold_s", "Median time, cold calls", "s", "seconds", better="low"),
        Column("time_cuda_graph_s", "Median time, in a graph", "s", "seconds", better="low"),
        Column("not_timed_by", "Not timed by", "", "text"),
        Column("samples", "Samples", "", "integer"),
        Column("calls", "Calls a sample", "", "integer"),
        Column("converged", "Converged", "", "text"),
        Column("overhead_fraction", "Overhead", "", "percent"),
        Column("noise", "Noise", "", "percent"),
        Column("flops", "Work", "flop", "scientific"),
        Column("bytes", "Traffic", "B", "scientific"),
        Column("gflops", "Speed", "GFLOP/s", "scientific", better="high"),
        Column("gbps", "Traffic a second", "GB/s", "scientific", better="high"),
        Column("peak_fraction", "Share of peak", "", "percent", better="high"),
        Column("peak_memory_bytes", "Peak memory", "B", "scientific"),
    )
}
"""What timing gives: these columns are no metrics, so the run stores no definition of them."""


def cases_of(run: Run) -> dict[str, CaseInfo]:
    """Return what the run knows of each case, in the order of its plan."""
    stored = run.header.get("operations")
    operations = stored if isinstance(stored, Mapping) else {}
    return {name: case_info(case, operations.get(case.operation)) for name, case in run.plan.cases.items()}


def case_info(case: Case, operation: Any) -> CaseInfo:
    """Return one case's description; what its operation left out is empty.

    Of a gradient, formula and bound are those stored under `gradient` of the operation.
    """
    known = operation if isinstance(operation, Mapping) else {}
    title = exact(known.get("title")) or case.operation
    gradient = case.differentiate is not None
    if gradient:
        title = f"{title}, gradient"
        of_gradient = known.get("gradient")
        known = of_gradient if isinstance(of_gradient, Mapping) else {}
    texts = {key: exact(known.get(key)) for key in ("formula", "bound_formula", "bound_source")}
    return CaseInfo(
        name=case.name,
        title=case.title,
        description=case.description,
        topic=case.topic,
        operation=case.operation,
        operation_title=title,
        axes={a.name: AxisUnit(a.unit, a.kind) for a in case.axes},
        zipped=case.zipped,
        mode="backward" if gradient else "forward",
        **texts,
    )


def columns_of(header: Mapping[str, Any]) -> dict[str, Column]:
    """Return the columns whose meaning is known: the stored metric definitions, and those of timing."""
    return {**_MEASURED, **{metric.name: metric for metric in metrics_of(header)}}


def metrics_of(header: Mapping[str, Any]) -> list[Column]:
    """Return the metric definitions stored with the run."""
    stored = header.get("metrics")
    found = []
    for item in stored if isinstance(stored, list | tuple) else []:
        texts = {k: exact(item.get(k)) for k in ("name", "title", "unit", "display", "formula", "source")}
        better = exact(item.get("better")) or "none"
        found.append(Column(**{**texts, "title": texts["title"] or texts["name"]}, better=better))
    return found


def moment(value: Any) -> datetime | None:
    """Return a stored time (ISO 8601 text, or seconds since 1970) in UTC; None if it is neither."""
    seconds = finite(value)
    try:
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC)
        found = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def when(header: Mapping[str, Any]) -> str:
    """Return when the run was made and how long it took, as far as the header tells."""
    started, finished = moment(header.get("started")), moment(header.get("finished"))
    if started is None:
        return ""
    text = f"{started:%Y-%m-%d %H:%M} UTC"
    if finished is None or finished < started:
        return f"{text}, not finished"
    return f"{text}, took {duration((finished - started).total_seconds())}"


def references(header: Mapping[str, Any]) -> str:
    """Return how many references were computed and how many came from the cache."""
    stored = header.get("references")
    if not isinstance(stored, Mapping):
        return ""
    parts = [f"{int(n):,} {word}" for word, n in stored.items() if finite(n) is not None]
    total = sum(int(n) for n in stored.values() if finite(n) is not None)
    return f"{counted(total, 'reference')}: {', '.join(parts)}" if total else ""


def machine(header: Mapping[str, Any]) -> str:
    """Return the machine in a line: processor, cores, system."""
    stored = header.get("environment")
    facts = stored if isinstance(stored, Mapping) else {}
    cores, allowed = finite(facts.get("cores")), finite(facts.get("cores_allowed"))
    parts = [exact(facts.get("cpu"))]
    if cores is not None:
        some = f"{allowed:.0f} of " if allowed is not None and allowed != cores else ""
        parts.append(some + counted(int(cores), "core"))
    parts.append(exact(facts.get("platform")))
    return ", ".join(p for p in parts if p)


def environment_groups(header: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the environment as groups of (name, text): the machine, then each part it is made of."""
    stored = header.get("environment")
    facts = stored if isinstance(stored, Mapping) else {}
    plain = [(str(k), v) for k, v in facts.items() if not isinstance(v, Mapping | list | tuple)]
    groups = [("machine", [(k, _fact(k, v)) for k, v in plain if present(v)])]
    for name, content in facts.items():
        if name == "children" and isinstance(content, Mapping):
            groups += [(f"process {child}", flattened(told)) for child, told in content.items()]
        elif name == "peaks":
            groups.append(("measured peaks", _peaks(content)))
        elif isinstance(content, Mapping | list | tuple):
            groups.append((str(name), flattened(content)))
    return [(name, pairs) for name, pairs in groups if pairs]


def _fact(name: str, value: Any) -> str:
    number = finite(value)
    return exact(value) if number is None or not name.endswith("_bytes") else f"{number / 2**30:,.1f} GiB"


def _peaks(records: Any) -> list[tuple[str, str]]:
    """Measured speeds of the machine: `numpy float32, 1 thread` → `84.1 GFLOP/s`."""
    pairs = []
    for record in records if isinstance(records, list | tuple) else []:
        if not isinstance(record, Mapping):
            continue
        where = " ".join(t for k in ("backend", "dtype") if (t := exact(record.get(k))))
        threads = finite(record.get("threads"))
        name = where + (f", {counted(int(threads), 'thread')}" if threads is not None else "")
        for key, unit in (("gflops", "GFLOP/s"), ("gbps", "GB/s")):
            value = finite(record.get(key))
            if value is not None:
                pairs.append((name or exact(record.get("kind")), f"{significant(value)} {unit}"))
    return pairs


def flattened(content: Any, path: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return nested facts as (dotted name, text) pairs, in order; what is missing is left out."""
    if isinstance(content, Mapping):
        return [pair for key, value in content.items() for pair in flattened(value, (*path, str(key)))]
    if isinstance(content, list | tuple):
        if all(not isinstance(v, Mapping | list | tuple) for v in content):
            texts = [exact(v) for v in content if present(v)]
            return [(".".join(path), ", ".join(texts))] if texts else []
        return [pair for n, value in enumerate(content) for pair in flattened(value, (*path, str(n + 1)))]
    return [(".".join(path), exact(content))] if present(content) else []
