"""Sets of workers that measure in turn: probes of both sides, laid out alike within a set only."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.execute.prober import Prober
from harness.execute.programs import Programs, WorkerKey
from harness.execute.rounds import SIDES, Trio
from harness.execute.session import Session

PROBE: Final = Path(__file__).resolve().parents[1] / "probe" / "start.py"

MALLOC: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""Where glibc's own thresholds end up once large arrays were freed (mallopt(3)): set from the start, so that
whether a call's arrays cost page faults does not depend on what a process freed before."""

DISPLACED: Final = "HARNESS_PROBE_PAGES"
PAGES: Final = 4096
"""What is loaded lies up to so many pages elsewhere in another set of workers."""


def probe_programs(
    interpreter: str,
    plugins: Sequence[str] = (),
    worker_plugins: Sequence[str] | None = None,
    worker_folders: Sequence[str] | None = None,
) -> Programs:
    """Return what is started for a side: our probe in its interpreter, with its folders first."""
    return Programs(
        worker=(interpreter, str(PROBE)),
        plugins=tuple(plugins),
        worker_plugins=worker_plugins,
        worker_folders=worker_folders,
        worker_variables=MALLOC if sys.platform.startswith("linux") else {},
    )


def set_of_workers(
    session: Session,
    keys: Mapping[str, WorkerKey],
    programs: Mapping[str, Programs],
    chance: random.Random,
    *,
    twin: bool = True,
) -> Trio:
    """Return a base, its twin and a head that are laid out alike, and otherwise than those of another set.

    Parameters
    ----------
    session
        Whose loop watches them.
    keys, programs
        By side (`base`, `head`), which worker it is and how it is started; the twin is a base.
    chance
        Displaces them, orders their slots.
    twin
        Whether there is one.
    """
    displaced = {DISPLACED: str(chance.randrange(PAGES))}
    probers = {}
    for side in SIDES if twin else ("base", "head"):
        of = "base" if side == "twin" else side
        started = programs[of]
        started = replace(started, worker_variables={**started.worker_variables, **displaced})
        probers[side] = Prober(session, keys[of], started, f"{side}-{keys[of].name}")
    return Trio(probers, session.options.timeout_s, chance)
