"""Started by path in a side's interpreter: makes this harness importable as `harness_probe`, and serves."""

import sys
import types
from pathlib import Path

ALIAS = "harness_probe"


def main() -> None:
    """Serve one side."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    alias = types.ModuleType(ALIAS)
    alias.__path__ = [str(here.parent)]  # its own __init__ is not run: it would import the side's
    sys.modules[ALIAS] = alias
    from harness_probe.probe.serve import main as serve  # type: ignore[import-not-found]

    serve()


if __name__ == "__main__":
    main()
