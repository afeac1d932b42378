"""What becomes of wrong answers that are planted in every operation: a table in Markdown.

    python benchmarks/plant_wrong_answers.py [OPERATION …] [--cache FOLDER]

What is planted is told in `tests/planting.py`, what has to be caught in `tests/test_planted_everywhere.py`. A
cell of the table has how many wrong answers were caught, of how many, and by what; with `bound_ratio`, the
least error / bound that told. Below stands what passed. Half a second for each operation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.expect.measured import number
from tests.planted.findings import FACTORED, NAIVE, NEXT, ZEROS, Findings, Planted
from tests.planted.margins import DERIVED, FACTOR_ALLOWED, PASSING
from tests.planted.mutations import FACTOR
from tests.planting import Planter, subjects

COLUMNS = (ZEROS, "off by one", "naive form", FACTORED, NEXT)


def column(planted: Planted) -> str:
    """Return the column of the table in which a wrong answer is counted."""
    if planted.constant:
        return COLUMNS[0]
    if planted.off_by_one:
        return COLUMNS[1]
    return COLUMNS[2] if planted.mutation.startswith(NAIVE) else planted.mutation


def told(planted: Sequence[Planted]) -> str:
    """Return how many were caught, and by what."""
    if not planted:
        return "—"
    by = Counter(p.by for p in planted if p.by is not None)
    ratios = [p.ratio for p in planted if p.by == "bound_ratio" and p.ratio is not None]
    names = [
        f"bound_ratio ≥ {number(min(ratios))}" if n == "bound_ratio" and ratios else n
        for n, _ in by.most_common()
    ]
    return f"{by.total()}/{len(planted)}" + (f": {', '.join(names)}" if names else "")


def table(found: Sequence[Findings], *, counting: bool) -> Iterator[str]:
    """Yield a row for each output, of the dtypes that count or of the others."""
    yield "| operation | output | dtypes | " + " | ".join(COLUMNS) + " |"
    yield "|---" * (3 + len(COLUMNS)) + "|"
    for findings in found:
        planted = [p for p in findings.planted if (p.dtype in findings.dtypes) == counting]
        for output in dict.fromkeys(p.output for p in planted):
            here = [p for p in planted if p.output == output]
            dtypes = ", ".join(dict.fromkeys(p.dtype for p in here))
            cells = [told([p for p in here if column(p) == name]) for name in COLUMNS]
            yield f"| {findings.subject} | {output} | {dtypes} | " + " | ".join(cells) + " |"


def passing(found: Sequence[Findings], *, counting: bool) -> Iterator[str]:
    """Yield a line for each output and dtype in which something but 1 + 8u passes: what, and how often."""
    for findings in found:
        planted = [
            p for p in findings.planted if p.mutation != FACTORED and (p.dtype in findings.dtypes) == counting
        ]
        for place, dtype in dict.fromkeys((p.place, p.dtype) for p in planted):
            here = [p for p in planted if (p.place, p.dtype) == (place, dtype)]
            told_of = []
            for mutation in dict.fromkeys(p.mutation for p in here):
                same = [p for p in here if p.mutation == mutation]
                passed = [p for p in same if not p.caught]
                if passed:
                    ratios = [p.ratio for p in passed if p.ratio is not None]
                    least = number(min(ratios)) if ratios else "nothing is promised"
                    told_of.append(f"{mutation} {len(passed)}/{len(same)} ({least})")
            if told_of:
                why = [reason for (of, _), reason in PASSING.items() if of == place and counting]
                yield f"- {place}, {dtype}: {'; '.join(told_of)}{' — ' + why[0] if why else ''}"


def factors(found: Sequence[Findings]) -> Iterator[str]:
    """Yield, for each output that lets 1 + 8u pass in the dtypes that count, what its bound allows."""
    for findings in found:
        for place in dict.fromkeys(p.place for p in findings.planted):
            here = [
                p
                for p in findings.planted
                if (p.place, p.mutation) == (place, FACTORED) and p.dtype in findings.dtypes
            ]
            ratios = [p.ratio for p in here if p.ratio]
            if ratios and not any(p.caught for p in here):
                why = FACTOR_ALLOWED.get(place) or DERIVED.get(findings.judged_by, "NO REASON LISTED")
                allowed = f"about 1 + {number(FACTOR / max(ratios))}u"
                yield f"- {place}: {allowed} passes: {why}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("operations", nargs="*", help="all, if none is named")
    parser.add_argument("--cache", type=Path, help="folder for references; a temporary one, if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        planter = Planter(options.cache or Path(temporary))
        chosen = [s for s in subjects() if not options.operations or s.operation in options.operations]
        found = [planter.plant(subject) for subject in chosen]
    honest = sum(len(findings.honest) for findings in found)
    planted = [p for findings in found for p in findings.planted]
    caught = sum(p.caught for p in planted)
    print(f"{len(planted)} wrong answers in the place of {honest} honest ones; {caught} are caught.\n")
    for title, lines in (
        ("Where all has to be caught", table(found, counting=True)),
        ("In narrower formats", table(found, counting=False)),
        ("What passes in some problems (least error / bound)", passing(found, counting=True)),
        ("What passes in narrower formats (least error / bound)", passing(found, counting=False)),
        (f"1 + {FACTOR}u passes everywhere", factors(found)),
        ("Honest answers that are refused", (f"- {text}" for f in found for text in f.refused)),
        ("No form declared to break", (f"- {f.subject}" for f in found if f.honest and not f.breaking)),
        ("No case", (f"- {f.subject}" for f in found if not f.honest)),
    ):
        shown = list(lines)
        print(f"## {title}\n\n" + ("\n".join(shown) or "None.") + "\n")


if __name__ == "__main__":
    main()
