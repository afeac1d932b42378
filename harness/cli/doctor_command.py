"""`harness doctor`: what this machine is, and what it can measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from harness.cli.options import output_format
from harness.cli.options import plugins as take_plugins
from harness.doctor.sight import percent, span


@click.command("doctor")
@click.option(
    "--threads",
    multiple=True,
    type=click.IntRange(1),
    metavar="N",
    help="Threads to start each backend with. Repeatable.  [default: 1]",
)
@click.option("--peaks/--no-peaks", default=True, help="Measure GFLOP/s and GB/s; takes some seconds.")
@click.option(
    "--noise/--no-noise",
    default=True,
    help="Measure how much identical code differs from itself; takes some seconds a backend.",
)
@take_plugins
@output_format("text", "json")
def command(
    threads: tuple[int, ...], peaks: bool, noise: bool, plugins: tuple[str, ...], format_: str
) -> None:
    """Measure this machine: peaks, bandwidth, clock, noise; tell threads, BLAS, cache, and what is missing.

    The noise says which slowdown `harness compare` can see here: it is that of identical code.
    """
    from harness import api, doctor
    from harness.cli.output import as_json

    found = doctor.examine(
        api.cache_folder(), threads=threads or (1,), plugins=plugins, peaks=peaks, noise=noise
    )
    if format_ == "json":
        click.echo(as_json(cells=[], **found))
    else:
        click.echo("\n".join(_lines(found)))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    machine, clock, cache, other = (found[k] for k in ("machine", "clock", "cache", "disturbance"))
    yield "machine"
    yield _line("system", machine["platform"])
    yield _line("processor", f"{machine.get('cpu', 'unknown')}, {_cores(machine)}")
    yield _line("frequency", _frequency(machine, found["processor"]))
    if "quota_cores" in found["processor"]:
        yield _line("quota", f"{found['processor']['quota_cores']:.2g} cores' time")
    yield _line(
        "memory",
        f"{_size(machine.get('memory_bytes'))}, {_size(machine['memory_available_bytes'])} available",
    )
    steal = other["steal_fraction"]
    yield _line(
        "load", f"{other['load_1min']:.2f}, {'steal not told' if steal is None else f'steal {steal:.1%}'}"
    )
    yield _line("python", f"{machine['implementation']} {machine['python']}, {machine['executable']}")
    yield _line("packages", " ".join(f"{n} {v}" for n, v in machine["packages"].items()))
    variables = " ".join(f"{n}={v}" for n, v in machine["variables"].items())
    yield _line("variables", variables or "none about threads")
    yield "clock"
    yield _line(
        "reading",
        f"{clock['overhead_s'] * 1e9:.0f} ns, one in a thousand {clock['overhead_p999_s'] * 1e9:.0f} ns",
    )
    yield _line("smallest step", f"{clock['smallest_step_s'] * 1e9:.0f} ns")
    pace = found["pace"]
    scatter = "not told" if pace["scatter"] is None else percent(pace["scatter"])
    yield _line(
        "pace",
        f"{pace['control_s'] * 1e6:.1f} µs for a fixed loop, scatter {scatter}, "
        f"slowest {percent(pace['slowest'])} longer",
    )
    yield "references"
    access = "" if cache["writable"] else ", not writable"
    yield _line("folder", f"{cache['folder']} ({_size(cache['free_bytes'])} free{access})")
    health = f"{len(cache['damaged'])} damaged of {cache['checked']} read"
    yield _line("entries", f"{cache['entries']}, {_size(cache['bytes'])}; {health}")
    for backend in found["backends"]:
        yield from _backend(backend)
    if found["advice"]:
        yield "to see a slowdown of 5 % everywhere"
        yield from (f"  - {line}" for line in found["advice"])


def _backend(told: Mapping[str, Any]) -> Iterator[str]:
    threads = f", threads: {told['threads']}" if "threads" in told else ""
    yield f"{told['backend']} ({told['title']}{threads})"
    if not told["available"]:
        yield _line("unavailable", told["reason"])
        return
    for name, value in told["facts"].items():
        yield _line(name, value)
    for dtype, rate in told.get("gflops", {}).items():
        yield _line(f"peak {dtype}", f"{rate:,.3g} GFLOP/s")
    for dtype, reason in told.get("without_peak", {}).items():
        yield _line(f"peak {dtype}", reason)
    if told.get("gbps"):
        yield _line("bandwidth", f"{told['gbps']:,.3g} GB/s")
    if "noise" in told:
        yield from _noise(told["noise"])


def _noise(told: Mapping[str, Any]) -> Iterator[str]:
    """Say what a comparison of identical code found, shortest calls first, and what it comes to."""
    for one in told["decades"]:
        yield _line(
            span([one]),
            f"identical code differs by {percent(one['null'])}, interval ±{percent(one['half_width'])}, "
            f"δ {percent(one['threshold'])}",
        )
    for kernel, reason in told["without"].items():
        yield _line(kernel, reason)
    if "layout" in told:
        yield _line("addresses", _LAYOUTS.get(told["layout"], told["layout"]))
    if told["decades"]:
        yield _line("comparisons", f"this machine {told['sees']}")
    else:
        yield _line("noise", f"not measured: {told['reason']}")


_LAYOUTS: Final = {
    "as in every other worker": "laid out alike in all workers",
    "random": "random: workers of identical code differ, by some percent below 10 µs",
}


def _frequency(machine: Mapping[str, Any], processor: Mapping[str, Any]) -> str:
    """Return what is told of the clock, and of who shares a core."""
    now = processor.get("mhz_now") or [machine[n] for n in ("frequency_mhz",) if machine.get(n)]
    parts = [f"{' to '.join(dict.fromkeys(map(str, now)))} MHz" if now else "not told"]
    if "mhz_max" in processor:
        parts.append(f"at most {processor['mhz_max']}")
    parts.append(f"governor {', '.join(processor.get('governors', ())) or 'not told'}")
    for name, title in (("turbo", "turbo"), ("smt", "SMT")):
        parts.append(f"{title} {'not told' if name not in processor else 'on' if processor[name] else 'off'}")
    return ", ".join(parts)


def _cores(machine: Mapping[str, Any]) -> str:
    allowed, cores = machine.get("cores_allowed"), machine.get("cores")
    physical = f", {machine['cores_physical']} physical" if "cores_physical" in machine else ""
    return f"{cores} cores{physical}" + (f", {allowed} allowed" if allowed not in (None, cores) else "")


def _size(count: int | None) -> str:
    if count is None:
        return "unknown"
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def _line(name: str, value: str) -> str:
    return f"  {name:<16} {value}"
